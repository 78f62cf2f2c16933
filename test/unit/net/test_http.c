/* test_http.c - our client against our server: both protocols, with and
 * without TLS. */
#include "test/unit/net/http_fixture.h"

#include <unistd.h>

/* The four ways to talk. */
static const struct way {
    const char *name;
    bool tls;
    enum http_client_protocol protocol;
} WAYS[] = {
    {"plain HTTP/1.1", false, HTTP_CLIENT_H1},
    {"plain HTTP/2", false, HTTP_CLIENT_H2},
    {"TLS HTTP/1.1", true, HTTP_CLIENT_H1},
    {"TLS HTTP/2", true, HTTP_CLIENT_AUTO},
};

static struct tls_context *server_tls, *client_tls;

static struct http_server *begin(const struct way *way, const struct http_server_limits *limits,
                                 struct http_client **ret)
{
    fixture_init();
    server_tls = way->tls ? fixture_server_tls(TLS_CLIENT_AUTH_REQUEST) : NULL;
    client_tls = way->tls ? fixture_client_tls("alice") : NULL;
    struct http_server *s = serve_with(limits, server_tls, "127.0.0.1:0");
    struct http_client_config config = {.tls = client_tls, .protocol = way->protocol};
    *ret = connect_with(&config, http_server_port(s));
    return s;
}

static void end(struct http_server *s, struct http_client *c)
{
    stop_client(c);
    if (!server_closed)
        stop_serving(s);
    tls_context_unref(server_tls);
    tls_context_unref(client_tls);
    fixture_done();
}

/* Requests with and without bodies; status, headers and bodies arrive. */
START_TEST(exchanges)
{
    const struct way *way = &WAYS[_i];
    struct http_client *c;
    struct http_server *s = begin(way, NULL, &c);
    struct result r = {0};
    get(c, &r, "/a%20b?x=1&y=%2f");
    expect_ok(&r);
    ck_assert(str_eqc(buf_str(&r.body), "hello\n"));
    ck_assert_str_eq(r.path, "/a%20b");
    ck_assert_str_eq(r.query, "x=1&y=%2f");
    ck_assert_str_eq(r.many, "1, 2");
    ck_assert_str_eq(r.peer, way->tls ? "alice" : "");
    ck_assert_int_eq(r.version, way->protocol == HTTP_CLIENT_H1 ? HTTP_1_1 : HTTP_2);

    call(c, &r, (struct http_call_config){.method = "HEAD", .target = "/"});
    expect_ok(&r);
    ck_assert_uint_eq(r.bytes, 0);
    get(c, &r, "/none");
    ck_assert_int_eq(r.err.code, 0);
    ck_assert_int_eq(r.status, 204);
    get(c, &r, "/early");
    ck_assert_int_eq(r.status, 403);

    static const size_t SIZES[] = {0, 1, 16384, 100000, 2000000};
    for (size_t i = 0; i < ARRAY_SIZE(SIZES); i++) {
        struct net_bytes *body = net_bytes_new(SIZES[i]);
        for (size_t k = 0; k < body->len; k++)
            net_bytes_edit(body)[k] = (uint8_t)(k * 7);
        call(c, &r, (struct http_call_config){.method = "POST", .target = "/echo", .body = body});
        expect_ok(&r);
        ck_assert(str_eq(buf_str(&r.body), net_bytes_str(body)));
        net_bytes_unref(body);
    }
    struct http_server_stats stats;
    http_server_get_stats(s, &stats);
    ck_assert_uint_eq(stats.connections_total, 1);
    result_clear(&r);
    end(s, c);
}
END_TEST

/* Fields that belong to the connection are kept away from the message, both
 * ways, and nothing in a value can make another field. */
