/* flow_set.h - the queues of one priority level: who runs, who waits, who is refused.
 *
 * Pure: no clock, lock or I/O; the caller locks, passes the time (monotonic
 * nanoseconds), and carries out what comes back in lists.
 *
 *   start -> EXECUTE | WAIT | refused        WAIT -> handed out later | cancelled
 *   finish -> (lingering -> release)         each may hand out others that waited
 *
 * Fair queuing as kube-apiserver does it: a flow's hash deals it a hand of
 * queues, the emptiest takes the request, and seats go to the queue whose oldest
 * request would end first had all queues equal shares (virtual time R, in
 * seat-seconds per queue). */
#ifndef APISERVER_FLOW_SET_H
#define APISERVER_FLOW_SET_H

#include "apiserver/flow_timing.h"
#include "lib/base/base.h"
#include "lib/base/heap.h"
#include "lib/base/list.h"

struct flow_queue;

/* What a request is thought to cost. */
struct flow_work {
    uint32_t seats;       /* While it runs, at least 1. */
    uint32_t final_seats; /* For extra_ns behind its end: what its change causes in watches. */
    uint64_t extra_ns;
};

/* Requests of one schema in one level; for metrics. */
struct flow_counts {
    int32_t executing, executing_seats, waiting, waiting_seats;
    uint64_t dispatched, no_accommodation;
    uint64_t refused_limit, refused_full, refused_time;
};

enum flow_state { FLOW_NEW, FLOW_WAITING, FLOW_EXECUTING, FLOW_LINGERING, FLOW_ENDED };

/* A request in a set; embedded, and the set's while it waits, executes or lingers. */
struct flow_ticket {
    struct list link; /* Waiting: in its queue. Executing: in the set's list. */
    struct list out;  /* In the list of those that were handed out. */
    enum flow_state state;
    struct flow_queue *queue; /* NULL: did not go through one. */
    struct flow_counts *counts;
    struct flow_work work;
    int64_t total_work; /* All of it, as virtual time. */
    int64_t arrival_r;
    uint64_t arrival_ns, start_ns; /* start_ns 0: has not begun. */
};

struct flow_queue {
    struct heap_node ready; /* In the set's heap while requests wait. */
    struct list link;       /* Of the set's active or spare ones. */
    struct list waiting;
    uint32_t index, waiting_count, executing, seats_in_use;
    uint64_t waiting_seats, waiting_initial;
    int64_t waiting_work;
    int64_t next_r; /* Virtual time at which its next request starts. */
    uint64_t turn;  /* When it was served or began: the oldest comes first at a tie. */
};

struct flow_set_config {
    int32_t queues; /* -1: exempt, everything runs. 0: what has no seat is refused. */
    int32_t hand_size, queue_length_max;
};

/* What happened so far. */
struct flow_set_totals {
    uint64_t dispatched, rejected, timed_out, cancelled, epochs;
};

struct flow_set {
    struct flow_set_config config;
    int32_t limit; /* Seats. */
    struct flow_queue **queues;
    int32_t queue_cap;
    struct heap ready;
    struct list active, spare; /* Queues with requests, and empty ones to use again. */
    struct list executing;
    int32_t requests_executing, requests_waiting, lingering;
    int64_t seats_in_use, seats_waiting;
    int64_t queue_seats;    /* In use by requests that went through a queue. */
    uint32_t active_queues; /* With waiting or executing requests. */
    int64_t current_r;
    uint64_t last_ns, enqueues, turn;
    struct flow_set_totals totals;
    struct flow_demand demand;
    struct flow_timing executing_ratio, waiting_ratio, seats_ratio;
    /* At the latest dispatch from a queue: virtual times, for metrics. */
    struct {
        int64_t r, s;
    } latest;
};

enum flow_outcome { FLOW_EXECUTE, FLOW_WAIT, FLOW_REFUSED_LIMIT, FLOW_REFUSED_FULL };

void flow_set_init(struct flow_set *s, uint64_t now_ns);
void flow_set_done(struct flow_set *s); /* Must be idle. */
/* Can hands be dealt so? Bounds what a hash of 64 bits is enough for, as upstream. */
bool flow_set_config_valid(const struct flow_set_config *c);
/* limit: seats; denominator: what utilisation is measured by, > 0. *ret_out gets
 * the tickets that may run now. */
void flow_set_configure(struct flow_set *s, const struct flow_set_config *c, int32_t limit,
                        int32_t denominator, uint64_t now_ns, struct list *ret_out);

/* The ticket's counts and work are set. Those that may run now besides it are
 * handed out through ret_out. A refused ticket is nobody's. */
enum flow_outcome flow_set_start(struct flow_set *s, struct flow_ticket *t, uint64_t hash,
                                 uint64_t now_ns, struct list *ret_out);
/* False: waits no more. After true the ticket is nobody's. timed_out: it waited
 * too long; else its client went away. */
bool flow_set_cancel(struct flow_set *s, struct flow_ticket *t, bool timed_out, uint64_t now_ns,
                     struct list *ret_out);
/* An executing ticket is done. True: its seats linger: call flow_set_release()
 * after work.extra_ns, on this ticket or on a copy of it. */
bool flow_set_finish(struct flow_set *s, struct flow_ticket *t, uint64_t now_ns,
                     struct list *ret_out);
void flow_set_release(struct flow_set *s, struct flow_ticket *t, uint64_t now_ns,
                      struct list *ret_out);

bool flow_set_is_idle(const struct flow_set *s);
/* Brings time-weighted figures up to now. */
void flow_set_sync(struct flow_set *s, uint64_t now_ns);
uint32_t flow_work_seats(const struct flow_work *w); /* The most it takes at once. */
/* Fills hand with config->hand_size different queues. */
#define FLOW_HAND_MAX 15
void flow_deal(uint64_t hash, int32_t queues, int32_t hand_size, int32_t hand[FLOW_HAND_MAX]);
/* Aborts unless counts agree: for tests. */
void flow_set_check(const struct flow_set *s);

/* Virtual time in units of 10 ns of one seat. */
#define FLOW_R_PER_SECOND INT64_C(100000000)

#endif
