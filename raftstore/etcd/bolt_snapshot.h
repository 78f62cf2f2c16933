/* bolt_snapshot.h - a backup of the store in the form of etcd's snapshots: a bbolt
 * file with every kept revision, the leases, users and roles, and behind it the
 * SHA-256 that etcdctl looks for. etcdctl snapshot status and restore take it, and
 * an etcd runs on what they make of it.
 *
 *   store_backup() -> bolt_snapshot_new() -> while (_prepare()) -> _size() -> _read()*
 *
 * Alarms and members are left out: a restore makes new members, and alarms are of
 * the old ones. Memory: 16 bytes for each version until prepared, 8 after, and 24
 * for each page of the file. Any one thread; prepare in slices where others wait. */
#ifndef RAFTSTORE_ETCD_BOLT_SNAPSHOT_H
#define RAFTSTORE_ETCD_BOLT_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bolt_snapshot;
struct store_backup;

/* Takes the backup over, and its view: free before store_close(). */
struct bolt_snapshot *bolt_snapshot_new(struct store_backup *b);
void bolt_snapshot_free(struct bolt_snapshot *s); /* NULL is a no-op. */
/* Orders the versions and lays out the file: a slice of about `budget` versions,
 * about half a microsecond each. True: more to do. */
bool bolt_snapshot_prepare(struct bolt_snapshot *s, size_t budget);
/* Once prepared: bytes of the database, without the checksum behind it. */
uint64_t bolt_snapshot_size(const struct bolt_snapshot *s);
int64_t bolt_snapshot_rev(const struct bolt_snapshot *s);
/* The database, then the checksum's 32 bytes; fewer than cap only at the end, 0
 * after it. */
size_t bolt_snapshot_read(struct bolt_snapshot *s, void *p, size_t cap);

#endif
