/* mvcc_view.c - reading a published state, and its hash. Any thread. */
#include "lib/base/error.h"
#include "lib/base/map.h"
#include "raftstore/mvcc_internal.h"

#include <stdatomic.h>

struct mvcc_view *mvcc_view(struct mvcc *m)
{
    pthread_mutex_lock(&m->view_lock);
    struct mvcc_view *v = mvcc_view_ref(m->current);
    pthread_mutex_unlock(&m->view_lock);
    return v;
}

struct mvcc_view *mvcc_view_ref(struct mvcc_view *v)
{
    atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
    return v;
}

void mvcc_view_unref(struct mvcc_view *v)
{
    if (v == NULL || atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) != 1)
        return;
    tree_view_unref(v->tree);
    auth_state_unref(v->auth);
    free(v);
}

int64_t mvcc_view_rev(const struct mvcc_view *v)
{
    return v->rev;
}

int64_t mvcc_view_compacted(const struct mvcc_view *v)
{
    return v->compacted;
}

uint64_t mvcc_view_applied(const struct mvcc_view *v)
{
    return v->applied;
}

struct tree_root mvcc_view_root(const struct mvcc_view *v)
{
    return tree_view_root(v->tree);
}

const struct auth_state *mvcc_view_auth(const struct mvcc_view *v)
{
    return v->auth;
}

int mvcc_view_check_rev(const struct mvcc_view *v, int64_t rev)
{
    if (rev > v->rev)
        return E_FUTURE_REV;
    return rev > 0 && rev < v->compacted ? E_EXPIRED : 0;
}

const struct kv *mvcc_view_get(const struct mvcc_view *v, struct str key, int64_t rev)
{
    if (mvcc_view_check_rev(v, rev) != 0)
        return NULL;
    return tree_get(tree_view_root(v->tree), key, MAX_OF(rev, 0));
}

int64_t mvcc_view_count(const struct mvcc_view *v, struct str key, struct str range_end,
                        int64_t rev)
{
    if (mvcc_view_check_rev(v, rev) != 0)
        return 0;
    return tree_count(tree_view_root(v->tree), key, range_end, MAX_OF(rev, 0));
}

int mvcc_view_iter(const struct mvcc_view *v, struct tree_iter *it, struct str key,
                   struct str range_end, int64_t rev)
{
    int rc = mvcc_view_check_rev(v, rev);
    if (rc != 0)
        return rc;
    tree_iter_init(it, tree_view_root(v->tree), key, range_end, MAX_OF(rev, 0));
    return 0;
}

int mvcc_view_range(const struct mvcc_view *v, const struct txn_op *op, struct op_result *ret)
{
    int rc = mvcc_view_check_rev(v, op->rev);
    if (rc == 0)
        mvcc_range(tree_view_root(v->tree), op, ret);
    return rc;
}

/* --- hash --- */

int mvcc_hash_init(struct mvcc_hash *h, const struct mvcc_view *v, int64_t rev)
{
    *h = (struct mvcc_hash){0};
    return mvcc_view_iter(v, &h->it, str_n("\0", 1), str_n("\0", 1), rev);
}

static void put_le64(uint8_t *p, int64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)((uint64_t)v >> (8 * i));
}

/* Each part is hashed under the hash so far as the seed. */
static uint64_t hash_kv(uint64_t hash, const struct kv *kv)
{
    uint8_t numbers[32];
    put_le64(numbers, kv_create_rev(kv));
    put_le64(numbers + 8, kv->mod_rev);
    put_le64(numbers + 16, kv_version(kv));
    put_le64(numbers + 24, kv_lease(kv));
    hash = base_siphash((uint64_t[]){hash, 1}, numbers, sizeof(numbers));
    hash = base_siphash((uint64_t[]){hash, 2}, kv_key(kv).data, kv_key(kv).len);
    return base_siphash((uint64_t[]){hash, 3}, kv_value(kv).data, kv_value(kv).len);
}

bool mvcc_hash_step(struct mvcc_hash *h, size_t keys)
{
    for (; keys > 0; keys--) {
        const struct kv *kv = tree_iter_next(&h->it);
        if (kv == NULL)
            return false;
        h->value = hash_kv(h->value, kv);
        h->keys++;
    }
    return true;
}
