/* fuzz_pinning_state.c - the files of the CPU and the memory manager, and lists of processors. What
 * is taken must be written and read again as the same. */
#include "kubelet/cpu_manager.h"
#include "kubelet/memory_manager.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_cpus(struct str text, bool strict)
{
    static struct cpu_place places[8] = {{0}, {.core = 1}, {.core = 2}, {.core = 3}};
    const struct machine_topology t = {.online = {{0xf}},
                                       .places = places,
                                       .cpu_count = 4,
                                       .core_count = 4,
                                       .socket_count = 1,
                                       .numa = {.nodes = 1}};
    const struct cpu_manager_config c = {
        .is_static = true, .reserved_milli = 1000, .strict_reservation = strict};
    struct cpu_manager *m, *again;
    struct error err;
    AUTO_BUF b = BUF_INIT, twice = BUF_INIT;
    if (cpu_manager_new(&c, &t, TOPOLOGY_NONE, text, &m, &err) != 0)
        return;
    cpu_state_write(cpu_manager_state(m), &b);
    ASSERT(cpu_manager_new(&c, &t, TOPOLOGY_NONE, buf_str(&b), &again, &err) == 0);
    cpu_state_write(cpu_manager_state(again), &twice);
    ASSERT(str_eq(buf_str(&b), buf_str(&twice)));
    cpu_manager_free(m);
    cpu_manager_free(again);
}

static void try_memory(struct str text)
{
    static struct memory_machine empty;
    struct memory_state s;
    struct error err;
    empty = (struct memory_machine){.types = {"memory"}, .type_count = 1, .nodes = 1};
    empty.node[0] =
        (struct memory_node){.cells = 1, .tables = {{.total = 9, .allocatable = 9, .free = 9}}};
    memory_state_init(&s, "Static");
    memory_state_read(&s, text, &empty, &err);
    memory_state_done(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_ARENA *a = arena_new(0);
    struct str text = str_n((const char *)data, size);
    struct cpu_set s, again;
    struct error err;
    log_setup("fuzz", LOG_ERROR);
    if (cpu_set_parse(text, &s, &err) == 0) {
        ASSERT(cpu_set_parse(str_of(cpu_set_text(&s, a)), &again, &err) == 0);
        ASSERT(cpu_set_equal(&s, &again));
    }
    try_cpus(text, false);
    try_cpus(text, true);
    try_memory(text);
    return 0;
}

static const char *const seeds[] = {
    "0-3,8,10-12",
    "{\"policyName\":\"static\",\"defaultCpuSet\":\"0,3\",\"entries\":{\"p\":{\"c\":\"1-2\"}}}",
    "{\"policyName\":\"static\",\"defaultCpuSet\":\"1-3\",\"checksum\":0}",
    "{\"policyName\":\"Static\",\"machineState\":{\"0\":{\"numberOfAssignments\":0,\"memoryMap\":{"
    "\"memory\":{\"total\":9,\"systemReserved\":0,\"allocatable\":9,\"reserved\":0,\"free\":9}},"
    "\"cells\":[0]}},\"entries\":{\"p\":{\"c\":[{\"numaAffinity\":[0],\"type\":\"memory\","
    "\"size\":2}]}},\"checksum\":1}",
};

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    if (i >= ARRAY_SIZE(seeds) || strlen(seeds[i]) > cap)
        return 0;
    memcpy(p, seeds[i], strlen(seeds[i]));
    return strlen(seeds[i]);
}
