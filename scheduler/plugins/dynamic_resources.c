/* dynamic_resources.c - a pod's ResourceClaims must be there, and allocated where the
 * node reaches their devices, or to be allocated from devices that the node has.
 * device_wait.c then writes what was chosen. Texts are upstream's. */
#include "scheduler/plugins/plugins.h"

#include "api/core_v1.h"
#include "api/resource_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "scheduler/devices/allocate.h"
#include "scheduler/devices/devices.h"
#include "scheduler/devices/extended.h"
#include "scheduler/devices/pod_claims.h"

#define ALTERNATIVES_MAX 8 /* Of a request. */

struct node_answer {
    bool known;
    struct allocate_answer answer;
    const struct variant *variant;
};

/* What is asked for on nodes that advertise the same of the pod's extended resources. */
struct variant {
    struct variant *next;
    uint64_t devices; /* Of the wanted scalars, by index: those that are to be devices. */
    const struct resource_v1_resource_claim *extended; /* For them; NULL: there are none. */
    const struct resource_v1_resource_claim **claims;  /* The wanting, and that one last. */
    size_t count;
};

struct device_state {
    struct api_object **claims;
    bool *unavailable; /* By claim: some node was refused for it. */
    size_t count;
    /* Of them, those to be allocated. */
    const struct resource_v1_resource_claim **wanting;
    size_t wanting_count;
    uint64_t by_class; /* Of the pod's extended resources: those that a class provides. */
    struct variant *variants;
    struct api_object *stale;  /* Made for them by an earlier attempt: in the way, to go. */
    struct node_answer *nodes; /* By index in the snapshot: guests change nothing here. */
    size_t steps_left;
};

static const struct resource_v1_resource_claim *claim_at(const struct device_state *s, size_t i)
{
    return s->claims[i]->msg;
}

/* --- prefilter ---------------------------------------------------------------------------------
 */

static bool class_exists(struct cycle *c, struct refusal *r, struct str class, struct str request)
{
    if (str_empty(class))
        c->failure = arena_printf(c->arena,
                                  "running PreFilter plugin \"DynamicResources\": request " STR_FMT
                                  ": unsupported request type",
                                  STR_ARG(request));
    else if (devices_class(c->facts->devices, class) != NULL)
        return true;
    refusal_addf(c, r, "request " STR_FMT ": device class " STR_FMT " does not exist",
                 STR_ARG(request), STR_ARG(class));
    return false;
}

static bool request_is_known(struct cycle *c, struct refusal *r,
                             const struct resource_v1_resource_claim *claim,
                             const struct resource_v1_device_request *q)
{
    if (q->exactly != NULL)
        return class_exists(c, r, q->exactly->device_class_name, q->name);
    for (size_t i = 0; i < q->first_available_count; i++) {
        struct str label = arena_printf(c->arena, STR_FMT "/" STR_FMT, STR_ARG(q->name),
                                        STR_ARG(q->first_available[i].name));
        if (!class_exists(c, r, q->first_available[i].device_class_name, label))
            return false;
    }
    if (q->first_available_count == 0)
        refusal_addf(
            c, r,
            "resource claim " STR_FMT "/" STR_FMT ", request " STR_FMT ": unknown request type",
            STR_ARG(claim->metadata.namespace), STR_ARG(claim->metadata.name), STR_ARG(q->name));
    return q->first_available_count != 0;
}

static bool take_claim(struct cycle *c, struct device_state *s, size_t i, struct refusal *r)
{
    const struct resource_v1_resource_claim *claim = claim_at(s, i);
    if (claim->status.allocation != NULL)
        return true;
    if (devices_is_pending(c->facts->devices, claim->metadata.uid)) {
        refusal_addf(c, r,
                     "resource claim " STR_FMT "/" STR_FMT " is in the process of being allocated",
                     STR_ARG(claim->metadata.namespace), STR_ARG(claim->metadata.name));
        return false;
    }
    for (size_t k = 0; k < claim->spec.devices.requests_count; k++)
        if (!request_is_known(c, r, claim, &claim->spec.devices.requests[k]))
            return false;
    s->wanting[s->wanting_count++] = claim;
    return true;
}

