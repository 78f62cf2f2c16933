/* test_log.c - the durable log against a disk that fails, tears and crashes.
 *
 * The model keeps what the log should hold: the state at the last successful
 * sync and the state with what is staged. After a crash the log must be one of
 * the two - a batch is there as a whole or not at all. */
#include "raftstore/log.h"

#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "raftstore/crc32c.h"
#include "raftstore/failpoint.h"
#include "raftstore/log_format.h"
#include "test/unit/raftstore/mem_disk.h"
#include "test/unit/unit.h"

#include <sys/stat.h>
#include <unistd.h>

#define DIR "data"
#define MODEL_MAX 4096

static uint64_t test_rng;
static void test_random(struct env *e, void *p, size_t n)
{
    UNUSED(e);
    for (size_t i = 0; i < n; i++) {
        test_rng = test_rng * 6364136223846793005u + 1442695040888963407u;
        ((uint8_t *)p)[i] = (uint8_t)(test_rng >> 56);
    }
}
static struct env test_env = {.random = test_random};

struct model {
    uint64_t term, vote, base, base_term, last;
    struct {
        uint64_t term;
        uint32_t len, seed;
    } entries[MODEL_MAX];
};

struct rig {
    struct mem_disk disk;
    struct log_config config;
    struct log *log;
    struct model saved, staged;
    uint32_t seed;
};

static void payload(uint8_t *p, uint32_t len, uint32_t seed)
{
    for (uint32_t i = 0; i < len; i++)
        p[i] = (uint8_t)(seed + i * 7);
}

static struct rig *rig_new(uint64_t seed, uint64_t segment_bytes)
{
    struct rig *r = xzalloc(sizeof(*r));
    mem_disk_init(&r->disk, seed);
    test_rng = seed;
    r->config = (struct log_config){.disk = &r->disk.base,
                                    .env = &test_env,
                                    .dir = DIR,
                                    .cluster_id = 0xc1,
                                    .member_id = 7,
                                    .segment_bytes = segment_bytes};
    return r;
}

static void rig_free(struct rig *r)
{
    log_abandon(r->log);
    mem_disk_done(&r->disk);
    free(r);
}

static int rig_open(struct rig *r, struct error *err)
{
    return log_open(&r->config, &r->log, err);
}

static void rig_must_open(struct rig *r)
{
    struct error err = {0};
    ck_assert_msg(rig_open(r, &err) == 0, "%s", error_message(&err));
}

static void rig_append(struct rig *r, uint64_t index, uint64_t term, uint32_t len)
{
    AUTO_FREE uint8_t *data = xmalloc(len + 1);
    payload(data, len, ++r->seed);
    log_append(r->log, &(struct log_entry){index, term, 1, data, len}, 1);
    ck_assert(index < MODEL_MAX);
    r->staged.last = index;
    r->staged.entries[index].term = term;
    r->staged.entries[index].len = len;
    r->staged.entries[index].seed = r->seed;
}

static void rig_vote(struct rig *r, uint64_t term, uint64_t vote)
{
    log_set_vote(r->log, term, vote);
    r->staged.term = term;
    r->staged.vote = vote;
}

static void rig_reset(struct rig *r, uint64_t index, uint64_t term)
{
    log_reset(r->log, index, term);
    r->staged.base = r->staged.last = index;
    r->staged.base_term = term;
}

static int rig_sync(struct rig *r, struct error *err)
{
    int rc = log_sync(r->log, err);
    if (rc == 0)
        r->saved = r->staged;
    return rc;
}

static bool matches(struct rig *r, const struct model *m)
{
    struct log_state s;
    log_state(r->log, &s);
    if (s.term != m->term || s.vote != m->vote || s.last_index != m->last)
        return false;
    uint64_t at = MAX_OF(s.first_index, m->base + 1);
    if (s.first_index > at)
        return false;
    while (at <= m->last) {
        struct log_read got;
        if (log_read(r->log, at, 5000, &got, NULL) < 0)
            return false;
        for (uint32_t i = 0; i < got.count; i++, at++) {
            const struct log_entry *e = &got.entries[i];
            AUTO_FREE uint8_t *want = xmalloc(m->entries[at].len + 1);
            payload(want, m->entries[at].len, m->entries[at].seed);
            if (at > m->last || e->index != at || e->term != m->entries[at].term ||
                e->len != m->entries[at].len || memcmp(e->data, want, e->len) != 0) {
                log_read_done(&got);
                return false;
            }
        }
        log_read_done(&got);
    }
    return true;
}

