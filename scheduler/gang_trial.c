/* gang_trial.c - see gang_trial.h. */
#include "scheduler/gang_trial.h"

#include "api/core_v1.h"
#include "api/policy_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "scheduler/classes.h"
#include "lib/client/gang_key.h"
#include "scheduler/preemption.h"
#include "scheduler/snapshot.h"

/* A victim off its node, for as long as the trial lasts. */
struct lifted {
    struct pod_info *pod;
    struct node_info *node;
};

/* The state of the second attempt. */
struct eviction {
    struct policy_v1_pod_disruption_budget *copies; /* Their allowance shrinks. */
    const struct policy_v1_pod_disruption_budget **budgets;
    struct lifted *lifted;
    size_t count, cap;
};

static int by_difficulty(const void *x, const void *y)
{
    const struct pod_info *a = ((const struct gang_member *)x)->info,
                          *b = ((const struct gang_member *)y)->info;
    int32_t pa = pod_priority(a->pod), pb = pod_priority(b->pod);
    const struct resources *p = &a->needs->requests, *q = &b->needs->requests;
    if (pa != pb)
        return pa > pb ? -1 : 1;
    if (p->scalar_count != q->scalar_count)
        return p->scalar_count > q->scalar_count ? -1 : 1;
    if (p->milli_cpu != q->milli_cpu)
        return p->milli_cpu > q->milli_cpu ? -1 : 1;
    if (p->memory != q->memory)
        return p->memory > q->memory ? -1 : 1;
    return str_cmp(a->pod->metadata.name, b->pod->metadata.name);
}

static struct node_info *decide(struct gang_trial *t, const struct gang_member *m,
                                struct str nominated, struct cycle **ret)
{
    struct class_question q = {.pod = m->info,
                               .arena = t->scratch,
                               .nominated_node = nominated,
                               .seed = t->seed++,
                               .profile = m->profile};
    return classes_decide(t->classes, &q, ret);
}

static void assume(struct gang_trial *t, struct gang_member *m, struct node_info *n,
                   const struct cycle *c)
{
    m->node = n;
    if (t->on_assumed != NULL)
        t->on_assumed(m, c, t->arg);
    snapshot_assume(t->snapshot, m->pod, n);
}

/* node: forget where it was, too. */
static void take_back(struct gang_trial *t, bool node)
{
    for (size_t i = t->count; i-- != 0;) {
        struct gang_member *m = &t->members[i];
        if (m->node == NULL)
            continue;
        snapshot_forget(t->snapshot, m->info->pod->metadata.uid);
        if (t->on_taken_back != NULL)
            t->on_taken_back(m, t->arg);
        if (node)
            m->node = NULL;
    }
}

static void place_what_fits(struct gang_trial *t)
{
    for (size_t i = 0; i < t->count; i++) {
        struct gang_member *m = &t->members[i];
        struct cycle *c;
        struct node_info *n = decide(t, m, m->nominated_node, &c);
        if (n != NULL) {
            assume(t, m, n, c);
            t->room_for++;
        } else {
            m->refused = true;
            m->message = arena_str(t->arena, cycle_message(c, STR_NULL));
            t->wakes |= c->wakes;
            t->first = t->first == NULL ? m : t->first;
        }
        arena_clear(t->scratch);
    }
}

/* --- with evictions ----------------------------------------------------------------------------
 */

static void copy_budgets(struct gang_trial *t, struct eviction *e)
{
    e->copies = ARENA_ARRAY(t->arena, struct policy_v1_pod_disruption_budget, t->budget_count + 1);
    e->budgets =
        ARENA_ARRAY(t->arena, const struct policy_v1_pod_disruption_budget *, t->budget_count + 1);
    for (size_t i = 0; i < t->budget_count; i++) {
        e->copies[i] = *t->budgets[i];
        e->budgets[i] = &e->copies[i];
    }
}

static void release(void *object)
{
    api_object_unref(object);
}

static void lift(struct gang_trial *t, struct eviction *e, const struct gang_member *m,
                 const struct preemption *p)
{
    for (size_t i = 0; i < p->victim_count; i++) {
        struct api_object *victim = api_object_ref(p->victims[i]);
        arena_hold(t->arena, victim, release);
        for (size_t b = 0; b < t->budget_count; b++)
            if (preemption_budget_covers(e->budgets[b], victim->msg))
                e->copies[b].status.disruptions_allowed--;
        e->lifted = arena_grow(t->arena, e->lifted, e->count, &e->cap, sizeof(*e->lifted));
        t->victims =
            arena_grow(t->arena, t->victims, t->victim_count, &t->victim_cap, sizeof(*t->victims));
        t->victims[t->victim_count++] = (struct gang_victim){victim, p->node, m};
        e->lifted[e->count++] =
            (struct lifted){snapshot_lift(t->snapshot, api_object_meta(victim)->uid), p->node};
    }
}

/* False: not even evictions help, or they may not be; what is to be added to its message. */
static bool place_or_evict(struct gang_trial *t, struct eviction *e, struct gang_member *m,
                           struct str *ret_post)
{
    struct cycle *c;
    struct node_info *n = decide(t, m, m->nominated_node, &c);
    if (n == NULL && c->profile->preempts && c->snapshot->node_count != 0) {
        struct preemption p;
        preemption_evaluate(c, e->budgets, t->budget_count, &p);
        if (p.node == NULL) {
            *ret_post = arena_str(t->arena, p.message);
        } else {
            lift(t, e, m, &p);
            n = decide(t, m, str_of(p.node->name), &c);
        }
    }
    if (n != NULL)
        assume(t, m, n, c);
    arena_clear(t->scratch);
    return n != NULL;
}

