/* device_state.c - see device_state.h. Texts of refusals are upstream's. */
#include "kubelet/device_state.h"

#include "kubelet/resources.h"
#include "lib/api/quantity.h"
#include "lib/base/arena.h"

#include "api/core_v1.h"

#include <inttypes.h>

static char *copy(struct str s)
{
    char *c = xzalloc(s.len + 1);
    if (s.len > 0)
        memcpy(c, s.data, s.len);
    return c;
}

/* --- what there is -------------------------------------------------------------------------- */

static void clear_devices(struct device_resource *r)
{
    for (size_t i = 0; i < r->count; i++)
        free(r->devices[i].id);
    free(take(r->devices));
    r->count = 0;
    map_clear(&r->by_id);
}

static void resource_free(struct device_resource *r)
{
    clear_devices(r);
    map_done(&r->by_id);
    free(r->name);
    free(r);
}

static void grant_free(struct device_grant *g)
{
    list_remove(&g->link);
    for (size_t i = 0; i < g->count; i++)
        free(g->ids[i]);
    free(g->ids);
    free(g->nodes);
    free(g->pod_uid);
    free(g->container);
    free(g->resource);
    free(g->answer);
    free(g);
}

void device_state_init(struct device_state *s)
{
    map_init(&s->resources);
    list_init(&s->grants);
}

void device_state_done(struct device_state *s)
{
    size_t pos = 0;
    void *r;
    while (map_next(&s->resources, &pos, NULL, &r))
        resource_free(r);
    map_done(&s->resources);
    LIST_FOREACH_SAFE (it, &s->grants)
        grant_free(LIST_ENTRY(it, struct device_grant, link));
}

struct device_resource *device_resource_find(const struct device_state *s, struct str name)
{
    return map_get(&s->resources, name);
}

struct device_resource *device_resource_add(struct device_state *s, struct str name)
{
    struct device_resource *r = device_resource_find(s, name);
    if (r != NULL)
        return r;
    r = xzalloc(sizeof(*r));
    r->name = copy(name);
    map_init(&r->by_id);
    map_set(&s->resources, name, r);
    return r;
}

void device_resource_remove(struct device_state *s, struct device_resource *r)
{
    map_remove(&s->resources, str_of(r->name));
    resource_free(r);
}

void device_resource_set(struct device_resource *r, const struct device_seen *list, size_t count)
{
    clear_devices(r);
    r->devices = xzalloc((count + 1) * sizeof(*r->devices));
    for (size_t i = 0; i < count; i++) {
        struct device *d = map_get(&r->by_id, str_of(list[i].id));
        if (d == NULL) {
            d = &r->devices[r->count++];
            d->id = xstrdup(list[i].id);
            map_set(&r->by_id, str_of(d->id), d);
        }
        d->healthy = list[i].healthy;
        d->nodes = list[i].nodes;
    }
}

void device_resource_lose(struct device_resource *r)
{
    r->connected = false;
    for (size_t i = 0; i < r->count; i++)
        r->devices[i].healthy = false;
}

size_t device_resource_healthy(const struct device_resource *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->count; i++)
        n += r->devices[i].healthy;
    return n;
}

const struct device *device_find(const struct device_resource *r, const char *id)
{
    return r != NULL ? map_get(&r->by_id, str_of(id)) : NULL;
}

/* --- who has what --------------------------------------------------------------------------- */

struct device_grant *device_grant_find(const struct device_state *s, struct str pod_uid,
                                       struct str container, struct str resource)
{
    LIST_FOREACH (it, &s->grants) {
        struct device_grant *g = LIST_ENTRY(it, struct device_grant, link);
        if (str_eqc(pod_uid, g->pod_uid) && str_eqc(container, g->container) &&
            str_eqc(resource, g->resource))
            return g;
    }
    return NULL;
}

struct device_grant *device_grant_add(struct device_state *s, struct str pod_uid,
                                      struct str container, struct str resource)
{
    struct device_grant *g = xzalloc(sizeof(*g));
    g->pod_uid = copy(pod_uid);
    g->container = copy(container);
    g->resource = copy(resource);
    list_push_back(&s->grants, &g->link);
    return g;
}

static bool grant_has(const struct device_grant *g, struct str id)
{
    for (size_t i = 0; i < g->count; i++)
        if (str_eqc(id, g->ids[i]))
            return true;
    return false;
}

void device_grant_add_device(struct device_grant *g, struct str id, numa_mask nodes)
{
    for (size_t i = 0; i < g->count; i++) {
        if (!str_eqc(id, g->ids[i]))
            continue;
        g->nodes[i] |= nodes; /* Checkpoints name it once for each node. */
        return;
    }
    g->ids = xrealloc(g->ids, (g->count + 1) * sizeof(*g->ids));
    g->nodes = xrealloc(g->nodes, (g->count + 1) * sizeof(*g->nodes));
    g->ids[g->count] = copy(id);
    g->nodes[g->count++] = nodes;
}

