/* csistoragecapacities.c - CSIStorageCapacity: room for new volumes in a place. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/node_labels.h"
#include "apiserver/kinds/rbac.h"
#include "apiserver/kinds/rules.h"
#include "api/meta_v1.h"
#include "api/resource.h"
#include "api/storage_v1.h"
#include "lib/api/codec.h"

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    const struct storage_v1_csi_storage_capacity *c = obj;
    validate_label_selector(errs, PATH(PATH_ROOT, "nodeTopology"), c->node_topology);
    validate_form(errs, PATH(PATH_ROOT, "storageClassName"), c->storage_class_name,
                  api_check_dns_subdomain);
    if (c->capacity != NULL)
        validate_non_negative_quantity(errs, PATH(PATH_ROOT, "capacity"), c->capacity);
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    const struct storage_v1_csi_storage_capacity *c = obj, *o = old;
    const struct meta_v1_label_selector *x = c->node_topology, *y = o->node_topology;
    validate_create(ctx, obj, errs);
    if (x != y && (x == NULL || y == NULL || !api_msg_equal(&meta_v1_label_selector_msg, x, y)))
        field_invalid_msg(errs, PATH(PATH_ROOT, "nodeTopology"), &meta_v1_label_selector_msg, x,
                          "field is immutable");
    validate_immutable_str(errs, PATH(PATH_ROOT, "storageClassName"), c->storage_class_name,
                           o->storage_class_name);
}

static void warn(const struct kind_ctx *ctx, const void *obj, const void *old)
{
    UNUSED(old);
    warn_node_label_selector(ctx, PATH(PATH_ROOT, "nodeTopology"),
                             ((const struct storage_v1_csi_storage_capacity *)obj)->node_topology);
}

static void row(struct table_row *r, const void *obj)
{
    rbac_role_row(r, &((const struct storage_v1_csi_storage_capacity *)obj)->metadata);
}

const struct kind_ops kind_csistoragecapacities = {
    .group = "storage.k8s.io",
    .version = "v1",
    .resource = "csistoragecapacities",
    .flags = KIND_NO_UNCONDITIONAL_UPDATE,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .warn = warn,
    .columns = rbac_role_columns,
    .row = row,
};
