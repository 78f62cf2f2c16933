/* The consensus seam over the core: starting, leading alone, changes of members.
 * Guards have drills of their own (test/sim/sim_drills.c). */
#include "test/unit/unit.h"

#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "raftstore/consensus_internal.h"

#define LOG_MAX 64

static struct rig {
    struct consensus *c;
    struct entry *log[LOG_MAX]; /* log[i] has index i + 1. */
    uint64_t last, commit, term, vote;
    uint32_t sent, votes_saved;
    struct consensus_message newest;
} rig;

static void on_save_vote(void *arg, uint64_t term, uint64_t voted_for)
{
    (void)arg;
    rig.term = term;
    rig.vote = voted_for;
    rig.votes_saved++;
}

static void on_append(void *arg, uint64_t first_index, struct entry *const *entries, uint32_t count)
{
    (void)arg;
    ck_assert_uint_eq(first_index, rig.last + 1);
    for (uint32_t i = 0; i < count; i++)
        rig.log[rig.last++] = entry_ref(entries[i]);
}

static void on_install(void *arg, const struct consensus_snapshot *s)
{
    (void)arg;
    (void)s;
}

static void on_send(void *arg, const struct consensus_message *m)
{
    (void)arg;
    rig.sent++;
    rig.newest = *m;
}

static void on_committed(void *arg, uint64_t commit_index)
{
    (void)arg;
    ck_assert_uint_gt(commit_index, rig.commit);
    rig.commit = commit_index;
}

static void on_changed(void *arg)
{
    (void)arg;
}

static uint64_t term_at(void *arg, uint64_t index)
{
    (void)arg;
    return index >= 1 && index <= rig.last ? rig.log[index - 1]->term : 0;
}

static const struct consensus_ops ops = {on_save_vote, on_append,  on_install, on_send,
                                         on_committed, on_changed, term_at};

static struct members voters(uint64_t count)
{
    struct members m = {0};
    for (uint64_t id = 1; id <= count; id++) {
        char address[2] = {(char)('a' + id), 0};
        members_add(&m, id, MEMBER_VOTER, address);
    }
    return m;
}

/* Member 1 of a cluster of `count` voters, with the first entry on its disk. */
static void start(uint64_t count)
{
    AUTO_BUF bytes = BUF_INIT;
    struct error err = {0};
    struct members m = voters(count);
    members_encode(&m, &bytes);
    members_done(&m);
    memset(&rig, 0, sizeof(rig));
    rig.log[0] = entry_new(ENTRY_MEMBERS, 1, 1, (uint32_t)bytes.len);
    memcpy(rig.log[0]->data, bytes.data, bytes.len);
    rig.last = rig.term = 1;
    struct consensus_config config = {.id = 1,
                                      .seed = 7,
                                      .election_ms = 1000,
                                      .heartbeat_ms = 100,
                                      .install_ms = 5000,
                                      .ops = &ops};
    ck_assert_int_eq(consensus_new(&config, &rig.c, &err), 0);
    struct consensus_entry_info info = {1, ENTRY_MEMBERS, buf_str(&bytes)};
    struct consensus_recovered r = {.term = 1, .first_index = 1, .entries = &info, .count = 1};
    ck_assert_int_eq(consensus_start(rig.c, 10, &r, &err), 0);
}

static void stop(void)
{
    consensus_check(rig.c);
    consensus_free(rig.c);
    while (rig.last > 0)
        entry_unref(rig.log[--rig.last]);
}

/* A sole voter leads when start returns, in a new term with its own vote. */
START_TEST(sole_voter_leads_at_once)
{
    start(1);
    ck_assert_int_eq(consensus_state(rig.c), CONSENSUS_LEADER);
    ck_assert_uint_eq(rig.term, 2);
    ck_assert_uint_eq(rig.vote, 1);
    ck_assert_uint_eq(rig.last, 2); /* The no-op of its term. */
    ck_assert_int_eq(rig.log[1]->type, ENTRY_NOOP);
    ck_assert_uint_eq(rig.sent, 0);
    stop();
}
END_TEST

