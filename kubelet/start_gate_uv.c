/* start_gate_uv.c - see start_gate.h: turns handed out on the loop, looks at the machine's load. */
#include "kubelet/start_gate.h"

#include "lib/base/file.h"
#include "lib/base/loop.h"
#include "lib/base/str.h"

#include <stdio.h>
#include <uv.h>

/* Enough to keep every processor busy while others wait for the disk or a lock. */
#define STARTS_PER_PROCESSOR 2u
#define WIDTH_MIN 4u

struct start_gate {
    struct start_queue queue;
    struct defer_queue *deferred;
    struct deferred hand_out; /* Turns, at the end of this round of the loop. */
    uv_timer_t look;          /* Active while somebody waits. */
    unsigned processors;
    uint64_t idle, total; /* Clock ticks of all processors, at the last look. */
};

/* The first line of /proc/stat (proc(5)): user nice system idle iowait irq softirq steal. False:
 * it cannot be read, which counts as busy. */
static bool read_ticks(uint64_t *ret_idle, uint64_t *ret_total)
{
    unsigned long long t[8] = {0};
    FILE *f = fopen("/proc/stat", "re");
    if (f == NULL)
        return false;
    int n = fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &t[0], &t[1], &t[2], &t[3],
                   &t[4], &t[5], &t[6], &t[7]);
    fclose(f);
    *ret_idle = t[3] + t[4];
    *ret_total = 0;
    for (int i = 0; i < 8; i++)
        *ret_total += t[i];
    return n == 8;
}

static unsigned idle_since_last(struct start_gate *g)
{
    uint64_t idle, total;
    if (!read_ticks(&idle, &total))
        return 0;
    uint64_t idled = idle - g->idle, passed = total - g->total;
    g->idle = idle;
    g->total = total;
    return passed > 0 && idled <= passed ? (unsigned)(idled * 100 / passed) : 0;
}

static void on_look(uv_timer_t *timer)
{
    struct start_gate *g = timer->data;
    start_queue_look(&g->queue, g->processors, idle_since_last(g), uv_now(timer->loop));
    deferred_post(g->deferred, &g->hand_out);
}

static void on_hand_out(struct deferred *d)
{
    struct start_gate *g = CONTAINER_OF(d, struct start_gate, hand_out);
    struct start_turn *t;
    while ((t = start_queue_next(&g->queue, uv_now(g->look.loop))) != NULL)
        t->ready(t);
    bool waits = !list_empty(&g->queue.waiting);
    if (!waits)
        uv_timer_stop(&g->look);
    else if (!uv_is_active((uv_handle_t *)&g->look)) {
        idle_since_last(g);
        uv_timer_start(&g->look, on_look, START_GATE_LOOK_MS, START_GATE_LOOK_MS);
    }
}

struct start_gate *start_gate_new(struct uv_loop_s *loop, struct defer_queue *deferred)
{
    struct start_gate *g = xzalloc(sizeof(*g));
    g->processors = uv_available_parallelism();
    start_queue_init(&g->queue, MAX_OF(WIDTH_MIN, STARTS_PER_PROCESSOR * g->processors));
    g->deferred = deferred;
    deferred_init(&g->hand_out, on_hand_out);
    uv_timer_init(loop, &g->look);
    g->look.data = g;
    return g;
}

void start_gate_enter(struct start_gate *g, struct start_turn *t, enum start_rank rank,
                      int64_t priority)
{
    t->rank = rank;
    t->priority = priority;
    start_queue_enter(&g->queue, t, uv_now(g->look.loop));
    deferred_post(g->deferred, &g->hand_out);
}

void start_gate_leave(struct start_gate *g, struct start_turn *t)
{
    if (t->state == TURN_NONE)
        return;
    start_queue_leave(&g->queue, t);
    deferred_post(g->deferred, &g->hand_out);
}
