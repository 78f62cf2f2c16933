/* dra_internal.h - shared by dra.c (operations on the claims of a pod), dra_ask.c (what
 * drivers are asked), dra_watch.c (what they tell), dra_use.c (what containers have) and
 * dra_slices.c (drivers that went). */
#ifndef KUBELET_DRA_INTERNAL_H
#define KUBELET_DRA_INTERNAL_H

#include "kubelet/dra.h"
#include "kubelet/dra_health.h"
#include "kubelet/dra_state.h"
#include "kubelet/file_saver.h"
#include "lib/base/list.h"

#include <uv.h>

struct core_v1_pod_resource_claim;
struct kubelet;

struct wanted_claim {
    struct str name; /* In the op's arena. */
    bool made_for_pod;
    struct api_object *object; /* Once read; one reference. */
};

struct dra_op {
    struct list link; /* In dra.ops, oldest first. */
    struct dra *dra;
    struct arena *arena;
    bool prepare, running;
    struct api_object *pod; /* Of prepare; one reference. */
    struct str namespace_name, uid;
    struct wanted_claim *claims;
    size_t count, at;
    const char **drivers; /* To be asked. */
    size_t driver_count, driver_at;
    void (*done)(int code, const struct error *err, void *arg);
    void *arg;
};

/* A driver that went. */
struct gone {
    struct list link; /* In dra.gone */
    char *driver;
    uint64_t due_ms;
};

struct dra {
    struct kubelet *k;
    struct dra_state state;
    struct list ops;
    struct list gone;
    struct file_saver file;
    uv_timer_t timer;
    struct dra_health health; /* dra_watch.c */
    uv_timer_t health_timer;  /* What is not said again in time is not known. */
};

/* dra_use.c: the name of the pod's claim; empty: it needs none. E_AGAIN: it is not made yet. */
int dra_claim_name(const struct core_v1_pod *pod, const struct core_v1_pod_resource_claim *x,
                   struct str *ret, struct error *err);
/* The claim that the pod calls by this name, if it is here; NULL. */
const struct dra_claim *dra_claim_named(const struct dra *d, const struct core_v1_pod *pod,
                                        struct str name);
/* dra_watch.c: pods look again when what is known of a device lapses. */
void dra_health_schedule(struct dra *d);

/* The claim of op at i, as it is remembered; NULL: it is not. */
static inline struct dra_claim *dra_op_claim(const struct dra_op *op, size_t i)
{
    return dra_state_find(&op->dra->state, op->namespace_name, op->claims[i].name);
}
/* Ends the operation, and tells who asked for it; err in upstream's words. */
void dra_op_end(struct dra_op *op, int code, const struct error *err);
void dra_op_fail(struct dra_op *op, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Asks the drivers of all of op's claims, one after the other, and ends op. */
void dra_ask(struct dra_op *op);

#endif
