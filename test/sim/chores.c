/* chores.c - what a member asks of itself, as raftstore/store_chores.c does: leases
 * that fall due, the alarm of a full disk, compaction when memory runs short.
 * Everything goes through the log. */
#include "sim.h"

#include "lib/base/error.h"
#include "raftstore/store.h"

#include <inttypes.h>

#define LEASE_RETRY_MS 500
#define ALARM_RETRY_MS 1000
#define SQUEEZE_RETRY_MS 500
#define LEASES_PER_TURN 16

int node_propose(struct node *n, const struct command *c)
{
    AUTO_BUF bytes = BUF_INIT;
    struct pending_op *p = xzalloc(sizeof(*p));
    p->world = n->world;
    p->client = CLIENTS_MAX;
    p->target = n;
    p->life = n->life;
    p->chore = (uint8_t)c->type;
    list_push_back(&n->world->pending, &p->node);
    command_encode(c, &bytes);
    int rc = replica_propose(n->replica, node_now(n), buf_str(&bytes), p);
    if (rc != 0)
        client_close(p);
    return rc;
}

/* --- leases --- */

/* The drill: what a member does that believes in its own clock. */
static void end_lease_here(struct node *n, const struct mvcc_lease *l)
{
    AUTO_BUF bytes = BUF_INIT;
    struct command c = {.type = COMMAND_LEASE_REVOKE, .id = l->id};
    struct mvcc_result r = {0};
    command_encode(&c, &bytes);
    mvcc_apply(n->machine->mvcc, mvcc_applied_index(n->machine->mvcc) + 1, buf_str(&bytes),
               node_now(n), &r, NULL);
    mvcc_result_done(&r);
    mvcc_publish(n->machine->mvcc, node_now(n));
}

static void expire_leases(struct node *n, uint64_t now)
{
    struct mvcc *m = n->machine->mvcc;
    bool local = n->world->options.breaks & BREAK_LEASE_LOCAL;
    struct mvcc_lease due[LEASES_PER_TURN];
    if ((!n->chores.was_leader && !local) || now < n->chores.lease_retry_ms ||
        mvcc_lease_deadline(m) > now)
        return;
    size_t count = mvcc_leases_due(m, now, due, LEASES_PER_TURN);
    for (size_t i = 0; i < count; i++) {
        struct command c = {
            .type = COMMAND_LEASE_EXPIRE, .id = due[i].id, .renewals = due[i].renewals};
        if (local)
            end_lease_here(n, &due[i]);
        else
            node_propose(n, &c);
    }
    n->chores.lease_retry_ms = now + LEASE_RETRY_MS;
}

/* --- alarms --- */

static bool alarm_differs(const struct node *n, uint32_t *ret_want)
{
    uint32_t has = mvcc_member_alarms(n->machine->mvcc, n->id);
    bool full = n->disk.low_space || mvcc_wants_no_space(n->machine->mvcc, n->id);
    *ret_want = full ? has | STORE_ALARM_NO_SPACE : has & ~(uint32_t)STORE_ALARM_NO_SPACE;
    return *ret_want != has;
}

static void sound_alarm(struct node *n, uint64_t now)
{
    uint32_t want;
    if (n->chores.alarming || now < n->chores.alarm_retry_ms || !alarm_differs(n, &want))
        return;
    struct command c = {.type = COMMAND_ALARM, .member = n->id, .alarms = want};
    n->chores.alarm_retry_ms = now + ALARM_RETRY_MS;
    n->chores.alarming = node_propose(n, &c) == 0;
}

/* Those who left cannot take theirs back. */
static void clear_strangers(struct node *n, uint64_t now)
{
    size_t count;
    const struct mvcc_alarm *alarms = mvcc_alarm_list(n->machine->mvcc, &count);
    if (!n->chores.was_leader || n->chores.alarming || now < n->chores.alarm_retry_ms)
        return;
    for (size_t i = 0; i < count; i++) {
        if (members_get(replica_members(n->replica), alarms[i].member) != NULL)
            continue;
        struct command c = {.type = COMMAND_ALARM, .member = alarms[i].member};
        n->chores.alarm_retry_ms = now + ALARM_RETRY_MS;
        n->chores.alarming = node_propose(n, &c) == 0;
        return;
    }
}

/* --- memory --- */

static void squeeze(struct node *n, uint64_t now)
{
    struct mvcc *m = n->machine->mvcc;
    struct mvcc_stats ms;
    uint64_t quota = n->world->mvcc_config.quota_bytes;
    if (!n->chores.was_leader || n->chores.compacting || now < n->chores.squeeze_retry_ms ||
        quota == 0)
        return;
    mvcc_stats(m, &ms);
    if (ms.tree_bytes <= quota / 4 * 3)
        return;
    int64_t rev = mvcc_wants_no_space(m, n->id) ? mvcc_rev(m) : ms.history_first_rev - 1;
    if (rev <= mvcc_compacted(m))
        return;
    struct command c = {.type = COMMAND_COMPACT, .rev = rev};
    n->chores.squeeze_retry_ms = now + SQUEEZE_RETRY_MS;
    n->chores.compacting = node_propose(n, &c) == 0;
}

/* --- all of them --- */

void chores_run(struct node *n)
{
    uint64_t now = node_now(n);
    struct replica_status st;
    replica_status(n->replica, &st);
    if (n->disk.failed || st.removed)
        return;
    expire_leases(n, now);
    sound_alarm(n, now);
    clear_strangers(n, now);
    squeeze(n, now);
}

uint64_t chores_deadline(const struct node *n)
{
    uint32_t want;
    uint64_t now = node_now(n), due = UINT64_MAX;
    if (n->chores.was_leader || (n->world->options.breaks & BREAK_LEASE_LOCAL))
        due = MAX_OF(mvcc_lease_deadline(n->machine->mvcc), n->chores.lease_retry_ms);
    if (!n->chores.alarming && alarm_differs(n, &want))
        due = MIN_OF(due, MAX_OF(n->chores.alarm_retry_ms, now + 1));
    return due;
}

void chores_changed(struct node *n)
{
    bool leader = node_is_leader(n);
    if (leader && !n->chores.was_leader)
        mvcc_leases_extend(n->machine->mvcc, node_now(n));
    n->chores.was_leader = leader;
}
