/* volumes.c - the pure half of volumes.h: from spec and sources to a plan. */
#include "kubelet/volumes.h"

#include "kubelet/image_volume.h"

#include "kubelet/csi.h"
#include "kubelet/pod_sources.h"
#include "kubelet/selinux.h"
#include "kubelet/volume_payload.h"

#include "lib/api/quantity.h"
#include "lib/base/arena.h"

#include "api/core_v1.h"
#include "lib/api/scheme.h"
#include "lib/client/claims.h"

#define FILE_MODE_DEFAULT 0644

const char *pod_dir(struct arena *a, const char *root_dir, const char *uid)
{
    return str_c(arena_printf(a, "%s/pods/%s", root_dir, uid));
}

const char *pod_log_dir(struct arena *a, const char *logs_dir, const char *namespace_name,
                        const char *name, const char *uid)
{
    return str_c(arena_printf(a, "%s/%s_%s_%s", logs_dir, namespace_name, name, uid));
}

/* The one size of huge pages that the pod's containers ask for; 0: none, -1: several. */
static int64_t only_page_size(const struct core_v1_pod_spec *spec)
{
    int64_t found = 0;
    for (size_t i = 0; i < spec->containers_count + spec->init_containers_count; i++) {
        const struct core_v1_container *c =
            i < spec->containers_count ? &spec->containers[i]
                                       : &spec->init_containers[i - spec->containers_count];
        for (size_t k = 0; k < c->resources.requests_count; k++) {
            struct str name = c->resources.requests[k].key;
            struct quantity q;
            if (!str_has_prefix(name, STR("hugepages-")) ||
                quantity_parse(str_sub(name, strlen("hugepages-"), name.len), &q, NULL) != 0)
                continue;
            if (found != 0 && found != quantity_value(&q))
                return -1;
            found = quantity_value(&q);
        }
    }
    return found;
}

static int plan_huge_pages(struct volume *v, const struct core_v1_pod_spec *spec, struct str medium,
                           struct error *err)
{
    struct quantity q;
    v->hugepage_bytes = only_page_size(spec);
    if (str_eqc(medium, "HugePages")) {
        if (v->hugepage_bytes < 0)
            return error_set(err, E_INVALID,
                             "medium HugePages: the pod asks for huge pages of several sizes: say "
                             "which, as in HugePages-2Mi");
        if (v->hugepage_bytes == 0)
            return error_set(err, E_INVALID,
                             "medium HugePages: no container of the pod requests huge pages");
        return 0;
    }
    struct str size = str_sub(medium, strlen("HugePages-"), medium.len);
    if (quantity_parse(size, &q, NULL) != 0 || quantity_value(&q) <= 0)
        return error_set(err, E_INVALID, "medium " STR_FMT ": its size is no amount such as 2Mi",
                         STR_ARG(medium));
    v->hugepage_bytes = quantity_value(&q);
    return 0;
}

static int plan_empty_dir(struct volume_set *s, struct volume *v,
                          const struct core_v1_pod_spec *spec,
                          const struct core_v1_empty_dir_volume_source *e, struct error *err)
{
    v->kind = VOLUME_EMPTY_DIR;
    v->path =
        str_c(arena_printf(s->arena, "%s/volumes/kubernetes.io~empty-dir/%s", s->pod_dir, v->name));
    v->tmpfs = str_eqc(e->medium, "Memory");
    if (v->tmpfs && e->size_limit != NULL) {
        struct quantity q = quantity_of(e->size_limit);
        v->tmpfs_bytes = quantity_value(&q);
    }
    if (str_eqc(e->medium, "HugePages") || str_has_prefix(e->medium, STR("HugePages-")))
        return plan_huge_pages(v, spec, e->medium, err);
    return 0;
}

/* Whether the volume's type is mounted here: else why not. */
static int check_persistent(const struct core_v1_persistent_volume *pv, struct error *err)
{
    const struct core_v1_persistent_volume_source *src = &pv->spec.persistent_volume_source;
    if (volume_is_block(pv) && src->local == NULL && src->csi == NULL)
        return error_set(err, E_NOT_IMPLEMENTED,
                         "no volume plugin matched: this node has raw block volumes of type local "
                         "and csi");
    if (src->local == NULL && src->host_path == NULL && src->csi == NULL)
        return error_set(err, E_NOT_IMPLEMENTED,
                         "no volume plugin matched: this node mounts persistent volumes of type "
                         "local, hostPath and csi");
    return 0;
}

