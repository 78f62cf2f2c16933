/* rolebindings.c - RoleBinding: who holds a role in one namespace. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/rbac.h"
#include "apiserver/validate.h"
#include "api/rbac_v1.h"

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    UNUSED(ctx);
    struct rbac_v1_role_binding *b = obj;
    default_rbac_binding(&b->role_ref, b->subjects, b->subjects_count);
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    const struct rbac_v1_role_binding *b = obj;
    validate_rbac_binding(errs, &b->role_ref, b->subjects, b->subjects_count, true);
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    const struct rbac_v1_role_binding *b = obj, *o = old;
    validate_create(ctx, obj, errs);
    validate_rbac_binding_change(errs, &b->role_ref, &o->role_ref);
}

static void row(struct table_row *r, const void *obj)
{
    const struct rbac_v1_role_binding *b = obj;
    rbac_binding_row(r, &b->metadata, &b->role_ref, b->subjects, b->subjects_count);
}

const struct kind_ops kind_rolebindings = {
    .group = RBAC_GROUP,
    .version = "v1",
    .resource = "rolebindings",
    .flags = KIND_CHECKED_AS_NEW | KIND_CREATE_ON_UPDATE,
    .validate_name = name_path_segment,
    .default_ = set_defaults,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .columns = rbac_binding_columns,
    .row = row,
};
