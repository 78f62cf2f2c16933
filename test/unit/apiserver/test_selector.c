/* test_selector.c - selectors of lists: what they match in stored bytes, how they are refused. */
#include "apiserver/selector.h"

#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "test/unit/unit.h"

static bool matches(const char *selector, struct api_str_entry *labels, size_t count)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF stored = BUF_INIT;
    struct core_v1_pod pod = {.metadata = {.labels = labels, .labels_count = count}};
    struct api_label_selector s;
    struct error err = {0};
    ck_assert_msg(api_label_selector_parse(a, str_of(selector), &s, &err) == 0, "%s: %s", selector,
                  err.message);
    api_pb_encode(&core_v1_pod_msg, &pod, &stored);
    return selector_matches_stored(&s, buf_str(&stored));
}

/* Each operator, with the label present, absent and different. */
START_TEST(label_operators)
{
    struct api_str_entry l[] = {{STR("app"), STR("web")}, {STR("n"), STR("5")}};
    static const struct {
        const char *selector;
        bool match;
    } cases[] = {
        {"", true},
        {"app", true},
        {"!app", false},
        {"none", false},
        {"!none", true},
        {"app=web", true},
        {"app==web", true},
        {"app=x", false},
        {"app!=web", false},
        {"none!=web", true},
        {"app in (x, web)", true},
        {"app in (x)", false},
        {"app notin (web)", false},
        {"none notin (x)", true},
        {"n>4", true},
        {"n<5", false},
        {"n>5", false},
        {"app=web,n>4", true},
        {"app=web,n>9", false},
        {"app=", false},
        {"in=x", false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        ck_assert_msg(matches(cases[i].selector, l, ARRAY_SIZE(l)) == cases[i].match, "%s",
                      cases[i].selector);
}
END_TEST

/* Malformed ones are refused in upstream's words. */
START_TEST(label_errors)
{
    static const char *const cases[][2] = {
        {"x===1", "unable to parse requirement: found '=', expected: identifier"},
        {"x in 1", "unable to parse requirement: found '1' expected: '('"},
        {"!!", "unable to parse requirement: found '!', expected: identifier"},
        {"==", "found '==', expected: !, identifier, or 'end of string'"},
        {"a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"},
        {"a,", "found '', expected: identifier after ','"},
        {"x>a", "unable to parse requirement: values[0]: Invalid value: \"a\": for 'Gt', 'Lt' "
                "operators, the value "
                "must be an integer"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_ARENA *a = arena_new(0);
        struct api_label_selector s;
        struct error err = {0};
        ck_assert_int_eq(api_label_selector_parse(a, str_of(cases[i][0]), &s, &err), E_INVALID);
        ck_assert_str_eq(err.message, cases[i][1]);
    }
}
END_TEST

/* Fields: equality and inequality, with escapes. */
START_TEST(fields)
{
    AUTO_ARENA *a = arena_new(0);
    struct api_field_selector s;
    struct error err = {0};
    ck_assert_int_eq(api_field_selector_parse(a, STR("a=1,b!=2,c==x\\,y"), &s, &err), 0);
    ck_assert_uint_eq(s.count, 3);
    ck_assert(!s.items[0].negated && s.items[1].negated && !s.items[2].negated);
    ck_assert(str_eqc(s.items[2].value, "x,y"));
    ck_assert_int_eq(api_field_selector_parse(a, STR("metadata.name"), &s, &err), E_INVALID);
    ck_assert_str_eq(err.message,
                     "invalid selector: 'metadata.name'; can't understand 'metadata.name'");
    ck_assert_int_eq(api_field_selector_parse(a, STR("a=\\x"), &s, &err), E_INVALID);
}
END_TEST

UNIT_MAIN("selector", {
    UNIT_TEST(label_operators);
    UNIT_TEST(label_errors);
    UNIT_TEST(fields);
})
