/* proxy.h - pods/, services/ and nodes/proxy: any request, passed on to what
 * the resource stands for, and its answer passed back, both as they arrive.
 *
 * Loop-confined. At most a window of either body is held. */
#ifndef APISERVER_PROXY_H
#define APISERVER_PROXY_H

#include "lib/base/base.h"

struct http_request;
struct req;

void proxy_handle(struct req *r);

/* Must this request's body be streamed? Asked when its head is complete. */
bool proxy_streams(const struct http_request *http);
/* The body's handler for such requests; http->user is the struct req. */
extern const struct http_body_handler proxy_body;

#endif
