/* ask.c - see ask.h. */
#include "apiserver/ask.h"

#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/net/bytes.h"

#include <stdlib.h>
#include <uv.h>

#define BACKOFF_FACTOR_PERCENT 150u
#define RETRY_AFTER_JITTER_PERCENT 20u

struct ask {
    struct ask *next;
    struct asks *asks;
    struct ask_config config;
    struct webhook_answer answer;
    unsigned tried;
    uint64_t started_ms, took_ms, backoff_ms;
    bool started, answered;
};

struct asks {
    struct arena *arena;
    struct ask *first;
    unsigned waiting, running;
    struct uv_loop_s *loop;
    struct webhook_pool **pool;
    void (*resume)(void *arg);
    void *arg;
};

/* Between two tries. */
struct pause {
    uv_timer_t timer;
    struct ask *ask;
};

static void start(struct ask *q);

struct asks *asks_new(struct arena *a)
{
    struct asks *s = ARENA_NEW(a, struct asks);
    s->arena = a;
    return s;
}

static struct ask *find(const struct asks *s, const void *who, struct str key)
{
    struct ask *q = s->first;
    while (q != NULL && (q->config.who != who || !str_eq(q->config.key, key)))
        q = q->next;
    return q;
}

const struct webhook_answer *asks_find(struct asks *s, const void *who, struct str key)
{
    const struct ask *q = find(s, who, key);
    return q != NULL && q->answered ? &q->answer : NULL;
}

uint64_t asks_took_ms(const struct asks *s, const void *who, struct str key)
{
    const struct ask *q = find(s, who, key);
    return q != NULL ? q->took_ms : 0;
}

void asks_note(struct asks *s, const struct ask_config *config)
{
    if (find(s, config->who, config->key) != NULL) {
        if (config->unhold != NULL)
            config->unhold(config->held);
        return;
    }
    struct ask *q = ARENA_NEW(s->arena, struct ask);
    q->asks = s;
    q->config = *config;
    q->config.key = arena_str(s->arena, config->key);
    q->config.body = arena_str(s->arena, config->body);
    q->backoff_ms = config->backoff_ms;
    q->next = s->first;
    s->first = q;
    s->waiting++;
    if (config->unhold != NULL)
        arena_hold(s->arena, config->held, config->unhold);
}

bool asks_waiting(const struct asks *s)
{
    return s != NULL && s->waiting != 0;
}

/* What upstream tries again: a lost connection (not one that was refused), and
 * what the server says may pass. */
static bool may_pass(const struct webhook_answer *a)
{
    if (a->code != 0)
        return a->code == E_CLOSED;
    return a->status == 429 || a->status == 500 || a->status == 503 || a->status == 504;
}

static void finish(struct ask *q)
{
    struct asks *s = q->asks;
    q->answered = true;
    q->took_ms = uv_now(s->loop) - q->started_ms;
    if (--s->running == 0)
        s->resume(s->arg);
}

static void on_pause_closed(uv_handle_t *h)
{
    struct pause *p = CONTAINER_OF((uv_timer_t *)h, struct pause, timer);
    struct ask *q = p->ask;
    free(p);
    if (*q->asks->pool == NULL)
        finish(q); /* The server stops: the last answer stands. */
    else
        start(q);
}

static void on_pause(uv_timer_t *t)
{
    uv_close((uv_handle_t *)t, on_pause_closed);
}

static void pause_then_start(struct ask *q)
{
    struct pause *p = xzalloc(sizeof(*p));
    uint64_t jitter = q->backoff_ms * RETRY_AFTER_JITTER_PERCENT / 100;
    p->ask = q;
    uv_timer_init(q->asks->loop, &p->timer);
    uv_timer_start(&p->timer, on_pause,
                   q->backoff_ms + (jitter != 0 ? uv_hrtime() / 1000 % jitter : 0), 0);
    q->backoff_ms = q->backoff_ms * BACKOFF_FACTOR_PERCENT / 100;
}

static void on_answer(void *arg)
{
    struct ask *q = arg;
    bool failed = q->answer.code != 0 || q->answer.status < 200 || q->answer.status > 299;
    if ((may_pass(&q->answer) || (q->config.any_failure && failed)) &&
        ++q->tried < q->config.tries && *q->asks->pool != NULL)
        pause_then_start(q);
    else
        finish(q);
}

static void start(struct ask *q)
{
    const struct ask_config *c = &q->config;
    struct net_bytes *body = c->body.len != 0 ? net_bytes_copy(c->body.data, c->body.len) : NULL;
    webhook_call(*q->asks->pool, q->asks->arena, &c->target, c->method, body, c->timeout_ms,
                 &q->answer, on_answer, q);
}

void asks_run(struct asks *s, struct uv_loop_s *loop, struct webhook_pool **pool,
              void (*resume)(void *arg), void *arg)
{
    ASSERT(s->running == 0);
    ASSERT(s->waiting != 0);
    s->loop = loop;
    s->pool = pool;
    s->resume = resume;
    s->arg = arg;
    s->running = s->waiting;
    s->waiting = 0;
    for (struct ask *q = s->first; q != NULL; q = q->next)
        if (!q->started) {
            q->started = true;
            q->started_ms = uv_now(loop);
            start(q);
        }
}
