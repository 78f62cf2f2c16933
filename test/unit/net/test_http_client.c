/* test_http_client.c - the client's pool: other endpoints, dead and odd servers,
 * upgrades, blocking use. */
#include "test/unit/net/http_fixture.h"

#include <pthread.h>
#include <unistd.h>

/* --- a server that answers each request head with a script --- */

static struct script {
    struct net_listener *listener;
    const char
        *answers[4];  /* For the requests in turn, on whatever connection; the last repeats. */
    bool close_after; /* Each answer ends the connection. */
    size_t requests, connections;
    struct net_stream *last;
    bool closed;
} script;

static void script_on_read(struct net_stream *s, const uint8_t *data, size_t len, void *arg)
{
    UNUSED(arg);
    /* Tests send heads in one piece. */
    if (len < 4 || memcmp(data + len - 4, "\r\n\r\n", 4) != 0)
        return;
    size_t i = MIN_OF(script.requests, ARRAY_SIZE(script.answers) - 1);
    while (i > 0 && script.answers[i] == NULL)
        i--;
    script.requests++;
    if (script.answers[i] != NULL)
        net_stream_write(s, script.answers[i], strlen(script.answers[i]));
    if (script.close_after)
        net_stream_close_soft(s);
}

static void script_on_close(struct net_stream *s, const struct error *err, void *arg)
{
    UNUSED(err);
    UNUSED(arg);
    if (script.last == s)
        script.last = NULL;
}

static void script_on_accept(struct net_listener *l, struct net_stream *s,
                             const struct net_stream_handler **ret_handler, void **ret_arg,
                             void *arg)
{
    static const struct net_stream_handler HANDLER = {.on_read = script_on_read,
                                                      .on_close = script_on_close};
    UNUSED(l);
    UNUSED(arg);
    script.connections++;
    script.last = s;
    *ret_handler = &HANDLER;
    *ret_arg = NULL;
}

static void script_on_closed(void *arg)
{
    UNUSED(arg);
    script.closed = true;
}

static int script_start(void)
{
    struct error err = {0};
    struct net_listen_config config = {.address = "127.0.0.1:0", .on_accept = script_on_accept};
    script = (struct script){0};
    ck_assert_int_eq(net_listener_new(&fx.loop, &config, &script.listener, &err), 0);
    return net_listener_port(script.listener);
}

static void script_stop(void)
{
    net_listener_close(script.listener, script_on_closed, NULL);
    if (script.last != NULL)
        net_stream_close(script.last);
    fixture_run(&script.closed);
}

/* A port that nobody listens on. */
static int closed_port(void)
{
    int port = script_start();
    script_stop();
    return port;
}

/* --- endpoints --- */

/* A dead endpoint is passed over, and the next call goes straight to the live one. */
START_TEST(failover)
{
    fixture_init();
    AUTO_FREE char *dead = xasprintf("127.0.0.1:%d", closed_port());
    struct http_server *s = serve(NULL);
    AUTO_FREE char *live = xasprintf("127.0.0.1:%d", http_server_port(s));
    const char *endpoints[] = {dead, live};
    struct http_client_config config = {.endpoints = endpoints, .endpoint_count = 2};
    struct http_client *c = connect_with(&config, 0);
    struct result r = {0};
    get(c, &r, "/");
    expect_ok(&r);
    get(c, &r, "/");
    expect_ok(&r);
    result_clear(&r);
    stop_client(c);
    stop_serving(s);
    fixture_done();
}
END_TEST

/* With none alive calls fail after the rounds asked for, and say why. */
START_TEST(nobody_there)
{
    fixture_init();
    AUTO_FREE char *dead = xasprintf("127.0.0.1:%d", closed_port());
    AUTO_FREE char *unix_dead = xasprintf("/tmp/trireme-no-such-socket-%d", getpid());
    const char *endpoints[] = {unix_dead, dead};
    struct http_client_config config = {
        .endpoints = endpoints, .endpoint_count = 2, .connect_rounds = 3, .backoff_max_ms = 60};
    struct http_client *c = connect_with(&config, 0);
    struct result r = {0};
    get(c, &r, "/");
    ck_assert_int_eq(r.err.code, E_UNAVAILABLE);
    ck_assert_msg(strstr(r.err.message, "connection refused") != NULL, "%s", r.err.message);
    /* A deadline is kept even between rounds. */
    call(c, &r, (struct http_call_config){.target = "/", .timeout_ms = 1});
    ck_assert(r.err.code == E_TIMEOUT || r.err.code == E_UNAVAILABLE);
    result_clear(&r);
    stop_client(c);
    fixture_done();
}
END_TEST

