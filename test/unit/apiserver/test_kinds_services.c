/* test_kinds_services.c - services: addresses, families, ports, types, updates. */
#include "apiserver/kinds/kinds.h"

#include "api/core_v1.h"
#include "test/unit/apiserver/kinds_fixture.h"

#define SERVICE(spec) "{'metadata':{'name':'s'},'spec':{'ports':[{'port':80}]" spec "}}"
#define ADDRESS(spec) SERVICE(",'clusterIP':'10.0.0.1','clusterIPs':['10.0.0.1']" spec)

/* Addresses and families have to agree; what is wrong with them is told alone. */
START_TEST(addresses)
{
    static const struct fixture_case cases[] = {
        {SERVICE(""), ""},
        {SERVICE(",'clusterIPs':['10.0.0.1']"),
         "spec.clusterIPs: Invalid value: [\"10.0.0.1\"]: must be empty when `clusterIP` is not "
         "specified"},
        {SERVICE(",'clusterIP':'10.0.0.2','clusterIPs':['10.0.0.1']"),
         "spec.clusterIPs: Invalid value: [\"10.0.0.1\"]: first value must match `clusterIP`"},
        {SERVICE(",'clusterIP':'None','clusterIPs':['None','10.0.0.1']"),
         "spec.clusterIPs: Invalid value: [\"None\",\"10.0.0.1\"]: 'None' must be the first and "
         "only value"},
        {SERVICE(",'clusterIP':'10.0.0.1','clusterIPs':['10.0.0.1','10.0.0.2']"),
         "spec.clusterIPs: Invalid value: [\"10.0.0.1\",\"10.0.0.2\"]: may specify no more than "
         "one "
         "IP for each IP family"},
        {ADDRESS(",'ipFamilies':['IPv6']"),
         "spec.clusterIPs[0]: Invalid value: \"10.0.0.1\": expected an IPv6 value as indicated by "
         "`ipFamilies[0]`"},
        {SERVICE(",'ipFamilies':['IPv4','IPv4'],'type':'X'"),
         "spec.ipFamilies[1]: Duplicate value: \"IPv4\""},
    };
    fixture_run(&kind_services, &core_v1_service_msg, cases, ARRAY_SIZE(cases));
}
END_TEST

/* Each type allows some fields and rules others out. */
START_TEST(types)
{
    static const struct fixture_case cases[] = {
        {SERVICE(",'type':'NodePort','clusterIP':'None'"),
         "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort "
         "services"},
        {"{'spec':{'type':'LoadBalancer','ports':[{'port':10250}]}}",
         "spec.ports[0]: Invalid value: 10250: may not expose port 10250 externally since it is "
         "used by kubelet"},
        {"{'spec':{'type':'ExternalName','externalName':'a.b.','ipFamilies':['IPv4']}}",
         "spec.ipFamilies: Forbidden: may not be set for ExternalName services"},
        {SERVICE(",'loadBalancerSourceRanges':[' 10.0.0.0/8 ']"),
         "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is "
         "'LoadBalancer'"},
        {SERVICE(",'type':'LoadBalancer','loadBalancerClass':'a b'"),
         "spec.loadBalancerClass: Invalid value: \"a b\": name part must consist of alphanumeric "
         "characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. "
         "'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
         "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"},
        {"{'metadata':{'annotations':{'service.beta.kubernetes.io/load-balancer-source-ranges':"
         "'1.2.3.0/24,x'}},'spec':{'type':'LoadBalancer','ports':[{'port':80}]}}",
         "metadata.annotations[service.beta.kubernetes.io/load-balancer-source-ranges]: Invalid "
         "value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"},
    };
    fixture_run(&kind_services, &core_v1_service_msg, cases, ARRAY_SIZE(cases));
}
END_TEST

/* The first address and family stay; ports keep their numbers by their names. */
START_TEST(updates)
{
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = fixture_new(a, &kind_services, &core_v1_service_msg);
    ck_assert_str_eq(fixture_update(&f, ADDRESS(""), SERVICE("")), "");
    ck_assert_str_eq(fixture_update(&f, ADDRESS(""),
                                    SERVICE(",'clusterIP':'10.0.0.2','clusterIPs':['10.0.0.2']")),
                     "spec.clusterIPs[0]: Invalid value: [\"10.0.0.2\"]: may not change once set");
    ck_assert_str_eq(fixture_update(&f, ADDRESS(",'type':'LoadBalancer','loadBalancerClass':'a/b'"),
                                    ADDRESS(",'type':'LoadBalancer'")),
                     "spec.loadBalancerClass: Invalid value: null: may not change once set");
    ck_assert_str_eq(fixture_update(&f, ADDRESS(",'ipFamilies':['IPv4']"),
                                    "{'spec':{'type':'ExternalName','externalName':'a.b',"
                                    "'clusterIP':'10.0.0.1','clusterIPs':['10.0.0.1'],"
                                    "'ipFamilies':['IPv4']}}"),
                     "");
    void *old = fixture_object(&f, "{'spec':{'type':'NodePort','ports':[{'name':'a','port':1,"
                                   "'nodePort':30001},{'name':'b','port':2,'nodePort':30002}]}}");
    void *now = fixture_object(&f, "{'spec':{'type':'NodePort','ports':[{'name':'a','port':2},"
                                   "{'name':'c','port':1}]}}");
    kind_services.prepare_update(&f.ctx, now, old);
    ck_assert_str_eq(fixture_part(&f, now, "spec.ports.0.nodePort"), "30001");
    ck_assert_str_eq(fixture_part(&f, now, "spec.ports.1.nodePort"), "absent");
}
END_TEST

UNIT_MAIN("kinds_services", {
    UNIT_TEST(addresses);
    UNIT_TEST(types);
    UNIT_TEST(updates);
})
