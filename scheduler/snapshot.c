/* snapshot.c - see snapshot.h. */
#include "scheduler/snapshot.h"

#include "api/core_v1.h"
#include "lib/api/pod.h"
#include "lib/api/scheme.h"
#include "lib/base/base.h"

void snapshot_init(struct snapshot *s)
{
    *s = (struct snapshot){0};
    map_init(&s->by_name);
    map_init(&s->pods);
}

int32_t pod_priority(const struct core_v1_pod *pod)
{
    return pod->spec.has_priority ? pod->spec.priority : 0;
}

/* --- pods ------------------------------------------------------------------------------------ */

struct pod_info *pod_info_new(struct api_object *pod)
{
    struct pod_info *p = xzalloc(sizeof(*p));
    struct resources nonzero;
    p->object = api_object_ref(pod);
    p->pod = pod->msg;
    pod_requests(p->pod, false, &p->requests);
    pod_requests(p->pod, true, &nonzero);
    p->nonzero_milli_cpu = nonzero.milli_cpu;
    p->nonzero_memory = nonzero.memory;
    resources_done(&nonzero);
    const struct core_v1_affinity *a = p->pod->spec.affinity;
    if (a != NULL) {
        p->has_affinity = a->pod_affinity != NULL || a->pod_anti_affinity != NULL;
        p->has_required_anti_affinity =
            a->pod_anti_affinity != NULL &&
            a->pod_anti_affinity->required_during_scheduling_ignored_during_execution_count != 0;
    }
    return p;
}

void pod_info_free(struct pod_info *p)
{
    if (p == NULL)
        return;
    ASSERT(p->node == NULL);
    resources_done(&p->requests);
    api_object_unref(p->object);
    free(p);
}

void node_info_add(struct node_info *n, struct pod_info *p)
{
    ASSERT(p->node == NULL);
    if (n->pod_count == n->pod_cap) {
        n->pod_cap = n->pod_cap != 0 ? n->pod_cap * 2 : 8;
        n->pods = xrealloc(n->pods, n->pod_cap * sizeof(struct pod_info *));
    }
    p->node = n;
    p->index = n->pod_count;
    n->pods[n->pod_count++] = p;
    n->affinity_pods += p->has_affinity;
    resources_add(&n->requested, &p->requests);
    n->nonzero_milli_cpu += p->nonzero_milli_cpu;
    n->nonzero_memory += p->nonzero_memory;
}

void node_info_remove(struct node_info *n, struct pod_info *p)
{
    ASSERT(p->node == n);
    n->pods[p->index] = n->pods[--n->pod_count];
    n->pods[p->index]->index = p->index;
    p->node = NULL;
    n->affinity_pods -= p->has_affinity;
    resources_sub(&n->requested, &p->requests);
    n->nonzero_milli_cpu -= p->nonzero_milli_cpu;
    n->nonzero_memory -= p->nonzero_memory;
}

/* --- nodes ------------------------------------------------------------------------------------ */

static struct node_info *node_or_placeholder(struct snapshot *s, struct str name)
{
    struct node_info *n = map_get(&s->by_name, name);
    if (n != NULL)
        return n;
    n = xzalloc(sizeof(*n));
    n->name = xstrndup(name.data, name.len);
    n->index = SIZE_MAX;
    map_set(&s->by_name, name, n);
    return n;
}

static void node_free(struct node_info *n)
{
    resources_done(&n->allocatable);
    resources_done(&n->requested);
    api_object_unref(n->object);
    free(n->pods);
    free(n->name);
    free(n);
}

static void drop_if_empty(struct snapshot *s, struct node_info *n)
{
    if (n->object != NULL || n->pod_count != 0)
        return;
    map_remove(&s->by_name, str_of(n->name));
    node_free(n);
}

