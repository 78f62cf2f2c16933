/* queue.c - see queue.h. */
#include "scheduler/queue.h"

#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/pack.h"
#include "lib/api/scheme.h"
#include "lib/client/labels.h"
#include "scheduler/snapshot.h"

struct api_object *queued_pod_object(const struct queued_pod *p)
{
    api_object_unpack(p->object);
    return p->object;
}

void queued_pod_rest(struct queued_pod *p)
{
    bool ours = atomic_load_explicit(&p->object->refs, memory_order_relaxed) == 1;
    if (p->place == QUEUE_ACTIVE && p->object->pack != NULL && ours)
        api_object_pack(NULL, p->object);
}

static const struct core_v1_pod *pod_of(const struct queued_pod *p)
{
    return queued_pod_object(p)->msg;
}

static bool active_before(const struct heap_node *a, const struct heap_node *b, void *arg)
{
    const struct queued_pod *x = HEAP_ENTRY(a, const struct queued_pod, heap);
    const struct queued_pod *y = HEAP_ENTRY(b, const struct queued_pod, heap);
    UNUSED(arg);
    if (x->priority != y->priority)
        return x->priority > y->priority;
    bool x_first = x->group != NULL && x->group->first,
         y_first = y->group != NULL && y->group->first;
    return x_first != y_first ? x_first : x->queued_ms < y->queued_ms;
}

static bool backoff_before(const struct heap_node *a, const struct heap_node *b, void *arg)
{
    UNUSED(arg);
    return HEAP_ENTRY(a, const struct queued_pod, heap)->due_ms <
           HEAP_ENTRY(b, const struct queued_pod, heap)->due_ms;
}

void sched_queue_init(struct sched_queue *q)
{
    *q = (struct sched_queue){.backoff_min_ms = QUEUE_BACKOFF_MIN_MS,
                              .backoff_max_ms = QUEUE_BACKOFF_MAX_MS};
    map_init(&q->by_uid);
    heap_init(&q->active, active_before, NULL);
    heap_init(&q->backoff, backoff_before, NULL);
    list_init(&q->unschedulable);
    list_init(&q->in_cycle);
    list_init(&q->gated);
}

static void queued_free(struct queued_pod *p)
{
    api_object_unref(p->object);
    free(p->nominated_node);
    free(p);
}

void sched_queue_done(struct sched_queue *q)
{
    size_t pos = 0;
    void *p;
    while (map_next(&q->by_uid, &pos, NULL, &p))
        queued_free(p);
    map_done(&q->by_uid);
    heap_done(&q->active);
    heap_done(&q->backoff);
}

/* --- places --------------------------------------------------------------------------------- */

static void count_interest(struct sched_queue *q, uint32_t wakes, bool enter)
{
    for (unsigned i = 0; i < EVENT_COUNT; i++)
        if ((wakes & 1u << i) != 0)
            q->interest[i] += enter ? 1 : (size_t)-1;
}

static bool any_interest(const struct sched_queue *q, uint32_t events)
{
    for (unsigned i = 0; i < EVENT_COUNT; i++)
        if ((events & 1u << i) != 0 && q->interest[i] != 0)
            return true;
    return false;
}

/* Stands in the place from now on. */
static void arrive(struct sched_queue *q, struct queued_pod *p, enum queue_place place,
                   unsigned cause)
{
    p->place = place;
    q->counts[place]++;
    q->incoming[place][cause]++;
}

const char *sched_queue_cause(unsigned cause)
{
    static const char *const names[QUEUE_CAUSES] = {"NodeAdd",
                                                    "NodeAllocatableUpdate",
                                                    "NodeLabelUpdate",
                                                    "NodeTaintUpdate",
                                                    "AssignedPodDelete",
                                                    "AssignedPodAdd",
                                                    "AssignedPodUpdate",
                                                    "UnscheduledPodUpdate",
                                                    "StorageUpdate",
                                                    "ResourceClaimUpdate",
                                                    "ResourceSliceUpdate",
                                                    "DeviceClassAdd",
                                                    "UnscheduledPodAdd",
                                                    "UnscheduledPodUpdate",
                                                    "ScheduleAttemptFailure",
                                                    "BackoffComplete",
                                                    "UnschedulableTimeout"};
    return names[cause];
}

static unsigned cause_of(uint32_t event)
{
    unsigned i = 0;
    while (i < EVENT_COUNT - 1 && (event & 1u << i) == 0)
        i++;
    return i;
}

