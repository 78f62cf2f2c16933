/* persistentvolumes.c - PersistentVolume: storage that outlives pods. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/defaults.h"
#include "apiserver/kinds/finalizers.h"
#include "apiserver/kinds/node_labels.h"
#include "apiserver/kinds/node_selector.h"
#include "apiserver/kinds/pod_warnings.h"
#include "apiserver/kinds/rules.h"
#include "apiserver/kinds/storage_text.h"
#include "apiserver/kinds/value_diff.h"
#include "apiserver/kinds/volume_sources.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "api/resource.h"
#include "lib/api/codec.h"
#include "lib/api/quantity.h"
#include "lib/base/arena.h"

#define PROTECTION "kubernetes.io/pv-protection"

void volume_source_defaults(struct core_v1_persistent_volume_source *s)
{
    if (s->host_path != NULL)
        s->host_path->has_type = true;
    if (s->iscsi != NULL)
        default_str(&s->iscsi->iscsi_interface, STR("default"));
    if (s->rbd != NULL) {
        default_str(&s->rbd->pool, STR("rbd"));
        default_str(&s->rbd->user, STR("admin"));
        default_str(&s->rbd->keyring, STR("/etc/ceph/keyring"));
    }
    if (s->scale_io != NULL) {
        default_str(&s->scale_io->storage_mode, STR("ThinProvisioned"));
        default_str(&s->scale_io->fs_type, STR("xfs"));
    }
}

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    UNUSED(ctx);
    struct core_v1_persistent_volume *v = obj;
    default_str(&v->status.phase, STR("Pending"));
    default_str(&v->spec.persistent_volume_reclaim_policy, STR("Retain"));
    default_opt_str(&v->spec.has_volume_mode, &v->spec.volume_mode, STR("Filesystem"));
    volume_source_defaults(&v->spec.persistent_volume_source);
}

static void prepare_create(const struct kind_ctx *ctx, void *obj)
{
    struct core_v1_persistent_volume *v = obj;
    struct meta_v1_time now = {.seconds = ctx->now_ns / 1000000000};
    v->status = (struct core_v1_persistent_volume_status){.phase = STR("Pending")};
    v->status.last_phase_transition_time = arena_memdup(ctx->arena, &now, sizeof(now));
    finalizer_add(ctx->arena, &v->metadata, STR(PROTECTION));
}

static void prepare_status(const struct kind_ctx *ctx, void *obj, const void *old)
{
    struct core_v1_persistent_volume *v = obj;
    const struct core_v1_persistent_volume *o = old;
    v->spec = o->spec;
    if (str_eq(v->status.phase, o->status.phase)) {
        if (v->status.last_phase_transition_time == NULL)
            v->status.last_phase_transition_time = o->status.last_phase_transition_time;
        return;
    }
    struct meta_v1_time now = {.seconds = ctx->now_ns / 1000000000};
    const struct meta_v1_time *given = v->status.last_phase_transition_time,
                              *had = o->status.last_phase_transition_time;
    if (given == NULL || (had != NULL && given->seconds == had->seconds))
        v->status.last_phase_transition_time = arena_memdup(ctx->arena, &now, sizeof(now));
}

/* --- validation ------------------------------------------------------------------------------- */

static void check_secret(struct field_errors *errs, const struct field_path *path,
                         const struct core_v1_secret_reference *s)
{
    if (s == NULL)
        return;
    require_form(errs, PATH(path, "name"), s->name, api_check_dns_subdomain);
    require_form(errs, PATH(path, "namespace"), s->namespace, api_check_dns_label);
}

static void check_csi(struct field_errors *errs, const struct field_path *p,
                      const struct core_v1_csi_persistent_volume_source *s)
{
    check_csi_driver_name(errs, PATH(p, "driver"), s->driver);
    check_given(errs, PATH(p, "volumeHandle"), s->volume_handle);
    check_secret(errs, PATH(p, "controllerPublishSecretRef"), s->controller_publish_secret_ref);
    check_secret(errs, PATH(p, "controllerExpandSecretRef"), s->controller_expand_secret_ref);
    check_secret(errs, PATH(p, "nodePublishSecretRef"), s->node_publish_secret_ref);
    check_secret(errs, PATH(p, "nodeExpandSecretRef"), s->node_expand_secret_ref);
}

static void check_monitors(struct field_errors *errs, const struct field_path *p, size_t count)
{
    if (count == 0)
        field_required(errs, PATH(p, "monitors"), NULL);
}

