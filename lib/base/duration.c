/* duration.c - Go's textual durations; see flags.h. */
#include "lib/base/flags.h"

#include "lib/base/buf.h"

#include <inttypes.h>
#include <stdio.h>

#define NS_PER_S 1000000000LL

static const struct duration_unit {
    const char *name;
    int64_t ns;
} DURATION_UNITS[] = {
    {"ns", 1},       {"us", 1000},    {"\xc2\xb5s", 1000},  {"\xce\xbcs", 1000},
    {"ms", 1000000}, {"s", NS_PER_S}, {"m", 60 * NS_PER_S}, {"h", 3600 * NS_PER_S},
};

/* Takes leading digits off *s; false on overflow. */
static bool duration_digits(struct str *s, uint64_t *ret)
{
    uint64_t v = 0;
    while (s->len > 0 && s->data[0] >= '0' && s->data[0] <= '9') {
        if (v > (uint64_t)INT64_MAX / 10)
            return false;
        v = v * 10 + (uint64_t)(s->data[0] - '0');
        *s = str_n(s->data + 1, s->len - 1);
    }
    *ret = v;
    return true;
}

/* Takes the digits of a fraction; those beyond nanosecond precision count for
 * nothing. */
static void duration_fraction(struct str *s, uint64_t *ret, double *ret_scale)
{
    uint64_t v = 0;
    double scale = 1;
    for (; s->len > 0 && s->data[0] >= '0' && s->data[0] <= '9';
         *s = str_n(s->data + 1, s->len - 1)) {
        if (v > (uint64_t)INT64_MAX / 100)
            continue;
        v = v * 10 + (uint64_t)(s->data[0] - '0');
        scale *= 10;
    }
    *ret = v;
    *ret_scale = scale;
}

static const struct duration_unit *duration_unit_take(struct str *s)
{
    size_t len = 0;
    while (len < s->len && s->data[len] != '.' && (s->data[len] < '0' || s->data[len] > '9'))
        len++;
    for (size_t i = 0; i < ARRAY_SIZE(DURATION_UNITS); i++) {
        if (str_eqc(str_n(s->data, len), DURATION_UNITS[i].name)) {
            *s = str_n(s->data + len, s->len - len);
            return &DURATION_UNITS[i];
        }
    }
    return NULL;
}

/* One "12.5ms"; adds to *total. */
static bool duration_piece(struct str *s, uint64_t *total)
{
    size_t before = s->len;
    uint64_t whole = 0, fraction = 0;
    double scale = 1;
    if (!duration_digits(s, &whole))
        return false;
    bool any = s->len != before;
    if (s->len > 0 && s->data[0] == '.') {
        *s = str_n(s->data + 1, s->len - 1);
        before = s->len;
        duration_fraction(s, &fraction, &scale);
        any = any || s->len != before;
    }
    const struct duration_unit *unit = any ? duration_unit_take(s) : NULL;
    if (unit == NULL || whole > (uint64_t)INT64_MAX / (uint64_t)unit->ns)
        return false;
    uint64_t v = whole * (uint64_t)unit->ns;
    v += (uint64_t)((double)fraction * ((double)unit->ns / scale));
    *total += v;
    return v <= (uint64_t)INT64_MAX && *total <= (uint64_t)INT64_MAX;
}

int duration_parse(struct str s, int64_t *ret_ns)
{
    bool negative = s.len > 0 && s.data[0] == '-';
    if (s.len > 0 && (s.data[0] == '-' || s.data[0] == '+'))
        s = str_n(s.data + 1, s.len - 1);
    if (s.len == 0)
        return E_INVALID;
    uint64_t total = 0;
    if (!str_eq(s, STR("0"))) {
        while (s.len > 0)
            if (!duration_piece(&s, &total))
                return E_INVALID;
    }
    *ret_ns = negative ? -(int64_t)total : (int64_t)total;
    return 0;
}

/* v / unit with up to `digits` decimals, trailing zeros dropped. */
static void duration_print_decimal(uint64_t v, uint64_t unit, int digits, struct buf *b)
{
    buf_printf(b, "%" PRIu64, v / unit);
    uint64_t rest = v % unit;
    if (rest == 0)
        return;
    char text[24];
    snprintf(text, sizeof(text), "%0*" PRIu64, digits, rest);
    size_t len = strlen(text);
    while (len > 0 && text[len - 1] == '0')
        len--;
    buf_putc(b, '.');
    buf_append(b, text, len);
}

void duration_print(int64_t ns, struct buf *b)
{
    uint64_t v = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    if (ns < 0)
        buf_putc(b, '-');
    if (v == 0) {
        buf_puts(b, "0s");
    } else if (v < 1000) {
        buf_printf(b, "%" PRIu64 "ns", v);
    } else if (v < 1000000) {
        duration_print_decimal(v, 1000, 3, b);
        buf_puts(b, "\xc2\xb5s");
    } else if (v < NS_PER_S) {
        duration_print_decimal(v, 1000000, 6, b);
        buf_puts(b, "ms");
    } else {
        uint64_t minutes = v / (60 * NS_PER_S);
        if (minutes >= 60)
            buf_printf(b, "%" PRIu64 "h", minutes / 60);
        if (minutes > 0)
            buf_printf(b, "%" PRIu64 "m", minutes % 60);
        duration_print_decimal(v % (60 * NS_PER_S), NS_PER_S, 9, b);
        buf_putc(b, 's');
    }
}
