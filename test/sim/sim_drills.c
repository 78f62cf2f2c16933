/* sim_drills.c - for every guard around the core a scenario that holds with it and
 * breaks without it, so that no guard is dead weight and none is lost unseen. */
#include "broken.h"
#include "seam.h"

#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Returns early from a scenario: the promise was broken. */
#define HOLDS(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            return false;                                                                          \
    } while (0)

/* Members with the list of the first entry on their disks, all started. */
static void found(struct seam *s, uint32_t count, const char *list)
{
    struct members m = seam_members(list);
    for (uint32_t i = 0; i < count; i++) {
        if (members_get(&m, i + 1) != NULL)
            seam_store(&s->nodes[i], ENTRY_MEMBERS, 1, &m);
        seam_start(&s->nodes[i]);
    }
    members_done(&m);
}

/* Only member 1 can win; it leads when this returns. */
static struct seam_node *lead_by_one(struct seam *s)
{
    struct seam_node *n = seam_node(s, 1);
    for (uint32_t i = 0; i < 50 && consensus_state(n->c) != CONSENSUS_LEADER; i++) {
        seam_run(s, 100);
        struct seam_node *leader = seam_leader(s);
        if (leader != NULL && leader != n)
            consensus_transfer(leader->c, s->now_ms, 1);
    }
    ASSERT(consensus_state(n->c) == CONSENSUS_LEADER);
    seam_run(s, 100);
    return n;
}

static bool propose_and_run(struct seam *s, struct seam_node *leader, uint32_t count)
{
    for (; count > 0; count--)
        if (seam_propose(leader) != 0)
            return false;
    seam_run(s, 100);
    return true;
}

/* An answer to a message of an older term must not read as "accepted". */
static bool stale_result(struct seam *s)
{
    found(s, 3, "1v 2v 3v");
    struct seam_node *a = lead_by_one(s), *b = seam_node(s, 2);
    struct members m = seam_members("1v 2v 3v");
    struct consensus_message late = {
        .type = CONSENSUS_INSTALL, .peer = 1, .term = consensus_term(a->c) - 1};
    late.install.index = 5;
    late.install.snapshot_term = 1;
    late.install.members_index = 1;
    late.install.members = &m;
    seam_drop_all(s);
    consensus_receive(b->c, s->now_ms, &late, NULL);
    members_done(&m);
    struct seam_message *answer = seam_take(b, 1, CONSENSUS_APPEND_RESULT);
    ASSERT(answer != NULL);
    bool accepted = answer->m.append_result.rejected == 0;
    seam_message_free(answer);
    HOLDS(!accepted);
    return true;
}

/* A sole voter sends an entry, loses it in a crash, and writes another at the same
 * index: not in the same term. */
static bool sole_voter_term(struct seam *s)
{
    found(s, 2, "1v 2s");
    struct seam_node *a = seam_node(s, 1), *b = seam_node(s, 2);
    seam_run(s, 100);
    ASSERT(seam_propose(a) == 0);
    uint64_t index = seam_last(a);
    struct seam_message *m;
    while ((m = seam_take(a, 2, CONSENSUS_APPEND)) != NULL)
        seam_deliver(s, a, m);
    ASSERT_CMP(seam_last(b), ==, index);
    uint64_t term = b->log[index - b->first]->term;
    seam_crash(a); /* Before its own disk had it. */
    ASSERT_CMP(seam_last(a), <, index);
    seam_start(a);
    while (seam_last(a) < index)
        ASSERT(seam_propose(a) == 0);
    HOLDS(a->log[index - a->first]->term != term);
    return true;
}

/* Entries from the beginning reach a follower whose log begins later. */
static bool prev_below_log(struct seam *s)
{
    found(s, 3, "1v 2v 3v");
    struct seam_node *a = lead_by_one(s), *b = seam_node(s, 2);
    struct members m = seam_members("1v 2v 3v");
    HOLDS(propose_and_run(s, a, 10));
    struct consensus_message late = {
        .type = CONSENSUS_APPEND, .peer = 1, .term = consensus_term(a->c)};
    late.append.commit = a->committed;
    late.append.count = 2;
    late.append.entries = a->log;
    seam_snapshot(b, &m, 1, 2);
    members_done(&m);
    ASSERT_CMP(b->first, >, 3);
    consensus_receive(b->c, s->now_ms, &late, NULL);
    HOLDS(!b->hole);
    HOLDS(propose_and_run(s, a, 3));
    HOLDS(!b->hole && b->committed == a->committed);
    return true;
}

/* Bytes the program has allocated. */
static size_t allocated(void);

