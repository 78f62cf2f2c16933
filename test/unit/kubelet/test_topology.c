/* test_topology.c - the best hint of several providers, compared with a search through all
 * combinations; policies, scopes, refusals, configuration. */
#include "kubelet/admission.h"
#include "kubelet/topology.h"

#include "api/core_v1.h"
#include "lib/base/arena.h"
#include "test/unit/unit.h"

#include <string.h>

static uint64_t seed;

static uint64_t random_below(uint64_t n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (seed >> 33) % n;
}

static void seed_from_env(void)
{
    const char *given = getenv("SEED");
    seed = given != NULL ? strtoull(given, NULL, 10) : 20260401;
    printf("SEED=%llu\n", (unsigned long long)seed);
}

static void random_layout(struct numa_layout *l, int count)
{
    memset(l, 0, sizeof(*l));
    while (numa_mask_count(l->nodes) < count)
        l->nodes |= (numa_mask)1 << random_below(count <= 4 ? 6 : 10);
    for (int x = 0; x < NUMA_NODE_MAX; x++)
        for (int y = 0; y <= x; y++)
            l->distance[x][y] = l->distance[y][x] = x == y ? 10 : (uint8_t)(11 + random_below(4));
}

static numa_mask random_nodes(const struct numa_layout *l)
{
    for (;;) {
        numa_mask m = random_below(1 << 12) & l->nodes;
        if (m != 0)
            return m;
    }
}

static void random_hints(struct topology_hints *h, const struct numa_layout *l)
{
    size_t resources = random_below(4);
    for (size_t i = 0; i < resources; i++) {
        struct topology_resource_hints *r = topology_hints_add(h, "x");
        uint64_t kind = random_below(8);
        r->any = kind == 0;
        size_t count = kind <= 1 ? 0 : 1 + random_below(6);
        for (size_t k = 0; k < count; k++)
            topology_hint_add(h, r, random_below(10) == 0 ? 0 : random_nodes(l),
                              random_below(2) == 0);
    }
}

/* --- the same by brute force ------------------------------------------------------------------ */

struct search {
    const struct topology_rules *rules;
    const struct numa_layout *layout;
    const struct topology_hints *hints;
    int wanted;
    bool found;
    struct topology_hint best;
};

static size_t list_of(const struct search *s, size_t i, struct topology_hint ret[16])
{
    const struct topology_resource_hints *r = &s->hints->items[i];
    struct topology_hint all[16] = {{.preferred = r->any}};
    size_t count = 0, from = 1;
    if (!r->any && r->count > 0) {
        from = r->count;
        memcpy(all, r->hints, from * sizeof(*all));
    }
    for (size_t k = 0; k < from; k++)
        if (s->rules->policy != TOPOLOGY_SINGLE_NUMA_NODE ||
            (all[k].preferred && numa_mask_count(all[k].nodes) <= 1))
            ret[count++] = all[k];
    return count;
}

static double average(const struct numa_layout *l, numa_mask m)
{
    double sum = 0, count = 0;
    for (int x = 0; x < NUMA_NODE_MAX; x++)
        for (int y = 0; y < NUMA_NODE_MAX; y++)
            if ((m >> x & 1) != 0 && (m >> y & 1) != 0) {
                sum += l->distance[x][y];
                count++;
            }
    return sum / count;
}

/* Does the newcomer replace what was found, in the words of upstream's documents? */
static bool replaces(const struct search *s, struct topology_hint x)
{
    struct topology_hint y = s->best;
    int x_count = numa_mask_count(x.nodes), y_count = numa_mask_count(y.nodes);
    bool narrower = x_count != y_count ? x_count < y_count : x.nodes < y.nodes, fitter = narrower;
    if (s->rules->prefer_closest && s->rules->policy != TOPOLOGY_SINGLE_NUMA_NODE &&
        x_count == y_count && average(s->layout, x.nodes) != average(s->layout, y.nodes))
        fitter = average(s->layout, x.nodes) < average(s->layout, y.nodes);
    if (!s->found || x.preferred != y.preferred)
        return !s->found || x.preferred;
    if (x.preferred || y_count > s->wanted)
        return fitter;
    if (y_count == s->wanted)
        return x_count == s->wanted && fitter;
    if (x_count > s->wanted || x_count < y_count)
        return false;
    return x_count > y_count || fitter;
}

