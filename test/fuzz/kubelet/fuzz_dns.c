/* fuzz_dns.c - queries from pods and answers from upstream: any bytes. */
#include "kubelet/dns/answer.h"
#include "kubelet/dns/cache.h"
#include "kubelet/dns/zone.h"

#include "api/core_v1.h"
#include "api/discovery_v1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct zone *small_zone(void)
{
    static struct zone z;
    static struct str address[] = {STR("10.0.0.1")};
    static struct discovery_v1_endpoint e = {
        .addresses = address, .addresses_count = 1, .has_hostname = true, .hostname = STR("h")};
    static struct discovery_v1_endpoint_port p = {
        .has_name = true, .name = STR("p"), .has_port = true, .port = 1};
    static struct discovery_v1_endpoint_slice slice = {.address_type = STR("IPv4"),
                                                       .endpoints = &e,
                                                       .endpoints_count = 1,
                                                       .ports = &p,
                                                       .ports_count = 1};
    static const struct discovery_v1_endpoint_slice *const slices[] = {&slice};
    if (z.ready)
        return &z;
    struct core_v1_service s = {0};
    zone_init(&z, STR("a.b"), NULL, 0);
    z.ready = true;
    s.metadata.name = s.metadata.namespace = STR("s");
    s.spec.cluster_ip = STR("None");
    zone_set(&z, &s, slices, 1);
    s.metadata.name = STR("c");
    s.spec.cluster_ip = STR("10.96.0.1");
    zone_set(&z, &s, slices, 1);
    s.metadata.name = STR("x");
    s.spec.cluster_ip = STR_NULL;
    s.spec.type = STR("ExternalName");
    s.spec.external_name = STR("c.s.svc.a.b");
    zone_set(&z, &s, NULL, 0);
    return &z;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t out[DNS_MESSAGE_MAX];
    struct dns_query q;
    struct dns_writer w;
    struct dns_answer answer;
    struct dns_key key;
    int rcode = 0, rc = dns_query_parse(data, size, &q);
    if (rc >= 0) {
        size_t cap = size % 2 == 0 ? DNS_UDP_BYTES : DNS_MESSAGE_MAX;
        dns_writer_init(&w, &q, out, cap);
        answer.rcode = rc;
        if (rc == 0)
            dns_answer(small_zone(), &q, (uint32_t)size, &w, &answer);
        dns_writer_end(&w, &q, answer.rcode);
        ASSERT(w.len <= cap);
        struct dns_reader r;
        struct dns_record rec;
        if (rc == 0) {
            dns_key_of(&key, &q);
            ASSERT(dns_reader_init(&r, out, w.len));
            while ((rc = dns_reader_next(&r, &rec)) > 0)
                continue;
            ASSERT(rc == 0 && r.pos == w.len);
        }
    }
    /* The same bytes as upstream's answer to a question. */
    struct dns_reader r;
    if (dns_reader_init(&r, data, size)) {
        memset(&q, 0, sizeof(q));
        q.name = r.name;
        q.type = r.type;
        q.class = r.class;
        dns_name_fold(&q.name, &q.folded);
        int64_t lifetime = dns_reply_lifetime(data, size, &q);
        dns_writer_init(&w, &q, out, DNS_UDP_BYTES_MAX);
        bool good = dns_answer_reply(&w, data, size, 1, size % 2 == 0, &rcode);
        ASSERT(!good || lifetime >= 0);
        ASSERT(w.len <= DNS_UDP_BYTES_MAX);
    }
    return 0;
}

#define HEAD "\0\1\1\0\0\1\0\0\0\0\0\1"
#define OPT "\0\0\51\4\320\0\0\0\0\0\0"
#define NAME(text)                                                                                 \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }
static const struct {
    const char *bytes;
    size_t len;
} seeds[] = {
    NAME(HEAD "\1s\1s\3svc\1a\1b\0\0\1\0\1" OPT),
    NAME(HEAD "\2_p\4_tcp\1s\1s\3svc\1a\1b\0\0\41\0\1" OPT),
    NAME(HEAD "\1x\1s\3svc\1a\1b\0\0\1\0\1" OPT),
    NAME(HEAD "\0011\0010\0010\00210\7in-addr\4arpa\0\0\14\0\1" OPT),
    NAME(HEAD "\0101-2-3-4x\1s\3pod\1a\1b\0\0\377\0\1" OPT),
    NAME("\0\1\201\200\0\1\0\2\0\0\0\0\1a\1b\0\0\1\0\1\300\14\0\5\0\1\0\0\0\5\0\4\1c\300\16"
         "\300\25\0\1\0\1\0\0\0\5\0\4\1\2\3\4"),
    NAME("\0\1\201\203\0\1\0\0\0\1\0\0\1a\1b\0\0\1\0\1\300\14\0\6\0\1\0\0\0\5\0\30\300\14\300\14"
         "\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\1"),
};

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    if (i >= ARRAY_SIZE(seeds) || seeds[i].len > cap)
        return 0;
    memcpy(p, seeds[i].bytes, seeds[i].len);
    return seeds[i].len;
}
