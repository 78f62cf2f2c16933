/* store_log.c - the log thread: stages what the replica gives, syncs once per
 * turn, answers.
 *
 *   store thread: jobs --one list per round--> log thread: stage all, log_sync()
 *        ^-- highest durable seq, one coalesced mail --------------'
 *
 * A full disk is waited out: the records stay staged. One that fails is tried
 * again for DISK_GIVE_UP_MS, each time into a new segment; then the member
 * stops. Meanwhile the replica sees its oldest write grow old and hands over. */
#include "raftstore/store_internal.h"

#include "lib/base/log.h"
#include "lib/base/metrics.h"
#include "raftstore/disk.h"
#include "raftstore/failpoint.h"
#include "raftstore/log.h"
#include "raftstore/snapshot_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DISK_RETRY_MS 500
#define DISK_GIVE_UP_MS 10000
#define SPACE_CHECK_MS 1000
#define MARK_AFTER_MS 1000
#define STAGED_MAX (8u << 20) /* Beyond, a turn syncs before it goes on. */

enum log_job_type { JOB_VOTE, JOB_APPEND, JOB_RESET, JOB_TRIM, JOB_READ, JOB_INSTALL };

struct log_job {
    struct work work;
    struct mail mail; /* The answer of JOB_READ and JOB_INSTALL. */
    struct list node; /* In log_io.waiting. */
    struct store *s;
    enum log_job_type type;
    uint64_t seq;
    uint64_t term, vote; /* JOB_VOTE; term also of JOB_RESET, JOB_INSTALL. */
    uint64_t index;      /* Or the first one to read or to keep. */
    uint64_t last;
    uint32_t bytes_max;
    struct entry **entries;
    uint32_t count;
    uint64_t token;
    int code;
    void (*done)(void *arg);
    void *arg;
};

static void job_free(struct log_job *j)
{
    for (uint32_t i = 0; i < j->count; i++)
        entry_unref(j->entries[i]);
    free(j->entries);
    free(j);
}

/* --- news for the store thread ------------------------------------------------------ */

static void on_news(struct mail *m)
{
    struct log_io *io = CONTAINER_OF(m, struct log_io, mail);
    struct store *s = CONTAINER_OF(io, struct store, log_io);
    atomic_store(&io->posted, false);
    s->low_space = atomic_load(&io->low_space);
    int fatal = atomic_load(&io->fatal_code);
    uint64_t seq = atomic_load(&io->done_seq);
    if (s->replica != NULL && seq > 0)
        replica_persisted(s->replica, store_now(s),
                          s->install_seq != 0 ? MIN_OF(seq, s->install_seq - 1) : seq);
    if (s->replica != NULL && fatal != 0)
        replica_disk_failed(s->replica, store_now(s), fatal, io->failure);
    store_kick(s);
}

static void post_news(struct store *s)
{
    if (!atomic_exchange(&s->log_io.posted, true))
        mailbox_post(&s->mailbox, &s->log_io.mail);
}

void store_disk_failed(struct store *s, int code, const char *message)
{
    /* The text is written once, before the code that announces it. */
    pthread_mutex_lock(&s->lock);
    if (atomic_load(&s->log_io.fatal_code) == 0) {
        snprintf(s->log_io.failure, sizeof(s->log_io.failure), "%s", message);
        atomic_store(&s->log_io.fatal_code, code);
    }
    pthread_mutex_unlock(&s->lock);
    post_news(s);
}

/* --- syncing -------------------------------------------------------------------------- */

static void answer_waiting(struct store *s)
{
    for (struct list *n; (n = list_pop_front(&s->log_io.waiting)) != NULL;)
        mailbox_post(&s->mailbox, &LIST_ENTRY(n, struct log_job, node)->mail);
}

static void note_failure(struct store *s, int code, const char *message)
{
    struct log_io *io = &s->log_io;
    uint64_t now = store_now(s);
    if (io->failing_since_ms == 0) {
        io->failing_since_ms = now;
        log_error("the store's disk does not take writes: %s", message);
    }
    if (code == E_NO_SPACE && !atomic_exchange(&io->low_space, true))
        post_news(s);
    if (code != E_NO_SPACE && now - io->failing_since_ms >= DISK_GIVE_UP_MS) {
        io->failed = true;
        store_disk_failed(s, code, message);
    }
}

