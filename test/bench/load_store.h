/* load_store.h - what the parts of the load generator share: see load_store.c. */
#ifndef BENCH_LOAD_STORE_H
#define BENCH_LOAD_STORE_H

#include "test/bench/load_h2.h"
#include "test/bench/load_stats.h"
#include "test/bench/load_wire.h"

#define ENDPOINTS_MAX 8
#define CONNS_MAX 512

struct load_config {
    const char *endpoints[ENDPOINTS_MAX];
    size_t endpoint_count;
    unsigned conns, clients;
    double seconds;  /* For this long, ... */
    uint64_t count;  /* ... or so many requests (0: by time). */
    uint64_t rate;   /* Requests per second; 0: as fast as answers come. */
    uint64_t keys;   /* Keys 0 .. keys - 1. */
    bool sequential; /* One key after another instead of at random. */
    size_t value_bytes;
    unsigned watchers;
    const char *disturb;  /* "list", "snapshot". */
    const char *pids;     /* Of the servers, for CPU and memory. */
    const char *timeline; /* File for the answers of each 10 ms of the last run, NULL for none. */
};

/* --- load_pump.c: many clients, each with one request under way --- */

enum pump_kind { PUMP_PUT, PUMP_GET, PUMP_GET_SERIALIZABLE };
struct pump;
struct pump_result {
    uint64_t done, failed;
    double seconds;
    struct load_times times;
    struct load_usage usage; /* CPU used meanwhile; memory at the end. */
};
struct pump *pump_new(const struct load_config *config, enum pump_kind kind);
void pump_free(struct pump *p);
/* Blocks. ret's times are the caller's. */
void pump_run(struct pump *p, double seconds, uint64_t count, struct pump_result *ret);
/* " ops=... rate=... p50_ms=..." */
void pump_print(const char *prefix, struct pump_result *r);

/* --- load_bulk.c: lists, snapshots --- */

/* Repeats until *stop is set or count are done, whichever is first; count 0:
 * no limit. Blocks; returns the number of failures. */
struct bulk_result {
    uint64_t done, failed, bytes;
    double seconds;
    struct load_times times;
};
void bulk_run(const struct load_config *config, const char *what, uint64_t count, const bool *stop,
              struct bulk_result *ret);
/* One Range that only counts; -1 when it failed. */
int64_t bulk_count_keys(const struct load_config *config);

/* --- load_watch.c --- */
int watch_main(const struct load_config *config);

/* Says the first few errors of a run on stderr. */
void load_complain(const char *what, int status, const char *text);

#endif
