/* test_policy_check.c - which kinds of a policy are type checked, and what is told. */
#include "test/unit/controllers/objects.h"

#include "api/admissionregistration_v1.h"
#include "controllers/policy_check.h"
#include "lib/api/json.h"

static const char resources[] =
    "{\"kind\":\"APIResourceList\",\"resources\":[{\"name\":\"trees\",\"kind\":\"Tree\"},{\"name\":"
    "\"trees/status\",\"kind\":\"Tree\"},{\"name\":\"leaves\",\"kind\":\"Leaf\"},{\"name\":"
    "\"ghosts\",\"kind\":\"Ghost\"}]}";
/* A Tree holds trees; a Leaf has a size that is a number or a text. */
static const char definitions[] =
    "{\"x.Tree\":{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"child\":{"
    "\"allOf\":[{\"$ref\":\"#/components/schemas/x.Tree\"}]},\"parts\":{\"type\":\"array\","
    "\"items\":{\"$ref\":\"#/components/schemas/x.Part\"}}},\"x-kubernetes-group-version-kind\":[{"
    "\"group\":\"x\",\"version\":\"v1\",\"kind\":\"Tree\"}]},"
    "\"x.Part\":{\"type\":\"object\",\"properties\":{\"count\":{\"type\":\"integer\"}}},"
    "\"x.Leaf\":{\"type\":\"object\",\"properties\":{\"size\":{\"format\":\"int-or-string\","
    "\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}]}},"
    "\"x-kubernetes-group-version-kind\":[{\"group\":\"x\",\"version\":\"v1\",\"kind\":\"Leaf\"}]}"
    "}";

static const struct json *parsed(struct arena *a, const char *text)
{
    struct json *j;
    ck_assert_int_eq(json_parse(a, str_of(text), &j, NULL), 0);
    return j;
}

static struct policy_check begun(struct arena *a, const char *spec)
{
    struct policy_check c = {.arena = a};
    c.spec = decoded(a, &admissionregistration_v1_validating_admission_policy_spec_msg, spec);
    policy_check_begin(&c);
    for (size_t i = 0; i < c.version_count; i++)
        c.versions[i].resources = parsed(a, resources);
    policy_check_find_kinds(&c);
    for (size_t i = 0; i < c.version_count; i++)
        c.versions[i].definitions = parsed(a, definitions);
    return c;
}

#define RULE(groups, versions, names)                                                              \
    "{\"apiGroups\":[" groups "],\"apiVersions\":[" versions "],\"resources\":[" names             \
    "],\"operations\":[\"CREATE\"]}"

/* Subresources, patterns and what is not served are left out; the rest stands in order. */
START_TEST(kinds_in_order)
{
    AUTO_ARENA *a = arena_new(0);
    struct policy_check c = begun(
        a,
        "{\"matchConstraints\":{\"resourceRules\":[" RULE(
            "\"x\"", "\"v1\"",
            "\"trees\",\"trees/status\",\"leaves\",\"le*\",\"none\"") "," RULE("\"*\"", "\"v1\"",
                                                                               "\"trees\"") "]}}");
    ck_assert_uint_eq(c.version_count, 1);
    ck_assert_str_eq(policy_version_path(a, &c.versions[0]).data, "/apis/x/v1");
    ck_assert_uint_eq(c.kind_count, 2);
    ck_assert(str_eqc(c.kinds[0].kind, "Leaf"));
    ck_assert(str_eqc(c.kinds[1].kind, "Tree"));
}
END_TEST

/* A rule counts ten kinds, and nothing after them is looked at. */
START_TEST(no_more_than_ten)
{
    AUTO_ARENA *a = arena_new(0);
    struct policy_check c = begun(
        a, "{\"matchConstraints\":{\"resourceRules\":[" RULE(
               "\"a\",\"b\",\"c\",\"d\"", "\"v1\"",
               "\"trees\",\"leaves\",\"ghosts\"") "," RULE("\"z\"", "\"v1\"", "\"trees\"") "]}}");
    ck_assert_uint_eq(c.kind_count, POLICY_KINDS_MAX);
    ck_assert(str_eqc(c.kinds[9].in->group, "d"));
}
END_TEST

/* One warning for an expression, which tells of every kind; a kind without schema is left out. */
START_TEST(warnings_of_each_kind)
{
    AUTO_ARENA *a = arena_new(0);
    struct admissionregistration_v1_expression_warning *w;
    struct policy_check c = begun(
        a, "{\"matchConstraints\":{\"resourceRules\":[" RULE(
               "\"x\"", "\"v1\"", "\"trees\",\"leaves\",\"ghosts\"") "]},\"variables\":[{\"name\":"
                                                                     "\"b\",\"expression\":\"1\"},{"
                                                                     "\"name\":\"a\","
                                                                     "\"expression\":\"variables.b "
                                                                     "+ 1\"}],\"validations\":[{"
                                                                     "\"expression\":\"object.size "
                                                                     "== 3 || object.name == "
                                                                     "'x'\"},{\"expression\":"
                                                                     "\"variables.a == 'x'\"},{"
                                                                     "\"expression\":\"true\"}]}");
    ck_assert_uint_eq(policy_check_warnings(&c, &w), 2);
    ck_assert_str_eq(w[0].field_ref.data, "spec.validations[0].expression");
    ck_assert_str_eq(w[0].warning.data,
                     "x/v1, Kind=Leaf: ERROR: <input>:1:27: undefined field 'name'\n"
                     " | object.size == 3 || object.name == 'x'\n"
                     " | ..........................^\n\n"
                     "x/v1, Kind=Tree: ERROR: <input>:1:7: undefined field 'size'\n"
                     " | object.size == 3 || object.name == 'x'\n"
                     " | ......^\n");
    ck_assert_str_eq(w[1].field_ref.data, "spec.validations[1].expression");
}
END_TEST

/* What holds itself has no fields further down; messages call parts by the way to them. */
START_TEST(recursion_ends)
{
    AUTO_ARENA *a = arena_new(0);
    struct admissionregistration_v1_expression_warning *w;
    struct policy_check c = begun(
        a,
        "{\"matchConstraints\":{\"resourceRules\":[" RULE(
            "\"x\"", "\"v1\"",
            "\"trees\"") "]},\"validations\":[{\"expression\":\"object.child.name == 'x'\"},{"
                         "\"expression\":\"object.parts[0] > 1\"},{\"expression\":"
                         "\"object.parts.all(p, p.count > 1) && object.metadata.name == 'x'\"}]}");
    ck_assert_uint_eq(policy_check_warnings(&c, &w), 2);
    ck_assert_ptr_nonnull(strstr(w[0].warning.data, "undefined field 'name'"));
    ck_assert_ptr_nonnull(strstr(w[1].warning.data, "'(Tree.parts.@idx, int)'"));
}
END_TEST

UNIT_MAIN("policy_check", {
    UNIT_TEST(kinds_in_order);
    UNIT_TEST(no_more_than_ten);
    UNIT_TEST(warnings_of_each_kind);
    UNIT_TEST(recursion_ends);
})
