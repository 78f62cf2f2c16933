/* test_store_crash.c - three processes, SIGKILL at random and a crash at each
 * failpoint: no acknowledged write is lost, and all members end with the same data.
 *
 *   CRASH_SEED=n CRASH_ROUNDS=n test_store_crash
 *
 * Each child runs one store and writes /c<member>/<n> for n = 1, 2, ...; what was
 * acknowledged it tells the parent over a pipe, which a kill cannot take back.
 * Small segments and snapshots make every path run: rolling, trimming, catching
 * up by log and by snapshot, crashes in the middle of each. */
#include "test/unit/raftstore/store_rig.h"

#include "raftstore/failpoint.h"
#include "test/unit/unit.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <time.h>

#define MEMBERS 3
#define CLIENTS 16 /* Writes under way per member. */
#define ACKED_MAX 400000
#define ENOUGH 150 /* Writes of a member in which it rolls its log and takes snapshots. */

struct ack {
    uint32_t member;
    uint32_t n;
};

static uint64_t seed;
static struct rig rig;
static int pipe_fds[2];
static pid_t pids[MEMBERS];
static uint32_t next_n[MEMBERS];
static uint32_t own_acked[MEMBERS];
static struct ack *acked;
static uint32_t acked_count;
static char spec[80]; /* Failpoints of the next child. */

static uint64_t random_below(uint64_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % n;
}

static void settings(struct rig *r)
{
    r->config.snapshot_log_bytes = 48 << 10;
    r->hooks.log_segment_bytes = 24 << 10;
    r->hooks.trail_bytes = 8 << 10;
    r->hooks.cache_bytes = 32 << 10;
    r->hooks.snapshot_chunk_bytes = 4 << 10;
    r->hooks.proposal_timeout_ms = 2000;
}

/* --- the child ------------------------------------------------------------------------------ */

struct writer {
    uint32_t member, n;
};

static uint32_t child_next;

static void write_next(struct writer *w);

static void on_written(int code, const struct txn_result *result, void *arg)
{
    UNUSED(result);
    struct writer *w = arg;
    struct ack ack = {w->member, w->n};
    if (code == 0 && write(pipe_fds[1], &ack, sizeof(ack)) != sizeof(ack))
        _exit(3);
    if (code != 0 && code != E_UNKNOWN_OUTCOME && code != E_UNAVAILABLE && code != E_TOO_MANY)
        _exit(4);
    write_next(w);
}

static void write_next(struct writer *w)
{
    char key[32], value[200];
    w->n = child_next++; /* A number is never tried twice: its outcome may be open. */
    snprintf(key, sizeof(key), "/c%u/%u", w->member, w->n);
    memset(value, 'a' + (char)(w->n % 26), sizeof(value));
    struct txn_op op = {.type = OP_PUT, .key = str_of(key), .value = str_n(value, sizeof(value))};
    struct txn t = {.success = &op, .success_count = 1};
    store_txn(rig.stores[w->member], &t, &rig.mb, on_written, w);
}

static void child_main(uint32_t member)
{
    static struct writer writers[CLIENTS];
    log_setup("member", getenv("STORE_LOG") != NULL ? LOG_INFO : LOG_ERROR);
    if (spec[0] != '\0' && failpoint_set(spec, NULL) < 0)
        _exit(6);
    rig_start(&rig, member);
    child_next = next_n[member];
    for (size_t i = 0; i < CLIENTS; i++) {
        writers[i].member = member;
        write_next(&writers[i]);
    }
    uv_run(&rig.loop, UV_RUN_DEFAULT);
    _exit(5);
}

/* --- the parent ------------------------------------------------------------------------------- */

/* Takes what the children reported. */
static void collect(void)
{
    struct ack got[512];
    ssize_t n;
    while ((n = read(pipe_fds[0], got, sizeof(got))) > 0) {
        for (size_t i = 0; i < (size_t)n / sizeof(got[0]); i++) {
            ck_assert_uint_lt(acked_count, ACKED_MAX);
            acked[acked_count++] = got[i];
            own_acked[got[i].member]++;
            next_n[got[i].member] = MAX_OF(next_n[got[i].member], got[i].n + 1);
        }
    }
}

static void start(uint32_t member)
{
    collect();
    next_n[member] += CLIENTS; /* Behind whatever it may have tried. */
    pids[member] = fork();
    ck_assert_int_ge(pids[member], 0);
    if (pids[member] == 0)
        child_main(member);
}

static void stop(uint32_t member)
{
    int status;
    if (pids[member] == 0)
        return;
    kill(pids[member], SIGKILL);
    waitpid(pids[member], &status, 0);
    pids[member] = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == FAILPOINT_EXIT)
        return;
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
                  "member %u ended by itself: status %x", member + 1, status);
}

static void pause_ms(uint64_t ms)
{
    for (; ms > 0; ms -= MIN_OF(ms, (uint64_t)20)) {
        struct timespec ts = {.tv_nsec = 20000000};
        nanosleep(&ts, NULL);
        collect();
    }
}

