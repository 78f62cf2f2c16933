/* test_endpointslices.c - which slices are written when endpoints change. */
#include "controllers/endpointslice_plan.h"

#include "api/core_v1.h"
#include "api/discovery_v1.h"
#include "controllers/backends.h"
#include "controllers/trigger_times.h"
#include "test/unit/controllers/objects.h"

#include <stdio.h>

#define BACKENDS_MAX 1000
#define SLICES_MAX 16

struct world {
    struct arena *a;
    struct api_object *service;
    struct backend backends[BACKENDS_MAX];
    struct str zones[BACKENDS_MAX];
    struct api_object *slices[SLICES_MAX];
    struct slice_input in;
    struct slice_plan plan;
};

static struct api_object *object(const char *group, const char *kind, const char *json)
{
    struct api_object *o = api_object_new(api_kind_by_gvk(str_of(group), STR("v1"), str_of(kind)));
    o->msg = decoded(o->arena, o->kind->msg, json);
    return o;
}

static void setup(struct world *w, const char *spec, size_t max)
{
    *w = (struct world){.a = arena_new(0)};
    struct str json = arena_printf(w->a,
                                   "{\"metadata\":{\"name\":\"s\",\"namespace\":\"n\",\"uid\":"
                                   "\"u\",\"labels\":{\"x\":\"y\"}},\"spec\":{%s}}",
                                   spec);
    w->service = object("", "Service", json.data);
    w->in = (struct slice_input){.service = w->service,
                                 .backends = w->backends,
                                 .zones = w->zones,
                                 .existing = w->slices,
                                 .endpoints_max = max};
}

static void done(struct world *w)
{
    for (size_t i = 0; i < w->in.existing_count; i++)
        api_object_unref(w->slices[i]);
    api_object_unref(w->service);
    arena_free(w->a);
}

/* One more pod; port 0: it has none of the Service's. */
static struct backend *add(struct world *w, unsigned n, int32_t port)
{
    struct core_v1_pod *p = ARENA_NEW(w->a, struct core_v1_pod);
    p->metadata.name = p->metadata.uid = arena_printf(w->a, "pod-%u", n);
    struct backend *b = &w->backends[w->in.count];
    w->zones[w->in.count++] = STR("z1");
    *b = (struct backend){.pod = p, .ready = true, .serving = true};
    b->ip = arena_printf(w->a, "10.0.%u.%u", n / 256, n % 256);
    if (port != 0) {
        b->ports = ARENA_NEW(w->a, struct backend_port);
        *b->ports =
            (struct backend_port){.name = STR("http"), .protocol = STR("TCP"), .port = port};
        b->port_count = 1;
    }
    return b;
}

static void plan(struct world *w)
{
    slice_plan(w->a, &w->in, &w->plan);
}

/* What was planned has happened. */
static void take_effect(struct world *w)
{
    const struct slice_plan *p = &w->plan;
    for (size_t i = 0; i < p->update_count; i++)
        for (size_t k = 0; k < w->in.existing_count; k++)
            if (str_eq(api_object_meta(w->slices[k])->name, p->updates[i]->metadata.name)) {
                api_object_unref(w->slices[k]);
                w->slices[k] = object("discovery.k8s.io", "EndpointSlice", "{}");
                w->slices[k]->msg = api_msg_clone(w->slices[k]->arena,
                                                  &discovery_v1_endpoint_slice_msg, p->updates[i]);
            }
    for (size_t i = 0; i < p->create_count; i++) {
        struct api_object *o = object("discovery.k8s.io", "EndpointSlice", "{}");
        o->msg = api_msg_clone(o->arena, &discovery_v1_endpoint_slice_msg, p->creates[i]);
        api_object_meta(o)->name = arena_printf(o->arena, "s-%zu", w->in.existing_count);
        w->slices[w->in.existing_count++] = o;
    }
    ck_assert_uint_eq(p->remove_count, 0);
}

