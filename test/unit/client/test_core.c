/* test_core.c - the pure parts: queue, expectations, cache, events, lists, labels. */
#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/client/client_internal.h"
#include "lib/client/event_correlator.h"
#include "lib/client/expectations.h"
#include "lib/client/informer_bucket.h"
#include "lib/client/informer_cache.h"
#include "lib/client/informer_hot.h"
#include "lib/client/kubeconfig.h"
#include "lib/client/labels.h"
#include "lib/client/work_queue_core.h"
#include "lib/net/bytes.h"
#include "test/unit/unit.h"

/* --- work queue -------------------------------------------------------------------------- */

/* A key waits once, and again after it was added while in process. */
START_TEST(queue_deduplicates)
{
    struct work_queue_core q;
    work_core_init(&q, 0, 0, 0, 0, 0);
    work_core_add(&q, STR("a"));
    work_core_add(&q, STR("a"));
    ck_assert_uint_eq(q.ready_count, 1);
    ck_assert_ptr_nonnull(work_core_take(&q));
    work_core_add(&q, STR("a"));
    ck_assert_ptr_null(work_core_take(&q));
    work_core_finish(&q, STR("a"));
    ck_assert_ptr_nonnull(work_core_take(&q));
    work_core_finish(&q, STR("a"));
    ck_assert_uint_eq(q.items.count, 0);
    work_core_done(&q);
}
END_TEST

/* Of several delays the earliest counts; due keys become ready in order. */
START_TEST(queue_delays)
{
    struct work_queue_core q;
    work_core_init(&q, 0, 0, 0, 0, 0);
    work_core_add_at(&q, STR("b"), 200);
    work_core_add_at(&q, STR("a"), 300);
    work_core_add_at(&q, STR("a"), 100);
    ck_assert_uint_eq(work_core_next_due(&q), 100);
    work_core_tick(&q, 99);
    ck_assert_uint_eq(q.ready_count, 0);
    work_core_tick(&q, 200);
    ck_assert_str_eq(work_core_take(&q)->key, "a");
    ck_assert_str_eq(work_core_take(&q)->key, "b");
    ck_assert_uint_eq(work_core_next_due(&q), UINT64_MAX);
    work_core_done(&q);
}
END_TEST

/* Backlog comes after the rest, but comes; what is asked for again is none. */
START_TEST(queue_has_priorities)
{
    struct work_queue_core q;
    work_core_init(&q, 0, 0, 0, 0, 0);
    work_core_add_low(&q, STR("x"));
    work_core_add_low(&q, STR("y"));
    work_core_add_low(&q, STR("z"));
    work_core_add(&q, STR("a"));
    work_core_add(&q, STR("y"));
    work_core_add_low(&q, STR("a"));
    ck_assert_uint_eq(q.ready_count, 4);
    ck_assert_str_eq(work_core_take(&q)->key, "a");
    ck_assert_str_eq(work_core_take(&q)->key, "y");
    /* Added as both while in process, it is no backlog. */
    work_core_add_low(&q, STR("a"));
    work_core_add(&q, STR("a"));
    work_core_finish(&q, STR("a"));
    ck_assert_str_eq(work_core_take(&q)->key, "a");
    ck_assert_str_eq(work_core_take(&q)->key, "x");
    /* With one of both kinds there for ever, one in ten is backlog. */
    work_core_finish(&q, STR("x"));
    work_core_add_low(&q, STR("x"));
    work_core_add(&q, STR("b"));
    unsigned low = 0;
    for (int i = 0; i < 100; i++) {
        const struct work_item *item = work_core_take(&q);
        struct str key = str_n(item->key, item->key_len);
        bool is_b = str_eqc(key, "b");
        low += !is_b;
        if (is_b)
            work_core_add(&q, STR("b"));
        else
            work_core_add_low(&q, key);
        work_core_finish(&q, key);
    }
    ck_assert_uint_eq(low, 10);
    /* Delays that end at once are backlog, too. */
    work_core_add_at(&q, STR("late"), 1000);
    work_core_hasten(&q);
    ck_assert_uint_eq(q.ready_count, 4);
    ck_assert_str_eq(work_core_take(&q)->key, "b");
    work_core_done(&q);
}
END_TEST