static struct http_server *late_server;
static char late_address[32];

static void start_late(uv_timer_t *timer)
{
    late_server = serve_with(NULL, NULL, late_address);
    uv_close((uv_handle_t *)timer, NULL);
}

/* A server that comes up while the client is trying gets the call. */
START_TEST(server_comes_up)
{
    fixture_init();
    snprintf(late_address, sizeof(late_address), "127.0.0.1:%d", closed_port());
    const char *endpoints[] = {late_address};
    struct http_client_config config = {
        .endpoints = endpoints, .endpoint_count = 1, .connect_rounds = 1000, .backoff_max_ms = 20};
    struct http_client *c = connect_with(&config, 0);
    uv_timer_t timer;
    uv_timer_init(&fx.loop, &timer);
    uv_timer_start(&timer, start_late, 60, 0);
    struct result r = {0};
    get(c, &r, "/");
    expect_ok(&r);
    result_clear(&r);
    stop_client(c);
    stop_serving(late_server);
    fixture_done();
}
END_TEST

/* Names are resolved; other endpoints take over on request. */
START_TEST(new_endpoints)
{
    fixture_init();
    struct http_server *s = serve(NULL);
    int first_port = http_server_port(s);
    AUTO_FREE char *by_name = xasprintf("localhost:%d", first_port);
    const char *endpoints[] = {by_name};
    struct http_client_config config = {.endpoints = endpoints, .endpoint_count = 1};
    struct http_client *c = connect_with(&config, 0);
    struct result r = {0};
    get(c, &r, "/");
    expect_ok(&r);
    stop_serving(s);
    s = serve(NULL);
    AUTO_FREE char *second = xasprintf("127.0.0.1:%d", http_server_port(s));
    const char *others[] = {second};
    struct error err = {0};
    ck_assert_int_eq(http_client_set_endpoints(c, others, 1, &err), 0);
    get(c, &r, "/");
    expect_ok(&r);
    ck_assert_uint_eq(served.requests, 1);
    http_client_reconnect(c);
    get(c, &r, "/");
    expect_ok(&r);
    struct http_server_stats stats;
    http_server_get_stats(s, &stats);
    ck_assert_uint_eq(stats.connections_total, 2);
    result_clear(&r);
    stop_client(c);
    stop_serving(s);
    fixture_done();
}
END_TEST

/* Malformed configurations and calls are refused at once. */
START_TEST(bad_arguments)
{
    fixture_init();
    struct http_client *c;
    struct error err = {0};
    struct http_client_config config = {0};
    ck_assert_int_eq(http_client_new(&fx.loop, &config, &c, &err), E_INVALID);
    const char *endpoints[] = {"no-port"};
    config.endpoints = endpoints;
    config.endpoint_count = 1;
    c = connect_with(&config, 0);
    struct result r = {0};
    get(c, &r, "/");
    ck_assert_int_eq(r.err.code, E_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(r.err.message, "missing port"));
    struct http_header bad = {STR("x"), STR("a\r\nb: c")};
    struct http_call_config call_config = {.target = "/", .on_end = result_on_end};
    call_config.headers = &bad;
    call_config.header_count = 1;
    ck_assert_int_eq(http_call_start(c, &call_config, NULL, &err), E_INVALID);
    call_config.header_count = 0;
    call_config.target = "relative";
    ck_assert_int_eq(http_call_start(c, &call_config, NULL, &err), E_INVALID);
    call_config.target = "/a b";
    ck_assert_int_eq(http_call_start(c, &call_config, NULL, &err), E_INVALID);
    result_clear(&r);
    stop_client(c);
    fixture_done();
}
END_TEST

