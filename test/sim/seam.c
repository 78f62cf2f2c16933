/* seam.c - members at the level of consensus.h, driven by hand. */
#include "seam.h"

#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <stdio.h>

#define ELECTION_MS 200
#define HEARTBEAT_MS 20

uint64_t seam_last(const struct seam_node *n)
{
    return n->first + n->count - 1;
}

struct seam_node *seam_node(struct seam *s, uint64_t id)
{
    return &s->nodes[id - 1];
}

struct members seam_members(const char *text)
{
    struct members m = {0};
    for (; *text != 0; text++) {
        char address[8];
        if (*text == ' ')
            continue;
        uint64_t id = (uint64_t)(*text++ - '0');
        snprintf(address, sizeof(address), "m%d", (int)id);
        members_add(&m, id,
                    *text == 'v'   ? MEMBER_VOTER
                    : *text == 's' ? MEMBER_STANDBY
                                   : MEMBER_SPARE,
                    address);
    }
    return m;
}

static struct entry *make_entry(enum entry_type type, uint64_t index, uint64_t term,
                                const struct members *m)
{
    AUTO_BUF bytes = BUF_INIT;
    if (type == ENTRY_MEMBERS)
        members_encode(m, &bytes);
    else if (type == ENTRY_COMMANDS)
        buf_puts(&bytes, "command");
    struct entry *e = entry_new(type, index, term, (uint32_t)bytes.len);
    if (bytes.len > 0)
        memcpy(e->data, bytes.data, bytes.len);
    return e;
}

static void cut_log(struct seam_node *n, uint64_t index)
{
    while (n->count > 0 && seam_last(n) >= index)
        entry_unref(n->log[--n->count]);
    n->durable = MIN_OF(n->durable, index - 1);
}

static void reset_log(struct seam_node *n, uint64_t index)
{
    cut_log(n, n->first);
    n->first = index + 1;
    n->durable = index;
}

/* --- effects --- */

static void on_save_vote(void *arg, uint64_t term, uint64_t voted_for)
{
    struct seam_node *n = arg;
    n->term = term;
    n->vote = voted_for;
}

static void on_append(void *arg, uint64_t first_index, struct entry *const *entries, uint32_t count)
{
    struct seam_node *n = arg;
    if (first_index > seam_last(n) + 1 || first_index <= n->committed ||
        n->count + count > SEAM_LOG_MAX) {
        n->hole = true;
        return;
    }
    cut_log(n, first_index);
    for (uint32_t i = 0; i < count; i++)
        n->log[n->count++] = entry_ref(entries[i]);
}

static void set_snapshot(struct seam_node *n, const struct consensus_snapshot *s)
{
    struct members copy;
    members_copy(&copy, &s->members);
    members_done(&n->snapshot.members);
    n->snapshot = *s;
    n->snapshot.members = copy;
    n->has_snapshot = true;
}

static void on_install(void *arg, const struct consensus_snapshot *s)
{
    struct seam_node *n = arg;
    set_snapshot(n, s);
    reset_log(n, s->index);
    n->installing = true;
}

static uint64_t term_at(void *arg, uint64_t index)
{
    struct seam_node *n = arg;
    if (n->count > 0 && index >= n->first && index <= seam_last(n))
        return n->log[index - n->first]->term;
    return n->has_snapshot && index == n->snapshot.index ? n->snapshot.term : 0;
}

static void fill_append(struct seam_node *n, struct seam_message *sm)
{
    struct consensus_message *m = &sm->m;
    uint64_t limit = consensus_send_limit(n->c, sm->to);
    if (m->append.prev_index >= limit) {
        m->append.prev_index = limit - 1;
        m->append.prev_term = term_at(n, limit - 1);
        m->append.count = 0;
    }
    m->append.count = (uint32_t)MIN_OF((uint64_t)m->append.count, limit - 1 - m->append.prev_index);
    for (uint32_t i = 0; i < m->append.count; i++)
        sm->entries[i] = entry_ref(n->log[m->append.prev_index + 1 + i - n->first]);
    m->append.entries = sm->entries;
}

