/* test_job_plan.c - what a Job does next, and that each end counts once. */
#include "controllers/job_plan.h"

#include "api/batch_v1.h"
#include "api/core_v1.h"
#include "test/unit/controllers/objects.h"

#define JOB(spec, status)                                                                          \
    "{\"metadata\":{\"name\":\"j\"},\"spec\":{" spec "},\"status\":{" status "}}"
#define POD(uid, phase, extra)                                                                     \
    "{\"metadata\":{\"name\":\"p" uid "\",\"namespace\":\"n\",\"uid\":\"" uid                      \
    "\",\"finalizers\":[\"batch.kubernetes.io/job-tracking\"]" extra                               \
    "},\"status\":{\"phase\":\"" phase "\"}}"
#define NOW 10000

static struct job_plan plan(struct arena *a, const char *job, const char *const *pods, bool settled)
{
    struct core_v1_pod *list[8];
    struct job_input in = {
        .job = decoded(a, &batch_v1_job_msg, job), .pods = list, .settled = settled, .now_s = NOW};
    for (; pods != NULL && pods[in.pod_count] != NULL; in.pod_count++)
        list[in.pod_count] = decoded(a, &core_v1_pod_msg, pods[in.pod_count]);
    struct job_plan p;
    job_plan(a, &in, &p);
    return p;
}

static const struct batch_v1_job_condition *condition(const struct job_plan *p, const char *type)
{
    for (size_t i = 0; i < p->status->conditions_count; i++)
        if (str_eqc(p->status->conditions[i].type, type))
            return &p->status->conditions[i];
    return NULL;
}

/* A new Job starts, and creates as many pods as may run at once. */
START_TEST(starts)
{
    AUTO_ARENA *a = arena_new(0);
    struct job_plan p = plan(a, JOB("\"completions\":5,\"parallelism\":2", ""), NULL, true);
    ck_assert_int_eq(p.create, 2);
    ck_assert_int_eq(p.status->start_time->seconds, NOW);
    p = plan(a, JOB("\"completions\":5,\"parallelism\":2", ""), NULL, false);
    ck_assert_int_eq(p.create, 0); /* What was asked for is still to be seen. */
}
END_TEST

/* Ended -> uncounted; seen there -> released; finalizer gone -> counted. */
START_TEST(counts_once)
{
    AUTO_ARENA *a = arena_new(0);
    const char *ended[] = {POD("1", "Succeeded", ""), NULL};
    struct job_plan p =
        plan(a, JOB("\"completions\":1", "\"startTime\":\"1970-01-01T01:00:00Z\""), ended, true);
    ck_assert_uint_eq(p.status->uncounted_terminated_pods->succeeded_count, 1);
    ck_assert_int_eq(p.status->succeeded, 0);
    ck_assert_uint_eq(p.release_count, 0); /* The status must say so first. */
    ck_assert_ptr_nonnull(condition(&p, "SuccessCriteriaMet"));
    ck_assert_ptr_null(condition(&p, "Complete"));
    p = plan(a, JOB("\"completions\":1", "\"uncountedTerminatedPods\":{\"succeeded\":[\"1\"]}"),
             ended, true);
    ck_assert_uint_eq(p.release_count, 1);
    ck_assert_ptr_null(condition(&p, "Complete"));
    p = plan(a, JOB("\"completions\":1", "\"uncountedTerminatedPods\":{\"succeeded\":[\"1\"]}"),
             NULL, true);
    ck_assert_int_eq(p.status->succeeded, 1);
    ck_assert_uint_eq(p.status->uncounted_terminated_pods->succeeded_count, 0);
    ck_assert_ptr_nonnull(condition(&p, "Complete"));
    ck_assert_str_eq(p.event_reason, "Completed");
    ck_assert_int_eq(p.create, 0);
}
END_TEST

