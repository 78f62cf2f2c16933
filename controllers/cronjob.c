/* cronjob.c - starts Jobs by the clock. A time that was missed (we were down, the
 * CronJob was suspended) is made up for once, if startingDeadlineSeconds allows. */
#include "controllers/controller.h"
#include "controllers/job_plan.h"
#include "controllers/owned.h"
#include "controllers/written.h"

#include "api/batch_v1.h"
#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/cron.h"
#include "lib/api/owner.h"
#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/base/metrics.h"

#define MISSED_MAX 100 /* Missed starts that are still counted one by one. */
#define NOTE_TIME "batch.kubernetes.io/cronjob-scheduled-timestamp"

static void touch_cron(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    UNUSED(old);
    if (o != NULL)
        controller_enqueue_object(r, o);
}

static void touch_job(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    controller_enqueue_owner(r, o != NULL ? o : old, "CronJob");
}

struct work {
    struct api_object *object;
    const struct batch_v1_cron_job *cron;
    struct batch_v1_cron_job *copy; /* Its status is what is to be written. */
    struct api_object **jobs;
    size_t count;
    struct cron schedule;
    const char *zone; /* NULL: UTC. */
    struct event_object about;
    int64_t now_s, due_s;
};

static void init(struct controller_run *r)
{
    r->state = written_new();
}

static void done(struct controller_run *r)
{
    written_free(r->state);
}

static const struct batch_v1_job *job_of(const struct api_object *o)
{
    return o->msg;
}

static bool is_complete(const struct api_object *o)
{
    const struct batch_v1_job_status *s = &job_of(o)->status;
    for (size_t i = 0; i < s->conditions_count; i++)
        if (str_eqc(s->conditions[i].type, "Complete") && str_eqc(s->conditions[i].status, "True"))
            return true;
    return false;
}

/* --- jobs that are there ------------------------------------------------------------------------
 */

static bool is_listed(const struct batch_v1_cron_job_status *s, struct str uid)
{
    for (size_t i = 0; i < s->active_count; i++)
        if (str_eq(s->active[i].uid, uid))
            return true;
    return false;
}

static void unlist(struct batch_v1_cron_job_status *s, struct str uid)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->active_count; i++)
        if (!str_eq(s->active[i].uid, uid))
            s->active[kept++] = s->active[i];
    s->active_count = kept;
}

static void list_active(struct reconcile *c, struct batch_v1_cron_job_status *s,
                        const struct api_object *o)
{
    const struct meta_v1_object_meta *m = api_object_meta(o);
    size_t cap = s->active_count;
    s->active = arena_grow(c->arena, s->active, s->active_count, &cap, sizeof(*s->active));
    s->active[s->active_count++] = (struct core_v1_object_reference){
        .kind = STR("Job"),
        .api_version = STR("batch/v1"),
        .namespace = m->namespace,
        .name = m->name,
        .uid = m->uid,
        .resource_version = m->resource_version,
    };
}

static void note_success(struct batch_v1_cron_job_status *s, const struct batch_v1_job *j)
{
    if (j->status.completion_time != NULL &&
        (s->last_successful_time == NULL ||
         s->last_successful_time->seconds < j->status.completion_time->seconds))
        s->last_successful_time = j->status.completion_time; /* Held as long as the key. */
}

static void take_stock(struct reconcile *c, struct work *w)
{
    struct batch_v1_cron_job_status *s = &w->copy->status;
    for (size_t i = 0; i < w->count; i++) {
        const struct batch_v1_job *j = job_of(w->jobs[i]);
        bool finished = job_is_finished(&j->status), listed = is_listed(s, j->metadata.uid);
        if (!listed && !finished) {
            event_record(c->run->recorder, &w->about, EVENT_WARNING, "UnexpectedJob",
                         "Saw a job that the controller did not create or forgot: " STR_FMT,
                         STR_ARG(j->metadata.name));
        } else if (listed && finished) {
            unlist(s, j->metadata.uid);
            event_record(c->run->recorder, &w->about, EVENT_NORMAL, "SawCompletedJob",
                         "Saw completed job: " STR_FMT ", condition: %s", STR_ARG(j->metadata.name),
                         is_complete(w->jobs[i]) ? "Complete" : "Failed");
        }
        if (finished)
            note_success(s, j);
    }
}

