/* volumeattributesclasses.c - VolumeAttributesClass: settings of volumes that can change. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/rules.h"
#include "apiserver/kinds/volume_sources.h"
#include "api/meta_v1.h"
#include "api/storage_v1.h"

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    const struct storage_v1_volume_attributes_class *c = obj;
    check_csi_driver_name(errs, PATH(PATH_ROOT, "driverName"), c->driver_name);
    if (c->parameters_count == 0)
        field_required(errs, PATH(PATH_ROOT, "parameters"),
                       "must contain at least one key/value pair");
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    UNUSED(ctx);
    const struct storage_v1_volume_attributes_class *c = obj, *o = old;
    bool same = c->parameters_count == o->parameters_count;
    for (size_t i = 0; same && i < c->parameters_count; i++)
        same = str_eq(c->parameters[i].key, o->parameters[i].key) &&
               str_eq(c->parameters[i].value, o->parameters[i].value);
    validate_immutable_str(errs, PATH(PATH_ROOT, "driverName"), c->driver_name, o->driver_name);
    if (!same)
        field_forbidden(errs, PATH(PATH_ROOT, "parameters"),
                        "updates to parameters are forbidden.");
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