static void rig_crash_and_recover(struct rig *r)
{
    log_abandon(take(r->log));
    mem_disk_crash(&r->disk);
    rig_must_open(r);
    bool staged = matches(r, &r->staged);
    ck_assert_msg(staged || matches(r, &r->saved),
                  "the log is neither what was synced nor what was staged");
    if (staged)
        r->saved = r->staged;
    else
        r->staged = r->saved;
}

/* The instruction and the table compute the same, and the known vector. */
START_TEST(crc32c_vector)
{
    ck_assert_uint_eq(crc32c(0, "123456789", 9), 0xe3069283u);
    ck_assert_uint_eq(crc32c_portable(0, "123456789", 9), 0xe3069283u);
    uint8_t bytes[300];
    payload(bytes, sizeof(bytes), 3);
    for (size_t n = 0; n < sizeof(bytes); n++) {
        ck_assert_uint_eq(crc32c(77, bytes, n), crc32c_portable(77, bytes, n));
        ck_assert_uint_eq(crc32c(0, bytes, 300), crc32c(crc32c(0, bytes, n), bytes + n, 300 - n));
    }
}
END_TEST

/* Entries, term and vote survive a clean stop; every start is counted. */
START_TEST(reopen)
{
    struct rig *r = rig_new(1, 4096);
    rig_must_open(r);
    rig_vote(r, 3, 7);
    for (uint64_t i = 1; i <= 20; i++)
        rig_append(r, i, 3, 100);
    ck_assert_int_eq(rig_sync(r, NULL), 0);
    struct log_state s;
    log_state(r->log, &s);
    ck_assert_uint_eq(s.boot, 1);
    log_close(take(r->log));
    rig_must_open(r);
    ck_assert(matches(r, &r->saved));
    log_state(r->log, &s);
    ck_assert_uint_eq(s.boot, 2);
    ck_assert_uint_eq(s.cluster_id, 0xc1);
    ck_assert_uint_eq(s.member_id, 7);
    ck_assert_uint_eq(s.first_index, 1);
    ck_assert_uint_eq(s.last_term, 3);
    rig_free(r);
}
END_TEST

/* What was staged but not synced is not there after a stop. */
START_TEST(unsynced_is_gone)
{
    struct rig *r = rig_new(1, 4096);
    rig_must_open(r);
    rig_append(r, 1, 1, 10);
    ck_assert_int_eq(rig_sync(r, NULL), 0);
    rig_append(r, 2, 1, 10);
    log_close(take(r->log));
    rig_must_open(r);
    ck_assert(matches(r, &r->saved));
    rig_free(r);
}
END_TEST

/* One batch is one fdatasync, however many records it has. */
START_TEST(group_commit)
{
    struct rig *r = rig_new(1, 1 << 20);
    rig_must_open(r);
    size_t before = r->disk.fdatasyncs;
    rig_vote(r, 1, 7);
    for (uint64_t i = 1; i <= 100; i++)
        rig_append(r, i, 1, 50);
    ck_assert_int_eq(rig_sync(r, NULL), 0);
    ck_assert_int_eq(rig_sync(r, NULL), 0);
    ck_assert_uint_eq(r->disk.fdatasyncs, before + 1);
    rig_free(r);
}
END_TEST

/* A conflicting suffix is replaced, in one batch and over several segments. */
START_TEST(cut_suffix)
{
    struct rig *r = rig_new(1, 2048);
    rig_must_open(r);
    for (uint64_t i = 1; i <= 60; i++) {
        rig_append(r, i, 1, 120);
        ck_assert_int_eq(rig_sync(r, NULL), 0);
    }
    rig_append(r, 20, 2, 30);
    rig_append(r, 21, 2, 30);
    rig_append(r, 15, 3, 31); /* And again inside the same batch. */
    ck_assert_int_eq(rig_sync(r, NULL), 0);
    ck_assert(matches(r, &r->saved));
    for (uint64_t i = 16; i <= 40; i++) {
        rig_append(r, i, 3, 77);
        ck_assert_int_eq(rig_sync(r, NULL), 0);
        ck_assert(matches(r, &r->saved));
    }
    log_close(take(r->log));
    rig_must_open(r);
    ck_assert(matches(r, &r->saved));
    rig_free(r);
}
END_TEST

