/* fuzz_json.c - JSON texts: trees are written to a fixed point, and objects
 * decoded by type encode to what decodes to the same. The first byte picks the kind. */
#include "test/fuzz/api/seeds.h"

#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

static const struct fuzz_text seeds[] = {
    FUZZ_TEXT(
        "{\"metadata\":{\"name\":\"n\",\"labels\":{\"a\":\"b\"},\"creationTimestamp\":\"2024-01-"
        "01T00:00:00Z\"},"
        "\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{\"limits\":{\"cpu\":\"1.5\"}},"
        "\"ports\":[{\"containerPort\":80}]}],\"volumes\":[{\"name\":\"v\",\"emptyDir\":{}}]},"
        "\"data\":{\"k\":\"v\"}}"),
    FUZZ_TEXT("{\"spec\":{\"template\":{\"spec\":{\"containers\":null}},\"replicas\":3,"
              "\"strategy\":{\"rollingUpdate\":"
              "{\"maxSurge\":\"25%\"}}},\"status\":{\"conditions\":[{\"type\":\"x\","
              "\"lastUpdateTime\":null}]}}"),
    FUZZ_TEXT("[1,-2.5e10,\"\\u00e9\\ud83d\\ude00\\n\",{\"a\":[true,false,null]},\"\\u0000\"]"),
    FUZZ_TEXT("{\"data\":{\"a\":\"AQID\"},\"binaryData\":{\"a\":\"\"},\"items\":[{\"kind\":\"x\"},"
              "null],\"bogus\":{}}"),
    FUZZ_TEXT("{\"spec\":{\"versions\":[{\"schema\":{\"openAPIV3Schema\":{\"properties\":{\"a\":{"
              "\"items\":[{},{}],"
              "\"additionalProperties\":true,\"default\":[1],\"enum\":[\"x\"]}}}}}]}}"),
};

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    size_t n = sizeof(seeds) / sizeof(seeds[0]);
    const struct fuzz_text *t = &seeds[i % n];
    if (i >= n * 100 || cap < t->len + 1)
        return 0;
    p[0] = (uint8_t)(i / n * 3);
    memcpy(p + 1, t->text, t->len);
    return t->len + 1;
}

static void check_tree(struct arena *a, struct str text)
{
    struct json *tree, *again;
    AUTO_BUF first = BUF_INIT, second = BUF_INIT;
    if (json_parse(a, text, &tree, NULL) != 0)
        return;
    json_write(tree, false, &first);
    ASSERT(json_parse(a, buf_str(&first), &again, NULL) == 0);
    json_write(again, false, &second);
    /* -0.0 is written -0, as Go does, and that is a whole number when it is read. */
    ASSERT(str_eq(buf_str(&first), buf_str(&second)) ||
           str_find_str(buf_str(&first), STR("-0")) >= 0);
    ASSERT(json_equal(tree, json_clone(a, tree)));
    json_write_indent(tree, true, 2, &first);
    json_write_go(tree, &first);
}

static void check_typed(struct arena *a, const struct api_msg *m, struct str text)
{
    struct error err = {0};
    struct api_warnings warnings = {0};
    void *msg = api_msg_new(a, m), *again = api_msg_new(a, m);
    AUTO_BUF first = BUF_INIT, second = BUF_INIT, wire = BUF_INIT, direct = BUF_INIT;
    int r = api_json_decode(a, m, text, API_WARN, &warnings, msg, &err);
    if (r != 0) {
        ASSERT(err.code == r && err.message[0] != '\0');
        return;
    }
    api_json_encode(m, msg, STR_NULL, STR_NULL, &first);
    ASSERT(api_json_decode(a, m, buf_str(&first), API_STRICT, NULL, again, &err) == 0);
    api_json_encode(m, again, STR_NULL, STR_NULL, &second);
    ASSERT(str_eq(buf_str(&first), buf_str(&second)) ||
           str_find_str(buf_str(&first), STR("-0")) >= 0);
    api_pb_encode(m, msg, &wire);
    ASSERT(api_json_from_pb(m, buf_str(&wire), STR_NULL, STR_NULL, &direct, NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t kinds;
    const struct api_kind *const *all = api_kinds(&kinds);
    if (size == 0)
        return 0;
    AUTO_ARENA *a = arena_new(0);
    struct str text = str_n((const char *)data + 1, size - 1);
    check_tree(a, text);
    check_typed(a, all[data[0] % kinds]->msg, text);
    return 0;
}
