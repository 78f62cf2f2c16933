/* command.h - what the replicated log carries to the state machine.
 *
 * Encoded as a format byte, a type byte and the fields. Every member decodes
 * and applies the same bytes; nothing else changes the state.
 *
 * A command is written in the lowest format that can say it, so that members of
 * different versions go on together as long as nobody asks for what is new:
 *   1  the types up to COMMAND_ALARM
 *   2  a transaction with auth_rev in front, and ranges with order and filters;
 *      COMMAND_AUTH, COMMAND_VERIFY, COMMAND_ALARM_CHANGE
 * The store refuses a command that a member is known not to understand. */
#ifndef RAFTSTORE_COMMAND_H
#define RAFTSTORE_COMMAND_H

#include "raftstore/txn.h"

#define COMMAND_FORMAT 2
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
    COMMAND_AUTH = 9,            /* config: a change of users and roles, see auth.h. */
    COMMAND_VERIFY = 10,         /* rev, hash: what the state at rev must hash to. */
    COMMAND_ALARM_CHANGE = 11,   /* member (0: all), alarms, set: these of its alarms. */
};

struct command {
    enum command_type type;
    struct txn txn;
    int64_t rev;
    int64_t id;
    int64_t ttl_s;
    uint64_t renewals;
    struct str config; /* Of COMMAND_AUTH: the change, encoded. */
    uint64_t member;
    uint32_t alarms; /* STORE_ALARM_* */
    bool set;
    uint64_t hash;
};

void command_encode(const struct command *c, struct buf *out);
/* As command_encode() of a COMMAND_TXN without the struct around it. */
void command_encode_txn(const struct txn *t, struct buf *out);
/* The format that the encoded command is in. */
static inline unsigned command_format(struct str bytes)
{
    return bytes.len > 0 ? (uint8_t)bytes.data[0] : 0;
}
/* Bounded; strings are views into bytes, arrays in the arena. E_INVALID, or
 * E_NOT_IMPLEMENTED for a newer version or unknown type: this member is too old
 * to go on. */
int command_decode(struct arena *a, struct str bytes, struct command *ret, struct error *err);

#endif
