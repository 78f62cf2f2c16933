/* garbagecollector.c - deletes objects whose owners are gone.
 *
 * Watches the metadata of every resource that can be listed, watched and
 * deleted (but events), asking every 30 s which there are, and keeps the graph
 * of owners (gc_graph.h). A key is a uid:
 *   - owners all gone: the object is deleted;
 *   - some gone, or waiting for their dependents: those references are taken off;
 *   - being deleted in the foreground: its dependents are deleted first, then
 *     the finalizer is taken off;
 *   - being deleted with the orphan finalizer: its dependents lose the reference.
 * The graph may be stale, so the server is asked about an object and about an
 * owner that is believed gone before anything is deleted. */
#include "controllers/controller.h"
#include "controllers/discovery.h"
#include "controllers/gc_graph.h"

#include "api/meta_v1.h"
#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/list.h"
#include "lib/base/log.h"
#include "lib/client/work_queue.h"

#include <string.h>

#define RESYNC_MS 30000u
#define SYNC_LIMIT_MS 30000u /* A resource that cannot be listed must not stop the rest. */
#define WAIT_FOR_SYNC_MS 200u

/* One watched resource. */
struct monitor {
    struct list link;
    struct collector *collector;
    struct informer *informer;
    char *group, *version, *resource, *kind, *api_version;
    bool namespaced;
    bool seen;   /* In the last discovery. */
    bool shared; /* The informer is the other controllers'. */
};

struct collector {
    struct controller_run *run;
    struct gc_graph graph;
    struct list monitors;
    struct discoverer *discoverer;
    struct discovery *known;
    uint64_t begun_ms; /* When the first monitors were started; 0: not yet. */
};

static const struct api_kind *metadata_kind(void)
{
    return api_kind_by_gvk(STR("meta.k8s.io"), STR("v1"), STR("PartialObjectMetadata"));
}

/* --- monitors -------------------------------------------------------------------------- */

static void on_set(struct api_object *o, void *arg)
{
    struct monitor *m = arg;
    gc_graph_set(&m->collector->graph, m, m->api_version, m->kind, api_object_meta(o));
}

static void on_update(struct api_object *old, struct api_object *o, void *arg)
{
    UNUSED(old);
    on_set(o, arg);
}

static void on_gone(struct api_object *o, bool final_state_unknown, void *arg)
{
    struct monitor *m = arg;
    UNUSED(final_state_unknown);
    gc_graph_remove(&m->collector->graph, api_object_meta(o)->uid);
}

/* Only what the graph needs. */
static void trim(struct api_object *o)
{
    struct meta_v1_object_meta *m = api_object_meta(o);
    m->managed_fields_count = m->labels_count = m->annotations_count = 0;
    m->managed_fields = NULL;
    m->labels = m->annotations = NULL;
}

static bool is_wanted(const struct served_resource *r)
{
    bool events = strcmp(r->resource, "events") == 0 &&
                  (r->group[0] == '\0' || strcmp(r->group, "events.k8s.io") == 0);
    return r->preferred && r->can_delete && r->can_list && r->can_watch && !events;
}

static struct monitor *find_monitor(struct collector *g, const char *group, const char *resource)
{
    LIST_FOREACH (it, &g->monitors) {
        struct monitor *m = LIST_ENTRY(it, struct monitor, link);
        if (strcmp(m->group, group) == 0 && strcmp(m->resource, resource) == 0)
            return m;
    }
    return NULL;
}

static bool is_pods(const struct served_resource *r)
{
    return r->group[0] == '\0' && strcmp(r->resource, "pods") == 0;
}

