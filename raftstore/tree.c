/* tree.c - the writer: putting versions, splitting nodes.
 *
 * A put walks to the leaf, makes the path its own (copying nodes that a view may
 * see), changes the slot, and walks back up with the change of the counts. Only
 * a new key can overflow a leaf; splits then climb as far as they must. */
#include "lib/base/error.h"
#include "raftstore/kv_heap.h"
#include "raftstore/tree_internal.h"

struct tree *tree_new(void)
{
    struct tree *t = xzalloc(sizeof(*t));
    t->gen = 1;
    t->heap = kv_heap_new();
    list_init(&t->views);
    return t;
}

struct tree_root tree_working(const struct tree *t)
{
    return (struct tree_root){t->root, t->height, t->rev, (int64_t)t->keys};
}

struct kv_heap *tree_heap(const struct tree *t)
{
    return t->heap;
}

void tree_set_rev(struct tree *t, int64_t rev)
{
    ASSERT_CMP(rev, >=, t->rev);
    t->rev = rev;
}

void tree_stats(const struct tree *t, struct tree_stats *ret)
{
    struct kv_heap_stats heap;
    kv_heap_stats(t->heap, &heap);
    *ret = (struct tree_stats){.bytes = t->bytes,
                               .dead_bytes = t->dead_bytes,
                               .keys = t->keys,
                               .versions = t->versions,
                               .views = t->view_count,
                               .lost_bytes = heap.bytes - MIN_OF(heap.live, heap.bytes)};
}

/* --- blocks --- */

static void *block_new(struct tree *t, enum block_kind kind, size_t size)
{
    struct block *b = xmalloc(size);
    *b = (struct block){.birth = t->gen, .kind = (uint8_t)kind};
    t->bytes += alloc_bytes(size);
    return b;
}

static void node_copy(struct tree_node *to, const struct tree_node *n)
{
    unsigned count = n->b.count;
    if (is_leaf(n)) {
        struct leaf *l = (struct leaf *)to;
        memcpy(l, n, offsetof(struct leaf, slots) + count * sizeof(l->slots[0]));
        memcpy(l->heads, as_leaf(n)->heads, count * sizeof(l->heads[0]));
    } else {
        struct inner *in = (struct inner *)to;
        memcpy(in, n, offsetof(struct inner, children) + count * sizeof(in->children[0]));
        memcpy(in->heads, as_inner(n)->heads, count * sizeof(in->heads[0]));
    }
}

static struct tree_node *node_new(struct tree *t, enum block_kind kind)
{
    struct spare_list *spare = kind == BLOCK_LEAF ? &t->spare_leaves : &t->spare_inners;
    size_t size = kind == BLOCK_LEAF ? sizeof(struct leaf) : sizeof(struct inner);
    struct block *b = (struct block *)spare->first;
    if (b == NULL)
        return block_new(t, kind, size);
    spare->first = spare->first->next;
    spare->count--;
    *b = (struct block){.birth = t->gen, .kind = (uint8_t)kind};
    t->bytes += alloc_bytes(size);
    return (struct tree_node *)b;
}

struct tree_node *tree_own_node(struct tree *t, struct tree_node *n)
{
    if (n->b.birth == t->gen)
        return n;
    struct tree_node *copy = node_new(t, (enum block_kind)n->b.kind);
    node_copy(copy, n);
    copy->b.birth = t->gen;
    tree_kill_block(t, &n->b);
    return copy;
}

void tree_own_path(struct tree *t, struct path *p)
{
    p->node[0] = t->root = tree_own_node(t, t->root);
    for (unsigned level = 0; level + 1 < t->height; level++) {
        struct child *c = &((struct inner *)p->node[level])->children[p->at[level]];
        p->node[level + 1] = c->node = tree_own_node(t, c->node);
    }
}

