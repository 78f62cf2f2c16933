/* Tests of apiserver/node_graph.c: what a node has to do with because of its pods. */
#include "apiserver/node_graph.h"

#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "test/unit/unit.h"

static struct arena *arena;
static struct node_graph *graph;

static void setup(void)
{
    arena = arena_new(0);
    graph = node_graph_new();
}

static void teardown(void)
{
    node_graph_free(graph);
    arena_free(arena);
}

static void *from_json(const struct api_msg *msg, const char *text)
{
    void *obj = api_msg_new(arena, msg);
    struct error err = {0};
    ck_assert_msg(api_json_decode(arena, msg, str_of(text), API_LENIENT, NULL, obj, &err) == 0,
                  "%s", error_message(&err));
    return obj;
}

static void set_pod(const char *json)
{
    node_graph_set_pod(graph, arena, from_json(&core_v1_pod_msg, json));
}

static bool has(const char *node, enum ref_kind kind, const char *ns, const char *name)
{
    return node_graph_has(graph, str_of(node), kind, str_of(ns), str_of(name));
}

/* Everything a pod names is its node's, in the pod's namespace only. */
START_TEST(pod_references)
{
    set_pod(
        "{\"metadata\":{\"namespace\":\"n\",\"name\":\"p\"},\"spec\":{\"nodeName\":\"a\","
        "\"serviceAccountName\":\"sa\",\"imagePullSecrets\":[{\"name\":\"pull\"}],"
        "\"initContainers\":[{\"name\":\"i\",\"env\":[{\"name\":\"E\",\"valueFrom\":"
        "{\"secretKeyRef\":{\"name\":\"env\",\"key\":\"k\"}}}]}],"
        "\"containers\":[{\"name\":\"c\",\"envFrom\":[{\"configMapRef\":{\"name\":\"from\"}}]}],"
        "\"resourceClaims\":[{\"name\":\"r\",\"resourceClaimName\":\"gpu\"}],"
        "\"volumes\":[{\"name\":\"v\",\"secret\":{\"secretName\":\"vol\"}},"
        "{\"name\":\"w\",\"projected\":{\"sources\":[{\"configMap\":{\"name\":\"proj\"}}]}},"
        "{\"name\":\"x\",\"persistentVolumeClaim\":{\"claimName\":\"claim\"}},"
        "{\"name\":\"e\",\"ephemeral\":{}},"
        "{\"name\":\"y\",\"csi\":{\"driver\":\"d\",\"nodePublishSecretRef\":{\"name\":\"csi\"}}}]}"
        "}");
    static const struct {
        enum ref_kind kind;
        const char *name;
    } refs[] = {{REF_POD, "p"},           {REF_ACCOUNT, "sa"},        {REF_SECRET, "pull"},
                {REF_SECRET, "env"},      {REF_SECRET, "vol"},        {REF_SECRET, "csi"},
                {REF_CONFIG_MAP, "from"}, {REF_CONFIG_MAP, "proj"},   {REF_CLAIM, "claim"},
                {REF_CLAIM, "p-e"},       {REF_RESOURCE_CLAIM, "gpu"}};
    for (size_t i = 0; i < ARRAY_SIZE(refs); i++) {
        ck_assert_msg(has("a", refs[i].kind, "n", refs[i].name), "%s", refs[i].name);
        ck_assert_msg(!has("b", refs[i].kind, "n", refs[i].name), "%s", refs[i].name);
        ck_assert_msg(!has("a", refs[i].kind, "m", refs[i].name), "%s", refs[i].name);
    }
    ck_assert(!has("a", REF_CONFIG_MAP, "n", "vol"));
    ck_assert(!has("a", REF_SECRET, "n", "other"));
}
END_TEST

#define POD(name, node)                                                                            \
    "{\"metadata\":{\"namespace\":\"n\",\"name\":\"" name "\"},\"spec\":{\"nodeName\":\"" node     \
    "\",\"volumes\":[{\"name\":\"v\",\"secret\":{\"secretName\":\"s\"}}]}}"

/* A relation lasts as long as one pod gives it. */
START_TEST(pods_come_and_go)
{
    set_pod(POD("p", "a"));
    set_pod(POD("q", "a"));
    set_pod(POD("q", "a"));
    node_graph_remove(graph, REF_POD, STR("n"), STR("p"));
    ck_assert(has("a", REF_SECRET, "n", "s"));
    node_graph_remove(graph, REF_POD, STR("n"), STR("q"));
    ck_assert(!has("a", REF_SECRET, "n", "s"));
    set_pod(POD("p", "")); /* Not bound yet. */
    ck_assert(!has("", REF_SECRET, "n", "s"));
    set_pod(POD("p", "b"));
    ck_assert(has("b", REF_SECRET, "n", "s"));
}
END_TEST

static void note(struct str pod, void *arg)
{
    struct str *last = arg;
    *last = arena_str(arena, pod);
}

