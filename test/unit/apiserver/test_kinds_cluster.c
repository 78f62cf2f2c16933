/* test_kinds_cluster.c - nodes and what belongs to the cluster itself: what is
 * refused and in which order, what is reset, what may change. */
#include "apiserver/kinds/kinds.h"

#include "api/coordination_v1.h"
#include "api/core_v1.h"
#include "api/networking_v1.h"
#include "api/node_v1.h"
#include "api/scheduling_v1.h"
#include "api/storage_v1.h"
#include "test/unit/apiserver/kinds_fixture.h"

#define NODE(spec, status) "{'metadata':{'name':'n'},'spec':{" spec "},'status':{" status "}}"

START_TEST(nodes)
{
    static const struct fixture_case cases[] = {
        {NODE("'podCIDR':'10.0.0.0/24','taints':[{'key':'a','effect':'NoSchedule'},{'key':'a',"
              "'effect':'NoExecute'}]",
              "'capacity':{'cpu':'1','pods':'110'}"),
         ""},
        {NODE("'taints':[{'key':'a','effect':'X'},{'key':'b','value':'/','effect':'NoSchedule'},"
              "{'key':'b','effect':'NoSchedule'},{'key':'c'}]",
              "'capacity':{'pods':'1500m'},'allocatable':{'cpu':'-1'},"
              "'nodeInfo':{'swap':{'capacity':0}},'declaredFeatures':['B','A/b','A/b','C/']"),
         "metadata.taints[0].effect: Unsupported value: \"X\": supported values: \"NoSchedule\", "
         "\"PreferNoSchedule\", \"NoExecute\"\n"
         "metadata.taints[1].value: Invalid value: \"/\": a valid label must be an empty string or "
         "consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
         "alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
         "validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')\n"
         "metadata.taints[2]: Duplicate value: {\"Key\":\"b\",\"Value\":\"\",\"Effect\":"
         "\"NoSchedule\",\"TimeAdded\":null}: taints must be unique by key and effect pair\n"
         "metadata.taints[3].effect: Required value\n"
         "status.capacity.pods: Invalid value: \"1500m\": must be an integer\n"
         "status.allocatable.cpu: Invalid value: \"-1\": must be greater than or equal to 0\n"
         "metadata.nodeSwapStatus.capacity: Invalid value: 0: must be greater than zero\n"
         "status.declaredFeatures[1]: Invalid value: \"A/b\": list must be sorted alphabetically\n"
         "status.declaredFeatures[2]: Duplicate value: \"A/b\"\n"
         "status.declaredFeatures[3]: Invalid value: \"C/\": invalid feature name \"C/\": must "
         "start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., "
         "MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and "
         "slashes"},
        {NODE("'podCIDRs':['10.0.0.0/24','10.0.1.0/24']", ""),
         "spec.podCIDRs: Invalid value: [\"10.0.0.0/24\",\"10.0.1.0/24\"]: may specify no more "
         "than one CIDR for each IP family"},
        {NODE("'podCIDRs':['10.0.0.0/24','fd00::/64','10.0.1.0/24']", ""),
         "spec.podCIDRs: Invalid value: [\"10.0.0.0/24\",\"fd00::/64\",\"10.0.1.0/24\"]: may "
         "specify no more than one CIDR for each IP family"},
        {NODE("'podCIDRs':['10.0.0.0/24','x']", ""),
         "spec.podCIDRs[1]: Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 "
         "or 2001:db8::/64)\n"
         "spec.podCIDRs: Internal error: invalid PodCIDRs. failed to check with dual stack with "
         "error:invalid CIDR[1]: <nil> (invalid CIDR address: x)\n"
         "spec.podCIDRs: Invalid value: [\"10.0.0.0/24\",\"x\"]: may specify no more than one "
         "CIDR for each IP family"},
    };
    fixture_run(&kind_nodes, &core_v1_node_msg, cases, ARRAY_SIZE(cases));
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = fixture_new(a, &kind_nodes, &core_v1_node_msg);
    ck_assert_str_eq(fixture_update(&f, NODE("", ""),
                                    NODE("'podCIDR':'10.0.0.0/24','providerID':'p',"
                                         "'unschedulable':true",
                                         "")),
                     "");
    ck_assert_str_eq(
        fixture_update(&f, NODE("'podCIDRs':['10.0.0.0/24','fd00::/64'],'providerID':'p'", ""),
                       NODE("'podCIDRs':['10.1.0.0/24','fd01::/64'],'providerID':'q',"
                            "'externalID':'e','taints':[{'key':'a'}]",
                            "")),
        "metadata.taints[0].effect: Required value\n"
        "spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid\n"
        "spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid\n"
        "spec.providerID: Forbidden: node updates may not change providerID except from \"\" to "
        "valid\n"
        "metadata.taints[0].effect: Required value\n"
        "spec.externalID: Forbidden: may not be updated");
    ck_assert_str_eq(fixture_update(&f, NODE("'podCIDR':'10.0.0.0/24'", ""), NODE("", "")),
                     "spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "
                     "\"\" to valid");
    ck_assert_str_eq(
        fixture_sub(&f, "status", NODE("'podCIDR':'10.0.0.0/24'", ""),
                    NODE("", "'capacity':{'cpu':'-1'},'addresses':[{'type':'Hostname','address':"
                             "'n'},{'type':'Hostname','address':'n'}]")),
        "status.capacity.cpu: Invalid value: \"-1\": must be greater than or equal to 0\n"
        "status.allocatable.cpu: Invalid value: \"-1\": must be greater than or equal to 0\n"
        "status.addresses[1]: Duplicate value: {\"Type\":\"Hostname\",\"Address\":\"n\"}");
}
END_TEST

