/* test_proxy_plan.c - Services and slices to elements of the kernel's maps, and from one state to
 * the next. That packets go where they should is shown end to end. */
#include "kubelet/nft_batch.h"
#include "kubelet/proxy/plan.h"
#include "kubelet/proxy/stale.h"
#include "kubelet/proxy/table.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include "api/core_v1.h"
#include "api/discovery_v1.h"
#include "test/unit/unit.h"

#include <arpa/inet.h>
#include <linux/netlink.h>
#include <stdio.h>

#define ENDPOINTS 4

struct fixture {
    struct core_v1_service_port port;
    struct core_v1_service service;
    struct str addresses[ENDPOINTS][1];
    struct discovery_v1_endpoint endpoints[ENDPOINTS];
    struct discovery_v1_endpoint_hints hints[ENDPOINTS];
    struct discovery_v1_for_zone zones[ENDPOINTS];
    struct discovery_v1_for_node nodes[ENDPOINTS];
    struct discovery_v1_endpoint_port slice_port;
    struct discovery_v1_endpoint_slice slice;
    const struct discovery_v1_endpoint_slice *slices[1];
    struct core_v1_load_balancer_ingress ingress;
    struct str ranges[3];
    struct proxy_service in;
    uint8_t node_address[1][16];
    struct proxy_plan_config config;
};

/* Two endpoints: one on this node, "a", one on another. */
static void make(struct fixture *f)
{
    *f = (struct fixture){
        .port = {.name = STR("http"), .protocol = STR("TCP"), .port = 80},
        .addresses = {{STR("10.0.0.1")}, {STR("10.0.0.2")}, {STR("10.0.0.3")}, {STR("10.0.0.4")}},
        .slice_port = {.has_name = true, .name = STR("http"), .has_port = true, .port = 8080},
        .node_address = {{192, 168, 0, 9}},
    };
    for (size_t i = 0; i < ENDPOINTS; i++)
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
    f->in = (struct proxy_service){&f->service, f->slices, 1};
    f->config = (struct proxy_plan_config){.node = {.name = "a"}};
    f->config.node_addresses[PROXY_V4] = (const uint8_t(*)[16])f->node_address;
    f->config.node_address_counts[PROXY_V4] = 1;
}

static void balancer(struct fixture *f)
{
    f->service.spec.type = STR("LoadBalancer");
    f->ingress.ip = STR("203.0.113.5");
    f->service.status.load_balancer.ingress = &f->ingress;
    f->service.status.load_balancer.ingress_count = 1;
}

/* --- elements as text: "services 10.96.0.7.tcp.80 lb-2" --------------------------------- */

static const char *protocol(uint8_t p)
{
    return p == 6 ? "tcp" : p == 17 ? "udp" : "sctp";
}

static void print_address(struct buf *b, const char *bytes, size_t n)
{
    char text[INET6_ADDRSTRLEN];
    inet_ntop(n == 4 ? AF_INET : AF_INET6, bytes, text, sizeof(text));
    buf_puts(b, text);
}

static unsigned port_at(const char *bytes)
{
    return (unsigned)(uint8_t)bytes[0] << 8 | (uint8_t)bytes[1];
}

static void print_element(struct buf *b, const struct proxy_element *e)
{
    size_t n = e->family == PROXY_V6 ? 16 : 4;
    buf_printf(b, "%s ", proxy_set_name(e->set));
    print_address(b, e->key.data, n);
    if (e->set != PROXY_CLUSTER_IPS && e->set != PROXY_HAIRPIN)
        buf_printf(b, ".%s.%u", protocol((uint8_t)e->key.data[n]), port_at(e->key.data + n + 4));
    if (e->set == PROXY_ENDPOINTS) {
        uint32_t number;
        memcpy(&number, e->key.data + n + 8, sizeof(number));
        buf_printf(b, "#%u ", number);
        print_address(b, e->data.data, n);
        buf_printf(b, ":%u", port_at(e->data.data + n));
    } else if (e->set == PROXY_ALLOWED) {
        buf_puts(b, " ");
        print_address(b, e->key.data + n + 8, n);
        buf_puts(b, "-");
        print_address(b, e->key.data + e->key.len - n, n);
    } else if (!str_empty(e->data)) {
        buf_printf(b, " " STR_FMT, STR_ARG(e->data));
    }
    buf_puts(b, "\n");
}

