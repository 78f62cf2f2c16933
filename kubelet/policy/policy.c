/* policy.c - see policy.h. */
#include "kubelet/policy/policy.h"

#include "kubelet/kubelet.h"
#include "kubelet/policy/rules.h"

#include "lib/api/pod.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/log.h"
#include "lib/client/informer.h"

#include "api/core_v1.h"
#include "api/networking_v1.h"

#define WHAT "network policies"
#define POD_BYTES (sizeof(struct core_v1_pod) + sizeof(struct api_object) + 512u)

struct policy {
    struct kubelet *k;
    struct policy_keeper *keeper;
    struct informer *policies;
    struct informer *namespaces; /* NULL until a policy selects any. */
    struct informer *pods;       /* NULL until a policy names any. */
    bool policies_synced, namespaces_synced, pods_synced;
};

/* --- what is watched ------------------------------------------------------------------------ */

static void on_change(struct api_object *o, void *arg)
{
    UNUSED(o);
    keeper_changed(((struct policy *)arg)->keeper);
}

static void on_update(struct api_object *old, struct api_object *o, void *arg)
{
    UNUSED(old);
    on_change(o, arg);
}

static void on_delete(struct api_object *o, bool unknown, void *arg)
{
    UNUSED(unknown);
    on_change(o, arg);
}

static void on_namespace_update(struct api_object *old, struct api_object *o, void *arg)
{
    keeper_namespace_updated(((struct policy *)arg)->keeper, old, o);
}

/* Pods report all the time; what counts is whether they have an address, which, and labels. */
static void on_pod_update(struct api_object *old, struct api_object *o, void *arg)
{
    struct policy *p = arg;
    const struct core_v1_pod *a = old->msg, *b = o->msg;
    bool same = policy_pod_counts(a) == policy_pod_counts(b) &&
                str_eq(a->status.pod_ip, b->status.pod_ip) &&
                a->status.pod_ips_count == b->status.pod_ips_count &&
                keeper_same_labels(a->metadata.labels, a->metadata.labels_count, b->metadata.labels,
                                   b->metadata.labels_count);
    for (size_t i = 0; same && i < a->status.pod_ips_count; i++)
        same = str_eq(a->status.pod_ips[i].ip, b->status.pod_ips[i].ip);
    if (!same)
        keeper_changed(p->keeper);
}

static void on_policies_synced(void *arg)
{
    struct policy *p = arg;
    p->policies_synced = true;
    keeper_changed(p->keeper);
}

static void on_namespaces_synced(void *arg)
{
    struct policy *p = arg;
    p->namespaces_synced = true;
    keeper_changed(p->keeper);
}

static void on_pods_synced(void *arg)
{
    struct policy *p = arg;
    p->pods_synced = true;
    keeper_changed(p->keeper);
}

/* Containers are kept for their named ports alone. */
static size_t trim_containers(struct core_v1_container *list, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        size_t named = 0;
        for (size_t k = 0; k < list[i].ports_count; k++)
            if (!str_empty(list[i].ports[k].name))
                list[i].ports[named++] = list[i].ports[k];
        if (named > 0)
            list[kept++] = (struct core_v1_container){.ports = list[i].ports, .ports_count = named};
    }
    return kept;
}

static void trim_meta(struct meta_v1_object_meta *m)
{
    *m = (struct meta_v1_object_meta){.name = m->name,
                                      .namespace = m->namespace,
                                      .uid = m->uid,
                                      .resource_version = m->resource_version,
                                      .labels = m->labels,
                                      .labels_count = m->labels_count};
}

static void trim_pod(struct api_object *o)
{
    struct core_v1_pod *p = o->msg;
    trim_meta(&p->metadata);
    p->spec = (struct core_v1_pod_spec){
        .host_network = p->spec.host_network,
        .containers = p->spec.containers,
        .containers_count = trim_containers(p->spec.containers, p->spec.containers_count),
        .init_containers = p->spec.init_containers,
        .init_containers_count =
            trim_containers(p->spec.init_containers, p->spec.init_containers_count)};
    p->status = (struct core_v1_pod_status){.phase = p->status.phase,
                                            .pod_ip = p->status.pod_ip,
                                            .pod_ips = p->status.pod_ips,
                                            .pod_ips_count = p->status.pod_ips_count};
}

/* Those that selectors cannot name stay with the API server. */
#define COUNTING "spec.hostNetwork=false,status.phase!=Succeeded,status.phase!=Failed"

