/* csi_internal.h - what the files of csi.h share. */
#ifndef KUBELET_CSI_INTERNAL_H
#define KUBELET_CSI_INTERNAL_H

#include "kubelet/csi.h"
#include "kubelet/plugin_rpc.h"

#include "lib/base/list.h"
#include "lib/base/map.h"

#include "pb/csi/csi_v1.pb-c.h"

#include <uv.h>

struct csi_scan;

/* A socket in plugins_registry, and the driver behind it once that has answered. */
struct csi_driver {
    struct csi *csi;
    char *socket;                   /* File name in plugins_registry. */
    uint64_t inode;                 /* Of the socket, with its time. */
    char *name;                     /* NULL until it said so. */
    struct plugin_client *registry; /* Of the socket. */
    struct plugin_client *client;   /* Of the endpoint it names. */
    char *node_id;
    int64_t max_volumes; /* 0: it does not say. */
    char **topology_keys, **topology_values;
    size_t topology_count;
    bool stages;       /* STAGE_UNSTAGE_VOLUME. */
    bool stats;        /* GET_VOLUME_STATS. */
    bool condition;    /* VOLUME_CONDITION. */
    bool expands;      /* EXPAND_VOLUME. */
    bool mount_group;  /* VOLUME_MOUNT_GROUP. */
    bool multi_writer; /* SINGLE_NODE_MULTI_WRITER. */
    const char
        *dra_version; /* It is a driver of dynamic resources (dra.h), of this API; NULL: of CSI. */
    struct plugin_client *health; /* dra_watch.c: its stream, of the same endpoint; NULL: none. */
    uv_timer_t *health_timer;     /* To try it again; NULL until needed. */
    bool ready;
    bool of_devices; /* It is a device plugin (device_manager.h), which is told at endpoint. */
    char *endpoint;
    bool gone;      /* Its socket is no longer there; freed once nothing is under way. */
    unsigned calls; /* Under way. */
    uint64_t retry_ms;
    uint64_t limits_due_ms; /* csi_limits.c; 0: it waits for an answer, or has not begun. */
    bool limits_ask;        /* The driver is due, not its object. */
};

struct csi {
    struct kubelet *k;
    struct list ops;    /* struct csi_op of csi.c, oldest first. */
    struct map in_use;  /* Unique names of volumes with folders of pods; values are no objects. */
    struct map sockets; /* File name -> struct csi_driver. */
    char *registry_dir;
    uv_fs_event_t watch;
    uv_timer_t timer; /* Scans. */
    bool scanning, scan_again;
    bool publishing, publish_again; /* csi_node.c */
    uv_timer_t publish_timer;
    uv_timer_t limits_timer;
    struct map figures; /* csi_stats.c: "<uid>/<volume>" -> struct figure. */
    uv_timer_t stats_timer;
    uv_timer_t sweep_timer; /* csi_unmount.c */
    bool sweeping;
};

/* How the volume is used, for requests. In a. */
Csi__V1__VolumeCapability *csi_capability(struct arena *a, const struct csi_driver *d,
                                          const struct csi_mount *m);

/* csi_expand.c: has the file system follow its volume and writes it to the claim. A size that the
 * driver cannot give is written there, too, and is no failure. done runs later, once. */
void csi_expand(struct csi *c, const struct csi_mount *m,
                void (*done)(int code, const struct error *err, void *arg), void *arg);

/* What is done with one volume; see csi.c. */
struct csi_op {
    struct list link; /* In csi.ops. */
    struct csi *csi;
    struct arena *arena; /* Owns what this op found itself. */
    const char *driver, *handle;
    const struct csi_mount *mount; /* NULL: it is an unmount. */
    bool published;                /* Mount: before. */
    /* Unmount: */
    const char *pod_volume; /* NULL: none is left, it is only to be unstaged. */
    const char *stage_root;
    bool last_user, ephemeral;
    bool running;
    int code;
    struct error err;
    void (*done)(int code, const struct error *err, void *arg);
    void *arg;
};
/* Runs once those asked for before on the same volume have ended. Owned by csi.c from now on. */
void csi_op_start(struct csi_op *op);

/* csi_repair.c: the volumes that stand in the pod itself; dir is not set. pod may be NULL. */
void csi_list_inline(struct arena *a, const struct core_v1_pod *pod, struct csi_found **ret,
                     size_t *ret_count);
/* Finds out what a damaged volume of a pod's folder is; it stays damaged where nothing tells.
 * 0: that is known now; 1: it is asked, done runs later, once, until when f and a live; less: it
 * cannot be known now. */
int csi_repair(struct csi *c, struct arena *a, struct csi_found *f, const struct csi_found *inlines,
               size_t inline_count, void (*done)(int code, const struct error *err, void *arg),
               void *arg, struct error *err);

/* csi_unmount.c: looks soon for volumes that are staged and have no pod any more. */
void csi_sweep_soon(struct csi *c);

/* NULL: none of that name is registered. */
struct csi_driver *csi_driver_find(const struct csi *c, const char *name);

/* The same for drivers of dynamic resources. */
struct csi_driver *dra_driver_find(const struct csi *c, const char *name);

/* dra_watch.c: its word on its devices' health is listened to; not any more. */
void dra_watch_start(struct csi_driver *d);
void dra_watch_stop(struct csi_driver *d);

/* An answer to one of calls came: true when nobody wants it any more. */
bool csi_driver_answer_is_late(struct csi_driver *d);

/* csi_stats.c: drivers are asked from now on. */
void csi_stats_start(struct csi *c);

/* csi_limits.c: how many volumes the driver can have is followed from now on. */
void csi_limits_start(struct csi_driver *d);

/* csi_node.c: tells the API which drivers are here, soon. */
void csi_node_publish(struct csi *c);

#endif
