/* job_spec.h - what Jobs and the templates of CronJobs share. Pure. */
#ifndef APISERVER_KINDS_JOB_SPEC_H
#define APISERVER_KINDS_JOB_SPEC_H

#include "apiserver/kind.h"

struct batch_v1_job_spec;

/* All but the selector, which a template has none of. */
void validate_job_spec(const struct kind_ctx *ctx, struct field_errors *errs,
                       const struct field_path *path, const struct batch_v1_job_spec *s);

/* cron_check.c: what upstream's parser says is wrong with a schedule; NULL: nothing. */
const char *cron_fault(struct arena *a, struct str schedule);
/* Does the tz database have it? Where there is none, any name will do. */
bool time_zone_exists(struct str name);

#endif