static void monitor_start(struct collector *g, const struct served_resource *r)
{
    struct monitor *m = xzalloc(sizeof(*m));
    m->collector = g;
    m->group = xstrdup(r->group);
    m->version = xstrdup(r->version);
    m->resource = xstrdup(r->resource);
    m->kind = xstrdup(r->kind);
    m->api_version =
        r->group[0] == '\0' ? xstrdup(r->version) : xasprintf("%s/%s", r->group, r->version);
    m->namespaced = r->namespaced;
    m->seen = true;
    list_push_back(&g->monitors, &m->link);
    const struct informer_handler handler = {
        .on_add = on_set, .on_update = on_update, .on_delete = on_gone, .arg = m};
    /* Pods are too many to be kept twice. */
    m->informer = is_pods(r) ? controller_find_informer(g->run, "", "Pod") : NULL;
    m->shared = m->informer != NULL;
    if (m->shared) {
        informer_add_handler(m->informer, &handler);
        return;
    }
    struct client_resource path = {m->group, m->version, m->resource, m->namespaced};
    struct informer_config config = {
        .kind = metadata_kind(), .resource = &path, .trim = trim, .pack = true};
    struct error err = {0};
    if (informer_new(g->run->client, &config, &m->informer, &err) != 0)
        PANIC("informer of %s: %s", m->resource, error_message(&err));
    informer_add_handler(m->informer, &handler);
    informer_start(m->informer);
}

static void monitor_stop(struct monitor *m)
{
    if (!m->shared)
        informer_close(m->informer);
    list_remove(&m->link);
    free(m->group);
    free(m->version);
    free(m->resource);
    free(m->kind);
    free(m->api_version);
    free(m);
}

static void on_discovered(struct discovery *d, const char *err, void *arg)
{
    struct collector *g = arg;
    if (err != NULL)
        log_warning("garbage-collector-controller: discovery: %s", err);
    if (d == NULL)
        return;
    discovery_free(g->known);
    g->known = d;
    LIST_FOREACH (it, &g->monitors) {
        LIST_ENTRY(it, struct monitor, link)->seen = false;
    }
    for (size_t i = 0; i < d->count; i++) {
        struct monitor *m = find_monitor(g, d->items[i].group, d->items[i].resource);
        if (m != NULL)
            m->seen = true;
        else if (is_wanted(&d->items[i]))
            monitor_start(g, &d->items[i]);
    }
    LIST_FOREACH_SAFE (it, &g->monitors) {
        struct monitor *m = LIST_ENTRY(it, struct monitor, link);
        if (m->seen || m->shared || discovery_is_stale(d, m->group, m->version))
            continue;
        gc_graph_remove_source(&g->graph, m);
        monitor_stop(m);
    }
    if (g->begun_ms == 0)
        g->begun_ms = MAX_OF(env_now_ms(g->run->env), 1u);
}

static bool is_synced(const struct collector *g)
{
    if (g->begun_ms == 0)
        return false;
    if (env_now_ms(g->run->env) - g->begun_ms > SYNC_LIMIT_MS)
        return true;
    LIST_FOREACH (it, &g->monitors) {
        if (!informer_has_synced(LIST_ENTRY(it, struct monitor, link)->informer))
            return false;
    }
    return true;
}

static void wake(struct str uid, void *arg)
{
    struct collector *g = arg;
    controller_enqueue(g->run, uid);
}

/* --- calls ------------------------------------------------------------------------------- */

/* The path of an object; false: its kind is not known (now). */
static bool path_of(struct reconcile *c, const struct gc_place *p, struct client_resource *ret)
{
    const struct collector *g = c->run->state;
    const struct served_resource *r =
        discovery_find(g->known, str_of(p->api_version), str_of(p->kind));
    if (r == NULL)
        return false;
    *ret = (struct client_resource){arena_strdup(c->arena, r->group),
                                    arena_strdup(c->arena, r->version),
                                    arena_strdup(c->arena, r->resource), r->namespaced};
    return true;
}

static void call_object(struct reconcile *c, struct client_call *call, const struct gc_place *p,
                        const struct client_resource *path,
                        void (*done)(struct reconcile *, const struct client_result *, void *),
                        void *arg)
{
    call->kind = metadata_kind();
    call->resource = path;
    call->namespace_name = path->namespaced ? str_of(p->namespace_name) : STR_NULL;
    call->name = str_of(p->name);
    reconcile_call(c, call, done, arg);
}

static void on_changed(struct reconcile *c, const struct client_result *result, void *arg)
{
    UNUSED(arg);
    if (result->code == 0 || result->code == E_NOT_FOUND)
        return;
    if (result->code != E_CONFLICT)
        log_warning("garbage-collector-controller: " STR_FMT ": %s", STR_ARG(c->key),
                    result->message);
    reconcile_fail(c);
}

