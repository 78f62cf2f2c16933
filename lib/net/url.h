/* url.h - percent coding, query strings, host:port pairs. Pure.
 *
 * Behaviour follows Go's net/url where clients can see it: '+' is a space in
 * queries only, a key without '=' has an empty value, a malformed escape is an
 * error. */
#ifndef NET_URL_H
#define NET_URL_H

#include "lib/base/base.h"
#include "lib/base/error.h"
#include "lib/base/str.h"

struct arena;
struct buf;

/* E_INVALID on a bad escape. s itself is returned when nothing is escaped. */
int url_unescape_path(struct arena *a, struct str s, struct str *ret);
int url_unescape_query(struct arena *a, struct str s, struct str *ret);
void url_escape_path_segment(struct buf *b, struct str s);
void url_escape_query(struct buf *b, struct str s);

/* Takes the next "key=value" off *rest, still escaped. False at the end. */
bool url_query_next(struct str *rest, struct str *ret_key, struct str *ret_value);
/* First value of key, unescaped. E_NOT_FOUND, E_INVALID. */
int url_query_get(struct arena *a, struct str query, const char *key, struct str *ret);

/* Splits "host:port", "[v6]:port". The brackets are removed. Without a port,
 * *ret_port is default_port (0: E_INVALID). */
int url_split_host_port(struct str s, uint16_t default_port, struct str *ret_host,
                        uint16_t *ret_port, struct error *err);

/* "host:port", "[v6]:port", in the arena. */
struct str url_host_port(struct arena *a, struct str host, int port);
/* The same into a buffer of that size, cut if it is too small. */
void url_host_port_text(char *ret, size_t size, const char *host, int port);

/* scheme://host[:port]/path?query, pieces borrowed from s; no userinfo. */
struct url {
    struct str scheme;
    struct str authority; /* host[:port] as written. */
    struct str host;      /* Without brackets. */
    uint16_t port;        /* Given, or 80/443 by scheme. */
    struct str path;      /* "/" if absent. Escaped. */
    struct str query;     /* Without '?'. */
};
int url_parse(struct str s, struct url *ret, struct error *err);

#endif