void child_summarise(struct child *c)
{
    if (is_leaf(c->node)) {
        c->live = c->node->b.live;
        c->stale = c->node->b.stale;
        c->max_rev = 0;
        for (unsigned i = 0; i < c->node->b.count; i++)
            c->max_rev = MAX_OF(c->max_rev, slot_newest(as_leaf(c->node)->slots[i])->mod_rev);
        return;
    }
    c->live = c->stale = 0;
    c->max_rev = 0;
    for (unsigned i = 0; i < c->node->b.count; i++) {
        const struct child *below = &as_inner(c->node)->children[i];
        c->live += below->live;
        c->stale += below->stale;
        c->max_rev = MAX_OF(c->max_rev, below->max_rev);
    }
}

/* --- chains --- */

struct chain *tree_chain_new(struct tree *t, struct chain *older, unsigned cap)
{
    struct chain *c = block_new(t, BLOCK_CHAIN, sizeof(*c) + cap * sizeof(c->versions[0]));
    c->b.cap = (uint8_t)cap;
    c->older = older;
    return c;
}

/* Sizes that fill malloc's steps of 16 bytes: 2, 4, 8, 16, 32. */
static unsigned chain_cap(unsigned count)
{
    unsigned cap = 2;
    while (cap < count)
        cap *= 2;
    return MIN_OF(cap, (unsigned)CHAIN_MAX);
}

static uintptr_t slot_append(struct tree *t, uintptr_t slot, const struct kv *kv)
{
    struct chain *c, *old = slot_is_chain(slot) ? slot_chain(slot) : NULL;
    if (old == NULL) {
        c = tree_chain_new(t, NULL, 2);
        c->versions[c->b.count++] = (const struct kv *)slot;
    } else if (old->b.count == CHAIN_MAX) {
        c = tree_chain_new(t, old, 4);
    } else if (old->b.birth == t->gen && old->b.count < old->b.cap) {
        c = old;
    } else {
        c = tree_chain_new(t, old->older, chain_cap(old->b.count + 1u));
        c->b.count = old->b.count;
        memcpy(c->versions, old->versions, old->b.count * sizeof(c->versions[0]));
        tree_kill_block(t, &old->b);
    }
    c->versions[c->b.count++] = kv;
    return slot_of_chain(c);
}

/* --- splitting --- */

/* The shortest key that tells the two apart. */
static struct sep *sep_between(struct tree *t, struct str left, struct str right)
{
    size_t n = 0;
    while (n < left.len && left.data[n] == right.data[n])
        n++;
    n++;
    struct sep *s = block_new(t, BLOCK_SEP, sizeof(*s) + n);
    s->b.stale = (uint32_t)n;
    memcpy(s->bytes, right.data, n);
    return s;
}

static void leaf_count(struct leaf *l)
{
    l->b.live = 0;
    l->b.stale = 0;
    for (unsigned i = 0; i < l->b.count; i++) {
        l->b.live = (uint8_t)(l->b.live + kv_live(slot_newest(l->slots[i])));
        l->b.stale += slot_is_chain(l->slots[i]);
    }
}

/* Moves what stands from `from` on into a new right neighbour. */
static struct tree_node *leaf_split(struct tree *t, struct leaf *l, unsigned from,
                                    struct sep **ret_sep)
{
    struct leaf *right = (struct leaf *)node_new(t, BLOCK_LEAF);
    right->b.count = (uint8_t)(l->b.count - from);
    memcpy(right->slots, &l->slots[from], right->b.count * sizeof(l->slots[0]));
    l->b.count = (uint8_t)from;
    leaf_count(l);
    leaf_count(right);
    leaf_index(l);
    leaf_index(right);
    *ret_sep = sep_between(t, kv_key(slot_newest(l->slots[from - 1])),
                           kv_key(slot_newest(right->slots[0])));
    return (struct tree_node *)right;
}

static struct tree_node *inner_split(struct tree *t, struct inner *in, unsigned from,
                                     struct sep **ret_sep)
{
    struct inner *right = (struct inner *)node_new(t, BLOCK_INNER);
    right->b.count = (uint8_t)(in->b.count - from);
    memcpy(right->children, &in->children[from], right->b.count * sizeof(in->children[0]));
    in->b.count = (uint8_t)from;
    *ret_sep = take(right->children[0].sep);
    inner_index(in);
    inner_index(right);
    return (struct tree_node *)right;
}