static void patch(struct reconcile *c, const struct gc_place *p, const struct client_resource *path,
                  struct str body)
{
    struct client_call call = {.verb = CLIENT_PATCH,
                               .patch_type = CLIENT_PATCH_MERGE,
                               .raw_body = body,
                               .undecoded = true};
    call_object(c, &call, p, path, on_changed, NULL);
}

static void delete_object(struct reconcile *c, const struct gc_node *n,
                          const struct client_resource *path,
                          const struct meta_v1_object_meta *live, enum client_propagation how)
{
    struct client_call call = {
        .verb = CLIENT_DELETE,
        .propagation = how,
        .uid_precondition = live->uid,
        .rv_precondition = live->resource_version, /* New owners would change it. */
        .undecoded = true,
    };
    log_info("collecting %s %s/%s", n->place.kind, n->place.namespace_name, n->place.name);
    call_object(c, &call, &n->place, path, on_changed, NULL);
}

/* A merge patch that leaves out the owners that `drop` marks; the uid and
 * version guard against writing to another object. */
static struct str owners_patch(struct reconcile *c, const struct meta_v1_object_meta *live,
                               const bool *drop)
{
    AUTO_BUF b = BUF_INIT;
    bool first = true;
    buf_puts(&b, "{\"metadata\":{\"uid\":");
    json_write_string(live->uid, &b);
    buf_puts(&b, ",\"resourceVersion\":");
    json_write_string(live->resource_version, &b);
    buf_puts(&b, ",\"ownerReferences\":[");
    for (size_t i = 0; i < live->owner_references_count; i++) {
        const struct meta_v1_owner_reference *r = &live->owner_references[i];
        if (drop[i])
            continue;
        buf_puts(&b, first ? "{\"apiVersion\":" : ",{\"apiVersion\":");
        first = false;
        json_write_string(r->api_version, &b);
        buf_puts(&b, ",\"kind\":");
        json_write_string(r->kind, &b);
        buf_puts(&b, ",\"name\":");
        json_write_string(r->name, &b);
        buf_puts(&b, ",\"uid\":");
        json_write_string(r->uid, &b);
        if (r->has_controller)
            buf_printf(&b, ",\"controller\":%s", r->controller ? "true" : "false");
        if (r->has_block_owner_deletion)
            buf_printf(&b, ",\"blockOwnerDeletion\":%s",
                       r->block_owner_deletion ? "true" : "false");
        buf_putc(&b, '}');
    }
    buf_puts(&b, "]}}");
    return arena_str(c->arena, buf_str(&b));
}

/* --- deleting by owners ----------------------------------------------------------------------- */

enum owner_state { OWNER_SOLID, OWNER_WAITING, OWNER_GONE, OWNER_UNKNOWN };

struct work {
    struct client_resource path;
    struct api_object *live; /* Held by the arena. */
    const struct meta_v1_object_meta *meta;
    enum owner_state *owners;
};

static void unref_object(void *o)
{
    api_object_unref(o);
}

struct owner_check {
    size_t index;
    struct str uid;
};

static void on_owner(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct work *w = c->state;
    const struct owner_check *x = arg;
    struct collector *g = c->run->state;
    if (result->code == E_NOT_FOUND) {
        w->owners[x->index] = OWNER_GONE;
    } else if (result->code == 0 && result->object != NULL) {
        const struct meta_v1_object_meta *m = api_object_meta(result->object);
        bool same = m != NULL && str_eq(m->uid, x->uid);
        w->owners[x->index] = same ? OWNER_SOLID : OWNER_GONE;
    }
    const struct gc_node *n = gc_graph_find(&g->graph, x->uid);
    if (w->owners[x->index] == OWNER_GONE && n != NULL && n->is_virtual)
        gc_graph_remove(&g->graph, x->uid); /* Spares its other dependents the question. */
}

