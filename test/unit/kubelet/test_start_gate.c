/* test_start_gate.c - whose start of a sandbox or container goes when. */
#include "kubelet/start_gate.h"

#include "test/unit/unit.h"

static struct start_queue queue;
static struct start_turn turns[64];

static void setup(void)
{
    start_queue_init(&queue, 2);
    for (size_t i = 0; i < ARRAY_SIZE(turns); i++)
        start_turn_init(&turns[i], NULL);
}

static struct start_turn *enter(size_t i, enum start_rank rank, int64_t priority, uint64_t now_ms)
{
    turns[i].rank = rank;
    turns[i].priority = priority;
    start_queue_enter(&queue, &turns[i], now_ms);
    return &turns[i];
}

/* As many as the width go, the next when one comes back, in the order of asking. */
START_TEST(test_width_and_order)
{
    setup();
    for (size_t i = 0; i < 4; i++)
        enter(i, START_RANK_SANDBOX, 0, i);
    ck_assert_ptr_eq(start_queue_next(&queue, 10), &turns[0]);
    ck_assert_ptr_eq(start_queue_next(&queue, 10), &turns[1]);
    ck_assert_ptr_null(start_queue_next(&queue, 10));
    ck_assert_uint_eq(turns[1].waited_ms, 9);
    start_queue_leave(&queue, &turns[1]);
    ck_assert_ptr_eq(start_queue_next(&queue, 11), &turns[2]);
    ck_assert_ptr_null(start_queue_next(&queue, 11));
}
END_TEST

/* Containers of pods that have begun go before sandboxes; then the priority of pods counts. */
START_TEST(test_ranks)
{
    setup();
    enter(0, START_RANK_SANDBOX, 0, 0);
    enter(1, START_RANK_SANDBOX, 2000001000, 0);
    enter(2, START_RANK_CONTAINER, -5, 0);
    enter(3, START_RANK_SANDBOX, 2000001000, 0);
    enter(4, START_RANK_CONTAINER, 7, 0);
    static const size_t order[] = {4, 2, 1, 3, 0};
    for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
        ck_assert_ptr_eq(start_queue_next(&queue, 1), &turns[order[i]]);
        start_queue_leave(&queue, &turns[order[i]]);
    }
}
END_TEST

/* Who waits may go away; so may who is out, once or twice, lent or not. */
START_TEST(test_leaving)
{
    setup();
    for (size_t i = 0; i < 5; i++)
        enter(i, START_RANK_SANDBOX, 0, 0);
    start_queue_leave(&queue, &turns[0]);
    ck_assert_ptr_eq(start_queue_next(&queue, 0), &turns[1]);
    ck_assert_ptr_eq(start_queue_next(&queue, 0), &turns[2]);
    start_queue_look(&queue, 4, 0, START_GATE_LEND_MS);
    ck_assert_int_eq(turns[1].state, TURN_LENT);
    start_queue_leave(&queue, &turns[1]);
    start_queue_leave(&queue, &turns[1]);
    start_queue_leave(&queue, &turns[2]);
    ck_assert_uint_eq(queue.out_count, 0);
    ck_assert_ptr_eq(start_queue_next(&queue, 0), &turns[3]);
    ck_assert_ptr_eq(start_queue_next(&queue, 0), &turns[4]);
    ck_assert_uint_eq(queue.out_count, 2);
}
END_TEST

/* A call that hangs keeps nobody waiting, however busy the machine is. */
START_TEST(test_hung_calls)
{
    setup();
    for (size_t i = 0; i < 4; i++)
        enter(i, START_RANK_SANDBOX, 0, 0);
    start_queue_next(&queue, 0);
    start_queue_next(&queue, 500);
    start_queue_look(&queue, 2, 0, START_GATE_LEND_MS - 1);
    ck_assert_ptr_null(start_queue_next(&queue, START_GATE_LEND_MS));
    start_queue_look(&queue, 2, 0, START_GATE_LEND_MS);
    ck_assert_ptr_eq(start_queue_next(&queue, START_GATE_LEND_MS), &turns[2]);
    ck_assert_ptr_null(start_queue_next(&queue, START_GATE_LEND_MS));
}
END_TEST

