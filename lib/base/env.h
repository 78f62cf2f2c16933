/* env.h - time and randomness, injected so that a test can own them.
 *
 * Code under test/sim takes a struct env; programs pass env_system(). */
#ifndef BASE_ENV_H
#define BASE_ENV_H

#include <stddef.h>
#include <stdint.h>

struct env {
    /* Milliseconds that never go backwards, from an arbitrary start. */
    uint64_t (*now_ms)(struct env *e);
    /* Nanoseconds since the Unix epoch; may jump. */
    int64_t (*wall_ns)(struct env *e);
    void (*random)(struct env *e, void *p, size_t n);
};

struct env *env_system(void); /* Thread-safe, never freed. */

static inline uint64_t env_now_ms(struct env *e)
{
    return e->now_ms(e);
}
static inline int64_t env_wall_ns(struct env *e)
{
    return e->wall_ns(e);
}
/* Uniform in [0, below); below > 0. */
uint64_t env_random_below(struct env *e, uint64_t below);

/* Bytes fit for keys and tokens, from getrandom(2). Aborts if it fails. */
void env_system_random(void *p, size_t n);

/* A random (version 4) UUID in its 36-character form, with NUL. */
void env_uuid(struct env *e, char ret[37]);

#endif
