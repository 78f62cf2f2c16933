/* cron.c - see cron.h. */
#include "lib/api/cron.h"

#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/flags.h"

#include <ctype.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#define YEARS_MAX 5
#define FIELDS_SHOWN_MAX 64u
#define NS_PER_SECOND INT64_C(1000000000)

struct field {
    int64_t min, max;
    const char *const *names; /* Of the values from min on; NULL: none. */
};

static const char *const months[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul",
                                     "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const days[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};
static const struct field fields[] = {
    {0, 59, NULL}, {0, 23, NULL}, {1, 31, NULL}, {1, 12, months}, {0, 6, days}};

static int parse_number(struct str s, int64_t *ret, struct error *err)
{
    if (!str_to_i64(s, ret))
        return error_set(err, E_INVALID,
                         "failed to parse int from " STR_FMT ": strconv.Atoi: parsing \"" STR_FMT
                         "\": invalid syntax",
                         STR_ARG(s), STR_ARG(s));
    if (*ret < 0)
        return error_set(err, E_INVALID, "negative number (%lld) not allowed: " STR_FMT,
                         (long long)*ret, STR_ARG(s));
    return 0;
}

static int parse_value(const struct field *f, struct str s, int64_t *ret, struct error *err)
{
    for (int64_t i = 0; f->names != NULL && f->names[i] != NULL; i++)
        if (s.len == 3 && strncasecmp(s.data, f->names[i], 3) == 0) {
            *ret = f->min + i;
            return 0;
        }
    return parse_number(s, ret, err);
}

static bool more_than_one(struct str s, char c)
{
    ptrdiff_t first = str_find(s, c, 0);
    return first >= 0 && str_find(s, c, (size_t)first + 1) >= 0;
}

static int check_range(const struct field *f, struct str s, int64_t from, int64_t to, int64_t step,
                       struct error *err)
{
    if (from < f->min)
        return error_set(err, E_INVALID, "beginning of range (%lld) below minimum (%lld): " STR_FMT,
                         (long long)from, (long long)f->min, STR_ARG(s));
    if (to > f->max)
        return error_set(err, E_INVALID, "end of range (%lld) above maximum (%lld): " STR_FMT,
                         (long long)to, (long long)f->max, STR_ARG(s));
    if (from > to)
        return error_set(err, E_INVALID,
                         "beginning of range (%lld) beyond end of range (%lld): " STR_FMT,
                         (long long)from, (long long)to, STR_ARG(s));
    if (step == 0)
        return error_set(err, E_INVALID, "step of range should be a positive number: " STR_FMT,
                         STR_ARG(s));
    return 0;
}

/* "*", "n", "n-m", each with "/step". */
static int parse_range(const struct field *f, struct str s, uint64_t *bits, bool *any,
                       struct error *err)
{
    struct str range, step_text, low, high;
    int64_t from = f->min, to = f->max, step = 1;
    bool stepped = str_cut(s, '/', &range, &step_text), spans = str_cut(range, '-', &low, &high);
    bool star = str_eqc(low, "*") || str_eqc(low, "?");
    int rc = star ? 0 : parse_value(f, low, &from, err);
    if (rc == 0 && !star && more_than_one(range, '-'))
        return error_set(err, E_INVALID, "too many hyphens: " STR_FMT, STR_ARG(s));
    if (rc == 0 && !star && spans)
        rc = parse_value(f, high, &to, err);
    else if (!star && !stepped)
        to = from; /* "n/step" runs to the end. */
    if (rc == 0 && more_than_one(s, '/'))
        return error_set(err, E_INVALID, "too many slashes: " STR_FMT, STR_ARG(s));
    if (rc == 0 && stepped)
        rc = parse_number(step_text, &step, err);
    if (rc == 0)
        rc = check_range(f, s, from, to, step, err);
    if (rc != 0)
        return rc;
    *any |= star && step == 1;
    for (int64_t v = from; v <= to; v += MIN_OF(step, f->max + 1))
        *bits |= UINT64_C(1) << v;
    return 0;
}

/* Nothing between two commas counts for nothing. */
static int parse_field(const struct field *f, struct str s, uint64_t *bits, bool *any,
                       struct error *err)
{
    int rc = 0;
    while (rc == 0 && !str_empty(s)) {
        struct str part;
        str_cut(s, ',', &part, &s);
        if (!str_empty(part))
            rc = parse_range(f, part, bits, any, err);
    }
    return rc;
}

static int parse_descriptor(struct str s, struct cron *ret, struct error *err)
{
    static const struct {
        const char *name, *fields;
    } known[] = {
        {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"},
        {"@weekly", "0 0 * * 0"}, {"@daily", "0 0 * * *"},    {"@midnight", "0 0 * * *"},
        {"@hourly", "0 * * * *"},
    };
    int64_t ns;
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (str_eqc(s, known[i].name))
            return cron_parse(str_of(known[i].fields), ret, err);
    if (!str_has_prefix(s, STR("@every ")))
        return error_set(err, E_INVALID, "unrecognized descriptor: " STR_FMT, STR_ARG(s));
    struct str duration = str_sub(s, 7, s.len);
    if (duration_parse(duration, &ns) != 0)
        return error_set(err, E_INVALID,
                         "failed to parse duration " STR_FMT ": time: invalid duration \"" STR_FMT
                         "\"",
                         STR_ARG(s), STR_ARG(duration));
    *ret = (struct cron){.every_s = MAX_OF(ns / NS_PER_SECOND, INT64_C(1))};
    return 0;
}

static size_t split(struct str s, struct str *parts, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len && n < max;) {
        while (i < s.len && isspace((unsigned char)s.data[i]))
            i++;
        size_t from = i;
        while (i < s.len && !isspace((unsigned char)s.data[i]))
            i++;
        if (i > from)
            parts[n++] = str_n(s.data + from, i - from);
    }
    return n;
}

static int wrong_count(const struct str *parts, size_t n, struct error *err)
{
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < n; i++)
        buf_printf(&b, "%s" STR_FMT, i == 0 ? "" : " ", STR_ARG(parts[i]));
    return error_set(err, E_INVALID, "expected exactly 5 fields, found %zu: [" STR_FMT "]", n,
                     STR_ARG(buf_str(&b)));
}

