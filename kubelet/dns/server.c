/* server.c - from a query to its answer, whatever it came over. */
#include "kubelet/dns/server.h"

#include "kubelet/dns/server_internal.h"
#include "kubelet/dns/zone.h"

#include "lib/base/error.h"
#include "lib/base/metrics.h"

#include <arpa/inet.h>
#include <unistd.h>

/* --- counting -------------------------------------------------------------------------- */

static struct str type_name(uint16_t type, size_t *ret_index)
{
    static const struct {
        uint16_t type;
        struct str name;
    } known[] = {{DNS_A, STR("A")},     {DNS_AAAA, STR("AAAA")}, {DNS_SRV, STR("SRV")},
                 {DNS_PTR, STR("PTR")}, {DNS_TXT, STR("TXT")},   {DNS_SOA, STR("SOA")},
                 {DNS_ANY, STR("ANY")}};
    size_t i = 0;
    while (i < ARRAY_SIZE(known) && known[i].type != type)
        i++;
    *ret_index = i;
    return i < ARRAY_SIZE(known) ? known[i].name : STR("other");
}

static void count_request(struct dns_server *s, enum dns_transport t, bool v6, uint16_t type)
{
    size_t i;
    struct str name = type_name(type, &i);
    struct metric **m = &s->request_series[t][v6 ? 1 : 0][i];
    if (*m == NULL)
        *m = METRIC_OF(s->requests, t == DNS_UDP ? STR("udp") : STR("tcp"),
                       v6 ? STR("2") : STR("1"), name);
    metric_inc(*m);
}

static void count_response(struct dns_server *s, bool ours, int rcode)
{
    static const struct str names[] = {STR("NOERROR"),  STR("FORMERR"), STR("SERVFAIL"),
                                       STR("NXDOMAIN"), STR("NOTIMP"),  STR("REFUSED"),
                                       STR("other"),    STR("BADVERS")};
    size_t i = rcode == DNS_BADVERS ? 7 : (size_t)MIN_OF(rcode, 6);
    struct metric **m = &s->response_series[ours ? 1 : 0][i];
    if (*m == NULL)
        *m = METRIC_OF(s->responses, ours ? STR("cluster") : STR("."), names[i]);
    metric_inc(*m);
}

/* --- answering -------------------------------------------------------------------------- */

static size_t answer_bytes(enum dns_transport t, const struct dns_query *q)
{
    if (t == DNS_TCP)
        return DNS_MESSAGE_MAX;
    if (!q->edns || q->payload < DNS_UDP_BYTES)
        return DNS_UDP_BYTES;
    return MIN_OF(q->payload, DNS_UDP_BYTES_MAX);
}

/* What is asked upstream: the query, of the name that a CNAME led to. */
static void upstream_query(const struct dns_query *q, const struct dns_answer *answer,
                           struct dns_query *ret)
{
    *ret = *q;
    if (answer->outcome == DNS_FOLLOW) {
        ret->name = answer->target;
        dns_name_fold(&ret->name, &ret->folded);
    }
}

static void fail(struct dns_writer *w, const struct dns_query *q, uint8_t *out, size_t cap,
                 struct dns_answer *answer)
{
    dns_writer_init(w, q, out, cap);
    answer->rcode = DNS_SERVFAIL;
}

/* A Service may have changed meanwhile, and with it the name to ask for. */
static bool is_reply_to(const struct dns_answer *answer, const uint8_t *msg, size_t len)
{
    struct dns_reader r;
    return answer->outcome == DNS_FORWARD ||
           (dns_reader_init(&r, msg, len) && dns_name_eq(&r.name, &answer->target));
}

/* Joins what we know with what upstream says; msg NULL: it said nothing. */
static size_t join(struct dns_server *s, const struct dns_query *q, uint8_t *out, size_t cap,
                   const uint8_t *msg, size_t len, uint32_t age_s)
{
    struct dns_writer w;
    struct dns_answer answer;
    dns_writer_init(&w, q, out, cap);
    dns_answer(s->zone, q, s->spin++, &w, &answer);
    if (answer.outcome != DNS_ANSWERED &&
        (msg == NULL || !is_reply_to(&answer, msg, len) ||
         !dns_answer_reply(&w, msg, len, age_s, answer.outcome == DNS_FOLLOW, &answer.rcode)))
        fail(&w, q, out, cap, &answer);
    dns_writer_end(&w, q, answer.rcode);
    count_response(s, answer.ours, answer.rcode);
    return w.len;
}

