/* tree_read.c - finding, counting and iterating below a root that does not
 * change. Any thread; nothing is written. */
#include "raftstore/tree_internal.h"

const struct kv *slot_version(uintptr_t slot, int64_t rev)
{
    if (!slot_is_chain(slot)) {
        const struct kv *kv = (const struct kv *)slot;
        return kv->mod_rev <= rev ? kv : NULL;
    }
    for (const struct chain *c = slot_chain(slot); c != NULL; c = c->older) {
        if (c->versions[0]->mod_rev > rev)
            continue;
        unsigned i = c->b.count;
        while (c->versions[--i]->mod_rev > rev)
            continue;
        return c->versions[i];
    }
    return NULL;
}

static int64_t effective_rev(struct tree_root root, int64_t rev)
{
    return rev == 0 || rev > root.rev ? root.rev : rev;
}

const struct kv *tree_get_version(struct tree_root root, struct str key, int64_t rev)
{
    const struct tree_node *n = root.node;
    if (n == NULL)
        return NULL;
    while (!is_leaf(n))
        n = as_inner(n)->children[inner_find(as_inner(n), key)].node;
    bool equal;
    unsigned at = leaf_find(as_leaf(n), key, &equal);
    return equal ? slot_version(as_leaf(n)->slots[at], effective_rev(root, rev)) : NULL;
}

const struct kv *tree_get(struct tree_root root, struct str key, int64_t rev)
{
    const struct kv *kv = tree_get_version(root, key, rev);
    return kv != NULL && kv_live(kv) ? kv : NULL;
}

/* --- counting --- */

/* Live keys before key at the root's revision. */
static int64_t rank_of(struct tree_root root, struct str key)
{
    int64_t rank = 0;
    const struct tree_node *n = root.node;
    while (!is_leaf(n)) {
        const struct inner *in = as_inner(n);
        unsigned at = inner_find(in, key);
        for (unsigned i = 0; i < at; i++)
            rank += in->children[i].live;
        n = in->children[at].node;
    }
    const struct leaf *l = as_leaf(n);
    bool equal;
    unsigned at = leaf_find(l, key, &equal);
    for (unsigned i = 0; i < at; i++)
        rank += !slot_is_chain(l->slots[i]) || kv_live(slot_newest(l->slots[i]));
    return rank;
}

static bool is_open_end(struct str range_end)
{
    return str_eq(range_end, str_n("\0", 1));
}

int64_t tree_count(struct tree_root root, struct str key, struct str range_end, int64_t rev)
{
    if (root.node == NULL)
        return 0;
    if (str_empty(range_end))
        return tree_get(root, key, rev) != NULL;
    if (effective_rev(root, rev) == root.rev) {
        int64_t end = is_open_end(range_end) ? root.keys : rank_of(root, range_end);
        return MAX_OF(end - rank_of(root, key), 0);
    }
    struct tree_iter it;
    tree_iter_init(&it, root, key, range_end, rev);
    int64_t n = 0;
    while (tree_iter_next(&it) != NULL)
        n++;
    return n;
}

/* --- iterating --- */

static_assert(sizeof(struct tree_iter) <= 24 * sizeof(uint64_t), "must fit store_iter");

static bool skips(const struct tree_iter *it, const struct inner *in, unsigned at)
{
    return in->children[at].max_rev <= it->after_rev;
}

/* Moves on to the first leaf at or behind the position in path[level]. False,
 * and the iterator at its end, when there is none. */
static bool settle(struct tree_iter *it, unsigned level)
{
    for (;;) {
        const struct tree_node *n = it->path[level];
        if (is_leaf(n))
            return true;
        while (it->at[level] < n->b.count && skips(it, as_inner(n), it->at[level]))
            it->at[level]++;
        if (it->at[level] < n->b.count) {
            it->path[level + 1] = as_inner(n)->children[it->at[level]].node;
            it->at[++level] = 0;
            continue;
        }
        if (level == 0) {
            it->height = 0;
            return false;
        }
        it->at[--level]++;
    }
}

static bool next_leaf(struct tree_iter *it)
{
    if (it->height < 2) {
        it->height = 0;
        return false;
    }
    unsigned above = it->height - 2u;
    it->at[above]++;
    return settle(it, above);
}

