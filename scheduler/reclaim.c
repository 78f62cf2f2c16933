/* reclaim.c - every 30 s (or as configured), where a profile lets pods reclaim: asks metrics.k8s.io
 * what pods use, brings the estimates up to date (estimates.h) and evicts reclaiming pods whose
 * place is needed.
 *
 * Without an answer nothing is evicted, and estimates go back to what is reserved by and by. */
#include "scheduler/scheduler_internal.h"

#include "api/core_v1.h"
#include "api/metrics_v1beta1.h"
#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "scheduler/estimates.h"
#include "scheduler/reclaim.h"

#define ANSWER_MS 20000u
#define NS_PER_MS 1000000

struct reclaim {
    struct scheduler *scheduler;
    struct client_request *request;
    bool answered; /* The last time; so that a failure is told once. */
};

bool reclaim_is_on(const struct sched_config *c)
{
    bool on = false;
    for (size_t i = 0; i < c->profile_count; i++)
        on |= c->profiles[i].reclaims;
    return on;
}

static void evict(struct scheduler *s)
{
    struct reclaimed *all;
    AUTO_ARENA *a = arena_new(0);
    size_t count = estimates_to_evict(a, &s->snapshot, env_now_ms(s->env), &all);
    for (size_t i = 0; i < count; i++) {
        const struct meta_v1_object_meta *m = api_object_meta(all[i].pod);
        log_info("evicting " STR_FMT "/" STR_FMT ": %s needs what it had reclaimed",
                 STR_ARG(m->namespace), STR_ARG(m->name), all[i].node->name);
        action_evict_reclaimer(s, all[i].pod, all[i].node->name);
    }
}

static void take_in(struct scheduler *s, const struct api_object *list)
{
    struct usages u;
    int64_t oldest_ms = env_wall_ns(s->env) / NS_PER_MS - (int64_t)ESTIMATE_STALE_MS;
    usages_init(&u);
    for (size_t i = 0; list != NULL && i < client_list_count(list); i++) {
        const struct metrics_v1beta1_pod_metrics *m = client_list_item(list, i);
        if (time_to_ns(&m->timestamp) / NS_PER_MS >= oldest_ms)
            usages_add_metrics(&u, m);
    }
    if (estimates_update(&s->snapshot, &u, &s->config->reclaim, env_now_ms(s->env)))
        sched_queue_event(&s->queue, EVENT_NODE_ALLOCATABLE, env_now_ms(s->env));
    usages_done(&u);
}

static void on_metrics(struct client_request *request, const struct client_result *result,
                       void *arg)
{
    struct reclaim *r = arg;
    struct scheduler *s = r->scheduler;
    UNUSED(request);
    r->request = NULL;
    bool answered = result->code == 0 && result->object != NULL;
    if (!answered && r->answered)
        log_warning("reclaiming nothing more: cannot list pods of metrics.k8s.io: %s",
                    result->message);
    r->answered = answered;
    take_in(s, answered ? result->object : NULL);
    if (answered)
        evict(s);
    scheduler_wake(s);
}

static void on_timer(uv_timer_t *timer)
{
    struct reclaim *r = timer->data;
    struct client_call call = {
        .verb = CLIENT_LIST,
        .kind = api_kind_by_gvk(STR("metrics.k8s.io"), STR("v1beta1"), STR("PodMetrics")),
        .timeout_ms = ANSWER_MS,
        .done = on_metrics,
        .arg = r,
    };
    struct error err = {0};
    if (r->request == NULL && client_start(r->scheduler->client, &call, &r->request, &err) != 0)
        log_warning("cannot list pods of metrics.k8s.io: %s", error_message(&err));
}

struct reclaim *reclaim_start(struct scheduler *s, uv_timer_t *timer)
{
    struct reclaim *r = xzalloc(sizeof(*r));
    r->scheduler = s;
    r->answered = true;
    timer->data = r;
    uv_timer_start(timer, on_timer, 0, s->config->reclaim.period_ms);
    return r;
}

void reclaim_stop(struct reclaim *r)
{
    if (r == NULL)
        return;
    if (r->request != NULL)
        client_cancel(r->request);
    free(r);
}
