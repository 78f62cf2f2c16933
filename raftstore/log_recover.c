/* log_recover.c - reads a log after a stop or a crash.
 *
 * Happy path: segments follow each other without gap, each is read batch by
 * batch up to the first sequence number of the next one, the last up to where
 * the zeros begin.
 *
 * Failure modes, by what is found where a batch should be in the last segment:
 *   nothing but zeros behind             the end
 *   no later header says it was durable  a torn write, never acknowledged: cut
 *   a later header says it was durable   damage: refuse
 * A segment in a file that held an older one never ends in zeros. What is behind its
 * last batch is left alone, as after a torn write, which may be part of it.
 * Anything unreadable in an earlier segment is damage, since a segment starts
 * only once all before it is durable. */
#include "raftstore/log_internal.h"

#include "lib/base/error.h"
#include "lib/base/log.h"
#include "raftstore/disk.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

struct numbers {
    uint64_t *items;
    size_t count;
    size_t cap;
};

static void collect(const char *name, void *arg)
{
    struct numbers *n = arg;
    uint64_t number;
    if (!log_segment_name_parse(name, &number))
        return;
    if (n->count == n->cap) {
        n->cap = MAX_OF(n->cap * 2, (size_t)16);
        n->items = xrealloc(n->items, n->cap * sizeof(*n->items));
    }
    n->items[n->count++] = number;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* E_CORRUPT with the one way out that loses nothing. */
static int damaged(struct log *l, uint64_t number, uint64_t offset, const char *what,
                   struct error *err)
{
    char name[LOG_NAME_BYTES];
    log_segment_name(number, name);
    return error_set(
        err, E_CORRUPT,
        "%s/%s is damaged at offset %" PRIu64 ": %s. Acknowledged writes may be missing, so this "
        "member must not go on with this data. In a cluster: remove the member on a healthy one, "
        "move %s away, and join again as a new member. Alone: restore a snapshot.",
        l->dir, name, offset, what, l->dir);
}

/* One segment in memory. */
struct scan {
    struct log *l;
    uint64_t number;
    uint8_t *bytes;
    uint64_t size;
    struct log_segment_header header;
    uint32_t salt;
};

static int read_segment(struct scan *s, int fd, struct error *err)
{
    struct disk *d = s->l->disk;
    int64_t size = d->ops->size(d, fd);
    if (size < 0)
        return error_set_errno(err, E_IO, (int)-size, "cannot stat the log segment");
    if (size < LOG_SEGMENT_HEADER_BYTES)
        return damaged(s->l, s->number, 0, "the segment header is missing", err);
    s->size = (uint64_t)size;
    s->bytes = malloc(s->size);
    if (s->bytes == NULL)
        return error_set(err, E_NO_MEMORY, "no memory to read a log segment of %" PRId64 " bytes",
                         size);
    ssize_t got = disk_pread_full(d, fd, s->bytes, s->size, 0);
    if (got < 0)
        return error_set_errno(err, E_IO, (int)-got, "cannot read a log segment");
    s->size = (uint64_t)got;
    return 0;
}

/* The header must say what the segments before it came to. */
static int check_header(struct scan *s, bool first, struct error *err)
{
    struct log *l = s->l;
    const struct log_segment_header *h = &s->header;
    struct error why = {0};
    if (s->size < LOG_SEGMENT_HEADER_BYTES)
        return damaged(l, s->number, 0, "the segment header is missing", err);
    int rc = log_segment_header_decode(s->bytes, &s->header, &why);
    if (rc == E_INVALID)
        return error_set(err, rc, "%s: %s", l->dir, error_message(&why));
    if (rc < 0)
        return damaged(l, s->number, 0, error_message(&why), err);
    if (h->number != s->number)
        return damaged(l, s->number, 0, "the file's name and header disagree on its number", err);
    if (s->size < h->bytes)
        return damaged(l, s->number, s->size, "the file was cut short", err);
    s->salt = log_segment_salt(h);
    if (first) {
        l->cluster_id = h->cluster_id;
        l->member_id = h->member_id;
        l->salt = h->salt;
        l->instance = h->instance;
        l->joined = h->joined;
        l->seq = h->first_seq;
        l->now = (struct log_position){.term = h->term,
                                       .vote = h->vote,
                                       .boot = h->boot,
                                       .last_index = h->prev_index,
                                       .last_term = h->prev_term};
        return 0;
    }
    if (h->cluster_id != l->cluster_id || h->member_id != l->member_id ||
        h->instance != l->instance || h->salt != l->salt)
        return damaged(l, s->number, 0, "the segment belongs to another log", err);
    if (h->first_seq != l->seq || h->prev_index != l->now.last_index ||
        h->prev_term != l->now.last_term || h->term != l->now.term || h->vote != l->now.vote ||
        h->boot != l->now.boot)
        return damaged(l, s->number, 0, "the segment does not continue the one before it", err);
    return 0;
}

/* The batch at offset, if it is whole and the next in sequence. Applies it. */
static bool scan_batch(struct scan *s, uint64_t offset, uint64_t limit_seq,
                       struct log_batch_header *ret)
{
    struct log *l = s->l;
    uint64_t left = s->size - offset;
    if (left < LOG_BATCH_HEADER_BYTES ||
        !log_batch_header_decode(s->bytes + offset, s->salt, ret) || ret->seq != l->seq ||
        ret->seq >= limit_seq || ret->body_bytes > left - LOG_BATCH_HEADER_BYTES)
        return false;
    struct log_position pos = l->now;
    struct log_effect effect = {.low = UINT64_MAX};
    const uint8_t *body = s->bytes + offset + LOG_BATCH_HEADER_BYTES;
    struct log_record r;
    size_t at = 0;
    for (uint32_t i = 0; i < ret->record_count; i++)
        if (!log_record_decode(body, ret->body_bytes, &at, s->salt, &r) ||
            !log_record_account(&r, &pos, &effect))
            return false;
    if (at != ret->body_bytes)
        return false;
    log_find_note(l, &effect, l->now.last_index, s->number, offset);
    l->now = pos;
    l->seq++;
    return true;
}

/* Is there a batch behind offset that was made when batch `seq` was durable? */
static bool durable_evidence(const struct scan *s, uint64_t offset, uint64_t seq)
{
    struct log_batch_header h;
    for (; offset + LOG_BATCH_HEADER_BYTES <= s->size; offset += LOG_ALIGN)
        if (log_batch_header_decode(s->bytes + offset, s->salt, &h) && h.durable_seq >= seq)
            return true;
    return false;
}

static bool all_zero(const uint8_t *p, uint64_t n)
{
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* Batches that were written but perhaps never synced are read from the page
 * cache now and could still be lost: write them again and sync. */
static int make_durable(struct scan *s, int fd, uint64_t from, uint64_t to, struct error *err)
{
    struct disk *d = s->l->disk;
    int rc = failpoint_pwrite_all(FP_LOG_RECOVER_WRITE, d, fd, s->bytes + from, to - from, from);
    if (rc == 0)
        rc = log_sync_fd(s->l, FP_LOG_RECOVER_SYNC, fd);
    if (rc < 0)
        return error_set_errno(err, disk_error(rc), -rc, "cannot sync the log in %s", s->l->dir);
    return 0;
}

/* The end of the last segment: see the top. */
static int settle_tail(struct scan *s, int fd, uint64_t offset, uint64_t undurable,
                       struct error *err)
{
    struct log *l = s->l;
    if (durable_evidence(s, offset, l->seq))
        return damaged(l, s->number, offset, "a batch that was durable cannot be read", err);
    if (!all_zero(s->bytes + offset, s->size - offset)) {
        if (!s->header.reused)
            log_info("%s: cut a torn write of segment %" PRIu64 " at offset %" PRIu64
                     "; it was never acknowledged",
                     l->dir, s->number, offset);
        l->must_roll = true; /* Leaves the remains as they are. */
    }
    if (undurable < offset) {
        int rc = make_durable(s, fd, undurable, offset, err);
        if (rc < 0)
            return rc;
    }
    l->durable_seq = l->seq - 1;
    return 0;
}

/* next: the header of the segment that follows, NULL for the last one. */
static int scan_batches(struct scan *s, int fd, const struct log_segment_header *next,
                        struct error *err)
{
    struct log *l = s->l;
    uint64_t limit_seq = next != NULL ? next->first_seq : UINT64_MAX;
    uint64_t offset = LOG_SEGMENT_HEADER_BYTES;
    /* The first batch that no later one calls durable. At most three stand
     * there (a mark and the batch behind it), so the search starts anew. */
    uint64_t durable = s->header.first_seq - 1, undurable = offset;
    struct log_batch_header h;
    while (l->seq < limit_seq && scan_batch(s, offset, limit_seq, &h)) {
        offset += LOG_BATCH_HEADER_BYTES + h.body_bytes;
        durable = MAX_OF(durable, h.durable_seq);
    }
    for (uint64_t at = undurable; at < offset; at += LOG_BATCH_HEADER_BYTES + h.body_bytes) {
        if (!log_batch_header_decode(s->bytes + at, s->salt, &h) || h.seq > durable)
            break;
        undurable = at + LOG_BATCH_HEADER_BYTES + h.body_bytes;
    }
    log_last(l)->end = offset;
    if (next != NULL)
        return l->seq == limit_seq
                   ? 0
                   : damaged(l, s->number, offset, "a batch of a full segment cannot be read", err);
    return settle_tail(s, fd, offset, undurable, err);
}

static int peek_header(struct log *l, uint64_t number, struct log_segment_header *ret,
                       struct error *err)
{
    struct disk *d = l->disk;
    AUTO_FREE char *path = log_segment_path(l, number);
    int fd = d->ops->open(d, path, DISK_READ);
    if (fd < 0)
        return error_set_errno(err, E_IO, -fd, "cannot open %s", path);
    uint8_t bytes[LOG_SEGMENT_HEADER_BYTES];
    struct error why = {0};
    ssize_t got = disk_pread_full(d, fd, bytes, sizeof(bytes), 0);
    d->ops->close(d, fd);
    if (got < 0)
        return error_set_errno(err, E_IO, (int)-got, "cannot read %s", path);
    if (got < (ssize_t)sizeof(bytes) || log_segment_header_decode(bytes, ret, &why) < 0)
        return damaged(l, number, 0, "the segment header cannot be read", err);
    return 0;
}

static int recover_segment(struct log *l, const struct numbers *n, size_t i, struct error *err)
{
    struct disk *d = l->disk;
    struct scan s = {.l = l, .number = n->items[i]};
    struct log_segment_header next;
    bool last = i + 1 == n->count;
    int rc = last ? 0 : peek_header(l, n->items[i + 1], &next, err);
    if (rc < 0)
        return rc;
    AUTO_FREE char *path = log_segment_path(l, s.number);
    int fd = d->ops->open(d, path, DISK_WRITE);
    if (fd < 0)
        return error_set_errno(err, E_IO, -fd, "cannot open %s", path);
    rc = read_segment(&s, fd, err);
    if (rc == 0)
        rc = check_header(&s, i == 0, err);
    if (rc == 0) {
        log_segment_push(
            l, &(struct log_segment){
                   .number = s.number, .bytes = s.size, .salt = s.salt, .reused = s.header.reused});
        rc = scan_batches(&s, fd, last ? NULL : &next, err);
    }
    free(s.bytes);
    if (rc == 0 && last)
        l->fd = fd;
    else
        d->ops->close(d, fd);
    return rc;
}

static int recover_segments(struct log *l, struct numbers *n, struct error *err)
{
    if (n->count == 0)
        return error_set(err, E_NOT_FOUND, "%s holds no log", l->dir);
    qsort(n->items, n->count, sizeof(*n->items), by_number);
    for (size_t i = 0; i < n->count; i++) {
        if (i > 0 && n->items[i] != n->items[i - 1] + 1)
            return damaged(l, n->items[i - 1] + 1, 0, "the file is missing", err);
        int rc = recover_segment(l, n, i, err);
        if (rc < 0)
            return rc;
    }
    l->saved = l->now;
    return 0;
}

int log_recover(struct log *l, struct error *err)
{
    struct disk *d = l->disk;
    /* A segment that was being made when the process died. */
    AUTO_FREE char *tmp = log_path(l, LOG_TMP_NAME);
    (void)d->ops->unlink(d, tmp);
    log_spares_find(l);
    struct numbers n = {0};
    int rc = d->ops->list(d, l->dir, collect, &n);
    rc = rc < 0 ? error_set_errno(err, E_IO, -rc, "cannot list %s", l->dir)
                : recover_segments(l, &n, err);
    free(n.items);
    return rc;
}
