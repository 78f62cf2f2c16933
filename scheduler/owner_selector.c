/* owner_selector.c - see owner_selector.h. */
#include "scheduler/owner_selector.h"

#include "api/apps_v1.h"
#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/client/labels.h"

void owner_selector_begin(struct owner_selector *g, struct arena *a, const struct core_v1_pod *pod,
                          struct meta_v1_label_selector *ret)
{
    *ret = (struct meta_v1_label_selector){0};
    *g = (struct owner_selector){a, pod, ret, 0, 0};
}

/* Services and controllers that all select the pod cannot contradict each other. */
static void add_labels(struct owner_selector *g, const struct api_str_entry *e, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (api_str_map_get(g->ret->match_labels, g->ret->match_labels_count, e[i].key) != NULL)
            continue;
        g->ret->match_labels = arena_grow(g->arena, g->ret->match_labels,
                                          g->ret->match_labels_count, &g->labels_cap, sizeof(*e));
        g->ret->match_labels[g->ret->match_labels_count++] = e[i];
    }
}

static void add_selector(struct owner_selector *g, const struct meta_v1_label_selector *s)
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

void owner_selector_add_service(struct owner_selector *g, const struct core_v1_service *s)
{
    const struct meta_v1_object_meta *pod = &g->pod->metadata;
    if (s->spec.selector_count != 0 && str_eq(s->metadata.namespace, pod->namespace) &&
        labels_contain(pod->labels, pod->labels_count, s->spec.selector, s->spec.selector_count))
        add_labels(g, s->spec.selector, s->spec.selector_count);
}

void owner_selector_add_controller(struct owner_selector *g, const struct api_object *o)
{
    const struct core_v1_replication_controller *rc = o->msg;
    const struct apps_v1_replica_set *rs = o->msg;
    const struct apps_v1_stateful_set *ss = o->msg;
    if (strcmp(o->kind->kind, "ReplicationController") == 0)
        add_labels(g, rc->spec.selector, rc->spec.selector_count);
    else if (strcmp(o->kind->kind, "ReplicaSet") == 0)
        add_selector(g, rs->spec.selector);
    else if (strcmp(o->kind->kind, "StatefulSet") == 0)
        add_selector(g, ss->spec.selector);
}

void owner_selector_end(struct owner_selector *g)
{
    const struct meta_v1_label_selector *own =
        api_msg_clone(g->arena, &meta_v1_label_selector_msg, g->ret);
    *g->ret = *own;
}

const struct meta_v1_owner_reference *pod_controller(const struct core_v1_pod *pod)
{
    for (size_t i = 0; i < pod->metadata.owner_references_count; i++)
        if (pod->metadata.owner_references[i].controller)
            return &pod->metadata.owner_references[i];
    return NULL;
}
