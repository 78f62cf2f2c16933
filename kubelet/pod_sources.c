/* pod_sources.c - see pod_sources.h. */
#include "kubelet/pod_sources.h"

#include "kubelet/object_store.h"

#include "lib/api/quantity.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

#include "api/authentication_v1.h"
#include "api/core_v1.h"
#include "api/storage_v1.h"
#include "lib/client/claims.h"

#define TOKEN_MIN_S 600                      /* What the API gives at least. */
#define TOKEN_USE_MAX_MS (24u * 3600 * 1000) /* As upstream. */

static void add(struct source_set *s, enum source_kind kind, struct str name, int64_t expiration_s)
{
    if ((kind != SOURCE_TOKEN && str_empty(name)) || source_set_find(s, kind, name, expiration_s))
        return;
    s->items = arena_grow(s->arena, s->items, s->count, &s->cap, sizeof(*s->items));
    s->items[s->count++] = (struct source){
        .kind = kind, .name = arena_str(s->arena, name), .expiration_s = expiration_s};
}

static void add_projected(struct source_set *s, const struct core_v1_projected_volume_source *v)
{
    for (size_t i = 0; i < v->sources_count; i++) {
        const struct core_v1_volume_projection *p = &v->sources[i];
        if (p->secret != NULL)
            add(s, SOURCE_SECRET, p->secret->local_object_reference.name, 0);
        if (p->config_map != NULL)
            add(s, SOURCE_CONFIG_MAP, p->config_map->local_object_reference.name, 0);
        if (p->service_account_token != NULL)
            add(s, SOURCE_TOKEN, p->service_account_token->audience,
                p->service_account_token->has_expiration_seconds
                    ? p->service_account_token->expiration_seconds
                    : TOKEN_EXPIRATION_DEFAULT_S);
    }
}

static void add_volume(struct source_set *s, const struct core_v1_volume_source *v)
{
    if (v->config_map != NULL)
        add(s, SOURCE_CONFIG_MAP, v->config_map->local_object_reference.name, 0);
    if (v->secret != NULL)
        add(s, SOURCE_SECRET, v->secret->secret_name, 0);
    if (v->projected != NULL)
        add_projected(s, v->projected);
}

static void add_claim(struct source_set *s, const struct core_v1_pod *pod,
                      const struct core_v1_volume *v)
{
    AUTO_ARENA *a = arena_new(256);
    add(s, SOURCE_CLAIM, pod_claim_name(a, pod, v), 0);
}

static void add_inline_csi(struct source_set *s, const struct core_v1_pod *pod,
                           const struct core_v1_csi_volume_source *csi)
{
    AUTO_ARENA *a = arena_new(256);
    if (csi == NULL)
        return;
    add(s, SOURCE_CSI_DRIVER, csi->driver, 0);
    if (csi->node_publish_secret_ref != NULL)
        add(s, SOURCE_CSI_SECRET,
            arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(pod->metadata.namespace),
                         STR_ARG(csi->node_publish_secret_ref->name)),
            0);
}

static void add_container(struct source_set *s, const struct core_v1_container *c)
{
    for (size_t i = 0; i < c->env_from_count; i++) {
        if (c->env_from[i].config_map_ref != NULL)
            add(s, SOURCE_CONFIG_MAP, c->env_from[i].config_map_ref->local_object_reference.name,
                0);
        if (c->env_from[i].secret_ref != NULL)
            add(s, SOURCE_SECRET, c->env_from[i].secret_ref->local_object_reference.name, 0);
    }
    for (size_t i = 0; i < c->env_count; i++) {
        const struct core_v1_env_var_source *from = c->env[i].value_from;
        if (from != NULL && from->config_map_key_ref != NULL)
            add(s, SOURCE_CONFIG_MAP, from->config_map_key_ref->local_object_reference.name, 0);
        if (from != NULL && from->secret_key_ref != NULL)
            add(s, SOURCE_SECRET, from->secret_key_ref->local_object_reference.name, 0);
    }
}

