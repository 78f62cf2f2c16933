/* resourcequota.c - keeps the status of ResourceQuotas: what is limited, and
 * how much of it is used.
 *
 * The apiserver charges a quota when something is written; here it is counted
 * anew when things go or end, when the quota changes, and every five minutes.
 * Counts of resources that no controller watches are asked of the server.
 *
 * A cache that lags behind may not know yet what was charged: a lower count than
 * the quota has is believed only of a cache that is as new as the quota, and
 * counted from a list of the server's otherwise. */
#include "controllers/controller.h"
#include "controllers/discovery.h"
#include "controllers/pods.h"

#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "api/resource.h"
#include "api/resource_v1.h"
#include "lib/api/json.h"
#include "lib/api/pod.h"
#include "lib/api/quota.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/client/informer.h"

#define RECOUNT_MS (5u * 60u * 1000u)
/* Additions are charged already: this only mends a count that a cache which
 * lagged behind has put too low. */
#define AFTER_ADDITION_MS 2000u
#define REMOTE_MS 5000u /* Nobody tells when what the server is asked about goes. */
#define COUNT_PREFIX "count/"
#define KINDS_MAX 32

struct quota_state {
    struct discoverer *discoverer;
    struct discovery *known; /* NULL until the first answer. */
};

/* --- what makes a recount worth while ---------------------------------------------------- */

static void touch_quota(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    UNUSED(old);
    if (o != NULL)
        controller_enqueue_object(r, o);
}

static void touch_namespace(struct controller_run *r, const struct api_object *o, uint64_t delay_ms)
{
    size_t count;
    struct api_object *const *quotas =
        controller_in_namespace(r, "", "ResourceQuota", api_object_meta(o)->namespace, &count);
    for (size_t i = 0; i < count; i++) {
        AUTO_ARENA *a = arena_new(256);
        controller_enqueue_after(r, informer_key(a, quotas[i]), delay_ms);
    }
}

static void touch_counted(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    if (o == NULL)
        touch_namespace(r, old, 0);
    else if (old == NULL)
        touch_namespace(r, o, AFTER_ADDITION_MS);
}

static void touch_changing(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    if (old != NULL && o != NULL && api_object_meta(old)->resource_version.len != 0 &&
        !str_eq(api_object_meta(old)->resource_version, api_object_meta(o)->resource_version))
        touch_namespace(r, o, AFTER_ADDITION_MS);
    else
        touch_counted(r, old, o);
}

/* What it asks for changed, or what it was granted. */
static bool is_resized(const struct core_v1_pod *x, const struct core_v1_pod *y)
{
    return x->metadata.generation != y->metadata.generation ||
           (pod_condition(x, "PodResizeInProgress") != NULL) !=
               (pod_condition(y, "PodResizeInProgress") != NULL);
}

static void touch_pod(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    if (old != NULL && o != NULL && !pod_is_terminal(old->msg) && pod_is_terminal(o->msg))
        touch_namespace(r, o, 0);
    else if (old != NULL && o != NULL && is_resized(old->msg, o->msg))
        touch_namespace(r, o, AFTER_ADDITION_MS);
    else
        touch_counted(r, old, o);
}

/* Claims of the class count by another name. */
static void touch_class(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    const struct resource_v1_device_class *before = old != NULL ? old->msg : NULL,
                                          *now = o != NULL ? o->msg : NULL;
    struct str was = before != NULL ? before->spec.extended_resource_name : STR_NULL,
               is = now != NULL ? now->spec.extended_resource_name : STR_NULL, key;
    size_t pos = 0;
    while (!str_eq(was, is) &&
           informer_next_key(controller_informer(r, "", "ResourceQuota"), &pos, &key))
        controller_enqueue(r, key);
}

static const struct controller_watch watches[] = {
    {"", "v1", "ResourceQuota", touch_quota},
    {"", "v1", "Pod", touch_pod},
    {"", "v1", "Service", touch_changing},
    {"", "v1", "PersistentVolumeClaim", touch_changing},
    {"", "v1", "ConfigMap", touch_counted},
    {"", "v1", "Secret", touch_counted},
    {"", "v1", "ReplicationController", touch_counted},
    {"apps", "v1", "Deployment", touch_counted},
    {"apps", "v1", "ReplicaSet", touch_counted},
    {"apps", "v1", "StatefulSet", touch_counted},
    {"apps", "v1", "DaemonSet", touch_counted},
    {"batch", "v1", "Job", touch_counted},
    {"batch", "v1", "CronJob", touch_counted},
    {"resource.k8s.io", "v1", "ResourceClaim", touch_counted},
    {"resource.k8s.io", "v1", "DeviceClass", touch_class},
    {0},
};
static_assert(ARRAY_SIZE(watches) <= KINDS_MAX, "every kind has its place in struct recount");

