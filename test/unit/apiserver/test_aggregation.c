/* test_aggregation.c - APIServices: rules of the kind, registration of what is
 * served here, discovery of what is served elsewhere, order of groups. */
#include "apiserver/aggregation/apiservice.h"
#include "apiserver/aggregation/catalog.h"
#include "apiserver/aggregation/documents.h"
#include "apiserver/aggregation/probe.h"
#include "apiserver/aggregation/registration.h"

#include "api/apiregistration_v1.h"
#include "apiserver/encode.h"
#include "apiserver/kinds/kinds.h"
#include "apiserver/registry.h"
#include "apiserver/write.h"
#include "lib/base/env.h"
#include "test/unit/apiserver/kinds_fixture.h"

typedef struct apiregistration_v1_api_service service_t;

static struct fixture service_fixture(struct arena *a)
{
    return fixture_new(a, &kind_apiservices, &apiregistration_v1_api_service_msg);
}

/* --- the kind ------------------------------------------------------------------------------- */
#define LOCAL                                                                                      \
    "{'metadata':{'name':'v1.x.io'},'spec':{'group':'x.io','version':'v1',"                        \
    "'groupPriorityMinimum':100,'versionPriority':10}}"

/* The port is 443 unless it is given. */
START_TEST(port_default)
{
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = service_fixture(a);
    service_t *s = fixture_object(&f, "{'spec':{'service':{'name':'s','namespace':'n'}}}");
    ck_assert_int_eq(s->spec.service->port, 443);
    s = fixture_object(&f, "{'spec':{'service':{'name':'s','namespace':'n','port':8443}}}");
    ck_assert_int_eq(s->spec.service->port, 8443);
}
END_TEST

static const char *faults(struct arena *a, const char *object)
{
    struct fixture f = service_fixture(a);
    service_t *s = fixture_object(&f, object);
    kind_apiservices.validate_create(&f.ctx, s, &f.errs);
    return f.errs.count == 0 ? "" : str_c(field_errors_text(a, &f.errs));
}

/* What upstream refuses, in its words. */
START_TEST(validation)
{
    AUTO_ARENA *a = arena_new(0);
    ck_assert_str_eq(faults(a, LOCAL), "");
    ck_assert_str_eq(
        faults(a, "{'metadata':{'name':'v2.x.io'},'spec':{'group':'x.io','version':'v1',"
                  "'groupPriorityMinimum':100,'versionPriority':10}}"),
        "metadata.name: Invalid value: \"v2.x.io\": must be `spec.version+\".\"+spec.group`: "
        "\"v1.x.io\"");
    ck_assert_str_eq(
        faults(a, "{'metadata':{'name':'v1.x.io'},'spec':{'group':'x.io','version':'v1',"
                  "'groupPriorityMinimum':20001,'versionPriority':0}}"),
        "[spec.groupPriorityMinimum: Invalid value: 20001: must be positive and less than 20000, "
        "spec.versionPriority: Invalid value: 0: must be positive and less than 1000]");
    ck_assert_str_eq(faults(a, "{'metadata':{'name':'v2.'},'spec':{'version':'v2',"
                               "'groupPriorityMinimum':1,'versionPriority':1}}"),
                     "spec.group: Required value: only v1 may have an empty group and it better be "
                     "legacy kube");
    ck_assert_str_eq(
        faults(a, "{'metadata':{'name':'v1.x.io'},'spec':{'group':'x.io','version':'v1',"
                  "'groupPriorityMinimum':1,'versionPriority':1,'caBundle':'YWJj',"
                  "'insecureSkipTLSVerify':true}}"),
        "[spec.caBundle: Invalid value: \"3 bytes\": local APIServices may not have a caBundle, "
        "spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have "
        "insecureSkipTLSVerify]");
    ck_assert_str_eq(
        faults(a, "{'metadata':{'name':'v1.x.io'},'spec':{'group':'x.io','version':'v1',"
                  "'groupPriorityMinimum':1,'versionPriority':1,'caBundle':'YWJj',"
                  "'insecureSkipTLSVerify':true,'service':{'port':0}}}"),
        "[spec.service.namespace: Required value, spec.service.name: Required value, "
        "spec.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, "
        "inclusive, spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle "
        "is present]");
}
END_TEST

/* A local one is available from the first; others have to show it. */
START_TEST(available_at_once)
{
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = service_fixture(a);
    service_t *s = fixture_object(&f, LOCAL);
    kind_apiservices.prepare_create(&f.ctx, s);
    ck_assert(apiservice_is_available(s));
    s = fixture_object(&f, "{'spec':{'service':{'name':'s','namespace':'n'}}}");
    kind_apiservices.prepare_create(&f.ctx, s);
    ck_assert_uint_eq(s->status.conditions_count, 0);
}
END_TEST

