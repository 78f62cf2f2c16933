/* job_spec.h - what Jobs and the templates of CronJobs share. Pure. */
#ifndef APISERVER_KINDS_JOB_SPEC_H
#define APISERVER_KINDS_JOB_SPEC_H

#include "apiserver/kind.h"

struct batch_v1_job_spec;

/* Conditions are true unless told otherwise. */
void default_failure_policy(struct batch_v1_job_spec *s);
/* All but the selector, which a template has none of. */
void validate_job_spec(const struct kind_ctx *ctx, struct field_errors *errs,
                       const struct field_path *path, const struct batch_v1_job_spec *s);
void warn_job_spec(const struct kind_ctx *ctx, const struct field_path *path,
                   const struct batch_v1_job_spec *s);

#endif
