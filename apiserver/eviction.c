/* eviction.c - deletion of a pod within its disruption budget. The budget's
 * new status and the deletion are one transaction. */
#include "api/core_v1.h"
#include "api/policy_v1.h"
#include "apiserver/body.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/field_manager.h"
#include "apiserver/selector.h"
#include "apiserver/subresource.h"
#include "apiserver/write.h"
#include "lib/api/codec.h"
#include "lib/api/pod.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "raftstore/store.h"

#include <inttypes.h>

#define DISRUPTED_PODS_MAX 2000u
#define RETRY_S 10

struct budget {
    const struct kv *kv;
    struct policy_v1_pod_disruption_budget *pdb;
    size_t matches;
};

static struct meta_v1_status *find_budget(struct write *w, const struct core_v1_pod *pod,
                                          struct budget *ret)
{
    struct arena *a = w->req->arena;
    const struct resource *res = registry_storage(STR("policy"), STR("poddisruptionbudgets"));
    struct str from = arena_printf(a, STR_FMT STR_FMT "/", STR_ARG(res->prefix), STR_ARG(w->ns));
    struct str end = arena_printf(a, STR_FMT STR_FMT "0", STR_ARG(res->prefix), STR_ARG(w->ns));
    struct store_iter it;
    if (store_iter_init(&it, w->view, from, end, 0) != 0)
        return NULL;
    for (const struct kv *kv; (kv = store_iter_next(&it)) != NULL;) {
        void *msg;
        struct api_label_selector s;
        if (stored_decode(a, res, stored_value(kv), kv->mod_rev, &msg, NULL) != 0)
            continue;
        struct policy_v1_pod_disruption_budget *pdb = msg;
        if (api_label_selector_from(a, pdb->spec.selector, &s, NULL) != 0 ||
            !api_label_selector_matches(&s, pod->metadata.labels, pod->metadata.labels_count))
            continue;
        if (ret->matches++ == 0) {
            ret->kv = kv;
            ret->pdb = pdb;
        }
    }
    if (ret->matches > 1)
        return status_internal(
            a,
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does "
            "not support.");
    return NULL;
}

static bool is_ready(const struct core_v1_pod *pod)
{
    for (size_t i = 0; i < pod->status.conditions_count; i++)
        if (str_eqc(pod->status.conditions[i].type, "Ready"))
            return str_eqc(pod->status.conditions[i].status, "True");
    return false;
}

/* No budget is spent on a pod that serves nothing. */
static bool free_of_charge(const struct core_v1_pod *pod, const struct budget *b)
{
    if (b->matches == 0)
        return true;
    if (is_ready(pod))
        return false;
    const struct policy_v1_pod_disruption_budget *p = b->pdb;
    if (p->spec.has_unhealthy_pod_eviction_policy &&
        str_eqc(p->spec.unhealthy_pod_eviction_policy, "AlwaysAllow"))
        return true;
    return p->status.current_healthy >= p->status.desired_healthy && p->status.desired_healthy > 0;
}

static struct meta_v1_status *over_budget(struct arena *a, struct str cause)
{
    struct meta_v1_status *s =
        status_too_many(a, 0, "Cannot evict pod as it would violate the pod's disruption budget.");
    status_add_cause(a, s, "DisruptionBudget", cause, STR_NULL);
    return s;
}

/* The budget's condition follows what is left of it. */
static void set_allowed(struct write *w, struct policy_v1_pod_disruption_budget *p)
{
    struct arena *a = w->req->arena;
    struct policy_v1_pod_disruption_budget_status *st = &p->status;
    struct meta_v1_condition *c =
        ARENA_ARRAY(a, struct meta_v1_condition, st->conditions_count + 1);
    size_t at = st->conditions_count;
    for (size_t i = 0; i < st->conditions_count; i++) {
        c[i] = st->conditions[i];
        if (str_eqc(c[i].type, "DisruptionAllowed"))
            at = i;
    }
    struct str status = st->disruptions_allowed > 0 ? STR("True") : STR("False");
    if (!str_eq(c[at].status, status))
        c[at].last_transition_time.seconds = w->ctx.now_ns / 1000000000;
    c[at].type = STR("DisruptionAllowed");
    c[at].status = status;
    c[at].reason = st->disruptions_allowed > 0 ? STR("SufficientPods") : STR("InsufficientPods");
    c[at].observed_generation = st->observed_generation;
    st->conditions_count = MAX_OF(at + 1, st->conditions_count);
    st->conditions = c;
}