struct source_set *source_set_new(const struct core_v1_pod *pod)
{
    const struct core_v1_pod_spec *spec = &pod->spec;
    struct arena *a = arena_new(0);
    struct source_set *s = ARENA_NEW(a, struct source_set);
    static uint64_t last_id;
    s->arena = a;
    s->id = ++last_id;
    for (size_t i = 0; i < spec->volumes_count; i++)
        add_volume(s, &spec->volumes[i].volume_source);
    for (size_t i = 0; i < spec->volumes_count; i++) {
        add_claim(s, pod, &spec->volumes[i]);
        add_inline_csi(s, pod, spec->volumes[i].volume_source.csi);
    }
    for (size_t i = 0; i < spec->init_containers_count; i++)
        add_container(s, &spec->init_containers[i]);
    for (size_t i = 0; i < spec->containers_count; i++)
        add_container(s, &spec->containers[i]);
    /* Common fields of ephemeral containers are laid out as a container's. */
    for (size_t i = 0; i < spec->ephemeral_containers_count; i++)
        add_container(s, (const struct core_v1_container *)&spec->ephemeral_containers[i]);
    for (size_t i = 0; i < spec->image_pull_secrets_count; i++)
        add(s, SOURCE_SECRET, spec->image_pull_secrets[i].name, 0);
    if (spec->has_runtime_class_name)
        add(s, SOURCE_RUNTIME_CLASS, spec->runtime_class_name, 0);
    return s;
}

void source_set_free(struct source_set *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->count; i++) {
        object_store_drop(s->items[i].use);
        api_object_unref(s->items[i].object);
        free(s->items[i].message);
    }
    arena_free(s->arena);
}

void source_set_unuse(struct source_set *s)
{
    for (size_t i = 0; s != NULL && i < s->count; i++)
        object_store_drop(take(s->items[i].use));
}

void source_set_use(struct source_set *s, struct object_store *store, const struct core_v1_pod *pod,
                    void *user)
{
    for (size_t i = 0; i < s->count; i++) {
        struct source *x = &s->items[i];
        if (x->use == NULL && (x->kind == SOURCE_CONFIG_MAP || x->kind == SOURCE_SECRET))
            x->use = object_store_use(store,
                                      x->kind == SOURCE_SECRET ? OBJECT_SECRET : OBJECT_CONFIG_MAP,
                                      pod->metadata.namespace, x->name, user);
    }
}

void source_set_take(struct source_set *s, struct source_set *older)
{
    for (size_t i = 0; older != NULL && i < s->count; i++) {
        struct source *x = &s->items[i];
        struct source *o = source_set_find(older, x->kind, x->name, x->expiration_s);
        if (o == NULL)
            continue;
        x->object = take(o->object);
        x->use = take(o->use);
        x->fetched_ms = o->fetched_ms;
        x->refresh_ms = o->refresh_ms;
        x->may_grow = o->may_grow;
    }
}

struct source *source_set_find(const struct source_set *s, enum source_kind kind, struct str name,
                               int64_t expiration_s)
{
    for (size_t i = 0; s != NULL && i < s->count; i++) {
        struct source *x = &s->items[i];
        if (x->kind == kind && str_eq(x->name, name) &&
            (kind != SOURCE_TOKEN || x->expiration_s == expiration_s))
            return x;
    }
    return NULL;
}

int source_object(const struct source_set *s, enum source_kind kind, struct str name, bool optional,
                  const void **ret_msg, struct error *err)
{
    const struct source *x = source_set_find(s, kind, name, 0);
    *ret_msg = NULL;
    if (x != NULL && x->object != NULL) {
        *ret_msg = x->object->msg;
        return 0;
    }
    if (x != NULL && x->code != 0 && x->code != E_NOT_FOUND)
        return error_set(err, x->code, "%s", x->message);
    if (optional)
        return 0;
    return error_set(err, E_NOT_FOUND, "%s \"" STR_FMT "\" not found",
                     kind == SOURCE_SECRET ? "secret" : "configmap", STR_ARG(name));
}

