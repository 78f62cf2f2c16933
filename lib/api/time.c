/* time.c - RFC 3339 both ways, with the error texts of Go's time.Parse. */
#include "lib/api/time.h"

#include "api/meta_v1.h"
#include "lib/base/error.h"

#include <stdio.h>

enum { NS_PER_S = 1000000000 };

bool time_is_zero(const struct meta_v1_time *t)
{
    return t->seconds == 0 && t->nanos == 0 && !t->epoch;
}

bool micro_time_is_zero(const struct meta_v1_micro_time *t)
{
    return t->seconds == 0 && t->nanos == 0 && !t->epoch;
}

static int compare(bool zero_x, int64_t sx, int32_t nx, bool zero_y, int64_t sy, int32_t ny)
{
    if (zero_x || zero_y)
        return zero_x && zero_y ? 0 : zero_x ? -1 : 1;
    if (sx != sy)
        return sx < sy ? -1 : 1;
    return nx == ny ? 0 : nx < ny ? -1 : 1;
}

int time_cmp(const struct meta_v1_time *x, const struct meta_v1_time *y)
{
    return compare(time_is_zero(x), x->seconds, x->nanos, time_is_zero(y), y->seconds, y->nanos);
}

int micro_time_cmp(const struct meta_v1_micro_time *x, const struct meta_v1_micro_time *y)
{
    return compare(micro_time_is_zero(x), x->seconds, x->nanos, micro_time_is_zero(y), y->seconds,
                   y->nanos);
}

static int64_t floor_seconds(int64_t ns)
{
    return ns / NS_PER_S - (ns % NS_PER_S < 0);
}

struct meta_v1_time time_from_ns(int64_t wall_ns)
{
    int64_t s = floor_seconds(wall_ns);
    return (struct meta_v1_time){.seconds = s, .epoch = s == 0};
}

struct meta_v1_micro_time micro_time_from_ns(int64_t wall_ns)
{
    int64_t s = floor_seconds(wall_ns);
    int32_t nanos = (int32_t)((wall_ns - s * NS_PER_S) / 1000 * 1000);
    return (struct meta_v1_micro_time){.seconds = s, .nanos = nanos, .epoch = s == 0 && nanos == 0};
}

static int64_t to_ns(int64_t seconds, int32_t nanos)
{
    int64_t ns;
    if (__builtin_mul_overflow(seconds, (int64_t)NS_PER_S, &ns) ||
        __builtin_add_overflow(ns, (int64_t)nanos, &ns))
        return seconds < 0 ? INT64_MIN : INT64_MAX;
    return ns;
}

int64_t time_to_ns(const struct meta_v1_time *t)
{
    return to_ns(t->seconds, t->nanos);
}

int64_t micro_time_to_ns(const struct meta_v1_micro_time *t)
{
    return to_ns(t->seconds, t->nanos);
}

/* --- the civil calendar ---------------------------------------------------------- */

/* Days from 1970-01-01, proleptic Gregorian. Years are counted from March, so
 * that the leap day comes last; eras of 400 years repeat. */
static int64_t days_from_civil(int64_t y, int m, int d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           719468;
}

static void civil_from_days(int64_t z, int64_t *ret_y, int *ret_m, int *ret_d)
{
    z += 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t day = z - era * 146097;
    int64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    int64_t day_of_year = day - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * day_of_year + 2) / 153;
    *ret_d = (int)(day_of_year - (153 * month + 2) / 5 + 1);
    *ret_m = (int)(month < 10 ? month + 3 : month - 9);
    *ret_y = year + era * 400 + (*ret_m <= 2);
}

static char *put_digits(char *p, unsigned v, int width)
{
    for (int i = width - 1; i >= 0; i--) {
        p[i] = (char)('0' + v % 10);
        v /= 10;
    }
    return p + width;
}

static size_t format(int64_t seconds, int32_t nanos, bool micro, char *ret)
{
    int64_t days = seconds / 86400 - (seconds % 86400 < 0), y;
    unsigned rest = (unsigned)(seconds - days * 86400);
    int m, d;
    civil_from_days(days, &y, &m, &d);
    char *p = ret;
    if (y < 0 || y > 9999)
        p += snprintf(p, 24, "%lld", (long long)y);
    else
        p = put_digits(p, (unsigned)y, 4);
    *p++ = '-';
    p = put_digits(p, (unsigned)m, 2);
    *p++ = '-';
    p = put_digits(p, (unsigned)d, 2);
    *p++ = 'T';
    p = put_digits(p, rest / 3600, 2);
    *p++ = ':';
    p = put_digits(p, rest / 60 % 60, 2);
    *p++ = ':';
    p = put_digits(p, rest % 60, 2);
    if (micro) {
        *p++ = '.';
        p = put_digits(p, (unsigned)nanos / 1000, 6);
    }
    *p++ = 'Z';
    *p = '\0';
    return (size_t)(p - ret);
}

