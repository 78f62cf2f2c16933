/* test_cel_cost.c - what expressions may cost at most. The numbers are those that
 * Kubernetes finds, to the last unit: definitions are refused by them. */
#include "lib/api/cel/cel.h"

#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "test/unit/unit.h"

#include <inttypes.h>

/* schema: @ stands for the limit that is given the second time. */
static uint64_t cost_of(const char *schema, const char *name, int64_t limit, const char *rule)
{
    AUTO_ARENA *a = arena_new(0);
    struct json *j;
    struct error err = {0};
    struct cel_program *p;
    struct str why, text = STR("");
    for (const char *at = schema; *at != '\0'; at++) {
        if (*at != '@')
            text = arena_printf(a, STR_FMT "%c", STR_ARG(text), *at);
        else if (limit >= 0)
            text = arena_printf(a, STR_FMT ",\"%s\":%" PRId64, STR_ARG(text), name, limit);
    }
    ck_assert_msg(json_parse(a, text, &j, &err) == 0, STR_FMT, STR_ARG(text));
    const struct cel_type *t = cel_schema_sized_type(a, j, false);
    const struct cel_var vars[] = {{"self", t}, {"oldSelf", t}};
    const struct cel_env env = {.vars = vars, .var_count = 2};
    ck_assert_msg(cel_compile(a, &env, str_of(rule), &p, &why) == 0, STR_FMT, STR_ARG(why));
    return cel_program_cost(p, t);
}

static void expect(const char *schema, const char *name, const char *rule, uint64_t unlimited,
                   int64_t limit, uint64_t limited)
{
    uint64_t x = cost_of(schema, name, -1, rule), y = cost_of(schema, name, limit, rule);
    ck_assert_msg(x == unlimited, "%s: %" PRIu64 ", not %" PRIu64, rule, x, unlimited);
    ck_assert_msg(y == limited, "%s, limited: %" PRIu64 ", not %" PRIu64, rule, y, limited);
}

#define TYPE(t) "{\"type\":\"" t "\"}"
#define FORM(f) "{\"type\":\"string\",\"format\":\"" f "\"}"
#define EITHER "{\"x-kubernetes-int-or-string\":true}"
#define LIST(items) "{\"type\":\"array\"@,\"items\":" items "}"
#define MAP(values) "{\"type\":\"object\"@,\"additionalProperties\":" values "}"
#define TEXT "{\"type\":\"string\"@}"

static void list(const char *items, const char *rule, uint64_t unlimited, int64_t limit,
                 uint64_t limited)
{
    char schema[512];
    snprintf(schema, sizeof(schema), LIST("%s"), items);
    expect(schema, "maxItems", rule, unlimited, limit, limited);
}

static void map(const char *values, const char *rule, uint64_t unlimited, int64_t limit,
                uint64_t limited)
{
    char schema[512];
    snprintf(schema, sizeof(schema), MAP("%s"), values);
    expect(schema, "maxProperties", rule, unlimited, limit, limited);
}

static void text(const char *rule, uint64_t unlimited, int64_t limit, uint64_t limited)
{
    expect(TEXT, "maxLength", rule, unlimited, limit, limited);
}

/* A list is as long as one request allows, given its shortest items. */
START_TEST(lists)
{
    list(TYPE("number"), "self.all(x, true)", 4718591, 10, 32);
    list(TYPE("string"), "self.all(x, true)", 3145727, 20, 62);
    list(TYPE("boolean"), "self.all(x, true)", 1887437, 5, 17);
    list("{\"type\":\"array\",\"items\":" TYPE("number") "}", "self.all(x, true)", 3145727, 100,
         302);
    list(EITHER, "self.all(x, true)", 4718591, 10, 32);
    list(FORM("duration"), "self.all(x, true)", 2359295, 5, 17);
    list(FORM("date"), "self.all(x, true)", 725936, 15, 47);
    list(FORM("date-time"), "self.all(x, true)", 428963, 25, 77);
    list(TYPE("number"), "self.all(x, x == 0.0)", 6291454, 3 * 1024 * 2048, 25165826);
    list(TYPE("number"), "self.all(x, self.all(y, true))", 7421701914624, 10, 352);
    list(TYPE("number"), "self.all(x, self.all(y, self.all(z, true)))", 11673320338545967103u, 10,
         3552);
    list("{\"type\":\"object\",\"required\":[\"required\"],\"properties\":{\"required\":" TYPE(
             "string") ",\"optional\":" TYPE("string") "}}",
         "self.all(x, true)", 555128, 50, 152);
    list("{\"type\":\"object\",\"additionalProperties\":" TYPE("number") "}",
         "self.all(x, x.y == 25.2)", 6291452, 12, 74);
}
END_TEST

