/* watch_send.c - encoding events once, and messages out of them. */
#include "raftstore/etcd/watch_hub_internal.h"

#include "lib/net/bytes.h"
#include "raftstore/etcd/wire.h"

#define BLOCK_BYTES ((size_t)64 << 10)
/* Events of a message up to here are copied: many small messages of a slow stream must
 * not hold a large block each. */
#define COPY_BYTES_MAX 4096
#define HEAD_BYTES_MAX (ETCD_HEADER_BYTES_MAX + 16)

/* --- blocks --- */

static void add_block(struct watch_hub *h, size_t bytes)
{
    if (h->block_count == h->block_cap) {
        h->block_cap = h->block_cap == 0 ? 16 : h->block_cap * 2;
        h->blocks = xrealloc(h->blocks, h->block_cap * sizeof(struct net_bytes *));
    }
    h->blocks[h->block_count++] = net_bytes_new(bytes);
    h->block_used = 0;
}

/* Messages hold references of their own where they need a block. A block that nobody
 * refers to is filled on. */
static void drop_blocks(struct watch_hub *h)
{
    while (h->block_count > 0) {
        struct net_bytes *b = h->blocks[h->block_count - 1];
        if (h->block_count == 1 && b->len == BLOCK_BYTES && atomic_load(&b->refs) == 1) {
            h->block_used = 0;
            return;
        }
        net_bytes_unref(b);
        h->block_count--;
    }
}

void watch_send_done(struct watch_hub *h)
{
    for (size_t i = 0; i < h->block_count; i++)
        net_bytes_unref(h->blocks[i]);
    free(h->blocks);
}

static struct watch_slice encode(struct watch_hub *h, const struct event *e, bool prev)
{
    size_t size = etcd_event_size(e, prev);
    if (h->block_count == 0 || h->blocks[h->block_count - 1]->len - h->block_used < size)
        add_block(h, MAX_OF(size, BLOCK_BYTES));
    struct net_bytes *b = h->blocks[h->block_count - 1];
    /* Only bytes that nobody was shown yet are written: sharing the block is no harm. */
    uint8_t *p = (uint8_t *)(uintptr_t)b->data + h->block_used;
    etcd_event_put(p, e, prev);
    struct watch_slice slice = {b, (uint32_t)h->block_used, (uint32_t)size};
    h->block_used += size;
    return slice;
}

/* --- dispatch --- */

struct dispatch {
    struct watch_feed *feed;
    const struct event *event;
    struct watch_slice plain, with_prev; /* block NULL: not encoded yet. */
};

static void on_found(struct watch_group *g, void *arg)
{
    struct dispatch *d = arg;
    struct watch_feed *f = d->feed;
    unsigned unwanted = event_type(d->event) == EVENT_PUT ? WATCH_NO_PUT : WATCH_NO_DELETE;
    if ((g->options & unwanted) != 0)
        return;
    /* As etcd: what was there before the whole transaction, not within it. */
    bool prev = (g->options & WATCH_PREV_KV) != 0 && d->event->prev != NULL &&
                d->event->prev->mod_rev < d->event->kv->mod_rev;
    struct watch_slice *slice = prev ? &d->with_prev : &d->plain;
    if (slice->block == NULL) {
        *slice = encode(f->hub, d->event, prev);
        f->round_bytes += slice->len;
    }
    if (g->slice_count == g->slice_cap) {
        g->slice_cap = g->slice_cap == 0 ? 8 : g->slice_cap * 2;
        g->slices = xrealloc(g->slices, g->slice_cap * sizeof(g->slices[0]));
    }
    g->slices[g->slice_count++] = *slice;
    g->bytes += slice->len;
    if (list_empty(&g->dirty))
        list_push_back(&f->dirty, &g->dirty);
}

void watch_feed_dispatch(struct watch_feed *f, const struct event *e)
{
    struct dispatch d = {.feed = f, .event = e};
    watch_index_find(&f->index, kv_key(e->kv), on_found, &d);
}

/* --- messages --- */

struct message {
    const uint8_t *header; /* The response header, encoded. */
    size_t header_bytes;
    const struct watch_slice *slices;
    size_t count, bytes;
    bool more; /* Another fragment follows. */
};

static size_t head_size(const struct message *m, const struct watcher *w)
{
    return m->header_bytes + number_size(w->id) + number_size(m->more);
}

