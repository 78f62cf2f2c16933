/* bridge_ws.c - see bridge.h: WebSocket clients of servers that speak bytes or
 * SPDY.
 *
 *   BRIDGE_COMMAND   SYN_STREAM each -> all SYN_REPLYs -> the client is read
 *                    -> the server ends every output, or itself -> close frame
 *
 * A client learns from the error channel alone how a command ended: if the
 * server is lost before it said so, a Status of ours stands there instead. */
#include "lib/net/bridge_internal.h"

#include "lib/net/stream.h"

#include <stdio.h>

#define ACCEPT_MS 30000u /* For the server to accept the streams; client-go's number. */

/* The channel of a stream that was asked for, or CHANNEL_COUNT. */
static unsigned channel_of(const struct bridge *b, uint32_t stream_id)
{
    unsigned channel = 0;
    while (channel < CHANNEL_COUNT && (stream_id == 0 || b->stream_ids[channel] != stream_id))
        channel++;
    return channel;
}

/* --- to the client ------------------------------------------------------------------------- */

static void say(struct bridge *b, enum ws_opcode opcode, const uint8_t *prefix, size_t prefix_len,
                const void *data, size_t len)
{
    uint8_t head[WS_HEADER_MAX];
    if (b->client == NULL || b->said_close)
        return;
    buf_clear(&b->scratch);
    buf_append(&b->scratch, head, ws_head(opcode, prefix_len + len, head));
    buf_append(&b->scratch, prefix, prefix_len);
    buf_append(&b->scratch, data, len);
    net_stream_write(b->client, b->scratch.data, b->scratch.len);
}

static void say_on(struct bridge *b, uint8_t channel, const void *data, size_t len)
{
    say(b, WS_BINARY, &channel, 1, data, len);
}

static void say_close(struct bridge *b, int code)
{
    uint8_t be[2] = {(uint8_t)(code >> 8), (uint8_t)code};
    say(b, WS_CLOSE, NULL, 0, be, sizeof(be));
    b->said_close = true;
    if (b->client != NULL)
        net_stream_close_soft(b->client);
}

/* The command's end as the server should have told it. why: plain text of ours. */
static void say_failure(struct bridge *b, const char *why)
{
    char status[512];
    int n = snprintf(status, sizeof(status),
                     "{\"metadata\":{},\"status\":\"Failure\",\"message\":\"%s\","
                     "\"reason\":\"InternalError\",\"details\":{\"causes\":[{\"message\":\"%s\"}]},"
                     "\"code\":500}",
                     why, why);
    ASSERT(n > 0 && (size_t)n < sizeof(status));
    say_on(b, CHANNEL_ERROR, status, (size_t)n);
    b->status_seen = true;
}

static void end_both(struct bridge *b, int code)
{
    say_close(b, code);
    if (b->server != NULL)
        net_stream_close_soft(b->server);
}

void bridge_ws_server_ended(struct bridge *b, const char *why)
{
    UNUSED(why);
    if (b->config.form == BRIDGE_COMMAND && !b->status_seen)
        say_failure(b, "the connection to the container was lost before the command had ended");
    end_both(b, WS_CLOSE_NORMAL);
}

void bridge_ws_timeout(struct bridge *b)
{
    say_failure(b, "timed out waiting for the container runtime to accept the streams");
    end_both(b, WS_CLOSE_NORMAL);
}

void bridge_ws_stop(struct bridge *b)
{
    if (b->config.form == BRIDGE_COMMAND && !b->status_seen)
        say_failure(b, "the server is shutting down: the connection to the command ends here");
    end_both(b, WS_CLOSE_GOING_AWAY);
}

/* --- to the server -------------------------------------------------------------------------- */

static void send_on(struct bridge *b, unsigned channel, const uint8_t *data, size_t len, bool fin)
{
    if (b->server == NULL)
        return;
    buf_clear(&b->scratch);
    spdy_data_head(&b->scratch, b->stream_ids[channel], len, fin);
    buf_append(&b->scratch, data, len);
    net_stream_write(b->server, b->scratch.data, b->scratch.len);
}

static void open_streams(struct bridge *b)
{
    /* In client-go's order. Numbers of a client's streams are odd, and must rise. */
    static const struct {
        uint8_t channel;
        const char *type;
    } streams[] = {{CHANNEL_ERROR, "error"},
                   {CHANNEL_STDIN, "stdin"},
                   {CHANNEL_STDOUT, "stdout"},
                   {CHANNEL_STDERR, "stderr"},
                   {CHANNEL_RESIZE, "resize"}};
    AUTO_BUF out = BUF_INIT;
    uint32_t next = 1;
    b->writer = spdy_writer_new();
    for (size_t i = 0; i < ARRAY_SIZE(streams); i++) {
        if ((b->config.channels & CHANNEL_BIT(streams[i].channel)) == 0)
            continue;
        struct http_header h = {STR("streamtype"), str_of(streams[i].type)};
        b->stream_ids[streams[i].channel] = next;
        spdy_syn_stream(b->writer, &out, next, &h, 1);
        next += 2;
    }
    net_stream_write(b->server, out.data, out.len);
}

void bridge_ws_start(struct bridge *b)
{
    if (b->config.form != BRIDGE_COMMAND)
        return;
    b->config.channels |= CHANNEL_BIT(CHANNEL_ERROR);
    b->replies_due = b->config.channels;
    b->outputs_open =
        b->config.channels &
        (CHANNEL_BIT(CHANNEL_STDOUT) | CHANNEL_BIT(CHANNEL_STDERR) | CHANNEL_BIT(CHANNEL_ERROR));
    b->stdin_open = (b->config.channels & CHANNEL_BIT(CHANNEL_STDIN)) != 0;
    b->client_held = true;
    net_stream_pause(b->client);
    net_stream_set_timeout(b->server, ACCEPT_MS);
    open_streams(b);
}

