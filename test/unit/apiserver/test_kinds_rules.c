/* test_kinds_rules.c - secrets, events, signing requests, storage classes and
 * drivers: what is refused, in which order, and what is warned of. */
#include "apiserver/kinds/kinds.h"

#include "api/admissionregistration_v1.h"
#include "api/apps_v1.h"
#include "api/certificates_v1.h"
#include "api/core_v1.h"
#include "api/flowcontrol_v1.h"
#include "api/resource_v1.h"
#include "api/storage_v1.h"
#include "lib/api/scheme.h"
#include "test/unit/apiserver/kinds_fixture.h"

/* One pair of a self-signed certificate and its key, as data of a secret. */
#define CERT                                                                                       \
    "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJiakNDQVJPZ0F3SUJBZ0lVT09uZ3ovNVh4ZkNh"             \
    "ZXN2WnRyWkdjMU8ybFhnd0NnWUlLb1pJemowRUF3SXcKRERFS01BZ0dBMVVFQXd3QmVEQWVGdzB5TmpF"             \
    "eE1qSXhNelF4TlRGYUZ3MHpOakV4TVRreE16UXhOVEZhTUF3eApDakFJQmdOVkJBTU1BWGd3V1RBVEJn"             \
    "Y3Foa2pPUFFJQkJnZ3Foa2pPUFFNQkJ3TkNBQVJ2UG9MK1JlY3IwNXB2Ck1oN1RwNlZuaVZMN3dZR3dQ"             \
    "TitHZXFXQjBPNUIyVjJyNW1zbUFrYzNBTW9nNTNhUE1PSitDNjh6UFUzZjlmSDkKaFV2OEM2Y01vMU13"             \
    "VVRBZEJnTlZIUTRFRmdRVUEvekZFbUZBbElEUmxiTWJGZTd3N25YMW1oVXdId1lEVlIwagpCQmd3Rm9B"             \
    "VUEvekZFbUZBbElEUmxiTWJGZTd3N25YMW1oVXdEd1lEVlIwVEFRSC9CQVV3QXdFQi96QUtCZ2dxCmhr"             \
    "ak9QUVFEQWdOSkFEQkdBaUVBbTUvak5ZT1NNSXdyeFV2UmwvUHNMSkg2UDQ2aHpXV1lNRGpFbXRwd2FH"             \
    "QUMKSVFDdDNId0FuWnptRWxRdE1zNy9DUkZ6ZlAvNTVzNkZSWFFxd2FKV3NCWlZSdz09Ci0tLS0tRU5E"             \
    "IENFUlRJRklDQVRFLS0tLS0K"
#define KEY                                                                                        \
    "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCk1JR0hBZ0VBTUJNR0J5cUdTTTQ5QWdFR0NDcUdTTTQ5"             \
    "QXdFSEJHMHdhd0lCQVFRZzhpdTUwYyt2T0M0cGNkeDEKTlpTMXBjWGYvNGpVOWVwRFFybmJTemxYc2dL"             \
    "aFJBTkNBQVJ2UG9MK1JlY3IwNXB2TWg3VHA2Vm5pVkw3d1lHdwpQTitHZXFXQjBPNUIyVjJyNW1zbUFr"             \
    "YzNBTW9nNTNhUE1PSitDNjh6UFUzZjlmSDloVXY4QzZjTQotLS0tLUVORCBQUklWQVRFIEtFWS0tLS0t"             \
    "Cg=="
#define OTHER_KEY                                                                                  \
    "LS0tLS1CRUdJTiBFQyBQUklWQVRFIEtFWS0tLS0tCk1IY0NBUUVFSUlDVzVMUFA1MUNoWmZhVEcxZXFj"             \
    "OXl5K2JMMzNUdnU3WUViZTF3S2ltMkxvQW9HQ0NxR1NNNDkKQXdFSG9VUURRZ0FFRXpqZzFJeEZoZWdr"             \
    "REVUZG8vSmtScThzYzRVSzJvcERhcDJqOWdtOE5VQkZkOWZmd2tuUQpKeU5rcjJJd25HZzlVVWJ4OEFQ"             \
    "N3hSRzhDTmREV1FkdXdBPT0KLS0tLS1FTkQgRUMgUFJJVkFURSBLRVktLS0tLQo="
#define PARAMETERS                                                                                 \
    "LS0tLS1CRUdJTiBFQyBQQVJBTUVURVJTLS0tLS0KQmdncWhrak9QUU1CQnc9PQotLS0tLUVORCBFQyBQ"             \
    "QVJBTUVURVJTLS0tLS0K"

#define TLS(cert, key)                                                                             \
    "{'type':'kubernetes.io/tls','data':{'tls.crt':'" cert "','tls.key':'" key "'}}"

