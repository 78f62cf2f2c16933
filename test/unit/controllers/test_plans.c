/* test_plans.c - StatefulSets, owners' graph and backends. */
#include "api/apps_v1.h"
#include "api/core_v1.h"
#include "controllers/backends.h"
#include "controllers/discovery.h"
#include "controllers/gc_graph.h"
#include "controllers/statefulset_claims.h"
#include "controllers/statefulset_plan.h"
#include "test/unit/controllers/objects.h"

#include <stdio.h>

/* --- StatefulSets ------------------------------------------------------------------------- */

#define READY "\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]"
#define SPOD(n, revision, status)                                                                  \
    "{\"metadata\":{\"name\":\"db-" n "\",\"labels\":{\"controller-revision-hash\":\"" revision    \
    "\"}},\"status\":{" status "}}"

static struct stateful_plan stateful(struct arena *a, const char *set, const char *const *pods)
{
    struct core_v1_pod *list[8];
    struct stateful_input in = {.set = decoded(a, &apps_v1_stateful_set_msg, set),
                                .pods = list,
                                .current_revision = STR("r1"),
                                .update_revision = STR("r2"),
                                .now_s = 9};
    for (; pods != NULL && pods[in.pod_count] != NULL; in.pod_count++)
        list[in.pod_count] = decoded(a, &core_v1_pod_msg, pods[in.pod_count]);
    struct stateful_plan p;
    stateful_plan(a, &in, &p);
    return p;
}

#define SET(spec) "{\"metadata\":{\"name\":\"db\"},\"spec\":{" spec "}}"

/* One after the other, each when the one before is ready; Parallel at once. */
START_TEST(stateful_comes_up_in_order)
{
    AUTO_ARENA *a = arena_new(0);
    const char *waiting[] = {SPOD("0", "r2", "\"phase\":\"Pending\""), NULL};
    const char *ready[] = {SPOD("0", "r2", READY), NULL};
    struct stateful_plan p = stateful(a, SET("\"replicas\":3"), NULL);
    ck_assert_uint_eq(p.create_count, 1);
    p = stateful(a, SET("\"replicas\":3"), waiting);
    ck_assert_uint_eq(p.create_count, 0);
    p = stateful(a, SET("\"replicas\":3"), ready);
    ck_assert_uint_eq(p.create_count, 1);
    ck_assert_int_eq(p.create[0].ordinal, 1);
    p = stateful(
        a, SET("\"replicas\":3,\"podManagementPolicy\":\"Parallel\",\"ordinals\":{\"start\":5}"),
        NULL);
    ck_assert_uint_eq(p.create_count, 3);
    ck_assert_int_eq(p.create[2].ordinal, 7);
}
END_TEST

/* From the highest down, one at a time. */
START_TEST(stateful_goes_down_in_order)
{
    AUTO_ARENA *a = arena_new(0);
    const char *pods[] = {SPOD("0", "r2", READY), SPOD("1", "r2", READY), SPOD("2", "r2", READY),
                          NULL};
    struct stateful_plan p = stateful(a, SET("\"replicas\":1"), pods);
    ck_assert_uint_eq(p.remove_count, 1);
    ck_assert_str_eq(p.remove[0]->metadata.name.data, "db-2");
}
END_TEST

/* Old pods above the partition go, the highest first; those below stay. */
START_TEST(stateful_rolls)
{
#define ROLL(partition)                                                                            \
    "\"replicas\":2,\"updateStrategy\":{\"rollingUpdate\":{\"partition\":" partition "}}"
    AUTO_ARENA *a = arena_new(0);
    const char *old[] = {SPOD("0", "r1", READY), SPOD("1", "r1", READY), NULL};
    const char *half[] = {SPOD("0", "r1", READY), SPOD("1", "r2", READY), NULL};
    struct stateful_plan p = stateful(a, SET(ROLL("0")), old);
    ck_assert_uint_eq(p.remove_count, 1);
    ck_assert_str_eq(p.remove[0]->metadata.name.data, "db-1");
    p = stateful(a, SET(ROLL("0")), half);
    ck_assert_str_eq(p.remove[0]->metadata.name.data, "db-0");
    p = stateful(a, SET(ROLL("1")), half);
    ck_assert_uint_eq(p.remove_count, 0);
    ck_assert_int_eq(p.status->updated_replicas, 1);
    ck_assert_int_eq(p.status->current_replicas, 1);
    const char *lost[] = {SPOD("1", "r2", READY), NULL};
    p = stateful(a, SET(ROLL("1")), lost);
    ck_assert(p.create_count == 1 && p.create[0].current);
}
END_TEST

