/* authz.c - see authz.h. RBAC joins the chain as one more line. Pure. */
#include "apiserver/cluster.h"
#include "apiserver/authz.h"

#include "api/core_v1.h"
#include "apiserver/encode.h"
#include "apiserver/request.h"
#include "apiserver/user.h"
#include "apiserver/wire.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/net/http_server.h"
#include "raftstore/store.h"

static bool verb_in(const struct authz_attributes *at, const char *list)
{
    return strcmp(list, "*") == 0 || api_list_has(list, str_of(at->verb));
}

static bool read_only(const struct authz_attributes *at)
{
    return verb_in(at, "get,list,watch");
}

static bool is(const struct authz_attributes *at, const char *group, const char *resource)
{
    return at->resource_request && str_eqc(at->group, group) && str_eqc(at->resource, resource);
}

/* --- system:masters ------------------------------------------------------------------ */
static enum authz_decision decide_masters(const struct apiserver *s, struct arena *a,
                                          const struct store_view *view,
                                          const struct authz_attributes *at, struct str *ret_reason)
{
    UNUSED(s), UNUSED(a), UNUSED(view), UNUSED(ret_reason);
    return user_in_group(at->user, GROUP_MASTERS) ? AUTHZ_ALLOW : AUTHZ_NO_OPINION;
}

/* --- what everybody may do --------------------------------------------------------------
 * As upstream's bootstrap roles system:basic-user, system:discovery and
 * system:public-info-viewer. */
static bool public_path(struct str path)
{
    static const char *const paths[] = {"/healthz", "/livez", "/readyz", "/version", "/version/"};
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
        if (str_eqc(path, paths[i]))
            return true;
    return false;
}

static bool discovery_path(struct str path)
{
    static const char *const prefixes[] = {
        "/api",     "/apis",           "/openapi",
        "/healthz", "/livez",          "/readyz",
        "/version", "/openid/v1/jwks", "/.well-known/openid-configuration"};
    for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
        struct str p = str_of(prefixes[i]);
        if (str_has_prefix(path, p) && (path.len == p.len || path.data[p.len] == '/'))
            return true;
    }
    return false;
}

static enum authz_decision decide_everybody(const struct apiserver *s, struct arena *a,
                                            const struct store_view *view,
                                            const struct authz_attributes *at,
                                            struct str *ret_reason)
{
    UNUSED(s), UNUSED(a), UNUSED(view), UNUSED(ret_reason);
    if (!at->resource_request && verb_in(at, "get,head") && public_path(at->path))
        return AUTHZ_ALLOW;
    /* What a joining host reads before it can prove who it is. */
    if (is(at, "", "configmaps") && verb_in(at, "get") && str_eqc(at->ns, "kube-public") &&
        str_eqc(at->name, "cluster-info"))
        return AUTHZ_ALLOW;
    if (!user_in_group(at->user, GROUP_AUTHENTICATED))
        return AUTHZ_NO_OPINION;
    if (!at->resource_request)
        return verb_in(at, "get,head") && discovery_path(at->path) ? AUTHZ_ALLOW : AUTHZ_NO_OPINION;
    if (verb_in(at, "create") && (is(at, "authorization.k8s.io", "selfsubjectaccessreviews") ||
                                  is(at, "authorization.k8s.io", "selfsubjectrulesreviews") ||
                                  is(at, "authentication.k8s.io", "selfsubjectreviews")))
        return AUTHZ_ALLOW;
    return AUTHZ_NO_OPINION;
}

/* --- parts of the control plane ----------------------------------------------------------- */
struct grant {
    const char *group;    /* "*": any */
    const char *resource; /* "*": any; "r/sub" names a subresource */
    const char *verbs;
};

static const struct grant scheduler_grants[] = {
    {"", "events", "create,patch,update"},
    {"events.k8s.io", "events", "create,patch,update"},
    {"coordination.k8s.io", "leases", "create,get,list,watch,update,patch"},
    {"", "nodes", "get,list,watch,patch"},
    {"", "nodes/proxy", "get"},
    {"", "pods", "get,list,watch,delete"},
    {"", "pods/binding", "create"},
    {"", "bindings", "create"},
    {"", "pods/status", "patch,update"},
    {"", "replicationcontrollers", "get,list,watch"},
    {"", "services", "get,list,watch"},
    {"", "namespaces", "get,list,watch"},
    {"", "configmaps", "get,list,watch"},
    {"apps", "*", "get,list,watch"},
    {"policy", "poddisruptionbudgets", "get,list,watch"},
    {"policy", "poddisruptionbudgets/status", "patch,update"},
    {"", "persistentvolumeclaims", "get,list,watch,patch,update"},
    {"", "persistentvolumes", "get,list,watch,patch,update"},
    {"storage.k8s.io", "*", "get,list,watch"},
    {"scheduling.k8s.io", "*", "get,list,watch"},
    {"resource.k8s.io", "*", "get,list,watch,patch,update"},
    {"authentication.k8s.io", "tokenreviews", "create"},
    {"authorization.k8s.io", "subjectaccessreviews", "create"},
    {0},
};

