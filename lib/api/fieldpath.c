/* fieldpath.c - see fieldpath.h. */
#include "lib/api/fieldpath.h"

#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <inttypes.h>
#include <stdlib.h>

/* --- order --------------------------------------------------------------------- */
static int cmp_i64(int64_t x, int64_t y)
{
    return x < y ? -1 : x > y;
}

static int cmp_double(double x, double y)
{
    return x < y ? -1 : x > y;
}

/* Rank of a type among values; whole and broken numbers compare as numbers. */
static int rank(const struct json *j)
{
    switch (j->type) {
    case JSON_INT:
    case JSON_DOUBLE:
        return 0;
    case JSON_STRING:
        return 1;
    case JSON_BOOL:
        return 2;
    case JSON_ARRAY:
        return 3;
    case JSON_OBJECT:
        return 4;
    case JSON_NULL:
        break;
    }
    return 5;
}

static double number(const struct json *j)
{
    return j->type == JSON_INT ? (double)j->integer : j->number.value;
}

static int cmp_arrays(const struct json *x, const struct json *y)
{
    for (size_t i = 0; i < x->array.count && i < y->array.count; i++) {
        int order = fieldpath_value_cmp(x->array.items[i], y->array.items[i]);
        if (order != 0)
            return order;
    }
    return cmp_i64((int64_t)x->array.count, (int64_t)y->array.count);
}

static bool has_order(const struct json *j)
{
    for (size_t i = 1; i < j->object.count; i++)
        if (str_cmp(j->object.members[i - 1].key, j->object.members[i].key) >= 0)
            return false;
    return true;
}

static int cmp_members(const struct json_member *x, const struct json_member *y)
{
    int order = str_cmp(x->key, y->key);
    return order != 0 ? order : fieldpath_value_cmp(x->value, y->value);
}

/* By the members' order of keys, whichever order they were written in. */
static int cmp_objects(const struct json *x, const struct json *y)
{
    size_t n = x->object.count, m = y->object.count, both = n < m ? n : m;
    int order = 0;
    if (has_order(x) && has_order(y)) {
        for (size_t i = 0; i < both && order == 0; i++)
            order = cmp_members(&x->object.members[i], &y->object.members[i]);
    } else {
        AUTO_FREE const struct json_member **p =
            xmalloc((n + m) * sizeof(const struct json_member *));
        const struct json_member **q = p + n;
        json_sort_members(x, p);
        json_sort_members(y, q);
        for (size_t i = 0; i < both && order == 0; i++)
            order = cmp_members(p[i], q[i]);
    }
    return order != 0 ? order : cmp_i64((int64_t)n, (int64_t)m);
}

/* Recursion follows the depth of parsed JSON, which the parser bounds. */
int fieldpath_value_cmp(const struct json *x, const struct json *y)
{
    int order = rank(x) - rank(y);
    if (order != 0)
        return order;
    switch (x->type) {
    case JSON_INT:
        if (y->type == JSON_INT)
            return cmp_i64(x->integer, y->integer);
        return cmp_double(number(x), number(y));
    case JSON_DOUBLE:
        return cmp_double(number(x), number(y));
    case JSON_STRING:
        return str_cmp(x->string, y->string);
    case JSON_BOOL:
        return (int)x->boolean - (int)y->boolean;
    case JSON_ARRAY:
        return cmp_arrays(x, y);
    case JSON_OBJECT:
        return cmp_objects(x, y);
    case JSON_NULL:
        break;
    }
    return 0;
}

static int cmp_keys(const struct fieldpath_elem *x, const struct fieldpath_elem *y)
{
    for (size_t i = 0; i < x->key.count && i < y->key.count; i++) {
        const struct fieldpath_key *a = &x->key.items[i], *b = &y->key.items[i];
        int order = str_cmp(a->name, b->name);
        if (order == 0)
            order = fieldpath_value_cmp(a->value, b->value);
        if (order != 0)
            return order;
    }
    return cmp_i64((int64_t)x->key.count, (int64_t)y->key.count);
}

int fieldpath_elem_cmp(const struct fieldpath_elem *x, const struct fieldpath_elem *y)
{
    if (x->kind != y->kind)
        return (int)x->kind - (int)y->kind;
    switch (x->kind) {
    case FIELDPATH_NAME:
        /* Generated tables give equal names by one pointer. */
        return x->name.data == y->name.data && x->name.len == y->name.len
                   ? 0
                   : str_cmp(x->name, y->name);
    case FIELDPATH_KEY:
        return cmp_keys(x, y);
    case FIELDPATH_VALUE:
        return fieldpath_value_cmp(x->value, y->value);
    case FIELDPATH_INDEX:
        return cmp_i64(x->index, y->index);
    }
    return 0;
}

