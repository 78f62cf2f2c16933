/* test_http_raw.c - the server against bytes that no good client sends, byte by
 * byte and in time. */
#include "test/unit/net/http_fixture.h"

/* --- a raw client: sends text, collects the answer until the end --- */

struct raw {
    struct net_stream *stream;
    struct str send;
    bool slow; /* One byte per round. */
    size_t sent;
    bool closed;
    struct buf got;
    struct error err;
    uv_idle_t idle;
};

static void raw_round(uv_idle_t *idle)
{
    struct raw *w = CONTAINER_OF(idle, struct raw, idle);
    if (w->closed || w->sent == w->send.len) {
        uv_idle_stop(idle);
        return;
    }
    net_stream_write(w->stream, w->send.data + w->sent++, 1);
    net_stream_flush(w->stream);
}

static void raw_on_open(struct net_stream *s, void *arg)
{
    struct raw *w = arg;
    if (w->slow)
        uv_idle_start(&w->idle, raw_round);
    else
        net_stream_write(s, w->send.data, w->send.len);
}

static void raw_on_read(struct net_stream *s, const uint8_t *data, size_t len, void *arg)
{
    UNUSED(s);
    buf_append(&((struct raw *)arg)->got, data, len);
}

static void raw_idle_closed(uv_handle_t *handle)
{
    CONTAINER_OF((uv_idle_t *)handle, struct raw, idle)->closed = true;
}

static void raw_on_close(struct net_stream *s, const struct error *err, void *arg)
{
    UNUSED(s);
    struct raw *w = arg;
    w->err = *err;
    uv_close((uv_handle_t *)&w->idle, raw_idle_closed);
}

static const struct net_stream_handler RAW = {
    .on_open = raw_on_open, .on_read = raw_on_read, .on_close = raw_on_close};

static void raw_start(struct raw *w, struct http_server *s, struct str text)
{
    struct error err = {0};
    AUTO_FREE char *endpoint = xasprintf("127.0.0.1:%d", http_server_port(s));
    struct net_connect_config config = {.endpoint = endpoint};
    w->send = text;
    w->sent = 0;
    w->closed = false;
    buf_clear(&w->got);
    uv_idle_init(&fx.loop, &w->idle);
    ck_assert_int_eq(net_stream_connect(&fx.loop, &config, &RAW, w, &w->stream, &err), 0);
}

/* The whole exchange; the answer with NUL. */
static const char *raw_exchange(struct raw *w, struct http_server *s, struct str text)
{
    raw_start(w, s, text);
    fixture_run(&w->closed);
    buf_putc(&w->got, '\0');
    return (const char *)w->got.data;
}

static size_t occurrences(const char *text, const char *what)
{
    size_t count = 0;
    for (const char *p = text; (p = strstr(p, what)) != NULL; p += strlen(what))
        count++;
    return count;
}

/* --- HTTP/1 --- */

/* What is malformed, ambiguous or unsupported gets its status and the connection ends. */
START_TEST(bad_requests)
{
    static const struct {
        const char *text;
        const char *status;
    } CASES[] = {
        {"GARBAGE\r\n\r\n", "400"},
        {"GET\r\n\r\n", "400"},
        {"GET / HTTP/1.1\r\n\r\n", "400"},
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"},
        {"GET / HTTP/1.1\r\nHost a\r\n\r\n", "400"},
        {"GET / HTTP/3.0\r\nHost: a\r\n\r\n", "400"},
        {"GET x HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: a\0b\r\n\r\n", "400"},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", "400"},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n", "400"},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", "400"},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
         "400"},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "501"},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400"},
        {"POST / HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\nContent-Length: 1\r\n\r\n", "417"},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", "413"},
    };
    fixture_init();
    struct http_server *s = serve(NULL);
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        for (int slow = 0; slow < 2; slow++) {
            struct raw w = {.slow = slow == 1};
            size_t len = strlen(CASES[i].text);
            if (strstr(CASES[i].text, "X: a") != NULL)
                len += strlen(CASES[i].text + len + 1) + 1; /* A NUL inside. */
            const char *got = raw_exchange(&w, s, str_n(CASES[i].text, len));
            ck_assert_msg(w.got.len > 13 && strncmp(got + 9, CASES[i].status, 3) == 0,
                          "case %zu: %s", i, got);
            ck_assert_msg(strstr(got, "connection: close") != NULL, "case %zu: %s", i, got);
            buf_done(&w.got);
        }
    }
    ck_assert_uint_eq(served.requests, 0);
    stop_serving(s);
    fixture_done();
}
END_TEST

