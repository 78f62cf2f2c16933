/* test_cel.c - the expression language: values, errors, types, cost. */
#include "test/unit/unit.h"

#include "lib/api/cel/cel.h"
#include "lib/api/cel/cel_zone.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

static const char document[] =
    "{\"name\":\"web\",\"replicas\":3,\"ratio\":0.5,\"on\":true,\"none\":null,"
    "\"tags\":[\"a\",\"b\",\"c\"],\"ports\":[{\"name\":\"http\",\"port\":80},{\"name\":\"tls\","
    "\"port\":443}],\"labels\":{\"app\":\"web\",\"a.b/c\":\"x\"},\"spec\":{\"size\":1}}";
static const char schema[] =
    "{\"type\":\"object\",\"properties\":{\"size\":{\"type\":\"integer\"},\"name\":{\"type\":"
    "\"string\"},\"rate\":{\"type\":\"number\"},\"when\":{\"type\":\"string\",\"format\":"
    "\"date-time\"},\"wait\":{\"type\":\"string\",\"format\":\"duration\"},\"data\":{\"type\":"
    "\"string\",\"format\":\"byte\"},\"a.b-c\":{\"type\":\"string\"},\"namespace\":{\"type\":"
    "\"string\"},\"x__y\":{\"type\":\"string\"},\"set\":{\"type\":\"array\",\"items\":{\"type\":"
    "\"string\"},\"x-kubernetes-list-type\":\"set\"},\"byKey\":{\"type\":\"array\",\"items\":{"
    "\"type\":\"object\",\"properties\":{\"k\":{\"type\":\"string\"},\"v\":{\"type\":\"integer\"}}}"
    ","
    "\"x-kubernetes-list-type\":\"map\",\"x-kubernetes-list-map-keys\":[\"k\"]},\"any\":{"
    "\"x-kubernetes-preserve-unknown-fields\":true},\"ios\":{\"x-kubernetes-int-or-string\":true},"
    "\"map\":{\"type\":\"object\",\"additionalProperties\":{\"type\":\"integer\"}},\"lost\":{}}}";
static const char typed[] =
    "{\"size\":2,\"name\":\"n\",\"rate\":2,\"when\":\"2024-02-29T12:30:45.5Z\",\"wait\":\"1h30m\","
    "\"data\":\"aGk=\",\"a.b-c\":\"dots\",\"namespace\":\"ns\",\"x__y\":\"u\",\"set\":[\"b\",\"a\"]"
    ","
    "\"byKey\":[{\"k\":\"x\",\"v\":1},{\"k\":\"y\",\"v\":2}],\"any\":{\"q\":[1]},\"ios\":\"80%\","
    "\"map\":{\"one\":1,\"two\":2},\"apiVersion\":\"v1\",\"kind\":\"K\",\"metadata\":{\"name\":"
    "\"m\"}}";

struct fixture {
    struct arena *arena;
    struct cel_var vars[4];
    struct cel_value values[4];
    struct cel_env env;
};

static const struct cel_type *find_type(const struct cel_env *env, struct str name)
{
    UNUSED(env);
    return str_eqc(name, "Object") || str_eqc(name, "Object.spec") ? &cel_dyn : NULL;
}

static void setup(struct fixture *f)
{
    struct json *doc, *schema_tree, *object;
    f->arena = arena_new(0);
    ck_assert_int_eq(json_parse(f->arena, str_of(document), &doc, NULL), 0);
    ck_assert_int_eq(json_parse(f->arena, str_of(schema), &schema_tree, NULL), 0);
    ck_assert_int_eq(json_parse(f->arena, str_of(typed), &object, NULL), 0);
    const struct cel_type *t = cel_schema_type(f->arena, schema_tree, true);
    f->vars[0] = (struct cel_var){"doc", NULL};
    f->vars[1] = (struct cel_var){"self", t};
    f->vars[2] = (struct cel_var){"absent", NULL};
    f->vars[3] = (struct cel_var){"count", &cel_int};
    f->values[0] = cel_of_json(doc, NULL);
    f->values[1] = cel_of_json(object, t);
    f->values[2] = (struct cel_value){.kind = CEL_DYN};
    f->values[3] = cel_of_int(7);
    f->env = (struct cel_env){.vars = f->vars, .var_count = 4, .find_type = find_type};
}

/* The value as JSON, or the error. */
static struct str run(struct fixture *f, const char *text)
{
    struct cel_program *p;
    struct str why;
    int64_t cost = CEL_COST_BUDGET;
    if (cel_compile(f->arena, &f->env, str_of(text), &p, &why) != 0)
        return why;
    struct cel_value v = cel_eval(p, f->arena, f->values, &cost);
    if (v.kind == CEL_ERROR)
        return arena_printf(f->arena, "error: " STR_FMT, STR_ARG(v.string));
    struct json *j = cel_to_json(f->arena, &v);
    AUTO_BUF b = BUF_INIT;
    if (j == NULL)
        return STR("(none)");
    json_write(j, false, &b);
    return arena_str(f->arena, buf_str(&b));
}

