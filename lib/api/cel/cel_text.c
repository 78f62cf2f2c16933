/* cel_text.c - values as text: numbers, durations, points in time, and what
 * string(), format() and messages show. Pure. */
#include "lib/api/cel/cel_internal.h"

#include "lib/api/cel/cel_civil.h"
#include "lib/api/cel/cel_net.h"
#include "lib/api/json_write.h"
#include "lib/api/quantity.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/flags.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#define NS_PER_S 1000000000LL
/* 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z. */
#define TIME_MIN (-62135596800LL)
#define TIME_MAX 253402300799LL

void cel_double_text(double d, struct buf *out)
{
    if (isnan(d))
        buf_puts(out, "NaN");
    else if (isinf(d))
        buf_puts(out, d < 0 ? "-Inf" : "+Inf");
    else
        json_put_double(d, out);
}

int cel_duration_parse(struct str text, int64_t *ret_nanos)
{
    return duration_parse(text, ret_nanos);
}

/* Seconds, as the language prints durations: 90s, 1.5s. */
void cel_duration_text(int64_t nanos, struct buf *out)
{
    uint64_t n = nanos < 0 ? 0 - (uint64_t)nanos : (uint64_t)nanos;
    char fraction[16];
    snprintf(fraction, sizeof(fraction), ".%09" PRIu64, n % (uint64_t)NS_PER_S);
    size_t len = 10;
    while (len > 0 && (fraction[len - 1] == '0' || fraction[len - 1] == '.'))
        len--;
    buf_printf(out, "%s%" PRIu64 "%.*ss", nanos < 0 ? "-" : "", n / (uint64_t)NS_PER_S, (int)len,
               fraction);
}

/* --- civil dates (days since 1970-01-01, proleptic Gregorian) ------------------------------ */
int64_t cel_days_of(int64_t y, unsigned m, unsigned d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    unsigned yoe = (unsigned)(y - era * 400),
             doy = (153 * (m + (m > 2 ? -3u : 9u)) + 2) / 5 + d - 1;
    unsigned doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + (int64_t)doe - 719468;
}

void cel_civil(int64_t days, int64_t *ret_year, unsigned *ret_month, unsigned *ret_day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    unsigned doe = (unsigned)(days - era * 146097);
    unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    *ret_day = doy - (153 * mp + 2) / 5 + 1;
    *ret_month = mp < 10 ? mp + 3 : mp - 9;
    *ret_year = (int64_t)yoe + era * 400 + (*ret_month <= 2);
}

static bool digits(struct str *s, size_t n, unsigned *ret)
{
    unsigned v = 0;
    if (s->len < n)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (s->data[i] < '0' || s->data[i] > '9')
            return false;
        v = v * 10 + (unsigned)(s->data[i] - '0');
    }
    *s = str_sub(*s, n, s->len - n);
    *ret = v;
    return true;
}

static bool one_of(struct str *s, const char *signs)
{
    if (s->len == 0 || strchr(signs, s->data[0]) == NULL || s->data[0] == '\0')
        return false;
    *s = str_sub(*s, 1, s->len - 1);
    return true;
}

/* Z or +hh:mm, to the end. */
static bool parse_offset(struct str s, int64_t *ret)
{
    unsigned h, m;
    if (str_eqc(s, "Z") || str_eqc(s, "z")) {
        *ret = 0;
        return true;
    }
    bool negative = s.len != 0 && s.data[0] == '-';
    if (!one_of(&s, "+-") || !digits(&s, 2, &h) || !one_of(&s, ":") || !digits(&s, 2, &m) ||
        s.len != 0 || h > 24 || m > 59)
        return false;
    *ret = (negative ? -1 : 1) * (int64_t)(h * 3600 + m * 60);
    return true;
}

bool cel_timestamp_parse(struct str s, int64_t *ret_seconds, int32_t *ret_nanos)
{
    static const unsigned char lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    unsigned y, mo, d, h, mi, sec, nanos = 0;
    int64_t offset;
    if (!digits(&s, 4, &y) || !one_of(&s, "-") || !digits(&s, 2, &mo) || !one_of(&s, "-") ||
        !digits(&s, 2, &d) || !one_of(&s, "Tt") || !digits(&s, 2, &h) || !one_of(&s, ":") ||
        !digits(&s, 2, &mi) || !one_of(&s, ":") || !digits(&s, 2, &sec))
        return false;
    if (one_of(&s, ".")) {
        unsigned digit, count = 0;
        for (; digits(&s, 1, &digit); count++)
            if (count < 9)
                nanos = nanos * 10 + digit;
        if (count == 0)
            return false;
        for (; count < 9; count++)
            nanos *= 10;
    }
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    if (mo < 1 || mo > 12 || d < 1 || d > lengths[mo - 1] + (mo == 2 && leap ? 1u : 0u) || h > 23 ||
        mi > 59 || sec > 59 || !parse_offset(s, &offset))
        return false;
    *ret_seconds = cel_days_of(y, mo, d) * 86400 + (int64_t)(h * 3600 + mi * 60 + sec) - offset;
    *ret_nanos = (int32_t)nanos;
    return *ret_seconds >= TIME_MIN && *ret_seconds <= TIME_MAX;
}

