/* test_job_plan.c - what a Job does next, and that each end counts once. */
#include "controllers/job_plan.h"

#include "api/batch_v1.h"
#include "api/core_v1.h"
#include "controllers/job_pods.h"
#include "test/unit/controllers/objects.h"

#define JOB(spec, status)                                                                          \
    "{\"metadata\":{\"name\":\"j\"},\"spec\":{" spec "},\"status\":{" status "}}"
#define POD(uid, phase, extra)                                                                     \
    "{\"metadata\":{\"name\":\"p" uid "\",\"namespace\":\"n\",\"uid\":\"" uid                      \
    "\",\"finalizers\":[\"batch.kubernetes.io/job-tracking\"]" extra                               \
    ",\"creationTimestamp\":\"1970-01-01T02:46:40Z\"},\"status\":{\"phase\":\"" phase "\"}}"
#define FREED(uid, phase)                                                                          \
    "{\"metadata\":{\"name\":\"p" uid "\",\"namespace\":\"n\",\"uid\":\"" uid                      \
    "\"},\"status\":{\"phase\":\"" phase "\"}}"
#define GOING ",\"deletionTimestamp\":\"1970-01-01T02:46:40Z\""
#define NOTES(text) ",\"annotations\":{" text "}"
#define INDEX_NOTE(n) "\"batch.kubernetes.io/job-completion-index\":\"" n "\""
#define INDEX(n) NOTES(INDEX_NOTE(n))
#define FAILURES(n) ",\"batch.kubernetes.io/job-index-failure-count\":\"" n "\""
#define NOW 10000 /* 02:46:40 */

static struct job_plan plan_of(struct arena *a, const char *job, const char *const *pods,
                               struct job_input in)
{
    struct core_v1_pod *list[16];
    in.job = decoded(a, &batch_v1_job_msg, job);
    in.pods = list;
    in.now_s = in.now_s != 0 ? in.now_s : NOW;
    for (; pods != NULL && pods[in.pod_count] != NULL; in.pod_count++)
        list[in.pod_count] = decoded(a, &core_v1_pod_msg, pods[in.pod_count]);
    struct job_plan p;
    job_plan(a, &in, &p);
    return p;
}

static struct job_plan plan(struct arena *a, const char *job, const char *const *pods, bool settled)
{
    static const struct job_backoff none;
    return plan_of(a, job, pods, (struct job_input){.settled = settled, .backoff = &none});
}

#define PODS(...) ((const char *const[]){__VA_ARGS__, NULL})

static const struct batch_v1_job_condition *condition(const struct job_plan *p, const char *type)
{
    for (size_t i = 0; i < p->status->conditions_count; i++)
        if (str_eqc(p->status->conditions[i].type, type))
            return &p->status->conditions[i];
    return NULL;
}

static const char *reason(const struct job_plan *p, const char *type)
{
    const struct batch_v1_job_condition *c = condition(p, type);
    return c == NULL ? "none" : str_c(c->reason);
}

static const char *message(const struct job_plan *p, const char *type)
{
    const struct batch_v1_job_condition *c = condition(p, type);
    return c == NULL ? "none" : str_c(c->message);
}

static size_t uncounted(const struct job_plan *p, bool failed)
{
    const struct batch_v1_uncounted_terminated_pods *u = p->status->uncounted_terminated_pods;
    return failed ? u->failed_count : u->succeeded_count;
}

/* --- starting, counting, ending --------------------------------------------------------------- */

/* A new Job starts, and creates as many pods as may run at once. */
START_TEST(starts)
{
    AUTO_ARENA *a = arena_new(0);
    struct job_plan p = plan(a, JOB("\"completions\":5,\"parallelism\":2", ""), NULL, true);
    ck_assert_uint_eq(p.create_count, 2);
    ck_assert_int_eq(p.create[0].index, -1);
    ck_assert_int_eq(p.status->start_time->seconds, NOW);
    ck_assert_str_eq(p.action, "pods_created");
    p = plan(a, JOB("\"completions\":5,\"parallelism\":2", ""), NULL, false);
    ck_assert_uint_eq(p.create_count, 0); /* What was asked for is still to be seen. */
    ck_assert_str_eq(p.action, "reconciling");
    p = plan(a, JOB("\"completions\":0", ""), NULL, true);
    ck_assert_str_eq(reason(&p, "Complete"), "CompletionsReached");
    /* Work queue: as many as may run, none after the first success. */
    p = plan(a, JOB("\"parallelism\":3", ""), NULL, true);
    ck_assert_uint_eq(p.create_count, 3);
    p = plan(a, JOB("\"parallelism\":3", ""),
             PODS(POD("1", "Succeeded", ""), POD("2", "Running", "")), true);
    ck_assert_uint_eq(p.create_count, 0);
    ck_assert_ptr_null(condition(&p, "SuccessCriteriaMet"));
}
END_TEST

