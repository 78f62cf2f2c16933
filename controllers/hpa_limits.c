/* hpa_limits.c - see hpa_limits.h. */
#include "controllers/hpa_limits.h"

#include "api/autoscaling_v2.h"
#include "lib/base/str.h"

#include <math.h>
#include <stdlib.h>

/* The longest window or period that validation lets through. */
#define REMEMBERED_MS ((int64_t)3600 * 1000)

/* --- history ----------------------------------------------------------------------- */
static void forget_old(struct hpa_samples *s, int64_t now_ms)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->count; i++)
        if (s->items[i].at_ms > now_ms - REMEMBERED_MS)
            s->items[kept++] = s->items[i];
    s->count = kept;
}

static void remember(struct hpa_samples *s, int32_t replicas, int64_t now_ms)
{
    forget_old(s, now_ms);
    if (s->count == s->cap) {
        s->cap = s->cap == 0 ? 16 : 2 * s->cap;
        s->items = xrealloc(s->items, s->cap * sizeof(*s->items));
    }
    s->items[s->count++] = (struct hpa_sample){replicas, now_ms};
}

void hpa_history_done(struct hpa_history *h)
{
    free(h->recommendations.items);
    free(h->gained.items);
    free(h->lost.items);
    *h = (struct hpa_history){0};
}

void hpa_history_start(struct hpa_history *h, int32_t current, int64_t now_ms)
{
    if (h->recommendations.items == NULL)
        remember(&h->recommendations, current, now_ms);
}

void hpa_history_scaled(struct hpa_history *h, int32_t from, int32_t to, int64_t now_ms)
{
    if (to > from)
        remember(&h->gained, to - from, now_ms);
    else if (to < from)
        remember(&h->lost, from - to, now_ms);
}

static int64_t sum_within(const struct hpa_samples *s, int64_t since_ms)
{
    int64_t sum = 0;
    for (size_t i = 0; i < s->count; i++)
        if (s->items[i].at_ms > since_ms)
            sum += s->items[i].replicas;
    return sum;
}

/* --- stabilisation ------------------------------------------------------------------- */
/* The lowest of wanted and what was recommended since. */
static int32_t lowest_since(const struct hpa_samples *s, int32_t wanted, int64_t since_ms)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->items[i].at_ms > since_ms)
            wanted = MIN_OF(wanted, s->items[i].replicas);
    return wanted;
}

static int32_t highest_since(const struct hpa_samples *s, int32_t wanted, int64_t since_ms)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->items[i].at_ms > since_ms)
            wanted = MAX_OF(wanted, s->items[i].replicas);
    return wanted;
}

static int64_t window_ms(const struct autoscaling_v2_hpa_scaling_rules *r, int64_t fallback_s)
{
    bool given = r != NULL && r->has_stabilization_window_seconds;
    return 1000 * (given ? r->stabilization_window_seconds : fallback_s);
}

static int32_t stabilize(struct hpa_history *h,
                         const struct autoscaling_v2_horizontal_pod_autoscaler_behavior *b,
                         int32_t current, int32_t wanted, int64_t default_window_s, int64_t now_ms)
{
    const struct hpa_samples *s = &h->recommendations;
    int32_t result;
    if (b == NULL) {
        result = highest_since(s, wanted, now_ms - 1000 * default_window_s);
    } else {
        /* Between the two windows' extremes the present number stays. */
        int32_t low = lowest_since(s, wanted, now_ms - window_ms(b->scale_up, 0));
        int32_t high =
            highest_since(s, wanted, now_ms - window_ms(b->scale_down, default_window_s));
        result = MIN_OF(MAX_OF(current, low), high);
    }
    remember(&h->recommendations, wanted, now_ms);
    return result;
}

/* --- rates --------------------------------------------------------------------------- */
/* Without rules an autoscaler doubles at most, and may always reach four. */
static int32_t plain_up_limit(int32_t current)
{
    return MAX_OF(MIN_OF(current, INT32_MAX / 2) * 2, 4);
}

static int32_t clamp_int32(double v)
{
    return v >= INT32_MAX ? INT32_MAX : v <= INT32_MIN ? INT32_MIN : (int32_t)v;
}

