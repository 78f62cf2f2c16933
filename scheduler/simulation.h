/* simulation.h - the scheduler's decisions on a recorded or made-up cluster: where
 * would pods go, what would be evicted for them? Nothing is watched or written;
 * bindings and evictions take effect at once. Pure. */
#ifndef SCHEDULER_SIMULATION_H
#define SCHEDULER_SIMULATION_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct api_object;
struct arena;
struct sched_config;
struct simulation;

struct simulation *simulation_new(uint64_t seed);
void simulation_free(struct simulation *s); /* NULL is a no-op. */

/* Profiles by spec.schedulerName; pods of other schedulers get the first. Borrowed. */
void simulation_set_config(struct simulation *s, const struct sched_config *c);

/* A part of the state, before the first pod is placed; an object of the same name is replaced.
 * Takes a reference. Kinds that placement does not depend on are left aside. Of pods, those
 * with a node count there; others wait. */
void simulation_add(struct simulation *s, struct api_object *o);
size_t simulation_node_count(const struct simulation *s);
/* Pods that wait, in the order of the scheduler's queue: the next, or NULL. The caller owns
 * the reference. Those with scheduling gates are not among them. */
struct api_object *simulation_next_pending(struct simulation *s);

struct simulation_victim {
    struct api_object *pod; /* One reference each. */
    char *node;
};

struct simulation_outcome {
    struct api_object *pod; /* As it was placed: one reference. */
    const char *node;       /* NULL: nowhere. */
    struct str message;     /* Then: why. In the arena. */
    struct simulation_victim *victims;
    size_t victim_count;
};

/* Why a pod waits: what every plugin says of the nodes, as the scheduler would find it now. */
struct simulation_reason {
    const char *plugin;
    struct str text;         /* In the arena. */
    size_t nodes;            /* That were refused for it; 0: the pod itself was, before any node. */
    const char *examples[3]; /* Names of such nodes; NULL behind the last. */
};
struct simulation_why {
    size_t nodes, fitting;
    const char *best;                  /* One that fits; NULL. */
    struct simulation_reason *reasons; /* Most nodes first; in the arena. */
    size_t reason_count;
    struct str preemption; /* What evicting others would do; empty: not asked. */
    struct str failure; /* A plugin could not decide: an error of ours or in the pod's objects. */
};
/* Nothing is placed. */
void simulation_explain(struct simulation *s, struct arena *a, struct api_object *pod,
                        struct simulation_why *ret);
/* The waiting pod of that name, borrowed; NULL: there is none. */
struct api_object *simulation_pod(const struct simulation *s, struct str ns, struct str name);

/* The pod's group, "namespace/name", in a; empty: it is in none, or the state does not have it: it
 * is placed alone. */
struct str simulation_gang(const struct simulation *s, struct arena *a,
                           const struct api_object *pod);
/* All pods of one group that wait, at once; ret has room for count. */
void simulation_place_gang(struct simulation *s, struct arena *a, struct api_object *const *pods,
                           size_t count, bool preempt, struct simulation_outcome *ret);
/* What the API server would have filled in is filled in: a name, priority, requests. */
void simulation_place(struct simulation *s, struct arena *a, struct api_object *pod, bool preempt,
                      struct simulation_outcome *ret);
void simulation_outcome_done(struct simulation_outcome *o);

#endif
