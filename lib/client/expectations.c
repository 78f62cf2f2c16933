/* expectations.c - see expectations.h. Pure but for the injected clock. */
#include "lib/client/expectations.h"

#include "lib/base/env.h"
#include "lib/base/map.h"

struct expectation {
    unsigned creations;
    struct map deletions; /* uid -> non-NULL */
    uint64_t until_ms;
};

struct expectations {
    struct env *env;
    struct map by_key; /* -> struct expectation */
};

struct expectations *expectations_new(struct env *env)
{
    struct expectations *e = xzalloc(sizeof(*e));
    e->env = env != NULL ? env : env_system();
    map_init(&e->by_key);
    return e;
}

static void expectation_free(struct expectation *x)
{
    if (x == NULL)
        return;
    map_done(&x->deletions);
    free(x);
}

void expectations_free(struct expectations *e)
{
    if (e == NULL)
        return;
    size_t pos = 0;
    void *x;
    while (map_next(&e->by_key, &pos, NULL, &x))
        expectation_free(x);
    map_done(&e->by_key);
    free(e);
}

/* Expecting something new starts the time anew. */
static struct expectation *renew(struct expectations *e, struct str key)
{
    struct expectation *x = map_get(&e->by_key, key);
    if (x == NULL) {
        x = xzalloc(sizeof(*x));
        map_init(&x->deletions);
        map_set(&e->by_key, key, x);
    }
    x->until_ms = env_now_ms(e->env) + EXPECTATIONS_TTL_MS;
    return x;
}

void expectations_expect_creations(struct expectations *e, struct str key, unsigned count)
{
    if (count != 0)
        renew(e, key)->creations += count;
}

void expectations_expect_deletion(struct expectations *e, struct str key, struct str uid)
{
    struct expectation *x = renew(e, key);
    map_set(&x->deletions, uid, x);
}

void expectations_creation_observed(struct expectations *e, struct str key)
{
    struct expectation *x = map_get(&e->by_key, key);
    if (x != NULL && x->creations != 0)
        x->creations--;
}

void expectations_deletion_observed(struct expectations *e, struct str key, struct str uid)
{
    struct expectation *x = map_get(&e->by_key, key);
    if (x != NULL)
        map_remove(&x->deletions, uid);
}

void expectations_doubt(struct expectations *e, struct str key)
{
    struct expectation *x = map_get(&e->by_key, key);
    if (x != NULL)
        x->until_ms = MIN_OF(x->until_ms, env_now_ms(e->env) + EXPECTATIONS_DOUBT_MS);
}

bool expectations_satisfied(struct expectations *e, struct str key)
{
    const struct expectation *x = map_get(&e->by_key, key);
    if (x == NULL || (x->creations == 0 && x->deletions.count == 0))
        return true;
    if (env_now_ms(e->env) <= x->until_ms)
        return false;
    expectations_forget(e, key);
    return true;
}

uint64_t expectations_left_ms(const struct expectations *e, struct str key)
{
    const struct expectation *x = map_get(&e->by_key, key);
    uint64_t now_ms = env_now_ms(e->env);
    if (x == NULL || (x->creations == 0 && x->deletions.count == 0) || now_ms > x->until_ms)
        return 0;
    return x->until_ms - now_ms + 1;
}

void expectations_forget(struct expectations *e, struct str key)
{
    expectation_free(map_remove(&e->by_key, key));
}
