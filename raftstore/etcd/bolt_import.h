/* bolt_import.h - the state that an etcd's snapshot holds, as a state of the store.
 *
 * For the program that restores: blocks, and holds all of the data in memory, as
 * the member that is made of it will. Keys, values, every kept revision with its
 * numbers, leases, users and roles come over; members and alarms do not. */
#ifndef RAFTSTORE_ETCD_BOLT_IMPORT_H
#define RAFTSTORE_ETCD_BOLT_IMPORT_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct error;
struct mvcc;

struct bolt_import {
    /* etcd's --bump-revision and --mark-compacted: the state goes on at a revision
     * this much higher, and no older one can be read or watched. */
    uint64_t bump_revision;
    bool mark_compacted;
    /* Told back. */
    int64_t rev, compacted;
    uint64_t keys, versions, leases, users, roles;
    uint64_t loose; /* Keys whose lease is not in the file: they stay, without it. */
};

/* file: a snapshot with the checksum that etcdctl puts behind it; *ret_db is the
 * database alone. E_NOT_FOUND: there is no checksum (a copied database, not a
 * snapshot); E_CORRUPT: it does not match. */
int bolt_checked(struct str file, struct str *ret_db, struct error *err);
/* Fills m, which is new. E_CORRUPT. */
int bolt_import(struct bolt_import *im, struct str db, struct mvcc *m, struct error *err);

/* What `etcdctl snapshot status` shows. */
struct bolt_status {
    uint32_t hash; /* CRC-32C over the names of buckets, keys and values. */
    int64_t rev;
    uint64_t keys; /* Items of all buckets. */
};
int bolt_status(struct str db, struct bolt_status *ret, struct error *err);

#endif
