/* classes.c - see classes.h.
 *
 * A class follows the snapshot by the numbers of its changes: a pod that came or
 * went adjusts the state of plugins that look at all nodes, and has its node judged
 * again by those that look at one. It is made anew when changes were missed, when
 * nodes came or went or changed what they are, or when other objects did. */
#include "scheduler/classes.h"

#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/list.h"
#include "scheduler/class_key.h"
#include "scheduler/devices/extended.h"
#include "scheduler/plugins/plugins.h"
#include "scheduler/score_buckets.h"

#define NORMALIZED_MAX 4
#define BYTES_MAX ((size_t)64 << 20) /* Of all classes together, about. */
#define CLASSES_MIN 8
#define CLASSES_MAX 256
#define BUCKETS_MAX 20000 /* With weights beyond this, scores are scanned. */
#define LOCAL (SCOPE_BIT(SCOPE_NODE) | SCOPE_BIT(SCOPE_OUTSIDE))

/* Raw scores that count in relation to those of other nodes. */
struct normalized {
    unsigned plugin;
    int64_t *raw;   /* By node. */
    size_t nonzero; /* Fitting nodes whose raw score is not 0. */
};

struct pod_class {
    struct list link; /* Used last first. */
    struct str key;   /* Owned. */
    struct pod_info *sample;
    struct arena *arena; /* Of state, and of all arrays here. */
    struct cycle cycle;
    uint64_t alike; /* For cycle.alike. */
    bool made;
    uint64_t structure, change_count, images_rev, locality_rev;
    uint64_t selectors_rev, selector_hash, namespaces_rev;
    uint32_t *versions; /* By node: the one that was judged. */
    uint32_t *refused;  /* By node: index in cycle.refusals. */
    int32_t *fixed;     /* By fitting node: sum of scores that are not normalised. */
    int32_t fixed_max;
    struct normalized normalized[NORMALIZED_MAX];
    size_t normalized_count;
    struct score_buckets buckets; /* Of fixed; count 0: not in use. */
};

struct classes {
    struct snapshot *snapshot;
    const struct pod_facts *facts;
    struct map by_key; /* -> struct pod_class */
    struct list used;
    struct cycle single; /* Of a pod without class. */
    size_t first_node;   /* Where the next look begins that does not take in all. */
    uint64_t hash_seed[2];
};

struct classes *classes_new(struct snapshot *s, const struct pod_facts *facts)
{
    struct classes *l = xzalloc(sizeof(*l));
    l->snapshot = s;
    l->facts = facts;
    map_init(&l->by_key);
    list_init(&l->used);
    return l;
}

static void class_free(struct pod_class *k)
{
    score_buckets_done(&k->buckets);
    list_remove(&k->link);
    arena_free(k->arena);
    pod_info_free(k->sample);
    free((char *)k->key.data);
    free(k);
}

void classes_free(struct classes *l)
{
    if (l == NULL)
        return;
    LIST_FOREACH_SAFE (it, &l->used) {
        class_free(LIST_ENTRY(it, struct pod_class, link));
    }
    map_done(&l->by_key);
    free(l);
}

size_t classes_count(const struct classes *l)
{
    return l->by_key.count;
}

/* --- one node -------------------------------------------------------------------------------- */

static void forget_node(struct pod_class *k, size_t i)
{
    if (k->refused[i] != REFUSAL_NONE)
        return;
    for (size_t p = 0; p < k->normalized_count; p++)
        k->normalized[p].nonzero -= k->normalized[p].raw[i] != 0;
    if (k->buckets.count != 0)
        score_buckets_remove(&k->buckets, (uint32_t)i, (size_t)k->fixed[i]);
}

static void score_node(struct pod_class *k, const struct node_info *n, size_t i)
{
    struct cycle *c = &k->cycle;
    size_t at = 0;
    k->fixed[i] = 0;
    for (unsigned p = 0; p < scheduler_plugin_count; p++) {
        const struct plugin *plugin = scheduler_plugins[p];
        if (c->skip_score[p] || plugin->scope == SCOPE_CLUSTER)
            continue;
        c->current = p;
        int64_t score = plugin->score(c, n);
        if (plugin->normalize == NULL) {
            k->fixed[i] += (int32_t)(score * c->profile->weights[p]);
            continue;
        }
        k->normalized[at].raw[i] = score;
        k->normalized[at++].nonzero += score != 0;
    }
    if (k->buckets.count != 0)
        score_buckets_add(&k->buckets, (uint32_t)i, (size_t)k->fixed[i]);
}

