/* What a vertical autoscaler remembers: answers of the metrics API, kills, checkpoints. */
#include "controllers/vpa_memory.h"

#include "api/core_v1.h"
#include "controllers/vpa_status.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "test/unit/unit.h"

static struct arena *a;
static struct vpa_object v;
static struct vpa_memory *m;
static struct api_object *pods[2];

static struct str quoted(const char *text)
{
    AUTO_BUF b = BUF_INIT;
    for (; *text != '\0'; text++)
        buf_putc(&b, *text == '\'' ? '"' : *text);
    return arena_str(a, buf_str(&b));
}

static struct json *tree(const char *text)
{
    struct json *j;
    struct error err = {0};
    ck_assert_msg(json_parse(a, quoted(text), &j, &err) == 0, "%s", error_message(&err));
    return j;
}

static struct api_object *pod(const char *text)
{
    const struct api_kind *kind = api_kind_by_gvk(STR(""), STR("v1"), STR("Pod"));
    struct api_object *o = ARENA_NEW(a, struct api_object);
    o->kind = kind;
    o->msg = ARENA_NEW(a, struct core_v1_pod);
    ck_assert_int_eq(
        api_json_decode_tree(a, kind->msg, tree(text), API_LENIENT, NULL, o->msg, NULL), 0);
    return o;
}

static void setup(void)
{
    a = arena_new(0);
    v = (struct vpa_object){0};
    m = vpa_memory_new();
    pods[0] = pod("{'metadata':{'name':'a','uid':'ua'},'spec':{'initContainers':[{'name':'i'}],"
                  "'containers':[{'name':'c','resources':{'requests':{'memory':'1Gi'}}},"
                  "{'name':'d'}]}}");
    pods[1] = pod("{'metadata':{'name':'b','uid':'ub'},'spec':{'containers':[{'name':'c'}]}}");
}

static void teardown(void)
{
    vpa_memory_free(m);
    arena_free(a);
}

static void feed(const char *metrics)
{
    struct error err = {0};
    vpa_memory_kills(m, &v, pods, 2);
    ck_assert_msg(vpa_memory_feed(m, &v, pods, 2, quoted(metrics), &err) == 0, "%s",
                  error_message(&err));
}

static const struct vpa_aggregate *series(const char *container)
{
    const struct vpa_series *s = map_get(&m->series, str_of(container));
    ck_assert_ptr_nonnull(s);
    return &s->aggregate;
}

#define METRICS                                                                                    \
    "{'items':[{'metadata':{'name':'a'},'timestamp':'2023-11-15T00:00:00Z','window':'30s',"        \
    "'containers':[{'name':'c','usage':{'cpu':'250m','memory':'700M'}},"                           \
    "{'name':'d','usage':{'cpu':'1n','memory':'5Mi'}},"                                            \
    "{'name':'i','usage':{'cpu':'9','memory':'9Gi'}}]},"                                           \
    "{'metadata':{'name':'b'},'timestamp':'2023-11-15T00:00:30Z',"                                 \
    "'containers':[{'name':'c','usage':{'cpu':'100m','memory':'100M'}}]},"                         \
    "{'metadata':{'name':'other'},'timestamp':'2023-11-15T00:00:00Z',"                             \
    "'containers':[{'name':'c','usage':{'cpu':'7'}}]}]}"

/* Samples of the target's pods count once; init containers and other pods do not. */
START_TEST(feeds)
{
    feed(METRICS);
    feed(METRICS);
    ck_assert_uint_eq(m->series.count, 2);
    ck_assert_int_eq(series("c")->count, 2);
    ck_assert_int_eq(series("c")->first_s, 1700006400);
    ck_assert_int_eq(series("c")->last_s, 1700006430);
    ck_assert_int_eq(series("d")->count, 1);
    struct error err = {0};
    ck_assert_int_ne(vpa_memory_feed(m, &v, pods, 2, STR("{}"), &err), 0);
    ck_assert_int_ne(vpa_memory_feed(m, &v, pods, 2, STR("<html>"), &err), 0);
}
END_TEST

/* A kill counts once, with the request that it had. */
START_TEST(kills)
{
    feed(METRICS);
    pods[0] = pod("{'metadata':{'name':'a','uid':'ua'},'spec':{'containers':[{'name':'c',"
                  "'resources':{'requests':{'memory':'1Gi'}}},{'name':'d'}]},'status':"
                  "{'containerStatuses':[{'name':'c','lastState':{'terminated':{'reason':"
                  "'OOMKilled','finishedAt':'2023-11-15T00:01:00Z'}}}]}}");
    vpa_memory_kills(m, &v, pods, 2);
    double total = series("c")->memory.total;
    vpa_memory_kills(m, &v, pods, 2);
    const struct vpa_pod_usage *u = map_get(&m->usages, STR("c/ua"));
    ck_assert_int_eq(u->usage.oom_peak, 1288490188);
    ck_assert(series("c")->memory.total <= total);
    /* A pod that is gone is forgotten, what it used is not. */
    vpa_memory_kills(m, &v, pods + 1, 1);
    ck_assert(map_get(&m->usages, STR("c/ua")) == NULL && series("c")->count == 2);
}
END_TEST

static struct json *checkpoint(const char *container)
{
    struct json *j = tree("{'metadata':{},'spec':{}}");
    struct str name = str_of(container);
    json_setc(a, json_getc(j, "spec"), "containerName", json_string(a, name));
    json_setc(a, json_getc(j, "metadata"), "annotations", vpa_checkpoint_annotations(a, m, name));
    json_setc(a, j, "status", vpa_checkpoint_status(a, m, name, 1700006500));
    AUTO_BUF text = BUF_INIT; /* As it comes back from the server. */
    json_write(j, true, &text);
    ck_assert_int_eq(json_parse(a, arena_str(a, buf_str(&text)), &j, NULL), 0);
    return j;
}

