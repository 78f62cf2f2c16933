/* proxy_internal.h - what the files of proxy.h share.
 *
 *   proxy.c           what is watched; how the kernel's state is kept
 *   proxy_services.c  Services to elements */
#ifndef KUBELET_PROXY_PROXY_INTERNAL_H
#define KUBELET_PROXY_PROXY_INTERNAL_H

#include "kubelet/gather.h"
#include "kubelet/kubelet.h"
#include "kubelet/proxy/addresses.h"
#include "kubelet/proxy/chains.h"
#include "kubelet/proxy/health.h"
#include "kubelet/proxy/kernel.h"
#include "kubelet/proxy/proxy.h"
#include "kubelet/proxy/stale.h"

struct discovery_v1_endpoint_slice;

/* A Service as it stands in the table of elements. */
struct service {
    struct buf given; /* Packed. */
    bool crowded;     /* Somebody else has some of its frontends. */
};

enum stage {
    UNKNOWN,  /* Nothing is known of the kernel's state. */
    ADOPTING, /* What it holds is being read; result.found is then walked. */
    BUILDING, /* The table is being made. */
    STANDING, /* Only elements change. */
};

struct proxy {
    struct kubelet *k;
    struct informer *services, *slices;
    struct gather gather;
    uv_timer_t look;
    uint64_t compare_ms; /* Not before. */
    enum stage stage;
    bool bridge_nf, rebuild, stopped;
    bool adopted; /* The kernel holds elements of Services that may not have been planned yet. */
    struct map known; /* "namespace/name" -> struct service */
    struct map dirty; /* "namespace/name" of those that changed. */
    size_t crowded;
    struct proxy_elements elements;
    struct stale stale;
    struct proxy_kernel kernel;
    struct proxy_addresses addresses;
    struct buf zone;  /* Of this node. */
    struct buf found; /* Still to be walked. */
    size_t found_pos;
    struct buf wanted_table; /* Its text. */
    char table[PROXY_TABLE_NAME_MAX];
    struct proxy_chains chains;
    struct map held; /* "namespace/name" of those that wait for chains. */
    struct proxy_health *health;
    uint64_t began_ns;  /* Of what is under way; 0: nothing. */
    double triggered_s; /* The oldest change that it carries; 0: not known. */
    struct metric *sync_seconds, *network_seconds, *last_sync;
};

/* The oldest change that asked for these endpoints, as the controller has noted it. */
void proxy_note_trigger(struct proxy *p, const struct discovery_v1_endpoint_slice *s);
/* Some of those that have changed. False: there is more to do. */
bool proxy_plan_some(struct proxy *p);
/* What waits for chains is planned again. */
void proxy_release_held(struct proxy *p);

#endif
