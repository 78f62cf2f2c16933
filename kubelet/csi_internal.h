/* csi_internal.h - what the files of csi.h share. */
#ifndef KUBELET_CSI_INTERNAL_H
#define KUBELET_CSI_INTERNAL_H

#include "kubelet/csi.h"
#include "kubelet/plugin_rpc.h"

#include "lib/base/list.h"
#include "lib/base/map.h"

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
    bool stages; /* STAGE_UNSTAGE_VOLUME. */
    const char
        *dra_version; /* It is a driver of dynamic resources (dra.h), of this API; NULL: of CSI. */
    bool ready;
    bool of_devices; /* It is a device plugin (device_manager.h), which is told at endpoint. */
    char *endpoint;
    bool gone;      /* Its socket is no longer there; freed once nothing is under way. */
    unsigned calls; /* Under way. */
    uint64_t retry_ms;
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
};

/* NULL: none of that name is registered. */
struct csi_driver *csi_driver_find(const struct csi *c, const char *name);

/* The same for drivers of dynamic resources. */
struct csi_driver *dra_driver_find(const struct csi *c, const char *name);

/* csi_node.c: tells the API which drivers are here, soon. */
void csi_node_publish(struct csi *c);

#endif