/* Retries wait 5 ms, 10, 20 ... up to the limit; forgetting starts over. */
START_TEST(queue_backs_off)
{
    struct work_queue_core q;
    work_core_init(&q, 5, 30, 1000, 1000, 0);
    ck_assert_uint_eq(work_core_backoff(&q, STR("a"), 0), 5);
    ck_assert_uint_eq(work_core_backoff(&q, STR("a"), 0), 10);
    ck_assert_uint_eq(work_core_backoff(&q, STR("a"), 0), 20);
    ck_assert_uint_eq(work_core_backoff(&q, STR("a"), 0), 30);
    work_core_forget(&q, STR("a"));
    ck_assert_uint_eq(work_core_backoff(&q, STR("a"), 0), 5);
    work_core_done(&q);
}
END_TEST

/* All retries together keep to the bucket's rate. */
START_TEST(queue_shares_a_bucket)
{
    struct work_queue_core q;
    work_core_init(&q, 1, 1, 10, 2, 0);
    ck_assert_uint_eq(work_core_backoff(&q, STR("a"), 0), 1);
    ck_assert_uint_eq(work_core_backoff(&q, STR("b"), 0), 1);
    ck_assert_uint_eq(work_core_backoff(&q, STR("c"), 0), 100);
    ck_assert_uint_eq(work_core_backoff(&q, STR("d"), 0), 200);
    work_core_done(&q);
}
END_TEST

/* --- expectations -------------------------------------------------------------------------- */

struct test_env {
    struct env env;
    uint64_t now_ms;
};

static uint64_t test_now(struct env *e)
{
    return CONTAINER_OF(e, struct test_env, env)->now_ms;
}

START_TEST(expectations_are_met_or_expire)
{
    struct test_env env = {{.now_ms = test_now}, 1000};
    struct expectations *e = expectations_new(&env.env);
    ck_assert(expectations_satisfied(e, STR("k")));
    expectations_expect_creations(e, STR("k"), 2);
    expectations_expect_deletion(e, STR("k"), STR("u"));
    expectations_creation_observed(e, STR("k"));
    expectations_creation_observed(e, STR("k"));
    expectations_creation_observed(e, STR("k")); /* One too many is no debt. */
    ck_assert(!expectations_satisfied(e, STR("k")));
    expectations_deletion_observed(e, STR("k"), STR("other"));
    ck_assert(!expectations_satisfied(e, STR("k")));
    expectations_deletion_observed(e, STR("k"), STR("u"));
    ck_assert(expectations_satisfied(e, STR("k")));
    expectations_expect_creations(e, STR("k"), 1);
    env.now_ms += EXPECTATIONS_TTL_MS + 1;
    ck_assert(expectations_satisfied(e, STR("k")));
    /* What may have happened is awaited for a while. */
    expectations_expect_creations(e, STR("k"), 1);
    expectations_doubt(e, STR("k"));
    expectations_doubt(e, STR("another"));
    ck_assert_uint_eq(expectations_left_ms(e, STR("k")), EXPECTATIONS_DOUBT_MS + 1);
    ck_assert_uint_eq(expectations_left_ms(e, STR("another")), 0);
    env.now_ms += EXPECTATIONS_DOUBT_MS;
    ck_assert(!expectations_satisfied(e, STR("k")));
    env.now_ms += 1;
    ck_assert(expectations_satisfied(e, STR("k")));
    expectations_free(e);
}
END_TEST

/* --- cache --------------------------------------------------------------------------------------
 */

struct changes {
    char log[512];
};

