/* vpa_plan.c - see vpa_plan.h. */
#include "controllers/vpa_plan.h"

#include "api/core_v1.h"
#include "lib/base/arena.h"

#include <math.h>
#include <stdlib.h>

/* A group's pods as counted, and what has been planned. */
struct count {
    int64_t configured, tolerance;
    int64_t live, pending;
    int64_t away; /* Planned. */
    bool skipped;
};

struct candidate {
    size_t pod;
    bool up;     /* Some container needs more than it asks for. */
    double diff; /* Of all containers, as a share of what they ask for. */
};

/* --- conditions --------------------------------------------------------------------------- */
static const struct core_v1_pod_condition *condition_of(const struct core_v1_pod *p,
                                                        const char *type)
{
    for (size_t i = 0; i < p->status.conditions_count; i++)
        if (str_eqc(p->status.conditions[i].type, type))
            return &p->status.conditions[i];
    return NULL;
}

static bool is_true(const struct core_v1_pod_condition *c)
{
    return c != NULL && str_eqc(c->status, "True");
}

bool vpa_is_resizing(const struct core_v1_pod *p)
{
    return is_true(condition_of(p, "PodResizePending")) ||
           is_true(condition_of(p, "PodResizeInProgress"));
}

/* Has a resize failed, or taken too long? */
static bool is_stuck(const struct vpa_plan_config *c, const struct vpa_pod *p)
{
    const struct core_v1_pod_condition *pending = condition_of(p->pod, "PodResizePending"),
                                       *now = condition_of(p->pod, "PodResizeInProgress");
    int64_t age = p->resizing_since_s != 0 ? c->now_s - p->resizing_since_s : 0;
    if (is_true(pending))
        return !str_eqc(pending->reason, "Deferred") || age > c->deferred_s;
    return is_true(now) &&
           (now->reason.len != 0 || now->message.len != 0 || age > c->in_progress_s);
}

static bool is_pending(const struct core_v1_pod *p)
{
    return str_eqc(p->status.phase, "Pending");
}

/* --- what is worth it ----------------------------------------------------------------------- */

/* Only what was there when the pod was admitted; "": the pod does not say. */
static bool is_observed(const struct core_v1_pod *p, struct str container)
{
    for (size_t i = 0; i < p->metadata.annotations_count; i++) {
        const struct api_str_entry *e = &p->metadata.annotations[i];
        if (!str_eqc(e->key, VPA_OBSERVED_ANNOTATION))
            continue;
        struct str rest = e->value, name, more;
        while (rest.len != 0) {
            bool last = !str_cut(rest, ',', &name, &more);
            if (str_eq(str_trim(last ? rest : name), container))
                return true;
            rest = last ? STR_NULL : more;
        }
        return false;
    }
    return true;
}

static bool has_quick_oom(const struct vpa_plan_config *c, const struct core_v1_pod *p)
{
    const struct vpa_object *v = c->autoscaler;
    int64_t most = v->evict_after_oom_s > 0 ? v->evict_after_oom_s : c->oom_s;
    for (size_t i = 0; i < p->status.container_statuses_count; i++) {
        const struct core_v1_container_status *s = &p->status.container_statuses[i];
        const struct core_v1_container_state_terminated *t = s->last_state.terminated;
        const struct vpa_policy *policy = vpa_policy_of(v, s->name);
        if (t != NULL && str_eqc(t->reason, "OOMKilled") && is_observed(p, s->name) &&
            (policy == NULL || !policy->off) &&
            t->finished_at.seconds - t->started_at.seconds < most)
            return true;
    }
    return false;
}

struct change {
    bool outside, up;
    double diff;
};

static void weigh_container(const struct vpa_container *x, const struct vpa_list *has,
                            struct change *ret, double *asked, double *wanted)
{
    for (enum vpa_resource r = 0; r < VPA_RESOURCES; r++) {
        const struct vpa_amount *target = &x->requests.of[r], *request = &has->of[r];
        if (!target->given)
            continue;
        wanted[r] += (double)target->n;
        asked[r] += (double)request->n;
        ret->up |= !request->given || target->n > request->n;
        ret->outside |= !request->given ||
                        (x->lower.of[r].given && request->n < x->lower.of[r].n) ||
                        (x->upper.of[r].given && request->n > x->upper.of[r].n);
    }
}

static struct change weigh(const struct vpa_pod *p)
{
    struct change c = {0};
    double asked[VPA_RESOURCES] = {0}, wanted[VPA_RESOURCES] = {0};
    for (size_t i = 0; i < p->pod->spec.containers_count; i++) {
        struct vpa_list requests, limits;
        if (!p->containers[i].recommended || !is_observed(p->pod, p->pod->spec.containers[i].name))
            continue;
        vpa_container_has(p->pod, i, &requests, &limits);
        weigh_container(&p->containers[i], &requests, &c, asked, wanted);
    }
    for (enum vpa_resource r = 0; r < VPA_RESOURCES; r++)
        if (wanted[r] > 0)
            c.diff += fabs(fmax(asked[r], 1) - wanted[r]) / fmax(asked[r], 1);
    return c;
}

