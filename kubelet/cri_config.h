/* cri_config.h - what the runtime is told about a pod and its containers.
 *
 * Pure: spec in, CRI messages in the arena out. */
#ifndef KUBELET_CRI_CONFIG_H
#define KUBELET_CRI_CONFIG_H

#include "kubelet/container_env.h"
#include "kubelet/cri.h"
#include "kubelet/hosts_file.h"
#include "kubelet/volumes.h"

struct core_v1_container;
struct core_v1_lifecycle;
struct core_v1_pod;

/* Which ids of the machine a pod's users are; length 0: the machine's own. */
struct user_range {
    uint32_t first, length;
};

struct sandbox_inputs {
    struct user_range users;
    const struct core_v1_pod *pod;
    uint32_t attempt;
    const char *hostname;
    const char *log_dir;
    const char *cgroup_parent; /* "" when the runtime decides. */
    const struct dns_settings *dns;
    const char *seccomp_root;
};
CRI(PodSandboxConfig) * sandbox_config(struct arena *a, const struct sandbox_inputs *in);

/* One mount of a container, its source resolved. */
struct container_mount {
    const char *container_path;
    const char *host_path;
    bool read_only;
    bool recursive_read_only;
    bool relabel; /* SELinux: its files get the container's label. */
    CRI(MountPropagation) propagation;
    /* An image that the runtime mounts, instead of a path; NULL: a path. */
    const char *image_ref, *image_given, *image_sub_path;
};

struct container_device {
    const char *container_path;
    const char *host_path;
    bool read_only;
    const char *permissions; /* Of "mrw"; NULL: as read_only says. */
};

struct container_inputs {
    struct user_range users;
    const struct core_v1_pod *pod;
    const struct core_v1_container *container;
    uint32_t attempt;
    uint64_t hash;
    const char *image_ref; /* What the image resolved to. */
    const struct env_list *env;
    const struct container_mount *mounts;
    size_t mount_count;
    const char *target_id;         /* Ephemeral containers: whose PID namespace to join; NULL. */
    int64_t memory_capacity;       /* Of the node. */
    const int64_t *hugepage_sizes; /* Of the node, in bytes: each is limited, if to nothing. */
    size_t hugepage_size_count;
    int64_t image_uid;      /* The image's user, -1: unknown or by name. */
    const char *image_user; /* Its name, "" if none. */
    const char *seccomp_root;
    const struct container_device *devices; /* Raw block volumes, devices of plugins. */
    size_t device_count;
    const char *const *cdi_devices; /* Ids of devices of its resource claims and of plugins. */
    size_t cdi_device_count;
    const struct env_list *annotations; /* More for the runtime, of plugins; NULL: none. */
    const char *cpus, *mems;            /* Where it is to run ("0-3"); NULL, "": anywhere. */
    bool no_quota;                      /* CPUs of its own are not throttled. */
};
/* E_INVALID with the text of a CreateContainerConfigError. */
int container_config(struct arena *a, const struct container_inputs *in,
                     CRI(ContainerConfig) * *ret, struct error *err);

CRI(LinuxContainerResources) *
    container_resources(struct arena *a, const struct container_inputs *in);
/* lifecycle.stopSignal; RUNTIME_DEFAULT (the image's, or SIGTERM) without one. l may be NULL. */
CRI(Signal) container_stop_signal(struct arena *a, const struct core_v1_lifecycle *l);

/* The hash that tells whether a container must be made anew: name and image,
 * since nothing else of it can change. Never 0. */
uint64_t container_hash(const struct core_v1_container *c);

/* The effective value of a security setting. */
bool container_is_privileged(const struct core_v1_container *c);

#endif