/* Idle processors let more in with each look; busy ones take that back, without calling anybody
 * back. */
START_TEST(test_idle_processors)
{
    setup();
    for (size_t i = 0; i < 20; i++)
        enter(i, START_RANK_SANDBOX, 0, 0);
    size_t out = 0;
    while (start_queue_next(&queue, 0) != NULL)
        out++;
    ck_assert_uint_eq(out, 2);
    start_queue_look(&queue, 4, START_GATE_IDLE_PERCENT, 100);
    while (start_queue_next(&queue, 100) != NULL)
        out++;
    ck_assert_uint_eq(out, 6);
    start_queue_look(&queue, 4, START_GATE_IDLE_PERCENT - 1, 200);
    for (size_t i = 0; i < 4; i++) {
        start_queue_leave(&queue, &turns[i]);
        ck_assert_ptr_null(start_queue_next(&queue, 200));
    }
    start_queue_leave(&queue, &turns[4]);
    ck_assert_ptr_nonnull(start_queue_next(&queue, 200));
}
END_TEST

/* Once nobody waits, what idle processors let in is over. */
START_TEST(test_a_new_wave)
{
    setup();
    for (size_t i = 0; i < 3; i++)
        enter(i, START_RANK_SANDBOX, 0, 0);
    start_queue_next(&queue, 0);
    start_queue_next(&queue, 0);
    start_queue_look(&queue, 2, 100, 100);
    start_queue_next(&queue, 100);
    for (size_t i = 0; i < 3; i++)
        start_queue_leave(&queue, &turns[i]);
    for (size_t i = 0; i < 3; i++)
        enter(i, START_RANK_SANDBOX, 0, 200);
    start_queue_next(&queue, 200);
    start_queue_next(&queue, 200);
    ck_assert_ptr_null(start_queue_next(&queue, 200));
}
END_TEST

/* Whatever happens: nobody is lost, none goes twice, counts are right. */
START_TEST(test_random)
{
    setup();
    uint64_t random = 88172645463325252u, now_ms = 0;
    size_t went = 0, asked = 0;
    for (int step = 0; step < 200000; step++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        struct start_turn *t = &turns[random % ARRAY_SIZE(turns)];
        now_ms += random >> 60;
        switch (random >> 32 & 3) {
        case 0:
            if (t->state == TURN_NONE) {
                t->rank = random >> 40 & 1;
                t->priority = (int64_t)(random >> 48 & 3);
                start_queue_enter(&queue, t, now_ms);
                asked++;
            }
            break;
        case 1:
            went += t->state == TURN_WAITING; /* It gives up. */
            start_queue_leave(&queue, t);
            break;
        case 2:
            start_queue_look(&queue, 2, (unsigned)(random >> 44 & 127), now_ms);
            break;
        default:
            while ((t = start_queue_next(&queue, now_ms)) != NULL) {
                ck_assert_int_eq(t->state, TURN_OUT);
                went++;
            }
            ck_assert(list_empty(&queue.waiting) || queue.out_count >= queue.width);
        }
        unsigned out = 0, waiting = 0;
        for (size_t i = 0; i < ARRAY_SIZE(turns); i++) {
            out += turns[i].state == TURN_OUT;
            waiting += turns[i].state == TURN_WAITING;
        }
        ck_assert_uint_eq(queue.out_count, out);
        ck_assert_uint_eq(asked, went + waiting);
    }
}
END_TEST

UNIT_MAIN("start gate", {
    UNIT_TEST(test_width_and_order);
    UNIT_TEST(test_ranks);
    UNIT_TEST(test_leaving);
    UNIT_TEST(test_hung_calls);
    UNIT_TEST(test_idle_processors);
    UNIT_TEST(test_a_new_wave);
    UNIT_TEST(test_random);
})
