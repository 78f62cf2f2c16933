/* roles.c - Role: what may be done in one namespace. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/rbac.h"
#include "apiserver/validate.h"
#include "api/rbac_v1.h"

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    const struct rbac_v1_role *role = obj;
    validate_rbac_rules(errs, role->rules, role->rules_count, true);
}

static void row(struct table_row *r, const void *obj)
{
    rbac_role_row(r, &((const struct rbac_v1_role *)obj)->metadata);
}

const struct kind_ops kind_roles = {
    .group = RBAC_GROUP,
    .version = "v1",
    .resource = "roles",
    .flags = KIND_CHECKED_AS_NEW | KIND_CREATE_ON_UPDATE,
    .validate_name = name_path_segment,
    .validate_create = validate_create,
    .validate_update = kind_validate_as_new,
    .columns = rbac_role_columns,
    .row = row,
};
