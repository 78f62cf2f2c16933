/* clock.c - see clock.h. */
#include "controllers/clock.h"

#include "lib/base/base.h"
#include "lib/base/env.h"

#include <stdlib.h>
#include <uv.h>

#define PERIOD_MS 1000

struct clock_watch {
    uv_timer_t timer;
    struct env *env;
    struct clock_pair last;
    void (*on_jump)(int64_t by_ns, void *arg);
    void *arg;
};

int64_t clock_jump(struct clock_pair *p, uint64_t steady_ms, int64_t wall_ns)
{
    int64_t by_ns = wall_ns - p->wall_ns - (int64_t)(steady_ms - p->steady_ms) * 1000000;
    *p = (struct clock_pair){steady_ms, wall_ns};
    return by_ns >= CLOCK_JUMP_NS || by_ns <= -CLOCK_JUMP_NS ? by_ns : 0;
}

static void on_timer(uv_timer_t *t)
{
    struct clock_watch *w = t->data;
    int64_t by_ns = clock_jump(&w->last, env_now_ms(w->env), env_wall_ns(w->env));
    if (by_ns != 0)
        w->on_jump(by_ns, w->arg);
}

struct clock_watch *clock_watch_start(struct uv_loop_s *loop, struct env *env,
                                      void (*on_jump)(int64_t by_ns, void *arg), void *arg)
{
    struct clock_watch *w = xzalloc(sizeof(*w));
    *w = (struct clock_watch){
        .env = env, .last = {env_now_ms(env), env_wall_ns(env)}, .on_jump = on_jump, .arg = arg};
    uv_timer_init(loop, &w->timer);
    w->timer.data = w;
    uv_timer_start(&w->timer, on_timer, PERIOD_MS, PERIOD_MS);
    return w;
}

static void on_closed(uv_handle_t *h)
{
    free(h->data);
}

void clock_watch_close(struct clock_watch *w)
{
    if (w == NULL)
        return;
    uv_timer_stop(&w->timer);
    uv_close((uv_handle_t *)&w->timer, on_closed);
}