START_TEST(secrets)
{
    static const struct fixture_case cases[] = {
        {"{'type':'kubernetes.io/dockerconfigjson','data':{'.dockerconfigjson':'W10='}}",
         "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": json: cannot "
         "unmarshal array into Go value of type map[string]interface {}"},
        {"{'type':'kubernetes.io/dockercfg','data':{'.dockercfg':'MQ=='}}",
         "data[.dockercfg]: Invalid value: \"<secret contents redacted>\": json: cannot unmarshal "
         "number into Go value of type map[string]interface {}"},
        {"{'type':'kubernetes.io/dockercfg','data':{'.dockercfg':'bnVsbA=='}}", ""},
        {"{'type':'kubernetes.io/basic-auth'}",
         "data[username]: Required value\ndata[password]: Required value"},
        {"{'type':'kubernetes.io/basic-auth','data':{'password':''}}", ""},
        {"{'type':'kubernetes.io/ssh-auth','data':{'ssh-privatekey':''}}",
         "data[ssh-privatekey]: Required value"},
        {"{'type':'kubernetes.io/tls','data':{'tls.crt':''}}", "data[tls.key]: Required value"},
        {"{'type':'kubernetes.io/service-account-token'}",
         "metadata.annotations[kubernetes.io/service-account.name]: Required value"},
    };
    static const struct fixture_case warned[] = {
        {TLS(CERT, KEY), ""},
        {TLS(CERT, OTHER_KEY), "tls: private key does not match public key"},
        {TLS("", ""), "tls: failed to find any PEM data in certificate input"},
        {TLS(CERT, ""), "tls: failed to find any PEM data in key input"},
        {TLS(KEY, CERT),
         "tls: failed to find certificate PEM data in certificate input, but did find a private "
         "key; PEM inputs may have been switched"},
        {TLS(CERT, CERT),
         "tls: found a certificate rather than a key in the PEM for the private key"},
        {TLS(CERT, PARAMETERS),
         "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after "
         "skipping PEM blocks of the following types: [EC PARAMETERS]"},
        {TLS(PARAMETERS, KEY),
         "tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM "
         "blocks of the following types: [EC PARAMETERS]"},
        {"{'type':'Opaque','data':{'tls.crt':'eA=='}}", ""},
    };
    fixture_run(&kind_secrets, &core_v1_secret_msg, cases, ARRAY_SIZE(cases));
    for (size_t i = 0; i < ARRAY_SIZE(warned); i++) {
        AUTO_ARENA *a = arena_new(0);
        struct fixture f = fixture_new(a, &kind_secrets, &core_v1_secret_msg);
        ck_assert_str_eq(fixture_warnings(&f, warned[i].object), warned[i].causes);
    }
}
END_TEST

#define ABOUT(ns) "'metadata':{'namespace':'a'},'involvedObject':{'namespace':'" ns "'}"
#define NEWER                                                                                      \
    "'eventTime':'2024-01-01T00:00:00.000000Z','reportingComponent':'c','reportingInstance':'i','" \
    "action':'act','reason':'r','type':'Normal'"

/* Events by core/v1. */
START_TEST(events)
{
    static const struct fixture_case cases[] = {
        {"{" ABOUT("a") "}", ""},
        {"{" ABOUT("b") "}",
         "involvedObject.namespace: Invalid value: \"b\": does not match event.namespace"},
        /* Those of the newer form are about whatever they want. */
        {"{" ABOUT("b") "," NEWER "}", ""},
        {"{'metadata':{'namespace':'kube-system'}," NEWER "}", ""},
        {"{'metadata':{'namespace':'kube-system'}}",
         "involvedObject.namespace: Invalid value: \"\": does not match event.namespace"},
        {"{" ABOUT("a") ",'eventTime':'2024-01-01T00:00:00.000000Z','reportingComponent':'c'}",
         "reportingInstance: Required value\naction: Required value\nreason: Required value"},
    };
    fixture_run(&kind_events, &core_v1_event_msg, cases, ARRAY_SIZE(cases));
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = fixture_new(a, &kind_events, &core_v1_event_msg);
    ck_assert_str_eq(fixture_update(&f, "{" ABOUT("a") "}", "{" ABOUT("a") ",'reason':'x'}"), "");
}
END_TEST

/* Events by events.k8s.io/v1, in the words of the version they are stored in. */
START_TEST(strict_events)
{
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = fixture_new(a, &kind_events, &core_v1_event_msg);
    f.ctx.request_kind = api_kind_by_gvk(STR("events.k8s.io"), STR("v1"), STR("Event"));
    ck_assert_ptr_nonnull(f.ctx.request_kind);
    ck_assert_str_eq(fixture_create(&f, "{" ABOUT("a") "," NEWER "}"), "");
    ck_assert_str_eq(
        fixture_create(&f, "{" ABOUT("a") ",'series':{'count':1},'count':1,'firstTimestamp':'2024-"
                                          "01-01T00:00:00Z','source':{'component':'c'}}"),
        "series.count: Invalid value: \"\": should be at least 2\n"
        "series.lastObservedTime: Required value\n"
        "eventTime: Required value\n"
        "type: Invalid value: \"\": has invalid value: \n"
        "firstTimestamp: Invalid value: \"\": needs to be unset\n"
        "count: Invalid value: \"\": needs to be unset\n"
        "source: Invalid value: \"\": needs to be unset");
    ck_assert_str_eq(
        fixture_update(&f, "{" ABOUT("a") "," NEWER "}",
                       "{" ABOUT("a") ",'eventTime':'2024-01-01T00:00:00.000001Z',"
                                      "'reportingComponent':'d','reportingInstance':'i','action':"
                                      "'other','reason':'r','type':'Normal','count':3}"),
        "count: Invalid value: 3: field is immutable\n"
        "eventTime: Invalid value: \"2024-01-01T00:00:00.000001Z\": field is immutable\n"
        "action: Invalid value: \"other\": field is immutable\n"
        "reportingController: Invalid value: \"d\": field is immutable");
}
END_TEST

#define CONDITION(type, status) "{'type':'" type "','status':'" status "','reason':'r'}"
#define CONDITIONS(list) "{'status':{'conditions':[" list "]}}"

