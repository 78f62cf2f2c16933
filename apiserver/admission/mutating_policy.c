/* mutating_policy.c - MutatingAdmissionPolicy: expressions that change what is
 * written. Policies run in the order of their names; those that ask for it run
 * once more when others changed the object behind them. */
#include "apiserver/admission/plugins.h"

#include "api/admissionregistration_v1.h"
#include "apiserver/admission/metrics.h"
#include "apiserver/admission/policy_match.h"
#include "apiserver/admission/policy_params.h"
#include "apiserver/admission/policy_set.h"
#include "apiserver/registry.h"
#include "lib/api/json.h"
#include "lib/api/patch.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

#include <uv.h>

#define POLICY struct admissionregistration_v1_mutating_admission_policy
#define BINDING struct admissionregistration_v1_mutating_admission_policy_binding

/* One policy with one of its bindings, on one write. */
struct invocation {
    const struct admission *adm;
    const POLICY *policy;
    const struct policy_code *code;
    const BINDING *binding;
    uint64_t since_ns;
    const struct resource *as;
    const struct json *result; /* The object as it left it; NULL: it did not run. */
};

static struct meta_v1_status *failed(const struct invocation *v, struct str why)
{
    struct arena *a = v->adm->ctx->arena;
    bool ignored =
        v->policy->spec.has_failure_policy && str_eqc(v->policy->spec.failure_policy, "Ignore");
    if (!v->adm->ctx->tentative)
        admission_metrics_policy(true, v->policy->metadata.name, v->binding->metadata.name,
                                 "invalid_error", ignored ? "allow" : "deny",
                                 uv_hrtime() - v->since_ns);
    if (ignored)
        return NULL;
    return policy_denied(v->adm,
                         arena_printf(a,
                                      "MutatingAdmissionPolicy '" STR_FMT "' with binding '" STR_FMT
                                      "' denied request: " STR_FMT,
                                      STR_ARG(v->policy->metadata.name),
                                      STR_ARG(v->binding->metadata.name), STR_ARG(why)),
                         STR("Invalid"));
}

/* The object as the mutation would have it. */
static int mutated(struct policy_run *run, const struct admissionregistration_v1_mutation *m,
                   const struct policy_program *p, struct json **ret, struct str *ret_error)
{
    struct arena *a = run->adm->ctx->arena;
    bool patch = m->json_patch != NULL;
    struct json *object = policy_object_json(run->adm, run->as, run->adm->obj);
    struct error err = {0};
    *ret_error = p->error;
    if (p->program == NULL)
        return -1;
    struct cel_value v = policy_eval(run, p->program);
    if (run->cost_left < 0) {
        *ret_error = STR(POLICY_OUT_OF_BUDGET);
        return -1;
    }
    struct json *j = v.kind == CEL_ERROR ? NULL : cel_to_json(a, &v);
    if (j == NULL) {
        *ret_error = arena_printf(a, "expression '" STR_FMT "' resulted in error: " STR_FMT,
                                  STR_ARG(p->text),
                                  STR_ARG(v.kind == CEL_ERROR ? v.string : STR("no value")));
        return -1;
    }
    int code = patch ? api_json_patch_apply(a, object, j, ret, &err)
                     : api_strategic_patch_apply(a, policy_kind(run->adm, run->as)->msg, object, j,
                                                 ret, &err);
    if (code != 0)
        *ret_error = arena_strc(a, error_message(&err));
    return code;
}

static struct meta_v1_status *run_params(struct invocation *v, const struct json *params)
{
    const struct admission *adm = v->adm;
    const struct policy_code *code = v->code;
    struct policy_shows shows = {.adm = adm};
    struct policy_run run;
    struct str why;
    policy_run_init(&run, code->env, adm, policy_shown_as(&shows, v->as), params);
    int r = policy_conditions(&run, code->conditions, v->policy->spec.match_conditions_count, &why);
    if (r <= 0)
        admission_metrics_condition(v->policy->metadata.name, "policy", "admit", adm->op, r < 0);
    if (r < 0)
        return failed(v, why);
    struct meta_v1_status *s = NULL;
    for (size_t i = 0; r > 0 && s == NULL && i < v->policy->spec.mutations_count; i++) {
        struct json *j;
        if (mutated(&run, &v->policy->spec.mutations[i], &code->rules[i], &j, &why) != 0)
            return failed(v, why);
        s = policy_replace_object(adm, v->as, j);
        policy_run_refresh(&run);
    }
    if (r > 0)
        v->result = policy_object_json(adm, v->as, adm->obj);
    return s;
}

static struct meta_v1_status *run_binding(struct invocation *v)
{
    const struct resource *narrowed = v->adm->res;
    struct meta_v1_status *refused, *s = NULL;
    struct json **params;
    struct str why;
    v->as = v->adm->res;
    if (!policy_matches(v->adm, v->policy->spec.match_constraints, &v->as, &refused) ||
        !policy_matches(v->adm, v->binding->spec.match_resources, &narrowed, &refused))
        return refused != NULL ? failed(v, refused->message) : NULL;
    int count = policy_params(v->adm, v->policy->spec.param_kind, v->binding->spec.param_ref,
                              &params, &why);
    if (count < 0)
        return failed(v, why);
    for (int i = 0; i < count && s == NULL; i++)
        s = run_params(v, params[i]);
    return s;
}

static struct meta_v1_status *mutate(const struct admission *adm)
{
    struct meta_v1_status *s = NULL;
    if (policy_exempt(adm) || adm->obj == NULL ||
        (adm->op != ADMIT_CREATE && adm->op != ADMIT_UPDATE))
        return NULL;
    const struct policy_set *set = policy_set_of(adm->ctx);
    size_t n = 0, done = 0;
    for (size_t i = 0; i < set->mutating_count; i++)
        n += set->mutating[i].binding_count;
    if (n == 0)
        return NULL;
    struct invocation *all = ARENA_ARRAY(adm->ctx->arena, struct invocation, n);
    for (size_t i = 0; i < set->mutating_count; i++)
        for (size_t k = 0; k < set->mutating[i].binding_count && s == NULL; k++) {
            const POLICY *p = set->mutating[i].policy->obj;
            if (adm->again && !str_eqc(p->spec.reinvocation_policy, "IfNeeded"))
                continue;
            all[done] = (struct invocation){.adm = adm,
                                            .policy = p,
                                            .code = &set->mutating[i].policy->code,
                                            .binding = set->mutating[i].bindings[k]->obj,
                                            .since_ns = uv_hrtime()};
            s = run_binding(&all[done++]);
        }
    for (size_t i = 0; i < done && s == NULL; i++) {
        struct invocation *v = &all[i];
        if (v->result != NULL && str_eqc(v->policy->spec.reinvocation_policy, "IfNeeded") &&
            !json_equal(v->result, policy_object_json(adm, v->as, adm->obj)))
            s = run_binding(v);
    }
    return s;
}

const struct admission_plugin admission_mutating_policy = {
    .name = "MutatingAdmissionPolicy",
    .ops = ADMIT_WRITES,
    .mutate = mutate,
};
