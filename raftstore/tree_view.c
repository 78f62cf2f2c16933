/* tree_view.c - views, and giving back what none of them can see any more.
 *
 * Happy path: a view is published, a batch of writes puts the nodes it replaced
 * on the view's dead list, the next view is published, the first one ends, its
 * dead list is freed. With an older view still held, only what was made after
 * that one is freed; the rest joins its dead list.
 *
 * A piece on the list of view v: seen by v, dead by the time of the next view.
 * When v ends, it stays needed exactly by earlier views not older than its birth. */
#include "raftstore/kv_heap.h"
#include "raftstore/tree_internal.h"

size_t block_bytes(const struct block *b)
{
    switch ((enum block_kind)b->kind) {
    case BLOCK_LEAF:
        return alloc_bytes(sizeof(struct leaf));
    case BLOCK_INNER:
        return alloc_bytes(sizeof(struct inner));
    case BLOCK_CHAIN:
        return alloc_bytes(sizeof(struct chain) + b->cap * sizeof(struct kv *));
    case BLOCK_SEP:
        return alloc_bytes(sizeof(struct sep) + b->stale);
    }
    PANIC("block of kind %u", b->kind);
}

/* --- spare nodes --- */

#define SPARE_LEAVES_MAX 128
#define SPARE_INNERS_MAX 32

void tree_free_block(struct tree *t, struct block *b)
{
#ifndef __SANITIZE_ADDRESS__ /* It watches who still looks at freed ones. */
    bool leaf = b->kind == BLOCK_LEAF;
    struct spare_list *spare = leaf ? &t->spare_leaves : &t->spare_inners;
    if ((leaf || b->kind == BLOCK_INNER) &&
        spare->count < (leaf ? SPARE_LEAVES_MAX : SPARE_INNERS_MAX)) {
        struct spare_block *s = (struct spare_block *)b;
        s->next = spare->first;
        spare->first = s;
        spare->count++;
        return;
    }
#endif
    UNUSED(t);
    free(b);
}

static void free_spare(struct spare_list *spare)
{
    for (struct spare_block *s = spare->first, *next; s != NULL; s = next) {
        next = s->next;
        free(s);
    }
}

/* --- dead lists --- */

static void dead_push(struct tree_view *v, uintptr_t item)
{
    struct dead_chunk *c = v->dead;
    if (c == NULL || c->count == DEAD_CHUNK) {
        c = xmalloc(sizeof(*c));
        c->next = v->dead;
        c->count = 0;
        v->dead = c;
    }
    c->items[c->count++] = item;
}

static uintptr_t dead_pop(struct tree_view *v)
{
    struct dead_chunk *c = v->dead;
    uintptr_t item = c->items[--c->count];
    if (c->count == 0) {
        v->dead = c->next;
        free(c);
    }
    return item;
}

static struct tree_view *newest_view(struct tree *t)
{
    return list_empty(&t->views) ? NULL : LIST_ENTRY(t->views.prev, struct tree_view, link);
}

void tree_kill_block(struct tree *t, struct block *b)
{
    struct tree_view *v = newest_view(t);
    size_t bytes = block_bytes(b);
    t->bytes -= bytes;
    if (v == NULL || b->birth > v->gen) {
        tree_free_block(t, b);
        return;
    }
    t->dead_bytes += bytes;
    dead_push(v, (uintptr_t)b);
}

void tree_kill_kv(struct tree *t, const struct kv *kv)
{
    struct tree_view *v = newest_view(t);
    size_t bytes = kv_bytes(kv);
    t->bytes -= bytes;
    t->versions--;
    if (v == NULL || kv->mod_rev > v->root.rev) {
        kv_unref(kv);
        return;
    }
    t->dead_bytes += bytes;
    dead_push(v, (uintptr_t)kv | 1);
}

static bool item_seen_by(uintptr_t item, const struct tree_view *v)
{
    if (v == NULL)
        return false;
    if (item & 1)
        return ((const struct kv *)(item & ~(uintptr_t)1))->mod_rev <= v->root.rev;
    return ((const struct block *)item)->birth <= v->gen;
}

static void item_free(struct tree *t, uintptr_t item)
{
    if (item & 1) {
        const struct kv *kv = (const struct kv *)(item & ~(uintptr_t)1);
        t->dead_bytes -= kv_bytes(kv);
        kv_unref(kv);
        return;
    }
    t->dead_bytes -= block_bytes((const struct block *)item);
    tree_free_block(t, (struct block *)item);
}

/* --- views --- */

