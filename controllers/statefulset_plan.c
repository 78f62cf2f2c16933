/* statefulset_plan.c - see statefulset_plan.h. */
#include "controllers/statefulset_plan.h"

#include "api/apps_v1.h"
#include "api/core_v1.h"
#include "controllers/history.h"
#include "controllers/pods.h"
#include "lib/api/codec.h"
#include "lib/api/pod.h"
#include "lib/base/arena.h"
#include "lib/base/base.h"
#include "lib/client/labels.h"

struct planner {
    struct arena *a;
    const struct stateful_input *in;
    struct stateful_plan *plan;
    struct core_v1_pod **slots; /* By ordinal - start; NULL: missing. */
    int32_t replicas, start;
    struct core_v1_pod **condemned; /* Beyond the slots, highest ordinal first. */
    size_t condemned_count;
    bool parallel;
};

int32_t stateful_ordinal(struct str set_name, struct str pod_name)
{
    int64_t v;
    if (!str_has_prefix(pod_name, set_name) || pod_name.len < set_name.len + 2 ||
        pod_name.data[set_name.len] != '-')
        return -1;
    struct str digits = str_sub(pod_name, set_name.len + 1, pod_name.len);
    bool canonical = digits.len == 1 || digits.data[0] != '0';
    return canonical && str_to_i64(digits, &v) && v >= 0 && v <= INT32_MAX ? (int32_t)v : -1;
}

static int32_t ordinal_of(const struct planner *p, const struct core_v1_pod *pod)
{
    return stateful_ordinal(p->in->set->metadata.name, pod->metadata.name);
}

static struct str revision_of(const struct core_v1_pod *pod)
{
    const struct str *v = label_get(&pod->metadata, LABEL_REVISION_HASH);
    return v != NULL ? *v : STR_NULL;
}

static bool is_running_and_ready(const struct core_v1_pod *pod)
{
    return str_eqc(pod->status.phase, "Running") && pod_is_ready(pod);
}

static bool is_available(struct planner *p, const struct core_v1_pod *pod)
{
    int32_t min_ready = p->in->set->spec.min_ready_seconds;
    if (!is_running_and_ready(pod))
        return false;
    bool available = pod_is_available(pod, min_ready, p->in->now_s);
    if (!available)
        p->plan->again_after_s = (uint64_t)MAX_OF(min_ready, 1);
    return available;
}

/* Steady: there, available and staying. */
static bool is_healthy(struct planner *p, const struct core_v1_pod *pod)
{
    return pod != NULL && !pod_is_going(pod) && is_available(p, pod);
}

static int by_falling_ordinal(const void *x, const void *y, void *arg)
{
    const struct planner *p = arg;
    int32_t a = ordinal_of(p, *(struct core_v1_pod *const *)x);
    int32_t b = ordinal_of(p, *(struct core_v1_pod *const *)y);
    return a > b ? -1 : a < b;
}

static void sort_pods(struct planner *p)
{
    p->slots = ARENA_ARRAY(p->a, struct core_v1_pod *, (size_t)p->replicas + 1);
    p->condemned = ARENA_ARRAY(p->a, struct core_v1_pod *, p->in->pod_count + 1);
    for (size_t i = 0; i < p->in->pod_count; i++) {
        int32_t ordinal = ordinal_of(p, p->in->pods[i]);
        if (ordinal < 0)
            continue; /* Owned, but not by name: not ours to manage. */
        if (ordinal >= p->start && ordinal < p->start + p->replicas)
            p->slots[ordinal - p->start] = p->in->pods[i];
        else
            p->condemned[p->condemned_count++] = p->in->pods[i];
    }
    if (p->condemned_count != 0)
        qsort_r(p->condemned, p->condemned_count, sizeof(*p->condemned), by_falling_ordinal, p);
}

/* --- status -------------------------------------------------------------------------------- */

static void count_pod(struct planner *p, const struct core_v1_pod *pod)
{
    struct apps_v1_stateful_set_status *st = p->plan->status;
    if (str_empty(pod->status.phase))
        return;
    st->replicas++;
    if (is_running_and_ready(pod)) {
        st->ready_replicas++;
        st->available_replicas += is_available(p, pod);
    }
    if (pod_is_going(pod) || pod_is_terminal(pod))
        return;
    st->current_replicas += str_eq(revision_of(pod), p->in->current_revision);
    st->updated_replicas += str_eq(revision_of(pod), p->in->update_revision);
}

static void count_status(struct planner *p)
{
    struct apps_v1_stateful_set_status *st = p->plan->status;
    st->replicas = st->ready_replicas = st->available_replicas = 0;
    st->current_replicas = st->updated_replicas = 0;
    for (size_t i = 0; i < p->in->pod_count; i++)
        count_pod(p, p->in->pods[i]);
    st->observed_generation = p->in->set->metadata.generation;
    st->current_revision = p->in->current_revision;
    st->update_revision = p->in->update_revision;
    /* Everything is new: the update revision is the current one from now on. */
    bool rolling = !str_eqc(p->in->set->spec.update_strategy.type, "OnDelete");
    if (rolling && st->updated_replicas == st->replicas && st->ready_replicas == st->replicas &&
        st->replicas == p->replicas) {
        st->current_replicas = st->updated_replicas;
        st->current_revision = st->update_revision;
    }
}

