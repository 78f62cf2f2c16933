/* sim_known_bugs.c - builds that are broken on purpose must be caught: for each known
 * bug, seeds are run until one breaks a promise, and not more than it says here.
 *
 *   sim_known_bugs [--all] [--only NAME] [--seeds N] [--from N] [--table]
 *
 * Without --all those that take hundreds of seeds are left out. --seeds looks further
 * than the limits (to find them), --from starts elsewhere, --table prints for docs/simulation.md.
 * Every seed runs in a process of its own: a crash or a hang is one way to be caught. */
#include "broken.h"
#include "sim.h"

#include "lib/base/log.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define HANG_S 60

static const struct bug {
    const char *name;
    uint32_t breaks, guards_off;
    uint32_t limit; /* Caught within so many seeds. 0: by its scenario in sim_drills alone. */
} bugs[] = {
    {"acknowledge before fsync", BREAK_ACK_BEFORE_SYNC, 0, 5},
    {"term and vote not saved", BREAK_VOTE_UNSAVED, 0, 5},
    {"leader reads without a round", BREAK_READ_UNCONFIRMED, 0, 600}, /* One in 200 or so. */
    {"follower reads without a barrier", BREAK_READ_LOCAL, 0, 5},
    {"watch skips an installed snapshot", BREAK_WATCH_INSTALL, 0, 50},
    {"lease ended by the local clock", BREAK_LEASE_LOCAL, 0, 5},
    {"damaged log thrown away, id kept", BREAK_DAMAGE_IGNORED, 0, 150},
    {"a command applied twice", BREAK_APPLY_TWICE, 0, 5},
    {"guard: stale result", 0, GUARD_STALE_RESULT, 600},
    {"guard: sole voter's term", 0, GUARD_SOLE_VOTER_TERM, 300},
    {"guard: prev below the log", 0, GUARD_PREV_BELOW_LOG, 0},
    {"guard: install twice", 0, GUARD_INSTALL_TWICE, 0},
    {"guard: change first", 0, GUARD_CHANGE_FIRST, 100},
    {"guard: change alone", 0, GUARD_CHANGE_ALONE, 0},
    {"guard: late rejection", 0, GUARD_LATE_REJECTION, 0},
    {"guard: vote of a non-voter", 0, GUARD_VOTE_NONVOTER, 300},
    {"guard: forget the leader", 0, GUARD_FORGET_LEADER, 400},
    {"guard: term in pre-votes", 0, GUARD_PREVOTE_TERM, 0},
    {"guard: busy timer", 0, GUARD_BUSY_TIMER, 0},
    {"guard: state of vote results", 0, GUARD_VOTE_RESULT_STATE, 0},
    {"guard: change committed", 0, GUARD_CHANGE_COMMITTED, 0},
    {"guard: change step", 0, GUARD_CHANGE_STEP, 0},
    {"guard: shrink to the leader", 0, GUARD_SHRINK_TO_LEADER, 0},
    {"guard: hold a demotion", 0, GUARD_HOLD_DEMOTION, 0},
    {"guard: transfer too early", 0, GUARD_TRANSFER_EARLY, 0},
};

#define LIMIT_USUAL 150 /* What takes longer is run by --all. */

/* The child: says by its exit whether it held, and why not by the pipe. */
static void run_seed(const struct bug *b, uint64_t seed, int out)
{
    struct sim_result r;
    struct sim_options o = {
        .seed = seed,
        .changes = true,
        .snapshots = true,
        .breaks = b->breaks,
        .guards_off = b->guards_off,
    };
    be_silent();
    alarm(HANG_S);
    bool ok = sim_run(&o, &r);
    if (!ok)
        dprintf(out, "%s", r.failure);
    _exit(ok ? 0 : 1);
}

/* True: caught; why[] says how. */
static bool caught(const struct bug *b, uint64_t seed, char *why, size_t size)
{
    int ends[2], status = 0;
    ASSERT(pipe(ends) == 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        run_seed(b, seed, ends[1]);
    close(ends[1]);
    size_t len = 0;
    for (ssize_t n; (n = read(ends[0], why + len, size - 1 - len)) > 0;)
        len += (size_t)n;
    why[len] = 0;
    close(ends[0]);
    ASSERT(pid > 0 && waitpid(pid, &status, 0) == pid);
    if (WIFSIGNALED(status))
        snprintf(why, size, "%s",
                 WTERMSIG(status) == SIGALRM ? "the member never stops working"
                                             : "the core aborts or corrupts memory");
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

static void print_row(const struct bug *b, uint64_t limit, uint64_t seeds, const char *why)
{
    const char *text = strstr(why, " s: "); /* Behind the time. */
    text = text != NULL ? text + 4 : why;
    if (seeds > 0)
        printf("| %s | %" PRIu64 " | %" PRIu64 " | %s |\n", b->name, seeds, limit, text);
    else
        printf("| %s | its scenario: 1 run | | |\n", b->name);
}

static bool drill(const struct bug *b, uint64_t from, uint64_t limit, bool table)
{
    char why[512] = "";
    for (uint64_t i = 0; i < limit; i++) {
        if (!caught(b, from + i, why, sizeof(why)))
            continue;
        if (table)
            print_row(b, b->limit, i + 1, why);
        else
            printf("%-36s %4" PRIu64 " seeds: %s\n", b->name, i + 1, why);
        return true;
    }
    printf("%-36s not within %" PRIu64 " seeds\n", b->name, limit);
    return false;
}

int main(int argc, char **argv)
{
    uint64_t seeds = 0, from = 0;
    const char *only = NULL;
    bool table = false, all = false;
    uint32_t passed = 0, failed = 0;
    log_setup("sim", LOG_ERROR);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc)
            seeds = strtoull(argv[++i], NULL, 0);
        else if (strcmp(argv[i], "--from") == 0 && i + 1 < argc)
            from = strtoull(argv[++i], NULL, 0);
        else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
            only = argv[++i];
        else if (strcmp(argv[i], "--table") == 0)
            table = all = true;
        else if (strcmp(argv[i], "--all") == 0)
            all = true;
        else
            return 2;
    }
    for (uint32_t i = 0; i < ARRAY_SIZE(bugs); i++) {
        const struct bug *b = &bugs[i];
        uint64_t limit = seeds != 0 ? seeds : b->limit;
        if (only != NULL && strstr(b->name, only) == NULL)
            continue;
        if (limit == 0 && table)
            print_row(b, 0, 0, "");
        if (limit == 0 || (limit > LIMIT_USUAL && !all && only == NULL))
            continue;
        if (drill(b, from != 0 ? from : 1, limit, table))
            passed++;
        else
            failed++;
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
