/* peer_message.h - what members say to each other, and its bytes.
 *
 * Pure. Every message starts with a version byte and a type byte; integers are
 * little-endian. Integrity and identity are the transport's (mutual TLS). The
 * decoder takes outside bytes: everything is bounded by the message's length. */
#ifndef RAFTSTORE_PEER_MESSAGE_H
#define RAFTSTORE_PEER_MESSAGE_H

#include "raftstore/consensus.h"
#include "raftstore/replica.h"

struct buf;
struct error;

#define PEER_MESSAGE_VERSION 1

enum peer_message_type {
    /* 1 .. 6: enum consensus_message_type. */
    PEER_FORWARD = 16, /* Commands for the leader's log. */
    PEER_REFUSED,      /* ... not taken: not the leader. */
    PEER_HEARTBEAT,    /* A round that confirms the leader for reads. */
    PEER_HEARTBEAT_ACK,
    PEER_READ, /* Asks the leader for a read index. */
    PEER_READ_REPLY,
    PEER_CHANGE, /* Asks the leader for a change of members or a transfer. */
    PEER_CHANGE_REPLY,
    PEER_CHUNK, /* A piece of a snapshot. */
    PEER_CHUNK_ACK,
};

struct peer_message {
    uint8_t type;
    union {
        /* Types 1 .. 6. Decoded entries are owned, see entries below. */
        struct {
            struct consensus_message msg;
            uint64_t transfer; /* CONSENSUS_INSTALL: which data it is about. */
            struct str meta;   /* CONSENSUS_INSTALL */
        } core;
        struct {
            struct str batch; /* Runs of the sender (batch.h). */
        } forward;
        struct {
            uint64_t boot, term;
        } refused;
        struct {
            uint64_t term, round;
        } heartbeat; /* And its ack. */
        struct {
            uint64_t boot, id, index;
        } read; /* index: of the reply. PEER_READ: who asks, its term (0 before 2026-11). */
        struct {
            uint64_t boot, id;
            uint8_t change; /* enum replica_change_type, or PEER_TRANSFER. */
            bool again;     /* Asked before; it may have happened. */
            uint64_t target;
            struct str address;
        } change;
        struct {
            uint64_t boot, id;
            int32_t code;
        } change_reply;
        struct {
            uint64_t transfer, index, term, offset;
            bool last;
            struct str bytes;
        } chunk;
        struct {
            uint64_t transfer, attempt;
            uint64_t offset; /* Everything before it is written, in this attempt. */
            bool done;       /* And there is no more. */
        } chunk_ack;
    };
    struct entry **entries; /* Of a decoded CONSENSUS_APPEND; freed by done. */
    uint32_t entry_count;
};

#define PEER_TRANSFER 255

void peer_message_encode(const struct peer_message *m, struct buf *out);
/* Strings are borrowed from bytes. E_INVALID. Call peer_message_done() after
 * success. */
int peer_message_decode(struct str bytes, struct peer_message *ret, struct error *err);
void peer_message_done(struct peer_message *m);

#endif
