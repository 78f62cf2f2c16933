/* random.h - a small generator for tests (xorshift64*): same seed, same run. */
#ifndef TEST_RAFTSTORE_RANDOM_H
#define TEST_RAFTSTORE_RANDOM_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct random {
    uint64_t state;
};

static inline struct random random_seeded(uint64_t seed)
{
    return (struct random){seed * 0x9e3779b97f4a7c15u + 0x2545f4914f6cdd1du};
}

static inline uint64_t random_u64(struct random *r)
{
    r->state ^= r->state >> 12;
    r->state ^= r->state << 25;
    r->state ^= r->state >> 27;
    return r->state * 0x2545f4914f6cdd1du;
}

/* In [0, below); 0 for 0. */
static inline uint32_t random_below(struct random *r, uint32_t below)
{
    return below == 0 ? 0 : (uint32_t)((random_u64(r) >> 32) % below);
}

/* TEST_SEED of the environment, else 1. Printed once, so that a failure tells
 * what to repeat. */
static inline uint64_t test_seed(void)
{
    static uint64_t seed;
    if (seed == 0) {
        const char *env = getenv("TEST_SEED");
        seed = env != NULL ? strtoull(env, NULL, 10) : 1;
        printf("TEST_SEED=%llu\n", (unsigned long long)seed);
        fflush(stdout);
    }
    return seed;
}

#endif
