/* flow_set.c - see flow_set.h. Pure.
 *
 * Virtual time R runs at (seats that could be busy) / (active queues), so that a
 * queue with requests is owed R seat-seconds since it became active. A queue's
 * next_r is the R at which its oldest request would start; its finish is next_r
 * plus the request's work, guessed at SERVICE_NS per seat and put right when the
 * request ends. The queue with the earliest finish is served first. */
#include "apiserver/flow_set.h"

#include <math.h>
#include <string.h>

#define SERVICE_NS UINT64_C(3000000) /* Guessed time of a request. */
#define HASH_BITS 60                 /* More make the last card of a hand uneven. */
#define QUEUES_MAX 10000000          /* As validation has it. */
/* R is wound back before it could overflow. */
#define R_EPOCH (INT64_C(1) << 61)

static int64_t work_of(double seats, uint64_t ns)
{
    return (int64_t)llround(seats * (double)ns / (1e9 / (double)FLOW_R_PER_SECOND));
}

uint32_t flow_work_seats(const struct flow_work *w)
{
    return MAX_OF(w->seats, w->final_seats);
}

static int64_t seats_of(const struct flow_ticket *t)
{
    return flow_work_seats(&t->work);
}

/* --- dealing ------------------------------------------------------------------------------- */
void flow_deal(uint64_t hash, int32_t queues, int32_t hand_size, int32_t hand[FLOW_HAND_MAX])
{
    for (int32_t i = 0; i < hand_size; i++) {
        uint64_t left = (uint64_t)(queues - i);
        int32_t card = (int32_t)(hash % left);
        hash /= left;
        hand[i] = card; /* Among those that are left; made absolute below. */
    }
    /* Card i counts only queues not dealt before it: step over those, last dealt first. */
    int32_t rest[FLOW_HAND_MAX];
    memcpy(rest, hand, (size_t)hand_size * sizeof(*rest));
    for (int32_t i = 0; i < hand_size; i++)
        for (int32_t j = i - 1; j >= 0; j--)
            hand[i] += hand[i] >= rest[j];
}

bool flow_set_config_valid(const struct flow_set_config *c)
{
    if (c->queues <= 0)
        return c->queues >= -1;
    return c->queues <= QUEUES_MAX && c->hand_size >= 1 && c->hand_size <= c->queues &&
           c->hand_size <= FLOW_HAND_MAX && c->queue_length_max >= 1 &&
           ceil(log2((double)c->queues) * (double)c->hand_size) <= HASH_BITS;
}

/* --- life ------------------------------------------------------------------------------------ */
static int64_t finish_of(const struct flow_queue *q)
{
    const struct flow_ticket *t = LIST_ENTRY(q->waiting.next, struct flow_ticket, link);
    return q->next_r + t->total_work;
}

static bool before(const struct heap_node *a, const struct heap_node *b, void *arg)
{
    const struct flow_queue *x =
        HEAP_ENTRY((struct heap_node *)(uintptr_t)a, struct flow_queue, ready);
    const struct flow_queue *y =
        HEAP_ENTRY((struct heap_node *)(uintptr_t)b, struct flow_queue, ready);
    UNUSED(arg);
    int64_t fx = finish_of(x), fy = finish_of(y);
    return fx != fy ? fx < fy : x->turn < y->turn;
}

void flow_set_init(struct flow_set *s, uint64_t now_ns)
{
    memset(s, 0, sizeof(*s));
    heap_init(&s->ready, before, NULL);
    list_init(&s->active);
    list_init(&s->spare);
    list_init(&s->executing);
    s->last_ns = now_ns;
    flow_demand_init(&s->demand);
    flow_timing_init(&s->executing_ratio, flow_bounds_requests, ARRAY_SIZE(flow_bounds_requests));
    flow_timing_init(&s->waiting_ratio, flow_bounds_requests, ARRAY_SIZE(flow_bounds_requests));
    flow_timing_init(&s->seats_ratio, flow_bounds_seats, ARRAY_SIZE(flow_bounds_seats));
}