static const char *recommendation(void)
{
    size_t n;
    AUTO_BUF text = BUF_INIT;
    const struct vpa_recommended *list = vpa_recommend(a, m, &v, &n);
    json_write(vpa_recommendation_json(a, list, n), false, &text);
    return arena_str(a, buf_str(&text)).data;
}

/* Saved and loaded, everything is as it was, and the same samples still count once. */
START_TEST(checkpoints)
{
    feed(METRICS);
    const char *before = recommendation();
    struct json *c = checkpoint("c"), *d = checkpoint("d");
    ck_assert(str_eqc(json_get_str(json_getc(c, "status"), "version"), "v3"));
    ck_assert_int_eq(json_get_int(json_getc(c, "status"), "totalSamplesCount", 0), 2);
    ck_assert(
        str_eqc(json_get_str(json_getc(c, "status"), "firstSampleStart"), "2023-11-15T00:00:00Z"));
    vpa_memory_free(m);
    m = vpa_memory_new();
    ck_assert(vpa_checkpoint_load(m, c) && vpa_checkpoint_load(m, d));
    ck_assert_str_eq(recommendation(), before);
    double total = series("c")->memory.total;
    feed(METRICS);
    ck_assert_int_eq(series("c")->count, 2);
    ck_assert(series("c")->memory.total <= total && series("c")->memory.total >= total);
    ck_assert_str_eq(recommendation(), before);
}
END_TEST

/* What is no checkpoint, or of another version, is refused and changes nothing. */
START_TEST(bad_checkpoints)
{
    static const char *const bad[] = {
        "{}",
        "{'spec':{'containerName':'c'}}",
        "{'spec':{'containerName':'c'},'status':{'version':'v2'}}",
        "{'spec':{'containerName':'c'},'status':{'version':'v3','totalSamplesCount':-1}}",
        "{'spec':{'containerName':'c'},'status':{'version':'v3','cpuHistogram':"
        "{'bucketWeights':{'176':1},'totalWeight':1}}}",
        "{'spec':{'containerName':'c'},'status':{'version':'v3','cpuHistogram':"
        "{'bucketWeights':{'1':-1},'totalWeight':1}}}",
        "{'spec':{'containerName':'c'},'status':{'version':'v3','memoryHistogram':"
        "{'bucketWeights':{'1':1},'totalWeight':-1}}}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        ck_assert_msg(!vpa_checkpoint_load(m, tree(bad[i])), "%s", bad[i]);
    ck_assert_uint_eq(m->series.count, 0);
}
END_TEST

static void note_gone(struct str container, void *arg)
{
    buf_append_str(arg, container);
}

/* What has had no samples for eight days is forgotten. */
START_TEST(expiry)
{
    AUTO_BUF gone = BUF_INIT;
    feed(METRICS);
    vpa_memory_expire(m, &v, 1700006430 + 8 * 86400 - 31, note_gone, &gone);
    ck_assert_uint_eq(m->series.count, 2);
    vpa_memory_expire(m, &v, 1700006430 + 8 * 86400 - 1, note_gone, &gone);
    ck_assert(str_eqc(buf_str(&gone), "d") && m->series.count == 1);
}
END_TEST

/* Policies: what is off, not controlled, or bounded. */
START_TEST(recommendations)
{
    feed(METRICS);
    vpa_read(a,
             tree("{'spec':{'resourcePolicy':{'containerPolicies':[{'containerName':'d','mode':"
                  "'Off'},{'containerName':'*','controlledResources':['memory'],"
                  "'maxAllowed':{'memory':'1Gi'},'minAllowed':{'memory':'900M'}}]}}}"),
             &v);
    ck_assert_str_eq(recommendation(),
                     quoted("{'containerRecommendations':[{'containerName':'c','target':{'memory':"
                            "'900M'},'lowerBound':{'memory':'900M'},'upperBound':{'memory':'1Gi'},"
                            "'uncappedTarget':{'memory':'813749082'}}]}")
                         .data);
}
END_TEST

/* Conditions are by type, and keep their time unless their status changes. */
START_TEST(conditions)
{
    struct vpa_conditions c;
    AUTO_BUF text = BUF_INIT;
    vpa_conditions_init(&c, a,
                        tree("{'conditions':[{'type':'NoPodsMatched','status':'True'},"
                             "{'type':'RecommendationProvided','status':'True',"
                             "'lastTransitionTime':'2020-01-01T00:00:00Z','reason':'x'}]}"),
                        1700000000);
    vpa_condition_remove(&c, "NoPodsMatched");
    vpa_condition_remove(&c, "ConfigDeprecated");
    vpa_condition_set(&c, "RecommendationProvided", true, "", "");
    vpa_condition_set(&c, "ConfigUnsupported", true, "", "why");
    json_write(c.list, false, &text);
    ck_assert_str_eq(str_c(arena_str(a, buf_str(&text))),
                     quoted("[{'type':'ConfigUnsupported','status':'True','lastTransitionTime':"
                            "'2023-11-14T22:13:20Z','message':'why'},"
                            "{'type':'RecommendationProvided','status':'True',"
                            "'lastTransitionTime':'2020-01-01T00:00:00Z'}]")
                         .data);
}
END_TEST

UNIT_MAIN("vpa_memory", {
    tcase_add_checked_fixture(tc, setup, teardown);
    UNIT_TEST(feeds);
    UNIT_TEST(kills);
    UNIT_TEST(checkpoints);
    UNIT_TEST(bad_checkpoints);
    UNIT_TEST(expiry);
    UNIT_TEST(recommendations);
    UNIT_TEST(conditions);
})
