/* config.h - the file of --config: KubeSchedulerConfiguration of
 * kubescheduler.config.k8s.io/v1, YAML or JSON, read strictly. Texts are upstream's. Pure. */
#ifndef SCHEDULER_CONFIG_H
#define SCHEDULER_CONFIG_H

#include "scheduler/estimates.h"
#include "scheduler/profile.h"

struct arena;
struct error;

#define SCHED_CONFIG_VERSION "kubescheduler.config.k8s.io/v1"
#define SCHED_CONFIG_KIND "KubeSchedulerConfiguration"

/* A program that is asked about pods over HTTP; strings are NULL when absent. */
struct extender_config {
    const char *url; /* Verbs are appended behind a slash. */
    const char *filter, *prioritize, *preempt, *bind;
    int64_t weight; /* Of its scores, 0..EXTENDER_SCORE_MAX, which count ten times. */
    uint64_t timeout_ms;
    bool node_cache_capable; /* Nodes are named, not sent; victims too. */
    bool ignorable;          /* Pods are placed without it when it fails. */
    /* It is asked about pods with any of these; none: about all. */
    const char *const *managed;
    size_t managed_count;
    bool https, insecure;
    const char *server_name, *cert_file, *key_file, *ca_file;
    struct str cert_pem, key_pem, ca_pem;
};

struct sched_config {
    struct arena *arena; /* Owns all of it. */
    struct profile *profiles;
    size_t profile_count;
    struct extender_config *extenders;
    size_t extender_count;
    uint64_t backoff_min_ms, backoff_max_ms;
    uint64_t bind_timeout_ms; /* Of volumes. */
    struct estimate_rules reclaim;
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
