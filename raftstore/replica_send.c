/* replica_send.c - the log's way to one member, with a window in bytes.
 *
 * The core says "send these entries" without regard to their size, and counts
 * on their arrival. Here its requests become a range [next, end) that goes out
 * in messages of bounded size, a bounded number of bytes ahead of the member's
 * acknowledgements, reading from the disk what memory no longer holds.
 *
 * What the core asks for again while it is still on its way is not sent twice,
 * unless the member rejected something or nothing was heard for a while. */
#include "raftstore/replica_internal.h"

void send_reset(struct peer *p)
{
    p->next = p->end = p->prev_term = 0;
    p->sent_count = 0;
    p->sent_bytes = 0;
    p->token = 0;
    p->told_commit = 0;
}

/* One message with entries[0 .. count) behind p->next - 1. */
static void send_message(struct replica *r, struct peer *p, struct entry *const *entries,
                         uint32_t count)
{
    struct peer_message m = {.type = CONSENSUS_APPEND};
    m.core.msg =
        (struct consensus_message){.type = CONSENSUS_APPEND, .peer = p->id, .term = p->term};
    m.core.msg.append.prev_index = p->next - 1;
    m.core.msg.append.prev_term = p->prev_term;
    m.core.msg.append.commit = p->commit;
    m.core.msg.append.count = count;
    m.core.msg.append.entries = entries;
    p->told_commit = p->commit;
    replica_send(r, p->id, &m);
}

static bool window_open(const struct replica *r, const struct peer *p)
{
    if (p->sent_count == 0)
        return true;
    return !p->probing && p->sent_count < SENT_MAX && p->sent_bytes < r->config.window_bytes;
}

/* Sends entries, which are p->next and those behind, and notes them as sent. */
static void send_entries(struct replica *r, struct peer *p, struct entry *const *entries,
                         uint32_t count)
{
    uint32_t at = (p->sent_head + p->sent_count) % SENT_MAX;
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < count; i++)
        bytes += entries[i]->size;
    send_message(r, p, entries, count);
    p->sent[at].first = p->next;
    p->sent[at].last = p->next + count - 1;
    p->sent[at].bytes = bytes;
    p->sent[at].at_ms = r->now_ms;
    p->sent_count++;
    p->sent_bytes += bytes;
    p->next += count;
    p->prev_term = entries[count - 1]->term;
}

/* As many of entries[0 .. count) as fit one message. */
static uint32_t fit(const struct replica *r, struct entry *const *entries, uint32_t count)
{
    uint64_t bytes = 0;
    uint32_t n = 0;
    while (n < count && (n == 0 || bytes + entries[n]->size <= r->config.append_bytes))
        bytes += entries[n++]->size;
    return n;
}

#define GATHER_MAX 512

static void pump(struct replica *r, struct peer *p)
{
    uint64_t end = MIN_OF(p->end, consensus_send_limit(r->consensus, p->id));
    while (p->next < end && window_open(r, p) && p->token == 0) {
        struct entry *list[GATHER_MAX];
        uint32_t n = 0;
        if (!tail_has(&r->tail, p->next)) {
            send_reset(p); /* Trimmed: the core will find out and send the snapshot. */
            return;
        }
        while (n < GATHER_MAX && p->next + n < end &&
               (list[n] = tail_get(&r->tail, p->next + n)) != NULL)
            n++;
        if (n == 0) {
            uint64_t last = MIN_OF(MIN_OF(end, r->tail.cached) - 1, p->next + GATHER_MAX - 1);
            p->token = replica_token(r);
            R_OP(r, read_entries, p->token, p->next, last, r->config.append_bytes);
            return;
        }
        send_entries(r, p, list, fit(r, list, n));
    }
}

void send_entries_read(struct replica *r, struct peer *p, struct entry *const *entries,
                       uint32_t count)
{
    if (p->term != consensus_term(r->consensus) ||
        consensus_state(r->consensus) != CONSENSUS_LEADER)
        return;
    if (count == 0) {
        send_reset(p); /* Trimmed meanwhile. */
        return;
    }
    bool fits = entries[0]->index == p->next && p->next + count <= p->end && window_open(r, p) &&
                tail_has(&r->tail, p->next);
    if (fits)
        send_entries(r, p, entries, fit(r, entries, count));
    pump(r, p);
}

/* Whether what the core asks for, from prev + 1 on, is on its way or waiting. */
static bool covered(const struct replica *r, const struct peer *p, uint64_t first)
{
    if (r->rejecting || p->term != consensus_term(r->consensus) || p->end == 0 || first > p->end)
        return false;
    uint64_t oldest = p->sent_count > 0 ? p->sent[p->sent_head].first : p->next;
    if (first < oldest)
        return false;
    return p->sent_count == 0 ||
           r->now_ms - p->sent[p->sent_head].at_ms < r->config.election_ms / 2;
}

static void start_range(struct replica *r, struct peer *p, const struct consensus_message *m)
{
    send_reset(p);
    p->next = p->end = m->append.prev_index + 1;
    p->prev_term = m->append.prev_term;
    p->term = m->term;
    p->probing = true;
    UNUSED(r);
}

void send_append(struct replica *r, struct peer *p, const struct consensus_message *m)
{
    uint64_t first = m->append.prev_index + 1;
    p->commit = m->append.commit;
    if (!covered(r, p, first))
        start_range(r, p, m);
    p->end = MAX_OF(p->end, first + m->append.count);
    uint64_t next = p->next;
    if (m->append.count > 0)
        pump(r, p);
    /* A heartbeat, or nothing could go: say at least where we are. That is behind
     * what was sent, not behind what the core believes was sent. */
    if (p->next == next && p->end != 0)
        send_message(r, p, NULL, 0);
}

/* A member answers what it forwarded, and reads, once it knows that it is
 * committed: it does not have to wait for the next heartbeat to say so. */
void send_commit(struct replica *r, struct peer *p)
{
    if (p->end == 0 || p->probing || p->told_commit >= r->commit ||
        p->term != consensus_term(r->consensus))
        return;
    p->commit = r->commit;
    send_message(r, p, NULL, 0);
}

/* What was held back may go: a change was committed. */
void send_resume(struct replica *r, struct peer *p)
{
    if (p->end != 0 && p->term == consensus_term(r->consensus))
        pump(r, p);
}

void send_acked(struct replica *r, struct peer *p, uint64_t last_index)
{
    while (p->sent_count > 0 && p->sent[p->sent_head].last <= last_index) {
        p->sent_bytes -= p->sent[p->sent_head].bytes;
        p->sent_head = (p->sent_head + 1) % SENT_MAX;
        p->sent_count--;
        p->probing = false;
    }
    if (p->sent_count == 0)
        p->probing = false;
    if (p->term == consensus_term(r->consensus))
        pump(r, p);
}
