/* bridge_internal.h - what bridge.c and bridge_ws.c share. */
#ifndef NET_BRIDGE_INTERNAL_H
#define NET_BRIDGE_INTERNAL_H

#include "lib/net/bridge.h"

#include "lib/base/buf.h"
#include "lib/net/spdy.h"
#include "lib/net/websocket.h"

struct net_stream;

struct bridge {
    struct bridge_config config;
    struct net_stream *client, *server; /* NULL once closed. */
    int open;                           /* Streams whose on_close is to come. */
    bool client_ended, server_ended;    /* They send no more. */
    bool client_held;                   /* Not read until the server has accepted the streams. */
    bool said_close;                    /* To a WebSocket client. */
    struct buf scratch;                 /* One frame while it is put together. */

    struct ws_parser ws;
    struct spdy_parser spdy;
    struct spdy_writer *writer;
    uint8_t channel;                    /* Of the message that is arriving. */
    uint32_t stream_ids[CHANNEL_COUNT]; /* 0: not asked for. */
    unsigned replies_due;               /* CHANNEL_BIT()s of streams not yet accepted, */
    unsigned outputs_open;              /* and of those that the server has not ended. */
    bool stdin_open;
    bool status_seen;
};

/* bridge_ws.c: forms with a WebSocket client. */
void bridge_ws_start(struct bridge *b);
void bridge_ws_from_client(struct bridge *b, const uint8_t *data, size_t len);
void bridge_ws_from_server(struct bridge *b, const uint8_t *data, size_t len);
/* The server is done, or gone (why, for the user; NULL: an orderly end). */
void bridge_ws_server_ended(struct bridge *b, const char *why);
void bridge_ws_timeout(struct bridge *b);
void bridge_ws_stop(struct bridge *b);

#endif
