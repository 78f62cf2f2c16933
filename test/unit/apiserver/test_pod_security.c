/* test_pod_security.c - the Pod Security Standards, pod by pod: levels, versions
 * and upstream's words. */
#include "apiserver/admission/pod_security_check.h"

#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "test/unit/unit.h"

/* Single quotes stand for double ones. */
static struct core_v1_pod *pod_of(struct arena *a, const char *text)
{
    struct str json = arena_strc(a, text);
    struct error err = {0};
    for (size_t i = 0; i < json.len; i++)
        if (json.data[i] == '\'')
            ((char *)(uintptr_t)json.data)[i] = '"';
    struct core_v1_pod *pod = api_msg_new(a, &core_v1_pod_msg);
    if (api_json_decode(a, &core_v1_pod_msg, json, API_STRICT, NULL, pod, &err) != 0)
        ck_abort_msg("%s: %s", text, error_message(&err));
    return pod;
}

static const char *judged(struct arena *a, const char *policy, const char *text)
{
    struct str level, version;
    struct ps_policy p;
    struct ps_result r;
    const struct core_v1_pod *pod = pod_of(a, text);
    ck_assert(str_cut(str_of(policy), ':', &level, &version));
    ck_assert(ps_level_parse(level, &p.level) && ps_version_parse(version, &p.minor));
    ps_evaluate(a, p, &pod->metadata, &pod->spec, &r);
    return str_c(ps_details(a, &r));
}

#define JUDGED(policy, text, want)                                                                 \
    do {                                                                                           \
        AUTO_ARENA *a = arena_new(0);                                                              \
        ck_assert_str_eq(judged(a, policy, text), want);                                           \
    } while (0)

