/* spdy.h - SPDY/3.1 as remote commands and port forwarding speak it: frames in,
 * events out, and what a client writes. Pure.
 *
 * Container runtimes (and client-go) use a subset: no flow control windows, no
 * pushed streams; headers matter only in SYN_STREAM. Header blocks that come
 * in are skipped without decompressing them: nothing in them is needed, and a
 * block that is never read cannot hurt. */
#ifndef NET_SPDY_H
#define NET_SPDY_H

#include "lib/base/base.h"
#include "lib/base/error.h"
#include "lib/net/http.h"

struct buf;
struct spdy_writer;

#define SPDY_DATA_MAX ((1u << 24) - 1) /* Bytes in one frame. */
#define SPDY_DICTIONARY_LEN 1423

struct spdy_events {
    /* Bytes of a stream; fin: the last ones. data is borrowed for the call. */
    void (*on_data)(void *arg, uint32_t stream_id, const uint8_t *data, size_t len, bool fin);
    void (*on_reply)(void *arg, uint32_t stream_id, bool fin);
    void (*on_reset)(void *arg, uint32_t stream_id, uint32_t status);
    void (*on_ping)(void *arg, uint32_t id);
    void (*on_goaway)(void *arg, uint32_t status);
};

/* Embedded; zeroed is ready. */
struct spdy_parser {
    uint8_t head[8];
    uint8_t head_len;
    uint8_t body[12]; /* The first bytes of a control frame: all that matters. */
    uint8_t body_len;
    bool in_body;
    uint32_t left;
};

/* E_INVALID, with the reason: not SPDY/3; feed nothing more. */
int spdy_parser_feed(struct spdy_parser *p, const uint8_t *data, size_t len,
                     const struct spdy_events *events, void *arg, struct error *err);

/* Frames are appended to b. Header blocks depend on each other: they must be
 * sent in the order in which they were written. */
struct spdy_writer *spdy_writer_new(void);
void spdy_writer_free(struct spdy_writer *w); /* NULL is a no-op. */
/* Names in lower case. */
void spdy_syn_stream(struct spdy_writer *w, struct buf *b, uint32_t stream_id,
                     const struct http_header *headers, size_t count);
/* The head of a data frame; len bytes (at most SPDY_DATA_MAX) follow. */
void spdy_data_head(struct buf *b, uint32_t stream_id, size_t len, bool fin);
void spdy_ping(struct buf *b, uint32_t id);
void spdy_goaway(struct buf *b);

/* The dictionary of header blocks (SPDY/3, 2.6.10.1). */
void spdy_dictionary(uint8_t ret[SPDY_DICTIONARY_LEN]);

#endif
