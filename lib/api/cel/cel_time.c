/* cel_time.c - points in time and durations: arithmetic and their parts. */
#include "lib/api/cel/cel_table.h"

#include "lib/api/cel/cel_civil.h"
#include "lib/api/cel/cel_zone.h"
#include "lib/base/buf.h"

#define NS_PER_S 1000000000LL

static V duration_of(C *c, const V *a)
{
    int64_t ns;
    if (cel_duration_parse(a[0].string, &ns) != 0)
        return cel_error(c->arena, "time: invalid duration \"" STR_FMT "\"", STR_ARG(a[0].string));
    return cel_of_duration(ns);
}

static V duration_of_int(C *c, const V *a)
{
    UNUSED(c);
    return cel_of_duration(a[0].integer);
}

static V same_value(C *c, const V *a)
{
    UNUSED(c);
    return a[0];
}

static V timestamp_of(C *c, const V *a)
{
    int64_t s;
    int32_t ns;
    if (!cel_timestamp_parse(a[0].string, &s, &ns))
        return cel_error(c->arena,
                         "parsing time \"" STR_FMT "\" as \"2006-01-02T15:04:05Z07:00\": "
                         "cannot parse",
                         STR_ARG(a[0].string));
    return cel_of_time(c->arena, s, ns);
}

static V timestamp_of_int(C *c, const V *a)
{
    return cel_of_time(c->arena, a[0].integer, 0);
}

static V add_durations(C *c, const V *a)
{
    int64_t r;
    return __builtin_add_overflow(a[0].integer, a[1].integer, &r)
               ? cel_error(c->arena, "duration overflow")
               : cel_of_duration(r);
}

static V sub_durations(C *c, const V *a)
{
    int64_t r;
    return __builtin_sub_overflow(a[0].integer, a[1].integer, &r)
               ? cel_error(c->arena, "duration overflow")
               : cel_of_duration(r);
}

static V neg_duration(C *c, const V *a)
{
    return a[0].integer == INT64_MIN ? cel_error(c->arena, "duration overflow")
                                     : cel_of_duration(-a[0].integer);
}

static V shift(C *c, const V *t, int64_t by, int sign)
{
    int64_t s = by / NS_PER_S, ns = by % NS_PER_S;
    return cel_of_time(c->arena, t->time.seconds + sign * s, t->time.nanos + sign * ns);
}

static V add_time(C *c, const V *a)
{
    return a[0].kind == CEL_TIMESTAMP ? shift(c, &a[0], a[1].integer, 1)
                                      : shift(c, &a[1], a[0].integer, 1);
}

static V sub_time(C *c, const V *a)
{
    return shift(c, &a[0], a[1].integer, -1);
}

static V sub_times(C *c, const V *a)
{
    int64_t r, s = a[0].time.seconds - a[1].time.seconds;
    if (__builtin_mul_overflow(s, NS_PER_S, &r) ||
        __builtin_add_overflow(r, (int64_t)(a[0].time.nanos - a[1].time.nanos), &r))
        return cel_error(c->arena, "duration overflow");
    return cel_of_duration(r);
}

/* --- parts of a point in time ------------------------------------------------------------- */
/* UTC, a fixed offset, or the name of a zone. */
static bool zone_offset(struct str zone, int64_t at_s, int64_t *ret)
{
    int64_t sign = 1, h, m;
    struct str hours, minutes;
    *ret = 0;
    if (zone.len == 0 || str_eqc(zone, "UTC") || str_eqc(zone, "Z"))
        return true;
    if ((zone.data[0] >= 'A' && zone.data[0] <= 'Z') ||
        (zone.data[0] >= 'a' && zone.data[0] <= 'z'))
        return cel_zone_offset(zone, at_s, ret);
    if (zone.data[0] == '-' || zone.data[0] == '+') {
        sign = zone.data[0] == '-' ? -1 : 1;
        zone = str_sub(zone, 1, zone.len - 1);
    }
    if (!str_cut(zone, ':', &hours, &minutes) || hours.len != 2 || minutes.len != 2 ||
        !str_to_i64(hours, &h) || !str_to_i64(minutes, &m) || h < 0 || h > 23 || m < 0 || m > 59)
        return false;
    *ret = sign * (h * 3600 + m * 60);
    return true;
}

