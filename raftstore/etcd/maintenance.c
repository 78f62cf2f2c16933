/* maintenance.c - etcd's Maintenance service: status, alarms, leadership. Hashes
 * stand in hash.c, snapshots in snapshot_stream.c. */
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "raftstore/etcd/admin.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>

#define UNPACK(Type, name)                                                                         \
    const Etcdserverpb__##Type *m = (const Etcdserverpb__##Type *)(const void *)etcd_call_unpack(  \
        c, &etcdserverpb__##name##__descriptor, message);                                          \
    if (m == NULL)                                                                                 \
    return

bool admin_allow_root(struct etcd_call *c)
{
    const struct etcd_fault *f = etcd_check_root(&c->caller);
    if (f != NULL)
        etcd_call_fail(c, f);
    return f == NULL;
}

/* --- alarms --- */

static const struct {
    uint32_t bit;
    Etcdserverpb__AlarmType type;
    const char *name;
} ALARMS[] = {
    {STORE_ALARM_NO_SPACE, ETCDSERVERPB__ALARM_TYPE__NOSPACE, "NOSPACE"},
    {STORE_ALARM_CORRUPT, ETCDSERVERPB__ALARM_TYPE__CORRUPT, "CORRUPT"},
};

static uint32_t alarm_bit(Etcdserverpb__AlarmType type)
{
    for (size_t i = 0; i < ARRAY_SIZE(ALARMS); i++) {
        if (ALARMS[i].type == type)
            return ALARMS[i].bit;
    }
    return 0;
}

/* Those of `bits`. */
static void reply_alarms(struct etcd_call *c, const struct store_alarm *alarms, uint32_t count,
                         uint32_t bits)
{
    struct arena *a = etcd_call_arena(c);
    Etcdserverpb__AlarmResponse response = ETCDSERVERPB__ALARM_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header;
    etcd_header_proto(c->thread, 0, &header);
    response.header = &header;
    response.alarms =
        ARENA_ARRAY(a, Etcdserverpb__AlarmMember *, (size_t)count * ARRAY_SIZE(ALARMS) + 1);
    for (uint32_t i = 0; i < count; i++) {
        for (size_t k = 0; k < ARRAY_SIZE(ALARMS); k++) {
            if ((alarms[i].alarms & bits & ALARMS[k].bit) == 0)
                continue;
            Etcdserverpb__AlarmMember *m = ARENA_NEW(a, Etcdserverpb__AlarmMember);
            etcdserverpb__alarm_member__init(m);
            m->memberid = alarms[i].member;
            m->alarm = ALARMS[k].type;
            response.alarms[response.n_alarms++] = m;
        }
    }
    etcd_call_reply_proto(c, &response.base);
}

static void alarms_read(struct etcd_call *c, int code)
{
    if (code < 0) {
        etcd_call_fail_code(c, code);
        return;
    }
    if (!etcd_call_is_open(c))
        return;
    const Etcdserverpb__AlarmRequest *m = c->user;
    uint32_t count, bits = alarm_bit(m->alarm);
    AUTO_FREE struct store_alarm *alarms = store_alarms(etcd_thread_store(c->thread), &count);
    reply_alarms(c, alarms, count, m->alarm == ETCDSERVERPB__ALARM_TYPE__NONE ? UINT32_MAX : bits);
}

/* The answer names the alarm that was set, or was there to clear. */
static void alarm_changed(int code, int64_t rev, void *arg)
{
    struct etcd_call *c = arg;
    UNUSED(rev);
    if (code < 0) {
        etcd_call_fail_code(c, code);
    } else if (etcd_call_is_open(c)) {
        reply_alarms(c, c->user, 1, UINT32_MAX);
    }
    etcd_call_release(c);
}

static bool has_alarm(struct store *s, uint64_t member, uint32_t bit)
{
    uint32_t count;
    AUTO_FREE struct store_alarm *alarms = store_alarms(s, &count);
    for (uint32_t i = 0; i < count; i++) {
        if (alarms[i].member == member && (alarms[i].alarms & bit) != 0)
            return true;
    }
    return false;
}