START_TEST(hop_headers)
{
    struct http_client *c;
    struct http_server *s = begin(&WAYS[_i], NULL, &c);
    struct result r = {0};
    struct http_header headers[] = {{STR("Connection"), STR("x-a")},
                                    {STR("Transfer-Encoding"), STR("chunked")},
                                    {STR("Content-Length"), STR("99")},
                                    {STR("Host"), STR("other.test")},
                                    {STR("Upgrade"), STR("h2c")}};
    call(c, &r, (struct http_call_config){.target = "/", .headers = headers, .header_count = 5});
    expect_ok(&r);
    get(c, &r, "/close");
    expect_ok(&r);
    ck_assert(str_eqc(buf_str(&r.body), "bye"));
    get(c, &r, "/");
    expect_ok(&r);
    struct http_server_stats stats;
    http_server_get_stats(s, &stats);
    ck_assert_uint_eq(stats.connections_total, WAYS[_i].protocol == HTTP_CLIENT_H1 ? 2 : 1);
    result_clear(&r);
    end(s, c);
}
END_TEST

/* A paused reader holds the server back; nothing is lost. */
START_TEST(download_back_pressure)
{
    struct http_client *c;
    struct http_server *s = begin(&WAYS[_i], NULL, &c);
    struct result r = {.drop_body = true, .pause_at = 3000000};
    size_t total = 40000000;
    start_call(c, &r, (struct http_call_config){.target = "/big?40000000"});
    fixture_run_count(&r.bytes, 3000000);
    for (int i = 0; i < 2000; i++)
        uv_run(&fx.loop, UV_RUN_NOWAIT);
    size_t stopped_at = r.bytes;
    ck_assert_uint_lt(stopped_at, 3000000 + 100000);
    ck_assert_uint_le(served.pending_max, 4 * BIG_BLOCK + BIG_BLOCK);
    ck_assert(!r.done);
    http_call_resume(r.call);
    fixture_run(&r.done);
    expect_ok(&r);
    ck_assert_uint_eq(r.bytes, total);
    result_clear(&r);
    end(s, c);
}
END_TEST

/* However the bytes of an answer are held, and even if the reader rests, they arrive as they are:
 * framing in front of private ones touches nothing that is still to be sent. */
START_TEST(kinds_of_bytes)
{
    struct http_client *c;
    struct http_server *s = begin(&WAYS[_i], NULL, &c);
    struct result r = {.pause_at = 1000000};
    start_call(c, &r, (struct http_call_config){.target = "/mixed"});
    fixture_run_count(&r.bytes, 1000000);
    for (int i = 0; i < 200; i++)
        uv_run(&fx.loop, UV_RUN_NOWAIT);
    http_call_resume(r.call);
    fixture_run(&r.done);
    expect_ok(&r);
    ck_assert_uint_eq(r.body.len, MIXED_BYTES);
    for (size_t i = 0; i < r.body.len; i++)
        ck_assert_msg(r.body.data[i] == mixed_byte(i), "byte %zu", i);
    result_clear(&r);
    end(s, c);
}
END_TEST

static struct net_bytes *upload_block;
static size_t upload_left;

static void upload(struct result *r)
{
    while (upload_left > 0 && http_call_pending(r->call) < 200000) {
        http_call_write(r->call, upload_block);
        upload_left -= upload_block->len;
    }
    if (upload_left == 0) {
        http_call_write_end(r->call);
        r->on_drain = NULL;
    }
}

/* A paused receiver of an upload holds the client back; nothing is lost. */
START_TEST(upload_back_pressure)
{
    struct http_client *c;
    struct http_server *s = begin(&WAYS[_i], NULL, &c);
    struct result r = {.on_drain = upload};
    size_t total = 20000000;
    upload_block = net_bytes_new(50000);
    memset(net_bytes_edit(upload_block), 'u', upload_block->len);
    upload_left = total;
    start_call(c, &r,
               (struct http_call_config){.method = "PUT", .target = "/sink?pause", .upload = true});
    upload(&r);
    for (int i = 0; i < 2000; i++)
        uv_run(&fx.loop, UV_RUN_NOWAIT);
    ck_assert_ptr_nonnull(served.paused);
    ck_assert_uint_gt(upload_left, total / 4); /* What sockets and windows hold is far less. */
    ck_assert_uint_lt(served.body_bytes, 200000);
    http_request_resume(served.paused);
    fixture_run(&r.done);
    expect_ok(&r);
    ck_assert(str_eqc(buf_str(&r.body), "20000000"));
    net_bytes_unref(upload_block);
    result_clear(&r);
    end(s, c);
}
END_TEST

