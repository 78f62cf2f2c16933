/* json_parse.c - text to tree. */
#include "lib/api/json.h"

#include "lib/api/codec.h"
#include "lib/api/json_index.h"
#include "lib/api/json_lex.h"
#include "lib/api/json_write.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

#include <math.h>

/* Our own text: objects nest API_DEPTH_MAX messages deep, each worth two
 * levels of JSON at most, with raw JSON of API_DEPTH_MAX levels at the bottom. */
enum { OWN_DEPTH_MAX = 4 * API_DEPTH_MAX };

static int parse_value(struct json_lex *l, unsigned depth, struct json **ret);

static int parse_object(struct json_lex *l, unsigned depth, struct json *o)
{
    struct json_index index = {.used = false};
    int r;
    l->p++;
    for (bool first = true; (r = json_lex_next(l, '}', first)) > 0; first = false) {
        struct str key;
        struct json *value = NULL;
        if ((r = json_lex_key(l, &key)) != 0 || (r = parse_value(l, depth - 1, &value)) != 0)
            break;
        struct json_member *m = json_index_find(&index, o, key);
        if (m != NULL) /* The last one wins. */
            m->value = value;
        else
            json_index_add(&index, l->arena, o, key, value);
    }
    json_index_done(&index);
    return r;
}

static int parse_array(struct json_lex *l, unsigned depth, struct json *array)
{
    int r;
    l->p++;
    for (bool first = true; (r = json_lex_next(l, ']', first)) > 0; first = false) {
        struct json *value = NULL;
        if ((r = parse_value(l, depth - 1, &value)) != 0)
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
    if (str_to_i64(text, &integer)) {
        j->type = JSON_INT;
        j->integer = integer;
        return 0;
    }
    j->type = JSON_DOUBLE;
    j->number.text = json_lex_copy(l, text);
    j->number.value = strtod(str_c(j->number.text), NULL);
    if (!isfinite(j->number.value)) /* Go's parser refuses what float64 cannot hold. */
        return error_set(l->err, E_INVALID,
                         "json: cannot unmarshal number " STR_FMT " into Go value of type float64",
                         STR_ARG(j->number.text));
    return 0;
}

static int parse_value(struct json_lex *l, unsigned depth, struct json **ret)
{
    if (depth == 0)
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

static int parse(struct arena *a, struct str text, unsigned depth_max, struct json **ret,
                 struct error *err)
{
    struct json_lex l;
    struct json *j = NULL;
    json_lex_init(&l, a, text, err);
    int r = parse_value(&l, depth_max + 1, &j);
    if (r == 0)
        r = json_lex_end(&l);
    if (r == 0)
        *ret = j;
    return r;
}

int json_parse(struct arena *a, struct str text, struct json **ret, struct error *err)
{
    return parse(a, text, API_DEPTH_MAX, ret, err);
}

struct json *json_parse_own(struct arena *a, struct str text)
{
    struct json *j = NULL;
    struct error err = {0};
    int r = parse(a, text, OWN_DEPTH_MAX, &j, &err);
    if (r != 0)
        PANIC("our own JSON does not parse: %s", error_message(&err));
    return j;
}
