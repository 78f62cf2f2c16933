/* validatingadmissionpolicies.c - ValidatingAdmissionPolicy: expressions that a
 * write must satisfy. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/defaults.h"
#include "apiserver/admission/policy_env.h"
#include "apiserver/kinds/webhooks.h"
#include "api/admissionregistration_v1.h"
#include "api/meta_v1.h"
#include "lib/base/arena.h"

#define ANNOTATIONS_MAX 20
#define ANNOTATION_BYTES_MAX (5 * 1024)

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    struct admissionregistration_v1_validating_admission_policy_spec *s =
        &((struct admissionregistration_v1_validating_admission_policy *)obj)->spec;
    default_opt_str(&s->has_failure_policy, &s->failure_policy, STR("Fail"));
    if (s->match_constraints != NULL)
        default_match_resources(ctx->arena, s->match_constraints);
}

static void check_validation(struct field_errors *errs, const struct field_path *at,
                             struct policy_env *env,
                             const struct admissionregistration_v1_validation *v)
{
    static const char *const reasons[] = {"Forbidden", "Invalid", "RequestEntityTooLarge", NULL};
    struct str message = str_trim(v->message), expression = str_trim(v->message_expression);
    if (str_empty(str_trim(v->expression)))
        field_required(errs, PATH(at, "expression"), "expression is not specified");
    else
        policy_check(env, errs, PATH(at, "expression"), v->expression, POLICY_BOOL);
    if (!str_empty(v->message_expression) && str_empty(expression))
        field_invalid(errs, PATH(at, "messageExpression"), v->message_expression,
                      "must be non-empty if specified");
    else if (!str_empty(expression))
        policy_check(env, errs, PATH(at, "messageExpression"), v->message_expression,
                     POLICY_STRING);
    if (!str_empty(v->message) && str_empty(message))
        field_invalid(errs, PATH(at, "message"), v->message, "must be non-empty if specified");
    else if (str_find(message, '\n', 0) >= 0 || str_find(message, '\r', 0) >= 0)
        field_invalid(errs, PATH(at, "message"), v->message, "must not contain line breaks");
    if (v->has_reason)
        validate_listed(errs, PATH(at, "reason"), v->reason, reasons);
}

/* Keys are those of audit events: behind the policy's name. */
static void check_audit_key(struct field_errors *errs, const struct field_path *path,
                            struct str policy, struct str key)
{
    if (str_empty(policy))
        field_invalid(errs, path, key, "requires metadata.name be non-empty");
    else
        validate_qualified_name(
            errs, path,
            arena_printf(errs->arena, STR_FMT "/" STR_FMT, STR_ARG(policy), STR_ARG(key)));
}