/* Controllers write nearly every kind; what they may not do is hold secrets of
 * people's making beyond tokens, or change roles. */
static const struct grant controller_grants[] = {
    {"rbac.authorization.k8s.io", "*", "get,list,watch,delete,deletecollection,patch,update"},
    {"*", "*", "*"},
    {0},
};

static bool granted(const struct grant *g, const struct authz_attributes *at)
{
    char full[256];
    size_t n = MIN_OF(at->resource.len, sizeof(full) / 2);
    memcpy(full, at->resource.data != NULL ? at->resource.data : "", n);
    if (at->subresource.len != 0) {
        size_t m = MIN_OF(at->subresource.len, sizeof(full) - n - 2);
        full[n++] = '/';
        memcpy(full + n, at->subresource.data, m);
        n += m;
    }
    for (; g->group != NULL; g++)
        if ((g->group[0] == '*' || str_eqc(at->group, g->group)) &&
            (g->resource[0] == '*' || str_eqc(str_n(full, n), g->resource)) &&
            verb_in(at, g->verbs))
            return true;
    return false;
}

static enum authz_decision decide_components(const struct apiserver *s, struct arena *a,
                                             const struct store_view *view,
                                             const struct authz_attributes *at,
                                             struct str *ret_reason)
{
    UNUSED(s), UNUSED(a), UNUSED(view), UNUSED(ret_reason);
    struct str ns, name;
    bool controller = str_eqc(at->user->name, "system:kube-controller-manager") ||
                      (user_service_account(at->user, &ns, &name) && str_eqc(ns, "kube-system"));
    if (!at->resource_request)
        return AUTHZ_NO_OPINION;
    if (str_eqc(at->user->name, "system:kube-scheduler"))
        return granted(scheduler_grants, at) ? AUTHZ_ALLOW : AUTHZ_NO_OPINION;
    if (controller)
        return granted(controller_grants, at) ? AUTHZ_ALLOW : AUTHZ_NO_OPINION;
    return AUTHZ_NO_OPINION;
}

/* --- joining nodes --------------------------------------------------------------------------- */
static enum authz_decision decide_bootstrappers(const struct apiserver *s, struct arena *a,
                                                const struct store_view *view,
                                                const struct authz_attributes *at,
                                                struct str *ret_reason)
{
    UNUSED(s), UNUSED(a), UNUSED(view), UNUSED(ret_reason);
    if (!user_in_group(at->user, GROUP_BOOTSTRAPPERS))
        return AUTHZ_NO_OPINION;
    if (cluster_join_allows(at))
        return AUTHZ_ALLOW;
    if (is(at, "certificates.k8s.io", "certificatesigningrequests") && at->subresource.len == 0 &&
        verb_in(at, "create,get,list,watch"))
        return AUTHZ_ALLOW;
    if (is(at, "", "nodes") && verb_in(at, "get"))
        return AUTHZ_ALLOW;
    if (is(at, "", "configmaps") && verb_in(at, "get") &&
        ((str_eqc(at->ns, "kube-public") && str_eqc(at->name, "cluster-info")) ||
         (str_eqc(at->ns, "kube-system") &&
          (str_eqc(at->name, "kubeadm-config") || str_eqc(at->name, "kubelet-config")))))
        return AUTHZ_ALLOW;
    return AUTHZ_NO_OPINION;
}

/* --- nodes -------------------------------------------------------------------------------------
 */
static bool in_projected(const struct core_v1_projected_volume_source *p, const char *resource,
                         struct str name)
{
    for (size_t i = 0; p != NULL && i < p->sources_count; i++) {
        const struct core_v1_volume_projection *s = &p->sources[i];
        if (strcmp(resource, "secrets") == 0 && s->secret != NULL &&
            str_eq(s->secret->local_object_reference.name, name))
            return true;
        if (strcmp(resource, "configmaps") == 0 && s->config_map != NULL &&
            str_eq(s->config_map->local_object_reference.name, name))
            return true;
    }
    return false;
}

