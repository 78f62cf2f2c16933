/* test_kinds_pods.c - pods: defaults, rules, what an update may change. */
#include "apiserver/kinds/kinds.h"

#include "api/core_v1.h"
#include "test/unit/apiserver/kinds_fixture.h"

#define POD(spec)                                                                                  \
    "{'metadata':{'name':'p'},'spec':{'containers':[{'name':'c','image':'nginx'}]" spec "}}"
#define CONTAINER(fields)                                                                          \
    "{'metadata':{'name':'p'},'spec':{'containers':[{'name':'c','image':'nginx'" fields "}]}}"
#define VOLUME(source)                                                                             \
    "{'metadata':{'name':'p'},'spec':{'volumes':[{'name':'v'" source                               \
    "}],'containers':[{'name':'c','image':'x'}]}}"

/* What an author leaves out is filled in. */
START_TEST(defaults)
{
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = fixture_new(a, &kind_pods, &core_v1_pod_msg);
    void *pod = fixture_object(&f, CONTAINER(",'resources':{'limits':{'cpu':'1'}},"
                                             "'livenessProbe':{'httpGet':{'port':80}}"));
    ck_assert_str_eq(fixture_part(&f, pod, "spec.restartPolicy"), "'Always'");
    ck_assert_str_eq(fixture_part(&f, pod, "spec.dnsPolicy"), "'ClusterFirst'");
    ck_assert_str_eq(fixture_part(&f, pod, "spec.containers.0.imagePullPolicy"), "'Always'");
    ck_assert_str_eq(fixture_part(&f, pod, "spec.containers.0.resources.requests"), "{'cpu':'1'}");
    ck_assert_str_eq(fixture_part(&f, pod, "spec.containers.0.livenessProbe.httpGet.scheme"),
                     "'HTTP'");
    ck_assert_str_eq(fixture_part(&f, pod, "spec.containers.0.livenessProbe.periodSeconds"), "10");
}
END_TEST

/* Every part of a container has its rules. */
START_TEST(containers)
{
    static const struct fixture_case cases[] = {
        {POD(""), ""},
        {"{'spec':{'containers':[]}}", "spec.containers: Required value"},
        {CONTAINER(",'ports':[{'containerPort':1,'name':'a'},{'containerPort':2,'name':'a'}]"),
         "spec.containers[0].ports[1].name: Duplicate value: \"a\""},
        {CONTAINER(",'ports':[{'containerPort':1,'hostPort':1},{'containerPort':2,'hostPort':1}]"),
         "spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//1\""},
        {CONTAINER(
             ",'env':[{'name':'A','valueFrom':{'fieldRef':{'fieldPath':'metadata.labels'}}}]"),
         "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "
         "\"metadata.labels\": supported "
         "values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", "
         "\"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", "
         "\"status.podIPs\""},
        {CONTAINER(",'env':[{'name':'A','valueFrom':{}}]"),
         "spec.containers[0].env[0].valueFrom: Invalid value: \"\": must specify one of: "
         "`fieldRef`, "
         "`resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"},
        {CONTAINER(",'resources':{'requests':{'gpu':'1'}}"),
         "spec.containers[0].resources.requests[gpu]: Invalid value: \"gpu\": must be a standard "
         "resource type or fully "
         "qualified\nspec.containers[0].resources.requests[gpu]: Invalid value: \"gpu\": must be a "
         "standard resource "
         "for containers"},
        {CONTAINER(",'resources':{'limits':{'hugepages-2Mi':'3Mi'},'requests':{'cpu':'1'}}"),
         "spec.containers[0].resources.limits[hugepages-2Mi]: Invalid value: \"3Mi\": must be a "
         "positive integer "
         "multiple of the page size\nspec.containers[0].resources.requests[hugepages-2Mi]: Invalid "
         "value: \"3Mi\": must "
         "be a positive integer multiple of the page size"},
        {CONTAINER(",'livenessProbe':{'exec':{'command':['a']},'tcpSocket':{'port':1}}"),
         "spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 "
         "handler type"},
        {CONTAINER(",'readinessProbe':{'tcpSocket':{'port':1},'terminationGracePeriodSeconds':3}"),
         "spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 3: must "
         "not be set for "
         "readinessProbes"},
        {CONTAINER(",'lifecycle':{'preStop':{'sleep':{'seconds':31}}}"),
         "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and "
         "less than "
         "terminationGracePeriodSeconds (30)"},
        {CONTAINER(",'securityContext':{'procMount':'Unmasked'}"),
         "spec.containers[0].securityContext.procMount: Invalid value: \"Unmasked\": `hostUsers` "
         "must be false to use "
         "`Unmasked`"},
        {CONTAINER(",'restartPolicyRules':[{'action':'Restart','exitCodes':{'operator':'In','"
                   "values':[1]}}]"),
         "spec.containers[0].restartPolicy: Required value: must specify restartPolicy when "
         "restart rules are used"},
        {POD(",'initContainers':[{'name':'c','image':'x','startupProbe':{'tcpSocket':{'port':1}}}"
             "]"),
         "spec.initContainers[0].name: Duplicate value: "
         "\"c\"\nspec.initContainers[0].startupProbe: Forbidden: may not "
         "be set for init containers without restartPolicy=Always"},
    };
    fixture_run(&kind_pods, &core_v1_pod_msg, cases, ARRAY_SIZE(cases));
}
END_TEST