struct expectation {
    const char *text, *want;
};

static void check_all(const struct expectation *e, size_t count)
{
    struct fixture f;
    setup(&f);
    for (size_t i = 0; i < count; i++) {
        struct str got = run(&f, e[i].text);
        ck_assert_msg(str_eqc(got, e[i].want), "%s\n  gives " STR_FMT "\n  not   %s", e[i].text,
                      STR_ARG(got), e[i].want);
    }
    arena_free(f.arena);
}
#define CHECK_ALL(table) check_all(table, ARRAY_SIZE(table))

/* What holds is true: the shortest way to state most behaviours. */
static void check_true(const char *const *texts, size_t count)
{
    struct fixture f;
    setup(&f);
    for (size_t i = 0; i < count; i++) {
        struct str got = run(&f, texts[i]);
        ck_assert_msg(str_eqc(got, "true"), "%s\n  gives " STR_FMT, texts[i], STR_ARG(got));
    }
    arena_free(f.arena);
}
#define CHECK_TRUE(table) check_true(table, ARRAY_SIZE(table))

/* Literals of all kinds, escapes, comments. */
START_TEST(test_literals)
{
    static const struct expectation cases[] = {
        {"1", "1"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"0x1F", "31"},
        {"-0xf", "-15"},
        {"12u", "12"},
        {"18446744073709551615u == 18446744073709551615u", "true"},
        {"1.5e3", "1500"},
        {".5", "0.5"},
        {"'a\\n\\x41\\u00e9\\101'", "\"a\\nA\303\251A\""},
        {"r'a\\n'", "\"a\\\\n\""},
        {"\"\"\"two\nlines\"\"\"", "\"two\\nlines\""},
        {"'''it's'''", "\"it's\""},
        {"b'\\xff\\000'", "\"/wA=\""},
        {"[1, 'a', [true], {'k': null},]", "[1,\"a\",[true],{\"k\":null}]"},
        {"{1: 'a', true: 'b', 'c': 3u}", "{\"1\":\"a\",\"true\":\"b\",\"c\":3}"},
        {"1 // what follows is not read\n + 2", "3"},
        {"{}", "{}"},
        {"[]", "[]"},
    };
    CHECK_ALL(cases);
}
END_TEST

/* Numbers overflow with errors; kinds do not mix in arithmetic. */
START_TEST(test_arithmetic)
{
    static const struct expectation cases[] = {
        {"1 + 2 * 3 - 4 / 2 % 2", "7"},
        {"-7 / 2", "-3"},
        {"-7 % 3", "-1"},
        {"9223372036854775807 + 1", "error: integer overflow"},
        {"-9223372036854775807 - 2", "error: integer overflow"},
        {"9223372036854775807 * 2", "error: integer overflow"},
        {"-(-9223372036854775807 - 1)", "error: integer overflow"},
        {"1u - 2u", "error: unsigned integer overflow"},
        {"1 / 0", "error: division by zero"},
        {"1 % 0", "error: modulus by zero"},
        {"1.0 / 0.0 > 1e300", "true"},
        {"int('12') + int(3.9) + int(2u)", "17"},
        {"int(1e19)", "error: integer overflow"},
        {"uint(-1)", "error: unsigned integer overflow"},
        {"double('1.5') + double(2)", "3.5"},
        {"int('x')", "error: type conversion error from 'string' to 'int'"},
        {"string(1.0) + string(2u) + string(true)", "\"12true\""},
        {"bool('false')", "false"},
        {"--1", "1"},
        {"!!true", "true"},
        {"1 + 1.0",
         "ERROR: <input>:1:3: found no matching overload for '_+_' applied to '(int, double)'\n"
         " | 1 + 1.0\n | ..^"},
    };
    CHECK_ALL(cases);
}
END_TEST

/* Comparisons across numeric kinds; equality never fails. */
START_TEST(test_comparison)
{
    static const char *const cases[] = {
        "1 < 2 && 2 <= 2 && 3 > 2 && 3 >= 3 && 1 != 2",
        "1 < 1.5 && 2u > 1 && 1.5 < 2u && -1 < 0u",
        "dyn(1) == 1.0 && dyn(1u) == 1",
        "'a' < 'b' && b'a' < b'b' && false < true",
        "[1, 2] == [1, 2] && [1] != [2] && {'a': 1} == {'a': 1} && {'a': 1} != {'a': 2}",
        "dyn('1') != 1 && null == null && dyn(1) != null",
        "type(1) == int && type('') == string && type([]) == list && type({}) == map",
        "type(null) == null_type && type(type(1)) == type && type(1) != uint",
        "1 in [1, 2] && !(3 in [1, 2]) && 'a' in {'a': 1} && !('b' in {'a': 1})",
        "!(double('NaN') == double('NaN')) && double('NaN') != 1.0",
        "9223372036854775807 < 9223372036854775808.0",
    };
    CHECK_TRUE(cases);
}
END_TEST

