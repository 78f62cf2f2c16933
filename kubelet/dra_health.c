/* dra_health.c - see dra_health.h. */
#include "kubelet/dra_health.h"

#include "lib/base/base.h"
#include "lib/base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct health {
    char *driver, *message;
    enum dra_health_state state;
    uint64_t until_ms, timeout_ms;
};

static void health_free(struct health *x)
{
    if (x == NULL)
        return;
    free(x->driver);
    free(x->message);
    free(x);
}

void dra_health_init(struct dra_health *h)
{
    map_init(&h->devices);
}

void dra_health_done(struct dra_health *h)
{
    size_t pos = 0;
    void *v;
    while (map_next(&h->devices, &pos, NULL, &v))
        health_free(v);
    map_done(&h->devices);
}

static char *key_of(const char *driver, const char *pool, const char *device)
{
    return xasprintf("%s/%s/%s", driver, pool, device);
}

/* At most as long as the API takes it; not in the middle of a character. */
static char *message_of(const char *text)
{
    size_t n = strlen(text);
    if (n <= DRA_HEALTH_MESSAGE_MAX)
        return xstrdup(text);
    n = DRA_HEALTH_MESSAGE_MAX - 3;
    while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
        n--;
    return xasprintf("%.*s...", (int)n, text);
}

bool dra_health_set(struct dra_health *h, const struct dra_health_said *said, uint64_t now_ms)
{
    AUTO_FREE char *key = key_of(said->driver, said->pool, said->device);
    struct health *x = map_get(&h->devices, str_of(key));
    const bool is_new = x == NULL;
    if (is_new) {
        x = xzalloc(sizeof(*x));
        x->driver = xstrdup(said->driver);
        map_set(&h->devices, str_of(key), x);
    }
    const struct health old = *x;
    const bool lapsed = old.until_ms <= now_ms;
    x->message = message_of(said->message);
    x->state = said->state;
    /* A driver's year is longer than what counts: no overflow. */
    x->timeout_ms = said->timeout_s > 0
                        ? (uint64_t)MIN_OF(said->timeout_s, (int64_t)365 * 86400) * 1000
                        : DRA_HEALTH_TIMEOUT_MS;
    x->until_ms = now_ms + x->timeout_ms;
    bool changed = is_new || lapsed || old.state != x->state || old.timeout_ms != x->timeout_ms ||
                   strcmp(old.message, x->message) != 0;
    free(old.message);
    return changed;
}

enum dra_health_state dra_health_get(const struct dra_health *h, const char *driver,
                                     const char *pool, const char *device, uint64_t now_ms,
                                     const char **message)
{
    AUTO_FREE char *key = key_of(driver, pool, device);
    const struct health *x = map_get(&h->devices, str_of(key));
    const bool known = x != NULL && now_ms < x->until_ms;
    if (message != NULL)
        *message = known ? x->message : "";
    return known ? x->state : DRA_HEALTH_UNKNOWN;
}

void dra_health_forget(struct dra_health *h, const char *driver)
{
    struct str key;
    void *v;
    for (size_t pos = 0; map_next(&h->devices, &pos, &key, &v);) {
        struct health *x = v;
        if (strcmp(x->driver, driver) != 0)
            continue;
        map_remove(&h->devices, key);
        health_free(x);
        pos = 0;
    }
}

uint64_t dra_health_next_ms(const struct dra_health *h, uint64_t now_ms)
{
    uint64_t next = 0;
    size_t pos = 0;
    void *v;
    while (map_next(&h->devices, &pos, NULL, &v)) {
        const struct health *x = v;
        if (x->until_ms > now_ms && (next == 0 || x->until_ms < next))
            next = x->until_ms;
    }
    return next;
}
