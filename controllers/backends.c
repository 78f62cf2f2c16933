/* backends.c - see backends.h. */
#include "controllers/backends.h"

#include "api/core_v1.h"
#include "controllers/controller.h"
#include "controllers/pods.h"
#include "lib/api/pod.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/client/labels.h"

bool service_is_headless(const struct core_v1_service *s)
{
    return str_eqc(s->spec.cluster_ip, "None");
}

static struct str address_of(const struct core_v1_pod *p, bool v6)
{
    for (size_t i = 0; i < p->status.pod_ips_count; i++)
        if ((str_find(p->status.pod_ips[i].ip, ':', 0) >= 0) == v6)
            return p->status.pod_ips[i].ip;
    bool single = p->status.pod_ips_count == 0 && !str_empty(p->status.pod_ip);
    if (single && (str_find(p->status.pod_ip, ':', 0) >= 0) == v6)
        return p->status.pod_ip;
    return STR_NULL;
}

static int32_t named_port_in(const struct core_v1_container *cs, size_t count, struct str name,
                             struct str protocol)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < cs[i].ports_count; k++) {
            const struct core_v1_container_port *p = &cs[i].ports[k];
            struct str has = str_empty(p->protocol) ? STR("TCP") : p->protocol;
            if (str_eq(p->name, name) && str_eq(has, protocol))
                return p->container_port;
        }
    return 0;
}

/* 0: the pod has no such port. */
static int32_t target_port(const struct core_v1_pod *p, const struct core_v1_service_port *sp,
                           struct str protocol)
{
    if (sp->target_port.type == 0)
        return sp->target_port.int_val != 0 ? sp->target_port.int_val : sp->port;
    if (str_empty(sp->target_port.str_val))
        return sp->port;
    int32_t port = named_port_in(p->spec.containers, p->spec.containers_count,
                                 sp->target_port.str_val, protocol);
    return port != 0 ? port
                     : named_port_in(p->spec.init_containers, p->spec.init_containers_count,
                                     sp->target_port.str_val, protocol);
}

static void resolve_ports(struct arena *a, const struct core_v1_service *s, struct backend *b)
{
    b->ports = ARENA_ARRAY(a, struct backend_port, s->spec.ports_count + 1);
    for (size_t i = 0; i < s->spec.ports_count; i++) {
        const struct core_v1_service_port *sp = &s->spec.ports[i];
        struct str protocol = str_empty(sp->protocol) ? STR("TCP") : sp->protocol;
        int32_t port = target_port(b->pod, sp, protocol);
        if (port == 0)
            continue;
        b->ports[b->port_count++] = (struct backend_port){
            .name = sp->name,
            .protocol = protocol,
            .app_protocol = sp->app_protocol,
            .has_app_protocol = sp->has_app_protocol,
            .port = port,
        };
    }
}

struct api_object **service_pods(struct arena *a, const struct core_v1_service *s,
                                 struct api_object *const *pods, size_t count, size_t *ret_count)
{
    struct api_object **list = ARENA_ARRAY(a, struct api_object *, count + 1);
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        const struct meta_v1_object_meta *m = api_object_meta(pods[i]);
        if (labels_contain(m->labels, m->labels_count, s->spec.selector, s->spec.selector_count))
            list[n++] = pods[i];
    }
    *ret_count = n;
    return list;
}

static int by_address(const void *x, const void *y)
{
    return str_cmp(((const struct backend *)x)->ip, ((const struct backend *)y)->ip);
}

struct backend *service_backends(struct arena *a, const struct core_v1_service *s,
                                 struct api_object *const *pods, size_t pod_count,
                                 struct backend_query query, size_t *ret_count)
{
    struct backend *list = ARENA_ARRAY(a, struct backend, pod_count + 1);
    size_t count = 0;
    for (size_t i = 0; i < pod_count; i++) {
        const struct core_v1_pod *p = pods[i]->msg;
        bool terminating = p->metadata.deletion_timestamp != NULL;
        if (!labels_contain(p->metadata.labels, p->metadata.labels_count, s->spec.selector,
                            s->spec.selector_count))
            continue;
        if (pod_is_terminal(p) || (terminating && !query.with_terminating))
            continue;
        struct str ip = address_of(p, query.v6);
        if (str_empty(ip))
            continue;
        struct backend *b = &list[count];
        bool serving = pod_is_ready(p);
        *b = (struct backend){
            .pod = p,
            .ip = ip,
            .serving = serving,
            .terminating = terminating,
            .ready = s->spec.publish_not_ready_addresses || (serving && !terminating),
        };
        if (!str_empty(p->spec.hostname) && str_eq(p->spec.subdomain, s->metadata.name))
            b->hostname = p->spec.hostname;
        resolve_ports(a, s, b);
        /* None of the ports: the pod serves nothing of this Service. */
        if (query.with_portless || b->port_count != 0 ||
            (s->spec.ports_count == 0 && service_is_headless(s)))
            count++;
    }
    qsort(list, count, sizeof(*list), by_address);
    *ret_count = count;
    return list;
}

bool backend_ports_equal(const struct backend_port *x, size_t x_count, const struct backend_port *y,
                         size_t y_count)
{
    bool same = x_count == y_count;
    for (size_t i = 0; same && i < x_count; i++)
        same = x[i].port == y[i].port && str_eq(x[i].name, y[i].name) &&
               str_eq(x[i].protocol, y[i].protocol) &&
               x[i].has_app_protocol == y[i].has_app_protocol &&
               str_eq(x[i].app_protocol, y[i].app_protocol);
    return same;
}

