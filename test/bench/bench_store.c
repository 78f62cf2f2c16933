/* bench_store.c - the store alone: writes, reads, start, idle cost, memory.
 *
 *   bench_store [members] [dir]      default: 1 member, then 3, in /tmp
 *   bench_store memory [keys] [bytes]    what so many keys of one member cost
 *   bench_store leases [count]           granting, renewing and ending so many
 *
 * One process, so three members share its processors; peers talk over unix
 * sockets without TLS. Each figure is a closed loop: so many requests under way
 * at any time, the next one starting when one was answered. */
#include "test/unit/raftstore/store_rig.h"

#include <malloc.h>
#include <sys/resource.h>
#include <time.h>

#define VALUE_BYTES 256
#define RUN_MS 3000
#define LATENCIES_MAX 2000000

struct slot {
    struct bench *b;
    uint64_t start_ns;
    uint32_t member;
};

struct bench {
    struct rig rig;
    uint32_t members, by; /* by: who is asked; UINT32_MAX: all in turn. */
    bool reads;
    struct slot *slots;
    uint32_t running;
    bool stop, idle;
    uint64_t keys, done, failed, syncs_before;
    uint32_t *latency_us;
    uint64_t latency_count;
    char value[VALUE_BYTES];
};

static void next(struct slot *s);

static void finished(struct slot *s, int code)
{
    struct bench *b = s->b;
    b->done += code == 0;
    b->failed += code != 0;
    if (b->latency_count < LATENCIES_MAX)
        b->latency_us[b->latency_count++] = (uint32_t)((uv_hrtime() - s->start_ns) / 1000);
    if (!b->stop) {
        next(s);
        return;
    }
    b->running--;
    b->idle = b->running == 0;
}

static void on_put(int code, const struct txn_result *result, void *arg)
{
    UNUSED(result);
    finished(arg, code);
}

static void on_read(int code, int64_t rev, void *arg)
{
    UNUSED(rev);
    finished(arg, code);
}

static void next(struct slot *s)
{
    struct bench *b = s->b;
    char key[64];
    s->start_ns = uv_hrtime();
    struct store *store = b->rig.stores[b->by != UINT32_MAX ? b->by : s->member];
    if (b->reads) {
        store_read_barrier(store, &b->rig.mb, on_read, s);
        return;
    }
    snprintf(key, sizeof(key), "/registry/pods/default/p%06u", (unsigned)(b->keys++ % 20000));
    struct txn_op op = {.type = OP_PUT, .key = str_of(key), .value = str_n(b->value, VALUE_BYTES)};
    struct txn t = {.success = &op, .success_count = 1};
    store_txn(store, &t, &b->rig.mb, on_put, s);
}

static int by_value(const void *x, const void *y)
{
    uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;
    return a < b ? -1 : a > b;
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static long rss_kib(void)
{
    long pages = 0, all = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL)
        return 0;
    if (fscanf(f, "%ld %ld", &all, &pages) != 2)
        pages = 0;
    fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static uint64_t syncs(struct bench *b)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < b->members; i++)
        sum += store_sync_count(b->rig.stores[i]);
    return sum;
}

static void run(struct bench *b, const char *what, bool reads, uint32_t by, uint32_t clients)
{
    b->reads = reads;
    b->by = by;
    b->stop = b->idle = false;
    b->done = b->failed = b->latency_count = 0;
    b->running = clients;
    b->slots = xzalloc(clients * sizeof(*b->slots));
    uint64_t before = syncs(b);
    double cpu = cpu_seconds();
    uint64_t start = uv_hrtime();
    for (uint32_t i = 0; i < clients; i++) {
        b->slots[i].b = b;
        b->slots[i].member = i % b->members;
        next(&b->slots[i]);
    }
    rig_sleep(&b->rig, RUN_MS);
    b->stop = true;
    rig_wait(&b->rig, &b->idle, 20000);
    double seconds = (double)(uv_hrtime() - start) / 1e9, used = cpu_seconds() - cpu;
    qsort(b->latency_us, b->latency_count, sizeof(uint32_t), by_value);
    uint64_t n = b->latency_count;
    printf("  %-26s %5u clients %9.0f/s  p50 %6.2f ms  p99 %6.2f ms  %5.1f us cpu  %5.3f syncs/op  "
           "%" PRIu64 " failed\n",
           what, clients, (double)b->done / seconds, n > 0 ? b->latency_us[n / 2] / 1e3 : 0,
           n > 0 ? b->latency_us[n * 99 / 100] / 1e3 : 0,
           used * 1e6 / (double)MAX_OF(b->done, (uint64_t)1),
           (double)(syncs(b) - before) / (double)MAX_OF(b->done, (uint64_t)1), b->failed);
    fflush(stdout);
    free(b->slots);
}

