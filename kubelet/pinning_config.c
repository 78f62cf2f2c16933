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
    struct cpu_set reserved;
    int rc = topology_config_parse(c->topology_manager_policy, c->topology_manager_scope,
                                   &c->topology_manager_options, &topology, err);
    if (rc == 0)
        rc = cpu_manager_config_parse(c->cpu_manager_policy, &c->cpu_manager_options, &cpus, err);
    if (rc == 0)
        rc = reserved_cpus(c, &reserved, err);
    if (rc == 0 && c->cpu_manager_reconcile_ns < 100000000)
        rc = error_set(err, E_INVALID,
                       "--cpu-manager-reconcile-period must be at "
                       "least 100ms");
    return rc;
}

/* --- what is reserved
 * ----------------------------------------------------------------------------- */

static int64_t reserved_milli(const struct kubelet_config *c)
{
    const struct flag_list *lists[] = {&c->system_reserved, &c->kube_reserved};
    int64_t sum = 0;
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        for (size_t k = 0; k < lists[i]->count; k++) {
            struct str key, value;
            struct quantity q;
            if (str_cut(str_of(lists[i]->items[k]), '=', &key, &value) && str_eqc(key, "cpu") &&
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
    config.reserved_milli = reserved_milli(c);
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

int pinning_new(struct kubelet *k, struct pinning **ret, struct error *err)
{
    struct pinning *p = xzalloc(sizeof(*p));
    p->k = k;
    int rc = machine_topology_read("", k->memory_capacity, &p->machine, err);
    if (rc == 0)
        rc = start_topology(p, err);
    if (rc == 0)
        rc = start_cpus(p, err);
    if (rc != 0) {
        cpu_manager_free(p->cpus);
        topology_free(p->topology);
        machine_topology_done(&p->machine);
        free(p->cpu_file.path);
        free(p);
        return rc;
    }
    pinning_init_apply(p);
    pinning_add_metrics(p);
    log_info("CPUs: %d in %d cores, %d sockets, %d NUMA nodes; policies: topology %s, CPU %s",
             p->machine.cpu_count, p->machine.core_count, p->machine.socket_count,
             numa_mask_count(p->machine.numa.nodes),
             topology_policy_name(topology_policy(p->topology)),
             cpu_manager_state(p->cpus)->policy);
    *ret = p;
    return 0;
}
