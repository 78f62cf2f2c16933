/* json_parse.c - text to tree. */
#include "lib/api/json.h"

#include "lib/api/codec.h"
#include "lib/api/json_lex.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/base/map.h"

static int parse_value(struct json_lex *l, unsigned depth, struct json **ret);

/* Large objects (a ConfigMap's data, a CRD) look duplicates up in a map;
 * small ones are searched. */
enum { SEARCH_MAX = 16 };

static struct json_member *find(const struct json *o, const struct map *index, struct str key)
{
    if (o->object.count > SEARCH_MAX) {
        uintptr_t position = (uintptr_t)map_get(index, key);
        return position != 0 ? &o->object.members[position - 1] : NULL;
    }
    for (size_t i = 0; i < o->object.count; i++)
        if (str_eq(o->object.members[i].key, key))
            return &o->object.members[i];
    return NULL;
}

static void index_member(const struct json *o, struct map *index)
{
    if (o->object.count <= SEARCH_MAX)
        return;
    /* From the first object that is too large to search on. */
    for (size_t i = o->object.count == SEARCH_MAX + 1 ? 0 : o->object.count - 1; i < o->object.count; i++)
        map_set(index, o->object.members[i].key, (void *)(uintptr_t)(i + 1));
}

static int parse_object(struct json_lex *l, unsigned depth, struct json *o)
{
    struct map index;
    bool indexed = false;
    int r;
    l->p++;
    for (bool first = true; (r = json_lex_next(l, '}', first)) > 0; first = false) {
        struct str key;
        struct json *value;
        if ((r = json_lex_key(l, &key)) != 0 || (r = parse_value(l, depth + 1, &value)) != 0)
            break;
        struct json_member *m = find(o, &index, key);
        if (m != NULL) { /* The last one wins. */
            m->value = value;
            continue;
        }
        o->object.members =
            arena_grow(l->arena, o->object.members, o->object.count, &o->object.cap, sizeof(struct json_member));
        o->object.members[o->object.count++] = (struct json_member){key, value};
        if (!indexed && o->object.count > SEARCH_MAX) {
            map_init(&index);
            indexed = true;
        }
        index_member(o, &index);
    }
    if (indexed)
        map_done(&index);
    return r;
}

static int parse_array(struct json_lex *l, unsigned depth, struct json *array)
{
    int r;
    l->p++;
    for (bool first = true; (r = json_lex_next(l, ']', first)) > 0; first = false) {
        struct json *value;
        if ((r = parse_value(l, depth + 1, &value)) != 0)
            break;
        json_append(l->arena, array, value);
    }
    return r;
}

static int parse_number(struct json_lex *l, struct json *j)
{
    struct str text;
    int r = json_lex_number(l, &text);
    if (r != 0)
        return r;
    int64_t integer;
    if (str_to_i64(text, &integer) && !str_eqc(text, "-0")) {
        j->type = JSON_INT;
        j->integer = integer;
        return 0;
    }
    j->type = JSON_DOUBLE;
    j->number.text = json_lex_copy(l, text);
    j->number.value = strtod(str_c(j->number.text), NULL);
    return 0;
}

static int parse_value(struct json_lex *l, unsigned depth, struct json **ret)
{
    if (depth > API_DEPTH_MAX)
        return error_set(l->err, E_INVALID, "exceeded max depth");
    struct json *j = ARENA_NEW(l->arena, struct json);
    int c = json_lex_peek(l), r;
    switch (c) {
    case '{':
        j->type = JSON_OBJECT;
        r = parse_object(l, depth, j);
        break;
    case '[':
        j->type = JSON_ARRAY;
        r = parse_array(l, depth, j);
        break;
    case '"':
        j->type = JSON_STRING;
        r = json_lex_string(l, &j->string);
        break;
    case 't':
    case 'f':
        j->type = JSON_BOOL;
        j->boolean = c == 't';
        r = json_lex_literal(l, c == 't' ? "true" : "false");
        break;
    case 'n':
        j->type = JSON_NULL;
        r = json_lex_literal(l, "null");
        break;
    default:
        if (c != '-' && !(c >= '0' && c <= '9'))
            return json_lex_fail(l, "looking for beginning of value");
        r = parse_number(l, j);
    }
    if (r == 0)
        *ret = j;
    return r;
}

int json_parse(struct arena *a, struct str text, struct json **ret, struct error *err)
{
    struct json_lex l;
    struct json *j;
    json_lex_init(&l, a, text, err);
    int r = parse_value(&l, 0, &j);
    if (r == 0)
        r = json_lex_end(&l);
    if (r == 0)
        *ret = j;
    return r;
}
