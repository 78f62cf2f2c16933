/* start_gate.h - how many sandboxes and containers are being started at one time.
 *
 * A start is work of processors: namespaces, mounts, runc's processes. More of them at once than
 * keep the processors busy end no sooner all together, only each one later: of a hundred pods that
 * come at the same moment the median runs after half the time when they take turns
 * (docs/performance.md). So a start takes a turn, and gives it back when the runtime has answered.
 *
 *   waiting --(fewer than width are out)--> ready() --> out --start_gate_leave()--> none
 *
 * Turns go first to containers of pods that have begun, then by the pod's priority, then in the
 * order of asking. Two things keep whoever is slow without using a processor (a network plugin that
 * waits, a hung runtime) from holding up the others: after START_GATE_LEND_MS a turn counts no
 * more, and while processors idle, each look lets in one more start for each of them; as many fewer
 * again when they do not.
 *
 * start_gate.c decides, and is pure; start_gate_uv.c has the timer and reads the machine's load.
 * Loop-confined. */
#ifndef KUBELET_START_GATE_H
#define KUBELET_START_GATE_H

#include "lib/base/list.h"

#define START_GATE_LOOK_MS 100u
#define START_GATE_LEND_MS 2000u
/* Idle enough for more: this share of the time between two looks, in percent. */
#define START_GATE_IDLE_PERCENT 25u

struct defer_queue;
struct start_gate;
struct uv_loop_s;

enum start_rank { START_RANK_CONTAINER, START_RANK_SANDBOX };

/* Embedded by who starts something; start_turn_init() first. */
struct start_turn {
    struct list link;
    enum { TURN_NONE, TURN_WAITING, TURN_OUT, TURN_LENT } state;
    enum start_rank rank;
    int64_t priority;   /* Of the pod; higher goes first. */
    uint64_t since_ms;  /* When it asked; when it went out. */
    uint64_t waited_ms; /* Once it is out. */
    void (*ready)(struct start_turn *t);
};

/* --- deciding ----------------------------------------------------------------------------- */

struct start_queue {
    struct list waiting; /* In the order in which they go. */
    struct list out;
    unsigned width;     /* Out at one time. */
    unsigned out_count; /* Those that count. */
    unsigned extra;     /* Let in beyond width, since processors idle. */
};

void start_queue_init(struct start_queue *q, unsigned width);
/* t waits; start_queue_next() says when its turn is. */
void start_queue_enter(struct start_queue *q, struct start_turn *t, uint64_t now_ms);
/* Whether it waits or is out; of one that is neither: nothing. */
void start_queue_leave(struct start_queue *q, struct start_turn *t);
/* Takes the next one out whose turn it is; NULL: none. */
struct start_turn *start_queue_next(struct start_queue *q, uint64_t now_ms);
/* A look at the machine: processors of them idled for idle_percent of the time since the last. */
void start_queue_look(struct start_queue *q, unsigned processors, unsigned idle_percent,
                      uint64_t now_ms);

/* --- acting ------------------------------------------------------------------------------- */

/* Lives as long as the program. */
struct start_gate *start_gate_new(struct uv_loop_s *loop, struct defer_queue *deferred);
void start_turn_init(struct start_turn *t, void (*ready)(struct start_turn *t));
/* ready comes later, once, unless the turn is left before. */
void start_gate_enter(struct start_gate *g, struct start_turn *t, enum start_rank rank,
                      int64_t priority);
void start_gate_leave(struct start_gate *g, struct start_turn *t);

#endif
