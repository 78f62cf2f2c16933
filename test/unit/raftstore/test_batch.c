/* Batches of commands, messages between members, the index of the log. */
#include "test/unit/unit.h"

#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "raftstore/batch.h"
#include "raftstore/peer_message.h"
#include "raftstore/tail.h"

/* Commands come back in order with their names, runs or not. */
START_TEST(batch_round_trip)
{
    static const struct batch_command in[] = {
        {1, 9, 4, {"one", 3}}, {1, 9, 5, {"", 0}},   {1, 9, 7, {"x", 1}},
        {2, 9, 8, {"y", 1}},   {1, 10, 8, {"z", 1}},
    };
    AUTO_BUF out = BUF_INIT;
    struct batch_writer w;
    batch_begin(&w, &out);
    for (size_t i = 0; i < ARRAY_SIZE(in); i++)
        batch_add(&w, &in[i]);
    struct batch_reader r;
    struct batch_command c;
    batch_open(&r, buf_str(&out));
    for (size_t i = 0; i < ARRAY_SIZE(in); i++) {
        ck_assert(batch_next(&r, &c));
        ck_assert(c.origin == in[i].origin && c.boot == in[i].boot && c.seq == in[i].seq);
        ck_assert(str_eq(c.bytes, in[i].bytes));
    }
    ck_assert(!batch_next(&r, &c) && !batch_failed(&r));
    uint32_t count;
    ck_assert(batch_valid(buf_str(&out), 0, &count) && count == 5);
    ck_assert(!batch_valid(buf_str(&out), 1, &count));
}
END_TEST

/* Every prefix of a batch is either whole runs or refused. */
START_TEST(batch_cut_short)
{
    AUTO_BUF out = BUF_INIT;
    struct batch_writer w;
    batch_begin(&w, &out);
    batch_add(&w, &(struct batch_command){1, 1, 1, STR("abc")});
    batch_add(&w, &(struct batch_command){1, 1, 2, STR("def")});
    uint32_t count;
    for (size_t n = 1; n < out.len; n++)
        ck_assert(!batch_valid(str_n((const char *)out.data, n), 0, &count));
}
END_TEST

/* A batch of nothing is valid; names with 0 are not. */
START_TEST(batch_refuses_zero)
{
    uint32_t count = 7;
    ck_assert(batch_valid(STR_NULL, 0, &count) && count == 0);
    for (unsigned field = 0; field < 3; field++) {
        AUTO_BUF out = BUF_INIT;
        struct batch_writer w;
        struct batch_command c = {field != 0, field != 1, field != 2, STR("c")};
        batch_begin(&w, &out);
        batch_add(&w, &c);
        ck_assert(!batch_valid(buf_str(&out), 0, &count));
    }
}
END_TEST

/* Entries travel inside an append message with type, term and payload. */
START_TEST(append_round_trip)
{
    AUTO_BUF out = BUF_INIT;
    struct entry *e[2] = {entry_new(ENTRY_COMMANDS, 6, 2, 3), entry_new(ENTRY_NOOP, 7, 3, 0)};
    memcpy(e[0]->data, "xyz", 3);
    struct peer_message m = {.type = CONSENSUS_APPEND};
    m.core.msg = (struct consensus_message){.type = CONSENSUS_APPEND, .term = 4};
    m.core.msg.append.prev_index = 5;
    m.core.msg.append.prev_term = 2;
    m.core.msg.append.commit = 4;
    m.core.msg.append.count = 2;
    m.core.msg.append.entries = e;
    peer_message_encode(&m, &out);
    struct peer_message back;
    ck_assert_int_eq(peer_message_decode(buf_str(&out), &back, NULL), 0);
    ck_assert_uint_eq(back.core.msg.append.count, 2);
    ck_assert_uint_eq(back.entries[1]->index, 7);
    ck_assert_uint_eq(back.entries[1]->term, 3);
    ck_assert(str_eq(entry_str(back.entries[0]), STR("xyz")));
    peer_message_done(&back);
    for (size_t n = 0; n < out.len; n++)
        ck_assert_int_eq(peer_message_decode(str_n((const char *)out.data, n), &back, NULL),
                         E_INVALID);
    entry_unref(e[0]);
    entry_unref(e[1]);
}
END_TEST

static void append(struct tail *t, uint64_t index, uint64_t term, uint32_t size)
{
    struct entry *e = entry_new(ENTRY_COMMANDS, index, term, size);
    memset(e->data, 'x', size);
    tail_append(t, e);
    entry_unref(e);
}

/* Terms stay known when payloads are let go; cutting and trimming move the ends. */
START_TEST(tail_ends)
{
    struct tail t;
    tail_init(&t);
    for (uint64_t i = 1; i <= 200; i++)
        append(&t, i, i / 50 + 1, 10);
    tail_evict(&t, 1000, 150);
    ck_assert_ptr_null(tail_get(&t, 1));
    ck_assert_ptr_nonnull(tail_get(&t, 151));
    ck_assert_uint_eq(tail_term(&t, 1), 1);
    tail_cut(&t, 190);
    ck_assert_uint_eq(tail_last(&t), 189);
    tail_set_base(&t, 100, tail_term(&t, 100));
    tail_trim(&t, 101);
    ck_assert_uint_eq(t.first, 101);
    ck_assert_uint_eq(tail_term(&t, 100), 3);
    ck_assert_uint_eq(tail_term(&t, 99), 0);
    tail_reset(&t, 500, 9);
    ck_assert_uint_eq(tail_last(&t), 500);
    append(&t, 501, 9, 1);
    ck_assert_uint_eq(t.first, 501);
    tail_done(&t);
}
END_TEST

/* Cutting into what was evicted leaves the payloads' bound at the end. */
START_TEST(tail_cut_evicted)
{
    struct tail t;
    tail_init(&t);
    for (uint64_t i = 1; i <= 20; i++)
        append(&t, i, 1, 100);
    tail_evict(&t, 0, 20);
    ck_assert_uint_eq(t.cache_bytes, 0);
    tail_cut(&t, 10);
    append(&t, 10, 2, 5);
    ck_assert_ptr_nonnull(tail_get(&t, 10));
    ck_assert_ptr_null(tail_get(&t, 9));
    ck_assert_uint_eq(t.cached, 10);
    tail_done(&t);
}
END_TEST

UNIT_MAIN("batch", {
    UNIT_TEST(batch_round_trip);
    UNIT_TEST(batch_cut_short);
    UNIT_TEST(batch_refuses_zero);
    UNIT_TEST(append_round_trip);
    UNIT_TEST(tail_ends);
    UNIT_TEST(tail_cut_evicted);
})