static void on_alarm(struct etcd_call *c, struct str message)
{
    UNPACK(AlarmRequest, alarm_request);
    bool get = m->action == ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__GET;
    const struct etcd_fault *f = get ? etcd_check_user(&c->caller) : etcd_check_root(&c->caller);
    if (f != NULL) {
        etcd_call_fail(c, f);
        return;
    }
    if (get) {
        c->user = (void *)(uintptr_t)m;
        etcd_read_barrier(c, alarms_read);
        return;
    }
    struct store *s = etcd_thread_store(c->thread);
    bool set = m->action == ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE;
    uint32_t bit = alarm_bit(m->alarm);
    uint64_t member = m->memberid != 0 || !set ? m->memberid : store_id(s);
    if (bit == 0 || (!set && !has_alarm(s, member, bit))) {
        reply_alarms(c, NULL, 0, 0);
        return;
    }
    struct store_alarm change = {member, bit};
    c->user = arena_memdup(etcd_call_arena(c), &change, sizeof(change));
    etcd_call_hold(c);
    store_alarm_change(s, member, bit, set, etcd_thread_mailbox(c->thread), alarm_changed, c);
}

/* --- status --- */

static size_t status_errors(struct etcd_call *c, const struct store_status *status, char ***ret)
{
    struct arena *a = etcd_call_arena(c);
    uint32_t count;
    size_t n = 0;
    AUTO_FREE struct store_alarm *alarms = store_alarms(etcd_thread_store(c->thread), &count);
    char **list = ARENA_ARRAY(a, char *, (size_t)count *ARRAY_SIZE(ALARMS) + 1);
    if (!status->has_leader)
        list[n++] = arena_strdup(a, etcd_err_no_leader.text);
    for (uint32_t i = 0; i < count; i++) {
        for (size_t k = 0; k < ARRAY_SIZE(ALARMS); k++) {
            if ((alarms[i].alarms & ALARMS[k].bit) == 0)
                continue;
            struct str text =
                arena_printf(a, "memberID:%" PRIu64 " alarm:%s ", alarms[i].member, ALARMS[k].name);
            list[n++] = (char *)(uintptr_t)text.data;
        }
    }
    *ret = list;
    return n;
}

static void on_status(struct etcd_call *c, struct str message)
{
    UNUSED(message);
    const struct etcd_fault *f = etcd_check_user(&c->caller);
    if (f != NULL) {
        etcd_call_fail(c, f);
        return;
    }
    struct store_status status;
    store_status(etcd_thread_store(c->thread), &status);
    Etcdserverpb__StatusResponse response = ETCDSERVERPB__STATUS_RESPONSE__INIT;
    Etcdserverpb__ResponseHeader header;
    Etcdserverpb__DowngradeInfo downgrade = ETCDSERVERPB__DOWNGRADE_INFO__INIT;
    etcd_header_proto(c->thread, 0, &header);
    response.header = &header;
    response.version = (char *)(uintptr_t)etcd_thread_config(c->thread)->version;
    response.storageversion = (char *)(uintptr_t)ETCD_CLUSTER_VERSION;
    response.dbsize = (int64_t)status.bytes;
    response.dbsizeinuse = (int64_t)status.bytes_in_use;
    response.dbsizequota = (int64_t)store_quota(etcd_thread_store(c->thread));
    response.leader = status.has_leader ? status.leader_id : 0;
    response.raftindex = status.log_index;
    response.raftappliedindex = status.applied_index;
    response.raftterm = status.term;
    response.islearner = !status.is_voter && !status.removed && status.has_leader;
    response.downgradeinfo = &downgrade;
    response.n_errors = status_errors(c, &status, &response.errors);
    etcd_call_reply_proto(c, &response.base);
}

/* --- defragment: nothing is fragmented here; memory that is free goes back --- */

struct trim {
    uv_thread_t thread;
    struct mail mail;
    struct etcd_call *call; /* Held. */
};

static atomic_bool trimming;

static void trimmed(struct mail *m)
{
    struct trim *t = CONTAINER_OF(m, struct trim, mail);
    uv_thread_join(&t->thread); /* Posting was the last it did. */
    /* As etcd: without a header. */
    Etcdserverpb__DefragmentResponse response = ETCDSERVERPB__DEFRAGMENT_RESPONSE__INIT;
    etcd_call_reply_proto(t->call, &response.base);
    etcd_call_release(t->call);
    free(t);
}

static void trim_main(void *arg)
{
    struct trim *t = arg;
    struct mailbox *mb = etcd_thread_mailbox(t->call->thread);
    malloc_trim(0);
    atomic_store(&trimming, false);
    mailbox_post(mb, &t->mail);
}