static void on_change(enum informer_change change, struct api_object *old, struct api_object *o,
                      void *arg)
{
    static const char *const marks[] = {"+", "~", "-", "?"};
    struct changes *c = arg;
    const struct meta_v1_object_meta *m = api_object_meta(o != NULL ? o : old);
    size_t len = strlen(c->log);
    snprintf(c->log + len, sizeof(c->log) - len, "%s%s/%s ", marks[change], m->name.data,
             m->resource_version.data);
}

static struct api_object *pod(const char *name, const char *uid, const char *rv, const char *node)
{
    struct api_object *o = api_object_new(api_kind_by_gvk(STR(""), STR("v1"), STR("Pod")));
    struct core_v1_pod *p = o->msg;
    p->metadata.namespace = STR("ns");
    p->metadata.name = arena_strc(o->arena, name);
    p->metadata.uid = arena_strc(o->arena, uid);
    p->metadata.resource_version = arena_strc(o->arena, rv);
    p->spec.node_name = arena_strc(o->arena, node);
    return o;
}

static size_t on_node(const struct informer_cache *c, const char *node)
{
    size_t count;
    informer_cache_by_index(c, "node", str_of(node), &count);
    return count;
}

START_TEST(cache_tells_changes)
{
    struct changes log = {""};
    struct informer_cache c;
    const struct informer_index indexes[INFORMER_INDEXES_MAX] = {{"node", informer_index_node}};
    informer_cache_init(&c, indexes, on_change, &log);
    informer_cache_put(&c, pod("a", "1", "1", ""));
    informer_cache_put(&c, pod("a", "1", "2", "n1"));
    informer_cache_put(&c, pod("a", "1", "2", "n1")); /* Nothing new. */
    ck_assert_uint_eq(on_node(&c, "n1"), 1);
    ck_assert_uint_eq(on_node(&c, ""), 0);
    informer_cache_put(&c, pod("a", "2", "5", "n2")); /* Another one of that name. */
    informer_cache_delete(&c, pod("a", "2", "6", "n2"));
    informer_cache_delete(&c, pod("gone", "9", "7", ""));
    ck_assert_uint_eq(on_node(&c, "n2"), 0);
    ck_assert_str_eq(log.log, "+a/1 ~a/2 ?a/2 +a/5 -a/6 ");
    informer_cache_done(&c);
}
END_TEST

/* Who has a controller is no orphan, and becomes one when it is let go. */
START_TEST(cache_finds_orphans)
{
    struct changes log = {""};
    struct informer_cache c;
    const struct informer_index indexes[INFORMER_INDEXES_MAX] = {{"orphan", informer_index_orphan}};
    struct meta_v1_owner_reference owner = {
        .uid = STR("u"), .has_controller = true, .controller = true};
    struct api_object *owned = pod("a", "1", "2", "");
    size_t count;
    informer_cache_init(&c, indexes, on_change, &log);
    informer_cache_put(&c, pod("a", "1", "1", ""));
    informer_cache_put(&c, pod("b", "2", "1", ""));
    informer_cache_by_index(&c, "orphan", STR("ns"), &count);
    ck_assert_uint_eq(count, 2);
    api_object_meta(owned)->owner_references = &owner;
    api_object_meta(owned)->owner_references_count = 1;
    informer_cache_put(&c, owned);
    ck_assert_str_eq(
        str_c(api_object_meta(*informer_cache_by_index(&c, "orphan", STR("ns"), &count))->name),
        "b");
    ck_assert_uint_eq(count, 1);
    informer_cache_put(&c, pod("a", "1", "3", ""));
    informer_cache_by_index(&c, "orphan", STR("ns"), &count);
    ck_assert_uint_eq(count, 2);
    informer_cache_done(&c);
}
END_TEST