void flow_set_done(struct flow_set *s)
{
    ASSERT(list_empty(&s->active));
    for (struct list *l; (l = list_pop_front(&s->spare)) != NULL;)
        free(LIST_ENTRY(l, struct flow_queue, link));
    free((void *)s->queues);
    heap_done(&s->ready);
}

bool flow_set_is_idle(const struct flow_set *s)
{
    return s->requests_waiting == 0 && s->requests_executing == 0 && s->lingering == 0;
}

/* --- time ------------------------------------------------------------------------------------ */
static void next_epoch(struct flow_set *s)
{
    s->current_r -= R_EPOCH;
    s->totals.epochs++;
    LIST_FOREACH (it, &s->active) {
        struct flow_queue *q = LIST_ENTRY(it, struct flow_queue, link);
        q->next_r -= R_EPOCH;
        LIST_FOREACH (w, &q->waiting)
            LIST_ENTRY(w, struct flow_ticket, link)->arrival_r -= R_EPOCH;
    }
}

void flow_set_sync(struct flow_set *s, uint64_t now_ns)
{
    if (now_ns <= s->last_ns)
        return; /* Clocks of several threads: nothing to add. */
    uint64_t ns = now_ns - s->last_ns;
    s->last_ns = now_ns;
    flow_demand_elapse(&s->demand, ns);
    flow_timing_elapse(&s->executing_ratio, ns);
    flow_timing_elapse(&s->waiting_ratio, ns);
    flow_timing_elapse(&s->seats_ratio, ns);
    if (s->active_queues == 0)
        return;
    int64_t wanted = s->queue_seats + s->seats_waiting;
    s->current_r +=
        work_of((double)MIN_OF(wanted, (int64_t)s->limit) / (double)s->active_queues, ns);
    if (s->current_r >= R_EPOCH + R_EPOCH / 2)
        next_epoch(s);
}

static void note_demand(struct flow_set *s)
{
    flow_demand_set(&s->demand, (double)(s->seats_in_use + s->seats_waiting));
}

/* --- queues ---------------------------------------------------------------------------------- */
static struct flow_queue *open_queue(struct flow_set *s, int32_t index)
{
    struct flow_queue *q = s->queues[index];
    if (q != NULL)
        return q;
    struct list *l = list_pop_front(&s->spare);
    q = l != NULL ? LIST_ENTRY(l, struct flow_queue, link) : xmalloc(sizeof(*q));
    *q = (struct flow_queue){.index = (uint32_t)index};
    list_init(&q->waiting);
    list_init(&q->link);
    list_push_back(&s->active, &q->link);
    s->queues[index] = q;
    return q;
}

static bool is_active(const struct flow_queue *q)
{
    return q->waiting_count != 0 || q->executing != 0;
}

static void close_if_empty(struct flow_set *s, struct flow_queue *q)
{
    if (is_active(q) || q->seats_in_use != 0)
        return;
    list_remove(&q->link);
    list_push_front(&s->spare, &q->link);
    if ((int32_t)q->index < s->queue_cap && s->queues[q->index] == q)
        s->queues[q->index] = NULL;
}

/* A queue must not gather claims from before its oldest request came. */
static void bound_start(struct flow_set *s, struct flow_queue *q)
{
    if (q->waiting_count == 0)
        return;
    q->next_r = MAX_OF(q->next_r, LIST_ENTRY(q->waiting.next, struct flow_ticket, link)->arrival_r);
    if (heap_has(&q->ready))
        heap_update(&s->ready, &q->ready);
    else
        heap_push(&s->ready, &q->ready);
}

static void leave_queue(struct flow_set *s, struct flow_ticket *t)
{
    struct flow_queue *q = t->queue;
    int64_t seats = seats_of(t);
    list_remove(&t->link);
    q->waiting_count--;
    q->waiting_seats -= (uint64_t)seats;
    q->waiting_initial -= t->work.seats;
    q->waiting_work -= t->total_work;
    s->requests_waiting--;
    s->seats_waiting -= seats;
    t->counts->waiting--;
    t->counts->waiting_seats -= (int32_t)seats;
    flow_timing_set(&s->waiting_ratio, s->requests_waiting);
    if (q->waiting_count == 0)
        heap_remove(&s->ready, &q->ready);
}

