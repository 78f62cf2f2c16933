/* log.c - see log.h: staging, writing, trimming and reading. */
#include "raftstore/log_internal.h"

#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "raftstore/disk.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* A larger staging buffer is given back after its batch. */
#define STAGED_KEEP_BYTES (1u << 20)
/* Room that is given back: whole pages, and not for a little. */
#define RELEASE_ALIGN 4096u
#define RELEASE_MIN (64u << 10)
/* Room of a segment that is left unused rather than given back and reserved again. */
#define RELEASE_PART 4
/* Partial pages of a file that is not in memory would have to be read first. */
#define PAGE_BYTES 4096u
#define IDLE_SPARES 4

char *log_path(const struct log *l, const char *name)
{
    return xasprintf("%s/%s", l->dir, name);
}

char *log_segment_path(const struct log *l, uint64_t number)
{
    char name[LOG_NAME_BYTES];
    log_segment_name(number, name);
    return log_path(l, name);
}

void log_segment_push(struct log *l, const struct log_segment *s)
{
    if (l->segment_count == l->segment_cap) {
        l->segment_cap = MAX_OF(l->segment_cap * 2, (size_t)8);
        l->segments = xrealloc(l->segments, l->segment_cap * sizeof(*l->segments));
    }
    l->segments[l->segment_count] = *s;
    l->segments[l->segment_count++].end = LOG_SEGMENT_HEADER_BYTES;
}

int log_sync_fd(struct log *l, enum failpoint f, int fd)
{
    int rc = failpoint(f);
    return rc < 0 || l->no_fsync ? rc : l->disk->ops->fdatasync(l->disk, fd);
}

/* --- opening and closing ---------------------------------------------------- */

static int lock_dir(struct log *l, struct error *err)
{
    int rc = l->disk->ops->mkdir(l->disk, l->dir);
    if (rc < 0)
        return error_set_errno(err, disk_error(rc), -rc, "cannot make the data folder %s", l->dir);
    AUTO_FREE char *path = log_path(l, LOG_LOCK_NAME);
    l->lock_fd = failpoint(FP_LOG_LOCK);
    if (l->lock_fd == 0)
        l->lock_fd = l->disk->ops->lock(l->disk, path);
    if (l->lock_fd == -EWOULDBLOCK)
        return error_set(err, E_EXISTS, "another process is using the data folder %s", l->dir);
    if (l->lock_fd < 0)
        return error_set_errno(err, disk_error(l->lock_fd), -l->lock_fd, "cannot lock %s", path);
    return 0;
}

static int create(struct log *l, const struct log_config *config, struct error *err)
{
    l->cluster_id = config->cluster_id;
    l->member_id = config->member_id;
    l->joined = config->joined;
    struct env *env = config->env != NULL ? config->env : env_system();
    env->random(env, &l->salt, sizeof(l->salt));
    do
        env->random(env, &l->instance, sizeof(l->instance));
    while (l->instance == 0);
    l->seq = 1;
    l->saved.boot = l->now.boot = 1;
    return log_roll(l, 0, err);
}

static int check_owner(const struct log *l, const struct log_config *config, struct error *err)
{
    if (config->member_id != 0 && config->member_id != l->member_id)
        return error_set(err, E_INVALID,
                         "%s holds the data of member %" PRIx64 ", this one is member %" PRIx64,
                         l->dir, l->member_id, config->member_id);
    if (config->cluster_id != 0 && config->cluster_id != l->cluster_id)
        return error_set(err, E_INVALID,
                         "%s holds data of cluster %" PRIx64
                         ", this member belongs to cluster %" PRIx64,
                         l->dir, l->cluster_id, config->cluster_id);
    return 0;
}

static void stage(struct log *l, const struct log_record *r);

/* Takes over what log_recover() found, and counts the start. */
static int reopen(struct log *l, const struct log_config *config, struct error *err)
{
    int rc = check_owner(l, config, err);
    if (rc < 0)
        return rc;
    stage(l, &(struct log_record){.type = LOG_BOOT, .index = l->now.boot + 1});
    rc = failpoint(FP_LOG_BOOT);
    if (rc < 0)
        return error_set_errno(err, disk_error(rc), -rc, "cannot count this start in %s", l->dir);
    return log_sync(l, err);
}

