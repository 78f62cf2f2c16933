/* fuzz_custom.c - schemas of definitions from outside, and documents held against
 * them: the text up to the first newline is the schema, the rest the document. */
#include "test/fuzz/api/seeds.h"

#include "api/apiextensions_v1.h"
#include "apiserver/custom/rules.h"
#include "apiserver/custom/validate.h"
#include "apiserver/field_error.h"
#include "apiserver/kinds/crd.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/structural.h"
#include "lib/base/arena.h"

static const struct fuzz_text seeds[] = {
    FUZZ_TEXT("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"default\":\"x\","
              "\"pattern\":\"^a+$\",\"format\":\"date-time\"},\"l\":{\"type\":\"array\","
              "\"x-kubernetes-list-type\":\"map\",\"x-kubernetes-list-map-keys\":[\"k\"],"
              "\"items\":{\"type\":\"object\",\"required\":[\"k\"],\"properties\":{\"k\":{"
              "\"type\":\"string\"}}}}}}\n{\"a\":\"b\",\"z\":1,\"l\":[{\"k\":\"1\"},{}]}"),
    FUZZ_TEXT("{\"type\":\"object\",\"anyOf\":[{\"required\":[\"q\"]}],\"not\":{\"required\":"
              "[\"r\"]},\"additionalProperties\":{\"x-kubernetes-int-or-string\":true},"
              "\"x-kubernetes-validations\":[{\"rule\":\"self.size() > 1\"}]}\n{\"q\":1.5,\"r\":"
              "null}"),
};
FUZZ_SEEDS(seeds)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_ARENA *a = arena_new(0);
    struct str head, rest;
    struct json *j, *given;
    const struct structural *s;
    (void)str_cut(str_n((const char *)data, size), '\n', &head, &rest);
    struct apiextensions_v1_json_schema_props *p =
        api_msg_new(a, &apiextensions_v1_json_schema_props_msg);
    if (api_json_decode(a, &apiextensions_v1_json_schema_props_msg, head, API_LENIENT, NULL, p,
                        NULL) != 0 ||
        json_parse(a, head, &given, NULL) != 0)
        return 0;
    struct field_errors errs = {.arena = a};
    struct apiextensions_v1_custom_resource_validation v = {.open_apiv3_schema = p};
    crd_check_schema(&errs, PATH(PATH_ROOT, "schema"), &v, true, false);
    if (structural_build(a, p, &s, NULL) != 0 || json_parse(a, rest, &j, NULL) != 0)
        return 0;
    struct api_warnings w = {0};
    structural_prune(a, s, j, true, &w);
    structural_default(a, s, j);
    errs = (struct field_errors){.arena = a};
    custom_validate(&errs, s, j, NULL);
    custom_validate_lists(&errs, s, j);
    custom_validate_embedded(&errs, s, j);
    custom_rules_prepare(a, s, given);
    custom_rules_check(&errs, PATH_ROOT, s, j, j);
    return 0;
}
