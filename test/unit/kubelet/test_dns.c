/* test_dns.c - the cluster's zone as it answers, messages on the wire, and what
 * is kept of upstream's answers. */
#include "kubelet/dns/answer.h"
#include "kubelet/dns/cache.h"
#include "kubelet/dns/zone.h"

#include "lib/base/buf.h"

#include "api/core_v1.h"
#include "api/discovery_v1.h"
#include "test/unit/unit.h"

#include <arpa/inet.h>

/* --- a small cluster -------------------------------------------------------------------- */

static struct core_v1_service_port web_ports[] = {
    {.name = STR("http"), .protocol = STR("TCP"), .port = 80},
    {.name = STR("dns"), .protocol = STR("UDP"), .port = 53}};
static struct str web_ips[] = {STR("10.96.0.7"), STR("fd00::7")};
static struct str a1[] = {STR("10.0.0.1")}, a2[] = {STR("10.0.0.2")}, a3[] = {STR("10.0.0.3")};
static struct discovery_v1_endpoint db_endpoints[] = {
    {.addresses = a1, .addresses_count = 1, .has_hostname = true, .hostname = STR("db-0")},
    {.addresses = a2, .addresses_count = 1},
    {.addresses = a3, .addresses_count = 1, .conditions = {.has_ready = true, .ready = false}}};
static struct discovery_v1_endpoint_port db_ports[] = {
    {.has_name = true, .name = STR("sql"), .has_port = true, .port = 5432}};
static struct discovery_v1_endpoint_slice db_slice = {.address_type = STR("IPv4"),
                                                      .endpoints = db_endpoints,
                                                      .endpoints_count = 3,
                                                      .ports = db_ports,
                                                      .ports_count = 1};
static const struct discovery_v1_endpoint_slice *const db_slices[] = {&db_slice};

static struct core_v1_service service(const char *name, const char *ip)
{
    struct core_v1_service s = {0};
    s.metadata.name = str_of(name);
    s.metadata.namespace = STR("shop");
    s.spec.cluster_ip = str_of(ip);
    return s;
}

static void make(struct zone *z)
{
    static const char *const addresses[] = {"10.96.0.10"};
    struct core_v1_service web = service("web", "10.96.0.7"), db = service("db", "None"),
                           idle = service("idle", "None"), out = service("out", ""),
                           alias = service("alias", ""), circle = service("circle", "");
    ck_assert(zone_init(z, STR("cluster.local"), addresses, 1));
    z->ready = true;
    web.spec.cluster_ips = web_ips;
    web.spec.cluster_ips_count = 2;
    web.spec.ports = web_ports;
    web.spec.ports_count = 2;
    zone_set(z, &web, NULL, 0);
    zone_set(z, &db, db_slices, 1);
    zone_set(z, &idle, NULL, 0);
    out.spec.type = alias.spec.type = circle.spec.type = STR("ExternalName");
    out.spec.external_name = STR("www.Example.com");
    alias.spec.external_name = STR("web.shop.svc.cluster.local.");
    circle.spec.external_name = STR("circle.shop.svc.cluster.local");
    zone_set(z, &out, NULL, 0);
    zone_set(z, &alias, NULL, 0);
    zone_set(z, &circle, NULL, 0);
}

/* --- asking and showing ------------------------------------------------------------------ */

struct asked {
    struct dns_query q;
    uint8_t bytes[DNS_MESSAGE_MAX];
    struct dns_writer w;
    struct dns_answer answer;
    char text[8192];
};

static void query(struct dns_query *ret, const char *name, uint16_t type)
{
    uint8_t bytes[512];
    struct dns_query q = {.type = type, .class = DNS_CLASS_IN, .id = 77};
    ck_assert(dns_name_of(str_of(name), &q.name));
    size_t n = dns_query_write(bytes, sizeof(bytes), 77, &q);
    ck_assert_int_eq(dns_query_parse(bytes, n, ret), 0);
    ck_assert(ret->edns);
}

