/* job_indexes.h - sets of completion indexes, as a Job's status writes them:
 * "1,3-5". Pure.
 *
 * Kept as runs, since an Indexed Job may have two thousand million completions
 * while few of them differ from their neighbours. */
#ifndef CONTROLLERS_JOB_INDEXES_H
#define CONTROLLERS_JOB_INDEXES_H

#include "lib/base/str.h"

struct arena;

struct job_run {
    int32_t first, last; /* Both within. */
};

struct job_indexes {
    struct job_run *runs; /* Ascending; no two touch. */
    size_t count;
};

/* Malformed parts are skipped; what is not below max is cut off. */
struct job_indexes job_indexes_parse(struct arena *a, struct str text, int32_t max);
/* Two neighbours are written as a list, three or more as a range. */
struct str job_indexes_format(struct arena *a, struct job_indexes set);
int64_t job_indexes_total(struct job_indexes set);
bool job_indexes_has(struct job_indexes set, int32_t index);
struct job_indexes job_indexes_union(struct arena *a, struct job_indexes x, struct job_indexes y);
/* numbers, in any order and with repetitions, as a set; it sorts them in place. */
struct job_indexes job_indexes_of(struct arena *a, int32_t *numbers, size_t count);
/* How many are in both. */
int64_t job_indexes_common(struct job_indexes x, struct job_indexes y);
/* Up to want of the smallest numbers below max that are not in the set. */
size_t job_indexes_missing(struct job_indexes set, int32_t max, size_t want, int32_t *ret);

#endif
