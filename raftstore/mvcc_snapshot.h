/* mvcc_snapshot.h - the whole state as a stream of bytes, and back.
 *
 * The stream is a sequence of chunks: a header with lengths and a CRC-32C, then
 * an LZ4 frame. The first holds the header (format, revisions, applied index,
 * member records, alarms), then come leases and keys, the last holds the totals.
 * Each checksum continues the one before, so that no chunk can be missing, double
 * or out of place. It comes from an immutable view, so writers go on meanwhile, and no
 * copy of the data is held beyond one chunk.
 *
 *   store thread: mvcc_snapshot_new(m)      I/O thread: mvcc_snapshot_read() ...
 *   I/O thread: mvcc_restore_feed() ...     store thread: mvcc_restore_commit(m) */
#ifndef RAFTSTORE_MVCC_SNAPSHOT_H
#define RAFTSTORE_MVCC_SNAPSHOT_H

#include "lib/base/str.h"

#include <stddef.h>
#include <stdint.h>

struct error;
struct mvcc;
struct mvcc_restore;
struct mvcc_snapshot;
struct mvcc_view;

/* [store thread] Of the state as applied so far (publishes it). O(leases). */
struct mvcc_snapshot *mvcc_snapshot_new(struct mvcc *m, uint64_t now_ms);
/* [any one thread] NULL is a no-op. */
void mvcc_snapshot_free(struct mvcc_snapshot *s);
uint64_t mvcc_snapshot_index(const struct mvcc_snapshot *s); /* Applied index. */
int64_t mvcc_snapshot_rev(const struct mvcc_snapshot *s);
/* [any one thread] Fills up to cap bytes; fewer only at the end, 0 after it. */
size_t mvcc_snapshot_read(struct mvcc_snapshot *s, void *p, size_t cap);
uint64_t mvcc_snapshot_bytes(const struct mvcc_snapshot *s); /* Given out so far. */
/* What it is of, for writing it in another form; borrowed. store.h's store_backup
 * is a mvcc_snapshot under another name. */
struct mvcc_view *mvcc_snapshot_view(const struct mvcc_snapshot *s);
size_t mvcc_snapshot_lease_count(const struct mvcc_snapshot *s);
/* Before asking for them one by one. */
void mvcc_snapshot_sort_leases(struct mvcc_snapshot *s);
void mvcc_snapshot_lease(const struct mvcc_snapshot *s, size_t index, int64_t *ret_id,
                         int64_t *ret_ttl_s); /* By rising id, once they are sorted. */

/* [any one thread] Builds a state aside from bytes in pieces of any size. */
struct mvcc_restore *mvcc_restore_new(void);
void mvcc_restore_free(struct mvcc_restore *r); /* NULL is a no-op. */
/* E_CORRUPT: damaged, err says where; E_NOT_IMPLEMENTED: a newer format. The
 * restore is then only good for freeing. */
int mvcc_restore_feed(struct mvcc_restore *r, struct str bytes, struct error *err);
/* The stream ended. E_CORRUPT when it is cut short or goes on behind its end. */
int mvcc_restore_finish(struct mvcc_restore *r, struct error *err);
uint64_t mvcc_restore_index(const struct mvcc_restore *r); /* After finish. */
int64_t mvcc_restore_rev(const struct mvcc_restore *r);
/* [store thread] After a successful finish: replaces m's state by one that is not
 * older, and frees r. Cannot fail. Views keep what they see; cursors go on where the new state has
 * their history, and are lost otherwise. The old tree is freed by mvcc_work(). */
void mvcc_restore_commit(struct mvcc_restore *r, struct mvcc *m, uint64_t now_ms);
/* Reads a stream and keeps nothing: is it whole? Same calls, no commit. */
struct mvcc_restore *mvcc_verify_new(void);

#endif
