/* compactor.c - see compactor.h. */
#include "raftstore/compactor.h"

#include "lib/base/base.h"

#include <string.h>

#define HOUR_MS UINT64_C(3600000)
#define REVISION_LOOK_MS UINT64_C(300000)
#define LOOKS 10 /* Per compaction. */

void compactor_init(struct compactor *c, bool by_time, int64_t retention, uint64_t now_ms)
{
    ASSERT(retention > 0);
    *c = (struct compactor){.by_time = by_time, .retention = retention};
    c->compact_ms = by_time ? MIN_OF((uint64_t)retention, HOUR_MS) : REVISION_LOOK_MS;
    c->look_ms = REVISION_LOOK_MS;
    if (by_time)
        c->look_ms =
            MAX_OF(c->compact_ms / LOOKS, (uint64_t)retention / (COMPACTOR_SAMPLES / 2) + 1);
    c->due_ms = now_ms + c->look_ms;
    c->compact_due_ms = now_ms + (by_time ? (uint64_t)retention : REVISION_LOOK_MS);
}

static void remember(struct compactor *c, uint64_t now_ms, int64_t rev)
{
    if (c->count > 0 && c->samples[c->count - 1].rev == rev)
        return;                          /* Nothing was written since: the older time is as good. */
    if (c->count == COMPACTOR_SAMPLES) { /* A clock that jumped: keep too much rather than less. */
        memmove(c->samples + 1, c->samples + 2, (COMPACTOR_SAMPLES - 2) * sizeof(c->samples[0]));
        c->count--;
    }
    c->samples[c->count++] = (struct compactor_sample){now_ms, rev};
}

/* The newest revision that is older than the retention; 0: none. */
static int64_t expired(struct compactor *c, uint64_t now_ms)
{
    uint32_t old = 0;
    while (old < c->count && now_ms - c->samples[old].at_ms >= (uint64_t)c->retention)
        old++;
    if (old == 0)
        return 0;
    int64_t rev = c->samples[old - 1].rev;
    /* It stays, as the one to ask for again. */
    c->count -= old - 1;
    memmove(c->samples, c->samples + old - 1, c->count * sizeof(c->samples[0]));
    return rev;
}

int64_t compactor_look(struct compactor *c, uint64_t now_ms, int64_t rev, bool is_leader)
{
    if (now_ms < c->due_ms)
        return 0;
    c->due_ms = now_ms + c->look_ms;
    int64_t to = c->by_time ? 0 : rev - c->retention;
    if (c->by_time) {
        remember(c, now_ms, rev);
        to = now_ms < c->compact_due_ms ? 0 : expired(c, now_ms);
    }
    if (to <= 0 || to <= c->compacted || !is_leader)
        return 0;
    c->compact_due_ms = now_ms + c->compact_ms;
    c->compacted = to;
    return to;
}

void compactor_failed(struct compactor *c)
{
    c->compacted = 0;
    c->compact_due_ms = 0;
}