/* How many there may be by one policy. direction: 1 up, -1 down. */
static int32_t policy_limit(const struct hpa_history *h,
                            const struct autoscaling_v2_hpa_scaling_policy *p, int32_t current,
                            int direction, int64_t now_ms)
{
    int64_t since = now_ms - (int64_t)p->period_seconds * 1000;
    double start = (double)(current - sum_within(&h->gained, since) + sum_within(&h->lost, since));
    double change = str_eqc(p->type, "Percent") ? start * p->value / 100 : p->value;
    return clamp_int32(direction > 0 ? ceil(start + change) : trunc(start - change));
}

static int32_t rules_limit(const struct hpa_history *h,
                           const struct autoscaling_v2_hpa_scaling_rules *r, int32_t current,
                           int direction, int64_t now_ms)
{
    bool least_change = r->has_select_policy && str_eqc(r->select_policy, "Min");
    if (r->has_select_policy && str_eqc(r->select_policy, "Disabled"))
        return current;
    bool lowest = (direction > 0) == least_change;
    int32_t limit = lowest ? INT32_MAX : INT32_MIN;
    for (size_t i = 0; i < r->policies_count; i++) {
        int32_t one = policy_limit(h, &r->policies[i], current, direction, now_ms);
        limit = lowest ? MIN_OF(limit, one) : MAX_OF(limit, one);
    }
    return direction > 0 ? MAX_OF(limit, current) : MIN_OF(limit, current);
}

int32_t hpa_min_replicas(const struct autoscaling_v2_horizontal_pod_autoscaler_spec *spec)
{
    return spec->has_min_replicas ? spec->min_replicas : 1;
}

static void bound_above(struct hpa_limits *l, int32_t max, int32_t rate)
{
    if (l->replicas <= MIN_OF(max, rate))
        return;
    l->replicas = MIN_OF(max, rate);
    l->limited = true;
    l->limit_reason = max > rate ? "ScaleUpLimit" : "TooManyReplicas";
    l->limit_message =
        max > rate ? "the desired replica count is increasing faster than the maximum scale rate"
                   : "the desired replica count is more than the maximum replica count";
}

static void bound_below(struct hpa_limits *l, int32_t min, int32_t rate)
{
    if (l->replicas >= MAX_OF(min, rate))
        return;
    l->replicas = MAX_OF(min, rate);
    l->limited = true;
    l->limit_reason = min < rate ? "ScaleDownLimit" : "TooFewReplicas";
    l->limit_message =
        min < rate ? "the desired replica count is decreasing faster than the maximum scale rate"
                   : "the desired replica count is less than the minimum replica count";
}

struct hpa_limits hpa_limit(struct hpa_history *h,
                            const struct autoscaling_v2_horizontal_pod_autoscaler_spec *spec,
                            int32_t current, int32_t wanted, int64_t default_window_s,
                            int64_t now_ms)
{
    const struct autoscaling_v2_horizontal_pod_autoscaler_behavior *b = spec->behavior;
    struct hpa_limits l = {
        .replicas = stabilize(h, b, current, wanted, default_window_s, now_ms),
        .able_reason = "ReadyForNewScale",
        .able_message = "recommended size matches current size",
        .limit_reason = "DesiredWithinRange",
        .limit_message = "the desired count is within the acceptable range",
    };
    if (l.replicas != wanted) {
        bool up = b != NULL && wanted >= current;
        l.able_reason = up ? "ScaleUpStabilized" : "ScaleDownStabilized";
        l.able_message =
            up ? "recent recommendations were lower than current one, applying the lowest recent "
                 "recommendation"
               : "recent recommendations were higher than current one, applying the highest recent "
                 "recommendation";
    }
    int32_t min = hpa_min_replicas(spec), max = spec->max_replicas;
    if (b == NULL) {
        bound_below(&l, min, min);
        bound_above(&l, max, plain_up_limit(current));
    } else if (l.replicas > current) {
        bound_above(&l, max,
                    b->scale_up != NULL ? rules_limit(h, b->scale_up, current, 1, now_ms) : max);
    } else if (l.replicas < current) {
        bound_below(&l, min,
                    b->scale_down != NULL ? rules_limit(h, b->scale_down, current, -1, now_ms)
                                          : min);
    }
    return l;
}