static void search(struct search *s, size_t i, numa_mask all, numa_mask first, bool preferred)
{
    if (i == s->hints->count) {
        struct topology_hint x = {.nodes = all, .preferred = preferred};
        if (all != 0 && replaces(s, x)) {
            s->best = x;
            s->found = true;
        }
        return;
    }
    struct topology_hint list[16];
    size_t count = list_of(s, i, list);
    for (size_t k = 0; k < count; k++) {
        numa_mask m = list[k].nodes;
        bool same = m == 0 || first == 0 || m == first;
        search(s, i + 1, m == 0 ? all : all & m, first == 0 ? m : first,
               preferred && list[k].preferred && same);
    }
}

static struct topology_hint exhaustive(const struct topology_rules *rules,
                                       const struct numa_layout *l, const struct topology_hints *h)
{
    struct search s = {.rules = rules, .layout = l, .hints = h};
    for (size_t i = 0; i < h->count; i++) {
        struct topology_hint list[16];
        size_t count = list_of(&s, i, list);
        int least = 0;
        for (size_t k = 0; k < count; k++) {
            int n = numa_mask_count(list[k].nodes);
            if (n != 0 && (least == 0 || n < least))
                least = n;
        }
        s.wanted = MAX_OF(s.wanted, least);
    }
    search(&s, 0, l->nodes, 0, true);
    if (!s.found)
        s.best = (struct topology_hint){.nodes = l->nodes};
    if (rules->policy == TOPOLOGY_SINGLE_NUMA_NODE && s.best.nodes == l->nodes)
        s.best.nodes = 0;
    return s.best;
}

/* Whatever the hints and the distances, the answer is that of a search through all combinations. */
START_TEST(test_merge_is_exhaustive)
{
    seed_from_env();
    for (int round = 0; round < 60000; round++) {
        AUTO_ARENA *a = arena_new(0);
        struct numa_layout l;
        struct topology_hints h = {.arena = a};
        const struct topology_rules rules = {.policy =
                                                 TOPOLOGY_BEST_EFFORT + (unsigned)random_below(3),
                                             .prefer_closest = random_below(2) == 0};
        random_layout(&l, 1 + (int)random_below(8));
        random_hints(&h, &l);
        struct topology_hint got, want = exhaustive(&rules, &l, &h);
        bool ok = topology_merge(&rules, &l, &h, &got);
        ck_assert_msg(got.nodes == want.nodes && got.preferred == want.preferred,
                      "round %d: got %#llx %d, want %#llx %d", round, (unsigned long long)got.nodes,
                      got.preferred, (unsigned long long)want.nodes, want.preferred);
        ck_assert_int_eq(ok, rules.policy == TOPOLOGY_BEST_EFFORT || want.preferred);
    }
}
END_TEST

/* Sets of nodes are run through once each, also with gaps in their numbers. */
START_TEST(test_sets)
{
    const numa_mask nodes = 0x105;
    numa_mask m = 0, last = 0;
    int count = 0;
    while (numa_mask_next(nodes, &m)) {
        ck_assert(m > last && (m & ~nodes) == 0);
        last = m;
        count++;
    }
    ck_assert_int_eq(count, 7);
    ck_assert(numa_mask_is_narrower(0x80, 0x3) && numa_mask_is_narrower(0x3, 0x5));
    ck_assert(!numa_mask_is_narrower(0x5, 0x5));
}
END_TEST

/* --- the manager ------------------------------------------------------------------------------ */

struct fake {
    struct topology_hint hints[4];
    size_t hint_count;
    struct topology_hint pod_hint;
    struct topology_hint given[8];
    size_t given_count, freed;
    const char *fail_at, *fail_reason;
};

static void fake_hints(void *arg, const struct core_v1_pod *pod, const struct core_v1_container *c,
                       struct topology_hints *h)
{
    UNUSED(pod);
    struct fake *f = arg;
    struct topology_resource_hints *r = topology_hints_add(h, "example.com/x");
    r->any = str_eqc(c->name, "free");
    for (size_t i = 0; i < f->hint_count; i++)
        topology_hint_add(h, r, f->hints[i].nodes, f->hints[i].preferred);
}

