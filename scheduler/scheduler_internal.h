/* scheduler_internal.h - shared by feed.c (watching), scheduler.c (deciding) and
 * actions.c (writing). */
#ifndef SCHEDULER_SCHEDULER_INTERNAL_H
#define SCHEDULER_SCHEDULER_INTERNAL_H

#include "lib/base/list.h"
#include "lib/client/client.h"
#include "lib/client/event_recorder.h"
#include "lib/client/informer.h"
#include "scheduler/classes.h"
#include "scheduler/config.h"
#include "scheduler/extender.h"
#include "scheduler/framework.h"
#include "scheduler/gangs.h"
#include "scheduler/preemption.h"
#include "scheduler/queue.h"
#include "scheduler/scheduler.h"
#include "scheduler/snapshot.h"

#include <uv.h>

enum scheduler_informer {
    INFORM_PODS,
    INFORM_NODES,
    INFORM_NAMESPACES,
    INFORM_CLAIMS,
    INFORM_VOLUMES,
    INFORM_CLASSES,
    INFORM_CSI_NODES,
    INFORM_CSI_DRIVERS,
    INFORM_CAPACITIES,
    INFORM_BUDGETS,
    INFORM_POD_GROUPS,
    INFORM_RESOURCE_CLAIMS,
    INFORM_SLICES,
    INFORM_DEVICE_CLASSES,
    INFORMER_COUNT,
};

/* Bindings under way, past which no pod is looked at: more would only wait in the API
 * server, which refuses them once its queues for us are full, and what is decided late is
 * decided on fresher news. Those of a gang that was decided wait here. */
#define BINDINGS_MAX 192

struct scheduler {
    struct client *client;
    struct env *env;
    const struct sched_config *config;
    struct event_recorder *recorder;
    struct informer *informers[INFORMER_COUNT];
    struct owners *owners;
    uint64_t namespaces_rev; /* Rises when labels of namespaces change. */
    uint64_t decisions;      /* Of single pods. */
    uint64_t hints;          /* Questions whether an event helps. */
    struct sched_queue queue;
    struct snapshot snapshot;
    struct pod_shapes *shapes; /* The snapshot's. */
    struct pod_facts facts;
    struct classes *classes;
    struct gangs gangs;
    struct arena *arena;          /* Of the running cycle. */
    struct arena *gang_arena;     /* Of a gang's, which has many. */
    struct list actions;          /* struct action of actions.c */
    size_t binding_count;         /* Of them, bindings. */
    struct list late_bindings;    /* Not begun: BINDINGS_MAX are under way. */
    struct list unclear_bindings; /* May have happened; asked again at their time. */
    struct extenders *extenders;  /* NULL: there are none. */
    struct list consults;         /* struct consult of consult.c */
    size_t consult_count;         /* Of them, under way. */
    bool beginning_consults;
    struct list volume_waits; /* struct volume_wait of volume_wait.c */
    struct devices *devices;
    struct list device_waits; /* struct device_wait of device_wait.c */
    uv_idle_t idle;           /* Runs cycles while pods are active. */
    uv_timer_t timer;         /* Backoffs, expiries. */
    struct reclaim *reclaim;  /* NULL: no profile asks for it. */
    uv_timer_t reclaim_timer;
    unsigned handles_open;
    bool stopping;
};

/* Starts cycles, or waits for the right time to. */
void scheduler_wake(struct scheduler *s);

/* --- hints.c --- */
/* An event of the node, or of the pods on it (enum cluster_event): wakes the pods that it may help.
 */
void scheduler_happened(struct scheduler *s, uint32_t events, struct str node);

struct resource_v1_resource_claim;
struct volume_wait;

/* Decides about a pod that was popped from the queue. */
void scheduler_decide(struct scheduler *s, struct queued_pod *p);
/* It is assumed on the node; w (NULL: none) is what its claims need there. */
void scheduler_place(struct scheduler *s, struct queued_pod *p, const struct node_info *n,
                     struct volume_wait *w);
/* It was chosen: assumes the pod there, and places it. */
void scheduler_assume(struct scheduler *s, const struct cycle *c, struct queued_pod *p,
                      struct node_info *n);
/* Whose going would make room, after a cycle that found no node. */
void scheduler_preempt(const struct scheduler *s, struct cycle *c, struct preemption *ret);
/* Tells why no node fits, evicts and nominates as was decided (NULL: decides), and parks the pod.
 */
void scheduler_refuse(struct scheduler *s, struct cycle *c, struct queued_pod *p,
                      const struct preemption *decided);
/* In the arena. */
const struct policy_v1_pod_disruption_budget **
scheduler_budgets(const struct scheduler *s, struct arena *a, size_t *ret_count);
/* NULL: nowhere. */
void scheduler_nominate(struct scheduler *s, struct queued_pod *p, const struct node_info *n);