/* Ten thousand snapshots offered during an install. */
static bool install_twice(struct seam *s)
{
    found(s, 2, "1v");
    struct seam_node *b = seam_node(s, 2);
    struct members m = seam_members("1v 2s");
    struct consensus_message in = {.type = CONSENSUS_INSTALL, .peer = 1, .term = 5};
    in.install.index = 5;
    in.install.snapshot_term = 1;
    in.install.members_index = 1;
    in.install.members = &m;
    consensus_receive(b->c, s->now_ms, &in, NULL);
    ASSERT(consensus_installing(b->c));
    size_t before = allocated();
    for (uint32_t i = 0; i < 10000; i++)
        consensus_receive(b->c, s->now_ms, &in, NULL);
    size_t grown = allocated() - before;
    members_done(&m);
    HOLDS(grown < 100000);
    return true;
}

/* A message with a change in its middle; then its receiver leads. */
static bool change_first(struct seam *s)
{
    found(s, 3, "1v 2v 3v");
    struct seam_node *a = lead_by_one(s);
    s->cut[0][1] = true; /* Member 2 gets it all in one message later. */
    HOLDS(propose_and_run(s, a, 2));
    HOLDS(seam_change(a, "1v 2v 3v 4s") == 0);
    HOLDS(propose_and_run(s, a, 2));
    s->cut[0][1] = false;
    seam_run(s, 1000);
    a = lead_by_one(s);
    ASSERT_CMP(seam_node(s, 2)->committed, ==, a->committed);
    consensus_transfer(a->c, s->now_ms, 2);
    seam_run(s, 300);
    ASSERT(seam_leader(s) == seam_node(s, 2));
    HOLDS(seam_change(seam_node(s, 2), "1v 2v 3v") == 0);
    return true;
}

/* A command and a change in one submit, while another change is under way. */
static bool change_alone(struct seam *s)
{
    found(s, 3, "1v 2v 3v");
    struct seam_node *a = lead_by_one(s);
    struct members m = seam_members("1v 2v 3v");
    AUTO_BUF bytes = BUF_INIT;
    members_encode(&m, &bytes);
    members_done(&m);
    HOLDS(seam_change(a, "1v 2v 3v 4s") == 0);
    struct entry *mixed[2] = {entry_new(ENTRY_COMMANDS, 0, 0, 0),
                              entry_new(ENTRY_MEMBERS, 0, 0, (uint32_t)bytes.len)};
    memcpy(mixed[1]->data, bytes.data, bytes.len);
    int rc = consensus_propose(a->c, s->now_ms, mixed, 2);
    entry_unref(mixed[0]);
    entry_unref(mixed[1]);
    HOLDS(rc != 0);
    HOLDS(consensus_last_index(a->c) == seam_last(a));
    HOLDS(seam_propose(a) == 0 && !a->hole);
    return true;
}

/* A member acknowledges an entry, hears nothing for a while, not even that the entry
 * is committed; then an old rejection of its arrives. */
static bool late_rejection(struct seam *s)
{
    found(s, 3, "1v 2v 3v");
    struct seam_node *a = lead_by_one(s), *b = seam_node(s, 2);
    struct seam_message *m;
    seam_drop_all(s);
    HOLDS(seam_propose(a) == 0);
    while ((m = seam_take(a, 2, CONSENSUS_APPEND)) != NULL)
        seam_deliver(s, a, m);
    seam_persist(b);
    while ((m = seam_take(b, 1, CONSENSUS_APPEND_RESULT)) != NULL)
        seam_deliver(s, b, m);
    s->cut[0][1] = true;
    seam_run(s, 150); /* Long enough for the leader to probe. */
    uint64_t match = consensus_match_index(a->c, 2);
    ASSERT(match == seam_last(a) && b->committed < match &&
           consensus_state(a->c) == CONSENSUS_LEADER);
    struct consensus_message late = {
        .type = CONSENSUS_APPEND_RESULT, .peer = 2, .term = consensus_term(a->c)};
    late.append_result.rejected = match;
    late.append_result.last_index = match - 1;
    consensus_receive(a->c, s->now_ms, &late, NULL);
    s->cut[0][1] = false;
    HOLDS(propose_and_run(s, a, 3));
    seam_run(s, 2000);
    a = seam_leader(s);
    HOLDS(a != NULL && seam_last(b) == seam_last(a));
    return true;
}

/* Promotes member 2 on member 1's disk alone; then member 1 needs its vote. */
static bool promote_and_crash(struct seam *s)
{
    found(s, 2, "1v");
    struct seam_node *a = seam_node(s, 1);
    seam_run(s, 100);
    HOLDS(seam_change(a, "1v 2s") == 0);
    seam_run(s, 300);
    HOLDS(seam_change(a, "1v 2v") == 0);
    seam_drop_all(s);
    seam_persist(a);
    seam_crash(a);
    seam_start(a);
    seam_run(s, 5000);
    HOLDS(seam_leader(s) == a && a->committed == seam_last(a));
    return true;
}

