/* messages.h - answers in WebSocket messages, for clients that ask for an upgrade where others
 * get one long body: watches and logs, as upstream serves them.
 *
 * Watches: an event is a message, text for JSON, binary (without a length in front) for protobuf.
 * Logs: an empty message first, then the output, in binary messages or, of the subprotocol
 * base64.binary.k8s.io, in text ones.
 *
 * On the request's thread. */
#ifndef APISERVER_MESSAGES_H
#define APISERVER_MESSAGES_H

#include "lib/base/str.h"
#include "lib/net/websocket.h"

struct meta_v1_status;
struct req;

struct messages {
    bool wanted; /* False: an ordinary answer is. */
    enum ws_opcode opcode;
    bool base64;             /* What is sent must be encoded so. */
    const char *subprotocol; /* NULL: none. */
};

/* What is asked for; not NULL: it cannot be had, and this is the answer. */
struct meta_v1_status *messages_for_watch(struct req *r, bool text, struct messages *ret);
struct meta_v1_status *messages_for_log(struct req *r, struct messages *ret);
/* Behind req_headers(): http_response_start() with this status, or its counterpart. */
void messages_start(struct req *r, const struct messages *m, int status);

#endif
