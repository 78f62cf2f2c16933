/* entry.h - one entry of the replicated log, and the members of a cluster.
 *
 * An entry is immutable once made and reference-counted with an atomic count,
 * so that the store thread, the log's I/O thread and the peers' senders share
 * one copy of its bytes. */
#ifndef RAFTSTORE_ENTRY_H
#define RAFTSTORE_ENTRY_H

#include "lib/base/str.h"

#include <stdint.h>

struct buf;
struct error;

/* The numbers stand in log files and on the wire: never reuse one. */
enum entry_type {
    ENTRY_COMMANDS = 1, /* A batch of commands (batch.h). */
    ENTRY_NOOP = 2,     /* Empty: what a new leader writes first. */
    ENTRY_MEMBERS = 3,  /* The complete new list of members, encoded. */
};

/* Larger payloads are refused by every decoder. */
#define ENTRY_BYTES_MAX (16u << 20)

struct entry {
    _Atomic uint32_t refs;
    enum entry_type type;
    uint64_t index;
    uint64_t term;
    uint32_t size; /* Bytes in data. */
    uint8_t data[];
};

/* A new entry with one reference and uninitialised data. size is bounded by
 * ENTRY_BYTES_MAX; NULL when memory is gone. */
struct entry *entry_new(enum entry_type type, uint64_t index, uint64_t term, uint32_t size);
struct entry *entry_ref(struct entry *e);
void entry_unref(struct entry *e); /* NULL is a no-op. */
static inline struct str entry_str(const struct entry *e)
{
    return str_n((const char *)e->data, e->size);
}

/* --- members --- */

enum member_role {
    MEMBER_VOTER = 1,
    MEMBER_STANDBY = 2, /* Receives the log, counts in no quorum. */
    MEMBER_SPARE = 3,   /* Receives nothing. Known to the core; the replica assigns none. */
    MEMBER_LEARNER = 4, /* A standby that only a request makes a voter. Since format 2. */
};

#define MEMBERS_MAX 32
#define MEMBER_ADDRESS_MAX 512

struct member {
    uint64_t id; /* Never 0, never reused after a removal. */
    enum member_role role;
    char *address; /* Opaque here; never NULL. */
};

/* Value type that owns its strings. Order is kept: the core relies on it. */
struct members {
    struct member *items;
    uint32_t count;
};

void members_done(struct members *m); /* Frees; m is empty and usable again. */
void members_copy(struct members *to,
                  const struct members *from); /* `to` is overwritten, not freed. */
void members_add(struct members *m, uint64_t id, enum member_role role, const char *address);
void members_remove(struct members *m, uint64_t id);
struct member *members_get(const struct members *m, uint64_t id); /* NULL when absent. */
uint32_t members_voters(const struct members *m);
void members_encode(const struct members *m, struct buf *out);
/* E_INVALID for anything but a valid list: unique non-zero ids, known roles,
 * bounded count and addresses, no byte left over. */
int members_decode(struct str bytes, struct members *ret, struct error *err);

#endif