/* Nothing commits before it is durable. */
START_TEST(commit_waits_for_the_disk)
{
    start(1);
    ck_assert_uint_eq(rig.commit, 1);
    struct entry *e = entry_new(ENTRY_COMMANDS, 0, 0, 0);
    ck_assert_int_eq(consensus_propose(rig.c, 20, &e, 1), 0);
    ck_assert_uint_eq(e->index, 3);
    ck_assert_uint_eq(e->term, 2);
    entry_unref(e);
    ck_assert_uint_eq(rig.commit, 1);
    consensus_persisted(rig.c, 30, 2);
    ck_assert_uint_eq(rig.commit, 2);
    consensus_persisted(rig.c, 30, 3);
    ck_assert_uint_eq(rig.commit, 3);
    stop();
}
END_TEST

/* A follower of three neither leads nor takes proposals; it asks for pre-votes
 * after its time, without a new term. */
START_TEST(follower_of_three)
{
    start(3);
    struct entry *e = entry_new(ENTRY_COMMANDS, 0, 0, 0);
    ck_assert_int_eq(consensus_propose(rig.c, 20, &e, 1), E_NOT_LEADER);
    entry_unref(e);
    ck_assert_int_eq(consensus_transfer(rig.c, 20, 0), E_NOT_LEADER);
    uint64_t due = consensus_deadline(rig.c);
    ck_assert(due >= 1010 && due <= 2010);
    consensus_tick(rig.c, due);
    ck_assert_uint_eq(rig.sent, 2);
    ck_assert_int_eq(rig.newest.type, CONSENSUS_VOTE);
    ck_assert(rig.newest.vote.pre_vote);
    ck_assert_uint_eq(rig.votes_saved, 0);
    stop();
}
END_TEST

/* Only the election that a transfer starts may unseat the leader, not the ones after it. */
START_TEST(transfer_disrupts_once)
{
    start(3);
    struct consensus_message beat = {.type = CONSENSUS_APPEND, .peer = 2, .term = 1};
    beat.append.prev_index = beat.append.prev_term = 1;
    ck_assert_int_eq(consensus_receive(rig.c, 15, &beat, NULL), 0);
    struct consensus_message go = {.type = CONSENSUS_TIMEOUT_NOW, .peer = 2, .term = 1};
    go.timeout_now.last_index = go.timeout_now.last_term = 1;
    ck_assert_int_eq(consensus_receive(rig.c, 20, &go, NULL), 0);
    ck_assert_int_eq(rig.newest.type, CONSENSUS_VOTE);
    ck_assert_uint_eq(rig.newest.term, 2);
    ck_assert(rig.newest.vote.disrupt_leader);
    for (unsigned round = 0; round < 3; round++) {
        rig.newest.type = CONSENSUS_APPEND;
        consensus_tick(rig.c, consensus_deadline(rig.c));
        ck_assert_int_eq(rig.newest.type, CONSENSUS_VOTE);
        ck_assert(!rig.newest.vote.disrupt_leader);
    }
    stop();
}
END_TEST

/* Vote before the messages of the new term: the driver holds them by the order. */
START_TEST(election)
{
    start(3);
    uint64_t now = consensus_deadline(rig.c);
    consensus_tick(rig.c, now);
    struct consensus_message yes = {.type = CONSENSUS_VOTE_RESULT, .peer = 2, .term = 2};
    yes.vote_result.granted = yes.vote_result.pre_vote = true;
    consensus_receive(rig.c, now, &yes, NULL);
    ck_assert_uint_eq(rig.term, 2);
    ck_assert_uint_eq(rig.vote, 1);
    yes.vote_result.pre_vote = false;
    consensus_receive(rig.c, now, &yes, NULL);
    ck_assert_int_eq(consensus_state(rig.c), CONSENSUS_LEADER);
    ck_assert_uint_eq(rig.last, 2);
    /* The other's word and our disk commit the no-op. */
    struct consensus_message ack = {.type = CONSENSUS_APPEND_RESULT, .peer = 2, .term = 2};
    ack.append_result.last_index = 2;
    consensus_receive(rig.c, now, &ack, NULL);
    ck_assert_uint_eq(rig.commit, 1);
    consensus_persisted(rig.c, now, 2);
    ck_assert_uint_eq(rig.commit, 2);
    ck_assert_uint_eq(consensus_match_index(rig.c, 2), 2);
    stop();
}
END_TEST

