/* test_stream.c - byte streams: order, back-pressure, half-close, closing,
 * addresses, and listeners on threads of their own. */
#include "test/unit/net/net_fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* One end of a connection, with what happened to it. */
struct end {
    struct net_stream *stream; /* NULL once closed. */
    bool open, eof, closed;
    size_t writable;
    struct buf got;
    struct error err;
    bool close_on_open;
    bool keep_open_on_eof;
};

static struct end server_end, client_end;

static void end_on_open(struct net_stream *s, void *arg)
{
    struct end *e = arg;
    e->open = true;
    if (e->close_on_open)
        net_stream_close(s);
}

static void end_on_read(struct net_stream *s, const uint8_t *data, size_t len, void *arg)
{
    UNUSED(s);
    buf_append(&((struct end *)arg)->got, data, len);
}

static void end_on_eof(struct net_stream *s, void *arg)
{
    struct end *e = arg;
    e->eof = true;
    if (!e->keep_open_on_eof)
        net_stream_close_soft(s);
}

static void end_on_writable(struct net_stream *s, void *arg)
{
    UNUSED(s);
    ((struct end *)arg)->writable++;
}

static void end_on_close(struct net_stream *s, const struct error *err, void *arg)
{
    UNUSED(s);
    struct end *e = arg;
    ck_assert(!e->closed);
    e->closed = true;
    e->stream = NULL;
    e->err = *err;
}

static const struct net_stream_handler END = {
    .on_open = end_on_open,
    .on_read = end_on_read,
    .on_eof = end_on_eof,
    .on_writable = end_on_writable,
    .on_close = end_on_close,
};

static void on_accept(struct net_listener *l, struct net_stream *s,
                      const struct net_stream_handler **ret_handler, void **ret_arg, void *arg)
{
    UNUSED(l);
    UNUSED(arg);
    server_end.stream = s;
    *ret_handler = &END;
    *ret_arg = &server_end;
}

static struct net_listener *listener;
static bool listener_closed;
static struct tls_context *server_tls, *client_tls;

static void on_listener_closed(void *arg)
{
    UNUSED(arg);
    listener_closed = true;
}

static void listen_at(const char *address)
{
    struct error err = {0};
    struct net_listen_config config = {
        .address = address, .tls = server_tls, .on_accept = on_accept};
    listener_closed = false;
    ck_assert_msg(net_listener_new(&fx.loop, &config, &listener, &err) == 0, "%s", err.message);
}

static void connect_to(const char *endpoint, uint64_t timeout_ms)
{
    struct error err = {0};
    struct net_connect_config config = {
        .endpoint = endpoint, .tls = client_tls, .timeout_ms = timeout_ms};
    ck_assert_msg(
        net_stream_connect(&fx.loop, &config, &END, &client_end, &client_end.stream, &err) == 0,
        "%s", err.message);
}

static void end_clear(struct end *e)
{
    buf_done(&e->got);
    *e = (struct end){0};
}

static void begin(bool tls)
{
    fixture_init();
    end_clear(&server_end);
    end_clear(&client_end);
    server_tls = tls ? fixture_server_tls(TLS_CLIENT_AUTH_NONE) : NULL;
    client_tls = tls ? fixture_client_tls(NULL) : NULL;
    listen_at("127.0.0.1:0");
    connect_to(net_listener_address(listener), 0);
    fixture_run(&client_end.open);
    fixture_run(&server_end.open);
}

static void finish(void)
{
    if (client_end.stream != NULL)
        net_stream_close(client_end.stream);
    if (server_end.stream != NULL)
        net_stream_close(server_end.stream);
    net_listener_close(listener, on_listener_closed, NULL);
    fixture_run(&listener_closed);
    while (client_end.stream != NULL || server_end.stream != NULL)
        uv_run(&fx.loop, UV_RUN_ONCE);
    end_clear(&server_end);
    end_clear(&client_end);
    tls_context_unref(server_tls);
    tls_context_unref(client_tls);
    fixture_done();
}

/* Writes of every size arrive in order, also after a pause in the middle. */
START_TEST(order_and_pause)
{
    begin(_i == 1);
    size_t total = 0;
    uint8_t block[40000];
    for (size_t size = 1; size <= sizeof(block); size = size * 3 + 1) {
        for (size_t i = 0; i < size; i++)
            block[i] = (uint8_t)((total + i) * 31 >> 3);
        net_stream_write(client_end.stream, block, size);
        total += size;
    }
    net_stream_pause(server_end.stream);
    for (int i = 0; i < 100; i++)
        uv_run(&fx.loop, UV_RUN_NOWAIT);
    ck_assert_uint_eq(server_end.got.len, 0);
    net_stream_unread(server_end.stream, "first", 5);
    net_stream_resume(server_end.stream);
    fixture_run_count(&server_end.got.len, total + 5);
    ck_assert_mem_eq(server_end.got.data, "first", 5);
    for (size_t i = 0; i < total; i++)
        ck_assert_uint_eq(server_end.got.data[5 + i], (uint8_t)(i * 31 >> 3));
    finish();
}
END_TEST

