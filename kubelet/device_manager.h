/* device_manager.h - device plugins (API v1beta1): programs of this machine that offer devices to
 * pods as extended resources.
 *
 *   device_state.c       what there is, who has what: pure
 *   device_hints.c       from which NUMA nodes: pure
 *   device_gift.c        what plugins' answers give a container: pure
 *   device_checkpoint.c  the state's file <root>/device-plugins/kubelet_internal_checkpoint
 *   device_manager.c     life, amounts for the Node, what a container gets
 *   device_plugins.c     plugins: registration, the list of their devices, their end
 *   device_ask.c         what plugins are asked for a pod
 *   file_saver.c         the writing of the file
 *
 * A plugin registers at <root>/device-plugins/kubelet.sock, or by a socket in plugins_registry
 * (csi_plugins.c). At the agent's start that folder is emptied, which tells plugins to register
 * again. When a plugin goes its devices are unhealthy; five minutes later the resource is none.
 *
 * Devices are reserved when a pod is taken, without I/O (topology.h asks). Before anything of the
 * pod is made the plugin may prefer others, and says what the container gets; that is on disk
 * before the container is created. */
#ifndef KUBELET_DEVICE_MANAGER_H
#define KUBELET_DEVICE_MANAGER_H

#include "kubelet/device_gift.h"
#include "kubelet/device_state.h"

struct api_object;
struct core_v1_resource_status;
struct device_manager;
struct kubelet;
struct topology_provider;

/* Blocking: reads the checkpoint. */
struct device_manager *device_manager_new(struct kubelet *k);
/* Blocking: empties the folder, and listens. changed: the Node's amounts have. */
int device_manager_start(struct device_manager *d, void (*changed)(struct kubelet *k),
                         struct error *err);
/* Its part in taking pods. */
void device_manager_provider(struct device_manager *d, struct topology_provider *ret);
const struct device_state *device_manager_state(const struct device_manager *d);

/* --- plugins --- */

struct device_registration {
    struct str resource;
    const char *endpoint; /* Its socket. */
    const char *const *versions;
    size_t version_count;
    bool pre_start, prefers; /* As it said; it is asked again. */
};
/* The error has upstream's text. What follows is asynchronous. */
int device_manager_register(struct device_manager *d, const struct device_registration *r,
                            struct error *err);
/* The socket in plugins_registry went. */
void device_manager_unregister(struct device_manager *d, struct str resource, const char *endpoint);

/* --- pods --- */

/* Lets plugins say what the containers of the pod get. done runs once, perhaps before this returns.
 * E_AGAIN: the pod had devices before, whose plugin is not back yet. Else the pod cannot run; err
 * has upstream's text. running: something of the pod runs, which is left as it is. */
void device_manager_prepare(struct device_manager *d, struct api_object *pod, bool running,
                            void (*done)(int code, const struct error *err, void *arg), void *arg);
/* Before each start of a container: plugins may want to reset its devices. Likewise. */
void device_manager_prepare_start(struct device_manager *d, struct api_object *pod,
                                  struct str container,
                                  void (*done)(int code, const struct error *err, void *arg),
                                  void *arg);
/* What the plugins' answers give the container; in the arena. */
void device_manager_gift(const struct device_manager *d, struct arena *a, struct str pod_uid,
                         struct str container, struct device_gift *ret);
/* For the container's status: each device and its health. */
size_t device_manager_status(const struct device_manager *d, struct arena *a, struct str pod_uid,
                             struct str container, struct core_v1_resource_status **ret);
/* Grants of pods that are gone are taken back. Call once all sources are known. */
void device_manager_reconcile(struct device_manager *d);

/* --- the Node --- */

struct device_amount {
    struct str name;
    int64_t capacity, allocatable; /* Healthy ones alone. */
    int64_t granted;               /* To containers. */
};
/* An array in a; what was known and is no more has 0. */
size_t device_manager_amounts(const struct device_manager *d, struct arena *a,
                              struct device_amount **ret);

#endif
