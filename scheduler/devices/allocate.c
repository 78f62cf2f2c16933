/* allocate.c - see allocate.h.
 *
 * Claim after claim, request after request, device after device: each choice is
 * marked, and taken back when what follows finds no solution. Within a request
 * devices are tried in their order only, since which of its devices comes first
 * makes no difference. Depth: at most 64 claims of 32 requests and 32 devices. */
#include "scheduler/devices/allocate_internal.h"

#include "lib/base/arena.h"
#include "lib/base/base.h"
#include "scheduler/devices/capacity.h"

enum outcome {
    FOUND,
    NONE,
    TOO_MANY, /* More devices than a claim may have: what was chosen before is no matter. */
    OVER,     /* A fault, or no steps are left. */
};

/* Where the search stands. */
struct place {
    size_t claim, request, choice;
    size_t device; /* How many the request has already. */
    size_t start;  /* The first candidate to try. */
    bool chosen;   /* choice is settled. */
};

static enum outcome search(struct search *s, struct place p);

/* --- one device --------------------------------------------------------------------------------
 */

static struct pool_counter *counter_of(const struct node_pool *p, struct str set, struct str name)
{
    for (size_t i = 0; i < p->counter_count; i++)
        if (str_eq(p->counters[i].set, set) && str_eq(p->counters[i].name, name))
            return &p->counters[i];
    return NULL;
}

/* Takes the device's counters (sign 1) or gives them back (-1). False: one is below zero now. */
static bool move_counters(const struct candidate *c, int sign)
{
    bool enough = true;
    for (size_t i = 0; i < c->device->consumes_counters_count; i++) {
        const struct resource_v1_device_counter_consumption *x = &c->device->consumes_counters[i];
        for (size_t k = 0; k < x->counters_count; k++) {
            struct pool_counter *n = counter_of(c->pool, x->counter_set, x->counters[k].key);
            struct quantity amount = quantity_of(&x->counters[k].value.value);
            if (n == NULL)
                continue; /* Such pools are invalid. */
            if (sign > 0)
                quantity_sub(&n->left, &amount);
            else
                quantity_add(&n->left, &amount);
            enough &= quantity_sign(&n->left) >= 0;
        }
    }
    return enough;
}

static void move_shares(struct search *s, struct candidate *c, const struct wanted *w, bool give)
{
    for (size_t i = 0; i < c->device->capacity_count; i++) {
        const struct resource_v1_device_capacity_entry *e = &c->device->capacity[i];
        struct quantity amount = capacity_taken(w->capacity, e);
        if (c->given.shares == NULL)
            c->given.shares = ARENA_ARRAY(s->arena, struct device_share, c->device->capacity_count);
        c->given.share_count = c->device->capacity_count;
        c->given.shares[i].name = e->key;
        if (give)
            quantity_add(&c->given.shares[i].amount, &amount);
        else
            quantity_sub(&c->given.shares[i].amount, &amount);
    }
    c->given.shared += give ? 1 : (size_t)-1;
}

static bool in_use(const struct candidate *c, const struct wanted *w, size_t claim)
{
    if (w->admin)
        return !c->multiple && (c->given_to & (uint64_t)1 << claim) != 0;
    return (c->use != NULL && c->use->whole != 0) || c->given_to != 0;
}

static bool meets_constraints(struct search *s, struct claim_search *k, const struct wanted *w,
                              const struct candidate *c)
{
    for (size_t i = 0; i < k->constraint_count; i++) {
        if (constraint_add(&k->constraints[i], w, c))
            continue;
        while (i-- != 0)
            constraint_remove(&k->constraints[i], w);
        if (w->all)
            search_fault(s,
                         "claim " CLAIM_FMT ", request " STR_FMT ": cannot add device " STR_FMT
                         "/" STR_FMT "/" STR_FMT
                         " because a claim constraint would not be satisfied",
                         CLAIM_ARG(k->claim), STR_ARG(w->name), STR_ARG(c->pool->driver),
                         STR_ARG(c->pool->name), STR_ARG(c->device->name));
        return false;
    }
    return true;
}

