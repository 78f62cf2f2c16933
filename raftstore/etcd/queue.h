/* queue.h - standing in a line of keys: what locks and elections are made of.
 *
 * Every contender puts the key PREFIX/LEASE (in hexadecimal) with its lease. The one
 * with the lowest create revision has the lock, or leads. The others each wait for
 * the one before them, so that an end wakes one of them only. Whose key goes, by its
 * lease or otherwise, waits in vain and is told so at once. When the client goes away
 * its key goes too.
 *
 *   queue_enter() -> [lease granted] -> key put -> on_entered -> queue_wait() -> on_first */
#ifndef RAFTSTORE_ETCD_QUEUE_H
#define RAFTSTORE_ETCD_QUEUE_H

#include "raftstore/etcd/key_wait.h"
#include "raftstore/etcd/txn.h"

#define QUEUE_LEASE_TTL_S 60 /* Where no lease is given; not kept alive, as in etcd. */

struct queue;

/* Calls are open, and answered by queue_reply() or queue_fail(). */
struct queue_kind {
    /* The key stands in line. The first operation of r is the put, or the get of the
     * key that stood there already; the second gets the first of the line. */
    void (*on_entered)(struct queue *q, const struct txn_result *r);
    void (*on_first)(struct queue *q, int64_t rev); /* rev: the store's, when it was seen. */
    const struct etcd_fault *lost;                  /* What is said when the key went. */
};

struct queue {
    struct etcd_write write; /* First: c->user points here. */
    const struct queue_kind *kind;
    struct etcd_call *call;
    struct txn_cmp cmp;
    struct txn_op success[2], failure[2];
    struct str prefix; /* With its '/'. This and the next three are owned. */
    struct str prefix_end;
    struct str key;
    struct str value;
    int64_t lease;
    int64_t start_rev;  /* The store's before the key was put. */
    int64_t rev;        /* The key's create revision; 0: not known yet. */
    int64_t header_rev; /* The kind's own. */
    bool proposed, settling;
    struct key_wait own, before;
    struct str before_key;
    int64_t before_rev;
};

/* Takes the call over. name and value are copied. lease 0: a new one is granted. */
void queue_enter(struct etcd_call *c, const struct queue_kind *kind, struct str name,
                 struct str value, int64_t lease);
/* In on_entered, or once more was written: until nobody stands before it. */
void queue_wait(struct queue *q);
/* Answers; the key stays. Frees q. */
void queue_reply(struct queue *q, const ProtobufCMessage *message);
void queue_fail(struct queue *q, const struct etcd_fault *f);
void queue_gone(struct etcd_call *c); /* A method's on_gone. */

/* Gets the key with the lowest create revision in [prefix, end): what has the lock. */
struct txn_op queue_first_op(struct str prefix, struct str end);
/* A copy with '/' behind it. The caller frees data. */
struct str queue_prefix(struct str name);
/* Where the keys with a prefix that ends with '/' end. */
struct str queue_prefix_end(struct str prefix);

#endif