void fieldpath_sort_keys(struct fieldpath_key *keys, size_t count)
{
    /* Stable, and short: a list has a handful of keys at most. */
    for (size_t i = 1; i < count; i++)
        for (size_t j = i; j > 0 && str_cmp(keys[j - 1].name, keys[j].name) > 0; j--) {
            struct fieldpath_key swap = keys[j];
            keys[j] = keys[j - 1];
            keys[j - 1] = swap;
        }
}

/* --- text ---------------------------------------------------------------------- */
/* A string without escapes, or a whole number: views, and all that keys hold in
 * practice. *at moves behind it. False: something else. */
static bool parse_plain(struct str text, size_t *at, struct json *ret)
{
    size_t i = *at, start = i;
    if (i < text.len && text.data[i] == '"') {
        for (i++; i < text.len && text.data[i] != '"'; i++)
            if (text.data[i] == '\\' || (unsigned char)text.data[i] < ' ')
                return false;
        if (i >= text.len)
            return false;
        *ret = (struct json){.type = JSON_STRING,
                             .string = str_n(text.data + start + 1, i - start - 1)};
        *at = i + 1;
        return str_is_utf8(ret->string);
    }
    while (i < text.len && text.data[i] >= '0' && text.data[i] <= '9')
        i++;
    if (i == start || (text.data[start] == '0' && i - start > 1))
        return false;
    *ret = (struct json){.type = JSON_INT};
    *at = i;
    return str_to_i64(str_n(text.data + start, i - start), &ret->integer);
}

enum { PLAIN_KEYS_MAX = 4 };

/* The compact form with plain values. False: to be read by the real parser. */
static bool parse_plain_keys(struct arena *a, struct str text, struct fieldpath_elem *ret)
{
    struct fieldpath_key *keys = NULL;
    struct json *values = NULL, name;
    size_t at = 1, n = 0;
    if (text.len == 0 || text.data[0] != '{')
        return false;
    for (;; at++) {
        if (n == PLAIN_KEYS_MAX || !parse_plain(text, &at, &name) || name.type != JSON_STRING ||
            at >= text.len || text.data[at] != ':')
            return false;
        if (keys == NULL) {
            keys = arena_alloc(a, PLAIN_KEYS_MAX * sizeof(*keys));
            values = arena_alloc(a, PLAIN_KEYS_MAX * sizeof(*values));
        }
        at++;
        if (!parse_plain(text, &at, &values[n]) || at >= text.len)
            return false;
        /* In order, which also says that no name repeats. */
        if (n != 0 && str_cmp(keys[n - 1].name, name.string) >= 0)
            return false;
        keys[n] = (struct fieldpath_key){name.string, &values[n]};
        n++;
        if (text.data[at] != ',')
            break;
    }
    if (text.data[at] != '}' || at + 1 != text.len)
        return false;
    *ret = (struct fieldpath_elem){.kind = FIELDPATH_KEY};
    ret->key.items = keys;
    ret->key.count = n;
    return true;
}

static int parse_keys(struct arena *a, struct str text, struct fieldpath_elem *ret,
                      struct error *err)
{
    struct json *j;
    if (parse_plain_keys(a, text, ret))
        return 1;
    int code = json_parse(a, text, &j, err);
    if (code != 0)
        return code;
    if (j->type != JSON_OBJECT)
        return error_set(err, E_INVALID, "path element k:" STR_FMT ": must be an object",
                         STR_ARG(text));
    struct fieldpath_key *keys = ARENA_ARRAY(a, struct fieldpath_key, j->object.count + 1);
    for (size_t i = 0; i < j->object.count; i++)
        keys[i] = (struct fieldpath_key){j->object.members[i].key, j->object.members[i].value};
    fieldpath_sort_keys(keys, j->object.count);
    *ret = (struct fieldpath_elem){.kind = FIELDPATH_KEY};
    ret->key.items = keys;
    ret->key.count = j->object.count;
    return 1;
}

int fieldpath_elem_parse(struct arena *a, struct str text, struct fieldpath_elem *ret,
                         struct error *err)
{
    if (text.len < 2 || text.data[1] != ':')
        return 0;
    struct str rest = str_n(text.data + 2, text.len - 2);
    struct json *value;
    int code;
    switch (text.data[0]) {
    case 'f':
        *ret = (struct fieldpath_elem){.kind = FIELDPATH_NAME, .name = rest};
        return 1;
    case 'k':
        return parse_keys(a, rest, ret, err);
    case 'v':
        code = json_parse(a, rest, &value, err);
        if (code != 0)
            return code;
        *ret = (struct fieldpath_elem){.kind = FIELDPATH_VALUE, .value = value};
        return 1;
    case 'i':
        *ret = (struct fieldpath_elem){.kind = FIELDPATH_INDEX};
        if (!str_to_i64(rest, &ret->index))
            return error_set(err, E_INVALID, "path element " STR_FMT ": must be a number",
                             STR_ARG(text));
        return 1;
    default:
        return 0;
    }
}