/* Wire damage can hold any number of seconds: what no calendar covers prints
 * as its nearest end. */
static int64_t clamp_seconds(int64_t s)
{
    const int64_t limit = (int64_t)1 << 55;
    return s > limit ? limit : s < -limit ? -limit : s;
}

size_t time_format(const struct meta_v1_time *t, char ret[TIME_TEXT_MAX])
{
    ret[0] = '\0';
    return time_is_zero(t) ? 0 : format(clamp_seconds(t->seconds), 0, false, ret);
}

size_t micro_time_format(const struct meta_v1_micro_time *t, char ret[TIME_TEXT_MAX])
{
    ret[0] = '\0';
    uint32_t nanos = (uint32_t)t->nanos;
    return micro_time_is_zero(t)
               ? 0
               : format(clamp_seconds(t->seconds), (int32_t)(nanos % NS_PER_S), true, ret);
}

/* --- parsing ---------------------------------------------------------------------- */

struct scan {
    struct str text;
    const char *layout;
    size_t pos;
    struct error *err;
};

static struct str rest_of(const struct scan *s)
{
    return str_sub(s->text, s->pos, s->text.len - s->pos);
}

static int scan_fail(struct scan *s, const char *element)
{
    struct str rest = rest_of(s);
    return error_set(s->err, E_INVALID,
                     "parsing time \"" STR_FMT "\" as \"%s\": cannot parse \"" STR_FMT
                     "\" as \"%s\"",
                     STR_ARG(s->text), s->layout, STR_ARG(rest), element);
}

static int scan_range(struct scan *s, const char *what)
{
    return error_set(s->err, E_INVALID, "parsing time \"" STR_FMT "\": %s out of range",
                     STR_ARG(s->text), what);
}

static bool digit_at(const struct scan *s, size_t pos)
{
    return pos < s->text.len && s->text.data[pos] >= '0' && s->text.data[pos] <= '9';
}

/* Two digits, or one where Go's layout is not strict about it. */
static int scan_number(struct scan *s, const char *element, bool fixed, int *ret)
{
    if (!digit_at(s, s->pos))
        return scan_fail(s, element);
    int v = s->text.data[s->pos] - '0';
    if (digit_at(s, s->pos + 1)) {
        v = v * 10 + (s->text.data[s->pos + 1] - '0');
        s->pos++;
    } else if (fixed) {
        return scan_fail(s, element);
    }
    s->pos++;
    *ret = v;
    return 0;
}

static int scan_literal(struct scan *s, const char *c)
{
    if (s->pos >= s->text.len || s->text.data[s->pos] != c[0])
        return scan_fail(s, c);
    s->pos++;
    return 0;
}

static int scan_year(struct scan *s, int *ret)
{
    int v = 0;
    for (size_t i = 0; i < 4; i++) {
        if (!digit_at(s, s->pos + i))
            return scan_fail(s, "2006");
        v = v * 10 + (s->text.data[s->pos + i] - '0');
    }
    s->pos += 4;
    *ret = v;
    return 0;
}

static int scan_fraction(struct scan *s, bool micro, int32_t *ret)
{
    *ret = 0;
    bool point =
        s->pos < s->text.len && (s->text.data[s->pos] == '.' || s->text.data[s->pos] == ',');
    size_t n = 0;
    while (point && digit_at(s, s->pos + 1 + n))
        n++;
    if (micro) {
        if (n < 6)
            return scan_fail(s, ".000000");
        n = 6;
    } else if (n == 0) {
        return 0; /* What stands here is for the zone to refuse. */
    }
    int32_t v = 0;
    for (size_t i = 0; i < 9; i++)
        v = v * 10 + (i < n ? s->text.data[s->pos + 1 + i] - '0' : 0);
    s->pos += n + 1;
    *ret = v;
    return 0;
}