static char *render(struct fixture *f)
{
    AUTO_BUF packed = BUF_INIT, text = BUF_INIT;
    struct proxy_plan plan = {.elements = &packed};
    struct proxy_element e;
    proxy_plan(&f->config, &f->in, &plan);
    buf_puts(&text, "\n");
    for (size_t pos = 0; proxy_element_next(buf_str(&packed), &pos, &e);)
        print_element(&text, &e);
    return buf_steal(&text, NULL);
}

#define HAS(f, line)                                                                               \
    do {                                                                                           \
        AUTO_FREE char *r_ = render(f);                                                            \
        ck_assert_msg(strstr(r_, "\n" line "\n") != NULL, "no '%s' in%s", line, r_);               \
    } while (0)
#define HAS_NOT(f, text)                                                                           \
    do {                                                                                           \
        AUTO_FREE char *r_ = render(f);                                                            \
        ck_assert_msg(strstr(r_, text) == NULL, "'%s' in%s", text, r_);                            \
    } while (0)

/* --- plans ------------------------------------------------------------------------------------ */

/* A ClusterIP leads to its endpoints; those here may reach themselves. */
START_TEST(test_cluster_ip)
{
    struct fixture f;
    make(&f);
    HAS(&f, "services 10.96.0.7.tcp.80 lb-2");
    HAS(&f, "endpoints 10.96.0.7.tcp.80#0 10.0.0.1:8080");
    HAS(&f, "endpoints 10.96.0.7.tcp.80#1 10.0.0.2:8080");
    HAS(&f, "cluster-ips 10.96.0.7");
    HAS(&f, "hairpin 10.0.0.1");
    HAS_NOT(&f, "hairpin 10.0.0.2");
    HAS_NOT(&f, "refused");
}
END_TEST

/* The other family is the same with longer addresses. */
START_TEST(test_six)
{
    struct fixture f;
    make(&f);
    f.service.spec.cluster_ip = STR("fd00::7");
    f.slice.address_type = STR("IPv6");
    f.addresses[0][0] = STR("fd01::1");
    f.addresses[1][0] = STR("fd01::2");
    HAS(&f, "services fd00::7.tcp.80 lb-2");
    HAS(&f, "endpoints fd00::7.tcp.80#1 fd01::2:8080");
    HAS(&f, "hairpin fd01::1");
}
END_TEST

/* Unready endpoints are left out; without any the address is refused; those that
 * still serve while terminating are the last resort. */
START_TEST(test_readiness)
{
    struct fixture f;
    make(&f);
    f.endpoints[0].conditions = (struct discovery_v1_endpoint_conditions){.has_ready = true};
    HAS_NOT(&f, "10.0.0.1:8080");
    HAS(&f, "services 10.96.0.7.tcp.80 lb-1");
    f.endpoints[1].conditions = f.endpoints[0].conditions;
    HAS(&f, "refused 10.96.0.7.tcp.80");
    f.endpoints[1].conditions.has_serving = f.endpoints[1].conditions.serving = true;
    f.endpoints[1].conditions.has_terminating = f.endpoints[1].conditions.terminating = true;
    HAS(&f, "endpoints 10.96.0.7.tcp.80#0 10.0.0.2:8080");
    HAS_NOT(&f, "refused");
}
END_TEST

/* internalTrafficPolicy Local: this node's endpoints, or nothing, silently. */
START_TEST(test_inside_local)
{
    struct fixture f;
    make(&f);
    f.service.spec.internal_traffic_policy = STR("Local");
    HAS(&f, "services 10.96.0.7.tcp.80 lb-1");
    HAS_NOT(&f, "10.0.0.2:8080");
    f.config.node.name = "c";
    HAS(&f, "dropped 10.96.0.7.tcp.80");
    HAS_NOT(&f, "services ");
}
END_TEST

/* Node ports are served on the node's addresses and leave with them, unless the policy is Local:
 * then only endpoints here get them, but for what this node itself sends. */
