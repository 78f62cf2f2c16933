/* quantity.c - parsing, canonical text and arithmetic of quantities. The rules
 * of apimachinery's resource.Quantity, on 128-bit decimals. */
#include "lib/api/quantity.h"

#include "api/resource.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

#include <math.h>
#include <stdio.h>

typedef unsigned __int128 u128;

enum {
    DIGITS_MAX = 38,     /* 10^38 < 2^127 */
    SUM_DIGITS_MAX = 36, /* Leaves room for the two more that a suffix can need. */
    SCALE_MIN = -9,      /* n */
    INT64_DIGITS = 18,   /* Decimals that always fit in int64_t. */
};

/* n <= DIGITS_MAX. */
static u128 pow10_u128(unsigned n)
{
    static const uint64_t powers[] = {
        1u,
        10u,
        100u,
        1000u,
        10000u,
        100000u,
        1000000u,
        10000000u,
        100000000u,
        1000000000u,
        10000000000u,
        100000000000u,
        1000000000000u,
        10000000000000u,
        100000000000000u,
        1000000000000000u,
        10000000000000000u,
        100000000000000000u,
        1000000000000000000u,
        10000000000000000000u,
    };
    if (n < ARRAY_SIZE(powers))
        return powers[n];
    return (u128)powers[19] * powers[n - 19];
}

static u128 magnitude(__int128 v)
{
    return v < 0 ? (u128)0 - (u128)v : (u128)v;
}

static __int128 with_sign(u128 v, bool negative)
{
    return negative ? -(__int128)v : (__int128)v;
}

static unsigned digits_of(u128 v)
{
    unsigned n = 0;
    while (v > 0) {
        v /= 10;
        n++;
    }
    return n;
}

/* v / 10^n, rounded up. *ret_exact is cleared when something was cut off. */
static u128 divide_up(u128 v, unsigned n, bool *ret_exact)
{
    if (v == 0)
        return 0;
    if (n > DIGITS_MAX) {
        *ret_exact = false;
        return 1;
    }
    u128 divisor = pow10_u128(n);
    if (v % divisor == 0)
        return v / divisor;
    *ret_exact = false;
    return v / divisor + 1;
}

/* --- parsing ----------------------------------------------------------------- */