/* A new state reports what went, unseen, before what came. */
START_TEST(cache_replaces)
{
    struct changes log = {""};
    struct informer_cache c;
    const struct informer_index indexes[INFORMER_INDEXES_MAX] = {{"node", informer_index_node}};
    informer_cache_init(&c, indexes, on_change, &log);
    informer_cache_put(&c, pod("a", "1", "1", "n"));
    informer_cache_put(&c, pod("b", "2", "2", "n"));
    log.log[0] = '\0';
    informer_cache_replace_begin(&c);
    informer_cache_replace_add(&c, pod("b", "2", "2", "n"));
    informer_cache_replace_add(&c, pod("c", "3", "4", "n"));
    informer_cache_replace_add(&c, pod("d", "4", "5", "n"));
    informer_cache_replace_remove(&c, pod("d", "4", "6", "n"));
    informer_cache_replace_commit(&c);
    ck_assert_str_eq(log.log, "?a/1 +c/4 ");
    ck_assert_uint_eq(on_node(&c, "n"), 2);
    informer_cache_replace_begin(&c);
    informer_cache_replace_add(&c, pod("z", "9", "9", "n"));
    informer_cache_replace_abandon(&c);
    ck_assert_uint_eq(c.objects.count, 2);
    informer_cache_done(&c);
}
END_TEST

/* Objects are packed when more are there than structs may take, and read as they
 * were: by key, by index, one after another, and by who is told of changes. */
START_TEST(cache_packs)
{
    struct changes log = {""};
    struct informer_cache c;
    const struct informer_index indexes[INFORMER_INDEXES_MAX] = {{"node", informer_index_node}};
    size_t limit = informer_hot_bytes_max;
    informer_hot_bytes_max = 0;
    informer_cache_init(&c, indexes, on_change, &log);
    informer_cache_pack(&c, NULL, NULL, NULL);
    for (int i = 0; i < 100; i++) {
        char name[16];
        snprintf(name, sizeof(name), "p%d", i);
        informer_cache_put(&c, pod(name, name, "7", i % 2 == 0 ? "even" : "odd"));
    }
    struct api_object *held = api_object_ref(informer_cache_get(&c, STR("ns/p7")));
    while (informer_cache_cool(&c) == HOT_CROWDED) {
    }
    ck_assert_ptr_nonnull(held->msg);
    ck_assert_ptr_null(((struct api_object *)map_get(&c.objects, STR("ns/p8")))->msg);
    ck_assert_str_eq(str_c(api_object_meta(informer_cache_get(&c, STR("ns/p8")))->uid), "p8");
    size_t count;
    struct api_object *const *odd = informer_cache_by_index(&c, "node", STR("odd"), &count);
    ck_assert_uint_eq(count, 50);
    for (size_t i = 0; i < count; i++)
        ck_assert_str_eq(str_c(((const struct core_v1_pod *)odd[i]->msg)->spec.node_name), "odd");
    while (informer_cache_cool(&c) == HOT_CROWDED) {
    }
    log.log[0] = '\0';
    informer_cache_put(&c, pod("p8", "p8", "8", "odd"));
    informer_cache_put(&c, pod("p9", "other", "9", "odd"));
    informer_cache_delete(&c, pod("p7", "p7", "9", "odd"));
    ck_assert_str_eq(log.log, "~p8/8 ?p9/7 +p9/9 -p7/9 ");
    ck_assert_uint_eq(on_node(&c, "even"), 49);
    ck_assert_uint_eq(on_node(&c, "odd"), 50);
    ck_assert_str_eq(str_c(api_object_meta(held)->name), "p7");
    api_object_unref(held);
    size_t pos = 0, seen = 0;
    struct api_object *o;
    for (; (o = informer_cache_next(&c, &pos)) != NULL; seen++)
        ck_assert_str_eq(str_c(api_object_meta(o)->namespace), "ns");
    ck_assert_uint_eq(seen, 99);
    while (informer_cache_cool(&c) == HOT_CROWDED) {
    }
    informer_cache_replace_begin(&c);
    informer_cache_replace_add(&c, pod("p8", "p8", "8", "odd"));
    log.log[0] = '\0';
    informer_cache_replace_commit(&c);
    ck_assert_uint_eq(c.objects.count, 1);
    informer_cache_done(&c);
    informer_hot_bytes_max = limit;
}
END_TEST

