/* nft_list_uv.c - reading what stands in nftables; see nft.h. */
#include "kubelet/nft.h"

#include "lib/base/buf.h"

#include <signal.h>

struct nft_list {
    uv_process_t process;
    uv_pipe_t out;
    int handles;
    bool failed, long_;
    int spawn_error;
    struct buf text;
    void (*done)(struct str text, const char *error, void *arg);
    void *arg;
};

static void on_closed(uv_handle_t *h)
{
    struct nft_list *n = h->data;
    if (--n->handles > 0)
        return;
    const char *error = n->spawn_error != 0 ? uv_strerror(n->spawn_error)
                        : n->long_          ? "it says too much"
                        : n->failed         ? "it failed"
                                            : NULL;
    n->done(buf_str(&n->text), error, n->arg);
    buf_done(&n->text);
    free(n);
}

static void on_exit_status(uv_process_t *process, int64_t status, int signal)
{
    struct nft_list *n = process->data;
    n->failed = n->failed || status != 0 || signal != 0;
    uv_close((uv_handle_t *)process, on_closed);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
    UNUSED(h);
    *ret = uv_buf_init(xmalloc(suggested), (unsigned)suggested);
}

static void on_output(uv_stream_t *s, ssize_t got, const uv_buf_t *b)
{
    struct nft_list *n = s->data;
    if (got > 0 && !n->long_) {
        n->long_ = n->text.len + (size_t)got > NFT_LISTED_MAX;
        if (n->long_)
            uv_process_kill(&n->process, SIGKILL);
        else
            buf_append(&n->text, b->base, (size_t)got);
    }
    free(b->base);
    if (got < 0)
        uv_close((uv_handle_t *)s, on_closed);
}

void nft_list_start(uv_loop_t *loop, const char *script,
                    void (*done)(struct str text, const char *error, void *arg), void *arg)
{
    struct nft_list *n = xzalloc(sizeof(*n));
    n->handles = 2;
    n->done = done;
    n->arg = arg;
    uv_pipe_init(loop, &n->out, 0);
    n->out.data = n->process.data = n;
    char *args[] = {(char *)(uintptr_t) "nft", (char *)(uintptr_t) "-j", (char *)(uintptr_t)script,
                    NULL};
    uv_stdio_container_t stdio[] = {
        {.flags = UV_IGNORE},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&n->out},
        {.flags = UV_INHERIT_FD, .data.fd = 2}, /* What it complains of stands in our log. */
    };
    uv_process_options_t options = {
        .file = "nft", .args = args, .stdio = stdio, .stdio_count = 3, .exit_cb = on_exit_status};
    n->spawn_error = uv_spawn(loop, &n->process, &options);
    if (n->spawn_error == 0) {
        uv_read_start((uv_stream_t *)&n->out, on_alloc, on_output);
        return;
    }
    uv_close((uv_handle_t *)&n->process, on_closed);
    uv_close((uv_handle_t *)&n->out, on_closed);
}
