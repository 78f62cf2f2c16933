/* endpointslice_plan.c - see endpointslice_plan.h. */
#include "controllers/endpointslice_plan.h"

#include "api/core_v1.h"
#include "api/discovery_v1.h"
#include "controllers/backends.h"
#include "controllers/controller.h"
#include "lib/api/codec.h"
#include "lib/api/owner.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/map.h"

#include <stdlib.h>

typedef struct discovery_v1_endpoint_slice slice_t;
typedef struct discovery_v1_endpoint endpoint_t;

/* Backends with equal ports. */
struct group {
    const struct backend *first;
    endpoint_t *endpoints;
    size_t count, cap;
    struct map by_name; /* Address and pod -> what is to be placed. */
};

enum state { UNCHANGED, UPDATED, REMOVED };

struct slot {
    const struct api_object *object; /* NULL: to be created. */
    slice_t *slice;
    enum state state;
};

struct planner {
    struct arena *a;
    const struct slice_input *in;
    const struct core_v1_service *service;
    struct api_str_entry *labels;
    size_t label_count;
    struct group *groups;
    size_t group_count;
    struct map by_ports; /* -> struct group */
    struct slot *slots;
    size_t slot_count, slot_cap;
};

/* --- what is wanted --------------------------------------------------------------------- */

/* By the Service's trafficDistribution: whom an endpoint is there for first. Only those that
 * are to be used have a hint. */
static struct discovery_v1_endpoint_hints *
hints_of(struct arena *a, const struct core_v1_service *s, const endpoint_t *e)
{
    struct str how = s->spec.has_traffic_distribution ? s->spec.traffic_distribution : STR_NULL;
    bool same_node = str_eqc(how, "PreferSameNode");
    bool same_zone = same_node || str_eqc(how, "PreferSameZone") || str_eqc(how, "PreferClose");
    if (!e->conditions.ready || (!(same_zone && e->has_zone) && !(same_node && e->has_node_name)))
        return NULL;
    struct discovery_v1_endpoint_hints *h = ARENA_NEW(a, struct discovery_v1_endpoint_hints);
    if (same_zone && e->has_zone) {
        h->for_zones = ARENA_NEW(a, struct discovery_v1_for_zone);
        h->for_zones[h->for_zones_count++].name = e->zone;
    }
    if (same_node && e->has_node_name) {
        h->for_nodes = ARENA_NEW(a, struct discovery_v1_for_node);
        h->for_nodes[h->for_nodes_count++].name = e->node_name;
    }
    return h;
}

static endpoint_t endpoint_of(struct arena *a, const struct core_v1_service *s,
                              const struct backend *b, struct str zone)
{
    struct core_v1_object_reference *ref = ARENA_NEW(a, struct core_v1_object_reference);
    struct str *address = ARENA_NEW(a, struct str);
    *address = b->ip;
    *ref = (struct core_v1_object_reference){
        .kind = STR("Pod"),
        .namespace = b->pod->metadata.namespace,
        .name = b->pod->metadata.name,
        .uid = b->pod->metadata.uid,
    };
    endpoint_t e = {
        .addresses = address,
        .addresses_count = 1,
        .conditions = {true, b->ready, true, b->serving, true, b->terminating},
        .target_ref = ref,
        .hostname = b->hostname,
        .has_hostname = !str_empty(b->hostname),
        .node_name = b->pod->spec.node_name,
        .has_node_name = !str_empty(b->pod->spec.node_name),
        .zone = zone,
        .has_zone = !str_empty(zone),
    };
    e.hints = hints_of(a, s, &e);
    return e;
}

/* Who an endpoint is, whatever its state. */
static struct str name_of(struct arena *a, const endpoint_t *e)
{
    if (e->addresses_count != 1 || e->target_ref == NULL)
        return STR_NULL;
    return arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(e->addresses[0]),
                        STR_ARG(e->target_ref->uid));
}

static void print_port(struct buf *b, struct str name, struct str protocol, int32_t port,
                       bool has_app, struct str app)
{
    buf_printf(b, STR_FMT "/" STR_FMT "/%d%s" STR_FMT ";", STR_ARG(name), STR_ARG(protocol), port,
               has_app ? "/" : "", STR_ARG(app));
}

