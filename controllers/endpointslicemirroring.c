/* endpointslicemirroring.c - EndpointSlices for Endpoints that somebody wrote by hand,
 * for Services without a selector: proxies read slices alone. */
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

#include <arpa/inet.h>
#include <stdlib.h>

#define ADDRESSES_MAX 1000 /* Of a subset, as upstream's default; one slice holds them. */
#define MANAGER "endpointslicemirroring-controller.k8s.io"

static void touch_self(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    controller_enqueue_object(r, o != NULL ? o : old);
}

static void touch_slice(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    touch_service_of_slice(r, old, o, MANAGER);
}

/* --- what is wanted --------------------------------------------------------------------------- */

struct mirror {
    const struct core_v1_endpoints *from;
    struct api_object *object;
    struct discovery_v1_endpoint_slice *slices; /* Wanted; each with what it has to have. */
    size_t count;
    size_t invalid, skipped; /* Addresses that are none, and too many. */
};

static bool is_address(struct arena *a, struct str text, bool *ret_v6)
{
    uint8_t bytes[16];
    const char *s = str_c(arena_str(a, text));
    *ret_v6 = str_find(text, ':', 0) >= 0;
    return inet_pton(*ret_v6 ? AF_INET6 : AF_INET, s, bytes) == 1;
}

static struct discovery_v1_endpoint
endpoint_of(struct arena *a, const struct core_v1_endpoint_address *x, bool ready)
{
    struct str *address = ARENA_NEW(a, struct str);
    *address = x->ip;
    return (struct discovery_v1_endpoint){
        .addresses = address,
        .addresses_count = 1,
        .conditions = {.has_ready = true, .ready = ready},
        .hostname = x->hostname,
        .has_hostname = !str_empty(x->hostname),
        .target_ref = x->target_ref,
        .node_name = x->node_name,
        .has_node_name = x->has_node_name,
    };
}

static void add_addresses(struct arena *a, struct mirror *m, struct discovery_v1_endpoint_slice *s,
                          const struct core_v1_endpoint_address *list, size_t count, bool ready,
                          bool v6)
{
    for (size_t i = 0; i < count; i++) {
        bool is_v6;
        if (!is_address(a, list[i].ip, &is_v6))
            m->invalid += !v6; /* Both families are gone through. */
        else if (is_v6 != v6)
            continue;
        else if (s->endpoints_count == ADDRESSES_MAX)
            m->skipped++;
        else
            s->endpoints[s->endpoints_count++] = endpoint_of(a, &list[i], ready);
    }
}

static void add_ports(struct arena *a, struct discovery_v1_endpoint_slice *s,
                      const struct core_v1_endpoint_subset *subset)
{
    s->ports = ARENA_ARRAY(a, struct discovery_v1_endpoint_port, subset->ports_count + 1);
    for (size_t i = 0; i < subset->ports_count; i++) {
        const struct core_v1_endpoint_port *p = &subset->ports[i];
        s->ports[s->ports_count++] = (struct discovery_v1_endpoint_port){
            .name = p->name,
            .has_name = true,
            .protocol = str_empty(p->protocol) ? STR("TCP") : p->protocol,
            .has_protocol = true,
            .port = p->port,
            .has_port = true,
            .app_protocol = p->app_protocol,
            .has_app_protocol = p->has_app_protocol,
        };
    }
}

static void want_subset(struct arena *a, struct mirror *m,
                        const struct core_v1_endpoint_subset *subset, bool v6)
{
    struct discovery_v1_endpoint_slice *s = &m->slices[m->count];
    size_t most =
        MIN_OF(subset->addresses_count + subset->not_ready_addresses_count, (size_t)ADDRESSES_MAX);
    *s = (struct discovery_v1_endpoint_slice){
        .endpoints = ARENA_ARRAY(a, struct discovery_v1_endpoint, most + 1),
        .address_type = v6 ? STR("IPv6") : STR("IPv4"),
    };
    add_addresses(a, m, s, subset->addresses, subset->addresses_count, true, v6);
    add_addresses(a, m, s, subset->not_ready_addresses, subset->not_ready_addresses_count, false,
                  v6);
    add_ports(a, s, subset);
    m->count += s->endpoints_count != 0;
}

