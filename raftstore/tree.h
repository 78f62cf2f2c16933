/* tree.h - the copy-on-write B+tree: key to a chain of versions.
 *
 * One writer thread; readers on any thread hold views. A view is a root that
 * never changes: taking and dropping one is O(1).
 *
 * Nodes carry the generation they were made in. The writer edits nodes of its
 * own generation in place and copies older ones first; tree_publish() freezes
 * the generation as a view. So a batch of writes copies a path once.
 *
 * What the writer replaces may still be seen by older views. It goes on the dead
 * list of the newest view; when a view ends, what no earlier view can see (it was
 * made later) is freed, the rest moves on to the view before. Readers touch no
 * counts but the view's own. All of it happens in tree_reclaim(), in slices.
 *
 *   put/trim -> working root --publish--> view --unref--> tree_reclaim() */
#ifndef RAFTSTORE_TREE_H
#define RAFTSTORE_TREE_H

#include "raftstore/kv.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct kv_heap;
struct tree;
struct tree_node;

/* A root and the newest revision in it. Valid while its view is held, or, for
 * the working root, until the next write. */
struct tree_root {
    const struct tree_node *node; /* NULL: empty. */
    uint32_t height;              /* Levels; 0: empty. */
    int64_t rev;
    int64_t keys; /* Live at rev. */
};

/* --- the writer --- */
struct tree *tree_new(void);
/* Frees everything at once; every view must have ended. NULL is a no-op. */
void tree_free(struct tree *t);
/* As tree_free() in slices of about `budget` versions. True: more to do, call
 * again. While views are left nothing happens and true is returned. */
bool tree_free_slice(struct tree *t, size_t budget);

/* Where new versions of it are best made. */
struct kv_heap *tree_heap(const struct tree *t);
/* Adds a version (its reference is taken over); kv->mod_rev is at least that of
 * every earlier put. A tombstone (version 0) needs a live version before it.
 * Views cannot see it before tree_publish(). */
void tree_put(struct tree *t, struct kv *kv);
/* Fills a new tree: key by key in order, each key's versions oldest first. Takes
 * over the reference unless it fails. E_CORRUPT: out of order. */
int tree_load(struct tree *t, struct kv *kv);
/* Raises the newest revision beyond that of the newest version left: after a
 * restore whose last change was compacted away. */
void tree_set_rev(struct tree *t, int64_t rev);
/* The working root: sees all puts so far. */
struct tree_root tree_working(const struct tree *t);

struct tree_stats {
    uint64_t bytes;      /* Nodes, chains and versions reachable from the working root. */
    uint64_t dead_bytes; /* Waiting for views or for tree_reclaim(). */
    uint64_t keys;       /* Live. */
    uint64_t versions;   /* With tombstones. */
    uint64_t views;
    uint64_t lost_bytes; /* Between versions in the heap. */
};
void tree_stats(const struct tree *t, struct tree_stats *ret);

/* Drops what no read at or above rev can see: of each key the versions older
 * than the newest one at or below rev, and that one too when it is a tombstone
 * older than rev. (A change at rev itself stays, for watches from rev.)
 * Zero-initialised by the caller, then given to tree_trim() until it is done. */
struct tree_trim {
    int64_t rev;
    char *next; /* Owned by the trim: where the next slice begins. */
    size_t next_len;
    bool done;
};
/* One slice: visits about `budget` leaves or versions, skipping subtrees that
 * hold nothing to drop. True: more to do. Writes may come between slices. */
bool tree_trim(struct tree *t, struct tree_trim *trim, size_t budget);
void tree_trim_done(struct tree_trim *trim);

/* Frees up to about `budget` dead pieces. True: more could be freed now. */
bool tree_reclaim(struct tree *t, size_t budget);

/* Moves versions together that compaction left here and there, where that gives
 * memory back: about `budget` of them. Best when nothing is left to reclaim. Copies
 * are seen after tree_publish(). *ret_moved: there are some. True: more to do. */
bool tree_tidy(struct tree *t, size_t budget, bool *ret_moved);
/* Versions were released that others than the tree had held. */
void tree_tidy_again(struct tree *t);

/* --- views --- */
struct tree_view;
/* [writer] Freezes the working root. The caller gets a reference. */
struct tree_view *tree_publish(struct tree *t);
/* [any] A reference can be taken only by who holds one. */
struct tree_view *tree_view_ref(struct tree_view *v);
void tree_view_unref(struct tree_view *v); /* NULL is a no-op. */
struct tree_root tree_view_root(const struct tree_view *v);

/* --- reading a root [any thread that holds its view] --- */
/* rev: at or below root.rev, 0 for root.rev. Everything returned is borrowed. */
const struct kv *tree_get(struct tree_root root, struct str key,
                          int64_t rev); /* NULL: none live. */
/* The newest version at or below rev, be it a tombstone. */
const struct kv *tree_get_version(struct tree_root root, struct str key, int64_t rev);
/* Live keys in the range; O(log n) at root.rev, a walk at an older one. */
int64_t tree_count(struct tree_root root, struct str key, struct str range_end, int64_t rev);

#define TREE_HEIGHT_MAX 12
struct tree_iter {
    const struct tree_node *path[TREE_HEIGHT_MAX];
    uint8_t at[TREE_HEIGHT_MAX]; /* Position in each node of the path. */
    uint8_t height;              /* 0: at the end. */
    bool single;                 /* The one key. */
    struct str end;              /* Empty: no end. Borrowed from the caller. */
    int64_t rev;
    int64_t after_rev; /* Of tree_iter_versions(). */
};
/* Live keys of [key, range_end) at rev in key order. range_end is borrowed for
 * the iterator's life, key for the call. */
void tree_iter_init(struct tree_iter *it, struct tree_root root, struct str key,
                    struct str range_end, int64_t rev);
const struct kv *tree_iter_next(struct tree_iter *it); /* NULL at the end. */

/* Every version of every key changed after after_rev, tombstones too: key by
 * key in order. Skips subtrees without changes. */
void tree_iter_versions(struct tree_iter *it, struct tree_root root, int64_t after_rev);
/* The same for the keys of [key, range_end); range_end is borrowed. */
void tree_iter_range_versions(struct tree_iter *it, struct tree_root root, struct str key,
                              struct str range_end, int64_t after_rev);

/* A list that grows; kvs are borrowed from the root. */
struct kv_list {
    const struct kv **items;
    size_t count, cap;
};
void kv_list_push(struct kv_list *l, const struct kv *kv);
void kv_list_done(struct kv_list *l); /* Frees the list, not the kvs. */
/* The next key's versions, oldest first, appended to *out: those after after_rev
 * (0: all), with the one before them in *ret_before (NULL: none kept). False at
 * the end. */
bool tree_iter_next_versions(struct tree_iter *it, struct kv_list *out,
                             const struct kv **ret_before);

/* Invariants: order, counts, generations, chains, accounting. For tests: visits
 * everything. 0 or E_CORRUPT. */
int tree_check(const struct tree *t, struct error *err);

#endif
