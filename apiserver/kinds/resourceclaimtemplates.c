/* resourceclaimtemplates.c - ResourceClaimTemplate: claims made for pods. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/device_claim.h"
#include "apiserver/validate.h"
#include "api/meta_v1.h"
#include "api/resource_v1.h"
#include "lib/api/codec.h"

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    UNUSED(ctx);
    default_device_claim(&((struct resource_v1_resource_claim_template *)obj)->spec.spec.devices);
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    const struct resource_v1_resource_claim_template_spec *s =
        &((const struct resource_v1_resource_claim_template *)obj)->spec;
    const struct field_path *spec = PATH(PATH_ROOT, "spec"), *meta = PATH(spec, "metadata");
    check_admin_requests(ctx, errs, &s->spec.devices);
    validate_labels(errs, PATH(meta, "labels"), s->metadata.labels, s->metadata.labels_count);
    validate_annotations(errs, PATH(meta, "annotations"), s->metadata.annotations,
                         s->metadata.annotations_count);
    validate_device_claim(errs, PATH(PATH(spec, "spec"), "devices"), &s->spec.devices);
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    UNUSED(ctx);
    validate_immutable(errs, PATH(PATH_ROOT, "spec"), &resource_v1_resource_claim_template_spec_msg,
                       &((const struct resource_v1_resource_claim_template *)obj)->spec,
                       &((const struct resource_v1_resource_claim_template *)old)->spec);
}

const struct kind_ops kind_resourceclaimtemplates = {
    .group = "resource.k8s.io",
    .version = "v1",
    .resource = "resourceclaimtemplates",
    .flags = KIND_RETURN_DELETED,
    .default_ = set_defaults,
    .validate_create = validate_create,
    .validate_update = validate_update,
};