/* The handler hears that a client took its request back. */
START_TEST(cancel)
{
    struct http_client *c;
    struct http_server *s = begin(&WAYS[_i], NULL, &c);
    struct result r = {0};
    start_call(c, &r, (struct http_call_config){.target = "/hang"});
    fixture_run_count(&r.bytes, 1);
    ck_assert_uint_eq(served.hanging, 1);
    http_call_cancel(r.call);
    http_call_cancel(r.call);
    fixture_run(&r.done);
    ck_assert_int_eq(r.err.code, E_CANCELED);
    fixture_run_count(&served.aborts, 1);
    ck_assert_uint_eq(served.hanging, 0);
    /* Others are not disturbed. */
    get(c, &r, "/");
    expect_ok(&r);
    /* One that never began. */
    result_clear(&r);
    start_call(c, &r, (struct http_call_config){.target = "/"});
    http_call_cancel(r.call);
    fixture_run(&r.done);
    ck_assert_int_eq(r.err.code, E_CANCELED);
    result_clear(&r);
    end(s, c);
}
END_TEST

/* A response that the handler cuts off is a failure, not a short body. */
START_TEST(cut_response)
{
    struct http_client *c;
    struct http_server *s = begin(&WAYS[_i], NULL, &c);
    struct result r = {0};
    get(c, &r, "/cut");
    ck_assert_int_eq(r.err.code, E_CLOSED);
    get(c, &r, "/");
    expect_ok(&r);
    result_clear(&r);
    end(s, c);
}
END_TEST

/* The handler takes too long: the client gets another answer, the connection goes on, and
 * what the handler says in the end is dropped. */
START_TEST(given_up)
{
    static const struct http_header HEADERS[] = {{STR("x-path"), STR("late")}};
    struct http_client *c;
    struct http_server *s = begin(&WAYS[_i], NULL, &c);
    struct result r = {0};
    for (int heard = 0; heard < 2; heard++) {
        start_call(c, &r, (struct http_call_config){.target = "/hang?silent"});
        fixture_run_count(&served.hanging, 1);
        struct http_request *hung = served.hung;
        if (!heard)
            http_request_on_abort(hung, NULL, NULL);
        http_request_give_up(hung, 504, HEADERS, 1, STR("too late"));
        fixture_run(&r.done);
        ck_assert_int_eq(r.err.code, 0);
        ck_assert_int_eq(r.status, 504);
        ck_assert_str_eq(r.path, "late");
        ck_assert(str_eqc(buf_str(&r.body), "too late"));
        result_clear(&r);
        get(c, &r, "/");
        expect_ok(&r);
        result_clear(&r);
        if (!heard) {
            ck_assert(hung->aborted);
            http_request_give_up(hung, 504, HEADERS, 1, STR("again"));
            http_respond(hung, 200, STR("here at last"));
            served.hanging = 0;
        }
    }
    ck_assert_uint_eq(served.aborts, 1);
    ck_assert_uint_eq(served.hanging, 0);
    /* A response that has begun is cut off. */
    start_call(c, &r, (struct http_call_config){.target = "/hang"});
    fixture_run_count(&r.bytes, 1);
    http_request_give_up(served.hung, 504, HEADERS, 1, STR("too late"));
    fixture_run(&r.done);
    ck_assert_int_eq(r.err.code, E_CLOSED);
    fixture_run_count(&served.aborts, 2);
    result_clear(&r);
    get(c, &r, "/");
    expect_ok(&r);
    result_clear(&r);
    end(s, c);
}
END_TEST

