/* test_golden.c - upstream's sample objects through every codec. The samples
 * are read from $TRIREME_FACTS/golden (default ../shared/facts). */
#include "test/unit/unit.h"

#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <dirent.h>

enum { SAMPLES_MAX = 64 };

static char *samples[SAMPLES_MAX]; /* Paths without the ending. */
static int sample_count;

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
        printf("no samples in %s: set TRIREME_FACTS; the golden tests check nothing\n", folder);
    if (d != NULL)
        closedir(d);
    free(folder);
}

static struct str read_sample(struct arena *a, int i, const char *ending)
{
    char *path = xasprintf("%s.%s", samples[i], ending);
    FILE *f = fopen(path, "rb");
    ck_assert_msg(f != NULL, "cannot open %s", path);
    AUTO_BUF bytes = BUF_INIT;
    size_t n;
    do {
        n = fread(buf_reserve(&bytes, 65536), 1, 65536, f);
        buf_commit(&bytes, n);
    } while (n > 0);
    fclose(f);
    free(path);
    return arena_str(a, buf_str(&bytes));
}

struct sample {
    struct arena *arena;
    struct str pb;
    struct str json;
    struct str yaml;
    struct str api_version;
    struct str kind_name;
    struct str raw;
    const struct api_kind *kind;
};

static struct sample load(int i)
{
    struct sample s = {.arena = arena_new(0)};
    struct error err = {0};
    s.pb = read_sample(s.arena, i, "pb");
    s.json = read_sample(s.arena, i, "json");
    s.yaml = read_sample(s.arena, i, "yaml");
    ck_assert_msg(api_envelope_open(s.pb, &s.api_version, &s.kind_name, &s.raw, &err) == 0,
                  "%s: %s", samples[i], err.message);
    s.kind = api_kind_by_api_version(s.api_version, s.kind_name);
    ck_assert_msg(s.kind != NULL, "%s: unknown kind", samples[i]);
    return s;
}

static void *decode_pb(const struct sample *s, int i)
{
    struct error err = {0};
    void *msg = api_msg_new(s->arena, s->kind->msg);
    ck_assert_msg(api_pb_decode(s->arena, s->kind->msg, s->raw, msg, &err) == 0, "%s: %s",
                  samples[i], err.message);
    return msg;
}

static void check_same(int i, const char *what, struct str got, struct str want)
{
    if (str_eq(got, want))
        return;
    size_t at = 0;
    while (at < got.len && at < want.len && got.data[at] == want.data[at])
        at++;
    size_t from = at > 60 ? at - 60 : 0;
    struct str g = str_sub(got, from, 160), w = str_sub(want, from, 160);
    ck_abort_msg("%s: %s differs at %zu of %zu/%zu:\n got  " STR_FMT "\n want " STR_FMT, samples[i],
                 what, at, got.len, want.len, STR_ARG(g), STR_ARG(w));
}

/* Protobuf read and written again is the same bytes. */
START_TEST(test_pb_round_trip)
{
    struct sample s = load(_i);
    AUTO_BUF out = BUF_INIT;
    api_envelope_encode(s.kind->msg, decode_pb(&s, _i), s.api_version, s.kind_name, &out);
    check_same(_i, "protobuf", buf_str(&out), s.pb);
    AUTO_BUF again = BUF_INIT;
    api_envelope_write(s.api_version, s.kind_name, s.raw, &again);
    check_same(_i, "envelope", buf_str(&again), s.pb);
    arena_free(s.arena);
}
END_TEST

/* The JSON of an object has upstream's members in upstream's order. */
START_TEST(test_json_text)
{
    struct sample s = load(_i);
    AUTO_BUF out = BUF_INIT, pretty = BUF_INIT, direct = BUF_INIT;
    struct error err = {0};
    struct json *tree;
    api_json_encode(s.kind->msg, decode_pb(&s, _i), s.api_version, s.kind_name, &out);
    ck_assert_msg(json_parse(s.arena, buf_str(&out), &tree, &err) == 0, "%s: %s", samples[_i],
                  err.message);
    json_write_indent(tree, false, 2, &pretty);
    buf_putc(&pretty, '\n');
    check_same(_i, "JSON", str_trim(buf_str(&pretty)), str_trim(s.json));
    ck_assert_msg(api_json_from_pb(s.kind->msg, s.raw, s.api_version, s.kind_name, &direct, &err) ==
                      0,
                  "%s: %s", samples[_i], err.message);
    check_same(_i, "transcoded JSON", buf_str(&direct), buf_str(&out));
    arena_free(s.arena);
}
END_TEST

