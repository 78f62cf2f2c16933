/* node_restriction.c - a node agent changes its own node and pods, no others.
 *
 * The Node authorizer says which kinds it may touch; this plugin looks inside
 * the objects. */
#include "api/core_v1.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/registry.h"
#include "apiserver/user.h"

static struct meta_v1_status *refuse(const struct admission *adm, struct str node, const char *why)
{
    return status_forbidden(adm->ctx->arena, adm->res->gr, adm->ctx->name,
                            "node \"" STR_FMT "\" %s", STR_ARG(node), why);
}

static struct meta_v1_status *check_pod(const struct admission *adm, struct str node)
{
    const struct core_v1_pod *pod = adm->obj != NULL ? adm->obj : adm->old;
    bool mirror = api_str_map_get(pod->metadata.annotations, pod->metadata.annotations_count,
                                  STR("kubernetes.io/config.mirror")) != NULL;
    if (adm->op == ADMIT_CREATE && !mirror)
        return refuse(adm, node, "can only create mirror pods");
    if (!str_eq(pod->spec.node_name, node))
        return refuse(adm, node,
                      "can only create, update and delete pods with spec.nodeName set to itself");
    if (adm->op == ADMIT_UPDATE && strcmp(adm->subresource, "status") != 0)
        return refuse(adm, node, "can only update pod status");
    return NULL;
}

static struct meta_v1_status *check_node(const struct admission *adm, struct str node)
{
    const struct core_v1_node *obj = adm->obj, *old = adm->old;
    if (!str_eq(adm->ctx->name, node))
        return refuse(adm, node, "is not allowed to modify another node");
    if (adm->op == ADMIT_CREATE && obj->spec.config_source != NULL)
        return refuse(adm, node, "is not allowed to create a node with a non-nil configSource");
    if (adm->op != ADMIT_UPDATE)
        return NULL;
    /* Taints are for those who manage nodes; a node may not lift its own. */
    if (obj->spec.taints_count != old->spec.taints_count && adm->subresource[0] == '\0')
        return refuse(adm, node, "is not allowed to modify taints");
    if (obj->metadata.owner_references_count > old->metadata.owner_references_count)
        return refuse(adm, node, "is not allowed to modify ownerReferences");
    return NULL;
}

static struct meta_v1_status *validate(const struct admission *adm)
{
    struct str node = user_node_name(adm->ctx->user);
    if (node.len == 0)
        return NULL;
    if (strcmp(adm->res->kind->group, "") == 0 && strcmp(adm->res->kind->resource, "pods") == 0)
        return check_pod(adm, node);
    if (strcmp(adm->res->kind->group, "") == 0 && strcmp(adm->res->kind->resource, "nodes") == 0)
        return check_node(adm, node);
    if (admission_is(adm, "coordination.k8s.io", "leases")) {
        if (!str_eqc(adm->ctx->namespace_, "kube-node-lease"))
            return refuse(adm, node,
                          "can only access leases in the \"kube-node-lease\" system namespace");
        if (!str_eq(adm->ctx->name, node))
            return refuse(adm, node,
                          "can only access node lease with the same name as the requesting node");
    }
    return NULL;
}

const struct admission_plugin admission_node_restriction = {
    .name = "NodeRestriction",
    .validate = validate,
};
