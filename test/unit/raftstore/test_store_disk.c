/* test_store_disk.c - the store on a disk that fills up, fails or stalls. */
#include "test/unit/raftstore/store_rig.h"

#include "raftstore/disk.h"
#include "test/unit/unit.h"

#include <errno.h>
#include <stdatomic.h>

/* The system's disk with switches. */
struct bad_disk {
    struct disk base;
    atomic_bool full;    /* No new room, and the system says so. */
    atomic_bool failing; /* Syncs and writes fail. */
    atomic_int stall_ms; /* Syncs take so long. */
};

static struct disk_ops bad_ops;

static struct bad_disk *bad_of(struct disk *d)
{
    return CONTAINER_OF(d, struct bad_disk, base);
}

static int bad_fallocate(struct disk *d, int fd, uint64_t offset, uint64_t n)
{
    if (atomic_load(&bad_of(d)->full))
        return -ENOSPC;
    return disk_system()->ops->fallocate(d, fd, offset, n);
}

static int64_t bad_free_bytes(struct disk *d, const char *path)
{
    return atomic_load(&bad_of(d)->full) ? 4096 : disk_system()->ops->free_bytes(d, path);
}

static int bad_fdatasync(struct disk *d, int fd)
{
    int stall = atomic_load(&bad_of(d)->stall_ms);
    if (stall > 0)
        usleep((useconds_t)stall * 1000);
    if (atomic_load(&bad_of(d)->failing))
        return -EIO;
    return disk_system()->ops->fdatasync(d, fd);
}

static ssize_t bad_pwrite(struct disk *d, int fd, const void *p, size_t n, uint64_t offset)
{
    if (atomic_load(&bad_of(d)->failing))
        return -EIO;
    return disk_system()->ops->pwrite(d, fd, p, n, offset);
}

static void bad_disk_init(struct bad_disk *d)
{
    bad_ops = *disk_system()->ops;
    bad_ops.fallocate = bad_fallocate;
    bad_ops.free_bytes = bad_free_bytes;
    bad_ops.fdatasync = bad_fdatasync;
    bad_ops.pwrite = bad_pwrite;
    memset(d, 0, sizeof(*d));
    d->base.ops = &bad_ops;
}

static bool wait_alarm(struct rig *r, uint32_t i, uint32_t alarms, uint64_t ms)
{
    struct store_status st;
    for (uint64_t t = 0; t < ms; t += 10) {
        store_status(r->stores[i], &st);
        if (st.alarms == alarms)
            return true;
        rig_sleep(r, 10);
    }
    return false;
}

/* A disk running full raises the alarm while there is room for it in the log;
 * writes are refused with the reason, deletes pass; room again clears it. */
START_TEST(full_disk)
{
    struct rig r;
    struct bad_disk disk;
    rig_init(&r, 0);
    bad_disk_init(&disk);
    r.hooks.disk = &disk.base;
    rig_start(&r, 0);
    rig_must_put(&r, 0, "/a", "1");
    rig_must_put(&r, 0, "/b", "1");
    atomic_store(&disk.full, true);
    rig_sleep(&r, 1100); /* Space is looked at once a second, behind writes. */
    rig_put(&r, 0, "/c", "1");
    ck_assert(wait_alarm(&r, 0, STORE_ALARM_NO_SPACE, 5000));
    ck_assert_int_eq(rig_put(&r, 0, "/a", "3").code, E_NO_SPACE);
    struct txn_op op = {.type = OP_DELETE, .key = STR("/b")};
    struct txn t = {.success = &op, .success_count = 1};
    struct answer a = {0};
    store_txn(r.stores[0], &t, &r.mb, rig_on_txn, &a);
    ck_assert(rig_wait(&r, &a.done, 5000));
    ck_assert_int_eq(a.code, 0);
    AUTO_FREE char *v = rig_get(&r, 0, "/a");
    ck_assert_str_eq(v, "1");
    atomic_store(&disk.full, false);
    ck_assert(wait_alarm(&r, 0, 0, 5000));
    rig_must_put(&r, 0, "/a", "4");
    rig_done(&r);
}
END_TEST

/* Not even a new log segment fits: writes wait, and go on when there is room. */
START_TEST(no_room_for_the_log)
{
    struct rig r;
    struct bad_disk disk;
    rig_init(&r, 0);
    bad_disk_init(&disk);
    r.hooks.disk = &disk.base;
    r.hooks.log_segment_bytes = 16 << 10;
    r.hooks.proposal_timeout_ms = 30000;
    rig_start(&r, 0);
    rig_must_put(&r, 0, "/a", "1");
    atomic_store(&disk.full, true);
    char value[4001];
    memset(value, 'v', 4000);
    value[4000] = '\0';
    struct answer a[10];
    for (size_t i = 0; i < ARRAY_SIZE(a); i++)
        rig_put_start(&r, 0, "/big", value, &a[i]);
    rig_sleep(&r, 300);
    ck_assert(!a[9].done);
    atomic_store(&disk.full, false);
    for (size_t i = 0; i < ARRAY_SIZE(a); i++) {
        ck_assert(rig_wait(&r, &a[i].done, 20000));
        ck_assert(a[i].code == 0 || a[i].code == E_NO_SPACE); /* The alarm may come first. */
    }
    rig_must_put(&r, 0, "/a", "2");
    rig_done(&r);
}
END_TEST

