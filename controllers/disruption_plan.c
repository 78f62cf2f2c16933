/* disruption_plan.c - see disruption_plan.h. */
#include "controllers/disruption_plan.h"

#include "api/core_v1.h"
#include "api/policy_v1.h"
#include "controllers/pods.h"
#include "lib/api/codec.h"
#include "lib/api/pod.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/base.h"

typedef struct policy_v1_pod_disruption_budget_status status_t;

static bool is_percent(const struct intstr_int_or_string *v)
{
    return v->type != 0;
}

bool disruption_needs_scale(const struct policy_v1_pod_disruption_budget_spec *s)
{
    return s->max_unavailable != NULL || (s->min_available != NULL && is_percent(s->min_available));
}

/* Rounded up. */
static int32_t scaled(const struct intstr_int_or_string *v, int32_t total)
{
    int64_t percent;
    if (!is_percent(v))
        return v->int_val;
    if (!str_has_suffix(v->str_val, STR("%")) ||
        !str_to_i64(str_sub(v->str_val, 0, v->str_val.len - 1), &percent))
        return 0;
    return (int32_t)(((int64_t)total * percent + 99) / 100);
}

static const struct meta_v1_time_entry *disrupted(const status_t *s, struct str name)
{
    for (size_t i = 0; i < s->disrupted_pods_count; i++)
        if (str_eq(s->disrupted_pods[i].key, name))
            return &s->disrupted_pods[i];
    return NULL;
}

/* Keeps the notes of pods that are there, are not yet on their way, and may still go. */
static void refresh_disrupted(struct arena *a, const struct disruption_input *in,
                              struct disruption_plan *p)
{
    status_t *s = p->status;
    const struct meta_v1_time_entry *old = s->disrupted_pods;
    size_t old_count = s->disrupted_pods_count;
    s->disrupted_pods = ARENA_ARRAY(a, struct meta_v1_time_entry, old_count);
    s->disrupted_pods_count = 0;
    p->kept = ARENA_ARRAY(a, struct api_object *, old_count);
    for (size_t i = 0; i < old_count; i++) {
        struct api_object *pod = NULL;
        for (size_t k = 0; k < in->pod_count && pod == NULL; k++)
            if (str_eq(api_object_meta(in->pods[k])->name, old[i].key))
                pod = in->pods[k];
        if (pod == NULL || api_object_meta(pod)->deletion_timestamp != NULL)
            continue;
        int64_t left_s = old[i].value.seconds + DISRUPTION_PENDING_S - in->now_s;
        if (left_s < 0) {
            p->kept[p->kept_count++] = pod;
            continue;
        }
        s->disrupted_pods[s->disrupted_pods_count++] = old[i];
        if (p->again_after_s == 0 || left_s + 1 < p->again_after_s)
            p->again_after_s = left_s + 1;
    }
}

static int32_t count_healthy(const struct disruption_input *in, const status_t *s)
{
    int32_t n = 0;
    for (size_t i = 0; i < in->pod_count; i++) {
        const struct core_v1_pod *p = in->pods[i]->msg;
        n += p->metadata.deletion_timestamp == NULL && pod_is_ready(p) &&
             disrupted(s, p->metadata.name) == NULL;
    }
    return n;
}

static void set_condition(struct arena *a, status_t *s, bool allowed, const char *reason,
                          struct str message, int64_t now_s)
{
    size_t at = 0;
    while (at < s->conditions_count && !str_eqc(s->conditions[at].type, "DisruptionAllowed"))
        at++;
    struct meta_v1_condition *list =
        ARENA_ARRAY(a, struct meta_v1_condition, s->conditions_count + 1);
    for (size_t i = 0; i < s->conditions_count; i++)
        list[i] = s->conditions[i];
    if (at == s->conditions_count)
        list[s->conditions_count++].type = STR("DisruptionAllowed");
    struct meta_v1_condition *x = &list[at];
    struct str text = allowed ? STR("True") : STR("False");
    if (!str_eq(x->status, text))
        x->last_transition_time = (struct meta_v1_time){.seconds = now_s};
    x->status = text;
    x->reason = str_of(reason);
    x->message = message;
    x->observed_generation = s->observed_generation;
    s->conditions = list;
}

void disruption_plan(struct arena *a, const struct disruption_input *in,
                     struct disruption_plan *ret)
{
    const struct policy_v1_pod_disruption_budget *b = in->budget;
    *ret = (struct disruption_plan){.status = ARENA_NEW(a, status_t)};
    status_t *s = ret->status;
    *s = b->status;
    refresh_disrupted(a, in, ret);
    s->current_healthy = count_healthy(in, s);
    s->expected_pods = s->desired_healthy = 0;
    if (b->spec.max_unavailable != NULL) {
        s->expected_pods = in->scale;
        s->desired_healthy = MAX_OF(in->scale - scaled(b->spec.max_unavailable, in->scale), 0);
    } else if (b->spec.min_available != NULL) {
        s->expected_pods = is_percent(b->spec.min_available) ? in->scale : (int32_t)in->pod_count;
        s->desired_healthy = scaled(b->spec.min_available, s->expected_pods);
    }
    s->disruptions_allowed =
        s->expected_pods > 0 ? MAX_OF(s->current_healthy - s->desired_healthy, 0) : 0;
    s->observed_generation = b->metadata.generation;
    bool allowed = s->disruptions_allowed > 0;
    set_condition(a, s, allowed, allowed ? "SufficientPods" : "InsufficientPods", STR_NULL,
                  in->now_s);
}

struct policy_v1_pod_disruption_budget_status *
disruption_failed(struct arena *a, const struct policy_v1_pod_disruption_budget *b,
                  struct str message, int64_t now_s)
{
    status_t *s = ARENA_NEW(a, status_t);
    *s = b->status;
    s->disruptions_allowed = 0;
    set_condition(a, s, false, "SyncFailed", message, now_s);
    return s;
}

bool disruption_is_stale(const struct core_v1_pod *p, int64_t now_s, int64_t *ret_after_s)
{
    const struct core_v1_pod_condition *c = pod_condition(p, "DisruptionTarget");
    if (c == NULL || !str_eqc(c->status, "True") || pod_is_going(p) || pod_is_terminal(p) ||
        str_eqc(c->reason, "TerminationByKubelet"))
        return false;
    *ret_after_s =
        MAX_OF(c->last_transition_time.seconds + DISRUPTION_PENDING_S - now_s, (int64_t)0);
    return true;
}
