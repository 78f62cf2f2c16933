/* test_field_error.c - field errors and the checks of names, in upstream's words. */
#include "apiserver/field_error.h"

#include "apiserver/status.h"
#include "apiserver/validate.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "test/unit/unit.h"

static const char *text_of(struct arena *a, const struct field_path *p)
{
    AUTO_BUF b = BUF_INIT;
    field_path_write(p, &b);
    return str_c(arena_str(a, buf_str(&b)));
}

START_TEST(paths)
{
    AUTO_ARENA *a = arena_new(0);
    ck_assert_str_eq(text_of(a, PATH_ROOT), "<nil>");
    ck_assert_str_eq(
        text_of(a, PATH(PATH_INDEX(PATH(PATH(PATH_ROOT, "spec"), "containers"), 2), "name")),
        "spec.containers[2].name");
    ck_assert_str_eq(text_of(a, PATH_KEY(PATH(PATH_ROOT, "data"), STR("a b"))), "data[a b]");
    ck_assert_str_eq(text_of(a, PATH_KEY(PATH_ROOT, STR_NULL)), "[]");
}
END_TEST

/* Every form of message; several are listed, equal ones once. */
START_TEST(messages)
{
    static const char *const some[] = {"A", "<B>", NULL};
    AUTO_ARENA *a = arena_new(0);
    struct field_errors l = {.arena = a};
    const struct field_path *p = PATH(PATH_ROOT, "f");
    field_required(&l, p, NULL);
    field_invalid(&l, p, STR("x\n\"<y>"), "must be %d", 1);
    field_invalid_int(&l, p, -1, "no");
    field_not_supported(&l, p, STR("c"), some);
    field_duplicate(&l, p, STR("d"));
    field_too_long(&l, p, 5);
    field_too_many(&l, p, 3, 1);
    field_forbidden(&l, p, "never");
    field_forbidden(&l, p, "never");
    static const char *const want[] = {
        "Required value",
        "Invalid value: \"x\\n\\\"<y>\": must be 1",
        "Invalid value: -1: no",
        "Unsupported value: \"c\": supported values: \"A\", \"<B>\"",
        "Duplicate value: \"d\"",
        "Too long: may not be more than 5 bytes",
        "Too many: 3: must have at most 1 item",
        "Forbidden: never",
        "Forbidden: never",
    };
    ck_assert_uint_eq(l.count, ARRAY_SIZE(want));
    for (size_t i = 0; i < l.count; i++)
        ck_assert_str_eq(str_c(l.items[i].message), want[i]);
    struct str text = field_errors_text(a, &l);
    ck_assert(str_has_suffix(text, STR(", f: Forbidden: never]")));
    ck_assert(!str_has_suffix(text, STR("f: Forbidden: never, f: Forbidden: never]")));
}
END_TEST

/* A 422 names kind and object and lists all causes. */
START_TEST(invalid_status)
{
    AUTO_ARENA *a = arena_new(0);
    struct field_errors l = {.arena = a};
    field_required(&l, PATH(PATH_ROOT, "spec"), "it is");
    struct meta_v1_status *s = status_invalid(a, "apps", "Deployment", STR("d"), &l);
    ck_assert_str_eq(str_c(s->message),
                     "Deployment.apps \"d\" is invalid: spec: Required value: it is");
    ck_assert_int_eq(s->code, 422);
    ck_assert_uint_eq(s->details->causes_count, 1);
    ck_assert(str_eqc(s->details->causes[0].reason, "FieldValueRequired"));
}
END_TEST

START_TEST(names)
{
    static const struct {
        const char *text;
        bool label, subdomain, qualified;
    } cases[] = {
        {"a", true, true, true},        {"a-b", true, true, true},
        {"a.b", false, true, true},     {"-a", false, false, false},
        {"A", false, false, true},      {"", false, false, false},
        {"a..b", false, false, true},   {"x.io/y", false, false, true},
        {"x/y/z", false, false, false}, {"/y", false, false, false},
        {"a_b", false, false, true},    {"a-", false, false, false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct str s = str_of(cases[i].text);
        ck_assert_msg((api_check_dns_label(s).count == 0) == cases[i].label, "label %s",
                      cases[i].text);
        ck_assert_msg((api_check_dns_subdomain(s).count == 0) == cases[i].subdomain, "subdomain %s",
                      cases[i].text);
        ck_assert_msg((api_check_qualified_name(s).count == 0) == cases[i].qualified,
                      "qualified %s", cases[i].text);
    }
}
END_TEST

/* A generateName prefix may end in what the suffix makes good. */
START_TEST(generate_name)
{
    AUTO_ARENA *a = arena_new(0);
    struct field_errors l = {.arena = a};
    name_dns_subdomain(&l, PATH(PATH_ROOT, "n"), STR("web-"), true);
    ck_assert_uint_eq(l.count, 0);
    name_dns_subdomain(&l, PATH(PATH_ROOT, "n"), STR("web-"), false);
    ck_assert_uint_eq(l.count, 1);
}
END_TEST

UNIT_MAIN("field_error", {
    UNIT_TEST(paths);
    UNIT_TEST(messages);
    UNIT_TEST(invalid_status);
    UNIT_TEST(names);
    UNIT_TEST(generate_name);
})