ptrdiff_t dns_server_answer(struct dns_server *s, enum dns_transport t, bool v6, const uint8_t *msg,
                            size_t len, uint8_t *out, struct dns_query *q)
{
    struct dns_writer w;
    struct dns_answer answer = {.outcome = DNS_ANSWERED};
    int rc = dns_query_parse(msg, len, q);
    if (rc < 0)
        return 0;
    count_request(s, t, v6, q->type);
    size_t cap = answer_bytes(t, q);
    dns_writer_init(&w, q, out, cap);
    if (rc != 0)
        answer.rcode = rc;
    else
        dns_answer(s->zone, q, s->spin++, &w, &answer);
    if (answer.outcome != DNS_ANSWERED) {
        struct dns_query up;
        size_t kept_len;
        uint32_t age_s;
        upstream_query(q, &answer, &up);
        const uint8_t *kept = dns_forward_cached(s->forward, &up, &kept_len, &age_s);
        return kept == NULL ? -1 : (ptrdiff_t)join(s, q, out, cap, kept, kept_len, age_s);
    }
    dns_writer_end(&w, q, answer.rcode);
    count_response(s, answer.ours, answer.rcode);
    return (ptrdiff_t)w.len;
}

static void reply(struct dns_request *r, const uint8_t *msg, size_t len)
{
    static uint8_t out[DNS_MESSAGE_MAX]; /* One loop, one answer at a time. */
    size_t n = join(r->server, &r->query, out, r->cap, msg, len, 0);
    r->reply(r, out, n);
}

static void on_upstream(struct dns_wait *w, const uint8_t *msg, size_t len)
{
    reply(CONTAINER_OF(w, struct dns_request, wait), msg, len);
}

void dns_server_ask(struct dns_server *s, struct dns_request *r)
{
    uint8_t scratch[DNS_UDP_BYTES];
    struct dns_writer w;
    struct dns_answer answer;
    struct dns_query up;
    dns_writer_init(&w, &r->query, scratch, sizeof(scratch));
    dns_answer(s->zone, &r->query, 0, &w, &answer);
    upstream_query(&r->query, &answer, &up);
    r->server = s;
    r->wait.done = on_upstream;
    list_init(&r->wait.link);
    if (!dns_forward_ask(s->forward, &up, &r->wait))
        reply(r, NULL, 0);
}

/* --- life ---------------------------------------------------------------------------------- */

struct dns_server *dns_server_new(struct uv_loop_s *loop, const struct zone *zone,
                                  struct dns_forward *forward)
{
    struct dns_server *s = xzalloc(sizeof(*s));
    struct metrics *m = metrics_default();
    s->loop = loop;
    s->zone = zone;
    s->forward = forward;
    s->requests = metric_counter(m, "coredns_dns_requests_total", "DNS queries.",
                                 METRIC_LABELS("proto", "family", "type"));
    s->responses = metric_counter(m, "coredns_dns_responses_total", "DNS answers.",
                                  METRIC_LABELS("zone", "rcode"));
    dns_tcp_init(s);
    return s;
}

int dns_server_listen(struct dns_server *s, const struct zone_ip *ip, uint16_t port,
                      struct error *err)
{
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    const struct sockaddr *address = (const struct sockaddr *)&a4;
    if (ip->len == 16)
        address = (const struct sockaddr *)&a6;
    memcpy(ip->len == 16 ? (void *)&a6.sin6_addr : (void *)&a4.sin_addr, ip->bytes, ip->len);
    int fd = dns_udp_open(address, err);
    if (fd < 0)
        return fd;
    int rc = dns_tcp_listen(s, address, err);
    if (rc == 0)
        dns_udp_serve(s, fd, ip->len == 16);
    else
        close(fd);
    return rc;
}
