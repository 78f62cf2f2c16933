/* volume_zone.c - a bound volume that says its zone or region by labels, as
 * those made before node affinity do, keeps the pod there. */
#include "scheduler/plugins/plugins.h"

#include "api/core_v1.h"
#include "lib/base/arena.h"
#include "scheduler/claims.h"

static const struct {
    const char *key, *other; /* other: the same under its former or later name. */
} labels[] = {
    {"topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"},
    {"topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"},
    {"failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"},
    {"failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"},
};

struct zone_need {
    size_t label;
    struct str values; /* "a__b": either. */
};

struct zone_state {
    struct zone_need *needs;
    size_t count;
};

static enum verdict prefilter(struct cycle *c, struct refusal *r)
{
    (void)r;
    const struct core_v1_pod *pod = c->pod->pod;
    struct zone_state *s = ARENA_NEW(c->arena, struct zone_state);
    size_t cap = 0;
    const struct core_v1_persistent_volume **v =
        ARENA_ARRAY(c->arena, const struct core_v1_persistent_volume *, pod->spec.volumes_count);
    size_t count = pod_bound_volumes(c->arena, c->facts, pod, v);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < ARRAY_SIZE(labels); k++) {
            const struct str *value = api_str_map_get(
                v[i]->metadata.labels, v[i]->metadata.labels_count, str_of(labels[k].key));
            if (value == NULL)
                continue;
            s->needs = arena_grow(c->arena, s->needs, s->count, &cap, sizeof(*s->needs));
            s->needs[s->count++] = (struct zone_need){k, *value};
        }
    c->state[c->current] = s;
    return s->count != 0 ? FIT : SKIP;
}

static bool is_among(struct str values, struct str one)
{
    while (values.len != 0) {
        ptrdiff_t at = str_find_str(values, STR("__"));
        size_t len = at < 0 ? values.len : (size_t)at;
        if (str_eq(str_sub(values, 0, len), one))
            return true;
        values = at < 0 ? STR_NULL : str_sub(values, len + 2, values.len);
    }
    return false;
}

static bool is_zoned(const struct core_v1_node *node)
{
    for (size_t k = 0; k < ARRAY_SIZE(labels); k++)
        if (node_label(node, str_of(labels[k].key)) != NULL)
            return true;
    return false;
}

static enum verdict filter(struct cycle *c, const struct node_info *n, struct refusal *r)
{
    const struct zone_state *s = CYCLE_STATE(c, struct zone_state);
    if (!is_zoned(n->node))
        return FIT; /* One zone only: as upstream. */
    for (size_t i = 0; i < s->count; i++) {
        const struct str *have = node_label(n->node, str_of(labels[s->needs[i].label].key));
        if (have == NULL)
            have = node_label(n->node, str_of(labels[s->needs[i].label].other));
        if (have == NULL || !is_among(s->needs[i].values, *have)) {
            refusal_add(r, STR("node(s) had no available volume zone"));
            return UNRESOLVABLE;
        }
    }
    return FIT;
}

const struct plugin plugin_volume_zone = {
    .name = "VolumeZone",
    .scope = SCOPE_OUTSIDE,
    .wakes = EVENT_NODE_ADD | EVENT_NODE_LABEL | EVENT_VOLUME,
    .prefilter = prefilter,
    .filter = filter,
};
