/* vpa_memory.c - see vpa_memory.h: samples. */
#include "controllers/vpa_memory.h"

#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

#include <stdlib.h>

struct vpa_memory *vpa_memory_new(void)
{
    struct vpa_memory *m = xzalloc(sizeof(*m));
    map_init(&m->series);
    map_init(&m->usages);
    map_init(&m->tries);
    return m;
}

static void free_values(struct map *m)
{
    struct str key;
    void *value;
    size_t pos = 0;
    while (map_next(m, &pos, &key, &value))
        free(value);
    map_done(m);
}

void vpa_memory_free(struct vpa_memory *m)
{
    if (m == NULL)
        return;
    free_values(&m->series);
    free_values(&m->usages);
    free_values(&m->tries);
    free(m);
}

/* --- places ------------------------------------------------------------------------------- */
static struct vpa_series *series_of(struct vpa_memory *m, struct str container)
{
    struct vpa_series *s = map_get(&m->series, container);
    if (s == NULL) {
        s = xzalloc(sizeof(*s));
        vpa_aggregate_init(&s->aggregate);
        map_set(&m->series, container, s);
    }
    return s;
}

static struct vpa_pod_usage *usage_of(struct vpa_memory *m, struct str container, struct str uid)
{
    AUTO_ARENA *a = arena_new(256);
    struct str key = arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(container), STR_ARG(uid));
    struct vpa_pod_usage *u = map_get(&m->usages, key);
    if (u == NULL) {
        u = xzalloc(sizeof(*u));
        map_set(&m->usages, key, u);
    }
    return u;
}

static struct vpa_memory_rules rules_of(const struct vpa_object *v, struct str container)
{
    struct vpa_memory_rules r = vpa_memory_rules_default;
    const struct vpa_policy *p = vpa_policy_of(v, container);
    if (p != NULL && p->oom_ratio > 0)
        r.oom_ratio = p->oom_ratio;
    if (p != NULL && p->oom_bytes > 0)
        r.oom_bytes = p->oom_bytes;
    if (p != NULL && p->memory_interval_s > 0)
        r.interval_s = p->memory_interval_s;
    return r;
}

static const struct core_v1_pod *pod_named(struct api_object *const *pods, size_t count,
                                           struct str name)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(api_object_meta(pods[i])->name, name))
            return pods[i]->msg;
    return NULL;
}

static bool has_container(const struct core_v1_pod *p, struct str name, size_t *ret)
{
    for (size_t i = 0; i < p->spec.containers_count; i++)
        if (str_eq(p->spec.containers[i].name, name)) {
            *ret = i;
            return true;
        }
    return false;
}

/* --- usage ---------------------------------------------------------------------------------- */
static bool read_usage(const struct json *usage, enum vpa_resource r, int64_t *ret)
{
    struct quantity q;
    if (quantity_parse(json_get_str(usage, vpa_resource_names[r]), &q, NULL) != 0)
        return false;
    *ret = r == VPA_CPU ? quantity_milli_value(&q) : quantity_value(&q);
    return true;
}

static void feed_container(struct vpa_memory *m, const struct vpa_object *v,
                           const struct core_v1_pod *p, const struct json *c, int64_t at_s)
{
    struct str name = json_get_str(c, "name");
    const struct json *usage = json_getc(c, "usage");
    struct vpa_memory_rules rules = rules_of(v, name);
    int64_t n;
    size_t index;
    if (!has_container(p, name, &index))
        return; /* An init container. */
    struct vpa_series *s = series_of(m, name);
    struct vpa_usage *u = &usage_of(m, name, p->metadata.uid)->usage;
    if (read_usage(usage, VPA_CPU, &n) && vpa_add_cpu(&s->aggregate, u, n, at_s))
        s->changed = true;
    if (read_usage(usage, VPA_MEMORY, &n) && vpa_add_memory(&s->aggregate, u, &rules, n, at_s))
        s->changed = true;
}

