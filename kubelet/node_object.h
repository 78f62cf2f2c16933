/* node_object.h - the Node object of this machine. Pure. */
#ifndef KUBELET_NODE_OBJECT_H
#define KUBELET_NODE_OBJECT_H

#include "kubelet/eviction.h"
#include "kubelet/machine.h"

#include "lib/base/flags.h"
#include "lib/base/str.h"
#include "lib/base/version.h"

struct arena;
struct core_v1_node;
struct device_amount;
struct core_v1_node_status;
struct json;
struct node_support;

struct node_image {
    const char *const *names;
    size_t name_count;
    int64_t size_bytes;
};

struct node_inputs {
    const char *node_name;
    const struct machine *machine;
    struct machine_usage usage;
    const struct flag_list *labels;          /* key=value */
    const struct flag_list *taints;          /* key=value:effect */
    const struct flag_list *system_reserved; /* name=quantity */
    const struct flag_list *kube_reserved;
    const char *provider_id; /* NULL: none. */
    int64_t max_pods;
    int32_t port; /* Of the kubelet's server. */
    const char *runtime_name, *runtime_version;
    const struct node_support *support; /* What the runtime's handlers can do; NULL: not known. */
    const char *problem;                /* Why not ready; NULL: ready. */
    bool network_ready;
    const struct eviction *eviction; /* Conditions, and what hard thresholds keep back. */
    const struct node_image *images;
    size_t image_count;
    const struct str *volumes_in_use; /* Sorted. */
    size_t volumes_in_use_count;
    const struct device_amount *devices; /* Of plugins. */
    size_t device_count;
    bool schedulable;
    int64_t now_s;
};

#define KUBELET_VERSION KUBERNETES_VERSION

/* For registration: metadata, spec and status. E_INVALID: malformed labels or taints. */
int node_object(struct arena *a, const struct node_inputs *in, struct core_v1_node *ret,
                struct error *err);
/* The status; old gives the times of conditions that did not change, and the
 * conditions of others. May be NULL. */
void node_status(struct arena *a, const struct node_inputs *in,
                 const struct core_v1_node_status *old, struct core_v1_node_status *ret);
/* The memory of all pods together: the capacity less what is reserved. */
int64_t node_pods_memory(const struct node_inputs *in);
/* The strategic merge patch that makes want of have. Lists whose elements merge by key would keep
 * what is gone: they say replace. */
struct json *node_status_patch(struct arena *a, const struct core_v1_node_status *have,
                               const struct core_v1_node_status *want);
/* Equal but for heartbeats. */
bool node_status_same(const struct core_v1_node_status *x, const struct core_v1_node_status *y);

#endif
