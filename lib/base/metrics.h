/* metrics.h - counters, gauges and histograms in Prometheus' text format.
 *
 * Thread-safe: values are atomics, looking up a labelled one takes a short
 * lock; keep the pointer of hot ones. Metrics are never freed. Names follow
 * upstream (apiserver_request_total). */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct buf;
struct metric;        /* One time series. */
struct metric_family; /* One name, with its labels. */
struct metrics;       /* A registry. */

struct metrics *metrics_default(void);
struct metrics *metrics_new(void);    /* For tests. */
void metrics_free(struct metrics *m); /* NULL is a no-op. */

/* help and names are borrowed for ever. labels: a NULL-terminated array, or
 * NULL for a family of one series. The same name again gives the same family;
 * with another type or labels it aborts: our bug. */
struct metric_family *metric_counter(struct metrics *m, const char *name, const char *help,
                                     const char *const *labels);
struct metric_family *metric_gauge(struct metrics *m, const char *name, const char *help,
                                   const char *const *labels);
/* bounds: ascending upper bounds without +Inf, borrowed for ever. */
struct metric_family *metric_histogram(struct metrics *m, const char *name, const char *help,
                                       const char *const *labels, const double *bounds,
                                       size_t bound_count);
/* Literal label lists: METRIC_LABELS("verb", "code"). */
#define METRIC_LABELS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* The series with these values, one for each label. Beyond 20,000 series in a
 * family all new values share one series whose labels read "overflow". */
struct metric *metric_of(struct metric_family *f, const struct str *values);
#define METRIC_OF(f, ...) metric_of((f), (const struct str[]){__VA_ARGS__})
struct metric *metric_single(struct metric_family *f); /* Without labels. */
/* Forgets a series (an object is gone); its pointer must not be used again. */
void metric_remove(struct metric_family *f, const struct str *values);

void metric_add(struct metric *m, double v); /* Counters: v >= 0. Gauges: any. */
static inline void metric_inc(struct metric *m)
{
    metric_add(m, 1);
}
void metric_set(struct metric *m, double v);     /* Gauges. */
void metric_observe(struct metric *m, double v); /* Histograms. */
/* Histograms that are kept elsewhere: what is in each bucket, +Inf last, and the sum. */
void metric_set_histogram(struct metric *m, const uint64_t *buckets, double sum);
double metric_value(const struct metric *m);   /* Counter, gauge, or a histogram's sum. */
uint64_t metric_count(const struct metric *m); /* A histogram's observations. */

/* Runs before each rendering, on the rendering thread: to set gauges. */
void metrics_on_render(struct metrics *m, void (*cb)(void *arg), void *arg);
/* process_cpu_seconds_total, process_resident_memory_bytes, open file counts, start time;
 * kubernetes_build_info. */
void metrics_add_process(struct metrics *m);
/* Content type: METRICS_CONTENT_TYPE. Families sorted by name. */
void metrics_render(struct metrics *m, struct buf *b);
#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

#endif
