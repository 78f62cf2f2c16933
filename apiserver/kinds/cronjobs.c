/* cronjobs.c - CronJob: Jobs by the clock. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/defaults.h"
#include "apiserver/kinds/job_spec.h"
#include "apiserver/kinds/pod_spec.h"
#include "apiserver/kinds/pod_warnings.h"
#include "apiserver/kinds/rules.h"
#include "api/batch_v1.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "lib/api/cron.h"
#include "lib/base/error.h"

#include <strings.h>

#define NAME_MAX_BYTES 52u /* Eleven characters are kept for the time in a Job's name. */

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    struct batch_v1_cron_job_spec *s = &((struct batch_v1_cron_job *)obj)->spec;
    default_str(&s->concurrency_policy, STR("Allow"));
    s->has_suspend = true;
    default_opt_int(&s->has_successful_jobs_history_limit, &s->successful_jobs_history_limit, 3);
    default_opt_int(&s->has_failed_jobs_history_limit, &s->failed_jobs_history_limit, 1);
    default_failure_policy(&s->job_template.spec);
    pod_template_defaults(ctx->arena, &s->job_template.spec.template);
}

static void check_schedule(struct field_errors *errs, const struct field_path *path,
                           const struct batch_v1_cron_job_spec *s,
                           const struct batch_v1_cron_job_spec *old)
{
    if (str_empty(s->schedule)) {
        field_required(errs, path, NULL);
        return;
    }
    struct str schedule = s->schedule, zone;
    struct cron parsed;
    struct error err = {0};
    if (str_has_prefix(schedule, STR("TZ=")) || str_has_prefix(schedule, STR("CRON_TZ=")))
        str_cut(schedule, ' ', &zone, &schedule);
    if (cron_parse(schedule, &parsed, &err) != 0)
        field_invalid(errs, path, s->schedule, "%s", error_message(&err));
    bool has_zone = str_find_str(s->schedule, STR("TZ")) >= 0;
    bool had_zone = old != NULL && str_find_str(old->schedule, STR("TZ")) >= 0;
    if (has_zone && had_zone && s->has_time_zone)
        field_invalid(errs, path, s->schedule,
                      "cannot use both timeZone field and TZ or CRON_TZ in schedule");
    else if (has_zone && !had_zone)
        field_invalid(errs, path, s->schedule,
                      "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
}

static void check_zone(struct field_errors *errs, const struct field_path *path, struct str zone)
{
    if (str_empty(zone))
        field_invalid(errs, path, zone, "timeZone must be nil or non-empty string");
    else if (zone.len == 5 && strncasecmp(zone.data, "local", 5) == 0)
        field_invalid(
            errs, path, zone,
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
    else if (!cron_zone_exists(zone))
        field_invalid(errs, path, zone, "unknown time zone " STR_FMT, STR_ARG(zone));
}

static void validate_spec(const struct kind_ctx *ctx, const struct batch_v1_cron_job_spec *s,
                          const struct batch_v1_cron_job_spec *old, struct field_errors *errs)
{
    static const char *const policies[] = {"Allow", "Forbid", "Replace", NULL};
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    check_schedule(errs, PATH(spec, "schedule"), s, old);
    if (s->has_starting_deadline_seconds)
        validate_non_negative(errs, PATH(spec, "startingDeadlineSeconds"),
                              s->starting_deadline_seconds);
    bool same_zone = old != NULL && old->has_time_zone && str_eq(old->time_zone, s->time_zone);
    if (s->has_time_zone && !same_zone)
        check_zone(errs, PATH(spec, "timeZone"), s->time_zone);
    require_listed(errs, PATH(spec, "concurrencyPolicy"), s->concurrency_policy, policies);
    const struct field_path *job = PATH(PATH(spec, "jobTemplate"), "spec");
    validate_job_spec(ctx, errs, job, &s->job_template.spec);
    if (s->job_template.spec.selector != NULL)
        field_invalid_msg(errs, PATH(job, "selector"), &meta_v1_label_selector_msg,
                          s->job_template.spec.selector, "`selector` will be auto-generated");
    if (s->job_template.spec.manual_selector)
        field_not_supported_raw(errs, PATH(job, "manualSelector"), STR("true"),
                                (const char *const[]){"nil", "false", NULL});
    if (s->has_successful_jobs_history_limit)
        validate_non_negative(errs, PATH(spec, "successfulJobsHistoryLimit"),
                              s->successful_jobs_history_limit);
    if (s->has_failed_jobs_history_limit)
        validate_non_negative(errs, PATH(spec, "failedJobsHistoryLimit"),
                              s->failed_jobs_history_limit);
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    const struct batch_v1_cron_job *c = obj;
    validate_spec(ctx, &c->spec, NULL, errs);
    if (c->metadata.name.len > NAME_MAX_BYTES)
        field_invalid(errs, PATH(PATH(PATH_ROOT, "metadata"), "name"), c->metadata.name,
                      "must be no more than %u characters", NAME_MAX_BYTES);
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    validate_spec(ctx, &((const struct batch_v1_cron_job *)obj)->spec,
                  &((const struct batch_v1_cron_job *)old)->spec, errs);
}

static void warn(const struct kind_ctx *ctx, const void *obj, const void *old)
{
    const struct batch_v1_cron_job *c = obj, *o = old;
    const struct field_path *job = PATH(PATH(PATH(PATH_ROOT, "spec"), "jobTemplate"), "spec");
    if (o == NULL)
        warn_host_name(ctx, c->metadata.name, "Pod names and hostnames");
    if (o == NULL || o->metadata.generation != c->metadata.generation)
        warn_job_spec(ctx, job, &c->spec.job_template.spec);
    if (o != NULL && str_find_str(c->spec.schedule, STR("TZ")) >= 0)
        kind_warn(ctx, "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see "
                       "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for "
                       "more details");
}

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Schedule", "string", "", "When Jobs are made.", 0},
    {"Timezone", "string", "", "Whose clock counts.", 0},
    {"Suspend", "boolean", "", "Whether it pauses.", 0},
    {"Active", "integer", "", "Jobs that run.", 0},
    {"Last Schedule", "string", "", "When the last Job was made.", 0},
    {"Age", "string", "", "", 0},
    {"Containers", "string", "", "", 1},
    {"Images", "string", "", "", 1},
    {"Selector", "string", "", "", 1},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct batch_v1_cron_job *c = obj;
    const struct core_v1_pod_spec *p = &c->spec.job_template.spec.template.spec;
    cell_str(r, c->metadata.name);
    cell_str(r, c->spec.schedule);
    cell_str(r, c->spec.has_time_zone ? c->spec.time_zone : STR("<none>"));
    cell_strc(r, c->spec.suspend ? "True" : "False");
    cell_int(r, (int64_t)c->status.active_count);
    if (c->status.last_schedule_time == NULL)
        cell_strc(r, "<none>");
    else
        cell_age(r, c->status.last_schedule_time);
    cell_age(r, &c->metadata.creation_timestamp);
    cell_containers(r, p->containers, p->containers_count);
    cell_images(r, p->containers, p->containers_count);
    cell_selector(r, c->spec.job_template.spec.selector);
}

const struct kind_ops kind_cronjobs = {
    .group = "batch",
    .version = "v1",
    .resource = "cronjobs",
    .flags = KIND_STATUS | KIND_GENERATION,
    .default_ = set_defaults,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .warn = warn,
    .columns = columns,
    .row = row,
};
