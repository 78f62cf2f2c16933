/* client_internal.h - what the files of the client share: transports,
 * requests, coding of calls and answers. */
#ifndef CLIENT_CLIENT_INTERNAL_H
#define CLIENT_CLIENT_INTERNAL_H

#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/heap.h"
#include "lib/base/list.h"
#include "lib/client/client.h"
#include "lib/net/http_client.h"

#include <uv.h>

#define CLIENT_BODY_MAX (1u << 30)   /* A LIST of a big cluster. */
#define CLIENT_FRAME_MAX (64u << 20) /* One watch event. */
#define CLIENT_TRIES_MAX 10          /* As client-go. */
#define CLIENT_CONNECT_TRIES_MAX 4
#define CLIENT_RELOAD_MS (30u * 1000) /* Files with credentials are looked at again. */

struct client_metrics;
struct kubeconfig;
struct tls_context;

/* One http_client with its TLS; the client's current one and those that still
 * carry calls made before a change of configuration. */
struct transport {
    struct list link;
    struct client *client;
    struct http_client *http;
    struct tls_context *tls; /* NULL: plain. */
    unsigned calls;
    bool retired;
    bool closing;
};

struct client {
    uv_loop_t *loop;
    struct env *env;
    struct kubeconfig *config;
    char *user_agent;
    char *prefix;                /* Path of the servers' URL, without trailing slash. */
    char *authorization;         /* Value of the header; NULL: none. */
    struct transport *transport; /* The current one. */
    struct list transports;      /* All, the current one too. */
    struct list requests;
    struct list watches;
    struct heap waiting; /* Requests by due_ms. */
    uv_timer_t timer;    /* Of waiting. */
    uv_timer_t reload_timer;
    unsigned handles_open;
    bool reloading;
    bool closing;
    struct client_metrics *metrics;
    double qps, burst, tokens;
    uint64_t tokens_at_ms;
    void (*on_closed)(void *arg);
    void *on_closed_arg;
};

/* What is sent, made once per call and kept for repeats. */
struct client_message {
    const char *method;
    const char *target;
    const char *content_type; /* NULL: no body. */
    const char *accept;
    struct net_bytes *body; /* NULL: none. */
    bool is_read;           /* May be repeated freely. */
};

/* --- client_codec.c: pure ---------------------------------------------------- */
int client_encode_call(struct arena *a, const char *prefix, const struct client_call *call,
                       struct client_message *ret, struct error *err);
int client_encode_watch(struct arena *a, const char *prefix,
                        const struct client_watch_config *config, struct client_message *ret,
                        struct error *err);
/* Fills code, message, status and object (one reference in ret->object) from a
 * complete answer. kind: what objects decode as; NULL: any known kind when it
 * comes as protobuf, else none. Memory goes to a. */
void client_decode_answer(struct arena *a, const struct api_kind *kind, bool decode,
                          int http_status, struct str content_type, struct str body,
                          struct client_result *ret);
/* An object in an envelope or as JSON. kind NULL: whatever it says it is;
 * E_NOT_FOUND when that is not known. */
int client_decode_object(const struct api_kind *kind, struct str bytes, struct api_object **ret,
                         struct error *err);
/* The E_* code of a Status. */
int client_status_code(const struct meta_v1_status *status, int http_status);

enum client_frame {
    CLIENT_FRAME_EVENT,
    CLIENT_FRAME_ERROR, /* object is a Status */
};
/* One watch frame, without its length: type and the bytes of the object. */
int client_decode_frame(struct str frame, struct str *ret_type, struct str *ret_object,
                        struct error *err);

/* --- client.c ---------------------------------------------------------------- */
/* Starts an HTTP call over the current transport, which then counts it until
 * client_http_ended(). */
int client_http_start(struct client *c, const struct client_message *m, uint64_t timeout_ms,
                      uint64_t header_timeout_ms, void (*on_headers)(struct http_call *, void *),
                      void (*on_data)(struct http_call *, const uint8_t *, size_t, void *),
                      void (*on_end)(struct http_call *, const struct error *, void *), void *arg,
                      struct transport **ret_transport, struct http_call **ret, struct error *err);
void client_http_ended(struct transport *t);
/* Frees the client if it is closing and nothing is left. */
void client_maybe_free(struct client *c);

/* --- client_watch.c ---------------------------------------------------------- */
void client_watch_abandon(struct list *link); /* For client_close(). */

#endif
