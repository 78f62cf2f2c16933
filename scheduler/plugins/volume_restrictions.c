/* volume_restrictions.c - a claim with ReadWriteOncePod access serves one pod
 * in the whole cluster. */
#include "scheduler/plugins/plugins.h"

#include "api/core_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/client/claims.h"

struct restriction_state {
    struct str *claims; /* Names of the pod's claims for one pod only. */
    size_t count;
    size_t users; /* Other pods that use one. */
};

static bool is_for_one_pod(const struct core_v1_persistent_volume_claim *c)
{
    for (size_t i = 0; i < c->spec.access_modes_count; i++)
        if (str_eqc(c->spec.access_modes[i], ACCESS_ONE_POD))
            return true;
    return false;
}

static size_t uses(struct arena *a, const struct restriction_state *s,
                   const struct core_v1_pod *mine, const struct core_v1_pod *other)
{
    size_t n = 0;
    if (!str_eq(mine->metadata.namespace, other->metadata.namespace) ||
        str_eq(mine->metadata.uid, other->metadata.uid))
        return 0;
    for (size_t i = 0; i < other->spec.volumes_count; i++) {
        struct str name = pod_claim_name(a, other, &other->spec.volumes[i]);
        for (size_t k = 0; !str_empty(name) && k < s->count; k++)
            n += str_eq(s->claims[k], name);
    }
    return n;
}

static enum verdict prefilter(struct cycle *c, struct refusal *r)
{
    (void)r;
    const struct core_v1_pod *pod = c->pod->pod;
    const struct pod_facts *f = c->facts;
    struct restriction_state *s = ARENA_NEW(c->arena, struct restriction_state);
    s->claims = ARENA_ARRAY(c->arena, struct str, pod->spec.volumes_count);
    for (size_t i = 0; i < pod->spec.volumes_count; i++) {
        struct str name = pod_claim_name(c->arena, pod, &pod->spec.volumes[i]);
        struct api_object *o =
            str_empty(name) ? NULL : f->claim(f->arg, pod->metadata.namespace, name);
        if (o != NULL && is_for_one_pod(o->msg))
            s->claims[s->count++] = name;
    }
    c->state[c->current] = s;
    if (s->count == 0)
        return SKIP;
    size_t pos = 0;
    void *p;
    while (map_next(&c->snapshot->pods, &pos, NULL, &p))
        s->users += uses(c->arena, s, pod, ((const struct pod_info *)p)->pod);
    return FIT;
}

static void changed(struct cycle *c, const struct node_info *n, const struct core_v1_pod *p,
                    bool add)
{
    struct restriction_state *s = CYCLE_STATE(c, struct restriction_state);
    (void)n;
    size_t count = uses(c->arena, s, c->pod->pod, p);
    s->users = add ? s->users + count : s->users - count;
}

static enum verdict filter(struct cycle *c, const struct node_info *n, struct refusal *r)
{
    const struct restriction_state *s = CYCLE_STATE(c, struct restriction_state);
    (void)n;
    if (s->users == 0)
        return FIT;
    refusal_add(r, STR("node has pod using PersistentVolumeClaim with the same name and "
                       "ReadWriteOncePod access mode"));
    return UNFIT;
}

const struct plugin plugin_volume_restrictions = {
    .name = "VolumeRestrictions",
    .scope = SCOPE_OUTSIDE,
    .wakes = EVENT_POD_DELETE | EVENT_VOLUME,
    .prefilter = prefilter,
    .filter = filter,
    .changed = changed,
};
