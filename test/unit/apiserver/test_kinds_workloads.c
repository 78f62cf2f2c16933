/* test_kinds_workloads.c - controllers of pods: defaults, rules, updates. */
#include "apiserver/kinds/kinds.h"

#include "api/apps_v1.h"
#include "api/batch_v1.h"
#include "apiserver/kinds/job_indexes.h"
#include "apiserver/kinds/job_spec.h"
#include "apiserver/kinds/job_status.h"
#include "test/unit/apiserver/kinds_fixture.h"

#define TEMPLATE                                                                                   \
    "'template':{'metadata':{'labels':{'a':'b'}},'spec':{'containers':[{'name':'c','image':'x'}]}" \
    "}"
#define SELECTED "'selector':{'matchLabels':{'a':'b'}}," TEMPLATE
#define WORKLOAD(fields) "{'metadata':{'name':'w'},'spec':{" SELECTED fields "}}"
#define ENDING                                                                                     \
    "'template':{'spec':{'restartPolicy':'Never','containers':[{'name':'c','image':'x'}]}}"
#define JOB(fields) "{'metadata':{'name':'j','uid':'u'},'spec':{" ENDING fields "}}"
#define CRON(schedule, fields)                                                                     \
    "{'metadata':{'name':'c'},'spec':{'schedule':'" schedule "','jobTemplate':{'spec':{" ENDING    \
    "}}" fields "}}"

/* Numbers, strategies and policies that are usual. */
START_TEST(defaults)
{
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = fixture_new(a, &kind_statefulsets, &apps_v1_stateful_set_msg);
    void *s = fixture_object(&f, WORKLOAD(""));
    ck_assert_str_eq(fixture_part(&f, s, "spec.replicas"), "1");
    ck_assert_str_eq(fixture_part(&f, s, "spec.podManagementPolicy"), "'OrderedReady'");
    ck_assert_str_eq(fixture_part(&f, s, "spec.updateStrategy"),
                     "{'type':'RollingUpdate','rollingUpdate':{'partition':0}}");
    f = fixture_new(a, &kind_daemonsets, &apps_v1_daemon_set_msg);
    s = fixture_object(&f, WORKLOAD(""));
    ck_assert_str_eq(fixture_part(&f, s, "spec.updateStrategy"),
                     "{'type':'RollingUpdate','rollingUpdate':{'maxUnavailable':1,'maxSurge':0}}");
    f = fixture_new(a, &kind_jobs, &batch_v1_job_msg);
    s = fixture_object(&f, JOB(",'parallelism':5"));
    ck_assert_str_eq(fixture_part(&f, s, "spec.completions"), "absent");
    ck_assert_str_eq(fixture_part(&f, s, "spec.backoffLimit"), "6");
    ck_assert_str_eq(fixture_part(&f, s, "spec.podReplacementPolicy"), "'TerminatingOrFailed'");
}
END_TEST

/* A job's selector and labels are made from its uid, in the object and its template. */
START_TEST(job_selector)
{
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = fixture_new(a, &kind_jobs, &batch_v1_job_msg);
    void *j = fixture_object(&f, JOB(""));
    kind_jobs.prepare_create(&f.ctx, j);
    static const char labels[] =
        "{'batch.kubernetes.io/controller-uid':'u','batch.kubernetes.io/job-name':'j',"
        "'controller-uid':'u','job-name':'j'}";
    ck_assert_str_eq(fixture_part(&f, j, "metadata.labels"), labels);
    ck_assert_str_eq(fixture_part(&f, j, "spec.template.metadata.labels"), labels);
    ck_assert_str_eq(fixture_part(&f, j, "spec.selector"),
                     "{'matchLabels':{'batch.kubernetes.io/controller-uid':'u'}}");
}
END_TEST

