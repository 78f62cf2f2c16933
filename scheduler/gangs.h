/* gangs.h - pod groups and who is in them: which pods may be tried yet, and how many of them must
 * find a place together.
 *
 *   no PodGroup, or fewer than minMember pods: HELD, among the queue's gated pods
 *   enough of them:  the first that the queue gives brings the others (gang_cycle.c)
 *   minMember placed: each further pod is tried alone, as any other
 *
 * Counted are pods that wait, that have a node, and that have succeeded (as the group's status
 * says). Pods that name a group are ordinary ones where no such kind is served. Pure: time is an
 * argument. */
#ifndef SCHEDULER_GANGS_H
#define SCHEDULER_GANGS_H

#include "lib/base/map.h"
#include "scheduler/queue.h"

struct api_object;
struct core_v1_pod;
struct scheduling_x_v1alpha1_pod_group;
struct snapshot;

#define GANG_TIMEOUT_S 60u /* Without scheduleTimeoutSeconds; as the coscheduling plugin. */
#define GANG_TELL_MS 2000u /* Whoever is held that long is told why. */
/* As long a kind may be unknown though it is served already: the longest pause between two tries
 * of an informer. Until then a pod that names a group waits for it. */
#define GANG_UNSERVED_MS 16000u

struct gang {
    struct queue_group queue;
    char *key;                /* "namespace/group" */
    struct api_object *group; /* One reference; NULL: there is none. */
    size_t waiting;           /* Of its pods in the queue, those that can be tried. */
    size_t placed;            /* And those with a node. */
    size_t needed;            /* To be placed together next; 0: each for itself. */
    uint64_t held_ms;         /* Since when it is held. */
    bool told;                /* Its pods, why it is held. */
    /* Evictions make room: until when it is waited for, and for whom. */
    uint64_t room_ms;
    char **victims; /* uids */
    size_t victim_count;
    unsigned attempts; /* That failed. */
};

struct gangs {
    struct map by_key; /* -> struct gang */
    struct sched_queue *queue;
    const struct snapshot *snapshot;
    uint64_t snapshot_rev; /* As it was looked at last. */
    bool served;           /* Likewise: the API server knows the kind. */
    uint64_t next_ms;      /* When to look again though nothing changed. */
    uint64_t started_ms;   /* When looking for the kind began. */
};

/* Borrows both. */
void gangs_init(struct gangs *g, struct sched_queue *q, const struct snapshot *s, uint64_t now_ms);
void gangs_done(struct gangs *g);

/* The pod has just been set in the queue. */
void gangs_set_pod(struct gangs *g, struct queued_pod *p, uint64_t now_ms);
void gangs_set_group(struct gangs *g, struct api_object *group, uint64_t now_ms);
void gangs_remove_group(struct gangs *g, struct str namespace_name, struct str name);
/* Works out who is held, before anything is taken from the queue. Returns when to call again if
 * nothing happens, UINT64_MAX: never. tell: called for gangs that are held for GANG_TELL_MS. */
uint64_t gangs_settle(struct gangs *g, bool served, uint64_t now_ms,
                      void (*tell)(struct gang *x, void *arg), void *arg);
/* NULL: the pod is tried alone. */
struct gang *gangs_of(const struct queued_pod *p);

const struct scheduling_x_v1alpha1_pod_group *gang_group(const struct gang *x); /* NULL: none. */
uint64_t gang_timeout_ms(const struct gang *x);
/* How many pods the group counts altogether. */
size_t gang_size(const struct gang *x);
/* Forgets whom it waits for. */
void gang_clear_victims(struct gang *x);
void gang_add_victim(struct gang *x, struct str uid);
/* Somebody it waits for is still there. */
bool gang_victims_remain(const struct gang *x, const struct snapshot *s);

/* How many pods of the group have to find a place at once, with so many placed. */
size_t gang_needed(const struct scheduling_x_v1alpha1_pod_group *group, size_t placed);

#endif
