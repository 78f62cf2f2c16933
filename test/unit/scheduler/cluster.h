/* cluster.h - nodes and pods from JSON, for the scheduler's tests. */
#ifndef TEST_SCHEDULER_CLUSTER_H
#define TEST_SCHEDULER_CLUSTER_H

#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "scheduler/framework.h"
#include "test/unit/unit.h"

static inline struct api_object *object_from(const char *kind, const char *json)
{
    const struct api_kind *k = api_kind_by_gvk(STR(""), STR("v1"), str_of(kind));
    struct api_object *o = api_object_new(k);
    struct error err = {0};
    int rc = api_json_decode(o->arena, k->msg, str_of(json), API_STRICT, NULL, o->msg, &err);
    ck_assert_msg(rc == 0, "%s: %s", json, error_message(&err));
    return o;
}

static inline void add_node(struct snapshot *s, const char *json)
{
    struct api_object *o = object_from("Node", json);
    snapshot_set_node(s, o);
    api_object_unref(o);
}

static inline void add_pod(struct snapshot *s, const char *json)
{
    struct api_object *o = object_from("Pod", json);
    snapshot_set_pod(s, o);
    api_object_unref(o);
}

static inline const struct api_str_entry *no_labels(void *arg, struct str name, size_t *ret_count)
{
    (void)arg, (void)name;
    *ret_count = 0;
    return NULL;
}

static inline struct api_object *nothing2(void *arg, struct str ns, struct str name)
{
    (void)arg, (void)ns, (void)name;
    return NULL;
}

static inline struct api_object *nothing1(void *arg, struct str name)
{
    (void)arg, (void)name;
    return NULL;
}

static const struct pod_facts no_facts = {.namespace_labels = no_labels,
                                          .claim = nothing2,
                                          .volume = nothing1,
                                          .storage_class = nothing1};

/* One pod's decision on a snapshot; release with decision_done(). */
struct decision {
    struct api_object *pod;
    struct pod_info *info;
    struct cycle cycle;
    struct node_info *node;
};

static inline void decide(struct snapshot *s, const char *pod_json, struct decision *ret)
{
    *ret = (struct decision){0};
    ret->pod = object_from("Pod", pod_json);
    ret->info = pod_info_new(ret->pod);
    ret->cycle = (struct cycle){
        .arena = arena_new(0), .snapshot = s, .pod = ret->info, .facts = &no_facts, .seed = 1};
    cycle_filter(&ret->cycle);
    ret->node = cycle_select(&ret->cycle);
}

static inline void decision_done(struct decision *d)
{
    arena_free(d->cycle.arena);
    pod_info_free(d->info);
    api_object_unref(d->pod);
}

#define ck_assert_message(decision, post, text)                                                    \
    do {                                                                                           \
        struct str message_ = cycle_message(&(decision).cycle, (post));                            \
        ck_assert_str_eq(message_.data, (text));                                                   \
    } while (0)

#endif