/* Beyond the last, the highest goes first; one that ails only if it is the first that does. */
START_TEST(stateful_shrinks_past_trouble)
{
    AUTO_ARENA *a = arena_new(0);
    const char *one[] = {SPOD("0", "r2", READY), SPOD("1", "r2", READY),
                         SPOD("2", "r2", "\"phase\":\"Pending\""), NULL};
    const char *two[] = {SPOD("0", "r2", READY), SPOD("1", "r2", "\"phase\":\"Pending\""),
                         SPOD("2", "r2", "\"phase\":\"Pending\""), NULL};
    struct stateful_plan p = stateful(a, SET("\"replicas\":1"), one);
    ck_assert_uint_eq(p.remove_count, 1);
    p = stateful(a, SET("\"replicas\":1"), two);
    ck_assert_uint_eq(p.remove_count, 0);
}
END_TEST

/* Claims belong to the set, to a pod beyond its end, or to nobody, as the policy says. */
START_TEST(stateful_claims)
{
#define POLICY(deleted, scaled)                                                                    \
    "{\"metadata\":{\"name\":\"db\",\"uid\":\"s\"},\"spec\":{"                                     \
    "\"persistentVolumeClaimRetentionPolicy\":{\"whenDeleted\":\"" deleted                         \
    "\",\"whenScaled\":\"" scaled "\"}}}"
    static const struct {
        const char *set;
        bool beyond;
        const char *owner; /* NULL: nobody. */
    } cases[] = {
        {POLICY("Retain", "Retain"), true, NULL},         {POLICY("Delete", "Retain"), true, "s"},
        {POLICY("Retain", "Delete"), true, "p"},          {POLICY("Retain", "Delete"), false, NULL},
        {POLICY("Delete", "Delete"), false, "s"},         {POLICY("Delete", "Delete"), true, "p"},
        {"{\"metadata\":{\"name\":\"db\"}}", true, NULL},
    };
    AUTO_ARENA *a = arena_new(0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct stateful_claim c = {
            .set = decoded(a, &apps_v1_stateful_set_msg, cases[i].set),
            .set_kind = api_kind_by_gvk(STR("apps"), STR("v1"), STR("StatefulSet")),
            .pod_kind = api_kind_by_gvk(STR(""), STR("v1"), STR("Pod")),
            .pod = decoded(a, &core_v1_pod_msg, "{\"metadata\":{\"name\":\"db-3\",\"uid\":\"p\"}}"),
            .beyond = cases[i].beyond,
        };
        /* From nothing, and from what another policy left. */
        struct meta_v1_object_meta *fresh = decoded(a, &meta_v1_object_meta_msg, "{}");
        struct meta_v1_object_meta *used = decoded(
            a, &meta_v1_object_meta_msg,
            "{\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"name\":\"x\","
            "\"uid\":\"x\"},{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"db-3\",\"uid\":"
            "\"old\",\"controller\":true}]}");
        ck_assert_int_eq(stateful_claim_own(a, &c, fresh), cases[i].owner != NULL);
        ck_assert(!stateful_claim_own(a, &c, fresh)); /* Nothing is left to do. */
        ck_assert(stateful_claim_is_stale(used, STR("db-3"), STR("p")));
        ck_assert(stateful_claim_own(a, &c, used));
        ck_assert(!stateful_claim_is_stale(used, STR("db-3"), STR("p")));
        ck_assert_uint_eq(fresh->owner_references_count, cases[i].owner != NULL);
        ck_assert_uint_eq(used->owner_references_count, 1u + (cases[i].owner != NULL));
        if (cases[i].owner != NULL)
            ck_assert(str_eqc(used->owner_references[1].uid, cases[i].owner));
    }
    /* What another controls is left to that. */
    struct stateful_claim c = {
        .set = decoded(a, &apps_v1_stateful_set_msg, POLICY("Delete", "Retain")),
        .set_kind = api_kind_by_gvk(STR("apps"), STR("v1"), STR("StatefulSet")),
        .pod_kind = api_kind_by_gvk(STR(""), STR("v1"), STR("Pod")),
    };
    struct meta_v1_object_meta *other =
        decoded(a, &meta_v1_object_meta_msg,
                "{\"ownerReferences\":[{\"apiVersion\":\"a/v1\",\"kind\":\"K\",\"name\":\"x\","
                "\"uid\":\"x\",\"controller\":true}]}");
    ck_assert(!stateful_claim_own(a, &c, other));
    ck_assert_uint_eq(other->owner_references_count, 1);
}
END_TEST