static enum verdict prefilter(struct cycle *c, struct refusal *r)
{
    struct str why = STR_NULL;
    c->skip_score[c->current] = true; /* Unless there is something to allocate. */
    uint64_t by_class = extended_by_class(c->facts->devices, &c->pod->needs->requests);
    if (c->facts->devices == NULL ||
        (c->pod->pod->spec.resource_claims_count == 0 && by_class == 0))
        return SKIP;
    struct device_state *s = ARENA_NEW(c->arena, struct device_state);
    s->by_class = by_class;
    if (by_class != 0)
        s->stale = devices_extended_claim(c->facts->devices, c->pod->pod);
    s->claims = ARENA_ARRAY(c->arena, struct api_object *, POD_CLAIMS_MAX);
    if (!pod_device_claims(c->facts->devices, c->arena, c->pod->pod, s->claims, &s->count, &why)) {
        refusal_add(r, why);
        return UNRESOLVABLE;
    }
    if (s->count == 0 && by_class == 0)
        return SKIP;
    s->unavailable = ARENA_ARRAY(c->arena, bool, s->count + 1);
    s->wanting = ARENA_ARRAY(c->arena, const struct resource_v1_resource_claim *, s->count + 1);
    s->nodes = ARENA_ARRAY(c->arena, struct node_answer, c->snapshot->node_count);
    s->steps_left = DEVICE_STEPS_CYCLE;
    for (size_t i = 0; i < s->count; i++)
        if (!take_claim(c, s, i, r))
            return UNRESOLVABLE;
    c->state[c->current] = s;
    c->skip_score[c->current] = s->wanting_count == 0 || !c->profile->scores[c->current];
    return FIT;
}

/* --- filter ------------------------------------------------------------------------------------
 */

/* An allocated claim binds the pod to the nodes that reach its devices. */
static bool is_available(struct cycle *c, const struct resource_v1_resource_claim *claim,
                         const struct core_v1_node *node)
{
    const struct resource_v1_allocation_result *a = claim->status.allocation;
    struct str why;
    if (a == NULL)
        return true;
    if (a->node_selector != NULL && !node_selector_matches(a->node_selector, node))
        return false;
    switch (claim_binding_state(c->arena, claim, &why)) {
    case CLAIM_BINDING_READY:
        return true;
    case CLAIM_BINDING_FAILED:
        return false;
    case CLAIM_BINDING_WAITS:
        break;
    }
    return c->facts->wall_ns == NULL ||
           !claim_binding_timed_out(claim, c->facts->wall_ns(c->facts->arg),
                                    c->profile->device_timeout_ms);
}

static const struct variant *variant_of(struct cycle *c, struct device_state *s,
                                        const struct node_info *n)
{
    uint64_t devices = extended_on_node(s->by_class, &c->pod->needs->requests, &n->allocatable);
    for (const struct variant *v = s->variants; v != NULL; v = v->next)
        if (v->devices == devices)
            return v;
    struct variant *v = ARENA_NEW(c->arena, struct variant);
    v->devices = devices;
    v->claims =
        ARENA_ARRAY(c->arena, const struct resource_v1_resource_claim *, s->wanting_count + 1);
    for (; v->count < s->wanting_count; v->count++)
        v->claims[v->count] = s->wanting[v->count];
    if (devices != 0) {
        v->extended = extended_claim(c->facts->devices, c->arena, c->pod->pod,
                                     &c->pod->needs->requests, devices);
        v->claims[v->count++] = v->extended;
    }
    v->next = s->variants;
    s->variants = v;
    return v;
}

static const struct allocate_answer *allocate(struct cycle *c, struct device_state *s,
                                              const struct node_info *n)
{
    struct node_answer *x = &s->nodes[n->index];
    if (!x->known) {
        x->variant = variant_of(c, s, n);
        const struct allocate_question q = {.devices = c->facts->devices,
                                            .node = n->node,
                                            .claims = x->variant->claims,
                                            .claim_count = x->variant->count,
                                            .arena = c->arena,
                                            .steps_left = &s->steps_left,
                                            .seed = c->seed ^ (n->index + 1) << 20};
        if (q.claim_count == 0)
            x->answer = (struct allocate_answer){.code = ALLOCATE_FITS};
        else
            devices_allocate(&q, &x->answer);
        x->known = true;
    }
    return &x->answer;
}

