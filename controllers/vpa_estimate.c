/* vpa_estimate.c - see vpa_estimate.h. */
#include "controllers/vpa_estimate.h"

#include <math.h>
#include <string.h>

#define CPU_FIRST 0.01        /* Cores. */
#define MEMORY_FIRST 10000000 /* Bytes. */
#define CPU_WEIGHT 0.1
#define MEMORY_WEIGHT 1.0
#define SECONDS_PER_SAMPLE 60

const struct vpa_memory_rules vpa_memory_rules_default = {VPA_MEMORY_INTERVAL_S, VPA_OOM_RATIO,
                                                          VPA_OOM_BYTES};
const struct vpa_estimate_config vpa_estimate_config_default = {
    .margin = 0.15,
    .target_share = 0.9,
    .lower_share = 0.5,
    .upper_share = 0.95,
    .pod_min_millicores = 25,
    .pod_min_mb = 250,
    .confidence_s = 24 * 3600,
};

static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t amount(double x)
{
    return !(x >= 0) ? 0 : x > (double)VPA_AMOUNT_MAX ? VPA_AMOUNT_MAX : (int64_t)x;
}

/* --- samples ------------------------------------------------------------------------------- */
void vpa_aggregate_init(struct vpa_aggregate *a)
{
    memset(a, 0, sizeof(*a));
    vpa_histogram_init(&a->cpu, CPU_FIRST);
    vpa_histogram_init(&a->memory, MEMORY_FIRST);
}

bool vpa_add_cpu(struct vpa_aggregate *a, struct vpa_usage *u, int64_t millicores, int64_t at_s)
{
    if (millicores < 0 || at_s <= u->cpu_s)
        return false;
    vpa_histogram_add(&a->cpu, (double)millicores / 1000, CPU_WEIGHT, at_s);
    u->cpu_s = at_s;
    a->last_s = max64(a->last_s, at_s);
    if (a->first_s == 0 || at_s < a->first_s)
        a->first_s = at_s;
    a->count++;
    return true;
}

/* Whether bytes is a peak that replaces the interval's former one; that is taken back. */
static bool is_new_peak(struct vpa_aggregate *a, struct vpa_usage *u,
                        const struct vpa_memory_rules *r, int64_t bytes, int64_t at_s)
{
    if (u->window_end_s == 0)
        u->window_end_s = at_s;
    if (at_s < u->window_end_s) {
        int64_t peak = max64(u->peak, u->oom_peak);
        if (peak == 0 || bytes <= peak)
            return false;
        vpa_histogram_subtract(&a->memory, (double)peak, MEMORY_WEIGHT, u->window_end_s);
        return true;
    }
    u->window_end_s += ((at_s - u->window_end_s) / r->interval_s + 1) * r->interval_s;
    u->peak = u->oom_peak = 0;
    return true;
}

static bool add_memory(struct vpa_aggregate *a, struct vpa_usage *u,
                       const struct vpa_memory_rules *r, int64_t bytes, int64_t at_s, bool oom)
{
    if (bytes < 0 || (!oom && at_s < u->memory_s))
        return false;
    u->memory_s = at_s;
    if (is_new_peak(a, u, r, bytes, at_s)) {
        vpa_histogram_add(&a->memory, (double)bytes, MEMORY_WEIGHT, u->window_end_s);
        *(oom ? &u->oom_peak : &u->peak) = bytes;
    }
    return true;
}

bool vpa_add_memory(struct vpa_aggregate *a, struct vpa_usage *u, const struct vpa_memory_rules *r,
                    int64_t bytes, int64_t at_s)
{
    return add_memory(a, u, r, bytes, at_s, false);
}

bool vpa_add_oom(struct vpa_aggregate *a, struct vpa_usage *u, const struct vpa_memory_rules *r,
                 int64_t requested, int64_t at_s)
{
    if (u->memory_s != 0 && at_s < u->memory_s - r->interval_s)
        return false;
    double used = (double)max64(requested, u->peak);
    return add_memory(a, u, r, amount(fmax(used + r->oom_bytes, used * r->oom_ratio)), at_s, true);
}

/* --- estimates ------------------------------------------------------------------------------- */

/* Days of history, or what its samples make of them when some are missing. */
static double confidence(const struct vpa_aggregate *a, const struct vpa_estimate_config *c)
{
    double span = (double)(a->last_s - a->first_s) / (double)c->confidence_s;
    double samples = (double)a->count * SECONDS_PER_SAMPLE / (double)c->confidence_s;
    return fmin(span, samples);
}

/* scale: a percentile's unit in the estimate's. */
static int64_t estimate(const struct vpa_histogram *h, double share, double scale, double margin,
                        double factor, int64_t least)
{
    int64_t base = amount(vpa_histogram_percentile(h, share) * scale);
    base += amount((double)base * margin);
    return max64(amount((double)base * factor), least);
}

static struct vpa_amounts estimates(const struct vpa_aggregate *a,
                                    const struct vpa_estimate_config *c, double share,
                                    double factor, struct vpa_amounts least)
{
    return (struct vpa_amounts){
        .cpu = estimate(&a->cpu, share, 1000, c->margin, factor, least.cpu),
        .memory = estimate(&a->memory, share, 1, c->margin, factor, least.memory)};
}

void vpa_estimate(const struct vpa_aggregate *a, const struct vpa_estimate_config *c,
                  size_t containers, struct vpa_estimate *ret)
{
    double days = confidence(a, c), part = 1 / (double)containers;
    struct vpa_amounts least = {amount((double)amount(c->pod_min_millicores) * part),
                                amount((double)amount(c->pod_min_mb * 1024 * 1024) * part)};
    ret->target = estimates(a, c, c->target_share, 1, least);
    ret->lower = estimates(a, c, c->lower_share, pow(1 + 0.001 / days, -2), least);
    ret->upper = estimates(a, c, c->upper_share, 1 + 1 / days, least);
}