/* --- from the client ------------------------------------------------------------------------- */

static void on_command_bytes(struct bridge *b, const uint8_t *data, size_t len, bool first)
{
    if (first) {
        if (len == 0)
            return;
        b->channel = data[0];
        data++;
        len--;
    }
    if (len == 0)
        return;
    switch (b->channel) {
    case CHANNEL_STDIN:
        if (b->stdin_open)
            send_on(b, CHANNEL_STDIN, data, len, false);
        break;
    case CHANNEL_RESIZE:
        if ((b->config.channels & CHANNEL_BIT(CHANNEL_RESIZE)) != 0)
            send_on(b, CHANNEL_RESIZE, data, len, false);
        break;
    case CHANNEL_CLOSE:
        if (data[0] == CHANNEL_STDIN && b->stdin_open) {
            b->stdin_open = false;
            send_on(b, CHANNEL_STDIN, NULL, 0, true);
        }
        break;
    default: /* Channels that a client only reads. */
        break;
    }
}

static void on_ws_data(void *arg, const uint8_t *data, size_t len, bool first, bool last)
{
    struct bridge *b = arg;
    UNUSED(last);
    if (b->config.form == BRIDGE_COMMAND)
        on_command_bytes(b, data, len, first);
    else if (b->server != NULL && len > 0)
        net_stream_write(b->server, data, len);
}

static void on_ws_ping(void *arg, const uint8_t *data, size_t len)
{
    struct bridge *b = arg;
    /* Whoever pings without reading gets no answers piled up. */
    if (b->client != NULL && net_stream_room(b->client) > 0)
        say(b, WS_PONG, NULL, 0, data, len);
}

static void on_ws_close(void *arg, int code)
{
    struct bridge *b = arg;
    UNUSED(code);
    end_both(b, WS_CLOSE_NORMAL);
}

void bridge_ws_from_client(struct bridge *b, const uint8_t *data, size_t len)
{
    static const struct ws_events events = {
        .on_data = on_ws_data, .on_ping = on_ws_ping, .on_close = on_ws_close};
    struct error err;
    if (!b->said_close && ws_parser_feed(&b->ws, data, len, &events, b, &err) != 0)
        end_both(b, WS_CLOSE_PROTOCOL);
}

/* --- from the server -------------------------------------------------------------------------- */

static void output_ended(struct bridge *b, unsigned channel)
{
    b->outputs_open &= ~CHANNEL_BIT(channel);
    if (b->outputs_open == 0 && !b->said_close)
        bridge_ws_server_ended(b, NULL);
}

static void on_spdy_data(void *arg, uint32_t stream_id, const uint8_t *data, size_t len, bool fin)
{
    struct bridge *b = arg;
    unsigned channel = channel_of(b, stream_id);
    if (channel == CHANNEL_COUNT)
        return;
    if (len > 0 && (b->outputs_open & CHANNEL_BIT(channel)) != 0) {
        say_on(b, (uint8_t)channel, data, len);
        b->status_seen = b->status_seen || channel == CHANNEL_ERROR;
    }
    if (fin)
        output_ended(b, channel);
}

static void on_spdy_reply(void *arg, uint32_t stream_id, bool fin)
{
    struct bridge *b = arg;
    unsigned channel = channel_of(b, stream_id);
    if (channel == CHANNEL_COUNT || !b->client_held)
        return;
    b->replies_due &= ~CHANNEL_BIT(channel);
    if (b->replies_due == 0) {
        b->client_held = false;
        net_stream_set_timeout(b->server, 0);
        net_stream_resume(b->client);
    }
    if (fin)
        output_ended(b, channel);
}

static void on_spdy_reset(void *arg, uint32_t stream_id, uint32_t status)
{
    struct bridge *b = arg;
    unsigned channel = channel_of(b, stream_id);
    UNUSED(status);
    if (channel == CHANNEL_STDIN)
        b->stdin_open = false;
    if (channel != CHANNEL_COUNT)
        output_ended(b, channel);
}

static void on_spdy_ping(void *arg, uint32_t id)
{
    struct bridge *b = arg;
    if ((id & 1) != 0 || b->server == NULL || net_stream_room(b->server) == 0)
        return; /* An answer to nothing of ours. */
    buf_clear(&b->scratch);
    spdy_ping(&b->scratch, id);
    net_stream_write(b->server, b->scratch.data, b->scratch.len);
}

static void on_spdy_goaway(void *arg, uint32_t status)
{
    UNUSED(arg); /* The connection's end follows, and tells more. */
    UNUSED(status);
}

void bridge_ws_from_server(struct bridge *b, const uint8_t *data, size_t len)
{
    static const struct spdy_events events = {.on_data = on_spdy_data,
                                              .on_reply = on_spdy_reply,
                                              .on_reset = on_spdy_reset,
                                              .on_ping = on_spdy_ping,
                                              .on_goaway = on_spdy_goaway};
    struct error err;
    if (b->config.form == BRIDGE_TUNNEL) {
        say(b, WS_BINARY, NULL, 0, data, len);
    } else if (spdy_parser_feed(&b->spdy, data, len, &events, b, &err) != 0) {
        if (!b->status_seen)
            say_failure(b, "the container runtime broke the protocol of streams");
        end_both(b, WS_CLOSE_INTERNAL);
    }
}