static void leave(struct sched_queue *q, struct queued_pod *p)
{
    q->counts[p->place]--;
    switch (p->place) {
    case QUEUE_ACTIVE:
        heap_remove(&q->active, &p->heap);
        return;
    case QUEUE_BACKOFF:
        heap_remove(&q->backoff, &p->heap);
        return;
    case QUEUE_UNSCHEDULABLE:
        list_remove(&p->link);
        count_interest(q, p->wakes, false);
        return;
    case QUEUE_IN_CYCLE:
    case QUEUE_GATED:
        list_remove(&p->link);
        return;
    case QUEUE_PLACES:
        return;
    }
}

static void enter_active(struct sched_queue *q, struct queued_pod *p, unsigned cause)
{
    arrive(q, p, QUEUE_ACTIVE, cause);
    heap_push(&q->active, &p->heap);
}

static void enter_gated(struct sched_queue *q, struct queued_pod *p, unsigned cause)
{
    arrive(q, p, QUEUE_GATED, cause);
    list_push_back(&q->gated, &p->link);
}

static uint64_t backoff_ms(const struct sched_queue *q, const struct queued_pod *p)
{
    unsigned tries = MAX_OF(p->attempts, 1u);
    uint64_t ms = q->backoff_min_ms;
    for (unsigned i = 1; i < tries && ms < q->backoff_max_ms; i++)
        ms *= 2;
    return MIN_OF(ms, q->backoff_max_ms);
}

/* since_ms: when the attempt failed, from where the backoff counts. */
static void enter_backoff(struct sched_queue *q, struct queued_pod *p, uint64_t since_ms,
                          uint64_t now_ms, unsigned cause)
{
    p->due_ms = since_ms + backoff_ms(q, p);
    if (p->due_ms <= now_ms) {
        enter_active(q, p, cause);
        return;
    }
    arrive(q, p, QUEUE_BACKOFF, cause);
    heap_push(&q->backoff, &p->heap);
}

static void note_in_group(struct sched_queue *q, const struct queued_pod *p)
{
    if (p->group != NULL)
        p->group->changed = q->groups_changed = true;
}

static void drop(struct sched_queue *q, struct queued_pod *p)
{
    note_in_group(q, p);
    list_remove(&p->in_group);
    map_remove(&q->by_uid, pod_of(p)->metadata.uid);
    queued_free(p);
}

/* --- pods ------------------------------------------------------------------------------------ */

static void ask_holds(const struct sched_queue *q, struct queued_pod *p)
{
    p->held_back = q->holds != NULL && q->holds(q->holds_arg, pod_of(p));
}

bool queued_pod_is_gated(const struct queued_pod *p)
{
    return pod_of(p)->spec.scheduling_gates_count != 0 || p->held_back;
}

static bool is_held(const struct queued_pod *p)
{
    return queued_pod_is_gated(p) || (p->group != NULL && p->group->held);
}

static void add_new(struct sched_queue *q, struct api_object *object, uint64_t now_ms)
{
    struct queued_pod *p = xzalloc(sizeof(*p));
    const struct core_v1_pod *pod = object->msg;
    p->object = api_object_ref(object);
    p->priority = pod_priority(pod);
    p->queued_ms = now_ms;
    list_init(&p->link);
    list_init(&p->in_group);
    if (!str_empty(pod->status.nominated_node_name))
        p->nominated_node =
            xstrndup(pod->status.nominated_node_name.data, pod->status.nominated_node_name.len);
    map_set(&q->by_uid, pod->metadata.uid, p);
    ask_holds(q, p);
    if (queued_pod_is_gated(p))
        enter_gated(q, p, CAUSE_POD_ADD);
    else
        enter_active(q, p, CAUSE_POD_ADD);
}

/* Only what a decision depends on wakes a pod: status written by ourselves must
 * not. */
static bool matters(const struct core_v1_pod *x, const struct core_v1_pod *y)
{
    return !api_msg_equal(&core_v1_pod_spec_msg, &x->spec, &y->spec) ||
           !labels_equal(x->metadata.labels, x->metadata.labels_count, y->metadata.labels,
                         y->metadata.labels_count) ||
           (x->metadata.deletion_timestamp == NULL) != (y->metadata.deletion_timestamp == NULL) ||
           x->metadata.generation != y->metadata.generation ||
           x->status.resource_claim_statuses_count != y->status.resource_claim_statuses_count;
}