/* An answer is kept back until its hold is released, whoever has gone meanwhile. */
START_TEST(held)
{
    struct http_client *c;
    struct http_server *s = begin(&WAYS[_i], NULL, &c);
    struct result r = {0}, other = {0};
    start_call(c, &r, (struct http_call_config){.target = "/hang?silent"});
    fixture_run_count(&served.hanging, 1);
    struct http_hold *first = http_response_hold(served.hung),
                     *second = http_response_hold(served.hung);
    http_respond(served.hung, 200, STR("kept"));
    served.hanging = 0;
    get(c, &other, "/");
    expect_ok(&other);
    ck_assert(!r.has_head);
    http_hold_release(second);
    get(c, &other, "/");
    ck_assert(!r.has_head);
    http_hold_release(first);
    fixture_run(&r.done);
    expect_ok(&r);
    ck_assert(str_eqc(buf_str(&r.body), "kept"));
    result_clear(&r);
    start_call(c, &r, (struct http_call_config){.target = "/hang?silent"});
    fixture_run_count(&served.hanging, 1);
    first = http_response_hold(served.hung);
    http_respond(served.hung, 200, STR("nobody reads it"));
    http_call_cancel(r.call);
    fixture_run(&r.done);
    get(c, &other, "/");
    expect_ok(&other);
    http_hold_release(first);
    result_clear(&r);
    result_clear(&other);
    end(s, c);
}
END_TEST

/* A request that is given up while the handler has stopped the body: the rest of it is read and
 * dropped. */
START_TEST(given_up_upload)
{
    struct http_client *c;
    struct http_server *s = begin(&WAYS[_i], NULL, &c);
    struct result r = {0};
    struct net_bytes *body = net_bytes_new(600000);
    memset(net_bytes_edit(body), 'b', body->len);
    served.hanging = 1;
    start_call(c, &r,
               (struct http_call_config){.method = "POST", .target = "/sink?pause", .body = body});
    while (served.paused == NULL)
        uv_run(&fx.loop, UV_RUN_ONCE);
    http_request_give_up(served.paused, 504, NULL, 0, STR("too late"));
    fixture_run(&r.done);
    ck_assert_int_eq(r.err.code, 0);
    ck_assert_int_eq(r.status, 504);
    ck_assert_uint_eq(served.aborts, 1);
    result_clear(&r);
    get(c, &r, "/");
    expect_ok(&r);
    net_bytes_unref(body);
    result_clear(&r);
    end(s, c);
}
END_TEST

/* Bodies beyond the limit are refused, announced or not; the client gets the answer. */
START_TEST(body_limits)
{
    struct http_server_limits limits = {.body_bytes_max = 100000};
    struct http_client *c;
    struct http_server *s = begin(&WAYS[_i], &limits, &c);
    struct result r = {0};
    struct net_bytes *fits = net_bytes_new(100000), *over = net_bytes_new(100001);
    memset(net_bytes_edit(fits), 0, fits->len);
    memset(net_bytes_edit(over), 0, over->len);
    struct http_call_config config = {.method = "POST", .target = "/echo", .body = fits};
    call(c, &r, config);
    expect_ok(&r);
    config.body = over;
    call(c, &r, config);
    ck_assert_int_eq(r.status, 413);
    ck_assert_uint_gt(r.bytes, 0);
    config.body = NULL;
    config.upload = true;
    result_clear(&r);
    start_call(c, &r, config);
    http_call_write(r.call, over);
    http_call_write_end(r.call);
    fixture_run(&r.done);
    ck_assert_int_eq(r.status, 413);
    struct net_bytes *ten = net_bytes_copy("0123456789", 10);
    call(c, &r, (struct http_call_config){.method = "PUT", .target = "/small", .body = ten});
    expect_ok(&r);
    call(c, &r, (struct http_call_config){.method = "PUT", .target = "/small", .body = fits});
    ck_assert_int_eq(r.status, 413);
    net_bytes_unref(ten);
    net_bytes_unref(fits);
    net_bytes_unref(over);
    result_clear(&r);
    end(s, c);
}
END_TEST

