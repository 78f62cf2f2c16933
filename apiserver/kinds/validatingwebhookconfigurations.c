/* validatingwebhookconfigurations.c - ValidatingWebhookConfiguration: who is asked whether a write
 * is allowed. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/webhooks.h"
#include "api/admissionregistration_v1.h"
#include "api/meta_v1.h"
#include "lib/base/arena.h"

static struct webhook_view *
views(struct arena *a, const struct admissionregistration_v1_validating_webhook_configuration *c)
{
    struct webhook_view *v = ARENA_ARRAY(a, struct webhook_view, c->webhooks_count);
    for (size_t i = 0; i < c->webhooks_count; i++)
        v[i] = WEBHOOK_VIEW(&c->webhooks[i]);
    return v;
}

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    struct admissionregistration_v1_validating_webhook_configuration *c = obj;
    webhooks_defaults(ctx->arena, views(ctx->arena, c), c->webhooks_count);
}

/* The webhooks are what is wanted: their change counts. */
static void prepare_update(const struct kind_ctx *ctx, void *obj, const void *old)
{
    UNUSED(ctx);
    struct admissionregistration_v1_validating_webhook_configuration *c = obj;
    const struct admissionregistration_v1_validating_webhook_configuration *o = old;
    if (!webhooks_equal(&admissionregistration_v1_validating_webhook_msg, c->webhooks,
                        c->webhooks_count, o->webhooks, o->webhooks_count))
        c->metadata.generation++;
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    const struct admissionregistration_v1_validating_webhook_configuration *c = obj;
    webhooks_validate(errs, views(errs->arena, c), c->webhooks_count);
}

static void warn(const struct kind_ctx *ctx, const void *obj, const void *old)
{
    UNUSED(old);
    warn_static_name(
        ctx,
        &((const struct admissionregistration_v1_validating_webhook_configuration *)obj)->metadata);
}

static void row(struct table_row *r, const void *obj)
{
    const struct admissionregistration_v1_validating_webhook_configuration *c = obj;
    webhooks_row(r, &c->metadata, c->webhooks_count);
}

const struct kind_ops kind_validatingwebhookconfigurations = {
    .group = "admissionregistration.k8s.io",
    .version = "v1",
    .resource = "validatingwebhookconfigurations",
    .flags = KIND_GENERATION | KIND_NO_UNCONDITIONAL_UPDATE,
    .default_ = set_defaults,
    .prepare_update = prepare_update,
    .validate_create = validate_create,
    .validate_update = kind_validate_as_new,
    .warn = warn,
    .columns = webhooks_columns,
    .row = row,
};
