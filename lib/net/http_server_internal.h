/* http_server_internal.h - what http_server.c, http_conn.c, http_request.c,
 * http_server_h1.c and http_server_h2.c share.
 *
 *   server --< conn (one stream, one protocol) --< serving (one request)
 *
 * A serving lives until its handler has made the last call and its connection
 * has let go of it, whichever is later. */
#ifndef NET_HTTP_SERVER_INTERNAL_H
#define NET_HTTP_SERVER_INTERNAL_H

#include "lib/net/http_h2_rules.h"
#include "lib/net/http_server.h"

#include "lib/base/buf.h"
#include "lib/base/list.h"
#include "lib/base/loop.h"
#include "lib/net/http_out.h"

#define HTTP_SPARE_MAX 128

struct arena;
struct http_conn;
struct http_h1;
struct http_h2;
struct serving;

/* Who must act next on a request. */
enum serving_owner {
    SERVING_LAYER,   /* We: reading the head, buffering the body, or answering an error. */
    SERVING_HANDLER, /* The handler: its last call is owed. */
    SERVING_NOBODY,  /* The last call was made: the rest is output. */
};

/* What a protocol does for its requests. */
struct http_protocol {
    /* The head is ready, there is more output, or the end: send when it suits. */
    void (*output)(struct serving *x);
    /* The client must see that the response failed. */
    void (*abort)(struct serving *x);
    /* n bytes of the body were used up. */
    void (*body_used)(struct serving *x, size_t n);
    /* Paused or resumed. */
    void (*body_flow)(struct serving *x);
    /* y answers for x from now on. */
    void (*replace)(struct serving *x, struct serving *y);
    /* Sends what is due; returns false if the connection is of no more use. */
    bool (*flush)(struct http_conn *c);
    void (*input)(struct http_conn *c, const uint8_t *data, size_t len);
    /* The client sends no more. */
    void (*eof)(struct http_conn *c);
    void (*free)(struct http_conn *c);
};

struct serving {
    struct http_request r;  /* First: what handlers see. */
    struct http_conn *conn; /* NULL once detached. */
    struct list link;       /* In conn->servings or server->orphans. */
    enum serving_owner owner;
    unsigned busy; /* Callbacks of this request on the stack. */

    /* The head while it arrives. */
    struct http_header *headers;
    size_t header_cap;
    size_t header_bytes;
    int reject_status; /* Set while the head arrives: answer this instead. */

    /* The body. */
    struct buf body;
    size_t body_max;
    const struct http_body_handler *body_handler; /* NULL: buffered. */
    void *body_arg;
    struct buf held; /* Arrived while paused. */
    bool paused;
    bool body_patient; /* No deadline for its next byte. */
    bool body_done;    /* All of it has arrived. */
    bool body_told;    /* And the handler knows. */
    bool discard_body;
    bool head_told;    /* on_headers has returned. */
    uint64_t input_ms; /* When the body last grew. */
    struct deferred resume;

    void (*on_abort)(struct http_request *r, void *arg);
    void *abort_arg;

    /* The response. */
    int status;
    struct http_header *out_headers;
    size_t out_header_count, out_header_cap;
    struct http_header *trailers;
    size_t trailer_count, trailer_cap;
    int64_t out_length; /* Declared; -1: unknown. */
    uint64_t out_total; /* Written so far. */
    struct http_out out;
    struct list holds; /* struct http_hold: nothing is sent while there is one. */
    bool started, ended, aborted_by_us;
    bool head_sent;
    bool messages; /* The response is WebSocket messages, of this opcode. */
    enum ws_opcode opcode;
    bool close_after;   /* The handler wants the connection closed (HTTP/1). */
    uint64_t output_ms; /* When output last moved, or was queued behind nothing. */
    void (*on_drain)(struct http_request *r, void *arg);
    void *drain_arg;
    size_t drain_low;
    bool drain_above; /* Pending has been above drain_low. */
    struct deferred drain;

    /* HTTP/2. */
    int32_t stream_id;
    struct h2_rules rules;
    bool refused; /* Malformed: the stream's reset is on its way. */
    bool data_deferred;
    bool end_sent;     /* The response is complete, the request's body is not. */
    size_t late_bytes; /* Of that body, since then. */
    struct list due;   /* In the connection's list of those with news to send. */
};

