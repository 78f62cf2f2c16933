/* A priority level's queues: fairness, hands, limits, cancelling, lingering seats. */
#include "apiserver/flow_set.h"
#include "lib/base/arena.h"
#include "test/unit/unit.h"

#include <string.h>

#define MS UINT64_C(1000000)

struct bench {
    struct flow_set set;
    struct flow_counts counts;
    uint64_t now;
    struct list out;
    struct arena *arena;
};

static void open_bench(struct bench *b, int32_t queues, int32_t hand, int32_t length, int32_t limit)
{
    struct flow_set_config c = {.queues = queues, .hand_size = hand, .queue_length_max = length};
    memset(b, 0, sizeof(*b));
    b->now = 1000 * MS;
    b->arena = arena_new(0);
    list_init(&b->out);
    flow_set_init(&b->set, b->now);
    flow_set_configure(&b->set, &c, limit, MAX_OF(limit, 1), b->now, &b->out);
    ck_assert(list_empty(&b->out));
}

static void close_bench(struct bench *b)
{
    ck_assert(flow_set_is_idle(&b->set));
    ck_assert_int_eq(b->counts.executing, 0);
    ck_assert_int_eq(b->counts.waiting, 0);
    ck_assert_int_eq(b->counts.executing_seats, 0);
    ck_assert_int_eq(b->counts.waiting_seats, 0);
    flow_set_check(&b->set);
    flow_set_done(&b->set);
    arena_free(b->arena);
}

static struct flow_ticket *ticket(struct bench *b, uint32_t seats)
{
    struct flow_ticket *t = ARENA_NEW(b->arena, struct flow_ticket);
    t->counts = &b->counts;
    t->work.seats = seats;
    return t;
}

static enum flow_outcome start(struct bench *b, struct flow_ticket *t, uint64_t hash)
{
    enum flow_outcome got = flow_set_start(&b->set, t, hash, b->now, &b->out);
    flow_set_check(&b->set);
    return got;
}

static void finish(struct bench *b, struct flow_ticket *t)
{
    ck_assert(!flow_set_finish(&b->set, t, b->now, &b->out));
    flow_set_check(&b->set);
}

static struct flow_ticket *handed_out(struct bench *b)
{
    struct list *l = list_pop_front(&b->out);
    return l != NULL ? LIST_ENTRY(l, struct flow_ticket, out) : NULL;
}

/* A hand has as many different queues as asked, and every queue is dealt as often. */
START_TEST(hands_are_even)
{
    uint32_t seen[128] = {0}, lcg = 7;
    for (int i = 0; i < 20000; i++) {
        int32_t hand[FLOW_HAND_MAX];
        uint64_t hash = 0;
        for (int j = 0; j < 4; j++) {
            lcg = lcg * 1664525u + 1013904223u;
            hash = hash << 16 | lcg >> 16;
        }
        flow_deal(hash, 128, 6, hand);
        for (int j = 0; j < 6; j++) {
            ck_assert_int_ge(hand[j], 0);
            ck_assert_int_lt(hand[j], 128);
            seen[hand[j]]++;
            for (int k = 0; k < j; k++)
                ck_assert_int_ne(hand[j], hand[k]);
        }
    }
    for (int i = 0; i < 128; i++) { /* 937 each on average. */
        ck_assert_uint_gt(seen[i], 750);
        ck_assert_uint_lt(seen[i], 1130);
    }
}
END_TEST

/* The whole deck as a hand is a permutation. */
START_TEST(a_full_hand_is_the_deck)
{
    for (uint64_t hash = 0; hash < 5 * 4 * 3 * 2; hash++) {
        int32_t hand[FLOW_HAND_MAX];
        unsigned mask = 0;
        flow_deal(hash, 5, 5, hand);
        for (int i = 0; i < 5; i++)
            mask |= 1u << hand[i];
        ck_assert_uint_eq(mask, 31);
    }
}
END_TEST

