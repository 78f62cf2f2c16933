/* cron_check.c - faults of cron schedules, in the words of upstream's parser.
 * What a schedule means is the controller's business. */
#include "apiserver/kinds/job_spec.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include <ctype.h>
#include <strings.h>
#include <unistd.h>

#define FIELDS_MAX 64u

struct cron_field {
    int64_t min, max;
    const char *const *names; /* The first one stands for min. */
    size_t name_count;
};

static const char *const months[] = {"jan", "feb", "mar", "apr", "may", "jun",
                                     "jul", "aug", "sep", "oct", "nov", "dec"};
static const char *const days[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};
static const struct cron_field fields[5] = {
    {0, 59, NULL, 0}, {0, 23, NULL, 0}, {1, 31, NULL, 0}, {1, 12, months, 12}, {0, 6, days, 7}};

static const char *number(struct arena *a, struct str s, int64_t *ret)
{
    if (!str_to_i64(s, ret))
        return str_c(arena_printf(a,
                                  "failed to parse int from " STR_FMT
                                  ": strconv.Atoi: parsing \"" STR_FMT "\": invalid syntax",
                                  STR_ARG(s), STR_ARG(s)));
    if (*ret < 0)
        return str_c(arena_printf(a, "negative number (%lld) not allowed: " STR_FMT,
                                  (long long)*ret, STR_ARG(s)));
    return NULL;
}

static const char *number_or_name(struct arena *a, const struct cron_field *f, struct str s,
                                  int64_t *ret)
{
    for (size_t i = 0; i < f->name_count; i++)
        if (s.len == 3 && strncasecmp(f->names[i], s.data, 3) == 0) {
            *ret = f->min + (int64_t)i;
            return NULL;
        }
    return number(a, s, ret);
}

static size_t count(struct str s, char c)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += s.data[i] == c;
    return n;
}

/* *, 3, 1-5, each with or without /2. */
static const char *range_fault(struct arena *a, const struct cron_field *f, struct str s)
{
    struct str range, step_text, low, high;
    int64_t start = f->min, end = f->max, step = 1;
    const char *fault = NULL;
    bool stepped = str_cut(s, '/', &range, &step_text), spans = str_cut(range, '-', &low, &high);
    if (!str_eqc(low, "*") && !str_eqc(low, "?")) {
        fault = number_or_name(a, f, low, &start);
        if (fault == NULL && count(range, '-') > 1)
            return str_c(arena_printf(a, "too many hyphens: " STR_FMT, STR_ARG(s)));
        end = start;
        if (fault == NULL && spans)
            fault = number_or_name(a, f, high, &end);
        if (fault != NULL)
            return fault;
    }
    if (count(s, '/') > 1)
        return str_c(arena_printf(a, "too many slashes: " STR_FMT, STR_ARG(s)));
    if (stepped) {
        fault = number(a, step_text, &step);
        if (fault != NULL)
            return fault;
        if (!spans)
            end = f->max;
    }
    if (start < f->min)
        return str_c(arena_printf(a, "beginning of range (%lld) below minimum (%lld): " STR_FMT,
                                  (long long)start, (long long)f->min, STR_ARG(s)));
    if (end > f->max)
        return str_c(arena_printf(a, "end of range (%lld) above maximum (%lld): " STR_FMT,
                                  (long long)end, (long long)f->max, STR_ARG(s)));
    if (start > end)
        return str_c(arena_printf(a,
                                  "beginning of range (%lld) beyond end of range (%lld): " STR_FMT,
                                  (long long)start, (long long)end, STR_ARG(s)));
    if (step == 0)
        return str_c(
            arena_printf(a, "step of range should be a positive number: " STR_FMT, STR_ARG(s)));
    return NULL;
}

static const char *field_fault(struct arena *a, const struct cron_field *f, struct str s)
{
    const char *fault = NULL;
    while (fault == NULL && !str_empty(s)) {
        struct str part;
        str_cut(s, ',', &part, &s);
        if (!str_empty(part))
            fault = range_fault(a, f, part);
    }
    return fault;
}

/* Go's duration: 1h30m, 1.5s, 300ms. */
static bool is_duration(struct str s)
{
    static const char *const units[] = {"ns", "us", "ms", "s", "m", "h"};
    size_t i = s.len > 0 && (s.data[0] == '-' || s.data[0] == '+') ? 1 : 0;
    if (i == s.len)
        return false;
    while (i < s.len) {
        size_t digits = 0;
        bool known = false;
        for (; i < s.len && (isdigit((unsigned char)s.data[i]) || s.data[i] == '.'); i++)
            digits++;
        size_t from = i;
        while (i < s.len && isalpha((unsigned char)s.data[i]))
            i++;
        for (size_t u = 0; u < ARRAY_SIZE(units); u++)
            known = known || str_eqc(str_n(s.data + from, i - from), units[u]);
        if (digits == 0 || !known)
            return false;
    }
    return true;
}

static const char *descriptor_fault(struct arena *a, struct str s)
{
    static const char *const known[] = {"@yearly", "@annually", "@monthly", "@weekly",
                                        "@daily",  "@midnight", "@hourly"};
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (str_eqc(s, known[i]))
            return NULL;
    if (!str_has_prefix(s, STR("@every ")))
        return str_c(arena_printf(a, "unrecognized descriptor: " STR_FMT, STR_ARG(s)));
    struct str duration = str_sub(s, 7, s.len);
    if (is_duration(duration))
        return NULL;
    return str_c(arena_printf(
        a, "failed to parse duration " STR_FMT ": time: invalid duration \"" STR_FMT "\"",
        STR_ARG(s), STR_ARG(duration)));
}

const char *cron_fault(struct arena *a, struct str schedule)
{
    struct str parts[FIELDS_MAX];
    size_t n = 0;
    if (str_empty(schedule))
        return "empty spec string";
    if (schedule.data[0] == '@')
        return descriptor_fault(a, schedule);
    for (size_t i = 0; i < schedule.len && n < FIELDS_MAX;) {
        while (i < schedule.len && isspace((unsigned char)schedule.data[i]))
            i++;
        size_t from = i;
        while (i < schedule.len && !isspace((unsigned char)schedule.data[i]))
            i++;
        if (i > from)
            parts[n++] = str_n(schedule.data + from, i - from);
    }
    if (n != ARRAY_SIZE(fields)) {
        AUTO_BUF b = BUF_INIT;
        for (size_t i = 0; i < n; i++)
            buf_printf(&b, "%s" STR_FMT, i == 0 ? "" : " ", STR_ARG(parts[i]));
        return str_c(arena_printf(a, "expected exactly 5 fields, found %zu: [" STR_FMT "]", n,
                                  STR_ARG(buf_str(&b))));
    }
    for (size_t i = 0; i < n; i++) {
        const char *fault = field_fault(a, &fields[i], parts[i]);
        if (fault != NULL)
            return fault;
    }
    return NULL;
}

bool time_zone_exists(struct str name)
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
