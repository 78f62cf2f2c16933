/* store_ops.c - the replica's effects: state machine, disk, peers. Store thread. */
#include "raftstore/store_internal.h"

#include "lib/base/log.h"
#include "lib/base/metrics.h"
#include "raftstore/failpoint.h"
#include "raftstore/peer_message.h"

#include <inttypes.h>
#include <string.h>

#define SLOW_APPLY_NS 100000000u /* As etcd's --warning-apply-duration. */

/* --- the disk ---------------------------------------------------------------------------- */

static void op_save_vote(void *arg, uint64_t seq, const struct replica_vote *v)
{
    (void)failpoint(FP_STORE_VOTE);
    store_log_vote(arg, seq, v->term, v->voted_for);
    store_kick(arg);
}

static void op_append(void *arg, uint64_t seq, uint64_t first_index, struct entry *const *entries,
                      uint32_t count)
{
    UNUSED(first_index); /* Appending over cuts. */
    store_log_append(arg, seq, entries, count);
    store_kick(arg);
}

static void op_install_snapshot(void *arg, uint64_t seq, uint64_t transfer,
                                const struct replica_snapshot *snapshot)
{
    store_snapshot_install(arg, seq, transfer, snapshot);
}

static void op_reset_log(void *arg, uint64_t seq, uint64_t index, uint64_t term)
{
    store_log_reset(arg, seq, index, term);
    store_kick(arg);
}

static void op_trim(void *arg, uint64_t first_index)
{
    store_log_trim(arg, first_index);
    store_kick(arg);
}

static void op_read_entries(void *arg, uint64_t token, uint64_t first, uint64_t last,
                            uint32_t bytes_max)
{
    store_log_read(arg, token, first, last, bytes_max);
    store_kick(arg);
}

static void op_take_snapshot(void *arg, const struct replica_snapshot *snapshot)
{
    store_snapshot_take(arg, snapshot);
}

static void op_read_snapshot(void *arg, uint64_t token, uint64_t index, uint64_t offset,
                             uint32_t bytes_max)
{
    store_snapshot_read(arg, token, index, offset, bytes_max);
}

static void op_release_snapshot(void *arg, uint64_t index)
{
    store_snapshot_release(arg, index);
}

static void op_write_snapshot(void *arg, uint64_t transfer, uint64_t offset, struct str bytes,
                              bool last)
{
    store_snapshot_write(arg, transfer, offset, bytes, last);
}

static void op_drop_snapshot(void *arg, uint64_t transfer)
{
    store_snapshot_drop(arg, transfer);
}

/* --- peers ---------------------------------------------------------------------------------- */

static void op_send(void *arg, uint64_t to, struct buf *msg)
{
    struct store *s = arg;
    if (s->transport != NULL)
        transport_send(s->transport, to, msg);
    else
        buf_done(msg);
}

void store_set_peers(struct store *s)
{
    if (s->transport == NULL)
        return;
    struct transport_peer peers[MEMBERS_MAX];
    uint32_t count = MIN_OF(s->members.count, (uint32_t)MEMBERS_MAX);
    for (uint32_t i = 0; i < count; i++)
        peers[i] = (struct transport_peer){s->members.items[i].id, s->members.items[i].address};
    transport_set_peers(s->transport, peers, count);
}

static void op_members_changed(void *arg, const struct members *m)
{
    struct store *s = arg;
    members_done(&s->members);
    members_copy(&s->members, m);
    s->record_dirty = true;
    store_set_peers(s);
    store_publish_members(s);
}

static bool on_message(void *arg, uint64_t from, struct str bytes)
{
    struct store *s = arg;
    if (s->replica == NULL || s->closed)
        return true;
    int rc = replica_receive(s->replica, store_now(s), from, bytes);
    store_kick(s);
    return rc != E_INVALID;
}

static enum transport_status on_hello(void *arg, const struct transport_hello *h)
{
    struct store *s = arg;
    if (s->closing)
        return TRANSPORT_RETRY;
    if (atomic_load(&s->id) == 0) {
        if (s->join)
            store_adopt(s, h->cluster_id, h->to);
        return TRANSPORT_RETRY;
    }
    if (s->replica == NULL)
        return TRANSPORT_RETRY;
    if (s->was_leader && members_get(&s->members, h->from) == NULL)
        return TRANSPORT_REMOVED;
    return store_member_met(
        s, &(struct member_greeting){h->from, h->instance, h->format, h->name, h->client_urls});
}

static enum transport_status on_welcome(void *arg, const struct transport_welcome *w)
{
    struct store *s = arg;
    if (s->replica != NULL)
        replica_connected(s->replica, w->id);
    return store_member_met(
        arg, &(struct member_greeting){w->id, w->instance, w->format, w->name, w->client_urls});
}

