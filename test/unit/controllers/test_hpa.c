/* test_hpa.c - what an autoscaler makes of metrics: replicas, limits, answers of the metrics APIs.
 */
#include "api/autoscaling_v2.h"
#include "api/core_v1.h"
#include "api/resource.h"
#include "controllers/hpa_limits.h"
#include "controllers/hpa_metrics.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "test/unit/unit.h"

typedef struct autoscaling_v2_horizontal_pod_autoscaler_spec spec_t;
typedef struct autoscaling_v2_hpa_scaling_rules rules_t;
typedef struct autoscaling_v2_hpa_scaling_policy policy_t;

#define MINUTE 60000

/* --- limits --- */
START_TEST(lower_recommendations_wait)
{
    struct hpa_history h = {0};
    spec_t spec = {.max_replicas = 10};
    hpa_history_start(&h, 5, 0);
    struct hpa_limits l = hpa_limit(&h, &spec, 5, 2, 300, 1000);
    ck_assert_int_eq(l.replicas, 5);
    ck_assert_str_eq(l.able_reason, "ScaleDownStabilized");
    ck_assert(!l.limited);
    /* The five of the start is too old now, the two is not. */
    l = hpa_limit(&h, &spec, 5, 3, 300, 301 * 1000);
    ck_assert_int_eq(l.replicas, 3);
    ck_assert_str_eq(l.able_reason, "ReadyForNewScale");
    hpa_history_done(&h);
}
END_TEST

