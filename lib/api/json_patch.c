/* json_patch.c - RFC 6902, with the liberties of the library that servers use:
 * replacing an absent member adds it, negative indexes count from the end, and
 * an absent member tests equal to null. */
#include "lib/api/patch.h"

#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

struct patcher {
    struct arena *arena;
    struct json *doc;
    size_t copied; /* Bytes of JSON that copy operations added. */
    struct error *err;
};

/* A place in the document: a container and the last part of a pointer. */
struct place {
    struct json *container;
    struct str key;
};

static int does_not_apply(struct patcher *p, const char *op, struct str path)
{
    return error_set(p->err, E_UNPROCESSABLE,
                     "%s operation does not apply: doc is missing path: \"" STR_FMT "\"", op,
                     STR_ARG(path));
}

/* "~1" is a slash, "~0" a tilde. */
static struct str unescape(struct arena *a, struct str part)
{
    if (str_find(part, '~', 0) < 0)
        return part;
    char *out = arena_alloc(a, part.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < part.len; i++) {
        bool escape = part.data[i] == '~' && i + 1 < part.len &&
                      (part.data[i + 1] == '0' || part.data[i + 1] == '1');
        if (escape)
            out[len++] = part.data[++i] == '1' ? '/' : '~';
        else
            out[len++] = part.data[i];
    }
    out[len] = '\0';
    return str_n(out, len);
}

/* The index a key names in an array of `count`, or -1. */
static ptrdiff_t array_index(struct str key, size_t count)
{
    int64_t i;
    if (!str_to_i64(key, &i) || i >= (int64_t)count || i < -(int64_t)count)
        return -1;
    return (ptrdiff_t)(i < 0 ? i + (int64_t)count : i);
}

/* NULL: there is no such value. */
static struct json *get(const struct place *place)
{
    if (place->container->type == JSON_OBJECT)
        return json_get(place->container, place->key);
    ptrdiff_t i = array_index(place->key, place->container->array.count);
    return i < 0 ? NULL : place->container->array.items[i];
}

/* Walks to the container of the pointer's last part. */
static bool find(struct patcher *p, struct str path, struct place *ret)
{
    struct str rest, part;
    /* What stands in front of the first slash is not looked at. */
    if (!str_cut(path, '/', &part, &rest))
        return false;
    struct place place = {.container = p->doc};
    while (str_cut(rest, '/', &part, &rest)) {
        place.key = unescape(p->arena, part);
        place.container = get(&place);
        if (place.container == NULL ||
            (place.container->type != JSON_OBJECT && place.container->type != JSON_ARRAY))
            return false;
    }
    place.key = unescape(p->arena, part);
    *ret = place;
    return true;
}

static int bad_index(struct patcher *p, const char *op, struct str path)
{
    return error_set(p->err, E_UNPROCESSABLE,
                     "error in %s for path: '" STR_FMT "': invalid index referenced", op,
                     STR_ARG(path));
}

static int add_at(struct patcher *p, const struct place *place, struct str path, struct json *value)
{
    struct json *c = place->container;
    if (c->type == JSON_OBJECT) {
        json_set(p->arena, c, place->key, value);
        return 0;
    }
    if (str_eqc(place->key, "-")) {
        json_append(p->arena, c, value);
        return 0;
    }
    /* One more place than there are elements. */
    ptrdiff_t i = array_index(place->key, c->array.count + 1);
    if (i < 0)
        return bad_index(p, "add", path);
    json_insert(p->arena, c, (size_t)i, value);
    return 0;
}

static int remove_at(struct patcher *p, const struct place *place, struct str path)
{
    struct json *c = place->container;
    if (c->type == JSON_OBJECT) {
        if (!json_remove(c, place->key))
            return error_set(p->err, E_UNPROCESSABLE,
                             "error in remove for path: '" STR_FMT
                             "': Unable to remove nonexistent key: " STR_FMT ": missing value",
                             STR_ARG(path), STR_ARG(place->key));
        return 0;
    }
    ptrdiff_t i = array_index(place->key, c->array.count);
    if (i < 0)
        return bad_index(p, "remove", path);
    json_remove_at(c, (size_t)i);
    return 0;
}

static struct json *value_of(struct patcher *p, const struct json *op)
{
    const struct json *value = json_getc(op, "value");
    return value != NULL ? json_clone(p->arena, value) : json_null(p->arena);
}

static int op_add(struct patcher *p, const struct json *op, struct str path)
{
    struct place place;
    if (!find(p, path, &place))
        return does_not_apply(p, "add", path);
    return add_at(p, &place, path, value_of(p, op));
}

static int op_remove(struct patcher *p, struct str path)
{
    struct place place;
    if (!find(p, path, &place))
        return does_not_apply(p, "remove", path);
    return remove_at(p, &place, path);
}

