/* test_etcd_admin.c - Cluster, Maintenance, Lock and Election of the etcd front, through a
 * server and a client. */
#include "test/unit/raftstore/etcd_rig.h"

#include "lib/net/pki.h"
#include "raftstore/etcd/errors.h"

#include "etcd/v3election.pb-c.h"
#include "etcd/v3lock.pb-c.h"

static struct etcd_rig er;

static void begin(void)
{
    memset(&er, 0, sizeof(er));
    er_begin(&er);
}

static void expect(struct er_answer a, enum grpc_status status, const char *text)
{
    ck_assert_msg(a.status == status, "%s: %s", grpc_status_text(a.status), a.text);
    ck_assert_str_eq(a.text, text);
}

static void expect_fault(struct er_answer a, const struct etcd_fault *f)
{
    expect(a, f->status, f->text);
}

/* --- Cluster --- */

static struct er_answer member_add(const char *url, bool learner)
{
    PB(MemberAddRequest) q = ETCDSERVERPB__MEMBER_ADD_REQUEST__INIT;
    char *urls[] = {(char *)(uintptr_t)url};
    q.n_peerurls = url != NULL ? 1 : 0;
    q.peerurls = urls;
    q.islearner = learner;
    return ER_CALL(&er, "Cluster/MemberAdd", &q, member_add_response);
}

static const PB(MemberListResponse) * member_list(bool linearizable)
{
    PB(MemberListRequest) q = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
    q.linearizable = linearizable;
    return ER_MUST(&er, "Cluster/MemberList", &q, member_list_response, MemberListResponse);
}

/* Members come and go, with their URLs and what cannot be. */
START_TEST(members)
{
    static const char *const bad[] = {"",          "host:1",       "ftp://h:1",     "http://h",
                                      "http://:1", "http://h:1/p", "http://h:99999"};
    begin();
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        expect_fault(member_add(bad[i], false), &etcd_err_member_bad_urls);
    expect_fault(member_add(NULL, false), &etcd_err_member_bad_urls);
    struct er_answer a = member_add("http://127.0.0.1:1", true);
    ck_assert_int_eq(a.status, GRPC_OK);
    const PB(MemberAddResponse) *added = (const PB(MemberAddResponse) *)(const void *)a.message;
    uint64_t id = added->member->id;
    ck_assert(id != 0 && added->member->islearner && added->n_members == 2);
    expect_fault(member_add("http://127.0.0.1:1", false), &etcd_err_peer_url_exists);
    expect_fault(member_add("http://127.0.0.1:2", true), &etcd_err_too_many_learners);
    const PB(MemberListResponse) *list = member_list(true);
    ck_assert_uint_eq(list->n_members, 2);
    for (size_t i = 0; i < list->n_members; i++) {
        bool learner = list->members[i]->id == id;
        ck_assert_int_eq(list->members[i]->islearner, learner);
        ck_assert_uint_eq(list->members[i]->n_peerurls, 1);
        if (learner)
            ck_assert_str_eq(list->members[i]->peerurls[0], "http://127.0.0.1:1");
    }
    PB(MemberPromoteRequest) promote = ETCDSERVERPB__MEMBER_PROMOTE_REQUEST__INIT;
    promote.id = id;
    expect_fault(ER_CALL(&er, "Cluster/MemberPromote", &promote, member_promote_response),
                 &etcd_err_learner_not_ready);
    promote.id = list->header->member_id;
    expect_fault(ER_CALL(&er, "Cluster/MemberPromote", &promote, member_promote_response),
                 &etcd_err_member_not_learner);
    PB(MemberUpdateRequest) update = ETCDSERVERPB__MEMBER_UPDATE_REQUEST__INIT;
    char *urls[] = {"https://127.0.0.1:3"};
    update.id = id;
    update.n_peerurls = 1;
    update.peerurls = urls;
    ck_assert_int_eq(ER_CALL(&er, "Cluster/MemberUpdate", &update, member_update_response).status,
                     GRPC_OK);
    update.id = 12345;
    urls[0] = "https://127.0.0.1:4";
    expect_fault(ER_CALL(&er, "Cluster/MemberUpdate", &update, member_update_response),
                 &etcd_err_member_not_found);
    PB(MemberRemoveRequest) remove = ETCDSERVERPB__MEMBER_REMOVE_REQUEST__INIT;
    remove.id = id;
    const PB(MemberRemoveResponse) *left =
        ER_MUST(&er, "Cluster/MemberRemove", &remove, member_remove_response, MemberRemoveResponse);
    ck_assert_uint_eq(left->n_members, 1);
    expect_fault(ER_CALL(&er, "Cluster/MemberRemove", &remove, member_remove_response),
                 &etcd_err_member_not_found);
    remove.id = left->members[0]->id;
    expect_fault(ER_CALL(&er, "Cluster/MemberRemove", &remove, member_remove_response),
                 &etcd_err_member_not_enough_started);
    er_end(&er);
}
END_TEST

