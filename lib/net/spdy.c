/* spdy.c - see spdy.h. */
#include "lib/net/spdy.h"

#include "lib/base/buf.h"

#include <zlib.h>

#define VERSION 3u
#define CONTROL 0x80000000u
#define FLAG_FIN 0x01u

enum frame_type {
    SYN_STREAM = 1,
    SYN_REPLY = 2,
    RST_STREAM = 3,
    PING = 6,
    GOAWAY = 7,
};

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* --- the dictionary --------------------------------------------------------------------- */

void spdy_dictionary(uint8_t ret[SPDY_DICTIONARY_LEN])
{
    /* Names with their lengths in front, as in a header block, ... */
    static const char *const words[] = {"options",
                                        "head",
                                        "post",
                                        "put",
                                        "delete",
                                        "trace",
                                        "accept",
                                        "accept-charset",
                                        "accept-encoding",
                                        "accept-language",
                                        "accept-ranges",
                                        "age",
                                        "allow",
                                        "authorization",
                                        "cache-control",
                                        "connection",
                                        "content-base",
                                        "content-encoding",
                                        "content-language",
                                        "content-length",
                                        "content-location",
                                        "content-md5",
                                        "content-range",
                                        "content-type",
                                        "date",
                                        "etag",
                                        "expect",
                                        "expires",
                                        "from",
                                        "host",
                                        "if-match",
                                        "if-modified-since",
                                        "if-none-match",
                                        "if-range",
                                        "if-unmodified-since",
                                        "last-modified",
                                        "location",
                                        "max-forwards",
                                        "pragma",
                                        "proxy-authenticate",
                                        "proxy-authorization",
                                        "range",
                                        "referer",
                                        "retry-after",
                                        "server",
                                        "te",
                                        "trailer",
                                        "transfer-encoding",
                                        "upgrade",
                                        "user-agent",
                                        "vary",
                                        "via",
                                        "warning",
                                        "www-authenticate",
                                        "method",
                                        "get",
                                        "status",
                                        "200 OK",
                                        "version",
                                        "HTTP/1.1",
                                        "url",
                                        "public",
                                        "set-cookie",
                                        "keep-alive",
                                        "origin"};
    /* ... and behind them pieces of values. */
    static const char tail[] =
        "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
        "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request"
        "401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented"
        "503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 "
        "Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,"
        "application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age="
        "gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        buf_put_be32(&b, (uint32_t)strlen(words[i]));
        buf_puts(&b, words[i]);
    }
    buf_puts(&b, tail);
    ASSERT(b.len == SPDY_DICTIONARY_LEN);
    memcpy(ret, b.data, b.len);
}

/* --- reading ------------------------------------------------------------------------------ */

/* How many of a control frame's first bytes are looked at. */
static size_t body_wanted(const struct spdy_parser *p)
{
    switch ((p->head[2] << 8 | p->head[3])) {
    case SYN_REPLY:
    case PING:
        return 4;
    case RST_STREAM:
    case GOAWAY:
        return 8;
    default:
        return 0;
    }
}

static int end_control(const struct spdy_parser *p, const struct spdy_events *events, void *arg,
                       struct error *err)
{
    if (p->body_len < body_wanted(p))
        return error_set(err, E_INVALID, "spdy: a control frame of type %u is too short",
                         (unsigned)p->head[3]);
    uint32_t first = be32(p->body), second = be32(p->body + 4);
    switch ((p->head[2] << 8 | p->head[3])) {
    case SYN_REPLY:
        events->on_reply(arg, first & ~CONTROL, (p->head[4] & FLAG_FIN) != 0);
        break;
    case RST_STREAM:
        events->on_reset(arg, first & ~CONTROL, second);
        break;
    case PING:
        events->on_ping(arg, first);
        break;
    case GOAWAY:
        events->on_goaway(arg, second);
        break;
    default: /* Settings, headers, windows, streams that nobody asked for. */
        break;
    }
    return 0;
}

static int begin_frame(struct spdy_parser *p, struct error *err)
{
    bool control = (p->head[0] & 0x80) != 0;
    unsigned version = (unsigned)(p->head[0] & 0x7f) << 8 | p->head[1];
    p->left = be32(p->head + 4) & 0xffffff;
    p->in_body = true;
    p->body_len = 0;
    if (control && version != VERSION)
        return error_set(err, E_INVALID, "spdy: version %u, not 3", version);
    if (!control && (be32(p->head) == 0))
        return error_set(err, E_INVALID, "spdy: data for stream 0");
    return 0;
}

