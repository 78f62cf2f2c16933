/* vpa_histogram.h - how often how much was used, where what is old counts less.
 *
 * Buckets grow by 5 per cent each; a sample's weight halves every half-life. Instead of walking the
 * buckets, newer samples weigh more, against a reference time that moves when the numbers grow
 * large. Buckets, constants and the saved form are those of the autoscaler project (its
 * checkpoints' "v3"), so that either can go on from what the other has saved. Pure. */
#ifndef CONTROLLERS_VPA_HISTOGRAM_H
#define CONTROLLERS_VPA_HISTOGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VPA_BUCKETS 176              /* From the first bucket's size to 100,000 times as much. */
#define VPA_HALF_LIFE_S (24 * 3600)  /* Of a sample's weight. */
#define VPA_SAVED_WEIGHT_MAX 10000.0 /* Of the heaviest bucket, as saved. */

struct vpa_histogram {
    double first; /* Size of the first bucket. */
    double total;
    double weights[VPA_BUCKETS];
    bool referenced; /* Whether reference_s means anything: not before the first sample. */
    int64_t reference_s;
};

void vpa_histogram_init(struct vpa_histogram *h, double first);
void vpa_histogram_add(struct vpa_histogram *h, double value, double weight, int64_t at_s);
/* Takes back what was added with the same values. */
void vpa_histogram_subtract(struct vpa_histogram *h, double value, double weight, int64_t at_s);
bool vpa_histogram_empty(const struct vpa_histogram *h);
/* The end of the bucket that holds this share (0 to 1) of the weight; 0: empty. */
double vpa_histogram_percentile(const struct vpa_histogram *h, double share);

size_t vpa_histogram_bucket(double first, double value);
double vpa_histogram_start(double first, size_t bucket); /* Where a bucket begins. */

/* Weights relative to the heaviest; total and reference_s are saved beside them. */
void vpa_histogram_save(const struct vpa_histogram *h, uint32_t weights[VPA_BUCKETS]);
/* Of an empty histogram. False: total is no weight; h is as it was. */
bool vpa_histogram_load(struct vpa_histogram *h, const uint32_t weights[VPA_BUCKETS], double total,
                        int64_t reference_s);

#endif