START_TEST(signing_requests)
{
    static const struct fixture_case cases[] = {
        {"{'spec':{'request':'eA==','signerName':'a_b.c/x','usages':['any','any']}}",
         "spec.request: Invalid value: \"eA==\": PEM block type must be CERTIFICATE REQUEST\n"
         "spec.usages[1]: Duplicate value: \"any\"\n"
         "spec.signerName: Invalid value: \"a_b.c\": validating label \"a_b\": a lowercase RFC "
         "1123 label must consist of lower case alphanumeric characters or '-', and must start "
         "and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for "
         "validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"},
        {"{'spec':{'request':'eA==','signerName':'kubernetes.io/legacy-unknown','usages':['any']}}",
         "spec.request: Invalid value: \"eA==\": PEM block type must be CERTIFICATE REQUEST\n"
         "spec.signerName: Invalid value: \"kubernetes.io/legacy-unknown\": the legacy signerName "
         "is not allowed via this API version"},
    };
    const struct user user = {.name = STR("u")};
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = fixture_new(a, &kind_certificatesigningrequests,
                                   &certificates_v1_certificate_signing_request_msg);
    f.ctx.user = &user;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        ck_assert_str_eq(fixture_create(&f, cases[i].object), cases[i].causes);
    ck_assert_str_eq(
        fixture_sub(&f, "approval", CONDITIONS(""), CONDITIONS(CONDITION("Approved", "True"))), "");
    ck_assert_str_eq(
        fixture_sub(&f, "approval", CONDITIONS(CONDITION("Approved", "True")),
                    CONDITIONS(CONDITION("Denied", "False") "," CONDITION("Denied", ""))),
        "status.conditions[0].status: Unsupported value: \"False\": supported values: \"True\"\n"
        "status.conditions[1].status: Required value\n"
        "status.conditions[1].type: Duplicate value: \"Denied\"\n"
        "status.conditions: Forbidden: updates may not remove a condition of type \"Approved\"");
    ck_assert_str_eq(
        fixture_sub(&f, "approval", CONDITIONS(""),
                    CONDITIONS(CONDITION("Approved", "True") "," CONDITION("Denied", "True"))),
        "status.conditions: Invalid value: \"Denied\": Approved and Denied conditions "
        "are mutually exclusive");
    ck_assert_str_eq(
        fixture_sub(&f, "status", CONDITIONS(""), CONDITIONS(CONDITION("Approved", "True"))),
        "status.conditions: Forbidden: updates may not add a condition of type "
        "\"Approved\"");
    ck_assert_str_eq(
        fixture_sub(&f, "status", "{'status':{}}", "{'status':{'certificate':'eA=='}}"),
        "status.certificate: Invalid value: \"<certificate data>\": must contain at "
        "least one CERTIFICATE PEM block");
    ck_assert_str_eq(fixture_sub(&f, "status", "{'status':{'certificate':'" CERT "'}}",
                                 "{'status':{'certificate':'" KEY "'}}"),
                     "status.certificate: Invalid value: \"<certificate data>\": only CERTIFICATE "
                     "PEM blocks are allowed, found \"PRIVATE KEY\"\n"
                     "status.certificate: Forbidden: updates may not modify existing certificate "
                     "content");
}
END_TEST

START_TEST(storage_kinds)
{
    static const struct fixture_case drivers[] = {
        {"{'spec':{'fsGroupPolicy':'X','tokenRequests':[{'audience':'a'},{'audience':'a',"
         "'expirationSeconds':1},{'expirationSeconds':1}],'volumeLifecycleModes':['Y'],"
         "'nodeAllocatableUpdatePeriodSeconds':9}}",
         "spec.fsGroupPolicy: Unsupported value: \"X\": supported values: \"File\", \"None\", "
         "\"ReadWriteOnceWithFSType\"\n"
         "spec.tokenRequests[1].audience: Duplicate value: \"a\"\n"
         "spec.tokenRequests[2].expirationSeconds: Invalid value: 1: may not specify a duration "
         "less than 10 minutes\n"
         "spec.volumeLifecycleModes: Unsupported value: \"Y\": supported values: \"Persistent\", "
         "\"Ephemeral\"\n"
         "spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 9: must be greater than or equal "
         "to 10 seconds"},
        {"{'spec':{'serviceAccountTokenInSecrets':true}}",
         "spec.serviceAccountTokenInSecrets: Invalid value: true: serviceAccountTokenInSecrets is "
         "set but no tokenRequests are specified"},
    };
    static const struct fixture_case nodes[] = {
        {"{'spec':{'drivers':[{'name':'d','nodeID':'n','topologyKeys':['k','k']}]}}",
         "spec.drivers[0]: Duplicate value: \"k\""},
    };
    static const struct fixture_case attributes[] = {
        {"{'driverName':'D.example/x'}",
         "parameters: Required value: must contain at least one key/value pair"},
    };
    fixture_run(&kind_csidrivers, &storage_v1_csi_driver_msg, drivers, ARRAY_SIZE(drivers));
    fixture_run(&kind_csinodes, &storage_v1_csi_node_msg, nodes, ARRAY_SIZE(nodes));
    fixture_run(&kind_volumeattributesclasses, &storage_v1_volume_attributes_class_msg, attributes,
                ARRAY_SIZE(attributes));
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = fixture_new(a, &kind_storageclasses, &storage_v1_storage_class_msg);
    ck_assert_str_eq(fixture_update(&f, "{'provisioner':'p','parameters':{'a':'b'}}",
                                    "{'provisioner':'q','reclaimPolicy':'X'}"),
                     "reclaimPolicy: Unsupported value: \"X\": supported values: \"Delete\", "
                     "\"Retain\"\n"
                     "parameters: Invalid value: null: field is immutable\n"
                     "provisioner: Invalid value: \"q\": field is immutable\n"
                     "reclaimPolicy: Invalid value: \"X\": field is immutable");
    f = fixture_new(a, &kind_volumeattributesclasses, &storage_v1_volume_attributes_class_msg);
    ck_assert_str_eq(fixture_update(&f, "{'driverName':'p','parameters':{'a':'b'}}",
                                    "{'driverName':'q','parameters':{'a':'c'}}"),
                     "driverName: Forbidden: updates to driverName are forbidden.\n"
                     "parameters: Forbidden: updates to parameters are forbidden.");
    f = fixture_new(a, &kind_csinodes, &storage_v1_csi_node_msg);
    ck_assert_str_eq(
        fixture_update(
            &f, "{'spec':{'drivers':[{'name':'d','nodeID':'n','allocatable':{'count':1}}]}}",
            "{'spec':{'drivers':[{'name':'d','nodeID':'m','allocatable':{'count':2}}]}}"),
        "spec.drivers: Invalid value: "
        "{\"Name\":\"d\",\"NodeID\":\"m\",\"TopologyKeys\":null,\"Allocatable\":null}: field is "
        "immutable");
}
END_TEST

