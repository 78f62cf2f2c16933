/* load_stats.h - times of requests, and what the servers' processes used. */
#ifndef BENCH_LOAD_STATS_H
#define BENCH_LOAD_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zero is empty. One thread. */
struct load_times {
    uint32_t *us;
    size_t count, cap;
    uint32_t max_us;
};
void load_times_add(struct load_times *t, uint64_t ns);
void load_times_done(struct load_times *t);
/* p in per mille; 0 when empty. Sorts. */
double load_times_ms(struct load_times *t, unsigned per_mille);

/* CPU seconds and resident KiB of all these processes ("12,34", "" for none). */
struct load_usage {
    double cpu_s;
    uint64_t rss_kib, rss_max_kib; /* Sum, and of the largest. */
};
struct load_usage load_usage_of(const char *pids);

#endif
