/* memory_manager.c - see memory_manager.h: what containers ask for, get and give back.
 * Configuration is in memory_manager_config.c. Texts are upstream's. */
#include "kubelet/memory_manager_internal.h"

#include "kubelet/admission.h"
#include "kubelet/resources.h"

#include "api/core_v1.h"
#include "api/resource.h"
#include "lib/base/arena.h"
#include "lib/base/log.h"

#include <string.h>

/* --- what is asked for ---------------------------------------------------------------------- */

struct want {
    int64_t bytes[MEMORY_TYPES_MAX];
    bool any;
    bool impossible; /* A kind that the machine does not have. */
};

static bool is_memory(struct str name)
{
    return str_eqc(name, "memory") || str_find_str(name, STR("hugepages-")) == 0;
}

static bool is_managed(const struct memory_manager *m, const struct core_v1_pod *pod)
{
    const struct core_v1_resource_requirements *all = pod->spec.resources;
    return m->is_static && pod_qos_class(pod) == QOS_GUARANTEED &&
           (all == NULL || (all->requests_count == 0 && all->limits_count == 0));
}

/* Requests of static pods may stand in the limits alone. */
static void want_of(const struct memory_manager *m, const struct core_v1_pod *pod,
                    const struct core_v1_container *c, struct want *ret)
{
    const struct core_v1_resource_requirements *r = &c->resources;
    *ret = (struct want){0};
    if (!is_managed(m, pod))
        return;
    for (size_t i = 0; i < r->limits_count; i++) {
        struct str name = r->limits[i].key;
        char text[MEMORY_TYPE_NAME_MAX];
        int64_t bytes = 0;
        if (!is_memory(name) || name.len >= sizeof(text))
            continue;
        memcpy(text, name.data, name.len);
        text[name.len] = '\0';
        if (!resource_value(r->requests, r->requests_count, text, &bytes))
            resource_value(r->limits, r->limits_count, text, &bytes);
        if (bytes <= 0)
            continue;
        int type = memory_type_of(m->empty, name);
        ret->any = true;
        if (type < 0)
            ret->impossible = true;
        else
            ret->bytes[type] = bytes;
    }
}

/* Init containers run one after another, sidecars and the others at once. */
static void want_of_pod(const struct memory_manager *m, const struct core_v1_pod *pod,
                        struct want *ret)
{
    const struct core_v1_pod_spec *s = &pod->spec;
    struct want init = {0}, together = {0}, one;
    for (size_t i = 0; i < s->init_containers_count + s->containers_count; i++) {
        bool is_init = i < s->init_containers_count;
        const struct core_v1_container *c =
            is_init ? &s->init_containers[i] : &s->containers[i - s->init_containers_count];
        want_of(m, pod, c, &one);
        together.any |= one.any;
        together.impossible |= one.impossible;
        for (size_t t = 0; t < m->empty->type_count; t++) {
            if (is_init && !container_is_sidecar(c))
                init.bytes[t] = MAX_OF(init.bytes[t], together.bytes[t] + one.bytes[t]);
            else
                together.bytes[t] += one.bytes[t];
        }
    }
    for (size_t t = 0; t < m->empty->type_count; t++)
        together.bytes[t] = MAX_OF(together.bytes[t], init.bytes[t]);
    *ret = together;
}

/* --- what init containers leave ------------------------------------------------------------------
 */

static bool is_run_once(const struct core_v1_pod *pod, const char *name)
{
    for (size_t i = 0; i < pod->spec.init_containers_count; i++)
        if (str_eqc(pod->spec.init_containers[i].name, name))
            return !container_is_sidecar(&pod->spec.init_containers[i]);
    return false;
}

/* Memory on these very nodes that only init containers hold: they have ended when others start. */
static int64_t reusable(const struct memory_manager *m, const struct core_v1_pod *pod,
                        numa_mask nodes, size_t type)
{
    int64_t sum = 0;
    for (size_t i = 0; i < m->state.count; i++) {
        const struct memory_assignment *x = &m->state.items[i];
        if (!str_eqc(pod->metadata.uid, x->pod) || !is_run_once(pod, x->container))
            continue;
        for (size_t k = 0; k < x->count; k++)
            if (x->blocks[k].type == type && x->blocks[k].nodes == nodes)
                sum += x->blocks[k].bytes;
    }
    return sum;
}

/* It is somebody else's now: all blocks of a pod together are what the pod holds. */
static void take_over(struct memory_manager *m, const struct core_v1_pod *pod,
                      const struct memory_block *b)
{
    int64_t rest = b->bytes;
    for (size_t i = 0; i < m->state.count && rest > 0; i++) {
        struct memory_assignment *x = &m->state.items[i];
        if (!str_eqc(pod->metadata.uid, x->pod) || !is_run_once(pod, x->container))
            continue;
        for (size_t k = 0; k < x->count; k++) {
            if (x->blocks[k].type != b->type || x->blocks[k].nodes != b->nodes)
                continue;
            int64_t part = MIN_OF(rest, x->blocks[k].bytes);
            x->blocks[k].bytes -= part;
            rest -= part;
        }
    }
}

