/* test_tree.c - the tree against a naive model, views held while it changes,
 * and readers on other threads. TEST_SEED=n repeats a run. */
#include "lib/base/error.h"
#include "raftstore/tree.h"
#include "test/unit/raftstore/random.h"
#include "test/unit/unit.h"

#include <pthread.h>
#include <stdatomic.h>

/* --- the model: every version of every key, never trimmed --- */

#define KEYS_MAX 4000

struct version {
    int64_t rev;
    int64_t version; /* 0: deleted. */
};

struct model_key {
    char name[64];
    struct version *versions;
    size_t count, cap;
};

struct model {
    struct model_key keys[KEYS_MAX]; /* In key order. */
    size_t key_count;
    int64_t rev;
};

static struct version *model_at(struct model_key *k, int64_t rev)
{
    for (size_t i = k->count; i-- > 0;) {
        if (k->versions[i].rev <= rev)
            return &k->versions[i];
    }
    return NULL;
}

static bool model_live(struct model_key *k, int64_t rev)
{
    struct version *v = model_at(k, rev);
    return v != NULL && v->version != 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct model_key *)a)->name, ((const struct model_key *)b)->name);
}

static struct model *model_new(struct random *r, size_t keys)
{
    static const char *const kinds[] = {"pods/default", "pods/kube-system", "configmaps/x", "a",
                                        "events/some-rather-long-namespace-name"};
    struct model *m = xzalloc(sizeof(*m));
    m->key_count = keys;
    m->rev = 1;
    for (size_t i = 0; i < keys; i++)
        snprintf(m->keys[i].name, sizeof(m->keys[i].name), "/registry/%s/%zu",
                 kinds[random_below(r, ARRAY_SIZE(kinds))], i);
    qsort(m->keys, keys, sizeof(m->keys[0]), by_name);
    return m;
}

static void model_free(struct model *m)
{
    for (size_t i = 0; i < m->key_count; i++)
        free(m->keys[i].versions);
    free(m);
}

/* --- one step of both --- */

struct held {
    struct tree_view *view;
    int64_t compacted;
};

struct run {
    struct random r;
    struct tree *tree;
    struct model *model;
    struct held held[8];
    struct tree_trim trim;
    bool trimming;
    int64_t compacted;
};

static void write_key(struct run *run, struct model_key *k, bool delete)
{
    struct model *m = run->model;
    struct version *last = k->count > 0 ? &k->versions[k->count - 1] : NULL;
    if (delete &&(last == NULL || last->version == 0))
        return;
    char value[32];
    int n = snprintf(value, sizeof(value), "%lld", (long long)m->rev);
    struct kv_numbers numbers = {.mod_rev = m->rev,
                                 .version = delete         ? 0
                                            : last != NULL ? last->version + 1
                                                           : 1};
    struct kv *kv = kv_new(tree_heap(run->tree), str_of(k->name),
                           delete ? STR("") : str_n(value, (size_t)n), &numbers);
    if (k->count == k->cap) {
        k->cap = k->cap > 0 ? k->cap * 2 : 4;
        k->versions = xrealloc(k->versions, k->cap * sizeof(k->versions[0]));
    }
    k->versions[k->count++] = (struct version){m->rev, kv_version(kv)};
    tree_put(run->tree, kv);
}

/* A handful of keys in one revision, as a transaction writes them. */
static void write_some(struct run *run)
{
    struct model *m = run->model;
    m->rev++;
    size_t n = 1 + random_below(&run->r, 4), at = random_below(&run->r, (uint32_t)m->key_count);
    bool delete = random_below(&run->r, 3) == 0;
    if (random_below(&run->r, 10) == 0)
        at = 0; /* A key that gets many versions. */
    for (size_t i = 0; i < n && at + i < m->key_count; i++)
        write_key(run, &m->keys[at + i], delete);
    if (tree_working(run->tree).rev < m->rev)
        m->rev--; /* Deleted what was not there. */
}

