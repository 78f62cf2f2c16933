/* The replica, driven by hand: batches, answers, reads, back-pressure, recovery.
 * What needs whole clusters and faults is in test/sim. */
#include "test/unit/unit.h"

#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "raftstore/peer_message.h"
#include "raftstore/replica.h"

#define SEQ_MAX 64
#define MSG_MAX 64

struct rig {
    struct replica *r;
    uint64_t now;
    uint64_t seq; /* Newest write. */
    struct entry *entries[SEQ_MAX];
    uint32_t entry_count;
    struct replica_vote vote;
    uint32_t votes;
    char applied[256]; /* The commands, one letter each. */
    void *answered;    /* Newest cookie. */
    uint32_t answers;
    int failed_code;
    uint32_t failures;
    int read_code;
    uint64_t read_index;
    uint32_t reads;
    int change_code;
    uint32_t changes;
    uint32_t snapshots;
    uint64_t snapshot_index, snapshot_term;
    struct buf snapshot_meta;
    uint64_t trimmed;
    int fatal_code;
    struct buf sent[MSG_MAX];
    uint64_t sent_to[MSG_MAX];
    uint32_t sent_count;
};

static struct rig rig;

static void on_save_vote(void *arg, uint64_t seq, const struct replica_vote *v)
{
    (void)arg;
    rig.seq = seq;
    rig.vote = *v;
    rig.votes++;
}

static void on_append(void *arg, uint64_t seq, uint64_t first_index, struct entry *const *entries,
                      uint32_t count)
{
    (void)arg;
    rig.seq = seq;
    while (rig.entry_count > 0 && rig.entries[rig.entry_count - 1]->index >= first_index)
        entry_unref(rig.entries[--rig.entry_count]);
    for (uint32_t i = 0; i < count; i++)
        rig.entries[rig.entry_count++] = entry_ref(entries[i]);
}

static void on_install(void *arg, uint64_t seq, uint64_t transfer, const struct replica_snapshot *s)
{
    (void)arg, (void)seq, (void)transfer, (void)s;
}

static void on_reset(void *arg, uint64_t seq, uint64_t index, uint64_t term)
{
    (void)arg, (void)seq, (void)index, (void)term;
}

static void on_trim(void *arg, uint64_t first_index)
{
    (void)arg;
    rig.trimmed = first_index;
}

static void on_read_entries(void *arg, uint64_t token, uint64_t first, uint64_t last,
                            uint32_t bytes_max)
{
    (void)arg, (void)token, (void)first, (void)last, (void)bytes_max;
}

static void on_take_snapshot(void *arg, const struct replica_snapshot *s)
{
    (void)arg;
    rig.snapshots++;
    rig.snapshot_index = s->index;
    rig.snapshot_term = s->term;
    buf_clear(&rig.snapshot_meta);
    buf_append_str(&rig.snapshot_meta, s->meta);
}

static void on_read_snapshot(void *arg, uint64_t token, uint64_t index, uint64_t offset,
                             uint32_t bytes_max)
{
    (void)arg, (void)token, (void)index, (void)offset, (void)bytes_max;
}

static void on_index(void *arg, uint64_t index)
{
    (void)arg, (void)index;
}

static void on_write_snapshot(void *arg, uint64_t transfer, uint64_t offset, struct str bytes,
                              bool last)
{
    (void)arg, (void)transfer, (void)offset, (void)bytes, (void)last;
}

static void on_send(void *arg, uint64_t to, struct buf *msg)
{
    (void)arg;
    ck_assert_uint_lt(rig.sent_count, MSG_MAX);
    rig.sent_to[rig.sent_count] = to;
    rig.sent[rig.sent_count++] = *msg;
    *msg = BUF_INIT;
}

static void on_members(void *arg, const struct members *m)
{
    (void)arg, (void)m;
}

static void on_apply(void *arg, const struct replica_command *c)
{
    (void)arg;
    strncat(rig.applied, c->bytes.data, 1);
    if (c->cookie == NULL)
        return;
    rig.answered = c->cookie;
    rig.answers++;
}

static void on_failed(void *arg, void *cookie, int code)
{
    (void)arg, (void)cookie;
    rig.failed_code = code;
    rig.failures++;
}

static void on_read_done(void *arg, void *cookie, int code, uint64_t index)
{
    (void)arg, (void)cookie;
    rig.read_code = code;
    rig.read_index = index;
    rig.reads++;
}

