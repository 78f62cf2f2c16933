/* VerticalPodAutoscalers: reading them, and what their recommendation means for a pod. */
#include "lib/api/vpa.h"

#include "api/core_v1.h"
#include "api/resource.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "test/unit/unit.h"

static struct arena *a;

static void setup(void)
{
    a = arena_new(0);
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
    for (; *text != '\0'; text++) /* Single quotes read better in C. */
        buf_putc(&quoted, *text == '\'' ? '"' : *text);
    ck_assert_msg(json_parse(a, arena_str(a, buf_str(&quoted)), &j, &err) == 0, "%s",
                  error_message(&err));
    return j;
}

static void decode(const struct api_msg *m, const char *text, void *ret)
{
    struct error err = {0};
    ck_assert_msg(api_json_decode_tree(a, m, tree(text), API_LENIENT, NULL, ret, &err) == 0, "%s",
                  error_message(&err));
}

static struct vpa_object autoscaler(const char *spec, const char *recommended)
{
    struct vpa_object v;
    vpa_read(a,
             tree(arena_printf(a,
                               "{'spec':%s,'status':{'recommendation':"
                               "{'containerRecommendations':[%s]}}}",
                               spec, recommended)
                      .data),
             &v);
    return v;
}

/* "request cpu,request memory,limit cpu,limit memory" of the first container; - is not given. */
static void expect(const struct vpa_container *c, const char *want)
{
    AUTO_BUF got = BUF_INIT;
    const struct vpa_list *lists[] = {&c->requests, &c->limits};
    for (size_t i = 0; i < 2; i++)
        for (enum vpa_resource r = 0; r < VPA_RESOURCES; r++) {
            const struct vpa_amount *x = &lists[i]->of[r];
            struct quantity q = vpa_quantity(r, x);
            buf_printf(&got, "%s" STR_FMT, got.len == 0 ? "" : ",",
                       STR_ARG(x->given ? quantity_str(a, &q) : STR("-")));
        }
    ck_assert_str_eq(str_c(arena_str(a, buf_str(&got))), want);
}

static const struct vpa_container *applied(const char *spec, const char *recommended,
                                           const char *pod, const char *const *ranges)
{
    struct vpa_object v = autoscaler(spec, recommended);
    struct vpa_ranges r = {0};
    struct core_v1_pod p = {0};
    decode(&core_v1_pod_msg, pod, &p);
    for (; ranges != NULL && *ranges != NULL; ranges++) {
        struct core_v1_limit_range l = {0};
        decode(&core_v1_limit_range_msg, arena_printf(a, "{'spec':{'limits':[%s]}}", *ranges).data,
               &l);
        vpa_ranges_add(&r, &l);
    }
    return vpa_for_pod(a, &v, &p, &r);
}

#define TARGET "'targetRef':{'apiVersion':'apps/v1','kind':'Deployment','name':'web'}"
#define RECOMMENDED                                                                                \
    "{'containerName':'c','target':{'cpu':'250m','memory':'262144k'},"                             \
    "'lowerBound':{'cpu':'100m','memory':'200M'},'upperBound':{'cpu':'1','memory':'1G'}}"
#define POD(resources) "{'spec':{'containers':[{'name':'c','resources':" resources "}]}}"

