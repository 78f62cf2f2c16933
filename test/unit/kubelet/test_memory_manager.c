/* test_memory_manager.c - memory by NUMA node on random machines: never more than there is, none
 * lost, the same after a restart, nodes alone or in one group; the state file, also upstream's and
 * damaged. */
#include "kubelet/memory_manager.h"

#include "lib/base/buf.h"
#include "test/unit/kubelet/pinning.h"
#include "test/unit/unit.h"

#include <string.h>

#define GIB (1ll << 30)
#define MIB (1ll << 20)

/* nodes with so many GiB each, and huge pages of 2 MiB. */
static void memory_machine(struct memory_machine *m, int nodes, int64_t gib, int64_t pages)
{
    struct machine_topology t = {.hugepage_bytes = {2 * MIB}, .hugepage_size_count = 1};
    for (int i = 0; i < nodes; i++) {
        t.numa.nodes |= (numa_mask)1 << i;
        t.memory[i].bytes = gib * GIB;
        t.memory[i].hugepages[0] = pages;
    }
    memory_machine_of(&t, m);
}

static struct memory_manager *manager_of(const struct memory_machine *machine, struct str state)
{
    static const struct memory_reservation reserved[] = {{0, "memory", GIB}};
    const struct memory_manager_config c = {
        .is_static = true, .reservations = reserved, .reservation_count = 1};
    const int64_t held_back[MEMORY_TYPES_MAX] = {GIB};
    struct memory_manager *m = NULL;
    struct error err;
    int rc = memory_manager_new(&c, machine, held_back, state, &m, &err);
    ck_assert_msg(rc == 0, "%s", error_message(&err));
    return m;
}

static bool give(struct memory_manager *m, const struct core_v1_pod *pod, struct topology_hint hint,
                 struct admission_refusal *why)
{
    static struct arena *kept; /* The reason outlives the call. */
    struct topology_provider p;
    if (kept == NULL)
        kept = arena_new(0);
    memory_manager_provider(m, &p);
    return admit_with(&p, kept, pod, hint, why);
}

static void take_back(struct memory_manager *m, const struct core_v1_pod *pod)
{
    struct topology_provider p;
    memory_manager_provider(m, &p);
    p.free_pod(p.arg, pod->metadata.uid);
}

static void check_invariants(const struct memory_manager *m)
{
    const struct memory_machine *now = memory_manager_machine(m);
    const struct memory_state *s = memory_manager_state(m);
    int64_t held[MEMORY_TYPES_MAX] = {0}, reserved[MEMORY_TYPES_MAX] = {0};
    for (size_t i = 0; i < s->count; i++)
        for (size_t k = 0; k < s->items[i].count; k++) {
            const struct memory_block *b = &s->items[i].blocks[k];
            held[b->type] += b->bytes;
            /* A node is in one group, or alone. */
            for (numa_mask left = b->nodes; left != 0; left &= left - 1)
                ck_assert_uint_eq(now->node[__builtin_ctzll(left)].cells, b->nodes);
        }
    for (numa_mask left = now->nodes; left != 0; left &= left - 1)
        for (size_t t = 0; t < now->type_count; t++) {
            const struct memory_table *x = &now->node[__builtin_ctzll(left)].tables[t];
            ck_assert_int_ge(x->free, 0);
            ck_assert_int_eq(x->free + x->reserved, x->allocatable);
            reserved[t] += x->reserved;
        }
    for (size_t t = 0; t < now->type_count; t++)
        ck_assert_int_eq(held[t], reserved[t]);
}

static struct str text_of(const struct memory_manager *m, struct buf *b)
{
    buf_clear(b);
    memory_manager_write(m, b);
    return buf_str(b);
}

/* Pods come and go: what they hold is what is taken, and an agent that is started anew goes on with
 * the same. */
