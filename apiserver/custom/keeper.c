/* keeper.c - see keeper.h. One transaction at a time; after each, everything is
 * looked at again. */
#include "apiserver/custom/keeper.h"

#include "api/apiextensions_v1.h"
#include "apiserver/apiserver.h"
#include "apiserver/custom/definition.h"
#include "apiserver/custom/names.h"
#include "apiserver/custom/set.h"
#include "apiserver/custom/stored.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/field_manager.h"
#include "apiserver/wire.h"
#include "apiserver/write.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/map.h"
#include "raftstore/store.h"

#include <inttypes.h>
#include <stdlib.h>

#define crd_t struct apiextensions_v1_custom_resource_definition

enum { WIRE_SPEC = 2, WIRE_STATUS = 3, WIRE_SPEC_VERSIONS = 7 };

#define RETRY_MS 500u
#define BATCH_OBJECTS 100u /* Deleted by one transaction. */
#define FINALIZER "customresourcecleanup.apiextensions.k8s.io"

/* A definition without its versions, which are most of it. */
struct known {
    int64_t mod_rev;
    unsigned seen; /* In which look. */
    struct arena *arena;
    const crd_t *crd;
};

struct custom_keeper {
    struct server_thread *thread;
    struct map known; /* By key. */
    unsigned looks;
    uv_timer_t timer;
    bool pending; /* A transaction is under way. */
    bool again;   /* Something changed meanwhile. */
    bool closing;
    void (*on_closed)(void *arg);
    void *closed_arg;
};

/* One look at the store. */
struct look {
    struct custom_keeper *keeper;
    struct arena *arena;
    struct store_view *view;
    const struct resource *res; /* customresourcedefinitions */
    const struct kv **kvs;
    const crd_t **all;
    size_t count, cap, kv_cap;
    int64_t now_s;
    struct txn_build txn;
    bool waits; /* For something that no definition's change will tell. */
};

static void run(struct custom_keeper *k);

/* --- writing ----------------------------------------------------------------------------- */
static void close_if_idle(struct custom_keeper *k);

static void on_timer(uv_timer_t *t)
{
    run(t->data);
}

static void on_txn(int code, const struct txn_result *result, void *arg)
{
    struct custom_keeper *k = arg;
    UNUSED(result); /* Not succeeded: somebody else was first, which a look will show. */
    k->pending = false;
    if (k->closing)
        close_if_idle(k);
    else if (code != 0)
        uv_timer_start(&k->timer, on_timer, RETRY_MS, 0);
    else
        run(k);
}

/* old and crd are without versions: those stay as they are stored. */
static void put_definition(struct look *l, const struct kv *kv, crd_t *crd, const crd_t *old)
{
    AUTO_BUF meta = BUF_INIT;
    AUTO_BUF status = BUF_INIT;
    AUTO_BUF wire = BUF_INIT;
    AUTO_BUF value = BUF_INIT;
    struct str raw, key = arena_str(l->arena, kv_key(kv));
    struct field_manager fm = {.arena = l->arena,
                               .res = l->res,
                               .kind = l->res->storage,
                               .api_version = str_of(l->res->kind->api_version),
                               .subresource = "status",
                               .manager = STR("kube-apiserver"),
                               .now_s = l->now_s};
    if (stored_raw(stored_value(kv), &raw, NULL) != 0)
        return;
    field_manager_update(&fm, old, crd);
    crd->metadata.resource_version = STR_NULL;
    api_pb_encode(&meta_v1_object_meta_msg, &crd->metadata, &meta);
    api_pb_encode(&apiextensions_v1_custom_resource_definition_status_msg, &crd->status, &status);
    wire_put_bytes(WIRE_OBJECT_META, buf_str(&meta), &wire);
    wire_put_bytes(WIRE_SPEC, wire_bytes(raw, WIRE_SPEC), &wire);
    wire_put_bytes(WIRE_STATUS, buf_str(&status), &wire);
    api_envelope_write(str_of(l->res->storage->api_version), str_of(l->res->storage->kind),
                       buf_str(&wire), &value);
    txn_build_expect(&l->txn, key, kv->mod_rev);
    txn_build_put(&l->txn, key, arena_str(l->arena, buf_str(&value)));
}

