/* server_internal.h - what UDP and TCP share of the DNS server. */
#ifndef KUBELET_DNS_SERVER_INTERNAL_H
#define KUBELET_DNS_SERVER_INTERNAL_H

#include "kubelet/dns/answer.h"
#include "kubelet/dns/forward.h"

#include <uv.h>

struct error;

enum dns_transport { DNS_UDP, DNS_TCP };

struct dns_server {
    uv_loop_t *loop;
    const struct zone *zone;
    struct dns_forward *forward;
    uint32_t spin;
    size_t conn_count;
    struct list conns; /* Of TCP, longest idle first. */
    uv_timer_t idle_timer;
    struct metric_family *requests, *responses;
    struct metric *request_series[2][2][8], *response_series[2][8];
};

/* A query that waits for upstream. The transport embeds it. */
struct dns_request {
    struct dns_wait wait;
    struct dns_server *server;
    struct dns_query query;
    size_t cap;
    /* The answer; called once, then the request is the transport's to free. */
    void (*reply)(struct dns_request *r, const uint8_t *msg, size_t len);
};

/* The whole answer into out, its length returned. 0: none is due. -1: upstream
 * has to be asked, and *q says for what; give it to dns_server_ask(). */
ptrdiff_t dns_server_answer(struct dns_server *s, enum dns_transport t, bool v6, const uint8_t *msg,
                            size_t len, uint8_t *out, struct dns_query *q);
/* r->query, cap and reply are set. reply may be called before this returns. */
void dns_server_ask(struct dns_server *s, struct dns_request *r);

/* A bound socket, which dns_udp_serve() takes over, or a negative code. */
int dns_udp_open(const struct sockaddr *address, struct error *err);
void dns_udp_serve(struct dns_server *s, int fd, bool v6);
int dns_tcp_listen(struct dns_server *s, const struct sockaddr *address, struct error *err);
void dns_tcp_init(struct dns_server *s);

#endif