static void on_send(void *arg, const struct consensus_message *m)
{
    struct seam_node *n = arg;
    struct seam_message *sm = xzalloc(sizeof(*sm));
    sm->m = *m;
    sm->to = m->peer;
    if (m->type == CONSENSUS_APPEND)
        fill_append(n, sm);
    if (m->type == CONSENSUS_INSTALL)
        members_copy(&sm->members, &n->snapshot.members);
    if (n->box_count == SEAM_BOX_MAX)
        PANIC("member %d: too many messages", (int)n->id);
    n->box[n->box_count++] = sm;
}

static void on_committed(void *arg, uint64_t commit_index)
{
    struct seam_node *n = arg;
    n->committed = commit_index;
}

static void on_changed(void *arg)
{
    UNUSED(arg);
}

static const struct consensus_ops ops = {
    .save_vote = on_save_vote,
    .append = on_append,
    .install = on_install,
    .send = on_send,
    .committed = on_committed,
    .changed = on_changed,
    .term_at = term_at,
};

/* --- life --- */

void seam_init(struct seam *s, uint32_t count, uint32_t guards_off)
{
    *s = (struct seam){.now_ms = 1000, .count = count};
    for (uint32_t i = 0; i < count; i++)
        s->nodes[i] =
            (struct seam_node){.seam = s, .id = i + 1, .first = 1, .guards_off = guards_off};
}

static void drop_box(struct seam_node *n)
{
    while (n->box_count > 0)
        seam_message_free(n->box[--n->box_count]);
}

void seam_done(struct seam *s)
{
    for (uint32_t i = 0; i < s->count; i++) {
        struct seam_node *n = &s->nodes[i];
        consensus_free(n->c);
        drop_box(n);
        cut_log(n, n->first);
        members_done(&n->snapshot.members);
    }
}

void seam_store(struct seam_node *n, enum entry_type type, uint64_t term,
                const struct members *members)
{
    struct entry *e = make_entry(type, seam_last(n) + 1, term, members);
    n->log[n->count++] = e;
    n->durable = e->index;
    n->term = MAX_OF(n->term, term);
}

void seam_start(struct seam_node *n)
{
    struct consensus_config c = {
        .id = n->id,
        .seed = (uint32_t)n->id * 7919,
        .election_ms = ELECTION_MS,
        .heartbeat_ms = HEARTBEAT_MS,
        .install_ms = 5000,
        .guards_off = n->guards_off,
        .ops = &ops,
        .arg = n,
    };
    struct consensus_entry_info info[SEAM_LOG_MAX] = {0};
    struct error err;
    if (consensus_new(&c, &n->c, &err) != 0)
        PANIC("%s", error_message(&err));
    for (uint32_t i = 0; i < n->count; i++) {
        info[i] = (struct consensus_entry_info){n->log[i]->term, n->log[i]->type, STR_NULL};
        if (n->log[i]->type == ENTRY_MEMBERS)
            info[i].members = entry_str(n->log[i]);
    }
    struct consensus_recovered r = {
        .term = n->term,
        .voted_for = n->vote,
        .snapshot = n->has_snapshot ? &n->snapshot : NULL,
        .first_index = n->first,
        .entries = info,
        .count = n->count,
    };
    n->up = true;
    n->committed = 0;
    if (consensus_start(n->c, n->seam->now_ms, &r, &err) != 0)
        PANIC("%s", error_message(&err));
}

void seam_crash(struct seam_node *n)
{
    consensus_free(n->c);
    n->c = NULL;
    n->up = false;
    drop_box(n);
    cut_log(n, n->durable + 1);
}

void seam_persist(struct seam_node *n)
{
    if (n->installing) {
        n->installing = false;
        consensus_installed(n->c, n->seam->now_ms);
    }
    if (n->durable >= seam_last(n))
        return;
    n->durable = seam_last(n);
    consensus_persisted(n->c, n->seam->now_ms, n->durable);
}

