/* test_isolation.c - declarations to chains, sets and counters, and what the kernel has counted to
 * edges. That the kernel enforces it is shown end to end. */
#include "kubelet/isolation/edges.h"
#include "kubelet/isolation/rules.h"

#include "lib/api/codec.h"
#include "lib/api/depends.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#include "api/core_v1.h"
#include "api/discovery_v1.h"
#include "test/unit/unit.h"

/* Namespace x with Service db (10.96.0.5), whose endpoint is 10.0.1.9, and pods of this node. */
struct world {
    struct arena *a;
    struct api_object *objects[16];
    size_t object_count;
    struct map namespaces, services;
    struct isolation_service db;
    const struct discovery_v1_endpoint_slice *slices[2];
    struct policy_local locals[4];
    struct isolation_inputs in;
};

static const char *const pod_ips[][2] = {
    {"10.0.0.1", "fd00::1"}, {"10.0.0.2", "fd00::2"}, {"10.0.0.3", "fd00::3"}};
static const char *const dns[] = {"10.96.0.10"};

static void *add(struct world *w, const char *api_version, const char *kind, const char *json)
{
    const struct api_kind *k = api_kind_by_api_version(str_of(api_version), str_of(kind));
    struct api_object *o = api_object_new(k);
    struct error err = {0};
    int rc = api_json_decode(o->arena, k->msg, str_of(json), API_STRICT, NULL, o->msg, &err);
    ck_assert_msg(rc == 0, "%s", error_message(&err));
    w->objects[w->object_count++] = o;
    return o->msg;
}

/* more: further members of the metadata. */
static void add_pod(struct world *w, const char *name, const char *depends, const char *more)
{
    size_t n = w->in.local_count++;
    AUTO_FREE char *notes = depends != NULL
                                ? xasprintf(",\"annotations\":{\"" DEPENDS_ON "\":\"%s\"}", depends)
                                : xstrdup("");
    AUTO_FREE char *json =
        xasprintf("{\"metadata\":{\"namespace\":\"x\",\"name\":\"%s\"%s%s},\"spec\":{"
                  "\"dnsPolicy\":\"ClusterFirst\",\"containers\":[{\"name\":\"c\"}]}}",
                  name, notes, more);
    w->locals[n] =
        (struct policy_local){.pod = add(w, "v1", "Pod", json), .ips = pod_ips[n], .ip_count = 2};
}

static void label_namespace(struct world *w, const char *value)
{
    AUTO_FREE char *json = xasprintf("{\"metadata\":{\"name\":\"x\",\"labels\":{"
                                     "\"" DEPENDS_ISOLATION "\":\"%s\"}}}",
                                     value);
    map_set(&w->namespaces, STR("x"), add(w, "v1", "Namespace", json));
}

static void make(struct world *w)
{
    *w = (struct world){.a = arena_new(0)};
    map_init(&w->namespaces);
    map_init(&w->services);
    w->db.service =
        add(w, "v1", "Service",
            "{\"metadata\":{\"namespace\":\"x\",\"name\":\"db\"},\"spec\":{\"clusterIP\":"
            "\"10.96.0.5\",\"clusterIPs\":[\"10.96.0.5\"],\"ports\":[{\"name\":\"sql\",\"port\":"
            "5432,\"protocol\":\"TCP\"},{\"name\":\"stat\",\"port\":80,\"protocol\":\"UDP\"}]}}");
    w->slices[0] = add(w, "discovery.k8s.io/v1", "EndpointSlice",
                       "{\"metadata\":{\"namespace\":\"x\",\"name\":\"db-1\"},\"addressType\":"
                       "\"IPv4\",\"ports\":[{\"name\":\"sql\",\"port\":5000,\"protocol\":\"TCP\"},"
                       "{\"name\":\"stat\",\"port\":8080,\"protocol\":\"UDP\"}],\"endpoints\":[{"
                       "\"addresses\":[\"10.0.1.9\"],\"conditions\":{\"ready\":false}}]}");
    w->db.slices = w->slices;
    w->db.slice_count = 1;
    map_set(&w->services, STR("x/db"), &w->db);
    w->in = (struct isolation_inputs){.locals = w->locals,
                                      .namespaces = &w->namespaces,
                                      .services = &w->services,
                                      .cluster_dns = dns,
                                      .cluster_dns_count = 1,
                                      .seed = {1, 2}};
}

static void done(struct world *w)
{
    for (size_t i = 0; i < w->object_count; i++)
        api_object_unref(w->objects[i]);
    map_done(&w->namespaces);
    map_done(&w->services);
    arena_free(w->a);
}

