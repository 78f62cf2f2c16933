/* test_grpc.c - our gRPC client against our gRPC server, and the framing. */
#include "lib/net/grpc.h"

#include "lib/net/grpc_internal.h"
#include "test/unit/net/http_fixture.h"

#include <pthread.h>

static struct grpc_server *methods;

static struct {
    size_t cancels, open, messages;
    struct grpc_stream *last;
} grpc_served;

/* --- methods --- */

static void echo(struct grpc_stream *s, struct str message, void *arg)
{
    UNUSED(arg);
    struct net_bytes *b = net_bytes_copy(message.data, message.len);
    grpc_stream_trailer(s, "x-seen", "yes");
    grpc_stream_reply(s, b);
    net_bytes_unref(b);
}

static void refuse(struct grpc_stream *s, struct str message, void *arg)
{
    UNUSED(message);
    UNUSED(arg);
    grpc_stream_finish(s, GRPC_FAILED_PRECONDITION, "no: 100% \xc3\xa9 \n done");
}

static void on_cancel(struct grpc_stream *s, void *arg)
{
    UNUSED(arg);
    grpc_served.cancels++;
    grpc_stream_finish(s, GRPC_CANCELLED, NULL);
}

static void never(struct grpc_stream *s, struct str message, void *arg)
{
    UNUSED(message);
    UNUSED(arg);
    grpc_served.open++;
    grpc_stream_on_cancel(s, on_cancel, NULL);
}

/* Sends as many messages as the request has digits' value, 1000 bytes each. */
static void count_pump(struct grpc_stream *s, void *arg)
{
    size_t *left = arg;
    while (*left > 0 && grpc_stream_pending(s) < 100000) {
        struct net_bytes *b = net_bytes_new(1000);
        memset(net_bytes_edit(b), 'm', 1000);
        grpc_stream_send(s, b);
        net_bytes_unref(b);
        (*left)--;
    }
    if (*left == 0)
        grpc_stream_finish(s, GRPC_OK, NULL);
}

static void count(struct grpc_stream *s, struct str message, void *arg)
{
    UNUSED(arg);
    size_t *left = ARENA_NEW(grpc_stream_arena(s), size_t);
    uint64_t n = 0;
    ck_assert(str_to_u64(message, &n));
    *left = n;
    grpc_stream_on_cancel(s, on_cancel, NULL);
    grpc_stream_on_drain(s, 20000, count_pump, left);
    count_pump(s, left);
}

static void chat_open(struct grpc_stream *s, void *arg)
{
    UNUSED(arg);
    grpc_served.open++;
    grpc_served.last = s;
    grpc_stream_on_cancel(s, on_cancel, NULL);
}

static void chat_message(struct grpc_stream *s, struct str message, void *arg)
{
    UNUSED(arg);
    grpc_served.messages++;
    if (str_eq(message, STR("stop"))) {
        grpc_stream_finish(s, GRPC_ABORTED, "stopped");
        return;
    }
    struct net_bytes *b = net_bytes_copy(message.data, message.len);
    grpc_stream_send(s, b);
    net_bytes_unref(b);
    if (str_eq(message, STR("pause")))
        grpc_stream_pause(s);
}

static void chat_half_close(struct grpc_stream *s, void *arg)
{
    UNUSED(arg);
    grpc_stream_finish(s, GRPC_OK, NULL);
}

static void route(struct http_request *r, void *arg)
{
    UNUSED(arg);
    if (grpc_is_request(r))
        grpc_server_handle(methods, r);
}

/* --- the two ends --- */