static void delete_definition(struct look *l, const struct kv *kv)
{
    struct str key = arena_str(l->arena, kv_key(kv));
    txn_build_expect(&l->txn, key, kv->mod_rev);
    txn_build_delete(&l->txn, key);
}

/* --- names --------------------------------------------------------------------------------- */
static void look_at_names(struct look *l, size_t i)
{
    crd_t *crd = api_msg_clone(l->arena, l->res->storage->msg, l->all[i]);
    if (custom_names_accept(l->arena, crd, l->all, l->count, l->now_s))
        put_definition(l, l->kvs[i], crd, l->all[i]);
}

/* --- removing objects ------------------------------------------------------------------------ */
static bool has_cleanup(const crd_t *crd)
{
    for (size_t i = 0; i < crd->metadata.finalizers_count; i++)
        if (str_eqc(crd->metadata.finalizers[i], FINALIZER))
            return true;
    return false;
}

static void delete_object(struct look *l, const struct custom_definition *d, const struct kv *kv)
{
    struct api_custom *x;
    struct str key = arena_str(l->arena, kv_key(kv));
    if (custom_stored_read(l->arena, d, stored_value(kv), kv->mod_rev, &x, NULL) == 0) {
        struct meta_v1_object_meta *m = &x->metadata;
        const struct api_kind *k = &custom_version_of_msg(x->msg)->kind;
        if (m->finalizers_count != 0) {
            l->waits = true;
            if (m->deletion_timestamp != NULL)
                return;
            AUTO_BUF b = BUF_INIT;
            m->deletion_timestamp = ARENA_NEW(l->arena, struct meta_v1_time);
            m->deletion_timestamp->seconds = l->now_s;
            m->has_deletion_grace_period_seconds = true;
            m->deletion_grace_period_seconds = 0;
            m->generation++;
            m->resource_version = STR_NULL;
            api_json_encode(k->msg, x, str_of(k->api_version), str_of(k->kind), &b);
            txn_build_expect(&l->txn, key, kv->mod_rev);
            txn_build_put(&l->txn, key, arena_str(l->arena, buf_str(&b)));
            return;
        }
    }
    txn_build_expect(&l->txn, key, kv->mod_rev);
    txn_build_delete(&l->txn, key);
}

/* True: there are some. Operations are added for those that can go or be marked. */
static bool delete_objects(struct look *l, const struct custom_definition *d)
{
    const struct resource *res = &d->storage->res;
    struct store_iter it;
    bool some = false;
    struct str end =
        arena_printf(l->arena, STR_FMT "0", STR_ARG(str_sub(res->prefix, 0, res->prefix.len - 1)));
    if (store_iter_init(&it, l->view, res->prefix, end, 0) != 0)
        return true;
    for (const struct kv *kv;
         l->txn.op_count < BATCH_OBJECTS && (kv = store_iter_next(&it)) != NULL;) {
        some = true;
        delete_object(l, d, kv);
    }
    return some;
}

static void drop_finalizer(struct arena *a, struct meta_v1_object_meta *m)
{
    struct str *kept = ARENA_ARRAY(a, struct str, m->finalizers_count + 1);
    size_t n = 0;
    for (size_t i = 0; i < m->finalizers_count; i++)
        if (!str_eqc(m->finalizers[i], FINALIZER))
            kept[n++] = m->finalizers[i];
    m->finalizers = kept;
    m->finalizers_count = n;
}

static bool is_in_progress(const crd_t *crd)
{
    for (size_t i = 0; i < crd->status.conditions_count; i++)
        if (str_eqc(crd->status.conditions[i].type, "Terminating"))
            return str_eqc(crd->status.conditions[i].reason, "InstanceDeletionInProgress");
    return false;
}

