/* test_store.c - the whole store: threads, disk, peers. */
#include "test/unit/raftstore/certs.h"
#include "test/unit/raftstore/store_rig.h"

#include "raftstore/transport.h"

#include "test/unit/unit.h"

/* --- one member ------------------------------------------------------------------------- */

/* A single member opens, elects itself and takes a write at once. */
START_TEST(single_opens_fast)
{
    struct rig r;
    rig_init(&r, 0);
    rig_start(&r, 0);
    struct answer a = rig_put(&r, 0, "/a", "1");
    ck_assert_int_eq(a.code, 0);
    ck_assert(a.succeeded);
    AUTO_FREE char *v = rig_get(&r, 0, "/a");
    ck_assert_str_eq(v, "1");
    struct store_status st;
    store_status(r.stores[0], &st);
    ck_assert(st.is_leader && st.has_leader && st.is_voter);
    ck_assert_uint_eq(st.id, store_id(r.stores[0]));
    ck_assert_uint_ne(st.cluster_id, 0);
    rig_done(&r);
}
END_TEST

/* What was acknowledged is there after a stop and after a crash, with the same id. */
START_TEST(single_restarts)
{
    struct rig r;
    rig_init(&r, 0);
    rig_start(&r, 0);
    uint64_t id = store_id(r.stores[0]);
    int64_t rev = rig_must_put(&r, 0, "/a", "1");
    rig_stop(&r, 0);
    rig_start(&r, 0);
    AUTO_FREE char *v = rig_get(&r, 0, "/a");
    ck_assert_str_eq(v, "1");
    ck_assert_int_eq(rig_must_put(&r, 0, "/a", "2"), rev + 1);
    rig_kill(&r, 0);
    rig_start(&r, 0);
    AUTO_FREE char *w = rig_get(&r, 0, "/a");
    ck_assert_str_eq(w, "2");
    ck_assert_uint_eq(store_id(r.stores[0]), id);
    rig_done(&r);
}
END_TEST

/* Many writes at once share log entries and syncs. */
START_TEST(group_commit)
{
    struct rig r;
    rig_init(&r, 0);
    rig_start(&r, 0);
    rig_must_put(&r, 0, "/a", "1");
    uint64_t before = store_sync_count(r.stores[0]);
    enum { N = 500 };
    struct answer *a = xzalloc(N * sizeof(*a));
    char key[32];
    for (int i = 0; i < N; i++) {
        snprintf(key, sizeof(key), "/k/%d", i);
        rig_put_start(&r, 0, key, "x", &a[i]);
    }
    for (int i = 0; i < N; i++) {
        ck_assert(rig_wait(&r, &a[i].done, 20000));
        ck_assert_int_eq(a[i].code, 0);
    }
    uint64_t syncs = store_sync_count(r.stores[0]) - before;
    ck_assert_uint_lt(syncs, N / 5);
    free(a);
    rig_done(&r);
}
END_TEST

/* A snapshot trims the log; the state comes back from both. */
START_TEST(snapshot_and_log)
{
    struct rig r;
    rig_init(&r, 0);
    r.config.snapshot_log_bytes = 64 << 10;
    r.hooks.log_segment_bytes = 32 << 10;
    r.hooks.trail_bytes = 8 << 10;
    rig_start(&r, 0);
    char key[32], value[1001];
    memset(value, 'v', 1000);
    value[1000] = '\0';
    for (int i = 0; i < 400; i++) {
        snprintf(key, sizeof(key), "/k/%d", i);
        rig_must_put(&r, 0, key, value);
    }
    AUTO_FREE char *first = xasprintf("%s/log-0000000000000001.seg", r.dirs[0]);
    for (int tries = 0; tries < 500 && file_exists(first); tries++)
        rig_sleep(&r, 10);
    ck_assert(!file_exists(first));
    rig_kill(&r, 0);
    rig_start(&r, 0);
    for (int i = 0; i < 400; i += 57) {
        snprintf(key, sizeof(key), "/k/%d", i);
        AUTO_FREE char *v = rig_get(&r, 0, key);
        ck_assert_ptr_nonnull(v);
        ck_assert_str_eq(v, value);
    }
    struct store_status st;
    store_status(r.stores[0], &st);
    ck_assert_uint_eq(st.keys, 400);
    rig_done(&r);
}
END_TEST

struct watcher {
    struct store_cursor *cursor;
    int64_t last;
    uint32_t count;
    bool lost, reached;
    int64_t until;
};

static void on_ready(void *arg)
{
    struct watcher *w = arg;
    const struct event_batch *b;
    while ((b = store_cursor_next(w->cursor, &w->lost)) != NULL) {
        ck_assert_int_eq(b->rev, w->last + 1);
        w->last = b->rev;
        w->count += b->count;
    }
    w->reached = w->last >= w->until;
}