static struct http_server *begin(struct http_client **ret)
{
    static const struct grpc_method METHODS[] = {
        {.path = "/test.T/Echo", .on_unary = echo},
        {.path = "/test.T/Small", .on_unary = echo, .message_max = 10},
        {.path = "/test.T/Fail", .on_unary = refuse},
        {.path = "/test.T/Never", .on_unary = never},
        {.path = "/test.T/Count", .on_unary = count},
        {.path = "/test.T/Chat",
         .on_open = chat_open,
         .on_message = chat_message,
         .on_half_close = chat_half_close},
    };
    struct http_server *s;
    struct error err = {0};
    struct http_server_config config = {
        .name = "grpc", .on_headers = route, .on_request = serve_request};
    struct net_listen_config listen = {.address = "127.0.0.1:0"};
    fixture_init();
    memset(&grpc_served, 0, sizeof(grpc_served));
    server_closed = false;
    methods = grpc_server_new();
    for (size_t i = 0; i < ARRAY_SIZE(METHODS); i++)
        grpc_server_add(methods, &METHODS[i]);
    grpc_server_add_health(methods);
    ck_assert_int_eq(http_server_new(&fx.loop, &config, &s, &err), 0);
    ck_assert_int_eq(http_server_listen(s, &listen, &err), 0);
    struct http_client_config client = {.protocol = HTTP_CLIENT_H2};
    if (ret != NULL)
        *ret = connect_with(&client, http_server_port(s));
    return s;
}

static void end(struct http_server *s, struct http_client *c)
{
    if (c != NULL)
        stop_client(c);
    stop_serving(s);
    grpc_server_free(methods);
    fixture_done();
}

struct reply {
    struct grpc_call *call;
    bool done;
    size_t messages, bytes;
    struct buf last;
    enum grpc_status status;
    char text[256];
    bool seen_trailer;
    size_t pause_after; /* Pauses after so many messages; 0: never. */
};

static void reply_on_message(struct grpc_call *call, struct str message, void *arg)
{
    struct reply *r = arg;
    r->messages++;
    r->bytes += message.len;
    buf_clear(&r->last);
    buf_append_str(&r->last, message);
    if (r->messages == r->pause_after)
        grpc_call_pause(call);
}

static void reply_on_end(struct grpc_call *call, enum grpc_status status, struct str message,
                         void *arg)
{
    struct reply *r = arg;
    ck_assert(!r->done);
    r->done = true;
    r->status = status;
    r->seen_trailer = str_eq(grpc_call_trailer(call, "x-seen"), STR("yes"));
    snprintf(r->text, sizeof(r->text), STR_FMT, STR_ARG(message));
}

static void start(struct http_client *c, struct reply *r, struct grpc_call_config config,
                  const char *request)
{
    struct error err = {0};
    struct net_bytes *b = request != NULL ? net_bytes_copy(request, strlen(request)) : NULL;
    buf_done(&r->last);
    size_t pause_after = r->pause_after;
    *r = (struct reply){.pause_after = pause_after};
    config.request = b;
    config.on_message = reply_on_message;
    config.on_end = reply_on_end;
    config.arg = r;
    ck_assert_msg(grpc_call_start(c, &config, &r->call, &err) == 0, "%s", err.message);
    net_bytes_unref(b);
}

static void unary(struct http_client *c, struct reply *r, const char *method, const char *request)
{
    start(c, r, (struct grpc_call_config){.method = method}, request);
    fixture_run(&r->done);
}

/* --- tests --- */

/* Messages, statuses and texts come through. */
START_TEST(unary_calls)
{
    struct http_client *c;
    struct http_server *s = begin(&c);
    struct reply r = {0};
    unary(c, &r, "/test.T/Echo", "hello");
    ck_assert_int_eq(r.status, GRPC_OK);
    ck_assert(str_eqc(buf_str(&r.last), "hello"));
    ck_assert(r.seen_trailer);
    unary(c, &r, "/test.T/Echo", "");
    ck_assert_int_eq(r.status, GRPC_OK);
    ck_assert_uint_eq(r.messages, 1);
    unary(c, &r, "/test.T/Fail", "x");
    ck_assert_int_eq(r.status, GRPC_FAILED_PRECONDITION);
    ck_assert_str_eq(r.text, "no: 100% \xc3\xa9 \n done");
    unary(c, &r, "/test.T/Nope", "x");
    ck_assert_int_eq(r.status, GRPC_UNIMPLEMENTED);
    ck_assert_str_eq(r.text, "unknown method Nope for service test.T");
    unary(c, &r, "/grpc.health.v1.Health/Check", "");
    ck_assert_int_eq(r.status, GRPC_OK);
    ck_assert(str_eqc(buf_str(&r.last), "\x08\x01"));
    unary(c, &r, "/test.T/Small", "0123456789");
    ck_assert_int_eq(r.status, GRPC_OK);
    unary(c, &r, "/test.T/Small", "0123456789a");
    ck_assert_int_eq(r.status, GRPC_RESOURCE_EXHAUSTED);
    start(c, &r, (struct grpc_call_config){.method = "/test.T/Echo", .message_max = 3}, "1234");
    fixture_run(&r.done);
    ck_assert_int_eq(r.status, GRPC_RESOURCE_EXHAUSTED);
    buf_done(&r.last);
    end(s, c);
}
END_TEST

