/* test_crd_schema.c - which schemas definitions may have, in upstream's words. */
#include "apiserver/kinds/crd.h"

#include "api/apiextensions_v1.h"
#include "apiserver/field_error.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "test/unit/unit.h"

/* wanted: all faults, "" for none. With * at its end it is a beginning. */
static void judge(const char *schema, bool status, bool stored, const char *wanted)
{
    AUTO_ARENA *a = arena_new(0);
    struct error err = {0};
    struct field_errors errs = {.arena = a};
    struct apiextensions_v1_json_schema_props *p =
        api_msg_new(a, &apiextensions_v1_json_schema_props_msg);
    ck_assert_msg(api_json_decode(a, &apiextensions_v1_json_schema_props_msg, str_of(schema),
                                  API_STRICT, NULL, p, &err) == 0,
                  "%s", error_message(&err));
    const struct apiextensions_v1_custom_resource_validation v = {.open_apiv3_schema = p};
    crd_check_schema(&errs, PATH(PATH_ROOT, "s"), &v, status, stored);
    const char *got = errs.count != 0 ? str_c(field_errors_text(a, &errs)) : "";
    size_t n = strlen(wanted);
    if (n != 0 && wanted[n - 1] == '*')
        ck_assert_msg(strncmp(got, wanted, n - 1) == 0, "%s", got);
    else
        ck_assert_str_eq(got, wanted);
}

static void expect(const char *schema, const char *wanted)
{
    judge(schema, false, false, wanted);
}

#define ROOT(members) "{\"type\":\"object\",\"properties\":{" members "}}"
#define RULE(rule) "\"x-kubernetes-validations\":[" rule "]"
#define GUIDE                                                                                      \
    "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, "   \
    "maps, and strings are declared)"

/* Rules that could take too long are refused before there is an object. */
START_TEST(costs)
{
    expect(ROOT("\"a\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}," RULE(
               "{\"rule\":\"self.all(x, self.all(y, x == y))\"}") "}"),
           "[s.properties[a].x-kubernetes-validations[0].rule: Forbidden: estimated rule cost "
           "exceeds budget by factor of more than 100x " GUIDE ", *");
    judge(ROOT("\"a\":{\"type\":\"array\",\"maxItems\":1000,\"items\":{\"type\":\"string\","
               "\"maxLength\":20}," RULE("{\"rule\":\"self.all(x, self.all(y, x == y))\"}") "}"),
          false, false,
          "s.properties[a].x-kubernetes-validations[0].rule: Forbidden: estimated rule cost "
          "exceeds budget by factor of 1.300500x " GUIDE);
    judge(ROOT("\"a\":{\"type\":\"array\",\"maxItems\":1000,\"items\":{\"type\":\"string\","
               "\"maxLength\":20}," RULE("{\"rule\":\"self.all(x, self.all(y, x == y))\"}") "}"),
          false, true, "");
    expect(ROOT("\"a\":{\"type\":\"array\",\"maxItems\":10,\"items\":{\"type\":\"string\","
                "\"maxLength\":20," RULE("{\"rule\":\"self.startsWith('x')\"}") "}}"),
           "");
    expect(ROOT("\"a\":{\"type\":\"array\",\"items\":{\"type\":\"string\"," RULE(
               "{\"rule\":\"self.contains('x')\"}") "}}"),
           "[s.properties[a].items.x-kubernetes-validations[0].rule: Forbidden: estimated rule "
           "cost exceeds budget by factor of more than 100x *");
}
END_TEST

START_TEST(total)
{
#define LIST(n)                                                                                    \
    "\"" n "\":{\"type\":\"array\",\"maxItems\":900,\"items\":{\"type\":\"string\",\"maxLength\":" \
    "20}," RULE("{\"rule\":\"self.all(x, self.all(y, x == y))\"}") "}"
    judge(ROOT(LIST("a") "," LIST("b") "," LIST("c") "," LIST("d") "," LIST("e") "," LIST(
              "f") "," LIST("g") "," LIST("h") "," LIST("i") "," LIST("j")),
          false, true,
          "[s.properties[a].x-kubernetes-validations[0].rule: Forbidden: contributed to "
          "estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema, *");
}
END_TEST