/* Full slices, and one change touches one of them. */
START_TEST(one_change_writes_one_slice)
{
    struct world w;
    setup(&w, "", 100);
    for (unsigned i = 0; i < 950; i++)
        add(&w, i, 80);
    plan(&w);
    ck_assert_uint_eq(w.plan.create_count, 10);
    take_effect(&w);
    plan(&w);
    ck_assert_uint_eq(w.plan.create_count + w.plan.update_count + w.plan.remove_count, 0);
    w.backends[500].ready = false;
    plan(&w);
    ck_assert_uint_eq(w.plan.update_count, 1);
    ck_assert_uint_eq(w.plan.create_count, 0);
    take_effect(&w);
    /* One goes and one comes: the slice that loses one takes the other. */
    struct backend gone = w.backends[300];
    w.backends[300] = w.backends[--w.in.count];
    add(&w, 2000, 80);
    plan(&w);
    ck_assert_uint_eq(w.plan.update_count, 1);
    ck_assert_uint_eq(w.plan.updates[0]->endpoints_count, 100);
    for (size_t i = 0; i < w.plan.updates[0]->endpoints_count; i++)
        ck_assert(!str_eq(w.plan.updates[0]->endpoints[i].addresses[0], gone.ip));
    done(&w);
}
END_TEST

/* What is new goes into one slice that has room for all of it, or into a new one. */
START_TEST(new_ones_stay_together)
{
    struct world w;
    setup(&w, "", 4);
    for (unsigned i = 0; i < 3; i++)
        add(&w, i, 80);
    plan(&w);
    take_effect(&w);
    add(&w, 3, 80);
    plan(&w);
    ck_assert(w.plan.update_count == 1 && w.plan.create_count == 0);
    add(&w, 4, 80);
    plan(&w); /* Two do not fit into the room for one. */
    ck_assert(w.plan.update_count == 0 && w.plan.create_count == 1);
    ck_assert_uint_eq(w.plan.creates[0]->endpoints_count, 2);
    done(&w);
}
END_TEST

/* A Service without pods has a slice without ports, once. */
START_TEST(empty_services_have_a_slice)
{
    struct world w;
    setup(&w, "", 100);
    plan(&w);
    ck_assert_uint_eq(w.plan.create_count, 1);
    ck_assert_uint_eq(w.plan.creates[0]->ports_count, 0);
    take_effect(&w);
    plan(&w);
    ck_assert_uint_eq(w.plan.create_count + w.plan.update_count + w.plan.remove_count, 0);
    add(&w, 1, 80); /* The empty one is written over. */
    plan(&w);
    ck_assert(w.plan.update_count == 1 && w.plan.create_count == 0 && w.plan.remove_count == 0);
    ck_assert_uint_eq(w.plan.updates[0]->ports_count, 1);
    ck_assert(str_eqc(w.plan.updates[0]->metadata.name, "s-0"));
    done(&w);
}
END_TEST

/* Pods with none of the ports stand in a slice without any; other ports, other slices. */
START_TEST(slices_by_ports)
{
    struct world w;
    setup(&w, "", 100);
    add(&w, 1, 80);
    add(&w, 2, 81);
    add(&w, 3, 0);
    plan(&w);
    ck_assert_uint_eq(w.plan.create_count, 3);
    ck_assert_uint_eq(w.plan.creates[2]->ports_count, 0);
    ck_assert_uint_eq(w.plan.creates[2]->endpoints_count, 1);
    done(&w);
}
END_TEST

/* Slices of another Service of the same name go. */
START_TEST(others_slices_go)
{
    struct world w;
    setup(&w, "", 100);
    add(&w, 1, 80);
    w.slices[w.in.existing_count++] = object(
        "discovery.k8s.io", "EndpointSlice",
        "{\"metadata\":{\"name\":\"old\",\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":"
        "\"Service\",\"name\":\"s\",\"uid\":\"before\",\"controller\":true}]},\"addressType\":"
        "\"IPv4\",\"endpoints\":[]}");
    plan(&w);
    ck_assert(w.plan.remove_count == 1 && w.plan.create_count == 1 && w.plan.update_count == 0);
    done(&w);
}
END_TEST

