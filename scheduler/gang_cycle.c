/* gang_cycle.c - the cycle of a gang: all of its pods that wait are tried together (gang_trial.h),
 * and what comes of it is carried out.
 *
 *   enough fit             -> volumes, bindings, as for any pod
 *   enough after evictions -> victims evicted, pods nominated; tried again as they go, and given
 *                             up after scheduleTimeoutSeconds
 *   too few                -> parked, with one message for all */
#include "scheduler/scheduler_internal.h"

#include "api/core_v1.h"
#include "api/scheduling_x_v1alpha1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "lib/base/log.h"
#include "scheduler/gang_trial.h"
#include "scheduler/sched_metrics.h"

#define BACKOFF_SHIFT_MAX 6u

/* A member's owner. */
struct gang_pod {
    struct queued_pod *pod;
    struct volume_wait *wait;
};

static void on_assumed(struct gang_member *m, const struct cycle *c, void *arg)
{
    struct gang_pod *g = m->owner;
    g->wait = volume_wait_hold(arg, c, g->pod, m->node);
    device_wait_prepare(arg, c, g->pod, m->node);
}

static void on_taken_back(struct gang_member *m, void *arg)
{
    struct gang_pod *g = m->owner;
    device_wait_forget(arg, g->pod);
    if (g->wait != NULL)
        volume_wait_drop(g->wait);
    g->wait = NULL;
}

static struct queued_pod *pod_of(const struct gang_member *m)
{
    return ((struct gang_pod *)m->owner)->pod;
}

/* All that wait; they are in their cycle from now on. */
static void gather(struct scheduler *s, const struct gang *x, struct queued_pod *popped,
                   struct gang_trial *t)
{
    struct arena *a = s->gang_arena;
    size_t max = 0;
    uint64_t now_ns = uv_hrtime();
    LIST_FOREACH (it, &x->queue.pods)
        max++;
    t->members = ARENA_ARRAY(a, struct gang_member, max);
    struct gang_pod *owners = ARENA_ARRAY(a, struct gang_pod, max);
    LIST_FOREACH (it, &x->queue.pods) {
        struct queued_pod *p = LIST_ENTRY(it, struct queued_pod, in_group);
        const struct core_v1_pod *pod = queued_pod_object(p)->msg;
        if (p != popped && !sched_queue_take(&s->queue, p))
            continue;
        p->attempt_ns = now_ns;
        owners[t->count] = (struct gang_pod){.pod = p};
        t->members[t->count] = (struct gang_member){
            .pod = p->object,
            .profile = sched_config_profile(s->config, pod->spec.scheduler_name),
            .nominated_node = arena_str(a, str_of(p->nominated_node)),
            .owner = &owners[t->count]};
        t->count++;
    }
}

static void tell_group(struct scheduler *s, const struct gang *x, const char *type,
                       const char *reason, struct str message)
{
    if (x->group == NULL)
        return;
    struct event_object about = event_object_of(x->group);
    event_record_action(s->recorder, &about, type, reason, "Scheduling", STR_FMT, STR_ARG(message));
}

static void tell_pod(struct scheduler *s, struct queued_pod *p, struct str message)
{
    if (!action_set_unschedulable(s, p, STR("Unschedulable"), message))
        return;
    struct event_object about = event_object_of(queued_pod_object(p));
    event_record_action(s->recorder, &about, EVENT_WARNING, "FailedScheduling", "Scheduling",
                        STR_FMT, STR_ARG(message));
}

/* --- outcomes -----------------------------------------------------------------------------------
 */

/* Who found no place beyond those that had to is a pod like any other by now. */
static void place_all(struct scheduler *s, struct gang *x, struct gang_trial *t)
{
    gang_clear_victims(x);
    x->attempts = 0;
    x->queue.due_ms = 0;
    tell_group(s, x, EVENT_NORMAL, "Scheduled",
               arena_printf(t->arena, "%zu pods were given nodes at once", t->room_for));
    for (size_t i = 0; i < t->count; i++) {
        const struct gang_pod *g = t->members[i].owner;
        if (t->members[i].node != NULL)
            scheduler_place(s, g->pod, t->members[i].node, g->wait);
    }
    for (size_t i = 0; i < t->count; i++)
        if (t->members[i].node == NULL)
            scheduler_decide(s, pod_of(&t->members[i]));
}

static void evict_all(struct scheduler *s, struct gang *x, const struct gang_trial *t)
{
    gang_clear_victims(x);
    x->room_ms = env_now_ms(s->env) + gang_timeout_ms(x);
    for (size_t i = 0; i < t->victim_count; i++) {
        const struct gang_victim *v = &t->victims[i];
        gang_add_victim(x, api_object_meta(v->pod)->uid);
        action_evict(s, pod_of(v->by), v->pod, v->node->name);
    }
    sched_metrics_preempted(t->victim_count);
}