START_TEST(sets)
{
    static const struct fixture_case stateful[] = {
        {WORKLOAD(""), ""},
        {WORKLOAD(",'podManagementPolicy':'Random'"),
         "spec.podManagementPolicy: Invalid value: \"Random\": must be 'OrderedReady' or "
         "'Parallel'"},
        {WORKLOAD(",'updateStrategy':{'type':'OnDelete','rollingUpdate':{'partition':1}}"),
         "spec.updateStrategy.rollingUpdate: Invalid value: "
         "{\"Partition\":1,\"MaxUnavailable\":null}: only allowed for "
         "updateStrategy 'RollingUpdate'"},
        {WORKLOAD(",'ordinals':{'start':-1}"),
         "spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0"},
    };
    static const struct fixture_case daemon[] = {
        {WORKLOAD(",'updateStrategy':{'rollingUpdate':{'maxSurge':1,'maxUnavailable':1}}"),
         "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when "
         "maxUnavailable is non-zero"},
        {"{'spec':{'selector':{}," TEMPLATE "}}",
         "spec.selector: Invalid value: {}: empty selector is invalid for daemonset"},
    };
    fixture_run(&kind_statefulsets, &apps_v1_stateful_set_msg, stateful, ARRAY_SIZE(stateful));
    fixture_run(&kind_daemonsets, &apps_v1_daemon_set_msg, daemon, ARRAY_SIZE(daemon));
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = fixture_new(a, &kind_statefulsets, &apps_v1_stateful_set_msg);
    ck_assert_str_eq(
        fixture_update(&f, WORKLOAD(""), WORKLOAD(",'replicas':3,'minReadySeconds':2")), "");
    ck_assert_str_eq(fixture_update(&f, WORKLOAD(""), WORKLOAD(",'serviceName':'s'")),
                     "spec: Forbidden: updates to statefulset spec for fields other than "
                     "'replicas', 'ordinals', "
                     "'template', 'updateStrategy', 'revisionHistoryLimit', "
                     "'persistentVolumeClaimRetentionPolicy' and "
                     "'minReadySeconds' are forbidden");
}
END_TEST

START_TEST(jobs)
{
    static const struct fixture_case cases[] = {
        {JOB(""), ""},
        {JOB(",'completionMode':'Indexed','parallelism':200000"),
         "spec.completions: Required value: when completion mode is Indexed\nspec.parallelism: "
         "Invalid value: 200000: "
         "must be less than or equal to 100000 when completion mode is Indexed"},
        {JOB(",'managedBy':'x'"), "spec.managedBy: Invalid value: \"x\": must be a domain-prefixed "
                                  "path (such as \"acme.io/foo\")"},
        {JOB(",'backoffLimitPerIndex':1"),
         "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"},
        {"{'metadata':{'name':'j','uid':'u'},'spec':{" TEMPLATE "}}",
         "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", "
         "\"Never\""},
    };
    fixture_run(&kind_jobs, &batch_v1_job_msg, cases, ARRAY_SIZE(cases));
}
END_TEST

#define POLICY(rules)                                                                              \
    JOB(",'completionMode':'Indexed','completions':3,'podFailurePolicy':{'rules':[" rules "]}")

