/* volumeattributesclasses.c - VolumeAttributesClass: settings of volumes that can change. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/rules.h"
#include "apiserver/kinds/volume_sources.h"
#include "api/meta_v1.h"
#include "api/storage_v1.h"
#include "lib/api/codec.h"

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    const struct storage_v1_volume_attributes_class *c = obj;
    check_provisioner(errs, PATH(PATH_ROOT, "driverName"), c->driver_name);
    check_parameters(errs, PATH(PATH_ROOT, "parameters"), c->parameters, c->parameters_count, true);
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    static const char *const fixed[] = {"driverName", "parameters"};
    const struct api_msg *m = &storage_v1_volume_attributes_class_msg;
    for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
        if (!api_field_equal(api_field_by_json(m, str_of(fixed[i])), obj, old))
            field_forbidden(errs, PATH(PATH_ROOT, fixed[i]), "updates to %s are forbidden.",
                            fixed[i]);
    validate_create(ctx, obj, errs);
}

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"DriverName", "string", "", "", 0},
    {"Age", "string", "", "", 0},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct storage_v1_volume_attributes_class *c = obj;
    cell_str(r, c->metadata.name);
    cell_str(r, c->driver_name);
    cell_age(r, &c->metadata.creation_timestamp);
}

const struct kind_ops kind_volumeattributesclasses = {
    .group = "storage.k8s.io",
    .version = "v1",
    .resource = "volumeattributesclasses",
    .flags = KIND_RETURN_DELETED,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .columns = columns,
    .row = row,
};
