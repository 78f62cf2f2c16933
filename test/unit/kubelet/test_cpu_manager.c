/* test_cpu_manager.c - processors on random machines: never given twice, none lost, the same after
 * a restart; what the options promise; the state file, also damaged. */
#include "kubelet/admission.h"
#include "kubelet/cpu_manager.h"

#include "api/core_v1.h"
#include "api/resource.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "test/unit/kubelet/pinning.h"
#include "test/unit/unit.h"

#include <string.h>

/* --- sets ---------------------------------------------------------------------------------- */

static void check_text(const char *text, const char *want)
{
    AUTO_ARENA *a = arena_new(0);
    struct cpu_set s;
    struct error err;
    int rc = cpu_set_parse(str_of(text), &s, &err);
    if (want == NULL)
        ck_assert_msg(rc == E_INVALID, "'%s' was taken", text);
    else
        ck_assert_str_eq(cpu_set_text(&s, a), want);
}

/* Texts of sets, as the kernel writes them and as people do. */
START_TEST(test_set_texts)
{
    check_text("", "");
    check_text(" \n", "");
    check_text("3", "3");
    check_text("0-3,8\n", "0-3,8");
    check_text("8,1,0,2, 4-4", "0-2,4,8");
    check_text("62-66,4095", "62-66,4095");
    check_text("4096", NULL);
    check_text("3-1", NULL);
    check_text("a", NULL);
    check_text("1,", NULL);
    check_text("-1", NULL);
    check_text("1-2-3", NULL);
}
END_TEST

/* --- picking --------------------------------------------------------------------------------- */

static struct cpu_set random_subset(const struct cpu_set *of)
{
    struct cpu_set s = {0};
    uint64_t density = 1 + random_below(4);
    CPU_SET_FOREACH(cpu, of)
    {
        if (random_below(5) <= density)
            cpu_set_add(&s, cpu);
    }
    return s;
}

/* Cores that were all free and of which a part was taken. */
static int split_cores(const struct machine_topology *t, const struct cpu_set *before,
                       const struct cpu_set *taken)
{
    int count = 0;
    CPU_SET_FOREACH(core, &t->online)
    {
        struct cpu_set one = {0};
        cpu_set_add(&one, core);
        if (t->places[core].core != core)
            continue;
        one = machine_with_siblings(t, &one);
        count += cpu_set_contains(before, &one) && cpu_set_intersects(taken, &one) &&
                 !cpu_set_contains(taken, &one);
    }
    return count;
}

/* As many as asked for, of those that are free; at most one whole core is split. */
START_TEST(test_pick_packed)
{
    seed_from_env();
    for (int round = 0; round < 3000; round++) {
        struct machine_topology t;
        random_machine(&t);
        struct cpu_set from = random_subset(&t.online), got;
        const struct cpu_pick_rules rules = {.group = 1, .align_caches = random_below(2) == 0};
        int total = cpu_set_count(&from), count = (int)random_below((uint64_t)total + 1);
        ck_assert(!cpu_pick(&t, &rules, &from, total + 1, &got));
        ck_assert(cpu_pick(&t, &rules, &from, count, &got));
        ck_assert_int_eq(cpu_set_count(&got), count);
        ck_assert(cpu_set_contains(&from, &got));
        ck_assert_int_le(split_cores(&t, &from, &got), 1);
        machine_topology_done(&t);
    }
}
END_TEST

static int count_in(const struct machine_topology *t, const struct cpu_set *s, int node)
{
    struct cpu_set here = machine_cpus_of(t, (numa_mask)1 << node);
    here = cpu_set_and(&here, s);
    return cpu_set_count(&here);
}

/* The lowest sum of squares of what is left, over all ways to take count from these nodes in equal
 * shares but for one group at most each... tried one by one. */
static long best_left(const int *free_cpus, int nodes, int k, int count, int group)
{
    long best = -1;
    int share = count / k / group * group;
    for (int set = 1; set < 1 << nodes; set++) {
        int left[8], ok = __builtin_popcount((unsigned)set) == k;
        for (int i = 0; i < nodes; i++) {
            left[i] = free_cpus[i] - ((set >> i & 1) != 0 ? share : 0);
            ok = ok && left[i] >= 0;
        }
        for (int rest = count - share * k; ok && rest > 0; rest -= group) {
            int most = -1;
            for (int i = 0; i < nodes; i++)
                if ((set >> i & 1) != 0 && left[i] >= group && (most < 0 || left[i] > left[most]))
                    most = i;
            ok = most >= 0;
            if (ok)
                left[most] -= group;
        }
        long sum = 0;
        for (int i = 0; i < nodes; i++)
            sum += (long)left[i] * left[i];
        if (ok && (best < 0 || sum < best))
            best = sum;
    }
    return best;
}

