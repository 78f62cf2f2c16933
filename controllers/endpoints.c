/* endpoints.c - the v1 Endpoints of Services with a selector: what older clients
 * read in place of EndpointSlices. */
#include "controllers/backends.h"
#include "controllers/controller.h"
#include "controllers/trigger_times.h"

#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/client/labels.h"

#define ADDRESSES_MAX 1000 /* Upstream's limit; beyond it the object is cut and says so. */
#define OVER_CAPACITY "endpoints.kubernetes.io/over-capacity"

static const struct api_kind *endpoints_kind(void)
{
    return api_kind_by_gvk(STR(""), STR("v1"), STR("Endpoints"));
}

static void touch_self(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    controller_enqueue_object(r, o != NULL ? o : old);
}

/* --- subsets: ports that the same addresses serve stand together ------------------------ */

static bool serves(const struct backend *b, const struct backend_port *port)
{
    for (size_t i = 0; i < b->port_count; i++)
        if (backend_ports_equal(&b->ports[i], 1, port, 1))
            return true;
    return false;
}

static bool same_servers(const struct backend *list, size_t count, const struct backend_port *x,
                         const struct backend_port *y)
{
    for (size_t i = 0; i < count; i++)
        if (serves(&list[i], x) != serves(&list[i], y))
            return false;
    return true;
}

static struct core_v1_endpoint_address address_of(struct arena *a, const struct backend *b)
{
    struct core_v1_object_reference *ref = ARENA_NEW(a, struct core_v1_object_reference);
    *ref = (struct core_v1_object_reference){
        .kind = STR("Pod"),
        .namespace = b->pod->metadata.namespace,
        .name = b->pod->metadata.name,
        .uid = b->pod->metadata.uid,
    };
    return (struct core_v1_endpoint_address){
        .ip = b->ip,
        .hostname = b->hostname,
        .node_name = b->pod->spec.node_name,
        .has_node_name = !str_empty(b->pod->spec.node_name),
        .target_ref = ref,
    };
}

struct subsets {
    struct core_v1_endpoint_subset *items;
    size_t count, cap;
};

/* port NULL: a headless Service without ports. */
static struct core_v1_endpoint_subset *add_subset(struct arena *a, struct subsets *s,
                                                  const struct backend *list, size_t count,
                                                  const struct backend_port *port)
{
    s->items = arena_grow(a, s->items, s->count, &s->cap, sizeof(*s->items));
    struct core_v1_endpoint_subset *set = &s->items[s->count++];
    *set = (struct core_v1_endpoint_subset){
        .addresses = ARENA_ARRAY(a, struct core_v1_endpoint_address, count + 1),
        .not_ready_addresses = ARENA_ARRAY(a, struct core_v1_endpoint_address, count + 1),
    };
    for (size_t i = 0; i < count; i++) {
        if (port != NULL && !serves(&list[i], port))
            continue;
        if (list[i].ready)
            set->addresses[set->addresses_count++] = address_of(a, &list[i]);
        else
            set->not_ready_addresses[set->not_ready_addresses_count++] = address_of(a, &list[i]);
    }
    return set;
}

static void add_port(struct arena *a, struct core_v1_endpoint_subset *set,
                     const struct backend_port *p)
{
    size_t cap = set->ports_count;
    set->ports = arena_grow(a, set->ports, set->ports_count, &cap, sizeof(*set->ports));
    set->ports[set->ports_count++] = (struct core_v1_endpoint_port){
        .name = p->name,
        .protocol = p->protocol,
        .app_protocol = p->app_protocol,
        .has_app_protocol = p->has_app_protocol,
        .port = p->port,
    };
}

static struct subsets make_subsets(struct arena *a, const struct backend *list, size_t count)
{
    struct subsets s = {0};
    const struct backend_port **heads = NULL; /* The first port of each subset. */
    size_t head_cap = 0;
    for (size_t i = 0; i < count; i++) {
        if (list[i].port_count == 0 && s.count == 0)
            add_subset(a, &s, list, count, NULL);
        for (size_t k = 0; k < list[i].port_count; k++) {
            const struct backend_port *p = &list[i].ports[k];
            size_t n = 0;
            bool known = false;
            for (; n < s.count && !known; n++)
                for (size_t m = 0; m < s.items[n].ports_count && !known; m++)
                    known = s.items[n].ports[m].port == p->port &&
                            str_eq(s.items[n].ports[m].name, p->name) &&
                            str_eq(s.items[n].ports[m].protocol, p->protocol);
            if (known || (heads == NULL && s.count != 0)) /* All have ports, or none has. */
                continue;
            for (n = 0; n < s.count && !same_servers(list, count, heads[n], p); n++)
                ;
            if (n == s.count) {
                heads = arena_grow(a, heads, s.count, &head_cap, sizeof(*heads));
                heads[s.count] = p;
                add_subset(a, &s, list, count, p);
            }
            add_port(a, &s.items[n], p);
        }
    }
    return s;
}

