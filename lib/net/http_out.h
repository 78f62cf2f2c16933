/* http_out.h - a queue of output: shared blocks by reference, small pieces
 * copied. Internal to lib/net; not thread-safe. */
#ifndef NET_HTTP_OUT_H
#define NET_HTTP_OUT_H

#include "lib/base/list.h"

struct net_bytes;
struct net_stream;

struct http_out {
    struct list pieces;
    size_t bytes;  /* Not yet consumed. */
    size_t *total; /* Counts the bytes of several queues; NULL: none does. */
};

void http_out_init(struct http_out *o);
void http_out_clear(struct http_out *o); /* Also the end: frees everything. */
/* Takes a reference of its own. */
void http_out_add(struct http_out *o, struct net_bytes *b, size_t from, size_t len);
void http_out_add_copy(struct http_out *o, const void *data, size_t len);
/* The first contiguous bytes; 0 when empty. */
size_t http_out_peek(const struct http_out *o, const uint8_t **ret);
void http_out_consume(struct http_out *o, size_t n);
/* If the next len bytes stand in one private block (see bytes.h) with room before them: writes
 * head there and returns where it begins, for the time until they are consumed. Else NULL. */
const uint8_t *http_out_frame(struct http_out *o, const void *head, size_t head_len, size_t len);
/* The next bytes of a private block at the front; 0: it is no such block. */
size_t http_out_private(const struct http_out *o);
void http_out_move(struct http_out *o, uint8_t *to, size_t n); /* Copies out and consumes. */
/* Moves the first contiguous bytes, at most max, to the stream; how many. */
size_t http_out_pass(struct http_out *o, struct net_stream *stream, size_t max);

#endif
