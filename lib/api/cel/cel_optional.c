/* cel_optional.c - optional values. */
#include "lib/api/cel/cel_table.h"

static V of(C *c, const V *a)
{
    return cel_of_optional(c->arena, &a[0]);
}

static V of_non_zero(C *c, const V *a)
{
    return cel_of_optional(c->arena, cel_is_zero(&a[0]) ? NULL : &a[0]);
}

static V none(C *c, const V *a)
{
    UNUSED(a);
    return cel_of_optional(c->arena, NULL);
}

static V has_value(C *c, const V *a)
{
    UNUSED(c);
    return cel_of_bool(a[0].inner != NULL);
}

static V value(C *c, const V *a)
{
    return a[0].inner != NULL ? *a[0].inner : cel_error(c->arena, "optional.none() dereference");
}

static V or_else(C *c, const V *a)
{
    UNUSED(c);
    return a[0].inner != NULL ? a[0] : a[1];
}

static V or_value(C *c, const V *a)
{
    UNUSED(c);
    return a[0].inner != NULL ? *a[0].inner : a[1];
}

static V unwrap(C *c, const V *a)
{
    struct cel_list *l = cel_list_new(c->arena);
    for (size_t i = 0, n = cel_size(&a[0]); i < n && cel_charge(c, 1); i++) {
        V v = cel_item(&a[0], i);
        if (v.kind != CEL_OPTIONAL)
            return cel_error(c->arena, "no such overload");
        if (v.inner != NULL)
            cel_list_add(c->arena, l, *v.inner);
    }
    return cel_of_list(l);
}

static const struct cel_type list_optional = {.kind = CEL_LIST, .elem = &cel_optional_a};

#define O &cel_optional_a
#define A &cel_param_a

const struct cel_function cel_functions_optional[] = {
    G("optional.of", 1, O, of, A),
    G("optional.ofNonZeroValue", 1, O, of_non_zero, A),
    {"optional.none", false, 0, {NULL}, O, none},
    M("hasValue", 1, &cel_bool, has_value, O),
    M("value", 1, A, value, O),
    M("or", 2, O, or_else, O, O),
    M("orValue", 2, A, or_value, O, A),
    G("optional.unwrap", 1, &cel_list_a, unwrap, &list_optional),
    M("unwrapOpt", 1, &cel_list_a, unwrap, &list_optional),
    {NULL},
};
