/* replica_transfer.c - snapshots on their way between members.
 *
 * The core only says that a member needs the snapshot, and wants to hear on the
 * other side that it is there. In between:
 *
 *   leader                                  member
 *     core: install  --> read file
 *     CHUNK offset 0, 1, ...  ------------>   write to a temporary file
 *     <-------------------------- CHUNK_ACK   written up to offset
 *     ...                                     complete, checksums verified
 *     <-------------------- CHUNK_ACK, done
 *     INSTALL index, term, meta ---------->   core: install --> file becomes
 *                                             the snapshot, state is restored
 *     <------------------- APPEND_RESULT
 *
 * Lost chunks or acknowledgements: when the member acknowledges the same again, or
 * nothing moves for three election timeouts, the leader goes back to the last
 * acknowledged offset. A member that restarted has lost the temporary file and
 * begins a new attempt at offset 0. A new leader starts afresh.
 * Until INSTALL the bytes received mean nothing to anyone. */
#include "raftstore/replica_internal.h"

/* --- sending --- */

static void release(struct replica *r, struct tx *tx)
{
    uint64_t index = tx->snapshot->index;
    snapshot_ref_drop(tx->snapshot);
    *tx = (struct tx){0};
    for (uint32_t i = 0; i < r->peer_count; i++)
        if (r->peers[i]->tx.snapshot != NULL && r->peers[i]->tx.snapshot->index == index)
            return;
    R_OP(r, release_snapshot, index);
}

void transfer_stop(struct replica *r, struct peer *p)
{
    if (p->tx.snapshot != NULL)
        release(r, &p->tx);
}

bool transfer_active(const struct replica *r)
{
    for (uint32_t i = 0; i < r->peer_count; i++)
        if (r->peers[i]->tx.snapshot != NULL)
            return true;
    return false;
}

static void read_more(struct replica *r, struct peer *p)
{
    struct tx *tx = &p->tx;
    if (tx->token != 0 || tx->sent_last || tx->done || tx->chunks >= CHUNKS_MAX)
        return;
    tx->token = replica_token(r);
    R_OP(r, read_snapshot, tx->token, tx->snapshot->index, tx->sent,
         r->config.snapshot_chunk_bytes);
}

static void rewind_to(struct replica *r, struct peer *p, uint64_t offset)
{
    p->tx.acked = p->tx.sent = offset;
    p->tx.chunks = 0;
    p->tx.sent_last = p->tx.done = p->tx.gap = false;
    p->tx.token = 0; /* A read under way answers to nobody. */
    p->tx.progress_ms = r->now_ms;
    read_more(r, p);
}

void transfer_start(struct replica *r, struct peer *p)
{
    /* The core repeats itself while this goes on. */
    if (p->tx.snapshot != NULL || r->snapshot == NULL)
        return;
    p->tx.snapshot = snapshot_ref_take(r->snapshot);
    p->tx.id = ++r->next_transfer;
    rewind_to(r, p, 0);
}

void replica_snapshot_read(struct replica *r, uint64_t now_ms, uint64_t token, int code,
                           struct str bytes, bool last)
{
    ASSERT(!r->in_op);
    r->now_ms = MAX_OF(r->now_ms, now_ms);
    for (uint32_t i = 0; i < r->peer_count && token != 0 && !r->closed && !r->failed; i++) {
        struct peer *p = r->peers[i];
        if (p->tx.snapshot == NULL || p->tx.token != token)
            continue;
        p->tx.token = 0;
        if (code != 0 || (bytes.len == 0 && !last)) {
            transfer_stop(r, p);
            return;
        }
        struct peer_message m = {.type = PEER_CHUNK};
        m.chunk.transfer = p->tx.id;
        m.chunk.index = p->tx.snapshot->index;
        m.chunk.term = p->tx.snapshot->term;
        m.chunk.offset = p->tx.sent;
        m.chunk.last = last;
        m.chunk.bytes = bytes;
        replica_send(r, p->id, &m);
        p->tx.sent += bytes.len;
        p->tx.sent_last = last;
        p->tx.chunks++;
        read_more(r, p);
        return;
    }
}

