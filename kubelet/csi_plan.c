/* csi_plan.c - see csi.h: what mounting takes, and the folders for it. */
#include "kubelet/csi.h"

#include "kubelet/field_ref.h"
#include "kubelet/pod_sources.h"
#include "kubelet/selinux.h"
#include "kubelet/volumes.h"

#include "api/authentication_v1.h"
#include "api/core_v1.h"
#include "api/storage_v1.h"
#include "lib/api/json.h"
#include "lib/api/quantity.h"
#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/client/claims.h"
#include "lib/net/pki.h"

static const void *found(const struct source_set *s, enum source_kind kind, struct str name)
{
    const struct source *x = source_set_find(s, kind, name, 0);
    return x != NULL && x->object != NULL ? x->object->msg : NULL;
}

/* Volumes of this type have one access mode per pod; the widest that the volume has. */
static int access_mode(const struct core_v1_persistent_volume *pv)
{
    static const struct {
        const char *mode;
        int number;
    } table[] = {
        {"ReadWriteMany", 5}, {"ReadWriteOnce", 1}, {"ReadOnlyMany", 3}, {ACCESS_ONE_POD, 1}};
    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        for (size_t k = 0; k < pv->spec.access_modes_count; k++)
            if (str_eqc(pv->spec.access_modes[k], table[i].mode))
                return table[i].number;
    return 1;
}

static int read_secret(struct arena *a, const struct source_set *s,
                       const struct core_v1_secret_reference *r, struct csi_strings *ret,
                       struct error *err)
{
    if (r == NULL)
        return 0;
    const struct core_v1_secret *secret =
        found(s, SOURCE_CSI_SECRET,
              arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(r->namespace), STR_ARG(r->name)));
    if (secret == NULL)
        return error_set(err, E_NOT_FOUND,
                         "failed to find the secret " STR_FMT " in the namespace " STR_FMT,
                         STR_ARG(r->name), STR_ARG(r->namespace));
    *ret = (struct csi_strings){secret->data, secret->data_count};
    return 0;
}

static bool wants_group(const struct storage_v1_csi_driver *d,
                        const struct core_v1_persistent_volume *pv, const char *fs_type)
{
    struct str policy = d != NULL && d->spec.has_fs_group_policy ? d->spec.fs_group_policy
                                                                 : STR("ReadWriteOnceWithFSType");
    if (str_eqc(policy, "None"))
        return false;
    if (str_eqc(policy, "File"))
        return true;
    for (size_t i = 0; i < pv->spec.access_modes_count; i++)
        if (str_eqc(pv->spec.access_modes[i], "ReadWriteOnce"))
            return fs_type[0] != '\0';
    return false;
}

static void add_strings(struct arena *a, struct csi_strings *to, const struct api_str_entry *more,
                        size_t count)
{
    struct api_str_entry *all = ARENA_ARRAY(a, struct api_str_entry, to->count + count);
    for (size_t i = 0; i < to->count + count; i++)
        all[i] = i < to->count ? to->items[i] : more[i - to->count];
    *to = (struct csi_strings){all, to->count + count};
}

static void add_pod_info(struct arena *a, const struct field_context *ctx, struct csi_mount *m)
{
    const struct core_v1_pod *pod = ctx->pod;
    const struct api_str_entry info[] = {
        {STR("csi.storage.k8s.io/pod.name"), pod->metadata.name},
        {STR("csi.storage.k8s.io/pod.namespace"), pod->metadata.namespace},
        {STR("csi.storage.k8s.io/pod.uid"), pod->metadata.uid},
        {STR("csi.storage.k8s.io/serviceAccount.name"), pod->spec.service_account_name},
        {STR("csi.storage.k8s.io/ephemeral"), m->ephemeral ? STR("true") : STR("false")},
    };
    add_strings(a, &m->attributes, info, ARRAY_SIZE(info));
}

/* Tokens of the pod's service account that the driver asks for, by audience. */
static int add_tokens(struct arena *a, const struct source_set *sources,
                      const struct storage_v1_csi_driver *d, struct csi_mount *m, struct error *err)
{
    if (d == NULL || d->spec.token_requests_count == 0)
        return 0;
    struct json *all = json_object(a);
    for (size_t i = 0; i < d->spec.token_requests_count; i++) {
        const struct storage_v1_token_request *t = &d->spec.token_requests[i];
        const struct source *x =
            source_set_find(sources, SOURCE_TOKEN, t->audience, csi_token_expiration_s(t));
        if (x == NULL || x->object == NULL)
            return error_set(err, x != NULL && x->code != 0 ? x->code : E_NOT_FOUND,
                             "failed to fetch token for audience \"" STR_FMT "\": %s",
                             STR_ARG(t->audience),
                             x != NULL && x->message != NULL ? x->message : "not available");
        const struct authentication_v1_token_request *token = x->object->msg;
        char until[TIME_TEXT_MAX];
        size_t n = time_format(&token->status.expiration_timestamp, until);
        struct json *one = json_object(a);
        json_setc(a, one, "token", json_string(a, token->status.token));
        json_setc(a, one, "expirationTimestamp",
                  json_string(a, arena_str(a, (struct str){until, n})));
        json_set(a, all, t->audience, one);
    }
    AUTO_BUF text = BUF_INIT;
    json_write(all, false, &text);
    const struct api_str_entry entry = {STR("csi.storage.k8s.io/serviceAccount.tokens"),
                                        arena_str(a, buf_str(&text))};
    add_strings(a, d->spec.service_account_token_in_secrets ? &m->publish_secrets : &m->attributes,
                &entry, 1);
    return 0;
}

