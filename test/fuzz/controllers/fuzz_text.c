/* fuzz_text.c - texts that users and servers give to controllers. */
#include "controllers/discovery.h"
#include "controllers/hpa_metrics.h"
#include "controllers/job_indexes.h"
#include "lib/base/arena.h"
#include "lib/base/base.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_n((const char *)data, size);
    AUTO_ARENA *a = arena_new(0);
    struct job_indexes set = job_indexes_parse(a, text, 1000);
    ASSERT(job_indexes_total(set) <= 1000);
    struct str canonical = job_indexes_format(a, set);
    struct job_indexes again = job_indexes_parse(a, canonical, 1000);
    ASSERT(job_indexes_total(again) == job_indexes_total(set));
    ASSERT(job_indexes_common(again, set) == job_indexes_total(set));
    struct discovery *d = xzalloc(sizeof(*d));
    d->arena = arena_new(0);
    (void)discovery_parse(d, text, NULL);
    discovery_free(d);
    struct hpa_metrics metrics;
    int64_t milli;
    if (hpa_metrics_resource(a, text, STR("cpu"), STR_NULL, &metrics, NULL) == 0)
        ASSERT(metrics.count <= text.len);
    (void)hpa_metrics_pods(a, text, &metrics, NULL);
    (void)hpa_metrics_object(a, text, &milli, NULL);
    (void)hpa_metrics_external(a, text, &milli, NULL);
    return 0;
}

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    static const struct str seeds[] = {
        {"0,2-5,9", sizeof("0,2-5,9") - 1},
        {"{\"kind\":\"APIGroupDiscoveryList\",\"items\":[{\"metadata\":{\"name\":\"x\"},"
         "\"versions\":[{\"version\":\"v1\",\"resources\":[{\"resource\":\"t\",\"responseKind\":{"
         "\"kind\":\"T\"},\"verbs\":[\"list\"]}]}]}]}",
         sizeof("{\"kind\":\"APIGroupDiscoveryList\",\"items\":[{\"metadata\":{\"name\":\"x\"},"
                "\"versions\":[{\"version\":\"v1\",\"resources\":[{\"resource\":\"t\","
                "\"responseKind\":{\"kind\":\"T\"},\"verbs\":[\"list\"]}]}]}]}") -
             1},
        {"{\"items\":[{\"metadata\":{\"name\":\"a\"},\"timestamp\":\"2026-01-01T00:00:00Z\","
         "\"window\":\"30s\","
         "\"value\":\"1500m\",\"containers\":[{\"usage\":{\"cpu\":\"1\"}}]}]}",
         sizeof("{\"items\":[{\"metadata\":{\"name\":\"a\"},\"timestamp\":\"2026-01-01T00:00:00Z\","
                "\"window\":\"30s\","
                "\"value\":\"1500m\",\"containers\":[{\"usage\":{\"cpu\":\"1\"}}]}]}") -
             1},
    };
    if (i >= ARRAY_SIZE(seeds) || seeds[i].len > cap)
        return 0;
    memcpy(p, seeds[i].data, seeds[i].len);
    return seeds[i].len;
}
