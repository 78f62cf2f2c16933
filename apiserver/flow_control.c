/* flow_control.c - a request's way through priority and fairness; see flow_control.h. */
#include "apiserver/flow_control_internal.h"

#include "api/flowcontrol_v1.h"
#include "apiserver/flow_match.h"
#include "apiserver/request.h"
#include "apiserver/server_metrics.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "lib/base/flags.h"
#include "lib/net/http_server.h"

#include <stdio.h>

#define WAIT_PARTS 4 /* A request waits for so much of its time. */
/* Bodies of requests that wait; beyond, a request that would wait is refused. */
#define WAITING_BYTES_MAX ((size_t)256 << 20)

/* --- a thread -------------------------------------------------------------------------------- */
static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000;
}

static bool due_before(const struct heap_node *a, const struct heap_node *b, void *arg)
{
    UNUSED(arg);
    return CONTAINER_OF((struct heap_node *)(uintptr_t)a, struct flow_due, node)->at_ms <
           CONTAINER_OF((struct heap_node *)(uintptr_t)b, struct flow_due, node)->at_ms;
}

static void on_due(uv_timer_t *timer);

static void set_timer(struct flow_thread *ft)
{
    struct heap_node *first = heap_peek(&ft->due);
    if (first == NULL) {
        uv_timer_stop(&ft->timer);
        return;
    }
    uint64_t at = HEAP_ENTRY(first, struct flow_due, node)->at_ms, now = now_ms();
    uv_timer_start(&ft->timer, on_due, at > now ? at - now : 0, 0);
}

static void on_due(uv_timer_t *timer)
{
    LOOP_CALLBACK("flow control");
    struct flow_thread *ft = timer->data;
    uint64_t now = now_ms();
    for (struct heap_node *n; (n = heap_peek(&ft->due)) != NULL;) {
        struct flow_due *d = HEAP_ENTRY(n, struct flow_due, node);
        if (d->at_ms > now)
            break;
        heap_remove(&ft->due, n);
        d->run(d);
    }
    set_timer(ft);
}

static void due_add(struct flow_thread *ft, struct flow_due *d)
{
    heap_push(&ft->due, &d->node);
    if (heap_peek(&ft->due) == &d->node)
        set_timer(ft);
}

static void due_remove(struct flow_thread *ft, struct flow_due *d)
{
    if (heap_has(&d->node))
        heap_remove(&ft->due, &d->node);
    if (ft->due.count == 0)
        uv_timer_stop(&ft->timer);
}

struct flow_thread *flow_thread_new(struct server_thread *t)
{
    if (t->server->flow == NULL)
        return NULL;
    struct flow_thread *ft = xzalloc(sizeof(*ft));
    ft->thread = t;
    ft->control = t->server->flow;
    heap_init(&ft->due, due_before, NULL);
    uv_timer_init(&t->loop, &ft->timer);
    ft->timer.data = ft;
    return ft;
}

static void on_timer_closed(uv_handle_t *h)
{
    struct flow_thread *ft = h->data;
    flow_config_unref(ft->config);
    heap_done(&ft->due);
    free(ft->stats.items);
    free(ft);
}

void flow_thread_close(struct flow_thread *ft)
{
    if (ft == NULL)
        return;
    /* What is left are seats that linger. */
    for (struct heap_node *n; (n = heap_pop(&ft->due)) != NULL;) {
        struct flow_due *d = HEAP_ENTRY(n, struct flow_due, node);
        d->run(d);
    }
    uv_close((uv_handle_t *)&ft->timer, on_timer_closed);
}

static const struct flow_config *config_now(struct flow_thread *ft)
{
    struct flow_control *fc = ft->control;
    if (atomic_load_explicit(&fc->version, memory_order_acquire) == ft->version &&
        ft->config != NULL)
        return ft->config;
    flow_config_unref(ft->config);
    pthread_mutex_lock(&fc->lock);
    ft->config = flow_config_ref(fc->config);
    ft->version = atomic_load(&fc->version);
    pthread_mutex_unlock(&fc->lock);
    return ft->config;
}

/* --- seats that linger behind a write ----------------------------------------------------------
 */