static void on_change_done(void *arg, void *cookie, int code)
{
    (void)arg, (void)cookie;
    rig.change_code = code;
    rig.changes++;
}

static void on_changed(void *arg)
{
    (void)arg;
}

static void on_fatal(void *arg, int code, const char *message)
{
    (void)arg, (void)message;
    rig.fatal_code = code;
}

static const struct replica_ops ops = {
    .save_vote = on_save_vote,
    .append = on_append,
    .install_snapshot = on_install,
    .reset_log = on_reset,
    .trim = on_trim,
    .read_entries = on_read_entries,
    .take_snapshot = on_take_snapshot,
    .read_snapshot = on_read_snapshot,
    .release_snapshot = on_index,
    .write_snapshot = on_write_snapshot,
    .drop_snapshot = on_index,
    .send = on_send,
    .members_changed = on_members,
    .apply = on_apply,
    .applied = on_index,
    .propose_failed = on_failed,
    .read_done = on_read_done,
    .change_done = on_change_done,
    .changed = on_changed,
    .fatal = on_fatal,
};

static struct replica_config base_config(void)
{
    return (struct replica_config){.id = 1, .seed = 5, .boot = 1, .ops = &ops};
}

static void make(const struct replica_config *config)
{
    struct error err = {0};
    memset(&rig, 0, sizeof(rig));
    rig.now = 1000;
    ck_assert_int_eq(replica_new(config, &rig.r, &err), 0);
}

static void start(struct replica_config config, uint64_t members)
{
    struct members m = {0};
    struct error err = {0};
    for (uint64_t id = 1; id <= members; id++) {
        char address[2] = {(char)('a' + id), 0};
        members_add(&m, id, MEMBER_VOTER, address);
    }
    make(&config);
    ck_assert_int_eq(replica_start(rig.r, rig.now, NULL, &m, &err), 0);
    members_done(&m);
}

static void stop(void)
{
    replica_free(rig.r);
    while (rig.entry_count > 0)
        entry_unref(rig.entries[--rig.entry_count]);
    while (rig.sent_count > 0)
        buf_done(&rig.sent[--rig.sent_count]);
    buf_done(&rig.snapshot_meta);
}

static void run(void)
{
    while (replica_run(rig.r, rig.now))
        continue;
}

static void persist(void)
{
    replica_persisted(rig.r, rig.now, rig.seq);
    run();
}

static void propose(const char *letter)
{
    ck_assert_int_eq(replica_propose(rig.r, rig.now, str_of(letter), (void *)letter), 0);
}

static enum replica_state state(void)
{
    struct replica_status st;
    replica_status(rig.r, &st);
    return st.state;
}

/* Alone: leader without waiting, serving as soon as the first sync is done. */
START_TEST(alone)
{
    start(base_config(), 1);
    ck_assert_int_eq(state(), REPLICA_LEADER);
    propose("a");
    run();
    ck_assert_uint_eq(rig.answers, 0);
    persist();
    persist();
    ck_assert_uint_eq(rig.answers, 1);
    ck_assert_str_eq(rig.applied, "a");
    ck_assert_uint_eq(rig.vote.term, 2);
    ck_assert_uint_eq(rig.vote.voted_for, 1);
    stop();
}
END_TEST

/* What comes while the disk writes shares the next entry. */
START_TEST(group_commit)
{
    start(base_config(), 1);
    run();
    persist();
    uint32_t before = rig.entry_count;
    propose("a");
    run();
    ck_assert_uint_eq(rig.entry_count, before + 1);
    propose("b");
    run();
    propose("c");
    propose("d");
    run();
    ck_assert_uint_eq(rig.entry_count, before + 1);
    persist();
    ck_assert_uint_eq(rig.entry_count, before + 2);
    persist();
    ck_assert_str_eq(rig.applied, "abcd");
    ck_assert_uint_eq(rig.answers, 4);
    stop();
}
END_TEST

/* Batches and queue are bounded. */
START_TEST(bounds)
{
    static char big[600];
    struct replica_config c = base_config();
    c.entry_bytes = 1000;
    c.queue_bytes = 2000;
    start(c, 1);
    run();
    persist();
    memset(big, 'x', sizeof(big));
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(replica_propose(rig.r, rig.now, str_n(big, sizeof(big)), big), 0);
    ck_assert_int_eq(replica_propose(rig.r, rig.now, str_n(big, sizeof(big)), big), E_TOO_MANY);
    ck_assert_int_eq(replica_propose(rig.r, rig.now, str_n(big, REPLICA_COMMAND_MAX + 1), big),
                     E_TOO_LARGE);
    uint32_t before = rig.entry_count;
    run();
    for (uint32_t i = before; i < rig.entry_count; i++)
        ck_assert_uint_lt(rig.entries[i]->size, 1000);
    while (rig.answers < 3)
        persist();
    ck_assert_int_eq(replica_propose(rig.r, rig.now, str_n(big, sizeof(big)), big), 0);
    stop();
}
END_TEST