/* What a node is told by default, and what nobody may tell it any more. */
START_TEST(node_resets)
{
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = fixture_new(a, &kind_nodes, &core_v1_node_msg);
    void *n = fixture_object(&f, NODE("'podCIDR':'10.1.0.0/24','podCIDRs':['10.0.0.0/24'],"
                                      "'configSource':{}",
                                      "'capacity':{'cpu':'1'},'config':{}"));
    kind_nodes.prepare_create(&f.ctx, n);
    ck_assert_str_eq(fixture_part(&f, n, "spec"),
                     "{'podCIDR':'10.1.0.0/24','podCIDRs':['10.1.0.0/24']}");
    ck_assert_str_eq(fixture_part(&f, n, "status.allocatable"), "{'cpu':'1'}");
    ck_assert_str_eq(fixture_part(&f, n, "status.config"), "absent");
    ck_assert_str_eq(
        fixture_update(
            &f, NODE("'configSource':{'configMap':{}}", ""),
            NODE("'configSource':{'configMap':{'uid':'u','name':'c','namespace':'n'}}", "")),
        "spec.configSource.configMap.uid: Forbidden: uid must not be set in spec\n"
        "spec.configSource.configMap.kubeletConfigKey: Required value");
    ck_assert_str_eq(fixture_update(&f, NODE("", ""), NODE("'configSource':{}", "")), "");
}
END_TEST

START_TEST(runtime_classes)
{
    static const struct fixture_case cases[] = {
        {"{'handler':'h','overhead':{'podFixed':{'cpu':'10m','memory':'1Gi'}}}", ""},
        {"{'overhead':{'podFixed':{'cpu':'-1','example.com/x':'1500m','hugepages-2Mi':'3Mi'}}}",
         "handler: Required value\n"
         "overhead.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0\n"
         "overhead.limits[example.com/x]: Invalid value: \"1500m\": must be an integer\n"
         "overhead.limits[hugepages-2Mi]: Invalid value: \"3Mi\": must be a positive integer "
         "multiple of the page size"},
        {"{'handler':'h','overhead':{'podFixed':{'hugepages-2Mi':'2Mi'}}}",
         "overhead: Forbidden: HugePages require cpu or memory"},
        {"{'handler':'h','scheduling':{'tolerations':[{'key':'a','operator':'Exists'},{'key':'a',"
         "'operator':'Exists','effect':'NoExecute'},{'key':'a','operator':'Exists'}]}}",
         "scheduling.tolerations[2]: Duplicate value: {\"Key\":\"a\",\"Operator\":\"Exists\","
         "\"Value\":\"\",\"Effect\":\"\",\"TolerationSeconds\":null}"},
    };
    fixture_run(&kind_runtimeclasses, &node_v1_runtime_class_msg, cases, ARRAY_SIZE(cases));
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = fixture_new(a, &kind_runtimeclasses, &node_v1_runtime_class_msg);
    ck_assert_str_eq(fixture_update(&f, "{'handler':'h'}",
                                    "{'handler':'i','overhead':{'podFixed':{'cpu':'-1'}}}"),
                     "overhead.limits[cpu]: Invalid value: \"-1\": must be greater than or equal "
                     "to 0\n"
                     "handler: Invalid value: \"i\": field is immutable");
}
END_TEST