static bool is_bulk(void *arg, struct str message)
{
    UNUSED(arg);
    return message.len > 1 && (uint8_t)message.data[1] == PEER_CHUNK;
}

static void on_removed(void *arg)
{
    struct store *s = arg;
    s->told_removed = true;
    store_kick(s);
}

const struct transport_ops store_transport_ops = {on_message, on_hello, on_welcome, is_bulk,
                                                  on_removed};

/* --- state machine and users -------------------------------------------------------------------
 */

static void op_apply(void *arg, const struct replica_command *c)
{
    struct store *s = arg;
    struct request *r = c->cookie;
    struct error err = {0};
    if (s->apply_code != 0) {
        if (r != NULL)
            request_finish(r, E_UNKNOWN_OUTCOME);
        return;
    }
    if (s->apply_since_ns == 0)
        s->apply_since_ns = uv_hrtime();
    (void)failpoint(FP_STORE_APPLY);
    int rc =
        mvcc_apply(s->mvcc, c->index, c->bytes, store_now(s), r != NULL ? &r->result : NULL, &err);
    if (rc < 0) {
        log_error("command of entry %" PRIu64 " cannot be applied: %s", c->index,
                  error_message(&err));
        s->apply_code = rc;
    }
    if (r != NULL)
        request_finish(r, rc < 0 ? E_UNKNOWN_OUTCOME : 0);
}

/* For metrics only. */
static void measure_apply(struct store *s)
{
    if (s->apply_since_ns == 0)
        return;
    uint64_t took = uv_hrtime() - s->apply_since_ns;
    s->apply_since_ns = 0;
    metric_observe(s->metrics.commit, (double)took / 1e9);
    if (took > SLOW_APPLY_NS)
        metric_inc(s->metrics.slow_applies);
}

static void op_applied(void *arg, uint64_t index)
{
    struct store *s = arg;
    if (s->apply_code != 0)
        return;
    (void)failpoint(FP_STORE_PUBLISH);
    mvcc_applied(s->mvcc, index);
    mvcc_publish(s->mvcc, store_now(s));
    measure_apply(s);
    struct mvcc_stats stats;
    mvcc_stats(s->mvcc, &stats);
    replica_set_state_bytes(s->replica, stats.tree_bytes);
}

static void op_propose_failed(void *arg, void *cookie, int code)
{
    struct store *s = arg;
    metric_inc(s->metrics.failed);
    /* A member that cannot go on answers as one that lost its leader. */
    request_finish(cookie, code == E_CLOSED && s->failed ? E_UNKNOWN_OUTCOME : code);
    store_kick(s);
}

static void op_read_done(void *arg, void *cookie, int code, uint64_t index)
{
    struct store *s = arg;
    UNUSED(index);  /* Applied; the answer leaves behind the publishing. */
    if (code < 0) { /* No answer in time, or no leader any more. */
        metric_inc(s->metrics.slow_reads);
        metric_inc(s->metrics.read_failures);
    }
    request_finish(cookie, code);
    store_kick(s);
}

static void op_change_done(void *arg, void *cookie, int code)
{
    struct store *s = arg;
    struct request *r = cookie;
    request_finish(r, code);
    if (s->closing && r->reply_to == NULL)
        s->close_at_ms = store_now(s); /* The hand-over is done: the timer ends it. */
    store_kick(s);
}

static void op_changed(void *arg)
{
    struct store *s = arg;
    struct replica_status status;
    replica_status(s->replica, &status);
    bool leader = status.state == REPLICA_LEADER;
    if (leader && !s->was_leader)
        store_became_leader(s, store_now(s));
    if (status.leader != s->last_leader && status.leader != 0) {
        metric_inc(s->metrics.leader_changes);
        log_info("member %" PRIx64 " leads in term %" PRIu64, status.leader, status.term);
    }
    s->was_leader = leader;
    if (status.leader != 0)
        s->last_leader = status.leader;
    store_kick(s);
}

static void op_fatal(void *arg, int code, const char *message)
{
    struct store *s = arg;
    log_error("this member cannot go on: %s: %s", error_text(code), message);
    s->failed = true;
    store_kick(s);
}

const struct replica_ops store_replica_ops = {
    .save_vote = op_save_vote,
    .append = op_append,
    .install_snapshot = op_install_snapshot,
    .reset_log = op_reset_log,
    .trim = op_trim,
    .read_entries = op_read_entries,
    .take_snapshot = op_take_snapshot,
    .read_snapshot = op_read_snapshot,
    .release_snapshot = op_release_snapshot,
    .write_snapshot = op_write_snapshot,
    .drop_snapshot = op_drop_snapshot,
    .send = op_send,
    .members_changed = op_members_changed,
    .apply = op_apply,
    .applied = op_applied,
    .propose_failed = op_propose_failed,
    .read_done = op_read_done,
    .change_done = op_change_done,
    .changed = op_changed,
    .fatal = op_fatal,
};