/* --- odd servers --- */

/* What servers send that is well-formed but unusual. */
START_TEST(odd_answers)
{
    fixture_init();
    int port = script_start();
    struct http_client_config config = {.protocol = HTTP_CLIENT_H1};
    struct http_client *c = connect_with(&config, port);
    struct result r = {0};
    script.answers[0] = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
                        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    get(c, &r, "/");
    expect_ok(&r);
    ck_assert(str_eqc(buf_str(&r.body), "ok"));
    script.answers[1] = "HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n\r\n"
                        "1;a=b\r\nx\r\n2\r\nyz\r\n0\r\nT: v\r\n\r\n";
    get(c, &r, "/");
    expect_ok(&r);
    ck_assert(str_eqc(buf_str(&r.body), "xyz"));
    ck_assert_uint_eq(script.connections, 1);
    script.answers[2] = "HTTP/1.0 200 OK\r\n\r\nuntil the end";
    script.close_after = true;
    get(c, &r, "/");
    expect_ok(&r);
    ck_assert(str_eqc(buf_str(&r.body), "until the end"));
    script.answers[3] = "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n";
    get(c, &r, "/");
    ck_assert_int_eq(r.err.code, 0);
    ck_assert_int_eq(r.status, 304);
    result_clear(&r);
    stop_client(c);
    script_stop();
    fixture_done();
}
END_TEST

/* What is malformed or cut short is an error, never a short answer. */
START_TEST(bad_answers)
{
    static const struct {
        const char *answer;
        int code;
    } CASES[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", E_CLOSED},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", E_CLOSED},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nq\r\n", E_INVALID},
        {"HTTP/1.1 200 OK\r\nContent-Le", E_CLOSED},
        {"NOT HTTP\r\n\r\n", E_INVALID},
        {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
         E_INVALID},
        {"HTTP/2.0 200 OK\r\n\r\n", E_INVALID},
        {"", E_CLOSED},
    };
    fixture_init();
    int port = script_start();
    script.close_after = true;
    struct http_client_config config = {.protocol = HTTP_CLIENT_H1};
    struct http_client *c = connect_with(&config, port);
    struct result r = {0};
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        script.answers[0] = CASES[i].answer;
        script.requests = 0;
        get(c, &r, "/");
        ck_assert_msg(r.err.code == CASES[i].code, "case %zu: %d %s", i, r.err.code, r.err.message);
        ck_assert_uint_eq(script.requests, 1);
    }
    result_clear(&r);
    stop_client(c);
    script_stop();
    fixture_done();
}
END_TEST

/* A kept connection that the server has closed: GET is asked again, POST is not. */
START_TEST(stale_connection)
{
    fixture_init();
    int port = script_start();
    struct http_client_config config = {.protocol = HTTP_CLIENT_H1};
    struct http_client *c = connect_with(&config, port);
    struct result r = {0};
    script.answers[0] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    get(c, &r, "/");
    expect_ok(&r);
    /* The next request on this connection gets the end of it for an answer. */
    script.close_after = true;
    script.answers[1] = "";
    script.answers[2] = script.answers[0];
    get(c, &r, "/");
    expect_ok(&r);
    ck_assert_uint_eq(script.requests, 3);
    ck_assert_uint_eq(script.connections, 2);

    script.close_after = false;
    script.requests = 0;
    get(c, &r, "/");
    expect_ok(&r);
    script.close_after = true;
    call(c, &r, (struct http_call_config){.method = "POST", .target = "/"});
    ck_assert_int_eq(r.err.code, E_CLOSED);
    ck_assert_uint_eq(script.requests, 2);
    result_clear(&r);
    stop_client(c);
    script_stop();
    fixture_done();
}
END_TEST