START_TEST(job_policies)
{
    static const struct fixture_case cases[] = {
        {POLICY("{'action':'Ignore','onPodConditions':[{'type':'DisruptionTarget'}]}"), ""},
        {POLICY("{'action':'FailIndex','onExitCodes':{'operator':'In','values':[0,3,2,3]}},{}"),
         "spec.podFailurePolicy.rules[0].action: Invalid value: \"FailIndex\": requires the "
         "backoffLimitPerIndex to be set\n"
         "spec.podFailurePolicy.rules[0].onExitCodes.values[0]: Invalid value: 0: must not be 0 "
         "for the In operator\n"
         "spec.podFailurePolicy.rules[0].onExitCodes.values[3]: Duplicate value: 3\n"
         "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [0,3,2,3]: must be "
         "ordered\n"
         "spec.podFailurePolicy.rules[1].action: Required value: valid values: [\"Count\" "
         "\"FailIndex\" \"FailJob\" \"Ignore\"]\n"
         "spec.podFailurePolicy.rules[1]: Invalid value: specifying one of OnExitCodes and "
         "OnPodConditions is required"},
        {POLICY("{'action':'Count','onExitCodes':{'containerName':'z'},'onPodConditions':[{"
                "'type':'A','status':'Maybe'}]}"),
         "spec.podFailurePolicy.rules[0].onExitCodes.operator: Required value: valid values: "
         "[\"In\" \"NotIn\"]\n"
         "spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: \"z\": must be "
         "one of the container or initContainer names in the pod template\n"
         "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: null: at least one "
         "value is required\n"
         "spec.podFailurePolicy.rules[0].onPodConditions[0].status: Unsupported value: \"Maybe\": "
         "supported values: \"False\", \"True\", \"Unknown\"\n"
         "spec.podFailurePolicy.rules[0]: Invalid value: specifying both OnExitCodes and "
         "OnPodConditions is not supported"},
        {JOB(",'completionMode':'Indexed','completions':3,'successPolicy':{'rules':[{},{"
             "'succeededCount':4},{'succeededIndexes':'0-1','succeededCount':3},{"
             "'succeededIndexes':'3'}]}"),
         "spec.successPolicy.rules[0]: Required value: at least one of succeededCount or "
         "succeededIndexes must be specified\n"
         "spec.successPolicy.rules[1].succeededCount: Invalid value: 4: must be less than or equal "
         "to 3 (the number of specified completions)\n"
         "spec.successPolicy.rules[2].succeededCount: Invalid value: 3: must be less than or equal "
         "to 2 (the number of indexes in the specified succeededIndexes field)\n"
         "spec.successPolicy.rules[3].succeededIndexes: Invalid value: \"3\": error parsing "
         "succeededIndexes: too large index: \"3\""},
        /* Labels of the user's are not written over. */
        {"{'metadata':{'name':'j','uid':'u'},'spec':{'template':{'metadata':{'labels':{"
         "'job-name':'x'}},'spec':{'restartPolicy':'Never','containers':[{'name':'c','image':'x'}]"
         "}}}}",
         "spec.template.metadata.labels[job-name]: Invalid value: "
         "{\"batch.kubernetes.io/controller-uid\":\"u\",\"batch.kubernetes.io/job-name\":\"j\","
         "\"controller-uid\":\"u\",\"job-name\":\"x\"}: must be 'j'"},
        {JOB(",'selector':{'matchLabels':{'job-name':'j'}}"), ""},
        {JOB(",'selector':{'matchLabels':{'a':'b'}}"),
         "spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\","
         "\"batch.kubernetes.io/controller-uid\":\"u\"}}: `selector` not auto-generated\n"
         "spec.template.metadata.labels: Invalid value: "
         "{\"batch.kubernetes.io/controller-uid\":\"u\",\"batch.kubernetes.io/job-name\":\"j\","
         "\"controller-uid\":\"u\",\"job-name\":\"j\"}: `selector` does not match template "
         "`labels`"},
    };
    fixture_run(&kind_jobs, &batch_v1_job_msg, cases, ARRAY_SIZE(cases));
}
END_TEST

#define MANUAL(labels, pod, fields)                                                                \
    "{'metadata':{'name':'j','uid':'u'},'spec':{'manualSelector':true,'selector':{'matchLabels':{" \
    "'a':'b'}},'template':{'metadata':{'labels':{'a':'b'" labels "}},'spec':{'restartPolicy':"     \
    "'Never','containers':[{'name':'c','image':'x'" pod "}}" fields "}}"
#define RUNNING(fields) MANUAL("", "}]", fields)
#define AT_REST(labels, pod) MANUAL(labels, pod, ",'suspend':true")

static void assert_starts(const char *text, const char *with)
{
    ck_assert_msg(strncmp(text, with, strlen(with)) == 0, "%s", text);
    ck_assert_ptr_nonnull(strstr(text, "}: field is immutable"));
}