struct lingering {
    struct flow_ticket ticket;
    struct flow_due due;
    struct flow_schema_state *state;
};

static void on_lingered(struct flow_due *d)
{
    struct lingering *l = CONTAINER_OF(d, struct lingering, due);
    struct flow_level *level = l->state->level;
    struct list out;
    list_init(&out);
    pthread_mutex_lock(&level->lock);
    flow_set_release(&level->set, &l->ticket, uv_hrtime(), &out);
    bool last = flow_state_drop(l->state);
    pthread_mutex_unlock(&level->lock);
    if (last)
        flow_state_free(l->state);
    flow_hand_out(&out);
    free(l);
}

static void linger(struct flow_thread *ft, const struct flow_request *fr)
{
    struct lingering *l = xzalloc(sizeof(*l));
    l->ticket = fr->ticket;
    list_init(&l->ticket.link);
    list_init(&l->ticket.out);
    l->state = fr->state;
    l->due = (struct flow_due){.at_ms = now_ms() + MAX_OF(fr->ticket.work.extra_ns / 1000000, 1u),
                               .run = on_lingered};
    due_add(ft, &l->due);
}

/* --- the end of a request ------------------------------------------------------------------------
 */
static bool writes(const struct req *r)
{
    return strcmp(r->info.verb, "get") != 0 && strcmp(r->info.verb, "list") != 0 &&
           strcmp(r->info.verb, "watch") != 0;
}

static bool is_watch(const struct req *r)
{
    return strcmp(r->info.verb, "watch") == 0;
}

void flow_request_finish(struct req *r)
{
    struct flow_request *fr = r->flow;
    if (fr == NULL || !fr->held)
        return;
    struct flow_level *level = fr->state->level;
    uint64_t now = uv_hrtime();
    struct list out;
    list_init(&out);
    fr->held = false;
    uint64_t start = fr->ticket.start_ns;
    flow_metrics_observe(fr->state, is_watch(r) ? FLOW_RAN_WATCH : FLOW_RAN_REGULAR,
                         now > start ? (double)(now - start) / 1e9 : 0);
    pthread_mutex_lock(&level->lock);
    bool lingers = flow_set_finish(&level->set, &fr->ticket, now, &out);
    bool last = !lingers && flow_state_drop(fr->state);
    pthread_mutex_unlock(&level->lock);
    if (lingers)
        linger(r->thread->flow, fr);
    if (last)
        flow_state_free(fr->state);
    flow_hand_out(&out);
    flow_mix_add(&r->server->flow->mix, FLOW_MIX_EXECUTING, writes(r), -1);
}

void flow_request_give_back(struct req *r)
{
    if (r->flow != NULL && !heap_has(&r->flow->due.node)) /* Else it waits, and has none yet. */
        flow_request_finish(r);
}

void flow_request_end(struct req *r)
{
    struct flow_request *fr = r->flow;
    if (fr == NULL)
        return;
    flow_request_finish(r);
    if (fr->watched)
        flow_watches_add(&r->server->flow->watches, &r->info, -1);
    fr->watched = false;
    r->flow = NULL;
}

/* --- running, waiting, refusing
 * -------------------------------------------------------------------- */
/* So that metrics can name what it was for. */
static void find_resource(struct req *r)
{
    if (!r->info.is_resource)
        return;
    const struct resource *res = registry_find(r->info.group, r->info.version, r->info.resource);
    if (res != NULL && res->custom == NULL)
        r->res = res;
}

/* The ticket is in no set; level: of the schema that it had. */
static void refuse(struct flow_request *fr, struct flow_level *level)
{
    struct req *r = fr->req;
    char text[32];
    int64_t now_s = env_wall_ns(r->server->env) / 1000000000;
    pthread_mutex_lock(&level->lock);
    int64_t after_s = flow_retry_drop(&level->retry, now_s);
    pthread_mutex_unlock(&level->lock);
    snprintf(text, sizeof(text), "%lld", (long long)after_s);
    http_response_header(r->http, "Retry-After", text);
    r->flow = NULL;
    find_resource(r);
    server_metrics_terminated(r, 429);
    req_text(r, 429, "text/plain; charset=utf-8",
             STR("Too many requests, please try again later.\n"));
}