/* --- Maintenance --- */

/* Status tells what it should; hashes agree with themselves; leadership stays without others. */
START_TEST(maintenance)
{
    begin();
    int64_t first = er_put(&er, "a", "1"), rev = er_put(&er, "b", "2");
    PB(StatusRequest) q = ETCDSERVERPB__STATUS_REQUEST__INIT;
    const PB(StatusResponse) *s =
        ER_MUST(&er, "Maintenance/Status", &q, status_response, StatusResponse);
    ck_assert_str_eq(s->version, ETCD_VERSION);
    ck_assert(s->leader == s->header->member_id && s->n_errors == 0 && !s->islearner);
    ck_assert(s->raftindex >= s->raftappliedindex && s->raftterm == s->header->raft_term);
    PB(HashKVRequest) hash = ETCDSERVERPB__HASH_KVREQUEST__INIT;
    const PB(HashKVResponse) *now =
        ER_MUST(&er, "Maintenance/HashKV", &hash, hash_kvresponse, HashKVResponse);
    ck_assert(now->compact_revision == -1 && now->hash_revision == rev);
    hash.revision = first;
    const PB(HashKVResponse) *before =
        ER_MUST(&er, "Maintenance/HashKV", &hash, hash_kvresponse, HashKVResponse);
    ck_assert(before->hash != now->hash && before->hash_revision == first);
    er_put(&er, "c", "3");
    hash.revision = rev;
    ck_assert_uint_eq(
        ER_MUST(&er, "Maintenance/HashKV", &hash, hash_kvresponse, HashKVResponse)->hash,
        now->hash);
    hash.revision = rev + 100;
    expect_fault(ER_CALL(&er, "Maintenance/HashKV", &hash, hash_kvresponse), &etcd_err_future_rev);
    PB(DefragmentRequest) defragment = ETCDSERVERPB__DEFRAGMENT_REQUEST__INIT;
    ER_MUST(&er, "Maintenance/Defragment", &defragment, defragment_response, DefragmentResponse);
    PB(MoveLeaderRequest) move = ETCDSERVERPB__MOVE_LEADER_REQUEST__INIT;
    move.targetid = 5;
    expect_fault(ER_CALL(&er, "Maintenance/MoveLeader", &move, move_leader_response),
                 &etcd_err_bad_leader_transferee);
    move.targetid = s->leader;
    ER_MUST(&er, "Maintenance/MoveLeader", &move, move_leader_response, MoveLeaderResponse);
    PB(DowngradeRequest) downgrade = ETCDSERVERPB__DOWNGRADE_REQUEST__INIT;
    expect_fault(ER_CALL(&er, "Maintenance/Downgrade", &downgrade, downgrade_response),
                 &etcd_err_downgrade_version_format);
    downgrade.version = "3.5.0";
    expect_fault(ER_CALL(&er, "Maintenance/Downgrade", &downgrade, downgrade_response),
                 &etcd_err_downgrade_target_version);
    downgrade.action = ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__CANCEL;
    expect_fault(ER_CALL(&er, "Maintenance/Downgrade", &downgrade, downgrade_response),
                 &etcd_err_no_inflight_downgrade);
    er_end(&er);
}
END_TEST

