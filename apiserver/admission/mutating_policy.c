/* mutating_policy.c - MutatingAdmissionPolicy: expressions that change what is
 * written. Policies run in the order of their names; those that ask for it run
 * once more when others changed the object behind them. */
#include "apiserver/admission/plugins.h"

#include "api/admissionregistration_v1.h"
#include "apiserver/admission/policy_env.h"
#include "apiserver/admission/policy_match.h"
#include "apiserver/admission/policy_params.h"
#include "apiserver/registry.h"
#include "lib/api/json.h"
#include "lib/api/patch.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

#define POLICY struct admissionregistration_v1_mutating_admission_policy
#define BINDING struct admissionregistration_v1_mutating_admission_policy_binding

/* One policy with one of its bindings, on one write. */
struct invocation {
    const struct admission *adm;
    const POLICY *policy;
    const BINDING *binding;
    const struct resource *as;
    const struct json *result; /* The object as it left it; NULL: it did not run. */
};

static struct meta_v1_status *failed(const struct invocation *v, struct str why)
{
    struct arena *a = v->adm->ctx->arena;
    if (v->policy->spec.has_failure_policy && str_eqc(v->policy->spec.failure_policy, "Ignore"))
        return NULL;
    struct str text = arena_printf(
        a,
        "MutatingAdmissionPolicy '" STR_FMT "' with binding '" STR_FMT "' denied request: " STR_FMT,
        STR_ARG(v->policy->metadata.name), STR_ARG(v->binding->metadata.name), STR_ARG(why));
    struct meta_v1_status *s =
        status_forbidden(a, v->adm->res->gr, policy_object_name(v->adm), STR_FMT, STR_ARG(text));
    s->reason = STR("Invalid");
    s->code = 422;
    status_add_cause(a, s, "", text, STR_NULL);
    return s;
}

/* The object as the mutation would have it. */
static int mutated(struct policy_run *run, const struct admissionregistration_v1_mutation *m,
                   struct json **ret, struct str *ret_error)
{
    struct arena *a = run->adm->ctx->arena;
    bool patch = m->json_patch != NULL;
    struct str text = patch                            ? m->json_patch->expression
                      : m->apply_configuration != NULL ? m->apply_configuration->expression
                                                       : STR_NULL;
    struct json *object = policy_object_json(run->adm, run->as, run->adm->obj);
    struct error err = {0};
    struct cel_program *p = policy_compile(run->env, text, ret_error);
    if (p == NULL)
        return -1;
    struct cel_value v = policy_eval(run, p);
    struct json *j = v.kind == CEL_ERROR ? NULL : cel_to_json(a, &v);
    if (j == NULL) {
        *ret_error =
            arena_printf(a, "expression '" STR_FMT "' resulted in error: " STR_FMT, STR_ARG(text),
                         STR_ARG(v.kind == CEL_ERROR ? v.string : STR("no value")));
        return -1;
    }
    int code = patch ? api_json_patch_apply(a, object, j, ret, &err)
                     : api_strategic_patch_apply(a, run->as->kind->msg, object, j, ret, &err);
    if (code != 0)
        *ret_error = arena_strc(a, error_message(&err));
    return code;
}

static struct meta_v1_status *run_params(struct invocation *v, const struct json *params)
{
    const struct policy_env_config config = {
        .params = v->policy->spec.param_kind != NULL, .variables = true, .objects = true};
    const struct admission *adm = v->adm;
    struct policy_env *env = policy_env_new(adm->ctx->arena, &config);
    struct policy_run run;
    struct str why;
    for (size_t i = 0; i < v->policy->spec.variables_count; i++)
        policy_add_variable(env, v->policy->spec.variables[i].name,
                            v->policy->spec.variables[i].expression, &why);
    policy_run_init(&run, env, adm, v->as, params);
    int r = policy_conditions(&run, v->policy->spec.match_conditions,
                              v->policy->spec.match_conditions_count, &why);
    if (r < 0)
        return failed(v, why);
    struct meta_v1_status *s = NULL;
    for (size_t i = 0; r > 0 && s == NULL && i < v->policy->spec.mutations_count; i++) {
        struct json *j;
        if (mutated(&run, &v->policy->spec.mutations[i], &j, &why) != 0)
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
    void **bindings, **policies;
    struct meta_v1_status *s = NULL;
    if (policy_exempt(adm) || adm->obj == NULL ||
        (adm->op != ADMIT_CREATE && adm->op != ADMIT_UPDATE))
        return NULL;
    size_t n = policy_objects(adm->ctx, "mutatingadmissionpolicybindings", &bindings), done = 0;
    size_t m = n != 0 ? policy_objects(adm->ctx, "mutatingadmissionpolicies", &policies) : 0;
    struct invocation *all = ARENA_ARRAY(adm->ctx->arena, struct invocation, n);
    for (size_t i = 0; i < m; i++)
        for (size_t k = 0; k < n && s == NULL; k++) {
            const BINDING *b = bindings[k];
            const POLICY *p = policies[i];
            if (!str_eq(b->spec.policy_name, p->metadata.name))
                continue;
            all[done] = (struct invocation){.adm = adm, .policy = p, .binding = b};
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
    .mutate = mutate,
};