static void expect(struct world *w, const char *text, bool there, int line)
{
    AUTO_BUF b = BUF_INIT;
    struct policy_state *s = isolation_rules(&w->in);
    policy_state_write(s, &b);
    policy_state_free(s);
    AUTO_FREE char *r = buf_steal(&b, NULL);
    ck_assert_msg((strstr(r, text) != NULL) == there, "line %d: %s '%s' in\n%s", line,
                  there ? "no" : "there is", text, r);
}
#define HAS(w, text) expect(w, text, true, __LINE__)
#define HAS_NOT(w, text) expect(w, text, false, __LINE__)

/* Without declaration and label a pod has no entry. */
START_TEST(free_pods_are_left_alone)
{
    struct world w;
    make(&w);
    add_pod(&w, "p", NULL, "");
    struct policy_state *s = isolation_rules(&w.in);
    ck_assert_uint_eq(s->chain_count, 0);
    ck_assert(!w.locals[0].selected);
    ck_assert_uint_eq(isolation_plan_of(s)->count, 0);
    policy_state_free(s);
    done(&w);
}
END_TEST

/* A Service by its address and by its endpoints, ready or not; nothing else. */
START_TEST(services)
{
    struct world w;
    make(&w);
    add_pod(&w, "p", "db", "");
    HAS(&w, "out4 { 10.0.0.1 : jump w-");
    HAS(&w, "out6 { fd00::1 : jump w-");
    HAS(&w, "ct original ip daddr 10.96.0.10 meta l4proto { tcp, udp } ct original proto-dst 53 "
            "accept");
    HAS(&w, "ct original ip daddr 10.96.0.5 meta l4proto tcp ct original proto-dst 5432 counter");
    HAS(&w, "ct original ip daddr 10.96.0.5 meta l4proto udp ct original proto-dst 80 counter");
    HAS(&w, "{ 10.0.1.9 . tcp . 5000, 10.0.1.9 . udp . 8080 }");
    HAS(&w, "reject with icmpx admin-prohibited");
    ck_assert(w.locals[0].selected);
    done(&w);
    make(&w);
    add_pod(&w, "p", "db:stat", "");
    HAS(&w, "{ 10.0.1.9 . udp . 8080 }");
    HAS_NOT(&w, "proto-dst 5432");
    HAS_NOT(&w, "5000");
    done(&w);
    make(&w);
    add_pod(&w, "p", "other/db", ""); /* Not there: nothing is open. */
    HAS_NOT(&w, "10.0.1.9");
    HAS_NOT(&w, "10.96.0.5");
    done(&w);
}
END_TEST

START_TEST(outside)
{
    static const struct str ranges[] = {
        {"10.0.0.0/24", 11}, {"2a00::/64", 9}, {"192.0.2.1", 9}, {"host", 4}};
    struct world w;
    make(&w);
    w.in.cluster_ranges = ranges;
    w.in.cluster_range_count = ARRAY_SIZE(ranges);
    add_pod(&w, "p", "10.1.0.0/16:53/udp, 0.0.0.0/0:25, fd00:2::/32", "");
    HAS(&w, "ip daddr 10.1.0.0/16 udp dport 53 counter");
    HAS(&w, "meta nfproto ipv4 tcp dport 25 counter");
    HAS(&w, "ip6 daddr fd00:2::/32 counter");
    HAS_NOT(&w, "cluster4"); /* Which costs only those who ask for the internet. */
    add_pod(&w, "q", "internet:443", "");
    HAS(&w, "169.254.0.0/16");
    HAS(&w, "ip daddr != @cluster4 tcp dport 443 counter");
    HAS(&w, "cluster4 { 10.0.0.0/24, 192.0.2.1 }");
    HAS(&w, "cluster6 { 2a00::/64 }");
    done(&w);
}
END_TEST

/* The label of a Namespace: who declares nothing reaches nothing, or is only written down. A
 * declaration holds whatever the label says. */
START_TEST(namespaces)
{
    struct world w;
    make(&w);
    label_namespace(&w, "declared");
    add_pod(&w, "p", NULL, "");
    HAS(&w, "reject");
    ck_assert(w.locals[0].selected);
    label_namespace(&w, "audit");
    HAS_NOT(&w, "reject");
    HAS(&w, "update @refused4 { ip saddr . ct original ip daddr");
    add_pod(&w, "q", "db", "");
    HAS(&w, "reject");
    label_namespace(&w, "what"); /* Not understood: shut. */
    struct core_v1_namespace *n = map_get(&w.namespaces, STR("x"));
    ck_assert_int_eq(isolation_mode_of(n), ISOLATION_DECLARED);
    ck_assert_int_eq(isolation_mode_of(NULL), ISOLATION_OPEN);
    done(&w);
}
END_TEST

