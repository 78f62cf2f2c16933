/* job_policy.c - see job_policy.h. */
#include "controllers/job_policy.h"

#include "api/batch_v1.h"
#include "api/core_v1.h"
#include "lib/base/arena.h"
#include "lib/base/base.h"

static const char *const names[] = {NULL, "Count", "Ignore", "FailIndex", "FailJob"};

const char *job_action_name(enum job_action action)
{
    return names[action];
}

static enum job_action action_of(struct str name)
{
    for (size_t i = 1; i < ARRAY_SIZE(names); i++)
        if (str_eqc(name, names[i]))
            return (enum job_action)i;
    return JOB_NO_RULE; /* Of a later version: as if the rule were not there. */
}

static bool code_matches(const struct batch_v1_pod_failure_policy_on_exit_codes_requirement *r,
                         int32_t code)
{
    bool in = false;
    for (size_t i = 0; i < r->values_count; i++)
        in |= r->values[i] == code;
    return str_eqc(r->operator, "In") ? in : str_eqc(r->operator, "NotIn") && !in;
}

static const struct core_v1_container_status *
ended_with(const struct batch_v1_pod_failure_policy_on_exit_codes_requirement *r,
           const struct core_v1_container_status *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct core_v1_container_state_terminated *t = list[i].state.terminated;
        bool meant = !r->has_container_name || str_eq(r->container_name, list[i].name);
        if (t != NULL && meant && t->exit_code != 0 && code_matches(r, t->exit_code))
            return &list[i];
    }
    return NULL;
}

static const struct core_v1_pod_condition *
has_condition(const struct batch_v1_pod_failure_policy_rule *r, const struct core_v1_pod *pod)
{
    for (size_t i = 0; i < pod->status.conditions_count; i++) {
        const struct core_v1_pod_condition *c = &pod->status.conditions[i];
        for (size_t k = 0; k < r->on_pod_conditions_count; k++) {
            struct str want = r->on_pod_conditions[k].status;
            if (str_eq(c->type, r->on_pod_conditions[k].type) &&
                str_eq(c->status, str_empty(want) ? STR("True") : want))
                return c;
        }
    }
    return NULL;
}

/* NULL: the rule does not match; otherwise what it found, for the Job's message. */
static const char *match(struct arena *a, const struct batch_v1_pod_failure_policy_rule *r,
                         const struct core_v1_pod *pod)
{
    const struct core_v1_pod_status *s = &pod->status;
    if (r->on_exit_codes == NULL) {
        const struct core_v1_pod_condition *c = has_condition(r, pod);
        return c == NULL ? NULL
                         : arena_printf(a, "Pod " STR_FMT "/" STR_FMT " has condition " STR_FMT,
                                        STR_ARG(pod->metadata.namespace),
                                        STR_ARG(pod->metadata.name), STR_ARG(c->type))
                               .data;
    }
    const struct core_v1_container_status *c =
        ended_with(r->on_exit_codes, s->container_statuses, s->container_statuses_count);
    if (c == NULL)
        c = ended_with(r->on_exit_codes, s->init_container_statuses,
                       s->init_container_statuses_count);
    return c == NULL
               ? NULL
               : arena_printf(a,
                              "Container " STR_FMT " for pod " STR_FMT "/" STR_FMT
                              " failed with exit code %d",
                              STR_ARG(c->name), STR_ARG(pod->metadata.namespace),
                              STR_ARG(pod->metadata.name), (int)c->state.terminated->exit_code)
                     .data;
}

enum job_action job_failure_action(struct arena *a,
                                   const struct batch_v1_pod_failure_policy *policy,
                                   const struct core_v1_pod *pod, struct str *ret_message)
{
    for (size_t i = 0; policy != NULL && i < policy->rules_count; i++) {
        enum job_action action = action_of(policy->rules[i].action);
        const char *found = match(a, &policy->rules[i], pod);
        if (found == NULL || action == JOB_NO_RULE)
            continue;
        if (action == JOB_FAIL_JOB && ret_message != NULL)
            *ret_message = arena_printf(a, "%s matching FailJob rule at index %zu", found, i);
        return action;
    }
    return JOB_NO_RULE;
}

static bool rule_met(struct arena *a, const struct batch_v1_success_policy_rule *r,
                     int32_t completions, struct job_indexes succeeded)
{
    if (!r->has_succeeded_indexes)
        return r->has_succeeded_count && job_indexes_total(succeeded) >= r->succeeded_count;
    struct job_indexes wanted = job_indexes_parse(a, r->succeeded_indexes, completions);
    if (wanted.count == 0)
        return false;
    int64_t common = job_indexes_common(wanted, succeeded);
    return common == job_indexes_total(wanted) ||
           (r->has_succeeded_count && common >= r->succeeded_count);
}

bool job_success_met(struct arena *a, const struct batch_v1_success_policy *policy,
                     int32_t completions, struct job_indexes succeeded, struct str *ret_message)
{
    for (size_t i = 0; policy != NULL && succeeded.count != 0 && i < policy->rules_count; i++) {
        if (rule_met(a, &policy->rules[i], completions, succeeded)) {
            *ret_message = arena_printf(a, "Matched rules at index %zu", i);
            return true;
        }
    }
    return false;
}