START_TEST(items)
{
    list(TYPE("number"), "self[1] == 0.0", 2, 5000, 2);
    list(TYPE("string"), "self[1] == self[1]", 314577, 8, 314577);
    list(EITHER, "self[0] == 5", 3, 10, 3);
    list(TYPE("boolean"), "self[0] == false", 2, 25, 2);
    list("{\"type\":\"object\",\"properties\":{}}", "self[0] == null", 2, 422, 2);
    list("{\"type\":\"array\",\"items\":" TYPE("number") "}", "self[0][0] == -1.0", 3, 51, 3);
    list("{\"type\":\"object\",\"additionalProperties\":" TYPE("number") "}", "self[0].x > 2.0", 4,
         3000, 4);
    list(FORM("duration"), "self[0].getHours() == 2", 4, 525, 4);
    list(FORM("date"), "self[2].getDayOfMonth() == 13", 4, 42, 4);
    list(TYPE("number"), "self[3] == 0.0", 2, 0, 2);
}
END_TEST

START_TEST(maps)
{
    map(TYPE("number"), "self.all(x, true)", 1348169, 10, 32);
    map(TYPE("number"), "has(self.x)", 1, 100, 1);
    map(TYPE("string"), "self.all(x, true)", 1179647, 3, 11);
    map(TYPE("boolean"), "self.all(x, true)", 943718, 100, 302);
    map(EITHER, "self.all(x, true)", 1348169, 15, 47);
    map(FORM("duration"), "self.all(x, true)", 1048577, 5, 17);
    map(FORM("date"), "self.all(x, true)", 524288, 10, 32);
    map(FORM("date-time"), "self.all(x, true)", 349526, 25, 77);
    map("{\"type\":\"object\",\"additionalProperties\":" TYPE("number") "}", "self.all(x, true)",
        1179647, 10, 32);
    map("{\"type\":\"array\",\"items\":" TYPE("number") "}", "self.all(x, true)", 1179647, 25, 77);
    expect(LIST(MAP("{\"type\":\"object\",\"required\":[\"r\"],\"properties\":{\"r\":" TYPE(
               "string") "}}")),
           "maxItems", "self.all(x, x[\"y\"].r == \"z\")", 7340027, 10, 72);
    map(TYPE("string"), "self.all(x, x.contains(self[x]))", 2752507, 10, 72);
    map("{\"type\":\"string\",\"maxLength\":10}", "self.all(x, x.contains(self[x]))", 2752507, 10,
        72);
    map(TYPE("number"), "self[\"x\"] == 0.0", 2, 0, 2);
    map(TYPE("integer"), "oldSelf.size() == self.size()", 5, 10, 5);
    map(FORM("date-time"), "self[\"a\"] == self[\"b\"]", 8, 7, 8);
    map(FORM("duration"), "self[\"c\"] == self[\"d\"]", 8, 42, 8);
}
END_TEST

START_TEST(texts)
{
    text("self.contains('test')", 314574, 10, 5);
    text("self.startsWith('test')", 2, 15, 2);
    text("self.endsWith('test')", 2, 30, 2);
    text("size(self + \"hello\") > size(\"hello\")", 314578, 4, 7);
    text("self.matches(\"x\")", 314574, 50, 22);
    text("\"\".matches(\"(((((((((())))))))))[0-9]\")", 7, 10, 7);
    text("self.matches(\"\")", 1, 100, 1);
    text("self == \"x\"", 2, 0, 1);
    text("self.find('[0-9]+') == ''", 629147, 10, 11);
    text("self.lowerAscii() == 'lower!'", 314575, 10, 6);
    expect("{\"type\":\"string\",\"format\":\"byte\"@}", "maxLength", "self == b\"x\"", 2, 0, 1);
    expect("{\"type\":\"string\",\"enum\":[\"A\",\"B\",\"C\",\"LongValue\"]@}", "maxLength",
           "self.contains('A')", 2, 1000, 401);
    expect("{\"x-kubernetes-int-or-string\":true@}", "maxLength", "isQuantity(self)", 314574, 20,
           9);
}
END_TEST

/* What functions give has a size as well. */
START_TEST(results)
{
    expect("{\"type\":\"array\",\"items\":{\"type\":\"string\"}}", "", "self.join(' ') == 'aa bb'",
           329853068905, -1, 329853068905);
    expect("{\"type\":\"array\",\"maxItems\":10,\"items\":{\"type\":\"string\",\"maxLength\":10}}",
           "", "self.join(' ') == 'aa bb'", 43, -1, 43);
    expect("{\"type\":\"array\",\"items\":{\"type\":\"string\"}}", "", "self.isSorted() == true",
           329854432052, -1, 329854432052);
    expect("{\"type\":\"array\",\"maxItems\":10,\"items\":{\"type\":\"string\",\"maxLength\":10}}",
           "", "self.isSorted() == true", 52, -1, 52);
    expect("{\"type\":\"object\",\"properties\":{\"str\":" TEXT
           ",\"before\":{\"type\":\"string\",\"maxLength\":2},\"after\":{\"type\":\"string\","
           "\"maxLength\":4}}}",
           "maxLength", "self.str.replace(self.before, self.after) == 'does not matter'", 629154, 4,
           12);
    expect("{\"type\":\"object\",\"properties\":{\"str\":" TEXT ",\"separator\":" TEXT "}}",
           "maxLength", "self.str.split(self.separator) == []", 629160, 10, 22);
}
END_TEST

UNIT_MAIN("cel_cost", {
    UNIT_TEST(lists);
    UNIT_TEST(items);
    UNIT_TEST(maps);
    UNIT_TEST(texts);
    UNIT_TEST(results);
})
