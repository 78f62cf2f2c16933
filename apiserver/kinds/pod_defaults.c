/* pod_defaults.c - what a pod spec says when its author says nothing. */
#include "apiserver/kinds/defaults.h"
#include "apiserver/kinds/pod_spec.h"

#include "api/core_v1.h"
#include "api/intstr.h"
#include "lib/base/arena.h"

#define FILE_MODE_DEFAULT 0644
#define TOKEN_EXPIRATION_S 3600
#define GRACE_PERIOD_S 30

/* --- images ---------------------------------------------------------------------- */

/* Is the image named without a tag and digest, or with the tag "latest"? */
static bool is_latest(struct str image)
{
    if (str_find(image, '@', 0) >= 0)
        return false;
    size_t slash = image.len;
    while (slash > 0 && image.data[slash - 1] != '/')
        slash--;
    struct str last = str_sub(image, slash, image.len), name, tag;
    return !str_cut(last, ':', &name, &tag) || str_eqc(tag, "latest");
}

/* --- probes and hooks ---------------------------------------------------------------- */

static void http_defaults(struct core_v1_http_get_action *g)
{
    if (g == NULL)
        return;
    default_str(&g->path, STR("/"));
    default_str(&g->scheme, STR("HTTP"));
}

static void probe_defaults(struct core_v1_probe *p)
{
    if (p == NULL)
        return;
    http_defaults(p->handler.http_get);
    if (p->handler.grpc != NULL)
        p->handler.grpc->has_service = true;
    if (p->timeout_seconds == 0)
        p->timeout_seconds = 1;
    if (p->period_seconds == 0)
        p->period_seconds = 10;
    if (p->success_threshold == 0)
        p->success_threshold = 1;
    if (p->failure_threshold == 0)
        p->failure_threshold = 3;
}

static void lifecycle_defaults(struct core_v1_lifecycle *l)
{
    if (l == NULL)
        return;
    if (l->post_start != NULL)
        http_defaults(l->post_start->http_get);
    if (l->pre_stop != NULL)
        http_defaults(l->pre_stop->http_get);
}

static void env_defaults(struct core_v1_env_var *env, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct core_v1_env_var_source *from = env[i].value_from;
        if (from != NULL && from->field_ref != NULL)
            default_str(&from->field_ref->api_version, STR("v1"));
        if (from != NULL && from->file_key_ref != NULL)
            default_opt_bool(&from->file_key_ref->has_optional, &from->file_key_ref->optional,
                             false);
    }
}

/* Ephemeral containers have the same fields in a struct of another name. */
#define CONTAINER_DEFAULTS(c)                                                                      \
    do {                                                                                           \
        if (str_empty((c)->image_pull_policy))                                                     \
            (c)->image_pull_policy = is_latest((c)->image) ? STR("Always") : STR("IfNotPresent");  \
        default_str(&(c)->termination_message_path, STR("/dev/termination-log"));                  \
        default_str(&(c)->termination_message_policy, STR("File"));                                \
        for (size_t port_ = 0; port_ < (c)->ports_count; port_++)                                  \
            default_str(&(c)->ports[port_].protocol, STR("TCP"));                                  \
        env_defaults((c)->env, (c)->env_count);                                                    \
        probe_defaults((c)->liveness_probe);                                                       \
        probe_defaults((c)->readiness_probe);                                                      \
        probe_defaults((c)->startup_probe);                                                        \
        lifecycle_defaults((c)->lifecycle);                                                        \
    } while (0)

static void host_ports(struct core_v1_container *c, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < c[i].ports_count; k++)
            if (c[i].ports[k].host_port == 0)
                c[i].ports[k].host_port = c[i].ports[k].container_port;
}

/* --- volumes ----------------------------------------------------------------------------- */

static void downward_defaults(struct core_v1_downward_api_volume_file *f, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (f[i].field_ref != NULL)
            default_str(&f[i].field_ref->api_version, STR("v1"));
}

static void projected_defaults(struct core_v1_projected_volume_source *p)
{
    default_opt_int(&p->has_default_mode, &p->default_mode, FILE_MODE_DEFAULT);
    for (size_t i = 0; i < p->sources_count; i++) {
        struct core_v1_volume_projection *s = &p->sources[i];
        if (s->downward_api != NULL)
            downward_defaults(s->downward_api->items, s->downward_api->items_count);
        if (s->service_account_token != NULL && !s->service_account_token->has_expiration_seconds) {
            s->service_account_token->has_expiration_seconds = true;
            s->service_account_token->expiration_seconds = TOKEN_EXPIRATION_S;
        }
    }
}

static void azure_defaults(struct core_v1_azure_disk_volume_source *d)
{
    default_opt_str(&d->has_caching_mode, &d->caching_mode, STR("ReadWrite"));
    default_opt_str(&d->has_kind, &d->kind, STR("Shared"));
    default_opt_str(&d->has_fs_type, &d->fs_type, STR("ext4"));
    default_opt_bool(&d->has_read_only, &d->read_only, false);
}

static bool has_source(const struct core_v1_volume_source *s)
{
    static const struct core_v1_volume_source none;
    return memcmp(s, &none, sizeof(none)) != 0; /* Pointers only: zero bytes are none. */
}

