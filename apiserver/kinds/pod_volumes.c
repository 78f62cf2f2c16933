/* pod_volumes.c - the volumes of a pod. Pure. */
#include "apiserver/kinds/pod_check.h"

#include "apiserver/kinds/signer_name.h"
#include "apiserver/kinds/volume_sources.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "api/resource.h"
#include "lib/api/codec.h"
#include "lib/api/quantity.h"
#include "lib/base/arena.h"

#define TOKEN_EXPIRATION_MIN_S (10 * 60)
#define CERTIFICATE_MIN_S 3600
#define CERTIFICATE_MAX_S (91 * 24 * 3600)
#define CERTIFICATE_KUBERNETES_MAX_S (24 * 3600)

/* --- files ---------------------------------------------------------------------------------- */

static void check_items(struct field_errors *errs, const struct field_path *path,
                        const struct core_v1_key_to_path *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct field_path *at = PATH_INDEX(path, i);
        check_given(errs, PATH(at, "key"), items[i].key);
        check_given(errs, PATH(at, "path"), items[i].path);
        validate_non_reserved_path(errs, PATH(at, "path"), items[i].path);
        if (items[i].has_mode)
            validate_file_mode(errs, PATH(at, "mode"), items[i].mode);
    }
}

/* Upstream reports all files of a volume at the list's own path. */
static void check_downward_file(struct field_errors *errs, const struct field_path *path,
                                const struct core_v1_downward_api_volume_file *f)
{
    static const char *const fields[] = {"metadata.annotations", "metadata.labels", "metadata.name",
                                         "metadata.namespace",   "metadata.uid",    NULL};
    check_given(errs, PATH(path, "path"), f->path);
    validate_non_reserved_path(errs, PATH(path, "path"), f->path);
    if (f->field_ref != NULL) {
        check_field_ref(errs, PATH(path, "fieldRef"), f->field_ref, fields);
        if (f->resource_field_ref != NULL)
            field_invalid(errs, path, STR("resource"),
                          "fieldRef and resourceFieldRef can not be specified simultaneously");
    } else if (f->resource_field_ref != NULL) {
        check_resource_field_ref(errs, PATH(path, "resourceFieldRef"), f->resource_field_ref, true);
    } else {
        field_required(errs, path, "one of fieldRef and resourceFieldRef is required");
    }
    if (f->has_mode)
        validate_file_mode(errs, PATH(path, "mode"), f->mode);
}

/* --- projected ------------------------------------------------------------------------------- */

/* Paths that the sources of one projected volume have taken. */
struct paths {
    struct arena *arena;
    struct str *items;
    size_t count, cap;
};

static void claim_path(struct paths *p, struct field_errors *errs, const struct field_path *at,
                       struct str shown, struct str path)
{
    if (str_empty(path))
        return;
    for (size_t i = 0; i < p->count; i++)
        if (str_eq(p->items[i], path)) {
            field_invalid(errs, at, shown, "conflicting duplicate paths");
            return;
        }
    p->items = arena_grow(p->arena, p->items, p->count, &p->cap, sizeof(*p->items));
    p->items[p->count++] = path;
}

static void check_projected_items(struct field_errors *errs, const struct field_path *volume,
                                  const struct field_path *path, struct str name,
                                  const struct core_v1_key_to_path *items, size_t count,
                                  struct paths *taken)
{
    check_given(errs, PATH(path, "name"), name);
    check_items(errs, PATH(path, "items"), items, count);
    for (size_t i = 0; i < count; i++)
        claim_path(taken, errs, volume, name, items[i].path);
}

static void check_token(struct field_errors *errs, const struct field_path *volume,
                        const struct field_path *path,
                        const struct core_v1_service_account_token_projection *t,
                        struct paths *taken)
{
    const struct field_path *expiration = PATH(path, "expirationSeconds");
    if (t->expiration_seconds < TOKEN_EXPIRATION_MIN_S)
        field_invalid_int(errs, expiration, t->expiration_seconds,
                          "may not specify a duration less than 10 minutes");
    if (t->expiration_seconds > (INT64_C(1) << 32))
        field_invalid_int(errs, expiration, t->expiration_seconds,
                          "may not specify a duration larger than 2^32 seconds");
    if (str_empty(t->path))
        field_required(errs, PATH(path, "path"), NULL);
    else
        validate_non_reserved_path(errs, PATH(path, "path"), t->path);
    claim_path(taken, errs, volume, t->path, t->path);
}

