/* device_manager_internal.h - what the files of device_manager.h share. */
#ifndef KUBELET_DEVICE_MANAGER_INTERNAL_H
#define KUBELET_DEVICE_MANAGER_INTERNAL_H

#include "kubelet/device_manager.h"
#include "kubelet/file_saver.h"
#include "kubelet/plugin_rpc.h"

#include <uv.h>

struct http_server;
struct grpc_server;

/* One registration, from its first word to the end of its stream. */
struct device_plugin {
    struct device_manager *devices;
    char *resource, *endpoint;
    struct plugin_client *client;
    bool pre_start, prefers;
    bool closed;       /* Freed with its last call. */
    unsigned calls;    /* Under way, the stream among them. */
    unsigned tries;    /* To reach it. */
    uint64_t retry_ms; /* 0: none. */
};

struct device_manager {
    struct kubelet *k;
    struct device_state state;
    struct map plugins;   /* Resource -> struct device_plugin: the one that counts. */
    struct map newcomers; /* Resource -> struct device_plugin: not reached yet. */
    struct map gone;      /* Resource -> struct device_gone */
    struct map removed;   /* Resource -> no object: the Node still names it. */
    char *folder;
    struct file_saver file;
    void (*changed)(struct kubelet *k);
    struct http_server *server;
    struct grpc_server *methods;
    uv_timer_t timer; /* Newcomers and the gone. */
    bool started;
};

struct device_gone {
    uint64_t due_ms;
};

/* device_plugins.c */
int device_plugins_start(struct device_manager *d, struct error *err);
/* The plugin of the resource is not there (any more): since now. */
void device_plugins_mark_gone(struct device_manager *d, struct str resource);
/* device_ask.c */
/* Pods with devices of the resource: their status may have changed, what they waited for may be
 * there. */
void device_manager_wake_pods(struct device_manager *d, const char *resource);

#endif