static struct str ports_of_backend(struct arena *a, const struct backend *x)
{
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < x->port_count; i++)
        print_port(&b, x->ports[i].name, x->ports[i].protocol, x->ports[i].port,
                   x->ports[i].has_app_protocol, x->ports[i].app_protocol);
    return arena_str(a, buf_str(&b));
}

static struct str ports_of_slice(struct arena *a, const slice_t *s)
{
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < s->ports_count; i++) {
        const struct discovery_v1_endpoint_port *p = &s->ports[i];
        print_port(&b, p->name, p->protocol, p->has_port ? p->port : -1, p->has_app_protocol,
                   p->app_protocol);
    }
    return arena_str(a, buf_str(&b));
}

static void make_groups(struct planner *p)
{
    const struct slice_input *in = p->in;
    p->groups = ARENA_ARRAY(p->a, struct group, in->count + 1);
    for (size_t i = 0; i < in->count; i++) {
        struct str ports = ports_of_backend(p->a, &in->backends[i]);
        struct group *g = map_get(&p->by_ports, ports);
        if (g == NULL) {
            g = &p->groups[p->group_count++];
            g->first = &in->backends[i];
            map_init(&g->by_name);
            map_set(&p->by_ports, ports, g);
        }
        g->endpoints = arena_grow(p->a, g->endpoints, g->count, &g->cap, sizeof(*g->endpoints));
        g->endpoints[g->count++] = endpoint_of(p->a, p->service, &in->backends[i], in->zones[i]);
    }
    /* The arrays stand still from here on. */
    for (size_t i = 0; i < p->group_count; i++)
        for (size_t k = 0; k < p->groups[i].count; k++)
            map_set(&p->groups[i].by_name, name_of(p->a, &p->groups[i].endpoints[k]),
                    &p->groups[i].endpoints[k]);
}

/* --- slices ------------------------------------------------------------------------------- */

static void fill_ports(struct arena *a, slice_t *s, const struct backend *b)
{
    s->ports = ARENA_ARRAY(a, struct discovery_v1_endpoint_port, b->port_count + 1);
    s->ports_count = b->port_count;
    for (size_t i = 0; i < b->port_count; i++)
        s->ports[i] = (struct discovery_v1_endpoint_port){
            .name = b->ports[i].name,
            .has_name = true,
            .protocol = b->ports[i].protocol,
            .has_protocol = true,
            .port = b->ports[i].port,
            .has_port = true,
            .app_protocol = b->ports[i].app_protocol,
            .has_app_protocol = b->ports[i].has_app_protocol,
        };
}

static struct slot *add_slot(struct planner *p, const struct api_object *object, slice_t *s,
                             enum state state)
{
    p->slots = arena_grow(p->a, p->slots, p->slot_count, &p->slot_cap, sizeof(*p->slots));
    struct slot *x = &p->slots[p->slot_count++];
    *x = (struct slot){object, s, state};
    return x;
}

/* b NULL: the one that says that there is none. */
static struct slot *new_slice(struct planner *p, const struct backend *b)
{
    const struct core_v1_service *sv = p->service;
    slice_t *s = ARENA_NEW(p->a, slice_t);
    s->metadata.namespace = sv->metadata.namespace;
    s->metadata.generate_name = arena_printf(p->a, STR_FMT "-", STR_ARG(sv->metadata.name));
    s->metadata.owner_references = ARENA_NEW(p->a, struct meta_v1_owner_reference);
    s->metadata.owner_references_count = 1;
    owner_reference_to(p->in->service->kind, &sv->metadata, s->metadata.owner_references);
    s->metadata.labels = p->labels;
    s->metadata.labels_count = p->label_count;
    s->address_type = p->in->v6 ? STR("IPv6") : STR("IPv4");
    if (b != NULL)
        fill_ports(p->a, s, b);
    return add_slot(p, NULL, s, UPDATED);
}

