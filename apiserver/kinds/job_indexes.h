/* job_indexes.h - the lists of indexes of Jobs: "1,3-5,7". Pure. */
#ifndef APISERVER_KINDS_JOB_INDEXES_H
#define APISERVER_KINDS_JOB_INDEXES_H

#include "lib/base/str.h"

#include <stdint.h>

struct arena;

/* What is wrong with the list, in upstream's words, or nothing. ret_total: how
 * many indexes there are; 0 when something is wrong. */
struct str job_indexes_fault(struct arena *a, struct str list, int32_t completions,
                             int32_t *ret_total);

#endif
