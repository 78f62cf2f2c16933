/* stream_out.c - see stream_out.h. */
#include "lib/net/stream_out.h"

#include "lib/net/bytes.h"

#include <string.h>

/* First sizes of the queue's own memory: one answer, then a turn's worth of them. */
#define OWN_SMALL 1000
#define OWN_LARGE ((size_t)24 << 10)

/* Most of what is queued leaves in the same turn. A queue that takes much at once is lent memory
 * of the thread's, which stays in the processor's cache; what the socket does not take at once
 * moves to memory of its own. */
#define LENT_BYTES ((size_t)160 << 10) /* A stream's window, and what one write may add. */
#define LENT_MIN ((size_t)8 << 10)
static _Thread_local uint8_t lent_room[LENT_BYTES];
static _Thread_local bool lent_out;

struct stream_ref {
    size_t gap; /* Own bytes between the reference before and this one. */
    struct net_bytes *bytes;
    const uint8_t *data;
    size_t len;
};

void stream_out_done(struct stream_out *o)
{
    for (size_t i = o->ref_first; i < o->ref_count; i++)
        net_bytes_unref(o->refs[i].bytes);
    free(o->refs);
    if (o->lent)
        lent_out = false;
    else
        buf_done(&o->own);
    *o = (struct stream_out){0};
}

void stream_out_keep(struct stream_out *o)
{
    if (!o->lent)
        return;
    struct buf own = BUF_INIT;
    buf_append(&own, o->own.data, o->own.len);
    o->own = own;
    o->lent = lent_out = false;
}

uint8_t *stream_out_room(struct stream_out *o, size_t len)
{
    size_t want = o->own.len + len;
    if (len >= LENT_MIN && o->own.data == NULL && !lent_out) {
        o->own = (struct buf){.data = lent_room, .cap = sizeof(lent_room)};
        o->lent = lent_out = true;
    }
    if (want > o->own.cap && o->lent)
        stream_out_keep(o);
    if (want > o->own.cap)
        buf_reserve(&o->own, want <= OWN_SMALL   ? OWN_SMALL - o->own.len
                             : want <= OWN_LARGE ? OWN_LARGE - o->own.len
                                                 : len);
    return o->own.data + o->own.len;
}

void stream_out_commit(struct stream_out *o, size_t len)
{
    buf_commit(&o->own, len);
    o->own_tail += len;
    o->len += len;
}

void stream_out_add(struct stream_out *o, const void *data, size_t len)
{
    if (len == 0)
        return;
    memcpy(stream_out_room(o, len), data, len);
    stream_out_commit(o, len);
}

void stream_out_add_ref(struct stream_out *o, struct net_bytes *b, const uint8_t *data, size_t len)
{
    if (o->ref_first == o->ref_count)
        o->ref_first = o->ref_count = 0;
    if (o->ref_count == o->ref_cap) {
        o->ref_cap = o->ref_cap != 0 ? o->ref_cap * 2 : 16;
        o->refs = xrealloc(o->refs, o->ref_cap * sizeof(*o->refs));
    }
    o->refs[o->ref_count++] = (struct stream_ref){o->own_tail, net_bytes_ref(b), data, len};
    o->own_tail = 0;
    o->len += len;
}

static uv_buf_t piece(const void *p, size_t len)
{
    /* uv_buf_t counts in unsigned: a longer piece is sent in several turns. */
    return uv_buf_init((char *)(uintptr_t)p, (unsigned)MIN_OF(len, (size_t)1 << 30));
}

unsigned stream_out_pieces(const struct stream_out *o, uv_buf_t *ret, unsigned max)
{
    const uint8_t *own = o->own.data;
    unsigned n = 0;
    for (size_t i = o->ref_first; i < o->ref_count && n < max; i++) {
        const struct stream_ref *r = &o->refs[i];
        if (r->gap > 0) {
            ret[n++] = piece(own, r->gap);
            own += r->gap;
        }
        if (n < max)
            ret[n++] = piece(r->data, r->len);
    }
    if (n < max && o->own_tail > 0)
        ret[n++] = piece(o->own.data + (o->own.len - o->own_tail), o->own_tail);
    return n;
}

unsigned stream_out_piece_count(const struct stream_out *o)
{
    return (unsigned)((o->ref_count - o->ref_first) * 2 + 1);
}

static size_t consume_own(struct stream_out *o, size_t *from, size_t n)
{
    size_t taken = MIN_OF(*from, n);
    *from -= taken;
    buf_consume(&o->own, taken);
    return taken;
}

void stream_out_consume(struct stream_out *o, size_t n)
{
    ASSERT(n <= o->len);
    o->len -= n;
    while (n > 0 && o->ref_first < o->ref_count) {
        struct stream_ref *r = &o->refs[o->ref_first];
        n -= consume_own(o, &r->gap, n);
        size_t taken = MIN_OF(n, r->len);
        r->data += taken;
        r->len -= taken;
        n -= taken;
        if (r->len > 0)
            return;
        net_bytes_unref(r->bytes);
        o->ref_first++;
    }
    consume_own(o, &o->own_tail, n);
}