static void check_all_there(void)
{
    for (uint32_t i = 0; i < MEMBERS; i++)
        rig_start(&rig, i);
    rig_must_put(&rig, 0, "/end", "1");
    for (uint32_t i = 0; i < MEMBERS; i++) {
        AUTO_FREE char *end = rig_get(&rig, i, "/end");
        ck_assert_ptr_nonnull(end);
        struct store_view *v = store_view(rig.stores[i]);
        for (uint32_t k = 0; k < acked_count; k++) {
            char key[32];
            snprintf(key, sizeof(key), "/c%u/%u", acked[k].member, acked[k].n);
            ck_assert_msg(store_view_get(v, str_of(key), 0) != NULL, "member %u lost %s", i + 1,
                          key);
        }
        store_view_unref(v);
    }
}

static void check_same(void)
{
    struct store_view *a = store_view(rig.stores[0]);
    for (uint32_t i = 1; i < MEMBERS; i++) {
        struct store_view *b = store_view(rig.stores[i]);
        struct store_iter x, y;
        const struct kv *p, *q;
        ck_assert_int_eq(store_view_rev(a), store_view_rev(b));
        store_iter_init(&x, a, STR("/"), STR("0"), 0);
        store_iter_init(&y, b, STR("/"), STR("0"), 0);
        do {
            p = store_iter_next(&x);
            q = store_iter_next(&y);
            ck_assert((p == NULL) == (q == NULL));
            if (p != NULL)
                ck_assert(str_eq(kv_key(p), kv_key(q)) && str_eq(kv_value(p), kv_value(q)) &&
                          p->mod_rev == q->mod_rev && kv_create_rev(p) == kv_create_rev(q) &&
                          kv_version(p) == kv_version(q));
        } while (p != NULL);
        store_view_unref(b);
    }
    store_view_unref(a);
}

static void begin(void)
{
    const char *s = getenv("CRASH_SEED");
    seed = s != NULL ? strtoull(s, NULL, 10) : 20231122;
    printf("CRASH_SEED=%" PRIu64 "\n", seed);
    rig_init(&rig, MEMBERS);
    settings(&rig);
    acked = xmalloc(ACKED_MAX * sizeof(*acked));
    ck_assert_int_eq(pipe(pipe_fds), 0);
    fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK);
    fcntl(pipe_fds[1], F_SETPIPE_SZ, 1 << 20);
    for (uint32_t i = 0; i < MEMBERS; i++)
        start(i);
}

static void end(void)
{
    for (uint32_t i = 0; i < MEMBERS; i++)
        stop(i);
    collect();
    printf("%u writes acknowledged\n", acked_count);
    ck_assert_uint_gt(acked_count, 100);
    check_all_there();
    ck_assert(rig_caught_up(&rig, 10000));
    check_same();
    rig_done(&rig);
    free(acked);
}

START_TEST(kill_nine)
{
    const char *rounds_text = getenv("CRASH_ROUNDS");
    int rounds = rounds_text != NULL ? atoi(rounds_text) : 14;
    begin();
    for (int round = 0; round < rounds; round++) {
        pause_ms(200 + random_below(500));
        uint64_t victims = 1 + random_below(7); /* Any set of them, all included. */
        for (uint32_t i = 0; i < MEMBERS; i++)
            if ((victims >> i & 1) != 0)
                stop(i);
        pause_ms(random_below(300));
        for (uint32_t i = 0; i < MEMBERS; i++)
            if (pids[i] == 0 && random_below(4) != 0)
                start(i);
    }
    end();
}
END_TEST

static bool ended(uint32_t member)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)pids[member], &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid != 0;
}

/* Each failpoint in turn ends a member that runs with the two others, at a hit of
 * its own choice; where it writes, in the middle of that. Then it comes back. */
START_TEST(at_each_failpoint)
{
    uint32_t crashed = 0;
    begin();
    for (int f = 0; f < FAILPOINT_COUNT * 2; f++) {
        enum failpoint point = (enum failpoint)(f / 2);
        bool torn = f % 2 == 1;
        if (torn && failpoint_kind(point) != FAILPOINT_WRITE)
            continue;
        uint32_t victim = (uint32_t)random_below(MEMBERS);
        stop(victim);
        snprintf(spec, sizeof(spec), "%s=%s@%" PRIu64, failpoint_name(point),
                 torn ? "torn" : "crash", 1 + random_below(3));
        start(victim);
        spec[0] = '\0';
        uint32_t enough = own_acked[victim] + ENOUGH;
        for (int i = 0; i < 150 && !ended(victim) && own_acked[victim] < enough; i++)
            pause_ms(20);
        crashed += ended(victim);
        stop(victim);
        start(victim);
        for (uint32_t before = acked_count, i = 0; i < 500 && acked_count < before + 20; i++)
            pause_ms(20);
    }
    printf("%u crashes at failpoints\n", crashed);
    ck_assert_uint_gt(crashed, FAILPOINT_COUNT / 2);
    end();
}
END_TEST

UNIT_MAIN("store_crash", {
    log_setup("test", getenv("STORE_LOG") != NULL ? LOG_INFO : LOG_ERROR);
    UNIT_TEST(kill_nine);
    UNIT_TEST(at_each_failpoint);
})