/* keep: the nominations of before stand. */
static void park_all(struct scheduler *s, struct gang *x, const struct gang_trial *t,
                     struct str message, bool keep)
{
    uint64_t now_ms = env_now_ms(s->env), now_ns = uv_hrtime();
    uint32_t wakes = t->wakes | (t->victim_count != 0 || keep ? EVENT_POD_DELETE : 0);
    uint64_t pause = s->queue.backoff_min_ms << MIN_OF(x->attempts, BACKOFF_SHIFT_MAX);
    x->attempts++;
    x->queue.due_ms = now_ms + MIN_OF(pause, s->queue.backoff_max_ms);
    tell_group(s, x, EVENT_WARNING, "FailedScheduling", message);
    for (size_t i = 0; i < t->count; i++) {
        struct gang_member *m = &t->members[i];
        struct queued_pod *p = pod_of(m);
        const struct core_v1_pod *pod = p->object->msg;
        if (keep)
            scheduler_seat_guest(s, p);
        else
            scheduler_nominate(s, p, m->node);
        tell_pod(s, p, message);
        sched_metrics_attempt(pod->spec.scheduler_name, "unschedulable",
                              (double)(now_ns - p->attempt_ns) / 1e9);
        /* What helps another of them helps it: no node is asked about it alone. */
        p->refused_by = 0;
        p->by_node = false;
        p->alike = 0;
        sched_queue_park(&s->queue, p, wakes, now_ms);
    }
}

enum room { ROOM_AS_IT_IS, ROOM_IS_MADE, ROOM_IS_LATE };

/* Evictions were to make room: is it still waited for? */
static enum room room_of(struct scheduler *s, struct gang *x)
{
    if (x->victim_count == 0 || !gang_victims_remain(x, &s->snapshot))
        return ROOM_AS_IT_IS;
    if (env_now_ms(s->env) < x->room_ms)
        return ROOM_IS_MADE;
    tell_group(s, x, EVENT_WARNING, "Timeout",
               arena_printf(s->gang_arena, "evictions made no room within %llu s",
                            (unsigned long long)(gang_timeout_ms(x) / 1000)));
    gang_clear_victims(x);
    return ROOM_IS_LATE;
}

/* Empty: there is as much as the group asks for. */
static struct str too_little(struct scheduler *s, const struct gang *x, int32_t priority)
{
    const struct scheduling_x_v1alpha1_pod_group *group = gang_group(x);
    struct gang_wish w = {str_of(x->key), group->spec.min_resources,
                          group->spec.min_resources_count, priority};
    struct str lacking = w.count != 0 ? gang_lacking(s->gang_arena, &s->snapshot, &w) : STR_NULL;
    return str_empty(lacking) ? STR_NULL
                              : gang_lacking_message(s->gang_arena, str_of(x->key), lacking);
}

static void try_all(struct scheduler *s, struct gang *x, struct gang_trial *t)
{
    enum room room = room_of(s, x);
    t->preempt = room == ROOM_AS_IT_IS;
    t->budgets = scheduler_budgets(s, s->gang_arena, &t->budget_count);
    if (gang_trial_run(t)) {
        place_all(s, x, t);
        return;
    }
    if (t->victim_count != 0)
        evict_all(s, x, t);
    park_all(s, x, t, gang_trial_message(t, str_of(x->key)), room == ROOM_IS_MADE);
}

void gang_cycle_run(struct scheduler *s, struct gang *x, struct queued_pod *p)
{
    struct gang_trial t = {.snapshot = &s->snapshot,
                           .classes = s->classes,
                           .arena = s->gang_arena,
                           .scratch = s->arena,
                           .needed = x->needed,
                           .seed = env_random_below(s->env, UINT64_MAX),
                           .on_assumed = on_assumed,
                           .on_taken_back = on_taken_back,
                           .arg = s};
    uint64_t start_ns = uv_hrtime();
    gather(s, x, p, &t);
    struct str message = too_little(s, x, p->priority);
    if (str_empty(message)) {
        try_all(s, x, &t);
    } else {
        t.wakes = EVENT_POD_DELETE | EVENT_NODE_ADD | EVENT_NODE_ALLOCATABLE;
        park_all(s, x, &t, message, false);
    }
    sched_metrics_decided((double)(uv_hrtime() - start_ns) / 1e9);
    arena_clear(s->arena);
    arena_clear(s->gang_arena);
}

void gang_cycle_tell(struct gang *x, void *scheduler)
{
    struct scheduler *s = scheduler;
    AUTO_ARENA *a = arena_new(0);
    struct str message =
        x->group == NULL
            ? arena_printf(a, "pod group %s does not exist", x->key)
            : gang_held_message(a, str_of(x->key), x->placed + x->waiting, x->placed + x->needed);
    if (x->waiting != 0)
        tell_group(s, x, EVENT_WARNING, "FailedScheduling", message);
    LIST_FOREACH (it, &x->queue.pods) {
        struct queued_pod *p = LIST_ENTRY(it, struct queued_pod, in_group);
        if (p->place == QUEUE_GATED && !queued_pod_is_gated(p))
            tell_pod(s, p, message);
    }
}
