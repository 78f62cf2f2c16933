/* authz_node.c - the Node authorizer: what a node agent may touch because of the
 * pods that run on its node. NodeRestriction (admission) looks inside what it
 * writes. Pure. */
#include "apiserver/authz.h"

#include "apiserver/node_graph.h"
#include "apiserver/rbac_rules.h"
#include "apiserver/user.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"

struct question {
    const struct node_graph *graph;
    struct arena *arena;
    const struct authz_attributes *at;
    struct str node;
    struct str *reason;
};

static bool verb_in(const struct question *q, const char *list)
{
    return api_list_has(list, str_of(q->at->verb));
}

static bool refuse(const struct question *q, const char *why)
{
    *q->reason = str_of(why);
    return false;
}

static bool related(const struct question *q, enum ref_kind kind)
{
    if (q->at->name.len == 0)
        return refuse(q, "No Object name found");
    if (node_graph_has(q->graph, q->node, kind, q->at->ns, q->at->name))
        return true;
    *q->reason =
        arena_printf(q->arena, "no relationship found between node '" STR_FMT "' and this object",
                     STR_ARG(q->node));
    return false;
}

/* key=value among the requirements of a field selector. */
static bool selects(const struct question *q, const char *key)
{
    struct str rest = q->at->field_selector, part, k, v;
    for (bool more = rest.len != 0; more;) {
        more = str_cut(rest, ',', &part, &rest);
        if (!str_cut(part, '=', &k, &v) || !str_eqc(str_trim(k), key))
            continue;
        if (v.len != 0 && v.data[0] == '=')
            v = str_sub(v, 1, v.len);
        if (str_eq(str_trim(v), q->node))
            return true;
    }
    return false;
}

/* --- by kind ------------------------------------------------------------------------------- */
static bool read_namespaced(const struct question *q, enum ref_kind kind)
{
    if (!verb_in(q, "get,list,watch"))
        return refuse(q, "can only read resources of this type");
    if (q->at->subresource.len != 0)
        return refuse(q, "cannot read subresource");
    if (q->at->ns.len == 0)
        return refuse(q, "can only read namespaced object of this type");
    return related(q, kind);
}

static bool get_one(const struct question *q, enum ref_kind kind)
{
    if (!verb_in(q, "get"))
        return refuse(q, "can only get individual resources of this type");
    if (q->at->subresource.len != 0)
        return refuse(q, "cannot get subresource");
    return related(q, kind);
}

static bool secrets(const struct question *q)
{
    return read_namespaced(q, REF_SECRET);
}

static bool config_maps(const struct question *q)
{
    return read_namespaced(q, REF_CONFIG_MAP);
}

static bool claims(const struct question *q)
{
    if (!str_eqc(q->at->subresource, "status"))
        return get_one(q, REF_CLAIM);
    if (!verb_in(q, "update,patch"))
        return refuse(q, "can only get/update/patch this type");
    return related(q, REF_CLAIM);
}

static bool volumes(const struct question *q)
{
    return get_one(q, REF_VOLUME);
}

static bool resource_claims(const struct question *q)
{
    return get_one(q, REF_RESOURCE_CLAIM);
}

static bool attachments(const struct question *q)
{
    return get_one(q, REF_ATTACHMENT);
}

static bool accounts(const struct question *q)
{
    if (verb_in(q, "get") && q->at->subresource.len == 0)
        return read_namespaced(q, REF_ACCOUNT);
    if (!verb_in(q, "create") || q->at->name.len == 0)
        return refuse(q, "can only create tokens for individual service accounts");
    if (!str_eqc(q->at->subresource, "token"))
        return refuse(q, "can only create token subresource of serviceaccount");
    return related(q, REF_ACCOUNT);
}

static bool leases(const struct question *q)
{
    if (!verb_in(q, "get,create,update,patch,delete"))
        return refuse(q, "can only get, create, update, patch, or delete a node lease");
    if (!str_eqc(q->at->ns, "kube-node-lease"))
        return refuse(q, "can only access leases in the \"kube-node-lease\" system namespace");
    /* The name of what is created is inside it: NodeRestriction looks there. */
    if (!verb_in(q, "create") && !str_eq(q->at->name, q->node))
        return refuse(q, "can only access node lease with the same name as the requesting node");
    return true;
}

static bool csi_nodes(const struct question *q)
{
    if (!verb_in(q, "get,create,update,patch,delete"))
        return refuse(q, "can only get, create, update, patch, or delete a CSINode");
    if (q->at->subresource.len != 0)
        return refuse(q, "cannot authorize CSINode subresources");
    if (!verb_in(q, "create") && !str_eq(q->at->name, q->node))
        return refuse(q, "can only access CSINode with the same name as the requesting node");
    return true;
}

