/* clusterroles.c - ClusterRole: what may be done everywhere, listed or gathered
 * from other ClusterRoles. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/rbac.h"
#include "apiserver/validate.h"
#include "api/meta_v1.h"
#include "api/rbac_v1.h"

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    const struct rbac_v1_cluster_role *role = obj;
    const struct rbac_v1_aggregation_rule *a = role->aggregation_rule;
    const struct field_path *path =
        PATH(PATH(PATH_ROOT, "aggregationRule"), "clusterRoleSelectors");
    validate_rbac_rules(errs, role->rules, role->rules_count, false);
    if (a == NULL)
        return;
    if (a->cluster_role_selectors_count == 0)
        field_required(errs, path,
                       "at least one clusterRoleSelector required if aggregationRule is non-nil");
    for (size_t i = 0; i < a->cluster_role_selectors_count; i++)
        validate_label_selector(errs, PATH_INDEX(path, i), &a->cluster_role_selectors[i]);
}

static void row(struct table_row *r, const void *obj)
{
    rbac_role_row(r, &((const struct rbac_v1_cluster_role *)obj)->metadata);
}

const struct kind_ops kind_clusterroles = {
    .group = RBAC_GROUP,
    .version = "v1",
    .resource = "clusterroles",
    .flags = KIND_CHECKED_AS_NEW | KIND_CREATE_ON_UPDATE,
    .validate_name = name_path_segment,
    .validate_create = validate_create,
    .validate_update = kind_validate_as_new,
    .columns = rbac_role_columns,
    .row = row,
};
