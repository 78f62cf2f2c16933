/* work_queue.c - carries out work_queue_core on a loop: an idle handle hands
 * out waiting keys, a timer wakes the delayed ones. */
#include "lib/client/work_queue.h"

#include "lib/base/env.h"
#include "lib/base/metrics.h"
#include "lib/client/work_queue_core.h"

#include <uv.h>

#define KEYS_PER_ROUND 64 /* Then the loop does I/O again, */
#define ROUND_MS 2u       /* or after so long: what keys borrowed from caches is given back then. */

/* Of one queue, by upstream's names. */
struct queue_metrics {
    struct metric *adds, *depth, *retries, *waited, *worked, *unfinished, *longest;
};

struct work_queue {
    struct work_queue_core core;
    struct queue_metrics metrics; /* Without name all NULL. */
    uint64_t adds_told;
    struct env *env;
    uv_idle_t idle;
    uv_timer_t timer;
    unsigned handles_open;
    unsigned workers;
    bool paused;
    bool closing;
    struct list link; /* In named, with a name. */
    void (*process)(struct work_queue *q, struct str key, void *arg);
    void *arg;
};

/* --- metrics ----------------------------------------------------------------------------------
 */

static void init_metrics(struct queue_metrics *m, const char *name)
{
    static const double bounds[] = {1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1, 10};
    const char *const *labels = METRIC_LABELS("name");
    struct metrics *all = metrics_default();
    struct str value = str_of(name);
    m->adds = metric_of(metric_counter(all, "workqueue_adds_total",
                                       "Total number of adds handled by workqueue", labels),
                        &value);
    m->depth = metric_of(metric_gauge(all, "workqueue_depth", "Current depth of workqueue", labels),
                         &value);
    m->retries = metric_of(metric_counter(all, "workqueue_retries_total",
                                          "Total number of retries handled by workqueue", labels),
                           &value);
    m->waited = metric_of(metric_histogram(all, "workqueue_queue_duration_seconds",
                                           "How long in seconds an item stays in workqueue before "
                                           "being requested.",
                                           labels, bounds, ARRAY_SIZE(bounds)),
                          &value);
    m->worked = metric_of(metric_histogram(all, "workqueue_work_duration_seconds",
                                           "How long in seconds processing an item from workqueue "
                                           "takes.",
                                           labels, bounds, ARRAY_SIZE(bounds)),
                          &value);
    m->unfinished =
        metric_of(metric_gauge(all, "workqueue_unfinished_work_seconds",
                               "How many seconds of work has been done that is in progress and "
                               "hasn't been observed by work_duration.",
                               labels),
                  &value);
    m->longest = metric_of(metric_gauge(all, "workqueue_longest_running_processor_seconds",
                                        "How many seconds has the longest running processor for "
                                        "workqueue been running.",
                                        labels),
                           &value);
}

/* Queues with metrics. All are of one loop, the one that metrics are rendered on. */
static struct list named = {&named, &named};

/* What is in process is known only while it is asked for. */
static void on_render(void *arg)
{
    UNUSED(arg);
    LIST_FOREACH (it, &named) {
        struct work_queue *q = LIST_ENTRY(it, struct work_queue, link);
        uint64_t now = env_now_ms(q->env), sum = 0, longest = 0;
        size_t pos = 0;
        void *v;
        while (q->core.busy_count != 0 && map_next(&q->core.items, &pos, NULL, &v)) {
            const struct work_item *item = v;
            uint64_t took = item->processing && now > item->since_ms ? now - item->since_ms : 0;
            sum += took;
            longest = MAX_OF(longest, took);
        }
        metric_set(q->metrics.unfinished, (double)sum / 1000);
        metric_set(q->metrics.longest, (double)longest / 1000);
    }
}

static void tell_depth(struct work_queue *q)
{
    if (q->metrics.depth == NULL)
        return;
    metric_add(q->metrics.adds, (double)(q->core.adds - q->adds_told));
    q->adds_told = q->core.adds;
    metric_set(q->metrics.depth, (double)q->core.ready_count);
}

/* --- the loop --------------------------------------------------------------------------------- */

static void note_time(struct work_queue *q)
{
    q->core.now_ms = env_now_ms(q->env);
}

/* What an item was in until now took so long; what it is in now begins. */
static void note_stage(struct work_queue *q, struct work_item *item, struct metric *stage)
{
    note_time(q);
    if (stage != NULL)
        metric_observe(stage, (double)(q->core.now_ms - item->since_ms) / 1000);
    item->since_ms = q->core.now_ms;
}

static void on_idle(uv_idle_t *idle);

static void wake(struct work_queue *q)
{
    tell_depth(q);
    bool can_run =
        !q->paused && !q->closing && q->core.ready_count != 0 && q->core.busy_count < q->workers;
    if (can_run)
        uv_idle_start(&q->idle, on_idle);
    else
        uv_idle_stop(&q->idle);
}

