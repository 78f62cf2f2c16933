/* http_gzip.c - content coding with zlib; see http.h. */
#include "lib/net/http.h"

#include "lib/net/bytes.h"
#include "lib/base/buf.h"

#include <limits.h>
#include <strings.h>
#include <zlib.h>

#define GZIP_WINDOW_BITS (15 + 16)   /* 15 bits of window; +16: gzip framing. */
#define GUNZIP_WINDOW_BITS (15 + 32) /* +32: gzip or zlib, by header. */
#define GZIP_PIECE 16384

/* q=0 in any of its spellings. */
static bool http_is_refused(struct str parameters)
{
    while (!str_empty(parameters)) {
        struct str one;
        str_cut(parameters, ';', &one, &parameters);
        one = str_trim(one);
        if (one.len < 3 || strncasecmp(one.data, "q=", 2) != 0)
            continue;
        for (size_t i = 2; i < one.len; i++)
            if (one.data[i] != '0' && one.data[i] != '.')
                return false;
        return true;
    }
    return false;
}

bool http_accepts_gzip(struct str accept_encoding)
{
    while (!str_empty(accept_encoding)) {
        struct str item, name, parameters;
        str_cut(accept_encoding, ',', &item, &accept_encoding);
        str_cut(item, ';', &name, &parameters);
        name = str_trim(name);
        if (name.len == 4 && strncasecmp(name.data, "gzip", 4) == 0)
            return !http_is_refused(parameters);
    }
    return false;
}

struct http_gzip_stream {
    z_stream z;
};

struct http_gzip_stream *http_gzip_stream_new(int level)
{
    struct http_gzip_stream *g = xzalloc(sizeof(*g));
    if (deflateInit2(&g->z, level, Z_DEFLATED, GZIP_WINDOW_BITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        free(g);
        return NULL;
    }
    return g;
}

void http_gzip_stream_free(struct http_gzip_stream *g)
{
    if (g == NULL)
        return;
    deflateEnd(&g->z);
    free(g);
}

struct net_bytes *http_gzip_stream_push(struct http_gzip_stream *g, const void *data, size_t len,
                                        bool sync, bool end)
{
    ASSERT(len <= UINT_MAX);
    struct buf out = BUF_INIT;
    g->z.next_in = (Bytef *)(uintptr_t)data;
    g->z.avail_in = (uInt)len;
    do {
        size_t room = MAX_OF((size_t)GZIP_PIECE, len / 4);
        g->z.next_out = buf_reserve(&out, room);
        g->z.avail_out = (uInt)room;
        int rc = deflate(&g->z, end ? Z_FINISH : sync ? Z_SYNC_FLUSH : Z_NO_FLUSH);
        ASSERT(rc != Z_STREAM_ERROR);
        buf_commit(&out, room - g->z.avail_out);
    } while (g->z.avail_out == 0);
    if (out.len > 0)
        return net_bytes_steal(&out);
    buf_done(&out);
    return NULL;
}

struct net_bytes *http_gzip(const void *data, size_t len, int level)
{
    if (len > UINT_MAX)
        return NULL;
    struct http_gzip_stream *g = http_gzip_stream_new(level);
    if (g == NULL)
        return NULL;
    struct net_bytes *b = http_gzip_stream_push(g, data, len, false, true);
    http_gzip_stream_free(g);
    return b;
}

/* Inflates into out until the end of the data. */
static int http_inflate(z_stream *z, size_t max, struct buf *out)
{
    int rc = Z_OK;
    while (rc != Z_STREAM_END) {
        z->next_out = buf_reserve(out, GZIP_PIECE);
        z->avail_out = GZIP_PIECE;
        rc = inflate(z, Z_NO_FLUSH);
        buf_commit(out, GZIP_PIECE - z->avail_out);
        if (out->len > max)
            return E_TOO_LARGE;
        bool stuck = rc == Z_BUF_ERROR || (rc == Z_OK && z->avail_in == 0 && z->avail_out > 0);
        if ((rc != Z_OK && rc != Z_STREAM_END) || stuck)
            return E_INVALID;
    }
    return z->avail_in == 0 ? 0 : E_INVALID;
}

int http_gunzip(const void *data, size_t len, size_t max, struct net_bytes **ret)
{
    if (len > UINT_MAX)
        return E_TOO_LARGE;
    z_stream z = {.next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)len};
    if (inflateInit2(&z, GUNZIP_WINDOW_BITS) != Z_OK)
        return E_NO_MEMORY;
    struct buf out = BUF_INIT;
    int code = http_inflate(&z, max, &out);
    inflateEnd(&z);
    if (code < 0) {
        buf_done(&out);
        return code;
    }
    *ret = net_bytes_steal(&out);
    return 0;
}