static void check_audit(struct field_errors *errs, const struct field_path *spec,
                        struct policy_env *env,
                        const struct admissionregistration_v1_validating_admission_policy *p)
{
    const struct admissionregistration_v1_audit_annotation *a = p->spec.audit_annotations;
    const struct field_path *path = PATH(spec, "auditAnnotations");
    if (p->spec.audit_annotations_count > ANNOTATIONS_MAX)
        field_invalid_raw(
            errs, path,
            field_member_render(errs->arena,
                                &admissionregistration_v1_validating_admission_policy_spec_msg,
                                &p->spec, "auditAnnotations"),
            "must not have more than %d auditAnnotations", ANNOTATIONS_MAX);
    for (size_t i = 0; i < p->spec.audit_annotations_count; i++) {
        const struct field_path *at = PATH_INDEX(path, i), *value = PATH(at, "valueExpression");
        struct str text = str_trim(a[i].value_expression);
        check_audit_key(errs, PATH(at, "key"), p->metadata.name, a[i].key);
        if (str_empty(text))
            field_required(errs, value, "valueExpression is not specified");
        else if (text.len > ANNOTATION_BYTES_MAX)
            field_required(errs, value, "must not exceed %d bytes in length", ANNOTATION_BYTES_MAX);
        else
            policy_check(env, errs, value, a[i].value_expression, POLICY_STRING_OR_NULL);
        for (size_t j = 0; j < i; j++)
            if (str_eq(a[j].key, a[i].key)) {
                field_duplicate(errs, PATH(at, "key"), a[i].key);
                break;
            }
    }
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    static const char *const failures[] = {"Fail", "Ignore", NULL};
    static const char missing[] = "validations or auditAnnotations must contain at least one item";
    const struct admissionregistration_v1_validating_admission_policy_spec *s =
        &((const struct admissionregistration_v1_validating_admission_policy *)obj)->spec;
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    const struct policy_env_config config = {.params = s->param_kind != NULL, .variables = true};
    struct policy_env *env = policy_env_new(errs->arena, &config);
    if (!s->has_failure_policy)
        field_required(errs, PATH(spec, "failurePolicy"), NULL);
    else
        validate_listed(errs, PATH(spec, "failurePolicy"), s->failure_policy, failures);
    validate_param_kind(errs, PATH(spec, "paramKind"), s->param_kind);
    validate_match_resources(errs, PATH(spec, "matchConstraints"), s->match_constraints, true);
    validate_variables(errs, PATH(spec, "variables"), env, s->variables, s->variables_count);
    validate_match_conditions(errs, PATH(spec, "matchConditions"), env, s->match_conditions,
                              s->match_conditions_count);
    if (s->validations_count == 0 && s->audit_annotations_count == 0) {
        field_required(errs, PATH(spec, "validations"), "%s", missing);
        field_required(errs, PATH(spec, "auditAnnotations"), "%s", missing);
        return;
    }
    for (size_t i = 0; i < s->validations_count; i++)
        check_validation(errs, PATH_INDEX(PATH(spec, "validations"), i), env, &s->validations[i]);
    check_audit(errs, spec, env, obj);
}

static void validate_status(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    UNUSED(ctx);
    UNUSED(old);
    const struct admissionregistration_v1_validating_admission_policy_status *s =
        &((const struct admissionregistration_v1_validating_admission_policy *)obj)->status;
    const struct field_path *status = PATH(PATH_ROOT, "status");
    const struct field_path *list = PATH(PATH(status, "typeChecking"), "expressionWarnings");
    for (size_t i = 0; s->type_checking != NULL && i < s->type_checking->expression_warnings_count;
         i++) {
        const struct admissionregistration_v1_expression_warning *w =
            &s->type_checking->expression_warnings[i];
        if (str_empty(w->warning))
            field_required(errs, PATH(PATH_INDEX(list, i), "warning"), NULL);
        if (str_empty(str_trim(w->field_ref)))
            field_required(errs, PATH(PATH_INDEX(list, i), "fieldRef"), NULL);
    }
    validate_conditions(errs, PATH(status, "conditions"), s->conditions, s->conditions_count);
}

static const struct kind_sub subs[] = {{"status", NULL, validate_status}, {0}};

static void warn(const struct kind_ctx *ctx, const void *obj, const void *old)
{
    UNUSED(old);
    warn_static_name(
        ctx, &((const struct admissionregistration_v1_validating_admission_policy *)obj)->metadata);
}

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Validations", "integer", "", "How many there are.", 0},
    {"ParamKind", "string", "", "Kind of its parameters.", 0},
    {"Age", "string", "", "", 0},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct admissionregistration_v1_validating_admission_policy *p = obj;
    cell_str(r, p->metadata.name);
    cell_int(r, (int64_t)p->spec.validations_count);
    cell_param_kind(r, p->spec.param_kind);
    cell_age(r, &p->metadata.creation_timestamp);
}

const struct kind_ops kind_validatingadmissionpolicies = {
    .group = "admissionregistration.k8s.io",
    .version = "v1",
    .resource = "validatingadmissionpolicies",
    .flags = KIND_STATUS | KIND_STATUS_ALONE | KIND_GENERATION | KIND_NO_UNCONDITIONAL_UPDATE,
    .default_ = set_defaults,
    .validate_create = validate_create,
    .validate_update = kind_validate_as_new,
    .subs = subs,
    .warn = warn,
    .columns = columns,
    .row = row,
};