/* Ended -> noted and released, in this order; finalizer gone -> counted. */
START_TEST(counts_once)
{
    AUTO_ARENA *a = arena_new(0);
    const char *const *ended = PODS(POD("1", "Succeeded", ""));
    struct job_plan p = plan(a, JOB("\"completions\":1", ""), ended, true);
    ck_assert_uint_eq(uncounted(&p, false), 1);
    ck_assert_int_eq(p.status->succeeded, 0);
    ck_assert_uint_eq(p.release_count, 1); /* After the status is written. */
    ck_assert_str_eq(reason(&p, "SuccessCriteriaMet"), "CompletionsReached");
    ck_assert_str_eq(message(&p, "SuccessCriteriaMet"),
                     "Reached expected number of succeeded pods");
    ck_assert_ptr_null(condition(&p, "Complete"));
#define NOTED "\"uncountedTerminatedPods\":{\"succeeded\":[\"1\"]}"
    /* After a crash before the release: no second note. */
    p = plan(a, JOB("\"completions\":1", NOTED), ended, true);
    ck_assert_uint_eq(uncounted(&p, false), 1);
    ck_assert_int_eq(p.status->succeeded, 0);
    ck_assert_uint_eq(p.release_count, 1);
    ck_assert_ptr_null(condition(&p, "Complete"));
    /* The pod is gone, or without finalizer, or was released a moment ago. */
    const bool released[] = {true};
    struct job_plan after[] = {
        plan(a, JOB("\"completions\":1", NOTED), NULL, true),
        plan(a, JOB("\"completions\":1", NOTED), PODS(FREED("1", "Succeeded")), true),
        plan_of(a, JOB("\"completions\":1", NOTED), ended,
                (struct job_input){.settled = true, .released = released}),
    };
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(after[i].status->succeeded, 1);
        ck_assert_uint_eq(uncounted(&after[i], false), 0);
        ck_assert_ptr_nonnull(condition(&after[i], "Complete"));
        ck_assert_int_eq(after[i].status->completion_time->seconds, NOW);
        ck_assert_uint_eq(after[i].event_count, 1);
        ck_assert_str_eq(after[i].events[0].reason, "Completed");
        ck_assert_uint_eq(after[i].create_count, 0);
        ck_assert_str_eq(after[i].finished, "succeeded");
    }
    /* Counted pods without finalizer are not counted again. */
    p = plan(a, JOB("\"completions\":3", "\"succeeded\":1"), PODS(FREED("1", "Succeeded")), true);
    ck_assert_int_eq(p.status->succeeded, 1);
}
END_TEST

/* At most 500 uids stand in the status; the rest waits. */
START_TEST(notes_are_bounded)
{
    AUTO_ARENA *a = arena_new(0);
    struct core_v1_pod *pods[600];
    for (int i = 0; i < 600; i++) {
        char text[256];
        snprintf(text, sizeof(text), POD("%d", "Succeeded", ""), i, i);
        pods[i] = decoded(a, &core_v1_pod_msg, text);
    }
    struct job_plan p;
    struct job_backoff none = {0};
    struct job_input in = {.job = decoded(a, &batch_v1_job_msg, JOB("\"completions\":600", "")),
                           .pods = pods,
                           .pod_count = 600,
                           .settled = true,
                           .now_s = NOW,
                           .backoff = &none};
    job_plan(a, &in, &p);
    ck_assert_uint_eq(uncounted(&p, false), 500);
    ck_assert_uint_eq(p.release_count, 500);
    ck_assert_ptr_nonnull(condition(&p, "SuccessCriteriaMet"));
}
END_TEST