START_TEST(stateful_ordinals)
{
    ck_assert_int_eq(stateful_ordinal(STR("db"), STR("db-10")), 10);
    ck_assert_int_eq(stateful_ordinal(STR("db"), STR("db-01")), -1);
    ck_assert_int_eq(stateful_ordinal(STR("db"), STR("db-x")), -1);
    ck_assert_int_eq(stateful_ordinal(STR("db"), STR("dbb-1")), -1);
    ck_assert_int_eq(stateful_ordinal(STR("db"), STR("db-99999999999")), -1);
}
END_TEST

/* --- owners -------------------------------------------------------------------------------- */

static char woken[256];

static void wake(struct str uid, void *arg)
{
    (void)arg;
    size_t len = strlen(woken);
    snprintf(woken + len, sizeof(woken) - len, STR_FMT " ", STR_ARG(uid));
}

static void see(struct gc_graph *g, struct arena *a, const char *meta)
{
    gc_graph_set(g, g, "v1", "Thing", decoded(a, &meta_v1_object_meta_msg, meta));
}

static const char *take_woken(void)
{
    static char copy[256];
    memcpy(copy, woken, sizeof(copy));
    woken[0] = '\0';
    return copy;
}

/* An unseen owner is asked about; when an owner goes its dependents are looked at. */
START_TEST(graph_follows_owners)
{
#define OWNED(uid, owner, block)                                                                   \
    "{\"uid\":\"" uid "\",\"name\":\"" uid                                                         \
    "\",\"namespace\":\"n\",\"ownerReferences\":[{\"apiVersion\":\"v1\","                          \
    "\"kind\":\"Thing\",\"name\":\"" owner "\",\"uid\":\"" owner                                   \
    "\",\"blockOwnerDeletion\":" block "}]}"
    AUTO_ARENA *a = arena_new(0);
    struct gc_graph g;
    gc_graph_init(&g, wake, NULL);
    see(&g, a, OWNED("pod", "rs", "true"));
    ck_assert_str_eq(take_woken(), "rs "); /* The pod is, if that one is not there. */
    ck_assert(gc_graph_find(&g, STR("rs"))->is_virtual);
    see(&g, a, OWNED("rs", "deploy", "true"));
    ck_assert(!gc_graph_find(&g, STR("rs"))->is_virtual);
    ck_assert_str_eq(take_woken(), "deploy ");
    see(&g, a, "{\"uid\":\"deploy\",\"name\":\"deploy\",\"namespace\":\"n\"}");
    ck_assert_str_eq(take_woken(), "");
    see(&g, a,
        "{\"uid\":\"deploy\",\"name\":\"deploy\",\"namespace\":\"n\",\"deletionTimestamp\":"
        "\"2026-01-01T00:00:00Z\",\"finalizers\":[\"foregroundDeletion\"]}");
    ck_assert_str_eq(take_woken(), "deploy rs ");
    ck_assert(gc_blocks(gc_graph_find(&g, STR("rs")), gc_graph_find(&g, STR("deploy"))));
    gc_graph_remove(&g, STR("rs"));
    ck_assert_str_eq(take_woken(), "deploy pod "); /* One less to wait for; one less owner. */
    gc_graph_remove(&g, STR("pod"));
    gc_graph_remove(&g, STR("deploy"));
    ck_assert_uint_eq(g.count, 0);
    gc_graph_done(&g);
}
END_TEST