static void fake_pod_hints(void *arg, const struct core_v1_pod *pod, struct topology_hints *h)
{
    UNUSED(pod);
    struct fake *f = arg;
    topology_hint_add(h, topology_hints_add(h, "example.com/x"), f->pod_hint.nodes,
                      f->pod_hint.preferred);
}

static bool fake_allocate(void *arg, struct arena *a, const struct core_v1_pod *pod,
                          const struct core_v1_container *c, const struct topology_hint *hint,
                          struct admission_refusal *ret)
{
    UNUSED(a), UNUSED(pod);
    struct fake *f = arg;
    f->given[f->given_count++] = *hint;
    if (f->fail_at == NULL || !str_eqc(c->name, f->fail_at))
        return true;
    *ret = (struct admission_refusal){.reason = f->fail_reason, .message = "nothing left"};
    return false;
}

static void fake_free(void *arg, struct str uid)
{
    UNUSED(uid);
    ((struct fake *)arg)->freed++;
}

static struct topology *manager(const char *policy, const char *scope, struct fake *f)
{
    struct topology_config c;
    struct topology *t = NULL;
    struct error err;
    const struct numa_layout l = {.nodes = 3};
    const struct topology_provider p = {.name = "fake",
                                        .arg = f,
                                        .container_hints = fake_hints,
                                        .pod_hints = fake_pod_hints,
                                        .allocate = fake_allocate,
                                        .free_pod = fake_free};
    ck_assert_int_eq(topology_config_parse(policy, scope, NULL, &c, &err), 0);
    ck_assert_int_eq(topology_new(&c, &l, &t, &err), 0);
    topology_add_provider(t, &p);
    return t;
}

static struct core_v1_container init_containers[] = {{.name = STR("setup")}};
static struct core_v1_container containers[] = {{.name = STR("main")}, {.name = STR("free")}};
static const struct core_v1_pod pod = {.metadata = {.uid = STR("u")},
                                       .spec = {.init_containers = init_containers,
                                                .init_containers_count = 1,
                                                .containers = containers,
                                                .containers_count = 2}};

/* Each container is given by its own hint, init containers first; what does not care by any. */
START_TEST(test_container_scope)
{
    AUTO_ARENA *a = arena_new(0);
    struct admission_refusal why;
    struct fake f = {.hints = {{3, false}, {2, true}}, .hint_count = 2};
    struct topology *t = manager("single-numa-node", "container", &f);
    ck_assert(topology_admit(t, a, &pod, &why));
    ck_assert_uint_eq(f.given_count, 3);
    ck_assert_uint_eq(f.given[0].nodes, 2);
    ck_assert_uint_eq(f.given[1].nodes, 2);
    ck_assert_uint_eq(f.given[2].nodes, 0);
    ck_assert_uint_eq(topology_counts(t)->aligned, 3);
    ck_assert_uint_eq(topology_counts(t)->requests, 1);
    ck_assert_uint_eq(f.freed, 0);
    topology_free(t);
}
END_TEST

/* One hint goes to all of the pod's containers. */
START_TEST(test_pod_scope)
{
    AUTO_ARENA *a = arena_new(0);
    struct admission_refusal why;
    struct fake f = {.pod_hint = {1, true}};
    struct topology *t = manager("restricted", "pod", &f);
    ck_assert(topology_admit(t, a, &pod, &why));
    ck_assert_uint_eq(f.given_count, 3);
    for (size_t i = 0; i < 3; i++)
        ck_assert_uint_eq(f.given[i].nodes, 1);
    topology_free(t);
}
END_TEST

/* What is not preferred is refused in upstream's words, and nothing is kept; best-effort takes it.
 */
START_TEST(test_refusal)
{
    AUTO_ARENA *a = arena_new(0);
    struct admission_refusal why;
    struct fake f = {.hints = {{3, false}}, .hint_count = 1};
    struct topology *t = manager("single-numa-node", NULL, &f);
    ck_assert(!topology_admit(t, a, &pod, &why));
    ck_assert_str_eq(why.reason, "TopologyAffinityError");
    ck_assert_str_eq(why.message, "Resources cannot be allocated with Topology locality");
    ck_assert_uint_eq(f.given_count, 0);
    ck_assert_uint_eq(f.freed, 1);
    ck_assert_uint_eq(topology_counts(t)->errors, 1);
    ck_assert_uint_eq(topology_counts(t)->not_aligned, 1);
    topology_free(t);
    t = manager("best-effort", NULL, &f);
    ck_assert(topology_admit(t, a, &pod, &why));
    ck_assert_uint_eq(f.given[0].nodes, 3);
    topology_free(t);
}
END_TEST