/* Beyond backoffLimit the Job fails: running pods are stopped and have failed. */
START_TEST(fails_beyond_the_limit)
{
    AUTO_ARENA *a = arena_new(0);
    const char *const *pods = PODS(POD("1", "Failed", ""), POD("2", "Running", ""));
    struct job_plan p =
        plan(a, JOB("\"completions\":2,\"parallelism\":2,\"backoffLimit\":0", ""), pods, true);
    ck_assert_str_eq(reason(&p, "FailureTarget"), "BackoffLimitExceeded");
    ck_assert_str_eq(message(&p, "FailureTarget"), "Job has reached the specified backoff limit");
    ck_assert_uint_eq(p.stop_count, 1);
    ck_assert_uint_eq(p.release_count, 2);
    ck_assert_uint_eq(uncounted(&p, true), 2);
    ck_assert_int_eq(p.status->active, 0);
    ck_assert_int_eq(p.status->terminating, 1);
    ck_assert_ptr_null(condition(&p, "Failed"));
    /* With pods on their way that are not seen, nothing is final. */
    p = plan(a, JOB("\"completions\":2,\"parallelism\":2,\"backoffLimit\":0", ""), pods, false);
    ck_assert_ptr_null(condition(&p, "FailureTarget"));
    ck_assert_uint_eq(p.stop_count, 1);
#define TARGET                                                                                     \
    "\"failed\":2,\"conditions\":[{\"type\":\"FailureTarget\",\"status\":\"True\",\"reason\":"     \
    "\"BackoffLimitExceeded\",\"message\":\"m\"}]"
    /* Failed at last when nothing runs or is going any more. */
    p = plan(a, JOB("\"completions\":2", TARGET), PODS(FREED("2", "Running")), true);
    ck_assert_ptr_null(condition(&p, "Failed"));
    p = plan(a, JOB("\"completions\":2", TARGET), NULL, true);
    ck_assert_str_eq(reason(&p, "Failed"), "BackoffLimitExceeded");
    ck_assert_str_eq(p.events[0].type, "Warning");
    ck_assert_str_eq(p.events[0].message, "m");
    ck_assert_str_eq(p.finished, "failed");
    ck_assert_ptr_null(p.status->completion_time);
    ck_assert_int_eq(p.status->failed, 2);
}
END_TEST

/* restartPolicy OnFailure: the containers' restarts count, up to the limit itself. */
START_TEST(restarts_count)
{
#define RESTARTED(n)                                                                               \
    "{\"metadata\":{\"name\":\"p\",\"uid\":\"1\"},\"status\":{\"phase\":\"Running\","              \
    "\"containerStatuses\":[{\"name\":\"c\",\"ready\":true,\"image\":\"\",\"imageID\":\"\","       \
    "\"restartCount\":" n "}]}}"
#define ON_FAILURE(limit)                                                                          \
    JOB("\"completions\":1,\"backoffLimit\":" limit                                                \
        ",\"template\":{\"spec\":{\"restartPolicy\":\"OnFailure\",\"containers\":[]}}",            \
        "")
    AUTO_ARENA *a = arena_new(0);
    struct job_plan p = plan(a, ON_FAILURE("3"), PODS(RESTARTED("2")), true);
    ck_assert_ptr_null(condition(&p, "FailureTarget"));
    p = plan(a, ON_FAILURE("3"), PODS(RESTARTED("3")), true);
    ck_assert_str_eq(reason(&p, "FailureTarget"), "BackoffLimitExceeded");
    p = plan(a, ON_FAILURE("0"), PODS(RESTARTED("0")), true);
    ck_assert_ptr_null(condition(&p, "FailureTarget"));
    p = plan(a, ON_FAILURE("0"), PODS(RESTARTED("1")), true);
    ck_assert_ptr_nonnull(condition(&p, "FailureTarget"));
}
END_TEST

START_TEST(deadline)
{
#define TIMED(start)                                                                               \
    JOB("\"completions\":1,\"activeDeadlineSeconds\":100",                                         \
        "\"startTime\":\"1970-01-01T02:" start "Z\"")
    AUTO_ARENA *a = arena_new(0);
    struct job_plan p = plan(a, TIMED("45:10"), PODS(POD("1", "Running", "")), true);
    ck_assert_ptr_null(condition(&p, "FailureTarget"));
    ck_assert_uint_eq(p.again_after_s, 10);
    p = plan(a, TIMED("45:00"), PODS(POD("1", "Running", "")), true);
    ck_assert_str_eq(reason(&p, "FailureTarget"), "DeadlineExceeded");
    ck_assert_str_eq(message(&p, "FailureTarget"), "Job was active longer than specified deadline");
    ck_assert_uint_eq(p.stop_count, 1);
}
END_TEST

/* --- waiting ------------------------------------------------------------------------------------
 */

