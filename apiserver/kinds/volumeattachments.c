/* volumeattachments.c - VolumeAttachment: a volume that shall be at a node. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/rules.h"
#include "apiserver/kinds/volume_sources.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "api/storage_v1.h"
#include "lib/api/codec.h"

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    const struct storage_v1_volume_attachment_spec *s =
        &((const struct storage_v1_volume_attachment *)obj)->spec;
    const struct field_path *spec = PATH(PATH_ROOT, "spec"), *source = PATH(spec, "source");
    bool named = s->source.has_persistent_volume_name;
    check_csi_driver_name(errs, PATH(spec, "attacher"), s->attacher);
    if (!named && s->source.inline_volume_spec == NULL)
        field_required(errs, source,
                       "must specify exactly one of inlineVolumeSpec and persistentVolumeName");
    if (named && s->source.inline_volume_spec != NULL)
        field_forbidden(errs, source,
                        "must specify exactly one of inlineVolumeSpec and persistentVolumeName");
    if (named)
        require_form(errs, PATH(source, "persistentVolumeName"), s->source.persistent_volume_name,
                     api_check_dns_subdomain);
    require_form(errs, PATH(spec, "nodeName"), s->node_name, api_check_dns_subdomain);
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
    .flags = KIND_STATUS | KIND_RETURN_DELETED | KIND_NO_UNCONDITIONAL_UPDATE,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .columns = columns,
    .row = row,
};
