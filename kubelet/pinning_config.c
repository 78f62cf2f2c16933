/* pinning_config.c - settings of the topology, CPU and memory managers, and their start. */
#include "kubelet/pinning_internal.h"

#include "kubelet/state_file.h"

#include "lib/api/quantity.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/log.h"

#include <string.h>

static int reserved_cpus(const struct kubelet_config *c, struct cpu_set *ret, struct error *err)
{
    *ret = (struct cpu_set){0};
    if (c->reserved_cpus == NULL)
        return 0;
    int rc = cpu_set_parse(str_of(c->reserved_cpus), ret, err);
    return rc == 0 ? 0 : error_prefix(err, "--reserved-cpus: '%s'", c->reserved_cpus);
}

int pinning_check(const struct kubelet_config *c, struct error *err)
{
    struct topology_config topology;
    struct cpu_manager_config cpus;
    struct memory_manager_config memory;
    struct cpu_set reserved;
    AUTO_ARENA *a = arena_new(0);
    int rc = topology_config_parse(c->topology_manager_policy, c->topology_manager_scope,
                                   &c->topology_manager_options, &topology, err);
    if (rc == 0)
        rc = cpu_manager_config_parse(c->cpu_manager_policy, &c->cpu_manager_options, &cpus, err);
    if (rc == 0)
        rc = reserved_cpus(c, &reserved, err);
    if (rc == 0)
        rc = memory_manager_config_parse(c->memory_manager_policy, &c->reserved_memory, a, &memory,
                                         err);
    if (rc == 0 && c->cpu_manager_reconcile_ns < 100000000)
        rc = error_set(err, E_INVALID,
                       "--cpu-manager-reconcile-period must be at "
                       "least 100ms");
    return rc;
}

/* --- what is reserved
 * ----------------------------------------------------------------------------- */

/* The sum of what --system-reserved and --kube-reserved keep of a resource, in thousandths. */
static int64_t reserved_milli(const struct kubelet_config *c, const char *resource)
{
    const struct flag_list *lists[] = {&c->system_reserved, &c->kube_reserved};
    int64_t sum = 0;
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        for (size_t k = 0; k < lists[i]->count; k++) {
            struct str key, value;
            struct quantity q;
            if (str_cut(str_of(lists[i]->items[k]), '=', &key, &value) && str_eqc(key, resource) &&
                quantity_parse(value, &q, NULL) == 0)
                sum += quantity_milli_value(&q);
        }
    }
    return sum;
}

static void without_cpu(struct arena *a, struct flag_list *list)
{
    const char **items = ARENA_ARRAY(a, const char *, list->count + 2);
    size_t count = 0;
    for (size_t i = 0; i < list->count; i++)
        if (strncmp(list->items[i], "cpu=", 4) != 0)
            items[count++] = list->items[i];
    *list = (struct flag_list){.items = items, .count = count};
}

int pinning_take_reserved(struct kubelet *k, struct error *err)
{
    struct kubelet_config *c = &k->config;
    struct cpu_set reserved;
    int rc = reserved_cpus(c, &reserved, err);
    if (rc != 0 || cpu_set_is_empty(&reserved))
        return rc;
    without_cpu(k->arena, &c->system_reserved);
    without_cpu(k->arena, &c->kube_reserved);
    c->system_reserved.items[c->system_reserved.count++] =
        str_c(arena_printf(k->arena, "cpu=%d", cpu_set_count(&reserved)));
    return 0;
}

/* --- start
 * ------------------------------------------------------------------------------------------ */

static uint64_t cpu_generation(const struct pinning *p)
{
    return cpu_manager_generation(p->cpus);
}

static void write_cpus(const struct pinning *p, struct buf *out)
{
    cpu_state_write(cpu_manager_state(p->cpus), out);
}

static int start_topology(struct pinning *p, struct error *err)
{
    const struct kubelet_config *c = &p->k->config;
    struct topology_config config;
    int rc = topology_config_parse(c->topology_manager_policy, c->topology_manager_scope,
                                   &c->topology_manager_options, &config, err);
    return rc == 0 ? topology_new(&config, &p->machine.numa, &p->topology, err) : rc;
}