/* One of a signer tells the signer in its name. */
static void check_bundle_name(struct field_errors *errs, const struct field_path *path,
                              const struct core_v1_cluster_trust_bundle_projection *b)
{
    const struct field_path *at = PATH(path, "name");
    struct str signer = STR(""), domain, rest, tail = b->name;
    if (str_empty(b->name))
        field_required(errs, at, "must be a valid object name");
    if (str_cut(b->name, ':', &domain, &rest)) {
        while (str_find(tail, ':', 0) >= 0)
            tail = str_sub(tail, (size_t)str_find(tail, ':', 0) + 1, tail.len);
        size_t path_len = rest.len > tail.len ? rest.len - tail.len - 1 : 0;
        signer = arena_printf(errs->arena, STR_FMT "/" STR_FMT, STR_ARG(domain),
                              STR_ARG(str_sub(rest, 0, path_len)));
    }
    validate_trust_bundle_name(errs, at, b->name, signer, false);
    if (b->label_selector != NULL)
        field_invalid_msg(errs, PATH(path, "labelSelector"), &meta_v1_label_selector_msg,
                          b->label_selector, "labelSelector must be unset if name is specified");
}

static void check_trust_bundle(struct field_errors *errs, const struct field_path *volume,
                               const struct field_path *path,
                               const struct core_v1_cluster_trust_bundle_projection *b,
                               struct paths *taken)
{
    if (b->has_name && b->has_signer_name)
        field_invalid(errs, path, STR("<redacted>"), "only one of name and signerName may be used");
    else if (b->has_name)
        check_bundle_name(errs, path, b);
    else if (b->has_signer_name)
        validate_signer_name(errs, PATH(path, "signerName"), b->signer_name);
    else
        field_required(errs, path, "either name or signerName must be specified");
    validate_label_selector(errs, PATH(path, "labelSelector"), b->label_selector);
    if (str_empty(b->path))
        field_required(errs, PATH(path, "path"), NULL);
    else
        validate_non_reserved_path(errs, PATH(path, "path"), b->path);
    claim_path(taken, errs, volume, b->path, b->path);
}

static void check_certificate(struct field_errors *errs, const struct field_path *volume,
                              const struct field_path *path,
                              const struct core_v1_pod_certificate_projection *c,
                              struct paths *taken)
{
    static const char *const key_types[] = {"ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519",
                                            "RSA3072",   "RSA4096",   NULL};
    const struct {
        const char *name;
        struct str path;
    } files[] = {{"credentialBundlePath", c->credential_bundle_path},
                 {"keyPath", c->key_path},
                 {"certificateChainPath", c->certificate_chain_path}};
    validate_signer_name(errs, PATH(path, "signerName"), c->signer_name);
    validate_listed(errs, PATH(path, "keyType"), c->key_type, key_types);
    if (c->has_max_expiration_seconds)
        validate_range(errs, PATH(path, "maxExpirationSeconds"), c->max_expiration_seconds,
                       CERTIFICATE_MIN_S,
                       is_kubernetes_signer(c->signer_name) ? CERTIFICATE_KUBERNETES_MAX_S
                                                            : CERTIFICATE_MAX_S);
    for (size_t i = 0; i < c->user_annotations_count; i++)
        validate_domain_prefixed_key(errs, PATH(path, "userAnnotations"),
                                     c->user_annotations[i].key);
    bool any = false;
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        if (str_empty(files[i].path))
            continue;
        any = true;
        validate_non_reserved_path(errs, PATH(path, files[i].name), files[i].path);
        claim_path(taken, errs, volume, files[i].path, files[i].path);
    }
    if (!any)
        field_required(
            errs, path,
            "specify at least one of credentialBundlePath, keyPath, and certificateChainPath");
}

