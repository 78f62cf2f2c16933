/* default_spread.c - pods of one controller spread over nodes and zones even
 * when they state no constraints of their own (upstream's system defaults). */
#include "scheduler/plugins/plugins.h"

#include "api/core_v1.h"
#include "lib/base/arena.h"

#define ZONE_LABEL "topology.kubernetes.io/zone"

struct spread {
    struct str owner; /* uid of the controller */
    struct map zones; /* zone -> count + 1, as a number */
};

static struct str controller_of(const struct core_v1_pod *pod)
{
    for (size_t i = 0; i < pod->metadata.owner_references_count; i++)
        if (pod->metadata.owner_references[i].controller)
            return pod->metadata.owner_references[i].uid;
    return STR_NULL;
}

static int64_t siblings_on(const struct node_info *n, const struct cycle *c, struct str owner)
{
    int64_t count = 0;
    for (size_t i = 0; i < n->pod_count; i++) {
        const struct core_v1_pod *pod = n->pods[i]->pod;
        if (pod->metadata.deletion_timestamp == NULL &&
            str_eq(pod->metadata.namespace, c->pod->pod->metadata.namespace) &&
            str_eq(controller_of(pod), owner))
            count++;
    }
    return count;
}

static void release_zones(void *zones)
{
    map_done(zones);
}

static enum verdict prescore(struct cycle *c)
{
    struct str owner = controller_of(c->pod->pod);
    if (str_empty(owner) || c->pod->pod->spec.topology_spread_constraints_count != 0)
        return SKIP;
    struct spread *s = ARENA_NEW(c->arena, struct spread);
    s->owner = owner;
    map_init(&s->zones);
    arena_hold(c->arena, &s->zones, release_zones);
    for (size_t i = 0; i < c->snapshot->node_count; i++) {
        const struct node_info *n = c->snapshot->nodes[i];
        const struct str *zone = node_label(n->node, STR(ZONE_LABEL));
        if (zone == NULL)
            continue;
        intptr_t sum = (intptr_t)map_get(&s->zones, *zone) + (intptr_t)siblings_on(n, c, owner);
        map_set(&s->zones, *zone, (void *)sum);
    }
    c->state[c->current] = s;
    return FIT;
}

/* Siblings in the zone weigh twice those on the node, as zones fail rarely but
 * whole. */
static int64_t score(struct cycle *c, const struct node_info *n)
{
    struct spread *s = CYCLE_STATE(c, struct spread);
    const struct str *zone = node_label(n->node, STR(ZONE_LABEL));
    int64_t in_zone = zone != NULL ? (int64_t)(intptr_t)map_get(&s->zones, *zone) : 0;
    return siblings_on(n, c, s->owner) + 2 * in_zone;
}

static void normalize(struct cycle *c, int64_t *scores, size_t count)
{
    (void)c;
    scores_normalize(scores, count, true);
}

const struct plugin plugin_default_spread = {
    .name = "DefaultSpread",
    .prescore = prescore,
    .score = score,
    .normalize = normalize,
    .weight = 2,
};
