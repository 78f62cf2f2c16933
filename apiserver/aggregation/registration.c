/* registration.c - see registration.h. The rules are those of upstream's
 * automatic registration:
 *
 *   there     | wanted: no     on start        always
 *   ----------+------------------------------------------------
 *   nothing   | -              make once       make
 *   unmanaged | -              -               -
 *   on start  | delete once    correct once    correct once      (if it was there before us)
 *   always    | delete         correct once    correct */
#include "apiserver/aggregation/registration.h"

#include "api/apiregistration_v1.h"
#include "apiserver/aggregation/apiservice.h"
#include "apiserver/encode.h"
#include "apiserver/field_manager.h"
#include "apiserver/write.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "raftstore/store.h"

#define MANAGED_LABEL "kube-aggregator.kubernetes.io/automanaged"
#define ON_START "onstart"
#define ALWAYS "true"
#define CHANGES_PER_TXN 100u

typedef struct apiregistration_v1_api_service service_t;

static const struct {
    const char *group, *version;
    int32_t group_priority, version_priority;
} priorities[] = {
    {"", "v1", 18000, 1},
    {"apps", "v1", 17800, 15},
    {"events.k8s.io", "v1", 17750, 15},
    {"authentication.k8s.io", "v1", 17700, 15},
    {"authorization.k8s.io", "v1", 17600, 15},
    {"autoscaling", "v1", 17500, 15},
    {"autoscaling", "v2", 17500, 30},
    {"batch", "v1", 17400, 15},
    {"certificates.k8s.io", "v1", 17300, 15},
    {"certificates.k8s.io", "v1beta1", 17300, 9},
    {"networking.k8s.io", "v1", 17200, 15},
    {"policy", "v1", 17100, 15},
    {"rbac.authorization.k8s.io", "v1", 17000, 15},
    {"storage.k8s.io", "v1", 16800, 15},
    {"admissionregistration.k8s.io", "v1", 16700, 15},
    {"apiextensions.k8s.io", "v1", 16700, 15},
    {"scheduling.k8s.io", "v1", 16600, 15},
    {"coordination.k8s.io", "v1", 16500, 15},
    {"node.k8s.io", "v1", 16300, 15},
    {"discovery.k8s.io", "v1", 16200, 15},
    {"resource.k8s.io", "v1", 16200, 20},
    {"flowcontrol.apiserver.k8s.io", "v1", 16100, 21},
    {"metrics.k8s.io", "v1beta1", 100, 100}, /* As in metrics-server's manifest. */
};

bool registration_priorities(struct str group, struct str version, int32_t *ret_group,
                             int32_t *ret_version)
{
    for (size_t i = 0; i < ARRAY_SIZE(priorities); i++)
        if (str_eqc(group, priorities[i].group) && str_eqc(version, priorities[i].version)) {
            *ret_group = priorities[i].group_priority;
            *ret_version = priorities[i].version_priority;
            return true;
        }
    return false;
}

void registration_init(struct registration *r)
{
    *r = (struct registration){0};
    map_init(&r->synced);
    map_init(&r->at_start);
}

void registration_done(struct registration *r)
{
    map_done(&r->synced);
    map_done(&r->at_start);
}

/* --- what is wanted ----------------------------------------------------------------------- */
struct wanted {
    struct str name, group, version;
    int32_t group_priority, version_priority;
    bool always;
};

struct plan {
    struct registration *r;
    const struct kind_ctx *ctx;
    const struct registration_look *look;
    struct txn_build *txn;
    struct wanted *wanted;
    size_t count, cap;
};

static void want(struct plan *p, const char *group, const char *version)
{
    struct arena *a = p->ctx->arena;
    struct wanted w = {.group = str_of(group),
                       .version = str_of(version),
                       .group_priority = REGISTRATION_CUSTOM_GROUP_PRIORITY,
                       .version_priority = REGISTRATION_CUSTOM_VERSION_PRIORITY};
    w.name = arena_printf(a, "%s.%s", version, group);
    w.always = !registration_priorities(w.group, w.version, &w.group_priority, &w.version_priority);
    p->wanted = arena_grow(a, p->wanted, p->count, &p->cap, sizeof(*p->wanted));
    p->wanted[p->count++] = w;
}

/* metrics.k8s.io has none either: installing metrics-server makes one, which Helm and `kubectl
 * create` refuse to do where there is one, and from then on it is the user's. */
static bool is_left_open(const char *group)
{
    return strcmp(group, "metrics.k8s.io") == 0;
}

/* The group of APIServices has none itself: it must not be taken away. */
static void want_all(struct plan *p)
{
    size_t n;
    const struct registry_group *g = registry_groups(&n);
    want(p, "", "v1");
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; strcmp(g[i].name, APISERVICE_GROUP) != 0 && g[i].versions[j] != NULL;
             j++)
            if (!is_left_open(g[i].name))
                want(p, g[i].name, g[i].versions[j]);
}

static const struct wanted *find_wanted(const struct plan *p, struct str name)
{
    for (size_t i = 0; i < p->count; i++)
        if (str_eq(p->wanted[i].name, name))
            return &p->wanted[i];
    return NULL;
}