/* What upstream's scanner takes a text apart into. */
struct parts {
    bool negative;
    struct str num;   /* Digits without leading zeros; "0" when none are left. */
    struct str denom; /* Digits behind the point. */
    struct str suffix;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t skip_digits(struct str s, size_t pos)
{
    while (pos < s.len && is_digit(s.data[pos]))
        pos++;
    return pos;
}

static int format_wrong(struct error *err)
{
    return error_set(err, E_INVALID,
                     "quantities must match the regular expression "
                     "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
}

static int split(struct str s, struct parts *ret, struct error *err)
{
    size_t pos = 0;
    *ret = (struct parts){.num = STR("0")};
    if (s.len > 0 && (s.data[0] == '-' || s.data[0] == '+'))
        ret->negative = s.data[pos++] == '-';
    while (pos < s.len && s.data[pos] == '0')
        pos++;
    size_t end = skip_digits(s, pos);
    if (end > pos)
        ret->num = str_sub(s, pos, end - pos);
    pos = end;
    if (pos < s.len && s.data[pos] == '.') {
        end = skip_digits(s, pos + 1);
        ret->denom = str_sub(s, pos + 1, end - pos - 1);
        pos = end;
    }
    size_t start = pos;
    while (pos < s.len && s.data[pos] != '\0' && strchr("eEinumkKMGTP", s.data[pos]) != NULL)
        pos++;
    if (pos < s.len && (s.data[pos] == '-' || s.data[pos] == '+'))
        pos++;
    if (skip_digits(s, pos) != s.len)
        return format_wrong(err);
    ret->suffix = str_sub(s, start, s.len - start);
    return 0;
}

struct unit {
    int base;
    int32_t exponent;
    enum quantity_format format;
};

static const struct {
    const char *text;
    struct unit unit;
} units[] = {
    {"", {10, 0, QUANTITY_DECIMAL_SI}},   {"m", {10, -3, QUANTITY_DECIMAL_SI}},
    {"n", {10, -9, QUANTITY_DECIMAL_SI}}, {"u", {10, -6, QUANTITY_DECIMAL_SI}},
    {"k", {10, 3, QUANTITY_DECIMAL_SI}},  {"M", {10, 6, QUANTITY_DECIMAL_SI}},
    {"G", {10, 9, QUANTITY_DECIMAL_SI}},  {"T", {10, 12, QUANTITY_DECIMAL_SI}},
    {"P", {10, 15, QUANTITY_DECIMAL_SI}}, {"E", {10, 18, QUANTITY_DECIMAL_SI}},
    {"Ki", {2, 10, QUANTITY_BINARY_SI}},  {"Mi", {2, 20, QUANTITY_BINARY_SI}},
    {"Gi", {2, 30, QUANTITY_BINARY_SI}},  {"Ti", {2, 40, QUANTITY_BINARY_SI}},
    {"Pi", {2, 50, QUANTITY_BINARY_SI}},  {"Ei", {2, 60, QUANTITY_BINARY_SI}},
};

static int parse_unit(struct str suffix, struct unit *ret, struct error *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        if (str_eqc(suffix, units[i].text)) {
            *ret = units[i].unit;
            return 0;
        }
    }
    int64_t exponent;
    if (suffix.len > 1 && (suffix.data[0] == 'e' || suffix.data[0] == 'E')) {
        struct str number = str_sub(suffix, 1, suffix.len - 1);
        if (number.data[0] == '+')
            number = str_sub(number, 1, number.len - 1);
        if (str_to_i64(number, &exponent) && exponent >= INT32_MIN / 2 &&
            exponent <= INT32_MAX / 2) {
            *ret = (struct unit){10, (int32_t)exponent, QUANTITY_DECIMAL_EXPONENT};
            return 0;
        }
    }
    return error_set(err, E_INVALID, "unable to parse quantity's suffix");
}

/* The digits of num and denom as one number; more than fit are rounded up and
 * counted in *ret_dropped. */
static int read_digits(const struct parts *p, u128 *ret, size_t *ret_dropped, struct error *err)
{
    u128 v = 0;
    size_t dropped = 0;
    bool rest = false;
    const struct str runs[] = {p->num, p->denom};
    for (size_t r = 0; r < ARRAY_SIZE(runs); r++) {
        for (size_t i = 0; i < runs[r].len; i++) {
            unsigned digit = (unsigned)(runs[r].data[i] - '0');
            if (dropped > 0 || v >= pow10_u128(DIGITS_MAX - 1)) {
                dropped++;
                rest = rest || digit != 0;
            } else {
                v = v * 10 + digit;
            }
        }
    }
    /* Only decimals beyond the billionth may be dropped. */
    if (dropped > p->denom.len)
        return error_set(err, E_INVALID, "unable to parse numeric part of quantity");
    *ret = rest ? v + 1 : v;
    *ret_dropped = dropped;
    return 0;
}

/* Upstream keeps the text of a quantity that it takes for canonical. */
static bool keeps_text(const struct parts *p, const struct unit *u, u128 value, int32_t scale)
{
    size_t digits = p->num.len + p->denom.len;
    if (u->format == QUANTITY_BINARY_SI) {
        /* Digits that are exact beside 2^exponent. */
        int precision = 15 - (int)MIN_OF(p->num.len, (size_t)100) - u->exponent * 3 / 10 - 1;
        return p->denom.len == 0 && precision >= 0 && (value & 7) != 0;
    }
    if (digits > INT64_DIGITS || scale < SCALE_MIN || scale % 3 != 0)
        return false;
    char first = p->num.data[0];
    return first != '0' && value % 1000 != 0;
}

/* Digits of the number as format_decimal() writes it. */
static unsigned canonical_digits(u128 v, int32_t exponent)
{
    for (; v != 0 && v % 10 == 0; v /= 10)
        exponent++;
    return digits_of(v) + (unsigned)((exponent % 3 + 3) % 3);
}

static int parse(struct str text, struct quantity *ret, bool *ret_keep, struct error *err)
{
    *ret_keep = false;
    if (text.len == 0)
        return format_wrong(err);
    struct parts p;
    struct unit u = {0};
    u128 value = 0;
    size_t dropped = 0;
    int r = split(text, &p, err);
    if (r == 0)
        r = parse_unit(p.suffix, &u, err);
    if (r == 0)
        r = read_digits(&p, &value, &dropped, err);
    if (r != 0)
        return r;
    int64_t wide = (u.base == 10 ? u.exponent : 0) - (int64_t)p.denom.len + (int64_t)dropped;
    if (wide < INT32_MIN / 2 || wide > INT32_MAX / 2)
        return error_set(err, E_INVALID, "unable to parse numeric part of quantity");
    int32_t scale = (int32_t)wide;
    *ret_keep = dropped == 0 && keeps_text(&p, &u, value, scale);

    enum quantity_format format = u.format;
    if (u.base == 2) {
        u128 factor = (u128)1 << u.exponent;
        u128 cap = (u128)INT64_MAX;
        bool exact = true;
        /* The largest binary quantity is that of int64_t. */
        if (divide_up(value, (unsigned)-scale, &exact) > cap / factor) {
            value = cap;
            scale = 0;
        } else {
            value *= factor;
        }
        if (scale < SCALE_MIN) {
            value = divide_up(value, (unsigned)(SCALE_MIN - scale), &exact);
            scale = SCALE_MIN;
        }
        if (value > 0 && scale < 0 && value < pow10_u128((unsigned)-scale))
            format = QUANTITY_DECIMAL_SI;
    } else if (scale < SCALE_MIN) {
        bool exact = true;
        value = divide_up(value, (unsigned)(SCALE_MIN - scale), &exact);
        scale = SCALE_MIN;
    }
    if (value == 0)
        scale = 0;
    if (canonical_digits(value, scale) > DIGITS_MAX)
        return error_set(err, E_INVALID, "unable to parse numeric part of quantity");
    *ret = (struct quantity){with_sign(value, p.negative), scale, format};
    return 0;
}

int quantity_parse(struct str text, struct quantity *ret, struct error *err)
{
    bool keep;
    return parse(text, ret, &keep, err);
}

int quantity_canonical(struct arena *a, struct str text, struct str *ret, struct error *err)
{
    if (text.len == 1 && is_digit(text.data[0])) { /* By far the most common. */
        *ret = text;
        return 0;
    }
    struct quantity q = {0};
    bool keep;
    int r = parse(text, &q, &keep, err);
    if (r != 0)
        return r;
    if (keep) {
        *ret = text;
        return 0;
    }
    char canonical[QUANTITY_TEXT_MAX];
    struct str s = str_n(canonical, quantity_format(&q, canonical));
    *ret = str_eq(s, text) ? text : arena_str(a, s);
    return 0;
}

/* --- text ---------------------------------------------------------------------- */

static size_t write_number(char *p, u128 v, bool negative)
{
    char digits[DIGITS_MAX + 2];
    size_t n = 0, len = 0;
    do {
        digits[n++] = (char)('0' + (int)(v % 10));
        v /= 10;
    } while (v > 0);
    if (negative)
        p[len++] = '-';
    while (n > 0)
        p[len++] = digits[--n];
    return len;
}

/* Powers of ten move from the number into the exponent, which ends up a
 * multiple of three. */
static size_t format_decimal(const struct quantity *q, enum quantity_format format, char *ret)
{
    u128 v = magnitude(q->mantissa);
    int32_t exponent = q->scale;
    while (v % 10 == 0) {
        v /= 10;
        exponent++;
    }
    while (exponent % 3 != 0) {
        v *= 10;
        exponent--;
    }
    size_t len = write_number(ret, v, q->mantissa < 0);
    if (exponent == 0) {
        ret[len] = '\0';
        return len;
    }
    if (format == QUANTITY_DECIMAL_SI) {
        for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
            if (units[i].unit.format == QUANTITY_DECIMAL_SI && units[i].unit.exponent == exponent) {
                ret[len++] = units[i].text[0];
                ret[len] = '\0';
                return len;
            }
        }
    }
    /* Beyond E there is no suffix: an exponent says it. */
    return len + (size_t)snprintf(ret + len, QUANTITY_TEXT_MAX - len, "e%d", exponent);
}