int spdy_parser_feed(struct spdy_parser *p, const uint8_t *data, size_t len,
                     const struct spdy_events *events, void *arg, struct error *err)
{
    size_t at = 0;
    int rc = 0;
    while (rc == 0) {
        if (!p->in_body) {
            if (at == len)
                return 0;
            p->head[p->head_len++] = data[at++];
            if (p->head_len < sizeof(p->head))
                continue;
            rc = begin_frame(p, err);
            if (rc != 0)
                return rc;
        }
        if (p->left > 0 && at == len)
            return 0;
        size_t n = MIN_OF(len - at, (size_t)p->left);
        p->left -= (uint32_t)n;
        bool control = (p->head[0] & 0x80) != 0;
        bool fin = p->left == 0 && (p->head[4] & FLAG_FIN) != 0;
        if (control) {
            size_t keep = MIN_OF(n, sizeof(p->body) - p->body_len);
            if (keep > 0)
                memcpy(p->body + p->body_len, data + at, keep);
            p->body_len = (uint8_t)(p->body_len + keep);
        } else if (n > 0 || fin) {
            events->on_data(arg, be32(p->head), data + at, n, fin);
        }
        at += n;
        if (p->left > 0)
            continue;
        p->in_body = false;
        p->head_len = 0;
        if (control)
            rc = end_control(p, events, arg, err);
    }
    return rc;
}

/* --- writing ------------------------------------------------------------------------------- */

struct spdy_writer {
    z_stream z;
};

struct spdy_writer *spdy_writer_new(void)
{
    uint8_t dictionary[SPDY_DICTIONARY_LEN];
    struct spdy_writer *w = xzalloc(sizeof(*w));
    spdy_dictionary(dictionary);
    /* A few short blocks a connection: little memory rather than the best ratio. */
    int rc = deflateInit2(&w->z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 11, 1, Z_DEFAULT_STRATEGY);
    ASSERT(rc == Z_OK);
    rc = deflateSetDictionary(&w->z, dictionary, sizeof(dictionary));
    ASSERT(rc == Z_OK);
    return w;
}

void spdy_writer_free(struct spdy_writer *w)
{
    if (w == NULL)
        return;
    deflateEnd(&w->z);
    free(w);
}

static void control_head(struct buf *b, enum frame_type type, size_t len)
{
    buf_put_be32(b, CONTROL | VERSION << 16 | (uint32_t)type);
    buf_put_be32(b, (uint32_t)len); /* No flags. */
}

static void pack_headers(struct spdy_writer *w, const struct http_header *headers, size_t count,
                         struct buf *ret)
{
    AUTO_BUF plain = BUF_INIT;
    buf_put_be32(&plain, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        buf_put_be32(&plain, (uint32_t)headers[i].name.len);
        buf_append_str(&plain, headers[i].name);
        buf_put_be32(&plain, (uint32_t)headers[i].value.len);
        buf_append_str(&plain, headers[i].value);
    }
    w->z.next_in = plain.data;
    w->z.avail_in = (uInt)plain.len;
    do {
        uint8_t *room = buf_reserve(ret, 512);
        w->z.next_out = room;
        w->z.avail_out = 512;
        int rc = deflate(&w->z, Z_SYNC_FLUSH);
        ASSERT(rc == Z_OK || rc == Z_BUF_ERROR);
        buf_commit(ret, 512 - w->z.avail_out);
    } while (w->z.avail_out == 0);
}

void spdy_syn_stream(struct spdy_writer *w, struct buf *b, uint32_t stream_id,
                     const struct http_header *headers, size_t count)
{
    AUTO_BUF block = BUF_INIT;
    pack_headers(w, headers, count, &block);
    control_head(b, SYN_STREAM, 10 + block.len);
    buf_put_be32(b, stream_id);
    buf_put_be32(b, 0); /* Associated to no other stream; */
    buf_putc(b, 0);     /* priority and slot 0. */
    buf_putc(b, 0);
    buf_append(b, block.data, block.len);
}

void spdy_data_head(struct buf *b, uint32_t stream_id, size_t len, bool fin)
{
    ASSERT(len <= SPDY_DATA_MAX);
    buf_put_be32(b, stream_id);
    buf_put_be32(b, (fin ? FLAG_FIN << 24 : 0) | (uint32_t)len);
}

void spdy_ping(struct buf *b, uint32_t id)
{
    control_head(b, PING, 4);
    buf_put_be32(b, id);
}

void spdy_goaway(struct buf *b)
{
    control_head(b, GOAWAY, 8);
    buf_put_be32(b, 0); /* No stream of the other side's. */
    buf_put_be32(b, 0); /* OK. */
}