START_TEST(test_node_port)
{
    struct fixture f;
    make(&f);
    f.port.node_port = 30080;
    HAS(&f, "services 192.168.0.9.tcp.30080 ext-2");
    HAS_NOT(&f, "shortcuts");
    f.service.spec.external_traffic_policy = STR("Local");
    HAS(&f, "services 192.168.0.9.tcp.30080 lb-1");
    HAS(&f, "endpoints 192.168.0.9.tcp.30080#0 10.0.0.1:8080");
    HAS(&f, "shortcuts 192.168.0.9.tcp.30080 short-2");
    HAS(&f, "endpoints 192.168.0.9.tcp.30080#65537 10.0.0.2:8080");
    f.config.node.name = "c";
    HAS(&f, "dropped 192.168.0.9.tcp.30080");
    HAS(&f, "shortcuts 192.168.0.9.tcp.30080 short-2");
}
END_TEST

/* External and load balancers' addresses, but for those that the balancer keeps to itself. */
START_TEST(test_outside_addresses)
{
    struct fixture f;
    make(&f);
    struct str external[] = {STR("198.51.100.1")};
    balancer(&f);
    f.service.spec.external_ips = external;
    f.service.spec.external_ips_count = 1;
    HAS(&f, "services 198.51.100.1.tcp.80 ext-2");
    HAS(&f, "services 203.0.113.5.tcp.80 ext-2");
    f.ingress.has_ip_mode = true;
    f.ingress.ip_mode = STR("Proxy");
    HAS_NOT(&f, "203.0.113.5");
}
END_TEST

/* loadBalancerSourceRanges: whole ranges, those inside others dropped; the annotation counts where
 * there is no field; it concerns the balancer's address alone. */
START_TEST(test_source_ranges)
{
    struct fixture f;
    make(&f);
    struct api_str_entry annotation = {
        STR("service.beta.kubernetes.io/load-balancer-source-ranges"), STR("172.16.0.0/12, x")};
    balancer(&f);
    HAS_NOT(&f, "restricted");
    f.service.metadata.annotations = &annotation;
    f.service.metadata.annotations_count = 1;
    HAS(&f, "restricted 203.0.113.5.tcp.80");
    HAS(&f, "allowed 203.0.113.5.tcp.80 172.16.0.0-172.31.255.255");
    f.ranges[0] = STR("10.1.2.3/16");
    f.ranges[1] = STR("10.0.0.0/8");
    f.ranges[2] = STR("10.2.0.0/16");
    f.service.spec.load_balancer_source_ranges = f.ranges;
    f.service.spec.load_balancer_source_ranges_count = 3;
    HAS(&f, "allowed 203.0.113.5.tcp.80 10.0.0.0-10.255.255.255");
    HAS_NOT(&f, "10.1.0.0");
    HAS_NOT(&f, "172.16");
    HAS_NOT(&f, "restricted 10.96.0.7");
    f.service.spec.load_balancer_source_ranges_count = 0;
    annotation.value = STR("2001:db8::/32");
    HAS_NOT(&f, "restricted");
}
END_TEST

static void hint(struct fixture *f, size_t i, struct str zone, struct str node)
{
    f->zones[i].name = zone;
    f->nodes[i].name = node;
    f->hints[i] = (struct discovery_v1_endpoint_hints){
        .for_zones = &f->zones[i],
        .for_zones_count = str_empty(zone) ? 0 : 1,
        .for_nodes = &f->nodes[i],
        .for_nodes_count = str_empty(node) ? 0 : 1,
    };
    f->endpoints[i].hints = &f->hints[i];
}

/* Hints count where all ready endpoints have one and one of them is for us; the node's before the
 * zone's. */
START_TEST(test_hints)
{
    struct fixture f;
    make(&f);
    f.slice.endpoints_count = 3;
    f.config.node.zone = STR("z2");
    hint(&f, 0, STR("z1"), STR_NULL);
    hint(&f, 1, STR("z2"), STR_NULL);
    HAS(&f, "services 10.96.0.7.tcp.80 lb-3");
    hint(&f, 2, STR("z2"), STR_NULL);
    HAS(&f, "services 10.96.0.7.tcp.80 lb-2");
    HAS_NOT(&f, "10.0.0.1:8080");
    f.config.node.zone = STR("z3");
    HAS(&f, "services 10.96.0.7.tcp.80 lb-3");
    f.config.node.zone = STR_NULL;
    HAS(&f, "services 10.96.0.7.tcp.80 lb-3");
    hint(&f, 0, STR("z1"), STR("a"));
    hint(&f, 1, STR("z1"), STR("b"));
    hint(&f, 2, STR("z1"), STR("b"));
    f.config.node.zone = STR("z1");
    HAS(&f, "services 10.96.0.7.tcp.80 lb-1");
    HAS(&f, "endpoints 10.96.0.7.tcp.80#0 10.0.0.1:8080");
    f.config.node.name = "c";
    HAS(&f, "services 10.96.0.7.tcp.80 lb-3");
}
END_TEST