void device_grant_settle(struct device_grant *g, const void *answer, size_t bytes)
{
    free(g->answer);
    g->answer = xzalloc(bytes + 1);
    if (bytes > 0)
        memcpy(g->answer, answer, bytes);
    g->answer_bytes = bytes;
    g->settled = true;
}

bool device_free_pod(struct device_state *s, struct str pod_uid)
{
    bool any = false;
    LIST_FOREACH_SAFE (it, &s->grants) {
        struct device_grant *g = LIST_ENTRY(it, struct device_grant, link);
        if (!str_eqc(pod_uid, g->pod_uid))
            continue;
        any = any || g->settled;
        grant_free(g);
    }
    return any;
}

int64_t device_request(const struct core_v1_container *c, struct str resource)
{
    for (size_t i = 0; i < c->resources.limits_count; i++) {
        if (!str_eq(c->resources.limits[i].key, resource))
            continue;
        struct quantity q = quantity_of(&c->resources.limits[i].value);
        return MAX_OF(quantity_value(&q), (int64_t)0);
    }
    return 0;
}

/* --- choosing ------------------------------------------------------------------------------- */

static void mark_grant(const struct device_state *s, const struct core_v1_pod *pod,
                       const struct core_v1_container *c, struct str resource, bool there,
                       struct map *ids)
{
    const struct device_grant *g = device_grant_find(s, pod->metadata.uid, c->name, resource);
    for (size_t i = 0; g != NULL && i < g->count; i++) {
        if (there)
            map_set(ids, str_of(g->ids[i]), (void *)(uintptr_t)g);
        else
            map_remove(ids, str_of(g->ids[i]));
    }
}

/* What ordinary init containers before c have, and nobody since then has for good. */
void device_find_reusable(const struct device_state *s, const struct core_v1_pod *pod,
                          const struct core_v1_container *c, struct str resource, struct map *ids)
{
    const struct core_v1_pod_spec *spec = &pod->spec;
    for (size_t i = 0; i < spec->init_containers_count; i++) {
        const struct core_v1_container *x = &spec->init_containers[i];
        if (c != NULL && str_eq(x->name, c->name))
            return;
        mark_grant(s, pod, x, resource, !container_is_sidecar(x), ids);
    }
    for (size_t i = 0; c != NULL && i < spec->containers_count; i++) {
        if (str_eq(spec->containers[i].name, c->name))
            return;
        mark_grant(s, pod, &spec->containers[i], resource, false, ids);
    }
}

void device_find_used(const struct device_state *s, struct str resource, struct map *ids)
{
    LIST_FOREACH (it, &s->grants) {
        struct device_grant *g = LIST_ENTRY(it, struct device_grant, link);
        for (size_t i = 0; str_eqc(resource, g->resource) && i < g->count; i++)
            map_set(ids, str_of(g->ids[i]), g);
    }
}

/* Takes what is healthy and free: near the wanted nodes, then elsewhere, then what is near none. */
static void take_free(const struct device_resource *r, const struct map *used, size_t need,
                      struct device_grant *g)
{
    for (int pass = 0; pass < 3 && g->count < need; pass++) {
        for (size_t i = 0; i < r->count && g->count < need; i++) {
            const struct device *d = &r->devices[i];
            int rank = (g->wanted & d->nodes) != 0 ? 0 : d->nodes != 0 ? 1 : 2;
            if (rank == pass && d->healthy && !map_has(used, str_of(d->id)))
                device_grant_add_device(g, str_of(d->id), d->nodes);
        }
    }
}

static size_t count_free(const struct device_resource *r, const struct map *used)
{
    size_t n = 0;
    for (size_t i = 0; i < r->count; i++)
        n += r->devices[i].healthy && !map_has(used, str_of(r->devices[i].id));
    return n;
}

static bool reserve_new(struct device_state *s, struct arena *a, const struct core_v1_pod *pod,
                        const struct core_v1_container *c, const struct device_resource *r,
                        size_t need, numa_mask wanted, const char **ret_why)
{
    struct map reusable, used;
    struct str name = str_of(r->name), id;
    size_t pos = 0;
    void *v;
    if (device_resource_healthy(r) == 0) {
        *ret_why = str_c(arena_printf(
            a, "no healthy devices present; cannot allocate unhealthy devices %s", r->name));
        return false;
    }
    map_init(&reusable);
    map_init(&used);
    device_find_reusable(s, pod, c, name, &reusable);
    device_find_used(s, name, &used);
    struct device_grant *g = device_grant_add(s, pod->metadata.uid, c->name, name);
    g->wanted = wanted;
    while (g->count < need && map_next(&reusable, &pos, &id, &v)) {
        const struct device *d = device_find(r, map_key(&reusable, id));
        device_grant_add_device(g, id, d != NULL ? d->nodes : 0);
    }
    g->reused = g->count;
    size_t left = need - g->count, available = count_free(r, &used);
    take_free(r, &used, need, g);
    map_done(&reusable);
    map_done(&used);
    if (g->count == need)
        return true;
    grant_free(g);
    *ret_why = str_c(arena_printf(a,
                                  "requested number of devices unavailable for %s. Requested: %zu, "
                                  "Available: %zu",
                                  r->name, left, available));
    return false;
}