/* A volume that is wrong is not there for mounts. */
START_TEST(volumes)
{
    static const struct fixture_case cases[] = {
        {VOLUME(""), ""}, /* An empty directory. */
        {VOLUME(",'hostPath':{'path':'/a/../b'}"),
         "spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"},
        {VOLUME(",'emptyDir':{},'nfs':{'server':'s','path':'/'}"),
         "spec.volumes[0].nfs: Forbidden: may not specify more than 1 volume type"},
        {VOLUME(",'secret':{'secretName':'s','items':[{'key':'','path':'../x'}]}"),
         "spec.volumes[0].secret.items[0].key: Required "
         "value\nspec.volumes[0].secret.items[0].path: Invalid value: "
         "\"../x\": must not contain '..'"},
        {VOLUME(",'projected':{'sources':[{'serviceAccountToken':{'path':'t','expirationSeconds':5}"
                "}]}"),
         "spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid "
         "value: 5: may not specify "
         "a duration less than 10 minutes"},
        {VOLUME(",'projected':{'sources':[{'secret':{'name':'s','items':[{'key':'k','path':'p'}]}},"
                "{'configMap':{'name':'m','items':[{'key':'k','path':'p'}]}}]}"),
         "spec.volumes[0].projected: Invalid value: \"m\": conflicting duplicate paths"},
        {VOLUME(",'iscsi':{'targetPortal':'p','iqn':'iqn.2020','lun':300}"),
         "spec.volumes[0].iscsi.iqn: Invalid value: \"iqn.2020\": must be valid "
         "format\nspec.volumes[0].iscsi.lun: "
         "Invalid value: 300: must be between 0 and 255, inclusive"},
        {"{'spec':{'volumes':[{'name':'v','persistentVolumeClaim':{'claimName':''}}],'containers':["
         "{'name':'c',"
         "'image':'x','volumeMounts':[{'name':'v','mountPath':'/v'}]}]}}",
         "spec.volumes[0].persistentVolumeClaim.claimName: Required "
         "value\nspec.containers[0].volumeMounts[0].name: Not "
         "found: \"v\""},
    };
    fixture_run(&kind_pods, &core_v1_pod_msg, cases, ARRAY_SIZE(cases));
}
END_TEST