/* Over as few NUMA nodes as can share equally, and what is left is as even as any choice leaves it.
 */
START_TEST(test_pick_distributed)
{
    seed_from_env();
    for (int round = 0; round < 3000; round++) {
        struct machine_topology t;
        random_machine(&t);
        struct cpu_set from = random_subset(&t.online), got;
        const struct cpu_pick_rules rules = {.distribute_numa = true, .group = 1};
        int nodes = numa_mask_count(t.numa.nodes), free_cpus[8], k = 1;
        int count = 1 + (int)random_below((uint64_t)cpu_set_count(&from) + 1);
        for (int i = 0; i < nodes; i++)
            free_cpus[i] = count_in(&t, &from, i);
        if (!cpu_pick(&t, &rules, &from, count, &got)) {
            ck_assert_int_gt(count, cpu_set_count(&from));
            machine_topology_done(&t);
            continue;
        }
        ck_assert_int_eq(cpu_set_count(&got), count);
        ck_assert(cpu_set_contains(&from, &got));
        while (k <= nodes && best_left(free_cpus, nodes, k, count, 1) < 0)
            k++;
        long left = 0;
        for (int i = 0; i < nodes; i++) {
            long n = free_cpus[i] - count_in(&t, &got, i);
            left += n * n;
        }
        if (k <= nodes)
            ck_assert_int_eq(left, best_left(free_cpus, nodes, k, count, 1));
        machine_topology_done(&t);
    }
}
END_TEST

static void check_pick(const struct machine_topology *t, const struct cpu_pick_rules *rules,
                       const char *from, int count, const char *want)
{
    AUTO_ARENA *a = arena_new(0);
    struct cpu_set s, got;
    struct error err;
    ck_assert_int_eq(cpu_set_parse(str_of(from), &s, &err), 0);
    ck_assert(cpu_pick(t, rules, &s, count, &got));
    ck_assert_str_eq(cpu_set_text(&got, a), want);
}

/* What operators know of upstream's agent: two sockets of four cores with two threads, where CPU n
 * and n + 8 are one core. */
START_TEST(test_pick_known)
{
    struct machine_topology t;
    regular_machine(&t, 2, 1, 4, 2);
    struct cpu_pick_rules rules = {.group = 1};
    check_pick(&t, &rules, "0-15", 1, "0");
    check_pick(&t, &rules, "0-15", 2, "0,8");
    check_pick(&t, &rules, "0-15", 8, "0-3,8-11");
    check_pick(&t, &rules, "0-15", 10, "0-4,8-12");
    check_pick(&t, &rules, "1-7,9-15", 2, "1,9");
    check_pick(&t, &rules, "1-15", 1, "8");
    check_pick(&t, &rules, "1-15", 8, "4-7,12-15");
    rules.distribute_cores = true;
    check_pick(&t, &rules, "0-15", 3, "0-2");
    rules = (struct cpu_pick_rules){.group = 2, .distribute_numa = true};
    check_pick(&t, &rules, "0-15", 4, "0-1,8-9");
    check_pick(&t, &rules, "0-15", 12, "0-2,4-6,8-10,12-14");
    machine_topology_done(&t);
}
END_TEST

/* With caches of four processors: what fits in one is not spread over two. */
START_TEST(test_pick_caches)
{
    struct machine_topology t;
    regular_machine(&t, 1, 1, 8, 2);
    CPU_SET_FOREACH(cpu, &t.online)
    {
        t.places[cpu].cache = t.places[cpu].core / 2 * 2;
    }
    t.cache_count = 4;
    struct cpu_pick_rules rules = {.group = 1, .align_caches = true};
    check_pick(&t, &rules, "1-7,9-15", 4, "2-3,10-11");
    check_pick(&t, &rules, "1-7,9-15", 2, "1,9");
    rules.align_caches = false;
    check_pick(&t, &rules, "1-7,9-15", 4, "1-2,9-10");
    machine_topology_done(&t);
}
END_TEST