/* Everything that a spec can say is read; what is not said has its default. */
START_TEST(reads)
{
    struct vpa_object v = autoscaler(
        "{" TARGET ",'updatePolicy':{'updateMode':'InPlaceOrRecreate','minReplicas':3,"
        "'evictAfterOOMSeconds':30,'evictionRequirements':[{'resources':['cpu'],"
        "'changeRequirement':'TargetHigherThanRequests'}]},'recommenders':[{'name':'mine'}],"
        "'resourcePolicy':{'containerPolicies':[{'containerName':'*','mode':'Off'},"
        "{'containerName':'c','controlledResources':['memory'],'controlledValues':'RequestsOnly',"
        "'minAllowed':{'cpu':'100m'},'maxAllowed':{'memory':'1Gi'},'oomBumpUpRatio':'1.5',"
        "'oomMinBumpUp':1000,'memoryAggregationIntervalSeconds':60}]}}",
        RECOMMENDED);
    ck_assert(str_eqc(v.target_kind, "Deployment") && str_eqc(v.target_name, "web"));
    ck_assert_int_eq(v.mode, VPA_IN_PLACE_OR_RECREATE);
    ck_assert_int_eq(v.min_replicas, 3);
    ck_assert_int_eq(v.evict_after_oom_s, 30);
    ck_assert(v.requirements[0].higher && v.requirements[0].wants[VPA_CPU] &&
              !v.requirements[0].wants[VPA_MEMORY]);
    ck_assert(str_eqc(v.recommenders[0], "mine"));
    const struct vpa_policy *p = vpa_policy_of(&v, STR("c"));
    ck_assert(!p->off && p->requests_only && !p->controls[VPA_CPU] && p->controls[VPA_MEMORY]);
    ck_assert_int_eq(p->min.of[VPA_CPU].n, 100);
    ck_assert_int_eq(p->max.of[VPA_MEMORY].n, 1024 * 1024 * 1024);
    ck_assert(p->oom_ratio > 1.49 && p->oom_ratio < 1.51 && p->oom_bytes > 999);
    ck_assert_int_eq(p->memory_interval_s, 60);
    ck_assert(vpa_policy_of(&v, STR("d"))->off);
    ck_assert_int_eq(v.recommended[0].target.of[VPA_MEMORY].n, 262144000);
    struct vpa_object bare = autoscaler("{" TARGET "}", "");
    ck_assert_int_eq(bare.mode, VPA_RECREATE);
    ck_assert(vpa_policy_of(&bare, STR("c")) == NULL && bare.recommended_count == 0);
    ck_assert(autoscaler("{'updatePolicy':{'updateMode':'Auto'}}", "").mode_deprecated);
}
END_TEST

