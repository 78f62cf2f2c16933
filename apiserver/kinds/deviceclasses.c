/* deviceclasses.c - DeviceClass: a kind of device that claims can name. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/rules.h"
#include "api/resource_v1.h"

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    const struct resource_v1_device_class_spec *s =
        &((const struct resource_v1_device_class *)obj)->spec;
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    for (size_t i = 0; i < s->selectors_count; i++) {
        const struct field_path *cel = PATH(PATH_INDEX(PATH(spec, "selectors"), i), "cel");
        if (s->selectors[i].cel == NULL)
            field_required(errs, cel, NULL);
        else if (str_empty(s->selectors[i].cel->expression))
            field_required(errs, PATH(cel, "expression"), NULL);
    }
    if (s->has_extended_resource_name && !is_extended_resource(s->extended_resource_name))
        field_invalid(errs, PATH(spec, "extendedResourceName"), s->extended_resource_name,
                      "must be a valid extended resource name");
}

const struct kind_ops kind_deviceclasses = {
    .group = "resource.k8s.io",
    .version = "v1",
    .resource = "deviceclasses",
    .flags = KIND_GENERATION | KIND_RETURN_DELETED,
    .validate_create = validate_create,
    .validate_update = kind_validate_as_new,
};