/* --- claims ----------------------------------------------------------------------------------- */

static const void *found(const struct source_set *s, enum source_kind kind, struct str name)
{
    const struct source *x = source_set_find(s, kind, name, 0);
    return x != NULL && x->object != NULL ? x->object->msg : NULL;
}

static bool claim_is_bound(const struct core_v1_persistent_volume_claim *c)
{
    return str_eqc(c->status.phase, "Bound") && !str_empty(c->spec.volume_name);
}

bool source_is_settled(const struct source *s)
{
    if (s->object == NULL)
        return false;
    switch (s->kind) {
    case SOURCE_CLAIM:
        return claim_is_bound(s->object->msg) && !s->may_grow;
    case SOURCE_VOLUME:
        return !s->stale;
    case SOURCE_ATTACHMENT:
        return ((const struct storage_v1_volume_attachment *)s->object->msg)->status.attached;
    default:
        return false;
    }
}

static void add_secret_ref(struct source_set *s, const struct core_v1_secret_reference *r)
{
    AUTO_ARENA *a = arena_new(256);
    if (r != NULL)
        add(s, SOURCE_CSI_SECRET,
            arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(r->namespace), STR_ARG(r->name)), 0);
}

int64_t csi_token_expiration_s(const struct storage_v1_token_request *t)
{
    return t->has_expiration_seconds ? t->expiration_seconds : TOKEN_EXPIRATION_DEFAULT_S;
}

static void add_tokens(struct source_set *s, const struct storage_v1_csi_driver *d)
{
    for (size_t i = 0; d != NULL && i < d->spec.token_requests_count; i++)
        add(s, SOURCE_TOKEN, d->spec.token_requests[i].audience,
            csi_token_expiration_s(&d->spec.token_requests[i]));
}

/* A claim that wants more than it has: its volume may have grown since. */
static bool follow_growth(struct source_set *s, const struct core_v1_persistent_volume_claim *c)
{
    struct source *claim = source_set_find(s, SOURCE_CLAIM, c->metadata.name, 0);
    struct source *volume = source_set_find(s, SOURCE_VOLUME, c->spec.volume_name, 0);
    struct quantity want = claim_request(c), have = {0};
    claim->may_grow = true;
    for (size_t i = 0; i < c->status.capacity_count; i++)
        if (str_eqc(c->status.capacity[i].key, "storage"))
            have = quantity_of(&c->status.capacity[i].value);
    volume->stale = quantity_cmp(&want, &have) > 0 && volume->fetched_ms < claim->fetched_ms;
    return volume->stale;
}

static void follow_csi(struct source_set *s, const struct core_v1_csi_persistent_volume_source *csi,
                       const char *node_name)
{
    AUTO_ARENA *a = arena_new(512);
    add(s, SOURCE_CSI_DRIVER, csi->driver, 0);
    add_secret_ref(s, csi->node_stage_secret_ref);
    add_secret_ref(s, csi->node_publish_secret_ref);
    add_secret_ref(s, csi->node_expand_secret_ref);
    const struct source *x = source_set_find(s, SOURCE_CSI_DRIVER, csi->driver, 0);
    const struct storage_v1_csi_driver *d = found(s, SOURCE_CSI_DRIVER, csi->driver);
    add_tokens(s, d);
    bool known = d != NULL || x->code == E_NOT_FOUND;
    if (known && (d == NULL || !d->spec.has_attach_required || d->spec.attach_required))
        add(s, SOURCE_ATTACHMENT,
            attachment_name(a, csi->volume_handle, csi->driver, str_of(node_name)), 0);
}