static void show_name(struct buf *b, const struct dns_reader *r, size_t at, size_t end)
{
    /* Data of our own zone may be compressed: read it as the owner of a record. */
    struct dns_reader copy = *r;
    struct dns_record rec;
    char text[DNS_NAME_MAX + 1];
    copy.pos = at;
    copy.left[DNS_ANSWER] = 1;
    UNUSED(end);
    dns_reader_next(&copy, &rec);
    dns_name_text(&rec.owner, text);
    buf_puts(b, text);
}

static void show(const uint8_t *msg, size_t len, char *text, size_t cap)
{
    static const char *const sections[] = {"", "", "!", "+"};
    AUTO_BUF b = BUF_INIT;
    struct dns_reader r;
    struct dns_record rec;
    char name[DNS_NAME_MAX + 1];
    ck_assert(dns_reader_init(&r, msg, len));
    buf_printf(&b, "%d%s%s", r.flags & 15, (r.flags & DNS_AA) != 0 ? " aa" : "",
               (r.flags & DNS_TC) != 0 ? " tc" : "");
    int more;
    while ((more = dns_reader_next(&r, &rec)) > 0) {
        const uint8_t *p = msg + rec.data;
        char ip[INET6_ADDRSTRLEN];
        if (rec.type == DNS_OPT)
            continue;
        dns_name_text(&rec.owner, name);
        buf_printf(&b, "\n%s%s %u ", sections[rec.section], name, rec.ttl);
        if (rec.type == DNS_A || rec.type == DNS_AAAA)
            buf_printf(&b, "%s",
                       inet_ntop(rec.type == DNS_A ? AF_INET : AF_INET6, p, ip, sizeof(ip)));
        else if (rec.type == DNS_TXT)
            buf_printf(&b, "TXT %.*s", p[0], (const char *)p + 1);
        else if (rec.type == DNS_SRV)
            buf_printf(&b, "SRV %d %d %d ", p[0] << 8 | p[1], p[2] << 8 | p[3], p[4] << 8 | p[5]);
        else
            buf_printf(&b, "%s ", rec.type == DNS_SOA ? "SOA" : rec.type == DNS_NS ? "NS" : "->");
        if (rec.type != DNS_A && rec.type != DNS_AAAA && rec.type != DNS_TXT)
            show_name(&b, &r, rec.data + (rec.type == DNS_SRV ? 6 : 0), rec.data + rec.data_len);
    }
    ck_assert_int_eq(more, 0);
    snprintf(text, cap, STR_FMT, STR_ARG(buf_str(&b)));
}

static const char *answer(struct asked *t, const struct zone *z, size_t cap)
{
    dns_writer_init(&t->w, &t->q, t->bytes, cap);
    dns_answer(z, &t->q, 0, &t->w, &t->answer);
    dns_writer_end(&t->w, &t->q, t->answer.rcode);
    ck_assert_uint_le(t->w.len, cap);
    show(t->bytes, t->w.len, t->text, sizeof(t->text));
    return t->text;
}

static const char *ask(struct asked *t, const struct zone *z, const char *name, uint16_t type)
{
    query(&t->q, name, type);
    return answer(t, z, DNS_UDP_BYTES_MAX);
}

#define SOA "\n!cluster.local. 5 SOA ns.dns.cluster.local."
#define ASK(name, type, want) ck_assert_str_eq(ask(&t, &z, name, type), want)

/* --- the zone ------------------------------------------------------------------------------ */

/* A Service's name gives its addresses; other types of it have no data, under the zone's SOA. */
START_TEST(answers_cluster_ips)
{
    static struct asked t;
    struct zone z;
    make(&z);
    ASK("web.shop.svc.cluster.local", DNS_A, "0 aa\nweb.shop.svc.cluster.local. 5 10.96.0.7");
    ASK("web.shop.svc.cluster.local", DNS_AAAA, "0 aa\nweb.shop.svc.cluster.local. 5 fd00::7");
    ASK("web.shop.svc.cluster.local", DNS_MX, "0 aa" SOA);
    ASK("web.shop.svc.cluster.local", 4711, "0 aa" SOA);
    ASK("none.shop.svc.cluster.local", DNS_A, "3 aa" SOA);
    ASK("web.none.svc.cluster.local", DNS_A, "3 aa" SOA);
    ASK("a.b.web.shop.svc.cluster.local", DNS_A, "3 aa" SOA);
    ASK("a.b.c.web.shop.svc.cluster.local", DNS_A, "3 aa" SOA);
    zone_done(&z);
}
END_TEST