static void check_root(struct run *run, struct tree_root root, int64_t compacted)
{
    struct model *m = run->model;
    if (root.rev < 2)
        return;
    int64_t low = MAX_OF(compacted, 1);
    int64_t rev = random_below(&run->r, 3) == 0
                      ? root.rev
                      : low + (int64_t)random_below(&run->r, (uint32_t)(root.rev - low + 1));
    size_t from = random_below(&run->r, (uint32_t)m->key_count);
    size_t to = from + random_below(&run->r, (uint32_t)(m->key_count - from));
    bool open = random_below(&run->r, 4) == 0;
    if (open)
        to = m->key_count;
    struct str start = str_of(m->keys[from].name);
    struct str end = open ? str_n("\0", 1) : str_of(m->keys[to].name);
    struct tree_iter it;
    tree_iter_init(&it, root, start, end, rev);
    int64_t count = 0;
    for (size_t i = from; i < to; i++) {
        if (!model_live(&m->keys[i], rev))
            continue;
        const struct kv *kv = tree_iter_next(&it);
        ck_assert_ptr_nonnull(kv);
        ck_assert_str_eq(kv_key(kv).data, m->keys[i].name);
        ck_assert_int_eq(kv->mod_rev, model_at(&m->keys[i], rev)->rev);
        ck_assert_int_eq(kv_version(kv), model_at(&m->keys[i], rev)->version);
        count++;
    }
    ck_assert_ptr_null(tree_iter_next(&it));
    ck_assert_ptr_null(tree_iter_next(&it));
    ck_assert_int_eq(tree_count(root, start, end, rev), count);
    const struct kv *one = tree_get(root, start, rev);
    ck_assert_int_eq(one != NULL, model_live(&m->keys[from], rev));
    ck_assert_int_eq(tree_count(root, start, STR_NULL, rev), one != NULL);
    tree_iter_init(&it, root, start, STR_NULL, rev);
    ck_assert_ptr_eq(tree_iter_next(&it), one);
    ck_assert_ptr_null(tree_iter_next(&it));
}

/* Of the keys in a range just those with changes come, in order. */
static void check_range_versions(struct run *run, struct tree_root root, int64_t after)
{
    struct model *m = run->model;
    size_t from = random_below(&run->r, (uint32_t)m->key_count);
    size_t to = from + random_below(&run->r, (uint32_t)(m->key_count - from));
    struct tree_iter it;
    struct kv_list list = {0};
    const struct kv *before;
    tree_iter_range_versions(&it, root, str_of(m->keys[from].name), str_of(m->keys[to].name),
                             after);
    for (size_t i = from; i < to; i++) {
        struct version *newest = model_at(&m->keys[i], root.rev);
        if (newest == NULL || newest->rev <= after)
            continue;
        list.count = 0;
        ck_assert(tree_iter_next_versions(&it, &list, &before));
        ck_assert_str_eq(kv_key(list.items[0]).data, m->keys[i].name);
    }
    list.count = 0;
    ck_assert(!tree_iter_next_versions(&it, &list, &before));
    ck_assert(!tree_iter_next_versions(&it, &list, &before));
    kv_list_done(&list);
}

