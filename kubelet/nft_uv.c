/* nft_uv.c - see nft.h. */
#include "kubelet/nft.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void on_closed(uv_handle_t *h)
{
    struct nft_load *n = h->data;
    if (--n->handles > 0)
        return;
    n->output[n->output_len] = '\0';
    if (n->failed && n->output_len == 0)
        snprintf(n->output, sizeof(n->output), "it failed without a word");
    n->done(n->failed ? n->output : NULL, n->arg);
}

static void on_exit_status(uv_process_t *process, int64_t status, int signal)
{
    struct nft_load *n = process->data;
    n->failed = n->failed || status != 0 || signal != 0;
    uv_close((uv_handle_t *)process, on_closed);
}

/* What is said beyond the buffer's end overwrites its last bytes: reading never stops. */
static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
    struct nft_load *n = h->data;
    UNUSED(suggested);
    n->output_len = MIN_OF(n->output_len, (size_t)NFT_OUTPUT_MAX - 256);
    *ret = uv_buf_init(n->output + n->output_len, (unsigned)(NFT_OUTPUT_MAX - n->output_len));
}

static void on_output(uv_stream_t *s, ssize_t got, const uv_buf_t *buf)
{
    struct nft_load *n = s->data;
    UNUSED(buf);
    if (got > 0)
        n->output_len += (size_t)got;
    else if (got < 0)
        uv_close((uv_handle_t *)s, on_closed);
}

static void on_written(uv_write_t *w, int status)
{
    struct nft_load *n = w->data;
    n->failed = n->failed || status < 0;
    uv_close((uv_handle_t *)&n->in, on_closed);
}

void nft_load_start(struct nft_load *n, uv_loop_t *loop, struct str text,
                    void (*done)(const char *error, void *arg), void *arg)
{
    *n = (struct nft_load){.handles = 3, .done = done, .arg = arg};
    uv_pipe_init(loop, &n->in, 0);
    uv_pipe_init(loop, &n->err, 0);
    n->in.data = n->err.data = n->process.data = n->write.data = n;
    char *args[] = {(char *)(uintptr_t) "nft", (char *)(uintptr_t) "-f", (char *)(uintptr_t) "-",
                    NULL};
    uv_stdio_container_t stdio[] = {
        {.flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&n->in},
        {.flags = UV_IGNORE},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&n->err},
    };
    uv_process_options_t options = {
        .file = "nft", .args = args, .stdio = stdio, .stdio_count = 3, .exit_cb = on_exit_status};
    int rc = uv_spawn(loop, &n->process, &options);
    if (rc != 0) {
        n->failed = true;
        n->output_len = (size_t)snprintf(n->output, NFT_OUTPUT_MAX, "%s", uv_strerror(rc));
        uv_close((uv_handle_t *)&n->process, on_closed);
        uv_close((uv_handle_t *)&n->in, on_closed);
        uv_close((uv_handle_t *)&n->err, on_closed);
        return;
    }
    uv_buf_t b = uv_buf_init((char *)(uintptr_t)text.data, (unsigned)text.len);
    uv_read_start((uv_stream_t *)&n->err, on_alloc, on_output);
    uv_write(&n->write, (uv_stream_t *)&n->in, &b, 1, on_written);
}

static bool switch_on(const char *path)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = write(fd, "1", 1);
    close(fd);
    return n > 0;
}

bool nft_see_bridges(void)
{
    bool v4 = switch_on("/proc/sys/net/bridge/bridge-nf-call-iptables");
    bool v6 = switch_on("/proc/sys/net/bridge/bridge-nf-call-ip6tables");
    return v4 && v6;
}
