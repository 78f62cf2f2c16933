/* store_memory.c - giving memory back: what compaction cut off, events that nobody
 * may read any more, and to the system what malloc holds free. Store thread, but
 * for the last, which takes milliseconds per gigabyte and runs on the bulk thread.
 *
 * Everything goes in slices between rounds; nothing here delays a write by more
 * than one slice. */
#include "raftstore/store_internal.h"

#include "raftstore/events.h"

#include <malloc.h>

#define WORK_BUDGET 1000   /* Keys of compaction and reclaiming per round. */
#define WORK_AGAIN_MS 1000 /* Dead memory that views still held is looked at again. */
#define WORK_AGAIN_MAX_MS 60000
#define WORK_AGAIN_BYTES (1u << 20)
#define TRIM_BYTES (16u << 20) /* Freed since the last time: worth asking malloc for. */
#define TRIM_WAIT_MS 100

/* --- to the system ------------------------------------------------------------------ */

struct trim_job {
    struct work work;
    struct mail mail;
    struct store *s;
};

static void on_trimmed(struct mail *m)
{
    struct trim_job *j = CONTAINER_OF(m, struct trim_job, mail);
    j->s->trimming = false;
    store_kick(j->s);
    free(j);
}

static void run_trim(struct work *w)
{
    struct trim_job *j = CONTAINER_OF(w, struct trim_job, work);
    malloc_trim(0);
    mailbox_post(&j->s->mailbox, &j->mail);
}

/* malloc is at a stand meanwhile, a millisecond for some 6 MiB: rather often than
 * everything at once. */
static void trim_malloc(struct store *s, const struct mvcc_stats *ms, uint64_t now)
{
    uint64_t held = ms->tree_bytes + ms->dead_bytes + ms->history_bytes;
    s->held_bytes = MAX_OF(s->held_bytes, held);
    s->trim_wanted = s->held_bytes - held >= TRIM_BYTES;
    if (!s->trim_wanted || s->trimming || s->closing || now < s->trim_at_ms)
        return;
    struct trim_job *j = xzalloc(sizeof(*j));
    j->work.run = run_trim;
    j->mail.run = on_trimmed;
    j->s = s;
    s->trimming = true;
    s->trim_wanted = false;
    s->held_bytes = held;
    s->trim_at_ms = now + TRIM_WAIT_MS;
    worker_post(&s->bulk_worker, &j->work);
}

/* --- from the state machine ----------------------------------------------------------- */

static void trim_history(struct store *s, uint64_t now)
{
    int64_t compacted = mvcc_compacted(s->mvcc);
    bool due = s->history_at_ms != 0 && now >= s->history_at_ms;
    if (compacted == s->history_rev && !due)
        return;
    s->history_rev = compacted;
    s->history_at_ms = mvcc_trim_history(s->mvcc, now) ? now + EVENT_COMPACT_MS : 0;
}

/* What views still hold is looked at again, less and less often: somebody may
 * keep one for long. */
static void look_again(struct store *s, const struct mvcc_stats *ms, bool more, uint64_t now)
{
    if (more || ms->dead_bytes <= WORK_AGAIN_BYTES) {
        s->work_at_ms = s->work_wait_ms = 0;
        return;
    }
    if (s->work_at_ms != 0 && now < s->work_at_ms)
        return;
    s->work_wait_ms =
        MIN_OF(MAX_OF(s->work_wait_ms * 2, (uint64_t)WORK_AGAIN_MS), (uint64_t)WORK_AGAIN_MAX_MS);
    s->work_at_ms = now + s->work_wait_ms;
}

bool store_give_back_memory(struct store *s, uint64_t now_ms)
{
    struct mvcc_stats ms;
    trim_history(s, now_ms); /* First: what it releases leaves work. */
    bool more = mvcc_work(s->mvcc, WORK_BUDGET);
    mvcc_stats(s->mvcc, &ms);
    look_again(s, &ms, more, now_ms);
    trim_malloc(s, &ms, now_ms);
    return more;
}

uint64_t store_memory_deadline(const struct store *s)
{
    uint64_t due = UINT64_MAX;
    if (s->work_at_ms != 0)
        due = s->work_at_ms;
    if (s->trim_wanted && !s->trimming)
        due = MIN_OF(due, s->trim_at_ms);
    if (s->history_at_ms != 0)
        due = MIN_OF(due, s->history_at_ms);
    return due;
}
