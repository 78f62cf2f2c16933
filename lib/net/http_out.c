/* http_out.c - see http_out.h. */
#include "lib/net/http_out.h"

#include "lib/net/bytes.h"
#include "lib/net/stream.h"

#include <string.h>

#define PIECE_COPY_MIN 448 /* Room of a piece for copies, so that small ones share it. */

struct http_piece {
    struct list link;
    struct net_bytes *bytes; /* NULL: a copy, in room[]. */
    const uint8_t *data;
    size_t len;
    size_t cap; /* Of room[]. */
    uint8_t room[];
};

void http_out_init(struct http_out *o)
{
    list_init(&o->pieces);
    o->bytes = 0;
    o->total = NULL;
}

static void http_out_count(struct http_out *o, size_t len)
{
    o->bytes += len;
    if (o->total != NULL)
        *o->total += len;
}

static void http_out_uncount(struct http_out *o, size_t len)
{
    o->bytes -= len;
    if (o->total != NULL)
        *o->total -= len;
}

static void http_piece_free(struct http_piece *p)
{
    list_remove(&p->link);
    net_bytes_unref(p->bytes);
    free(p);
}

void http_out_clear(struct http_out *o)
{
    LIST_FOREACH_SAFE (it, &o->pieces)
        http_piece_free(LIST_ENTRY(it, struct http_piece, link));
    http_out_uncount(o, o->bytes);
}

void http_out_add(struct http_out *o, struct net_bytes *b, size_t from, size_t len)
{
    ASSERT(from <= b->len && len <= b->len - from);
    if (len == 0)
        return;
    struct http_piece *p = xmalloc(sizeof(*p));
    p->bytes = net_bytes_ref(b);
    p->data = b->data + from;
    p->len = len;
    p->cap = 0;
    list_push_back(&o->pieces, &p->link);
    http_out_count(o, len);
}

void http_out_add_copy(struct http_out *o, const void *data, size_t len)
{
    if (len == 0)
        return;
    struct http_piece *p = NULL;
    if (!list_empty(&o->pieces)) {
        p = LIST_ENTRY(o->pieces.prev, struct http_piece, link);
        size_t used = p->bytes == NULL ? (size_t)(p->data - p->room) + p->len : 0;
        if (p->bytes != NULL || p->cap - used < len)
            p = NULL;
    }
    if (p == NULL) {
        size_t cap = MAX_OF(len, (size_t)PIECE_COPY_MIN);
        p = xmalloc(sizeof(*p) + cap);
        p->bytes = NULL;
        p->data = p->room;
        p->len = 0;
        p->cap = cap;
        list_push_back(&o->pieces, &p->link);
    }
    memcpy(p->room + (p->data - p->room) + p->len, data, len);
    p->len += len;
    http_out_count(o, len);
}

size_t http_out_peek(const struct http_out *o, const uint8_t **ret)
{
    if (list_empty(&o->pieces))
        return 0;
    const struct http_piece *p = LIST_ENTRY(o->pieces.next, struct http_piece, link);
    *ret = p->data;
    return p->len;
}

void http_out_consume(struct http_out *o, size_t n)
{
    ASSERT(n <= o->bytes);
    http_out_uncount(o, n);
    LIST_FOREACH_SAFE (it, &o->pieces) {
        struct http_piece *p = LIST_ENTRY(it, struct http_piece, link);
        size_t taken = MIN_OF(n, p->len);
        p->data += taken;
        p->len -= taken;
        n -= taken;
        if (p->len > 0)
            break;
        http_piece_free(p);
    }
    ASSERT(n == 0);
}

size_t http_out_private(const struct http_out *o)
{
    if (list_empty(&o->pieces))
        return 0;
    const struct http_piece *p = LIST_ENTRY(o->pieces.next, struct http_piece, link);
    const struct net_bytes *b = p->bytes;
    return b != NULL && b->headroom > 0 && atomic_load(&b->refs) == 1 ? p->len : 0;
}

const uint8_t *http_out_frame(struct http_out *o, const void *head, size_t head_len, size_t len)
{
    if (http_out_private(o) < len)
        return NULL;
    const struct http_piece *p = LIST_ENTRY(o->pieces.next, struct http_piece, link);
    if (p->bytes->headroom + (size_t)(p->data - p->bytes->data) < head_len)
        return NULL;
    uint8_t *at = (uint8_t *)(uintptr_t)p->data - head_len;
    memcpy(at, head, head_len);
    return at;
}

void http_out_move(struct http_out *o, uint8_t *to, size_t n)
{
    const uint8_t *from;
    for (size_t len; n > 0; n -= len, to += len) {
        len = http_out_peek(o, &from);
        ASSERT(len > 0);
        len = MIN_OF(len, n);
        memcpy(to, from, len);
        http_out_consume(o, len);
    }
}

size_t http_out_pass(struct http_out *o, struct net_stream *stream, size_t max)
{
    if (list_empty(&o->pieces))
        return 0;
    const struct http_piece *p = LIST_ENTRY(o->pieces.next, struct http_piece, link);
    size_t n = MIN_OF(p->len, max);
    if (p->bytes != NULL)
        net_stream_write_bytes(stream, p->bytes, p->data, n);
    else
        net_stream_write(stream, p->data, n);
    http_out_consume(o, n);
    return n;
}
