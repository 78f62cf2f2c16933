/* vpa_apply.c - see vpa.h: what a recommendation means for a pod.
 *
 *   recommended -> the pod's LimitRanges, in proportion -> the container's LimitRanges -> the
 *   policy -> requests; limits keep their ratio to requests */
#include "api/core_v1.h"
#include "api/resource.h"
#include "lib/api/vpa.h"
#include "lib/base/arena.h"

/* One container on its way. */
struct work {
    struct vpa_list requests, limits; /* As it has them. */
    bool recommended;
    struct vpa_list values[3]; /* Target, lower, upper. */
};

static const struct vpa_amount none = {0};

/* --- LimitRanges ------------------------------------------------------------------------- */

/* The smaller (or larger) of both, where both are given. */
static void join(struct vpa_list *to, const struct vpa_list *from, bool smaller)
{
    for (enum vpa_resource r = 0; r < VPA_RESOURCES; r++) {
        struct vpa_amount *x = &to->of[r];
        const struct vpa_amount *y = &from->of[r];
        if (y->given && (!x->given || (smaller ? y->n < x->n : y->n > x->n)))
            *x = *y;
    }
}

void vpa_ranges_add(struct vpa_ranges *r, const struct core_v1_limit_range *l)
{
    for (size_t i = 0; i < l->spec.limits_count; i++) {
        const struct core_v1_limit_range_item *x = &l->spec.limits[i];
        bool pod = str_eqc(x->type, "Pod");
        if ((!pod && !str_eqc(x->type, "Container")) ||
            x->max_count + x->min_count + x->default_count == 0)
            continue;
        struct vpa_range *to = pod ? &r->pod : &r->container;
        struct vpa_list list;
        to->given = true;
        vpa_list_from(x->max, x->max_count, &list);
        join(&to->max, &list, true);
        vpa_list_from(x->min, x->min_count, &list);
        join(&to->min, &list, false);
        if (x->default_count != 0)
            vpa_list_from(x->default_, x->default_count, &to->usual);
    }
}

/* --- proportions ----------------------------------------------------------------------------- */

/* x * by / from, in x's format. */
static struct vpa_amount scaled(const struct vpa_amount *x, const struct vpa_amount *from,
                                const struct vpa_amount *by, bool up)
{
    if (from->n == 0)
        return *x;
    __int128 product = (__int128)x->n * by->n;
    __int128 n = product / from->n + (up && product % from->n != 0);
    return (struct vpa_amount){
        .n = n > INT64_MAX ? INT64_MAX : (int64_t)n, .format = x->format, .given = true};
}

static const struct vpa_amount *limit_or_usual(const struct vpa_amount *limit,
                                               const struct vpa_amount *usual)
{
    return limit->n != 0 ? limit : usual;
}

/* The limit that is to the new request as the old ones were to each other. */
static struct vpa_amount proportional(const struct vpa_amount *limit,
                                      const struct vpa_amount *request,
                                      const struct vpa_amount *wanted,
                                      const struct vpa_amount *usual)
{
    limit = limit_or_usual(limit, usual);
    if (limit->n == 0 || wanted->n == 0)
        return none;
    if (request->n == 0 || request->n == limit->n)
        return *wanted;
    return scaled(limit, request, wanted, false);
}

/* The request whose limit is at the edge; not given: no limit is set, so there is none. */
static struct vpa_amount request_at(const struct vpa_amount *edge, const struct vpa_amount *limit,
                                    const struct vpa_amount *request,
                                    const struct vpa_amount *usual)
{
    limit = limit_or_usual(limit, usual);
    if (!edge->given || limit->n == 0)
        return none;
    return request->n == 0 ? *edge : scaled(request, limit, edge, false);
}

/* --- a pod's LimitRanges ------------------------------------------------------------------------
 */
struct sums {
    struct vpa_amount limits, wanted;
};

static void add(struct vpa_amount *to, int64_t n)
{
    if (__builtin_add_overflow(to->n, n, &to->n))
        to->n = INT64_MAX;
}

static struct sums sums_of(const struct work *w, size_t count, enum vpa_resource r, size_t value,
                           const struct vpa_range *range)
{
    struct sums s = {0};
    for (size_t i = 0; i < count; i++) {
        const struct vpa_amount *wanted =
            w[i].recommended ? &w[i].values[value].of[r] : &w[i].requests.of[r];
        struct vpa_amount limit =
            proportional(&w[i].limits.of[r], &w[i].requests.of[r], wanted, &range->usual.of[r]);
        add(&s.limits, limit.n);
        add(&s.wanted, wanted->n);
    }
    return s;
}

/* Scales the containers' shares of a sum so that it is another one. */
static void share(struct work *w, size_t count, enum vpa_resource r, size_t value,
                  const struct vpa_amount *from, const struct vpa_amount *to, bool up)
{
    for (size_t i = 0; i < count; i++) {
        struct vpa_amount *x = &w[i].values[value].of[r];
        if (w[i].recommended && x->given)
            *x = scaled(x, from, to, up);
    }
}

static void fit_pod(struct work *w, size_t count, enum vpa_resource r, size_t value,
                    const struct vpa_range *range)
{
    const struct vpa_amount *min = &range->min.of[r], *max = &range->max.of[r];
    struct sums s = sums_of(w, count, r, value, range);
    if (min->n > s.wanted.n && s.limits.n != 0)
        share(w, count, r, value, &s.wanted, min, true);
    else if (s.limits.n != 0 && max->n != 0 && max->n < s.limits.n)
        share(w, count, r, value, &s.limits, max, false);
    else if (s.limits.n != 0 && min->n > s.limits.n)
        share(w, count, r, value, &s.limits, min, false);
}