static void ignore_change(enum informer_change change, struct api_object *old, struct api_object *o,
                          void *arg)
{
    UNUSED(change);
    UNUSED(old);
    UNUSED(o);
    UNUSED(arg);
}

/* Many that are held do not keep those behind them from being packed. */
START_TEST(held_objects_are_passed_by)
{
    enum { HELD = 400, ALL = 800 };
    struct informer_cache c;
    static const struct informer_index none[INFORMER_INDEXES_MAX];
    size_t limit = informer_hot_bytes_max;
    struct api_object *all[ALL];
    informer_hot_bytes_max = 0;
    informer_cache_init(&c, none, ignore_change, NULL);
    informer_cache_pack(&c, NULL, NULL, NULL);
    for (int i = 0; i < ALL; i++) {
        char name[16];
        snprintf(name, sizeof(name), "p%d", i);
        all[i] = pod(name, name, "7", "n");
        if (i < HELD)
            api_object_ref(all[i]);
        informer_cache_put(&c, all[i]);
    }
    enum hot_state state;
    while ((state = informer_cache_cool(&c)) == HOT_CROWDED) {
    }
    ck_assert_int_eq(state, HOT_HELD);
    for (int i = 0; i < ALL; i++)
        ck_assert_int_eq(all[i]->msg != NULL, i < HELD);
    for (int i = 0; i < HELD; i++)
        api_object_unref(all[i]);
    while ((state = informer_cache_cool(&c)) == HOT_CROWDED) {
    }
    ck_assert_int_eq(state, HOT_COOL);
    informer_cache_done(&c);
    informer_hot_bytes_max = limit;
}
END_TEST

/* Whoever walks makes one struct at a time, and keeps what he says he does. */
START_TEST(walks_lend)
{
    struct changes log = {""};
    struct informer_cache c;
    const struct informer_index indexes[INFORMER_INDEXES_MAX] = {{"node", informer_index_node}};
    size_t limit = informer_hot_bytes_max, seen = 0;
    informer_hot_bytes_max = 0;
    informer_cache_init(&c, indexes, on_change, &log);
    informer_cache_pack(&c, NULL, NULL, NULL);
    for (int i = 0; i < 10; i++) {
        char name[16];
        snprintf(name, sizeof(name), "p%d", i);
        informer_cache_put(&c, pod(name, name, "7", "n"));
    }
    while (informer_cache_cool(&c) == HOT_CROWDED) {
    }
    struct api_object *o, *before = NULL, *kept = NULL, *held = NULL, *looked_up = NULL;
    struct informer_walk w = informer_cache_walk(&c, "node", STR("n"));
    for (; (o = informer_walk_next(&w)) != NULL; before = o, seen++) {
        if (before != NULL && before != kept && before != held && before != looked_up)
            ck_assert_ptr_null(before->msg);
        ck_assert_str_eq(str_c(((const struct core_v1_pod *)o->msg)->spec.node_name), "n");
        if (seen == 2) {
            kept = o;
            informer_walk_keep(&w);
        } else if (seen == 4) {
            held = api_object_ref(o);
        } else if (seen == 6) {
            looked_up = o;
            AUTO_ARENA *a = arena_new(0);
            ck_assert_ptr_eq(informer_cache_get(&c, informer_key(a, o)), o);
        }
    }
    ck_assert_uint_eq(seen, 10);
    ck_assert_ptr_nonnull(kept->msg);
    ck_assert_ptr_nonnull(held->msg);
    ck_assert_ptr_nonnull(looked_up->msg);
    while (informer_cache_cool(&c) == HOT_CROWDED) {
    }
    ck_assert_ptr_null(kept->msg);
    ck_assert_ptr_nonnull(held->msg);
    api_object_unref(held);
    w = informer_cache_walk(&c, "node", STR("n"));
    o = informer_walk_next(&w);
    o = informer_walk_next(&w);
    informer_walk_end(&w); /* Left early. */
    ck_assert_ptr_null(o->msg);
    w = informer_cache_walk(&c, "node", STR("nobody"));
    ck_assert_ptr_null(informer_walk_next(&w));
    informer_cache_done(&c);
    informer_hot_bytes_max = limit;
}
END_TEST