/* Trimming deletes whole segments, oldest first, and what is left still reads. */
START_TEST(trim_prefix)
{
    struct rig *r = rig_new(1, 2048);
    rig_must_open(r);
    for (uint64_t i = 1; i <= 100; i++) {
        rig_append(r, i, 1, 100);
        ck_assert_int_eq(rig_sync(r, NULL), 0);
    }
    struct log_state full, s;
    log_state(r->log, &full);
    log_trim(r->log, 50);
    log_state(r->log, &s);
    ck_assert(s.first_index > 1 && s.first_index <= 51);
    ck_assert_uint_lt(s.bytes, full.bytes);
    ck_assert(matches(r, &r->saved));
    struct log_read got;
    ck_assert_int_eq(log_read(r->log, s.first_index - 1, 1, &got, NULL), E_NOT_FOUND);
    ck_assert_int_eq(log_read(r->log, 101, 1, &got, NULL), E_NOT_FOUND);
    log_close(take(r->log));
    rig_must_open(r);
    struct log_state again;
    log_state(r->log, &again);
    ck_assert_uint_eq(again.first_index, s.first_index);
    ck_assert(matches(r, &r->saved));
    /* Trimming everything keeps the segment in use, and appending goes on. */
    log_trim(r->log, 100);
    rig_append(r, 101, 2, 10);
    ck_assert_int_eq(rig_sync(r, NULL), 0);
    ck_assert(matches(r, &r->saved));
    rig_free(r);
}
END_TEST

/* A reset empties the log, which goes on behind the snapshot. */
START_TEST(reset)
{
    struct rig *r = rig_new(1, 2048);
    rig_must_open(r);
    for (uint64_t i = 1; i <= 30; i++)
        rig_append(r, i, 1, 100);
    ck_assert_int_eq(rig_sync(r, NULL), 0);
    rig_append(r, 31, 1, 5);
    rig_reset(r, 1000, 9);
    struct log_state s;
    log_state(r->log, &s);
    ck_assert_uint_eq(s.first_index, 1001);
    ck_assert_uint_eq(s.last_term, 9);
    rig_append(r, 1001, 9, 40);
    ck_assert_int_eq(rig_sync(r, NULL), 0);
    ck_assert(matches(r, &r->saved));
    log_trim(r->log, 1000);
    log_close(take(r->log));
    rig_must_open(r);
    ck_assert(matches(r, &r->saved));
    rig_free(r);
}
END_TEST

/* A record larger than a segment gets a segment of its own size. */
START_TEST(large_entry)
{
    struct rig *r = rig_new(1, 2048);
    rig_must_open(r);
    rig_append(r, 1, 1, 100000);
    ck_assert_int_eq(rig_sync(r, NULL), 0);
    rig_append(r, 2, 1, 3);
    ck_assert_int_eq(rig_sync(r, NULL), 0);
    rig_crash_and_recover(r);
    ck_assert_uint_eq(r->saved.last, 2);
    rig_free(r);
}
END_TEST

/* Two processes cannot use one folder; another member's data is refused. */
START_TEST(ownership)
{
    struct rig *r = rig_new(1, 4096);
    rig_must_open(r);
    struct log *other = NULL;
    struct error err = {0};
    ck_assert_int_eq(log_open(&r->config, &other, &err), E_EXISTS);
    log_close(take(r->log));
    r->config.member_id = 8;
    ck_assert_int_eq(rig_open(r, &err), E_INVALID);
    r->config.member_id = 0;
    r->config.cluster_id = 0xc2;
    ck_assert_int_eq(rig_open(r, &err), E_INVALID);
    r->config.cluster_id = 0;
    ck_assert_int_eq(rig_open(r, &err), 0);
    rig_free(r);
    r = rig_new(1, 4096);
    r->config.member_id = 0;
    ck_assert_int_eq(rig_open(r, &err), E_NOT_FOUND);
    rig_free(r);
}
END_TEST

static struct mem_file *segment_file(struct rig *r, uint64_t number)
{
    char name[LOG_NAME_BYTES], path[64];
    log_segment_name(number, name);
    snprintf(path, sizeof(path), "%s/%s", DIR, name);
    return mem_disk_file(&r->disk, path);
}

/* Writes `count` entries of 100 bytes, one batch each. */
static struct rig *filled(uint64_t segment_bytes, uint64_t count)
{
    struct rig *r = rig_new(5, segment_bytes);
    rig_must_open(r);
    for (uint64_t i = 1; i <= count; i++) {
        rig_append(r, i, 1, 100);
        ck_assert_int_eq(rig_sync(r, NULL), 0);
    }
    return r;
}

