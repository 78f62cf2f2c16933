/* exec_uv.c - see exec_uv.h. Five handles: the result is told once all are closed. */
#include "kubelet/exec_uv.h"

#include "lib/base/buf.h"

#include <signal.h>
#include <uv.h>

#define STDERR_MAX 2048u

struct exec {
    uv_process_t process;
    uv_pipe_t in, out, err;
    uv_timer_t timer;
    uv_write_t write;
    char *input;
    char block[4096];
    struct buf output, errors;
    size_t output_max;
    bool too_long, timed_out, canceled;
    int64_t status;
    int signal;
    int start_code;
    unsigned open;
    unsigned streams; /* Of output, that have not ended. */
    bool exited;
    void (*done)(const char *why, struct str output, void *arg);
    void *arg;
};

static void tell(struct exec *e)
{
    AUTO_BUF why = BUF_INIT;
    if (e->start_code != 0)
        buf_puts(&why, uv_strerror(e->start_code));
    else if (e->timed_out)
        buf_puts(&why, "it took too long");
    else if (e->too_long)
        buf_printf(&why, "it wrote more than %zu bytes", e->output_max);
    else if (e->signal != 0)
        buf_printf(&why, "ended by signal %d", e->signal);
    else if (e->status != 0)
        buf_printf(&why, "exit status %d", (int)e->status);
    if (why.len > 0 && e->errors.len > 0)
        buf_printf(&why, ": %.*s", (int)e->errors.len, e->errors.data);
    buf_putc(&why, '\0');
    if (!e->canceled)
        e->done(why.len > 1 ? (const char *)why.data : NULL, buf_str(&e->output), e->arg);
    buf_done(&e->output);
    buf_done(&e->errors);
    free(e->input);
    free(e);
}

static void on_closed(uv_handle_t *h)
{
    struct exec *e = h->data;
    if (--e->open == 0)
        tell(e);
}

static void shut(void *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, on_closed);
}

static void check_end(struct exec *e)
{
    if (!e->exited || e->streams > 0)
        return;
    shut(&e->timer);
    shut(&e->in);
    shut(&e->process);
}

/* It has to end now: its pipes are not waited for, which what it started may hold open. */
static void stop(struct exec *e)
{
    if (!e->exited)
        kill(-e->process.pid, SIGKILL);
    shut(&e->out);
    shut(&e->err);
    e->streams = 0;
    check_end(e);
}

static void on_exit_status(uv_process_t *p, int64_t status, int sig)
{
    struct exec *e = p->data;
    e->exited = true;
    e->status = status;
    e->signal = sig;
    check_end(e);
}

static void on_timer(uv_timer_t *t)
{
    struct exec *e = t->data;
    e->timed_out = true;
    stop(e);
}

void exec_cancel(struct exec *e)
{
    e->canceled = true;
    if (e->start_code == 0)
        stop(e);
}

static void on_alloc(uv_handle_t *h, size_t size, uv_buf_t *ret)
{
    struct exec *e = h->data;
    UNUSED(size);
    *ret = uv_buf_init(e->block, sizeof(e->block));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
    struct exec *e = s->data;
    if (n < 0) {
        shut(s);
        e->streams--;
        check_end(e);
        return;
    }
    bool is_error = s == (uv_stream_t *)&e->err;
    struct buf *into = is_error ? &e->errors : &e->output;
    size_t max = is_error ? STDERR_MAX : e->output_max;
    size_t room = max - MIN_OF(max, into->len);
    buf_append(into, b->base, MIN_OF((size_t)n, room));
    if (!is_error && (size_t)n > room) {
        e->too_long = true;
        stop(e);
    }
}

static void on_written(uv_write_t *r, int status)
{
    struct exec *e = r->data;
    UNUSED(status); /* It need not read all; its exit tells. */
    shut(&e->in);
}

struct exec *exec_run(struct uv_loop_s *loop, const struct exec_config *config)
{
    struct exec *e = xzalloc(sizeof(*e));
    e->output_max = config->output_max;
    e->done = config->done;
    e->arg = config->arg;
    e->input = xstrndup(config->input.data, config->input.len);
    uv_pipe_init(loop, &e->in, 0);
    uv_pipe_init(loop, &e->out, 0);
    uv_pipe_init(loop, &e->err, 0);
    uv_timer_init(loop, &e->timer);
    e->in.data = e->out.data = e->err.data = e->timer.data = e->process.data = e->write.data = e;
    uv_stdio_container_t stdio[] = {
        {.flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&e->in},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&e->out},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&e->err},
    };
    uv_process_options_t options = {.file = config->path,
                                    .args = config->args,
                                    .env = config->env,
                                    .stdio = stdio,
                                    .stdio_count = 3,
                                    .exit_cb = on_exit_status,
                                    .flags = UV_PROCESS_DETACHED};
    e->open = 5;
    e->start_code = uv_spawn(loop, &e->process, &options);
    if (e->start_code != 0) {
        shut(&e->process);
        shut(&e->in);
        shut(&e->out);
        shut(&e->err);
        shut(&e->timer);
        return e;
    }
    e->streams = 2;
    uv_buf_t b = uv_buf_init(e->input, (unsigned)config->input.len);
    uv_read_start((uv_stream_t *)&e->out, on_alloc, on_read);
    uv_read_start((uv_stream_t *)&e->err, on_alloc, on_read);
    uv_write(&e->write, (uv_stream_t *)&e->in, &b, 1, on_written);
    uv_timer_start(&e->timer, on_timer, config->timeout_ms, 0);
    return e;
}