START_TEST(rules)
{
    expect(ROOT("\"a\":{\"type\":\"string\"," RULE("{\"rule\":\" \"}") "}"),
           "s.properties[a].x-kubernetes-validations[0].rule: Required value: rule is not "
           "specified");
    expect(
        ROOT("\"a\":{\"type\":\"string\"," RULE("{\"rule\":\"true\",\"message\":\"a\\nb\"}") "}"),
        "s.properties[a].x-kubernetes-validations[0].message: Invalid value: \"a\\nb\": must "
        "not contain line breaks");
    expect(ROOT("\"a\":{\"type\":\"string\"," RULE(
               "{\"rule\":\"true\",\"reason\":\"No\",\"fieldPath\":\".b\"}") "}"),
           "[s.properties[a].x-kubernetes-validations[0].reason: Unsupported value: \"No\": "
           "supported values: \"FieldValueDuplicate\", \"FieldValueForbidden\", "
           "\"FieldValueInvalid\", \"FieldValueRequired\", "
           "s.properties[a].x-kubernetes-validations[0].fieldPath: Invalid value: \".b\": must be "
           "a valid path]");
    expect(ROOT("\"a\":{\"type\":\"object\",\"properties\":{\"b\":{\"type\":\"object\","
                "\"additionalProperties\":{\"type\":\"string\"}}}," RULE(
                    "{\"rule\":\"true\",\"fieldPath\":\".b['x.y']\"}") "}"),
           "");
    expect(ROOT("\"a\":{\"type\":\"string\"," RULE(
               "{\"rule\":\"self == 'x'\",\"optionalOldSelf\":true}") "}"),
           "s.properties[a].x-kubernetes-validations[0].optionalOldSelf: Invalid value: true: may "
           "not be set if oldSelf is not used in rule");
    expect(ROOT("\"a\":{\"type\":\"array\",\"maxItems\":3,\"items\":{\"type\":\"string\","
                "\"maxLength\":3," RULE("{\"rule\":\"self == oldSelf\"}") "}}"),
           "s.properties[a].items.x-kubernetes-validations[0].rule: Invalid value: \"self == "
           "oldSelf\": oldSelf cannot be used on the uncorrelatable portion of the schema within "
           "s.properties[a]");
    expect(ROOT("\"a\":{\"type\":\"string\"," RULE(
               "{\"rule\":\"true\",\"messageExpression\":\"1\"}") "}"),
           "s.properties[a].x-kubernetes-validations[0].messageExpression: Invalid value: "
           "{\"Rule\":\"true\",*");
}
END_TEST

START_TEST(lists)
{
    expect(ROOT("\"a\":{\"type\":\"array\"}"),
           "s.properties[a].items: Required value: must be specified");
    expect(ROOT("\"a\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"set\",\"items\":{\"type\":"
                "\"object\",\"nullable\":true}}"),
           "[s.properties[a].items.x-kubernetes-map-type: Invalid value: null: must be atomic as "
           "item of a list with x-kubernetes-list-type=set, s.properties[a].items.nullable: "
           "Forbidden: cannot be nullable when x-kubernetes-list-type is set]");
    expect(ROOT("\"a\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"map\","
                "\"x-kubernetes-list-map-keys\":[\"k\",\"k\"],\"items\":{\"type\":\"object\","
                "\"required\":[\"k\"],\"properties\":{\"k\":{\"type\":\"string\"}}}}"),
           "s.properties[a].x-kubernetes-list-map-keys: Invalid value: [\"k\",\"k\"]: must not "
           "contain duplicate entries");
}
END_TEST

START_TEST(places)
{
    expect("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"text\"}}}",
           "s.properties[a].type: Unsupported value: \"text\": supported values: \"array\", "
           "\"boolean\", \"integer\", \"number\", \"object\", \"string\"");
    expect(ROOT("\"metadata\":{\"type\":\"object\",\"description\":\"x\"}"),
           "s.properties[metadata]: Forbidden: must not specify anything other than name and "
           "generateName, but metadata is implicitly specified");
    expect(ROOT("\"metadata\":{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\","
                "\"default\":\"x\"}}}"),
           "s.properties[metadata].properties[name].default: Forbidden: must not be set in "
           "top-level metadata");
    expect(ROOT("\"a\":{\"x-kubernetes-int-or-string\":true,\"anyOf\":[{\"type\":\"integer\"},"
                "{\"type\":\"string\"}]}"),
           "");
    expect(ROOT("\"a\":{\"type\":\"string\",\"anyOf\":[{\"type\":\"integer\"}]}"),
           "s.properties[a].anyOf[0].type: Forbidden: must be empty to be structural");
    expect(
        "{\"type\":\"object\",\"anyOf\":[{\"required\":[\"a\"],\"properties\":{\"a\":{\"pattern\""
        ":\"x\"}}}]}",
        "s.properties[a]: Required value: because it is defined in s.anyOf[0].properties[a]");
    judge("{\"type\":\"object\",\"minProperties\":1}", true, false, "s: Invalid value: {*");
    judge("{\"type\":\"object\",\"required\":[\"a\"],\"properties\":{\"a\":{\"type\":\"string\"}}}",
          true, false, "");
}
END_TEST

START_TEST(defaults)
{
    expect(ROOT("\"a\":{\"type\":\"string\",\"default\":\"x\"," RULE(
               "{\"rule\":\"self == 'y'\"}") "}"),
           "s.properties[a].default: Invalid value: \"x\": failed rule: self == 'y'");
    expect(ROOT("\"a\":{\"type\":\"string\",\"default\":\"y\"," RULE(
               "{\"rule\":\"self == 'y'\"}") "}"),
           "");
    expect(ROOT("\"a\":{\"type\":\"string\",\"default\":1}"),
           "s.properties[a].default: Invalid value: \"integer\": *");
}
END_TEST

UNIT_MAIN("crd_schema", {
    UNIT_TEST(costs);
    UNIT_TEST(total);
    UNIT_TEST(rules);
    UNIT_TEST(lists);
    UNIT_TEST(places);
    UNIT_TEST(defaults);
})
