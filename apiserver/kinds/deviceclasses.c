/* deviceclasses.c - DeviceClass: a kind of device that claims can name. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/device_rules.h"
#include "api/resource_v1.h"

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    const struct resource_v1_device_class_spec *s =
        &((const struct resource_v1_device_class *)obj)->spec;
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    const struct field_path *config = PATH(spec, "config");
    check_device_selectors(errs, PATH(spec, "selectors"), s->selectors, s->selectors_count);
    if (check_device_count(errs, config, s->config_count, DEVICE_CONFIG_MAX))
        for (size_t i = 0; i < s->config_count; i++)
            check_device_configuration(errs, PATH_INDEX(config, i),
                                       &s->config[i].device_configuration);
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
