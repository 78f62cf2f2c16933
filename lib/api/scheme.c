/* scheme.c - lookups in the registry of kinds, and shared objects. */
#include "lib/api/scheme.h"

#include "lib/api/codec.h"
#include "lib/api/pack.h"
#include "lib/api/scheme_table.h"
#include "lib/base/arena.h"

#include <pthread.h>

/* Kinds are found through a table sorted by kind, group, version; resources
 * through one sorted by resource. Both are built once. */
static struct {
    pthread_once_t once;
    const struct api_kind **all;
    const struct api_kind **by_kind;
    const struct api_kind **by_resource;
    size_t resource_count;
} registry = {.once = PTHREAD_ONCE_INIT};

static int compare_text(const char *x, const char *y)
{
    return strcmp(x, y);
}

static int compare_kinds(const void *x, const void *y)
{
    const struct api_kind *a = *(const struct api_kind *const *)x,
                          *b = *(const struct api_kind *const *)y;
    int order = compare_text(a->kind, b->kind);
    if (order == 0)
        order = compare_text(a->group, b->group);
    return order != 0 ? order : compare_text(a->version, b->version);
}

static int compare_resources(const void *x, const void *y)
{
    const struct api_kind *a = *(const struct api_kind *const *)x,
                          *b = *(const struct api_kind *const *)y;
    int order = compare_text(a->resource, b->resource);
    if (order == 0)
        order = compare_text(a->group, b->group);
    return order != 0 ? order : compare_text(a->version, b->version);
}

static void build_registry(void)
{
    size_t n = api_kind_table_count;
    registry.all = xzalloc(n * sizeof(*registry.all));
    registry.by_kind = xzalloc(n * sizeof(*registry.by_kind));
    registry.by_resource = xzalloc(n * sizeof(*registry.by_resource));
    for (size_t i = 0; i < n; i++) {
        registry.all[i] = registry.by_kind[i] = &api_kind_table[i];
        if (api_kind_table[i].resource != NULL)
            registry.by_resource[registry.resource_count++] = &api_kind_table[i];
    }
    qsort(registry.by_kind, n, sizeof(*registry.by_kind), compare_kinds);
    qsort(registry.by_resource, registry.resource_count, sizeof(*registry.by_resource),
          compare_resources);
}

const struct api_kind *const *api_kinds(size_t *ret_count)
{
    pthread_once(&registry.once, build_registry);
    *ret_count = api_kind_table_count;
    return registry.all;
}

static int compare_str(struct str s, const char *c)
{
    return str_cmp(s, str_of(c));
}

/* Options, WatchEvent and the discovery documents are registered by servers
 * in every group version; the table lists them once. */
static bool is_everywhere(const struct api_kind *k)
{
    return k->msg->shape != API_SHAPE_PART && k->group[0] == '\0' &&
           strcmp(k->msg->group != NULL ? k->msg->group : "", "") == 0 &&
           strncmp(k->msg->full_name, "k8s.io.apimachinery.", 20) == 0;
}

const struct api_kind *api_kind_by_gvk(struct str group, struct str version, struct str kind)
{
    pthread_once(&registry.once, build_registry);
    size_t low = 0, high = api_kind_table_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const struct api_kind *k = registry.by_kind[mid];
        int order = compare_str(kind, k->kind);
        if (order == 0)
            order = compare_str(group, k->group);
        if (order == 0)
            order = compare_str(version, k->version);
        if (order == 0)
            return k;
        if (order > 0)
            low = mid + 1;
        else
            high = mid;
    }
    /* low is where it would stand; kinds of that name are around it. */
    while (low > 0 && compare_str(kind, registry.by_kind[low - 1]->kind) == 0)
        low--;
    for (; low < api_kind_table_count && compare_str(kind, registry.by_kind[low]->kind) == 0; low++)
        if (is_everywhere(registry.by_kind[low]))
            return registry.by_kind[low];
    return NULL;
}

const struct api_kind *api_kind_by_api_version(struct str api_version, struct str kind)
{
    struct str group, version;
    if (!str_cut(api_version, '/', &group, &version)) {
        version = group;
        group = STR_NULL;
    }
    return api_kind_by_gvk(group, version, kind);
}

const struct api_kind *api_kind_by_resource(struct str group, struct str version,
                                            struct str resource)
{
    pthread_once(&registry.once, build_registry);
    size_t low = 0, high = registry.resource_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const struct api_kind *k = registry.by_resource[mid];
        int order = compare_str(resource, k->resource);
        if (order == 0)
            order = compare_str(group, k->group);
        if (order == 0)
            order = compare_str(version, k->version);
        if (order == 0)
            return k;
        if (order > 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

const struct api_subresource *api_kind_sub(const struct api_kind *k, struct str name)
{
    for (size_t i = 0; i < k->sub_count; i++)
        if (str_eqc(name, k->sub[i].name))
            return &k->sub[i];
    return NULL;
}

bool api_list_has(const char *comma_list, struct str word)
{
    struct str rest = str_of(comma_list), head;
    while (rest.len > 0) {
        str_cut(rest, ',', &head, &rest);
        if (str_eq(head, word))
            return true;
    }
    return false;
}

struct api_object *api_object_new(const struct api_kind *kind)
{
    struct arena *a = arena_new(0);
    struct api_object *o = xzalloc(sizeof(*o));
    atomic_init(&o->refs, 1);
    o->kind = kind;
    o->arena = a;
    o->msg = api_msg_new(a, kind->msg);
    return o;
}

struct api_object *api_object_ref(struct api_object *o)
{
    uint32_t before = atomic_fetch_add_explicit(&o->refs, 1, memory_order_relaxed);
    ASSERT_CMP(before, >, 0);
    return o;
}

void api_object_unref(struct api_object *o)
{
    if (o == NULL)
        return;
    /* Release pairs with acquire: all uses happen before the free. */
    uint32_t before = atomic_fetch_sub_explicit(&o->refs, 1, memory_order_acq_rel);
    ASSERT_CMP(before, >, 0);
    if (before != 1)
        return;
    arena_free(o->arena);
    api_pack_free(o->pack);
    free(o);
}

struct api_object *api_object_clone(const struct api_object *o)
{
    struct api_object *copy = api_object_new(o->kind);
    api_msg_copy(copy->arena, o->kind->msg, copy->msg, o->msg);
    return copy;
}

struct meta_v1_object_meta *api_meta_of(const struct api_kind *k, const void *msg)
{
    if (k->meta_offset == UINT32_MAX)
        return NULL;
    /* The object is the caller's: whether it may be changed is its business. */
    return (struct meta_v1_object_meta *)(void *)((char *)(uintptr_t)msg + k->meta_offset);
}

struct meta_v1_object_meta *api_object_meta(const struct api_object *o)
{
    return api_meta_of(o->kind, o->msg);
}
