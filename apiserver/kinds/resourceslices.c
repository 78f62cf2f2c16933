/* resourceslices.c - ResourceSlice: devices that a driver offers. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/rules.h"
#include "api/core_v1.h"
#include "api/resource_v1.h"

#define DEVICES_MAX 128

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    const struct resource_v1_resource_slice_spec *s =
        &((const struct resource_v1_resource_slice *)obj)->spec;
    const struct field_path *spec = PATH(PATH_ROOT, "spec"), *pool = PATH(spec, "pool"),
                            *list = PATH(spec, "devices");
    int placed = s->has_node_name + (s->node_selector != NULL) +
                 (s->has_all_nodes && s->all_nodes) +
                 (s->has_per_device_node_selection && s->per_device_node_selection);
    require_form(errs, PATH(spec, "driver"), s->driver, api_check_dns_subdomain);
    if (str_empty(s->pool.name))
        field_required(errs, PATH(pool, "name"), NULL);
    if (s->pool.resource_slice_count <= 0)
        field_invalid_int(errs, PATH(pool, "resourceSliceCount"), s->pool.resource_slice_count,
                          "must be greater than zero");
    validate_non_negative(errs, PATH(pool, "generation"), s->pool.generation);
    if (placed != 1)
        field_required(errs, spec,
                       "exactly one of `nodeName`, `nodeSelector`, `allNodes`, "
                       "`perDeviceNodeSelection` is required");
    if (s->devices_count > DEVICES_MAX)
        field_too_many(errs, list, (int64_t)s->devices_count, DEVICES_MAX);
    for (size_t i = 0; i < s->devices_count; i++) {
        const struct field_path *name = PATH(PATH_INDEX(list, i), "name");
        require_form(errs, name, s->devices[i].name, api_check_dns_label);
        for (size_t j = 0; j < i; j++)
            if (str_eq(s->devices[j].name, s->devices[i].name)) {
                field_duplicate(errs, name, s->devices[i].name);
                break;
            }
    }
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    const struct resource_v1_resource_slice_spec *s =
        &((const struct resource_v1_resource_slice *)obj)->spec;
    const struct resource_v1_resource_slice_spec *o =
        &((const struct resource_v1_resource_slice *)old)->spec;
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    validate_create(ctx, obj, errs);
    validate_immutable_str(errs, PATH(spec, "nodeName"), s->node_name, o->node_name);
    validate_immutable_str(errs, PATH(spec, "driver"), s->driver, o->driver);
    validate_immutable_str(errs, PATH(PATH(spec, "pool"), "name"), s->pool.name, o->pool.name);
}

static struct str get_node(struct arena *a, const void *obj)
{
    UNUSED(a);
    return ((const struct resource_v1_resource_slice *)obj)->spec.node_name;
}

static struct str get_driver(struct arena *a, const void *obj)
{
    UNUSED(a);
    return ((const struct resource_v1_resource_slice *)obj)->spec.driver;
}

static const struct kind_field fields[] = {
    {"spec.nodeName", get_node}, {"spec.driver", get_driver}, {0}};

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0}, {"Node", "string", "", "Where the devices are.", 0},
    {"Driver", "string", "", "", 0},   {"Pool", "string", "", "", 0},
    {"Age", "string", "", "", 0},      {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct resource_v1_resource_slice *s = obj;
    cell_str(r, s->metadata.name);
    cell_str(r, s->spec.has_node_name ? s->spec.node_name : STR("<unset>"));
    cell_str(r, s->spec.driver);
    cell_str(r, s->spec.pool.name);
    cell_age(r, &s->metadata.creation_timestamp);
}

const struct kind_ops kind_resourceslices = {
    .group = "resource.k8s.io",
    .version = "v1",
    .resource = "resourceslices",
    .flags = KIND_GENERATION | KIND_RETURN_DELETED,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .fields = fields,
    .columns = columns,
    .row = row,
};
