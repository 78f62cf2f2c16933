/* validatingadmissionpolicybindings.c - ValidatingAdmissionPolicyBinding: where a
 * policy counts and what follows from it. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/webhooks.h"
#include "api/admissionregistration_v1.h"
#include "api/meta_v1.h"

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    struct admissionregistration_v1_validating_admission_policy_binding *b = obj;
    if (b->spec.match_resources != NULL)
        default_match_resources(ctx->arena, b->spec.match_resources);
}

static void check_actions(struct field_errors *errs, const struct field_path *path,
                          const struct str *list, size_t count)
{
    static const char *const actions[] = {"Audit", "Deny", "Warn", NULL};
    if (count == 0)
        field_required(errs, path, "at least one validation action is required");
    for (size_t i = 0; i < count; i++) {
        validate_listed(errs, PATH_INDEX(path, i), list[i], actions);
        for (size_t j = 0; j < i; j++)
            if (str_eq(list[j], list[i])) {
                field_duplicate(errs, PATH_INDEX(path, i), list[i]);
                break;
            }
    }
    if (list_has(list, count, "Deny") && list_has(list, count, "Warn"))
        field_invalid_raw(errs, path, field_strings_render(errs->arena, list, count),
                          "must not contain both Deny and Warn (repeating the same validation "
                          "failure information in "
                          "the API response and headers serves no purpose)");
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    const struct admissionregistration_v1_validating_admission_policy_binding_spec *s =
        &((const struct admissionregistration_v1_validating_admission_policy_binding *)obj)->spec;
    validate_policy_binding(errs, s->policy_name, s->param_ref, s->match_resources);
    check_actions(errs, PATH(PATH(PATH_ROOT, "spec"), "validationActions"), s->validation_actions,
                  s->validation_actions_count);
}

static void warn(const struct kind_ctx *ctx, const void *obj, const void *old)
{
    UNUSED(old);
    warn_static_name(
        ctx, &((const struct admissionregistration_v1_validating_admission_policy_binding *)obj)
                  ->metadata);
}

static void row(struct table_row *r, const void *obj)
{
    const struct admissionregistration_v1_validating_admission_policy_binding *b = obj;
    policy_binding_row(r, &b->metadata, b->spec.policy_name, b->spec.param_ref);
}

const struct kind_ops kind_validatingadmissionpolicybindings = {
    .group = "admissionregistration.k8s.io",
    .version = "v1",
    .resource = "validatingadmissionpolicybindings",
    .flags = KIND_GENERATION | KIND_NO_UNCONDITIONAL_UPDATE,
    .default_ = set_defaults,
    .validate_create = validate_create,
    .validate_update = kind_validate_as_new,
    .warn = warn,
    .columns = policy_binding_columns,
    .row = row,
};
