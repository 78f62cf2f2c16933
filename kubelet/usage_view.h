/* usage_view.h - what everything on this node uses, at one moment: the source of
 * /metrics/resource, /metrics/cadvisor and /stats/summary.
 *
 *   usage_look() -> runtime's figures, if needed -> job: cgroups, /proc, folders -> done(view)
 *
 * Containers' own cgroups are read, which costs some 30 us each and does not
 * trouble the runtime; only where a runtime tells no process to find them by, it
 * is asked for its figures. One look at a time: who asks meanwhile shares the
 * next one. Loop-confined. */
#ifndef KUBELET_USAGE_VIEW_H
#define KUBELET_USAGE_VIEW_H

#include "kubelet/resources.h"
#include "kubelet/usage.h"

struct kubelet;
struct usage_watch;

enum usage_part {
    USAGE_ALL = 1,     /* More than CPU, memory and swap; network. */
    USAGE_DISKS = 2,   /* Folders and file systems; measured anew each minute. */
    USAGE_RUNTIME = 4, /* What the runtime knows of containers' layers and images. */
};

/* Sizes of files. */
struct usage_files {
    bool known;
    int64_t time_ns;
    bool has_capacity; /* Of a file system of its own; else of a folder in another one. */
    uint64_t capacity_bytes, available_bytes, used_bytes;
    uint64_t inodes, inodes_free, inodes_used;
    bool has_health; /* Its CSI driver says whether it is abnormal. */
    bool abnormal;
};

struct usage_volume {
    const char *name;
    const char *claim; /* NULL: none. */
    bool of_driver;    /* Its CSI driver says how full it is; not to be looked at. */
    bool ephemeral;    /* Counts as the pod's use of the node's disk. */
    struct usage_files files;
};

/* CPU per second, over the time since the look before that was ten seconds ago. */
struct usage_rate {
    bool known;
    uint64_t nano_cores;
};

struct usage_container {
    const char *name, *id, *image;
    const char *group; /* NULL: not known. */
    int64_t pid, started_ns;
    struct usage u;
    struct usage_rate rate;
    struct usage_files layer, logs;
    int64_t cpu_shares, cpu_quota_us; /* As asked for. */
};

struct usage_pod {
    const char *name, *namespace_name, *uid;
    const char *group; /* NULL: pods have none of their own. */
    enum qos_class qos;
    bool host_network;
    int64_t started_s; /* 0: not known. */
    struct usage u;
    struct usage_rate rate;
    struct usage_container *containers; /* Those that run. */
    size_t container_count;
    struct usage_interface *interfaces;
    size_t interface_count;
    struct usage_volume *volumes;
    size_t volume_count;
    const char *dir, *log_dir;
};

struct usage_view {
    struct arena *arena;
    unsigned parts;
    const char *problem; /* Of the runtime's answer; NULL: none. */
    struct usage node, pods_total;
    struct usage_rate node_rate;
    const char *default_interface; /* NULL: none. */
    struct usage_interface *interfaces;
    size_t interface_count;
    struct usage_files root, images;
    const char *image_mount;
    struct usage_pod *pods; /* By namespace and name. */
    size_t pod_count;
};

struct usage_watch *usage_watch_new(struct kubelet *k); /* Lives as long as the program. */

/* done runs later, once; the view is gone afterwards. */
void usage_look(struct usage_watch *w, unsigned parts,
                void (*done)(const struct usage_view *v, void *arg), void *arg);

#endif
