/* pods.c - see pods.h. */
#include "controllers/pods.h"

#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "lib/api/pod.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"

#include <stdlib.h>

#define DELETION_COST "controller.kubernetes.io/pod-deletion-cost"

bool pod_is_going(const struct core_v1_pod *p)
{
    return p->metadata.deletion_timestamp != NULL;
}

bool pod_is_active(const struct core_v1_pod *p)
{
    return !pod_is_terminal(p) && !pod_is_going(p);
}

const struct core_v1_pod_condition *pod_condition(const struct core_v1_pod *p, const char *type)
{
    for (size_t i = 0; i < p->status.conditions_count; i++)
        if (str_eqc(p->status.conditions[i].type, type))
            return &p->status.conditions[i];
    return NULL;
}

bool pod_is_ready(const struct core_v1_pod *p)
{
    const struct core_v1_pod_condition *c = pod_condition(p, "Ready");
    return c != NULL && str_eqc(c->status, "True");
}

bool pod_is_available(const struct core_v1_pod *p, int32_t min_ready_s, int64_t now_s)
{
    if (!pod_is_ready(p))
        return false;
    const struct core_v1_pod_condition *c = pod_condition(p, "Ready");
    return min_ready_s == 0 || (c->last_transition_time.seconds != 0 &&
                                c->last_transition_time.seconds + min_ready_s <= now_s);
}

void pod_from_template(struct arena *a, const struct core_v1_pod_template_spec *t,
                       struct str namespace_name, struct str owner_name,
                       const struct meta_v1_owner_reference *owner, struct core_v1_pod *ret)
{
    *ret = (struct core_v1_pod){.spec = t->spec};
    ret->metadata.generate_name = arena_printf(a, STR_FMT "-", STR_ARG(owner_name));
    ret->metadata.namespace = namespace_name;
    ret->metadata.labels = t->metadata.labels;
    ret->metadata.labels_count = t->metadata.labels_count;
    ret->metadata.annotations = t->metadata.annotations;
    ret->metadata.annotations_count = t->metadata.annotations_count;
    ret->metadata.finalizers = t->metadata.finalizers;
    ret->metadata.finalizers_count = t->metadata.finalizers_count;
    ret->metadata.owner_references = arena_memdup(a, owner, sizeof(*owner));
    ret->metadata.owner_references_count = 1;
}

/* --- which pod goes first -------------------------------------------------------- */

static int phase_rank(struct str phase)
{
    if (str_eqc(phase, "Pending"))
        return 0;
    return str_eqc(phase, "Running") ? 2 : 1;
}

static int64_t deletion_cost(const struct core_v1_pod *p)
{
    int64_t cost = 0;
    const struct str *text =
        api_str_map_get(p->metadata.annotations, p->metadata.annotations_count, STR(DELETION_COST));
    return text != NULL && str_to_i64(*text, &cost) && cost >= INT32_MIN && cost <= INT32_MAX ? cost
                                                                                              : 0;
}

static int64_t ready_since(const struct core_v1_pod *p)
{
    const struct core_v1_pod_condition *c = pod_condition(p, "Ready");
    return c != NULL && str_eqc(c->status, "True") ? c->last_transition_time.seconds : 0;
}

static int32_t restarts(const struct core_v1_pod *p)
{
    int32_t most = 0;
    for (size_t i = 0; i < p->status.container_statuses_count; i++)
        if (p->status.container_statuses[i].restart_count > most)
            most = p->status.container_statuses[i].restart_count;
    return most;
}

#define BY(x, y)                                                                                   \
    do {                                                                                           \
        if ((x) != (y))                                                                            \
            return (x) < (y) ? -1 : 1;                                                             \
    } while (0)

static int compare_stage(const struct core_v1_pod *p, const struct core_v1_pod *q)
{
    BY(!str_empty(p->spec.node_name), !str_empty(q->spec.node_name));
    BY(phase_rank(p->status.phase), phase_rank(q->status.phase));
    BY(pod_is_ready(p), pod_is_ready(q));
    return 0;
}

static int compare_age(const struct core_v1_pod *p, const struct core_v1_pod *q)
{
    if (pod_is_ready(p) && ready_since(p) != ready_since(q))
        return ready_since(p) > ready_since(q) ? -1 : 1;
    BY(restarts(q), restarts(p));
    BY(q->metadata.creation_timestamp.seconds, p->metadata.creation_timestamp.seconds);
    return str_cmp(p->metadata.name, q->metadata.name);
}

int pod_compare_for_deletion(const struct core_v1_pod *p, const struct core_v1_pod *q)
{
    int by_stage = compare_stage(p, q);
    return by_stage != 0 ? by_stage : compare_age(p, q);
}

static int compare(const void *x, const void *y)
{
    const struct pod_rank *a = x, *b = y;
    const struct core_v1_pod *p = a->object->msg, *q = b->object->msg;
    int by_stage = compare_stage(p, q);
    if (by_stage != 0)
        return by_stage;
    BY(deletion_cost(p), deletion_cost(q));
    BY(b->siblings, a->siblings);
    return compare_age(p, q);
}

void pod_rank_for_deletion(struct pod_rank *pods, size_t count)
{
    if (count > 1)
        qsort(pods, count, sizeof(*pods), compare);
}