struct tree_view *tree_publish(struct tree *t)
{
    struct tree_view *v = xzalloc(sizeof(*v));
    v->refs = 1;
    v->tree = t;
    v->gen = t->gen++;
    v->root = tree_working(t);
    list_push_back(&t->views, &v->link);
    t->view_count++;
    return v;
}

struct tree_view *tree_view_ref(struct tree_view *v)
{
    atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
    return v;
}

void tree_view_unref(struct tree_view *v)
{
    if (v == NULL || atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) != 1)
        return;
    struct tree *t = v->tree;
    v->released = atomic_load_explicit(&t->released, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&t->released, &v->released, v,
                                                  memory_order_release, memory_order_relaxed))
        continue;
}

struct tree_root tree_view_root(const struct tree_view *v)
{
    return v->root;
}

static struct tree_view *view_before(struct tree *t, struct tree_view *v)
{
    struct list *l = v->link.prev;
    return l == &t->views ? NULL : LIST_ENTRY(l, struct tree_view, link);
}

static void take_released(struct tree *t)
{
    struct tree_view *v = atomic_exchange_explicit(&t->released, NULL, memory_order_acquire);
    for (; v != NULL; v = v->released)
        v->ended = true;
}

/* Empties the dead list of a view that ended. The view stays in the list until
 * then, so that what dies meanwhile has a place. False: budget used up. */
static bool drain(struct tree *t, struct tree_view *v, size_t *budget)
{
    struct tree_view *before = view_before(t, v);
    while (before != NULL && before->ended)
        before = view_before(t, before);
    while (v->dead != NULL) {
        if (*budget == 0)
            return false;
        --*budget;
        uintptr_t item = dead_pop(v);
        if (item_seen_by(item, before))
            dead_push(before, item);
        else
            item_free(t, item);
    }
    list_remove(&v->link);
    t->view_count--;
    free(v);
    return true;
}

bool tree_reclaim(struct tree *t, size_t budget)
{
    if (budget == 0)
        return true;
    take_released(t);
    LIST_FOREACH_SAFE (l, &t->views) {
        struct tree_view *v = LIST_ENTRY(l, struct tree_view, link);
        if (v->ended && !drain(t, v, &budget))
            return true;
    }
    return false;
}

/* --- the whole tree --- */

static void free_slot(struct tree *t, uintptr_t slot, size_t *budget)
{
    if (!slot_is_chain(slot)) {
        tree_kill_kv(t, (const struct kv *)slot);
        *budget -= *budget > 0;
        return;
    }
    for (struct chain *c = slot_chain(slot), *older; c != NULL; c = older) {
        older = c->older;
        for (unsigned i = 0; i < c->b.count; i++)
            tree_kill_kv(t, c->versions[i]);
        *budget -= MIN_OF(*budget, (size_t)c->b.count);
        tree_kill_block(t, &c->b);
    }
}

/* Takes the last slot or empty node away. Nobody sees the tree any more, so
 * frozen nodes are changed in place. */
static void free_last(struct tree *t, size_t *budget)
{
    struct tree_node **link = &t->root;
    struct inner *parent = NULL;
    while (!is_leaf(*link) && (*link)->b.count > 0) {
        parent = (struct inner *)*link;
        link = &parent->children[parent->b.count - 1].node;
    }
    struct tree_node *n = *link;
    while (is_leaf(n) && n->b.count > 0 && *budget > 0)
        free_slot(t, ((struct leaf *)n)->slots[--n->b.count], budget);
    if (n->b.count > 0)
        return;
    if (parent == NULL) {
        t->root = NULL;
    } else if (parent->children[--parent->b.count].sep != NULL) {
        tree_kill_block(t, &parent->children[parent->b.count].sep->b);
    }
    tree_kill_block(t, &n->b);
}

bool tree_free_slice(struct tree *t, size_t budget)
{
    if (tree_reclaim(t, budget) || !list_empty(&t->views))
        return true;
    while (t->root != NULL && budget > 0)
        free_last(t, &budget);
    if (t->root != NULL)
        return true;
    ASSERT_CMP(t->bytes, ==, 0);
    ASSERT_CMP(t->dead_bytes, ==, 0);
    if (t->tidied != NULL)
        kv_region_retire(t->tidied);
    kv_heap_free(t->heap);
    free_spare(&t->spare_leaves);
    free_spare(&t->spare_inners);
    free(t);
    return false;
}

void tree_free(struct tree *t)
{
    if (t == NULL)
        return;
    while (tree_reclaim(t, SIZE_MAX))
        continue;
    ASSERT(list_empty(&t->views));
    while (tree_free_slice(t, SIZE_MAX))
        continue;
}
