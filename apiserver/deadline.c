/* deadline.c - see deadline.h. The texts are upstream's. */
#include "apiserver/deadline.h"

#include "apiserver/audit.h"
#include "apiserver/encode.h"
#include "apiserver/flow_control.h"
#include "apiserver/request.h"
#include "apiserver/server_metrics.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/flags.h"
#include "lib/net/http_server.h"

#define WRITE_NS (34ull * 1000000000)

struct deadlines {
    uv_timer_t timer;
    struct list waiting; /* Requests, the first to end first. */
    uint64_t armed_ns;   /* When the timer fires, or before; 0: it does not. */
};

static void on_time(uv_timer_t *timer);

static void arm(struct deadlines *d, uint64_t at_ns)
{
    uint64_t now = uv_hrtime();
    if (d->armed_ns != 0 && d->armed_ns <= at_ns)
        return;
    d->armed_ns = at_ns;
    uv_update_time(d->timer.loop);
    uv_timer_start(&d->timer, on_time, at_ns > now ? (at_ns - now) / 1000000 + 1 : 0, 0);
}

static void wait_until(struct req *r, uint64_t at_ns)
{
    struct deadlines *d = r->thread->deadlines;
    struct list *before = d->waiting.prev;
    r->deadline_ns = at_ns;
    while (before != &d->waiting && LIST_ENTRY(before, struct req, deadline)->deadline_ns > at_ns)
        before = before->prev;
    list_insert_between(&r->deadline, before, before->next);
    arm(d, at_ns);
}

/* --- over ------------------------------------------------------------------------------------ */
static struct str no_answer(struct req *r, const char **ret_type)
{
    struct buf b = BUF_INIT;
    struct meta_v1_status *s =
        status_printf(r->arena, 504, "Timeout", "Timeout: request did not complete within %s",
                      r->write_bounded ? "requested timeout - context deadline exceeded"
                                       : "the allotted timeout");
    status_details(r->arena, s);
    audit_status(r, s);
    if (r->write_bounded) {
        *ret_type = media_type(r->accept.media);
        encode_status(r->arena, &r->accept, s, &b);
    } else {
        *ret_type = "text/plain; charset=utf-8";
        buf_printf(&b,
                   "{\"metadata\":{},\"status\":\"Failure\",\"message\":\"" STR_FMT
                   "\",\"reason\":\"Timeout\",\"details\":{},\"code\":504}\n",
                   STR_ARG(s->message));
    }
    struct str text = arena_str(r->arena, buf_str(&b));
    buf_done(&b);
    return text;
}

/* The last that is said of r here: its own last call may be made meanwhile. */
static void expire(struct req *r)
{
    const char *type;
    struct str body = no_answer(r, &type);
    struct http_header h[] = {{STR("audit-id"), req_audit_id(r)},
                              {STR("cache-control"), STR("no-cache, private")},
                              {STR("content-type"), str_of(type)}};
    if (!r->write_bounded)
        server_metrics_terminated(r, 504);
    flow_request_give_back(r);
    req_done(r, http_response_started(r->http) ? 200 : 504);
    r->timed_out = true;
    http_request_give_up(r->http, 504, h, ARRAY_SIZE(h), body);
}

static void on_time(uv_timer_t *timer)
{
    LOOP_CALLBACK("deadlines");
    struct deadlines *d = timer->data;
    uint64_t now = uv_hrtime();
    d->armed_ns = 0;
    while (!list_empty(&d->waiting)) {
        struct req *r = LIST_ENTRY(d->waiting.next, struct req, deadline);
        if (r->deadline_ns > now) {
            arm(d, r->deadline_ns);
            return;
        }
        list_remove(&r->deadline);
        expire(r);
    }
}

/* --- life ------------------------------------------------------------------------------------ */
struct deadlines *deadlines_new(struct uv_loop_s *loop)
{
    struct deadlines *d = xzalloc(sizeof(*d));
    list_init(&d->waiting);
    uv_timer_init(loop, &d->timer);
    d->timer.data = d;
    return d;
}

static void on_closed(uv_handle_t *h)
{
    free(h->data);
}

void deadlines_close(struct deadlines *d)
{
    if (d == NULL)
        return;
    ASSERT(list_empty(&d->waiting));
    uv_close((uv_handle_t *)&d->timer, on_closed);
}

/* --- a request ------------------------------------------------------------------------------- */
bool deadline_long_running(const struct request_info *i)
{
    static const char *const subs[] = {"attach", "exec", "proxy", "log", "portforward"};
    for (size_t k = 0; i->is_resource && k < ARRAY_SIZE(subs); k++)
        if (str_eqc(i->subresource, subs[k]))
            return true;
    return strcmp(i->verb, "watch") == 0 || strcmp(i->verb, "proxy") == 0;
}

struct meta_v1_status *deadline_begin(struct req *r)
{
    int64_t ns = r->server->config.serving.request_timeout_ns, asked;
    if (deadline_long_running(&r->info))
        return NULL;
    struct str given = req_query(r, "timeout");
    if (given.len != 0) {
        const char *why = request_duration_error(r->arena, given);
        if (why != NULL)
            return status_bad_request(r->arena, "invalid timeout specified in the request URL - %s",
                                      why);
        if (duration_parse(given, &asked) == 0 && asked > 0)
            ns = MIN_OF(ns, asked);
    }
    wait_until(r, r->start_ns + (uint64_t)ns);
    return NULL;
}

void deadline_handle_write(struct req *r)
{
    uint64_t at = uv_hrtime() + WRITE_NS;
    if (list_empty(&r->deadline) || r->deadline_ns <= at)
        return;
    list_remove(&r->deadline);
    r->write_bounded = true;
    wait_until(r, at);
}

void deadline_end(struct req *r)
{
    list_remove(&r->deadline);
}
