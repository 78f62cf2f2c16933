/* cel_list.c - Kubernetes' list functions, the lists extension, and sets. */
#include "lib/api/cel/cel_table.h"

#include <inttypes.h>

enum { RANGE_MAX = 1000000 };

static V ordered_error(C *c)
{
    return cel_error(c->arena, "no such overload");
}

static V is_sorted(C *c, const V *a)
{
    for (size_t i = 1, n = cel_size(&a[0]); i < n && cel_charge(c, 1); i++) {
        V x = cel_item(&a[0], i - 1), y = cel_item(&a[0], i);
        int r = cel_compare(&x, &y);
        if (r == 2)
            return ordered_error(c);
        if (r == 1)
            return cel_of_bool(false);
    }
    return cel_of_bool(true);
}

static V min_max(C *c, const V *a)
{
    int want = c->function->name[1] == 'i' ? -1 : 1;
    size_t n = cel_size(&a[0]);
    if (n == 0)
        return cel_error(c->arena, "%s called on empty list", c->function->name);
    V best = cel_item(&a[0], 0);
    for (size_t i = 1; i < n && cel_charge(c, 1); i++) {
        V v = cel_item(&a[0], i);
        int r = cel_compare(&v, &best);
        if (r == 2)
            return ordered_error(c);
        if (r == want)
            best = v;
    }
    return best;
}

static V sum(C *c, const V *a)
{
    size_t n = cel_size(&a[0]);
    V total = n == 0 ? cel_of_int(0) : cel_item(&a[0], 0);
    const struct cel_type *t = c->node->type;
    if (n == 0 && t != NULL && t->kind != CEL_INT && t->kind != CEL_DYN)
        total = t->kind == CEL_DURATION ? cel_of_duration(0)
                : t->kind == CEL_DOUBLE ? cel_of_double(0)
                                        : cel_of_uint(0);
    for (size_t i = 1; i < n && cel_charge(c, 1); i++) {
        V v = cel_item(&a[0], i);
        bool over = false;
        if (v.kind != total.kind)
            return ordered_error(c);
        if (v.kind == CEL_INT || v.kind == CEL_DURATION)
            over = __builtin_add_overflow(total.integer, v.integer, &total.integer);
        else if (v.kind == CEL_UINT)
            over = __builtin_add_overflow(total.uinteger, v.uinteger, &total.uinteger);
        else if (v.kind == CEL_DOUBLE)
            total.number += v.number;
        else
            return ordered_error(c);
        if (over)
            return cel_error(c->arena, "integer overflow");
    }
    return total;
}

static V index_of(C *c, const V *a)
{
    bool last = c->function->name[0] == 'l';
    size_t n = cel_size(&a[0]);
    for (size_t k = 0; k < n && cel_charge(c, 1); k++) {
        size_t i = last ? n - 1 - k : k;
        V v = cel_item(&a[0], i);
        if (cel_equal(&v, &a[1]))
            return cel_of_int((int64_t)i);
    }
    return cel_of_int(-1);
}

/* --- the lists extension -------------------------------------------------------------------- */
static V slice(C *c, const V *a)
{
    int64_t from = a[1].integer, to = a[2].integer, n = (int64_t)cel_size(&a[0]);
    if (from < 0 || to < 0)
        return cel_error(c->arena,
                         "cannot slice(%" PRId64 ", %" PRId64 "), negative indexes not supported",
                         from, to);
    if (from > to)
        return cel_error(c->arena,
                         "cannot slice(%" PRId64 ", %" PRId64
                         "), start index must be less than or equal to end index",
                         from, to);
    if (to > n)
        return cel_error(c->arena,
                         "cannot slice(%" PRId64 ", %" PRId64 "), list is length %" PRId64, from,
                         to, n);
    struct cel_list *l = cel_list_new(c->arena);
    for (int64_t i = from; i < to && cel_charge(c, 1); i++)
        cel_list_add(c->arena, l, cel_item(&a[0], (size_t)i));
    return cel_of_list(l);
}

static void flatten_into(C *c, const V *list, int64_t depth, struct cel_list *l)
{
    for (size_t i = 0, n = cel_size(list); i < n && cel_charge(c, 1); i++) {
        V v = cel_item(list, i);
        if (v.kind == CEL_LIST && depth > 0)
            flatten_into(c, &v, depth - 1, l);
        else
            cel_list_add(c->arena, l, v);
    }
}

static V flatten(C *c, const V *a)
{
    int64_t depth = c->function->arg_count == 2 ? a[1].integer : 1;
    if (depth < 0)
        return cel_error(c->arena, "level must be non-negative");
    struct cel_list *l = cel_list_new(c->arena);
    flatten_into(c, &a[0], MIN_OF(depth, (int64_t)CEL_DEPTH_MAX), l);
    return cel_of_list(l);
}

static V distinct(C *c, const V *a)
{
    struct cel_list *l = cel_list_new(c->arena);
    for (size_t i = 0, n = cel_size(&a[0]); i < n && c->cost_left >= 0; i++) {
        V v = cel_item(&a[0], i);
        size_t k = 0;
        while (k < l->count && !cel_equal(&l->items[k], &v))
            k++;
        cel_charge(c, 1 + k);
        if (k == l->count)
            cel_list_add(c->arena, l, v);
    }
    return cel_of_list(l);
}

static V reverse(C *c, const V *a)
{
    struct cel_list *l = cel_list_new(c->arena);
    for (size_t i = cel_size(&a[0]); i > 0 && cel_charge(c, 1); i--)
        cel_list_add(c->arena, l, cel_item(&a[0], i - 1));
    return cel_of_list(l);
}