/* It has its seats. */
static void execute(struct flow_request *fr)
{
    struct req *r = fr->req;
    flow_mix_add(&r->server->flow->mix, FLOW_MIX_EXECUTING, writes(r), 1);
    if (is_watch(r)) {
        flow_watches_add(&r->server->flow->watches, &r->info, 1);
        fr->watched = true;
    }
    fr->next(r);
}

static void stop_waiting(struct flow_request *fr)
{
    struct req *r = fr->req;
    due_remove(r->thread->flow, &fr->due);
    http_request_on_abort(r->http, NULL, NULL);
    atomic_fetch_sub(&r->server->flow->waiting_bytes, fr->body_bytes);
    flow_mix_add(&r->server->flow->mix, FLOW_MIX_WAITING, writes(r), -1);
}

static double waited_s(const struct flow_request *fr)
{
    uint64_t now = uv_hrtime();
    return now > fr->ticket.arrival_ns ? (double)(now - fr->ticket.arrival_ns) / 1e9 : 0;
}

/* Its time is over or its client has gone. When it was handed out just now, its mail decides. */
static void give_up(struct flow_request *fr, bool timed_out)
{
    struct flow_schema_state *state = fr->state;
    struct flow_level *level = state->level;
    struct list out;
    list_init(&out);
    pthread_mutex_lock(&level->lock);
    bool was_waiting = flow_set_cancel(&level->set, &fr->ticket, timed_out, uv_hrtime(), &out);
    pthread_mutex_unlock(&level->lock);
    flow_hand_out(&out);
    if (!was_waiting)
        return;
    fr->held = false;
    stop_waiting(fr);
    flow_metrics_observe(state, FLOW_WAITED_FALSE, waited_s(fr));
    refuse(fr, level);
    pthread_mutex_lock(&level->lock);
    bool last = flow_state_drop(state);
    pthread_mutex_unlock(&level->lock);
    if (last)
        flow_state_free(state);
}

static void on_wait_over(struct flow_due *d)
{
    give_up(CONTAINER_OF(d, struct flow_request, due), true);
}

static void on_abort(struct http_request *http, void *arg)
{
    UNUSED(http);
    give_up(arg, false);
}

static void on_handed_out(struct mail *m)
{
    struct flow_request *fr = CONTAINER_OF(m, struct flow_request, mail);
    struct req *r = fr->req;
    stop_waiting(fr);
    flow_metrics_observe(fr->state, FLOW_WAITED_TRUE, waited_s(fr));
    if (!r->http->aborted) {
        execute(fr);
        return;
    }
    flow_mix_add(&r->server->flow->mix, FLOW_MIX_EXECUTING, writes(r), 1);
    req_text(r, 429, "text/plain; charset=utf-8", STR("")); /* Nobody reads it. */
}

void flow_hand_out(struct list *out)
{
    for (struct list *l; (l = list_pop_front(out)) != NULL;) {
        struct flow_ticket *t = LIST_ENTRY(l, struct flow_ticket, out);
        struct flow_request *fr = CONTAINER_OF(t, struct flow_request, ticket);
        mailbox_post(&fr->req->thread->mailbox, &fr->mail);
    }
}

/* A quarter of the time the client gives it, which is ours at most. */
static uint64_t wait_ms(struct req *r)
{
    int64_t ns = r->server->config.serving.request_timeout_ns, asked;
    struct str given = is_watch(r) ? STR_NULL : req_query(r, "timeout");
    if (given.len != 0 && duration_parse(given, &asked) == 0 && asked > 0)
        ns = MIN_OF(asked, ns);
    return (uint64_t)(ns / WAIT_PARTS / 1000000);
}

static void wait(struct flow_request *fr)
{
    struct req *r = fr->req;
    flow_mix_add(&r->server->flow->mix, FLOW_MIX_WAITING, writes(r), 1);
    fr->body_bytes = r->http->body.len;
    size_t bytes = atomic_fetch_add(&r->server->flow->waiting_bytes, fr->body_bytes);
    fr->due.at_ms = r->start_ns / 1000000 + wait_ms(r);
    fr->due.run = on_wait_over;
    fr->mail.run = on_handed_out;
    due_add(r->thread->flow, &fr->due);
    http_request_on_abort(r->http, on_abort, fr);
    if (bytes + fr->body_bytes > WAITING_BYTES_MAX && fr->body_bytes != 0)
        give_up(fr, false);
}