/* The case of the question comes back as it was. */
START_TEST(keeps_the_case)
{
    static struct asked t;
    struct zone z;
    make(&z);
    ASK("wEb.SHOP.svc.Cluster.LOCAL", DNS_A, "0 aa\nwEb.SHOP.svc.Cluster.LOCAL. 5 10.96.0.7");
    zone_done(&z);
}
END_TEST

/* Names between the zone and a Service are there, without data. */
START_TEST(knows_what_stands_between)
{
    static struct asked t;
    struct zone z;
    make(&z);
    ASK("svc.cluster.local", DNS_A, "0 aa" SOA);
    ASK("shop.svc.cluster.local", DNS_A, "0 aa" SOA);
    ASK("other.svc.cluster.local", DNS_A, "3 aa" SOA);
    ASK("_tcp.web.shop.svc.cluster.local", DNS_SRV, "0 aa" SOA);
    ASK("_sctp.web.shop.svc.cluster.local", DNS_SRV, "3 aa" SOA);
    ASK("web.cluster.local", DNS_A, "3 aa" SOA);
    zone_done(&z);
}
END_TEST

/* A headless Service gives its ready endpoints, each under its hostname or its address. */
START_TEST(answers_headless)
{
    static struct asked t;
    struct zone z;
    make(&z);
    ASK("db.shop.svc.cluster.local", DNS_A,
        "0 aa\ndb.shop.svc.cluster.local. 5 10.0.0.1\ndb.shop.svc.cluster.local. 5 10.0.0.2");
    ASK("db-0.db.shop.svc.cluster.local", DNS_A,
        "0 aa\ndb-0.db.shop.svc.cluster.local. 5 10.0.0.1");
    ASK("10-0-0-2.db.shop.svc.cluster.local", DNS_A,
        "0 aa\n10-0-0-2.db.shop.svc.cluster.local. 5 10.0.0.2");
    ASK("10-0-0-3.db.shop.svc.cluster.local", DNS_A, "3 aa" SOA);
    ASK("db.shop.svc.cluster.local", DNS_AAAA, "0 aa" SOA);
    /* As the specification has it: no ready endpoint, no such name. */
    ASK("idle.shop.svc.cluster.local", DNS_A, "3 aa" SOA);
    zone_done(&z);
}
END_TEST

/* publishNotReadyAddresses shows the others, too. */
START_TEST(publishes_what_is_not_ready)
{
    static struct asked t;
    struct zone z;
    make(&z);
    struct core_v1_service db = service("db", "None");
    db.spec.publish_not_ready_addresses = true;
    zone_set(&z, &db, db_slices, 1);
    ASK("10-0-0-3.db.shop.svc.cluster.local", DNS_A,
        "0 aa\n10-0-0-3.db.shop.svc.cluster.local. 5 10.0.0.3");
    zone_done(&z);
}
END_TEST

/* Named ports have SRV records, whose targets' addresses come along. */
START_TEST(answers_srv)
{
    static struct asked t;
    struct zone z;
    make(&z);
    ASK("_http._tcp.web.shop.svc.cluster.local", DNS_SRV,
        "0 aa\n_http._tcp.web.shop.svc.cluster.local. 5 SRV 0 100 80 web.shop.svc.cluster.local."
        "\n+web.shop.svc.cluster.local. 5 10.96.0.7\n+web.shop.svc.cluster.local. 5 fd00::7");
    ASK("_sql._tcp.db.shop.svc.cluster.local", DNS_SRV,
        "0 aa\n_sql._tcp.db.shop.svc.cluster.local. 5 SRV 0 50 5432 db-0.db.shop.svc.cluster.local."
        "\n_sql._tcp.db.shop.svc.cluster.local. 5 SRV 0 50 5432 "
        "10-0-0-2.db.shop.svc.cluster.local."
        "\n+db-0.db.shop.svc.cluster.local. 5 10.0.0.1"
        "\n+10-0-0-2.db.shop.svc.cluster.local. 5 10.0.0.2");
    ASK("_http._udp.web.shop.svc.cluster.local", DNS_SRV, "3 aa" SOA);
    ASK("_http._tcp.web.shop.svc.cluster.local", DNS_A, "0 aa" SOA);
    zone_done(&z);
}
END_TEST

