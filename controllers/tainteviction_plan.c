/* tainteviction_plan.c - see tainteviction_plan.h. */
#include "controllers/tainteviction_plan.h"

#include "api/core_v1.h"
#include "controllers/pods.h"
#include "lib/api/time.h"
#include "lib/base/base.h"
#include "lib/client/placement.h"

#define NS_PER_S 1000000000

static const struct core_v1_toleration *toleration_for(const struct core_v1_pod *p,
                                                       const struct core_v1_taint *t)
{
    for (size_t i = 0; i < p->spec.tolerations_count; i++)
        if (toleration_tolerates(&p->spec.tolerations[i], t))
            return &p->spec.tolerations[i];
    return NULL;
}

/* Since when the pod is on its node, as far as it tells. */
static int64_t bound_ns(const struct core_v1_pod *p)
{
    const struct core_v1_pod_condition *c = pod_condition(p, "PodScheduled");
    int64_t made = time_to_ns(&p->metadata.creation_timestamp);
    return c != NULL && str_eqc(c->status, "True")
               ? MAX_OF(time_to_ns(&c->last_transition_time), made)
               : made;
}

int64_t taint_eviction_time(const struct core_v1_pod *p, const struct core_v1_node *n,
                            int64_t now_ns)
{
    int64_t when = EVICTION_NEVER;
    for (size_t i = 0; i < n->spec.taints_count; i++) {
        const struct core_v1_taint *taint = &n->spec.taints[i];
        if (!str_eqc(taint->effect, "NoExecute"))
            continue;
        const struct core_v1_toleration *t = toleration_for(p, taint);
        if (t == NULL)
            return 0;
        if (!t->has_toleration_seconds)
            continue;
        if (t->toleration_seconds <= 0)
            return 0;
        int64_t since = taint->time_added != NULL ? time_to_ns(taint->time_added) : now_ns;
        int64_t seconds = MIN_OF(t->toleration_seconds, (int64_t)1 << 31);
        when = MIN_OF(when, MAX_OF(since, bound_ns(p)) + seconds * NS_PER_S);
    }
    return when;
}