#define HOOK(more)                                                                                 \
    "{'metadata':{'name':'h'},'webhooks':[{'name':'a.b.c','sideEffects':'None',"                   \
    "'admissionReviewVersions':['v1'],'clientConfig':{'url':'https://h/p'}" more "}]}"
#define RULE(resources)                                                                            \
    ",'rules':[{'operations':['*'],'apiGroups':['*'],'apiVersions':['*'],'resources':[" resources  \
    "]}]"
#define POLICY(more)                                                                               \
    "{'metadata':{'name':'p.example'},'spec':{'matchConstraints':{'resourceRules':[{"              \
    "'operations':['CREATE'],'apiGroups':['*'],'apiVersions':['*'],'resources':['*']}]}" more "}}"

START_TEST(admission_kinds)
{
    static const struct fixture_case hooks[] = {
        {HOOK(""), ""},
        {HOOK(RULE("'pods','pods'")), ""},
        {HOOK(RULE("'pods/*','pods/log','*/log','x/log'")),
         "webhooks[0].rules[0].resources[1]: Invalid value: \"pods/log\": if 'pods/*' is present, "
         "must not specify pods/log\n"
         "webhooks[0].rules[0].resources[3]: Invalid value: \"x/log\": if '*/log' is present, must "
         "not specify x/log"},
        {HOOK(RULE("'*','pods'")),
         "webhooks[0].rules[0].resources: Invalid value: [\"*\",\"pods\"]: if '*' is present, "
         "must not specify other resources without subresources"},
        {"{'webhooks':[{'name':'A','clientConfig':{'service':{'name':'s','port':0}},"
         "'reinvocationPolicy':'X','sideEffects':'None','admissionReviewVersions':['v9','v9']}]}",
         "webhooks[0].name: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of "
         "lower case alphanumeric characters, '-' or '.', and must start and end with an "
         "alphanumeric character (e.g. 'example.com', regex used for validation is "
         "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')\n"
         "webhooks[0].reinvocationPolicy: Unsupported value: \"X\": supported values: "
         "\"IfNeeded\", \"Never\"\n"
         "webhooks[0].clientConfig.service.name: Required value\n"
         "webhooks[0].clientConfig.service.port: Invalid value: 0: port is not valid: must be "
         "between 1 and 65535, inclusive\n"
         "webhooks[0].admissionReviewVersions[1]: Invalid value: \"v9\": duplicate version\n"
         "webhooks[0].admissionReviewVersions: Invalid value: [\"v9\",\"v9\"]: must include at "
         "least one of v1, v1beta1"},
    };
    static const struct fixture_case policies[] = {
        {POLICY(",'auditAnnotations':[{'key':'k','valueExpression':'\\'x\\''}]"), ""},
        {POLICY(",'paramKind':{'apiVersion':'a/b/c','kind':'X_'},'auditAnnotations':[{'key':'',"
                "'valueExpression':' '}]"),
         "spec.paramKind.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: "
         "a/b/c\n"
         "spec.paramKind.kind: Invalid value: \"X_\": may have mixed case, but should otherwise "
         "match: a DNS-1035 label must consist of lower case alphanumeric characters or '-', start "
         "with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  "
         "or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')\n"
         "spec.auditAnnotations[0].key: Invalid value: \"p.example/\": name part must be "
         "non-empty\n"
         "spec.auditAnnotations[0].key: Invalid value: \"p.example/\": name part must consist of "
         "alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
         "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
         "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')\n"
         "spec.auditAnnotations[0].valueExpression: Required value: valueExpression is not "
         "specified"},
        {POLICY(",'validations':[{'expression':'true','message':'a\\rb'},{'expression':'true',"
                "'message':' '}]"),
         "spec.validations[0].message: Invalid value: \"a\\rb\": must not contain line breaks\n"
         "spec.validations[1].message: Invalid value: \" \": must be non-empty if specified"},
    };
    static const struct fixture_case mutations[] = {
        {"{'spec':{'reinvocationPolicy':'Never','matchConstraints':{'resourceRules':[{'operations':"
         "['DELETE'],'apiGroups':['*'],'apiVersions':['*'],'resources':['*']}]},'mutations':[{},{"
         "'patchType':'X'},{'patchType':'JSONPatch','applyConfiguration':{'expression':''}}]}}",
         "spec.matchConstraints.resourceRules.operations: Unsupported value: \"DELETE\": supported "
         "values: \"*\", \"CONNECT\", \"CREATE\", \"UPDATE\"\n"
         "spec.mutations[0].patchType: Required value\n"
         "spec.mutations[1].patchType: Unsupported value: \"X\": supported values: "
         "\"ApplyConfiguration\", \"JSONPatch\"\n"
         "spec.mutations[2].jsonPatch: Required value: must be specified when patchType is "
         "JSONPatch\n"
         "spec.mutations[2].applyConfiguration: Invalid value: \"{applyConfiguration}\": must not "
         "be specified when patchType is JSONPatch"},
    };
    fixture_run(&kind_mutatingwebhookconfigurations,
                &admissionregistration_v1_mutating_webhook_configuration_msg, hooks,
                ARRAY_SIZE(hooks));
    fixture_run(&kind_validatingadmissionpolicies,
                &admissionregistration_v1_validating_admission_policy_msg, policies,
                ARRAY_SIZE(policies));
    fixture_run(&kind_mutatingadmissionpolicies,
                &admissionregistration_v1_mutating_admission_policy_msg, mutations,
                ARRAY_SIZE(mutations));
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = fixture_new(a, &kind_validatingadmissionpolicies,
                                   &admissionregistration_v1_validating_admission_policy_msg);
    ck_assert_str_eq(fixture_warnings(&f, "{'metadata':{'name':'x.static.k8s.io'}}"),
                     "metadata.name: names ending with \".static.k8s.io\" are reserved for static "
                     "manifest-based configurations and cannot be managed via the API");
    ck_assert_str_eq(
        fixture_sub(&f, "status", "{}",
                    "{'status':{'typeChecking':{'expressionWarnings':[{}]},'conditions':[{'type':"
                    "'A','status':'Y','reason':'a b'}]}}"),
        "status.typeChecking.expressionWarnings[0].warning: Required value\n"
        "status.typeChecking.expressionWarnings[0].fieldRef: Required value\n"
        "status.conditions[0].status: Unsupported value: \"Y\": supported values: \"False\", "
        "\"True\", \"Unknown\"\n"
        "status.conditions[0].lastTransitionTime: Required value\n"
        "status.conditions[0].reason: Invalid value: \"a b\": a condition reason must start with "
        "alphabetic character, optionally followed by a string of alphanumeric characters or "
        "'_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or "
        "'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for "
        "validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')");
}
END_TEST