/* Deadlines and cancelling reach the server. */
START_TEST(deadline_and_cancel)
{
    struct http_client *c;
    struct http_server *s = begin(&c);
    struct reply r = {0};
    start(c, &r, (struct grpc_call_config){.method = "/test.T/Never", .timeout_ms = 30}, "x");
    fixture_run(&r.done);
    ck_assert_int_eq(r.status, GRPC_DEADLINE_EXCEEDED);
    fixture_run_count(&grpc_served.cancels, 1);
    start(c, &r, (struct grpc_call_config){.method = "/test.T/Never"}, "x");
    fixture_run_count(&grpc_served.open, 2);
    grpc_call_cancel(r.call);
    fixture_run(&r.done);
    ck_assert_int_eq(r.status, GRPC_CANCELLED);
    fixture_run_count(&grpc_served.cancels, 2);
    buf_done(&r.last);
    end(s, c);
}
END_TEST

/* A call that is cancelled before its request left is gone, also for the library that
 * was to send it (a use after free once, seen under ASan). */
START_TEST(cancel_before_sending)
{
    struct http_client *c;
    struct http_server *s = begin(&c);
    struct reply r = {0};
    unary(c, &r, "/test.T/Echo", "connected");
    for (int i = 0; i < 10; i++) {
        struct reply early = {0}, late = {0};
        start(c, &early, (struct grpc_call_config){.method = "/test.T/Echo"}, "early");
        start(c, &late, (struct grpc_call_config){.method = "/test.T/Echo"}, "late");
        grpc_call_cancel(early.call);
        fixture_run(&early.done);
        fixture_run(&late.done);
        ck_assert_int_eq(early.status, GRPC_CANCELLED);
        ck_assert_int_eq(late.status, GRPC_OK);
        buf_done(&early.last);
        buf_done(&late.last);
    }
    buf_done(&r.last);
    end(s, c);
}
END_TEST

/* Requests beyond what the server may hold end; when they are gone there is room again. */
START_TEST(buffer_limit)
{
    struct http_client *c;
    struct http_server *s = begin(&c);
    struct reply r = {0}, held[3] = {0};
    grpc_server_set_buffer_max(methods, 250);
    char text[101];
    memset(text, 'x', 100);
    text[100] = '\0';
    for (size_t i = 0; i < 3; i++)
        start(c, &held[i], (struct grpc_call_config){.method = "/test.T/Never"}, text);
    fixture_run(&held[2].done);
    ck_assert_int_eq(held[2].status, GRPC_RESOURCE_EXHAUSTED);
    ck_assert_uint_eq(grpc_served.open, 2);
    for (size_t i = 0; i < 2; i++) {
        grpc_call_cancel(held[i].call);
        fixture_run(&held[i].done);
    }
    fixture_run_count(&grpc_served.cancels, 2);
    unary(c, &r, "/test.T/Echo", text);
    ck_assert_int_eq(r.status, GRPC_OK);
    buf_done(&r.last);
    end(s, c);
}
END_TEST