/* ExternalName: a CNAME, followed here when it stays here, elsewhere when it leads out. */
START_TEST(answers_external_names)
{
    static struct asked t;
    struct zone z;
    make(&z);
    ASK("alias.shop.svc.cluster.local", DNS_A,
        "0 aa\nalias.shop.svc.cluster.local. 5 -> web.shop.svc.cluster.local."
        "\nweb.shop.svc.cluster.local. 5 10.96.0.7");
    ASK("out.shop.svc.cluster.local", DNS_CNAME,
        "0 aa\nout.shop.svc.cluster.local. 5 -> www.Example.com.");
    ask(&t, &z, "out.shop.svc.cluster.local", DNS_A);
    ck_assert_int_eq(t.answer.outcome, DNS_FOLLOW);
    char target[DNS_NAME_MAX + 1];
    dns_name_text(&t.answer.target, target);
    ck_assert_str_eq(target, "www.example.com.");
    ask(&t, &z, "circle.shop.svc.cluster.local", DNS_A);
    ck_assert_int_eq(t.answer.rcode, DNS_SERVFAIL);
    zone_done(&z);
}
END_TEST

/* Pods by their addresses with dashes. */
START_TEST(answers_pods)
{
    static struct asked t;
    struct zone z;
    make(&z);
    ASK("10-1-2-3.shop.pod.cluster.local", DNS_A,
        "0 aa\n10-1-2-3.shop.pod.cluster.local. 5 10.1.2.3");
    ASK("fd00--9.shop.pod.cluster.local", DNS_AAAA,
        "0 aa\nfd00--9.shop.pod.cluster.local. 5 fd00::9");
    ASK("10-1-2-3.shop.pod.cluster.local", DNS_AAAA, "0 aa" SOA);
    ASK("10-1-2-300.shop.pod.cluster.local", DNS_A, "3 aa" SOA);
    ASK("pod.shop.pod.cluster.local", DNS_A, "3 aa" SOA);
    zone_done(&z);
}
END_TEST

/* Addresses of Services and of headless endpoints have names; others are asked upstream. */
START_TEST(answers_ptr)
{
    static struct asked t;
    struct zone z;
    make(&z);
    ASK("7.0.96.10.in-addr.arpa", DNS_PTR,
        "0 aa\n7.0.96.10.in-addr.arpa. 5 -> web.shop.svc.cluster.local.");
    ASK("1.0.0.10.in-addr.arpa", DNS_PTR,
        "0 aa\n1.0.0.10.in-addr.arpa. 5 -> db-0.db.shop.svc.cluster.local.");
    ASK("7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", DNS_PTR,
        "0 aa\n7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa. 5 -> "
        "web.shop.svc.cluster.local.");
    ask(&t, &z, "9.9.9.9.in-addr.arpa", DNS_PTR);
    ck_assert_int_eq(t.answer.outcome, DNS_FORWARD);
    zone_done(&z);
}
END_TEST

/* The zone's own records. */
START_TEST(answers_for_the_zone)
{
    static struct asked t;
    struct zone z;
    make(&z);
    ASK("dns-version.cluster.local", DNS_TXT, "0 aa\ndns-version.cluster.local. 5 TXT 1.1.0");
    ASK("cluster.local", DNS_SOA, "0 aa\ncluster.local. 5 SOA ns.dns.cluster.local.");
    ASK("cluster.local", DNS_NS,
        "0 aa\ncluster.local. 5 NS ns.dns.cluster.local.\n+ns.dns.cluster.local. 5 10.96.0.10");
    ASK("ns.dns.cluster.local", DNS_A, "0 aa\nns.dns.cluster.local. 5 10.96.0.10");
    ASK("cluster.local", DNS_AXFR, "5");
    zone_done(&z);
}
END_TEST

