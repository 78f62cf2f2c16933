/* hints.c - whether what happened at a node lets a pod in that was refused: asked of the filters
 * themselves, for that node alone, so that pods which it does not help stay where they are. */
#include "scheduler/scheduler_internal.h"

#include "api/core_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "scheduler/sched_metrics.h"

struct happening {
    struct scheduler *scheduler;
    struct node_info *node;
    const char *event;
};

/* Were it tried now, would it fit there? Asked of the filters themselves. */
static bool fits_now(const struct queued_pod *p, void *arg)
{
    const struct happening *h = arg;
    struct scheduler *s = h->scheduler;
    AUTO_ARENA *a = arena_new(0);
    struct pod_info *info = pod_info_new(queued_pod_object(p));
    struct cycle c = {.arena = a,
                      .snapshot = &s->snapshot,
                      .pod = info,
                      .facts = &s->facts,
                      .profile = sched_config_profile(s->config, info->pod->spec.scheduler_name)};
    bool fits = c.profile == NULL || cycle_node_admits(&c, h->node);
    pod_info_free(info);
    return fits;
}

static bool helps(const struct queued_pod *p, void *arg)
{
    const struct happening *h = arg;
    if (h->scheduler->hints++ % HINTS_PER_TIMED != 0)
        return fits_now(p, arg);
    uint64_t from = uv_hrtime();
    bool fits = fits_now(p, arg);
    sched_metrics_hint(p->refused_by, h->event, fits ? "Queue" : "QueueSkip",
                       (double)(uv_hrtime() - from) / 1e9);
    return fits;
}

/* Something of the node, or of the pods on it. */
void scheduler_happened(struct scheduler *s, uint32_t events, struct str node)
{
    unsigned first = 0;
    while (first + 1 < EVENT_COUNT && (events & 1u << first) == 0)
        first++;
    struct happening h = {s, snapshot_node(&s->snapshot, node), sched_queue_cause(first)};
    sched_queue_event_at(&s->queue, events, env_now_ms(s->env), h.node != NULL ? helps : NULL, &h);
}
