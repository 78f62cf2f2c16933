/* json.c - the tree: building, finding, changing, comparing. */
#include "lib/api/json.h"

#include "lib/base/arena.h"

#include <stdarg.h>
#include <stdio.h>

static struct json *new_value(struct arena *a, enum json_type type)
{
    struct json *j = ARENA_NEW(a, struct json);
    j->type = type;
    return j;
}

struct json *json_null(struct arena *a)
{
    return new_value(a, JSON_NULL);
}

struct json *json_bool(struct arena *a, bool v)
{
    struct json *j = new_value(a, JSON_BOOL);
    j->boolean = v;
    return j;
}

struct json *json_int(struct arena *a, int64_t v)
{
    struct json *j = new_value(a, JSON_INT);
    j->integer = v;
    return j;
}

struct json *json_double(struct arena *a, double v)
{
    struct json *j = new_value(a, JSON_DOUBLE);
    j->number.value = v;
    j->number.text = STR_NULL;
    return j;
}

struct json *json_string(struct arena *a, struct str s)
{
    struct json *j = new_value(a, JSON_STRING);
    j->string = arena_str(a, s);
    return j;
}

struct json *json_stringf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    ASSERT(n >= 0);
    char *text = arena_alloc(a, (size_t)n + 1);
    vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    struct json *j = new_value(a, JSON_STRING);
    j->string = str_n(text, (size_t)n);
    return j;
}

struct json *json_array(struct arena *a)
{
    return new_value(a, JSON_ARRAY);
}

struct json *json_object(struct arena *a)
{
    return new_value(a, JSON_OBJECT);
}

static struct json_member *find_member(const struct json *object, struct str key)
{
    if (object == NULL || object->type != JSON_OBJECT)
        return NULL;
    for (size_t i = 0; i < object->object.count; i++)
        if (str_eq(object->object.members[i].key, key))
            return &object->object.members[i];
    return NULL;
}

struct json *json_get(const struct json *object, struct str key)
{
    const struct json_member *m = find_member(object, key);
    return m != NULL ? m->value : NULL;
}

struct json *json_getc(const struct json *object, const char *key)
{
    return json_get(object, str_of(key));
}

struct json *json_path(const struct json *object, const char *dotted)
{
    struct str rest = str_of(dotted), head;
    struct json *found = NULL;
    while (rest.len > 0) {
        str_cut(rest, '.', &head, &rest);
        found = json_get(object, head);
        if (found == NULL)
            return NULL;
        object = found;
    }
    return found;
}

const char *json_type_name(const struct json *j)
{
    static const char *const names[] = {
        [JSON_NULL] = "null",     [JSON_BOOL] = "boolean",  [JSON_INT] = "integer",
        [JSON_DOUBLE] = "number", [JSON_STRING] = "string", [JSON_ARRAY] = "array",
        [JSON_OBJECT] = "object"};
    return names[j->type];
}

struct str json_get_str(const struct json *object, const char *key)
{
    const struct json *j = json_getc(object, key);
    return j != NULL && j->type == JSON_STRING ? j->string : STR_NULL;
}

int64_t json_get_int(const struct json *object, const char *key, int64_t fallback)
{
    const struct json *j = json_getc(object, key);
    return j != NULL && j->type == JSON_INT ? j->integer : fallback;
}

bool json_get_bool(const struct json *object, const char *key, bool fallback)
{
    const struct json *j = json_getc(object, key);
    return j != NULL && j->type == JSON_BOOL ? j->boolean : fallback;
}

void json_set(struct arena *a, struct json *object, struct str key, struct json *value)
{
    ASSERT(object->type == JSON_OBJECT);
    struct json_member *m = find_member(object, key);
    if (m != NULL) {
        m->value = value;
        return;
    }
    object->object.members = arena_grow(a, object->object.members, object->object.count,
                                        &object->object.cap, sizeof(struct json_member));
    object->object.members[object->object.count++] = (struct json_member){arena_str(a, key), value};
}

void json_setc(struct arena *a, struct json *object, const char *key, struct json *value)
{
    json_set(a, object, str_of(key), value);
}

