/* cron.c - see cron.h. */
#include "controllers/cron.h"

#include "lib/base/base.h"
#include "lib/base/error.h"
#include "lib/base/flags.h"

#include <strings.h>
#include <time.h>

#define YEARS_MAX 5

struct field {
    const char *name;
    unsigned min, max;
    const char *const *words; /* Names of the values from min on; NULL: none. */
};

static const char *const months[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul",
                                     "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const weekdays[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};

static const struct field fields[] = {
    {"minute", 0, 59, NULL},  {"hour", 0, 23, NULL},           {"day of month", 1, 31, NULL},
    {"month", 1, 12, months}, {"day of week", 0, 6, weekdays},
};

static int parse_value(const struct field *f, struct str s, unsigned *ret, struct error *err)
{
    uint64_t v;
    for (unsigned i = 0; f->words != NULL && f->words[i] != NULL; i++)
        if (s.len == 3 && strncasecmp(s.data, f->words[i], 3) == 0) {
            *ret = f->min + i;
            return 0;
        }
    if (!str_to_u64(s, &v) || v < f->min || v > f->max)
        return error_set(err, E_INVALID, "%s: \"" STR_FMT "\" is not within %u and %u", f->name,
                         STR_ARG(s), f->min, f->max);
    *ret = (unsigned)v;
    return 0;
}

/* "*", "n", "n-m", each with "/step". */
static int parse_range(const struct field *f, struct str s, uint64_t *bits, bool *any,
                       struct error *err)
{
    struct str range, step_text, from_text, to_text;
    uint64_t step = 1;
    unsigned from = f->min, to = f->max;
    int rc = 0;
    bool stepped = str_cut(s, '/', &range, &step_text);
    if (stepped && (!str_to_u64(step_text, &step) || step == 0))
        return error_set(err, E_INVALID, "%s: \"" STR_FMT "\" is no step", f->name,
                         STR_ARG(step_text));
    if (str_eqc(range, "*") || str_eqc(range, "?")) {
        *any |= !stepped || step == 1;
    } else {
        bool both = str_cut(range, '-', &from_text, &to_text);
        rc = parse_value(f, from_text, &from, err);
        if (rc == 0 && both)
            rc = parse_value(f, to_text, &to, err);
        else if (!stepped)
            to = from; /* "n/step" runs to the end. */
    }
    if (rc != 0)
        return rc;
    if (from > to)
        return error_set(err, E_INVALID, "%s: \"" STR_FMT "\" begins after its end", f->name,
                         STR_ARG(s));
    for (uint64_t v = from; v <= to; v += step)
        *bits |= (uint64_t)1 << v;
    return 0;
}

static int parse_field(const struct field *f, struct str s, uint64_t *bits, bool *any,
                       struct error *err)
{
    struct str part, rest = s;
    do {
        bool more = str_cut(rest, ',', &part, &rest);
        int rc = parse_range(f, part, bits, any, err);
        if (rc != 0)
            return rc;
        if (more && str_empty(rest))
            return error_set(err, E_INVALID, "%s: ends with a comma", f->name);
    } while (!str_empty(rest));
    return 0;
}

static int parse_macro(struct str s, struct cron *ret, struct error *err)
{
    static const struct {
        const char *name, *fields;
    } macros[] = {
        {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"},
        {"@weekly", "0 0 * * 0"}, {"@daily", "0 0 * * *"},    {"@midnight", "0 0 * * *"},
        {"@hourly", "0 * * * *"},
    };
    int64_t ns;
    for (size_t i = 0; i < ARRAY_SIZE(macros); i++)
        if (str_eqc(s, macros[i].name))
            return cron_parse(str_of(macros[i].fields), ret, err);
    if (str_has_prefix(s, STR("@every "))) {
        if (duration_parse(str_sub(s, 7, s.len), &ns) != 0 || ns < 1000000000)
            return error_set(err, E_INVALID, "\"" STR_FMT "\" has no duration of a second or more",
                             STR_ARG(s));
        ret->every_s = ns / 1000000000;
        return 0;
    }
    return error_set(err, E_INVALID, "unrecognized descriptor: " STR_FMT, STR_ARG(s));
}

int cron_parse(struct str text, struct cron *ret, struct error *err)
{
    struct str s = str_trim(text), word;
    bool any[5] = {false};
    uint64_t bits[5] = {0};
    size_t n = 0;
    *ret = (struct cron){0};
    if (str_has_prefix(s, STR("@")))
        return parse_macro(s, ret, err);
    while (!str_empty(s)) {
        str_cut(s, ' ', &word, &s);
        s = str_trim(s);
        if (n == ARRAY_SIZE(fields))
            return error_set(err, E_INVALID, "expected exactly 5 fields: " STR_FMT, STR_ARG(text));
        int rc = parse_field(&fields[n], word, &bits[n], &any[n], err);
        if (rc != 0)
            return rc;
        n++;
    }
    if (n != ARRAY_SIZE(fields))
        return error_set(err, E_INVALID, "expected exactly 5 fields, found %zu: " STR_FMT, n,
                         STR_ARG(text));
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
