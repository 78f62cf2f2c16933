/* stream_out.h - what waits for a socket: bytes of the queue's own, and between
 * them shared blocks by reference. Internal to lib/net; not thread-safe. */
#ifndef NET_STREAM_OUT_H
#define NET_STREAM_OUT_H

#include "lib/base/buf.h"

#include <uv.h>

struct net_bytes;
struct stream_ref;

/* Zeroed is empty. */
struct stream_out {
    size_t len; /* Bytes in all. */
    struct buf own;
    bool lent;       /* The memory of own is the thread's. */
    size_t own_tail; /* Of them behind the last reference. */
    struct stream_ref *refs;
    size_t ref_first, ref_count, ref_cap;
};

void stream_out_done(struct stream_out *o); /* Drops everything; empty and usable again. */
void stream_out_add(struct stream_out *o, const void *data, size_t len);
/* The same in two steps: where up to len bytes go that are written there, and how many came. */
uint8_t *stream_out_room(struct stream_out *o, size_t len);
void stream_out_commit(struct stream_out *o, size_t len);
/* Before the queue is copied elsewhere: from here on its memory is all its own. */
void stream_out_keep(struct stream_out *o);
/* data .. data + len lies in b. Takes a reference. */
void stream_out_add_ref(struct stream_out *o, struct net_bytes *b, const uint8_t *data, size_t len);
/* What stands first, in at most max pieces; returns their number. */
unsigned stream_out_pieces(const struct stream_out *o, uv_buf_t *ret, unsigned max);
unsigned stream_out_piece_count(const struct stream_out *o); /* An upper bound. */
void stream_out_consume(struct stream_out *o, size_t n);

#endif
