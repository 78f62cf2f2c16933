/* test_upgrade.c - requests for upgraded connections passed on from a front
 * server to a back server, in every form, with back-pressure and lost peers. */
#include "lib/base/arena.h"
#include "lib/net/http_server.h"
#include "lib/net/spdy.h"
#include "lib/net/upgrade.h"
#include "lib/net/websocket.h"
#include "test/unit/net/net_fixture.h"

#include <string.h>

#define FLOOD_BYTES (64u << 20)

enum { BACK_ECHO, BACK_REFUSE, BACK_FLOOD, BACK_COMMAND, BACK_DUMB };

static struct {
    struct http_server *front, *back;
    size_t closed;
    int role;               /* BACK_* */
    enum upgrade_kind kind; /* Of the front's requests. */
    bool no_back;           /* The front knows no server that answers. */
    /* The back's connection. */
    struct net_stream *back_stream;
    struct buf back_got;
    bool back_eof;
    size_t back_closed, flooded;
    char back_method[8], back_upgrade[16], back_protocol[32], back_extra[32];
    /* The front. */
    struct upgrade *upgrade;
    size_t answers, fails, ends;
    int answer_status, fail_code;
    /* The client. */
    struct net_stream *client;
    bool client_closed, client_eof, client_paused;
    struct buf got;
    struct buf send;
} t;

/* --- the back server ----------------------------------------------------------------------------
 */

static void back_read(struct net_stream *s, const uint8_t *data, size_t len, void *arg)
{
    UNUSED(arg);
    buf_append(&t.back_got, data, len);
    if (t.role == BACK_ECHO)
        net_stream_write(s, data, len);
}

static void back_flood(struct net_stream *s, void *arg)
{
    static const uint8_t block[16384];
    UNUSED(arg);
    while (t.role == BACK_FLOOD && t.flooded < FLOOD_BYTES && net_stream_room(s) > 0) {
        net_stream_write(s, block, sizeof(block));
        t.flooded += sizeof(block);
    }
}

static void back_on_eof(struct net_stream *s, void *arg)
{
    UNUSED(arg);
    t.back_eof = true;
    if (t.role == BACK_ECHO)
        net_stream_write(s, "bye", 3);
    net_stream_shutdown(s);
    net_stream_close_soft(s);
}

static void back_on_close(struct net_stream *s, const struct error *err, void *arg)
{
    UNUSED(s), UNUSED(err), UNUSED(arg);
    t.back_stream = NULL;
    t.back_closed++;
}

static const struct net_stream_handler BACK = {.on_read = back_read,
                                               .on_eof = back_on_eof,
                                               .on_writable = back_flood,
                                               .on_close = back_on_close};

static void note(char *to, size_t cap, struct str s)
{
    snprintf(to, cap, STR_FMT, STR_ARG(s));
}

static void back_request(struct http_request *r, void *arg)
{
    struct error err;
    UNUSED(arg);
    note(t.back_method, sizeof(t.back_method), r->method);
    note(t.back_upgrade, sizeof(t.back_upgrade), http_request_upgrade(r));
    note(t.back_extra, sizeof(t.back_extra), http_request_header(r, "x-extra"));
    struct str protocol = http_request_header(r, "x-stream-protocol-version");
    note(t.back_protocol, sizeof(t.back_protocol), protocol);
    if (t.role == BACK_REFUSE) {
        http_response_header(r, "Content-Type", "text/x-why");
        http_respond(r, 418, STR("no tea"));
        return;
    }
    if (t.role != BACK_DUMB)
        http_response_header_str(r, STR("X-Stream-Protocol-Version"), protocol);
    http_response_header(r, "X-Back", "1");
    ck_assert_int_eq(http_response_upgrade(r, t.back_upgrade, &BACK, NULL, &t.back_stream, &err),
                     0);
    back_flood(t.back_stream, NULL);
}

/* --- the front server
 * ----------------------------------------------------------------------------- */

static void front_answer(struct http_request *r, int status, void *arg)
{
    UNUSED(arg);
    t.answers++;
    t.answer_status = status;
    http_response_header(r, "X-Front", "1");
}