/* A JSON string's content. Unlike json_put_escaped() it leaves < > & alone:
 * FieldsV1 is stored so, and escaped when it is served. */
static void put_content(struct str s, struct buf *out)
{
    size_t from = 0;
    if (s.len == 0)
        return;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (c >= ' ' && c != '"' && c != '\\')
            continue;
        buf_append(out, s.data + from, i - from);
        from = i + 1;
        if (c == '"' || c == '\\') {
            buf_putc(out, '\\');
            buf_putc(out, (char)c);
        } else if (c == '\n') {
            buf_append(out, "\\n", 2);
        } else if (c == '\r') {
            buf_append(out, "\\r", 2);
        } else if (c == '\t') {
            buf_append(out, "\\t", 2);
        } else {
            buf_printf(out, "\\u%04x", c);
        }
    }
    buf_append(out, s.data + from, s.len - from);
}

void fieldpath_elem_print(const struct fieldpath_elem *e, struct buf *scratch, struct buf *out)
{
    switch (e->kind) {
    case FIELDPATH_NAME:
        buf_append(out, "f:", 2);
        put_content(e->name, out);
        return;
    case FIELDPATH_KEY:
        buf_append(out, "k:", 2);
        buf_clear(scratch);
        buf_putc(scratch, '{');
        for (size_t i = 0; i < e->key.count; i++) {
            if (i != 0)
                buf_putc(scratch, ',');
            buf_putc(scratch, '"');
            put_content(e->key.items[i].name, scratch);
            buf_append(scratch, "\":", 2);
            json_write(e->key.items[i].value, true, scratch);
        }
        buf_putc(scratch, '}');
        put_content(buf_str(scratch), out);
        return;
    case FIELDPATH_VALUE:
        buf_append(out, "v:", 2);
        buf_clear(scratch);
        json_write(e->value, true, scratch);
        put_content(buf_str(scratch), out);
        return;
    case FIELDPATH_INDEX:
        buf_printf(out, "i:%" PRId64, e->index);
        return;
    }
}

/* --- messages -------------------------------------------------------------------- */
/* As Go's %q prints a string. */
static void show_string(struct str s, struct buf *out)
{
    buf_putc(out, '"');
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        if (c == '"' || c == '\\') {
            buf_putc(out, '\\');
            buf_putc(out, c);
        } else if (c == '\n') {
            buf_puts(out, "\\n");
        } else if (c == '\t') {
            buf_puts(out, "\\t");
        } else if (c == '\r') {
            buf_puts(out, "\\r");
        } else if ((unsigned char)c < ' ' || c == 0x7f) {
            buf_printf(out, "\\x%02x", (unsigned char)c);
        } else {
            buf_putc(out, c);
        }
    }
    buf_putc(out, '"');
}

static void show_value(const struct json *j, struct buf *out)
{
    switch (j->type) {
    case JSON_STRING:
        show_string(j->string, out);
        return;
    case JSON_ARRAY:
        buf_putc(out, '[');
        for (size_t i = 0; i < j->array.count; i++) {
            if (i != 0)
                buf_putc(out, ',');
            show_value(j->array.items[i], out);
        }
        buf_putc(out, ']');
        return;
    case JSON_OBJECT:
        for (size_t i = 0; i < j->object.count; i++) {
            buf_append_str(out, j->object.members[i].key);
            buf_putc(out, '=');
            show_value(j->object.members[i].value, out);
        }
        return;
    case JSON_NULL:
    case JSON_BOOL:
    case JSON_INT:
    case JSON_DOUBLE:
        json_write(j, false, out);
        return;
    }
}

void fieldpath_elem_show(const struct fieldpath_elem *e, struct buf *out)
{
    switch (e->kind) {
    case FIELDPATH_NAME:
        buf_putc(out, '.');
        buf_append_str(out, e->name);
        return;
    case FIELDPATH_KEY:
        buf_putc(out, '[');
        for (size_t i = 0; i < e->key.count; i++) {
            if (i != 0)
                buf_putc(out, ',');
            buf_append_str(out, e->key.items[i].name);
            buf_putc(out, '=');
            show_value(e->key.items[i].value, out);
        }
        buf_putc(out, ']');
        return;
    case FIELDPATH_VALUE:
        buf_puts(out, "[=");
        show_value(e->value, out);
        buf_putc(out, ']');
        return;
    case FIELDPATH_INDEX:
        buf_printf(out, "[%" PRId64 "]", e->index);
        return;
    }
}
