/* test_custom.c - schemas of custom kinds: pruning, defaults, validation, rules,
 * paths, names. */
#include "apiserver/custom/names.h"
#include "apiserver/custom/rules.h"
#include "apiserver/custom/validate.h"

#include "api/apiextensions_v1.h"
#include "apiserver/custom/definition.h"
#include "apiserver/field_error.h"
#include "apiserver/kinds/crd.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/jsonpath.h"
#include "lib/api/structural.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "test/unit/unit.h"

static struct json *parse(struct arena *a, const char *text)
{
    struct json *j;
    struct error err = {0};
    ck_assert_msg(json_parse(a, str_of(text), &j, &err) == 0, "%s: %s", text, error_message(&err));
    return j;
}

static struct apiextensions_v1_json_schema_props *props(struct arena *a, const char *text)
{
    struct error err = {0};
    void *p = api_msg_new(a, &apiextensions_v1_json_schema_props_msg);
    ck_assert_msg(api_json_decode(a, &apiextensions_v1_json_schema_props_msg, str_of(text),
                                  API_STRICT, NULL, p, &err) == 0,
                  "%s", error_message(&err));
    return p;
}

static const struct structural *schema(struct arena *a, const char *text)
{
    const struct structural *s;
    struct error err = {0};
    ck_assert_msg(structural_build(a, props(a, text), &s, &err) == 0, "%s", error_message(&err));
    return s;
}

static const char *shown(struct arena *a, const struct json *j)
{
    AUTO_BUF b = BUF_INIT;
    json_write(j, true, &b);
    return str_c(arena_str(a, buf_str(&b)));
}

/* Validates against a schema and compares the text of all faults. */
static void expect(const char *schema_text, const char *object, const char *old, const char *wanted)
{
    AUTO_ARENA *a = arena_new(0);
    const struct structural *s = schema(a, schema_text);
    struct field_errors errs = {.arena = a};
    custom_rules_prepare(a, s, parse(a, schema_text));
    struct json *before = old != NULL ? parse(a, old) : NULL;
    custom_validate(&errs, s, parse(a, object), before);
    custom_validate_lists(&errs, s, parse(a, object));
    custom_rules_check(&errs, PATH_ROOT, s, parse(a, object), before);
    struct str text = errs.count != 0 ? field_errors_text(a, &errs) : STR("");
    ck_assert_str_eq(str_c(arena_str(a, text)), wanted);
}

/* What the schema does not know goes, and is told in order; free places keep
 * everything. */
START_TEST(prune)
{
    AUTO_ARENA *a = arena_new(0);
    const struct structural *s = schema(
        a, "{\"type\":\"object\",\"properties\":{\"spec\":{\"type\":\"object\",\"properties\":{"
           "\"a\":{\"type\":\"string\"},\"l\":{\"type\":\"array\",\"items\":{\"type\":\"object\","
           "\"properties\":{\"k\":{\"type\":\"string\"}}}},\"free\":{\"type\":\"object\","
           "\"x-kubernetes-preserve-unknown-fields\":true,\"properties\":{\"known\":{\"type\":"
           "\"object\"}}},\"map\":{\"type\":\"object\",\"additionalProperties\":{\"type\":"
           "\"object\",\"properties\":{\"x\":{\"type\":\"integer\"}}}}}}}}");
    struct json *j = parse(
        a,
        "{\"kind\":\"K\",\"z\":1,\"spec\":{\"b\":1,\"a\":\"x\",\"l\":[{\"k\":\"1\",\"q\":2}],"
        "\"free\":{\"any\":{\"x\":1},\"known\":{\"gone\":1}},\"map\":{\"m\":{\"x\":1,\"y\":2}}}}");
    struct api_warnings w = {0};
    structural_prune(a, s, j, true, &w);
    ck_assert_str_eq(shown(a, j),
                     "{\"kind\":\"K\",\"spec\":{\"a\":\"x\",\"free\":{\"any\":{\"x\":1},\"known\":"
                     "{}},\"l\":[{\"k\":\"1\"}],\"map\":{\"m\":{\"x\":1}}}}");
    ck_assert_uint_eq(w.count, 5);
    ck_assert(str_eqc(w.items[0], "unknown field \"spec.b\""));
    ck_assert(str_eqc(w.items[2], "unknown field \"spec.l[0].q\""));
    ck_assert(str_eqc(w.items[4], "unknown field \"z\""));
}
END_TEST

/* Defaults fill what is missing, or null where null may not be; other such nulls
 * go. */