/* --- counting ------------------------------------------------------------------------------ */

struct recount {
    const struct core_v1_resource_quota *quota;
    struct resource_list used;
    bool from_server[KINDS_MAX]; /* By place in watches. */
};

static const struct api_kind *watched_kind(const struct controller_watch *w)
{
    return api_kind_by_gvk(str_of(w->group), str_of(w->version), str_of(w->kind));
}

static bool limits_any(struct arena *a, const struct core_v1_resource_quota *q,
                       const struct api_kind *k)
{
    for (size_t i = 0; i < q->spec.hard_count; i++)
        if (quota_counts(a, q->spec.hard[i].key, k->group, k->resource))
            return true;
    return false;
}

/* --- what claims depend on ---------------------------------------------------------------- */

static struct str extended_name(void *arg, struct str device_class)
{
    const struct reconcile *c = arg;
    struct api_object *o = informer_get_key(
        controller_informer(c->run, "resource.k8s.io", "DeviceClass"), device_class);
    return o != NULL
               ? ((const struct resource_v1_device_class *)o->msg)->spec.extended_resource_name
               : STR_NULL;
}

static const struct core_v1_pod *find_pod(void *arg, struct str ns, struct str name)
{
    const struct reconcile *c = arg;
    struct api_object *o = informer_get(controller_informer(c->run, "", "Pod"), ns, name);
    return o != NULL ? o->msg : NULL;
}

static void each_claim(void *arg, struct str ns, struct str pod_uid,
                       void (*each)(const struct resource_v1_resource_claim *c, void *each_arg),
                       void *each_arg)
{
    const struct reconcile *c = arg;
    size_t count;
    struct api_object *const *owned =
        controller_owned(c->run, "resource.k8s.io", "ResourceClaim", pod_uid, &count);
    for (size_t i = 0; i < count; i++) {
        const struct resource_v1_resource_claim *claim = owned[i]->msg;
        if (str_eq(claim->metadata.namespace, ns))
            each(claim, each_arg);
    }
}

static void count_one(struct reconcile *c, struct recount *n, const struct api_kind *k,
                      const void *msg)
{
    const struct quota_lookup lookup = {extended_name, find_pod, each_claim, c};
    if (quota_applies(n->quota, k->group, k->resource, msg))
        quota_usage(k->group, k->resource, msg, controller_now_s(c->run), &lookup, &n->used);
}

struct listed {
    struct recount *recount;
    const struct api_kind *kind;
};

static void on_listed(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct listed *l = arg;
    if (result->code != 0 || result->object == NULL) {
        reconcile_fail(c);
        return;
    }
    size_t count = client_list_count(result->object);
    for (size_t i = 0; i < count; i++)
        count_one(c, l->recount, l->kind, client_list_item(result->object, i));
}

static void count_listed(struct reconcile *c, struct recount *n, const struct api_kind *k)
{
    struct listed *l = ARENA_NEW(c->arena, struct listed);
    *l = (struct listed){n, k};
    reconcile_call(
        c,
        &(struct client_call){.verb = CLIENT_LIST, .kind = k, .namespace_name = c->namespace_name},
        on_listed, l);
}

static void count_watched(struct reconcile *c, struct recount *n, const struct controller_watch *w)
{
    const struct api_kind *k = watched_kind(w);
    if (!limits_any(c->arena, n->quota, k))
        return;
    if (n->from_server[w - watches]) {
        count_listed(c, n, k);
        return;
    }
    AUTO_WALK walk = informer_walk_index(controller_informer(c->run, w->group, w->kind),
                                         "namespace", c->namespace_name);
    for (struct api_object *o; (o = informer_walk_next(&walk)) != NULL;)
        count_one(c, n, k, o->msg);
}

static uint64_t version_of(struct str resource_version)
{
    uint64_t v = 0;
    return str_to_u64(resource_version, &v) ? v : 0;
}