static void idle_cost(struct bench *b)
{
    rig_sleep(&b->rig, 2500); /* Until what comes after writes has been done. */
    struct rusage before, after;
    double cpu = cpu_seconds();
    getrusage(RUSAGE_SELF, &before);
    struct timespec ts = {.tv_sec = 3};
    nanosleep(&ts, NULL); /* Not the rig's loop, which ticks. */
    getrusage(RUSAGE_SELF, &after);
    printf("  idle: %.2f%% of a processor, %.1f wake-ups/s; resident %ld KiB\n",
           (cpu_seconds() - cpu) / 3 * 100, (double)(after.ru_nvcsw - before.ru_nvcsw) / 3,
           rss_kib());
}

static void bench(uint32_t members, const char *base)
{
    struct bench *b = xzalloc(sizeof(*b));
    b->members = members;
    b->latency_us = xmalloc(LATENCIES_MAX * sizeof(uint32_t));
    rig_init(&b->rig, members > 1 ? members : 0);
    b->rig.config.heartbeat_ms = 100;
    b->rig.config.election_ms = 1000;
    if (base != NULL)
        for (uint32_t i = 0; i < members; i++)
            snprintf(b->rig.dirs[i], sizeof(b->rig.dirs[i]), "%s/bench-store-%u", base, i + 1);
    memset(b->value, 'v', VALUE_BYTES);
    uint64_t start = uv_hrtime();
    for (uint32_t i = 0; i < members; i++)
        rig_start(&b->rig, i);
    rig_must_put(&b->rig, 0, "/ready", "1");
    printf("%u member%s: first write acknowledged %.1f ms after the start; resident %ld KiB\n",
           members, members > 1 ? "s" : "", (double)(uv_hrtime() - start) / 1e6, rss_kib());
    idle_cost(b);
    uint32_t leader = (uint32_t)rig_leader(&b->rig);
    const uint32_t clients[] = {1, 16, 128, 1000};
    for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
        run(b, "write, leader", false, leader, clients[i]);
    if (members > 1) {
        run(b, "write, a follower", false, (leader + 1) % members, 1);
        run(b, "write, a follower", false, (leader + 1) % members, 128);
        run(b, "write, everywhere", false, UINT32_MAX, 1000);
    }
    run(b, "read barrier, leader", true, leader, 1);
    run(b, "read barrier, leader", true, leader, 128);
    if (members > 1)
        run(b, "read barrier, a follower", true, (leader + 1) % members, 128);
    idle_cost(b);
    rig_done(&b->rig);
    if (base != NULL)
        for (uint32_t i = 0; i < members; i++)
            file_remove_tree(b->rig.dirs[i], NULL);
    free(b->latency_us);
    free(b);
}

/* --- memory --- */

struct fill {
    struct rig rig;
    size_t started, done, keys, bytes;
    bool idle;
    char *value;
};

static void fill_next(struct fill *f);

static void on_filled(int code, const struct txn_result *result, void *arg)
{
    struct fill *f = arg;
    UNUSED(result);
    if (code != 0)
        PANIC("put: %s", error_text(code));
    f->idle = ++f->done == f->keys;
    if (f->started < f->keys)
        fill_next(f);
}

static void fill_next(struct fill *f)
{
    char key[64];
    snprintf(key, sizeof(key), "/registry/pods/default/p%09zu", f->started++);
    for (size_t i = 0; i + 8 < f->bytes; i += 64) /* No two pages alike. */
        memcpy(f->value + i, key + strlen(key) - 8, 8);
    struct txn_op op = {.type = OP_PUT, .key = str_of(key), .value = str_n(f->value, f->bytes)};
    store_txn(f->rig.stores[0], &(struct txn){.success = &op, .success_count = 1}, &f->rig.mb,
              on_filled, f);
}

static void fill_report(struct fill *f, const char *when, long before)
{
    struct store_status st;
    struct mallinfo2 m = mallinfo2();
    store_status(f->rig.stores[0], &st);
    printf("  %-22s resident %6.1f MiB (%5.2f of payload), tree %6.1f MiB, malloc used %6.1f free "
           "%5.1f MiB\n",
           when, (double)(rss_kib() - before) / 1024,
           (double)(rss_kib() - before) * 1024 / (double)(f->done * (f->bytes + 32)),
           (double)st.bytes / 1048576, (double)(m.uordblks + m.hblkhd) / 1048576,
           (double)m.fordblks / 1048576);
    fflush(stdout);
}