struct http_conn {
    struct http_server *server;
    struct net_stream *stream;            /* NULL once closed or handed over. */
    struct list link;                     /* In server->conns. */
    const struct http_protocol *protocol; /* NULL until known. */
    union {
        struct http_h1 *h1;
        struct http_h2 *h2;
    } p;
    struct buf first;     /* Plain: bytes until the protocol is known. */
    struct list servings; /* In order of arrival. */
    size_t serving_count;
    size_t out_bytes; /* Queued by all servings. */
    struct deferred flush;
    unsigned busy;   /* Callbacks of its protocol on the stack. */
    bool going_away; /* Shutting down: no further requests. */
    bool closing;    /* The stream is being closed softly. */
    bool gone;       /* Free as soon as nothing is on the stack. */
    uint64_t idle_since_ms;
    uint64_t head_since_ms; /* HTTP/1: a head has begun; 0: none. */
    uint64_t sent_bytes;    /* As of sent_ms. */
    uint64_t sent_ms;       /* When the socket last took bytes or had none to take. */
    uint64_t check_ms;      /* When the timer fires; 0: not armed. */
};

struct http_server {
    uv_loop_t *loop;
    struct http_server_config config;
    struct list conns;
    struct list orphans; /* Servings whose connection is gone and whose handler is not done. */
    struct net_listener **listeners;
    size_t listener_count, listener_cap;
    size_t listeners_open;
    struct defer_queue queue;
    uv_timer_t timer; /* The shutdown's deadline. */
    bool stopping, closing;
    unsigned handles; /* Still open: queue and timer. */
    void (*on_closed)(struct http_server *s, void *arg);
    void *closed_arg;
    struct arena *spare[HTTP_SPARE_MAX]; /* Of requests that are over, for the next ones. */
    size_t spare_count;
    struct http_server_stats stats;
    int64_t date_s;
    char date[32];
};

/* http_server.c */
void http_server_check_closed(struct http_server *s);
const char *http_server_date(struct http_server *s); /* The Date field, now. */

/* http_conn.c */
extern const struct net_stream_handler http_conn_handler;
struct http_conn *http_conn_new(struct http_server *s, struct net_stream *stream);
/* Ends the connection after what was written. */
void http_conn_close(struct http_conn *c);
void http_conn_kill(struct http_conn *c); /* At once. */
void http_conn_wake(struct http_conn *c); /* flush() soon. */
/* Sees to it that deadlines are looked at no later than this. */
void http_conn_check_by(struct http_conn *c, uint64_t when_ms);
void http_conn_enter(struct http_conn *c);
void http_conn_leave(struct http_conn *c); /* May free c. */
/* The stream belongs to somebody else: forget it. */
void http_conn_detach_stream(struct http_conn *c);
uint64_t http_conn_now(const struct http_conn *c);

/* http_request.c, http_response.c: how the protocols report. All may run callbacks. */
struct serving *serving_new(struct http_conn *c);
/* A complete field; name in lower case. Sets reject_status beyond the limits. */
void serving_add_header(struct serving *x, struct str name, struct str value);
void serving_set_target(struct serving *x, struct str target);
/* The head is complete: asks on_headers. false: the protocol must answer
 * x->reject_status itself, if set. */
void serving_head_done(struct serving *x);
void serving_body_data(struct serving *x, const uint8_t *data, size_t len);
void serving_body_done(struct serving *x);
/* Answers with an error of this layer, if nothing was answered yet. */
void serving_reject(struct serving *x, int status, const char *text);
/* The connection lets go of x; if its response was not finished it is aborted.
 * x may be gone afterwards. */
void serving_detach(struct serving *x, bool finished);
/* Output moved: on_drain may be due. */
void serving_output_moved(struct serving *x);
bool serving_wants_body(const struct serving *x); /* And the client is to send it. */
/* Around callbacks: x stays until the matching leave, which may free it. */
void serving_enter(struct serving *x);
void serving_leave(struct serving *x);
/* The handler has made its last call. May free x. */
void serving_last_call(struct serving *x);
void serving_run_drain(struct deferred *d);
void serving_drop_holds(struct serving *x); /* x goes: they hold nothing any more. */
static inline struct serving *serving_of(const struct http_request *r)
{
    return CONTAINER_OF(r, struct serving, r);
}
static inline uint64_t serving_now(const struct serving *x)
{
    return uv_now(x->r.server->loop);
}
/* The body of an error response. */
void serving_error_body(struct http_server *s, struct http_request *r, int status, const char *text,
                        struct buf *b, const char **ret_content_type);

/* http_server_h1.c, http_server_h2.c */
extern const struct http_protocol http_protocol_h1;
extern const struct http_protocol http_protocol_h2;
void http_h1_start(struct http_conn *c);
bool http_h2_start(struct http_conn *c);
/* The connection behind an upgrade; leftover bytes go to the stream. */
int http_h1_upgrade(struct serving *x, const char *protocol,
                    const struct net_stream_handler *handler, void *arg, struct net_stream **ret,
                    struct error *err);

#endif