/* A tree read strictly gives the object that the protobuf has. */
static void check_tree(const struct sample *s, int i, const char *what, const struct json *tree)
{
    struct error err = {0};
    AUTO_BUF out = BUF_INIT;
    void *msg = api_msg_new(s->arena, s->kind->msg);
    ck_assert_msg(api_json_decode_tree(s->arena, s->kind->msg, tree, API_STRICT, NULL, msg, &err) ==
                      0,
                  "%s: %s: %s", samples[i], what, err.message);
    api_envelope_encode(s->kind->msg, msg, s->api_version, s->kind_name, &out);
    check_same(i, what, buf_str(&out), s->pb);
    ck_assert(api_msg_equal(s->kind->msg, msg, decode_pb(s, i)));
}

START_TEST(test_json_to_pb)
{
    struct sample s = load(_i);
    struct error err = {0};
    struct json *tree;
    ck_assert_msg(json_parse(s.arena, s.json, &tree, &err) == 0, "%s: %s", samples[_i],
                  err.message);
    check_tree(&s, _i, "protobuf from JSON", tree);
    arena_free(s.arena);
}
END_TEST

/* YAML gives the same object, and is written as upstream writes it. */
START_TEST(test_yaml)
{
    struct sample s = load(_i);
    struct error err = {0};
    struct json *tree;
    size_t consumed;
    ck_assert_msg(api_yaml_parse_strict(s.arena, s.yaml, &consumed, &tree, &err) == 0, "%s: %s",
                  samples[_i], err.message);
    ck_assert_uint_eq(consumed, s.yaml.len);
    check_tree(&s, _i, "protobuf from YAML", tree);
    AUTO_BUF out = BUF_INIT;
    api_yaml_write(
        api_json_tree(s.arena, s.kind->msg, decode_pb(&s, _i), s.api_version, s.kind_name), &out);
    check_same(_i, "YAML", buf_str(&out), s.yaml);
    arena_free(s.arena);
}
END_TEST

/* A copy is equal and stands on its own. */
START_TEST(test_copy)
{
    struct sample s = load(_i);
    struct arena *other = arena_new(0);
    void *copy = api_msg_clone(other, s.kind->msg, decode_pb(&s, _i));
    arena_free(s.arena);
    s = load(_i);
    AUTO_BUF out = BUF_INIT;
    api_envelope_encode(s.kind->msg, copy, s.api_version, s.kind_name, &out);
    check_same(_i, "copy", buf_str(&out), s.pb);
    ck_assert(!api_msg_is_zero(s.kind->msg, copy) || s.raw.len == 0);
    arena_free(other);
    arena_free(s.arena);
}
END_TEST

/* Bytes cut anywhere are refused or read as less, never worse. */
START_TEST(test_cut_off)
{
    struct sample s = load(_i);
    for (size_t n = 0; n < s.raw.len; n += 1 + s.raw.len / 400) {
        struct arena *a = arena_new(0);
        void *msg = api_msg_new(a, s.kind->msg);
        struct str *cut = arena_memdup(a, &(struct str){0}, sizeof(struct str));
        *cut = str_n(arena_memdup(a, s.raw.data, n), n);
        AUTO_BUF out = BUF_INIT;
        int r = api_pb_decode(a, s.kind->msg, *cut, msg, NULL);
        int direct = api_json_from_pb(s.kind->msg, *cut, s.api_version, s.kind_name, &out, NULL);
        ck_assert_int_eq(r, direct);
        arena_free(a);
    }
    arena_free(s.arena);
}
END_TEST

UNIT_MAIN("golden", {
    find_samples();
    tcase_add_loop_test(tc, test_pb_round_trip, 0, sample_count);
    tcase_add_loop_test(tc, test_json_text, 0, sample_count);
    tcase_add_loop_test(tc, test_json_to_pb, 0, sample_count);
    tcase_add_loop_test(tc, test_yaml, 0, sample_count);
    tcase_add_loop_test(tc, test_copy, 0, sample_count);
    tcase_add_loop_test(tc, test_cut_off, 0, sample_count);
})