static bool in_container(const struct core_v1_container *c, size_t count, const char *resource,
                         struct str name)
{
    bool secret = strcmp(resource, "secrets") == 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < c[i].env_from_count; j++) {
            const struct core_v1_env_from_source *e = &c[i].env_from[j];
            if (secret ? (e->secret_ref != NULL &&
                          str_eq(e->secret_ref->local_object_reference.name, name))
                       : (e->config_map_ref != NULL &&
                          str_eq(e->config_map_ref->local_object_reference.name, name)))
                return true;
        }
        for (size_t j = 0; j < c[i].env_count; j++) {
            const struct core_v1_env_var_source *v = c[i].env[j].value_from;
            if (v == NULL)
                continue;
            if (secret ? (v->secret_key_ref != NULL &&
                          str_eq(v->secret_key_ref->local_object_reference.name, name))
                       : (v->config_map_key_ref != NULL &&
                          str_eq(v->config_map_key_ref->local_object_reference.name, name)))
                return true;
        }
    }
    return false;
}

static bool pod_refers(const struct core_v1_pod *pod, const char *resource, struct str name)
{
    const struct core_v1_pod_spec *s = &pod->spec;
    for (size_t i = 0; i < s->volumes_count; i++) {
        const struct core_v1_volume_source *v = &s->volumes[i].volume_source;
        if (in_projected(v->projected, resource, name))
            return true;
        if (strcmp(resource, "secrets") == 0 && v->secret != NULL &&
            str_eq(v->secret->secret_name, name))
            return true;
        if (strcmp(resource, "configmaps") == 0 && v->config_map != NULL &&
            str_eq(v->config_map->local_object_reference.name, name))
            return true;
        if (strcmp(resource, "persistentvolumeclaims") == 0 && v->persistent_volume_claim != NULL &&
            str_eq(v->persistent_volume_claim->claim_name, name))
            return true;
    }
    for (size_t i = 0; strcmp(resource, "secrets") == 0 && i < s->image_pull_secrets_count; i++)
        if (str_eq(s->image_pull_secrets[i].name, name))
            return true;
    return in_container(s->containers, s->containers_count, resource, name) ||
           in_container(s->init_containers, s->init_containers_count, resource, name);
}

/* Does a pod bound to the node use this object? Walks the namespace's pods;
 * only those of the node are decoded. */
static bool node_uses(struct arena *a, const struct store_view *view,
                      const struct authz_attributes *at, struct str node, const char *resource,
                      bool service_account)
{
    const struct resource *r = registry_storage(STR(""), STR("pods"));
    struct str from = arena_printf(a, STR_FMT STR_FMT "/", STR_ARG(r->prefix), STR_ARG(at->ns));
    struct str end = arena_printf(a, STR_FMT STR_FMT "0", STR_ARG(r->prefix), STR_ARG(at->ns));
    struct store_iter it;
    if (store_iter_init(&it, view, from, end, 0) != 0)
        return false;
    for (const struct kv *kv; (kv = store_iter_next(&it)) != NULL;) {
        struct str raw;
        void *msg;
        /* Pod.spec is field 2, its nodeName field 10. */
        if (stored_raw(kv->value, &raw, NULL) != 0 ||
            !str_eq(wire_bytes(wire_bytes(raw, 2), 10), node) ||
            stored_decode(a, r, kv->value, kv->mod_rev, &msg, NULL) != 0)
            continue;
        const struct core_v1_pod *pod = msg;
        if (service_account ? str_eq(pod->spec.service_account_name, at->name)
                            : pod_refers(pod, resource, at->name))
            return true;
    }
    return false;
}

static const struct grant node_grants[] = {
    {"", "nodes", "create,get,list,watch,update,patch"},
    {"", "nodes/status", "get,update,patch"},
    {"", "pods", "create,get,list,watch,delete"},
    {"", "pods/status", "get,update,patch"},
    {"", "pods/eviction", "create"},
    {"", "events", "create,patch,update"},
    {"events.k8s.io", "events", "create,patch,update"},
    {"", "services", "get,list,watch"},
    {"", "endpoints", "get,list,watch"},
    {"", "namespaces", "get,list,watch"},
    {"discovery.k8s.io", "endpointslices", "get,list,watch"},
    {"networking.k8s.io", "servicecidrs", "get,list,watch"},
    {"coordination.k8s.io", "leases", "create,get,update,patch,delete"},
    {"certificates.k8s.io", "certificatesigningrequests", "create,get,list,watch"},
    {"node.k8s.io", "runtimeclasses", "get,list,watch"},
    {"storage.k8s.io", "csidrivers", "get,list,watch"},
    {"storage.k8s.io", "csinodes", "create,get,update,patch,delete"},
    {"storage.k8s.io", "volumeattachments", "get"},
    {"", "persistentvolumes", "get"},
    {"", "persistentvolumeclaims/status", "get,update,patch"},
    {"authentication.k8s.io", "tokenreviews", "create"},
    {"authorization.k8s.io", "subjectaccessreviews", "create"},
    {0},
};

