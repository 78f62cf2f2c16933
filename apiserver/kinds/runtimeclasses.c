/* runtimeclasses.c - RuntimeClass: which handler of the runtime runs a pod. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/node_labels.h"
#include "apiserver/kinds/node_selector.h"
#include "apiserver/kinds/pod_check.h"
#include "apiserver/kinds/rules.h"
#include "api/core_v1.h"
#include "api/node_v1.h"

/* What a pod needs besides its containers is judged as if it were a container's limits. */
static void check_overhead(struct field_errors *errs, const struct node_v1_overhead *o)
{
    const struct core_v1_pod_spec spec = {0};
    struct pod_check k = {.errs = errs, .spec = &spec};
    const struct core_v1_resource_requirements r = {.limits = o->pod_fixed,
                                                    .limits_count = o->pod_fixed_count};
    check_resources(&k, PATH(PATH_ROOT, "overhead"), &r);
}

static bool same_toleration(const struct core_v1_toleration *x, const struct core_v1_toleration *y)
{
    return str_eq(x->key, y->key) && str_eq(x->operator, y->operator) &&
           str_eq(x->value, y->value) && str_eq(x->effect, y->effect);
}

static void check_scheduling(struct field_errors *errs, const struct node_v1_scheduling *s)
{
    const struct field_path *path = PATH(PATH_ROOT, "scheduling"),
                            *tolerations = PATH(path, "tolerations");
    validate_labels(errs, PATH(path, "nodeSelector"), s->node_selector, s->node_selector_count);
    validate_tolerations(errs, tolerations, s->tolerations, s->tolerations_count);
    for (size_t i = 0; i < s->tolerations_count; i++)
        for (size_t k = 0; k < i; k++)
            if (same_toleration(&s->tolerations[k], &s->tolerations[i])) {
                field_duplicate_raw(
                    errs, PATH_INDEX(tolerations, i),
                    field_value_render(errs->arena, &core_v1_toleration_msg, &s->tolerations[i]));
                break;
            }
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    const struct node_v1_runtime_class *c = obj;
    require_form(errs, PATH(PATH_ROOT, "handler"), c->handler, api_check_dns_label);
    if (c->overhead != NULL)
        check_overhead(errs, c->overhead);
    if (c->scheduling != NULL)
        check_scheduling(errs, c->scheduling);
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    validate_create(ctx, obj, errs);
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
    .flags = KIND_CREATE_ON_UPDATE | KIND_NO_UNCONDITIONAL_UPDATE | KIND_CHECKED_AS_NEW,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .warn = warn,
    .columns = columns,
    .row = row,
};
