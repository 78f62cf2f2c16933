/* estimates.c - see estimates.h. */
#include "scheduler/estimates.h"

#include "api/core_v1.h"
#include "api/metrics_v1beta1.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"

#include <math.h>
#include <stdio.h>

#define KEY_MAX 1024
#define NOTABLE_PART 100 /* A node's slack counts as changed when it moves by a hundredth. */

void usages_init(struct usages *u)
{
    u->arena = arena_new(0);
    map_init(&u->by_pod);
}

void usages_done(struct usages *u)
{
    map_done(&u->by_pod);
    arena_free(u->arena);
}

static struct str key_of(char *buffer, struct str ns, struct str name)
{
    int n = snprintf(buffer, KEY_MAX, STR_FMT "/" STR_FMT, STR_ARG(ns), STR_ARG(name));
    return str_n(buffer, (size_t)MIN_OF(n, KEY_MAX - 1));
}

void usages_add(struct usages *u, struct str ns, struct str name, const struct amounts *used)
{
    char buffer[KEY_MAX];
    (void)map_set(&u->by_pod, key_of(buffer, ns, name),
                  arena_memdup(u->arena, used, sizeof(*used)));
}

void usages_add_metrics(struct usages *u, const struct metrics_v1beta1_pod_metrics *m)
{
    struct amounts sum = {0};
    for (size_t i = 0; i < m->containers_count; i++) {
        struct resources r = {0};
        resources_from_list(&r, m->containers[i].usage, m->containers[i].usage_count);
        sum.milli_cpu += r.milli_cpu;
        sum.memory += r.memory;
        resources_done(&r);
    }
    usages_add(u, m->metadata.namespace, m->metadata.name, &sum);
}

/* --- one pod ------------------------------------------------------------------------------------
 */

/* Others may live on what it does not use. */
static bool lends(const struct pod_info *p)
{
    return !p->needs->reclaims && pod_priority(p->pod) >= 0;
}

static int64_t need_of(const struct estimate_rules *rules, int64_t used, int64_t reserved)
{
    int64_t with_margin;
    if (__builtin_mul_overflow(used, 100 + rules->margin_percent, &with_margin))
        return used;
    with_margin /= 100;
    return used > reserved ? used : MIN_OF(with_margin, reserved);
}

static int64_t approach(int64_t from, int64_t to, double left)
{
    return from <= to ? to : to + (int64_t)((double)(from - to) * left);
}

/* How much of what is kept beyond the need stays. */
static double left_after(const struct estimate_rules *rules, const struct estimate *e,
                         uint64_t now_ms)
{
    if (now_ms - e->since_ms < rules->warm_up_ms)
        return 1;
    if (rules->half_life_ms == 0)
        return 0;
    return exp2(-(double)(now_ms - e->sampled_ms) / (double)rules->half_life_ms);
}

/* used NULL: there is no sample. */
static void sample(struct pod_info *p, const struct amounts *used,
                   const struct estimate_rules *rules, uint64_t now_ms)
{
    struct estimate *e = p->estimate;
    struct amounts reserved = {p->needs->requests.milli_cpu, p->needs->requests.memory};
    if (e == NULL && used == NULL)
        return;
    if (e == NULL)
        e = p->estimate = xzalloc(sizeof(*e));
    if (used == NULL) {
        if (e->known && now_ms - e->sampled_ms < ESTIMATE_STALE_MS)
            return;
        e->fits = reserved;
        e->fresh = false; /* Warms up anew. */
        return;
    }
    e->need = (struct amounts){need_of(rules, used->milli_cpu, reserved.milli_cpu),
                               need_of(rules, used->memory, reserved.memory)};
    if (!e->fresh) {
        e->since_ms = e->sampled_ms = now_ms;
        e->fits = reserved;
    }
    double left = left_after(rules, e, now_ms);
    e->fits.milli_cpu = approach(e->fits.milli_cpu, e->need.milli_cpu, left);
    e->fits.memory = approach(e->fits.memory, e->need.memory, left);
    e->sampled_ms = now_ms;
    e->known = e->fresh = true;
}

/* --- nodes --------------------------------------------------------------------------------------
 */

static bool is_notable(int64_t old, int64_t new, int64_t whole)
{
    int64_t moved = old > new ? old - new : new - old;
    return moved != 0 && moved >= whole / NOTABLE_PART;
}

/* What it reserves and is not kept for it. */
static struct amounts spared_by(const struct pod_info *p)
{
    const struct estimate *e = p->estimate;
    const struct resources *r = &p->needs->requests;
    if (e == NULL)
        return (struct amounts){0};
    return (struct amounts){r->milli_cpu - e->fits.milli_cpu, r->memory - e->fits.memory};
}