static void check_owner(struct reconcile *c, size_t index,
                        const struct meta_v1_owner_reference *ref)
{
    struct work *w = c->state;
    const struct collector *g = c->run->state;
    const struct gc_node *n = gc_graph_find(&g->graph, ref->uid);
    if (n != NULL && !n->is_virtual &&
        gc_is_there(n, ref->api_version, ref->kind, ref->name, w->meta->namespace)) {
        bool waits = n->deleting && n->foreground && ref->has_block_owner_deletion &&
                     ref->block_owner_deletion;
        w->owners[index] = waits ? OWNER_WAITING : OWNER_SOLID;
        return;
    }
    struct gc_place place = {(char *)str_c(arena_str(c->arena, ref->api_version)),
                             (char *)str_c(arena_str(c->arena, ref->kind)),
                             (char *)str_c(arena_str(c->arena, w->meta->namespace)),
                             (char *)str_c(arena_str(c->arena, ref->name))};
    struct client_resource *path = ARENA_NEW(c->arena, struct client_resource);
    w->owners[index] = OWNER_UNKNOWN;
    if (!path_of(c, &place, path))
        return;
    if (path->namespaced && str_empty(w->meta->namespace)) {
        w->owners[index] = OWNER_SOLID; /* An impossible reference: hands off. */
        return;
    }
    struct owner_check *x = ARENA_NEW(c->arena, struct owner_check);
    *x = (struct owner_check){index, arena_str(c->arena, ref->uid)};
    struct client_call call = {.verb = CLIENT_GET};
    call_object(c, &call, &place, path, on_owner, x);
}

static bool has_finalizer(const struct meta_v1_object_meta *m, const char *name)
{
    for (size_t i = 0; i < m->finalizers_count; i++)
        if (str_eqc(m->finalizers[i], name))
            return true;
    return false;
}

static void decide(struct reconcile *c)
{
    struct work *w = c->state;
    const struct collector *g = c->run->state;
    const struct gc_node *n = gc_graph_find(&g->graph, c->key);
    size_t count = w->meta->owner_references_count, solid = 0, waiting = 0, unknown = 0;
    bool *drop = ARENA_ARRAY(c->arena, bool, count + 1);
    if (n == NULL)
        return;
    for (size_t i = 0; i < count; i++) {
        solid += w->owners[i] == OWNER_SOLID;
        waiting += w->owners[i] == OWNER_WAITING;
        unknown += w->owners[i] == OWNER_UNKNOWN;
        drop[i] = w->owners[i] == OWNER_WAITING || w->owners[i] == OWNER_GONE;
    }
    if (unknown != 0) {
        reconcile_fail(c); /* Not to be judged before all are known. */
    } else if (solid != 0) {
        if (solid != count)
            patch(c, &n->place, &w->path, owners_patch(c, w->meta, drop));
    } else if (waiting != 0 && n->dependent_count != 0) {
        delete_object(c, n, &w->path, w->meta, CLIENT_PROPAGATE_FOREGROUND);
    } else {
        enum client_propagation how =
            has_finalizer(w->meta, FINALIZER_ORPHAN)       ? CLIENT_PROPAGATE_ORPHAN
            : has_finalizer(w->meta, FINALIZER_FOREGROUND) ? CLIENT_PROPAGATE_FOREGROUND
                                                           : CLIENT_PROPAGATE_BACKGROUND;
        delete_object(c, n, &w->path, w->meta, how);
    }
}

static void on_live(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct work *w = c->state;
    struct collector *g = c->run->state;
    UNUSED(arg);
    bool gone =
        result->code == E_NOT_FOUND || (result->code == 0 && result->object != NULL &&
                                        !str_eq(api_object_meta(result->object)->uid, c->key));
    if (gone) {
        gc_graph_remove(&g->graph, c->key);
        return;
    }
    if (result->code != 0 || result->object == NULL) {
        reconcile_fail(c);
        return;
    }
    w->live = api_object_ref(result->object);
    arena_hold(c->arena, w->live, unref_object);
    w->meta = api_object_meta(w->live);
    if (w->meta->deletion_timestamp != NULL || w->meta->owner_references_count == 0)
        return;
    w->owners = ARENA_ARRAY(c->arena, enum owner_state, w->meta->owner_references_count);
    for (size_t i = 0; i < w->meta->owner_references_count; i++)
        check_owner(c, i, &w->meta->owner_references[i]);
    reconcile_then(c, decide);
}