/* Every change after a revision that is not compacted is still there, in order. */
static void check_versions(struct run *run, struct tree_root root, int64_t compacted)
{
    struct model *m = run->model;
    int64_t low = MAX_OF(compacted - 1, 0);
    if (root.rev <= low)
        return;
    int64_t after = low + (int64_t)random_below(&run->r, (uint32_t)(root.rev - low));
    check_range_versions(run, root, after);
    struct tree_iter it;
    tree_iter_versions(&it, root, after);
    struct kv_list list = {0};
    for (size_t i = 0; i < m->key_count; i++) {
        struct model_key *k = &m->keys[i];
        struct version *newest = model_at(k, root.rev);
        if (newest == NULL || newest->rev <= after)
            continue;
        const struct kv *before;
        list.count = 0;
        ck_assert(tree_iter_next_versions(&it, &list, &before));
        size_t at = (size_t)(newest - k->versions);
        for (size_t n = list.count; n-- > 0; at--) {
            ck_assert_str_eq(kv_key(list.items[n]).data, k->name);
            ck_assert_int_eq(list.items[n]->mod_rev, k->versions[at].rev);
            if (at == 0)
                ck_assert_uint_eq(n, 0);
        }
        at++;
        ck_assert(at == 0 || k->versions[at - 1].rev <= after);
        /* What a watch calls the version before, unless compaction took it. */
        if (after >= compacted && at > 0 && k->versions[at - 1].version != 0) {
            ck_assert_ptr_nonnull(before);
            ck_assert_int_eq(before->mod_rev, k->versions[at - 1].rev);
        }
    }
    const struct kv *before;
    ck_assert(!tree_iter_next_versions(&it, &list, &before));
    kv_list_done(&list);
}

static void step(struct run *run)
{
    struct held *h = &run->held[random_below(&run->r, ARRAY_SIZE(run->held))];
    switch (random_below(&run->r, 12)) {
    case 0:
        if (h->view == NULL)
            *h = (struct held){tree_publish(run->tree), run->compacted};
        break;
    case 1:
        tree_view_unref(h->view);
        h->view = NULL;
        break;
    case 2:
        if (!run->trimming && random_below(&run->r, 8) == 0) {
            int64_t rev = tree_working(run->tree).rev - (int64_t)random_below(&run->r, 60);
            if (rev > run->compacted) {
                run->compacted = rev;
                run->trim = (struct tree_trim){.rev = rev};
                run->trimming = true;
            }
        }
        break;
    case 3:
        if (run->trimming)
            run->trimming = tree_trim(run->tree, &run->trim, 1 + random_below(&run->r, 20));
        break;
    case 4:
        tree_reclaim(run->tree, random_below(&run->r, 200));
        break;
    case 5:
        if (h->view != NULL) {
            check_root(run, tree_view_root(h->view), h->compacted);
            check_versions(run, tree_view_root(h->view), h->compacted);
        }
        check_root(run, tree_working(run->tree), run->compacted);
        break;
    default:
        write_some(run);
    }
}

static void check_tree(const struct run *run)
{
    struct error err = {0};
    if (tree_check(run->tree, &err) != 0)
        ck_abort_msg("%s", error_message(&err));
}

static void run_model(uint64_t seed, size_t keys, int steps)
{
    struct run run = {.r = random_seeded(seed), .tree = tree_new()};
    run.model = model_new(&run.r, keys);
    for (int i = 0; i < steps; i++) {
        step(&run);
        if (i % 50 == 0)
            check_tree(&run);
    }
    for (size_t i = 0; i < ARRAY_SIZE(run.held); i++)
        tree_view_unref(run.held[i].view);
    tree_trim_done(&run.trim);
    while (tree_reclaim(run.tree, 100))
        continue;
    check_tree(&run);
    struct tree_stats stats;
    tree_stats(run.tree, &stats);
    ck_assert_uint_eq(stats.dead_bytes, 0);
    ck_assert_uint_eq(stats.views, 0);
    while (tree_free_slice(run.tree, 37))
        continue;
    model_free(run.model);
}

/* Random puts, deletes, views, trims and reads agree with the model. */
START_TEST(model_small)
{
    for (uint64_t i = 0; i < 10; i++)
        run_model(test_seed() + i, 40, 2000);
}
END_TEST

START_TEST(model_large)
{
    run_model(test_seed(), KEYS_MAX, 4000);
}
END_TEST

/* --- plain properties --- */

static void put(struct tree *t, const char *key, int64_t rev, int64_t version)
{
    struct kv_numbers numbers = {.mod_rev = rev, .version = version};
    tree_put(t, kv_new(tree_heap(t), str_of(key), STR("v"), &numbers));
}