/* A writer that looks at the room is held back by a reader that does not read. */
START_TEST(back_pressure)
{
    begin(_i == 1);
    static uint8_t block[16384];
    size_t written = 0;
    net_stream_pause(server_end.stream);
    for (int i = 0; i < 3000; i++) {
        if (net_stream_room(client_end.stream) > 0) {
            net_stream_write(client_end.stream, block, sizeof(block));
            written += sizeof(block);
        }
        uv_run(&fx.loop, UV_RUN_NOWAIT);
    }
    ck_assert_uint_lt(written, 3000 * sizeof(block));
    ck_assert_uint_eq(net_stream_room(client_end.stream), 0);
    ck_assert_uint_lt(net_stream_pending(client_end.stream), 200000);
    size_t before = client_end.writable;
    net_stream_resume(server_end.stream);
    fixture_run_count(&server_end.got.len, written);
    ck_assert_uint_gt(client_end.writable, before);
    ck_assert_uint_gt(net_stream_room(client_end.stream), 0);
    finish();
}
END_TEST

/* Ending one direction leaves the other open. */
START_TEST(half_close)
{
    begin(_i == 1);
    server_end.keep_open_on_eof = true;
    net_stream_write(client_end.stream, "question", 8);
    net_stream_shutdown(client_end.stream);
    fixture_run(&server_end.eof);
    ck_assert_uint_eq(server_end.got.len, 8);
    ck_assert(!server_end.closed);
    net_stream_write(server_end.stream, "answer", 6);
    net_stream_close_soft(server_end.stream);
    fixture_run(&client_end.closed);
    ck_assert(str_eqc(buf_str(&client_end.got), "answer"));
    fixture_run(&server_end.closed);
    ck_assert_int_eq(server_end.err.code, E_CLOSED);
    finish();
}
END_TEST

/* What was written before a soft close arrives, however much it is. */
START_TEST(soft_close)
{
    begin(_i == 1);
    static uint8_t block[3000000];
    net_stream_write(server_end.stream, block, sizeof(block));
    net_stream_close_soft(server_end.stream);
    net_stream_write(server_end.stream, "ignored", 7);
    fixture_run(&client_end.closed);
    ck_assert_uint_eq(client_end.got.len, sizeof(block));
    fixture_run(&server_end.closed);
    finish();
}
END_TEST

/* Closing inside a callback, twice, or before the connection stands is fine. */
START_TEST(closing_any_time)
{
    begin(false);
    net_stream_close(client_end.stream);
    net_stream_close(client_end.stream);
    net_stream_write(client_end.stream, "x", 1);
    fixture_run(&client_end.closed);
    ck_assert_int_eq(client_end.err.code, E_CLOSED);
    fixture_run(&server_end.closed);
    end_clear(&client_end);
    end_clear(&server_end);
    connect_to(net_listener_address(listener), 0);
    net_stream_close(client_end.stream);
    fixture_run(&client_end.closed);
    ck_assert(!client_end.open);
    end_clear(&client_end);
    client_end.close_on_open = true;
    connect_to("localhost:1", 0);
    net_stream_close(client_end.stream); /* While the name is looked up, perhaps. */
    fixture_run(&client_end.closed);
    end_clear(&client_end);
    client_end.close_on_open = true;
    connect_to(net_listener_address(listener), 0);
    fixture_run(&client_end.closed);
    ck_assert(client_end.open);
    finish();
}
END_TEST

/* A server that never finishes the handshake, or never accepts, is given up. */
START_TEST(connect_timeouts)
{
    begin(false);
    net_stream_close(client_end.stream);
    fixture_run(&client_end.closed);
    fixture_run(&server_end.closed);
    end_clear(&client_end);
    end_clear(&server_end);
    server_end.keep_open_on_eof = true;
    client_tls = fixture_client_tls(NULL);
    connect_to(net_listener_address(listener), 50); /* It speaks no TLS and says nothing. */
    fixture_run(&client_end.closed);
    ck_assert_int_eq(client_end.err.code, E_TIMEOUT);
    finish();
}
END_TEST

