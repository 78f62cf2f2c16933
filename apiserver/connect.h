/* connect.h - subresources that are connections: pods/exec, attach and
 * portforward, and upgraded requests through a proxy subresource.
 *
 *   authorise -> admission -> find the node -> upgrade.h -> bytes both ways
 *
 * Loop-confined. Nothing of the request is kept once both sides are joined. */
#ifndef APISERVER_CONNECT_H
#define APISERVER_CONNECT_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct arena;
struct error;
struct http_header;
struct kind_ctx;
struct meta_v1_status;
struct req;
struct upgrade_config;

void pod_connect(struct req *r); /* pods/exec, pods/attach, pods/portforward */

/* A list of WebSocket subprotocols without the tokens among them. */
struct str connect_protocols_without_token(struct arena *a, struct str list);

/* Admission of a connection; options is the request's options object, of that
 * kind. See req_admit_waits(). */
struct meta_v1_status *connect_admit(struct req *r, const struct kind_ctx *ctx,
                                     const char *options_kind, void *options);
/* Starts it, or answers r. c needs no request, loop, events or arg. */
void connect_upgrade(struct req *r, struct upgrade_config *c);
/* Why a call of ours failed, in the words that Kubernetes users know:
 * "dial tcp 10.0.0.1:80: connect: connection refused". */
struct str connect_error_text(struct arena *a, const struct error *err);
/* As http_forward_headers(), and without the token that a browser's WebSocket
 * carries among its protocols. */
struct http_header *connect_headers(struct req *r, const char *const *drop, size_t spare,
                                    size_t *ret_count);
/* Fields of a request that are between the client and us (http_forward_headers()). */
extern const char *const connect_private_headers[];

#endif
