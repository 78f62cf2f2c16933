/* loop.c - see loop.h. */
#include "lib/base/loop.h"

#include "lib/base/log.h"

#include <inttypes.h>
#include <stdatomic.h>

static atomic_uint_fast64_t slow_count;

int loop_error_code(int uv_code)
{
    switch (uv_code) {
    case UV_ENOENT:
        return E_NOT_FOUND;
    case UV_EACCES:
    case UV_EPERM:
        return E_FORBIDDEN;
    case UV_ECONNREFUSED:
    case UV_EHOSTUNREACH:
    case UV_ENETUNREACH:
    case UV_ENETDOWN:
    case UV_EAI_NONAME:
    case UV_EAI_AGAIN:
    case UV_EAI_FAIL:
    case UV_EAI_NODATA:
        return E_UNAVAILABLE;
    case UV_ETIMEDOUT:
        return E_TIMEOUT;
    case UV_ECANCELED:
        return E_CANCELED;
    case UV_EADDRINUSE:
        return E_EXISTS;
    case UV_EINVAL:
        return E_INVALID;
    case UV_EOF:
        return E_EOF;
    case UV_ENOSPC:
        return E_NO_SPACE;
    default:
        return E_IO;
    }
}

int loop_error_set(struct error *err, int uv_code, const char *what)
{
    return error_set(err, loop_error_code(uv_code), "%s: %s", what, uv_strerror(uv_code));
}

static void defer_queue_run(uv_idle_t *handle)
{
    struct defer_queue *q = CONTAINER_OF(handle, struct defer_queue, idle);
    struct list jobs;
    list_init(&jobs);
    list_splice(&jobs, &q->jobs);
    /* Jobs posted from here on wait for the next round. */
    uv_idle_stop(handle);
    for (struct list *l; (l = list_pop_front(&jobs)) != NULL;) {
        struct deferred *d = LIST_ENTRY(l, struct deferred, link);
        if (!uv_is_closing((uv_handle_t *)handle))
            d->run(d);
    }
}

void defer_queue_init(struct defer_queue *q, uv_loop_t *loop)
{
    uv_idle_init(loop, &q->idle);
    list_init(&q->jobs);
    q->on_closed = NULL;
}

static void defer_queue_handle_closed(uv_handle_t *handle)
{
    struct defer_queue *q = CONTAINER_OF((uv_idle_t *)handle, struct defer_queue, idle);
    if (q->on_closed != NULL)
        q->on_closed(q);
}

void defer_queue_close(struct defer_queue *q, void (*on_closed)(struct defer_queue *q))
{
    while (list_pop_front(&q->jobs) != NULL)
        ;
    q->on_closed = on_closed;
    uv_close((uv_handle_t *)&q->idle, defer_queue_handle_closed);
}

void deferred_init(struct deferred *d, void (*run)(struct deferred *d))
{
    list_init(&d->link);
    d->queue = NULL;
    d->run = run;
}

void deferred_post(struct defer_queue *q, struct deferred *d)
{
    if (!list_empty(&d->link) || uv_is_closing((uv_handle_t *)&q->idle))
        return;
    list_push_back(&q->jobs, &d->link);
    d->queue = q;
    uv_idle_start(&q->idle, defer_queue_run);
}

void deferred_cancel(struct deferred *d)
{
    if (list_empty(&d->link))
        return;
    list_remove(&d->link);
    /* A queue without jobs must not keep the loop from sleeping. */
    if (list_empty(&d->queue->jobs))
        uv_idle_stop(&d->queue->idle);
}

void loop_span_end(struct loop_span *s)
{
    uint64_t took_ns = uv_hrtime() - s->start_ns;
    if (took_ns < LOOP_SLOW_NS)
        return;
    atomic_fetch_add_explicit(&slow_count, 1, memory_order_relaxed);
    log_warning("callback %s held the loop for %" PRIu64 " ms", s->name, took_ns / 1000000);
}

uint64_t loop_slow_count(void)
{
    return atomic_load_explicit(&slow_count, memory_order_relaxed);
}