START_TEST(test_churn)
{
    seed_from_env();
    struct memory_machine *machine = xzalloc(sizeof(*machine));
    for (int round = 0; round < 60; round++) {
        struct pod_maker *pods[10] = {0};
        memory_machine(machine, 1 + (int)random_below(4), 3, 0);
        struct memory_manager *m = manager_of(machine, STR(""));
        for (int step = 0; step < 60; step++) {
            AUTO_BUF b = BUF_INIT, again = BUF_INIT;
            struct admission_refusal why;
            const struct topology_hint any = {.preferred = random_below(2) == 0};
            size_t i = random_below(ARRAY_SIZE(pods));
            if (pods[i] == NULL) {
                pods[i] = pod_random(i);
                if (!give(m, pod_of(pods[i]), any, &why)) {
                    take_back(m, pod_of(pods[i]));
                    pod_free(take(pods[i]));
                }
            } else {
                take_back(m, pod_of(pods[i]));
                pod_free(take(pods[i]));
            }
            check_invariants(m);
            struct memory_manager *next = manager_of(machine, text_of(m, &b));
            ck_assert(str_eq(text_of(next, &again), buf_str(&b)));
            memory_manager_free(m);
            m = next;
            for (size_t k = 0; k < ARRAY_SIZE(pods); k++)
                ck_assert(pods[k] == NULL || give(m, pod_of(pods[k]), any, &why));
            ck_assert(str_eq(text_of(m, &again), buf_str(&b)));
        }
        for (size_t i = 0; i < ARRAY_SIZE(pods); i++) {
            if (pods[i] != NULL)
                take_back(m, pod_of(pods[i]));
            pod_free(pods[i]);
        }
        ck_assert_uint_eq(memory_manager_state(m)->count, 0);
        check_invariants(m);
        memory_manager_free(m);
    }
    free(machine);
}
END_TEST

static numa_mask nodes_of(const struct memory_manager *m, const char *pod)
{
    return memory_manager_nodes(m, str_of(pod), STR("c"));
}

static struct pod_maker *one(const char *name, const char *memory)
{
    struct pod_maker *p = pod_new(name);
    pod_add(p, POD_APP, "c", "1", memory, true);
    return p;
}

/* What fits on a node is on one, what does not on a group, whose nodes are then used by it alone.
 */
START_TEST(test_groups)
{
    struct admission_refusal why;
    struct memory_machine *machine = xzalloc(sizeof(*machine));
    memory_machine(machine, 4, 4, 0);
    struct memory_manager *m = manager_of(machine, STR(""));
    const struct topology_hint any = {.preferred = true};
    struct pod_maker *large = one("large", "6Gi"), *small = one("small", "3Gi"),
                     *next = one("next", "3Gi"), *huge = one("huge", "16Gi");
    ck_assert(give(m, pod_of(small), any, &why));
    ck_assert_uint_eq(nodes_of(m, "small"), 1);
    ck_assert(give(m, pod_of(large), any, &why));
    ck_assert_uint_eq(nodes_of(m, "large"), 6);
    ck_assert(give(m, pod_of(next), any, &why));
    ck_assert_uint_eq(nodes_of(m, "next"), 8);
    check_invariants(m);
    ck_assert(!give(m, pod_of(huge), any, &why));
    ck_assert_ptr_null(why.reason);
    ck_assert(strstr(why.message, "no NUMA nodes with enough memory is available") != NULL);
    ck_assert_uint_eq(memory_manager_counts(m)->errors, 1);
    /* A part of what is needed is extended; with a preferred hint only to what is preferred. */
    take_back(m, pod_of(large));
    take_back(m, pod_of(next));
    ck_assert(give(m, pod_of(large), (struct topology_hint){.nodes = 8, .preferred = true}, &why));
    ck_assert_uint_eq(nodes_of(m, "large"), 10);
    pod_free(large);
    pod_free(small);
    pod_free(next);
    pod_free(huge);
    memory_manager_free(m);
    free(machine);
}
END_TEST