/* A follower that never handed a proposal to anyone knows that it did not happen. */
START_TEST(no_leader)
{
    start(base_config(), 3);
    propose("a");
    ck_assert_int_eq(replica_read(rig.r, rig.now, &rig), 0);
    run();
    rig.now += 6999;
    replica_tick(rig.r, rig.now);
    ck_assert_uint_eq(rig.failures, 0);
    rig.now += 200;
    replica_tick(rig.r, rig.now);
    ck_assert_int_eq(rig.failed_code, E_UNAVAILABLE);
    ck_assert_int_eq(rig.read_code, E_UNAVAILABLE);
    stop();
}
END_TEST

/* On close everything is answered. */
START_TEST(close_answers)
{
    start(base_config(), 3);
    propose("a");
    ck_assert_int_eq(replica_read(rig.r, rig.now, &rig), 0);
    ck_assert_int_eq(replica_change(rig.r, rig.now, REPLICA_REMOVE, 2, NULL, &rig), 0);
    replica_close(rig.r);
    ck_assert_int_eq(rig.failed_code, E_CLOSED);
    ck_assert_int_eq(rig.read_code, E_CLOSED);
    ck_assert_int_eq(rig.change_code, E_CLOSED);
    ck_assert_int_eq(replica_propose(rig.r, rig.now, STR("b"), &rig), E_UNAVAILABLE);
    stop();
}
END_TEST

/* A read waits for the first commit of the term and writes nothing. */
START_TEST(reads_alone)
{
    start(base_config(), 1);
    ck_assert_int_eq(replica_read(rig.r, rig.now, &rig), 0);
    run();
    ck_assert_uint_eq(rig.reads, 0);
    persist();
    ck_assert_uint_eq(rig.reads, 1);
    uint64_t seq = rig.seq;
    ck_assert_int_eq(replica_read(rig.r, rig.now, &rig), 0);
    run();
    ck_assert_uint_eq(rig.reads, 2);
    ck_assert_uint_eq(rig.read_index, 2);
    ck_assert_uint_eq(rig.seq, seq);
    stop();
}
END_TEST

/* Nothing is said before the vote is durable. */
START_TEST(messages_wait_for_the_vote)
{
    start(base_config(), 3);
    ck_assert_uint_eq(rig.votes, 1);
    rig.now = replica_deadline(rig.r);
    while (rig.sent_count == 0 && rig.now < 10000) {
        replica_tick(rig.r, rig.now += 100);
        run();
    }
    ck_assert_uint_eq(rig.sent_count, 0);
    persist();
    ck_assert_uint_gt(rig.sent_count, 0);
    stop();
}
END_TEST

static void letter_command(struct buf *out, uint64_t seq, const char *letter)
{
    buf_put_varint(out, 1); /* origin, boot, seq, count, length */
    buf_put_varint(out, 1);
    buf_put_varint(out, seq);
    buf_put_le32(out, 1);
    buf_put_varint(out, 1);
    buf_puts(out, letter);
}

static struct entry *recovered_entry(uint64_t index, enum entry_type type, const struct buf *bytes)
{
    struct entry *e = entry_new(type, index, 1, (uint32_t)bytes->len);
    if (bytes->len > 0)
        memcpy(e->data, bytes->data, bytes->len);
    return e;
}

