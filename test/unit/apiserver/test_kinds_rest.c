/* test_kinds_rest.c - access, networking, storage, limits and scaling. */
#include "apiserver/kinds/kinds.h"

#include "api/autoscaling_v2.h"
#include "api/core_v1.h"
#include "api/discovery_v1.h"
#include "api/networking_v1.h"
#include "api/rbac_v1.h"
#include "api/storage_v1.h"
#include "test/unit/apiserver/kinds_fixture.h"

START_TEST(rbac)
{
    static const struct fixture_case roles[] = {
        {"{'rules':[{'verbs':['get'],'apiGroups':[''],'resources':['pods']}]}", ""},
        {"{'rules':[{'verbs':[],'nonResourceURLs':['/x']}]}",
         "rules[0].verbs: Required value: verbs must contain at least one "
         "value\nrules[0].nonResourceURLs: Invalid "
         "value: [\"/x\"]: namespaced rules cannot apply to non-resource URLs"},
    };
    static const struct fixture_case bindings[] = {
        {"{'roleRef':{'kind':'Role','name':'r'},'subjects':[{'kind':'User','name':'u'},{'kind':'"
         "Alien','name':'x'}]}",
         "subjects[1].kind: Unsupported value: \"Alien\": supported values: \"ServiceAccount\", "
         "\"User\", \"Group\""},
        {"{'roleRef':{'kind':'','name':''}}",
         "roleRef.kind: Unsupported value: \"\": supported values: \"Role\", "
         "\"ClusterRole\"\nroleRef.name: Required "
         "value"},
    };
    fixture_run(&kind_roles, &rbac_v1_role_msg, roles, ARRAY_SIZE(roles));
    fixture_run(&kind_rolebindings, &rbac_v1_role_binding_msg, bindings, ARRAY_SIZE(bindings));
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = fixture_new(a, &kind_rolebindings, &rbac_v1_role_binding_msg);
    ck_assert_str_eq(
        fixture_update(&f, "{'roleRef':{'kind':'Role','name':'r'}}",
                       "{'roleRef':{'kind':'Role','name':'s'}}"),
        "roleRef: Invalid value: "
        "{\"APIGroup\":\"rbac.authorization.k8s.io\",\"Kind\":\"Role\",\"Name\":\"s\"}: "
        "cannot change roleRef");
}
END_TEST

START_TEST(networking)
{
    static const struct fixture_case ingresses[] = {
        {"{'spec':{}}",
         "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"},
        {"{'spec':{'rules':[{'host':'1.2.3.4','http':{'paths':[{'path':'x','pathType':'Prefix','"
         "backend':{'service':"
         "{'name':'s','port':{'number':80}}}}]}}]}}",
         "spec.rules[0].host: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address\n"
         "spec.rules[0].http.paths[0].path: Invalid value: \"x\": must be an absolute path"},
        {"{'spec':{'defaultBackend':{'service':{'name':'s','port':{}}}}}",
         "spec.defaultBackend: Required value: port name or number is required"},
    };
    static const struct fixture_case policies[] = {
        {"{'spec':{'egress':[{'to':[{'ipBlock':{'cidr':'10.0.0.0/8','except':['10.1.0.0/"
         "16','11.0.0.0/16']}}]}]}}",
         "spec.egress[0].to[0].ipBlock.except[1]: Invalid value: \"11.0.0.0/16\": must be a strict "
         "subset of `cidr`"},
        {"{'spec':{'ingress':[{'from':[{}]}]}}",
         "spec.ingress[0].from[0]: Required value: must specify a peer"},
    };
    static const struct fixture_case slices[] = {
        {"{'addressType':'IPv4','endpoints':[{'addresses':['10.0.0.1']}],'ports':[{'port':80}]}",
         ""},
        {"{'addressType':'IPv4','endpoints':[{'addresses':['127.0.0.1','::1']}]}",
         "endpoints[0].addresses[0]: Invalid value: \"127.0.0.1\": may not be in the loopback "
         "range (127.0.0.0/8, "
         "::1/128)\nendpoints[0].addresses[1]: Invalid value: \"::1\": must be an IPv4 address"},
        {"{'addressType':'IPv6','endpoints':[{'addresses':['2001:db8::1']}],'ports':[{},{}]}",
         "ports[1].name: Duplicate value: \"\""},
    };
    fixture_run(&kind_ingresses, &networking_v1_ingress_msg, ingresses, ARRAY_SIZE(ingresses));
    fixture_run(&kind_networkpolicies, &networking_v1_network_policy_msg, policies,
                ARRAY_SIZE(policies));
    fixture_run(&kind_endpointslices, &discovery_v1_endpoint_slice_msg, slices, ARRAY_SIZE(slices));
}
END_TEST