/* A cursor sees every revision once, in order, from the past into the future. */
START_TEST(cursor)
{
    struct rig r;
    rig_init(&r, 0);
    rig_start(&r, 0);
    int64_t first = rig_must_put(&r, 0, "/a", "1");
    for (int i = 0; i < 20; i++)
        rig_must_put(&r, 0, "/a", "2");
    struct watcher w = {.last = first, .until = first + 40};
    ck_assert_int_eq(store_cursor_new(r.stores[0], first, &r.mb, on_ready, &w, &w.cursor, NULL), 0);
    for (int i = 0; i < 20; i++)
        rig_must_put(&r, 0, "/b", "3");
    ck_assert(rig_wait(&r, &w.reached, 5000));
    ck_assert_uint_eq(w.count, 40);
    ck_assert(!w.lost);
    rig_must_put(&r, 0, "/c", "4");
    store_cursor_free(w.cursor); /* Its mail may be under way. */
    rig_sleep(&r, 10);
    rig_done(&r);
}
END_TEST

/* Leases expire through the log and take their keys along. */
START_TEST(lease)
{
    struct rig r;
    rig_init(&r, 0);
    rig_start(&r, 0);
    rig_must_put(&r, 0, "/x", "1");
    struct answer a = {0};
    store_lease_grant(r.stores[0], 0, 1, &r.mb, rig_on_done, &a);
    ck_assert(rig_wait(&r, &a.done, 5000));
    ck_assert_int_eq(a.code, 0);
    ck_assert_int_gt(a.rev, 0);
    struct txn_op op = {.type = OP_PUT, .key = STR("/leased"), .value = STR("1"), .lease = a.rev};
    struct txn t = {.success = &op, .success_count = 1};
    struct answer b = {0};
    store_txn(r.stores[0], &t, &r.mb, rig_on_txn, &b);
    ck_assert(rig_wait(&r, &b.done, 5000));
    ck_assert_int_eq(b.code, 0);
    for (int tries = 0; tries < 1000; tries++) {
        AUTO_FREE char *v = rig_get(&r, 0, "/leased");
        if (v == NULL)
            break;
        rig_sleep(&r, 10);
    }
    AUTO_FREE char *v = rig_get(&r, 0, "/leased");
    ck_assert_ptr_null(v);
    rig_done(&r);
}
END_TEST

/* Old revisions go by themselves once the history is long enough. */
START_TEST(auto_compaction)
{
    struct rig r;
    rig_init(&r, 0);
    r.config.history_ms = 200;
    rig_start(&r, 0);
    int64_t rev = rig_must_put(&r, 0, "/a", "1");
    rig_must_put(&r, 0, "/a", "2");
    struct store_status st = {0};
    for (int tries = 0; tries < 500 && st.compacted_rev < rev; tries++) {
        rig_sleep(&r, 10);
        store_status(r.stores[0], &st);
    }
    ck_assert_int_ge(st.compacted_rev, rev);
    AUTO_FREE char *v = rig_get(&r, 0, "/a");
    ck_assert_str_eq(v, "2");
    rig_done(&r);
}
END_TEST

/* The quota refuses writes, lets deletes pass, and the alarm clears by itself. */
START_TEST(quota)
{
    struct rig r;
    rig_init(&r, 0);
    r.config.quota_bytes = 256 << 10;
    r.config.history_ms = 100;
    rig_start(&r, 0);
    char key[32], value[8001];
    memset(value, 'v', 8000);
    value[8000] = '\0';
    int full = 0;
    for (int i = 0; i < 200 && full == 0; i++) {
        snprintf(key, sizeof(key), "/k/%d", i);
        if (rig_put(&r, 0, key, value).code == E_NO_SPACE)
            full = i;
    }
    ck_assert_int_gt(full, 10);
    struct store_status st;
    store_status(r.stores[0], &st);
    ck_assert_uint_eq(st.alarms & STORE_ALARM_NO_SPACE, STORE_ALARM_NO_SPACE);
    struct txn_op op = {.type = OP_DELETE, .key = STR("/k/"), .range_end = STR("/k0")};
    struct txn t = {.success = &op, .success_count = 1};
    struct answer a = {0};
    store_txn(r.stores[0], &t, &r.mb, rig_on_txn, &a);
    ck_assert(rig_wait(&r, &a.done, 5000));
    ck_assert_int_eq(a.code, 0);
    rig_must_put(&r, 0, "/again", "1"); /* Once compaction has given the memory back. */
    store_status(r.stores[0], &st);
    ck_assert_uint_eq(st.alarms, 0);
    rig_done(&r);
}
END_TEST

