/* pace.c - see pace.h. */
#include "raftstore/pace.h"

#include "lib/base/base.h"

uint64_t pace_wait_ms(const struct pace *p, uint64_t now_ms, uint64_t log_bytes,
                      uint64_t done_bytes)
{
    if (done_bytes <= (log_bytes - p->start_log_bytes) * PACE_LOG_FACTOR)
        return 0;
    uint64_t due_ms = p->start_ms + done_bytes / PACE_BYTES_PER_MS;
    return due_ms > now_ms ? MIN_OF(due_ms - now_ms, (uint64_t)PACE_LOOK_MS) : 0;
}
