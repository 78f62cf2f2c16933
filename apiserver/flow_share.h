/* flow_share.h - how the server's seats are shared among priority levels, and how
 * long refused clients are told to stay away. Pure.
 *
 * nominal = ceil(total * shares / all shares); a level may lend down to min and
 * borrow up to max. Every FLOW_ADJUST_MS each level's limit is set anew, between
 * these, by what it wanted lately. */
#ifndef APISERVER_FLOW_SHARE_H
#define APISERVER_FLOW_SHARE_H

#include "apiserver/flow_timing.h"
#include "lib/base/base.h"

#define FLOW_ADJUST_MS 10000u

/* A level's shares, and what came of them. */
struct flow_share {
    bool exempt;
    int32_t shares;
    int32_t lendable_percent;
    int32_t borrowing_percent; /* -1: no limit. */
    int32_t nominal, min, max;
    int32_t current;
    /* Demand for seats in the last period, and smoothed over several. */
    double high, average, deviation, smoothed, target;
};

/* nominal, min and max of all from their shares; current of those where it is -1
 * (new ones). Returns the sum of the nominal limits. */
int64_t flow_share_nominal(struct flow_share *const *all, size_t count, int32_t total);
/* What was seen of a level's demand since the last time. */
void flow_share_note(struct flow_share *s, const struct flow_demand_result *seen);
/* current of all, from what was noted. Returns the fair fraction: how much of
 * its target each level gets that is bound by neither limit; 0: seats are short. */
double flow_share_adjust(struct flow_share *const *all, size_t count, int64_t nominal_sum);

/* out[i] = clamp(fraction * target[i], lower[i], upper[i]) with the one fraction
 * that makes them sum up to sum, which lies between the sums of the bounds.
 * Returns it. */
double flow_share_split(const double *target, const double *lower, const double *upper,
                        size_t count, double sum, double *out);

/* --- Retry-After --- */
#define FLOW_RETRY_MAX_S 32
struct flow_retry {
    struct {
        int64_t at_s, dropped;
    } past[FLOW_RETRY_MAX_S + 2]; /* By time. */
    size_t past_count;
    int64_t now_s, dropped; /* In the present second. */
    int64_t after_s, changed_s;
};

void flow_retry_init(struct flow_retry *r);
/* A request is dropped; returns the seconds to name. */
int64_t flow_retry_drop(struct flow_retry *r, int64_t now_s);

#endif
