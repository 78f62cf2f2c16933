/* topology_counts.c - see topology_counts.h. */
#include "scheduler/plugins/topology_counts.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"

/* Keeps a count of zero apart from NULL, "no such domain". */
#define COUNT_BIAS ((intptr_t)1 << 40)

static void release(void *t)
{
    map_done(&((struct topology_counts *)t)->by_domain);
}

struct topology_counts *topology_counts_new(struct arena *a)
{
    struct topology_counts *t = ARENA_NEW(a, struct topology_counts);
    map_init(&t->by_domain);
    arena_hold(a, t, release);
    return t;
}

static struct str domain_of(struct buf *b, unsigned group, struct str key, struct str value)
{
    buf_append(b, &group, sizeof(group));
    buf_append_str(b, key);
    buf_putc(b, '\0');
    buf_append_str(b, value);
    return buf_str(b);
}

void topology_counts_add(struct topology_counts *t, unsigned group, struct str key,
                         struct str value, int64_t delta)
{
    AUTO_BUF b = BUF_INIT;
    struct str domain = domain_of(&b, group, key, value);
    intptr_t v = (intptr_t)map_get(&t->by_domain, domain);
    v = v != 0 ? v : COUNT_BIAS;
    map_set(&t->by_domain, domain, (void *)(v + (intptr_t)delta));
}

int64_t topology_counts_get(const struct topology_counts *t, unsigned group, struct str key,
                            struct str value)
{
    AUTO_BUF b = BUF_INIT;
    intptr_t v = (intptr_t)map_get(&t->by_domain, domain_of(&b, group, key, value));
    return v != 0 ? (int64_t)(v - COUNT_BIAS) : 0;
}

int64_t topology_counts_min(const struct topology_counts *t, unsigned group, size_t *ret_domains)
{
    size_t pos = 0;
    struct str domain;
    void *v;
    int64_t min = INT64_MAX;
    *ret_domains = 0;
    while (map_next(&t->by_domain, &pos, &domain, &v)) {
        if (memcmp(domain.data, &group, sizeof(group)) != 0)
            continue;
        min = MIN_OF(min, (int64_t)((intptr_t)v - COUNT_BIAS));
        ++*ret_domains;
    }
    return *ret_domains != 0 ? min : 0;
}

bool topology_counts_any(const struct topology_counts *t)
{
    size_t pos = 0;
    void *v;
    while (map_next(&t->by_domain, &pos, NULL, &v))
        if ((intptr_t)v > COUNT_BIAS)
            return true;
    return false;
}
