/* upgrade.c - see upgrade.h. */
#include "lib/net/upgrade.h"

#include "lib/base/arena.h"
#include "lib/net/http_client.h"
#include "lib/net/http_server.h"
#include "lib/net/stream.h"
#include "lib/net/websocket.h"

#define WINDOW_BYTES (256u << 10) /* Of a refusal's body. */

struct upgrade {
    struct upgrade_config config;
    enum bridge_form form;
    const char *wanted; /* The subprotocol that a translated server must agree to. */
    struct http_client *http;
    struct http_call *call;
    struct bridge *bridge;
    int open;               /* Callbacks owed to us. */
    struct http_request *r; /* NULL once answered. */
    bool answering;         /* A refusal is being passed on. */
};

static void release(struct upgrade *u)
{
    if (--u->open > 0)
        return;
    struct upgrade_config config = u->config;
    free(u);
    if (config.events->on_end != NULL)
        config.events->on_end(config.arg);
}

static void on_http_closed(void *arg)
{
    release(arg);
}

bool upgrade_wanted(const struct http_request *r)
{
    return !str_empty(http_request_upgrade(r));
}

/* --- the joined connections ------------------------------------------------------------------ */

static void on_bridge_end(void *arg)
{
    struct upgrade *u = arg;
    u->bridge = NULL;
    release(u);
}

static void fail(struct upgrade *u, int code, const char *text)
{
    struct error err = {0};
    error_set(&err, code, "%s", text);
    u->config.events->on_fail(take(u->r), &err, u->config.arg);
}

static void tell_answer(struct upgrade *u, int status)
{
    if (u->config.events->on_answer != NULL)
        u->config.events->on_answer(u->r, status, u->config.arg);
}

/* The server's fields, for a client that speaks what the server speaks. */
static void pass_headers(struct upgrade *u, struct http_call *call)
{
    size_t n;
    const struct http_header *h = http_call_headers(call, &n);
    for (size_t i = 0; i < n; i++)
        if (!http_header_is_hop(h[i].name) && !str_eqc(h[i].name, "date"))
            http_response_header_str(u->r, h[i].name, h[i].value);
}

/* Ours, for a WebSocket client. */
static void websocket_headers(struct upgrade *u)
{
    char accept[WS_ACCEPT_LEN + 1];
    ws_accept(http_request_header(u->r, "sec-websocket-key"), accept);
    http_response_header(u->r, "Sec-WebSocket-Accept", accept);
    http_response_header(u->r, "Sec-WebSocket-Protocol",
                         u->form == BRIDGE_COMMAND ? PROTOCOL_COMMAND_WS : PROTOCOL_PORTS_WS);
}

static void on_upgrade(struct http_call *call, struct net_stream *server, void *arg)
{
    static const struct net_stream_handler nobody;
    struct upgrade *u = arg;
    struct net_stream *client;
    struct error err = {0};
    struct bridge_config bc = {
        .form = u->form, .channels = u->config.channels, .on_end = on_bridge_end, .arg = u};
    struct str shown = http_call_header(call, "upgrade");
    net_stream_set_handler(server, &nobody, NULL);
    if (u->wanted != NULL &&
        !str_eqc(http_call_header(call, "x-stream-protocol-version"), u->wanted)) {
        net_stream_close(server);
        fail(u, E_INTERNAL, "the server speaks none of the protocols that it was offered");
        return;
    }
    tell_answer(u, 101);
    if (u->form == BRIDGE_RAW)
        pass_headers(u, call);
    else
        websocket_headers(u);
    struct bridge *b = bridge_new(&bc);
    int rc = http_response_upgrade(u->r,
                                   u->form != BRIDGE_RAW || str_empty(shown)
                                       ? "websocket"
                                       : str_c(arena_str(u->r->arena, shown)),
                                   &bridge_handler, b, &client, &err);
    if (rc != 0) { /* The client has gone. */
        bridge_free(b);
        net_stream_close(server);
        http_respond(take(u->r), 500, STR(""));
        return;
    }
    u->r = NULL;
    u->bridge = b;
    u->open++;
    bridge_join(b, client, server);
}

/* --- a refusal ----------------------------------------------------------------------------------
 */

static void on_headers(struct http_call *call, void *arg)
{
    struct upgrade *u = arg;
    int status = http_call_status(call);
    if (status == 101 || u->r == NULL)
        return;
    u->answering = true;
    tell_answer(u, status);
    pass_headers(u, call);
    http_response_start(u->r, status, -1);
}

static void on_drain(struct http_request *r, void *arg)
{
    struct upgrade *u = arg;
    http_response_on_drain(r, 0, NULL, NULL);
    if (u->call != NULL)
        http_call_resume(u->call);
}

static void on_data(struct http_call *call, const uint8_t *data, size_t len, void *arg)
{
    struct upgrade *u = arg;
    if (u->r == NULL)
        return;
    http_response_write_copy(u->r, data, len);
    if (http_response_pending(u->r) >= WINDOW_BYTES) {
        http_call_pause(call);
        http_response_on_drain(u->r, WINDOW_BYTES / 2, on_drain, u);
    }
}

static void on_call_end(struct http_call *call, const struct error *err, void *arg)
{
    struct upgrade *u = arg;
    UNUSED(call);
    u->call = NULL;
    if (u->r != NULL && u->answering) {
        if (err != NULL)
            http_response_abort(take(u->r));
        else
            http_response_end(take(u->r));
    } else if (u->r != NULL) {
        fail(u, err != NULL ? err->code : E_IO,
             err != NULL ? error_message(err) : "the server gave no answer");
    }
    http_client_close(take(u->http), on_http_closed, u); /* The bridge's stream is not its. */
    release(u);
}

