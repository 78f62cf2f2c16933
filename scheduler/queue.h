/* queue.h - pods that wait for a node.
 *
 *              pop                     unschedulable
 *   ACTIVE ----------> (in a cycle) ------------------> UNSCHEDULABLE
 *      ^                    |  an event came meanwhile,      | event that may
 *      |                    v  or the attempt was an error   v help, or 5 min
 *      +--- backoff over -- BACKOFF <------------------------+
 *   GATED pods wait for spec.schedulingGates to become empty, for `holds`, or for their group.
 *
 * ACTIVE is ordered by priority, then by the time of queueing. Backoff is 1 s,
 * doubling with every attempt up to 10 s. Pure: time is an argument. */
#ifndef SCHEDULER_QUEUE_H
#define SCHEDULER_QUEUE_H

#include "lib/base/heap.h"
#include "lib/base/list.h"
#include "lib/base/map.h"

struct api_object;
struct core_v1_pod;

/* What happened in the cluster: bits, for the plugins' wake-up tables. */
enum cluster_event {
    EVENT_NODE_ADD = 1 << 0,
    EVENT_NODE_ALLOCATABLE = 1 << 1,
    EVENT_NODE_LABEL = 1 << 2,
    EVENT_NODE_TAINT = 1 << 3,  /* Taints, spec.unschedulable. */
    EVENT_POD_DELETE = 1 << 4,  /* A placed pod went or finished. */
    EVENT_POD_ADD = 1 << 5,     /* A pod was placed. */
    EVENT_POD_UPDATE = 1 << 6,  /* A placed pod's labels or requests changed. */
    EVENT_SELF_UPDATE = 1 << 7, /* The waiting pod itself changed. */
    EVENT_VOLUME = 1 << 8,      /* A claim, volume or class changed. */
    EVENT_CLAIM = 1 << 9,       /* A ResourceClaim came, changed or gave devices back. */
    EVENT_DEVICES = 1 << 10,    /* A ResourceSlice came or changed. */
    EVENT_CLASS = 1 << 11,      /* A DeviceClass came or changed. */
    EVENT_ALL = (1 << 12) - 1,
};
#define EVENT_COUNT 12

enum queue_place {
    QUEUE_ACTIVE,
    QUEUE_BACKOFF,
    QUEUE_UNSCHEDULABLE,
    QUEUE_GATED,
    QUEUE_IN_CYCLE,
    QUEUE_PLACES
};

/* Why a pod came to its place: a cluster event (its bit's number), or one of these. */
enum queue_cause {
    CAUSE_POD_ADD = EVENT_COUNT,
    CAUSE_POD_UPDATE,
    CAUSE_ATTEMPT_FAILED,
    CAUSE_BACKOFF_OVER,
    CAUSE_WAITED_LONG,
    QUEUE_CAUSES
};

/* Pods that are tried together: see gangs.h, which owns it. */
struct queue_group {
    struct list pods; /* struct queued_pod.in_group */
    bool held;        /* They stand among the gated ones. */
    bool first;       /* They come before others of their priority. */
    bool changed;     /* Pods came, went or changed since the owner looked. */
    uint64_t due_ms;  /* Tried not before: who joins waits like those that failed. */
};

struct queued_pod {
    struct heap_node heap;     /* In active or backoff. */
    struct list link;          /* In unschedulable, in_cycle or gated. */
    struct queue_group *group; /* NULL: it is tried alone. */
    struct list in_group;
    bool held_back; /* By `holds`. */
    /* One reference. Whole unless the pod rests, see queued_pod_rest(). */
    struct api_object *object;
    enum queue_place place;
    int32_t priority;
    uint64_t queued_ms; /* First of all, for the order and the metrics. */
    uint64_t due_ms;    /* BACKOFF: when it is over. */
    uint64_t since_ms;  /* UNSCHEDULABLE: since when. */
    unsigned attempts;
    uint32_t wakes;       /* Events that may help, of the plugins that refused it. */
    uint32_t missed;      /* Events while in the cycle. */
    uint32_t refused_by;  /* UNSCHEDULABLE: plugins, bits by index in scheduler_plugins. */
    bool by_node;         /* Each of them judges a node by itself: see sched_queue_event_at(). */
    uint64_t alike;       /* Pods that no plugin tells apart have the same; 0: like no other. */
    uint32_t failures;    /* Attempts that ended in an error of ours or the server's. */
    char *nominated_node; /* Preemption made room there; NULL. */
    bool deleted;         /* While in the cycle. */
    uint64_t attempt_ns;  /* When the present attempt began, by its owner's clock. */
};