static void judge_node(struct pod_class *k, size_t i)
{
    struct node_info *n = k->cycle.snapshot->nodes[i];
    struct refusal r;
    enum verdict v = cycle_filter_node(&k->cycle, n, LOCAL, &r);
    k->versions[i] = n->version;
    k->refused[i] = v == FIT ? REFUSAL_NONE : refusals_index(&k->cycle.refusals, k->arena, &r);
    if (v == FIT)
        score_node(k, n, i);
}

/* --- following the snapshot ------------------------------------------------------------------- */

static uint64_t selectors_rev(const struct pod_facts *f)
{
    return f->selectors_rev != NULL ? f->selectors_rev(f->arg) : 0;
}

static uint64_t namespaces_rev(const struct pod_facts *f)
{
    return f->namespaces_rev != NULL ? f->namespaces_rev(f->arg) : 0;
}

/* Services and controllers come and go all the time; seldom do they select our pods. */
static uint64_t selector_hash(const struct classes *l, const struct cycle *c)
{
    AUTO_BUF b = BUF_INIT;
    struct meta_v1_label_selector selector;
    if (c->facts->selector == NULL)
        return 0;
    c->facts->selector(c->facts->arg, c->arena, c->pod->pod, &selector);
    api_pb_encode(&meta_v1_label_selector_msg, &selector, &b);
    return base_siphash(l->hash_seed, b.data, b.len);
}

/* Which local plugins score, and how high they can get together. */
static void prepare_scores(struct pod_class *k)
{
    struct cycle *c = &k->cycle;
    k->normalized_count = 0;
    k->fixed_max = 0;
    for (unsigned p = 0; p < scheduler_plugin_count; p++) {
        const struct plugin *plugin = scheduler_plugins[p];
        if (c->skip_score[p] || plugin->scope == SCOPE_CLUSTER)
            continue;
        c->current = p;
        if (plugin->prescore != NULL && plugin->prescore(c) == SKIP) {
            c->skip_score[p] = true;
        } else if (plugin->normalize == NULL) {
            k->fixed_max += (int32_t)(c->profile->weights[p] * SCORE_MAX);
        } else {
            ASSERT(k->normalized_count < NORMALIZED_MAX);
            k->normalized[k->normalized_count++] = (struct normalized){
                p, ARENA_ARRAY(k->arena, int64_t, c->snapshot->node_count + 1), 0};
        }
    }
}

static void class_make(struct classes *l, struct pod_class *k)
{
    struct snapshot *s = l->snapshot;
    struct cycle *c = &k->cycle;
    struct arena *decision = c->arena;
    const struct profile *profile = c->profile;
    struct cycle_watch *watch = c->watch;
    score_buckets_done(&k->buckets);
    arena_clear(k->arena);
    *c = (struct cycle){.watch = watch,
                        .arena = decision,
                        .state_arena = k->arena,
                        .snapshot = s,
                        .pod = k->sample,
                        .facts = l->facts,
                        .profile = profile,
                        .kept = true};
    refusals_init(&c->refusals, k->arena);
    cycle_prepare(c);
    k->versions = ARENA_ARRAY(k->arena, uint32_t, s->node_count + 1);
    k->refused = ARENA_ARRAY(k->arena, uint32_t, s->node_count + 1);
    k->fixed = ARENA_ARRAY(k->arena, int32_t, s->node_count + 1);
    prepare_scores(k);
    for (size_t i = 0; i < s->node_count; i++)
        judge_node(k, i);
    k->structure = s->structure;
    k->change_count = s->change_count;
    k->images_rev = s->images_rev;
    k->locality_rev = image_locality_rev(c);
    k->selectors_rev = selectors_rev(l->facts);
    k->selector_hash = selector_hash(l, c);
    k->namespaces_rev = namespaces_rev(l->facts);
    k->made = true;
}

static bool is_stale(const struct classes *l, struct pod_class *k)
{
    const struct snapshot *s = l->snapshot;
    if (!k->made || k->structure != s->structure || k->namespaces_rev != namespaces_rev(l->facts) ||
        s->change_count - k->change_count > CHANGES_MAX)
        return true;
    uint64_t selectors = selectors_rev(l->facts);
    if (k->selectors_rev != selectors && k->selector_hash != selector_hash(l, &k->cycle))
        return true;
    k->selectors_rev = selectors;
    if (k->images_rev != s->images_rev && k->locality_rev != image_locality_rev(&k->cycle))
        return true;
    k->images_rev = s->images_rev;
    return false;
}

static void class_follow(struct classes *l, struct pod_class *k)
{
    struct snapshot *s = l->snapshot;
    if (is_stale(l, k)) {
        class_make(l, k);
        return;
    }
    while (k->change_count != s->change_count) {
        const struct change *ch = snapshot_change(s, k->change_count++);
        const struct node_info *n = s->nodes[ch->node];
        if (ch->pod != NULL)
            cycle_pod_changed(&k->cycle, n, ch->pod, ch->add);
        if (k->versions[ch->node] == n->version)
            continue;
        forget_node(k, ch->node);
        judge_node(k, ch->node);
    }
}

