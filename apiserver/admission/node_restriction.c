/* node_restriction.c - a node agent changes its own node and pods, no others.
 *
 * The Node authorizer says which objects it may touch; this plugin looks inside
 * what it writes. */
#include "api/authentication_v1.h"
#include "api/coordination_v1.h"
#include "api/core_v1.h"
#include "api/resource_v1.h"
#include "api/storage_v1.h"
#include "apiserver/admission/node_certificates.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/admission/policy_match.h"
#include "apiserver/pod_refs.h"
#include "apiserver/registry.h"
#include "apiserver/user.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#define MIRROR_ANNOTATION "kubernetes.io/config.mirror"
#define NODE_LEASES "kube-node-lease"
#define NODE_RESTRICTION "node-restriction.kubernetes.io"

#define REFUSE(adm, ...)                                                                           \
    status_forbidden((adm)->ctx->arena, (adm)->res->gr, (adm)->ctx->name, __VA_ARGS__)

/* --- pods ------------------------------------------------------------------------------------ */
static struct meta_v1_status *check_owner(const struct admission *adm, struct str node,
                                          const struct core_v1_pod *pod)
{
    const struct meta_v1_object_meta *m = &pod->metadata;
    if (m->owner_references_count > 1)
        return REFUSE(adm,
                      "node \"" STR_FMT
                      "\" can only create pods with a single owner reference set to itself",
                      STR_ARG(node));
    const struct meta_v1_owner_reference *o = m->owner_references;
    if (m->owner_references_count == 0 || !str_eqc(o->api_version, "v1") ||
        !str_eqc(o->kind, "Node") || !str_eq(o->name, node))
        return REFUSE(
            adm, "node \"" STR_FMT "\" can only create pods with an owner reference set to itself",
            STR_ARG(node));
    if (!o->has_controller || !o->controller)
        return REFUSE(adm,
                      "node \"" STR_FMT
                      "\" can only create pods with a controller owner reference set to itself",
                      STR_ARG(node));
    if (o->has_block_owner_deletion && o->block_owner_deletion)
        return REFUSE(adm,
                      "node \"" STR_FMT "\" must not set blockOwnerDeletion on an owner reference",
                      STR_ARG(node));
    const struct core_v1_node *own = kind_lookup(adm->ctx, "", "nodes", STR_NULL, node);
    if (own == NULL)
        return status_not_found(adm->ctx->arena, (struct group_resource){STR(""), STR("nodes")},
                                node);
    if (!str_eq(own->metadata.uid, o->uid))
        return REFUSE(adm, "node " STR_FMT " UID mismatch: expected " STR_FMT " got " STR_FMT,
                      STR_ARG(node), STR_ARG(o->uid), STR_ARG(own->metadata.uid));
    return NULL;
}

struct found {
    enum ref_kind kind;
};

static void note_ref(enum ref_kind kind, struct str name, void *arg)
{
    struct found *f = arg;
    UNUSED(name);
    if (f->kind == 0 || kind < f->kind)
        f->kind = kind;
}

/* A mirror pod gives its node no access to anything. */
static struct meta_v1_status *check_refs(const struct admission *adm, struct str node,
                                         const struct core_v1_pod *pod)
{
    static const struct {
        enum ref_kind kind;
        const char *what;
    } refs[] = {{REF_ACCOUNT, "a service account"},    {REF_SECRET, "secrets"},
                {REF_CONFIG_MAP, "configmaps"},        {REF_TRUST_BUNDLE, "clustertrustbundles"},
                {REF_CLAIM, "persistentvolumeclaims"}, {REF_RESOURCE_CLAIM, "resourceclaims"}};
    struct found f = {0};
    if (pod->spec.service_account_name.len != 0)
        f.kind = REF_ACCOUNT;
    else
        pod_refs_visit(adm->ctx->arena, pod, note_ref, &f);
    for (size_t i = 0; i < ARRAY_SIZE(refs); i++)
        if (f.kind == refs[i].kind)
            return REFUSE(adm, "node \"" STR_FMT "\" can not create pods that reference %s",
                          STR_ARG(node), refs[i].what);
    return NULL;
}

static struct meta_v1_status *create_pod(const struct admission *adm, struct str node)
{
    const struct core_v1_pod *pod = adm->obj;
    if (api_str_map_get(pod->metadata.annotations, pod->metadata.annotations_count,
                        STR(MIRROR_ANNOTATION)) == NULL)
        return REFUSE(adm,
                      "pod does not have \"" MIRROR_ANNOTATION "\" annotation, node \"" STR_FMT
                      "\" can only create mirror pods",
                      STR_ARG(node));
    if (!str_eq(pod->spec.node_name, node))
        return REFUSE(adm,
                      "node \"" STR_FMT "\" can only create pods with spec.nodeName set to itself",
                      STR_ARG(node));
    struct meta_v1_status *s = check_owner(adm, node, pod);
    return s != NULL ? s : check_refs(adm, node, pod);
}

