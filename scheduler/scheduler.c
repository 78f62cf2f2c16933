/* scheduler.c - see scheduler.h. Runs the cycles; feed.c brings what they decide about. */
#include "scheduler/scheduler_internal.h"

#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "scheduler/devices/devices.h"
#include "scheduler/devices/pod_claims.h"
#include "scheduler/owners.h"
#include "scheduler/pod_record.h"
#include "scheduler/reclaim.h"
#include "scheduler/sched_metrics.h"

#define ROUND_NS (5u * 1000 * 1000) /* Cycles in one go; then the loop does I/O. */
#define EXPIRE_MS 10000u

static uint64_t now_ms(const struct scheduler *s)
{
    return env_now_ms(s->env);
}

static const struct core_v1_pod *pod_of(const struct api_object *o)
{
    return o->msg;
}

/* --- facts for plugins -------------------------------------------------------------------------
 */

static const struct api_str_entry *namespace_labels(void *arg, struct str name, size_t *ret_count)
{
    const struct scheduler *s = arg;
    const struct api_object *o = informer_get(s->informers[INFORM_NAMESPACES], STR_NULL, name);
    *ret_count = o != NULL ? api_object_meta(o)->labels_count : 0;
    return o != NULL ? api_object_meta(o)->labels : NULL;
}

static void selector_of(void *arg, struct arena *a, const struct core_v1_pod *pod,
                        struct meta_v1_label_selector *ret)
{
    const struct scheduler *s = arg;
    owners_selector(s->owners, a, pod, ret);
}

static uint64_t wall_ns(void *arg)
{
    return (uint64_t)env_wall_ns(((const struct scheduler *)arg)->env);
}

/* What a pod with resource claims waits for before it is worth a look. */
static bool waits_for_claims(void *arg, const struct core_v1_pod *pod)
{
    const struct scheduler *s = arg;
    struct api_object *claims[POD_CLAIMS_MAX];
    size_t count;
    struct str why;
    if (pod->spec.resource_claims_count == 0 ||
        !informer_has_synced(s->informers[INFORM_RESOURCE_CLAIMS]))
        return false;
    AUTO_ARENA *a = arena_new(0);
    return !pod_device_claims(s->devices, a, pod, claims, &count, &why);
}

static uint64_t selectors_rev(void *arg)
{
    const struct scheduler *s = arg;
    return owners_rev(s->owners);
}

static uint64_t namespaces_rev(void *arg)
{
    const struct scheduler *s = arg;
    return s->namespaces_rev;
}

void scheduler_seat_guest(struct scheduler *s, const struct queued_pod *p)
{
    if (p->nominated_node != NULL)
        snapshot_nominate(&s->snapshot, queued_pod_object(p), str_of(p->nominated_node));
    else
        snapshot_unnominate(&s->snapshot, api_object_meta(queued_pod_object(p))->uid);
}

/* --- cycles -------------------------------------------------------------------------------------
 */

const struct policy_v1_pod_disruption_budget **scheduler_budgets(const struct scheduler *s,
                                                                 struct arena *a, size_t *ret_count)
{
    const struct informer *budgets = s->informers[INFORM_BUDGETS];
    const struct policy_v1_pod_disruption_budget **list =
        ARENA_ARRAY(a, const struct policy_v1_pod_disruption_budget *, informer_count(budgets) + 1);
    size_t count = 0, pos = 0;
    struct api_object *o;
    while ((o = informer_next(budgets, &pos)) != NULL)
        list[count++] = o->msg;
    *ret_count = count;
    return list;
}

void scheduler_nominate(struct scheduler *s, struct queued_pod *p, const struct node_info *n)
{
    AUTO_FREE char *before = take(p->nominated_node);
    p->nominated_node = n != NULL ? xstrdup(n->name) : NULL;
    scheduler_seat_guest(s, p);
    /* Others may have what was kept for it. */
    if (before != NULL && (n == NULL || strcmp(before, n->name) != 0))
        scheduler_happened(s, EVENT_POD_DELETE, str_of(before));
}

void scheduler_preempt(const struct scheduler *s, struct cycle *c, struct preemption *ret)
{
    size_t count;
    *ret = (struct preemption){0};
    if (c->snapshot->node_count == 0 || !c->profile->preempts)
        return;
    const struct policy_v1_pod_disruption_budget **budgets = scheduler_budgets(s, c->arena, &count);
    preemption_evaluate(c, budgets, count, ret);
}

static void evict(struct scheduler *s, const struct cycle *c, struct queued_pod *p,
                  const struct preemption *pre)
{
    if (pre->keep_nomination || c->snapshot->node_count == 0 || !c->profile->preempts)
        return;
    scheduler_nominate(s, p, pre->node);
    for (size_t i = 0; pre->node != NULL && i < pre->victim_count; i++)
        action_evict(s, p, pre->victims[i], pre->node->name);
}

