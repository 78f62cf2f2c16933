/* command.h - what the replicated log carries to the state machine.
 *
 * Encoded as a version byte, a type byte and the fields. Every member decodes
 * and applies the same bytes; nothing else changes the state. */
#ifndef RAFTSTORE_COMMAND_H
#define RAFTSTORE_COMMAND_H

#include "raftstore/txn.h"

#define COMMAND_VERSION 1
#define COMMAND_BYTES_MAX (8u << 20) /* Longer ones: E_TOO_LARGE before proposing. */
#define COMMAND_CONFIG_MAX (1u << 20)

/* The numbers stand in logs: never reuse one. */
enum command_type {
    COMMAND_TXN = 1,
    COMMAND_COMPACT = 2,         /* rev */
    COMMAND_LEASE_GRANT = 3,     /* id (not 0; the proposer chooses), ttl_s */
    COMMAND_LEASE_REVOKE = 4,    /* id: with all its keys, in one revision. */
    COMMAND_LEASE_KEEPALIVE = 5, /* id */
    COMMAND_LEASE_EXPIRE = 6,    /* id, renewals: revokes unless renewed meanwhile. */
    COMMAND_CONFIG = 7,          /* config: replaces the opaque member records. */
    COMMAND_ALARM = 8,           /* member, alarms: that member's alarms are now these. */
};

struct command {
    enum command_type type;
    struct txn txn;
    int64_t rev;
    int64_t id;
    int64_t ttl_s;
    uint64_t renewals;
    struct str config;
    uint64_t member;
    uint32_t alarms; /* STORE_ALARM_* */
};

void command_encode(const struct command *c, struct buf *out);
/* As command_encode() of a COMMAND_TXN without the struct around it. */
void command_encode_txn(const struct txn *t, struct buf *out);
/* Bounded; strings are views into bytes, arrays in the arena. E_INVALID, or
 * E_NOT_IMPLEMENTED for a newer version or unknown type: this member is too old
 * to go on. */
int command_decode(struct arena *a, struct str bytes, struct command *ret, struct error *err);

#endif