static int by_key(const void *x, const void *y)
{
    return str_cmp(((const struct api_str_entry *)x)->key, ((const struct api_str_entry *)y)->key);
}

struct api_str_entry *service_labels(struct arena *a, const struct core_v1_service *s,
                                     const struct api_str_entry *ours, size_t ours_count,
                                     size_t *ret_count)
{
    struct api_str_entry *list =
        ARENA_ARRAY(a, struct api_str_entry, s->metadata.labels_count + ours_count + 2);
    size_t count = 0;
    for (size_t i = 0; i < ours_count; i++)
        list[count++] = ours[i];
    if (service_is_headless(s))
        list[count++] = (struct api_str_entry){STR(LABEL_HEADLESS), STR("")};
    size_t fixed = count;
    for (size_t i = 0; i < s->metadata.labels_count; i++) {
        bool taken = str_eqc(s->metadata.labels[i].key, LABEL_HEADLESS);
        for (size_t k = 0; k < fixed; k++)
            taken |= str_eq(list[k].key, s->metadata.labels[i].key);
        if (!taken)
            list[count++] = s->metadata.labels[i];
    }
    qsort(list, count, sizeof(*list), by_key); /* Maps are sorted. */
    *ret_count = count;
    return list;
}

void annotation_set(struct arena *a, struct meta_v1_object_meta *m, const char *key,
                    struct str value)
{
    struct api_str_entry *list = ARENA_ARRAY(a, struct api_str_entry, m->annotations_count + 1);
    size_t n = 0;
    for (size_t i = 0; i <= m->annotations_count; i++) {
        bool end = i == m->annotations_count;
        int by = end ? 1 : str_cmp(m->annotations[i].key, str_of(key));
        if (by >= 0 && !str_empty(value)) { /* Maps are sorted. */
            list[n++] = (struct api_str_entry){str_of(key), value};
            value = STR_NULL;
        }
        if (!end && by != 0)
            list[n++] = m->annotations[i];
    }
    m->annotations = list;
    m->annotations_count = n;
}

static bool selects(const struct core_v1_service *s, const struct api_object *pod)
{
    const struct meta_v1_object_meta *m = pod != NULL ? api_object_meta(pod) : NULL;
    return m != NULL &&
           labels_contain(m->labels, m->labels_count, s->spec.selector, s->spec.selector_count);
}

static bool same_addresses(const struct core_v1_pod_status *x, const struct core_v1_pod_status *y)
{
    bool same = str_eq(x->pod_ip, y->pod_ip) && x->pod_ips_count == y->pod_ips_count;
    for (size_t i = 0; same && i < x->pod_ips_count; i++)
        same = str_eq(x->pod_ips[i].ip, y->pod_ips[i].ip);
    return same;
}

static bool same_labels(const struct meta_v1_object_meta *x, const struct meta_v1_object_meta *y)
{
    bool same = x->labels_count == y->labels_count;
    for (size_t i = 0; same && i < x->labels_count; i++)
        same = str_eq(x->labels[i].key, y->labels[i].key) &&
               str_eq(x->labels[i].value, y->labels[i].value);
    return same;
}

bool pod_serves_alike(const struct core_v1_pod *x, const struct core_v1_pod *y)
{
    return str_eq(x->metadata.uid, y->metadata.uid) && pod_is_going(x) == pod_is_going(y) &&
           pod_is_terminal(x) == pod_is_terminal(y) && pod_is_ready(x) == pod_is_ready(y) &&
           str_eq(x->spec.node_name, y->spec.node_name) &&
           str_eq(x->spec.hostname, y->spec.hostname) &&
           str_eq(x->spec.subdomain, y->spec.subdomain) &&
           same_labels(&x->metadata, &y->metadata) && same_addresses(&x->status, &y->status);
}

void touch_services_of_pod(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    size_t count;
    if (old != NULL && o != NULL && pod_serves_alike(old->msg, o->msg))
        return;
    const struct meta_v1_object_meta *m = api_object_meta(o != NULL ? o : old);
    struct api_object *const *services =
        controller_in_namespace(r, "", "Service", m->namespace, &count);
    for (size_t i = 0; i < count; i++) {
        const struct core_v1_service *s = services[i]->msg;
        if (s->spec.selector_count != 0 && (selects(s, old) || selects(s, o)))
            controller_enqueue_object(r, services[i]);
    }
}

const struct api_kind *slice_kind(void)
{
    return api_kind_by_gvk(STR("discovery.k8s.io"), STR("v1"), STR("EndpointSlice"));
}

bool slice_managed_by(const struct meta_v1_object_meta *m, const char *manager)
{
    const struct str *by = label_get(m, LABEL_MANAGED_BY);
    return by != NULL && str_eqc(*by, manager);
}

void touch_service_of_slice(struct controller_run *r, struct api_object *old, struct api_object *o,
                            const char *manager)
{
    const struct meta_v1_object_meta *m = api_object_meta(o != NULL ? o : old);
    const struct str *service = label_get(m, LABEL_SERVICE_NAME);
    if (service == NULL || !slice_managed_by(m, manager))
        return;
    AUTO_ARENA *a = arena_new(256);
    struct str key = informer_key_of(a, m->namespace, *service);
    if (old == NULL)
        expectations_creation_observed(r->expectations, key);
    controller_enqueue(r, key);
}