/* && and || give what either side decides, even beside an error. */
START_TEST(test_logic)
{
    static const struct expectation cases[] = {
        {"1 / 0 == 1 || true", "true"},
        {"1 / 0 == 1 && false", "false"},
        {"false && 1 / 0 == 1", "false"},
        {"1 / 0 == 1 || false", "error: division by zero"},
        {"1 / 0 == 1 && true", "error: division by zero"},
        {"true ? 1 : 1 / 0", "1"},
        {"1 / 0 == 1 ? 1 : 2", "error: division by zero"},
        {"false ? 1 : true ? 2 : 3", "2"},
        {"doc.name && true", "error: no such overload"},
        {"doc.tags.all(t, t == 'a' || 1 / 0 == 1)", "error: division by zero"},
        {"doc.tags.all(t, t != 'b' && (t == 'a' || 1 / 0 == 1))", "false"},
        {"doc.tags.exists(t, t == 'c' || 1 / 0 == 1)", "true"},
        {"1 && true",
         "ERROR: <input>:1:3: found no matching overload for '_&&_' applied to '(int, bool)'\n"
         " | 1 && true\n | ..^"},
    };
    CHECK_ALL(cases);
}
END_TEST

/* Selection in untyped JSON. */
START_TEST(test_selection)
{
    static const struct expectation cases[] = {
        {"doc.name", "\"web\""},
        {"doc.ports[1].port + 1", "444"},
        {"doc['labels']['a.b/c']", "\"x\""},
        {"doc.nope", "error: no such key: nope"},
        {"doc.labels['nope']", "error: no such key: nope"},
        {"doc.tags[3]", "error: index out of bounds: 3"},
        {"doc.tags[-1]", "error: index out of bounds: -1"},
        {"has(doc.name) && !has(doc.nope) && has(doc.spec.size) && !has(doc.spec.nope)", "true"},
        {"has(doc.nope.more)", "error: no such key: nope"},
        {"has(doc.none)", "true"},
        {"absent.x", "error: no such attribute(s): absent"},
        {"doc.labels.`a.b/c`", "\"x\""},
        {"doc.replicas.x", "error: no such key: x"},
        {"size(doc.tags) + doc.name.size() + size(doc.labels)", "8"},
        {"doc.ratio", "0.5"},
        {"count * 2", "14"},
        {".count", "7"},
    };
    CHECK_ALL(cases);
}
END_TEST

/* Macros over lists and maps. */
START_TEST(test_macros)
{
    static const struct expectation cases[] = {
        {"[1, 2, 3].all(x, x > 0)", "true"},
        {"[1, 2, 3].exists(x, x > 2)", "true"},
        {"[1, 2, 3].exists_one(x, x > 1)", "false"},
        {"[1, 2, 3].map(x, x * 2)", "[2,4,6]"},
        {"[1, 2, 3].map(x, x > 1, x * 2)", "[4,6]"},
        {"[1, 2, 3].filter(x, x != 2)", "[1,3]"},
        {"{'a': 1, 'b': 2}.map(k, k)", "[\"a\",\"b\"]"},
        {"{'a': 1}.all(k, k == 'a')", "true"},
        {"[1, 2].all(i, v, i + 1 == v)", "true"},
        {"{'a': 1}.exists(k, v, k == 'a' && v == 1)", "true"},
        {"[1, 2].existsOne(i, v, v == 2)", "true"},
        {"[5, 6].transformList(i, v, i * v)", "[0,6]"},
        {"[5, 6].transformList(i, v, i > 0, v)", "[6]"},
        {"{'a': 1, 'b': 2}.transformMap(k, v, v + 1)", "{\"a\":2,\"b\":3}"},
        {"{'a': 1, 'b': 2}.transformMap(k, v, v > 1, v)", "{\"b\":2}"},
        {"{'a': 'x'}.transformMapEntry(k, v, {v: k})", "{\"x\":\"a\"}"},
        {"cel.bind(x, 2, x * x)", "4"},
        {"[[1], [2, 3]].map(l, l.map(x, x + l.size()))", "[[2],[4,5]]"},
        {"[1, 2].map(x, [3].map(x, x))", "[[3],[3]]"},
        {"[3, 1, 2].sortBy(x, -x)", "[3,2,1]"},
        {"doc.ports.filter(p, p.port > 100).map(p, p.name)", "[\"tls\"]"},
        {"[1].all(x + 1, true)",
         "ERROR: <input>:1:11: argument must be a simple name\n | [1].all(x + 1, true)\n"
         " | ..........^"},
        {"count.all(x, true)",
         "ERROR: <input>:1:1: expression of type 'int' cannot be range of a comprehension (must be "
         "list, map, or dynamic)\n | count.all(x, true)\n | ^"},
    };
    CHECK_ALL(cases);
}
END_TEST