/* A log in which commands stand twice, and one out of order, applies each once. */
START_TEST(no_double_application)
{
    static const struct {
        uint64_t seq;
        const char *letter;
    } log[] = {{1, "a"}, {2, "b"}, {1, "a"}, {4, "d"}, {3, "c"}, {4, "d"}, {5, "e"}};
    struct replica_config c = base_config();
    struct replica_vote vote = {1, 0};
    struct members m = {0};
    AUTO_BUF list = BUF_INIT;
    c.boot = 2;
    make(&c);
    members_add(&m, 1, MEMBER_VOTER, "a");
    members_encode(&m, &list);
    members_done(&m);
    struct entry *e = recovered_entry(1, ENTRY_MEMBERS, &list);
    ck_assert_int_eq(replica_recover_entry(rig.r, e, NULL), 0);
    entry_unref(e);
    for (uint64_t i = 0; i < ARRAY_SIZE(log); i++) {
        AUTO_BUF bytes = BUF_INIT;
        letter_command(&bytes, log[i].seq, log[i].letter);
        e = recovered_entry(i + 2, ENTRY_COMMANDS, &bytes);
        ck_assert_int_eq(replica_recover_entry(rig.r, e, NULL), 0);
        entry_unref(e);
    }
    ck_assert_int_eq(replica_start(rig.r, rig.now, &vote, NULL, NULL), 0);
    run();
    persist();
    ck_assert_str_eq(rig.applied, "abde");
    stop();
}
END_TEST

/* Snapshots are taken by bytes of log; the log behind is trimmed. */
START_TEST(snapshots_and_trim)
{
    struct replica_config c = base_config();
    c.snapshot_log_bytes = 400;
    c.trail_bytes = 100;
    start(c, 1);
    run();
    persist();
    for (int i = 0; i < 20 && rig.snapshots == 0; i++) {
        propose("x");
        run();
        persist();
    }
    ck_assert_uint_eq(rig.snapshots, 1);
    ck_assert_uint_eq(rig.trimmed, 0);
    replica_snapshot_taken(rig.r, rig.now, rig.snapshot_index, 0);
    ck_assert_uint_gt(rig.trimmed, 1);
    ck_assert_uint_le(rig.trimmed, rig.snapshot_index + 1);
    struct replica_status st;
    replica_status(rig.r, &st);
    ck_assert_uint_eq(st.snapshot_index, rig.snapshot_index);
    ck_assert_uint_eq(st.first_index, rig.trimmed);
    stop();
}
END_TEST

/* Damaged or contradicting data on disk is refused, not repaired by guessing. */
START_TEST(recovery_refuses)
{
    struct replica_config c = base_config();
    AUTO_BUF empty = BUF_INIT;
    struct replica_vote vote = {0, 0};
    make(&c);
    struct entry *e = recovered_entry(5, ENTRY_NOOP, &empty);
    ck_assert_int_eq(replica_recover_entry(rig.r, e, NULL), E_CORRUPT);
    e->index = 1;
    ck_assert_int_eq(replica_recover_entry(rig.r, e, NULL), 0);
    e->index = 3;
    ck_assert_int_eq(replica_recover_entry(rig.r, e, NULL), E_CORRUPT);
    ck_assert_int_eq(replica_start(rig.r, rig.now, &vote, NULL, NULL), E_CORRUPT);
    entry_unref(e);
    stop();
    make(&c);
    struct replica_snapshot s = {7, 2, STR("not a meta")};
    ck_assert_int_eq(replica_recover_snapshot(rig.r, &s, NULL), E_CORRUPT);
    stop();
}
END_TEST

/* Garbage from peers is refused and harms nothing. */
START_TEST(garbage_from_peers)
{
    start(base_config(), 3);
    ck_assert_int_eq(replica_receive(rig.r, rig.now, 2, STR("")), E_INVALID);
    ck_assert_int_eq(replica_receive(rig.r, rig.now, 2, STR("\x01\x63zzz")), E_INVALID);
    ck_assert_int_eq(replica_receive(rig.r, rig.now, 2, STR("\x02\x01")), E_INVALID);
    ck_assert_int_eq(rig.fatal_code, 0);
    stop();
}
END_TEST

/* A leader's append of one no-op behind prev, received by member 1. */
static void receive_noop(uint64_t from, uint64_t term, uint64_t index, uint64_t prev_term)
{
    AUTO_BUF bytes = BUF_INIT;
    struct entry *e = entry_new(ENTRY_NOOP, index, term, 0);
    struct peer_message m = {.type = CONSENSUS_APPEND};
    m.core.msg = (struct consensus_message){.type = CONSENSUS_APPEND, .term = term};
    m.core.msg.append.prev_index = index - 1;
    m.core.msg.append.prev_term = prev_term;
    m.core.msg.append.count = 1;
    m.core.msg.append.entries = &e;
    peer_message_encode(&m, &bytes);
    entry_unref(e);
    ck_assert_int_eq(replica_receive(rig.r, rig.now, from, buf_str(&bytes)), 0);
    run();
}

