/* server_internal.h - what the services of the etcd front program against.
 *
 * A service is a file with one table of methods, named in one line of SERVICES in
 * server.c. Everything of a call happens on its thread's loop.
 *
 *   head, message -> [leader? learner? who?] -> on_call(call, message)
 *       handler: etcd_call_hold(); store_...(mailbox, cb, call)
 *       cb:      etcd_call_reply() or etcd_call_fail(); etcd_call_release()
 *
 * A call outlives its stream while it is held: the client may cancel, its deadline
 * pass or the server stop at any time. Replies to such a call are dropped, so a
 * handler need not ask; but what lies in the stream's arena (the message too) is
 * gone then: look at etcd_call_is_open() before touching it. */
#ifndef RAFTSTORE_ETCD_SERVER_INTERNAL_H
#define RAFTSTORE_ETCD_SERVER_INTERNAL_H

#include "lib/base/heap.h"
#include "lib/base/list.h"
#include "lib/base/loop.h"
#include "lib/base/mailbox.h"
#include "lib/net/proto.h"
#include "raftstore/etcd/errors.h"
#include "raftstore/etcd/server.h"
#include "raftstore/etcd/token.h"
#include "raftstore/store.h"

#include "etcd/rpc.pb-c.h"

#include <stdatomic.h>

struct arena;
struct etcd_binding;
struct etcd_call;
struct etcd_thread;
struct grpc_server;
struct http_server;
struct key_waits;
struct net_bytes;
struct tls_context;
struct watch_hub;

/* --- services ------------------------------------------------------------------- */

enum {
    ETCD_LEARNER = 1, /* Learners answer it too. */
    ETCD_NO_AUTH = 2, /* Nobody is asked who they are: Authenticate. */
    ETCD_WAITS = 4,   /* A unary request that may be open for long: ends as streams do. */
};

/* Exactly one of on_call and on_open is set. */
struct etcd_method {
    const char *path; /* "/etcdserverpb.KV/Range" */
    unsigned flags;
    /* Unary requests (the answer may be a stream). caller is known. */
    void (*on_call)(struct etcd_call *c, struct str message);
    /* Client streams. on_open and on_message may end the call. caller is as of the
     * beginning: ask etcd_call_identify() anew per message. */
    void (*on_open)(struct etcd_call *c);
    void (*on_message)(struct etcd_call *c, struct str message); /* Borrowed. */
    void (*on_half_close)(struct etcd_call *c);                  /* May be NULL. */
    /* Once, when the stream was ended by somebody else than the handler: the client,
     * its deadline, a lost leader, the server's stop. The stream is gone. May be NULL. */
    void (*on_gone)(struct etcd_call *c);
};

struct etcd_service {
    const struct etcd_method *methods;
    size_t method_count;
};
extern const struct etcd_service etcd_kv_service, etcd_watch_service, etcd_lease_service;

/* A plain HTTP request whose path is `path`, or begins with it when it ends with
 * '/': the body is buffered. r is the handler's, see http_server.h. */
struct etcd_route {
    const char *path;
    bool metrics_too; /* Also on metrics_urls. */
    void (*handle)(struct etcd_thread *t, struct http_request *r);
};
struct etcd_route_list {
    const struct etcd_route *routes;
    size_t count;
};
extern const struct etcd_route_list etcd_plain_routes; /* /version, /metrics */
extern const struct etcd_route_list etcd_health_routes;

/* --- calls ------------------------------------------------------------------------ */

struct etcd_call {
    struct etcd_thread *thread;
    struct grpc_stream *stream; /* NULL once ended. */
    const struct etcd_method *method;
    struct etcd_binding *binding; /* For counting. */
    struct etcd_caller caller;    /* Its auth state is referenced by the call. */
    void *user;                   /* The handler's own. */
    void (*on_drain)(struct etcd_call *c);
    unsigned refs;
    bool needs_leader;    /* Asked for by the metadata "hasleader". */
    uint64_t deadline_ms; /* By the loop's clock; UINT64_MAX: none. */
    uint64_t started_ns;  /* By uv_hrtime(); 0: not measured. */
    struct heap_node by_deadline;
    struct list link;       /* In the thread's list of streams. */
    uint32_t pending_bytes; /* Counted in the server's pending bytes. */
    struct list read_link;  /* In a round of reads. */
    void (*on_read)(struct etcd_call *c, int code);
};

static inline bool etcd_call_is_open(const struct etcd_call *c)
{
    return c->stream != NULL;
}
/* While a call is held its memory stays. Every hold is released once. */
struct etcd_call *etcd_call_hold(struct etcd_call *c);
void etcd_call_release(struct etcd_call *c);
struct arena *etcd_call_arena(struct etcd_call *c); /* Only while open. */