/* True when nothing is left staged. */
static bool sync_now(struct store *s)
{
    struct log_io *io = &s->log_io;
    size_t bytes = log_staged_bytes(io->log);
    if (bytes == 0)
        return true;
    struct error err = {0};
    uint64_t start = uv_hrtime();
    int rc = log_sync(io->log, &err);
    if (rc == E_IO) /* Once more at once, in a new segment. */
        rc = log_sync(io->log, &err);
    if (rc < 0) {
        note_failure(s, rc, error_message(&err));
        return false;
    }
    atomic_fetch_add(&io->syncs, 1);
    atomic_fetch_add(&io->written_bytes, bytes);
    metric_observe(s->metrics.fsync, (double)(uv_hrtime() - start) / 1e9);
    metric_add(s->metrics.write_bytes, (double)bytes);
    if (io->failing_since_ms != 0)
        log_info("the store's disk takes writes again");
    io->failing_since_ms = 0;
    io->wrote = true;
    io->marked = false;
    io->wrote_ms = store_now(s);
    atomic_store(&io->done_seq, io->staged_seq);
    post_news(s);
    answer_waiting(s);
    return true;
}

static void check_space(struct store *s, uint64_t now)
{
    struct log_io *io = &s->log_io;
    int64_t bytes = s->disk->ops->free_bytes(s->disk, s->data_dir);
    io->checked_ms = now;
    io->wrote = false;
    /* Room that nobody needs goes first. */
    if (bytes >= 0 && (uint64_t)bytes < s->disk_reserve_bytes && log_tidy_all(io->log))
        bytes = s->disk->ops->free_bytes(s->disk, s->data_dir);
    /* Back only with a quarter more, so that it does not flap. */
    uint64_t want = s->disk_reserve_bytes + (io->low ? s->disk_reserve_bytes / 4 : 0);
    bool low = bytes >= 0 && (uint64_t)bytes < want;
    if (low && !io->low)
        log_warning("too little room for the store in %s: %" PRId64 " MiB left, below %" PRIu64
                    " MiB nothing new is taken; free some",
                    s->data_dir, bytes >> 20, want >> 20);
    else if (!low && io->low)
        log_warning("enough room for the store in %s again: %" PRId64 " MiB left", s->data_dir,
                    bytes >> 20);
    io->low = low;
    if (atomic_exchange(&io->low_space, low) != low)
        post_news(s);
}

/* After each turn: sync, and what idle moments are for. */
static uint64_t on_turn(void *arg)
{
    struct store *s = arg;
    struct log_io *io = &s->log_io;
    if (io->log == NULL || io->failed || atomic_load(&s->killed))
        return WORKER_NO_WAKE;
    if (!sync_now(s))
        return DISK_RETRY_MS;
    uint64_t now = store_now(s);
    if ((io->wrote || io->low) && now - io->checked_ms >= SPACE_CHECK_MS)
        check_space(s, now);
    if (!io->marked && now - io->wrote_ms >= MARK_AFTER_MS) {
        log_mark(io->log);
        io->marked = true;
    }
    bool idle = now - io->wrote_ms >= MARK_AFTER_MS;
    bool more = idle && log_tidy(io->log);
    return io->low || !io->marked || more ? MARK_AFTER_MS : WORKER_NO_WAKE;
}

/* Keeps what is staged bounded even while the disk does not take it. */
static void bound_staged(struct store *s)
{
    struct log_io *io = &s->log_io;
    while (log_staged_bytes(io->log) > STAGED_MAX && !sync_now(s)) {
        if (io->failed || worker_stopping(&s->log_worker))
            return;
        worker_sleep(&s->log_worker, DISK_RETRY_MS);
    }
}

/* --- the jobs ----------------------------------------------------------------------------- */

struct entry *store_entry_of(uint64_t index, uint64_t term, uint8_t kind, const void *data,
                             uint32_t len)
{
    struct entry *e = entry_new((enum entry_type)kind, index, term, len);
    if (e != NULL && len > 0)
        memcpy(e->data, data, len);
    return e;
}

