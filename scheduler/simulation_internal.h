/* simulation_internal.h - shared by simulation.c (the state, single pods) and simulation_gangs.c.
 */
#ifndef SCHEDULER_SIMULATION_INTERNAL_H
#define SCHEDULER_SIMULATION_INTERNAL_H

#include "scheduler/framework.h"
#include "scheduler/queue.h"
#include "scheduler/simulation.h"
#include "scheduler/snapshot.h"

struct classes;
struct devices;
struct policy_v1_pod_disruption_budget;

struct simulation {
    struct snapshot snapshot;
    struct classes *classes;
    struct pod_facts facts;
    struct devices *devices;
    struct map objects; /* "Kind/namespace/name" -> struct api_object, one reference each */
    struct sched_queue queue;
    const struct sched_config *config; /* NULL: the default profile. */
    uint64_t rev, seed;
    bool usage_known; /* PodMetrics came since they were looked at. */
    unsigned named;   /* Pods that got a name here. */
    struct map taken; /* Volumes given to pods: name -> who took it, not NULL */
};

struct api_object *simulation_find(const struct simulation *s, const char *kind, struct str ns,
                                   struct str name);
/* A copy as the API server would have stored it, as far as placement goes. */
struct api_object *simulation_completed(struct simulation *s, const struct api_object *o);
const struct profile *simulation_profile(const struct simulation *s, const struct core_v1_pod *pod);
/* In the arena. */
const struct policy_v1_pod_disruption_budget **
simulation_budgets(const struct simulation *s, struct arena *a, size_t *ret_count);
void simulation_evict(struct simulation *s, struct api_object *pod, const struct node_info *n,
                      struct simulation_outcome *ret);
/* Volumes chosen for claims that waited are no longer free. */
void simulation_take_volumes(struct simulation *s, const struct cycle *c, const struct node_info *n,
                             void *by);
/* --- simulation_devices.c --- */
/* False: it is of another kind. */
bool simulation_add_device_object(struct simulation *s, struct api_object *o);
/* Claims that the pod (ours to change) has templates for are made. */
void simulation_make_claims(struct simulation *s, struct api_object *pod);
/* What it was given on the node stands in its claims; and no longer. */
void simulation_take_devices(struct simulation *s, const struct cycle *c, const struct node_info *n,
                             const struct api_object *pod);
void simulation_give_devices(struct simulation *s, const struct api_object *pod);

/* Takes PodMetrics into account that came. */
void simulation_take_usage(struct simulation *s);
/* ret->pod is the pod, completed. */
void simulation_place_one(struct simulation *s, struct arena *a, bool preempt,
                          struct simulation_outcome *ret);

#endif
