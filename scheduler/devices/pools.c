/* pools.c - see pools.h. */
#include "scheduler/devices/pools.h"

#include "api/core_v1.h"
#include "api/resource_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/map.h"
#include "lib/client/placement.h"
#include "scheduler/devices/devices.h"

#include <stdlib.h>

struct pool {
    struct str driver, name;
    const struct resource_v1_resource_slice **slices; /* Of the newest generation, by name. */
    size_t count, cap;
};

struct indexes {
    size_t *items;
    size_t count, cap;
};

struct device_pools {
    struct arena *arena;
    struct pool *pools; /* By driver and name. */
    size_t count, cap;
    struct map of_node;      /* Node -> struct indexes */
    struct indexes anywhere; /* Both sorted. */
};

/* --- all slices ------------------------------------------------------------------------------- */

/* Of one node, and nothing that others of its pool need. */
static bool is_local(const struct resource_v1_resource_slice *s)
{
    return s->spec.has_node_name && !str_empty(s->spec.node_name) &&
           s->spec.shared_counters_count == 0;
}

static void add_slice(struct device_pools *p, struct pool *pool,
                      const struct resource_v1_resource_slice *s)
{
    int64_t newest = pool->count != 0 ? pool->slices[0]->spec.pool.generation : INT64_MIN;
    if (s->spec.pool.generation < newest)
        return;
    if (s->spec.pool.generation > newest)
        pool->count = 0;
    pool->slices =
        arena_grow(p->arena, pool->slices, pool->count, &pool->cap, sizeof(*pool->slices));
    pool->slices[pool->count++] = s;
}

static int by_slice_name(const void *x, const void *y)
{
    const struct resource_v1_resource_slice *const *a = x, *const *b = y;
    return str_cmp((*a)->metadata.name, (*b)->metadata.name);
}

static int by_pool(const void *x, const void *y)
{
    const struct pool *a = x, *b = y;
    int c = str_cmp(a->driver, b->driver);
    return c != 0 ? c : str_cmp(a->name, b->name);
}

static void add_index(struct device_pools *p, struct indexes *list, size_t i)
{
    if (list->count != 0 && list->items[list->count - 1] == i)
        return;
    list->items = arena_grow(p->arena, list->items, list->count, &list->cap, sizeof(*list->items));
    list->items[list->count++] = i;
}

static void index_pool(struct device_pools *p, size_t i)
{
    struct pool *pool = &p->pools[i];
    qsort(pool->slices, pool->count, sizeof(const struct resource_v1_resource_slice *),
          by_slice_name);
    for (size_t k = 0; k < pool->count; k++) {
        const struct resource_v1_resource_slice *s = pool->slices[k];
        if (!is_local(s)) {
            add_index(p, &p->anywhere, i);
            continue;
        }
        struct indexes *list = map_get(&p->of_node, s->spec.node_name);
        if (list == NULL) {
            list = ARENA_NEW(p->arena, struct indexes);
            map_set(&p->of_node, s->spec.node_name, list);
        }
        add_index(p, list, i);
    }
}

struct device_pools *device_pools_new(const struct devices *d)
{
    struct device_pools *p = xzalloc(sizeof(*p));
    struct map by_key; /* "driver/name" -> index + 1 */
    size_t pos = 0;
    const struct api_object *o;
    p->arena = arena_new(0);
    map_init(&p->of_node);
    map_init(&by_key);
    while ((o = devices_next_slice(d, &pos)) != NULL) {
        const struct resource_v1_resource_slice *s = o->msg;
        struct str key = device_key(p->arena, s->spec.driver, s->spec.pool.name, STR_NULL);
        size_t i = (size_t)(uintptr_t)map_get(&by_key, key);
        if (i == 0) {
            p->pools = arena_grow(p->arena, p->pools, p->count, &p->cap, sizeof(*p->pools));
            p->pools[p->count++] =
                (struct pool){.driver = s->spec.driver, .name = s->spec.pool.name};
            i = p->count;
            map_set(&by_key, key, (void *)(uintptr_t)i);
        }
        add_slice(p, &p->pools[i - 1], s);
    }
    map_done(&by_key);
    if (p->count != 0)
        qsort(p->pools, p->count, sizeof(*p->pools), by_pool);
    for (size_t i = 0; i < p->count; i++)
        index_pool(p, i);
    return p;
}

