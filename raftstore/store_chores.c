/* store_chores.c - what the store asks of itself: compaction, alarms, leases,
 * metrics. Store thread.
 *
 * Everything goes through the log as a user's command would, and waits for its
 * answer before it is asked again. Nothing here keeps an idle store awake. */
#include "raftstore/store_internal.h"

#include "lib/base/log.h"
#include "lib/base/metrics.h"

#include <inttypes.h>
#include <string.h>

#define ALARM_RETRY_MS 1000
#define LEASE_RETRY_MS 500
#define LEASES_PER_TURN 512
#define SQUEEZE_RETRY_MS 500
#define HISTORY_STEPS 8 /* Compactions per length of the history. */

/* --- compaction -------------------------------------------------------------------------- */

static uint64_t sample_step(const struct store *s)
{
    return MAX_OF(s->history_ms / HISTORY_STEPS, (uint64_t)1);
}

/* Remembers which revision was the newest when. */
static void take_sample(struct store *s, uint64_t now)
{
    int64_t rev = mvcc_rev(s->mvcc);
    const struct sample *last = s->sample_count > 0 ? &s->samples[s->sample_count - 1] : NULL;
    if (rev <= mvcc_compacted(s->mvcc) ||
        (last != NULL && (last->rev == rev || now - last->at_ms < sample_step(s))))
        return;
    if (s->sample_count == SAMPLES_MAX) {
        memmove(s->samples, s->samples + 1, (SAMPLES_MAX - 1) * sizeof(s->samples[0]));
        s->sample_count--;
    }
    s->samples[s->sample_count++] = (struct sample){now, rev};
}

static void on_compacted(struct store *s, const struct request *r)
{
    UNUSED(r); /* E_EXPIRED: somebody was faster. */
    s->compacting = false;
    store_kick(s);
}

/* When memory runs short, history goes before writes are refused: first what the
 * event log does not hold either, in the end all of it. 0: no need. */
static int64_t squeeze_rev(const struct store *s)
{
    struct mvcc_stats ms;
    mvcc_stats(s->mvcc, &ms);
    if (ms.tree_bytes <= s->quota_bytes / 4 * 3)
        return 0;
    bool full = mvcc_wants_no_space(s->mvcc, atomic_load(&s->id));
    int64_t rev = full ? mvcc_rev(s->mvcc) : ms.history_first_rev - 1;
    return rev > mvcc_compacted(s->mvcc) ? rev : 0;
}

static void propose_compaction(struct store *s, int64_t rev)
{
    s->compacting = true;
    store_propose_internal(s, &(struct command){.type = COMMAND_COMPACT, .rev = rev}, on_compacted);
}

static void compact(struct store *s, uint64_t now)
{
    take_sample(s, now);
    int64_t squeeze =
        s->was_leader && !s->compacting && now >= s->squeeze_retry_ms ? squeeze_rev(s) : 0;
    if (squeeze > 0) {
        s->squeeze_retry_ms = now + SQUEEZE_RETRY_MS;
        propose_compaction(s, squeeze);
        return;
    }
    uint32_t old = 0;
    while (old < s->sample_count && now - s->samples[old].at_ms >= s->history_ms)
        old++;
    if (old == 0)
        return;
    int64_t rev = s->samples[old - 1].rev;
    bool due = rev > mvcc_compacted(s->mvcc);
    if (due && (s->compacting || !s->was_leader))
        return; /* Others keep their samples, in case they lead one day. */
    s->sample_count -= old;
    memmove(s->samples, s->samples + old, s->sample_count * sizeof(s->samples[0]));
    if (due)
        propose_compaction(s, rev);
}

/* --- alarms ---------------------------------------------------------------------------------- */

static void on_alarmed(struct store *s, const struct request *r)
{
    s->alarming = false;
    if (r->code < 0)
        s->alarm_retry_ms = store_now(s) + ALARM_RETRY_MS;
    else if (s->alarmed_verdict == s->verdict)
        s->verdict = VERDICT_NONE;
    store_kick(s);
}

static bool alarm_differs(const struct store *s, uint32_t *ret_want)
{
    uint64_t id = atomic_load(&s->id);
    uint32_t has = mvcc_member_alarms(s->mvcc, id);
    bool full = s->low_space || mvcc_wants_no_space(s->mvcc, id);
    uint32_t want = full ? has | STORE_ALARM_NO_SPACE : has & ~(uint32_t)STORE_ALARM_NO_SPACE;
    if (s->verdict == VERDICT_DIFFERENT)
        want |= STORE_ALARM_CORRUPT;
    else if (s->verdict == VERDICT_SAME)
        want &= ~(uint32_t)STORE_ALARM_CORRUPT;
    want |= mvcc_held_alarms(s->mvcc, id);
    *ret_want = want;
    return want != has;
}

