/* test_failpoint.c - the language of failpoints, what each kind does, and that a
 * run of three members passes every one that is declared. */
#include "raftstore/failpoint.h"
#include "test/unit/raftstore/store_rig.h"

#include "lib/base/buf.h"
#include "raftstore/disk.h"
#include "test/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>

static void set(const char *spec)
{
    struct error err = {0};
    ck_assert_msg(failpoint_set(spec, &err) == 0, "%s: %s", spec, error_message(&err));
}

/* Off means off: nothing happens and nothing is counted. */
START_TEST(off)
{
    ck_assert_int_eq(failpoint(FP_LOG_SYNC), 0);
    ck_assert(!failpoint_drops(FP_PEER_SEND));
    set("");
    ck_assert_uint_eq(failpoint_hits(FP_LOG_SYNC), 0);
    ck_assert_int_eq(failpoint(FP_LOG_SYNC), 0);
    ck_assert_uint_eq(failpoint_hits(FP_LOG_SYNC), 1);
    set(NULL);
    ck_assert_int_eq(failpoint(FP_LOG_SYNC), 0);
}
END_TEST

/* What is wrong is refused by name, and leaves what was set. */
START_TEST(refused)
{
    static const struct {
        const char *spec, *says;
    } cases[] = {
        {"log.fsync", "want NAME=ACTION"},
        {"log.fsync=explode", "want NAME=ACTION"},
        {"log.fsync=crash@", "want NAME=ACTION"},
        {"log.fsync=crash@3junk", "want NAME=ACTION"},
        {"log.fsync=eio%101", "want NAME=ACTION"},
        {"log.fsync=delay", "want NAME=ACTION"},
        {"log.fsync=delay(5", "want NAME=ACTION"},
        {"log.nothing=crash", "there is no failpoint log.nothing"},
        {"log.fsync=drop", "failpoint log.fsync cannot drop"},
        {"log.fsync=torn", "failpoint log.fsync cannot torn"},
        {"store.apply=eio", "failpoint store.apply cannot eio"},
        {"peer.*=short", "failpoint peer.* cannot short"},
    };
    set("log.fsync=eio");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct error err = {0};
        ck_assert_msg(failpoint_set(cases[i].spec, &err) == E_INVALID, "%s", cases[i].spec);
        ck_assert_msg(strstr(error_message(&err), cases[i].says) != NULL, "%s: %s", cases[i].spec,
                      error_message(&err));
    }
    ck_assert_int_eq(failpoint(FP_LOG_SYNC), -EIO);
    set(NULL);
}
END_TEST

/* @N once, @N+ from there on, xM at most so often, * for all that can do it. */
START_TEST(when)
{
    set("log.fsync=eio@3, log.write=enospc@2+x2; snapshot.*=eio");
    for (int i = 1; i <= 5; i++) {
        ck_assert_int_eq(failpoint(FP_LOG_SYNC), i == 3 ? -EIO : 0);
        ck_assert_int_eq(failpoint(FP_LOG_WRITE), i == 2 || i == 3 ? -ENOSPC : 0);
    }
    ck_assert_int_eq(failpoint(FP_SNAPSHOT_SYNC), -EIO);
    ck_assert_int_eq(failpoint(FP_SNAPSHOT_INSTALL_LOG), 0); /* A step: it cannot. */
    set("log.fsync=eio%25");
    int failed = 0;
    for (int i = 0; i < 4000; i++)
        failed += failpoint(FP_LOG_SYNC) < 0;
    ck_assert_int_gt(failed, 800);
    ck_assert_int_lt(failed, 1200);
    set(NULL);
}
END_TEST

START_TEST(drops)
{
    set("peer.receive=drop@2");
    ck_assert(!failpoint_drops(FP_PEER_RECEIVE));
    ck_assert(failpoint_drops(FP_PEER_RECEIVE));
    ck_assert(!failpoint_drops(FP_PEER_RECEIVE));
    set(NULL);
}
END_TEST

START_TEST(delays)
{
    set("store.apply=delay(30)");
    uint64_t start = env_now_ms(env_system());
    ck_assert_int_eq(failpoint(FP_STORE_APPLY), 0);
    ck_assert_uint_ge(env_now_ms(env_system()) - start, 29);
    set(NULL);
}
END_TEST

