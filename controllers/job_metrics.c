/* job_metrics.c - see job_metrics.h. */
#include "controllers/job_metrics.h"

#include "api/batch_v1.h"
#include "controllers/job_plan.h"
#include "controllers/job_pods.h"
#include "lib/base/metrics.h"

static const double sync_bounds[] = {0.004, 0.008, 0.016, 0.032, 0.064,  0.128,  0.256, 0.512,
                                     1.024, 2.048, 4.096, 8.192, 16.384, 32.768, 65.536};

static struct metric_family *counter(const char *name, const char *help, const char *const *labels)
{
    return metric_counter(metrics_default(), name, help, labels);
}

static struct str mode_of(const struct batch_v1_job *j)
{
    return job_is_indexed(j) ? STR("Indexed") : STR("NonIndexed");
}

void job_metrics_synced(const struct batch_v1_job *j, const char *action, bool failed,
                        double seconds)
{
    const char *const *labels = METRIC_LABELS("completion_mode", "result", "action");
    struct str values[] = {mode_of(j), failed ? STR("error") : STR("success"), str_of(action)};
    metric_inc(metric_of(
        counter("job_controller_job_syncs_total", "The number of job syncs", labels), values));
    metric_observe(
        metric_of(metric_histogram(metrics_default(), "job_controller_job_sync_duration_seconds",
                                   "The time it took to sync a job", labels, sync_bounds,
                                   ARRAY_SIZE(sync_bounds)),
                  values),
        seconds);
}

static void count_pods(const struct batch_v1_job *j, const char *result, int64_t n)
{
    if (n > 0)
        metric_add(METRIC_OF(counter("job_controller_job_pods_finished_total",
                                     "The number of finished Pods that are fully tracked",
                                     METRIC_LABELS("completion_mode", "result")),
                             mode_of(j), str_of(result)),
                   (double)n);
}

static void count_indexes(const struct batch_v1_job *j, const char *status, int64_t n)
{
    if (n > 0)
        metric_add(
            METRIC_OF(counter("job_controller_job_finished_indexes_total",
                              "The number of finished indexes. Possible values for the status "
                              "label are: \"succeeded\", \"failed\". Possible values for the "
                              "backoffLimit label are: \"perIndex\" and \"global\"",
                              METRIC_LABELS("status", "backoffLimit")),
                      str_of(status), job_is_per_index(j) ? STR("perIndex") : STR("global")),
            (double)n);
}

/* How many more indexes a list in the status has. */
static int64_t more(struct arena *a, const struct batch_v1_job *j, struct str old, struct str text)
{
    int32_t max = j->spec.completions;
    return job_indexes_total(job_indexes_parse(a, text, max)) -
           job_indexes_total(job_indexes_parse(a, old, max));
}

void job_metrics_written(struct arena *a, const struct batch_v1_job *j, const struct job_plan *plan)
{
    const struct batch_v1_job_status *old = &j->status, *s = plan->status;
    int64_t succeeded = s->succeeded - old->succeeded;
    if (job_is_indexed(j)) {
        succeeded = more(a, j, old->completed_indexes, s->completed_indexes);
        count_indexes(j, "succeeded", succeeded);
        count_indexes(j, "failed", more(a, j, old->failed_indexes, s->failed_indexes));
    }
    count_pods(j, "succeeded", succeeded);
    count_pods(j, "failed", s->failed - old->failed);
    for (int i = JOB_COUNT; i <= JOB_FAIL_JOB; i++)
        if (plan->policy_actions[i] != 0)
            metric_add(
                METRIC_OF(counter("job_controller_pod_failures_handled_by_failure_policy_total",
                                  "The number of failed Pods handled by failure policy with "
                                  "respect to the failure policy action applied based on the "
                                  "matched rule. Possible values of the action label correspond "
                                  "to the possible values for the failure policy rule action, "
                                  "which are: \"FailJob\", \"Ignore\" and \"Count\".",
                                  METRIC_LABELS("action")),
                          str_of(job_action_name((enum job_action)i))),
                (double)plan->policy_actions[i]);
    if (plan->finished != NULL)
        metric_inc(
            METRIC_OF(counter("job_controller_jobs_finished_total", "The number of finished jobs",
                              METRIC_LABELS("completion_mode", "result", "reason")),
                      mode_of(j), str_of(plan->finished), plan->finish_reason));
}

void job_metrics_created(const struct batch_v1_job *j, const struct job_plan *plan,
                         size_t succeeded, size_t failed)
{
    struct metric_family *f =
        counter("job_controller_job_pods_creation_total",
                "The number of Pods created by the Job controller labelled with a reason for the "
                "Pod creation. This metric also distinguishes between Pods created using "
                "different PodReplacementPolicy settings. Possible values of the \"reason\" label "
                "are: \"new\", \"recreate_terminating_or_failed\", \"recreate_failed\". Possible "
                "values of the \"status\" label are: \"succeeded\", \"failed\".",
                METRIC_LABELS("reason", "status"));
    bool failures = plan->status->failed > 0 || plan->backoff.failures > 0;
    bool when_failed =
        j->spec.has_pod_replacement_policy && str_eqc(j->spec.pod_replacement_policy, "Failed");
    struct str reason = STR("new");
    if (when_failed && failures)
        reason = STR("recreate_failed");
    else if (failures || plan->status->terminating > 0)
        reason = STR("recreate_terminating_or_failed");
    if (succeeded != 0)
        metric_add(METRIC_OF(f, reason, STR("succeeded")), (double)succeeded);
    if (failed != 0)
        metric_add(METRIC_OF(f, reason, STR("failed")), (double)failed);
}

void job_metrics_finalizer(const char *event)
{
    metric_inc(METRIC_OF(
        counter("job_controller_terminated_pods_tracking_finalizer_total",
                "The number of terminated pods (phase=Failed|Succeeded) that have the finalizer "
                "batch.kubernetes.io/job-tracking. The event label can be \"add\" or \"delete\".",
                METRIC_LABELS("event")),
        str_of(event)));
}

void job_metrics_managed_elsewhere(struct str controller)
{
    metric_inc(METRIC_OF(counter("job_controller_jobs_by_external_controller_total",
                                 "The number of Jobs managed by an external controller",
                                 METRIC_LABELS("controller_name")),
                         controller));
}