/* Short of memory, old versions go early rather than writes being refused. */
START_TEST(history_gives_way)
{
    struct rig r;
    rig_init(&r, 0);
    r.config.quota_bytes = 256 << 10;
    r.config.history_bytes = 16 << 10;
    rig_start(&r, 0);
    char value[4001];
    memset(value, 'v', 4000);
    value[4000] = '\0';
    struct answer a = {0};
    for (int i = 0; i < 400; i++) {
        a = rig_put(&r, 0, "/a", value);
        if (a.code == E_NO_SPACE) /* Writes may outrun it for a moment. */
            rig_sleep(&r, 50);
        else
            ck_assert_int_eq(a.code, 0);
    }
    rig_must_put(&r, 0, "/a", "last");
    struct store_status st;
    store_status(r.stores[0], &st);
    ck_assert_int_gt(st.compacted_rev, 100);
    ck_assert_uint_eq(st.alarms, 0);
    rig_done(&r);
}
END_TEST

/* Too large is said at once; closing answers what is pending. */
START_TEST(refusals)
{
    struct rig r;
    rig_init(&r, 0);
    rig_start(&r, 0);
    rig_must_put(&r, 0, "/a", "1");
    size_t n = 9u << 20;
    AUTO_FREE char *big = xmalloc(n + 1);
    memset(big, 'x', n);
    big[n] = '\0';
    ck_assert_int_eq(rig_put(&r, 0, "/big", big).code, E_TOO_LARGE);
    struct answer a[50];
    for (size_t i = 0; i < ARRAY_SIZE(a); i++)
        rig_put_start(&r, 0, "/a", "2", &a[i]);
    rig_stop(&r, 0);
    for (size_t i = 0; i < ARRAY_SIZE(a); i++) {
        ck_assert(rig_wait(&r, &a[i].done, 5000));
        ck_assert(a[i].code == 0 || a[i].code == E_CLOSED);
    }
    rig_done(&r);
}
END_TEST

/* Two stores cannot share a folder. */
START_TEST(locked)
{
    struct rig r;
    rig_init(&r, 0);
    rig_start(&r, 0);
    struct store *second = NULL;
    struct store_config c = {.data_dir = r.dirs[0]};
    struct error err = {0};
    ck_assert_int_eq(store_open(&c, &second, &err), E_EXISTS);
    rig_done(&r);
}
END_TEST

/* --- three members ----------------------------------------------------------------------- */

static void start_three(struct rig *r)
{
    rig_init(r, 3);
    for (uint32_t i = 0; i < 3; i++)
        rig_start(r, i);
    ck_assert_int_ge(rig_leader(r), 0);
}

/* Every member takes writes, and every member reads them at once. */
START_TEST(write_anywhere)
{
    struct rig r;
    start_three(&r);
    for (uint32_t i = 0; i < 9; i++) {
        char value[8];
        snprintf(value, sizeof(value), "%u", i);
        rig_must_put(&r, i % 3, "/a", value);
        for (uint32_t k = 0; k < 3; k++) {
            AUTO_FREE char *v = rig_get(&r, k, "/a");
            ck_assert_ptr_nonnull(v);
            ck_assert_str_eq(v, value);
        }
    }
    uint32_t count;
    AUTO_FREE struct store_member *list = store_members(r.stores[1], &count);
    ck_assert_uint_eq(count, 3);
    for (uint32_t i = 0; i < count; i++)
        ck_assert(list[i].is_voter);
    rig_done(&r);
}
END_TEST

/* Closing the leader hands leadership over at once, without an election's wait. */
START_TEST(close_hands_over)
{
    struct rig r;
    rig_init(&r, 3);
    r.config.election_ms = 1000;
    for (uint32_t i = 0; i < 3; i++)
        rig_start(&r, i);
    int leader = rig_leader(&r);
    ck_assert_int_ge(leader, 0);
    rig_must_put(&r, 0, "/a", "1");
    ck_assert(rig_caught_up(&r, 5000));
    rig_stop(&r, (uint32_t)leader);
    ck_assert_int_ge(rig_leader(&r), 0); /* Before any election timeout. */
    struct store_status st;
    store_status(r.stores[(leader + 1) % 3], &st);
    ck_assert(st.has_leader);
    rig_must_put(&r, (uint32_t)(leader + 1) % 3, "/a", "2");
    rig_done(&r);
}
END_TEST