/* --- choosing --------------------------------------------------------------------------------- */

static bool is_plain(const struct pod_class *k, unsigned cluster_steps)
{
    for (size_t i = 0; i < k->normalized_count; i++)
        if (k->normalized[i].nonzero != 0)
            return false;
    return cluster_steps == 0 && k->cycle.enough == 0 && k->fixed_max <= BUCKETS_MAX;
}

static struct node_info *best_of_buckets(struct pod_class *k)
{
    struct cycle *c = &k->cycle;
    if (k->buckets.count == 0) {
        score_buckets_init(&k->buckets, (size_t)k->fixed_max, c->snapshot->node_count);
        for (size_t i = 0; i < c->snapshot->node_count; i++)
            if (k->refused[i] == REFUSAL_NONE)
                score_buckets_add(&k->buckets, (uint32_t)i, (size_t)k->fixed[i]);
    }
    c->node_refusals = k->refused;
    const struct score_bucket *best = score_buckets_best(&k->buckets);
    return best != NULL ? c->snapshot->nodes[best->nodes[cycle_random(c, best->count)]] : NULL;
}

/* Filters of the scope SCOPE_CLUSTER for all nodes that have passed the others. */
static void filter_in_cluster(struct pod_class *k)
{
    struct cycle *c = &k->cycle;
    size_t count = c->snapshot->node_count;
    uint32_t *refused = arena_memdup(c->arena, k->refused, (count + 1) * sizeof(*refused));
    c->fitting = arena_alloc(c->arena, (count + 1) * sizeof(struct node_info *));
    c->fit_count = 0;
    c->node_refusals = refused;
    bool filters = (c->cluster_steps & PLUGIN_FILTERS) != 0;
    for (size_t m = 0; m < count && (c->enough == 0 || c->fit_count < c->enough); m++) {
        size_t i = (c->first + m) % count;
        struct refusal r;
        c->visited = m + 1;
        if (refused[i] != REFUSAL_NONE)
            continue;
        struct node_info *n = c->snapshot->nodes[i];
        if (!filters || cycle_filter_node(c, n, SCOPE_BIT(SCOPE_CLUSTER), &r) == FIT)
            c->fitting[c->fit_count++] = n;
        else
            refused[i] = refusals_index(&c->refusals, k->arena, &r);
    }
}

static struct node_info *best_of_scan(struct pod_class *k)
{
    struct cycle *c = &k->cycle;
    score_buckets_done(&k->buckets);
    filter_in_cluster(k);
    if (c->fit_count == 0)
        return NULL;
    int64_t *totals = arena_alloc(c->arena, c->fit_count * sizeof(*totals));
    int64_t *raw = arena_alloc(c->arena, c->fit_count * sizeof(*raw));
    for (size_t i = 0; i < c->fit_count; i++)
        totals[i] = k->fixed[c->fitting[i]->index];
    for (size_t p = 0; p < k->normalized_count; p++) {
        const struct normalized *norm = &k->normalized[p];
        const struct plugin *plugin = scheduler_plugins[norm->plugin];
        if (norm->nonzero == 0)
            continue; /* The same for all. */
        for (size_t i = 0; i < c->fit_count; i++)
            raw[i] = norm->raw[c->fitting[i]->index];
        plugin->normalize(c, raw, c->fit_count);
        for (size_t i = 0; i < c->fit_count; i++)
            totals[i] += raw[i] * c->profile->weights[norm->plugin];
    }
    cycle_score(c, SCOPE_BIT(SCOPE_CLUSTER), totals);
    return c->fitting[cycle_best(c, totals, c->fit_count)];
}

static void count_refusals(struct cycle *c)
{
    refusals_clear_counts(&c->refusals);
    for (size_t i = 0; i < c->snapshot->node_count; i++)
        c->refusals.nodes[c->node_refusals[i]]++;
    cycle_collect_wakes(c);
}

/* Preemption made room: taken without a look at the others. */
static struct node_info *nominated(struct cycle *c, const struct class_question *q)
{
    struct node_info *n =
        str_empty(q->nominated_node) ? NULL : snapshot_node(c->snapshot, q->nominated_node);
    struct refusal r;
    return n != NULL && cycle_filter_node(c, n, SCOPES_ALL, &r) == FIT ? n : NULL;
}

/* The next look begins behind the nodes that this one has seen. */
static void look_on(struct classes *l, const struct cycle *c)
{
    if (c->enough != 0 && l->snapshot->node_count != 0)
        l->first_node = (c->first + c->visited) % l->snapshot->node_count;
}

