/* scheduler_internal.h - shared by scheduler.c (watching, deciding) and
 * actions.c (writing). */
#ifndef SCHEDULER_SCHEDULER_INTERNAL_H
#define SCHEDULER_SCHEDULER_INTERNAL_H

#include "lib/base/list.h"
#include "lib/client/client.h"
#include "lib/client/event_recorder.h"
#include "lib/client/informer.h"
#include "scheduler/classes.h"
#include "scheduler/config.h"
#include "scheduler/framework.h"
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
    INFORM_BUDGETS,
    INFORMER_COUNT,
};

/* Bindings under way, past which no pod is looked at: more would only wait in the API
 * server, which refuses them once its queues for us are full, and what is decided late is
 * decided on fresher news. */
#define BINDINGS_MAX 192

struct scheduler {
    struct client *client;
    struct env *env;
    const struct sched_config *config;
    struct event_recorder *recorder;
    struct informer *informers[INFORMER_COUNT];
    struct owners *owners;
    uint64_t namespaces_rev; /* Rises when labels of namespaces change. */
    struct sched_queue queue;
    struct snapshot snapshot;
    struct pod_facts facts;
    struct classes *classes;
    struct arena *arena;      /* Of the running cycle. */
    struct list actions;      /* struct action of actions.c */
    size_t binding_count;     /* Of them, bindings. */
    struct list volume_waits; /* struct volume_wait of volume_wait.c */
    uv_idle_t idle;           /* Runs cycles while pods are active. */
    uv_timer_t timer;         /* Backoffs, expiries. */
    unsigned handles_open;
    bool stopping;
};

/* Starts cycles, or waits for the right time to. */
void scheduler_wake(struct scheduler *s);

/* Keeps the snapshot's guest in step with p->nominated_node. */
void scheduler_seat_guest(struct scheduler *s, const struct queued_pod *p);

/* --- actions.c --- */
/* The pod is assumed on the node: writes the binding; p leaves the queue when it
 * succeeds and is retried when it fails. */
void action_bind(struct scheduler *s, struct queued_pod *p, const struct node_info *n);
/* Condition PodScheduled=False and the nominated node, unless they say so already. */
void action_set_unschedulable(struct scheduler *s, const struct queued_pod *p, struct str reason,
                              struct str message);
void action_evict(struct scheduler *s, const struct queued_pod *preemptor,
                  struct api_object *victim, const char *node);
/* Cancels all calls under way. */
void actions_cancel(struct scheduler *s);

/* --- volume_wait.c --- */
/* The pod is assumed on the node. False: its claims need nothing. Else p is bound once they are,
 * or tried again. */
bool volume_wait_start(struct scheduler *s, const struct cycle *c, struct queued_pod *p,
                       const struct node_info *n);
/* Something about claims, volumes or pods changed, or time passed. */
void volume_waits_check(struct scheduler *s);
/* The volume was given to a pod that waits. */
bool volume_wait_holds(const struct scheduler *s, struct str volume);
void volume_waits_cancel(struct scheduler *s);

#endif