/* Any one killed and restarted, then all killed at once: nothing acknowledged is lost. */
START_TEST(kill_and_restart)
{
    struct rig r;
    start_three(&r);
    char key[32];
    for (uint32_t i = 0; i < 6; i++) {
        snprintf(key, sizeof(key), "/k/%u", i);
        rig_must_put(&r, i % 3, key, "before");
        rig_kill(&r, i % 3);
        snprintf(key, sizeof(key), "/l/%u", i);
        rig_must_put(&r, (i + 1) % 3, key, "without one");
        rig_start(&r, i % 3);
        AUTO_FREE char *v = rig_get(&r, i % 3, key);
        ck_assert_ptr_nonnull(v);
    }
    for (uint32_t i = 0; i < 3; i++)
        rig_kill(&r, i);
    for (uint32_t i = 0; i < 3; i++)
        rig_start(&r, i);
    for (uint32_t i = 0; i < 6; i++) {
        snprintf(key, sizeof(key), "/k/%u", i);
        AUTO_FREE char *v = rig_get(&r, i % 3, key);
        ck_assert_ptr_nonnull(v);
        snprintf(key, sizeof(key), "/l/%u", i);
        AUTO_FREE char *w = rig_get(&r, (i + 1) % 3, key);
        ck_assert_ptr_nonnull(w);
    }
    rig_done(&r);
}
END_TEST

/* A member that was away catches up from the log, or from a snapshot when the log
 * is gone. */
static void away(uint64_t snapshot_log_bytes, uint32_t writes)
{
    struct rig r;
    rig_init(&r, 3);
    r.config.snapshot_log_bytes = snapshot_log_bytes;
    r.hooks.log_segment_bytes = 64 << 10;
    r.hooks.trail_bytes = 16 << 10;
    r.hooks.cache_bytes = 64 << 10;
    r.hooks.snapshot_chunk_bytes = 16 << 10;
    for (uint32_t i = 0; i < 3; i++)
        rig_start(&r, i);
    char key[32], value[2001];
    memset(value, 'v', 2000);
    value[2000] = '\0';
    rig_must_put(&r, 0, "/first", "1");
    rig_kill(&r, 2);
    for (uint32_t i = 0; i < writes; i++) {
        snprintf(key, sizeof(key), "/k/%u", i);
        rig_must_put(&r, i % 2, key, value);
    }
    rig_start(&r, 2);
    AUTO_FREE char *v = rig_get(&r, 2, "/k/0");
    ck_assert_ptr_nonnull(v);
    ck_assert_str_eq(v, value);
    struct store_status st, other;
    ck_assert(rig_caught_up(&r, 10000));
    store_status(r.stores[2], &st);
    store_status(r.stores[0], &other);
    ck_assert_uint_eq(st.keys, writes + 1);
    ck_assert_int_eq(st.rev, other.rev);
    /* And what it got is durable there. */
    rig_kill(&r, 2);
    rig_start(&r, 2);
    AUTO_FREE char *w = rig_get(&r, 2, "/k/1");
    ck_assert_ptr_nonnull(w);
    rig_done(&r);
}

START_TEST(catch_up_by_log)
{
    away(64 << 20, 300);
}
END_TEST

START_TEST(catch_up_by_snapshot)
{
    away(128 << 10, 400);
}
END_TEST

/* A leader cut off from the others acknowledges nothing, reads nothing, and joins
 * in again when the partition heals. */
START_TEST(partition)
{
    struct rig r;
    rig_init(&r, 3);
    r.hooks.proposal_timeout_ms = 1000;
    for (uint32_t i = 0; i < 3; i++)
        rig_start(&r, i);
    ck_assert_int_ge(rig_leader(&r), 0);
    rig_must_put(&r, 0, "/a", "1");
    uint32_t old = (uint32_t)rig_leader(&r);
    store_block(r.stores[old], 0, true);
    struct answer *lost = xzalloc(sizeof(*lost));
    rig_put_start(&r, old, "/a", "lost", lost);
    uint32_t other = (old + 1) % 3;
    rig_must_put(&r, other, "/a", "2");
    struct answer read = rig_barrier(&r, old);
    ck_assert_int_lt(read.code, 0);
    ck_assert(rig_wait(&r, &lost->done, 20000));
    ck_assert(lost->code == E_UNKNOWN_OUTCOME || lost->code == E_UNAVAILABLE);
    free(lost);
    store_block(r.stores[old], 0, false);
    AUTO_FREE char *v = rig_get(&r, old, "/a");
    ck_assert_str_eq(v, "2");
    rig_done(&r);
}
END_TEST

/* A majority gone: writes are not acknowledged; back: they are. */
START_TEST(no_majority)
{
    struct rig r;
    rig_init(&r, 3);
    r.hooks.proposal_timeout_ms = 1000;
    for (uint32_t i = 0; i < 3; i++)
        rig_start(&r, i);
    rig_must_put(&r, 0, "/a", "1");
    rig_kill(&r, 1);
    rig_kill(&r, 2);
    ck_assert_int_lt(rig_put(&r, 0, "/a", "2").code, 0);
    rig_start(&r, 1);
    rig_must_put(&r, 0, "/a", "3");
    AUTO_FREE char *v = rig_get(&r, 1, "/a");
    ck_assert_str_eq(v, "3");
    rig_done(&r);
}
END_TEST

