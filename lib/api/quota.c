/* quota.c - see quota.h. */
#include "lib/api/quota.h"

#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "api/resource.h"
#include "api/resource_v1.h"
#include "lib/api/device_names.h"
#include "lib/api/owner.h"
#include "lib/api/pod.h"
#include "lib/base/arena.h"

#define DEVICES_OF_CLASS ".deviceclass.resource.k8s.io/devices"
#define DEVICES_MAX 32 /* Of one claim. */
#define HUGEPAGES "hugepages-"
#define CLASS_ANNOTATION "volume.beta.kubernetes.io/storage-class"

static struct quantity number(int64_t n)
{
    return quantity_from_int(n, QUANTITY_DECIMAL_SI);
}

static bool is_core(const char *group, const char *resource, const char *wanted)
{
    return group[0] == '\0' && strcmp(resource, wanted) == 0;
}

/* --- pods ------------------------------------------------------------------------------- */

/* It has ended, or should have by now: its node is lost. */
static bool pod_is_over(const struct core_v1_pod *p, int64_t now_s)
{
    const struct meta_v1_object_meta *m = &p->metadata;
    return pod_is_terminal(p) ||
           (m->deletion_timestamp != NULL && m->has_deletion_grace_period_seconds &&
            now_s > m->deletion_timestamp->seconds + m->deletion_grace_period_seconds);
}

static bool is_compute(struct str name)
{
    return str_eqc(name, "cpu") || str_eqc(name, "memory") || str_eqc(name, "ephemeral-storage");
}

static struct str prefixed(struct arena *a, const char *prefix, struct str name)
{
    return arena_printf(a, "%s" STR_FMT, prefix, STR_ARG(name));
}

static void pod_usage(const struct core_v1_pod *p, int64_t now_s, struct resource_list *ret)
{
    struct arena *a = ret->arena;
    struct resource_list requests = {.arena = a}, limits = {.arena = a};
    if (pod_is_over(p, now_s))
        return;
    resource_list_add(ret, STR("pods"), number(1));
    pod_total(&p->spec, false, true, &requests);
    pod_total(&p->spec, true, true, &limits);
    for (size_t i = 0; i < requests.count; i++) {
        const struct resource_amount *r = &requests.items[i];
        bool huge = str_has_prefix(r->name, STR(HUGEPAGES));
        if (is_compute(r->name) || huge)
            resource_list_add(ret, r->name, r->q);
        resource_list_add(ret, prefixed(a, "requests.", r->name), r->q);
    }
    for (size_t i = 0; i < limits.count; i++)
        if (is_compute(limits.items[i].name))
            resource_list_add(ret, prefixed(a, "limits.", limits.items[i].name), limits.items[i].q);
}

/* --- claims and services ------------------------------------------------------------------- */

static struct str storage_class(const struct core_v1_persistent_volume_claim *c)
{
    for (size_t i = 0; i < c->metadata.annotations_count; i++)
        if (str_eqc(c->metadata.annotations[i].key, CLASS_ANNOTATION))
            return c->metadata.annotations[i].value;
    return c->spec.storage_class_name;
}

static void take_storage(const struct api_quantity_entry *e, size_t count, struct quantity *most)
{
    for (size_t i = 0; i < count; i++) {
        struct quantity q = quantity_of(&e[i].value);
        if (str_eqc(e[i].key, "storage") && quantity_cmp(&q, most) > 0)
            *most = q;
    }
}

static void claim_usage(const struct core_v1_persistent_volume_claim *c, struct resource_list *ret)
{
    struct str class = storage_class(c);
    struct quantity storage = {0};
    take_storage(c->spec.resources.requests, c->spec.resources.requests_count, &storage);
    take_storage(c->status.allocated_resources, c->status.allocated_resources_count, &storage);
    resource_list_add(ret, STR("persistentvolumeclaims"), number(1));
    if (!quantity_is_zero(&storage))
        resource_list_add(ret, STR("requests.storage"), storage);
    if (class.len == 0)
        return;
    resource_list_add(ret,
                      arena_printf(ret->arena,
                                   STR_FMT ".storageclass.storage.k8s.io/persistentvolumeclaims",
                                   STR_ARG(class)),
                      number(1));
    if (!quantity_is_zero(&storage))
        resource_list_add(ret,
                          arena_printf(ret->arena,
                                       STR_FMT ".storageclass.storage.k8s.io/requests.storage",
                                       STR_ARG(class)),
                          storage);
}