/* Levels are three names, versions latest or v1.N without leading zeros. */
START_TEST(levels_and_versions)
{
    enum ps_level level;
    int32_t minor;
    ck_assert(ps_level_parse(STR("baseline"), &level) && level == PS_BASELINE);
    ck_assert(!ps_level_parse(STR("Baseline"), &level) && level == PS_RESTRICTED);
    ck_assert(ps_version_parse(STR("v1.0"), &minor) && minor == 0);
    ck_assert(ps_version_parse(STR("v1.99"), &minor) && minor == 99);
    ck_assert(ps_version_parse(STR("latest"), &minor) && minor == PS_LATEST);
    const char *bad[] = {"", "v1.", "v1.01", "v2.1", "1.20", "v1.-1", "v1.99999999999", "V1.1"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        ck_assert_msg(!ps_version_parse(str_of(bad[i]), &minor) && minor == PS_LATEST, "%s",
                      bad[i]);
}
END_TEST

/* Privileged allows all. */
START_TEST(privileged)
{
    JUDGED("privileged:latest", "{'spec':{'hostPID':true,'hostNetwork':true}}", "");
}
END_TEST

/* Each baseline check, in the order of reporting. */
START_TEST(baseline)
{
    JUDGED(
        "baseline:latest",
        "{'spec':{'hostPID':true,'hostIPC':true,'volumes':[{'name':'a','hostPath':{'path':'/'}},"
        "{'name':'b','hostPath':{'path':'/'}}],'securityContext':{'sysctls':[{'name':'x','value':"
        "'1'},{'name':'net.ipv4.tcp_rmem','value':'1'}],'seccompProfile':{'type':'Unconfined'},"
        "'windowsOptions':{'hostProcess':true}},'containers':[{'name':'c','ports':[{'hostPort':80,"
        "'containerPort':1},{'hostPort':443,'containerPort':2}],'securityContext':{'privileged':"
        "true,'capabilities':{'add':['NET_RAW','CHOWN','SYS_ADMIN']},'procMount':'Unmasked',"
        "'seLinuxOptions':{'type':'x','user':'u'}}},{'name':'d','securityContext':{'privileged':"
        "true},'livenessProbe':{'httpGet':{'host':'h','port':1}}}]}}",
        "non-default capabilities (container \"c\" must not include \"NET_RAW\", \"SYS_ADMIN\" in "
        "securityContext.capabilities.add), host namespaces (hostIPC, hostPID), hostPath volumes "
        "(volumes \"a\", \"b\"), hostPort (container \"c\" uses hostPorts 443, 80), probe or "
        "lifecycle host (container \"d\" uses probe or lifecycle host \"h\"), privileged "
        "(containers \"c\", \"d\" must not set securityContext.privileged=true), procMount "
        "(container \"c\" must not set securityContext.procMount to \"Unmasked\"), seLinuxOptions "
        "(container \"c\" set forbidden securityContext.seLinuxOptions: type \"x\"; user may not "
        "be "
        "set), seccompProfile (pod must not set securityContext.seccompProfile.type to "
        "\"Unconfined\"), forbidden sysctls (x), hostProcess (pod must not set "
        "securityContext.windowsOptions.hostProcess=true)");
}
END_TEST

/* What later versions forbid or allow, earlier ones do not. */
START_TEST(versions)
{
    const char *probe =
        "{'spec':{'containers':[{'name':'c','readinessProbe':{'tcpSocket':{'host':'h',"
        "'port':1}}}]}}";
    JUDGED("baseline:v1.33", probe, "");
    JUDGED("baseline:v1.34", probe,
           "probe or lifecycle host (container \"c\" uses probe or lifecycle host \"h\")");
    const char *sysctl =
        "{'spec':{'securityContext':{'sysctls':[{'name':'net.ipv4.tcp_fin_timeout',"
        "'value':'1'}]}}}";
    JUDGED("baseline:v1.28", sysctl, "forbidden sysctls (net.ipv4.tcp_fin_timeout)");
    JUDGED("baseline:v1.29", sysctl, "");
    const char *engine =
        "{'spec':{'securityContext':{'seLinuxOptions':{'type':'container_engine_t'}}}}";
    JUDGED("baseline:v1.30", engine,
           "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "
           "\"container_engine_t\")");
    JUDGED("baseline:latest", engine, "");
    const char *old = "{'metadata':{'annotations':{'seccomp.security.alpha.kubernetes.io/pod':"
                      "'unconfined'}},'spec':{'containers':[{'name':'c'}]}}";
    JUDGED("baseline:v1.18", old,
           "seccompProfile (forbidden annotation "
           "seccomp.security.alpha.kubernetes.io/pod=\"unconfined\")");
    JUDGED("baseline:v1.19", old, "");
    const char *users = "{'spec':{'hostUsers':false,'containers':[{'name':'c','securityContext':"
                        "{'procMount':'Unmasked'}}]}}";
    JUDGED("baseline:v1.34", users,
           "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")");
    JUDGED("baseline:v1.35", users, "");
}
END_TEST

/* Restricted demands settings, of the pod or of each container. */
START_TEST(restricted)
{
    JUDGED(
        "restricted:v1.7", "{'spec':{'containers':[{'name':'c'}]}}",
        "runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true)");
    JUDGED("restricted:latest",
           "{'spec':{'securityContext':{'runAsNonRoot':true,'seccompProfile':{'type':'Localhost',"
           "'localhostProfile':'p'}},'initContainers':[{'name':'i','securityContext':"
           "{'allowPrivilegeEscalation':false,'capabilities':{'drop':['ALL'],'add':"
           "['NET_BIND_SERVICE']}}}],'containers':[{'name':'c','securityContext':"
           "{'allowPrivilegeEscalation':false,'capabilities':{'drop':['ALL']}}}]}}",
           "");
    JUDGED("restricted:latest",
           "{'spec':{'securityContext':{'runAsUser':0,'runAsNonRoot':false},'volumes':[{'name':'v',"
           "'nfs':{'server':'s','path':'/'}},{'name':'w','hostPath':{'path':'/'}}],'containers':"
           "[{'name':'c','securityContext':{'allowPrivilegeEscalation':false,'runAsNonRoot':true,"
           "'seccompProfile':{'type':'RuntimeDefault'},'capabilities':{'drop':['ALL'],'add':"
           "['CHOWN']}}}]}}",
           "unrestricted capabilities (container \"c\" must not include \"CHOWN\" in "
           "securityContext.capabilities.add), restricted volume types (volumes \"v\", \"w\" use "
           "restricted volume types \"hostPath\", \"nfs\"), runAsNonRoot != true (pod must not set "
           "securityContext.runAsNonRoot=false), runAsUser=0 (pod must not set runAsUser=0)");
}
END_TEST

/* Windows has no such settings; users of their own need no more. */
START_TEST(exceptions)
{
    JUDGED("restricted:latest",
           "{'spec':{'os':{'name':'windows'},'securityContext':{'runAsNonRoot':true},"
           "'containers':[{'name':'c'}]}}",
           "");
    JUDGED("restricted:v1.35",
           "{'spec':{'hostUsers':false,'securityContext':{'runAsUser':0,'seccompProfile':"
           "{'type':'RuntimeDefault'}},'containers':[{'name':'c','securityContext':"
           "{'allowPrivilegeEscalation':false,'procMount':'Unmasked','capabilities':{'drop':['ALL']"
           "}}}]}}",
           "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")");
}
END_TEST

/* AppArmor profiles are fields and, from before, annotations. */
START_TEST(app_armor)
{
    JUDGED(
        "baseline:latest",
        "{'metadata':{'annotations':{'container.apparmor.security.beta.kubernetes.io/c':"
        "'unconfined','container.apparmor.security.beta.kubernetes.io/d':'runtime/default'}},"
        "'spec':{'containers':[{'name':'c','securityContext':{'appArmorProfile':{'type':"
        "'Unconfined'}}}]}}",
        "forbidden AppArmor profiles (container \"c\" and annotation must not set AppArmor profile "
        "type to \"Unconfined\", "
        "\"container.apparmor.security.beta.kubernetes.io/c=\"unconfined\"\")");
}
END_TEST

UNIT_MAIN("pod_security", {
    UNIT_TEST(levels_and_versions);
    UNIT_TEST(privileged);
    UNIT_TEST(baseline);
    UNIT_TEST(versions);
    UNIT_TEST(restricted);
    UNIT_TEST(exceptions);
    UNIT_TEST(app_armor);
})