/* A flipped bit anywhere before the last batch refuses to start, and the error
 * names file, offset and the way out. */
START_TEST(damage_refuses)
{
    size_t used = 0;
    for (size_t at = 0; at == 0 || at < used; at += 13) {
        struct rig *r = filled(1 << 16, 10);
        struct mem_file *f = segment_file(r, 1);
        used = LOG_SEGMENT_HEADER_BYTES + 9 * (LOG_BATCH_HEADER_BYTES + log_record_bytes(100));
        log_abandon(take(r->log));
        f->cache[at] ^= 0x10;
        struct error err = {0};
        ck_assert_msg(rig_open(r, &err) == E_CORRUPT || err.code == E_INVALID, "byte %zu passed",
                      at);
        ck_assert_ptr_nonnull(strstr(err.message, DIR));
        if (at >= LOG_SEGMENT_HEADER_BYTES)
            ck_assert_ptr_nonnull(
                strstr(err.message, "log-0000000000000001.seg is damaged at offset"));
        rig_free(r);
    }
}
END_TEST

/* So does a flipped bit in any earlier segment. */
START_TEST(damage_in_old_segment)
{
    for (uint64_t number = 1; number <= 3; number++) {
        struct rig *r = filled(2048, 40);
        log_abandon(take(r->log));
        segment_file(r, number)->cache[700] ^= 1;
        struct error err = {0};
        ck_assert_int_eq(rig_open(r, &err), E_CORRUPT);
        rig_free(r);
    }
}
END_TEST

/* A segment that is gone from the middle is damage too. */
START_TEST(missing_segment)
{
    struct rig *r = filled(2048, 40);
    log_abandon(take(r->log));
    ck_assert_int_eq(r->disk.base.ops->unlink(&r->disk.base, DIR "/log-0000000000000002.seg"), 0);
    struct error err = {0};
    ck_assert_int_eq(rig_open(r, &err), E_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err.message, "missing"));
    rig_free(r);
}
END_TEST

/* So is a file that lost its end: the room behind the last batch was reserved. */
START_TEST(shortened_segment)
{
    struct rig *r = filled(1 << 16, 10);
    log_abandon(take(r->log));
    segment_file(r, 1)->cache_size = 1500;
    struct error err = {0};
    ck_assert_int_eq(rig_open(r, &err), E_CORRUPT);
    ck_assert_ptr_nonnull(strstr(err.message, "cut short"));
    rig_free(r);
}
END_TEST

/* Damage to the last batch is told from a torn write by the mark behind it. */
START_TEST(mark_proves_last_batch)
{
    struct error err = {0};
    size_t last =
        LOG_SEGMENT_HEADER_BYTES + 9 * (LOG_BATCH_HEADER_BYTES + log_record_bytes(100)) + 50;
    struct rig *r = filled(1 << 16, 10);
    log_mark(r->log);
    log_mark(r->log); /* Once is enough. */
    log_abandon(take(r->log));
    segment_file(r, 1)->cache[last] ^= 1;
    ck_assert_int_eq(rig_open(r, &err), E_CORRUPT);
    rig_free(r);
    /* Without a mark it may as well have been torn. */
    r = filled(1 << 16, 10);
    log_abandon(take(r->log));
    segment_file(r, 1)->cache[last] ^= 1;
    rig_must_open(r);
    struct log_state s;
    log_state(r->log, &s);
    ck_assert_uint_eq(s.last_index, 9);
    /* A clean stop leaves a mark. */
    rig_append(r, 10, 1, 100);
    ck_assert_int_eq(rig_sync(r, NULL), 0);
    log_close(take(r->log));
    rig_must_open(r);
    log_state(r->log, &s);
    ck_assert_uint_eq(s.last_index, 10);
    rig_free(r);
}
END_TEST

/* A value that looks like log batches does not count as one. */
START_TEST(forged_batch_in_value)
{
    struct rig *r = rig_new(9, 1 << 16);
    rig_must_open(r);
    rig_append(r, 1, 1, 10);
    ck_assert_int_eq(rig_sync(r, NULL), 0);
    uint8_t forged[20 * LOG_BATCH_HEADER_BYTES];
    struct log_batch_header h = {.seq = 99, .durable_seq = 98, .record_count = 1};
    for (size_t i = 0; i < 20; i++)
        log_batch_header_encode(&h, 0, forged + i * LOG_BATCH_HEADER_BYTES);
    log_append(r->log, &(struct log_entry){2, 1, 1, forged, sizeof(forged)}, 1);
    ck_assert_int_eq(log_sync(r->log, NULL), 0);
    log_abandon(take(r->log));
    segment_file(r, 1)
        ->cache[LOG_SEGMENT_HEADER_BYTES + 2 * LOG_BATCH_HEADER_BYTES + log_record_bytes(10)] ^= 1;
    rig_must_open(r);
    struct log_state s;
    log_state(r->log, &s);
    ck_assert_uint_eq(s.last_index, 1);
    rig_free(r);
}
END_TEST