/* A long log of a low term and a short one of a high term. */
static bool prevote_term(struct seam *s)
{
    struct members m = seam_members("1v 2v");
    for (uint64_t id = 1; id <= 2; id++)
        seam_store(seam_node(s, id), ENTRY_MEMBERS, 1, &m);
    members_done(&m);
    for (uint32_t i = 0; i < 5; i++)
        seam_store(seam_node(s, 1), ENTRY_COMMANDS, 5, NULL);
    seam_node(s, 2)->term = 9;
    seam_start(seam_node(s, 1));
    seam_start(seam_node(s, 2));
    seam_run(s, 5000);
    HOLDS(seam_leader(s) == seam_node(s, 1));
    return true;
}

/* A voter becomes a spare, to which nothing is sent. */
static bool busy_timer(struct seam *s)
{
    found(s, 2, "1v 2v");
    struct seam_node *a = lead_by_one(s);
    HOLDS(seam_change(a, "1v 2-") == 0);
    seam_run(s, 500);
    consensus_tick(a->c, s->now_ms);
    HOLDS(consensus_deadline(a->c) > s->now_ms);
    return true;
}

/* A late answer of some election reaches a leader. */
static bool vote_result_state(struct seam *s)
{
    found(s, 3, "1v 2v 3v");
    struct seam_node *a = lead_by_one(s);
    struct consensus_message late = {
        .type = CONSENSUS_VOTE_RESULT, .peer = 2, .term = consensus_term(a->c) + 5};
    late.vote_result.pre_vote = true;
    consensus_receive(a->c, s->now_ms, &late, NULL);
    HOLDS(consensus_state(a->c) == CONSENSUS_LEADER);
    return true;
}

static struct entry *list_entry(uint64_t index, uint64_t term, const char *list)
{
    AUTO_BUF bytes = BUF_INIT;
    struct members m = seam_members(list);
    members_encode(&m, &bytes);
    members_done(&m);
    struct entry *e = entry_new(ENTRY_MEMBERS, index, term, (uint32_t)bytes.len);
    memcpy(e->data, bytes.data, bytes.len);
    return e;
}

/* Two changes arrive, the second with the word that the first is committed; then
 * the second is cut. */
static bool change_committed(struct seam *s)
{
    found(s, 3, "1v 2v 3v");
    struct seam_node *b = seam_node(s, 2);
    struct entry *e[3] = {list_entry(2, 2, "1v 2v 3v 4s"), list_entry(3, 2, "1v 2v 3v 4s 5s"),
                          entry_new(ENTRY_NOOP, 3, 3, 0)};
    struct consensus_message m = {.type = CONSENSUS_APPEND, .peer = 1, .term = 2};
    m.append.prev_index = m.append.prev_term = m.append.commit = 1;
    m.append.entries = e;
    m.append.count = 1;
    consensus_receive(b->c, s->now_ms, &m, NULL);
    m.append.prev_index = m.append.prev_term = m.append.commit = 2;
    m.append.entries = e + 1;
    consensus_receive(b->c, s->now_ms, &m, NULL);
    m.peer = 3;
    m.term = 3;
    m.append.entries = e + 2;
    consensus_receive(b->c, s->now_ms, &m, NULL);
    for (uint32_t i = 0; i < 3; i++)
        entry_unref(e[i]);
    ASSERT_CMP(seam_last(b), ==, 3);
    HOLDS(consensus_members(b->c)->count == 4);
    return true;
}

/* Two at once, and a change before anything of the leader's own term. */
static bool change_step(struct seam *s)
{
    found(s, 3, "1v 2v 3v");
    struct seam_node *a = lead_by_one(s);
    HOLDS(seam_change(a, "1v 2v 3v 4s 5s") == E_INVALID);
    HOLDS(seam_change(a, "1v 2v 4s") == E_INVALID);
    consensus_transfer(a->c, s->now_ms, 2);
    struct seam_node *b = seam_node(s, 2);
    for (uint32_t i = 0; i < 500 && consensus_state(b->c) != CONSENSUS_LEADER; i++)
        seam_run(s, 1);
    ASSERT(consensus_state(b->c) == CONSENSUS_LEADER);
    HOLDS(seam_change(b, "1v 2v 3v 4s") == E_AGAIN);
    return true;
}

static bool shrink_to_leader(struct seam *s)
{
    found(s, 2, "1v 2v");
    struct seam_node *a = lead_by_one(s);
    HOLDS(seam_change(a, "1s 2v") == E_INVALID);
    HOLDS(seam_change(a, "2v") == E_INVALID);
    HOLDS(seam_change(a, "1v") == 0);
    return true;
}