START_TEST(defaults)
{
    AUTO_ARENA *a = arena_new(0);
    const struct structural *s = schema(
        a, "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\",\"default\":1},"
           "\"b\":{\"type\":\"integer\",\"default\":2},\"c\":{\"type\":\"integer\"},\"d\":{"
           "\"type\":\"integer\",\"nullable\":true},\"l\":{\"type\":\"array\",\"items\":{\"type\":"
           "\"object\",\"properties\":{\"x\":{\"type\":\"boolean\",\"default\":true}}}}}}");
    struct json *j = parse(a, "{\"b\":null,\"c\":null,\"d\":null,\"l\":[{},{\"x\":false}]}");
    structural_default(a, s, j);
    ck_assert_str_eq(shown(a, j),
                     "{\"a\":1,\"b\":2,\"d\":null,\"l\":[{\"x\":true},{\"x\":false}]}");
}
END_TEST

#define SCHEMA                                                                                     \
    "{\"type\":\"object\",\"required\":[\"n\"],\"properties\":{\"n\":{\"type\":\"integer\","       \
    "\"minimum\":1,\"maximum\":10,\"multipleOf\":2},\"s\":{\"type\":\"string\",\"maxLength\":3,"   \
    "\"minLength\":2,\"pattern\":\"^[a-z]+$\"},\"f\":{\"type\":\"string\",\"format\":\"ipv4\"},"   \
    "\"e\":{\"type\":\"string\",\"enum\":[\"x\",\"y\"]},\"p\":{\"x-kubernetes-int-or-string\":"    \
    "true},\"o\":{\"type\":\"object\",\"anyOf\":[{\"required\":[\"a\"]},{\"required\":[\"b\"]}]"   \
    ",\"properties\":{\"a\":{\"type\":\"string\"},\"b\":{\"type\":\"string\"}}},\"set\":{"         \
    "\"type\":\"array\",\"x-kubernetes-list-type\":\"set\",\"maxItems\":3,\"items\":{\"type\":"    \
    "\"string\"}}}}"

/* Faults are worded as upstream words them. */
START_TEST(values)
{
    expect(SCHEMA, "{\"n\":4,\"s\":\"ab\",\"f\":\"1.2.3.4\",\"e\":\"y\",\"p\":\"http\"}", NULL, "");
    expect(SCHEMA, "{}", NULL, "n: Required value");
    expect(SCHEMA, "{\"n\":12}", NULL,
           "n: Invalid value: 12: n in body should be less than or equal to 10");
    expect(SCHEMA, "{\"n\":3}", NULL, "n: Invalid value: 3: n in body should be a multiple of 2");
    expect(SCHEMA, "{\"n\":\"x\"}", NULL,
           "n: Invalid value: \"string\": n in body must be of type integer: \"string\"");
    expect(SCHEMA, "{\"n\":2,\"s\":\"äöüß\"}", NULL, "s: Too long: may not be more than 3 bytes");
    expect(SCHEMA, "{\"n\":2,\"s\":\"A1\"}", NULL,
           "s: Invalid value: \"A1\": s in body should match '^[a-z]+$'");
    expect(SCHEMA, "{\"n\":2,\"f\":\"1.2.3\"}", NULL,
           "f: Invalid value: \"1.2.3\": f in body must be of type ipv4: \"1.2.3\"");
    expect(SCHEMA, "{\"n\":2,\"e\":\"z\"}", NULL,
           "e: Unsupported value: \"z\": supported values: \"x\", \"y\"");
    expect(SCHEMA, "{\"n\":2,\"p\":1.5}", NULL,
           "p: Invalid value: \"number\": p in body must be of type integer,string: \"number\"");
    expect(SCHEMA, "{\"n\":2,\"o\":{}}", NULL,
           "[<nil>: Invalid value: \"\": \"o\" must validate at least one schema (anyOf), o.a: "
           "Required value]");
    expect(SCHEMA, "{\"n\":2,\"set\":[\"a\",\"b\",\"a\",\"a\"]}", NULL,
           "[set: Too many: 4: must have at most 3 items, set[2]: Duplicate value: \"a\"]");
}
END_TEST

/* What was wrong before and stays as it is does not stop an update. */
START_TEST(ratchet)
{
    expect(SCHEMA, "{\"n\":2,\"e\":\"z\"}", "{\"n\":4,\"e\":\"z\"}", "");
    expect(SCHEMA, "{\"n\":2,\"e\":\"q\"}", "{\"n\":4,\"e\":\"z\"}",
           "e: Unsupported value: \"q\": supported values: \"x\", \"y\"");
}
END_TEST

#define RULES                                                                                      \
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"fixed\":{\"type\":"       \
    "\"string\",\"x-kubernetes-validations\":[{\"rule\":\"self == oldSelf\",\"message\":\"may "    \
    "not change\"}]}},\"x-kubernetes-validations\":[{\"rule\":\"!has(self.a) || self.a < 5\","     \
    "\"messageExpression\":\"'got ' + string(self.a)\",\"fieldPath\":\".a\",\"reason\":"           \
    "\"FieldValueForbidden\"}]}"

