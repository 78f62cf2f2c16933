/* test_pure.c - the small pure parts: back-off, references in strings, log
 * lines, cgroup numbers, probes' thresholds, image names, paths. */
#include "kubelet/atomic_writer.h"
#include "kubelet/backoff.h"
#include "kubelet/cni_conf.h"
#include "kubelet/cri_log.h"
#include "kubelet/env_expand.h"
#include "kubelet/probe.h"
#include "kubelet/pull_secrets.h"
#include "kubelet/resources.h"
#include "kubelet/runtime_state.h"
#include "kubelet/start_trace.h"

#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include "api/core_v1.h"
#include "test/unit/unit.h"

#define ASSERT_STR(s, expected)                                                                    \
    do {                                                                                           \
        struct str s_ = (s);                                                                       \
        ck_assert_uint_eq(s_.len, strlen(expected));                                               \
        ck_assert(memcmp(s_.data, expected, s_.len) == 0);                                         \
    } while (0)

/* 10 s, doubling up to 5 min, and back to 10 s after 10 min of quiet. */
START_TEST(test_backoff)
{
    struct backoff b;
    uint64_t now = 1000;
    backoff_init(&b, 10000, 300000);
    ck_assert_uint_eq(backoff_wait_ms(&b, STR("k"), now, now), 0);
    static const uint64_t delays[] = {10000, 20000, 40000, 80000, 160000, 300000, 300000};
    for (size_t i = 0; i < ARRAY_SIZE(delays); i++) {
        backoff_next(&b, STR("k"), now);
        ck_assert_uint_eq(backoff_delay_ms(&b, STR("k")), delays[i]);
        ck_assert_uint_eq(backoff_wait_ms(&b, STR("k"), now + 5, now + 5), delays[i]);
        ck_assert_uint_eq(backoff_wait_ms(&b, STR("k"), now + 5, now + 5 + delays[i]), 0);
        now += delays[i];
    }
    ck_assert_uint_eq(backoff_wait_ms(&b, STR("k"), now + 700000, now + 700000), 0);
    backoff_next(&b, STR("k"), now + 700000);
    ck_assert_uint_eq(backoff_delay_ms(&b, STR("k")), 10000);
    backoff_gc(&b, now + 2000000);
    ck_assert_uint_eq(b.entries.count, 0);
    backoff_done(&b);
}
END_TEST