/* The device is selectable: marks it as given to the request if it may be. */
static bool give(struct search *s, size_t claim, const struct wanted *w, struct candidate *c)
{
    struct claim_search *k = &s->claims[claim];
    bool shared_already =
        c->multiple && (c->given.shared != 0 || (c->use != NULL && c->use->shared != 0));
    bool counts = !shared_already && c->device->consumes_counters_count != 0;
    if (in_use(c, w, claim) || !device_tolerated(c->device, w) ||
        !capacity_fits(w->capacity, c->device, c->use, &c->given))
        return false;
    if (counts && !move_counters(c, 1)) {
        move_counters(c, -1);
        return false;
    }
    if (!meets_constraints(s, k, w, c)) {
        if (counts)
            move_counters(c, -1);
        return false;
    }
    if (c->multiple)
        move_shares(s, c, w, true);
    else
        c->given_to |= (uint64_t)1 << claim;
    k->picked[k->picked_count++] = (struct picked){c, w, counts};
    return true;
}

/* Undoes the claim's last give(). */
static void take_back(struct search *s, size_t claim)
{
    struct claim_search *k = &s->claims[claim];
    struct picked *p = &k->picked[--k->picked_count];
    for (size_t i = 0; i < k->constraint_count; i++)
        constraint_remove(&k->constraints[i], p->wanted);
    if (p->device->multiple)
        move_shares(s, p->device, p->wanted, false);
    else
        p->device->given_to &= ~((uint64_t)1 << claim);
    if (p->counted)
        move_counters(p->device, -1);
}

/* --- the search --------------------------------------------------------------------------------
 */

static enum outcome spend(struct search *s)
{
    if (s->steps_left-- == 0) {
        s->steps_left = 0;
        s->out_of_steps = true;
        return OVER;
    }
    return FOUND;
}

static struct place next_device(struct place p, size_t start)
{
    p.device++;
    p.start = start;
    return p;
}

/* Which devices it must be is known; their order does not matter. */
static enum outcome search_all(struct search *s, struct place p, struct wanted *w)
{
    if (spend(s) == OVER)
        return OVER;
    if (!give(s, p.claim, w, &s->candidates[w->all_devices[p.device]]))
        return str_empty(s->fault) ? NONE : OVER;
    enum outcome o = search(s, next_device(p, 0));
    if (o != FOUND)
        take_back(s, p.claim);
    return o;
}

static enum outcome search_one(struct search *s, struct place p, struct wanted *w)
{
    for (size_t i = p.start; i < s->candidate_count; i++) {
        struct candidate *c = &s->candidates[i];
        bool selectable;
        if (in_use(c, w, p.claim))
            continue;
        if (spend(s) == OVER || !search_selectable(s, &s->claims[p.claim], w, i, &selectable))
            return OVER;
        if (!selectable || !give(s, p.claim, w, c))
            continue;
        enum outcome o = search(s, next_device(p, i + 1));
        if (o == FOUND)
            return FOUND;
        take_back(s, p.claim);
        if (o != NONE)
            return o;
    }
    return NONE;
}

static enum outcome search_choices(struct search *s, struct place p, struct request *r)
{
    bool too_many = true;
    p.chosen = true;
    for (p.choice = 0; p.choice < r->count; p.choice++) {
        enum outcome o = search(s, p);
        if (o == FOUND)
            r->chosen = p.choice;
        if (o == FOUND || o == OVER)
            return o;
        too_many &= o == TOO_MANY;
    }
    return too_many ? TOO_MANY : NONE;
}

