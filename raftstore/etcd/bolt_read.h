/* bolt_read.h - looks into a bbolt file from outside: etcd's snapshots.
 *
 * The bytes are an outsider's: every length, position and page number is checked
 * before it is followed; a file whose pages refer to each other in circles ends
 * with E_CORRUPT after as many pages as it has. Views into the bytes, nothing is
 * copied. */
#ifndef RAFTSTORE_ETCD_BOLT_READ_H
#define RAFTSTORE_ETCD_BOLT_READ_H

#include "lib/base/str.h"

struct error;

struct bolt_file {
    struct str bytes;
    uint32_t page_bytes;
    uint64_t pages; /* In use: higher numbers are not referred to. */
    uint64_t root;
};

#define BOLT_DEPTH_MAX 24
struct bolt_cursor {
    const struct bolt_file *file;
    struct {
        struct str page; /* With its overflow pages. */
        uint32_t at;
    } path[BOLT_DEPTH_MAX];
    uint32_t depth; /* 0: at the end. */
    uint64_t visits;
    struct str last; /* Key. */
};

struct bolt_entry {
    struct str key, value;
    bool is_bucket; /* Its value is a bucket's head. */
};

/* bytes are borrowed. The newer of the two meta pages that are sound counts.
 * E_CORRUPT: not a bbolt file, or cut short. */
int bolt_open(struct bolt_file *f, struct str bytes, struct error *err);
/* The top bucket of that name. E_NOT_FOUND. */
int bolt_bucket(struct bolt_cursor *c, const struct bolt_file *f, const char *name,
                struct error *err);
/* The bucket of buckets. */
int bolt_root(struct bolt_cursor *c, const struct bolt_file *f, struct error *err);
/* 1: *ret is the next item by key; 0: the end; E_CORRUPT. */
int bolt_next(struct bolt_cursor *c, struct bolt_entry *ret, struct error *err);

#endif