START_TEST(bounds_without_behavior)
{
    static const struct {
        int32_t current, wanted, replicas;
        const char *reason;
    } t[] = {
        {1, 100, 4, "ScaleUpLimit"},     {3, 100, 6, "ScaleUpLimit"},
        {6, 100, 10, "TooManyReplicas"}, {5, 0, 2, "TooFewReplicas"},
        {5, 7, 7, "DesiredWithinRange"}, {5, 5, 5, "DesiredWithinRange"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
        struct hpa_history h = {0};
        spec_t spec = {.has_min_replicas = true, .min_replicas = 2, .max_replicas = 10};
        struct hpa_limits l = hpa_limit(&h, &spec, t[i].current, t[i].wanted, 300, 1000);
        ck_assert_int_eq(l.replicas, t[i].replicas);
        ck_assert_str_eq(l.limit_reason, t[i].reason);
        ck_assert_int_eq(l.limited, strcmp(t[i].reason, "DesiredWithinRange") != 0);
        hpa_history_done(&h);
    }
}
END_TEST

static spec_t with_rules(struct autoscaling_v2_horizontal_pod_autoscaler_behavior *b, rules_t *up,
                         rules_t *down)
{
    b->scale_up = up;
    b->scale_down = down;
    return (spec_t){.max_replicas = 100, .behavior = b};
}

START_TEST(rates_count_what_was_done)
{
    struct autoscaling_v2_horizontal_pod_autoscaler_behavior b;
    policy_t up_policies[] = {{STR("Pods"), 4, 60}, {STR("Percent"), 50, 60}};
    policy_t down_policies[] = {{STR("Percent"), 10, 60}};
    rules_t up = {
        .policies = up_policies, .policies_count = 2, .has_stabilization_window_seconds = true};
    rules_t down = {
        .policies = down_policies, .policies_count = 1, .has_stabilization_window_seconds = true};
    spec_t spec = with_rules(&b, &up, &down);
    struct hpa_history h = {0};
    /* The larger of four pods and half of twenty. */
    ck_assert_int_eq(hpa_limit(&h, &spec, 20, 90, 300, MINUTE).replicas, 30);
    hpa_history_scaled(&h, 20, 30, MINUTE);
    /* Within the minute that is all there is; after it again half. */
    struct hpa_limits l = hpa_limit(&h, &spec, 30, 90, 300, MINUTE + 30000);
    ck_assert_int_eq(l.replicas, 30);
    ck_assert_str_eq(l.limit_reason, "ScaleUpLimit");
    ck_assert_int_eq(hpa_limit(&h, &spec, 30, 90, 300, 3 * MINUTE).replicas, 45);
    /* The smaller when so chosen, none when disabled. */
    up.has_select_policy = true;
    up.select_policy = STR("Min");
    ck_assert_int_eq(hpa_limit(&h, &spec, 30, 90, 300, 4 * MINUTE).replicas, 34);
    up.select_policy = STR("Disabled");
    ck_assert_int_eq(hpa_limit(&h, &spec, 30, 90, 300, 5 * MINUTE).replicas, 30);
    l = hpa_limit(&h, &spec, 30, 1, 300, 6 * MINUTE);
    ck_assert_int_eq(l.replicas, 27);
    ck_assert_str_eq(l.limit_reason, "ScaleDownLimit");
    hpa_history_done(&h);
}
END_TEST

START_TEST(windows_hold_both_ways)
{
    struct autoscaling_v2_horizontal_pod_autoscaler_behavior b;
    policy_t any[] = {{STR("Percent"), 1000, 15}};
    rules_t up = {.policies = any,
                  .policies_count = 1,
                  .has_stabilization_window_seconds = true,
                  .stabilization_window_seconds = 60};
    rules_t down = {.policies = any, .policies_count = 1};
    spec_t spec = with_rules(&b, &up, &down);
    struct hpa_history h = {0};
    hpa_history_start(&h, 5, 0);
    struct hpa_limits l = hpa_limit(&h, &spec, 5, 9, 300, 30000);
    ck_assert_int_eq(l.replicas, 5);
    ck_assert_str_eq(l.able_reason, "ScaleUpStabilized");
    ck_assert_int_eq(hpa_limit(&h, &spec, 5, 8, 300, 80000).replicas, 8);
    /* Where the object is silent the default window holds down. */
    ck_assert_int_eq(hpa_limit(&h, &spec, 8, 2, 300, 90000).replicas, 8);
    hpa_history_done(&h);
}
END_TEST

/* --- replicas --- */
struct world {
    struct arena *arena;
    struct api_object *pods[8];
    struct hpa_pod_metric metrics[8];
    struct hpa_question q;
};

static void add_pod(struct world *w, const char *name, const char *phase, bool ready,
                    const char *request)
{
    struct api_object *o = api_object_new(api_kind_by_gvk(STR(""), STR("v1"), STR("Pod")));
    struct core_v1_pod *p = o->msg;
    p->metadata.name = str_of(name);
    p->status.phase = str_of(phase);
    p->status.start_time = ARENA_NEW(w->arena, struct meta_v1_time);
    p->status.start_time->seconds = 1000;
    p->status.conditions = ARENA_NEW(w->arena, struct core_v1_pod_condition);
    p->status.conditions_count = 1;
    *p->status.conditions =
        (struct core_v1_pod_condition){.type = STR("Ready"),
                                       .status = ready ? STR("True") : STR("False"),
                                       .last_transition_time.seconds = 1010};
    p->spec.containers = ARENA_NEW(w->arena, struct core_v1_container);
    p->spec.containers_count = 1;
    p->spec.containers->name = STR("c");
    if (request != NULL) {
        p->spec.containers->resources.requests = ARENA_NEW(w->arena, struct api_quantity_entry);
        p->spec.containers->resources.requests_count = 1;
        *p->spec.containers->resources.requests =
            (struct api_quantity_entry){STR("cpu"), {.string = str_of(request)}};
    }
    w->pods[w->q.pod_count++] = o;
}

static void tell(struct world *w, const char *pod, int64_t milli)
{
    w->metrics[w->q.metric_count++] = (struct hpa_pod_metric){str_of(pod), milli, 5000, 60};
}

static void begin(struct world *w, int32_t current)
{
    *w = (struct world){.arena = arena_new(0)};
    w->q = (struct hpa_question){.arena = w->arena,
                                 .pods = w->pods,
                                 .metrics = w->metrics,
                                 .resource = STR("cpu"),
                                 .current = current,
                                 .tolerance_up = 0.1,
                                 .tolerance_down = 0.1,
                                 .now_s = 5000,
                                 .cpu_initialization_s = 300,
                                 .initial_readiness_s = 30};
}

static void end(struct world *w)
{
    for (size_t i = 0; i < w->q.pod_count; i++)
        api_object_unref(w->pods[i]);
    arena_free(w->arena);
}

START_TEST(utilization_of_requests)
{
    static const struct {
        int64_t milli;
        int32_t replicas, utilization;
    } t[] = {{500, 2, 50}, {545, 2, 54}, {900, 4, 90}, {100, 1, 10}};
    for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
        struct world w;
        struct hpa_answer x;
        begin(&w, 2);
        add_pod(&w, "b", "Running", true, "1");
        add_pod(&w, "a", "Running", true, "1");
        tell(&w, "a", t[i].milli);
        tell(&w, "b", t[i].milli);
        ck_assert_int_eq(hpa_by_utilization(&w.q, 50, &x, NULL), 0);
        ck_assert_int_eq(x.replicas, t[i].replicas);
        ck_assert_int_eq(x.utilization, t[i].utilization);
        ck_assert_int_eq(x.average, t[i].milli);
        end(&w);
    }
}
END_TEST

