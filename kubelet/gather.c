/* gather.c - see gather.h. */
#include "kubelet/gather.h"

#include "lib/client/informer.h"

static bool all_synced(const struct gather *g)
{
    for (size_t i = 0; i < g->source_count; i++)
        if (!g->sources[i].synced)
            return false;
    return true;
}

static void rest(struct gather *g)
{
    uint64_t until_ms = uv_now(g->timer.loop) + g->config.share * g->spent_ns / 1000000u;
    g->not_before_ms = MAX_OF(g->not_before_ms, until_ms);
}

static void on_timer(uv_timer_t *t)
{
    struct gather *g = t->data;
    if (g->busy || g->stopped || !all_synced(g))
        return;
    g->dirty = false;
    uint64_t began_ns = uv_hrtime();
    g->config.run(g->config.arg);
    g->spent_ns = uv_hrtime() - began_ns;
    rest(g);
}

static void start(struct gather *g, uint64_t ms)
{
    uint64_t now_ms = uv_now(g->timer.loop);
    if (g->not_before_ms > now_ms + ms)
        ms = g->not_before_ms - now_ms;
    if (!g->stopped && !uv_is_active((uv_handle_t *)&g->timer))
        uv_timer_start(&g->timer, on_timer, ms, 0);
}

void gather_init(struct gather *g, uv_loop_t *loop, const struct gather_config *config)
{
    *g = (struct gather){.config = *config};
    uv_timer_init(loop, &g->timer);
    g->timer.data = g;
}

void gather_changed(struct gather *g)
{
    g->dirty = true;
    if (!g->busy)
        start(g, g->config.delay_ms);
}

void gather_again(struct gather *g, uint64_t ms)
{
    g->dirty = true;
    g->not_before_ms = MAX_OF(g->not_before_ms, uv_now(g->timer.loop) + ms);
    if (!g->busy)
        start(g, ms);
}

void gather_busy(struct gather *g)
{
    g->busy = true;
}

void gather_done(struct gather *g, uint64_t spent_ns)
{
    g->busy = false;
    g->spent_ns += spent_ns;
    rest(g);
    if (g->dirty)
        start(g, g->config.delay_ms);
}

void gather_stop(struct gather *g)
{
    g->stopped = true;
    uv_timer_stop(&g->timer);
}

/* --- informers ------------------------------------------------------------------------------ */

static void changed(void *arg)
{
    struct gather_source *s = arg;
    gather_changed(s->g);
}

static void on_add(struct api_object *o, void *arg)
{
    UNUSED(o);
    changed(arg);
}

static void on_update(struct api_object *old, struct api_object *o, void *arg)
{
    UNUSED(old);
    UNUSED(o);
    changed(arg);
}

static void on_delete(struct api_object *o, bool unknown, void *arg)
{
    UNUSED(o);
    UNUSED(unknown);
    changed(arg);
}

static void on_synced(void *arg)
{
    struct gather_source *s = arg;
    s->synced = true;
    changed(s);
}

struct informer_handler gather_handler(struct gather *g)
{
    ASSERT(g->source_count < GATHER_SOURCES_MAX);
    struct gather_source *s = &g->sources[g->source_count++];
    s->g = g;
    return (struct informer_handler){.on_add = on_add,
                                     .on_update = on_update,
                                     .on_delete = on_delete,
                                     .on_synced = on_synced,
                                     .arg = s};
}

void *gather_owner(void *source)
{
    return ((struct gather_source *)source)->g->config.arg;
}
