/* test_cel_device.c - expressions over devices: what they see, what is wrong with them, and what
 * they are estimated to cost. Costs are those that Kubernetes 1.36 counts. */
#include "lib/api/cel/cel_device.h"

#include "api/resource_v1.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "test/unit/unit.h"

#define DRIVER "dra.example.com"
#define DEVICE                                                                                     \
    "{\"name\":\"d\",\"attributes\":{\"name\":{\"string\":\"fish\"},\"ready\":{\"bool\":true},"    \
    "\"cores\":{\"int\":8},\"other.example.com/driverVersion\":{\"version\":\"1.2.3\"}},"          \
    "\"capacity\":{\"memory\":{\"value\":\"40Gi\"}}}"

struct row {
    const char *text;
    const char *answer; /* "true", "false", or what the error holds. */
    uint64_t cost;      /* 0: not compared. */
};

static struct resource_v1_device *device(struct arena *a, const char *json)
{
    struct error err = {0};
    struct resource_v1_device *d = ARENA_NEW(a, struct resource_v1_device);
    int rc = api_json_decode(a, &resource_v1_device_msg, str_of(json), API_STRICT, NULL, d, &err);
    ck_assert_msg(rc == 0, "%s", error_message(&err));
    return d;
}

static void check(const char *json, const struct row *r)
{
    AUTO_ARENA *a = arena_new(0);
    struct cel_program *p;
    struct str why = STR_NULL;
    bool matches = false;
    if (cel_device_compile(a, str_of(r->text), &p, &why) != 0) {
        ck_assert_msg(str_find_str(why, str_of(r->answer)) >= 0, "%s: " STR_FMT, r->text,
                      STR_ARG(why));
        return;
    }
    bool ok = cel_device_matches(p, a, STR(DRIVER), device(a, json), &matches, &why);
    if (ok)
        ck_assert_msg(strcmp(r->answer, matches ? "true" : "false") == 0, "%s: %d", r->text,
                      matches);
    else
        ck_assert_msg(str_find_str(why, str_of(r->answer)) >= 0, "%s: " STR_FMT, r->text,
                      STR_ARG(why));
    if (r->cost != 0)
        ck_assert_msg(cel_device_cost(p) == r->cost, "%s: %llu", r->text,
                      (unsigned long long)cel_device_cost(p));
}

/* Attributes and capacity stand under their domains; an unknown domain is empty. */
START_TEST(test_values)
{
    static const struct row rows[] = {
        {"true", "true", 0},
        {"device.driver == \"" DRIVER "\"", "true", 4},
        {"device.driver == \"\"", "false", 2},
        {"device.attributes[\"" DRIVER "\"].ready", "true", 4},
        {"device.attributes[\"" DRIVER "\"][\"ready\"]", "true", 4},
        {"cel.bind(x, device.attributes[\"" DRIVER "\"], x.ready)", "true", 15},
        {"device.attributes[\"" DRIVER "\"].cores > 7", "true", 5},
        {"device.attributes[\"" DRIVER "\"].name == \"fish\"", "true", 5},
        {"device.attributes[\"other.example.com\"].driverVersion.isGreaterThan(semver(\"1.2.0\"))",
         "true", 0},
        {"device.capacity[\"" DRIVER "\"].memory.compareTo(quantity(\"40Gi\")) == 0", "true", 0},
        {"device.capacity[\"" DRIVER "\"].memory.isGreaterThan(quantity(\"41Gi\"))", "false", 0},
        {"\"no-such-domain\" in device.attributes", "false", 3},
        {"\"" DRIVER "\" in device.attributes", "true", 3},
        {"has(device.attributes[\"" DRIVER "\"].colour)", "false", 0},
        {"has(device.attributes[\"no-such-domain\"].colour)", "false", 0},
        {"device.allowMultipleAllocations", "false", 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        check(DEVICE, &rows[i]);
}
END_TEST

/* Wrong types, unknown ids and what does not compile are told apart. */
START_TEST(test_errors)
{
    static const struct row rows[] = {
        {"?!", "compilation failed: ERROR: <input>:1:1: Syntax error", 0},
        {"1", "must evaluate to bool or the unknown type, not int", 0},
        {"noSuchVar", "undeclared reference to 'noSuchVar'", 0},
        {"device.attributes[\"no-such-domain\"].noSuchAttr.isGreaterThan(quantity(\"0\"))",
         "no such key: noSuchAttr", 6},
        {"device.attributes[\"" DRIVER "\"].name", "CEL result of type string could not be", 4},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        check(DEVICE, &rows[i]);
    static const struct row list = {"true", "attribute ids: unsupported attribute value", 0};
    check("{\"name\":\"d\",\"attributes\":{\"ids\":{\"ints\":[1,2]}}}", &list);
    static const struct row version = {"true", "attribute v: parse semantic version", 0};
    check("{\"name\":\"d\",\"attributes\":{\"v\":{\"version\":\"v1\"}}}", &version);
}
END_TEST

/* What costs more than the limit at run time is an error; so does the estimate say. */
START_TEST(test_limit)
{
    AUTO_ARENA *a = arena_new(0);
    static const char text[] =
        "[1,2,3,4,5,6,7,8,9,10].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, [1,2,3,4,5,6,7,8,9,10].all(c, "
        "[1,2,3,4,5,6,7,8,9,10].all(d, [1,2,3,4,5,6,7,8,9,10].all(e, "
        "[1,2,3,4,5,6,7,8,9,10].all(f, a + b + c + d + e + f > 0))))))";
    struct cel_program *p;
    struct str why = STR_NULL;
    bool matches;
    ck_assert_int_eq(cel_device_compile(a, STR(text), &p, &why), 0);
    ck_assert(cel_device_cost(p) > CEL_DEVICE_COST_MAX);
    ck_assert(!cel_device_matches(p, a, STR(DRIVER), device(a, DEVICE), &matches, &why));
    ck_assert(str_eqc(why, "operation cancelled: actual cost limit exceeded"));
}
END_TEST

UNIT_MAIN("cel_device", {
    UNIT_TEST(test_values);
    UNIT_TEST(test_errors);
    UNIT_TEST(test_limit);
})
