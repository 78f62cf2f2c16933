/* load.h - clients that write, read and watch an etcd v3 endpoint until told to
 * stop, then check everything they were told. One loop. */
#ifndef TEST_KVLOAD_LOAD_H
#define TEST_KVLOAD_LOAD_H

#include "lib/base/base.h"

struct error;

struct load_config {
    const char *const *endpoints; /* "http://127.0.0.1:2379" */
    size_t endpoint_count;
    uint32_t writers, readers, watchers;
    uint32_t rate; /* Operations per second of all together; 0: as fast as they come. */
    uint32_t value_bytes;
    uint32_t big_percent; /* Of the writes: 16 to 64 KiB. */
    int64_t keep_revs;    /* Compact up to so many before the newest; 0: never. */
    uint64_t seconds;     /* 0: until SIGTERM. */
    uint64_t seed;
    const char *status_file; /* Rewritten four times a second; NULL: none. */
    const char *record_file; /* One line for each write; NULL: none. */
};

/* 0: everything was as it must be. 1: it was not, and it was said. */
int load_run(const struct load_config *config, struct error *err);

#endif