/* Has its cache seen everything that the quota was charged for? A charge and what
 * it is for are one transaction, with one version. */
static bool is_as_new(struct reconcile *c, const struct recount *n,
                      const struct controller_watch *w)
{
    const struct informer *i = controller_informer(c->run, w->group, w->kind);
    return version_of(informer_resource_version(i)) >=
           version_of(n->quota->metadata.resource_version);
}

/* Of the kinds behind lower counts, those whose caches may lag. */
static bool find_doubts(struct reconcile *c, struct recount *n)
{
    bool any = false;
    for (size_t i = 0; i < n->quota->status.used_count; i++) {
        const struct api_quantity_entry *e = &n->quota->status.used[i];
        const struct quantity *sum = resource_list_get(&n->used, e->key);
        struct quantity told = quantity_of(&e->value), none = {0};
        if (quantity_cmp(sum != NULL ? sum : &none, &told) >= 0)
            continue;
        for (const struct controller_watch *w = watches; w->kind != NULL; w++) {
            const struct api_kind *k = watched_kind(w);
            if (quota_counts(c->arena, e->key, k->group, k->resource) && !is_as_new(c, n, w))
                any = n->from_server[w - watches] = true;
        }
    }
    return any;
}

static bool is_watched(struct arena *a, struct str name)
{
    for (const struct controller_watch *w = watches; w->kind != NULL; w++) {
        const struct api_kind *k = watched_kind(w);
        if (quota_counts(a, name, k->group, k->resource))
            return true;
    }
    return false;
}

struct asked {
    struct recount *recount;
    struct str name;
};

static void on_counted(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct asked *q = arg;
    if (result->code != 0 || result->object == NULL) {
        log_warning("resourcequota " STR_FMT ": " STR_FMT ": %s", STR_ARG(c->key), STR_ARG(q->name),
                    result->message);
        reconcile_fail(c);
        return;
    }
    const struct meta_v1_partial_object_metadata_list *l = result->object->msg;
    int64_t n = (int64_t)l->items_count +
                (l->metadata.has_remaining_item_count ? l->metadata.remaining_item_count : 0);
    resource_list_add(&q->recount->used, q->name, quantity_from_int(n, QUANTITY_DECIMAL_SI));
}

/* One object and the number of the rest. */
static void count_remote(struct reconcile *c, struct recount *n, struct str name)
{
    const struct quota_state *state = c->run->state;
    struct str rest = str_sub(name, strlen(COUNT_PREFIX), name.len), resource, group = STR("");
    if (!str_cut(rest, '.', &resource, &group))
        resource = rest;
    reconcile_again_after(c, REMOTE_MS);
    for (size_t i = 0; state->known != NULL && i < state->known->count; i++) {
        const struct served_resource *s = &state->known->items[i];
        if (!s->preferred || !s->namespaced || !s->can_list || !str_eqc(group, s->group) ||
            !str_eqc(resource, s->resource))
            continue;
        struct asked *q = ARENA_NEW(c->arena, struct asked);
        *q = (struct asked){n, name};
        reconcile_call(
            c,
            &(struct client_call){
                .verb = CLIENT_LIST,
                .kind =
                    api_kind_by_gvk(STR("meta.k8s.io"), STR("v1"), STR("PartialObjectMetadata")),
                .resource = &(struct client_resource){s->group, s->version, s->resource, true},
                .namespace_name = c->namespace_name,
                .list = {.limit = 1}},
            on_counted, q);
        return;
    }
    /* It may have come since we asked; the answer queues all quotas. */
    if (state->known != NULL && env_now_ms(c->run->env) > state->known->started_ms + REMOTE_MS)
        discoverer_start(state->discoverer);
}

/* --- the status --------------------------------------------------------------------------------
 */

static bool same(const struct api_quantity_entry *x, size_t x_count,
                 const struct api_quantity_entry *y, size_t y_count)
{
    if (x_count != y_count)
        return false;
    for (size_t i = 0; i < x_count; i++) {
        struct quantity p = quantity_of(&x[i].value), q = quantity_of(&y[i].value);
        if (!str_eq(x[i].key, y[i].key) || quantity_cmp(&p, &q) != 0)
            return false;
    }
    return true;
}

