/* snapshot.c - see snapshot.h. */
#include "scheduler/snapshot.h"

#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/pod.h"
#include "lib/api/scheme.h"
#include "lib/base/base.h"
#include "lib/client/labels.h"
#include "lib/client/placement.h"
#include "lib/client/gang_key.h"
#include "scheduler/pod_record.h"

void snapshot_init(struct snapshot *s)
{
    *s = (struct snapshot){0};
    map_init(&s->by_name);
    map_init(&s->pods);
    map_init(&s->guests);
    map_init(&s->gangs);
    map_init(&s->topologies);
    map_init(&s->images);
    s->changes = xzalloc(CHANGES_MAX * sizeof(*s->changes));
    s->structure = 1;
}

static void change_done(struct change *c)
{
    api_object_unref(c->object);
    pod_record_unref(c->record);
}

/* p NULL: the node. */
static void note_change(struct snapshot *s, struct node_info *n, const struct pod_info *p, bool add)
{
    n->version++;
    if (n->index == SIZE_MAX)
        return; /* Nobody counts its pods; its coming is a change of structure. */
    struct change *c = &s->changes[s->change_count++ & (CHANGES_MAX - 1)];
    change_done(c);
    *c = (struct change){.node = n->index, .add = add};
    if (p == NULL)
        return;
    c->pod = p->pod;
    c->object = p->object != NULL ? api_object_ref(p->object) : NULL;
    c->record = p->record != NULL ? pod_record_ref(p->record) : NULL;
}

/* --- pods ------------------------------------------------------------------------------------ */

static void add_amounts(struct amounts *a, int64_t milli_cpu, int64_t memory, bool add)
{
    if (add) {
        (void)__builtin_add_overflow(a->milli_cpu, milli_cpu, &a->milli_cpu);
        (void)__builtin_add_overflow(a->memory, memory, &a->memory);
    } else {
        (void)__builtin_sub_overflow(a->milli_cpu, milli_cpu, &a->milli_cpu);
        (void)__builtin_sub_overflow(a->memory, memory, &a->memory);
    }
}

static void count_reclaim(struct node_info *n, const struct pod_info *p, bool add)
{
    const struct resources *r = &p->needs->requests;
    if (p->needs->reclaims)
        add_amounts(&n->reclaiming, r->milli_cpu, r->memory, add);
    if (p->estimate != NULL)
        add_amounts(&n->slack, p->estimate->slack.milli_cpu, p->estimate->slack.memory, add);
}

void node_info_add(struct node_info *n, struct pod_info *p)
{
    ASSERT(p->node == NULL);
    if (n->pod_count == n->pod_cap) {
        n->pod_cap = n->pod_cap != 0 ? n->pod_cap * 2 : 8;
        n->pods = xrealloc(n->pods, n->pod_cap * sizeof(struct pod_info *));
    }
    p->node = n;
    p->index = (uint32_t)n->pod_count;
    n->pods[n->pod_count++] = p;
    n->affinity_pods += p->needs->has_affinity;
    count_reclaim(n, p, true);
    resources_add(&n->requested, &p->needs->requests);
    /* Pods put on the node by hand may ask for more than numbers hold: what wraps here
     * wraps back when they go. */
    (void)__builtin_add_overflow(n->nonzero_milli_cpu, p->needs->nonzero_milli_cpu,
                                 &n->nonzero_milli_cpu);
    (void)__builtin_add_overflow(n->nonzero_memory, p->needs->nonzero_memory, &n->nonzero_memory);
}

static bool is_saturated(const struct resources *r)
{
    bool full =
        r->milli_cpu == INT64_MAX || r->memory == INT64_MAX || r->ephemeral_storage == INT64_MAX;
    for (size_t i = 0; i < r->scalar_count; i++)
        full |= r->scalars[i].amount == INT64_MAX;
    return full;
}

/* p is in no node any more. A sum that has come to its end does not tell what it was. */
static void take_requests(struct node_info *n, const struct pod_info *p)
{
    if (!is_saturated(&n->requested)) {
        resources_sub(&n->requested, &p->needs->requests);
        return;
    }
    resources_done(&n->requested);
    for (size_t i = 0; i < n->pod_count; i++)
        resources_add(&n->requested, &n->pods[i]->needs->requests);
}