static bool same_claims(const struct core_v1_pod_status *x, const struct core_v1_pod_status *y)
{
    if (x->resource_claim_statuses_count != y->resource_claim_statuses_count)
        return false;
    for (size_t i = 0; i < x->resource_claim_statuses_count; i++)
        if (!api_msg_equal(&core_v1_pod_resource_claim_status_msg, &x->resource_claim_statuses[i],
                           &y->resource_claim_statuses[i]))
            return false;
    return true;
}

static bool same_extended(const struct core_v1_pod_extended_resource_claim_status *x,
                          const struct core_v1_pod_extended_resource_claim_status *y)
{
    if (x == NULL || y == NULL)
        return x == y;
    return api_msg_equal(&core_v1_pod_extended_resource_claim_status_msg, x, y);
}

static bool same_entries(const struct api_str_entry *x, size_t nx, const struct api_str_entry *y,
                         size_t ny)
{
    if (nx != ny)
        return false;
    for (size_t i = 0; i < nx; i++) {
        const struct str *v = api_str_map_get(y, ny, x[i].key);
        if (v == NULL || !str_eq(*v, x[i].value))
            return false;
    }
    return true;
}

static struct meta_v1_status *pod_status(const struct admission *adm, struct str node)
{
    const struct core_v1_pod *pod = adm->obj, *old = adm->old;
    if (adm->op != ADMIT_UPDATE)
        return REFUSE(adm, "unexpected operation \"%s\"", policy_operation(adm->op));
    if (!str_eq(old->spec.node_name, node))
        return REFUSE(adm,
                      "node \"" STR_FMT "\" can only update pod status for pods with spec.nodeName "
                      "set to itself",
                      STR_ARG(node));
    if (!same_entries(old->metadata.labels, old->metadata.labels_count, pod->metadata.labels,
                      pod->metadata.labels_count))
        return REFUSE(adm, "node \"" STR_FMT "\" cannot update labels through pod status",
                      STR_ARG(node));
    if (!same_claims(&old->status, &pod->status))
        return REFUSE(adm, "node \"" STR_FMT "\" cannot update resource claim statues",
                      STR_ARG(node));
    if (!same_extended(old->status.extended_resource_claim_status,
                       pod->status.extended_resource_claim_status))
        return REFUSE(adm, "node \"" STR_FMT "\" cannot update extended resource claim statues",
                      STR_ARG(node));
    return NULL;
}

static struct meta_v1_status *pods(const struct admission *adm, struct str node)
{
    const struct core_v1_pod *old = adm->old;
    if (strcmp(adm->subresource, "status") == 0)
        return pod_status(adm, node);
    if (strcmp(adm->subresource, "eviction") == 0) {
        const struct core_v1_pod *pod =
            kind_lookup(adm->ctx, "", "pods", adm->ctx->namespace_, adm->ctx->name);
        return pod == NULL || str_eq(pod->spec.node_name, node)
                   ? NULL
                   : REFUSE(adm,
                            "node " STR_FMT " can only evict pods with spec.nodeName set to itself",
                            STR_ARG(node));
    }
    if (adm->subresource[0] != '\0')
        return REFUSE(adm,
                      "unexpected pod subresource \"%s\", only 'status' and 'eviction' are allowed",
                      adm->subresource);
    if (adm->op == ADMIT_CREATE)
        return create_pod(adm, node);
    if (adm->op != ADMIT_DELETE)
        return REFUSE(adm,
                      "unexpected operation \"%s\", node \"" STR_FMT
                      "\" can only create and delete mirror pods",
                      policy_operation(adm->op), STR_ARG(node));
    if (!str_eq(old->spec.node_name, node))
        return REFUSE(adm,
                      "node \"" STR_FMT "\" can only delete pods with spec.nodeName set to itself",
                      STR_ARG(node));
    return NULL;
}

/* --- nodes ---------------------------------------------------------------------------------------
 */
static struct str label_namespace(struct str key)
{
    struct str ns, name;
    return str_cut(key, '/', &ns, &name) ? ns : STR_NULL;
}

