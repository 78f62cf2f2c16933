/* pods.c - see pods.h. */
#include "controllers/pods.h"

#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "lib/api/pod.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/base.h"
#include "lib/base/map.h"

#include <stdlib.h>

#define DELETION_COST "controller.kubernetes.io/pod-deletion-cost"
#define NS_PER_S 1000000000

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

struct restarts {
    int32_t main, sidecar; /* The most of any one container. */
};

static struct restarts restarts_of(const struct core_v1_pod *p)
{
    struct restarts most = {0};
    for (size_t i = 0; i < p->status.container_statuses_count; i++)
        most.main = MAX_OF(most.main, p->status.container_statuses[i].restart_count);
    for (size_t i = 0; i < p->status.init_container_statuses_count; i++) {
        const struct core_v1_container_status *s = &p->status.init_container_statuses[i];
        for (size_t k = 0; k < p->spec.init_containers_count; k++) {
            const struct core_v1_container *x = &p->spec.init_containers[k];
            if (str_eq(x->name, s->name) && str_eqc(x->restart_policy, "Always"))
                most.sidecar = MAX_OF(most.sidecar, s->restart_count);
        }
    }
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

static int compare_restarts(const struct core_v1_pod *p, const struct core_v1_pod *q)
{
    struct restarts x = restarts_of(p), y = restarts_of(q);
    BY(y.main, x.main);
    BY(y.sidecar, x.sidecar);
    return 0;
}

/* The later first; a time that is not known is later than any. */
static int compare_later(int64_t x_s, int64_t y_s)
{
    if (x_s == y_s)
        return 0;
    if (x_s == 0 || y_s == 0)
        return x_s == 0 ? -1 : 1;
    return x_s > y_s ? -1 : 1;
}

int pod_compare_for_deletion(const struct core_v1_pod *p, const struct core_v1_pod *q)
{
    int by = compare_stage(p, q);
    if (by == 0 && pod_is_ready(p))
        by = compare_later(ready_since(p), ready_since(q));
    if (by == 0)
        by = compare_restarts(p, q);
    if (by == 0)
        by = compare_later(p->metadata.creation_timestamp.seconds,
                           q->metadata.creation_timestamp.seconds);
    return by != 0 ? by : str_cmp(p->metadata.name, q->metadata.name);
}

static bool is_evicted(const struct core_v1_pod *p)
{
    return str_eqc(p->status.phase, "Failed") && str_eqc(p->status.reason, "Evicted");
}

int pod_compare_ended(const struct core_v1_pod *p, const struct core_v1_pod *q)
{
    BY(is_evicted(q), is_evicted(p));
    BY(p->metadata.creation_timestamp.seconds, q->metadata.creation_timestamp.seconds);
    return str_cmp(p->metadata.name, q->metadata.name);
}

/* The power of two of an age in nanoseconds: -1 of what has none. */
static int age_class(int64_t then_s, int64_t now_ns)
{
    int64_t age_ns = now_ns - then_s * NS_PER_S;
    int n = -1;
    for (; age_ns > 0; age_ns >>= 1)
        n++;
    return n;
}

/* Of two in the same class of age chance decides, in the shape of their uids: the newest of many
 * would all stand where pods were started last. */
static int compare_age_class(const struct core_v1_pod *p, const struct core_v1_pod *q, int64_t p_s,
                             int64_t q_s, int64_t now_ns)
{
    if (p_s == 0 || q_s == 0)
        return compare_later(p_s, q_s);
    BY(age_class(p_s, now_ns), age_class(q_s, now_ns));
    return str_cmp(p->metadata.uid, q->metadata.uid);
}

static int compare(const void *x, const void *y)
{
    const struct pod_rank *a = x, *b = y;
    const struct core_v1_pod *p = a->object->msg, *q = b->object->msg;
    int by = compare_stage(p, q);
    if (by != 0)
        return by;
    BY(a->cost, b->cost);
    BY(b->siblings, a->siblings);
    int64_t p_s = ready_since(p), q_s = ready_since(q);
    if (pod_is_ready(p) && p_s != q_s)
        return compare_age_class(p, q, p_s, q_s, a->now_ns);
    by = compare_restarts(p, q);
    if (by != 0)
        return by;
    p_s = p->metadata.creation_timestamp.seconds;
    q_s = q->metadata.creation_timestamp.seconds;
    if (p_s != q_s)
        return compare_age_class(p, q, p_s, q_s, a->now_ns);
    return str_cmp(p->metadata.name, q->metadata.name);
}

/* How many active pods there are on each node. */
static void count_on_nodes(struct map *m, struct api_object *const *pods, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct core_v1_pod *p = pods[i]->msg;
        if (pod_is_active(p) && !str_empty(p->spec.node_name))
            map_set(m, p->spec.node_name, (void *)((uintptr_t)map_get(m, p->spec.node_name) + 1));
    }
}

void pod_rank_for_deletion(struct pod_rank *pods, size_t count, struct api_object *const *related,
                           size_t related_count, int64_t now_ns)
{
    struct map on_node;
    map_init(&on_node);
    count_on_nodes(&on_node, related, related_count);
    for (size_t i = 0; i < count; i++) {
        const struct core_v1_pod *p = pods[i].object->msg;
        pods[i].siblings = (uint32_t)(uintptr_t)map_get(&on_node, p->spec.node_name);
        pods[i].cost = deletion_cost(p);
        pods[i].now_ns = now_ns;
    }
    map_done(&on_node);
    if (count > 1)
        qsort(pods, count, sizeof(*pods), compare);
}
