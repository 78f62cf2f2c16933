/* fuzz_http_server.c - what clients may send to the HTTP server, HTTP/1 and
 * HTTP/2, over a unix socket in this process. Every connection must end. */
#include "lib/base/arena.h"
#include "lib/net/bytes.h"
#include "lib/net/http_server.h"
#include "lib/net/stream.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#define ROUNDS_MAX 100000

static uv_loop_t loop;
static struct http_server *server;
static char address[64];
static bool closed;
static const uint8_t *input;
static size_t input_len;

/* --- the server --- */

static void on_body_data(struct http_request *r, const uint8_t *data, size_t len, void *arg)
{
    UNUSED(data);
    size_t *total = arg;
    *total += len;
    if (*total % 3 == 0) {
        http_request_pause(r);
        http_request_resume(r);
    }
}

static void on_body_end(struct http_request *r, void *arg)
{
    http_respond(r, 200, arena_printf(r->arena, "%zu", *(size_t *)arg));
}

static void on_abort(struct http_request *r, void *arg)
{
    UNUSED(arg);
    if (!http_response_started(r))
        http_response_start(r, 500, -1);
    http_response_end(r);
}

static const struct http_body_handler BODY = {.on_data = on_body_data, .on_end = on_body_end};

static void on_headers(struct http_request *r, void *arg)
{
    UNUSED(arg);
    /* Everything a handler looks at must be readable. */
    ASSERT(strlen(str_c(r->method)) == r->method.len);
    ASSERT(r->path.len > 0 && r->path.data[r->path.len] == '\0');
    for (size_t i = 0; i < r->header_count; i++)
        ASSERT(r->headers[i].value.data[r->headers[i].value.len] == '\0');
    http_request_upgrade(r);
    if (str_has_prefix(r->path, STR("/s"))) {
        http_request_on_abort(r, on_abort, NULL);
        http_request_stream_body(r, &BODY, ARENA_NEW(r->arena, size_t));
    } else if (str_has_prefix(r->path, STR("/e"))) {
        http_respond(r, 403, STR("early"));
    } else if (str_has_prefix(r->path, STR("/h"))) {
        http_request_set_body_max(r, 8);
    }
}

static void on_request(struct http_request *r, void *arg)
{
    UNUSED(arg);
    if (str_has_prefix(r->path, STR("/a"))) {
        http_response_start(r, 200, -1);
        http_response_write_copy(r, "cut", 3);
        http_response_abort(r);
    } else if (str_has_prefix(r->path, STR("/w"))) {
        http_request_on_abort(r, on_abort, NULL); /* Ends when the client leaves. */
    } else if (str_has_prefix(r->path, STR("/t"))) {
        http_response_start(r, 200, -1);
        http_response_write_copy(r, "x", 1);
        http_response_trailer(r, "t", "v");
        http_response_end(r);
    } else {
        http_respond(r, 200, r->body);
    }
}

/* --- the client --- */

static void client_on_open(struct net_stream *s, void *arg)
{
    UNUSED(arg);
    net_stream_write(s, input, input_len);
    net_stream_shutdown(s);
}

static void client_on_close(struct net_stream *s, const struct error *err, void *arg)
{
    UNUSED(s);
    UNUSED(err);
    UNUSED(arg);
    closed = true;
}

static const struct net_stream_handler CLIENT = {.on_open = client_on_open,
                                                 .on_close = client_on_close};

static void remove_socket(void)
{
    unlink(address);
}

static void start_server(void)
{
    struct error err = {0};
    struct http_server_config config = {
        .name = "fuzz",
        .on_headers = on_headers,
        .on_request = on_request,
        .limits = {.header_bytes_max = 2000, .header_count_max = 20, .body_bytes_max = 1000},
    };
    signal(SIGPIPE, SIG_IGN);
    snprintf(address, sizeof(address), "/tmp/trireme-fuzz-http-%d", (int)getpid());
    struct net_listen_config listen = {.address = address};
    if (uv_loop_init(&loop) != 0 || http_server_new(&loop, &config, &server, &err) != 0 ||
        http_server_listen(server, &listen, &err) != 0)
        PANIC("%s", err.message);
    atexit(remove_socket);
}

static bool server_is_idle(void)
{
    struct http_server_stats stats;
    http_server_get_stats(server, &stats);
    return stats.connections == 0 && stats.requests == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (server == NULL)
        start_server();
    struct error err = {0};
    struct net_stream *stream;
    struct net_connect_config config = {.endpoint = address};
    input = data;
    input_len = size;
    closed = false;
    if (net_stream_connect(&loop, &config, &CLIENT, NULL, &stream, &err) != 0)
        PANIC("%s", err.message);
    for (int rounds = 0; !closed || !server_is_idle(); rounds++) {
        ASSERT_CMP(rounds, <, ROUNDS_MAX);
        uv_run(&loop, UV_RUN_ONCE);
    }
    return 0;
}

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define SETTINGS "\0\0\0\x04\0\0\0\0\0"
/* HEADERS of stream 1: GET (or POST) http /x, :authority a. */
#define GET_FRAME(path)                                                                            \
    "\0\0\x09\x01\x05\0\0\0\x01\x82\x86\x04\x02" path "\x41\x01"                                   \
    "a"
#define POST_FRAME(path)                                                                           \
    "\0\0\x09\x01\x04\0\0\0\x01\x83\x86\x04\x02" path "\x41\x01"                                   \
    "a"
#define DATA_FRAME                                                                                 \
    "\0\0\x03\0\x01\0\0\0\x01"                                                                     \
    "abc"

/* The lengths count NULs inside, but not the one behind. */
#define FUZZ_STR(text)                                                                             \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    static const struct str SEEDS[] = {
        FUZZ_STR(
            "GET /x HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\nGET /t HTTP/1.1\r\nHost: a\r\n\r\n"),
        FUZZ_STR("POST /s HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabcdef"),
        FUZZ_STR("POST /e HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
                 "chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        FUZZ_STR("GET /w HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: "
                 "websocket\r\n\r\n\x81\x00"),
        FUZZ_STR("PUT /h HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: "
                 "9\r\n\r\nabcdefghi"),
        FUZZ_STR("HEAD /a HTTP/1.0\r\n\r\n"),
        FUZZ_STR(PREFACE SETTINGS GET_FRAME("/x")),
        FUZZ_STR(PREFACE SETTINGS GET_FRAME("/t")),
        FUZZ_STR(PREFACE SETTINGS GET_FRAME("/w")),
        FUZZ_STR(PREFACE SETTINGS POST_FRAME("/s") DATA_FRAME),
        FUZZ_STR(PREFACE SETTINGS POST_FRAME("/e") DATA_FRAME),
        FUZZ_STR(PREFACE SETTINGS POST_FRAME("/a") DATA_FRAME "\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08"),
    };
    if (i >= ARRAY_SIZE(SEEDS))
        return 0;
    memcpy(p, SEEDS[i].data, MIN_OF(SEEDS[i].len, cap));
    return MIN_OF(SEEDS[i].len, cap);
}