/* After a failure the next pod waits: 10 s, 20 s, 40 s ...; a success ends that. */
START_TEST(backs_off)
{
    AUTO_ARENA *a = arena_new(0);
    struct job_plan p = plan(a, JOB("\"completions\":1", ""), PODS(POD("1", "Failed", "")), true);
    ck_assert_uint_eq(p.create_count, 0);
    ck_assert_uint_eq(p.again_after_s, 10);
    ck_assert_int_eq(p.backoff.failures, 1);
    ck_assert_int_eq(p.backoff.last_failure_s, NOW);
    struct job_backoff two = {2, NOW - 15};
    struct job_input in = {.settled = true, .backoff = &two};
    p = plan_of(a, JOB("\"completions\":1", ""), NULL, in);
    ck_assert_uint_eq(p.again_after_s, 5);
    ck_assert_uint_eq(p.create_count, 0);
    two.last_failure_s = NOW - 20;
    p = plan_of(a, JOB("\"completions\":1", ""), NULL, in);
    ck_assert_uint_eq(p.create_count, 1);
    /* One that is still to come is from before the clock was set back. */
    two.last_failure_s = NOW + 1;
    p = plan_of(a, JOB("\"completions\":1", ""), NULL, in);
    ck_assert_uint_eq(p.create_count, 1);
    p = plan_of(a, JOB("\"completions\":3", ""), PODS(POD("1", "Succeeded", "")), in);
    ck_assert_int_eq(p.backoff.failures, 0);
    /* After a restart the pods that are left tell. */
    in.backoff = NULL;
    p = plan_of(a, JOB("\"completions\":1", ""),
                PODS(POD("1", "Failed", ""), POD("2", "Failed", "")), in);
    ck_assert_int_eq(p.backoff.failures, 2);
    ck_assert_uint_eq(p.again_after_s, 20);
    ck_assert_int_eq(job_backoff_s(0), 0);
    ck_assert_int_eq(job_backoff_s(3), 40);
    ck_assert_int_eq(job_backoff_s(30), 600);
}
END_TEST

/* podReplacementPolicy: a pod that is going is replaced at once, or once it has ended. */
START_TEST(replaces)
{
    AUTO_ARENA *a = arena_new(0);
    struct job_input in = {.settled = true, .now_s = NOW + 10, .backoff = &(struct job_backoff){0}};
    const char *const *pods = PODS(POD("1", "Running", GOING));
    struct job_plan p = plan_of(a, JOB("\"completions\":1", ""), pods, in);
    ck_assert_uint_eq(p.create_count, 1);
    ck_assert_uint_eq(uncounted(&p, true), 1);
    ck_assert_int_eq(p.status->terminating, 1);
    p = plan_of(a, JOB("\"completions\":1,\"podReplacementPolicy\":\"Failed\"", ""), pods, in);
    ck_assert_uint_eq(p.create_count, 0);
    ck_assert_uint_eq(uncounted(&p, true), 0);
    ck_assert_uint_eq(p.release_count, 0);
    p = plan_of(a, JOB("\"completions\":1,\"podReplacementPolicy\":\"Failed\"", ""),
                PODS(POD("1", "Failed", GOING)), in);
    ck_assert_uint_eq(p.create_count, 1);
    ck_assert_uint_eq(uncounted(&p, true), 1);
}
END_TEST

/* Suspended, all pods go and count neither way; the start is forgotten, and new when it resumes. */
START_TEST(suspends_and_resumes)
{
    AUTO_ARENA *a = arena_new(0);
    struct job_plan p =
        plan(a, JOB("\"completions\":1,\"suspend\":true", "\"startTime\":\"1970-01-01T02:00:00Z\""),
             PODS(POD("1", "Running", "")), true);
    ck_assert_uint_eq(p.remove_count, 1);
    ck_assert_uint_eq(p.release_count, 0);
    ck_assert_uint_eq(uncounted(&p, true), 0);
    ck_assert_int_eq(p.status->active, 0);
    ck_assert_ptr_null(p.status->start_time);
    ck_assert_str_eq(p.events[0].reason, "Suspended");
    ck_assert_str_eq(reason(&p, "Suspended"), "JobSuspended");
#define SUSPENDED "\"conditions\":[{\"type\":\"Suspended\",\"status\":\"True\"}]"
    p = plan(a, JOB("\"completions\":1", SUSPENDED), NULL, true);
    ck_assert_str_eq(p.events[0].reason, "Resumed");
    ck_assert(str_eqc(condition(&p, "Suspended")->status, "False"));
    ck_assert_int_eq(p.status->start_time->seconds, NOW);
    ck_assert_uint_eq(p.create_count, 1);
    /* An earlier step has written its start while pods of before were still awaited: nobody may
     * change that any more. */
    p = plan(a, JOB("\"completions\":1", SUSPENDED ",\"startTime\":\"1970-01-01T02:00:00Z\""), NULL,
             true);
    ck_assert(str_eqc(condition(&p, "Suspended")->status, "False"));
    ck_assert_int_eq(p.status->start_time->seconds, 7200);
    /* A Job that never was suspended has no such condition. */
    p = plan(a, JOB("\"completions\":1", ""), NULL, true);
    ck_assert_ptr_null(condition(&p, "Suspended"));
    /* Enough successes end it even so. */
    p = plan(a, JOB("\"completions\":1,\"suspend\":true", "\"succeeded\":1"), NULL, true);
    ck_assert_ptr_nonnull(condition(&p, "Complete"));
}
END_TEST

