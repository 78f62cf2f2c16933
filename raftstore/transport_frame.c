/* transport_frame.c - see transport_frame.h. */
#include "raftstore/transport_frame.h"

#include "lib/base/error.h"
#include "raftstore/wire.h"

#define HELLO_MAGIC 0x4f4c4854u   /* "THLO" */
#define WELCOME_MAGIC 0x434c5754u /* "TWLC" */

const char *transport_status_text(enum transport_status s)
{
    switch (s) {
    case TRANSPORT_OK:
        return "accepted";
    case TRANSPORT_RETRY:
        return "not ready yet";
    case TRANSPORT_CLUSTER:
        return "it belongs to another cluster";
    case TRANSPORT_ID:
        return "another member lives at this address";
    case TRANSPORT_BAD_VERSION:
        return "no common protocol version";
    case TRANSPORT_LOST_DATA:
        return "the data is not that of this member: it was lost or replaced; remove the member "
               "and add it "
               "again as a new one";
    case TRANSPORT_REMOVED:
        return "it was removed from the cluster";
    }
    return "an unknown reason";
}

static void put_abilities(uint16_t format, struct str client_urls, struct buf *out)
{
    buf_put_le16(out, format);
    wire_put_str(out, client_urls);
}

/* The first version says nothing of them. Bytes behind are for later ones. */
static void get_abilities(struct wire *w, uint16_t *ret_format, struct str *ret_urls)
{
    *ret_format = 1;
    if (w->bad || w->left == 0)
        return;
    uint16_t format = (uint16_t)wire_le(w, 2);
    *ret_format = MAX_OF(format, (uint16_t)1);
    *ret_urls = wire_str(w, TRANSPORT_URLS_MAX);
}

void transport_hello_encode(const struct transport_hello *h, struct buf *out)
{
    buf_put_le32(out, HELLO_MAGIC);
    buf_put_le16(out, h->version_min);
    buf_put_le16(out, h->version);
    buf_putc(out, (char)h->channel);
    buf_put_le64(out, h->cluster_id);
    buf_put_le64(out, h->from);
    buf_put_le64(out, h->to);
    buf_put_le64(out, h->instance);
    wire_put_str(out, h->name);
    wire_put_str(out, h->address);
    put_abilities(h->format, h->client_urls, out);
}

int transport_hello_decode(struct str bytes, struct transport_hello *ret, struct error *err)
{
    struct wire w = wire_of(bytes);
    if (bytes.len > TRANSPORT_GREETING_MAX || wire_u32(&w) != HELLO_MAGIC)
        return error_set(err, E_INVALID, "this is no member's greeting");
    *ret = (struct transport_hello){0};
    ret->version_min = (uint16_t)wire_le(&w, 2);
    ret->version = (uint16_t)wire_le(&w, 2);
    ret->channel = wire_u8(&w);
    ret->cluster_id = wire_u64(&w);
    ret->from = wire_u64(&w);
    ret->to = wire_u64(&w);
    ret->instance = wire_u64(&w);
    ret->name = wire_str(&w, TRANSPORT_NAME_MAX);
    ret->address = wire_str(&w, TRANSPORT_ADDRESS_MAX);
    get_abilities(&w, &ret->format, &ret->client_urls);
    if (w.bad || ret->from == 0 || ret->to == 0 || ret->channel >= TRANSPORT_CHANNELS)
        return error_set(err, E_INVALID, "the member's greeting is malformed");
    return 0;
}

void transport_welcome_encode(const struct transport_welcome *v, struct buf *out)
{
    buf_put_le32(out, WELCOME_MAGIC);
    buf_put_le16(out, v->version);
    buf_put_le16(out, v->status);
    buf_put_le64(out, v->cluster_id);
    buf_put_le64(out, v->id);
    buf_put_le64(out, v->instance);
    wire_put_str(out, v->name);
    put_abilities(v->format, v->client_urls, out);
}

int transport_welcome_decode(struct str bytes, struct transport_welcome *ret, struct error *err)
{
    struct wire w = wire_of(bytes);
    if (bytes.len > TRANSPORT_GREETING_MAX || wire_u32(&w) != WELCOME_MAGIC)
        return error_set(err, E_INVALID, "this is no member's answer");
    *ret = (struct transport_welcome){0};
    ret->version = (uint16_t)wire_le(&w, 2);
    ret->status = (uint16_t)wire_le(&w, 2);
    ret->cluster_id = wire_u64(&w);
    ret->id = wire_u64(&w);
    ret->instance = wire_u64(&w);
    ret->name = wire_str(&w, TRANSPORT_NAME_MAX);
    get_abilities(&w, &ret->format, &ret->client_urls);
    if (w.bad)
        return error_set(err, E_INVALID, "the member's answer is malformed");
    return 0;
}

void framer_init(struct framer *f, size_t frame_max)
{
    f->partial = BUF_INIT;
    f->frame_max = frame_max;
}

void framer_done(struct framer *f)
{
    buf_done(&f->partial);
}

void frame_header(uint8_t ret[FRAME_HEADER_BYTES], size_t len)
{
    for (int i = 0; i < FRAME_HEADER_BYTES; i++)
        ret[i] = (uint8_t)(len >> (8 * i));
}

static size_t frame_length(const uint8_t *p)
{
    return (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
}

/* Moves what the frame begun in `partial` still lacks there. True: it is whole. */
static bool framer_complete(struct framer *f, const uint8_t **data, size_t *len)
{
    size_t want = FRAME_HEADER_BYTES;
    if (f->partial.len >= FRAME_HEADER_BYTES)
        want += frame_length(f->partial.data);
    size_t n = MIN_OF(want - f->partial.len, *len);
    buf_append(&f->partial, *data, n);
    *data += n;
    *len -= n;
    return f->partial.len == want && want > FRAME_HEADER_BYTES;
}

bool framer_feed(struct framer *f, const uint8_t *data, size_t len,
                 bool (*on_frame)(void *arg, struct str frame), void *arg)
{
    while (len > 0) {
        if (f->partial.len > 0) {
            bool whole = framer_complete(f, &data, &len);
            if (f->partial.len >= FRAME_HEADER_BYTES) {
                size_t n = frame_length(f->partial.data);
                if (n == 0 || n > f->frame_max)
                    return false;
                if (!whole)
                    buf_reserve(&f->partial, FRAME_HEADER_BYTES + n - f->partial.len);
            }
            if (!whole)
                continue;
            struct buf frame = f->partial;
            f->partial = BUF_INIT;
            bool go_on = on_frame(arg, str_n((char *)frame.data + FRAME_HEADER_BYTES,
                                             frame.len - FRAME_HEADER_BYTES));
            buf_done(&frame);
            if (!go_on)
                return false;
            continue;
        }
        /* The usual case: whole frames in one read need no copy. */
        if (len >= FRAME_HEADER_BYTES) {
            size_t n = frame_length(data);
            if (n == 0 || n > f->frame_max)
                return false;
            if (len - FRAME_HEADER_BYTES >= n) {
                struct str frame = str_n((const char *)data + FRAME_HEADER_BYTES, n);
                data += FRAME_HEADER_BYTES + n;
                len -= FRAME_HEADER_BYTES + n;
                if (!on_frame(arg, frame))
                    return false;
                continue;
            }
            buf_reserve(&f->partial, FRAME_HEADER_BYTES + n);
        }
        buf_append(&f->partial, data, len);
        return true;
    }
    return true;
}