void snapshot_set_node(struct snapshot *s, struct api_object *object)
{
    const struct core_v1_node *node = object->msg;
    struct node_info *n = node_or_placeholder(s, node->metadata.name);
    if (n->index == SIZE_MAX) {
        if (s->node_count == s->node_cap) {
            s->node_cap = s->node_cap != 0 ? s->node_cap * 2 : 16;
            s->nodes = xrealloc(s->nodes, s->node_cap * sizeof(struct node_info *));
        }
        n->index = s->node_count;
        s->nodes[s->node_count++] = n;
    }
    api_object_unref(n->object);
    n->object = api_object_ref(object);
    n->node = node;
    resources_done(&n->allocatable);
    resources_from_list(&n->allocatable, node->status.allocatable, node->status.allocatable_count);
}

void snapshot_remove_node(struct snapshot *s, struct str name)
{
    struct node_info *n = map_get(&s->by_name, name);
    if (n == NULL || n->object == NULL)
        return;
    s->nodes[n->index] = s->nodes[--s->node_count];
    s->nodes[n->index]->index = n->index;
    n->index = SIZE_MAX;
    api_object_unref(n->object);
    n->object = NULL;
    n->node = NULL;
    drop_if_empty(s, n);
}

struct node_info *snapshot_node(const struct snapshot *s, struct str name)
{
    struct node_info *n = map_get(&s->by_name, name);
    return n != NULL && n->object != NULL ? n : NULL;
}

/* --- pods in nodes ------------------------------------------------------------------------------
 */

static void place(struct snapshot *s, struct node_info *n, struct pod_info *p)
{
    node_info_add(n, p);
    s->anti_affinity_pods += p->has_required_anti_affinity;
    map_set(&s->pods, p->pod->metadata.uid, p);
}

static void unplace(struct snapshot *s, struct pod_info *p)
{
    struct node_info *n = p->node;
    map_remove(&s->pods, p->pod->metadata.uid);
    s->anti_affinity_pods -= p->has_required_anti_affinity;
    node_info_remove(n, p);
    pod_info_free(p);
    drop_if_empty(s, n);
}

void snapshot_set_pod(struct snapshot *s, struct api_object *object)
{
    const struct core_v1_pod *pod = object->msg;
    snapshot_remove_pod(s, pod->metadata.uid);
    if (pod_is_terminal(pod))
        return;
    place(s, node_or_placeholder(s, pod->spec.node_name), pod_info_new(object));
}

void snapshot_remove_pod(struct snapshot *s, struct str uid)
{
    struct pod_info *p = map_get(&s->pods, uid);
    if (p != NULL)
        unplace(s, p);
}

void snapshot_assume(struct snapshot *s, struct api_object *pod, struct node_info *node)
{
    struct pod_info *p = pod_info_new(pod);
    ASSERT(!map_has(&s->pods, p->pod->metadata.uid));
    p->assumed = true;
    p->expires_ms = UINT64_MAX;
    place(s, node, p);
}

void snapshot_bound(struct snapshot *s, struct str uid, uint64_t expires_ms)
{
    struct pod_info *p = map_get(&s->pods, uid);
    if (p != NULL && p->assumed)
        p->expires_ms = expires_ms;
}

void snapshot_forget(struct snapshot *s, struct str uid)
{
    struct pod_info *p = map_get(&s->pods, uid);
    if (p != NULL && p->assumed)
        unplace(s, p);
}

size_t snapshot_expire(struct snapshot *s, uint64_t now_ms)
{
    size_t pos = 0, expired = 0;
    void *v;
    while (map_next(&s->pods, &pos, NULL, &v)) {
        struct pod_info *p = v;
        if (p->assumed && p->expires_ms <= now_ms) {
            unplace(s, p);
            expired++;
        }
    }
    return expired;
}

void snapshot_done(struct snapshot *s)
{
    size_t pos = 0;
    void *v;
    while (map_next(&s->pods, &pos, NULL, &v)) {
        struct pod_info *p = v;
        node_info_remove(p->node, p);
        pod_info_free(p);
    }
    pos = 0;
    while (map_next(&s->by_name, &pos, NULL, &v))
        node_free(v);
    map_done(&s->pods);
    map_done(&s->by_name);
    free(s->nodes);
}