/* These groups' objects stand where a definition's would; they are not its own. */
static bool is_overlapping(const crd_t *crd)
{
    return str_eqc(crd->metadata.name, "apiservices.apiregistration.k8s.io") ||
           str_eqc(crd->metadata.name, "customresourcedefinitions.apiextensions.k8s.io");
}

/* What is told of a definition that other finalizers keep. */
static void set_completed(struct look *l, crd_t *crd)
{
    const char *reason = "InstanceDeletionCompleted", *message = "removed all instances";
    if (is_overlapping(crd)) {
        reason = "OverlappingBuiltInResource";
        message = "instances overlap with built-in resources in storage";
    } else if (!custom_condition(crd, "Established")) {
        reason = "NeverEstablished";
        message = "resource was never established";
    }
    (void)custom_condition_set(l->arena, crd, "Terminating", false, reason, str_of(message),
                               l->now_s);
}

static void look_at_deleted(struct look *l, size_t i)
{
    const crd_t *old = l->all[i];
    const struct custom_definition *d = custom_set_definition(old->metadata.name);
    if (!has_cleanup(old))
        return;
    crd_t *crd = api_msg_clone(l->arena, l->res->storage->msg, old);
    if (d != NULL && !is_in_progress(old)) {
        (void)custom_condition_set(l->arena, crd, "Terminating", true, "InstanceDeletionInProgress",
                                   STR("CustomResource deletion is in progress"), l->now_s);
        put_definition(l, l->kvs[i], crd, old);
        return;
    }
    if (d != NULL && delete_objects(l, d))
        return;
    drop_finalizer(l->arena, &crd->metadata);
    if (crd->metadata.finalizers_count == 0) {
        delete_definition(l, l->kvs[i]);
        return;
    }
    set_completed(l, crd);
    put_definition(l, l->kvs[i], crd, old);
}

/* --- looking ------------------------------------------------------------------------------------
 */
static void known_free(struct known *k)
{
    if (k == NULL)
        return;
    arena_free(k->arena);
    free(k);
}

static const crd_t *decode_light(struct arena *a, const struct resource *res, const struct kv *kv)
{
    AUTO_BUF spec = BUF_INIT;
    AUTO_BUF wire = BUF_INIT;
    struct str raw;
    if (stored_raw(stored_value(kv), &raw, NULL) != 0)
        return NULL;
    wire_without(wire_bytes(raw, WIRE_SPEC), WIRE_SPEC_VERSIONS, &spec);
    wire_without(raw, WIRE_SPEC, &wire);
    wire_put_bytes(WIRE_SPEC, buf_str(&spec), &wire);
    crd_t *crd = api_msg_new(a, res->storage->msg);
    if (api_pb_decode(a, res->storage->msg, arena_str(a, buf_str(&wire)), crd, NULL) != 0)
        return NULL;
    crd->metadata.resource_version = arena_printf(a, "%" PRId64, kv->mod_rev);
    return crd;
}

static const crd_t *find_known(struct look *l, const struct kv *kv)
{
    struct custom_keeper *keeper = l->keeper;
    struct known *k = map_get(&keeper->known, kv_key(kv));
    if (k == NULL || k->mod_rev != kv->mod_rev) {
        struct arena *a = arena_new(0);
        const crd_t *crd = decode_light(a, l->res, kv);
        if (crd == NULL) {
            arena_free(a);
            return NULL;
        }
        known_free(k);
        k = xzalloc(sizeof(*k));
        *k = (struct known){.mod_rev = kv->mod_rev, .arena = a, .crd = crd};
        map_set(&keeper->known, kv_key(kv), k);
    }
    k->seen = keeper->looks;
    return k->crd;
}

/* Forgets those that are gone. */
static void forget(struct look *l)
{
    struct map *m = &l->keeper->known;
    struct known *gone;
    do {
        struct str key;
        size_t pos = 0;
        void *value;
        gone = NULL;
        while (gone == NULL && map_next(m, &pos, &key, &value))
            if (((struct known *)value)->seen != l->keeper->looks)
                gone = map_remove(m, arena_str(l->arena, key));
        known_free(gone);
    } while (gone != NULL);
}

