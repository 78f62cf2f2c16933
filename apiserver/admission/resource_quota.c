/* resource_quota.c - ResourceQuotas: what a namespace may have in all.
 *
 * Usage is charged in the transaction of the write itself: the quota is stored
 * anew with the sum and compared, so that of two writes at once, through
 * whichever servers, the second starts over and sees the first. A quota counts
 * what its status says is limited; the controller puts that there and counts
 * anew when objects go. */
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "api/resource.h"
#include "api/resource_v1.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/admission/range.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/kinds/rules.h"
#include "apiserver/registry.h"
#include "apiserver/write.h"
#include "lib/api/quota.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#define EVENTS "events"

static bool concerns(const struct admission *adm)
{
    if (adm->ctx->namespace_.len == 0 || strcmp(adm->res->kind->resource, EVENTS) == 0)
        return false;
    if (adm->op == ADMIT_CREATE)
        return adm->subresource[0] == '\0';
    return adm->op == ADMIT_UPDATE &&
           (admission_is(adm, "", "services") || admission_is(adm, "", "persistentvolumeclaims") ||
            (strcmp(adm->subresource, "resize") == 0 && adm->res->kind->group[0] == '\0' &&
             strcmp(adm->res->kind->resource, "pods") == 0));
}

static int64_t now_s(const struct admission *adm)
{
    return adm->ctx->now_ns / 1000000000;
}

/* --- what claims depend on ------------------------------------------------------------------ */

static struct str extended_name(void *arg, struct str device_class)
{
    const struct admission *adm = arg;
    const struct resource_v1_device_class *c =
        kind_lookup(adm->ctx, "resource.k8s.io", "deviceclasses", STR_NULL, device_class);
    return c != NULL ? c->spec.extended_resource_name : STR_NULL;
}

static const struct core_v1_pod *find_pod(void *arg, struct str ns, struct str name)
{
    const struct admission *adm = arg;
    return kind_lookup(adm->ctx, "", "pods", ns, name);
}

static void each_claim(void *arg, struct str ns, struct str pod_uid,
                       void (*each)(const struct resource_v1_resource_claim *c, void *each_arg),
                       void *each_arg)
{
    const struct admission *adm = arg;
    struct namespace_range at;
    const struct kv *kv;
    UNUSED(ns); /* It is the request's. */
    UNUSED(pod_uid);
    namespace_range_init(&at, adm->ctx, STR("resource.k8s.io"), STR("resourceclaims"));
    for (const void *c; (c = namespace_range_next(&at, &kv)) != NULL;)
        each(c, each_arg);
}

/* What the write adds; negative where it gives back. */
static void usage_change(const struct admission *adm, struct resource_list *ret)
{
    const char *group = adm->res->kind->group, *resource = adm->res->kind->resource;
    struct resource_list before = {.arena = ret->arena};
    const struct quota_lookup lookup = {extended_name, find_pod, each_claim, (void *)adm};
    const struct quota_lookup *known = adm->ctx->view != NULL ? &lookup : NULL;
    quota_usage(group, resource, adm->obj, now_s(adm), known, ret);
    if (adm->old == NULL)
        return;
    quota_usage(group, resource, adm->old, now_s(adm), known, &before);
    for (size_t i = 0; i < before.count; i++) {
        struct quantity q = before.items[i].q;
        quantity_neg(&q);
        resource_list_add(ret, before.items[i].name, q);
    }
}

/* --- pods must say what they use ------------------------------------------------------------ */

static bool says(const struct core_v1_resource_requirements *r, struct str name)
{
    static const struct {
        const char *quota, *resource;
        bool limit;
    } needs[] = {{"cpu", "cpu", false},          {"memory", "memory", false},
                 {"requests.cpu", "cpu", false}, {"requests.memory", "memory", false},
                 {"limits.cpu", "cpu", true},    {"limits.memory", "memory", true}};
    for (size_t i = 0; i < ARRAY_SIZE(needs); i++)
        if (str_eqc(name, needs[i].quota))
            return (needs[i].limit
                        ? find_quantity(r->limits, r->limits_count, str_of(needs[i].resource))
                        : find_quantity(r->requests, r->requests_count,
                                        str_of(needs[i].resource))) != NULL;
    return true; /* No other resource is asked of every container. */
}

