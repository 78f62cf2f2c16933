/* test_yaml.c - YAML both ways: the scalars of YAML 1.1, documents, limits, and
 * the layout that kubectl prints. */
#include "test/unit/unit.h"

#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

static struct str as_json(struct arena *a, const char *yaml)
{
    struct json *j;
    struct error err = {0};
    size_t consumed;
    AUTO_BUF out = BUF_INIT;
    ck_assert_msg(api_yaml_parse(a, str_of(yaml), &consumed, &j, &err) == 0, "%s: %s", yaml,
                  err.message);
    json_write(j, false, &out);
    return arena_str(a, buf_str(&out));
}

/* Plain scalars mean what go-yaml v2 takes them for. */
START_TEST(test_scalars)
{
    static const struct {
        const char *yaml, *json;
    } cases[] = {
        {"yes", "true"},
        {"Off", "false"},
        {"y", "true"},
        {"yeS", "\"yeS\""},
        {"~", "null"},
        {"null", "null"},
        {"", "null"},
        {"# comment", "null"},
        {"017", "15"},
        {"0o17", "15"},
        {"0x1F", "31"},
        {"0b101", "5"},
        {"1_000", "1000"},
        {"-12", "-12"},
        {"+12", "12"},
        {"08", "8"},
        {"1e3", "1000"},
        {"1.50", "1.5"},
        {".5", "0.5"},
        {"1.", "1"},
        {"1e30", "1e+30"},
        {"1.2.3", "\"1.2.3\""},
        {"1:30", "\"1:30\""},
        {"2024-01-01", "\"2024-01-01\""},
        {"9223372036854775808", "9223372036854776000"},
        {"1e400", "\"1e400\""},
        {"'yes'", "\"yes\""},
        {"\"1\"", "\"1\""},
        {"!!str 1", "\"1\""},
        {"!!int \"3\"", "3"},
        {"!!float 3", "3"},
        {"!foo bar", "\"bar\""},
        {"!!binary aGk=", "\"hi\""},
        {"- a\n- [1, {b: c}]", "[\"a\",[1,{\"b\":\"c\"}]]"},
        {"1: a\ntrue: b\n1.5: c", "{\"1\":\"a\",\"true\":\"b\",\"1.5\":\"c\"}"},
        {"a: |\n  x\n  y\nb: >-\n  x\n  y", "{\"a\":\"x\\ny\\n\",\"b\":\"x y\"}"},
        {"a: &x {k: v}\nb: *x", "{\"a\":{\"k\":\"v\"},\"b\":{\"k\":\"v\"}}"},
        {"a: &x {k: v, l: w}\nb: {<<: *x, l: z}",
         "{\"a\":{\"k\":\"v\",\"l\":\"w\"},\"b\":{\"k\":\"v\",\"l\":\"z\"}}"},
        {"a: 1\na: 2", "{\"a\":2}"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_ARENA *a = arena_new(0);
        struct str got = as_json(a, cases[i].yaml[0] == '\0' ? "\n" : cases[i].yaml);
        ck_assert_msg(str_eqc(got, cases[i].json), "%s: got " STR_FMT, cases[i].yaml, STR_ARG(got));
    }
}
END_TEST

/* Errors with go-yaml's texts and line numbers. */
START_TEST(test_errors)
{
    static const struct {
        const char *yaml, *message;
    } cases[] = {
        {"a: b\n c: d\n", "yaml: line 2: mapping values are not allowed in this context"},
        {"a: [1, 2\nb: c", "yaml: line 1: did not find expected ',' or ']'"},
        {"a: *x", "yaml: unknown anchor 'x' referenced"},
        {"a: &x [*x]", "yaml: anchor 'x' value contains itself"},
        {"a: .nan", "json: unsupported value: .nan"},
        {"a:\n\t- b", "yaml: line 2: found character that cannot start any token"},
        {"apiVersion: v1\nmetadata:\n  name: d\ndata:\n  a: b\n  a: c\n  b: 1\n  b: 2\n",
         "yaml: unmarshal errors:\n  line 6: key \"a\" already set in map\n  line 8: key \"b\" "
         "already set in map"},
        {"--- x", "invalid Yaml document separator: x"},
        {"{[a]: b}",
         "error converting YAML to JSON: unsupported map key of type: []interface {}, key: [a]"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_ARENA *a = arena_new(0);
        struct json *j;
        struct error err = {0};
        size_t consumed;
        ck_assert_msg(api_yaml_parse_strict(a, str_of(cases[i].yaml), &consumed, &j, &err) ==
                          E_INVALID,
                      "%s", cases[i].yaml);
        ck_assert_str_eq(err.message, cases[i].message);
    }
}
END_TEST

/* Aliases that multiply, endless nesting: refused in bounded memory. */
START_TEST(test_limits)
{
    AUTO_BUF text = BUF_INIT;
    AUTO_ARENA *a = arena_new(0);
    struct json *j;
    struct error err = {0};
    size_t consumed;
    buf_puts(&text, "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for (int i = 1; i < 20; i++) {
        buf_printf(&text, "a%d: &a%d [", i, i);
        for (int k = 0; k < 10; k++)
            buf_printf(&text, "%s*a%d", k > 0 ? ", " : "", i - 1);
        buf_puts(&text, "]\n");
    }
    ck_assert_int_eq(api_yaml_parse(a, buf_str(&text), &consumed, &j, &err), E_INVALID);
    ck_assert_str_eq(err.message, "yaml: document contains excessive aliasing");
    ck_assert_uint_lt(arena_bytes(a), 100u * 1024 * 1024);
    buf_clear(&text);
    for (int i = 0; i < 20000; i++)
        buf_putc(&text, '[');
    ck_assert_int_eq(api_yaml_parse(a, buf_str(&text), &consumed, &j, &err), E_INVALID);
}
END_TEST

/* Documents one after another. */
START_TEST(test_documents)
{
    AUTO_ARENA *a = arena_new(0);
    struct str rest = STR("---\n---\na: 1\n--- # next\nb: 2\n---\n# only words\n---\n");
    static const char *const want[] = {"{\"a\":1}", "{\"b\":2}", "null"};
    struct json *j;
    size_t consumed, n = 0;
    int r;
    while ((r = api_yaml_parse(a, rest, &consumed, &j, NULL)) == 0) {
        AUTO_BUF out = BUF_INIT;
        json_write(j, false, &out);
        ck_assert_uint_lt(n, ARRAY_SIZE(want));
        ck_assert(str_eqc(buf_str(&out), want[n]));
        n++;
        rest = str_sub(rest, consumed, rest.len);
    }
    ck_assert_int_eq(r, E_EOF);
    ck_assert_uint_eq(n, 3);
}
END_TEST

/* JSON as kubectl -o yaml prints it. */
START_TEST(test_write)
{
    static const struct {
        const char *json, *yaml;
    } cases[] = {
        {"{}", "{}\n"},
        {"[]", "[]\n"},
        {"\"x\"", "x\n"},
        {"{\"a\":{},\"b\":[],\"c\":null,\"d\":true}", "a: {}\nb: []\nc: null\nd: true\n"},
        {"{\"a\":[1,[2,3],{\"b\":4,\"c\":[5]}]}", "a:\n- 1\n- - 2\n  - 3\n- b: 4\n  c:\n  - 5\n"},
        {"{\"k10\":1,\"k9\":2,\"K\":3,\"k\":4,\"1\":5,\"a.b\":6,\"a-b\":7}",
         "\"1\": 5\nK: 3\na-b: 7\na.b: 6\nk: 4\nk9: 2\nk10: 1\n"},
        {"[\"\",\"yes\",\"1\",\"1.5\",\"null\",\"~\",\"1:30\",\"2024-01-01\",\"2024-01-01T00:00:"
         "00Z\",\"a: b\"]",
         "- \"\"\n- \"yes\"\n- \"1\"\n- \"1.5\"\n- \"null\"\n- \"~\"\n- \"1:30\"\n- "
         "\"2024-01-01\"\n"
         "- \"2024-01-01T00:00:00Z\"\n- 'a: b'\n"},
        {"[\"- a\",\"#x\",\"a #b\",\"it's\",\"'q'\",\" lead\",\"trail "
         "\",\"*x\",\"a:b\",\"{x}\",\"@x\",\"-x\"]",
         "- '- a'\n- '#x'\n- 'a #b'\n- it's\n- '''q'''\n- ' lead'\n- 'trail '\n- '*x'\n- a:b\n- "
         "'{x}'\n- '@x'\n- -x\n"},
        {"[\"a\\nb\",\"a\\nb\\n\",\"a\\n\\n\",\"\\n\",\" a\\nb\",\"a \\nb\",\"a\\tb\"]",
         "- |-\n  a\n  b\n- |\n  a\n  b\n- |+\n  a\n\n- |2+\n\n- |2-\n   a\n  b\n- \"a \\nb\"\n- "
         "\"a\\tb\"\n"},
        {"{\"a\\nb\":1}", "? |-\n  a\n  b\n: 1\n"},
        {"[\"\303\251\",\"\360\237\230\200\",\"\\u0001\"]",
         "- \303\251\n- \"\\U0001F600\"\n- \"\\x01\"\n"},
        {"[1e6,1.5,1e21,123456789.5]", "- 1000000\n- 1.5\n- 1e+21\n- 1.234567895e+08\n"},
        {"[18446744073709551615,9223372036854775808,-1e19,0.00001]",
         "- 1.8446744073709552e+19\n- 9223372036854776000\n- -1e+19\n- 1e-05\n"},
        {"{\"message\":\"0/1 nodes are available: 1 node(s) had untolerated taint "
         "{node-role.kubernetes.io/control-plane: }. preemption: none\"}",
         "message: '0/1 nodes are available: 1 node(s) had untolerated taint "
         "{node-role.kubernetes.io/control-plane:\n  }. preemption: none'\n"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_ARENA *a = arena_new(0);
        AUTO_BUF out = BUF_INIT;
        struct json *j, *again;
        struct error err = {0};
        size_t consumed;
        ck_assert_int_eq(json_parse(a, str_of(cases[i].json), &j, NULL), 0);
        api_yaml_write(j, &out);
        buf_putc(&out, '\0');
        ck_assert_str_eq((char *)out.data, cases[i].yaml);
        /* What is written reads back as the same document. */
        buf_truncate(&out, out.len - 1);
        ck_assert_msg(api_yaml_parse(a, buf_str(&out), &consumed, &again, &err) == 0, "%s",
                      err.message);
        ck_assert_msg(json_equal(j, again), "%s", cases[i].yaml);
    }
}
END_TEST

UNIT_MAIN("yaml", {
    UNIT_TEST(test_scalars);
    UNIT_TEST(test_errors);
    UNIT_TEST(test_limits);
    UNIT_TEST(test_documents);
    UNIT_TEST(test_write);
})
