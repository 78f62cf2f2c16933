/* reclaim.h - pods that live on what others have reserved and do not use: labelled so, and of
 * negative priority. They go first when it is needed. Scheduler and node agent read it alike.
 * Pure. */
#ifndef CLIENT_RECLAIM_H
#define CLIENT_RECLAIM_H

#include <stdbool.h>

struct core_v1_pod;

#define RECLAIM_LABEL "trireme.io/reclaim" /* "true" */

bool pod_reclaims(const struct core_v1_pod *pod);

#endif
