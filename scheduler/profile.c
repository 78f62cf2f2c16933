/* profile.c - see profile.h. */
#include "scheduler/profile.h"

#include "lib/base/base.h"
#include "scheduler/framework.h"
#include "scheduler/scheduler.h"

void profile_init(struct profile *p, const char *name)
{
    static const struct resource_weight both[] = {{"cpu", 1}, {"memory", 1}};
    static const char *const names[] = {"cpu", "memory"};
    *p = (struct profile){
        .name = name,
        .preempts = true,
        .fit_resources = both,
        .fit_resource_count = ARRAY_SIZE(both),
        .balanced = names,
        .balanced_count = ARRAY_SIZE(names),
        .hard_affinity_weight = 1,
        .system_spread = true,
        .device_timeout_ms = DEVICE_TIMEOUT_MS,
    };
    for (unsigned i = 0; i < scheduler_plugin_count; i++) {
        p->filters[i] = scheduler_plugins[i]->filter != NULL;
        p->scores[i] = scheduler_plugins[i]->score != NULL;
        p->weights[i] = scheduler_plugins[i]->weight;
    }
}

const struct profile *profile_default(void)
{
    static struct profile p;
    if (p.name == NULL)
        profile_init(&p, SCHEDULER_NAME);
    return &p;
}