/* Who waits for a majority that is gone hears of it soon once the member is to end,
 * and so does who asks after that. */
START_TEST(waits_are_limited)
{
    struct rig r;
    rig_init(&r, 3);
    r.hooks.proposal_timeout_ms = 600000;
    for (uint32_t i = 0; i < 3; i++)
        rig_start(&r, i);
    rig_must_put(&r, 0, "/a", "1");
    rig_kill(&r, 1);
    rig_kill(&r, 2);
    struct answer write = {0}, read = {0}, change = {0}, late = {0};
    struct txn_op op = {.type = OP_PUT, .key = STR("/a"), .value = STR("2")};
    const struct txn put = {.success = &op, .success_count = 1};
    store_txn(r.stores[0], &put, &r.mb, rig_on_txn, &write);
    store_read_barrier(r.stores[0], &r.mb, rig_on_done, &read);
    store_member_remove(r.stores[0], 2, &r.mb, rig_on_done, &change);
    rig_sleep(&r, 100);
    ck_assert(!write.done && !read.done && !change.done);
    store_limit_waits(r.stores[0], 300);
    ck_assert(rig_wait(&r, &write.done, 20000));
    ck_assert(rig_wait(&r, &read.done, 20000));
    ck_assert(rig_wait(&r, &change.done, 20000));
    ck_assert_int_lt(write.code, 0);
    ck_assert_int_lt(read.code, 0);
    ck_assert_int_lt(change.code, 0);
    store_txn(r.stores[0], &put, &r.mb, rig_on_txn, &late);
    ck_assert(rig_wait(&r, &late.done, 20000));
    ck_assert_int_lt(late.code, 0);
    rig_done(&r);
}
END_TEST

/* --- membership --------------------------------------------------------------------------- */

static struct answer add(struct rig *r, uint32_t by, uint32_t i)
{
    struct answer a = {0};
    for (int tries = 0; tries < 50; tries++) {
        a = (struct answer){0};
        store_member_add(r->stores[by], r->names[i], r->addresses[i], &r->mb, rig_on_done, &a);
        ck_assert(rig_wait(r, &a.done, 20000));
        if (a.code == 0)
            return a;
        rig_sleep(r, 50);
    }
    ck_abort_msg("add: %s", error_text(a.code));
}

static bool is_voter(struct rig *r, uint32_t i, uint64_t ms)
{
    struct store_status st;
    for (uint64_t t = 0; t < ms; t += 10) {
        store_status(r->stores[i], &st);
        if (st.is_voter)
            return true;
        rig_sleep(r, 10);
    }
    return false;
}

/* One member grows to three, each joining an empty one; the first can then go. */
START_TEST(grow_and_shrink)
{
    struct rig r;
    rig_init(&r, 1);
    rig_start(&r, 0);
    rig_must_put(&r, 0, "/a", "1");
    r.config.join = true;
    for (uint32_t i = 1; i < 3; i++) {
        rig_start(&r, i);
        ck_assert_uint_eq(store_id(r.stores[i]), 0);
        struct answer a = add(&r, 0, i);
        ck_assert(is_voter(&r, i, 10000));
        ck_assert_int_eq((int64_t)store_id(r.stores[i]), a.rev);
        AUTO_FREE char *v = rig_get(&r, i, "/a");
        ck_assert_str_eq(v, "1");
    }
    /* Names travel once members have met. */
    bool named = false;
    for (int tries = 0; tries < 500 && !named; tries++) {
        uint32_t count;
        AUTO_FREE struct store_member *list = store_members(r.stores[2], &count);
        named = count == 3;
        for (uint32_t i = 0; i < count; i++)
            named &= list[i].name[0] == 'm';
        rig_sleep(&r, 10);
    }
    ck_assert(named);
    /* A joined member restarts as what it is. */
    rig_kill(&r, 2);
    rig_start(&r, 2);
    AUTO_FREE char *v = rig_get(&r, 2, "/a");
    ck_assert_str_eq(v, "1");
    struct answer a = {0};
    store_member_remove(r.stores[1], store_id(r.stores[0]), &r.mb, rig_on_done, &a);
    ck_assert(rig_wait(&r, &a.done, 20000));
    ck_assert_int_eq(a.code, 0);
    rig_stop(&r, 0);
    rig_must_put(&r, 1, "/a", "2");
    AUTO_FREE char *w = rig_get(&r, 2, "/a");
    ck_assert_str_eq(w, "2");
    rig_done(&r);
}
END_TEST