void seam_snapshot(struct seam_node *n, const struct members *m, uint64_t members_index,
                   uint32_t trailing)
{
    struct consensus_snapshot s = {n->committed, term_at(n, n->committed), *m, members_index};
    set_snapshot(n, &s);
    consensus_snapshot_taken(n->c, n->seam->now_ms, &s, trailing);
    while (n->first + trailing <= s.index) {
        entry_unref(n->log[0]);
        memmove(n->log, n->log + 1, --n->count * sizeof(n->log[0]));
        n->first++;
    }
}

/* --- messages --- */

void seam_message_free(struct seam_message *m)
{
    if (m == NULL)
        return;
    if (m->m.type == CONSENSUS_APPEND)
        for (uint32_t i = 0; i < m->m.append.count; i++)
            entry_unref(m->entries[i]);
    members_done(&m->members);
    free(m);
}

struct seam_message *seam_take(struct seam_node *from, uint64_t to,
                               enum consensus_message_type type)
{
    for (uint32_t i = 0; i < from->box_count; i++) {
        struct seam_message *m = from->box[i];
        if (m->m.type != type || m->to != to)
            continue;
        memmove(&from->box[i], &from->box[i + 1], (--from->box_count - i) * sizeof(from->box[0]));
        return m;
    }
    return NULL;
}

void seam_deliver(struct seam *s, struct seam_node *from, struct seam_message *m)
{
    struct seam_node *to = seam_node(s, m->to);
    m->m.peer = from->id;
    if (m->m.type == CONSENSUS_INSTALL)
        m->m.install.members = &m->members;
    if (to->up)
        consensus_receive(to->c, s->now_ms, &m->m, NULL);
    seam_message_free(m);
}

void seam_drop_all(struct seam *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        drop_box(&s->nodes[i]);
}

int seam_propose(struct seam_node *n)
{
    struct entry *e = make_entry(ENTRY_COMMANDS, 0, 0, NULL);
    int rc = consensus_propose(n->c, n->seam->now_ms, &e, 1);
    entry_unref(e);
    return rc;
}

int seam_change(struct seam_node *n, const char *members)
{
    struct members m = seam_members(members);
    uint64_t index;
    int rc = consensus_change(n->c, n->seam->now_ms, &m, &index, NULL);
    members_done(&m);
    return rc;
}

static void deliver_all(struct seam *s)
{
    for (uint32_t i = 0; i < s->count; i++) {
        struct seam_node *n = &s->nodes[i];
        uint32_t count = n->box_count;
        for (uint32_t j = 0; j < count && n->box_count > 0; j++) {
            struct seam_message *m = n->box[0];
            memmove(&n->box[0], &n->box[1], --n->box_count * sizeof(n->box[0]));
            if (s->cut[i][m->to - 1])
                seam_message_free(m);
            else
                seam_deliver(s, n, m);
        }
    }
}

void seam_run(struct seam *s, uint64_t ms)
{
    for (uint64_t end = s->now_ms + ms; s->now_ms < end; s->now_ms++) {
        for (uint32_t i = 0; i < s->count; i++) {
            struct seam_node *n = &s->nodes[i];
            if (!n->up)
                continue;
            if (s->now_ms >= consensus_deadline(n->c))
                consensus_tick(n->c, s->now_ms);
            seam_persist(n);
        }
        deliver_all(s);
    }
}

struct seam_node *seam_leader(struct seam *s)
{
    struct seam_node *best = NULL;
    for (uint32_t i = 0; i < s->count; i++) {
        struct seam_node *n = &s->nodes[i];
        if (n->up && consensus_state(n->c) == CONSENSUS_LEADER &&
            (best == NULL || consensus_term(n->c) > consensus_term(best->c)))
            best = n;
    }
    return best;
}