START_TEST(priority_classes)
{
    static const struct fixture_case cases[] = {
        {"{'metadata':{'name':'p'},'value':1000000000,'preemptionPolicy':'Never'}", ""},
        {"{'metadata':{'name':'p'},'value':1000000001,'preemptionPolicy':'X'}",
         "value: Forbidden: maximum allowed value of a user defined priority is 1000000000\n"
         "preemptionPolicy: Unsupported value: \"X\": supported values: \"PreemptLowerPriority\", "
         "\"Never\""},
        {"{'metadata':{'name':'system-x'},'value':1}",
         "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for "
         "system use only. error: system-x is not a known system priority class"},
        {"{'metadata':{'name':'system-node-critical'},'value':1}",
         "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for "
         "system use only. error: value of system-node-critical PriorityClass must be 2000001000"},
        {"{'metadata':{'name':'system-node-critical'},'value':2000001000,'globalDefault':true}",
         "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for "
         "system use only. error: globalDefault of system-node-critical PriorityClass must be "
         "false"},
    };
    fixture_run(&kind_priorityclasses, &scheduling_v1_priority_class_msg, cases, ARRAY_SIZE(cases));
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = fixture_new(a, &kind_priorityclasses, &scheduling_v1_priority_class_msg);
    ck_assert_str_eq(
        fixture_update(&f, "{'value':1}", "{'value':1,'globalDefault':true,'description':'more'}"),
        "");
    ck_assert_str_eq(fixture_update(&f, "{'value':1}", "{'value':2,'preemptionPolicy':'Never'}"),
                     "value: Forbidden: may not be changed in an update.\n"
                     "preemptionPolicy: Invalid value: \"Never\": field is immutable");
}
END_TEST

START_TEST(leases)
{
    static const struct fixture_case cases[] = {
        {"{'spec':{'leaseDurationSeconds':0,'leaseTransitions':-1}}",
         "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0\n"
         "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0"},
        /* The gate of coordinated leader election is shut. */
        {"{'spec':{'strategy':'X','preferredHolder':'h'}}", ""},
    };
    fixture_run(&kind_leases, &coordination_v1_lease_msg, cases, ARRAY_SIZE(cases));
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = fixture_new(a, &kind_leases, &coordination_v1_lease_msg);
    void *l = fixture_object(&f, "{'spec':{'holderIdentity':'h','strategy':'X',"
                                 "'preferredHolder':'h'}}");
    kind_leases.prepare_create(&f.ctx, l);
    ck_assert_str_eq(fixture_part(&f, l, "spec"), "{'holderIdentity':'h'}");
    ck_assert_str_eq(
        fixture_update(&f, "{'spec':{'strategy':'a.b/X'}}", "{'spec':{'strategy':'X'}}"),
        "spec.strategy.strategy: Unsupported value: \"X\": supported values: "
        "\"OldestEmulationVersion\"");
    ck_assert_str_eq(
        fixture_update(&f, "{'spec':{'strategy':'a.b/X','preferredHolder':'h'}}",
                       "{'spec':{'preferredHolder':'h'}}"),
        "spec.preferredHolder: Forbidden: may only be specified if `strategy` is defined");
}
END_TEST

