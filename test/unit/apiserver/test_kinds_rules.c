/* test_kinds_rules.c - secrets, events, signing requests, storage classes and
 * drivers: what is refused, in which order, and what is warned of. */
#include "apiserver/kinds/kinds.h"

#include "api/admissionregistration_v1.h"
#include "api/certificates_v1.h"
#include "api/core_v1.h"
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

static const char *sub_update(struct fixture *f, const char *sub, const char *before,
                              const char *after)
{
    void *old = fixture_object(f, before), *obj = fixture_object(f, after);
    f->ctx.subresource = sub;
    for (const struct kind_sub *s = f->ops->subs; s->name != NULL; s++)
        if (strcmp(s->name, sub) == 0) {
            if (s->prepare_update != NULL)
                s->prepare_update(&f->ctx, obj, old);
            s->validate_update(&f->ctx, obj, old, &f->errs);
        }
    return fixture_causes(f);
}

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
        sub_update(&f, "approval", CONDITIONS(""), CONDITIONS(CONDITION("Approved", "True"))), "");
    ck_assert_str_eq(
        sub_update(&f, "approval", CONDITIONS(CONDITION("Approved", "True")),
                   CONDITIONS(CONDITION("Denied", "False") "," CONDITION("Denied", ""))),
        "status.conditions[0].status: Unsupported value: \"False\": supported values: \"True\"\n"
        "status.conditions[1].status: Required value\n"
        "status.conditions[1].type: Duplicate value: \"Denied\"\n"
        "status.conditions: Forbidden: updates may not remove a condition of type \"Approved\"");
    ck_assert_str_eq(
        sub_update(&f, "approval", CONDITIONS(""),
                   CONDITIONS(CONDITION("Approved", "True") "," CONDITION("Denied", "True"))),
        "status.conditions: Invalid value: \"Denied\": Approved and Denied conditions "
        "are mutually exclusive");
    ck_assert_str_eq(
        sub_update(&f, "status", CONDITIONS(""), CONDITIONS(CONDITION("Approved", "True"))),
        "status.conditions: Forbidden: updates may not add a condition of type "
        "\"Approved\"");
    ck_assert_str_eq(sub_update(&f, "status", "{'status':{}}", "{'status':{'certificate':'eA=='}}"),
                     "status.certificate: Invalid value: \"<certificate data>\": must contain at "
                     "least one CERTIFICATE PEM block");
    ck_assert_str_eq(sub_update(&f, "status", "{'status':{'certificate':'" CERT "'}}",
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
        sub_update(&f, "status", "{}",
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

UNIT_MAIN("kinds_rules", {
    UNIT_TEST(secrets);
    UNIT_TEST(events);
    UNIT_TEST(strict_events);
    UNIT_TEST(signing_requests);
    UNIT_TEST(storage_kinds);
    UNIT_TEST(admission_kinds);
})