static enum verdict filter(struct cycle *c, const struct node_info *n, struct refusal *r)
{
    struct device_state *s = CYCLE_STATE(c, struct device_state);
    bool available = true;
    for (size_t i = 0; i < s->count; i++) {
        if (is_available(c, claim_at(s, i), n->node))
            continue;
        s->unavailable[i] = true;
        available = false;
    }
    if (s->stale != NULL) {
        refusal_add(r, STR("cannot schedule extended resource claim"));
        return UNRESOLVABLE;
    }
    if (s->wanting_count != 0 || s->by_class != 0) {
        const struct allocate_answer *a = allocate(c, s, n);
        if (a->code == ALLOCATE_BROKEN)
            c->failure = arena_printf(
                c->arena, "running \"DynamicResources\" filter plugin: " STR_FMT, STR_ARG(a->text));
        if (a->code != ALLOCATE_FITS) {
            refusal_add(r, a->text);
            return UNRESOLVABLE;
        }
    }
    if (!available)
        refusal_add(r, STR("resourceclaim not available on the node"));
    return available ? FIT : UNRESOLVABLE;
}

/* --- score -------------------------------------------------------------------------------------
 */

static bool was_taken(const struct resource_v1_allocation_result *a, struct str request,
                      struct str alternative)
{
    for (size_t i = 0; i < a->devices.results_count; i++) {
        struct str parent, name;
        if (str_cut(a->devices.results[i].request, '/', &parent, &name) &&
            str_eq(parent, request) && str_eq(name, alternative))
            return true;
    }
    return false;
}

/* The earlier the alternatives that could be had, the better. */
static int64_t score(struct cycle *c, const struct node_info *n)
{
    const struct device_state *s = CYCLE_STATE(c, struct device_state);
    const struct node_answer *x = &s->nodes[n->index];
    int64_t sum = 0;
    for (size_t i = 0; x->known && i < s->wanting_count; i++) {
        const struct resource_v1_device_claim *d = &s->wanting[i]->spec.devices;
        for (size_t k = 0; k < d->requests_count; k++) {
            const struct resource_v1_device_request *q = &d->requests[k];
            for (size_t m = 0; m < q->first_available_count; m++)
                if (was_taken(&x->answer.results[i], q->name, q->first_available[m].name))
                    sum += ALTERNATIVES_MAX - (int64_t)m;
        }
    }
    return sum;
}

static void normalize(struct cycle *c, int64_t *scores, size_t count)
{
    UNUSED(c);
    scores_normalize(scores, count, false);
}

const struct plugin plugin_dynamic_resources = {
    .name = "DynamicResources",
    .scope = SCOPE_OUTSIDE,
    .wakes = EVENT_NODE_ADD | EVENT_NODE_LABEL | EVENT_CLAIM | EVENT_DEVICES | EVENT_CLASS,
    .prefilter = prefilter,
    .filter = filter,
    .score = score,
    .normalize = normalize,
    .weight = 1,
};

/* --- for those who act on it --------------------------------------------------------------------
 */

static const struct device_state *state_of(const struct cycle *c)
{
    for (unsigned i = 0; i < scheduler_plugin_count; i++)
        if (scheduler_plugins[i] == &plugin_dynamic_resources)
            return c->state[i];
    return NULL;
}

size_t dynamic_resources_plan(const struct cycle *c, const struct node_info *n,
                              struct device_plan *ret)
{
    const struct device_state *s = state_of(c);
    size_t count = 0, next = 0;
    for (size_t i = 0; s != NULL && i < s->count; i++) {
        const struct resource_v1_resource_claim *claim = claim_at(s, i);
        ret[count] = (struct device_plan){.claim = s->claims[i]};
        if (claim->status.allocation == NULL)
            ret[count].allocation = &s->nodes[n->index].answer.results[next++];
        count++;
    }
    if (s != NULL && s->nodes[n->index].known && s->nodes[n->index].variant->extended != NULL)
        ret[count++] = (struct device_plan){.extended = s->nodes[n->index].variant->extended,
                                            .allocation = &s->nodes[n->index].answer.results[next]};
    return count;
}

struct api_object *dynamic_resources_stale_claim(const struct cycle *c)
{
    const struct device_state *s = state_of(c);
    return s != NULL ? s->stale : NULL;
}

struct api_object *dynamic_resources_idle_claim(const struct cycle *c, bool *ret_any)
{
    const struct device_state *s = state_of(c);
    *ret_any = s != NULL;
    for (size_t i = 0; s != NULL && i < s->count; i++) {
        const struct resource_v1_resource_claim *claim = claim_at(s, i);
        size_t users = claim->status.reserved_for_count;
        if (s->unavailable[i] &&
            (users == 0 || (users == 1 && claim_reserved_for(claim, c->pod->pod->metadata.uid))))
            return s->claims[i];
    }
    return NULL;
}