static void enqueue(struct flow_set *s, struct flow_queue *q, struct flow_ticket *t)
{
    int64_t seats = seats_of(t);
    if (!is_active(q)) {
        q->next_r = s->current_r;
        q->turn = ++s->turn;
        s->active_queues++;
    }
    t->state = FLOW_WAITING;
    t->queue = q;
    t->arrival_r = s->current_r;
    list_push_back(&q->waiting, &t->link);
    q->waiting_count++;
    q->waiting_seats += (uint64_t)seats;
    q->waiting_initial += t->work.seats;
    q->waiting_work += t->total_work;
    s->requests_waiting++;
    s->seats_waiting += seats;
    t->counts->waiting++;
    t->counts->waiting_seats += (int32_t)seats;
    flow_timing_set(&s->waiting_ratio, s->requests_waiting);
    bound_start(s, q);
}

/* --- seats -------------------------------------------------------------------------------------
 */
static bool has_room(const struct flow_set *s, int64_t seats)
{
    if (s->config.queues < 0)
        return true;
    if (seats > s->limit) /* Never fits: alone, then. */
        return s->requests_executing == 0;
    return s->seats_in_use + seats <= s->limit;
}

static void execute(struct flow_set *s, struct flow_ticket *t, uint64_t now_ns)
{
    int64_t seats = seats_of(t);
    t->state = FLOW_EXECUTING;
    t->start_ns = now_ns;
    list_push_back(&s->executing, &t->link);
    s->requests_executing++;
    s->seats_in_use += seats;
    s->totals.dispatched++;
    t->counts->dispatched++;
    t->counts->executing++;
    t->counts->executing_seats += (int32_t)seats;
    if (t->queue != NULL) {
        t->queue->executing++;
        t->queue->seats_in_use += (uint32_t)seats;
        s->queue_seats += seats;
    }
    flow_timing_set(&s->executing_ratio, s->requests_executing);
    flow_timing_set(&s->seats_ratio, (double)s->seats_in_use);
}

static bool dispatch_one(struct flow_set *s, uint64_t now_ns, struct list *out)
{
    struct flow_queue *q = HEAP_ENTRY(heap_peek(&s->ready), struct flow_queue, ready);
    struct flow_ticket *t = LIST_ENTRY(q->waiting.next, struct flow_ticket, link);
    if (!has_room(s, seats_of(t))) {
        t->counts->no_accommodation++;
        return false;
    }
    leave_queue(s, t);
    /* Final seats beyond all there are: as much work, on fewer seats for longer. */
    if (t->work.final_seats > (uint32_t)MAX_OF(s->limit, 1)) {
        uint32_t fewer = (uint32_t)MAX_OF(s->limit, 1);
        t->work.extra_ns = t->work.extra_ns * t->work.final_seats / fewer;
        t->work.final_seats = fewer;
    }
    s->latest.r = s->current_r;
    s->latest.s = q->next_r;
    execute(s, t, now_ns);
    q->next_r += t->total_work;
    q->turn = ++s->turn;
    bound_start(s, q);
    list_push_back(out, &t->out);
    return true;
}

static void dispatch(struct flow_set *s, uint64_t now_ns, struct list *out)
{
    while (s->requests_waiting != 0 && s->seats_in_use < s->limit && dispatch_one(s, now_ns, out))
        ;
    note_demand(s);
}

/* --- what callers do -----------------------------------------------------------------------------
 */