/* The stream is a file with its SHA-256 behind it, and counts down to nothing. */
START_TEST(snapshot)
{
    begin();
    char value[4096], key[16];
    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    for (int i = 0; i < 200; i++) {
        snprintf(key, sizeof(key), "key-%d", i);
        er_put(&er, key, value);
    }
    struct er_answer *a = er_start(&er, "/etcdserverpb.Maintenance/Snapshot", STR(""), false);
    AUTO_BUF file = BUF_INIT;
    uint64_t left = UINT64_MAX;
    const PB(SnapshotResponse) * part;
    while ((part = (const PB(SnapshotResponse) *)(const void *)er_next_within(
                &er, a, &etcdserverpb__snapshot_response__descriptor, 10000)) != NULL) {
        ck_assert_uint_le(part->remaining_bytes, left);
        left = part->remaining_bytes;
        buf_append(&file, part->blob.data, part->blob.len);
    }
    ck_assert(a->done && a->status == GRPC_OK && left == 0);
    ck_assert(file.len > 200 * 4096 && file.len % 512 == 32);
    uint8_t sum[32];
    net_sha256(file.data, file.len - 32, sum);
    ck_assert_mem_eq(sum, file.data + file.len - 32, 32);
    er_close(&er, a);
    /* One that nobody reads to its end goes with its client. */
    a = er_start(&er, "/etcdserverpb.Maintenance/Snapshot", STR(""), false);
    rig_sleep(&er.rig, 20);
    er_close(&er, a);
    er_end(&er);
}
END_TEST

/* --- Lock --- */

static void lease_begin(int64_t id)
{
    PB(LeaseGrantRequest) q = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    q.id = id;
    q.ttl = 100;
    ER_MUST(&er, "Lease/LeaseGrant", &q, lease_grant_response, LeaseGrantResponse);
}

static void lease_end(int64_t id)
{
    PB(LeaseRevokeRequest) q = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    q.id = id;
    ER_MUST(&er, "Lease/LeaseRevoke", &q, lease_revoke_response, LeaseRevokeResponse);
}

static struct er_answer *lock_start(const char *name, int64_t lease)
{
    V3lockpb__LockRequest q = V3LOCKPB__LOCK_REQUEST__INIT;
    q.name = BYTES(name);
    q.lease = lease;
    struct net_bytes *b = proto_pack(&q.base);
    struct er_answer *a = er_start(&er, "/v3lockpb.Lock/Lock", net_bytes_str(b), false);
    net_bytes_unref(b);
    return a;
}

static void wait_locked(struct er_answer *a, const char *key)
{
    const V3lockpb__LockResponse *r =
        (const void *)er_next_within(&er, a, &v3lockpb__lock_response__descriptor, 10000);
    ck_assert_msg(r != NULL, "%s: %s", key, a->text);
    ck_assert_uint_eq(r->key.len, strlen(key));
    ck_assert_mem_eq(r->key.data, key, r->key.len);
    ck_assert(rig_wait(&er.rig, &a->done, 10000));
    er_free(a);
}

static void unlock(const char *key)
{
    V3lockpb__UnlockRequest q = V3LOCKPB__UNLOCK_REQUEST__INIT;
    q.key = BYTES(key);
    er_must(&er, "/v3lockpb.Lock/Unlock", &q.base, &v3lockpb__unlock_response__descriptor);
}

static int64_t count(const char *key, const char *end)
{
    PB(RangeRequest) q = ETCDSERVERPB__RANGE_REQUEST__INIT;
    q.key = BYTES(key);
    q.range_end = BYTES(end);
    q.count_only = true;
    return ER_MUST(&er, "KV/Range", &q, range_response, RangeResponse)->count;
}

/* Until so many keys stand in the line of lock "l". */
static void wait_line(int64_t want)
{
    for (int i = 0; i < 1000 && count("l/", "l0") != want; i++)
        rig_sleep(&er.rig, 5);
    ck_assert_int_eq(count("l/", "l0"), want);
}

/* First come, first served; who goes away or loses its lease waits no more, and is not waited
 * for. */
