/* test_review.c - questions to conversion webhooks and what their answers may be. */
#include "apiserver/custom/review.h"

#include "api/meta_v1.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "test/unit/unit.h"

#define META "\"metadata\":{\"name\":\"a\",\"namespace\":\"n\",\"uid\":\"u\"}"
#define GOOD "{\"apiVersion\":\"g.io/v2\",\"kind\":\"Foo\"," META ",\"spec\":{\"x\":1}}"
#define ANSWER(objects)                                                                            \
    "{\"apiVersion\":\"apiextensions.k8s.io/v1\",\"kind\":\"ConversionReview\",\"response\":{"     \
    "\"uid\":\"q\",\"result\":{\"status\":\"Success\"},\"convertedObjects\":[" objects "]}}"
#define PREFIX "conversion webhook for g.io/v1, Kind=Foo "

static struct review question(const char *version)
{
    return (struct review){.version = str_of(version),
                           .uid = STR("q"),
                           .from = STR("g.io/v1, Kind=Foo"),
                           .kind = STR("Foo"),
                           .desired = STR("g.io/v2")};
}

/* wanted: the whole message; NULL when the answer is good. */
static void judge(const char *version, const char *answer, size_t count, const char *wanted)
{
    AUTO_ARENA *a = arena_new(0);
    const struct review r = question(version);
    const struct api_str_entry labels[] = {{STR("l"), STR("v")}};
    const struct meta_v1_object_meta m = {.name = STR("a"),
                                          .namespace = STR("n"),
                                          .uid = STR("u"),
                                          .labels = (struct api_str_entry *)(uintptr_t)labels,
                                          .labels_count = 1};
    struct review_item items[2] = {{.metadata = &m}, {.metadata = &m}};
    struct str why = STR("");
    enum review_fault fault;
    bool good = review_read(a, &r, str_of(answer), items, count, &why, &fault);
    ck_assert_str_eq(str_c(arena_str(a, why)), wanted != NULL ? wanted : "");
    ck_assert_int_eq(good, wanted == NULL);
}

/* The first version that is known is spoken; the form is upstream's. */
START_TEST(asks)
{
    AUTO_BUF b = BUF_INIT;
    const struct str versions[] = {STR("v7"), STR("v1beta1"), STR("v1")};
    const struct review_item items[] = {{.sent = STR("{\"a\":1}")}, {.sent = STR("{}")}};
    const struct review r = question("v1");
    ck_assert(str_eqc(review_version(versions, 3), "v1beta1"));
    ck_assert(review_version(versions, 1).len == 0);
    review_write(&r, items, 2, &b);
    buf_putc(&b, '\0');
    ck_assert_str_eq((const char *)b.data,
                     "{\"kind\":\"ConversionReview\",\"apiVersion\":\"apiextensions.k8s.io/v1\","
                     "\"request\":{\"uid\":\"q\",\"desiredAPIVersion\":\"g.io/v2\",\"objects\":["
                     "{\"a\":1},{}]},\"response\":{\"uid\":\"\",\"convertedObjects\":null,"
                     "\"result\":{\"metadata\":{}}}}");
}
END_TEST

/* An answer that is none is told apart from one that is too short. */
START_TEST(whole)
{
    judge("v1", ANSWER(GOOD), 1, NULL);
    judge("v1", ANSWER(GOOD "," GOOD), 2, NULL);
    judge("v1", "{}", 1,
          PREFIX "failed: expected webhook response of apiextensions.k8s.io/v1, "
                 "Kind=ConversionReview, got /, Kind=");
    judge("v1beta1", "{}", 1, PREFIX "failed: no response provided");
    judge("v1", "[", 1,
          PREFIX "failed: couldn't get version/kind; json parse error: unexpected end of JSON "
                 "input");
    judge("v1beta1", "{\"response\":{\"result\":{\"status\":\"Failed\",\"message\":\"no\"}}}", 1,
          PREFIX "failed: no");
    judge("v1beta1", "{\"response\":{}}", 1,
          PREFIX "failed: response.result.status was '', not 'Success'");
    judge("v1", ANSWER(""), 1, PREFIX "returned 0 objects, expected 1");
    judge("v1", ANSWER(GOOD), 2, PREFIX "returned 1 objects, expected 2");
}
END_TEST

/* One object and one of several are worded differently, as upstream does. */
START_TEST(objects)
{
    judge("v1", ANSWER("{}"), 1, "Object 'Kind' is missing in '{}'");
    judge("v1", ANSWER(GOOD ",7"), 2,
          PREFIX "returned invalid converted object at index 1: Object 'Kind' is missing in '7'");
    judge("v1", ANSWER("{\"apiVersion\":\"g.io/v3\",\"kind\":\"Foo\"}"), 1,
          PREFIX "returned invalid object at index 0: invalid groupVersion (expected g.io/v2, "
                 "received g.io/v3)");
    judge("v1", ANSWER(GOOD ",{\"apiVersion\":\"g.io/v2\",\"kind\":\"Bar\"}"), 2,
          PREFIX "returned invalid converted object at index 1: invalid kind (expected Foo, "
                 "received Bar)");
    judge("v1",
          ANSWER("{\"apiVersion\":\"g.io/v2\",\"kind\":\"Foo\",\"metadata\":{\"name\":\"b\"}}"), 1,
          PREFIX "returned invalid object: must have the same name: a != b");
    judge("v1",
          ANSWER("{\"apiVersion\":\"g.io/v2\",\"kind\":\"Foo\",\"metadata\":{\"name\":\"a\","
                 "\"namespace\":\"n\",\"uid\":\"w\"}}"),
          1, PREFIX "returned invalid object: must have the same UID: u != w");
}
END_TEST

/* Labels and annotations may change to what clients may write. */
START_TEST(metadata)
{
#define WITH(members)                                                                              \
    ANSWER("{\"apiVersion\":\"g.io/v2\",\"kind\":\"Foo\",\"metadata\":{\"name\":\"a\","            \
           "\"namespace\":\"n\",\"uid\":\"u\"," members "}}")
    judge("v1", WITH("\"labels\":{\"l\":\"v\",\"m\":\"\"},\"annotations\":{\"A\":\"b c\"}"), 1,
          NULL);
    judge("v1", WITH("\"labels\":null"), 1, NULL);
    judge("v1", WITH("\"labels\":[]"), 1,
          PREFIX "returned invalid metadata: invalid metadata.labels of type []interface {} in "
                 "converted object");
    judge("v1", WITH("\"annotations\":{\"x\":true}"), 1,
          PREFIX "returned invalid metadata: metadata.annotations[x] must be a string, but is bool "
                 "in converted object");
    judge("v1", WITH("\"labels\":{\"l\":\"a b\"}"), 1,
          PREFIX
          "returned invalid metadata: metadata.labels: Invalid value: \"a b\": a valid label must "
          "be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
          "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or "
          "'12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')");
}
END_TEST

UNIT_MAIN("review", {
    UNIT_TEST(asks);
    UNIT_TEST(whole);
    UNIT_TEST(objects);
    UNIT_TEST(metadata);
})