static void error_body(struct http_request *r, int status, const char *text, struct buf *b,
                       const char **ret_content_type, void *arg)
{
    UNUSED(arg);
    *ret_content_type = "application/json";
    buf_printf(b, "{\"code\":%d,\"known\":%d,\"text\":\"%s\"}", status, r != NULL, text);
}

/* The owner of the server words its errors; r is there once a head could be read. */
START_TEST(error_bodies)
{
    fixture_init();
    struct http_server *s;
    struct http_server_config config = {
        .name = "test", .on_request = serve_request, .on_error_body = error_body};
    struct net_listen_config listen = {.address = "127.0.0.1:0"};
    server_closed = false;
    ck_assert_int_eq(http_server_new(&fx.loop, &config, &s, NULL), 0);
    ck_assert_int_eq(http_server_listen(s, &listen, NULL), 0);
    struct http_server *idle;
    ck_assert_int_eq(http_server_new(&fx.loop, &config, &idle, NULL), 0);
    stop_serving(idle); /* One that never listened ends, too. */
    server_closed = false;
    struct raw w = {0};
    const char *got = raw_exchange(&w, s, STR("NONSENSE\r\n\r\n"));
    ck_assert_msg(strstr(got, "application/json\r\n") != NULL &&
                      strstr(got, "{\"code\":400,\"known\":0,") != NULL,
                  "%s", got);
    got = raw_exchange(&w, s, STR("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n"));
    ck_assert_msg(
        strstr(got, "{\"code\":413,\"known\":1,\"text\":\"the request body is too large\"}") !=
            NULL,
        "%s", got);
    buf_done(&w.got);
    stop_serving(s);
    fixture_done();
}
END_TEST

/* Requests sent together are answered in order, however the bytes are cut. */
START_TEST(pipelining)
{
    static const char TEXT[] =
        "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nfirst"
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nsec\r\n3;x=y\r\nond\r\n0\r\nTrailer: t\r\n\r\n"
        "HEAD /4 HTTP/1.1\r\nHost: a\r\n\r\n"
        "\r\nGET /5 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        "GET /6 HTTP/1.1\r\nHost: a\r\n\r\n";
    fixture_init();
    struct http_server *s = serve(NULL);
    for (int slow = 0; slow < 2; slow++) {
        struct raw w = {.slow = slow == 1};
        served.requests = 0;
        const char *got = raw_exchange(&w, s, str_of(TEXT));
        ck_assert_uint_eq(occurrences(got, "HTTP/1.1 200 OK\r\n"), 5);
        ck_assert_uint_eq(occurrences(got, "hello\n"), 2);
        ck_assert_ptr_nonnull(strstr(got, "\r\n\r\nfirstHTTP/1.1"));
        ck_assert_ptr_nonnull(strstr(got, "\r\n\r\nsecondHTTP/1.1"));
        ck_assert_ptr_null(strstr(got, "x-path: /6"));
        ck_assert_uint_eq(served.requests, 5);
        buf_done(&w.got);
    }
    stop_serving(s);
    fixture_done();
}
END_TEST

/* HTTP/1.0: the connection ends with the answer unless asked to stay. */
START_TEST(http_1_0)
{
    fixture_init();
    struct http_server *s = serve(NULL);
    struct raw w = {0};
    const char *got = raw_exchange(&w, s, STR("GET / HTTP/1.0\r\n\r\n"));
    ck_assert_ptr_nonnull(strstr(got, "connection: close"));
    got = raw_exchange(&w, s, STR("GET /big?10 HTTP/1.0\r\n\r\n"));
    ck_assert_ptr_null(strstr(got, "chunked"));
    got = raw_exchange(&w, s,
                       STR("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
                           "GET / HTTP/1.0\r\n\r\n"));
    ck_assert_uint_eq(occurrences(got, "200 OK"), 2);
    buf_done(&w.got);
    stop_serving(s);
    fixture_done();
}
END_TEST

