/* store_snapshot.c - the bulk thread: snapshots taken, sent, received and installed.
 *
 * A thread of its own, so that compressing and writing gigabytes delays no
 * commit. A snapshot is taken in slices at a pace, after whatever else is queued.
 *
 * Install: the received file gets its name (bulk thread), the log is emptied (log
 * thread), the state replaced (store thread), in this order, each durable before
 * the next. A crash in between leaves a snapshot that is newer than the log,
 * which the next start recognises. */
#include "raftstore/store_internal.h"

#include "lib/base/log.h"
#include "lib/base/metrics.h"
#include "raftstore/disk.h"
#include "raftstore/failpoint.h"
#include "raftstore/mvcc_snapshot.h"
#include "raftstore/pace.h"
#include "raftstore/snapshot_file.h"

#include <inttypes.h>
#include <string.h>

#define PIECE_BYTES (256u << 10)
#define SLICE_BYTES (1u << 20)
#define RETRY_MS 1000
#define RETRIES_MAX 10
#define TAG_TAKEN (UINT64_C(1) << 63) /* Temporary names apart from those of transfers. */

enum bulk_job_type { BULK_TAKE, BULK_READ, BULK_RELEASE, BULK_WRITE, BULK_DROP, BULK_INSTALL };

struct bulk_job {
    struct work work;
    struct mail mail;
    struct store *s;
    enum bulk_job_type type;
    int code;
    uint64_t index, term, seq, token, transfer, offset;
    uint32_t bytes_max;
    bool last;
    struct buf bytes; /* Meta, or a piece of data. */
    /* BULK_TAKE */
    struct mvcc_snapshot *snapshot;
    struct snapshot_writer *writer;
    struct pace pace;
    /* BULK_INSTALL */
    struct mvcc_restore *restore;
};

/* A snapshot that is being sent. */
struct sending {
    struct list node;
    uint64_t index;
    struct snapshot_file *file;
};

/* One that is coming in: written to a file and built up in memory at once. */
struct receiving {
    struct list node;
    uint64_t transfer;
    struct snapshot_writer *writer;
    struct mvcc_restore *restore;
};

static void job_free(struct bulk_job *j)
{
    buf_done(&j->bytes);
    free(j);
}

/* --- taking ------------------------------------------------------------------------------ */

/* One slice. 1: more to do. */
static int take_slice(struct bulk_job *j, struct error *err)
{
    if (j->writer == NULL) {
        int rc = snapshot_writer_new(j->s->bulk_io.dir, TAG_TAKEN | j->index, &j->writer, err);
        if (rc < 0)
            return rc;
        j->pace = (struct pace){store_now(j->s), atomic_load(&j->s->log_io.written_bytes)};
    }
    AUTO_FREE uint8_t *piece = xmalloc(PIECE_BYTES);
    for (size_t done = 0; done < SLICE_BYTES; done += PIECE_BYTES) {
        size_t n = mvcc_snapshot_read(j->snapshot, piece, PIECE_BYTES);
        if (n == 0)
            return snapshot_writer_commit(j->writer, j->index, j->term, buf_str(&j->bytes), err);
        int rc = snapshot_writer_append(j->writer, piece, n, err);
        if (rc < 0)
            return rc;
    }
    return 1;
}

static void end_take(struct bulk_job *j, int code)
{
    j->code = code;
    j->s->bulk_io.taking = NULL;
    /* The view it held goes before the store counts it as done. */
    mvcc_snapshot_free(take(j->snapshot));
    snapshot_writer_free(take(j->writer));
    mailbox_post(&j->s->mailbox, &j->mail);
}

/* A slice when it is due. Milliseconds until the next one. */
static uint64_t run_take(struct store *s)
{
    struct bulk_job *j = s->bulk_io.taking;
    struct error err = {0};
    if (j == NULL)
        return WORKER_NO_WAKE;
    if (worker_stopping(&s->bulk_worker) || atomic_load(&s->killed)) {
        end_take(j, E_CLOSED);
        return WORKER_NO_WAKE;
    }
    uint64_t written = j->writer != NULL ? snapshot_writer_bytes(j->writer) : 0;
    uint64_t wait =
        pace_wait_ms(&j->pace, store_now(s), atomic_load(&s->log_io.written_bytes), written);
    if (wait > 0)
        return wait;
    int rc = take_slice(j, &err);
    if (rc == 1)
        return 0;
    if (rc < 0)
        log_warning("no snapshot was taken: %s", error_message(&err));
    else
        metric_inc(s->metrics.snapshots);
    end_take(j, rc);
    return WORKER_NO_WAKE;
}

