/* test_mvcc.c - single rules of the state machine, and readers on threads. What
 * random commands do stands in test_mvcc_model.c. */
#include "raftstore/store.h"
#include "test/unit/raftstore/mvcc_driver.h"
#include "test/unit/raftstore/random.h"
#include "test/unit/unit.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

/* --- single rules --- */

static struct mvcc *fresh(void)
{
    return mvcc_new(&(struct mvcc_config){0});
}

static const struct kv *current(struct mvcc *m, const char *key)
{
    return tree_get(tree_working(m->s.tree), str_of(key), 0);
}

START_TEST(revisions)
{
    struct mvcc *m = fresh();
    ck_assert_int_eq(mvcc_rev(m), 1);
    drive_delete(m, "a"); /* Nothing to delete: no revision. */
    ck_assert_int_eq(mvcc_rev(m), 1);
    drive_put(m, "a", "1");
    drive_put(m, "a", "2");
    ck_assert_int_eq(mvcc_rev(m), 3);
    ck_assert_int_eq(kv_create_rev(current(m, "a")), 2);
    ck_assert_int_eq(kv_version(current(m, "a")), 2);
    drive_delete(m, "a");
    drive_put(m, "a", "3");
    ck_assert_int_eq(kv_create_rev(current(m, "a")), 5);
    ck_assert_int_eq(kv_version(current(m, "a")), 1);
    mvcc_free(m);
}
END_TEST

/* Replaying the log after a restart changes nothing twice. */
START_TEST(replay)
{
    struct mvcc *m = fresh();
    AUTO_BUF b = BUF_INIT;
    struct txn_op op = {.type = OP_PUT, .key = STR("a"), .value = STR("b")};
    struct mvcc_result r;
    command_encode_txn(&(struct txn){.success = &op, .success_count = 1}, &b);
    /* Several commands of one entry share its index. */
    ck_assert_int_eq(mvcc_apply(m, 7, buf_str(&b), 0, NULL, NULL), 0);
    ck_assert_int_eq(mvcc_apply(m, 7, buf_str(&b), 0, NULL, NULL), 0);
    mvcc_applied(m, 7);
    ck_assert_int_eq(mvcc_apply(m, 7, buf_str(&b), 0, &r, NULL), 0);
    ck_assert_int_eq(r.code, E_EXISTS);
    ck_assert_int_eq(mvcc_rev(m), 3);
    ck_assert_int_eq(mvcc_apply(m, 8, STR("\x01\x01\xff"), 0, NULL, NULL), E_INVALID);
    ck_assert_int_eq(mvcc_apply(m, 8, STR("\x07"), 0, NULL, NULL), E_INVALID);
    ck_assert_int_eq(mvcc_apply(m, 8, STR("\x07\x01"), 0, NULL, NULL), E_NOT_IMPLEMENTED);
    ck_assert_int_eq(mvcc_rev(m), 3);
    mvcc_free(m);
}
END_TEST

/* Put and delete of one key in one transaction, which etcd lets two nested
 * transactions do: both are events, the later one counts. */
START_TEST(put_then_delete)
{
    struct mvcc *m = fresh();
    struct txn_op put = {.type = OP_PUT, .key = STR("a"), .value = STR("1")};
    struct txn_op del = {.type = OP_DELETE, .key = STR("a")};
    struct txn one = {.success = &put, .success_count = 1};
    struct txn two = {.success = &del, .success_count = 1};
    struct txn_op ops[] = {{.type = OP_TXN, .txn = &one}, {.type = OP_TXN, .txn = &two}};
    struct command c = {.type = COMMAND_TXN, .txn = {.success = ops, .success_count = 2}};
    ck_assert_int_eq(drive_code(m, &c, 0), 0);
    ck_assert_int_eq(mvcc_rev(m), 2);
    ck_assert_ptr_null(current(m, "a"));
    struct mvcc_view *v = mvcc_view(m);
    struct event_batch **batches;
    size_t n;
    ck_assert_int_eq(mvcc_history(v, 1, 100, &batches, &n), 0);
    ck_assert_uint_eq(n, 1);
    ck_assert_uint_eq(batches[0]->count, 2);
    ck_assert_int_eq(event_type(&batches[0]->events[0]), EVENT_PUT);
    ck_assert_int_eq(event_type(&batches[0]->events[1]), EVENT_DELETE);
    history_free(batches, n);
    mvcc_view_unref(v);
    drive_check(m);
    mvcc_free(m);
}
END_TEST

