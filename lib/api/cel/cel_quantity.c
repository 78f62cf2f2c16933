/* cel_quantity.c - Kubernetes' quantities as values. */
#include "lib/api/cel/cel_table.h"

#include "lib/api/quantity.h"
#include "lib/base/error.h"

static V make(C *c, struct quantity q)
{
    return (V){.kind = CEL_QUANTITY, .opaque = arena_memdup(c->arena, &q, sizeof(q))};
}

static V quantity_from(C *c, const V *a)
{
    struct quantity q;
    struct error err = {0};
    cel_charge_bytes(c, a[0].string.len);
    if (quantity_parse(a[0].string, &q, &err) != 0)
        return cel_error(c->arena, "%s", error_message(&err));
    return make(c, q);
}

static V is_quantity(C *c, const V *a)
{
    struct quantity q;
    cel_charge_bytes(c, a[0].string.len);
    return cel_of_bool(quantity_parse(a[0].string, &q, NULL) == 0);
}

static bool whole(const struct quantity *q, int64_t *ret)
{
    *ret = quantity_value(q);
    struct quantity back = quantity_from_int(*ret, QUANTITY_DECIMAL_SI);
    return quantity_cmp(q, &back) == 0;
}

static V is_integer(C *c, const V *a)
{
    int64_t i;
    UNUSED(c);
    return cel_of_bool(whole(a[0].opaque, &i));
}

static V as_integer(C *c, const V *a)
{
    int64_t i;
    return whole(a[0].opaque, &i) ? cel_of_int(i)
                                  : cel_error(c->arena, "cannot convert value to integer");
}

static V as_float(C *c, const V *a)
{
    UNUSED(c);
    return cel_of_double(quantity_to_double(a[0].opaque));
}

static V sign(C *c, const V *a)
{
    UNUSED(c);
    return cel_of_int(quantity_sign(a[0].opaque));
}

static V add_sub(C *c, const V *a)
{
    struct quantity x = *(const struct quantity *)a[0].opaque,
                    y = a[1].kind == CEL_INT ? quantity_from_int(a[1].integer, QUANTITY_DECIMAL_SI)
                                             : *(const struct quantity *)a[1].opaque;
    if (c->function->name[0] == 'a')
        quantity_add(&x, &y);
    else
        quantity_sub(&x, &y);
    return make(c, x);
}

static V compare(C *c, const V *a)
{
    int r = quantity_cmp(a[0].opaque, a[1].opaque);
    const char *f = c->function->name;
    return f[0] == 'c' ? cel_of_int(r) : cel_of_bool(f[2] == 'L' ? r < 0 : r > 0);
}

#define Q &cel_quantity

const struct cel_function cel_functions_quantity[] = {
    G("quantity", 1, Q, quantity_from, &cel_string),
    G("isQuantity", 1, &cel_bool, is_quantity, &cel_string),
    M("isInteger", 1, &cel_bool, is_integer, Q),
    M("asInteger", 1, &cel_int, as_integer, Q),
    M("asApproximateFloat", 1, &cel_double, as_float, Q),
    M("sign", 1, &cel_int, sign, Q),
    M("add", 2, Q, add_sub, Q, Q),
    M("add", 2, Q, add_sub, Q, &cel_int),
    M("sub", 2, Q, add_sub, Q, Q),
    M("sub", 2, Q, add_sub, Q, &cel_int),
    M("isLessThan", 2, &cel_bool, compare, Q, Q),
    M("isGreaterThan", 2, &cel_bool, compare, Q, Q),
    M("compareTo", 2, &cel_int, compare, Q, Q),
    {NULL},
};