static int scan_zone(struct scan *s, int64_t *ret_seconds)
{
    static const char element[] = "Z07:00";
    *ret_seconds = 0;
    if (s->pos < s->text.len && s->text.data[s->pos] == 'Z') {
        s->pos++;
        return 0;
    }
    struct str z = rest_of(s);
    if (z.len < 6 || (z.data[0] != '+' && z.data[0] != '-') || z.data[3] != ':' ||
        !digit_at(s, s->pos + 1) || !digit_at(s, s->pos + 2) || !digit_at(s, s->pos + 4) ||
        !digit_at(s, s->pos + 5))
        return scan_fail(s, element);
    int hours = (z.data[1] - '0') * 10 + (z.data[2] - '0');
    int minutes = (z.data[4] - '0') * 10 + (z.data[5] - '0');
    if (hours > 24)
        return scan_range(s, "time zone offset hour");
    if (minutes > 60)
        return scan_range(s, "time zone offset minute");
    s->pos += 6;
    *ret_seconds = (int64_t)(hours * 60 + minutes) * 60 * (z.data[0] == '-' ? -1 : 1);
    return 0;
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

struct civil {
    int year, month, day, hour, minute, second;
};

/* Everything in front of the fraction. */
static int scan_civil(struct scan *s, struct civil *c)
{
    int r;
    if ((r = scan_year(s, &c->year)) != 0 || (r = scan_literal(s, "-")) != 0 ||
        (r = scan_number(s, "01", true, &c->month)) != 0)
        return r;
    if (c->month < 1 || c->month > 12)
        return scan_range(s, "month");
    if ((r = scan_literal(s, "-")) != 0 || (r = scan_number(s, "02", true, &c->day)) != 0 ||
        (r = scan_literal(s, "T")) != 0 || (r = scan_number(s, "15", false, &c->hour)) != 0)
        return r;
    if (c->hour > 23)
        return scan_range(s, "hour");
    if ((r = scan_literal(s, ":")) != 0 || (r = scan_number(s, "04", true, &c->minute)) != 0)
        return r;
    if (c->minute > 59)
        return scan_range(s, "minute");
    if ((r = scan_literal(s, ":")) != 0 || (r = scan_number(s, "05", true, &c->second)) != 0)
        return r;
    return c->second > 59 ? scan_range(s, "second") : 0;
}

static int parse(struct str text, bool micro, int64_t *ret_seconds, int32_t *ret_nanos,
                 struct error *err)
{
    struct scan s = {text, micro ? "2006-01-02T15:04:05.000000Z07:00" : "2006-01-02T15:04:05Z07:00",
                     0, err};
    struct civil c = {0};
    int32_t nanos = 0;
    int64_t zone = 0;
    int r;
    if ((r = scan_civil(&s, &c)) != 0 || (r = scan_fraction(&s, micro, &nanos)) != 0 ||
        (r = scan_zone(&s, &zone)) != 0)
        return r;
    if (s.pos != text.len) {
        struct str rest = rest_of(&s);
        return error_set(err, E_INVALID,
                         "parsing time \"" STR_FMT "\": extra text: \"" STR_FMT "\"", STR_ARG(text),
                         STR_ARG(rest));
    }
    if (c.day < 1 || c.day > days_in_month(c.year, c.month))
        return scan_range(&s, "day");
    int64_t hours = days_from_civil(c.year, c.month, c.day) * 24 + c.hour;
    *ret_seconds = (hours * 60 + c.minute) * 60 + c.second - zone;
    *ret_nanos = nanos;
    return 0;
}

/* 0001-01-01T00:00:00Z, Go's zero time, which reads as "not set". */
#define GO_ZERO_SECONDS INT64_C(-62135596800)

int time_parse(struct str text, struct meta_v1_time *ret, struct error *err)
{
    int64_t s = 0;
    int32_t nanos = 0;
    int r = parse(text, false, &s, &nanos, err);
    if (r != 0)
        return r;
    *ret = (struct meta_v1_time){0};
    if (s != GO_ZERO_SECONDS || nanos != 0)
        *ret = (struct meta_v1_time){.seconds = s, .nanos = nanos, .epoch = s == 0 && nanos == 0};
    return 0;
}

int micro_time_parse(struct str text, struct meta_v1_micro_time *ret, struct error *err)
{
    int64_t s = 0;
    int32_t nanos = 0;
    int r = parse(text, true, &s, &nanos, err);
    if (r != 0)
        return r;
    *ret = (struct meta_v1_micro_time){0};
    if (s != GO_ZERO_SECONDS || nanos != 0)
        *ret = (struct meta_v1_micro_time){
            .seconds = s, .nanos = nanos, .epoch = s == 0 && nanos == 0};
    return 0;
}