static void ask_about(struct reconcile *c, const struct gc_node *n)
{
    struct work *w = ARENA_NEW(c->arena, struct work);
    struct client_call call = {.verb = CLIENT_GET};
    c->state = w;
    if (!path_of(c, &n->place, &w->path)) {
        /* A kind that is not served: known again, perhaps, after the next discovery. */
        reconcile_again_after(c, RESYNC_MS);
        return;
    }
    if (w->path.namespaced && n->place.namespace_name[0] == '\0')
        return;
    call_object(c, &call, &n->place, &w->path, on_live, NULL);
}

/* --- foreground and orphan ---------------------------------------------------------------------
 */

struct finalizer_work {
    const char *finalizer;
    struct gc_place place;
    struct client_resource path;
};

static void on_finalizer_live(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct finalizer_work *f = arg;
    if (result->code == E_NOT_FOUND)
        return;
    if (result->code != 0 || result->object == NULL) {
        reconcile_fail(c);
        return;
    }
    const struct meta_v1_object_meta *m = api_object_meta(result->object);
    if (!str_eq(m->uid, c->key) || !has_finalizer(m, f->finalizer))
        return;
    AUTO_BUF b = BUF_INIT;
    bool first = true;
    buf_puts(&b, "{\"metadata\":{\"resourceVersion\":");
    json_write_string(m->resource_version, &b);
    buf_puts(&b, ",\"finalizers\":[");
    for (size_t i = 0; i < m->finalizers_count; i++) {
        if (str_eqc(m->finalizers[i], f->finalizer))
            continue;
        if (!first)
            buf_putc(&b, ',');
        first = false;
        json_write_string(m->finalizers[i], &b);
    }
    buf_puts(&b, "]}}");
    patch(c, &f->place, &f->path, arena_str(c->arena, buf_str(&b)));
}

static void remove_finalizer(struct reconcile *c, const struct gc_node *n, const char *finalizer)
{
    struct finalizer_work *f = ARENA_NEW(c->arena, struct finalizer_work);
    struct client_call call = {.verb = CLIENT_GET};
    f->finalizer = finalizer;
    f->place = (struct gc_place){
        arena_strdup(c->arena, n->place.api_version), arena_strdup(c->arena, n->place.kind),
        arena_strdup(c->arena, n->place.namespace_name), arena_strdup(c->arena, n->place.name)};
    if (!path_of(c, &f->place, &f->path)) {
        reconcile_again_after(c, RESYNC_MS);
        return;
    }
    call_object(c, &call, &f->place, &f->path, on_finalizer_live, f);
}

static void delete_dependents_first(struct reconcile *c, struct gc_node *n)
{
    struct collector *g = c->run->state;
    size_t blocking = 0;
    for (size_t i = 0; i < n->dependent_count; i++) {
        if (!gc_blocks(n->dependents[i], n) || gc_waits_for(&g->graph, n->dependents[i], n))
            continue;
        blocking++;
        if (!n->dependents[i]->deleting)
            controller_enqueue(c->run, str_of(n->dependents[i]->uid));
    }
    if (blocking == 0)
        remove_finalizer(c, n, FINALIZER_FOREGROUND);
}

static void orphan_done(struct reconcile *c)
{
    const struct collector *g = c->run->state;
    const struct gc_node *n = gc_graph_find(&g->graph, c->key);
    if (n != NULL && !c->failed)
        remove_finalizer(c, n, FINALIZER_ORPHAN);
}

