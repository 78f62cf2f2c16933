/* grpc.h - gRPC over http_client.h and http_server.h, on byte messages.
 *
 * Loop-confined. Wire format: length-prefixed messages, no compression
 * offered; status in the trailers. proto.h packs and unpacks. */
#ifndef NET_GRPC_H
#define NET_GRPC_H

#include "lib/net/http.h"

struct arena;
struct buf;
struct grpc_call;
struct grpc_server;
struct grpc_stream;
struct http_client;
struct http_request;
struct net_bytes;
struct uv_loop_s;

enum grpc_status {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16,
};
const char *grpc_status_text(enum grpc_status s);  /* "NotFound", as grpc-go prints. */
enum grpc_status grpc_status_from_error(int code); /* E_* to status. */
int grpc_status_to_error(enum grpc_status s);      /* Status to E_*; OK is 0. */

#define GRPC_MESSAGE_MAX_DEFAULT (16u << 20) /* kubelet's limit for CRI messages. */

/* --- client; make http_client with HTTP_CLIENT_H2 --- */

struct grpc_call_config {
    const char *method;                 /* "/runtime.v1.RuntimeService/Version" */
    const struct http_header *metadata; /* Extra request fields. */
    size_t metadata_count;
    struct net_bytes *request; /* The message, or the first of a stream; NULL: none yet. A
                                * reference is taken. */
    bool client_streaming;     /* More messages come by grpc_call_send(), then _send_end(). */
    uint64_t timeout_ms;       /* 0: none. Sent as grpc-timeout and enforced here. */
    size_t message_max;        /* 0: GRPC_MESSAGE_MAX_DEFAULT. Of each received message. */

    /* data is borrowed for the call. Once for unary calls. May be NULL. */
    void (*on_message)(struct grpc_call *call, struct str message, void *arg);
    void (*on_drain)(struct grpc_call *call, void *arg); /* May be NULL. */
    /* Once, and the last. message is empty for GRPC_OK. A transport failure is
     * GRPC_UNAVAILABLE, as grpc-go's. */
    void (*on_end)(struct grpc_call *call, enum grpc_status status, struct str message, void *arg);
    void *arg;
};

/* A client for calls to a server on a unix socket, for components of this very machine: its
 * connection stays for an hour unused, and is tried again at least every second. */
int grpc_socket_client_new(struct uv_loop_s *loop, const char *socket, const char *user_agent,
                           struct http_client **ret, struct error *err);
/* *ret lives until on_end returns. ret may be NULL. On failure nothing runs. */
int grpc_call_start(struct http_client *c, const struct grpc_call_config *config,
                    struct grpc_call **ret, struct error *err);
void grpc_call_cancel(struct grpc_call *call); /* on_end(GRPC_CANCELLED) comes later. */
void grpc_call_send(struct grpc_call *call, struct net_bytes *message); /* Refs it. */
void grpc_call_send_end(struct grpc_call *call);
size_t grpc_call_pending(const struct grpc_call *call); /* Bytes waiting to be sent. */
void grpc_call_pause(struct grpc_call *call);
void grpc_call_resume(struct grpc_call *call);
struct arena *grpc_call_arena(struct grpc_call *call); /* Freed after on_end. */
struct str grpc_call_header(const struct grpc_call *call, const char *name);
struct str grpc_call_trailer(const struct grpc_call *call, const char *name); /* In on_end. */

/* A unary call that blocks on a private loop. GRPC_* > 0 comes back as its E_*
 * with the message in err, and the status in *ret_status (may be NULL).
 * The caller owns *ret. */
struct http_sync;
int grpc_sync_call(struct http_sync *s, const struct grpc_call_config *config,
                   struct net_bytes **ret, enum grpc_status *ret_status, struct error *err);

/* --- server --- */

/* One method. Rules as for http_request: a stream is the handler's until
 * grpc_stream_finish(), which is always owed. */
struct grpc_method {
    const char *path;   /* "/etcdserverpb.KV/Range"; borrowed for ever. */
    size_t message_max; /* 0: GRPC_MESSAGE_MAX_DEFAULT. */
    /* Unary requests: the one message has arrived. message lives with the
     * stream's arena. Exactly one of on_unary and on_open is set. */
    void (*on_unary)(struct grpc_stream *s, struct str message, void *arg);
    /* Client streams and bidirectional ones: the head has arrived. */
    void (*on_open)(struct grpc_stream *s, void *arg);
    void (*on_message)(struct grpc_stream *s, struct str message, void *arg); /* Borrowed. */
    void (*on_half_close)(struct grpc_stream *s, void *arg); /* The client sends no more. */
    void *arg;
};

