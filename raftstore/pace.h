/* pace.h - how fast a snapshot is written to the disk that the log is on. Pure.
 *
 * What a snapshot takes of disk and processors, the log's syncs wait for: steadily
 * a little is felt less than everything at once. The log must not outrun it
 * though, or snapshots would lag ever further behind: so also in proportion to
 * what the log grows. */
#ifndef RAFTSTORE_PACE_H
#define RAFTSTORE_PACE_H

#include <stdint.h>

#define PACE_BYTES_PER_MS (UINT64_C(64) << 10) /* 64 MiB/s */
/* Times the log. A snapshot is due after at least half its size of log: this way
 * it is done before the next one is. */
#define PACE_LOG_FACTOR 2
/* How the log grows is looked at so often. */
#define PACE_LOOK_MS 10

struct pace {
    uint64_t start_ms;
    uint64_t start_log_bytes; /* Of a count that only rises, as the following. */
};

/* How long to wait with more, at most PACE_LOOK_MS; 0: write. */
uint64_t pace_wait_ms(const struct pace *p, uint64_t now_ms, uint64_t log_bytes,
                      uint64_t done_bytes);

#endif
