/* token_use.c - see token_use.h. */
#include "apiserver/token_use.h"

#include "api/core_v1.h"
#include "apiserver/apiserver.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/field_manager.h"
#include "apiserver/write.h"
#include "lib/api/codec.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/map.h"
#include "raftstore/store.h"

#define DAY_S (24 * 3600)
#define DAY_CHARS 10 /* 2006-01-02 */

struct token_uses {
    struct server_thread *thread;
    struct map pending; /* Key in the store -> struct use */
    void (*on_closed)(void *arg);
    void *closed_arg;
    bool closing;
};

struct use {
    struct token_uses *uses;
    char *key;
};

static struct str day_of(struct arena *a, int64_t s)
{
    char text[TIME_TEXT_MAX];
    time_format(&(struct meta_v1_time){.seconds = s}, text);
    return arena_str(a, str_n(text, DAY_CHARS));
}

bool token_use_is_old(struct str day, int64_t now_s)
{
    AUTO_ARENA *a = arena_new(256);
    return !str_eq(day, day_of(a, now_s)) && !str_eq(day, day_of(a, now_s + DAY_S));
}

struct token_uses *token_uses_new(struct server_thread *t)
{
    struct token_uses *u = xzalloc(sizeof(*u));
    u->thread = t;
    map_init(&u->pending);
    return u;
}

static void close_if_idle(struct token_uses *u)
{
    if (!u->closing || u->pending.count != 0)
        return;
    void (*cb)(void *) = u->on_closed;
    void *arg = u->closed_arg;
    map_done(&u->pending);
    free(u);
    cb(arg);
}

void token_uses_close(struct token_uses *u, void (*on_closed)(void *arg), void *arg)
{
    u->closing = true;
    u->on_closed = on_closed;
    u->closed_arg = arg;
    close_if_idle(u);
}

/* Whether it worked the next use shows. */
static void on_txn(int code, const struct txn_result *result, void *arg)
{
    struct use *x = arg;
    struct token_uses *u = x->uses;
    UNUSED(code), UNUSED(result);
    map_remove(&u->pending, str_of(x->key));
    free(x->key);
    free(x);
    close_if_idle(u);
}

static void set_label(struct arena *a, struct meta_v1_object_meta *m, const char *key,
                      struct str value)
{
    struct api_str_entry *list = ARENA_ARRAY(a, struct api_str_entry, m->labels_count + 1);
    size_t n = 0;
    bool placed = false;
    for (size_t i = 0; i < m->labels_count; i++) {
        int by = str_cmp(m->labels[i].key, str_of(key));
        if (by >= 0 && !placed) { /* Maps are sorted. */
            list[n++] = (struct api_str_entry){str_of(key), value};
            placed = true;
        }
        if (by != 0)
            list[n++] = m->labels[i];
    }
    if (!placed)
        list[n++] = (struct api_str_entry){str_of(key), value};
    m->labels = list;
    m->labels_count = n;
}

/* The Secret with its label. */
static struct str noted(struct arena *a, const struct resource *res, struct core_v1_secret *old,
                        int64_t now_s)
{
    AUTO_BUF b = BUF_INIT;
    struct core_v1_secret *s = api_msg_clone(a, &core_v1_secret_msg, old);
    struct field_manager fm = {.arena = a,
                               .res = res,
                               .kind = res->storage,
                               .api_version = str_of(res->kind->api_version),
                               .subresource = "",
                               .manager = STR("kube-apiserver"),
                               .now_s = now_s};
    set_label(a, &s->metadata, TOKEN_LAST_USED, day_of(a, now_s));
    field_manager_update(&fm, old, s);
    s->metadata.resource_version = STR_NULL;
    stored_encode(res, s, &b);
    return arena_str(a, buf_str(&b));
}

static void write_note(struct token_uses *u, struct arena *a, struct store_view *view,
                       const struct resource *res, struct str key)
{
    struct apiserver *server = u->thread->server;
    const struct kv *kv = store_view_get(view, key, 0);
    int64_t now_s = env_wall_ns(server->env) / 1000000000;
    void *msg;
    if (kv == NULL || stored_decode(a, res, stored_value(kv), kv->mod_rev, &msg, NULL) != 0)
        return;
    struct core_v1_secret *s = msg;
    const struct str *day =
        api_str_map_get(s->metadata.labels, s->metadata.labels_count, STR(TOKEN_LAST_USED));
    if (s->metadata.deletion_timestamp != NULL || (day != NULL && !token_use_is_old(*day, now_s)))
        return;
    struct txn_build build = {.arena = a};
    struct txn txn;
    txn_build_expect(&build, key, kv->mod_rev);
    txn_build_put(&build, key, noted(a, res, s, now_s));
    txn_build_run(&build, &txn);
    struct use *x = xzalloc(sizeof(*x));
    x->uses = u;
    x->key = xstrndup(key.data, key.len);
    map_set(&u->pending, key, x);
    store_txn(server->store, &txn, &u->thread->mailbox, on_txn, x);
}

void token_uses_note(struct token_uses *u, struct str ns, struct str secret)
{
    AUTO_ARENA *a = arena_new(0);
    const struct resource *res = registry_storage(STR(""), STR("secrets"));
    struct str key = registry_key(a, res, ns, secret);
    if (u == NULL || u->closing || map_has(&u->pending, key))
        return;
    struct store_view *view = store_view(u->thread->server->store);
    write_note(u, a, view, res, key);
    store_view_unref(view);
}