/* Fewer at once: those that have come least far go, uncounted. */
START_TEST(shrinks)
{
    AUTO_ARENA *a = arena_new(0);
    struct job_plan p = plan(a, JOB("\"completions\":5,\"parallelism\":1", ""),
                             PODS(POD("1", "Running", ""), POD("2", "Pending", "")), true);
    ck_assert_uint_eq(p.remove_count, 1);
    ck_assert(str_eqc(p.remove[0]->metadata.uid, "2"));
    ck_assert_uint_eq(uncounted(&p, true), 0);
    ck_assert_str_eq(p.action, "pods_deleted");
}
END_TEST

/* A Job that is being deleted lets all its pods go and makes none. */
START_TEST(dies)
{
    AUTO_ARENA *a = arena_new(0);
    struct job_plan p = plan(a,
                             "{\"metadata\":{\"name\":\"j\",\"deletionTimestamp\":"
                             "\"1970-01-01T02:00:00Z\"},\"spec\":{\"completions\":3}}",
                             PODS(POD("1", "Running", "")), true);
    ck_assert_uint_eq(p.create_count, 0);
    ck_assert_uint_eq(p.release_count, 1);
    ck_assert_uint_eq(p.stop_count, 0);
    ck_assert_uint_eq(uncounted(&p, true), 0);
}
END_TEST

/* --- indexes ------------------------------------------------------------------------------------
 */

#define INDEXED(more) "\"completionMode\":\"Indexed\"," more

/* Indexed Jobs make the lowest indexes that are neither done nor running. */
START_TEST(indexes)
{
    AUTO_ARENA *a = arena_new(0);
    struct job_plan p =
        plan(a, JOB(INDEXED("\"completions\":5,\"parallelism\":3"), "\"completedIndexes\":\"0\""),
             PODS(POD("1", "Succeeded", INDEX("2")), POD("2", "Running", INDEX("1"))), true);
    ck_assert_str_eq(p.status->completed_indexes.data, "0,2");
    ck_assert_int_eq(p.status->succeeded, 2);
    ck_assert_uint_eq(uncounted(&p, false), 0); /* The index says it. */
    ck_assert_uint_eq(p.release_count, 1);
    ck_assert_uint_eq(p.create_count, 2);
    ck_assert_int_eq(p.create[0].index, 3);
    ck_assert_int_eq(p.create[1].index, 4);
    ck_assert(!p.status->has_failed_indexes);
    /* Repeated and impossible indexes go; the one that has come farthest stays. */
    p = plan(a, JOB(INDEXED("\"completions\":2,\"parallelism\":2"), ""),
             PODS(POD("1", "Running", INDEX("0")), POD("2", "Pending", INDEX("0")),
                  POD("3", "Running", INDEX("2")), POD("4", "Running", "")),
             true);
    ck_assert_uint_eq(p.remove_count, 3);
    for (size_t i = 0; i < 3; i++)
        ck_assert(!str_eqc(p.remove[i]->metadata.uid, "1"));
    ck_assert_uint_eq(p.create_count, 0);
    /* Fewer completions: indexes beyond count no longer, and it may be done. */
    p = plan(a,
             JOB(INDEXED("\"completions\":2,\"parallelism\":2"),
                 "\"completedIndexes\":\"0-3\",\"succeeded\":4"),
             NULL, true);
    ck_assert_str_eq(p.status->completed_indexes.data, "0,1");
    ck_assert_int_eq(p.status->succeeded, 2);
    ck_assert_ptr_nonnull(condition(&p, "Complete"));
}
END_TEST

