/* dra.h - devices of a pod's ResourceClaims on this node: their drivers are asked to
 * prepare them before the pod runs, and told when nobody needs them any more.
 *
 *   dra_state.c  which claims are prepared, for whom: pure, and its file
 *   dra.c        operations on the claims of a pod
 *   dra_ask.c    what drivers are asked
 *   dra_health.c what drivers say of their devices' health: pure
 *   dra_use.c    what containers have of them
 *   dra_watch.c  the streams on which they say it
 *   file_saver.c the file
 *   dra_slices.c ResourceSlices of drivers that went
 *   csi_plugins.c registers drivers: plugins of type DRAPlugin
 *
 * <root>/dra_manager_state keeps it over restarts; it is written before a driver is
 * asked, so that nothing prepared is forgotten. */
#ifndef KUBELET_DRA_H
#define KUBELET_DRA_H

#include "lib/base/error.h"
#include "lib/base/str.h"

struct api_object;
struct arena;
struct core_v1_container;
struct core_v1_pod;
struct dra;
struct kubelet;

/* Blocking: reads what was prepared. */
struct dra *dra_new(struct kubelet *k);
/* The API can be asked: takes back the ResourceSlices of this node, which drivers publish again. */
void dra_start(struct dra *d);

/* Prepares all claims of the pod. done runs once, perhaps before this returns; err holds upstream's
 * text. */
void dra_prepare(struct dra *d, struct api_object *pod,
                 void (*done)(int code, const struct error *err, void *arg), void *arg);
/* Gives back what was prepared for the pod, and for no other. Likewise. */
void dra_unprepare(struct dra *d, struct str pod_uid,
                   void (*done)(int code, const struct error *err, void *arg), void *arg);
/* What the runtime is to give to the container; an array in a. E_NOT_FOUND: not prepared. */
int dra_devices(const struct dra *d, struct arena *a, const struct core_v1_pod *pod,
                const struct core_v1_container *c, const char *const **ret, size_t *ret_count,
                struct error *err);
/* The claims of a container, and what of them it asks for ("": all); an array in a. Borrowed until
 * the next change. E_NOT_FOUND: not prepared. */
struct dra_claim;
struct dra_use {
    const struct dra_claim *claim; /* dra_state.h */
    struct str request;
};
int dra_uses(const struct dra *d, struct arena *a, const struct core_v1_pod *pod,
             const struct core_v1_container *c, struct dra_use **ret, size_t *ret_count,
             struct error *err);
/* For the container's status: the devices of its claims and their health; an array in a. */
struct core_v1_resource_status;
size_t dra_status(const struct dra *d, struct arena *a, const struct core_v1_pod *pod,
                  const struct core_v1_container *c, struct core_v1_resource_status **ret);
/* Pods that are gone from here may have left claims prepared. */
void dra_reconcile(struct dra *d);
/* A driver's socket went: unless it comes back soon, its ResourceSlices are removed. */
void dra_driver_gone(struct dra *d, const char *driver);

#endif
