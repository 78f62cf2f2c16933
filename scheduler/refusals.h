/* refusals.h - why nodes were refused: each distinct reason once, and how many
 * nodes were refused for it. Pure. */
#ifndef SCHEDULER_REFUSALS_H
#define SCHEDULER_REFUSALS_H

#include "lib/base/str.h"

struct arena;
struct plugin;

#define REASONS_MAX 8

enum verdict {
    FIT,
    SKIP,         /* Of prefilter: filter need not be called. */
    UNFIT,        /* Removing pods may help. */
    UNRESOLVABLE, /* Nothing that preemption could do helps. */
};

/* Why a node, or the pod as a whole, was refused. */
struct refusal {
    enum verdict verdict;
    const struct plugin *plugin;
    struct str reasons[REASONS_MAX]; /* In an arena, or static. */
    unsigned count;
};
void refusal_add(struct refusal *r, struct str reason);

/* A node's refusal is its index in items; 0 stands for "fits". */
struct refusals {
    struct refusal *items;
    size_t *nodes; /* Of each item: how many nodes have it. */
    size_t count, cap, nodes_cap;
};
#define REFUSAL_NONE 0u

/* items live in the arena. */
void refusals_init(struct refusals *t, struct arena *a);
/* The index of an equal refusal, which is taken over into the arena when it is new. */
uint32_t refusals_index(struct refusals *t, struct arena *a, const struct refusal *r);
void refusals_clear_counts(struct refusals *t);

/* "0/3 nodes are available: 1 Insufficient cpu, ...": upstream's text. */
struct str refusals_message(struct arena *a, size_t nodes, const struct refusals *t);

#endif