static uint8_t *head_put(uint8_t *p, const struct message *m, const struct watcher *w)
{
    memcpy(p, m->header, m->header_bytes);
    p = number_put(p + m->header_bytes, 2, w->id);
    return number_put(p, 7, m->more);
}

/* Slices that follow each other in a block are one piece. */
static void send_pieces(struct grpc_stream *s, const struct message *m)
{
    for (size_t i = 0; i < m->count;) {
        const struct watch_slice *first = &m->slices[i];
        size_t len = 0;
        while (i < m->count && m->slices[i].block == first->block &&
               m->slices[i].from == first->from + len)
            len += m->slices[i++].len;
        grpc_stream_part(s, first->block, first->from, len);
    }
}

static void send_message(const struct watcher *w, const struct message *m)
{
    struct grpc_stream *s = w->stream->call->stream;
    uint8_t copy[HEAD_BYTES_MAX + COPY_BYTES_MAX];
    size_t size = head_size(m, w) + m->bytes;
    uint8_t *p = head_put(copy, m, w);
    etcd_call_count_sent(w->stream->call, size);
    if (m->bytes <= COPY_BYTES_MAX) {
        for (size_t i = 0; i < m->count; i++) {
            memcpy(p, m->slices[i].block->data + m->slices[i].from, m->slices[i].len);
            p += m->slices[i].len;
        }
        grpc_stream_send_copy(s, copy, size);
        return;
    }
    grpc_stream_begin(s, size);
    grpc_stream_part_copy(s, copy, (size_t)(p - copy));
    send_pieces(s, m);
}

/* As etcd cuts: events go into a fragment until one more would reach the limit. */
static void send_fragments(const struct watcher *w, const struct message *whole, size_t limit)
{
    for (size_t at = 0; at < whole->count;) {
        struct message m = *whole;
        m.more = true;
        m.slices = whole->slices + at;
        m.bytes = m.slices[0].len;
        m.count = 1;
        while (at + m.count < whole->count &&
               head_size(&m, w) + m.bytes + m.slices[m.count].len < limit)
            m.bytes += m.slices[m.count++].len;
        at += m.count;
        m.more = at < whole->count;
        send_message(w, &m);
    }
}

static void send_to(struct watcher *w, const struct message *m)
{
    struct watch_stream *s = w->stream;
    size_t limit =
        etcd_thread_config(s->hub->thread)->request_bytes_max + ETCD_REQUEST_OVERHEAD_BYTES;
    if (w->fragment && m->count > 1 && head_size(m, w) + m->bytes >= limit)
        send_fragments(w, m, limit);
    else
        send_message(w, m);
    w->quiet = false;
    size_t high = etcd_call_may_queue(s->call, SIZE_MAX) ? WATCH_PENDING_HIGH : WATCH_PENDING_LOW;
    if (etcd_call_pending(s->call) > high)
        watch_stream_stall(s);
}

/* Sending runs no callbacks, so the lists hold still. */
static void flush_group(struct watch_feed *f, struct watch_group *g, const struct message *head)
{
    struct message m = *head;
    m.slices = g->slices;
    m.count = g->slice_count;
    m.bytes = g->bytes;
    LIST_FOREACH (it, &g->watchers) {
        struct watcher *w = LIST_ENTRY(it, struct watcher, link);
        if (!w->stream->stalled || watch_feed_is_private(f)) {
            send_to(w, &m);
        } else if (!w->missed) {
            w->missed = true;
            w->next_rev = f->sent_rev + 1;
        }
    }
    g->slice_count = g->bytes = 0;
}

void watch_feed_flush(struct watch_feed *f)
{
    struct watch_hub *h = f->hub;
    if (!list_empty(&f->dirty)) {
        uint8_t header[ETCD_HEADER_BYTES_MAX];
        struct etcd_header numbers = etcd_header(h->thread, f->rev);
        struct message m = {.header = header, .header_bytes = etcd_header_size(&numbers)};
        etcd_header_put(header, &numbers);
        for (struct list *l; (l = list_pop_front(&f->dirty)) != NULL;)
            flush_group(f, LIST_ENTRY(l, struct watch_group, dirty), &m);
        drop_blocks(h);
    }
    f->sent_rev = f->rev;
}
