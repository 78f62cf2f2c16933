/* test_store_handover.c - a leader that is shut down hands over: nobody waits for
 * an election timeout. That is 20 s here, so that waiting for one shows. */
#include "test/unit/raftstore/store_rig.h"
#include "test/unit/unit.h"

#define WRITERS 8
#define WAIT_MS 12000 /* Much less than an election timeout, much more than a hand-over. */

struct writer {
    struct load *l;
    uint32_t store, number;
    struct answer answer;
};

struct load {
    struct rig *r;
    struct writer writers[WRITERS];
    uint32_t running;
    size_t acknowledged, failed;
    int code; /* Of the last that failed. */
    bool stop, idle;
};

static void write_next(struct writer *w);

static void on_written(int code, const struct txn_result *result, void *arg)
{
    struct writer *w = arg;
    struct load *l = w->l;
    UNUSED(result);
    l->acknowledged += code == 0;
    l->failed += code != 0;
    if (code != 0)
        l->code = code;
    if (!l->stop) {
        write_next(w);
        return;
    }
    l->idle = --l->running == 0;
}

static void write_next(struct writer *w)
{
    char key[16];
    snprintf(key, sizeof(key), "w%u", w->number);
    struct txn_op op = {.type = OP_PUT, .key = str_of(key), .value = STR("v")};
    store_txn(w->l->r->stores[w->store], &(struct txn){.success = &op, .success_count = 1},
              &w->l->r->mb, on_written, w);
}

/* Half of the writers on each of the two stores that stay. */
static void load_start(struct load *l, struct rig *r, uint32_t gone)
{
    *l = (struct load){.r = r, .running = WRITERS};
    for (uint32_t i = 0; i < WRITERS; i++) {
        l->writers[i] = (struct writer){.l = l, .store = (gone + 1 + i % 2) % 3, .number = i};
        write_next(&l->writers[i]);
    }
}

static void *close_store(void *arg)
{
    store_close(arg);
    return NULL;
}

static bool is_voter(struct rig *r, uint32_t i)
{
    struct store_status st;
    store_status(r->stores[i], &st);
    return st.is_voter;
}

/* A cluster without an election: it grows from one. */
static void grow(struct rig *r, uint32_t count)
{
    rig_init(r, 1);
    r->config.election_ms = 20000;
    rig_start(r, 0);
    rig_must_put(r, 0, "a", "1");
    r->config.join = true;
    for (uint32_t i = 1; i < count; i++) {
        struct answer a = {0};
        rig_start(r, i);
        store_member_add(r->stores[0], r->names[i], r->addresses[i], &r->mb, rig_on_done, &a);
        ck_assert(rig_wait(r, &a.done, 20000));
        ck_assert_int_eq(a.code, 0);
        for (int tries = 0; !is_voter(r, i) && tries < 1000; tries++)
            rig_sleep(r, 10);
        ck_assert(is_voter(r, i));
    }
}

/* Writes through the others go on while the leader shuts down; none fails. */
START_TEST(shut_down)
{
    struct rig r;
    grow(&r, 3);
    for (int round = 0; round < 4; round++) {
        struct load *l = xzalloc(sizeof(*l));
        pthread_t thread;
        uint32_t leader = (uint32_t)rig_leader(&r);
        load_start(l, &r, leader);
        rig_sleep(&r, 100);
        size_t before = l->acknowledged;
        ck_assert_uint_gt(before, 0);
        ck_assert_int_eq(pthread_create(&thread, NULL, close_store, r.stores[leader]), 0);
        r.stores[leader] = NULL;
        rig_sleep(&r, 200);
        l->stop = true;
        ck_assert(rig_wait(&r, &l->idle, WAIT_MS)); /* Each was answered. */
        ck_assert_msg(l->failed == 0, "%zu failed: %s", l->failed, error_text(l->code));
        ck_assert_uint_gt(l->acknowledged, before + WRITERS);
        pthread_join(thread, NULL);
        struct answer a = {0};
        store_read_barrier(r.stores[(leader + 1) % 3], &r.mb, rig_on_done, &a);
        ck_assert(rig_wait(&r, &a.done, WAIT_MS));
        ck_assert_int_eq(a.code, 0);
        rig_start(&r, leader);
        ck_assert(rig_caught_up(&r, WAIT_MS));
        free(l);
    }
    rig_done(&r);
}
END_TEST

/* A leader that is to be removed hands over to somebody who is there. */
START_TEST(remove_the_leader)
{
    struct rig r;
    grow(&r, 4);
    uint32_t leader = (uint32_t)rig_leader(&r);
    struct store_status st;
    struct answer a = {0};
    store_status(r.stores[leader], &st);
    rig_kill(&r, (leader + 1) % 4);
    rig_sleep(&r, 500); /* Some heartbeats. */
    store_member_remove(r.stores[(leader + 3) % 4], st.id, &r.mb, rig_on_done, &a);
    ck_assert(rig_wait(&r, &a.done, WAIT_MS));
    ck_assert_msg(a.code == 0, "%s", error_text(a.code));
    rig_done(&r);
}
END_TEST

UNIT_MAIN("store_handover", {
    UNIT_TEST(shut_down);
    UNIT_TEST(remove_the_leader);
})