/* --- where it can come from
 * ----------------------------------------------------------------------- */

/* A node that is used alone is not taken into a group, nor one of a group into another. */
static bool may_group(const struct memory_machine *now, numa_mask nodes)
{
    for (numa_mask left = nodes; left != 0; left &= left - 1) {
        const struct memory_node *n = &now->node[__builtin_ctzll(left)];
        if (n->assignments > 0 && (numa_mask_count(n->cells) == 1 || n->cells != nodes))
            return false;
    }
    return true;
}

static bool is_possible(const struct memory_manager *m, const struct core_v1_pod *pod,
                        numa_mask nodes, const struct want *w, bool *ret_large_enough)
{
    const struct memory_machine *now = m->now;
    bool fits = true, large_enough = true;
    for (size_t t = 0; t < now->type_count; t++) {
        int64_t allocatable = 0, free_bytes = 0;
        for (numa_mask left = nodes; left != 0; left &= left - 1) {
            const struct memory_table *x = &now->node[__builtin_ctzll(left)].tables[t];
            allocatable += x->allocatable;
            free_bytes += x->free;
        }
        large_enough = large_enough && allocatable >= w->bytes[t];
        fits = fits && (w->bytes[t] == 0 || free_bytes + reusable(m, pod, nodes, t) >= w->bytes[t]);
    }
    *ret_large_enough = large_enough;
    if (!large_enough || !fits)
        return false;
    if (numa_mask_count(nodes) == 1)
        return numa_mask_count(now->node[__builtin_ctzll(nodes)].cells) == 1;
    return may_group(now, nodes);
}

/* All sets of nodes that can hold it: each once, preferred those of the fewest nodes that ever
 * could. */
static size_t find_hints(const struct memory_manager *m, struct arena *a,
                         const struct core_v1_pod *pod, const struct want *w,
                         struct topology_hint **ret)
{
    struct topology_hint *list = NULL;
    size_t count = 0, cap = 0;
    int least = numa_mask_count(m->now->nodes);
    numa_mask nodes = 0;
    while (!w->impossible && numa_mask_next(m->now->nodes, &nodes)) {
        bool large_enough, possible = is_possible(m, pod, nodes, w, &large_enough);
        if (large_enough)
            least = MIN_OF(least, numa_mask_count(nodes));
        if (!possible)
            continue;
        list = arena_grow(a, list, count, &cap, sizeof(*list));
        list[count++].nodes = nodes;
    }
    for (size_t i = 0; i < count; i++)
        list[i].preferred = numa_mask_count(list[i].nodes) == least;
    *ret = list;
    return count;
}

/* The best that has all of these nodes; nodes 0: of all. */
static bool best_with(const struct topology_hint *list, size_t count, numa_mask nodes,
                      struct topology_hint *ret)
{
    bool found = false;
    for (size_t i = 0; i < count; i++) {
        const struct topology_hint *x = &list[i];
        if ((nodes & ~x->nodes) != 0)
            continue;
        if (!found || (x->preferred && !ret->preferred) ||
            (x->preferred == ret->preferred && numa_mask_is_narrower(x->nodes, ret->nodes)))
            *ret = *x;
        found = true;
    }
    return found;
}

/* --- hints --------------------------------------------------------------------------------------
 */

static void tell_hints(const struct memory_manager *m, const struct core_v1_pod *pod,
                       const struct want *w, struct topology_hints *h)
{
    struct topology_hint *list;
    size_t count = find_hints(m, h->arena, pod, w, &list);
    /* None at all: upstream does not care then, and allocating fails. */
    for (size_t t = 0; t < m->now->type_count && count > 0; t++) {
        if (w->bytes[t] == 0)
            continue;
        struct topology_resource_hints *r = topology_hints_add(h, m->now->types[t]);
        for (size_t i = 0; i < count; i++)
            topology_hint_add(h, r, list[i].nodes, list[i].preferred);
    }
}

/* What it has is its hint, if it is what it asks for. */
static void tell_blocks(const struct memory_manager *m, const struct memory_assignment *x,
                        const struct want *w, struct topology_hints *h)
{
    size_t asked = 0;
    for (size_t t = 0; t < m->now->type_count; t++)
        asked += w->bytes[t] > 0;
    for (size_t k = 0; k < x->count; k++)
        if (x->count != asked || x->blocks[k].bytes != w->bytes[x->blocks[k].type])
            return;
    for (size_t k = 0; k < x->count; k++)
        topology_hint_add(h, topology_hints_add(h, m->now->types[x->blocks[k].type]),
                          x->blocks[k].nodes, true);
}

static void container_hints(void *arg, const struct core_v1_pod *pod,
                            const struct core_v1_container *c, struct topology_hints *h)
{
    const struct memory_manager *m = arg;
    const struct memory_assignment *has = memory_state_find(&m->state, pod->metadata.uid, c->name);
    struct want w;
    want_of(m, pod, c, &w);
    if (!w.any)
        return;
    if (has != NULL)
        tell_blocks(m, has, &w, h);
    else
        tell_hints(m, pod, &w, h);
}

