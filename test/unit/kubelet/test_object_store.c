/* test_object_store.c - what is read and watched for pods, and who is told. */
#include "kubelet/object_store.h"

#include "lib/api/scheme.h"
#include "lib/base/error.h"

#include "api/core_v1.h"

#include "test/unit/unit.h"

#include <stdio.h>

static struct object_store store;
static int asks, watches, cancels, told;
static void *last_told;
static struct held_object *asked; /* Last. */

static void ask(struct held_object *o)
{
    asks++;
    asked = o;
}
static void watch(struct held_object *o)
{
    UNUSED(o);
    watches++;
}
static void unwatch(struct held_object *o)
{
    UNUSED(o);
    watches--;
}
static void cancel(struct held_object *o)
{
    UNUSED(o);
    cancels++;
}
static void changed(void *user)
{
    told++;
    last_told = user;
}

static void begin(enum change_detection d)
{
    object_store_init(&store, d);
    store.ask = ask;
    store.watch = watch;
    store.unwatch = unwatch;
    store.cancel = cancel;
    store.changed = changed;
    asks = watches = cancels = told = 0;
}

static struct object_use *use(const char *name, void *user)
{
    return object_store_use(&store, OBJECT_CONFIG_MAP, STR("n"), str_of(name), user);
}

static struct api_object *map_of(const char *rv, bool immutable)
{
    struct api_object *o = api_object_new(api_kind_by_gvk(STR(""), STR("v1"), STR("ConfigMap")));
    struct core_v1_config_map *c = o->msg;
    c->metadata.resource_version = str_of(rv);
    c->has_immutable = c->immutable = immutable;
    return o;
}

struct waiter {
    struct object_read read;
    int done;
};

static void on_done(struct object_read *r)
{
    CONTAINER_OF(r, struct waiter, read)->done++;
}

static void read_of(struct object_use *u, struct waiter *w)
{
    w->done = 0;
    object_store_read(u, &w->read, on_done);
}

static void answer(const char *rv)
{
    struct api_object *o = map_of(rv, false);
    object_store_answer(asked, o, 0, "", 1000);
    api_object_unref(o);
}

static void seen(struct held_object *held, const char *rv)
{
    struct api_object *o = map_of(rv, false);
    object_store_seen(held, o);
    api_object_unref(o);
}

static const char *rv_of(const struct object_use *u)
{
    static char text[32];
    if (u->of->object == NULL)
        return "none";
    struct str rv = api_object_meta(u->of->object)->resource_version;
    snprintf(text, sizeof(text), STR_FMT, STR_ARG(rv));
    return text;
}

/* Pods that come together share one read, one watch and one object. */
START_TEST(test_shared)
{
    struct waiter a, b;
    begin(DETECT_WATCH);
    struct object_use *x = use("c", &a), *y = use("c", &b), *z = use("d", &b);
    ck_assert(!object_store_look(x, 0, 0));
    read_of(x, &a);
    read_of(y, &b);
    ck_assert_int_eq(asks, 1);
    answer("5");
    ck_assert_int_eq(a.done + b.done, 2);
    ck_assert_int_eq(watches, 1);
    ck_assert_ptr_eq(x->of->object, y->of->object);
    ck_assert(object_store_look(x, 0, 9999999) && object_store_look(y, 0, 9999999));
    ck_assert_int_eq(told, 0);
    object_store_drop(x);
    ck_assert_int_eq(watches, 1);
    object_store_drop(y);
    ck_assert_int_eq(watches, 0);
    object_store_drop(z);
    object_store_done(&store);
}
END_TEST

/* A pod that comes later gets nothing that was read before it came; a read that was under way then
 * does not count. */
START_TEST(test_not_older_than_the_pod)
{
    struct waiter a, b;
    begin(DETECT_WATCH);
    struct object_use *x = use("c", &a);
    read_of(x, &a);
    struct object_use *y = use("c", &b);
    read_of(y, &b);
    answer("5");
    ck_assert_int_eq(a.done, 1);
    ck_assert_int_eq(b.done, 0);
    ck_assert_int_eq(asks, 2);
    answer("6");
    ck_assert_int_eq(b.done, 1);
    ck_assert_str_eq(rv_of(y), "6");
    ck_assert_int_eq(told, 1); /* x has 5. */
    ck_assert_ptr_eq(last_told, &a);
    struct object_use *z = use("c", &b);
    ck_assert(!object_store_look(z, 0, 0));
    object_store_drop(x);
    object_store_drop(y);
    object_store_drop(z);
    object_store_done(&store);
}
END_TEST

