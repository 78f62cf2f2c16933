/* test_proxy_rules.c - Services and slices to nftables text. That the kernel
 * takes the text and routes by it is shown end to end. */
#include "kubelet/image_gc.h"
#include "kubelet/log_rotation.h"
#include "kubelet/proxy/rules.h"

#include "lib/base/buf.h"
#include "lib/base/file.h"

#include "api/core_v1.h"
#include "api/discovery_v1.h"
#include "test/unit/unit.h"

#include <dirent.h>
#include <stdio.h>

struct fixture {
    struct core_v1_service_port port;
    struct core_v1_service service;
    struct str addresses[2][1];
    struct discovery_v1_endpoint endpoints[2];
    struct discovery_v1_endpoint_port slice_port;
    struct discovery_v1_endpoint_slice slice;
    const struct discovery_v1_endpoint_slice *slices[1];
    struct proxy_service list[1];
    struct proxy_inputs in;
};

static void make(struct fixture *f)
{
    *f = (struct fixture){
        .port = {.name = STR("http"), .protocol = STR("TCP"), .port = 80},
        .addresses = {{STR("10.0.0.1")}, {STR("10.0.0.2")}},
        .slice_port = {.has_name = true, .name = STR("http"), .has_port = true, .port = 8080},
    };
    for (size_t i = 0; i < 2; i++)
        f->endpoints[i] = (struct discovery_v1_endpoint){.addresses = f->addresses[i],
                                                         .addresses_count = 1,
                                                         .has_node_name = true,
                                                         .node_name = i == 0 ? STR("a") : STR("b")};
    f->service.metadata.name = STR("web");
    f->service.metadata.namespace = STR("ns");
    f->service.spec.cluster_ip = STR("10.96.0.7");
    f->service.spec.ports = &f->port;
    f->service.spec.ports_count = 1;
    f->slice.address_type = STR("IPv4");
    f->slice.endpoints = f->endpoints;
    f->slice.endpoints_count = 2;
    f->slice.ports = &f->slice_port;
    f->slice.ports_count = 1;
    f->slices[0] = &f->slice;
    f->list[0] = (struct proxy_service){&f->service, f->slices, 1};
    f->in = (struct proxy_inputs){.node_name = "a", .services = f->list, .service_count = 1};
}

static char *render(struct fixture *f)
{
    AUTO_BUF b = BUF_INIT;
    proxy_rules(&f->in, &b);
    return buf_steal(&b, NULL);
}

#define HAS(f, text)                                                                               \
    do {                                                                                           \
        AUTO_FREE char *r_ = render(f);                                                            \
        ck_assert_msg(strstr(r_, text) != NULL, "no '%s' in\n%s", text, r_);                       \
    } while (0)
#define HAS_NOT(f, text)                                                                           \
    do {                                                                                           \
        AUTO_FREE char *r_ = render(f);                                                            \
        ck_assert_ptr_null(strstr(r_, text));                                                      \
    } while (0)

/* A ClusterIP leads to its endpoints by chance. */
START_TEST(test_cluster_ip)
{
    struct fixture f;
    make(&f);
    HAS(&f, "10.96.0.7 . tcp . 80 : goto svc-in-");
    HAS(&f, "numgen random mod 2 vmap { 0 : goto ep-in-");
    HAS(&f, "dnat to 10.0.0.1:8080");
    HAS(&f, "dnat to 10.0.0.2:8080");
    HAS(&f, "add table ip trireme-proxy\ndelete table ip trireme-proxy\n");
    HAS_NOT(&f, "goto refuse,");
}
END_TEST

/* Unready endpoints are left out; without any the address is refused; those that
 * still serve while terminating are the last resort. */
START_TEST(test_readiness)
{
    struct fixture f;
    make(&f);
    f.endpoints[0].conditions = (struct discovery_v1_endpoint_conditions){.has_ready = true};
    HAS_NOT(&f, "dnat to 10.0.0.1:8080");
    f.endpoints[1].conditions = f.endpoints[0].conditions;
    HAS(&f, "10.96.0.7 . tcp . 80 : goto refuse");
    f.endpoints[1].conditions.has_serving = f.endpoints[1].conditions.serving = true;
    f.endpoints[1].conditions.has_terminating = f.endpoints[1].conditions.terminating = true;
    HAS(&f, "dnat to 10.0.0.2:8080");
}
END_TEST

/* internalTrafficPolicy Local: this node's endpoints, or nothing. */
START_TEST(test_local)
{
    struct fixture f;
    make(&f);
    f.service.spec.internal_traffic_policy = STR("Local");
    HAS(&f, "dnat to 10.0.0.1:8080");
    HAS_NOT(&f, "dnat to 10.0.0.2:8080");
    f.in.node_name = "c";
    HAS(&f, "10.96.0.7 . tcp . 80 : drop");
}
END_TEST