#define SCHEMA(rules)                                                                              \
    "{'metadata':{'name':'s'},'spec':{'priorityLevelConfiguration':{'name':'l'},'rules':[" rules   \
    "]}}"

START_TEST(flow_kinds)
{
    static const struct fixture_case schemas[] = {
        {SCHEMA("{'subjects':[{'kind':'User','group':{'name':''}},{'kind':'ServiceAccount',"
                "'serviceAccount':{'name':'*'}}],'resourceRules':[{'verbs':['eat'],'namespaces':"
                "['A']}],'nonResourceRules':[{'verbs':['get'],'nonResourceURLs':['x','/a b','/a//b'"
                ",'/*/b','']}]}"),
         "spec.rules[0].subjects[0].user: Required value: user is required when subject kind is "
         "'User'\n"
         "spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not "
         "'Group'\n"
         "spec.rules[0].subjects[1].serviceAccount.namespace: Required value: must specify "
         "namespace for service account\n"
         "spec.rules[0].resourceRules[0].verbs: Unsupported value: [\"eat\"]: supported values: "
         "\"create\", \"delete\", \"deletecollection\", \"get\", \"list\", \"patch\", "
         "\"proxy\", \"update\", \"watch\"\n"
         "spec.rules[0].resourceRules[0].apiGroups: Required value: resource rules must supply at "
         "least one api group\n"
         "spec.rules[0].resourceRules[0].resources: Required value: resource rules must supply at "
         "least one resource\n"
         "spec.rules[0].resourceRules[0].namespaces[0]: Invalid value: \"A\": each member of this "
         "list must be '*' or a DNS-1123 label; a lowercase RFC 1123 label must consist of lower "
         "case alphanumeric characters or '-', and must start and end with an alphanumeric "
         "character (e.g. 'my-name',  or '123-abc', regex used for validation is "
         "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')\n"
         "spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: \"x\": must start "
         "with slash\n"
         "spec.rules[0].nonResourceRules[0].nonResourceURLs[1]: Invalid value: \"/a b\": must not "
         "contain white-space\n"
         "spec.rules[0].nonResourceRules[0].nonResourceURLs[2]: Invalid value: \"/a//b\": must not "
         "contain double slash\n"
         "spec.rules[0].nonResourceRules[0].nonResourceURLs[3]: Invalid value: \"/*/b\": wildcard "
         "can only do suffix matching\n"
         "spec.rules[0].nonResourceRules[0].nonResourceURLs[4]: Invalid value: \"\": must not be "
         "empty"},
        {"{'metadata':{'name':'exempt'},'spec':{'matchingPrecedence':1,"
         "'priorityLevelConfiguration':{'name':'exempt'}}}",
         "spec: Invalid value: {\"PriorityLevelConfiguration\":{\"Name\":\"exempt\"},"
         "\"MatchingPrecedence\":1,\"DistinguisherMethod\":null,\"Rules\":null}: spec of "
         "'exempt' must equal the fixed value"},
    };
    static const struct fixture_case levels[] = {
        {"{'metadata':{'name':'exempt'},'spec':{'type':'Exempt','exempt':{'lendablePercent':101,"
         "'nominalConcurrencyShares':-1}}}",
         "spec.exempt.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer\n"
         "spec.exempt.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive"},
        {"{'metadata':{'name':'catch-all'},'spec':{'type':'Limited','limited':{"
         "'nominalConcurrencyShares':5,'limitResponse':{'type':'Reject'}}}}",
         ""},
        {"{'metadata':{'name':'l'},'spec':{'type':'Limited','limited':{'limitResponse':{'type':"
         "'Queue','queuing':{'queues':1000,'handSize':10}}}}}",
         "spec.limited.limitResponse.queuing.handSize: Invalid value: 10: required entropy bits of "
         "deckSize 1000 and handSize 10 should not be greater than 60"},
        {"{'metadata':{'name':'x'},'spec':{'type':'Y'}}",
         "spec.type: Unsupported value: \"Y\": supported values: \"Exempt\", \"Limited\""},
    };
    fixture_run(&kind_flowschemas, &flowcontrol_v1_flow_schema_msg, schemas, ARRAY_SIZE(schemas));
    fixture_run(&kind_prioritylevelconfigurations, &flowcontrol_v1_priority_level_configuration_msg,
                levels, ARRAY_SIZE(levels));
}
END_TEST

