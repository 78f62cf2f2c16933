/* volumeattachments.c - VolumeAttachment: a volume that shall be at a node. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/rules.h"
#include "apiserver/kinds/volume_sources.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "api/storage_v1.h"
#include "lib/api/codec.h"

#define METADATA_BYTES_MAX (256 * 1024)
#define MESSAGE_BYTES_MAX 1024

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    UNUSED(ctx);
    struct storage_v1_volume_attachment *v = obj;
    if (v->spec.source.inline_volume_spec != NULL)
        volume_source_defaults(&v->spec.source.inline_volume_spec->persistent_volume_source);
}

static void check_source(struct field_errors *errs, const struct field_path *path,
                         const struct storage_v1_volume_attachment_source *s)
{
    bool named = s->has_persistent_volume_name;
    if (!named && s->inline_volume_spec == NULL)
        field_required(errs, path,
                       "must specify exactly one of inlineVolumeSpec and persistentVolumeName");
    else if (named && s->inline_volume_spec != NULL)
        field_forbidden(errs, path,
                        "must specify exactly one of inlineVolumeSpec and persistentVolumeName");
    else if (named && str_empty(s->persistent_volume_name))
        field_required(errs, PATH(path, "persistentVolumeName"),
                       "must specify non empty persistentVolumeName");
    else if (!named)
        validate_inline_volume(errs, PATH(path, "inlineVolumeSpec"), s->inline_volume_spec);
}

static void check_error(struct field_errors *errs, const struct field_path *path,
                        const struct storage_v1_volume_error *e)
{
    if (e == NULL)
        return;
    if (e->message.len > MESSAGE_BYTES_MAX) /* Upstream names the other limit. */
        field_too_long(errs, PATH(path, "message"), METADATA_BYTES_MAX);
    if (e->has_error_code)
        validate_range(errs, PATH(path, "errorCode"), e->error_code, 0, INT32_MAX);
}

static void check_status(struct field_errors *errs,
                         const struct storage_v1_volume_attachment_status *s)
{
    const struct field_path *status = PATH(PATH_ROOT, "status");
    size_t bytes = 0;
    for (size_t i = 0; i < s->attachment_metadata_count; i++)
        bytes += s->attachment_metadata[i].key.len + s->attachment_metadata[i].value.len;
    if (bytes > METADATA_BYTES_MAX)
        field_too_long(errs, PATH(status, "attachmentMetadata"), METADATA_BYTES_MAX);
    check_error(errs, PATH(status, "attachError"), s->attach_error);
    check_error(errs, PATH(status, "detachError"), s->detach_error);
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    const struct storage_v1_volume_attachment *v = obj;
    const struct field_path *spec = PATH(PATH_ROOT, "spec"), *source = PATH(spec, "source");
    check_csi_driver_name(errs, PATH(spec, "attacher"), v->spec.attacher);
    check_source(errs, source, &v->spec.source);
    validate_form(errs, PATH(spec, "nodeName"), v->spec.node_name, api_check_dns_subdomain);
    check_status(errs, &v->status);
    if (v->spec.source.has_persistent_volume_name)
        validate_form(errs, PATH(source, "persistentVolumeName"),
                      v->spec.source.persistent_volume_name, api_check_dns_subdomain);
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    const struct storage_v1_volume_attachment *v = obj, *o = old;
    validate_create(ctx, obj, errs);
    if (!api_msg_equal(&storage_v1_volume_attachment_spec_msg, &v->spec, &o->spec))
        field_invalid_msg(errs, PATH(PATH_ROOT, "spec"), &storage_v1_volume_attachment_spec_msg,
                          &v->spec, "field is immutable");
}

static const struct kind_sub subs[] = {{.name = "status", .validate_update = validate_update}, {0}};

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Attacher", "string", "name", "Driver that does it.", 0},
    {"PV", "string", "", "", 0},
    {"Node", "string", "", "", 0},
    {"Attached", "boolean", "", "", 0},
    {"Age", "string", "", "", 0},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct storage_v1_volume_attachment *v = obj;
    cell_str(r, v->metadata.name);
    cell_str(r, v->spec.attacher);
    cell_str(r, v->spec.source.persistent_volume_name);
    cell_str(r, v->spec.node_name);
    cell_bool(r, v->status.attached);
    cell_age(r, &v->metadata.creation_timestamp);
}

const struct kind_ops kind_volumeattachments = {
    .group = "storage.k8s.io",
    .version = "v1",
    .resource = "volumeattachments",
    .flags = KIND_STATUS | KIND_STATUS_ALONE | KIND_RETURN_DELETED | KIND_NO_UNCONDITIONAL_UPDATE |
             KIND_CHECKED_AS_NEW,
    .default_ = set_defaults,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .subs = subs,
    .columns = columns,
    .row = row,
};
