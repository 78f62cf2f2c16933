/* tree_internal.h - the nodes of the tree, shared by the tree_*.c files.
 *
 * A leaf slot is one word: a version, if the key has only that one and it is
 * live; else, with the low bit set, a chain. So trimming finds its work without
 * touching the versions of all other keys.
 *
 * Blocks (nodes, chains, separators) are immutable from the generation after
 * their birth on. A slot or child has one owner in each root; the tree as a
 * whole owns one reference of every version. */
#ifndef RAFTSTORE_TREE_INTERNAL_H
#define RAFTSTORE_TREE_INTERNAL_H

#include "lib/base/list.h"
#include "raftstore/tree.h"

#include <stdatomic.h>

#define LEAF_MAX 64
#define INNER_MAX 64
#define NODE_MIN 16  /* Below, merge with a neighbour... */
#define MERGE_MAX 48 /* ... if both together do not exceed this. */
#define CHAIN_MAX 32 /* Versions per chunk of a chain. */

enum block_kind { BLOCK_LEAF, BLOCK_INNER, BLOCK_CHAIN, BLOCK_SEP };

struct block {
    uint64_t birth; /* Generation. */
    uint8_t kind;
    uint8_t count;  /* Slots, children or versions in use. */
    uint8_t cap;    /* Chains: versions that fit. */
    uint8_t live;   /* Leaves: slots whose newest version is no tombstone. */
    uint32_t stale; /* Leaves: slots with a chain. Separators: bytes. */
};

/* Versions of a key, oldest first; `older` continues with earlier ones. */
struct chain {
    struct block b;
    struct chain *older;
    const struct kv *versions[];
};

/* A key between two subtrees: above all of the left, at or below all of the right. */
struct sep {
    struct block b;
    char bytes[];
};

struct tree_node {
    struct block b;
};

/* heads, skip: tree_find.c. */
struct leaf {
    struct block b;
    uint32_t skip;
    uintptr_t slots[LEAF_MAX];
    uint64_t heads[LEAF_MAX];
};

struct child {
    struct tree_node *node;
    struct sep *sep; /* NULL for the first. */
    uint32_t live;   /* Live keys below. */
    uint32_t stale;  /* Slots below with a chain. */
    int64_t max_rev; /* No version below is newer. */
};

struct inner {
    struct block b;
    uint32_t skip;
    struct child children[INNER_MAX];
    uint64_t heads[INNER_MAX]; /* Of the separators; the first is not used. */
};

static_assert(LEAF_MAX < 256 && INNER_MAX < 256 && CHAIN_MAX < 256, "counts are bytes");
static_assert(NODE_MIN * 2 <= MERGE_MAX && MERGE_MAX <= LEAF_MAX && MERGE_MAX <= INNER_MAX,
              "merging must fit");

/* Pieces that views may still see: blocks, and versions with the low bit set. */
#define DEAD_CHUNK 509
struct dead_chunk {
    struct dead_chunk *next;
    size_t count;
    uintptr_t items[DEAD_CHUNK];
};

struct tree_view {
    _Atomic uint32_t refs;
    bool ended; /* Writer. */
    struct tree *tree;
    uint64_t gen; /* Newest generation in it. */
    struct tree_root root;
    struct list link;           /* Writer: in tree->views, oldest first. */
    struct dead_chunk *dead;    /* Writer: what died while this was the newest view. */
    struct tree_view *released; /* In the stack of views without references. */
};

/* Nodes that were freed: the next ones of their kind. Each put copies some. */
struct spare_block {
    struct spare_block *next;
};
struct spare_list {
    struct spare_block *first;
    unsigned count;
};

struct tree {
    struct kv_heap *heap;
    struct kv_region *tidied; /* Being emptied; NULL: none. */
    size_t tidied_at;
    struct spare_list spare_leaves, spare_inners;
    struct tree_node *root;
    uint32_t height;
    uint64_t gen; /* Of blocks made now; greater than that of every view. */
    int64_t rev;
    struct list views;
    uint64_t view_count;
    _Atomic(struct tree_view *) released; /* Pushed by readers, taken whole by the writer. */
    uint64_t bytes, dead_bytes, versions;
    uint64_t keys;
};

/* --- slots --- */
static inline bool slot_is_chain(uintptr_t slot)
{
    return slot & 1;
}
static inline struct chain *slot_chain(uintptr_t slot)
{
    return (struct chain *)(slot & ~(uintptr_t)1);
}
static inline uintptr_t slot_of_chain(const struct chain *c)
{
    return (uintptr_t)c | 1;
}
static inline const struct kv *slot_newest(uintptr_t slot)
{
    if (!slot_is_chain(slot))
        return (const struct kv *)slot;
    const struct chain *c = slot_chain(slot);
    return c->versions[c->b.count - 1];
}
/* The newest version at or below rev, NULL if none. */
const struct kv *slot_version(uintptr_t slot, int64_t rev);

static inline const struct leaf *as_leaf(const struct tree_node *n)
{
    return (const struct leaf *)n;
}
static inline const struct inner *as_inner(const struct tree_node *n)
{
    return (const struct inner *)n;
}
static inline bool is_leaf(const struct tree_node *n)
{
    return n->b.kind == BLOCK_LEAF;
}
static inline struct str sep_str(const struct sep *s)
{
    return str_n(s->bytes, s->b.stale);
}

/* --- places in a node (tree_find.c) --- */
/* First slot whose key is at or behind key; *ret_equal: it is this one. */
unsigned leaf_find(const struct leaf *l, struct str key, bool *ret_equal);
/* The child that holds key. */
unsigned inner_find(const struct inner *in, struct str key);
/* To be called when keys or separators came in: from elsewhere, or one at `at`.
 * When some went, the heads just move along. */
void leaf_index(struct leaf *l);
void leaf_index_one(struct leaf *l, unsigned at);
void inner_index(struct inner *in);
void inner_index_one(struct inner *in, unsigned at);
bool leaf_index_ok(const struct leaf *l);
bool inner_index_ok(const struct inner *in);

/* --- memory (tree_view.c) --- */
size_t block_bytes(const struct block *b);
void tree_free_block(struct tree *t, struct block *b); /* Nobody sees it; not counted any more. */
/* The working root lost it: freed at once when no view can see it. */
void tree_kill_block(struct tree *t, struct block *b);
void tree_kill_kv(struct tree *t, const struct kv *kv);

/* --- writing (tree.c) --- */
struct path {
    struct tree_node *node[TREE_HEIGHT_MAX]; /* [0] is the root. */
    unsigned at[TREE_HEIGHT_MAX];
};
/* Makes the nodes of the path, from the root to the leaf, the writer's own. */
void tree_own_path(struct tree *t, struct path *p);
/* Where key is, or would be. The tree must not be empty. */
bool tree_find(const struct tree *t, struct str key, struct path *p);
/* The node itself when the writer made it in this generation, else a copy. */
struct tree_node *tree_own_node(struct tree *t, struct tree_node *n);
/* An empty chunk with room for cap versions in front of `older`. */
struct chain *tree_chain_new(struct tree *t, struct chain *older, unsigned cap);
/* What a parent says about the node. */
void child_summarise(struct child *c);

#endif