/* Optional values. */
START_TEST(test_optionals)
{
    static const struct expectation cases[] = {
        {"doc.?nope.orValue(1)", "1"},
        {"doc.?spec.size.orValue(9)", "1"},
        {"doc.?spec.?nope.hasValue()", "false"},
        {"doc.?spec.size.value()", "1"},
        {"doc.?nope.value()", "error: optional.none() dereference"},
        {"doc.tags[?5].orValue('z') + doc.labels[?'app'].orValue('y')", "\"zweb\""},
        {"[?doc.?name, ?doc.?nope, 'x']", "[\"web\",\"x\"]"},
        {"{?'a': doc.?name, ?'b': doc.?nope}", "{\"a\":\"web\"}"},
        {"optional.of(1).or(optional.of(2)).value() + optional.none().or(optional.of(2)).value()",
         "3"},
        {"optional.ofNonZeroValue('').hasValue()", "false"},
        {"doc.?name.optMap(n, n + '!').orValue('')", "\"web!\""},
        {"doc.?nope.optFlatMap(n, optional.of(n)).hasValue()", "false"},
        {"has(doc.?spec.size)", "true"},
        {"[1, 2].first().value() + [1, 2].last().orValue(0)", "3"},
    };
    CHECK_ALL(cases);
}
END_TEST

/* Strings, their extension and formats. */
START_TEST(test_strings)
{
    static const struct expectation cases[] = {
        {"'h\303\251llo'.size()", "5"},
        {"'hello'.contains('ell') && 'hello'.startsWith('he') && 'hello'.endsWith('lo')", "true"},
        {"'abc'.matches('^a.c$') && matches('xabcx', 'b') && !'abc'.matches('^b')", "true"},
        {"'tacocat'.charAt(3) + 'tacocat'.substring(4) + 'tacocat'.substring(0, 4)",
         "\"ocattaco\""},
        {"'tacocat'.substring(8)", "error: index out of range: 8"},
        {"'tacocat'.indexOf('ac') * 100 + 'tacocat'.lastIndexOf('t') * 10 + 'abc'.indexOf('z')",
         "159"},
        {"'tacocat'.indexOf('a', 2) + 'tacocat'.lastIndexOf('a', 4)", "6"},
        {"'TacoCat'.lowerAscii() + 'TacoCat\303\251'.upperAscii()", "\"tacocatTACOCAT\303\251\""},
        {"'  \\tx y \\n'.trim()", "\"x y\""},
        {"'hello hello'.replace('he', 'we') + 'hello hello'.replace('he', 'we', 1)",
         "\"wello wellowello hello\""},
        {"'abc'.replace('', '-')", "\"-a-b-c-\""},
        {"'a,b,c'.split(',')", "[\"a\",\"b\",\"c\"]"},
        {"'a,b,c'.split(',', 2)", "[\"a\",\"b,c\"]"},
        {"'abc'.split('')", "[\"a\",\"b\",\"c\"]"},
        {"''.split(',')", "[\"\"]"},
        {"['a', 'b'].join() + ['a', 'b'].join('-')", "\"aba-b\""},
        {"'gum\303\251'.reverse()", "\"\303\251mug\""},
        {"strings.quote('a\"b\\n')", "\"\\\"a\\\\\\\"b\\\\n\\\"\""},
        {"'abc 123'.find('[0-9]+') + 'x'.find('[0-9]')", "\"123\""},
        {"'1 22 333'.findAll('[0-9]+')", "[\"1\",\"22\",\"333\"]"},
        {"'1 22 333'.findAll('[0-9]+', 2)", "[\"1\",\"22\"]"},
        {"'%s is %d or %x, %.2f %b %o %X %e'.format(['a', 255, 255, 3.14159, 5, 8, 'hi', 1.5])",
         "\"a is 255 or ff, 3.14 101 10 6869 1.500000e+00\""},
        {"'%s %s %s'.format([[1, 'a'], {'b': 1, 'a': true}, null])",
         "\"[1, a] {a: true, b: 1} null\""},
        {"'%d%%'.format([5])", "\"5%\""},
        {"'%s'.format([])", "error: index 0 out of range"},
        {"base64.encode(b'hello') + string(base64.decode('aGk='))", "\"aGVsbG8=hi\""},
        {"'a'.matches('[')", "ERROR: <input>:1:13: invalid matches argument: error parsing regexp: "
                             "missing terminating ] "
                             "for character class: `[`\n | 'a'.matches('[')\n | ............^"},
    };
    CHECK_ALL(cases);
}
END_TEST

