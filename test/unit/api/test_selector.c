/* test_selector.c - label and field selectors, and the forms of names. */
#include "test/unit/unit.h"

#include "api/meta_v1.h"
#include "lib/api/names.h"
#include "lib/api/selector.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

static const struct api_str_entry labels[] = {
    {{"app", 3}, {"web", 3}}, {{"e", 1}, {"", 0}},     {{"in", 2}, {"x", 1}},
    {{"n", 1}, {"5", 1}},     {{"tier", 4}, {"a", 1}},
};

/* Each selector against the same labels, and its text when printed again. */
START_TEST(test_label_selectors)
{
    static const struct {
        const char *text;
        bool matches;
        const char *printed;
    } cases[] = {
        {"", true, ""},
        {"app=web", true, "app=web"},
        {"app==web , tier!=b", true, "app==web,tier!=b"},
        {"app!=web", false, "app!=web"},
        {"none!=web", true, "none!=web"},
        {"tier in (b,a)", true, "tier in (a,b)"},
        {"tier notin (a)", false, "tier notin (a)"},
        {"none notin (a)", true, "none notin (a)"},
        {"app", true, "app"},
        {"!app", false, "!app"},
        {"!none", true, "!none"},
        {"n>4", true, "n>4"},
        {"n<5", false, "n<5"},
        {"app>1", false, "app>1"},
        {"e=", true, "e="},
        {"e in ()", true, "e in ()"},
        {"e in (,x)", true, "e in (,x)"},
        {"in in (in,x)", true, "in in (in,x)"},
        {"example.com/x notin (a,,b)", true, "example.com/x notin (,a,b)"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_ARENA *a = arena_new(0);
        struct api_label_selector s;
        struct error err = {0};
        int r = api_label_selector_parse(a, str_of(cases[i].text), &s, &err);
        ck_assert_msg(r == 0, "%s: %s", cases[i].text, err.message);
        ck_assert_msg(api_label_selector_matches(&s, labels, ARRAY_SIZE(labels)) ==
                          cases[i].matches,
                      "%s", cases[i].text);
        ck_assert_str_eq(str_c(api_label_selector_text(a, &s)), cases[i].printed);
    }
}
END_TEST

#define NAME_TEXT                                                                                  \
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "    \
    "alphanumeric "                                                                                \
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "        \
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"

/* Errors in the words that servers were recorded with. */
START_TEST(test_label_selector_errors)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"!", "unable to parse requirement: found '', expected: identifier"},
        {"a=!b", "unable to parse requirement: found '!', expected: identifier"},
        {"a=b=c", "found '=', expected: ',' or 'end of string'"},
        {"a===b", "unable to parse requirement: found '=', expected: identifier"},
        {"a in 1", "unable to parse requirement: found '1' expected: '('"},
        {"a in (1 2)", "unable to parse requirement: found '2', expected: ',' or ')'"},
        {"a in (", "unable to parse requirement: found '', expected: ',', ')' or identifier"},
        {"a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"},
        {"a,", "found '', expected: identifier after ','"},
        {"=a", "found '=', expected: !, identifier, or 'end of string'"},
        {"a>b", "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' "
                "operators, the value must be an "
                "integer"},
        {"-x", "unable to parse requirement: <nil>: Invalid value: \"-x\": name part " NAME_TEXT},
        {"x=-y", "unable to parse requirement: values[0][x]: Invalid value: \"-y\": a valid label "
                 "must be an empty string or "
                 "consist of alphanumeric characters, '-', '_' or '.', and must start and end with "
                 "an alphanumeric character "
                 "(e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
                 "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_ARENA *a = arena_new(0);
        struct api_label_selector s;
        struct error err = {0};
        ck_assert_int_eq(api_label_selector_parse(a, str_of(cases[i].text), &s, &err), E_INVALID);
        ck_assert_str_eq(err.message, cases[i].message);
    }
}
END_TEST

/* LabelSelector fields: absent selects nothing, empty everything. */
START_TEST(test_label_selector_message)
{
    AUTO_ARENA *a = arena_new(0);
    struct api_label_selector s;
    struct error err = {0};
    ck_assert_int_eq(api_label_selector_from(a, NULL, &s, &err), 0);
    ck_assert(!api_label_selector_matches(&s, labels, ARRAY_SIZE(labels)));
    struct meta_v1_label_selector m = {0};
    ck_assert_int_eq(api_label_selector_from(a, &m, &s, &err), 0);
    ck_assert(api_label_selector_matches(&s, labels, ARRAY_SIZE(labels)));

    struct api_str_entry match = {STR("tier"), STR("a")};
    struct str values[] = {STR("web"), STR("db")};
    struct meta_v1_label_selector_requirement e[] = {
        {.key = STR("app"), .operator= STR("In"), .values = values, .values_count = 2},
        {.key = STR("zone"), .operator= STR("DoesNotExist")},
    };
    m = (struct meta_v1_label_selector){.match_labels = &match,
                                        .match_labels_count = 1,
                                        .match_expressions = e,
                                        .match_expressions_count = 2};
    ck_assert_int_eq(api_label_selector_from(a, &m, &s, &err), 0);
    ck_assert(api_label_selector_matches(&s, labels, ARRAY_SIZE(labels)));
    ck_assert_str_eq(str_c(api_label_selector_text(a, &s)), "app in (db,web),tier=a,!zone");

    e[1].operator= STR("Like");
    ck_assert_int_eq(api_label_selector_from(a, &m, &s, &err), E_INVALID);
    ck_assert_str_eq(err.message, "\"Like\" is not a valid label selector operator");
    e[1].operator= STR("In");
    ck_assert_int_eq(api_label_selector_from(a, &m, &s, &err), E_INVALID);
}
END_TEST

