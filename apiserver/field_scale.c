/* field_scale.c - who owns replicas, in the words of a Scale; see
 * field_manager.h. */
#include "apiserver/field_manager.h"

#include "api/meta_v1.h"
#include "apiserver/custom/definition.h"
#include "apiserver/registry.h"
#include "lib/api/jsonpath.h"
#include "lib/base/arena.h"

#define SCALE_VERSION "autoscaling/v1"

enum { PATH_MAX_STEPS = 16 };

/* A path of plain members. */
struct member_path {
    struct fieldpath_elem elems[PATH_MAX_STEPS];
    size_t count;
};

/* .spec.replicas in a Scale, and in every built-in kind that has one. */
static const struct member_path in_scale = {
    .elems = {{.kind = FIELDPATH_NAME, .name = {"spec", 4}},
              {.kind = FIELDPATH_NAME, .name = {"replicas", 8}}},
    .count = 2,
};

/* Where the resource itself has its replicas; definitions of custom ones say. */
static struct member_path path_in(const struct resource *res)
{
    struct str names[PATH_MAX_STEPS];
    if (res->custom == NULL || !res->custom->scale)
        return in_scale;
    struct member_path p = {
        .count = jsonpath_names(res->custom->spec_replicas_path, names, PATH_MAX_STEPS)};
    for (size_t i = 0; i < p.count; i++)
        p.elems[i] = (struct fieldpath_elem){.kind = FIELDPATH_NAME, .name = names[i]};
    return p;
}

static struct fieldset set_of(struct arena *a, const struct member_path *p)
{
    struct fieldset s = FIELDSET_EMPTY;
    fieldset_insert(a, &s, p->elems, p->count);
    return s;
}

static bool owns(const struct managed_entry *e, const struct member_path *p)
{
    return fieldset_has(&e->set, p->elems, p->count);
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
    const struct member_path own = path_in(res);
    decode(a, parent, &m);
    for (size_t i = m.count; i-- > 0;) {
        struct managed_entry *e = &m.items[i];
        if (!is_version_of(res, e->api_version) || !owns(e, &own)) {
            managed_remove(&m, e);
            continue;
        }
        e->api_version = STR(SCALE_VERSION);
        managed_set(e, set_of(a, &in_scale));
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
    const struct member_path own = path_in(res);
    struct fieldset set = set_of(a, &own);
    decode(a, parent, &of_parent);
    decode(a, scale, &of_scale);
    for (size_t i = of_parent.count; i-- > 0;) {
        struct managed_entry *e = &of_parent.items[i];
        if (!is_version_of(res, e->api_version)) {
            managed_remove(&of_parent, e);
            continue;
        }
        if (!owns(e, &own))
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
        if (!owns(&e, &in_scale))
            continue;
        e.api_version = str_of(res->kind->api_version);
        e.has_time = false; /* As upstream has it: a Scale's times do not count. */
        e.time_s = 0;
        managed_set(managed_get(&of_parent, &e), set);
    }
    managed_encode(&of_parent, parent);
}