START_TEST(limits_and_quotas)
{
    static const struct fixture_case limits[] = {
        {"{'spec':{'limits':[{'type':'Container','min':{'cpu':'1'},'max':{'cpu':'2'},"
         "'maxLimitRequestRatio':{'cpu':'3'}}]}}",
         "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"3\": ratio 3 is greater than "
         "max/min = 2.000000"},
        {"{'spec':{'limits':[{'type':'Container','default':{'example.com/gpu':'2'},"
         "'defaultRequest':{'example.com/gpu':'3'}}]}}",
         "spec.limits[0].defaultRequest[example.com/gpu]: Invalid value: \"3\": default request "
         "value 3 is greater than default limit value 2\n"
         "spec.limits[0].defaultRequest[example.com/gpu]: Invalid value: \"3\": default value 2 "
         "must equal to defaultRequest value 3 in example.com/gpu"},
    };
    static const struct fixture_case quotas[] = {
        {"{'spec':{'hard':{'pods':'1','services':'1'},'scopeSelector':{'matchExpressions':[{"
         "'scopeName':'Terminating','operator':'In','values':['x']}]}}}",
         "spec.scopeSelector.matchExpressions: Invalid value: {\"MatchExpressions\":[{"
         "\"ScopeName\":\"Terminating\",\"Operator\":\"In\",\"Values\":[\"x\"]}]}: unsupported "
         "scope applied to resource\n"
         "spec.scopeSelector.matchExpressions.operator: Invalid value: \"In\": must be 'Exists' "
         "when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
         "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or "
         "ResourceQuotaScopeCrossNamespacePodAffinity"},
        {"{'spec':{'scopeSelector':{'matchExpressions':[{'scopeName':'BestEffort','operator':"
         "'Exists','values':['x']},{'scopeName':'NotBestEffort','operator':'Exists'}]}}}",
         "spec.scopeSelector.matchExpressions.values: Invalid value: [\"x\"]: must be no value "
         "when "
         "`operator` is 'Exist' or 'DoesNotExist' for scope selector\n"
         "spec.scopeSelector.matchExpressions: Invalid value: null: conflicting scopes"},
        {"{'spec':{'hard':{'requests.ephemeral-storage':'1'},'scopes':['Terminating']}}",
         "spec.scopes: Invalid value: [\"Terminating\"]: unsupported scope applied to resource"},
    };
    fixture_run(&kind_limitranges, &core_v1_limit_range_msg, limits, ARRAY_SIZE(limits));
    fixture_run(&kind_resourcequotas, &core_v1_resource_quota_msg, quotas, ARRAY_SIZE(quotas));
}
END_TEST

#define CLAIM(requests, more)                                                                      \
    "{'metadata':{'name':'c'},'spec':{'devices':{'requests':[" requests "]" more "}}}"
#define EXACT(more) "{'name':'r','exactly':{'deviceClassName':'d'" more "}}"

START_TEST(device_claims)
{
    static const struct fixture_case claims[] = {
        {CLAIM(EXACT(""), ""), ""},
        {CLAIM(EXACT("") "," EXACT(""), ""), "spec.devices.requests[1]: Duplicate value: \"r\""},
        {CLAIM("{'name':'r'}", ""), "spec.devices.requests[0]: Required value: exactly one of "
                                    "`exactly` or `firstAvailable` is "
                                    "required"},
        {CLAIM("{'name':'r','exactly':{},'firstAvailable':[{}]}", ""),
         "spec.devices.requests[0]: Invalid value: null: exactly one of `exactly` or "
         "`firstAvailable` is required, but multiple fields are set"},
        {CLAIM(EXACT(",'selectors':[{},{'cel':{'expression':'device.driver == \\'x\\''}},{'cel':{"
                     "'expression':'device.driver'}}],'tolerations':[{'operator':'Exists','value':"
                     "'v','effect':'X'}]"),
               ""),
         "spec.devices.requests[0].exactly.selectors[0].cel: Required value\n"
         "spec.devices.requests[0].exactly.selectors[2].cel.expression: Invalid value: "
         "\"device.driver\": must evaluate to bool or the unknown type, not string\n"
         "spec.devices.requests[0].exactly.tolerations[0].value: Invalid value: \"v\": must be "
         "empty for operator `Exists`\n"
         "spec.devices.requests[0].exactly.tolerations[0].effect: Unsupported value: \"X\": "
         "supported values: \"NoExecute\", \"NoSchedule\", \"None\""},
        {CLAIM(EXACT(""),
               ",'constraints':[{'requests':['r','r','x']},{'matchAttribute':'plain'}],'config':[{"
               "'requests':['r/s'],'opaque':{'driver':'d','parameters':[]}},{}]"),
         "spec.devices.constraints[0].requests[2]: Invalid value: \"x\": must be the name of a "
         "request in the claim or the name of a request and a subrequest separated by '/'\n"
         "spec.devices.constraints[0].requests[1]: Duplicate value: \"r\"\n"
         "spec.devices.constraints[0]: Required value: exactly one of \"matchAttribute\" or "
         "\"distinctAttribute\" is required, but multiple fields are set\n"
         "spec.devices.constraints[1].matchAttribute: Invalid value: \"plain\": a fully qualified "
         "name must be a domain and a name separated by a slash\n"
         "spec.devices.config[0].requests[0]: Invalid value: \"r/s\": must be the name of a "
         "request "
         "in the claim or the name of a request and a subrequest separated by '/'\n"
         "spec.devices.config[0].opaque.parameters: Invalid value: \"<value omitted>\": must be a "
         "valid JSON object\n"
         "spec.devices.config[1].opaque: Required value"},
    };
    fixture_run(&kind_resourceclaims, &resource_v1_resource_claim_msg, claims, ARRAY_SIZE(claims));
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = fixture_new(a, &kind_resourceclaims, &resource_v1_resource_claim_msg);
#define STATUS(status) "{'spec':{'devices':{'requests':[" EXACT("") "]}},'status':{" status "}}"
#define GIVEN                                                                                      \
    "'allocation':{'devices':{'results':[{'request':'r','driver':'d','pool':'p','device':'x'}]}}"
    ck_assert_str_eq(fixture_sub(&f, "status", STATUS(""), STATUS(GIVEN)), "");
    ck_assert_str_eq(
        fixture_sub(
            &f, "status", STATUS(""),
            STATUS("'reservedFor':[{'resource':'pods','name':'p'}],'devices':[{'driver':'d',"
                   "'pool':'p','device':'y','data':[],'networkData':{'ips':['1.2.3.4']}}]")),
        "status.reservedFor[0].uid: Required value\n"
        "status.devices[0]: Invalid value: "
        "{\"Driver\":\"d\",\"Pool\":\"p\",\"Device\":\"y\",\"ShareID\":\"\"}: must be an allocated "
        "device in the claim\n"
        "status.devices[0].data: Invalid value: \"<value omitted>\": must be a valid JSON object\n"
        "status.devices[0].networkData.ips[0]: Invalid value: \"1.2.3.4\": must be a valid address "
        "in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)\n"
        "status.reservedFor: Forbidden: may not be specified when `allocated` is not set");
    ck_assert_str_eq(
        fixture_sub(&f, "status", STATUS(""),
                    STATUS("'allocation':{'devices':{'results':[{'request':'x','driver':'d','pool':"
                           "'P','device':'x','shareID':'1','bindingConditions':['a']}],'config':[{"
                           "'source':'X','opaque':{'driver':'d','parameters':{}}}]}}")),
        "status.allocation.devices.results[0].request: Invalid value: \"x\": must be the name of a "
        "request in the claim or the name of a request and a subrequest separated by '/'\n"
        "status.allocation.devices.results[0].pool: Invalid value: \"P\": a lowercase RFC 1123 "
        "subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
        "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')\n"
        "status.allocation.devices.results[0].bindingFailureConditions: Invalid value: null: "
        "bindingFailureConditions are required to use bindingConditions\n"
        "status.allocation.devices.results[0].shareID: Invalid value: \"1\": error validating uid: "
        "invalid UUID length: 1\n"
        "status.allocation.devices.config[0].source: Unsupported value: \"X\": supported values: "
        "\"FromClaim\", \"FromClass\"");
}
END_TEST