/* The end of a call; no-ops when it is not open. */
void etcd_call_reply(struct etcd_call *c, struct net_bytes *message); /* Takes the reference. */
void etcd_call_reply_proto(struct etcd_call *c, const ProtobufCMessage *message);
void etcd_call_fail(struct etcd_call *c, const struct etcd_fault *f);
void etcd_call_fail_text(struct etcd_call *c, enum grpc_status status, const char *text);
void etcd_call_fail_code(struct etcd_call *c, int code); /* etcd_fault_of_code() */
/* Unless it ends before: deadline_exceeded. The client's own deadline counts anyway. */
void etcd_call_end_within(struct etcd_call *c, uint64_t ms);
void etcd_call_finish(struct etcd_call *c); /* OK, after what was sent. */

/* False when the client's connection holds so much that it does not take that no answer
 * of this size should be added: the call is to end with too_many_requests. */
bool etcd_call_may_queue(const struct etcd_call *c, size_t bytes);

/* Streamed answers; no-ops when it is not open. */
void etcd_call_send(struct etcd_call *c, struct net_bytes *message); /* Takes the reference. */
void etcd_call_send_proto(struct etcd_call *c, const ProtobufCMessage *message);
/* For those that write messages to the stream themselves. */
void etcd_call_count_sent(struct etcd_call *c, size_t bytes);
size_t etcd_call_pending(const struct etcd_call *c); /* Bytes not taken by the connection. */
void etcd_call_on_drain(struct etcd_call *c, size_t low_bytes, void (*cb)(struct etcd_call *c));

/* Unpacks the request into the call's arena; NULL: it was malformed, and the call
 * has been failed as grpc-go would. */
ProtobufCMessage *etcd_call_unpack(struct etcd_call *c, const ProtobufCMessageDescriptor *d,
                                   struct str message);
/* A field of the request's head, lower case; data NULL: absent. */
struct str etcd_call_metadata(const struct etcd_call *c, const char *name);

/* Asks again who calls, under the newest users and roles: fills c->caller. NULL: go on. */
const struct etcd_fault *etcd_call_identify(struct etcd_call *c);

/* --- threads ------------------------------------------------------------------------ */

struct etcd_server;
struct etcd_reads;

struct etcd_thread {
    struct etcd_server *server;
    unsigned index;
    uv_loop_t loop;
    uv_thread_t thread;
    bool started;
    struct mailbox mailbox;
    struct defer_queue defer;
    struct http_server *http;
    struct http_server *metrics_http; /* NULL: no metrics_urls, or not this thread. */
    struct grpc_server *grpc;
    uv_timer_t timer; /* Deadlines, leader checks, progress. */
    struct heap deadlines;
    struct list streams;               /* Calls of client streams. */
    unsigned leaderless;               /* Checks in a row that found no leader. */
    uint64_t check_at_ms, timer_at_ms; /* UINT64_MAX: not set. */
    bool stopping, closing;
    struct deferred closer;
    struct etcd_binding *bindings;
    size_t calls; /* That have memory. */
    struct etcd_reads *reads;
    struct watch_hub *hub;
    struct key_waits *waits; /* While somebody waits for keys, see key_wait.h. */
    /* Starting and stopping. */
    struct mail stop_mail;
    unsigned http_open;
    unsigned handles;
    atomic_uint_fast64_t stat_calls, stat_watchers, stat_slow, stat_watch_streams;
};

static inline struct mailbox *etcd_thread_mailbox(struct etcd_thread *t)
{
    return &t->mailbox;
}
struct store *etcd_thread_store(const struct etcd_thread *t);
const struct etcd_server_config *etcd_thread_config(const struct etcd_thread *t);
struct etcd_tokens *etcd_thread_tokens(const struct etcd_thread *t);
bool etcd_thread_is_learner(const struct etcd_thread *t);
uint64_t etcd_thread_now(const struct etcd_thread *t); /* The loop's clock, in ms. */

/* The numbers of a response header. rev 0: the store's, now. */
struct etcd_header {
    uint64_t cluster_id, member_id;
    int64_t rev;
    uint64_t term;
};
struct etcd_header etcd_header(const struct etcd_thread *t, int64_t rev);
/* The same for protobuf-c: ret lies with the caller, response->header = ret. */
void etcd_header_proto(const struct etcd_thread *t, int64_t rev, Etcdserverpb__ResponseHeader *ret);

/* cb(c, code) once every write acknowledged before this call is in store_view();
 * reads of one round of the loop share one question to the store. Holds the call.
 * When the call has ended meanwhile cb still runs. */
void etcd_read_barrier(struct etcd_call *c, void (*cb)(struct etcd_call *c, int code));

/* Counts bytes of a write on its way: false when there are too many (too_many_requests).
 * Given back when the call's memory goes. */
bool etcd_call_reserve(struct etcd_call *c, size_t bytes);

#endif
