/* http_client_internal.h - what http_client.c, http_call.c, http_client_conn.c,
 * http_client_h1.c and http_client_h2.c share.
 *
 *   client --< conn (one stream, one protocol) --< call
 *
 *   call:  WAITING -> ACTIVE -> ENDING -> (on_end) -> freed
 *             ^----------'  (the server refused it unseen, or the connection
 *                            failed and repeating does no harm)
 *
 * An ACTIVE call has a connection, or has its response complete but not yet
 * delivered (paused). */
#ifndef NET_HTTP_CLIENT_INTERNAL_H
#define NET_HTTP_CLIENT_INTERNAL_H

#include "lib/net/http_client.h"

#include "lib/base/buf.h"
#include "lib/base/heap.h"
#include "lib/base/list.h"
#include "lib/base/loop.h"
#include "lib/net/http_out.h"

struct client_conn;
struct client_h1;
struct client_h2;

struct client_protocol {
    /* Sends the request of a call just attached. */
    void (*begin)(struct http_call *call);
    /* There is more to upload. */
    void (*output)(struct http_call *call);
    /* Forgets the call, which is over; the server is told if the protocol can. */
    void (*forget)(struct http_call *call);
    /* n delivered bytes of the response were used up. */
    void (*body_used)(struct http_call *call, size_t n);
    void (*body_flow)(struct http_call *call); /* Paused or resumed. */
    bool (*flush)(struct client_conn *c);      /* False: the connection is of no more use. */
    void (*input)(struct client_conn *c, const uint8_t *data, size_t len);
    void (*eof)(struct client_conn *c);
    void (*ping)(struct client_conn *c);           /* NULL: cannot. */
    bool (*has_room)(const struct client_conn *c); /* For one more call. */
    void (*free)(struct client_conn *c);
};

enum call_state { CALL_WAITING, CALL_ACTIVE, CALL_ENDING };

struct http_call {
    struct http_client *client;
    struct client_conn *conn;
    enum call_state state;
    struct list link; /* client->waiting, conn->calls or client->ending. */
    struct arena *arena;
    struct http_call_config config; /* Strings in the arena. */
    struct heap_node wake;          /* In client->wakes. */
    uint64_t wake_ms, deadline_ms, header_deadline_ms;
    unsigned attempts;

    struct http_out out;
    bool write_ended;
    bool out_moved; /* Some of the body has left out. */
    bool drain_above;
    bool sent;

    int status;
    enum http_version version;
    struct http_header *headers;
    size_t header_count, header_cap, header_bytes;
    struct http_header *trailers;
    size_t trailer_count, trailer_cap;
    bool head_done; /* The final head has arrived. */
    struct tls_peer *peer;

    bool paused;
    bool complete; /* All has arrived; what is in held is still to be delivered. */
    struct buf held;
    uint32_t reset_code;
    struct error err; /* For on_end; code 0: success. */
    struct deferred deliver, drain, end;

    int32_t stream_id;
    bool data_deferred;
};

struct client_conn {
    struct http_client *client;
    struct net_stream *stream;
    struct list link;                       /* client->conns */
    const struct client_protocol *protocol; /* NULL until open. */
    union {
        struct client_h1 *h1;
        struct client_h2 *h2;
    } p;
    struct http_call *dedicated; /* An upgrade's own connection, for this call. */
    struct list calls;
    size_t call_count;
    size_t calls_total;
    bool open;
    bool draining; /* No further calls. */
    bool closing;
    bool gone;
    unsigned busy;
    struct deferred flush;
    uint64_t input_ms, ping_ms; /* Last input; when a PING went unanswered, 0: none. */
    uint64_t idle_since_ms, check_ms;
    char *authority;
};

struct http_client {
    uv_loop_t *loop;
    struct http_client_config config; /* Scalars and references. */
    char **endpoints;
    size_t endpoint_count, endpoint_next;
    char *server_name, *user_agent;
    struct list conns, waiting, ending;
    size_t waiting_count;
    enum http_client_protocol spoken; /* What ALPN settled; AUTO: not known yet. */
    struct heap wakes;
    uv_timer_t wake_timer, retry_timer;
    struct defer_queue queue;
    struct deferred dispatch;
    size_t failures; /* Connections failed since the last that opened. */
    uint32_t rounds;
    uint64_t backoff_ms, not_before_ms;
    struct error last_err;
    bool closing, closed;
    unsigned handles;
    void (*on_closed)(void *arg);
    void *closed_arg;
};

/* http_client.c */
void client_dispatch_soon(struct http_client *c);
void client_conn_opened(struct http_client *c);
/* A connection came to nothing: the next endpoint, or failure of who waits. */
void client_conn_failed(struct http_client *c, const struct error *err);
/* The upgrade that had a connection of its own is over. */
void client_forget_dedicated(struct http_call *call);
void client_check_closed(struct http_client *c);
void client_wake_at(struct http_call *call); /* Recomputes the call's place among the deadlines. */

/* http_client_conn.c */
int client_conn_start(struct http_client *c, struct http_call *dedicated, struct error *err);
void client_conn_wake(struct client_conn *c);
void client_conn_close(struct client_conn *c); /* After what was written. */
void client_conn_kill(struct client_conn *c, int code, const char *text);
bool client_conn_usable(const struct client_conn *c); /* For one more shared call. */
void client_conn_attach(struct client_conn *c, struct http_call *call);
void client_conn_detach(struct http_call *call);
void client_conn_enter(struct client_conn *c);
void client_conn_leave(struct client_conn *c);
void client_conn_hand_over(struct client_conn *c); /* The stream is somebody else's now. */

/* http_call.c: how protocols report. May run callbacks; afterwards the call is
 * still there, but perhaps no longer ACTIVE. */
void call_add_header(struct http_call *call, struct str name, struct str value);
void call_add_trailer(struct http_call *call, struct str name, struct str value);
void call_head(struct http_call *call, int status, enum http_version version);
void call_data(struct http_call *call, const uint8_t *data, size_t len);
void call_complete(struct http_call *call);
void call_fail(struct http_call *call, int code, const char *text);
/* Back to the queue, or failure with this text if it cannot be repeated. */
void call_retry(struct http_call *call, int code, const char *text);
void call_output_moved(struct http_call *call, size_t n);
void call_start_body(struct http_call *call);

extern const struct client_protocol client_protocol_h1;
extern const struct client_protocol client_protocol_h2;
void client_h1_start(struct client_conn *c);
bool client_h2_start(struct client_conn *c);

#endif