#define CLAIM(modes, storage)                                                                      \
    "{'metadata':{'name':'c'},'spec':{'accessModes':[" modes                                       \
    "],'resources':{'requests':{'storage':'" storage "'}}}}"

#define SOURCED(sources)                                                                           \
    "{'spec':{'accessModes':['ReadWriteOnce'],'resources':{'requests':{'storage':'1'}}," sources   \
    "}}"

START_TEST(storage)
{
    static const struct fixture_case claims[] = {
        {CLAIM("'ReadWriteOnce'", "1Gi"), ""},
        {CLAIM("'ReadWriteOncePod','ReadWriteOnce'", "0"),
         "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access "
         "modes\nspec.resources[storage]: "
         "Invalid value: \"0\": must be greater than zero"},
        {SOURCED("'dataSource':{'apiGroup':'a.b','kind':'X','name':'x'}"), ""},
        {SOURCED("'dataSource':{'kind':'PersistentVolumeClaim','name':'x'},'dataSourceRef':{'kind':"
                 "'PersistentVolumeClaim','name':'y'}"),
         "spec: Invalid value: {}: must match dataSourceRef"},
    };
    static const struct fixture_case classes[] = {
        {"{'provisioner':'p','allowedTopologies':[{'matchLabelExpressions':[{'key':'a','values':["
         "'1','2']},{'key':'a','values':['1']}]}]}",
         "allowedTopologies[0].matchLabelExpressions[1].key: Duplicate value: \"a\""},
        {"{'provisioner':'p','allowedTopologies':[{'matchLabelExpressions':[{'key':'a','values':["
         "'1','2']}]},{'matchLabelExpressions':[{'key':'a','values':['2','1']}]}]}",
         "allowedTopologies[1].matchLabelExpressions: Duplicate value: \"\""},
    };
    static const struct fixture_case volumes[] = {
        {"{'metadata':{'name':'v'},'spec':{'capacity':{'storage':'1Gi'},'accessModes':['"
         "ReadWriteOnce'],'volumeAttributesClassName':'','hostPath':{'path':'/x'}}}",
         "spec.volumeAttributesClassName: Required value: an empty string is disallowed\nspec.csi: "
         "Required value: has to be specified when using volumeAttributesClassName"},
        {"{'metadata':{'name':'v'},'spec':{'capacity':{'storage':'1Gi'},'accessModes':['"
         "ReadWriteOnce'],"
         "'hostPath':{'path':'/x'},'nfs':{'server':'s','path':'/'}}}",
         "spec.nfs: Forbidden: may not specify more than 1 volume type"},
        {"{'metadata':{'name':'v'},'spec':{'accessModes':['RWX'],'hostPath':{'path':'/x'}}}",
         "spec.accessModes: Unsupported value: \"RWX\": supported values: \"ReadOnlyMany\", "
         "\"ReadWriteMany\", "
         "\"ReadWriteOnce\", \"ReadWriteOncePod\"\nspec.capacity: Required value\nspec.capacity: "
         "Unsupported value: null: "
         "supported values: \"storage\""},
    };
    fixture_run(&kind_persistentvolumeclaims, &core_v1_persistent_volume_claim_msg, claims,
                ARRAY_SIZE(claims));
    fixture_run(&kind_persistentvolumes, &core_v1_persistent_volume_msg, volumes,
                ARRAY_SIZE(volumes));
    fixture_run(&kind_storageclasses, &storage_v1_storage_class_msg, classes, ARRAY_SIZE(classes));
    AUTO_ARENA *a = arena_new(0);
    struct fixture f =
        fixture_new(a, &kind_persistentvolumeclaims, &core_v1_persistent_volume_claim_msg);
    ck_assert_str_eq(
        fixture_update(&f, CLAIM("'ReadWriteOnce'", "1Gi"), CLAIM("'ReadWriteMany'", "1Gi")),
        "spec: Forbidden: spec is immutable after creation except resources.requests and "
        "volumeAttributesClassName for bound claims\n@@ -1,6 +1,6 @@\n {\n  \"AccessModes\": [\n-  "
        "\"ReadWriteOnce\"\n+  \"ReadWriteMany\"\n  ],\n  \"Selector\": null,\n  \"Resources\": "
        "{\n");
}
END_TEST