static int by_key(const void *x, const void *y)
{
    return str_cmp(((const struct api_str_entry *)x)->key, ((const struct api_str_entry *)y)->key);
}

static bool is_own_label(struct str key)
{
    return str_eqc(key, LABEL_MANAGED_BY) || str_eqc(key, LABEL_SERVICE_NAME) ||
           str_eqc(key, "endpoints.kubernetes.io/managed-by");
}

static bool is_own_annotation(struct str key)
{
    return str_eqc(key, "kubectl.kubernetes.io/last-applied-configuration") ||
           str_eqc(key, "endpoints.kubernetes.io/last-change-trigger-time");
}

/* Labels and annotations are the Endpoints', but for those that are about it. */
static void set_meta(struct arena *a, const struct mirror *m, struct discovery_v1_endpoint_slice *s)
{
    const struct meta_v1_object_meta *from = &m->from->metadata;
    struct api_str_entry *labels = ARENA_ARRAY(a, struct api_str_entry, from->labels_count + 2);
    struct api_str_entry *notes = ARENA_ARRAY(a, struct api_str_entry, from->annotations_count + 1);
    size_t n = 0, k = 0;
    for (size_t i = 0; i < from->labels_count; i++)
        if (!is_own_label(from->labels[i].key))
            labels[n++] = from->labels[i];
    labels[n++] = (struct api_str_entry){STR(LABEL_MANAGED_BY), STR(MANAGER)};
    labels[n++] = (struct api_str_entry){STR(LABEL_SERVICE_NAME), from->name};
    qsort(labels, n, sizeof(*labels), by_key);
    for (size_t i = 0; i < from->annotations_count; i++)
        if (!is_own_annotation(from->annotations[i].key))
            notes[k++] = from->annotations[i];
    s->metadata.labels = labels;
    s->metadata.labels_count = n;
    s->metadata.annotations = notes;
    s->metadata.annotations_count = k;
}

static void want(struct reconcile *c, struct mirror *m)
{
    const struct core_v1_endpoints *e = m->from;
    m->slices = ARENA_ARRAY(c->arena, struct discovery_v1_endpoint_slice, 2 * e->subsets_count + 1);
    for (size_t i = 0; i < e->subsets_count; i++)
        for (int v6 = 0; v6 < 2; v6++)
            want_subset(c->arena, m, &e->subsets[i], v6 != 0);
    for (size_t i = 0; i < m->count; i++)
        set_meta(c->arena, m, &m->slices[i]);
}

/* --- writing ---------------------------------------------------------------------------------- */

static bool fits(const struct discovery_v1_endpoint_slice *old,
                 const struct discovery_v1_endpoint_slice *s)
{
    struct discovery_v1_endpoint_slice ports = {.ports = s->ports, .ports_count = s->ports_count},
                                       before = {.ports = old->ports,
                                                 .ports_count = old->ports_count};
    return str_eq(old->address_type, s->address_type) &&
           api_msg_equal(&discovery_v1_endpoint_slice_msg, &ports, &before);
}

static void on_created(struct reconcile *c, const struct client_result *result, void *arg)
{
    UNUSED(arg);
    if (result->code == 0)
        return;
    owned_creation_failed(c, result);
    if (!is_namespace_terminating(result))
        reconcile_fail(c);
}

static void create_slice(struct reconcile *c, const struct mirror *m,
                         struct discovery_v1_endpoint_slice *s)
{
    s->metadata.namespace = c->namespace_name;
    s->metadata.generate_name = arena_printf(c->arena, STR_FMT "-", STR_ARG(c->name));
    s->metadata.owner_references = ARENA_NEW(c->arena, struct meta_v1_owner_reference);
    s->metadata.owner_references_count = 1;
    owner_reference_to(m->object->kind, &m->from->metadata, s->metadata.owner_references);
    expectations_expect_creations(c->run->expectations, c->key, 1);
    reconcile_call(c,
                   &(struct client_call){.verb = CLIENT_CREATE,
                                         .kind = slice_kind(),
                                         .namespace_name = c->namespace_name,
                                         .body = s},
                   on_created, NULL);
}