/* A key that falls between the halves of a split goes where the separator says. */
START_TEST(split_gap)
{
    struct tree *t = tree_new();
    char key[16];
    int64_t rev = 2;
    for (int i = 0; i < 32; i++) {
        snprintf(key, sizeof(key), "a%02d", i);
        put(t, key, rev++, 1);
    }
    for (int i = 0; i < 32; i++) {
        snprintf(key, sizeof(key), "cx%02d", i);
        put(t, key, rev++, 1);
    }
    put(t, "ca", rev++, 1); /* Above the separator "c", below "cx00". */
    struct error err = {0};
    ck_assert_msg(tree_check(t, &err) == 0, "%s", error_message(&err));
    ck_assert_ptr_nonnull(tree_get(tree_working(t), STR("ca"), 0));
    tree_free(t);
}
END_TEST

/* Trimming keeps a tombstone at the revision itself and drops it the next time;
 * the tree shrinks to nothing. */
START_TEST(trim_tombstones)
{
    struct tree *t = tree_new();
    char key[16];
    int64_t rev = 2;
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "%d", i);
        put(t, key, rev++, 1);
    }
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "%d", i);
        put(t, key, rev++, 0);
    }
    struct tree_trim trim = {.rev = rev - 1};
    while (tree_trim(t, &trim, 10))
        continue;
    struct tree_stats stats;
    tree_stats(t, &stats);
    ck_assert_uint_eq(stats.keys, 0);
    ck_assert_uint_eq(stats.versions, 1);
    ck_assert_ptr_nonnull(tree_get_version(tree_working(t), STR("999"), 0));
    trim = (struct tree_trim){.rev = rev};
    ck_assert(!tree_trim(t, &trim, 10));
    tree_stats(t, &stats);
    ck_assert_uint_eq(stats.versions, 0);
    ck_assert_uint_eq(stats.bytes, 0);
    tree_free(t);
}
END_TEST

/* Three levels that grow and shrink from both ends and in the middle: inner nodes
 * split and join again. */
START_TEST(grow_and_shrink)
{
    struct random r = random_seeded(test_seed());
    struct tree *t = tree_new();
    struct error err = {0};
    enum { COUNT = 12000 };
    bool *there = xzalloc(COUNT);
    int64_t rev = 2;
    for (int round = 0; round < 8; round++) {
        unsigned from = random_below(&r, COUNT), to = from + random_below(&r, COUNT - from) + 1;
        if (round % 3 == 0)
            from = 0, to = COUNT;
        bool add = round % 2 == 0;
        for (unsigned i = from; i < to; i++) {
            char key[16];
            snprintf(key, sizeof(key), "key%05u", i);
            if (there[i] != add && random_below(&r, 20) != 0) {
                put(t, key, rev++, add);
                there[i] = add;
            }
        }
        struct tree_trim trim = {.rev = rev};
        while (tree_trim(t, &trim, 50))
            continue;
        ck_assert_msg(tree_check(t, &err) == 0, "%s", error_message(&err));
        for (unsigned i = 0; i < COUNT; i++) {
            char key[16];
            snprintf(key, sizeof(key), "key%05u", i);
            ck_assert_int_eq(tree_get(tree_working(t), str_of(key), 0) != NULL, there[i]);
        }
    }
    free(there);
    tree_free(t);
}
END_TEST

