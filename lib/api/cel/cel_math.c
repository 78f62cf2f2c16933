/* cel_math.c - the math and encoders extensions. */
#include "lib/api/cel/cel_table.h"

#include "lib/base/buf.h"
#include "lib/base/encode.h"

#include <math.h>

/* --- greatest and least ------------------------------------------------------------------------
 */
static V extreme_of(C *c, const V *items, size_t n)
{
    int want = c->function->name[5] == 'g' ? 1 : -1;
    V best = items[0];
    for (size_t i = 0; i < n; i++) {
        int r = cel_compare(&items[i], &best);
        if (r == 2)
            return cel_error(c->arena, "no such overload");
        if (r == want)
            best = items[i];
    }
    return best;
}

static V extreme(C *c, const V *a)
{
    return extreme_of(c, a, c->function->arg_count);
}

static V extreme_list(C *c, const V *a)
{
    size_t n = cel_size(&a[0]);
    if (n == 0)
        return cel_error(c->arena, "%s() argument must not be empty", c->function->name + 5);
    if (!cel_charge(c, n))
        return a[0];
    V *items = ARENA_ARRAY(c->arena, V, n);
    for (size_t i = 0; i < n; i++)
        items[i] = cel_item(&a[0], i);
    return extreme_of(c, items, n);
}

/* --- rounding and signs
 * ---------------------------------------------------------------------------- */
static V unary(C *c, const V *a)
{
    const char *f = c->function->name + 5;
    double d = a[0].number;
    if (strcmp(f, "isNaN") == 0)
        return cel_of_bool(isnan(d));
    if (strcmp(f, "isInf") == 0)
        return cel_of_bool(isinf(d));
    if (strcmp(f, "isFinite") == 0)
        return cel_of_bool(isfinite(d));
    return cel_of_double(strcmp(f, "ceil") == 0    ? ceil(d)
                         : strcmp(f, "floor") == 0 ? floor(d)
                         : strcmp(f, "round") == 0 ? round(d)
                         : strcmp(f, "trunc") == 0 ? trunc(d)
                         : strcmp(f, "sqrt") == 0  ? sqrt(d)
                         : strcmp(f, "abs") == 0   ? fabs(d)
                         : isnan(d)                ? d
                         : d > 0                   ? 1
                         : d < 0                   ? -1
                                                   : 0);
}

static V sqrt_whole(C *c, const V *a)
{
    UNUSED(c);
    return cel_of_double(sqrt(a[0].kind == CEL_INT ? (double)a[0].integer : (double)a[0].uinteger));
}

static V whole_abs(C *c, const V *a)
{
    if (a[0].kind == CEL_UINT)
        return a[0];
    if (a[0].integer == INT64_MIN)
        return cel_error(c->arena, "integer overflow");
    return cel_of_int(a[0].integer < 0 ? -a[0].integer : a[0].integer);
}

static V whole_sign(C *c, const V *a)
{
    UNUSED(c);
    if (a[0].kind == CEL_UINT)
        return cel_of_uint(a[0].uinteger != 0);
    return cel_of_int((a[0].integer > 0) - (a[0].integer < 0));
}

/* --- bits
 * -----------------------------------------------------------------------------------------------
 */
/* Both kinds share their bits, and come out as what went in. */
static V bits(C *c, const V *a)
{
    const char *f = c->function->name + 8;
    V v = a[0];
    if (strcmp(f, "And") == 0)
        v.uinteger &= a[1].uinteger;
    else if (strcmp(f, "Or") == 0)
        v.uinteger |= a[1].uinteger;
    else if (strcmp(f, "Xor") == 0)
        v.uinteger ^= a[1].uinteger;
    else if (strcmp(f, "Not") == 0)
        v.uinteger = ~v.uinteger;
    else if (a[1].integer < 0)
        return cel_error(c->arena, "%s() negative offset: %lld", c->function->name,
                         (long long)a[1].integer);
    else if (a[1].integer > 63)
        v.uinteger = 0;
    else if (strcmp(f, "ShiftLeft") == 0)
        v.uinteger <<= a[1].integer;
    else
        v.uinteger >>= a[1].integer;
    return v;
}

/* --- base64
 * ------------------------------------------------------------------------------------------------
 */
static V encode(C *c, const V *a)
{
    cel_charge_bytes(c, a[0].string.len);
    AUTO_BUF b = BUF_INIT;
    base64_encode(BASE64_STD, a[0].string.data, a[0].string.len, &b);
    return cel_of_str(arena_str(c->arena, buf_str(&b)));
}

static V decode(C *c, const V *a)
{
    struct str s;
    cel_charge_bytes(c, a[0].string.len);
    if (!cel_base64_decode(c->arena, a[0].string, &s))
        return cel_error(c->arena, "illegal base64 data");
    return cel_of_bytes(s);
}

#define N &cel_param_a
#define I &cel_int
#define U &cel_uint
#define D &cel_double
#define EXTREME(name)                                                                              \
    G(name, 1, &cel_param_a, extreme_list, &cel_list_a), G(name, 1, I, extreme, I),                \
        G(name, 1, U, extreme, U), G(name, 1, D, extreme, D), G(name, 2, N, extreme, N, N),        \
        G(name, 2, &cel_dyn, extreme, N, &cel_param_b),                                            \
        G(name, 3, &cel_dyn, extreme, &cel_dyn, &cel_dyn, &cel_dyn),                               \
        G(name, 4, &cel_dyn, extreme, &cel_dyn, &cel_dyn, &cel_dyn, &cel_dyn)
#define BITS(name) G(name, 2, I, bits, I, I), G(name, 2, U, bits, U, U)

const struct cel_function cel_functions_math[] = {
    EXTREME("math.greatest"),
    EXTREME("math.least"),
    G("math.ceil", 1, D, unary, D),
    G("math.floor", 1, D, unary, D),
    G("math.round", 1, D, unary, D),
    G("math.trunc", 1, D, unary, D),
    G("math.isNaN", 1, &cel_bool, unary, D),
    G("math.isInf", 1, &cel_bool, unary, D),
    G("math.isFinite", 1, &cel_bool, unary, D),
    G("math.sqrt", 1, D, unary, D),
    G("math.sqrt", 1, D, sqrt_whole, I),
    G("math.sqrt", 1, D, sqrt_whole, U),
    G("math.abs", 1, D, unary, D),
    G("math.abs", 1, I, whole_abs, I),
    G("math.abs", 1, U, whole_abs, U),
    G("math.sign", 1, D, unary, D),
    G("math.sign", 1, I, whole_sign, I),
    G("math.sign", 1, U, whole_sign, U),
    BITS("math.bitAnd"),
    BITS("math.bitOr"),
    BITS("math.bitXor"),
    G("math.bitNot", 1, I, bits, I),
    G("math.bitNot", 1, U, bits, U),
    G("math.bitShiftLeft", 2, I, bits, I, I),
    G("math.bitShiftLeft", 2, U, bits, U, I),
    G("math.bitShiftRight", 2, I, bits, I, I),
    G("math.bitShiftRight", 2, U, bits, U, I),
    G("base64.encode", 1, &cel_string, encode, &cel_bytes),
    G("base64.decode", 1, &cel_bytes, decode, &cel_string),
    {NULL},
};
