/* test_foreign.c - other people's clients against our server: curl for HTTP/1.1
 * and HTTP/2 with and without TLS, nghttp and h2load for HTTP/2. Says which of
 * them are missing. */
#include "lib/base/file.h"
#include "test/unit/net/http_fixture.h"

#include <stdarg.h>
#include <unistd.h>

static char dir[] = "/tmp/trireme-foreign-XXXXXX";
static struct http_server *tls_server, *plain_server;
static struct tls_context *server_tls;

/* --- running a command while the loop serves --- */

struct command {
    uv_process_t process;
    uv_pipe_t out;
    struct buf text;
    int64_t status;
    bool exited, closed;
    char piece[65536];
};

static void command_on_exit(uv_process_t *process, int64_t status, int signal_number)
{
    struct command *c = CONTAINER_OF(process, struct command, process);
    c->status = signal_number != 0 ? -signal_number : status;
    c->exited = true;
    uv_close((uv_handle_t *)process, NULL);
}

static void command_on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    UNUSED(suggested);
    struct command *c = CONTAINER_OF((uv_pipe_t *)handle, struct command, out);
    *ret = uv_buf_init(c->piece, sizeof(c->piece));
}

static void command_on_closed(uv_handle_t *handle)
{
    CONTAINER_OF((uv_pipe_t *)handle, struct command, out)->closed = true;
}

static void command_on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b)
{
    struct command *c = CONTAINER_OF((uv_pipe_t *)stream, struct command, out);
    if (n > 0)
        buf_append(&c->text, b->base, (size_t)n);
    else if (n < 0)
        uv_close((uv_handle_t *)stream, command_on_closed);
}

/* Output (both streams) with NUL behind it. The caller frees c->text. */
static const char *run(struct command *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
static const char *run(struct command *c, const char *fmt, ...)
{
    char line[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    memset(c, 0, sizeof(*c));
    char *args[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c", line, NULL};
    uv_pipe_init(&fx.loop, &c->out, 0);
    uv_stdio_container_t stdio[] = {
        {.flags = UV_IGNORE},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&c->out},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
    };
    uv_process_options_t options = {.exit_cb = command_on_exit,
                                    .file = "sh",
                                    .args = args,
                                    .stdio = stdio,
                                    .stdio_count = 3,
                                    .cwd = dir};
    ck_assert_int_eq(uv_spawn(&fx.loop, &c->process, &options), 0);
    ck_assert_int_eq(uv_read_start((uv_stream_t *)&c->out, command_on_alloc, command_on_read), 0);
    fixture_run(&c->exited);
    fixture_run(&c->closed);
    buf_putc(&c->text, '\0');
    return (const char *)c->text.data;
}

static bool have(const char *program)
{
    AUTO_FREE char *line = xasprintf("command -v %s >/dev/null", program);
    if (system(line) == 0)
        return true;
    printf("%s is not installed: not tried\n", program);
    return false;
}

/* --- the servers --- */

static void put(const char *name, const struct buf *b)
{
    AUTO_FREE char *path = xasprintf("%s/%s", dir, name);
    ck_assert_int_eq(file_write_atomic(path, b->data, b->len, 0600, NULL), 0);
}

static void begin(void)
{
    fixture_init();
    ck_assert_ptr_nonnull(mkdtemp(dir));
    struct fixture_pair alice = fixture_certify("alice", PKI_USAGE_CLIENT);
    put("ca.pem", &fx.ca_pem);
    put("alice.pem", &alice.cert);
    put("alice.key", &alice.key);
    fixture_pair_done(&alice);
    server_tls = fixture_server_tls(TLS_CLIENT_AUTH_REQUEST);
    tls_server = serve(server_tls);
    plain_server = serve(NULL);
}

static void end(void)
{
    stop_serving(tls_server);
    server_closed = false;
    stop_serving(plain_server);
    tls_context_unref(server_tls);
    ck_assert_int_eq(file_remove_tree(dir, NULL), 0);
    fixture_done();
}

/* --- tests --- */

/* Downloads, uploads, client certificates and refusals over every transport. */
START_TEST(curl)
{
    static const char *const WAYS[] = {"--http1.1", "--http2", "--http1.0"};
    static struct command c;
    begin();
    for (size_t i = 0; have("curl") && i < 2 * ARRAY_SIZE(WAYS); i++) {
        bool tls = i % 2 == 0;
        const char *way = WAYS[i / 2];
        if (!tls && strcmp(way, "--http2") == 0)
            way = "--http2-prior-knowledge";
        AUTO_FREE char *base =
            xasprintf("curl -sS %s --cacert ca.pem %s://127.0.0.1:%d", way, tls ? "https" : "http",
                      http_server_port(tls ? tls_server : plain_server));
        const char *got = run(&c, "%s/a -D -", base);
        ck_assert_msg(strstr(got, "hello") != NULL && strstr(got, "x-path: /a") != NULL, "%s", got);
        buf_done(&c.text);
        got = run(&c, "%s/ -D - --cert alice.pem --key alice.key", base);
        ck_assert_msg(!tls || strstr(got, "x-peer: alice") != NULL, "%s", got);
        buf_done(&c.text);
        got = run(&c, "%s/big?30000000 | wc -c", base);
        ck_assert_int_eq(atoi(got), 30000000);
        buf_done(&c.text);
        got = run(&c,
                  "head -c 1000000 /dev/zero > body; %s/echo --data-binary @body | cmp - body "
                  "&& echo same",
                  base);
        ck_assert_str_eq(got, "same\n");
        buf_done(&c.text);
        got = run(&c,
                  "head -c 9000000 /dev/zero | %s/echo --data-binary @- -o /dev/null "
                  "-w '%%{http_code}'",
                  base);
        ck_assert_str_eq(got, "413");
        buf_done(&c.text);
        got =
            run(&c, "%s/gzip --compressed -o out -w '%%{http_code} %%{size_download}'; wc -c < out",
                base);
        ck_assert_msg(strstr(got, "200") == got && strstr(got, "200000") != NULL, "%s", got);
        buf_done(&c.text);
    }
    end();
}
END_TEST

/* Frames as another implementation reads them; a graceful goodbye; many streams at once. */
START_TEST(nghttp)
{
    static struct command c;
    begin();
    if (have("nghttp")) {
        const char *got =
            run(&c, "nghttp -nv https://127.0.0.1:%d/big?100000", http_server_port(tls_server));
        ck_assert_ptr_nonnull(strstr(got, ":status: 200"));
        ck_assert_ptr_nonnull(strstr(got, "END_STREAM"));
        ck_assert_ptr_null(strstr(got, "INVALID"));
        buf_done(&c.text);
    }
    if (have("h2load")) {
        const char *got = run(&c, "h2load -n 5000 -c 10 -m 50 https://127.0.0.1:%d/x",
                              http_server_port(tls_server));
        ck_assert_msg(strstr(got, "5000 succeeded, 0 failed, 0 errored") != NULL, "%s", got);
        buf_done(&c.text);
        got = run(&c, "h2load --h1 -n 2000 -c 10 http://127.0.0.1:%d/x",
                  http_server_port(plain_server));
        ck_assert_msg(strstr(got, "2000 succeeded, 0 failed, 0 errored") != NULL, "%s", got);
        buf_done(&c.text);
    }
    end();
}
END_TEST

UNIT_MAIN("foreign", UNIT_TEST(curl); UNIT_TEST(nghttp))