/* Rules look at the whole value; those on oldSelf at changes only. */
START_TEST(rules)
{
    expect(RULES, "{\"a\":1,\"fixed\":\"x\"}", NULL, "");
    expect(RULES, "{\"a\":7}", NULL, "a: Forbidden: got 7");
    expect(RULES, "{\"fixed\":\"y\"}", "{\"fixed\":\"x\"}",
           "fixed: Invalid value: \"y\": may not change");
    expect(RULES, "{\"fixed\":\"y\"}", "{}", "");
}
END_TEST

static void expect_schema(const char *text, const char *wanted)
{
    AUTO_ARENA *a = arena_new(0);
    struct apiextensions_v1_custom_resource_validation v = {.open_apiv3_schema = props(a, text)};
    struct field_errors errs = {.arena = a};
    crd_check_schema(&errs, PATH(PATH_ROOT, "schema"), &v, false, false);
    struct str got = errs.count != 0 ? field_errors_text(a, &errs) : STR("");
    ck_assert_str_eq(str_c(arena_str(a, got)), wanted);
}

/* Schemas must be structural. */
START_TEST(structure)
{
    expect_schema("{\"type\":\"object\"}", "");
    expect_schema("{\"type\":\"array\",\"items\":{\"type\":\"string\"}}",
                  "schema.type: Invalid value: \"array\": must be object at the root");
    expect_schema("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"array\",\"items\":{}}}}",
                  "schema.properties[a].items.type: Required value: must not be empty for "
                  "specified array items");
    expect_schema("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},\"anyOf\":[{"
                  "\"properties\":{\"a\":{\"type\":\"string\"}}}]}",
                  "schema.anyOf[0].properties[a].type: Forbidden: must be empty to be structural");
    expect_schema("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"pattern\":"
                  "\"(?=x)\"}}}",
                  "schema.properties[a].pattern: Invalid value: \"(?=x)\": must be a valid regular "
                  "expression, but isn't: error parsing regexp: invalid or unsupported Perl "
                  "syntax: `(?=x)`");
}
END_TEST

static void expect_path(const char *path, const char *wanted)
{
    AUTO_ARENA *a = arena_new(0);
    const struct jsonpath *p;
    struct jsonpath_results r;
    struct json *j =
        parse(a, "{\"l\":[{\"t\":\"A\",\"n\":1},{\"t\":\"B\",\"n\":2}],\"m\":{\"a.b\":3}}");
    AUTO_BUF b = BUF_INIT;
    if (jsonpath_parse(a, str_of(path), &p, NULL) != 0) {
        ck_assert_str_eq("malformed", wanted);
        return;
    }
    jsonpath_find(a, p, j, &r);
    for (size_t i = 0; i < r.count; i++) {
        buf_puts(&b, i != 0 ? " " : "");
        json_write(r.items[i], true, &b);
    }
    ck_assert_str_eq(str_c(arena_str(a, buf_str(&b))), wanted);
}

/* Steps, filters, ranges and escapes. */
START_TEST(paths)
{
    expect_path(".l[0].n", "1");
    expect_path("{.l[*].t}", "\"A\" \"B\"");
    expect_path(".l[?(@.t==\"B\")].n", "2");
    expect_path(".l[?(@.n>1)].t", "\"B\"");
    expect_path(".l[-1:].t", "\"B\"");
    expect_path(".m.a\\.b", "3");
    expect_path(".m['a.b']", "3");
    expect_path("..n", "1 2");
    expect_path(".none.x", "");
    expect_path(".l[", "malformed");
    expect_path("l", "malformed");
}
END_TEST