/* Init containers' memory is used again by what runs after them, sidecars' is not. */
START_TEST(test_init_containers)
{
    struct admission_refusal why;
    struct memory_machine *machine = xzalloc(sizeof(*machine));
    memory_machine(machine, 1, 8, 0);
    struct memory_manager *m = manager_of(machine, STR(""));
    struct pod_maker *p = pod_new("p");
    pod_add(p, POD_INIT, "i", "1", "5Gi", true);
    pod_add(p, POD_SIDECAR, "s", "1", "1Gi", true);
    pod_add(p, POD_APP, "c", "1", "5Gi", true);
    ck_assert(give(m, pod_of(p), (struct topology_hint){.preferred = true}, &why));
    ck_assert_int_eq(memory_manager_machine(m)->node[0].tables[0].reserved, 6 * GIB);
    check_invariants(m);
    pod_free(p);
    memory_manager_free(m);
    free(machine);
}
END_TEST

/* Hints: the fewest nodes that could ever hold it are preferred; what a container has is its hint.
 * Huge pages have the same ones. */
START_TEST(test_hints)
{
    AUTO_ARENA *a = arena_new(0);
    struct admission_refusal why;
    struct memory_machine *machine = xzalloc(sizeof(*machine));
    memory_machine(machine, 2, 4, 256);
    struct memory_manager *m = manager_of(machine, STR(""));
    struct topology_provider provider;
    struct topology_hints h = {.arena = a};
    memory_manager_provider(m, &provider);
    struct pod_maker *p = pod_new("p");
    struct core_v1_container *c = pod_add(p, POD_APP, "c", "1", "3Gi", true);
    c->resources.requests[2] = c->resources.limits[2] =
        (struct api_quantity_entry){.key = STR("hugepages-2Mi"), .value = {STR("512Mi")}};
    c->resources.requests_count = c->resources.limits_count = 3;
    provider.container_hints(m, pod_of(p), c, &h);
    ck_assert_uint_eq(h.count, 2);
    ck_assert_str_eq(h.items[0].resource, "memory");
    ck_assert_str_eq(h.items[1].resource, "hugepages-2Mi");
    for (size_t i = 0; i < 2; i++) {
        ck_assert_uint_eq(h.items[i].count, 2);
        ck_assert(h.items[i].hints[0].nodes == 2 && h.items[i].hints[0].preferred);
        ck_assert(h.items[i].hints[1].nodes == 3 && !h.items[i].hints[1].preferred);
    }
    ck_assert(give(m, pod_of(p), (struct topology_hint){.nodes = 2, .preferred = true}, &why));
    h = (struct topology_hints){.arena = a};
    provider.container_hints(m, pod_of(p), c, &h);
    ck_assert_uint_eq(h.count, 2);
    ck_assert_uint_eq(h.items[0].count, 1);
    ck_assert(h.items[0].hints[0].nodes == 2 && h.items[0].hints[0].preferred);
    ck_assert_int_eq(memory_manager_machine(m)->node[1].tables[1].free, 0);
    ck_assert_uint_eq(memory_manager_blocks(m, STR("p"), STR("c"))->count, 2);
    check_invariants(m);
    /* Only Guaranteed pods are promised something. */
    struct pod_maker *q = pod_new("q");
    pod_add(q, POD_APP, "c", "1", "1Gi", false);
    h = (struct topology_hints){.arena = a};
    provider.container_hints(m, pod_of(q), &pod_of(q)->spec.containers[0], &h);
    ck_assert_uint_eq(h.count, 0);
    ck_assert(give(m, pod_of(q), (struct topology_hint){.preferred = true}, &why));
    ck_assert(!memory_manager_has_pod(m, STR("q")));
    pod_free(p);
    pod_free(q);
    memory_manager_free(m);
    free(machine);
}
END_TEST

/* --- settings ------------------------------------------------------------------------------------
 */

