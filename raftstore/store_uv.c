/* store_uv.c - the store thread: a loop that feeds the replica and carries its
 * effects out.
 *
 * Events (requests, messages, finished disk work, the timer) are fed in as they
 * come. One round follows at the end of the loop's turn: the replica runs, what
 * was applied is published, disk work goes to the log thread in one list, answers
 * go out. So everything that arrives in one turn shares a log entry. */
#include "raftstore/store_internal.h"

#include "lib/base/env.h"
#include "lib/base/log.h"
#include "lib/base/metrics.h"
#include "raftstore/failpoint.h"
#include "raftstore/mvcc_snapshot.h"

#include <inttypes.h>

#define HAND_OVER_MS_MAX 5000u

uint64_t store_now(const struct store *s)
{
    return env_now_ms(s->env);
}

void store_kick(struct store *s)
{
    if (!s->closed)
        deferred_post(&s->defer, &s->round);
}

/* --- shutting down -------------------------------------------------------------------- */

static void on_transport_closed(void *arg)
{
    ((struct store *)arg)->transport = NULL;
}

static void shut_down(struct store *s)
{
    if (s->closed)
        return;
    s->closed = s->closing = true;
    if (s->replica != NULL)
        replica_close(s->replica);
    store_bulk_stop(s); /* First: it gives work to the other. */
    store_log_stop(s);
    store_answer_all(s);
    if (s->transport != NULL)
        transport_close(s->transport, on_transport_closed, s);
    uv_close((uv_handle_t *)&s->timer, NULL);
    defer_queue_close(&s->defer, NULL);
    mailbox_close(&s->mailbox, NULL); /* Runs what came meanwhile. */
    store_answer_all(s);
}

/* A leader with others to lead hands over first. */
static void begin_close(struct store *s, struct request *r)
{
    struct replica_status status;
    r->type = REQUEST_TRANSFER; /* Its answer ends the wait. */
    r->id = 0;
    if (s->closing || s->replica == NULL || s->failed || members_voters(&s->members) < 2) {
        request_finish(r, 0);
        shut_down(s);
        return;
    }
    replica_status(s->replica, &status);
    s->closing = true;
    s->close_at_ms =
        store_now(s) + MIN_OF(s->election_ms + s->election_ms / 2, (uint64_t)HAND_OVER_MS_MAX);
    replica_limit_waits(s->replica, s->close_at_ms);
    if (status.state != REPLICA_LEADER || replica_transfer(s->replica, store_now(s), 0, r) < 0) {
        request_finish(r, 0);
        shut_down(s);
    }
    store_kick(s);
}

/* --- requests ---------------------------------------------------------------------------- */

static int start_request(struct store *s, struct request *r)
{
    uint64_t now = store_now(s);
    if (s->closing)
        return E_CLOSED;
    if (s->failed || s->replica == NULL)
        return E_UNAVAILABLE;
    switch (r->type) {
    case REQUEST_COMMAND:
        if (command_format(buf_str(&r->bytes)) > s->format)
            return E_UNAVAILABLE; /* A member would not understand it. */
        (void)failpoint(FP_STORE_PROPOSE);
        return replica_propose(s->replica, now, buf_str(&r->bytes), r);
    case REQUEST_READ:
    case REQUEST_LEASE:
    case REQUEST_LEASES:
        return replica_read(s->replica, now, r);
    case REQUEST_CHANGE:
        if (s->format < 2 && r->change >= REPLICA_ADD_LEARNER)
            return E_UNAVAILABLE;
        return replica_change(s->replica, now, r->change, r->id, r->address, r);
    case REQUEST_TRANSFER:
        return replica_transfer(s->replica, now, r->id, r);
    case REQUEST_BACKUP:
        r->backup = mvcc_snapshot_new(s->mvcc, now);
        request_finish(r, 0);
        return 0;
    default:
        return E_INTERNAL;
    }
}

void store_on_request(struct mail *m)
{
    struct request *r = CONTAINER_OF(m, struct request, mail);
    struct store *s = r->s;
    int rc = 0;
    switch (r->type) {
    case REQUEST_CLOSE:
        begin_close(s, r);
        return;
    case REQUEST_KILL:
        request_finish(r, 0);
        shut_down(s);
        return;
    case REQUEST_LIMIT:
        if (s->replica != NULL)
            replica_limit_waits(s->replica, store_now(s) + r->id);
        request_finish(r, 0);
        break;
    case REQUEST_BLOCK:
        if (s->transport != NULL)
            transport_block(s->transport, r->id, r->flag);
        request_finish(r, 0);
        break;
    default:
        rc = start_request(s, r);
        if (rc < 0)
            request_finish(r, rc);
        else
            buf_done(&r->bytes); /* The replica has its copy. */
    }
    store_kick(s);
}

/* --- one round ------------------------------------------------------------------------------ */