/* The first to have a name keeps it; who comes later is told. */
START_TEST(names)
{
    AUTO_ARENA *a = arena_new(0);
    struct apiextensions_v1_custom_resource_definition one = {
        .metadata.name = STR("as.x.io"),
        .spec = {.group = STR("x.io"),
                 .names = {.plural = STR("as"),
                           .singular = STR("a"),
                           .kind = STR("A"),
                           .list_kind = STR("AList")}}};
    struct apiextensions_v1_custom_resource_definition two = one;
    const struct apiextensions_v1_custom_resource_definition *all[] = {&one, &two};
    two.metadata.name = STR("bs.x.io");
    two.spec.names.plural = STR("bs");
    ck_assert(custom_names_accept(a, &one, all, 2, 1));
    ck_assert(!custom_names_accept(a, &one, all, 2, 2));
    ck_assert(custom_condition(&one, "Established"));
    ck_assert(custom_names_accept(a, &two, all, 2, 3));
    ck_assert(!custom_condition(&two, "Established"));
    ck_assert(str_eqc(two.status.conditions[0].reason, "ListKindConflict"));
    ck_assert(str_eqc(two.status.conditions[0].message, "\"AList\" is already in use"));
    ck_assert(str_eqc(two.status.accepted_names.plural, "bs"));
    two.spec.names = (struct apiextensions_v1_custom_resource_definition_names){
        .plural = STR("bs"),
        .singular = STR("b"),
        .short_names = (struct str[]){STR("as"), STR("bs"), STR("c"), STR("as")},
        .short_names_count = 4,
        .kind = STR("B"),
        .list_kind = STR("BList")};
    ck_assert(custom_names_accept(a, &two, all, 2, 4));
    ck_assert(str_eqc(two.status.conditions[0].reason, "ShortNamesConflict"));
    ck_assert(str_eqc(two.status.conditions[0].message,
                      "[\"as\" is already in use, \"bs\" is already in use]"));
    ck_assert(str_eqc(two.status.conditions[1].reason, "NotAccepted"));
}
END_TEST

/* Who asks a webhook that cannot be trusted is established when it can be. */
START_TEST(established)
{
    AUTO_ARENA *a = arena_new(0);
    struct apiextensions_v1_webhook_client_config client = {.ca_bundle = STR("none")};
    struct apiextensions_v1_webhook_conversion hook = {.client_config = &client};
    struct apiextensions_v1_custom_resource_conversion conversion = {.webhook = &hook};
    struct apiextensions_v1_custom_resource_definition one = {
        .metadata.name = STR("as.x.io"),
        .spec = {.group = STR("x.io"),
                 .conversion = &conversion,
                 .names = {.plural = STR("as"),
                           .singular = STR("a"),
                           .kind = STR("A"),
                           .list_kind = STR("AList")}}};
    const struct apiextensions_v1_custom_resource_definition *all[] = {&one};
    ck_assert(custom_names_accept(a, &one, all, 1, 1));
    ck_assert(!custom_names_accept(a, &one, all, 1, 2));
    ck_assert(str_eqc(one.status.conditions[0].status, "True"));
    ck_assert(str_eqc(one.status.conditions[1].type, "Established"));
    ck_assert(str_eqc(one.status.conditions[1].status, "False"));
    ck_assert(str_eqc(one.status.conditions[1].reason, "InvalidCABundle"));
    ck_assert(
        str_eqc(one.status.conditions[1].message, "The conversion webhook CABundle is invalid"));
    client.ca_bundle = STR("");
    ck_assert(custom_names_accept(a, &one, all, 1, 3));
    ck_assert(str_eqc(one.status.conditions[1].reason, "InitialNamesAccepted"));
    client.ca_bundle = STR("none"); /* What is established stays it. */
    ck_assert(!custom_names_accept(a, &one, all, 1, 4));
}
END_TEST

/* A URL has a scheme and a host. */
START_TEST(approval)
{
    static const struct {
        const char *given;
        enum custom_approval state;
    } cases[] = {
        {"", APPROVAL_MISSING},
        {"unapproved, an experiment", APPROVAL_BYPASSED},
        {"https://github.com/kubernetes/kubernetes/pull/1", APPROVAL_GIVEN},
        {"git+ssh://me@host:22", APPROVAL_GIVEN},
        {"see https://github.com/kubernetes", APPROVAL_INVALID},
        {"https:///pull/1", APPROVAL_INVALID},
        {"https://?pull=1", APPROVAL_INVALID},
        {"https://me@/pull", APPROVAL_INVALID},
        {"https://a b/", APPROVAL_INVALID},
        {"1https://a/", APPROVAL_INVALID},
        {"mailto:a@b", APPROVAL_INVALID},
        {"/pull/1", APPROVAL_INVALID},
        {"yes", APPROVAL_INVALID},
    };
    AUTO_ARENA *a = arena_new(0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct api_str_entry e = {STR(CUSTOM_APPROVED), str_of(cases[i].given)};
        struct apiextensions_v1_custom_resource_definition crd = {
            .metadata = {.annotations = &e, .annotations_count = 1}};
        struct str why;
        ck_assert_msg(custom_approval_of(a, &crd, &why) == cases[i].state, "%s", cases[i].given);
    }
}
END_TEST

UNIT_MAIN("custom", {
    UNIT_TEST(prune);
    UNIT_TEST(defaults);
    UNIT_TEST(values);
    UNIT_TEST(ratchet);
    UNIT_TEST(rules);
    UNIT_TEST(structure);
    UNIT_TEST(paths);
    UNIT_TEST(names);
    UNIT_TEST(established);
    UNIT_TEST(approval);
})