/* A silent pod counts as idle when more are asked for, as busy when fewer are. */
START_TEST(silent_pods_hold_back)
{
    struct world w;
    struct hpa_answer x;
    begin(&w, 3);
    add_pod(&w, "a", "Running", true, "1");
    add_pod(&w, "b", "Running", true, "1");
    add_pod(&w, "silent", "Running", true, "1");
    tell(&w, "a", 800);
    tell(&w, "b", 800);
    /* 80 percent of two pods, but 53 of three, which is near enough. */
    ck_assert_int_eq(hpa_by_utilization(&w.q, 50, &x, NULL), 0);
    ck_assert_int_eq(x.utilization, 80);
    ck_assert_int_eq(x.replicas, 3);
    /* 20 percent of two, 46 of three. */
    w.metrics[0].milli = w.metrics[1].milli = 200;
    ck_assert_int_eq(hpa_by_utilization(&w.q, 50, &x, NULL), 0);
    ck_assert_int_eq(x.utilization, 20);
    ck_assert_int_eq(x.replicas, 3);
    /* All tell. */
    tell(&w, "silent", 200);
    ck_assert_int_eq(hpa_by_utilization(&w.q, 50, &x, NULL), 0);
    ck_assert_int_eq(x.replicas, 2);
    end(&w);
}
END_TEST

START_TEST(unready_pods_do_not_count)
{
    struct world w;
    struct hpa_answer x;
    struct error err = {0};
    begin(&w, 2);
    add_pod(&w, "a", "Running", true, "1");
    add_pod(&w, "pending", "Pending", false, "1");
    tell(&w, "a", 900);
    ck_assert_int_eq(hpa_by_utilization(&w.q, 50, &x, NULL), 0);
    ck_assert_int_eq(x.utilization, 90);
    ck_assert_int_eq(x.replicas,
                     2); /* 900 of 2000 with the pending one idle: it would turn the direction. */
    end(&w);
    begin(&w, 1);
    ck_assert_int_eq(hpa_by_utilization(&w.q, 50, &x, &err), E_INVALID);
    ck_assert_str_eq(err.message, "no pods returned by selector while calculating replica count");
    add_pod(&w, "a", "Pending", false, "1");
    ck_assert_int_eq(hpa_by_utilization(&w.q, 50, &x, &err), E_INVALID);
    ck_assert_str_eq(err.message, "did not receive metrics for any ready pods");
    end(&w);
    begin(&w, 1);
    add_pod(&w, "a", "Running", true, NULL);
    tell(&w, "a", 10);
    ck_assert_int_eq(hpa_by_utilization(&w.q, 50, &x, &err), E_INVALID);
    ck_assert_str_eq(err.message, "missing request for cpu in container c of Pod a");
    end(&w);
}
END_TEST

