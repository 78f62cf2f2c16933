/* domain_counts.h - how many pods of some sort are in each domain of a topology:
 * a domain is a value of a label that nodes share. */
#ifndef SCHEDULER_DOMAIN_COUNTS_H
#define SCHEDULER_DOMAIN_COUNTS_H

#include "lib/base/arena.h"
#include "scheduler/snapshot.h"

struct domain_counts {
    const struct topology *topology;
    int64_t *counts;
    size_t nonzero; /* Domains whose count is not 0. */
};

/* Lives as long as the arena, holds as long as the snapshot's structure. */
static inline void domain_counts_init(struct domain_counts *d, struct arena *a, struct snapshot *s,
                                      struct str key)
{
    d->topology = snapshot_topology(s, key);
    d->counts = ARENA_ARRAY(a, int64_t, d->topology->count + 1);
    d->nonzero = 0;
}

/* -1: the node has no such label. */
static inline int32_t domain_of(const struct domain_counts *d, const struct node_info *n)
{
    return d->topology->domains[n->index];
}

static inline void domain_counts_add(struct domain_counts *d, const struct node_info *n,
                                     int64_t delta)
{
    int32_t i = domain_of(d, n);
    if (i < 0)
        return;
    d->nonzero -= d->counts[i] != 0;
    d->counts[i] += delta;
    d->nonzero += d->counts[i] != 0;
}

/* 0 without the label. */
static inline int64_t domain_counts_at(const struct domain_counts *d, const struct node_info *n)
{
    int32_t i = domain_of(d, n);
    return i < 0 ? 0 : d->counts[i];
}

#endif
