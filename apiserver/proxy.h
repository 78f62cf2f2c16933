/* proxy.h - pods/, services/ and nodes/proxy: any request, passed on to what
 * the resource stands for, and its answer passed back, both as they arrive.
 *
 * Loop-confined. At most a window of either body is held. */
#ifndef APISERVER_PROXY_H
#define APISERVER_PROXY_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct http_client;
struct http_header;
struct http_request;
struct proxy_view;
struct req;

void proxy_handle(struct req *r);

/* Where a request goes, and what changes on its way. Borrowed for the call,
 * strings for as long as the request. */
struct proxy_route {
    struct http_client *http;
    void (*done)(void *arg); /* The client is no longer needed. Called in any case. */
    void *arg;
    const struct proxy_view *view; /* What is rewritten in answers; NULL: nothing. */
    const char *target;            /* "/path?query" */
    const char *authority;         /* NULL: the endpoint's. */
    const struct http_header *headers;
    size_t header_count;
    bool plain_text_errors; /* Failures are no Status. */
};
/* Passes r on and its answer back: the last call on r. */
void proxy_forward(struct req *r, const struct proxy_route *route);
/* X-Forwarded-For of a request that is passed on. */
struct str proxy_forwarded_for(struct req *r);

/* Must this request's body be streamed? Asked when its head is complete. */
bool proxy_streams(const struct http_request *http);
/* The body's handler for such requests; http->user is the struct req. */
extern const struct http_body_handler proxy_body;

#endif
