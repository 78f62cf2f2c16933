/* result.c - what a search found, as it stands in a claim's status.allocation:
 * devices, the configuration that goes with them, and the nodes that reach them. */
#include "scheduler/devices/allocate_internal.h"

#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "scheduler/devices/capacity.h"

static uint64_t next_random(uint64_t *seed)
{
    uint64_t z = (*seed += 0x9e3779b97f4a7c15u); /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* A random UUID, version 4. */
static struct str share_id(struct arena *a, uint64_t *seed)
{
    uint64_t x = next_random(seed), y = next_random(seed);
    return arena_printf(a, "%08x-%04x-4%03x-%04x-%012llx", (unsigned)(x >> 32),
                        (unsigned)(x >> 16) & 0xffff, (unsigned)x & 0xfff,
                        ((unsigned)(y >> 48) & 0x3fff) | 0x8000,
                        (unsigned long long)(y & 0xffffffffffffu));
}

static void put_shares(struct arena *a, const struct picked *p,
                       struct resource_v1_device_request_allocation_result *r)
{
    const struct resource_v1_device *d = p->device->device;
    r->consumed_capacity = ARENA_ARRAY(a, struct api_quantity_entry, d->capacity_count + 1);
    for (size_t i = 0; i < d->capacity_count; i++) {
        struct quantity amount = capacity_taken(p->wanted->capacity, &d->capacity[i]);
        struct api_quantity_entry *e = &r->consumed_capacity[r->consumed_capacity_count++];
        e->key = d->capacity[i].key;
        quantity_store(a, &amount, &e->value);
    }
}

/* Names and lists are borrowed from slices and claims: copied by search_result(). */
static void put_device(struct arena *a, const struct picked *p, uint64_t *seed,
                       struct resource_v1_device_request_allocation_result *r)
{
    const struct resource_v1_device *d = p->device->device;
    *r = (struct resource_v1_device_request_allocation_result){
        .request = p->wanted->label,
        .driver = p->device->pool->driver,
        .pool = p->device->pool->name,
        .device = d->name,
        .tolerations = (struct resource_v1_device_toleration *)p->wanted->tolerations,
        .tolerations_count = p->wanted->toleration_count,
        .binding_conditions = d->binding_conditions,
        .binding_conditions_count = d->binding_conditions_count,
        .binding_failure_conditions = d->binding_failure_conditions,
        .binding_failure_conditions_count = d->binding_failure_conditions_count,
        .has_admin_access = p->wanted->admin,
        .admin_access = p->wanted->admin,
    };
    if (!p->device->multiple)
        return;
    r->has_share_id = true;
    r->share_id = share_id(a, seed);
    put_shares(a, p, r);
}

/* --- configuration ------------------------------------------------------------------------------
 */

struct configs {
    struct arena *arena;
    struct resource_v1_device_allocation_configuration *items;
    size_t count, cap;
};

static struct resource_v1_device_allocation_configuration *
add_config(struct configs *c, const char *source,
           const struct resource_v1_device_configuration *config)
{
    c->items = arena_grow(c->arena, c->items, c->count, &c->cap, sizeof(*c->items));
    struct resource_v1_device_allocation_configuration *x = &c->items[c->count++];
    x->source = str_of(source);
    x->device_configuration = *config;
    return x;
}

/* A class's stand once, with all requests of that class. */
static void add_class_configs(struct configs *out, const struct claim_search *c)
{
    const struct resource_v1_device_class **seen =
        ARENA_ARRAY(out->arena, const struct resource_v1_device_class *, c->request_count + 1);
    size_t *first = ARENA_ARRAY(out->arena, size_t, c->request_count + 1), seen_count = 0;
    for (size_t i = 0; i < c->request_count; i++) {
        const struct wanted *w = &c->requests[i].choices[c->requests[i].chosen];
        const struct resource_v1_device_class_spec *spec = &w->class->spec;
        size_t k = 0;
        while (k < seen_count && seen[k] != w->class)
            k++;
        if (k == seen_count) {
            seen[seen_count] = w->class;
            first[seen_count++] = out->count;
            for (size_t n = 0; n < spec->config_count; n++)
                add_config(out, "FromClass", &spec->config[n].device_configuration)->requests =
                    ARENA_ARRAY(out->arena, struct str, c->request_count);
        }
        for (size_t n = 0; n < spec->config_count; n++) {
            struct resource_v1_device_allocation_configuration *x = &out->items[first[k] + n];
            x->requests[x->requests_count++] = w->label;
        }
    }
}

static bool names(const struct resource_v1_device_claim_configuration *x, struct str name)
{
    for (size_t i = 0; i < x->requests_count; i++)
        if (str_eq(x->requests[i], name))
            return true;
    return false;
}

static void add_claim_configs(struct configs *out, const struct claim_search *c)
{
    const struct resource_v1_device_claim *d = &c->claim->spec.devices;
    for (size_t i = 0; i < d->config_count; i++) {
        const struct resource_v1_device_claim_configuration *x = &d->config[i];
        bool applies = x->requests_count == 0;
        for (size_t k = 0; k < c->request_count && !applies; k++)
            applies = names(x, d->requests[k].name) ||
                      names(x, c->requests[k].choices[c->requests[k].chosen].label);
        if (!applies)
            continue;
        struct resource_v1_device_allocation_configuration *y =
            add_config(out, "FromClaim", &x->device_configuration);
        y->requests = x->requests;
        y->requests_count = x->requests_count;
    }
}

/* --- nodes --------------------------------------------------------------------------------------
 */

static bool same_values(const struct core_v1_node_selector_requirement *x,
                        const struct core_v1_node_selector_requirement *y)
{
    for (size_t i = 0; i < x->values_count; i++) {
        bool found = false;
        for (size_t k = 0; k < y->values_count; k++)
            found |= str_eq(x->values[i], y->values[k]);
        if (!found)
            return false;
    }
    return true;
}

static void add_requirements(struct arena *a, const struct core_v1_node_selector_requirement *from,
                             size_t from_count, struct core_v1_node_selector_requirement **to,
                             size_t *to_count)
{
    size_t cap = *to_count;
    for (size_t i = 0; i < from_count; i++) {
        bool known = false;
        for (size_t k = 0; k < *to_count; k++)
            known |= str_eq((*to)[k].key, from[i].key) &&
                     str_eq((*to)[k].operator, from[i].operator) &&
                     same_values(&(*to)[k], &from[i]) && same_values(&from[i], &(*to)[k]);
        if (known)
            continue;
        *to = arena_grow(a, *to, *to_count, &cap, sizeof(**to));
        (*to)[(*to_count)++] = from[i];
    }
}

static struct core_v1_node_selector *only_on(struct arena *a, const struct core_v1_node *node)
{
    struct core_v1_node_selector *s = ARENA_NEW(a, struct core_v1_node_selector);
    struct core_v1_node_selector_term *t = ARENA_NEW(a, struct core_v1_node_selector_term);
    struct core_v1_node_selector_requirement *r =
        ARENA_NEW(a, struct core_v1_node_selector_requirement);
    struct str *name = ARENA_NEW(a, struct str);
    *name = node->metadata.name;
    *r = (struct core_v1_node_selector_requirement){
        .key = STR("metadata.name"), .operator= STR("In"), .values = name, .values_count = 1};
    t->match_fields = r;
    t->match_fields_count = 1;
    s->node_selector_terms = t;
    s->node_selector_terms_count = 1;
    return s;
}

/* NULL: they can be reached from everywhere. */
static struct core_v1_node_selector *nodes_of(struct search *s, const struct claim_search *c)
{
    struct core_v1_node_selector *all = ARENA_NEW(s->arena, struct core_v1_node_selector);
    struct core_v1_node_selector_term *t = ARENA_NEW(s->arena, struct core_v1_node_selector_term);
    for (size_t i = 0; i < c->picked_count; i++) {
        const struct resource_v1_resource_slice_spec *x = &c->picked[i].device->slice->spec;
        const struct resource_v1_device *d = c->picked[i].device->device;
        bool each = x->per_device_node_selection;
        const struct core_v1_node_selector *n = each ? d->node_selector : x->node_selector;
        if ((each ? d->has_node_name : x->has_node_name) ||
            (d->has_binds_to_node && d->binds_to_node))
            return only_on(s->arena, s->q->node);
        if (n == NULL || n->node_selector_terms_count == 0)
            continue;
        if (n->node_selector_terms_count > 1) {
            search_fault(s,
                         "create NodeSelector for claim " STR_FMT
                         ": unsupported ResourceSlice.NodeSelector with %zu terms",
                         STR_ARG(c->claim->metadata.name), n->node_selector_terms_count);
            return NULL;
        }
        const struct core_v1_node_selector_term *from = &n->node_selector_terms[0];
        add_requirements(s->arena, from->match_fields, from->match_fields_count, &t->match_fields,
                         &t->match_fields_count);
        add_requirements(s->arena, from->match_expressions, from->match_expressions_count,
                         &t->match_expressions, &t->match_expressions_count);
    }
    all->node_selector_terms = t;
    all->node_selector_terms_count = 1;
    return t->match_fields_count + t->match_expressions_count != 0 ? all : NULL;
}

bool search_result(struct search *s, const struct claim_search *c, uint64_t *seed,
                   struct resource_v1_allocation_result *ret)
{
    struct resource_v1_allocation_result r = {0};
    struct configs configs = {.arena = s->arena};
    r.devices.results = ARENA_ARRAY(s->arena, struct resource_v1_device_request_allocation_result,
                                    c->picked_count + 1);
    r.devices.results_count = c->picked_count;
    for (size_t i = 0; i < c->picked_count; i++)
        put_device(s->arena, &c->picked[i], seed, &r.devices.results[i]);
    add_class_configs(&configs, c);
    add_claim_configs(&configs, c);
    r.devices.config = configs.items;
    r.devices.config_count = configs.count;
    r.node_selector = nodes_of(s, c);
    if (!str_empty(s->fault))
        return false;
    api_msg_copy(s->q->arena, &resource_v1_allocation_result_msg, ret, &r);
    return true;
}