void device_pools_free(struct device_pools *p)
{
    if (p == NULL)
        return;
    map_done(&p->of_node);
    arena_free(p->arena);
    free(p);
}

/* --- one node --------------------------------------------------------------------------------- */

bool device_meant_for(const struct core_v1_node *node, bool has_name, struct str name, bool all,
                      const struct core_v1_node_selector *selector)
{
    if (has_name && !str_empty(name))
        return str_eq(name, node->metadata.name);
    return all || (selector != NULL && node_selector_matches(selector, node));
}

static bool reaches(const struct resource_v1_resource_slice *s, const struct core_v1_node *node)
{
    const struct resource_v1_resource_slice_spec *x = &s->spec;
    bool all = x->has_all_nodes && x->all_nodes;
    if (x->shared_counters_count != 0)
        return true; /* They are needed wherever the devices are. */
    if ((x->has_node_name && !str_empty(x->node_name)) || all || x->node_selector != NULL)
        return device_meant_for(node, x->has_node_name, x->node_name, all, x->node_selector);
    for (size_t i = 0; x->per_device_node_selection && i < x->devices_count; i++) {
        const struct resource_v1_device *d = &x->devices[i];
        if (device_meant_for(node, d->has_node_name, d->node_name, d->has_all_nodes && d->all_nodes,
                             d->node_selector))
            return true;
    }
    return false;
}

static void check_names(struct arena *a, struct node_pool *v)
{
    struct map names;
    map_init(&names);
    for (size_t i = 0; i < v->slice_count && v->invalid == NULL; i++)
        for (size_t k = 0; k < v->slices[i]->spec.devices_count; k++) {
            const struct resource_v1_device *d = &v->slices[i]->spec.devices[k];
            v->binding |= d->binding_conditions_count != 0;
            if (map_set(&names, d->name, v) != NULL)
                v->invalid =
                    arena_printf(a, "duplicate device name " STR_FMT, STR_ARG(d->name)).data;
        }
    map_done(&names);
}

static struct pool_counter *find_counter(const struct node_pool *v, struct str set, struct str name)
{
    for (size_t i = 0; i < v->counter_count; i++)
        if (str_eq(v->counters[i].set, set) && str_eq(v->counters[i].name, name))
            return &v->counters[i];
    return NULL;
}

static bool has_set(const struct node_pool *v, struct str set)
{
    for (size_t i = 0; i < v->counter_count; i++)
        if (str_eq(v->counters[i].set, set))
            return true;
    return false;
}

static void take_counters(struct arena *a, struct node_pool *v,
                          const struct resource_v1_resource_slice *s)
{
    size_t cap = v->counter_count;
    for (size_t i = 0; i < s->spec.shared_counters_count && v->invalid == NULL; i++) {
        const struct resource_v1_counter_set *set = &s->spec.shared_counters[i];
        if (has_set(v, set->name))
            v->invalid =
                arena_printf(a, "duplicate counter set name " STR_FMT, STR_ARG(set->name)).data;
        for (size_t k = 0; k < set->counters_count; k++) {
            v->counters = arena_grow(a, v->counters, v->counter_count, &cap, sizeof(*v->counters));
            v->counters[v->counter_count++] = (struct pool_counter){
                set->name, set->counters[k].key, quantity_of(&set->counters[k].value.value)};
        }
    }
}

