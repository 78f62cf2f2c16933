/* test_preemption.c - whom to evict, where, and what to say when nobody. */
#include "scheduler/preemption.h"
#include "api/policy_v1.h"
#include "test/unit/scheduler/cluster.h"

#define NODE(name, cpu)                                                                            \
    "{\"metadata\":{\"name\":\"" name "\"},\"status\":{\"allocatable\":{\"cpu\":\"" cpu            \
    "\",\"memory\":\"4Gi\",\"pods\":\"110\"}}}"
#define POD(name, node, cpu, priority)                                                             \
    "{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"default\",\"uid\":\"u-" name             \
    "\",\"labels\":{\"name\":\"" name "\"}},\"spec\":{\"nodeName\":\"" node                        \
    "\",\"priority\":" priority ",\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":"    \
    "{\"cpu\":\"" cpu "\"}}}]}}"

static void check_untouched(const struct snapshot *s, size_t pods)
{
    size_t count = 0;
    for (size_t i = 0; i < s->node_count; i++)
        count += s->nodes[i]->pod_count;
    ck_assert_uint_eq(count, pods);
}

/* Only as many go as must: the more important ones are spared. */
START_TEST(spares_the_important)
{
    struct snapshot s;
    struct decision d;
    struct preemption p;
    snapshot_init(&s);
    add_node(&s, NODE("a", "3"));
    add_pod(&s, POD("low", "a", "1", "1"));
    add_pod(&s, POD("mid", "a", "1", "5"));
    add_pod(&s, POD("top", "a", "1", "100"));
    decide(&s, POD("new", "", "1", "50"), &d);
    ck_assert_ptr_null(d.node);
    preemption_evaluate(&d.cycle, NULL, 0, &p);
    ck_assert_ptr_nonnull(p.node);
    ck_assert_uint_eq(p.victim_count, 1);
    ck_assert_str_eq(((struct core_v1_pod *)p.victims[0]->msg)->metadata.name.data, "low");
    check_untouched(&s, 3);
    decision_done(&d);
    snapshot_done(&s);
}
END_TEST

/* Of two nodes the one whose victim matters less is taken. */
START_TEST(prefers_the_cheaper_node)
{
    struct snapshot s;
    struct decision d;
    struct preemption p;
    snapshot_init(&s);
    add_node(&s, NODE("a", "1"));
    add_node(&s, NODE("b", "1"));
    add_pod(&s, POD("five", "a", "1", "5"));
    add_pod(&s, POD("two", "b", "1", "2"));
    decide(&s, POD("new", "", "1", "50"), &d);
    preemption_evaluate(&d.cycle, NULL, 0, &p);
    ck_assert_str_eq(p.node->name, "b");
    decision_done(&d);
    snapshot_done(&s);
}
END_TEST

/* A node whose victim a budget protects is the last choice. */
START_TEST(respects_budgets)
{
    struct snapshot s;
    struct decision d;
    struct preemption p;
    struct api_str_entry label = {STR("name"), STR("two")};
    struct meta_v1_label_selector selector = {.match_labels = &label, .match_labels_count = 1};
    struct policy_v1_pod_disruption_budget budget = {.metadata = {.namespace = STR("default")},
                                                     .spec = {.selector = &selector}};
    const struct policy_v1_pod_disruption_budget *budgets[] = {&budget};
    snapshot_init(&s);
    add_node(&s, NODE("a", "1"));
    add_node(&s, NODE("b", "1"));
    add_pod(&s, POD("five", "a", "1", "5"));
    add_pod(&s, POD("two", "b", "1", "2"));
    decide(&s, POD("new", "", "1", "50"), &d);
    preemption_evaluate(&d.cycle, budgets, 1, &p);
    ck_assert_str_eq(p.node->name, "a");
    decision_done(&d);
    snapshot_done(&s);
}
END_TEST

/* Texts as upstream's, for nodes that cannot help and for equal priorities. */
START_TEST(explains_itself)
{
    struct snapshot s;
    struct decision d;
    struct preemption p;
    snapshot_init(&s);
    add_node(&s, NODE("a", "1"));
    add_node(&s, NODE("b", "1"));
    add_pod(&s, POD("same", "a", "1", "50"));
    decide(&s, POD("big", "", "2", "50"), &d);
    preemption_evaluate(&d.cycle, NULL, 0, &p);
    ck_assert_ptr_null(p.node);
    ck_assert_message(
        d, p.message,
        "0/2 nodes are available: 2 Insufficient cpu. no new claims to deallocate, "
        "preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.");
    decision_done(&d);
    add_pod(&s, POD("other", "b", "1", "50"));
    decide(&s, POD("new", "", "1", "50"), &d);
    preemption_evaluate(&d.cycle, NULL, 0, &p);
    ck_assert_str_eq(p.message.data,
                     "no new claims to deallocate, preemption: 0/2 nodes are available: 2 No "
                     "preemption victims found for incoming pod.");
    decision_done(&d);
    snapshot_done(&s);
}
END_TEST

UNIT_MAIN("scheduler/preemption", {
    UNIT_TEST(spares_the_important);
    UNIT_TEST(prefers_the_cheaper_node);
    UNIT_TEST(respects_budgets);
    UNIT_TEST(explains_itself);
})
