/* watch_index.c - see watch_index.h. */
#include "raftstore/etcd/watch_index.h"

#include "lib/base/buf.h"

/* --- ends of ranges --- */

static bool is_single(const struct watch_group *g)
{
    return str_empty(g->range_end);
}

static bool is_endless(const struct watch_group *g)
{
    return g->range_end.len == 1 && g->range_end.data[0] == '\0';
}

/* Does the range end at or before key? */
static bool ends_before(const struct watch_group *g, struct str key)
{
    return !is_endless(g) && str_cmp(g->range_end, key) <= 0;
}

static const struct watch_group *farther(const struct watch_group *a, const struct watch_group *b)
{
    if (b == NULL || is_endless(a))
        return a;
    return is_endless(b) || str_cmp(b->range_end, a->range_end) > 0 ? b : a;
}

/* --- the treap: by start, then end, then options; depth is logarithmic by chance --- */

static int compare(const struct watch_group *a, const struct watch_group *b)
{
    int order = str_cmp(a->key, b->key);
    if (order == 0)
        order = str_cmp(a->range_end, b->range_end);
    return order != 0 ? order : (a->options > b->options) - (a->options < b->options);
}

static void update(struct watch_group *g)
{
    g->farthest = g;
    if (g->left != NULL)
        g->farthest = farther(g->farthest, g->left->farthest);
    if (g->right != NULL)
        g->farthest = farther(g->farthest, g->right->farthest);
}

static struct watch_group *rotate_right(struct watch_group *g)
{
    struct watch_group *top = g->left;
    g->left = top->right;
    top->right = g;
    update(g);
    update(top);
    return top;
}

static struct watch_group *rotate_left(struct watch_group *g)
{
    struct watch_group *top = g->right;
    g->right = top->left;
    top->left = g;
    update(g);
    update(top);
    return top;
}

static struct watch_group *insert(struct watch_group *at, struct watch_group *g)
{
    if (at == NULL) {
        update(g);
        return g;
    }
    if (compare(g, at) < 0) {
        at->left = insert(at->left, g);
        if (at->left->priority > at->priority)
            return rotate_right(at);
    } else {
        at->right = insert(at->right, g);
        if (at->right->priority > at->priority)
            return rotate_left(at);
    }
    update(at);
    return at;
}

/* The two subtrees of a node that goes, as one. */
static struct watch_group *join(struct watch_group *left, struct watch_group *right)
{
    if (left == NULL || right == NULL)
        return left != NULL ? left : right;
    if (left->priority > right->priority) {
        left->right = join(left->right, right);
        update(left);
        return left;
    }
    right->left = join(left, right->left);
    update(right);
    return right;
}

static struct watch_group *cut(struct watch_group *at, const struct watch_group *g)
{
    ASSERT(at != NULL);
    if (at == g)
        return join(at->left, at->right);
    if (compare(g, at) < 0)
        at->left = cut(at->left, g);
    else
        at->right = cut(at->right, g);
    update(at);
    return at;
}

static void stab(struct watch_group *at, struct str key,
                 void (*found)(struct watch_group *g, void *arg), void *arg)
{
    while (at != NULL && !ends_before(at->farthest, key)) {
        stab(at->left, key, found, arg);
        if (str_cmp(at->key, key) > 0)
            return;
        if (!ends_before(at, key))
            found(at, arg);
        at = at->right;
    }
}

/* --- the index --- */

void watch_index_init(struct watch_index *ix)
{
    *ix = (struct watch_index){.random = 0x9e3779b97f4a7c15};
    map_init(&ix->groups);
    map_init(&ix->singles);
    ix->random ^= ix->groups.seed[0];
}

void watch_index_done(struct watch_index *ix)
{
    ASSERT(ix->count == 0);
    map_done(&ix->groups);
    map_done(&ix->singles);
}

/* splitmix64 */
static uint64_t next_random(struct watch_index *ix)
{
    uint64_t v = ix->random += UINT64_C(0x9e3779b97f4a7c15);
    v = (v ^ v >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    v = (v ^ v >> 27) * UINT64_C(0x94d049bb133111eb);
    return v ^ v >> 31;
}

static void identity(struct buf *b, struct str key, struct str range_end, unsigned options)
{
    buf_putc(b, (char)options);
    buf_put_le32(b, (uint32_t)key.len);
    buf_append_str(b, key);
    buf_append_str(b, range_end);
}

static struct watch_group *group_new(struct str key, struct str range_end, unsigned options)
{
    struct watch_group *g = xzalloc(sizeof(*g));
    g->memory = xmalloc(key.len + range_end.len + 1);
    if (key.len > 0)
        memcpy(g->memory, key.data, key.len);
    if (range_end.len > 0)
        memcpy(g->memory + key.len, range_end.data, range_end.len);
    g->key = str_n(g->memory, key.len);
    g->range_end = str_n(g->memory + key.len, range_end.len);
    g->options = options;
    list_init(&g->watchers);
    list_init(&g->dirty);
    return g;
}

struct watch_group *watch_index_get(struct watch_index *ix, struct str key, struct str range_end,
                                    unsigned options)
{
    AUTO_BUF id = BUF_INIT;
    identity(&id, key, range_end, options);
    struct watch_group *g = map_get(&ix->groups, buf_str(&id));
    if (g != NULL)
        return g;
    g = group_new(key, range_end, options);
    map_set(&ix->groups, buf_str(&id), g);
    ix->count++;
    if (is_single(g)) {
        g->next = map_get(&ix->singles, key);
        map_set(&ix->singles, key, g);
    } else {
        g->priority = next_random(ix);
        ix->root = insert(ix->root, g);
    }
    return g;
}

static void remove_single(struct watch_index *ix, struct watch_group *g)
{
    struct watch_group *first = map_get(&ix->singles, g->key);
    if (first != g) {
        while (first->next != g)
            first = first->next;
        first->next = g->next;
    } else if (g->next != NULL) {
        map_set(&ix->singles, g->key, g->next);
    } else {
        map_remove(&ix->singles, g->key);
    }
}

void watch_index_remove(struct watch_index *ix, struct watch_group *g)
{
    AUTO_BUF id = BUF_INIT;
    ASSERT(list_empty(&g->watchers) && g->slice_count == 0);
    identity(&id, g->key, g->range_end, g->options);
    map_remove(&ix->groups, buf_str(&id));
    ix->count--;
    if (is_single(g))
        remove_single(ix, g);
    else
        ix->root = cut(ix->root, g);
    list_remove(&g->dirty);
    free(g->slices);
    free(g->memory);
    free(g);
}

void watch_index_find(const struct watch_index *ix, struct str key,
                      void (*found)(struct watch_group *g, void *arg), void *arg)
{
    if (ix->singles.count > 0) {
        for (struct watch_group *g = map_get(&ix->singles, key); g != NULL; g = g->next)
            found(g, arg);
    }
    stab(ix->root, key, found, arg);
}

static void check(const struct watch_group *g, uint64_t priority_max)
{
    if (g == NULL)
        return;
    ASSERT(g->priority <= priority_max);
    ASSERT(g->left == NULL || compare(g->left, g) < 0);
    ASSERT(g->right == NULL || compare(g, g->right) < 0);
    check(g->left, g->priority);
    check(g->right, g->priority);
    const struct watch_group *want = g;
    if (g->left != NULL)
        want = farther(want, g->left->farthest);
    if (g->right != NULL)
        want = farther(want, g->right->farthest);
    ASSERT(str_eq(want->range_end, g->farthest->range_end));
}

void watch_index_check(const struct watch_index *ix)
{
    check(ix->root, UINT64_MAX);
}