/* domain itself, or below it. */
static bool within(struct str ns, const char *domain)
{
    size_t n = strlen(domain);
    return str_eqc(ns, domain) ||
           (ns.len > n && str_has_suffix(ns, str_n(domain, n)) && ns.data[ns.len - n - 1] == '.');
}

/* May a node not set this label on itself? */
static bool label_forbidden(struct str key)
{
    static const char *const known[] = {"kubernetes.io/hostname",
                                        "topology.kubernetes.io/zone",
                                        "topology.kubernetes.io/region",
                                        "failure-domain.beta.kubernetes.io/zone",
                                        "failure-domain.beta.kubernetes.io/region",
                                        "node.kubernetes.io/instance-type",
                                        "beta.kubernetes.io/instance-type",
                                        "kubernetes.io/os",
                                        "kubernetes.io/arch",
                                        "beta.kubernetes.io/os",
                                        "beta.kubernetes.io/arch"};
    struct str ns = label_namespace(key);
    if (within(ns, NODE_RESTRICTION))
        return true;
    if (!within(ns, "kubernetes.io") && !within(ns, "k8s.io"))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (str_eqc(key, known[i]))
            return false;
    return !within(ns, "kubelet.kubernetes.io") && !within(ns, "node.kubernetes.io");
}

static int compare(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

static void add_changed(struct str *list, size_t *n, const struct meta_v1_object_meta *of,
                        const struct meta_v1_object_meta *against)
{
    for (size_t i = 0; of != NULL && i < of->labels_count; i++) {
        const struct api_str_entry *e = &of->labels[i];
        const struct str *v = against != NULL
                                  ? api_str_map_get(against->labels, against->labels_count, e->key)
                                  : NULL;
        if ((v == NULL || !str_eq(*v, e->value)) && label_forbidden(e->key))
            list[(*n)++] = e->key;
    }
}

/* Forbidden labels that were added, changed or removed, sorted; empty: none. */
static struct str changed_labels(struct arena *a, const struct meta_v1_object_meta *m,
                                 const struct meta_v1_object_meta *old)
{
    AUTO_BUF b = BUF_INIT;
    size_t n = 0, max = m->labels_count + (old != NULL ? old->labels_count : 0);
    struct str *list = ARENA_ARRAY(a, struct str, max + 1);
    add_changed(list, &n, m, old);
    add_changed(list, &n, old, m);
    qsort(list, n, sizeof(*list), compare);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || !str_eq(list[i], list[i - 1]))
            buf_printf(&b, "%s" STR_FMT, i != 0 ? ", " : "", STR_ARG(list[i]));
    return arena_str(a, buf_str(&b));
}

static bool same_taints(const struct core_v1_node_spec *x, const struct core_v1_node_spec *y)
{
    if (x->taints_count != y->taints_count)
        return false;
    for (size_t i = 0; i < x->taints_count; i++)
        if (!api_msg_equal(&core_v1_taint_msg, &x->taints[i], &y->taints[i]))
            return false;
    return true;
}

static struct meta_v1_status *update_node(const struct admission *adm, struct str node)
{
    const struct core_v1_node *obj = adm->obj, *old = adm->old;
    if (obj->spec.config_source != NULL &&
        (old->spec.config_source == NULL ||
         !api_msg_equal(&core_v1_node_config_source_msg, obj->spec.config_source,
                        old->spec.config_source)))
        return REFUSE(adm,
                      "node \"" STR_FMT
                      "\" is not allowed to update configSource to a new non-nil configSource",
                      STR_ARG(node));
    /* Taints and most labels steer pods: they are for those who manage nodes. */
    if (!same_taints(&obj->spec, &old->spec))
        return REFUSE(adm, "node \"" STR_FMT "\" is not allowed to modify taints", STR_ARG(node));
    struct str labels = changed_labels(adm->ctx->arena, &obj->metadata, &old->metadata);
    if (labels.len != 0)
        return REFUSE(adm, "is not allowed to modify labels: " STR_FMT, STR_ARG(labels));
    return NULL;
}

static struct meta_v1_status *nodes(const struct admission *adm, struct str node)
{
    const struct core_v1_node *obj = adm->obj;
    if (!str_eq(adm->ctx->name, node))
        return REFUSE(adm, "node \"" STR_FMT "\" is not allowed to modify node \"" STR_FMT "\"",
                      STR_ARG(node), STR_ARG(adm->ctx->name));
    if (adm->op == ADMIT_UPDATE)
        return update_node(adm, node);
    if (adm->op != ADMIT_CREATE)
        return NULL;
    if (obj->spec.config_source != NULL)
        return REFUSE(
            adm, "node \"" STR_FMT "\" is not allowed to create pods with a non-nil configSource",
            STR_ARG(node));
    struct str labels = changed_labels(adm->ctx->arena, &obj->metadata, NULL);
    if (labels.len != 0)
        return REFUSE(adm,
                      "node \"" STR_FMT "\" is not allowed to set the following labels: " STR_FMT,
                      STR_ARG(node), STR_ARG(labels));
    return NULL;
}