/* Node ports come in through our address, unless the policy is Local. */
START_TEST(test_node_port)
{
    struct fixture f;
    make(&f);
    f.port.node_port = 30080;
    HAS(&f, "tcp . 30080 : goto ext-");
    AUTO_FREE char *all = render(&f);
    const char *ext = strstr(all, "chain ext-");
    ck_assert_ptr_nonnull(ext);
    ck_assert_ptr_nonnull(strstr(ext, "meta mark set"));
    f.service.spec.external_traffic_policy = STR("Local");
    AUTO_FREE char *local = render(&f);
    ext = strstr(local, "chain ext-");
    const char *end = strstr(ext, "}");
    const char *mark = strstr(ext, "meta mark set");
    ck_assert(mark == NULL || mark > end);
}
END_TEST

/* What an object says never reaches nft unchecked. */
START_TEST(test_hostile)
{
    struct fixture f;
    make(&f);
    f.addresses[0][0] = STR("10.0.0.1; flush ruleset");
    f.service.spec.cluster_ip = STR("1.2.3.4 } ; flush ruleset");
    HAS_NOT(&f, "flush");
    make(&f);
    f.service.spec.cluster_ip = STR("None");
    HAS_NOT(&f, "dnat");
}
END_TEST

/* Client addresses stick to an endpoint when asked for. */
START_TEST(test_affinity)
{
    struct fixture f;
    make(&f);
    f.service.spec.session_affinity = STR("ClientIP");
    HAS(&f, "timeout 10800s");
    HAS(&f, "ip saddr @aff-in-");
}
END_TEST

/* --- housekeeping ------------------------------------------------------------------ */

/* Unused images go, longest unused first, until enough is free; young ones stay. */
START_TEST(test_image_choice)
{
    struct image_candidate list[] = {
        {.id = "used", .size_bytes = 100, .keep = true},
        {.id = "recent", .size_bytes = 100, .last_used_ms = 900, .first_seen_ms = 1},
        {.id = "old", .size_bytes = 100, .last_used_ms = 10, .first_seen_ms = 1},
        {.id = "young", .size_bytes = 100, .first_seen_ms = 990},
    };
    ck_assert_uint_eq(image_gc_choose(list, 4, 50, 1000, 100), 1);
    ck_assert_str_eq(list[0].id, "old");
    ck_assert_uint_eq(image_gc_choose(list, 4, 500, 1000, 100), 2);
    ck_assert_str_eq(list[1].id, "recent");
    ck_assert_uint_eq(image_gc_choose(list, 4, 0, 1000, 100), 0);
}
END_TEST

static size_t count_entries(const char *dir)
{
    size_t n = 0;
    DIR *d = opendir(dir);
    ck_assert_ptr_nonnull(d);
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d))
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

/* A log that is too large is moved aside; the number of files stays bounded. */
START_TEST(test_log_rotation)
{
    char dir[] = "/tmp/trireme-unit-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(dir));
    AUTO_FREE char *path = xasprintf("%s/0.log", dir);
    AUTO_FREE char *older = xasprintf("%s/0.log.20200101-000000", dir);
    AUTO_FREE char *oldest = xasprintf("%s/0.log.20190101-000000.gz", dir);
    bool rotated;
    struct error err;
    ck_assert_int_eq(file_write_atomic(path, "12345", 5, 0640, &err), 0);
    ck_assert_int_eq(log_rotate_file(path, 5, 3, &rotated, &err), 0);
    ck_assert(!rotated);
    ck_assert_int_eq(file_write_atomic(older, "x", 1, 0640, &err), 0);
    ck_assert_int_eq(file_write_atomic(oldest, "x", 1, 0640, &err), 0);
    ck_assert_int_eq(log_rotate_file(path, 4, 3, &rotated, &err), 0);
    ck_assert(rotated);
    ck_assert(!file_exists(path) && !file_exists(oldest) && !file_exists(older));
    AUTO_FREE char *packed = xasprintf("%s.gz", older);
    ck_assert(file_exists(packed));
    ck_assert_uint_eq(count_entries(dir), 2);
    file_remove_tree(dir, NULL);
}
END_TEST

UNIT_MAIN("kubelet proxy and housekeeping", {
    UNIT_TEST(test_cluster_ip);
    UNIT_TEST(test_readiness);
    UNIT_TEST(test_local);
    UNIT_TEST(test_node_port);
    UNIT_TEST(test_hostile);
    UNIT_TEST(test_affinity);
    UNIT_TEST(test_image_choice);
    UNIT_TEST(test_log_rotation);
})