static int check_use(const struct core_v1_container *c, struct str name, bool block,
                     struct error *err)
{
    for (size_t i = 0; block && i < c->volume_mounts_count; i++)
        if (str_eq(c->volume_mounts[i].name, name))
            return error_set(err, E_INVALID,
                             "volume " STR_FMT
                             " has volumeMode Block, but is specified in volumeMounts",
                             STR_ARG(name));
    for (size_t i = 0; !block && i < c->volume_devices_count; i++)
        if (str_eq(c->volume_devices[i].name, name))
            return error_set(err, E_INVALID,
                             "volume " STR_FMT
                             " has volumeMode Filesystem, but is specified in volumeDevices",
                             STR_ARG(name));
    return 0;
}

/* Devices are no folders, nor the other way round. */
static int check_uses(const struct core_v1_pod *pod, struct str name, bool block, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < pod->spec.init_containers_count; i++)
        rc = check_use(&pod->spec.init_containers[i], name, block, err);
    for (size_t i = 0; rc == 0 && i < pod->spec.containers_count; i++)
        rc = check_use(&pod->spec.containers[i], name, block, err);
    return rc;
}

/* Raw devices have no labels. */
static int plan_label(struct volume_set *s, const struct plan *p,
                      const struct core_v1_persistent_volume *pv, struct volume *v,
                      struct error *err)
{
    const struct core_v1_csi_persistent_volume_source *src = pv->spec.persistent_volume_source.csi;
    const struct source *d =
        src != NULL ? source_set_find(p->sources, SOURCE_CSI_DRIVER, src->driver, 0) : NULL;
    if (p->selinux == NULL || v->block)
        return 0;
    return selinux_mount_label(s->arena, p->selinux, p->ctx->pod, v->name, pv,
                               d != NULL && d->object != NULL ? d->object->msg : NULL, &v->label,
                               err);
}

static int plan_claim(struct volume_set *s, struct plan *p, const struct core_v1_volume *spec,
                      struct volume *v, struct error *err)
{
    const struct core_v1_persistent_volume_claim *claim;
    const struct core_v1_persistent_volume *pv;
    const struct core_v1_pod *pod = p->ctx->pod;
    int rc = source_volume_of(p->sources, pod, spec, &claim, &pv, err);
    if (rc != 0)
        return error_prefix(err, "error processing PVC " STR_FMT "/" STR_FMT,
                            STR_ARG(pod->metadata.namespace),
                            STR_ARG(pod_claim_name(s->arena, pod, spec)));
    rc = check_persistent(pv, err);
    if (rc != 0)
        return rc;
    const struct core_v1_persistent_volume_source *src = &pv->spec.persistent_volume_source;
    const struct core_v1_persistent_volume_claim_volume_source *use =
        spec->volume_source.persistent_volume_claim;
    v->read_only = use != NULL && use->read_only;
    v->block = volume_is_block(pv);
    rc = check_uses(pod, spec->name, v->block, err);
    if (rc != 0)
        return rc;
    if (src->host_path != NULL) {
        v->kind = VOLUME_HOST_PATH;
        v->path = str_c(arena_str(s->arena, src->host_path->path));
        v->host_type = str_c(arena_str(s->arena, src->host_path->type));
    } else if (src->local != NULL) {
        v->kind = VOLUME_LOCAL;
        v->path = str_c(arena_str(s->arena, src->local->path));
        v->ready_dir =
            str_c(arena_printf(s->arena, "%s/volumes/kubernetes.io~local-volume/" STR_FMT,
                               s->pod_dir, STR_ARG(pv->metadata.name)));
    } else {
        rc = plan_label(s, p, pv, v, err);
        if (rc != 0)
            return rc;
        rc = csi_plan(s->arena, p->ctx, p->sources, s->root_dir, s->pod_dir, pv, claim, v, err);
    }
    return rc;
}