static bool same_labels(const struct planner *p, const slice_t *s)
{
    bool same = s->metadata.labels_count == p->label_count;
    for (size_t i = 0; same && i < p->label_count; i++)
        same = str_eq(s->metadata.labels[i].key, p->labels[i].key) &&
               str_eq(s->metadata.labels[i].value, p->labels[i].value);
    return same;
}

static bool is_owned(const struct planner *p, const slice_t *s)
{
    const struct meta_v1_owner_reference *ref = owner_controller(&s->metadata);
    return ref != NULL && str_eq(ref->uid, p->service->metadata.uid);
}

/* Keeps of an existing slice what is still wanted, in its present form. */
static void keep_wanted(struct planner *p, struct group *g, const struct api_object *o)
{
    const slice_t *before = o->msg;
    slice_t *s = api_msg_clone(p->a, &discovery_v1_endpoint_slice_msg, before);
    bool changed = false;
    s->endpoints_count = 0;
    for (size_t i = 0; i < before->endpoints_count; i++) {
        const endpoint_t *now = map_remove(&g->by_name, name_of(p->a, &before->endpoints[i]));
        if (now == NULL)
            continue;
        changed |= !api_msg_equal(&discovery_v1_endpoint_msg, now, &before->endpoints[i]);
        s->endpoints[s->endpoints_count++] = *now;
    }
    changed |= s->endpoints_count != before->endpoints_count;
    enum state state = changed || !same_labels(p, s) ? UPDATED : UNCHANGED;
    if (changed && s->endpoints_count == 0)
        state = REMOVED;
    s->metadata.labels = p->labels;
    s->metadata.labels_count = p->label_count;
    add_slot(p, o, s, state);
}

/* Puts endpoints without place into the slice, as far as there is room; *next runs over all. */
static void fill(struct planner *p, struct group *g, slice_t *s, size_t *next)
{
    size_t max = p->in->endpoints_max;
    if (s->endpoints_count >= max || g->by_name.count == 0)
        return;
    endpoint_t *list = ARENA_ARRAY(p->a, endpoint_t, max);
    for (size_t i = 0; i < s->endpoints_count; i++)
        list[i] = s->endpoints[i];
    for (; *next < g->count && s->endpoints_count < max; (*next)++)
        if (map_remove(&g->by_name, name_of(p->a, &g->endpoints[*next])) != NULL)
            list[s->endpoints_count++] = g->endpoints[*next];
    s->endpoints = list;
}

static int fullest_first(const void *x, const void *y)
{
    size_t a = (*(slice_t *const *)x)->endpoints_count, b = (*(slice_t *const *)y)->endpoints_count;
    return (a < b) - (a > b);
}

/* The fullest unchanged slice that has room for all that is left. */
static struct slot *slice_for_all(const struct planner *p, size_t from, size_t count)
{
    struct slot *best = NULL;
    for (size_t i = from; i < p->slot_count; i++) {
        struct slot *x = &p->slots[i];
        size_t has = x->slice->endpoints_count;
        if (x->state == UNCHANGED && has + count <= p->in->endpoints_max &&
            (best == NULL || has > best->slice->endpoints_count))
            best = x;
    }
    return best;
}

/* Slots from `from` on are of this group's ports. */
static void place_new(struct planner *p, struct group *g, size_t from)
{
    size_t next = 0, n = 0;
    slice_t **written = ARENA_ARRAY(p->a, slice_t *, p->slot_count);
    for (size_t i = from; i < p->slot_count; i++)
        if (p->slots[i].state == UPDATED)
            written[n++] = p->slots[i].slice;
    qsort(written, n, sizeof(*written), fullest_first);
    for (size_t i = 0; i < n; i++)
        fill(p, g, written[i], &next);
    while (g->by_name.count != 0) {
        struct slot *x = g->by_name.count < p->in->endpoints_max
                             ? slice_for_all(p, from, g->by_name.count)
                             : NULL;
        if (x == NULL)
            x = new_slice(p, g->first);
        x->state = UPDATED;
        fill(p, g, x->slice, &next);
    }
}