/* Secrets are of the account's namespace: only their names are kept. */
START_TEST(service_accounts)
{
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = fixture_new(a, &kind_serviceaccounts, &core_v1_service_account_msg);
    void *s = fixture_object(&f, "{'secrets':[{'kind':'Secret','namespace':'other','name':'x',"
                                 "'uid':'u'},{'name':'y'}]}");
    kind_serviceaccounts.prepare_create(&f.ctx, s);
    ck_assert_str_eq(fixture_part(&f, s, "secrets"), "[{'name':'x'},{'name':'y'}]");
    s = fixture_object(&f, "{'secrets':[{'fieldPath':'x','name':'z'}]}");
    kind_serviceaccounts.prepare_update(&f.ctx, s, s);
    ck_assert_str_eq(fixture_part(&f, s, "secrets"), "[{'name':'z'}]");
}
END_TEST

START_TEST(addresses)
{
    static const struct fixture_case cases[] = {
        {"{'spec':{}}", "spec.parentRef: Required value"},
        {"{'spec':{'parentRef':{'group':'A','resource':'a/b','namespace':'..'}}}",
         "spec.parentRef.group: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist "
         "of lower case alphanumeric characters, '-' or '.', and must start and end with an "
         "alphanumeric character (e.g. 'example.com', regex used for validation is "
         "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')\n"
         "spec.parentRef.resource: Invalid value: \"a/b\": may not contain '/'\n"
         "spec.parentRef.name: Required value\n"
         "spec.parentRef.namespace: Invalid value: \"..\": may not be '..'"},
    };
    fixture_run(&kind_ipaddresses, &networking_v1_ip_address_msg, cases, ARRAY_SIZE(cases));
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = fixture_new(a, &kind_ipaddresses, &networking_v1_ip_address_msg);
#define PARENT(name) "{'spec':{'parentRef':{'resource':'services','name':'" name "'}}}"
    ck_assert_str_eq(fixture_update(&f, PARENT("x"), PARENT("x")), "");
    ck_assert_str_eq(fixture_update(&f, PARENT("x"), PARENT("y")),
                     "spec.parentRef: Invalid value: {\"Group\":\"\",\"Resource\":\"services\","
                     "\"Namespace\":\"\",\"Name\":\"y\"}: field is immutable");
    ck_assert_str_eq(fixture_update(&f, PARENT("x"), "{'spec':{}}"),
                     "spec.parentRef: Required value\n"
                     "spec.parentRef: Invalid value: null: field is immutable");
}
END_TEST

#define RANGES(list) "{'spec':{'cidrs':[" list "]}}"

START_TEST(service_ranges)
{
    static const struct fixture_case cases[] = {
        {RANGES("'10.0.0.0/24','fd00::/64'"), ""},
        {RANGES(""), "spec.cidrs: Required value: at least one CIDR required"},
        {RANGES("'10.0.0.0/24','fd00::/64','10.1.0.0/24'"),
         "spec.cidrs: Invalid value: {\"CIDRs\":[\"10.0.0.0/24\",\"fd00::/64\",\"10.1.0.0/24\"]}: "
         "may only hold up to 2 values"},
        {RANGES("'10.0.0.1/24','10.1.0.0/24'"),
         "spec.cidrs[0]: Invalid value: \"10.0.0.1/24\": must not have bits set beyond the prefix "
         "length\n"
         "spec.cidrs: Invalid value: [\"10.0.0.1/24\",\"10.1.0.0/24\"]: may specify no more than "
         "one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"},
    };
    static const struct {
        const char *before, *after, *causes;
    } updates[] = {
        {RANGES("'10.0.0.0/24'"), RANGES("'10.0.0.0/24','fd00::/64'"), ""},
        {RANGES("'10.0.0.0/24'"), RANGES("'10.1.0.0/24'"),
         "spec.cidrs[0]: Invalid value: \"10.1.0.0/24\": field is immutable"},
        {RANGES("'10.0.0.0/24'"), RANGES("'10.1.0.0/24','10.2.0.0/24'"),
         "spec.cidrs[0]: Invalid value: \"10.1.0.0/24\": field is immutable\n"
         "spec.cidrs: Invalid value: [\"10.1.0.0/24\",\"10.2.0.0/24\"]: may specify no more than "
         "one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"},
        {RANGES("'10.0.0.0/24','fd00::/64'"), RANGES("'10.0.0.0/24'"),
         "spec.cidrs: Invalid value: [\"10.0.0.0/24\"]: field is immutable"},
    };
    fixture_run(&kind_servicecidrs, &networking_v1_service_cidr_msg, cases, ARRAY_SIZE(cases));
    for (size_t i = 0; i < ARRAY_SIZE(updates); i++) {
        AUTO_ARENA *a = arena_new(0);
        struct fixture f = fixture_new(a, &kind_servicecidrs, &networking_v1_service_cidr_msg);
        ck_assert_str_eq(fixture_update(&f, updates[i].before, updates[i].after),
                         updates[i].causes);
    }
}
END_TEST