static void on_abort(struct http_request *r, void *arg)
{
    struct upgrade *u = arg;
    UNUSED(r);
    if (u->call != NULL)
        http_call_cancel(u->call);
}

/* --- the request ---------------------------------------------------------------------------------
 */

/* Finds the form; E_INVALID when a WebSocket handshake of ours is malformed. */
static int choose_form(struct upgrade *u, struct error *err)
{
    const struct http_request *r = u->r;
    const char *protocol = u->config.kind == UPGRADE_COMMAND ? PROTOCOL_COMMAND_WS
                           : u->config.kind == UPGRADE_PORTS ? PROTOCOL_PORTS_WS
                                                             : NULL;
    u->form = BRIDGE_RAW;
    if (protocol == NULL || !str_eqc(http_request_upgrade(r), "websocket") ||
        !http_header_has_token(r->headers, r->header_count, "sec-websocket-protocol", protocol))
        return 0;
    if (!str_eqc(http_request_header(r, "sec-websocket-version"), "13"))
        return error_set(err, E_INVALID,
                         "websocket: unsupported version: 13 not found in "
                         "'Sec-WebSocket-Version' header");
    if (str_empty(http_request_header(r, "sec-websocket-key")))
        return error_set(err, E_INVALID, "websocket: 'Sec-WebSocket-Key' header is missing");
    u->form = u->config.kind == UPGRADE_COMMAND ? BRIDGE_COMMAND : BRIDGE_TUNNEL;
    u->wanted = u->form == BRIDGE_COMMAND ? PROTOCOL_COMMAND_SPDY : PROTOCOL_PORTS_SPDY;
    return 0;
}

struct http_header *http_forward_headers(const struct http_request *r, const char *const *drop,
                                         size_t spare, size_t *ret_count)
{
    struct http_header *list =
        ARENA_ARRAY(r->arena, struct http_header, r->header_count + spare + 1);
    size_t count = 0;
    for (size_t i = 0; i < r->header_count; i++) {
        struct str name = r->headers[i].name;
        /* Fields that Connection names are of one connection, too. */
        bool dropped =
            name.len == 0 || name.data[0] == ':' || http_header_is_hop(name) ||
            http_header_has_token(r->headers, r->header_count, "connection", str_c(name));
        for (size_t k = 0; drop != NULL && drop[k] != NULL && !dropped; k++) {
            struct str d = str_of(drop[k]);
            dropped = str_has_suffix(d, STR("*")) ? str_has_prefix(name, str_sub(d, 0, d.len - 1))
                                                  : str_eq(name, d);
        }
        if (!dropped)
            list[count++] = r->headers[i];
    }
    *ret_count = count;
    return list;
}

static const struct http_header *call_headers(struct upgrade *u, size_t *ret_count)
{
    const struct upgrade_config *c = &u->config;
    struct http_header *list = ARENA_ARRAY(u->r->arena, struct http_header, c->header_count + 3);
    size_t n = 0;
    for (size_t i = 0; i < c->header_count; i++)
        if (u->form == BRIDGE_RAW || (!str_has_prefix(c->headers[i].name, STR("sec-websocket-")) &&
                                      !str_eqc(c->headers[i].name, "origin")))
            list[n++] = c->headers[i];
    list[n++] = (struct http_header){STR("connection"), STR("Upgrade")};
    list[n++] = (struct http_header){STR("upgrade"), u->form == BRIDGE_RAW
                                                         ? http_request_header(u->r, "upgrade")
                                                         : STR("SPDY/3.1")};
    if (u->wanted != NULL)
        list[n++] = (struct http_header){STR("x-stream-protocol-version"), str_of(u->wanted)};
    *ret_count = n;
    return list;
}

int upgrade_start(const struct upgrade_config *config, struct upgrade **ret, struct error *err)
{
    struct upgrade *u = xzalloc(sizeof(*u));
    u->config = *config;
    u->r = config->request;
    int rc = choose_form(u, err);
    struct http_client_config hc = {.endpoints = &config->endpoint,
                                    .endpoint_count = 1,
                                    .server_name = config->server_name,
                                    .tls = config->tls,
                                    .protocol = HTTP_CLIENT_H1};
    if (rc == 0)
        rc = http_client_new(config->loop, &hc, &u->http, err);
    if (rc != 0) {
        free(u);
        return rc;
    }
    struct http_call_config call = {
        .method = u->form == BRIDGE_RAW ? str_c(u->r->method) : "POST",
        .target = config->target,
        .authority = config->authority,
        .upgrade = true,
        .header_timeout_ms = config->answer_timeout_ms,
        .on_headers = on_headers,
        .on_data = on_data,
        .on_end = on_call_end,
        .on_upgrade = on_upgrade,
        .arg = u,
    };
    call.headers = call_headers(u, &call.header_count);
    rc = http_call_start(u->http, &call, &u->call, err);
    if (rc != 0) {
        u->open = 1; /* Freed with the client, without a word. */
        static const struct upgrade_events silent;
        u->config.events = &silent;
        http_client_close(u->http, on_http_closed, u);
        return rc;
    }
    u->open = 2; /* The call and the client. */
    http_request_on_abort(u->r, on_abort, u);
    if (ret != NULL)
        *ret = u;
    return 0;
}

void upgrade_stop(struct upgrade *u)
{
    if (u->call != NULL)
        http_call_cancel(u->call);
    if (u->bridge != NULL)
        bridge_stop(u->bridge);
}
