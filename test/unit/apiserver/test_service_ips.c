/* test_service_ips.c - families of Services, by those of the cluster. */
#include "apiserver/service_ips.h"

#include "api/core_v1.h"
#include "apiserver/apiserver.h"
#include "apiserver/kinds/kinds.h"
#include "test/unit/apiserver/kinds_fixture.h"

#define V4 "10.96.0.0/16"
#define V6 "fd00:96::/108"

static const char *ranges(const char *flag)
{
    static struct error err;
    struct apiserver *s = xzalloc(sizeof(*s));
    err = (struct error){0};
    s->config.service_cluster_ip_range = flag;
    int code = service_ips_parse(s, &err);
    free(s);
    return code == 0 ? "" : error_message(&err);
}

/* One range, or one of each family in either order. */
START_TEST(reads_ranges)
{
    ck_assert_str_eq(ranges(V4), "");
    ck_assert_str_eq(ranges(V6), "");
    ck_assert_str_eq(ranges(V4 "," V6), "");
    ck_assert_str_eq(ranges(V6 ", " V4), "");
    ck_assert_str_eq(ranges(V4 ",10.97.0.0/16"),
                     "--service-cluster-ip-range[0] and --service-cluster-ip-range[1] must be of "
                     "different IP family");
    ck_assert_str_eq(ranges(V4 "," V6 "," V4),
                     "--service-cluster-ip-range must not contain more than two entries");
    ck_assert_str_eq(ranges("fd00::/48"),
                     "--service-cluster-ip-range: fd00::/48 is neither an IPv4 range of /8 to /30 "
                     "nor an IPv6 one of /64 to /126");
    ck_assert_str_eq(ranges(V4 ","),
                     "--service-cluster-ip-range:  is neither an IPv4 range of /8 to /30 nor an "
                     "IPv6 one of /64 to /126");
}
END_TEST

/* The built-in Service has the first address of the first range. */
START_TEST(first_address)
{
    static const char *const cases[][2] = {{V4 "," V6, "10.96.0.1"},
                                           {V6 "," V4, "fd00:96::1"},
                                           {"fd00:1:2:3:4:5:6:ff/112", "fd00:1:2:3:4:5:6:1"}};
    AUTO_ARENA *a = arena_new(0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct apiserver *s = xzalloc(sizeof(*s));
        s->config.service_cluster_ip_range = cases[i][0];
        ck_assert_int_eq(service_ips_parse(s, NULL), 0);
        ck_assert_str_eq(str_c(service_ips_first(a, s)), cases[i][1]);
        free(s);
    }
}
END_TEST

/* "POLICY [FAMILIES]", or what is wrong; specs as a Service's own, old NULL: it is made. */
static const char *families(struct arena *a, const char *flag, const char *spec, const char *old)
{
    struct apiserver *s = xzalloc(sizeof(*s));
    struct fixture f = fixture_new(a, &kind_services, &core_v1_service_msg);
    s->config.service_cluster_ip_range = flag;
    ck_assert_int_eq(service_ips_parse(s, NULL), 0);
    f.ctx.server = s;
    struct core_v1_service *o = fixture_object(&f, spec);
    service_ips_families(&f.ctx, o, old != NULL ? fixture_object(&f, old) : NULL, &f.errs);
    free(s);
    if (f.errs.count != 0)
        return fixture_causes(&f);
    return str_c(arena_printf(a, STR_FMT " %s", STR_ARG(o->spec.ip_family_policy),
                              fixture_part(&f, o, "spec.ipFamilies")));
}

#define SERVICE(spec) "{'spec':{'selector':{'a':'b'},'ports':[{'port':80}]" spec "}}"
#define PREFER ",'ipFamilyPolicy':'PreferDualStack'"
#define REQUIRE ",'ipFamilyPolicy':'RequireDualStack'"
#define SINGLE ",'ipFamilyPolicy':'SingleStack'"
#define SIX ",'ipFamilies':['IPv6']"
#define NOTHING_DUAL                                                                               \
    "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured "    \
    "for dual-stack services"