/* The same over TCP with mutual TLS. */
START_TEST(grow_over_tls)
{
    struct rig r;
    AUTO_FREE char *ca = NULL, *cert = NULL, *key = NULL;
    rig_init(&r, 0);
    r.tcp = true;
    struct certs certs = make_ca(r.dir, "ca.crt", &ca);
    make_leaf(r.dir, &certs, TRANSPORT_ORGANIZATION, "peer", &cert, &key);
    r.config.cert_file = cert;
    r.config.key_file = key;
    r.config.ca_file = ca;
    rig_start(&r, 0);
    ck_assert_uint_ne(store_peer_port(r.stores[0]), 0);
    rig_must_put(&r, 0, "/a", "1");
    r.config.join = true;
    for (uint32_t i = 1; i < 3; i++) {
        rig_start(&r, i);
        add(&r, 0, i);
        ck_assert(is_voter(&r, i, 10000));
        AUTO_FREE char *v = rig_get(&r, i, "/a");
        ck_assert_str_eq(v, "1");
    }
    rig_must_put(&r, 2, "/a", "2");
    rig_done(&r);
    certs_done(&certs);
}
END_TEST

/* Leadership goes where it is asked to go. */
START_TEST(transfer)
{
    struct rig r;
    start_three(&r);
    rig_must_put(&r, 0, "/a", "1");
    ck_assert(rig_caught_up(&r, 5000));
    uint32_t leader = (uint32_t)rig_leader(&r), to = (leader + 1) % 3;
    struct answer a = {0};
    store_transfer_leader(r.stores[(leader + 2) % 3], to + 1, &r.mb, rig_on_done, &a);
    ck_assert(rig_wait(&r, &a.done, 20000));
    ck_assert_int_eq(a.code, 0);
    for (int tries = 0; tries < 500 && rig_leader(&r) != (int)to; tries++)
        rig_sleep(&r, 10);
    ck_assert_int_eq(rig_leader(&r), (int)to);
    rig_done(&r);
}
END_TEST

/* A member whose data was wiped is not let in under its old id: it forgot what it
 * promised. */
START_TEST(wiped_member_is_refused)
{
    struct rig r;
    start_three(&r);
    rig_must_put(&r, 0, "/a", "1");
    /* The leader must have met everybody before one forgets. */
    bool met = false;
    for (int tries = 0; tries < 500 && !met; tries++) {
        uint32_t count;
        AUTO_FREE struct store_member *list = store_members(r.stores[0], &count);
        met = count == 3;
        for (uint32_t i = 0; i < count; i++)
            met &= list[i].name[0] == 'm';
        rig_sleep(&r, 10);
    }
    ck_assert(met);
    uint32_t victim = ((uint32_t)rig_leader(&r) + 1) % 3;
    rig_kill(&r, victim);
    file_remove_tree(r.dirs[victim], NULL);
    rig_start(&r, victim);
    rig_must_put(&r, (victim + 1) % 3, "/a", "2");
    rig_sleep(&r, 500);
    struct store_status st;
    store_status(r.stores[victim], &st);
    ck_assert_int_le(st.rev, 1);
    ck_assert(!st.has_leader);
    rig_done(&r);
}
END_TEST

/* --- backup and recovery ------------------------------------------------------------------- */

struct backup {
    bool done;
    int code;
    struct store_backup *b;
};

static void on_backup(int code, struct store_backup *b, void *arg)
{
    *(struct backup *)arg = (struct backup){true, code, b};
}

static void backup_to(struct rig *r, uint32_t i, const char *path)
{
    struct backup b = {0};
    AUTO_BUF bytes = BUF_INIT;
    store_backup(r->stores[i], &r->mb, on_backup, &b);
    ck_assert(rig_wait(r, &b.done, 5000));
    ck_assert_int_eq(b.code, 0);
    for (size_t n = 1; n > 0; buf_commit(&bytes, n))
        n = store_backup_read(b.b, buf_reserve(&bytes, 1000), 1000);
    store_backup_free(b.b);
    ck_assert_int_eq(file_write_atomic(path, bytes.data, bytes.len, 0600, NULL), 0);
}

/* A backup makes a new cluster of one or of three, with the same keys, revisions
 * and all. */