/* Lists, sets and mathematics. */
START_TEST(test_lists_and_math)
{
    static const struct expectation cases[] = {
        {"[1, 2, 3].sum() + [3, 1].min() + [3, 1].max()", "10"},
        {"[1.5, 2.5].sum()", "4"},
        {"[].sum()", "0"},
        {"[duration('1m'), duration('1s')].sum() == duration('61s')", "true"},
        {"[1, 2, 2].isSorted() && !['b', 'a'].isSorted()", "true"},
        {"[1, 2, 1].indexOf(1) + [1, 2, 1].lastIndexOf(1) * 10 + [1].indexOf(5) * 100", "-80"},
        {"[].min()", "error: min called on empty list"},
        {"[1, 2, 3, 4].slice(1, 3) + [[1], [2, [3]]].flatten()", "[2,3,1,2,[3]]"},
        {"[1, [2, [3]]].flatten(2)", "[1,2,3]"},
        {"[1, 2, 1].distinct() + [3, 1, 2].sort() + [1, 2].reverse()", "[1,2,1,2,3,2,1]"},
        {"lists.range(3)", "[0,1,2]"},
        {"sets.contains([1, 2], [2]) && sets.equivalent([1, 2, 1], [2, 1]) && "
         "sets.intersects([1], [1, 2]) && !sets.contains([1], [2])",
         "true"},
        {"math.greatest(1, 5, 3) + math.least([4, 2])", "7"},
        {"math.ceil(1.2) + math.floor(1.8) + math.round(1.5) + double(math.abs(-1)) + "
         "math.sign(-3.0)",
         "5"},
        {"math.bitAnd(6, 3) + math.bitOr(4, 1) + math.bitXor(5, 1) + math.bitShiftLeft(1, 4)",
         "27"},
    };
    CHECK_ALL(cases);
}
END_TEST

/* Points in time and durations. */
START_TEST(test_time)
{
    static const struct expectation cases[] = {
        {"timestamp('2024-02-29T12:30:45.5Z').getDayOfYear()", "59"},
        {"timestamp('2024-02-29T23:30:45Z').getDate('+02:00')", "1"},
        {"timestamp('2024-02-29T12:30:45.5Z').getDayOfWeek()", "4"},
        {"timestamp('2024-02-29T12:30:45.5Z').getMilliseconds()", "500"},
        {"timestamp('2024-01-01T00:00:00Z') + duration('36h')", "\"2024-01-02T12:00:00Z\""},
        {"timestamp('2024-01-01T00:00:00Z') - timestamp('2023-01-01T00:00:00Z')", "\"31536000s\""},
        {"duration('1h30m').getMinutes()", "90"},
        {"duration('-1.5s')", "\"-1.5s\""},
        {"duration('1m') < duration('61s')", "true"},
        {"int(timestamp('1970-01-01T00:01:00Z'))", "60"},
        {"timestamp('9999-12-31T23:59:59Z') + duration('1s')", "error: timestamp overflow"},
        {"string(timestamp('2024-01-01T01:00:00.120+01:00'))", "\"2024-01-01T00:00:00.12Z\""},
        {"duration('x')", "error: time: invalid duration \"x\""},
    };
    CHECK_ALL(cases);
}
END_TEST

/* What Kubernetes adds. */
START_TEST(test_kubernetes)
{
    static const char *const cases[] = {
        "quantity('1Gi').isGreaterThan(quantity('1G')) && "
        "quantity('1.5').compareTo(quantity('1500m')) == 0",
        "isQuantity('100m') && !isQuantity('x') && quantity('2k').asInteger() == 2000",
        "quantity('50k').add(20) == quantity('50020') && quantity('1').sub(quantity('2')).sign() "
        "== -1",
        "quantity('100m').isInteger() == false && quantity('100m').asApproximateFloat() == 0.1",
        "url('https://user@h.example:80/a%20b?x=1&x=2&y=3#f').getHost() == 'h.example:80'",
        "url('https://[::1]:80/').getHostname() == '::1' && url('/abs').getScheme() == ''",
        "url('https://h/a b').getEscapedPath() == '/a%20b' && "
        "url('http://h?k=a&k=b').getQuery()['k'] == ['a', 'b']",
        "isURL('https://example.com:80/') && !isURL('example') && url('https://h:1/').getPort() == "
        "'1'",
        "ip('10.0.0.1').family() == 4 && ip('::1').isLoopback() && string(ip('::1')) == '::1'",
        "isIP('1.2.3.4') && !isIP('1.2.3') && !isIP('::ffff:1.2.3.4') && ip.isCanonical('::1') && "
        "!ip.isCanonical('::0:1')",
        "cidr('10.0.0.0/8').containsIP('10.1.2.3') && "
        "!cidr('10.0.0.0/8').containsIP(ip('11.0.0.1'))",
        "cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && cidr('10.1.2.3/8').masked() == "
        "cidr('10.0.0.0/8')",
        "cidr('10.0.0.0/8').prefixLength() == 8 && cidr('10.0.0.0/8').ip() == ip('10.0.0.0') && "
        "isCIDR('::/0')",
        "ip('8.8.8.8').isGlobalUnicast() && ip('0.0.0.0').isUnspecified() && "
        "ip('169.254.1.1').isLinkLocalUnicast()",
        "!format.dns1123Label().validate('good').hasValue() && "
        "format.dns1123Label().validate('Bad').hasValue()",
        "format.named('uuid').value().validate('x').value() == ['does not match the UUID format']",
        "!format.named('nope').hasValue()",
        "semver('1.2.3').isLessThan(semver('1.10.0')) && "
        "semver('1.0.0-rc.1').isLessThan(semver('1.0.0'))",
        "isSemver('1.2.3') && !isSemver('v1.2.3') && isSemver('v1.2', true) && "
        "semver('1.2.3').minor() == 2",
        "semver('v01.1', true).compareTo(semver('1.1.0')) == 0",
    };
    CHECK_TRUE(cases);
}
END_TEST

