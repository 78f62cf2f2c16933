/* pod_warn_volumes.c - warnings of volumes and claims; see pod_warnings.h. Pure. */
#include "apiserver/kinds/pod_warnings.h"

#include "apiserver/kinds/rules.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "api/resource.h"
#include "lib/api/quantity.h"
#include "lib/base/arena.h"

void warn_fraction(const struct kind_ctx *ctx, const struct field_path *path, const char *key,
                   const struct api_quantity_entry *e, size_t count)
{
    const struct api_quantity_entry *v = find_quantity(e, count, str_of(key));
    if (v == NULL)
        return;
    struct quantity q = quantity_of(&v->value);
    struct quantity whole = quantity_from_int(quantity_value(&q), q.format);
    if (quantity_value(&q) != INT64_MAX && quantity_cmp(&q, &whole) != 0)
        kind_warn_field(ctx, PATH_KEY(path, str_of(key)),
                        "fractional byte value \"" STR_FMT "\" is invalid, must be an integer",
                        STR_ARG(quantity_shown(&v->value)));
}

void warn_claim_spec(const struct kind_ctx *ctx, const struct field_path *path,
                     const struct core_v1_persistent_volume_claim_spec *s)
{
    const struct field_path *at = PATH(path, "resources");
    warn_fraction(ctx, PATH(at, "requests"), "storage", s->resources.requests,
                  s->resources.requests_count);
    warn_fraction(ctx, PATH(at, "limits"), "storage", s->resources.limits,
                  s->resources.limits_count);
}

void warn_storage_class_annotation(const struct kind_ctx *ctx, const struct meta_v1_object_meta *m)
{
    struct str key = STR("volume.beta.kubernetes.io/storage-class");
    if (api_str_map_get(m->annotations, m->annotations_count, key) != NULL)
        kind_warn_field(ctx, PATH_KEY(PATH(PATH(PATH_ROOT, "metadata"), "annotations"), key),
                        "deprecated since v1.8; use \"storageClassName\" attribute instead");
}

/* --- files that overlap ---------------------------------------------------------------- */

struct file {
    struct str path, source;
};

struct files {
    const struct kind_ctx *ctx;
    const struct core_v1_volume *volume;
    struct str what; /* "ConfigMap \"x\"" */
    struct file *items;
    size_t count, cap;
};

static struct str quoted(struct arena *a, const char *kind, struct str name)
{
    return arena_printf(a, "%s \"" STR_FMT "\"", kind, STR_ARG(name));
}

static struct str shown(struct arena *a, const struct file *f)
{
    if (str_empty(f->source))
        return arena_printf(a, "\"" STR_FMT "\"", STR_ARG(f->path));
    return arena_printf(a, "\"" STR_FMT "\" (" STR_FMT ")", STR_ARG(f->path), STR_ARG(f->source));
}

/* The same file, or one lies below the other. */
static bool is_within(struct str path, struct str folder)
{
    return str_has_prefix(path, folder) && (path.len == folder.len || path.data[folder.len] == '/');
}

static void add_file(struct files *l, struct str path, struct str source)
{
    struct arena *a = l->ctx->arena;
    while (path.len > 0 && path.data[path.len - 1] == '/')
        path.len--;
    struct file f = {path, source};
    for (size_t i = 0; !str_empty(path) && i < l->count; i++)
        if (!str_empty(l->items[i].path) &&
            (is_within(path, l->items[i].path) || is_within(l->items[i].path, path)))
            kind_warn(l->ctx,
                      "volume \"" STR_FMT "\" (" STR_FMT "): overlapping paths: " STR_FMT
                      " with " STR_FMT,
                      STR_ARG(l->volume->name), STR_ARG(l->what), STR_ARG(shown(a, &f)),
                      STR_ARG(shown(a, &l->items[i])));
    l->items = arena_grow(a, l->items, l->count, &l->cap, sizeof(*l->items));
    l->items[l->count++] = f;
}

static void add_items(struct files *l, const struct core_v1_key_to_path *items, size_t count,
                      struct str source)
{
    for (size_t i = 0; i < count; i++)
        add_file(l, items[i].path, source);
}

static void add_downward(struct files *l, const struct core_v1_downward_api_volume_file *items,
                         size_t count, struct str source)
{
    for (size_t i = 0; i < count; i++)
        add_file(l, items[i].path, source);
}

static void add_source(struct files *l, const struct core_v1_volume_projection *s)
{
    struct arena *a = l->ctx->arena;
    if (s->config_map != NULL && s->config_map->items_count != 0)
        add_items(l, s->config_map->items, s->config_map->items_count,
                  quoted(a, "ConfigMap", s->config_map->local_object_reference.name));
    else if (s->secret != NULL && s->secret->items_count != 0)
        add_items(l, s->secret->items, s->secret->items_count,
                  quoted(a, "Secret", s->secret->local_object_reference.name));
    else if (s->downward_api != NULL)
        add_downward(l, s->downward_api->items, s->downward_api->items_count, STR("DownwardAPI"));
    else if (s->service_account_token != NULL)
        add_file(l, s->service_account_token->path, STR("ServiceAccountToken"));
    else if (s->cluster_trust_bundle != NULL)
        add_file(l, s->cluster_trust_bundle->path,
                 quoted(a, "ClusterTrustBundle",
                        s->cluster_trust_bundle->has_name ? s->cluster_trust_bundle->name
                                                          : s->cluster_trust_bundle->signer_name));
}

static bool is_no_source(const struct core_v1_volume_projection *s)
{
    static const struct core_v1_volume_projection none;
    return memcmp(s, &none, sizeof(none)) == 0; /* Pointers only. */
}

void warn_overlaps(const struct kind_ctx *ctx, const struct core_v1_volume *v)
{
    const struct core_v1_volume_source *s = &v->volume_source;
    struct files l = {.ctx = ctx, .volume = v};
    if (s->config_map != NULL) {
        l.what = quoted(ctx->arena, "ConfigMap", s->config_map->local_object_reference.name);
        add_items(&l, s->config_map->items, s->config_map->items_count, STR_NULL);
    } else if (s->secret != NULL) {
        l.what = quoted(ctx->arena, "Secret", s->secret->secret_name);
        add_items(&l, s->secret->items, s->secret->items_count, STR_NULL);
    } else if (s->downward_api != NULL) {
        l.what = STR("DownwardAPI");
        add_downward(&l, s->downward_api->items, s->downward_api->items_count, STR_NULL);
    } else if (s->projected != NULL) {
        l.what = STR("Projected");
        for (size_t i = 0; i < s->projected->sources_count; i++)
            if (is_no_source(&s->projected->sources[i]))
                kind_warn(ctx, "volume \"" STR_FMT "\" (Projected) has no sources provided",
                          STR_ARG(v->name));
            else
                add_source(&l, &s->projected->sources[i]);
    }
}
