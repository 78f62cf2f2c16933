/* authz_feed.c - see authz_feed.h. */
#include "apiserver/authz_feed.h"

#include "api/certificates_v1beta1.h"
#include "api/core_v1.h"
#include "api/rbac_v1.h"
#include "api/resource_v1.h"
#include "api/storage_v1.h"
#include "apiserver/apiserver.h"
#include "apiserver/authz.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/node_graph.h"
#include "apiserver/rbac.h"
#include "apiserver/wire.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "raftstore/store.h"

#include <pthread.h>
#include <stdatomic.h>

enum { POD_SPEC = 2, POD_STATUS = 3, STATUS_RESOURCE_CLAIMS = 15, STATUS_EXTENDED_CLAIMS = 18 };

#define SLICE_NS 5000000u

/* An index that nobody reads yet, or the one in use. */
struct target {
    struct authz *authz; /* NULL: made is not in use. */
    struct authz_index made;
    int64_t rev; /* What is put was written with it, or before. */
};

/* Puts one stored object into the index. */
typedef void put_fn(struct target *t, const struct resource *res, const struct kv *kv,
                    struct arena *scratch, struct str ns, struct str name);
typedef void remove_fn(struct authz_index *x, struct str ns, struct str name);

struct source {
    const char *group, *resource;
    put_fn *put;
    remove_fn *remove;
    const struct resource *res; /* Filled in at start. */
};

struct authz_feed {
    struct apiserver *server;
    struct mailbox *mailbox;
    struct store_cursor *cursor;
    _Atomic int64_t rev; /* The index includes everything up to it. */
    struct list waiting; /* Loop thread. */
    struct source *sources;
    struct mail again; /* Goes on with a long run of events. */
    bool again_posted;
    pthread_mutex_t lock; /* Of the next: nobody posts once it is set. */
    bool closed;
};

struct wait {
    struct mail mail;
    struct list link; /* Of waiting, on the feed's loop. */
    struct authz_feed *feed;
    struct mailbox *back;
    int64_t rev;
    void (*done)(void *arg);
    void *arg;
};

/* --- what is indexed ------------------------------------------------------------------------ */
static struct authz_index *open_target(struct target *t)
{
    return t->authz != NULL ? authz_lock(t->authz) : &t->made;
}

static void close_target(struct target *t)
{
    if (t->authz != NULL)
        authz_unlock(t->authz);
}

/* The value's bytes go with the object: strings may point into them. */
static void *decode(struct arena *a, const struct resource *res, const struct kv *kv)
{
    void *msg;
    struct error err = {0};
    if (stored_decode(a, res, arena_str(a, stored_value(kv)), 0, &msg, &err) == 0)
        return msg;
    log_error("authorization: " STR_FMT ": %s", STR_ARG(kv_key(kv)), error_message(&err));
    return NULL;
}

static void put_role(struct target *t, const struct resource *res, const struct kv *kv,
                     struct arena *scratch, struct str ns, struct str name)
{
    UNUSED(scratch);
    struct arena *own = arena_new(512);
    const void *msg = decode(own, res, kv);
    /* Role and ClusterRole begin alike. */
    static_assert(offsetof(struct rbac_v1_role, rules) ==
                      offsetof(struct rbac_v1_cluster_role, rules),
                  "roles differ");
    const struct rbac_v1_role *role = msg;
    if (role == NULL) {
        arena_free(own);
        return;
    }
    struct authz_index *x = open_target(t);
    rbac_set_role(x->rbac, ns, name, role->rules, role->rules_count, own);
    close_target(t);
}

static void put_binding(struct target *t, const struct resource *res, const struct kv *kv,
                        struct arena *scratch, struct str ns, struct str name)
{
    UNUSED(scratch);
    struct arena *own = arena_new(512);
    static_assert(offsetof(struct rbac_v1_role_binding, role_ref) ==
                      offsetof(struct rbac_v1_cluster_role_binding, role_ref),
                  "bindings differ");
    const struct rbac_v1_role_binding *b = decode(own, res, kv);
    if (b == NULL) {
        arena_free(own);
        return;
    }
    struct authz_index *x = open_target(t);
    rbac_set_binding(x->rbac, ns, name, &b->role_ref, b->subjects, b->subjects_count, own);
    close_target(t);
}