/* --- steps ---------------------------------------------------------------------------------- */

static void remove_pod(struct planner *p, struct core_v1_pod *pod)
{
    if (!pod_is_going(pod))
        p->plan->remove[p->plan->remove_count++] = pod;
}

static int32_t partition(const struct planner *p)
{
    const struct apps_v1_rolling_update_stateful_set_strategy *r =
        p->in->set->spec.update_strategy.rolling_update;
    return r != NULL && r->has_partition ? r->partition : 0;
}

static void create_pod(struct planner *p, int32_t slot)
{
    /* Below the partition the current revision stays; with OnDelete, as far as
     * pods were at it. */
    bool keeps = p->in->set->spec.update_strategy.rolling_update != NULL
                     ? slot < partition(p)
                     : slot < p->in->set->status.current_replicas;
    p->plan->create[p->plan->create_count++] = (struct stateful_creation){p->start + slot, keeps};
}

/* True: go on with what follows. */
static bool bring_up(struct planner *p)
{
    for (int32_t i = 0; i < p->replicas; i++) {
        struct core_v1_pod *pod = p->slots[i];
        if (pod == NULL) {
            create_pod(p, i);
            if (!p->parallel)
                return false;
        } else if (pod_is_terminal(pod)) {
            remove_pod(p, pod); /* It is made anew when it is gone. */
            if (!p->parallel)
                return false;
        } else if (!p->parallel && !is_healthy(p, pod)) {
            return false;
        }
    }
    return true;
}

/* Pods beyond the last go from the highest down; in order, one that ails holds up those after
 * it, unless it is the first of all that ail. */
static bool bring_down(struct planner *p)
{
    const struct core_v1_pod *first = NULL;
    for (int32_t i = 0; i < p->replicas && first == NULL; i++)
        if (!is_healthy(p, p->slots[i]))
            first = p->slots[i];
    for (size_t i = p->condemned_count; i-- > 0 && first == NULL;)
        if (!is_healthy(p, p->condemned[i]))
            first = p->condemned[i];
    for (size_t i = 0; i < p->condemned_count; i++) {
        struct core_v1_pod *pod = p->condemned[i];
        if (p->parallel) {
            remove_pod(p, pod);
            continue;
        }
        if (!pod_is_going(pod) && (is_healthy(p, pod) || pod == first))
            remove_pod(p, pod);
        return false;
    }
    return true;
}

static int32_t unavailable_max(const struct planner *p)
{
    const struct apps_v1_rolling_update_stateful_set_strategy *r =
        p->in->set->spec.update_strategy.rolling_update;
    int64_t percent;
    if (r == NULL || r->max_unavailable == NULL)
        return 1;
    const struct intstr_int_or_string *v = r->max_unavailable;
    if (v->type == 0)
        return MAX_OF(v->int_val, 1);
    if (!str_has_suffix(v->str_val, STR("%")) ||
        !str_to_i64(str_sub(v->str_val, 0, v->str_val.len - 1), &percent))
        return 1;
    return (int32_t)MAX_OF((int64_t)p->replicas * percent / 100, 1);
}

static void roll(struct planner *p)
{
    if (str_eqc(p->in->set->spec.update_strategy.type, "OnDelete"))
        return;
    int32_t unavailable = 0, max = unavailable_max(p);
    for (int32_t i = 0; i < p->replicas; i++)
        unavailable += !is_healthy(p, p->slots[i]);
    for (int32_t i = p->replicas; i-- > partition(p);) {
        struct core_v1_pod *pod = p->slots[i];
        if (pod == NULL)
            return;
        bool updated = str_eq(revision_of(pod), p->in->update_revision);
        bool healthy = is_healthy(p, pod);
        if (!updated && !pod_is_going(pod)) {
            if (healthy && unavailable >= max)
                return;
            remove_pod(p, pod);
            unavailable += healthy;
            if (unavailable >= max)
                return;
        } else if (!healthy && max == 1) {
            return; /* Wait for it before the next one. */
        }
    }
}

void stateful_plan(struct arena *a, const struct stateful_input *in, struct stateful_plan *ret)
{
    const struct apps_v1_stateful_set_spec *spec = &in->set->spec;
    *ret = (struct stateful_plan){0};
    struct planner p = {
        .a = a,
        .in = in,
        .plan = ret,
        .replicas = MAX_OF(spec->has_replicas ? spec->replicas : 1, 0),
        .start = spec->ordinals != NULL ? spec->ordinals->start : 0,
        .parallel = str_eqc(spec->pod_management_policy, "Parallel"),
    };
    ret->status = api_msg_clone(a, &apps_v1_stateful_set_status_msg, &in->set->status);
    ret->create = ARENA_ARRAY(a, struct stateful_creation, (size_t)p.replicas + 1);
    ret->remove = ARENA_ARRAY(a, struct core_v1_pod *, in->pod_count + 1);
    sort_pods(&p);
    count_status(&p);
    if (in->set->metadata.deletion_timestamp != NULL)
        return;
    bool up = bring_up(&p);
    if (!up && !p.parallel)
        return;
    if (!bring_down(&p) && !p.parallel)
        return;
    if (ret->remove_count == 0 || p.parallel)
        roll(&p);
}
