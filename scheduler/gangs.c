/* gangs.c - see gangs.h. */
#include "scheduler/gangs.h"

#include "api/core_v1.h"
#include "api/scheduling_x_v1alpha1.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/client/gang_key.h"
#include "scheduler/snapshot.h"

#include <stdio.h>

void gangs_init(struct gangs *g, struct sched_queue *q, const struct snapshot *s, uint64_t now_ms)
{
    *g = (struct gangs){.queue = q, .snapshot = s, .started_ms = now_ms, .next_ms = UINT64_MAX};
    map_init(&g->by_key);
}

void gang_clear_victims(struct gang *x)
{
    for (size_t i = 0; i < x->victim_count; i++)
        free(x->victims[i]);
    free(x->victims);
    x->victims = NULL;
    x->victim_count = 0;
}

void gang_add_victim(struct gang *x, struct str uid)
{
    x->victims = xrealloc(x->victims, (x->victim_count + 1) * sizeof(char *));
    x->victims[x->victim_count++] = xstrndup(uid.data, uid.len);
}

bool gang_victims_remain(const struct gang *x, const struct snapshot *s)
{
    for (size_t i = 0; i < x->victim_count; i++)
        if (map_has(&s->pods, str_of(x->victims[i])))
            return true;
    return false;
}

static void gang_free(struct gang *x)
{
    gang_clear_victims(x);
    api_object_unref(x->group);
    free(x->key);
    free(x);
}

void gangs_done(struct gangs *g)
{
    size_t pos = 0;
    void *x;
    while (map_next(&g->by_key, &pos, NULL, &x))
        gang_free(x);
    map_done(&g->by_key);
}

static struct gang *gang_at(struct gangs *g, struct str key, uint64_t now_ms)
{
    struct gang *x = map_get(&g->by_key, key);
    if (x != NULL)
        return x;
    x = xzalloc(sizeof(*x));
    queue_group_init(&x->queue);
    x->queue.held = true; /* Until it was looked at. */
    x->held_ms = now_ms;
    x->key = xstrndup(key.data, key.len);
    (void)map_set(&g->by_key, key, x);
    return x;
}

struct gang *gangs_of(const struct queued_pod *p)
{
    struct gang *x = p->group != NULL ? CONTAINER_OF(p->group, struct gang, queue) : NULL;
    return x != NULL && x->needed != 0 ? x : NULL;
}

const struct scheduling_x_v1alpha1_pod_group *gang_group(const struct gang *x)
{
    return x->group != NULL ? x->group->msg : NULL;
}

uint64_t gang_timeout_ms(const struct gang *x)
{
    const struct scheduling_x_v1alpha1_pod_group *group = gang_group(x);
    bool given = group != NULL && group->spec.has_schedule_timeout_seconds &&
                 group->spec.schedule_timeout_seconds > 0;
    return (given ? (uint64_t)group->spec.schedule_timeout_seconds : GANG_TIMEOUT_S) * 1000;
}

/* --- changes ------------------------------------------------------------------------------------
 */

void gangs_set_pod(struct gangs *g, struct queued_pod *p, uint64_t now_ms)
{
    char buffer[GANG_KEY_MAX];
    struct str key = gang_key(queued_pod_object(p)->msg, buffer);
    struct gang *x = str_empty(key) ? NULL : gang_at(g, key, now_ms);
    struct queue_group *group = x != NULL ? &x->queue : NULL;
    if (p->group == group)
        return;
    sched_queue_join(g->queue, p, group, now_ms);
    if (x != NULL) { /* It has not been told, and changes what the others were. */
        x->held_ms = now_ms;
        x->told = false;
    }
}

static struct str key_of(char *buffer, struct str namespace_name, struct str name)
{
    int n =
        snprintf(buffer, GANG_KEY_MAX, STR_FMT "/" STR_FMT, STR_ARG(namespace_name), STR_ARG(name));
    return str_n(buffer, (size_t)MIN_OF(n, GANG_KEY_MAX - 1));
}

void gangs_set_group(struct gangs *g, struct api_object *object, uint64_t now_ms)
{
    const struct scheduling_x_v1alpha1_pod_group *group = object->msg, *old;
    char buffer[GANG_KEY_MAX];
    struct gang *x =
        gang_at(g, key_of(buffer, group->metadata.namespace, group->metadata.name), now_ms);
    old = gang_group(x);
    bool asks_anew = old != NULL && !api_msg_equal(&scheduling_x_v1alpha1_pod_group_spec_msg,
                                                   &old->spec, &group->spec);
    struct api_object *before = x->group;
    x->group = api_object_ref(object);
    api_object_unref(before);
    x->queue.changed = g->queue->groups_changed = true;
    if (!asks_anew)
        return;
    x->queue.due_ms = 0;
    LIST_FOREACH (it, &x->queue.pods)
        sched_queue_wake(g->queue, LIST_ENTRY(it, struct queued_pod, in_group), now_ms);
}