/* --- claims --------------------------------------------------------------------------------------
 */
static void drop_reported(struct core_v1_persistent_volume_claim *c)
{
    struct core_v1_persistent_volume_claim_status *s = &c->status;
    c->metadata.resource_version = STR_NULL;
    c->metadata.managed_fields_count = 0;
    s->capacity_count = s->conditions_count = 0;
    s->allocated_resources_count = s->allocated_resource_statuses_count = 0;
}

static struct meta_v1_status *claims(const struct admission *adm, struct str node)
{
    struct arena *a = adm->ctx->arena;
    const struct api_msg *msg = &core_v1_persistent_volume_claim_msg;
    if (strcmp(adm->subresource, "status") != 0)
        return REFUSE(adm, "may only update PVC status");
    if (adm->op != ADMIT_UPDATE)
        return REFUSE(adm, "unexpected operation \"%s\"", policy_operation(adm->op));
    struct core_v1_persistent_volume_claim *x = api_msg_clone(a, msg, adm->obj),
                                           *y = api_msg_clone(a, msg, adm->old);
    drop_reported(x);
    drop_reported(y);
    api_msg_drop_empty(msg, x);
    api_msg_drop_empty(msg, y);
    if (api_msg_equal(msg, x, y))
        return NULL;
    return REFUSE(adm,
                  "node \"" STR_FMT "\" is not allowed to update fields other than status.quantity "
                  "and status.conditions",
                  STR_ARG(node));
}

/* --- tokens
 * --------------------------------------------------------------------------------------- */
static struct str csi_driver_of_claim(const struct admission *adm, struct str claim)
{
    const struct core_v1_persistent_volume_claim *c =
        kind_lookup(adm->ctx, "", "persistentvolumeclaims", adm->ctx->namespace_, claim);
    const struct core_v1_persistent_volume *v =
        c != NULL ? kind_lookup(adm->ctx, "", "persistentvolumes", STR_NULL, c->spec.volume_name)
                  : NULL;
    return v != NULL && v->spec.persistent_volume_source.csi != NULL
               ? v->spec.persistent_volume_source.csi->driver
               : STR_NULL;
}

static bool driver_has_audience(const struct admission *adm, struct str driver, struct str audience)
{
    const struct storage_v1_csi_driver *d =
        driver.len != 0 ? kind_lookup(adm->ctx, "storage.k8s.io", "csidrivers", STR_NULL, driver)
                        : NULL;
    for (size_t i = 0; d != NULL && i < d->spec.token_requests_count; i++)
        if (str_eq(d->spec.token_requests[i].audience, audience))
            return true;
    return false;
}

static bool volume_has_audience(const struct admission *adm, const struct core_v1_pod *pod,
                                const struct core_v1_volume *v, struct str audience)
{
    const struct core_v1_volume_source *s = &v->volume_source;
    struct str driver = STR_NULL;
    for (size_t i = 0; s->projected != NULL && i < s->projected->sources_count; i++) {
        const struct core_v1_service_account_token_projection *t =
            s->projected->sources[i].service_account_token;
        if (t != NULL && str_eq(t->audience, audience))
            return true;
    }
    if (s->ephemeral != NULL)
        driver =
            csi_driver_of_claim(adm, arena_printf(adm->ctx->arena, STR_FMT "-" STR_FMT,
                                                  STR_ARG(pod->metadata.name), STR_ARG(v->name)));
    else if (s->persistent_volume_claim != NULL)
        driver = csi_driver_of_claim(adm, s->persistent_volume_claim->claim_name);
    else if (s->csi != NULL)
        driver = s->csi->driver;
    return driver_has_audience(adm, driver, audience);
}

static struct meta_v1_status *check_audience(const struct admission *adm,
                                             const struct core_v1_pod *pod,
                                             const struct authentication_v1_token_request *t)
{
    if (t->spec.audiences_count > 1)
        return REFUSE(adm, "node may only request 0 or 1 audiences");
    struct str audience = t->spec.audiences_count == 1 ? t->spec.audiences[0] : STR("");
    for (size_t i = 0; i < pod->spec.volumes_count; i++)
        if (volume_has_audience(adm, pod, &pod->spec.volumes[i], audience))
            return NULL;
    return REFUSE(adm, "audience \"" STR_FMT "\" not found in pod spec volume", STR_ARG(audience));
}

