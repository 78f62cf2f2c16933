/* topology.c - see topology.h. Names and texts are upstream's. */
#include "kubelet/topology.h"

#include "kubelet/admission.h"

#include "api/core_v1.h"
#include "lib/base/arena.h"
#include "lib/base/log.h"

#include <string.h>

#define PROVIDER_MAX 8

struct topology {
    struct topology_config config;
    struct numa_layout layout;
    struct topology_provider providers[PROVIDER_MAX];
    size_t provider_count;
    struct topology_counts counts;
};

static const char *const policies[] = {
    [TOPOLOGY_NONE] = "none",
    [TOPOLOGY_BEST_EFFORT] = "best-effort",
    [TOPOLOGY_RESTRICTED] = "restricted",
    [TOPOLOGY_SINGLE_NUMA_NODE] = "single-numa-node",
};

const char *topology_policy_name(enum topology_policy p)
{
    return policies[p];
}

/* --- configuration -------------------------------------------------------------------------- */

static int parse_policy(const char *text, enum topology_policy *ret, struct error *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
        if (strcmp(policies[i], text) == 0) {
            *ret = (enum topology_policy)i;
            return 0;
        }
    }
    return error_set(err, E_INVALID,
                     "--topology-manager-policy: '%s' is none of none, "
                     "best-effort, restricted and single-numa-node",
                     text);
}

static int parse_option(struct str key, struct str value, struct topology_config *c,
                        struct error *err)
{
    static const char field[] = "--topology-manager-policy-options";
    if (str_eqc(key, "prefer-closest-numa-nodes")) {
        c->rules.prefer_closest = str_eqc(value, "true");
        if (!c->rules.prefer_closest && !str_eqc(value, "false"))
            return error_set(err, E_INVALID, "%s: " STR_FMT ": '" STR_FMT "' is not true or false",
                             field, STR_ARG(key), STR_ARG(value));
        return 0;
    }
    if (!str_eqc(key, "max-allowable-numa-nodes"))
        return error_set(err, E_INVALID,
                         "%s: unknown option '" STR_FMT
                         "': known are prefer-closest-numa-nodes and max-allowable-numa-nodes",
                         field, STR_ARG(key));
    if (!str_to_i64(value, &c->max_numa_nodes) || c->max_numa_nodes < NUMA_NODES_DEFAULT_MAX)
        return error_set(err, E_INVALID,
                         "%s: " STR_FMT ": '" STR_FMT "' is not a number of at least %d", field,
                         STR_ARG(key), STR_ARG(value), NUMA_NODES_DEFAULT_MAX);
    return 0;
}

int topology_config_parse(const char *policy, const char *scope, const struct flag_list *options,
                          struct topology_config *ret, struct error *err)
{
    struct topology_config c = {.max_numa_nodes = NUMA_NODES_DEFAULT_MAX};
    int rc = policy != NULL ? parse_policy(policy, &c.rules.policy, err) : 0;
    if (rc == 0 && scope != NULL) {
        c.by_pod = strcmp(scope, "pod") == 0;
        if (!c.by_pod && strcmp(scope, "container") != 0)
            rc = error_set(err, E_INVALID,
                           "--topology-manager-scope: '%s' is neither "
                           "container nor pod",
                           scope);
    }
    for (size_t i = 0; rc == 0 && options != NULL && i < options->count; i++) {
        struct str key, value;
        str_cut(str_of(options->items[i]), '=', &key, &value);
        rc = parse_option(str_trim(key), str_trim(value), &c, err);
    }
    if (rc == 0)
        *ret = c;
    return rc;
}

/* --- life ----------------------------------------------------------------------------------- */

int topology_new(const struct topology_config *config, const struct numa_layout *layout,
                 struct topology **ret, struct error *err)
{
    int nodes = numa_mask_count(layout->nodes);
    if (config->rules.policy != TOPOLOGY_NONE && nodes > config->max_numa_nodes)
        return error_set(
            err, E_INVALID,
            "--topology-manager-policy: for %s this machine has too many NUMA nodes, %d: set "
            "max-allowable-numa-nodes of --topology-manager-policy-options to as many",
            topology_policy_name(config->rules.policy), nodes);
    if (config->rules.policy != TOPOLOGY_NONE && nodes > NUMA_NODES_MAX)
        return error_set(
            err, E_INVALID,
            "--topology-manager-policy: for %s this machine has %d NUMA nodes, more than the "
            "%d that it can work with: use policy none",
            topology_policy_name(config->rules.policy), nodes, NUMA_NODES_MAX);
    struct topology *t = xzalloc(sizeof(*t));
    t->config = *config;
    t->layout = *layout;
    *ret = t;
    return 0;
}

void topology_free(struct topology *t)
{
    free(t);
}

void topology_add_provider(struct topology *t, const struct topology_provider *p)
{
    ASSERT(t->provider_count < PROVIDER_MAX);
    t->providers[t->provider_count++] = *p;
}