static void check_projection(struct field_errors *errs, const struct field_path *volume,
                             const struct field_path *at, const struct core_v1_volume_projection *s,
                             struct paths *taken)
{
    int given = 0;
#define ONE(member, name)                                                                          \
    (s->member != NULL &&                                                                          \
     (given++ == 0 ||                                                                              \
      (field_forbidden(errs, PATH(at, name), "may not specify more than 1 volume type"), false)))
    if (ONE(secret, "secret"))
        check_projected_items(errs, volume, PATH(at, "secret"),
                              s->secret->local_object_reference.name, s->secret->items,
                              s->secret->items_count, taken);
    if (ONE(config_map, "configMap"))
        check_projected_items(errs, volume, PATH(at, "configMap"),
                              s->config_map->local_object_reference.name, s->config_map->items,
                              s->config_map->items_count, taken);
    if (ONE(downward_api, "downwardAPI"))
        for (size_t i = 0; i < s->downward_api->items_count; i++) {
            check_downward_file(errs, PATH(at, "downwardAPI"), &s->downward_api->items[i]);
            claim_path(taken, errs, volume, s->downward_api->items[i].path,
                       s->downward_api->items[i].path);
        }
    if (ONE(service_account_token, "serviceAccountToken"))
        check_token(errs, volume, PATH(at, "serviceAccountToken"), s->service_account_token, taken);
    if (ONE(cluster_trust_bundle, "clusterTrustBundle"))
        check_trust_bundle(errs, volume, PATH(at, "clusterTrustBundle"), s->cluster_trust_bundle,
                           taken);
    if (ONE(pod_certificate, "podCertificate"))
        check_certificate(errs, volume, PATH(at, "podCertificate"), s->pod_certificate, taken);
#undef ONE
}

static void check_projected(struct field_errors *errs, const struct field_path *path,
                            const struct core_v1_projected_volume_source *p)
{
    struct paths taken = {.arena = errs->arena};
    if (p->has_default_mode)
        validate_file_mode(errs, PATH(path, "defaultMode"), p->default_mode);
    for (size_t i = 0; i < p->sources_count; i++)
        check_projection(errs, path, PATH_INDEX(PATH(path, "sources"), i), &p->sources[i], &taken);
}

/* --- sources with few rules ---------------------------------------------------------------------
 */

static void check_empty_dir(struct field_errors *errs, const struct field_path *path,
                            const struct core_v1_empty_dir_volume_source *e)
{
    if (e->size_limit == NULL)
        return;
    struct quantity q = quantity_of(e->size_limit);
    if (quantity_sign(&q) < 0)
        field_forbidden(errs, PATH(path, "sizeLimit"),
                        "SizeLimit field must be a valid resource quantity");
}

static void check_key_files(struct field_errors *errs, const struct field_path *path,
                            const char *name_field, struct str name, const int32_t *mode,
                            const struct core_v1_key_to_path *items, size_t count)
{
    check_given(errs, PATH(path, name_field), name);
    if (mode != NULL)
        validate_file_mode(errs, PATH(path, "defaultMode"), *mode);
    check_items(errs, PATH(path, "items"), items, count);
}

static void check_downward(struct field_errors *errs, const struct field_path *path,
                           const struct core_v1_downward_api_volume_source *d)
{
    if (d->has_default_mode)
        validate_file_mode(errs, PATH(path, "defaultMode"), d->default_mode);
    for (size_t i = 0; i < d->items_count; i++)
        check_downward_file(errs, path, &d->items[i]);
}

static void check_scale_io(struct field_errors *errs, const struct field_path *path,
                           const struct core_v1_scale_io_volume_source *s)
{
    check_given(errs, PATH(path, "gateway"), s->gateway);
    check_given(errs, PATH(path, "system"), s->system);
    check_given(errs, PATH(path, "volumeName"), s->volume_name);
}

static void check_storage_os(struct field_errors *errs, const struct field_path *path,
                             const struct core_v1_storage_os_volume_source *s)
{
    require_form(errs, PATH(path, "volumeName"), s->volume_name, api_check_dns_label);
    if (!str_empty(s->volume_namespace))
        validate_form(errs, PATH(path, "volumeNamespace"), s->volume_namespace,
                      api_check_dns_label);
    if (s->secret_ref != NULL)
        check_given(errs, PATH(PATH(path, "secretRef"), "name"), s->secret_ref->name);
}