/* Alarms of members that were removed go with them. 0: there are none. */
static uint64_t stranger_with_alarm(const struct store *s)
{
    size_t count;
    const struct mvcc_alarm *list = mvcc_alarm_list(s->mvcc, &count);
    for (size_t i = 0; s->was_leader && i < count; i++)
        if (members_get(&s->members, list[i].member) == NULL)
            return list[i].member;
    return 0;
}

/* Set when the quota or the disk is used up, or the data is not the leader's;
 * cleared when that is over. What a client set stays until a client clears it. */
static void sound_alarm(struct store *s, uint64_t now)
{
    uint32_t want;
    struct command c = {.type = COMMAND_ALARM, .member = atomic_load(&s->id)};
    if (s->alarming || now < s->alarm_retry_ms)
        return;
    if (alarm_differs(s, &want)) {
        c.alarms = want;
        s->alarmed_verdict = s->verdict;
    } else {
        s->verdict = VERDICT_NONE;
        c = (struct command){.type = COMMAND_ALARM_CHANGE, .alarms = MVCC_ALARMS};
        c.member = stranger_with_alarm(s);
        if (c.member == 0)
            return;
    }
    s->alarming = true;
    store_propose_internal(s, &c, on_alarmed);
}

/* --- leases ------------------------------------------------------------------------------------
 */

/* The next ones as soon as these are through; or later, should one fail. */
static void on_expired(struct store *s, const struct request *r)
{
    UNUSED(r);
    if (s->expiring > 0 && --s->expiring == 0)
        s->lease_retry_ms = 0;
    store_kick(s);
}

/* When the clock shows that the first lease's time is over. It counts whole
 * milliseconds: the one that was under way at the renewal is not the lease's. */
static uint64_t lease_over_ms(const struct store *s)
{
    uint64_t deadline = mvcc_lease_deadline(s->mvcc);
    return deadline == UINT64_MAX ? deadline : deadline + 1;
}

static void expire_leases(struct store *s, uint64_t now)
{
    if (!s->was_leader || now < s->lease_retry_ms || lease_over_ms(s) > now)
        return;
    struct mvcc_lease due[LEASES_PER_TURN];
    size_t count = mvcc_leases_due(s->mvcc, now - 1, due, LEASES_PER_TURN);
    for (size_t i = 0; i < count; i++) {
        struct command c = {
            .type = COMMAND_LEASE_EXPIRE, .id = due[i].id, .renewals = due[i].renewals};
        store_propose_internal(s, &c, on_expired);
    }
    s->expiring = (uint32_t)count;
    s->lease_retry_ms = now + LEASE_RETRY_MS;
}

void store_became_leader(struct store *s, uint64_t now_ms)
{
    mvcc_leases_extend(s->mvcc, now_ms);
    s->record_retry_ms = 0;
    s->record_dirty = true;
}

/* --- all of them ---------------------------------------------------------------------------------
 */

void store_chores(struct store *s, uint64_t now_ms)
{
    if (s->closing)
        return;
    compact(s, now_ms);
    sound_alarm(s, now_ms);
    expire_leases(s, now_ms);
    store_members_chore(s, now_ms);
    store_verify_chore(s, now_ms);
}

uint64_t store_chores_deadline(const struct store *s, uint64_t now_ms)
{
    uint64_t due = UINT64_MAX;
    uint32_t want;
    if (s->closing || s->failed || s->replica == NULL)
        return due;
    if (s->sample_count > 0 && s->was_leader && !s->compacting)
        due = s->samples[0].at_ms + s->history_ms;
    if (s->was_leader && !s->compacting && s->squeeze_retry_ms > now_ms && squeeze_rev(s) > 0)
        due = MIN_OF(due, s->squeeze_retry_ms);
    if (!s->alarming && s->alarm_retry_ms > now_ms && alarm_differs(s, &want))
        due = MIN_OF(due, s->alarm_retry_ms);
    if (s->was_leader)
        due = MIN_OF(due, MAX_OF(lease_over_ms(s), s->lease_retry_ms));
    if (s->was_leader && !s->recording && s->record_retry_ms > now_ms)
        due = MIN_OF(due, s->record_retry_ms);
    return MIN_OF(due, store_verify_deadline(s));
}