static int op_replace(struct patcher *p, const struct json *op, struct str path)
{
    struct place place;
    struct json *value = value_of(p, op);
    if (path.len == 0) {
        if (value->type != JSON_OBJECT && value->type != JSON_ARRAY)
            return error_set(p->err, E_UNPROCESSABLE,
                             "replace operation value must be object or array");
        p->doc = value;
        return 0;
    }
    if (!find(p, path, &place))
        return does_not_apply(p, "replace", path);
    if (place.container->type == JSON_OBJECT) {
        json_set(p->arena, place.container, place.key, value);
        return 0;
    }
    ptrdiff_t i = array_index(place.key, place.container->array.count);
    if (i < 0)
        return bad_index(p, "replace", path);
    place.container->array.items[i] = value;
    return 0;
}

/* An absent member is worth null, an absent element nothing. */
static struct json *value_at(struct patcher *p, const struct place *place)
{
    struct json *value = get(place);
    return value == NULL && place->container->type == JSON_OBJECT ? json_null(p->arena) : value;
}

static int op_move(struct patcher *p, const struct json *op, struct str path)
{
    struct str from = json_get_str(op, "from");
    struct place place;
    if (!find(p, from, &place))
        return does_not_apply(p, "move", from);
    struct json *value = value_at(p, &place);
    if (value == NULL)
        return bad_index(p, "move", from);
    int r = remove_at(p, &place, from);
    if (r != 0)
        return r;
    if (!find(p, path, &place))
        return does_not_apply(p, "move", path);
    return add_at(p, &place, path, value);
}

static int op_copy(struct patcher *p, const struct json *op, struct str path)
{
    struct str from = json_get_str(op, "from");
    struct place place;
    if (!find(p, from, &place))
        return does_not_apply(p, "copy", from);
    struct json *value = value_at(p, &place);
    if (value == NULL)
        return bad_index(p, "copy", from);
    AUTO_BUF text = BUF_INIT;
    json_write(value, false, &text);
    p->copied += text.len;
    if (p->copied > API_PATCH_COPY_BYTES_MAX)
        return error_set(p->err, E_UNPROCESSABLE,
                         "Unable to complete the copy, the accumulated size increase of copy is "
                         "%zu, exceeding the "
                         "limit %d",
                         p->copied, API_PATCH_COPY_BYTES_MAX);
    if (!find(p, path, &place))
        return does_not_apply(p, "copy", path);
    return add_at(p, &place, path, json_clone(p->arena, value));
}

static int op_test(struct patcher *p, const struct json *op, struct str path)
{
    const struct json *value = p->doc;
    struct place place;
    if (path.len > 0) {
        if (!find(p, path, &place))
            return does_not_apply(p, "test", path);
        value = value_at(p, &place);
        if (value == NULL)
            return bad_index(p, "test", path);
    }
    if (json_equal(value, value_of(p, op)))
        return 0;
    return error_set(p->err, E_UNPROCESSABLE, "testing value " STR_FMT " failed: test failed",
                     STR_ARG(path));
}

static int apply_one(struct patcher *p, const struct json *op)
{
    struct str kind = json_get_str(op, "op");
    const struct json *path = json_getc(op, "path");
    if (path == NULL || path->type != JSON_STRING)
        return error_set(p->err, E_UNPROCESSABLE,
                         STR_FMT " operation failed to decode path: missing value", STR_ARG(kind));
    if (str_eqc(kind, "add"))
        return op_add(p, op, path->string);
    if (str_eqc(kind, "remove"))
        return op_remove(p, path->string);
    if (str_eqc(kind, "replace"))
        return op_replace(p, op, path->string);
    if (str_eqc(kind, "move"))
        return op_move(p, op, path->string);
    if (str_eqc(kind, "copy"))
        return op_copy(p, op, path->string);
    if (str_eqc(kind, "test"))
        return op_test(p, op, path->string);
    return error_set(p->err, E_UNPROCESSABLE, "Unexpected kind: " STR_FMT, STR_ARG(kind));
}

int api_json_patch_apply(struct arena *a, const struct json *doc, const struct json *operations,
                         struct json **ret, struct error *err)
{
    size_t n = operations->array.count;
    if (n > API_PATCH_OPERATIONS_MAX)
        return error_set(err, E_TOO_LARGE,
                         "The allowed maximum operations in a JSON patch is %d, got %zu",
                         API_PATCH_OPERATIONS_MAX, n);
    struct patcher p = {.arena = a, .doc = json_clone(a, doc), .err = err};
    for (size_t i = 0; i < n; i++) {
        int r = apply_one(&p, operations->array.items[i]);
        if (r != 0)
            return r;
    }
    *ret = p.doc;
    return 0;
}