/* Compaction gives memory back, also while an old view is held, and views keep
 * what they saw. */
START_TEST(compaction_frees)
{
    struct mvcc *m = fresh();
    char value[1000];
    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    drive_put(m, "a", "first");
    struct mvcc_view *old = mvcc_view(m);
    for (int i = 0; i < 1000; i++)
        drive_put(m, "a", value);
    struct mvcc_stats stats;
    mvcc_stats(m, &stats);
    ck_assert_uint_gt(stats.tree_bytes, 1000000);
    ck_assert_int_eq(drive_compact(m, mvcc_rev(m)), 0);
    drive_work(m);
    mvcc_stats(m, &stats);
    ck_assert_uint_lt(stats.tree_bytes, 5000);
    ck_assert_uint_lt(stats.dead_bytes, 5000);
    ck_assert_uint_eq(stats.versions, 1);
    ck_assert_str_eq(kv_value(mvcc_view_get(old, STR("a"), 0)).data, "first");
    mvcc_view_unref(old);
    drive_work(m);
    mvcc_stats(m, &stats);
    ck_assert_uint_eq(stats.dead_bytes, 0);
    drive_check(m);
    mvcc_free(m);
}
END_TEST

/* What compaction leaves scattered is moved together, but not while events of what was
 * compacted hold on to theirs; reading finds the same. */
START_TEST(compaction_leaves_no_holes)
{
    enum { KEYS = 8000 };
    struct random r = random_seeded(test_seed());
    struct mvcc *m = fresh();
    char key[32], value[601];
    memset(value, 'v', 600);
    value[600] = '\0';
    for (int i = 0; i < 2 * KEYS; i++) {
        int k = i < KEYS ? i : (int)random_below(&r, KEYS);
        snprintf(key, sizeof(key), "key-%05d", k);
        ck_assert_int_eq(drive_put(m, key, value), 0);
    }
    /* The newest events stay: those of one key that has nothing old. */
    for (int i = 0; i < 600; i++)
        drive_put(m, "key-last", value);
    mvcc_publish(m, 0);
    uint64_t hash = drive_hash(m, 0);
    ck_assert_int_eq(drive_compact(m, mvcc_rev(m)), 0);
    mvcc_publish(m, 0);
    struct mvcc_stats before, after;
    ck_assert(mvcc_trim_history(m, 0)); /* Too early: they still hold. */
    drive_work(m);
    ck_assert(!mvcc_trim_history(m, EVENT_COMPACT_MS));
    mvcc_stats(m, &before);
    ck_assert_uint_gt(before.lost_bytes, before.tree_bytes / 4);
    drive_work(m);
    mvcc_stats(m, &after);
    ck_assert_uint_le(after.lost_bytes, after.tree_bytes / 4 + (2u << 20));
    ck_assert_uint_lt(after.lost_bytes, before.lost_bytes * 3 / 4);
    ck_assert_uint_eq(after.keys, KEYS + 1);
    ck_assert(drive_hash(m, 0) == hash);
    drive_check(m);
    mvcc_free(m);
}
END_TEST

/* Ranges below the compacted revision fail at once, watches from it work. */
START_TEST(compacted_revisions)
{
    struct mvcc *m = fresh();
    struct mvcc_cursor *c;
    for (int i = 0; i < 10; i++)
        drive_put(m, "a", "x");
    ck_assert_int_eq(drive_compact(m, 6), 0);
    ck_assert_int_eq(drive_compact(m, 6), E_EXPIRED);
    ck_assert_int_eq(drive_compact(m, 12), E_FUTURE_REV);
    ck_assert_int_eq(drive_op(m, (struct txn_op){.type = OP_RANGE, .key = STR("a"), .rev = 5}),
                     E_EXPIRED);
    ck_assert_int_eq(drive_op(m, (struct txn_op){.type = OP_RANGE, .key = STR("a"), .rev = 6}), 0);
    drive_work(m);
    /* The event log still has them; a state without it begins at revision 6. */
    ck_assert_int_eq(mvcc_cursor_new(m, 1, NULL, NULL, &c, NULL), 0);
    mvcc_cursor_free(c);
    event_log_reset(m->log, mvcc_rev(m), NULL, 0, 0);
    ck_assert_int_eq(mvcc_cursor_new(m, 4, NULL, NULL, &c, NULL), E_EXPIRED);
    ck_assert_int_eq(mvcc_cursor_new(m, 5, NULL, NULL, &c, NULL), 0);
    bool lost = false;
    for (int64_t rev = 6; rev <= 11; rev++)
        ck_assert_int_eq(mvcc_cursor_next(c, &lost)->rev, rev);
    ck_assert_ptr_null(mvcc_cursor_next(c, &lost));
    drive_put(m, "b", "x");
    ck_assert_int_eq(mvcc_cursor_next(c, &lost)->rev, 12);
    ck_assert(!lost);
    mvcc_cursor_free(c);
    mvcc_free(m);
}
END_TEST