/* One random step of the life of a log. */
static void random_step(struct rig *r)
{
    uint64_t dice = mem_random(&r->disk) % 100;
    struct model *m = &r->staged;
    if (dice < 3 && m->last + 50 < MODEL_MAX) {
        rig_reset(r, m->last + mem_random(&r->disk) % 40, m->term);
    } else if (dice < 10) {
        rig_vote(r, m->term + mem_random(&r->disk) % 3, mem_random(&r->disk) % 3);
    } else if (dice < 14) {
        log_mark(r->log);
    } else if (dice < 20) {
        /* Only what is the same in both models, as committed entries are. */
        uint64_t top = MIN_OF(r->saved.last, m->last);
        if (m->base != r->saved.base || top < m->base)
            return;
        uint64_t to = m->base + mem_random(&r->disk) % (top - m->base + 1);
        log_trim(r->log, to);
        r->saved.base = m->base = to;
    } else if (m->last + 1 < MODEL_MAX) {
        uint64_t back = dice < 30 ? mem_random(&r->disk) % 10 : 0;
        uint64_t index = m->last + 1 - MIN_OF(back, m->last - m->base);
        rig_append(r, index, m->term, (uint32_t)(mem_random(&r->disk) % 1500));
    }
}

/* Crashes at any moment lose nothing that was synced and tear no batch. */
START_TEST(random_crashes)
{
    for (uint64_t seed = 1; seed <= 600; seed++) {
        struct rig *r = rig_new(seed, 4096 + seed * 64);
        rig_must_open(r);
        for (int life = 0; life < 12; life++) {
            uint64_t steps = mem_random(&r->disk) % 40;
            for (uint64_t i = 0; i < steps; i++) {
                random_step(r);
                if (mem_random(&r->disk) % 3 == 0)
                    ck_assert_int_eq(rig_sync(r, NULL), 0);
            }
            if (mem_random(&r->disk) % 2 == 0) { /* In the middle of a sync. */
                r->disk.fail_at = r->disk.calls + (long)(mem_random(&r->disk) % 6);
                r->disk.persist = true;
                r->disk.power_off = mem_random(&r->disk) % 2 == 0;
                (void)rig_sync(r, NULL);
            }
            rig_crash_and_recover(r);
        }
        rig_free(r);
    }
}
END_TEST

/* A short life: open, write over a few segments, cut, trim, reopen. Failed syncs
 * are tried again a few times. False when the disk stopped it. */
static bool scripted_life(struct rig *r)
{
    struct error err = {0};
    if (rig_open(r, &err) < 0) {
        ck_assert_msg(err.code == E_IO || err.code == E_NO_SPACE, "%s", err.message);
        return false;
    }
    for (uint64_t i = r->staged.last + 1, n = i + 14; i < n; i++) {
        rig_append(r, i, 1, 400);
        if (i % 7 == 0) {
            rig_append(r, i - 1, 2, 30);
            rig_append(r, i, 2, 30);
        }
        int tries = 0;
        while (rig_sync(r, &err) < 0) {
            ck_assert(err.code == E_IO || err.code == E_NO_SPACE);
            if (++tries == 3)
                return false;
        }
        if (i % 5 == 0)
            log_mark(r->log);
        if (i == 9) {
            log_trim(r->log, 6);
            r->saved.base = r->staged.base = 6;
        }
    }
    return true;
}

/* Every disk operation fails once or from there on, in every way: what was
 * acknowledged is there afterwards. */
static void fault_loop(int fail_errno, bool persist, bool short_write)
{
    bool whole = false;
    for (long n = 0; !whole; n++) {
        ck_assert_int_lt(n, 2000);
        struct rig *r = rig_new((uint64_t)n + 1, 2048);
        r->disk.fail_at = n;
        r->disk.fail_errno = fail_errno;
        r->disk.persist = persist;
        r->disk.short_write = short_write;
        bool alive = scripted_life(r);
        whole = alive && r->disk.calls <= n;
        rig_crash_and_recover(r);
        /* And it works again. */
        rig_append(r, r->staged.last + 1, 5, 10);
        ck_assert_int_eq(rig_sync(r, NULL), 0);
        rig_crash_and_recover(r);
        rig_free(r);
    }
}

