/* cel_standard.c - operators, size, conversions, and the index of functions. */
#include "lib/api/cel/cel_table.h"

#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>

/* --- arithmetic --------------------------------------------------------------------------- */
static V overflow(C *c, const char *what)
{
    return cel_error(c->arena, "%s overflow", what);
}

/* Arithmetic that may not fit. */
#define CHECKED(name, type, member, builtin, make, what)                                           \
    static V name(C *c, const V *a)                                                                \
    {                                                                                              \
        type r;                                                                                    \
        return builtin(a[0].member, a[1].member, &r) ? overflow(c, what) : make(r);                \
    }
CHECKED(add_int, int64_t, integer, __builtin_add_overflow, cel_of_int, "integer")
CHECKED(sub_int, int64_t, integer, __builtin_sub_overflow, cel_of_int, "integer")
CHECKED(mul_int, int64_t, integer, __builtin_mul_overflow, cel_of_int, "integer")
CHECKED(add_uint, uint64_t, uinteger, __builtin_add_overflow, cel_of_uint, "unsigned integer")
CHECKED(sub_uint, uint64_t, uinteger, __builtin_sub_overflow, cel_of_uint, "unsigned integer")
CHECKED(mul_uint, uint64_t, uinteger, __builtin_mul_overflow, cel_of_uint, "unsigned integer")

static V div_int(C *c, const V *a)
{
    if (a[1].integer == 0)
        return cel_error(c->arena, "division by zero");
    if (a[0].integer == INT64_MIN && a[1].integer == -1)
        return overflow(c, "integer");
    return cel_of_int(a[0].integer / a[1].integer);
}

static V mod_int(C *c, const V *a)
{
    if (a[1].integer == 0)
        return cel_error(c->arena, "modulus by zero");
    if (a[0].integer == INT64_MIN && a[1].integer == -1)
        return overflow(c, "integer");
    return cel_of_int(a[0].integer % a[1].integer);
}

static V neg_int(C *c, const V *a)
{
    return a[0].integer == INT64_MIN ? overflow(c, "integer") : cel_of_int(-a[0].integer);
}

static V div_uint(C *c, const V *a)
{
    return a[1].uinteger == 0 ? cel_error(c->arena, "division by zero")
                              : cel_of_uint(a[0].uinteger / a[1].uinteger);
}

static V mod_uint(C *c, const V *a)
{
    return a[1].uinteger == 0 ? cel_error(c->arena, "modulus by zero")
                              : cel_of_uint(a[0].uinteger % a[1].uinteger);
}

#define DOUBLE(name, op)                                                                           \
    static V name(C *c, const V *a)                                                                \
    {                                                                                              \
        UNUSED(c);                                                                                 \
        return cel_of_double(a[0].number op a[1].number);                                          \
    }
DOUBLE(add_double, +)
DOUBLE(sub_double, -)
DOUBLE(mul_double, *)
DOUBLE(div_double, /)

static V neg_double(C *c, const V *a)
{
    UNUSED(c);
    return cel_of_double(-a[0].number);
}

static V add_text(C *c, const V *a)
{
    size_t n = a[0].string.len + a[1].string.len;
    cel_charge_bytes(c, n);
    if (c->cost_left < 0)
        return a[0];
    char *p = arena_alloc(c->arena, n + 1);
    if (a[0].string.len != 0)
        memcpy(p, a[0].string.data, a[0].string.len);
    if (a[1].string.len != 0)
        memcpy(p + a[0].string.len, a[1].string.data, a[1].string.len);
    p[n] = '\0';
    V v = a[0];
    v.string = str_n(p, n);
    return v;
}

/* --- lists -------------------------------------------------------------------------------------
 */
static bool same_key(const V *x, const V *y, const struct cel_type *t)
{
    if (t->list_type == CEL_LIST_SET)
        return cel_equal(x, y);
    for (size_t i = 0; i < t->list_key_count; i++) {
        V key = cel_of_str(t->list_keys[i]);
        V a = cel_lookup(x, &key, NULL), b = cel_lookup(y, &key, NULL);
        if (a.kind != b.kind || (a.kind != CEL_DYN && !cel_equal(&a, &b)))
            return false;
    }
    return true;
}