static void check_iscsi(struct field_errors *errs, const struct field_path *p, struct str volume,
                        const struct core_v1_iscsi_persistent_volume_source *s)
{
    struct iscsi_view i = {.target_portal = s->target_portal,
                           .iqn = s->iqn,
                           .initiator_name = s->initiator_name,
                           .lun = s->lun,
                           .chap = s->chap_auth_discovery || s->chap_auth_session,
                           .has_secret = s->secret_ref != NULL,
                           .has_initiator = s->has_initiator_name};
    check_iscsi_source(errs, p, &i);
    if (i.has_initiator && volume.len + 1 + i.target_portal.len > 64)
        field_invalid(
            errs, PATH(PATH(PATH_ROOT, "metadata"), "name"), volume,
            "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if "
            "iscsi.initiatorName is specified.");
}

/* Upstream's order. */
static void check_source(struct field_errors *errs, const struct field_path *spec,
                         const struct core_v1_persistent_volume_spec *volume, struct str name)
{
    const struct core_v1_persistent_volume_source *s = &volume->persistent_volume_source;
    const struct field_path *p;
    int given = 0;
#define ONE(member, name)                                                                          \
    (s->member != NULL &&                                                                          \
     (p = PATH(spec, name),                                                                        \
      given++ == 0 ||                                                                              \
          (field_forbidden(errs, p, "may not specify more than 1 volume type"), false)))
    if (ONE(host_path, "hostPath"))
        check_host_path_source(errs, p, s->host_path);
    if (ONE(gce_persistent_disk, "gcePersistentDisk"))
        check_gce_source(errs, PATH(spec, "persistentDisk"), s->gce_persistent_disk);
    if (ONE(aws_elastic_block_store, "awsElasticBlockStore"))
        check_aws_source(errs, p, s->aws_elastic_block_store);
    if (ONE(glusterfs, "glusterfs")) {
        check_given(errs, PATH(p, "endpoints"), s->glusterfs->endpoints);
        check_given(errs, PATH(p, "path"), s->glusterfs->path);
    }
    if (ONE(flocker, "flocker"))
        check_flocker_source(errs, p, s->flocker);
    if (ONE(nfs, "nfs"))
        check_nfs_source(errs, p, s->nfs);
    if (ONE(rbd, "rbd")) {
        check_monitors(errs, p, s->rbd->monitors_count);
        check_given(errs, PATH(p, "image"), s->rbd->image);
    }
    if (ONE(quobyte, "quobyte"))
        check_quobyte_source(errs, p, s->quobyte);
    if (ONE(cephfs, "cephFS"))
        check_monitors(errs, PATH(spec, "cephfs"), s->cephfs->monitors_count);
    if (ONE(iscsi, "iscsi"))
        check_iscsi(errs, p, name, s->iscsi);
    if (ONE(cinder, "cinder"))
        check_given(errs, PATH(p, "volumeID"), s->cinder->volume_id);
    if (ONE(fc, "fc"))
        check_fc_source(errs, p, s->fc);
    if (s->flex_volume != NULL) { /* Upstream lets this one stand beside another. */
        given++;
        check_flex_options(errs, PATH(spec, "flexVolume"), s->flex_volume->driver,
                           s->flex_volume->options, s->flex_volume->options_count);
    }
    if (ONE(azure_file, "azureFile")) {
        check_given(errs, PATH(p, "secretName"), s->azure_file->secret_name);
        check_given(errs, PATH(p, "shareName"), s->azure_file->share_name);
    }
    if (ONE(vsphere_volume, "vsphereVolume"))
        check_given(errs, PATH(p, "volumePath"), s->vsphere_volume->volume_path);
    if (ONE(photon_persistent_disk, "photonPersistentDisk"))
        check_given(errs, PATH(p, "pdID"), s->photon_persistent_disk->pd_id);
    if (ONE(portworx_volume, "portworxVolume"))
        check_given(errs, PATH(p, "volumeID"), s->portworx_volume->volume_id);
    if (ONE(azure_disk, "azureDisk"))
        check_azure_disk_source(errs, p, s->azure_disk);
    if (ONE(scale_io, "scaleIO")) {
        check_given(errs, PATH(p, "gateway"), s->scale_io->gateway);
        check_given(errs, PATH(p, "system"), s->scale_io->system);
        check_given(errs, PATH(p, "volumeName"), s->scale_io->volume_name);
    }
    if (ONE(local, "local")) {
        check_given(errs, PATH(p, "path"), s->local->path);
        validate_no_backsteps(errs, PATH(p, "path"), s->local->path);
        if (volume->node_affinity == NULL)
            field_required(errs, PATH(spec, "nodeAffinity"), "Local volume requires node affinity");
    }
    if (ONE(storageos, "storageos"))
        require_form(errs, PATH(p, "volumeName"), s->storageos->volume_name, api_check_dns_label);
    if (ONE(csi, "csi"))
        check_csi(errs, p, s->csi);
#undef ONE
    if (given == 0)
        field_required(errs, spec, "must specify a volume type");
}