#define ATTACHED(source) "{'spec':{'attacher':'a','nodeName':'n','source':{" source "}}}"
#define NOT_INLINE "may not be specified in the context of inline volumes\n"

START_TEST(attachments)
{
    static const struct fixture_case cases[] = {
        {ATTACHED("'persistentVolumeName':'v'"), ""},
        {ATTACHED("'inlineVolumeSpec':{'accessModes':['ReadWriteOnce'],'csi':{'driver':'d',"
                  "'volumeHandle':'h'}}"),
         ""},
        {ATTACHED(""), "spec.source: Required value: must specify exactly one of inlineVolumeSpec "
                       "and persistentVolumeName"},
        {ATTACHED("'persistentVolumeName':'v','inlineVolumeSpec':{}"),
         "spec.source: Forbidden: must specify exactly one of inlineVolumeSpec and "
         "persistentVolumeName"},
        {ATTACHED("'inlineVolumeSpec':{'claimRef':{},'capacity':{'storage':'1'},"
                  "'persistentVolumeReclaimPolicy':'Delete','nodeAffinity':{},"
                  "'storageClassName':'c','volumeMode':'Block','hostPath':{'path':'/x'}}"),
         "spec.source.inlineVolumeSpec.claimRef: Forbidden: " NOT_INLINE
         "spec.source.inlineVolumeSpec.capacity: Forbidden: " NOT_INLINE
         "spec.source.inlineVolumeSpec.csi: Required value: has to be specified in the context of "
         "inline volumes\n"
         "spec.source.inlineVolumeSpec.accessModes: Required value\n"
         "spec.source.inlineVolumeSpec.persistentVolumeReclaimPolicy: Forbidden: may only be "
         "Retain in the context of inline volumes\n"
         "spec.source.inlineVolumeSpec.nodeAffinity: Forbidden: " NOT_INLINE
         "spec.source.inlineVolumeSpec.storageClassName: Forbidden: " NOT_INLINE
         "spec.source.inlineVolumeSpec.volumeMode: Forbidden: may not specify volumeMode other "
         "than Filesystem in the context of inline volumes"},
    };
    fixture_run(&kind_volumeattachments, &storage_v1_volume_attachment_msg, cases,
                ARRAY_SIZE(cases));
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = fixture_new(a, &kind_volumeattachments, &storage_v1_volume_attachment_msg);
    ck_assert_str_eq(
        fixture_update(&f, ATTACHED("'persistentVolumeName':'v'"),
                       ATTACHED("'persistentVolumeName':'w'")),
        "spec: Invalid value: {\"Attacher\":\"a\",\"Source\":{\"PersistentVolumeName\":\"w\","
        "\"InlineVolumeSpec\":null},\"NodeName\":\"n\"}: field is immutable");
    ck_assert_str_eq(
        fixture_sub(&f, "status", ATTACHED("'persistentVolumeName':'v'"),
                    "{'spec':{'attacher':'a','nodeName':'n','source':{'persistentVolumeName':'v'}},"
                    "'status':{'attached':false,'detachError':{'errorCode':-1}}}"),
        "status.detachError.errorCode: Invalid value: -1: must be between 0 and 2147483647, "
        "inclusive");
}
END_TEST

UNIT_MAIN("kinds_cluster", {
    UNIT_TEST(nodes);
    UNIT_TEST(node_resets);
    UNIT_TEST(runtime_classes);
    UNIT_TEST(priority_classes);
    UNIT_TEST(leases);
    UNIT_TEST(service_accounts);
    UNIT_TEST(addresses);
    UNIT_TEST(service_ranges);
    UNIT_TEST(attachments);
})