/* No decision could be made: an error, to be tried again. */
static void give_up(struct scheduler *s, const struct cycle *c, struct queued_pod *p)
{
    struct event_object about = event_object_of(p->object);
    event_record_action(s->recorder, &about, EVENT_WARNING, "FailedScheduling", "Scheduling",
                        STR_FMT, STR_ARG(c->failure));
    action_set_unschedulable(s, p, STR("SchedulerError"), c->failure);
    sched_metrics_attempt(pod_of(p->object)->spec.scheduler_name, "error",
                          (double)(uv_hrtime() - p->attempt_ns) / 1e9);
    sched_queue_retry(&s->queue, p, now_ms(s));
}

void scheduler_refuse(struct scheduler *s, struct cycle *c, struct queued_pod *p,
                      const struct preemption *decided)
{
    struct preemption pre;
    uint64_t post_ns = uv_hrtime();
    if (!str_empty(c->failure)) {
        give_up(s, c, p);
        return;
    }
    device_deallocate(s, c);
    if (decided != NULL)
        pre = *decided;
    else
        scheduler_preempt(s, c, &pre);
    evict(s, c, p, &pre);
    struct str message = cycle_message(c, pre.message);
    struct event_object about = event_object_of(p->object);
    event_record_action(s->recorder, &about, EVENT_WARNING, "FailedScheduling", "Scheduling",
                        STR_FMT, STR_ARG(message));
    action_set_unschedulable(s, p, STR("Unschedulable"), message);
    uint64_t now_ns = uv_hrtime();
    struct str profile = pod_of(p->object)->spec.scheduler_name;
    sched_metrics_point(profile, "PostFilter", pre.node != NULL ? "Success" : "Unschedulable",
                        (double)(now_ns - post_ns) / 1e9);
    sched_metrics_attempt(profile, "unschedulable", (double)(now_ns - p->attempt_ns) / 1e9);
    if (pre.node != NULL)
        sched_metrics_preempted(pre.victim_count);
    /* With victims on their way out, their end is the event to wait for. */
    uint32_t wakes = c->wakes | (pre.node != NULL ? EVENT_POD_DELETE : 0);
    p->refused_by = c->refused_by;
    p->by_node = c->by_node && c->snapshot->node_count != 0;
    p->alike = c->alike;
    sched_queue_park(&s->queue, p, wakes, now_ms(s));
}

void scheduler_place(struct scheduler *s, struct queued_pod *p, const struct node_info *n,
                     struct volume_wait *w)
{
    if (w != NULL)
        volume_wait_start(w);
    else
        device_wait_bind(s, p, n);
}

void scheduler_assume(struct scheduler *s, const struct cycle *c, struct queued_pod *p,
                      struct node_info *n)
{
    struct volume_wait *w = volume_wait_hold(s, c, p, n);
    device_wait_prepare(s, c, p, n);
    snapshot_assume(&s->snapshot, p->object, n);
    scheduler_place(s, p, n, w);
}

void scheduler_decide(struct scheduler *s, struct queued_pod *p)
{
    if (extenders_are_asked(s->extenders, pod_of(p->object))) {
        consult_start(s, p);
        return;
    }
    struct pod_info *info = pod_info_new(p->object);
    struct class_question question = {
        .pod = info,
        .arena = s->arena,
        .nominated_node = str_of(p->nominated_node),
        .seed = env_random_below(s->env, UINT64_MAX),
        .profile = sched_config_profile(s->config, info->pod->spec.scheduler_name),
    };
    struct cycle *c;
    struct cycle_watch watch = {
        .now_ns = uv_hrtime, .plugin = sched_metrics_plugin, .point = sched_metrics_of_point};
    if (s->decisions++ % DECISIONS_PER_TIMED == 0)
        question.watch = &watch;
    p->attempt_ns = uv_hrtime();
    struct node_info *n = classes_decide(s->classes, &question, &c);
    sched_metrics_decided((double)(uv_hrtime() - p->attempt_ns) / 1e9);
    if (n == NULL)
        scheduler_refuse(s, c, p, NULL);
    else
        scheduler_assume(s, c, p, n);
    pod_info_free(info);
    arena_clear(s->arena);
}

static uint64_t settle_gangs(struct scheduler *s)
{
    bool served = !str_empty(informer_resource_version(s->informers[INFORM_POD_GROUPS]));
    return gangs_settle(&s->gangs, served, now_ms(s), gang_cycle_tell, s);
}

static struct queued_pod *next_pod(struct scheduler *s)
{
    if (s->binding_count >= BINDINGS_MAX || !list_empty(&s->late_bindings))
        return NULL;
    (void)settle_gangs(s);
    return sched_queue_pop(&s->queue);
}

static void run_cycle(struct scheduler *s, struct queued_pod *p)
{
    struct gang *x = gangs_of(p);
    if (x != NULL)
        gang_cycle_run(s, x, p);
    else
        scheduler_decide(s, p);
}

