/* fuzz_openapi_merge.c - any JSON as another server's OpenAPI v2: what it is
 * joined to is still JSON, and as protobuf it is written as well. */
#include "apiserver/openapi_merge.h"
#include "lib/api/json_write.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    static const char *const seeds[] = {
        "{\"swagger\":\"2.0\",\"paths\":{\"/a/b\":{\"get\":{\"responses\":{\"200\":{\"schema\":{"
        "\"$ref\":\"#/definitions/D\"}}}},\"parameters\":[{\"$ref\":\"#/parameters/P\"}]}},"
        "\"definitions\":{\"D\":{\"type\":\"integer\",\"items\":{\"$ref\":\"#/definitions/E\"}},"
        "\"E\":{\"x-kubernetes-group-version-kind\":[{\"kind\":\"E\"}]},\"D_v2\":{}},"
        "\"parameters\":{\"P\":{\"in\":\"body\"}}}",
        "{\"swagger\":\"2.0\",\"paths\":{\"/a/\":{}},\"definitions\":[]}",
    };
    if (i >= ARRAY_SIZE(seeds) || strlen(seeds[i]) > cap)
        return 0;
    memcpy(p, seeds[i], strlen(seeds[i]));
    return strlen(seeds[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF b = BUF_INIT;
    struct error err = {0};
    struct openapi_merge *m = openapi_merge_new();
    openapi_merge_own(m, OPENAPI_PATHS, STR("/a/taken"), STR("{}"));
    openapi_merge_own(m, OPENAPI_SCHEMAS, STR("D"), STR("{\"type\":\"string\"}"));
    openapi_merge_own(m, OPENAPI_PARAMETERS, STR("P"), STR("{\"in\":\"query\"}"));
    for (int twice = 0; twice < 2; twice++)
        (void)openapi_merge_add(m, str_n((const char *)data, size), STR("/a/"), &err);
    openapi_merge_write(m, false, &b);
    json_parse_own(a, buf_str(&b));
    buf_clear(&b);
    openapi_merge_write(m, true, &b);
    openapi_merge_free(m);
    return 0;
}
