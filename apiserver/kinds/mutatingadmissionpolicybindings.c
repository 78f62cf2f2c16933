/* mutatingadmissionpolicybindings.c - MutatingAdmissionPolicyBinding: where a
 * policy counts. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/webhooks.h"
#include "api/admissionregistration_v1.h"
#include "api/meta_v1.h"

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    struct admissionregistration_v1_mutating_admission_policy_binding *b = obj;
    if (b->spec.match_resources != NULL)
        default_match_resources(ctx->arena, b->spec.match_resources);
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    const struct admissionregistration_v1_mutating_admission_policy_binding_spec *s =
        &((const struct admissionregistration_v1_mutating_admission_policy_binding *)obj)->spec;
    validate_policy_binding(errs, s->policy_name, s->param_ref, s->match_resources);
    validate_mutated_operations(errs, PATH(PATH(PATH_ROOT, "spec"), "matchResources"),
                                s->match_resources);
}

static void warn(const struct kind_ctx *ctx, const void *obj, const void *old)
{
    UNUSED(old);
    warn_static_name(
        ctx, &((const struct admissionregistration_v1_mutating_admission_policy_binding *)obj)
                  ->metadata);
}

static void row(struct table_row *r, const void *obj)
{
    const struct admissionregistration_v1_mutating_admission_policy_binding *b = obj;
    policy_binding_row(r, &b->metadata, b->spec.policy_name, b->spec.param_ref);
}

const struct kind_ops kind_mutatingadmissionpolicybindings = {
    .group = "admissionregistration.k8s.io",
    .version = "v1",
    .resource = "mutatingadmissionpolicybindings",
    .flags = KIND_GENERATION | KIND_NO_UNCONDITIONAL_UPDATE,
    .default_ = set_defaults,
    .validate_create = validate_create,
    .validate_update = kind_validate_as_new,
    .warn = warn,
    .columns = policy_binding_columns,
    .row = row,
};
