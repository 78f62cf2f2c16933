/* pod_resize.c - new resources for a pod that runs; see pod_subs.h. Pure. */
#include "apiserver/kinds/pod_subs.h"

#include "apiserver/kinds/pod_check.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "api/resource.h"
#include "lib/api/codec.h"
#include "lib/api/quantity.h"
#include "lib/base/arena.h"

static bool same_names(const struct core_v1_container *x, size_t x_count,
                       const struct core_v1_container *y, size_t y_count)
{
    for (size_t i = 0; x_count == y_count && i < x_count; i++)
        if (!str_eq(x[i].name, y[i].name))
            return false;
    return x_count == y_count;
}

static void take_resources(struct core_v1_container *to, const struct core_v1_container *from,
                           size_t count)
{
    for (size_t i = 0; i < count; i++) {
        to[i].resources = from[i].resources;
        to[i].resize_policy = from[i].resize_policy;
        to[i].resize_policy_count = from[i].resize_policy_count;
    }
}

void pod_prepare_resize(const struct kind_ctx *ctx, void *obj, const void *old)
{
    struct core_v1_pod *p = obj;
    const struct core_v1_pod *o = old;
    struct core_v1_pod_spec asked = p->spec;
    p->status = o->status;
    /* Other containers than there are: validation tells. */
    if (asked.containers_count != o->spec.containers_count ||
        asked.init_containers_count != o->spec.init_containers_count)
        return;
    p->spec =
        *(struct core_v1_pod_spec *)api_msg_clone(ctx->arena, &core_v1_pod_spec_msg, &o->spec);
    if (same_names(asked.containers, asked.containers_count, p->spec.containers,
                   p->spec.containers_count))
        take_resources(p->spec.containers, asked.containers, asked.containers_count);
    else
        p->spec.containers = asked.containers;
    if (same_names(asked.init_containers, asked.init_containers_count, p->spec.init_containers,
                   p->spec.init_containers_count))
        take_resources(p->spec.init_containers, asked.init_containers, asked.init_containers_count);
    else
        p->spec.init_containers = asked.init_containers;
}

/* Containers stay in their order under their names. */
static bool check_order(struct field_errors *errs, const struct field_path *spec, const char *list,
                        const struct core_v1_container *now, size_t now_count,
                        const struct core_v1_container *was, size_t was_count)
{
    const struct field_path *path = PATH(spec, list);
    size_t before = errs->count;
    if (now_count != was_count)
        field_forbidden(errs, path, "%s may not be added or removed on resize", list);
    for (size_t i = 0; now_count == was_count && i < now_count; i++)
        if (!str_eq(now[i].name, was[i].name))
            field_forbidden(errs, PATH(PATH_INDEX(path, i), "name"),
                            "%s may not be renamed or reordered on resize", list);
    return errs->count == before;
}

static bool removed(const struct api_quantity_entry *now, size_t now_count,
                    const struct api_quantity_entry *was, size_t was_count)
{
    for (size_t i = 0; i < was_count; i++)
        if (find_quantity(now, now_count, was[i].key) == NULL)
            return true;
    return false;
}

static void check_removed(struct field_errors *errs, const struct field_path *path,
                          const struct core_v1_resource_requirements *now,
                          const struct core_v1_resource_requirements *was)
{
    if (removed(now->requests, now->requests_count, was->requests, was->requests_count))
        field_forbidden(errs, PATH(path, "requests"), "resource requests cannot be removed");
    if (removed(now->limits, now->limits_count, was->limits, was->limits_count))
        field_forbidden(errs, PATH(path, "limits"), "resource limits cannot be removed");
}

/* Nothing but cpu and memory differs. */
static bool same_others(const struct api_quantity_entry *now, size_t now_count,
                        const struct api_quantity_entry *was, size_t was_count)
{
    for (size_t i = 0; i < now_count; i++) {
        const struct api_quantity_entry *w = find_quantity(was, was_count, now[i].key);
        bool may = str_eqc(now[i].key, "cpu") || str_eqc(now[i].key, "memory");
        struct quantity x = quantity_of(&now[i].value), y = {0};
        if (w != NULL)
            y = quantity_of(&w->value);
        if (!may && (w == NULL || quantity_cmp(&x, &y) != 0))
            return false;
    }
    for (size_t i = 0; i < was_count; i++)
        if (!str_eqc(was[i].key, "cpu") && !str_eqc(was[i].key, "memory") &&
            find_quantity(now, now_count, was[i].key) == NULL)
            return false;
    return true;
}