/* Every policy on every kind of cluster. */
START_TEST(policies)
{
    static const struct {
        const char *flag, *spec, *want;
    } cases[] = {
        {V4, SERVICE(""), "SingleStack ['IPv4']"},
        {V6, SERVICE(""), "SingleStack ['IPv6']"},
        {V4 "," V6, SERVICE(""), "SingleStack ['IPv4']"},
        {V6 "," V4, SERVICE(""), "SingleStack ['IPv6']"},
        {V4 "," V6, SERVICE(SIX), "SingleStack ['IPv6']"},
        {V4, SERVICE(SIX),
         "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster"},
        {V4, SERVICE(PREFER), "PreferDualStack ['IPv4']"},
        {V4 "," V6, SERVICE(PREFER), "PreferDualStack ['IPv4','IPv6']"},
        {V4 "," V6, SERVICE(PREFER SIX), "PreferDualStack ['IPv6','IPv4']"},
        {V6 "," V4, SERVICE(REQUIRE), "RequireDualStack ['IPv6','IPv4']"},
        {V6, SERVICE(REQUIRE), NOTHING_DUAL},
        {V4 "," V6, SERVICE(",'ipFamilies':['IPv6','IPv4']"),
         "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or "
         "'PreferDualStack' when multiple IP families are specified"},
        {V4 "," V6, SERVICE(PREFER ",'clusterIP':'fd00:96::7','clusterIPs':['fd00:96::7']"),
         "PreferDualStack ['IPv6','IPv4']"},
        {V4, SERVICE(",'clusterIP':'fd00:96::7','clusterIPs':['fd00:96::7']"),
         "spec.clusterIPs[0]: Invalid value: [\"fd00:96::7\"]: IPv6 is not configured on this "
         "cluster"},
        {V6, SERVICE(",'clusterIP':'10.96.0.7','clusterIPs':['10.96.0.7']"),
         "spec.clusterIPs[0]: Invalid value: [\"10.96.0.7\"]: IPv4 is not configured on this "
         "cluster"},
        {V4 "," V6, SERVICE(",'clusterIP':'None'" PREFER), "PreferDualStack ['IPv4','IPv6']"},
        {V4, SERVICE(",'clusterIP':'None'" REQUIRE), NOTHING_DUAL},
        /* Without a selector, headless ones may have what the cluster has not. */
        {V4, "{'spec':{'clusterIP':'None'}}", "RequireDualStack ['IPv4','IPv6']"},
        {V6, "{'spec':{'clusterIP':'None'" SINGLE "}}", "SingleStack ['IPv6']"},
        {V4, "{'spec':{'clusterIP':'None'" SIX "}}", "RequireDualStack ['IPv6','IPv4']"},
    };
    AUTO_ARENA *a = arena_new(0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        ck_assert_msg(strcmp(families(a, cases[i].flag, cases[i].spec, NULL), cases[i].want) == 0,
                      "%s: %s: %s", cases[i].flag, cases[i].spec,
                      families(a, cases[i].flag, cases[i].spec, NULL));
}
END_TEST

/* A cluster that became one of two families changes no Service by itself; asking does. */
START_TEST(upgrades)
{
#define OLD                                                                                        \
    SERVICE(PREFER ",'ipFamilies':['IPv4'],'clusterIP':'10.96.0.7','clusterIPs':['10.96.0.7']")
    AUTO_ARENA *a = arena_new(0);
    ck_assert_str_eq(families(a, V4 "," V6, OLD, OLD), "PreferDualStack ['IPv4']");
    ck_assert_str_eq(families(a, V4 "," V6,
                              SERVICE(REQUIRE ",'ipFamilies':['IPv4'],'clusterIP':'10.96.0.7',"
                                              "'clusterIPs':['10.96.0.7']"),
                              OLD),
                     "RequireDualStack ['IPv4','IPv6']");
    ck_assert_str_eq(families(a, V4 "," V6,
                              SERVICE(PREFER ",'ipFamilies':['IPv4'],'clusterIP':'10.96.0.7',"
                                             "'clusterIPs':['10.96.0.7','fd00:96::8']"),
                              OLD),
                     "PreferDualStack ['IPv4','IPv6']");
}
END_TEST

UNIT_MAIN("service_ips", {
    UNIT_TEST(reads_ranges);
    UNIT_TEST(first_address);
    UNIT_TEST(policies);
    UNIT_TEST(upgrades);
})
