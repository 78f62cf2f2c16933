/* simulation_gangs.c - pod groups in a simulation: see simulation.h. */
#include "scheduler/simulation_internal.h"

#include "api/core_v1.h"
#include "api/scheduling_x_v1alpha1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/client/gang_key.h"
#include "scheduler/gang_trial.h"
#include "scheduler/gangs.h"

/* In the namespace that it would get. */
static struct str gang_of(struct arena *a, const struct core_v1_pod *pod)
{
    struct core_v1_pod copy = {.metadata = pod->metadata};
    char buffer[GANG_KEY_MAX];
    if (str_empty(copy.metadata.namespace))
        copy.metadata.namespace = STR("default");
    return arena_str(a, gang_key(&copy, buffer));
}

static const struct scheduling_x_v1alpha1_pod_group *group_of(const struct simulation *s,
                                                              struct str key)
{
    struct str ns, name;
    if (!str_cut(key, '/', &ns, &name))
        return NULL;
    const struct api_object *o = simulation_find(s, "PodGroup", ns, name);
    return o != NULL ? o->msg : NULL;
}

struct str simulation_gang(const struct simulation *s, struct arena *a,
                           const struct api_object *pod)
{
    struct str key = gang_of(a, pod->msg);
    return group_of(s, key) != NULL ? key : STR_NULL;
}

static void on_assumed(struct gang_member *m, const struct cycle *c, void *arg)
{
    const struct simulation_outcome *o = m->owner;
    simulation_take_volumes(arg, c, m->node, m->owner);
    simulation_take_devices(arg, c, m->node, o->pod);
}

static void on_taken_back(struct gang_member *m, void *arg)
{
    struct simulation *s = arg;
    const struct simulation_outcome *o = m->owner;
    size_t pos = 0;
    simulation_give_devices(s, o->pod);
    struct str name;
    void *by;
    while (map_next(&s->taken, &pos, &name, &by))
        if (by == m->owner)
            (void)map_remove(&s->taken, name);
}

static void refuse_all(struct simulation_outcome *ret, size_t count, struct str message)
{
    for (size_t i = 0; i < count; i++)
        ret[i].message = message;
}

/* Empty: there is as much as the group asks for. */
static struct str too_little(const struct simulation *s, struct arena *a, struct str key,
                             const struct simulation_outcome *ret, size_t count)
{
    const struct scheduling_x_v1alpha1_pod_group *group = group_of(s, key);
    int32_t priority = INT32_MIN;
    for (size_t i = 0; i < count; i++)
        priority = MAX_OF(priority, pod_priority(ret[i].pod->msg));
    struct gang_wish w = {key, group->spec.min_resources, group->spec.min_resources_count,
                          priority};
    struct str lacking = w.count != 0 ? gang_lacking(a, &s->snapshot, &w) : STR_NULL;
    return str_empty(lacking) ? STR_NULL : gang_lacking_message(a, key, lacking);
}

/* Victims are gone at once; then all fit. */
static bool place_together(struct simulation *s, struct gang_trial *t)
{
    bool placed = gang_trial_run(t);
    if (placed || t->victim_count == 0)
        return placed;
    for (size_t i = 0; i < t->victim_count; i++)
        simulation_evict(s, t->victims[i].pod, t->victims[i].node, t->victims[i].by->owner);
    for (size_t i = 0; i < t->count; i++) {
        struct gang_member *m = &t->members[i];
        m->nominated_node = m->node != NULL ? str_of(m->node->name) : STR_NULL;
        m->node = NULL;
    }
    t->preempt = false;
    t->room_for = 0;
    t->victim_count = 0;
    return gang_trial_run(t);
}

static void place_all(struct simulation *s, struct gang_trial *t, struct str key, bool preempt,
                      struct simulation_outcome *ret)
{
    if (!place_together(s, t)) {
        refuse_all(ret, t->count, gang_trial_message(t, key));
        return;
    }
    for (size_t i = 0; i < t->count; i++) {
        struct simulation_outcome *o = t->members[i].owner;
        if (t->members[i].node != NULL)
            o->node = t->members[i].node->name;
        else
            simulation_place_one(s, t->arena, preempt, o);
    }
}

void simulation_place_gang(struct simulation *s, struct arena *a, struct api_object *const *pods,
                           size_t count, bool preempt, struct simulation_outcome *ret)
{
    simulation_take_usage(s);
    struct str key = simulation_gang(s, a, pods[0]);
    size_t placed = snapshot_gang_pods(&s->snapshot, key);
    size_t needed = gang_needed(group_of(s, key), placed);
    for (size_t i = 0; i < count; i++) {
        ret[i] = (struct simulation_outcome){.pod = simulation_completed(s, pods[i])};
        simulation_make_claims(s, ret[i].pod);
    }
    if (count < needed) {
        refuse_all(ret, count, gang_held_message(a, key, placed + count, placed + needed));
        return;
    }
    struct str message = needed != 0 ? too_little(s, a, key, ret, count) : STR_NULL;
    if (!str_empty(message)) {
        refuse_all(ret, count, message);
        return;
    }
    AUTO_ARENA *scratch = arena_new(0);
    struct gang_trial t = {.snapshot = &s->snapshot,
                           .classes = s->classes,
                           .arena = a,
                           .scratch = scratch,
                           .members = ARENA_ARRAY(a, struct gang_member, count),
                           .count = count,
                           .needed = needed,
                           .preempt = preempt,
                           .seed = s->seed++,
                           .on_assumed = on_assumed,
                           .on_taken_back = on_taken_back,
                           .arg = s};
    t.budgets = simulation_budgets(s, a, &t.budget_count);
    for (size_t i = 0; i < count; i++)
        t.members[i] = (struct gang_member){
            .pod = ret[i].pod, .profile = simulation_profile(s, ret[i].pod->msg), .owner = &ret[i]};
    place_all(s, &t, key, preempt, ret);
}