/* A long stream, with a reader that pauses in the middle. */
START_TEST(server_stream)
{
    struct http_client *c;
    struct http_server *s = begin(&c);
    struct reply r = {.pause_after = 77};
    start(c, &r, (struct grpc_call_config){.method = "/test.T/Count"}, "20000");
    fixture_run_count(&r.messages, 77);
    for (int i = 0; i < 500; i++)
        uv_run(&fx.loop, UV_RUN_NOWAIT);
    ck_assert_uint_eq(r.messages, 77);
    grpc_call_resume(r.call);
    fixture_run(&r.done);
    ck_assert_int_eq(r.status, GRPC_OK);
    ck_assert_uint_eq(r.messages, 20000);
    ck_assert_uint_eq(r.bytes, 20000000);
    buf_done(&r.last);
    end(s, c);
}
END_TEST

static void say(struct reply *r, const char *text)
{
    struct net_bytes *b = net_bytes_copy(text, strlen(text));
    grpc_call_send(r->call, b);
    net_bytes_unref(b);
}

/* Both sides speak in turn; a paused server takes no further message; half-close ends it. */
START_TEST(bidirectional)
{
    struct http_client *c;
    struct http_server *s = begin(&c);
    struct reply r = {0};
    struct grpc_call_config config = {.method = "/test.T/Chat", .client_streaming = true};
    start(c, &r, config, NULL);
    say(&r, "one");
    fixture_run_count(&r.messages, 1);
    ck_assert(str_eqc(buf_str(&r.last), "one"));
    say(&r, "pause");
    say(&r, "two");
    say(&r, "three");
    grpc_call_send_end(r.call);
    fixture_run_count(&r.messages, 2);
    for (int i = 0; i < 50; i++)
        uv_run(&fx.loop, UV_RUN_NOWAIT);
    ck_assert_uint_eq(grpc_served.messages, 2);
    grpc_stream_resume(grpc_served.last);
    fixture_run(&r.done);
    ck_assert_uint_eq(r.messages, 4);
    ck_assert(str_eqc(buf_str(&r.last), "three"));
    ck_assert_int_eq(r.status, GRPC_OK);
    /* The server ends while the client still sends. */
    start(c, &r, config, "first");
    say(&r, "stop");
    say(&r, "more");
    fixture_run(&r.done);
    ck_assert_int_eq(r.status, GRPC_ABORTED);
    ck_assert_str_eq(r.text, "stopped");
    buf_done(&r.last);
    end(s, c);
}
END_TEST

/* What is no gRPC server, or none at all, gives a status too. */
START_TEST(wrong_servers)
{
    fixture_init();
    struct http_server *s = serve(NULL);
    struct http_client_config config = {.protocol = HTTP_CLIENT_H2};
    struct http_client *c = connect_with(&config, http_server_port(s));
    struct reply r = {0};
    unary(c, &r, "/test.T/Echo", "x");
    ck_assert_int_eq(r.status, GRPC_INTERNAL);
    unary(c, &r, "/cut", "x");
    ck_assert_int_eq(r.status, GRPC_INTERNAL);
    stop_client(c);
    int port = http_server_port(s);
    stop_serving(s);
    c = connect_with(&config, port);
    unary(c, &r, "/test.T/Echo", "x");
    ck_assert_int_eq(r.status, GRPC_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(r.text, "connection refused"));
    stop_client(c);
    buf_done(&r.last);
    fixture_done();
}
END_TEST

/* --- blocking calls, from another thread --- */

struct sync_job {
    uv_async_t done;
    bool finished;
    int port, code;
    enum grpc_status status;
    struct str reply;
    char text[ERROR_MESSAGE_MAX];
};

