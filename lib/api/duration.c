/* duration.c - Go's duration texts, and ages as kubectl prints them. */
#include "lib/api/time.h"

#include "lib/base/error.h"

#include <stdio.h>

#define NS INT64_C(1)
#define US (1000 * NS)
#define MS (1000 * US)
#define SECOND (1000 * MS)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)

/* v / unit with up to nine decimals and no trailing zeros. */
static size_t put_fraction(uint64_t v, uint64_t unit, char *ret, size_t cap)
{
    size_t len = (size_t)snprintf(ret, cap, "%llu", (unsigned long long)(v / unit));
    uint64_t rest = v % unit;
    if (rest == 0)
        return len;
    ret[len++] = '.';
    while (rest > 0) {
        unit /= 10;
        ret[len++] = (char)('0' + (int)(rest / unit));
        rest %= unit;
    }
    ret[len] = '\0';
    return len;
}

size_t duration_format(int64_t ns, char ret[DURATION_TEXT_MAX])
{
    size_t len = 0;
    uint64_t v = ns < 0 ? (uint64_t)0 - (uint64_t)ns : (uint64_t)ns;
    if (ns < 0)
        ret[len++] = '-';
    if (v == 0) {
        memcpy(ret, "0s", 3);
        return 2;
    }
    if (v < (uint64_t)SECOND) {
        uint64_t unit = v < (uint64_t)US ? NS : v < (uint64_t)MS ? US : MS;
        len += put_fraction(v, unit, ret + len, DURATION_TEXT_MAX - len);
        const char *suffix = unit == NS ? "ns" : unit == US ? "\302\265s" : "ms";
        memcpy(ret + len, suffix, strlen(suffix) + 1);
        return len + strlen(suffix);
    }
    if (v >= (uint64_t)HOUR)
        len += (size_t)snprintf(ret + len, DURATION_TEXT_MAX - len, "%lluh", (unsigned long long)(v / (uint64_t)HOUR));
    if (v >= (uint64_t)MINUTE)
        len += (size_t)snprintf(ret + len, DURATION_TEXT_MAX - len, "%llum",
                                (unsigned long long)(v / (uint64_t)MINUTE % 60));
    len += put_fraction(v % (uint64_t)MINUTE, (uint64_t)SECOND, ret + len, DURATION_TEXT_MAX - len);
    memcpy(ret + len, "s", 2);
    return len + 1;
}

static const struct {
    const char *text;
    int64_t ns;
} units[] = {
    {"ns", NS}, {"us", US}, {"\302\265s", US}, {"\316\274s", US}, {"ms", MS}, {"s", SECOND}, {"m", MINUTE}, {"h", HOUR},
};

static int bad_duration(struct str text, struct error *err)
{
    return error_set(err, E_INVALID, "time: invalid duration \"" STR_FMT "\"", STR_ARG(text));
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* One number of "1h30m": digits with an optional fraction and a unit. Adds it
 * to *total and moves *pos behind it. */
static int parse_term(struct str text, size_t *pos, uint64_t *total, struct error *err)
{
    const uint64_t limit = (uint64_t)1 << 63;
    size_t p = *pos, digits = 0;
    uint64_t whole = 0, fraction = 0, scale = 1;
    for (; p < text.len && is_digit(text.data[p]); p++, digits++) {
        if (whole > limit / 10)
            return bad_duration(text, err);
        whole = whole * 10 + (uint64_t)(text.data[p] - '0');
        if (whole > limit)
            return bad_duration(text, err);
    }
    if (p < text.len && text.data[p] == '.') {
        for (p++; p < text.len && is_digit(text.data[p]); p++, digits++) {
            if (scale < UINT64_C(1000000000000)) { /* Finer digits cannot matter. */
                fraction = fraction * 10 + (uint64_t)(text.data[p] - '0');
                scale *= 10;
            }
        }
    }
    if (digits == 0)
        return bad_duration(text, err);
    size_t end = p;
    while (end < text.len && text.data[end] != '.' && !is_digit(text.data[end]))
        end++;
    struct str unit = str_sub(text, p, end - p);
    if (unit.len == 0)
        return error_set(err, E_INVALID, "time: missing unit in duration \"" STR_FMT "\"", STR_ARG(text));
    uint64_t ns = 0;
    for (size_t i = 0; i < ARRAY_SIZE(units); i++)
        if (str_eqc(unit, units[i].text))
            ns = (uint64_t)units[i].ns;
    if (ns == 0)
        return error_set(err, E_INVALID, "time: unknown unit \"" STR_FMT "\" in duration \"" STR_FMT "\"",
                         STR_ARG(unit), STR_ARG(text));
    if (whole > limit / ns)
        return bad_duration(text, err);
    uint64_t v = whole * ns + (uint64_t)((double)fraction * ((double)ns / (double)scale));
    if (v > limit || *total > limit - v)
        return bad_duration(text, err);
    *total += v;
    *pos = end;
    return 0;
}

int duration_parse(struct str text, int64_t *ret_ns, struct error *err)
{
    size_t pos = 0;
    bool negative = false;
    if (text.len > 0 && (text.data[0] == '-' || text.data[0] == '+'))
        negative = text.data[pos++] == '-';
    if (str_eqc(str_sub(text, pos, text.len - pos), "0")) {
        *ret_ns = 0;
        return 0;
    }
    if (pos == text.len)
        return bad_duration(text, err);
    uint64_t total = 0;
    while (pos < text.len) {
        int r = parse_term(text, &pos, &total, err);
        if (r != 0)
            return r;
    }
    if (negative) {
        *ret_ns = (int64_t)((uint64_t)0 - total);
        return 0;
    }
    if (total > (uint64_t)INT64_MAX)
        return bad_duration(text, err);
    *ret_ns = (int64_t)total;
    return 0;
}

/* The steps of apimachinery's duration.HumanDuration: two units while the
 * larger one is small, then one. */
size_t duration_human(int64_t seconds, char ret[DURATION_TEXT_MAX])
{
    const long long s = seconds, m = s / 60, h = s / 3600, d = h / 24, y = d / 365;
    int n;
    if (s < -1)
        n = snprintf(ret, DURATION_TEXT_MAX, "<invalid>");
    else if (s < 0)
        n = snprintf(ret, DURATION_TEXT_MAX, "0s");
    else if (s < 60 * 2)
        n = snprintf(ret, DURATION_TEXT_MAX, "%llds", s);
    else if (m < 10 && s % 60 != 0)
        n = snprintf(ret, DURATION_TEXT_MAX, "%lldm%llds", m, s % 60);
    else if (m < 60 * 3)
        n = snprintf(ret, DURATION_TEXT_MAX, "%lldm", m);
    else if (h < 8 && m % 60 != 0)
        n = snprintf(ret, DURATION_TEXT_MAX, "%lldh%lldm", h, m % 60);
    else if (h < 48)
        n = snprintf(ret, DURATION_TEXT_MAX, "%lldh", h);
    else if (h < 24 * 8 && h % 24 != 0)
        n = snprintf(ret, DURATION_TEXT_MAX, "%lldd%lldh", d, h % 24);
    else if (h < 24 * 365 * 2)
        n = snprintf(ret, DURATION_TEXT_MAX, "%lldd", d);
    else if (h < 24 * 365 * 8 && d % 365 != 0)
        n = snprintf(ret, DURATION_TEXT_MAX, "%lldy%lldd", y, d % 365);
    else
        n = snprintf(ret, DURATION_TEXT_MAX, "%lldy", y);
    return (size_t)n;
}
