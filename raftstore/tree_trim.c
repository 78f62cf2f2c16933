/* tree_trim.c - dropping versions that no read will ask for again.
 *
 * A slice goes from leaf to leaf that holds chains, by key, so that writes may
 * come between slices. A leaf without anything to drop is not copied. A leaf
 * that becomes small joins a neighbour; an empty one goes. */
#include "raftstore/tree_internal.h"

/* --- one slot --- */

static bool version_kept(const struct kv *kv, int64_t rev, bool *done)
{
    if (kv->mod_rev >= rev) {
        /* Versions at rev itself stay for watches; they end the search. */
        *done |= kv->mod_rev == rev;
        return true;
    }
    bool kept = !*done && kv_live(kv);
    *done = true;
    return kept;
}

/* How many of the newest versions stay; *ret_total: how many there are. */
static size_t count_kept(const struct chain *chain, int64_t rev, size_t *ret_total)
{
    size_t kept = 0, total = 0;
    bool done = false;
    for (const struct chain *c = chain; c != NULL; c = c->older) {
        for (unsigned i = c->b.count; i-- > 0; total++)
            kept += version_kept(c->versions[i], rev, &done);
    }
    *ret_total = total;
    return kept;
}

/* Copies the newest `kept` versions into fresh chunks, all full but the newest. */
static uintptr_t rebuild(struct tree *t, const struct chain *chain, size_t kept)
{
    const struct kv **all = xmalloc(kept * sizeof(all[0]));
    size_t n = kept;
    for (const struct chain *c = chain; n > 0; c = c->older) {
        for (unsigned i = c->b.count; i-- > 0 && n > 0;)
            all[--n] = c->versions[i];
    }
    uintptr_t slot = (uintptr_t)all[0];
    if (kept > 1 || !kv_live(all[0])) {
        struct chain *c = NULL;
        for (size_t i = 0; i < kept; i += CHAIN_MAX) {
            size_t count = MIN_OF(kept - i, (size_t)CHAIN_MAX);
            c = tree_chain_new(t, c, (unsigned)count);
            c->b.count = (uint8_t)count;
            memcpy(c->versions, &all[i], count * sizeof(all[0]));
        }
        slot = slot_of_chain(c);
    }
    free(all);
    return slot;
}

/* Gives up the chain's chunks, and its versions behind the newest `kept`. */
static void kill_chain(struct tree *t, struct chain *chain, size_t kept)
{
    for (struct chain *c = chain, *older; c != NULL; c = older) {
        older = c->older;
        for (unsigned i = c->b.count; i-- > 0;) {
            if (kept > 0)
                kept--;
            else
                tree_kill_kv(t, c->versions[i]);
        }
        tree_kill_block(t, &c->b);
    }
}

/* --- one leaf --- */

struct leaf_change {
    int live, stale; /* What the counts change by. */
    size_t visited;
};

static bool slot_shrinks(uintptr_t slot, int64_t rev, size_t *ret_kept, size_t *ret_total)
{
    if (!slot_is_chain(slot))
        return false;
    *ret_kept = count_kept(slot_chain(slot), rev, ret_total);
    return *ret_kept < *ret_total;
}

static bool leaf_shrinks(const struct leaf *l, int64_t rev, size_t *visited)
{
    bool any = false;
    for (unsigned i = 0; i < l->b.count && !any; i++) {
        size_t kept, total = 0;
        any = slot_shrinks(l->slots[i], rev, &kept, &total);
        *visited += total;
    }
    return any;
}

static void trim_leaf(struct tree *t, struct leaf *l, int64_t rev, struct leaf_change *ret)
{
    unsigned out = 0;
    int live = l->b.live, stale = (int)l->b.stale;
    l->b.live = 0;
    l->b.stale = 0;
    for (unsigned i = 0; i < l->b.count; i++) {
        uintptr_t slot = l->slots[i];
        size_t kept = 1, total = 0;
        if (slot_shrinks(slot, rev, &kept, &total)) {
            uintptr_t next = kept > 0 ? rebuild(t, slot_chain(slot), kept) : 0;
            kill_chain(t, slot_chain(slot), kept);
            slot = next;
        }
        ret->visited += total;
        if (kept == 0)
            continue;
        l->b.live = (uint8_t)(l->b.live + kv_live(slot_newest(slot)));
        l->b.stale += slot_is_chain(slot);
        l->heads[out] = l->heads[i];
        l->slots[out++] = slot;
    }
    l->b.count = (uint8_t)out;
    ret->live = l->b.live - live;
    ret->stale = (int)l->b.stale - stale;
}

/* --- joining small nodes --- */

static void remove_child(struct tree *t, struct inner *in, unsigned at)
{
    if (in->children[at].sep != NULL)
        tree_kill_block(t, &in->children[at].sep->b);
    in->b.count--;
    memmove(&in->children[at], &in->children[at + 1], (in->b.count - at) * sizeof(in->children[0]));
    memmove(&in->heads[at], &in->heads[at + 1], (in->b.count - at) * sizeof(in->heads[0]));
    if (at == 0 && in->b.count > 0 && in->children[0].sep != NULL) {
        tree_kill_block(t, &in->children[0].sep->b);
        in->children[0].sep = NULL;
    }
}

static void join_leaves(struct leaf *left, const struct leaf *right)
{
    memcpy(&left->slots[left->b.count], right->slots, right->b.count * sizeof(left->slots[0]));
    left->b.live = (uint8_t)(left->b.live + right->b.live);
    left->b.stale += right->b.stale;
}