static enum outcome search(struct search *s, struct place p)
{
    if (p.claim == s->q->claim_count)
        return FOUND;
    struct claim_search *c = &s->claims[p.claim];
    if (p.request == c->request_count) {
        /* An earlier claim with other alternatives may leave this one better off. */
        enum outcome o = search(s, (struct place){.claim = p.claim + 1});
        return o == TOO_MANY ? NONE : o;
    }
    struct request *r = &c->requests[p.request];
    if (r->alternatives && !p.chosen)
        return search_choices(s, p, r);
    struct wanted *w = &r->choices[p.choice];
    if (w->all && w->count == 0)
        return NONE;
    if (p.device >= w->count)
        return search(s, (struct place){.claim = p.claim, .request = p.request + 1});
    if (c->picked_count + (w->count - p.device) > DEVICE_RESULTS_MAX)
        return TOO_MANY;
    return w->all ? search_all(s, p, w) : search_one(s, p, w);
}

/* --- a node -------------------------------------------------------------------------------------
 */

static void collect_candidates(struct search *s)
{
    size_t count = 0;
    for (size_t i = 0; i < s->pool_count; i++)
        for (size_t k = 0; k < s->pools[i].slice_count; k++)
            count += s->pools[i].slices[k]->spec.devices_count;
    s->candidates = ARENA_ARRAY(s->arena, struct candidate, count + 1);
    for (size_t i = 0; i < s->pool_count; i++) {
        struct node_pool *p = &s->pools[i];
        for (size_t k = 0; k < p->slice_count && p->invalid == NULL && !p->incomplete; k++)
            for (size_t n = 0; n < p->slices[k]->spec.devices_count; n++) {
                const struct resource_v1_device *d = &p->slices[k]->spec.devices[n];
                struct str key = device_key(s->arena, p->driver, p->name, d->name);
                s->candidates[s->candidate_count++] = (struct candidate){
                    .slice = p->slices[k],
                    .device = d,
                    .pool = p,
                    .use = devices_use(s->q->devices, key),
                    .multiple = d->has_allow_multiple_allocations && d->allow_multiple_allocations};
            }
    }
}

static enum outcome run(struct search *s)
{
    const struct allocate_question *q = s->q;
    s->claims = ARENA_ARRAY(s->arena, struct claim_search, q->claim_count);
    s->pool_count =
        device_pools_of_node(devices_pools(q->devices), q->devices, s->arena, q->node, &s->pools);
    collect_candidates(s);
    for (size_t i = 0; i < q->claim_count; i++) {
        s->claims[i].claim = q->claims[i];
        if (!search_read_claim(s, &s->claims[i]))
            return OVER;
    }
    enum outcome o = search(s, (struct place){0});
    if (o == TOO_MANY)
        search_fault(s, "allocation max size exceeded");
    return o;
}

static struct str explain(const struct search *s)
{
    if (s->out_of_steps)
        return STR("timed out trying to allocate devices");
    for (size_t i = 0; i < s->pool_count; i++)
        if (s->pools[i].invalid != NULL)
            return STR("invalid resource pools were encountered");
    return STR("cannot allocate all claims");
}

void devices_allocate(const struct allocate_question *q, struct allocate_answer *ret)
{
    AUTO_ARENA *arena = arena_new(0);
    AUTO_ARENA *eval = arena_new(0);
    size_t steps = MIN_OF(*q->steps_left, (size_t)DEVICE_STEPS_NODE);
    struct search s = {.q = q, .arena = arena, .eval = eval, .steps_left = steps};
    uint64_t seed = q->seed;
    *ret = (struct allocate_answer){.code = ALLOCATE_NOT};
    ASSERT_CMP(q->claim_count, <=, ALLOCATE_CLAIMS_MAX);
    enum outcome o = run(&s);
    *q->steps_left -= steps - s.steps_left;
    if (o == FOUND) {
        ret->results = ARENA_ARRAY(q->arena, struct resource_v1_allocation_result, q->claim_count);
        for (size_t i = 0; i < q->claim_count && str_empty(s.fault); i++)
            search_result(&s, &s.claims[i], &seed, &ret->results[i]);
    }
    if (!str_empty(s.fault)) {
        ret->code = ALLOCATE_BROKEN;
        ret->text = s.fault;
    } else if (o == FOUND) {
        ret->code = ALLOCATE_FITS;
    } else {
        ret->text = explain(&s);
    }
}