/* A provider's own reason is told as it is; an error without one is unexpected. With policy none
 * nobody is asked for hints, but all allocate. */
START_TEST(test_allocation_fails)
{
    AUTO_ARENA *a = arena_new(0);
    struct admission_refusal why;
    struct fake f = {.fail_at = "main", .fail_reason = "SMTAlignmentError"};
    struct topology *t = manager(NULL, NULL, &f);
    ck_assert(!topology_admit(t, a, &pod, &why));
    ck_assert_str_eq(why.reason, "SMTAlignmentError");
    ck_assert_uint_eq(f.given_count, 2);
    ck_assert_uint_eq(f.given[0].nodes, 0);
    ck_assert_uint_eq(f.freed, 1);
    f.fail_reason = NULL;
    ck_assert(!topology_admit(t, a, &pod, &why));
    ck_assert_str_eq(why.reason, "UnexpectedAdmissionError");
    ck_assert_str_eq(why.message, "Allocate failed due to nothing left, which is unexpected");
    topology_free(t);
}
END_TEST

static void check_config(const char *policy, const char *scope, const char *option,
                         const char *want)
{
    struct error err;
    struct topology_config c;
    const char *items[] = {option};
    const struct flag_list options = {.items = items, .count = option != NULL ? 1 : 0};
    int rc = topology_config_parse(policy, scope, &options, &c, &err);
    if (want == NULL) {
        ck_assert_msg(rc == 0, "%s", error_message(&err));
    } else {
        ck_assert_int_eq(rc, E_INVALID);
        ck_assert_msg(strstr(error_message(&err), want) != NULL, "%s", error_message(&err));
    }
}

/* Mistakes are told with their field and what would be right. */
START_TEST(test_config)
{
    check_config("restricted", "pod", "prefer-closest-numa-nodes=true", NULL);
    check_config("none", "container", "max-allowable-numa-nodes=12", NULL);
    check_config("tight", NULL, NULL, "--topology-manager-policy: 'tight'");
    check_config(NULL, "node", NULL, "--topology-manager-scope");
    check_config(NULL, NULL, "prefer-closest-numa-nodes=yes", "is not true or false");
    check_config(NULL, NULL, "max-allowable-numa-nodes=4", "at least 8");
    check_config(NULL, NULL, "max-allowable-numa-nodes=many", "at least 8");
    check_config(NULL, NULL, "pack=true", "unknown option 'pack'");
}
END_TEST

/* A machine with more nodes than are allowed is refused, but not with policy none. */
START_TEST(test_too_many_nodes)
{
    struct error err;
    struct topology *t = NULL;
    struct topology_config c = {.rules = {.policy = TOPOLOGY_RESTRICTED}, .max_numa_nodes = 8};
    struct numa_layout l = {.nodes = 0x1ff};
    ck_assert_int_eq(topology_new(&c, &l, &t, &err), E_INVALID);
    ck_assert(strstr(error_message(&err), "max-allowable-numa-nodes") != NULL);
    c.max_numa_nodes = 64;
    ck_assert_int_eq(topology_new(&c, &l, &t, &err), 0);
    topology_free(t);
    l.nodes = 0x1ffff;
    ck_assert_int_eq(topology_new(&c, &l, &t, &err), E_INVALID);
    c.rules.policy = TOPOLOGY_NONE;
    ck_assert_int_eq(topology_new(&c, &l, &t, &err), 0);
    topology_free(t);
}
END_TEST

UNIT_MAIN("topology", {
    UNIT_TEST(test_merge_is_exhaustive);
    UNIT_TEST(test_sets);
    UNIT_TEST(test_container_scope);
    UNIT_TEST(test_pod_scope);
    UNIT_TEST(test_refusal);
    UNIT_TEST(test_allocation_fails);
    UNIT_TEST(test_config);
    UNIT_TEST(test_too_many_nodes);
})