START_TEST(index_sets)
{
    AUTO_ARENA *a = arena_new(0);
    struct job_indexes set = job_indexes_parse(a, STR("1,3-5,x,9"), 8);
    int32_t numbers[] = {7, 2, 7, 6}, missing[4];
    ck_assert_int_eq(job_indexes_total(set), 4);
    ck_assert(str_eqc(job_indexes_format(a, set), "1,3-5"));
    ck_assert(job_indexes_has(set, 4) && !job_indexes_has(set, 2) && !job_indexes_has(set, 6));
    struct job_indexes more = job_indexes_of(a, numbers, 4);
    ck_assert(str_eqc(job_indexes_format(a, more), "2,6,7"));
    ck_assert(str_eqc(job_indexes_format(a, job_indexes_union(a, set, more)), "1-7"));
    ck_assert_int_eq(job_indexes_common(set, job_indexes_parse(a, STR("0-3,5"), 100)), 3);
    ck_assert_uint_eq(job_indexes_missing(set, 8, 4, missing), 4);
    ck_assert(missing[0] == 0 && missing[1] == 2 && missing[2] == 6 && missing[3] == 7);
    /* As large as they come. */
    set = job_indexes_parse(a, STR("0-2147483646"), INT32_MAX);
    ck_assert_int_eq(job_indexes_total(set), INT32_MAX);
    ck_assert_uint_eq(job_indexes_missing(set, INT32_MAX, 4, missing), 0);
}
END_TEST

#define PER_INDEX(more)                                                                            \
    INDEXED("\"completions\":3,\"parallelism\":3,\"backoffLimitPerIndex\":1" more)

/* With a limit per index, a failed pod is held until its successor exists, which takes over the
 * count; the index is lost beyond the limit, and the Job fails once all are decided. */
START_TEST(limits_per_index)
{
    AUTO_ARENA *a = arena_new(0);
    struct job_input in = {.settled = true, .now_s = NOW + 10, .backoff = &(struct job_backoff){0}};
    const char *const *first = PODS(POD("1", "Failed", INDEX("1")));
    struct job_plan p = plan(a, JOB(PER_INDEX(""), ""), first, true);
    ck_assert_uint_eq(p.create_count, 2); /* Index 1 waits for itself alone. */
    ck_assert_int_eq(p.create[0].index, 0);
    ck_assert_int_eq(p.create[1].index, 2);
    ck_assert_uint_eq(p.again_after_s, 10);
    ck_assert_uint_eq(p.release_count, 0);
    ck_assert_uint_eq(uncounted(&p, true), 0);
    p = plan_of(a, JOB(PER_INDEX(""), ""), first, in);
    ck_assert_uint_eq(p.create_count, 3);
    ck_assert_int_eq(p.create[1].index, 1);
    ck_assert_int_eq(p.create[1].failures, 1);
    ck_assert_str_eq(p.status->failed_indexes.data, "");
    ck_assert(p.status->has_failed_indexes);
    /* The successor is there: now it counts. */
    p = plan_of(a, JOB(PER_INDEX(""), ""),
                PODS(POD("1", "Failed", INDEX("1")),
                     POD("2", "Running", NOTES(INDEX_NOTE("1") FAILURES("1")))),
                in);
    ck_assert_uint_eq(p.release_count, 1);
    ck_assert_uint_eq(uncounted(&p, true), 1);
    /* It fails as well: the index is lost, the others go on. */
    p = plan_of(a, JOB(PER_INDEX(""), ""),
                PODS(POD("2", "Failed", NOTES(INDEX_NOTE("1") FAILURES("1"))),
                     POD("3", "Running", INDEX("0")), POD("4", "Running", INDEX("2"))),
                in);
    ck_assert_str_eq(p.status->failed_indexes.data, "1");
    ck_assert_uint_eq(p.create_count, 0);
    ck_assert_uint_eq(p.release_count, 1);
    ck_assert_ptr_null(condition(&p, "FailureTarget"));
    /* All decided. */
    p = plan_of(a, JOB(PER_INDEX(""), "\"failedIndexes\":\"1\",\"completedIndexes\":\"0,2\""), NULL,
                in);
    ck_assert_str_eq(reason(&p, "Failed"), "FailedIndexes");
    ck_assert_str_eq(message(&p, "Failed"), "Job has failed indexes");
    p = plan_of(a, JOB(PER_INDEX(",\"maxFailedIndexes\":0"), "\"failedIndexes\":\"1\""),
                PODS(POD("3", "Running", INDEX("0"))), in);
    ck_assert_str_eq(reason(&p, "FailureTarget"), "MaxFailedIndexesExceeded");
    ck_assert_str_eq(message(&p, "FailureTarget"),
                     "Job has exceeded the specified maximal number of failed indexes");
    ck_assert_uint_eq(p.stop_count, 1);
}
END_TEST

