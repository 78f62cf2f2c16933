/* endpointslice.c - the EndpointSlices of Services with a selector, as endpointslice_plan.c
 * decides. Those of a Service that is gone are the garbage collector's. */
#include "controllers/backends.h"
#include "controllers/controller.h"
#include "controllers/endpointslice_plan.h"
#include "controllers/owned.h"
#include "controllers/trigger_times.h"

#include "api/core_v1.h"
#include "api/discovery_v1.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/client/labels.h"

static void touch_service(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    controller_enqueue_object(r, o != NULL ? o : old);
}

static void touch_slice(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    touch_service_of_slice(r, old, o, ENDPOINT_SLICE_MANAGER);
}

struct work {
    struct api_object *service;
    struct str failure; /* The first one; empty: none. */
};

/* --- writing ---------------------------------------------------------------------------------- */

static void note_failure(struct reconcile *c, const char *what, struct str name, const char *why)
{
    struct work *w = c->state;
    const struct meta_v1_object_meta *m = api_object_meta(w->service);
    reconcile_fail(c);
    if (str_empty(w->failure))
        w->failure = arena_printf(c->arena,
                                  "failed to %s%s" STR_FMT " EndpointSlice for Service " STR_FMT
                                  "/" STR_FMT ": %s",
                                  what, str_empty(name) ? "" : " ", STR_ARG(name),
                                  STR_ARG(m->namespace), STR_ARG(m->name), why);
}

static void on_created(struct reconcile *c, const struct client_result *result, void *arg)
{
    UNUSED(arg);
    if (result->code == 0)
        return;
    owned_creation_failed(c, result);
    if (!is_namespace_terminating(result))
        note_failure(c, "create", STR_NULL, result->message);
}

static void on_updated(struct reconcile *c, const struct client_result *result, void *arg)
{
    const struct meta_v1_object_meta *m = arg;
    if (result->code == E_CONFLICT)
        reconcile_fail(c); /* The cache is behind. */
    else if (result->code != 0)
        note_failure(c, "update", m->name, result->message);
}

static void on_deleted(struct reconcile *c, const struct client_result *result, void *arg)
{
    const struct meta_v1_object_meta *m = arg;
    if (result->code != 0 && result->code != E_NOT_FOUND)
        note_failure(c, "delete", m->name, result->message);
}

static void delete_slice(struct reconcile *c, const struct meta_v1_object_meta *m)
{
    struct meta_v1_object_meta *copy = arena_memdup(c->arena, m, sizeof(*m));
    copy->name = arena_str(c->arena, m->name);
    reconcile_call(c,
                   &(struct client_call){.verb = CLIENT_DELETE,
                                         .kind = slice_kind(),
                                         .namespace_name = m->namespace,
                                         .name = m->name,
                                         .uid_precondition = m->uid},
                   on_deleted, copy);
}

/* Nothing new is made for a Service that is going. */
static void carry_out(struct reconcile *c, const struct slice_plan *p, bool dying)
{
    if (!dying && p->create_count != 0)
        expectations_expect_creations(c->run->expectations, c->key, (unsigned)p->create_count);
    for (size_t i = 0; i < p->create_count && !dying; i++)
        reconcile_call(c,
                       &(struct client_call){.verb = CLIENT_CREATE,
                                             .kind = slice_kind(),
                                             .namespace_name = c->namespace_name,
                                             .body = p->creates[i]},
                       on_created, NULL);
    for (size_t i = 0; i < p->update_count; i++)
        reconcile_update_seen(c, slice_kind(), p->updates[i], NULL, on_updated,
                              &p->updates[i]->metadata);
    for (size_t i = 0; i < p->remove_count; i++)
        delete_slice(c, &p->removes[i]->metadata);
}

static void conclude(struct reconcile *c)
{
    const struct work *w = c->state;
    struct event_object about = event_object_of(w->service);
    if (!str_empty(w->failure))
        event_record(c->run->recorder, &about, EVENT_WARNING, "FailedToUpdateEndpointSlices",
                     "Error updating Endpoint Slices for Service " STR_FMT "/" STR_FMT ": " STR_FMT,
                     STR_ARG(c->namespace_name), STR_ARG(c->name), STR_ARG(w->failure));
}

/* --- one Service ------------------------------------------------------------------------------ */

/* The zones of the backends' nodes. A pod whose node is not known (any more) is left out, and
 * looked for again later, unless not even readiness counts. */