/* The claim says less than the volume has; who was told that the size cannot be is not asked
 * again. */
static void plan_growth(const struct core_v1_persistent_volume *pv,
                        const struct core_v1_persistent_volume_claim *claim, struct csi_mount *m)
{
    struct quantity have = {0}, size = volume_capacity(pv);
    for (size_t i = 0; i < claim->status.capacity_count; i++)
        if (str_eqc(claim->status.capacity[i].key, "storage"))
            have = quantity_of(&claim->status.capacity[i].value);
    const struct str *status =
        api_str_map_get(claim->status.allocated_resource_statuses,
                        claim->status.allocated_resource_statuses_count, STR("storage"));
    if (m->read_only || quantity_is_zero(&have) || quantity_cmp(&size, &have) <= 0 ||
        (status != NULL && !str_eqc(*status, "NodeResizePending") &&
         !str_eqc(*status, "NodeResizeInProgress")))
        return;
    m->grown = claim;
    for (size_t i = 0; i < pv->spec.capacity_count; i++)
        if (str_eqc(pv->spec.capacity[i].key, "storage"))
            m->grow_size = pv->spec.capacity[i].value.string;
    m->grow_bytes = quantity_value(&size);
}

const char *csi_stage_root(struct arena *a, const char *root_dir, const char *driver,
                           const char *handle)
{
    AUTO_BUF hex = BUF_INIT;
    uint8_t hash[32];
    net_sha256(handle, strlen(handle), hash);
    hex_encode(hash, sizeof(hash), &hex);
    return str_c(arena_printf(a, "%s/plugins/kubernetes.io/csi/%s/" STR_FMT, root_dir, driver,
                              STR_ARG(buf_str(&hex))));
}

static void plan_paths(struct arena *a, const char *root_dir, const char *pod_dir,
                       struct csi_mount *m)
{
    m->stage_root = csi_stage_root(a, root_dir, m->driver, m->handle);
    m->stage = str_c(arena_printf(a, "%s/globalmount", m->stage_root));
    m->pod_volume = str_c(arena_printf(a, "%s/volumes/kubernetes.io~csi/%s", pod_dir, m->pv_name));
    m->target = str_c(arena_printf(a, "%s/mount", m->pod_volume));
}

static int plan_attachment(struct arena *a, const struct field_context *ctx,
                           const struct source_set *s, struct csi_mount *m, struct error *err)
{
    const struct storage_v1_volume_attachment *at =
        found(s, SOURCE_ATTACHMENT,
              attachment_name(a, str_of(m->handle), str_of(m->driver), str_of(ctx->node_name)));
    if (at == NULL || !at->status.attached)
        return error_set(err, E_AGAIN, "volume %s is not attached to the node yet", m->pv_name);
    m->publish_context =
        (struct csi_strings){at->status.attachment_metadata, at->status.attachment_metadata_count};
    return 0;
}

int csi_plan(struct arena *a, const struct field_context *ctx, const struct source_set *sources,
             const char *root_dir, const char *pod_dir, const struct core_v1_persistent_volume *pv,
             const struct core_v1_persistent_volume_claim *claim, struct volume *v,
             struct error *err)
{
    const struct core_v1_csi_persistent_volume_source *src = pv->spec.persistent_volume_source.csi;
    const struct storage_v1_csi_driver *d = found(sources, SOURCE_CSI_DRIVER, src->driver);
    struct csi_mount *m = ARENA_NEW(a, struct csi_mount);
    m->driver = str_c(arena_str(a, src->driver));
    m->handle = str_c(arena_str(a, src->volume_handle));
    m->pv_name = str_c(arena_str(a, pv->metadata.name));
    m->fs_type = str_c(arena_str(a, src->fs_type));
    m->access_mode = access_mode(pv);
    m->claim = str_c(arena_str(a, claim->metadata.name));
    m->one_pod =
        pv->spec.access_modes_count == 1 && str_eqc(pv->spec.access_modes[0], ACCESS_ONE_POD);
    m->group = v->gid;
    m->pod = ctx->pod;
    m->republish = d != NULL && d->spec.requires_republish;
    m->read_only = v->read_only || src->read_only;
    m->attributes = (struct csi_strings){src->volume_attributes, src->volume_attributes_count};
    m->stage_attributes = m->attributes;
    m->mount_flags = ARENA_ARRAY(a, const char *, pv->spec.mount_options_count + 1);
    for (size_t i = 0; i < pv->spec.mount_options_count; i++)
        m->mount_flags[m->mount_flag_count++] = str_c(arena_str(a, pv->spec.mount_options[i]));
    m->label = v->label;
    if (m->label != NULL)
        m->mount_flags[m->mount_flag_count++] = selinux_mount_option(a, m->label);
    if (d != NULL && d->spec.has_pod_info_on_mount && d->spec.pod_info_on_mount)
        add_pod_info(a, ctx, m);
    plan_paths(a, root_dir, pod_dir, m);
    m->block = v->block;
    m->group_allowed = wants_group(d, pv, m->fs_type) && !m->read_only && !m->block;
    m->attachable = d == NULL || !d->spec.has_attach_required || d->spec.attach_required;
    int rc = read_secret(a, sources, src->node_stage_secret_ref, &m->stage_secrets, err);
    if (rc == 0)
        rc = read_secret(a, sources, src->node_publish_secret_ref, &m->publish_secrets, err);
    if (rc == 0)
        rc = read_secret(a, sources, src->node_expand_secret_ref, &m->expand_secrets, err);
    if (rc == 0)
        rc = add_tokens(a, sources, d, m, err);
    plan_growth(pv, claim, m);
    v->kind = VOLUME_CSI;
    v->csi = m;
    v->path = m->target;
    v->read_only = m->read_only;
    return rc == 0 && m->attachable ? plan_attachment(a, ctx, sources, m, err) : rc;
}

