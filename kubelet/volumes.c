/* volumes.c - the pure half of volumes.h: from spec and sources to a plan. */
#include "kubelet/volumes.h"

#include "kubelet/image_volume.h"

#include "kubelet/csi.h"
#include "kubelet/pod_sources.h"
#include "kubelet/selinux.h"

#include "lib/api/quantity.h"
#include "lib/base/arena.h"

#include "api/authentication_v1.h"
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

/* What the projections of one volume share. */
struct plan {
    struct arena *a;
    const struct field_context *ctx;
    const struct source_set *sources;
    const struct selinux *selinux;
    const struct volume_credentials *credentials;
    struct str volume; /* Its name. */
    struct payload *payload;
    int mode;
};

static void put(struct plan *p, struct str path, struct str data, int mode)
{
    struct payload *x = p->payload;
    for (size_t i = 0; i < x->count; i++) {
        if (str_eqc(path, x->files[i].path)) {
            x->files[i].data = data;
            x->files[i].mode = mode;
            return;
        }
    }
    x->files = arena_grow(p->a, x->files, x->count, &x->cap, sizeof(*x->files));
    x->files[x->count++] = (struct payload_file){
        .path = str_c(arena_str(p->a, path)), .data = data, .mode = mode, .uid = -1};
}

/* The chosen keys of a ConfigMap or Secret; data and binary hold its maps. */
static int put_items(struct plan *p, const char *what, struct str name,
                     const struct core_v1_key_to_path *items, size_t count, bool optional,
                     const struct api_str_entry *data, size_t data_count,
                     const struct api_str_entry *binary, size_t binary_count, struct error *err)
{
    if (count == 0) {
        for (size_t i = 0; i < data_count; i++)
            put(p, data[i].key, data[i].value, p->mode);
        for (size_t i = 0; i < binary_count; i++)
            put(p, binary[i].key, binary[i].value, p->mode);
    }
    for (size_t i = 0; i < count; i++) {
        const struct str *v = api_str_map_get(data, data_count, items[i].key);
        if (v == NULL)
            v = api_str_map_get(binary, binary_count, items[i].key);
        if (v == NULL && optional)
            continue;
        if (v == NULL)
            return error_set(err, E_NOT_FOUND,
                             "%s \"" STR_FMT "\" references non-existent %s key: " STR_FMT, what,
                             STR_ARG(name), what, STR_ARG(items[i].key));
        put(p, items[i].path, *v, items[i].has_mode ? items[i].mode : p->mode);
    }
    return 0;
}

static int put_config_map(struct plan *p, struct str name, const struct core_v1_key_to_path *items,
                          size_t count, bool optional, struct error *err)
{
    const void *msg;
    int rc = source_object(p->sources, SOURCE_CONFIG_MAP, name, optional, &msg, err);
    const struct core_v1_config_map *m = msg;
    if (rc != 0 || m == NULL)
        return rc;
    return put_items(p, "configmap", name, items, count, optional, m->data, m->data_count,
                     m->binary_data, m->binary_data_count, err);
}

static int put_secret(struct plan *p, struct str name, const struct core_v1_key_to_path *items,
                      size_t count, bool optional, struct error *err)
{
    const void *msg;
    int rc = source_object(p->sources, SOURCE_SECRET, name, optional, &msg, err);
    const struct core_v1_secret *m = msg;
    if (rc != 0 || m == NULL)
        return rc;
    return put_items(p, "secret", name, items, count, optional, m->data, m->data_count, NULL, 0,
                     err);
}

static int put_downward(struct plan *p, const struct core_v1_downward_api_volume_file *items,
                        size_t count, struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        struct str value = STR_NULL;
        int rc = 0;
        if (items[i].field_ref != NULL)
            rc = field_ref_value(p->a, p->ctx, items[i].field_ref->field_path, &value, err);
        else if (items[i].resource_field_ref != NULL)
            rc = resource_ref_value(p->a, p->ctx, NULL, items[i].resource_field_ref, &value, err);
        if (rc != 0)
            return rc;
        put(p, items[i].path, value, items[i].has_mode ? items[i].mode : p->mode);
    }
    return 0;
}

/* The one user all containers run as; -1 when they differ or none is set. */
static int64_t common_user(const struct core_v1_pod_spec *spec)
{
    int64_t pod_user = spec->security_context != NULL && spec->security_context->has_run_as_user
                           ? spec->security_context->run_as_user
                           : -1;
    int64_t user = -1;
    for (size_t i = 0; i < spec->containers_count + spec->init_containers_count; i++) {
        const struct core_v1_container *c =
            i < spec->containers_count ? &spec->containers[i]
                                       : &spec->init_containers[i - spec->containers_count];
        int64_t u = c->security_context != NULL && c->security_context->has_run_as_user
                        ? c->security_context->run_as_user
                        : pod_user;
        if (u < 0 || (user >= 0 && user != u))
            return -1;
        user = u;
    }
    return user;
}

