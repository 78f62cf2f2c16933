/* request.h - one request on its way through the server.
 *
 *   head -> body -> authenticate -> impersonate -> flow control -> authorize -> route
 *        -> get/list/watch/write/... -> exactly one answer
 *
 * Loop-confined. Everything lives in the request's arena, which lives until
 * the answer is sent; asynchronous steps (store, kubelet) come back on the
 * same loop. A step answers by calling one of req_*() below once, and must not
 * touch the request afterwards. */
#ifndef APISERVER_REQUEST_H
#define APISERVER_REQUEST_H

#include "apiserver/admission.h"
#include "apiserver/apiserver.h"
#include "apiserver/content.h"
#include "apiserver/custom/conversion.h"
#include "apiserver/kind.h"
#include "apiserver/registry.h"
#include "apiserver/request_info.h"
#include "apiserver/status.h"
#include "apiserver/user.h"

struct asks;
struct aggregated_service;
struct audit_event;
struct authz_wait;
struct buf;
struct flow_request;
struct held_view;
struct http_request;
struct kv;
struct net_bytes;
struct proxy;
struct store_view;

struct req {
    struct http_request *http;
    struct server_thread *thread;
    struct apiserver *server;
    struct arena *arena;
    struct request_info info;
    struct user *user;
    struct user *real_user;            /* Before impersonation; the same without. */
    const struct resource *res;        /* Of resource requests. */
    const struct api_subresource *sub; /* NULL: the object itself. */
    struct accepted accept;
    struct str_list warnings;
    bool include_object_set; /* Tables: see table.h. */
    uint64_t start_ns;
    int64_t now_ns;
    struct held_view *views;        /* See req_view(). */
    struct meta_v1_status *refused; /* Before anything was looked at; NULL: it is welcome. */
    struct audit_event *audit;      /* NULL: not recorded, see audit.h. */
    struct str audit_id;            /* See req_audit_id(). */
    struct authz_wait *authz_wait;  /* A refusal that waits to be sure, see authz.c. */
    struct asks *asks;              /* Questions for webhooks, see ask.h. */
    const char *cache_control;      /* NULL: nothing may be kept. */
    int inflight;                   /* Which of the server's counts holds it; -1: none. */
    struct flow_request *flow;      /* Its seats or its place in a queue; NULL: none. */
    bool long_running;              /* Watches, logs: not in the latency histogram. */
    struct list deadline;           /* In the thread's list of those whose time ends: deadline.h. */
    uint64_t deadline_ns;
    bool write_bounded;             /* As a write, not as any request. */
    bool timed_out;                 /* The client has its 504. */
    struct list parked;             /* In the thread's list of those that wait. */
    struct conversions conversions; /* Of what is read, see req_converted(). */
    struct webhook_state *webhooks; /* Of requests that are no write: req_admit(). */
    void (*webhooks_again)(struct req *r);
    struct proxy *proxy;                   /* Where the streamed body goes, once known: proxy.h. */
    bool streams_body;                     /* The body comes in pieces: proxy_body. */
    struct aggregated_service *aggregated; /* Another server's to answer; NULL: ours. Held. */
};

/* Called by the HTTP server for each complete request, and for those whose head
 * is complete and whose body is passed on as it comes. */
void req_begin(struct http_request *http, struct server_thread *t, bool streams_body);

/* Takes requests up again that wait for custom kinds. */
void req_unpark(struct server_thread *t);

/* Names the request in logs: the client's own name for it, or one of ours. */
struct str req_audit_id(struct req *r);
/* First value of a query parameter, unescaped; empty when absent. */
struct str req_query(const struct req *r, const char *key);
bool req_query_has(const struct req *r, const char *key);
/* As upstream reads booleans: what is there and is neither "0" nor "false" is true. */
bool req_query_bool(const struct req *r, const char *key);
/* All values of a parameter. */
struct str *req_query_all(const struct req *r, const char *key, size_t *ret_count);
/* A number, where there is one; otherwise *ret stays. */
struct meta_v1_status *req_query_i64(const struct req *r, const char *key, bool *ret_has,
                                     int64_t *ret);

/* Is it for a subresource that is a connection: exec, attach, portforward, proxy? */
bool req_connects(const struct req *r);

/* The newest view, held until the request ends. */
struct store_view *req_view(struct req *r);
/* Lets go of them early: for watches and streams, which must not keep old
 * state alive. Nothing borrowed from a view may be used afterwards. */
void req_release_views(struct req *r);
void req_ctx(struct req *r, const struct store_view *view, struct kind_ctx *ret);

/* --- answers: each is the last call on r ---------------------------------- */
void req_status(struct req *r, struct meta_v1_status *s);
/* An object of any kind (res->kind, Scale, reviews), encoded as negotiated. */
void req_object(struct req *r, int http_status, const struct api_kind *kind, void *msg);
/* An object as it stands in the store. */
void req_stored(struct req *r, int http_status, const struct kv *kv);
/* Plain text and prepared bytes. */
void req_text(struct req *r, int http_status, const char *content_type, struct str text);
void req_bytes(struct req *r, int http_status, const char *content_type, struct net_bytes *b);
/* Sets the fields that every answer has; for handlers that stream. */
void req_headers(struct req *r, const char *content_type);
/* Counts the request; for handlers that answer by streaming. */
void req_done(struct req *r, int http_status);

/* --- handlers ---------------------------------------------------------------- */
void read_get(struct req *r);
void list_handle(struct req *r);
void watch_handle(struct req *r);
void write_create(struct req *r);
void write_update(struct req *r);
void write_patch(struct req *r);
void write_delete(struct req *r);
void write_delete_collection(struct req *r);
void subresource_handle(struct req *r); /* Those with a form of their own. */
void discovery_handle(struct req *r);   /* Everything that is no resource. */

/* --- waiting for webhooks -------------------------------------------------------------
 * True: the objects can be decoded and encoded as r->res, between
 * conversions_enter(&r->conversions) and conversions_leave(). False: next runs
 * once they can, or the request is answered. */
bool req_converted(struct req *r, const struct kv *const *kvs, size_t count,
                   void (*next)(struct req *r));
/* Has the questions asked that were noted in r->asks; then next(arg) on the loop. */
void req_ask(struct req *r, void (*next)(void *arg), void *arg);

/* --- admission of what is no write of an object ---------------------------------
 * obj of that kind is created at, or is the options of a connection to, the
 * request's subresource. */
struct meta_v1_status *req_admit(struct req *r, const struct kind_ctx *ctx, enum admit_op op,
                                 const struct api_kind *kind, void *obj);
/* Does s say that webhooks are to be waited for? Then again(r) runs later and
 * must come to req_admit() once more; the request is not answered until then. */
bool req_admit_waits(struct req *r, const struct meta_v1_status *s, void (*again)(struct req *r));

/* --- waiting for the store ------------------------------------------------------
 * next runs on the loop once the newest view includes every write acknowledged
 * before the call; the request is answered instead when the store fails. */
void req_barrier(struct req *r, void (*next)(struct req *r));

#endif