/* A member over its quota asks for the alarm, which refuses puts and grants but
 * no deletes or compaction, and asks for its end with room again. */
START_TEST(quota)
{
    struct mvcc *m = mvcc_new(&(struct mvcc_config){.quota_bytes = 20000});
    struct command alarm = {.type = COMMAND_ALARM, .member = 5, .alarms = STORE_ALARM_NO_SPACE};
    struct command grant = {.type = COMMAND_LEASE_GRANT, .id = 1, .ttl_s = 1};
    while (!mvcc_wants_no_space(m, 5))
        drive_put(m, "a", "some value");
    ck_assert_int_eq(drive_code(m, &alarm, 0), 0);
    ck_assert_int_eq(drive_put(m, "a", "v"), E_NO_SPACE);
    ck_assert_int_eq(drive_code(m, &grant, 0), E_NO_SPACE);
    ck_assert_int_eq(drive_delete(m, "a"), 0);
    ck_assert(mvcc_wants_no_space(m, 5));
    ck_assert_int_eq(drive_compact(m, mvcc_rev(m)), 0);
    drive_work(m);
    ck_assert(!mvcc_wants_no_space(m, 5));
    ck_assert_uint_eq(mvcc_alarms(m), STORE_ALARM_NO_SPACE);
    alarm.alarms = 0;
    ck_assert_int_eq(drive_code(m, &alarm, 0), 0);
    ck_assert_int_eq(drive_put(m, "a", "v"), 0);
    alarm = (struct command){.type = COMMAND_ALARM, .member = 6, .alarms = STORE_ALARM_CORRUPT};
    ck_assert_int_eq(drive_code(m, &alarm, 0), 0);
    ck_assert_int_eq(drive_put(m, "a", "v"), E_CORRUPT);
    ck_assert_int_eq(drive_compact(m, mvcc_rev(m)), E_CORRUPT);
    ck_assert_uint_eq(mvcc_member_alarms(m, 5), 0);
    ck_assert_uint_eq(mvcc_member_alarms(m, 6), STORE_ALARM_CORRUPT);
    mvcc_free(m);
}
END_TEST

/* Between the quota and nine tenths of it, the alarm stays as it is. */
START_TEST(quota_hysteresis)
{
    struct mvcc *m = mvcc_new(&(struct mvcc_config){.quota_bytes = 100000});
    struct command alarm = {.type = COMMAND_ALARM, .member = 1, .alarms = STORE_ALARM_NO_SPACE};
    struct mvcc_stats stats;
    do {
        drive_put(m, "a", "some value");
        mvcc_stats(m, &stats);
    } while (stats.tree_bytes < 95000);
    ck_assert(!mvcc_wants_no_space(m, 1));
    ck_assert_int_eq(drive_code(m, &alarm, 0), 0);
    ck_assert(mvcc_wants_no_space(m, 1));
    mvcc_free(m);
}
END_TEST