START_TEST(locks)
{
    begin();
    struct er_answer *a[6];
    for (int i = 1; i <= 5; i++) {
        lease_begin(i);
        a[i] = lock_start("l", i);
        wait_line(i);
    }
    wait_locked(a[1], "l/1");
    lease_begin(0xabc); /* Another lock is another line. */
    wait_locked(lock_start("other", 0xabc), "other/abc");
    wait_locked(lock_start("l", 1), "l/1"); /* Who has it has it. */
    er_close(&er, a[3]);
    wait_line(4);
    lease_end(4);
    ck_assert(rig_wait(&er.rig, &a[4]->done, 10000));
    expect(*a[4], GRPC_UNKNOWN, "mutex: session is expired");
    er_free(a[4]);
    ck_assert(!a[2]->done && !a[5]->done);
    unlock("l/1");
    wait_locked(a[2], "l/2");
    rig_sleep(&er.rig, 20);
    ck_assert(!a[5]->done);
    lease_end(2);
    wait_locked(a[5], "l/5");
    struct er_answer *none = lock_start("l", 77);
    ck_assert(rig_wait(&er.rig, &none->done, 10000));
    expect(*none, GRPC_UNKNOWN, "etcdserver: requested lease not found");
    er_free(none);
    struct er_answer *own = lock_start("mine", 0); /* With a lease of its own. */
    ck_assert(rig_wait(&er.rig, &own->done, 10000) && own->status == GRPC_OK);
    er_free(own);
    er_end(&er);
}
END_TEST

/* The server's end ends those that wait. */
START_TEST(stop_while_waiting)
{
    begin();
    lease_begin(1);
    lease_begin(2);
    wait_locked(lock_start("l", 1), "l/1");
    struct er_answer *a = lock_start("l", 2);
    wait_line(2);
    etcd_server_stop(er.server);
    er.server = NULL;
    ck_assert(rig_wait(&er.rig, &a->done, 10000) && a->status != GRPC_OK);
    er_free(a);
    er_end(&er);
}
END_TEST

/* --- Election --- */

static struct er_answer *campaign(int64_t lease, const char *value)
{
    V3electionpb__CampaignRequest q = V3ELECTIONPB__CAMPAIGN_REQUEST__INIT;
    q.name = BYTES("e");
    q.lease = lease;
    q.value = BYTES(value);
    struct net_bytes *b = proto_pack(&q.base);
    struct er_answer *a = er_start(&er, "/v3electionpb.Election/Campaign", net_bytes_str(b), false);
    net_bytes_unref(b);
    return a;
}

static V3electionpb__LeaderKey wait_elected(struct er_answer *a)
{
    const V3electionpb__CampaignResponse *r =
        (const void *)er_next_within(&er, a, &v3electionpb__campaign_response__descriptor, 10000);
    ck_assert_msg(r != NULL, "%s", a->text);
    ck_assert(rig_wait(&er.rig, &a->done, 10000));
    er_free(a);
    return *r->leader;
}

static struct er_answer proclaim(V3electionpb__LeaderKey *leader, const char *value)
{
    V3electionpb__ProclaimRequest q = V3ELECTIONPB__PROCLAIM_REQUEST__INIT;
    q.leader = leader;
    q.value = BYTES(value);
    return er_call(&er, "/v3electionpb.Election/Proclaim", &q.base,
                   &v3electionpb__proclaim_response__descriptor);
}

static void resign(V3electionpb__LeaderKey *leader)
{
    V3electionpb__ResignRequest q = V3ELECTIONPB__RESIGN_REQUEST__INIT;
    q.leader = leader;
    er_must(&er, "/v3electionpb.Election/Resign", &q.base,
            &v3electionpb__resign_response__descriptor);
}

static struct er_answer leader(void)
{
    V3electionpb__LeaderRequest q = V3ELECTIONPB__LEADER_REQUEST__INIT;
    q.name = BYTES("e");
    return er_call(&er, "/v3electionpb.Election/Leader", &q.base,
                   &v3electionpb__leader_response__descriptor);
}