static bool all_synced(const struct scheduler *s)
{
    for (unsigned i = 0; i < INFORMER_COUNT; i++)
        if (!informer_has_synced(s->informers[i]))
            return false;
    return owners_have_synced(s->owners);
}

static void on_idle(uv_idle_t *idle)
{
    struct scheduler *s = idle->data;
    uint64_t start_ns = uv_hrtime();
    do {
        struct queued_pod *p = next_pod(s);
        if (p == NULL) {
            uv_idle_stop(&s->idle);
            break;
        }
        run_cycle(s, p);
    } while (uv_hrtime() - start_ns < ROUND_NS);
    scheduler_wake(s);
}

static void on_timer(uv_timer_t *timer)
{
    struct scheduler *s = timer->data;
    volume_waits_check(s);
    device_waits_check(s);
    if (snapshot_expire(&s->snapshot, now_ms(s)) != 0)
        sched_queue_event(&s->queue, EVENT_POD_DELETE, now_ms(s));
    scheduler_wake(s);
}

void scheduler_wake(struct scheduler *s)
{
    if (s->stopping || !all_synced(s))
        return;
    actions_bind_late(s);
    uint64_t now = now_ms(s), next = settle_gangs(s);
    next = MIN_OF(next, actions_ask_unclear(s));
    next = MIN_OF(next, sched_queue_tick(&s->queue, now));
    next = MIN_OF(next, now + EXPIRE_MS);
    uv_timer_start(&s->timer, on_timer, next > now ? next - now : 0, 0);
    if (s->queue.active.count != 0 && s->binding_count < BINDINGS_MAX &&
        !uv_is_active((uv_handle_t *)&s->idle))
        uv_idle_start(&s->idle, on_idle);
}

/* --- life ---------------------------------------------------------------------------------------
 */

struct scheduler *scheduler_start(struct client *client, const struct sched_config *config)
{
    struct scheduler *s = xzalloc(sizeof(*s));
    s->client = client;
    s->env = client_env(client);
    s->config = config;
    s->recorder = event_recorder_new(client, SCHEDULER_NAME, NULL);
    s->facts = (struct pod_facts){.namespace_labels = namespace_labels,
                                  .selector = selector_of,
                                  .selectors_rev = selectors_rev,
                                  .namespaces_rev = namespaces_rev,
                                  .wall_ns = wall_ns,
                                  .arg = s};
    s->devices = s->facts.devices = devices_new();
    sched_queue_init(&s->queue);
    s->queue.holds = waits_for_claims;
    s->queue.holds_arg = s;
    s->queue.backoff_min_ms = config->backoff_min_ms;
    s->queue.backoff_max_ms = config->backoff_max_ms;
    snapshot_init(&s->snapshot);
    s->shapes = s->snapshot.shapes = pod_shapes_new();
    sched_metrics_watch(&s->queue, &s->snapshot);
    s->classes = classes_new(&s->snapshot, &s->facts);
    gangs_init(&s->gangs, &s->queue, &s->snapshot, env_now_ms(s->env));
    s->arena = arena_new(64 * 1024);
    s->gang_arena = arena_new(0);
    list_init(&s->actions);
    list_init(&s->late_bindings);
    list_init(&s->unclear_bindings);
    list_init(&s->volume_waits);
    list_init(&s->consults);
    s->extenders = extenders_new(client_loop(client), config);
    list_init(&s->device_waits);
    uv_idle_init(client_loop(client), &s->idle);
    uv_timer_init(client_loop(client), &s->timer);
    uv_timer_init(client_loop(client), &s->reclaim_timer);
    s->idle.data = s->timer.data = s;
    s->handles_open = 3;
    scheduler_watch_all(s);
    if (reclaim_is_on(config))
        s->reclaim = reclaim_start(s, &s->reclaim_timer);
    return s;
}

static void on_handle_closed(uv_handle_t *h)
{
    struct scheduler *s = h->data;
    if (--s->handles_open != 0)
        return;
    classes_free(s->classes);
    arena_free(s->arena);
    arena_free(s->gang_arena);
    gangs_done(&s->gangs);
    sched_queue_done(&s->queue);
    snapshot_done(&s->snapshot);
    pod_shapes_unref(s->shapes);
    devices_free(s->devices);
    free(s);
}

void scheduler_stop(struct scheduler *s)
{
    s->stopping = true;
    sched_metrics_watch(NULL, NULL);
    for (unsigned i = 0; i < INFORMER_COUNT; i++)
        informer_close(s->informers[i]);
    owners_stop(s->owners);
    actions_cancel(s);
    volume_waits_cancel(s);
    consults_cancel(s);
    extenders_close(s->extenders);
    device_waits_cancel(s);
    event_recorder_close(s->recorder);
    reclaim_stop(s->reclaim);
    s->reclaim_timer.data = s;
    uv_close((uv_handle_t *)&s->reclaim_timer, on_handle_closed);
    uv_close((uv_handle_t *)&s->idle, on_handle_closed);
    uv_close((uv_handle_t *)&s->timer, on_handle_closed);
}
