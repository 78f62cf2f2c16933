/* sim_replica.c - runs clusters from seeds until one breaks a promise.
 *
 *   sim_replica [--seed N] [--seeds N] [--from N] [--jobs N] [--members N]
 *               [--guards-off MASK] [--breaks MASK] [--no-changes] [--no-snapshots]
 *               [--verbose] [--trace]
 *
 * --seed replays one run exactly, with its log; --seeds (or SIM_SEEDS in the
 * environment) is how many to run, in as many processes as there are processors;
 * --trace prints what identifies a run. */
#include "sim.h"

#include "lib/base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SEEDS_DEFAULT 600
#define JOBS_MAX 64

/* What a process leaves for the others to see, also when it dies. */
struct job {
    pid_t pid;
    uint64_t seed; /* At work; the next one is `step` further. */
    uint64_t passed, failed;
    struct sim_result sum;
};

static void add(struct sim_result *sum, const struct sim_result *r)
{
    sum->events += r->events;
    sum->ops += r->ops;
    sum->txns += r->txns;
    sum->commands += r->commands;
    sum->reads += r->reads;
    sum->unknown += r->unknown;
    sum->elections += r->elections;
    sum->crashes += r->crashes;
    sum->io_stops += r->io_stops;
    sum->changes += r->changes;
    sum->snapshots_installed += r->snapshots_installed;
    sum->watched += r->watched;
    sum->resumed += r->resumed;
    sum->rotten += r->rotten;
    sum->full += r->full;
    sum->expired += r->expired;
}

static void print_sum(const struct sim_result *s)
{
    printf("%" PRIu64 " events, %" PRIu64 " operations (%" PRIu64 " reads done, %" PRIu64
           " transactions, %" PRIu64 " outcomes unknown), %" PRIu64 " applied, %" PRIu64
           " leases expired\n",
           s->events, s->ops, s->reads, s->txns, s->unknown, s->commands, s->expired);
    printf("%" PRIu64 " leaders, %" PRIu64 " crashes (%" PRIu64 " inside a disk call), %" PRIu64
           " changes, %" PRIu64 " snapshots installed, %" PRIu64
           " members refused and replaced, %" PRIu64 " full disks\n",
           s->elections, s->crashes, s->io_stops, s->changes, s->snapshots_installed, s->rotten,
           s->full);
    printf("%" PRIu64 " batches watched, watches resumed %" PRIu64 " times\n", s->watched,
           s->resumed);
}

/* --- the runs --- */

static bool run_seed(struct sim_options o, uint64_t seed, struct sim_result *ret, bool trace)
{
    o.seed = seed;
    bool ok = sim_run(&o, ret);
    if (!ok)
        printf("seed %" PRIu64 ": %s\n", seed, ret->failure);
    if (trace)
        printf("seed %" PRIu64 " trace %016" PRIx64 " events %" PRIu64 "\n", seed, ret->trace,
               ret->events);
    return ok;
}

static void run_job(const struct sim_options *o, struct job *j, uint64_t end, uint64_t step,
                    bool trace)
{
    for (; j->seed < end; j->seed += step) {
        struct sim_result r;
        if (run_seed(*o, j->seed, &r, trace))
            j->passed++;
        else
            j->failed++;
        add(&j->sum, &r);
    }
}

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    UNUSED(number);
    interrupted = 1;
}

static void start_job(const struct sim_options *o, struct job *j, uint64_t end, uint64_t step,
                      bool trace)
{
    fflush(NULL);
    j->pid = fork();
    ASSERT(j->pid >= 0);
    if (j->pid != 0)
        return;
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    run_job(o, j, end, step, trace);
    fflush(NULL);
    _exit(0);
}

/* A process that dies takes one seed with it; another goes on behind. A signal ends
 * them all, and what was run until then counts. */
