/* bytes.h - immutable byte blocks shared between threads by counted reference.
 *
 * Made once, never changed after it is shared. What travels from a codec or
 * the store to many sockets without being copied. */
#ifndef NET_BYTES_H
#define NET_BYTES_H

#include "lib/base/base.h"
#include "lib/base/str.h"

#include <stdatomic.h>

struct buf;

struct net_bytes {
    atomic_uint refs;
    size_t len;
    const uint8_t *data;
    size_t headroom; /* Bytes before data that nobody needs: see net_bytes_steal_private(). */
    /* Called once with the last reference gone; frees the block itself too.
     * May run on any thread. */
    void (*release)(struct net_bytes *b);
};

/* One block with room for len bytes behind it; fill net_bytes_edit() before
 * sharing. Aborts when memory is gone: bound len first. */
struct net_bytes *net_bytes_new(size_t len);
struct net_bytes *net_bytes_copy(const void *p, size_t len);
/* Takes the content over; b is left empty. */
struct net_bytes *net_bytes_steal(struct buf *b);
/* The same for bytes that go to one socket and nowhere else. Whoever sends them may
 * write its own framing over what is sent already, and over the bytes that
 * buf_consume() has dropped. */
struct net_bytes *net_bytes_steal_private(struct buf *b);
/* For a block embedded in another object: sets one reference. */
void net_bytes_init(struct net_bytes *b, const void *data, size_t len,
                    void (*release)(struct net_bytes *b));
/* Where to write: only while the caller holds the one reference to a block of
 * net_bytes_new(). */
uint8_t *net_bytes_edit(struct net_bytes *b);
void net_bytes_shrink(struct net_bytes *b, size_t len); /* Same condition. */

struct net_bytes *net_bytes_ref(struct net_bytes *b); /* Returns b. */
void net_bytes_unref(struct net_bytes *b);            /* NULL is a no-op. */

static inline struct str net_bytes_str(const struct net_bytes *b)
{
    return str_n((const char *)b->data, b->len);
}

#endif