static enum authz_decision decide_node(const struct apiserver *s, struct arena *a,
                                       const struct store_view *view,
                                       const struct authz_attributes *at, struct str *ret_reason)
{
    static const char *const used[] = {"secrets", "configmaps", "persistentvolumeclaims"};
    struct str node = user_node_name(at->user);
    UNUSED(s);
    if (node.len == 0 || !at->resource_request)
        return AUTHZ_NO_OPINION;
    for (size_t i = 0; i < ARRAY_SIZE(used); i++) {
        if (!is(at, "", used[i]) || at->subresource.len != 0)
            continue;
        if (at->name.len != 0 && read_only(at) && node_uses(a, view, at, node, used[i], false))
            return AUTHZ_ALLOW;
        *ret_reason = STR("no relationship found between node and this object");
        return AUTHZ_NO_OPINION;
    }
    if (is(at, "", "serviceaccounts")) {
        bool token = str_eqc(at->subresource, "token") && verb_in(at, "create");
        if (at->name.len != 0 && (token || (at->subresource.len == 0 && read_only(at))) &&
            node_uses(a, view, at, node, "", true))
            return AUTHZ_ALLOW;
        *ret_reason = STR("no relationship found between node and this object");
        return AUTHZ_NO_OPINION;
    }
    return granted(node_grants, at) ? AUTHZ_ALLOW : AUTHZ_NO_OPINION;
}

const struct authorizer authorizers[] = {
    {"Masters", decide_masters},
    {"Everybody", decide_everybody},
    {"Components", decide_components},
    {"Bootstrappers", decide_bootstrappers},
    {"Node", decide_node},
    {0},
};

enum authz_decision authz_decide(const struct apiserver *s, struct arena *a,
                                 const struct store_view *view, const struct authz_attributes *at,
                                 struct str *ret_reason)
{
    *ret_reason = STR("");
    for (const struct authorizer *z = authorizers; z->name != NULL; z++) {
        enum authz_decision d = z->decide(s, a, view, at, ret_reason);
        if (d != AUTHZ_NO_OPINION)
            return d;
    }
    return AUTHZ_NO_OPINION;
}

struct str authz_forbidden_text(struct arena *a, const struct authz_attributes *at)
{
    if (!at->resource_request)
        return arena_printf(a, "User \"" STR_FMT "\" cannot %s path \"" STR_FMT "\"",
                            STR_ARG(at->user->name), at->verb, STR_ARG(at->path));
    struct str what =
        at->subresource.len == 0
            ? at->resource
            : arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(at->resource), STR_ARG(at->subresource));
    struct str text = arena_printf(
        a, "User \"" STR_FMT "\" cannot %s resource \"" STR_FMT "\" in API group \"" STR_FMT "\"",
        STR_ARG(at->user->name), at->verb, STR_ARG(what), STR_ARG(at->group));
    if (at->ns.len != 0)
        return arena_printf(a, STR_FMT " in the namespace \"" STR_FMT "\"", STR_ARG(text),
                            STR_ARG(at->ns));
    return arena_printf(a, STR_FMT " at the cluster scope", STR_ARG(text));
}

static struct meta_v1_status *forbidden(struct req *r, const struct authz_attributes *at,
                                        struct str reason)
{
    struct str text = authz_forbidden_text(r->arena, at);
    if (reason.len != 0)
        text = arena_printf(r->arena, STR_FMT ": " STR_FMT, STR_ARG(text), STR_ARG(reason));
    if (at->resource_request) {
        struct group_resource gr = {at->group, at->resource};
        return status_forbidden(r->arena, gr, at->name, STR_FMT, STR_ARG(text));
    }
    struct meta_v1_status *s =
        status_printf(r->arena, 403, "Forbidden", "forbidden: " STR_FMT, STR_ARG(text));
    status_details(r->arena, s);
    return s;
}

struct meta_v1_status *authz_check(struct req *r)
{
    struct authz_attributes at = {
        .user = r->user,
        .verb = r->info.verb,
        .resource_request = r->info.is_resource,
        .group = r->info.group,
        .version = r->info.version,
        .resource = r->info.resource,
        .subresource = r->info.subresource,
        .name = r->info.name.len != 0 ? r->info.name : r->info.selected_name,
        .ns = r->info.ns,
        .path = r->info.path,
    };
    struct str reason;
    /* Most requests need no look at the store. */
    if (user_in_group(r->user, GROUP_MASTERS))
        return NULL;
    return authz_decide(r->server, r->arena, req_view(r), &at, &reason) == AUTHZ_ALLOW
               ? NULL
               : forbidden(r, &at, reason);
}