/* Hints by the Service's wish; labels and the time of the change on what is written. */
START_TEST(hints_labels_and_trigger)
{
    struct world w;
    setup(&w, "\"trafficDistribution\":\"PreferSameZone\"", 100);
    add(&w, 1, 80);
    w.in.trigger = STR("2026-01-01T00:00:00Z");
    plan(&w);
    ck_assert_ptr_nonnull(w.plan.creates);
    const struct discovery_v1_endpoint_slice *s = w.plan.creates[0];
    ck_assert_str_eq(s->endpoints[0].hints->for_zones[0].name.data, "z1");
    ck_assert_str_eq(
        api_str_map_get(s->metadata.annotations, s->metadata.annotations_count, STR(TRIGGER_TIME))
            ->data,
        "2026-01-01T00:00:00Z");
    ck_assert_str_eq(api_str_map_get(s->metadata.labels, s->metadata.labels_count, STR("x"))->data,
                     "y");
    take_effect(&w);
    w.in.trigger = STR_NULL;
    plan(&w);
    ck_assert_uint_eq(w.plan.update_count, 0); /* The time alone is no reason. */
    w.backends[0].ready = false;
    plan(&w);
    ck_assert_uint_eq(w.plan.updates[0]->metadata.annotations_count, 0);
    ck_assert_ptr_null(w.plan.updates[0]->endpoints[0].hints);
    done(&w);
}
END_TEST

static struct str look(struct trigger_times *t, struct arena *a, const char *const *pods)
{
    struct core_v1_service *s = decoded(
        a, &core_v1_service_msg, "{\"metadata\":{\"creationTimestamp\":\"2026-01-01T00:00:00Z\"}}");
    struct api_object *list[4];
    size_t count = 0;
    for (; pods[count] != NULL; count++)
        list[count] = object("", "Pod", pods[count]);
    struct str ret = trigger_times_look(t, a, STR("n/s"), s, list, count);
    for (size_t i = 0; i < count; i++)
        api_object_unref(list[i]);
    return ret;
}

/* The earliest of the changes that were not seen before; of a new Service, when it was made. */
START_TEST(trigger_is_the_earliest_change)
{
#define CHANGED(name, time)                                                                        \
    "{\"metadata\":{\"name\":\"" name "\"},\"status\":{\"conditions\":[{\"type\":\"Ready\","       \
    "\"status\":\"True\",\"lastTransitionTime\":\"" time "\"}]}}"
    AUTO_ARENA *a = arena_new(0);
    struct trigger_times *t = trigger_times_new();
    const char *first[] = {CHANGED("x", "2026-01-02T00:00:00Z"), NULL};
    const char *second[] = {CHANGED("x", "2026-01-02T00:00:09Z"),
                            CHANGED("y", "2026-01-02T00:00:05Z"), NULL};
    ck_assert_str_eq(look(t, a, first).data, "2026-01-01T00:00:00Z");
    ck_assert(str_empty(look(t, a, first)));
    ck_assert_str_eq(look(t, a, second).data, "2026-01-02T00:00:05Z");
    ck_assert(str_empty(look(t, a, second)));
    trigger_times_forget(t, STR("n/s"));
    ck_assert_str_eq(look(t, a, second).data, "2026-01-01T00:00:00Z");
    trigger_times_free(t);
}
END_TEST

UNIT_MAIN("controllers/endpointslices", {
    UNIT_TEST(one_change_writes_one_slice);
    UNIT_TEST(new_ones_stay_together);
    UNIT_TEST(empty_services_have_a_slice);
    UNIT_TEST(slices_by_ports);
    UNIT_TEST(others_slices_go);
    UNIT_TEST(hints_labels_and_trigger);
    UNIT_TEST(trigger_is_the_earliest_change);
})