static bool has_mode(const struct storage_v1_csi_driver *d, const char *mode)
{
    for (size_t i = 0; i < d->spec.volume_lifecycle_modes_count; i++)
        if (str_eqc(d->spec.volume_lifecycle_modes[i], mode))
            return true;
    return false;
}

/* A handle that no other pod's volume has, as upstream makes it. */
const char *csi_inline_handle(struct arena *a, const struct core_v1_pod *pod, const char *name)
{
    AUTO_BUF text = BUF_INIT, hex = BUF_INIT;
    uint8_t hash[32];
    buf_append_str(&text, pod->metadata.namespace);
    buf_append_str(&text, pod->metadata.uid);
    buf_puts(&text, name);
    net_sha256(text.data, text.len, hash);
    hex_encode(hash, sizeof(hash), &hex);
    return str_c(arena_printf(a, "csi-" STR_FMT, STR_ARG(buf_str(&hex))));
}

int csi_plan_inline(struct arena *a, const struct field_context *ctx,
                    const struct source_set *sources, const char *pod_dir,
                    const struct core_v1_csi_volume_source *src, struct volume *v,
                    struct error *err)
{
    const struct storage_v1_csi_driver *d = found(sources, SOURCE_CSI_DRIVER, src->driver);
    if (d == NULL)
        return error_set(err, E_NOT_FOUND,
                         "volume mode \"Ephemeral\" not supported by driver " STR_FMT
                         " (no CSIDriver object)",
                         STR_ARG(src->driver));
    if (!has_mode(d, "Ephemeral"))
        return error_set(err, E_INVALID,
                         "volume mode \"Ephemeral\" not supported by driver " STR_FMT
                         " (only supports [\"Persistent\"])",
                         STR_ARG(src->driver));
    struct csi_mount *m = ARENA_NEW(a, struct csi_mount);
    m->ephemeral = true;
    m->driver = str_c(arena_str(a, src->driver));
    m->pv_name = v->name;
    m->handle = csi_inline_handle(a, ctx->pod, v->name);
    m->fs_type = str_c(arena_str(a, src->fs_type));
    m->access_mode = 1;
    m->group = v->gid;
    m->pod = ctx->pod;
    m->republish = d->spec.requires_republish;
    m->read_only = src->read_only;
    m->attributes = (struct csi_strings){src->volume_attributes, src->volume_attributes_count};
    if (d->spec.pod_info_on_mount)
        add_pod_info(a, ctx, m);
    m->pod_volume = str_c(arena_printf(a, "%s/volumes/kubernetes.io~csi/%s", pod_dir, m->pv_name));
    m->target = str_c(arena_printf(a, "%s/mount", m->pod_volume));
    /* It is one node's alone, as ReadWriteOnce is: with a file system's type the default policy
     * gives it to the group, too. */
    struct str policy = str_empty(d->spec.fs_group_policy) ? STR("ReadWriteOnceWithFSType")
                                                           : d->spec.fs_group_policy;
    m->group_allowed = !m->read_only && !str_eqc(policy, "None") &&
                       (str_eqc(policy, "File") || m->fs_type[0] != '\0');
    v->kind = VOLUME_CSI;
    v->csi = m;
    v->path = m->target;
    v->read_only = m->read_only;
    int rc = 0;
    if (src->node_publish_secret_ref != NULL) {
        struct core_v1_secret_reference ref = {.name = src->node_publish_secret_ref->name,
                                               .namespace = ctx->pod->metadata.namespace};
        rc = read_secret(a, sources, &ref, &m->publish_secrets, err);
    }
    return rc == 0 ? add_tokens(a, sources, d, m, err) : rc;
}
