/* estimates.h - what pods are expected to need of what they reserve, from what they use, as Borg
 * estimates its reservations; and which reclaiming pods (lib/client/reclaim.h) must go.
 *
 *   estimate: what is reserved, for the first 5 minutes and without fresh samples; then it comes
 *   down to usage and a margin, by half every 5 minutes; it goes up at once, beyond what is
 *   reserved if that is used
 *
 * Estimates say how much reclaiming pods may take. Who must go is said by the present need, usage
 * and the margin, so that neither a new scheduler nor a node that tells nothing evicts anybody.
 * Pure: time is an argument. */
#ifndef SCHEDULER_ESTIMATES_H
#define SCHEDULER_ESTIMATES_H

#include "lib/base/map.h"
#include "scheduler/snapshot.h"

struct api_object;
struct arena;
struct metrics_v1beta1_pod_metrics;

struct estimate_rules {
    uint64_t period_ms;    /* Between two rounds of samples. */
    uint64_t warm_up_ms;   /* So long a pod keeps what it reserves. */
    uint64_t half_life_ms; /* Of what is kept beyond the need. */
    int64_t margin_percent;
};
#define ESTIMATE_MARGIN_PERCENT 25
#define ESTIMATE_RULES_DEFAULT                                                                     \
    ((struct estimate_rules){30000, (uint64_t)5 * 60 * 1000, (uint64_t)5 * 60 * 1000,              \
                             ESTIMATE_MARGIN_PERCENT})
#define ESTIMATE_STALE_MS (3u * 60 * 1000)

/* What pods use, by "namespace/name". */
struct usages {
    struct arena *arena; /* Owned. */
    struct map by_pod;   /* -> struct amounts */
};
void usages_init(struct usages *u);
void usages_done(struct usages *u);
void usages_add(struct usages *u, struct str namespace_name, struct str name,
                const struct amounts *used);
void usages_add_metrics(struct usages *u, const struct metrics_v1beta1_pod_metrics *m);

/* Takes a round of samples into account. True: some node has more to reclaim than before. */
bool estimates_update(struct snapshot *s, const struct usages *u,
                      const struct estimate_rules *rules, uint64_t now_ms);

struct reclaimed {
    struct api_object *pod; /* Held by the arena. */
    struct node_info *node;
};
/* Reclaiming pods that must go for the present need of the others, the least important and
 * youngest first; in a. Those that are going already count as gone. */
size_t estimates_to_evict(struct arena *a, const struct snapshot *s, uint64_t now_ms,
                          struct reclaimed **ret);

#endif