static void front_fail(struct http_request *r, const struct error *err, void *arg)
{
    UNUSED(arg);
    t.fails++;
    t.fail_code = err->code;
    http_respond(r, 503, STR("failed"));
}

static void front_end(void *arg)
{
    UNUSED(arg);
    t.ends++;
    t.upgrade = NULL;
}

static void front_request(struct http_request *r, void *arg)
{
    static const struct upgrade_events events = {
        .on_answer = front_answer, .on_fail = front_fail, .on_end = front_end};
    static const char *const drop[] = {"host", "x-secret-*", NULL};
    struct error err;
    UNUSED(arg);
    AUTO_FREE char *endpoint = xasprintf("127.0.0.1:%d", t.no_back ? 1 : http_server_port(t.back));
    struct upgrade_config c = {.loop = &fx.loop,
                               .request = r,
                               .kind = t.kind,
                               .channels = CHANNEL_BIT(CHANNEL_STDIN) | CHANNEL_BIT(CHANNEL_STDOUT),
                               .endpoint = endpoint,
                               .target = "/back?x=1",
                               .events = &events};
    c.headers = http_forward_headers(r, drop, 0, &c.header_count);
    if (upgrade_start(&c, &t.upgrade, &err) != 0) {
        t.fail_code = err.code;
        http_respond(r, 400, STR("bad"));
    }
}

/* --- the client
 * -------------------------------------------------------------------------------------- */

static void client_open(struct net_stream *s, void *arg)
{
    UNUSED(arg);
    net_stream_write(s, t.send.data, t.send.len);
}

static void client_read(struct net_stream *s, const uint8_t *data, size_t len, void *arg)
{
    UNUSED(arg);
    buf_append(&t.got, data, len);
    if (t.client_paused)
        net_stream_pause(s);
}

static void client_on_eof(struct net_stream *s, void *arg)
{
    UNUSED(arg);
    t.client_eof = true;
    net_stream_close_soft(s);
}

static void client_on_close(struct net_stream *s, const struct error *err, void *arg)
{
    UNUSED(s), UNUSED(err), UNUSED(arg);
    t.client = NULL;
    t.client_closed = true;
}

static const struct net_stream_handler CLIENT = {.on_open = client_open,
                                                 .on_read = client_read,
                                                 .on_eof = client_on_eof,
                                                 .on_close = client_on_close};

/* --- life
 * ------------------------------------------------------------------------------------------------
 */

static struct http_server *serve(void (*on_request)(struct http_request *r, void *arg))
{
    struct http_server_config c = {.name = "t", .on_request = on_request};
    struct net_listen_config l = {.address = "127.0.0.1:0"};
    struct http_server *s;
    struct error err;
    ck_assert_int_eq(http_server_new(&fx.loop, &c, &s, &err), 0);
    ck_assert_int_eq(http_server_listen(s, &l, &err), 0);
    return s;
}

static void begin(int role, enum upgrade_kind kind, const char *head)
{
    struct error err;
    memset(&t, 0, sizeof(t));
    fixture_init();
    t.role = role;
    t.kind = kind;
    t.front = serve(front_request);
    t.back = serve(back_request);
    buf_printf(&t.send,
               "GET /front HTTP/1.1\r\nHost: h\r\nX-Extra: kept\r\nX-Secret-A: s\r\n"
               "Connection: Upgrade\r\n%s\r\n",
               head);
    AUTO_FREE char *endpoint = xasprintf("127.0.0.1:%d", http_server_port(t.front));
    struct net_connect_config c = {.endpoint = endpoint};
    ck_assert_int_eq(net_stream_connect(&fx.loop, &c, &CLIENT, NULL, &t.client, &err), 0);
}

static void server_closed(struct http_server *s, void *arg)
{
    UNUSED(arg);
    http_server_free(s);
    t.closed++;
}

static void finish(void)
{
    if (t.client != NULL)
        net_stream_close(t.client);
    if (t.back_stream != NULL)
        net_stream_close(t.back_stream);
    http_server_shutdown(t.front, 0, server_closed, NULL);
    http_server_shutdown(t.back, 0, server_closed, NULL);
    fixture_run_count(&t.closed, 2);
    buf_done(&t.got);
    buf_done(&t.send);
    buf_done(&t.back_got);
    fixture_done();
}