START_TEST(faults)
{
    log_setup("test", LOG_ERROR);
    int errnos[] = {EIO, ENOSPC};
    for (size_t i = 0; i < ARRAY_SIZE(errnos); i++) {
        fault_loop(errnos[i], false, false);
        fault_loop(errnos[i], true, false);
        fault_loop(errnos[i], false, true);
        fault_loop(errnos[i], true, true);
    }
}
END_TEST

/* A fdatasync that failed is not trusted when it succeeds later: the batch is
 * written again elsewhere. */
START_TEST(failed_sync_is_not_trusted)
{
    struct rig *r = filled(1 << 16, 3);
    rig_append(r, 4, 1, 100);
    r->disk.fail_at = r->disk.calls + 1; /* The write passes, the sync fails. */
    ck_assert_int_eq(rig_sync(r, NULL), E_IO);
    r->disk.fail_at = -1;
    ck_assert_int_eq(rig_sync(r, NULL), 0);
    ck_assert_ptr_nonnull(segment_file(r, 2));
    rig_crash_and_recover(r);
    ck_assert_uint_eq(r->saved.last, 4);
    rig_free(r);
}
END_TEST

/* A process that dies between write and sync leaves a batch in the page cache:
 * the next start makes it durable before it counts. */
START_TEST(recovered_batch_is_synced)
{
    struct rig *r = filled(1 << 16, 3);
    rig_append(r, 4, 1, 100);
    r->disk.fail_at = r->disk.calls + 1;
    ck_assert_int_eq(rig_sync(r, NULL), E_IO);
    r->disk.fail_at = -1;
    log_abandon(take(r->log)); /* The process dies, not the machine. */
    memset(r->disk.fds, 0, sizeof(r->disk.fds));
    rig_must_open(r);
    ck_assert(matches(r, &r->staged));
    r->saved = r->staged;
    rig_crash_and_recover(r);
    ck_assert_uint_eq(r->saved.last, 4);
    rig_free(r);
}
END_TEST

/* The same on the system's disk, with a lock that another process would see. */
START_TEST(system_disk)
{
    char dir[] = "/tmp/test_log_XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(dir));
    AUTO_FREE char *data = xasprintf("%s/a/b", dir);
    struct log_config config = {
        .disk = disk_system(), .dir = data, .cluster_id = 1, .member_id = 2};
    struct log *l = NULL, *second = NULL;
    struct error err = {0};
    ck_assert_msg(log_open(&config, &l, &err) == 0, "%s", error_message(&err));
    ck_assert_int_eq(log_open(&config, &second, &err), E_EXISTS);
    for (uint64_t i = 1; i <= 50; i++) {
        log_append(l, &(struct log_entry){i, 1, 1, (const uint8_t *)"hello", 5}, 1);
        ck_assert_int_eq(log_sync(l, &err), 0);
    }
    log_abandon(l);
    ck_assert_int_eq(log_open(&config, &l, &err), 0);
    struct log_read got;
    ck_assert_int_eq(log_read(l, 17, 1 << 20, &got, &err), 0);
    ck_assert_uint_eq(got.count, 34);
    ck_assert_mem_eq(got.entries[33].data, "hello", 5);
    log_read_done(&got);
    log_close(l);
    ck_assert_int_gt(disk_system()->ops->free_bytes(disk_system(), data), 0);
    AUTO_FREE char *seg = xasprintf("%s/log-0000000000000001.seg", data);
    AUTO_FREE char *lock = xasprintf("%s/LOCK", data);
    AUTO_FREE char *parent = xasprintf("%s/a", dir);
    ck_assert_int_eq(unlink(seg) | unlink(lock) | rmdir(data) | rmdir(parent) | rmdir(dir), 0);
}
END_TEST

/* The disk fails one sync after another, each time a new segment follows: what the
 * given up ones do not hold they do not take. */