static void remove_role(struct authz_index *x, struct str ns, struct str name)
{
    rbac_remove_role(x->rbac, ns, name);
}

static void remove_binding(struct authz_index *x, struct str ns, struct str name)
{
    rbac_remove_binding(x->rbac, ns, name);
}

static void put_pod(struct target *t, const struct resource *res, const struct kv *kv,
                    struct arena *scratch, struct str ns, struct str name)
{
    UNUSED(ns), UNUSED(name);
    const struct core_v1_pod *pod = decode(scratch, res, kv);
    struct authz_index *x = open_target(t);
    if (pod != NULL)
        node_graph_set_pod(x->graph, scratch, pod);
    else
        x->pods_lack = true;
    x->pods_rev = t->rev;
    close_target(t);
}

static void remove_pod(struct authz_index *x, struct str ns, struct str name)
{
    node_graph_remove(x->graph, REF_POD, ns, name);
}

static void put_volume(struct target *t, const struct resource *res, const struct kv *kv,
                       struct arena *scratch, struct str ns, struct str name)
{
    UNUSED(ns), UNUSED(name);
    const struct core_v1_persistent_volume *v = decode(scratch, res, kv);
    if (v == NULL)
        return;
    struct authz_index *x = open_target(t);
    node_graph_set_volume(x->graph, v);
    close_target(t);
}

static void remove_volume(struct authz_index *x, struct str ns, struct str name)
{
    node_graph_remove(x->graph, REF_VOLUME, ns, name);
}

static void put_attachment(struct target *t, const struct resource *res, const struct kv *kv,
                           struct arena *scratch, struct str ns, struct str name)
{
    UNUSED(ns);
    const struct storage_v1_volume_attachment *v = decode(scratch, res, kv);
    if (v == NULL)
        return;
    struct authz_index *x = open_target(t);
    node_graph_set_owned(x->graph, REF_ATTACHMENT, STR_NULL, name, v->spec.node_name);
    close_target(t);
}

static void remove_attachment(struct authz_index *x, struct str ns, struct str name)
{
    node_graph_remove(x->graph, REF_ATTACHMENT, ns, name);
}

static void put_slice(struct target *t, const struct resource *res, const struct kv *kv,
                      struct arena *scratch, struct str ns, struct str name)
{
    UNUSED(ns);
    const struct resource_v1_resource_slice *v = decode(scratch, res, kv);
    if (v == NULL)
        return;
    struct authz_index *x = open_target(t);
    node_graph_set_owned(x->graph, REF_SLICE, STR_NULL, name, v->spec.node_name);
    close_target(t);
}

static void remove_slice(struct authz_index *x, struct str ns, struct str name)
{
    node_graph_remove(x->graph, REF_SLICE, ns, name);
}

static void put_certificate_request(struct target *t, const struct resource *res,
                                    const struct kv *kv, struct arena *scratch, struct str ns,
                                    struct str name)
{
    const struct certificates_v1beta1_pod_certificate_request *v = decode(scratch, res, kv);
    if (v == NULL)
        return;
    struct authz_index *x = open_target(t);
    node_graph_set_owned(x->graph, REF_CERTIFICATE_REQUEST, ns, name, v->spec.node_name);
    close_target(t);
}

static void remove_certificate_request(struct authz_index *x, struct str ns, struct str name)
{
    node_graph_remove(x->graph, REF_CERTIFICATE_REQUEST, ns, name);
}

static const struct source sources[] = {
    {"rbac.authorization.k8s.io", "clusterroles", put_role, remove_role, NULL},
    {"rbac.authorization.k8s.io", "clusterrolebindings", put_binding, remove_binding, NULL},
    {"rbac.authorization.k8s.io", "roles", put_role, remove_role, NULL},
    {"rbac.authorization.k8s.io", "rolebindings", put_binding, remove_binding, NULL},
    {"", "pods", put_pod, remove_pod, NULL},
    {"", "persistentvolumes", put_volume, remove_volume, NULL},
    {"storage.k8s.io", "volumeattachments", put_attachment, remove_attachment, NULL},
    {"resource.k8s.io", "resourceslices", put_slice, remove_slice, NULL},
    {"certificates.k8s.io", "podcertificaterequests", put_certificate_request,
     remove_certificate_request, NULL},
};

/* --- changes ------------------------------------------------------------------------------------
 */