static void check_config(const char *policy, const char *reserved, const char *want)
{
    AUTO_ARENA *a = arena_new(0);
    struct error err;
    struct memory_manager_config c;
    const char *items[] = {reserved};
    const struct flag_list list = {.items = items, .count = reserved != NULL};
    int rc = memory_manager_config_parse(policy, &list, a, &c, &err);
    ck_assert_msg((rc == 0) == (want == NULL), "%s", rc == 0 ? "taken" : error_message(&err));
    if (want != NULL)
        ck_assert_msg(strstr(error_message(&err), want) != NULL, "%s", error_message(&err));
}

START_TEST(test_config)
{
    check_config(NULL, NULL, NULL);
    check_config("Static", "0:memory=1Gi,hugepages-2Mi=4Mi;1:memory=2Gi", NULL);
    check_config("static", NULL, "--memory-manager-policy: 'static' is neither None nor Static");
    check_config("Static", "memory=1Gi", "is not of the form N:memory=1Gi");
    check_config("Static", "0:memory", "is not of the form memory=1Gi");
    check_config("Static", "0:memory=much", "is not of the form memory=1Gi");
    check_config("Static", "0:cpu=1", "the limit type \"cpu\" for NUMA node 0 is invalid");
    check_config("Static", "0:memory=0", "must be greater than zero");
    check_config("Static", "0:memory=1Gi;0:memory=1Gi", "twice");
}
END_TEST

static void check_start(const struct memory_reservation *r, size_t count, int64_t held_back,
                        const char *state, const char *want)
{
    const struct memory_manager_config c = {
        .is_static = true, .reservations = r, .reservation_count = count};
    const int64_t all[MEMORY_TYPES_MAX] = {held_back};
    struct memory_machine *machine = xzalloc(sizeof(*machine));
    struct memory_manager *m = NULL;
    struct error err;
    memory_machine(machine, 2, 4, 0);
    int rc = memory_manager_new(&c, machine, all, str_of(state), &m, &err);
    ck_assert_msg((rc == 0) == (want == NULL), "%s", rc == 0 ? "taken" : error_message(&err));
    if (want != NULL)
        ck_assert_msg(strstr(error_message(&err), want) != NULL, "%s", error_message(&err));
    memory_manager_free(m);
    free(machine);
}

/* What does not go with the machine or with what is reserved of it otherwise. */
START_TEST(test_start)
{
    const struct memory_reservation good[] = {{0, "memory", GIB}, {1, "memory", GIB}};
    const struct memory_reservation nowhere[] = {{2, "memory", GIB}};
    const struct memory_reservation unknown[] = {{0, "hugepages-1Gi", GIB}};
    const struct memory_reservation much[] = {{0, "memory", 5 * GIB}};
    check_start(good, 2, 2 * GIB, "", NULL);
    check_start(NULL, 0, 0, "", "Static needs memory reserved");
    check_start(good, 2, GIB, "",
                "the total amount \"2Gi\" of type \"memory\" is not equal to the value \"1Gi\"");
    check_start(nowhere, 1, GIB, "", "NUMA node 2 that does not exist");
    check_start(unknown, 1, GIB, "", "this machine has no hugepages-1Gi");
    check_start(much, 1, 5 * GIB, "", "has 4Gi of memory, less than the 5Gi");
    check_start(good, 2, 2 * GIB, "{\"policyName\":\"None\",\"machineState\":{}}",
                "configured policy \"Static\" differs from state checkpoint policy \"None\"");
    check_start(good, 2, 2 * GIB, "{\"policyName\":\"Static\",\"machineState\":{}}",
                "checkpoint is corrupted");
    check_start(good, 2, 2 * GIB, "[]", "not a JSON object");
}
END_TEST