/* Heads beyond the limits are refused. */
START_TEST(header_limits)
{
    struct http_server_limits limits = {.header_bytes_max = 20000, .header_count_max = 50};
    struct http_client *c;
    struct http_server *s = begin(&WAYS[_i], &limits, &c);
    struct result r = {0};
    char *value = xmalloc(20001);
    memset(value, 'v', 20000);
    value[20000] = '\0';
    struct http_header big = {STR("x-big"), str_n(value, 20000)};
    call(c, &r, (struct http_call_config){.target = "/", .headers = &big, .header_count = 1});
    ck_assert_msg(r.status == 431, "%d %s", r.status, r.err.message);
    struct http_header many[60];
    for (size_t i = 0; i < ARRAY_SIZE(many); i++)
        many[i] = (struct http_header){STR("x-many"), STR("v")};
    call(c, &r, (struct http_call_config){.target = "/", .headers = many, .header_count = 60});
    ck_assert_int_eq(r.status, 431);
    call(c, &r, (struct http_call_config){.target = "/", .headers = many, .header_count = 30});
    expect_ok(&r);
    ck_assert_uint_eq(served.requests, 1);
    free(value);
    result_clear(&r);
    end(s, c);
}
END_TEST

/* A call that times out after the server got it, and sent the head if it does: a slow machine is
 * given more time to come so far. */
static void time_out(struct http_client *c, struct result *r, const char *target, bool header)
{
    bool silent = strchr(target, '?') != NULL;
    for (uint64_t ms = 50;; ms *= 2) {
        size_t before = served.requests;
        call(c, r,
             (struct http_call_config){.target = target,
                                       .timeout_ms = header ? 0 : ms,
                                       .header_timeout_ms = header ? ms : 0});
        ck_assert_int_eq(r->err.code, E_TIMEOUT);
        if (silent ? served.requests > before : r->has_head)
            return;
    }
}

/* A call's deadline ends it, before the head and after it. */
START_TEST(call_timeouts)
{
    struct http_client *c;
    struct http_server *s = begin(&WAYS[_i], NULL, &c);
    struct result r = {0};
    time_out(c, &r, "/hang?silent", false);
    time_out(c, &r, "/hang", false);
    time_out(c, &r, "/hang?silent", true);
    fixture_run_count(&served.aborts, 3);
    result_clear(&r);
    end(s, c);
}
END_TEST

/* Shutdown lets what is in flight end, refuses the rest, and then is done. */
START_TEST(graceful_shutdown)
{
    struct http_client *c;
    struct http_server *s = begin(&WAYS[_i], NULL, &c);
    struct result r = {0}, late = {0};
    start_call(c, &r, (struct http_call_config){.target = "/hang"});
    fixture_run_count(&r.bytes, 1);
    http_server_shutdown(s, 30000, on_server_closed, NULL);
    for (int i = 0; i < 50; i++)
        uv_run(&fx.loop, UV_RUN_NOWAIT);
    ck_assert(!server_closed && !r.done);
    start_call(c, &late, (struct http_call_config){.target = "/"});
    fixture_run(&late.done);
    ck_assert_int_eq(late.err.code, E_UNAVAILABLE);
    http_response_write_copy(served.hung, "yz", 2);
    http_response_end(served.hung);
    fixture_run(&r.done);
    expect_ok(&r);
    ck_assert_uint_eq(r.bytes, 3);
    fixture_run(&server_closed);
    result_clear(&r);
    result_clear(&late);
    end(s, c);
}
END_TEST