/* The direction of the change is one that the autoscaler allows, in at least one container. */
static bool is_required(const struct vpa_object *v, const struct vpa_pod *p)
{
    bool any = v->requirement_count == 0;
    for (size_t i = 0; i < p->pod->spec.containers_count && !any; i++) {
        const struct vpa_container *x = &p->containers[i];
        struct vpa_list has, limits;
        bool all = x->recommended;
        vpa_container_has(p->pod, i, &has, &limits);
        if (x->recommended && (!has.of[VPA_CPU].given || !has.of[VPA_MEMORY].given))
            return true; /* Anything is better than nothing. */
        for (size_t k = 0; k < v->requirement_count && all; k++) {
            const struct vpa_requirement *q = &v->requirements[k];
            all = false;
            for (enum vpa_resource r = 0; r < VPA_RESOURCES; r++)
                all |= q->wants[r] && x->requests.of[r].given &&
                       (q->higher ? x->requests.of[r].n > has.of[r].n
                                  : x->requests.of[r].n < has.of[r].n);
        }
        any = all;
    }
    return any;
}

static bool is_worth_it(const struct vpa_plan_config *c, const struct vpa_pod *p,
                        struct candidate *ret)
{
    struct change x = weigh(p);
    bool killed = has_quick_oom(c, p->pod);
    const struct meta_v1_time *start = p->pod->status.start_time;
    ret->up = x.up;
    ret->diff = x.diff;
    if (!x.outside && !killed &&
        (start == NULL || c->now_s < start->seconds + c->lifetime_s || x.diff < c->threshold))
        return false;
    return x.diff > 0 && is_required(c->autoscaler, p);
}

/* What grows comes first, then what changes most. */
static int by_priority(const void *x, const void *y)
{
    const struct candidate *a = x, *b = y;
    if (a->up != b->up)
        return a->up ? -1 : 1;
    if (a->diff < b->diff || a->diff > b->diff)
        return a->diff > b->diff ? -1 : 1;
    return a->pod < b->pod ? -1 : a->pod > b->pod;
}

/* --- budgets ---------------------------------------------------------------------------------- */
static struct count *count_groups(struct arena *a, const struct vpa_plan_config *c,
                                  const struct vpa_pod *pods, size_t count,
                                  const struct vpa_group *groups, size_t group_count)
{
    struct count *ret = ARENA_ARRAY(a, struct count, group_count + 1);
    int64_t least = c->autoscaler->min_replicas > 0 ? c->autoscaler->min_replicas : c->min_replicas;
    for (size_t i = 0; i < count; i++) {
        ret[pods[i].group].live++;
        ret[pods[i].group].pending += is_pending(pods[i].pod);
    }
    for (size_t i = 0; i < group_count; i++) {
        ret[i].configured = groups[i].configured >= 0 ? groups[i].configured : ret[i].live;
        ret[i].tolerance = (int64_t)((double)ret[i].configured * c->tolerance);
        ret[i].skipped = ret[i].configured == 0 || ret[i].live < least;
    }
    return ret;
}

/* May one more of the group be away? Where the tolerance allows none, one of all may. */
static bool may_go(const struct count *g)
{
    int64_t running = g->live - g->pending;
    return running - g->away > g->configured - g->tolerance ||
           (g->configured == running && g->tolerance == 0 && g->away == 0);
}

/* Does the pod's spec ask for the target already? Then the node knows. */
static bool is_asked(const struct vpa_pod *p)
{
    for (size_t i = 0; i < p->pod->spec.containers_count; i++) {
        const struct core_v1_resource_requirements *x = &p->pod->spec.containers[i].resources;
        struct vpa_list requests;
        vpa_list_from(x->requests, x->requests_count, &requests);
        for (enum vpa_resource r = 0; r < VPA_RESOURCES; r++)
            if (p->containers[i].requests.of[r].given &&
                p->containers[i].requests.of[r].n != requests.of[r].n)
                return false;
    }
    return true;
}

/* False: the pod waits for another time. */
static bool decide(const struct vpa_plan_config *c, const struct vpa_pod *p, struct count *g,
                   enum vpa_way *ret)
{
    enum vpa_mode mode = c->autoscaler->mode;
    bool resizing = vpa_is_resizing(p->pod), pending = is_pending(p->pod);
    if (g->skipped || (resizing && mode == VPA_IN_PLACE && is_asked(p)))
        return false;
    *ret = VPA_BY_EVICTION;
    if (mode == VPA_IN_PLACE || (mode == VPA_IN_PLACE_OR_RECREATE && !resizing)) {
        *ret = VPA_BY_RESIZE;
        if (pending || is_asked(p))
            return false;
    } else if (resizing && !is_stuck(c, p)) {
        return false;
    }
    if (pending)
        return true; /* It is away already. */
    if (!may_go(g))
        return false;
    g->away++;
    return true;
}

size_t vpa_plan(struct arena *a, const struct vpa_plan_config *c, const struct vpa_pod *pods,
                size_t count, const struct vpa_group *groups, size_t group_count,
                struct vpa_step *steps)
{
    struct candidate *found = ARENA_ARRAY(a, struct candidate, count + 1);
    struct count *counts = count_groups(a, c, pods, count, groups, group_count);
    size_t n = 0, taken = 0;
    if (c->autoscaler->mode == VPA_OFF || c->autoscaler->mode == VPA_INITIAL)
        return 0;
    for (size_t i = 0; i < count; i++)
        if (is_worth_it(c, &pods[i], &found[n]))
            found[n++].pod = i;
    qsort(found, n, sizeof(*found), by_priority);
    for (size_t i = 0; i < n; i++) {
        const struct vpa_pod *p = &pods[found[i].pod];
        steps[taken].pod = found[i].pod;
        if (decide(c, p, &counts[p->group], &steps[taken].way))
            taken++;
    }
    return taken;
}
