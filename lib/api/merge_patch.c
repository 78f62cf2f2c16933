/* merge_patch.c - RFC 7386 both ways, and the entry for PATCH bodies. */
#include "lib/api/patch.h"

#include "lib/api/json.h"
#include "lib/api/json_edit.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

static bool is_null(const struct json *j)
{
    return j->type == JSON_NULL;
}

/* A copy without null members, however deep: a patch's nulls only delete. */
static struct json *without_nulls(struct arena *a, const struct json *j)
{
    struct json *copy;
    switch (j->type) {
    case JSON_OBJECT:
        copy = json_object(a);
        copy->object.members = ARENA_ARRAY(a, struct json_member, j->object.count);
        copy->object.cap = j->object.count;
        for (size_t i = 0; i < j->object.count; i++)
            if (!is_null(j->object.members[i].value))
                copy->object.members[copy->object.count++] = (struct json_member){
                    j->object.members[i].key, without_nulls(a, j->object.members[i].value)};
        return copy;
    case JSON_ARRAY:
        copy = json_array(a);
        for (size_t i = 0; i < j->array.count; i++)
            json_append(a, copy, without_nulls(a, j->array.items[i]));
        return copy;
    default:
        return json_clone(a, j);
    }
}

static void merge_into(struct arena *a, struct json *object, const struct json *patch)
{
    struct json_edit e = json_edit_of(a, object);
    for (size_t i = 0; i < patch->object.count; i++) {
        const struct json_member *m = &patch->object.members[i];
        struct json *current = json_edit_get(&e, m->key);
        if (is_null(m->value))
            json_edit_remove(&e, m->key);
        else if (current != NULL && current->type == JSON_OBJECT && m->value->type == JSON_OBJECT)
            merge_into(a, current, m->value);
        else
            json_edit_set(&e, m->key, without_nulls(a, m->value));
    }
    json_edit_done(&e);
}

struct json *api_merge_patch_apply(struct arena *a, const struct json *doc,
                                   const struct json *patch)
{
    if (patch->type != JSON_OBJECT)
        return json_clone(a, patch);
    struct json *result =
        doc != NULL && doc->type == JSON_OBJECT ? json_clone(a, doc) : json_object(a);
    merge_into(a, result, patch);
    return result;
}

struct json *api_merge_patch_create(struct arena *a, const struct json *from, const struct json *to)
{
    struct json *patch = json_object(a);
    for (size_t i = 0; i < from->object.count; i++)
        if (json_get(to, from->object.members[i].key) == NULL)
            json_set(a, patch, from->object.members[i].key, json_null(a));
    for (size_t i = 0; i < to->object.count; i++) {
        const struct json_member *m = &to->object.members[i];
        const struct json *before = json_get(from, m->key);
        if (before != NULL && json_equal(before, m->value))
            continue;
        if (before != NULL && before->type == JSON_OBJECT && m->value->type == JSON_OBJECT)
            json_set(a, patch, m->key, api_merge_patch_create(a, before, m->value));
        else
            json_set(a, patch, m->key, json_clone(a, m->value));
    }
    return patch;
}

/* --- PATCH bodies ---------------------------------------------------------------------- */

static const char *kind_name(const struct json *j)
{
    switch (j->type) {
    case JSON_BOOL:
        return "bool";
    case JSON_STRING:
    case JSON_ARRAY:
    case JSON_OBJECT:
        return json_type_name(j);
    default:
        return "number";
    }
}

static int expect(const struct json *j, enum json_type type, const char *go_type, struct error *err)
{
    if (j->type == type)
        return 0;
    return error_set(err, E_INVALID,
                     "error decoding patch: json: cannot unmarshal %s into Go value of type %s",
                     kind_name(j), go_type);
}

static int check_operations(const struct json *list, struct error *err)
{
    static const char *const members[] = {"op", "from", "path"};
    for (size_t i = 0; i < list->array.count; i++) {
        const struct json *op = list->array.items[i];
        int r = expect(op, JSON_OBJECT, "handlers.jsonPatchOp", err);
        if (r != 0)
            return r;
        for (size_t k = 0; k < ARRAY_SIZE(members); k++) {
            const struct json *value = json_getc(op, members[k]);
            if (value != NULL && value->type != JSON_STRING && !is_null(value))
                return error_set(
                    err, E_INVALID,
                    "error decoding patch: json: cannot unmarshal %s into Go struct field "
                    "jsonPatchOp.%s of type string",
                    kind_name(value), members[k]);
        }
    }
    return 0;
}

int api_patch_apply(struct arena *a, enum api_patch_type type, const struct api_msg *m,
                    const struct json *doc, struct str patch, struct json **ret, struct error *err)
{
    struct json *tree = NULL;
    int r = json_parse(a, patch, &tree, err);
    if (r != 0)
        return type == API_PATCH_STRATEGIC ? r : error_prefix(err, "error decoding patch");
    switch (type) {
    case API_PATCH_JSON:
        if ((r = expect(tree, JSON_ARRAY, "[]handlers.jsonPatchOp", err)) != 0 ||
            (r = check_operations(tree, err)) != 0)
            return r;
        return api_json_patch_apply(a, doc, tree, ret, err);
    case API_PATCH_MERGE:
        if ((r = expect(tree, JSON_OBJECT, "map[string]interface {}", err)) != 0)
            return r;
        *ret = api_merge_patch_apply(a, doc, tree);
        return 0;
    case API_PATCH_STRATEGIC:
        if (tree->type != JSON_OBJECT)
            return error_set(
                err, E_INVALID,
                "json: cannot unmarshal %s into Go value of type map[string]interface {}",
                kind_name(tree));
        return api_strategic_patch_apply(a, m, doc, tree, ret, err);
    }
    return error_set(err, E_INTERNAL, "unknown patch type %d", (int)type);
}
