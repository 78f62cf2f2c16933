/* bridge.c - see bridge.h: the streams' life and the raw form. */
#include "lib/net/bridge_internal.h"

#include "lib/net/stream.h"

#define HALF_OPEN_MS 300000u

struct bridge *bridge_new(const struct bridge_config *config)
{
    struct bridge *b = xzalloc(sizeof(*b));
    b->config = *config;
    return b;
}

void bridge_free(struct bridge *b)
{
    if (b == NULL)
        return;
    spdy_writer_free(b->writer);
    buf_done(&b->scratch);
    free(b);
}

void bridge_join(struct bridge *b, struct net_stream *client, struct net_stream *server)
{
    b->client = client;
    b->server = server;
    b->open = 2;
    net_stream_set_handler(server, &bridge_handler, b);
    net_stream_set_timeout(server, 0);
    if (b->config.form != BRIDGE_RAW)
        bridge_ws_start(b);
}

void bridge_stop(struct bridge *b)
{
    if (b->config.form != BRIDGE_RAW)
        bridge_ws_stop(b);
    if (b->client != NULL)
        net_stream_close_soft(b->client);
    if (b->server != NULL)
        net_stream_close_soft(b->server);
}

/* --- callbacks of both streams ------------------------------------------------------------ */

static void on_read(struct net_stream *s, const uint8_t *data, size_t len, void *arg)
{
    struct bridge *b = arg;
    bool from_client = s == b->client;
    struct net_stream *to = from_client ? b->server : b->client;
    if (to == NULL)
        return;
    if (b->config.form == BRIDGE_RAW)
        net_stream_write(to, data, len);
    else if (from_client)
        bridge_ws_from_client(b, data, len);
    else
        bridge_ws_from_server(b, data, len);
    if (net_stream_room(to) == 0)
        net_stream_pause(s);
    if (from_client ? b->server_ended : b->client_ended)
        net_stream_set_timeout(s, HALF_OPEN_MS);
}

static void on_writable(struct net_stream *s, void *arg)
{
    struct bridge *b = arg;
    struct net_stream *from = s == b->client ? b->server : b->client;
    if (from != NULL && !(from == b->client && b->client_held))
        net_stream_resume(from);
}

static void on_eof(struct net_stream *s, void *arg)
{
    struct bridge *b = arg;
    bool from_client = s == b->client;
    struct net_stream *to = from_client ? b->server : b->client;
    if (from_client)
        b->client_ended = true;
    else
        b->server_ended = true;
    if (b->config.form != BRIDGE_RAW) {
        /* A WebSocket has no half that could stay open. */
        if (!from_client)
            bridge_ws_server_ended(b, NULL);
        else if (to != NULL)
            net_stream_close_soft(to);
        net_stream_close_soft(s);
    } else if (to == NULL || (b->client_ended && b->server_ended)) {
        net_stream_close_soft(s);
        if (to != NULL)
            net_stream_close_soft(to);
    } else {
        net_stream_shutdown(to);
        net_stream_set_timeout(to, HALF_OPEN_MS);
    }
}

static void on_timeout(struct net_stream *s, void *arg)
{
    struct bridge *b = arg;
    if (s == b->server && b->client_held)
        bridge_ws_timeout(b);
    else
        bridge_stop(b);
}

static void on_close(struct net_stream *s, const struct error *err, void *arg)
{
    struct bridge *b = arg;
    if (s == b->client) {
        b->client = NULL;
        if (b->server != NULL)
            net_stream_close_soft(b->server);
    } else {
        b->server = NULL;
        if (b->client != NULL && b->config.form != BRIDGE_RAW)
            bridge_ws_server_ended(b, error_message(err));
        else if (b->client != NULL)
            net_stream_close_soft(b->client);
    }
    if (--b->open > 0)
        return;
    struct bridge_config config = b->config;
    bridge_free(b);
    config.on_end(config.arg);
}

const struct net_stream_handler bridge_handler = {.on_read = on_read,
                                                  .on_eof = on_eof,
                                                  .on_writable = on_writable,
                                                  .on_timeout = on_timeout,
                                                  .on_close = on_close};
