/* device_state.h - devices that plugins offer on this node, and which container has which. Pure.
 *
 * A resource ("example.com/dongle") is known from its plugin's registration until five minutes
 * after the plugin went, as upstream. A grant is what one container has of one resource: it is
 * reserved when the pod is taken, and settled once the plugin has said how the container gets it.
 * Containers that start after ordinary init containers have ended use the devices of those. */
#ifndef KUBELET_DEVICE_STATE_H
#define KUBELET_DEVICE_STATE_H

#include "kubelet/topology_merge.h"

#include "lib/base/error.h"
#include "lib/base/list.h"
#include "lib/base/map.h"
#include "lib/base/str.h"

struct arena;
struct buf;
struct core_v1_container;
struct core_v1_pod;

struct device {
    char *id;
    bool healthy;
    numa_mask nodes; /* 0: it is near none in particular. */
};

struct device_resource {
    char *name;
    struct device *devices; /* In the plugin's order. */
    size_t count;
    struct map by_id; /* Of devices. */
    bool connected;   /* Its plugin is there. Without it no device is healthy. */
    bool pre_start;   /* The plugin, there or not, wants to ready devices before each start. */
};

struct device_grant {
    struct list link; /* In device_state.grants, oldest first. */
    char *pod_uid, *container, *resource;
    char **ids;
    numa_mask *nodes; /* Of each. */
    size_t count;
    size_t reused;    /* So many of the first come from init containers of the same pod. */
    numa_mask wanted; /* NUMA nodes to take devices from first; 0: any. */
    bool settled;
    char *answer; /* The plugin's, packed; NULL until settled. */
    size_t answer_bytes;
};

struct device_state {
    struct map resources; /* Name -> struct device_resource */
    struct list grants;
};

void device_state_init(struct device_state *s);
void device_state_done(struct device_state *s);

/* --- what there is --- */

struct device_seen {
    const char *id;
    bool healthy;
    numa_mask nodes;
};

/* NULL: unknown. */
struct device_resource *device_resource_find(const struct device_state *s, struct str name);
struct device_resource *device_resource_add(struct device_state *s, struct str name);
void device_resource_remove(struct device_state *s, struct device_resource *r);
/* All devices, anew. Of those named twice the last counts. */
void device_resource_set(struct device_resource *r, const struct device_seen *list, size_t count);
/* The plugin went: its devices are there, but not healthy. */
void device_resource_lose(struct device_resource *r);
size_t device_resource_healthy(const struct device_resource *r);
/* NULL: there is none. */
const struct device *device_find(const struct device_resource *r, const char *id);

/* --- who has what --- */

struct device_grant *device_grant_find(const struct device_state *s, struct str pod_uid,
                                       struct str container, struct str resource);
/* How many the container asks for; 0: it does not. */
int64_t device_request(const struct core_v1_container *c, struct str resource);

/* Takes devices for all that the container asks for, from these NUMA nodes first. What it has
 * stays. False: *ret_why is upstream's text, in a; what was taken for other resources stays until
 * the pod is freed. Containers come in the order in which they start. */
bool device_reserve(struct device_state *s, struct arena *a, const struct core_v1_pod *pod,
                    const struct core_v1_container *c, numa_mask wanted, const char **ret_why);
/* The plugin may prefer others: of which, and which of them it must take; arrays in a. */
void device_grant_choices(const struct device_state *s, struct arena *a,
                          const struct device_grant *g, const char ***ret, size_t *ret_count);
/* Takes those of them that it may have instead, up to as many as it has. */
void device_grant_prefer(const struct device_state *s, struct device_grant *g, char *const *ids,
                         size_t count);
void device_grant_settle(struct device_grant *g, const void *answer, size_t bytes);
/* One that stands in the checkpoint. */
struct device_grant *device_grant_add(struct device_state *s, struct str pod_uid,
                                      struct str container, struct str resource);
void device_grant_add_device(struct device_grant *g, struct str id, numa_mask nodes);
/* True: it had something that the checkpoint may name. */
bool device_free_pod(struct device_state *s, struct str pod_uid);

/* Ids of the devices that somebody has; those that c may use of ordinary init containers before it,
 * which nobody since then has for good. Values are no objects. */
void device_find_used(const struct device_state *s, struct str resource, struct map *ids);
void device_find_reusable(const struct device_state *s, const struct core_v1_pod *pod,
                          const struct core_v1_container *c, struct str resource, struct map *ids);

/* --- hints for topology.h; c NULL: for all containers of the pod together --- */
void device_hints(const struct device_state *s, const struct core_v1_pod *pod,
                  const struct core_v1_container *c, numa_mask machine, struct topology_hints *h);

/* --- the checkpoint: upstream's kubelet_internal_checkpoint, with a checksum of our own --- */
void device_checkpoint_write(const struct device_state *s, struct buf *out);
/* Replaces all of s. E_INVALID: s is as it was. */
int device_checkpoint_read(struct device_state *s, struct str text, struct error *err);

#endif
