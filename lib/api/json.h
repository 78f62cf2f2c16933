/* json.h - a JSON document as a tree in an arena: what patches, YAML and
 * unstructured objects work on. Typed objects do not pass through it on the
 * hot path (codec.h).
 *
 * Object members keep their order. Integers that fit in 64 bits are
 * kept as such; other numbers are doubles, printed as Go prints a float64. Trees are mutable until
 * shared. */
#ifndef API_JSON_H
#define API_JSON_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct arena;
struct buf;
struct error;

enum json_type {
    JSON_NULL,
    JSON_BOOL,
    JSON_INT,
    JSON_DOUBLE,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

struct json_member;

struct json {
    enum json_type type;
    union {
        bool boolean;
        int64_t integer;
        struct {
            double value;
            struct str text; /* As it stood; empty when it was not read. */
        } number;            /* JSON_DOUBLE */
        struct str string;
        struct {
            struct json **items;
            size_t count, cap;
        } array;
        struct {
            struct json_member *members;
            size_t count, cap;
        } object;
    };
};

struct json_member {
    struct str key;
    struct json *value;
};

/* Whole-text parse; RFC 8259, depth bounded; of duplicate members the last one
 * wins. Error texts as Go's encoding/json words them (invalid character 'x'
 * looking for ...). */
int json_parse(struct arena *a, struct str text, struct json **ret, struct error *err);
/* Compact; sort_keys for a canonical text. Here and wherever JSON is written,
 * < > & are escaped (\u003c), since Go's encoder does so in every Kubernetes
 * program. */
void json_write(const struct json *j, bool sort_keys, struct buf *out);
/* As Go's json.MarshalIndent with four spaces (kubectl -o json). */
void json_write_indent(const struct json *j, bool sort_keys, unsigned indent, struct buf *out);
/* As Go's %v prints a decoded document (map[a:1 b:[x]]): error texts quote it. */
void json_write_go(const struct json *j, struct buf *out);
/* Pointers to an object's members in the order of their keys; ret has room for all of them. */
void json_sort_members(const struct json *j, const struct json_member **ret);
/* The quoted, escaped form of s as Go's encoder writes it. */
void json_write_string(struct str s, struct buf *out);

/* "null", "boolean", "integer", "number", "string", "array", "object". */
const char *json_type_name(const struct json *j);
struct json *json_null(struct arena *a);
struct json *json_bool(struct arena *a, bool v);
struct json *json_int(struct arena *a, int64_t v);
struct json *json_double(struct arena *a, double v);
struct json *json_string(struct arena *a, struct str s); /* Copies. */
struct json *json_stringf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
struct json *json_array(struct arena *a);
struct json *json_object(struct arena *a);

/* NULL when absent or not an object. */
struct json *json_get(const struct json *object, struct str key);
struct json *json_getc(const struct json *object, const char *key);
/* Walks a dotted path of plain member names. */
struct json *json_path(const struct json *object, const char *dotted);
struct str json_get_str(const struct json *object,
                        const char *key); /* Empty when absent or no string. */
int64_t json_get_int(const struct json *object, const char *key, int64_t fallback);
bool json_get_bool(const struct json *object, const char *key, bool fallback);
void json_set(struct arena *a, struct json *object, struct str key,
              struct json *value); /* Key is copied. */
void json_setc(struct arena *a, struct json *object, const char *key, struct json *value);
bool json_remove(struct json *object, struct str key);
void json_append(struct arena *a, struct json *array, struct json *value);
void json_insert(struct arena *a, struct json *array, size_t index, struct json *value);
void json_remove_at(struct json *array, size_t index);
struct json *json_clone(struct arena *a, const struct json *j);
bool json_equal(const struct json *x, const struct json *y); /* Members in any order. */

#endif