/* --- a container ------------------------------------------------------------------------------ */
struct notes {
    struct arena *arena; /* NULL: nobody reads them. */
    struct vpa_container *to;
};

static void note(const struct notes *n, enum vpa_resource r, const char *what)
{
    if (n->arena == NULL)
        return;
    size_t cap = n->to->note_count;
    n->to->notes =
        arena_grow(n->arena, n->to->notes, n->to->note_count, &cap, sizeof(*n->to->notes));
    n->to->notes[n->to->note_count++] =
        arena_printf(n->arena, "%s %s", vpa_resource_names[r], what);
}

static void fit_container(const struct work *w, struct vpa_list *value,
                          const struct vpa_range *range, const struct notes *notes)
{
    for (enum vpa_resource r = 0; r < VPA_RESOURCES; r++) {
        const struct vpa_amount *limit = &w->limits.of[r], *request = &w->requests.of[r],
                                *usual = &range->usual.of[r];
        struct vpa_amount min = request_at(&range->min.of[r], limit, request, usual),
                          max = request_at(&range->max.of[r], limit, request, usual);
        if (range->min.of[r].n > min.n)
            min = range->min.of[r];
        struct vpa_amount *x = &value->of[r];
        if (vpa_cap(x, &min, &none) == VPA_CAPPED_TO_MIN)
            note(notes, r, "capped to fit Min in container LimitRange");
        if (vpa_cap(x, &none, &max) == VPA_CAPPED_TO_MAX)
            note(notes, r, "capped to fit Max in container LimitRange");
    }
}

static void fit_policy(const struct work *w, struct vpa_list *value, const struct vpa_policy *p,
                       const struct notes *notes)
{
    for (enum vpa_resource r = 0; p != NULL && r < VPA_RESOURCES; r++) {
        struct vpa_amount *x = &value->of[r];
        if (vpa_cap(x, &p->min.of[r], &none) == VPA_CAPPED_TO_MIN)
            note(notes, r, "capped to minAllowed");
        if (vpa_cap(x, &none, &p->max.of[r]) == VPA_CAPPED_TO_MAX)
            note(notes, r, "capped to maxAllowed");
    }
    for (enum vpa_resource r = 0; p != NULL && p->requests_only && r < VPA_RESOURCES; r++)
        if (value->of[r].given && w->limits.of[r].given && value->of[r].n > w->limits.of[r].n) {
            value->of[r] = w->limits.of[r];
            note(notes, r, "capped to container limit");
        }
}

static void finish(struct arena *a, struct work *w, const struct vpa_policy *p,
                   const struct vpa_ranges *ranges, struct vpa_container *ret)
{
    for (size_t value = 0; value < ARRAY_SIZE(w->values); value++) {
        struct notes notes = {value == 0 ? a : NULL, ret};
        if (ranges->container.given)
            fit_container(w, &w->values[value], &ranges->container, &notes);
        fit_policy(w, &w->values[value], p, &notes);
    }
    ret->recommended = true;
    ret->requests = w->values[0];
    ret->lower = w->values[1];
    ret->upper = w->values[2];
    for (enum vpa_resource r = 0; r < VPA_RESOURCES && (p == NULL || !p->requests_only); r++)
        ret->limits.of[r] = proportional(&w->limits.of[r], &w->requests.of[r], &ret->requests.of[r],
                                         &ranges->container.usual.of[r]);
}

/* --- a pod
 * ----------------------------------------------------------------------------------------- */
static const struct core_v1_resource_requirements *resources_of(const struct core_v1_pod *p,
                                                                size_t container)
{
    const struct core_v1_container *c = &p->spec.containers[container];
    for (size_t i = 0; i < p->status.container_statuses_count; i++) {
        const struct core_v1_container_status *s = &p->status.container_statuses[i];
        if (str_eq(s->name, c->name) && s->resources != NULL)
            return s->resources;
    }
    return &c->resources;
}

void vpa_container_has(const struct core_v1_pod *p, size_t container, struct vpa_list *requests,
                       struct vpa_list *limits)
{
    const struct core_v1_resource_requirements *x = resources_of(p, container);
    vpa_list_from(x->requests, x->requests_count, requests);
    vpa_list_from(x->limits, x->limits_count, limits);
}

struct vpa_container *vpa_for_pod(struct arena *a, const struct vpa_object *v,
                                  const struct core_v1_pod *p, const struct vpa_ranges *ranges)
{
    size_t n = p->spec.containers_count;
    struct vpa_container *ret = ARENA_ARRAY(a, struct vpa_container, n + 1);
    struct work *w = ARENA_ARRAY(a, struct work, n + 1);
    for (size_t i = 0; i < n; i++) {
        struct str name = p->spec.containers[i].name;
        const struct vpa_recommended *r =
            vpa_recommended_of(v->recommended, v->recommended_count, name);
        const struct vpa_policy *policy = vpa_policy_of(v, name);
        vpa_container_has(p, i, &w[i].requests, &w[i].limits);
        w[i].recommended = r != NULL && (policy == NULL || !policy->off);
        if (w[i].recommended) {
            w[i].values[0] = r->target;
            w[i].values[1] = r->lower;
            w[i].values[2] = r->upper;
        }
    }
    for (size_t value = 0; ranges->pod.given && value < 3; value++)
        for (enum vpa_resource r = 0; r < VPA_RESOURCES; r++)
            fit_pod(w, n, r, value, &ranges->pod);
    for (size_t i = 0; i < n; i++)
        if (w[i].recommended)
            finish(a, &w[i], vpa_policy_of(v, p->spec.containers[i].name), ranges, &ret[i]);
    return ret;
}