/* Objects deleted in the foreground that wait for one another in a circle are told from a chain. */
START_TEST(graph_knows_circles)
{
#define GOING(uid, owner, block)                                                                   \
    "{\"uid\":\"" uid "\",\"name\":\"" uid                                                         \
    "\",\"namespace\":\"n\",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\","                       \
    "\"finalizers\":[\"foregroundDeletion\"],\"ownerReferences\":[{\"apiVersion\":\"v1\","         \
    "\"kind\":\"Thing\",\"name\":\"" owner "\",\"uid\":\"" owner                                   \
    "\",\"blockOwnerDeletion\":" block "}]}"
    AUTO_ARENA *a = arena_new(0);
    struct gc_graph g;
    gc_graph_init(&g, wake, NULL);
    see(&g, a, GOING("one", "three", "true"));
    see(&g, a, GOING("two", "one", "true"));
    see(&g, a, OWNED("three", "two", "true"));
    struct gc_node *one = gc_graph_find(&g, STR("one")), *two = gc_graph_find(&g, STR("two"));
    struct gc_node *three = gc_graph_find(&g, STR("three"));
    ck_assert(!gc_waits_for(&g, two, one)); /* It waits for three, which is not going yet. */
    see(&g, a, GOING("three", "two", "true"));
    ck_assert(gc_waits_for(&g, two, one));
    ck_assert(gc_waits_for(&g, three, two));
    ck_assert(gc_waits_for(&g, one, three));
    see(&g, a, GOING("three", "two", "false"));
    ck_assert(!gc_waits_for(&g, two, one));
    see(&g, a, GOING("self", "self", "true"));
    struct gc_node *self = gc_graph_find(&g, STR("self"));
    ck_assert(gc_waits_for(&g, self, self));
    gc_graph_done(&g);
    take_woken();
}
END_TEST

/* A virtual owner vanishes with its last dependent; references may change. */
START_TEST(graph_drops_what_nobody_needs)
{
    AUTO_ARENA *a = arena_new(0);
    struct gc_graph g;
    gc_graph_init(&g, wake, NULL);
    see(&g, a, OWNED("pod", "x", "false"));
    see(&g, a, OWNED("pod", "y", "false"));
    ck_assert_ptr_null(gc_graph_find(&g, STR("x")));
    ck_assert_ptr_nonnull(gc_graph_find(&g, STR("y")));
    gc_graph_remove_source(&g, &g);
    ck_assert_uint_eq(g.count, 0);
    gc_graph_done(&g);
    take_woken();
}
END_TEST

/* An owner that turns up in another namespace has its dependents looked at again. */
START_TEST(graph_knows_strangers)
{
    AUTO_ARENA *a = arena_new(0);
    struct gc_graph g;
    gc_graph_init(&g, wake, NULL);
    see(&g, a, OWNED("pod", "rs", "true"));
    take_woken();
    see(&g, a, "{\"uid\":\"rs\",\"name\":\"rs\",\"namespace\":\"elsewhere\"}");
    ck_assert_str_eq(take_woken(), "pod ");
    gc_graph_remove(&g, STR("pod"));
    gc_graph_remove(&g, STR("rs"));
    gc_graph_done(&g);
    take_woken();
}
END_TEST

/* --- discovery ------------------------------------------------------------------------------- */

