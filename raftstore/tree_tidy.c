/* tree_tidy.c - moving versions together, so that regions of the heap become empty.
 *
 * What a reader sees does not change: a copy takes the place of a version in the
 * writer's leaf, and the old one goes the way of all that was replaced, once no view
 * sees it any more. Whoever holds a reference of his own keeps the old one. */
#include "raftstore/kv_heap.h"
#include "raftstore/tree_internal.h"

/* Puts the copy in the place of kv in a chain of one chunk. Longer ones are those of
 * keys that change all the time; theirs go with the next compaction. */
static uintptr_t replace_in_chain(struct tree *t, struct chain *old, unsigned at,
                                  const struct kv *copy)
{
    struct chain *c = old;
    if (old->b.birth != t->gen) {
        c = tree_chain_new(t, NULL, old->b.cap);
        c->b.count = old->b.count;
        memcpy(c->versions, old->versions, old->b.count * sizeof(c->versions[0]));
        tree_kill_block(t, &old->b);
    }
    c->versions[at] = copy;
    return slot_of_chain(c);
}

/* False: the slot does not hold kv, or not where it could be moved. */
static bool place_in_slot(uintptr_t slot, const struct kv *kv, unsigned *ret_at)
{
    *ret_at = 0;
    if (!slot_is_chain(slot))
        return (const struct kv *)slot == kv;
    const struct chain *c = slot_chain(slot);
    while (*ret_at < c->b.count && c->versions[*ret_at] != kv)
        ++*ret_at;
    return c->older == NULL && *ret_at < c->b.count;
}

static bool move(struct tree *t, const struct kv *kv)
{
    struct path p;
    unsigned at, level = t->height - 1;
    if (t->root == NULL || !tree_find(t, kv_key(kv), &p))
        return false;
    const struct tree_node *n = t->root;
    for (unsigned i = 0; i < level; i++)
        n = as_inner(n)->children[p.at[i]].node;
    if (!place_in_slot(as_leaf(n)->slots[p.at[level]], kv, &at))
        return false;
    tree_own_path(t, &p);
    uintptr_t *slot = &((struct leaf *)p.node[level])->slots[p.at[level]];
    const struct kv *copy = kv_copy(t->heap, kv);
    if (slot_is_chain(*slot))
        *slot = replace_in_chain(t, slot_chain(*slot), at, copy);
    else
        *slot = (uintptr_t)copy;
    t->versions++;
    t->bytes += kv_bytes(copy);
    tree_kill_kv(t, kv);
    return true;
}

/* Old views would keep what is moved away. */
static bool views_hold_much(const struct tree *t)
{
    return t->dead_bytes > t->bytes / 16 + KV_REGION_BYTES;
}

bool tree_tidy(struct tree *t, size_t budget, bool *ret_moved)
{
    *ret_moved = false;
    if (t->tidied == NULL && (views_hold_much(t) || !kv_heap_sparse(t->heap)))
        return false;
    while (budget > 0) {
        bool more;
        if (t->tidied == NULL && (t->tidied = kv_heap_pick(t->heap, &more)) == NULL)
            return more;
        const struct kv *kv = kv_region_next(t->tidied, &t->tidied_at);
        if (kv == NULL) {
            t->tidied_at = 0;
            kv_region_retire(take(t->tidied));
            continue;
        }
        *ret_moved |= move(t, kv);
        kv_unref(kv);
        budget--;
    }
    return true;
}

void tree_tidy_again(struct tree *t)
{
    kv_heap_look_again(t->heap);
}
