/* catalog.c - see catalog.h. */
#include "apiserver/aggregation/catalog.h"

#include "apiserver/aggregation/apiservice.h"
#include "apiserver/aggregation/registration.h"
#include "apiserver/aggregation/set.h"
#include "apiserver/registry.h"
#include "lib/base/arena.h"

#include <stdlib.h>

#define OWN_PRIORITY 20001 /* Of APIServices' group: before all others. */

struct catalog {
    struct arena *arena;
    struct catalog_group *groups;
    size_t count, cap;
};

static struct catalog_group *group_of(struct catalog *c, const char *name)
{
    for (size_t i = 0; i < c->count; i++)
        if (strcmp(c->groups[i].name, name) == 0)
            return &c->groups[i];
    c->groups = arena_grow(c->arena, c->groups, c->count, &c->cap, sizeof(*c->groups));
    c->groups[c->count] = (struct catalog_group){.name = name, .priority = -1};
    return &c->groups[c->count++];
}

static void add(struct catalog *c, const char *group, const char *version,
                const struct aggregated_service *remote)
{
    struct catalog_group *g = group_of(c, group);
    struct str name = arena_printf(c->arena, "%s.%s", version, group);
    const struct aggregated_service *s = remote != NULL ? remote : aggregated_set_find(name);
    int32_t group_priority = REGISTRATION_CUSTOM_GROUP_PRIORITY,
            version_priority = REGISTRATION_CUSTOM_VERSION_PRIORITY;
    for (size_t i = 0; i < g->count; i++)
        if (strcmp(g->versions[i].version, version) == 0) {
            if (remote != NULL)
                g->versions[i].remote = remote;
            return;
        }
    if (strcmp(group, APISERVICE_GROUP) == 0) {
        group_priority = OWN_PRIORITY;
    } else if (s != NULL) {
        group_priority = s->group_priority;
        version_priority = s->version_priority;
    } else {
        (void)registration_priorities(str_of(group), str_of(version), &group_priority,
                                      &version_priority);
    }
    g->versions = arena_grow(c->arena, g->versions, g->count, &g->cap, sizeof(*g->versions));
    g->versions[g->count++] = (struct catalog_version){version, version_priority, remote};
    if (group_priority > g->priority ||
        (group_priority == g->priority && str_cmp(name, g->first) < 0)) {
        g->priority = group_priority;
        g->first = name;
    }
}

static int by_version(const void *x, const void *y)
{
    const struct catalog_version *a = x, *b = y;
    if (a->priority != b->priority)
        return a->priority > b->priority ? -1 : 1;
    return apiservice_compare_versions(a->version, b->version);
}

static int by_place(const void *x, const void *y)
{
    const struct catalog_group *a = x, *b = y;
    if (a->priority != b->priority)
        return a->priority > b->priority ? -1 : 1;
    return str_cmp(a->first, b->first);
}

static int by_place_and_name(const void *x, const void *y)
{
    const struct catalog_group *a = x, *b = y;
    if (a->priority != b->priority)
        return a->priority > b->priority ? -1 : 1;
    return strcmp(a->name, b->name);
}

struct catalog_group *catalog_make(struct arena *a, bool by_name, size_t *ret_count)
{
    struct catalog c = {.arena = a};
    size_t n;
    const struct registry_group *g = registry_groups(&n);
    const struct aggregated_service *s;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; g[i].versions[j] != NULL; j++)
            add(&c, g[i].name, g[i].versions[j], NULL);
    for (size_t i = 0; (s = aggregated_set_at(i)) != NULL; i++)
        if (s->remote)
            add(&c, str_c(s->group), str_c(s->version), s);
    for (size_t i = 0; i < c.count; i++)
        qsort(c.groups[i].versions, c.groups[i].count, sizeof(struct catalog_version), by_version);
    if (c.count != 0)
        qsort(c.groups, c.count, sizeof(*c.groups), by_name ? by_place_and_name : by_place);
    *ret_count = c.count;
    return c.groups;
}