/* True: there is more to reclaim. */
static bool update_node(struct snapshot *s, struct node_info *n, const struct usages *u,
                        const struct estimate_rules *rules, uint64_t now_ms)
{
    char buffer[KEY_MAX];
    struct amounts slack = {0}, old = n->slack;
    for (size_t i = 0; i < n->pod_count; i++) {
        struct pod_info *p = n->pods[i];
        if (!lends(p))
            continue;
        struct str key = key_of(buffer, p->pod->metadata.namespace, pod_info_name(p));
        sample(p, map_get(&u->by_pod, key), rules, now_ms);
        struct amounts own = spared_by(p);
        slack.milli_cpu += own.milli_cpu;
        slack.memory += own.memory;
    }
    if (!is_notable(old.milli_cpu, slack.milli_cpu, n->allocatable.milli_cpu) &&
        !is_notable(old.memory, slack.memory, n->allocatable.memory))
        return false;
    for (size_t i = 0; i < n->pod_count; i++) {
        struct pod_info *p = n->pods[i];
        if (lends(p) && p->estimate != NULL)
            p->estimate->slack = spared_by(p);
    }
    snapshot_set_slack(s, n, &slack);
    return slack.milli_cpu > old.milli_cpu || slack.memory > old.memory;
}

bool estimates_update(struct snapshot *s, const struct usages *u,
                      const struct estimate_rules *rules, uint64_t now_ms)
{
    bool more = false;
    for (size_t i = 0; i < s->node_count; i++)
        more |= update_node(s, s->nodes[i], u, rules, now_ms);
    return more;
}

/* --- who must go --------------------------------------------------------------------------------
 */

static int least_important_first(const void *x, const void *y)
{
    const struct pod_info *a = *(struct pod_info *const *)x, *b = *(struct pod_info *const *)y;
    int32_t pa = pod_priority(a->pod), pb = pod_priority(b->pod);
    if (pa != pb)
        return pa < pb ? -1 : 1;
    int64_t sa = pod_info_start_ns(a), sb = pod_info_start_ns(b);
    return sa > sb ? -1 : sa < sb;
}

static void leave_out(struct amounts *a, const struct pod_info *p)
{
    a->milli_cpu -= p->needs->requests.milli_cpu;
    a->memory -= p->needs->requests.memory;
}

/* What all its pods need now; reclaimers: those that stay, if nobody goes. False: it told nothing
 * of late. */
static bool sum_needs(const struct node_info *n, uint64_t now_ms, struct amounts *ret,
                      struct pod_info **reclaimers, size_t *ret_count)
{
    bool told = false;
    *ret = (struct amounts){0};
    *ret_count = 0;
    for (size_t i = 0; i < n->pod_count; i++) {
        struct pod_info *p = n->pods[i];
        const struct estimate *e = p->estimate;
        bool known = e != NULL && e->known;
        bool going = p->needs->reclaims && p->pod->metadata.deletion_timestamp != NULL;
        told |= known && now_ms - e->sampled_ms < ESTIMATE_STALE_MS;
        if (going)
            continue;
        if (p->needs->reclaims)
            reclaimers[(*ret_count)++] = p;
        ret->milli_cpu += known ? e->need.milli_cpu : p->needs->requests.milli_cpu;
        ret->memory += known ? e->need.memory : p->needs->requests.memory;
    }
    return told;
}

size_t estimates_to_evict(struct arena *a, const struct snapshot *s, uint64_t now_ms,
                          struct reclaimed **ret)
{
    size_t count = 0, cap = 0;
    *ret = NULL;
    for (size_t i = 0; i < s->node_count; i++) {
        struct node_info *n = s->nodes[i];
        struct amounts need;
        size_t reclaimers;
        if (n->reclaiming.milli_cpu == 0 && n->reclaiming.memory == 0)
            continue;
        struct pod_info **list = ARENA_ARRAY(a, struct pod_info *, n->pod_count);
        if (!sum_needs(n, now_ms, &need, list, &reclaimers))
            continue;
        if (reclaimers > 1)
            qsort(list, reclaimers, sizeof(*list), least_important_first);
        for (size_t k = 0; k < reclaimers && (need.milli_cpu > n->allocatable.milli_cpu ||
                                              need.memory > n->allocatable.memory);
             k++) {
            *ret = arena_grow(a, *ret, count, &cap, sizeof(**ret));
            (*ret)[count++] = (struct reclaimed){pod_info_object(list[k], a), n};
            leave_out(&need, list[k]);
        }
    }
    return count;
}
