/* config.h - the file of --config: KubeSchedulerConfiguration of
 * kubescheduler.config.k8s.io/v1, YAML or JSON, read strictly. Texts are upstream's. Pure. */
#ifndef SCHEDULER_CONFIG_H
#define SCHEDULER_CONFIG_H

#include "scheduler/profile.h"

struct arena;
struct error;

struct sched_config {
    struct arena *arena; /* Owns all of it. */
    struct profile *profiles;
    size_t profile_count;
    uint64_t backoff_min_ms, backoff_max_ms;
    uint64_t bind_timeout_ms; /* Of volumes. */
    /* What flags say too; NULL: not in the file. */
    const char *kubeconfig, *qps, *burst;
    const char *leader_elect, *lease_duration, *renew_deadline, *retry_period, *lease_name,
        *lease_namespace;
};

/* E_INVALID with all that is wrong in it. */
int sched_config_parse(struct str text, struct sched_config **ret, struct error *err);
/* What holds without a file. */
struct sched_config *sched_config_default(void);
void sched_config_free(struct sched_config *c); /* NULL is a no-op. */
/* The pod's profile; NULL: another scheduler's pod. */
const struct profile *sched_config_profile(const struct sched_config *c, struct str name);

#endif