static bool only_cpu_and_memory(const struct core_v1_resource_requirements *now,
                                const struct core_v1_resource_requirements *was)
{
    return same_others(now->limits, now->limits_count, was->limits, was->limits_count) &&
           same_others(now->requests, now->requests_count, was->requests, was->requests_count);
}

static bool node_supports_resize(const struct core_v1_pod *p)
{
    for (size_t i = 0; i < p->status.container_statuses_count; i++)
        if (p->status.container_statuses[i].state.running != NULL)
            return p->status.container_statuses[i].resources != NULL;
    return true;
}

static void check_init_containers_resized(struct field_errors *errs, const struct field_path *spec,
                                          const struct core_v1_pod *p, const struct core_v1_pod *o)
{
    for (size_t i = 0; i < p->spec.init_containers_count; i++) {
        const struct core_v1_container *now = &p->spec.init_containers[i],
                                       *was = &o->spec.init_containers[i];
        bool sidecar = was->has_restart_policy && str_eqc(was->restart_policy, "Always");
        if (sidecar && !only_cpu_and_memory(&now->resources, &was->resources))
            field_forbidden(errs, spec,
                            "only cpu and memory resources for sidecar containers are mutable");
        else if (!sidecar && !api_msg_equal(&core_v1_container_msg, now, was))
            field_forbidden(errs, spec, "resources for non-sidecar init containers are immutable");
    }
}

void pod_validate_resize(const struct kind_ctx *ctx, const void *obj, const void *old,
                         struct field_errors *errs)
{
    const struct core_v1_pod *p = obj, *o = old;
    const struct field_path *spec = PATH(PATH_ROOT, "spec"), *none = PATH(PATH_ROOT, "");
    if (is_mirror_pod(&o->metadata)) {
        field_forbidden(errs, none, "static pods cannot be resized");
        return;
    }
    if (o->spec.os != NULL && str_eqc(o->spec.os->name, "windows")) {
        field_forbidden(errs, none, "windows pods cannot be resized");
        return;
    }
    validate_pod_spec(ctx, errs, spec, &p->spec, 0);
    if (!str_empty(o->status.qos_class) && !str_eq(pod_qos_class(&p->spec), o->status.qos_class))
        field_invalid(errs, spec, o->status.qos_class,
                      "Pod QOS Class may not change as a result of resizing");
    if (!node_supports_resize(o))
        field_forbidden(errs, spec, "Pod running on node without support for resize");
    bool ordered =
        check_order(errs, spec, "containers", p->spec.containers, p->spec.containers_count,
                    o->spec.containers, o->spec.containers_count);
    ordered = check_order(errs, spec, "initContainers", p->spec.init_containers,
                          p->spec.init_containers_count, o->spec.init_containers,
                          o->spec.init_containers_count) &&
              ordered;
    if (!ordered)
        return;
    for (size_t i = 0; i < o->spec.init_containers_count; i++)
        if (o->spec.init_containers[i].has_restart_policy)
            check_removed(errs, PATH(PATH_INDEX(PATH(spec, "initContainers"), i), "resources"),
                          &p->spec.init_containers[i].resources,
                          &o->spec.init_containers[i].resources);
    for (size_t i = 0; i < o->spec.containers_count; i++)
        check_removed(errs, PATH(PATH_INDEX(PATH(spec, "containers"), i), "resources"),
                      &p->spec.containers[i].resources, &o->spec.containers[i].resources);
    for (size_t i = 0; i < o->spec.containers_count; i++)
        if (!only_cpu_and_memory(&p->spec.containers[i].resources,
                                 &o->spec.containers[i].resources))
            field_forbidden(errs, spec, "only cpu and memory resources are mutable");
    check_init_containers_resized(errs, spec, p, o);
}