/* --- policies -----------------------------------------------------------------------------------
 */

#define EXITED(uid, code, extra)                                                                   \
    "{\"metadata\":{\"name\":\"p" uid "\",\"namespace\":\"n\",\"uid\":\"" uid                      \
    "\",\"finalizers\":[\"batch.kubernetes.io/job-tracking\"]" extra                               \
    "},\"status\":{\"phase\":\"Failed\",\"conditions\":[{\"type\":\"DisruptionTarget\","           \
    "\"status\":"                                                                                  \
    "\"True\"}],\"containerStatuses\":[{\"name\":\"c\",\"ready\":false,\"image\":\"\","            \
    "\"imageID\":\"\",\"restartCount\":0,\"state\":{\"terminated\":{\"exitCode\":" code            \
    ",\"finishedAt\":\"1970-01-01T02:00:00Z\"}}}]}}"
#define RULES(text) ",\"podFailurePolicy\":{\"rules\":[" text "]}"
#define CODES(action, op, values)                                                                  \
    "{\"action\":\"" action "\",\"onExitCodes\":{\"operator\":\"" op "\",\"values\":[" values "]}" \
    "}"
#define DISRUPTED(action)                                                                          \
    "{\"action\":\"" action                                                                        \
    "\",\"onPodConditions\":[{\"type\":\"DisruptionTarget\",\"status\":\"True\"}]}"

/* The first rule that matches decides: ignore, count, fail the Job or its index. */
START_TEST(judges_failures)
{
    AUTO_ARENA *a = arena_new(0);
    const char *const *pod = PODS(EXITED("1", "42", ""));
#define ONE(rules) JOB("\"completions\":1,\"backoffLimit\":0" RULES(rules), "")
    struct job_plan p = plan(a, ONE(DISRUPTED("Ignore")), pod, true);
    ck_assert_uint_eq(uncounted(&p, true), 0);
    ck_assert_uint_eq(p.release_count, 1);
    ck_assert_ptr_null(condition(&p, "FailureTarget"));
    ck_assert_uint_eq(p.policy_actions[JOB_IGNORE], 1);
    p = plan(a, ONE(CODES("FailJob", "In", "1,42") "," DISRUPTED("Ignore")), pod, true);
    ck_assert_str_eq(reason(&p, "FailureTarget"), "PodFailurePolicy");
    ck_assert_str_eq(message(&p, "FailureTarget"), "Container c for pod n/p1 failed with exit code "
                                                   "42 matching FailJob rule at index 0");
    p = plan(a, ONE(CODES("FailJob", "In", "1") "," DISRUPTED("FailJob")), pod, true);
    ck_assert_str_eq(message(&p, "FailureTarget"),
                     "Pod n/p1 has condition DisruptionTarget matching FailJob rule at index 1");
    p = plan(a, ONE(CODES("Count", "NotIn", "1") "," DISRUPTED("Ignore")), pod, true);
    ck_assert_str_eq(reason(&p, "FailureTarget"), "BackoffLimitExceeded");
    ck_assert_uint_eq(p.policy_actions[JOB_COUNT], 1);
    p = plan(a, ONE(CODES("FailJob", "NotIn", "42")), pod, true);
    ck_assert_str_eq(reason(&p, "FailureTarget"), "BackoffLimitExceeded");
}
END_TEST

/* FailIndex loses the index at once; what is ignored is counted apart, and waits the same. */
START_TEST(judges_indexes)
{
    AUTO_ARENA *a = arena_new(0);
    struct job_plan p = plan(a, JOB(PER_INDEX(RULES(CODES("FailIndex", "In", "42"))), ""),
                             PODS(EXITED("1", "42", INDEX("0"))), true);
    ck_assert_str_eq(p.status->failed_indexes.data, "0");
    ck_assert_uint_eq(p.create_count, 2);
    p = plan(a, JOB(PER_INDEX(RULES(DISRUPTED("Ignore"))), ""),
             PODS(EXITED("1", "42", NOTES(INDEX_NOTE("0") FAILURES("1")))), true);
    ck_assert_str_eq(p.status->failed_indexes.data, "");
    ck_assert_uint_eq(p.create_count, 3);
    ck_assert_int_eq(p.create[0].failures, 1);
    ck_assert_int_eq(p.create[0].ignored, 1);
}
END_TEST

