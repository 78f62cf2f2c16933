/* history.h - what clients did to a store and what watchers saw, and whether
 * both can be true of one strictly serialisable store. Pure.
 *
 * Revisions are the witness: each write that succeeded took one, watchers see
 * them all in order, so every answer can be held against one known sequence of
 * states. Checked at the end by history_check():
 *
 *   each acknowledged write is in the history, whole, alone at its revision
 *   nothing is there that nobody asked for, that was refused, or twice
 *   versions, creation revisions and previous values follow from the history
 *   each read, range, failed and won comparison is what the state at its
 *   revision gives
 *   an operation that began after another ended does not stand before it
 *   (serialisable reads excepted)
 *   every watcher saw the same, whole revisions, in order, none twice
 *   a lease's keys went together, not before its time, and not without reason
 *
 * The test owns all keys: "kv/WWW/SSS", one of `writers` writers each with
 * HISTORY_SLOTS slots; the group behind the last writer is shared, and the one
 * behind that is for keys with leases. */
#ifndef TEST_KVLOAD_HISTORY_H
#define TEST_KVLOAD_HISTORY_H

#include "lib/base/base.h"
#include "lib/base/str.h"

#define HISTORY_SLOTS 16
#define HISTORY_KEY_BYTES 16

enum op_kind {
    OP_SINGLE,      /* put slot */
    OP_DELETE_MARK, /* txn: delete slot, put slot 2 */
    OP_PAIR,        /* txn: put slots 0 and 1, range of slot 0 */
    OP_LEASED,      /* txn: put slot and the next one under a lease */
    OP_COUNTER,     /* txn: if mod(slot) == expect: put slot; else range of slot */
    OP_READ,        /* range of a group or a key */
    OP_READ_STALE,  /* the same, serialisable */
    OP_READ_PAST,   /* the same at an older revision */
};

enum op_outcome { OUTCOME_PENDING, OUTCOME_DONE, OUTCOME_UNKNOWN, OUTCOME_REFUSED };

struct op {
    enum op_kind kind;
    enum op_outcome outcome;
    bool won;      /* OP_COUNTER: the comparison held. */
    uint32_t key;  /* Or the first key of a range. */
    uint32_t keys; /* How many from there on, for reads. */
    int64_t start_us, end_us;
    int64_t rev;    /* The answer's header. */
    int64_t at;     /* OP_READ_PAST: the revision asked for. */
    int64_t expect; /* OP_COUNTER. */
    uint32_t lease; /* OP_LEASED: its number here, from 1. */
    uint64_t seen;  /* Digest of the keys in the answer. */
    int64_t found;  /* Revision of the history where it was found; 0: not yet. */
};

struct seen_kv {
    uint32_t key;
    int64_t mod, create, version;
    uint64_t op; /* Who wrote the value. */
};

struct seen_event {
    struct seen_kv kv; /* mod is the event's revision. */
    bool deleted;
    int64_t at_us; /* When it came. */
    bool has_prev;
    int64_t prev_mod;
    uint64_t prev_op;
};

/* The store may end it only once ttl_us went by since it confirmed a renewal that was
 * asked for at renewed_us, or when asked to revoke it. */
struct lease {
    int64_t ttl_us, renewed_us;
    bool revoking;
};

struct history;
struct watch_log;

/* base_rev: the store's revision before the first operation. */
struct history *history_new(uint32_t writers, int64_t base_rev);
void history_free(struct history *h);

void history_key(uint32_t key, char ret[HISTORY_KEY_BYTES]);
bool history_key_parse(struct str name, uint32_t *ret);
/* The value of operation id, len bytes or a little more. */
void history_value(uint64_t id, size_t len, char *p);
bool history_value_parse(struct str value, uint64_t *ret_id);
#define HISTORY_VALUE_MIN 28

/* The pointer is good until the next one. */
uint64_t history_op_new(struct history *h, enum op_kind kind, int64_t now_us);
struct op *history_op(struct history *h, uint64_t id);
uint64_t history_op_count(const struct history *h);
uint64_t history_digest(uint64_t digest, const struct seen_kv *kv);
/* Returns its number. The pointer is good until the next one. */
uint32_t history_lease_new(struct history *h, int64_t ttl_us, int64_t renewed_us);
struct lease *history_lease(struct history *h, uint32_t number);
/* Does a watcher of everything know the keys of the operation to be gone? */
bool history_leased_gone(const struct history *h, uint64_t id);
/* All groups. */
uint32_t history_keys(uint32_t writers);
void history_compacted(struct history *h, int64_t rev);

/* A watch of keys [first, first + count) from the next revision on. */
struct watch_log *history_watch(struct history *h, const char *name, uint32_t first,
                                uint32_t count);
/* One answer of a watch. Revisions must rise from answer to answer. */
void watch_log_add(struct watch_log *w, const struct seen_event *events, size_t count);
/* A progress notification: nothing up to rev is outstanding. */
void watch_log_progress(struct watch_log *w, int64_t rev);
void watch_log_lost(struct watch_log *w, int64_t compact_rev);
/* It had its time: what it did not see by now it missed. */
void watch_log_end(struct watch_log *w);
int64_t watch_log_next(const struct watch_log *w); /* The first revision not seen for certain. */

/* Counts and prints; anything noticed before counts as well. */
void history_violation(struct history *h, const char *fmt, ...) PRINTF_LIKE(2, 3);
uint64_t history_violations(const struct history *h);
/* The newest revision that a watcher of everything saw. */
int64_t history_rev(const struct history *h);
/* After the last answer. What a member holds at rev in all keys. */
uint64_t history_state_digest(struct history *h, int64_t rev, uint32_t first, uint32_t count);
void history_check(struct history *h);

struct history_counts {
    uint64_t done, unknown, refused, reads, unknown_found, events, watched;
};
void history_counts(const struct history *h, struct history_counts *ret);

#endif
