/* http1_parser.h - HTTP/1.x message parsing, over http-parser or llhttp.
 *
 * Internal to lib/net: which library does the work is settled at compile time
 * in http1_parser.c. Pure: bytes in, callbacks out. Strict: both Content-Length
 * and Transfer-Encoding, or a repeated Content-Length, are errors, since proxies
 * disagree about them. */
#ifndef NET_HTTP1_PARSER_H
#define NET_HTTP1_PARSER_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct http1_parser;

struct http1_head {
    struct str method;      /* Requests. */
    int status;             /* Responses. */
    int minor;              /* HTTP/1.minor. */
    int64_t content_length; /* -1: none stated. */
    bool chunked;
    bool keep_alive; /* What the message's own fields say. */
    bool upgrade;    /* Bytes behind the head are another protocol's. */
};

/* Pieces may be split anywhere; a callback that returns non-zero stops the
 * parser with HTTP1_STOPPED. */
struct http1_parser_callbacks {
    int (*on_target)(void *arg, const char *p, size_t n);
    int (*on_field)(void *arg, const char *p, size_t n);
    int (*on_value)(void *arg, const char *p, size_t n);
    /* After this, on_field/on_value belong to trailers. Returns 0, or
     * HTTP1_NO_BODY (a response to HEAD). */
    int (*on_head)(void *arg, const struct http1_head *head);
    int (*on_body)(void *arg, const char *p, size_t n);
    int (*on_complete)(void *arg);
};

enum { HTTP1_NO_BODY = 1 };
enum http1_result {
    HTTP1_MORE,    /* All bytes used. */
    HTTP1_PAUSED,  /* http1_parser_pause() was called; ret_used tells how far. */
    HTTP1_UPGRADE, /* The message is complete; the rest is not HTTP. */
    HTTP1_STOPPED, /* A callback refused. */
    HTTP1_ERROR,   /* Malformed: see http1_parser_error(). */
};

struct http1_parser *http1_parser_new(bool requests, const struct http1_parser_callbacks *callbacks,
                                      void *arg);
void http1_parser_free(struct http1_parser *p);
enum http1_result http1_parser_feed(struct http1_parser *p, const uint8_t *data, size_t len,
                                    size_t *ret_used);
/* No more bytes come: completes a body that ends with the connection. */
enum http1_result http1_parser_finish(struct http1_parser *p);
void http1_parser_pause(struct http1_parser *p); /* From a callback. */
void http1_parser_resume(struct http1_parser *p);
const char *http1_parser_error(const struct http1_parser *p);

#endif
