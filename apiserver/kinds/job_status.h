/* job_status.h - what a Job's status may say, and how it may change. Pure. */
#ifndef APISERVER_KINDS_JOB_STATUS_H
#define APISERVER_KINDS_JOB_STATUS_H

#include "apiserver/field_error.h"

struct batch_v1_job;

void job_status_check(const struct batch_v1_job *job, const struct batch_v1_job *old,
                      struct field_errors *errs);

#endif
