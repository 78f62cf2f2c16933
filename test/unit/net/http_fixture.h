/* http_fixture.h - a server with one handler per path, and calls that collect
 * what comes back, for the tests of HTTP and gRPC. */
#ifndef TEST_UNIT_HTTP_FIXTURE_H
#define TEST_UNIT_HTTP_FIXTURE_H

#include "lib/base/arena.h"
#include "lib/net/bytes.h"
#include "lib/net/http_client.h"
#include "lib/net/http_server.h"
#include "test/unit/net/net_fixture.h"

#include <string.h>

/* What handlers noted. */
static struct {
    size_t requests, aborts, hanging;
    size_t pending_max;        /* Of /big. */
    size_t body_bytes;         /* Of /sink. */
    struct http_request *hung; /* The last request of /hang. */
    struct http_request *paused;
} served;

/* --- server --- */

#define BIG_BLOCK 65536

static void big_pump(struct http_request *r, void *arg)
{
    size_t *left = arg;
    struct net_bytes *block = net_bytes_new(BIG_BLOCK);
    for (size_t i = 0; i < BIG_BLOCK; i++)
        net_bytes_edit(block)[i] = (uint8_t)i;
    while (*left > 0 && http_response_pending(r) < 4 * BIG_BLOCK) {
        size_t n = MIN_OF(*left, (size_t)BIG_BLOCK);
        http_response_write_part(r, block, 0, n);
        *left -= n;
        served.pending_max = MAX_OF(served.pending_max, http_response_pending(r));
    }
    net_bytes_unref(block);
    if (*left == 0)
        http_response_end(r);
}

static void big_abort(struct http_request *r, void *arg)
{
    UNUSED(arg);
    served.aborts++;
    http_response_end(r);
}

static void serve_big(struct http_request *r)
{
    size_t *left = ARENA_NEW(r->arena, size_t);
    uint64_t want = 0;
    ck_assert(str_to_u64(r->query, &want));
    *left = want;
    http_request_on_abort(r, big_abort, NULL);
    http_response_on_drain(r, BIG_BLOCK, big_pump, left);
    http_response_start(r, 200, -1);
    big_pump(r, left);
}

/* "/mixed": shared blocks, private ones with and without room in front, and copies, of all sizes.
 * The byte at n is mixed_byte(n). */
#define MIXED_BYTES 3000000

static inline uint8_t mixed_byte(size_t n)
{
    return (uint8_t)(n ^ n >> 8 ^ n >> 16);
}

static struct net_bytes *mixed_block(size_t from, size_t len, unsigned kind)
{
    struct buf b = BUF_INIT;
    size_t room = kind % 3 * HTTP_FRAME_HEADROOM;
    memset(buf_reserve(&b, room + len), '?', room + len);
    buf_commit(&b, room + len);
    for (size_t i = 0; i < len; i++)
        b.data[room + i] = mixed_byte(from + i);
    buf_consume(&b, room);
    return kind % 3 != 0 ? net_bytes_steal_private(&b) : net_bytes_steal(&b);
}

static void mixed_pump(struct http_request *r, void *arg)
{
    static const size_t SIZES[] = {
        4 * HTTP_FRAME_BYTES, 1, HTTP_FRAME_BYTES, 8000, 100000, HTTP_FRAME_BYTES + 1, 20000, 3,
        HTTP_FRAME_BYTES - 1};
    size_t *at = arg;
    for (unsigned i = 0; *at < MIXED_BYTES && http_response_pending(r) < 4 * BIG_BLOCK; i++) {
        size_t n = MIN_OF(SIZES[(*at + i) % ARRAY_SIZE(SIZES)], MIXED_BYTES - *at);
        struct net_bytes *b = mixed_block(*at, n, i + (unsigned)*at);
        if (i % 4 == 3)
            http_response_write_copy(r, b->data, n);
        else
            http_response_write(r, b);
        net_bytes_unref(b);
        *at += n;
    }
    if (*at == MIXED_BYTES)
        http_response_end(r);
}

static void serve_mixed(struct http_request *r)
{
    size_t *at = ARENA_NEW(r->arena, size_t);
    http_request_on_abort(r, big_abort, NULL);
    http_response_on_drain(r, BIG_BLOCK, mixed_pump, at);
    http_response_start(r, 200, -1);
    mixed_pump(r, at);
}

static void hang_abort(struct http_request *r, void *arg)
{
    UNUSED(arg);
    served.aborts++;
    served.hanging--;
    served.hung = NULL;
    if (!http_response_started(r))
        http_respond(r, 500, STR(""));
    else
        http_response_end(r);
}