/* --- the manager --------------------------------------------------------------------------------
 */

static struct cpu_manager *manager_of(const struct cpu_manager_config *c,
                                      const struct machine_topology *t, struct str state)
{
    struct cpu_manager *m = NULL;
    struct error err;
    int rc = cpu_manager_new(c, t, TOPOLOGY_NONE, state, &m, &err);
    ck_assert_msg(rc == 0, "%s", error_message(&err));
    return m;
}

static bool give(struct cpu_manager *m, const struct core_v1_pod *pod,
                 struct admission_refusal *why)
{
    static struct arena *kept; /* The reason outlives the call. */
    struct topology_provider p;
    if (kept == NULL)
        kept = arena_new(0);
    cpu_manager_provider(m, &p);
    return admit_with(&p, kept, pod, (struct topology_hint){.preferred = true}, why);
}

static void take_back(struct cpu_manager *m, const struct core_v1_pod *pod)
{
    struct topology_provider p;
    cpu_manager_provider(m, &p);
    p.free_pod(p.arg, pod->metadata.uid);
}

static void check_invariants(const struct cpu_manager *m, const struct machine_topology *t)
{
    const struct cpu_state *s = cpu_manager_state(m);
    struct cpu_set all = s->shared;
    for (size_t i = 0; i < s->count; i++) {
        ck_assert(!cpu_set_intersects(&s->items[i].cpus, &s->shared));
        for (size_t k = 0; k < i; k++)
            if (strcmp(s->items[i].pod, s->items[k].pod) != 0)
                ck_assert(!cpu_set_intersects(&s->items[i].cpus, &s->items[k].cpus));
        all = cpu_set_or(&all, &s->items[i].cpus);
    }
    ck_assert(cpu_set_equal(&all, &t->online));
}

static struct str text_of(const struct cpu_manager *m, struct buf *b)
{
    buf_clear(b);
    cpu_state_write(cpu_manager_state(m), b);
    return buf_str(b);
}

/* Pods come and go on random machines: nothing is given twice or lost, and an agent that is started
 * anew goes on with the same. */
START_TEST(test_churn)
{
    seed_from_env();
    for (int round = 0; round < 60; round++) {
        struct machine_topology t;
        struct pod_maker *pods[12] = {0};
        random_machine(&t);
        const struct cpu_manager_config c = {.is_static = true,
                                             .reserved_milli = 100,
                                             .full_cores = random_below(2) == 0,
                                             .distribute_numa = random_below(2) == 0};
        struct cpu_manager *m = manager_of(&c, &t, STR(""));
        for (int step = 0; step < 60; step++) {
            AUTO_BUF b = BUF_INIT, again = BUF_INIT;
            struct admission_refusal why;
            size_t i = random_below(ARRAY_SIZE(pods));
            if (pods[i] == NULL) {
                pods[i] = pod_random(i);
                if (!give(m, pod_of(pods[i]), &why)) {
                    take_back(m, pod_of(pods[i]));
                    pod_free(take(pods[i]));
                }
            } else {
                take_back(m, pod_of(pods[i]));
                pod_free(take(pods[i]));
            }
            check_invariants(m, &t);
            struct cpu_manager *next = manager_of(&c, &t, text_of(m, &b));
            ck_assert(str_eq(text_of(next, &again), buf_str(&b)));
            cpu_manager_free(m);
            m = next;
            /* Taken again after the restart: nothing changes. */
            for (size_t k = 0; k < ARRAY_SIZE(pods); k++)
                ck_assert(pods[k] == NULL || give(m, pod_of(pods[k]), &why));
            ck_assert(str_eq(text_of(m, &again), buf_str(&b)));
        }
        for (size_t i = 0; i < ARRAY_SIZE(pods); i++) {
            if (pods[i] != NULL)
                take_back(m, pod_of(pods[i]));
            pod_free(pods[i]);
        }
        ck_assert_uint_eq(cpu_manager_state(m)->count, 0);
        check_invariants(m, &t);
        cpu_manager_free(m);
        machine_topology_done(&t);
    }
}
END_TEST

static const char *cpus_of(const struct cpu_manager *m, struct arena *a, const char *container)
{
    const struct cpu_set *s = cpu_manager_exclusive(m, STR("p"), str_of(container));
    return s != NULL ? cpu_set_text(s, a) : "-";
}