static void sort_existing(struct planner *p)
{
    const struct slice_input *in = p->in;
    struct group **of = ARENA_ARRAY(p->a, struct group *, in->existing_count);
    for (size_t i = 0; i < in->existing_count; i++) {
        const slice_t *s = in->existing[i]->msg;
        of[i] = is_owned(p, s) ? map_get(&p->by_ports, ports_of_slice(p->a, s)) : NULL;
        if (of[i] == NULL)
            add_slot(p, in->existing[i], api_msg_clone(p->a, &discovery_v1_endpoint_slice_msg, s),
                     REMOVED);
    }
    for (size_t g = 0; g < p->group_count; g++) {
        size_t from = p->slot_count;
        for (size_t i = 0; i < in->existing_count; i++)
            if (of[i] == &p->groups[g])
                keep_wanted(p, &p->groups[g], in->existing[i]);
        place_new(p, &p->groups[g], from);
    }
}

/* A Service without endpoints has one slice, without ports. */
static void keep_placeholder(struct planner *p)
{
    size_t stay = 0, found = p->slot_count;
    for (size_t i = 0; i < p->slot_count; i++) {
        const slice_t *s = p->slots[i].slice;
        stay += p->slots[i].state != REMOVED;
        if (p->slots[i].state == REMOVED && s->endpoints_count == 0 && s->ports_count == 0 &&
            is_owned(p, s))
            found = i;
    }
    if (stay != 0)
        return;
    if (found == p->slot_count) {
        new_slice(p, NULL);
        return;
    }
    struct slot *x = &p->slots[found];
    x->state = same_labels(p, x->slice) ? UNCHANGED : UPDATED;
    x->slice->metadata.labels = p->labels;
    x->slice->metadata.labels_count = p->label_count;
}

/* What would be deleted becomes what would be created: one write instead of two. */
static void reuse_removed(struct planner *p)
{
    size_t r = 0;
    for (size_t i = 0; i < p->slot_count; i++) {
        struct slot *fresh = &p->slots[i];
        if (fresh->object != NULL || fresh->state != UPDATED)
            continue;
        while (r < p->slot_count && !(p->slots[r].state == REMOVED && p->slots[r].object != NULL &&
                                      is_owned(p, p->slots[r].slice)))
            r++;
        if (r == p->slot_count)
            return;
        struct slot *old = &p->slots[r];
        struct meta_v1_object_meta m = old->slice->metadata;
        m.labels = p->labels;
        m.labels_count = p->label_count;
        *old->slice = *fresh->slice;
        old->slice->metadata = m;
        old->state = UPDATED;
        fresh->state = REMOVED;
    }
}

void slice_plan(struct arena *a, const struct slice_input *in, struct slice_plan *ret)
{
    struct planner p = {.a = a, .in = in, .service = in->service->msg};
    const struct api_str_entry ours[] = {
        {STR(LABEL_MANAGED_BY), STR(ENDPOINT_SLICE_MANAGER)},
        {STR(LABEL_SERVICE_NAME), p.service->metadata.name},
    };
    p.labels = service_labels(a, p.service, ours, 2, &p.label_count);
    map_init(&p.by_ports);
    make_groups(&p);
    sort_existing(&p);
    keep_placeholder(&p);
    reuse_removed(&p);
    *ret = (struct slice_plan){
        .creates = ARENA_ARRAY(a, slice_t *, p.slot_count),
        .updates = ARENA_ARRAY(a, slice_t *, p.slot_count),
        .removes = ARENA_ARRAY(a, const slice_t *, p.slot_count),
    };
    for (size_t i = 0; i < p.slot_count; i++) {
        const struct slot *x = &p.slots[i];
        if (x->state == UPDATED)
            annotation_set(a, &x->slice->metadata, TRIGGER_TIME, in->trigger);
        if (x->state == UPDATED && x->object == NULL)
            ret->creates[ret->create_count++] = x->slice;
        else if (x->state == UPDATED)
            ret->updates[ret->update_count++] = x->slice;
        else if (x->state == REMOVED && x->object != NULL)
            ret->removes[ret->remove_count++] = x->object->msg;
    }
    for (size_t i = 0; i < p.group_count; i++)
        map_done(&p.groups[i].by_name);
    map_done(&p.by_ports);
}