static void observed(struct er_answer *o, const char *value)
{
    const V3electionpb__LeaderResponse *r =
        (const void *)er_next_within(&er, o, &v3electionpb__leader_response__descriptor, 10000);
    ck_assert_msg(r != NULL, "%s: %s", value, o->text);
    ck_assert_uint_eq(r->kv->value.len, strlen(value));
    ck_assert_mem_eq(r->kv->value.data, value, strlen(value));
}

/* One leads, the next one after it; observers see every value, and the value that the next
 * leader brought with it. */
START_TEST(elections)
{
    begin();
    lease_begin(1);
    lease_begin(2);
    expect(leader(), GRPC_UNKNOWN, "election: no leader");
    V3electionpb__LeaderRequest q = V3ELECTIONPB__LEADER_REQUEST__INIT;
    q.name = BYTES("e");
    struct net_bytes *b = proto_pack(&q.base);
    struct er_answer *o = er_start(&er, "/v3electionpb.Election/Observe", net_bytes_str(b), false);
    net_bytes_unref(b);
    V3electionpb__LeaderKey one = wait_elected(campaign(1, "a"));
    ck_assert_mem_eq(one.key.data, "e/1", 3);
    observed(o, "a");
    struct er_answer *second = campaign(2, "b");
    ck_assert_int_eq(proclaim(&one, "a2").status, GRPC_OK);
    observed(o, "a2");
    ck_assert_int_eq(leader().status, GRPC_OK);
    while (count("e/", "e0") < 2)
        rig_sleep(&er.rig, 5);
    ck_assert(!second->done);
    resign(&one);
    V3electionpb__LeaderKey two = wait_elected(second);
    observed(o, "b");
    expect(proclaim(&one, "late"), GRPC_UNKNOWN, "election: not leader");
    expect(proclaim(NULL, "x"), GRPC_UNKNOWN, "\"leader\" field must be provided");
    resign(&one);                                                    /* Once more is no harm. */
    V3electionpb__LeaderKey again = wait_elected(campaign(2, "b2")); /* With another value. */
    ck_assert_int_eq(again.rev, two.rev);
    observed(o, "b2");
    struct er_answer *third = campaign(1, "c");
    while (count("e/", "e0") < 2)
        rig_sleep(&er.rig, 5);
    lease_end(1);
    ck_assert(rig_wait(&er.rig, &third->done, 10000));
    expect(*third, GRPC_UNKNOWN, "etcdserver: requested lease not found");
    er_free(third);
    er_close(&er, o);
    er_end(&er);
}
END_TEST

/* Balancers ask how the server is; of other services it knows nothing. */
START_TEST(health)
{
    static const uint8_t named[] = {0x0a, 1, 'x'};
    begin();
    struct er_answer a = er_call_bytes(&er, "/grpc.health.v1.Health/Check", STR(""));
    ck_assert(a.status == GRPC_OK && a.bytes.len == 2);
    ck_assert_mem_eq(a.bytes.data, "\x08\x01", 2);
    a = er_call_bytes(&er, "/grpc.health.v1.Health/Check", str_n((const char *)named, 3));
    expect(a, GRPC_NOT_FOUND, "unknown service");
    a = er_call_bytes(&er, "/grpc.health.v1.Health/Check", str_n((const char *)named, 2));
    ck_assert_int_eq(a.status, GRPC_INTERNAL);
    struct er_answer *w =
        er_start(&er, "/grpc.health.v1.Health/Watch", str_n((const char *)named, 3), false);
    for (int i = 0; i < 1000 && !er_take(w); i++)
        rig_sleep(&er.rig, 5);
    ck_assert_mem_eq(w->bytes.data, "\x08\x03", 2);
    ck_assert(!w->done);
    er_close(&er, w);
    er_end(&er);
}
END_TEST

UNIT_MAIN("etcd administration", {
    UNIT_TEST(health);
    UNIT_TEST(members);
    UNIT_TEST(maintenance);
    UNIT_TEST(snapshot);
    UNIT_TEST(locks);
    UNIT_TEST(stop_while_waiting);
    UNIT_TEST(elections);
})