static void memory(size_t keys, size_t bytes)
{
    struct fill *f = xzalloc(sizeof(*f));
    f->bytes = bytes;
    f->value = xzalloc(bytes + 1);
    rig_init(&f->rig, 0);
    rig_start(&f->rig, 0);
    rig_must_put(&f->rig, 0, "/ready", "1");
    long before = rss_kib();
    printf("memory of %zu keys of %zu bytes; an empty store: %.1f MiB\n", keys, bytes,
           (double)before / 1024);
    for (int round = 0; round < 3; round++) {
        f->started = f->done = 0;
        f->keys = keys;
        f->idle = false;
        for (int i = 0; i < 128; i++)
            fill_next(f);
        rig_wait(&f->rig, &f->idle, 120000);
        fill_report(f, round == 0 ? "created" : round == 1 ? "changed" : "changed again", before);
        if (round == 0)
            continue;
        struct store_status st;
        struct answer a = {0};
        store_status(f->rig.stores[0], &st);
        store_compact(f->rig.stores[0], st.rev, &f->rig.mb, rig_on_done, &a);
        rig_wait(&f->rig, &a.done, 10000);
        rig_sleep(&f->rig, 4500);
        fill_report(f, "  compacted", before);
    }
    rig_done(&f->rig);
    free(f->value);
    free(f);
}

/* --- leases --- */

struct lease_load {
    struct rig rig;
    size_t started, done, count;
    bool renew, idle;
};

static void lease_next(struct lease_load *l);

static void on_lease_done(int code, int64_t rev, void *arg)
{
    struct lease_load *l = arg;
    UNUSED(rev);
    if (code != 0)
        PANIC("lease: %s", error_text(code));
    l->idle = ++l->done == l->count;
    if (l->started < l->count)
        lease_next(l);
}

static void lease_next(struct lease_load *l)
{
    int64_t id = (int64_t)++l->started;
    if (l->renew)
        store_lease_keepalive(l->rig.stores[0], id, &l->rig.mb, on_lease_done, l);
    else
        store_lease_grant(l->rig.stores[0], id, 20, &l->rig.mb, on_lease_done, l);
}

static void lease_round(struct lease_load *l, const char *what, bool renew)
{
    double cpu = cpu_seconds();
    uint64_t start = uv_hrtime();
    l->renew = renew;
    l->started = l->done = 0;
    l->idle = false;
    for (int i = 0; i < 128; i++)
        lease_next(l);
    rig_wait(&l->rig, &l->idle, 120000);
    printf("  %-8s %9.0f/s  %5.2f us cpu each\n", what,
           (double)l->count / ((double)(uv_hrtime() - start) / 1e9),
           (cpu_seconds() - cpu) * 1e6 / (double)l->count);
    fflush(stdout);
}

static void on_left(int code, const int64_t *ids, size_t count, void *arg)
{
    UNUSED(ids);
    *(size_t *)arg = code == 0 ? count : SIZE_MAX;
}

static void leases(size_t count)
{
    struct lease_load *l = xzalloc(sizeof(*l));
    l->count = count;
    rig_init(&l->rig, 0);
    rig_start(&l->rig, 0);
    rig_must_put(&l->rig, 0, "/ready", "1");
    printf("%zu leases of 20 s\n", count);
    lease_round(l, "granted", false);
    lease_round(l, "renewed", true);
    lease_round(l, "renewed", true);
    size_t left = count;
    uint64_t first = 0;
    while (left > 0) {
        rig_sleep(&l->rig, 50);
        store_lease_list(l->rig.stores[0], &l->rig.mb, on_left, &left);
        rig_sleep(&l->rig, 5);
        if (left < count && first == 0)
            first = uv_hrtime();
    }
    printf("  ended    %9.0f/s once they fell due\n",
           (double)count / ((double)(uv_hrtime() - first) / 1e9));
    rig_done(&l->rig);
    free(l);
}

int main(int argc, char **argv)
{
    log_setup("bench", LOG_ERROR);
    if (argc > 1 && strcmp(argv[1], "leases") == 0) {
        leases(argc > 2 ? strtoull(argv[2], NULL, 10) : 100000);
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "memory") == 0) {
        memory(argc > 2 ? strtoull(argv[2], NULL, 10) : 100000,
               argc > 3 ? strtoull(argv[3], NULL, 10) : 1024);
        return 0;
    }
    const char *base = argc > 2 ? argv[2] : NULL;
    if (argc > 1) {
        bench((uint32_t)atoi(argv[1]), base);
        return 0;
    }
    bench(1, base);
    bench(3, base);
    return 0;
}
