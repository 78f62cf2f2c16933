/* bench_mvcc.c - the state machine alone: no log, no network, one core.
 *
 *   bench_mvcc [keys] [value bytes] [operations]
 *   bench_mvcc growth [most keys]     small values: memory and latency at each power of ten
 *
 * Keys look like those of pods. Figures are for comparing one build with another
 * on one machine. */
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "raftstore/events.h"
#include "raftstore/mvcc.h"
#include "raftstore/mvcc_snapshot.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct bench {
    struct mvcc *m;
    size_t keys, value_bytes, ops;
    char *value;
    uint64_t state;
    size_t key_bytes; /* Of all keys together. */
};

static uint64_t now_us(void)
{
    return (uint64_t)env_wall_ns(env_system()) / 1000;
}

static uint64_t next_random(struct bench *b)
{
    b->state ^= b->state >> 12;
    b->state ^= b->state << 25;
    b->state ^= b->state >> 27;
    return b->state * 0x2545f4914f6cdd1du;
}

/* The i-th key: 100 namespaces, names with a random-looking tail. */
static struct str key_of(size_t i, char *buf, size_t cap)
{
    uint64_t h = (i + 1) * 0x9e3779b97f4a7c15u;
    int n = snprintf(buf, cap, "/registry/pods/namespace-%02u/deployment-%05llx-%05llx",
                     (unsigned)(i % 100), (unsigned long long)(h >> 44),
                     (unsigned long long)(h >> 20 & 0xfffff));
    return str_n(buf, (size_t)n);
}

static void report(const char *what, size_t count, uint64_t us)
{
    printf("%-34s %10.0f/s  %7.2f us each\n", what, (double)count * 1e6 / (double)us,
           (double)us / (double)count);
}

/* How many puts come between two views: a store under load applies in runs. */
static void put_range(struct bench *b, const char *what, size_t count, bool random, size_t run)
{
    AUTO_BUF cmd = BUF_INIT;
    uint64_t start = now_us();
    for (size_t i = 0; i < count; i++) {
        char key[128];
        size_t k = random ? next_random(b) % b->keys : i;
        struct txn_op op = {.type = OP_PUT,
                            .key = key_of(k, key, sizeof(key)),
                            .value = str_n(b->value, b->value_bytes)};
        buf_clear(&cmd);
        command_encode_txn(&(struct txn){.success = &op, .success_count = 1}, &cmd);
        uint64_t index = mvcc_applied_index(b->m) + 1;
        struct mvcc_result r;
        if (mvcc_apply(b->m, index, buf_str(&cmd), 0, &r, NULL) != 0 || r.code != 0)
            PANIC("put failed");
        mvcc_result_done(&r);
        mvcc_applied(b->m, index);
        b->key_bytes += random ? 0 : op.key.len;
        if (i % run == run - 1) {
            mvcc_publish(b->m, 0);
            mvcc_work(b->m, 1000);
        }
    }
    mvcc_publish(b->m, 0);
    report(what, count, now_us() - start);
}

static void get_all(struct bench *b)
{
    uint64_t start = now_us();
    for (size_t i = 0; i < b->ops; i++) {
        char key[128];
        struct mvcc_view *v = mvcc_view(b->m);
        if (mvcc_view_get(v, key_of(next_random(b) % b->keys, key, sizeof(key)), 0) == NULL)
            PANIC("key not found");
        mvcc_view_unref(v);
    }
    report("get (view and key)", b->ops, now_us() - start);
}

static void range_some(struct bench *b)
{
    size_t found = 0, rounds = b->ops / 100 + 1;
    struct mvcc_view *v = mvcc_view(b->m);
    uint64_t start = now_us();
    for (size_t i = 0; i < rounds; i++) {
        char key[128];
        struct tree_iter it;
        mvcc_view_iter(v, &it, key_of(next_random(b) % b->keys, key, sizeof(key)), str_n("\0", 1),
                       0);
        for (int n = 0; n < 100 && tree_iter_next(&it) != NULL; n++)
            found++;
    }
    uint64_t us = now_us() - start;
    report("range of 100 keys", rounds, us);
    report("  per key", found, us);
    start = now_us();
    int64_t total = 0;
    for (size_t i = 0; i < rounds; i++) {
        char key[128];
        total += mvcc_view_count(v, key_of(next_random(b) % b->keys, key, sizeof(key)),
                                 str_n("\0", 1), 0);
    }
    report("count of a range", rounds, now_us() - start + (total < 0));
    mvcc_view_unref(v);
}

