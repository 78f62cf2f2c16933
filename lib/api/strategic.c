/* strategic.c - strategic merge patches: lists merge by the keys that the
 * schema names, and directives in the patch say what plain JSON cannot:
 *
 *   "$patch": "replace" | "delete"        in a map or a list's element
 *   "$retainKeys": [names]                other members of the map go
 *   "$deleteFromPrimitiveList/f": [...]   from the list of scalars f
 *   "$setElementOrder/f": [...]           how f is to be ordered */
#include "lib/api/patch.h"

#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/json_edit.h"
#include "lib/api/schema.h"
#include "lib/api/strategic_list.h"
#include "lib/base/error.h"

#define RETAIN_KEYS "$retainKeys"
#define DELETE_FROM "$deleteFromPrimitiveList"
#define SET_ORDER "$setElementOrder"

/* --- what the schema says ------------------------------------------------------------------ */

/* The field of a map's member. Maps and messages with a form of their own have
 * no members of their own to merge. */
static int find_field(struct strategic *s, const struct api_msg *m, struct str key,
                      const struct api_field **ret)
{
    if (m == NULL)
        return error_set(s->err, E_INTERNAL,
                         "merging an object in json but data type is not struct, instead is: map");
    *ret = api_field_by_json(m, key);
    if (*ret != NULL)
        return 0;
    return error_set(s->err, E_INTERNAL,
                     "unable to find api field in struct %s for the json field \"" STR_FMT "\"",
                     m->name, STR_ARG(key));
}

static struct strategic_list list_type(const struct api_field *f, bool deletes)
{
    ASSERT(f != NULL);
    return (struct strategic_list){f->type == API_MESSAGE ? f->msg : NULL,
                                   str_of(f->patch_merge_key), deletes};
}

/* --- directives of a map -------------------------------------------------------------------- */

static int directive_of_map(struct strategic *s, struct json *patch, const struct json *directive,
                            struct json **ret)
{
    struct str name = directive->type == JSON_STRING ? directive->string : STR_NULL;
    if (str_eqc(name, "replace")) {
        json_remove(patch, STR(STRATEGIC_DIRECTIVE));
        *ret = patch;
        return 0;
    }
    if (str_eqc(name, "delete")) {
        *ret = json_object(s->arena);
        return 0;
    }
    return strategic_bad_type(s, patch, directive);
}

static int bad_retain_keys(struct strategic *s)
{
    return error_set(s->err, E_INVALID, "invalid patch format of retainKeys");
}

static bool list_has(const struct json *list, struct str s)
{
    for (size_t i = 0; i < list->array.count; i++)
        if (list->array.items[i]->type == JSON_STRING && str_eq(list->array.items[i]->string, s))
            return true;
    return false;
}

static bool has_prefix(struct str key, const char *prefix)
{
    return str_has_prefix(key, str_of(prefix));
}

/* The retained keys must cover the patch; other members of object go. */
static int apply_retain_keys(struct strategic *s, struct json *object, struct json *patch)
{
    enum { KEYS_MAX = 1000 }; /* A struct has fewer; both lists are searched. */
    const struct json *keys = json_getc(patch, RETAIN_KEYS);
    if (keys == NULL)
        return 0;
    json_remove(patch, STR(RETAIN_KEYS));
    if (keys->type != JSON_ARRAY || keys->array.count > KEYS_MAX)
        return bad_retain_keys(s);
    for (size_t i = 0; i < patch->object.count; i++) {
        const struct json_member *m = &patch->object.members[i];
        if (m->value->type != JSON_NULL && !has_prefix(m->key, DELETE_FROM) &&
            !has_prefix(m->key, SET_ORDER) && !list_has(keys, m->key))
            return bad_retain_keys(s);
    }
    size_t kept = 0;
    for (size_t i = 0; i < object->object.count; i++)
        if (list_has(keys, object->object.members[i].key))
            object->object.members[kept++] = object->object.members[i];
    object->object.count = kept;
    return 0;
}

/* The member that "$prefix/name" speaks of. */
static int target_of(struct strategic *s, struct str key, const char *what, struct str *ret)
{
    struct str head;
    if (!str_cut(key, '/', &head, ret) || !(str_eqc(head, SET_ORDER) || str_eqc(head, DELETE_FROM)))
        return error_set(s->err, E_INVALID, "invalid patch format of %s list", what);
    return 0;
}

/* One $setElementOrder, together with the list it orders. */
static int apply_order(struct strategic *s, const struct api_msg *m, struct json *object,
                       struct json *patch, struct str key, const struct json *order, unsigned depth)
{
    struct str name;
    const struct api_field *f = NULL;
    int r = target_of(s, key, "setElementOrder", &name);
    if (r != 0)
        return r;
    if (order->type != JSON_ARRAY)
        return strategic_wrong_kind(s, "[]interface {}", order);
    struct json *before = json_get(object, name), *change = json_get(patch, name), *merged = before;
    if (before != NULL && before->type != JSON_ARRAY)
        return strategic_wrong_kind(s, "[]interface {}", before);
    if (change != NULL && change->type != JSON_ARRAY)
        return strategic_wrong_kind(s, "[]interface {}", change);
    if ((r = find_field(s, m, name, &f)) != 0)
        return r;
    struct strategic_list type = list_type(f, false);
    if ((r = strategic_check_order(s, type.merge_key, change, order)) != 0)
        return r;
    if (before == NULL && change == NULL)
        return 0;
    if (before == NULL)
        merged = strategic_without_directives(s, change);
    else if (change != NULL && (f->flags & API_F_PATCH_MERGE) != 0)
        r = strategic_merge_list(s, &type, before, change, depth, &merged);
    else if (change != NULL)
        merged = change;
    if (r == 0)
        r = strategic_order_list(s, type.merge_key, merged, order, before, &merged);
    if (r != 0)
        return r;
    json_set(s->arena, object, name, merged);
    json_remove(patch, name);
    return 0;
}