/* Whole processors of Guaranteed pods alone; init containers' are used again, sidecars' are not. */
START_TEST(test_who_gets)
{
    AUTO_ARENA *a = arena_new(0);
    struct machine_topology t;
    struct admission_refusal why;
    regular_machine(&t, 1, 1, 8, 1);
    const struct cpu_manager_config c = {.is_static = true, .reserved_milli = 500};
    struct cpu_manager *m = manager_of(&c, &t, STR(""));
    struct pod_maker *p = pod_new("p");
    pod_add(p, POD_INIT, "setup", "2", "1Gi", true);
    pod_add(p, POD_SIDECAR, "proxy", "1", "1Gi", true);
    pod_add(p, POD_INIT, "late", "2", "1Gi", true);
    pod_add(p, POD_APP, "main", "3", "1Gi", true);
    pod_add(p, POD_APP, "part", "1500m", "1Gi", true);
    ck_assert(give(m, pod_of(p), &why));
    ck_assert_str_eq(cpus_of(m, a, "setup"), "1-2");
    ck_assert_str_eq(cpus_of(m, a, "proxy"), "1"); /* After setup has ended: its first. */
    ck_assert_str_eq(cpus_of(m, a, "late"), "2-3");
    ck_assert_str_eq(cpus_of(m, a, "main"), "2-4");
    ck_assert_str_eq(cpus_of(m, a, "part"), "-");
    ck_assert_str_eq(cpu_set_text(cpu_manager_affinity(m, STR("p"), STR("part")), a), "0,5-7");
    ck_assert(cpu_manager_has_pod(m, STR("p")) && !cpu_manager_has_pod(m, STR("q")));
    take_back(m, pod_of(p));
    pod_free(p);
    p = pod_new("p");
    pod_add(p, POD_APP, "main", "3", "1Gi", false);
    ck_assert(give(m, pod_of(p), &why));
    ck_assert_str_eq(cpus_of(m, a, "main"), "-");
    pod_free(p);
    cpu_manager_free(m);
    machine_topology_done(&t);
}
END_TEST

/* What cannot be had is told in upstream's words. */
START_TEST(test_refusals)
{
    struct machine_topology t;
    struct admission_refusal why;
    regular_machine(&t, 1, 1, 4, 2);
    struct cpu_manager_config c = {.is_static = true, .reserved_milli = 2000};
    struct cpu_manager *m = manager_of(&c, &t, STR(""));
    struct pod_maker *p = pod_new("p");
    pod_add(p, POD_APP, "main", "7", "1Gi", true);
    ck_assert(!give(m, pod_of(p), &why));
    ck_assert_ptr_null(why.reason);
    ck_assert_str_eq(why.message,
                     "not enough cpus available to satisfy request: requested=7, available=6");
    ck_assert_uint_eq(cpu_manager_counts(m)->errors, 1);
    cpu_manager_free(m);
    c.full_cores = true;
    c.reserved_milli = 1000;
    m = manager_of(&c, &t, STR(""));
    ck_assert(!give(m, pod_of(p), &why));
    ck_assert_str_eq(why.reason, "SMTAlignmentError");
    ck_assert_str_eq(why.message,
                     "SMT Alignment Error: requested 7 cpus not multiple cpus per core = 2");
    pod_free(p);
    p = pod_new("p");
    pod_add(p, POD_APP, "main", "8", "1Gi", true);
    ck_assert(!give(m, pod_of(p), &why));
    ck_assert_str_eq(why.message, "SMT Alignment Error: not enough free physical CPUs: available "
                                  "physical CPUs = 6, requested CPUs = 8, CPUs per core = 2");
    pod_free(p);
    cpu_manager_free(m);
    machine_topology_done(&t);
}
END_TEST

/* Hints: of the nodes that can hold it the fewest are preferred; what a container has makes its
 * hint. */
