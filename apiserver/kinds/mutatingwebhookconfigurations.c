/* mutatingwebhookconfigurations.c - MutatingWebhookConfiguration: who may change what is written.
 */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/webhooks.h"
#include "api/admissionregistration_v1.h"
#include "api/meta_v1.h"
#include "lib/api/codec.h"

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    struct admissionregistration_v1_mutating_webhook_configuration *c = obj;
    for (size_t i = 0; i < c->webhooks_count; i++) {
        struct webhook_view w = WEBHOOK_VIEW(&c->webhooks[i]);
        webhook_defaults(ctx->arena, &w);
        if (!c->webhooks[i].has_reinvocation_policy) {
            c->webhooks[i].has_reinvocation_policy = true;
            c->webhooks[i].reinvocation_policy = STR("Never");
        }
    }
}

/* The webhooks are what is wanted: their change counts. */
static void prepare_update(const struct kind_ctx *ctx, void *obj, const void *old)
{
    UNUSED(ctx);
    struct admissionregistration_v1_mutating_webhook_configuration *c = obj;
    const struct admissionregistration_v1_mutating_webhook_configuration *o = old;
    bool same = c->webhooks_count == o->webhooks_count;
    for (size_t i = 0; same && i < c->webhooks_count; i++)
        same = api_msg_equal(&admissionregistration_v1_mutating_webhook_msg, &c->webhooks[i],
                             &o->webhooks[i]);
    if (!same)
        c->metadata.generation++;
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    const struct admissionregistration_v1_mutating_webhook_configuration *c = obj;
    for (size_t i = 0; i < c->webhooks_count; i++) {
        const struct field_path *at = PATH_INDEX(PATH(PATH_ROOT, "webhooks"), i);
        struct webhook_view w = WEBHOOK_VIEW(&c->webhooks[i]);
        webhook_validate(errs, at, &w);
        if (c->webhooks[i].has_reinvocation_policy) {
            static const char *const policies[] = {"IfNeeded", "Never", NULL};
            validate_listed(errs, PATH(at, "reinvocationPolicy"),
                            c->webhooks[i].reinvocation_policy, policies);
        }
        for (size_t j = 0; j < i; j++)
            if (!str_empty(w.name) && str_eq(c->webhooks[j].name, w.name)) {
                field_duplicate(errs, PATH(at, "name"), w.name);
                break;
            }
    }
}

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Webhooks", "integer", "", "How many there are.", 0},
    {"Age", "string", "", "", 0},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct admissionregistration_v1_mutating_webhook_configuration *c = obj;
    cell_str(r, c->metadata.name);
    cell_int(r, (int64_t)c->webhooks_count);
    cell_age(r, &c->metadata.creation_timestamp);
}

const struct kind_ops kind_mutatingwebhookconfigurations = {
    .group = "admissionregistration.k8s.io",
    .version = "v1",
    .resource = "mutatingwebhookconfigurations",
    .flags = KIND_GENERATION,
    .default_ = set_defaults,
    .prepare_update = prepare_update,
    .validate_create = validate_create,
    .validate_update = kind_validate_as_new,
    .columns = columns,
    .row = row,
};
