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

/* The expression of the kind of patch that is wanted. */
static void check_patch(struct field_errors *errs, const struct field_path *path,
                        struct policy_env *env, struct str text, enum policy_want want)
{
    if (str_empty(str_trim(text)))
        field_required(errs, PATH(path, "expression"), NULL);
    else
        policy_check(env, errs, PATH(path, "expression"), text, want);
}

static void check_mutation(struct field_errors *errs, const struct field_path *at,
                           struct policy_env *env,
                           const struct admissionregistration_v1_mutation *m)
{
    static const char *const types[] = {"ApplyConfiguration", "JSONPatch", NULL};
    const struct field_path *apply = PATH(at, "applyConfiguration"), *json = PATH(at, "jsonPatch");
    require_listed(errs, PATH(at, "patchType"), m->patch_type, types);
    if (str_eqc(m->patch_type, "JSONPatch")) {
        if (m->json_patch == NULL)
            field_required(errs, json, "must be specified when patchType is JSONPatch");
        else
            check_patch(errs, json, env, m->json_patch->expression, POLICY_JSON_PATCH);
        if (m->apply_configuration != NULL)
            field_invalid(errs, apply, STR("{applyConfiguration}"),
                          "must not be specified when patchType is JSONPatch");
    } else if (str_eqc(m->patch_type, "ApplyConfiguration")) {
        if (m->apply_configuration == NULL)
            field_required(errs, apply, "must be specified when patchType is ApplyConfiguration");
        else
            check_patch(errs, apply, env, m->apply_configuration->expression, POLICY_OBJECT);
        if (m->json_patch != NULL)
            field_invalid(errs, json, STR("{jsonPatch}"),
                          "must not be specified when patchType is ApplyConfiguration");
    }
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
    validate_mutated_operations(errs, PATH(spec, "matchConstraints"), s->match_constraints);
    validate_variables(errs, PATH(spec, "variables"), env, s->variables, s->variables_count);
    validate_match_conditions(errs, PATH(spec, "matchConditions"), env, s->match_conditions,
                              s->match_conditions_count);
    if (s->mutations_count == 0)
        field_required(errs, PATH(spec, "mutations"), "mutations must contain at least one item");
    for (size_t i = 0; i < s->mutations_count; i++)
        check_mutation(errs, PATH_INDEX(PATH(spec, "mutations"), i), env, &s->mutations[i]);
    require_listed(errs, PATH(spec, "reinvocationPolicy"), s->reinvocation_policy, reinvocations);
}

static void warn(const struct kind_ctx *ctx, const void *obj, const void *old)
{
    UNUSED(old);
    warn_static_name(
        ctx, &((const struct admissionregistration_v1_mutating_admission_policy *)obj)->metadata);
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
    .warn = warn,
    .columns = columns,
    .row = row,
};
