/* node_slices.h - a range of pod addresses cut into slices for nodes, and which of them are taken.
 * Pure. */
#ifndef CONTROLLERS_NODE_SLICES_H
#define CONTROLLERS_NODE_SLICES_H

#include "lib/net/range.h"

struct arena;
struct error;
struct manager_options;

/* Beyond as many nodes nobody looks for a slice. */
#define NODE_SLICES_MAX (1u << 20)

struct node_slices {
    struct net_range range;
    unsigned prefix;     /* Of a slice. */
    uint32_t count;      /* Slices. */
    uint8_t *used;       /* A bit for each. */
    uint32_t first_free; /* None before it. */
};

/* --cluster-cidr, cut as --node-cidr-mask-size and its likes for one family say, in the flag's
 * order. E_INVALID names the flag; then there is nothing to be released. */
int node_slices_parse(const struct manager_options *o, struct node_slices ret[2],
                      unsigned *ret_count, struct error *err);
void node_slices_done(struct node_slices *s);

/* Takes the slices that a range overlaps, whatever its size; one of another family, none. */
void node_slices_mark(struct node_slices *s, struct str cidr);
void node_slices_clear(struct node_slices *s);
/* The first one that is free, as text. It is not taken by that. */
bool node_slices_free(struct node_slices *s, struct arena *a, struct str *ret);

#endif