void sched_queue_set(struct sched_queue *q, struct api_object *object, uint64_t now_ms)
{
    const struct core_v1_pod *pod = object->msg;
    struct queued_pod *p = map_get(&q->by_uid, pod->metadata.uid);
    if (p == NULL) {
        add_new(q, object, now_ms);
        return;
    }
    bool changed = matters(pod_of(p), pod);
    struct api_object *old = p->object;
    p->object = api_object_ref(object);
    if (changed) {
        ask_holds(q, p);
        note_in_group(q, p);
    }
    if (changed && p->place == QUEUE_IN_CYCLE) {
        p->missed |= EVENT_SELF_UPDATE;
    } else if (changed && p->place == QUEUE_GATED && !is_held(p)) {
        leave(q, p);
        enter_active(q, p, CAUSE_POD_UPDATE);
    } else if (changed && p->place == QUEUE_UNSCHEDULABLE) {
        leave(q, p);
        enter_backoff(q, p, p->since_ms, now_ms, CAUSE_POD_UPDATE);
    }
    api_object_unref(old);
}

void sched_queue_remove(struct sched_queue *q, struct str uid)
{
    struct queued_pod *p = map_get(&q->by_uid, uid);
    if (p == NULL)
        return;
    if (p->place == QUEUE_IN_CYCLE) {
        p->deleted = true;
        return;
    }
    leave(q, p);
    drop(q, p);
}

static void enter_cycle(struct sched_queue *q, struct queued_pod *p)
{
    leave(q, p);
    note_in_group(q, p);
    q->counts[QUEUE_IN_CYCLE]++;
    p->place = QUEUE_IN_CYCLE;
    list_push_back(&q->in_cycle, &p->link);
    api_object_unpack(p->object);
    p->attempts++;
    p->missed = 0;
    p->refused_by = 0;
    p->by_node = false;
}

struct queued_pod *sched_queue_pop(struct sched_queue *q)
{
    struct heap_node *n = heap_peek(&q->active);
    if (n == NULL)
        return NULL;
    struct queued_pod *p = HEAP_ENTRY(n, struct queued_pod, heap);
    enter_cycle(q, p);
    return p;
}

void sched_queue_placed(struct sched_queue *q, struct queued_pod *p)
{
    ASSERT_CMP(p->place, ==, QUEUE_IN_CYCLE);
    leave(q, p);
    drop(q, p);
}

void sched_queue_park(struct sched_queue *q, struct queued_pod *p, uint32_t wakes, uint64_t now_ms)
{
    ASSERT_CMP(p->place, ==, QUEUE_IN_CYCLE);
    leave(q, p);
    if (p->deleted) {
        drop(q, p);
        return;
    }
    p->wakes = wakes | EVENT_SELF_UPDATE;
    p->since_ms = now_ms;
    note_in_group(q, p);
    if ((p->missed & p->wakes) != 0) {
        enter_backoff(q, p, now_ms, now_ms, CAUSE_ATTEMPT_FAILED);
        return;
    }
    arrive(q, p, QUEUE_UNSCHEDULABLE, CAUSE_ATTEMPT_FAILED);
    list_push_back(&q->unschedulable, &p->link);
    count_interest(q, p->wakes, true);
}

void sched_queue_retry(struct sched_queue *q, struct queued_pod *p, uint64_t now_ms)
{
    ASSERT_CMP(p->place, ==, QUEUE_IN_CYCLE);
    leave(q, p);
    if (p->deleted) {
        drop(q, p);
        return;
    }
    p->failures++;
    note_in_group(q, p);
    enter_backoff(q, p, now_ms, now_ms, CAUSE_ATTEMPT_FAILED);
}

/* --- groups ---------------------------------------------------------------------------------- */

void queue_group_init(struct queue_group *g)
{
    *g = (struct queue_group){0};
    list_init(&g->pods);
}

/* Where it belongs, by what its group says. */
static void seat(struct sched_queue *q, struct queued_pod *p, uint64_t now_ms)
{
    bool held = is_held(p), gated = p->place == QUEUE_GATED, active = p->place == QUEUE_ACTIVE;
    uint64_t due_ms = p->group != NULL ? p->group->due_ms : 0;
    if (p->place == QUEUE_IN_CYCLE || (held ? gated : !gated && !active))
        return;
    if (active && !held && due_ms <= now_ms) {
        heap_update(&q->active, &p->heap);
        return;
    }
    leave(q, p);
    if (held) {
        enter_gated(q, p, CAUSE_POD_UPDATE);
    } else if (due_ms > now_ms) {
        p->due_ms = due_ms;
        arrive(q, p, QUEUE_BACKOFF, CAUSE_POD_UPDATE);
        heap_push(&q->backoff, &p->heap);
    } else {
        enter_active(q, p, CAUSE_POD_UPDATE);
    }
}

void sched_queue_join(struct sched_queue *q, struct queued_pod *p, struct queue_group *g,
                      uint64_t now_ms)
{
    note_in_group(q, p);
    list_remove(&p->in_group);
    p->group = g;
    if (g != NULL)
        list_push_back(&g->pods, &p->in_group);
    note_in_group(q, p);
    seat(q, p, now_ms);
}