static void on_defragment(struct etcd_call *c, struct str message)
{
    UNUSED(message);
    if (!admin_allow_root(c))
        return;
    struct trim *t = xzalloc(sizeof(*t));
    t->mail.run = trimmed;
    t->call = c;
    bool busy = atomic_exchange(&trimming, true);
    if (!busy) {
        etcd_call_hold(c);
        if (uv_thread_create(&t->thread, trim_main, t) == 0)
            return;
        atomic_store(&trimming, false);
        etcd_call_release(c);
    }
    /* Somebody is at it already. */
    free(t);
    Etcdserverpb__DefragmentResponse response = ETCDSERVERPB__DEFRAGMENT_RESPONSE__INIT;
    etcd_call_reply_proto(c, &response.base);
}

/* --- leadership --- */

static void moved(int code, int64_t rev, void *arg)
{
    struct etcd_call *c = arg;
    UNUSED(rev);
    Etcdserverpb__MoveLeaderResponse response = ETCDSERVERPB__MOVE_LEADER_RESPONSE__INIT;
    if (code == 0)
        etcd_call_reply_proto(c, &response.base);
    else if (code == E_NOT_FOUND || code == E_INVALID)
        etcd_call_fail(c, &etcd_err_bad_leader_transferee);
    else
        etcd_call_fail_text(c, GRPC_UNKNOWN,
                            "etcdserver: request timed out, leader transfer took too long");
    etcd_call_release(c);
}

static bool is_voter(struct store *s, uint64_t id)
{
    uint32_t count;
    AUTO_FREE struct store_member *members = store_members(s, &count);
    for (uint32_t i = 0; i < count; i++) {
        if (members[i].id == id)
            return members[i].is_voter;
    }
    return false;
}

static void on_move_leader(struct etcd_call *c, struct str message)
{
    UNPACK(MoveLeaderRequest, move_leader_request);
    if (!admin_allow_root(c))
        return;
    struct store *s = etcd_thread_store(c->thread);
    struct store_status status;
    store_status(s, &status);
    if (!status.is_leader) {
        etcd_call_fail(c, &etcd_err_not_leader);
        return;
    }
    if (!is_voter(s, m->targetid)) {
        etcd_call_fail(c, &etcd_err_bad_leader_transferee);
        return;
    }
    etcd_call_hold(c);
    store_transfer_leader(s, m->targetid, etcd_thread_mailbox(c->thread), moved, c);
}

/* --- downgrade: there is no older version of the data to go back to --- */

/* "3.5" or "3.5.0" */
static bool is_version(const char *text)
{
    unsigned dots = 0;
    bool digit = false;
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '.' && digit) {
            dots++;
            digit = false;
        } else if (*p >= '0' && *p <= '9') {
            digit = true;
        } else {
            return false;
        }
    }
    return digit && (dots == 1 || dots == 2);
}

static void on_downgrade(struct etcd_call *c, struct str message)
{
    UNPACK(DowngradeRequest, downgrade_request);
    if (!admin_allow_root(c))
        return;
    if (m->action == ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__CANCEL)
        etcd_call_fail(c, &etcd_err_no_inflight_downgrade);
    else if (!is_version(m->version))
        etcd_call_fail(c, &etcd_err_downgrade_version_format);
    else
        etcd_call_fail(c, &etcd_err_downgrade_target_version);
}

static const struct etcd_method methods[] = {
    {.path = "/etcdserverpb.Maintenance/Alarm", .on_call = on_alarm},
    {.path = "/etcdserverpb.Maintenance/Status", .flags = ETCD_LEARNER, .on_call = on_status},
    {.path = "/etcdserverpb.Maintenance/Defragment",
     .flags = ETCD_LEARNER,
     .on_call = on_defragment},
    {.path = "/etcdserverpb.Maintenance/Hash",
     .on_call = admin_on_hash,
     .on_gone = admin_hash_gone},
    {.path = "/etcdserverpb.Maintenance/HashKV",
     .on_call = admin_on_hash_kv,
     .on_gone = admin_hash_gone},
    {.path = "/etcdserverpb.Maintenance/Snapshot",
     .flags = ETCD_LEARNER,
     .on_call = admin_on_snapshot,
     .on_gone = admin_snapshot_gone},
    {.path = "/etcdserverpb.Maintenance/MoveLeader", .on_call = on_move_leader},
    {.path = "/etcdserverpb.Maintenance/Downgrade", .on_call = on_downgrade},
};
const struct etcd_service etcd_maintenance_service = {methods, ARRAY_SIZE(methods)};
