/* start_gate.c - see start_gate.h: whose turn it is. */
#include "kubelet/start_gate.h"

void start_turn_init(struct start_turn *t, void (*ready)(struct start_turn *t))
{
    *t = (struct start_turn){.ready = ready};
    list_init(&t->link);
}

void start_queue_init(struct start_queue *q, unsigned width)
{
    *q = (struct start_queue){.width = width};
    list_init(&q->waiting);
    list_init(&q->out);
}

static bool goes_before(const struct start_turn *a, const struct start_turn *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->priority > b->priority;
}

void start_queue_enter(struct start_queue *q, struct start_turn *t, uint64_t now_ms)
{
    ASSERT(t->state == TURN_NONE);
    struct list *before = q->waiting.prev;
    while (before != &q->waiting && goes_before(t, CONTAINER_OF(before, struct start_turn, link)))
        before = before->prev;
    list_insert_between(&t->link, before, before->next);
    t->state = TURN_WAITING;
    t->since_ms = now_ms;
}

void start_queue_leave(struct start_queue *q, struct start_turn *t)
{
    if (t->state == TURN_OUT)
        q->out_count--;
    list_remove(&t->link);
    t->state = TURN_NONE;
    if (list_empty(&q->waiting))
        q->extra = 0;
}

struct start_turn *start_queue_next(struct start_queue *q, uint64_t now_ms)
{
    if (q->out_count >= q->width + q->extra || list_empty(&q->waiting))
        return NULL;
    struct start_turn *t = CONTAINER_OF(q->waiting.next, struct start_turn, link);
    list_remove(&t->link);
    list_push_back(&q->out, &t->link);
    q->out_count++;
    t->state = TURN_OUT;
    t->waited_ms = now_ms - t->since_ms;
    t->since_ms = now_ms;
    return t;
}

void start_queue_look(struct start_queue *q, unsigned processors, unsigned idle_percent,
                      uint64_t now_ms)
{
    for (struct list *l = q->out.next; l != &q->out; l = l->next) {
        struct start_turn *t = CONTAINER_OF(l, struct start_turn, link);
        if (t->state != TURN_OUT || now_ms - t->since_ms < START_GATE_LEND_MS)
            continue;
        t->state = TURN_LENT;
        q->out_count--;
    }
    if (idle_percent < START_GATE_IDLE_PERCENT)
        q->extra -= MIN_OF(q->extra, processors);
    else if (!list_empty(&q->waiting))
        q->extra += processors;
}
