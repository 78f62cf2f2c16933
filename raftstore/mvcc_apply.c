/* mvcc_apply.c - commands of the log, one by one. */
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "raftstore/mvcc_internal.h"
#include "raftstore/store.h"

void mvcc_result_done(struct mvcc_result *r)
{
    txn_result_free(r->txn);
    *r = (struct mvcc_result){0};
}

static int apply_compact(struct mvcc *m, int64_t rev)
{
    if (rev > m->s.rev)
        return E_FUTURE_REV;
    if (rev <= m->s.compacted)
        return E_EXPIRED;
    m->s.compacted = rev;  /* The versions go in mvcc_work(), */
    m->history_due = true; /* the events in mvcc_trim_history(). */
    return 0;
}

/* --- leases --- */

/* Room for renewals before they reach the number of a lease granted later. */
#define RENEWAL_BITS 24

static int grant(struct mvcc *m, const struct command *c, uint64_t index, uint64_t now_ms,
                 struct mvcc_result *r)
{
    if (mvcc_alarms(m) & STORE_ALARM_NO_SPACE)
        return E_NO_SPACE;
    if (c->id == 0 || c->ttl_s > LEASE_TTL_MAX_S)
        return E_INVALID;
    if (leases_get(&m->s.leases, c->id) != NULL)
        return E_EXISTS;
    int64_t ttl_s = MAX_OF(c->ttl_s, 1);
    struct lease *l = lease_add(&m->s.leases, c->id, ttl_s, now_ms);
    /* Not from 0: an expiry that is under way must not hit a lease of the same id
     * that was granted since. */
    l->renewals = index << RENEWAL_BITS;
    r->ttl_s = ttl_s;
    return 0;
}

/* All keys of the lease go in one revision, in key order. */
static void revoke(struct mvcc *m, struct lease *l)
{
    /* The deletions below empty the lease's own list: work on a copy. */
    const struct kv_list *keys = lease_keys(l, tree_working(m->s.tree), true);
    struct kv_list copy = {0};
    for (size_t i = 0; i < keys->count; i++)
        kv_list_push(&copy, keys->items[i]);
    for (size_t i = 0; i < copy.count; i++)
        mvcc_delete(m, copy.items[i]);
    kv_list_done(&copy);
    mvcc_end_write(m);
    lease_remove(&m->s.leases, l);
}

static int apply_lease(struct mvcc *m, const struct command *c, uint64_t index, uint64_t now_ms,
                       struct mvcc_result *r)
{
    r->id = c->id;
    if (c->type == COMMAND_LEASE_GRANT)
        return grant(m, c, index, now_ms, r);
    struct lease *l = leases_get(&m->s.leases, c->id);
    if (l == NULL)
        return E_NOT_FOUND;
    r->ttl_s = l->ttl_s;
    if (c->type == COMMAND_LEASE_KEEPALIVE) {
        l->renewals++;
        lease_extend(&m->s.leases, l, now_ms);
        return 0;
    }
    if (c->type == COMMAND_LEASE_EXPIRE && c->renewals != l->renewals)
        return E_CONFLICT; /* A renewal came first. */
    revoke(m, l);
    return 0;
}

/* --- the rest --- */

static int apply_config(struct mvcc *m, struct str config)
{
    buf_clear(&m->s.config);
    buf_append_str(&m->s.config, config);
    return 0;
}

static void set_alarms(struct mvcc *m, uint64_t member, uint32_t alarms, uint32_t held)
{
    mvcc_state_set_alarms(&m->s, member,
                          (alarms & MVCC_ALARMS) | held | held << MVCC_ALARMS_HELD_SHIFT);
}

static int apply_alarm(struct mvcc *m, uint64_t member, uint32_t alarms)
{
    if (member == 0)
        return E_INVALID;
    set_alarms(m, member, alarms, mvcc_held_alarms(m, member));
    return 0;
}

static int apply_alarm_change(struct mvcc *m, const struct command *c)
{
    uint32_t change = c->alarms & MVCC_ALARMS;
    if (c->set && c->member == 0)
        return E_INVALID;
    if (c->set) {
        set_alarms(m, c->member, mvcc_member_alarms(m, c->member),
                   mvcc_held_alarms(m, c->member) | change);
        return 0;
    }
    for (size_t i = m->s.alarm_count; i-- > 0;) { /* One that is left with none goes. */
        uint64_t member = m->s.alarms[i].member;
        if (c->member == 0 || c->member == member)
            set_alarms(m, member, mvcc_member_alarms(m, member) & ~change,
                       mvcc_held_alarms(m, member) & ~change);
    }
    return 0;
}

static int apply_auth(struct mvcc *m, struct str bytes, struct mvcc_result *r)
{
    struct auth_change c;
    struct auth_state *next = NULL;
    if (auth_change_decode(bytes, &c, NULL) != 0) {
        r->auth = AUTH_REFUSED_INVALID;
        return E_INVALID;
    }
    r->auth = auth_apply(m->s.auth, &c, &next);
    if (r->auth != AUTH_REFUSED_NOT)
        return E_INVALID;
    auth_state_unref(m->s.auth);
    m->s.auth = next;
    return 0;
}