static uint64_t highest_acknowledged(uint64_t term)
{
    uint64_t best = 0;
    for (uint32_t i = 0; i < rig.sent_count; i++) {
        struct peer_message m;
        ck_assert_int_eq(peer_message_decode(buf_str(&rig.sent[i]), &m, NULL), 0);
        const struct consensus_message *c = &m.core.msg;
        if (m.type == CONSENSUS_APPEND_RESULT && c->term == term && c->append_result.rejected == 0)
            best = c->append_result.last_index > best ? c->append_result.last_index : best;
        peer_message_done(&m);
    }
    return best;
}

/* A write that becomes durable after its entries were cut acknowledges nothing:
 * only the write of what replaced them does. */
START_TEST(cut_writes_do_not_count)
{
    start(base_config(), 3);
    persist();
    receive_noop(2, 2, 2, 1);
    receive_noop(2, 2, 3, 2);
    uint64_t old = rig.seq;
    receive_noop(3, 3, 2, 1);
    uint64_t vote_and_new = rig.seq;
    ck_assert_uint_gt(vote_and_new, old);
    replica_persisted(rig.r, rig.now, old);
    replica_persisted(rig.r, rig.now, vote_and_new - 1);
    run();
    ck_assert_uint_le(highest_acknowledged(3), 1);
    replica_persisted(rig.r, rig.now, vote_and_new);
    run();
    ck_assert_uint_eq(highest_acknowledged(3), 2);
    stop();
}
END_TEST

static uint32_t count_sent(uint64_t to, uint8_t type)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < rig.sent_count; i++) {
        struct peer_message m;
        ck_assert_int_eq(peer_message_decode(buf_str(&rig.sent[i]), &m, NULL), 0);
        count += rig.sent_to[i] == to && m.type == type;
        peer_message_done(&m);
    }
    return count;
}

static void receive(uint64_t from, const struct peer_message *m)
{
    AUTO_BUF bytes = BUF_INIT;
    peer_message_encode(m, &bytes);
    ck_assert_int_eq(replica_receive(rig.r, rig.now, from, buf_str(&bytes)), 0);
    run();
}

/* Member 1 of three leads, with member 2's votes and acknowledgement; returns its term. */
static uint64_t lead_three(void)
{
    struct replica_status st;
    start(base_config(), 3);
    run();
    persist();
    for (int i = 0; i < 20 && state() != REPLICA_LEADER; i++) {
        rig.now = MAX_OF(replica_deadline(rig.r), rig.now + 1);
        replica_tick(rig.r, rig.now);
        run();
        persist();
        for (uint32_t k = 0; k < rig.sent_count; k++) {
            struct peer_message m, answer = {.type = CONSENSUS_VOTE_RESULT};
            ck_assert_int_eq(peer_message_decode(buf_str(&rig.sent[k]), &m, NULL), 0);
            answer.core.msg =
                (struct consensus_message){.type = CONSENSUS_VOTE_RESULT, .term = m.core.msg.term};
            answer.core.msg.vote_result.granted = true;
            answer.core.msg.vote_result.pre_vote = m.core.msg.vote.pre_vote;
            if (m.type == CONSENSUS_VOTE && rig.sent_to[k] == 2)
                receive(2, &answer);
            peer_message_done(&m);
        }
        persist();
    }
    ck_assert_int_eq(state(), REPLICA_LEADER);
    replica_status(rig.r, &st);
    struct peer_message ack = {.type = CONSENSUS_APPEND_RESULT};
    ack.core.msg = (struct consensus_message){.type = CONSENSUS_APPEND_RESULT, .term = st.term};
    ack.core.msg.append_result.last_index = st.last_index;
    receive(2, &ack);
    replica_status(rig.r, &st);
    ck_assert_uint_eq(st.commit_index, st.last_index);
    return st.term;
}

/* Among three, who asks the leader in its term is the majority's other half: its reads need no
 * round. Who asks in another term, or does not say in which, waits for one; so do the leader's own.
 */