/* Whether what happened at one node may have made the pod fit there. */
typedef bool queue_hint(const struct queued_pod *p, void *arg);

struct sched_queue {
    struct map by_uid; /* -> struct queued_pod */
    struct heap active;
    struct heap backoff;
    struct list unschedulable;
    struct list in_cycle;
    uint64_t backoff_min_ms, backoff_max_ms;
    size_t counts[QUEUE_PLACES]; /* Pods in each place. */
    uint64_t incoming[QUEUE_PLACES][QUEUE_CAUSES];
    bool groups_changed; /* Of any group: changed was set. */
    /* Whether a pod without scheduling gates is to be held back all the same, as if it had
     * one; asked when it is seen, and by sched_queue_recheck(). NULL: none is. */
    bool (*holds)(void *arg, const struct core_v1_pod *pod);
    void *holds_arg;
    struct list gated;
    size_t interest[EVENT_COUNT]; /* Unschedulable pods that an event may wake. */
};

#define QUEUE_BACKOFF_MIN_MS 1000u
#define QUEUE_BACKOFF_MAX_MS 10000u
#define QUEUE_FLUSH_MS (5u * 60 * 1000)

void sched_queue_init(struct sched_queue *q);
void sched_queue_done(struct sched_queue *q);

/* A pod without node was seen: new, or changed. */
void sched_queue_set(struct sched_queue *q, struct api_object *pod, uint64_t now_ms);
/* It was deleted, or has a node now. */
void sched_queue_remove(struct sched_queue *q, struct str uid);
/* The first active pod, now in its cycle until one of the three calls below. NULL: none. */
struct queued_pod *sched_queue_pop(struct sched_queue *q);
/* It was placed (p is gone), */
void sched_queue_placed(struct sched_queue *q, struct queued_pod *p);
/* it cannot be placed until one of these events happens, */
void sched_queue_park(struct sched_queue *q, struct queued_pod *p, uint32_t wakes, uint64_t now_ms);
/* or something failed: again after its backoff. */
void sched_queue_retry(struct sched_queue *q, struct queued_pod *p, uint64_t now_ms);

/* --- groups ---------------------------------------------------------------------------------- */
void queue_group_init(struct queue_group *g);
/* NULL: out of its group. */
void sched_queue_join(struct sched_queue *q, struct queued_pod *p, struct queue_group *g,
                      uint64_t now_ms);
/* Makes the pods' places those of g->held and g->first, as they are now. */
void sched_queue_regroup(struct sched_queue *q, struct queue_group *g, uint64_t now_ms);
/* As if it was popped. False: it has gates of its own, or is in its cycle already. */
bool sched_queue_take(struct sched_queue *q, struct queued_pod *p);
/* What refused it has changed, as its owner knows. */
void sched_queue_wake(struct sched_queue *q, struct queued_pod *p, uint64_t now_ms);
/* A pod that waits for its first attempt may be many: packed, if it was packed before and nobody
 * else holds the object, until it is asked for. */
void queued_pod_rest(struct queued_pod *p);
/* Its object, whole. Borrowed. */
struct api_object *queued_pod_object(const struct queued_pod *p);
/* Has it scheduling gates, or is it held back? */
bool queued_pod_is_gated(const struct queued_pod *p);

void sched_queue_event(struct sched_queue *q, uint32_t event, uint64_t now_ms);
/* Events at one node: pods refused by what judges nodes one by one come back only if helps says
 * so (once for all that are alike), the others as by sched_queue_event(). */
void sched_queue_event_at(struct sched_queue *q, uint32_t events, uint64_t now_ms,
                          queue_hint *helps, void *arg);
/* What `holds` looks at changed. */
void sched_queue_recheck(struct sched_queue *q, uint32_t event);
/* Moves what is due; returns when to call again, UINT64_MAX: never. */
uint64_t sched_queue_tick(struct sched_queue *q, uint64_t now_ms);
/* Upstream's name of the cause. */
const char *sched_queue_cause(unsigned cause);
struct queued_pod *sched_queue_find(const struct sched_queue *q, struct str uid);

#endif