static bool holds(const struct buf *b, const char *what)
{
    return str_find_str(buf_str(b), str_of(what)) >= 0;
}

static void until_holds(const struct buf *b, const char *what)
{
    while (!holds(b, what) && !fx.expired)
        uv_run(&fx.loop, UV_RUN_ONCE);
    ck_assert_msg(!fx.expired, "never came: %s; there is: %.*s", what, (int)b->len,
                  (const char *)b->data);
}

static void send_frame(unsigned bits, const char *text, size_t len)
{
    uint8_t head[WS_HEADER_MAX];
    size_t n = ws_head(WS_BINARY, len, head);
    head[0] = (uint8_t)bits;
    head[1] |= 0x80;
    net_stream_write(t.client, head, n);
    net_stream_write(t.client, "\0\0\0\0", 4); /* A mask that leaves all as it is. */
    net_stream_write(t.client, text, len);
}

#define SPDY_HEAD "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n"
#define WS_HEAD(protocol)                                                                          \
    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: a2V5\r\n"               \
    "Sec-WebSocket-Protocol: " protocol "\r\n"

/* --- raw
 * --------------------------------------------------------------------------------------------------
 */

/* Bytes go both ways as they are, and each side's end is told to the other. */
START_TEST(raw_passes_bytes_and_ends)
{
    begin(BACK_ECHO, UPGRADE_COMMAND, SPDY_HEAD);
    until_holds(&t.got, "\r\n\r\n");
    ck_assert(holds(&t.got, "HTTP/1.1 101 ") && holds(&t.got, "upgrade: spdy/3.1\r\n"));
    ck_assert(holds(&t.got, "x-back: 1\r\n") && holds(&t.got, "x-front: 1\r\n"));
    ck_assert_str_eq(t.back_method, "GET");
    ck_assert_str_eq(t.back_extra, "kept");
    net_stream_write(t.client, "hello", 5);
    until_holds(&t.got, "hello");
    net_stream_shutdown(t.client);
    until_holds(&t.got, "bye"); /* Sent after our end was told. */
    ck_assert(t.back_eof);
    fixture_run(&t.client_closed);
    fixture_run_count(&t.ends, 1);
    ck_assert_uint_eq(t.back_closed, 1);
    finish();
}
END_TEST

/* A refusal comes through as it is. */
START_TEST(refusal_passes)
{
    begin(BACK_REFUSE, UPGRADE_COMMAND, SPDY_HEAD);
    until_holds(&t.got, "no tea");
    ck_assert(holds(&t.got, "HTTP/1.1 418 ") && holds(&t.got, "text/x-why"));
    fixture_run_count(&t.ends, 1);
    ck_assert_int_eq(t.answer_status, 418);
    finish();
}
END_TEST

START_TEST(no_server)
{
    begin(BACK_ECHO, UPGRADE_COMMAND, SPDY_HEAD);
    t.no_back = true;
    until_holds(&t.got, "failed");
    fixture_run_count(&t.ends, 1);
    ck_assert_uint_eq(t.fails, 1);
    ck_assert_int_eq(t.fail_code, E_UNAVAILABLE);
    finish();
}
END_TEST

/* A client that does not read holds the server back; little is held. */
START_TEST(back_pressure)
{
    begin(BACK_FLOOD, UPGRADE_PLAIN, SPDY_HEAD);
    t.client_paused = true;
    until_holds(&t.got, "\r\n\r\n");
    size_t before;
    unsigned still = 0;
    while (still < 50) { /* Until nothing moves any more. */
        before = t.flooded;
        uv_run(&fx.loop, UV_RUN_NOWAIT);
        uv_sleep(1);
        still = t.flooded == before ? still + 1 : 0;
    }
    ck_assert_uint_lt(t.flooded, FLOOD_BYTES / 2);
    t.client_paused = false;
    net_stream_resume(t.client);
    while (t.flooded < FLOOD_BYTES && !fx.expired)
        uv_run(&fx.loop, UV_RUN_ONCE);
    ck_assert(!fx.expired);
    finish();
}
END_TEST