/* Errors of connecting name the endpoint and the reason. */
START_TEST(connect_errors)
{
    begin(false);
    struct error err = {0};
    struct net_stream *s;
    static const char *const BAD[] = {"", "host", ":80", "[::1", "host:0", "host:99999"};
    for (size_t i = 0; i < ARRAY_SIZE(BAD); i++) {
        struct net_connect_config config = {.endpoint = BAD[i]};
        ck_assert_int_eq(net_stream_connect(&fx.loop, &config, &END, NULL, &s, &err), E_INVALID);
    }
    net_stream_close(client_end.stream);
    fixture_run(&client_end.closed);
    end_clear(&client_end);
    connect_to("/nonexistent/socket", 0);
    fixture_run(&client_end.closed);
    ck_assert_int_eq(client_end.err.code, E_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(client_end.err.message, "unix:/nonexistent/socket"));
    end_clear(&client_end);
    connect_to("name.invalid:80", 0);
    fixture_run(&client_end.closed);
    ck_assert_int_eq(client_end.err.code, E_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(client_end.err.message, "name.invalid:80"));
    finish();
}
END_TEST

/* Unix sockets: permissions, credentials, and what an unclean end leaves behind. */
START_TEST(unix_sockets)
{
    fixture_init();
    end_clear(&server_end);
    end_clear(&client_end);
    server_tls = client_tls = NULL;
    char dir[] = "/tmp/trireme-stream-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(dir));
    AUTO_FREE char *path = xasprintf("%s/s", dir);
    /* A socket file without a listener. */
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&un, sizeof(un)), 0);
    close(fd);
    listen_at(path);
    connect_to(path, 0);
    fixture_run(&client_end.open);
    fixture_run(&server_end.open);
    uint32_t uid = 1, gid = 1;
    ck_assert_int_eq(net_stream_peer_cred(server_end.stream, &uid, &gid), 0);
    ck_assert_uint_eq(uid, getuid());
    ck_assert_str_eq(net_stream_remote(server_end.stream), "unix");
    /* A living one is not pushed aside. */
    struct net_listener *other;
    struct error err = {0};
    struct net_listen_config config = {.address = path, .on_accept = on_accept};
    ck_assert_int_eq(net_listener_new(&fx.loop, &config, &other, &err), E_EXISTS);
    finish();
    ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

/* Addresses: both families, a port of one's choice only once, names refused. */
START_TEST(listen_addresses)
{
    begin(false);
    struct error err = {0};
    struct net_listener *other;
    struct net_listen_config config = {.address = net_listener_address(listener),
                                       .on_accept = on_accept};
    ck_assert_int_eq(net_listener_new(&fx.loop, &config, &other, &err), E_EXISTS);
    ck_assert_ptr_nonnull(strstr(err.message, net_listener_address(listener)));
    static const char *const BAD[] = {"127.0.0.1", "localhost:0", "[::1:0", "1.2.3.4.5:0"};
    for (size_t i = 0; i < ARRAY_SIZE(BAD); i++) {
        config.address = BAD[i];
        ck_assert_int_eq(net_listener_new(&fx.loop, &config, &other, &err), E_INVALID);
    }
    net_stream_close(client_end.stream);
    fixture_run(&server_end.closed);
    end_clear(&client_end);
    end_clear(&server_end);
    net_listener_close(listener, on_listener_closed, NULL);
    fixture_run(&listener_closed);
    listen_at(":0");
    AUTO_FREE char *v4 = xasprintf("127.0.0.1:%d", net_listener_port(listener));
    connect_to(v4, 0);
    fixture_run(&server_end.open);
    ck_assert_int_eq(strncmp(net_stream_remote(server_end.stream), "127.0.0.1:", 10), 0);
    finish();
}
END_TEST

/* --- threads that share a port and a TLS context --- */

#define THREADS 3

struct echo_thread {
    pthread_t thread;
    uv_loop_t loop;
    uv_async_t stop;
    struct net_listener *listener;
    size_t accepted;
};

static void echo_read(struct net_stream *s, const uint8_t *data, size_t len, void *arg)
{
    UNUSED(arg);
    net_stream_write(s, data, len);
}

static void echo_accept(struct net_listener *l, struct net_stream *s,
                        const struct net_stream_handler **ret_handler, void **ret_arg, void *arg)
{
    static const struct net_stream_handler ECHOING = {.on_read = echo_read};
    UNUSED(l);
    UNUSED(s);
    ((struct echo_thread *)arg)->accepted++;
    *ret_handler = &ECHOING;
    *ret_arg = NULL;
}