static void compact(struct bench *b)
{
    AUTO_BUF cmd = BUF_INIT;
    uint64_t index = mvcc_applied_index(b->m) + 1, longest = 0, start = now_us();
    command_encode(&(struct command){.type = COMMAND_COMPACT, .rev = mvcc_rev(b->m)}, &cmd);
    int rc = mvcc_apply(b->m, index, buf_str(&cmd), 0, NULL, NULL);
    ASSERT_CMP(rc, ==, 0);
    mvcc_applied(b->m, index);
    mvcc_publish(b->m, 0);
    mvcc_trim_history(b->m, EVENT_COMPACT_MS);
    size_t slices = 0;
    bool more = true;
    for (uint64_t last = now_us(), now; more; last = now, slices++) {
        more = mvcc_work(b->m, 1000);
        now = now_us();
        longest = MAX_OF(longest, now - last);
    }
    printf("%-34s %10.1f ms  in %zu slices, longest %llu us\n", "compaction",
           (double)(now_us() - start) / 1000, slices, (unsigned long long)longest);
}

static void snapshot(struct bench *b)
{
    AUTO_BUF stream = BUF_INIT;
    uint64_t start = now_us();
    struct mvcc_snapshot *s = mvcc_snapshot_new(b->m, 0);
    size_t n;
    do {
        n = mvcc_snapshot_read(s, buf_reserve(&stream, 65536), 65536);
        buf_commit(&stream, n);
    } while (n > 0);
    mvcc_snapshot_free(s);
    uint64_t written = now_us();
    struct mvcc_restore *r = mvcc_restore_new();
    struct mvcc *m = mvcc_new(&(struct mvcc_config){0});
    if (mvcc_restore_feed(r, buf_str(&stream), NULL) != 0 || mvcc_restore_finish(r, NULL) != 0)
        PANIC("restore failed");
    mvcc_restore_commit(r, m, 0);
    uint64_t restored = now_us();
    printf("%-34s %10.1f ms, %zu bytes; restore %.1f ms\n", "snapshot",
           (double)(written - start) / 1000, stream.len, (double)(restored - written) / 1000);
    mvcc_free(m);
}

static void memory(struct bench *b, const char *when, size_t before)
{
    struct mvcc_stats s;
    mvcc_stats(b->m, &s);
    double payload = (double)b->key_bytes / (double)b->keys + (double)b->value_bytes;
    double counted = (double)s.tree_bytes / (double)s.keys;
    printf("%s: %llu keys, %llu versions, %.1f bytes per key counted (%.1f beside key and value)\n",
           when, (unsigned long long)s.keys, (unsigned long long)s.versions, counted,
           counted - payload);
    printf("  malloc in use %.1f MiB, history counted %.1f MiB, dead %.1f MiB\n",
           (double)(mallinfo2().uordblks - before) / 1048576, (double)s.history_bytes / 1048576,
           (double)s.dead_bytes / 1048576);
}

/* --- growth ---------------------------------------------------------------------------- */

/* Of this thread: others on the machine must not count. */
static uint64_t cpu_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static double resident_bytes(void)
{
    long pages = 0, all = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL || fscanf(f, "%ld %ld", &all, &pages) != 2)
        PANIC("cannot read /proc/self/statm");
    fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static int by_value(const void *x, const void *y)
{
    uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;
    return (a > b) - (a < b);
}

/* Puts `count` keys, each with a view of its own; the time of each in ns. */
static void timed_puts(struct bench *b, size_t count, uint32_t *ns)
{
    AUTO_BUF cmd = BUF_INIT;
    for (size_t i = 0; i < count; i++) {
        char key[128];
        struct txn_op op = {.type = OP_PUT,
                            .key = key_of(next_random(b) % b->keys, key, sizeof(key)),
                            .value = str_n(b->value, b->value_bytes)};
        buf_clear(&cmd);
        command_encode_txn(&(struct txn){.success = &op, .success_count = 1}, &cmd);
        uint64_t start = cpu_ns(), index = mvcc_applied_index(b->m) + 1;
        if (mvcc_apply(b->m, index, buf_str(&cmd), 0, NULL, NULL) != 0)
            PANIC("put failed");
        mvcc_applied(b->m, index);
        mvcc_publish(b->m, 0);
        mvcc_work(b->m, 1000);
        ns[i] = (uint32_t)(cpu_ns() - start);
    }
    qsort(ns, count, sizeof(ns[0]), by_value);
}

#define SAMPLES 100000