static void on_idle(uv_idle_t *idle)
{
    struct work_queue *q = idle->data;
    uint64_t since_ms = env_now_ms(q->env);
    for (unsigned i = 0; i < KEYS_PER_ROUND && env_now_ms(q->env) - since_ms < ROUND_MS; i++) {
        if (q->paused || q->closing || q->core.busy_count >= q->workers)
            break;
        struct work_item *item = work_core_take(&q->core);
        if (item == NULL)
            break;
        note_stage(q, item, q->metrics.waited);
        q->process(q, str_n(item->key, item->key_len), q->arg);
    }
    wake(q);
}

static void on_timer(uv_timer_t *timer);

static void arm_timer(struct work_queue *q)
{
    uint64_t due = work_core_next_due(&q->core);
    if (q->closing)
        return;
    if (due == UINT64_MAX) {
        uv_timer_stop(&q->timer);
        return;
    }
    uint64_t now = env_now_ms(q->env);
    uv_update_time(q->timer.loop);
    uv_timer_start(&q->timer, on_timer, due > now ? due - now : 0, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct work_queue *q = timer->data;
    note_time(q);
    work_core_tick(&q->core, q->core.now_ms);
    arm_timer(q);
    wake(q);
}

struct work_queue *work_queue_new(struct uv_loop_s *loop, const struct work_queue_config *config)
{
    struct work_queue *q = xzalloc(sizeof(*q));
    q->env = config->env != NULL ? config->env : env_system();
    q->workers = config->workers != 0 ? config->workers : 1;
    if (config->name != NULL) {
        static bool rendered;
        init_metrics(&q->metrics, config->name);
        list_push_back(&named, &q->link);
        if (!rendered)
            metrics_on_render(metrics_default(), on_render, NULL);
        rendered = true;
    }
    q->process = config->process;
    q->arg = config->arg;
    work_core_init(&q->core, config->base_delay_ms, config->max_delay_ms, config->qps,
                   config->burst, env_now_ms(q->env));
    uv_idle_init(loop, &q->idle);
    uv_timer_init(loop, &q->timer);
    q->idle.data = q->timer.data = q;
    q->handles_open = 2;
    return q;
}

static void on_handle_closed(uv_handle_t *h)
{
    struct work_queue *q = h->data;
    if (--q->handles_open != 0)
        return;
    work_core_done(&q->core);
    free(q);
}

void work_queue_close(struct work_queue *q)
{
    if (q == NULL)
        return;
    ASSERT(!q->closing);
    q->closing = true;
    if (q->metrics.depth != NULL) {
        list_remove(&q->link);
        metric_set(q->metrics.unfinished, 0);
        metric_set(q->metrics.longest, 0);
    }
    uv_close((uv_handle_t *)&q->idle, on_handle_closed);
    uv_close((uv_handle_t *)&q->timer, on_handle_closed);
}

void work_queue_pause(struct work_queue *q)
{
    q->paused = true;
    wake(q);
}

void work_queue_resume(struct work_queue *q)
{
    q->paused = false;
    wake(q);
}

void work_queue_add(struct work_queue *q, struct str key)
{
    note_time(q);
    work_core_add(&q->core, key);
    wake(q);
}

void work_queue_add_low(struct work_queue *q, struct str key)
{
    note_time(q);
    work_core_add_low(&q->core, key);
    wake(q);
}

void work_queue_add_after(struct work_queue *q, struct str key, uint64_t delay_ms)
{
    if (delay_ms == 0) {
        work_queue_add(q, key);
        return;
    }
    uint64_t before = work_core_next_due(&q->core);
    work_core_add_at(&q->core, key, env_now_ms(q->env) + delay_ms);
    if (work_core_next_due(&q->core) != before)
        arm_timer(q);
}

void work_queue_hasten(struct work_queue *q)
{
    note_time(q);
    work_core_hasten(&q->core);
    arm_timer(q);
    wake(q);
}

void work_queue_add_rate_limited(struct work_queue *q, struct str key)
{
    if (q->metrics.retries != NULL)
        metric_inc(q->metrics.retries);
    work_queue_add_after(q, key, work_core_backoff(&q->core, key, env_now_ms(q->env)));
}

void work_queue_forget(struct work_queue *q, struct str key)
{
    work_core_forget(&q->core, key);
}

unsigned work_queue_requeues(const struct work_queue *q, struct str key)
{
    return work_core_requeues(&q->core, key);
}

void work_queue_done(struct work_queue *q, struct str key)
{
    struct work_item *item = map_get(&q->core.items, key);
    if (item != NULL)
        note_stage(q, item, q->metrics.worked);
    work_core_finish(&q->core, key);
    wake(q);
}

size_t work_queue_len(const struct work_queue *q)
{
    return q->core.ready_count;
}

size_t work_queue_busy(const struct work_queue *q)
{
    return q->core.busy_count;
}