static void check_capacity(struct field_errors *errs, const struct field_path *path,
                           const struct core_v1_persistent_volume_spec *s)
{
    static const char *const storage[] = {"storage", NULL};
    if (s->capacity_count == 0)
        field_required(errs, path, NULL);
    if (s->capacity_count != 1 || !str_eqc(s->capacity[0].key, "storage"))
        field_not_supported_raw(
            errs, path,
            field_member_render(errs->arena, &core_v1_persistent_volume_spec_msg, s, "capacity"),
            storage);
    for (size_t i = 0; i < s->capacity_count; i++) {
        const struct field_path *at = PATH_KEY(path, s->capacity[i].key);
        struct quantity q = quantity_of(&s->capacity[i].value);
        if (quantity_sign(&q) < 0)
            field_invalid_int(errs, at, quantity_value(&q), "must be a valid resource quantity");
        validate_positive_quantity(errs, at, &s->capacity[i].value);
    }
}

static void check_access_modes(struct field_errors *errs, const struct field_path *list,
                               const struct core_v1_persistent_volume_spec *s)
{
    static const char *const modes[] = {"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce",
                                        "ReadWriteOncePod", NULL};
    bool once_pod = false, others = false;
    if (s->access_modes_count == 0)
        field_required(errs, list, NULL);
    for (size_t i = 0; i < s->access_modes_count; i++) {
        validate_listed(errs, list, s->access_modes[i], modes);
        bool once = str_eqc(s->access_modes[i], "ReadWriteOncePod");
        once_pod = once_pod || once;
        others = others || (!once && is_listed(s->access_modes[i], modes));
    }
    if (once_pod && others)
        field_forbidden(errs, list, "may not use ReadWriteOncePod with other access modes");
}

#define NOT_INLINE "may not be specified in the context of inline volumes"

void validate_inline_volume(struct field_errors *errs, const struct field_path *spec,
                            const struct core_v1_persistent_volume_spec *s)
{
    if (s->claim_ref != NULL)
        field_forbidden(errs, PATH(spec, "claimRef"), NOT_INLINE);
    if (s->capacity_count != 0)
        field_forbidden(errs, PATH(spec, "capacity"), NOT_INLINE);
    if (s->persistent_volume_source.csi == NULL)
        field_required(errs, PATH(spec, "csi"),
                       "has to be specified in the context of inline volumes");
    check_access_modes(errs, PATH(spec, "accessModes"), s);
    if (!str_empty(s->persistent_volume_reclaim_policy) &&
        !str_eqc(s->persistent_volume_reclaim_policy, "Retain"))
        field_forbidden(errs, PATH(spec, "persistentVolumeReclaimPolicy"),
                        "may only be Retain in the context of inline volumes");
    if (s->node_affinity != NULL)
        field_forbidden(errs, PATH(spec, "nodeAffinity"), NOT_INLINE);
    check_source(errs, spec, s, STR_NULL);
    if (!str_empty(s->storage_class_name))
        field_forbidden(errs, PATH(spec, "storageClassName"), NOT_INLINE);
    if (s->has_volume_mode && !str_eqc(s->volume_mode, "Filesystem"))
        field_forbidden(errs, PATH(spec, "volumeMode"),
                        "may not specify volumeMode other than Filesystem in the context of inline "
                        "volumes");
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    static const char *const policies[] = {"Delete", "Recycle", "Retain", NULL};
    static const char *const volume_modes[] = {"Block", "Filesystem", NULL};
    UNUSED(ctx);
    const struct core_v1_persistent_volume *v = obj;
    const struct core_v1_persistent_volume_spec *s = &v->spec;
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    check_access_modes(errs, PATH(spec, "accessModes"), s);
    check_capacity(errs, PATH(spec, "capacity"), s);
    if (!str_empty(s->persistent_volume_reclaim_policy))
        validate_listed(errs, PATH(spec, "persistentVolumeReclaimPolicy"),
                        s->persistent_volume_reclaim_policy, policies);
    if (s->node_affinity != NULL) {
        const struct field_path *required = PATH(PATH(spec, "nodeAffinity"), "required");
        if (s->node_affinity->required == NULL)
            field_required(errs, required, "must specify required node constraints");
        else
            validate_node_selector(errs, required, s->node_affinity->required);
    }
    check_source(errs, spec, s, v->metadata.name);
    bool recycles = str_eqc(s->persistent_volume_reclaim_policy, "Recycle");
    if (recycles && s->persistent_volume_source.host_path != NULL &&
        str_eqc(s->persistent_volume_source.host_path->path, "/"))
        field_forbidden(errs, PATH(spec, "persistentVolumeReclaimPolicy"),
                        "may not be 'recycle' for a hostPath mount of '/'");
    if (!str_empty(s->storage_class_name))
        validate_form(errs, PATH(spec, "storageClassName"), s->storage_class_name,
                      api_check_dns_subdomain);
    if (s->has_volume_mode)
        validate_listed(errs, PATH(spec, "volumeMode"), s->volume_mode, volume_modes);
    if (!s->has_volume_attributes_class_name)
        return;
    if (str_empty(s->volume_attributes_class_name))
        field_required(errs, PATH(spec, "volumeAttributesClassName"),
                       "an empty string is disallowed");
    else
        validate_form(errs, PATH(spec, "volumeAttributesClassName"),
                      s->volume_attributes_class_name, api_check_dns_subdomain);
    if (s->persistent_volume_source.csi == NULL)
        field_required(errs, PATH(spec, "csi"),
                       "has to be specified when using volumeAttributesClassName");
}