static int apply_verify(struct mvcc *m, const struct command *c)
{
    m->verify = true;
    m->verify_rev = c->rev;
    m->verify_hash = c->hash;
    return 0;
}

static bool stopped_by_corruption(const struct mvcc *m, enum command_type type)
{
    return (mvcc_alarms(m) & STORE_ALARM_CORRUPT) && type != COMMAND_ALARM &&
           type != COMMAND_CONFIG && type != COMMAND_LEASE_KEEPALIVE && type != COMMAND_VERIFY &&
           type != COMMAND_ALARM_CHANGE && type != COMMAND_AUTH;
}

static int apply_command(struct mvcc *m, const struct command *c, uint64_t index, uint64_t now_ms,
                         struct mvcc_result *r, bool wanted)
{
    if (c->type == COMMAND_TXN)
        return mvcc_apply_txn(m, &c->txn, wanted ? &r->txn : NULL);
    if (stopped_by_corruption(m, c->type))
        return E_CORRUPT;
    switch (c->type) {
    case COMMAND_TXN:
        break;
    case COMMAND_COMPACT:
        return apply_compact(m, c->rev);
    case COMMAND_LEASE_GRANT:
    case COMMAND_LEASE_REVOKE:
    case COMMAND_LEASE_KEEPALIVE:
    case COMMAND_LEASE_EXPIRE:
        return apply_lease(m, c, index, now_ms, r);
    case COMMAND_CONFIG:
        return apply_config(m, c->config);
    case COMMAND_ALARM:
        return apply_alarm(m, c->member, c->alarms);
    case COMMAND_ALARM_CHANGE:
        return apply_alarm_change(m, c);
    case COMMAND_AUTH:
        return apply_auth(m, c->config, r);
    case COMMAND_VERIFY:
        return apply_verify(m, c);
    }
    return E_INVALID;
}

int mvcc_apply(struct mvcc *m, uint64_t index, struct str command, uint64_t now_ms,
               struct mvcc_result *ret, struct error *err)
{
    struct mvcc_result r = {.code = E_EXISTS, .rev = m->s.rev};
    if (index > m->s.applied) {
        struct command c;
        arena_clear(m->arena);
        int rc = command_decode(m->arena, command, &c, err);
        if (rc != 0)
            return rc;
        r.code = apply_command(m, &c, index, now_ms, &r, ret != NULL);
        r.rev = m->s.rev;
        m->changed = true;
    }
    if (ret != NULL)
        *ret = r;
    return 0;
}

/* --- leases as the owner sees them --- */

static struct mvcc_lease lease_info(const struct lease *l)
{
    return (struct mvcc_lease){l->id, l->ttl_s, l->renewals, l->deadline_ms, l->live};
}

size_t mvcc_leases_due(const struct mvcc *m, uint64_t now_ms, struct mvcc_lease *ret, size_t max)
{
    struct lease **due = xmalloc((max + 1) * sizeof(due[0]));
    size_t n = leases_due(&m->s.leases, now_ms, due, max);
    for (size_t i = 0; i < n; i++)
        ret[i] = lease_info(due[i]);
    free(due);
    return n;
}

uint64_t mvcc_lease_deadline(const struct mvcc *m)
{
    const struct lease *l = leases_first_due(&m->s.leases);
    return l != NULL ? l->deadline_ms : UINT64_MAX;
}

void mvcc_leases_extend(struct mvcc *m, uint64_t now_ms)
{
    leases_extend(&m->s.leases, now_ms);
}

bool mvcc_lease_get(const struct mvcc *m, int64_t id, struct mvcc_lease *ret)
{
    const struct lease *l = leases_get(&m->s.leases, id);
    if (l != NULL)
        *ret = lease_info(l);
    return l != NULL;
}

size_t mvcc_lease_ids(const struct mvcc *m, int64_t **ret_ids)
{
    struct lease **all = leases_sorted(&m->s.leases);
    size_t n = leases_count(&m->s.leases);
    int64_t *ids = xmalloc((n + 1) * sizeof(ids[0]));
    for (size_t i = 0; i < n; i++)
        ids[i] = all[i]->id;
    free(all);
    *ret_ids = ids;
    return n;
}

size_t mvcc_lease_keys(struct mvcc *m, int64_t id, const struct kv ***ret)
{
    struct lease *l = leases_get(&m->s.leases, id);
    size_t n = 0;
    const struct kv **kvs = NULL;
    if (l != NULL) {
        const struct kv_list *keys = lease_keys(l, tree_working(m->s.tree), false);
        kvs = xmalloc((keys->count + 1) * sizeof(kvs[0]));
        for (; n < keys->count; n++)
            kvs[n] = kv_ref(keys->items[n]);
    }
    *ret = kvs;
    return n;
}