static void pod_hints(void *arg, const struct core_v1_pod *pod, struct topology_hints *h)
{
    const struct memory_manager *m = arg;
    struct want w;
    want_of_pod(m, pod, &w);
    if (w.any && !memory_manager_has_pod(m, pod->metadata.uid))
        tell_hints(m, pod, &w, h);
}

/* --- giving and taking
 * ---------------------------------------------------------------------------- */

static bool choose(const struct memory_manager *m, struct arena *a, const struct core_v1_pod *pod,
                   const struct want *w, const struct topology_hint *hint, numa_mask *ret,
                   const char **ret_why)
{
    struct topology_hint *list, best = {0};
    bool large_enough;
    size_t count = find_hints(m, a, pod, w, &list);
    if (hint->nodes != 0 && !w->impossible && is_possible(m, pod, hint->nodes, w, &large_enough)) {
        *ret = hint->nodes;
        return true;
    }
    /* The topology manager does not care, or its nodes are only a part of what is needed. */
    if (!best_with(list, count, hint->nodes, &best)) {
        *ret_why = hint->nodes == 0
                       ? "[memorymanager] failed to get the default NUMA affinity, no NUMA nodes "
                         "with enough memory is available"
                       : "[memorymanager] failed to find NUMA nodes to extend the current topology "
                         "hint";
        return false;
    }
    if (!best.preferred && hint->preferred) {
        *ret_why = hint->nodes == 0 ? "[memorymanager] failed to find the default preferred hint"
                                    : "[memorymanager] failed to find the extended preferred hint";
        return false;
    }
    *ret = best.nodes;
    return true;
}

static bool allocate(void *arg, struct arena *a, const struct core_v1_pod *pod,
                     const struct core_v1_container *c, const struct topology_hint *hint,
                     struct admission_refusal *ret)
{
    struct memory_manager *m = arg;
    struct want w;
    numa_mask nodes;
    want_of(m, pod, c, &w);
    if (!w.any || memory_state_find(&m->state, pod->metadata.uid, c->name) != NULL)
        return true;
    m->counts.requests++;
    if (!choose(m, a, pod, &w, hint, &nodes, &ret->message)) {
        m->counts.errors++;
        return false;
    }
    struct memory_assignment mine = {0};
    for (size_t t = 0; t < m->empty->type_count; t++) {
        if (w.bytes[t] == 0)
            continue;
        mine.blocks[mine.count] =
            (struct memory_block){.nodes = nodes, .type = t, .bytes = w.bytes[t]};
        take_over(m, pod, &mine.blocks[mine.count++]);
    }
    struct memory_assignment *x = memory_state_add(&m->state, pod->metadata.uid, c->name);
    memcpy(x->blocks, mine.blocks, sizeof(mine.blocks));
    x->count = mine.count;
    memory_manager_settle(m);
    m->generation++;
    log_info("pod " STR_FMT "/" STR_FMT " container " STR_FMT " has its memory on NUMA nodes %#llx",
             STR_ARG(pod->metadata.namespace), STR_ARG(pod->metadata.name), STR_ARG(c->name),
             (unsigned long long)nodes);
    return true;
}

static void free_pod(void *arg, struct str uid)
{
    struct memory_manager *m = arg;
    bool any = false;
    for (size_t i = m->state.count; i-- > 0;) {
        if (!str_eqc(uid, m->state.items[i].pod))
            continue;
        memory_state_remove(&m->state, i);
        any = true;
    }
    if (!any)
        return;
    memory_manager_settle(m);
    m->generation++;
}

void memory_manager_provider(struct memory_manager *m, struct topology_provider *ret)
{
    *ret = (struct topology_provider){.name = "memory",
                                      .arg = m,
                                      .container_hints = container_hints,
                                      .pod_hints = pod_hints,
                                      .allocate = allocate,
                                      .free_pod = free_pod};
}

/* --- questions -----------------------------------------------------------------------------------
 */

uint64_t memory_manager_generation(const struct memory_manager *m)
{
    return m->generation;
}

const struct memory_state *memory_manager_state(const struct memory_manager *m)
{
    return &m->state;
}

const struct memory_machine *memory_manager_machine(const struct memory_manager *m)
{
    return m->now;
}

bool memory_manager_is_static(const struct memory_manager *m)
{
    return m->is_static;
}

const struct memory_assignment *memory_manager_blocks(const struct memory_manager *m,
                                                      struct str pod_uid, struct str container)
{
    return memory_state_find(&m->state, pod_uid, container);
}

numa_mask memory_manager_nodes(const struct memory_manager *m, struct str pod_uid,
                               struct str container)
{
    const struct memory_assignment *x = memory_state_find(&m->state, pod_uid, container);
    numa_mask nodes = 0;
    for (size_t i = 0; x != NULL && i < x->count; i++)
        nodes |= x->blocks[i].nodes;
    return nodes;
}

bool memory_manager_has_pod(const struct memory_manager *m, struct str pod_uid)
{
    for (size_t i = 0; i < m->state.count; i++)
        if (str_eqc(pod_uid, m->state.items[i].pod))
            return true;
    return false;
}

const struct memory_manager_counts *memory_manager_counts(const struct memory_manager *m)
{
    return &m->counts;
}