static void read_entries(struct log_job *j)
{
    struct log_read got;
    struct error err = {0};
    int rc = failpoint(FP_LOG_READ);
    j->code = rc < 0 ? error_set_errno(&err, disk_error(rc), -rc, "cannot read the log")
                     : log_read(j->s->log_io.log, j->index, j->bytes_max, &got, &err);
    if (j->code < 0) {
        if (j->code != E_NOT_FOUND)
            log_error("cannot read the log: %s", error_message(&err));
        return;
    }
    uint64_t want = j->last - j->index + 1;
    uint32_t count = (uint32_t)MIN_OF((uint64_t)got.count, want);
    j->entries = xzalloc(count * sizeof(struct entry *));
    for (; j->count < count; j->count++) {
        const struct log_entry *e = &got.entries[j->count];
        j->entries[j->count] = store_entry_of(e->index, e->term, e->kind, e->data, e->len);
        if (j->entries[j->count] == NULL) {
            j->code = E_NO_MEMORY;
            break;
        }
    }
    log_read_done(&got);
}

static void stage_append(struct log_io *io, const struct log_job *j)
{
    for (uint32_t i = 0; i < j->count; i++) {
        const struct entry *e = j->entries[i];
        log_append(io->log,
                   &(struct log_entry){.index = e->index,
                                       .term = e->term,
                                       .kind = (uint8_t)e->type,
                                       .data = e->data,
                                       .len = e->size},
                   1);
    }
}

static void run_job(struct work *w)
{
    struct log_job *j = CONTAINER_OF(w, struct log_job, work);
    struct store *s = j->s;
    struct log_io *io = &s->log_io;
    bool dead = io->failed || atomic_load(&s->killed);
    if (!dead)
        bound_staged(s);
    if (dead && j->type != JOB_READ && j->type != JOB_INSTALL) {
        job_free(j);
        return;
    }
    switch (j->type) {
    case JOB_VOTE:
        log_set_vote(io->log, j->term, j->vote);
        io->staged_seq = j->seq;
        break;
    case JOB_APPEND:
        stage_append(io, j);
        io->staged_seq = j->seq;
        break;
    case JOB_RESET:
        log_reset(io->log, j->index, j->term);
        io->staged_seq = j->seq;
        break;
    case JOB_TRIM:
        log_trim(io->log, j->index - 1);
        break;
    case JOB_READ:
        if (dead)
            j->code = E_CLOSED;
        else
            read_entries(j);
        mailbox_post(&s->mailbox, &j->mail);
        return;
    case JOB_INSTALL:
        if (!dead) {
            log_reset(io->log, j->index, j->term);
            log_trim(io->log, j->index);
        }
        list_push_back(&io->waiting, &j->node);
        return;
    }
    /* A vote that is on disk already stages nothing. */
    if (j->type != JOB_TRIM && log_staged_bytes(io->log) == 0) {
        atomic_store(&io->done_seq, io->staged_seq);
        post_news(s);
    }
    job_free(j);
}

/* --- the store thread's side ---------------------------------------------------------------- */

static struct log_job *job_new(struct store *s, enum log_job_type type)
{
    struct log_job *j = xzalloc(sizeof(*j));
    j->work.run = run_job;
    j->s = s;
    j->type = type;
    list_init(&j->node);
    return j;
}

static void queue(struct log_job *j)
{
    list_push_back(&j->s->log_queue, &j->work.link);
}

void store_log_vote(struct store *s, uint64_t seq, uint64_t term, uint64_t vote)
{
    struct log_job *j = job_new(s, JOB_VOTE);
    j->seq = seq;
    j->term = term;
    j->vote = vote;
    queue(j);
}

void store_log_append(struct store *s, uint64_t seq, struct entry *const *entries, uint32_t count)
{
    struct log_job *j = job_new(s, JOB_APPEND);
    j->seq = seq;
    j->entries = xmalloc(count * sizeof(struct entry *));
    for (; j->count < count; j->count++)
        j->entries[j->count] = entry_ref(entries[j->count]);
    queue(j);
}

void store_log_reset(struct store *s, uint64_t seq, uint64_t index, uint64_t term)
{
    struct log_job *j = job_new(s, JOB_RESET);
    j->seq = seq;
    j->index = index;
    j->term = term;
    queue(j);
}

void store_log_trim(struct store *s, uint64_t first_index)
{
    struct log_job *j = job_new(s, JOB_TRIM);
    j->index = first_index;
    queue(j);
}

static void on_read(struct mail *m)
{
    struct log_job *j = CONTAINER_OF(m, struct log_job, mail);
    struct store *s = j->s;
    if (s->replica != NULL)
        replica_entries_read(s->replica, store_now(s), j->token, j->code, j->entries,
                             j->code < 0 ? 0 : j->count);
    job_free(j);
    store_kick(s);
}