/* An HTTP/2 server that falls silent is found out by PING. */
START_TEST(dead_peer)
{
    fixture_init();
    int port = script_start();
    struct http_client_config config = {
        .protocol = HTTP_CLIENT_H2, .ping_interval_ms = 30, .ping_timeout_ms = 30};
    struct http_client *c = connect_with(&config, port);
    struct result r = {0};
    get(c, &r, "/");
    ck_assert_int_eq(r.err.code, E_IO);
    ck_assert_ptr_nonnull(strstr(r.err.message, "PING"));
    result_clear(&r);
    stop_client(c);
    script_stop();
    fixture_done();
}
END_TEST

/* A living one answers PINGs, and an idle connection is closed in the end. */
START_TEST(idle_connection)
{
    fixture_init();
    struct http_server *s = serve(NULL);
    struct http_client_config config = {.protocol = HTTP_CLIENT_H2,
                                        .ping_interval_ms = 10,
                                        .ping_timeout_ms = 1000,
                                        .idle_timeout_ms = 100};
    struct http_client *c = connect_with(&config, http_server_port(s));
    struct result r = {0};
    struct http_server_stats stats;
    call(c, &r, (struct http_call_config){.target = "/hang", .timeout_ms = 80});
    ck_assert_int_eq(r.err.code, E_TIMEOUT);
    get(c, &r, "/");
    expect_ok(&r);
    http_server_get_stats(s, &stats);
    ck_assert_uint_eq(stats.connections_total, 1);
    do {
        uv_run(&fx.loop, UV_RUN_ONCE);
        http_server_get_stats(s, &stats);
    } while (stats.connections > 0 && !fx.expired);
    ck_assert(!fx.expired);
    result_clear(&r);
    stop_client(c);
    stop_serving(s);
    fixture_done();
}
END_TEST

/* --- upgrade --- */

static struct {
    struct net_stream *server, *client;
    struct buf client_got;
    bool server_closed, client_closed;
} up;

static void up_server_read(struct net_stream *s, const uint8_t *data, size_t len, void *arg)
{
    UNUSED(arg);
    net_stream_write(s, data, len);
    if (data[len - 1] == '.')
        net_stream_close_soft(s);
}

static void up_server_close(struct net_stream *s, const struct error *err, void *arg)
{
    UNUSED(s);
    UNUSED(err);
    UNUSED(arg);
    up.server_closed = true;
}

static void up_client_read(struct net_stream *s, const uint8_t *data, size_t len, void *arg)
{
    UNUSED(s);
    UNUSED(arg);
    buf_append(&up.client_got, data, len);
}

static void up_client_close(struct net_stream *s, const struct error *err, void *arg)
{
    UNUSED(s);
    UNUSED(err);
    UNUSED(arg);
    up.client_closed = true;
}

static const struct net_stream_handler UP_SERVER = {.on_read = up_server_read,
                                                    .on_close = up_server_close};
static const struct net_stream_handler UP_CLIENT = {.on_read = up_client_read,
                                                    .on_close = up_client_close};

static void up_serve(struct http_request *r, void *arg)
{
    UNUSED(arg);
    struct error err = {0};
    if (!str_eq(http_request_upgrade(r), STR("echo/1")) ||
        http_response_upgrade(r, "echo/1", &UP_SERVER, NULL, &up.server, &err) < 0) {
        http_respond(r, 400, STR("no upgrade"));
        return;
    }
    net_stream_write(up.server, "hi ", 3);
}

static void up_on_upgrade(struct http_call *call, struct net_stream *stream, void *arg)
{
    UNUSED(call);
    UNUSED(arg);
    up.client = stream;
    net_stream_set_handler(stream, &UP_CLIENT, NULL);
    net_stream_write(stream, "there.", 6);
}

