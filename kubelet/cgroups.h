/* cgroups.h - the cgroups of pods: /kubepods[/burstable|/besteffort]/pod<uid>.
 *
 * Containers' own cgroups are the runtime's. cgroup v1 (each controller on its
 * own or hybrid) and v2. Blocking. */
#ifndef KUBELET_CGROUPS_H
#define KUBELET_CGROUPS_H

#include "kubelet/resources.h"

#include "lib/base/error.h"

struct arena;
struct cgroups;

enum cgroup_driver { CGROUP_DRIVER_CGROUPFS, CGROUP_DRIVER_SYSTEMD };

/* root: --cgroup-root, "/" by default. Finds what is mounted. */
int cgroups_new(enum cgroup_driver driver, const char *root, struct cgroups **ret,
                struct error *err);
void cgroups_free(struct cgroups *c); /* NULL is a no-op. */
bool cgroups_is_v2(const struct cgroups *c);

/* What the runtime is told as the sandbox's parent. Pure. */
const char *cgroups_pod_parent(const struct cgroups *c, struct arena *a, enum qos_class qos,
                               const char *uid);

/* The same below the mounts of cgroups, for reading. Pure. */
const char *cgroups_pod_path(const struct cgroups *c, struct arena *a, enum qos_class qos,
                             const char *uid);
const char *cgroups_pods_path(const struct cgroups *c, struct arena *a); /* Of all pods. */

/* Makes /kubepods and the QoS classes below it. */
int cgroups_setup_node(const struct cgroups *c, int64_t cpu_milli, int64_t memory_bytes,
                       struct error *err);
int cgroups_setup_pod(const struct cgroups *c, enum qos_class qos, const char *uid,
                      const struct cgroup_limits *limits, struct error *err);
/* The burstable class weighs as much as its pods ask for. */
int cgroups_set_burstable_shares(const struct cgroups *c, int64_t shares, struct error *err);
/* Kills what is left in it, then removes it. Absent is success. */
int cgroups_remove_pod(const struct cgroups *c, enum qos_class qos, const char *uid,
                       struct error *err);
/* uids of all pods that have a cgroup to on_pod: with cgroup v1 once for each controller. */
void cgroups_each_pod(const struct cgroups *c,
                      void (*on_pod)(enum qos_class qos, const char *uid, void *arg), void *arg);

#endif
