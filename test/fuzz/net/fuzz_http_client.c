/* fuzz_http_client.c - what servers may answer to the HTTP client. The first
 * byte picks the protocol; every call must end. */
#include "lib/net/http_client.h"
#include "lib/net/stream.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#define ROUNDS_MAX 100000

static uv_loop_t loop;
static struct net_listener *listener;
static char address[64];
static const uint8_t *input;
static size_t input_len;
static size_t open_streams;
static bool ended, client_closed;

static void server_on_read(struct net_stream *s, const uint8_t *data, size_t len, void *arg)
{
    UNUSED(data);
    UNUSED(len);
    UNUSED(arg);
    net_stream_write(s, input, input_len);
    net_stream_close_soft(s);
}

static void server_on_close(struct net_stream *s, const struct error *err, void *arg)
{
    UNUSED(s);
    UNUSED(err);
    UNUSED(arg);
    open_streams--;
}

static void on_accept(struct net_listener *l, struct net_stream *s,
                      const struct net_stream_handler **ret_handler, void **ret_arg, void *arg)
{
    static const struct net_stream_handler HANDLER = {.on_read = server_on_read,
                                                      .on_close = server_on_close};
    UNUSED(l);
    UNUSED(s);
    UNUSED(arg);
    open_streams++;
    *ret_handler = &HANDLER;
    *ret_arg = NULL;
}

static void on_data(struct http_call *call, const uint8_t *data, size_t len, void *arg)
{
    UNUSED(arg);
    UNUSED(data);
    if (len % 3 == 0) {
        http_call_pause(call);
        http_call_resume(call);
    } else if (len % 7 == 0) {
        http_call_cancel(call);
    }
}

static void on_end(struct http_call *call, const struct error *err, void *arg)
{
    UNUSED(arg);
    size_t count;
    ASSERT(err == NULL || err->code < 0);
    ASSERT(err != NULL || http_call_status(call) >= 100);
    http_call_trailers(call, &count);
    ended = true;
}

static void on_upgrade(struct http_call *call, struct net_stream *stream, void *arg)
{
    static const struct net_stream_handler HANDLER = {.on_close = NULL};
    UNUSED(call);
    UNUSED(arg);
    net_stream_set_handler(stream, &HANDLER, NULL);
    net_stream_close(stream);
}

static void on_closed(void *arg)
{
    UNUSED(arg);
    client_closed = true;
}

static void remove_socket(void)
{
    unlink(address);
}

static void start(void)
{
    struct error err = {0};
    signal(SIGPIPE, SIG_IGN);
    snprintf(address, sizeof(address), "/tmp/trireme-fuzz-client-%d", (int)getpid());
    struct net_listen_config listen = {.address = address, .on_accept = on_accept};
    if (uv_loop_init(&loop) != 0 || net_listener_new(&loop, &listen, &listener, &err) != 0)
        PANIC("%s", err.message);
    atexit(remove_socket);
}

static void run_until(const bool *flag)
{
    for (int rounds = 0; !*flag || open_streams > 0; rounds++) {
        ASSERT_CMP(rounds, <, ROUNDS_MAX);
        uv_run(&loop, UV_RUN_ONCE);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (listener == NULL)
        start();
    if (size == 0)
        return 0;
    struct error err = {0};
    struct http_client *client;
    const char *endpoints[] = {address};
    struct http_client_config config = {
        .endpoints = endpoints,
        .endpoint_count = 1,
        .protocol = data[0] % 2 == 0 ? HTTP_CLIENT_H1 : HTTP_CLIENT_H2,
        .header_bytes_max = 1000,
    };
    struct http_call_config call = {
        .target = "/",
        .method = data[0] % 4 < 2 ? "GET" : "HEAD",
        .upgrade = data[0] % 8 == 4,
        .on_data = on_data,
        .on_end = on_end,
        .on_upgrade = on_upgrade,
    };
    input = data + 1;
    input_len = size - 1;
    ended = client_closed = false;
    if (http_client_new(&loop, &config, &client, &err) != 0 ||
        http_call_start(client, &call, NULL, &err) != 0)
        PANIC("%s", err.message);
    run_until(&ended);
    http_client_close(client, on_closed, NULL);
    run_until(&client_closed);
    return 0;
}

#define SETTINGS "\0\0\0\x04\0\0\0\0\0"
#define HEADERS "\0\0\x01\x01\x04\0\0\0\x01\x88"
#define DATA                                                                                       \
    "\0\0\x03\0\x01\0\0\0\x01"                                                                     \
    "abc"
#define TRAILERS "\0\0\x05\x01\x05\0\0\0\x01\0\x01t\x01v"

/* The lengths count NULs inside, but not the one behind. */
#define FUZZ_STR(text)                                                                             \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    static const struct str SEEDS[] = {
        FUZZ_STR("\0HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd"),
        FUZZ_STR(
            "\0HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            "3\r\nabc\r\n0\r\nT: v\r\n\r\n"),
        FUZZ_STR("\x02HTTP/1.0 200 OK\r\n\r\nto the end"),
        FUZZ_STR("\x04HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nraw"),
        FUZZ_STR("\x01" SETTINGS HEADERS DATA),
        FUZZ_STR("\x01" SETTINGS HEADERS TRAILERS),
        FUZZ_STR("\x01" SETTINGS "\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        FUZZ_STR("\x01" SETTINGS "\0\0\x04\x03\0\0\0\0\x01\0\0\0\x07"),
    };
    if (i >= ARRAY_SIZE(SEEDS))
        return 0;
    memcpy(p, SEEDS[i].data, MIN_OF(SEEDS[i].len, cap));
    return MIN_OF(SEEDS[i].len, cap);
}