/* The stream behind a 101 works both ways, with and without TLS. */
START_TEST(upgrade)
{
    fixture_init();
    struct tls_context *server_tls = _i == 1 ? fixture_server_tls(TLS_CLIENT_AUTH_NONE) : NULL;
    struct tls_context *client_tls = _i == 1 ? fixture_client_tls(NULL) : NULL;
    struct http_server *s;
    struct http_server_config server_config = {.name = "up", .on_request = up_serve};
    struct net_listen_config listen = {.address = "127.0.0.1:0", .tls = server_tls};
    memset(&up, 0, sizeof(up));
    server_closed = false;
    ck_assert_int_eq(http_server_new(&fx.loop, &server_config, &s, NULL), 0);
    ck_assert_int_eq(http_server_listen(s, &listen, NULL), 0);
    struct http_client_config config = {.tls = client_tls};
    struct http_client *c = connect_with(&config, http_server_port(s));
    struct http_header headers[] = {{STR("Connection"), STR("Upgrade")},
                                    {STR("Upgrade"), STR("Echo/1, other")}};
    struct result r = {0};
    struct http_call_config call_config = {.target = "/",
                                           .headers = headers,
                                           .header_count = 2,
                                           .upgrade = true,
                                           .on_upgrade = up_on_upgrade};
    call(c, &r, call_config);
    ck_assert_int_eq(r.err.code, 0);
    ck_assert_int_eq(r.status, 101);
    fixture_run(&up.client_closed);
    fixture_run(&up.server_closed);
    ck_assert(str_eqc(buf_str(&up.client_got), "hi there."));
    /* A server may refuse; then it is a response like any other. */
    headers[1].value = STR("other");
    call(c, &r, call_config);
    ck_assert_int_eq(r.err.code, 0);
    ck_assert_int_eq(r.status, 400);
    /* And who asks for none gets none. */
    get(c, &r, "/");
    ck_assert_int_eq(r.status, 400);
    buf_done(&up.client_got);
    result_clear(&r);
    stop_client(c);
    stop_serving(s);
    tls_context_unref(server_tls);
    tls_context_unref(client_tls);
    fixture_done();
}
END_TEST

/* --- blocking --- */

struct sync_job {
    uv_async_t done;
    bool finished;
    int port, code, too_large;
    int status;
    struct str body;
    struct http_sync_response response;
};

static void *sync_thread(void *arg)
{
    struct sync_job *job = arg;
    struct http_sync *sync;
    struct error err = {0};
    AUTO_FREE char *endpoint = xasprintf("127.0.0.1:%d", job->port);
    const char *endpoints[] = {endpoint};
    struct http_client_config config = {.endpoints = endpoints, .endpoint_count = 1};
    struct http_call_config call = {.target = "/a"};
    job->code = http_sync_new(&config, &sync, &err);
    job->too_large = http_sync_do(sync, &call, 3, &job->response, &err);
    job->code = http_sync_do(sync, &call, 1000, &job->response, &err);
    http_sync_free(sync);
    uv_async_send(&job->done);
    return NULL;
}

static void sync_done(uv_async_t *async)
{
    CONTAINER_OF(async, struct sync_job, done)->finished = true;
    uv_close((uv_handle_t *)async, NULL);
}

START_TEST(blocking)
{
    fixture_init();
    struct http_server *s = serve(NULL);
    struct sync_job job = {.port = http_server_port(s)};
    pthread_t thread;
    uv_async_init(&fx.loop, &job.done, sync_done);
    ck_assert_int_eq(pthread_create(&thread, NULL, sync_thread, &job), 0);
    fixture_run(&job.finished);
    pthread_join(thread, NULL);
    ck_assert_int_eq(job.too_large, E_TOO_LARGE);
    ck_assert_int_eq(job.code, 0);
    ck_assert_int_eq(job.response.status, 200);
    ck_assert(str_eqc(job.response.body, "hello\n"));
    ck_assert(
        str_eqc(http_header_find(job.response.headers, job.response.header_count, "x-path"), "/a"));
    http_sync_response_done(&job.response);
    stop_serving(s);
    fixture_done();
}
END_TEST

UNIT_MAIN("http_client", UNIT_TEST(failover); UNIT_TEST(nobody_there); UNIT_TEST(server_comes_up);
          UNIT_TEST(new_endpoints); UNIT_TEST(bad_arguments); UNIT_TEST(odd_answers);
          UNIT_TEST(bad_answers); UNIT_TEST(stale_connection); UNIT_TEST(dead_peer);
          UNIT_TEST(idle_connection); tcase_add_loop_test(tc, upgrade, 0, 2); UNIT_TEST(blocking))
