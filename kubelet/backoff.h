/* backoff.h - delays that double, per key: crash loops and image pulls.
 *
 * Pure: the caller brings the time. An entry that stays unused for twice the
 * longest delay is forgotten, so that a container that ran well for a while
 * starts again from the shortest one (upstream: 10 s doubling to 5 min, reset
 * after 10 min). */
#ifndef KUBELET_BACKOFF_H
#define KUBELET_BACKOFF_H

#include "lib/base/map.h"

struct backoff {
    struct map entries; /* key -> struct backoff_entry */
    uint64_t initial_ms;
    uint64_t max_ms;
};

void backoff_init(struct backoff *b, uint64_t initial_ms, uint64_t max_ms);
void backoff_done(struct backoff *b);

/* Milliseconds that still have to pass before another try, when the last one
 * ended at event_ms; 0: go ahead. */
uint64_t backoff_wait_ms(struct backoff *b, struct str key, uint64_t event_ms, uint64_t now_ms);
/* The current delay of key, 0 when it has none. */
uint64_t backoff_delay_ms(const struct backoff *b, struct str key);
/* Counts one more try: the first gives the initial delay, each later one doubles it. */
void backoff_next(struct backoff *b, struct str key, uint64_t now_ms);
void backoff_reset(struct backoff *b, struct str key);
/* Drops what was not used for twice max_ms. */
void backoff_gc(struct backoff *b, uint64_t now_ms);

#endif
