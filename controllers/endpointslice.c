/* endpointslice.c - the EndpointSlices of Services with a selector: at most 100
 * endpoints each, one set of slices per address family and set of ports.
 * Endpoints stay in the slice they are in, so that a change touches few. */
#include "controllers/backends.h"
#include "controllers/controller.h"
#include "controllers/owned.h"

#include "api/core_v1.h"
#include "api/discovery_v1.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/client/labels.h"

#define ENDPOINTS_MAX 100
#define MANAGER "endpointslice-controller.k8s.io"

static void touch_service(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    controller_enqueue_object(r, o != NULL ? o : old);
}

static void touch_slice(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    touch_service_of_slice(r, old, o, MANAGER);
}

/* --- what is wanted --------------------------------------------------------------------- */

/* By the Service's trafficDistribution: whom an endpoint is there for first. Only those that
 * are to be used have a hint. */
static struct discovery_v1_endpoint_hints *
hints_of(struct arena *a, const struct core_v1_service *s, const struct discovery_v1_endpoint *e)
{
    struct str how = s->spec.has_traffic_distribution ? s->spec.traffic_distribution : STR_NULL;
    bool same_node = str_eqc(how, "PreferSameNode");
    bool same_zone = same_node || str_eqc(how, "PreferSameZone") || str_eqc(how, "PreferClose");
    if (!e->conditions.ready || (!(same_zone && e->has_zone) && !(same_node && e->has_node_name)))
        return NULL;
    struct discovery_v1_endpoint_hints *h = ARENA_NEW(a, struct discovery_v1_endpoint_hints);
    if (same_zone && e->has_zone) {
        h->for_zones = ARENA_NEW(a, struct discovery_v1_for_zone);
        h->for_zones[h->for_zones_count++].name = e->zone;
    }
    if (same_node && e->has_node_name) {
        h->for_nodes = ARENA_NEW(a, struct discovery_v1_for_node);
        h->for_nodes[h->for_nodes_count++].name = e->node_name;
    }
    return h;
}

static struct discovery_v1_endpoint
endpoint_of(struct reconcile *c, const struct core_v1_service *s, const struct backend *b)
{
    struct core_v1_object_reference *ref = ARENA_NEW(c->arena, struct core_v1_object_reference);
    struct str *address = ARENA_NEW(c->arena, struct str);
    *address = b->ip;
    *ref = (struct core_v1_object_reference){
        .kind = STR("Pod"),
        .namespace = b->pod->metadata.namespace,
        .name = b->pod->metadata.name,
        .uid = b->pod->metadata.uid,
    };
    struct discovery_v1_endpoint e = {
        .addresses = address,
        .addresses_count = 1,
        .conditions = {true, b->ready, true, b->serving, true, b->terminating},
        .target_ref = ref,
        .hostname = b->hostname,
        .has_hostname = !str_empty(b->hostname),
        .node_name = b->pod->spec.node_name,
        .has_node_name = !str_empty(b->pod->spec.node_name),
    };
    struct api_object *node =
        informer_get_key(controller_informer(c->run, "", "Node"), b->pod->spec.node_name);
    const struct str *zone =
        node != NULL ? label_get(api_object_meta(node), "topology.kubernetes.io/zone") : NULL;
    e.has_zone = zone != NULL;
    e.zone = zone != NULL ? arena_str(c->arena, *zone) : STR_NULL;
    e.hints = hints_of(c->arena, s, &e);
    return e;
}

/* Backends with equal ports. */
struct group {
    const struct backend_port *ports;
    size_t port_count;
    struct discovery_v1_endpoint *endpoints;
    bool *placed;
    size_t count;
};

static struct group *make_groups(struct reconcile *c, const struct core_v1_service *s,
                                 const struct backend *list, size_t count, size_t *ret_count)
{
    struct group *groups = ARENA_ARRAY(c->arena, struct group, count + 1);
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        size_t g = 0;
        while (g < n && !backend_ports_equal(groups[g].ports, groups[g].port_count, list[i].ports,
                                             list[i].port_count))
            g++;
        if (g == n)
            groups[n++] = (struct group){
                .ports = list[i].ports,
                .port_count = list[i].port_count,
                .endpoints = ARENA_ARRAY(c->arena, struct discovery_v1_endpoint, count),
                .placed = ARENA_ARRAY(c->arena, bool, count),
            };
        groups[g].endpoints[groups[g].count++] = endpoint_of(c, s, &list[i]);
    }
    if (n == 0) /* One empty slice says that the Service is known. */
        groups[n++] = (struct group){0};
    *ret_count = n;
    return groups;
}

/* --- slices ------------------------------------------------------------------------------- */