void flow_set_configure(struct flow_set *s, const struct flow_set_config *c, int32_t limit,
                        int32_t denominator, uint64_t now_ns, struct list *ret_out)
{
    ASSERT(flow_set_config_valid(c));
    flow_set_sync(s, now_ns);
    if (c->queues > s->queue_cap) {
        size_t size = (size_t)c->queues * sizeof(*s->queues);
        struct flow_queue **more = calloc(1, size); /* Untouched pages cost nothing. */
        if (more != NULL) {
            if (s->queue_cap > 0)
                memcpy((void *)more, (const void *)s->queues,
                       (size_t)s->queue_cap * sizeof(*s->queues));
            free((void *)s->queues);
            s->queues = more;
            s->queue_cap = c->queues;
        }
    }
    s->config = *c;
    if (c->queues > s->queue_cap) { /* No memory for so many: as many as there are. */
        s->config.queues = s->queue_cap;
        s->config.hand_size = MIN_OF(c->hand_size, s->queue_cap);
    }
    s->limit = limit;
    flow_timing_set_denominator(&s->waiting_ratio, (double)MAX_OF(c->queue_length_max, 1) *
                                                       (double)MAX_OF(c->queues, 1));
    flow_timing_set_denominator(&s->executing_ratio, denominator);
    flow_timing_set_denominator(&s->seats_ratio, denominator);
    flow_timing_set_denominator(&s->demand.ratio, denominator);
    dispatch(s, now_ns, ret_out);
}

/* The queue of the hand with the least work waiting. Where the search begins
 * goes round, so that flows with overlapping hands do not all prefer one. */
static struct flow_queue *choose(struct flow_set *s, uint64_t hash)
{
    int32_t hand[FLOW_HAND_MAX], best = 0;
    int32_t size = s->config.hand_size;
    flow_deal(hash, s->config.queues, size, hand);
    int32_t offset = (int32_t)(s->enqueues++ % (uint64_t)size);
    int64_t least = INT64_MAX;
    for (int32_t i = 0; i < size; i++) {
        int32_t at = hand[(offset + i) % size];
        int64_t work = s->queues[at] != NULL ? s->queues[at]->waiting_work : 0;
        if (work < least) {
            least = work;
            best = at;
        }
    }
    return open_queue(s, best);
}

enum flow_outcome flow_set_start(struct flow_set *s, struct flow_ticket *t, uint64_t hash,
                                 uint64_t now_ns, struct list *ret_out)
{
    flow_set_sync(s, now_ns);
    t->state = FLOW_NEW;
    t->queue = NULL;
    t->arrival_ns = now_ns;
    t->start_ns = 0;
    list_init(&t->link);
    list_init(&t->out);
    t->total_work =
        work_of(t->work.seats, SERVICE_NS) + work_of(t->work.final_seats, t->work.extra_ns);
    if (s->config.queues < 1) {
        if (!has_room(s, seats_of(t))) {
            s->totals.rejected++;
            t->counts->refused_limit++;
            t->state = FLOW_ENDED;
            return FLOW_REFUSED_LIMIT;
        }
        execute(s, t, now_ns);
        note_demand(s);
        return FLOW_EXECUTE;
    }
    struct flow_queue *q = choose(s, hash);
    if (s->seats_in_use >= s->limit && (int32_t)q->waiting_count >= s->config.queue_length_max) {
        s->totals.rejected++;
        t->counts->refused_full++;
        t->state = FLOW_ENDED;
        close_if_empty(s, q);
        return FLOW_REFUSED_FULL;
    }
    enqueue(s, q, t);
    dispatch(s, now_ns, ret_out);
    if (t->state == FLOW_WAITING)
        return FLOW_WAIT;
    list_remove(&t->out);
    return FLOW_EXECUTE;
}

/* After the last waiting or executing request of a queue. */
static void settle(struct flow_set *s, struct flow_queue *q)
{
    if (!is_active(q))
        s->active_queues--;
    else
        bound_start(s, q);
}

bool flow_set_cancel(struct flow_set *s, struct flow_ticket *t, bool timed_out, uint64_t now_ns,
                     struct list *ret_out)
{
    if (t->state != FLOW_WAITING)
        return false;
    flow_set_sync(s, now_ns);
    leave_queue(s, t);
    settle(s, t->queue);
    close_if_empty(s, t->queue);
    s->totals.rejected++;
    s->totals.cancelled++;
    s->totals.timed_out += timed_out;
    t->counts->refused_time++;
    t->state = FLOW_ENDED;
    /* It may have been a wide one that held up the others. */
    dispatch(s, now_ns, ret_out);
    return true;
}

