/* validating_policy.c - ValidatingAdmissionPolicy: expressions that a write
 * must satisfy, where a binding says so. */
#include "apiserver/admission/plugins.h"

#include "api/admissionregistration_v1.h"
#include "apiserver/admission/policy_env.h"
#include "apiserver/admission/policy_match.h"
#include "apiserver/admission/policy_params.h"
#include "apiserver/registry.h"
#include "lib/base/arena.h"

#define POLICY struct admissionregistration_v1_validating_admission_policy
#define BINDING struct admissionregistration_v1_validating_admission_policy_binding

enum { MESSAGE_BYTES_MAX = 5 * 1024 };

struct check {
    const struct admission *adm;
    const POLICY *policy;
    const BINDING *binding;
    struct policy_run run;
    struct meta_v1_status *denied; /* The first; the others are not told. */
};

static bool acts(const struct check *k, const char *action)
{
    for (size_t i = 0; i < k->binding->spec.validation_actions_count; i++)
        if (str_eqc(k->binding->spec.validation_actions[i], action))
            return true;
    return false;
}

static bool fails_closed(const POLICY *p)
{
    return !p->spec.has_failure_policy || !str_eqc(p->spec.failure_policy, "Ignore");
}

static int32_t code_of(struct str reason)
{
    return str_eqc(reason, "Forbidden")               ? 403
           : str_eqc(reason, "Unauthorized")          ? 401
           : str_eqc(reason, "RequestEntityTooLarge") ? 413
                                                      : 422;
}

static void deny(struct check *k, struct str message, struct str reason)
{
    struct arena *a = k->adm->ctx->arena;
    if (k->denied != NULL)
        return;
    struct str text = arena_printf(a,
                                   "ValidatingAdmissionPolicy '" STR_FMT "' with binding '" STR_FMT
                                   "' denied request: " STR_FMT,
                                   STR_ARG(k->policy->metadata.name),
                                   STR_ARG(k->binding->metadata.name), STR_ARG(message));
    struct meta_v1_status *s =
        status_forbidden(a, k->adm->res->gr, policy_object_name(k->adm), STR_FMT, STR_ARG(text));
    s->reason = reason;
    s->code = code_of(reason);
    status_add_cause(a, s, "", text, STR_NULL);
    k->denied = s;
}

/* What did not hold is refused or warned of, as the binding says. */
static void refuse(struct check *k, struct str message, struct str reason)
{
    if (acts(k, "Deny"))
        deny(k, message, reason);
    if (acts(k, "Warn"))
        kind_warn(k->adm->ctx,
                  "Validation failed for ValidatingAdmissionPolicy '" STR_FMT
                  "' with binding '" STR_FMT "': " STR_FMT,
                  STR_ARG(k->policy->metadata.name), STR_ARG(k->binding->metadata.name),
                  STR_ARG(message));
}

/* An expression that cannot be evaluated counts as the policy's failurePolicy says. */
static void fail(struct check *k, struct str message)
{
    if (fails_closed(k->policy))
        refuse(k, message, STR("Invalid"));
}

static struct str message_of(struct check *k, const struct admissionregistration_v1_validation *v)
{
    struct arena *a = k->adm->ctx->arena;
    struct str why, message = str_trim(v->message);
    if (v->message_expression.len != 0) {
        struct cel_program *p = policy_compile(k->run.env, v->message_expression, &why);
        struct cel_value r =
            p != NULL ? policy_eval(&k->run, p) : cel_error(a, "compilation failed");
        struct str text = r.kind == CEL_STRING ? str_trim(r.string) : STR_NULL;
        if (text.len != 0 && text.len <= MESSAGE_BYTES_MAX && str_find(text, '\n', 0) < 0)
            message = text;
    }
    return message.len != 0
               ? message
               : arena_printf(a, "failed expression: " STR_FMT, STR_ARG(str_trim(v->expression)));
}