static int start_cpus(struct pinning *p, struct error *err)
{
    const struct kubelet_config *c = &p->k->config;
    struct cpu_manager_config config;
    struct topology_provider provider;
    AUTO_BUF state = BUF_INIT;
    p->cpu_file = (struct pinning_file){.pinning = p,
                                        .path = xasprintf("%s/cpu_manager_state", c->root_dir),
                                        .manager = "CPU",
                                        .generation = cpu_generation,
                                        .write = write_cpus};
    int rc = cpu_manager_config_parse(c->cpu_manager_policy, &c->cpu_manager_options, &config, err);
    if (rc == 0)
        rc = reserved_cpus(c, &config.reserved, err);
    if (rc != 0)
        return rc;
    config.reserved_milli = reserved_milli(c, "cpu");
    rc = state_file_read(p->cpu_file.path, "CPU", &state, err);
    if (rc != 0 && rc != E_NOT_FOUND)
        return rc;
    rc = cpu_manager_new(&config, &p->machine, topology_policy(p->topology), buf_str(&state),
                         &p->cpus, err);
    if (rc == E_CORRUPT)
        return state_file_bad(err, p->cpu_file.path, "CPU");
    if (rc != 0)
        return rc;
    cpu_manager_provider(p->cpus, &provider);
    topology_add_provider(p->topology, &provider);
    return pinning_save_now(&p->cpu_file, err);
}

static uint64_t memory_generation(const struct pinning *p)
{
    return memory_manager_generation(p->memory);
}

static void write_memory(const struct pinning *p, struct buf *out)
{
    memory_manager_write(p->memory, out);
}

/* What the node's allocatable memory leaves out. */
static void held_back(const struct kubelet *k, const struct memory_machine *m, int64_t *ret)
{
    for (size_t t = 0; t < m->type_count; t++)
        ret[t] = reserved_milli(&k->config, m->types[t]) / 1000;
    ret[0] += eviction_hard_amount(&k->eviction_policy, EVICTION_MEMORY, k->memory_capacity);
}

static int start_memory(struct pinning *p, struct error *err)
{
    const struct kubelet_config *c = &p->k->config;
    struct memory_manager_config config;
    struct topology_provider provider;
    int64_t reserved[MEMORY_TYPES_MAX];
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF state = BUF_INIT;
    p->memory_file =
        (struct pinning_file){.pinning = p,
                              .path = xasprintf("%s/memory_manager_state", c->root_dir),
                              .manager = "memory",
                              .generation = memory_generation,
                              .write = write_memory};
    int rc =
        memory_manager_config_parse(c->memory_manager_policy, &c->reserved_memory, a, &config, err);
    if (rc == 0)
        rc = state_file_read(p->memory_file.path, "memory", &state, err);
    if (rc != 0 && rc != E_NOT_FOUND)
        return rc;
    struct memory_machine *machine = ARENA_NEW(a, struct memory_machine);
    memory_machine_of(&p->machine, machine);
    held_back(p->k, machine, reserved);
    rc = memory_manager_new(&config, machine, reserved, buf_str(&state), &p->memory, err);
    if (rc == E_CORRUPT)
        return state_file_bad(err, p->memory_file.path, "memory");
    if (rc != 0)
        return rc;
    memory_manager_provider(p->memory, &provider);
    topology_add_provider(p->topology, &provider);
    return pinning_save_now(&p->memory_file, err);
}

int pinning_new(struct kubelet *k, struct pinning **ret, struct error *err)
{
    struct pinning *p = xzalloc(sizeof(*p));
    p->k = k;
    int rc = machine_topology_read("", k->memory_capacity, &p->machine, err);
    if (rc == 0)
        rc = start_topology(p, err);
    if (rc == 0)
        rc = start_cpus(p, err);
    if (rc == 0)
        rc = start_memory(p, err);
    if (rc != 0) {
        memory_manager_free(p->memory);
        cpu_manager_free(p->cpus);
        topology_free(p->topology);
        machine_topology_done(&p->machine);
        free(p->cpu_file.path);
        free(p->memory_file.path);
        free(p);
        return rc;
    }
    pinning_init_apply(p);
    pinning_add_metrics(p);
    log_info(
        "CPUs: %d in %d cores, %d sockets, %d NUMA nodes; policies: topology %s, CPU %s, memory %s",
        p->machine.cpu_count, p->machine.core_count, p->machine.socket_count,
        numa_mask_count(p->machine.numa.nodes), topology_policy_name(topology_policy(p->topology)),
        cpu_manager_state(p->cpus)->policy, memory_manager_state(p->memory)->policy);
    *ret = p;
    return 0;
}