/* Sets are united; the right side's entries of a map replace the left's. */
static V merge_lists(C *c, const V *a)
{
    const struct cel_type *t = a[0].type;
    struct cel_list *l = cel_list_new(c->arena);
    for (size_t i = 0, n = cel_size(&a[0]); i < n; i++)
        cel_list_add(c->arena, l, cel_item(&a[0], i));
    for (size_t i = 0, n = cel_size(&a[1]); i < n && c->cost_left >= 0; i++) {
        V v = cel_item(&a[1], i);
        size_t k = 0;
        while (k < l->count && !same_key(&l->items[k], &v, t))
            k++;
        cel_charge(c, k);
        if (k < l->count)
            l->items[k] = v;
        else
            cel_list_add(c->arena, l, v);
    }
    V r = cel_of_list(l);
    r.type = t;
    return r;
}

static V add_list(C *c, const V *a)
{
    if (a[0].type != NULL && a[0].type->list_type != CEL_LIST_ATOMIC)
        return merge_lists(c, a);
    cel_charge_bytes(c, cel_size(&a[0]) + cel_size(&a[1]));
    struct cel_list *l = cel_list_new(c->arena);
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0, n = cel_size(&a[k]); i < n && c->cost_left >= 0; i++)
            cel_list_add(c->arena, l, cel_item(&a[k], i));
    return cel_of_list(l);
}

static V in_list(C *c, const V *a)
{
    for (size_t i = 0, n = cel_size(&a[1]); i < n; i++) {
        V v = cel_item(&a[1], i);
        if (i != 0 && !cel_charge(c, 1))
            break;
        if (cel_equal(&a[0], &v))
            return cel_of_bool(true);
    }
    return cel_of_bool(false);
}

static V in_map(C *c, const V *a)
{
    return cel_of_bool(cel_find(c, &a[1], &a[0]).kind != CEL_DYN);
}

/* --- comparisons
 * ---------------------------------------------------------------------------------- */
static size_t extent(const V *v)
{
    return v->kind == CEL_STRING || v->kind == CEL_BYTES ? v->string.len : cel_size(v);
}

/* Lists without order are compared item by item: what upstream does by hash. */
static void charge_comparison(C *c, const V *a)
{
    size_t n = MIN_OF(extent(&a[0]), extent(&a[1]));
    cel_charge_bytes(c, n);
    if (a[0].kind == CEL_LIST && a[0].type != NULL && a[0].type->list_type != CEL_LIST_ATOMIC)
        cel_charge(c, n * n / 100);
}

static V equal(C *c, const V *a)
{
    charge_comparison(c, a);
    if (c->cost_left < 0)
        return a[0]; /* The caller tells. */
    return cel_of_bool(cel_equal(&a[0], &a[1]));
}

static V not_equal(C *c, const V *a)
{
    charge_comparison(c, a);
    if (c->cost_left < 0)
        return a[0];
    return cel_of_bool(!cel_equal(&a[0], &a[1]));
}

static V compare(C *c, const V *a)
{
    cel_charge_bytes(c, MIN_OF(extent(&a[0]), extent(&a[1])));
    const char *op = c->function->name;
    int r = cel_compare(&a[0], &a[1]);
    if (r == 2)
        return cel_no_overload(c->arena, op, a, 2);
    if (r == 3)
        return cel_of_bool(false);
    bool or_equal = op[2] == '=';
    return cel_of_bool(op[1] == '<' ? r < 0 || (or_equal && r == 0)
                                    : r > 0 || (or_equal && r == 0));
}

static V not_bool(C *c, const V *a)
{
    UNUSED(c);
    return cel_of_bool(!a[0].boolean);
}

/* --- sizes
 * -------------------------------------------------------------------------------------------- */