bool source_set_follow(struct source_set *s, const struct core_v1_pod *pod, const char *node_name)
{
    size_t before = s->count;
    bool grows = false;
    AUTO_ARENA *a = arena_new(512);
    for (size_t i = 0; i < pod->spec.volumes_count; i++) {
        const struct core_v1_csi_volume_source *own = pod->spec.volumes[i].volume_source.csi;
        if (own != NULL)
            add_tokens(s, found(s, SOURCE_CSI_DRIVER, own->driver));
        struct str name = pod_claim_name(a, pod, &pod->spec.volumes[i]);
        const struct core_v1_persistent_volume_claim *c =
            str_empty(name) ? NULL : found(s, SOURCE_CLAIM, name);
        if (c == NULL || !claim_is_bound(c))
            continue;
        add(s, SOURCE_VOLUME, c->spec.volume_name, 0);
        const struct core_v1_persistent_volume *v = found(s, SOURCE_VOLUME, c->spec.volume_name);
        if (v == NULL || v->spec.persistent_volume_source.csi == NULL)
            continue;
        follow_csi(s, v->spec.persistent_volume_source.csi, node_name);
        grows = follow_growth(s, c) || grows;
    }
    return s->count != before || grows;
}

/* The object of a source that must be there. */
static int need(const struct source_set *s, enum source_kind kind, struct str name,
                const void **ret_msg, struct error *err)
{
    const struct source *x = source_set_find(s, kind, name, 0);
    *ret_msg = x != NULL && x->object != NULL ? x->object->msg : NULL;
    if (*ret_msg != NULL)
        return 0;
    return error_set(err, x != NULL && x->code != 0 ? x->code : E_NOT_FOUND, "%s",
                     x != NULL && x->message != NULL ? x->message : "not fetched yet");
}

int source_volume_of(const struct source_set *s, const struct core_v1_pod *pod,
                     const struct core_v1_volume *v,
                     const struct core_v1_persistent_volume_claim **ret_claim,
                     const struct core_v1_persistent_volume **ret, struct error *err)
{
    AUTO_ARENA *a = arena_new(512);
    const void *msg;
    struct str name = pod_claim_name(a, pod, v);
    int rc = need(s, SOURCE_CLAIM, name, &msg, err);
    const struct core_v1_persistent_volume_claim *c = msg;
    if (rc != 0)
        return error_prefix(err, "failed to fetch PVC from API server");
    const char *why = ephemeral_claim_mismatch(a, pod, v, c);
    if (why != NULL)
        return error_set(err, E_INVALID, "%s", why);
    if (!claim_is_bound(c))
        return error_set(err, E_AGAIN,
                         "PVC " STR_FMT "/" STR_FMT " has non-bound phase (\"" STR_FMT
                         "\") or empty pvc.Spec.VolumeName (\"" STR_FMT "\")",
                         STR_ARG(c->metadata.namespace), STR_ARG(name), STR_ARG(c->status.phase),
                         STR_ARG(c->spec.volume_name));
    rc = need(s, SOURCE_VOLUME, c->spec.volume_name, &msg, err);
    if (rc != 0)
        return error_prefix(err, "failed to fetch PV \"" STR_FMT "\" from API server",
                            STR_ARG(c->spec.volume_name));
    const struct core_v1_persistent_volume *pv = msg;
    if (pv->spec.claim_ref == NULL || !str_eq(pv->spec.claim_ref->uid, c->metadata.uid))
        return error_set(err, E_INVALID,
                         "found PV object \"" STR_FMT "\" but its pv.Spec.ClaimRef does not point "
                         "to claim " STR_FMT "/" STR_FMT,
                         STR_ARG(pv->metadata.name), STR_ARG(c->metadata.namespace), STR_ARG(name));
    *ret_claim = c;
    *ret = pv;
    return 0;
}

uint64_t source_token_use_ms(const struct api_object *object, int64_t asked_s, int64_t now_s)
{
    const struct authentication_v1_token_request *r = object->msg;
    int64_t until_s = r->status.expiration_timestamp.seconds;
    int64_t life_s = until_s != 0 ? until_s - now_s : MAX_OF(asked_s, (int64_t)TOKEN_MIN_S);
    /* One that is over by this node's clock is asked for again at each look, not in a loop. */
    uint64_t life_ms = (uint64_t)MAX_OF(life_s, (int64_t)0) * 1000;
    return MIN_OF(life_ms / 5 * 4, (uint64_t)TOKEN_USE_MAX_MS);
}