void tree_iter_init(struct tree_iter *it, struct tree_root root, struct str key,
                    struct str range_end, int64_t rev)
{
    *it = (struct tree_iter){.height = (uint8_t)root.height,
                             .single = str_empty(range_end),
                             .end = is_open_end(range_end) ? STR_NULL : range_end,
                             .rev = effective_rev(root, rev)};
    if (root.height == 0)
        return;
    const struct tree_node *n = root.node;
    unsigned level = 0;
    for (; !is_leaf(n); level++) {
        it->path[level] = n;
        it->at[level] = (uint8_t)inner_find(as_inner(n), key);
        n = as_inner(n)->children[it->at[level]].node;
    }
    bool equal;
    it->path[level] = n;
    it->at[level] = (uint8_t)leaf_find(as_leaf(n), key, &equal);
    if (it->single && !equal)
        it->height = 0;
}

void tree_iter_versions(struct tree_iter *it, struct tree_root root, int64_t after_rev)
{
    *it =
        (struct tree_iter){.height = (uint8_t)root.height, .rev = root.rev, .after_rev = after_rev};
    if (root.height == 0)
        return;
    it->path[0] = root.node;
    settle(it, 0);
}

void tree_iter_range_versions(struct tree_iter *it, struct tree_root root, struct str key,
                              struct str range_end, int64_t after_rev)
{
    ASSERT(range_end.len > 0);
    tree_iter_init(it, root, key, range_end, 0);
    it->after_rev = after_rev; /* From the second leaf on, subtrees without news are passed over. */
}

/* The next slot, 0 at the end. */
static uintptr_t next_slot(struct tree_iter *it)
{
    for (;;) {
        if (it->height == 0)
            return 0;
        const struct leaf *l = as_leaf(it->path[it->height - 1]);
        unsigned i = it->at[it->height - 1];
        if (i >= l->b.count) {
            next_leaf(it);
            continue;
        }
        it->at[it->height - 1]++;
        /* Versions lie all over memory: fetch ahead of the reader. */
        if (i + 4 < l->b.count)
            __builtin_prefetch((const void *)(l->slots[i + 4] & ~(uintptr_t)1));
        return l->slots[i];
    }
}

const struct kv *tree_iter_next(struct tree_iter *it)
{
    uintptr_t slot;
    while ((slot = next_slot(it)) != 0) {
        if (it->end.len > 0 && str_cmp(kv_key(slot_newest(slot)), it->end) >= 0)
            break;
        const struct kv *kv = slot_version(slot, it->rev);
        if (it->single)
            it->height = 0;
        if (kv != NULL && kv_live(kv))
            return kv;
    }
    it->height = 0;
    return NULL;
}

/* --- versions --- */

void kv_list_done(struct kv_list *l)
{
    free(l->items);
    *l = (struct kv_list){0};
}

void kv_list_push(struct kv_list *l, const struct kv *kv)
{
    if (l->count == l->cap) {
        l->cap = l->cap > 0 ? l->cap * 2 : 16;
        l->items = xrealloc(l->items, l->cap * sizeof(l->items[0]));
    }
    l->items[l->count++] = kv;
}

static void reverse(const struct kv **items, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        const struct kv *kv = items[i];
        items[i] = items[n - 1 - i];
        items[n - 1 - i] = kv;
    }
}

static const struct kv *slot_versions(uintptr_t slot, int64_t after_rev, struct kv_list *out)
{
    size_t start = out->count;
    const struct kv *before = NULL;
    if (!slot_is_chain(slot)) {
        const struct kv *kv = (const struct kv *)slot;
        if (kv->mod_rev <= after_rev)
            return kv;
        kv_list_push(out, kv);
        return NULL;
    }
    for (const struct chain *c = slot_chain(slot); c != NULL && before == NULL; c = c->older) {
        for (unsigned i = c->b.count; i-- > 0 && before == NULL;) {
            if (c->versions[i]->mod_rev <= after_rev)
                before = c->versions[i];
            else
                kv_list_push(out, c->versions[i]);
        }
    }
    if (out->count > start)
        reverse(&out->items[start], out->count - start);
    return before;
}

bool tree_iter_next_versions(struct tree_iter *it, struct kv_list *out,
                             const struct kv **ret_before)
{
    uintptr_t slot;
    while ((slot = next_slot(it)) != 0) {
        size_t start = out->count;
        if (it->end.len > 0 && str_cmp(kv_key(slot_newest(slot)), it->end) >= 0)
            break;
        *ret_before = slot_versions(slot, it->after_rev, out);
        if (out->count > start)
            return true;
    }
    it->height = 0;
    return false;
}