/* A change counts at once, is pending until committed, and only one at a time. */
START_TEST(change_of_members)
{
    start(1);
    consensus_persisted(rig.c, 20, 2);
    struct members next;
    uint64_t index = 0;
    members_copy(&next, consensus_members(rig.c));
    members_add(&next, 2, MEMBER_STANDBY, "b");
    ck_assert_int_eq(consensus_change(rig.c, 20, &next, &index, NULL), 0);
    ck_assert_uint_eq(index, 3);
    ck_assert_uint_eq(consensus_change_index(rig.c), 3);
    ck_assert_uint_eq(consensus_members(rig.c)->count, 2);
    ck_assert_str_eq(consensus_members(rig.c)->items[1].address, "b");
    members_add(&next, 3, MEMBER_STANDBY, "c");
    ck_assert_int_eq(consensus_change(rig.c, 20, &next, &index, NULL), E_AGAIN);
    consensus_persisted(rig.c, 30, 3);
    ck_assert_uint_eq(consensus_change_index(rig.c), 0);
    ck_assert_int_eq(consensus_change(rig.c, 30, &next, &index, NULL), 0);
    members_done(&next);
    stop();
}
END_TEST

static int step(struct members *next)
{
    struct members now = voters(3);
    int rc = consensus_check_step(&now, next, NULL);
    members_done(&now);
    members_done(next);
    return rc;
}

/* One difference at most and at least, order kept, a voter left. */
START_TEST(steps)
{
    struct members m = voters(3);
    ck_assert_int_eq(step(&m), E_INVALID);
    m = voters(4);
    ck_assert_int_eq(step(&m), 0);
    m = voters(5);
    ck_assert_int_eq(step(&m), E_INVALID);
    m = voters(2);
    ck_assert_int_eq(step(&m), 0);
    m = voters(3);
    m.items[1].role = MEMBER_STANDBY;
    ck_assert_int_eq(step(&m), 0);
    m = voters(3);
    m.items[1].role = m.items[0].role = MEMBER_STANDBY;
    ck_assert_int_eq(step(&m), E_INVALID);
    m = voters(3);
    members_remove(&m, 1);
    members_add(&m, 1, MEMBER_VOTER, "b");
    ck_assert_int_eq(step(&m), E_INVALID);
    m = (struct members){0};
    ck_assert_int_eq(step(&m), E_INVALID);
}
END_TEST

/* Lists of members survive their encoding; damage is refused. */
START_TEST(members_encoding)
{
    AUTO_BUF out = BUF_INIT;
    struct members m = voters(3), back;
    m.items[2].role = MEMBER_STANDBY;
    members_encode(&m, &out);
    members_done(&m);
    ck_assert_int_eq(members_decode(buf_str(&out), &back, NULL), 0);
    ck_assert_uint_eq(back.count, 3);
    ck_assert_int_eq(back.items[2].role, MEMBER_STANDBY);
    members_done(&back);
    for (size_t n = 0; n < out.len; n++)
        ck_assert_int_eq(members_decode(str_n((const char *)out.data, n), &back, NULL), E_INVALID);
    out.data[1] = out.data[12]; /* The same id twice. */
    memcpy(out.data + 1, out.data + 12, 8);
    ck_assert_int_eq(members_decode(buf_str(&out), &back, NULL), E_INVALID);
}
END_TEST

UNIT_MAIN("consensus", {
    UNIT_TEST(sole_voter_leads_at_once);
    UNIT_TEST(commit_waits_for_the_disk);
    UNIT_TEST(follower_of_three);
    UNIT_TEST(transfer_disrupts_once);
    UNIT_TEST(election);
    UNIT_TEST(change_of_members);
    UNIT_TEST(steps);
    UNIT_TEST(members_encoding);
})