struct grpc_server *grpc_server_new(void);
/* No stream may be open. NULL is a no-op. */
void grpc_server_free(struct grpc_server *s);
void grpc_server_add(struct grpc_server *s, const struct grpc_method *method); /* Copied. */
/* Bytes of requests, complete or not, that all streams together may hold; the one that
 * goes beyond ends RESOURCE_EXHAUSTED. 0, the default: no limit. */
void grpc_server_set_buffer_max(struct grpc_server *s, size_t bytes);
/* All services, in "package.Service" form, answer health checks
 * (grpc.health.v1.Health/Check) with SERVING once this is called. */
void grpc_server_add_health(struct grpc_server *s);
/* True if r is a gRPC request (content type application/grpc...). */
bool grpc_is_request(const struct http_request *r);
/* Call from on_headers: the request is then gRPC's, whatever comes of it
 * (unknown methods are answered UNIMPLEMENTED). */
void grpc_server_handle(struct grpc_server *s, struct http_request *r);

/* A call that did not come as gRPC (JSON over HTTP, say): a whole request that is
 * the handler's, see http_server.h, and what becomes of the answer. The request's fields
 * serve as metadata. */
struct grpc_sink {
    /* May take the bytes over, leaving the buffer empty. */
    void (*on_message)(struct http_request *r, struct buf *message, void *arg);
    /* Once, and the last: the request is the sink's, which answers it, now or later. text
     * may be NULL. */
    void (*on_finish)(struct http_request *r, enum grpc_status status, const char *text, void *arg);
    void *arg;
    size_t message_max; /* Larger ones are dropped, and the call ends RESOURCE_EXHAUSTED. */
};
/* Runs the method with these messages and no more; unary ones take the first. The
 * request belongs to the call until on_finish. Unknown methods end UNIMPLEMENTED. sink is
 * borrowed for as long as the request lives. */
void grpc_server_call(struct grpc_server *s, struct http_request *r, struct str path,
                      const struct str *messages, size_t count, const struct grpc_sink *sink);

/* Takes a reference. The first message sends the head. */
void grpc_stream_send(struct grpc_stream *s, struct net_bytes *message);
/* A message of known length in pieces: begin, then parts that sum up to len, without
 * another message between them. Parts are references, as those of send(), or copies.
 * For large answers that are written as the client takes them. */
void grpc_stream_begin(struct grpc_stream *s, size_t len); /* At most UINT32_MAX. */
void grpc_stream_part(struct grpc_stream *s, struct net_bytes *b, size_t from, size_t len);
void grpc_stream_part_copy(struct grpc_stream *s, const void *data, size_t len);
/* A small message, copied. */
void grpc_stream_send_copy(struct grpc_stream *s, const void *data, size_t len);
/* The handler's last call. message may be NULL. */
void grpc_stream_finish(struct grpc_stream *s, enum grpc_status status, const char *message);
/* finish() with one message before it. */
void grpc_stream_reply(struct grpc_stream *s, struct net_bytes *message);
void grpc_stream_trailer(struct grpc_stream *s, const char *name, const char *value);
size_t grpc_stream_pending(const struct grpc_stream *s);
void grpc_stream_on_drain(struct grpc_stream *s, size_t low_bytes,
                          void (*cb)(struct grpc_stream *s, void *arg), void *arg);
/* The client cancelled, went away, or its deadline passed. At most once. */
void grpc_stream_on_cancel(struct grpc_stream *s, void (*cb)(struct grpc_stream *s, void *arg),
                           void *arg);
void grpc_stream_pause(struct grpc_stream *s); /* on_message stops after the current one. */
void grpc_stream_resume(struct grpc_stream *s);
struct http_request *grpc_stream_request(struct grpc_stream *s);
struct arena *grpc_stream_arena(struct grpc_stream *s);
/* Milliseconds of grpc-timeout as sent, 0 if none. */
uint64_t grpc_stream_timeout_ms(const struct grpc_stream *s);
/* The handler's own. */
void grpc_stream_set_user(struct grpc_stream *s, void *user);
void *grpc_stream_user(const struct grpc_stream *s);

#endif
