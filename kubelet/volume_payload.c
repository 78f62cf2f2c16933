/* volume_payload.c - see volume_payload.h. */
#include "kubelet/volume_payload.h"

#include "kubelet/pod_sources.h"

#include "api/authentication_v1.h"
#include "api/core_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

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

int volume_plan_files(struct plan *p, const struct core_v1_volume_source *v, const char **ret_type,
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
