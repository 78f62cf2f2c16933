/* podtemplates.c - PodTemplate: a template that stands on its own. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/pod_spec.h"
#include "apiserver/kinds/pod_warnings.h"
#include "apiserver/validate.h"
#include "api/core_v1.h"
#include "lib/api/codec.h"

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    pod_template_defaults(ctx->arena, &((struct core_v1_pod_template *)obj)->template);
}

static void prepare_update(const struct kind_ctx *ctx, void *obj, const void *old)
{
    UNUSED(ctx);
    struct core_v1_pod_template *t = obj;
    if (!api_msg_equal(&core_v1_pod_template_spec_msg, &t->template,
                       &((const struct core_v1_pod_template *)old)->template))
        t->metadata.generation++;
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    validate_pod_template(ctx, errs, PATH(PATH_ROOT, "template"),
                          &((const struct core_v1_pod_template *)obj)->template);
}

static void warn(const struct kind_ctx *ctx, const void *obj, const void *old)
{
    const struct core_v1_pod_template *t = obj;
    const struct workload_warning w = {
        .meta = &t->metadata,
        .old = old != NULL ? &((const struct core_v1_pod_template *)old)->metadata : NULL,
        .path = PATH(PATH_ROOT, "template"),
        .template = &t->template,
        .name_matters = false};
    warn_workload(ctx, &w);
}

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Containers", "string", "", "", 0},
    {"Images", "string", "", "", 0},
    {"Pod Labels", "string", "", "", 0},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct core_v1_pod_template *t = obj;
    cell_str(r, t->metadata.name);
    cell_containers(r, t->template.spec.containers, t->template.spec.containers_count);
    cell_images(r, t->template.spec.containers, t->template.spec.containers_count);
    cell_labels(r, t->template.metadata.labels, t->template.metadata.labels_count);
}

const struct kind_ops kind_podtemplates = {
    .group = "",
    .version = "v1",
    .resource = "podtemplates",
    .flags = KIND_GENERATION | KIND_RETURN_DELETED,
    .default_ = set_defaults,
    .prepare_update = prepare_update,
    .validate_create = validate_create,
    .validate_update = kind_validate_as_new,
    .warn = warn,
    .columns = columns,
    .row = row,
};