#define OWNED(kind, name, labels)                                                                  \
    ",\"labels\":{" labels "},\"ownerReferences\":[{\"apiVersion\":\"apps/v1\",\"kind\":\"" kind   \
    "\",\"name\":\"" name "\",\"uid\":\"u\",\"controller\":true}]"

/* Pods of a workload share chain and counters; a Deployment's name is found through its
 * ReplicaSet's. */
START_TEST(workloads)
{
    struct world w;
    make(&w);
    add_pod(&w, "p", "db", OWNED("ReplicaSet", "web-5c7b", "\"pod-template-hash\":\"5c7b\""));
    add_pod(&w, "q", "db", OWNED("ReplicaSet", "web-9d9d", "\"pod-template-hash\":\"9d9d\""));
    add_pod(&w, "r", "db", OWNED("StatefulSet", "web", ""));
    struct policy_state *s = isolation_rules(&w.in);
    const struct isolation_plan *p = isolation_plan_of(s);
    ck_assert_uint_eq(s->chain_count, 2);
    ck_assert_uint_eq(p->count, 2);
    ck_assert(str_eqc(p->workloads[0].name, "Deployment/web"));
    ck_assert_uint_eq(p->workloads[0].pod_count, 2);
    ck_assert(str_eqc(p->workloads[1].name, "StatefulSet/web"));
    ck_assert_uint_eq(p->workloads[0].edge_count, 1);
    ck_assert(str_eqc(p->workloads[0].edges[0].to, "x/db"));
    policy_state_free(s);
    done(&w);
}
END_TEST

/* An endpoint more is an element more: the chain stays, and with it what was counted. */
START_TEST(differences)
{
    struct world w;
    make(&w);
    add_pod(&w, "p", "db:sql", "");
    struct policy_state *have = isolation_rules(&w.in);
    w.slices[1] = add(&w, "discovery.k8s.io/v1", "EndpointSlice",
                      "{\"metadata\":{\"name\":\"db-2\"},\"addressType\":\"IPv4\",\"ports\":[{"
                      "\"name\":\"sql\",\"port\":5000,\"protocol\":\"TCP\"}],\"endpoints\":[{"
                      "\"addresses\":[\"10.0.2.9\"]}]}");
    w.db.slice_count = 2;
    struct policy_state *want = isolation_rules(&w.in);
    AUTO_BUF b = BUF_INIT;
    policy_state_diff(have, want, &b);
    ck_assert_msg(str_has_prefix(buf_str(&b), STR("add element inet trireme-isolation e4-")),
                  STR_FMT, STR_ARG(buf_str(&b)));
    ck_assert(str_find_str(buf_str(&b), STR("{ 10.0.2.9 . tcp . 5000 }")) > 0);
    ck_assert(str_find_str(buf_str(&b), STR("chain")) < 0);
    policy_state_free(have);
    /* And back to nothing: counters go behind the chains that name them. */
    w.in.local_count = 0;
    have = isolation_rules(&w.in);
    buf_clear(&b);
    policy_state_diff(want, have, &b);
    ck_assert(str_find_str(buf_str(&b), STR("delete chain")) > 0);
    ck_assert(str_find_str(buf_str(&b), STR("delete counter")) >
              str_find_str(buf_str(&b), STR("delete chain")));
    policy_state_free(have);
    policy_state_free(want);
    done(&w);
}
END_TEST

/* Each port that is asked for needs an endpoint that is ready. */
START_TEST(readiness)
{
    struct world w;
    make(&w);
    struct dependency all = {.type = DEPEND_SERVICE, .name = STR("db")},
                      stat = {.type = DEPEND_SERVICE, .name = STR("db"), .port = 80},
                      unknown = {.type = DEPEND_SERVICE, .port_name = STR("no")};
    ck_assert(!isolation_is_ready(NULL, &all));
    ck_assert(!isolation_is_ready(&w.db, &all));
    w.slices[1] = add(&w, "discovery.k8s.io/v1", "EndpointSlice",
                      "{\"addressType\":\"IPv4\",\"ports\":[{\"name\":\"stat\",\"port\":8080,"
                      "\"protocol\":\"UDP\"}],\"endpoints\":[{\"addresses\":[\"10.0.2.9\"],"
                      "\"conditions\":{\"ready\":true}}]}");
    w.db.slice_count = 2;
    ck_assert(isolation_is_ready(&w.db, &stat));
    ck_assert(!isolation_is_ready(&w.db, &all));
    ck_assert(!isolation_is_ready(&w.db, &unknown));
    done(&w);
}
END_TEST