/* The time of the condition changes with its status only. */
START_TEST(condition_times)
{
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = service_fixture(a);
    service_t *s = fixture_object(&f, LOCAL);
    struct apiservice_verdict bad = {"False", "MissingEndpoints", STR("none")},
                              good = {"True", "Passed", STR("all")};
    ck_assert(apiservice_set_available(a, s, &bad, 10));
    ck_assert(!apiservice_set_available(a, s, &bad, 20));
    bad.message = STR("still none");
    ck_assert(apiservice_set_available(a, s, &bad, 30));
    ck_assert_int_eq(s->status.conditions[0].last_transition_time.seconds, 10);
    ck_assert(apiservice_set_available(a, s, &good, 40));
    ck_assert_int_eq(s->status.conditions[0].last_transition_time.seconds, 40);
    ck_assert_uint_eq(s->status.conditions_count, 1);
}
END_TEST

START_TEST(version_order)
{
    static const char *const order[] = {"v10",     "v2",        "v1",        "v11beta2", "v10beta3",
                                        "v3beta1", "v12alpha1", "v11alpha2", "foo1",     "foo10"};
    for (size_t i = 0; i + 1 < ARRAY_SIZE(order); i++)
        ck_assert_msg(apiservice_compare_versions(order[i], order[i + 1]) < 0, "%s", order[i]);
}
END_TEST

/* --- registration ----------------------------------------------------------------------------- */
static struct kv no_kv; /* Only its revision, 0, is looked at. */

struct world {
    struct arena *arena;
    struct registration reg;
    struct kind_ctx ctx;
    struct registration_look look;
    const service_t *all[64];
    const struct kv *kvs[64];
    struct txn_build txn;
};

static void world_init(struct world *w, struct arena *a)
{
    *w = (struct world){.arena = a};
    registration_init(&w->reg);
    w->ctx =
        (struct kind_ctx){.arena = a, .env = env_system(), .subresource = "", .now_ns = 1000000000};
    w->look.res = registry_storage(STR(APISERVICE_GROUP), STR("apiservices"));
    w->look.all = w->all;
    w->look.kvs = w->kvs;
}

static bool plan(struct world *w)
{
    w->txn = (struct txn_build){.arena = w->arena};
    return registration_plan(&w->reg, &w->ctx, &w->look, &w->txn);
}

/* What was put becomes what is there. */
static void apply(struct world *w)
{
    for (size_t i = 0; i < w->txn.op_count; i++) {
        void *msg;
        ck_assert_int_eq(stored_decode(w->arena, w->look.res, w->txn.ops[i].value, 1, &msg, NULL),
                         0);
        w->kvs[w->look.count] = &no_kv;
        w->all[w->look.count++] = msg;
    }
}

static const service_t *find(const struct world *w, const char *name)
{
    for (size_t i = 0; i < w->look.count; i++)
        if (str_eqc(w->all[i]->metadata.name, name))
            return w->all[i];
    return NULL;
}

/* Everything built in but the registry's own group, with upstream's numbers;
 * and nothing more once that is there. */
START_TEST(registers_built_in)
{
    AUTO_ARENA *a = arena_new(0);
    struct world w;
    world_init(&w, a);
    ck_assert(plan(&w));
    apply(&w);
    ck_assert_uint_eq(w.look.count, 22); /* Beta versions that nothing has turned off among them. */
    const service_t *s = find(&w, "v2.autoscaling");
    ck_assert_ptr_nonnull(s);
    ck_assert_int_eq(s->spec.group_priority_minimum, 17500);
    ck_assert_int_eq(s->spec.version_priority, 30);
    ck_assert(str_eqc(s->metadata.labels[0].value, "onstart"));
    ck_assert(apiservice_is_available(s));
    ck_assert_ptr_nonnull(find(&w, "v1."));
    ck_assert_ptr_null(find(&w, "v1.apiregistration.k8s.io"));
    ck_assert(!plan(&w));
    registration_done(&w.reg);
}
END_TEST

/* Made once: what is deleted later stays away until the next start. */
START_TEST(on_start_only)
{
    AUTO_ARENA *a = arena_new(0);
    struct world w;
    world_init(&w, a);
    ck_assert(plan(&w));
    apply(&w);
    ck_assert(!plan(&w));
    w.look.count--;
    ck_assert(!plan(&w));
    registration_done(&w.reg);
}
END_TEST

static void add(struct world *w, const char *text)
{
    struct fixture f = service_fixture(w->arena);
    w->kvs[w->look.count] = &no_kv;
    w->all[w->look.count++] = fixture_object(&f, text);
}

/* One kept always, of a custom resource that is no more, goes; what has no
 * label is somebody else's; what says something else at the start is put right. */