/* After whatever was queued. */
static uint64_t on_turn(void *arg)
{
    struct store *s = arg;
    struct bulk_io *io = &s->bulk_io;
    uint64_t wait = run_take(s), now = store_now(s);
    if (io->dir == NULL || atomic_load(&s->killed))
        return wait;
    if (now >= io->tidy_at_ms)
        io->tidy_at_ms = snapshot_dir_tidy(io->dir) ? now + SNAPSHOT_TIDY_MS : 0;
    return io->tidy_at_ms == 0 ? wait : MIN_OF(wait, MAX_OF(io->tidy_at_ms, now) - now);
}

/* --- sending ------------------------------------------------------------------------------ */

static struct sending *sending_get(struct store *s, uint64_t index)
{
    LIST_FOREACH (it, &s->bulk_io.readers)
        if (LIST_ENTRY(it, struct sending, node)->index == index)
            return LIST_ENTRY(it, struct sending, node);
    return NULL;
}

/* 0, or the error that a failpoint makes of a step. */
static int point(enum failpoint f, struct error *err)
{
    int rc = failpoint(f);
    return rc < 0 ? error_set_errno(err, disk_error(rc), -rc, "%s", failpoint_name(f)) : 0;
}

static int read_piece(struct bulk_job *j, struct error *err)
{
    int refused = point(FP_SNAPSHOT_CHUNK_READ, err);
    if (refused < 0)
        return refused;
    struct sending *r = sending_get(j->s, j->index);
    if (r == NULL) {
        struct snapshot_file *file = NULL;
        int rc = snapshot_file_open(j->s->bulk_io.dir, j->index, &file, err);
        if (rc < 0)
            return rc;
        r = xzalloc(sizeof(*r));
        r->index = j->index;
        r->file = file;
        list_push_back(&j->s->bulk_io.readers, &r->node);
    }
    size_t len = 0;
    uint8_t *p = buf_reserve(&j->bytes, j->bytes_max);
    int rc = snapshot_file_read(r->file, j->offset, p, j->bytes_max, &len, err);
    if (rc < 0)
        return rc;
    buf_commit(&j->bytes, len);
    j->last = j->offset + len >= snapshot_file_info(r->file)->data_bytes;
    return 0;
}

static void run_read(struct bulk_job *j)
{
    struct error err = {0};
    j->code = read_piece(j, &err);
    if (j->code < 0)
        log_warning("a snapshot cannot be sent: %s", error_message(&err));
    mailbox_post(&j->s->mailbox, &j->mail);
}

static void sending_end(struct sending *r)
{
    list_remove(&r->node);
    snapshot_file_close(r->file);
    free(r);
}

/* --- receiving ------------------------------------------------------------------------------ */

static struct receiving *receiving_get(struct store *s, uint64_t transfer)
{
    LIST_FOREACH (it, &s->bulk_io.receivers)
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): what is freed has left the list. */
        if (LIST_ENTRY(it, struct receiving, node)->transfer == transfer)
            return LIST_ENTRY(it, struct receiving, node);
    return NULL;
}

static void receiving_end(struct receiving *r)
{
    if (r == NULL)
        return;
    list_remove(&r->node);
    snapshot_writer_free(r->writer);
    mvcc_restore_free(r->restore);
    free(r);
}

static int write_piece(struct bulk_job *j, struct error *err)
{
    int refused = point(FP_SNAPSHOT_CHUNK_WRITE, err);
    if (refused < 0)
        return refused;
    struct receiving *r = receiving_get(j->s, j->transfer);
    if (j->offset == 0) {
        receiving_end(r);
        struct snapshot_writer *w = NULL;
        int rc = snapshot_writer_new(j->s->bulk_io.dir, j->transfer, &w, err);
        if (rc < 0)
            return rc;
        r = xzalloc(sizeof(*r));
        r->transfer = j->transfer;
        r->writer = w;
        r->restore = mvcc_restore_new();
        list_push_back(&j->s->bulk_io.receivers, &r->node);
    }
    if (r == NULL || snapshot_writer_bytes(r->writer) != j->offset)
        return error_set(err, E_INVALID, "a piece at %" PRIu64 " does not follow", j->offset);
    int rc = snapshot_writer_append(r->writer, j->bytes.data, j->bytes.len, err);
    if (rc == 0)
        rc = mvcc_restore_feed(r->restore, buf_str(&j->bytes), err);
    if (rc == 0 && j->last)
        rc = mvcc_restore_finish(r->restore, err);
    return rc;
}