/* Unready endpoints need no hint; terminating ones are used wherever they are. */
START_TEST(test_hints_of_the_unready)
{
    struct fixture f;
    make(&f);
    f.config.node.zone = STR("z1");
    hint(&f, 0, STR("z1"), STR_NULL);
    f.endpoints[1].conditions = (struct discovery_v1_endpoint_conditions){.has_ready = true,
                                                                          .has_serving = true,
                                                                          .serving = true,
                                                                          .has_terminating = true,
                                                                          .terminating = true};
    HAS(&f, "endpoints 10.96.0.7.tcp.80#0 10.0.0.1:8080");
    f.endpoints[0].conditions = (struct discovery_v1_endpoint_conditions){.has_ready = true};
    HAS(&f, "endpoints 10.96.0.7.tcp.80#0 10.0.0.2:8080");
}
END_TEST

/* Clients stick to an endpoint for as long as asked, on every address. */
START_TEST(test_affinity)
{
    struct fixture f;
    make(&f);
    f.port.node_port = 30080;
    f.service.spec.session_affinity = STR("ClientIP");
    HAS(&f, "services 10.96.0.7.tcp.80 lb-sticky-2");
    HAS(&f, "services 192.168.0.9.tcp.30080 ext-sticky-2");
    HAS(&f, "sticky 10.96.0.7.tcp.80 learn-10800");
    struct core_v1_client_ip_config ip = {.has_timeout_seconds = true, .timeout_seconds = 60};
    struct core_v1_session_affinity_config config = {.client_ip = &ip};
    f.service.spec.session_affinity_config = &config;
    HAS(&f, "sticky 192.168.0.9.tcp.30080 learn-60");
}
END_TEST

/* What an object says is taken for an address or left out. */
START_TEST(test_hostile)
{
    struct fixture f;
    make(&f);
    f.addresses[0][0] = STR("10.0.0.1; flush ruleset");
    HAS(&f, "services 10.96.0.7.tcp.80 lb-1");
    f.service.spec.cluster_ip = STR("1.2.3.4 } ; flush ruleset");
    HAS_NOT(&f, "services");
    f.service.spec.cluster_ip = STR("None");
    HAS_NOT(&f, "services");
    make(&f);
    f.slice_port.port = 70000;
    HAS(&f, "refused 10.96.0.7.tcp.80");
}
END_TEST

/* Ready endpoints here, whatever the ports. */
START_TEST(test_local_count)
{
    struct fixture f;
    make(&f);
    struct arena *a = arena_new(0);
    ck_assert_uint_eq(proxy_count_local(a, &f.config.node, &f.in), 1);
    f.config.node.name = "b";
    f.slice.endpoints_count = 4;
    ck_assert_uint_eq(proxy_count_local(a, &f.config.node, &f.in), 3);
    f.endpoints[1].conditions = (struct discovery_v1_endpoint_conditions){.has_ready = true};
    ck_assert_uint_eq(proxy_count_local(a, &f.config.node, &f.in), 2);
    arena_free(a);
}
END_TEST

/* --- the table's text
 * ----------------------------------------------------------------------------- */

/* Its name is made of what it does; both families have the same. */
START_TEST(test_table)
{
    AUTO_BUF one = BUF_INIT, two = BUF_INIT;
    char name[PROXY_TABLE_NAME_MAX], other[PROXY_TABLE_NAME_MAX];
    struct str cidr[] = {STR("10.244.0.0/16"), STR("fd00::/48"), STR("x; flush ruleset")};
    struct proxy_table_config c = {0};
    proxy_table_write(&c, &one, name);
    c.cluster_cidrs = cidr;
    c.cluster_cidr_count = 3;
    proxy_table_write(&c, &two, other);
    ck_assert_str_ne(name, other);
    buf_putc(&two, '\0');
    const char *text = (const char *)two.data;
    ck_assert_ptr_nonnull(strstr(text, "ip saddr != { 10.244.0.0/16 }"));
    ck_assert_ptr_nonnull(strstr(text, "ip6 saddr != { fd00::/48 }"));
    ck_assert_ptr_null(strstr(text, "flush ruleset"));
}
END_TEST

