/* webhook_client.h - a loop's calls to webhooks and issuers of tokens.
 *
 * Loop-confined. Connections are kept per address, name and credentials; the
 * client unused for longest makes room. */
#ifndef APISERVER_WEBHOOK_CLIENT_H
#define APISERVER_WEBHOOK_CLIENT_H

#include "lib/base/str.h"

struct arena;
struct error;
struct net_bytes;
struct uv_loop_s;
struct webhook_pool;

struct webhook_pool *webhook_pool_new(struct uv_loop_s *loop);
/* Running calls end with E_CANCELED. NULL is a no-op. */
void webhook_pool_close(struct webhook_pool *p);

struct webhook_target {
    struct str endpoint;      /* "host:port" */
    struct str server_name;   /* Expected in the certificate. */
    struct str authority;     /* Of the Host header; empty: the server's name. */
    struct str path;          /* "/x?timeout=10s" */
    struct str ca_bundle;     /* PEM; empty: the system's. */
    struct str cert, key;     /* PEM of the client's certificate; empty: none. */
    struct str authorization; /* Value of that header; empty: none. */
    bool plain;               /* http:// */
    bool insecure;            /* Any certificate will do. */
};

struct webhook_answer {
    int code; /* 0: status and body are there; else E_*, and body says why. */
    int status;
    struct str body; /* In the arena given. */
};

#define WEBHOOK_ANSWER_BYTES_MAX (6u << 20)

/* POSTs body; takes the reference. done(arg) comes later, never inside the
 * call; *ret is filled then. */
void webhook_post(struct webhook_pool *p, struct arena *a, const struct webhook_target *target,
                  struct net_bytes *body, uint64_t timeout_ms, struct webhook_answer *ret,
                  void (*done)(void *arg), void *arg);

/* The same with a method, and with a body that may be NULL. */
void webhook_call(struct webhook_pool *p, struct arena *a, const struct webhook_target *target,
                  const char *method, struct net_bytes *body, uint64_t timeout_ms,
                  struct webhook_answer *ret, void (*done)(void *arg), void *arg);

#endif