static void service_usage(const struct core_v1_service *s, struct resource_list *ret)
{
    bool balanced = str_eqc(s->spec.type, "LoadBalancer");
    int64_t given = 0, ports = (int64_t)s->spec.ports_count;
    resource_list_add(ret, STR("services"), number(1));
    for (size_t i = 0; i < s->spec.ports_count; i++)
        given += s->spec.ports[i].node_port != 0;
    if (balanced && s->spec.has_allocate_load_balancer_node_ports &&
        !s->spec.allocate_load_balancer_node_ports)
        ports = given;
    if (balanced || str_eqc(s->spec.type, "NodePort"))
        resource_list_add(ret, STR("services.nodeports"), number(ports));
    if (balanced)
        resource_list_add(ret, STR("services.loadbalancers"), number(1));
}

/* --- devices ------------------------------------------------------------------------------- */

static bool is_resource_claims(const char *group, const char *resource)
{
    return strcmp(group, "resource.k8s.io") == 0 && strcmp(resource, "resourceclaims") == 0;
}

static int64_t device_count(struct str mode, int64_t count)
{
    if (str_eqc(mode, "All"))
        return DEVICES_MAX; /* At worst. */
    return str_empty(mode) || str_eqc(mode, "ExactCount") ? MAX_OF(count, (int64_t)1) : 0;
}

static void add_devices(struct resource_list *ret, struct str class, int64_t n)
{
    if (n != 0)
        resource_list_add(ret, arena_printf(ret->arena, STR_FMT DEVICES_OF_CLASS, STR_ARG(class)),
                          number(n));
}

/* One of several: of each class, the most that any of them wants. */
static void add_worst(struct resource_list *ret, const struct resource_v1_device_request *r)
{
    for (size_t i = 0; i < r->first_available_count; i++) {
        struct str class = r->first_available[i].device_class_name;
        int64_t most = 0;
        bool counted = false;
        for (size_t k = 0; k < r->first_available_count; k++) {
            const struct resource_v1_device_sub_request *x = &r->first_available[k];
            if (!str_eq(x->device_class_name, class))
                continue;
            counted |= k < i;
            most = MAX_OF(most, device_count(x->allocation_mode, x->count));
        }
        if (!counted)
            add_devices(ret, class, most);
    }
}

/* Whether the scheduler has made it for what a pod asks for by extended names, as it says itself.
 */
static const struct meta_v1_owner_reference *extended_owner(const struct meta_v1_object_meta *m)
{
    const struct str *mark =
        api_str_map_get(m->annotations, m->annotations_count, STR(EXTENDED_CLAIM_ANNOTATION));
    const struct meta_v1_owner_reference *r =
        mark != NULL && str_eqc(*mark, "true") ? owner_controller(m) : NULL;
    return r != NULL && str_eqc(r->kind, "Pod") && str_eqc(r->api_version, "v1") ? r : NULL;
}

struct rivals {
    const struct meta_v1_object_meta *claim;
    struct str pod_uid;
    bool any; /* That came before. */
};

static void look_at_rival(const struct resource_v1_resource_claim *c, void *arg)
{
    struct rivals *v = arg;
    const struct meta_v1_owner_reference *owner = extended_owner(&c->metadata);
    if (owner == NULL || !str_eq(owner->uid, v->pod_uid) ||
        str_eq(c->metadata.name, v->claim->name))
        return;
    const struct meta_v1_time *x = &c->metadata.creation_timestamp,
                              *y = &v->claim->creation_timestamp;
    v->any |= x->seconds < y->seconds ||
              (x->seconds == y->seconds && str_cmp(c->metadata.name, v->claim->name) < 0);
}

/* The pod with which the claim's devices are counted already; NULL: with none. What a claim says of
 * itself is the user's to write, so the pod must name it; before it can, the first one counts. */
static const struct core_v1_pod *charged_pod(const struct resource_v1_resource_claim *c,
                                             const struct quota_lookup *l)
{
    const struct meta_v1_owner_reference *owner = extended_owner(&c->metadata);
    const struct core_v1_pod *p =
        owner != NULL ? l->pod(l->arg, c->metadata.namespace, owner->name) : NULL;
    if (p == NULL || !str_eq(p->metadata.uid, owner->uid))
        return NULL;
    const struct core_v1_pod_extended_resource_claim_status *s =
        p->status.extended_resource_claim_status;
    if (s != NULL)
        return str_eq(s->resource_claim_name, c->metadata.name) ? p : NULL;
    struct rivals v = {.claim = &c->metadata, .pod_uid = p->metadata.uid};
    l->claims(l->arg, c->metadata.namespace, v.pod_uid, look_at_rival, &v);
    return v.any ? NULL : p;
}

