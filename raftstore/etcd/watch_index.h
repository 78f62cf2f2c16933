/* watch_index.h - who wants to hear of a key: watchers grouped by what they ask for, the
 * groups found by key. Pure, not thread-safe.
 *
 * Single keys stand in a hash map, ranges in a treap ordered by their start whose nodes
 * know the farthest end below them: finding costs what is found, and a logarithm. */
#ifndef RAFTSTORE_ETCD_WATCH_INDEX_H
#define RAFTSTORE_ETCD_WATCH_INDEX_H

#include "lib/base/list.h"
#include "lib/base/map.h"
#include "lib/base/str.h"

enum { WATCH_NO_PUT = 1, WATCH_NO_DELETE = 2, WATCH_PREV_KV = 4 };

struct net_bytes;

/* Encoded events in a shared block. */
struct watch_slice {
    struct net_bytes *block; /* Borrowed until the round is sent. */
    uint32_t from, len;
};

/* Watchers of one range with one set of options: all are sent the same. */
struct watch_group {
    struct str key, range_end; /* range_end as in txn_cmp. */
    unsigned options;          /* WATCH_* */
    struct list watchers;
    /* Events of this round, one slice each. */
    struct watch_slice *slices;
    size_t slice_count, slice_cap, bytes;
    struct list dirty;
    /* The index. */
    struct watch_group *next; /* Of the same single key. */
    struct watch_group *left, *right;
    uint64_t priority;
    const struct watch_group *farthest; /* In this subtree, by the end of its range. */
    char *memory;
};

struct watch_index {
    struct map groups; /* By what they ask for. */
    struct map singles;
    struct watch_group *root;
    uint64_t random;
    size_t count;
};

void watch_index_init(struct watch_index *ix);
void watch_index_done(struct watch_index *ix); /* Every group must have been removed. */
/* Finds or makes the group. The strings are copied. */
struct watch_group *watch_index_get(struct watch_index *ix, struct str key, struct str range_end,
                                    unsigned options);
/* Removes and frees it. It has no watchers and nothing to send. */
void watch_index_remove(struct watch_index *ix, struct watch_group *g);
void watch_index_find(const struct watch_index *ix, struct str key,
                      void (*found)(struct watch_group *g, void *arg), void *arg);
void watch_index_check(const struct watch_index *ix); /* Aborts unless sound: for tests. */

#endif