void store_log_read(struct store *s, uint64_t token, uint64_t first, uint64_t last,
                    uint32_t bytes_max)
{
    struct log_job *j = job_new(s, JOB_READ);
    j->mail.run = on_read;
    j->token = token;
    j->index = first;
    j->last = last;
    j->bytes_max = bytes_max;
    queue(j);
}

static void on_installed(struct mail *m)
{
    struct log_job *j = CONTAINER_OF(m, struct log_job, mail);
    j->done(j->arg);
    job_free(j);
}

void store_log_install(struct store *s, uint64_t index, uint64_t term, void (*done)(void *arg),
                       void *arg)
{
    struct log_job *j = job_new(s, JOB_INSTALL);
    j->mail.run = on_installed;
    j->index = index;
    j->term = term;
    j->done = done;
    j->arg = arg;
    worker_post(&s->log_worker, &j->work);
}

/* --- a member that was told who it is ------------------------------------------------------- */

struct adoption {
    struct work work;
    struct mail mail;
    struct store *s;
    uint64_t cluster_id, id;
    struct snapshot_dir *dir;
    struct log_state state;
    int code;
    struct error err;
};

static void on_adopted(struct mail *m)
{
    struct adoption *a = CONTAINER_OF(m, struct adoption, mail);
    struct store *s = a->s;
    struct error err = {0};
    s->adopting = false;
    if (a->code == 0 && !s->closing) {
        s->bulk_io.dir = a->dir;
        s->instance = a->state.instance;
        atomic_store(&s->cluster_id, a->cluster_id);
        atomic_store(&s->id, a->id);
        transport_adopt(s->transport, a->cluster_id, a->id, s->instance);
        log_info("this is member %" PRIx64 " of cluster %" PRIx64 " now", a->id, a->cluster_id);
        if (store_make_replica(s, a->state.boot, &err) < 0) {
            log_error("cannot join the cluster: %s", error_message(&err));
            s->failed = true;
        }
    } else if (a->code < 0) {
        log_error("cannot join the cluster: %s", error_message(&a->err));
    }
    if (s->bulk_io.dir != a->dir)
        snapshot_dir_close(a->dir);
    free(a);
    store_kick(s);
}

static void run_adoption(struct work *w)
{
    struct adoption *a = CONTAINER_OF(w, struct adoption, work);
    struct store *s = a->s;
    a->code = store_snapshots_open(s, a->cluster_id, &a->dir, &a->err);
    if (a->code == 0)
        a->code =
            store_log_open(s, s->data_dir, a->cluster_id, a->id, true, &s->log_io.log, &a->err);
    if (a->code == 0)
        log_state(s->log_io.log, &a->state);
    mailbox_post(&s->mailbox, &a->mail);
}

void store_adopt(struct store *s, uint64_t cluster_id, uint64_t id)
{
    if (s->adopting || s->closing)
        return;
    s->adopting = true;
    struct adoption *a = xzalloc(sizeof(*a));
    a->work.run = run_adoption;
    a->mail.run = on_adopted;
    a->s = s;
    a->cluster_id = cluster_id;
    a->id = id;
    worker_post(&s->log_worker, &a->work);
}

/* --- life ---------------------------------------------------------------------------------------
 */

void store_log_start(struct store *s, struct log *log)
{
    struct log_io *io = &s->log_io;
    io->log = log;
    io->mail.run = on_news;
    io->marked = true;
    io->wrote = log != NULL;
    list_init(&io->waiting);
    worker_start(&s->log_worker, "store-log", on_turn, s);
}

void store_log_stop(struct store *s)
{
    struct log_io *io = &s->log_io;
    worker_stop(&s->log_worker);
    for (struct list *n; (n = list_pop_front(&io->waiting)) != NULL;) {
        struct log_job *j = LIST_ENTRY(n, struct log_job, node);
        j->done(j->arg);
        job_free(j);
    }
    /* Given by a last round but never posted. */
    for (struct list *n; (n = list_pop_front(&s->log_queue)) != NULL;)
        job_free(LIST_ENTRY(LIST_ENTRY(n, struct work, link), struct log_job, work));
    if (atomic_load(&s->killed))
        log_abandon(io->log);
    else
        log_close(io->log);
    io->log = NULL;
}