/* Gives the gang up as soon as it cannot be whole. */
static bool try_evicting(struct gang_trial *t)
{
    struct eviction e = {0};
    struct str post = STR_NULL;
    size_t placed = 0;
    copy_budgets(t, &e);
    for (size_t i = 0; i < t->count && placed < t->needed && placed + t->count - i >= t->needed;
         i++)
        placed += place_or_evict(t, &e, &t->members[i], &post);
    bool enough = placed >= t->needed;
    take_back(t, !enough);
    while (e.count-- != 0)
        snapshot_put_back(t->snapshot, e.lifted[e.count].pod, e.lifted[e.count].node);
    if (enough)
        return true;
    t->victim_count = 0;
    if (!str_empty(post))
        t->first->message =
            arena_printf(t->arena, STR_FMT " " STR_FMT, STR_ARG(t->first->message), STR_ARG(post));
    return false;
}

bool gang_trial_run(struct gang_trial *t)
{
    for (size_t i = 0; i < t->count; i++) {
        t->members[i].info = pod_info_new(t->members[i].pod);
        snapshot_unnominate(t->snapshot, api_object_meta(t->members[i].pod)->uid);
    }
    if (t->count > 1)
        qsort(t->members, t->count, sizeof(*t->members), by_difficulty);
    place_what_fits(t);
    bool enough = t->room_for >= t->needed;
    if (!enough) {
        take_back(t, true);
        if (t->preempt && t->count >= t->needed)
            (void)try_evicting(t);
    }
    for (size_t i = 0; i < t->count; i++) {
        pod_info_free(t->members[i].info);
        t->members[i].info = NULL;
    }
    return enough;
}

struct str gang_trial_message(const struct gang_trial *t, struct str key)
{
    const char *pods = t->needed == 1 ? "pod" : "pods";
    if (t->first == NULL)
        return arena_printf(t->arena, "pod group " STR_FMT " needs %zu more %s, %zu wait",
                            STR_ARG(key), t->needed, pods, t->count);
    return arena_printf(t->arena,
                        "pod group " STR_FMT " needs %zu more %s placed at once and there is room "
                        "for %zu: " STR_FMT ": " STR_FMT,
                        STR_ARG(key), t->needed, pods, t->room_for,
                        STR_ARG(api_object_meta(t->first->pod)->name), STR_ARG(t->first->message));
}

struct str gang_held_message(struct arena *a, struct str key, size_t has, size_t needs)
{
    return arena_printf(a, "pod group " STR_FMT " has %zu of the %zu pods that it needs",
                        STR_ARG(key), has, needs);
}

struct str gang_lacking_message(struct arena *a, struct str key, struct str lacking)
{
    return arena_printf(
        a, "pod group " STR_FMT ": the nodes have less free than its minResources: " STR_FMT,
        STR_ARG(key), STR_ARG(lacking));
}

/* --- minResources ------------------------------------------------------------------------------
 */

static int64_t left_of(int64_t has, int64_t used)
{
    return MAX_OF(has - used, (int64_t)0);
}

/* Adds what is free on the node, of each resource that is wanted. */
static void add_free(const struct node_info *n, const struct resources *own,
                     const struct resources *want, struct resources *free)
{
    const struct resources *has = &n->allocatable, *used = &n->requested;
    struct resources left = {
        .milli_cpu = left_of(has->milli_cpu, used->milli_cpu - own->milli_cpu),
        .memory = left_of(has->memory, used->memory - own->memory),
        .ephemeral_storage =
            left_of(has->ephemeral_storage, used->ephemeral_storage - own->ephemeral_storage),
    };
    resources_add(free, &left);
    free->pods += left_of(has->pods, (int64_t)n->pod_count - own->pods);
    for (size_t i = 0; i < want->scalar_count; i++) {
        const char *name = want->scalars[i].name;
        free->scalars[i].amount +=
            left_of(resources_scalar(has, name),
                    resources_scalar(used, name) - resources_scalar(own, name));
    }
}

static void put_lacking(struct buf *b, const char *name, int64_t free, int64_t want)
{
    if (free < want)
        buf_printf(b, "%s%s", b->len != 0 ? ", " : "", name);
}

static bool counts_as_free(const struct gang_wish *w, const struct core_v1_pod *pod)
{
    char buffer[GANG_KEY_MAX];
    return pod_priority(pod) < w->priority || str_eq(gang_key(pod, buffer), w->key);
}

struct str gang_lacking(struct arena *a, const struct snapshot *s, const struct gang_wish *w)
{
    AUTO_BUF b = BUF_INIT;
    struct resources want = {0}, free;
    resources_from_list(&want, w->list, w->count);
    resources_copy(&free, &want);
    free.milli_cpu = free.memory = free.ephemeral_storage = free.pods = 0;
    for (size_t i = 0; i < free.scalar_count; i++)
        free.scalars[i].amount = 0;
    for (size_t i = 0; i < s->node_count; i++) {
        const struct node_info *n = s->nodes[i];
        struct resources own = {0};
        for (size_t k = 0; k < n->pod_count; k++)
            if (counts_as_free(w, n->pods[k]->pod)) {
                resources_add(&own, &n->pods[k]->needs->requests);
                own.pods++;
            }
        add_free(n, &own, &want, &free);
        resources_done(&own);
    }
    put_lacking(&b, "cpu", free.milli_cpu, want.milli_cpu);
    put_lacking(&b, "memory", free.memory, want.memory);
    put_lacking(&b, "ephemeral-storage", free.ephemeral_storage, want.ephemeral_storage);
    put_lacking(&b, "pods", free.pods, want.pods);
    for (size_t i = 0; i < want.scalar_count; i++)
        put_lacking(&b, want.scalars[i].name, free.scalars[i].amount, want.scalars[i].amount);
    resources_done(&want);
    resources_done(&free);
    return arena_str(a, buf_str(&b));
}