/* Access by schema: conversions, escaped names, sets and maps of lists. */
START_TEST(test_schema)
{
    static const struct expectation cases[] = {
        {"self.size + 1", "3"},
        {"self.rate / 4.0", "0.5"},
        {"self.when.getFullYear()", "2024"},
        {"self.wait.getMinutes()", "90"},
        {"self.data == b'hi'", "true"},
        {"self.a__dot__b__dash__c + self.__namespace__ + self.x__underscores__y", "\"dotsnsu\""},
        {"self.set == ['a', 'b'] || self.set == ['b', 'a']", "true"},
        {"self.set + ['c', 'a']", "[\"b\",\"a\",\"c\"]"},
        {"self.byKey + dyn([{'k': 'x', 'v': 9}])", "[{\"k\":\"x\",\"v\":9},{\"k\":\"y\",\"v\":2}]"},
        {"self.byKey.all(e, e.v > 0) && self.byKey[0].k == 'x'", "true"},
        {"self.any.q[0] + 1", "ERROR: <input>:1:5: undefined field 'any'\n | self.any.q[0] + "
                              "1\n | ....^"},
        {"self.ios == '80%' && type(self.ios) == string", "true"},
        {"self.map.two + self.map['one']", "3"},
        {"self.map.all(k, self.map[k] > 0)", "true"},
        {"self.metadata.name + self.kind", "\"mK\""},
        {"has(self.name) && !has(self.metadata.generateName)", "true"},
        {"self.nope", "ERROR: <input>:1:5: undefined field 'nope'\n | self.nope\n | ....^"},
        {"self.lost", "ERROR: <input>:1:5: undefined field 'lost'\n | self.lost\n | ....^"},
        {"self.metadata.labels",
         "ERROR: <input>:1:14: undefined field 'labels'\n | self.metadata.labels\n"
         " | .............^"},
        {"self.size == 'x'",
         "ERROR: <input>:1:11: found no matching overload for '_==_' applied to '(int, string)'\n"
         " | self.size == 'x'\n | ..........^"},
        {"self.name.foo", "ERROR: <input>:1:10: type 'string' does not support field selection\n"
                          " | self.name.foo\n | .........^"},
    };
    CHECK_ALL(cases);
}
END_TEST

/* Faults of the text, placed and worded as the reference does. */
START_TEST(test_errors)
{
    static const struct expectation cases[] = {
        {"1 + x", "ERROR: <input>:1:5: undeclared reference to 'x' (in container '')\n | 1 + x\n"
                  " | ....^"},
        {"object.", "ERROR: <input>:1:8: Syntax error: no viable alternative at input '.'\n"
                    " | object.\n | .......^"},
        {"1 +",
         "ERROR: <input>:1:4: Syntax error: mismatched input '<EOF>' expecting {'[', '{', "
         "'(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, "
         "BYTES, IDENTIFIER}\n | 1 +\n | ...^"},
        {"f(1)", "ERROR: <input>:1:2: undeclared reference to 'f' (in container '')\n | f(1)\n"
                 " | .^"},
        {"(1", "ERROR: <input>:1:3: Syntax error: missing ')' at '<EOF>'\n | (1\n | ..^"},
        {"'a'.size(1)",
         "ERROR: <input>:1:9: found no matching overload for 'size' applied to 'string.(int)'\n"
         " | 'a'.size(1)\n | ........^"},
        {"true &&\n  nope",
         "ERROR: <input>:2:3: undeclared reference to 'nope' (in container '')\n |   nope\n | ..^"},
        {"x + y", "ERROR: <input>:1:1: undeclared reference to 'x' (in container '')\n | x + y\n"
                  " | ^\nERROR: <input>:1:5: undeclared reference to 'y' (in container '')\n"
                  " | x + y\n | ....^"},
        {"has(1)", "ERROR: <input>:1:5: invalid argument to has() macro\n | has(1)\n | ....^"},
        {"for", "ERROR: <input>:1:1: Syntax error: reserved identifier: for\n | for\n | ^"},
    };
    CHECK_ALL(cases);
}
END_TEST