static size_t format_binary(u128 v, bool negative, char *ret)
{
    int32_t exponent = 0;
    while (v >= 1024 && v % 1024 == 0 && exponent < 60) {
        v /= 1024;
        exponent += 10;
    }
    size_t len = write_number(ret, v, negative);
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        if (exponent > 0 && units[i].unit.base == 2 && units[i].unit.exponent == exponent) {
            ret[len++] = units[i].text[0];
            ret[len++] = 'i';
        }
    }
    ret[len] = '\0';
    return len;
}

size_t quantity_format(const struct quantity *q, char ret[QUANTITY_TEXT_MAX])
{
    if (q->mantissa == 0) {
        memcpy(ret, "0", 2);
        return 1;
    }
    if (q->format != QUANTITY_BINARY_SI)
        return format_decimal(q, q->format, ret);
    /* Small or fractional numbers would lose precision in binary units. */
    u128 v = magnitude(q->mantissa);
    bool exact = true;
    if (q->scale < 0) {
        v = divide_up(v, (unsigned)-q->scale, &exact);
    } else if (q->scale > 0) {
        if (digits_of(v) + (unsigned)q->scale > DIGITS_MAX)
            return format_decimal(q, QUANTITY_DECIMAL_SI, ret);
        v *= pow10_u128((unsigned)q->scale);
    }
    if (!exact || v < 1024)
        return format_decimal(q, QUANTITY_DECIMAL_SI, ret);
    return format_binary(v, q->mantissa < 0, ret);
}

struct str quantity_str(struct arena *a, const struct quantity *q)
{
    char text[QUANTITY_TEXT_MAX];
    size_t len = quantity_format(q, text);
    return arena_str(a, str_n(text, len));
}

/* --- fields -------------------------------------------------------------------- */