void cel_timestamp_text(int64_t seconds, int32_t nanos, struct buf *out)
{
    int64_t days = (seconds - (seconds % 86400 + 86400) % 86400) / 86400, y;
    unsigned mo, d, s = (unsigned)(seconds - days * 86400);
    cel_civil(days, &y, &mo, &d);
    buf_printf(out, "%04" PRId64 "-%02u-%02uT%02u:%02u:%02u", y, mo, d, s / 3600, s / 60 % 60,
               s % 60);
    if (nanos != 0) {
        char fraction[16];
        int n = snprintf(fraction, sizeof(fraction), ".%09d", nanos);
        while (fraction[n - 1] == '0')
            n--;
        buf_append(out, fraction, (size_t)n);
    }
    buf_putc(out, 'Z');
}

struct cel_value cel_of_time(struct arena *a, int64_t seconds, int64_t nanos)
{
    seconds += nanos / NS_PER_S;
    nanos %= NS_PER_S;
    if (nanos < 0) {
        nanos += NS_PER_S;
        seconds--;
    }
    if (seconds < TIME_MIN || seconds > TIME_MAX)
        return cel_error(a, "timestamp overflow");
    return (struct cel_value){.kind = CEL_TIMESTAMP,
                              .time = {.seconds = seconds, .nanos = (int32_t)nanos}};
}

bool cel_base64_decode(struct arena *a, struct str text, struct str *ret)
{
    AUTO_BUF b = BUF_INIT;
    if (base64_decode(BASE64_STD, text, &b) != 0 && base64_decode(BASE64_RAW_STD, text, &b) != 0)
        return false;
    *ret = arena_str(a, buf_str(&b));
    return true;
}

/* --- values ------------------------------------------------------------------------------------
 */
static void put_items(const struct cel_value *v, struct buf *out)
{
    buf_putc(out, '[');
    for (size_t i = 0, n = cel_size(v); i < n; i++) {
        struct cel_value item = cel_item(v, i);
        buf_puts(out, i != 0 ? ", " : "");
        cel_value_text(&item, out);
    }
    buf_putc(out, ']');
}

/* Sorted by key, as a text that people compare should be. */
static int by_key(const void *x, const void *y)
{
    const struct cel_entry *a = x, *b = y;
    return cel_compare(&a->key, &b->key);
}

static void put_entries(const struct cel_value *v, struct buf *out)
{
    size_t n = cel_size(v);
    AUTO_FREE struct cel_entry *e = n != 0 ? xmalloc(n * sizeof(*e)) : NULL;
    for (size_t i = 0; i < n; i++)
        e[i] = cel_entry_at(v, i);
    if (n > 1)
        qsort(e, n, sizeof(*e), by_key);
    buf_putc(out, '{');
    for (size_t i = 0; i < n; i++) {
        buf_puts(out, i != 0 ? ", " : "");
        cel_value_text(&e[i].key, out);
        buf_puts(out, ": ");
        cel_value_text(&e[i].value, out);
    }
    buf_putc(out, '}');
}

/* Recursion follows values, which JSON's depth and the expression bound. */
void cel_value_text(const struct cel_value *v, struct buf *out)
{
    char text[QUANTITY_TEXT_MAX];
    switch (v->kind) {
    case CEL_NULL:
        buf_puts(out, "null");
        break;
    case CEL_BOOL:
        buf_puts(out, v->boolean ? "true" : "false");
        break;
    case CEL_INT:
        buf_printf(out, "%" PRId64, v->integer);
        break;
    case CEL_UINT:
        buf_printf(out, "%" PRIu64, v->uinteger);
        break;
    case CEL_DOUBLE:
        cel_double_text(v->number, out);
        break;
    case CEL_STRING:
    case CEL_BYTES:
    case CEL_ERROR:
    case CEL_FORMAT:
    case CEL_URL:
    case CEL_SEMVER:
        buf_append_str(out, v->string);
        break;
    case CEL_TIMESTAMP:
        cel_timestamp_text(v->time.seconds, v->time.nanos, out);
        break;
    case CEL_DURATION:
        cel_duration_text(v->integer, out);
        break;
    case CEL_LIST:
        put_items(v, out);
        break;
    case CEL_MAP:
        put_entries(v, out);
        break;
    case CEL_OBJECT:
        if (v->in_json)
            put_entries(v, out);
        break;
    case CEL_QUANTITY:
        buf_append(out, text, quantity_format(v->opaque, text));
        break;
    case CEL_IP:
    case CEL_CIDR:
        cel_net_text(v, out);
        break;
    case CEL_TYPE:
        buf_puts(out, v->type->kind == CEL_NULL ? "null_type" : cel_kind_name(v->type->kind));
        break;
    default:
        buf_puts(out, cel_kind_name(v->kind));
    }
}

struct str cel_key_text(struct arena *a, const struct cel_value *v)
{
    AUTO_BUF b = BUF_INIT;
    cel_value_text(v, &b);
    return arena_str(a, buf_str(&b));
}