static void wait_for_jobs(const struct sim_options *o, struct job *jobs, uint32_t count,
                          uint64_t end, bool trace)
{
    int status;
    pid_t pid;
    while ((pid = wait(&status)) > 0 || errno == EINTR) {
        for (uint32_t i = 0; interrupted && i < count; i++)
            kill(jobs[i].pid, SIGTERM);
        for (uint32_t i = 0; i < count; i++) {
            struct job *j = &jobs[i];
            if (pid < 0 || j->pid != pid || interrupted ||
                (WIFEXITED(status) && WEXITSTATUS(status) == 0))
                continue;
            printf("seed %" PRIu64 ": the process died (%s %d)\n", j->seed,
                   WIFSIGNALED(status) ? "signal" : "exit",
                   WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
            j->failed++;
            j->seed += count;
            start_job(o, j, end, count, trace);
        }
    }
}

static bool run_all(const struct sim_options *o, uint64_t from, uint64_t seeds, uint32_t count,
                    bool trace)
{
    struct job *jobs = mmap(NULL, JOBS_MAX * sizeof(jobs[0]), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct sim_result sum = {0};
    uint64_t passed = 0, failed = 0;
    struct timespec t0, t1;
    ASSERT(jobs != MAP_FAILED);
    struct sigaction act = {.sa_handler = on_signal};
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGINT, &act, NULL);
    clock_gettime(CLOCK_MONOTONIC, &t0);
    for (uint32_t i = 0; i < count; i++) {
        jobs[i].seed = from + i;
        start_job(o, &jobs[i], from + seeds, count, trace);
    }
    wait_for_jobs(o, jobs, count, from + seeds, trace);
    clock_gettime(CLOCK_MONOTONIC, &t1);
    for (uint32_t i = 0; i < count; i++) {
        passed += jobs[i].passed;
        failed += jobs[i].failed;
        add(&sum, &jobs[i].sum);
    }
    munmap(jobs, JOBS_MAX * sizeof(jobs[0]));
    print_sum(&sum);
    double minutes =
        ((double)(t1.tv_sec - t0.tv_sec) + (double)(t1.tv_nsec - t0.tv_nsec) / 1e9) / 60;
    printf("%.0f seeds per minute in %u processes\n", (double)(passed + failed) / minutes, count);
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", passed, failed);
    return failed == 0;
}

/* --- arguments --- */

static uint64_t number(int argc, char **argv, int *i)
{
    if (*i + 1 >= argc) {
        fprintf(stderr, "%s needs a number\n", argv[*i]);
        exit(2);
    }
    return strtoull(argv[++*i], NULL, 0);
}

int main(int argc, char **argv)
{
    struct sim_options o = {.changes = true, .snapshots = true};
    const char *wanted = getenv("SIM_SEEDS");
    uint64_t from = 1, seeds = wanted != NULL ? strtoull(wanted, NULL, 0) : SEEDS_DEFAULT;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t jobs = processors > 0 ? (uint32_t)processors : 1;
    bool one = false, trace = false;
    log_setup("sim", LOG_ERROR);
    setvbuf(stdout, NULL, _IOLBF, 0); /* An assertion must not eat the log. */
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0) {
            from = number(argc, argv, &i);
            one = o.verbose = true;
        } else if (strcmp(argv[i], "--seeds") == 0) {
            seeds = number(argc, argv, &i);
        } else if (strcmp(argv[i], "--from") == 0) {
            from = number(argc, argv, &i);
        } else if (strcmp(argv[i], "--jobs") == 0) {
            jobs = (uint32_t)number(argc, argv, &i);
        } else if (strcmp(argv[i], "--members") == 0) {
            o.members = (uint32_t)number(argc, argv, &i);
        } else if (strcmp(argv[i], "--guards-off") == 0) {
            o.guards_off = (uint32_t)number(argc, argv, &i);
        } else if (strcmp(argv[i], "--breaks") == 0) {
            o.breaks = (uint32_t)number(argc, argv, &i);
        } else if (strcmp(argv[i], "--no-changes") == 0) {
            o.changes = false;
        } else if (strcmp(argv[i], "--no-snapshots") == 0) {
            o.snapshots = false;
        } else if (strcmp(argv[i], "--verbose") == 0) {
            o.verbose = true;
        } else if (strcmp(argv[i], "--trace") == 0) {
            trace = true;
        } else {
            fprintf(stderr, "unknown option %s\n", argv[i]);
            return 2;
        }
    }
    if (one) {
        struct sim_result r;
        bool ok = run_seed(o, from, &r, true);
        print_sum(&r);
        return ok ? 0 : 1;
    }
    jobs = MAX_OF(1, MIN_OF(jobs, (uint32_t)MIN_OF(seeds, (uint64_t)JOBS_MAX)));
    return run_all(&o, from, seeds, jobs, trace) ? 0 : 1;
}