static void give_back(struct flow_set *s, struct flow_ticket *t)
{
    int64_t seats = seats_of(t);
    s->seats_in_use -= seats;
    t->counts->executing_seats -= (int32_t)seats;
    t->state = FLOW_ENDED;
    flow_timing_set(&s->seats_ratio, (double)s->seats_in_use);
    if (t->queue == NULL)
        return;
    t->queue->seats_in_use -= (uint32_t)seats;
    s->queue_seats -= seats;
    close_if_empty(s, t->queue);
}

bool flow_set_finish(struct flow_set *s, struct flow_ticket *t, uint64_t now_ns,
                     struct list *ret_out)
{
    ASSERT(t->state == FLOW_EXECUTING);
    flow_set_sync(s, now_ns);
    list_remove(&t->link);
    s->requests_executing--;
    t->counts->executing--;
    flow_timing_set(&s->executing_ratio, s->requests_executing);
    if (t->queue != NULL) {
        /* The guess is put right by how long it took. */
        int64_t took = now_ns > t->start_ns ? (int64_t)(now_ns - t->start_ns) : 0;
        double wrong = (double)((int64_t)SERVICE_NS - took);
        t->queue->next_r -=
            (int64_t)llround((double)t->work.seats * wrong / (1e9 / (double)FLOW_R_PER_SECOND));
        t->queue->executing--;
        settle(s, t->queue);
    }
    bool lingers = t->work.extra_ns != 0;
    if (lingers) {
        t->state = FLOW_LINGERING;
        s->lingering++;
    } else {
        give_back(s, t);
    }
    dispatch(s, now_ns, ret_out);
    return lingers;
}

void flow_set_release(struct flow_set *s, struct flow_ticket *t, uint64_t now_ns,
                      struct list *ret_out)
{
    ASSERT(t->state == FLOW_LINGERING);
    flow_set_sync(s, now_ns);
    s->lingering--;
    give_back(s, t);
    dispatch(s, now_ns, ret_out);
}

/* --- for tests -----------------------------------------------------------------------------------
 */
static void queue_check(const struct flow_set *s, const struct flow_queue *q)
{
    uint32_t waiting = 0;
    uint64_t seats = 0;
    int64_t work = 0;
    UNUSED(s);
    LIST_FOREACH (it, &q->waiting) {
        const struct flow_ticket *t = LIST_ENTRY(it, struct flow_ticket, link);
        ASSERT(t->state == FLOW_WAITING);
        ASSERT(t->queue == q);
        waiting++;
        seats += (uint64_t)seats_of(t);
        work += t->total_work;
    }
    ASSERT_CMP(waiting, ==, q->waiting_count);
    ASSERT_CMP(seats, ==, q->waiting_seats);
    ASSERT_CMP(work, ==, q->waiting_work);
    ASSERT(heap_has(&q->ready) == (waiting != 0));
    ASSERT(waiting != 0 || q->executing != 0 || q->seats_in_use != 0);
}

void flow_set_check(const struct flow_set *s)
{
    int32_t waiting = 0, executing = 0;
    int64_t seats = 0, queue_seats = 0;
    uint32_t active = 0;
    heap_check(&s->ready);
    LIST_FOREACH (it, &s->active) {
        const struct flow_queue *q = LIST_ENTRY(it, struct flow_queue, link);
        queue_check(s, q);
        waiting += (int32_t)q->waiting_count;
        seats += (int64_t)q->waiting_seats;
        queue_seats += q->seats_in_use;
        active += is_active(q);
    }
    ASSERT_CMP(waiting, ==, s->requests_waiting);
    ASSERT_CMP(seats, ==, s->seats_waiting);
    ASSERT_CMP(queue_seats, ==, s->queue_seats);
    ASSERT_CMP(active, ==, s->active_queues);
    LIST_FOREACH (it, &s->executing) {
        ASSERT(LIST_ENTRY(it, struct flow_ticket, link)->state == FLOW_EXECUTING);
        executing++;
    }
    ASSERT_CMP(executing, ==, s->requests_executing);
    ASSERT(s->seats_in_use >= s->queue_seats);
}