START_TEST(leases)
{
    struct mvcc *m = fresh();
    struct command grant = {.type = COMMAND_LEASE_GRANT, .id = 7, .ttl_s = 5};
    struct command keep = {.type = COMMAND_LEASE_KEEPALIVE, .id = 7};
    struct mvcc_lease due[4];
    ck_assert_int_eq(drive_put_lease(m, "a", 7), E_NOT_FOUND);
    ck_assert_int_eq(drive_code(m, &grant, 1000), 0);
    ck_assert_int_eq(drive_code(m, &grant, 1000), E_EXISTS);
    grant.id = 0;
    ck_assert_int_eq(drive_code(m, &grant, 1000), E_INVALID);
    grant.id = 8;
    ck_assert_int_eq(drive_code(m, &grant, 2000), 0);
    ck_assert_int_eq(drive_put_lease(m, "a", 7), 0);
    ck_assert_int_eq(drive_put_lease(m, "b", 7), 0);
    ck_assert_int_eq(drive_put_lease(m, "b", 8), 0); /* Moves from one to the other. */
    ck_assert_int_eq(drive_put_lease(m, "c", 7), 0);
    ck_assert_uint_eq(mvcc_lease_deadline(m), 6000);
    ck_assert_uint_eq(mvcc_leases_due(m, 5999, due, 4), 0);
    ck_assert_uint_eq(mvcc_leases_due(m, 6000, due, 4), 1);
    ck_assert_int_eq(due[0].id, 7);
    ck_assert_uint_eq(due[0].keys, 2);
    ck_assert_uint_eq(mvcc_leases_due(m, 9000, due, 1), 1);
    ck_assert_uint_eq(mvcc_leases_due(m, 9000, due, 4), 2);

    /* A renewal that stands before the expiry in the log wins. */
    struct command expire = {.type = COMMAND_LEASE_EXPIRE, .id = 7, .renewals = due[0].renewals};
    if (due[0].id != 7)
        expire.renewals = due[1].renewals;
    ck_assert_int_eq(drive_code(m, &keep, 5500), 0);
    ck_assert_int_eq(drive_code(m, &expire, 6000), E_CONFLICT);
    ck_assert_uint_eq(mvcc_lease_deadline(m), 7000);
    expire.renewals++;
    int64_t rev = mvcc_rev(m);
    ck_assert_int_eq(drive_code(m, &expire, 11000), 0);
    ck_assert_int_eq(mvcc_rev(m), rev + 1); /* Both keys in one revision. */
    ck_assert_ptr_null(current(m, "a"));
    ck_assert_ptr_null(current(m, "c"));
    ck_assert_ptr_nonnull(current(m, "b"));
    ck_assert_int_eq(drive_code(m, &expire, 11000), E_NOT_FOUND);
    mvcc_leases_extend(m, 50000);
    ck_assert_uint_eq(mvcc_lease_deadline(m), 55000);
    int64_t *ids;
    ck_assert_uint_eq(mvcc_lease_ids(m, &ids), 1);
    ck_assert_int_eq(ids[0], 8);
    free(ids);
    mvcc_free(m);
}
END_TEST

/* The expiry of a lease that was revoked meanwhile spares one granted under its id
 * since. */
START_TEST(lease_granted_again)
{
    struct mvcc *m = fresh();
    struct command grant = {.type = COMMAND_LEASE_GRANT, .id = 7, .ttl_s = 5};
    struct mvcc_lease due;
    ck_assert_int_eq(drive_code(m, &grant, 0), 0);
    ck_assert_uint_eq(mvcc_leases_due(m, 5000, &due, 1), 1);
    struct command expire = {.type = COMMAND_LEASE_EXPIRE, .id = 7, .renewals = due.renewals};
    ck_assert_int_eq(drive_code(m, &(struct command){.type = COMMAND_LEASE_REVOKE, .id = 7}, 5000),
                     0);
    ck_assert_int_eq(drive_code(m, &grant, 5000), 0);
    ck_assert_int_eq(drive_code(m, &expire, 5000), E_CONFLICT);
    ck_assert(mvcc_lease_get(m, 7, &due));
    mvcc_free(m);
}
END_TEST

/* A key renewed under its lease for ever does not pile up old versions. */
START_TEST(lease_does_not_grow)
{
    struct mvcc *m = fresh();
    drive_code(m, &(struct command){.type = COMMAND_LEASE_GRANT, .id = 1, .ttl_s = 5}, 0);
    for (int i = 0; i < 1000; i++)
        drive_put_lease(m, i % 2 ? "a" : "b", 1);
    ck_assert_uint_le(leases_get(&m->s.leases, 1)->puts.count, 20);
    drive_delete(m, "a");
    drive_delete(m, "b");
    ck_assert_uint_eq(leases_get(&m->s.leases, 1)->puts.count, 0);
    mvcc_free(m);
}
END_TEST

