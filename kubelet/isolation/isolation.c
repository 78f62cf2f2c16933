/* isolation.c - see isolation.h. */
#include "kubelet/isolation/isolation_internal.h"

#include "kubelet/kubelet.h"
#include "kubelet/node_routes.h"
#include "kubelet/pod_worker.h"

#include "lib/api/depends.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/client/informer.h"

#include "api/core_v1.h"
#include "api/discovery_v1.h"

#define WHAT "isolation"

static char present; /* What sets hold. */

/* --- looking up ----------------------------------------------------------------------------- */

static enum isolation_mode mode_of(const struct isolation *i, struct str ns)
{
    struct api_object *o = informer_get(i->namespaces, STR_NULL, ns);
    return isolation_mode_of(o != NULL ? o->msg : NULL);
}

const struct isolation_service *isolation_find_service(const struct isolation *i, struct arena *a,
                                                       struct str key)
{
    struct isolation_service *s = ARENA_NEW(a, struct isolation_service);
    struct api_object *o = informer_get_key(i->k->services, key);
    struct api_object *const *slices =
        informer_by_index(i->k->slices, "service", key, &s->slice_count);
    const struct discovery_v1_endpoint_slice **list =
        ARENA_ARRAY(a, const struct discovery_v1_endpoint_slice *, s->slice_count + 1);
    for (size_t n = 0; n < s->slice_count; n++)
        list[n] = slices[n]->msg;
    s->service = o != NULL ? o->msg : NULL;
    s->slices = list;
    return s;
}

/* --- rules ------------------------------------------------------------------------------------ */

static void add_service(struct isolation *i, struct arena *a, struct map *services, struct str key)
{
    if (!map_has(services, key))
        map_set(services, key, (void *)(uintptr_t)isolation_find_service(i, a, key));
    map_set(&i->watched, key, &present);
}

static void gather(struct isolation *i, struct arena *a, const struct policy_local *locals,
                   size_t count, struct map *services, struct map *namespaces)
{
    map_clear(&i->watched);
    for (size_t n = 0; n < count; n++) {
        const struct core_v1_pod *pod = locals[n].pod;
        struct str ns = pod->metadata.namespace;
        struct dependencies d;
        struct error err;
        struct api_object *o = informer_get(i->namespaces, STR_NULL, ns);
        if (o != NULL)
            map_set(namespaces, ns, o->msg);
        (void)depends_of(a, &pod->metadata, &d, &err);
        for (size_t m = 0; m < d.count; m++)
            if (d.items[m].type == DEPEND_SERVICE)
                add_service(i, a, services, isolation_service_key(a, ns, &d.items[m]));
    }
}

static void add_range(struct arena *a, struct isolation_inputs *in, size_t *cap, struct str range)
{
    struct str *list = (struct str *)(uintptr_t)in->cluster_ranges;
    list = arena_grow(a, list, in->cluster_range_count, cap, sizeof(*list));
    list[in->cluster_range_count++] = range;
    in->cluster_ranges = list;
}

/* Where Nodes are not watched for routes, special addresses alone are not the internet. */
static void gather_ranges(struct isolation *i, struct arena *a, struct isolation_inputs *in)
{
    const struct informer *nodes = node_routes_nodes(i->k->routes);
    size_t pos = 0, cap = 0;
    for (struct api_object *o; nodes != NULL && (o = informer_next(nodes, &pos)) != NULL;) {
        const struct core_v1_node *n = o->msg;
        for (size_t k = 0; k < n->spec.pod_cidrs_count; k++)
            add_range(a, in, &cap, n->spec.pod_cidrs[k]);
        if (n->spec.pod_cidrs_count == 0)
            add_range(a, in, &cap, n->spec.pod_cidr);
        for (size_t k = 0; k < n->status.addresses_count; k++)
            add_range(a, in, &cap, n->status.addresses[k].address);
    }
}

static struct policy_state *compute(void *owner, struct policy_local *locals, size_t count)
{
    struct isolation *i = owner;
    AUTO_ARENA *a = arena_new(0);
    const struct kubelet *k = i->k;
    const uint64_t *seed = keeper_seed(i->keeper);
    struct map services, namespaces;
    struct isolation_inputs in = {.locals = locals,
                                  .local_count = count,
                                  .namespaces = &namespaces,
                                  .services = &services,
                                  .cluster_dns = (const char *const *)k->config.cluster_dns.items,
                                  .cluster_dns_count = k->config.cluster_dns.count,
                                  .node_dns = k->node_dns.servers,
                                  .node_dns_count = k->node_dns.server_count,
                                  .seed = {seed[0], seed[1]}};
    map_init(&services);
    map_init(&namespaces);
    gather(i, a, locals, count, &services, &namespaces);
    gather_ranges(i, a, &in);
    struct policy_state *s = isolation_rules(&in);
    map_done(&services);
    map_done(&namespaces);
    return s;
}

