/* pod_toleration_restriction.c - PodTolerationRestriction: a namespace's pods get
 * the tolerations that its annotation, or the configuration, names, and may have
 * none but those that are listed. */
#include "api/core_v1.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/kinds/pod_spec.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

#define DEFAULTS "scheduler.alpha.kubernetes.io/defaultTolerations"
#define LISTED "scheduler.alpha.kubernetes.io/tolerationsWhitelist"

struct tolerations {
    struct core_v1_toleration *items;
    size_t count;
    bool given; /* An empty list is one. */
};

struct config {
    struct tolerations defaults, listed;
};

static int read_list(struct arena *a, const struct json *list, struct tolerations *ret,
                     struct error *err)
{
    if (list == NULL || list->type == JSON_NULL)
        return 0;
    if (list->type != JSON_ARRAY)
        return error_set(err, E_INVALID, "want a list of tolerations");
    ret->items = ARENA_ARRAY(a, struct core_v1_toleration, list->array.count + 1);
    for (; ret->count < list->array.count; ret->count++) {
        int code = api_json_decode_tree(a, &core_v1_toleration_msg, list->array.items[ret->count],
                                        API_LENIENT, NULL, &ret->items[ret->count], err);
        if (code != 0)
            return code;
    }
    ret->given = true;
    return 0;
}

static int configure(struct arena *a, const struct json *j, const void **ret, struct error *err)
{
    struct config *c = ARENA_NEW(a, struct config);
    int code = read_list(a, json_getc(j, "default"), &c->defaults, err);
    if (code != 0)
        return error_prefix(err, "default");
    code = read_list(a, json_getc(j, "whitelist"), &c->listed, err);
    *ret = c;
    return code != 0 ? error_prefix(err, "whitelist") : 0;
}

/* An annotation of the pod's namespace; not given: it has none. */
static struct meta_v1_status *annotated(const struct admission *adm, const char *key,
                                        struct tolerations *ret)
{
    struct arena *a = adm->ctx->arena;
    struct json *j;
    struct error err = {0};
    const struct core_v1_namespace *ns =
        kind_lookup(adm->ctx, "", "namespaces", STR_NULL, adm->ctx->namespace_);
    if (ns == NULL)
        return status_not_found(a, (struct group_resource){STR_NULL, STR("namespaces")},
                                adm->ctx->namespace_);
    const struct str *text =
        api_str_map_get(ns->metadata.annotations, ns->metadata.annotations_count, str_of(key));
    if (text == NULL)
        return NULL;
    ret->given = true;
    if (text->len == 0)
        return NULL;
    if (json_parse(a, *text, &j, &err) != 0 || read_list(a, j, ret, &err) != 0)
        return status_plain(a, "%s", error_message(&err));
    return NULL;
}

static bool same(const struct core_v1_toleration *x, const struct core_v1_toleration *y)
{
    return api_msg_equal(&core_v1_toleration_msg, x, y);
}

/* Does wide tolerate all that t does? */
static bool covers(const struct core_v1_toleration *wide, const struct core_v1_toleration *t)
{
    bool exists = str_eqc(wide->operator, "Exists");
    if (same(wide, t))
        return true;
    if (!str_eq(t->key, wide->key) && (wide->key.len != 0 || !exists))
        return false;
    if (!str_eq(t->effect, wide->effect) && wide->effect.len != 0)
        return false;
    if (str_eqc(wide->effect, "NoExecute") && wide->has_toleration_seconds &&
        (!t->has_toleration_seconds || t->toleration_seconds > wide->toleration_seconds))
        return false;
    if (exists)
        return true;
    return (wide->operator.len == 0 || str_eqc(wide->operator, "Equal")) &&
           str_eq(t->operator, wide->operator) && str_eq(t->value, wide->value);
}

static bool is_covered(const struct core_v1_toleration *all, size_t from, size_t to, bool other,
                       const struct core_v1_toleration *t)
{
    for (size_t i = from; i < to; i++)
        if ((!other || !same(&all[i], t)) && covers(&all[i], t))
            return true;
    return false;
}

/* Of both, without what another one covers; of equal ones the first stays. */
static void merge(struct arena *a, struct core_v1_pod_spec *s, const struct tolerations *more)
{
    size_t total = s->tolerations_count + more->count, kept = 0;
    struct core_v1_toleration *all = ARENA_ARRAY(a, struct core_v1_toleration, total + 1),
                              *merged = ARENA_ARRAY(a, struct core_v1_toleration, total + 1);
    if (s->tolerations_count != 0)
        memcpy(all, s->tolerations, s->tolerations_count * sizeof(*all));
    if (more->count != 0)
        memcpy(all + s->tolerations_count, more->items, more->count * sizeof(*all));
    for (size_t i = 0; i < total; i++)
        if (!is_covered(merged, 0, kept, false, &all[i]) &&
            !is_covered(all, i + 1, total, true, &all[i]))
            merged[kept++] = all[i];
    s->tolerations = merged;
    s->tolerations_count = kept;
}

static struct meta_v1_status *validate(const struct admission *adm)
{
    const struct config *c = adm->config;
    struct tolerations listed = {0};
    if (!admission_is(adm, "", "pods"))
        return NULL;
    const struct core_v1_pod_spec *s = &((const struct core_v1_pod *)adm->obj)->spec;
    if (s->tolerations_count == 0)
        return NULL;
    struct meta_v1_status *refused = annotated(adm, LISTED, &listed);
    if (refused != NULL)
        return refused;
    if (!listed.given && c != NULL)
        listed = c->listed;
    for (size_t i = 0; listed.count != 0 && i < s->tolerations_count; i++)
        if (!is_covered(listed.items, 0, listed.count, false, &s->tolerations[i]))
            return status_plain(adm->ctx->arena,
                                "pod tolerations (possibly merged with namespace default "
                                "tolerations) conflict with its namespace whitelist");
    return NULL;
}

static struct meta_v1_status *mutate(const struct admission *adm)
{
    const struct config *c = adm->config;
    struct arena *a = adm->ctx->arena;
    struct tolerations more = {0};
    if (!admission_is(adm, "", "pods"))
        return NULL;
    struct core_v1_pod *pod = adm->obj;
    struct meta_v1_status *refused =
        adm->op == ADMIT_CREATE ? annotated(adm, DEFAULTS, &more) : NULL;
    if (refused != NULL)
        return refused;
    if (adm->op == ADMIT_CREATE && !more.given && c != NULL)
        more = c->defaults;
    if (!str_eqc(pod_qos_class(&pod->spec), "BestEffort")) {
        struct core_v1_toleration *all = ARENA_ARRAY(a, struct core_v1_toleration, more.count + 1);
        if (more.count != 0)
            memcpy(all, more.items, more.count * sizeof(*all));
        all[more.count++] =
            (struct core_v1_toleration){.key = STR("node.kubernetes.io/memory-pressure"),
                                        .operator= STR("Exists"),
                                        .effect = STR("NoSchedule")};
        more.items = all;
    }
    if (more.count != 0)
        merge(a, &pod->spec, &more);
    return validate(adm);
}

const struct admission_plugin admission_pod_toleration_restriction = {
    .name = "PodTolerationRestriction",
    .off = true,
    .ops = ADMIT_WRITES,
    .mutate = mutate,
    .validate = validate,
    .configure = configure,
};
