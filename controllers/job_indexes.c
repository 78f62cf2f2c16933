/* job_indexes.c - see job_indexes.h. */
#include "controllers/job_indexes.h"

#include "lib/base/arena.h"
#include "lib/base/base.h"
#include "lib/base/buf.h"

#include <stdlib.h>

static bool parse_number(struct str s, int32_t *ret)
{
    int64_t v;
    if (!str_to_i64(s, &v) || v < 0 || v > INT32_MAX)
        return false;
    *ret = (int32_t)v;
    return true;
}

/* Adds a run that begins no earlier than those before it. */
static void append(struct job_indexes *set, struct job_run r)
{
    struct job_run *last = set->count != 0 ? &set->runs[set->count - 1] : NULL;
    if (last != NULL && (int64_t)r.first <= (int64_t)last->last + 1)
        last->last = MAX_OF(last->last, r.last);
    else
        set->runs[set->count++] = r;
}

static size_t count_parts(struct str text)
{
    size_t n = 1;
    for (size_t i = 0; i < text.len; i++)
        n += text.data[i] == ',';
    return n;
}

struct job_indexes job_indexes_parse(struct arena *a, struct str text, int32_t max)
{
    struct job_indexes set = {ARENA_ARRAY(a, struct job_run, count_parts(text)), 0};
    struct str part, rest = text;
    while (!str_empty(rest)) {
        struct str from, to;
        struct job_run r;
        str_cut(rest, ',', &part, &rest);
        bool range = str_cut(part, '-', &from, &to);
        if (!parse_number(from, &r.first) || (range && !parse_number(to, &r.last)))
            continue;
        r.last = MIN_OF(range ? r.last : r.first, max - 1);
        bool ordered = set.count == 0 || r.first >= set.runs[set.count - 1].first;
        if (r.last >= r.first && ordered)
            append(&set, r);
    }
    return set;
}

struct str job_indexes_format(struct arena *a, struct job_indexes set)
{
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < set.count; i++) {
        struct job_run r = set.runs[i];
        buf_printf(&b, "%s%d", i != 0 ? "," : "", (int)r.first);
        if (r.last != r.first)
            buf_printf(&b, "%c%d", r.last == r.first + 1 ? ',' : '-', (int)r.last);
    }
    return arena_str(a, buf_str(&b));
}

int64_t job_indexes_total(struct job_indexes set)
{
    int64_t n = 0;
    for (size_t i = 0; i < set.count; i++)
        n += (int64_t)set.runs[i].last - set.runs[i].first + 1;
    return n;
}

bool job_indexes_has(struct job_indexes set, int32_t index)
{
    size_t low = 0, high = set.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (set.runs[middle].last < index)
            low = middle + 1;
        else
            high = middle;
    }
    return low < set.count && set.runs[low].first <= index;
}

struct job_indexes job_indexes_union(struct arena *a, struct job_indexes x, struct job_indexes y)
{
    struct job_indexes set = {ARENA_ARRAY(a, struct job_run, x.count + y.count + 1), 0};
    size_t i = 0, k = 0;
    while (i < x.count || k < y.count) {
        bool left = k == y.count || (i < x.count && x.runs[i].first < y.runs[k].first);
        append(&set, left ? x.runs[i++] : y.runs[k++]);
    }
    return set;
}

static int compare(const void *x, const void *y)
{
    int32_t a = *(const int32_t *)x, b = *(const int32_t *)y;
    return (a > b) - (a < b);
}

struct job_indexes job_indexes_of(struct arena *a, int32_t *numbers, size_t count)
{
    struct job_indexes set = {ARENA_ARRAY(a, struct job_run, count + 1), 0};
    if (count > 1)
        qsort(numbers, count, sizeof(*numbers), compare);
    for (size_t i = 0; i < count; i++)
        append(&set, (struct job_run){numbers[i], numbers[i]});
    return set;
}

int64_t job_indexes_common(struct job_indexes x, struct job_indexes y)
{
    int64_t n = 0;
    for (size_t i = 0, k = 0; i < x.count && k < y.count;) {
        int64_t first = MAX_OF(x.runs[i].first, y.runs[k].first);
        int64_t last = MIN_OF(x.runs[i].last, y.runs[k].last);
        n += MAX_OF(last - first + 1, 0);
        if (x.runs[i].last < y.runs[k].last)
            i++;
        else
            k++;
    }
    return n;
}

size_t job_indexes_missing(struct job_indexes set, int32_t max, size_t want, int32_t *ret)
{
    size_t n = 0, at = 0;
    for (int64_t i = 0; i < max && n < want; i++) {
        if (at < set.count && i >= set.runs[at].first)
            i = set.runs[at++].last; /* Over the whole run. */
        else
            ret[n++] = (int32_t)i;
    }
    return n;
}