static void warn(const struct kind_ctx *ctx, const void *obj, const void *old)
{
    UNUSED(old);
    const struct core_v1_persistent_volume *v = obj;
    const struct core_v1_persistent_volume_spec *s = &v->spec;
    const struct core_v1_persistent_volume_source *source = &s->persistent_volume_source;
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    warn_storage_class_annotation(ctx, &v->metadata);
    if (str_eqc(s->persistent_volume_reclaim_policy, "Recycle"))
        kind_warn_field(ctx, PATH(spec, "persistentVolumeReclaimPolicy"),
                        "The Recycle reclaim policy is deprecated. Instead, the recommended "
                        "approach is to use dynamic provisioning.");
    const struct core_v1_node_selector *n =
        s->node_affinity != NULL ? s->node_affinity->required : NULL;
    for (size_t i = 0; n != NULL && i < n->node_selector_terms_count; i++)
        warn_node_selector_term(
            ctx,
            PATH_INDEX(PATH(PATH(PATH(spec, "nodeAffinity"), "required"), "nodeSelectorTerms"), i),
            &n->node_selector_terms[i], true);
    const struct {
        bool given;
        const char *name, *why;
    } past[] = {
        {source->cephfs != NULL, "cephfs", "deprecated in v1.28, non-functional in v1.31+"},
        {source->photon_persistent_disk != NULL, "photonPersistentDisk",
         "deprecated in v1.11, non-functional in v1.16+"},
        {source->scale_io != NULL, "scaleIO", "deprecated in v1.16, non-functional in v1.22+"},
        {source->storageos != NULL, "storageOS", "deprecated in v1.22, non-functional in v1.25+"},
        {source->glusterfs != NULL, "glusterfs", "deprecated in v1.25, non-functional in v1.26+"},
        {source->rbd != NULL, "rbd", "deprecated in v1.28, non-functional in v1.31+"}};
    for (size_t i = 0; i < ARRAY_SIZE(past); i++)
        if (past[i].given)
            kind_warn_field(ctx, PATH(spec, past[i].name), "%s", past[i].why);
}

/* Labels of nodes that got other names when they were finished. */
static void rename_beta(struct core_v1_node_selector *s)
{
    static const struct {
        const char *beta;
        struct str now;
    } names[] = {
        {"failure-domain.beta.kubernetes.io/zone", {"topology.kubernetes.io/zone", 27}},
        {"failure-domain.beta.kubernetes.io/region", {"topology.kubernetes.io/region", 29}},
        {"beta.kubernetes.io/os", {"kubernetes.io/os", 16}},
        {"beta.kubernetes.io/arch", {"kubernetes.io/arch", 18}},
        {"beta.kubernetes.io/instance-type", {"node.kubernetes.io/instance-type", 32}}};
    for (size_t t = 0; s != NULL && t < s->node_selector_terms_count; t++)
        for (size_t i = 0; i < s->node_selector_terms[t].match_expressions_count; i++)
            for (size_t k = 0; k < ARRAY_SIZE(names); k++)
                if (str_eqc(s->node_selector_terms[t].match_expressions[i].key, names[k].beta))
                    s->node_selector_terms[t].match_expressions[i].key = names[k].now;
}

