/* Which pods a vertical autoscaler resizes or evicts, in which order. */
#include "controllers/vpa_plan.h"

#include "api/core_v1.h"
#include "api/resource.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "test/unit/unit.h"

#define NOW 1700000000 /* 2023-11-14T22:13:20Z */
#define OLD "2023-11-13T00:00:00Z"
#define PODS_MAX 16

static const struct vpa_ranges no_ranges;
static struct arena *a;
static struct vpa_object v;
static struct vpa_pod pods[PODS_MAX];
static struct vpa_step steps[PODS_MAX];
static struct vpa_group groups[2];
static struct vpa_plan_config config;
static size_t count;

static void setup(void)
{
    a = arena_new(0);
    v = (struct vpa_object){.mode = VPA_RECREATE, .target_kind = STR("Deployment")};
    groups[0].configured = groups[1].configured = -1;
    config = (struct vpa_plan_config){VPA_PLAN_DEFAULTS, .autoscaler = &v, .now_s = NOW};
    count = 0;
}

static void teardown(void)
{
    arena_free(a);
}

static struct json *tree(const char *text)
{
    struct json *j;
    struct error err = {0};
    AUTO_BUF quoted = BUF_INIT;
    for (; *text != '\0'; text++)
        buf_putc(&quoted, *text == '\'' ? '"' : *text);
    ck_assert_msg(json_parse(a, arena_str(a, buf_str(&quoted)), &j, &err) == 0, "%s",
                  error_message(&err));
    return j;
}

/* A pod that asks for so much CPU; what is recommended is 1 core, 500m to 2 at the bounds. */
static struct vpa_pod *add(const char *cpu, const char *status)
{
    struct core_v1_pod *p = ARENA_NEW(a, struct core_v1_pod);
    const char *text = arena_printf(a,
                                    "{'metadata':{'name':'p%zu'},'spec':{'containers':[{'name':'c',"
                                    "'resources':{'requests':{%s%s%s}}}]},'status':%s}",
                                    count, cpu[0] != '\0' ? "'cpu':'" : "", cpu,
                                    cpu[0] != '\0' ? "','memory':'1Gi'" : "", status)
                           .data;
    ck_assert_int_eq(
        api_json_decode_tree(a, &core_v1_pod_msg, tree(text), API_LENIENT, NULL, p, NULL), 0);
    struct vpa_object recommended;
    vpa_read(a,
             tree("{'status':{'recommendation':{'containerRecommendations':[{'containerName':'c',"
                  "'target':{'cpu':'1'},'lowerBound':{'cpu':'500m'},'upperBound':{'cpu':'2'}}]}}}"),
             &recommended);
    v.recommended = recommended.recommended;
    v.recommended_count = recommended.recommended_count;
    struct vpa_pod *x = &pods[count++];
    *x = (struct vpa_pod){.pod = p, .containers = vpa_for_pod(a, &v, p, &no_ranges)};
    return x;
}

/* "r0 e2": pod 0 is resized, pod 2 is evicted. */
static void expect(const char *want)
{
    AUTO_BUF got = BUF_INIT;
    size_t n = vpa_plan(a, &config, pods, count, groups, 2, steps);
    for (size_t i = 0; i < n; i++)
        buf_printf(&got, "%s%c%zu", i == 0 ? "" : " ", steps[i].way == VPA_BY_RESIZE ? 'r' : 'e',
                   steps[i].pod);
    ck_assert_str_eq(str_c(arena_str(a, buf_str(&got))), want);
}

#define RUNNING "{'phase':'Running','startTime':'" OLD "'}"
#define YOUNG "{'phase':'Running','startTime':'2023-11-14T22:00:00Z'}"
#define RESIZE(type, reason)                                                                       \
    "{'phase':'Running','startTime':'" OLD "','conditions':[{'type':'" type                        \
    "','status':'True','reason':'" reason "'}]}"

/* Pods outside their bounds go at once; within them only old ones that are off by a tenth. */
START_TEST(who)
{
    add("100m", YOUNG); /* Below. */
    add("3", YOUNG);    /* Above. */
    add("600m", YOUNG); /* Within, young. */
    add("600m", RUNNING);
    add("950m", RUNNING); /* Near enough. */
    add("", YOUNG);       /* Asks for nothing. */
    config.tolerance = 1;
    /* What grows comes first, most of all what asks for nothing (1000 of 1). */
    expect("e5 e0 e3 e1");
    v.mode = VPA_OFF;
    expect("");
    v.mode = VPA_INITIAL;
    expect("");
}
END_TEST