static const struct source *source_of(const struct authz_feed *f, struct str key)
{
    for (size_t i = 0; i < ARRAY_SIZE(sources); i++)
        if (str_has_prefix(key, f->sources[i].res->prefix))
            return &f->sources[i];
    return NULL;
}

/* Most writes of a pod are of its status; what it refers to stands in its spec,
 * but for the names of generated resource claims. */
static bool same_relations(const struct source *s, const struct event *e)
{
    struct str now, before;
    if (s->put != put_pod || e->prev == NULL || !kv_live(e->prev) ||
        stored_raw(stored_value(e->kv), &now, NULL) != 0 ||
        stored_raw(stored_value(e->prev), &before, NULL) != 0)
        return false;
    struct str status = wire_bytes(now, POD_STATUS);
    return str_eq(wire_bytes(now, POD_SPEC), wire_bytes(before, POD_SPEC)) &&
           wire_bytes(status, STATUS_RESOURCE_CLAIMS).data == NULL &&
           wire_bytes(status, STATUS_EXTENDED_CLAIMS).data == NULL;
}

static void apply(struct authz_feed *f, const struct event *e, int64_t rev)
{
    struct str ns = STR_NULL, name;
    const struct source *s = source_of(f, kv_key(e->kv));
    if (s == NULL || (event_type(e) == EVENT_PUT && same_relations(s, e)) ||
        registry_by_key(kv_key(e->kv), &ns, &name) == NULL)
        return;
    struct target t = {.authz = f->server->authz, .rev = rev};
    if (event_type(e) == EVENT_PUT) {
        AUTO_ARENA *scratch = arena_new(0);
        s->put(&t, s->res, e->kv, scratch, ns, name);
        return;
    }
    struct authz_index *x = open_target(&t);
    s->remove(x, ns, name);
    if (s->put == put_pod)
        x->pods_rev = rev;
    close_target(&t);
}

static void set_partial(struct authz_feed *f, bool partial)
{
    authz_lock(f->server->authz)->pods_partial = partial;
    authz_unlock(f->server->authz);
}

static void apply_all(struct authz_feed *f, const struct event_batch *b)
{
    if (b->count > 1)
        set_partial(f, true);
    for (uint32_t i = 0; i < b->count; i++)
        apply(f, &b->events[i], b->rev);
    if (b->count > 1)
        set_partial(f, false);
}

/* --- reading everything
 * ---------------------------------------------------------------------------- */
static void load(struct authz_feed *f, const struct store_view *v, struct target *t)
{
    AUTO_ARENA *scratch = arena_new(0);
    for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
        const struct source *s = &f->sources[i];
        struct str from = s->res->prefix, ns, name;
        AUTO_BUF end = BUF_INIT;
        struct store_iter it;
        buf_append_str(&end, from);
        end.data[end.len - 1]++; /* '/' becomes '0'. */
        if (store_iter_init(&it, v, from, buf_str(&end), 0) != 0)
            continue;
        for (const struct kv *kv; (kv = store_iter_next(&it)) != NULL;) {
            ns = STR_NULL;
            if (registry_by_key(kv_key(kv), &ns, &name) != NULL)
                s->put(t, s->res, kv, scratch, ns, name);
            arena_clear(scratch);
        }
    }
}

static void on_events(void *arg);

/* On the store's thread: the sources do not change once there is a cursor. */
static bool concerns_us(void *arg, const struct event *e)
{
    return source_of(arg, kv_key(e->kv)) != NULL;
}

/* A new index in place of the old one, which serves until then. */
static int start_over(struct authz_feed *f, struct error *err)
{
    struct store *store = f->server->store;
    struct store_view *v = store_view(store);
    int64_t rev = store_view_rev(v);
    struct target t = {.made = {.rbac = rbac_new(), .graph = node_graph_new(), .pods_rev = rev},
                       .rev = rev};
    load(f, v, &t);
    store_view_unref(v);
    struct authz_index *x = authz_lock(f->server->authz), old = *x;
    *x = t.made;
    authz_unlock(f->server->authz);
    rbac_free(old.rbac);
    node_graph_free(old.graph);
    store_cursor_free(f->cursor);
    f->cursor = NULL;
    int code = store_cursor_new(store, rev, f->mailbox, on_events, f, &f->cursor, err);
    if (code != 0)
        return code;
    store_cursor_filter(f->cursor, concerns_us);
    atomic_store(&f->rev, rev);
    return 0;
}