START_TEST(failures_take_little_room)
{
    char dir[] = "/tmp/test_log_XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(dir));
    enum { SEGMENT = 1 << 20, FAILURES = 40 };
    struct log_config config = {.disk = disk_system(),
                                .dir = dir,
                                .cluster_id = 1,
                                .member_id = 2,
                                .segment_bytes = SEGMENT};
    struct log *l = NULL;
    struct log_state state;
    ck_assert_int_eq(log_open(&config, &l, NULL), 0);
    for (uint64_t i = 1; i <= FAILURES; i++) {
        log_append(l, &(struct log_entry){i, 1, 1, (const uint8_t *)"hello", 5}, 1);
        ck_assert_int_eq(failpoint_set("log.fsync=eio@1", NULL), 0);
        ck_assert_int_eq(log_sync(l, NULL), E_IO);
        ck_assert_int_eq(log_sync(l, NULL), 0);
    }
    failpoint_set(NULL, NULL);
    log_state(l, &state);
    ck_assert_uint_lt(state.bytes, 2 * SEGMENT);
    log_abandon(l);
    struct error err = {0};
    ck_assert_msg(log_open(&config, &l, &err) == 0, "%s", error_message(&err));
    struct log_read got;
    ck_assert_int_eq(log_read(l, 1, 1 << 20, &got, NULL), 0);
    ck_assert_uint_eq(got.count, FAILURES);
    log_read_done(&got);
    log_close(l);
    uint64_t taken = 0;
    for (uint64_t n = 1; n <= FAILURES + 1; n++) {
        char name[LOG_NAME_BYTES];
        struct stat st;
        log_segment_name(n, name);
        AUTO_FREE char *path = xasprintf("%s/%s", dir, name);
        if (stat(path, &st) == 0)
            taken += (uint64_t)st.st_blocks * 512;
        unlink(path);
    }
    AUTO_FREE char *lock = xasprintf("%s/LOCK", dir);
    ck_assert_int_eq(unlink(lock) | rmdir(dir), 0);
    ck_assert_uint_lt(taken, 2 * SEGMENT);
}
END_TEST

static size_t count_files(struct rig *r, const char *prefix)
{
    size_t n = 0;
    AUTO_FREE char *path = xasprintf("%s/%s", DIR, prefix);
    for (size_t i = 0; i < r->disk.live.count; i++)
        n += strncmp(r->disk.live.items[i].path, path, strlen(path)) == 0;
    return n;
}

/* Batches of one entry of 100 bytes each, up to this index. */
static void fill_to(struct rig *r, uint64_t last)
{
    for (uint64_t i = r->staged.last + 1; i <= last; i++) {
        rig_append(r, i, 1, 100);
        ck_assert_int_eq(rig_sync(r, NULL), 0);
    }
}

static void trim_to(struct rig *r, uint64_t index)
{
    log_trim(r->log, index);
    r->saved.base = r->staged.base = index;
}

/* The file of a segment that was trimmed becomes a later one, also after a restart;
 * its old bytes are there and nobody takes them for the log's. */
START_TEST(spares_are_written_again)
{
    struct rig *r = filled(2048, 40);
    struct mem_file *first = segment_file(r, 1);
    trim_to(r, 30);
    size_t spares = count_files(r, "spare-");
    ck_assert_uint_ge(spares, 3);
    ck_assert_ptr_null(segment_file(r, 1));
    log_close(take(r->log));
    rig_must_open(r);
    ck_assert_uint_ge(count_files(r, "spare-"), spares - 1); /* One for the start's count. */
    size_t files = r->disk.file_count;
    fill_to(r, 60);
    ck_assert_uint_eq(count_files(r, "spare-"), 0);
    ck_assert_uint_ge(r->disk.file_count, files);
    uint64_t number = 2;
    while (segment_file(r, number) != first && number < 100)
        number++;
    ck_assert_uint_lt(number, 100);
    ck_assert_int_eq(first->cache[8], 2); /* The version. */
    ck_assert(matches(r, &r->saved));
    rig_crash_and_recover(r);
    ck_assert_uint_eq(r->saved.last, 60);
    /* The last segment is one of them, its old batches stand behind the new ones. */
    trim_to(r, 55);
    fill_to(r, 62);
    struct log_state s;
    log_abandon(take(r->log));
    rig_must_open(r);
    ck_assert(matches(r, &r->saved));
    log_state(r->log, &s);
    ck_assert_uint_eq(s.last_index, 62);
    rig_free(r);
}
END_TEST

/* A batch whose records end where sectors do, like all such; two fill a segment of 7000. */
static int aligned_batch(struct rig *r)
{
    rig_append(r, r->staged.last + 1, 1,
               MEM_SECTOR - LOG_BATCH_HEADER_BYTES - LOG_RECORD_HEADER_BYTES);
    for (int i = 0; i < 5; i++)
        rig_append(r, r->staged.last + 1, 1, MEM_SECTOR - LOG_RECORD_HEADER_BYTES);
    return rig_sync(r, NULL);
}