static V time_part(C *c, const V *a)
{
    int64_t offset = 0, year;
    unsigned month, day;
    if (c->function->arg_count == 2 && !zone_offset(a[1].string, a[0].time.seconds, &offset))
        return cel_error(c->arena, "unknown time zone " STR_FMT, STR_ARG(a[1].string));
    int64_t at = a[0].time.seconds + offset, second = (at % 86400 + 86400) % 86400;
    int64_t days = (at - second) / 86400;
    cel_civil(days, &year, &month, &day);
    const char *part = c->function->name + 3;
    int64_t r = 0;
    if (strcmp(part, "FullYear") == 0)
        r = year;
    else if (strcmp(part, "Month") == 0)
        r = (int64_t)month - 1;
    else if (strcmp(part, "DayOfYear") == 0)
        r = days - cel_days_of(year, 1, 1);
    else if (strcmp(part, "DayOfMonth") == 0)
        r = (int64_t)day - 1;
    else if (strcmp(part, "Date") == 0)
        r = day;
    else if (strcmp(part, "DayOfWeek") == 0)
        r = ((days + 4) % 7 + 7) % 7;
    else if (strcmp(part, "Hours") == 0)
        r = second / 3600;
    else if (strcmp(part, "Minutes") == 0)
        r = second / 60 % 60;
    else if (strcmp(part, "Seconds") == 0)
        r = second % 60;
    else
        r = a[0].time.nanos / 1000000;
    return cel_of_int(r);
}

static V duration_part(C *c, const V *a)
{
    const char *part = c->function->name + 3;
    int64_t ns = a[0].integer;
    int64_t r = strcmp(part, "Hours") == 0     ? ns / (3600 * NS_PER_S)
                : strcmp(part, "Minutes") == 0 ? ns / (60 * NS_PER_S)
                : strcmp(part, "Seconds") == 0 ? ns / NS_PER_S
                                               : ns / 1000000 % 1000;
    return cel_of_int(r);
}

#define PART(name)                                                                                 \
    M(name, 1, &cel_int, time_part, &cel_timestamp),                                               \
        M(name, 2, &cel_int, time_part, &cel_timestamp, &cel_string)

const struct cel_function cel_functions_time[] = {
    G("duration", 1, &cel_duration, duration_of, &cel_string),
    G("duration", 1, &cel_duration, duration_of_int, &cel_int),
    G("duration", 1, &cel_duration, same_value, &cel_duration),
    G("timestamp", 1, &cel_timestamp, timestamp_of, &cel_string),
    G("timestamp", 1, &cel_timestamp, timestamp_of_int, &cel_int),
    G("timestamp", 1, &cel_timestamp, same_value, &cel_timestamp),
    G("_+_", 2, &cel_duration, add_durations, &cel_duration, &cel_duration),
    G("_+_", 2, &cel_timestamp, add_time, &cel_timestamp, &cel_duration),
    G("_+_", 2, &cel_timestamp, add_time, &cel_duration, &cel_timestamp),
    G("_-_", 2, &cel_duration, sub_durations, &cel_duration, &cel_duration),
    G("_-_", 2, &cel_timestamp, sub_time, &cel_timestamp, &cel_duration),
    G("_-_", 2, &cel_duration, sub_times, &cel_timestamp, &cel_timestamp),
    G("-_", 1, &cel_duration, neg_duration, &cel_duration),
    PART("getFullYear"),
    PART("getMonth"),
    PART("getDayOfYear"),
    PART("getDayOfMonth"),
    PART("getDate"),
    PART("getDayOfWeek"),
    PART("getHours"),
    PART("getMinutes"),
    PART("getSeconds"),
    PART("getMilliseconds"),
    M("getHours", 1, &cel_int, duration_part, &cel_duration),
    M("getMinutes", 1, &cel_int, duration_part, &cel_duration),
    M("getSeconds", 1, &cel_int, duration_part, &cel_duration),
    M("getMilliseconds", 1, &cel_int, duration_part, &cel_duration),
    {NULL},
};