/* The cases of upstream's documentation of $(VAR). */
START_TEST(test_expand)
{
    AUTO_ARENA *a = arena_new(0);
    struct env_list env = {0}, second = {0};
    env_list_set(a, &env, STR("A"), STR("1"));
    env_list_set(a, &env, STR("EMPTY"), STR(""));
    env_list_set(a, &second, STR("B"), STR("$(A)"));
    env_list_set(a, &second, STR("A"), STR("hidden"));
    static const char *const cases[][2] = {
        {"plain", "plain"},
        {"$(A)", "1"},
        {"x$(A)y$(A)", "x1y1"},
        {"$$(A)", "$(A)"},
        {"$$$(A)", "$1"},
        {"$(NO)", "$(NO)"},
        {"$(A", "$(A"},
        {"$A", "$A"},
        {"$", "$"},
        {"a$", "a$"},
        {"$(EMPTY)|", "|"},
        {"$(B)", "$(A)"},
        {"$($(A))", "$($(A))"},
        {"$()", "$()"},
        {"$$", "$"},
        {"$(A)$$(A)$(A)", "1$(A)1"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        ASSERT_STR(env_expand(a, str_of(cases[i][0]), &env, &second), cases[i][1]);
    env_list_set(a, &env, STR("A"), STR("2"));
    ck_assert_uint_eq(env.count, 2);
    ASSERT_STR(*env_list_get(&env, STR("A")), "2");
}
END_TEST

START_TEST(test_log_lines)
{
    struct cri_log_line l;
    ck_assert(cri_log_parse(STR("2016-10-06T00:17:09.669794202Z stdout F hello world\n"), &l));
    ASSERT_STR(l.text, "hello world");
    ck_assert(!l.partial && !l.is_stderr);
    ck_assert_int_eq(l.time_ns, 1475713029669794202ll);
    ck_assert(cri_log_parse(STR("2016-10-06T02:17:09.5+02:00 stderr P:x part"), &l));
    ck_assert(l.partial && l.is_stderr);
    ck_assert_int_eq(l.time_ns, 1475713029500000000ll);
    ck_assert(cri_log_parse(STR("2016-10-06T00:17:09Z stdout F"), &l));
    ck_assert_uint_eq(l.text.len, 0);
    ck_assert(cri_log_parse(STR("2016-10-06T00:17:09Z stdout F  two blanks"), &l));
    ASSERT_STR(l.text, " two blanks");
    static const char *const bad[] = {"",
                                      "x",
                                      "2016-10-06T00:17:09Z",
                                      "2016-10-06T00:17:09Z stdin F x",
                                      "2016-13-06T00:17:09Z stdout F x",
                                      "2016-10-06T00:17:09.Z stdout F x",
                                      "2016-10-06T00:17:09Z stdout Q x",
                                      "2016-10-06 00:17:09Z stdout F x"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        ck_assert(!cri_log_parse(str_of(bad[i]), &l));
}
END_TEST

/* The tail is found across pieces. */
START_TEST(test_log_tail)
{
    uint64_t found = 0;
    ck_assert_int_eq(cri_log_tail(STR("a\nb\nc\n"), 1, &found), 4);
    found = 0;
    ck_assert_int_eq(cri_log_tail(STR("a\nb\nc\n"), 2, &found), 2);
    found = 0;
    ck_assert_int_eq(cri_log_tail(STR("a\nb\nc\n"), 3, &found), -1);
    found = 0;
    ck_assert_int_eq(cri_log_tail(STR("b\nc\n"), 3, &found), -1);
    ck_assert_uint_eq(found, 2);
    ck_assert_int_eq(cri_log_tail(STR("y\na\n"), 3, &found), 2);
}
END_TEST

/* Upstream's numbers for shares, quota, weight. */
START_TEST(test_cgroup_numbers)
{
    ck_assert_int_eq(cpu_shares_of_milli(0), 2);
    ck_assert_int_eq(cpu_shares_of_milli(1), 2);
    ck_assert_int_eq(cpu_shares_of_milli(250), 256);
    ck_assert_int_eq(cpu_shares_of_milli(1000), 1024);
    ck_assert_int_eq(cpu_shares_of_milli(1000000), 262144);
    ck_assert_int_eq(cpu_shares_of_milli(INT64_MAX), 262144);
    ck_assert_int_eq(cpu_quota_of_milli(0, 100000), 0);
    ck_assert_int_eq(cpu_quota_of_milli(1, 100000), 1000);
    ck_assert_int_eq(cpu_quota_of_milli(200, 100000), 20000);
    ck_assert_int_eq(cpu_quota_of_milli(1500, 100000), 150000);
    ck_assert_int_eq(cpu_weight_of_shares(2), 1);
    ck_assert_int_eq(cpu_weight_of_shares(1024), 39);
    ck_assert_int_eq(cpu_weight_of_shares(262144), 10000);
}
END_TEST

/* Readiness starts false; thresholds count in a row; errors count for nothing. */
START_TEST(test_probe_thresholds)
{
    struct core_v1_probe spec = {.success_threshold = 2, .failure_threshold = 3};
    struct probe_core p;
    probe_core_init(&p, PROBE_READINESS, &spec);
    ck_assert(!p.ok);
    ck_assert(!probe_core_result(&p, CHECK_SUCCESS));
    ck_assert(!probe_core_result(&p, CHECK_ERROR));
    ck_assert(probe_core_result(&p, CHECK_SUCCESS));
    ck_assert(p.ok);
    ck_assert(!probe_core_result(&p, CHECK_FAILURE));
    ck_assert(!probe_core_result(&p, CHECK_FAILURE));
    ck_assert(!probe_core_result(&p, CHECK_SUCCESS));
    ck_assert(!probe_core_result(&p, CHECK_FAILURE));
    ck_assert(!probe_core_result(&p, CHECK_FAILURE));
    ck_assert(p.ok);
    ck_assert(probe_core_result(&p, CHECK_FAILURE));
    ck_assert(!p.ok && !p.failed);
    spec.success_threshold = 1;
    probe_core_init(&p, PROBE_LIVENESS, &spec);
    ck_assert(p.ok);
    for (int i = 0; i < 2; i++)
        ck_assert(!probe_core_result(&p, CHECK_FAILURE));
    ck_assert(probe_core_result(&p, CHECK_FAILURE));
    ck_assert(p.failed);
}
END_TEST

START_TEST(test_images)
{
    AUTO_ARENA *a = arena_new(0);
    ASSERT_STR(image_with_tag(a, STR("busybox")), "busybox:latest");
    ASSERT_STR(image_with_tag(a, STR("r:5000/x")), "r:5000/x:latest");
    ASSERT_STR(image_with_tag(a, STR("r:5000/x:1")), "r:5000/x:1");
    ASSERT_STR(image_with_tag(a, STR("x@sha256:00")), "x@sha256:00");
    ck_assert(image_is_latest(STR("x")) && image_is_latest(STR("r:5000/x:latest")));
    ck_assert(!image_is_latest(STR("x:1")) && !image_is_latest(STR("x@sha256:00")));
    ASSERT_STR(image_registry(STR("busybox")), "docker.io");
    ASSERT_STR(image_registry(STR("library/busybox")), "docker.io");
    ASSERT_STR(image_registry(STR("localhost/x")), "localhost");
    ASSERT_STR(image_registry(STR("r.example:5000/x/y")), "r.example:5000");
    struct pull_auth_list l = {0};
    struct str json = STR("{\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":\"dTpw\"},"
                          "\"r.example:5000\":{\"username\":\"u\",\"password\":\"p\"},"
                          "\"r.example:5000/team\":{\"username\":\"t\",\"password\":\"q\"}}}");
    pull_auths_add(a, &l, json, STR("busybox"));
    ck_assert_uint_eq(l.count, 1);
    ck_assert_str_eq(l.items[0].auth, "dTpw");
    pull_auths_add(a, &l, json, STR("r.example:5000/team/x"));
    ck_assert_uint_eq(l.count, 3);
    ck_assert_str_eq(l.items[1].username, "t");
    ck_assert_str_eq(l.items[2].username, "u");
    pull_auths_add(a, &l, json, STR("other.example/x"));
    pull_auths_add(a, &l, STR("[]"), STR("busybox"));
    ck_assert_uint_eq(l.count, 3);
}
END_TEST

/* What the registry knows an image by, whatever stands in the pod. */
START_TEST(test_image_repository)
{
    static const struct {
        const char *image, *repository;
    } cases[] = {
        {"busybox", "docker.io/library/busybox"},
        {"busybox:1.36", "docker.io/library/busybox"},
        {"me/app@sha256:00", "docker.io/me/app"},
        {"docker.io/busybox", "docker.io/library/busybox"},
        {"index.docker.io/me/app:1", "docker.io/me/app"},
        {"localhost/x", "localhost/x"},
        {"r:5000/team/x:1@sha256:00", "r:5000/team/x"},
        {"r:5000/x", "r:5000/x"},
        {"docker.iox", "docker.io/library/docker.iox"},
        {"", "docker.io/library/"},
    };
    AUTO_ARENA *a = arena_new(0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        ASSERT_STR(image_repository(a, str_of(cases[i].image)), cases[i].repository);
}
END_TEST

/* Hosts part by part, ports as they are, paths from their start. */
START_TEST(test_image_patterns)
{
    static const struct {
        const char *pattern, *image;
        bool matches;
    } cases[] = {
        {"r.example", "r.example/x", true},
        {"https://r.example/", "r.example/x", true},
        {"r.example", "r.example:5000/x", false},
        {"r.example:5000", "r.example:5000/x", true},
        {"*.example", "r.example/x", true},
        {"*.example", "a.r.example/x", false},
        {"r*y.example", "registry.example/x", true},
        {"r*z.example", "registry.example/x", false},
        {"r.example/team", "r.example/team/x", true},
        {"r.example/team", "r.example/other/x", false},
        {"docker.io", "busybox", true},
        {"index.docker.io/v1/", "me/x", true},
        {"docker.io/library", "busybox", true},
        {"docker.io/me", "busybox", false},
        {"r.example/team/x:1", "r.example/team/x:1", false}, /* Names have no tags. */
        {"r.example/team/x", "r.example/team/x@sha256:00", true},
        {"index.docker.io/library/busybox", "docker.io/busybox:1", true},
    };
    AUTO_ARENA *a = arena_new(0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        ck_assert_msg(image_matches(a, str_of(cases[i].pattern), str_of(cases[i].image)) ==
                          cases[i].matches,
                      "%s and %s", cases[i].pattern, cases[i].image);
}
END_TEST

START_TEST(test_payload_paths)
{
    static const char *const good[] = {"a", "a/b", "a/..b", ".hidden", "a.b/c-d"};
    static const char *const bad[] = {"",     "/a", "..",  "../a",   "a/../b",
                                      "a//b", "a/", "./a", "..data", "..2026/x"};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        ck_assert_msg(payload_path_valid(str_of(good[i])), "%s", good[i]);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        ck_assert_msg(!payload_path_valid(str_of(bad[i])), "%s", bad[i]);
}
END_TEST

/* The network configuration is JSON, for one family and for two. */
START_TEST(test_cni_conf)
{
    AUTO_ARENA *a = arena_new(0);
    struct str cidrs[] = {STR("10.1.2.0/24"), STR("fd00:1::/64")};
    for (size_t n = 1; n <= 2; n++) {
        AUTO_BUF b = BUF_INIT;
        struct json *j;
        cni_conf_text(cidrs, n, "/var/lib/a \"node\"", n == 2, &b);
        ck_assert_int_eq(json_parse(a, buf_str(&b), &j, NULL), 0);
        const struct json *plugins = json_getc(j, "plugins");
        const char *masquerade = n == 2 ? "\"ipMasq\": true" : "\"ipMasq\": false";
        ck_assert(str_find_str(buf_str(&b), str_of(masquerade)) >= 0);
        const struct json *ranges = json_path(plugins->array.items[0], "ipam.ranges");
        ck_assert_uint_eq(ranges->array.count, n);
        ASSERT_STR(json_get_str(json_path(plugins->array.items[0], "ipam"), "dataDir"),
                   "/var/lib/a \"node\"");
        ASSERT_STR(json_get_str(ranges->array.items[0]->array.items[0], "subnet"), "10.1.2.0/24");
    }
}
END_TEST

START_TEST(test_info_pid)
{
    ck_assert_int_eq(rt_info_pid(STR("{\"sandboxID\":\"x\",\"pid\":4711}")), 4711);
    ck_assert_int_eq(rt_info_pid(STR("{}")), 0);
    ck_assert_int_eq(rt_info_pid(STR("nonsense")), 0);
}
END_TEST

/* Where the time of a start went; nothing is added once the pod ran. */
START_TEST(test_start_trace)
{
    struct start_trace t;
    AUTO_BUF b = BUF_INIT;
    start_trace_begin(&t, 1000000000);
    start_trace_add(&t, START_VOLUMES, 2000000);
    start_trace_add(&t, START_SANDBOX, 110000000);
    start_trace_add(&t, START_IMAGE, 900000);
    start_trace_add(&t, START_START, 1040000000);
    start_trace_print(&t, 2200000000, &b);
    ASSERT_STR(buf_str(&b), "1.200s (volumes 0.002s, sandbox 0.110s, start 1.040s, other 0.047s)");
    t.over = true;
    start_trace_add(&t, START_PULL, 5000000);
    ck_assert_uint_eq(t.spent_ns[START_PULL], 0);
}
END_TEST

UNIT_MAIN("kubelet pure parts", {
    UNIT_TEST(test_backoff);
    UNIT_TEST(test_image_repository);
    UNIT_TEST(test_image_patterns);
    UNIT_TEST(test_expand);
    UNIT_TEST(test_log_lines);
    UNIT_TEST(test_log_tail);
    UNIT_TEST(test_cgroup_numbers);
    UNIT_TEST(test_probe_thresholds);
    UNIT_TEST(test_images);
    UNIT_TEST(test_payload_paths);
    UNIT_TEST(test_cni_conf);
    UNIT_TEST(test_info_pid);
    UNIT_TEST(test_start_trace);
})
