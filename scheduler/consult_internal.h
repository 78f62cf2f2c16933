/* consult_internal.h - what the files of a consultation share. */
#ifndef SCHEDULER_CONSULT_INTERNAL_H
#define SCHEDULER_CONSULT_INTERNAL_H

#include "lib/api/scheme.h"
#include "scheduler/scheduler_internal.h"

struct consult {
    struct list link; /* In scheduler.consults. */
    struct scheduler *scheduler;
    struct queued_pod *pod; /* In its cycle until we are done. */
    struct arena *arena;
    bool under_way;
    bool nominated_only;        /* Asked about the nominated node first. */
    size_t pos;                 /* The next extender's place. */
    struct extender_call *call; /* Of a filter, or of preemption. */
    const struct extender_config *current;
    struct str *passed; /* Nodes. */
    size_t passed_count;
    struct map asked; /* Names of the nodes that extenders were asked about. */
    struct extender_failed *failed;
    size_t failed_count, failed_cap;
    struct map scores; /* node -> score, as a pointer's bits */
    struct list scorings;
    /* Preemption: the candidate under discussion. */
    struct str victim_node;
    struct str *victims; /* uids */
    size_t victim_count;
    int64_t violations;
    struct str *rejected;
    size_t rejected_count, rejected_cap;
};

static inline const struct core_v1_pod *consult_pod(const struct consult *x)
{
    return x->pod->object->msg;
}

/* The pod has left its cycle; x is gone. */
void consult_end(struct consult *x);
/* An extender that may not be ignored failed: again later; x is gone. */
void consult_fail(struct consult *x, const char *why);
/* True: the pod went while we asked, and x with it. */
bool consult_is_over(struct consult *x);

/* All nodes looked at anew, in the scheduler's arena. */
struct look {
    struct cycle cycle;
    struct pod_info *info;
};
void consult_look_begin(struct consult *x, struct look *l, bool all);
void consult_look_end(struct consult *x, struct look *l);
/* Leaves the nodes that the extenders passed; returns how many fit that they were not asked about.
 */
size_t consult_keep_passed(const struct consult *x, struct cycle *c);
/* In marks the node is refused with r. */
void consult_mark(struct cycle *c, uint32_t *marks, size_t node, const struct refusal *r);
/* Extenders have spoken; x goes on or is gone. */
void consult_decide(struct consult *x);

/* --- consult_preempt.c --- */
/* No node is left: makes room by preemption, if the extenders agree. */
void consult_refuse(struct consult *x, struct look *l);

#endif
