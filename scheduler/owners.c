/* owners.c - see owners.h. */
#include "scheduler/owners.h"

#include "api/apps_v1.h"
#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/client/informer.h"
#include "lib/client/labels.h"
#include "scheduler/trim.h"

enum owner_kind { SERVICES, CONTROLLERS, REPLICA_SETS, STATEFUL_SETS, OWNER_KINDS };

static const struct {
    const char *group, *kind;
    void (*trim)(struct api_object *o);
} kinds[OWNER_KINDS] = {
    [SERVICES] = {"", "Service", trim_service},
    [CONTROLLERS] = {"", "ReplicationController", trim_replication_controller},
    [REPLICA_SETS] = {"apps", "ReplicaSet", trim_replica_set},
    [STATEFUL_SETS] = {"apps", "StatefulSet", trim_stateful_set},
};

struct owners {
    struct informer *informers[OWNER_KINDS];
    uint64_t rev;
    void (*on_synced)(void *arg);
    void *arg;
};

static void on_change(struct api_object *o, void *arg)
{
    UNUSED(o);
    ((struct owners *)arg)->rev++;
}

/* What is left of these objects is their selector. */
static void on_update(struct api_object *old, struct api_object *o, void *arg)
{
    struct owners *w = arg;
    const struct core_v1_service *x = old->msg, *y = o->msg;
    bool service = o->kind == informer_kind(w->informers[SERVICES]);
    if (service ? !api_msg_equal(&core_v1_service_spec_msg, &x->spec, &y->spec)
                : api_object_meta(old)->generation != api_object_meta(o)->generation)
        w->rev++;
}

static void on_delete(struct api_object *o, bool final_state_unknown, void *arg)
{
    UNUSED(final_state_unknown);
    on_change(o, arg);
}

static void on_synced(void *arg)
{
    struct owners *w = arg;
    w->on_synced(w->arg);
}

struct owners *owners_start(struct client *c, void (*synced)(void *arg), void *arg)
{
    struct owners *w = xzalloc(sizeof(*w));
    w->on_synced = synced;
    w->arg = arg;
    for (unsigned i = 0; i < OWNER_KINDS; i++) {
        struct informer_config config = {
            .kind = api_kind_by_gvk(str_of(kinds[i].group), STR("v1"), str_of(kinds[i].kind)),
            .trim = kinds[i].trim,
            .compact_bytes = TRIM_OWNER_BYTES,
        };
        struct informer_handler h = {.on_add = on_change,
                                     .on_update = on_update,
                                     .on_delete = on_delete,
                                     .on_synced = on_synced,
                                     .arg = w};
        struct error err = {0};
        if (informer_new(c, &config, &w->informers[i], &err) != 0)
            PANIC("informer of %s: %s", kinds[i].kind, error_message(&err));
        informer_add_handler(w->informers[i], &h);
        informer_start(w->informers[i]);
    }
    return w;
}

void owners_stop(struct owners *w)
{
    for (unsigned i = 0; w != NULL && i < OWNER_KINDS; i++)
        informer_close(w->informers[i]);
    free(w);
}

bool owners_have_synced(const struct owners *w)
{
    for (unsigned i = 0; i < OWNER_KINDS; i++)
        if (!informer_has_synced(w->informers[i]))
            return false;
    return true;
}

uint64_t owners_rev(const struct owners *w)
{
    return w->rev;
}

/* --- selectors ---------------------------------------------------------------------------------
 */

struct gathering {
    struct arena *arena;
    struct meta_v1_label_selector *ret;
    size_t labels_cap, expressions_cap;
};

/* Services and controllers that all select the pod cannot contradict each other. */
static void add_labels(struct gathering *g, const struct api_str_entry *e, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (api_str_map_get(g->ret->match_labels, g->ret->match_labels_count, e[i].key) != NULL)
            continue;
        g->ret->match_labels = arena_grow(g->arena, g->ret->match_labels,
                                          g->ret->match_labels_count, &g->labels_cap, sizeof(*e));
        g->ret->match_labels[g->ret->match_labels_count++] = e[i];
    }
}

static void add_selector(struct gathering *g, const struct meta_v1_label_selector *s)
{
    if (s == NULL)
        return;
    add_labels(g, s->match_labels, s->match_labels_count);
    for (size_t i = 0; i < s->match_expressions_count; i++) {
        g->ret->match_expressions =
            arena_grow(g->arena, g->ret->match_expressions, g->ret->match_expressions_count,
                       &g->expressions_cap, sizeof(*s->match_expressions));
        g->ret->match_expressions[g->ret->match_expressions_count++] = s->match_expressions[i];
    }
}

static void add_services(const struct owners *w, struct gathering *g, const struct core_v1_pod *pod)
{
    size_t pos = 0;
    const struct api_object *o;
    while ((o = informer_next(w->informers[SERVICES], &pos)) != NULL) {
        const struct core_v1_service *s = o->msg;
        if (s->spec.selector_count != 0 && str_eq(s->metadata.namespace, pod->metadata.namespace) &&
            labels_contain(pod->metadata.labels, pod->metadata.labels_count, s->spec.selector,
                           s->spec.selector_count))
            add_labels(g, s->spec.selector, s->spec.selector_count);
    }
}

static void add_controller(const struct owners *w, struct gathering *g,
                           const struct core_v1_pod *pod, const struct meta_v1_owner_reference *r)
{
    for (unsigned i = CONTROLLERS; i < OWNER_KINDS; i++) {
        const struct api_kind *k = informer_kind(w->informers[i]);
        if (!str_eqc(r->kind, k->kind) || !str_eqc(r->api_version, k->api_version))
            continue;
        const struct api_object *o =
            informer_get(w->informers[i], pod->metadata.namespace, r->name);
        if (o == NULL)
            return;
        const struct core_v1_replication_controller *rc = o->msg;
        const struct apps_v1_replica_set *rs = o->msg;
        const struct apps_v1_stateful_set *ss = o->msg;
        if (i == CONTROLLERS)
            add_labels(g, rc->spec.selector, rc->spec.selector_count);
        else
            add_selector(g, i == REPLICA_SETS ? rs->spec.selector : ss->spec.selector);
    }
}

void owners_selector(const struct owners *w, struct arena *a, const struct core_v1_pod *pod,
                     struct meta_v1_label_selector *ret)
{
    *ret = (struct meta_v1_label_selector){0};
    struct gathering g = {a, ret, 0, 0};
    add_services(w, &g, pod);
    for (size_t i = 0; i < pod->metadata.owner_references_count; i++)
        if (pod->metadata.owner_references[i].controller)
            add_controller(w, &g, pod, &pod->metadata.owner_references[i]);
    const struct meta_v1_label_selector *own = api_msg_clone(a, &meta_v1_label_selector_msg, ret);
    *ret = *own;
}
