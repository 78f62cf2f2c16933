/* cel_format.c - string.format(): %s %d %f %e %b %x %X %o with a precision. */
#include "lib/api/cel/cel_table.h"

#include "lib/base/buf.h"
#include "lib/base/encode.h"

#include <inttypes.h>
#include <math.h>

struct clause {
    char verb;
    int precision; /* -1: none. */
};

static V wrong(C *c, const char *verbs, const V *v)
{
    return cel_error(c->arena,
                     "error during formatting: %s clause can only be used on numbers%s, was "
                     "given " STR_FMT,
                     verbs, "", STR_ARG(cel_value_type_name(v)));
}

static V put_fixed(C *c, const V *v, struct clause k, struct buf *out)
{
    double d = v->kind == CEL_DOUBLE ? v->number
               : v->kind == CEL_INT  ? (double)v->integer
                                     : (double)v->uinteger;
    if (v->kind != CEL_DOUBLE && v->kind != CEL_INT && v->kind != CEL_UINT)
        return wrong(c, k.verb == 'f' ? "fixed-point" : "scientific notation", v);
    if (isnan(d) || isinf(d))
        buf_puts(out, isnan(d) ? "NaN" : d < 0 ? "-Infinity" : "Infinity");
    else
        buf_printf(out, k.verb == 'f' ? "%.*f" : "%.*e", k.precision < 0 ? 6 : k.precision, d);
    return cel_null_value();
}

static V put_integer(C *c, const V *v, struct clause k, struct buf *out)
{
    uint64_t u;
    bool negative = v->kind == CEL_INT && v->integer < 0;
    if (v->kind == CEL_INT)
        u = negative ? 0 - (uint64_t)v->integer : (uint64_t)v->integer;
    else if (v->kind == CEL_UINT)
        u = v->uinteger;
    else if (v->kind == CEL_BOOL && k.verb == 'b')
        u = v->boolean;
    else
        return wrong(c,
                     k.verb == 'd'   ? "decimal"
                     : k.verb == 'b' ? "binary"
                     : k.verb == 'o' ? "octal"
                                     : "hex",
                     v);
    buf_puts(out, negative ? "-" : "");
    if (k.verb == 'b') {
        int top = u == 0 ? 0 : 63 - __builtin_clzll(u);
        for (; top >= 0; top--)
            buf_putc(out, u >> top & 1 ? '1' : '0');
    } else {
        buf_printf(out,
                   k.verb == 'o'   ? "%" PRIo64
                   : k.verb == 'x' ? "%" PRIx64
                   : k.verb == 'X' ? "%" PRIX64
                                   : "%" PRIu64,
                   u);
    }
    return cel_null_value();
}

static V put_value(C *c, const V *v, struct clause k, struct buf *out)
{
    switch (k.verb) {
    case 's':
        cel_value_text(v, out);
        return cel_null_value();
    case 'f':
    case 'e':
        return put_fixed(c, v, k, out);
    case 'x':
    case 'X':
        if (v->kind == CEL_STRING || v->kind == CEL_BYTES) {
            size_t from = out->len;
            hex_encode(v->string.data, v->string.len, out);
            for (size_t i = from; k.verb == 'X' && i < out->len; i++)
                if (out->data[i] >= 'a')
                    out->data[i] = (uint8_t)(out->data[i] - 0x20);
            return cel_null_value();
        }
        return put_integer(c, v, k, out);
    case 'd':
        if (v->kind == CEL_DOUBLE && (isnan(v->number) || isinf(v->number))) {
            buf_puts(out, isnan(v->number) ? "NaN" : v->number < 0 ? "-Infinity" : "Infinity");
            return cel_null_value();
        }
        return put_integer(c, v, k, out);
    case 'b':
    case 'o':
        return put_integer(c, v, k, out);
    default:
        return cel_error(c->arena,
                         "could not parse formatting clause: unrecognized formatting "
                         "clause \"%c\"",
                         k.verb);
    }
}

/* Behind the %; the clause's length, 0 when there is none. */
static size_t parse_clause(struct str s, size_t i, struct clause *ret)
{
    size_t from = i;
    ret->precision = -1;
    if (i < s.len && s.data[i] == '.') {
        ret->precision = 0;
        for (i++; i < s.len && s.data[i] >= '0' && s.data[i] <= '9'; i++)
            ret->precision = MIN_OF(ret->precision * 10 + (s.data[i] - '0'), 1000);
    }
    if (i >= s.len)
        return 0;
    ret->verb = s.data[i];
    return i + 1 - from;
}

V cel_string_format(C *c, const V *a);
V cel_string_format(C *c, const V *a)
{
    struct str s = a[0].string;
    size_t next = 0, count = cel_size(&a[1]);
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < s.len && c->cost_left >= 0;) {
        struct clause k;
        if (s.data[i] != '%') {
            buf_putc(&b, s.data[i++]);
            continue;
        }
        if (++i < s.len && s.data[i] == '%') {
            buf_putc(&b, '%');
            i++;
            continue;
        }
        size_t n = parse_clause(s, i, &k), before = b.len;
        if (n == 0)
            return cel_error(c->arena, "unexpected end of string");
        if (next >= count)
            return cel_error(c->arena, "index %zu out of range", next);
        V v = cel_item(&a[1], next++), r = put_value(c, &v, k, &b);
        if (cel_failed(&r))
            return r;
        cel_charge(c, (b.len - before) / 10);
        i += n;
    }
    cel_charge_bytes(c, b.len);
    return cel_of_str(arena_str(c->arena, buf_str(&b)));
}