static bool same_affinity(struct arena *a, const struct core_v1_volume_node_affinity *now,
                          const struct core_v1_volume_node_affinity *old)
{
    const struct api_msg *m = &core_v1_volume_node_affinity_msg;
    if (now == NULL || api_msg_equal(m, now, old))
        return now != NULL;
    struct core_v1_volume_node_affinity *renamed = api_msg_clone(a, m, old);
    rename_beta(renamed->required);
    return api_msg_equal(m, now, renamed);
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    const struct core_v1_persistent_volume *v = obj, *o = old;
    struct core_v1_persistent_volume_source now = v->spec.persistent_volume_source;
    const struct core_v1_csi_persistent_volume_source *was = o->spec.persistent_volume_source.csi;
    struct core_v1_csi_persistent_volume_source csi;
    validate_create(ctx, obj, errs);
    if (now.csi != NULL && was != NULL && was->controller_expand_secret_ref == NULL) {
        /* This one may come later. */
        csi = *now.csi;
        csi.controller_expand_secret_ref = NULL;
        now.csi = &csi;
    }
    if (!api_msg_equal(&core_v1_persistent_volume_source_msg, &now,
                       &o->spec.persistent_volume_source))
        field_forbidden(errs, PATH(PATH(PATH_ROOT, "spec"), "persistentvolumesource"),
                        "spec.persistentvolumesource is immutable after creation" STR_FMT,
                        STR_ARG(value_diff(ctx->arena, &core_v1_persistent_volume_source_msg,
                                           &o->spec.persistent_volume_source, &now)));
    validate_immutable_str(errs, PATH(PATH_ROOT, "volumeMode"), v->spec.volume_mode,
                           o->spec.volume_mode);
    if (o->spec.node_affinity != NULL &&
        !same_affinity(ctx->arena, v->spec.node_affinity, o->spec.node_affinity))
        field_invalid_msg(errs, PATH(PATH_ROOT, "nodeAffinity"), &core_v1_volume_node_affinity_msg,
                          v->spec.node_affinity,
                          "field is immutable, except for updating from beta label to GA");
    if (o->spec.has_volume_attributes_class_name && !v->spec.has_volume_attributes_class_name)
        field_forbidden(errs, PATH(PATH(PATH_ROOT, "spec"), "volumeAttributesClassName"),
                        "update from non-nil value to nil is forbidden");
}

static const struct kind_sub subs[] = {{"status", prepare_status, NULL}, {0}};

/* --- table --------------------------------------------------------------------------------------
 */

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Capacity", "string", "", "", 0},
    {"Access Modes", "string", "", "", 0},
    {"Reclaim Policy", "string", "", "What becomes of it without its claim.", 0},
    {"Status", "string", "", "", 0},
    {"Claim", "string", "", "Whose it is.", 0},
    {"StorageClass", "string", "", "", 0},
    {"VolumeAttributesClass", "string", "", "", 0},
    {"Reason", "string", "", "", 0},
    {"Age", "string", "", "", 0},
    {"VolumeMode", "string", "", "", 1},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct core_v1_persistent_volume *v = obj;
    const struct core_v1_object_reference *c = v->spec.claim_ref;
    cell_str(r, v->metadata.name);
    cell_storage(r, v->spec.capacity, v->spec.capacity_count);
    cell_access_modes(r, v->spec.access_modes, v->spec.access_modes_count);
    cell_str(r, v->spec.persistent_volume_reclaim_policy);
    cell_str(r, v->metadata.deletion_timestamp != NULL ? STR("Terminating") : v->status.phase);
    if (c == NULL)
        cell_strc(r, "");
    else
        cell_printf(r, STR_FMT "/" STR_FMT, STR_ARG(c->namespace), STR_ARG(c->name));
    cell_str(r, v->spec.storage_class_name);
    cell_str(r, v->spec.has_volume_attributes_class_name ? v->spec.volume_attributes_class_name
                                                         : STR("<unset>"));
    cell_str(r, v->status.reason);
    cell_age(r, &v->metadata.creation_timestamp);
    cell_str(r, v->spec.has_volume_mode ? v->spec.volume_mode : STR("<unset>"));
}

const struct kind_ops kind_persistentvolumes = {
    .group = "",
    .version = "v1",
    .resource = "persistentvolumes",
    .flags = KIND_STATUS | KIND_RETURN_DELETED | KIND_CHECKED_AS_NEW,
    .default_ = set_defaults,
    .prepare_create = prepare_create,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .warn = warn,
    .subs = subs,
    .columns = columns,
    .row = row,
};
