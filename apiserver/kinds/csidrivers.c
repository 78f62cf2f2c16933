/* csidrivers.c - CSIDriver: what a storage driver needs and can do. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/defaults.h"
#include "apiserver/kinds/rules.h"
#include "apiserver/kinds/volume_sources.h"
#include "api/meta_v1.h"
#include "api/storage_v1.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    struct storage_v1_csi_driver_spec *s = &((struct storage_v1_csi_driver *)obj)->spec;
    default_opt_bool(&s->has_attach_required, &s->attach_required, true);
    default_opt_bool(&s->has_pod_info_on_mount, &s->pod_info_on_mount, false);
    default_opt_bool(&s->has_storage_capacity, &s->storage_capacity, false);
    default_opt_bool(&s->has_requires_republish, &s->requires_republish, false);
    default_opt_bool(&s->has_se_linux_mount, &s->se_linux_mount, false);
    default_opt_str(&s->has_fs_group_policy, &s->fs_group_policy, STR("ReadWriteOnceWithFSType"));
    if (s->volume_lifecycle_modes_count == 0) {
        s->volume_lifecycle_modes = ARENA_ARRAY(ctx->arena, struct str, 1);
        s->volume_lifecycle_modes[0] = STR("Persistent");
        s->volume_lifecycle_modes_count = 1;
    }
}

static void check_tokens(struct field_errors *errs, const struct field_path *path,
                         const struct storage_v1_csi_driver_spec *s)
{
    for (size_t i = 0; i < s->token_requests_count; i++) {
        const struct storage_v1_token_request *t = &s->token_requests[i];
        const struct field_path *at = PATH_INDEX(path, i);
        bool doubled = false;
        for (size_t j = 0; j < i; j++)
            doubled = doubled || str_eq(s->token_requests[j].audience, t->audience);
        if (doubled)
            field_duplicate(errs, PATH(at, "audience"), t->audience);
        if (doubled || !t->has_expiration_seconds)
            continue;
        if (t->expiration_seconds < 600)
            field_invalid_int(errs, PATH(at, "expirationSeconds"), t->expiration_seconds,
                              "may not specify a duration less than 10 minutes");
        if (t->expiration_seconds > (INT64_C(1) << 32))
            field_invalid_int(errs, PATH(at, "expirationSeconds"), t->expiration_seconds,
                              "may not specify a duration larger than 2^32 seconds");
    }
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    static const char *const policies[] = {"File", "None", "ReadWriteOnceWithFSType", NULL};
    static const char *const modes[] = {"Persistent", "Ephemeral", NULL};
    UNUSED(ctx);
    const struct storage_v1_csi_driver *d = obj;
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    if (d->spec.has_fs_group_policy)
        validate_listed(errs, PATH(spec, "fsGroupPolicy"), d->spec.fs_group_policy, policies);
    check_tokens(errs, PATH(spec, "tokenRequests"), &d->spec);
    for (size_t i = 0; i < d->spec.volume_lifecycle_modes_count; i++)
        validate_listed(errs, PATH(spec, "volumeLifecycleModes"), d->spec.volume_lifecycle_modes[i],
                        modes);
    if (d->spec.has_node_allocatable_update_period_seconds &&
        d->spec.node_allocatable_update_period_seconds < 10)
        field_invalid_int(errs, PATH(spec, "nodeAllocatableUpdatePeriodSeconds"),
                          d->spec.node_allocatable_update_period_seconds,
                          "must be greater than or equal to 10 seconds");
    if (d->spec.has_service_account_token_in_secrets && d->spec.token_requests_count == 0)
        field_invalid_bool(errs, PATH(spec, "serviceAccountTokenInSecrets"),
                           d->spec.service_account_token_in_secrets,
                           "serviceAccountTokenInSecrets is set but no tokenRequests are "
                           "specified");
}

/* The first generation is 0: only a changed spec counts. */
static void prepare_update(const struct kind_ctx *ctx, void *obj, const void *old)
{
    UNUSED(ctx);
    struct storage_v1_csi_driver *d = obj;
    const struct storage_v1_csi_driver *o = old;
    if (!api_msg_equal(&storage_v1_csi_driver_spec_msg, &d->spec, &o->spec))
        d->metadata.generation = o->metadata.generation + 1;
}

static void warn(const struct kind_ctx *ctx, const void *obj, const void *old)
{
    const struct storage_v1_csi_driver *d = obj, *o = old;
    const struct api_field *tokens =
        api_field_by_json(&storage_v1_csi_driver_spec_msg, STR("tokenRequests"));
    if (o != NULL && api_field_equal(tokens, &d->spec, &o->spec))
        return;
    if (d->spec.token_requests_count != 0 && !d->spec.has_service_account_token_in_secrets)
        kind_warn(ctx, "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI "
                       "driver, set to true to "
                       "prevent possible logging of tokens in volume attributes");
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    static const char *const modes[] = {"volumeLifecycleModes", NULL};
    const struct storage_v1_csi_driver *d = obj, *o = old;
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    validate_create(ctx, obj, errs);
    if (d->spec.attach_required != o->spec.attach_required)
        field_invalid_bool(errs, PATH(spec, "attachedRequired"), d->spec.attach_required,
                           "field is immutable");
    validate_immutable_members(errs, spec, &storage_v1_csi_driver_spec_msg, &d->spec, &o->spec,
                               modes);
}

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"AttachRequired", "boolean", "", "", 0},
    {"PodInfoOnMount", "boolean", "", "", 0},
    {"StorageCapacity", "boolean", "", "", 0},
    {"TokenRequests", "string", "", "Audiences of the tokens it gets.", 0},
    {"RequiresRepublish", "boolean", "", "", 0},
    {"Modes", "string", "", "", 0},
    {"Age", "string", "", "", 0},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct storage_v1_csi_driver *d = obj;
    AUTO_BUF audiences = BUF_INIT;
    for (size_t i = 0; i < d->spec.token_requests_count; i++)
        buf_printf(&audiences, "%s" STR_FMT, i == 0 ? "" : ",",
                   STR_ARG(d->spec.token_requests[i].audience));
    cell_str(r, d->metadata.name);
    cell_bool(r, d->spec.attach_required);
    cell_bool(r, d->spec.pod_info_on_mount);
    cell_bool(r, d->spec.storage_capacity);
    cell_str(r, d->spec.token_requests_count == 0 ? STR("<unset>")
                                                  : arena_str(row_arena(r), buf_str(&audiences)));
    cell_bool(r, d->spec.requires_republish);
    cell_join(r, d->spec.volume_lifecycle_modes, d->spec.volume_lifecycle_modes_count);
    cell_age(r, &d->metadata.creation_timestamp);
}

const struct kind_ops kind_csidrivers = {
    .group = "storage.k8s.io",
    .version = "v1",
    .resource = "csidrivers",
    .flags = KIND_RETURN_DELETED | KIND_NO_UNCONDITIONAL_UPDATE,
    .default_ = set_defaults,
    .prepare_update = prepare_update,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .warn = warn,
    .columns = columns,
    .row = row,
};