static struct str get_field(void *object, struct str field)
{
    (void)object;
    if (str_eqc(field, "metadata.name"))
        return STR("a,b");
    return str_eqc(field, "status.phase") ? STR("Running") : STR_NULL;
}

/* Field selectors with escapes. */
START_TEST(test_field_selectors)
{
    static const struct {
        const char *text;
        bool matches;
    } cases[] = {
        {"", true},
        {"metadata.name=a\\,b", true},
        {"metadata.name==a\\,b,status.phase!=Pending", true},
        {"status.phase!=Running", false},
        {"spec.nodeName=", true},
        {",,status.phase=Running,", true},
    };
    AUTO_ARENA *a = arena_new(0);
    struct api_field_selector s;
    struct error err = {0};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        ck_assert_int_eq(api_field_selector_parse(a, str_of(cases[i].text), &s, &err), 0);
        ck_assert_msg(api_field_selector_matches(&s, get_field, NULL) == cases[i].matches, "%s",
                      cases[i].text);
    }
    ck_assert_int_eq(api_field_selector_parse(a, STR("a=b,c"), &s, &err), E_INVALID);
    ck_assert_str_eq(err.message, "invalid selector: 'a=b,c'; can't understand 'c'");
    ck_assert_int_eq(api_field_selector_parse(a, STR("a=b=c"), &s, &err), E_INVALID);
    ck_assert_int_eq(api_field_selector_parse(a, STR("a=\\x"), &s, &err), E_INVALID);
    ck_assert_str_eq(err.message, "invalid field selector: invalid escape sequence: \\x");
}
END_TEST

static struct str long_text(struct arena *a, size_t n)
{
    char *p = arena_alloc(a, n);
    memset(p, 'a', n);
    return str_n(p, n);
}

/* Good and bad texts of every form. */
START_TEST(test_names)
{
    typedef struct api_faults (*check)(struct str);
    static const struct {
        check f;
        const char *text;
        size_t faults;
    } cases[] = {
        {api_check_dns_label, "my-name", 0},
        {api_check_dns_label, "", 1},
        {api_check_dns_label, "a.b", 1},
        {api_check_dns_label, "A", 1},
        {api_check_dns_label, "-a", 1},
        {api_check_dns_subdomain, "a.b-c.d", 0},
        {api_check_dns_subdomain, "a..b", 1},
        {api_check_dns_subdomain, "a.", 1},
        {api_check_dns1035_label, "a1", 0},
        {api_check_dns1035_label, "1a", 1},
        {api_check_wildcard_subdomain, "*.a.b", 0},
        {api_check_wildcard_subdomain, "a.*.b", 1},
        {api_check_wildcard_subdomain, "*.", 1},
        {api_check_qualified_name, "example.com/A_b.c", 0},
        {api_check_qualified_name, "a/b/c", 1},
        {api_check_qualified_name, "/b", 1},
        {api_check_qualified_name, "a/", 2},
        {api_check_qualified_name, "", 2},
        {api_check_qualified_name, "A/b", 1},
        {api_check_label_value, "", 0},
        {api_check_label_value, "a_B.1", 0},
        {api_check_label_value, "a b", 1},
        {api_check_config_key, "a-b_c.D", 0},
        {api_check_config_key, "a b", 1},
        {api_check_config_key, "..x", 1},
        {api_check_config_key, "", 1},
        {api_check_env_name, "A.b-c d", 0},
        {api_check_env_name, "A=b", 1},
        {api_check_env_name, "", 1},
        {api_check_port_name, "http-1", 0},
        {api_check_port_name, "1234", 1},
        {api_check_port_name, "-a--b", 2},
        {api_check_port_name, "HTTP", 2},
        {api_check_percent, "30%", 0},
        {api_check_percent, "%", 1},
        {api_check_percent, "a%", 1},
        {api_check_path_segment, "a:b", 0},
        {api_check_path_segment, "..", 1},
        {api_check_path_segment, "a/b%", 2},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        ck_assert_msg(cases[i].f(str_of(cases[i].text)).count == cases[i].faults, "%zu: %s", i,
                      cases[i].text);
    AUTO_ARENA *a = arena_new(0);
    ck_assert_uint_eq(api_check_dns_label(long_text(a, 63)).count, 0);
    ck_assert_uint_eq(api_check_dns_label(long_text(a, 64)).count, 1);
    ck_assert_uint_eq(api_check_dns_subdomain(long_text(a, 253)).count, 0);
    ck_assert_uint_eq(api_check_dns_subdomain(long_text(a, 254)).count, 1);
    ck_assert_uint_eq(api_check_label_value(long_text(a, 64)).count, 1);
    ck_assert_str_eq(api_check_dns_label(STR("a.b")).items[0], "must not contain dots");
    ck_assert_str_eq(api_check_qualified_name(STR("-x")).items[0], "name part " NAME_TEXT);
}
END_TEST

UNIT_MAIN("selector", {
    UNIT_TEST(test_label_selectors);
    UNIT_TEST(test_label_selector_errors);
    UNIT_TEST(test_label_selector_message);
    UNIT_TEST(test_field_selectors);
    UNIT_TEST(test_names);
})