static void growth_at(size_t keys)
{
    struct bench b = {.keys = keys, .value_bytes = 16, .state = 88172645463325252};
    static uint32_t ns[SAMPLES];
    char value[] = "0123456789abcdef";
    malloc_trim(0);
    double empty = resident_bytes();
    b.m = mvcc_new(&(struct mvcc_config){.history_bytes = 1 << 20});
    b.value = value;
    AUTO_BUF cmd = BUF_INIT;
    for (size_t i = 0; i < keys; i++) {
        char key[128];
        struct txn_op op = {.type = OP_PUT, .key = key_of(i, key, sizeof(key))};
        op.value = str_n(value, b.value_bytes);
        buf_clear(&cmd);
        command_encode_txn(&(struct txn){.success = &op, .success_count = 1}, &cmd);
        mvcc_apply(b.m, i + 1, buf_str(&cmd), 0, NULL, NULL);
        mvcc_applied(b.m, i + 1);
        b.key_bytes += op.key.len;
        if (i % 100 == 99) {
            mvcc_publish(b.m, 0);
            mvcc_work(b.m, 1000);
        }
    }
    mvcc_publish(b.m, 0);
    double created = resident_bytes();
    timed_puts(&b, SAMPLES, ns);
    double changed = resident_bytes(), get;
    uint64_t start = cpu_ns();
    for (size_t i = 0; i < SAMPLES; i++) {
        char key[128];
        struct mvcc_view *v = mvcc_view(b.m);
        if (mvcc_view_get(v, key_of(next_random(&b) % keys, key, sizeof(key)), 0) == NULL)
            PANIC("key not found");
        mvcc_view_unref(v);
    }
    get = (double)(cpu_ns() - start) / SAMPLES / 1000;
    buf_clear(&cmd);
    command_encode(&(struct command){.type = COMMAND_COMPACT, .rev = mvcc_rev(b.m)}, &cmd);
    mvcc_apply(b.m, mvcc_applied_index(b.m) + 1, buf_str(&cmd), 0, NULL, NULL);
    uint64_t longest = 0, all = cpu_ns();
    for (bool more = true; more;) {
        uint64_t slice = cpu_ns();
        more = mvcc_work(b.m, 1000);
        longest = MAX_OF(longest, cpu_ns() - slice);
    }
    all = cpu_ns() - all;
    printf("| %8zu | %5.1f | %6.1f | %6.1f | %6.2f | %6.2f | %6.2f | %6.2f | %7.1f | %6.2f |\n",
           keys, (double)b.key_bytes / (double)keys + (double)b.value_bytes,
           (created - empty) / (double)keys, (changed - created) / SAMPLES, ns[SAMPLES / 2] / 1e3,
           ns[SAMPLES / 100 * 99] / 1e3, ns[SAMPLES - 1] / 1e3, get, (double)all / 1e6,
           (double)longest / 1e6);
    fflush(stdout);
    mvcc_free(b.m);
}

static void growth(size_t most)
{
    printf("|     keys | key and value, bytes | resident per key | resident per revision | "
           "put p50 us | p99 us | max us | get us | compaction ms | its longest slice ms |\n");
    printf("|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n");
    for (size_t keys = 10000; keys <= most; keys *= 10)
        growth_at(keys);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "growth") == 0) {
        growth(argc > 2 ? strtoull(argv[2], NULL, 10) : 10000000);
        return 0;
    }
    struct bench b = {
        .keys = 200000, .value_bytes = 1000, .ops = 400000, .state = 88172645463325252};
    if (argc > 1)
        b.keys = strtoull(argv[1], NULL, 10);
    if (argc > 2)
        b.value_bytes = strtoull(argv[2], NULL, 10);
    if (argc > 3)
        b.ops = strtoull(argv[3], NULL, 10);
    size_t before = mallinfo2().uordblks;
    b.m = mvcc_new(&(struct mvcc_config){.history_bytes = 16 << 20});
    b.value = xmalloc(b.value_bytes + 1);
    memset(b.value, 'v', b.value_bytes);
    put_range(&b, "create, view per 100", b.keys, false, 100);
    memory(&b, "created", before);
    get_all(&b);
    range_some(&b);
    put_range(&b, "update, view per 100", b.ops, true, 100);
    put_range(&b, "update, view per put", b.ops, true, 1);
    memory(&b, "updated", before);
    compact(&b);
    memory(&b, "compacted", before);
    get_all(&b);
    snapshot(&b);
    mvcc_free(b.m);
    free(b.value);
    return 0;
}