static V size_text(C *c, const V *a)
{
    if (a[0].kind == CEL_BYTES)
        return cel_of_int((int64_t)a[0].string.len);
    UNUSED(c);
    return cel_of_int((int64_t)cel_utf8_len(a[0].string));
}

static V size_items(C *c, const V *a)
{
    UNUSED(c);
    return cel_of_int((int64_t)cel_size(&a[0]));
}

/* --- conversions
 * ------------------------------------------------------------------------------------------ */
static V same_value(C *c, const V *a)
{
    UNUSED(c);
    return a[0];
}

static V to_int(C *c, const V *a)
{
    int64_t i;
    switch (a[0].kind) {
    case CEL_UINT:
        return a[0].uinteger > INT64_MAX ? overflow(c, "integer")
                                         : cel_of_int((int64_t)a[0].uinteger);
    case CEL_DOUBLE:
        return isnan(a[0].number) || a[0].number >= 9223372036854775808.0 ||
                       a[0].number <= -9223372036854775808.0
                   ? overflow(c, "integer")
                   : cel_of_int((int64_t)a[0].number);
    case CEL_TIMESTAMP:
        return cel_of_int(a[0].time.seconds);
    case CEL_DURATION:
        return cel_of_int(a[0].integer);
    default:
        return str_to_i64(a[0].string, &i)
                   ? cel_of_int(i)
                   : cel_error(c->arena, "type conversion error from 'string' to 'int'");
    }
}

static V to_uint(C *c, const V *a)
{
    uint64_t u;
    switch (a[0].kind) {
    case CEL_INT:
        return a[0].integer < 0 ? overflow(c, "unsigned integer")
                                : cel_of_uint((uint64_t)a[0].integer);
    case CEL_DOUBLE:
        return isnan(a[0].number) || a[0].number < 0 || a[0].number >= 18446744073709551616.0
                   ? overflow(c, "unsigned integer")
                   : cel_of_uint((uint64_t)a[0].number);
    default:
        return str_to_u64(a[0].string, &u)
                   ? cel_of_uint(u)
                   : cel_error(c->arena, "type conversion error from 'string' to 'uint'");
    }
}

static V to_double(C *c, const V *a)
{
    if (a[0].kind == CEL_INT)
        return cel_of_double((double)a[0].integer);
    if (a[0].kind == CEL_UINT)
        return cel_of_double((double)a[0].uinteger);
    char text[512], *end;
    size_t n = a[0].string.len;
    if (n == 0 || n >= sizeof(text) || memchr(a[0].string.data, ' ', n) != NULL)
        return cel_error(c->arena, "type conversion error from 'string' to 'double'");
    memcpy(text, a[0].string.data, n);
    text[n] = '\0';
    double d = strtod(text, &end);
    return end == text + n ? cel_of_double(d)
                           : cel_error(c->arena, "type conversion error from 'string' to 'double'");
}

static V to_text(C *c, const V *a)
{
    if (a[0].kind == CEL_BYTES) {
        cel_charge_bytes(c, a[0].string.len);
        return str_is_utf8(a[0].string)
                   ? cel_of_str(a[0].string)
                   : cel_error(c->arena, "invalid UTF-8 in bytes, cannot convert to string");
    }
    AUTO_BUF b = BUF_INIT;
    cel_value_text(&a[0], &b);
    return cel_of_str(arena_str(c->arena, buf_str(&b)));
}

static V to_bytes(C *c, const V *a)
{
    cel_charge_bytes(c, a[0].string.len);
    return cel_of_bytes(a[0].string);
}

static V to_bool(C *c, const V *a)
{
    static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"};
    static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False"};
    for (size_t i = 0; i < ARRAY_SIZE(yes); i++)
        if (str_eqc(a[0].string, yes[i]) || str_eqc(a[0].string, no[i]))
            return cel_of_bool(str_eqc(a[0].string, yes[i]));
    return cel_error(c->arena, "type conversion error from 'string' to 'bool'");
}