int log_open(const struct log_config *config, struct log **ret, struct error *err)
{
    struct log *l = xzalloc(sizeof(*l));
    l->disk = config->disk;
    l->dir = xstrdup(config->dir);
    l->segment_bytes =
        config->segment_bytes != 0 ? config->segment_bytes : LOG_SEGMENT_BYTES_DEFAULT;
    l->no_fsync = config->no_fsync;
    l->lock_fd = l->fd = -1;
    l->effect.low = UINT64_MAX;

    int rc = lock_dir(l, err);
    if (rc == 0)
        rc = log_recover(l, err);
    if (rc == E_NOT_FOUND && config->member_id != 0)
        rc = create(l, config, err);
    else if (rc == 0)
        rc = reopen(l, config, err);
    if (rc < 0) {
        log_abandon(l);
        return rc;
    }
    *ret = l;
    return 0;
}

void log_abandon(struct log *l)
{
    if (l == NULL)
        return;
    if (l->fd >= 0)
        l->disk->ops->close(l->disk, l->fd);
    if (l->lock_fd >= 0)
        l->disk->ops->close(l->disk, l->lock_fd);
    buf_done(&l->staged);
    free(l->segments);
    free(l->spares.numbers);
    free(l->finds);
    free(l->dir);
    free(l);
}

void log_close(struct log *l)
{
    if (l == NULL)
        return;
    buf_clear(&l->staged);
    l->staged_records = 0;
    l->now = l->saved;
    l->effect = (struct log_effect){.low = UINT64_MAX};
    log_mark(l);
    if (l->fd >= 0 && !l->must_roll)
        (void)log_sync_fd(l, FP_LOG_SYNC, l->fd); /* Only the mark could be lost. */
    log_abandon(l);
}

void log_state(const struct log *l, struct log_state *ret)
{
    *ret = (struct log_state){
        .cluster_id = l->cluster_id,
        .member_id = l->member_id,
        .instance = l->instance,
        .joined = l->joined,
        .term = l->now.term,
        .vote = l->now.vote,
        .boot = l->now.boot,
        .last_index = l->now.last_index,
        .last_term = l->now.last_term,
        .first_index = l->now.last_index + 1,
    };
    if (!l->effect.reset && l->find_count > 0)
        ret->first_index = l->finds[0].index;
    ret->first_index = MIN_OF(ret->first_index, l->effect.low);
    for (size_t i = 0; i < l->segment_count; i++)
        ret->bytes += l->segments[i].bytes;
}

/* --- staging ---------------------------------------------------------------- */

bool log_record_account(const struct log_record *r, struct log_position *pos,
                        struct log_effect *effect)
{
    switch (r->type) {
    case LOG_ENTRY:
        if (r->index == 0 || r->index > pos->last_index + 1)
            return false;
        pos->last_index = r->index;
        pos->last_term = r->term;
        effect->low = MIN_OF(effect->low, r->index);
        return true;
    case LOG_VOTE:
        if (r->term < pos->term)
            return false;
        pos->term = r->term;
        pos->vote = r->index;
        return true;
    case LOG_RESET:
        pos->last_index = r->index;
        pos->last_term = r->term;
        *effect = (struct log_effect){.reset = true, .low = UINT64_MAX};
        return true;
    case LOG_MARK:
        return true;
    case LOG_BOOT:
        pos->boot = r->index;
        return true;
    }
    return false;
}

static void stage(struct log *l, const struct log_record *r)
{
    ASSERT(log_record_account(r, &l->now, &l->effect));
    if (l->staged.len == 0) {
        memset(buf_reserve(&l->staged, LOG_BATCH_HEADER_BYTES), 0, LOG_BATCH_HEADER_BYTES);
        buf_commit(&l->staged, LOG_BATCH_HEADER_BYTES);
        l->staged_salt = log_last(l)->salt;
    }
    log_record_encode(r, l->staged_salt, &l->staged);
    l->staged_records++;
}

void log_append(struct log *l, const struct log_entry *entries, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct log_entry *e = &entries[i];
        stage(l, &(struct log_record){.type = LOG_ENTRY,
                                      .kind = e->kind,
                                      .term = e->term,
                                      .index = e->index,
                                      .data = e->data,
                                      .len = e->len});
    }
}

void log_set_vote(struct log *l, uint64_t term, uint64_t vote)
{
    if (term == l->now.term && vote == l->now.vote)
        return;
    stage(l, &(struct log_record){.type = LOG_VOTE, .term = term, .index = vote});
}