/* Equal batches stand at equal places in every life of a file: the records of an old
 * one that a torn write leaves fit exactly, and do not count. */
START_TEST(torn_write_over_old_batches)
{
    log_setup("test", LOG_ERROR);
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct rig *r = rig_new(seed, 7000);
        rig_must_open(r);
        for (int life = 0; life < 12; life++) {
            for (uint64_t n = mem_random(&r->disk) % 8 + 1; n > 0; n--)
                ck_assert_int_eq(aligned_batch(r), 0);
            trim_to(r, r->saved.last);
            for (uint64_t n = mem_random(&r->disk) % 4; n > 0; n--)
                ck_assert_int_eq(aligned_batch(r), 0);
            r->disk.fail_at = r->disk.calls + 1 + (long)(mem_random(&r->disk) % 2 * 8);
            r->disk.persist = r->disk.power_off = true;
            (void)aligned_batch(r);
            rig_crash_and_recover(r);
        }
        rig_free(r);
    }
}
END_TEST

/* An idle log keeps a few spares only, one that lacks room none. */
START_TEST(spares_go)
{
    struct rig *r = filled(2048, 100);
    trim_to(r, 100);
    size_t spares = count_files(r, "spare-");
    ck_assert_uint_gt(spares, 6);
    while (log_tidy(r->log))
        ck_assert_uint_eq(count_files(r, "spare-"), --spares);
    ck_assert_uint_eq(count_files(r, "spare-"), 4);
    ck_assert(log_tidy_all(r->log));
    ck_assert(!log_tidy_all(r->log));
    ck_assert_uint_eq(count_files(r, "spare-"), 0);
    fill_to(r, 120);
    rig_crash_and_recover(r);
    ck_assert_uint_eq(r->saved.last, 120);
    rig_free(r);
}
END_TEST

/* A spare whose new name could go away again in a crash is not written to. */
START_TEST(spare_needs_its_name)
{
    struct rig *r = filled(2048, 40);
    ck_assert_int_eq(failpoint_set("log.spare.dirsync=eio", NULL), 0);
    trim_to(r, 30);
    ck_assert_int_eq(failpoint_set(NULL, NULL), 0);
    ck_assert_uint_eq(count_files(r, "spare-"), 0);
    fill_to(r, 50);
    rig_crash_and_recover(r);
    /* One that cannot be opened or is of the wrong size is passed over. */
    trim_to(r, 45);
    ck_assert_uint_ge(count_files(r, "spare-"), 2);
    ck_assert_int_eq(failpoint_set("log.spare.open=eio@1", NULL), 0);
    fill_to(r, 52);
    ck_assert_int_eq(failpoint_set(NULL, NULL), 0);
    for (size_t i = 0; i < r->disk.live.count; i++)
        if (strncmp(r->disk.live.items[i].path, DIR "/spare-", strlen(DIR "/spare-")) == 0)
            r->disk.live.items[i].file->cache_size = 100;
    fill_to(r, 80);
    ck_assert_uint_eq(count_files(r, "spare-"), 0);
    rig_crash_and_recover(r);
    ck_assert_uint_eq(r->saved.last, 80);
    rig_free(r);
}
END_TEST

UNIT_MAIN("log", {
    UNIT_TEST(crc32c_vector);
    UNIT_TEST(reopen);
    UNIT_TEST(unsynced_is_gone);
    UNIT_TEST(group_commit);
    UNIT_TEST(cut_suffix);
    UNIT_TEST(trim_prefix);
    UNIT_TEST(reset);
    UNIT_TEST(large_entry);
    UNIT_TEST(ownership);
    UNIT_TEST(damage_refuses);
    UNIT_TEST(damage_in_old_segment);
    UNIT_TEST(missing_segment);
    UNIT_TEST(shortened_segment);
    UNIT_TEST(mark_proves_last_batch);
    UNIT_TEST(forged_batch_in_value);
    UNIT_TEST(random_crashes);
    UNIT_TEST(faults);
    UNIT_TEST(failed_sync_is_not_trusted);
    UNIT_TEST(recovered_batch_is_synced);
    UNIT_TEST(system_disk);
    UNIT_TEST(failures_take_little_room);
    UNIT_TEST(spares_are_written_again);
    UNIT_TEST(torn_write_over_old_batches);
    UNIT_TEST(spares_go);
    UNIT_TEST(spare_needs_its_name);
})
