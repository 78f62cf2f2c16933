/* cpu_manager_config.c - the CPU manager's settings, what they need of the machine, and whether a
 * state that was saved can be gone on with. */
#include "kubelet/cpu_manager_internal.h"

#include "lib/base/arena.h"

#include <string.h>

#define OPTIONS_FIELD "--cpu-manager-policy-options"

static bool *option_of(struct cpu_manager_config *c, struct str key)
{
    const struct {
        const char *name;
        bool *value;
    } options[] = {
        {"full-pcpus-only", &c->full_cores},
        {"distribute-cpus-across-numa", &c->distribute_numa},
        {"distribute-cpus-across-cores", &c->distribute_cores},
        {"align-by-socket", &c->align_sockets},
        {"strict-cpu-reservation", &c->strict_reservation},
        {"prefer-align-cpus-by-uncorecache", &c->align_caches},
    };
    for (size_t i = 0; i < ARRAY_SIZE(options); i++)
        if (str_eqc(key, options[i].name))
            return options[i].value;
    return NULL;
}

static int parse_option(const char *text, struct cpu_manager_config *c, struct error *err)
{
    struct str key, value;
    str_cut(str_of(text), '=', &key, &value);
    key = str_trim(key);
    value = str_trim(value);
    bool *to = option_of(c, key);
    if (to == NULL)
        return error_set(err, E_INVALID,
                         OPTIONS_FIELD
                         ": unknown option '" STR_FMT
                         "': known are full-pcpus-only, distribute-cpus-across-numa, "
                         "distribute-cpus-across-cores, align-by-socket, "
                         "strict-cpu-reservation and prefer-align-cpus-by-uncorecache",
                         STR_ARG(key));
    *to = str_eqc(value, "true");
    if (!*to && !str_eqc(value, "false"))
        return error_set(err, E_INVALID,
                         OPTIONS_FIELD ": " STR_FMT ": '" STR_FMT "' is not true or false",
                         STR_ARG(key), STR_ARG(value));
    return 0;
}