/* Where to cut a full node that gets an item at `at`: keys that arrive in order
 * leave full nodes behind. */
static unsigned split_point(unsigned count, unsigned at)
{
    return at == count ? count - 1 : count / 2;
}

static void inner_insert(struct inner *in, unsigned at, struct tree_node *node, struct sep *sep)
{
    ASSERT_CMP(in->b.count, <, INNER_MAX);
    memmove(&in->children[at + 1], &in->children[at], (in->b.count - at) * sizeof(in->children[0]));
    memmove(&in->heads[at + 1], &in->heads[at], (in->b.count - at) * sizeof(in->heads[0]));
    in->children[at] = (struct child){.node = node, .sep = sep};
    child_summarise(&in->children[at]);
    in->b.count++;
    inner_index_one(in, at);
}

static void grow_root(struct tree *t, struct tree_node *right, struct sep *sep)
{
    ASSERT_CMP(t->height, <, TREE_HEIGHT_MAX);
    struct inner *root = (struct inner *)node_new(t, BLOCK_INNER);
    root->children[0] = (struct child){.node = t->root};
    root->b.count = 1;
    child_summarise(&root->children[0]);
    inner_insert(root, 1, right, sep);
    t->root = (struct tree_node *)root;
    t->height++;
}

/* Puts `right`, split off the node at `level` of the path, into the parent. */
static void insert_above(struct tree *t, struct path *p, unsigned level, struct tree_node *right,
                         struct sep *sep)
{
    while (level > 0) {
        struct inner *parent = (struct inner *)p->node[--level];
        unsigned at = p->at[level] + 1;
        struct tree_node *next = NULL;
        struct sep *next_sep = NULL;
        child_summarise(&parent->children[p->at[level]]);
        if (parent->b.count == INNER_MAX) {
            unsigned from = split_point(INNER_MAX, at);
            next = inner_split(t, parent, from, &next_sep);
            if (at > from) {
                parent = (struct inner *)next;
                at -= from;
            }
        }
        inner_insert(parent, at, right, sep);
        if (next == NULL)
            return;
        right = next;
        sep = next_sep;
    }
    grow_root(t, right, sep);
}

static void leaf_insert(struct leaf *l, unsigned at, uintptr_t slot)
{
    memmove(&l->slots[at + 1], &l->slots[at], (l->b.count - at) * sizeof(l->slots[0]));
    memmove(&l->heads[at + 1], &l->heads[at], (l->b.count - at) * sizeof(l->heads[0]));
    l->slots[at] = slot;
    l->b.count++;
    leaf_index_one(l, at);
    l->b.live = (uint8_t)(l->b.live + kv_live(slot_newest(slot)));
    l->b.stale += slot_is_chain(slot);
}

/* A new key; the counts above already know of it. */
static void insert_key(struct tree *t, struct path *p, unsigned at, uintptr_t slot)
{
    struct leaf *l = (struct leaf *)p->node[t->height - 1];
    if (l->b.count < LEAF_MAX) {
        leaf_insert(l, at, slot);
        return;
    }
    unsigned from = split_point(LEAF_MAX, at), leaf_level = t->height - 1;
    struct sep *sep;
    struct tree_node *right = leaf_split(t, l, from, &sep);
    /* Between the two halves, the separator decides: it may be shorter than the
     * right half's first key. */
    if (at > from || (at == from && str_cmp(kv_key(slot_newest(slot)), sep_str(sep)) >= 0))
        leaf_insert((struct leaf *)right, at - from, slot);
    else
        leaf_insert(l, at, slot);
    insert_above(t, p, leaf_level, right, sep);
}

/* --- putting --- */

static void first_key(struct tree *t, uintptr_t slot)
{
    struct leaf *l = (struct leaf *)node_new(t, BLOCK_LEAF);
    leaf_insert(l, 0, slot);
    t->root = (struct tree_node *)l;
    t->height = 1;
    t->keys = l->b.live;
}

