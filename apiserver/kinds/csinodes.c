/* csinodes.c - CSINode: the storage drivers of a node. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/rules.h"
#include "apiserver/kinds/volume_sources.h"
#include "api/meta_v1.h"
#include "api/storage_v1.h"
#include "lib/api/codec.h"

#define NODE_ID_BYTES_MAX 256u

static void check_driver(struct field_errors *errs, const struct field_path *at,
                         const struct storage_v1_csi_node_driver *d)
{
    check_csi_driver_name(errs, PATH(at, "name"), d->name);
    if (str_empty(d->node_id))
        field_required(errs, PATH(at, "nodeID"), NULL);
    else if (d->node_id.len > NODE_ID_BYTES_MAX)
        field_invalid(errs, PATH(at, "nodeID"), d->node_id, "must be %u characters or less",
                      NODE_ID_BYTES_MAX);
    if (d->allocatable != NULL && d->allocatable->has_count)
        validate_non_negative(errs, PATH(PATH(at, "allocatable"), "count"), d->allocatable->count);
}

/* Faults of keys are the driver's, as upstream has it. */
static void check_topology(struct field_errors *errs, const struct field_path *at,
                           const struct storage_v1_csi_node_driver *d)
{
    for (size_t i = 0; i < d->topology_keys_count; i++) {
        bool doubled = false;
        for (size_t j = 0; j < i; j++)
            doubled = doubled || str_eq(d->topology_keys[j], d->topology_keys[i]);
        if (str_empty(d->topology_keys[i]))
            field_required(errs, at, NULL);
        if (doubled)
            field_duplicate(errs, at, d->topology_keys[i]);
        validate_qualified_name(errs, at, d->topology_keys[i]);
    }
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    const struct storage_v1_csi_node_spec *s = &((const struct storage_v1_csi_node *)obj)->spec;
    for (size_t i = 0; i < s->drivers_count; i++) {
        const struct field_path *at = PATH_INDEX(PATH(PATH(PATH_ROOT, "spec"), "drivers"), i);
        check_driver(errs, at, &s->drivers[i]);
        for (size_t j = 0; j < i; j++)
            if (str_eq(s->drivers[j].name, s->drivers[i].name)) {
                field_duplicate(errs, PATH(at, "name"), s->drivers[i].name);
                break;
            }
        check_topology(errs, at, &s->drivers[i]);
    }
}

/* A driver that stays is not changed, but for how much it can attach. */
static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    const struct storage_v1_csi_node *n = obj, *o = old;
    validate_create(ctx, obj, errs);
    for (size_t i = 0; i < o->spec.drivers_count; i++)
        for (size_t j = 0; j < n->spec.drivers_count; j++) {
            struct storage_v1_csi_node_driver d = n->spec.drivers[j], before = o->spec.drivers[i];
            if (!str_eq(d.name, before.name))
                continue;
            d.allocatable = before.allocatable = NULL;
            validate_immutable(errs, PATH(PATH(PATH_ROOT, "spec"), "drivers"),
                               &storage_v1_csi_node_driver_msg, &d, &before);
        }
}

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Drivers", "integer", "", "How many there are.", 0},
    {"Age", "string", "", "", 0},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct storage_v1_csi_node *n = obj;
    cell_str(r, n->metadata.name);
    cell_int(r, (int64_t)n->spec.drivers_count);
    cell_age(r, &n->metadata.creation_timestamp);
}

const struct kind_ops kind_csinodes = {
    .group = "storage.k8s.io",
    .version = "v1",
    .resource = "csinodes",
    .flags = KIND_RETURN_DELETED | KIND_NO_UNCONDITIONAL_UPDATE,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .columns = columns,
    .row = row,
};