/* The watch tells of changes, ends and returns; each user once, and only of what it does not have.
 */
START_TEST(test_watched)
{
    struct waiter a;
    begin(DETECT_WATCH);
    struct object_use *x = use("c", &a);
    read_of(x, &a);
    answer("5");
    seen(x->of, "5");
    seen(x->of, "4"); /* It begins with older state. */
    ck_assert_int_eq(told, 0);
    ck_assert_str_eq(rv_of(x), "5");
    seen(x->of, "7");
    ck_assert_int_eq(told, 1);
    ck_assert(object_store_look(x, 0, 0));
    struct api_object *old = map_of("6", false), *last = map_of("7", false);
    object_store_gone(x->of, old); /* Of an object before this one. */
    ck_assert_int_eq(told, 1);
    object_store_gone(x->of, last);
    ck_assert_int_eq(told, 2);
    ck_assert_str_eq(rv_of(x), "none");
    ck_assert(object_store_look(x, 0, 0));
    ck_assert_int_eq(x->of->code, E_NOT_FOUND);
    seen(x->of, "9");
    ck_assert_int_eq(told, 3);
    ck_assert_int_eq(asks, 1);
    api_object_unref(old);
    api_object_unref(last);
    object_store_drop(x);
    object_store_done(&store);
}
END_TEST

/* What is not there is watched, and its users are told when it comes. */
START_TEST(test_missing)
{
    struct waiter a;
    begin(DETECT_WATCH);
    struct object_use *x = use("c", &a);
    read_of(x, &a);
    object_store_answer(asked, NULL, E_NOT_FOUND, "not found", 0);
    ck_assert_int_eq(a.done, 1);
    ck_assert_int_eq(watches, 1);
    object_store_synced(x->of, NULL);
    ck_assert_int_eq(asks, 1);
    seen(x->of, "3");
    ck_assert_int_eq(told, 1);
    ck_assert_int_eq(x->of->code, 0);
    object_store_drop(x);
    object_store_done(&store);
}
END_TEST

/* Gone between the read and the watch: it is read again. */
START_TEST(test_gone_before_the_watch)
{
    struct waiter a;
    begin(DETECT_WATCH);
    struct object_use *x = use("c", &a);
    read_of(x, &a);
    answer("5");
    object_store_synced(x->of, NULL);
    ck_assert_int_eq(asks, 2);
    object_store_answer(asked, NULL, E_NOT_FOUND, "not found", 0);
    ck_assert_int_eq(told, 1);
    ck_assert_str_eq(rv_of(x), "none");
    object_store_drop(x);
    object_store_done(&store);
}
END_TEST

/* Without an API what was read stays; it is asked for again, and nobody is told of the failure. */
START_TEST(test_api_away)
{
    struct waiter a, b;
    begin(DETECT_WATCH);
    struct object_use *x = use("c", &a);
    read_of(x, &a);
    object_store_answer(asked, NULL, E_UNAVAILABLE, "away", 0);
    ck_assert_int_eq(a.done, 1);
    ck_assert_int_eq(watches, 0);
    ck_assert(!object_store_look(x, 0, 0));
    read_of(x, &a);
    answer("5");
    struct object_use *y = use("c", &b);
    read_of(y, &b);
    object_store_answer(asked, NULL, E_UNAVAILABLE, "away", 0);
    ck_assert_int_eq(b.done, 1);
    ck_assert_str_eq(rv_of(y), "5");
    ck_assert_int_eq(y->of->code, E_UNAVAILABLE);
    ck_assert(!object_store_look(y, 0, 0));
    ck_assert_int_eq(told, 0);
    object_store_drop(x);
    object_store_drop(y);
    object_store_done(&store);
}
END_TEST