/* "/hang": a first byte, then nothing. "/hang?silent": not even that. */
static void serve_hang(struct http_request *r)
{
    served.hanging++;
    served.hung = r;
    http_request_on_abort(r, hang_abort, NULL);
    if (!str_empty(r->query))
        return;
    http_response_start(r, 200, -1);
    http_response_write_copy(r, "x", 1);
}

/* "/messages": three, and the end unless "?stay". */
static void serve_messages(struct http_request *r)
{
    struct error err = {0};
    if (http_request_check_messages(r, &err) != 0) {
        http_respond(r, 400, arena_strc(r->arena, error_message(&err)));
        return;
    }
    served.hanging++;
    http_request_on_abort(r, hang_abort, NULL);
    http_response_start_messages(r, WS_TEXT, "sub");
    http_response_write_copy(r, "one", 3);
    http_response_write_copy(r, "", 0);
    struct net_bytes *b = net_bytes_new(70000);
    memset(net_bytes_edit(b), 'x', b->len);
    http_response_write_part(r, b, 1, b->len - 1);
    net_bytes_unref(b);
    if (str_empty(r->query))
        http_response_end(r);
}

static void serve_request(struct http_request *r, void *arg)
{
    UNUSED(arg);
    served.requests++;
    if (str_eq(r->path, STR("/echo"))) {
        http_response_header(r, "X-Method", r->method.data);
        http_respond(r, 200, r->body);
    } else if (str_eq(r->path, STR("/big"))) {
        serve_big(r);
    } else if (str_eq(r->path, STR("/mixed"))) {
        serve_mixed(r);
    } else if (str_eq(r->path, STR("/hang"))) {
        serve_hang(r);
    } else if (str_eq(r->path, STR("/messages"))) {
        serve_messages(r);
    } else if (str_eq(r->path, STR("/none"))) {
        http_respond(r, 204, STR(""));
    } else if (str_eq(r->path, STR("/cut"))) {
        http_response_start(r, 200, -1);
        http_response_write_copy(r, "part", 4);
        http_response_abort(r);
    } else if (str_eq(r->path, STR("/close"))) {
        http_response_header(r, "Connection", "close");
        http_response_header(r, "Transfer-Encoding", "chunked");
        http_response_header(r, "bad name", "x");
        http_response_header(r, "x-split", "a\r\nx-injected: b");
        http_respond(r, 200, STR("bye"));
    } else if (str_eq(r->path, STR("/gzip"))) {
        struct net_bytes *b = net_bytes_new(200000);
        memset(net_bytes_edit(b), 'z', b->len);
        http_respond_typed(r, 200, "application/json", b);
        net_bytes_unref(b);
    } else {
        http_response_header(r, "x-path", r->path.data);
        http_response_header(r, "x-query", str_c(r->query));
        http_response_header(r, "x-peer", r->peer != NULL ? r->peer->common_name.data : "");
        http_response_header(r, "x-many", "1");
        http_response_header(r, "x-many", "2");
        http_respond(r, 200, STR("hello\n"));
    }
}

static void sink_data(struct http_request *r, const uint8_t *data, size_t len, void *arg)
{
    UNUSED(arg);
    UNUSED(data);
    served.body_bytes += len;
    if (str_eq(r->query, STR("pause")) && served.paused == NULL) {
        served.paused = r;
        http_request_pause(r);
    }
}

static void sink_end(struct http_request *r, void *arg)
{
    UNUSED(arg);
    http_respond(r, 200, arena_printf(r->arena, "%zu", served.body_bytes));
}

static const struct http_body_handler SINK = {.on_data = sink_data, .on_end = sink_end};

static void serve_headers(struct http_request *r, void *arg)
{
    UNUSED(arg);
    if (str_eq(r->path, STR("/sink"))) {
        http_request_on_abort(r, hang_abort, NULL);
        http_request_stream_body(r, &SINK, NULL);
    } else if (str_eq(r->path, STR("/early"))) {
        http_respond(r, 403, STR("no"));
    } else if (str_eq(r->path, STR("/small"))) {
        http_request_set_body_max(r, 10);
    }
}

static bool server_closed;

static inline void on_server_closed(struct http_server *s, void *arg)
{
    UNUSED(arg);
    server_closed = true;
    http_server_free(s);
}

static inline struct http_server *serve_with(const struct http_server_limits *limits,
                                             struct tls_context *tls, const char *address)
{
    struct http_server *s;
    struct error err = {0};
    struct http_server_config config = {
        .name = "test", .on_headers = serve_headers, .on_request = serve_request};
    if (limits != NULL)
        config.limits = *limits;
    memset(&served, 0, sizeof(served));
    server_closed = false;
    ck_assert_int_eq(http_server_new(&fx.loop, &config, &s, &err), 0);
    struct net_listen_config listen = {.address = address, .tls = tls};
    ck_assert_msg(http_server_listen(s, &listen, &err) == 0, "%s", err.message);
    return s;
}

