/* tree_check.c - the invariants of the tree, for tests. Visits everything. */
#include "lib/base/error.h"
#include "raftstore/tree_internal.h"

struct totals {
    uint64_t live, stale, versions, bytes, gen;
    int64_t max_rev;
    uint64_t leaves;
};

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            return error_set(err, E_CORRUPT, "%s:%d: %s", __FILE__, __LINE__, #cond);              \
    } while (0)

static int check_chain(const struct chain *chain, struct totals *sum, struct error *err)
{
    const struct kv *newer = NULL;
    CHECK(chain->older != NULL || chain->b.count > 1 || !kv_live(chain->versions[0]));
    for (const struct chain *c = chain; c != NULL; c = c->older) {
        CHECK(c->b.kind == BLOCK_CHAIN && c->b.birth <= chain->b.birth);
        CHECK(c->b.count > 0 && c->b.count <= c->b.cap && c->b.cap <= CHAIN_MAX);
        sum->bytes += block_bytes(&c->b);
        sum->versions += c->b.count;
        for (unsigned i = c->b.count; i-- > 0;) {
            const struct kv *kv = c->versions[i];
            CHECK(kv->refs > 0);
            CHECK(newer == NULL ||
                  (kv->mod_rev <= newer->mod_rev && str_eq(kv_key(kv), kv_key(newer))));
            CHECK(newer == NULL || kv_live(kv) || kv_live(newer));
            sum->bytes += kv_bytes(kv);
            newer = kv;
        }
    }
    return 0;
}

static int check_leaf(const struct leaf *l, struct str low, struct str high, struct totals *sum,
                      struct error *err)
{
    unsigned live = 0, stale = 0;
    struct str before = STR_NULL;
    for (unsigned i = 0; i < l->b.count; i++) {
        const struct kv *kv = slot_newest(l->slots[i]);
        CHECK(str_cmp(kv_key(kv), low) >= 0 &&
              (high.data == NULL || str_cmp(kv_key(kv), high) < 0));
        CHECK(i == 0 || str_cmp(before, kv_key(kv)) < 0);
        before = kv_key(kv);
        live += kv_live(kv);
        sum->max_rev = MAX_OF(sum->max_rev, kv->mod_rev);
        if (slot_is_chain(l->slots[i])) {
            stale++;
            CHECK(slot_chain(l->slots[i])->b.birth <= l->b.birth);
            int rc = check_chain(slot_chain(l->slots[i]), sum, err);
            if (rc != 0)
                return rc;
        } else {
            CHECK(kv_live(kv) && kv->refs > 0);
            sum->versions++;
            sum->bytes += kv_bytes(kv);
        }
    }
    CHECK(l->b.live == live && l->b.stale == stale);
    CHECK(leaf_index_ok(l));
    sum->live += live;
    sum->stale += stale;
    sum->leaves++;
    return 0;
}

/* Recursion is bounded by TREE_HEIGHT_MAX. */
static int check_node(const struct tree_node *n, unsigned height, struct str low, struct str high,
                      struct totals *sum, struct error *err)
{
    CHECK(n->b.birth <= sum->gen);
    CHECK(n->b.count > 0);
    sum->bytes += block_bytes(&n->b);
    if (height == 1) {
        CHECK(is_leaf(n) && n->b.count <= LEAF_MAX);
        return check_leaf(as_leaf(n), low, high, sum, err);
    }
    CHECK(n->b.kind == BLOCK_INNER && n->b.count <= INNER_MAX);
    const struct inner *in = as_inner(n);
    CHECK(inner_index_ok(in));
    for (unsigned i = 0; i < in->b.count; i++) {
        const struct child *c = &in->children[i];
        CHECK((c->sep == NULL) == (i == 0));
        CHECK(c->node->b.birth <= n->b.birth);
        struct str from = i > 0 ? sep_str(c->sep) : low;
        struct str to = i + 1u < in->b.count ? sep_str(in->children[i + 1].sep) : high;
        if (c->sep != NULL) {
            CHECK(str_cmp(low, from) < 0 || low.data == NULL);
            sum->bytes += block_bytes(&c->sep->b);
        }
        struct totals below = {.gen = n->b.birth};
        int rc = check_node(c->node, height - 1, from, to, &below, err);
        if (rc != 0)
            return rc;
        CHECK(c->live == below.live && c->stale == below.stale && c->max_rev >= below.max_rev);
        sum->live += below.live;
        sum->stale += below.stale;
        sum->versions += below.versions;
        sum->bytes += below.bytes;
        sum->leaves += below.leaves;
        sum->max_rev = MAX_OF(sum->max_rev, c->max_rev);
    }
    return 0;
}

static int check_views(const struct tree *t, struct error *err)
{
    uint64_t bytes = 0, count = 0, gen = 0;
    LIST_FOREACH (l, &t->views) {
        const struct tree_view *v = LIST_ENTRY(l, struct tree_view, link);
        CHECK(v->gen > gen && v->gen < t->gen);
        gen = v->gen;
        count++;
        for (const struct dead_chunk *c = v->dead; c != NULL; c = c->next) {
            CHECK(c->count > 0 && c->count <= DEAD_CHUNK);
            for (size_t i = 0; i < c->count; i++) {
                uintptr_t item = c->items[i];
                if (item & 1) {
                    const struct kv *kv = (const struct kv *)(item & ~(uintptr_t)1);
                    CHECK(kv->mod_rev <= v->root.rev);
                    bytes += kv_bytes(kv);
                } else {
                    CHECK(((const struct block *)item)->birth <= v->gen);
                    bytes += block_bytes((const struct block *)item);
                }
            }
        }
    }
    CHECK(count == t->view_count);
    CHECK(bytes == t->dead_bytes);
    return 0;
}

int tree_check(const struct tree *t, struct error *err)
{
    struct totals sum = {.gen = t->gen};
    CHECK((t->root == NULL) == (t->height == 0));
    if (t->root != NULL) {
        int rc = check_node(t->root, t->height, STR_NULL, STR_NULL, &sum, err);
        if (rc != 0)
            return rc;
    }
    CHECK(sum.live == t->keys && sum.versions == t->versions);
    CHECK(sum.bytes == t->bytes);
    CHECK(sum.max_rev <= t->rev);
    return check_views(t, err);
}
