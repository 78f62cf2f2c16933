/* log_spare.c - segments that are not needed any more, kept to be written again.
 *
 * A sync of a file whose room was written before changes no metadata: it takes two
 * thirds of the time, and nothing is reserved or given back while writes wait
 * (deleting a segment stops the log thread for some 10 ms where the file system
 * discards). What the file holds is overwritten bit by bit; the salt of its new
 * life keeps anybody from believing the rest.
 *
 * Happy path: log_trim() renames a segment to spare-<number>.seg, the folder is
 * synced; log_roll() puts a new header into a spare, syncs it and renames it to the
 * next segment.
 *
 * Failure modes: until the folder is synced a crash may bring the old name back, so
 * nothing is written into a spare before; when that sync fails, the spare is
 * deleted instead. A crash while its header is written leaves a spare, of which
 * only the size counts. */
#include "raftstore/log_internal.h"

#include "lib/base/log.h"
#include "raftstore/disk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static char *spare_path(const struct log *l, uint64_t number)
{
    char name[LOG_NAME_BYTES];
    snprintf(name, sizeof(name), "spare-%016" PRIx64 ".seg", number);
    return log_path(l, name);
}

static void note(struct log *l, uint64_t number)
{
    if (l->spares.count == l->spares.cap) {
        l->spares.cap = MAX_OF(l->spares.cap * 2, (size_t)16);
        l->spares.numbers = xrealloc(l->spares.numbers, l->spares.cap * sizeof(*l->spares.numbers));
    }
    l->spares.numbers[l->spares.count++] = number;
}

static void on_name(const char *name, void *arg)
{
    struct log *l = arg;
    char again[LOG_NAME_BYTES];
    uint64_t number;
    if (strlen(name) != 26 || sscanf(name, "spare-%16" SCNx64 ".seg", &number) != 1)
        return;
    snprintf(again, sizeof(again), "spare-%016" PRIx64 ".seg", number);
    if (strcmp(name, again) == 0)
        note(l, number);
}

void log_spares_find(struct log *l)
{
    (void)l->disk->ops->list(l->disk, l->dir, on_name, l); /* Else they lie there. */
    l->spares.settled = l->spares.count;
}

/* Deletes the last one. */
static int drop_last(struct log *l)
{
    AUTO_FREE char *path = spare_path(l, l->spares.numbers[--l->spares.count]);
    l->spares.settled = MIN_OF(l->spares.settled, l->spares.count);
    int rc = failpoint(FP_LOG_SPARE_DELETE);
    return rc < 0 ? rc : l->disk->ops->unlink(l->disk, path);
}

size_t log_spares_drop(struct log *l, size_t keep)
{
    size_t dropped = 0;
    for (; l->spares.count > keep; dropped++)
        (void)drop_last(l); /* A file that stays is found at the next start. */
    return dropped;
}

int log_spare_retire(struct log *l, const struct log_segment *s)
{
    AUTO_FREE char *from = log_segment_path(l, s->number);
    if (s->bytes != l->segment_bytes || l->spares.count >= LOG_SPARES_MAX)
        return l->disk->ops->unlink(l->disk, from);
    AUTO_FREE char *to = spare_path(l, s->number);
    int rc = l->disk->ops->rename(l->disk, from, to);
    if (rc == 0)
        note(l, s->number);
    return rc;
}

void log_spares_settle(struct log *l)
{
    if (l->spares.settled == l->spares.count)
        return;
    int rc = failpoint(FP_LOG_SPARE_DIRSYNC);
    if (rc == 0 && !l->no_fsync)
        rc = l->disk->ops->sync_dir(l->disk, l->dir);
    if (rc == 0)
        l->spares.settled = l->spares.count;
    else
        log_spares_drop(l, l->spares.settled);
}

/* The newest: its pages are most likely in memory still. */
static int open_last(struct log *l, char **ret_path)
{
    AUTO_FREE char *path = spare_path(l, l->spares.numbers[l->spares.count - 1]);
    struct disk *d = l->disk;
    int rc = failpoint(FP_LOG_SPARE_OPEN);
    int fd = rc < 0 ? rc : d->ops->open(d, path, DISK_WRITE);
    if (fd >= 0 && d->ops->size(d, fd) != (int64_t)l->segment_bytes) {
        d->ops->close(d, fd);
        fd = -EINVAL;
    }
    if (fd >= 0)
        *ret_path = take(path);
    return fd;
}

int log_spare_take(struct log *l, char **ret_path)
{
    while (l->spares.settled > 0 && l->spares.settled == l->spares.count) {
        int fd = open_last(l, ret_path);
        if (fd >= 0) {
            l->spares.settled = --l->spares.count;
            return fd;
        }
        (void)drop_last(l);
    }
    return -ENOENT;
}