static void read_definitions(struct look *l)
{
    struct store_iter it;
    struct str from = STR(CUSTOM_DEFINITIONS);
    struct str end = arena_printf(l->arena, STR_FMT "0", STR_ARG(str_sub(from, 0, from.len - 1)));
    l->keeper->looks++;
    if (store_iter_init(&it, l->view, from, end, 0) != 0)
        return;
    for (const struct kv *kv; (kv = store_iter_next(&it)) != NULL;) {
        const crd_t *crd = find_known(l, kv);
        if (crd == NULL)
            continue;
        l->kvs = arena_grow(l->arena, (void *)l->kvs, l->count, &l->kv_cap, sizeof(*l->kvs));
        l->all = arena_grow(l->arena, (void *)l->all, l->count, &l->cap, sizeof(*l->all));
        l->kvs[l->count] = kv;
        l->all[l->count++] = crd;
    }
    if (l->count != l->keeper->known.count)
        forget(l);
}

static void commit(struct look *l)
{
    struct custom_keeper *k = l->keeper;
    struct txn txn;
    k->pending = true;
    txn_build_run(&l->txn, &txn);
    store_txn(k->thread->server->store, &txn, &k->thread->mailbox, on_txn, k);
}

static void run(struct custom_keeper *k)
{
    if (k->pending || k->closing) {
        k->again = true;
        return;
    }
    AUTO_ARENA *a = arena_new(0);
    struct apiserver *s = k->thread->server;
    struct look l = {
        .keeper = k,
        .arena = a,
        .view = store_view(s->store),
        .res = registry_storage(STR("apiextensions.k8s.io"), STR("customresourcedefinitions")),
        .now_s = env_wall_ns(s->env) / 1000000000,
        .txn = {.arena = a}};
    k->again = false;
    uv_timer_stop(&k->timer);
    (void)custom_set_sync(l.view);
    read_definitions(&l);
    for (size_t i = 0; i < l.count && l.txn.op_count == 0; i++) {
        if (l.all[i]->metadata.deletion_timestamp != NULL)
            look_at_deleted(&l, i);
        else
            look_at_names(&l, i);
    }
    if (l.txn.op_count != 0)
        commit(&l);
    else if (l.waits)
        uv_timer_start(&k->timer, on_timer, RETRY_MS, 0);
    store_view_unref(l.view);
}

void custom_keeper_sync(struct server_thread *t)
{
    struct store_view *v = store_view(t->server->store);
    (void)custom_set_sync(v);
    store_view_unref(v);
    if (t->keeper != NULL)
        run(t->keeper);
}

/* --- life
 * ------------------------------------------------------------------------------------------ */
struct custom_keeper *custom_keeper_new(struct server_thread *t)
{
    struct custom_keeper *k = xzalloc(sizeof(*k));
    k->thread = t;
    map_init(&k->known);
    uv_timer_init(&t->loop, &k->timer);
    k->timer.data = k;
    uv_timer_start(&k->timer, on_timer, 0, 0);
    return k;
}

static void on_timer_closed(uv_handle_t *h)
{
    struct custom_keeper *k = h->data;
    void (*cb)(void *) = k->on_closed;
    void *arg = k->closed_arg, *value;
    size_t pos = 0;
    while (map_next(&k->known, &pos, NULL, &value))
        known_free(value);
    map_done(&k->known);
    free(k);
    cb(arg);
}

static void close_if_idle(struct custom_keeper *k)
{
    if (!k->pending)
        uv_close((uv_handle_t *)&k->timer, on_timer_closed);
}

void custom_keeper_close(struct custom_keeper *k, void (*on_closed)(void *arg), void *arg)
{
    k->closing = true;
    k->on_closed = on_closed;
    k->closed_arg = arg;
    uv_timer_stop(&k->timer);
    close_if_idle(k);
}