/* Large buckets find what they hold, whatever came and went. */
START_TEST(buckets_hold)
{
    enum { N = 500 };
    struct informer_bucket b = {0};
    struct api_object *all = xzalloc(N * sizeof(*all));
    bool there[N] = {false};
    size_t count = 0;
    uint32_t random = 1;
    for (int step = 0; step < 20000; step++) {
        random = random * 1664525u + 1013904223u;
        unsigned i = (random >> 8) % N, phase = (unsigned)step / 2500;
        bool put = (random >> 28) < (phase % 2 == 0 ? 12u : 4u);
        if (put)
            informer_bucket_put(&b, &all[i]);
        else
            informer_bucket_remove(&b, &all[i]);
        count += (size_t)(put && !there[i]) - (size_t)(!put && there[i]);
        there[i] = put;
        ck_assert_uint_eq(b.count, count);
    }
    for (size_t i = 0; i < b.count; i++) {
        ck_assert(there[b.items[i] - all]);
        there[b.items[i] - all] = false;
    }
    informer_bucket_done(&b);
    free(all);
}
END_TEST

/* --- events --------------------------------------------------------------------------------------
 */

static struct event_verdict correlate(struct event_correlator *c, const char *message,
                                      uint64_t now_ms)
{
    struct event_facts f = {STR("pod|x"), STR("Normal"), STR("R"), str_of(message),
                            STR("x.1"),   now_ms,        7};
    return event_correlate(c, &f);
}

START_TEST(events_count_and_combine)
{
    struct event_correlator c;
    event_correlator_init(&c);
    ck_assert_int_eq(correlate(&c, "same", 0).count, 1);
    ck_assert_int_eq(correlate(&c, "same", 1).count, 2);
    char text[16];
    for (int i = 0; i < 9; i++) {
        snprintf(text, sizeof(text), "m%d", i);
        ck_assert(!correlate(&c, text, 2).combined);
    }
    ck_assert(correlate(&c, "eleventh", 3).combined);
    ck_assert_int_eq(correlate(&c, "twelfth", 4).count, 2);
    ck_assert(!correlate(&c, "later", 4 + 601 * 1000).combined);
    event_correlator_done(&c);
}
END_TEST

START_TEST(events_are_limited)
{
    struct event_correlator c;
    event_correlator_init(&c);
    for (int i = 0; i < 25; i++)
        ck_assert(!correlate(&c, "m", 0).drop);
    ck_assert(correlate(&c, "m", 0).drop);
    ck_assert(!correlate(&c, "m", 300 * 1000).drop);
    event_correlator_done(&c);
}
END_TEST

/* --- lists ---------------------------------------------------------------------------------- */

static void count_item(struct api_object *o, void *arg)
{
    ++*(size_t *)arg;
    api_object_unref(o);
}

/* Items of a list, from protobuf and from JSON, without decoding it whole. */
START_TEST(list_is_walked)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF b = BUF_INIT;
    struct core_v1_pod items[2] = {{.metadata.name = STR("x")}, {.metadata.name = STR("y")}};
    struct core_v1_pod_list list = {
        .metadata = {.resource_version = STR("77"), .continue_ = STR("more")},
        .items = items,
        .items_count = 2,
    };
    const struct api_kind *k = api_kind_by_gvk(STR(""), STR("v1"), STR("Pod"));
    struct str rv, next;
    size_t count = 0;
    api_envelope_encode(&core_v1_pod_list_msg, &list, STR("v1"), STR("PodList"), &b);
    ck_assert_int_eq(client_list_walk(a, k, buf_str(&b), count_item, &count, &rv, &next, NULL), 0);
    ck_assert_uint_eq(count, 2);
    ck_assert(str_eqc(rv, "77") && str_eqc(next, "more"));
    ck_assert_int_eq(
        client_list_walk(a, k, STR("{\"metadata\":{\"resourceVersion\":\"8\"},\"items\":[{}]}"),
                         count_item, &count, &rv, &next, NULL),
        0);
    ck_assert_uint_eq(count, 3);
    ck_assert(str_eqc(rv, "8") && str_empty(next));
}
END_TEST

