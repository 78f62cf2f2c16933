/* flow_share.c - see flow_share.h. Pure. The rules and numbers are upstream's. */
#include "apiserver/flow_share.h"

#include <math.h>
#include <string.h>

#define SMOOTHING 0.977     /* Per period of 10 s: half is forgotten in 5 minutes. */
#define TARGET_MIN 0.001    /* So that nobody's fraction is infinite. */
#define SPLIT_STEPS_MAX 200 /* Halvings; a double has no more to give. */

/* --- limits ---------------------------------------------------------------------------------- */
int64_t flow_share_nominal(struct flow_share *const *all, size_t count, int32_t total)
{
    double shares = 0;
    int64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        shares += all[i]->shares;
    for (size_t i = 0; i < count; i++) {
        struct flow_share *s = all[i];
        s->nominal = shares > 0 ? (int32_t)ceil((double)total * s->shares / shares) : 0;
        int32_t lendable = (int32_t)lround((double)s->nominal * s->lendable_percent / 100);
        int32_t more = s->borrowing_percent < 0
                           ? total
                           : (int32_t)lround((double)s->nominal * s->borrowing_percent / 100);
        s->min = s->nominal - lendable;
        s->max = s->nominal + more;
        if (s->current < 0)
            s->current = s->nominal - lendable / 2;
        sum += s->nominal;
    }
    return sum;
}

void flow_share_note(struct flow_share *s, const struct flow_demand_result *seen)
{
    s->high = round(seen->max);
    if (seen->seconds <= 0)
        return;
    s->average = seen->average;
    s->deviation = seen->deviation;
    double envelope = seen->average + seen->deviation;
    s->smoothed = fmax(envelope, SMOOTHING * s->smoothed + (1 - SMOOTHING) * envelope);
}

/* What a level keeps whatever the others want. */
static int32_t kept(const struct flow_share *s)
{
    int32_t high = (int32_t)fmin(s->high, INT32_MAX / 2);
    return MAX_OF(s->min, s->exempt ? high : MIN_OF(s->nominal, high));
}

static double sum_at(const double *target, const double *lower, const double *upper, size_t count,
                     double fraction, double *out)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        out[i] = fmax(lower[i], fmin(upper[i], fraction * fmax(target[i], TARGET_MIN)));
        sum += out[i];
    }
    return sum;
}

double flow_share_split(const double *target, const double *lower, const double *upper,
                        size_t count, double sum, double *out)
{
    double low = 0, high = 1;
    for (size_t i = 0; i < count; i++)
        high = fmax(high, upper[i] / fmax(target[i], TARGET_MIN));
    /* The sum only rises with the fraction. */
    for (int step = 0; step < SPLIT_STEPS_MAX; step++) {
        double middle = low + (high - low) / 2;
        if (sum_at(target, lower, upper, count, middle, out) < sum)
            low = middle;
        else
            high = middle;
    }
    sum_at(target, lower, upper, count, high, out);
    return high;
}

static double split_rest(struct flow_share *const *items, size_t count, int64_t left)
{
    double *numbers = xmalloc(MAX_OF(count, (size_t)1) * 4 * sizeof(*numbers));
    double *target = numbers, *lower = target + count, *upper = lower + count, *out = upper + count;
    for (size_t i = 0; i < count; i++) {
        target[i] = items[i]->target;
        lower[i] = kept(items[i]);
        upper[i] = items[i]->max;
    }
    double fraction = flow_share_split(target, lower, upper, count, (double)left, out);
    for (size_t i = 0; i < count; i++)
        items[i]->current = (int32_t)lround(out[i]);
    free(numbers);
    return fraction;
}

double flow_share_adjust(struct flow_share *const *all, size_t count, int64_t nominal_sum)
{
    struct flow_share **items = xmalloc(MAX_OF(count, (size_t)1) * sizeof(struct flow_share *));
    size_t n = 0;
    int64_t left = nominal_sum, min_sum = 0, kept_sum = 0;
    double fraction = 0;
    for (size_t i = 0; i < count; i++) {
        struct flow_share *s = all[i];
        s->target = fmax(kept(s), s->smoothed);
        if (s->exempt) {
            s->current = kept(s);
            left -= s->current;
            continue;
        }
        items[n++] = s;
        min_sum += s->min;
        kept_sum += kept(s);
    }
    if (left <= min_sum) {
        for (size_t i = 0; i < n; i++)
            items[i]->current = items[i]->min;
    } else if (left <= kept_sum) {
        double part = (double)(left - min_sum) / (double)(kept_sum - min_sum);
        for (size_t i = 0; i < n; i++)
            items[i]->current =
                items[i]->min + (int32_t)lround((double)(kept(items[i]) - items[i]->min) * part);
    } else {
        /* Upstream shares out the whole sum here, exempt seats included. */
        fraction = split_rest(items, n, nominal_sum);
    }
    free((void *)items);
    return fraction;
}

/* --- Retry-After -------------------------------------------------------------------------------
 */
void flow_retry_init(struct flow_retry *r)
{
    *r = (struct flow_retry){.after_s = 1};
}

static void remember(struct flow_retry *r)
{
    int64_t oldest = r->now_s - MIN_OF(2 * r->after_s, (int64_t)FLOW_RETRY_MAX_S);
    size_t skip = 0;
    while (skip < r->past_count &&
           (r->past[skip].at_s < oldest || r->past_count - skip == ARRAY_SIZE(r->past)))
        skip++;
    r->past_count -= skip;
    memmove(r->past, r->past + skip, r->past_count * sizeof(r->past[0]));
    r->past[r->past_count].at_s = r->now_s;
    r->past[r->past_count++].dropped = r->dropped;
}

/* Doubles while many are dropped, falls by one while few are. */
static void adjust(struct flow_retry *r, int64_t now_s)
{
    int64_t dropped = 0;
    for (size_t i = 0; i < r->past_count; i++)
        if (now_s - r->past[i].at_s <= r->after_s && r->past[i].at_s < now_s)
            dropped += r->past[i].dropped;
    if (now_s - r->changed_s >= r->after_s && dropped >= 3 * r->after_s) {
        r->after_s = MIN_OF(r->after_s * 2, (int64_t)FLOW_RETRY_MAX_S);
        r->changed_s = now_s;
    } else if (dropped < r->after_s && r->after_s > 1) {
        r->after_s--;
    }
}

int64_t flow_retry_drop(struct flow_retry *r, int64_t now_s)
{
    if (now_s != r->now_s) {
        remember(r);
        r->now_s = now_s;
        r->dropped = 0;
        adjust(r, now_s);
    }
    r->dropped++;
    return r->after_s;
}
