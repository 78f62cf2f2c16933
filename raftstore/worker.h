/* worker.h - a thread that does blocking work in the order it was given.
 *
 * For disk work, which must not run on a loop nor in libuv's pool. All queued
 * work is taken at once and run, then on_turn: so that whatever arrived while a
 * sync was running shares the next one. */
#ifndef RAFTSTORE_WORKER_H
#define RAFTSTORE_WORKER_H

#include "lib/base/list.h"

#include <pthread.h>

struct work {
    struct list link;
    void (*run)(struct work *w); /* On the worker's thread; owns w. */
};

#define WORKER_NO_WAKE UINT64_MAX

struct worker {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct list queue; /* Guarded by lock, as are the next two. */
    bool stopping;
    bool started;
    /* After every turn, and again after the milliseconds it returned even when no
     * work came. May be NULL. */
    uint64_t (*on_turn)(void *arg);
    void *arg;
};

/* name: at most 15 characters, shown by ps and gdb. */
void worker_start(struct worker *w, const char *name, uint64_t (*on_turn)(void *arg), void *arg);
/* [any] Appends a list of work, left empty, or one piece. */
void worker_post_list(struct worker *w, struct list *works);
void worker_post(struct worker *w, struct work *work);
/* Runs what is queued, calls on_turn once more and joins. Not started: no-op. */
void worker_stop(struct worker *w);
/* [worker] True once worker_stop() was called: long work should end early. */
bool worker_stopping(struct worker *w);
/* [worker] Sleeps up to ms, less when the worker is to stop. */
void worker_sleep(struct worker *w, uint64_t ms);

#endif
