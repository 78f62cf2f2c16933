/* test_convert.c - `trireme convert` over upstream's sample objects: each of the
 * three encodings into each. Samples: $TRIREME_FACTS/golden. */
#include "test/unit/unit.h"

#include "cli/convert.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

#include <dirent.h>
#include <string.h>

enum { SAMPLES_MAX = 64 };

static char *samples[SAMPLES_MAX];
static int sample_count;
static const char *const endings[] = {"json", "yaml", "pb"};

static void find_samples(void)
{
    const char *facts = getenv("TRIREME_FACTS");
    char *folder = xasprintf("%s/golden", facts != NULL ? facts : "../shared/facts");
    DIR *d = opendir(folder);
    struct dirent *e;
    while (d != NULL && (e = readdir(d)) != NULL) {
        char *dot = strrchr(e->d_name, '.');
        if (dot != NULL && strcmp(dot, ".pb") == 0 && sample_count < SAMPLES_MAX)
            samples[sample_count++] =
                xasprintf("%s/%.*s", folder, (int)(dot - e->d_name), e->d_name);
    }
    if (sample_count == 0)
        printf("no samples in %s: set TRIREME_FACTS; the sample tests check nothing\n", folder);
    if (d != NULL)
        closedir(d);
    free(folder);
}

static void read_sample(int i, enum convert_format format, struct buf *ret)
{
    struct error err = {0};
    char *path = xasprintf("%s.%s", samples[i], endings[format]);
    ck_assert_msg(file_read(path, 1 << 20, ret, &err) == 0, "%s", err.message);
    free(path);
}

/* Text is compared by meaning, protobuf by bytes. */
static bool same(struct arena *a, enum convert_format format, struct str x, struct str y)
{
    struct json *tx, *ty;
    if (format == CONVERT_PROTOBUF)
        return str_eq(x, y);
    size_t consumed;
    ck_assert_int_eq(api_yaml_parse(a, x, &consumed, &tx, NULL), 0);
    ck_assert_int_eq(api_yaml_parse(a, y, &consumed, &ty, NULL), 0);
    return json_equal(tx, ty);
}

/* Every encoding of a sample turns into every other one. */
START_TEST(test_samples)
{
    for (enum convert_format from = CONVERT_JSON; from <= CONVERT_PROTOBUF; from++) {
        for (enum convert_format to = CONVERT_JSON; to <= CONVERT_PROTOBUF; to++) {
            AUTO_BUF in = BUF_INIT, want = BUF_INIT, got = BUF_INIT;
            AUTO_ARENA *a = arena_new(0);
            struct api_warnings warnings = {0};
            struct error err = {0};
            read_sample(_i, from, &in);
            read_sample(_i, to, &want);
            int r = convert_bytes(from, to, buf_str(&in), &got, a, &warnings, &err);
            ck_assert_msg(r == 0, "%s: %s", samples[_i], err.message);
            ck_assert_uint_eq(warnings.count, 0);
            ck_assert_msg(same(a, to, buf_str(&got), buf_str(&want)), "%s: %s to %s differs",
                          samples[_i], endings[from], endings[to]);
        }
    }
}
END_TEST

static int convert_text(enum convert_format to, const char *text, struct buf *out,
                        struct api_warnings *w, struct arena *a, struct error *err)
{
    return convert_bytes(CONVERT_YAML, to, str_of(text), out, a, w, err);
}

/* Several YAML documents stay several, empty ones are dropped. */
START_TEST(test_documents)
{
    AUTO_BUF out = BUF_INIT;
    AUTO_ARENA *a = arena_new(0);
    struct error err = {0};
    int r =
        convert_text(CONVERT_YAML,
                     "---\n# nothing\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
                     "--- # next\napiVersion: example.com/v1\nkind: Thing\nspec: {count: 010}\n",
                     &out, NULL, a, &err);
    ck_assert_msg(r == 0, "%s", err.message);
    buf_putc(&out, '\0');
    ck_assert_str_eq((const char *)out.data,
                     "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n"
                     "---\napiVersion: example.com/v1\nkind: Thing\nspec:\n  count: 8\n");
}
END_TEST

/* Unknown fields are dropped and said; quantities become canonical. */
START_TEST(test_warnings)
{
    AUTO_BUF out = BUF_INIT;
    AUTO_ARENA *a = arena_new(0);
    struct api_warnings w = {0};
    struct error err = {0};
    int r = convert_text(CONVERT_JSON,
                         "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n"
                         "  - name: c\n    imagee: x\n    resources: {limits: {cpu: 0.5}}\n",
                         &out, &w, a, &err);
    ck_assert_msg(r == 0, "%s", err.message);
    ck_assert_uint_eq(w.count, 1);
    ck_assert_str_eq(str_c(w.items[0]), "unknown field \"spec.containers[0].imagee\"");
    ck_assert(str_find_str(buf_str(&out), STR("\"cpu\": \"500m\"")) > 0);
}
END_TEST

/* What cannot be is refused with a reason. */
START_TEST(test_errors)
{
    static const struct {
        enum convert_format to;
        const char *text;
        const char *message;
    } cases[] = {
        {CONVERT_PROTOBUF, "apiVersion: example.com/v1\nkind: Thing\n",
         "no kind \"Thing\" is registered for version \"example.com/v1\""},
        {CONVERT_JSON, "kind: Pod\n", "an object needs \"apiVersion\" and \"kind\""},
        {CONVERT_JSON, "[]\n", "an object needs \"apiVersion\" and \"kind\""},
        {CONVERT_JSON, "# nothing\n", "the input has no objects"},
        {CONVERT_JSON, "a: b\n c: d\n",
         "yaml: line 2: mapping values are not allowed in this context"},
        {CONVERT_JSON, "apiVersion: v1\nkind: Pod\nspec: 3\n",
         "Pod in version \"v1\": json: cannot unmarshal number into Go struct field Pod.spec of "
         "type v1.PodSpec"},
        {CONVERT_PROTOBUF, "apiVersion: v1\nkind: Pod\n---\napiVersion: v1\nkind: Pod\n",
         "protobuf holds one object, but the input has more"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_BUF out = BUF_INIT;
        AUTO_ARENA *a = arena_new(0);
        struct error err = {0};
        ck_assert_int_ne(convert_text(cases[i].to, cases[i].text, &out, NULL, a, &err), 0);
        ck_assert_str_eq(err.message, cases[i].message);
    }
}
END_TEST

UNIT_MAIN("convert", {
    find_samples();
    tcase_add_loop_test(tc, test_samples, 0, sample_count);
    UNIT_TEST(test_documents);
    UNIT_TEST(test_warnings);
    UNIT_TEST(test_errors);
})
