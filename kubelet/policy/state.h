/* state.h - what stands in an nftables table that judges connections of this
 * node's pods (network policies, isolation), and the text for `nft -f` that
 * leads from one state to the next.
 *
 * Pure. A chain's name is made of its text and a set's of what it is to hold,
 * so that chains never change, and sets only by elements: an update costs what
 * has changed, whatever else stands there. */
#ifndef KUBELET_POLICY_STATE_H
#define KUBELET_POLICY_STATE_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct arena;
struct buf;

struct policy_table {
    const char *name; /* Of the family inet. */
    /* Chains with hooks, as lines that add them; written when the table is made. */
    void (*write_hooks)(struct buf *out);
};
/* Of network policies. */
extern const struct policy_table policy_table;

enum policy_set_kind {
    POLICY_SET,
    POLICY_VERDICTS, /* A map: each element ends in " : jump chain". */
    POLICY_COUNTER,  /* No set but a counter, named in rules. */
};

struct policy_set {
    struct str name;
    const char *type; /* "ipv4_addr", and what else describes it behind a ";". */
    enum policy_set_kind kind;
    struct str *elements;
    size_t count, cap;
};

struct policy_chain {
    struct str name;
    struct str rules; /* Whole lines. */
};

/* Sorted by name, elements by text, once policy_state_sort() has run. */
struct policy_state {
    const struct policy_table *table;
    struct arena *arena;    /* Holds all of it. */
    const void *owner_data; /* What its maker keeps beside it, in the same arena; or NULL. */
    struct policy_set *sets;
    size_t set_count, set_cap;
    struct policy_chain *chains;
    size_t chain_count, chain_cap;
};

struct policy_state *policy_state_new(const struct policy_table *table);
void policy_state_free(struct policy_state *s); /* NULL is a no-op. */
/* The set of this name, made when it is not there. Borrowed until the next is added. */
struct policy_set *policy_state_set(struct policy_state *s, struct str name, const char *type,
                                    bool *ret_new);
/* text is copied. */
void policy_set_add(struct policy_state *s, struct policy_set *set, struct str text);
void policy_state_add_chain(struct policy_state *s, struct str name, struct str rules);
/* Puts everything in order and drops what is there twice. */
void policy_state_sort(struct policy_state *s);

/* The whole table anew; loading it replaces the old one in one step. */
void policy_state_write(const struct policy_state *s, struct buf *out);
/* From have to want, nothing when they are equal. */
void policy_state_diff(const struct policy_state *have, const struct policy_state *want,
                       struct buf *out);
/* Removes the table, there or not. */
void policy_state_none(const struct policy_table *table, struct buf *out);

#endif