static void on_missing(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct work *w = c->state;
    const struct core_v1_object_reference *ref = arg;
    if (result->code == 0 && str_eq(api_object_meta(result->object)->uid, ref->uid))
        return; /* On its way to the cache. */
    if (result->code != 0 && result->code != E_NOT_FOUND) {
        reconcile_fail(c);
        return;
    }
    event_record(c->run->recorder, &w->about, EVENT_NORMAL, "MissingJob",
                 "Active job went missing: " STR_FMT, STR_ARG(ref->name));
    unlist(&w->copy->status, ref->uid);
}

/* Jobs in the list that the cache does not have: the server knows. */
static void ask_for_missing(struct reconcile *c, const struct work *w)
{
    const struct batch_v1_cron_job_status *s = &w->cron->status;
    for (size_t i = 0; i < s->active_count; i++) {
        size_t k = 0;
        while (k < w->count && !str_eq(job_of(w->jobs[k])->metadata.uid, s->active[i].uid))
            k++;
        if (k < w->count)
            continue;
        reconcile_call(
            c,
            &(struct client_call){.verb = CLIENT_GET,
                                  .kind = api_kind_by_gvk(STR("batch"), STR("v1"), STR("Job")),
                                  .namespace_name = c->namespace_name,
                                  .name = s->active[i].name},
            on_missing, &s->active[i]);
    }
}

static int older_first(const void *x, const void *y)
{
    const struct batch_v1_job *a = job_of(*(struct api_object *const *)x);
    const struct batch_v1_job *b = job_of(*(struct api_object *const *)y);
    int64_t sa = a->status.start_time != NULL ? a->status.start_time->seconds : 0;
    int64_t sb = b->status.start_time != NULL ? b->status.start_time->seconds : 0;
    return sa < sb ? -1 : sa > sb ? 1 : str_cmp(a->metadata.name, b->metadata.name);
}

static void on_job_deleted(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct work *w = c->state;
    const struct meta_v1_object_meta *m = arg;
    if (result->code == 0 || result->code == E_NOT_FOUND) {
        unlist(&w->copy->status, m->uid);
        event_record(c->run->recorder, &w->about, EVENT_NORMAL, "SuccessfulDelete",
                     "Deleted job " STR_FMT, STR_ARG(m->name));
        return;
    }
    event_record(c->run->recorder, &w->about, EVENT_WARNING, "FailedDelete", "Deleted job: %s",
                 result->message);
    reconcile_fail(c);
}

static void delete_job(struct reconcile *c, const struct api_object *o)
{
    struct meta_v1_object_meta *m = api_object_meta(o);
    reconcile_call(c,
                   &(struct client_call){.verb = CLIENT_DELETE,
                                         .kind = o->kind,
                                         .namespace_name = m->namespace,
                                         .name = m->name,
                                         .uid_precondition = m->uid,
                                         .propagation = CLIENT_PROPAGATE_BACKGROUND},
                   on_job_deleted, m);
}

static void trim_history(struct reconcile *c, const struct work *w, bool complete, int32_t limit)
{
    struct api_object **done = ARENA_ARRAY(c->arena, struct api_object *, w->count + 1);
    size_t n = 0;
    for (size_t i = 0; i < w->count; i++)
        if (job_is_finished(&job_of(w->jobs[i])->status) && is_complete(w->jobs[i]) == complete &&
            job_of(w->jobs[i])->metadata.deletion_timestamp == NULL)
            done[n++] = w->jobs[i];
    if (n != 0)
        qsort(done, n, sizeof(*done), older_first);
    for (size_t i = 0; i + (size_t)MAX_OF(limit, 0) < n; i++) /* The oldest first. */
        delete_job(c, done[i]);
}

/* --- when
 * ----------------------------------------------------------------------------------------- */