static int by_name(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

/* "; limits.cpu for: a,b" for one resource that some containers do not give. */
static void name_silent(const struct core_v1_pod_spec *s, struct str name, struct arena *a,
                        struct buf *out)
{
    size_t n = 0, all = s->containers_count + s->init_containers_count;
    struct str *silent = ARENA_ARRAY(a, struct str, all + 1);
    if (s->resources != NULL && says(s->resources, name))
        return;
    for (size_t i = 0; i < all; i++) {
        const struct core_v1_container *c = i < s->containers_count
                                                ? &s->containers[i]
                                                : &s->init_containers[i - s->containers_count];
        if (!says(&c->resources, name))
            silent[n++] = c->name;
    }
    if (n == 0)
        return;
    qsort(silent, n, sizeof(*silent), by_name);
    buf_printf(out, "%s" STR_FMT " for: ", out->len == 0 ? "" : "; ", STR_ARG(name));
    for (size_t i = 0; i < n; i++)
        buf_printf(out, "%s" STR_FMT, i == 0 ? "" : ",", STR_ARG(silent[i]));
}

static struct meta_v1_status *check_said(const struct admission *adm,
                                         const struct core_v1_resource_quota *q)
{
    struct arena *a = adm->ctx->arena;
    AUTO_BUF missing = BUF_INIT;
    if (strcmp(adm->res->kind->resource, "pods") != 0 || adm->res->kind->group[0] != '\0')
        return NULL;
    for (size_t i = 0; i < q->status.hard_count; i++)
        name_silent(&((const struct core_v1_pod *)adm->obj)->spec, q->status.hard[i].key, a,
                    &missing);
    if (missing.len == 0)
        return NULL;
    return status_forbidden(a, adm->res->gr, adm->ctx->name,
                            "failed quota: " STR_FMT ": must specify " STR_FMT,
                            STR_ARG(q->metadata.name), STR_ARG(buf_str(&missing)));
}

/* --- charging ------------------------------------------------------------------------------- */

static void join(struct buf *b, struct str name, struct str amount)
{
    buf_printf(b, "%s" STR_FMT "=" STR_FMT, b->len == 0 ? "" : ",", STR_ARG(name), STR_ARG(amount));
}

/* Adds change to used where the quota limits it. *ret_changed tells whether
 * anything was added. */
static struct meta_v1_status *charge(const struct admission *adm, struct core_v1_resource_quota *q,
                                     const struct resource_list *change, bool *ret_changed)
{
    struct arena *a = adm->ctx->arena;
    struct resource_list used = {.arena = a};
    AUTO_BUF wanted = BUF_INIT;
    AUTO_BUF had = BUF_INIT;
    AUTO_BUF most = BUF_INIT;
    *ret_changed = false;
    resource_list_add_entries(&used, q->status.used, q->status.used_count);
    for (size_t i = 0; i < q->status.hard_count; i++) {
        const struct api_quantity_entry *h = &q->status.hard[i];
        const struct quantity *c = resource_list_get(change, h->key);
        if (c == NULL || quantity_is_zero(c))
            continue;
        const struct quantity *before = resource_list_get(&used, h->key);
        struct quantity limit = quantity_of(&h->value), sum = {0};
        struct str shown = before != NULL ? quantity_str(a, before) : STR("0");
        if (before != NULL)
            sum = *before;
        quantity_add(&sum, c);
        if (quantity_sign(c) > 0 && quantity_cmp(&sum, &limit) > 0) {
            join(&wanted, h->key, quantity_str(a, c));
            join(&had, h->key, shown);
            join(&most, h->key, quantity_shown(&h->value));
        }
        resource_list_add(&used, h->key, *c);
        *ret_changed = true;
    }
    if (wanted.len != 0)
        return status_forbidden(a, adm->res->gr, adm->ctx->name,
                                "exceeded quota: " STR_FMT ", requested: " STR_FMT
                                ", used: " STR_FMT ", limited: " STR_FMT,
                                STR_ARG(q->metadata.name), STR_ARG(buf_str(&wanted)),
                                STR_ARG(buf_str(&had)), STR_ARG(buf_str(&most)));
    q->status.used = resource_list_entries(&used, &q->status.used_count);
    return NULL;
}

/* Limited, but nobody has counted it yet. */
static struct meta_v1_status *check_known(const struct admission *adm,
                                          const struct core_v1_resource_quota *q)
{
    struct arena *a = adm->ctx->arena;
    AUTO_BUF names = BUF_INIT;
    for (size_t i = 0; i < q->status.hard_count; i++) {
        struct str name = q->status.hard[i].key;
        if (quota_counts(a, name, adm->res->kind->group, adm->res->kind->resource) &&
            find_quantity(q->status.used, q->status.used_count, name) == NULL)
            buf_printf(&names, "%s" STR_FMT, names.len == 0 ? "" : ",", STR_ARG(name));
    }
    if (names.len == 0)
        return NULL;
    return status_forbidden(a, adm->res->gr, adm->ctx->name,
                            "status unknown for quota: " STR_FMT ", resources: " STR_FMT,
                            STR_ARG(q->metadata.name), STR_ARG(buf_str(&names)));
}

static void store(const struct admission *adm, const struct namespace_range *at,
                  const struct kv *kv, struct core_v1_resource_quota *q, struct txn_build *txn)
{
    AUTO_BUF b = BUF_INIT;
    struct str key = arena_str(adm->ctx->arena, kv_key(kv));
    q->metadata.resource_version = STR_NULL;
    stored_encode(at->res, q, &b);
    txn->contended = true;
    txn_build_expect(txn, key, kv->mod_rev);
    txn_build_put(txn, key, arena_str(adm->ctx->arena, buf_str(&b)));
}

/* With txn: adds the new usage to it, having been through here without. */
static struct meta_v1_status *run(const struct admission *adm, struct txn_build *txn)
{
    struct namespace_range at;
    struct core_v1_resource_quota *q;
    const struct kv *kv;
    struct resource_list change = {.arena = adm->ctx->arena};
    struct meta_v1_status *s = NULL;
    if (!concerns(adm))
        return NULL;
    namespace_range_init(&at, adm->ctx, STR(""), STR("resourcequotas"));
    while (s == NULL && (q = namespace_range_next(&at, &kv)) != NULL) {
        bool changed;
        if (!quota_applies(q, adm->res->kind->group, adm->res->kind->resource, adm->obj))
            continue;
        if (change.count == 0)
            usage_change(adm, &change);
        s = check_said(adm, q);
        if (s == NULL)
            s = check_known(adm, q);
        if (s == NULL)
            s = charge(adm, q, &change, &changed);
        if (s == NULL && changed && txn != NULL)
            store(adm, &at, kv, q, txn);
    }
    return s;
}

static struct meta_v1_status *validate(const struct admission *adm)
{
    return run(adm, NULL);
}

static void commit(const struct admission *adm, struct txn_build *txn)
{
    run(adm, txn);
}

const struct admission_plugin admission_resource_quota = {
    .name = "ResourceQuota",
    .validate = validate,
    .commit = commit,
};
