/* pod_node_selector.c - PodNodeSelector: a namespace's pods run on the nodes that
 * its annotation, or the configuration, names. */
#include "api/core_v1.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/registry.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

#define ANNOTATION "scheduler.alpha.kubernetes.io/node-selector"
#define CLUSTER_DEFAULT "clusterDefaultNodeSelector"

struct labels {
    struct api_str_entry *items;
    size_t count;
};

/* "a=b,c=d" */
static bool parse(struct arena *a, struct str text, struct labels *ret)
{
    struct str part, key, value;
    size_t cap = 0;
    *ret = (struct labels){0};
    if (str_trim(text).len == 0)
        return true;
    for (bool more = true; more;) {
        more = str_cut(text, ',', &part, &text);
        if (!str_cut(part, '=', &key, &value))
            return false;
        ret->items = arena_grow(a, ret->items, ret->count, &cap, sizeof(*ret->items));
        ret->items[ret->count++] = (struct api_str_entry){str_trim(key), str_trim(value)};
    }
    return true;
}

static const struct str *get(const struct labels *l, struct str key)
{
    for (size_t i = 0; i < l->count; i++)
        if (str_eq(l->items[i].key, key))
            return &l->items[i].value;
    return NULL;
}

static struct meta_v1_status *refuse(const struct admission *adm, const char *why)
{
    return status_forbidden(adm->ctx->arena, adm->res->gr, adm->ctx->name, "%s", why);
}

static struct meta_v1_status *malformed(const struct admission *adm, struct str text)
{
    return status_plain(adm->ctx->arena, "invalid selector: " STR_FMT, STR_ARG(text));
}

/* What the pod's namespace demands. */
static struct meta_v1_status *demanded(const struct admission *adm, struct labels *ret)
{
    const struct kind_ctx *ctx = adm->ctx;
    const struct core_v1_namespace *ns =
        kind_lookup(ctx, "", "namespaces", STR_NULL, ctx->namespace_);
    if (ns == NULL)
        return status_not_found(ctx->arena, (struct group_resource){STR_NULL, STR("namespaces")},
                                ctx->namespace_);
    const struct str *own =
        api_str_map_get(ns->metadata.annotations, ns->metadata.annotations_count, STR(ANNOTATION));
    struct str text = own != NULL ? *own : json_get_str(adm->config, CLUSTER_DEFAULT);
    return parse(ctx->arena, text, ret) ? NULL : malformed(adm, text);
}

static bool conflicts(const struct labels *l, const struct core_v1_pod_spec *s)
{
    for (size_t i = 0; i < s->node_selector_count; i++) {
        const struct str *v = get(l, s->node_selector[i].key);
        if (v != NULL && !str_eq(*v, s->node_selector[i].value))
            return true;
    }
    return false;
}

/* Keys stay sorted, as maps are stored. */
static void merge(struct arena *a, const struct labels *l, struct core_v1_pod_spec *s)
{
    for (size_t i = 0; i < l->count; i++) {
        size_t at = 0, n = s->node_selector_count;
        while (at < n && str_cmp(s->node_selector[at].key, l->items[i].key) < 0)
            at++;
        if (at < n && str_eq(s->node_selector[at].key, l->items[i].key))
            continue;
        struct api_str_entry *list = ARENA_ARRAY(a, struct api_str_entry, n + 1);
        for (size_t k = 0; k <= n; k++)
            list[k] = k == at ? l->items[i] : s->node_selector[k > at ? k - 1 : k];
        s->node_selector = list;
        s->node_selector_count = n + 1;
    }
}

static struct meta_v1_status *check(const struct admission *adm, struct labels *demands)
{
    const struct core_v1_pod_spec *s = &((const struct core_v1_pod *)adm->obj)->spec;
    struct labels allowed;
    struct meta_v1_status *refused = demanded(adm, demands);
    if (refused != NULL)
        return refused;
    if (conflicts(demands, s))
        return refuse(adm,
                      "pod node label selector conflicts with its namespace node label selector");
    const struct json *list =
        adm->config != NULL ? json_get(adm->config, adm->ctx->namespace_) : NULL;
    if (list == NULL || list->type != JSON_STRING)
        return NULL;
    if (!parse(adm->ctx->arena, list->string, &allowed))
        return malformed(adm, list->string);
    for (size_t i = 0; allowed.count != 0 && i < s->node_selector_count; i++) {
        const struct str *v = get(&allowed, s->node_selector[i].key);
        if (v == NULL || !str_eq(*v, s->node_selector[i].value))
            return refuse(adm,
                          "pod node label selector labels conflict with its namespace whitelist");
    }
    return NULL;
}

static struct meta_v1_status *mutate(const struct admission *adm)
{
    struct labels demands;
    if (!admission_is(adm, "", "pods"))
        return NULL;
    struct meta_v1_status *s = demanded(adm, &demands);
    if (s == NULL && !conflicts(&demands, &((struct core_v1_pod *)adm->obj)->spec))
        merge(adm->ctx->arena, &demands, &((struct core_v1_pod *)adm->obj)->spec);
    return s != NULL ? s : check(adm, &demands);
}

static struct meta_v1_status *validate(const struct admission *adm)
{
    struct labels demands;
    return admission_is(adm, "", "pods") ? check(adm, &demands) : NULL;
}

static int configure(struct arena *a, const struct json *config, const void **ret,
                     struct error *err)
{
    UNUSED(a), UNUSED(err);
    *ret = json_getc(config, "podNodeSelectorPluginConfig");
    return 0;
}

const struct admission_plugin admission_pod_node_selector = {.name = "PodNodeSelector",
                                                             .off = true,
                                                             .ops = ADMIT_BIT(ADMIT_CREATE),
                                                             .mutate = mutate,
                                                             .validate = validate,
                                                             .configure = configure};
