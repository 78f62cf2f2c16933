/* test_depends.c - what pods declare to depend on: entries and what is wrong with them. */
#include "lib/api/depends.h"

#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "test/unit/unit.h"

#include "api/meta_v1.h"

static struct dependencies parse(struct arena *a, const char *text)
{
    struct dependencies d;
    struct error err = {0};
    ck_assert_msg(depends_parse(a, str_of(text), &d, &err) == 0, "%s: %s", text, err.message);
    return d;
}

#define SAME(s, text) ck_assert_msg(str_eqc(s, text), "want %s, got " STR_FMT, text, STR_ARG(s))

/* Commas, blanks and lines part entries; an empty text declares nothing. */
START_TEST(lists)
{
    AUTO_ARENA *a = arena_new(0);
    ck_assert_uint_eq(parse(a, "a, b\n  c,,d\t").count, 4);
    struct dependencies none = parse(a, " ,\n");
    ck_assert(none.declared && none.count == 0);
}
END_TEST

START_TEST(services)
{
    AUTO_ARENA *a = arena_new(0);
    struct dependencies d = parse(a, "db pay/ledger pay/ledger:https db:5432 10/8 pay/internet");
    ck_assert_uint_eq(d.count, 6);
    for (size_t i = 0; i < d.count; i++)
        ck_assert_int_eq(d.items[i].type, DEPEND_SERVICE);
    ck_assert(str_empty(d.items[0].namespace_) && d.items[0].port == 0);
    SAME(d.items[1].namespace_, "pay");
    SAME(d.items[1].name, "ledger");
    SAME(d.items[2].port_name, "https");
    SAME(d.items[2].text, "pay/ledger:https");
    ck_assert_int_eq(d.items[3].port, 5432);
    SAME(d.items[4].namespace_, "10"); /* Names of digits alone are names. */
    SAME(d.items[5].name, "internet");
}
END_TEST

START_TEST(outside)
{
    AUTO_ARENA *a = arena_new(0);
    struct dependencies d =
        parse(a, "10.1.0.0/16 10.1.2.3/32:53/udp fd00:1::/32 fd00::1/128:443 0.0.0.0/0:25 internet "
                 "internet:443/tcp internet:443/udp");
    ck_assert_uint_eq(d.count, 8);
    ck_assert(d.items[0].type == DEPEND_RANGE && !d.items[0].v6 && d.items[0].port == 0);
    SAME(d.items[1].range, "10.1.2.3/32");
    ck_assert(d.items[1].port == 53 && strcmp(d.items[1].protocol, "udp") == 0);
    ck_assert(d.items[2].v6 && d.items[2].port == 0);
    SAME(d.items[2].range, "fd00:1::/32");
    ck_assert(d.items[3].v6 && d.items[3].port == 443);
    ck_assert_str_eq(d.items[3].protocol, "tcp");
    ck_assert_int_eq(d.items[4].port, 25);
    ck_assert(d.items[5].type == DEPEND_INTERNET && d.items[5].protocol == NULL);
    SAME(d.items[6].text, "internet:443"); /* The default is not told. */
    SAME(d.items[7].text, "internet:443/udp");
}
END_TEST

/* Each fault names the entry and what is wrong with it. */
START_TEST(faults)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"db, Led_ger", "\"Led_ger\": name \"Led_ger\" must be"},
        {"a/b/c", "\"a/b/c\": name \"b/c\" must be"},
        {"/b", "namespace \"\" must be"},
        {"a/", "name \"\" must be"},
        {"db:", "port \"\" must be"},
        {"db:0", "port \"0\" must be a number from 1 to 65535"},
        {"db:65536", "port \"65536\""},
        {"db:080", "port \"080\""},
        {"db:80/tcp", "write it without \"/tcp\""},
        {"pay/db:80/tcp", "write it without \"/tcp\""},
        {"db:Web", "or the name of a port"},
        {"10.0.0.1", "must be a range of addresses such as"},
        {"10.0.0.1:80", "must be a range of addresses such as"},
        {"db.shop", "a Service is named without dots"},
        {"::1", "must be a range"},
        {"10.0.0.0/33", "must be a range"},
        {"10.0.0.0/", "must be a range"},
        {"10.0.0.1/8", "write 10.0.0.0/8 for the range, or the address with /32"},
        {"fd00::1/64", "write fd00::/64 for the range, or the address with /128"},
        {"10.0.0.0/8:http", "port \"http\" must be a number"},
        {"10.0.0.0/8:80/icmp", "protocol \"icmp\" must be tcp, udp or sctp"},
        {"internet:https", "port \"https\" must be a number"},
        {"internet:443/", "protocol \"\" must be"},
        {"db db", "\"db\" stands there twice"},
        {"internet:1/tcp internet:1", "stands there twice"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_ARENA *a = arena_new(0);
        struct dependencies d;
        struct error err = {0};
        ck_assert_msg(depends_parse(a, str_of(cases[i].text), &d, &err) != 0, "%s", cases[i].text);
        ck_assert_msg(strstr(err.message, cases[i].error) != NULL, "%s: %s", cases[i].text,
                      err.message);
    }
    AUTO_ARENA *a = arena_new(0);
    struct dependencies d;
    struct error err = {0};
    ck_assert(depends_parse(a, STR("::\0/128"), &d, &err) != 0); /* A NUL inside ends nothing. */
}
END_TEST

/* More entries than a chain should have are refused. */
START_TEST(bounds)
{
    AUTO_ARENA *a = arena_new(0);
    char text[DEPENDS_MAX * 8 + 16] = "";
    struct dependencies d;
    struct error err = {0};
    for (unsigned i = 0; i <= DEPENDS_MAX; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "s%u ", i);
    ck_assert(depends_parse(a, str_of(text), &d, &err) != 0);
    ck_assert(strstr(err.message, "at most 128 entries") != NULL);
    ck_assert_uint_eq(d.count, DEPENDS_MAX);
}
END_TEST

/* Both annotations; what cannot be read opens nothing and waits for nothing that is not declared.
 */
START_TEST(annotations)
{
    AUTO_ARENA *a = arena_new(0);
    struct api_str_entry e[] = {{STR(DEPENDS_ON), STR("db, ?, cache")},
                                {STR(DEPENDS_WAIT), STR("true")}};
    struct meta_v1_object_meta m = {.annotations = e, .annotations_count = 2};
    struct dependencies d;
    struct error err = {0};
    ck_assert(depends_of(a, &m, &d, &err) != 0);
    ck_assert(strstr(err.message, "annotation " DEPENDS_ON ": \"?\"") != NULL);
    ck_assert(d.declared && d.wait && d.count == 1);
    e[0].value = STR("db");
    ck_assert(depends_of(a, &m, &d, &err) == 0 && d.wait);
    e[1].value = STR("false");
    ck_assert(depends_of(a, &m, &d, &err) == 0 && !d.wait);
    m.annotations_count = 0;
    ck_assert(depends_of(a, &m, &d, &err) == 0 && !d.declared);
    m.annotations = &e[1];
    m.annotations_count = 1;
    e[1].value = STR("yes");
    ck_assert(depends_of(a, &m, &d, &err) != 0 && !d.wait);
}
END_TEST

UNIT_MAIN("dependencies", {
    UNIT_TEST(lists);
    UNIT_TEST(services);
    UNIT_TEST(outside);
    UNIT_TEST(faults);
    UNIT_TEST(bounds);
    UNIT_TEST(annotations);
})
