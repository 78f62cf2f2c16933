/* pinning.h - machines, pods and chance for the tests of what is pinned to processors and NUMA
 * nodes. */
#ifndef TEST_KUBELET_PINNING_H
#define TEST_KUBELET_PINNING_H

#include "kubelet/admission.h"
#include "kubelet/machine_topology.h"
#include "kubelet/topology.h"

#include "api/core_v1.h"
#include "api/resource.h"
#include "lib/base/arena.h"
#include "lib/base/log.h"

#include <stdio.h>
#include <stdlib.h>

static uint64_t chance;

static inline uint64_t random_below(uint64_t n)
{
    chance = chance * 6364136223846793005u + 1442695040888963407u;
    return (chance >> 33) % n;
}

static inline void seed_from_env(void)
{
    const char *given = getenv("SEED");
    log_setup("test", LOG_ERROR);
    chance = given != NULL ? strtoull(given, NULL, 10) : 20260401;
    printf("SEED=%llu\n", (unsigned long long)chance);
}

/* Threads of a core are as far apart as there are cores: 0 and 8 of 8. */
static inline void regular_machine(struct machine_topology *t, int sockets, int nodes, int cores,
                                   int threads)
{
    int per_socket = nodes * cores, all = sockets * per_socket;
    *t = (struct machine_topology){.cpu_count = all * threads,
                                   .core_count = all,
                                   .socket_count = sockets,
                                   .cache_count = sockets};
    t->places = xzalloc(CPU_MAX * sizeof(*t->places));
    for (int cpu = 0; cpu < all * threads; cpu++) {
        int core = cpu % all;
        cpu_set_add(&t->online, cpu);
        t->places[cpu] = (struct cpu_place){.core = core,
                                            .socket = core / per_socket * per_socket,
                                            .cache = core / per_socket * per_socket,
                                            .numa = core / cores};
    }
    for (int n = 0; n < sockets * nodes; n++) {
        t->numa.nodes |= (numa_mask)1 << n;
        for (int k = 0; k < sockets * nodes; k++)
            t->numa.distance[n][k] = n == k ? 10 : 21;
    }
}

static inline void random_machine(struct machine_topology *t)
{
    regular_machine(t, 1 + (int)random_below(3), 1 + (int)random_below(2), 1 + (int)random_below(4),
                    1 + (int)random_below(2));
}

/* --- pods
 * ------------------------------------------------------------------------------------------ */

enum pod_part { POD_INIT, POD_SIDECAR, POD_APP };

struct pod_maker {
    struct arena *arena;
    struct core_v1_pod pod;
    struct core_v1_container init[8], apps[8];
};

static inline struct pod_maker *pod_new(const char *uid)
{
    struct arena *a = arena_new(0);
    struct pod_maker *p = ARENA_NEW(a, struct pod_maker);
    p->arena = a;
    p->pod.metadata.uid = str_of(arena_strdup(a, uid));
    p->pod.spec.containers = p->apps;
    p->pod.spec.init_containers = p->init;
    return p;
}

static inline void pod_free(struct pod_maker *p)
{
    if (p != NULL)
        arena_free(p->arena);
}

static inline const struct core_v1_pod *pod_of(const struct pod_maker *p)
{
    return &p->pod;
}

static inline struct api_quantity_entry *amounts(struct pod_maker *p, const char *cpu,
                                                 const char *memory)
{
    struct api_quantity_entry *q = ARENA_ARRAY(p->arena, struct api_quantity_entry, 3);
    q[0] = (struct api_quantity_entry){.key = STR("cpu"),
                                       .value = {str_of(arena_strdup(p->arena, cpu))}};
    q[1] = (struct api_quantity_entry){.key = STR("memory"),
                                       .value = {str_of(arena_strdup(p->arena, memory))}};
    return q;
}

static inline struct core_v1_container *pod_add(struct pod_maker *p, enum pod_part part,
                                                const char *name, const char *cpu,
                                                const char *memory, bool limits)
{
    struct core_v1_container *c = part == POD_APP ? &p->apps[p->pod.spec.containers_count++]
                                                  : &p->init[p->pod.spec.init_containers_count++];
    c->name = str_of(arena_strdup(p->arena, name));
    c->resources.requests = amounts(p, cpu, memory);
    c->resources.requests_count = 2;
    c->resources.limits = limits ? amounts(p, cpu, memory) : NULL;
    c->resources.limits_count = limits ? 2 : 0;
    if (part == POD_SIDECAR) {
        c->has_restart_policy = true;
        c->restart_policy = STR("Always");
    }
    return c;
}

static inline struct pod_maker *pod_random(size_t number)
{
    static const char *const cpus[] = {"1", "2", "3", "4", "500m"};
    static const char *const memory[] = {"1Gi", "2Gi", "512Mi", "3Gi"};
    char name[16];
    snprintf(name, sizeof(name), "pod-%zu", number);
    struct pod_maker *p = pod_new(name);
    for (uint64_t i = random_below(3); i > 0; i--) {
        snprintf(name, sizeof(name), "i%d", (int)i);
        pod_add(p, random_below(3) == 0 ? POD_SIDECAR : POD_INIT, name,
                cpus[random_below(ARRAY_SIZE(cpus))], memory[random_below(ARRAY_SIZE(memory))],
                true);
    }
    for (uint64_t i = 1 + random_below(2); i > 0; i--) {
        snprintf(name, sizeof(name), "c%d", (int)i);
        pod_add(p, POD_APP, name, cpus[random_below(ARRAY_SIZE(cpus))],
                memory[random_below(ARRAY_SIZE(memory))], random_below(8) != 0);
    }
    return p;
}

/* Gives all its containers what they ask for, by one hint. */
static inline bool admit_with(const struct topology_provider *p, struct arena *a,
                              const struct core_v1_pod *pod, struct topology_hint hint,
                              struct admission_refusal *why)
{
    *why = (struct admission_refusal){0};
    for (size_t i = 0; i < pod->spec.init_containers_count; i++)
        if (!p->allocate(p->arg, a, pod, &pod->spec.init_containers[i], &hint, why))
            return false;
    for (size_t i = 0; i < pod->spec.containers_count; i++)
        if (!p->allocate(p->arg, a, pod, &pod->spec.containers[i], &hint, why))
            return false;
    return true;
}

#endif