static void check_claim_template(struct pod_check *k, const struct field_path *path,
                                 struct str volume, const struct core_v1_ephemeral_volume_source *e)
{
    const struct field_path *at = PATH(path, "volumeClaimTemplate");
    if (e->volume_claim_template == NULL) {
        field_required(k->errs, at, NULL);
        return;
    }
    const struct meta_v1_object_meta *m = &e->volume_claim_template->metadata;
    validate_annotations(k->errs, PATH(PATH(at, "metadata"), "annotations"), m->annotations,
                         m->annotations_count);
    validate_labels(k->errs, PATH(PATH(at, "metadata"), "labels"), m->labels, m->labels_count);
    validate_claim_spec(k->errs, PATH(at, "spec"), &e->volume_claim_template->spec);
    if (str_empty(k->pod_name) || str_empty(volume))
        return;
    struct str name =
        arena_printf(k->errs->arena, STR_FMT "-" STR_FMT, STR_ARG(k->pod_name), STR_ARG(volume));
    struct api_faults f = api_check_dns_subdomain(name);
    for (size_t i = 0; i < f.count; i++)
        field_invalid(k->errs, PATH(path->parent, "name"), volume, "PVC name \"" STR_FMT "\": %s",
                      STR_ARG(name), f.items[i]);
}

/* --- volumes -----------------------------------------------------------------------------------
 */

/* Upstream's order, and its names of fields in errors. */
static void check_source(struct pod_check *k, const struct field_path *at,
                         const struct core_v1_volume *v)
{
    const struct core_v1_volume_source *s = &v->volume_source;
    struct field_errors *errs = k->errs;
    const struct field_path *p;
    int given = 0;
#define ONE(member, name)                                                                          \
    (s->member != NULL &&                                                                          \
     (p = PATH(at, name),                                                                          \
      given++ == 0 ||                                                                              \
          (field_forbidden(errs, p, "may not specify more than 1 volume type"), false)))
    if (ONE(empty_dir, "emptyDir"))
        check_empty_dir(errs, p, s->empty_dir);
    if (ONE(host_path, "hostPath"))
        check_host_path_source(errs, p, s->host_path);
    if (ONE(git_repo, "gitRepo")) {
        check_given(errs, PATH(p, "repository"), s->git_repo->repository);
        validate_descending_path(errs, PATH(p, "directory"), s->git_repo->directory);
    }
    if (ONE(gce_persistent_disk, "gcePersistentDisk"))
        check_gce_source(errs, PATH(at, "persistentDisk"), s->gce_persistent_disk);
    if (ONE(aws_elastic_block_store, "awsElasticBlockStore"))
        check_aws_source(errs, p, s->aws_elastic_block_store);
    if (ONE(secret, "secret"))
        check_key_files(errs, p, "secretName", s->secret->secret_name,
                        s->secret->has_default_mode ? &s->secret->default_mode : NULL,
                        s->secret->items, s->secret->items_count);
    if (ONE(nfs, "nfs"))
        check_nfs_source(errs, p, s->nfs);
    if (ONE(iscsi, "iscsi")) {
        struct iscsi_view i = {.target_portal = s->iscsi->target_portal,
                               .iqn = s->iscsi->iqn,
                               .initiator_name = s->iscsi->initiator_name,
                               .lun = s->iscsi->lun,
                               .chap = s->iscsi->chap_auth_discovery || s->iscsi->chap_auth_session,
                               .has_secret = s->iscsi->secret_ref != NULL,
                               .has_initiator = s->iscsi->has_initiator_name};
        check_iscsi_source(errs, p, &i);
        if (i.has_initiator && v->name.len + 1 + i.target_portal.len > 64)
            field_invalid(
                errs, PATH(at, "name"), v->name,
                "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if "
                "iscsi.initiatorName is specified.");
    }
    if (ONE(glusterfs, "glusterfs")) {
        check_given(errs, PATH(p, "endpoints"), s->glusterfs->endpoints);
        check_given(errs, PATH(p, "path"), s->glusterfs->path);
    }
    if (ONE(flocker, "flocker"))
        check_flocker_source(errs, p, s->flocker);
    if (ONE(persistent_volume_claim, "persistentVolumeClaim"))
        check_given(errs, PATH(p, "claimName"), s->persistent_volume_claim->claim_name);
    if (ONE(rbd, "rbd")) {
        if (s->rbd->monitors_count == 0)
            field_required(errs, PATH(p, "monitors"), NULL);
        check_given(errs, PATH(p, "image"), s->rbd->image);
    }
    if (ONE(cinder, "cinder"))
        check_given(errs, PATH(p, "volumeID"), s->cinder->volume_id);
    if (ONE(cephfs, "cephFS") && s->cephfs->monitors_count == 0)
        field_required(errs, PATH(PATH(at, "cephfs"), "monitors"), NULL);
    if (ONE(quobyte, "quobyte"))
        check_quobyte_source(errs, p, s->quobyte);
    if (ONE(downward_api, "downwarAPI"))
        check_downward(errs, PATH(at, "downwardAPI"), s->downward_api);
    if (ONE(fc, "fc"))
        check_fc_source(errs, p, s->fc);
    if (ONE(flex_volume, "flexVolume"))
        check_flex_options(errs, p, s->flex_volume->driver, s->flex_volume->options,
                           s->flex_volume->options_count);
    if (ONE(config_map, "configMap"))
        check_key_files(errs, p, "name", s->config_map->local_object_reference.name,
                        s->config_map->has_default_mode ? &s->config_map->default_mode : NULL,
                        s->config_map->items, s->config_map->items_count);
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
    if (ONE(storageos, "storageos"))
        check_storage_os(errs, p, s->storageos);
    if (ONE(projected, "projected"))
        check_projected(errs, p, s->projected);
    if (ONE(scale_io, "scaleIO"))
        check_scale_io(errs, p, s->scale_io);
    if (ONE(csi, "csi")) {
        check_csi_driver_name(errs, PATH(p, "driver"), s->csi->driver);
        if (s->csi->node_publish_secret_ref != NULL)
            check_given(errs, PATH(PATH(p, "nodePublishSecretRef"), "name"),
                        s->csi->node_publish_secret_ref->name);
    }
    if (ONE(ephemeral, "ephemeral"))
        check_claim_template(k, p, v->name, s->ephemeral);
    if (ONE(image, "image")) {
        static const char *const policies[] = {"Always", "IfNotPresent", "Never", NULL};
        check_given(errs, PATH(p, "reference"), s->image->reference);
        require_listed(errs, PATH(p, "pullPolicy"), s->image->pull_policy, policies);
    }
#undef ONE
    if (given == 0)
        field_required(errs, at, "must specify a volume type");
}