static void run_write(struct bulk_job *j)
{
    struct error err = {0};
    j->code = write_piece(j, &err);
    if (j->code < 0) {
        log_warning("a snapshot cannot be received: %s", error_message(&err));
        receiving_end(receiving_get(j->s, j->transfer));
    }
    mailbox_post(&j->s->mailbox, &j->mail);
}

/* --- installing ------------------------------------------------------------------------------ */

static void on_log_emptied(void *arg);

/* Gives the received file its name, trying again while the disk is full. */
static int store_received(struct bulk_job *j, struct receiving *r, struct error *err)
{
    struct worker *worker = &j->s->bulk_worker;
    for (int tries = 0;; tries++) {
        int rc = point(FP_SNAPSHOT_INSTALL, err);
        if (rc == 0)
            rc = snapshot_writer_commit(r->writer, j->index, j->term, buf_str(&j->bytes), err);
        if (rc == 0 || worker_stopping(worker) || (rc != E_NO_SPACE && tries >= RETRIES_MAX))
            return rc;
        if (tries == 0)
            log_warning("the snapshot that came in cannot be stored yet: %s", error_message(err));
        worker_sleep(worker, RETRY_MS);
    }
}

static void run_install(struct bulk_job *j)
{
    struct store *s = j->s;
    struct receiving *r = receiving_get(s, j->transfer);
    struct error err = {0};
    if (r == NULL)
        j->code = error_set(&err, E_INTERNAL, "the snapshot to install is gone");
    else
        j->code = store_received(j, r, &err);
    if (r != NULL && j->code == 0)
        j->restore = take(r->restore);
    receiving_end(r);
    if (j->code == 0) {
        (void)failpoint(FP_SNAPSHOT_INSTALL_LOG);
        store_log_install(s, j->index, j->term, on_log_emptied, j);
        return;
    }
    if (!worker_stopping(&s->bulk_worker))
        store_disk_failed(s, j->code, error_message(&err));
    job_free(j);
}

/* On the store thread, or while closing. */
static void on_log_emptied(void *arg)
{
    struct bulk_job *j = arg;
    struct store *s = j->s;
    if (s->closed || s->replica == NULL) {
        mvcc_restore_free(j->restore);
        job_free(j);
        return;
    }
    (void)failpoint(FP_SNAPSHOT_INSTALL_STATE);
    uint64_t now = store_now(s);
    mvcc_restore_commit(j->restore, s->mvcc, now);
    mvcc_publish(s->mvcc, now);
    log_info("the state was replaced by the snapshot at entry %" PRIu64 ", revision %" PRId64,
             j->index, mvcc_rev(s->mvcc));
    uint64_t seq = s->install_seq;
    s->install_seq = 0;
    replica_persisted(s->replica, now, MAX_OF(seq, (uint64_t)atomic_load(&s->log_io.done_seq)));
    job_free(j);
    store_kick(s);
}

/* --- the bulk thread ----------------------------------------------------------------------------
 */

static void run_job(struct work *w)
{
    struct bulk_job *j = CONTAINER_OF(w, struct bulk_job, work);
    switch (j->type) {
    case BULK_TAKE: /* One at a time: the replica asks for the next when this is done. */
        ASSERT(j->s->bulk_io.taking == NULL);
        j->s->bulk_io.taking = j;
        return;
    case BULK_READ:
        run_read(j);
        return;
    case BULK_WRITE:
        run_write(j);
        return;
    case BULK_INSTALL:
        run_install(j);
        return;
    case BULK_RELEASE: {
        struct sending *r = sending_get(j->s, j->index);
        if (r != NULL)
            sending_end(r);
        break;
    }
    case BULK_DROP:
        receiving_end(receiving_get(j->s, j->transfer));
        break;
    }
    job_free(j);
}

/* --- the store thread's side
 * ------------------------------------------------------------------------ */