static void volume_defaults(struct arena *a, struct core_v1_volume_source *s)
{
    if (!has_source(s))
        s->empty_dir = ARENA_NEW(a, struct core_v1_empty_dir_volume_source);
    if (s->secret != NULL)
        default_opt_int(&s->secret->has_default_mode, &s->secret->default_mode, FILE_MODE_DEFAULT);
    if (s->config_map != NULL)
        default_opt_int(&s->config_map->has_default_mode, &s->config_map->default_mode,
                        FILE_MODE_DEFAULT);
    if (s->downward_api != NULL) {
        default_opt_int(&s->downward_api->has_default_mode, &s->downward_api->default_mode,
                        FILE_MODE_DEFAULT);
        downward_defaults(s->downward_api->items, s->downward_api->items_count);
    }
    if (s->projected != NULL)
        projected_defaults(s->projected);
    if (s->host_path != NULL && !s->host_path->has_type)
        s->host_path->has_type = true; /* The empty type: no check. */
    if (s->iscsi != NULL)
        default_str(&s->iscsi->iscsi_interface, STR("default"));
    if (s->rbd != NULL) {
        default_str(&s->rbd->pool, STR("rbd"));
        default_str(&s->rbd->user, STR("admin"));
        default_str(&s->rbd->keyring, STR("/etc/ceph/keyring"));
    }
    if (s->azure_disk != NULL)
        azure_defaults(s->azure_disk);
    if (s->scale_io != NULL) {
        default_str(&s->scale_io->storage_mode, STR("ThinProvisioned"));
        default_str(&s->scale_io->fs_type, STR("xfs"));
    }
    if (s->image != NULL && str_empty(s->image->pull_policy))
        s->image->pull_policy =
            is_latest(s->image->reference) ? STR("Always") : STR("IfNotPresent");
    if (s->ephemeral != NULL && s->ephemeral->volume_claim_template != NULL) {
        struct core_v1_persistent_volume_claim_spec *claim =
            &s->ephemeral->volume_claim_template->spec;
        default_opt_str(&claim->has_volume_mode, &claim->volume_mode, STR("Filesystem"));
    }
}

/* --- the spec --------------------------------------------------------------------------------- */

void pod_spec_defaults(struct arena *a, struct core_v1_pod_spec *s)
{
    for (size_t i = 0; i < s->volumes_count; i++)
        volume_defaults(a, &s->volumes[i].volume_source);
    for (size_t i = 0; i < s->init_containers_count; i++)
        CONTAINER_DEFAULTS(&s->init_containers[i]);
    for (size_t i = 0; i < s->containers_count; i++)
        CONTAINER_DEFAULTS(&s->containers[i]);
    for (size_t i = 0; i < s->ephemeral_containers_count; i++)
        CONTAINER_DEFAULTS(&s->ephemeral_containers[i].ephemeral_container_common);
    default_str(&s->restart_policy, STR("Always"));
    default_str(&s->dns_policy, STR("ClusterFirst"));
    default_str(&s->scheduler_name, STR("default-scheduler"));
    if (s->security_context == NULL)
        s->security_context = ARENA_NEW(a, struct core_v1_pod_security_context);
    if (!s->has_termination_grace_period_seconds) {
        s->has_termination_grace_period_seconds = true;
        s->termination_grace_period_seconds = GRACE_PERIOD_S;
    }
    /* Two names of one field: the older is kept in step. */
    if (str_empty(s->service_account_name))
        s->service_account_name = s->service_account;
    s->service_account = s->service_account_name;
}

void pod_template_defaults(struct arena *a, struct core_v1_pod_template_spec *t)
{
    pod_spec_defaults(a, &t->spec);
}

static bool has_quantity(const struct api_quantity_entry *e, size_t count, struct str key)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(e[i].key, key))
            return true;
    return false;
}

static void requests_from_limits(struct arena *a, struct core_v1_resource_requirements *r)
{
    if (r->limits_count == 0)
        return;
    struct api_quantity_entry *list =
        ARENA_ARRAY(a, struct api_quantity_entry, r->limits_count + r->requests_count);
    size_t n = 0, i = 0, k = 0;
    /* A merge of two sorted lists; requests win. */
    while (i < r->limits_count || k < r->requests_count) {
        int c = i == r->limits_count     ? 1
                : k == r->requests_count ? -1
                                         : str_cmp(r->limits[i].key, r->requests[k].key);
        if (c >= 0)
            list[n++] = r->requests[k++];
        else if (!has_quantity(r->requests, r->requests_count, r->limits[i].key))
            list[n++] = r->limits[i];
        i += c <= 0;
    }
    r->requests = list;
    r->requests_count = n;
}

void pod_spec_default_requests(struct arena *a, struct core_v1_pod_spec *s)
{
    for (size_t i = 0; i < s->containers_count; i++)
        requests_from_limits(a, &s->containers[i].resources);
    for (size_t i = 0; i < s->init_containers_count; i++)
        requests_from_limits(a, &s->init_containers[i].resources);
    if (s->host_network) {
        host_ports(s->containers, s->containers_count);
        host_ports(s->init_containers, s->init_containers_count);
    }
    default_opt_bool(&s->has_enable_service_links, &s->enable_service_links, true);
}