/* Beyond backoffLimit the Job fails; running pods are stopped first. */
START_TEST(fails_beyond_the_limit)
{
    AUTO_ARENA *a = arena_new(0);
    const char *pods[] = {POD("1", "Failed", ""), POD("2", "Running", ""), NULL};
    struct job_plan p =
        plan(a, JOB("\"completions\":2,\"parallelism\":2,\"backoffLimit\":0", ""), pods, true);
    ck_assert_str_eq(condition(&p, "FailureTarget")->reason.data, "BackoffLimitExceeded");
    ck_assert_str_eq(condition(&p, "FailureTarget")->message.data,
                     "Job has reached the specified backoff limit");
    ck_assert_uint_eq(p.remove_count, 1);
    ck_assert_ptr_null(condition(&p, "Failed"));
}
END_TEST

/* After a failure the next pod waits: 10 s, 20 s, 40 s ... */
START_TEST(backs_off)
{
    AUTO_ARENA *a = arena_new(0);
    const char *pods[] = {POD("1", "Failed", ""), NULL};
    struct job_plan p = plan(a, JOB("\"completions\":1,\"backoffLimit\":6", ""), pods, true);
    ck_assert_int_eq(p.create, 0);
    ck_assert_uint_eq(p.again_after_s, 10);
    ck_assert_int_eq(job_backoff_s(0), 0);
    ck_assert_int_eq(job_backoff_s(3), 40);
    ck_assert_int_eq(job_backoff_s(30), 600);
}
END_TEST

/* Indexed Jobs make the lowest indexes that are neither done nor running. */
START_TEST(indexes)
{
#define INDEX(n) ",\"annotations\":{\"batch.kubernetes.io/job-completion-index\":\"" n "\"}"
    AUTO_ARENA *a = arena_new(0);
    const char *pods[] = {POD("1", "Succeeded", INDEX("2")), POD("2", "Running", INDEX("1")), NULL};
    struct job_plan p =
        plan(a,
             JOB("\"completions\":5,\"parallelism\":3,\"completionMode\":\"Indexed\"",
                 "\"completedIndexes\":\"0\""),
             pods, true);
    ck_assert_str_eq(p.status->completed_indexes.data, "0,2");
    ck_assert_int_eq(p.status->succeeded, 2);
    ck_assert_int_eq(p.create, 2);
    ck_assert_int_eq(p.indexes[0], 3);
    ck_assert_int_eq(p.indexes[1], 4);
    size_t count;
    int32_t *list = job_indexes_parse(a, STR("1,3-5,x,9"), 8, &count);
    ck_assert_uint_eq(count, 4);
    ck_assert(str_eqc(job_indexes_format(a, list, count), "1,3-5"));
}
END_TEST

/* Suspended, all pods go; the failure policy may ignore or end it all. */
START_TEST(suspends_and_judges)
{
    AUTO_ARENA *a = arena_new(0);
    const char *running[] = {POD("1", "Running", ""), NULL};
    struct job_plan p = plan(a, JOB("\"completions\":1,\"suspend\":true", ""), running, true);
    ck_assert_uint_eq(p.remove_count, 1);
    ck_assert_str_eq(p.event_reason, "Suspended");
    const char *evicted[] = {
        "{\"metadata\":{\"uid\":\"1\",\"finalizers\":[\"batch.kubernetes.io/"
        "job-tracking\"]},\"status\":{\"phase\":"
        "\"Failed\",\"conditions\":[{\"type\":\"DisruptionTarget\",\"status\":\"True\"}]}}",
        NULL};
    p = plan(a,
             JOB("\"completions\":1,\"backoffLimit\":0,\"podFailurePolicy\":{\"rules\":[{"
                 "\"action\":\"Ignore\","
                 "\"onPodConditions\":[{\"type\":\"DisruptionTarget\",\"status\":\"True\"}]}]}",
                 ""),
             evicted, true);
    ck_assert_uint_eq(p.status->uncounted_terminated_pods->failed_count, 0);
    ck_assert_uint_eq(p.release_count, 1);
    ck_assert_ptr_null(condition(&p, "FailureTarget"));
}
END_TEST

UNIT_MAIN("controllers/job_plan", {
    UNIT_TEST(starts);
    UNIT_TEST(counts_once);
    UNIT_TEST(fails_beyond_the_limit);
    UNIT_TEST(backs_off);
    UNIT_TEST(indexes);
    UNIT_TEST(suspends_and_judges);
})
