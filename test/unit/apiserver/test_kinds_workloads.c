/* test_kinds_workloads.c - controllers of pods: defaults, rules, updates. */
#include "apiserver/kinds/kinds.h"

#include "api/apps_v1.h"
#include "api/batch_v1.h"
#include "apiserver/kinds/job_spec.h"
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
}
END_TEST

UNIT_MAIN("kinds_workloads", {
    UNIT_TEST(defaults);
    UNIT_TEST(job_selector);
    UNIT_TEST(sets);
    UNIT_TEST(jobs);
    UNIT_TEST(cron_jobs);
})
