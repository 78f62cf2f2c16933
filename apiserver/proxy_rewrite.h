/* proxy_rewrite.h - makes what a proxied server says of its own addresses true
 * for the client, who reaches it below a prefix. Pure.
 *
 * As upstream: URLs whose path is absolute, and whose host is none, the
 * server's or the client's own Host field, in Location and in the attributes
 * of HTML elements that hold URLs. */
#ifndef APISERVER_PROXY_REWRITE_H
#define APISERVER_PROXY_REWRITE_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct buf;
struct html_rewriter;

struct proxy_view {
    struct str prefix;       /* "/api/v1/namespaces/n/pods/p/proxy", without '/' behind. */
    struct str server_host;  /* "10.0.0.1:8080" */
    struct str request_host; /* What the client calls us. */
};

/* Appends the URL as the client must see it. */
void proxy_rewrite_url(const struct proxy_view *v, struct str url, struct buf *b);

/* A document in pieces. Everything but the URLs passes as it is; a tag of more
 * than 64 KiB too. */
struct html_rewriter *html_rewriter_new(const struct proxy_view *v); /* Borrowed. */
void html_rewriter_free(struct html_rewriter *h);                    /* NULL is a no-op. */
void html_rewriter_push(struct html_rewriter *h, const void *data, size_t len, struct buf *b);
void html_rewriter_end(struct html_rewriter *h, struct buf *b); /* What was held back. */

#endif