static bool slice_has_ports(const struct discovery_v1_endpoint_slice *s, const struct group *g)
{
    bool same = s->ports_count == g->port_count;
    for (size_t i = 0; same && i < g->port_count; i++) {
        const struct discovery_v1_endpoint_port *x = &s->ports[i];
        const struct backend_port *y = &g->ports[i];
        same = x->has_port && x->port == y->port && str_eq(x->name, y->name) &&
               str_eq(x->protocol, y->protocol) && x->has_app_protocol == y->has_app_protocol &&
               str_eq(x->app_protocol, y->app_protocol);
    }
    return same;
}

static void fill_ports(struct reconcile *c, struct discovery_v1_endpoint_slice *s,
                       const struct group *g)
{
    s->ports = ARENA_ARRAY(c->arena, struct discovery_v1_endpoint_port, g->port_count + 1);
    s->ports_count = g->port_count;
    for (size_t i = 0; i < g->port_count; i++)
        s->ports[i] = (struct discovery_v1_endpoint_port){
            .name = g->ports[i].name,
            .has_name = true,
            .protocol = g->ports[i].protocol,
            .has_protocol = true,
            .port = g->ports[i].port,
            .has_port = true,
            .app_protocol = g->ports[i].app_protocol,
            .has_app_protocol = g->ports[i].has_app_protocol,
        };
}

static bool same_endpoint(const struct discovery_v1_endpoint *x,
                          const struct discovery_v1_endpoint *y)
{
    return x->addresses_count == 1 && y->addresses_count == 1 &&
           str_eq(x->addresses[0], y->addresses[0]) && x->target_ref != NULL &&
           y->target_ref != NULL && str_eq(x->target_ref->uid, y->target_ref->uid);
}

/* Keeps of the slice what is still wanted, in its present form. */
static void keep_wanted(struct discovery_v1_endpoint_slice *s, struct group *g)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->endpoints_count; i++)
        for (size_t k = 0; k < g->count; k++)
            if (!g->placed[k] && same_endpoint(&s->endpoints[i], &g->endpoints[k])) {
                g->placed[k] = true;
                s->endpoints[kept++] = g->endpoints[k];
                break;
            }
    s->endpoints_count = kept;
}

/* Puts endpoints without place into the slice, as far as there is room. */
static void fill(struct reconcile *c, struct discovery_v1_endpoint_slice *s, struct group *g)
{
    struct discovery_v1_endpoint *list =
        ARENA_ARRAY(c->arena, struct discovery_v1_endpoint, ENDPOINTS_MAX);
    size_t count = MIN_OF(s->endpoints_count, (size_t)ENDPOINTS_MAX);
    if (count != 0)
        memcpy(list, s->endpoints, count * sizeof(*list));
    for (size_t k = 0; k < g->count && count < ENDPOINTS_MAX; k++)
        if (!g->placed[k]) {
            g->placed[k] = true;
            list[count++] = g->endpoints[k];
        }
    s->endpoints = list;
    s->endpoints_count = count;
}

static size_t unplaced(const struct group *g)
{
    size_t n = 0;
    for (size_t k = 0; k < g->count; k++)
        n += !g->placed[k];
    return n;
}

static void set_labels(struct reconcile *c, const struct core_v1_service *service,
                       struct discovery_v1_endpoint_slice *s)
{
    const struct api_str_entry ours[] = {
        {STR(LABEL_MANAGED_BY), STR(MANAGER)},
        {STR(LABEL_SERVICE_NAME), service->metadata.name},
    };
    s->metadata.labels = service_labels(c->arena, service, ours, 2, &s->metadata.labels_count);
}

static void on_created(struct reconcile *c, const struct client_result *result, void *arg)
{
    UNUSED(arg);
    if (result->code == 0)
        return;
    owned_creation_failed(c, result);
    if (is_namespace_terminating(result))
        return;
    reconcile_fail(c);
}

static void create_slice(struct reconcile *c, const struct api_object *service, bool v6,
                         struct group *g)
{
    const struct core_v1_service *sv = service->msg;
    struct discovery_v1_endpoint_slice *s = ARENA_NEW(c->arena, struct discovery_v1_endpoint_slice);
    s->metadata.namespace = sv->metadata.namespace;
    s->metadata.generate_name = arena_printf(c->arena, STR_FMT "-", STR_ARG(sv->metadata.name));
    s->metadata.owner_references = ARENA_NEW(c->arena, struct meta_v1_owner_reference);
    s->metadata.owner_references_count = 1;
    owner_reference_to(service->kind, &sv->metadata, s->metadata.owner_references);
    s->address_type = v6 ? STR("IPv6") : STR("IPv4");
    set_labels(c, sv, s);
    fill_ports(c, s, g);
    fill(c, s, g);
    expectations_expect_creations(c->run->expectations, c->key, 1);
    struct client_call call = {
        .verb = CLIENT_CREATE,
        .kind = slice_kind(),
        .namespace_name = sv->metadata.namespace,
        .body = s,
    };
    reconcile_call(c, &call, on_created, NULL);
}