/* Enough indexes, or the right ones, end the Job well; pods that run are stopped, not counted. */
START_TEST(success_policy)
{
#define SUCCESS(rule) ",\"successPolicy\":{\"rules\":[" rule "]}"
#define SOME(rule) INDEXED("\"completions\":5,\"parallelism\":5" SUCCESS(rule))
    AUTO_ARENA *a = arena_new(0);
    const char *const *pods =
        PODS(POD("1", "Succeeded", INDEX("0")), POD("2", "Running", INDEX("1")),
             POD("3", "Succeeded", INDEX("4")));
    struct job_plan p =
        plan(a, JOB(SOME("{\"succeededIndexes\":\"1\"},{\"succeededCount\":2}"), ""), pods, true);
    ck_assert_str_eq(reason(&p, "SuccessCriteriaMet"), "SuccessPolicy");
    ck_assert_str_eq(message(&p, "SuccessCriteriaMet"), "Matched rules at index 1");
    ck_assert_uint_eq(p.stop_count, 1);
    ck_assert_uint_eq(p.release_count, 3);
    ck_assert_uint_eq(uncounted(&p, true), 0);
    ck_assert_str_eq(p.status->completed_indexes.data, "0,4");
    p = plan(a, JOB(SOME("{\"succeededIndexes\":\"0-2\",\"succeededCount\":2}"), ""), pods, true);
    ck_assert_ptr_null(condition(&p, "SuccessCriteriaMet"));
    p = plan(a, JOB(SOME("{\"succeededIndexes\":\"0,4\"}"), ""), pods, true);
    ck_assert_ptr_nonnull(condition(&p, "SuccessCriteriaMet"));
}
END_TEST

/* --- pods ---------------------------------------------------------------------------------------
 */

START_TEST(makes_pods)
{
    AUTO_ARENA *a = arena_new(0);
    const struct batch_v1_job *j = decoded(
        a, &batch_v1_job_msg,
        "{\"metadata\":{\"name\":\"a-name-that-is-as-long-as-a-name-can-be-for-a-job-"
        "0123456789\",\"namespace\":\"n\"},\"spec\":{" PER_INDEX(
            "") ",\"template\":{\"metadata\":{"
                "\"labels\":{\"z\":\"1\"}},\"spec\":{\"hostname\":\"other\",\"initContainers\":[{"
                "\"name\":"
                "\"i\"}],\"containers\":[{\"name\":\"c\"},{\"name\":\"d\",\"env\":[{\"name\":"
                "\"JOB_COMPLETION_INDEX\",\"value\":\"x\"}]}]}}}}");
    struct meta_v1_owner_reference owner = {.name = j->metadata.name};
    struct core_v1_pod pod;
    job_pod_make(a, j, &owner, &(struct job_creation){.index = 12, .failures = 1, .ignored = 2},
                 &pod);
    ck_assert_int_eq(job_pod_index(&pod), 12);
    ck_assert_int_eq(job_pod_failures(&pod), 1);
    ck_assert_int_eq(job_pod_ignored(&pod), 2);
    ck_assert(job_pod_is_tracked(&pod));
    ck_assert_uint_eq(pod.metadata.generate_name.len, 58);
    ck_assert(str_has_suffix(pod.metadata.generate_name, STR("-12-")));
    ck_assert(str_has_suffix(pod.spec.hostname, STR("0123456789-12")));
    ck_assert_uint_eq(pod.metadata.labels_count, 2);
    ck_assert(str_eqc(pod.spec.init_containers[0].env[0].value_from->field_ref->field_path,
                      "metadata.labels['batch.kubernetes.io/job-completion-index']"));
    ck_assert_uint_eq(pod.spec.containers[0].env_count, 1);
    ck_assert_uint_eq(pod.spec.containers[1].env_count, 1); /* The user's own. */
    ck_assert_uint_eq(j->spec.template.spec.containers[0].env_count, 0);
}
END_TEST

UNIT_MAIN("controllers/job_plan", {
    UNIT_TEST(starts);
    UNIT_TEST(counts_once);
    UNIT_TEST(notes_are_bounded);
    UNIT_TEST(fails_beyond_the_limit);
    UNIT_TEST(restarts_count);
    UNIT_TEST(deadline);
    UNIT_TEST(backs_off);
    UNIT_TEST(replaces);
    UNIT_TEST(suspends_and_resumes);
    UNIT_TEST(shrinks);
    UNIT_TEST(dies);
    UNIT_TEST(indexes);
    UNIT_TEST(index_sets);
    UNIT_TEST(limits_per_index);
    UNIT_TEST(judges_failures);
    UNIT_TEST(judges_indexes);
    UNIT_TEST(success_policy);
    UNIT_TEST(makes_pods);
})
