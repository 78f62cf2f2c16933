/* test_etcd_json.c - small JSON documents. */
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "raftstore/etcd/json.h"
#include "test/unit/unit.h"

static int read_text(struct arena *a, const char *text, struct json_value *v)
{
    return json_read(a, str_of(text), v, NULL);
}

/* Every kind of value, nested. */
START_TEST(values)
{
    AUTO_ARENA *a = arena_new(0);
    struct json_value v;
    ck_assert_int_eq(
        read_text(a, " {\"a\": [1, -2.5e3, true, null, \"x\"], \"b\":{}, \"a\":7} ", &v), 0);
    ck_assert(v.type == JSON_OBJECT && v.count == 3);
    const struct json_value *list = &v.items[0];
    ck_assert(list->type == JSON_ARRAY && list->count == 5);
    ck_assert(str_eqc(list->items[1].text, "-2.5e3") && list->items[2].boolean);
    ck_assert(list->items[3].type == JSON_NULL && str_eqc(list->items[4].text, "x"));
    ck_assert(str_eqc(json_member(&v, "a")->text, "7"));
    ck_assert_ptr_null(json_member(&v, "c"));
    ck_assert_ptr_null(json_member(list, "a"));
}
END_TEST

/* Escapes, surrogate pairs, and lone ones as Go reads them. */
START_TEST(strings)
{
    AUTO_ARENA *a = arena_new(0);
    struct json_value v;
    ck_assert_int_eq(read_text(a, "\"a\\n\\u00e9\\ud83d\\ude00\\ud800x\\\"\\/\"", &v), 0);
    ck_assert(str_eqc(v.text, "a\n\xc3\xa9\xf0\x9f\x98\x80\xef\xbf\xbdx\"/"));
    AUTO_BUF out = BUF_INIT;
    json_put_string(&out, str_n("a\"\\\n\xc3\xa9\xff", 7));
    ck_assert(str_eqc(buf_str(&out), "\"a\\\"\\\\\\u000a\xc3\xa9\xef\xbf\xbd\""));
}
END_TEST

/* What is not JSON. */
START_TEST(malformed)
{
    static const char *const bad[] = {
        "",   "{",      "[1,]", "{\"a\"}",  "{a:1}", "01",     "1.",      "-",
        "\"", "\"\\\"", "tru",  "1 2",      "[1 2]", "\"\n\"", "\"\\x\"", "\"\\u12\"",
        "1e", "{,}",    "nul",  "\"\xff\"", "+1",    ".5",
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        AUTO_ARENA *a = arena_new(0);
        struct json_value v;
        ck_assert_msg(read_text(a, bad[i], &v) == E_INVALID, "%s", bad[i]);
    }
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF deep = BUF_INIT;
    struct json_value v;
    for (int i = 0; i < 100000; i++)
        buf_putc(&deep, '[');
    ck_assert_int_eq(json_read(a, buf_str(&deep), &v, NULL), E_INVALID);
}
END_TEST

/* Whole numbers in all their forms. */
START_TEST(numbers)
{
    int64_t n;
    ck_assert(json_to_i64(STR("-9223372036854775808"), &n) && n == INT64_MIN);
    ck_assert(json_to_i64(STR("9223372036854775807"), &n) && n == INT64_MAX);
    ck_assert(json_to_i64(STR("5.0"), &n) && n == 5);
    ck_assert(json_to_i64(STR("1e3"), &n) && n == 1000);
    ck_assert(!json_to_i64(STR("1.5"), &n) && !json_to_i64(STR("9223372036854775808"), &n));
    ck_assert(!json_to_i64(STR("x"), &n) && !json_to_i64(STR(""), &n));
}
END_TEST

UNIT_MAIN("etcd JSON", {
    UNIT_TEST(values);
    UNIT_TEST(strings);
    UNIT_TEST(malformed);
    UNIT_TEST(numbers);
})