void sched_queue_regroup(struct sched_queue *q, struct queue_group *g, uint64_t now_ms)
{
    LIST_FOREACH (it, &g->pods)
        seat(q, LIST_ENTRY(it, struct queued_pod, in_group), now_ms);
}

bool sched_queue_take(struct sched_queue *q, struct queued_pod *p)
{
    if (p->place == QUEUE_IN_CYCLE || p->place == QUEUE_GATED)
        return false;
    enter_cycle(q, p);
    return true;
}

void sched_queue_wake(struct sched_queue *q, struct queued_pod *p, uint64_t now_ms)
{
    if (p->place == QUEUE_UNSCHEDULABLE) {
        leave(q, p);
        enter_backoff(q, p, p->since_ms, now_ms, CAUSE_POD_UPDATE);
    }
}

/* --- events and time ---------------------------------------------------------------------------
 */

/* What was answered for pods alike, in the present event. */
struct hint_memo {
    struct {
        uint64_t alike;
        bool helps;
    } items[16];
    size_t count;
};

static bool may_help(const struct queued_pod *p, queue_hint *helps, void *arg, struct hint_memo *m)
{
    if (helps == NULL || !p->by_node)
        return true;
    size_t kept = MIN_OF(m->count, ARRAY_SIZE(m->items));
    for (size_t i = 0; p->alike != 0 && i < kept; i++)
        if (m->items[i].alike == p->alike)
            return m->items[i].helps;
    bool yes = helps(p, arg);
    if (p->alike != 0) {
        size_t at = m->count++ % ARRAY_SIZE(m->items);
        m->items[at].alike = p->alike;
        m->items[at].helps = yes;
    }
    return yes;
}

void sched_queue_event_at(struct sched_queue *q, uint32_t events, uint64_t now_ms,
                          queue_hint *helps, void *arg)
{
    struct hint_memo memo = {.count = 0};
    /* A pod in its cycle was judged without knowing of this. */
    LIST_FOREACH (it, &q->in_cycle) {
        LIST_ENTRY(it, struct queued_pod, link)->missed |= events;
    }
    if (!any_interest(q, events))
        return;
    LIST_FOREACH_SAFE (it, &q->unschedulable) {
        struct queued_pod *p = LIST_ENTRY(it, struct queued_pod, link);
        if ((p->wakes & events) == 0 || !may_help(p, helps, arg, &memo))
            continue;
        leave(q, p);
        enter_backoff(q, p, p->since_ms, now_ms, cause_of(events));
    }
}

void sched_queue_event(struct sched_queue *q, uint32_t event, uint64_t now_ms)
{
    sched_queue_event_at(q, event, now_ms, NULL, NULL);
}

void sched_queue_recheck(struct sched_queue *q, uint32_t event)
{
    LIST_FOREACH_SAFE (it, &q->gated) {
        struct queued_pod *p = LIST_ENTRY(it, struct queued_pod, link);
        bool before = p->held_back;
        if (before)
            ask_holds(q, p);
        if (!before || p->held_back)
            continue;
        note_in_group(q, p);
        if (is_held(p))
            continue;
        leave(q, p);
        enter_active(q, p, cause_of(event));
    }
}

static void flush_stale(struct sched_queue *q, uint64_t now_ms)
{
    while (!list_empty(&q->unschedulable)) { /* Oldest first. */
        struct queued_pod *p = LIST_ENTRY(q->unschedulable.next, struct queued_pod, link);
        if (now_ms - p->since_ms < QUEUE_FLUSH_MS)
            return;
        leave(q, p);
        enter_backoff(q, p, p->since_ms, now_ms, CAUSE_WAITED_LONG);
    }
}

uint64_t sched_queue_tick(struct sched_queue *q, uint64_t now_ms)
{
    uint64_t next = UINT64_MAX;
    flush_stale(q, now_ms);
    for (;;) {
        struct heap_node *n = heap_peek(&q->backoff);
        if (n == NULL)
            break;
        struct queued_pod *p = HEAP_ENTRY(n, struct queued_pod, heap);
        if (p->due_ms > now_ms) {
            next = p->due_ms;
            break;
        }
        leave(q, p);
        enter_active(q, p, CAUSE_BACKOFF_OVER);
    }
    if (!list_empty(&q->unschedulable)) {
        uint64_t flush =
            LIST_ENTRY(q->unschedulable.next, struct queued_pod, link)->since_ms + QUEUE_FLUSH_MS;
        next = MIN_OF(next, flush);
    }
    return next;
}

struct queued_pod *sched_queue_find(const struct sched_queue *q, struct str uid)
{
    return map_get(&q->by_uid, uid);
}