static void on_done(struct mail *m)
{
    struct bulk_job *j = CONTAINER_OF(m, struct bulk_job, mail);
    struct store *s = j->s;
    uint64_t now = store_now(s);
    if (s->replica != NULL && j->type == BULK_TAKE)
        replica_snapshot_taken(s->replica, now, j->index, j->code);
    else if (s->replica != NULL && j->type == BULK_READ)
        replica_snapshot_read(s->replica, now, j->token, j->code, buf_str(&j->bytes), j->last);
    else if (s->replica != NULL && j->type == BULK_WRITE)
        replica_snapshot_written(s->replica, now, j->transfer, j->code);
    job_free(j);
    store_kick(s);
}

static struct bulk_job *job_new(struct store *s, enum bulk_job_type type)
{
    struct bulk_job *j = xzalloc(sizeof(*j));
    j->work.run = run_job;
    j->mail.run = on_done;
    j->s = s;
    j->type = type;
    return j;
}

void store_snapshot_take(struct store *s, const struct replica_snapshot *snapshot)
{
    struct bulk_job *j = job_new(s, BULK_TAKE);
    mvcc_applied(s->mvcc, snapshot->index);
    j->index = snapshot->index;
    j->term = snapshot->term;
    buf_append_str(&j->bytes, snapshot->meta);
    j->snapshot = mvcc_snapshot_new(s->mvcc, store_now(s));
    worker_post(&s->bulk_worker, &j->work);
}

void store_snapshot_read(struct store *s, uint64_t token, uint64_t index, uint64_t offset,
                         uint32_t bytes_max)
{
    struct bulk_job *j = job_new(s, BULK_READ);
    j->token = token;
    j->index = index;
    j->offset = offset;
    j->bytes_max = bytes_max;
    worker_post(&s->bulk_worker, &j->work);
}

void store_snapshot_release(struct store *s, uint64_t index)
{
    struct bulk_job *j = job_new(s, BULK_RELEASE);
    j->index = index;
    worker_post(&s->bulk_worker, &j->work);
}

void store_snapshot_write(struct store *s, uint64_t transfer, uint64_t offset, struct str bytes,
                          bool last)
{
    struct bulk_job *j = job_new(s, BULK_WRITE);
    j->transfer = transfer;
    j->offset = offset;
    j->last = last;
    buf_append_str(&j->bytes, bytes);
    worker_post(&s->bulk_worker, &j->work);
}

void store_snapshot_drop(struct store *s, uint64_t transfer)
{
    struct bulk_job *j = job_new(s, BULK_DROP);
    j->transfer = transfer;
    worker_post(&s->bulk_worker, &j->work);
}

void store_snapshot_install(struct store *s, uint64_t seq, uint64_t transfer,
                            const struct replica_snapshot *snapshot)
{
    struct bulk_job *j = job_new(s, BULK_INSTALL);
    s->install_seq = seq;
    j->seq = seq;
    j->transfer = transfer;
    j->index = snapshot->index;
    j->term = snapshot->term;
    buf_append_str(&j->bytes, snapshot->meta);
    worker_post(&s->bulk_worker, &j->work);
}

/* --- life
 * --------------------------------------------------------------------------------------------- */

void store_bulk_start(struct store *s, struct snapshot_dir *dir)
{
    s->bulk_io.dir = dir;
    list_init(&s->bulk_io.readers);
    list_init(&s->bulk_io.receivers);
    worker_start(&s->bulk_worker, "store-bulk", on_turn, s);
    /* Waking up, it takes the processor from nobody. (Not nice: whoever holds one of
     * malloc's locks must go on.) */
    (void)pthread_setschedparam(s->bulk_worker.thread, SCHED_BATCH, &(struct sched_param){0});
}

void store_bulk_stop(struct store *s)
{
    worker_stop(&s->bulk_worker);
    if (s->bulk_io.taking != NULL)
        end_take(s->bulk_io.taking, E_CLOSED);
    for (struct list *n; (n = list_pop_front(&s->bulk_io.readers)) != NULL;)
        sending_end(LIST_ENTRY(n, struct sending, node));
    for (struct list *n; (n = list_pop_front(&s->bulk_io.receivers)) != NULL;)
        receiving_end(LIST_ENTRY(n, struct receiving, node));
    snapshot_dir_close(s->bulk_io.dir);
    s->bulk_io.dir = NULL;
}
