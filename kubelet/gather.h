/* gather.h - from many small changes to few runs: what the parts share that
 * keep something in step with objects of the API.
 *
 * Loop-confined. run() is called soon after the first change, once all sources
 * have spoken, and never while an earlier run's work is under way.
 *
 *   informer handlers -> gather_changed() -> [delay] -> run() -> gather_busy() .. gather_done() */
#ifndef KUBELET_GATHER_H
#define KUBELET_GATHER_H

#include "lib/base/base.h"

#include <uv.h>

struct informer_handler;

#define GATHER_SOURCES_MAX 4

struct gather_config {
    uint64_t delay_ms; /* After a change, for more to come. */
    /* Runs take at most this part of the time, 1/share, whatever changes: the next one waits
     * so much longer than one has taken. 0: no limit. */
    unsigned share;
    void (*run)(void *arg);
    void *arg; /* Borrowed. */
};

struct gather;

struct gather_source {
    struct gather *g;
    bool synced;
};

struct gather {
    struct gather_config config;
    uv_timer_t timer;
    bool dirty, busy, stopped;
    uint64_t spent_ns; /* By the last run. */
    uint64_t not_before_ms;
    struct gather_source sources[GATHER_SOURCES_MAX];
    size_t source_count;
};

void gather_init(struct gather *g, uv_loop_t *loop, const struct gather_config *config);
/* A handler for an informer, a new source: every add, update and deletion counts as a change.
 * Callers may put their own in place of single functions: those get the source as arg and find
 * themselves by gather_owner(). */
struct informer_handler gather_handler(struct gather *g);
void *gather_owner(void *source); /* The config's arg. */
void gather_changed(struct gather *g);
/* Run again in ms, as if something had changed. */
void gather_again(struct gather *g, uint64_t ms);
/* From run(): its work goes on; no other run until gather_done(), however it ends. spent_ns: what
 * of that counts for the share besides run() itself. */
void gather_busy(struct gather *g);
void gather_done(struct gather *g, uint64_t spent_ns);
void gather_stop(struct gather *g);

#endif
