/* admission.c - the table of admission plugins, in the order they run. */
#include "apiserver/admission.h"

#include "apiserver/admission/plugins.h"
#include "apiserver/registry.h"

const struct admission_plugin *const admission_plugins[] = {
    &admission_namespace_lifecycle,
    &admission_limit_ranger,
    &admission_service_account,
    &admission_node_restriction,
    &admission_priority,
    &admission_default_toleration_seconds,
    &admission_taint_nodes_by_condition,
    &admission_storage_object_in_use,
    &admission_runtime_class,
    &admission_certificates,
    &admission_rbac_escalation,
    &admission_mutating_policy,
    &admission_mutating_webhook,
    &admission_validating_policy,
    &admission_validating_webhook,
    &admission_resource_quota, /* Last: nothing is charged that another plugin refuses. */
    NULL,
};

struct meta_v1_status *admission_mutate(const struct admission *adm)
{
    struct meta_v1_status *s = NULL;
    for (size_t i = 0; admission_plugins[i] != NULL && s == NULL; i++)
        if (admission_plugins[i]->mutate != NULL)
            s = admission_plugins[i]->mutate(adm);
    return s;
}

struct meta_v1_status *admission_validate(const struct admission *adm)
{
    struct meta_v1_status *s = NULL;
    for (size_t i = 0; admission_plugins[i] != NULL && s == NULL; i++)
        if (admission_plugins[i]->validate != NULL)
            s = admission_plugins[i]->validate(adm);
    return s;
}

void admission_commit(const struct admission *adm, struct txn_build *txn)
{
    for (size_t i = 0; admission_plugins[i] != NULL; i++)
        if (admission_plugins[i]->commit != NULL)
            admission_plugins[i]->commit(adm, txn);
}

bool admission_is(const struct admission *adm, const char *group, const char *resource)
{
    return adm->subresource[0] == '\0' && strcmp(adm->res->kind->group, group) == 0 &&
           strcmp(adm->res->kind->resource, resource) == 0;
}