const struct core_v1_volume *check_find_volume(const struct pod_check *k, struct str name)
{
    for (size_t i = 0; i < k->spec->volumes_count; i++)
        if (k->volume_good[i] && str_eq(k->spec->volumes[i].name, name))
            return &k->spec->volumes[i];
    return NULL;
}

/* A claim that an ephemeral volume of the pod will make cannot be another's. */
static void check_created_claim(struct pod_check *k, const struct field_path *at,
                                const struct core_v1_volume *v)
{
    const struct core_v1_persistent_volume_claim_volume_source *c =
        v->volume_source.persistent_volume_claim;
    for (size_t i = 0; c != NULL && !str_empty(k->pod_name) && i < k->spec->volumes_count; i++) {
        const struct core_v1_volume *e = &k->spec->volumes[i];
        struct str name = arena_printf(k->errs->arena, STR_FMT "-" STR_FMT, STR_ARG(k->pod_name),
                                       STR_ARG(e->name));
        if (e->volume_source.ephemeral == NULL || !str_eq(c->claim_name, name))
            continue;
        field_invalid(k->errs, PATH(PATH(at, "persistentVolumeClaim"), "claimName"), c->claim_name,
                      "must not reference a PVC that gets created for an ephemeral volume");
        return;
    }
}

void check_volumes(struct pod_check *k, const struct field_path *path)
{
    const struct core_v1_pod_spec *s = k->spec;
    k->volume_good = ARENA_ARRAY(k->errs->arena, bool, s->volumes_count + 1);
    for (size_t i = 0; i < s->volumes_count; i++) {
        const struct field_path *at = PATH_INDEX(path, i);
        size_t before = k->errs->count;
        check_source(k, at, &s->volumes[i]);
        require_form(k->errs, PATH(at, "name"), s->volumes[i].name, api_check_dns_label);
        if (check_find_volume(k, s->volumes[i].name) != NULL)
            field_duplicate(k->errs, PATH(at, "name"), s->volumes[i].name);
        k->volume_good[i] = k->errs->count == before;
        check_created_claim(k, at, &s->volumes[i]);
    }
}