START_TEST(backup_and_restore)
{
    struct rig r;
    char key[32];
    struct error err = {0};
    rig_init(&r, 0);
    rig_start(&r, 0);
    for (int i = 0; i < 300; i++) {
        snprintf(key, sizeof(key), "/k/%d", i % 100);
        rig_must_put(&r, 0, key, key);
    }
    AUTO_FREE char *path = xasprintf("%s/backup", r.dir);
    backup_to(&r, 0, path);
    struct store_status before, after;
    store_status(r.stores[0], &before);
    rig_must_put(&r, 0, "/later", "1");
    rig_stop(&r, 0);
    struct store_config c = r.config;
    c.data_dir = r.dirs[0];
    ck_assert_int_eq(store_restore(&c, path, &err), E_EXISTS);
    r.count = 3;
    c.initial_members = r.members;
    c.initial_member_count = 3;
    for (uint32_t i = 0; i < 3; i++) {
        file_remove_tree(r.dirs[i], NULL);
        c.data_dir = r.dirs[i];
        c.name = r.names[i];
        ck_assert_msg(store_restore(&c, path, &err) == 0, "%s", error_message(&err));
        rig_start(&r, i);
    }
    AUTO_FREE char *v = rig_get(&r, 2, "/k/42");
    ck_assert_str_eq(v, "/k/42");
    AUTO_FREE char *later = rig_get(&r, 1, "/later");
    ck_assert_ptr_null(later);
    store_status(r.stores[2], &after);
    ck_assert_int_eq(after.rev, before.rev);
    ck_assert_uint_ne(after.cluster_id, before.cluster_id);
    ck_assert_int_eq(rig_must_put(&r, 1, "/new", "1"), before.rev + 1);
    rig_done(&r);
}
END_TEST

/* A damaged backup makes nothing. */
START_TEST(bad_backup)
{
    struct rig r;
    struct error err = {0};
    rig_init(&r, 0);
    rig_start(&r, 0);
    rig_must_put(&r, 0, "/a", "1");
    AUTO_FREE char *path = xasprintf("%s/backup", r.dir);
    backup_to(&r, 0, path);
    AUTO_BUF bytes = BUF_INIT;
    ck_assert_int_eq(file_read(path, 1 << 20, &bytes, NULL), 0);
    struct store_config c = r.config;
    c.data_dir = r.dirs[1];
    ck_assert_int_eq(file_write_atomic(path, bytes.data, bytes.len - 1, 0600, NULL), 0);
    ck_assert_int_eq(store_restore(&c, path, &err), E_CORRUPT);
    bytes.data[bytes.len / 2] ^= 1;
    ck_assert_int_eq(file_write_atomic(path, bytes.data, bytes.len, 0600, NULL), 0);
    ck_assert_int_eq(store_restore(&c, path, &err), E_CORRUPT);
    bytes.data[bytes.len / 2] ^= 1;
    ck_assert_int_eq(file_write_atomic(path, bytes.data, bytes.len, 0600, NULL), 0);
    ck_assert_int_eq(store_restore(&c, path, &err), 0);
    rig_done(&r);
}
END_TEST

/* A backup from before the first write cannot begin a cluster: its log index is one
 * that no member which comes later would get. */
START_TEST(backup_of_nothing)
{
    struct rig r;
    struct error err = {0};
    rig_init(&r, 3);
    rig_start(&r, 0); /* The first of three, before there is a leader. */
    AUTO_FREE char *path = xasprintf("%s/backup", r.dir);
    backup_to(&r, 0, path);
    struct store_config c = r.config;
    c.data_dir = r.dirs[3];
    ck_assert_int_eq(store_restore(&c, path, &err), E_INVALID);
    ck_assert_ptr_nonnull(strstr(error_message(&err), "before the store's first write"));
    rig_done(&r);
}
END_TEST

/* The majority is gone for good: one goes on alone, and the cluster grows again. */
START_TEST(force_alone)
{
    struct rig r;
    start_three(&r);
    rig_must_put(&r, 0, "/a", "1");
    ck_assert(rig_caught_up(&r, 5000));
    for (uint32_t i = 0; i < 3; i++)
        rig_kill(&r, i);
    r.config.force_new_cluster = true;
    rig_start(&r, 1);
    AUTO_FREE char *v = rig_get(&r, 1, "/a");
    ck_assert_str_eq(v, "1");
    rig_must_put(&r, 1, "/a", "2");
    uint32_t count;
    AUTO_FREE struct store_member *list = store_members(r.stores[1], &count);
    ck_assert_ptr_nonnull(list);
    ck_assert_uint_eq(count, 1);
    r.config.force_new_cluster = false;
    r.config.join = true;
    rig_start(&r, 4);
    add(&r, 1, 4);
    ck_assert(is_voter(&r, 4, 10000));
    AUTO_FREE char *w = rig_get(&r, 4, "/a");
    ck_assert_str_eq(w, "2");
    rig_done(&r);
}
END_TEST