static void orphan_dependents(struct reconcile *c, struct gc_node *n)
{
    for (size_t i = 0; i < n->dependent_count; i++) {
        const struct gc_node *d = n->dependents[i];
        struct client_resource *path = ARENA_NEW(c->arena, struct client_resource);
        if (!path_of(c, &d->place, path)) {
            reconcile_fail(c);
            return;
        }
        /* A strategic merge would do, but custom resources know only JSON merge:
         * without their present list, the whole of it is written. */
        AUTO_BUF b = BUF_INIT;
        bool first = true;
        buf_puts(&b, "{\"metadata\":{\"uid\":");
        json_write_string(str_of(d->uid), &b);
        buf_puts(&b, ",\"ownerReferences\":[");
        for (uint32_t k = 0; k < d->owner_count; k++) {
            const struct gc_owner *o = gc_owner_at(d, k);
            if (strcmp(o->uid, n->uid) == 0)
                continue;
            buf_puts(&b, first ? "{\"apiVersion\":" : ",{\"apiVersion\":");
            first = false;
            json_write_string(str_of(o->place.api_version), &b);
            buf_puts(&b, ",\"kind\":");
            json_write_string(str_of(o->place.kind), &b);
            buf_puts(&b, ",\"name\":");
            json_write_string(str_of(o->place.name), &b);
            buf_puts(&b, ",\"uid\":");
            json_write_string(str_of(o->uid), &b);
            buf_printf(&b, ",\"controller\":%s,\"blockOwnerDeletion\":%s}",
                       o->controller ? "true" : "false", o->blocks ? "true" : "false");
        }
        buf_puts(&b, "]}}");
        patch(c, &d->place, path, arena_str(c->arena, buf_str(&b)));
    }
    reconcile_then(c, orphan_done);
}

/* Says so of owners that are seen, in a namespace that is not the dependent's. */
static void report_strangers(struct reconcile *c, const struct gc_node *n)
{
    const struct collector *g = c->run->state;
    const struct gc_place *self = &n->place;
    for (uint32_t i = 0; i < n->owner_count; i++) {
        const struct gc_owner *ref = gc_owner_at(n, i);
        const struct gc_node *owner = gc_graph_find(&g->graph, str_of(ref->uid));
        if (owner == NULL || owner->is_virtual || owner->place.namespace_name[0] == '\0' ||
            strcmp(owner->place.namespace_name, self->namespace_name) == 0)
            continue;
        const struct event_object about = {.api_version = str_of(self->api_version),
                                           .kind = str_of(self->kind),
                                           .namespace_name = str_of(self->namespace_name),
                                           .name = str_of(self->name),
                                           .uid = str_of(n->uid)};
        event_record(c->run->recorder, &about, EVENT_WARNING, "OwnerRefInvalidNamespace",
                     "ownerRef [%s/%s, namespace: %s, name: %s, uid: %s] does not exist in "
                     "namespace \"%s\"",
                     ref->place.api_version, ref->place.kind, self->namespace_name, ref->place.name,
                     ref->uid, self->namespace_name);
    }
}

static void reconcile(struct reconcile *c)
{
    struct collector *g = c->run->state;
    struct gc_node *n = gc_graph_find(&g->graph, c->key);
    if (n == NULL)
        return;
    if (!is_synced(g)) {
        reconcile_again_after(c, WAIT_FOR_SYNC_MS);
        return;
    }
    if (n->orphan) {
        orphan_dependents(c, n);
    } else if (n->foreground) {
        delete_dependents_first(c, n);
    } else if (!n->deleting && !gc_is_safely_owned(&g->graph, n)) {
        report_strangers(c, n);
        ask_about(c, n);
    }
}

/* --- life ----------------------------------------------------------------------------------------
 */

static void tick(struct controller_run *r)
{
    discoverer_start(((struct collector *)r->state)->discoverer);
}

static void init(struct controller_run *r)
{
    struct collector *g = xzalloc(sizeof(*g));
    g->run = r;
    r->state = g;
    list_init(&g->monitors);
    gc_graph_init(&g->graph, wake, g);
    g->discoverer = discoverer_new(r->client, on_discovered, g);
    discoverer_start(g->discoverer);
}

static void done(struct controller_run *r)
{
    struct collector *g = r->state;
    discoverer_free(g->discoverer);
    discovery_free(g->known);
    LIST_FOREACH_SAFE (it, &g->monitors) {
        monitor_stop(LIST_ENTRY(it, struct monitor, link));
    }
    gc_graph_done(&g->graph);
    free(g);
}

static const struct controller_watch watches[] = {{0}};

const struct controller controller_garbagecollector = {
    .name = "garbage-collector-controller",
    .workers = 20,
    .watches = watches,
    .init = init,
    .done = done,
    .reconcile = reconcile,
    .tick_ms = RESYNC_MS,
    .tick = tick,
};