/* With an old view held, what was made and replaced after it goes at once. */
START_TEST(old_view_keeps_little)
{
    struct tree *t = tree_new();
    char key[16];
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "%04d", i);
        put(t, key, i + 2, 1);
    }
    struct tree_view *old = tree_publish(t);
    struct tree_view *current = tree_publish(t);
    uint64_t most = 0;
    for (int i = 0; i < 5000; i++) {
        put(t, "0500", 2000 + i, i + 2);
        struct tree_trim trim = {.rev = 2000 + i};
        tree_trim(t, &trim, SIZE_MAX);
        tree_view_unref(current);
        current = tree_publish(t);
        tree_reclaim(t, 100);
        struct tree_stats stats;
        tree_stats(t, &stats);
        most = MAX_OF(most, stats.dead_bytes);
    }
    ck_assert_uint_lt(most, 16384);
    ck_assert_int_eq(tree_get(tree_view_root(old), STR("0500"), 0)->mod_rev, 502);
    tree_view_unref(old);
    tree_view_unref(current);
    tree_free(t);
}
END_TEST

/* --- readers beside the writer --- */

#define PAIRS 300
#define READERS 3

struct shared {
    pthread_mutex_t lock;
    struct tree_view *current;
    atomic_bool stop;
    atomic_uint rounds;
};

static struct tree_view *shared_view(struct shared *s)
{
    pthread_mutex_lock(&s->lock);
    struct tree_view *v = tree_view_ref(s->current);
    pthread_mutex_unlock(&s->lock);
    return v;
}

/* Each revision writes a pair of keys: their versions agree in every view. */
static void *reader(void *arg)
{
    struct shared *s = arg;
    while (!atomic_load(&s->stop)) {
        struct tree_view *v = shared_view(s);
        struct tree_root root = tree_view_root(v);
        struct tree_iter a, b;
        tree_iter_init(&a, root, STR("a"), STR("b"), 0);
        tree_iter_init(&b, root, STR("b"), STR("c"), 0);
        const struct kv *left;
        while ((left = tree_iter_next(&a)) != NULL) {
            const struct kv *right = tree_iter_next(&b);
            ck_assert_ptr_nonnull(right);
            ck_assert_int_eq(left->mod_rev, right->mod_rev);
        }
        ck_assert_ptr_null(tree_iter_next(&b));
        atomic_fetch_add(&s->rounds, 1);
        tree_view_unref(v);
    }
    return NULL;
}

static void write_pair(struct tree *t, struct random *r, int64_t rev)
{
    char a[16], b[16];
    unsigned i = random_below(r, PAIRS);
    snprintf(a, sizeof(a), "a%u", i);
    snprintf(b, sizeof(b), "b%u", i);
    const struct kv *before = tree_get(tree_working(t), str_of(a), 0);
    int64_t version = before == NULL ? 1 : random_below(r, 3) == 0 ? 0 : kv_version(before) + 1;
    put(t, a, rev, version);
    put(t, b, rev, version);
}

START_TEST(readers_on_threads)
{
    struct random r = random_seeded(test_seed());
    struct tree *t = tree_new();
    struct shared s = {.lock = PTHREAD_MUTEX_INITIALIZER};
    int64_t rev = 2;
    write_pair(t, &r, rev++);
    s.current = tree_publish(t);
    pthread_t threads[READERS];
    for (int i = 0; i < READERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, reader, &s), 0);
    while (rev < 5000 || atomic_load(&s.rounds) < 100) {
        for (int i = 0; i < 5; i++)
            write_pair(t, &r, rev++);
        struct tree_view *next = tree_publish(t);
        pthread_mutex_lock(&s.lock);
        struct tree_view *last = s.current;
        s.current = next;
        pthread_mutex_unlock(&s.lock);
        tree_view_unref(last);
        struct tree_trim trim = {.rev = rev - 20};
        tree_trim(t, &trim, 100);
        tree_trim_done(&trim);
        tree_reclaim(t, 500);
    }
    atomic_store(&s.stop, true);
    for (int i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    tree_view_unref(s.current);
    struct error err = {0};
    ck_assert_msg(tree_check(t, &err) == 0, "%s", error_message(&err));
    tree_free(t);
}
END_TEST

/* --- keys of all shapes --- */

#define SHAPES 3000