/* Objects that expressions build. */
START_TEST(test_objects)
{
    static const struct expectation cases[] = {
        {"Object{spec: Object.spec{replicas: 3}, ?x: doc.?nope}", "{\"spec\":{\"replicas\":3}}"},
        {"Nope{}", "ERROR: <input>:1:5: undeclared reference to 'Nope' (in container '')\n"
                   " | Nope{}\n | ....^"},
    };
    CHECK_ALL(cases);
}
END_TEST

/* A program that costs too much ends, and tells so; the budget is shared. */
START_TEST(test_cost)
{
    struct fixture f;
    setup(&f);
    ck_assert(str_eqc(run(&f, "lists.range(1000).all(x, lists.range(1000).all(y, x + y >= 0))"),
                      "error: operation cancelled: actual cost limit exceeded"));
    struct cel_program *p;
    struct str why;
    int64_t cost = 100;
    ck_assert_int_eq(cel_compile(f.arena, &f.env, STR("self.size < 3"), &p, &why), 0);
    ck_assert(cel_program_uses(p, 1) && !cel_program_uses(p, 0));
    ck_assert(cel_eval(p, f.arena, f.values, &cost).boolean);
    ck_assert_int_eq(cost, 97);
    cost = 2;
    ck_assert_int_eq(cel_eval(p, f.arena, f.values, &cost).kind, CEL_ERROR);
    ck_assert_int_lt(cost, 0);
    arena_free(f.arena);
}
END_TEST

/* Objects of many members are found into and compared in reasonable time. */
START_TEST(test_large_maps)
{
    struct fixture f;
    setup(&f);
    AUTO_BUF b = BUF_INIT;
    struct json *big, *other;
    for (int i = 0; i < 50000; i++)
        buf_printf(&b, "%c\"k%d\":%d", i == 0 ? '{' : ',', i * 7919 % 50000, i);
    buf_puts(&b, "}");
    ck_assert_int_eq(json_parse(f.arena, buf_str(&b), &big, NULL), 0);
    other = json_clone(f.arena, big);
    for (size_t i = 0, n = other->object.count; i < n / 2; i++) {
        struct json_member m = other->object.members[i];
        other->object.members[i] = other->object.members[n - 1 - i];
        other->object.members[n - 1 - i] = m;
    }
    f.values[0] = cel_of_json(big, NULL);
    f.values[2] = cel_of_json(other, NULL);
    ck_assert(str_eqc(run(&f, "doc == absent && doc.all(k, doc[k] == absent[k])"), "true"));
    ck_assert(str_eqc(run(&f, "doc.all(k, k in absent) && !('x' in doc)"), "true"));
    arena_free(f.arena);
}
END_TEST

/* Depth has a limit, in brackets and in chains. */
START_TEST(test_depth)
{
    struct fixture f;
    setup(&f);
    static const char *const pieces[] = {"(", "[", "!", "-1+", "1?1:", "doc[", "f("};
    for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
        AUTO_BUF b = BUF_INIT;
        struct cel_program *p;
        struct str why;
        for (int k = 0; k < 20000; k++)
            buf_puts(&b, pieces[i]);
        buf_puts(&b, "1");
        if (cel_compile(f.arena, &f.env, buf_str(&b), &p, &why) == 0)
            ck_assert(pieces[i][0] == '!');
    }
    arena_free(f.arena);
}
END_TEST

/* Property names as expressions write them. */
START_TEST(test_escape)
{
    static const struct expectation cases[] = {
        {"a", "a"},
        {"a.b", "a__dot__b"},
        {"a-b/c", "a__dash__b__slash__c"},
        {"if", "__if__"},
        {"a__b", "a__underscores__b"},
        {"_x1", "_x1"},
        {"1x", NULL},
        {"a b", NULL},
        {"$ref", NULL},
    };
    AUTO_ARENA *a = arena_new(0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct str s;
        bool ok = cel_escape(a, str_of(cases[i].text), &s);
        ck_assert_msg(ok == (cases[i].want != NULL), "%s", cases[i].text);
        ck_assert(!ok || str_eqc(s, cases[i].want));
    }
}
END_TEST