/* The leader of two takes the other's vote, and crashes before its own disk knows. */
static bool hold_demotion(struct seam *s)
{
    found(s, 2, "1v 2v");
    struct seam_node *a = lead_by_one(s), *b = seam_node(s, 2);
    HOLDS(seam_change(a, "1v 2s") == 0);
    struct seam_message *m;
    while ((m = seam_take(a, 2, CONSENSUS_APPEND)) != NULL)
        seam_deliver(s, a, m);
    seam_persist(b);
    seam_crash(a);
    seam_start(a);
    seam_run(s, 5000);
    HOLDS(seam_leader(s) != NULL);
    return true;
}

/* A transfer to a member that acknowledges in two steps. */
static bool transfer_early(struct seam *s)
{
    found(s, 2, "1v 2v");
    struct seam_node *a = lead_by_one(s);
    struct consensus_message ack = {.type = CONSENSUS_APPEND_RESULT, .peer = 2};
    ack.term = consensus_term(a->c);
    HOLDS(seam_propose(a) == 0 && seam_propose(a) == 0);
    HOLDS(consensus_transfer(a->c, s->now_ms, 2) == 0);
    for (uint64_t left = 2; left-- > 0;) {
        ack.append_result.last_index = seam_last(a) - left;
        consensus_receive(a->c, s->now_ms, &ack, NULL);
        struct seam_message *m = seam_take(a, 2, CONSENSUS_TIMEOUT_NOW);
        bool sent = m != NULL;
        seam_message_free(m);
        HOLDS(sent == (left == 0));
    }
    return true;
}

/* There when the program is built with a sanitizer, which brings an allocator of its own. */
size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static size_t allocated(void)
{
    if (__sanitizer_get_current_allocated_bytes)
        return __sanitizer_get_current_allocated_bytes();
    return mallinfo2().uordblks;
}

static const struct {
    const char *name;
    uint32_t guard;
    uint32_t members;
    bool (*run)(struct seam *s);
} drills[] = {
    {"stale result", GUARD_STALE_RESULT, 3, stale_result},
    {"sole voter's term", GUARD_SOLE_VOTER_TERM, 2, sole_voter_term},
    {"prev below the log", GUARD_PREV_BELOW_LOG, 3, prev_below_log},
    {"install twice", GUARD_INSTALL_TWICE, 2, install_twice},
    {"change first", GUARD_CHANGE_FIRST, 3, change_first},
    {"change alone", GUARD_CHANGE_ALONE, 3, change_alone},
    {"late rejection", GUARD_LATE_REJECTION, 3, late_rejection},
    {"vote of a non-voter", GUARD_VOTE_NONVOTER, 2, promote_and_crash},
    {"forget the leader", GUARD_FORGET_LEADER, 2, promote_and_crash},
    {"term in pre-votes", GUARD_PREVOTE_TERM, 2, prevote_term},
    {"busy timer", GUARD_BUSY_TIMER, 2, busy_timer},
    {"state of vote results", GUARD_VOTE_RESULT_STATE, 3, vote_result_state},
    {"change committed", GUARD_CHANGE_COMMITTED, 3, change_committed},
    {"change step", GUARD_CHANGE_STEP, 3, change_step},
    {"shrink to the leader", GUARD_SHRINK_TO_LEADER, 2, shrink_to_leader},
    {"hold a demotion", GUARD_HOLD_DEMOTION, 2, hold_demotion},
    {"transfer too early", GUARD_TRANSFER_EARLY, 2, transfer_early},
};

static bool run_here(uint32_t i, uint32_t guards_off)
{
    struct seam *s = xmalloc(sizeof(*s));
    seam_init(s, drills[i].members, guards_off);
    bool ok = drills[i].run(s);
    seam_done(s);
    free(s);
    return ok;
}

/* Without a guard the core may corrupt memory: that is one way to fail. */
static bool run_apart(uint32_t i, uint32_t guards_off)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        be_silent();
        _exit(run_here(i, guards_off) ? 0 : 1);
    }
    int status = 0;
    ASSERT(pid > 0 && waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int main(void)
{
    uint32_t failed = 0, all = 0;
    for (uint32_t i = 0; i < ARRAY_SIZE(drills); i++) {
        all |= drills[i].guard;
        bool with = run_here(i, 0), without = run_apart(i, drills[i].guard);
        if (with && !without)
            continue;
        printf("%s: %s\n", drills[i].name,
               !with ? "breaks with all guards on" : "holds without its guard");
        failed++;
    }
    if (all != GUARD_ALL) {
        printf("guards without a drill: %#x\n", GUARD_ALL & ~all);
        failed++;
    }
    printf("%u passed, %u failed\n", (uint32_t)ARRAY_SIZE(drills) - failed, failed);
    return failed == 0 ? 0 : 1;
}