static void warn(struct reconcile *c, const struct work *w, const char *reason, struct str message)
{
    event_record(c->run->recorder, &w->about, EVENT_WARNING, reason, STR_FMT, STR_ARG(message));
}

/* False: it cannot be read, and that was said. */
static bool read_schedule(struct reconcile *c, struct work *w)
{
    const struct batch_v1_cron_job_spec *spec = &w->cron->spec;
    struct str text = spec->schedule, zone = spec->has_time_zone ? spec->time_zone : STR_NULL;
    struct error err = {0};
    if (str_find_str(text, STR("TZ")) >= 0)
        warn(c, w, "UnsupportedSchedule",
             arena_printf(c->arena,
                          "CRON_TZ or TZ used in schedule \"" STR_FMT
                          "\" is not officially supported, see https://kubernetes.io/docs/concepts/"
                          "workloads/controllers/cron-jobs/ for more details",
                          STR_ARG(text)));
    if (str_has_prefix(text, STR("TZ=")) || str_has_prefix(text, STR("CRON_TZ="))) {
        str_cut(text, ' ', &zone, &text);
        zone = str_sub(zone, (size_t)(str_find(zone, '=', 0) + 1), zone.len);
        text = str_trim(text);
    }
    w->zone = str_empty(zone) ? NULL : arena_strdup(c->arena, str_c(arena_str(c->arena, zone)));
    if (w->zone != NULL && !cron_zone_exists(zone)) {
        warn(c, w, "UnknownTimeZone",
             arena_printf(c->arena, "invalid timeZone: \"%s\": unknown time zone %s", w->zone,
                          w->zone));
        return false;
    }
    if (cron_parse(text, &w->schedule, &err) != 0) {
        warn(c, w, "UnparseableSchedule",
             arena_printf(c->arena, "unparseable schedule: \"" STR_FMT "\" : %s",
                          STR_ARG(spec->schedule), error_message(&err)));
        return false;
    }
    return true;
}

/* The latest time that is due and not yet served; 0: none. */
static int64_t due_time(struct reconcile *c, const struct work *w)
{
    const struct batch_v1_cron_job *j = w->cron;
    const struct meta_v1_time *last = j->status.last_schedule_time;
    int64_t missed, from = last != NULL ? last->seconds : j->metadata.creation_timestamp.seconds;
    if (j->spec.has_starting_deadline_seconds)
        from = MAX_OF(from, w->now_s - j->spec.starting_deadline_seconds);
    int64_t latest = cron_latest(&w->schedule, from, w->now_s, w->zone, &missed);
    if (missed > MISSED_MAX)
        warn(c, w, "TooManyMissedTimes",
             STR("too many missed start times. Set or decrease .spec.startingDeadlineSeconds or "
                 "check clock skew"));
    return latest;
}

static void come_back(struct reconcile *c, const struct work *w)
{
    int64_t next = cron_next(&w->schedule, w->now_s, w->zone);
    if (next > w->now_s)
        reconcile_again_after(c, (uint64_t)(next - w->now_s) * 1000 + 100);
}

/* --- starting
 * ---------------------------------------------------------------------------------------- */

static void on_written(struct reconcile *c, const struct client_result *result, void *arg)
{
    UNUSED(arg);
    if (result->code == 0)
        written_note(c->run->state, c->key, result->object);
    else if (result->code != E_NOT_FOUND)
        reconcile_fail(c);
}

static void write_status(struct reconcile *c)
{
    const struct work *w = c->state;
    if (api_msg_equal(&batch_v1_cron_job_status_msg, &w->copy->status, &w->cron->status))
        return;
    reconcile_update_seen(c, w->object->kind, w->copy, "status", on_written, NULL);
}

static void observe_skew(const struct work *w, const struct api_object *job)
{
    static const double bounds[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512};
    struct metric_family *f = metric_histogram(
        metrics_default(), "cronjob_controller_job_creation_skew_duration_seconds",
        "Time between when a cronjob is scheduled to be run, and when the corresponding job is "
        "created",
        NULL, bounds, ARRAY_SIZE(bounds));
    int64_t late_s = api_object_meta(job)->creation_timestamp.seconds - w->due_s;
    metric_observe(metric_single(f), (double)MAX_OF(late_s, 0));
}