/* Other memory, or other reservations, than when the file was written. */
START_TEST(test_other_machine)
{
    AUTO_BUF b = BUF_INIT;
    struct admission_refusal why;
    struct memory_machine *machine = xzalloc(sizeof(*machine));
    memory_machine(machine, 2, 4, 0);
    struct memory_manager *m = manager_of(machine, STR("")), *other = NULL;
    struct pod_maker *p = one("p", "2Gi");
    ck_assert(give(m, pod_of(p), (struct topology_hint){.preferred = true}, &why));
    text_of(m, &b);
    static const struct memory_reservation reserved[] = {{0, "memory", GIB}};
    const struct memory_manager_config c = {
        .is_static = true, .reservations = reserved, .reservation_count = 1};
    const int64_t held_back[MEMORY_TYPES_MAX] = {GIB};
    struct error err;
    memory_machine(machine, 2, 8, 0);
    ck_assert_int_eq(memory_manager_new(&c, machine, held_back, buf_str(&b), &other, &err),
                     E_CORRUPT);
    ck_assert_str_eq(error_message(&err),
                     "the expected machine state is different from the real one");
    memory_machine(machine, 1, 4, 0);
    ck_assert_int_eq(memory_manager_new(&c, machine, held_back, buf_str(&b), &other, &err),
                     E_CORRUPT);
    pod_free(p);
    memory_manager_free(m);
    free(machine);
}
END_TEST

/* --- the file
 * --------------------------------------------------------------------------------------- */

static const char known[] =
    "{\"policyName\":\"static\",\"machineState\":{\"0\":{\"numberOfAssignments\":0,\"memoryMap\":{"
    "\"memory\":{\"total\":2048,\"systemReserved\":512,\"allocatable\":1536,\"reserved\":512,"
    "\"free\":1024}},\"cells\":[]}},\"entries\":{\"pod\":{\"container1\":[{\"numaAffinity\":[0],"
    "\"type\":\"memory\",\"size\":512}]}},\"checksum\":4215593881}";

static int read_known(const char *text, size_t len, struct error *err)
{
    struct memory_state s;
    struct memory_machine *machine = xzalloc(sizeof(*machine));
    *machine = (struct memory_machine){.types = {"memory"}, .type_count = 1, .nodes = 1};
    machine->node[0] = (struct memory_node){
        .cells = 1,
        .tables = {{.total = 2048, .system_reserved = 512, .allocatable = 1536, .free = 1536}}};
    memory_state_init(&s, "static");
    int rc = memory_state_read(&s, str_n(text, len), machine, err);
    if (rc != 0)
        ck_assert_uint_eq(s.count, 0);
    memory_state_done(&s);
    free(machine);
    return rc;
}

/* The checksum of a file that upstream's agent wrote is right; its counts were made up for a test.
 */
START_TEST(test_upstream_file)
{
    struct error err;
    ck_assert_int_ne(read_known(known, sizeof(known) - 1, &err), 0);
    ck_assert_str_eq(error_message(&err),
                     "the expected machine state is different from the real one");
    AUTO_FREE char *wrong = xstrdup(known);
    *strstr(wrong, "1024") = '2';
    ck_assert_int_ne(read_known(wrong, sizeof(known) - 1, &err), 0);
    ck_assert_str_eq(error_message(&err), "checkpoint is corrupted");
}
END_TEST

/* Damaged files are refused, never a crash. */
START_TEST(test_damaged_file)
{
    seed_from_env();
    for (int round = 0; round < 20000; round++) {
        char text[sizeof(known)];
        size_t len = sizeof(known) - 1;
        struct error err;
        memcpy(text, known, sizeof(known));
        if (random_below(4) == 0)
            len = random_below(len);
        for (uint64_t n = 1 + random_below(3); n > 0 && len > 0; n--)
            text[random_below(len)] = (char)random_below(256);
        ck_assert_int_ne(read_known(text, len, &err), 0);
    }
}
END_TEST

UNIT_MAIN("memory_manager", {
    UNIT_TEST(test_churn);
    UNIT_TEST(test_groups);
    UNIT_TEST(test_init_containers);
    UNIT_TEST(test_hints);
    UNIT_TEST(test_config);
    UNIT_TEST(test_start);
    UNIT_TEST(test_other_machine);
    UNIT_TEST(test_upstream_file);
    UNIT_TEST(test_damaged_file);
})
