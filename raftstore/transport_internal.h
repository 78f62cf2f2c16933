/* transport_internal.h - what transport.c, transport_dial.c and transport_accept.c share. */
#ifndef RAFTSTORE_TRANSPORT_INTERNAL_H
#define RAFTSTORE_TRANSPORT_INTERNAL_H

#include "raftstore/transport.h"

#include "lib/base/list.h"
#include "lib/net/stream.h"

#include <uv.h>

struct metric;

#define TRANSPORT_LISTENERS_MAX 8

/* One outgoing connection.
 *
 *   IDLE --dial--> DIALING --open--> GREETING --welcome--> UP
 *     ^               |                 |                   |
 *     '--- timer --- WAITING <----------'-------------------'   lost or refused */
enum link_state { LINK_IDLE, LINK_DIALING, LINK_GREETING, LINK_UP, LINK_WAITING };

struct link {
    struct remote *peer;
    enum transport_channel channel;
    enum link_state state;
    struct net_stream *stream;
    uv_timer_t timer; /* Until the next dialing. */
    bool timer_open;
    uint64_t backoff_ms;
    struct framer framer; /* For the welcome. */
    /* Frames sent before the connection is up: a few, so that an election does
     * not have to wait for the next round. */
    struct buf early;
    /* Progress: bytes given to the stream, and when some last left it. */
    uint64_t written;
    uint64_t gone;
    uint64_t gone_at_ms;
    enum transport_status last_status; /* Logged when it changes. */
    bool logged_down;
};

struct remote {
    struct list node;
    struct transport *t;
    uint64_t id;
    char *address;
    bool listed;      /* By transport_set_peers(); else it only dialed us. */
    bool was_listed;  /* By the list before. */
    uint32_t inbound; /* Connections it has to us. */
    bool blocked;
    bool closing;
    struct link links[TRANSPORT_CHANNELS];
    struct metric *sent_bytes, *received_bytes, *send_failures, *round_trip;
    uint64_t round_trip_at_ms; /* Measured last. */
    struct metric *active;     /* From its first connection on. */
};

struct inbound {
    struct list node;
    struct transport *t;
    struct net_stream *stream;
    struct framer framer;
    struct remote *peer; /* NULL before the hello. */
    uint8_t channel;
    bool refused;
};

/* A refusal that was logged: the same again is not, for a while. */
#define REFUSALS_NOTED 16
struct refusal {
    uint64_t from;
    uint64_t at_ms;
    enum transport_status status;
};

struct transport {
    struct uv_loop_s *loop;
    struct env *env;
    uint64_t cluster_id, id, instance;
    char *name;
    char *address;
    char *client_urls;
    uint16_t format;
    size_t message_max, queue_max;
    uint32_t stall_ms;
    struct transport_ops ops;
    void *arg;
    struct net_listener *listeners[TRANSPORT_LISTENERS_MAX];
    uint32_t listener_count, listeners_open;
    struct tls_context *tls_server, *tls_client;
    bool any_organization, plain;
    char *common_name; /* NULL: any. */
    struct tls_reloader *reload_server, *reload_client;
    struct list peers;
    struct list inbounds;
    bool block_all;
    bool closing;
    void (*on_closed)(void *arg);
    void *on_closed_arg;
    struct metrics *metrics;
    struct refusal refusals[REFUSALS_NOTED];
    uint32_t next_refusal;
};

/* --- transport.c --- */
/* E_UNAUTHORIZED unless the other side may speak as a member. */
int transport_check_identity(const struct transport *t, struct net_stream *s, struct error *err);
struct remote *remote_get(struct transport *t, uint64_t id);
struct remote *remote_new(struct transport *t, uint64_t id, struct str address);
/* Frees it once nobody needs it any more. */
void remote_settle(struct remote *p);
void transport_settle(struct transport *t); /* The same for a closing transport. */
bool transport_address_is_unix(const char *address);
bool transport_address_is_local(const char *address);

/* --- transport_dial.c --- */
void link_init(struct link *l, struct remote *p, enum transport_channel channel);
void link_dial(struct link *l);
/* The peer's address is another one now. */
void link_moved(struct link *l);
void link_send(struct link *l, struct buf *message); /* May take its memory. */
void link_close(struct link *l);                     /* For good. */
bool link_closed(const struct link *l);

/* --- transport_accept.c --- */
void transport_on_accept(struct net_listener *listener, struct net_stream *s,
                         const struct net_stream_handler **ret_handler, void **ret_arg, void *arg);

#endif