START_TEST(averages_ratios_and_shares)
{
    struct world w;
    struct hpa_answer x;
    int32_t replicas;
    begin(&w, 2);
    w.q.resource = STR_NULL;
    add_pod(&w, "a", "Running", true, NULL);
    add_pod(&w, "b", "Running", true, NULL);
    tell(&w, "a", 30000);
    tell(&w, "b", 10000);
    ck_assert_int_eq(hpa_by_average(&w.q, 10000, &x, NULL), 0);
    ck_assert_int_eq(x.replicas, 4);
    ck_assert_int_eq(x.average, 20000);
    ck_assert_int_eq(hpa_by_ratio(&w.q, 1.05, &replicas, NULL), 0);
    ck_assert_int_eq(replicas, 2);
    ck_assert_int_eq(hpa_by_ratio(&w.q, 3.2, &replicas, NULL), 0);
    ck_assert_int_eq(replicas, 7);
    hpa_by_share(&w.q, 90000, 10000, 2, &x);
    ck_assert_int_eq(x.replicas, 9);
    ck_assert_int_eq(x.average, 45000);
    hpa_by_share(&w.q, 21000, 10000, 2, &x);
    ck_assert_int_eq(x.replicas, 2);
    end(&w);
}
END_TEST

/* --- answers --- */
START_TEST(answers_are_read)
{
    AUTO_ARENA *a = arena_new(0);
    struct error err = {0};
    struct hpa_metrics m;
    int64_t milli;
    struct str pods = STR("{\"kind\":\"PodMetricsList\",\"items\":[{\"metadata\":{\"name\":\"a\"},"
                          "\"timestamp\":\"1970-01-01T00:01:40Z\","
                          "\"window\":\"1m15.5s\",\"containers\":[{\"name\":\"x\",\"usage\":{"
                          "\"cpu\":\"250m\",\"memory\":\"1Mi\"}},"
                          "{\"name\":\"y\",\"usage\":{\"cpu\":\"1\"}}]},{\"metadata\":{\"name\":"
                          "\"b\"},\"containers\":[]}]}");
    ck_assert_int_eq(hpa_metrics_resource(a, pods, STR("cpu"), STR_NULL, &m, &err), 0);
    ck_assert_uint_eq(m.count, 1);
    ck_assert_int_eq(m.items[0].milli, 1250);
    ck_assert_int_eq(m.items[0].at_s, 100);
    ck_assert_int_eq(m.items[0].window_s, 75);
    ck_assert_int_eq(hpa_metrics_resource(a, pods, STR("memory"), STR_NULL, &m, &err), 0);
    ck_assert_uint_eq(m.count, 0); /* y does not tell. */
    ck_assert_int_eq(hpa_metrics_resource(a, pods, STR("cpu"), STR("x"), &m, &err), 0);
    ck_assert_int_eq(m.items[0].milli, 250);
    ck_assert_int_eq(
        hpa_metrics_pods(
            a, STR("{\"items\":[{\"describedObject\":{\"name\":\"a\"},\"value\":\"3\"}]}"), &m,
            &err),
        0);
    ck_assert_int_eq(m.items[0].milli, 3000);
    ck_assert_int_eq(
        hpa_metrics_external(a, STR("{\"items\":[{\"value\":\"1500m\"},{\"value\":\"2\"}]}"),
                             &milli, &err),
        0);
    ck_assert_int_eq(milli, 3500);
    ck_assert_int_eq(hpa_metrics_object(a, STR("{\"items\":[{\"value\":\"x\"}]}"), &milli, &err),
                     E_INVALID);
    ck_assert_int_eq(hpa_metrics_external(a, STR("{\"items\":[]}"), &milli, &err), E_INVALID);
    ck_assert_str_eq(err.message, "no metrics returned from external metrics API");
}
END_TEST

UNIT_MAIN("hpa", {
    UNIT_TEST(lower_recommendations_wait);
    UNIT_TEST(bounds_without_behavior);
    UNIT_TEST(rates_count_what_was_done);
    UNIT_TEST(windows_hold_both_ways);
    UNIT_TEST(utilization_of_requests);
    UNIT_TEST(silent_pods_hold_back);
    UNIT_TEST(unready_pods_do_not_count);
    UNIT_TEST(averages_ratios_and_shares);
    UNIT_TEST(answers_are_read);
})
