/* sim_replay.c - a seed replays exactly: run here, run here again, and run in a
 * process with other addresses, it has the same events and messages. */
#include "sim.h"

#include "lib/base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SEEDS 12

static uint64_t trace_of(uint64_t seed)
{
    struct sim_options o = {.seed = seed, .changes = true, .snapshots = true};
    struct sim_result r;
    if (!sim_run(&o, &r))
        printf("seed %" PRIu64 ": %s\n", seed, r.failure);
    return mix64(r.trace, r.events);
}

/* The same program again, started anew. */
static uint64_t trace_elsewhere(const char *self, uint64_t seed)
{
    char line[64] = "";
    AUTO_FREE char *command = xasprintf("'%s' --trace %" PRIu64, self, seed);
    FILE *f = popen(command, "r");
    ASSERT(f != NULL);
    const char *got = fgets(line, sizeof(line), f);
    pclose(f);
    return got != NULL ? strtoull(got, NULL, 16) : 0;
}

int main(int argc, char **argv)
{
    uint32_t passed = 0, failed = 0;
    log_setup("sim", LOG_ERROR);
    if (argc == 3 && strcmp(argv[1], "--trace") == 0) {
        printf("%016" PRIx64 "\n", trace_of(strtoull(argv[2], NULL, 0)));
        return 0;
    }
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        uint64_t first = trace_of(seed), again = trace_of(seed);
        uint64_t elsewhere = trace_elsewhere(argv[0], seed);
        if (first == again && first == elsewhere) {
            passed++;
            continue;
        }
        printf("seed %" PRIu64 ": %016" PRIx64 ", then %016" PRIx64
               ", in another process %016" PRIx64 "\n",
               seed, first, again, elsewhere);
        failed++;
    }
    printf("%u passed, %u failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