static void update_slice(struct reconcile *c, const struct api_object *old,
                         const struct discovery_v1_endpoint_slice *s)
{
    struct discovery_v1_endpoint_slice *copy = reconcile_copy(c, old);
    copy->endpoints = s->endpoints;
    copy->endpoints_count = s->endpoints_count;
    copy->metadata.labels = s->metadata.labels;
    copy->metadata.labels_count = s->metadata.labels_count;
    copy->metadata.annotations = s->metadata.annotations;
    copy->metadata.annotations_count = s->metadata.annotations_count;
    if (!api_msg_equal(&discovery_v1_endpoint_slice_msg, copy, old->msg))
        reconcile_update(c, slice_kind(), copy, NULL);
}

static void warn(struct reconcile *c, const struct mirror *m)
{
    struct event_object about = event_object_of(m->object);
    if (m->invalid != 0)
        event_record(c->run->recorder, &about, EVENT_WARNING, "InvalidIPAddress",
                     "Skipped %zu invalid IP addresses when mirroring to EndpointSlices",
                     m->invalid);
    if (m->skipped != 0)
        event_record(c->run->recorder, &about, EVENT_WARNING, "TooManyAddressesToMirror",
                     "A max of %d addresses can be mirrored to EndpointSlices per Endpoints "
                     "subset. %zu addresses were skipped",
                     ADDRESSES_MAX, m->skipped);
}

/* Each slice that is wanted takes the place of one with its ports, if there is one. */
static void write_slices(struct reconcile *c, const struct mirror *m)
{
    size_t count;
    struct api_object *const *all = controller_in_namespace(
        c->run, "discovery.k8s.io", "EndpointSlice", c->namespace_name, &count);
    bool *placed = ARENA_ARRAY(c->arena, bool, m->count + 1);
    for (size_t i = 0; i < count; i++) {
        const struct meta_v1_object_meta *meta = api_object_meta(all[i]);
        const struct str *of = label_get(meta, LABEL_SERVICE_NAME);
        if (of == NULL || !str_eq(*of, c->name) || !slice_managed_by(meta, MANAGER) ||
            meta->deletion_timestamp != NULL)
            continue;
        size_t k = 0;
        while (k < m->count && (placed[k] || !fits(all[i]->msg, &m->slices[k])))
            k++;
        if (k == m->count) {
            reconcile_delete(c, slice_kind(), meta);
        } else {
            placed[k] = true;
            update_slice(c, reconcile_hold(c, all[i]), &m->slices[k]);
        }
    }
    for (size_t k = 0; k < m->count; k++)
        if (!placed[k])
            create_slice(c, m, &m->slices[k]);
}

static bool is_mirrored(struct reconcile *c, const struct core_v1_endpoints *e)
{
    struct api_object *so = informer_get_key(controller_informer(c->run, "", "Service"), c->key);
    const struct core_v1_service *s = so != NULL ? so->msg : NULL;
    const struct str *skip = label_get(&e->metadata, "endpointslice.kubernetes.io/skip-mirror");
    return e->metadata.deletion_timestamp == NULL && s != NULL && s->spec.selector_count == 0 &&
           (skip == NULL || !str_eqc(*skip, "true")) &&
           annotation_get(&e->metadata, "control-plane.alpha.kubernetes.io/leader") == NULL;
}

static void reconcile(struct reconcile *c)
{
    struct mirror m = {0};
    m.object = informer_get_key(controller_informer(c->run, "", "Endpoints"), c->key);
    if (m.object == NULL)
        expectations_forget(c->run->expectations, c->key);
    if (!owned_settled(c))
        return;
    if (m.object != NULL && is_mirrored(c, m.object->msg)) {
        m.from = reconcile_hold(c, m.object)->msg;
        want(c, &m);
        warn(c, &m);
    }
    write_slices(c, &m);
}

static const struct controller_watch watches[] = {
    {"", "v1", "Endpoints", touch_self},
    {"", "v1", "Service", touch_self},
    {"discovery.k8s.io", "v1", "EndpointSlice", touch_slice},
    {0},
};

const struct controller controller_endpointslicemirroring = {
    .name = "endpointslice-mirroring-controller",
    .watches = watches,
    .reconcile = reconcile,
};