static struct str *find_zones(struct reconcile *c, const struct core_v1_service *s,
                              struct backend *list, size_t *count)
{
    struct str *zones = ARENA_ARRAY(c->arena, struct str, *count + 1);
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++) {
        struct str name = list[i].pod->spec.node_name;
        struct api_object *node =
            str_empty(name) ? NULL
                            : informer_get_key(controller_informer(c->run, "", "Node"), name);
        if (node == NULL && !str_empty(name) && !s->spec.publish_not_ready_addresses) {
            reconcile_fail(c);
            continue;
        }
        const struct str *zone =
            node != NULL ? label_get(api_object_meta(node), "topology.kubernetes.io/zone") : NULL;
        zones[kept] = zone != NULL ? arena_str(c->arena, *zone) : STR_NULL;
        list[kept++] = list[i];
    }
    *count = kept;
    return zones;
}

static void reconcile_family(struct reconcile *c, struct slice_input *in,
                             struct api_object *const *pods, size_t pod_count)
{
    const struct core_v1_service *s = in->service->msg;
    struct slice_plan plan;
    struct backend *list = service_backends(c->arena, s, pods, pod_count,
                                            (struct backend_query){in->v6, true, true}, &in->count);
    in->zones = find_zones(c, s, list, &in->count);
    in->backends = list;
    slice_plan(c->arena, in, &plan);
    carry_out(c, &plan, s->metadata.deletion_timestamp != NULL);
}

/* The slices of the Service by family. */
static void gather_slices(struct reconcile *c, struct slice_input in[2])
{
    size_t count;
    struct api_object *const *all = controller_in_namespace(
        c->run, "discovery.k8s.io", "EndpointSlice", c->namespace_name, &count);
    struct api_object **lists[2] = {ARENA_ARRAY(c->arena, struct api_object *, count + 1),
                                    ARENA_ARRAY(c->arena, struct api_object *, count + 1)};
    for (size_t i = 0; i < count; i++) {
        const struct meta_v1_object_meta *m = api_object_meta(all[i]);
        const struct str *of = label_get(m, LABEL_SERVICE_NAME);
        const struct discovery_v1_endpoint_slice *s = all[i]->msg;
        bool v6 = str_eqc(s->address_type, "IPv6");
        if (of != NULL && str_eq(*of, c->name) && slice_managed_by(m, ENDPOINT_SLICE_MANAGER) &&
            m->deletion_timestamp == NULL)
            lists[v6][in[v6].existing_count++] = reconcile_hold(c, all[i]);
    }
    in[0].existing = lists[0];
    in[1].existing = lists[1];
}

static void reconcile(struct reconcile *c)
{
    struct api_object *o = informer_get_key(controller_informer(c->run, "", "Service"), c->key);
    const struct core_v1_service *s = o != NULL ? o->msg : NULL;
    if (s == NULL) {
        expectations_forget(c->run->expectations, c->key);
        trigger_times_forget(c->run->state, c->key);
        return;
    }
    if (s->spec.selector_count == 0 || str_eqc(s->spec.type, "ExternalName") || !owned_settled(c))
        return;
    struct work *w = ARENA_NEW(c->arena, struct work);
    w->service = reconcile_hold(c, o);
    c->state = w;
    size_t all, pod_count;
    struct api_object *const *in_ns = controller_labelled_pods(
        c->run, c->namespace_name, s->spec.selector, s->spec.selector_count, &all);
    struct api_object **pods = service_pods(c->arena, s, in_ns, all, &pod_count);
    struct str trigger = trigger_times_look(c->run->state, c->arena, c->key, s, pods, pod_count);
    bool wants[2] = {s->spec.ip_families_count == 0, false};
    for (size_t i = 0; i < s->spec.ip_families_count; i++)
        wants[str_eqc(s->spec.ip_families[i], "IPv6")] = true;
    struct slice_input in[2];
    for (int v6 = 0; v6 < 2; v6++)
        in[v6] = (struct slice_input){
            .service = o,
            .v6 = v6 != 0,
            .endpoints_max = (size_t)controller_options()->endpoints_per_slice_max,
            .trigger = trigger,
        };
    gather_slices(c, in);
    for (int v6 = 0; v6 < 2; v6++) {
        if (wants[v6])
            reconcile_family(c, &in[v6], pods, pod_count);
        for (size_t i = 0; !wants[v6] && i < in[v6].existing_count; i++)
            delete_slice(c, api_object_meta(in[v6].existing[i]));
    }
    reconcile_then(c, conclude);
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
    {"", "v1", "Service", touch_service},
    {"", "v1", "Pod", touch_services_of_pod},
    {"discovery.k8s.io", "v1", "EndpointSlice", touch_slice},
    {"", "v1", "Node", NULL},
    {0},
};

const struct controller controller_endpointslice = {
    .name = "endpointslice-controller",
    .event_source = "endpoint-slice-controller",
    .watches = watches,
    .init = init,
    .done = done,
    .reconcile = reconcile,
};