static struct meta_v1_status *spend(struct write *w, const struct budget *b)
{
    struct arena *a = w->req->arena;
    struct policy_v1_pod_disruption_budget *p = b->pdb;
    struct policy_v1_pod_disruption_budget_status *st = &p->status;
    const struct resource *res = registry_storage(STR("policy"), STR("poddisruptionbudgets"));
    if (st->observed_generation < p->metadata.generation) {
        struct meta_v1_status *s =
            over_budget(a, arena_printf(a,
                                        "The disruption budget " STR_FMT
                                        " is still being processed by the server.",
                                        STR_ARG(p->metadata.name)));
        s->details->retry_after_seconds = RETRY_S;
        return s;
    }
    if (st->disruptions_allowed < 0)
        return status_forbidden(a, res->gr, p->metadata.name,
                                "pdb disruptions allowed is negative");
    if (st->disrupted_pods_count > DISRUPTED_PODS_MAX)
        return status_forbidden(
            a, res->gr, p->metadata.name,
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller");
    if (st->disruptions_allowed == 0)
        return over_budget(a, arena_printf(a,
                                           "The disruption budget " STR_FMT " needs %" PRId32
                                           " healthy pods and has %" PRId32 " currently",
                                           STR_ARG(p->metadata.name), st->desired_healthy,
                                           st->current_healthy));
    const struct policy_v1_pod_disruption_budget *old = api_msg_clone(a, res->storage->msg, p);
    st->disruptions_allowed--;
    struct meta_v1_time_entry *e =
        ARENA_ARRAY(a, struct meta_v1_time_entry, st->disrupted_pods_count + 1);
    size_t n = 0, i = 0;
    for (; i < st->disrupted_pods_count && str_cmp(st->disrupted_pods[i].key, w->name) < 0; i++)
        e[n++] = st->disrupted_pods[i];
    e[n].key = w->name;
    e[n++].value.seconds = w->ctx.now_ns / 1000000000;
    for (; i < st->disrupted_pods_count; i++)
        if (!str_eq(st->disrupted_pods[i].key, w->name))
            e[n++] = st->disrupted_pods[i];
    st->disrupted_pods = e;
    st->disrupted_pods_count = n;
    set_allowed(w, p);
    struct field_manager fm = {
        .arena = a,
        .res = res,
        .kind = res->storage,
        .api_version = str_of(res->storage->api_version),
        .subresource = "status",
        .manager = STR("kube-apiserver"),
        .now_s = w->ctx.now_ns / 1000000000,
    };
    field_manager_update(&fm, old, p);
    AUTO_BUF b2 = BUF_INIT;
    p->metadata.resource_version = STR_NULL;
    stored_encode(res, p, &b2);
    struct str key = registry_key(a, res, w->ns, p->metadata.name);
    txn_build_expect(&w->txn, key, b->kv->mod_rev);
    txn_build_put(&w->txn, key, arena_str(a, buf_str(&b2)));
    return NULL;
}

static void set_success(struct write *w)
{
    w->success = status_new(w->req->arena, 201, "", STR_NULL);
    w->success->status = STR("Success");
}

/* Second step: the deletion itself. */
static struct meta_v1_status *delete_pod(struct write *w)
{
    const struct policy_v1_eviction *e = w->arg;
    struct meta_v1_delete_options options = {0};
    if (e->delete_options != NULL)
        options = *e->delete_options;
    struct meta_v1_status *s = write_plan_delete(w, &options);
    set_success(w);
    return s;
}

/* First step: the pod says why it goes, so that its owner can tell. */
static void plan_condition(struct write *w, const struct kv *kv, const struct core_v1_pod *old)
{
    struct arena *a = w->req->arena;
    struct core_v1_pod *pod = api_msg_clone(a, w->res->storage->msg, old);
    struct core_v1_pod_status *st = &pod->status;
    struct core_v1_pod_condition *c =
        ARENA_ARRAY(a, struct core_v1_pod_condition, st->conditions_count + 1);
    size_t at = st->conditions_count;
    for (size_t i = 0; i < st->conditions_count; i++) {
        c[i] = st->conditions[i];
        if (str_eqc(c[i].type, "DisruptionTarget"))
            at = i;
    }
    if (!str_eqc(c[at].status, "True"))
        c[at].last_transition_time.seconds = w->ctx.now_ns / 1000000000;
    c[at].type = STR("DisruptionTarget");
    c[at].status = STR("True");
    c[at].reason = STR("EvictionByEvictionAPI");
    c[at].message = STR("Eviction API: evicting");
    st->conditions_count = MAX_OF(at + 1, st->conditions_count);
    st->conditions = c;
    AUTO_BUF b = BUF_INIT;
    pod->metadata.resource_version = STR_NULL;
    stored_encode(w->res, pod, &b);
    txn_build_expect(&w->txn, w->key, kv->mod_rev);
    txn_build_put(&w->txn, w->key, arena_str(a, buf_str(&b)));
}

static struct meta_v1_status *attempt(struct write *w)
{
    struct req *r = w->req;
    struct policy_v1_eviction *e = arena_memdup(r->arena, w->arg, sizeof(*e));
    const struct kv *kv;
    void *old;
    struct budget b = {0};
    struct meta_v1_status *s = write_load(w, &kv, &old);
    if (s == NULL && kv == NULL)
        s = status_not_found(r->arena, w->res->gr, w->name);
    if (s == NULL)
        s = write_admit(w, ADMIT_CREATE, "eviction",
                        api_kind_by_gvk(STR("policy"), STR("v1"), STR("Eviction")), e, NULL);
    if (s != NULL)
        return s;
    const struct core_v1_pod *pod = old;
    bool done = pod_is_terminal(pod) || str_eqc(pod->status.phase, "Pending") ||
                pod->metadata.deletion_timestamp != NULL;
    if (!done)
        s = find_budget(w, pod, &b);
    if (s == NULL && !done && !free_of_charge(pod, &b))
        s = spend(w, &b);
    if (s != NULL)
        return s;
    w->dry_run = w->dry_run || (e->delete_options != NULL && e->delete_options->dry_run_count != 0);
    plan_condition(w, kv, pod);
    w->then = delete_pod;
    set_success(w);
    return NULL;
}

void eviction_handle(struct req *r)
{
    void *msg = NULL;
    struct meta_v1_status *s = body_check_options(r, "CreateOptions");
    if (s == NULL)
        s = body_decode(r, api_kind_by_gvk(STR("policy"), STR("v1"), STR("Eviction")), &msg);
    const struct policy_v1_eviction *e = s == NULL ? msg : NULL;
    if (e != NULL && e->metadata.name.len != 0 && !str_eq(e->metadata.name, r->info.name))
        s = status_bad_request(r->arena, "name in URL does not match name in Eviction object");
    if (s != NULL) {
        req_status(r, s);
        return;
    }
    struct write *w = write_new(r, attempt);
    w->arg = msg;
    write_run(w);
}