/* Half of a controller's pods at most, none of fewer than two, one where half is none. */
START_TEST(budgets)
{
    for (int i = 0; i < 5; i++)
        add("100m", YOUNG);
    expect("e0 e1");          /* 5 * 0.5 is 2. */
    groups[0].configured = 6; /* One is missing already. */
    expect("e0 e1");
    groups[0].configured = 10;
    expect("");
    groups[0].configured = 0;
    expect("");
    groups[0].configured = -1;
    pods[3].group = pods[4].group = 1;
    expect("e0 e3"); /* 3 * 0.5 and 2 * 0.5 are one each. */
    count = 1;
    expect("");
    v.min_replicas = 1;
    expect("e0");
    count = 3;
    config.tolerance = 0.3;
    expect("e0");
    v.min_replicas = 4;
    expect("");
}
END_TEST

/* Pods that have not started are away anyway; they count against the others. */
START_TEST(pending)
{
    add("100m", "{'phase':'Pending'}");
    add("100m", YOUNG);
    add("100m", YOUNG);
    add("100m", YOUNG);
    expect("e0 e1"); /* Of 4, 2 may be away. */
    v.mode = VPA_IN_PLACE_OR_RECREATE;
    expect("r1");
}
END_TEST

/* In place first; eviction where the node says no, or takes too long. */
START_TEST(in_place)
{
    v.mode = VPA_IN_PLACE_OR_RECREATE;
    add("100m", YOUNG);
    add("100m", RESIZE("PodResizePending", "Infeasible"));
    add("100m", RESIZE("PodResizePending", "Deferred"))->resizing_since_s = NOW - 100;
    add("100m", RESIZE("PodResizePending", "Deferred"))->resizing_since_s = NOW - 301;
    add("100m", RESIZE("PodResizeInProgress", ""))->resizing_since_s = NOW - 3000;
    add("100m", RESIZE("PodResizeInProgress", ""))->resizing_since_s = NOW - 3601;
    add("100m", RESIZE("PodResizeInProgress", "Error"));
    config.tolerance = 1;
    expect("r0 e1 e3 e5 e6");
    v.mode = VPA_RECREATE;
    expect("e0 e1 e3 e5 e6");
    /* Never evicted; asked again, since the target is not what the spec asks for. */
    v.mode = VPA_IN_PLACE;
    expect("r0 r1 r2 r3 r4 r5 r6");
}
END_TEST

/* What the spec asks for already is with the node. */
START_TEST(asked)
{
    v.mode = VPA_IN_PLACE_OR_RECREATE;
    add("1", "{'phase':'Running','startTime':'" OLD
             "','containerStatuses':[{'name':'c','resources':{'requests':{'cpu':'100m'}}}]}");
    add("1", RESIZE("PodResizePending", "Infeasible"));
    struct core_v1_pod *p = (struct core_v1_pod *)(uintptr_t)pods[1].pod;
    p->status.container_statuses = pods[0].pod->status.container_statuses;
    p->status.container_statuses_count = 1;
    expect("e1");
    v.mode = VPA_IN_PLACE;
    expect("");
}
END_TEST

/* A kill for lack of memory soon after the start counts like being out of bounds. */
START_TEST(killed)
{
    static const char *const status =
        "{'phase':'Running','startTime':'2023-11-14T22:00:00Z','containerStatuses':[{'name':'c',"
        "'lastState':{'terminated':{'reason':'OOMKilled','startedAt':'2023-11-14T22:00:00Z',"
        "'finishedAt':'2023-11-14T22:05:00Z'}}}]}";
    add("600m", status);
    add("1", status); /* Nothing would change. */
    expect("e0");
    v.evict_after_oom_s = 60;
    expect("");
}
END_TEST

/* A change that the requirements do not name is not made. */
START_TEST(requirements)
{
    struct vpa_requirement higher = {.wants = {[VPA_CPU] = true}, .higher = true};
    v.requirements = &higher;
    v.requirement_count = 1;
    config.tolerance = 1;
    add("100m", YOUNG);
    add("3", YOUNG);
    expect("e0");
    higher.higher = false;
    expect("e1");
    higher.wants[VPA_CPU] = false;
    higher.wants[VPA_MEMORY] = true;
    expect("");
    add("", YOUNG);
    expect("e2");
}
END_TEST

/* Containers that were added after the pod was admitted do not count. */
START_TEST(observed)
{
    struct api_str_entry names = {STR(VPA_OBSERVED_ANNOTATION), STR("a, b")};
    struct core_v1_pod *p = (struct core_v1_pod *)(uintptr_t)add("100m", YOUNG)->pod;
    add("100m", YOUNG);
    p->metadata.annotations = &names;
    p->metadata.annotations_count = 1;
    expect("e1");
    names.value = STR("a, c");
    expect("e0");
}
END_TEST

UNIT_MAIN("vpa_plan", {
    tcase_add_checked_fixture(tc, setup, teardown);
    UNIT_TEST(who);
    UNIT_TEST(budgets);
    UNIT_TEST(pending);
    UNIT_TEST(in_place);
    UNIT_TEST(asked);
    UNIT_TEST(killed);
    UNIT_TEST(requirements);
    UNIT_TEST(observed);
})