static V type_of(C *c, const V *a)
{
    static const struct cel_type any = {.kind = CEL_MAP, .key = &cel_dyn, .elem = &cel_dyn};
    if (a[0].type != NULL && a[0].kind != CEL_TYPE && a[0].kind != CEL_MAP && a[0].kind != CEL_LIST)
        return cel_of_type(a[0].type);
    if (a[0].kind == CEL_TYPE)
        return cel_of_type(&cel_type_type);
    if (a[0].kind == CEL_MAP)
        return cel_of_type(&any);
    struct cel_type *t = ARENA_NEW(c->arena, struct cel_type);
    t->kind = a[0].kind;
    return cel_of_type(t);
}

#define ARITH(name, t, run) G(name, 2, &t, run, &t, &t)
#define ORDER1(name, t, u) G(name, 2, &cel_bool, compare, &t, &u)
#define ORDER(name)                                                                                \
    ORDER1(name, cel_bool, cel_bool), ORDER1(name, cel_int, cel_int),                              \
        ORDER1(name, cel_int, cel_uint), ORDER1(name, cel_int, cel_double),                        \
        ORDER1(name, cel_uint, cel_uint), ORDER1(name, cel_uint, cel_int),                         \
        ORDER1(name, cel_uint, cel_double), ORDER1(name, cel_double, cel_double),                  \
        ORDER1(name, cel_double, cel_int), ORDER1(name, cel_double, cel_uint),                     \
        ORDER1(name, cel_string, cel_string), ORDER1(name, cel_bytes, cel_bytes),                  \
        ORDER1(name, cel_timestamp, cel_timestamp), ORDER1(name, cel_duration, cel_duration)

const struct cel_function cel_functions_standard[] = {
    ARITH("_+_", cel_int, add_int),
    ARITH("_+_", cel_uint, add_uint),
    ARITH("_+_", cel_double, add_double),
    ARITH("_+_", cel_string, add_text),
    ARITH("_+_", cel_bytes, add_text),
    G("_+_", 2, &cel_list_a, add_list, &cel_list_a, &cel_list_a),
    ARITH("_-_", cel_int, sub_int),
    ARITH("_-_", cel_uint, sub_uint),
    ARITH("_-_", cel_double, sub_double),
    ARITH("_*_", cel_int, mul_int),
    ARITH("_*_", cel_uint, mul_uint),
    ARITH("_*_", cel_double, mul_double),
    ARITH("_/_", cel_int, div_int),
    ARITH("_/_", cel_uint, div_uint),
    ARITH("_/_", cel_double, div_double),
    ARITH("_%_", cel_int, mod_int),
    ARITH("_%_", cel_uint, mod_uint),
    G("-_", 1, &cel_int, neg_int, &cel_int),
    G("-_", 1, &cel_double, neg_double, &cel_double),
    G("!_", 1, &cel_bool, not_bool, &cel_bool),
    G("_==_", 2, &cel_bool, equal, &cel_param_a, &cel_param_a),
    G("_!=_", 2, &cel_bool, not_equal, &cel_param_a, &cel_param_a),
    ORDER("_<_"),
    ORDER("_<=_"),
    ORDER("_>_"),
    ORDER("_>=_"),
    G("@in", 2, &cel_bool, in_list, &cel_param_a, &cel_list_a),
    G("@in", 2, &cel_bool, in_map, &cel_param_a, &cel_map_ab),
    G("size", 1, &cel_int, size_text, &cel_string),
    G("size", 1, &cel_int, size_text, &cel_bytes),
    G("size", 1, &cel_int, size_items, &cel_list_a),
    G("size", 1, &cel_int, size_items, &cel_map_ab),
    M("size", 1, &cel_int, size_text, &cel_string),
    M("size", 1, &cel_int, size_text, &cel_bytes),
    M("size", 1, &cel_int, size_items, &cel_list_a),
    M("size", 1, &cel_int, size_items, &cel_map_ab),
    {NULL},
};