/* --- the beginning of a request
 * ---------------------------------------------------------------------- */
static const struct flow_schema *classify(const struct flow_config *c, const struct req *r)
{
    for (size_t i = 0; i < c->schema_count; i++)
        if (flow_match(c->schemas[i].spec, r->user, &r->info))
            return &c->schemas[i];
    return c->fallback;
}

static bool is_connection(const struct req *r)
{
    static const char *const names[] = {"exec", "attach", "portforward", "proxy", "log"};
    for (size_t i = 0; r->info.is_resource && i < ARRAY_SIZE(names); i++)
        if (str_eqc(r->info.subresource, names[i]))
            return !is_watch(r);
    return false;
}

static void name_schema(struct req *r, const struct flow_schema *s)
{
    http_response_header_fixed(r->http, STR("x-kubernetes-pf-flowschema-uid"),
                               arena_str(r->arena, s->uid));
    http_response_header_fixed(r->http, STR("x-kubernetes-pf-prioritylevel-uid"),
                               arena_str(r->arena, s->level_uid));
}

static enum flow_outcome take_place(struct flow_request *fr, const struct flow_schema *s,
                                    uint64_t hash)
{
    struct flow_level *level = s->level;
    struct list out;
    list_init(&out);
    fr->ticket.counts = &s->state->counts;
    /* Once the lock is let go of, the mail of a ticket that waits may be on its way. */
    fr->mail.run = on_handed_out;
    pthread_mutex_lock(&level->lock);
    enum flow_outcome got = flow_set_start(&level->set, &fr->ticket, hash, uv_hrtime(), &out);
    fr->held = got == FLOW_EXECUTE || got == FLOW_WAIT;
    s->state->refs += fr->held;
    uint32_t length = fr->ticket.queue != NULL ? fr->ticket.queue->waiting_count : 0;
    bool queued = level->set.config.queues > 0;
    pthread_mutex_unlock(&level->lock);
    flow_hand_out(&out);
    if (fr->held && queued)
        flow_metrics_observe(s->state, FLOW_QUEUE_LENGTH, got == FLOW_EXECUTE ? 1 : length);
    return got;
}

void flow_control_then(struct req *r, void (*next)(struct req *r))
{
    struct flow_thread *ft = r->thread->flow;
    int64_t watches;
    if (ft == NULL || is_connection(r)) {
        next(r);
        return;
    }
    const struct flow_schema *s = classify(config_now(ft), r);
    struct flow_request *fr = ARENA_NEW(r->arena, struct flow_request);
    name_schema(r, s);
    fr->req = r;
    fr->next = next;
    fr->state = s->state;
    fr->exempt = s->level->exempt;
    fr->ticket.work =
        flow_estimate(&ft->stats, &ft->control->watches, r,
                      atomic_load_explicit(&s->level->seats_max, memory_order_relaxed), &watches);
    flow_metrics_observe(s->state, FLOW_SEATS, flow_work_seats(&fr->ticket.work));
    if (watches >= 0)
        flow_metrics_observe(s->state, FLOW_WATCH_COUNT, (double)watches);
    uint64_t hash = 0;
    if (!fr->exempt) {
        uint64_t seed[2] = {ft->control->seed[0] ^ s->hash, ft->control->seed[1]};
        fr->distinguisher = flow_distinguisher(s->spec, r->user, &r->info);
        hash = base_siphash(seed, fr->distinguisher.data, fr->distinguisher.len);
    }
    r->flow = fr;
    switch (take_place(fr, s, hash)) {
    case FLOW_EXECUTE:
        if (!fr->exempt)
            flow_metrics_observe(s->state, FLOW_WAITED_TRUE, 0);
        execute(fr);
        return;
    case FLOW_WAIT:
        wait(fr);
        return;
    case FLOW_REFUSED_LIMIT:
    case FLOW_REFUSED_FULL:
        flow_metrics_observe(s->state, FLOW_WAITED_FALSE, 0);
        refuse(fr, s->level);
        return;
    }
}