/* What the device takes must be there; what it takes is gone when it is given away. */
static void consume(struct arena *a, struct node_pool *v, const struct resource_v1_device *d,
                    bool taken)
{
    for (size_t i = 0; i < d->consumes_counters_count && v->invalid == NULL; i++) {
        const struct resource_v1_device_counter_consumption *x = &d->consumes_counters[i];
        if (!has_set(v, x->counter_set)) {
            v->invalid =
                arena_printf(a, "counter set " STR_FMT " not found", STR_ARG(x->counter_set)).data;
            return;
        }
        for (size_t k = 0; k < x->counters_count; k++) {
            struct pool_counter *c = find_counter(v, x->counter_set, x->counters[k].key);
            struct quantity amount = quantity_of(&x->counters[k].value.value);
            if (c == NULL) {
                v->invalid =
                    arena_printf(a, "counter " STR_FMT " not found in counter set " STR_FMT,
                                 STR_ARG(x->counters[k].key), STR_ARG(x->counter_set))
                        .data;
                return;
            }
            if (taken)
                quantity_sub(&c->left, &amount);
        }
    }
}

static void count_counters(struct arena *a, const struct devices *d, struct node_pool *v,
                           const struct resource_v1_resource_slice *const *slices, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < slices[i]->spec.devices_count; k++) {
            const struct resource_v1_device *x = &slices[i]->spec.devices[k];
            if (x->consumes_counters_count == 0)
                continue;
            struct str key = device_key(a, v->driver, v->name, x->name);
            consume(a, v, x, devices_use(d, key) != NULL);
        }
}

/* False: the node reaches nothing of it. */
static bool view(const struct pool *p, const struct devices *d, struct arena *a,
                 const struct core_v1_node *node, struct node_pool *v)
{
    size_t relevant = 0;
    int64_t wanted = 0;
    *v = (struct node_pool){.driver = p->driver, .name = p->name};
    v->slices = ARENA_ARRAY(a, const struct resource_v1_resource_slice *, p->count);
    v->others = ARENA_ARRAY(a, const struct resource_v1_resource_slice *, p->count);
    for (size_t i = 0; i < p->count; i++) {
        const struct resource_v1_resource_slice *s = p->slices[i];
        bool ours = reaches(s, node);
        if (ours && relevant++ == 0)
            wanted = s->spec.pool.resource_slice_count;
        if (s->spec.shared_counters_count != 0)
            take_counters(a, v, s);
        else if (ours)
            v->slices[v->slice_count++] = s;
        else
            v->others[v->other_count++] = s;
    }
    if (relevant == 0)
        return false;
    if ((int64_t)relevant != wanted && (int64_t)p->count != wanted) {
        *v = (struct node_pool){.driver = p->driver, .name = p->name, .incomplete = true};
        return true;
    }
    check_names(a, v);
    count_counters(a, d, v, v->slices, v->slice_count);
    count_counters(a, d, v, v->others, v->other_count);
    return true;
}

size_t device_pools_of_node(const struct device_pools *p, const struct devices *d, struct arena *a,
                            const struct core_v1_node *node, struct node_pool **ret)
{
    static const struct indexes none;
    const struct indexes *local = map_get(&p->of_node, node->metadata.name), *any = &p->anywhere;
    size_t i = 0, k = 0, count = 0, late = 0;
    local = local != NULL ? local : &none;
    struct node_pool *views = ARENA_ARRAY(a, struct node_pool, local->count + any->count);
    struct node_pool *binding = ARENA_ARRAY(a, struct node_pool, local->count + any->count);
    while (i < local->count || k < any->count) {
        size_t at;
        if (k == any->count || (i < local->count && local->items[i] < any->items[k]))
            at = local->items[i++];
        else
            at = any->items[k++];
        if (i < local->count && local->items[i] == at)
            i++;
        struct node_pool v;
        if (!view(&p->pools[at], d, a, node, &v))
            continue;
        if (v.binding)
            binding[late++] = v;
        else
            views[count++] = v;
    }
    if (late != 0)
        memcpy(views + count, binding, late * sizeof(*binding));
    *ret = views;
    return count + late;
}
