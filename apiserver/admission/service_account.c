/* service_account.c - every pod runs as a service account, with a token
 * mounted where programs look for it. */
#include "api/core_v1.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/registry.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"

#define TOKEN_MOUNT "/var/run/secrets/kubernetes.io/serviceaccount"
#define TOKEN_VOLUME_PREFIX "kube-api-access-"
#define TOKEN_SECONDS (60 * 60 + 7)
#define MIRROR_ANNOTATION "kubernetes.io/config.mirror"

static struct meta_v1_status *refuse(const struct admission *adm, const char *why)
{
    return status_forbidden(adm->ctx->arena, adm->res->gr, adm->ctx->name, "%s", why);
}

static bool wants_token(const struct core_v1_pod *pod, const struct core_v1_service_account *sa)
{
    if (pod->spec.has_automount_service_account_token)
        return pod->spec.automount_service_account_token;
    if (sa->has_automount_service_account_token)
        return sa->automount_service_account_token;
    return true;
}

static bool mounted(const struct core_v1_container *c)
{
    for (size_t i = 0; i < c->volume_mounts_count; i++)
        if (str_eqc(c->volume_mounts[i].mount_path, TOKEN_MOUNT))
            return true;
    return false;
}

static bool any_unmounted(const struct core_v1_container *c, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!mounted(&c[i]))
            return true;
    return false;
}

static void mount_all(struct arena *a, struct core_v1_container *c, size_t count, struct str volume)
{
    for (size_t i = 0; i < count; i++) {
        if (mounted(&c[i]))
            continue;
        struct core_v1_volume_mount *m =
            ARENA_ARRAY(a, struct core_v1_volume_mount, c[i].volume_mounts_count + 1);
        if (c[i].volume_mounts_count != 0)
            memcpy(m, c[i].volume_mounts, c[i].volume_mounts_count * sizeof(*m));
        m[c[i].volume_mounts_count].name = volume;
        m[c[i].volume_mounts_count].mount_path = STR(TOKEN_MOUNT);
        m[c[i].volume_mounts_count].read_only = true;
        c[i].volume_mounts = m;
        c[i].volume_mounts_count++;
    }
}

/* The token, the cluster's CA and the namespace's name, as one volume. */
static struct core_v1_projected_volume_source *token_sources(struct arena *a)
{
    struct core_v1_projected_volume_source *p =
        ARENA_NEW(a, struct core_v1_projected_volume_source);
    p->has_default_mode = true;
    p->default_mode = 0644;
    p->sources = ARENA_ARRAY(a, struct core_v1_volume_projection, 3);
    p->sources_count = 3;
    struct core_v1_service_account_token_projection *t =
        ARENA_NEW(a, struct core_v1_service_account_token_projection);
    t->path = STR("token");
    t->has_expiration_seconds = true;
    t->expiration_seconds = TOKEN_SECONDS;
    p->sources[0].service_account_token = t;
    struct core_v1_config_map_projection *c = ARENA_NEW(a, struct core_v1_config_map_projection);
    c->local_object_reference.name = STR("kube-root-ca.crt");
    c->items = ARENA_NEW(a, struct core_v1_key_to_path);
    c->items[0].key = STR("ca.crt");
    c->items[0].path = STR("ca.crt");
    c->items_count = 1;
    p->sources[1].config_map = c;
    struct core_v1_downward_api_projection *d =
        ARENA_NEW(a, struct core_v1_downward_api_projection);
    d->items = ARENA_NEW(a, struct core_v1_downward_api_volume_file);
    d->items[0].path = STR("namespace");
    d->items[0].field_ref = ARENA_NEW(a, struct core_v1_object_field_selector);
    d->items[0].field_ref->api_version = STR("v1");
    d->items[0].field_ref->field_path = STR("metadata.namespace");
    d->items_count = 1;
    p->sources[2].downward_api = d;
    return p;
}