static int plan_volume(struct volume_set *s, struct plan *p, const struct core_v1_volume *spec,
                       struct volume *v, struct error *err)
{
    const struct core_v1_volume_source *src = &spec->volume_source;
    v->name = str_c(arena_str(s->arena, spec->name));
    if (src->host_path != NULL) {
        v->kind = VOLUME_HOST_PATH;
        v->path = str_c(arena_str(s->arena, src->host_path->path));
        v->host_type = str_c(arena_str(s->arena, src->host_path->type));
        return 0;
    }
    if (src->empty_dir != NULL)
        return plan_empty_dir(s, v, &p->ctx->pod->spec, src->empty_dir, err);
    if (src->persistent_volume_claim != NULL || src->ephemeral != NULL)
        return plan_claim(s, p, spec, v, err);
    if (src->csi != NULL)
        return csi_plan_inline(s->arena, p->ctx, p->sources, s->pod_dir, src->csi, v, err);
    if (src->image != NULL) {
        v->kind = VOLUME_IMAGE;
        v->image = src->image->reference;
        v->image_policy = src->image->pull_policy;
        v->read_only = true;
        v->path = str_c(arena_printf(s->arena, "%s/" IMAGE_VOLUMES_DIR "/%s", s->pod_dir, v->name));
        return str_empty(v->image) ? error_set(err, E_INVALID, "image.reference is missing") : 0;
    }
    if (src->config_map == NULL && src->secret == NULL && src->downward_api == NULL &&
        src->projected == NULL)
        return error_set(err, E_NOT_IMPLEMENTED,
                         "no volume plugin matched: this node has none for its type");
    v->kind = VOLUME_FILES;
    v->read_only = true;
    v->payload.gid = v->gid;
    p->volume = spec->name;
    p->payload = &v->payload;
    p->mode = FILE_MODE_DEFAULT;
    const char *type = NULL;
    int rc = volume_plan_files(p, src, &type, err);
    if (rc != 0)
        return rc;
    /* What must not reach a disk. */
    v->tmpfs = src->secret != NULL || src->projected != NULL;
    v->path =
        str_c(arena_printf(s->arena, "%s/volumes/kubernetes.io~%s/%s", s->pod_dir, type, v->name));
    return 0;
}

static void plan_containers(struct volume_set *s, const struct core_v1_pod_spec *spec)
{
    size_t n =
        spec->containers_count + spec->init_containers_count + spec->ephemeral_containers_count;
    s->containers = ARENA_ARRAY(s->arena, const char *, n);
    for (size_t i = 0; i < spec->containers_count; i++)
        s->containers[s->container_count++] = str_c(arena_str(s->arena, spec->containers[i].name));
    for (size_t i = 0; i < spec->init_containers_count; i++)
        s->containers[s->container_count++] =
            str_c(arena_str(s->arena, spec->init_containers[i].name));
    for (size_t i = 0; i < spec->ephemeral_containers_count; i++)
        s->containers[s->container_count++] = str_c(
            arena_str(s->arena, spec->ephemeral_containers[i].ephemeral_container_common.name));
}

int volume_plan(const struct volume_config *config, const struct field_context *ctx,
                const struct source_set *sources, struct volume_set **ret, struct error *err)
{
    const struct core_v1_pod *pod = ctx->pod;
    const struct core_v1_pod_security_context *sc = pod->spec.security_context;
    struct arena *a = arena_new(0);
    struct volume_set *s = ARENA_NEW(a, struct volume_set);
    const char *uid = str_c(arena_str(a, pod->metadata.uid));
    s->arena = a;
    s->root_dir = config->root_dir;
    s->pod_dir = pod_dir(a, config->root_dir, uid);
    s->log_dir = pod_log_dir(a, config->pod_logs_dir, str_c(arena_str(a, pod->metadata.namespace)),
                             str_c(arena_str(a, pod->metadata.name)), uid);
    s->items = ARENA_ARRAY(a, struct volume, pod->spec.volumes_count);
    plan_containers(s, &pod->spec);
    struct plan p = {.a = a,
                     .ctx = ctx,
                     .sources = sources,
                     .selinux = config->selinux,
                     .credentials = config->credentials};
    for (size_t i = 0; i < pod->spec.volumes_count; i++) {
        struct volume *v = &s->items[s->count];
        v->gid = sc != NULL && sc->has_fs_group ? sc->fs_group : -1;
        v->gid_if_root_differs = sc != NULL && sc->has_fs_group_change_policy &&
                                 str_eqc(sc->fs_group_change_policy, "OnRootMismatch");
        int rc = plan_volume(s, &p, &pod->spec.volumes[i], v, err);
        if (rc != 0) {
            error_prefix(err, "MountVolume.SetUp failed for volume \"" STR_FMT "\" ",
                         STR_ARG(pod->spec.volumes[i].name));
            volume_set_free(s);
            return rc;
        }
        s->count++;
    }
    *ret = s;
    return 0;
}

void volume_set_free(struct volume_set *s)
{
    if (s != NULL)
        arena_free(s->arena);
}

void volume_set_inherit(struct volume_set *to, const struct volume_set *from)
{
    for (size_t i = 0; from != NULL && i < to->count; i++) {
        const struct volume *v = volume_set_find(from, str_of(to->items[i].name));
        to->items[i].labelled = v != NULL && v->labelled;
    }
}

const struct volume *volume_set_find(const struct volume_set *s, struct str name)
{
    for (size_t i = 0; s != NULL && i < s->count; i++) {
        if (str_eqc(name, s->items[i].name))
            return &s->items[i];
    }
    return NULL;
}
