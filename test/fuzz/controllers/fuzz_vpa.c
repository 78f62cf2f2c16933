/* fuzz_vpa.c - what a vertical autoscaler reads: autoscalers, checkpoints, answers of the metrics
 * API. */
#include "api/core_v1.h"
#include "api/resource.h"
#include "controllers/vpa_memory.h"
#include "controllers/vpa_status.h"
#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"

#include <string.h>

#define NOW 1800000000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);

static void forget(struct str container, void *arg)
{
    UNUSED(arg);
    ASSERT(container.len != 0);
}

/* Saved and loaded once more, as much is known. */
static void check_checkpoints(struct arena *a, const struct vpa_memory *m)
{
    struct str container;
    void *value;
    size_t pos = 0;
    struct vpa_memory *again = vpa_memory_new();
    while (map_next(&m->series, &pos, &container, &value)) {
        struct json *j = json_object(a), *spec = json_object(a), *meta = json_object(a);
        json_setc(a, spec, "containerName", json_string(a, container));
        json_setc(a, meta, "annotations", vpa_checkpoint_annotations(a, m, container));
        json_setc(a, j, "metadata", meta);
        json_setc(a, j, "spec", spec);
        json_setc(a, j, "status", vpa_checkpoint_status(a, m, container, NOW));
        (void)vpa_checkpoint_load(again, j);
    }
    ASSERT(again->series.count <= m->series.count);
    vpa_memory_free(again);
}

static void apply(struct arena *a, struct core_v1_pod *p, const struct vpa_object *v)
{
    struct vpa_ranges ranges = {.container = {.given = true}, .pod = {.given = true}};
    for (enum vpa_resource r = 0; r < VPA_RESOURCES && v->policy_count != 0; r++) {
        ranges.container.max = ranges.pod.min = v->policies[0].max;
        ranges.container.usual = v->policies[0].min;
    }
    (void)vpa_for_pod(a, v, p, &ranges);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_n((const char *)data, size);
    AUTO_ARENA *a = arena_new(0);
    struct json *j;
    struct vpa_object v;
    size_t n;
    struct api_quantity_entry amounts[] = {{STR("cpu"), {STR("100m")}},
                                           {STR("memory"), {STR("9223372036854775807")}}};
    struct core_v1_container containers[] = {
        {.name = STR("c"), .resources = {.limits = amounts, .limits_count = 2}},
        {.name = STR("d"),
         .resources = {
             .requests = amounts, .requests_count = 1, .limits = amounts, .limits_count = 2}}};
    struct core_v1_pod pod = {.metadata = {.name = STR("a"), .uid = STR("u")},
                              .spec = {.containers = containers, .containers_count = 2}};
    struct api_object object = {.kind = api_kind_by_gvk(STR(""), STR("v1"), STR("Pod")),
                                .msg = &pod};
    struct api_object *pods[] = {&object};
    if (json_parse(a, text, &j, NULL) != 0)
        return 0;
    struct vpa_memory *m = vpa_memory_new();
    vpa_read(a, j, &v);
    (void)vpa_checkpoint_load(m, j);
    vpa_memory_kills(m, &v, pods, 1);
    (void)vpa_memory_feed(m, &v, pods, 1, text, NULL);
    vpa_memory_expire(m, &v, NOW, forget, NULL);
    v.recommended = vpa_recommend(a, m, &v, &n);
    v.recommended_count = n;
    (void)vpa_recommendation_json(a, v.recommended, n);
    apply(a, &pod, &v);
    check_checkpoints(a, m);
    vpa_memory_free(m);
    return 0;
}

#define SEED(text)                                                                                 \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    static const struct str seeds[] = {
        SEED("{\"metadata\":{\"annotations\":{\"trireme.io/memory-peaks\":\"{\\\"u\\\":[1800000000,"
             "1799999000,700000000,0,0]}\"}},\"spec\":{\"containerName\":\"c\"},\"status\":{"
             "\"version\":\"v3\",\"totalSamplesCount\":2,\"firstSampleStart\":"
             "\"2026-11-15T00:00:00Z\",\"lastSampleStart\":\"2026-11-15T00:01:00Z\","
             "\"cpuHistogram\":{\"bucketWeights\":{\"15\":10000,\"3\":1},\"totalWeight\":0.2},"
             "\"memoryHistogram\":{\"referenceTimestamp\":\"2026-11-16T00:00:00Z\","
             "\"bucketWeights\":{\"30\":10000},\"totalWeight\":1}}}"),
        SEED("{\"items\":[{\"metadata\":{\"name\":\"a\"},\"timestamp\":\"2026-11-15T00:00:00Z\","
             "\"containers\":[{\"name\":\"c\",\"usage\":{\"cpu\":\"250m\",\"memory\":\"7e8\"}},{"
             "\"name\":\"d\",\"usage\":{\"cpu\":\"1n\",\"memory\":\"1Ei\"}}]}],\"spec\":{"
             "\"resourcePolicy\":{\"containerPolicies\":[{\"containerName\":\"*\",\"maxAllowed\":{"
             "\"cpu\":\"1\",\"memory\":\"8Ei\"},\"minAllowed\":{\"cpu\":1},\"oomBumpUpRatio\":"
             "\"1.5\",\"memoryAggregationIntervalSeconds\":60,\"memoryAggregationIntervalCount\":"
             "8}]}}}"),
        SEED(
            "{\"spec\":{\"targetRef\":{\"kind\":\"Deployment\",\"name\":\"web\"},\"updatePolicy\":{"
            "\"updateMode\":\"InPlace\",\"evictionRequirements\":[{\"resources\":[\"cpu\"],"
            "\"changeRequirement\":\"TargetHigherThanRequests\"}]}},\"status\":{"
            "\"recommendation\":{\"containerRecommendations\":[{\"containerName\":\"c\",\"target\":"
            "{\"cpu\":\"25m\",\"memory\":\"262144k\"},\"lowerBound\":{\"cpu\":0}}]}}}"),
    };
    if (i >= ARRAY_SIZE(seeds) || seeds[i].len > cap)
        return 0;
    memcpy(p, seeds[i].data, seeds[i].len);
    return seeds[i].len;
}