struct shape {
    char bytes[24];
    size_t len;
};

static struct str shape_str(const struct shape *s)
{
    return str_n(s->bytes, s->len);
}

static int by_shape(const void *a, const void *b)
{
    return str_cmp(shape_str(a), shape_str(b));
}

/* Few letters, among them the lowest and the highest, and now and then a common
 * beginning: so there are prefixes of each other, ties of the first eight bytes
 * that differ, and ends that are zeros. */
static void shape_draw(struct random *r, struct shape *s)
{
    static const char letters[] = {'\0', '\0', 'a', (char)0xff};
    bool common = random_below(r, 2) == 0;
    s->len = 1 + random_below(r, 12) + (common ? 9 : 0);
    memset(s->bytes, 'p', sizeof(s->bytes));
    for (size_t i = common ? 9 : 0; i < s->len; i++)
        s->bytes[i] = letters[random_below(r, ARRAY_SIZE(letters))];
}

/* Searches for each key that is there and for many that are not end where a
 * sorted list says, in whatever order the keys came and went. */
START_TEST(key_shapes)
{
    struct random r = random_seeded(test_seed());
    struct tree *t = tree_new();
    struct shape *all = xzalloc(SHAPES * sizeof(*all));
    int64_t rev = 1;
    for (size_t i = 0; i < SHAPES; i++) {
        shape_draw(&r, &all[i]);
        if (tree_get(tree_working(t), shape_str(&all[i]), 0) != NULL)
            continue;
        struct kv_numbers numbers = {.mod_rev = ++rev, .version = 1};
        tree_put(t, kv_new(tree_heap(t), shape_str(&all[i]), STR("v"), &numbers));
    }
    struct error err = {0};
    ck_assert_msg(tree_check(t, &err) == 0, "%s", error_message(&err));
    qsort(all, SHAPES, sizeof(*all), by_shape);
    size_t count = 1;
    for (size_t i = 1; i < SHAPES; i++)
        if (by_shape(&all[count - 1], &all[i]) != 0)
            all[count++] = all[i];
    for (size_t i = 0; i < 3 * SHAPES; i++) {
        struct shape s;
        shape_draw(&r, &s);
        size_t at = 0;
        while (at < count && by_shape(&all[at], &s) < 0)
            at++;
        bool there = at < count && by_shape(&all[at], &s) == 0;
        ck_assert(there == (tree_get(tree_working(t), shape_str(&s), 0) != NULL));
        struct tree_iter it;
        tree_iter_init(&it, tree_working(t), shape_str(&s), str_n("\0", 1), 0);
        const struct kv *kv = tree_iter_next(&it);
        ck_assert((kv != NULL) == (at < count));
        if (kv != NULL)
            ck_assert(str_eq(kv_key(kv), shape_str(&all[at])));
    }
    /* Nine of ten go: nodes shrink, join and vanish. */
    for (size_t i = 0; i < count; i++) {
        if (i % 10 == 0)
            continue;
        tree_put(t, kv_new(tree_heap(t), shape_str(&all[i]), STR(""),
                           &(struct kv_numbers){.mod_rev = ++rev}));
    }
    struct tree_trim trim = {.rev = rev + 1};
    while (tree_trim(t, &trim, 50))
        ck_assert_msg(tree_check(t, &err) == 0, "%s", error_message(&err));
    for (size_t i = 0; i < count; i++)
        ck_assert((i % 10 == 0) == (tree_get(tree_working(t), shape_str(&all[i]), 0) != NULL));
    tree_free(t);
    free(all);
}
END_TEST

UNIT_MAIN("tree", UNIT_TEST(key_shapes); UNIT_TEST(model_small); UNIT_TEST(model_large);
          UNIT_TEST(split_gap); UNIT_TEST(trim_tombstones); UNIT_TEST(grow_and_shrink);
          UNIT_TEST(old_view_keeps_little); UNIT_TEST(readers_on_threads))
