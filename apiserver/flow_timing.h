/* flow_timing.h - how a quantity spread over time: a histogram that is weighed by
 * nanoseconds, and the average, deviation and maximum of the demand for seats.
 * Pure; not thread-safe. */
#ifndef APISERVER_FLOW_TIMING_H
#define APISERVER_FLOW_TIMING_H

#include <stddef.h>
#include <stdint.h>

#define FLOW_TIMING_BOUNDS_MAX 15

struct flow_timing {
    const double *bounds; /* Ascending, borrowed for ever. */
    size_t bound_count;
    size_t bucket; /* Of the present ratio. */
    double numerator, denominator, ratio;
    uint64_t ns[FLOW_TIMING_BOUNDS_MAX + 1];
    double sum; /* Ratio times nanoseconds. */
};

/* denominator 1, numerator 0. */
void flow_timing_init(struct flow_timing *t, const double *bounds, size_t bound_count);
void flow_timing_elapse(struct flow_timing *t, uint64_t ns);
void flow_timing_set(struct flow_timing *t, double numerator);
void flow_timing_set_denominator(struct flow_timing *t, double denominator);

/* Moments over the time since the last reset. */
struct flow_demand {
    struct flow_timing ratio; /* To the level's limit. */
    double value, max;
    double seconds, integral, integral2;
};

struct flow_demand_result {
    double seconds, average, deviation, max;
};

void flow_demand_init(struct flow_demand *d);
void flow_demand_elapse(struct flow_demand *d, uint64_t ns);
void flow_demand_set(struct flow_demand *d, double value);
struct flow_demand_result flow_demand_reset(struct flow_demand *d);

/* The bounds of upstream's histograms. */
extern const double flow_bounds_requests[10], flow_bounds_seats[13], flow_bounds_demand[12],
    flow_bounds_read_write[15];

#endif
