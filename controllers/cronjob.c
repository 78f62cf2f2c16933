/* cronjob.c - starts Jobs by the clock. A time that was missed (we were down, the
 * CronJob was suspended) is made up for once, if startingDeadlineSeconds allows. */
#include "controllers/controller.h"
#include "controllers/job_plan.h"
#include "controllers/owned.h"

#include "api/batch_v1.h"
#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/cron.h"
#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

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
    const char *zone;
    struct event_object about;
};

static const struct batch_v1_job *job_of(const struct api_object *o)
{
    return o->msg;
}

static bool is_active(const struct api_object *o)
{
    return !job_is_finished(&job_of(o)->status) && job_of(o)->metadata.deletion_timestamp == NULL;
}

static bool is_complete(const struct api_object *o)
{
    return job_of(o)->status.completion_time != NULL;
}

/* --- jobs that are there ------------------------------------------------------------------------
 */

static bool was_active(const struct work *w, struct str uid)
{
    for (size_t i = 0; i < w->cron->status.active_count; i++)
        if (str_eq(w->cron->status.active[i].uid, uid))
            return true;
    return false;
}

static void add_active(struct reconcile *c, struct batch_v1_cron_job_status *s,
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

static void take_stock(struct reconcile *c, struct work *w)
{
    struct batch_v1_cron_job_status *s = &w->copy->status;
    s->active = NULL;
    s->active_count = 0;
    for (size_t i = 0; i < w->count; i++) {
        const struct batch_v1_job *j = job_of(w->jobs[i]);
        if (is_active(w->jobs[i])) {
            add_active(c, s, w->jobs[i]);
        } else if (was_active(w, j->metadata.uid)) {
            event_record(c->run->recorder, &w->about, EVENT_NORMAL, "SawCompletedJob",
                         "Saw completed job: " STR_FMT ", condition: %s", STR_ARG(j->metadata.name),
                         is_complete(w->jobs[i]) ? "Complete" : "Failed");
        }
        if (is_complete(w->jobs[i]) &&
            (s->last_successful_time == NULL ||
             s->last_successful_time->seconds < j->status.completion_time->seconds))
            s->last_successful_time =
                arena_memdup(c->arena, j->status.completion_time, sizeof(struct meta_v1_time));
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

static void delete_job(struct reconcile *c, const struct work *w, const struct api_object *o)
{
    const struct meta_v1_object_meta *m = api_object_meta(o);
    struct client_call call = {
        .verb = CLIENT_DELETE,
        .kind = o->kind,
        .namespace_name = m->namespace,
        .name = m->name,
        .uid_precondition = m->uid,
        .propagation = CLIENT_PROPAGATE_BACKGROUND,
    };
    reconcile_call(c, &call, NULL, NULL);
    event_record(c->run->recorder, &w->about, EVENT_NORMAL, "SuccessfulDelete",
                 "Deleted job " STR_FMT, STR_ARG(m->name));
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
    for (size_t i = 0; i + (size_t)MAX_OF(limit, 0) < n; i++)
        delete_job(c, w, done[i]);
}

/* --- when
 * ----------------------------------------------------------------------------------------- */

/* The latest time that is due and not yet served; 0: none. */
static int64_t due_time(struct reconcile *c, const struct work *w, int64_t now)
{
    const struct batch_v1_cron_job *j = w->cron;
    int64_t from = j->status.last_schedule_time != NULL ? j->status.last_schedule_time->seconds
                                                        : j->metadata.creation_timestamp.seconds;
    if (j->spec.has_starting_deadline_seconds)
        from = MAX_OF(from, now - j->spec.starting_deadline_seconds);
    int64_t latest = 0, t = cron_next(&w->schedule, from, w->zone);
    for (unsigned missed = 0; t != 0 && t <= now; missed++) {
        latest = t;
        if (missed == MISSED_MAX) {
            event_record(
                c->run->recorder, &w->about, EVENT_WARNING, "TooManyMissedTimes",
                "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or "
                "check clock skew");
            /* Near enough to now to find the last one quickly. */
            t = MAX_OF(t, now - 24 * 3600);
        }
        t = cron_next(&w->schedule, t, w->zone);
    }
    return latest;
}

static void come_back(struct reconcile *c, const struct work *w, int64_t now)
{
    int64_t next = cron_next(&w->schedule, now, w->zone);
    if (next > now)
        reconcile_again_after(c, (uint64_t)(next - now) * 1000 + 100);
}

/* --- starting
 * ---------------------------------------------------------------------------------------- */

static void write_status(struct reconcile *c)
{
    const struct work *w = c->state;
    if (!api_msg_equal(&batch_v1_cron_job_status_msg, &w->copy->status, &w->cron->status))
        reconcile_update(c, w->object->kind, w->copy, "status");
}

static void on_started(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct work *w = c->state;
    const int64_t *when = arg;
    if (result->code == 0 && result->object != NULL) {
        event_record(c->run->recorder, &w->about, EVENT_NORMAL, "SuccessfulCreate",
                     "Created job " STR_FMT, STR_ARG(api_object_meta(result->object)->name));
        add_active(c, &w->copy->status, reconcile_hold(c, result->object));
    } else if (result->code != E_EXISTS) {
        if (is_namespace_terminating(result))
            return;
        event_record(c->run->recorder, &w->about, EVENT_WARNING, "FailedCreate",
                     "Error creating job: %s", result->message);
        reconcile_fail(c);
        return;
    }
    struct meta_v1_time *t = ARENA_NEW(c->arena, struct meta_v1_time);
    t->seconds = *when;
    w->copy->status.last_schedule_time = t;
}

static int by_key(const void *x, const void *y)
{
    return str_cmp(((const struct api_str_entry *)x)->key, ((const struct api_str_entry *)y)->key);
}

static void start_job(struct reconcile *c, struct work *w, int64_t when)
{
    const struct batch_v1_job_template_spec *t = &w->cron->spec.job_template;
    struct batch_v1_job job = {.spec = t->spec};
    struct meta_v1_time at = {.seconds = when};
    char text[TIME_TEXT_MAX];
    time_format(&at, text);
    size_t n = t->metadata.annotations_count;
    struct api_str_entry *notes = ARENA_ARRAY(c->arena, struct api_str_entry, n + 1);
    if (n != 0)
        memcpy(notes, t->metadata.annotations, n * sizeof(*notes));
    notes[n++] = (struct api_str_entry){STR(NOTE_TIME), arena_strc(c->arena, text)};
    qsort(notes, n, sizeof(*notes), by_key);
    job.metadata.annotations = notes;
    job.metadata.annotations_count = n;
    job.metadata.labels = t->metadata.labels;
    job.metadata.labels_count = t->metadata.labels_count;
    job.metadata.namespace = c->namespace_name;
    /* The name follows from the time: it cannot be started twice. */
    job.metadata.name =
        arena_printf(c->arena, STR_FMT "-%lld", STR_ARG(c->name), (long long)(when / 60));
    job.metadata.owner_references = ARENA_NEW(c->arena, struct meta_v1_owner_reference);
    job.metadata.owner_references_count = 1;
    owner_reference_to(w->object->kind, &w->cron->metadata, job.metadata.owner_references);
    struct client_call call = {
        .verb = CLIENT_CREATE,
        .kind = api_kind_by_gvk(STR("batch"), STR("v1"), STR("Job")),
        .namespace_name = c->namespace_name,
        .body = &job,
    };
    reconcile_call(c, &call, on_started, arena_memdup(c->arena, &when, sizeof(when)));
}

/* May another one start now? */
static bool concurrency_allows(struct reconcile *c, struct work *w)
{
    struct str policy = w->cron->spec.concurrency_policy;
    if (w->copy->status.active_count == 0)
        return true;
    if (str_eqc(policy, "Forbid")) {
        event_record(
            c->run->recorder, &w->about, EVENT_NORMAL, "JobAlreadyActive",
            "Not starting job because prior execution is running and concurrency policy is Forbid");
        return false;
    }
    if (str_eqc(policy, "Replace")) {
        for (size_t i = 0; i < w->count; i++)
            if (is_active(w->jobs[i]))
                delete_job(c, w, w->jobs[i]);
        w->copy->status.active_count = 0;
    }
    return true;
}

static void schedule(struct reconcile *c, struct work *w)
{
    int64_t now = controller_now_s(c->run);
    struct error err = {0};
    if (cron_parse(w->cron->spec.schedule, &w->schedule, &err) != 0) {
        event_record(c->run->recorder, &w->about, EVENT_WARNING, "UnparseableSchedule",
                     "unparseable schedule for cronjob: %s", error_message(&err));
        return;
    }
    w->zone = w->cron->spec.has_time_zone ? str_c(w->cron->spec.time_zone) : NULL;
    if (w->cron->spec.suspend)
        return;
    int64_t when = due_time(c, w, now);
    if (when != 0 && concurrency_allows(c, w))
        start_job(c, w, when);
    come_back(c, w, now);
}

static void reconcile(struct reconcile *c)
{
    struct api_object *o =
        informer_get_key(controller_informer(c->run, "batch", "CronJob"), c->key);
    if (o == NULL || api_object_meta(o)->deletion_timestamp != NULL)
        return;
    struct work *w = ARENA_NEW(c->arena, struct work);
    c->state = w;
    w->object = reconcile_hold(c, o);
    w->cron = o->msg;
    w->copy = reconcile_copy(c, o);
    w->about = event_object_of(o);
    size_t count;
    struct api_object *const *jobs =
        controller_owned(c->run, "batch", "Job", w->cron->metadata.uid, &count);
    w->jobs = ARENA_ARRAY(c->arena, struct api_object *, count + 1);
    for (size_t i = 0; i < count; i++)
        w->jobs[w->count++] = reconcile_hold(c, jobs[i]);
    take_stock(c, w);
    const struct batch_v1_cron_job_spec *spec = &w->cron->spec;
    trim_history(c, w, true,
                 spec->has_successful_jobs_history_limit ? spec->successful_jobs_history_limit : 3);
    trim_history(c, w, false,
                 spec->has_failed_jobs_history_limit ? spec->failed_jobs_history_limit : 1);
    schedule(c, w);
    reconcile_then(c, write_status);
}

static const struct controller_watch watches[] = {
    {"batch", "v1", "CronJob", touch_cron},
    {"batch", "v1", "Job", touch_job},
    {0},
};

const struct controller controller_cronjob = {
    .name = "cronjob-controller",
    .watches = watches,
    .reconcile = reconcile,
};