/* --- metrics
 * ----------------------------------------------------------------------------------------- */

void store_metrics_init(struct store *s)
{
    struct metrics *m = metrics_default();
    struct store_metrics *x = &s->metrics;
    /* etcd's buckets: 1 ms doubling to 8 s. */
    static const double seconds[] = {0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064,
                                     0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192};
    const struct {
        struct metric **at;
        bool counter;
        const char *name, *help;
    } all[] = {
        {&x->has_leader, false, "etcd_server_has_leader", "Whether a leader exists."},
        {&x->is_leader, false, "etcd_server_is_leader", "Whether this member leads."},
        {&x->leader_changes, true, "etcd_server_leader_changes_seen_total",
         "Changes of leader seen."},
        {&x->committed, false, "etcd_server_proposals_committed_total",
         "Consensus proposals committed."},
        {&x->applied, false, "etcd_server_proposals_applied_total", "Consensus proposals applied."},
        {&x->pending, false, "etcd_server_proposals_pending", "Proposals waiting to be applied."},
        {&x->failed, true, "etcd_server_proposals_failed_total", "Proposals that failed."},
        {&x->read_failures, true, "etcd_server_read_indexes_failed_total",
         "Linearizable reads that failed."},
        {&x->slow_reads, true, "etcd_server_slow_read_indexes_total",
         "Linearizable reads that the leader did not confirm in time."},
        {&x->slow_applies, true, "etcd_server_slow_apply_total",
         "Batches of entries that took long to apply."},
        {&x->late_heartbeats, true, "etcd_server_heartbeat_send_failures_total",
         "Heartbeats that the leader sent late."},
        {&x->write_bytes, true, "etcd_disk_wal_write_bytes_total", "Bytes written to the log."},
        {&x->snapshots, true, "etcd_server_snapshots_total", "Snapshots taken."},
        {&x->db_size, false, "etcd_mvcc_db_total_size_in_bytes", "Memory of keys and values."},
        {&x->db_in_use, false, "etcd_mvcc_db_total_size_in_use_in_bytes",
         "Memory of keys and values, without what is about to be freed."},
        {&x->keys, false, "etcd_debugging_mvcc_keys_total", "Keys."},
        {&x->rev, false, "etcd_debugging_mvcc_current_revision", "The current revision."},
        {&x->compact_rev, false, "etcd_debugging_mvcc_compact_revision",
         "The last compacted revision."},
        {&x->quota, false, "etcd_server_quota_backend_bytes",
         "Memory that keys and values may take."},
    };
    /* The API server's name for it, where there is one store. */
    x->storage_size =
        METRIC_OF(metric_gauge(m, "apiserver_storage_size_bytes",
                               "Size of the storage database file physically allocated in bytes.",
                               METRIC_LABELS("storage_cluster_id")),
                  STR("etcd-0"));
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        *all[i].at =
            metric_single(all[i].counter ? metric_counter(m, all[i].name, all[i].help, NULL)
                                         : metric_gauge(m, all[i].name, all[i].help, NULL));
    x->fsync = metric_single(metric_histogram(m, "etcd_disk_wal_fsync_duration_seconds",
                                              "How long writing and syncing the log took.", NULL,
                                              seconds, ARRAY_SIZE(seconds)));
    x->commit = metric_single(
        metric_histogram(m, "etcd_disk_backend_commit_duration_seconds",
                         "How long applying a batch of entries took, until all could see it.", NULL,
                         seconds, ARRAY_SIZE(seconds)));
    metric_set(x->quota, (double)s->quota_bytes);
}

void store_metrics_update(struct store *s, const struct replica_status *rs,
                          const struct mvcc_stats *ms)
{
    struct store_metrics *x = &s->metrics;
    metric_set(x->has_leader, rs->leader != 0);
    metric_set(x->is_leader, rs->state == REPLICA_LEADER);
    metric_set(x->committed, (double)rs->commit_index);
    metric_set(x->applied, (double)rs->applied_index);
    metric_set(x->pending, (double)rs->proposals);
    metric_set(x->db_size, (double)(ms->tree_bytes + ms->dead_bytes));
    metric_set(x->storage_size, (double)(ms->tree_bytes + ms->dead_bytes));
    metric_set(x->db_in_use, (double)ms->tree_bytes);
    metric_set(x->keys, (double)ms->keys);
    metric_set(x->rev, (double)mvcc_rev(s->mvcc));
    metric_set(x->compact_rev, (double)mvcc_compacted(s->mvcc));
}
