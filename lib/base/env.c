/* env.c - the system's clock and randomness. */
#include "lib/base/env.h"

#include "lib/base/base.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>

void env_system_random(void *p, size_t n)
{
    uint8_t *at = p;
    while (n > 0) {
        ssize_t got = getrandom(at, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            PANIC("getrandom failed (errno %d)", errno);
        at += got;
        n -= (size_t)got;
    }
}

static uint64_t system_now_ms(struct env *e)
{
    UNUSED(e);
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000u + (uint64_t)ts.tv_nsec / 1000000u;
}

static int64_t system_wall_ns(struct env *e)
{
    UNUSED(e);
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void system_random(struct env *e, void *p, size_t n)
{
    UNUSED(e);
    env_system_random(p, n);
}

struct env *env_system(void)
{
    static struct env system_env = {system_now_ms, system_wall_ns, system_random};
    return &system_env;
}

uint64_t env_random_below(struct env *e, uint64_t below)
{
    ASSERT(below > 0);
    /* Values under `reject` would make the low results likelier. */
    uint64_t reject = (0 - below) % below;
    uint64_t v = 0;
    do {
        e->random(e, &v, sizeof(v));
    } while (v < reject);
    return v % below;
}

void env_uuid(struct env *e, char ret[37])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t b[16];
    e->random(e, b, sizeof(b));
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    size_t at = 0;
    for (size_t i = 0; i < sizeof(b); i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            ret[at++] = '-';
        ret[at++] = digits[b[i] >> 4];
        ret[at++] = digits[b[i] & 0x0f];
    }
    ret[at] = '\0';
}