/* --- calls ---------------------------------------------------------------------------------------
 */

static void check_target(const struct client_call *call, const char *method, const char *target)
{
    AUTO_ARENA *a = arena_new(0);
    struct client_message m;
    ck_assert_int_eq(client_encode_call(a, "", call, &m, NULL), 0);
    ck_assert_str_eq(m.method, method);
    ck_assert_str_eq(m.target, target);
    net_bytes_unref(m.body);
}

START_TEST(calls_become_requests)
{
    const struct api_kind *pod_kind = api_kind_by_gvk(STR(""), STR("v1"), STR("Pod"));
    const struct api_kind *node = api_kind_by_gvk(STR(""), STR("v1"), STR("Node"));
    const struct client_resource custom = {"x.io", "v1", "things", true};
    check_target(
        &(struct client_call){
            .verb = CLIENT_GET, .kind = pod_kind, .namespace_name = STR("a"), .name = STR("p")},
        "GET", "/api/v1/namespaces/a/pods/p");
    check_target(&(struct client_call){.verb = CLIENT_LIST,
                                       .kind = pod_kind,
                                       .list = {.label_selector = STR("a in (b, c)"), .limit = 5}},
                 "GET", "/api/v1/pods?labelSelector=a+in+%28b%2C+c%29&limit=5");
    check_target(&(struct client_call){.verb = CLIENT_DELETE, .kind = node, .name = STR("n")},
                 "DELETE", "/api/v1/nodes/n");
    check_target(&(struct client_call){.verb = CLIENT_PATCH,
                                       .resource = &custom,
                                       .namespace_name = STR("a"),
                                       .name = STR("t"),
                                       .subresource = "status",
                                       .force = true,
                                       .field_manager = "me",
                                       .patch_type = CLIENT_PATCH_APPLY},
                 "PATCH", "/apis/x.io/v1/namespaces/a/things/t/status?fieldManager=me&force=true");
    AUTO_ARENA *a = arena_new(0);
    struct client_message m;
    ck_assert_int_eq(client_encode_call(a, "",
                                        &(struct client_call){.verb = CLIENT_GET, .kind = pod_kind},
                                        &m, NULL),
                     E_INVALID);
}
END_TEST

/* A Status answer gives code, reason and text. */
START_TEST(failures_are_understood)
{
    AUTO_ARENA *a = arena_new(0);
    struct client_result r = {0};
    struct str body =
        STR("{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":"
            "\"pods \\\"x\\\" not found\",\"reason\":\"NotFound\",\"code\":404}");
    client_decode_answer(a, NULL, true, 404, STR("application/json"), body, &r);
    ck_assert_int_eq(r.code, E_NOT_FOUND);
    ck_assert_str_eq(r.message, "pods \"x\" not found");
    r = (struct client_result){0};
    client_decode_answer(a, NULL, true, 502, STR("text/plain"), STR("bad gateway"), &r);
    ck_assert_int_eq(r.code, E_INTERNAL);
    ck_assert_ptr_null(r.status);
    struct meta_v1_status gone = {.reason = STR("Gone")};
    ck_assert_int_eq(client_status_code(&gone, 410), E_EXPIRED);
    struct meta_v1_status exists = {.reason = STR("AlreadyExists")};
    ck_assert_int_eq(client_status_code(&exists, 409), E_EXISTS);
}
END_TEST

/* --- kubeconfig and labels ----------------------------------------------------------------------
 */