const struct numa_layout *topology_layout(const struct topology *t)
{
    return &t->layout;
}

enum topology_policy topology_policy(const struct topology *t)
{
    return t->config.rules.policy;
}

const struct topology_counts *topology_counts(const struct topology *t)
{
    return &t->counts;
}

bool topology_is_by_pod(const struct topology *t)
{
    return t->config.by_pod;
}

/* --- admission ------------------------------------------------------------------------------ */

/* c: NULL for the whole pod. */
static bool find_hint(const struct topology *t, struct arena *a, const struct core_v1_pod *pod,
                      const struct core_v1_container *c, struct topology_hint *ret)
{
    struct topology_hints h = {.arena = a};
    for (size_t i = 0; i < t->provider_count && t->config.rules.policy != TOPOLOGY_NONE; i++) {
        const struct topology_provider *p = &t->providers[i];
        if (c == NULL && p->pod_hints != NULL)
            p->pod_hints(p->arg, pod, &h);
        else if (c != NULL && p->container_hints != NULL)
            p->container_hints(p->arg, pod, c, &h);
    }
    bool ok = topology_merge(&t->config.rules, &t->layout, &h, ret);
    log_debug("topology of pod " STR_FMT "/" STR_FMT " container " STR_FMT
              ": nodes %#llx%s%s, %zu resources",
              STR_ARG(pod->metadata.namespace), STR_ARG(pod->metadata.name),
              STR_ARG(c != NULL ? c->name : STR("*")), (unsigned long long)ret->nodes,
              ret->preferred ? ", preferred" : "", ok ? "" : ", refused", h.count);
    return ok;
}

static bool guarantees_alignment(const struct topology *t)
{
    return t->config.rules.policy == TOPOLOGY_SINGLE_NUMA_NODE;
}

static bool refuse(struct topology *t, struct admission_refusal *ret)
{
    if (guarantees_alignment(t))
        t->counts.not_aligned++;
    ret->reason = "TopologyAffinityError";
    ret->message = "Resources cannot be allocated with Topology locality";
    return false;
}

static bool allocate(const struct topology *t, struct arena *a, const struct core_v1_pod *pod,
                     const struct core_v1_container *c, const struct topology_hint *hint,
                     struct admission_refusal *ret)
{
    for (size_t i = 0; i < t->provider_count; i++) {
        const struct topology_provider *p = &t->providers[i];
        struct admission_refusal why = {0};
        if (p->allocate(p->arg, a, pod, c, hint, &why))
            continue;
        if (why.reason == NULL) {
            why.reason = "UnexpectedAdmissionError";
            why.message = str_c(arena_printf(a, "Allocate failed due to %s, which is unexpected",
                                             why.message != NULL ? why.message : "an error"));
        }
        *ret = why;
        return false;
    }
    return true;
}

static bool admit_container(struct topology *t, struct arena *a, const struct core_v1_pod *pod,
                            const struct core_v1_container *c, const struct topology_hint *of_pod,
                            struct admission_refusal *ret)
{
    struct topology_hint hint;
    if (of_pod != NULL)
        hint = *of_pod;
    else if (!find_hint(t, a, pod, c, &hint))
        return refuse(t, ret);
    if (!allocate(t, a, pod, c, &hint, ret))
        return false;
    if (of_pod == NULL && guarantees_alignment(t))
        t->counts.aligned++;
    return true;
}

static bool admit(struct topology *t, struct arena *a, const struct core_v1_pod *pod,
                  struct admission_refusal *ret)
{
    const struct core_v1_pod_spec *s = &pod->spec;
    struct topology_hint hint;
    bool by_pod = t->config.by_pod && t->config.rules.policy != TOPOLOGY_NONE;
    if (by_pod && !find_hint(t, a, pod, NULL, &hint))
        return refuse(t, ret);
    for (size_t i = 0; i < s->init_containers_count; i++)
        if (!admit_container(t, a, pod, &s->init_containers[i], by_pod ? &hint : NULL, ret))
            return false;
    for (size_t i = 0; i < s->containers_count; i++)
        if (!admit_container(t, a, pod, &s->containers[i], by_pod ? &hint : NULL, ret))
            return false;
    if (by_pod && guarantees_alignment(t))
        t->counts.aligned++;
    return true;
}

bool topology_admit(struct topology *t, struct arena *a, const struct core_v1_pod *pod,
                    struct admission_refusal *ret)
{
    t->counts.requests++;
    if (admit(t, a, pod, ret))
        return true;
    t->counts.errors++;
    topology_free_pod(t, pod->metadata.uid);
    return false;
}

void topology_free_pod(struct topology *t, struct str pod_uid)
{
    for (size_t i = 0; i < t->provider_count; i++)
        t->providers[i].free_pod(t->providers[i].arg, pod_uid);
}
