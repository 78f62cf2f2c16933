/* fuzz_review.c - answers of conversion webhooks. */
#include "test/fuzz/api/seeds.h"

#include "api/meta_v1.h"
#include "apiserver/custom/review.h"
#include "lib/base/arena.h"

static const struct fuzz_text seeds[] = {
    FUZZ_TEXT("{\"apiVersion\":\"apiextensions.k8s.io/v1\",\"kind\":\"ConversionReview\","
              "\"response\":{\"uid\":\"q\",\"result\":{\"status\":\"Success\"},"
              "\"convertedObjects\":[{\"apiVersion\":\"g.io/v2\",\"kind\":\"Foo\",\"metadata\":{"
              "\"name\":\"a\",\"labels\":{\"x\":\"y\"},\"annotations\":{}},\"spec\":{}}]}}"),
    FUZZ_TEXT("{\"response\":{\"result\":{\"status\":\"Failed\",\"message\":\"no\"}}}"),
};
FUZZ_SEEDS(seeds)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct str versions[] = {{"v1", 2}, {"v1beta1", 7}};
    AUTO_ARENA *a = arena_new(0);
    const struct meta_v1_object_meta m = {.name = STR("a")};
    for (size_t i = 0; i < ARRAY_SIZE(versions); i++)
        for (size_t count = 1; count <= 2; count++) {
            struct review r = {versions[i], STR("q"), STR("g.io/v1, Kind=Foo"), STR("Foo"),
                               STR("g.io/v2")};
            struct review_item items[] = {{.metadata = &m}, {.metadata = &m}};
            struct str why = STR_NULL;
            enum review_fault fault;
            bool good =
                review_read(a, &r, str_n((const char *)data, size), items, count, &why, &fault);
            ASSERT(good || why.len != 0);
        }
    return 0;
}