/* --- those who wait
 * ----------------------------------------------------------------------------------- */
static void run_done(struct mail *m)
{
    struct wait *w = CONTAINER_OF(m, struct wait, mail);
    w->done(w->arg);
}

static void send_back(struct wait *w)
{
    w->mail.run = run_done;
    mailbox_post(w->back, &w->mail);
}

static void wake(struct authz_feed *f)
{
    int64_t rev = atomic_load(&f->rev);
    LIST_FOREACH_SAFE (it, &f->waiting) {
        struct wait *w = LIST_ENTRY(it, struct wait, link);
        if (w->rev > rev)
            continue;
        list_remove(&w->link);
        send_back(w);
    }
}

static void catch_up(struct authz_feed *f)
{
    const struct event_batch *b;
    struct error err = {0};
    uint64_t start = uv_hrtime();
    bool lost = false;
    while ((b = store_cursor_next(f->cursor, &lost)) != NULL) {
        apply_all(f, b);
        if (uv_hrtime() - start > SLICE_NS) {
            if (!f->again_posted)
                mailbox_post(f->mailbox, &f->again);
            f->again_posted = true;
            return;
        }
    }
    if (lost && start_over(f, &err) != 0)
        PANIC("authorization: no event cursor: %s", error_message(&err));
    atomic_store(&f->rev, store_cursor_rev(f->cursor));
    wake(f);
}

static void on_events(void *arg)
{
    catch_up(arg);
}

static void on_again(struct mail *m)
{
    struct authz_feed *f = CONTAINER_OF(m, struct authz_feed, again);
    f->again_posted = false;
    if (!f->closed)
        catch_up(f);
}

static void on_wait(struct mail *m)
{
    struct wait *w = CONTAINER_OF(m, struct wait, mail);
    struct authz_feed *f = w->feed;
    if (f->closed) {
        send_back(w);
        return;
    }
    list_push_back(&f->waiting, &w->link);
    catch_up(f);
}

int64_t authz_feed_rev(const struct authz_feed *f)
{
    return atomic_load(&f->rev);
}

bool authz_feed_wait(struct authz_feed *f, struct arena *a, struct mailbox *mb,
                     void (*done)(void *arg), void *arg)
{
    struct store_view *v = store_view(f->server->store);
    int64_t rev = store_view_rev(v);
    store_view_unref(v);
    if (atomic_load(&f->rev) >= rev)
        return false;
    struct wait *w = ARENA_NEW(a, struct wait);
    *w = (struct wait){
        .mail.run = on_wait, .feed = f, .back = mb, .rev = rev, .done = done, .arg = arg};
    pthread_mutex_lock(&f->lock);
    bool posted = !f->closed;
    if (posted)
        mailbox_post(f->mailbox, &w->mail);
    pthread_mutex_unlock(&f->lock);
    return posted;
}

/* --- life
 * ------------------------------------------------------------------------------------------------
 */
int authz_feed_start(struct apiserver *s, struct mailbox *mb, struct authz_feed **ret,
                     struct error *err)
{
    struct authz_feed *f = xzalloc(sizeof(*f));
    f->server = s;
    f->mailbox = mb;
    f->again.run = on_again;
    list_init(&f->waiting);
    pthread_mutex_init(&f->lock, NULL);
    f->sources = xmemdup(sources, sizeof(sources));
    for (size_t i = 0; i < ARRAY_SIZE(sources); i++)
        f->sources[i].res = registry_storage(str_of(sources[i].group), str_of(sources[i].resource));
    int code = start_over(f, err);
    if (code != 0) {
        store_cursor_free(f->cursor);
        authz_feed_free(f);
        return code;
    }
    *ret = f;
    return 0;
}

void authz_feed_stop(struct authz_feed *f)
{
    pthread_mutex_lock(&f->lock);
    f->closed = true;
    pthread_mutex_unlock(&f->lock);
    LIST_FOREACH_SAFE (it, &f->waiting) {
        list_remove(it);
        send_back(LIST_ENTRY(it, struct wait, link));
    }
    store_cursor_free(f->cursor);
    f->cursor = NULL;
}

void authz_feed_free(struct authz_feed *f)
{
    if (f == NULL)
        return;
    pthread_mutex_destroy(&f->lock);
    free(f->sources);
    free(f);
}
