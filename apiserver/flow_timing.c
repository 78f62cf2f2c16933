/* flow_timing.c - see flow_timing.h. Pure. */
#include "apiserver/flow_timing.h"

#include "lib/base/base.h"

#include <math.h>

const double flow_bounds_requests[10] = {0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.25, 0.5, 0.75, 1};
const double flow_bounds_seats[13] = {0,   0.1, 0.2, 0.3,  0.4,  0.5, 0.6,
                                      0.7, 0.8, 0.9, 0.95, 0.99, 1};
const double flow_bounds_demand[12] = {0.2, 0.4, 0.6, 0.8, 1, 1.2, 1.4, 1.7, 2, 2.8, 4, 6};
const double flow_bounds_read_write[15] = {0,   0.001, 0.01, 0.1, 0.2,  0.3,  0.4, 0.5,
                                           0.6, 0.7,   0.8,  0.9, 0.95, 0.99, 1};

void flow_timing_init(struct flow_timing *t, const double *bounds, size_t bound_count)
{
    ASSERT(bound_count <= FLOW_TIMING_BOUNDS_MAX);
    *t = (struct flow_timing){.bounds = bounds, .bound_count = bound_count, .denominator = 1};
    flow_timing_set(t, 0);
}

void flow_timing_elapse(struct flow_timing *t, uint64_t ns)
{
    t->ns[t->bucket] += ns;
    t->sum += t->ratio * (double)ns;
}

static void place(struct flow_timing *t)
{
    t->ratio = t->numerator / t->denominator;
    t->bucket = 0;
    while (t->bucket < t->bound_count && t->ratio > t->bounds[t->bucket])
        t->bucket++;
}

void flow_timing_set(struct flow_timing *t, double numerator)
{
    t->numerator = numerator;
    place(t);
}

void flow_timing_set_denominator(struct flow_timing *t, double denominator)
{
    ASSERT(denominator > 0);
    t->denominator = denominator;
    place(t);
}

void flow_demand_init(struct flow_demand *d)
{
    *d = (struct flow_demand){.value = 0};
    flow_timing_init(&d->ratio, flow_bounds_demand, ARRAY_SIZE(flow_bounds_demand));
}

void flow_demand_elapse(struct flow_demand *d, uint64_t ns)
{
    double s = (double)ns / 1e9;
    flow_timing_elapse(&d->ratio, ns);
    d->seconds += s;
    d->integral += s * d->value;
    d->integral2 += s * d->value * d->value;
}

void flow_demand_set(struct flow_demand *d, double value)
{
    d->value = value;
    if (value > d->max)
        d->max = value;
    flow_timing_set(&d->ratio, value);
}

struct flow_demand_result flow_demand_reset(struct flow_demand *d)
{
    struct flow_demand_result r = {.seconds = d->seconds, .max = d->max};
    if (d->seconds > 0) {
        r.average = d->integral / d->seconds;
        r.deviation = sqrt(fmax(d->integral2 / d->seconds - r.average * r.average, 0));
    }
    d->seconds = d->integral = d->integral2 = 0;
    d->max = d->value;
    return r;
}
