/* serviceaccounts.c - ServiceAccount: an identity for pods. */
#include "apiserver/kinds/kinds.h"

#include "api/core_v1.h"

#define MOUNTABLE "kubernetes.io/enforce-mountable-secrets"

static bool limits_secrets(const struct core_v1_service_account *s)
{
    return api_str_map_get(s->metadata.annotations, s->metadata.annotations_count,
                           STR(MOUNTABLE)) != NULL;
}

/* Of the secrets an account names, only the names count: they are of its namespace. */
static void keep_names(void *obj)
{
    struct core_v1_service_account *s = obj;
    for (size_t i = 0; i < s->secrets_count; i++)
        s->secrets[i] = (struct core_v1_object_reference){.name = s->secrets[i].name};
}

static void prepare_create(const struct kind_ctx *ctx, void *obj)
{
    UNUSED(ctx);
    keep_names(obj);
}

static void prepare_update(const struct kind_ctx *ctx, void *obj, const void *old)
{
    UNUSED(ctx);
    UNUSED(old);
    keep_names(obj);
}

static void warn(const struct kind_ctx *ctx, const void *obj, const void *old)
{
    if (limits_secrets(obj) && (old == NULL || !limits_secrets(old)))
        kind_warn_field(ctx,
                        PATH_KEY(PATH(PATH(PATH_ROOT, "metadata"), "annotations"), STR(MOUNTABLE)),
                        "deprecated in v1.32+; prefer separate namespaces to isolate access to "
                        "mounted secrets");
}

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Age", "string", "", "", 0},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct core_v1_service_account *s = obj;
    cell_str(r, s->metadata.name);
    cell_age(r, &s->metadata.creation_timestamp);
}

const struct kind_ops kind_serviceaccounts = {
    .group = "",
    .version = "v1",
    .resource = "serviceaccounts",
    .flags = KIND_RETURN_DELETED | KIND_CHECKED_AS_NEW,
    .prepare_create = prepare_create,
    .prepare_update = prepare_update,
    .warn = warn,
    .columns = columns,
    .row = row,
};
