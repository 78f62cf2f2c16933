/* key_wait.c - see key_wait.h. */
#include "raftstore/etcd/key_wait.h"

#include "lib/base/map.h"
#include "raftstore/etcd/server_internal.h"

#define ROUND_BATCHES 256 /* Of the event log, before others have the loop. */

struct key_waits {
    struct etcd_thread *thread;
    struct store_cursor *cursor;
    struct map keys; /* To struct key_list. */
    struct list prefixes, all;
    size_t count;
    bool running; /* Inside callbacks: nothing is freed. */
    struct deferred more;
};

/* Who waits for one key. */
struct key_list {
    struct list waits;
    bool running;
};

static void on_ready(void *arg);

static void cursor_open(struct key_waits *k)
{
    struct store *s = etcd_thread_store(k->thread);
    struct error err;
    int rc;
    /* The history ends at the newest view: it can only be older for a moment. */
    do {
        struct store_view *v = store_view(s);
        rc = store_cursor_new(s, store_view_rev(v), etcd_thread_mailbox(k->thread), on_ready, k,
                              &k->cursor, &err);
        store_view_unref(v);
    } while (rc == E_EXPIRED);
    ASSERT_CMP(rc, ==, 0);
}

static void waits_free_if_unused(struct key_waits *k)
{
    if (k->count > 0 || k->running)
        return;
    k->thread->waits = NULL;
    deferred_cancel(&k->more);
    store_cursor_free(k->cursor);
    map_done(&k->keys);
    free(k);
}

/* Tells every wait of the list, which callbacks may edit. */
static void tell(struct list *waits, const struct event *event, int64_t rev)
{
    struct list local;
    list_init(&local);
    list_splice(&local, waits);
    for (struct list *l; (l = list_pop_front(&local)) != NULL;) {
        struct key_wait *w = LIST_ENTRY(l, struct key_wait, link);
        list_push_back(waits, &w->link);
        w->on_event(w, event, rev);
    }
}

static void list_free_if_unused(struct key_waits *k, struct str key, struct key_list *list)
{
    if (!list_empty(&list->waits) || list->running)
        return;
    map_remove(&k->keys, key);
    free(list);
}

static void tell_prefixes(struct key_waits *k, const struct event *event, int64_t rev)
{
    struct list local;
    list_init(&local);
    list_splice(&local, &k->prefixes);
    for (struct list *l; (l = list_pop_front(&local)) != NULL;) {
        struct key_wait *w = LIST_ENTRY(l, struct key_wait, link);
        list_push_back(&k->prefixes, &w->link);
        if (str_has_prefix(kv_key(event->kv), w->key))
            w->on_event(w, event, rev);
    }
}

static void tell_batch(struct key_waits *k, const struct event_batch *b)
{
    for (uint32_t i = 0; i < b->count; i++) {
        const struct event *e = &b->events[i];
        struct key_list *list = map_get(&k->keys, kv_key(e->kv));
        if (list != NULL) {
            list->running = true;
            tell(&list->waits, e, b->rev);
            list->running = false;
            list_free_if_unused(k, kv_key(e->kv), list);
        }
        if (!list_empty(&k->prefixes))
            tell_prefixes(k, e, b->rev);
    }
}

/* The cursor fell behind what is kept: from now on, and everybody looks again. */
static void start_again(struct key_waits *k)
{
    store_cursor_free(k->cursor);
    cursor_open(k);
    struct list local;
    list_init(&local);
    list_splice(&local, &k->all);
    for (struct list *l; (l = list_pop_front(&local)) != NULL;) {
        struct key_wait *w = LIST_ENTRY(l, struct key_wait, all_link);
        list_push_back(&k->all, &w->all_link);
        w->on_event(w, NULL, 0);
    }
}

static void run_round(struct key_waits *k)
{
    LOOP_CALLBACK("etcd key waits");
    const struct event_batch *b = NULL;
    bool lost = false;
    k->running = true;
    for (unsigned i = 0; i < ROUND_BATCHES && k->count > 0; i++) {
        b = store_cursor_next(k->cursor, &lost);
        if (b == NULL)
            break;
        tell_batch(k, b);
    }
    if (lost)
        start_again(k);
    else if (b != NULL && k->count > 0)
        deferred_post(&k->thread->defer, &k->more);
    k->running = false;
    waits_free_if_unused(k);
}

static void on_ready(void *arg)
{
    run_round(arg);
}

static void run_more(struct deferred *d)
{
    run_round(CONTAINER_OF(d, struct key_waits, more));
}

void key_wait_start(struct etcd_thread *t, struct key_wait *w)
{
    ASSERT(w->waits == NULL);
    struct key_waits *k = t->waits;
    if (k == NULL) {
        k = xzalloc(sizeof(*k));
        k->thread = t;
        map_init(&k->keys);
        list_init(&k->prefixes);
        list_init(&k->all);
        deferred_init(&k->more, run_more);
        t->waits = k;
        cursor_open(k);
    }
    w->waits = k;
    k->count++;
    list_push_back(&k->all, &w->all_link);
    if (w->prefix) {
        list_push_back(&k->prefixes, &w->link);
        return;
    }
    struct key_list *list = map_get(&k->keys, w->key);
    if (list == NULL) {
        list = xzalloc(sizeof(*list));
        list_init(&list->waits);
        map_set(&k->keys, w->key, list);
    }
    list_push_back(&list->waits, &w->link);
}

void key_wait_stop(struct key_wait *w)
{
    struct key_waits *k = w->waits;
    if (k == NULL)
        return;
    w->waits = NULL;
    list_remove(&w->link);
    list_remove(&w->all_link);
    k->count--;
    if (!w->prefix)
        list_free_if_unused(k, w->key, map_get(&k->keys, w->key));
    waits_free_if_unused(k);
}