static void echo_stop(uv_async_t *async)
{
    struct echo_thread *t = CONTAINER_OF(async, struct echo_thread, stop);
    net_listener_close(t->listener, NULL, NULL);
    uv_close((uv_handle_t *)async, NULL);
}

static void *echo_run(void *arg)
{
    struct echo_thread *t = arg;
    uv_run(&t->loop, UV_RUN_DEFAULT);
    return NULL;
}

/* Who wants to share a port among threads learns whether another process has it, sharing or not. */
START_TEST(a_port_is_taken)
{
    fixture_init();
    struct error err = {0};
    for (int shared = 0; shared < 2; shared++) {
        struct net_listener *l;
        struct net_listen_config config = {
            .address = "127.0.0.1:0", .reuse_port = shared != 0, .on_accept = echo_accept};
        ck_assert_int_eq(net_listener_new(&fx.loop, &config, &l, &err), 0);
        ck_assert_int_eq(net_listen_check_alone(net_listener_address(l), &err), E_EXISTS);
        ck_assert_ptr_nonnull(strstr(err.message, "Address already in use"));
        AUTO_FREE char *address = xstrdup(net_listener_address(l));
        net_listener_close(l, NULL, NULL);
        uv_run(&fx.loop, UV_RUN_NOWAIT);
        ck_assert_int_eq(net_listen_check_alone(address, &err), 0);
    }
    ck_assert_int_eq(net_listen_check_alone("127.0.0.1:0", &err), 0);
    ck_assert_int_eq(net_listen_check_alone("127.0.0.1", &err), E_INVALID);
    fixture_done();
}
END_TEST

/* Every connection is served by one of them, while certificates are reloaded. */
START_TEST(threads_share_a_port)
{
    static struct echo_thread threads[THREADS];
    static struct end ends[60];
    fixture_init();
    server_tls = fixture_server_tls(TLS_CLIENT_AUTH_NONE);
    client_tls = fixture_client_tls(NULL);
    struct error err = {0};
    AUTO_FREE char *address = xstrdup("127.0.0.1:0");
    for (size_t i = 0; i < THREADS; i++) {
        struct echo_thread *t = &threads[i];
        ck_assert_int_eq(uv_loop_init(&t->loop), 0);
        ck_assert_int_eq(uv_async_init(&t->loop, &t->stop, echo_stop), 0);
        struct net_listen_config config = {.address = address,
                                           .tls = server_tls,
                                           .reuse_port = true,
                                           .on_accept = echo_accept,
                                           .arg = t};
        ck_assert_msg(net_listener_new(&t->loop, &config, &t->listener, &err) == 0, "%s",
                      err.message);
        free(address);
        address = xstrdup(net_listener_address(t->listener));
    }
    for (size_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i].thread, NULL, echo_run, &threads[i]), 0);
    for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
        struct net_connect_config config = {.endpoint = address, .tls = client_tls};
        ck_assert_int_eq(
            net_stream_connect(&fx.loop, &config, &END, &ends[i], &ends[i].stream, &err), 0);
        net_stream_write(ends[i].stream, "ping", 4);
        if (i % 10 == 0)
            ck_assert_int_eq(tls_context_set_ca(server_tls, buf_str(&fx.ca_pem), &err), 0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
        fixture_run_count(&ends[i].got.len, 4);
        net_stream_close(ends[i].stream);
        fixture_run(&ends[i].closed);
        end_clear(&ends[i]);
    }
    size_t accepted = 0;
    for (size_t i = 0; i < THREADS; i++) {
        uv_async_send(&threads[i].stop);
        pthread_join(threads[i].thread, NULL);
        ck_assert_int_eq(uv_loop_close(&threads[i].loop), 0);
        accepted += threads[i].accepted;
    }
    ck_assert_uint_eq(accepted, ARRAY_SIZE(ends));
    tls_context_unref(server_tls);
    tls_context_unref(client_tls);
    fixture_done();
}
END_TEST

#define BOTH(name) tcase_add_loop_test(tc, name, 0, 2)

UNIT_MAIN("stream", BOTH(order_and_pause); BOTH(back_pressure); BOTH(half_close); BOTH(soft_close);
          UNIT_TEST(closing_any_time); UNIT_TEST(connect_timeouts); UNIT_TEST(connect_errors);
          UNIT_TEST(unix_sockets); UNIT_TEST(listen_addresses); UNIT_TEST(a_port_is_taken);
          UNIT_TEST(threads_share_a_port))