/* For the pod's user alone, where there is one. */
static void put_owned(struct plan *p, struct str path, struct str data)
{
    int64_t user = common_user(&p->ctx->pod->spec);
    int mode = p->mode;
    if (p->payload->gid >= 0 || user >= 0)
        mode = 0600;
    put(p, path, data, mode);
    if (p->payload->gid < 0 && user >= 0)
        p->payload->files[p->payload->count - 1].uid = user;
}

static int put_token(struct plan *p, const struct core_v1_service_account_token_projection *t,
                     struct error *err)
{
    int64_t expiration =
        t->has_expiration_seconds ? t->expiration_seconds : TOKEN_EXPIRATION_DEFAULT_S;
    const struct source *s = source_set_find(p->sources, SOURCE_TOKEN, t->audience, expiration);
    if (s == NULL || s->object == NULL)
        return error_set(err, s != NULL && s->code != 0 ? s->code : E_NOT_FOUND,
                         "failed to fetch token: %s",
                         s != NULL && s->message != NULL ? s->message : "not available");
    const struct authentication_v1_token_request *tr = s->object->msg;
    put_owned(p, t->path, tr->status.token);
    return 0;
}

static int put_trust(struct plan *p, const struct core_v1_cluster_trust_bundle_projection *b,
                     struct error *err)
{
    struct str pem;
    int rc = p->credentials->trust(p->credentials->arg, b, p->a, &pem, err);
    if (rc == 0)
        put_owned(p, b->path, pem);
    return rc;
}

/* Key and certificates are of one moment: who reads both in one file has what belongs together. */
static int put_certificate(struct plan *p, size_t index,
                           const struct core_v1_pod_certificate_projection *c, struct error *err)
{
    struct str key, chain;
    int rc = p->credentials->certificate(p->credentials->arg, p->volume, index, c, p->a, &key,
                                         &chain, err);
    if (rc != 0)
        return rc;
    if (!str_empty(c->credential_bundle_path))
        put_owned(p, c->credential_bundle_path,
                  arena_printf(p->a, STR_FMT STR_FMT, STR_ARG(key), STR_ARG(chain)));
    if (!str_empty(c->key_path))
        put_owned(p, c->key_path, key);
    if (!str_empty(c->certificate_chain_path))
        put_owned(p, c->certificate_chain_path, chain);
    return 0;
}

static int put_projected(struct plan *p, const struct core_v1_projected_volume_source *v,
                         struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < v->sources_count; i++) {
        const struct core_v1_volume_projection *s = &v->sources[i];
        if (s->config_map != NULL)
            rc = put_config_map(p, s->config_map->local_object_reference.name, s->config_map->items,
                                s->config_map->items_count, s->config_map->optional, err);
        else if (s->secret != NULL)
            rc = put_secret(p, s->secret->local_object_reference.name, s->secret->items,
                            s->secret->items_count, s->secret->optional, err);
        else if (s->downward_api != NULL)
            rc = put_downward(p, s->downward_api->items, s->downward_api->items_count, err);
        else if (s->service_account_token != NULL)
            rc = put_token(p, s->service_account_token, err);
        else if (p->credentials == NULL &&
                 (s->cluster_trust_bundle != NULL || s->pod_certificate != NULL))
            rc = error_set(err, E_NOT_IMPLEMENTED, "projected.sources[%zu]: not without an API", i);
        else if (s->cluster_trust_bundle != NULL)
            rc = put_trust(p, s->cluster_trust_bundle, err);
        else if (s->pod_certificate != NULL)
            rc = put_certificate(p, i, s->pod_certificate, err);
    }
    return rc;
}

static int plan_files(struct plan *p, const struct core_v1_volume_source *v, const char **ret_type,
                      struct error *err)
{
    if (v->config_map != NULL) {
        *ret_type = "configmap";
        if (v->config_map->has_default_mode)
            p->mode = v->config_map->default_mode;
        return put_config_map(p, v->config_map->local_object_reference.name, v->config_map->items,
                              v->config_map->items_count, v->config_map->optional, err);
    }
    if (v->secret != NULL) {
        *ret_type = "secret";
        if (v->secret->has_default_mode)
            p->mode = v->secret->default_mode;
        return put_secret(p, v->secret->secret_name, v->secret->items, v->secret->items_count,
                          v->secret->optional, err);
    }
    if (v->downward_api != NULL) {
        *ret_type = "downward-api";
        if (v->downward_api->has_default_mode)
            p->mode = v->downward_api->default_mode;
        return put_downward(p, v->downward_api->items, v->downward_api->items_count, err);
    }
    *ret_type = "projected";
    if (v->projected->has_default_mode)
        p->mode = v->projected->default_mode;
    return put_projected(p, v->projected, err);
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
    int rc = plan_files(p, src, &type, err);
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