/* Stopping ends both sides. */
START_TEST(stop)
{
    begin(BACK_ECHO, UPGRADE_PLAIN, SPDY_HEAD);
    until_holds(&t.got, "\r\n\r\n");
    upgrade_stop(t.upgrade);
    fixture_run(&t.client_closed);
    fixture_run_count(&t.back_closed, 1);
    fixture_run_count(&t.ends, 1);
    finish();
}
END_TEST

/* --- tunnelled
 * ---------------------------------------------------------------------------------------------- */

START_TEST(tunnel)
{
    begin(BACK_ECHO, UPGRADE_PORTS, WS_HEAD("SPDY/3.1+portforward.k8s.io"));
    until_holds(&t.got, "\r\n\r\n");
    ck_assert(holds(&t.got, "sec-websocket-protocol: SPDY/3.1+portforward.k8s.io\r\n"));
    ck_assert_str_eq(t.back_method, "POST");
    ck_assert_str_eq(t.back_upgrade, "spdy/3.1");
    ck_assert_str_eq(t.back_protocol, "portforward.k8s.io");
    send_frame(0x82, "in a message", 12);
    until_holds(&t.got, "\x82\x0cin a message");
    send_frame(0x89, "beat", 4);
    until_holds(&t.got, "\x8a\x04"
                        "beat");
    send_frame(0x88, "\x03\xe8", 2);
    until_holds(&t.got, "\x88\x02\x03\xe8");
    fixture_run(&t.client_closed);
    fixture_run_count(&t.ends, 1);
    ck_assert_uint_eq(t.back_closed, 1);
    finish();
}
END_TEST

/* --- commands
 * --------------------------------------------------------------------------------------------------
 */

/* SYN_STREAMs so far, each answered. */
static unsigned accept_streams(void)
{
    unsigned count = 0;
    for (size_t at = 0; at + 12 <= t.back_got.len;) {
        const uint8_t *f = t.back_got.data + at;
        at += 8 + ((size_t)f[5] << 16 | (size_t)f[6] << 8 | f[7]);
        if (f[0] != 0x80 || f[3] != 1 || at > t.back_got.len)
            continue;
        const uint8_t reply[12] = {0x80, 3, 0, 2, 0, 0, 0, 4, 0, 0, 0, f[11]};
        net_stream_write(t.back_stream, reply, sizeof(reply));
        count++;
    }
    buf_clear(&t.back_got);
    return count;
}

static void back_says(uint32_t id, const char *text, bool fin)
{
    AUTO_BUF b = BUF_INIT;
    spdy_data_head(&b, id, strlen(text), fin);
    buf_puts(&b, text);
    net_stream_write(t.back_stream, b.data, b.len);
}

static void begin_command(void)
{
    begin(BACK_COMMAND, UPGRADE_COMMAND, WS_HEAD("v4.channel.k8s.io, v5.channel.k8s.io"));
    until_holds(&t.got, "\r\n\r\n");
    ck_assert(holds(&t.got, "sec-websocket-protocol: v5.channel.k8s.io\r\n"));
    ck_assert_str_eq(t.back_protocol, "v4.channel.k8s.io");
    buf_clear(&t.got);
    send_frame(0x82, "\0early", 6); /* Not to be read before the streams are there. */
    while (t.back_got.len < 40 && !fx.expired)
        uv_run(&fx.loop, UV_RUN_ONCE);
    ck_assert_uint_eq(accept_streams(), 3); /* error 1, stdin 3, stdout 5 */
    until_holds(&t.back_got, "early");
}