bool json_remove(struct json *object, struct str key)
{
    struct json_member *m = find_member(object, key);
    if (m == NULL)
        return false;
    struct json_member *end = object->object.members + object->object.count;
    memmove(m, m + 1, (size_t)((char *)end - (char *)(m + 1)));
    object->object.count--;
    return true;
}

void json_append(struct arena *a, struct json *array, struct json *value)
{
    ASSERT(array->type == JSON_ARRAY);
    array->array.items = arena_grow(a, array->array.items, array->array.count, &array->array.cap,
                                    sizeof(struct json *));
    array->array.items[array->array.count++] = value;
}

void json_insert(struct arena *a, struct json *array, size_t index, struct json *value)
{
    ASSERT_CMP(index, <=, array->array.count);
    json_append(a, array, value);
    struct json **at = array->array.items + index;
    memmove(at + 1, at, (array->array.count - 1 - index) * sizeof(*at));
    *at = value;
}

void json_remove_at(struct json *array, size_t index)
{
    ASSERT_CMP(index, <, array->array.count);
    struct json **at = array->array.items + index;
    memmove(at, at + 1, (array->array.count - 1 - index) * sizeof(*at));
    array->array.count--;
}

/* Recursion is bounded: trees come from parsers that bound depth, and are
 * built by code whose depth is fixed. */
struct json *json_clone(struct arena *a, const struct json *j)
{
    if (j == NULL)
        return NULL;
    struct json *copy = arena_memdup(a, j, sizeof(*j));
    switch (j->type) {
    case JSON_STRING:
        copy->string = arena_str(a, j->string);
        break;
    case JSON_DOUBLE:
        if (j->number.text.len > 0)
            copy->number.text = arena_str(a, j->number.text);
        break;
    case JSON_ARRAY:
        copy->array.items = ARENA_ARRAY(a, struct json *, j->array.count);
        copy->array.cap = j->array.count;
        for (size_t i = 0; i < j->array.count; i++)
            copy->array.items[i] = json_clone(a, j->array.items[i]);
        break;
    case JSON_OBJECT:
        copy->object.members = ARENA_ARRAY(a, struct json_member, j->object.count);
        copy->object.cap = j->object.count;
        for (size_t i = 0; i < j->object.count; i++) {
            copy->object.members[i].key = arena_str(a, j->object.members[i].key);
            copy->object.members[i].value = json_clone(a, j->object.members[i].value);
        }
        break;
    case JSON_NULL:
    case JSON_BOOL:
    case JSON_INT:
        break;
    }
    return copy;
}

static bool objects_equal(const struct json *x, const struct json *y)
{
    if (x->object.count != y->object.count)
        return false;
    for (size_t i = 0; i < x->object.count; i++) {
        const struct json_member *m = &x->object.members[i];
        /* The same order is the usual case. */
        const struct json_member *n = &y->object.members[i];
        const struct json *other = str_eq(m->key, n->key) ? n->value : json_get(y, m->key);
        if (other == NULL || !json_equal(m->value, other))
            return false;
    }
    return true;
}

bool json_equal(const struct json *x, const struct json *y)
{
    if (x == NULL || y == NULL)
        return x == y;
    if (x->type != y->type) {
        /* 1 and 1.0 are one number. */
        if (x->type == JSON_INT && y->type == JSON_DOUBLE)
            return (double)x->integer == y->number.value;
        if (x->type == JSON_DOUBLE && y->type == JSON_INT)
            return x->number.value == (double)y->integer;
        return false;
    }
    switch (x->type) {
    case JSON_NULL:
        return true;
    case JSON_BOOL:
        return x->boolean == y->boolean;
    case JSON_INT:
        return x->integer == y->integer;
    case JSON_DOUBLE:
        return x->number.value == y->number.value;
    case JSON_STRING:
        return str_eq(x->string, y->string);
    case JSON_ARRAY:
        if (x->array.count != y->array.count)
            return false;
        for (size_t i = 0; i < x->array.count; i++)
            if (!json_equal(x->array.items[i], y->array.items[i]))
                return false;
        return true;
    case JSON_OBJECT:
        return objects_equal(x, y);
    }
    return false;
}