START_TEST(discovery_is_read)
{
    struct discovery *d = xzalloc(sizeof(*d));
    struct error err = {0};
    d->arena = arena_new(0);
    static const char text[] =
        "{\"kind\":\"APIGroupDiscoveryList\",\"items\":[{\"metadata\":{\"name\":\"x.io\"},"
        "\"versions\":["
        "{\"version\":\"v2\",\"resources\":[{\"resource\":\"things\",\"responseKind\":{\"kind\":"
        "\"Thing\"},\"scope\":"
        "\"Namespaced\",\"verbs\":[\"list\",\"watch\",\"delete\",\"deletecollection\"]}]},"
        "{\"version\":\"v1\",\"resources\":[{\"resource\":\"things\",\"responseKind\":{\"kind\":"
        "\"Thing\"},\"verbs\":[]}]}]}]}";
    ck_assert_int_eq(discovery_parse(d, STR(text), &err), 0);
    ck_assert_uint_eq(d->count, 2);
    ck_assert(d->items[0].preferred && !d->items[1].preferred);
    ck_assert(d->items[0].can_delete_collection && d->items[0].namespaced);
    ck_assert_str_eq(discovery_find(d, STR("x.io/v1"), STR("Thing"))->version, "v1");
    ck_assert_str_eq(discovery_find(d, STR("x.io/v9"), STR("Thing"))->version, "v2");
    ck_assert_ptr_null(discovery_find(d, STR("v1"), STR("Thing")));
    ck_assert_int_eq(discovery_parse(d, STR("{}"), &err), E_INVALID);
    discovery_free(d);
}
END_TEST

/* An API that does not answer hides what it has, not what others have. */
START_TEST(discovery_may_be_partial)
{
    struct discovery *d = xzalloc(sizeof(*d));
    struct error err = {0};
    d->arena = arena_new(0);
    static const char text[] =
        "{\"kind\":\"APIGroupDiscoveryList\",\"items\":[{\"metadata\":{\"name\":\"y.io\"},"
        "\"versions\":[{\"version\":\"v1\",\"freshness\":\"Stale\"}]},{\"metadata\":{\"name\":"
        "\"b.io\"},\"versions\":[{\"version\":\"v1\",\"freshness\":\"Stale\"}]},{\"metadata\":{"
        "\"name\":\"x.io\"},\"versions\":[{\"version\":\"v1\",\"resources\":[{\"resource\":"
        "\"things\",\"responseKind\":{\"kind\":\"Thing\"},\"verbs\":[],\"subresources\":[{"
        "\"subresource\":\"scale\",\"responseKind\":{\"kind\":\"Scale\"}}]}]}]}]}";
    ck_assert_int_eq(discovery_parse(d, STR(text), &err), 0);
    ck_assert_uint_eq(d->count, 1);
    ck_assert(d->items[0].scales);
    ck_assert_uint_eq(d->stale_count, 2);
    ck_assert(discovery_is_stale(d, "y.io", "v1") && !discovery_is_stale(d, "x.io", "v1"));
    ck_assert_str_eq(discovery_error(d).data,
                     "unable to retrieve the complete list of server APIs: b.io/v1: stale "
                     "GroupVersion discovery: b.io/v1, y.io/v1: stale GroupVersion discovery: "
                     "y.io/v1");
    discovery_free(d);
}
END_TEST

/* --- backends --------------------------------------------------------------------------------- */

static struct api_object *pod_object(const char *json)
{
    const struct api_kind *k = api_kind_by_gvk(STR(""), STR("v1"), STR("Pod"));
    struct api_object *o = api_object_new(k);
    o->msg = decoded(o->arena, k->msg, json);
    return o;
}

/* Named ports resolve per pod; ended pods and those without address are left
 * out; those going are there for EndpointSlices only. */