void node_info_remove(struct node_info *n, struct pod_info *p)
{
    ASSERT(p->node == n);
    n->pods[p->index] = n->pods[--n->pod_count];
    n->pods[p->index]->index = p->index;
    p->node = NULL;
    n->affinity_pods -= p->needs->has_affinity;
    count_reclaim(n, p, false);
    take_requests(n, p);
    (void)__builtin_sub_overflow(n->nonzero_milli_cpu, p->needs->nonzero_milli_cpu,
                                 &n->nonzero_milli_cpu);
    (void)__builtin_sub_overflow(n->nonzero_memory, p->needs->nonzero_memory, &n->nonzero_memory);
}

struct pod_info *node_info_pop(struct node_info *n)
{
    struct pod_info *p = n->pods[n->pod_count - 1];
    uint32_t index = p->index;
    p->index = (uint32_t)n->pod_count - 1;
    node_info_remove(n, p);
    p->index = index;
    return p;
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
    free(n->guests);
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

/* What structure stands for. Nodes report their status every few minutes with
 * nothing new in it. */
static bool same_structure(const struct core_v1_node *x, const struct core_v1_node *y)
{
    return x->metadata.labels_count == y->metadata.labels_count &&
           labels_contain(x->metadata.labels, x->metadata.labels_count, y->metadata.labels,
                          y->metadata.labels_count) &&
           api_msg_equal(&core_v1_node_spec_msg, &x->spec, &y->spec);
}

static bool same_images(const struct core_v1_node *x, const struct core_v1_node *y)
{
    bool same = x->status.images_count == y->status.images_count;
    for (size_t i = 0; same && i < x->status.images_count; i++)
        same =
            api_msg_equal(&core_v1_container_image_msg, &x->status.images[i], &y->status.images[i]);
    return same;
}

static void count_image(struct snapshot *s, struct str name, bool add)
{
    struct image_state *state = map_get(&s->images, name);
    if (state == NULL) {
        state = xzalloc(sizeof(*state));
        map_set(&s->images, name, state);
    }
    state->nodes += add ? 1 : (size_t)-1;
    if (state->nodes == 0)
        free(map_remove(&s->images, name));
}

static void count_images(struct snapshot *s, const struct core_v1_node *node, bool add)
{
    for (size_t i = 0; i < node->status.images_count; i++)
        for (size_t k = 0; k < node->status.images[i].names_count; k++)
            count_image(s, node->status.images[i].names[k], add);
    s->images_rev += node->status.images_count != 0;
}

size_t snapshot_image_nodes(const struct snapshot *s, struct str name)
{
    const struct image_state *state = map_get(&s->images, name);
    return state != NULL ? state->nodes : 0;
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
    bool images = n->node == NULL || !same_images(n->node, node);
    if (n->node == NULL || !same_structure(n->node, node))
        s->structure++;
    if (images && n->node != NULL)
        count_images(s, n->node, false);
    struct api_object *old = n->object;
    n->object = api_object_ref(object);
    n->node = node;
    if (images)
        count_images(s, node, true);
    api_object_unref(old);
    struct resources allocatable = {0};
    resources_from_list(&allocatable, node->status.allocatable, node->status.allocatable_count);
    bool same = !images && resources_equal(&allocatable, &n->allocatable);
    resources_done(&n->allocatable);
    n->allocatable = allocatable;
    if (!same)
        note_change(s, n, NULL, false);
}

void snapshot_remove_node(struct snapshot *s, struct str name)
{
    struct node_info *n = map_get(&s->by_name, name);
    if (n == NULL || n->object == NULL)
        return;
    while (n->guest_count != 0)
        snapshot_unnominate(s, pod_info_uid(n->guests[0]));
    count_images(s, n->node, false);
    s->structure++;
    s->nodes[n->index] = s->nodes[--s->node_count];
    s->nodes[n->index]->index = n->index;
    n->index = SIZE_MAX;
    api_object_unref(n->object);
    n->object = NULL;
    n->node = NULL;
    resources_done(&n->allocatable);
    drop_if_empty(s, n);
}

struct node_info *snapshot_node(const struct snapshot *s, struct str name)
{
    struct node_info *n = map_get(&s->by_name, name);
    return n != NULL && n->object != NULL ? n : NULL;
}

/* --- pods in nodes ------------------------------------------------------------------------------
 */

static void count_in_gang(struct snapshot *s, const struct pod_info *p, bool add)
{
    char buffer[GANG_KEY_MAX];
    struct str key = gang_key(p->pod, buffer);
    uintptr_t count = (uintptr_t)map_get(&s->gangs, key) + (add ? 1 : (uintptr_t)-1);
    if (count != 0)
        (void)map_set(&s->gangs, key, (void *)count);
    else
        (void)map_remove(&s->gangs, key);
    s->gangs_rev++;
}

size_t snapshot_gang_pods(const struct snapshot *s, struct str key)
{
    return (uintptr_t)map_get(&s->gangs, key);
}

static void enter(struct snapshot *s, struct node_info *n, struct pod_info *p)
{
    node_info_add(n, p);
    p->in_gang = pod_has_gang(p->pod) && p->pod->metadata.deletion_timestamp == NULL;
    if (p->in_gang)
        count_in_gang(s, p, true);
    s->assumed_count += p->assumed;
    s->affinity_pods += p->needs->has_affinity;
    s->anti_affinity_pods += p->needs->has_required_anti_affinity;
    map_set(&s->pods, pod_info_uid(p), p);
    note_change(s, n, p, true);
}

static void place(struct snapshot *s, struct node_info *n, struct pod_info *p)
{
    snapshot_unnominate(s, pod_info_uid(p));
    enter(s, n, p);
}

static void leave(struct snapshot *s, struct pod_info *p)
{
    struct node_info *n = p->node;
    if (p->in_gang)
        count_in_gang(s, p, false);
    map_remove(&s->pods, pod_info_uid(p));
    s->assumed_count -= p->assumed;
    s->affinity_pods -= p->needs->has_affinity;
    s->anti_affinity_pods -= p->needs->has_required_anti_affinity;
    node_info_remove(n, p);
    note_change(s, n, p, false);
}

static void unplace(struct snapshot *s, struct pod_info *p)
{
    struct node_info *n = p->node;
    leave(s, p);
    pod_info_free(p);
    drop_if_empty(s, n);
}

struct pod_info *snapshot_lift(struct snapshot *s, struct str uid)
{
    struct pod_info *p = map_get(&s->pods, uid);
    if (p != NULL)
        leave(s, p);
    return p;
}

void snapshot_put_back(struct snapshot *s, struct pod_info *p, struct node_info *n)
{
    enter(s, n, p);
}

/* Is what anybody reads of a placed pod the same? Kubelets write its status all
 * the time, and a binding that comes back says nothing new. */
static bool confirms(const struct pod_info *p, const struct core_v1_pod *pod)
{
    const struct meta_v1_object_meta *x = &p->pod->metadata, *y = &pod->metadata;
    return str_eqc(pod->spec.node_name, p->node->name) && x->generation == y->generation &&
           (x->deletion_timestamp == NULL) == (y->deletion_timestamp == NULL) &&
           x->labels_count == y->labels_count &&
           labels_contain(x->labels, x->labels_count, y->labels, y->labels_count) &&
           pods_ask_same(p->pod, pod);
}

void snapshot_set_pod(struct snapshot *s, struct api_object *object)
{
    const struct core_v1_pod *pod = object->msg;
    struct pod_info *known = map_get(&s->pods, pod->metadata.uid);
    if (known != NULL && !pod_is_terminal(pod) && confirms(known, pod)) {
        struct pod_record *record = s->shapes != NULL ? pod_record_of(s->shapes, object) : NULL;
        pod_info_change(known, record == NULL ? api_object_ref(object) : NULL, record);
        s->assumed_count -= known->assumed;
        known->assumed = false;
        return;
    }
    snapshot_remove_pod(s, pod->metadata.uid);
    if (pod_is_terminal(pod))
        return;
    struct pod_info *p = s->shapes != NULL ? pod_info_of_record(pod_record_of(s->shapes, object))
                                           : pod_info_new(object);
    place(s, node_or_placeholder(s, pod->spec.node_name), p);
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
    ASSERT(!map_has(&s->pods, pod_info_uid(p)));
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

void snapshot_set_slack(struct snapshot *s, struct node_info *n, const struct amounts *slack)
{
    n->slack = *slack;
    note_change(s, n, NULL, false);
}

/* --- guests ----------------------------------------------------------------------------------- */

void snapshot_nominate(struct snapshot *s, struct api_object *pod, struct str node)
{
    struct node_info *n = snapshot_node(s, node);
    snapshot_unnominate(s, api_object_meta(pod)->uid);
    if (n == NULL)
        return;
    if (n->guest_count == n->guest_cap) {
        n->guest_cap = n->guest_cap != 0 ? n->guest_cap * 2 : 4;
        n->guests = xrealloc(n->guests, n->guest_cap * sizeof(struct pod_info *));
    }
    struct pod_info *p = pod_info_new(pod);
    p->guest = true;
    p->node = n;
    p->index = (uint32_t)n->guest_count;
    n->guests[n->guest_count++] = p;
    s->anti_affinity_guests += p->needs->has_required_anti_affinity;
    map_set(&s->guests, pod_info_uid(p), p);
    note_change(s, n, NULL, false);
}

void snapshot_unnominate(struct snapshot *s, struct str uid)
{
    struct pod_info *p = s->guests.count != 0 ? map_remove(&s->guests, uid) : NULL;
    if (p == NULL)
        return;
    struct node_info *n = p->node;
    n->guests[p->index] = n->guests[--n->guest_count];
    n->guests[p->index]->index = p->index;
    s->anti_affinity_guests -= p->needs->has_required_anti_affinity;
    p->node = NULL;
    pod_info_free(p);
    note_change(s, n, NULL, false);
}

/* --- topologies --------------------------------------------------------------------------------
 */

static void number_domains(const struct snapshot *s, struct topology *t)
{
    struct map ids;
    map_init(&ids);
    t->domains = xrealloc(t->domains, (s->node_count + 1) * sizeof(*t->domains));
    t->count = 0;
    for (size_t i = 0; i < s->node_count; i++) {
        const struct str *value = node_label(s->nodes[i]->node, str_of(t->key));
        t->domains[i] = -1;
        if (value == NULL)
            continue;
        uintptr_t id = (uintptr_t)map_get(&ids, *value);
        if (id == 0) {
            id = ++t->count;
            map_set(&ids, *value, (void *)id);
        }
        t->domains[i] = (int32_t)(id - 1);
    }
    t->structure = s->structure;
    map_done(&ids);
}

const struct topology *snapshot_topology(struct snapshot *s, struct str key)
{
    struct topology *t = map_get(&s->topologies, key);
    if (t == NULL) {
        t = xzalloc(sizeof(*t));
        t->key = xstrndup(key.data, key.len);
        map_set(&s->topologies, key, t);
    }
    if (t->structure != s->structure)
        number_domains(s, t);
    return t;
}

/* --- time and end ------------------------------------------------------------------------------
 */

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
    while (map_next(&s->guests, &pos, NULL, &v)) {
        ((struct pod_info *)v)->node = NULL;
        pod_info_free(v);
    }
    pos = 0;
    while (map_next(&s->by_name, &pos, NULL, &v))
        node_free(v);
    pos = 0;
    while (map_next(&s->topologies, &pos, NULL, &v)) {
        free(((struct topology *)v)->key);
        free(((struct topology *)v)->domains);
        free(v);
    }
    pos = 0;
    while (map_next(&s->images, &pos, NULL, &v))
        free(v);
    for (size_t i = 0; i < CHANGES_MAX; i++)
        change_done(&s->changes[i]);
    free(s->changes);
    map_done(&s->guests);
    map_done(&s->gangs);
    map_done(&s->topologies);
    map_done(&s->images);
    map_done(&s->pods);
    map_done(&s->by_name);
    free(s->nodes);
}