static void store(struct reconcile *c)
{
    struct recount *n = c->state;
    const struct core_v1_resource_quota *q = n->quota;
    struct resource_list used = {.arena = c->arena};
    if (c->failed)
        return;
    for (size_t i = 0; i < q->spec.hard_count; i++) {
        const struct quantity *sum = resource_list_get(&n->used, q->spec.hard[i].key);
        resource_list_add(&used, q->spec.hard[i].key,
                          sum != NULL ? *sum : quantity_from_int(0, QUANTITY_DECIMAL_SI));
    }
    size_t count;
    struct api_quantity_entry *list = resource_list_entries(&used, &count);
    if (same(q->status.hard, q->status.hard_count, q->spec.hard, q->spec.hard_count) &&
        same(q->status.used, q->status.used_count, list, count))
        return;
    struct core_v1_resource_quota *copy = ARENA_NEW(c->arena, struct core_v1_resource_quota);
    *copy = *q;
    copy->status.hard = q->spec.hard;
    copy->status.hard_count = q->spec.hard_count;
    copy->status.used = list;
    copy->status.used_count = count;
    reconcile_update(c, api_kind_by_gvk(STR(""), STR("v1"), STR("ResourceQuota")), copy, "status");
}

static bool counts_remote(struct arena *a, const struct core_v1_resource_quota *q)
{
    bool any = false;
    for (size_t i = 0; i < q->spec.hard_count; i++)
        any |= str_has_prefix(q->spec.hard[i].key, STR(COUNT_PREFIX)) &&
               !is_watched(a, q->spec.hard[i].key);
    return any;
}

static void reconcile_quota(struct reconcile *c)
{
    const struct quota_state *state = c->run->state;
    struct api_object *o =
        informer_get_key(controller_informer(c->run, "", "ResourceQuota"), c->key);
    if (o == NULL || api_object_meta(o)->deletion_timestamp != NULL)
        return;
    struct recount *n = ARENA_NEW(c->arena, struct recount);
    n->quota = reconcile_copy(c, o);
    n->used.arena = c->arena;
    c->state = n;
    if (state->known == NULL && counts_remote(c->arena, n->quota))
        return; /* Discovery's answer queues it. */
    for (const struct controller_watch *w = watches; w->kind != NULL; w++)
        count_watched(c, n, w);
    if (find_doubts(c, n)) {
        n->used = (struct resource_list){.arena = c->arena};
        for (const struct controller_watch *w = watches; w->kind != NULL; w++)
            count_watched(c, n, w);
    }
    for (size_t i = 0; i < n->quota->spec.hard_count; i++) {
        struct str name = n->quota->spec.hard[i].key;
        if (str_has_prefix(name, STR(COUNT_PREFIX)) && !is_watched(c->arena, name))
            count_remote(c, n, name);
    }
    reconcile_then(c, store);
}

/* --- beginning, end, now and then
 * ------------------------------------------------------------------ */

static void enqueue_all(struct controller_run *r)
{
    size_t pos = 0;
    const struct informer *quotas = controller_informer(r, "", "ResourceQuota");
    for (struct api_object *o; (o = informer_next(quotas, &pos)) != NULL;)
        controller_enqueue_object(r, o);
}

static void on_discovered(struct discovery *d, const char *err, void *arg)
{
    struct controller_run *r = arg;
    struct quota_state *s = r->state;
    if (d == NULL) {
        log_warning("resourcequota: %s", err);
        return;
    }
    discovery_free(s->known);
    s->known = d;
    enqueue_all(r);
}

static void init(struct controller_run *r)
{
    struct quota_state *s = xzalloc(sizeof(*s));
    r->state = s;
    s->discoverer = discoverer_new(r->client, on_discovered, r);
    discoverer_start(s->discoverer);
}

static void done(struct controller_run *r)
{
    struct quota_state *s = r->state;
    discoverer_free(s->discoverer);
    discovery_free(s->known);
    free(s);
    r->state = NULL;
}

/* The answer queues all quotas. */
static void tick(struct controller_run *r)
{
    struct quota_state *s = r->state;
    discoverer_start(s->discoverer);
}

const struct controller controller_resourcequota = {
    .name = "resourcequota-controller",
    .watches = watches,
    .init = init,
    .done = done,
    .reconcile = reconcile_quota,
    .tick_ms = RECOUNT_MS,
    .tick = tick,
};