/* --- edges ----------------------------------------------------------------------------------- */

static struct str name_of(void *arg, struct arena *a, struct str ip, struct str protocol, int port)
{
    UNUSED(arg);
    UNUSED(protocol);
    return str_eqc(ip, "10.96.0.7") ? arena_printf(a, "x/cache:%d", port) : STR_NULL;
}

static char *tell(struct world *w, const char *listed, struct buf *metrics, struct error *err)
{
    AUTO_BUF b = BUF_INIT;
    struct policy_state *s = isolation_rules(&w->in);
    struct edges_inputs in = {.node = "n",
                              .since_s = 1800000000,
                              .now_s = 1800007200,
                              .plan = isolation_plan_of(s),
                              .listed = str_of(listed),
                              .name_of = name_of};
    int rc = edges_write(&in, &b, metrics, err);
    policy_state_free(s);
    return rc == 0 ? buf_steal(&b, NULL) : NULL;
}

/* Counters and attempts of a workload; attempts of others are not its own. */
START_TEST(edges)
{
    struct world w;
    struct error err = {0};
    AUTO_BUF metrics = BUF_INIT;
    make(&w);
    add_pod(&w, "p", "db", "");
    struct policy_state *s = isolation_rules(&w.in);
    const struct isolation_workload *x = &isolation_plan_of(s)->workloads[0];
    AUTO_FREE char *listed = xasprintf(
        "{\"nftables\":[{\"metainfo\":{}},{\"counter\":{\"name\":\"" STR_FMT "\",\"packets\":7}},"
        "{\"counter\":{\"name\":\"" STR_FMT "\",\"packets\":5}}]}\n"
        "{\"nftables\":[{\"set\":{\"name\":\"refused4\",\"elem\":["
        "{\"elem\":{\"val\":{\"concat\":[\"10.0.0.1\",\"10.96.0.7\",\"tcp\",6379]},\"expires\":"
        "3590,\"counter\":{\"packets\":3,\"bytes\":1}}},"
        "{\"elem\":{\"val\":{\"concat\":[\"10.0.0.1\",\"8.8.8.8\",\"udp\",53]},\"expires\":1800,"
        "\"counter\":{\"packets\":2,\"bytes\":1}}},"
        "{\"elem\":{\"val\":{\"concat\":[\"10.0.0.9\",\"8.8.4.4\",\"udp\",53]},\"expires\":1800,"
        "\"counter\":{\"packets\":2,\"bytes\":1}}},{\"elem\":{}},7]}}]}\n",
        STR_ARG(x->edges[0].counter), STR_ARG(x->refused));
    policy_state_free(s);
    AUTO_FREE char *told = tell(&w, listed, &metrics, &err);
    ck_assert_msg(told != NULL, "%s", error_message(&err));
    ck_assert_str_eq(
        told, "{\"node\":\"n\",\"since\":\"2027-01-15T08:00:00Z\",\"workloads\":[{\"namespace\":"
              "\"x\",\"name\":\"Pod/p\",\"mode\":\"declared\",\"pods\":1,\"edges\":[{\"to\":"
              "\"x/db\",\"connections\":7}],\"refused\":5,\"attempts\":[{\"to\":"
              "\"x/cache:6379/tcp\",\"count\":3,\"last\":\"2027-01-15T09:59:50Z\"},{\"to\":"
              "\"8.8.8.8:53/udp\",\"count\":2,\"last\":\"2027-01-15T09:30:00Z\"}]}]}\n");
    ck_assert(str_find_str(buf_str(&metrics),
                           STR("trireme_isolation_connections_total{namespace=\"x\",workload="
                               "\"Pod/p\",to=\"x/db\"} 7\n")) > 0);
    ck_assert(str_find_str(buf_str(&metrics), STR("mode=\"declared\"} 5\n")) > 0);
    ck_assert(tell(&w, "{\"nftables\":[", &metrics, &err) == NULL);
    ck_assert(strstr(error_message(&err), "what nft lists") != NULL);
    done(&w);
}
END_TEST

UNIT_MAIN("isolation", {
    UNIT_TEST(free_pods_are_left_alone);
    UNIT_TEST(services);
    UNIT_TEST(outside);
    UNIT_TEST(namespaces);
    UNIT_TEST(workloads);
    UNIT_TEST(differences);
    UNIT_TEST(readiness);
    UNIT_TEST(edges);
})