int cron_parse(struct str text, struct cron *ret, struct error *err)
{
    struct str s = str_trim(text), parts[FIELDS_SHOWN_MAX];
    bool any[ARRAY_SIZE(fields)] = {false};
    uint64_t bits[ARRAY_SIZE(fields)] = {0};
    if (str_empty(s))
        return error_set(err, E_INVALID, "empty spec string");
    if (s.data[0] == '@')
        return parse_descriptor(s, ret, err);
    size_t n = split(s, parts, ARRAY_SIZE(parts));
    if (n != ARRAY_SIZE(fields))
        return wrong_count(parts, n, err);
    for (size_t i = 0; i < n; i++) {
        int rc = parse_field(&fields[i], parts[i], &bits[i], &any[i], err);
        if (rc != 0)
            return rc;
    }
    *ret = (struct cron){bits[0], bits[1], bits[2], bits[3], bits[4], any[2], any[4], 0};
    return 0;
}

static bool has(uint64_t bits, int n)
{
    return (bits >> n & 1) != 0;
}

static bool day_matches(const struct cron *c, const struct tm *t)
{
    bool day = has(c->day, t->tm_mday), weekday = has(c->weekday, t->tm_wday);
    return c->any_day || c->any_weekday ? day && weekday : day || weekday;
}

static void normalize(struct tm *t)
{
    t->tm_isdst = -1;
    mktime(t);
}

/* Moves on by whole months, days, hours and minutes until all match. */
static int64_t search(const struct cron *c, int64_t after_s)
{
    time_t start = (time_t)(after_s - after_s % 60 + 60);
    struct tm t;
    localtime_r(&start, &t);
    int last_year = t.tm_year + YEARS_MAX;
    while (t.tm_year <= last_year) {
        if (!has(c->month, t.tm_mon + 1)) {
            t.tm_mon++, t.tm_mday = 1, t.tm_hour = 0, t.tm_min = 0;
        } else if (!day_matches(c, &t)) {
            t.tm_mday++, t.tm_hour = 0, t.tm_min = 0;
        } else if (!has(c->hour, t.tm_hour)) {
            t.tm_hour++, t.tm_min = 0;
        } else if (!has(c->minute, t.tm_min)) {
            t.tm_min++;
        } else {
            t.tm_isdst = -1;
            t.tm_sec = 0;
            int64_t found = (int64_t)mktime(&t);
            /* An hour that the clock repeats may come out before the start. */
            return found > after_s ? found : after_s - after_s % 60 + 3600;
        }
        normalize(&t);
    }
    return 0;
}

int64_t cron_next(const struct cron *c, int64_t after_s, const char *zone)
{
    if (c->every_s != 0)
        return after_s + c->every_s;
    if (c->minute == 0 || c->hour == 0 || c->day == 0 || c->month == 0 || c->weekday == 0)
        return 0; /* A field of commas alone: no need to search. */
    const char *old = getenv("TZ");
    AUTO_FREE char *saved = old != NULL ? xstrdup(old) : NULL;
    setenv("TZ", zone != NULL ? zone : "UTC", 1);
    tzset();
    int64_t ret = search(c, after_s);
    if (saved != NULL)
        setenv("TZ", saved, 1);
    else
        unsetenv("TZ");
    tzset();
    return ret;
}

int64_t cron_latest(const struct cron *c, int64_t after_s, int64_t now_s, const char *zone,
                    int64_t *ret_missed)
{
    int64_t first = cron_next(c, after_s, zone), second = 0, low = first - 1, high = now_s;
    bool due = first != 0 && first <= now_s;
    if (due)
        second = c->every_s != 0 ? first + c->every_s : cron_next(c, first, zone);
    if (ret_missed != NULL)
        *ret_missed = !due ? 0 : second <= first ? 1 : (now_s - first) / (second - first) + 1;
    if (!due)
        return 0;
    if (c->every_s != 0)
        return first + (now_s - first) / c->every_s * c->every_s;
    /* Of the times before high, the one after low is due; that after high is not. */
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2, t = cron_next(c, middle, zone);
        if (t != 0 && t <= now_s)
            low = MAX_OF(middle, t - 1);
        else
            high = middle;
    }
    return cron_next(c, low, zone);
}

bool cron_zone_exists(struct str name)
{
    static const char base[] = "/usr/share/zoneinfo";
    char path[256];
    if (str_eqc(name, "UTC"))
        return true;
    if (name.len + sizeof(base) + 1 > sizeof(path) || name.data[0] == '/' ||
        str_find_str(name, STR("..")) >= 0 || str_find(name, '\\', 0) >= 0)
        return false;
    if (access(base, X_OK) != 0)
        return true;
    memcpy(path, base, sizeof(base) - 1);
    path[sizeof(base) - 1] = '/';
    memcpy(path + sizeof(base), name.data, name.len);
    path[sizeof(base) + name.len] = '\0';
    return access(path, R_OK) == 0;
}