/* The template is fixed, but for where pods run and what they ask for while none does. */
START_TEST(job_updates)
{
    static const struct {
        const char *before, *after, *causes;
    } cases[] = {
        {RUNNING(""), RUNNING(",'completions':1,'parallelism':3,'suspend':true"), ""},
        {RUNNING(""), RUNNING(",'completions':2"),
         "spec.completions: Invalid value: 2: field is immutable"},
        {RUNNING(",'completionMode':'Indexed','completions':2,'parallelism':2"),
         RUNNING(",'completionMode':'Indexed','completions':3,'parallelism':3"), ""},
        {RUNNING(",'completionMode':'Indexed','completions':2,'parallelism':2"),
         RUNNING(",'completionMode':'Indexed','completions':3,'parallelism':2"),
         "spec.completions: Invalid value: 3: can only be modified in tandem with "
         "spec.parallelism"},
        {RUNNING(",'managedBy':'a.b/c'"), RUNNING(""),
         "spec.managedBy: Invalid value: null: field is immutable"},
        {RUNNING(",'completionMode':'Indexed','completions':2,'backoffLimitPerIndex':1"),
         RUNNING(",'completionMode':'Indexed','completions':2,'backoffLimit':2147483647"),
         "spec.backoffLimitPerIndex: Invalid value: null: field is immutable"},
        {AT_REST("", "}]"), AT_REST(",'x':'y'", ",'resources':{'limits':{'cpu':'1'}}}]"), ""},
        {AT_REST("", "}]"),
         AT_REST("", "}],'nodeSelector':{'n':'1'},'tolerations':[{'operator':'Exists'}],"
                     "'schedulingGates':[{'name':'g'}],'affinity':{'nodeAffinity':{}}"),
         ""},
        {AT_REST("", "}],'affinity':{'nodeAffinity':{}}"), AT_REST("", "}]"), ""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_ARENA *a = arena_new(0);
        struct fixture f = fixture_new(a, &kind_jobs, &batch_v1_job_msg);
        ck_assert_str_eq(fixture_update(&f, cases[i].before, cases[i].after), cases[i].causes);
    }
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = fixture_new(a, &kind_jobs, &batch_v1_job_msg);
    assert_starts(
        fixture_update(&f, AT_REST("", "}]"), AT_REST("", "}],'affinity':{'podAffinity':{}}")),
        "spec.template.spec: Invalid value: {\"Volumes\":null,\"InitContainers\":null,"
        "\"Containers\":[{\"Name\":\"c\",");
    assert_starts(fixture_update(&f, RUNNING(""), MANUAL(",'x':'y'", "}]", "")),
                  "spec.template: Invalid value: {\"labels\":{\"a\":\"b\",\"x\":\"y\"},\"Spec\":{"
                  "\"Volumes\":null,");
}
END_TEST

/* Indexes are numbers and ranges that go up. */
START_TEST(job_indexes)
{
    static const struct {
        const char *list;
        int total;
        const char *fault;
    } cases[] = {
        {"", 0, ""},
        {"0,2-4", 4, ""},
        {"a", 0, "cannot convert string to integer for index: \"a\""},
        {"1-2-3", 0,
         "the fragment \"1-2-3\" violates the requirement that an index interval can have at most "
         "two parts separated by '-'"},
        {"3-1", 0, "non-increasing order, previous: 3, current: 1"},
        {"1-3,3", 0, "non-increasing order, previous: 3, current: 3"},
        {"1,7", 0, "too large index: \"7\""},
        {"1,", 0, "cannot convert string to integer for index: \"\""},
    };
    AUTO_ARENA *a = arena_new(0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int32_t total;
        struct str why = job_indexes_fault(a, str_of(cases[i].list), 5, &total);
        ck_assert_str_eq(str_c(arena_str(a, why)), cases[i].fault);
        ck_assert_int_eq(total, cases[i].total);
    }
}
END_TEST

#define JOB_STATUS(status) "{'metadata':{'name':'j'},'spec':{" ENDING "},'status':{" status "}}"

/* A finished Job has all that belongs to its end, and stays finished. */
START_TEST(job_status)
{
    static const struct {
        const char *before, *after, *causes;
    } cases[] = {
        {JOB_STATUS(""), JOB_STATUS("'active':1"), ""},
        {JOB_STATUS(""), JOB_STATUS("'active':1,'ready':2"),
         "status.ready: Invalid value: 2: cannot set more ready pods than active"},
        {JOB_STATUS("'failed':2"), JOB_STATUS("'failed':1"),
         "status.failed: Invalid value: 1: cannot decrease the failed counter"},
        {JOB_STATUS(""), JOB_STATUS("'conditions':[{'type':'Complete','status':'True'}]"),
         "status.completionTime: Required value: completionTime is required for Complete "
         "jobs\nstatus.conditions: Invalid value: cannot set Complete=True condition without the "
         "SuccessCriteriaMet=true condition\nstatus.startTime: Required value: startTime is "
         "required for finished job"},
        {JOB_STATUS("'startTime':'2024-01-01T00:00:00Z'"),
         JOB_STATUS(
             "'startTime':'2024-01-01T00:00:00Z','completionTime':'2024-01-01T00:00:05Z',"
             "'conditions':[{'type':'SuccessCriteriaMet','status':'True'},{'type':'Complete',"
             "'status':'True'}]"),
         ""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_ARENA *a = arena_new(0);
        struct fixture f = fixture_new(a, &kind_jobs, &batch_v1_job_msg);
        void *old = fixture_object(&f, cases[i].before), *obj = fixture_object(&f, cases[i].after);
        job_status_check(obj, old, &f.errs);
        ck_assert_str_eq(fixture_causes(&f), cases[i].causes);
    }
}
END_TEST

START_TEST(cron_jobs)
{
    static const struct fixture_case cases[] = {
        {CRON("* * * * *", ""), ""},
        {CRON("", ""), "spec.schedule: Required value"},
        {CRON("TZ=UTC 0 * * * *", ""),
         "spec.schedule: Invalid value: \"TZ=UTC 0 * * * *\": cannot use TZ or CRON_TZ in "
         "schedule, use timeZone field instead"},
        {CRON("0 * * * *", ",'timeZone':''"),
         "spec.timeZone: Invalid value: \"\": timeZone must be nil or non-empty string"},
        {CRON("0 * * * *", ",'timeZone':'../etc/passwd'"),
         "spec.timeZone: Invalid value: \"../etc/passwd\": unknown time zone ../etc/passwd"},
    };
    fixture_run(&kind_cronjobs, &batch_v1_cron_job_msg, cases, ARRAY_SIZE(cases));
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = fixture_new(a, &kind_cronjobs, &batch_v1_cron_job_msg);
    ck_assert_str_eq(
        fixture_create(&f, "{'metadata':{'name':'c'},'spec':{'schedule':'@daily','jobTemplate':{"
                           "'spec':{'manualSelector':true,'selector':{}," ENDING "}}}}"),
        "spec.jobTemplate.spec.selector: Invalid value: {}: `selector` will be auto-generated\n"
        "spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: \"nil\", "
        "\"false\"");
    /* A zone that stands there may have gone from the system's list. */
    ck_assert_str_eq(fixture_update(&f, CRON("0 * * * *", ",'timeZone':'A/B'"),
                                    CRON("1 * * * *", ",'timeZone':'A/B'")),
                     "");
    ck_assert_str_eq(fixture_update(&f, CRON("TZ=UTC 0 * * * *", ""),
                                    CRON("TZ=UTC 0 * * * *", ",'timeZone':'UTC'")),
                     "spec.schedule: Invalid value: \"TZ=UTC 0 * * * *\": cannot use both timeZone "
                     "field and TZ or CRON_TZ in schedule");
    const void *c = fixture_object(
        &f, "{'spec':{'schedule':'@daily','jobTemplate':{'spec':{'podFailurePolicy':{'rules':[{"
            "'action':'Count','onPodConditions':[{'type':'A'}]}]}," ENDING "}}}}");
    ck_assert_str_eq(
        fixture_part(&f, c, "spec.jobTemplate.spec.podFailurePolicy.rules.0.onPodConditions"),
        "[{'type':'A','status':'True'}]");
}
END_TEST

UNIT_MAIN("kinds_workloads", {
    UNIT_TEST(defaults);
    UNIT_TEST(job_selector);
    UNIT_TEST(sets);
    UNIT_TEST(jobs);
    UNIT_TEST(job_policies);
    UNIT_TEST(job_updates);
    UNIT_TEST(job_indexes);
    UNIT_TEST(job_status);
    UNIT_TEST(cron_jobs);
})