static void feed_pod(struct vpa_memory *m, const struct vpa_object *v, const struct core_v1_pod *p,
                     const struct json *metrics)
{
    const struct json *list = json_getc(metrics, "containers");
    struct meta_v1_time at;
    if (time_parse(json_get_str(metrics, "timestamp"), &at, NULL) != 0 || list == NULL ||
        list->type != JSON_ARRAY)
        return;
    for (size_t i = 0; i < list->array.count; i++)
        feed_container(m, v, p, list->array.items[i], at.seconds);
}

int vpa_memory_feed(struct vpa_memory *m, const struct vpa_object *v,
                    struct api_object *const *pods, size_t count, struct str metrics,
                    struct error *err)
{
    AUTO_ARENA *a = arena_new(0);
    struct json *root;
    int rc = json_parse(a, metrics, &root, err);
    if (rc != 0)
        return rc;
    const struct json *items = json_getc(root, "items");
    if (items == NULL || items->type != JSON_ARRAY)
        return error_set(err, E_INVALID, "the resource metrics API gave no list");
    for (size_t i = 0; i < items->array.count; i++) {
        const struct json *x = items->array.items[i];
        const struct core_v1_pod *p =
            pod_named(pods, count, json_get_str(json_getc(x, "metadata"), "name"));
        if (p != NULL)
            feed_pod(m, v, p, x);
    }
    return 0;
}

/* --- kills -------------------------------------------------------------------------------------
 */
static void count_kill(struct vpa_memory *m, const struct vpa_object *v,
                       const struct core_v1_pod *p, struct str container,
                       const struct core_v1_container_state_terminated *t)
{
    struct vpa_list requests, limits;
    struct vpa_memory_rules rules = rules_of(v, container);
    size_t index;
    if (t == NULL || !str_eqc(t->reason, "OOMKilled") || !has_container(p, container, &index))
        return;
    struct vpa_pod_usage *u = usage_of(m, container, p->metadata.uid);
    if (t->finished_at.seconds <= u->oom_s)
        return;
    u->oom_s = t->finished_at.seconds;
    vpa_container_has(p, index, &requests, &limits);
    struct vpa_series *s = series_of(m, container);
    if (vpa_add_oom(&s->aggregate, &u->usage, &rules, requests.of[VPA_MEMORY].n, u->oom_s))
        s->changed = true;
}

static void drop_unseen(struct map *usages)
{
    struct str key;
    void *value;
    size_t pos = 0;
    while (map_next(usages, &pos, &key, &value)) {
        struct vpa_pod_usage *u = value;
        if (!u->seen)
            free(map_remove(usages, key));
        else
            u->seen = false;
    }
}

void vpa_memory_kills(struct vpa_memory *m, const struct vpa_object *v,
                      struct api_object *const *pods, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct core_v1_pod *p = pods[i]->msg;
        for (size_t k = 0; k < p->spec.containers_count; k++)
            usage_of(m, p->spec.containers[k].name, p->metadata.uid)->seen = true;
        for (size_t k = 0; k < p->status.container_statuses_count; k++) {
            const struct core_v1_container_status *s = &p->status.container_statuses[k];
            count_kill(m, v, p, s->name, s->last_state.terminated);
            count_kill(m, v, p, s->name, s->state.terminated);
        }
    }
    drop_unseen(&m->usages);
}

void vpa_memory_expire(struct vpa_memory *m, const struct vpa_object *v, int64_t now_s,
                       void (*gone)(struct str container, void *arg), void *arg)
{
    struct str name;
    void *value;
    size_t pos = 0;
    while (map_next(&m->series, &pos, &name, &value)) {
        const struct vpa_series *s = value;
        const struct vpa_policy *p = vpa_policy_of(v, name);
        int64_t n =
            p != NULL && p->memory_intervals > 0 ? p->memory_intervals : VPA_MEMORY_INTERVALS;
        if (s->aggregate.count == 0 ||
            now_s - s->aggregate.last_s < n * rules_of(v, name).interval_s)
            continue;
        gone(name, arg);
        free(map_remove(&m->series, name));
    }
}
