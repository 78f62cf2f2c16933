/* fuzz_openapi.c - any JSON as the schema of a custom kind: the documents are
 * still JSON, in both versions and both forms. */
#include "apiserver/openapi.h"
#include "lib/api/json.h"
#include "lib/api/json_write.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    static const char *const seeds[] = {
        "{}",
        ("{\"type\":\"object\",\"required\":[\"spec\"],\"properties\":{\"spec\":{\"type\":"
         "\"object\",\"nullable\":true,"
         "\"properties\":{\"n\":{\"type\":\"integer\",\"minimum\":1.5,\"default\":3,\"maxLength\":"
         "9,\"enum\":[1,2]},"
         "\"p\":{\"x-kubernetes-int-or-string\":true,\"anyOf\":[{\"type\":\"integer\"},{\"type\":"
         "\"string\"}]}}}}}"),
        ("{\"x-kubernetes-preserve-unknown-fields\":true,\"properties\":{\"a\":{\"items\":{"
         "\"x-kubernetes-embedded-resource\":true},\"additionalProperties\":{\"$ref\":\"x\"}}}}"),
    };
    if (i >= ARRAY_SIZE(seeds) || strlen(seeds[i]) > cap)
        return 0;
    memcpy(p, seeds[i], strlen(seeds[i]));
    return strlen(seeds[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct api_kind kind = {.group = "example.com",
                                         .version = "v1",
                                         .kind = "Widget",
                                         .list_kind = "WidgetList",
                                         .resource = "widgets",
                                         .singular = "widget",
                                         .verbs = "get,list",
                                         .api_version = "example.com/v1"};
    AUTO_ARENA *a = arena_new(0);
    struct error err = {0};
    struct json *schema;
    if (json_parse(a, str_n((const char *)data, size), &schema, &err) != 0)
        return 0;
    struct openapi_resource resource = {.kind = &kind, .schema = schema};
    struct openapi_group_version gv = {"example.com", "v1", &resource, 1};
    struct openapi_sources s = {&gv, 1};
    AUTO_BUF b = BUF_INIT;
    for (int protobuf = 0; protobuf < 2; protobuf++) {
        buf_clear(&b);
        openapi_v2_document(&s, protobuf != 0, &b);
        if (protobuf == 0)
            json_parse_own(a, buf_str(&b));
        buf_clear(&b);
        ASSERT(openapi_v3_document(&s, STR("apis/example.com/v1"), protobuf != 0, &b));
        if (protobuf == 0)
            json_parse_own(a, buf_str(&b));
    }
    return 0;
}