/* Past the deadline requests are cut; their handlers hear of it. */
START_TEST(shutdown_deadline)
{
    struct http_client *c;
    struct http_server *s = begin(&WAYS[_i], NULL, &c);
    struct result r = {0};
    start_call(c, &r, (struct http_call_config){.target = "/hang"});
    fixture_run_count(&r.bytes, 1);
    http_server_shutdown(s, 20, on_server_closed, NULL);
    fixture_run(&r.done);
    ck_assert_int_eq(r.err.code, E_CLOSED);
    fixture_run(&server_closed);
    ck_assert_uint_eq(served.aborts, 1);
    result_clear(&r);
    end(s, c);
}
END_TEST

/* Many calls at once, more than one connection takes. */
START_TEST(many_calls)
{
    struct http_server_limits limits = {.streams_max = 100};
    struct http_client *c;
    struct http_server *s = begin(&WAYS[_i], &limits, &c);
    static struct result r[350];
    memset(r, 0, sizeof(r));
    for (size_t i = 0; i < ARRAY_SIZE(r); i++)
        start_call(c, &r[i], (struct http_call_config){.target = "/big?100000"});
    for (size_t i = 0; i < ARRAY_SIZE(r); i++) {
        fixture_run(&r[i].done);
        expect_ok(&r[i]);
        ck_assert_uint_eq(r[i].bytes, 100000);
        result_clear(&r[i]);
    }
    struct http_server_stats stats;
    http_server_get_stats(s, &stats);
    ck_assert_uint_le(stats.connections_total, 16);
    end(s, c);
}
END_TEST

/* Large JSON is compressed for those who can read it. */
START_TEST(compressed)
{
    struct http_client *c;
    struct http_server *s = begin(&WAYS[_i], NULL, &c);
    struct result r = {0};
    struct http_header accept = {STR("Accept-Encoding"), STR("gzip")};
    get(c, &r, "/gzip");
    expect_ok(&r);
    ck_assert_uint_eq(r.bytes, 200000);
    ck_assert_str_eq(r.encoding, "");
    call(c, &r,
         (struct http_call_config){.target = "/gzip", .headers = &accept, .header_count = 1});
    expect_ok(&r);
    ck_assert_str_eq(r.encoding, "gzip");
    struct net_bytes *plain;
    ck_assert_int_eq(http_gunzip(r.body.data, r.body.len, 200000, &plain), 0);
    ck_assert_uint_eq(plain->len, 200000);
    net_bytes_unref(plain);
    result_clear(&r);
    end(s, c);
}
END_TEST

/* The same over a unix socket, with HTTP/2 by prior knowledge. */
START_TEST(unix_socket)
{
    fixture_init();
    char dir[] = "/tmp/trireme-http-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(dir));
    AUTO_FREE char *path = xasprintf("unix:%s/s", dir);
    struct http_server *s = serve_with(NULL, NULL, path);
    const char *endpoints[] = {path};
    struct http_client_config config = {
        .endpoints = endpoints, .endpoint_count = 1, .protocol = HTTP_CLIENT_H2};
    struct http_client *c = connect_with(&config, 0);
    struct result r = {0};
    get(c, &r, "/");
    expect_ok(&r);
    ck_assert_int_eq(r.version, HTTP_2);
    result_clear(&r);
    stop_client(c);
    stop_serving(s);
    ck_assert_int_eq(access(path + 5, F_OK), -1);
    rmdir(dir);
    fixture_done();
}
END_TEST

#define EACH_WAY(name) tcase_add_loop_test(tc, name, 0, (int)ARRAY_SIZE(WAYS))

UNIT_MAIN("http", EACH_WAY(exchanges); EACH_WAY(hop_headers); EACH_WAY(download_back_pressure);
          EACH_WAY(kinds_of_bytes); EACH_WAY(upload_back_pressure); EACH_WAY(cancel);
          EACH_WAY(cut_response); EACH_WAY(given_up); EACH_WAY(held); EACH_WAY(given_up_upload);
          EACH_WAY(body_limits); EACH_WAY(header_limits); EACH_WAY(call_timeouts);
          EACH_WAY(graceful_shutdown); EACH_WAY(shutdown_deadline); EACH_WAY(many_calls);
          EACH_WAY(compressed); UNIT_TEST(unix_socket))
