/* fuzz_cel.c - expressions: parsing, checking, and running what compiles, on a
 * small document, typed and untyped. */
#include "test/fuzz/api/seeds.h"

#include "lib/api/cel/cel.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

static const struct fuzz_text seeds[] = {
    FUZZ_TEXT(
        "!has(self.list) || self.list.size() <= self.size && self.map['a'] in [1, 2u, 3.5e1]"),
    FUZZ_TEXT(
        "doc.ports.filter(p, p.port > 1).map(p, p.name + r'\\x' + '\\u00e9' + b'\\xff').join(',')"),
    FUZZ_TEXT(
        "cel.bind(x, [1, 2].transformMap(i, v, v % 2 == 0, -v), x.?a[?0].orValue({'k': null}))"),
    FUZZ_TEXT("'%s %d %.3f %x'.format([timestamp('2024-02-29T00:00:00Z'), 1, 2.5, 'q']).split('')"),
    FUZZ_TEXT("quantity('1.5Gi').add(quantity('-2')).compareTo(quantity('1e3')) == -1 ? 1 : 2"),
    FUZZ_TEXT(
        "url('https://[::1]:80/a?b=c').getQuery()['b'] == ip('1.2.3.4') || cidr('::/0').masked()"),
    FUZZ_TEXT("self.set + ['x'] == self.set.sort().distinct().slice(0, 1) && "
              "semver('1.2.3-a.b+c').major()"),
    FUZZ_TEXT("duration('1h') - duration('2m') < self.wait && 'a'.matches('^(a|b)+$') && "
              "sets.contains([], [])"),
    FUZZ_TEXT("\"abc\".replace('', '-', 2).lastIndexOf('b', 3) / math.least(0, 2) > [[1], "
              "2].flatten(3).sum()"),
    FUZZ_TEXT("format.named('uri').value().validate('''x''').optMap(v, v[0]).or(optional.none())"),
};
FUZZ_SEEDS(seeds)

static const char schema[] =
    "{\"type\":\"object\",\"properties\":{\"size\":{\"type\":\"integer\"},\"list\":{\"type\":"
    "\"array\",\"items\":{\"type\":\"string\"}},\"map\":{\"type\":\"object\","
    "\"additionalProperties\":{\"type\":\"number\"}},\"wait\":{\"type\":\"string\",\"format\":"
    "\"duration\"},\"data\":{\"type\":\"string\",\"format\":\"byte\"},\"set\":{\"type\":\"array\","
    "\"items\":{\"type\":\"string\"},\"x-kubernetes-list-type\":\"set\"}}}";
static const char document[] = "{\"size\":2,\"list\":[\"a\"],\"map\":{\"a\":1},\"wait\":\"1h\","
                               "\"data\":\"aGk\",\"set\":[\"x\","
                               "\"y\"],\"ports\":[{\"name\":\"p\",\"port\":80}]}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_ARENA *a = arena_new(0);
    struct json *s, *doc;
    struct cel_program *p;
    struct str why = STR_NULL;
    if (json_parse(a, str_of(schema), &s, NULL) != 0 ||
        json_parse(a, str_of(document), &doc, NULL) != 0)
        abort();
    const struct cel_type *t = cel_schema_type(a, s, false);
    const struct cel_var vars[] = {{"self", t}, {"doc", NULL}};
    const struct cel_env env = {.vars = vars, .var_count = 2};
    if (cel_compile(a, &env, str_n((const char *)data, size), &p, &why) != 0) {
        ASSERT(why.len != 0);
        return 0;
    }
    const struct cel_value values[] = {cel_of_json(doc, t), cel_of_json(doc, NULL)};
    int64_t cost = 20000;
    struct cel_value v = cel_eval(p, a, values, &cost);
    ASSERT(v.kind != CEL_ERROR || v.string.len != 0);
    struct json *j = cel_to_json(a, &v);
    AUTO_BUF b = BUF_INIT;
    if (j != NULL)
        json_write(j, false, &b);
    return 0;
}