struct quantity quantity_of(const struct resource_quantity *r)
{
    struct quantity q = {0};
    if (r->string.len == 0 || quantity_parse(r->string, &q, NULL) != 0)
        return (struct quantity){0, 0, QUANTITY_DECIMAL_SI};
    return q;
}

void quantity_store(struct arena *a, const struct quantity *q, struct resource_quantity *ret)
{
    ret->string = quantity_str(a, q);
}

struct quantity quantity_from_int(int64_t value, enum quantity_format format)
{
    return (struct quantity){value, 0, format};
}

struct quantity quantity_from_milli(int64_t milli, enum quantity_format format)
{
    return (struct quantity){milli, -3, format};
}

/* --- arithmetic ---------------------------------------------------------------- */

bool quantity_is_zero(const struct quantity *q)
{
    return q->mantissa == 0;
}

int quantity_sign(const struct quantity *q)
{
    return q->mantissa == 0 ? 0 : q->mantissa < 0 ? -1 : 1;
}

int quantity_cmp(const struct quantity *x, const struct quantity *y)
{
    int sx = quantity_sign(x), sy = quantity_sign(y);
    if (sx != sy)
        return sx < sy ? -1 : 1;
    if (sx == 0)
        return 0;
    u128 a = magnitude(x->mantissa), b = magnitude(y->mantissa);
    /* The decimal point decides unless both numbers begin at the same power of
     * ten; then the difference of scales is one of digits, and fits. */
    int64_t top_a = (int64_t)digits_of(a) + x->scale, top_b = (int64_t)digits_of(b) + y->scale;
    if (top_a != top_b)
        return (top_a < top_b ? -1 : 1) * sx;
    if (x->scale > y->scale)
        a *= pow10_u128((unsigned)(x->scale - y->scale));
    else
        b *= pow10_u128((unsigned)(y->scale - x->scale));
    return a == b ? 0 : (a < b ? -1 : 1) * sx;
}

static void rescale(struct quantity *q, int32_t scale)
{
    if (q->scale == scale || q->mantissa == 0) {
        q->scale = scale;
        return;
    }
    bool negative = q->mantissa < 0, exact = true;
    u128 v = magnitude(q->mantissa);
    if (q->scale > scale)
        v *= pow10_u128((unsigned)(q->scale - scale));
    else
        v = divide_up(v, (unsigned)((int64_t)scale - q->scale), &exact);
    q->mantissa = with_sign(v, negative);
    q->scale = scale;
}

void quantity_add(struct quantity *x, const struct quantity *y)
{
    if (x->mantissa == 0)
        x->format = y->format;
    if (y->mantissa == 0)
        return;
    if (x->mantissa == 0) {
        *x = *y;
        return;
    }
    struct quantity a = *x, b = *y;
    /* The finer scale of the two, unless the sum would need more digits than
     * there are: one is kept free for the carry. */
    int64_t top = MAX_OF((int64_t)digits_of(magnitude(a.mantissa)) + a.scale,
                         (int64_t)digits_of(magnitude(b.mantissa)) + b.scale);
    int64_t scale = MAX_OF((int64_t)MIN_OF(a.scale, b.scale), top - (SUM_DIGITS_MAX - 1));
    rescale(&a, (int32_t)scale);
    rescale(&b, (int32_t)scale);
    x->mantissa = a.mantissa + b.mantissa;
    x->scale = x->mantissa == 0 ? 0 : (int32_t)scale;
}

void quantity_neg(struct quantity *x)
{
    x->mantissa = -x->mantissa;
}

void quantity_sub(struct quantity *x, const struct quantity *y)
{
    struct quantity negated = *y;
    quantity_neg(&negated);
    quantity_add(x, &negated);
}

int64_t quantity_scaled(const struct quantity *q, int32_t scale)
{
    u128 v = magnitude(q->mantissa);
    bool negative = q->mantissa < 0, exact = true;
    int64_t shift = (int64_t)q->scale - scale;
    if (shift < 0) {
        v = divide_up(v, (unsigned)MIN_OF(-shift, (int64_t)DIGITS_MAX + 1), &exact);
    } else if (v != 0) {
        if ((int64_t)digits_of(v) + shift > DIGITS_MAX)
            return negative ? INT64_MIN : INT64_MAX;
        v *= pow10_u128((unsigned)shift);
    }
    if (v > (u128)INT64_MAX)
        return negative ? INT64_MIN : INT64_MAX;
    return negative ? -(int64_t)v : (int64_t)v;
}

int64_t quantity_value(const struct quantity *q)
{
    return quantity_scaled(q, 0);
}

int64_t quantity_milli_value(const struct quantity *q)
{
    return quantity_scaled(q, -3);
}

double quantity_to_double(const struct quantity *q)
{
    return (double)q->mantissa * pow(10, q->scale);
}