static void *sync_thread(void *arg)
{
    struct sync_job *job = arg;
    struct http_sync *sync;
    struct error err = {0};
    AUTO_FREE char *endpoint = xasprintf("127.0.0.1:%d", job->port);
    const char *endpoints[] = {endpoint};
    struct http_client_config config = {
        .endpoints = endpoints, .endpoint_count = 1, .protocol = HTTP_CLIENT_H2};
    struct net_bytes *request = net_bytes_copy("blocking", 8), *response = NULL;
    struct grpc_call_config call = {.method = "/test.T/Echo", .request = request};
    job->code = http_sync_new(&config, &sync, &err);
    if (job->code == 0)
        job->code = grpc_sync_call(sync, &call, &response, &job->status, &err);
    if (job->code == 0 && str_eq(net_bytes_str(response), STR("blocking"))) {
        net_bytes_unref(response);
        call.method = "/test.T/Fail";
        job->code = grpc_sync_call(sync, &call, &response, &job->status, &err);
    }
    snprintf(job->text, sizeof(job->text), "%s", err.message);
    net_bytes_unref(request);
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
    struct http_server *s = begin(NULL);
    struct sync_job job = {.port = http_server_port(s)};
    pthread_t thread;
    uv_async_init(&fx.loop, &job.done, sync_done);
    ck_assert_int_eq(pthread_create(&thread, NULL, sync_thread, &job), 0);
    fixture_run(&job.finished);
    pthread_join(thread, NULL);
    ck_assert_int_eq(job.code, E_CONFLICT);
    ck_assert_int_eq(job.status, GRPC_FAILED_PRECONDITION);
    ck_assert_str_eq(job.text,
                     "rpc error: code = FailedPrecondition desc = no: 100% \xc3\xa9 \n done");
    end(s, NULL);
}
END_TEST

/* Messages come out whole, however the bytes are cut. */
START_TEST(framing)
{
    AUTO_BUF wire = BUF_INIT;
    size_t sizes[] = {0, 1, 5, 300, 70000};
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        uint8_t prefix[GRPC_PREFIX_BYTES];
        grpc_prefix(prefix, sizes[i]);
        buf_append(&wire, prefix, sizeof(prefix));
        for (size_t k = 0; k < sizes[i]; k++)
            buf_putc(&wire, (char)('a' + i));
    }
    for (size_t step = 1; step < wire.len; step = step < 40 ? step + 1 : step * 3) {
        struct grpc_reader reader;
        size_t found = 0;
        grpc_reader_init(&reader, 70000);
        for (size_t at = 0; at < wire.len; at += step) {
            struct str data = str_sub(buf_str(&wire), at, step), message;
            while (grpc_reader_next(&reader, &data, &message) == GRPC_READ_MESSAGE) {
                ck_assert_uint_eq(message.len, sizes[found]);
                if (message.len > 0)
                    ck_assert_int_eq(message.data[message.len - 1], (int)('a' + found));
                found++;
            }
        }
        ck_assert_uint_eq(found, ARRAY_SIZE(sizes));
        ck_assert(grpc_reader_is_empty(&reader));
        grpc_reader_done(&reader);
    }
}
END_TEST

/* Timeouts as on the wire. */
START_TEST(timeouts)
{
    char text[16];
    grpc_timeout_print(1500, text);
    ck_assert_str_eq(text, "1500m");
    grpc_timeout_print(UINT64_MAX, text);
    ck_assert_str_eq(text, "99999999S");
    ck_assert_uint_eq(grpc_timeout_parse(STR("2H")), 7200000);
    ck_assert_uint_eq(grpc_timeout_parse(STR("99999999n")), 100);
    ck_assert_uint_eq(grpc_timeout_parse(STR("100000000n")), 0);
    ck_assert_uint_eq(grpc_timeout_parse(STR("5")), 0);
    ck_assert_uint_eq(grpc_timeout_parse(STR("m")), 0);
    ck_assert_uint_eq(grpc_timeout_parse(STR("-1m")), 0);
}
END_TEST

UNIT_MAIN("grpc", UNIT_TEST(unary_calls); UNIT_TEST(deadline_and_cancel);
          UNIT_TEST(cancel_before_sending); UNIT_TEST(buffer_limit); UNIT_TEST(server_stream);
          UNIT_TEST(bidirectional); UNIT_TEST(wrong_servers); UNIT_TEST(blocking);
          UNIT_TEST(framing); UNIT_TEST(timeouts))
