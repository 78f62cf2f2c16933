/* test_kinds_warnings.c - what is allowed and warned of; addresses as texts. */
#include "apiserver/kinds/kinds.h"

#include "api/apps_v1.h"
#include "api/core_v1.h"
#include "api/networking_v1.h"
#include "apiserver/ip_text.h"
#include "test/unit/apiserver/kinds_fixture.h"

#define POD(spec)                                                                                  \
    "{'metadata':{'name':'p'},'spec':{'containers':[{'name':'c','image':'nginx'}]" spec "}}"
#define CONTAINER(fields)                                                                          \
    "{'metadata':{'name':'p'},'spec':{'containers':[{'name':'c','image':'nginx'" fields "}]}}"

static void run(const struct kind_ops *ops, const struct api_msg *msg,
                const struct fixture_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        AUTO_ARENA *a = arena_new(0);
        struct fixture f = fixture_new(a, ops, msg);
        ck_assert_str_eq(fixture_warnings(&f, cases[i].object), cases[i].causes);
    }
}

/* Pods are warned of what is of the past, of doubles and of what matches nothing. */
START_TEST(pods)
{
    static const struct fixture_case cases[] = {
        {POD(""), ""},
        {"{'metadata':{'name':'a.b'},'spec':{'containers':[{'name':'c','image':'i'}]}}",
         "metadata.name: this is used in the Pod's hostname, which can result in surprising "
         "behavior; a DNS label is recommended: [must not contain dots]"},
        {POD(",'nodeSelector':{'beta.kubernetes.io/os':'linux'}"),
         "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "
         "\"kubernetes.io/os\" instead"},
        {POD(",'volumes':[{'name':'v','gitRepo':{'repository':'r'}}]"),
         "spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+"},
        {POD(",'volumes':[{'name':'v','configMap':{'name':'m','items':[{'key':'a','path':'x'},"
             "{'key':'b','path':'x/y'},{'key':'c','path':'xy'}]}}]"),
         "volume \"v\" (ConfigMap \"m\"): overlapping paths: \"x/y\" with \"x\""},
        {POD(",'volumes':[{'name':'v','projected':{'sources':[{},{'secret':{'name':'s','items':["
             "{'key':'a','path':'x/'}]}},{'serviceAccountToken':{'path':'x/t'}}]}}]"),
         "volume \"v\" (Projected) has no sources provided\nvolume \"v\" (Projected): overlapping "
         "paths: \"x/t\" (ServiceAccountToken) with \"x\" (Secret \"s\")"},
        {CONTAINER(",'env':[{'name':'A','value':'1'},{'name':'A','value':'$(A)2'},{'name':'A',"
                   "'value':'$(A)'}]"),
         "spec.containers[0].env[2]: hides previous definition of \"A\", which may be dropped when "
         "using apply"},
        {CONTAINER(",'ports':[{'containerPort':80},{'containerPort':80,'hostIP':'1.2.3.4',"
                   "'hostPort':1}]"),
         "spec.containers[0].ports[1]: overlapping port definition with "
         "spec.containers[0].ports[0]"},
        {CONTAINER(",'resources':{'limits':{'memory':'100m'},'requests':{'memory':'1'}}"),
         "spec.containers[0].resources.limits[memory]: fractional byte value \"100m\" is invalid, "
         "must be an integer"},
        {POD(",'topologySpreadConstraints':[{'maxSkew':1,'topologyKey':'z','whenUnsatisfiable':"
             "'DoNotSchedule'}]"),
         "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in "
         "matching "
         "no pod"},
        {"{'metadata':{'name':'p','annotations':{'container.apparmor.security.beta.kubernetes.io/"
         "c':'runtime/default'}},'spec':{'containers':[{'name':'c','image':'i'}]}}",
         "metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]: deprecated since "
         "v1.30; use the \"appArmorProfile\" field instead"},
    };
    run(&kind_pods, &core_v1_pod_msg, cases, ARRAY_SIZE(cases));
}
END_TEST