/* Channels become streams and back; stdin's end is told; the end is orderly. */
START_TEST(command)
{
    begin_command();
    ck_assert(str_eq(buf_str(&t.back_got), STR("\0\0\0\3\0\0\0\5early")));
    buf_clear(&t.back_got);
    send_frame(0x02, "\0sp", 3); /* A message in two frames; */
    send_frame(0x80, "lit", 3);
    send_frame(0x82, "\1nobody's", 9); /* stdout is not the client's; */
    send_frame(0x82, "\4{}", 3);       /* nor has this command a terminal. */
    send_frame(0x82, "\xff\0", 2);
    send_frame(0x82, "\0late", 5);
    until_holds(&t.back_got, "lit");
    ck_assert_uint_eq(t.back_got.len, 10 + 11 + 8);
    ck_assert_int_eq(memcmp(t.back_got.data + 21, "\0\0\0\3\1\0\0\0", 8), 0);
    back_says(5, "out", false);
    until_holds(&t.got, "\x82\x04\x01out");
    back_says(5, "", true);
    back_says(1, "{\"status\":\"Success\"}", true);
    until_holds(&t.got, "\x03{\"status\":\"Success\"}\x88\x02\x03\xe8");
    fixture_run(&t.client_closed);
    fixture_run_count(&t.ends, 1);
    ck_assert_uint_eq(t.back_closed, 1);
    finish();
}
END_TEST

/* A server that is lost before the command ended is an error, not an end. */
START_TEST(command_lost)
{
    begin_command();
    net_stream_close(t.back_stream);
    until_holds(&t.got, "\"status\":\"Failure\"");
    until_holds(&t.got, "\x88\x02\x03\xe8");
    fixture_run(&t.client_closed);
    fixture_run_count(&t.ends, 1);
    finish();
}
END_TEST

/* Stopping tells a command's client why. */
START_TEST(command_stopped)
{
    begin_command();
    upgrade_stop(t.upgrade);
    until_holds(&t.got, "the server is shutting down");
    until_holds(&t.got, "\x88\x02\x03\xe9");
    fixture_run(&t.client_closed);
    fixture_run_count(&t.ends, 1);
    finish();
}
END_TEST

/* The client's loss ends the server's side. */
START_TEST(command_abandoned)
{
    begin_command();
    net_stream_close(t.client);
    fixture_run_count(&t.back_closed, 1);
    fixture_run_count(&t.ends, 1);
    finish();
}
END_TEST

/* A client that breaks WebSocket's rules is told so. */
START_TEST(command_malformed)
{
    begin_command();
    net_stream_write(t.client, "\x82\x01x.....", 8);
    until_holds(&t.got, "\x88\x02\x03\xea");
    fixture_run_count(&t.ends, 1);
    finish();
}
END_TEST

/* A server that agrees to none of our protocols. */
START_TEST(command_no_protocol)
{
    begin(BACK_DUMB, UPGRADE_COMMAND, WS_HEAD("v5.channel.k8s.io"));
    until_holds(&t.got, "failed");
    ck_assert_int_eq(t.fail_code, E_INTERNAL);
    fixture_run_count(&t.ends, 1);
    finish();
}
END_TEST

/* Older WebSocket protocols are the server's own business. */
START_TEST(older_websocket_is_raw)
{
    begin(BACK_ECHO, UPGRADE_COMMAND, WS_HEAD("v4.channel.k8s.io"));
    until_holds(&t.got, "\r\n\r\n");
    ck_assert_str_eq(t.back_method, "GET");
    ck_assert_str_eq(t.back_upgrade, "websocket");
    finish();
}
END_TEST

START_TEST(malformed_handshake)
{
    begin(BACK_ECHO, UPGRADE_COMMAND,
          "Upgrade: websocket\r\nSec-WebSocket-Version: 12\r\nSec-WebSocket-Key: a2V5\r\n"
          "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n");
    until_holds(&t.got, "bad");
    ck_assert_int_eq(t.fail_code, E_INVALID);
    finish();
}
END_TEST

UNIT_MAIN("upgrade", UNIT_TEST(raw_passes_bytes_and_ends); UNIT_TEST(refusal_passes);
          UNIT_TEST(no_server); UNIT_TEST(back_pressure); UNIT_TEST(stop); UNIT_TEST(tunnel);
          UNIT_TEST(command); UNIT_TEST(command_lost); UNIT_TEST(command_stopped);
          UNIT_TEST(command_abandoned); UNIT_TEST(command_malformed);
          UNIT_TEST(command_no_protocol); UNIT_TEST(older_websocket_is_raw);
          UNIT_TEST(malformed_handshake))