const struct cel_function cel_functions_convert[] = {
    G("int", 1, &cel_int, same_value, &cel_int),
    G("int", 1, &cel_int, to_int, &cel_uint),
    G("int", 1, &cel_int, to_int, &cel_double),
    G("int", 1, &cel_int, to_int, &cel_string),
    G("int", 1, &cel_int, to_int, &cel_timestamp),
    G("int", 1, &cel_int, to_int, &cel_duration),
    G("uint", 1, &cel_uint, same_value, &cel_uint),
    G("uint", 1, &cel_uint, to_uint, &cel_int),
    G("uint", 1, &cel_uint, to_uint, &cel_double),
    G("uint", 1, &cel_uint, to_uint, &cel_string),
    G("double", 1, &cel_double, same_value, &cel_double),
    G("double", 1, &cel_double, to_double, &cel_int),
    G("double", 1, &cel_double, to_double, &cel_uint),
    G("double", 1, &cel_double, to_double, &cel_string),
    G("string", 1, &cel_string, same_value, &cel_string),
    G("string", 1, &cel_string, to_text, &cel_bool),
    G("string", 1, &cel_string, to_text, &cel_int),
    G("string", 1, &cel_string, to_text, &cel_uint),
    G("string", 1, &cel_string, to_text, &cel_double),
    G("string", 1, &cel_string, to_text, &cel_bytes),
    G("string", 1, &cel_string, to_text, &cel_timestamp),
    G("string", 1, &cel_string, to_text, &cel_duration),
    G("string", 1, &cel_string, to_text, &cel_ip),
    G("string", 1, &cel_string, to_text, &cel_cidr),
    G("bytes", 1, &cel_bytes, same_value, &cel_bytes),
    G("bytes", 1, &cel_bytes, to_bytes, &cel_string),
    G("bool", 1, &cel_bool, same_value, &cel_bool),
    G("bool", 1, &cel_bool, to_bool, &cel_string),
    G("dyn", 1, &cel_dyn, same_value, &cel_param_a),
    G("type", 1, &cel_type_type, type_of, &cel_param_a),
    {NULL},
};

/* --- the index
 * ---------------------------------------------------------------------------------------- */
static const struct cel_function *const libraries[] = {
    cel_functions_standard, cel_functions_convert, cel_functions_time,     cel_functions_string,
    cel_functions_list,     cel_functions_math,    cel_functions_optional, cel_functions_url,
    cel_functions_quantity, cel_functions_net,     cel_functions_format,   cel_functions_semver,
};

static const struct cel_function **sorted;
static size_t sorted_count;

/* By name; overloads keep the order of their table, which lies in one place. */
static int by_name(const void *x, const void *y)
{
    const struct cel_function *a = *(const struct cel_function *const *)x,
                              *b = *(const struct cel_function *const *)y;
    int c = strcmp(a->name, b->name);
    return c != 0 ? c : a < b ? -1 : 1;
}

static void build_index(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(libraries); i++)
        for (const struct cel_function *f = libraries[i]; f->name != NULL; f++)
            sorted_count++;
    sorted = xmalloc(sorted_count * sizeof(*sorted));
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_SIZE(libraries); i++)
        for (const struct cel_function *f = libraries[i]; f->name != NULL; f++)
            sorted[n++] = f;
    qsort(sorted, n, sizeof(*sorted), by_name);
}

size_t cel_functions_named(const struct cel_env *env, struct str name,
                           const struct cel_function **ret, size_t max)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, build_index);
    size_t from = 0, to = sorted_count, count = 0;
    while (from < to) {
        size_t mid = from + (to - from) / 2;
        if (str_cmp(str_of(sorted[mid]->name), name) < 0)
            from = mid + 1;
        else
            to = mid;
    }
    for (; from < sorted_count && count < max && str_eqc(name, sorted[from]->name); from++)
        ret[count++] = sorted[from];
    for (size_t i = 0; i < env->function_count && count < max; i++)
        if (str_eqc(name, env->functions[i].name))
            ret[count++] = &env->functions[i];
    return count;
}