void log_reset(struct log *l, uint64_t index, uint64_t term)
{
    stage(l, &(struct log_record){.type = LOG_RESET, .term = term, .index = index});
}

size_t log_staged_bytes(const struct log *l)
{
    return l->staged.len;
}

/* --- writing ---------------------------------------------------------------- */

/* The file of a segment to be: a spare, else a new one. *path: where it lies. */
static int open_segment(struct log *l, uint64_t bytes, char **path, bool *ret_reused)
{
    int fd = bytes == l->segment_bytes ? log_spare_take(l, path) : -ENOENT;
    *ret_reused = fd >= 0;
    if (fd >= 0)
        return fd;
    *path = log_path(l, LOG_TMP_NAME);
    int rc = failpoint(FP_LOG_SEGMENT_CREATE);
    return rc < 0 ? rc : l->disk->ops->open(l->disk, *path, DISK_CREATE);
}

/* Puts a complete, synced segment file under a name that does not count. */
static int write_segment(struct log *l, uint64_t bytes, struct log_segment_header *h, char **path,
                         int *ret_fd)
{
    struct disk *d = l->disk;
    uint8_t page[PAGE_BYTES] = {0};
    int fd = open_segment(l, bytes, path, &h->reused);
    if (fd < 0)
        return fd;
    int rc = failpoint(FP_LOG_SEGMENT_ALLOCATE);
    if (rc == 0)
        rc = d->ops->fallocate(d, fd, 0, bytes);
    h->bytes = rc == 0 ? bytes : 0;
    if (rc == -EOPNOTSUPP || rc == -ENOSYS)
        rc = 0;
    log_segment_header_encode(h, page);
    size_t n = h->reused ? (size_t)MIN_OF((uint64_t)PAGE_BYTES, bytes) : LOG_SEGMENT_HEADER_BYTES;
    if (rc == 0)
        rc = failpoint_pwrite_all(FP_LOG_SEGMENT_WRITE, d, fd, page, n, 0);
    if (rc == 0)
        rc = log_sync_fd(l, FP_LOG_SEGMENT_SYNC, fd);
    if (rc == 0)
        *ret_fd = fd;
    else
        d->ops->close(d, fd);
    return rc;
}

/* The last segment will be written to no more: gives back the room behind what it
 * holds. Else a disk that fails now and then would fill up with segments that hold a
 * batch each. */
static void release_rest(struct log *l)
{
    struct disk *d = l->disk;
    struct log_segment *last = log_last(l);
    uint64_t from = (last->end + RELEASE_ALIGN - 1) / RELEASE_ALIGN * RELEASE_ALIGN;
    if (d->ops->release == NULL ||
        last->bytes < from + MAX_OF((uint64_t)RELEASE_MIN, last->bytes / RELEASE_PART))
        return;
    if (d->ops->release(d, l->fd, from, last->bytes - from) == 0)
        last->bytes = from;
}

int log_roll(struct log *l, size_t need, struct error *err)
{
    struct disk *d = l->disk;
    struct log_segment_header h = {
        .cluster_id = l->cluster_id,
        .member_id = l->member_id,
        .number = l->segment_count > 0 ? log_last(l)->number + 1 : 1,
        .first_seq = l->durable_seq + 1, /* A mark may be written but not durable: it goes. */
        .prev_index = l->saved.last_index,
        .prev_term = l->saved.last_term,
        .term = l->saved.term,
        .vote = l->saved.vote,
        .boot = l->saved.boot,
        .instance = l->instance,
        .salt = l->salt,
        .joined = l->joined,
    };
    AUTO_FREE char *tmp = NULL;
    AUTO_FREE char *path = log_segment_path(l, h.number);
    uint64_t bytes = MAX_OF(l->segment_bytes, (uint64_t)LOG_SEGMENT_HEADER_BYTES + need);
    int fd = -1;
    int rc = write_segment(l, bytes, &h, &tmp, &fd);
    /* A crash from here on finds either no new segment or a whole one. Should
     * the folder's sync fail, the next attempt replaces the file by its equal. */
    if (rc == 0)
        rc = failpoint(FP_LOG_SEGMENT_RENAME);
    if (rc == 0)
        rc = d->ops->rename(d, tmp, path);
    if (rc == 0)
        rc = failpoint(FP_LOG_SEGMENT_DIRSYNC);
    if (rc == 0 && !l->no_fsync)
        rc = d->ops->sync_dir(d, l->dir);
    if (rc < 0) {
        if (fd >= 0)
            d->ops->close(d, fd);
        (void)d->ops->unlink(d, tmp);
        if (disk_error(rc) == E_NO_SPACE)
            (void)log_tidy_all(l);
        return error_set_errno(err, disk_error(rc), -rc, "cannot make the log segment %s", path);
    }
    if (l->fd >= 0) {
        release_rest(l);
        d->ops->close(d, l->fd);
    }
    l->fd = fd;
    l->must_roll = false;
    l->seq = h.first_seq;
    log_segment_push(l, &(struct log_segment){.number = h.number,
                                              .bytes = bytes,
                                              .salt = log_segment_salt(&h),
                                              .reused = h.reused});
    return 0;
}

