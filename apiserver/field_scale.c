/* field_scale.c - who owns replicas, in the words of a Scale; see
 * field_manager.h. */
#include "apiserver/field_manager.h"

#include "api/meta_v1.h"
#include "apiserver/registry.h"
#include "lib/base/arena.h"

#define SCALE_VERSION "autoscaling/v1"

/* .spec.replicas in every kind that has a Scale, and in Scale itself. */
static const struct fieldpath_elem replicas[] = {
    {.kind = FIELDPATH_NAME, .name = {"spec", 4}},
    {.kind = FIELDPATH_NAME, .name = {"replicas", 8}},
};

static struct fieldset replicas_set(struct arena *a)
{
    struct fieldset s = FIELDSET_EMPTY;
    fieldset_insert(a, &s, replicas, ARRAY_SIZE(replicas));
    return s;
}

static bool owns_replicas(const struct managed_entry *e)
{
    return fieldset_has(&e->set, replicas, ARRAY_SIZE(replicas));
}

static void decode(struct arena *a, const struct meta_v1_object_meta *m, struct managed *ret)
{
    if (managed_decode(a, m->managed_fields, m->managed_fields_count, ret, NULL) != 0)
        *ret = (struct managed){.arena = a};
}

static bool is_version_of(const struct resource *res, struct str api_version)
{
    struct str group, version;
    if (!str_cut(api_version, '/', &group, &version)) {
        version = api_version;
        group = STR("");
    }
    return registry_find(group, version, str_of(res->kind->resource)) != NULL;
}

void field_manager_to_scale(struct arena *a, const struct resource *res,
                            const struct meta_v1_object_meta *parent,
                            struct meta_v1_object_meta *scale)
{
    struct managed m;
    decode(a, parent, &m);
    for (size_t i = m.count; i-- > 0;) {
        struct managed_entry *e = &m.items[i];
        if (!is_version_of(res, e->api_version) || !owns_replicas(e)) {
            managed_remove(&m, e);
            continue;
        }
        e->api_version = STR(SCALE_VERSION);
        managed_set(e, replicas_set(a));
    }
    managed_encode(&m, scale);
}

/* The entry of the same manager, its version left aside. */
static struct managed_entry *find_twin(struct managed *m, const struct managed_entry *e)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->items[i].applied == e->applied && str_eq(m->items[i].manager, e->manager) &&
            str_eq(m->items[i].subresource, e->subresource))
            return &m->items[i];
    return NULL;
}

void field_manager_from_scale(struct arena *a, const struct resource *res,
                              const struct meta_v1_object_meta *scale,
                              struct meta_v1_object_meta *parent)
{
    struct managed of_parent, of_scale;
    struct fieldset set = replicas_set(a);
    decode(a, parent, &of_parent);
    decode(a, scale, &of_scale);
    for (size_t i = of_parent.count; i-- > 0;) {
        struct managed_entry *e = &of_parent.items[i];
        if (!is_version_of(res, e->api_version)) {
            managed_remove(&of_parent, e);
            continue;
        }
        if (!owns_replicas(e))
            continue;
        struct managed_entry *twin = find_twin(&of_scale, e);
        if (twin != NULL) { /* It still owns them. */
            managed_remove(&of_scale, twin);
            continue;
        }
        managed_set(e, fieldset_difference(a, &e->set, &set));
        if (e->set.count == 0)
            managed_remove(&of_parent, e);
    }
    for (size_t i = 0; i < of_scale.count; i++) {
        struct managed_entry e = of_scale.items[i];
        if (!owns_replicas(&e))
            continue;
        e.api_version = str_of(res->kind->api_version);
        e.has_time = false; /* As upstream has it: a Scale's times do not count. */
        e.time_s = 0;
        managed_set(managed_get(&of_parent, &e), set);
    }
    managed_encode(&of_parent, parent);
}