START_TEST(backends_of_a_service)
{
#define BACKEND(name, ip, extra, port)                                                             \
    "{\"metadata\":{\"name\":\"" name "\",\"labels\":{\"app\":\"w\"}" extra                        \
    "},\"spec\":{\"containers\":[{\"name\":"                                                       \
    "\"c\",\"ports\":[{\"name\":\"http\",\"containerPort\":" port                                  \
    "}]}]},\"status\":{\"phase\":\"Running\",\"podIPs\":[{\"ip\":\"" ip                            \
    "\"}],\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}"
    AUTO_ARENA *a = arena_new(0);
    struct core_v1_service *s =
        decoded(a, &core_v1_service_msg,
                "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"selector\":{\"app\":\"w\"},\"ports\":[{"
                "\"port\":80,\"targetPort\":\"http\"}]}}");
    struct api_object *pods[] = {
        pod_object(BACKEND("b", "10.0.0.2", "", "8080")),
        pod_object(
            BACKEND("a", "10.0.0.1", ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"", "9090")),
        pod_object(
            "{\"metadata\":{\"labels\":{\"app\":\"w\"}},\"status\":{\"phase\":\"Pending\"}}"),
    };
    size_t count;
    struct backend *list = service_backends(
        a, s, pods, ARRAY_SIZE(pods), (struct backend_query){.with_terminating = true}, &count);
    ck_assert_uint_eq(count, 2);
    ck_assert(list[0].terminating && list[0].serving && !list[0].ready);
    ck_assert_int_eq(list[0].ports[0].port, 9090);
    ck_assert(list[1].ready && list[1].ports[0].port == 8080);
    service_backends(a, s, pods, ARRAY_SIZE(pods), (struct backend_query){0}, &count);
    ck_assert_uint_eq(count, 1);
    for (size_t i = 0; i < ARRAY_SIZE(pods); i++)
        api_object_unref(pods[i]);
}
END_TEST

/* Only what Services see of a pod counts as a change of theirs. */
START_TEST(changes_that_services_see)
{
    static const struct {
        const char *pod;
        bool alike;
    } cases[] = {
        {BACKEND("b", "10.0.0.2", ",\"annotations\":{\"x\":\"y\"}", "8080"), true},
        {BACKEND("b", "10.0.0.3", "", "8080"), false},
        {BACKEND("b", "10.0.0.2", ",\"deletionTimestamp\":\"2026-01-01T00:00:00Z\"", "8080"),
         false},
        {BACKEND("b", "10.0.0.2", ",\"uid\":\"other\"", "8080"), false},
        {"{\"metadata\":{\"labels\":{\"app\":\"w\"}},\"status\":{\"podIPs\":[{\"ip\":"
         "\"10.0.0.2\"}]}}",
         false},
        {"{\"metadata\":{\"labels\":{\"app\":\"v\"}},\"status\":{\"phase\":\"Running\","
         "\"podIPs\":[{\"ip\":\"10.0.0.2\"}],\"conditions\":[{\"type\":\"Ready\",\"status\":"
         "\"True\"}]}}",
         false},
    };
    AUTO_ARENA *a = arena_new(0);
    const struct core_v1_pod *before =
        decoded(a, &core_v1_pod_msg, BACKEND("b", "10.0.0.2", "", "8080"));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        ck_assert_int_eq(pod_serves_alike(before, decoded(a, &core_v1_pod_msg, cases[i].pod)),
                         cases[i].alike);
}
END_TEST

UNIT_MAIN("controllers/plans", {
    UNIT_TEST(stateful_comes_up_in_order);
    UNIT_TEST(stateful_goes_down_in_order);
    UNIT_TEST(stateful_rolls);
    UNIT_TEST(stateful_shrinks_past_trouble);
    UNIT_TEST(stateful_claims);
    UNIT_TEST(stateful_ordinals);
    UNIT_TEST(graph_follows_owners);
    UNIT_TEST(graph_knows_circles);
    UNIT_TEST(graph_drops_what_nobody_needs);
    UNIT_TEST(discovery_is_read);
    UNIT_TEST(discovery_may_be_partial);
    UNIT_TEST(graph_knows_strangers);
    UNIT_TEST(backends_of_a_service);
    UNIT_TEST(changes_that_services_see);
})