static int check_pairs(const struct cpu_manager_config *c, struct error *err)
{
    const struct {
        bool both;
        const char *first, *second;
    } pairs[] = {
        {c->full_cores && c->distribute_cores, "full-pcpus-only", "distribute-cpus-across-cores"},
        {c->distribute_numa && c->distribute_cores, "distribute-cpus-across-numa",
         "distribute-cpus-across-cores"},
        {c->align_caches && c->distribute_cores, "prefer-align-cpus-by-uncorecache",
         "distribute-cpus-across-cores"},
        {c->align_caches && c->distribute_numa, "prefer-align-cpus-by-uncorecache",
         "distribute-cpus-across-numa"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
        if (pairs[i].both)
            return error_set(err, E_INVALID,
                             OPTIONS_FIELD ": %s and %s can not be used at the same time: choose "
                                           "one of them",
                             pairs[i].first, pairs[i].second);
    return 0;
}

int cpu_manager_config_parse(const char *policy, const struct flag_list *options,
                             struct cpu_manager_config *ret, struct error *err)
{
    struct cpu_manager_config c = {.is_static = policy != NULL && strcmp(policy, "static") == 0};
    if (policy != NULL && !c.is_static && strcmp(policy, "none") != 0)
        return error_set(err, E_INVALID, "--cpu-manager-policy: '%s' is neither none nor static",
                         policy);
    int rc = 0;
    for (size_t i = 0; rc == 0 && options != NULL && i < options->count; i++)
        rc = parse_option(options->items[i], &c, err);
    if (rc == 0 && !c.is_static && options != NULL && options->count > 0)
        rc = error_set(err, E_INVALID, OPTIONS_FIELD ": options need --cpu-manager-policy=static");
    if (rc == 0)
        rc = check_pairs(&c, err);
    if (rc == 0)
        *ret = c;
    return rc;
}

/* --- with the machine ---------------------------------------------------------------------------
 */

static int check_sockets(const struct cpu_manager *m, enum topology_policy topology,
                         struct error *err)
{
    if (!m->config.align_sockets)
        return 0;
    if (topology == TOPOLOGY_SINGLE_NUMA_NODE)
        return error_set(err, E_INVALID,
                         OPTIONS_FIELD
                         ": align-by-socket does not go with "
                         "--topology-manager-policy=single-numa-node: choose one of them");
    if (m->machine->socket_count > numa_mask_count(m->nodes))
        return error_set(err, E_INVALID,
                         OPTIONS_FIELD
                         ": align-by-socket needs sockets of whole NUMA nodes, but "
                         "this machine has %d sockets and %d NUMA nodes: leave it out",
                         m->machine->socket_count, numa_mask_count(m->nodes));
    return 0;
}

static int reserve(struct cpu_manager *m, struct error *err)
{
    const struct cpu_manager_config *c = &m->config;
    AUTO_ARENA *a = arena_new(0);
    if (!cpu_set_contains(&m->machine->online, &c->reserved))
        return error_set(err, E_INVALID,
                         "--reserved-cpus: '%s' has CPUs that are not online: "
                         "online are %s",
                         cpu_set_text(&c->reserved, a), cpu_set_text(&m->machine->online, a));
    m->reserved = c->reserved;
    if (!cpu_set_is_empty(&c->reserved) || !c->is_static)
        return 0;
    int64_t count = (c->reserved_milli + 999) / 1000;
    if (count <= 0)
        return error_set(
            err, E_INVALID,
            "--cpu-manager-policy: the static policy requires the cpu of --system-reserved and "
            "--kube-reserved to be greater than zero, or --reserved-cpus");
    /* As upstream: taken like a container's, from all. */
    if (count > m->machine->cpu_count ||
        !cpu_pick(m->machine, &m->rules, &m->machine->online, (int)count, &m->reserved))
        return error_set(err, E_INVALID,
                         "--system-reserved and --kube-reserved: %lld CPUs are to be reserved, but "
                         "this machine has %d",
                         (long long)count, m->machine->cpu_count);
    return 0;
}

/* --- a state that was saved
 * ------------------------------------------------------------------------ */

static int check_state(const struct cpu_manager *m, struct error *err)
{
    const struct cpu_state *s = &m->state;
    AUTO_ARENA *a = arena_new(0);
    struct cpu_set known = s->shared;
    if (cpu_set_is_empty(&s->shared) && s->count > 0)
        return error_set(err, E_INVALID, "default cpuset cannot be empty");
    if (m->config.strict_reservation && cpu_set_intersects(&m->reserved, &s->shared))
        return error_set(err, E_INVALID,
                         "some of strictly reserved cpus: \"%s\" are present in defaultCpuSet: "
                         "\"%s\"",
                         cpu_set_text(&m->reserved, a), cpu_set_text(&s->shared, a));
    if (!m->config.strict_reservation && !cpu_set_contains(&s->shared, &m->reserved))
        return error_set(err, E_INVALID,
                         "not all reserved cpus: \"%s\" are present in defaultCpuSet: \"%s\"",
                         cpu_set_text(&m->reserved, a), cpu_set_text(&s->shared, a));
    for (size_t i = 0; i < s->count; i++) {
        const struct cpu_assignment *x = &s->items[i];
        if (cpu_set_intersects(&x->cpus, &s->shared) || cpu_set_intersects(&x->cpus, &m->reserved))
            return error_set(err, E_INVALID,
                             "pod: %s, container: %s cpuset: \"%s\" overlaps with default cpuset "
                             "\"%s\"",
                             x->pod, x->container, cpu_set_text(&x->cpus, a),
                             cpu_set_text(&s->shared, a));
        for (size_t k = 0; k < i; k++)
            if (strcmp(s->items[k].pod, x->pod) != 0 &&
                cpu_set_intersects(&s->items[k].cpus, &x->cpus))
                return error_set(err, E_INVALID, "pods %s and %s have the same CPUs of \"%s\"",
                                 s->items[k].pod, x->pod, cpu_set_text(&x->cpus, a));
        known = cpu_set_or(&known, &x->cpus);
    }
    if (m->config.strict_reservation)
        known = cpu_set_or(&known, &m->reserved);
    if (!cpu_set_equal(&known, &m->machine->online))
        return error_set(err, E_INVALID,
                         "current set of available CPUs \"%s\" doesn't match with CPUs in state "
                         "\"%s\"",
                         cpu_set_text(&m->machine->online, a), cpu_set_text(&known, a));
    return 0;
}

static int restore(struct cpu_manager *m, struct str text, struct error *err)
{
    int rc = text.len > 0 ? cpu_state_read(&m->state, text, err) : 0;
    if (rc != 0 || !m->config.is_static)
        return rc;
    if (cpu_set_is_empty(&m->state.shared) && m->state.count == 0) {
        m->state.shared = m->config.strict_reservation
                              ? cpu_set_minus(&m->machine->online, &m->reserved)
                              : m->machine->online;
        return 0;
    }
    return check_state(m, err);
}

int cpu_manager_new(const struct cpu_manager_config *config, const struct machine_topology *machine,
                    enum topology_policy topology, struct str state, struct cpu_manager **ret,
                    struct error *err)
{
    struct cpu_manager *m = xzalloc(sizeof(*m));
    m->config = *config;
    m->machine = machine;
    m->nodes = machine_numa_of(machine, &machine->online);
    m->rules =
        (struct cpu_pick_rules){.distribute_numa = config->distribute_numa,
                                .distribute_cores = config->distribute_cores,
                                .align_caches = config->align_caches,
                                .group = config->full_cores ? machine_cpus_per_core(machine) : 1};
    m->generation = 1; /* A first state is saved, too. */
    cpu_state_init(&m->state, config->is_static ? "static" : "none");
    int rc = check_sockets(m, topology, err);
    if (rc == 0)
        rc = reserve(m, err);
    if (rc == 0 && restore(m, state, err) != 0) {
        struct error why = *err;
        rc = error_set(err, E_CORRUPT, "%s", error_message(&why));
    }
    if (rc == 0)
        *ret = m;
    else
        cpu_manager_free(m);
    return rc;
}

void cpu_manager_free(struct cpu_manager *m)
{
    if (m == NULL)
        return;
    cpu_state_done(&m->state);
    free(m);
}
