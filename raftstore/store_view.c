/* store_view.c - views, iterators and cursors: the state machine's, under the
 * store's names. [any] thread. */
#include "raftstore/store_internal.h"

#include "raftstore/store_history.h"

static struct mvcc_view *inner(const struct store_view *v)
{
    return (struct mvcc_view *)(uintptr_t)v;
}

static struct store_view *outer(struct mvcc_view *v)
{
    return (struct store_view *)v;
}

struct store_view *store_view(struct store *s)
{
    return outer(mvcc_view(s->mvcc));
}

struct store_view *store_view_ref(struct store_view *v)
{
    return outer(mvcc_view_ref(inner(v)));
}

void store_view_unref(struct store_view *v)
{
    mvcc_view_unref(inner(v));
}

int64_t store_view_rev(const struct store_view *v)
{
    return mvcc_view_rev(inner(v));
}

int64_t store_view_compacted(const struct store_view *v)
{
    return mvcc_view_compacted(inner(v));
}

const struct kv *store_view_get(const struct store_view *v, struct str key, int64_t rev)
{
    return mvcc_view_get(inner(v), key, rev);
}

int64_t store_view_count(const struct store_view *v, struct str key, struct str range_end,
                         int64_t rev)
{
    return mvcc_view_count(inner(v), key, range_end, rev);
}

static_assert(sizeof(struct tree_iter) <= sizeof(struct store_iter), "store_iter is too small");

int store_iter_init(struct store_iter *it, const struct store_view *v, struct str key,
                    struct str range_end, int64_t rev)
{
    return mvcc_view_iter(inner(v), (struct tree_iter *)it->opaque, key, range_end, rev);
}

const struct kv *store_iter_next(struct store_iter *it)
{
    return tree_iter_next((struct tree_iter *)it->opaque);
}

int store_view_range(const struct store_view *v, const struct txn_op *op, struct op_result *ret)
{
    return mvcc_view_range(inner(v), op, ret);
}

static_assert(sizeof(struct mvcc_hash) <= sizeof(((struct store_hash *)0)->opaque),
              "store_hash is too small");

int store_hash_init(struct store_hash *h, const struct store_view *v, int64_t rev)
{
    h->value = 0;
    return mvcc_hash_init((struct mvcc_hash *)h->opaque, inner(v), rev);
}

bool store_hash_step(struct store_hash *h, size_t keys)
{
    struct mvcc_hash *m = (struct mvcc_hash *)h->opaque;
    bool more = mvcc_hash_step(m, keys);
    h->value = (uint32_t)(m->value ^ m->value >> 32);
    return more;
}

const struct auth_state *store_view_auth(const struct store_view *v)
{
    return mvcc_view_auth(inner(v));
}

/* --- cursors -------------------------------------------------------------------------------- */

struct store_cursor {
    struct mvcc_cursor *inner;
    struct mailbox *mb;
    void (*on_ready)(void *arg);
    void *arg;
    struct mail mail;
    atomic_bool posted;
    bool freed; /* While its mail is under way. */
};

static void run_ready(struct mail *m)
{
    struct store_cursor *c = CONTAINER_OF(m, struct store_cursor, mail);
    atomic_store(&c->posted, false);
    if (c->freed)
        free(c);
    else
        c->on_ready(c->arg);
}

/* On the store thread, under the event log's lock. */
static void post_ready(void *arg)
{
    struct store_cursor *c = arg;
    if (!atomic_exchange(&c->posted, true))
        mailbox_post(c->mb, &c->mail);
}

static struct store_cursor *cursor_alloc(struct mailbox *mb, void (*on_ready)(void *arg), void *arg)
{
    struct store_cursor *c = xzalloc(sizeof(*c));
    c->mb = mb;
    c->on_ready = on_ready;
    c->arg = arg;
    c->mail.run = run_ready;
    return c;
}

static int cursor_start(struct store_cursor *c, int rc, struct store_cursor **ret)
{
    if (rc < 0) {
        free(c);
        return rc;
    }
    if (c->on_ready != NULL)
        post_ready(c); /* A first look: the cursor wakes only who found it empty. */
    *ret = c;
    return 0;
}

int store_cursor_new(struct store *s, int64_t after_rev, struct mailbox *mb,
                     void (*on_ready)(void *arg), void *arg, struct store_cursor **ret,
                     struct error *err)
{
    struct store_cursor *c = cursor_alloc(mb, on_ready, arg);
    int rc = mvcc_cursor_new(s->mvcc, after_rev, on_ready != NULL ? post_ready : NULL, c, &c->inner,
                             err);
    return cursor_start(c, rc, ret);
}

int store_cursor_new_recent(struct store *s, int64_t after_rev, struct mailbox *mb,
                            void (*on_ready)(void *arg), void *arg, struct store_cursor **ret)
{
    struct store_cursor *c = cursor_alloc(mb, on_ready, arg);
    int rc = mvcc_cursor_new_recent(s->mvcc, after_rev, post_ready, c, &c->inner);
    return cursor_start(c, rc, ret);
}

void store_cursor_filter(struct store_cursor *c, bool (*wants)(void *arg, const struct event *e))
{
    mvcc_cursor_filter(c->inner, wants, c->arg);
}

void store_cursor_free(struct store_cursor *c)
{
    if (c == NULL)
        return;
    mvcc_cursor_free(c->inner);
    c->inner = NULL;
    c->freed = true;
    if (!atomic_load(&c->posted))
        free(c);
}

const struct event_batch *store_cursor_next(struct store_cursor *c, bool *ret_lost)
{
    bool lost = false;
    const struct event_batch *b = mvcc_cursor_next(c->inner, &lost);
    if (ret_lost != NULL)
        *ret_lost = lost;
    return b;
}

int64_t store_cursor_rev(const struct store_cursor *c)
{
    return mvcc_cursor_rev(c->inner);
}
