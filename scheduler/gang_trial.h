/* gang_trial.h - is there room for a gang? Its pods are decided one after another, each counting
 * for the next; unless enough of them find a place, all is as before.
 *
 *   decide, assume, ... -> enough: they stay assumed
 *                       -> too few: taken back; once more, with pods of lower priority
 *                          lifted off for those that find no place -> victims, or nothing
 *
 * The order is by priority, then the larger first: what is hard to place goes before it gets
 * harder. It is one way of placing them: pods of one size that look at nothing but resources always
 * find room where there is any; where sizes differ it may not be found. Pure. */
#ifndef SCHEDULER_GANG_TRIAL_H
#define SCHEDULER_GANG_TRIAL_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct api_object;
struct api_quantity_entry;
struct arena;
struct classes;
struct cycle;
struct node_info;
struct pod_info;
struct policy_v1_pod_disruption_budget;
struct profile;
struct snapshot;

struct gang_member {
    struct api_object *pod;        /* Borrowed. */
    const struct profile *profile; /* As in struct class_question. */
    struct str nominated_node;
    void *owner; /* The caller's. */
    /* Answers. */
    struct node_info *node; /* Where it is, or where it would be once the victims are gone. */
    bool refused;           /* Without anybody's going. */
    struct str message;     /* Then: why. */
    struct pod_info *info;  /* During the trial. */
};

struct gang_victim {
    struct api_object *pod; /* Borrowed from the snapshot. */
    struct node_info *node;
    const struct gang_member *by;
};

struct gang_trial {
    struct snapshot *snapshot;
    struct classes *classes;
    struct arena *arena;   /* Answers. */
    struct arena *scratch; /* Cleared with each decision. */
    struct gang_member *members;
    size_t count;
    size_t needed; /* So many must find a place. */
    bool preempt;
    const struct policy_v1_pod_disruption_budget *const *budgets;
    size_t budget_count;
    uint64_t seed;
    /* A pod was assumed, by this decision, or taken back. NULL: nobody cares. */
    void (*on_assumed)(struct gang_member *m, const struct cycle *c, void *arg);
    void (*on_taken_back)(struct gang_member *m, void *arg);
    void *arg;
    /* Answers. */
    size_t room_for;             /* How many found a place without anybody's going. */
    struct gang_member *first;   /* The first of those that did not. */
    uint32_t wakes;              /* What may help them. */
    struct gang_victim *victims; /* Their going makes room. */
    size_t victim_count, victim_cap;
};

/* True: enough fit, and those with a node are assumed there. False: nothing has changed; with
 * victims, members that have a node fit there when those are gone. Members are put in order, and
 * are nominated nowhere any more. */
bool gang_trial_run(struct gang_trial *t);

/* "pod group ns/name needs 4 more pods placed at once and there is room for 3: POD: 0/3 nodes ..."
 * In t->arena. */
struct str gang_trial_message(const struct gang_trial *t, struct str key);

/* "pod group ns/name has 2 of the 4 pods that it needs" */
struct str gang_held_message(struct arena *a, struct str key, size_t has, size_t needs);
/* What gang_lacking() found. */
struct str gang_lacking_message(struct arena *a, struct str key, struct str lacking);

struct gang_wish {
    struct str key;
    const struct api_quantity_entry *list; /* minResources */
    size_t count;
    int32_t priority; /* What pods below it hold counts as free. */
};
/* What the group asks for and all nodes together have not free, by name; what its own pods hold
 * there counts as free. Empty: nothing. In a. */
struct str gang_lacking(struct arena *a, const struct snapshot *s, const struct gang_wish *w);

#endif
