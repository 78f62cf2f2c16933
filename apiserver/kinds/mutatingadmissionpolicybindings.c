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
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    require_form(errs, PATH(spec, "policyName"), s->policy_name, api_check_dns_subdomain);
    validate_param_ref(errs, PATH(spec, "paramRef"), s->param_ref);
    validate_match_resources(errs, PATH(spec, "matchResources"), s->match_resources, false);
}

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"PolicyName", "string", "", "What counts.", 0},
    {"ParamRef", "string", "", "Its parameters.", 0},
    {"Age", "string", "", "", 0},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct admissionregistration_v1_mutating_admission_policy_binding *b = obj;
    cell_str(r, b->metadata.name);
    cell_str(r, b->spec.policy_name);
    cell_param_ref(r, b->spec.param_ref);
    cell_age(r, &b->metadata.creation_timestamp);
}

const struct kind_ops kind_mutatingadmissionpolicybindings = {
    .group = "admissionregistration.k8s.io",
    .version = "v1",
    .resource = "mutatingadmissionpolicybindings",
    .flags = KIND_GENERATION | KIND_NO_UNCONDITIONAL_UPDATE,
    .default_ = set_defaults,
    .validate_create = validate_create,
    .validate_update = kind_validate_as_new,
    .columns = columns,
    .row = row,
};
