/* priority.c - pods get the number behind their priority class; at most one
 * class is the default. */
#include "api/core_v1.h"
#include "api/scheduling_v1.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/registry.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "raftstore/store.h"

#include <inttypes.h>

/* The class marked as default, the highest one if several are. */
static const struct scheduling_v1_priority_class *default_class(const struct kind_ctx *ctx)
{
    const struct resource *r = registry_storage(STR("scheduling.k8s.io"), STR("priorityclasses"));
    const struct scheduling_v1_priority_class *found = NULL;
    struct store_iter it;
    struct str end = arena_str(ctx->arena, r->prefix);
    ((char *)(uintptr_t)end.data)[end.len - 1] = '/' + 1;
    if (store_iter_init(&it, ctx->view, r->prefix, end, 0) != 0)
        return NULL;
    for (const struct kv *kv; (kv = store_iter_next(&it)) != NULL;) {
        void *msg;
        if (stored_decode(ctx->arena, r, stored_value(kv), kv->mod_rev, &msg, NULL) != 0)
            continue;
        const struct scheduling_v1_priority_class *c = msg;
        if (c->global_default && (found == NULL || c->value < found->value))
            found = c;
    }
    return found;
}

static struct meta_v1_status *admit_pod(const struct admission *adm)
{
    const struct kind_ctx *ctx = adm->ctx;
    struct core_v1_pod *pod = adm->obj;
    const struct scheduling_v1_priority_class *c;
    if (pod->spec.priority_class_name.len == 0) {
        c = default_class(ctx);
        if (c != NULL)
            pod->spec.priority_class_name = c->metadata.name;
    } else {
        c = kind_lookup(ctx, "scheduling.k8s.io", "priorityclasses", STR_NULL,
                        pod->spec.priority_class_name);
        if (c == NULL)
            return status_forbidden(ctx->arena, adm->res->gr, ctx->name,
                                    "no PriorityClass with name " STR_FMT " was found",
                                    STR_ARG(pod->spec.priority_class_name));
    }
    int32_t priority = c != NULL ? c->value : 0;
    if (pod->spec.has_priority && pod->spec.priority != priority)
        return status_forbidden(
            ctx->arena, adm->res->gr, ctx->name,
            "the integer value of priority (%" PRId32
            ") must not be provided in pod spec; priority admission controller computed %" PRId32
            " from the given PriorityClass name",
            pod->spec.priority, priority);
    pod->spec.has_priority = true;
    pod->spec.priority = priority;
    struct str policy =
        c != NULL && c->has_preemption_policy ? c->preemption_policy : STR("PreemptLowerPriority");
    if (pod->spec.has_preemption_policy && !str_eq(pod->spec.preemption_policy, policy))
        return status_forbidden(
            ctx->arena, adm->res->gr, ctx->name,
            "the string value of PreemptionPolicy (" STR_FMT
            ") must not be provided in pod spec; priority admission controller computed " STR_FMT
            " from the given PriorityClass name",
            STR_ARG(pod->spec.preemption_policy), STR_ARG(policy));
    pod->spec.has_preemption_policy = true;
    pod->spec.preemption_policy = policy;
    return NULL;
}

static struct meta_v1_status *mutate(const struct admission *adm)
{
    if (!admission_is(adm, "", "pods"))
        return NULL;
    if (adm->op == ADMIT_CREATE)
        return admit_pod(adm);
    if (adm->op == ADMIT_UPDATE) {
        /* Left out by a PUT: as it was. */
        struct core_v1_pod *pod = adm->obj;
        const struct core_v1_pod *old = adm->old;
        if (!pod->spec.has_priority &&
            str_eq(pod->spec.priority_class_name, old->spec.priority_class_name)) {
            pod->spec.has_priority = old->spec.has_priority;
            pod->spec.priority = old->spec.priority;
        }
        if (!pod->spec.has_preemption_policy &&
            str_eq(pod->spec.priority_class_name, old->spec.priority_class_name)) {
            pod->spec.has_preemption_policy = old->spec.has_preemption_policy;
            pod->spec.preemption_policy = old->spec.preemption_policy;
        }
    }
    return NULL;
}

static struct meta_v1_status *validate(const struct admission *adm)
{
    const struct kind_ctx *ctx = adm->ctx;
    if (!admission_is(adm, "scheduling.k8s.io", "priorityclasses") || adm->obj == NULL)
        return NULL;
    const struct scheduling_v1_priority_class *c = adm->obj;
    const struct scheduling_v1_priority_class *d = c->global_default ? default_class(ctx) : NULL;
    if (d != NULL && !str_eq(d->metadata.name, c->metadata.name))
        return status_forbidden(ctx->arena, adm->res->gr, ctx->name,
                                "PriorityClass " STR_FMT
                                " is already marked as default. Only one default can exist",
                                STR_ARG(d->metadata.name));
    return NULL;
}

const struct admission_plugin admission_priority = {
    .name = "Priority",
    .ops = ADMIT_WRITES,
    .mutate = mutate,
    .validate = validate,
};