static void send_install(struct replica *r, struct peer *p)
{
    struct peer_message m = {.type = CONSENSUS_INSTALL};
    m.core.msg.type = CONSENSUS_INSTALL;
    m.core.msg.term = r->term;
    m.core.msg.install.index = p->tx.snapshot->index;
    m.core.msg.install.snapshot_term = p->tx.snapshot->term;
    m.core.transfer = p->tx.id;
    m.core.meta = p->tx.snapshot->meta;
    p->tx.install_ms = r->now_ms;
    replica_send(r, p->id, &m);
}

static void receive_ack(struct replica *r, struct peer *p, const struct peer_message *m)
{
    struct tx *tx = &p->tx;
    uint64_t offset = m->chunk_ack.offset;
    uint32_t size = r->config.snapshot_chunk_bytes;
    if (tx->snapshot == NULL || tx->id != m->chunk_ack.transfer ||
        m->chunk_ack.attempt < tx->attempt || !is_leader(r))
        return;
    if (m->chunk_ack.attempt > tx->attempt) {
        bool first = tx->attempt == 0;
        tx->attempt = m->chunk_ack.attempt;
        if (!first) /* It lost what it had: a restart, a damaged file. */
            rewind_to(r, p, offset);
    }
    if (m->chunk_ack.done) {
        bool again = tx->done;
        tx->done = true;
        tx->progress_ms = r->now_ms;
        if (!again)
            send_install(r, p);
        return;
    }
    if (offset == tx->acked)
        tx->gap = true;
    if (offset <= tx->acked)
        return;
    if (offset > tx->sent) {
        /* We went back too far: answers came late. */
        rewind_to(r, p, offset);
        return;
    }
    tx->acked = offset;
    tx->chunks = (uint32_t)MIN_OF((tx->sent - tx->acked + size - 1) / size, (uint64_t)CHUNKS_MAX);
    tx->progress_ms = r->now_ms;
    tx->gap = false;
    read_more(r, p);
}

void transfer_tick(struct replica *r, struct peer *p)
{
    struct tx *tx = &p->tx;
    if (tx->snapshot == NULL)
        return;
    uint64_t patience = tx->gap ? r->config.heartbeat_ms : 3 * (uint64_t)r->config.election_ms;
    if (tx->done && r->now_ms - tx->install_ms >= r->config.election_ms)
        send_install(r, p);
    else if (!tx->done && tx->token == 0 && r->now_ms - tx->progress_ms >= patience)
        rewind_to(r, p, tx->acked);
    /* Nobody there: the core asks again once the member is heard. */
    if (p->heard_ms != 0 && r->now_ms - p->heard_ms >= 10 * (uint64_t)r->config.election_ms)
        transfer_stop(r, p);
}

void transfer_acked(struct replica *r, struct peer *p, uint64_t match_index)
{
    if (p->tx.snapshot != NULL && match_index >= p->tx.snapshot->index)
        transfer_stop(r, p);
}

/* --- receiving --- */

static void send_ack(struct replica *r)
{
    struct rx *rx = &r->rx;
    struct peer_message m = {.type = PEER_CHUNK_ACK,
                             .chunk_ack = {rx->id, rx->local, rx->written, rx->done}};
    replica_send(r, rx->from, &m);
}

/* It is not known here: begin at the beginning. */
static void ask_again(struct replica *r, uint64_t from, uint64_t transfer)
{
    struct peer_message m = {.type = PEER_CHUNK_ACK,
                             .chunk_ack = {transfer, ++r->next_transfer, 0, false}};
    replica_send(r, from, &m);
}

void transfer_drop_rx(struct replica *r)
{
    uint64_t local = r->rx.local;
    r->rx = (struct rx){0};
    if (local != 0)
        R_OP(r, drop_snapshot, local);
}

