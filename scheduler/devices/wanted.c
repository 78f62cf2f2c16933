/* wanted.c - what claims ask for: requests and their alternatives, by selectors,
 * constraints and tolerations. */
#include "scheduler/devices/allocate_internal.h"

#include "lib/api/cel/cel_device.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "scheduler/devices/capacity.h"

#include <stdarg.h>
#include <stdio.h>

void search_fault(struct search *s, const char *fmt, ...)
{
    char text[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (str_empty(s->fault))
        s->fault = arena_strc(s->q->arena, text);
}

/* --- selectors ---------------------------------------------------------------------------------
 */

enum { MATCH_UNKNOWN, MATCH_YES, MATCH_NO };

struct selector_owner {
    const struct resource_v1_device_class *class; /* NULL: the claim. */
    const struct resource_v1_resource_claim *claim;
};

static bool selector_fault(struct search *s, const struct selector_owner *o, size_t i,
                           const char *what, struct str why)
{
    if (o->class != NULL)
        search_fault(s, "class " STR_FMT ": selector #%zu: CEL %s error: " STR_FMT,
                     STR_ARG(o->class->metadata.name), i, what, STR_ARG(why));
    else
        search_fault(s, "claim " CLAIM_FMT ": selector #%zu: CEL %s error: " STR_FMT,
                     CLAIM_ARG(o->claim), i, what, STR_ARG(why));
    return false;
}

/* All of them must hold. */
static bool select_by(struct search *s, const struct selector_owner *o,
                      const struct resource_v1_device_selector *list, size_t count,
                      const struct candidate *c, bool *ret)
{
    *ret = true;
    for (size_t i = 0; i < count && *ret; i++) {
        struct str why = STR_NULL;
        arena_clear(s->eval);
        const struct cel_program *p =
            devices_program(s->q->devices, s->eval, list[i].cel->expression, &why);
        if (p == NULL)
            return selector_fault(s, o, i, "compile", why);
        if (!cel_device_matches(p, s->eval, c->pool->driver, c->device, ret, &why))
            return selector_fault(s, o, i, "runtime", why);
    }
    return true;
}

bool search_selectable(struct search *s, const struct claim_search *cs, struct wanted *w, size_t i,
                       bool *ret)
{
    const struct candidate *c = &s->candidates[i];
    const struct selector_owner class = {w->class, NULL}, claim = {NULL, cs->claim};
    *ret = w->matches[i] == MATCH_YES;
    if (w->matches[i] != MATCH_UNKNOWN)
        return true;
    if (!select_by(s, &class, w->class->spec.selectors, w->class->spec.selectors_count, c, ret) ||
        (*ret && !select_by(s, &claim, w->selectors, w->selector_count, c, ret)))
        return false;
    if (*ret && c->slice->spec.per_device_node_selection)
        *ret = device_meant_for(s->q->node, c->device->has_node_name, c->device->node_name,
                                c->device->has_all_nodes && c->device->all_nodes,
                                c->device->node_selector);
    w->matches[i] = *ret ? MATCH_YES : MATCH_NO;
    return true;
}

/* --- requests ----------------------------------------------------------------------------------
 */

static bool pool_settled(struct search *s, const struct claim_search *c, const struct wanted *w)
{
    for (size_t i = 0; i < s->pool_count; i++) {
        const struct node_pool *p = &s->pools[i];
        if (!p->incomplete && p->invalid == NULL)
            continue;
        search_fault(s,
                     "claim " CLAIM_FMT ", request " STR_FMT
                     ": asks for all devices, but resource pool " STR_FMT "/" STR_FMT
                     " is currently %s",
                     CLAIM_ARG(c->claim), STR_ARG(w->name), STR_ARG(p->driver), STR_ARG(p->name),
                     p->incomplete ? "being updated" : "invalid");
        return false;
    }
    return true;
}

static bool take_all(struct search *s, const struct claim_search *c, struct wanted *w)
{
    if (!pool_settled(s, c, w))
        return false;
    w->all_devices = ARENA_ARRAY(s->arena, size_t, s->candidate_count);
    for (size_t i = 0; i < s->candidate_count; i++) {
        const struct candidate *x = &s->candidates[i];
        bool selectable;
        if (!search_selectable(s, c, w, i, &selectable))
            return false;
        if (selectable && capacity_fits(w->capacity, x->device, x->use, NULL))
            w->all_devices[w->count++] = i;
    }
    return true;
}

static bool read_wanted(struct search *s, const struct claim_search *c, struct wanted *w)
{
    w->label = str_empty(w->parent) ? w->name
                                    : arena_printf(s->q->arena, STR_FMT "/" STR_FMT,
                                                   STR_ARG(w->parent), STR_ARG(w->name));
    w->matches = ARENA_ARRAY(s->arena, uint8_t, s->candidate_count + 1);
    for (size_t i = 0; i < w->selector_count; i++)
        if (w->selectors[i].cel == NULL) {
            search_fault(s,
                         "claim " CLAIM_FMT ", request " STR_FMT
                         ", selector #%zu: CEL expression empty (unsupported selector type?)",
                         CLAIM_ARG(c->claim), STR_ARG(w->name), i);
            return false;
        }
    if (str_empty(w->class_name)) {
        search_fault(s,
                     "claim " CLAIM_FMT ", request " STR_FMT
                     ": missing device class name (unsupported request type?)",
                     CLAIM_ARG(c->claim), STR_ARG(w->name));
        return false;
    }
    const struct api_object *class = devices_class(s->q->devices, w->class_name);
    if (class == NULL) {
        search_fault(
            s,
            "claim " CLAIM_FMT ", request " STR_FMT ": could not retrieve device class " STR_FMT
            ": deviceclass.resource.k8s.io \"" STR_FMT "\" not found",
            CLAIM_ARG(c->claim), STR_ARG(w->name), STR_ARG(w->class_name), STR_ARG(w->class_name));
        return false;
    }
    w->class = class->msg;
    if (str_eqc(w->mode, "All")) {
        w->all = true;
        return take_all(s, c, w);
    }
    if (!str_eqc(w->mode, "ExactCount")) {
        search_fault(s, "claim " CLAIM_FMT ", request " STR_FMT ": unsupported count mode " STR_FMT,
                     CLAIM_ARG(c->claim), STR_ARG(w->name), STR_ARG(w->mode));
        return false;
    }
    w->count = (size_t)MAX_OF(w->asked, (int64_t)0);
    return true;
}

static struct wanted exact(const struct resource_v1_device_request *r)
{
    const struct resource_v1_exact_device_request *x = r->exactly;
    struct wanted w = {.name = r->name};
    if (x == NULL)
        return w; /* Of an unknown sort. */
    w.class_name = x->device_class_name;
    w.mode = x->allocation_mode;
    w.selectors = x->selectors;
    w.selector_count = x->selectors_count;
    w.tolerations = x->tolerations;
    w.toleration_count = x->tolerations_count;
    w.capacity = x->capacity;
    w.admin = x->has_admin_access && x->admin_access;
    w.asked = x->count;
    return w;
}

static struct wanted alternative(const struct resource_v1_device_request *r,
                                 const struct resource_v1_device_sub_request *x)
{
    return (struct wanted){.name = x->name,
                           .parent = r->name,
                           .class_name = x->device_class_name,
                           .mode = x->allocation_mode,
                           .selectors = x->selectors,
                           .selector_count = x->selectors_count,
                           .tolerations = x->tolerations,
                           .toleration_count = x->tolerations_count,
                           .capacity = x->capacity,
                           .asked = x->count};
}

/* *ret_least: devices that it needs at least. */
static bool read_request(struct search *s, const struct claim_search *c,
                         const struct resource_v1_device_request *from, struct request *r,
                         size_t *ret_least)
{
    r->alternatives = from->first_available_count != 0;
    r->count = r->alternatives ? from->first_available_count : 1;
    r->choices = ARENA_ARRAY(s->arena, struct wanted, r->count);
    *ret_least = SIZE_MAX;
    for (size_t i = 0; i < r->count; i++) {
        r->choices[i] =
            r->alternatives ? alternative(from, &from->first_available[i]) : exact(from);
        if (!read_wanted(s, c, &r->choices[i]))
            return false;
        *ret_least = MIN_OF(*ret_least, r->choices[i].count);
    }
    return true;
}

bool search_read_claim(struct search *s, struct claim_search *c)
{
    const struct resource_v1_device_claim *d = &c->claim->spec.devices;
    size_t least = 0;
    c->requests = ARENA_ARRAY(s->arena, struct request, d->requests_count + 1);
    for (; c->request_count < d->requests_count; c->request_count++) {
        size_t n;
        if (!read_request(s, c, &d->requests[c->request_count], &c->requests[c->request_count], &n))
            return false;
        least = n < SIZE_MAX - least ? least + n : SIZE_MAX;
    }
    if (least > DEVICE_RESULTS_MAX) {
        search_fault(
            s, "claim " CLAIM_FMT ": number of requested devices %zu exceeds the claim limit of %d",
            CLAIM_ARG(c->claim), least, DEVICE_RESULTS_MAX);
        return false;
    }
    c->constraints = ARENA_ARRAY(s->arena, struct constraint, d->constraints_count + 1);
    for (; c->constraint_count < d->constraints_count; c->constraint_count++) {
        const struct resource_v1_device_constraint *k = &d->constraints[c->constraint_count];
        c->constraints[c->constraint_count].rule = k;
        if (k->has_match_attribute || k->has_distinct_attribute)
            continue;
        search_fault(s,
                     "claim " CLAIM_FMT
                     ", constraint #%zu: empty constraint (unsupported constraint type?)",
                     CLAIM_ARG(c->claim), c->constraint_count);
        return false;
    }
    return true;
}

/* --- constraints --------------------------------------------------------------------------------
 */

static const struct resource_v1_device_attribute *find_attribute(const struct resource_v1_device *d,
                                                                 struct str name)
{
    for (size_t i = 0; i < d->attributes_count; i++)
        if (str_eq(d->attributes[i].key, name))
            return &d->attributes[i].value;
    return NULL;
}

const struct resource_v1_device_attribute *device_attribute(const struct candidate *c,
                                                            struct str name)
{
    struct str domain, id;
    const struct resource_v1_device_attribute *x = find_attribute(c->device, name);
    if (x != NULL || !str_cut(name, '/', &domain, &id) || !str_eq(domain, c->pool->driver))
        return x;
    return find_attribute(c->device, id);
}

static bool same_value(const struct resource_v1_device_attribute *x,
                       const struct resource_v1_device_attribute *y)
{
    if (x->has_string)
        return y->has_string && str_eq(x->string, y->string);
    if (x->has_int)
        return y->has_int && x->int_ == y->int_;
    if (x->has_bool)
        return y->has_bool && x->bool_ == y->bool_;
    return x->has_version && y->has_version && str_eq(x->version, y->version);
}

static bool known_value(const struct resource_v1_device_attribute *x)
{
    return x->has_string || x->has_int || x->has_bool || x->has_version;
}

/* Requests are named whole, or by one of their alternatives. */
static bool binds(const struct resource_v1_device_constraint *k, const struct wanted *w)
{
    struct str whole = str_empty(w->parent) ? w->name : w->parent;
    for (size_t i = 0; i < k->requests_count; i++)
        if (str_eq(k->requests[i], whole) || str_eq(k->requests[i], w->label))
            return true;
    return k->requests_count == 0;
}

bool constraint_add(struct constraint *k, const struct wanted *w, const struct candidate *c)
{
    bool distinct = !k->rule->has_match_attribute;
    if (!binds(k->rule, w))
        return true;
    const struct resource_v1_device_attribute *x =
        device_attribute(c, distinct ? k->rule->distinct_attribute : k->rule->match_attribute);
    if (x == NULL || (k->count != 0 && !known_value(x)))
        return false;
    if (!distinct && k->count != 0 && !same_value(x, k->values[0]))
        return false;
    for (size_t i = 0; distinct && i < k->count; i++)
        if (same_value(x, k->values[i]))
            return false;
    k->values[k->count++] = x;
    return true;
}

void constraint_remove(struct constraint *k, const struct wanted *w)
{
    k->count -= binds(k->rule, w);
}

/* --- taints --------------------------------------------------------------------------------------
 */

static bool tolerates(const struct resource_v1_device_toleration *t,
                      const struct resource_v1_device_taint *x)
{
    if (!str_empty(t->effect) && !str_eq(t->effect, x->effect))
        return false;
    if (!str_empty(t->key) && !str_eq(t->key, x->key))
        return false;
    if (str_eqc(t->operator, "Exists"))
        return true;
    return (str_empty(t->operator) || str_eqc(t->operator, "Equal")) && str_eq(t->value, x->value);
}

bool device_tolerated(const struct resource_v1_device *d, const struct wanted *w)
{
    for (size_t i = 0; i < d->taints_count; i++) {
        const struct resource_v1_device_taint *x = &d->taints[i];
        bool tolerated = !str_eqc(x->effect, "NoSchedule") && !str_eqc(x->effect, "NoExecute");
        for (size_t k = 0; k < w->toleration_count && !tolerated; k++)
            tolerated = tolerates(&w->tolerations[k], x);
        if (!tolerated)
            return false;
    }
    return true;
}
