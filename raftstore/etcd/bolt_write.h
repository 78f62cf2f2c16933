/* bolt_write.h - makes a bbolt file as a stream.
 *
 * Each bucket comes from a source that gives its items by index, sorted by key,
 * as often as asked. The layout is settled first (from the items' lengths alone),
 * so that the size is known before the first byte; then pages are made one
 * after another. Memory: 24 bytes for each page of the file, and one page.
 *
 *   bolt_writer_new(sources) -> while (bolt_writer_layout()) -> _size() -> _read()* */
#ifndef RAFTSTORE_ETCD_BOLT_WRITE_H
#define RAFTSTORE_ETCD_BOLT_WRITE_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bolt_writer;
struct buf;

/* Key and value together below 2 GiB. Keys of one source rise strictly. */
struct bolt_source {
    const char *name; /* Of the bucket; sources come sorted by name. */
    uint64_t count;
    /* NULL, for items that are cheap to make: by making them. */
    void (*measure)(void *arg, uint64_t index, size_t *ret_key, size_t *ret_value);
    /* Append as many bytes as measured. */
    void (*key)(void *arg, uint64_t index, struct buf *out);
    void (*value)(void *arg, uint64_t index, struct buf *out);
    void *arg; /* Borrowed for the writer's life. */
};

#define BOLT_SOURCES_MAX 16

/* sources are copied. */
struct bolt_writer *bolt_writer_new(const struct bolt_source *sources, size_t count);
void bolt_writer_free(struct bolt_writer *w); /* NULL is a no-op. */
/* A slice of the layout, about `budget` items. True: more to do. */
bool bolt_writer_layout(struct bolt_writer *w, size_t budget);
uint64_t bolt_writer_size(const struct bolt_writer *w); /* After the layout. */
/* Fills up to cap bytes; fewer only at the end, 0 after it. */
size_t bolt_writer_read(struct bolt_writer *w, void *p, size_t cap);

#endif