START_TEST(config_record)
{
    struct mvcc *m = fresh();
    drive_code(m, &(struct command){.type = COMMAND_CONFIG, .config = STR("one")}, 0);
    drive_code(m, &(struct command){.type = COMMAND_CONFIG, .config = STR("two")}, 0);
    ck_assert(str_eq(mvcc_config_record(m), STR("two")));
    ck_assert_int_eq(mvcc_rev(m), 1);
    mvcc_free(m);
}
END_TEST

struct watcher {
    struct mvcc *m;
    int calls;
};

static void look_at_view(void *arg)
{
    struct watcher *w = arg;
    struct mvcc_view *v = mvcc_view(w->m);
    ck_assert_int_eq(mvcc_view_rev(v), mvcc_rev(w->m));
    mvcc_view_unref(v);
    w->calls++;
}

/* The view of a revision is there before its events are. */
START_TEST(view_before_events)
{
    struct watcher w = {fresh(), 0};
    struct mvcc_cursor *c;
    ck_assert_int_eq(mvcc_cursor_new(w.m, 1, look_at_view, &w, &c, NULL), 0);
    drive_put(w.m, "a", "1");
    ck_assert_int_eq(w.calls, 1);
    mvcc_cursor_free(c);
    mvcc_free(w.m);
}
END_TEST

/* --- threads: whoever saw an event finds it in the next view --- */

#define LAST_REV 4000

struct reader {
    pthread_t thread;
    struct mvcc *m;
    struct mvcc_cursor *cursor;
    atomic_uint *ready;
};

static void *reader(void *arg)
{
    struct reader *r = arg;
    int64_t rev = 1;
    bool lost = false;
    while (rev < LAST_REV) {
        const struct event_batch *b = mvcc_cursor_next(r->cursor, &lost);
        ck_assert(!lost);
        if (b == NULL) {
            sched_yield();
            continue;
        }
        ck_assert_int_eq(b->rev, ++rev);
        struct mvcc_view *v = mvcc_view(r->m);
        ck_assert_int_ge(mvcc_view_rev(v), rev);
        if (rev % 64 == 0) {
            struct mvcc_hash h;
            ck_assert_int_eq(mvcc_hash_init(&h, v, 0), 0);
            while (mvcc_hash_step(&h, 100))
                continue;
            ck_assert_int_eq((int64_t)h.keys, mvcc_view_count(v, STR("a"), str_n("\0", 1), 0));
        }
        mvcc_view_unref(v);
    }
    return NULL;
}

START_TEST(readers_on_threads)
{
    struct random rnd = random_seeded(test_seed());
    struct mvcc *m = fresh();
    struct reader readers[2] = {0};
    for (size_t i = 0; i < ARRAY_SIZE(readers); i++) {
        readers[i].m = m;
        ck_assert_int_eq(mvcc_cursor_new(m, 1, NULL, NULL, &readers[i].cursor, NULL), 0);
        pthread_create(&readers[i].thread, NULL, reader, &readers[i]);
    }
    while (mvcc_rev(m) < LAST_REV) {
        char key[16];
        snprintf(key, sizeof(key), "k%u", random_below(&rnd, 500));
        if (random_below(&rnd, 4) == 0)
            drive_delete(m, key);
        else
            drive_put(m, key, "value");
        if (random_below(&rnd, 100) == 0)
            drive_compact(m, mvcc_rev(m) - 50);
        mvcc_work(m, 50);
    }
    for (size_t i = 0; i < ARRAY_SIZE(readers); i++) {
        pthread_join(readers[i].thread, NULL);
        mvcc_cursor_free(readers[i].cursor);
    }
    drive_check(m);
    mvcc_free(m);
}
END_TEST

UNIT_MAIN("mvcc", UNIT_TEST(revisions); UNIT_TEST(replay); UNIT_TEST(put_then_delete);
          UNIT_TEST(compaction_frees); UNIT_TEST(compaction_leaves_no_holes);
          UNIT_TEST(compacted_revisions); UNIT_TEST(quota); UNIT_TEST(quota_hysteresis);
          UNIT_TEST(leases); UNIT_TEST(lease_granted_again); UNIT_TEST(lease_does_not_grow);
          UNIT_TEST(config_record); UNIT_TEST(view_before_events); UNIT_TEST(readers_on_threads))