static int apply_orders(struct strategic *s, const struct api_msg *m, struct json *object,
                        struct json *patch, unsigned depth)
{
    for (size_t i = 0; i < patch->object.count;) {
        struct json_member x = patch->object.members[i];
        if (!has_prefix(x.key, SET_ORDER)) {
            i++;
            continue;
        }
        json_remove(patch, x.key);
        int r = apply_order(s, m, object, patch, x.key, x.value, depth);
        if (r != 0)
            return r;
        i = 0; /* Members left the patch: begin anew. */
    }
    return 0;
}

/* --- members --------------------------------------------------------------------------------- */

static void discard_nulls(struct json *value)
{
    if (value->type == JSON_OBJECT) {
        size_t kept = 0;
        for (size_t i = 0; i < value->object.count; i++) {
            struct json_member m = value->object.members[i];
            if (m.value->type == JSON_NULL)
                continue;
            discard_nulls(m.value);
            value->object.members[kept++] = m;
        }
        value->object.count = kept;
    } else if (value->type == JSON_ARRAY) {
        for (size_t i = 0; i < value->array.count; i++)
            discard_nulls(value->array.items[i]);
    }
}

static void put_value(struct strategic *s, struct json_edit *e, struct str key, struct json *value)
{
    value = strategic_without_directives(s, value);
    if (value != NULL)
        json_edit_set(e, key, value);
    else
        json_edit_remove(e, key);
}

static bool same_kind(const struct json *x, const struct json *y)
{
    return x->type == y->type;
}

/* Both have the member, and it is a map or a list in both. */
static int merge_collections(struct strategic *s, const struct api_msg *m, struct json_edit *e,
                             struct str key, struct json *current, struct json *value, bool deletes,
                             unsigned depth)
{
    const struct api_field *f = NULL;
    struct json *merged = value;
    int r = find_field(s, m, key, &f);
    if (r != 0)
        return r;
    if (value->type == JSON_OBJECT) {
        if ((f->flags & API_F_PATCH_REPLACE) == 0)
            r = strategic_merge_map(s, f->label == API_SINGULAR ? f->msg : NULL, current, value,
                                    depth + 1, &merged);
    } else if ((f->flags & API_F_PATCH_MERGE) != 0 || deletes) {
        struct strategic_list type = list_type(f, deletes);
        r = strategic_merge_list(s, &type, current, value, depth + 1, &merged);
    }
    if (r == 0)
        json_edit_set(e, key, merged);
    return r;
}

static int merge_member(struct strategic *s, const struct api_msg *m, struct json_edit *e,
                        const struct json_member *x, unsigned depth)
{
    struct str key = x->key;
    bool deletes = has_prefix(key, DELETE_FROM);
    if (deletes) {
        int r = target_of(s, x->key, "primitive", &key);
        if (r != 0)
            return error_set(s->err, E_INVALID, "invalid patch format of primitive list");
    }
    if (x->value->type == JSON_NULL) {
        json_edit_remove(e, key);
        return 0;
    }
    struct json *current = json_edit_get(e, key);
    if (current == NULL || !same_kind(current, x->value)) {
        if (!deletes) {
            discard_nulls(x->value);
            put_value(s, e, key, x->value);
        }
        return 0;
    }
    if (x->value->type == JSON_OBJECT || x->value->type == JSON_ARRAY)
        return merge_collections(s, m, e, key, current, x->value, deletes, depth);
    put_value(s, e, key, x->value);
    return 0;
}

int strategic_merge_map(struct strategic *s, const struct api_msg *m, struct json *object,
                        struct json *patch, unsigned depth, struct json **ret)
{
    if (depth > API_DEPTH_MAX)
        return error_set(s->err, E_INVALID, "exceeded max depth");
    const struct json *directive = json_getc(patch, STRATEGIC_DIRECTIVE);
    if (directive != NULL)
        return directive_of_map(s, patch, directive, ret);
    int r = apply_retain_keys(s, object, patch);
    if (r == 0)
        r = apply_orders(s, m, object, patch, depth);
    if (r != 0)
        return r;
    struct json_edit e = json_edit_of(s->arena, object);
    for (size_t i = 0; r == 0 && i < patch->object.count; i++)
        r = merge_member(s, m, &e, &patch->object.members[i], depth);
    json_edit_done(&e);
    *ret = object;
    return r;
}

int api_strategic_patch_apply(struct arena *a, const struct api_msg *m, const struct json *doc,
                              const struct json *patch, struct json **ret, struct error *err)
{
    struct strategic s = {a, err};
    if (m == NULL)
        return error_set(err, E_INVALID, "strategic merge patch format is not supported");
    return strategic_merge_map(&s, m, json_clone(a, doc), json_clone(a, patch), 0, ret);
}