static void start_pods(struct policy *p)
{
    log_info("network policies name pods: watching those of all nodes");
    p->pods = keeper_watch(p->k,
                           &(struct keeper_kind){.api_version = "v1",
                                                 .kind = "Pod",
                                                 .field_selector = COUNTING,
                                                 .trim = trim_pod,
                                                 .compact_bytes = POD_BYTES},
                           &(struct informer_handler){.on_add = on_change,
                                                      .on_update = on_pod_update,
                                                      .on_delete = on_delete,
                                                      .on_synced = on_pods_synced,
                                                      .arg = p});
}

static void start_namespaces(struct policy *p)
{
    p->namespaces = keeper_watch(p->k,
                                 &(struct keeper_kind){.api_version = "v1",
                                                       .kind = "Namespace",
                                                       .trim = keeper_trim_namespace,
                                                       .compact_bytes = KEEPER_NAMESPACE_BYTES},
                                 &(struct informer_handler){.on_add = on_change,
                                                            .on_update = on_namespace_update,
                                                            .on_delete = on_delete,
                                                            .on_synced = on_namespaces_synced,
                                                            .arg = p});
}

/* --- from the objects to the rules ------------------------------------------------------- */

/* All objects of an informer; an array in a. */
static const void **all_of(struct arena *a, const struct informer *i, size_t *ret_count)
{
    size_t pos = 0, n = 0, max = i != NULL ? informer_count(i) : 0;
    const void **list = ARENA_ARRAY(a, const void *, max + 1);
    for (struct api_object *o; n < max && (o = informer_next(i, &pos)) != NULL;)
        list[n++] = o->msg;
    *ret_count = n;
    return list;
}

static struct policy_state *compute(void *owner, struct policy_local *locals, size_t count)
{
    struct policy *p = owner;
    AUTO_ARENA *a = arena_new(0);
    const uint64_t *seed = keeper_seed(p->keeper);
    struct policy_inputs in = {.locals = locals, .local_count = count, .seed = {seed[0], seed[1]}};
    struct policy_needs needs;
    in.policies = (const struct networking_v1_network_policy *const *)all_of(a, p->policies,
                                                                             &in.policy_count);
    in.namespaces =
        (const struct core_v1_namespace *const *)all_of(a, p->namespaces, &in.namespace_count);
    in.pods = (const struct core_v1_pod *const *)all_of(a, p->pods, &in.pod_count);
    struct policy_state *s = policy_rules(&in, &needs);
    bool lacks_pods = needs.pods && p->pods == NULL;
    bool lacks_namespaces = needs.namespaces && p->namespaces == NULL;
    if (!lacks_pods && !lacks_namespaces)
        return s;
    policy_state_free(s);
    if (lacks_pods)
        start_pods(p);
    if (lacks_namespaces)
        start_namespaces(p);
    return NULL;
}

static bool is_synced(void *owner)
{
    const struct policy *p = owner;
    return p->policies_synced && (p->namespaces == NULL || p->namespaces_synced) &&
           (p->pods == NULL || p->pods_synced);
}

static bool is_free(void *owner, const struct core_v1_pod *pod)
{
    UNUSED(pod);
    return informer_count(((const struct policy *)owner)->policies) == 0;
}

/* --- life ------------------------------------------------------------------------------------- */

bool policy_pod_seen(struct policy *p, const char *uid, struct api_object *pod,
                     const struct rt_sandbox *sandbox)
{
    return p == NULL || keeper_pod_seen(p->keeper, uid, pod, sandbox);
}

void policy_pod_gone(struct policy *p, const char *uid)
{
    if (p != NULL)
        keeper_pod_gone(p->keeper, uid);
}

struct policy *policy_start(struct kubelet *k)
{
    struct policy *p = xzalloc(sizeof(*p));
    p->k = k;
    p->keeper = keeper_new(k, &(struct policy_keeper_config){.what = WHAT,
                                                             .table = &policy_table,
                                                             .is_synced = is_synced,
                                                             .is_free = is_free,
                                                             .compute = compute,
                                                             .owner = p});
    struct informer_handler handler = {.on_add = on_change,
                                       .on_update = on_update,
                                       .on_delete = on_delete,
                                       .on_synced = on_policies_synced,
                                       .arg = p};
    p->policies = keeper_watch(
        k, &(struct keeper_kind){.api_version = "networking.k8s.io/v1", .kind = "NetworkPolicy"},
        &handler);
    return p;
}

void policy_withdraw(struct kubelet *k)
{
    keeper_withdraw(k, WHAT, &policy_table);
}
