/* device_gift.h - what plugins' answers to Allocate give a container. Pure. */
#ifndef KUBELET_DEVICE_GIFT_H
#define KUBELET_DEVICE_GIFT_H

#include "kubelet/env_expand.h"

#include "lib/base/error.h"

struct arena;

struct device_mount {
    const char *container_path, *host_path;
    bool read_only;
};
struct device_node {
    const char *container_path, *host_path, *permissions; /* Of "mrw". */
};
/* Lists in the arena. Start with zero. */
struct device_gift {
    struct env_list envs, annotations;
    struct device_mount *mounts;
    size_t mount_count;
    struct device_node *nodes;
    size_t node_count;
    const char **cdi;
    size_t cdi_count;
};

/* Adds a packed ContainerAllocateResponse; of names in several answers the last one's value counts.
 * E_INVALID names the field that no runtime could make sense of. */
int device_gift_add(struct arena *a, struct str answer, struct device_gift *g, struct error *err);

#endif
