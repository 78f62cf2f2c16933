/* failpoint.h - named places where a test makes the running program fail.
 *
 * [any thread] Off unless TRIREME_FAILPOINTS is set or a test arms them: then a
 * failpoint costs one branch that is always predicted. Every write, sync, rename
 * and deletion has one, as have sending, receiving, applying and answering.
 *
 *   TRIREME_FAILPOINTS="log.fsync=crash@3;snapshot.write=enospc%1"
 *   TRIREME_FAILPOINTS=file:/path     the same text, read again whenever it changes
 *
 *   NAME=ACTION[@N|@N+][%P][xM]       NAME may end in * and then means all that fit
 *     @N   at the Nth hit only; @N+ from the Nth on. Default: each
 *     %P   with P percent of probability (TRIREME_FAILPOINTS_SEED repeats a run)
 *     xM   at most M times
 *   crash      ends the process at once, as kill -9 would; exit code FAILPOINT_EXIT
 *   eio, enospc  the call fails so, without being made
 *   delay(MS)  the call is made, later; its thread stands still
 *   short      a write is made in two parts
 *   torn       a write is made in part, then crash
 *   drop       the message or connection is lost */
#ifndef RAFTSTORE_FAILPOINT_H
#define RAFTSTORE_FAILPOINT_H

#include "lib/base/base.h"

#include <stdatomic.h>

struct disk;
struct error;

#define FAILPOINT_EXIT 86

/* X(NAME, "name", kind): the kind says what it can do, see enum failpoint_kind. */
#define FAILPOINTS(X)                                                                              \
    /* The log. */                                                                                 \
    X(LOG_LOCK, "log.lock", CALL)                                                                  \
    X(LOG_BOOT, "log.boot", CALL) /* Before a start is counted. */                                 \
    X(LOG_SEGMENT_CREATE, "log.segment.create", CALL)                                              \
    X(LOG_SEGMENT_ALLOCATE, "log.segment.allocate", CALL)                                          \
    X(LOG_SEGMENT_WRITE, "log.segment.write", WRITE)                                               \
    X(LOG_SEGMENT_SYNC, "log.segment.fsync", CALL)                                                 \
    X(LOG_SEGMENT_RENAME, "log.segment.rename", CALL)                                              \
    X(LOG_SEGMENT_DIRSYNC, "log.segment.dirsync", CALL)                                            \
    X(LOG_WRITE, "log.write", WRITE)                                                               \
    X(LOG_SYNC, "log.fsync", CALL)                                                                 \
    X(LOG_SYNCED, "log.synced", STEP) /* Durable, and nobody knows yet. */                         \
    X(LOG_MARK, "log.mark", WRITE)                                                                 \
    X(LOG_TRIM, "log.trim", CALL)                                                                  \
    X(LOG_SPARE_OPEN, "log.spare.open", CALL)                                                      \
    X(LOG_SPARE_DIRSYNC, "log.spare.dirsync", CALL)                                                \
    X(LOG_SPARE_DELETE, "log.spare.delete", CALL)                                                  \
    X(LOG_READ, "log.read", CALL)                                                                  \
    X(LOG_RECOVER_WRITE, "log.recover.write", WRITE)                                               \
    X(LOG_RECOVER_SYNC, "log.recover.fsync", CALL)                                                 \
    /* Snapshots: files, then the pieces that are sent and received. */                            \
    X(SNAPSHOT_CREATE, "snapshot.create", CALL)                                                    \
    X(SNAPSHOT_WRITE, "snapshot.write", WRITE)                                                     \
    X(SNAPSHOT_WRITE_OUT, "snapshot.write.out", CALL)                                              \
    X(SNAPSHOT_FOOTER, "snapshot.footer", WRITE)                                                   \
    X(SNAPSHOT_SYNC, "snapshot.fsync", CALL)                                                       \
    X(SNAPSHOT_RENAME, "snapshot.rename", CALL)                                                    \
    X(SNAPSHOT_DIRSYNC, "snapshot.dirsync", CALL)                                                  \
    X(SNAPSHOT_PRUNE, "snapshot.prune", CALL)                                                      \
    X(SNAPSHOT_READ, "snapshot.read", CALL)                                                        \
    X(SNAPSHOT_CHUNK_READ, "snapshot.chunk.read", CALL)                                            \
    X(SNAPSHOT_CHUNK_WRITE, "snapshot.chunk.write", CALL)                                          \
    X(SNAPSHOT_INSTALL, "snapshot.install", CALL)             /* Before the file has its name. */  \
    X(SNAPSHOT_INSTALL_LOG, "snapshot.install.log", STEP)     /* Before the log is emptied. */     \
    X(SNAPSHOT_INSTALL_STATE, "snapshot.install.state", STEP) /* Before the state is replaced. */  \
    /* Peers. */                                                                                   \
    X(PEER_DIAL, "peer.dial", CALL)                                                                \
    X(PEER_ACCEPT, "peer.accept", MESSAGE)                                                         \
    X(PEER_SEND, "peer.send", MESSAGE)                                                             \
    X(PEER_SEND_CHUNK, "peer.send.chunk", MESSAGE)                                                 \
    X(PEER_RECEIVE, "peer.receive", MESSAGE)                                                       \
    /* The store. */                                                                               \
    X(STORE_VOTE, "store.vote", STEP) /* Before term and vote go to the log. */                    \
    X(STORE_PROPOSE, "store.propose", STEP)                                                        \
    X(STORE_APPLY, "store.apply", STEP)                                                            \
    X(STORE_PUBLISH, "store.publish", STEP) /* Applied, but no reader sees it. */                  \
    X(STORE_ANSWER, "store.answer", STEP)   /* Before a client is told. */

enum failpoint {
#define FAILPOINT_ENUM(id, name, kind) FP_##id,
    FAILPOINTS(FAILPOINT_ENUM)
#undef FAILPOINT_ENUM
        FAILPOINT_COUNT
};

/* What a failpoint can do besides crash and delay, which all can. */
enum failpoint_kind {
    FAILPOINT_STEP,    /* Nothing else. */
    FAILPOINT_CALL,    /* eio, enospc */
    FAILPOINT_WRITE,   /* eio, enospc, short, torn */
    FAILPOINT_MESSAGE, /* drop */
};

extern atomic_bool failpoint_armed;

/* --- for tests --- */
/* Replaces what is set; "" sets none but counts hits, NULL switches off.
 * E_INVALID: the text, names or actions are wrong; nothing changes then. */
int failpoint_set(const char *spec, struct error *err);
uint64_t failpoint_hits(enum failpoint f); /* While armed. */
const char *failpoint_name(enum failpoint f);
enum failpoint_kind failpoint_kind(enum failpoint f);

/* Takes what the environment says, once in a process. */
int failpoint_setup(struct error *err);

/* --- in the code --- */
int failpoint_hit(enum failpoint f);
bool failpoint_hit_drop(enum failpoint f);

/* 0, or the negative errno that the call is to end with instead of being made. */
static inline int failpoint(enum failpoint f)
{
    return __builtin_expect(atomic_load_explicit(&failpoint_armed, memory_order_relaxed), 0)
               ? failpoint_hit(f)
               : 0;
}
/* True: the message is lost. */
static inline bool failpoint_drops(enum failpoint f)
{
    return __builtin_expect(atomic_load_explicit(&failpoint_armed, memory_order_relaxed), 0) &&
           failpoint_hit_drop(f);
}
/* disk_pwrite_all() with a failpoint of kind WRITE. */
int failpoint_pwrite_all(enum failpoint f, struct disk *d, int fd, const void *p, size_t n,
                         uint64_t offset);

#endif
