/* forward.h - requests for group versions that other servers serve, passed on
 * with the user in X-Remote-* fields.
 *
 * Authentication, authorisation and audit come first, here. Loop-confined. */
#ifndef APISERVER_AGGREGATION_FORWARD_H
#define APISERVER_AGGREGATION_FORWARD_H

#include "lib/base/base.h"

struct req;

/* Of a request whose r->aggregated is set: the last call on it. */
void aggregated_forward(struct req *r);

/* The fields of r for a server that believes our front proxy's certificate, with the user in
 * X-Remote-*; more: one further field, or NULL. In the request's arena. */
struct http_header;
const struct http_header *aggregated_headers(struct req *r, const struct http_header *more,
                                             size_t *ret_count);

#endif