START_TEST(test_hints)
{
    struct machine_topology t;
    struct admission_refusal why;
    AUTO_ARENA *a = arena_new(0);
    regular_machine(&t, 2, 1, 4, 1);
    const struct cpu_manager_config c = {.is_static = true, .reserved_milli = 1000};
    struct cpu_manager *m = manager_of(&c, &t, STR(""));
    struct topology_provider provider;
    cpu_manager_provider(m, &provider);
    struct pod_maker *p = pod_new("p");
    pod_add(p, POD_APP, "main", "4", "1Gi", true);
    struct topology_hints h = {.arena = a};
    provider.container_hints(m, pod_of(p), &pod_of(p)->spec.containers[0], &h);
    ck_assert_uint_eq(h.count, 1);
    ck_assert_uint_eq(h.items[0].count, 2); /* One CPU of node 0 is reserved. */
    ck_assert(h.items[0].hints[0].nodes == 2 && h.items[0].hints[0].preferred);
    ck_assert(h.items[0].hints[1].nodes == 3 && !h.items[0].hints[1].preferred);
    ck_assert(admit_with(&provider, a, pod_of(p), (struct topology_hint){.nodes = 2}, &why));
    ck_assert_str_eq(cpus_of(m, a, "main"), "4-7");
    h = (struct topology_hints){.arena = a};
    provider.container_hints(m, pod_of(p), &pod_of(p)->spec.containers[0], &h);
    ck_assert_uint_eq(h.items[0].count, 2);
    ck_assert(h.items[0].hints[0].nodes == 2 && h.items[0].hints[0].preferred);
    h = (struct topology_hints){.arena = a};
    provider.pod_hints(m, pod_of(p), &h);
    ck_assert_uint_eq(h.items[0].count, 2);
    pod_free(p);
    cpu_manager_free(m);
    machine_topology_done(&t);
}
END_TEST

/* --- configuration
 * -------------------------------------------------------------------------------- */

static void check_config(const char *policy, const char *first, const char *second,
                         const char *want)
{
    struct error err;
    struct cpu_manager_config c;
    const char *items[] = {first, second};
    const struct flag_list options = {.items = items,
                                      .count = (size_t)(first != NULL) + (second != NULL)};
    int rc = cpu_manager_config_parse(policy, &options, &c, &err);
    ck_assert_msg((rc == 0) == (want == NULL), "%s", rc == 0 ? "taken" : error_message(&err));
    if (want != NULL)
        ck_assert_msg(strstr(error_message(&err), want) != NULL, "%s", error_message(&err));
}

START_TEST(test_config)
{
    check_config(NULL, NULL, NULL, NULL);
    check_config("static", "full-pcpus-only=true", "distribute-cpus-across-numa=true", NULL);
    check_config("dynamic", NULL, NULL, "--cpu-manager-policy: 'dynamic'");
    check_config("static", "fast=true", NULL, "unknown option 'fast'");
    check_config("static", "full-pcpus-only=1", NULL, "'1' is not true or false");
    check_config("none", "full-pcpus-only=true", NULL, "need --cpu-manager-policy=static");
    check_config("static", "full-pcpus-only=true", "distribute-cpus-across-cores=true",
                 "can not be used at the same time");
}
END_TEST

static void check_start(const struct cpu_manager_config *c, const struct machine_topology *t,
                        const char *state, const char *want)
{
    struct cpu_manager *m = NULL;
    struct error err;
    int rc = cpu_manager_new(c, t, TOPOLOGY_SINGLE_NUMA_NODE, str_of(state), &m, &err);
    ck_assert_msg((rc == 0) == (want == NULL), "%s", rc == 0 ? "taken" : error_message(&err));
    if (want != NULL)
        ck_assert_msg(strstr(error_message(&err), want) != NULL, "%s", error_message(&err));
    cpu_manager_free(m);
}

