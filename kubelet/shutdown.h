/* shutdown.h - graceful node shutdown: pods end, the less important first, before the machine does.
 *
 *   PrepareForShutdown from logind, or SIGTERM with --shutdown-on-sigterm
 *     -> node not ready, no new pods
 *     -> group by group: stop, wait until all are gone or the group's time is over
 *     -> lock released, or done()
 *
 * Names, groups and texts are upstream's. */
#ifndef KUBELET_SHUTDOWN_H
#define KUBELET_SHUTDOWN_H

#include "lib/base/error.h"
#include "lib/base/flags.h"

struct kubelet;
struct shutdown;

struct shutdown_config {
    int64_t grace_ns;             /* In all; 0: pods are not ended. */
    int64_t critical_ns;          /* Of that, for critical pods at the end. */
    struct flag_list by_priority; /* priority=seconds; instead of the two above */
    bool on_sigterm;
};

/* --- the pure part --- */
#define SHUTDOWN_GROUPS_MAX 64
struct shutdown_group {
    int32_t priority; /* And above, up to the next group's. */
    int64_t seconds;
};
struct shutdown_plan {
    struct shutdown_group groups[SHUTDOWN_GROUPS_MAX]; /* Ascending; in this order they go. */
    size_t count;                                      /* 0: there is no graceful shutdown. */
};
int shutdown_plan_init(struct shutdown_plan *p, const struct shutdown_config *config,
                       struct error *err);
size_t shutdown_group_of(const struct shutdown_plan *p, int32_t priority);
int64_t shutdown_total_s(const struct shutdown_plan *p);

/* --- the rest --- */
/* on_change: it began, or was called off. */
struct shutdown *shutdown_start(struct kubelet *k, void (*on_change)(struct kubelet *k));
/* Ends all pods as above. done runs later, once. False: nothing is configured. */
bool shutdown_begin(struct shutdown *s, void (*done)(struct kubelet *k));
bool shutdown_is_on(const struct shutdown *s); /* NULL: no. */

#define SHUTDOWN_REJECT_REASON "NodeShutdown"
#define SHUTDOWN_REJECT_MESSAGE "Pod was rejected as the node is shutting down."

#endif