/* From *from_ns until now, which becomes the next beginning. */
static void tell_point(const struct cycle *c, const char *point, bool fits, uint64_t *from_ns)
{
    if (c->watch == NULL)
        return;
    uint64_t now = c->watch->now_ns();
    c->watch->point(c, point, fits, now - *from_ns);
    *from_ns = now;
}

static struct node_info *decide_in_class(struct classes *l, struct pod_class *k,
                                         const struct class_question *q)
{
    struct cycle *c = &k->cycle;
    c->watch = q->watch;
    c->arena = q->arena;
    c->profile = q->profile != NULL ? q->profile : profile_default();
    c->pod = k->sample;
    c->self = STR_NULL;
    uint64_t from_ns = c->watch != NULL ? c->watch->now_ns() : 0;
    class_follow(l, k);
    tell_point(c, "Filter", true, &from_ns);
    c->pod = q->pod;
    c->self = q->pod->pod->metadata.uid;
    c->seed = q->seed;
    c->alike = k->alike;
    c->enough = profile_enough(c->profile, l->snapshot->node_count);
    c->first = l->first_node;
    ASSERT_CMP(c->pod_refusal.verdict, ==, FIT); /* Only claims refuse a pod as a whole. */
    c->cluster_steps = cycle_begin(c);
    struct node_info *n = nominated(c, q);
    if (n == NULL)
        n = is_plain(k, c->cluster_steps) ? best_of_buckets(k) : best_of_scan(k);
    tell_point(c, "Score", n != NULL, &from_ns);
    look_on(l, c);
    if (n == NULL)
        count_refusals(c);
    c->watch = NULL; /* What comes behind, preemption, is timed as a whole. */
    return n;
}

static struct node_info *decide_alone(struct classes *l, const struct class_question *q)
{
    struct cycle *c = &l->single;
    *c = (struct cycle){.watch = q->watch,
                        .arena = q->arena,
                        .snapshot = l->snapshot,
                        .pod = q->pod,
                        .facts = l->facts,
                        .profile = q->profile != NULL ? q->profile : profile_default(),
                        .first = l->first_node,
                        .seed = q->seed};
    c->enough = profile_enough(c->profile, l->snapshot->node_count);
    uint64_t from_ns = c->watch != NULL ? c->watch->now_ns() : 0;
    cycle_filter(c);
    tell_point(c, "Filter", c->fit_count != 0, &from_ns);
    look_on(l, c);
    struct node_info *n = c->pod_refusal.verdict == FIT ? nominated(c, q) : NULL;
    if (n == NULL)
        n = cycle_select(c);
    if (n != NULL)
        tell_point(c, "Score", true, &from_ns);
    c->watch = NULL;
    return n;
}

/* --- the table of classes ----------------------------------------------------------------------
 */

static size_t classes_max(const struct classes *l)
{
    size_t each = 16 * 1024 + l->snapshot->node_count * 48;
    return MAX_OF((size_t)CLASSES_MIN, MIN_OF(BYTES_MAX / each, (size_t)CLASSES_MAX));
}

/* FNV-1a; never 0. Classes that share one would only be tried in vain, or late. */
static uint64_t hash_of(struct str key)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < key.len; i++)
        h = (h ^ (uint8_t)key.data[i]) * 0x100000001b3u;
    return h | 1;
}

static struct pod_class *class_of(struct classes *l, struct str key, const struct pod_info *pod)
{
    struct pod_class *k = map_get(&l->by_key, key);
    if (k != NULL) {
        list_remove(&k->link);
        list_push_front(&l->used, &k->link);
        return k;
    }
    while (l->by_key.count >= classes_max(l)) {
        struct pod_class *oldest = LIST_ENTRY(l->used.prev, struct pod_class, link);
        map_remove(&l->by_key, oldest->key);
        class_free(oldest);
    }
    k = xzalloc(sizeof(*k));
    char *copy = xmalloc(key.len);
    memcpy(copy, key.data, key.len);
    k->key = str_n(copy, key.len);
    k->alike = hash_of(key);
    k->sample = pod_info_new(pod->object);
    k->arena = arena_new(0);
    list_push_front(&l->used, &k->link);
    map_set(&l->by_key, key, k);
    return k;
}

struct node_info *classes_decide(struct classes *l, const struct class_question *q,
                                 struct cycle **ret)
{
    AUTO_BUF key = BUF_INIT;
    buf_append(&key, &q->profile, sizeof(q->profile));
    /* Devices are given to one pod at a time. */
    if (extended_by_class(l->facts->devices, &q->pod->needs->requests) != 0 ||
        !class_key(q->pod, &key)) {
        *ret = &l->single;
        return decide_alone(l, q);
    }
    struct pod_class *k = class_of(l, buf_str(&key), q->pod);
    *ret = &k->cycle;
    return decide_in_class(l, k, q);
}
