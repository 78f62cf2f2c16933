/* test_disruption.c - what PodDisruptionBudgets report. */
#include "controllers/disruption_plan.h"

#include "api/core_v1.h"
#include "api/policy_v1.h"
#include "test/unit/controllers/objects.h"

#define NOW_S 1000
#define BUDGET(spec, status)                                                                       \
    "{\"metadata\":{\"name\":\"b\",\"generation\":3},\"spec\":{" spec "},\"status\":{" status "}}"
#define POD(name, meta, status)                                                                    \
    "{\"metadata\":{\"name\":\"" name "\"" meta "},\"status\":{" status "}}"
#define READY "\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]"

struct fixture {
    struct arena *a;
    struct api_object *pods[8];
    struct disruption_plan plan;
};

static void plan(struct fixture *f, const char *budget, int32_t scale, const char *const *pods)
{
    struct disruption_input in = {.pods = f->pods, .scale = scale, .now_s = NOW_S};
    f->a = arena_new(0);
    in.budget = decoded(f->a, &policy_v1_pod_disruption_budget_msg, budget);
    for (; pods[in.pod_count] != NULL; in.pod_count++) {
        struct api_object *o = api_object_new(api_kind_by_gvk(STR(""), STR("v1"), STR("Pod")));
        o->msg = decoded(o->arena, &core_v1_pod_msg, pods[in.pod_count]);
        f->pods[in.pod_count] = o;
    }
    disruption_plan(f->a, &in, &f->plan);
}

static void done(struct fixture *f)
{
    for (size_t i = 0; i < 8; i++)
        api_object_unref(f->pods[i]);
    arena_free(f->a);
}

static const char *const two[] = {POD("x", "", READY), POD("y", "", READY), NULL};

/* What is expected is what the controllers want, of which pods without one are no part. */
START_TEST(counts_what_controllers_want)
{
    struct fixture f = {0};
    plan(&f, BUDGET("\"maxUnavailable\":1", ""), 3, two);
    const struct policy_v1_pod_disruption_budget_status *s = f.plan.status;
    ck_assert_int_eq(s->expected_pods, 3);
    ck_assert_int_eq(s->desired_healthy, 2);
    ck_assert_int_eq(s->current_healthy, 2);
    ck_assert_int_eq(s->disruptions_allowed, 0);
    ck_assert_str_eq(s->conditions[0].reason.data, "InsufficientPods");
    ck_assert_int_eq(s->conditions[0].observed_generation, 3);
    done(&f);
    f = (struct fixture){0};
    plan(&f, BUDGET("\"minAvailable\":\"50%\"", ""), 3, two);
    ck_assert_int_eq(f.plan.status->desired_healthy, 2);
    done(&f);
    f = (struct fixture){0};
    plan(&f, BUDGET("\"maxUnavailable\":1", ""), 0, two);
    ck_assert_int_eq(f.plan.status->disruptions_allowed, 0); /* Nothing is expected. */
    done(&f);
}
END_TEST

/* With a number, all pods that are selected count, ended ones too. */
START_TEST(a_number_counts_pods)
{
    const char *pods[] = {POD("x", "", READY), POD("y", "", READY),
                          POD("z", "", "\"phase\":\"Succeeded\""), NULL};
    struct fixture f = {0};
    plan(&f, BUDGET("\"minAvailable\":1", ""), 0, pods);
    ck_assert_int_eq(f.plan.status->expected_pods, 3);
    ck_assert_int_eq(f.plan.status->disruptions_allowed, 1);
    ck_assert_str_eq(f.plan.status->conditions[0].reason.data, "SufficientPods");
    done(&f);
}
END_TEST

/* Evicted pods count as gone for two minutes; who is still there then is told about. */
START_TEST(evictions_expire)
{
    struct fixture f = {0};
    plan(&f,
         BUDGET("\"minAvailable\":1", "\"disruptedPods\":{\"gone\":\"1970-01-01T00:16:30Z\",\"x\":"
                                      "\"1970-01-01T00:16:30Z\",\"y\":\"1970-01-01T00:10:00Z\"}"),
         0, two);
    ck_assert_uint_eq(f.plan.status->disrupted_pods_count, 1);
    ck_assert_str_eq(f.plan.status->disrupted_pods[0].key.data, "x");
    ck_assert_int_eq(f.plan.status->current_healthy, 1);
    ck_assert_int_eq(f.plan.again_after_s, 111); /* 990 + 120 - 1000, and past it. */
    ck_assert_uint_eq(f.plan.kept_count, 1);
    ck_assert_ptr_eq(f.plan.kept[0], f.pods[1]);
    done(&f);
}
END_TEST

/* When nobody knows how many there should be, no eviction is allowed. */
START_TEST(failure_allows_nothing)
{
    AUTO_ARENA *a = arena_new(0);
    const struct policy_v1_pod_disruption_budget *b =
        decoded(a, &policy_v1_pod_disruption_budget_msg,
                BUDGET("\"maxUnavailable\":1",
                       "\"disruptionsAllowed\":2,\"expectedPods\":5,\"observedGeneration\":2,"
                       "\"conditions\":[{\"type\":\"DisruptionAllowed\",\"status\":\"True\","
                       "\"reason\":\"SufficientPods\"}]"));
    const struct policy_v1_pod_disruption_budget_status *s =
        disruption_failed(a, b, STR("jobs.batch does not implement the scale subresource"), 7);
    ck_assert_int_eq(s->disruptions_allowed, 0);
    ck_assert_int_eq(s->expected_pods, 5);
    ck_assert_uint_eq(s->conditions_count, 1);
    ck_assert_str_eq(s->conditions[0].reason.data, "SyncFailed");
    ck_assert_str_eq(s->conditions[0].status.data, "False");
    ck_assert_int_eq(s->conditions[0].last_transition_time.seconds, 7);
    ck_assert_int_eq(s->conditions[0].observed_generation, 2);
}
END_TEST

/* An announced disruption is taken back after two minutes, unless the kubelet announced it. */
START_TEST(announcements_expire)
{
#define TARGET(reason, time)                                                                       \
    "{\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"DisruptionTarget\","           \
    "\"status\":"                                                                                  \
    "\"True\",\"reason\":\"" reason "\",\"lastTransitionTime\":\"" time "\"}]}}"
    AUTO_ARENA *a = arena_new(0);
    int64_t after_s = -1;
    ck_assert(disruption_is_stale(
        decoded(a, &core_v1_pod_msg, TARGET("EvictionByEvictionAPI", "1970-01-01T00:16:30Z")),
        NOW_S, &after_s));
    ck_assert_int_eq(after_s, 110);
    ck_assert(disruption_is_stale(
        decoded(a, &core_v1_pod_msg, TARGET("EvictionByEvictionAPI", "1970-01-01T00:10:00Z")),
        NOW_S, &after_s));
    ck_assert_int_eq(after_s, 0);
    ck_assert(!disruption_is_stale(
        decoded(a, &core_v1_pod_msg, TARGET("TerminationByKubelet", "1970-01-01T00:10:00Z")), NOW_S,
        &after_s));
}
END_TEST

UNIT_MAIN("controllers/disruption", {
    UNIT_TEST(counts_what_controllers_want);
    UNIT_TEST(a_number_counts_pods);
    UNIT_TEST(evictions_expire);
    UNIT_TEST(failure_allows_nothing);
    UNIT_TEST(announcements_expire);
})