/* Workloads are warned of their names and templates, services of what is ignored. */
START_TEST(others)
{
    static const struct fixture_case deployments[] = {
        {"{'metadata':{'name':'a.b'},'spec':{'template':{'spec':{'imagePullSecrets':[{'name':''}],"
         "'containers':[{'name':'c','image':'i'}]}}}}",
         "metadata.name: this is used in Pod names and hostnames, which can result in surprising "
         "behavior; a DNS label is recommended: [must not contain "
         "dots]\nspec.template.spec.imagePullSecrets[0].name: invalid empty name \"\""}};
    static const struct fixture_case services[] = {
        {"{'spec':{'clusterIP':'None','externalName':'a.b','sessionAffinity':'ClientIP'}}",
         "spec.SessionAffinity is ignored for headless services\nspec.externalName is ignored when "
         "spec.type is not \"ExternalName\""}};
    static const struct fixture_case policies[] = {
        {"{'spec':{'ingress':[{'from':[{'ipBlock':{'cidr':'FD00::/8','except':['fd00:0::/16']}}]}"
         "]}}",
         "spec.ingress[0].from[0].ipBlock.cidr: IPv6 CIDR value \"FD00::/8\" should be in RFC 5952 "
         "canonical format (\"fd00::/8\")\nspec.ingress[0].from[0].ipBlock.except[0]: IPv6 CIDR "
         "value \"fd00:0::/16\" should be in RFC 5952 canonical format (\"fd00::/16\")"}};
    run(&kind_deployments, &apps_v1_deployment_msg, deployments, 1);
    run(&kind_services, &core_v1_service_msg, services, 1);
    run(&kind_networkpolicies, &networking_v1_network_policy_msg, policies, 1);
}
END_TEST

static const char *ip_cause(struct arena *a, const char *text, bool cidr, bool canonical)
{
    struct field_errors errs = {.arena = a};
    const struct field_path *path = PATH(PATH_ROOT, "x");
    if (cidr)
        (canonical ? validate_cidr_canonical : validate_cidr)(&errs, path, str_of(text));
    else
        (canonical ? validate_ip_canonical : validate_ip)(&errs, path, str_of(text));
    return errs.count == 0 ? "" : str_c(errs.items[0].message);
}

/* Only forms that all programs read alike pass; newer fields take one form alone. */
START_TEST(addresses)
{
    AUTO_ARENA *a = arena_new(0);
    ck_assert_str_eq(ip_cause(a, "10.0.0.1", false, true), "");
    ck_assert_str_eq(ip_cause(a, "2001:db8::1", false, true), "");
    ck_assert_str_eq(ip_cause(a, "010.0.0.1", false, false),
                     "Invalid value: \"010.0.0.1\": must not have leading 0s");
    ck_assert_str_eq(ip_cause(a, "::ffff:1.2.3.4", false, false),
                     "Invalid value: \"::ffff:1.2.3.4\": must not be an IPv4-mapped IPv6 address");
    ck_assert_str_eq(ip_cause(a, "1.2.3", false, false),
                     "Invalid value: \"1.2.3\": must be a valid IP address, (e.g. 10.9.8.7 or "
                     "2001:db8::ffff)");
    ck_assert_str_eq(ip_cause(a, "2001:DB8::0:1", false, false), "");
    ck_assert_str_eq(
        ip_cause(a, "2001:DB8::0:1", false, true),
        "Invalid value: \"2001:DB8::0:1\": must be in canonical form (\"2001:db8::1\")");
    ck_assert_str_eq(ip_cause(a, "1:0:0:2:0:0:0:3", false, true),
                     "Invalid value: \"1:0:0:2:0:0:0:3\": must be in canonical form "
                     "(\"1:0:0:2::3\")");
    ck_assert_str_eq(ip_cause(a, "10.0.0.0/8", true, true), "");
    ck_assert_str_eq(ip_cause(a, "10.0.0.0/08", true, false),
                     "Invalid value: \"10.0.0.0/08\": must not have leading 0s in IP or prefix "
                     "length");
    ck_assert_str_eq(ip_cause(a, "10.0.0.1/8", true, false),
                     "Invalid value: \"10.0.0.1/8\": must not have bits set beyond the prefix "
                     "length");
    ck_assert_str_eq(
        ip_cause(a, "10.0.0.0/33", true, false),
        "Invalid value: \"10.0.0.0/33\": must be a valid CIDR value, (e.g. 10.9.8.0/24 "
        "or 2001:db8::/64)");
}
END_TEST

UNIT_MAIN("kinds_warnings", {
    UNIT_TEST(pods);
    UNIT_TEST(others);
    UNIT_TEST(addresses);
})
