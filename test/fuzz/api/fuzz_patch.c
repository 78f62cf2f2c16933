/* fuzz_patch.c - a document and a patch, parted by a NUL byte, for all three
 * kinds of patches. The document must come out unchanged. */
#include "test/fuzz/api/seeds.h"

#include "api/core_v1.h"
#include "lib/api/json.h"
#include "lib/api/patch.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

static const struct fuzz_text seeds[] = {
    FUZZ_TEXT("{\"a\":[1,2],\"b\":{\"c\":3}}\0[{\"op\":\"add\",\"path\":\"/a/"
              "-\",\"value\":{}},{\"op\":\"move\",\"from\":"
              "\"/b/c\",\"path\":\"/a/0\"},{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/b/"
              "d\"},{\"op\":\"test\",\"path\":"
              "\"\",\"value\":{}},{\"op\":\"remove\",\"path\":\"/a/"
              "-1\"},{\"op\":\"replace\",\"path\":\"/x~1y~0\"}]"),
    FUZZ_TEXT("{\"spec\":{\"containers\":[{\"name\":\"a\",\"env\":[{\"name\":\"A\"}]},{\"name\":"
              "\"b\"}],\"volumes\":[]}}\0"
              "{\"spec\":{\"$setElementOrder/"
              "containers\":[{\"name\":\"b\"},{\"name\":\"a\"}],\"containers\":[{\"name\":"
              "\"a\",\"env\":[{\"name\":\"A\",\"$patch\":\"delete\"}]},{\"$patch\":\"replace\"}],"
              "\"volumes\":[{\"name\":"
              "\"v\",\"$retainKeys\":[\"name\"]}]}}"),
    FUZZ_TEXT(
        "{\"metadata\":{\"finalizers\":[\"a\",\"b\"],\"labels\":{\"x\":\"y\"}}}\0{\"metadata\":{"
        "\"$deleteFromPrimitiveList/"
        "finalizers\":[\"a\"],\"labels\":{\"$patch\":\"replace\",\"z\":null}}}"),
    FUZZ_TEXT("{\"a\":{\"b\":1}}\0{\"a\":{\"b\":null,\"c\":{\"d\":null}}}"),
};
FUZZ_SEEDS(seeds)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum api_patch_type types[] = {API_PATCH_JSON, API_PATCH_MERGE,
                                                API_PATCH_STRATEGIC};
    AUTO_ARENA *a = arena_new(0);
    struct str doc_text, patch;
    struct json *doc;
    if (!str_cut(str_n((const char *)data, size), '\0', &doc_text, &patch) ||
        json_parse(a, doc_text, &doc, NULL) != 0 || doc->type != JSON_OBJECT)
        return 0;
    AUTO_BUF before = BUF_INIT, after = BUF_INIT, result = BUF_INIT;
    json_write(doc, false, &before);
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        struct json *patched;
        struct error err = {0};
        int r = api_patch_apply(a, types[i], &core_v1_pod_msg, doc, patch, &patched, &err);
        ASSERT(r == err.code);
        if (r == 0)
            json_write(patched, false, &result);
        else
            ASSERT(err.message[0] != '\0');
    }
    json_write(doc, false, &after);
    ASSERT(str_eq(buf_str(&before), buf_str(&after)));
    return 0;
}