bool device_reserve(struct device_state *s, struct arena *a, const struct core_v1_pod *pod,
                    const struct core_v1_container *c, numa_mask wanted, const char **ret_why)
{
    for (size_t i = 0; i < c->resources.limits_count; i++) {
        struct str name = c->resources.limits[i].key;
        int64_t need = device_request(c, name);
        const struct device_grant *g = device_grant_find(s, pod->metadata.uid, c->name, name);
        const struct device_resource *r = device_resource_find(s, name);
        if (g != NULL && need != (int64_t)g->count) {
            *ret_why = str_c(arena_printf(
                a,
                "pod \"" STR_FMT "\" container \"" STR_FMT "\" changed request for resource "
                "\"" STR_FMT "\" from %zu to %" PRId64,
                STR_ARG(pod->metadata.uid), STR_ARG(c->name), STR_ARG(name), g->count, need));
            return false;
        }
        if (g == NULL && r != NULL && need > 0 &&
            !reserve_new(s, a, pod, c, r, (size_t)need, wanted, ret_why))
            return false;
    }
    return true;
}

/* What the grant has, and what it could have: if those near the wanted nodes suffice, they alone.
 */
static bool may_have(const struct device_grant *g, const struct device *d, const struct map *used,
                     bool near_only)
{
    if (grant_has(g, str_of(d->id)))
        return true;
    return d->healthy && !map_has(used, str_of(d->id)) &&
           (!near_only || (d->nodes & g->wanted) != 0);
}

/* All that it took newly is near the wanted nodes: others would not be better. */
static bool is_near(const struct device_grant *g)
{
    for (size_t i = g->reused; i < g->count; i++)
        if ((g->nodes[i] & g->wanted) == 0)
            return false;
    return g->wanted != 0;
}

void device_grant_choices(const struct device_state *s, struct arena *a,
                          const struct device_grant *g, const char ***ret, size_t *ret_count)
{
    const struct device_resource *r = device_resource_find(s, str_of(g->resource));
    struct map used;
    size_t count = 0;
    const char **list = ARENA_ARRAY(a, const char *, g->count + (r != NULL ? r->count : 0) + 1);
    map_init(&used);
    device_find_used(s, str_of(g->resource), &used);
    for (size_t i = 0; i < g->count; i++)
        list[count++] = arena_strdup(a, g->ids[i]);
    for (size_t i = 0; r != NULL && i < r->count; i++)
        if (may_have(g, &r->devices[i], &used, is_near(g)) &&
            !grant_has(g, str_of(r->devices[i].id)))
            list[count++] = arena_strdup(a, r->devices[i].id);
    map_done(&used);
    *ret = list;
    *ret_count = count;
}

/* Devices that are near stay in the grant when those near do not suffice: alignment comes before
 * what the plugin prefers. */
static bool stays(const struct device_grant *g, size_t i)
{
    return i < g->reused || (g->wanted != 0 && !is_near(g) && (g->nodes[i] & g->wanted) != 0);
}

void device_grant_prefer(const struct device_state *s, struct device_grant *g, char *const *ids,
                         size_t count)
{
    const struct device_resource *r = device_resource_find(s, str_of(g->resource));
    struct device_grant now = {.reused = g->reused, .wanted = g->wanted};
    struct map used;
    map_init(&used);
    device_find_used(s, str_of(g->resource), &used);
    for (size_t i = 0; i < g->count; i++)
        if (stays(g, i))
            device_grant_add_device(&now, str_of(g->ids[i]), g->nodes[i]);
    for (size_t i = 0; i < count && now.count < g->count; i++) {
        const struct device *d = device_find(r, ids[i]);
        if (d != NULL && may_have(g, d, &used, is_near(g)))
            device_grant_add_device(&now, str_of(d->id), d->nodes);
    }
    for (size_t i = 0; i < g->count && now.count < g->count; i++)
        device_grant_add_device(&now, str_of(g->ids[i]), g->nodes[i]);
    for (size_t i = 0; i < g->count; i++)
        free(g->ids[i]);
    free(g->ids);
    free(g->nodes);
    g->ids = now.ids;
    g->nodes = now.nodes;
    map_done(&used);
}
