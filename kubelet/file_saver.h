/* file_saver.h - a state in memory and its file: changes that come while a write is under way are
 * one more, and whoever changed something can wait until it is on the disk. Loop-confined; the
 * writing itself happens on another thread (job.h), durably (file_write_atomic). */
#ifndef KUBELET_FILE_SAVER_H
#define KUBELET_FILE_SAVER_H

#include "lib/base/error.h"
#include "lib/base/list.h"

#include <stdbool.h>

struct buf;
struct uv_loop_s;

struct file_saver {
    struct uv_loop_s *loop;
    char *path; /* Owned. */
    /* Appends the state as it is now. Runs on the loop. */
    void (*write)(const void *state, struct buf *out);
    const void *state; /* Borrowed for ever. */
    bool saving;
    bool failed;         /* The last one: what changed since is on no disk. */
    struct list waiting; /* struct waiter of file_saver.c */
};

/* Lives as long as the program. */
void file_saver_init(struct file_saver *s, struct uv_loop_s *loop, char *path,
                     void (*write)(const void *state, struct buf *out), const void *state);
/* Writes, soon; nobody waits. What fails is logged. */
void file_saver_save(struct file_saver *s);
/* saved runs later, once, when all that the state holds now is on the disk, or is not. */
void file_saver_save_then(struct file_saver *s,
                          void (*saved)(int code, const struct error *err, void *arg), void *arg);

#endif