bool tree_find(const struct tree *t, struct str key, struct path *p)
{
    const struct tree_node *n = t->root;
    unsigned level = 0;
    for (; !is_leaf(n); level++) {
        p->at[level] = inner_find(as_inner(n), key);
        n = as_inner(n)->children[p->at[level]].node;
    }
    bool equal;
    p->at[level] = leaf_find(as_leaf(n), key, &equal);
    return equal;
}

static void update_counts(struct tree *t, struct path *p, int live, int stale, int64_t rev)
{
    for (unsigned level = 0; level + 1 < t->height; level++) {
        struct child *c = &((struct inner *)p->node[level])->children[p->at[level]];
        c->live += (uint32_t)live;
        c->stale += (uint32_t)stale;
        c->max_rev = MAX_OF(c->max_rev, rev);
    }
    t->keys += (uint64_t)(int64_t)live;
}

static void put_version(struct tree *t, struct path *p, const struct kv *kv)
{
    struct leaf *l = (struct leaf *)p->node[t->height - 1];
    uintptr_t *slot = &l->slots[p->at[t->height - 1]];
    int live = (int)kv_live(kv) - (int)kv_live(slot_newest(*slot));
    int stale = !slot_is_chain(*slot);
    ASSERT(kv_live(kv) || live == -1);
    *slot = slot_append(t, *slot, kv);
    l->b.live = (uint8_t)(l->b.live + live);
    l->b.stale += (uint32_t)stale;
    update_counts(t, p, live, stale, kv->mod_rev);
}

static void add_version(struct tree *t, const struct kv *kv)
{
    t->rev = MAX_OF(t->rev, kv->mod_rev);
    t->versions++;
    t->bytes += kv_bytes(kv);
}

static uintptr_t first_slot(struct tree *t, const struct kv *kv)
{
    if (kv_live(kv))
        return (uintptr_t)kv;
    struct chain *c = tree_chain_new(t, NULL, 2);
    c->versions[c->b.count++] = kv;
    return slot_of_chain(c);
}

/* With `p` from find(): the key is not there yet. */
static void put_key(struct tree *t, struct path *p, const struct kv *kv)
{
    uintptr_t slot = first_slot(t, kv);
    if (t->root == NULL) {
        first_key(t, slot);
        return;
    }
    unsigned at = p->at[t->height - 1];
    tree_own_path(t, p);
    update_counts(t, p, kv_live(kv), slot_is_chain(slot), kv->mod_rev);
    insert_key(t, p, at, slot);
}

void tree_put(struct tree *t, struct kv *kv)
{
    struct path p;
    ASSERT_CMP(kv->mod_rev, >=, t->rev);
    add_version(t, kv);
    if (t->root != NULL && tree_find(t, kv_key(kv), &p)) {
        tree_own_path(t, &p);
        put_version(t, &p, kv);
        return;
    }
    ASSERT(kv_live(kv));
    put_key(t, &p, kv);
}

/* The last key's newest version; NULL in an empty tree. */
static const struct kv *last_version(const struct tree *t)
{
    const struct tree_node *n = t->root;
    if (n == NULL)
        return NULL;
    while (!is_leaf(n))
        n = as_inner(n)->children[n->b.count - 1].node;
    return slot_newest(as_leaf(n)->slots[n->b.count - 1]);
}

int tree_load(struct tree *t, struct kv *kv)
{
    const struct kv *last = last_version(t);
    int order = last != NULL ? str_cmp(kv_key(last), kv_key(kv)) : -1;
    bool fits =
        order < 0 || (order == 0 && last->mod_rev <= kv->mod_rev && (kv_live(kv) || kv_live(last)));
    if (!fits)
        return E_CORRUPT;
    struct path p;
    add_version(t, kv);
    if (t->root != NULL)
        tree_find(t, kv_key(kv), &p);
    if (order < 0) {
        put_key(t, &p, kv);
        return 0;
    }
    tree_own_path(t, &p);
    put_version(t, &p, kv);
    return 0;
}