/* As if pods had asked for the devices of each class by its extended names. */
static void extended_usage(const struct resource_v1_resource_claim *c, int64_t now_s,
                           const struct quota_lookup *l, struct resource_list *ret)
{
    struct arena *a = ret->arena;
    struct resource_list names = {.arena = a}, charged = {.arena = a};
    const struct core_v1_pod *pod = charged_pod(c, l);
    if (pod != NULL)
        pod_usage(pod, now_s, &charged);
    for (size_t i = 0; i < ret->count; i++) {
        struct str class = ret->items[i].name;
        if (!str_has_suffix(class, STR(DEVICES_OF_CLASS)))
            continue;
        class = str_sub(class, 0, class.len - strlen(DEVICES_OF_CLASS));
        struct str name = l->extended_name(l->arg, class);
        resource_list_add(&names, prefixed(a, "requests." DEVICE_CLASS_RESOURCE_PREFIX, class),
                          ret->items[i].q);
        if (name.len != 0)
            resource_list_add(&names, prefixed(a, "requests.", name), ret->items[i].q);
    }
    for (size_t i = 0; i < names.count; i++) {
        const struct quantity *with_pod = resource_list_get(&charged, names.items[i].name);
        struct quantity left = names.items[i].q, taken;
        if (with_pod != NULL) {
            taken = *with_pod;
            quantity_neg(&taken);
            quantity_add(&left, &taken);
        }
        if (quantity_sign(&left) > 0)
            resource_list_add(ret, names.items[i].name, left);
    }
}

static void devices_usage(const struct resource_v1_resource_claim *c, struct resource_list *ret)
{
    for (size_t i = 0; i < c->spec.devices.requests_count; i++) {
        const struct resource_v1_device_request *r = &c->spec.devices.requests[i];
        if (r->first_available_count != 0)
            add_worst(ret, r);
        else if (r->exactly != NULL)
            add_devices(ret, r->exactly->device_class_name,
                        device_count(r->exactly->allocation_mode, r->exactly->count));
    }
}

/* --- any ---------------------------------------------------------------------------------- */

static const char *const plain[] = {"configmaps", "secrets", "replicationcontrollers",
                                    "resourcequotas"};

static void resource_claim_usage(const struct resource_v1_resource_claim *c, int64_t now_s,
                                 const struct quota_lookup *l, struct resource_list *ret)
{
    struct resource_list own = {.arena = ret->arena};
    devices_usage(c, &own);
    if (l != NULL)
        extended_usage(c, now_s, l, &own);
    resource_list_add_all(ret, &own);
}

void quota_usage(const char *group, const char *resource, const void *obj, int64_t now_s,
                 const struct quota_lookup *lookup, struct resource_list *ret)
{
    struct str count =
        arena_printf(ret->arena, "count/%s%s%s", resource, group[0] != '\0' ? "." : "", group);
    resource_list_add(ret, count, number(1));
    if (is_core(group, resource, "pods"))
        pod_usage(obj, now_s, ret);
    else if (is_core(group, resource, "persistentvolumeclaims"))
        claim_usage(obj, ret);
    else if (is_core(group, resource, "services"))
        service_usage(obj, ret);
    else if (is_resource_claims(group, resource))
        resource_claim_usage(obj, now_s, lookup, ret);
    for (size_t i = 0; i < ARRAY_SIZE(plain); i++)
        if (is_core(group, resource, plain[i]))
            resource_list_add(ret, str_of(plain[i]), number(1));
}

bool quota_counts(struct arena *a, struct str name, const char *group, const char *resource)
{
    if (str_has_prefix(name, STR("count/")))
        return str_eq(
            name, arena_printf(a, "count/%s%s%s", resource, group[0] != '\0' ? "." : "", group));
    if (is_resource_claims(group, resource))
        return str_has_suffix(name, STR(DEVICES_OF_CLASS)) ||
               (str_has_prefix(name, STR("requests.")) && str_find(name, '/', 0) >= 0);
    if (group[0] != '\0')
        return false;
    if (str_eqc(name, resource))
        return true;
    if (strcmp(resource, "services") == 0)
        return str_has_prefix(name, STR("services."));
    bool storage = str_eqc(name, "requests.storage") ||
                   str_find_str(name, STR(".storageclass.storage.k8s.io/")) >= 0;
    if (strcmp(resource, "persistentvolumeclaims") == 0)
        return storage;
    if (strcmp(resource, "pods") != 0 || storage)
        return false;
    return is_compute(name) || str_has_prefix(name, STR(HUGEPAGES)) ||
           str_has_prefix(name, STR("requests.")) || str_has_prefix(name, STR("limits."));
}