/* What the machine cannot do, and states that do not go with it, end the start. */
START_TEST(test_start)
{
    struct machine_topology t;
    regular_machine(&t, 1, 1, 4, 1);
    struct cpu_manager_config c = {.is_static = true, .reserved_milli = 1000};
    check_start(&c, &t, "", NULL);
    check_start(&c, &t, "{\"policyName\":\"none\",\"defaultCpuSet\":\"\"}",
                "configured policy \"static\" differs from state checkpoint policy \"none\"");
    check_start(&c, &t, "{\"policyName\":\"static\",\"defaultCpuSet\":\"0-3\"}", NULL);
    check_start(&c, &t, "{\"policyName\":\"static\",\"defaultCpuSet\":\"0-2\"}",
                "current set of available CPUs \"0-3\" doesn't match with CPUs in state \"0-2\"");
    check_start(&c, &t, "{\"policyName\":\"static\",\"defaultCpuSet\":\"1-3\"}",
                "not all reserved cpus: \"0\" are present in defaultCpuSet: \"1-3\"");
    check_start(&c, &t,
                "{\"policyName\":\"static\",\"defaultCpuSet\":\"0-2\",\"entries\":{\"p\":{\"c\":"
                "\"2-3\"}}}",
                "overlaps with default cpuset");
    check_start(&c, &t,
                "{\"policyName\":\"static\",\"defaultCpuSet\":\"0\",\"entries\":{\"p\":{\"c\":"
                "\"1-2\"},\"q\":{\"c\":\"2-3\"}}}",
                "have the same CPUs");
    check_start(&c, &t, "{\"policyName\":\"static\",\"defaultCpuSet\":\"0-3\",\"checksum\":7}",
                "checkpoint is corrupted");
    c.strict_reservation = true;
    check_start(&c, &t, "{\"policyName\":\"static\",\"defaultCpuSet\":\"0-3\"}",
                "some of strictly reserved cpus: \"0\" are present");
    check_start(&c, &t, "{\"policyName\":\"static\",\"defaultCpuSet\":\"1-3\"}", NULL);
    c = (struct cpu_manager_config){.is_static = true};
    check_start(&c, &t, "", "greater than zero");
    c.reserved_milli = 5000;
    check_start(&c, &t, "", "this machine has 4");
    cpu_set_add(&c.reserved, 9);
    check_start(&c, &t, "", "CPUs that are not online");
    c = (struct cpu_manager_config){
        .is_static = true, .reserved_milli = 1000, .align_sockets = true};
    check_start(&c, &t, "", "single-numa-node");
    machine_topology_done(&t);
}
END_TEST

/* --- the file
 * --------------------------------------------------------------------------------------- */

/* Files that upstream's agent wrote are read, and ours are theirs. */
START_TEST(test_upstream_file)
{
    static const char *const known[] = {
        "{\"policyName\":\"none\",\"defaultCpuSet\":\"4-6\",\"checksum\":354655845}",
        "{\"policyName\":\"none\",\"defaultCpuSet\":\"1-3\",\"entries\":{\"pod\":{\"container1\":"
        "\"4-6\",\"container2\":\"1-3\"}},\"checksum\":3610638499}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        AUTO_BUF b = BUF_INIT;
        struct cpu_state s;
        struct error err;
        cpu_state_init(&s, "none");
        ck_assert_int_eq(cpu_state_read(&s, str_of(known[i]), &err), 0);
        cpu_state_write(&s, &b);
        ck_assert_msg(str_eqc(buf_str(&b), known[i]), STR_FMT, STR_ARG(buf_str(&b)));
        cpu_state_done(&s);
    }
}
END_TEST

/* Damaged files are refused, or mean what they say: never a crash, nothing taken over in part. */
START_TEST(test_damaged_file)
{
    static const char good[] =
        "{\"policyName\":\"none\",\"defaultCpuSet\":\"1-3\",\"entries\":{\"pod\":{\"container1\":"
        "\"4-6\",\"container2\":\"1-3\"}},\"checksum\":3610638499}";
    seed_from_env();
    for (int round = 0; round < 20000; round++) {
        char text[sizeof(good)];
        size_t len = sizeof(good) - 1;
        struct cpu_state s;
        struct error err;
        memcpy(text, good, sizeof(good));
        if (random_below(4) == 0)
            len = random_below(len);
        for (uint64_t n = random_below(3); n > 0 && len > 0; n--)
            text[random_below(len)] = (char)random_below(256);
        cpu_state_init(&s, "none");
        if (cpu_state_read(&s, str_n(text, len), &err) != 0)
            ck_assert_uint_eq(s.count, 0);
        cpu_state_done(&s);
    }
}
END_TEST

UNIT_MAIN("cpu_manager", {
    UNIT_TEST(test_set_texts);
    UNIT_TEST(test_pick_packed);
    UNIT_TEST(test_pick_distributed);
    UNIT_TEST(test_pick_known);
    UNIT_TEST(test_pick_caches);
    UNIT_TEST(test_churn);
    UNIT_TEST(test_who_gets);
    UNIT_TEST(test_refusals);
    UNIT_TEST(test_hints);
    UNIT_TEST(test_config);
    UNIT_TEST(test_start);
    UNIT_TEST(test_upstream_file);
    UNIT_TEST(test_damaged_file);
})