static void started(struct reconcile *c, struct api_object *job)
{
    struct work *w = c->state;
    struct batch_v1_cron_job_status *s = &w->copy->status;
    if (!is_listed(s, api_object_meta(job)->uid) && !job_is_finished(&job_of(job)->status))
        list_active(c, s, reconcile_hold(c, job));
    s->last_schedule_time = ARENA_NEW(c->arena, struct meta_v1_time);
    s->last_schedule_time->seconds = w->due_s;
}

/* Made by us before a crash, it counts; another's is left alone. */
static void on_existing(struct reconcile *c, const struct client_result *result, void *arg)
{
    const struct work *w = c->state;
    UNUSED(arg);
    if (result->code != 0) {
        reconcile_fail(c);
        return;
    }
    const struct meta_v1_owner_reference *ref = owner_controller(api_object_meta(result->object));
    if (ref != NULL && str_eq(ref->uid, w->cron->metadata.uid))
        started(c, result->object);
}

static void on_started(struct reconcile *c, const struct client_result *result, void *arg)
{
    const struct work *w = c->state;
    const char *name = arg;
    if (result->code == 0 && result->object != NULL) {
        observe_skew(w, result->object);
        event_record(c->run->recorder, &w->about, EVENT_NORMAL, "SuccessfulCreate",
                     "Created job %s", name);
        started(c, result->object);
    } else if (result->code == E_EXISTS) {
        reconcile_call(
            c,
            &(struct client_call){.verb = CLIENT_GET,
                                  .kind = api_kind_by_gvk(STR("batch"), STR("v1"), STR("Job")),
                                  .namespace_name = c->namespace_name,
                                  .name = str_of(name)},
            on_existing, NULL);
    } else if (!is_namespace_terminating(result)) {
        warn(c, w, "FailedCreate",
             arena_printf(c->arena, "Error creating job: %s", result->message));
        reconcile_fail(c);
    }
}

static int by_key(const void *x, const void *y)
{
    return str_cmp(((const struct api_str_entry *)x)->key, ((const struct api_str_entry *)y)->key);
}

/* The name follows from the time: it cannot be started twice. */
static struct str job_name(struct reconcile *c, int64_t when)
{
    return arena_printf(c->arena, STR_FMT "-%lld", STR_ARG(c->name), (long long)(when / 60));
}

static void annotate(struct reconcile *c, const struct work *w, struct batch_v1_job *job)
{
    const struct meta_v1_object_meta *t = &w->cron->spec.job_template.metadata;
    const struct meta_v1_time at = {.seconds = w->due_s};
    char text[TIME_TEXT_MAX];
    size_t n = 0;
    struct api_str_entry *notes =
        ARENA_ARRAY(c->arena, struct api_str_entry, t->annotations_count + 1);
    time_format(&at, text);
    for (size_t i = 0; i < t->annotations_count; i++)
        if (!str_eqc(t->annotations[i].key, NOTE_TIME))
            notes[n++] = t->annotations[i];
    notes[n++] = (struct api_str_entry){STR(NOTE_TIME), arena_strc(c->arena, text)};
    qsort(notes, n, sizeof(*notes), by_key);
    job->metadata.annotations = notes;
    job->metadata.annotations_count = n;
}