/* --- operations --------------------------------------------------------------------------- */
static void put(struct plan *p, const struct kv *kv, const service_t *old, service_t *s)
{
    struct arena *a = p->ctx->arena;
    AUTO_BUF b = BUF_INIT;
    struct str key = registry_key(a, p->look->res, STR_NULL, s->metadata.name);
    field_manager_system(p->ctx, p->look->res, old, s);
    s->metadata.resource_version = STR_NULL;
    stored_encode(p->look->res, s, &b);
    txn_build_expect(p->txn, key, kv != NULL ? kv->mod_rev : 0);
    txn_build_put(p->txn, key, arena_str(a, buf_str(&b)));
}

static void fill_spec(const struct wanted *w, struct apiregistration_v1_api_service_spec *s)
{
    *s = (struct apiregistration_v1_api_service_spec){.group = w->group,
                                                      .version = w->version,
                                                      .group_priority_minimum = w->group_priority,
                                                      .version_priority = w->version_priority};
}

static void make(struct plan *p, const struct wanted *w)
{
    struct arena *a = p->ctx->arena;
    service_t *s = ARENA_NEW(a, service_t);
    struct apiservice_verdict local = apiservice_local();
    char uid[37];
    env_uuid(p->ctx->env, uid);
    s->metadata.name = w->name;
    s->metadata.uid = arena_strc(a, uid);
    s->metadata.creation_timestamp.seconds = p->ctx->now_ns / 1000000000;
    s->metadata.labels = ARENA_NEW(a, struct api_str_entry);
    s->metadata.labels_count = 1;
    s->metadata.labels->key = STR(MANAGED_LABEL);
    s->metadata.labels->value = w->always ? STR(ALWAYS) : STR(ON_START);
    fill_spec(w, &s->spec);
    (void)apiservice_set_available(a, s, &local, p->ctx->now_ns / 1000000000);
    put(p, NULL, NULL, s);
}

static void correct(struct plan *p, const struct wanted *w, size_t at)
{
    const service_t *old = p->look->all[at];
    service_t *s = api_msg_clone(p->ctx->arena, p->look->res->storage->msg, old);
    fill_spec(w, &s->spec);
    put(p, p->look->kvs[at], old, s);
}

static void drop(struct plan *p, size_t at)
{
    const service_t *old = p->look->all[at];
    const struct kv *kv = p->look->kvs[at];
    struct arena *a = p->ctx->arena;
    if (old->metadata.finalizers_count == 0) {
        struct str key = arena_str(a, kv_key(kv));
        txn_build_expect(p->txn, key, kv->mod_rev);
        txn_build_delete(p->txn, key);
        return;
    }
    if (old->metadata.deletion_timestamp != NULL)
        return;
    service_t *s = api_msg_clone(a, p->look->res->storage->msg, old);
    s->metadata.deletion_timestamp = ARENA_NEW(a, struct meta_v1_time);
    s->metadata.deletion_timestamp->seconds = p->ctx->now_ns / 1000000000;
    s->metadata.has_deletion_grace_period_seconds = true;
    put(p, kv, old, s);
}

/* --- deciding ----------------------------------------------------------------------------- */
static struct str managed(const service_t *s)
{
    const struct str *v =
        api_str_map_get(s->metadata.labels, s->metadata.labels_count, STR(MANAGED_LABEL));
    return v != NULL ? *v : STR_NULL;
}

static bool same_spec(const service_t *s, const struct wanted *w)
{
    const struct apiregistration_v1_api_service_spec *x = &s->spec;
    return x->service == NULL && x->ca_bundle.len == 0 && !x->insecure_skip_tls_verify &&
           str_eq(x->group, w->group) && str_eq(x->version, w->version) &&
           x->group_priority_minimum == w->group_priority &&
           x->version_priority == w->version_priority;
}

/* True: an operation has been added. w NULL: not wanted. */
static bool decide(struct plan *p, const struct wanted *w, size_t at, bool there, struct str name)
{
    struct registration *r = p->r;
    bool synced = map_get(&r->synced, name) != NULL;
    if (w != NULL && !w->always && synced)
        return false;
    if (!there) {
        make(p, w);
        return true;
    }
    struct str is = managed(p->look->all[at]);
    bool on_start = str_eqc(is, ON_START);
    if (!on_start && !str_eqc(is, ALWAYS))
        return false;
    if (on_start && (synced || map_get(&r->at_start, name) == NULL))
        return false;
    if (w == NULL)
        drop(p, at);
    else if (!same_spec(p->look->all[at], w))
        correct(p, w, at);
    else
        return false;
    return true;
}

static void note(struct map *m, struct str name)
{
    map_set(m, name, m);
}

bool registration_plan(struct registration *r, const struct kind_ctx *ctx,
                       const struct registration_look *look, struct txn_build *t)
{
    struct plan p = {.r = r, .ctx = ctx, .look = look, .txn = t};
    for (size_t i = 0; !r->started && i < look->count; i++)
        note(&r->at_start, look->all[i]->metadata.name);
    r->started = true;
    want_all(&p);
    size_t before = t->op_count;
    for (size_t i = 0; i < look->count && t->op_count < CHANGES_PER_TXN; i++) {
        struct str name = look->all[i]->metadata.name;
        if (!decide(&p, find_wanted(&p, name), i, true, name))
            note(&r->synced, name);
    }
    for (size_t i = 0; i < p.count && t->op_count < CHANGES_PER_TXN; i++) {
        bool there = false;
        for (size_t j = 0; !there && j < look->count; j++)
            there = str_eq(look->all[j]->metadata.name, p.wanted[i].name);
        if (!there)
            (void)decide(&p, &p.wanted[i], 0, false, p.wanted[i].name);
    }
    return t->op_count != before;
}