#define SLICE(spec)                                                                                \
    "{'metadata':{'name':'s'},'spec':{'driver':'d','pool':{'name':'p','resourceSliceCount':1}"     \
    "," spec "}}"
#define DEVICE(more) SLICE("'allNodes':true,'devices':[{'name':'d'" more "}]")

START_TEST(device_slices)
{
    static const struct fixture_case slices[] = {
        {DEVICE(",'attributes':{'a':{'version':'1.2.3-rc.1+b.01'},'example.com/b':{'bool':false}}"),
         ""},
        {SLICE("'nodeName':'','allNodes':false"),
         "spec.nodeName: Invalid value: \"\": must be either unset or set to a non-empty string\n"
         "spec.allNodes: Invalid value: false: must be either unset or set to true\n"
         "spec: Required value: exactly one of `nodeName`, `nodeSelector`, `allNodes`, "
         "`perDeviceNodeSelection` is required"},
        {SLICE("'nodeName':'n','allNodes':true"),
         "spec: Invalid value: \"{`nodeName`, `allNodes`}\": exactly one of `nodeName`, "
         "`nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required, but multiple fields "
         "are "
         "set"},
        {DEVICE(",'attributes':{'a':{},'b':{'int':1,'bool':true},'c':{'version':'1.02.3'},'/d':{"
                "'string':'x'}},'nodeName':'n'"),
         "spec.devices[0].attributes: Invalid value: \"\": the domain must not be empty\n"
         "spec.devices[0].attributes[a]: Invalid value: \"\": exactly one value must be specified\n"
         "spec.devices[0].attributes[b]: Invalid value: "
         "{\"IntValue\":1,\"BoolValue\":true,\"StringValue\":null,\"VersionValue\":null,"
         "\"IntValues\":null,\"BoolValues\":null,\"StringValues\":null,\"VersionValues\":null}: "
         "exactly one value must be specified\n"
         "spec.devices[0].attributes[c].version: Invalid value: \"1.02.3\": must be a string "
         "compatible with semver.org spec 2.0.0\n"
         "spec.devices[0]: Invalid value: null: `nodeName`, `nodeSelector` and `allNodes` can only "
         "be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec"},
        {DEVICE(",'capacity':{'m':{'value':'4','requestPolicy':{'default':'1'}}}"),
         "spec.devices[0].capacity[m].requestPolicy: Forbidden: allowMultipleAllocations must be "
         "true"},
        {DEVICE(",'allowMultipleAllocations':true,'capacity':{'m':{'value':'4','requestPolicy':{"
                "'default':'3','validValues':['2','1','8']}},'n':{'value':'4','requestPolicy':{"
                "'default':'4','validRange':{'min':'1','step':'2'}}}}"),
         "spec.devices[0].capacity[m].requestPolicy.validValues[1]: Invalid value: \"1\": values "
         "must be sorted in ascending order\n"
         "spec.devices[0].capacity[m].requestPolicy.validValues[2]: Invalid value: \"8\": option "
         "is "
         "larger than capacity value: 4\n"
         "spec.devices[0].capacity[m].requestPolicy.validValues: Invalid value: \"3\": default "
         "value is not valid according to the requestPolicy\n"
         "spec.devices[0].capacity[n].requestPolicy.validRange.step: Invalid value: \"4\": value "
         "is "
         "not a multiple of a given step (2) from (1)"},
        {DEVICE(",'taints':[{'key':'k'}],'consumesCounters':[{}]"),
         "spec.devices[0].taints[0].effect: Required value\n"
         "spec.devices[0].consumesCounters[0].counterSet: Required value\n"
         "spec.devices[0].consumesCounters[0].counters: Required value"},
    };
    fixture_run(&kind_resourceslices, &resource_v1_resource_slice_msg, slices, ARRAY_SIZE(slices));
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = fixture_new(a, &kind_resourceslices, &resource_v1_resource_slice_msg);
    ck_assert_str_eq(
        fixture_update(&f, SLICE("'nodeName':'n'"),
                       "{'spec':{'driver':'e','pool':{'name':'q','resourceSliceCount':1},"
                       "'nodeName':'m'}}"),
        "spec.pool.name: Invalid value: \"q\": field is immutable\n"
        "spec.driver: Invalid value: \"e\": field is immutable\n"
        "spec.nodeName: Invalid value: \"m\": field is immutable");
}
END_TEST

