/* vpa_histogram.c - see vpa_histogram.h. */
#include "controllers/vpa_histogram.h"

#include <math.h>
#include <string.h>

#define RATIO 1.05
#define EPSILON 0.0001         /* Less weighs nothing. */
#define DECAY_EXPONENT_MAX 100 /* Half-lives after the reference before it is moved. */

void vpa_histogram_init(struct vpa_histogram *h, double first)
{
    memset(h, 0, sizeof(*h));
    h->first = first;
}

/* --- buckets ------------------------------------------------------------------------------ */
size_t vpa_histogram_bucket(double first, double value)
{
    if (!(value >= first))
        return 0;
    double n = log(value * (RATIO - 1) / first + 1) / log(RATIO);
    return n >= VPA_BUCKETS ? VPA_BUCKETS - 1 : (size_t)n;
}

double vpa_histogram_start(double first, size_t bucket)
{
    return bucket == 0 ? 0 : first * (pow(RATIO, (double)bucket) - 1) / (RATIO - 1);
}

/* --- weights ------------------------------------------------------------------------------ */
static void move_reference(struct vpa_histogram *h, int64_t to_s)
{
    double at = floor((double)to_s / VPA_HALF_LIFE_S + 0.5) * VPA_HALF_LIFE_S;
    if (h->referenced) {
        double factor = exp2(floor(((double)h->reference_s - at) / VPA_HALF_LIFE_S + 0.5));
        for (size_t i = 0; i < VPA_BUCKETS; i++)
            h->weights[i] *= factor;
        h->total *= factor;
    }
    h->referenced = true;
    h->reference_s = (int64_t)at;
}

static double decay_factor(struct vpa_histogram *h, int64_t at_s)
{
    if (!h->referenced || at_s > h->reference_s + (int64_t)DECAY_EXPONENT_MAX * VPA_HALF_LIFE_S)
        move_reference(h, at_s);
    return exp2((double)(at_s - h->reference_s) / VPA_HALF_LIFE_S);
}

void vpa_histogram_add(struct vpa_histogram *h, double value, double weight, int64_t at_s)
{
    double w = weight * decay_factor(h, at_s);
    h->weights[vpa_histogram_bucket(h->first, value)] += w;
    h->total += w;
}

static double less(double from, double w)
{
    return from - w < EPSILON ? 0 : from - w;
}

void vpa_histogram_subtract(struct vpa_histogram *h, double value, double weight, int64_t at_s)
{
    double w = weight * decay_factor(h, at_s);
    double *bucket = &h->weights[vpa_histogram_bucket(h->first, value)];
    *bucket = less(*bucket, w);
    h->total = less(h->total, w);
}

/* The buckets that weigh anything are from *ret_min to *ret_max. */
static bool bounds(const struct vpa_histogram *h, size_t *ret_min, size_t *ret_max)
{
    size_t min = 0, max = VPA_BUCKETS - 1;
    while (min < VPA_BUCKETS && h->weights[min] < EPSILON)
        min++;
    if (min == VPA_BUCKETS)
        return false;
    while (h->weights[max] < EPSILON)
        max--;
    *ret_min = min;
    *ret_max = max;
    return true;
}

bool vpa_histogram_empty(const struct vpa_histogram *h)
{
    size_t min, max;
    return !bounds(h, &min, &max);
}

double vpa_histogram_percentile(const struct vpa_histogram *h, double share)
{
    size_t at, max;
    if (!bounds(h, &at, &max))
        return 0;
    double sum = h->weights[at], threshold = share * h->total;
    while (at < max && sum < threshold)
        sum += h->weights[++at];
    return vpa_histogram_start(h->first, at < VPA_BUCKETS - 1 ? at + 1 : at);
}

/* --- saved form ----------------------------------------------------------------------------- */
void vpa_histogram_save(const struct vpa_histogram *h, uint32_t weights[VPA_BUCKETS])
{
    double heaviest = 0;
    for (size_t i = 0; i < VPA_BUCKETS; i++)
        heaviest = fmax(heaviest, h->weights[i]);
    for (size_t i = 0; i < VPA_BUCKETS; i++)
        weights[i] = heaviest < EPSILON
                         ? 0
                         : (uint32_t)floor(h->weights[i] / heaviest * VPA_SAVED_WEIGHT_MAX + 0.5);
}

bool vpa_histogram_load(struct vpa_histogram *h, const uint32_t weights[VPA_BUCKETS], double total,
                        int64_t reference_s)
{
    double sum = 0;
    if (!(total >= 0) || isinf(total))
        return false;
    for (size_t i = 0; i < VPA_BUCKETS; i++)
        sum += weights[i];
    if (sum > 0) {
        for (size_t i = 0; i < VPA_BUCKETS; i++)
            h->weights[i] = weights[i] * (total / sum);
        h->total = total;
        h->referenced = true;
        h->reference_s = reference_s;
    }
    return true;
}