static int scratch(char path[32])
{
    snprintf(path, 32, "/tmp/test_failpoint_XXXXXX");
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    return fd;
}

static int write_eight(int fd)
{
    return failpoint_pwrite_all(FP_LOG_WRITE, disk_system(), fd, "12345678", 8, 0);
}

/* A write in two parts is whole; one that fails does not happen. */
START_TEST(writes)
{
    char path[32], got[9] = {0};
    int fd = scratch(path);
    set("log.write=enospc@1");
    ck_assert_int_eq(write_eight(fd), -ENOSPC);
    ck_assert_int_eq(lseek(fd, 0, SEEK_END), 0);
    set("log.write=short");
    for (int i = 0; i < 50; i++) {
        ck_assert_int_eq(ftruncate(fd, 0), 0);
        ck_assert_int_eq(write_eight(fd), 0);
        ck_assert_int_eq(pread(fd, got, 9, 0), 8);
        ck_assert_str_eq(got, "12345678");
    }
    set(NULL);
    close(fd);
    unlink(path);
}
END_TEST

/* The exit code of a child with spec set; it writes eight bytes, then syncs. */
static int child(const char *spec, int fd)
{
    pid_t pid = fork();
    if (pid == 0) {
        set(spec);
        if (write_eight(fd) < 0 || failpoint(FP_LOG_SYNC) < 0)
            _exit(3);
        exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* A crash ends the process there and then; a torn write leaves its beginning. */
START_TEST(crashes)
{
    char path[32];
    int fd = scratch(path);
    ck_assert_int_eq(child("log.write=crash", fd), FAILPOINT_EXIT);
    ck_assert_int_eq(lseek(fd, 0, SEEK_END), 0);
    ck_assert_int_eq(child("log.fsync=crash", fd), FAILPOINT_EXIT);
    ck_assert_int_eq(lseek(fd, 0, SEEK_END), 8);
    ck_assert_int_eq(child("log.fsync=crash@2", fd), 0);
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(ftruncate(fd, 0), 0);
        ck_assert_int_eq(child("log.write=torn", fd), FAILPOINT_EXIT);
        ck_assert_int_lt(lseek(fd, 0, SEEK_END), 8);
    }
    close(fd);
    unlink(path);
}
END_TEST

static void put_text(const char *path, const char *text)
{
    AUTO_FREE char *tmp = xasprintf("%s.new", path);
    FILE *f = fopen(tmp, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
    ck_assert_int_eq(rename(tmp, path), 0);
}

/* A file is read again when it changes; one that is wrong changes nothing. */
START_TEST(from_a_file)
{
    char path[32];
    close(scratch(path));
    put_text(path, "log.fsync=eio");
    AUTO_FREE char *spec = xasprintf("file:%s", path);
    setenv("TRIREME_FAILPOINTS", spec, 1);
    struct error err = {0};
    ck_assert_int_eq(failpoint_setup(&err), 0);
    ck_assert_int_eq(failpoint(FP_LOG_SYNC), -EIO);
    put_text(path, "log.fsync=");
    struct timespec ts = {.tv_nsec = 30000000};
    nanosleep(&ts, NULL); /* It looks every 20 ms. */
    ck_assert_int_eq(failpoint(FP_LOG_SYNC), -EIO);
    put_text(path, "");
    int rc = -1;
    for (int i = 0; i < 500 && rc != 0; i++) {
        nanosleep(&ts, NULL);
        rc = failpoint(FP_LOG_SYNC);
    }
    ck_assert_int_eq(rc, 0);
    unlink(path);
}
END_TEST

/* Three members: one is killed, misses so much that it needs a snapshot, comes
 * back. Every failpoint there is lies on the way. */
START_TEST(all_are_passed)
{
    struct rig r;
    char key[32], value[2001];
    memset(value, 'v', 2000);
    value[2000] = '\0';
    rig_init(&r, 3);
    r.config.snapshot_log_bytes = 128 << 10;
    r.hooks.log_segment_bytes = 64 << 10;
    r.hooks.trail_bytes = 16 << 10;
    r.hooks.cache_bytes = 16 << 10;
    r.hooks.snapshot_chunk_bytes = 16 << 10;
    set("log.spare.dirsync=eio@2"); /* Without it spares are deleted in idle moments only. */
    for (uint32_t i = 0; i < 3; i++)
        rig_start(&r, i);
    for (uint32_t i = 0; i < 20; i++)
        rig_must_put(&r, 0, "/first", value);
    rig_kill(&r, 2);
    for (uint32_t i = 0; i < 20; i++) /* It will want these from the log. */
        rig_must_put(&r, 0, "/second", value);
    rig_start(&r, 2);
    ck_assert(rig_caught_up(&r, 10000));
    rig_kill(&r, 2);
    for (uint32_t i = 0; i < 300; i++) {
        snprintf(key, sizeof(key), "/k/%u", i);
        rig_must_put(&r, i % 2, key, value);
    }
    rig_start(&r, 2);
    ck_assert(rig_caught_up(&r, 10000));
    uint32_t random = 1;
    for (uint32_t i = 0; i < 700; i++) { /* A state that no compression makes small. */
        for (uint32_t j = 0; j < 2000; j++) {
            random = random * 1664525 + 1013904223;
            value[j] = (char)('!' + (random >> 24) % 90);
        }
        snprintf(key, sizeof(key), "/k/%u", i);
        rig_must_put(&r, i % 3, key, value);
    }
    rig_sleep(&r, 1500); /* Marks are for idle moments. */
    AUTO_BUF missed = BUF_INIT;
    for (int f = 0; f < FAILPOINT_COUNT; f++)
        if (failpoint_hits((enum failpoint)f) == 0)
            buf_printf(&missed, " %s", failpoint_name((enum failpoint)f));
    set(NULL);
    rig_done(&r);
    ck_assert_msg(missed.len == 0, "never passed:" STR_FMT, STR_ARG(buf_str(&missed)));
}
END_TEST

/* One failed sync or write is gone over: the store writes on, and all is there
 * after a start. */
START_TEST(errors_are_survived)
{
    static const char *const specs[] = {
        "log.write=eio@5",
        "log.write=enospc@5x1",
        "log.fsync=eio@5",
        "log.write=short",
        "log.segment.create=eio@2",
        "log.segment.allocate=enospc@2",
        "log.segment.write=eio@2",
        "log.segment.fsync=eio@2",
        "log.segment.rename=eio@2",
        "log.segment.dirsync=eio@2",
        "log.trim=eio",
        "log.mark=eio",
        "snapshot.create=enospc@1",
        "snapshot.write=eio@2",
        "snapshot.footer=enospc@1",
        "snapshot.fsync=eio@1",
        "snapshot.rename=eio@1",
        "snapshot.dirsync=eio@1",
        "snapshot.prune=eio",
        "log.fsync=delay(3)",
    };
    for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
        struct rig r;
        char key[32], value[1001];
        memset(value, 'v', 1000);
        value[1000] = '\0';
        rig_init(&r, 0);
        r.config.snapshot_log_bytes = 32 << 10;
        r.hooks.log_segment_bytes = 16 << 10;
        r.hooks.trail_bytes = 4 << 10;
        rig_start(&r, 0);
        set(specs[i]);
        for (uint32_t n = 0; n < 80; n++) {
            snprintf(key, sizeof(key), "/k/%u", n);
            rig_must_put(&r, 0, key, value);
        }
        set(NULL);
        rig_kill(&r, 0);
        rig_start(&r, 0);
        for (uint32_t n = 0; n < 80; n++) {
            snprintf(key, sizeof(key), "/k/%u", n);
            AUTO_FREE char *got = rig_get(&r, 0, key);
            ck_assert_msg(got != NULL && strcmp(got, value) == 0, "%s: lost %s", specs[i], key);
        }
        rig_done(&r);
    }
}
END_TEST

UNIT_MAIN("failpoint", {
    log_setup("test", getenv("STORE_LOG") != NULL ? LOG_INFO : (enum log_level)(LOG_ERROR + 1));
    UNIT_TEST(off);
    UNIT_TEST(refused);
    UNIT_TEST(when);
    UNIT_TEST(drops);
    UNIT_TEST(delays);
    UNIT_TEST(writes);
    UNIT_TEST(crashes);
    UNIT_TEST(from_a_file);
    UNIT_TEST(all_are_passed);
    UNIT_TEST(errors_are_survived);
})