/* A client that waits for permission gets it, if the body is wanted. */
START_TEST(expect_continue)
{
    fixture_init();
    struct http_server *s = serve(NULL);
    struct raw w = {0};
    const char *got = raw_exchange(&w, s,
                                   STR("POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                                       "Connection: close\r\nContent-Length: 2\r\n\r\nok"));
    ck_assert_int_eq(strncmp(got, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", 42), 0);
    got = raw_exchange(&w, s,
                       STR("POST /early HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                           "Content-Length: 2\r\n\r\n"));
    ck_assert_int_eq(strncmp(got, "HTTP/1.1 403 ", 13), 0);
    buf_done(&w.got);
    stop_serving(s);
    fixture_done();
}
END_TEST

/* Heads, bodies and idle connections have deadlines. */
START_TEST(deadlines)
{
    struct http_server_limits limits = {
        .header_timeout_ms = 40, .idle_timeout_ms = 40, .body_timeout_ms = 40};
    fixture_init();
    struct http_server *s = serve_with(&limits, NULL, "127.0.0.1:0");
    struct raw w = {0};
    raw_exchange(&w, s, STR("")); /* Not a byte. */
    ck_assert_uint_eq(w.got.len, 1);
    raw_exchange(&w, s, STR("PRI * HTTP/2.0\r\n")); /* Undecided. */
    raw_exchange(&w, s, STR("GET / HTTP/1.1\r\nHost:"));
    const char *got = raw_exchange(&w, s, STR("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    ck_assert_uint_eq(occurrences(got, "200 OK"), 1);
    got = raw_exchange(&w, s, STR("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab"));
    ck_assert_uint_eq(occurrences(got, " 408 "), 1);
    raw_exchange(&w, s, STR("POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab"));
    ck_assert_uint_eq(served.aborts, 1);
    buf_done(&w.got);
    stop_serving(s);
    fixture_done();
}
END_TEST

/* A client that leaves while the handler works is noticed. */
START_TEST(client_leaves)
{
    fixture_init();
    struct http_server *s = serve(NULL);
    struct raw w = {0};
    raw_start(&w, s, STR("GET /hang HTTP/1.1\r\nHost: a\r\n\r\n"));
    fixture_run_count(&served.hanging, 1);
    net_stream_close(w.stream);
    fixture_run_count(&served.aborts, 1);
    fixture_run(&w.closed);
    raw_start(&w, s, STR("GET /hang?silent HTTP/1.1\r\nHost: a\r\n\r\n"));
    fixture_run_count(&served.hanging, 1);
    net_stream_shutdown(w.stream);
    fixture_run_count(&served.aborts, 2);
    fixture_run(&w.closed);
    buf_done(&w.got);
    stop_serving(s);
    fixture_done();
}
END_TEST

/* Accepting rests at the limit and goes on when a connection ends. */
START_TEST(connection_limit)
{
    struct http_server_limits limits = {.connections_max = 2};
    fixture_init();
    struct http_server *s = serve_with(&limits, NULL, "127.0.0.1:0");
    struct raw w[3] = {{0}, {0}, {0}};
    raw_start(&w[0], s, STR("GET /hang HTTP/1.1\r\nHost: a\r\n\r\n"));
    raw_start(&w[1], s, STR("GET /hang HTTP/1.1\r\nHost: a\r\n\r\n"));
    fixture_run_count(&served.hanging, 2);
    raw_start(&w[2], s, STR("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    for (int i = 0; i < 100; i++)
        uv_run(&fx.loop, UV_RUN_NOWAIT);
    ck_assert_uint_eq(w[2].got.len, 0);
    net_stream_close(w[0].stream);
    fixture_run(&w[2].closed);
    ck_assert_uint_gt(w[2].got.len, 0);
    net_stream_close(w[1].stream);
    fixture_run(&w[1].closed);
    for (size_t i = 0; i < ARRAY_SIZE(w); i++)
        buf_done(&w[i].got);
    stop_serving(s);
    fixture_done();
}
END_TEST

/* --- HTTP/2 --- */

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

static void put_frame(struct buf *b, uint8_t type, uint8_t flags, uint32_t stream,
                      struct str payload)
{
    uint8_t head[9] = {(uint8_t)(payload.len >> 16),
                       (uint8_t)(payload.len >> 8),
                       (uint8_t)payload.len,
                       type,
                       flags,
                       (uint8_t)(stream >> 24),
                       (uint8_t)(stream >> 16),
                       (uint8_t)(stream >> 8),
                       (uint8_t)stream};
    buf_append(b, head, sizeof(head));
    buf_append_str(b, payload);
}

/* GET / as indexed fields, with :authority "a". */
#define HEAD_GET                                                                                   \
    STR("\x82\x86\x84\x41\x01"                                                                     \
        "a")

/* Frames that break the protocol end the connection, with a GOAWAY. */
START_TEST(bad_frames)
{
    fixture_init();
    struct http_server *s = serve(NULL);
    for (int i = 0; i < 7; i++) {
        AUTO_BUF b = BUF_INIT;
        buf_puts(&b, PREFACE);
        if (i > 0)
            put_frame(&b, 4, 0, 0, STR(""));
        switch (i) {
        case 0: /* No SETTINGS first. */
            put_frame(&b, 1, 5, 1, HEAD_GET);
            break;
        case 1: /* DATA for no stream. */
            put_frame(&b, 0, 0, 1, STR("x"));
            break;
        case 2: /* A head that HPACK cannot read. */
            put_frame(&b, 1, 5, 1, STR("\xff\xff\xff\xff\xff\xff\xff"));
            break;
        case 3: /* An even stream. */
            put_frame(&b, 1, 5, 2, HEAD_GET);
            break;
        case 4: /* SETTINGS of a wrong size. */
            put_frame(&b, 4, 0, 0, STR("abc"));
            break;
        case 5: /* A frame larger than allowed. */
            buf_append(&b, "\xff\xff\xff\x00\x00\x00\x00\x00\x01", 9);
            break;
        default: /* A head without end. */
            put_frame(&b, 1, 1, 1, HEAD_GET);
            for (int k = 0; k < 100000; k++)
                put_frame(&b, 9, 0, 1, STR(""));
        }
        struct raw w = {0};
        raw_exchange(&w, s, buf_str(&b));
        ck_assert_uint_eq(served.requests, 0);
        buf_done(&w.got);
    }
    stop_serving(s);
    fixture_done();
}
END_TEST

/* Requests taken back as fast as they are made: the server ends it ("rapid reset"). */
START_TEST(rapid_reset)
{
    fixture_init();
    struct http_server *s = serve(NULL);
    AUTO_BUF b = BUF_INIT;
    buf_puts(&b, PREFACE);
    put_frame(&b, 4, 0, 0, STR(""));
    for (uint32_t id = 1; id < 20000; id += 2) {
        put_frame(&b, 1, 5, id, HEAD_GET);
        put_frame(&b, 3, 0, id, STR("\0\0\0\x08"));
    }
    struct raw w = {0};
    raw_exchange(&w, s, buf_str(&b));
    ck_assert_uint_gt(served.requests, 100);
    ck_assert_uint_lt(served.requests, 1100);
    buf_done(&w.got);
    stop_serving(s);
    fixture_done();
}
END_TEST

/* A client with a closed window neither gets data nor stops others, and is cut off in time. */
START_TEST(stuck_reader)
{
    struct http_server_limits limits = {.write_timeout_ms = 100};
    fixture_init();
    struct http_server *s = serve_with(&limits, NULL, "127.0.0.1:0");
    AUTO_BUF b = BUF_INIT;
    buf_puts(&b, PREFACE);
    put_frame(&b, 4, 0, 0, STR("\0\x04\0\0\0\0")); /* INITIAL_WINDOW_SIZE = 0 */
    AUTO_BUF head = BUF_INIT;
    buf_append(&head,
               "\x82\x86\x41\x01"
               "a"
               "\x04\x0b/big?900000",
               18);
    put_frame(&b, 1, 5, 1, buf_str(&head));
    struct raw w = {0};
    raw_start(&w, s, buf_str(&b));
    fixture_run_count(&served.aborts, 1);
    struct http_client_config config = {.protocol = HTTP_CLIENT_H2};
    struct http_client *c = connect_with(&config, http_server_port(s));
    struct result r = {0};
    get(c, &r, "/");
    expect_ok(&r);
    result_clear(&r);
    stop_client(c);
    net_stream_close(w.stream);
    fixture_run(&w.closed);
    buf_done(&w.got);
    stop_serving(s);
    fixture_done();
}
END_TEST

/* --- responses in messages --- */

#define ASK(more)                                                                                  \
    "GET /messages" more " HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: "    \
    "websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "                                \
    "dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
#define SAID "\x81\x03one\x81\x00\x81\x7f\x00\x00\x00\x00\x00\x01\x11\x6f"

/* What follows the answer's head and the three messages; NULL: they are not there. */
static const char *behind_messages(struct raw *w, size_t *ret_len)
{
    const char *at = strstr((const char *)w->got.data, "\r\n\r\n");
    size_t said = sizeof(SAID) - 1;
    if (at == NULL || memcmp(at + 4, SAID, said) != 0 || at[4 + said] != 'x')
        return NULL;
    at += 4 + said + 69999;
    *ret_len = (size_t)((const char *)w->got.data + w->got.len - 1 - at);
    return at;
}

START_TEST(messages)
{
    /* Clients mask with a key; this one is zero. */
    static const struct {
        const char *text;
        size_t len, aborts;
        const char *behind;
        size_t behind_len;
    } CASES[] = {
#define CASE(said, aborts, behind) {said, sizeof(said) - 1, aborts, behind, sizeof(behind) - 1}
        CASE(ASK(""), 0, "\x88\x02\x03\xe8"),
        CASE(ASK("?stay") "\x89\x82\0\0\0\0hi\x81\x81\0\0\0\0x\x88\x82\0\0\0\0\x03\xe8", 1,
             "\x8a\x02hi\x88\x02\x03\xe8"),
        CASE(ASK("?stay") "\x81\x01xyz1234", 1, "\x88\x02\x03\xea"), /* Not masked. */
    };
    fixture_init();
    struct http_server *s = serve(NULL);
    for (size_t i = 0; i < 2 * ARRAY_SIZE(CASES); i++) {
        struct raw w = {.slow = i % 2 != 0};
        size_t len = 0;
        served.aborts = 0;
        const char *got = raw_exchange(&w, s, str_n(CASES[i / 2].text, CASES[i / 2].len));
        ck_assert_msg(str_has_prefix(str_of(got), STR("HTTP/1.1 101 Switching Protocols\r\n")),
                      "%s", got);
        ck_assert_ptr_nonnull(
            strstr(got, "\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        ck_assert_ptr_nonnull(strstr(got, "\r\nsec-websocket-protocol: sub\r\n"));
        const char *behind = behind_messages(&w, &len);
        ck_assert_ptr_nonnull(behind);
        ck_assert_uint_eq(served.aborts, CASES[i / 2].aborts);
        ck_assert_uint_eq(len, CASES[i / 2].behind_len);
        ck_assert_mem_eq(behind, CASES[i / 2].behind, len);
        buf_done(&w.got);
    }
    stop_serving(s);
    fixture_done();
}
END_TEST

START_TEST(no_messages)
{
    static const struct {
        const char *text, *why;
    } CASES[] = {
        {"GET /messages HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "asks for no WebSocket"},
        {"POST /messages HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: "
         "websocket\r\n"
         "Content-Length: 0\r\n\r\n",
         "asks for no WebSocket"},
        {"GET /messages HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n"
         "Sec-WebSocket-Key: dGhl\r\nSec-WebSocket-Version: 8\r\n\r\n",
         "Sec-WebSocket-Version: only 13 is known"},
        {"GET /messages HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n"
         "Sec-WebSocket-Version: 13\r\n\r\n",
         "Sec-WebSocket-Key: a key is wanted"},
    };
    fixture_init();
    struct http_server *s = serve(NULL);
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        struct raw w = {0};
        const char *got = raw_exchange(&w, s, str_of(CASES[i].text));
        ck_assert_msg(strstr(got, " 400 ") != NULL && strstr(got, CASES[i].why) != NULL, "%s", got);
        buf_done(&w.got);
    }
    stop_serving(s);
    fixture_done();
}
END_TEST

UNIT_MAIN("http_raw", UNIT_TEST(bad_requests); UNIT_TEST(error_bodies); UNIT_TEST(pipelining);
          UNIT_TEST(http_1_0); UNIT_TEST(expect_continue); UNIT_TEST(deadlines);
          UNIT_TEST(client_leaves); UNIT_TEST(connection_limit); UNIT_TEST(bad_frames);
          UNIT_TEST(rapid_reset); UNIT_TEST(stuck_reader); UNIT_TEST(messages);
          UNIT_TEST(no_messages))