START_TEST(leaves_strangers)
{
    AUTO_ARENA *a = arena_new(0);
    struct world w;
    world_init(&w, a);
    ck_assert(plan(&w));
    apply(&w);
    registration_done(&w.reg);
    registration_init(&w.reg);
    size_t last = w.look.count;
    add(&w, LOCAL);
    ck_assert(!plan(&w));
    struct fixture f = service_fixture(a);
    service_t *s = fixture_object(&f, LOCAL);
    struct api_str_entry label = {STR("kube-aggregator.kubernetes.io/automanaged"), STR("true")};
    s->metadata.labels = &label;
    s->metadata.labels_count = 1;
    s->metadata.finalizers_count = 1; /* Marked, since a key of the fixture cannot be read. */
    s->metadata.finalizers = ARENA_NEW(a, struct str);
    s->metadata.finalizers[0] = STR("x.io/f");
    w.all[last] = s;
    ck_assert(plan(&w));
    ck_assert_uint_eq(w.txn.op_count, 1);
    registration_done(&w.reg);
    registration_init(&w.reg);
    w.look.count = last;
    ((service_t *)(uintptr_t)w.all[3])->spec.version_priority = 1;
    ck_assert(plan(&w));
    ck_assert_uint_eq(w.txn.op_count, 1);
    registration_done(&w.reg);
}
END_TEST

/* --- discovery ----------------------------------------------------------------------------------
 */
/* Built-in groups stand as upstream lists them, the registry's own first. */
START_TEST(catalog_order)
{
    AUTO_ARENA *a = arena_new(0);
    size_t n, m;
    const struct registry_group *g = registry_built_in(&m);
    const struct catalog_group *c = catalog_make(a, false, &n);
    ck_assert_uint_eq(n, m);
    for (size_t i = 0; i < n; i++) {
        ck_assert_str_eq(c[i].name, g[i].name);
        ck_assert_str_eq(c[i].versions[0].version, g[i].versions[0]);
    }
    ck_assert_str_eq(c[0].name, APISERVICE_GROUP);
}
END_TEST

/* An APIResourceList as aggregated discovery tells of it. */
START_TEST(converts_lists)
{
    AUTO_ARENA *a = arena_new(0);
    struct json *j;
    AUTO_BUF b = BUF_INIT;
    static const char list[] =
        "{\"resources\":[{\"name\":\"pods/x\",\"kind\":\"X\",\"verbs\":[\"get\"]},"
        "{\"name\":\"pods\",\"singularName\":\"pod\",\"namespaced\":true,\"kind\":\"PodMetrics\","
        "\"verbs\":[\"get\",\"list\"]},{\"name\":\"none/y\",\"kind\":\"Y\"}]}";
    ck_assert_int_eq(json_parse(a, STR(list), &j, NULL), 0);
    json_write(probe_convert_resources(a, j), false, &b);
    buf_putc(&b, '\0');
    ck_assert_str_eq(
        (const char *)b.data,
        "[{\"resource\":\"pods\",\"responseKind\":{\"group\":\"\",\"version\":\"\",\"kind\":"
        "\"PodMetrics\"},\"scope\":\"Namespaced\",\"singularResource\":\"pod\",\"verbs\":[\"get\","
        "\"list\"],\"subresources\":[{\"subresource\":\"x\",\"responseKind\":{\"group\":\"\","
        "\"version\":\"\",\"kind\":\"X\"},\"verbs\":[\"get\"]}]}]");
    ck_assert_int_eq(json_parse(a, STR("{\"resources\":7}"), &j, NULL), 0);
    ck_assert_uint_eq(probe_convert_resources(a, j)->array.count, 0);
}
END_TEST

/* What is known stays while it is stale, and each change has its number. */
START_TEST(documents_remember)
{
    AUTO_ARENA *a = arena_new(0);
    struct str name = STR("v1.d.io");
    struct aggregated_documents d = {.resources = STR("[]"), .openapi = STR("/openapi/v3/x")}, e;
    uint64_t at = aggregated_documents_serial();
    ck_assert(!aggregated_documents_get(a, name, &e));
    aggregated_documents_put(name, &d);
    ck_assert_uint_eq(aggregated_documents_serial(), at + 1);
    aggregated_documents_put(name, &d);
    ck_assert_uint_eq(aggregated_documents_serial(), at + 1);
    aggregated_documents_stale(name);
    ck_assert(aggregated_documents_get(a, name, &e));
    ck_assert(e.stale && str_eqc(e.resources, "[]"));
    aggregated_documents_drop(name);
    ck_assert(!aggregated_documents_get(a, name, &e));
    ck_assert_uint_eq(aggregated_documents_serial(), at + 3);
}
END_TEST

UNIT_MAIN("aggregation", {
    registry_init();
    UNIT_TEST(port_default);
    UNIT_TEST(validation);
    UNIT_TEST(available_at_once);
    UNIT_TEST(condition_times);
    UNIT_TEST(version_order);
    UNIT_TEST(registers_built_in);
    UNIT_TEST(on_start_only);
    UNIT_TEST(leaves_strangers);
    UNIT_TEST(catalog_order);
    UNIT_TEST(converts_lists);
    UNIT_TEST(documents_remember);
})
