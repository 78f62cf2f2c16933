/* resources.h - from requests and limits to QoS class, cgroup values and OOM
 * scores. Pure; the numbers are upstream's. */
#ifndef KUBELET_RESOURCES_H
#define KUBELET_RESOURCES_H

#include "kubelet/hugepage_limits.h"

#include "lib/base/base.h"
#include "lib/base/str.h"

struct api_quantity_entry;
struct core_v1_container;
struct core_v1_pod;

enum qos_class { QOS_GUARANTEED, QOS_BURSTABLE, QOS_BEST_EFFORT };
const char *qos_class_name(enum qos_class q); /* "Guaranteed" */
enum qos_class pod_qos_class(const struct core_v1_pod *pod);

/* The value of a resource, rounded up; false when the list lacks it. */
bool resource_value(const struct api_quantity_entry *list, size_t count, const char *name,
                    int64_t *ret);
bool resource_milli(const struct api_quantity_entry *list, size_t count, const char *name,
                    int64_t *ret);

#define CPU_PERIOD_US 100000
#define CPU_SHARES_MIN 2
#define CPU_SHARES_MAX 262144

int64_t cpu_shares_of_milli(int64_t milli);
/* Microseconds per period; 0: no limit. */
int64_t cpu_quota_of_milli(int64_t milli, int64_t period_us);
/* cgroup v2 cpu.weight of cgroup v1 cpu.shares. */
int64_t cpu_weight_of_shares(int64_t shares);

/* How willing the kernel is to kill it, -1000 .. 1000. */
int oom_score_adj(const struct core_v1_pod *pod, const struct core_v1_container *c,
                  int64_t memory_capacity);

/* What a container or a pod gets. 0: not set (shares are always set). */
struct cgroup_limits {
    int64_t cpu_shares;
    int64_t cpu_quota_us;
    int64_t memory_bytes;
    int64_t pids_max;                 /* The agent's --pod-max-pids; not of the spec. */
    struct hugepage_limits hugepages; /* Of pods. */
};
void container_cgroup_limits(const struct core_v1_container *c, struct cgroup_limits *ret);
/* Sums and maxima over the pod; a limit counts only if every container has one. */
void pod_cgroup_limits(const struct core_v1_pod *pod, struct cgroup_limits *ret);

/* The effective request of a pod as the scheduler sees it. */
int64_t pod_request_milli_cpu(const struct core_v1_pod *pod);

bool container_is_sidecar(const struct core_v1_container *c);

#endif