START_TEST(asking_confirms)
{
    uint64_t term = lead_three();
    struct peer_message ask = {.type = PEER_READ, .read = {7, 1, term}};
    uint32_t rounds = count_sent(2, PEER_HEARTBEAT);
    receive(3, &ask);
    ck_assert_uint_eq(count_sent(3, PEER_READ_REPLY), 1);
    ck_assert_uint_eq(count_sent(2, PEER_HEARTBEAT), rounds);
    const uint64_t others[] = {term - 1, term + 1, 0};
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        ask.read.id++;
        ask.read.index = others[i];
        receive(3, &ask);
        ck_assert_uint_eq(count_sent(3, PEER_READ_REPLY), 1 + i);
        ck_assert_uint_eq(count_sent(2, PEER_HEARTBEAT), ++rounds);
        struct peer_message ack = {.type = PEER_HEARTBEAT_ACK, .heartbeat = {term, UINT64_MAX}};
        receive(2, &ack);
        ck_assert_uint_eq(count_sent(3, PEER_READ_REPLY), 2 + i);
    }
    ck_assert_int_eq(replica_read(rig.r, rig.now, &rig), 0);
    run();
    ck_assert_uint_eq(rig.reads, 0);
    ck_assert_uint_eq(count_sent(2, PEER_HEARTBEAT), rounds + 1);
    /* Not a voter: its word counts nothing. */
    ask.read.index = term;
    receive(9, &ask);
    ck_assert_uint_eq(count_sent(9, PEER_READ_REPLY), 0);
    stop();
}
END_TEST

/* What was asked of the leader over a connection that is gone is asked again over the
 * next one, not only when a leader's silence has become too long. */
START_TEST(asks_again_over_a_new_connection)
{
    start(base_config(), 3);
    persist();
    receive_noop(2, 2, 2, 1);
    persist();
    propose("a");
    ck_assert_int_eq(replica_change(rig.r, rig.now, REPLICA_REMOVE, 3, NULL, &rig), 0);
    run();
    ck_assert_uint_eq(count_sent(2, PEER_FORWARD), 1);
    ck_assert_uint_eq(count_sent(2, PEER_CHANGE), 1);
    replica_connected(rig.r, 3);
    run();
    ck_assert_uint_eq(count_sent(2, PEER_FORWARD), 1);
    replica_connected(rig.r, 2);
    run();
    ck_assert_uint_eq(count_sent(2, PEER_FORWARD), 2);
    ck_assert_uint_eq(count_sent(2, PEER_CHANGE), 2);
    ck_assert_uint_eq(rig.failures, 0);
    stop();
}
END_TEST

/* A disk that fails stops a member that nobody can take over from. */
START_TEST(disk_failure)
{
    start(base_config(), 1);
    replica_disk_failed(rig.r, rig.now, E_IO, "gone");
    ck_assert_int_eq(rig.fatal_code, E_IO);
    ck_assert_int_eq(replica_propose(rig.r, rig.now, STR("a"), &rig), E_UNAVAILABLE);
    stop();
}
END_TEST

/* Members: not the last voter away, no id twice, no unknown one. */
START_TEST(changes)
{
    start(base_config(), 1);
    run();
    persist();
    ck_assert_int_eq(replica_change(rig.r, rig.now, REPLICA_REMOVE, 1, NULL, &rig), 0);
    run();
    ck_assert_int_eq(rig.change_code, E_INVALID);
    replica_change(rig.r, rig.now, REPLICA_REMOVE, 9, NULL, &rig);
    run();
    ck_assert_int_eq(rig.change_code, E_NOT_FOUND);
    replica_change(rig.r, rig.now, REPLICA_ADD, 1, "z", &rig);
    run();
    ck_assert_int_eq(rig.change_code, E_EXISTS);
    replica_change(rig.r, rig.now, REPLICA_ADD, 2, "z", &rig);
    run();
    ck_assert_uint_eq(rig.changes, 3);
    persist();
    ck_assert_uint_eq(rig.changes, 4);
    ck_assert_int_eq(rig.change_code, 0);
    ck_assert_uint_eq(replica_members(rig.r)->count, 2);
    ck_assert_int_eq(replica_transfer(rig.r, rig.now, 0, &rig), 0);
    run();
    ck_assert_int_eq(rig.change_code, E_NOT_FOUND);
    stop();
}
END_TEST

UNIT_MAIN("replica", {
    UNIT_TEST(alone);
    UNIT_TEST(group_commit);
    UNIT_TEST(bounds);
    UNIT_TEST(no_leader);
    UNIT_TEST(close_answers);
    UNIT_TEST(reads_alone);
    UNIT_TEST(asking_confirms);
    UNIT_TEST(messages_wait_for_the_vote);
    UNIT_TEST(no_double_application);
    UNIT_TEST(snapshots_and_trim);
    UNIT_TEST(recovery_refuses);
    UNIT_TEST(garbage_from_peers);
    UNIT_TEST(cut_writes_do_not_count);
    UNIT_TEST(asks_again_over_a_new_connection);
    UNIT_TEST(disk_failure);
    UNIT_TEST(changes);
})