/* What is no name of ours goes upstream, however much it looks like one. */
START_TEST(forwards_the_rest)
{
    static struct asked t;
    struct zone z;
    make(&z);
    const char *const names[] = {"example.com", "local", "xcluster.local", "", "cluster.local.com"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        ask(&t, &z, names[i], DNS_A);
        ck_assert_int_eq(t.answer.outcome, DNS_FORWARD);
    }
    zone_done(&z);
}
END_TEST

/* Before all Services are known nothing is denied. */
START_TEST(denies_nothing_too_early)
{
    static struct asked t;
    struct zone z;
    make(&z);
    z.ready = false;
    ASK("web.shop.svc.cluster.local", DNS_A, "2 aa");
    zone_done(&z);
}
END_TEST

/* A Service that changes, changes its records; one that goes takes them along, by address, too. */
START_TEST(follows_changes)
{
    static struct asked t;
    struct zone z;
    make(&z);
    uint32_t serial = z.serial;
    struct core_v1_service web = service("web", "10.96.0.8");
    zone_set(&z, &web, NULL, 0);
    ASK("web.shop.svc.cluster.local", DNS_A, "0 aa\nweb.shop.svc.cluster.local. 5 10.96.0.8");
    ask(&t, &z, "7.0.96.10.in-addr.arpa", DNS_PTR);
    ck_assert_int_eq(t.answer.outcome, DNS_FORWARD);
    static const char *const names[] = {"web", "db", "idle", "out", "alias", "circle", "none"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        zone_remove(&z, STR("shop"), str_of(names[i]));
    ck_assert_uint_gt(z.serial, serial);
    ck_assert_uint_eq(z.services.count + z.addresses_of.count + z.namespaces.count, 0);
    ASK("shop.svc.cluster.local", DNS_A, "3 aa" SOA);
    zone_done(&z);
}
END_TEST

/* What does not fit is left out and said to be; over TCP it is all there. */
START_TEST(truncates)
{
    static struct asked t;
    static struct str addresses[300];
    static char texts[300][16];
    static struct discovery_v1_endpoint many[300];
    struct zone z;
    make(&z);
    for (size_t i = 0; i < 300; i++) {
        snprintf(texts[i], sizeof(texts[i]), "10.7.%zu.%zu", i / 250, i % 250);
        addresses[i] = str_of(texts[i]);
        many[i].addresses = &addresses[i];
        many[i].addresses_count = 1;
    }
    struct discovery_v1_endpoint_slice slice = {
        .address_type = STR("IPv4"), .endpoints = many, .endpoints_count = 300};
    const struct discovery_v1_endpoint_slice *slices[] = {&slice};
    struct core_v1_service big = service("big", "None");
    zone_set(&z, &big, slices, 1);
    query(&t.q, "big.shop.svc.cluster.local", DNS_A);
    ck_assert(strncmp(answer(&t, &z, DNS_UDP_BYTES), "0 aa tc\n", 8) == 0);
    ck_assert_uint_eq(t.w.counts[DNS_ANSWER], 28); /* (512 - 11 - 12 - 32) / 16 */
    answer(&t, &z, DNS_MESSAGE_MAX);
    ck_assert(!t.w.truncated);
    ck_assert_uint_eq(t.w.counts[DNS_ANSWER], 300);
    zone_done(&z);
}
END_TEST

/* --- messages -------------------------------------------------------------------------------- */

/* What cannot be read, or is not done here, is refused by its code. */
START_TEST(refuses_queries)
{
    uint8_t b[512];
    struct dns_query q = {.type = DNS_A, .class = DNS_CLASS_IN}, got;
    ck_assert(dns_name_of(STR("a.b"), &q.name));
    size_t n = dns_query_write(b, sizeof(b), 1, &q);
    for (size_t i = DNS_HEADER_BYTES; i < n; i++)
        ck_assert_int_eq(dns_query_parse(b, i, &got), DNS_FORMERR);
    ck_assert_int_eq(dns_query_parse(b, 11, &got), -1);
    b[2] |= 0x80;
    ck_assert_int_eq(dns_query_parse(b, n, &got), -1); /* An answer. */
    b[2] = 0x20;
    ck_assert_int_eq(dns_query_parse(b, n, &got), DNS_NOTIMP);
    b[2] = 0;
    b[5] = 2;
    ck_assert_int_eq(dns_query_parse(b, n, &got), DNS_FORMERR);
    b[5] = 1;
    b[n - 5] = 1; /* EDNS version 1 */
    ck_assert_int_eq(dns_query_parse(b, n, &got), DNS_BADVERS);
    b[n - 5] = 0;
    b[12] = 0xc0; /* A pointer to itself. */
    b[13] = 12;
    ck_assert_int_eq(dns_query_parse(b, n, &got), DNS_FORMERR);
}
END_TEST

/* Classes other than Internet are refused. */
START_TEST(refuses_classes)
{
    static struct asked t;
    struct zone z;
    make(&z);
    query(&t.q, "version.bind", DNS_TXT);
    t.q.class = 3;
    ck_assert_str_eq(answer(&t, &z, 512), "5");
    zone_done(&z);
}
END_TEST

START_TEST(checks_names)
{
    struct dns_name n;
    char label[70], text[DNS_NAME_MAX + 1];
    memset(label, 'a', sizeof(label));
    ck_assert(dns_name_of(str_n(label, 63), &n));
    ck_assert(!dns_name_of(str_n(label, 64), &n));
    ck_assert(!dns_name_of(STR("a..b"), &n));
    ck_assert(!dns_name_of(STR(".a"), &n));
    ck_assert(dns_name_of(STR("."), &n));
    dns_name_text(&n, text);
    ck_assert_str_eq(text, ".");
    ck_assert(dns_name_of(STR("a.bc."), &n));
    dns_name_text(&n, text);
    ck_assert_str_eq(text, "a.bc.");
}
END_TEST

/* --- upstream -----------------------------------------------------------------------------------
 */

/* An answer as a server elsewhere would write it: www -> web, web has an address. */
static size_t upstream(uint8_t *b, size_t cap, const struct dns_query *q, uint32_t ttl, bool exists)
{
    struct dns_name web;
    struct dns_writer w;
    ck_assert(dns_name_of(STR("web.example.com"), &web));
    dns_writer_init(&w, q, b, cap);
    if (exists) {
        dns_record_begin(&w, DNS_ANSWER, &q->name, DNS_CNAME, ttl + 10);
        dns_put_name(&w, &web, true);
        dns_record_end(&w);
        dns_record_begin(&w, DNS_ANSWER, &web, DNS_A, ttl);
        dns_put(&w, "\1\2\3\4", 4);
        dns_record_end(&w);
    } else {
        dns_record_begin(&w, DNS_AUTHORITY, &web, DNS_SOA, 600);
        dns_put_name(&w, &web, true);
        dns_put_name(&w, &web, true);
        for (int i = 0; i < 5; i++)
            dns_put_u32(&w, ttl);
        dns_record_end(&w);
    }
    dns_writer_end(&w, q, exists ? DNS_NOERROR : DNS_NXDOMAIN);
    return w.len;
}

/* Answers are passed on with their lifetimes shortened by their age. */
START_TEST(passes_answers_on)
{
    static struct asked t;
    uint8_t b[512];
    int rcode = -1;
    query(&t.q, "www.example.com", DNS_A);
    size_t n = upstream(b, sizeof(b), &t.q, 60, true);
    ck_assert_int_eq(dns_reply_lifetime(b, n, &t.q), 60);
    dns_writer_init(&t.w, &t.q, t.bytes, 512);
    ck_assert(dns_answer_reply(&t.w, b, n, 20, false, &rcode));
    dns_writer_end(&t.w, &t.q, rcode);
    show(t.bytes, t.w.len, t.text, sizeof(t.text));
    ck_assert_str_eq(t.text,
                     "0\nwww.example.com. 50 -> web.example.com.\nweb.example.com. 40 1.2.3.4");
    n = upstream(b, sizeof(b), &t.q, 30, false);
    ck_assert_int_eq(dns_reply_lifetime(b, n, &t.q), 30);
    for (size_t i = 0; i < n; i++)
        ck_assert_int_eq(dns_reply_lifetime(b, i, &t.q), -1);
    query(&t.q, "other.example.com", DNS_A);
    ck_assert_int_eq(dns_reply_lifetime(b, n, &t.q), -1);
}
END_TEST

/* An ExternalName's target and what upstream says of it make one answer. */
START_TEST(joins_external_names)
{
    static struct asked t;
    struct zone z;
    struct dns_query inner;
    uint8_t b[512];
    int rcode = -1;
    make(&z);
    query(&t.q, "out.shop.svc.cluster.local", DNS_A);
    query(&inner, "www.example.com", DNS_A);
    size_t n = upstream(b, sizeof(b), &inner, 60, true);
    dns_writer_init(&t.w, &t.q, t.bytes, 512);
    dns_answer(&z, &t.q, 0, &t.w, &t.answer);
    ck_assert(dns_answer_reply(&t.w, b, n, 0, true, &rcode));
    dns_writer_end(&t.w, &t.q, rcode);
    show(t.bytes, t.w.len, t.text, sizeof(t.text));
    ck_assert_str_eq(t.text, "0 aa\nout.shop.svc.cluster.local. 5 -> www.Example.com."
                             "\nwww.example.com. 70 -> web.example.com."
                             "\nweb.example.com. 60 1.2.3.4");
    zone_done(&z);
}
END_TEST

/* The cache gives what still counts, and never grows beyond its bounds. */
START_TEST(keeps_answers)
{
    struct dns_cache c;
    uint32_t age = 0;
    uint8_t big[2048] = {0};
    char key[32];
    dns_cache_init(&c);
    dns_cache_put(&c, STR("a"), (const uint8_t *)"one", 3, 1000, 10);
    ck_assert(str_eqc(dns_cache_get(&c, STR("a"), 5999, &age), "one"));
    ck_assert_uint_eq(age, 4);
    dns_cache_put(&c, STR("a"), (const uint8_t *)"two", 3, 6000, 10);
    ck_assert(str_eqc(dns_cache_get(&c, STR("a"), 15999, &age), "two"));
    ck_assert(str_empty(dns_cache_get(&c, STR("a"), 16000, &age)));
    dns_cache_put(&c, STR("b"), (const uint8_t *)"one", 3, 1000, 0);
    ck_assert(str_empty(dns_cache_get(&c, STR("b"), 1000, &age)));
    for (int i = 0; i < 4000; i++) {
        snprintf(key, sizeof(key), "key-%d", i);
        dns_cache_put(&c, str_of(key), big, sizeof(big), 0, 10);
        ck_assert(!str_empty(dns_cache_get(&c, STR("key-0"), 0, &age)));
    }
    ck_assert_uint_le(c.bytes, DNS_CACHE_BYTES_MAX);
    ck_assert(str_empty(dns_cache_get(&c, STR("key-1"), 0, &age)));
    dns_cache_done(&c);
}
END_TEST

UNIT_MAIN("dns", {
    UNIT_TEST(answers_cluster_ips);
    UNIT_TEST(keeps_the_case);
    UNIT_TEST(knows_what_stands_between);
    UNIT_TEST(answers_headless);
    UNIT_TEST(publishes_what_is_not_ready);
    UNIT_TEST(answers_srv);
    UNIT_TEST(answers_external_names);
    UNIT_TEST(answers_pods);
    UNIT_TEST(answers_ptr);
    UNIT_TEST(answers_for_the_zone);
    UNIT_TEST(forwards_the_rest);
    UNIT_TEST(denies_nothing_too_early);
    UNIT_TEST(follows_changes);
    UNIT_TEST(truncates);
    UNIT_TEST(refuses_queries);
    UNIT_TEST(refuses_classes);
    UNIT_TEST(checks_names);
    UNIT_TEST(passes_answers_on);
    UNIT_TEST(joins_external_names);
    UNIT_TEST(keeps_answers);
})