/* The pods of a node, whatever they name, follow their bindings. */
START_TEST(pods_of_a_node)
{
    struct str last = STR_NULL;
    node_graph_visit_pods(graph, STR("a"), note, &last);
    ck_assert(last.data == NULL);
    set_pod(POD("p", "a"));
    set_pod(POD("p", "a"));
    set_pod(POD("q", "a"));
    ck_assert_uint_eq(node_graph_pod_count(graph, STR("a")), 2);
    set_pod(POD("q", "b")); /* It was deleted meanwhile, and came again. */
    ck_assert_uint_eq(node_graph_pod_count(graph, STR("a")), 1);
    node_graph_visit_pods(graph, STR("b"), note, &last);
    ck_assert(str_eqc(last, "n/q"));
    node_graph_set_owned(graph, REF_SLICE, STR_NULL, STR("s"), STR("a"));
    node_graph_remove(graph, REF_POD, STR("n"), STR("p"));
    ck_assert_uint_eq(node_graph_pod_count(graph, STR("a")), 0);
}
END_TEST

/* What a node says it runs gives it no rights. */
START_TEST(mirror_pods)
{
    set_pod("{\"metadata\":{\"namespace\":\"n\",\"name\":\"p\",\"annotations\":"
            "{\"kubernetes.io/config.mirror\":\"x\"}},\"spec\":{\"nodeName\":\"a\","
            "\"volumes\":[{\"name\":\"v\",\"secret\":{\"secretName\":\"s\"}}]}}");
    ck_assert(has("a", REF_POD, "n", "p"));
    ck_assert(!has("a", REF_SECRET, "n", "s"));
}
END_TEST

/* A volume, and the secrets to mount it, belong to whom its claim belongs. */
START_TEST(volumes)
{
    const struct core_v1_persistent_volume *v =
        from_json(&core_v1_persistent_volume_msg,
                  "{\"metadata\":{\"name\":\"pv\"},\"spec\":{\"claimRef\":{\"namespace\":\"n\","
                  "\"name\":\"c\"},"
                  "\"csi\":{\"driver\":\"d\",\"volumeHandle\":\"h\",\"nodeStageSecretRef\":"
                  "{\"namespace\":\"sys\",\"name\":\"key\"}}}}");
    node_graph_set_volume(graph, v);
    ck_assert(!has("a", REF_VOLUME, "", "pv") && !has("a", REF_SECRET, "sys", "key"));
    set_pod("{\"metadata\":{\"namespace\":\"n\",\"name\":\"p\"},\"spec\":{\"nodeName\":\"a\","
            "\"volumes\":[{\"name\":\"v\",\"persistentVolumeClaim\":{\"claimName\":\"c\"}}]}}");
    ck_assert(has("a", REF_VOLUME, "", "pv") && has("a", REF_SECRET, "sys", "key"));
    ck_assert(!has("b", REF_VOLUME, "", "pv") && !has("b", REF_SECRET, "sys", "key"));
    node_graph_set_volume(graph, v);
    node_graph_remove(graph, REF_VOLUME, STR_NULL, STR("pv"));
    ck_assert(!has("a", REF_VOLUME, "", "pv") && !has("a", REF_SECRET, "sys", "key"));
}
END_TEST

/* Attachments and slices name their node themselves. */
START_TEST(owned)
{
    node_graph_set_owned(graph, REF_ATTACHMENT, STR_NULL, STR("va"), STR("a"));
    ck_assert(has("a", REF_ATTACHMENT, "", "va") && !has("b", REF_ATTACHMENT, "", "va"));
    node_graph_set_owned(graph, REF_ATTACHMENT, STR_NULL, STR("va"), STR("b"));
    ck_assert(!has("a", REF_ATTACHMENT, "", "va") && has("b", REF_ATTACHMENT, "", "va"));
    node_graph_set_owned(graph, REF_ATTACHMENT, STR_NULL, STR("va"), STR_NULL);
    ck_assert(!has("b", REF_ATTACHMENT, "", "va"));
}
END_TEST

/* Relations stay right while the set grows and shrinks. */
START_TEST(many)
{
    enum { MANY = 3000 };
    char name[16];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < MANY; i++) {
            snprintf(name, sizeof(name), "v%d", i);
            node_graph_set_owned(graph, REF_SLICE, STR_NULL, str_of(name), STR("a"));
        }
        for (int i = 0; i < MANY; i += 2) {
            snprintf(name, sizeof(name), "v%d", i);
            node_graph_remove(graph, REF_SLICE, STR_NULL, str_of(name));
        }
        for (int i = 0; i < MANY; i++) {
            snprintf(name, sizeof(name), "v%d", i);
            ck_assert_int_eq(has("a", REF_SLICE, "", name), i % 2);
        }
    }
    for (int i = 1; i < MANY; i += 2) {
        snprintf(name, sizeof(name), "v%d", i);
        node_graph_remove(graph, REF_SLICE, STR_NULL, str_of(name));
        ck_assert(!has("a", REF_SLICE, "", name));
    }
}
END_TEST

UNIT_MAIN("node_graph", {
    tcase_add_checked_fixture(tc, setup, teardown);
    UNIT_TEST(pod_references);
    UNIT_TEST(pods_come_and_go);
    UNIT_TEST(pods_of_a_node);
    UNIT_TEST(mirror_pods);
    UNIT_TEST(volumes);
    UNIT_TEST(owned);
    UNIT_TEST(many);
})