static void three_with_one_bad(struct rig *r, struct bad_disk *disk)
{
    rig_init(r, 3);
    bad_disk_init(disk);
    for (uint32_t i = 0; i < 3; i++) {
        r->hooks.disk = i == 0 ? &disk->base : NULL;
        rig_start(r, i);
    }
    ck_assert_int_ge(rig_leader(r), 0);
    rig_must_put(r, 0, "/a", "1");
    ck_assert(rig_caught_up(r, 5000));
    for (int tries = 0; rig_leader(r) != 0; tries++) {
        ck_assert_int_lt(tries, 100);
        struct answer a = {0};
        store_transfer_leader(r->stores[1], 1, &r->mb, rig_on_done, &a);
        ck_assert(rig_wait(r, &a.done, 20000));
        rig_sleep(r, 50);
    }
}

static bool led_by_another(struct rig *r, uint64_t ms)
{
    struct store_status st;
    for (uint64_t t = 0; t < ms; t += 10) {
        for (uint32_t i = 1; i < 3; i++) {
            store_status(r->stores[i], &st);
            if (st.is_leader)
                return true;
        }
        rig_sleep(r, 10);
    }
    return false;
}

/* A leader whose disk takes seconds hands over, and is a follower like others
 * once it works again. */
START_TEST(stalled_leader_hands_over)
{
    struct rig r;
    struct bad_disk disk;
    three_with_one_bad(&r, &disk);
    atomic_store(&disk.stall_ms, 1500);
    struct answer first = {0};
    rig_put_start(&r, 0, "/a", "2", &first);
    ck_assert(led_by_another(&r, 10000));
    rig_must_put(&r, 1, "/b", "1");
    atomic_store(&disk.stall_ms, 0);
    ck_assert(rig_wait(&r, &first.done, 20000));
    AUTO_FREE char *v = rig_get(&r, 0, "/b");
    ck_assert_str_eq(v, "1");
    rig_done(&r);
}
END_TEST

/* A leader whose disk fails for good hands over and stops; the others go on. */
START_TEST(failed_leader_stops)
{
    struct rig r;
    struct bad_disk disk;
    three_with_one_bad(&r, &disk);
    atomic_store(&disk.failing, true);
    struct answer first = {0};
    rig_put_start(&r, 0, "/a", "2", &first);
    ck_assert(led_by_another(&r, 10000));
    rig_must_put(&r, 1, "/b", "1");
    ck_assert(rig_wait(&r, &first.done, 30000));
    struct store_status st = {0};
    for (int tries = 0; tries < 2000 && !st.failed; tries++) {
        rig_sleep(&r, 10);
        store_status(r.stores[0], &st);
    }
    ck_assert(st.failed);
    ck_assert_int_eq(rig_put(&r, 0, "/a", "3").code, E_UNAVAILABLE);
    rig_must_put(&r, 2, "/b", "2");
    rig_done(&r);
}
END_TEST

/* A member that cannot even write down the newest term, for want of room, still gets
 * its alarm out: writes are refused by all, and go on when there is room. */
START_TEST(alarm_of_a_member_that_cannot_write)
{
    struct rig r;
    struct bad_disk disk;
    three_with_one_bad(&r, &disk);
    struct answer a = {0};
    store_transfer_leader(r.stores[0], 2, &r.mb, rig_on_done, &a);
    ck_assert(rig_wait(&r, &a.done, 20000));
    ck_assert(led_by_another(&r, 10000));
    ck_assert(rig_caught_up(&r, 5000));
    atomic_store(&disk.full, true); /* The log's segment is given up, a new one does not fit. */
    atomic_store(&disk.failing, true);
    a = (struct answer){0};
    store_transfer_leader(r.stores[1], 3, &r.mb, rig_on_done, &a);
    ck_assert(rig_wait(&r, &a.done, 20000));
    ck_assert(wait_alarm(&r, 2, STORE_ALARM_NO_SPACE, 10000));
    ck_assert_int_eq(rig_put(&r, 1, "/a", "2").code, E_NO_SPACE);
    AUTO_FREE char *v = rig_get(&r, 1, "/a");
    ck_assert_str_eq(v, "1");
    atomic_store(&disk.failing, false);
    atomic_store(&disk.full, false);
    ck_assert(wait_alarm(&r, 2, 0, 10000));
    rig_must_put(&r, 1, "/a", "3");
    rig_done(&r);
}
END_TEST

/* An error that passes is survived, without losing or repeating anything. */
START_TEST(passing_errors)
{
    struct rig r;
    struct bad_disk disk;
    rig_init(&r, 0);
    bad_disk_init(&disk);
    r.hooks.disk = &disk.base;
    rig_start(&r, 0);
    int64_t rev = rig_must_put(&r, 0, "/a", "0");
    for (int i = 1; i <= 5; i++) {
        struct answer a = {0};
        atomic_store(&disk.failing, true);
        rig_put_start(&r, 0, "/a", "x", &a);
        rig_sleep(&r, 30);
        ck_assert(!a.done);
        atomic_store(&disk.failing, false);
        ck_assert(rig_wait(&r, &a.done, 10000));
        ck_assert_int_eq(a.code, 0);
        ck_assert_int_eq(a.rev, rev + i);
    }
    rig_kill(&r, 0);
    rig_start(&r, 0);
    struct store_view *v;
    AUTO_FREE char *value = rig_get(&r, 0, "/a");
    ck_assert_str_eq(value, "x");
    v = store_view(r.stores[0]);
    ck_assert_int_eq(store_view_rev(v), rev + 5);
    store_view_unref(v);
    rig_done(&r);
}
END_TEST

UNIT_MAIN("store_disk", {
    if (getenv("STORE_LOG") == NULL)
        log_setup("test", (enum log_level)(LOG_ERROR + 1)); /* Errors are what these are about. */
    UNIT_TEST(full_disk);
    UNIT_TEST(no_room_for_the_log);
    UNIT_TEST(stalled_leader_hands_over);
    UNIT_TEST(failed_leader_stops);
    UNIT_TEST(passing_errors);
    UNIT_TEST(alarm_of_a_member_that_cannot_write);
})