/* Placement, security and names. */
START_TEST(spec)
{
    static const struct fixture_case cases[] = {
        {POD(",'dnsPolicy':'None'"),
         "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"},
        {POD(",'hostname':'a.b'"), "spec.hostname: Invalid value: \"a.b\": must not contain dots"},
        {POD(",'securityContext':{'sysctls':[{'name':'A..b','value':'1'}]}"),
         "spec.securityContext.sysctls[0].name: Invalid value: \"A..b\": must have at most 253 "
         "characters and match "
         "regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"},
        {POD(",'securityContext':{'sysctls':[{'name':'net.ipv4/tcp_syn-cookies','value':'1'}]}"),
         ""},
        {POD(",'securityContext':{'seccompProfile':{'type':'Localhost'}}"),
         "spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when "
         "seccomp type is "
         "Localhost"},
        {POD(",'os':{'name':'windows'},'hostPID':true"),
         "spec.hostPID: Forbidden: cannot be set for a windows pod"},
        {POD(",'tolerations':[{'key':'k','operator':'Exists','value':'x'}]"),
         "spec.tolerations[0].operator: Invalid value: \"x\": value must be empty when `operator` "
         "is 'Exists'"},
        {POD(",'affinity':{'nodeAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':{'"
             "nodeSelectorTerms':[]}}}"),
         "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution."
         "nodeSelectorTerms: Required value: "
         "must have at least one node selector term"},
        {POD(",'topologySpreadConstraints':[{'maxSkew':1,'topologyKey':'z','whenUnsatisfiable':'"
             "ScheduleAnyway',"
             "'minDomains':2}]"),
         "spec.topologySpreadConstraints[0].minDomains: Invalid value: 2: can only use minDomains "
         "if "
         "whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway"},
        {POD(",'schedulingGates':[{'name':'a'}],'nodeName':'n'"),
         "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"},
        {POD(",'ephemeralContainers':[{'name':'e','image':'x','targetContainerName':'z'}]"),
         "spec.ephemeralContainers[0].targetContainerName: Not found: "
         "\"z\"\nspec.ephemeralContainers: Forbidden: "
         "cannot be set on create"},
    };
    fixture_run(&kind_pods, &core_v1_pod_msg, cases, ARRAY_SIZE(cases));
}
END_TEST

/* Images may change; the rest is shown as a difference. */
START_TEST(updates)
{
    static const char image[] =
        "{'metadata':{'name':'p'},'spec':{'containers':[{'name':'c','image':'other',"
        "'imagePullPolicy':'Always'}]}}";
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = fixture_new(a, &kind_pods, &core_v1_pod_msg);
    ck_assert_str_eq(fixture_update(&f, POD(""), image), "");
    ck_assert_str_eq(
        fixture_update(&f, POD(""), POD(",'restartPolicy':'Never'")),
        "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
        "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
        "additions to existing "
        "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
        "previously negative)\n"
        "@@ -35,7 +35,7 @@\n   }\n  ],\n  \"EphemeralContainers\": null,\n- \"RestartPolicy\": "
        "\"Always\",\n+ "
        "\"RestartPolicy\": \"Never\",\n  \"TerminationGracePeriodSeconds\": 30,\n  "
        "\"ActiveDeadlineSeconds\": null,\n  "
        "\"DNSPolicy\": \"ClusterFirst\",\n");
    ck_assert_str_eq(fixture_update(&f, POD(",'schedulingGates':[{'name':'a'}]"),
                                    POD(",'schedulingGates':[{'name':'b'}]")),
                     "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found "
                     "new scheduling gate 'b'");
}
END_TEST

#define NOTED(key, value)                                                                          \
    "{'metadata':{'name':'p','annotations':{'" key "':'" value                                     \
    "'}},'spec':{'containers':[{'name':'c','image':'x'}]}}"