static struct meta_v1_status *accounts(const struct admission *adm, struct str node)
{
    const struct authentication_v1_token_request *t = adm->obj;
    if (adm->op != ADMIT_CREATE || strcmp(adm->subresource, "token") != 0)
        return NULL;
    const struct authentication_v1_bound_object_reference *ref = t->spec.bound_object_ref;
    if (ref == NULL || !str_eqc(ref->api_version, "v1") || !str_eqc(ref->kind, "Pod") ||
        ref->name.len == 0)
        return REFUSE(adm, "node requested token not bound to a pod");
    if (ref->uid.len == 0)
        return REFUSE(adm, "node requested token with a pod binding without a uid");
    const struct core_v1_pod *pod =
        kind_lookup(adm->ctx, "", "pods", adm->ctx->namespace_, ref->name);
    if (pod == NULL)
        return status_not_found(adm->ctx->arena, (struct group_resource){STR(""), STR("pods")},
                                ref->name);
    if (!str_eq(ref->uid, pod->metadata.uid))
        return REFUSE(adm,
                      "the UID in the bound object reference (" STR_FMT
                      ") does not match the UID in record. The object might have been deleted and "
                      "then recreated",
                      STR_ARG(ref->uid));
    if (!str_eq(pod->spec.node_name, node))
        return REFUSE(adm, "node requested token bound to a pod scheduled on a different node");
    return check_audience(adm, pod, t);
}

/* --- the rest
 * --------------------------------------------------------------------------------------- */
static struct meta_v1_status *leases(const struct admission *adm, struct str node)
{
    if (!str_eqc(adm->ctx->namespace_, NODE_LEASES))
        return REFUSE(adm, "can only access leases in the \"" NODE_LEASES "\" system namespace");
    return str_eq(adm->ctx->name, node)
               ? NULL
               : REFUSE(adm,
                        "can only access node lease with the same name as the requesting node");
}

static struct meta_v1_status *csi_nodes(const struct admission *adm, struct str node)
{
    return str_eq(adm->ctx->name, node)
               ? NULL
               : REFUSE(adm, "can only access CSINode with the same name as the requesting node");
}

static struct meta_v1_status *slices(const struct admission *adm, struct str node)
{
    const struct resource_v1_resource_slice *s = adm->op == ADMIT_CREATE ? adm->obj : adm->old;
    if ((adm->op != ADMIT_CREATE && adm->op != ADMIT_DELETE) || str_eq(s->spec.node_name, node))
        return NULL;
    return REFUSE(adm, "can only %s ResourceSlice with the same NodeName as the requesting node",
                  adm->op == ADMIT_CREATE ? "create" : "delete");
}

static const struct {
    const char *group, *resource;
    struct meta_v1_status *(*check)(const struct admission *adm, struct str node);
} kinds[] = {
    {"", "pods", pods},
    {"", "nodes", nodes},
    {"", "persistentvolumeclaims", claims},
    {"", "serviceaccounts", accounts},
    {"coordination.k8s.io", "leases", leases},
    {"storage.k8s.io", "csinodes", csi_nodes},
    {"resource.k8s.io", "resourceslices", slices},
    {"certificates.k8s.io", "certificatesigningrequests", node_certificate_check},
    {"certificates.k8s.io", "podcertificaterequests", node_pod_certificate_check},
};

static struct meta_v1_status *check(const struct admission *adm)
{
    const struct user *u = adm->ctx->user;
    if (!user_is_node(u))
        return NULL;
    struct str node = user_node_name(u);
    if (node.len == 0)
        return REFUSE(adm, "could not determine node from user \"" STR_FMT "\"", STR_ARG(u->name));
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (strcmp(adm->res->kind->resource, kinds[i].resource) == 0 &&
            strcmp(adm->res->kind->group, kinds[i].group) == 0)
            return kinds[i].check(adm, node);
    return NULL;
}

/* Looks at what the client sent, before a kind's own preparation. */
static struct meta_v1_status *mutate(const struct admission *adm)
{
    return check(adm);
}

/* Deletions have nothing to prepare: they come here only. */
static struct meta_v1_status *validate(const struct admission *adm)
{
    return adm->op == ADMIT_DELETE ? check(adm) : NULL;
}

const struct admission_plugin admission_node_restriction = {
    .name = "NodeRestriction",
    .mutate = mutate,
    .validate = validate,
};