static bool slices(const struct question *q)
{
    if (q->at->subresource.len != 0)
        return refuse(q, "cannot authorize ResourceSlice subresources");
    if (verb_in(q, "create"))
        return true;
    if (verb_in(q, "get,update,patch,delete"))
        return related(q, REF_SLICE);
    if (!verb_in(q, "watch,list,deletecollection"))
        return refuse(q, "only the following verbs are allowed for a ResourceSlice: get, watch, "
                         "list, create, update, patch, delete, deletecollection");
    if (selects(q, "spec.nodeName"))
        return true;
    return refuse(
        q, "can only list/watch/deletecollection resourceslices with nodeName field selector");
}

/* Trust is no secret: pods choose bundles by labels, too. */
static bool trust_bundles(const struct question *q)
{
    if (!verb_in(q, "get,list,watch"))
        return refuse(q, "can only read resources of this type");
    return q->at->subresource.len == 0 || refuse(q, "cannot read subresource");
}

static bool certificate_requests(const struct question *q)
{
    if (q->at->subresource.len != 0)
        return refuse(q, "nodes may not access the subresources of PodCertificateRequests");
    if (verb_in(q, "create"))
        return true; /* NodeRestriction looks inside. */
    if (verb_in(q, "get"))
        return related(q, REF_CERTIFICATE_REQUEST);
    if (!verb_in(q, "list,watch"))
        return refuse(q, "can only create, get, list and watch this type");
    if (selects(q, "spec.nodeName"))
        return true;
    return refuse(q, "can only list/watch PodCertificateRequests with spec.nodeName field "
                     "selector");
}

static bool nodes(const struct question *q)
{
    if (str_eqc(q->at->subresource, "status"))
        return verb_in(q, "update,patch");
    if (q->at->subresource.len != 0)
        return false;
    if (verb_in(q, "create,update,patch"))
        return true;
    if (!verb_in(q, "get,list,watch"))
        return false;
    if (str_eq(q->at->name, q->node))
        return true;
    if (q->at->name.len == 0)
        *q->reason = arena_printf(
            q->arena, "node '" STR_FMT "' cannot read all nodes, only its own Node object",
            STR_ARG(q->node));
    else
        *q->reason = arena_printf(
            q->arena, "node '" STR_FMT "' cannot read '" STR_FMT "', only its own Node object",
            STR_ARG(q->node), STR_ARG(q->at->name));
    return false;
}

static bool pods(const struct question *q)
{
    if (str_eqc(q->at->subresource, "status"))
        return verb_in(q, "update,patch");
    if (str_eqc(q->at->subresource, "eviction"))
        return verb_in(q, "create");
    if (q->at->subresource.len != 0)
        return false;
    if (verb_in(q, "get"))
        return get_one(q, REF_POD);
    if (verb_in(q, "create,delete"))
        return true; /* Mirror pods: NodeRestriction. */
    if (!verb_in(q, "list,watch"))
        return false;
    if (selects(q, "spec.nodeName"))
        return true;
    if (q->at->name.len != 0)
        return related(q, REF_POD);
    return refuse(q, "can only list/watch pods with spec.nodeName field selector");
}

static const struct {
    const char *group, *resource;
    bool (*allows)(const struct question *q);
} kinds[] = {
    {"", "pods", pods},
    {"", "nodes", nodes},
    {"", "secrets", secrets},
    {"", "configmaps", config_maps},
    {"", "persistentvolumeclaims", claims},
    {"", "persistentvolumes", volumes},
    {"", "serviceaccounts", accounts},
    {"coordination.k8s.io", "leases", leases},
    {"storage.k8s.io", "volumeattachments", attachments},
    {"storage.k8s.io", "csinodes", csi_nodes},
    {"resource.k8s.io", "resourceclaims", resource_claims},
    {"resource.k8s.io", "resourceslices", slices},
    {"certificates.k8s.io", "clustertrustbundles", trust_bundles},
    {"certificates.k8s.io", "podcertificaterequests", certificate_requests},
};

enum authz_decision authz_node_decide(const struct node_graph *graph,
                                      const struct rbac_v1_policy_rule *rules, size_t rule_count,
                                      struct arena *a, const struct authz_attributes *at,
                                      struct str *ret_reason)
{
    *ret_reason = STR_NULL;
    if (!user_is_node(at->user))
        return AUTHZ_NO_OPINION;
    struct question q = {graph, a, at, user_node_name(at->user), ret_reason};
    if (q.node.len == 0) {
        *ret_reason =
            arena_printf(a, "unknown node for user \"" STR_FMT "\"", STR_ARG(at->user->name));
        return AUTHZ_NO_OPINION;
    }
    for (size_t i = 0; at->resource_request && i < ARRAY_SIZE(kinds); i++)
        if (str_eqc(at->resource, kinds[i].resource) && str_eqc(at->group, kinds[i].group))
            return kinds[i].allows(&q) ? AUTHZ_ALLOW : AUTHZ_NO_OPINION;
    return rbac_rules_allow(rules, rule_count, at) ? AUTHZ_ALLOW : AUTHZ_NO_OPINION;
}