/* Annotations that mean something have their forms, and agree with fields. */
START_TEST(annotations)
{
    static const struct fixture_case cases[] = {
        {NOTED("controller.kubernetes.io/pod-deletion-cost", "-7"), ""},
        {NOTED("controller.kubernetes.io/pod-deletion-cost", "+7"),
         "metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: \"+7\": "
         "must be a 32bit integer"},
        {NOTED("container.apparmor.security.beta.kubernetes.io/d", "unconfined"),
         "metadata.annotations[container.apparmor.security.beta.kubernetes.io/d]: Invalid value: "
         "\"d\": container not found"},
        {"{'metadata':{'name':'p','annotations':{'seccomp.security.alpha.kubernetes.io/pod':"
         "'unconfined'}},'spec':{'securityContext':{'seccompProfile':{'type':'RuntimeDefault'}},"
         "'containers':[{'name':'c','image':'x'}]}}",
         "spec.securityContext.seccompProfile.type: Forbidden: seccomp type in annotation and "
         "field "
         "must match"},
        {NOTED("trireme.io/depends-on", "db, pay/ledger:https internet:443"), ""},
        {NOTED("trireme.io/depends-on", "db:x:y"),
         "metadata.annotations[trireme.io/depends-on]: Invalid value: \"db:x:y\": \"db:x:y\" must "
         "be a range of addresses such as 10.1.0.0/16, 10.1.2.3/32:5432 or fd00:1::/32:53/udp; a "
         "Service is named without dots: name, namespace/name or namespace/name:port"},
        {NOTED("trireme.io/wait-for-dependencies", "true"),
         "metadata.annotations[trireme.io/wait-for-dependencies]: Invalid value: \"true\": needs "
         "the annotation trireme.io/depends-on, which names what is waited for"},
        {"{'metadata':{'name':'p','annotations':{'trireme.io/depends-on':''}},'spec':{"
         "'hostNetwork':true,'containers':[{'name':'c','image':'x'}]}}",
         "metadata.annotations[trireme.io/depends-on]: Forbidden: cannot be held to by a pod on "
         "the host's network, which has the node's address: leave it out, or set "
         "spec.hostNetwork to false"},
        {POD(",'securityContext':{'windowsOptions':{'hostProcess':true}}"),
         "spec.hostNetwork: Invalid value: false: hostNetwork must be true if pod contains any "
         "hostProcess containers"},
    };
    fixture_run(&kind_pods, &core_v1_pod_msg, cases, ARRAY_SIZE(cases));
}
END_TEST

static const char *through(struct fixture *f, const char *name, const char *before,
                           const char *after)
{
    void *old = fixture_object(f, before), *obj = fixture_object(f, after);
    for (const struct kind_sub *s = kind_pods.subs; s->name != NULL; s++)
        if (strcmp(s->name, name) == 0) {
            s->prepare_update(&f->ctx, obj, old);
            s->validate_update(&f->ctx, obj, old, &f->errs);
        }
    return fixture_causes(f);
}

#define ENDED(state)                                                                               \
    "{'metadata':{'name':'p'},'spec':{'restartPolicy':'Never','containers':[{'name':'c','image':"  \
    "'x'}]},'status':{'qosClass':'BestEffort','containerStatuses':[{'name':'c','state':" state     \
    "}]}}"
#define SIZED(name, resources)                                                                     \
    "{'spec':{'containers':[{'name':'" name "','image':'x','resources':" resources "}]}}"

/* Reports bring nothing back to life; a resize changes cpu and memory alone. */
START_TEST(subresources)
{
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = fixture_new(a, &kind_pods, &core_v1_pod_msg);
    ck_assert_str_eq(
        through(&f, "status", ENDED("{'terminated':{'exitCode':0}}"), ENDED("{'running':{}}")),
        "status.containerStatuses[0].state: Forbidden: may not be transitioned to "
        "non-terminated state");
    ck_assert_str_eq(through(&f, "resize", SIZED("c", "{'requests':{'cpu':'1'}}"),
                             SIZED("c", "{'requests':{'cpu':'2'}}")),
                     "");
    ck_assert_str_eq(through(&f, "resize", SIZED("c", "{'requests':{'cpu':'1','memory':'1'}}"),
                             SIZED("c", "{'requests':{'cpu':'2'}}")),
                     "spec.containers[0].resources.requests: Forbidden: resource requests cannot "
                     "be removed");
    ck_assert_str_eq(through(&f, "resize", SIZED("c", "{}"), SIZED("d", "{}")),
                     "spec.containers[0].name: Forbidden: containers may not be renamed or "
                     "reordered on resize");
    ck_assert_str_eq(
        fixture_update(&f, POD(",'schedulingGates':[{'name':'a'}],'nodeSelector':{'x':'1'}"),
                       POD(",'schedulingGates':[{'name':'a'}],'nodeSelector':{'y':'1'}")),
        "spec.nodeSelector: Invalid value: {\"y\":\"1\"}: only additions to spec.nodeSelector are "
        "allowed (no mutations or deletions)");
}
END_TEST

UNIT_MAIN("kinds_pods", {
    UNIT_TEST(annotations);
    UNIT_TEST(subresources);
    UNIT_TEST(defaults);
    UNIT_TEST(containers);
    UNIT_TEST(volumes);
    UNIT_TEST(spec);
    UNIT_TEST(updates);
})
