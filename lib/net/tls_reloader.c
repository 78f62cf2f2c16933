/* tls_reloader.c - follows certificate files on a timer; see tls.h. */
#include "lib/net/tls.h"

#include "lib/base/log.h"

#include <uv.h>

struct tls_reloader {
    uv_timer_t timer;
    uv_work_t work;
    struct tls_context *context;
    bool working, stopped, closed;
    /* Written by the worker, read by the loop afterwards. */
    int code;
    bool changed;
    struct error err;
};

static void tls_reloader_free_if_idle(struct tls_reloader *r)
{
    if (!r->closed || r->working)
        return;
    tls_context_unref(r->context);
    free(r);
}

static void tls_reloader_work(uv_work_t *work)
{
    struct tls_reloader *r = CONTAINER_OF(work, struct tls_reloader, work);
    error_clear(&r->err);
    r->changed = false;
    r->code = tls_context_reload(r->context, &r->changed, &r->err);
}

static void tls_reloader_done(uv_work_t *work, int status)
{
    struct tls_reloader *r = CONTAINER_OF(work, struct tls_reloader, work);
    r->working = false;
    if (status == 0 && r->code < 0)
        log_error("reload certificates: %s; those in use stay", error_message(&r->err));
    else if (status == 0 && r->changed)
        log_info("certificates reloaded");
    tls_reloader_free_if_idle(r);
}

static void tls_reloader_tick(uv_timer_t *timer)
{
    struct tls_reloader *r = CONTAINER_OF(timer, struct tls_reloader, timer);
    if (r->working)
        return;
    r->working = uv_queue_work(timer->loop, &r->work, tls_reloader_work, tls_reloader_done) == 0;
}

struct tls_reloader *tls_reloader_start(struct uv_loop_s *loop, struct tls_context *c,
                                        uint64_t period_ms)
{
    struct tls_reloader *r = xzalloc(sizeof(*r));
    r->context = tls_context_ref(c);
    uv_timer_init(loop, &r->timer);
    uv_unref((uv_handle_t *)&r->timer);
    uv_timer_start(&r->timer, tls_reloader_tick, period_ms, period_ms);
    return r;
}

static void tls_reloader_closed(uv_handle_t *handle)
{
    struct tls_reloader *r = CONTAINER_OF((uv_timer_t *)handle, struct tls_reloader, timer);
    r->closed = true;
    tls_reloader_free_if_idle(r);
}

void tls_reloader_stop(struct tls_reloader *r)
{
    if (r == NULL || r->stopped)
        return;
    r->stopped = true;
    uv_close((uv_handle_t *)&r->timer, tls_reloader_closed);
}
