/* proxy_target.h - which server a proxy subresource stands for. */
#ifndef APISERVER_PROXY_TARGET_H
#define APISERVER_PROXY_TARGET_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct kind_ctx;
struct meta_v1_status;
struct req;

struct proxy_target {
    struct str endpoint; /* "host:port", "[v6]:port", in the request's arena. */
    bool https;
    bool kubelet; /* A node's agent: with our client certificate. */
};

/* Splits "name", "name:port" and "scheme:name:port"; false: malformed. Pure. */
bool proxy_target_split(struct str id, struct str *ret_scheme, struct str *ret_name,
                        struct str *ret_port);
/* May a proxy go to this address? Not to our own host's. Pure. */
bool proxy_target_allowed(struct str address);

/* Of a request for pods/, services/ or nodes/proxy. */
struct meta_v1_status *proxy_target_of(struct req *r, const struct kind_ctx *ctx,
                                       struct proxy_target *ret);

#endif
