/* admission.c - see admission.h. */
#include "kubelet/admission.h"

#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "scheduler/framework.h"
#include "scheduler/plugins/plugins.h"

#include "api/core_v1.h"

#include <inttypes.h>
#include <string.h>

static bool lacks(struct arena *a, const char *name, int64_t want, int64_t used, int64_t capacity,
                  struct admission_refusal *ret)
{
    if (want == 0 || want <= capacity - used)
        return false;
    ret->reason = arena_printf(a, "OutOf%s", name).data;
    ret->message = arena_printf(a,
                                "Node didn't have enough resource: %s, requested: %" PRId64
                                ", used: %" PRId64 ", capacity: %" PRId64,
                                name, want, used, capacity)
                       .data;
    return true;
}

/* Of reclaiming pods the scheduler knows how many there may be: they take nothing from others, and
 * nobody's reservations stand against them. */
static int64_t reserved(const struct pod_info *p, int64_t requested, int64_t reclaiming)
{
    return p->needs->reclaims ? 0 : requested - reclaiming;
}

static bool lacks_any(struct arena *a, const struct node_info *n, const struct pod_info *p,
                      const struct map *managed, struct admission_refusal *ret)
{
    const struct resources *used = &n->requested, *have = &n->allocatable,
                           *want = &p->needs->requests;
    int64_t milli_cpu = reserved(p, used->milli_cpu, n->reclaiming.milli_cpu),
            memory = reserved(p, used->memory, n->reclaiming.memory);
    if (lacks(a, "pods", 1, (int64_t)n->pod_count, have->pods, ret) ||
        lacks(a, "cpu", want->milli_cpu, milli_cpu, have->milli_cpu, ret) ||
        lacks(a, "memory", want->memory, memory, have->memory, ret) ||
        lacks(a, "ephemeral-storage", want->ephemeral_storage, used->ephemeral_storage,
              have->ephemeral_storage, ret))
        return true;
    for (size_t i = 0; i < want->scalar_count; i++) {
        const char *name = want->scalars[i].name;
        int64_t capacity = resources_scalar(have, name);
        /* Somebody else may answer for it: it is no resource of this node. */
        if ((capacity == 0 && strchr(name, '/') != NULL) ||
            (managed != NULL && map_has(managed, str_of(name))))
            continue;
        if (lacks(a, name, want->scalars[i].amount, resources_scalar(used, name), capacity, ret))
            return true;
    }
    return false;
}

static bool refuses(struct cycle *c, const struct plugin *p, const struct node_info *n,
                    struct admission_refusal *ret)
{
    struct refusal r = {0};
    if (p->filter(c, n, &r) == FIT)
        return false;
    ret->reason = p->name;
    ret->message = arena_printf(c->arena, "Predicate %s failed: " STR_FMT, p->name,
                                STR_ARG(r.count != 0 ? r.reasons[0] : STR("")))
                       .data;
    return true;
}

static bool is_untolerated(const struct core_v1_node *node, const struct core_v1_pod_spec *spec)
{
    for (size_t i = 0; i < node->spec.taints_count; i++)
        if (str_eqc(node->spec.taints[i].effect, "NoExecute") &&
            !spec_tolerates(spec, &node->spec.taints[i]))
            return true;
    return false;
}

struct judged {
    struct cycle cycle;
    const struct map *managed; /* Resources; NULL: none. */
};

static bool check(struct cycle *c, const struct node_info *n, struct admission_refusal *ret)
{
    const struct core_v1_pod_spec *spec = &c->pod->pod->spec;
    if (spec->os != NULL && !str_eqc(spec->os->name, "linux")) {
        ret->reason = "PodOSNotSupported";
        ret->message = "Failed to admit pod as the OS field doesn't match node OS";
        return false;
    }
    const struct map *managed = CONTAINER_OF(c, struct judged, cycle)->managed;
    if (lacks_any(c->arena, n, c->pod, managed, ret) || refuses(c, &plugin_node_affinity, n, ret) ||
        refuses(c, &plugin_node_name, n, ret) || refuses(c, &plugin_node_ports, n, ret))
        return false;
    if (is_untolerated(n->node, spec)) {
        ret->reason = "TaintToleration";
        ret->message =
            "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate";
        return false;
    }
    return true;
}

static bool exceeds(struct arena *a, const char *name, int64_t want, int64_t capacity,
                    struct admission_refusal *ret)
{
    if (want <= capacity)
        return false;
    ret->reason = "Infeasible";
    ret->message = arena_printf(a,
                                "Node didn't have enough capacity: %s, requested: %" PRId64
                                ", capacity: %" PRId64,
                                name, want, capacity)
                       .data;
    return true;
}

static bool check_amounts(struct cycle *c, const struct node_info *n, struct admission_refusal *ret)
{
    const struct resources *want = &c->pod->needs->requests, *have = &n->allocatable;
    if (exceeds(c->arena, "cpu", want->milli_cpu, have->milli_cpu, ret) ||
        exceeds(c->arena, "memory", want->memory, have->memory, ret))
        return false;
    int64_t milli_cpu = reserved(c->pod, n->requested.milli_cpu, n->reclaiming.milli_cpu),
            memory = reserved(c->pod, n->requested.memory, n->reclaiming.memory);
    bool lacking = lacks(c->arena, "cpu", want->milli_cpu, milli_cpu, have->milli_cpu, ret) ||
                   lacks(c->arena, "memory", want->memory, memory, have->memory, ret);
    if (lacking)
        ret->reason = "Deferred";
    return !lacking;
}

typedef bool check_fn(struct cycle *c, const struct node_info *n, struct admission_refusal *ret);

static bool run_check(struct arena *a, struct api_object *node, struct api_object *pod,
                      struct api_object *const *others, size_t other_count,
                      const struct map *managed, check_fn *judge, struct admission_refusal *ret)
{
    struct snapshot s;
    static const struct pod_facts none;
    snapshot_init(&s);
    snapshot_set_node(&s, node);
    for (size_t i = 0; i < other_count; i++)
        snapshot_set_pod(&s, others[i]);
    struct judged j = {.managed = managed,
                       .cycle = {.arena = a,
                                 .state_arena = a,
                                 .snapshot = &s,
                                 .profile = profile_default(),
                                 .pod = pod_info_new(pod),
                                 .facts = &none}};
    bool ok = judge(&j.cycle, s.nodes[0], ret);
    pod_info_free((struct pod_info *)(uintptr_t)j.cycle.pod);
    snapshot_done(&s);
    return ok;
}

bool admission_check(struct arena *a, struct api_object *node, struct api_object *pod,
                     struct api_object *const *others, size_t other_count,
                     const struct map *managed, struct admission_refusal *ret)
{
    return run_check(a, node, pod, others, other_count, managed, check, ret);
}

bool admission_fits(struct arena *a, struct api_object *node, struct api_object *pod,
                    struct api_object *const *others, size_t other_count,
                    struct admission_refusal *ret)
{
    return run_check(a, node, pod, others, other_count, NULL, check_amounts, ret);
}