static bool is_synced(void *owner)
{
    const struct isolation *i = owner;
    return i->namespaces_synced && informer_has_synced(i->k->services) &&
           informer_has_synced(i->k->slices);
}

static bool is_held(const struct isolation *i, const struct core_v1_pod *pod)
{
    return api_str_map_get(pod->metadata.annotations, pod->metadata.annotations_count,
                           STR(DEPENDS_ON)) != NULL ||
           mode_of(i, pod->metadata.namespace) == ISOLATION_DECLARED;
}

static bool is_free(void *owner, const struct core_v1_pod *pod)
{
    const struct isolation *i = owner;
    return !is_held(i, pod) && mode_of(i, pod->metadata.namespace) == ISOLATION_OPEN;
}

/* --- what is watched ------------------------------------------------------------------------ */

static void kick_waiting(struct isolation *i)
{
    struct str uid;
    void *ignored;
    for (size_t pos = 0; map_next(&i->waiting, &pos, &uid, &ignored);) {
        struct pod_worker *w = map_get(&i->k->workers, uid);
        if (w != NULL)
            pod_worker_kick(w);
    }
}

static void service_changed(struct isolation *i, struct str ns, struct str name)
{
    AUTO_ARENA *a = arena_new(0);
    if (!map_has(&i->watched, arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(ns), STR_ARG(name))))
        return;
    keeper_changed(i->keeper);
    kick_waiting(i);
}

static void on_service(struct api_object *o, void *arg)
{
    const struct meta_v1_object_meta *m = api_object_meta(o);
    service_changed(arg, m->namespace, m->name);
}

static void on_service_update(struct api_object *old, struct api_object *o, void *arg)
{
    UNUSED(old);
    on_service(o, arg);
}

static void on_service_delete(struct api_object *o, bool unknown, void *arg)
{
    UNUSED(unknown);
    on_service(o, arg);
}

static void on_slice(struct api_object *o, void *arg)
{
    const struct meta_v1_object_meta *m = api_object_meta(o);
    const struct str *name =
        api_str_map_get(m->labels, m->labels_count, STR("kubernetes.io/service-name"));
    if (name != NULL)
        service_changed(arg, m->namespace, *name);
}

static void on_slice_update(struct api_object *old, struct api_object *o, void *arg)
{
    on_slice(old, arg);
    on_slice(o, arg);
}

static void on_slice_delete(struct api_object *o, bool unknown, void *arg)
{
    UNUSED(unknown);
    on_slice(o, arg);
}

static void on_namespace(struct api_object *o, void *arg)
{
    UNUSED(o);
    keeper_changed(((struct isolation *)arg)->keeper);
}

static void on_namespace_update(struct api_object *old, struct api_object *o, void *arg)
{
    keeper_namespace_updated(((struct isolation *)arg)->keeper, old, o);
}

static void on_namespace_delete(struct api_object *o, bool unknown, void *arg)
{
    UNUSED(unknown);
    on_namespace(o, arg);
}

static void on_namespaces_synced(void *arg)
{
    struct isolation *i = arg;
    i->namespaces_synced = true;
    keeper_changed(i->keeper);
}

static void on_synced(void *arg)
{
    struct isolation *i = arg;
    keeper_changed(i->keeper);
    kick_waiting(i);
}

void isolation_nodes_changed(struct isolation *i)
{
    const struct isolation_plan *p = i != NULL ? isolation_plan_of(keeper_state(i->keeper)) : NULL;
    if (p != NULL && p->needs_cluster)
        keeper_changed(i->keeper);
}

/* --- pods ------------------------------------------------------------------------------------- */

bool isolation_pod_seen(struct isolation *i, const char *uid, struct api_object *pod,
                        const struct rt_sandbox *sandbox)
{
    return i == NULL || keeper_pod_seen(i->keeper, uid, pod, sandbox);
}

void isolation_pod_gone(struct isolation *i, const char *uid)
{
    if (i == NULL)
        return;
    keeper_pod_gone(i->keeper, uid);
    map_remove(&i->waiting, str_of(uid));
}