static inline struct http_server *serve(struct tls_context *tls)
{
    return serve_with(NULL, tls, "127.0.0.1:0");
}

static inline void stop_serving(struct http_server *s)
{
    http_server_shutdown(s, 0, on_server_closed, NULL);
    fixture_run(&server_closed);
}

/* --- client --- */

static bool client_closed;

static inline void on_client_closed(void *arg)
{
    UNUSED(arg);
    client_closed = true;
}

static inline struct http_client *connect_with(const struct http_client_config *config, int port)
{
    struct http_client *c;
    struct error err = {0};
    AUTO_FREE char *endpoint = xasprintf("127.0.0.1:%d", port);
    const char *endpoints[] = {endpoint};
    struct http_client_config own = *config;
    if (own.endpoint_count == 0) {
        own.endpoints = endpoints;
        own.endpoint_count = 1;
    }
    client_closed = false;
    ck_assert_msg(http_client_new(&fx.loop, &own, &c, &err) == 0, "%s", err.message);
    return c;
}

static inline void stop_client(struct http_client *c)
{
    http_client_close(c, on_client_closed, NULL);
    fixture_run(&client_closed);
}

struct result {
    struct http_call *call; /* NULL once it has ended. */
    bool done, has_head;
    int status;
    enum http_version version;
    struct buf body;
    size_t bytes; /* Also counts what keep_body = false drops. */
    bool drop_body;
    size_t pause_at; /* Pauses once this many bytes came; 0: never. */
    void (*on_drain)(struct result *r);
    struct error err;
    char path[64], query[64], peer[64], many[16], encoding[16];
};

static inline void result_header(const struct http_call *call, const char *name, char *to, size_t n)
{
    struct str v = http_call_header(call, name);
    snprintf(to, n, STR_FMT, STR_ARG(v));
}

static inline void result_on_headers(struct http_call *call, void *arg)
{
    struct result *r = arg;
    size_t count;
    r->has_head = true;
    r->status = http_call_status(call);
    r->version = http_call_version(call);
    result_header(call, "x-path", r->path, sizeof(r->path));
    result_header(call, "x-query", r->query, sizeof(r->query));
    result_header(call, "x-peer", r->peer, sizeof(r->peer));
    result_header(call, "content-encoding", r->encoding, sizeof(r->encoding));
    const struct http_header *headers = http_call_headers(call, &count);
    struct str many = http_header_join(http_call_arena(call), headers, count, "x-many");
    snprintf(r->many, sizeof(r->many), STR_FMT, STR_ARG(many));
}

static inline void result_on_data(struct http_call *call, const uint8_t *data, size_t len,
                                  void *arg)
{
    struct result *r = arg;
    if (!r->drop_body)
        buf_append(&r->body, data, len);
    bool was_below = r->bytes < r->pause_at;
    r->bytes += len;
    if (was_below && r->bytes >= r->pause_at)
        http_call_pause(call);
}

static inline void result_on_drain(struct http_call *call, void *arg)
{
    UNUSED(call);
    struct result *r = arg;
    if (r->on_drain != NULL)
        r->on_drain(r);
}

static inline void result_on_end(struct http_call *call, const struct error *err, void *arg)
{
    struct result *r = arg;
    UNUSED(call);
    ck_assert(!r->done);
    r->done = true;
    r->call = NULL;
    if (err != NULL)
        r->err = *err;
}

static inline void start_call(struct http_client *c, struct result *r,
                              struct http_call_config config)
{
    struct error err = {0};
    config.on_headers = result_on_headers;
    config.on_data = result_on_data;
    config.on_drain = result_on_drain;
    config.on_end = result_on_end;
    config.arg = r;
    ck_assert_msg(http_call_start(c, &config, &r->call, &err) == 0, "%s", err.message);
}

static inline void result_clear(struct result *r)
{
    buf_done(&r->body);
    *r = (struct result){0};
}

/* A whole exchange; r is cleared first. */
static inline void call(struct http_client *c, struct result *r, struct http_call_config config)
{
    result_clear(r);
    start_call(c, r, config);
    fixture_run(&r->done);
}

static inline void get(struct http_client *c, struct result *r, const char *target)
{
    call(c, r, (struct http_call_config){.target = target});
}

static inline void expect_ok(const struct result *r)
{
    ck_assert_msg(r->err.code == 0, "%s", r->err.message);
    ck_assert_int_eq(r->status, 200);
}

#endif
