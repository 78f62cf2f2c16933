/* admission.c - the table of admission plugins, in the order they run. */
#include "apiserver/admission.h"

#include "apiserver/admission/metrics.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/admission/webhook.h"
#include "apiserver/apiserver.h"
#include "apiserver/ask.h"
#include "apiserver/registry.h"

const struct admission_plugin *const admission_plugins[] = {
    &admission_always_admit,
    &admission_namespace_auto_provision,
    &admission_namespace_lifecycle,
    &admission_namespace_exists,
    &admission_anti_affinity,
    &admission_limit_ranger,
    &admission_service_account,
    &admission_node_restriction,
    &admission_taint_nodes_by_condition,
    &admission_always_pull_images,
    &admission_image_policy,
    &admission_pod_security,
    &admission_pod_node_selector,
    &admission_priority,
    &admission_default_toleration_seconds,
    &admission_pod_toleration_restriction,
    &admission_event_rate_limit,
    &admission_extended_resource_toleration,
    &admission_default_storage_class,
    &admission_storage_object_in_use,
    &admission_owner_references,
    &admission_claim_resize,
    &admission_runtime_class,
    &admission_certificate_approval,
    &admission_certificate_signing,
    &admission_trust_bundle_attest,
    &admission_certificate_subject,
    &admission_default_ingress_class,
    &admission_deny_external_ips,
    &admission_pod_topology_labels,
    &admission_rbac_escalation,
    &admission_policy_permission,
    &admission_vertical_autoscaling, /* Behind LimitRanger, whose usual amounts it changes. */
    &admission_mutating_policy,
    &admission_mutating_webhook,
    &admission_validating_policy,
    &admission_validating_webhook,
    &admission_resource_quota, /* Last: nothing is charged that another plugin refuses. */
    &admission_always_deny,
    NULL,
};

/* A plugin that asked what somebody may do, and has to wait for the answer, did
 * not say anything yet. */
static struct meta_v1_status *unless_waiting(const struct admission *adm, struct meta_v1_status *s)
{
    return asks_waiting(adm->ctx->asks) ? &webhook_wait : s;
}

typedef struct meta_v1_status *phase_fn(const struct admission *adm);

static struct meta_v1_status *run_phase(const struct admission *adm, bool mutating)
{
    const struct admission_plugin *end = adm->again ? &admission_mutating_webhook : NULL;
    const struct admission_setup *setup =
        adm->ctx->server != NULL ? adm->ctx->server->admission : NULL;
    struct meta_v1_status *s = NULL;
    struct admission own = *adm;
    uint64_t start = uv_hrtime(), from = start;
    for (size_t i = 0; admission_plugins[i] != end && s == NULL; i++) {
        const struct admission_plugin *p = admission_plugins[i];
        phase_fn *run = mutating ? p->mutate : p->validate;
        if (run == NULL || (p->ops != 0 && (p->ops & ADMIT_BIT(adm->op)) == 0) ||
            !admission_setup_runs(setup, i, &own.config))
            continue;
        s = unless_waiting(adm, run(&own));
        uint64_t now = uv_hrtime();
        if (s != &webhook_wait) /* Its turn is not over. */
            admission_metrics_time(i, mutating, adm->op, s != NULL, now - from);
        from = now;
    }
    if (s != &webhook_wait)
        admission_metrics_time(SIZE_MAX, mutating, adm->op, s != NULL, from - start);
    return s;
}

struct meta_v1_status *admission_mutate(const struct admission *adm)
{
    return run_phase(adm, true);
}

struct meta_v1_status *admission_mutate_again(const struct admission *adm)
{
    struct admission again = *adm;
    again.again = true;
    return run_phase(&again, true);
}

struct meta_v1_status *admission_validate(const struct admission *adm)
{
    return run_phase(adm, false);
}

void admission_commit(const struct admission *adm, struct txn_build *txn)
{
    const struct admission_setup *setup =
        adm->ctx->server != NULL ? adm->ctx->server->admission : NULL;
    struct admission own = *adm;
    for (size_t i = 0; admission_plugins[i] != NULL; i++)
        if (admission_plugins[i]->commit != NULL && admission_setup_runs(setup, i, &own.config))
            admission_plugins[i]->commit(&own, txn);
}

bool admission_is_any(const struct admission *adm, const char *group, const char *resource)
{
    return strcmp(adm->res->kind->resource, resource) == 0 &&
           strcmp(adm->res->kind->group, group) == 0;
}

bool admission_is(const struct admission *adm, const char *group, const char *resource)
{
    return adm->subresource[0] == '\0' && admission_is_any(adm, group, resource);
}
