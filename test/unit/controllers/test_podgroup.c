/* test_podgroup.c - the status of pod groups, and their definition. */
#include "api/core_v1.h"
#include "api/scheduling_x_v1alpha1.h"
#include "controllers/podgroup_plan.h"
#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "test/unit/unit.h"

#define PODS_MAX 4

/* Each letter is a pod: w waits, p has a node, r runs, s has succeeded, f has failed. */
static struct str plan(struct arena *a, const char *pods, int32_t min, const char *old,
                       struct scheduling_x_v1alpha1_pod_group_status *ret)
{
    struct api_object *objects[PODS_MAX];
    struct scheduling_x_v1alpha1_pod_group group = {.spec = {.min_member = min},
                                                    .status = {.phase = str_of(old)}};
    static struct meta_v1_time now;
    size_t count = strlen(pods);
    now = time_from_ns(1000000000);
    for (size_t i = 0; i < count; i++) {
        objects[i] = api_object_new(api_kind_by_gvk(STR(""), STR("v1"), STR("Pod")));
        struct core_v1_pod *p = objects[i]->msg;
        p->spec.node_name = pods[i] != 'w' ? STR("n") : STR_NULL;
        p->status.phase = pods[i] == 'r'   ? STR("Running")
                          : pods[i] == 's' ? STR("Succeeded")
                          : pods[i] == 'f' ? STR("Failed")
                                           : STR("Pending");
    }
    podgroup_plan_status(a, &group, objects, count, &now, ret);
    for (size_t i = 0; i < count; i++)
        api_object_unref(objects[i]);
    return ret->phase;
}

/* The phase follows from the pods, and remembers of the past only that the gang was whole. */
START_TEST(phases_follow_pods)
{
    static const struct {
        const char *pods;
        int32_t min;
        const char *old, *phase;
    } cases[] = {
        {"", 2, "", "Pending"},
        {"w", 2, "Pending", "Pending"},
        {"ww", 2, "Pending", "PreScheduling"},
        {"pw", 2, "PreScheduling", "Scheduling"},
        {"pp", 2, "Scheduling", "Scheduled"},
        {"pr", 2, "Scheduled", "Scheduled"},
        {"rr", 2, "Scheduled", "Running"},
        {"rs", 2, "Running", "Running"},
        {"ss", 2, "Running", "Finished"},
        {"rf", 2, "Running", "Failed"},
        {"rw", 2, "Running", "Unknown"},
        {"r", 2, "Running", "Unknown"},
        {"rr", 2, "Unknown", "Running"},
        {"", 2, "Finished", "Finished"},
        {"", 2, "Running", "Pending"},
        {"ww", 2, "Failed", "PreScheduling"},
        {"rrw", 2, "Running", "Running"},
    };
    struct arena *a = arena_new(0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct scheduling_x_v1alpha1_pod_group_status s;
        struct str phase = plan(a, cases[i].pods, cases[i].min, cases[i].old, &s);
        ck_assert_msg(str_eqc(phase, cases[i].phase), "%s after %s: " STR_FMT, cases[i].pods,
                      cases[i].old, STR_ARG(phase));
        bool began = !str_eqc(phase, "Pending") && cases[i].pods[0] != '\0';
        ck_assert((s.schedule_start_time != NULL) == began);
    }
    arena_free(a);
}
END_TEST

START_TEST(pods_are_counted)
{
    struct arena *a = arena_new(0);
    struct scheduling_x_v1alpha1_pod_group_status s;
    (void)plan(a, "wprs", 4, "Scheduling", &s);
    ck_assert_int_eq(s.scheduled, 3);
    ck_assert_int_eq(s.running, 1);
    ck_assert_int_eq(s.succeeded, 1);
    ck_assert_int_eq(s.failed, 0);
    arena_free(a);
}
END_TEST

START_TEST(the_definition_is_json)
{
    struct arena *a = arena_new(0);
    AUTO_BUF b = BUF_INIT;
    struct json *j;
    podgroup_definition(&b);
    ck_assert_int_eq(json_parse(a, buf_str(&b), &j, NULL), 0);
    ck_assert(str_eqc(json_get_str(j, "kind"), "CustomResourceDefinition"));
    arena_free(a);
}
END_TEST

UNIT_MAIN("controllers/podgroup", {
    UNIT_TEST(phases_follow_pods);
    UNIT_TEST(pods_are_counted);
    UNIT_TEST(the_definition_is_json);
})