/* --- reconcile ----------------------------------------------------------------------------- */

static void on_written(struct reconcile *c, const struct client_result *result, void *arg)
{
    UNUSED(arg);
    if (result->code == 0 || result->code == E_EXISTS)
        return;
    /* The namespace goes: the Service will follow. */
    if (result->code == E_FORBIDDEN && result->status != NULL &&
        str_find_str(result->status->message, STR("because it is being terminated")) >= 0)
        return;
    reconcile_fail(c);
}

static void write_endpoints(struct reconcile *c, const struct core_v1_endpoints *e, bool create)
{
    struct client_call call = {
        .verb = create ? CLIENT_CREATE : CLIENT_UPDATE,
        .kind = endpoints_kind(),
        .namespace_name = c->namespace_name,
        .name = create ? STR_NULL : c->name,
        .body = e,
    };
    reconcile_call(c, &call, on_written, NULL);
}

/* Too many: those that are to be used stay before those that are not. */
static void cut_to_capacity(struct reconcile *c, struct core_v1_endpoints *e, struct backend *list,
                            size_t *count)
{
    bool cut = *count > ADDRESSES_MAX;
    annotation_set(c->arena, &e->metadata, OVER_CAPACITY, cut ? STR("truncated") : STR_NULL);
    if (!cut)
        return;
    struct backend *sorted = ARENA_ARRAY(c->arena, struct backend, *count);
    size_t n = 0;
    for (int ready = 1; ready >= 0; ready--)
        for (size_t i = 0; i < *count; i++)
            if (list[i].ready == ready)
                sorted[n++] = list[i];
    memcpy(list, sorted, ADDRESSES_MAX * sizeof(*list));
    *count = ADDRESSES_MAX;
}

static void remove_stale(struct reconcile *c, const struct api_object *old)
{
    if (old != NULL &&
        label_get(api_object_meta(old), "endpoints.kubernetes.io/managed-by") != NULL)
        reconcile_delete(c, endpoints_kind(), api_object_meta(old));
}

static void reconcile(struct reconcile *c)
{
    static const struct api_str_entry managed = {
        {"endpoints.kubernetes.io/managed-by", sizeof("endpoints.kubernetes.io/managed-by") - 1},
        {"endpoint-controller", sizeof("endpoint-controller") - 1},
    };
    struct api_object *so = informer_get_key(controller_informer(c->run, "", "Service"), c->key);
    struct api_object *old = informer_get_key(controller_informer(c->run, "", "Endpoints"), c->key);
    const struct core_v1_service *s = so != NULL ? so->msg : NULL;
    if (s == NULL) {
        trigger_times_forget(c->run->state, c->key);
        remove_stale(c, old);
        return;
    }
    if (s->spec.selector_count == 0 || str_eqc(s->spec.type, "ExternalName"))
        return;
    size_t pod_count, count;
    struct api_object *const *pods = controller_labelled_pods(
        c->run, c->namespace_name, s->spec.selector, s->spec.selector_count, &pod_count);
    size_t selected_count;
    struct api_object **selected = service_pods(c->arena, s, pods, pod_count, &selected_count);
    bool v6 = s->spec.ip_families_count != 0 ? str_eqc(s->spec.ip_families[0], "IPv6") : false;
    struct backend *list = service_backends(
        c->arena, s, selected, selected_count,
        (struct backend_query){.v6 = v6, .with_terminating = s->spec.publish_not_ready_addresses},
        &count);
    struct core_v1_endpoints *e =
        old != NULL ? reconcile_copy(c, old) : ARENA_NEW(c->arena, struct core_v1_endpoints);
    e->metadata.namespace = c->namespace_name;
    e->metadata.name = c->name;
    e->metadata.labels = service_labels(c->arena, s, &managed, 1, &e->metadata.labels_count);
    cut_to_capacity(c, e, list, &count);
    struct subsets subsets = make_subsets(c->arena, list, count);
    e->subsets = subsets.items;
    e->subsets_count = subsets.count;
    struct str trigger =
        trigger_times_look(c->run->state, c->arena, c->key, s, selected, selected_count);
    const struct core_v1_endpoints *before = old != NULL ? old->msg : NULL;
    if (before != NULL && api_msg_equal(&core_v1_endpoints_msg, before, e))
        return;
    annotation_set(c->arena, &e->metadata, TRIGGER_TIME, trigger);
    write_endpoints(c, e, before == NULL);
}

static void init(struct controller_run *r)
{
    r->state = trigger_times_new();
}

static void done(struct controller_run *r)
{
    trigger_times_free(r->state);
}

static const struct controller_watch watches[] = {
    {"", "v1", "Service", touch_self},
    {"", "v1", "Pod", touch_services_of_pod},
    {"", "v1", "Endpoints", touch_self},
    {0},
};

const struct controller controller_endpoints = {
    .name = "endpoints-controller",
    .event_source = "endpoint-controller",
    .watches = watches,
    .init = init,
    .done = done,
    .reconcile = reconcile,
};