void gangs_remove_group(struct gangs *g, struct str namespace_name, struct str name)
{
    char buffer[GANG_KEY_MAX];
    struct gang *x = map_get(&g->by_key, key_of(buffer, namespace_name, name));
    if (x == NULL)
        return;
    api_object_unref(x->group);
    x->group = NULL;
    x->queue.changed = g->queue->groups_changed = true;
}

/* --- who is held --------------------------------------------------------------------------------
 */

static size_t min_member(const struct scheduling_x_v1alpha1_pod_group *group)
{
    return group->spec.min_member > 0 ? (size_t)group->spec.min_member : 0;
}

/* Its pods are gone by and by; what comes under its name then is another run. */
static bool is_over(const struct scheduling_x_v1alpha1_pod_group *group)
{
    return str_eqc(group->status.phase, "Finished") || str_eqc(group->status.phase, "Failed");
}

size_t gang_needed(const struct scheduling_x_v1alpha1_pod_group *group, size_t placed)
{
    size_t succeeded =
        group->status.succeeded > 0 && !is_over(group) ? (size_t)group->status.succeeded : 0;
    size_t there = placed + succeeded, want = min_member(group);
    return there < want ? want - there : 0;
}

size_t gang_size(const struct gang *x)
{
    return x->group != NULL ? min_member(x->group->msg) : 0;
}

static void count_waiting(struct gang *x)
{
    x->waiting = 0;
    LIST_FOREACH (it, &x->queue.pods) {
        const struct queued_pod *p = LIST_ENTRY(it, struct queued_pod, in_group);
        x->waiting += p->place != QUEUE_IN_CYCLE && !queued_pod_is_gated(p);
    }
}

/* unserved: no such kind, for long enough to be sure. */
static void settle(struct gangs *g, struct gang *x, bool unserved, uint64_t now_ms)
{
    bool was_held = x->queue.held, was_first = x->queue.first;
    if (x->queue.changed)
        count_waiting(x);
    x->placed = snapshot_gang_pods(g->snapshot, str_of(x->key));
    x->needed = x->group != NULL ? gang_needed(x->group->msg, x->placed) : 0;
    x->queue.held = x->group != NULL ? x->waiting < x->needed : !unserved;
    x->queue.first = x->needed != 0 && x->placed != 0;
    if (!was_held && x->queue.held) {
        x->held_ms = now_ms;
        x->told = false;
    }
    if (x->queue.changed || was_held != x->queue.held || was_first != x->queue.first)
        sched_queue_regroup(g->queue, &x->queue, now_ms);
    x->queue.changed = false;
}

uint64_t gangs_settle(struct gangs *g, bool served, uint64_t now_ms,
                      void (*tell)(struct gang *x, void *arg), void *arg)
{
    bool unserved = !served && now_ms >= g->started_ms + GANG_UNSERVED_MS;
    bool changed = g->queue->groups_changed || g->snapshot_rev != g->snapshot->gangs_rev ||
                   g->served != served;
    if (g->by_key.count == 0 || (!changed && now_ms < g->next_ms))
        return g->next_ms;
    g->queue->groups_changed = false;
    g->snapshot_rev = g->snapshot->gangs_rev;
    g->served = served;
    uint64_t next = !served && !unserved ? g->started_ms + GANG_UNSERVED_MS : UINT64_MAX;
    size_t pos = 0;
    void *v;
    while (map_next(&g->by_key, &pos, NULL, &v)) {
        struct gang *x = v;
        if (list_empty(&x->queue.pods)) {
            if (x->group == NULL) {
                map_remove(&g->by_key, str_of(x->key));
                gang_free(x);
            }
            continue;
        }
        settle(g, x, unserved, now_ms);
        if (!x->queue.held || x->told)
            continue;
        if (now_ms >= x->held_ms + GANG_TELL_MS) {
            x->told = true;
            tell(x, arg);
        } else {
            next = MIN_OF(next, x->held_ms + GANG_TELL_MS);
        }
    }
    g->next_ms = next;
    return next;
}
