/* sim_replica.c - runs clusters from seeds until one breaks a promise.
 *
 *   sim_replica [--seed N] [--seeds N] [--from N] [--members N] [--guards-off MASK]
 *               [--no-changes] [--no-snapshots] [--verbose]
 *
 * --seed replays one run exactly, with its log; --seeds is how many to run. */
#include "sim.h"

#include "lib/base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SEEDS_DEFAULT 300

static uint64_t number(int argc, char **argv, int *i)
{
    if (*i + 1 >= argc) {
        fprintf(stderr, "%s needs a number\n", argv[*i]);
        exit(2);
    }
    return strtoull(argv[++*i], NULL, 0);
}

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

int main(int argc, char **argv)
{
    struct sim_options o = {.changes = true, .snapshots = true};
    struct sim_result sum = {0};
    uint64_t from = 1, seeds = SEEDS_DEFAULT, failed = 0;
    log_setup("sim", LOG_ERROR);
    setvbuf(stdout, NULL, _IOLBF, 0); /* An assertion must not eat the log. */
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0) {
            from = number(argc, argv, &i);
            seeds = 1;
            o.verbose = true;
        } else if (strcmp(argv[i], "--seeds") == 0) {
            seeds = number(argc, argv, &i);
        } else if (strcmp(argv[i], "--from") == 0) {
            from = number(argc, argv, &i);
        } else if (strcmp(argv[i], "--members") == 0) {
            o.members = (uint32_t)number(argc, argv, &i);
        } else if (strcmp(argv[i], "--guards-off") == 0) {
            o.guards_off = (uint32_t)number(argc, argv, &i);
        } else if (strcmp(argv[i], "--no-changes") == 0) {
            o.changes = false;
        } else if (strcmp(argv[i], "--no-snapshots") == 0) {
            o.snapshots = false;
        } else if (strcmp(argv[i], "--verbose") == 0) {
            o.verbose = true;
        } else {
            fprintf(stderr, "unknown option %s\n", argv[i]);
            return 2;
        }
    }
    for (uint64_t seed = from; seed < from + seeds; seed++) {
        struct sim_result r;
        o.seed = seed;
        if (!sim_run(&o, &r)) {
            printf("seed %" PRIu64 ": %s\n", seed, r.failure);
            fflush(stdout);
            failed++;
        }
        add(&sum, &r);
    }
    print_sum(&sum);
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", seeds - failed, failed);
    return failed == 0 ? 0 : 1;
}