static struct str token_volume_name(const struct kind_ctx *ctx)
{
    static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
    char suffix[5];
    for (size_t i = 0; i < sizeof(suffix); i++)
        suffix[i] = alphabet[env_random_below(ctx->env, sizeof(alphabet) - 1)];
    return arena_printf(ctx->arena, TOKEN_VOLUME_PREFIX "%.*s", (int)sizeof(suffix), suffix);
}

static void mount_token(const struct kind_ctx *ctx, struct core_v1_pod *pod)
{
    struct arena *a = ctx->arena;
    struct core_v1_pod_spec *s = &pod->spec;
    /* A volume of that form, from a copied pod, is used again. */
    struct str name = STR_NULL;
    for (size_t i = 0; i < s->volumes_count && name.len == 0; i++)
        if (str_has_prefix(s->volumes[i].name, STR(TOKEN_VOLUME_PREFIX)) &&
            s->volumes[i].volume_source.projected != NULL)
            name = s->volumes[i].name;
    bool found = name.len != 0;
    if (!any_unmounted(s->containers, s->containers_count) &&
        !any_unmounted(s->init_containers, s->init_containers_count))
        return;
    if (!found)
        name = token_volume_name(ctx);
    mount_all(a, s->init_containers, s->init_containers_count, name);
    mount_all(a, s->containers, s->containers_count, name);
    if (found)
        return;
    struct core_v1_volume *v = ARENA_ARRAY(a, struct core_v1_volume, s->volumes_count + 1);
    if (s->volumes_count != 0)
        memcpy(v, s->volumes, s->volumes_count * sizeof(*v));
    v[s->volumes_count].name = name;
    v[s->volumes_count].volume_source.projected = token_sources(a);
    s->volumes = v;
    s->volumes_count++;
}

static struct meta_v1_status *check_mirror(const struct admission *adm,
                                           const struct core_v1_pod *pod)
{
    if (pod->spec.service_account_name.len != 0)
        return refuse(adm, "a mirror pod may not reference service accounts");
    for (size_t i = 0; i < pod->spec.volumes_count; i++)
        if (pod->spec.volumes[i].volume_source.secret != NULL)
            return refuse(adm, "a mirror pod may not reference secrets");
    return NULL;
}

static struct meta_v1_status *mutate(const struct admission *adm)
{
    const struct kind_ctx *ctx = adm->ctx;
    if (adm->op != ADMIT_CREATE || !admission_is(adm, "", "pods"))
        return NULL;
    struct core_v1_pod *pod = adm->obj;
    if (api_str_map_get(pod->metadata.annotations, pod->metadata.annotations_count,
                        STR(MIRROR_ANNOTATION)) != NULL)
        return check_mirror(adm, pod);
    if (pod->spec.service_account_name.len == 0)
        pod->spec.service_account_name = STR("default");
    pod->spec.service_account = pod->spec.service_account_name;
    const struct core_v1_service_account *sa =
        kind_lookup(ctx, "", "serviceaccounts", ctx->namespace_, pod->spec.service_account_name);
    if (sa == NULL)
        return refuse(adm, str_c(arena_printf(
                               ctx->arena,
                               "error looking up service account " STR_FMT "/" STR_FMT
                               ": serviceaccount \"" STR_FMT "\" not found",
                               STR_ARG(ctx->namespace_), STR_ARG(pod->spec.service_account_name),
                               STR_ARG(pod->spec.service_account_name))));
    if (wants_token(pod, sa))
        mount_token(ctx, pod);
    if (pod->spec.image_pull_secrets_count == 0 && sa->image_pull_secrets_count != 0) {
        pod->spec.image_pull_secrets =
            arena_memdup(ctx->arena, sa->image_pull_secrets,
                         sa->image_pull_secrets_count * sizeof(*sa->image_pull_secrets));
        pod->spec.image_pull_secrets_count = sa->image_pull_secrets_count;
    }
    return NULL;
}

const struct admission_plugin admission_service_account = {
    .name = "ServiceAccount",
    .ops = ADMIT_BIT(ADMIT_CREATE),
    .mutate = mutate,
};
