/* mutatingadmissionpolicies.c - MutatingAdmissionPolicy: expressions that change
 * what is written. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/defaults.h"
#include "apiserver/admission/policy_env.h"
#include "apiserver/kinds/webhooks.h"
#include "api/admissionregistration_v1.h"
#include "api/meta_v1.h"

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    struct admissionregistration_v1_mutating_admission_policy_spec *s =
        &((struct admissionregistration_v1_mutating_admission_policy *)obj)->spec;
    default_opt_str(&s->has_failure_policy, &s->failure_policy, STR("Fail"));
    if (s->match_constraints != NULL)
        default_match_resources(ctx->arena, s->match_constraints);
}

static void check_mutation(struct field_errors *errs, const struct field_path *at,
                           struct policy_env *env,
                           const struct admissionregistration_v1_mutation *m)
{
    static const char *const types[] = {"ApplyConfiguration", "JSONPatch", NULL};
    bool apply = str_eqc(m->patch_type, "ApplyConfiguration"),
         patch = str_eqc(m->patch_type, "JSONPatch");
    const struct field_path *configuration = PATH(at, "applyConfiguration"),
                            *json = PATH(at, "jsonPatch");
    require_listed(errs, PATH(at, "patchType"), m->patch_type, types);
    if (apply && m->apply_configuration == NULL)
        field_required(errs, configuration,
                       "must be specified when patchType is ApplyConfiguration");
    if (patch && m->json_patch == NULL)
        field_required(errs, json, "must be specified when patchType is JSONPatch");
    if (m->apply_configuration != NULL && str_empty(str_trim(m->apply_configuration->expression)))
        field_required(errs, PATH(configuration, "expression"), "expression is not specified");
    else if (m->apply_configuration != NULL)
        policy_check(env, errs, PATH(configuration, "expression"),
                     m->apply_configuration->expression, POLICY_OBJECT);
    if (m->json_patch != NULL && str_empty(str_trim(m->json_patch->expression)))
        field_required(errs, PATH(json, "expression"), "expression is not specified");
    else if (m->json_patch != NULL)
        policy_check(env, errs, PATH(json, "expression"), m->json_patch->expression,
                     POLICY_JSON_PATCH);
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    static const char *const failures[] = {"Fail", "Ignore", NULL};
    static const char *const reinvocations[] = {"IfNeeded", "Never", NULL};
    const struct admissionregistration_v1_mutating_admission_policy_spec *s =
        &((const struct admissionregistration_v1_mutating_admission_policy *)obj)->spec;
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    const struct policy_env_config config = {
        .params = s->param_kind != NULL, .variables = true, .objects = true};
    struct policy_env *env = policy_env_new(errs->arena, &config);
    validate_listed(errs, PATH(spec, "failurePolicy"), s->failure_policy, failures);
    validate_param_kind(errs, PATH(spec, "paramKind"), s->param_kind);
    validate_match_resources(errs, PATH(spec, "matchConstraints"), s->match_constraints, true);
    validate_variables(errs, PATH(spec, "variables"), env, s->variables, s->variables_count);
    validate_match_conditions(errs, PATH(spec, "matchConditions"), env, s->match_conditions,
                              s->match_conditions_count);
    if (s->mutations_count == 0)
        field_required(errs, PATH(spec, "mutations"), "mutations must contain at least one item");
    for (size_t i = 0; i < s->mutations_count; i++)
        check_mutation(errs, PATH_INDEX(PATH(spec, "mutations"), i), env, &s->mutations[i]);
    require_listed(errs, PATH(spec, "reinvocationPolicy"), s->reinvocation_policy, reinvocations);
}

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Mutations", "integer", "", "How many there are.", 0},
    {"ParamKind", "string", "", "Kind of its parameters.", 0},
    {"Age", "string", "", "", 0},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct admissionregistration_v1_mutating_admission_policy *p = obj;
    cell_str(r, p->metadata.name);
    cell_int(r, (int64_t)p->spec.mutations_count);
    cell_param_kind(r, p->spec.param_kind);
    cell_age(r, &p->metadata.creation_timestamp);
}

const struct kind_ops kind_mutatingadmissionpolicies = {
    .group = "admissionregistration.k8s.io",
    .version = "v1",
    .resource = "mutatingadmissionpolicies",
    .flags = KIND_GENERATION | KIND_NO_UNCONDITIONAL_UPDATE,
    .default_ = set_defaults,
    .validate_create = validate_create,
    .validate_update = kind_validate_as_new,
    .columns = columns,
    .row = row,
};
