/* backoff.c - see backoff.h. */
#include "kubelet/backoff.h"

struct backoff_entry {
    uint64_t delay_ms;
    uint64_t updated_ms;
};

void backoff_init(struct backoff *b, uint64_t initial_ms, uint64_t max_ms)
{
    map_init(&b->entries);
    b->initial_ms = initial_ms;
    b->max_ms = max_ms;
}

void backoff_done(struct backoff *b)
{
    size_t pos = 0;
    void *entry;
    while (map_next(&b->entries, &pos, NULL, &entry))
        free(entry);
    map_done(&b->entries);
}

static bool expired(const struct backoff *b, const struct backoff_entry *e, uint64_t at_ms)
{
    return at_ms > e->updated_ms && at_ms - e->updated_ms > 2 * b->max_ms;
}

uint64_t backoff_wait_ms(struct backoff *b, struct str key, uint64_t event_ms, uint64_t now_ms)
{
    const struct backoff_entry *e = map_get(&b->entries, key);
    if (e == NULL || expired(b, e, event_ms))
        return 0;
    uint64_t until = event_ms + e->delay_ms;
    return until > now_ms ? until - now_ms : 0;
}

uint64_t backoff_delay_ms(const struct backoff *b, struct str key)
{
    const struct backoff_entry *e = map_get(&b->entries, key);
    return e != NULL ? e->delay_ms : 0;
}

void backoff_next(struct backoff *b, struct str key, uint64_t now_ms)
{
    struct backoff_entry *e = map_get(&b->entries, key);
    if (e == NULL) {
        e = xzalloc(sizeof(*e));
        map_set(&b->entries, key, e);
    }
    if (e->delay_ms == 0 || expired(b, e, now_ms))
        e->delay_ms = b->initial_ms;
    else
        e->delay_ms = MIN_OF(e->delay_ms * 2, b->max_ms);
    e->updated_ms = now_ms;
}

void backoff_reset(struct backoff *b, struct str key)
{
    free(map_remove(&b->entries, key));
}

void backoff_gc(struct backoff *b, uint64_t now_ms)
{
    size_t pos = 0;
    struct str key;
    void *entry;
    while (map_next(&b->entries, &pos, &key, &entry)) {
        if (expired(b, entry, now_ms)) {
            map_remove(&b->entries, key);
            free(entry);
        }
    }
}
