/* upgrade.h - passes a request for an upgraded connection on to another server
 * and joins both sides (bridge.h), or passes on that server's refusal.
 *
 *   upgrade_start -> [on_answer] or [on_fail] -> on_end
 *
 * Loop-confined. */
#ifndef NET_UPGRADE_H
#define NET_UPGRADE_H

#include "lib/net/bridge.h"
#include "lib/net/http.h"

struct http_request;
struct tls_context;
struct upgrade;
struct uv_loop_s;

/* What the request is for: WebSocket clients of these two are translated,
 * because container runtimes speak only SPDY for them. Everything else is
 * passed on as it is. */
enum upgrade_kind { UPGRADE_PLAIN, UPGRADE_COMMAND, UPGRADE_PORTS };

#define PROTOCOL_COMMAND_WS "v5.channel.k8s.io"
#define PROTOCOL_COMMAND_SPDY "v4.channel.k8s.io"
#define PROTOCOL_PORTS_WS "SPDY/3.1+portforward.k8s.io"
#define PROTOCOL_PORTS_SPDY "portforward.k8s.io"

struct upgrade_events {
    /* 101, or what the server refused with, is about to be sent: a chance to add
     * fields. The request must not be touched afterwards. May be NULL. */
    void (*on_answer)(struct http_request *r, int status, void *arg);
    /* Nothing to pass on: the callee answers the request. E_INVALID: the request
     * itself was wrong. */
    void (*on_fail)(struct http_request *r, const struct error *err, void *arg);
    /* Everything is over. The last. May be NULL. */
    void (*on_end)(void *arg);
};

struct upgrade_config {
    struct uv_loop_s *loop;
    struct http_request *request; /* The caller's, and ours from upgrade_start() on. */
    enum upgrade_kind kind;
    unsigned channels;    /* UPGRADE_COMMAND: CHANNEL_BIT()s that the request's options ask for. */
    const char *endpoint; /* As net_connect_config.endpoint. */
    struct tls_context *tls; /* NULL: plain. A reference is taken. */
    const char *server_name; /* Expected in the certificate; NULL: the endpoint's host. */
    const char *target;      /* "/path?query", escaped. Copied. */
    const char *authority;   /* NULL: the endpoint's. */
    /* Fields to send, besides those that make the upgrade; see http_forward_headers(). */
    const struct http_header *headers;
    size_t header_count;
    uint64_t answer_timeout_ms; /* 0: none. */
    const struct upgrade_events *events;
    void *arg; /* Borrowed until on_end. It must not live in the request's arena. */
};

/* Does the request ask for one? */
bool upgrade_wanted(const struct http_request *r);
/* On failure no callback runs, and the request is still the caller's. */
int upgrade_start(const struct upgrade_config *config, struct upgrade **ret, struct error *err);
/* Ends everything (bridge_stop()); on_end follows. */
void upgrade_stop(struct upgrade *u);

/* The fields of a request as a proxy passes them on: without those of one
 * connection and those named in drop (lower case, ended by NULL; a name that
 * ends in '*' stands for a prefix). In the request's arena, with room for
 * `spare` more behind them. */
struct http_header *http_forward_headers(const struct http_request *r, const char *const *drop,
                                         size_t spare, size_t *ret_count);

#endif
