/* runtimeclasses.c - RuntimeClass: which handler of the runtime runs a pod. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/node_labels.h"
#include "apiserver/kinds/node_selector.h"
#include "apiserver/kinds/rules.h"
#include "api/core_v1.h"
#include "api/node_v1.h"
#include "api/resource.h"

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    const struct node_v1_runtime_class *c = obj;
    const struct field_path *overhead = PATH(PATH(PATH_ROOT, "overhead"), "podFixed");
    const struct field_path *scheduling = PATH(PATH_ROOT, "scheduling");
    require_form(errs, PATH(PATH_ROOT, "handler"), c->handler, api_check_dns_label);
    for (size_t i = 0; c->overhead != NULL && i < c->overhead->pod_fixed_count; i++) {
        const struct field_path *at = PATH_KEY(overhead, c->overhead->pod_fixed[i].key);
        validate_container_resource_name(errs, at, c->overhead->pod_fixed[i].key);
        validate_quantity_value(errs, at, c->overhead->pod_fixed[i].key,
                                &c->overhead->pod_fixed[i].value);
    }
    if (c->scheduling == NULL)
        return;
    validate_labels(errs, PATH(scheduling, "nodeSelector"), c->scheduling->node_selector,
                    c->scheduling->node_selector_count);
    validate_tolerations(errs, PATH(scheduling, "tolerations"), c->scheduling->tolerations,
                         c->scheduling->tolerations_count);
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    UNUSED(ctx);
    validate_immutable_str(errs, PATH(PATH_ROOT, "handler"),
                           ((const struct node_v1_runtime_class *)obj)->handler,
                           ((const struct node_v1_runtime_class *)old)->handler);
}

static void warn(const struct kind_ctx *ctx, const void *obj, const void *old)
{
    UNUSED(old);
    const struct node_v1_runtime_class *c = obj;
    for (size_t i = 0; c->scheduling != NULL && i < c->scheduling->node_selector_count; i++) {
        const char *why = node_label_deprecated(c->scheduling->node_selector[i].key);
        if (why != NULL)
            kind_warn_field(ctx, PATH(PATH(PATH_ROOT, "scheduling"), "nodeSelector"), "%s", why);
    }
}

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Handler", "string", "", "The runtime's name for it.", 0},
    {"Age", "string", "", "", 0},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct node_v1_runtime_class *c = obj;
    cell_str(r, c->metadata.name);
    cell_str(r, c->handler);
    cell_age(r, &c->metadata.creation_timestamp);
}

const struct kind_ops kind_runtimeclasses = {
    .group = "node.k8s.io",
    .version = "v1",
    .resource = "runtimeclasses",
    .flags = KIND_CREATE_ON_UPDATE | KIND_NO_UNCONDITIONAL_UPDATE,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .warn = warn,
    .columns = columns,
    .row = row,
};