/* Limits keep their ratio to requests; with one of the two they are equal. */
START_TEST(proportions)
{
    static const struct {
        const char *resources, *want;
    } cases[] = {
        {"{}", "250m,262144k,-,-"},
        {"{'requests':{'cpu':'100m','memory':'100Mi'},'limits':{'cpu':'300m','memory':'150Mi'}}",
         "250m,262144k,750m,375Mi"},
        {"{'requests':{'cpu':'100m','memory':'100Mi'},'limits':{'cpu':'100m'}}",
         "250m,262144k,250m,-"},
        {"{'limits':{'memory':'100Mi'}}", "250m,262144k,-,262144k"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        expect(applied("{" TARGET "}", RECOMMENDED,
                       arena_printf(a, POD("%s"), cases[i].resources).data, NULL),
               cases[i].want);
}
END_TEST

/* Requests stay within the policy, and within the limits where only requests are set. */
START_TEST(policies)
{
    const char *pod = POD("{'requests':{'cpu':'100m','memory':'100Mi'},"
                          "'limits':{'cpu':'200m','memory':'200Mi'}}");
    const struct vpa_container *c =
        applied("{'resourcePolicy':{'containerPolicies':[{'containerName':'c',"
                "'minAllowed':{'cpu':'400m'},'maxAllowed':{'memory':'128Mi'}}]}}",
                RECOMMENDED, pod, NULL);
    expect(c, "400m,128Mi,800m,256Mi");
    ck_assert_uint_eq(c->note_count, 2);
    ck_assert(str_eqc(c->notes[0], "cpu capped to minAllowed"));
    ck_assert(str_eqc(c->notes[1], "memory capped to maxAllowed"));
    c = applied("{'resourcePolicy':{'containerPolicies':[{'containerName':'*',"
                "'controlledValues':'RequestsOnly'}]}}",
                RECOMMENDED, pod, NULL);
    expect(c, "200m,200Mi,-,-");
    ck_assert(str_eqc(c->notes[0], "cpu capped to container limit"));
    c = applied("{'resourcePolicy':{'containerPolicies':[{'containerName':'*','mode':'Off'}]}}",
                RECOMMENDED, pod, NULL);
    ck_assert(!c->recommended);
    expect(c, "-,-,-,-");
}
END_TEST

/* A LimitRange bounds requests and, by the ratio, what limits become. */
START_TEST(container_ranges)
{
    const char *pod = POD("{'requests':{'cpu':'100m','memory':'100M'},"
                          "'limits':{'cpu':'200m','memory':'400M'}}");
    const char *ranges[] = {"{'type':'Container','max':{'cpu':'3','memory':'600M'}}",
                            "{'type':'Container','max':{'cpu':'400m'},'min':{'memory':'10M'}}",
                            NULL};
    const struct vpa_container *c = applied("{" TARGET "}", RECOMMENDED, pod, ranges);
    expect(c, "200m,150M,400m,600M");
    ck_assert(str_eqc(c->notes[0], "cpu capped to fit Max in container LimitRange"));
    ck_assert_int_eq(c->upper.of[VPA_CPU].n, 200);
    const char *least[] = {"{'type':'Container','min':{'cpu':'2','memory':'1G'}}", NULL};
    expect(applied("{" TARGET "}", RECOMMENDED, pod, least), "2,1G,4,4G");
    /* What names no limit gets the usual one, which must then be kept in proportion. */
    const char *usual[] = {"{'type':'Container','default':{'cpu':'500m'},'max':{'cpu':'1'}}", NULL};
    expect(applied("{" TARGET "}", RECOMMENDED, POD("{'requests':{'cpu':'250m'}}"), usual),
           "250m,262144k,500m,-");
}
END_TEST

/* A pod's LimitRange is shared by its containers. */
START_TEST(pod_ranges)
{
    const char *pod = "{'spec':{'containers':["
                      "{'name':'c','resources':{'requests':{'cpu':'1'},'limits':{'cpu':'1'}}},"
                      "{'name':'d','resources':{'requests':{'cpu':'1'},'limits':{'cpu':'1'}}}]}}";
    const char *two = "{'containerName':'c','target':{'cpu':'3'}},"
                      "{'containerName':'d','target':{'cpu':'1'}}";
    const char *most[] = {"{'type':'Pod','max':{'cpu':'2'}}", NULL};
    const struct vpa_container *c = applied("{" TARGET "}", two, pod, most);
    expect(&c[0], "1500m,-,1500m,-");
    expect(&c[1], "500m,-,500m,-");
    const char *least[] = {"{'type':'Pod','min':{'cpu':'8'}}", NULL};
    c = applied("{" TARGET "}", two, pod, least);
    expect(&c[0], "6,-,6,-");
    expect(&c[1], "2,-,2,-");
}
END_TEST

/* What a container has is what its status says, once it says so. */
START_TEST(status_counts)
{
    struct core_v1_pod p = {0};
    struct vpa_list requests, limits;
    decode(&core_v1_pod_msg,
           "{'spec':{'containers':[{'name':'c','resources':{'requests':{'cpu':'1'}}}]},"
           "'status':{'containerStatuses':[{'name':'c','resources':{'requests':{'cpu':'2'},"
           "'limits':{'memory':'5'}}}]}}",
           &p);
    vpa_container_has(&p, 0, &requests, &limits);
    ck_assert_int_eq(requests.of[VPA_CPU].n, 2000);
    ck_assert(!requests.of[VPA_MEMORY].given && limits.of[VPA_MEMORY].n == 5);
}
END_TEST

UNIT_MAIN("vpa", {
    tcase_add_checked_fixture(tc, setup, teardown);
    UNIT_TEST(reads);
    UNIT_TEST(proportions);
    UNIT_TEST(policies);
    UNIT_TEST(container_ranges);
    UNIT_TEST(pod_ranges);
    UNIT_TEST(status_counts);
})
