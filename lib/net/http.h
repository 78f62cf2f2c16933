/* http.h - what HTTP servers and clients share: header fields, gzip, methods. */
#ifndef NET_HTTP_H
#define NET_HTTP_H

#include "lib/base/base.h"
#include "lib/base/error.h"
#include "lib/base/str.h"

struct arena;
struct net_bytes;

/* Names are lower case once received; sending accepts any case. */
struct http_header {
    struct str name;
    struct str value;
};

enum http_version { HTTP_1_0 = 10, HTTP_1_1 = 11, HTTP_2 = 20 };

/* First value of a name (given in lower case), empty with data NULL if absent. */
struct str http_header_find(const struct http_header *headers, size_t count, const char *name);
/* True if a comma list (all headers of that name) holds the token, in any case. */
bool http_header_has_token(const struct http_header *headers, size_t count, const char *name,
                           const char *token);
/* All values of a name joined by ", ". */
struct str http_header_join(struct arena *a, const struct http_header *headers, size_t count,
                            const char *name);
/* Fields that belong to one connection and not to the message (RFC 9110, 7.6.1):
 * a proxy drops them, and so do our server and client, which make their own.
 * Any case. */
bool http_header_is_hop(struct str name);
/* A token, as names must be. */
bool http_header_name_valid(struct str name);
const char *http_status_text(int status); /* "Not Found"; "" if unknown. */

/* Would a response to this Accept-Encoding better be gzip? */
bool http_accepts_gzip(struct str accept_encoding);
/* A whole body at once. level 1..9. NULL when memory is gone. */
struct net_bytes *http_gzip(const void *data, size_t len, int level);

/* Piecewise, for streams. Not thread-safe. */
struct http_gzip_stream;
struct http_gzip_stream *http_gzip_stream_new(int level);
void http_gzip_stream_free(struct http_gzip_stream *g); /* NULL is a no-op. */
/* Compresses data (may be empty) and returns what came out, NULL if nothing yet.
 * sync: all input so far is decodable; end: nothing follows. */
struct net_bytes *http_gzip_stream_push(struct http_gzip_stream *g, const void *data, size_t len,
                                        bool sync, bool end);
/* Inflates gzip or zlib data, at most max bytes. E_TOO_LARGE, E_INVALID. */
int http_gunzip(const void *data, size_t len, size_t max, struct net_bytes **ret);

#endif
