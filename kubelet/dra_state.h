/* dra_state.h - claims that are prepared on this node, or being prepared, and the pods
 * that need them. Pure but for load and save. */
#ifndef KUBELET_DRA_STATE_H
#define KUBELET_DRA_STATE_H

#include "lib/base/error.h"
#include "lib/base/map.h"
#include "lib/base/str.h"

struct arena;
struct buf;
struct resource_v1_resource_claim;

struct dra_device {
    char *pool, *device;
    char *share; /* Of a device that several claims share: its part (shareID); NULL: all of it. */
    char **requests; /* None: it goes with all of them. */
    size_t request_count;
    char **cdi; /* Ids. */
    size_t cdi_count;
};

struct dra_driver {
    char *name;
    struct dra_device *devices;
    size_t device_count;
};

struct dra_claim {
    char *namespace_name, *name, *uid;
    char **pods; /* uids */
    size_t pod_count;
    struct dra_driver *drivers;
    size_t driver_count;
    bool prepared;
};

struct dra_state {
    struct map claims; /* "namespace/name" -> struct dra_claim */
};

void dra_state_init(struct dra_state *s);
void dra_state_done(struct dra_state *s);
struct dra_claim *dra_state_find(const struct dra_state *s, struct str ns, struct str name);
/* With the drivers of its allocation. */
struct dra_claim *dra_state_add(struct dra_state *s, const struct resource_v1_resource_claim *c);
void dra_state_remove(struct dra_state *s, struct dra_claim *c);

bool dra_claim_has_pod(const struct dra_claim *c, struct str uid);
void dra_claim_add_pod(struct dra_claim *c, struct str uid);
void dra_claim_drop_pod(struct dra_claim *c, struct str uid);
struct dra_driver *dra_claim_driver(const struct dra_claim *c, const char *name);
/* Zeroed, at the end. */
struct dra_device *dra_driver_add(struct dra_driver *d);
/* Forgets what an earlier answer said. */
void dra_driver_clear(struct dra_driver *d);
/* It is of this request, which containers name; empty: any. */
bool dra_device_goes_with(const struct dra_device *d, struct str request);
void dra_list_add(char ***list, size_t *count, struct str s);
/* Ids of the devices for a request; request empty: of all. Into a. */
void dra_claim_cdi(const struct dra_claim *c, struct arena *a, struct str request,
                   const char ***list, size_t *count, size_t *cap);

void dra_state_write(const struct dra_state *s, struct buf *out);
int dra_state_read(struct dra_state *s, struct str text, struct error *err);

#endif