START_TEST(kubeconfig_is_read_and_written)
{
    static const char text[] =
        "apiVersion: v1\nkind: Config\ncurrent-context: b\n"
        "clusters:\n- name: k\n  cluster: {server: 'https://a:6443, https://b:6443', "
        "certificate-authority-data: Q0E=}\n"
        "contexts:\n- name: b\n  context: {cluster: k, user: u, namespace: work}\n"
        "- name: broken\n  context: {cluster: none, user: u}\n"
        "users:\n- name: u\n  user: {token: secret, as: jane, as-groups: [x, z]}\n";
    struct kubeconfig *k, *again;
    struct error err = {0};
    ck_assert_int_eq(kubeconfig_parse(STR(text), NULL, NULL, &k, &err), 0);
    ck_assert_uint_eq(k->server_count, 2);
    ck_assert_str_eq(k->servers[1], "https://b:6443");
    ck_assert(str_eqc(k->ca.data, "CA") && str_eqc(k->token.data, "secret"));
    ck_assert_str_eq(k->namespace_name, "work");
    ck_assert_str_eq(k->impersonate_groups[1], "z");
    AUTO_BUF b = BUF_INIT;
    kubeconfig_write(k, "c", "me", &b);
    ck_assert_msg(kubeconfig_parse(buf_str(&b), NULL, NULL, &again, &err) == 0, "%s", err.message);
    ck_assert_uint_eq(again->server_count, 2);
    ck_assert(str_eqc(again->token.data, "secret"));
    ck_assert_str_eq(again->context, "me@c");
    kubeconfig_free(again);
    kubeconfig_free(k);
    ck_assert_int_eq(kubeconfig_parse(STR(text), NULL, "broken", &k, &err), E_NOT_FOUND);
    ck_assert_int_eq(kubeconfig_parse(STR(text), NULL, "absent", &k, &err), E_NOT_FOUND);
    ck_assert_str_eq(err.message, "context \"absent\" does not exist");
    ck_assert_int_eq(kubeconfig_parse(STR(""), NULL, NULL, &k, &err), E_INVALID);
}
END_TEST

START_TEST(labels_match)
{
    struct api_str_entry labels[] = {{STR("app"), STR("web")}, {STR("tier"), STR("1")}};
    struct str values[] = {STR("db"), STR("web")};
    struct meta_v1_label_selector_requirement in = {STR("app"), STR("In"), values, 2};
    struct meta_v1_label_selector_requirement not_in = {STR("none"), STR("NotIn"), values, 2};
    struct meta_v1_label_selector s = {.match_expressions = &in, .match_expressions_count = 1};
    ck_assert(!label_selector_matches(NULL, labels, 2));
    ck_assert(label_selector_matches(&(struct meta_v1_label_selector){0}, labels, 2));
    ck_assert(label_selector_matches(&s, labels, 2));
    s.match_expressions = &not_in;
    ck_assert(label_selector_matches(&s, labels, 2));
    struct str two = STR("2");
    ck_assert(label_requirement_matches(STR("Lt"), &labels[1].value, &two, 1));
    ck_assert(!label_requirement_matches(STR("Gt"), &labels[1].value, &two, 1));
    ck_assert(!label_requirement_matches(STR("Exists"), NULL, NULL, 0));
}
END_TEST

UNIT_MAIN("client/core", {
    UNIT_TEST(queue_deduplicates);
    UNIT_TEST(queue_delays);
    UNIT_TEST(queue_has_priorities);
    UNIT_TEST(queue_backs_off);
    UNIT_TEST(queue_shares_a_bucket);
    UNIT_TEST(expectations_are_met_or_expire);
    UNIT_TEST(cache_tells_changes);
    UNIT_TEST(cache_finds_orphans);
    UNIT_TEST(cache_replaces);
    UNIT_TEST(cache_packs);
    UNIT_TEST(held_objects_are_passed_by);
    UNIT_TEST(walks_lend);
    UNIT_TEST(buckets_hold);
    UNIT_TEST(events_count_and_combine);
    UNIT_TEST(events_are_limited);
    UNIT_TEST(list_is_walked);
    UNIT_TEST(calls_become_requests);
    UNIT_TEST(failures_are_understood);
    UNIT_TEST(kubeconfig_is_read_and_written);
    UNIT_TEST(labels_match);
})