/* --- gang_cycle.c --- */
/* Decides about all pods of the gang that wait; p was popped. */
void gang_cycle_run(struct scheduler *s, struct gang *x, struct queued_pod *p);
/* Tells the pods of a gang why they are held. */
void gang_cycle_tell(struct gang *x, void *scheduler);

/* Keeps the snapshot's guest in step with p->nominated_node. */
void scheduler_seat_guest(struct scheduler *s, const struct queued_pod *p);

/* --- feed.c --- */
/* Starts all informers. */
void scheduler_watch_all(struct scheduler *s);
/* Adds the informer; the handler's arg and on_synced are set here. */
void scheduler_watch(struct scheduler *s, enum scheduler_informer which, const char *group,
                     const char *version, const char *kind, const char *field_selector,
                     const struct informer_handler *handler);

/* --- actions.c --- */
/* The pod is assumed on the node: writes the binding; p leaves the queue when it
 * succeeds and is retried when it fails. */
void action_bind(struct scheduler *s, struct queued_pod *p, const struct node_info *n);
/* Begins those that were put off. */
void actions_bind_late(struct scheduler *s);
/* Asks for pods whose binding may have happened and could not be asked for; when the next are
 * due, UINT64_MAX: never. */
uint64_t actions_ask_unclear(struct scheduler *s);
/* Condition PodScheduled=False and the nominated node; false: the condition says so already. */
bool action_set_unschedulable(struct scheduler *s, const struct queued_pod *p, struct str reason,
                              struct str message);
void action_evict(struct scheduler *s, const struct queued_pod *preemptor,
                  struct api_object *victim, const char *node);
/* Its place on the node is needed by those that have reserved it. */
void action_evict_reclaimer(struct scheduler *s, struct api_object *victim, const char *node);
/* Cancels all calls under way. */
void actions_cancel(struct scheduler *s);

/* --- consult.c --- */
/* Asks the extenders about a pod that was popped, and decides with what they say. */
void consult_start(struct scheduler *s, struct queued_pod *p);
void consults_cancel(struct scheduler *s);

/* --- volume_watch.c --- */
/* Claims, volumes and what tells where they can be, also as facts for the plugins. */
void volumes_watch(struct scheduler *s);

/* --- volume_wait.c --- */
/* Keeps what the pod's claims need on the node from others. NULL: they need nothing. */
struct volume_wait *volume_wait_hold(struct scheduler *s, const struct cycle *c,
                                     struct queued_pod *p, const struct node_info *n);
/* The pod is assumed on the node: it is bound once its claims are, or tried again. */
void volume_wait_start(struct volume_wait *w);
/* Of one that was not started: nothing was meant. */
void volume_wait_drop(struct volume_wait *w);
/* Something about claims, volumes or pods changed, or time passed. */
void volume_waits_check(struct scheduler *s);
/* The volume was given to a pod that waits. */
bool volume_wait_holds(const struct scheduler *s, struct str volume);
void volume_waits_cancel(struct scheduler *s);

/* --- device_watch.c --- */
/* Claims, slices and classes of dynamic resources, into s->devices. */
void devices_watch(struct scheduler *s);

/* --- claim_calls.c --- */
typedef void claim_done(struct client_request *r, const struct client_result *result, void *arg);
/* Makes the claim for extended resources of a pod; its name and uid are the server's to give.
 * As client_start(). */
int extended_claim_create(struct scheduler *s, const struct resource_v1_resource_claim *claim,
                          claim_done *done, void *arg, struct client_request **ret,
                          struct error *err);
/* In the status of the pod: which claim, and whose its requests are. */
int extended_claim_note(struct scheduler *s, const struct api_object *pod,
                        const struct resource_v1_resource_claim *claim, claim_done *done, void *arg,
                        struct client_request **ret, struct error *err);
/* With its protection; nobody waits for it. */
void extended_claim_remove(struct scheduler *s, const struct api_object *claim);
/* Takes the pod alone out of those that use it: others may have come meanwhile. */
void claim_release(struct scheduler *s, const struct api_object *claim, struct str pod_uid);

/* --- device_wait.c --- */
/* The pod is assumed on the node: what its ResourceClaims are given there is taken from now on,
 * until device_wait_bind() has written it. */
void device_wait_prepare(struct scheduler *s, const struct cycle *c, struct queued_pod *p,
                         const struct node_info *n);
/* Writes what was prepared, waits until the devices are ready, and binds the pod. Without
 * anything prepared it binds it at once. */
void device_wait_bind(struct scheduler *s, struct queued_pod *p, const struct node_info *n);
/* Only prepared so far: it is not to be. */
void device_wait_forget(struct scheduler *s, const struct queued_pod *p);
/* The pod is not bound after all: gives back what was prepared or written. */
void device_wait_undo(struct scheduler *s, const struct queued_pod *p);
/* No node fits: frees a claim that nobody uses, if that may help; says what it did. */
void device_deallocate(struct scheduler *s, struct cycle *c);
/* Something about claims or pods changed, or time passed. */
void device_waits_check(struct scheduler *s);
void device_waits_cancel(struct scheduler *s);

#endif