struct existing {
    struct api_object *object;
    struct discovery_v1_endpoint_slice *copy;
    struct group *group; /* NULL: not wanted. */
};

static void reconcile_family(struct reconcile *c, const struct api_object *service, bool v6,
                             struct existing *slices, size_t slice_count)
{
    size_t pod_count, count, group_count;
    struct api_object *const *pods =
        controller_in_namespace(c->run, "", "Pod", c->namespace_name, &pod_count);
    struct backend *list =
        service_backends(c->arena, service->msg, pods, pod_count, v6, true, &count);
    struct group *groups = make_groups(c, service->msg, list, count, &group_count);
    for (size_t i = 0; i < slice_count; i++)
        for (size_t g = 0; g < group_count && slices[i].group == NULL; g++)
            if (slice_has_ports(slices[i].copy, &groups[g])) {
                slices[i].group = &groups[g];
                keep_wanted(slices[i].copy, &groups[g]);
            }
    for (size_t i = 0; i < slice_count; i++) /* Where there is room. */
        if (slices[i].group != NULL && unplaced(slices[i].group) != 0)
            fill(c, slices[i].copy, slices[i].group);
    for (size_t g = 0; g < group_count; g++) {
        bool any = false;
        for (size_t i = 0; i < slice_count; i++) {
            if (slices[i].group != &groups[g])
                continue;
            /* An empty one stays only where it is the only one. */
            if (slices[i].copy->endpoints_count == 0 && (any || groups[g].count != 0))
                slices[i].group = NULL;
            any |= slices[i].group != NULL;
        }
        while (!any || unplaced(&groups[g]) != 0) {
            create_slice(c, service, v6, &groups[g]);
            any = true;
        }
    }
    for (size_t i = 0; i < slice_count; i++) {
        struct discovery_v1_endpoint_slice *s = slices[i].copy;
        if (slices[i].group == NULL) {
            reconcile_delete(c, slice_kind(), &s->metadata);
            continue;
        }
        set_labels(c, service->msg, s);
        if (!api_msg_equal(&discovery_v1_endpoint_slice_msg, s, slices[i].object->msg))
            reconcile_update(c, slice_kind(), s, NULL);
    }
}

static void reconcile(struct reconcile *c)
{
    struct api_object *service =
        informer_get_key(controller_informer(c->run, "", "Service"), c->key);
    const struct core_v1_service *s = service != NULL ? service->msg : NULL;
    size_t count, mine[2] = {0};
    struct api_object *const *all = controller_in_namespace(
        c->run, "discovery.k8s.io", "EndpointSlice", c->namespace_name, &count);
    struct existing *slices[2] = {ARENA_ARRAY(c->arena, struct existing, count + 1),
                                  ARENA_ARRAY(c->arena, struct existing, count + 1)};
    bool gone = s == NULL || s->metadata.deletion_timestamp != NULL;
    for (size_t i = 0; i < count; i++) {
        const struct meta_v1_object_meta *m = api_object_meta(all[i]);
        const struct str *of = label_get(m, LABEL_SERVICE_NAME);
        if (of == NULL || !str_eq(*of, c->name) || !slice_managed_by(m, MANAGER) ||
            m->deletion_timestamp != NULL)
            continue;
        struct discovery_v1_endpoint_slice *copy = reconcile_copy(c, all[i]);
        bool v6 = str_eqc(copy->address_type, "IPv6");
        if (gone)
            reconcile_delete(c, slice_kind(), &copy->metadata);
        else
            slices[v6][mine[v6]++] = (struct existing){.object = all[i], .copy = copy};
    }
    if (gone) {
        expectations_forget(c->run->expectations, c->key);
        return;
    }
    if (s->spec.selector_count == 0 || str_eqc(s->spec.type, "ExternalName") || !owned_settled(c))
        return;
    bool wants[2] = {s->spec.ip_families_count == 0, false};
    for (size_t i = 0; i < s->spec.ip_families_count; i++)
        wants[str_eqc(s->spec.ip_families[i], "IPv6")] = true;
    for (int v6 = 0; v6 < 2; v6++) {
        if (wants[v6])
            reconcile_family(c, service, v6 != 0, slices[v6], mine[v6]);
        for (size_t i = 0; !wants[v6] && i < mine[v6]; i++)
            reconcile_delete(c, slice_kind(), &slices[v6][i].copy->metadata);
    }
}

static const struct controller_watch watches[] = {
    {"", "v1", "Service", touch_service},
    {"", "v1", "Pod", touch_services_of_pod},
    {"discovery.k8s.io", "v1", "EndpointSlice", touch_slice},
    {"", "v1", "Node", NULL},
    {0},
};

const struct controller controller_endpointslice = {
    .name = "endpointslice-controller",
    .watches = watches,
    .reconcile = reconcile,
};
