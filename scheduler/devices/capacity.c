/* capacity.c - see capacity.h. */
#include "scheduler/devices/capacity.h"

#include "api/resource_v1.h"
#include "lib/base/base.h"

static const struct resource_quantity *asked(const struct resource_v1_capacity_requirements *r,
                                             struct str name)
{
    for (size_t i = 0; r != NULL && i < r->requests_count; i++)
        if (str_eq(r->requests[i].key, name))
            return &r->requests[i].value;
    return NULL;
}

/* Up to the next step from the least amount on. */
static struct quantity round_to_range(struct quantity want,
                                      const struct resource_v1_capacity_request_policy_range *r)
{
    struct quantity min = quantity_of(r->min);
    if (quantity_cmp(&want, &min) < 0)
        return min;
    if (r->step == NULL)
        return want;
    struct quantity step_q = quantity_of(r->step);
    int64_t step = quantity_value(&step_q), from = quantity_value(&min);
    if (step <= 0)
        return want;
    int64_t added = quantity_value(&want) - from;
    int64_t steps = added / step + (added % step != 0);
    return quantity_from_int(from + step * steps, QUANTITY_BINARY_SI);
}

struct quantity capacity_taken(const struct resource_v1_capacity_requirements *request,
                               const struct resource_v1_device_capacity_entry *c)
{
    const struct resource_v1_capacity_request_policy *p = c->value.request_policy;
    const struct resource_quantity *q = asked(request, c->key);
    if (q == NULL)
        return quantity_of(p != NULL && p->default_ != NULL ? p->default_ : &c->value.value);
    struct quantity want = quantity_of(q);
    if (p != NULL && p->valid_range != NULL && p->valid_range->min != NULL)
        return round_to_range(want, p->valid_range);
    for (size_t i = 0; p != NULL && i < p->valid_values_count; i++) { /* They rise. */
        struct quantity v = quantity_of(&p->valid_values[i]);
        if (quantity_cmp(&want, &v) <= 0)
            return v;
    }
    return want;
}

static bool in_range(const struct quantity *v,
                     const struct resource_v1_capacity_request_policy_range *r)
{
    struct quantity max = r->max != NULL ? quantity_of(r->max) : *v;
    if (quantity_cmp(v, &max) > 0)
        return false;
    if (r->step == NULL || r->min == NULL)
        return true;
    struct quantity step = quantity_of(r->step), min = quantity_of(r->min);
    int64_t each = quantity_value(&step);
    return each <= 0 || (quantity_value(v) - quantity_value(&min)) % each == 0;
}

static bool allowed(const struct quantity *v, const struct resource_v1_capacity_request_policy *p)
{
    if (p == NULL)
        return true;
    if (p->default_ != NULL) {
        struct quantity d = quantity_of(p->default_);
        if (quantity_cmp(v, &d) == 0)
            return true;
    }
    if (p->valid_range != NULL)
        return in_range(v, p->valid_range);
    for (size_t i = 0; i < p->valid_values_count; i++) {
        struct quantity x = quantity_of(&p->valid_values[i]);
        if (quantity_cmp(v, &x) == 0)
            return true;
    }
    return p->valid_values_count == 0;
}

struct quantity device_share_of(const struct device_use *u, struct str name)
{
    for (size_t i = 0; u != NULL && i < u->share_count; i++)
        if (str_eq(u->shares[i].name, name))
            return u->shares[i].amount;
    return (struct quantity){0};
}

bool capacity_fits(const struct resource_v1_capacity_requirements *request,
                   const struct resource_v1_device *d, const struct device_use *used,
                   const struct device_use *given)
{
    size_t found = 0;
    for (size_t i = 0; i < d->capacity_count; i++) {
        const struct resource_v1_device_capacity_entry *c = &d->capacity[i];
        struct quantity sum = capacity_taken(request, c), all = quantity_of(&c->value.value);
        struct quantity x = device_share_of(used, c->key), y = device_share_of(given, c->key);
        found += asked(request, c->key) != NULL;
        if (!allowed(&sum, c->value.request_policy))
            return false;
        quantity_add(&sum, &x);
        quantity_add(&sum, &y);
        if (quantity_cmp(&sum, &all) > 0)
            return false;
    }
    return request == NULL || found == request->requests_count;
}
