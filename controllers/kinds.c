/* kinds.c - see kinds.h. */
#include "controllers/kinds.h"

#include "controllers/controller.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "lib/base/map.h"

#define FRESH_MS 30000u /* What is not known this long after asking does not exist. */

struct kinds {
    struct controller_run *run;
    struct discoverer *discoverer;
    struct discovery *served; /* NULL: not asked yet. */
    char *error;              /* Of the last time it was asked for; NULL: none. */
    struct map waiting;       /* Keys for discovery's answer. */
};

static void on_discovered(struct discovery *d, const char *err, void *arg)
{
    struct kinds *k = arg;
    struct str key;
    void *value;
    size_t pos = 0;
    free(take(k->error));
    if (d != NULL) {
        discovery_free(k->served);
        k->served = d;
    } else {
        k->error = xstrdup(err);
    }
    while (map_next(&k->waiting, &pos, &key, &value))
        controller_enqueue(k->run, key);
    map_clear(&k->waiting);
}

struct kinds *kinds_new(struct controller_run *r)
{
    struct kinds *k = xzalloc(sizeof(*k));
    k->run = r;
    map_init(&k->waiting);
    k->discoverer = discoverer_new(r->client, on_discovered, k);
    return k;
}

void kinds_free(struct kinds *k)
{
    if (k == NULL)
        return;
    map_done(&k->waiting);
    discoverer_free(k->discoverer);
    discovery_free(k->served);
    free(k->error);
    free(k);
}

/* Of the kinds of the schema these have the subresource. */
static bool is_scalable(const struct api_kind *k)
{
    static const char *const apps[] = {"Deployment", "ReplicaSet", "StatefulSet"};
    if (strcmp(k->group, "") == 0)
        return strcmp(k->kind, "ReplicationController") == 0;
    bool any = false;
    for (size_t i = 0; i < ARRAY_SIZE(apps); i++)
        any |= strcmp(k->kind, apps[i]) == 0;
    return any && strcmp(k->group, "apps") == 0;
}

enum kind_found kinds_find(struct kinds *k, struct reconcile *c, struct str api_version,
                           struct str kind, struct served_resource *ret)
{
    const struct api_kind *known = api_kind_by_api_version(api_version, kind);
    if (known != NULL && known->resource != NULL) {
        *ret = (struct served_resource){.group = known->group,
                                        .version = known->version,
                                        .resource = known->resource,
                                        .kind = known->kind,
                                        .namespaced = known->namespaced,
                                        .scales = is_scalable(known)};
        return KIND_FOUND;
    }
    const struct served_resource *r =
        k->served != NULL ? discovery_find(k->served, api_version, kind) : NULL;
    if (r != NULL) {
        *ret = *r;
        ret->group = arena_strdup(c->arena, r->group);
        ret->version = arena_strdup(c->arena, r->version);
        ret->resource = arena_strdup(c->arena, r->resource);
        return KIND_FOUND;
    }
    bool fresh = k->served != NULL && env_now_ms(c->run->env) < k->served->started_ms + FRESH_MS;
    if (fresh || k->error != NULL) {
        free(take(k->error)); /* It is asked again at the next look. */
        return KIND_UNKNOWN;
    }
    map_set(&k->waiting, c->key, k);
    discoverer_start(k->discoverer);
    return KIND_ASKING;
}