static int by_value(const void *x, const void *y)
{
    return cel_compare(x, y);
}

static V sort(C *c, const V *a)
{
    struct cel_list *l = cel_list_new(c->arena);
    for (size_t i = 0, n = cel_size(&a[0]); i < n && cel_charge(c, 2); i++) {
        cel_list_add(c->arena, l, cel_item(&a[0], i));
        if (cel_compare(&l->items[0], &l->items[i]) > 1 || l->items[i].kind != l->items[0].kind)
            return cel_error(c->arena, "list elements must be comparable and have the same type");
    }
    if (l->count > 1)
        qsort(l->items, l->count, sizeof(*l->items), by_value);
    return cel_of_list(l);
}

static V range(C *c, const V *a)
{
    if (a[0].integer > RANGE_MAX)
        return cel_error(c->arena, "range is too large");
    struct cel_list *l = cel_list_new(c->arena);
    for (int64_t i = 0; i < a[0].integer && cel_charge(c, 1); i++)
        cel_list_add(c->arena, l, cel_of_int(i));
    return cel_of_list(l);
}

static V ends(C *c, const V *a)
{
    size_t n = cel_size(&a[0]);
    if (n == 0)
        return cel_of_optional(c->arena, NULL);
    V v = cel_item(&a[0], c->function->name[0] == 'f' ? 0 : n - 1);
    return cel_of_optional(c->arena, &v);
}

/* --- sets ---------------------------------------------------------------------------------------
 */
static bool holds(C *c, const V *list, const V *v)
{
    for (size_t i = 0, n = cel_size(list); i < n && cel_charge(c, 1); i++) {
        V item = cel_item(list, i);
        if (cel_equal(&item, v))
            return true;
    }
    return false;
}

static bool holds_all(C *c, const V *list, const V *of)
{
    for (size_t i = 0, n = cel_size(of); i < n; i++) {
        V v = cel_item(of, i);
        if (!holds(c, list, &v))
            return false;
    }
    return true;
}

static V sets_contains(C *c, const V *a)
{
    return cel_of_bool(holds_all(c, &a[0], &a[1]));
}

static V sets_equivalent(C *c, const V *a)
{
    return cel_of_bool(holds_all(c, &a[0], &a[1]) && holds_all(c, &a[1], &a[0]));
}

static V sets_intersects(C *c, const V *a)
{
    for (size_t i = 0, n = cel_size(&a[0]); i < n; i++) {
        V v = cel_item(&a[0], i);
        if (holds(c, &a[1], &v))
            return cel_of_bool(true);
    }
    return cel_of_bool(false);
}

#define L &cel_list_a
#define A &cel_param_a
#define I &cel_int
#define ORDERED(name, result, run, list) M(name, 1, result, run, list)

static const struct cel_type list_uint = {.kind = CEL_LIST, .elem = &cel_uint},
                             list_double = {.kind = CEL_LIST, .elem = &cel_double},
                             list_duration = {.kind = CEL_LIST, .elem = &cel_duration},
                             list_timestamp = {.kind = CEL_LIST, .elem = &cel_timestamp},
                             list_bool = {.kind = CEL_LIST, .elem = &cel_bool},
                             list_bytes = {.kind = CEL_LIST, .elem = &cel_bytes};

#define EACH(name, run, result_of)                                                                 \
    M(name, 1, result_of(cel_int), run, &cel_list_int),                                            \
        M(name, 1, result_of(cel_uint), run, &list_uint),                                          \
        M(name, 1, result_of(cel_double), run, &list_double),                                      \
        M(name, 1, result_of(cel_duration), run, &list_duration)
#define EACH_ORDERED(name, run, result_of)                                                         \
    EACH(name, run, result_of), M(name, 1, result_of(cel_timestamp), run, &list_timestamp),        \
        M(name, 1, result_of(cel_bool), run, &list_bool),                                          \
        M(name, 1, result_of(cel_bytes), run, &list_bytes),                                        \
        M(name, 1, result_of(cel_string), run, &cel_list_string)
#define ELEMENT(t) &t
#define BOOL(t) &cel_bool

const struct cel_function cel_functions_list[] = {
    EACH_ORDERED("isSorted", is_sorted, BOOL),
    EACH_ORDERED("min", min_max, ELEMENT),
    EACH_ORDERED("max", min_max, ELEMENT),
    EACH("sum", sum, ELEMENT),
    M("indexOf", 2, I, index_of, L, A),
    M("lastIndexOf", 2, I, index_of, L, A),
    M("slice", 3, L, slice, L, I, I),
    M("flatten", 1, L, flatten, &cel_list_list_a),
    M("flatten", 1, &cel_list_dyn, flatten, &cel_list_dyn),
    M("flatten", 2, &cel_list_dyn, flatten, &cel_list_dyn, I),
    M("distinct", 1, L, distinct, L),
    M("reverse", 1, L, reverse, L),
    M("sort", 1, L, sort, L),
    M("first", 1, &cel_optional_a, ends, L),
    M("last", 1, &cel_optional_a, ends, L),
    G("lists.range", 1, &cel_list_int, range, I),
    G("sets.contains", 2, &cel_bool, sets_contains, L, L),
    G("sets.equivalent", 2, &cel_bool, sets_equivalent, L, L),
    G("sets.intersects", 2, &cel_bool, sets_intersects, L, L),
    {NULL},
};