/* --- scopes --------------------------------------------------------------------------------- */

static bool term_crosses(const struct core_v1_pod_affinity_term *t)
{
    return t->namespaces_count != 0 || t->namespace_selector != NULL;
}

static bool crosses(const struct core_v1_pod_affinity_term *required, size_t required_count,
                    const struct core_v1_weighted_pod_affinity_term *preferred,
                    size_t preferred_count)
{
    for (size_t i = 0; i < required_count; i++)
        if (term_crosses(&required[i]))
            return true;
    for (size_t i = 0; i < preferred_count; i++)
        if (term_crosses(&preferred[i].pod_affinity_term))
            return true;
    return false;
}

static bool crosses_namespaces(const struct core_v1_affinity *f)
{
    if (f == NULL)
        return false;
    const struct core_v1_pod_affinity *p = f->pod_affinity;
    const struct core_v1_pod_anti_affinity *n = f->pod_anti_affinity;
    return (p != NULL && crosses(p->required_during_scheduling_ignored_during_execution,
                                 p->required_during_scheduling_ignored_during_execution_count,
                                 p->preferred_during_scheduling_ignored_during_execution,
                                 p->preferred_during_scheduling_ignored_during_execution_count)) ||
           (n != NULL && crosses(n->required_during_scheduling_ignored_during_execution,
                                 n->required_during_scheduling_ignored_during_execution_count,
                                 n->preferred_during_scheduling_ignored_during_execution,
                                 n->preferred_during_scheduling_ignored_during_execution_count));
}

static bool in_values(const struct core_v1_scoped_resource_selector_requirement *r, struct str v)
{
    for (size_t i = 0; i < r->values_count; i++)
        if (str_eq(r->values[i], v))
            return true;
    return false;
}

/* The name of a class against In, NotIn, Exists, DoesNotExist. */
static bool class_matches(const struct core_v1_scoped_resource_selector_requirement *r,
                          struct str class)
{
    if (str_eqc(r->operator, "In"))
        return class.len != 0 && in_values(r, class);
    if (str_eqc(r->operator, "NotIn"))
        return class.len == 0 || !in_values(r, class);
    return str_eqc(r->operator, "DoesNotExist") == (class.len == 0);
}

static bool pod_in_scope(const struct core_v1_scoped_resource_selector_requirement *r,
                         const struct core_v1_pod *p)
{
    struct str scope = r->scope_name;
    bool ends = p->spec.has_active_deadline_seconds && p->spec.active_deadline_seconds >= 0;
    bool best_effort = str_eqc(p->status.qos_class, "BestEffort");
    if (str_eqc(scope, "Terminating"))
        return ends;
    if (str_eqc(scope, "NotTerminating"))
        return !ends;
    if (str_eqc(scope, "BestEffort"))
        return best_effort;
    if (str_eqc(scope, "NotBestEffort"))
        return !best_effort;
    if (str_eqc(scope, "PriorityClass"))
        return class_matches(r, p->spec.priority_class_name);
    return str_eqc(scope, "CrossNamespacePodAffinity") && crosses_namespaces(p->spec.affinity);
}

static bool claim_in_scope(const struct core_v1_scoped_resource_selector_requirement *r,
                           const struct core_v1_persistent_volume_claim *c)
{
    if (!str_eqc(r->scope_name, "VolumeAttributesClass"))
        return false;
    return class_matches(r, c->spec.volume_attributes_class_name) ||
           (c->status.current_volume_attributes_class_name.len != 0 &&
            class_matches(r, c->status.current_volume_attributes_class_name));
}

static bool in_scope(const struct core_v1_scoped_resource_selector_requirement *r,
                     const char *group, const char *resource, const void *obj)
{
    if (is_core(group, resource, "pods"))
        return pod_in_scope(r, obj);
    if (is_core(group, resource, "persistentvolumeclaims"))
        return claim_in_scope(r, obj);
    return false;
}

bool quota_applies(const struct core_v1_resource_quota *q, const char *group, const char *resource,
                   const void *obj)
{
    const struct core_v1_scope_selector *s = q->spec.scope_selector;
    for (size_t i = 0; i < q->spec.scopes_count; i++) {
        struct core_v1_scoped_resource_selector_requirement r = {.scope_name = q->spec.scopes[i],
                                                                 .operator= STR("Exists")};
        if (!in_scope(&r, group, resource, obj))
            return false;
    }
    for (size_t i = 0; s != NULL && i < s->match_expressions_count; i++)
        if (!in_scope(&s->match_expressions[i], group, resource, obj))
            return false;
    return true;
}
