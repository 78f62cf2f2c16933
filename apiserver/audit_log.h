/* audit_log.h - a file of lines, written by a thread of its own, rotated by size.
 *
 * Old files get the time of their end into their name and are removed when
 * there are too many or they are too old. What cannot be held or written is
 * counted and told, and the server goes on. */
#ifndef APISERVER_AUDIT_LOG_H
#define APISERVER_AUDIT_LOG_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct audit_log;
struct error;

struct audit_log_config {
    const char *path;     /* "-": standard output. */
    uint64_t bytes_max;   /* Of one file. */
    int64_t backups_max;  /* 0: all are kept. */
    int64_t age_days_max; /* 0: for ever. */
    bool compress;        /* Rotated files, by gzip. */
};

int audit_log_open(const struct audit_log_config *config, struct audit_log **ret,
                   struct error *err);
/* Writes what is waiting. NULL is a no-op. */
void audit_log_close(struct audit_log *l);
/* Any thread; never blocks on the disk. line is copied and ended. */
void audit_log_write(struct audit_log *l, struct str line);
uint64_t audit_log_dropped(const struct audit_log *l);

#endif