static void start_job(struct reconcile *c)
{
    const struct work *w = c->state;
    const struct batch_v1_job_template_spec *t = &w->cron->spec.job_template;
    struct batch_v1_job job = {.spec = t->spec};
    if (c->failed)
        return; /* What was to be replaced is still there. */
    annotate(c, w, &job);
    job.metadata.labels = t->metadata.labels;
    job.metadata.labels_count = t->metadata.labels_count;
    job.metadata.namespace = c->namespace_name;
    job.metadata.name = job_name(c, w->due_s);
    job.metadata.owner_references = ARENA_NEW(c->arena, struct meta_v1_owner_reference);
    job.metadata.owner_references_count = 1;
    owner_reference_to(w->object->kind, &w->cron->metadata, job.metadata.owner_references);
    struct client_call call = {
        .verb = CLIENT_CREATE,
        .kind = api_kind_by_gvk(STR("batch"), STR("v1"), STR("Job")),
        .namespace_name = c->namespace_name,
        .body = &job,
    };
    reconcile_call(c, &call, on_started, arena_strdup(c->arena, str_c(job.metadata.name)));
    reconcile_then(c, write_status);
}

/* By the policy, another one starts beside those that run, in their place, or not at all. */
static void make_room(struct reconcile *c, const struct work *w)
{
    struct str policy = w->cron->spec.concurrency_policy;
    if (w->copy->status.active_count != 0 && str_eqc(policy, "Forbid")) {
        event_record(
            c->run->recorder, &w->about, EVENT_NORMAL, "JobAlreadyActive",
            "Not starting job because prior execution is running and concurrency policy is Forbid");
        return;
    }
    for (size_t i = 0; str_eqc(policy, "Replace") && i < w->count; i++)
        if (is_listed(&w->copy->status, api_object_meta(w->jobs[i])->uid))
            delete_job(c, w->jobs[i]);
    reconcile_then(c, start_job);
}

static bool is_served(struct reconcile *c, const struct work *w)
{
    const struct batch_v1_cron_job_status *s = &w->copy->status;
    struct str name = job_name(c, w->due_s);
    for (size_t i = 0; i < s->active_count; i++)
        if (str_eq(s->active[i].name, name))
            return true;
    return s->last_schedule_time != NULL && s->last_schedule_time->seconds == w->due_s;
}

static void schedule(struct reconcile *c)
{
    struct work *w = c->state;
    reconcile_then(c, write_status);
    if (c->failed || w->cron->metadata.deletion_timestamp != NULL || w->cron->spec.suspend ||
        !read_schedule(c, w))
        return;
    w->due_s = due_time(c, w);
    if (w->due_s != 0 && !is_served(c, w))
        make_room(c, w);
    come_back(c, w);
}

static void trim(struct reconcile *c, const struct work *w)
{
    const struct batch_v1_cron_job_spec *spec = &w->cron->spec;
    if (spec->has_successful_jobs_history_limit)
        trim_history(c, w, true, spec->successful_jobs_history_limit);
    if (spec->has_failed_jobs_history_limit)
        trim_history(c, w, false, spec->failed_jobs_history_limit);
}

static void reconcile(struct reconcile *c)
{
    struct api_object *o =
        informer_get_key(controller_informer(c->run, "batch", "CronJob"), c->key);
    if (o == NULL)
        written_forget(c->run->state, c->key);
    if (o == NULL || written_is_newer(c->run->state, c->key, o))
        return;
    struct work *w = ARENA_NEW(c->arena, struct work);
    c->state = w;
    w->object = reconcile_hold(c, o);
    w->cron = o->msg;
    w->copy = reconcile_copy(c, o);
    w->about = event_object_of(o);
    w->now_s = controller_now_s(c->run);
    size_t count;
    struct api_object *const *jobs =
        controller_owned(c->run, "batch", "Job", w->cron->metadata.uid, &count);
    w->jobs = ARENA_ARRAY(c->arena, struct api_object *, count + 1);
    for (size_t i = 0; i < count; i++)
        w->jobs[w->count++] = reconcile_hold(c, jobs[i]);
    take_stock(c, w);
    ask_for_missing(c, w);
    trim(c, w);
    reconcile_then(c, schedule);
}

static const struct controller_watch watches[] = {
    {"batch", "v1", "CronJob", touch_cron},
    {"batch", "v1", "Job", touch_job},
    {0},
};

const struct controller controller_cronjob = {
    .name = "cronjob-controller",
    .init = init,
    .done = done,
    .watches = watches,
    .reconcile = reconcile,
};
