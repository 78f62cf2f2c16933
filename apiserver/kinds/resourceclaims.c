/* resourceclaims.c - ResourceClaim: devices that a pod wants. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/claim_status.h"
#include "apiserver/kinds/device_claim.h"
#include "apiserver/validate.h"
#include "api/meta_v1.h"
#include "api/resource_v1.h"
#include "lib/api/codec.h"

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    UNUSED(ctx);
    default_device_claim(&((struct resource_v1_resource_claim *)obj)->spec.devices);
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    const struct resource_v1_device_claim *c =
        &((const struct resource_v1_resource_claim *)obj)->spec.devices;
    check_admin_requests(ctx, errs, c);
    validate_device_claim(errs, PATH(PATH(PATH_ROOT, "spec"), "devices"), c);
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    UNUSED(ctx);
    validate_immutable(errs, PATH(PATH_ROOT, "spec"), &resource_v1_resource_claim_spec_msg,
                       &((const struct resource_v1_resource_claim *)obj)->spec,
                       &((const struct resource_v1_resource_claim *)old)->spec);
}

static const struct kind_sub subs[] = {{"status", prepare_claim_status, validate_claim_status},
                                       {0}};

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"State", "string", "", "How far it is.", 0},
    {"Age", "string", "", "", 0},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct resource_v1_resource_claim *c = obj;
    bool deleted = c->metadata.deletion_timestamp != NULL, allocated = c->status.allocation != NULL;
    cell_str(r, c->metadata.name);
    cell_printf(r, "%s%s%s", deleted ? "deleted," : "", allocated ? "allocated" : "pending",
                allocated && c->status.reserved_for_count != 0 ? ",reserved" : "");
    cell_age(r, &c->metadata.creation_timestamp);
}

const struct kind_ops kind_resourceclaims = {
    .group = "resource.k8s.io",
    .version = "v1",
    .resource = "resourceclaims",
    .flags = KIND_STATUS | KIND_STATUS_ALONE | KIND_RETURN_DELETED,
    .default_ = set_defaults,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .subs = subs,
    .columns = columns,
    .row = row,
};
