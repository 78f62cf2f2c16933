/* test_classes.c - decisions that classes remember are those that would be made
 * from scratch: over random clusters, pods and events. */
#include "scheduler/classes.h"
#include "lib/base/buf.h"
#include "lib/client/labels.h"
#include "scheduler/pod_record.h"
#include "scheduler/preemption.h"
#include "test/unit/scheduler/cluster.h"

#define NODES_MAX 14
#define PODS_MAX 120
#define TEMPLATES 6
#define STEPS 400

static uint64_t state;

static unsigned below(unsigned n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)((state >> 11) % n);
}

static bool maybe(unsigned percent)
{
    return below(100) < percent;
}

static const char *pick(const char *const *list, unsigned count)
{
    return list[below(count)];
}
#define PICK(...)                                                                                  \
    pick((const char *const[]){__VA_ARGS__},                                                       \
         sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

/* --- what the cluster is made of ------------------------------------------------------------- */

struct world {
    struct snapshot snapshot;
    struct classes *classes;
    struct pod_facts facts;
    uint64_t rev;
    bool service; /* One that selects app=a. */
    char *templates[TEMPLATES];
    struct api_object *pods[PODS_MAX]; /* Placed; NULL: free place. */
    unsigned next_pod;
    struct profile profile;
};

static void service_selector(void *arg, struct arena *a, const struct core_v1_pod *pod,
                             struct meta_v1_label_selector *ret)
{
    const struct world *w = arg;
    const struct str *app = label_get(&pod->metadata, "app");
    *ret = (struct meta_v1_label_selector){0};
    if (!w->service || app == NULL || !str_eqc(*app, "a"))
        return;
    ret->match_labels = ARENA_NEW(a, struct api_str_entry);
    ret->match_labels[0] = (struct api_str_entry){STR("app"), STR("a")};
    ret->match_labels_count = 1;
}

static uint64_t world_rev(void *arg)
{
    return ((struct world *)arg)->rev;
}

static struct api_object *parsed(const char *kind, struct buf *b)
{
    buf_putc(b, '\0');
    return object_from(kind, (const char *)b->data);
}

static void set_node(struct world *w, unsigned i)
{
    AUTO_BUF b = BUF_INIT;
    buf_printf(&b, "{\"metadata\":{\"name\":\"n%u\",\"labels\":{\"kubernetes.io/hostname\":\"n%u\"",
               i, i);
    if (maybe(90))
        buf_printf(&b, ",\"topology.kubernetes.io/zone\":\"z%u\"", below(3));
    if (maybe(50))
        buf_printf(&b, ",\"disk\":\"%s\"", PICK("ssd", "hdd"));
    buf_puts(&b, "}},\"spec\":{");
    if (maybe(25))
        buf_printf(&b, "\"taints\":[{\"key\":\"t%u\",\"effect\":\"%s\"}],", below(2),
                   PICK("NoSchedule", "PreferNoSchedule", "NoExecute"));
    buf_printf(&b,
               "\"unschedulable\":%s},\"status\":{\"allocatable\":{\"cpu\":\"%u\",\"memory\":"
               "\"%uGi\",\"pods\":\"%u\"}",
               maybe(5) ? "true" : "false", 1 + below(6), 2 + below(8), 3 + below(20));
    if (maybe(50))
        buf_printf(&b, ",\"images\":[{\"names\":[\"img%u:1\"],\"sizeBytes\":%u00000000}]", below(3),
                   1 + below(9));
    buf_puts(&b, "}}");
    struct api_object *o = parsed("Node", &b);
    snapshot_set_node(&w->snapshot, o);
    api_object_unref(o);
}

static void put_term(struct buf *b)
{
    buf_printf(b, "{\"topologyKey\":\"%s\",\"labelSelector\":{\"matchLabels\":{\"app\":\"%s\"}}%s}",
               PICK("kubernetes.io/hostname", "topology.kubernetes.io/zone", "disk"),
               PICK("a", "b", "c"), maybe(20) ? ",\"namespaces\":[\"x\",\"y\"]" : "");
}

static void put_pod_affinity(struct buf *b, const char *name, unsigned required)
{
    buf_printf(b, ",\"%s\":{", name);
    if (maybe(required)) {
        buf_puts(b, "\"requiredDuringSchedulingIgnoredDuringExecution\":[");
        put_term(b);
        buf_puts(b, "]");
    } else {
        buf_printf(b,
                   "\"preferredDuringSchedulingIgnoredDuringExecution\":[{\"weight\":%u,"
                   "\"podAffinityTerm\":",
                   1 + below(100));
        put_term(b);
        buf_puts(b, "}]");
    }
    buf_puts(b, "}");
}

static void put_affinity(struct buf *b)
{
    buf_puts(b, ",\"affinity\":{\"nodeAffinity\":{");
    if (maybe(30))
        buf_puts(b, "\"preferredDuringSchedulingIgnoredDuringExecution\":[{\"weight\":7,"
                    "\"preference\":{\"matchExpressions\":[{\"key\":\"disk\",\"operator\":\"In\","
                    "\"values\":[\"ssd\"]}]}}]");
    buf_puts(b, "}");
    if (maybe(40))
        put_pod_affinity(b, "podAffinity", 30);
    if (maybe(50))
        put_pod_affinity(b, "podAntiAffinity", 60);
    buf_puts(b, "}");
}

static void put_spread(struct buf *b)
{
    buf_puts(b, ",\"topologySpreadConstraints\":[");
    for (unsigned i = 0, n = 1 + below(2); i < n; i++)
        buf_printf(b,
                   "%s{\"maxSkew\":%u,\"topologyKey\":\"%s\",\"whenUnsatisfiable\":\"%s\","
                   "\"labelSelector\":{\"matchLabels\":{\"app\":\"%s\"}}%s}",
                   i != 0 ? "," : "", 1 + below(2),
                   PICK("kubernetes.io/hostname", "topology.kubernetes.io/zone"),
                   PICK("DoNotSchedule", "ScheduleAnyway"), PICK("a", "b", "c"),
                   maybe(20) ? ",\"nodeTaintsPolicy\":\"Honor\"" : "");
    buf_puts(b, "]");
}

/* A pod without its name and uid. */
static char *make_template(void)
{
    struct buf b = BUF_INIT;
    buf_printf(&b, "\"namespace\":\"%s\",\"labels\":{\"app\":\"%s\"}},\"spec\":{\"priority\":%u",
               PICK("x", "y"), PICK("a", "b", "c"), below(3));
    buf_printf(
        &b,
        ",\"containers\":[{\"name\":\"c\",\"image\":\"img%u:1\",\"resources\":{\"requests\":{"
        "\"cpu\":\"%u00m\",\"memory\":\"%u00Mi\"}}",
        below(4), below(15), below(15));
    if (maybe(15))
        buf_printf(&b, ",\"ports\":[{\"containerPort\":1,\"hostPort\":%u,\"protocol\":\"TCP\"}]",
                   80 + below(2));
    buf_puts(&b, "}]");
    if (maybe(20))
        buf_printf(&b, ",\"nodeSelector\":{\"disk\":\"%s\"}", PICK("ssd", "hdd"));
    if (maybe(30))
        buf_printf(&b, ",\"tolerations\":[{\"key\":\"t%u\",\"operator\":\"Exists\"}]", below(2));
    if (maybe(50))
        put_affinity(&b);
    if (maybe(40))
        put_spread(&b);
    buf_puts(&b, "}}");
    return buf_steal(&b, NULL);
}

static struct api_object *new_pod(struct world *w)
{
    AUTO_BUF b = BUF_INIT;
    unsigned n = w->next_pod++;
    buf_printf(&b, "{\"metadata\":{\"name\":\"p%u\",\"uid\":\"u%u\",%s", n, n,
               w->templates[below(TEMPLATES)]);
    return parsed("Pod", &b);
}

/* --- one decision, both ways -------------------------------------------------------------------
 */

static void compare_preemption(struct cycle *fresh, struct cycle *kept)
{
    struct preemption x, y;
    preemption_evaluate(fresh, NULL, 0, &x);
    preemption_evaluate(kept, NULL, 0, &y);
    ck_assert_ptr_eq(x.node, y.node);
    ck_assert_uint_eq(x.victim_count, y.victim_count);
    ck_assert(str_eq(x.message, y.message));
    for (size_t i = 0; i < x.victim_count; i++)
        ck_assert_int_eq(pod_priority(x.victims[i]->msg), pod_priority(y.victims[i]->msg));
}

/* The chosen node has the highest total of those that fit. */
static void check_is_best(struct cycle *fresh, const struct node_info *n)
{
    int64_t *totals = ARENA_ARRAY(fresh->arena, int64_t, fresh->fit_count + 1);
    int64_t best = INT64_MIN, mine = INT64_MIN;
    cycle_score(fresh, SCOPES_ALL, totals);
    for (size_t i = 0; i < fresh->fit_count; i++) {
        best = MAX_OF(best, totals[i]);
        if (fresh->fitting[i] == n)
            mine = totals[i];
    }
    ck_assert_int_eq(mine, best);
}

static struct node_info *decide_both(struct world *w, struct api_object *pod)
{
    struct arena *a = arena_new(0), *own = arena_new(0);
    struct pod_info *info = pod_info_new(pod);
    struct class_question q = {
        .pod = info, .arena = a, .seed = below(1000), .profile = &w->profile};
    struct cycle *kept, fresh = {.arena = own,
                                 .snapshot = &w->snapshot,
                                 .pod = info,
                                 .facts = &w->facts,
                                 .profile = &w->profile};
    struct node_info *n = classes_decide(w->classes, &q, &kept);
    cycle_filter(&fresh);
    ck_assert_msg((n != NULL) == (fresh.fit_count != 0), "from scratch: %s; remembered: %s",
                  str_c(cycle_message(&fresh, STR_NULL)), str_c(cycle_message(kept, STR_NULL)));
    if (n != NULL) {
        check_is_best(&fresh, n);
    } else {
        struct str x = cycle_message(&fresh, STR_NULL), y = cycle_message(kept, STR_NULL);
        ck_assert_str_eq(str_c(x), str_c(y));
        ck_assert_uint_eq(fresh.wakes, kept->wakes);
        if (w->snapshot.node_count != 0)
            compare_preemption(&fresh, kept);
    }
    pod_info_free(info);
    arena_free(own);
    arena_free(a);
    return n;
}

/* --- events ----------------------------------------------------------------------------------- */

static void place_one(struct world *w)
{
    struct api_object *pod = new_pod(w);
    struct node_info *n = decide_both(w, pod);
    unsigned at = below(PODS_MAX);
    if (n != NULL && w->pods[at] == NULL) {
        snapshot_assume(&w->snapshot, pod, n);
        w->pods[at] = api_object_ref(pod);
    } else if (n == NULL && maybe(30)) {
        AUTO_BUF name = BUF_INIT;
        buf_printf(&name, "n%u", below(NODES_MAX));
        snapshot_nominate(&w->snapshot, pod, buf_str(&name));
    }
    api_object_unref(pod);
}

static void end_one(struct world *w)
{
    unsigned at = below(PODS_MAX);
    if (w->pods[at] == NULL)
        return;
    struct str uid = api_object_meta(w->pods[at])->uid;
    const struct pod_info *p = map_get(&w->snapshot.pods, uid);
    struct api_object *o = api_object_clone(w->pods[at]);
    struct core_v1_pod *pod = o->msg;
    if (p != NULL)
        pod->spec.node_name = arena_strc(o->arena, p->node->name);
    switch (below(3)) {
    case 0: /* The watch confirms it, or says something new about its labels. */
        if (maybe(50))
            pod->metadata.labels_count = 0;
        if (p != NULL)
            snapshot_set_pod(&w->snapshot, o);
        break;
    case 1: /* It begins to end. */
        pod->metadata.deletion_timestamp = ARENA_NEW(o->arena, struct meta_v1_time);
        if (p != NULL)
            snapshot_set_pod(&w->snapshot, o);
        break;
    default:
        snapshot_remove_pod(&w->snapshot, uid);
        api_object_unref(w->pods[at]);
        w->pods[at] = NULL;
    }
    api_object_unref(o);
}

static void step(struct world *w)
{
    unsigned what = below(100);
    if (what < 60) {
        place_one(w);
    } else if (what < 85) {
        end_one(w);
    } else if (what < 93) {
        set_node(w, below(NODES_MAX));
    } else if (what < 96) {
        AUTO_BUF name = BUF_INIT;
        buf_printf(&name, "n%u", below(NODES_MAX));
        snapshot_remove_node(&w->snapshot, buf_str(&name));
    } else if (what < 98) {
        w->service = !w->service;
        w->rev++;
    } else { /* Another template: its class is new. */
        unsigned i = below(TEMPLATES);
        free(w->templates[i]);
        w->templates[i] = make_template();
    }
}

/* Of every second world some plugins are off, weigh otherwise, or score otherwise. */
static void choose_profile(struct profile *p, bool other)
{
    static const struct shape_point shape[] = {{0, 0}, {60, 100}, {100, 30}};
    profile_init(p, "x");
    if (!other)
        return;
    for (unsigned i = 0; i < scheduler_plugin_count; i++) {
        p->filters[i] = p->filters[i] && maybe(80);
        p->scores[i] = p->scores[i] && maybe(80);
        p->weights[i] = 1 + below(50);
    }
    p->fit = (enum fit_strategy)below(3);
    p->shape = shape;
    p->shape_count = ARRAY_SIZE(shape);
    p->hard_affinity_weight = below(3);
    p->ignores_existing_preferences = maybe(50);
}

static void run_world(uint64_t seed)
{
    struct world w = {.facts = no_facts};
    state = seed * 0x9e3779b97f4a7c15u + 1;
    w.facts.selector = service_selector;
    w.facts.selectors_rev = world_rev;
    w.facts.arg = &w;
    choose_profile(&w.profile, seed % 2 == 0);
    snapshot_init(&w.snapshot);
    /* Of two neighbours one keeps its placed pods as records, as the scheduler does. */
    struct pod_shapes *shapes = seed / 2 % 2 == 0 ? pod_shapes_new() : NULL;
    w.snapshot.shapes = shapes;
    w.classes = classes_new(&w.snapshot, &w.facts);
    for (unsigned i = 0; i < TEMPLATES; i++)
        w.templates[i] = make_template();
    for (unsigned i = 0; i < NODES_MAX / 2; i++)
        set_node(&w, i);
    for (unsigned i = 0; i < STEPS; i++)
        step(&w);
    classes_free(w.classes);
    for (unsigned i = 0; i < PODS_MAX; i++)
        api_object_unref(w.pods[i]);
    for (unsigned i = 0; i < TEMPLATES; i++)
        free(w.templates[i]);
    snapshot_done(&w.snapshot);
    if (shapes != NULL)
        ck_assert_uint_eq(pod_shapes_count(shapes), 0);
    pod_shapes_unref(shapes);
}

/* Whatever happens between two pods of a class, the second is decided as if alone. */
START_TEST(decides_as_from_scratch)
{
    run_world((uint64_t)_i); /* A failure names the number. */
}
END_TEST

#define SMALL_NODE(name)                                                                           \
    "{\"metadata\":{\"name\":\"" name "\"},\"status\":{\"allocatable\":{\"cpu\":\"1\",\"memory\":" \
    "\"1Gi\",\"pods\":\"10\"}}}"
#define HALF(name)                                                                                 \
    "{\"metadata\":{\"name\":\"" name "\",\"uid\":\"u-" name                                       \
    "\",\"namespace\":\"x\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{"            \
    "\"requests\":{"                                                                               \
    "\"cpu\":\"600m\"}}}]}}"

/* The room that preemption made is the pod's own, and nobody's else of its priority. */
START_TEST(guest_takes_its_room)
{
    struct snapshot s;
    struct arena *a = arena_new(0);
    struct cycle *c;
    snapshot_init(&s);
    add_node(&s, SMALL_NODE("a"));
    struct classes *l = classes_new(&s, &no_facts);
    struct api_object *guest = object_from("Pod", HALF("g")),
                      *other = object_from("Pod", HALF("o"));
    struct pod_info *g = pod_info_new(guest), *o = pod_info_new(other);
    snapshot_nominate(&s, guest, STR("a"));
    struct class_question q = {.pod = o, .arena = a};
    ck_assert_ptr_null(classes_decide(l, &q, &c));
    q = (struct class_question){.pod = g, .arena = a, .nominated_node = STR("a")};
    ck_assert_ptr_nonnull(classes_decide(l, &q, &c));
    snapshot_unnominate(&s, STR("u-g"));
    q = (struct class_question){.pod = o, .arena = a};
    ck_assert_ptr_nonnull(classes_decide(l, &q, &c));
    ck_assert_uint_eq(classes_count(l), 1);
    pod_info_free(g);
    pod_info_free(o);
    api_object_unref(guest);
    api_object_unref(other);
    classes_free(l);
    arena_free(a);
    snapshot_done(&s);
}
END_TEST

static uint64_t ticks;
static unsigned timed_filters, timed_points;

static uint64_t tick(void)
{
    return ticks += 10;
}

static void count_plugin(const struct cycle *c, const struct plugin *p, const char *point,
                         const char *status, uint64_t took_ns)
{
    ck_assert_ptr_nonnull(c->profile);
    ck_assert_ptr_nonnull(p->name);
    ck_assert_uint_gt(took_ns, 0);
    if (strcmp(point, "Filter") == 0)
        timed_filters += strcmp(status, "Success") == 0;
}

static void count_point(const struct cycle *c, const char *point, bool fits, uint64_t took_ns)
{
    UNUSED(c);
    UNUSED(point);
    timed_points += fits && took_ns != 0;
}

/* A decision that is watched tells the times of plugins, for few of the nodes, and of points; the
 * next one, which is not, tells none. */
START_TEST(sampled_decisions_are_timed)
{
    struct snapshot s;
    struct arena *a = arena_new(0);
    struct cycle *c;
    snapshot_init(&s);
    for (unsigned i = 0; i < 2 * FILTERS_PER_TIMED; i++) {
        char name[16];
        AUTO_BUF b = BUF_INIT;
        snprintf(name, sizeof(name), "n%u", i);
        buf_printf(&b,
                   "{\"metadata\":{\"name\":\"%s\"},\"status\":{\"allocatable\":{\"cpu\":\"1\","
                   "\"memory\":\"1Gi\",\"pods\":\"9\"}}}",
                   name);
        struct api_object *o = parsed("Node", &b);
        snapshot_set_node(&s, o);
        api_object_unref(o);
    }
    struct classes *l = classes_new(&s, &no_facts);
    struct api_object *pod = object_from("Pod", HALF("p"));
    struct pod_info *p = pod_info_new(pod);
    struct cycle_watch watch = {.now_ns = tick, .plugin = count_plugin, .point = count_point};
    struct class_question q = {.pod = p, .arena = a, .watch = &watch};
    ck_assert_ptr_nonnull(classes_decide(l, &q, &c));
    ck_assert_uint_eq(watch.filters, 2 * FILTERS_PER_TIMED);
    ck_assert_uint_gt(timed_filters, 2);
    ck_assert_uint_lt(timed_filters, 2 * PLUGINS_MAX);
    ck_assert_uint_eq(timed_points, 2);
    uint64_t before = ticks;
    q.watch = NULL;
    ck_assert_ptr_nonnull(classes_decide(l, &q, &c));
    ck_assert_uint_eq(ticks, before);
    pod_info_free(p);
    api_object_unref(pod);
    classes_free(l);
    arena_free(a);
    snapshot_done(&s);
}
END_TEST

/* Pods that somebody put on a node with absurd requests must not upset the sums. */
START_TEST(absurd_requests)
{
    struct snapshot s;
    struct arena *a = arena_new(0);
    struct cycle *c;
    snapshot_init(&s);
    add_node(&s, SMALL_NODE("a"));
    for (unsigned i = 0; i < 3; i++) {
        AUTO_BUF b = BUF_INIT;
        buf_printf(
            &b,
            "{\"metadata\":{\"name\":\"h%u\",\"uid\":\"h%u\"},\"spec\":{\"nodeName\":\"a\","
            "\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"memory\":\"7Ei\","
            "\"cpu\":\"9000000000000000\",\"ephemeral-storage\":\"7Ei\"}}}]}}",
            i, i);
        struct api_object *o = parsed("Pod", &b);
        snapshot_set_pod(&s, o);
        api_object_unref(o);
        struct api_object *pod = object_from(
            "Pod",
            "{\"metadata\":{\"name\":\"p\",\"uid\":\"p\"},\"spec\":{\"containers\":[{\"name\":"
            "\"c\"}]}}");
        struct pod_info *info = pod_info_new(pod);
        struct classes *l = classes_new(&s, &no_facts);
        struct class_question q = {.pod = info, .arena = a};
        ck_assert_ptr_nonnull(classes_decide(l, &q, &c)); /* It asks for nothing. */
        classes_free(l);
        pod_info_free(info);
        api_object_unref(pod);
    }
    for (unsigned i = 0; i < 3; i++) {
        char uid[4] = {'h', (char)('0' + i), '\0'};
        snapshot_remove_pod(&s, str_of(uid));
    }
    ck_assert_int_eq(s.nodes[0]->nonzero_memory, 0);
    ck_assert_int_eq(s.nodes[0]->requested.memory, 0);
    ck_assert_int_eq(s.nodes[0]->requested.milli_cpu, 0);
    arena_free(a);
    snapshot_done(&s);
}
END_TEST

UNIT_MAIN("scheduler/classes", {
    tcase_add_loop_test(tc, decides_as_from_scratch, 1, 151);
    UNIT_TEST(guest_takes_its_room);
    UNIT_TEST(sampled_decisions_are_timed);
    UNIT_TEST(absurd_requests);
})