/* --- from one state to the next
 * --------------------------------------------------------------------- */

#define KEYS 40
#define GIVERS 12

/* The kernel as the test has it: what is put must fit what is there. */
struct kernel {
    struct map elements; /* Packed key -> data */
};

static struct proxy_element element(const uint32_t *key, const uint32_t *data)
{
    return (struct proxy_element){.family = (enum proxy_family)(*key % 2),
                                  .set = *key % 3 == 0 ? PROXY_SERVICES : PROXY_ENDPOINTS,
                                  .key = str_n((const char *)key, sizeof(*key)),
                                  .data = str_n((const char *)data, *data % 2 == 0 ? 4 : 3)};
}

static void on_put(bool add, const struct proxy_element *e, void *arg)
{
    struct kernel *k = arg;
    if (add) {
        AUTO_BUF packed = BUF_INIT;
        proxy_element_pack(&packed, e);
        size_t len = packed.len;
        char *copy = xzalloc(len + 1);
        memcpy(copy, packed.data, len);
        ck_assert_ptr_null(map_set(&k->elements, e->key, copy));
    } else {
        char *old = map_remove(&k->elements, e->key);
        ck_assert_ptr_nonnull(old);
        free(old);
    }
}

static uint32_t draw(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static void check_same(const struct kernel *k, struct proxy_elements *t)
{
    size_t wanted = 0;
    for (uint32_t key = 0; key < KEYS; key++) {
        struct proxy_element e = element(&key, &key);
        struct str data;
        const char *there = map_get(&k->elements, e.key);
        bool want = proxy_elements_get(t, &e, &data);
        ck_assert_int_eq(want, there != NULL);
        if (!want)
            continue;
        wanted++;
        e.data = data;
        AUTO_BUF packed = BUF_INIT;
        proxy_element_pack(&packed, &e);
        ck_assert_int_eq(memcmp(there, packed.data, packed.len), 0);
    }
    ck_assert_uint_eq(wanted, k->elements.count);
}

/* Random givings and takings, also while something is under way, losses of all knowledge and
 * adoptions: in the end the kernel holds what is wanted, each time. */
START_TEST(test_churn)
{
    struct proxy_elements t;
    struct kernel k;
    struct {
        uint32_t key, data;
        bool given;
    } givers[GIVERS] = {0};
    uint32_t seed = 20261123u + (uint32_t)_i;
    proxy_elements_init(&t);
    map_init(&k.elements);
    for (int step = 0; step < 2000; step++) {
        size_t g = draw(&seed) % GIVERS;
        struct proxy_element e = element(&givers[g].key, &givers[g].data);
        if (givers[g].given)
            proxy_elements_take(&t, &e);
        givers[g].key = draw(&seed) % KEYS;
        givers[g].data = draw(&seed) % 3;
        e = element(&givers[g].key, &givers[g].data);
        givers[g].given = draw(&seed) % 3 != 0 && proxy_elements_give(&t, &e);
        uint32_t what = draw(&seed) % 16;
        if (what < 4 && t.sent == NULL)
            proxy_elements_write(&t, on_put, &k);
        else if (what < 8 && t.sent != NULL)
            proxy_elements_settle(&t);
        else if (what == 8) {
            /* The agent is new, or the tables were gone: it reads what there is. */
            struct str key;
            void *value;
            proxy_elements_forget(&t);
            for (size_t pos = 0; map_next(&k.elements, &pos, &key, &value);) {
                struct proxy_element found;
                size_t at = 0;
                ck_assert(proxy_element_next(str_n(value, SIZE_MAX / 2), &at, &found));
                proxy_elements_found(&t, &found);
            }
        }
        if (step % 50 != 0)
            continue;
        if (t.sent != NULL)
            proxy_elements_settle(&t);
        proxy_elements_write(&t, on_put, &k);
        proxy_elements_settle(&t);
        check_same(&k, &t);
        /* And again there is nothing to do. */
        ck_assert(!proxy_elements_write(&t, on_put, &k));
        proxy_elements_settle(&t);
    }
    struct str key;
    void *value;
    for (size_t pos = 0; map_next(&k.elements, &pos, &key, &value);)
        free(value);
    map_done(&k.elements);
    proxy_elements_done(&t);
}
END_TEST

/* Of two Services with one external address the first keeps it until it goes. */
START_TEST(test_conflict)
{
    struct proxy_elements t;
    uint32_t key = 3, one = 2, two = 4;
    struct str data;
    proxy_elements_init(&t);
    struct proxy_element first = element(&key, &one), second = element(&key, &two);
    ck_assert(proxy_elements_give(&t, &first));
    ck_assert(proxy_elements_give(&t, &first));
    ck_assert(!proxy_elements_give(&t, &second));
    proxy_elements_take(&t, &first);
    ck_assert(!proxy_elements_give(&t, &second));
    proxy_elements_take(&t, &first);
    ck_assert(proxy_elements_give(&t, &second));
    ck_assert(proxy_elements_get(&t, &first, &data));
    ck_assert(str_eq(data, second.data));
    proxy_elements_done(&t);
}
END_TEST

/* --- messages
 * -------------------------------------------------------------------------------------------- */

static void on_read(const struct nft_element *e, void *arg)
{
    struct buf *b = arg;
    buf_printf(b, STR_FMT "/" STR_FMT "/" STR_FMT ";", STR_ARG(e->key), STR_ARG(e->end),
               STR_ARG(e->data));
}

/* Lists too long for one message go on in the next; what was written can be read. */
START_TEST(test_batch)
{
    AUTO_BUF out = BUF_INIT, text = BUF_INIT, want = BUF_INIT;
    struct nft_batch b;
    struct nft_set_name plain = {.family = 2, .table = "t", .set = "m"};
    struct nft_set_name verdicts = {.family = 2, .table = "t", .set = "v", .verdicts = true};
    nft_batch_begin(&b, &out);
    for (int i = 0; i < 3000; i++) {
        char key[16], data[16];
        snprintf(key, sizeof(key), "k%06d", i);
        snprintf(data, sizeof(data), "d%d", i);
        struct nft_element e = {.key = str_of(key), .data = str_of(data)};
        if (i % 2 == 0)
            e.end = STR("end1");
        nft_batch_put(&b, true, i < 1500 ? &plain : &verdicts, &e);
        buf_printf(&want, "%s/%s/%s;", key, i % 2 == 0 ? "end1" : "", data);
    }
    nft_batch_end(&b);
    size_t messages = 0;
    for (size_t at = 0; at < out.len;) {
        struct nlmsghdr h;
        memcpy(&h, out.data + at, sizeof(h));
        ck_assert_uint_ge(h.nlmsg_len, sizeof(h));
        ck_assert_uint_eq(h.nlmsg_seq, messages++);
        nft_batch_read(str_n((const char *)out.data + at + 16, h.nlmsg_len - 16), on_read, &text);
        at += h.nlmsg_len;
    }
    ck_assert_uint_gt(messages, 4);
    ck_assert(str_eq(buf_str(&text), buf_str(&want)));
}
END_TEST

/* Bytes that are no answer are read without harm. */
START_TEST(test_batch_garbage)
{
    AUTO_BUF text = BUF_INIT;
    uint32_t seed = 7;
    for (int i = 0; i < 20000; i++) {
        char bytes[64];
        size_t n = draw(&seed) % sizeof(bytes);
        for (size_t k = 0; k < n; k++)
            bytes[k] = (char)(draw(&seed) % (k % 2 == 0 ? 24 : 4));
        nft_batch_read(str_n(bytes, n), on_read, &text);
    }
}
END_TEST

UNIT_MAIN("kubelet service plans", {
    UNIT_TEST(test_cluster_ip);
    UNIT_TEST(test_six);
    UNIT_TEST(test_readiness);
    UNIT_TEST(test_inside_local);
    UNIT_TEST(test_node_port);
    UNIT_TEST(test_outside_addresses);
    UNIT_TEST(test_source_ranges);
    UNIT_TEST(test_hints);
    UNIT_TEST(test_hints_of_the_unready);
    UNIT_TEST(test_affinity);
    UNIT_TEST(test_hostile);
    UNIT_TEST(test_local_count);
    UNIT_TEST(test_table);
    tcase_add_loop_test(tc, test_churn, 0, 20);
    UNIT_TEST(test_conflict);
    UNIT_TEST(test_batch);
    UNIT_TEST(test_batch_garbage);
})
