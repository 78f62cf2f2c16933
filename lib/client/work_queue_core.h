/* work_queue_core.h - the pure part of the work queue: which key is next, and
 * when a delayed one is due. Time comes in as an argument.
 *
 *            add                take               done
 *   (none) --------> WAITING --------> PROCESSING --------> (none)
 *                       ^   add while processing: dirty,      |
 *                       +------- waits again after done ------+
 * Independently of this a key may be due at some later time. */
#ifndef CLIENT_WORK_QUEUE_CORE_H
#define CLIENT_WORK_QUEUE_CORE_H

#include "lib/base/heap.h"
#include "lib/base/list.h"
#include "lib/base/map.h"

/* Of both there are keys: one of so many taken is a low one, so that none starves. */
#define WORK_LOW_EVERY 10

struct work_item {
    struct list ready;       /* In core.ready while waiting. */
    struct heap_node by_due; /* In core.delayed while delayed. */
    uint64_t due_ms;
    uint64_t since_ms; /* Waiting, or in process, since then. */
    unsigned requeues;
    bool waiting;
    bool processing;
    bool dirty; /* Added while processing. */
    bool low;   /* Waits, or is to wait again, behind the others. */
    size_t key_len;
    char key[]; /* NUL behind. */
};

struct work_queue_core {
    uint64_t now_ms; /* Of the present call, set by the caller: for since_ms. */
    uint64_t adds;   /* How often a key began to wait. */
    struct map items;
    struct list ready[2]; /* Normal, low. */
    struct heap delayed;
    size_t ready_count; /* Of both. */
    unsigned since_low; /* Normal ones taken while low ones waited. */
    size_t busy_count;
    uint32_t base_delay_ms;
    uint32_t max_delay_ms;
    double qps;
    double burst;
    double tokens; /* May be negative: reserved ahead. */
    uint64_t tokens_at_ms;
};

/* Zeros take the defaults of work_queue.h. */
void work_core_init(struct work_queue_core *c, uint32_t base_delay_ms, uint32_t max_delay_ms,
                    double qps, unsigned burst, uint64_t now_ms);
void work_core_done(struct work_queue_core *c);
void work_core_add(struct work_queue_core *c, struct str key);
/* As backlog; a later work_core_add() of the key brings it forward. */
void work_core_add_low(struct work_queue_core *c, struct str key);
void work_core_add_at(struct work_queue_core *c, struct str key, uint64_t due_ms);
/* Counts a retry and returns how long it is to wait. */
uint64_t work_core_backoff(struct work_queue_core *c, struct str key, uint64_t now_ms);
void work_core_forget(struct work_queue_core *c, struct str key);
unsigned work_core_requeues(const struct work_queue_core *c, struct str key);
/* Moves what is due to the waiting ones. */
void work_core_tick(struct work_queue_core *c, uint64_t now_ms);
/* All delayed ones wait now, as backlog. */
void work_core_hasten(struct work_queue_core *c);
/* When the next delayed key is due; UINT64_MAX: none. */
uint64_t work_core_next_due(const struct work_queue_core *c);
/* The next waiting key, now in process; NULL: none. Borrowed until finish. */
struct work_item *work_core_take(struct work_queue_core *c);
void work_core_finish(struct work_queue_core *c, struct str key);

#endif
