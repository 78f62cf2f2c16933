/* runtime_class.c - pods get the overhead, node selector and tolerations of
 * their runtime class. */
#include "api/core_v1.h"
#include "api/node_v1.h"
#include "api/resource.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/registry.h"
#include "lib/api/codec.h"
#include "lib/api/quantity.h"
#include "lib/base/arena.h"

static const struct node_v1_runtime_class *class_of(const struct admission *adm)
{
    const struct core_v1_pod *pod = adm->obj;
    if (!pod->spec.has_runtime_class_name || pod->spec.runtime_class_name.len == 0)
        return NULL;
    return kind_lookup(adm->ctx, "node.k8s.io", "runtimeclasses", STR_NULL,
                       pod->spec.runtime_class_name);
}

static struct meta_v1_status *reject(const struct admission *adm, const char *why)
{
    return status_forbidden(adm->ctx->arena, adm->res->gr, adm->ctx->name, "pod rejected: %s", why);
}

static bool same_amounts(const struct api_quantity_entry *x, size_t x_count,
                         const struct api_quantity_entry *y, size_t y_count)
{
    if (x_count != y_count)
        return false;
    for (size_t i = 0; i < x_count; i++) {
        bool found = false;
        for (size_t j = 0; j < y_count; j++) {
            struct quantity a = quantity_of(&x[i].value), b = quantity_of(&y[j].value);
            found = found || (str_eq(x[i].key, y[j].key) && quantity_cmp(&a, &b) == 0);
        }
        if (!found)
            return false;
    }
    return true;
}

static struct meta_v1_status *set_overhead(const struct admission *adm,
                                           const struct node_v1_runtime_class *class)
{
    struct core_v1_pod_spec *s = &((struct core_v1_pod *)adm->obj)->spec;
    const struct node_v1_overhead *o = class->overhead;
    if (o == NULL)
        return NULL;
    if (s->overhead_count != 0 &&
        !same_amounts(s->overhead, s->overhead_count, o->pod_fixed, o->pod_fixed_count))
        return reject(adm, "Pod's Overhead doesn't match RuntimeClass's defined Overhead");
    s->overhead = o->pod_fixed;
    s->overhead_count = o->pod_fixed_count;
    return NULL;
}

/* Keys stay sorted, as maps are stored. */
static struct meta_v1_status *merge_selector(const struct admission *adm,
                                             const struct node_v1_scheduling *from)
{
    struct core_v1_pod_spec *s = &((struct core_v1_pod *)adm->obj)->spec;
    struct api_str_entry *list =
        ARENA_ARRAY(adm->ctx->arena, struct api_str_entry,
                    s->node_selector_count + from->node_selector_count + 1);
    size_t n = 0, i = 0, j = 0;
    while (i < s->node_selector_count || j < from->node_selector_count) {
        const struct api_str_entry *own = &s->node_selector[i], *add = &from->node_selector[j];
        int c = i == s->node_selector_count      ? 1
                : j == from->node_selector_count ? -1
                                                 : str_cmp(own->key, add->key);
        if (c == 0 && !str_eq(own->value, add->value))
            return status_forbidden(
                adm->ctx->arena, adm->res->gr, adm->ctx->name,
                "conflict: runtimeClass.scheduling.nodeSelector[" STR_FMT "] = " STR_FMT
                "; pod.spec.nodeSelector[" STR_FMT "] = " STR_FMT,
                STR_ARG(add->key), STR_ARG(add->value), STR_ARG(own->key), STR_ARG(own->value));
        list[n++] = c <= 0 ? *own : *add;
        i += c <= 0;
        j += c >= 0;
    }
    s->node_selector = list;
    s->node_selector_count = n;
    return NULL;
}

static void merge_tolerations(const struct admission *adm, const struct node_v1_scheduling *from)
{
    struct core_v1_pod_spec *s = &((struct core_v1_pod *)adm->obj)->spec;
    struct core_v1_toleration *list =
        ARENA_ARRAY(adm->ctx->arena, struct core_v1_toleration,
                    s->tolerations_count + from->tolerations_count + 1);
    size_t n = 0;
    for (size_t i = 0; i < s->tolerations_count + from->tolerations_count; i++) {
        const struct core_v1_toleration *t = i < s->tolerations_count
                                                 ? &s->tolerations[i]
                                                 : &from->tolerations[i - s->tolerations_count];
        bool there = false;
        for (size_t j = 0; j < n && i >= s->tolerations_count; j++)
            there = there || api_msg_equal(&core_v1_toleration_msg, t, &list[j]);
        if (!there)
            list[n++] = *t;
    }
    s->tolerations = list;
    s->tolerations_count = n;
}

static struct meta_v1_status *mutate(const struct admission *adm)
{
    if (!admission_is(adm, "", "pods") || adm->op != ADMIT_CREATE)
        return NULL;
    const struct core_v1_pod *pod = adm->obj;
    const struct node_v1_runtime_class *class = class_of(adm);
    if (class == NULL) {
        if (!pod->spec.has_runtime_class_name || pod->spec.runtime_class_name.len == 0)
            return NULL;
        return status_forbidden(adm->ctx->arena, adm->res->gr, adm->ctx->name,
                                "pod rejected: RuntimeClass \"" STR_FMT "\" not found",
                                STR_ARG(pod->spec.runtime_class_name));
    }
    struct meta_v1_status *s = set_overhead(adm, class);
    if (s != NULL || class->scheduling == NULL)
        return s;
    s = merge_selector(adm, class->scheduling);
    if (s == NULL)
        merge_tolerations(adm, class->scheduling);
    return s;
}

static struct meta_v1_status *validate(const struct admission *adm)
{
    if (!admission_is(adm, "", "pods") || adm->op != ADMIT_CREATE)
        return NULL;
    const struct core_v1_pod *pod = adm->obj;
    if (pod->spec.overhead_count == 0)
        return NULL;
    const struct node_v1_runtime_class *class = class_of(adm);
    if (class == NULL || class->overhead == NULL)
        return reject(adm, "Pod Overhead set without corresponding RuntimeClass defined Overhead");
    return NULL;
}

const struct admission_plugin admission_runtime_class = {
    .name = "RuntimeClass",
    .ops = ADMIT_BIT(ADMIT_CREATE),
    .mutate = mutate,
    .validate = validate,
};