/* `sep` stands between the two and becomes the sep of right's first child. */
static void join_inners(struct inner *left, const struct inner *right, struct sep *sep)
{
    struct child *to = &left->children[left->b.count];
    memcpy(to, right->children, right->b.count * sizeof(to[0]));
    to[0].sep = sep;
}

/* Joins children at and at + 1. */
static void join(struct tree *t, struct inner *parent, unsigned at)
{
    struct child *left = &parent->children[at], *right = &parent->children[at + 1];
    left->node = tree_own_node(t, left->node);
    unsigned count = left->node->b.count + (unsigned)right->node->b.count;
    if (is_leaf(left->node)) {
        join_leaves((struct leaf *)left->node, as_leaf(right->node));
    } else {
        join_inners((struct inner *)left->node, as_inner(right->node), right->sep);
        right->sep = NULL;
    }
    left->node->b.count = (uint8_t)count;
    if (is_leaf(left->node))
        leaf_index((struct leaf *)left->node);
    else
        inner_index((struct inner *)left->node);
    left->live += right->live;
    left->stale += right->stale;
    left->max_rev = MAX_OF(left->max_rev, right->max_rev);
    tree_kill_block(t, &right->node->b);
    remove_child(t, parent, at + 1);
}

static bool joinable(const struct inner *in, unsigned at)
{
    return at + 1 < in->b.count &&
           in->children[at].node->b.count + in->children[at + 1].node->b.count <= MERGE_MAX;
}

static void shrink_root(struct tree *t)
{
    while (t->root->b.count == 0 || (!is_leaf(t->root) && t->root->b.count == 1)) {
        struct tree_node *old = t->root;
        t->root = old->b.count == 0 ? NULL : as_inner(old)->children[0].node;
        t->height = t->root != NULL ? t->height - 1 : 0;
        tree_kill_block(t, &old->b);
        if (t->root == NULL)
            return;
    }
}

/* After the leaf of the path lost slots. */
static void rejoin(struct tree *t, struct path *p)
{
    for (unsigned level = t->height - 1; level > 0; level--) {
        struct tree_node *n = p->node[level];
        struct inner *parent = (struct inner *)p->node[level - 1];
        unsigned at = p->at[level - 1];
        if (n->b.count == 0) {
            remove_child(t, parent, at);
            tree_kill_block(t, &n->b);
        } else if (n->b.count < NODE_MIN && joinable(parent, at)) {
            join(t, parent, at);
        } else if (n->b.count < NODE_MIN && at > 0 && joinable(parent, at - 1)) {
            join(t, parent, at - 1);
        } else {
            break;
        }
    }
    shrink_root(t);
}

/* --- slices --- */

/* The first leaf with chains at or behind key. */
static bool find_stale(const struct tree *t, struct str key, struct path *p)
{
    if (t->root == NULL)
        return false;
    unsigned level = 0;
    p->node[0] = t->root;
    p->at[0] = is_leaf(t->root) ? 0 : inner_find(as_inner(t->root), key);
    bool exact = true; /* Still on the way to key itself. */
    for (;;) {
        const struct tree_node *n = p->node[level];
        if (is_leaf(n))
            return n->b.stale > 0;
        const struct inner *in = as_inner(n);
        while (p->at[level] < in->b.count && in->children[p->at[level]].stale == 0) {
            p->at[level]++;
            exact = false;
        }
        if (p->at[level] == in->b.count) {
            if (level == 0)
                return false;
            p->at[--level]++;
            exact = false;
            continue;
        }
        struct tree_node *below = in->children[p->at[level]].node;
        p->node[++level] = below;
        p->at[level] = exact && !is_leaf(below) ? inner_find(as_inner(below), key) : 0;
    }
}

/* Remembers where the leaf of the path ends. False: it is the last one. */
static bool remember_end(const struct tree *t, const struct path *p, struct tree_trim *trim)
{
    for (unsigned level = t->height - 1; level-- > 0;) {
        const struct inner *in = as_inner(p->node[level]);
        if (p->at[level] + 1 == in->b.count)
            continue;
        struct str end = sep_str(in->children[p->at[level] + 1].sep);
        trim->next = xrealloc(trim->next, end.len);
        memcpy(trim->next, end.data, end.len);
        trim->next_len = end.len;
        return true;
    }
    return false;
}

static void apply_change(struct tree *t, struct path *p, const struct leaf_change *change)
{
    for (unsigned level = 0; level + 1 < t->height; level++) {
        struct child *c = &((struct inner *)p->node[level])->children[p->at[level]];
        c->live += (uint32_t)change->live;
        c->stale += (uint32_t)change->stale;
    }
    t->keys += (uint64_t)(int64_t)change->live;
}

bool tree_trim(struct tree *t, struct tree_trim *trim, size_t budget)
{
    size_t visited = 0;
    while (!trim->done && visited < budget) {
        struct path p;
        if (!find_stale(t, str_n(trim->next, trim->next_len), &p)) {
            trim->done = true;
            break;
        }
        trim->done = !remember_end(t, &p, trim);
        visited++;
        if (!leaf_shrinks(as_leaf(p.node[t->height - 1]), trim->rev, &visited))
            continue;
        struct leaf_change change = {0};
        tree_own_path(t, &p);
        trim_leaf(t, (struct leaf *)p.node[t->height - 1], trim->rev, &change);
        apply_change(t, &p, &change);
        visited += change.visited;
        rejoin(t, &p);
    }
    if (trim->done)
        tree_trim_done(trim);
    return !trim->done;
}

void tree_trim_done(struct tree_trim *trim)
{
    free(trim->next);
    trim->next = NULL;
    trim->next_len = 0;
}