char *isolation_awaits(struct isolation *i, const char *uid, const struct core_v1_pod *pod)
{
    if (i == NULL)
        return NULL;
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF missing = BUF_INIT;
    struct dependencies d;
    struct error err;
    (void)depends_of(a, &pod->metadata, &d, &err);
    for (size_t n = 0; d.wait && n < d.count; n++) {
        if (d.items[n].type != DEPEND_SERVICE)
            continue;
        struct str key = isolation_service_key(a, pod->metadata.namespace, &d.items[n]);
        map_set(&i->watched, key, &present);
        const struct isolation_service *s = isolation_find_service(i, a, key);
        if (!isolation_is_ready(s, &d.items[n]))
            buf_printf(&missing, "%s" STR_FMT "%s", missing.len > 0 ? ", " : "",
                       STR_ARG(d.items[n].text), s->service == NULL ? " (no such Service)" : "");
    }
    if (missing.len == 0) {
        map_remove(&i->waiting, str_of(uid));
        return NULL;
    }
    map_set(&i->waiting, str_of(uid), &present);
    return xasprintf("waiting for ready endpoints of: " STR_FMT, STR_ARG(buf_str(&missing)));
}

/* What stands for the Service in variables. */
static const struct core_v1_service *shown(const struct isolation *i, struct arena *a,
                                           const struct core_v1_service *s, bool foreign)
{
    bool headless = str_eqc(s->spec.cluster_ip, "None");
    if (!foreign && !headless)
        return s;
    struct core_v1_service *c = arena_memdup(a, s, sizeof(*s));
    if (foreign)
        c->metadata.name = arena_printf(a, STR_FMT "-" STR_FMT, STR_ARG(s->metadata.namespace),
                                        STR_ARG(s->metadata.name));
    if (headless)
        c->spec.cluster_ip =
            arena_printf(a, STR_FMT "." STR_FMT ".svc.%s", STR_ARG(s->metadata.name),
                         STR_ARG(s->metadata.namespace), i->k->config.cluster_domain);
    return c;
}

static void unref_object(void *o)
{
    api_object_unref(o);
}

bool isolation_services(struct isolation *i, struct arena *a, const struct core_v1_pod *pod,
                        const struct core_v1_service *const **ret, size_t *ret_count)
{
    struct dependencies d;
    struct error err;
    if (i == NULL || !is_held(i, pod))
        return false;
    (void)depends_of(a, &pod->metadata, &d, &err);
    struct str own = pod->metadata.namespace;
    const struct core_v1_service **list =
        ARENA_ARRAY(a, const struct core_v1_service *, 2 * d.count + 1);
    size_t count = 0;
    for (int pass = 0; pass < 2; pass++) /* Those of the own namespace come last and win. */
        for (size_t n = 0; n < d.count; n++) {
            if (d.items[n].type != DEPEND_SERVICE)
                continue;
            struct str key = isolation_service_key(a, own, &d.items[n]);
            struct api_object *o = informer_get_key(i->k->services, key);
            const struct core_v1_service *s = o != NULL ? o->msg : NULL;
            if (s == NULL || str_eq(s->metadata.namespace, own) != (pass == 1))
                continue;
            /* It may be packed, or replaced, before the pod has started. */
            arena_hold(a, api_object_ref(o), unref_object);
            list[count++] = shown(i, a, s, pass == 0);
        }
    *ret = list;
    *ret_count = count;
    return true;
}

/* --- life ------------------------------------------------------------------------------------- */

struct isolation *isolation_start(struct kubelet *k)
{
    struct isolation *i = xzalloc(sizeof(*i));
    i->k = k;
    map_init(&i->watched);
    map_init(&i->waiting);
    i->keeper = keeper_new(k, &(struct policy_keeper_config){.what = WHAT,
                                                             .table = &isolation_table,
                                                             .is_synced = is_synced,
                                                             .is_free = is_free,
                                                             .compute = compute,
                                                             .owner = i});
    i->namespaces = keeper_watch(k,
                                 &(struct keeper_kind){.api_version = "v1",
                                                       .kind = "Namespace",
                                                       .label_selector = DEPENDS_ISOLATION,
                                                       .trim = keeper_trim_namespace,
                                                       .compact_bytes = KEEPER_NAMESPACE_BYTES},
                                 &(struct informer_handler){.on_add = on_namespace,
                                                            .on_update = on_namespace_update,
                                                            .on_delete = on_namespace_delete,
                                                            .on_synced = on_namespaces_synced,
                                                            .arg = i});
    informer_add_handler(k->services, &(struct informer_handler){.on_add = on_service,
                                                                 .on_update = on_service_update,
                                                                 .on_delete = on_service_delete,
                                                                 .on_synced = on_synced,
                                                                 .arg = i});
    informer_add_handler(k->slices, &(struct informer_handler){.on_add = on_slice,
                                                               .on_update = on_slice_update,
                                                               .on_delete = on_slice_delete,
                                                               .on_synced = on_synced,
                                                               .arg = i});
    return i;
}

void isolation_withdraw(struct kubelet *k)
{
    keeper_withdraw(k, WHAT, &isolation_table);
}
