/* job_policy.h - what a Job's pod failure policy and success policy say. Pure. */
#ifndef CONTROLLERS_JOB_POLICY_H
#define CONTROLLERS_JOB_POLICY_H

#include "controllers/job_indexes.h"

struct batch_v1_pod_failure_policy;
struct batch_v1_success_policy;
struct core_v1_pod;

enum job_action {
    JOB_NO_RULE, /* None matches: the failure counts. */
    JOB_COUNT,
    JOB_IGNORE,
    JOB_FAIL_INDEX,
    JOB_FAIL_JOB,
};

/* "Count" and so on: values of metrics; NULL for JOB_NO_RULE. */
const char *job_action_name(enum job_action action);

/* The first rule that a failed pod matches. ret_message (may be NULL) is set
 * with JOB_FAIL_JOB. policy may be NULL. */
enum job_action job_failure_action(struct arena *a,
                                   const struct batch_v1_pod_failure_policy *policy,
                                   const struct core_v1_pod *pod, struct str *ret_message);

/* Do the succeeded indexes suffice? policy may be NULL. */
bool job_success_met(struct arena *a, const struct batch_v1_success_policy *policy,
                     int32_t completions, struct job_indexes succeeded, struct str *ret_message);

#endif