/* What a hash has not the bits for is refused, as are hands beyond the deck. */
START_TEST(configurations_are_bounded)
{
    const struct {
        struct flow_set_config c;
        bool good;
    } cases[] = {
        {{-1, 0, 0}, true},    {{0, 0, 0}, true},          {{-2, 0, 0}, false},
        {{128, 6, 50}, true},  {{1, 1, 1}, true},          {{4, 5, 50}, false},
        {{128, 9, 50}, false}, {{10000001, 1, 50}, false}, {{128, 0, 50}, false},
        {{128, 6, 0}, false},  {{10000000, 2, 50}, true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        ck_assert_msg(flow_set_config_valid(&cases[i].c) == cases[i].good, "case %zu", i);
}
END_TEST

/* Without queues what has no seat is refused at once. */
START_TEST(a_level_that_rejects)
{
    struct bench b;
    struct flow_ticket *t[3];
    open_bench(&b, 0, 0, 0, 2);
    for (int i = 0; i < 3; i++)
        t[i] = ticket(&b, 1);
    ck_assert_int_eq(start(&b, t[0], 1), FLOW_EXECUTE);
    ck_assert_int_eq(start(&b, t[1], 1), FLOW_EXECUTE);
    ck_assert_int_eq(start(&b, t[2], 1), FLOW_REFUSED_LIMIT);
    ck_assert_uint_eq(b.counts.refused_limit, 1);
    finish(&b, t[0]);
    ck_assert_int_eq(start(&b, t[2], 1), FLOW_EXECUTE);
    finish(&b, t[1]);
    finish(&b, t[2]);
    ck_assert_uint_eq(b.set.totals.dispatched, 3);
    close_bench(&b);
}
END_TEST

/* An exempt level lets everything run, whatever its limit. */
START_TEST(an_exempt_level)
{
    struct bench b;
    struct flow_ticket *t[50];
    open_bench(&b, -1, 0, 0, 0);
    for (size_t i = 0; i < ARRAY_SIZE(t); i++)
        ck_assert_int_eq(start(&b, t[i] = ticket(&b, 10), i), FLOW_EXECUTE);
    ck_assert_int_eq(b.set.seats_in_use, 500);
    for (size_t i = 0; i < ARRAY_SIZE(t); i++)
        finish(&b, t[i]);
    close_bench(&b);
}
END_TEST

/* Beyond the seats requests wait in order of arrival, beyond the queue they are refused. */
START_TEST(one_flow_waits_in_order)
{
    struct bench b;
    struct flow_ticket *t[5];
    open_bench(&b, 1, 1, 3, 1);
    for (int i = 0; i < 5; i++)
        t[i] = ticket(&b, 1);
    ck_assert_int_eq(start(&b, t[0], 9), FLOW_EXECUTE);
    for (int i = 1; i < 4; i++)
        ck_assert_int_eq(start(&b, t[i], 9), FLOW_WAIT);
    ck_assert_int_eq(start(&b, t[4], 9), FLOW_REFUSED_FULL);
    ck_assert_uint_eq(b.counts.refused_full, 1);
    for (int i = 0; i < 4; i++) {
        b.now += MS;
        finish(&b, t[i]);
        ck_assert_ptr_eq(handed_out(&b), i < 3 ? t[i + 1] : NULL);
        ck_assert_ptr_null(handed_out(&b));
    }
    close_bench(&b);
}
END_TEST

/* A flow that keeps every queue of its hand full takes only its share: one request of
 * another flow is served after at most one round, not after the whole backlog. */
START_TEST(a_flood_does_not_starve_others)
{
    struct bench b;
    open_bench(&b, 64, 4, 50, 4);
    struct flow_ticket *running[4];
    uint64_t flood = 12345;
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(start(&b, running[i] = ticket(&b, 1), flood), FLOW_EXECUTE);
    unsigned waiting = 0;
    while (start(&b, ticket(&b, 1), flood) == FLOW_WAIT)
        waiting++;
    ck_assert_uint_eq(waiting, 4 * 50);
    struct flow_ticket *other = ticket(&b, 1);
    ck_assert_int_eq(start(&b, other, 999), FLOW_WAIT);
    unsigned before = 0;
    bool served = false;
    struct flow_ticket *queue[256];
    size_t count = 4, done = 0;
    memcpy((void *)queue, (const void *)running, sizeof(running));
    while (done < count) {
        b.now += 2 * MS;
        finish(&b, queue[done++]);
        for (struct flow_ticket *t; (t = handed_out(&b)) != NULL;) {
            served |= t == other;
            before += !served;
            queue[count++] = t;
        }
    }
    ck_assert(served);
    ck_assert_uint_le(before, 8);
    ck_assert_uint_eq(count, 4 + 200 + 1);
    close_bench(&b);
}
END_TEST

/* Two flows that always have requests waiting get equal seat time, though the requests of
 * one take four times as long, and though one has eight times as many. */
START_TEST(seat_time_is_shared)
{
    struct bench b;
    open_bench(&b, 8, 1, 1000, 1);
    uint64_t took[2] = {0};
    struct flow_ticket *first = ticket(&b, 1), *now = first;
    struct flow_ticket *of[2][600];
    size_t next = 0;
    ck_assert_int_eq(start(&b, first, 0), FLOW_EXECUTE);
    for (size_t i = 0; i < 600; i++) {
        of[0][i] = ticket(&b, 1);
        ck_assert_int_eq(start(&b, of[0][i], 0), FLOW_WAIT);
        of[1][i] = ticket(&b, 1);
        if (i < 75)
            ck_assert_int_eq(start(&b, of[1][i], 1), FLOW_WAIT);
    }
    for (; next < 120; next++) {
        int flow = now->queue->index == 1;
        uint64_t time = flow == 1 ? 8 * MS : 2 * MS;
        b.now += time;
        took[flow] += time;
        finish(&b, now);
        now = handed_out(&b);
        ck_assert_ptr_nonnull(now);
    }
    double ratio = (double)took[0] / (double)took[1];
    ck_assert_msg(ratio > 0.8 && ratio < 1.25, "seat time %g", ratio);
    finish(&b, now);
    for (struct flow_ticket *t; (t = handed_out(&b)) != NULL;)
        finish(&b, t);
    close_bench(&b);
}
END_TEST

/* A queue that was idle does not come with claims from before. */
START_TEST(idle_queues_gather_no_claims)
{
    struct bench b;
    open_bench(&b, 8, 1, 100, 1);
    struct flow_ticket *t[20], *other[10], *now;
    for (size_t i = 0; i < 20; i++)
        start(&b, t[i] = ticket(&b, 1), 0);
    now = t[0];
    for (int i = 0; i < 10; i++) { /* Flow 0 alone for a while. */
        b.now += 3 * MS;
        finish(&b, now);
        now = handed_out(&b);
    }
    for (size_t i = 0; i < 10; i++)
        ck_assert_int_eq(start(&b, other[i] = ticket(&b, 1), 1), FLOW_WAIT);
    unsigned in_a_row = 0, longest = 0;
    while (now != NULL) {
        in_a_row = now->queue->index == 1 ? in_a_row + 1 : 0;
        if (b.set.active_queues == 2)
            longest = MAX_OF(longest, in_a_row);
        b.now += 3 * MS;
        finish(&b, now);
        now = handed_out(&b);
    }
    ck_assert_uint_le(longest, 2);
    close_bench(&b);
}
END_TEST

/* A wide request waits for its seats, and narrow ones do not overtake it for ever. */
START_TEST(a_wide_request_gets_its_seats)
{
    struct bench b;
    open_bench(&b, 8, 1, 100, 4);
    struct flow_ticket *narrow[4], *wide = ticket(&b, 4);
    for (uint64_t i = 0; i < 4; i++)
        ck_assert_int_eq(start(&b, narrow[i] = ticket(&b, 1), 0), FLOW_EXECUTE);
    b.now += MS;
    ck_assert_int_eq(start(&b, wide, 1), FLOW_WAIT);
    for (int i = 0; i < 3; i++) {
        b.now += 3 * MS;
        finish(&b, narrow[i]);
        ck_assert_ptr_null(handed_out(&b));
    }
    ck_assert_uint_gt(b.counts.no_accommodation, 0);
    finish(&b, narrow[3]);
    ck_assert_ptr_eq(handed_out(&b), wide);
    finish(&b, wide);
    close_bench(&b);
}
END_TEST

/* One that is wider than the level runs when nothing else does. */
START_TEST(wider_than_the_level)
{
    struct bench b;
    open_bench(&b, 8, 1, 100, 2);
    struct flow_ticket *wide = ticket(&b, 10), *small = ticket(&b, 1);
    ck_assert_int_eq(start(&b, wide, 0), FLOW_EXECUTE);
    ck_assert_int_eq(start(&b, small, 1), FLOW_WAIT);
    finish(&b, wide);
    ck_assert_ptr_eq(handed_out(&b), small);
    finish(&b, small);
    close_bench(&b);
}
END_TEST

/* Cancelled requests leave their queue; what they held up goes on. */
START_TEST(cancelling)
{
    struct bench b;
    open_bench(&b, 8, 1, 100, 2);
    struct flow_ticket *first = ticket(&b, 1), *wide = ticket(&b, 2), *small = ticket(&b, 1);
    ck_assert_int_eq(start(&b, first, 0), FLOW_EXECUTE);
    ck_assert(!flow_set_cancel(&b.set, first, true, b.now, &b.out));
    ck_assert_int_eq(start(&b, wide, 1), FLOW_WAIT);
    ck_assert_int_eq(start(&b, small, 1), FLOW_WAIT);
    ck_assert(flow_set_cancel(&b.set, wide, true, b.now, &b.out));
    flow_set_check(&b.set);
    ck_assert_ptr_eq(handed_out(&b), small);
    ck_assert(!flow_set_cancel(&b.set, wide, true, b.now, &b.out));
    ck_assert(!flow_set_cancel(&b.set, small, false, b.now, &b.out));
    ck_assert_uint_eq(b.counts.refused_time, 1);
    ck_assert_uint_eq(b.set.totals.timed_out, 1);
    finish(&b, first);
    finish(&b, small);
    close_bench(&b);
}
END_TEST

/* Seats stay taken behind a write whose watches are still busy. */
START_TEST(seats_linger)
{
    struct bench b;
    open_bench(&b, 8, 1, 100, 3);
    struct flow_ticket *write = ticket(&b, 1), *next = ticket(&b, 1);
    write->work.final_seats = 3;
    write->work.extra_ns = 5 * MS;
    ck_assert_int_eq(start(&b, write, 0), FLOW_EXECUTE);
    ck_assert_int_eq(start(&b, next, 1), FLOW_WAIT);
    ck_assert(flow_set_finish(&b.set, write, b.now, &b.out));
    ck_assert_ptr_null(handed_out(&b));
    ck_assert(!flow_set_is_idle(&b.set));
    struct flow_ticket copy = *write; /* The request is gone. */
    b.now += 5 * MS;
    flow_set_release(&b.set, &copy, b.now, &b.out);
    flow_set_check(&b.set);
    ck_assert_ptr_eq(handed_out(&b), next);
    finish(&b, next);
    close_bench(&b);
}
END_TEST

/* More seats let those who wait run; fewer take nothing from those who run. */
START_TEST(limits_change)
{
    struct bench b;
    struct flow_set_config c = {.queues = 8, .hand_size = 1, .queue_length_max = 100};
    struct flow_ticket *t[6];
    open_bench(&b, 8, 1, 100, 1);
    for (size_t i = 0; i < 6; i++)
        start(&b, t[i] = ticket(&b, 1), i);
    flow_set_configure(&b.set, &c, 4, 4, b.now, &b.out);
    for (int i = 1; i < 4; i++)
        ck_assert_ptr_eq(handed_out(&b), t[i]);
    ck_assert_ptr_null(handed_out(&b));
    flow_set_configure(&b.set, &c, 2, 2, b.now, &b.out);
    finish(&b, t[0]);
    finish(&b, t[1]);
    ck_assert_ptr_null(handed_out(&b));
    finish(&b, t[2]);
    ck_assert_ptr_eq(handed_out(&b), t[4]);
    finish(&b, t[3]);
    ck_assert_ptr_eq(handed_out(&b), t[5]);
    finish(&b, t[4]);
    finish(&b, t[5]);
    close_bench(&b);
}
END_TEST

/* Queues that the configuration no longer has drain, those it has now again are new. */
START_TEST(queues_come_and_go)
{
    struct bench b;
    struct flow_set_config few = {.queues = 2, .hand_size = 1, .queue_length_max = 100};
    struct flow_set_config many = {.queues = 64, .hand_size = 1, .queue_length_max = 100};
    struct flow_set_config none = {.queues = 0};
    struct flow_ticket *t[8];
    open_bench(&b, 64, 1, 100, 1);
    for (size_t i = 0; i < 4; i++)
        start(&b, t[i] = ticket(&b, 1), 60 + i);
    flow_set_configure(&b.set, &few, 1, 1, b.now, &b.out);
    ck_assert_int_eq(start(&b, t[4] = ticket(&b, 1), 61), FLOW_WAIT);
    ck_assert_uint_eq(t[4]->queue->index, 1);
    flow_set_configure(&b.set, &many, 1, 1, b.now, &b.out);
    ck_assert_int_eq(start(&b, t[5] = ticket(&b, 1), 61), FLOW_WAIT);
    flow_set_configure(&b.set, &none, 1, 1, b.now, &b.out);
    ck_assert_int_eq(start(&b, t[6] = ticket(&b, 1), 61), FLOW_REFUSED_LIMIT);
    unsigned served = 1;
    for (struct flow_ticket *now = t[0]; now != NULL; served += now != NULL) {
        finish(&b, now);
        now = handed_out(&b);
    }
    ck_assert_uint_eq(served, 6);
    close_bench(&b);
}
END_TEST

/* Virtual time is wound back before it overflows, and order stays. */
START_TEST(virtual_time_is_wound_back)
{
    struct bench b;
    struct flow_ticket *t[9];
    open_bench(&b, 8, 1, 100, 1);
    for (size_t i = 0; i < 9; i++)
        start(&b, t[i] = ticket(&b, 1), i % 2);
    b.set.current_r += (INT64_C(1) << 61) + (INT64_C(1) << 60);
    LIST_FOREACH (it, &b.set.active) {
        struct flow_queue *q = LIST_ENTRY(it, struct flow_queue, link);
        q->next_r += (INT64_C(1) << 61) + (INT64_C(1) << 60);
        LIST_FOREACH (w, &q->waiting)
            LIST_ENTRY(w, struct flow_ticket, link)->arrival_r +=
                (INT64_C(1) << 61) + (INT64_C(1) << 60);
    }
    for (int i = 0; i < 9; i++) {
        b.now += 3 * MS;
        finish(&b, t[i]);
        ck_assert_ptr_eq(handed_out(&b), i < 8 ? t[i + 1] : NULL);
    }
    ck_assert_uint_eq(b.set.totals.epochs, 1);
    close_bench(&b);
}
END_TEST

/* Random requests of all widths, cancelled, lingering, under limits that change: the counts
 * agree after each step, seats are never handed out beyond the limit, and all end. */
START_TEST(random_steps)
{
    enum { TICKETS = 400 };
    const char *given = getenv("SEED");
    uint64_t x = given != NULL ? strtoull(given, NULL, 10) : 42;
    printf("seed %llu\n", (unsigned long long)x);
    struct bench b;
    struct flow_ticket *t[TICKETS];
    int32_t limit = 5;
    open_bench(&b, 16, 3, 5, limit);
    for (int i = 0; i < TICKETS; i++)
        t[i] = ticket(&b, 1);
    for (int step = 0; step < 60000; step++) {
        x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint64_t r = x >> 20;
        struct flow_ticket *one = t[r % TICKETS];
        b.now += r % 7 * (MS / 2);
        if (step % 500 == 0 && step < 59000) {
            struct flow_set_config c = {.queues = (int32_t)(r % 20),
                                        .hand_size = 1,
                                        .queue_length_max = 1 + (int32_t)(r % 9)};
            limit = (int32_t)(r % 11);
            flow_set_configure(&b.set, &c, limit, MAX_OF(limit, 1), b.now, &b.out);
        }
        int64_t before = b.set.seats_in_use;
        switch (one->state) {
        case FLOW_NEW:
        case FLOW_ENDED:
            one->work = (struct flow_work){.seats = 1 + (uint32_t)(r / 7 % 4)};
            if (r % 5 == 0) {
                one->work.final_seats = 1 + (uint32_t)(r / 11 % 6);
                one->work.extra_ns = MS;
            }
            flow_set_start(&b.set, one, r * 31, b.now, &b.out);
            break;
        case FLOW_WAITING:
            if (r % 3 == 0)
                flow_set_cancel(&b.set, one, r % 2 == 0, b.now, &b.out);
            break;
        case FLOW_EXECUTING:
            flow_set_finish(&b.set, one, b.now, &b.out);
            break;
        case FLOW_LINGERING:
            flow_set_release(&b.set, one, b.now, &b.out);
            break;
        }
        while (handed_out(&b) != NULL)
            ;
        flow_set_check(&b.set);
        if (b.set.seats_in_use > before && b.set.requests_executing > 1)
            ck_assert_int_le(b.set.seats_in_use, MAX_OF(limit, 10));
    }
    struct flow_set_config c = {.queues = 16, .hand_size = 3, .queue_length_max = 5};
    flow_set_configure(&b.set, &c, 6, 6, b.now, &b.out);
    for (int round = 0; round < TICKETS && !flow_set_is_idle(&b.set); round++)
        for (int i = 0; i < TICKETS; i++) {
            if (t[i]->state == FLOW_EXECUTING)
                flow_set_finish(&b.set, t[i], b.now, &b.out);
            if (t[i]->state == FLOW_LINGERING)
                flow_set_release(&b.set, t[i], b.now, &b.out);
            while (handed_out(&b) != NULL)
                ;
        }
    close_bench(&b);
}
END_TEST

/* Demand is what is in use and waited for, over time. */
START_TEST(demand_is_measured)
{
    struct bench b;
    struct flow_ticket *t[3];
    open_bench(&b, 8, 1, 100, 1);
    flow_demand_reset(&b.set.demand);
    for (size_t i = 0; i < 3; i++)
        start(&b, t[i] = ticket(&b, 1), i);
    b.now += 1000 * MS;
    for (int i = 0; i < 3; i++)
        finish(&b, t[i]);
    b.now += 1000 * MS;
    flow_set_sync(&b.set, b.now);
    struct flow_demand_result d = flow_demand_reset(&b.set.demand);
    ck_assert_double_eq_tol(d.seconds, 2, 1e-9);
    ck_assert_double_eq_tol(d.average, 1.5, 1e-9);
    ck_assert_double_eq_tol(d.deviation, 1.5, 1e-9);
    ck_assert_double_eq_tol(d.max, 3, 1e-9);
    close_bench(&b);
}
END_TEST

UNIT_MAIN("flow_set", {
    UNIT_TEST(hands_are_even);
    UNIT_TEST(a_full_hand_is_the_deck);
    UNIT_TEST(configurations_are_bounded);
    UNIT_TEST(a_level_that_rejects);
    UNIT_TEST(an_exempt_level);
    UNIT_TEST(one_flow_waits_in_order);
    UNIT_TEST(a_flood_does_not_starve_others);
    UNIT_TEST(seat_time_is_shared);
    UNIT_TEST(idle_queues_gather_no_claims);
    UNIT_TEST(a_wide_request_gets_its_seats);
    UNIT_TEST(wider_than_the_level);
    UNIT_TEST(cancelling);
    UNIT_TEST(seats_linger);
    UNIT_TEST(limits_change);
    UNIT_TEST(queues_come_and_go);
    UNIT_TEST(virtual_time_is_wound_back);
    UNIT_TEST(random_steps);
    UNIT_TEST(demand_is_measured);
})
