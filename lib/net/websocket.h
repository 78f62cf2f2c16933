/* websocket.h - WebSocket (RFC 6455) on the server's side: frames in, events
 * out, and the handshake's few facts. Pure; no extensions.
 *
 * Messages are not put together: their bytes are handed on as they arrive, so
 * that nothing is held, whatever a client announces. */
#ifndef NET_WEBSOCKET_H
#define NET_WEBSOCKET_H

#include "lib/base/base.h"
#include "lib/base/error.h"
#include "lib/base/str.h"

struct buf;

enum ws_opcode { WS_CONTINUE = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING, WS_PONG };

/* Status codes of close frames, RFC 6455 7.4.1. */
enum ws_close_code {
    WS_CLOSE_NORMAL = 1000,
    WS_CLOSE_GOING_AWAY = 1001,
    WS_CLOSE_PROTOCOL = 1002,
    WS_CLOSE_INTERNAL = 1011,
};

#define WS_CONTROL_MAX 125 /* Bytes in a control frame. */
#define WS_HEADER_MAX 14
#define WS_ACCEPT_LEN 28

struct ws_events {
    /* Bytes of a data message. first: its beginning; last: its end. An empty
     * message gives one call without bytes. data is borrowed for the call. */
    void (*on_data)(void *arg, const uint8_t *data, size_t len, bool first, bool last);
    void (*on_ping)(void *arg, const uint8_t *data, size_t len);
    /* code is 0 when none was sent. Nothing follows. */
    void (*on_close)(void *arg, int code);
};

/* Embedded; zeroed is ready. */
struct ws_parser {
    uint8_t head[WS_HEADER_MAX];
    uint8_t head_len;
    bool in_payload, in_message, begun;
    bool closed; /* A close frame has come: what follows is ignored. */
    uint8_t control[WS_CONTROL_MAX];
    uint8_t control_len;
    uint8_t mask_at;
    uint64_t left; /* Of the payload. */
};

/* E_INVALID, with the reason: the peer broke the protocol; feed nothing more. */
int ws_parser_feed(struct ws_parser *p, const uint8_t *data, size_t len,
                   const struct ws_events *events, void *arg, struct error *err);

/* Writes the head of a complete unmasked message of len bytes; returns its size. */
size_t ws_head(enum ws_opcode opcode, uint64_t len, uint8_t ret[WS_HEADER_MAX]);
/* Sec-WebSocket-Accept for a Sec-WebSocket-Key; ends with NUL. */
void ws_accept(struct str key, char ret[WS_ACCEPT_LEN + 1]);

#endif