static void check_validation(struct check *k, const struct admissionregistration_v1_validation *v)
{
    struct arena *a = k->adm->ctx->arena;
    struct str why;
    struct cel_program *p = policy_compile(k->run.env, v->expression, &why);
    if (p == NULL) {
        fail(k, arena_printf(a, "compilation error: compilation failed: " STR_FMT, STR_ARG(why)));
        return;
    }
    struct cel_value r = policy_eval(&k->run, p);
    if (r.kind == CEL_ERROR)
        fail(k, arena_printf(a, "expression '" STR_FMT "' resulted in error: " STR_FMT,
                             STR_ARG(v->expression), STR_ARG(r.string)));
    else if (r.kind != CEL_BOOL || !r.boolean)
        refuse(k, message_of(k, v), v->has_reason ? v->reason : STR("Invalid"));
}

static struct policy_env *env_of(struct arena *a, const POLICY *p)
{
    const struct policy_env_config config = {.params = p->spec.param_kind != NULL,
                                             .variables = true};
    struct policy_env *e = policy_env_new(a, &config);
    struct str why;
    for (size_t i = 0; i < p->spec.variables_count; i++)
        policy_add_variable(e, p->spec.variables[i].name, p->spec.variables[i].expression, &why);
    return e;
}

static void check_params(struct check *k, const struct resource *as, const struct json *params)
{
    const POLICY *p = k->policy;
    struct str why;
    policy_run_init(&k->run, env_of(k->adm->ctx->arena, p), k->adm, as, params);
    int r =
        policy_conditions(&k->run, p->spec.match_conditions, p->spec.match_conditions_count, &why);
    if (r < 0)
        fail(k, why);
    for (size_t i = 0; r > 0 && i < p->spec.validations_count; i++)
        check_validation(k, &p->spec.validations[i]);
}

static void misconfigured(struct check *k, struct str why)
{
    if (fails_closed(k->policy))
        deny(
            k,
            arena_printf(k->adm->ctx->arena, "failed to configure binding: " STR_FMT, STR_ARG(why)),
            STR("Invalid"));
}

static struct meta_v1_status *check_binding(const struct admission *adm, const POLICY *p,
                                            const BINDING *b)
{
    const struct resource *as = adm->res, *narrowed = adm->res;
    struct check k = {.adm = adm, .policy = p, .binding = b};
    struct meta_v1_status *refused;
    struct json **params;
    struct str why;
    if (!policy_matches(adm, p->spec.match_constraints, &as, &refused) ||
        !policy_matches(adm, b->spec.match_resources, &narrowed, &refused)) {
        if (refused != NULL)
            misconfigured(&k, refused->message);
        return k.denied;
    }
    int count = policy_params(adm, p->spec.param_kind, b->spec.param_ref, &params, &why);
    if (count < 0)
        misconfigured(&k, why);
    for (int i = 0; i < count; i++)
        check_params(&k, as, params[i]);
    return k.denied;
}

static struct meta_v1_status *validate(const struct admission *adm)
{
    void **bindings, **policies;
    struct meta_v1_status *denied = NULL;
    if (policy_exempt(adm))
        return NULL;
    size_t n = policy_objects(adm->ctx, "validatingadmissionpolicybindings", &bindings);
    size_t m = n != 0 ? policy_objects(adm->ctx, "validatingadmissionpolicies", &policies) : 0;
    for (size_t i = 0; i < m; i++) {
        const POLICY *p = policies[i];
        for (size_t k = 0; k < n; k++) {
            const BINDING *b = bindings[k];
            if (!str_eq(b->spec.policy_name, p->metadata.name))
                continue;
            struct meta_v1_status *s = check_binding(adm, p, b);
            denied = denied != NULL ? denied : s;
        }
    }
    return denied;
}

const struct admission_plugin admission_validating_policy = {
    .name = "ValidatingAdmissionPolicy",
    .validate = validate,
};
