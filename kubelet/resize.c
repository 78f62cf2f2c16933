/* resize.c - see resize.h. */
#include "kubelet/resize.h"

#include "api/core_v1.h"
#include "api/resource.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"

static const char *const resized[] = {"cpu", "memory"};

static bool same_list(const struct api_quantity_entry *x, size_t x_count,
                      const struct api_quantity_entry *y, size_t y_count)
{
    for (size_t i = 0; i < ARRAY_SIZE(resized); i++) {
        int64_t a = -1, b = -1; /* Not given. */
        resource_milli(x, x_count, resized[i], &a);
        resource_milli(y, y_count, resized[i], &b);
        if (a != b)
            return false;
    }
    return true;
}

bool resize_same(const struct core_v1_resource_requirements *x,
                 const struct core_v1_resource_requirements *y)
{
    return same_list(x->requests, x->requests_count, y->requests, y->requests_count) &&
           same_list(x->limits, x->limits_count, y->limits, y->limits_count);
}

static struct core_v1_container *container_named(const struct core_v1_pod *p, struct str name)
{
    for (size_t i = 0; i < p->spec.init_containers_count; i++)
        if (str_eq(p->spec.init_containers[i].name, name))
            return &p->spec.init_containers[i];
    for (size_t i = 0; i < p->spec.containers_count; i++)
        if (str_eq(p->spec.containers[i].name, name))
            return &p->spec.containers[i];
    return NULL;
}

static const struct core_v1_container_status *status_named(const struct core_v1_pod *p,
                                                           struct str name)
{
    const struct core_v1_pod_status *s = &p->status;
    for (size_t i = 0; i < s->init_container_statuses_count; i++)
        if (str_eq(s->init_container_statuses[i].name, name))
            return &s->init_container_statuses[i];
    for (size_t i = 0; i < s->container_statuses_count; i++)
        if (str_eq(s->container_statuses[i].name, name))
            return &s->container_statuses[i];
    return NULL;
}

static size_t count_of(const struct core_v1_pod *p)
{
    return p->spec.init_containers_count + p->spec.containers_count;
}

static struct core_v1_container *container_at(const struct core_v1_pod *p, size_t i)
{
    size_t init = p->spec.init_containers_count;
    return i < init ? &p->spec.init_containers[i] : &p->spec.containers[i - init];
}

bool resize_differs(const struct api_object *x, const struct api_object *y)
{
    const struct core_v1_pod *p = x->msg;
    for (size_t i = 0; i < count_of(p); i++) {
        const struct core_v1_container *c = container_at(p, i),
                                       *other = container_named(y->msg, c->name);
        if (other != NULL && !resize_same(&c->resources, &other->resources))
            return true;
    }
    return false;
}

struct api_object *resize_with_amounts(const struct api_object *pod, const struct api_object *from)
{
    struct api_object *o = api_object_clone(pod);
    const struct core_v1_pod *p = o->msg;
    for (size_t i = 0; i < count_of(p); i++) {
        struct core_v1_container *c = container_at(p, i);
        const struct core_v1_container *other = container_named(from->msg, c->name);
        if (other == NULL || resize_same(&c->resources, &other->resources))
            continue;
        c->resources = *(struct core_v1_resource_requirements *)api_msg_clone(
            o->arena, &core_v1_resource_requirements_msg, &other->resources);
    }
    return o;
}

const struct core_v1_resource_requirements *resize_applied(const struct core_v1_pod *pod,
                                                           struct str container)
{
    const struct core_v1_container_status *s = status_named(pod, container);
    return s != NULL ? s->resources : NULL;
}

struct api_object *resize_as_told(const struct api_object *pod)
{
    struct api_object *o = api_object_clone(pod);
    const struct core_v1_pod *p = o->msg;
    for (size_t i = 0; i < count_of(p); i++) {
        struct core_v1_container *c = container_at(p, i);
        const struct core_v1_container_status *s = status_named(p, c->name);
        if (s == NULL || s->resources == NULL)
            continue;
        c->resources.limits = s->resources->limits;
        c->resources.limits_count = s->resources->limits_count;
        c->resources.requests = s->allocated_resources;
        c->resources.requests_count = s->allocated_resources_count;
    }
    return o;
}

bool resize_restarts(const struct core_v1_container *c,
                     const struct core_v1_resource_requirements *applied)
{
    for (size_t i = 0; i < c->resize_policy_count; i++) {
        const struct core_v1_container_resize_policy *p = &c->resize_policy[i];
        const struct core_v1_resource_requirements *r = &c->resources;
        int64_t was = -1, is = -1, was_limit = -1, is_limit = -1;
        const char *name = str_eqc(p->resource_name, "cpu") ? "cpu" : "memory";
        resource_milli(applied->requests, applied->requests_count, name, &was);
        resource_milli(r->requests, r->requests_count, name, &is);
        resource_milli(applied->limits, applied->limits_count, name, &was_limit);
        resource_milli(r->limits, r->limits_count, name, &is_limit);
        if (str_eqc(p->restart_policy, "RestartContainer") && (was != is || was_limit != is_limit))
            return true;
    }
    return false;
}

static int64_t wider(int64_t x, int64_t y)
{
    return x == 0 || y == 0 ? 0 : MAX_OF(x, y);
}

void resize_widen(struct cgroup_limits *l, const struct cgroup_limits *other)
{
    l->cpu_shares = MAX_OF(l->cpu_shares, other->cpu_shares);
    l->cpu_quota_us = wider(l->cpu_quota_us, other->cpu_quota_us);
    l->memory_bytes = wider(l->memory_bytes, other->memory_bytes);
}