#define VOLUME(more)                                                                               \
    "{'metadata':{'name':'v'},'spec':{'accessModes':['ReadWriteOnce'],'capacity':{'storage':'1'"   \
    "}" more "}}"
#define AFFINITY(key)                                                                              \
    ",'hostPath':{'path':'/x'},'nodeAffinity':{'required':{'nodeSelectorTerms':[{"                 \
    "'matchExpressions':[{'key':'" key "','operator':'Exists'}]}]}}"
#define PVC(meta, spec, status)                                                                    \
    "{'metadata':{'name':'c'" meta "},'spec':{'accessModes':['ReadWriteOnce'],'resources':{"       \
    "'requests':{'storage':'1'}}" spec "},'status':{" status "}}"

START_TEST(volumes_and_claims)
{
    static const struct fixture_case volumes[] = {
        {VOLUME(",'local':{'path':'/x'}"),
         "spec.nodeAffinity: Required value: Local volume requires node affinity"},
        {"{'metadata':{'name':'v'},'spec':{'accessModes':['ReadWriteOncePod','Odd'],'capacity':{"
         "'cpu':'1'},'hostPath':{'path':'/x'}}}",
         "spec.accessModes: Unsupported value: \"Odd\": supported values: \"ReadOnlyMany\", "
         "\"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"\n"
         "spec.capacity: Unsupported value: {\"cpu\":\"1\"}: supported values: \"storage\""},
    };
    fixture_run(&kind_persistentvolumes, &core_v1_persistent_volume_msg, volumes,
                ARRAY_SIZE(volumes));
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = fixture_new(a, &kind_persistentvolumes, &core_v1_persistent_volume_msg);
    ck_assert_str_eq(fixture_update(&f, VOLUME(AFFINITY("failure-domain.beta.kubernetes.io/zone")),
                                    VOLUME(AFFINITY("topology.kubernetes.io/zone"))),
                     "");
    ck_assert_str_eq(
        fixture_update(&f, VOLUME(AFFINITY("a")), VOLUME(",'hostPath':{'path':'/x'}")),
        "nodeAffinity: Invalid value: null: field is immutable, except for updating from beta "
        "label to GA");
    f = fixture_new(a, &kind_persistentvolumeclaims, &core_v1_persistent_volume_claim_msg);
    ck_assert_str_eq(
        fixture_update(&f,
                       PVC("", ",'volumeAttributesClassName':'a'",
                           "'phase':'Bound','currentVolumeAttributesClassName':'a'"),
                       PVC("", ",'volumeAttributesClassName':''", "'phase':'Bound'")),
        "spec.volumeAttributesClassName: Forbidden: update to empty string is forbidden when "
        "status.currentVolumeAttributesClassName is not nil");
#define WRITTEN ",'annotations':{'volume.beta.kubernetes.io/storage-class':'x'}"
    ck_assert_str_eq(
        fixture_update(&f, PVC(WRITTEN, "", ""), PVC("", ",'storageClassName':'x'", "")), "");
    ck_assert_str_eq(fixture_update(&f, PVC("", "", ""), PVC(WRITTEN, "", "")),
                     "metadata.annotations.volume.beta.kubernetes.io/storage-class: Invalid value: "
                     "\"x\": field is immutable");
    ck_assert_str_eq(
        fixture_sub(&f, "status", PVC("", "", ""),
                    PVC("", "",
                        "'allocatedResources':{'cpu':'1','storage':'-1'},"
                        "'allocatedResourceStatuses':{'storage':'Odd'}")),
        "status.allocatedResourceStatuses: Unsupported value: \"storage\": supported values: "
        "\"ControllerResizeInProgress\", \"ControllerResizeInfeasible\", "
        "\"NodeResizeInProgress\", \"NodeResizeInfeasible\", \"NodeResizePending\"\n"
        "status.allocatedResources: Unsupported value: \"cpu\": supported values: \"storage\"\n"
        "status.allocatedResources[storage]: Invalid value: -1: must be a valid resource "
        "quantity");
}
END_TEST

START_TEST(revisions)
{
    static const struct fixture_case cases[] = {
        {"{'revision':1,'data':[]}", "data: Required value: data must be a valid JSON object"},
        {"{'revision':-1,'data':null}",
         "revision: Invalid value: -1: must be greater than or equal to 0\n"
         "data: Required value: data is mandatory"},
    };
    fixture_run(&kind_controllerrevisions, &apps_v1_controller_revision_msg, cases,
                ARRAY_SIZE(cases));
}
END_TEST

UNIT_MAIN("kinds_rules", {
    UNIT_TEST(secrets);
    UNIT_TEST(events);
    UNIT_TEST(strict_events);
    UNIT_TEST(signing_requests);
    UNIT_TEST(storage_kinds);
    UNIT_TEST(admission_kinds);
    UNIT_TEST(flow_kinds);
    UNIT_TEST(limits_and_quotas);
    UNIT_TEST(device_claims);
    UNIT_TEST(device_slices);
    UNIT_TEST(volumes_and_claims);
    UNIT_TEST(revisions);
})