/* Of a container's limits, the missing ones follow from the others. */
START_TEST(limits)
{
    static const struct fixture_case quotas[] = {
        {"{'spec':{'hard':{'pods':'500m','count/deployments.apps':'3'}}}",
         "spec.hard[pods]: Invalid value: \"500m\": must be an integer"},
        {"{'spec':{'hard':{'cpu':'1'},'scopes':['BestEffort','NotBestEffort']}}",
         "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: unsupported scope "
         "applied to resource\n"
         "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes"},
    };
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = fixture_new(a, &kind_limitranges, &core_v1_limit_range_msg);
    void *l = fixture_object(
        &f, "{'spec':{'limits':[{'type':'Container','default':{'cpu':'200m'},'defaultRequest':"
            "{'memory':'32Mi'},'max':{'cpu':'1','storage':'2'},'min':{'cpu':'50m'}}]}}");
    ck_assert_str_eq(fixture_part(&f, l, "spec.limits.0.default"), "{'cpu':'200m','storage':'2'}");
    ck_assert_str_eq(fixture_part(&f, l, "spec.limits.0.defaultRequest"),
                     "{'cpu':'200m','memory':'32Mi','storage':'2'}");
    ck_assert_str_eq(
        fixture_create(&f,
                       "{'spec':{'limits':[{'type':'Pod','default':{'cpu':'1'}},{'type':'Pod'}]}}"),
        "spec.limits[0].default: Forbidden: may not be specified when `type` is "
        "'Pod'\nspec.limits[1].type: "
        "Duplicate value: \"Pod\"");
    fixture_run(&kind_resourcequotas, &core_v1_resource_quota_msg, quotas, ARRAY_SIZE(quotas));
}
END_TEST

#define SCALED "'scaleTargetRef':{'kind':'Deployment','name':'d','apiVersion':'apps/v1'}"

START_TEST(autoscalers)
{
    static const struct fixture_case cases[] = {
        {"{'spec':{'maxReplicas':3," SCALED "}}", ""},
        {"{'spec':{'maxReplicas':0," SCALED "}}",
         "spec.maxReplicas: Required value: must be set and greater than 0\nspec.maxReplicas: "
         "Invalid value: 0: must be "
         "greater than or equal to `minReplicas`"},
        {"{'spec':{'maxReplicas':3," SCALED ",'metrics':[{'type':'Resource'}]}}",
         "spec.metrics[0].resource: Required value: must populate information for the given metric "
         "source"},
        {"{'spec':{'maxReplicas':3," SCALED
         ",'behavior':{'scaleDown':{'stabilizationWindowSeconds':4000}}}}",
         "spec.behavior.scaleDown.stabilizationWindowSeconds: Invalid value: 4000: must be less "
         "than or equal to 3600"},
    };
    fixture_run(&kind_horizontalpodautoscalers, &autoscaling_v2_horizontal_pod_autoscaler_msg,
                cases, ARRAY_SIZE(cases));
}
END_TEST

UNIT_MAIN("kinds_rest", {
    UNIT_TEST(rbac);
    UNIT_TEST(networking);
    UNIT_TEST(storage);
    UNIT_TEST(limits);
    UNIT_TEST(autoscalers);
})
