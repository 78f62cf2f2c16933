/* fuzz_aggregation.c - what an aggregated API server says of itself: its list of
 * resources as aggregated discovery tells of it. */
#include "test/fuzz/api/seeds.h"

#include "apiserver/aggregation/probe.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

static const struct fuzz_text seeds[] = {
    FUZZ_TEXT("{\"resources\":[{\"name\":\"pods\",\"namespaced\":true,\"kind\":\"P\",\"verbs\":"
              "[\"get\"]},{\"name\":\"pods/x\",\"kind\":\"X\",\"verbs\":[]}]}"),
    FUZZ_TEXT("{\"resources\":[{\"name\":7,\"shortNames\":[],\"categories\":{}},null,[]]}"),
};
FUZZ_SEEDS(seeds)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF b = BUF_INIT;
    struct json *j;
    if (json_parse(a, arena_str(a, str_n((const char *)data, size)), &j, NULL) == 0)
        json_write(probe_convert_resources(a, j), false, &b);
    return 0;
}