static void on_timer(uv_timer_t *timer)
{
    struct store *s = CONTAINER_OF(timer, struct store, timer);
    uint64_t now = store_now(s);
    s->timer_at_ms = 0;
    if (s->closing && s->close_at_ms != 0 && now >= s->close_at_ms) {
        shut_down(s);
        return;
    }
    if (s->replica != NULL && now >= replica_deadline(s->replica)) {
        if (s->was_leader && now - replica_deadline(s->replica) > s->heartbeat_ms)
            metric_inc(s->metrics.late_heartbeats);
        replica_tick(s->replica, now);
    }
    store_kick(s);
}

static void arm_timer(struct store *s, uint64_t now)
{
    uint64_t due = s->replica != NULL && !s->failed ? replica_deadline(s->replica) : UINT64_MAX;
    due = MIN_OF(due, store_chores_deadline(s, now));
    due = MIN_OF(due, store_memory_deadline(s));
    if (s->closing && s->close_at_ms != 0)
        due = MIN_OF(due, s->close_at_ms);
    if (due == s->timer_at_ms)
        return;
    s->timer_at_ms = due == UINT64_MAX ? 0 : due;
    if (due == UINT64_MAX) {
        uv_timer_stop(&s->timer);
        return;
    }
    /* The loop's clock may lag behind ours by what this turn took. */
    uv_update_time(&s->loop);
    uv_timer_start(&s->timer, on_timer, due > now ? due - now : 1, 0);
}

/* The list that other threads read. Locked. */
static void publish_alarms(struct store *s)
{
    size_t count;
    const struct mvcc_alarm *list = mvcc_alarm_list(s->mvcc, &count);
    if (count == 0 && s->alarm_count == 0)
        return;
    free(s->alarms);
    s->alarms = count > 0 ? xmemdup(list, count * sizeof(list[0])) : NULL;
    s->alarm_count = count;
}

void store_update_status(struct store *s)
{
    struct replica_status rs = {0};
    struct mvcc_stats ms;
    if (s->replica != NULL)
        replica_status(s->replica, &rs);
    mvcc_stats(s->mvcc, &ms);
    struct store_status status = {
        .id = atomic_load(&s->id),
        .leader_id = rs.leader,
        .term = rs.term,
        .cluster_id = atomic_load(&s->cluster_id),
        .log_index = rs.last_index,
        .commit_index = rs.commit_index,
        .applied_index = rs.applied_index,
        .rev = mvcc_rev(s->mvcc),
        .compacted_rev = mvcc_compacted(s->mvcc),
        .bytes = ms.tree_bytes + ms.dead_bytes,
        .bytes_in_use = ms.tree_bytes,
        .keys = ms.keys,
        .is_leader = rs.state == REPLICA_LEADER,
        .has_leader = rs.leader != 0,
        .is_voter = rs.is_voter,
        .is_learner = rs.is_learner,
        .alarms = mvcc_alarms(s->mvcc),
        .removed = rs.removed || s->told_removed,
        .failed = s->failed,
    };
    pthread_mutex_lock(&s->lock);
    s->status = status;
    publish_alarms(s);
    pthread_mutex_unlock(&s->lock);
    store_metrics_update(s, &rs, &ms);
}

static void stop_failed(struct store *s)
{
    if (s->apply_code != 0 && !s->failed) {
        log_error(
            "this member cannot apply what the cluster decided (%s); it must be upgraded or rejoin",
            error_text(s->apply_code));
        s->failed = true;
    }
    if (s->failed && s->replica != NULL)
        replica_close(s->replica);
}

static void on_round(struct deferred *d)
{
    struct store *s = CONTAINER_OF(d, struct store, round);
    LOOP_CALLBACK("store round");
    uint64_t now = store_now(s);
    bool more = false;
    if (s->replica != NULL && !s->failed) {
        more = replica_run(s->replica, now);
        store_chores(s, now);
    }
    stop_failed(s);
    worker_post_list(&s->log_worker, &s->log_queue);
    store_update_status(s); /* Who got an answer finds it there. */
    if (!list_empty(&s->answers))
        (void)failpoint(FP_STORE_ANSWER);
    store_answer_all(s);
    more |= store_give_back_memory(s, now);
    arm_timer(s, now);
    if (more)
        store_kick(s);
}

/* --- the thread ----------------------------------------------------------------------------- */

int store_loop_init(struct store *s, struct error *err)
{
    int code = uv_loop_init(&s->loop);
    if (code != 0)
        return error_set(err, E_INTERNAL, "cannot make the store's loop: %s", uv_strerror(code));
    if (mailbox_init(&s->mailbox, &s->loop) != 0) {
        uv_loop_close(&s->loop);
        return error_set(err, E_INTERNAL, "cannot make the store's mailbox");
    }
    uv_timer_init(&s->loop, &s->timer);
    defer_queue_init(&s->defer, &s->loop);
    deferred_init(&s->round, on_round);
    return 0;
}

static void *store_main(void *arg)
{
    struct store *s = arg;
    uv_run(&s->loop, UV_RUN_DEFAULT);
    return NULL;
}

void store_loop_start(struct store *s)
{
    if (pthread_create(&s->thread, NULL, store_main, s) != 0)
        PANIC("cannot start the store's thread");
    pthread_setname_np(s->thread, "store");
    s->thread_started = true;
}
