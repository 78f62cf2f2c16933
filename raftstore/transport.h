/* transport.h - messages between members over mutual TLS.
 *
 * Loop-confined. Every member dials every other one and sends on the connection
 * it dialed; what it accepts it only reads. A second connection per pair, made
 * when needed, carries snapshot pieces, so that they never stand before a
 * heartbeat. Nothing is promised: a message is dropped when the peer cannot be
 * reached or its queue is full; the consensus asks again.
 *
 *   dial -> TLS -> hello/welcome -> frames          lost: dial again, later and later
 *
 * Who may talk: with TLS, who shows a certificate signed by the members' CA with
 * the organisation TRANSPORT_ORGANIZATION. It may then speak for any member id:
 * members trust each other. Both sides' cluster ids must agree. Without TLS only
 * loopback addresses and unix sockets are dialed or listened on. The configuration
 * can relax both. */
#ifndef RAFTSTORE_TRANSPORT_H
#define RAFTSTORE_TRANSPORT_H

#include "raftstore/transport_frame.h"

struct env;
struct error;
struct metrics;
struct transport;
struct uv_loop_s;

#define TRANSPORT_ORGANIZATION "system:trireme:members"

struct transport_ops {
    /* bytes are borrowed. False: nonsense, cut the connection. */
    bool (*on_message)(void *arg, uint64_t from, struct str bytes);
    /* May this one talk to us? The cluster ids agree unless ours is 0, and `to`
     * is our id unless that is 0; then TRANSPORT_RETRY is the answer, after
     * noting the ids that the dialer gives us. */
    enum transport_status (*on_hello)(void *arg, const struct transport_hello *h);
    /* A member answered our dialing: may we talk to it? */
    enum transport_status (*on_welcome)(void *arg, const struct transport_welcome *w);
    /* True: goes over the bulk connection. */
    bool (*is_bulk)(void *arg, struct str message);
    /* The leader refused our dialing: we are no member any more. May be NULL. */
    void (*on_removed)(void *arg);
};

struct transport_config {
    struct uv_loop_s *loop;
    struct env *env;
    struct metrics *metrics;
    uint64_t cluster_id, id; /* 0 until told: see transport_adopt(). */
    uint64_t instance;
    const char *name;        /* Copied. */
    const char *client_urls; /* Told to the others; copied. NULL: none. */
    uint16_t format;         /* Newest format of commands understood; told to the others. */
    /* "host:port", port 0 picks one; or "unix:/path"; several divided by commas. */
    const char *listen_address;
    const char *advertise_address;              /* NULL: as listening, in the first place. */
    const char *cert_file, *key_file, *ca_file; /* All or none. */
    bool any_organization;                      /* Any certificate of the CA will do, */
    const char *common_name;                    /* ... if it has this name; NULL: any. Copied. */
    bool plain;                                 /* Without TLS also beyond loopback. */
    size_t message_max;                         /* Longer messages cut the connection. */
    size_t queue_max;  /* Bytes waiting for one peer; 0: message_max + 16 MiB. */
    uint32_t stall_ms; /* A connection that takes nothing for so long is dialed anew; 0: 3000. */
    const struct transport_ops *ops; /* Borrowed for the transport's life. */
    void *arg;
};

/* Listens at once. E_INVALID: an address, a file, or TLS is missing. */
int transport_new(const struct transport_config *config, struct transport **ret, struct error *err);
/* Closes everything; on_closed comes later and the transport is gone by then. */
void transport_close(struct transport *t, void (*on_closed)(void *arg), void *arg);

int transport_port(const struct transport *t);            /* 0 for a unix socket. */
const char *transport_address(const struct transport *t); /* What is advertised. */
/* Our identity is known now. */
void transport_adopt(struct transport *t, uint64_t cluster_id, uint64_t id, uint64_t instance);

struct transport_peer {
    uint64_t id;
    const char *address;
};
/* Whom to keep connections to. Ourselves among them is ignored. */
void transport_set_peers(struct transport *t, const struct transport_peer *peers, size_t count);
/* The content of msg is taken. */
void transport_send(struct transport *t, uint64_t to, struct buf *msg);
/* Our sending connection to the peer is up. */
bool transport_is_up(const struct transport *t, uint64_t id);
/* For tests: drops everything to and from the peer (0: everybody). */
void transport_block(struct transport *t, uint64_t id, bool blocked);

#endif