/* What cannot change is not watched, and no longer once it cannot. */
START_TEST(test_immutable)
{
    struct waiter a;
    begin(DETECT_WATCH);
    struct object_use *x = use("c", &a);
    read_of(x, &a);
    answer("5");
    ck_assert_int_eq(watches, 1);
    struct api_object *fixed = map_of("6", true);
    object_store_seen(x->of, fixed);
    ck_assert_int_eq(watches, 0);
    ck_assert(object_store_look(x, 0, 99999999));
    api_object_unref(fixed);
    object_store_drop(x);
    object_store_done(&store);
}
END_TEST

/* Cache: good for its time to live; nothing is watched. */
START_TEST(test_cache)
{
    struct waiter a;
    begin(DETECT_CACHE);
    struct object_use *x = use("c", &a);
    read_of(x, &a);
    answer("5"); /* At 1000. */
    ck_assert_int_eq(watches, 0);
    ck_assert(object_store_look(x, 60000, 60999));
    ck_assert(!object_store_look(x, 60000, 61000));
    object_store_drop(x);
    object_store_done(&store);
}
END_TEST

/* Get: each time, and no read that began before somebody asked. */
START_TEST(test_get)
{
    struct waiter a, b;
    begin(DETECT_GET);
    struct object_use *x = use("c", &a), *y = use("c", &b);
    read_of(x, &a);
    ck_assert(!object_store_look(x, 60000, 0));
    read_of(y, &b);
    answer("5");
    ck_assert_int_eq(a.done, 1);
    ck_assert_int_eq(b.done, 0);
    answer("5");
    ck_assert_int_eq(b.done, 1);
    ck_assert(!object_store_look(x, 60000, 0));
    object_store_drop(x);
    object_store_drop(y);
    object_store_done(&store);
}
END_TEST

/* A use that goes while its read is under way: done comes all the same, then all is forgotten. */
START_TEST(test_dropped_while_read)
{
    struct waiter a;
    begin(DETECT_WATCH);
    struct object_use *x = use("c", &a);
    read_of(x, &a);
    object_store_drop(x);
    ck_assert_int_eq(a.done, 0);
    ck_assert_ptr_null(a.read.use);
    answer("5");
    ck_assert_int_eq(a.done, 1);
    ck_assert_int_eq(watches, 0);
    object_store_done(&store);
    /* One that nobody waits for is not finished. */
    begin(DETECT_WATCH);
    x = use("c", &a);
    read_of(x, &a);
    answer("5");
    object_store_synced(x->of, NULL);
    object_store_drop(x);
    ck_assert_int_eq(cancels, 1);
    ck_assert_int_eq(watches, 0);
    object_store_done(&store);
}
END_TEST

START_TEST(test_names)
{
    enum change_detection d;
    struct error err;
    ck_assert_int_eq(change_detection_parse("Get", &d, &err), 0);
    ck_assert_int_eq(d, DETECT_GET);
    ck_assert_int_eq(change_detection_parse("watch", &d, &err), E_INVALID);
    ck_assert_str_eq(error_message(&err),
                     "configMapAndSecretChangeDetectionStrategy: 'watch' is none of Watch, Cache, "
                     "Get");
    begin(DETECT_WATCH);
    struct object_use *x = object_store_use(&store, OBJECT_SECRET, STR("a"), STR("b.c"), NULL);
    struct object_use *y = use("b.c", NULL);
    ck_assert_ptr_ne(x->of, y->of);
    ck_assert(str_eqc(x->of->namespace_name, "a") && str_eqc(x->of->name, "b.c"));
    object_store_drop(x);
    object_store_drop(y);
    object_store_drop(NULL);
    object_store_done(&store);
}
END_TEST

UNIT_MAIN("object store", {
    UNIT_TEST(test_shared);
    UNIT_TEST(test_not_older_than_the_pod);
    UNIT_TEST(test_watched);
    UNIT_TEST(test_missing);
    UNIT_TEST(test_gone_before_the_watch);
    UNIT_TEST(test_api_away);
    UNIT_TEST(test_immutable);
    UNIT_TEST(test_cache);
    UNIT_TEST(test_get);
    UNIT_TEST(test_dropped_while_read);
    UNIT_TEST(test_names);
})