/* Damaged data refuses to open, and says how to go on. */
START_TEST(damage_is_refused)
{
    struct rig r;
    rig_init(&r, 0);
    rig_start(&r, 0);
    for (int i = 0; i < 20; i++)
        rig_must_put(&r, 0, "/a", "1");
    rig_stop(&r, 0);
    AUTO_FREE char *path = xasprintf("%s/log-0000000000000001.seg", r.dirs[0]);
    FILE *f = fopen(path, "r+");
    ck_assert_ptr_nonnull(f);
    /* Another value, whatever stands there. */
    fseek(f, 700, SEEK_SET);
    int was = fgetc(f);
    ck_assert_int_ne(was, EOF);
    fseek(f, 700, SEEK_SET);
    fputc(was ^ 0x5a, f);
    fclose(f);
    struct error err = {0};
    ck_assert_int_eq(rig_try_start(&r, 0, &err), E_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err.message, "log-0000000000000001.seg"));
    ck_assert_ptr_nonnull(strstr(err.message, "join again"));
    rig_done(&r);
}
END_TEST

/* A store whose log was trimmed behind a snapshot. Stopped. */
static void trimmed(struct rig *r)
{
    char value[1001];
    rig_init(r, 0);
    r->config.snapshot_log_bytes = 64 << 10;
    r->hooks.log_segment_bytes = 32 << 10;
    r->hooks.trail_bytes = 8 << 10;
    rig_start(r, 0);
    memset(value, 'v', 1000);
    value[1000] = '\0';
    AUTO_FREE char *first = xasprintf("%s/log-0000000000000001.seg", r->dirs[0]);
    for (int i = 0; i < 5000 && file_exists(first); i++)
        rig_must_put(r, 0, "/a", value);
    ck_assert(!file_exists(first));
    rig_stop(r, 0);
}

static void in_folder(const char *dir, void (*each)(const char *path))
{
    uv_fs_t req;
    uv_dirent_t e;
    ck_assert_int_ge(uv_fs_scandir(NULL, &req, dir, 0, NULL), 0);
    while (uv_fs_scandir_next(&req, &e) != UV_EOF) {
        AUTO_FREE char *path = xasprintf("%s/%s", dir, e.name);
        if (e.type == UV_DIRENT_FILE)
            each(path);
    }
    uv_fs_req_cleanup(&req);
}

static void damage(const char *path)
{
    FILE *f = fopen(path, "r+");
    ck_assert_ptr_nonnull(f);
    fseek(f, 600, SEEK_SET);
    fputc(0x5a, f);
    fputc(0xa5, f);
    fclose(f);
}

static void delete (const char *path)
{
    ck_assert_int_eq(unlink(path), 0);
}

/* Snapshots that are damaged or gone, or a log that is gone, refuse to open: what
 * is left is not what was acknowledged. */
START_TEST(missing_parts_are_refused)
{
    for (int part = 0; part < 3; part++) {
        struct rig r;
        struct error err = {0};
        trimmed(&r);
        AUTO_FREE char *snapshots = xasprintf("%s/snapshots", r.dirs[0]);
        in_folder(part == 2 ? r.dirs[0] : snapshots, part == 0 ? damage : delete);
        ck_assert_int_eq(rig_try_start(&r, 0, &err), E_CORRUPT);
        rig_done(&r);
    }
}
END_TEST

UNIT_MAIN("store", {
    if (getenv("STORE_LOG") == NULL)
        log_setup("test", LOG_ERROR);
    UNIT_TEST(single_opens_fast);
    UNIT_TEST(single_restarts);
    UNIT_TEST(group_commit);
    UNIT_TEST(snapshot_and_log);
    UNIT_TEST(cursor);
    UNIT_TEST(lease);
    UNIT_TEST(auto_compaction);
    UNIT_TEST(quota);
    UNIT_TEST(history_gives_way);
    UNIT_TEST(refusals);
    UNIT_TEST(locked);
    UNIT_TEST(write_anywhere);
    UNIT_TEST(close_hands_over);
    UNIT_TEST(kill_and_restart);
    UNIT_TEST(catch_up_by_log);
    UNIT_TEST(catch_up_by_snapshot);
    UNIT_TEST(partition);
    UNIT_TEST(no_majority);
    UNIT_TEST(waits_are_limited);
    UNIT_TEST(grow_and_shrink);
    UNIT_TEST(grow_over_tls);
    UNIT_TEST(transfer);
    UNIT_TEST(wiped_member_is_refused);
    UNIT_TEST(backup_and_restore);
    UNIT_TEST(bad_backup);
    UNIT_TEST(backup_of_nothing);
    UNIT_TEST(force_alone);
    UNIT_TEST(damage_is_refused);
    UNIT_TEST(missing_parts_are_refused);
})