void log_find_note(struct log *l, const struct log_effect *effect, uint64_t before_last,
                   uint64_t segment, uint64_t offset)
{
    if (effect->reset)
        l->find_count = 0;
    if (effect->low == UINT64_MAX)
        return;
    while (l->find_count > 0 && l->finds[l->find_count - 1].index >= effect->low)
        l->find_count--;
    const struct log_find *last = l->find_count > 0 ? &l->finds[l->find_count - 1] : NULL;
    bool cuts = effect->reset || effect->low <= before_last;
    if (last != NULL && !cuts && last->segment == segment && offset - last->offset < LOG_FIND_BYTES)
        return;
    if (l->find_count == l->find_cap) {
        l->find_cap = MAX_OF(l->find_cap * 2, (size_t)16);
        l->finds = xrealloc(l->finds, l->find_cap * sizeof(*l->finds));
    }
    l->finds[l->find_count++] = (struct log_find){effect->low, segment, offset};
}

/* How many zeros behind the batch fill the page, where its old bytes would have to
 * be read otherwise. */
static size_t staged_padding(struct log *l)
{
    const struct log_segment *last = log_last(l);
    uint64_t end = last->end + l->staged.len;
    uint64_t full = MIN_OF((end + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES, last->bytes);
    if (!last->reused || full <= end)
        return 0;
    memset(buf_reserve(&l->staged, (size_t)(full - end)), 0, (size_t)(full - end));
    return (size_t)(full - end);
}

/* Writes the staged batch behind the last one. */
static int write_staged(struct log *l, enum failpoint f, struct error *err)
{
    uint32_t salt = log_last(l)->salt;
    struct log_batch_header h = {
        .seq = l->seq,
        .durable_seq = l->durable_seq,
        .body_bytes = (uint32_t)(l->staged.len - LOG_BATCH_HEADER_BYTES),
        .record_count = l->staged_records,
    };
    if (l->staged_salt != salt)
        log_records_reseal(l->staged.data + LOG_BATCH_HEADER_BYTES, h.body_bytes, salt);
    l->staged_salt = salt;
    size_t n = l->staged.len + staged_padding(l);
    log_batch_header_encode(&h, salt, l->staged.data);
    int rc = failpoint_pwrite_all(f, l->disk, l->fd, l->staged.data, n, log_last(l)->end);
    if (rc < 0) {
        l->must_roll = true;
        return error_set_errno(err, disk_error(rc), -rc, "cannot write to the log in %s", l->dir);
    }
    return 0;
}

/* The staged batch is on its way: what follows goes behind it. */
static void advance(struct log *l)
{
    struct log_segment *last = log_last(l);
    log_find_note(l, &l->effect, l->saved.last_index, last->number, last->end);
    last->end += l->staged.len;
    l->seq++;
    l->saved = l->now;
    l->effect = (struct log_effect){.low = UINT64_MAX};
    l->staged_records = 0;
    if (l->staged.cap > STAGED_KEEP_BYTES)
        buf_done(&l->staged);
    else
        buf_clear(&l->staged);
}

static bool staged_fits(struct log *l)
{
    return l->fd >= 0 && !l->must_roll && log_last(l)->end + l->staged.len <= log_last(l)->bytes;
}

int log_sync(struct log *l, struct error *err)
{
    if (l->staged.len == 0)
        return 0;
    ASSERT(l->staged.len - LOG_BATCH_HEADER_BYTES <= LOG_BATCH_BODY_MAX);
    int rc = staged_fits(l) ? 0 : log_roll(l, l->staged.len, err);
    if (rc == 0)
        rc = write_staged(l, FP_LOG_WRITE, err);
    if (rc < 0)
        return rc;
    rc = log_sync_fd(l, FP_LOG_SYNC, l->fd);
    if (rc < 0) {
        /* The kernel may now believe the pages clean; they are not on disk. */
        l->must_roll = true;
        return error_set_errno(err, disk_error(rc), -rc, "cannot sync the log in %s", l->dir);
    }
    l->durable_seq = l->seq;
    advance(l);
    (void)failpoint(FP_LOG_SYNCED);
    return 0;
}

void log_mark(struct log *l)
{
    /* A mark is only of use behind a durable batch. */
    if (l->staged.len > 0 || l->durable_seq + 1 != l->seq ||
        log_last(l)->end == LOG_SEGMENT_HEADER_BYTES)
        return;
    stage(l, &(struct log_record){.type = LOG_MARK});
    if (staged_fits(l) && write_staged(l, FP_LOG_MARK, NULL) == 0) {
        advance(l);
        return;
    }
    buf_clear(&l->staged);
    l->staged_records = 0;
}

void log_trim(struct log *l, uint64_t index)
{
    size_t drop = 0;
    while (drop + 1 < l->segment_count) {
        /* Entries up to `index` may go; is any later one in this segment? */
        uint64_t next = l->segments[drop + 1].number;
        uint64_t later = l->saved.last_index + 1;
        for (size_t i = 0; i < l->find_count; i++)
            if (l->finds[i].segment >= next) {
                later = l->finds[i].index;
                break;
            }
        if (later > index + 1)
            break;
        int rc = failpoint(FP_LOG_TRIM);
        if (rc == 0)
            rc = log_spare_retire(l, &l->segments[drop]);
        if (rc < 0 && rc != -ENOENT) {
            AUTO_FREE char *path = log_segment_path(l, l->segments[drop].number);
            log_warning("cannot remove the old log segment %s: %s", path, strerror(-rc));
            break;
        }
        drop++;
    }
    if (drop == 0)
        return;
    log_spares_settle(l);
    l->segment_count -= drop;
    memmove(l->segments, l->segments + drop, l->segment_count * sizeof(*l->segments));
    size_t gone = 0;
    while (gone < l->find_count && l->finds[gone].segment < l->segments[0].number)
        gone++;
    l->find_count -= gone;
    if (l->find_count > 0)
        memmove(l->finds, l->finds + gone, l->find_count * sizeof(*l->finds));
}

bool log_tidy(struct log *l)
{
    size_t keep = MAX_OF(l->spares.count, (size_t)1) - 1;
    return log_spares_drop(l, MAX_OF(keep, (size_t)IDLE_SPARES)) > 0;
}

bool log_tidy_all(struct log *l)
{
    return log_spares_drop(l, 0) > 0;
}

/* --- reading ---------------------------------------------------------------- */

struct reader {
    struct log *l;
    struct log_read *out;
    uint64_t from;
    size_t cap;
    uint32_t salt; /* Of the segment that is being read. */
};

/* Drops what was collected from `index` on: it was written over later. */
static void reader_cut(struct reader *r, uint64_t index)
{
    uint64_t keep = index > r->from ? index - r->from : 0;
    r->out->count = (uint32_t)MIN_OF((uint64_t)r->out->count, keep);
}

static void reader_take(struct reader *r, const struct log_record *rec)
{
    if (rec->type == LOG_RESET)
        reader_cut(r, 0);
    if (rec->type != LOG_ENTRY)
        return;
    reader_cut(r, rec->index);
    if (rec->index != r->from + r->out->count)
        return;
    if (r->out->count == r->cap) {
        r->cap = MAX_OF(r->cap * 2, (size_t)64);
        r->out->entries = xrealloc(r->out->entries, r->cap * sizeof(*r->out->entries));
    }
    /* An offset for now: the buffer still moves. */
    uintptr_t at = (uintptr_t)(rec->data - r->out->bytes.data);
    r->out->entries[r->out->count++] =
        (struct log_entry){rec->index, rec->term, rec->kind, (const uint8_t *)at, rec->len};
}

/* Reads one batch into the output. *ret_next: where the next one starts. */
static int reader_batch(struct reader *r, int fd, uint64_t offset, uint64_t *ret_next)
{
    struct disk *d = r->l->disk;
    uint8_t header[LOG_BATCH_HEADER_BYTES];
    struct log_batch_header h;
    ssize_t got = disk_pread_full(d, fd, header, sizeof(header), offset);
    if (got < 0)
        return E_IO;
    if (got < (ssize_t)sizeof(header) || !log_batch_header_decode(header, r->salt, &h))
        return E_CORRUPT;
    size_t at = r->out->bytes.len;
    uint8_t *body = buf_reserve(&r->out->bytes, h.body_bytes);
    got = disk_pread_full(d, fd, body, h.body_bytes, offset + sizeof(header));
    if (got < 0)
        return E_IO;
    if (got < (ssize_t)h.body_bytes)
        return E_CORRUPT;
    buf_commit(&r->out->bytes, h.body_bytes);
    uint32_t before = r->out->count;
    struct log_record rec;
    size_t pos = 0;
    for (uint32_t i = 0; i < h.record_count; i++) {
        /* The decoder's data must point at where the buffer is now. */
        if (!log_record_decode(r->out->bytes.data + at, h.body_bytes, &pos, r->salt, &rec))
            return E_CORRUPT;
        reader_take(r, &rec);
    }
    if (before == 0 && r->out->count == 0)
        buf_truncate(&r->out->bytes, at);
    *ret_next = offset + sizeof(header) + h.body_bytes;
    return 0;
}

/* Reads batches of one segment from offset up to `end`. */
static int reader_span(struct reader *r, uint64_t segment, uint64_t offset, uint64_t end,
                       uint64_t bytes_max, struct error *err)
{
    struct disk *d = r->l->disk;
    AUTO_FREE char *path = log_segment_path(r->l, segment);
    int fd = d->ops->open(d, path, DISK_READ);
    if (fd < 0)
        return error_set_errno(err, E_IO, -fd, "cannot open %s", path);
    int rc = 0;
    uint64_t next = offset;
    while (rc == 0 && next < end && (r->out->count == 0 || r->out->bytes.len < bytes_max)) {
        offset = next;
        rc = reader_batch(r, fd, offset, &next);
    }
    d->ops->close(d, fd);
    if (rc < 0)
        return error_set(err, rc, "%s: cannot read the batch at offset %" PRIu64, path, offset);
    return 0;
}

int log_read(struct log *l, uint64_t index, uint64_t bytes_max, struct log_read *ret,
             struct error *err)
{
    *ret = (struct log_read){.bytes = BUF_INIT};
    if (l->find_count == 0 || index < l->finds[0].index || index > l->saved.last_index)
        return error_set(err, E_NOT_FOUND, "entry %" PRIu64 " is not in the log", index);
    size_t i = l->find_count - 1;
    while (l->finds[i].index > index)
        i--;
    struct reader r = {.l = l, .out = ret, .from = index};
    for (; i < l->find_count; i++) {
        const struct log_find *f = &l->finds[i], *next = i + 1 < l->find_count ? f + 1 : NULL;
        const struct log_segment *s = &l->segments[f->segment - l->segments[0].number];
        uint64_t end = s->end;
        r.salt = s->salt;
        if (next != NULL && next->segment == f->segment)
            end = next->offset;
        int rc = reader_span(&r, f->segment, f->offset, end, bytes_max, err);
        /* What follows the next mark's index was written over there. */
        if (next != NULL)
            reader_cut(&r, next->index);
        if (rc < 0) {
            log_read_done(ret);
            return rc;
        }
        if (ret->count > 0 && ret->bytes.len >= bytes_max)
            break;
    }
    uint64_t total = 0;
    for (uint32_t k = 0; k < ret->count; k++) {
        total += ret->entries[k].len;
        if (k > 0 && total > bytes_max) {
            ret->count = k;
            break;
        }
        ret->entries[k].data = ret->bytes.data + (uintptr_t)ret->entries[k].data;
    }
    if (ret->count == 0) {
        log_read_done(ret);
        return error_set(err, E_CORRUPT, "entry %" PRIu64 " is missing from the log in %s", index,
                         l->dir);
    }
    return 0;
}

void log_read_done(struct log_read *r)
{
    buf_done(&r->bytes);
    free(r->entries);
    *r = (struct log_read){.bytes = BUF_INIT};
}