/* A file without transitions, whose rules are New York's. */
static struct str zone_file(struct arena *a, const char *rules)
{
    char *p = arena_zalloc(a, 2 * 44 + 10 + strlen(rules) + 2);
    memcpy(p, "TZif2", 5);
    memcpy(p + 44, "TZif2", 5);
    p[44 + 20 + 19] = 1; /* Types. */
    p[44 + 20 + 23] = 4; /* Bytes of their names. */
    memcpy(p + 88, "\xff\xff\xb9\xb0", 4);
    memcpy(p + 94, "EST", 4);
    size_t n = 98 + (size_t)sprintf(p + 98, "\n%s\n", rules);
    return str_n(p, n);
}

/* Behind the last transition a zone's rules say when summer is. */
START_TEST(test_zone_rules)
{
    AUTO_ARENA *a = arena_new(0);
    static const struct {
        const char *rules;
        int64_t at, want;
    } cases[] = {
        {"EST5EDT,M3.2.0,M11.1.0", 1704067200, -18000}, /* 2024-01-01T00:00:00Z */
        {"EST5EDT,M3.2.0,M11.1.0", 1719792000, -14400}, /* 2024-07-01 */
        {"EST5EDT,M3.2.0,M11.1.0", 1710053999, -18000}, /* 2024-03-10T06:59:59Z */
        {"EST5EDT,M3.2.0,M11.1.0", 1710054000, -14400},
        {"EST5EDT,M3.2.0,M11.1.0", 1730613599, -14400}, /* 2024-11-03T05:59:59Z */
        {"EST5EDT,M3.2.0,M11.1.0", 1730613600, -18000},
        {"AEST-10AEDT,M10.1.0,M4.1.0/3", 1704067200, 39600},
        {"AEST-10AEDT,M10.1.0,M4.1.0/3", 1719792000, 36000},
        {"<+0545>-5:45", 0, 20700},
        {"CET-1CEST,M3.5.0,M10.5.0/3", 1711846800, 7200}, /* 2024-03-31T01:00:00Z */
        {"CET-1CEST,M3.5.0,M10.5.0/3", 1711846799, 3600},
        {"nonsense,", 0, -18000}, /* The last type stands. */
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int64_t got = 1;
        ck_assert(cel_zone_offset_in(zone_file(a, cases[i].rules), cases[i].at, &got));
        ck_assert_msg(got == cases[i].want, "%s at %lld: %lld", cases[i].rules,
                      (long long)cases[i].at, (long long)got);
    }
    struct str file = zone_file(a, "EST5");
    for (size_t n = 0; n < 98; n++) {
        int64_t got;
        ck_assert(!cel_zone_offset_in(str_sub(file, 0, n), 0, &got));
    }
}
END_TEST

/* Zones by name, and names that are none. */
START_TEST(test_zones)
{
    static const struct expectation table[] = {
        {"timestamp('2024-07-01T12:00:00Z').getHours('Europe/Berlin')", "14"},
        {"timestamp('2024-01-01T12:00:00Z').getHours('Europe/Berlin')", "13"},
        {"timestamp('2024-01-01T01:00:00Z').getDate('America/New_York')", "31"},
        {"timestamp('2099-07-01T12:00:00Z').getHours('America/New_York')", "8"},
        {"timestamp('2024-01-01T00:00:00Z').getMinutes('Asia/Kathmandu')", "45"},
    };
    static const struct expectation bad[] = {
        {"timestamp('2024-01-01T00:00:00Z').getHours('Mars/Olympus')",
         "error: unknown time zone Mars/Olympus"},
        {"timestamp('2024-01-01T00:00:00Z').getHours('Europe/../../../etc/passwd')",
         "error: unknown time zone Europe/../../../etc/passwd"},
    };
    int64_t offset;
    if (cel_zone_offset(STR("Europe/Berlin"), 0, &offset))
        CHECK_ALL(table);
    else
        printf("no /usr/share/zoneinfo: named zones are not tried\n");
    CHECK_ALL(bad);
}
END_TEST

UNIT_MAIN("cel", {
    UNIT_TEST(test_literals);
    UNIT_TEST(test_arithmetic);
    UNIT_TEST(test_comparison);
    UNIT_TEST(test_logic);
    UNIT_TEST(test_selection);
    UNIT_TEST(test_macros);
    UNIT_TEST(test_optionals);
    UNIT_TEST(test_strings);
    UNIT_TEST(test_lists_and_math);
    UNIT_TEST(test_time);
    UNIT_TEST(test_zone_rules);
    UNIT_TEST(test_zones);
    UNIT_TEST(test_kubernetes);
    UNIT_TEST(test_schema);
    UNIT_TEST(test_errors);
    UNIT_TEST(test_objects);
    UNIT_TEST(test_cost);
    UNIT_TEST(test_large_maps);
    UNIT_TEST(test_depth);
    UNIT_TEST(test_escape);
})
