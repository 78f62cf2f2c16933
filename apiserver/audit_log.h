/* audit_log.h - a file of lines, written by a thread of its own, rotated by size.
 *
 * Old files get the time of their end into their name and are removed when
 * there are too many or they are too old. What cannot be held or written is
 * counted and told, and the server goes on. */
#ifndef APISERVER_AUDIT_LOG_H
#define APISERVER_AUDIT_LOG_H

#include "lib/base/base.h"
#include "lib/base/list.h"
#include "lib/base/str.h"

struct audit_log;
struct error;

/* What a writer of an event waits for; it stays until done(). */
struct audit_ticket {
    struct list link;
    void (*done)(struct audit_ticket *t, bool stored); /* On a thread of the backend. */
};

struct audit_log_config {
    const char *path;     /* "-": standard output. */
    uint64_t bytes_max;   /* Of one file; 0: any number. */
    int64_t buffer_count; /* Events that nobody waits for, held before they are written. */
    int64_t backups_max;  /* 0: all are kept. */
    int64_t age_days_max; /* 0: for ever. */
    bool compress;        /* Rotated files, by gzip. */
};

int audit_log_open(const struct audit_log_config *config, struct audit_log **ret,
                   struct error *err);
/* Writes what is waiting. NULL is a no-op. */
void audit_log_close(struct audit_log *l);
/* Any thread; never blocks on the disk. line is copied and ended. ticket: done() follows,
 * maybe within this call; NULL: nobody waits. */
void audit_log_write(struct audit_log *l, struct str line, struct audit_ticket *ticket);
/* Counts events that a backend or what stands before it has lost. */
void audit_lost(const char *plugin, size_t count);
uint64_t audit_log_dropped(const struct audit_log *l);

#endif