static void receive_chunk(struct replica *r, uint64_t from, const struct peer_message *m)
{
    struct rx *rx = &r->rx;
    /* During an install the file belongs to the disk. A leader we do not follow
     * must not replace what ours sends. */
    if (r->installing_seq != 0 || (r->leader != 0 && r->leader != from))
        return;
    if (rx->local == 0 || rx->from != from || rx->id != m->chunk.transfer) {
        if (m->chunk.offset != 0) {
            ask_again(r, from, m->chunk.transfer);
            return;
        }
        transfer_drop_rx(r);
        *rx = (struct rx){
            .local = ++r->next_transfer,
            .from = from,
            .id = m->chunk.transfer,
            .index = m->chunk.index,
            .term = m->chunk.term,
        };
    }
    if (m->chunk.offset != rx->received || rx->last || rx->ends_count == CHUNK_QUEUE_MAX ||
        (m->chunk.bytes.len == 0 && !m->chunk.last)) {
        send_ack(r);
        return;
    }
    rx->received += m->chunk.bytes.len;
    rx->last = m->chunk.last;
    rx->ends[(rx->ends_head + rx->ends_count++) % CHUNK_QUEUE_MAX] = rx->received;
    R_OP(r, write_snapshot, rx->local, m->chunk.offset, m->chunk.bytes, m->chunk.last);
}

void replica_snapshot_written(struct replica *r, uint64_t now_ms, uint64_t transfer, int code)
{
    struct rx *rx = &r->rx;
    ASSERT(!r->in_op);
    if (r->closed || r->failed || transfer == 0 || rx->local != transfer || rx->ends_count == 0)
        return;
    r->now_ms = MAX_OF(r->now_ms, now_ms);
    if (code != 0) {
        /* The sender notices that nothing moves and starts again. */
        transfer_drop_rx(r);
        return;
    }
    rx->written = rx->ends[rx->ends_head];
    rx->ends_head = (rx->ends_head + 1) % CHUNK_QUEUE_MAX;
    rx->ends_count--;
    rx->done = rx->last && rx->ends_count == 0;
    send_ack(r);
}

void transfer_receive(struct replica *r, uint64_t from, const struct peer_message *m)
{
    struct peer *p = replica_peer(r, from);
    if (m->type == PEER_CHUNK)
        receive_chunk(r, from, m);
    else if (p != NULL)
        receive_ack(r, p, m);
}

/* --- installing --- */

void transfer_install(struct replica *r, uint64_t from, struct peer_message *pm)
{
    struct consensus_message *m = &pm->core.msg;
    struct rx *rx = &r->rx;
    struct error err = {0};
    if (r->installing_seq != 0)
        return;
    if (rx->from != from || rx->id != pm->core.transfer || !rx->done) {
        if (rx->from != from || rx->id != pm->core.transfer)
            ask_again(r, from, pm->core.transfer);
        return;
    }
    struct applied a;
    if (rx->index != m->install.index || rx->term != m->install.snapshot_term ||
        applied_decode(pm->core.meta, m->install.index, m->install.snapshot_term, &a, NULL) != 0) {
        transfer_drop_rx(r);
        return;
    }
    snapshot_ref_drop(r->install_snapshot);
    applied_done(&r->install_applied);
    r->install_snapshot = snapshot_ref_new(rx->index, rx->term, pm->core.meta);
    r->install_applied = a;
    r->install_emitted = false;
    m->install.members = &r->install_applied.members;
    m->install.members_index = a.members_index;
    uint64_t term = m->term;
    int rc = consensus_receive(r->consensus, r->now_ms, m, &err);
    if (rc != 0)
        replica_fatal(r, rc, "%s", error_message(&err));
    else if (!r->install_emitted && term >= consensus_term(r->consensus))
        transfer_drop_rx(r); /* We have all of it already. */
}

/* The file became the snapshot and the state machine was restored from it. */
void transfer_installed(struct replica *r)
{
    struct applied a = r->install_applied;
    struct snapshot_ref *s = r->install_snapshot;
    r->install_applied = (struct applied){0};
    r->install_snapshot = NULL;
    r->installing_seq = 0;
    r->rx = (struct rx){0}; /* The disk made the file its own. */
    applied_done(&r->applied);
    r->applied = a;
    replica_set_snapshot(r, s, &a.members, a.members_index);
    r->bytes_since = 0;
    r->entries_since = 0;
    r->persisted = s->index;
    r->status_dirty = true;
    for (uint32_t i = 0; i < a.members.count; i++)
        if (a.origins[i].id == r->config.id && a.origins[i].boot == r->config.boot)
            propose_covered(r, a.origins[i].seq);
    consensus_installed(r->consensus, r->now_ms);
    change_applied(r, a.index, a.term);
}
