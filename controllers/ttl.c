/* ttl.c - two controllers that delete what has had its time: finished Jobs
 * (spec.ttlSecondsAfterFinished) and expired bootstrap tokens. */
#include "controllers/controller.h"
#include "controllers/job_plan.h"

#include "api/batch_v1.h"
#include "api/core_v1.h"
#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/log.h"

#define TOKEN_NAMESPACE "kube-system"
#define TOKEN_TYPE "bootstrap.kubernetes.io/token"

static void touch(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    (void)old;
    if (o != NULL)
        controller_enqueue_object(r, o);
}

/* --- Jobs ----------------------------------------------------------------------------------- */

static int64_t finished_at(const struct batch_v1_job *j)
{
    for (size_t i = 0; i < j->status.conditions_count; i++) {
        const struct batch_v1_job_condition *x = &j->status.conditions[i];
        bool end = str_eqc(x->type, "Complete") || str_eqc(x->type, "Failed");
        if (end && str_eqc(x->status, "True"))
            return x->last_transition_time.seconds;
    }
    return 0;
}

static void reconcile_job(struct reconcile *c)
{
    struct api_object *o = informer_get_key(controller_informer(c->run, "batch", "Job"), c->key);
    const struct batch_v1_job *j = o != NULL ? o->msg : NULL;
    if (j == NULL || j->metadata.deletion_timestamp != NULL ||
        !j->spec.has_ttl_seconds_after_finished || !job_is_finished(&j->status))
        return;
    int64_t left = finished_at(j) + j->spec.ttl_seconds_after_finished - controller_now_s(c->run);
    if (left > 0) {
        reconcile_again_after(c, (uint64_t)left * 1000);
        return;
    }
    struct client_call call = {
        .verb = CLIENT_DELETE,
        .kind = o->kind,
        .namespace_name = c->namespace_name,
        .name = c->name,
        .propagation = CLIENT_PROPAGATE_FOREGROUND,
        .uid_precondition = j->metadata.uid,
        .rv_precondition = j->metadata.resource_version, /* The time may have been changed. */
    };
    reconcile_call(c, &call, NULL, NULL);
}

static const struct controller_watch job_watches[] = {
    {"batch", "v1", "Job", touch},
    {0},
};

const struct controller controller_ttlafterfinished = {
    .name = "ttl-after-finished-controller",
    .watches = job_watches,
    .reconcile = reconcile_job,
};

/* --- bootstrap tokens ---------------------------------------------------------------------------
 */

static void touch_secret(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    (void)old;
    const struct core_v1_secret *s = o != NULL ? o->msg : NULL;
    if (s != NULL && str_eqc(s->metadata.namespace, TOKEN_NAMESPACE) &&
        str_eqc(s->type, TOKEN_TYPE))
        controller_enqueue_object(r, o);
}

static void reconcile_token(struct reconcile *c)
{
    struct api_object *o = informer_get_key(controller_informer(c->run, "", "Secret"), c->key);
    const struct core_v1_secret *s = o != NULL ? o->msg : NULL;
    struct meta_v1_time expires;
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->data_count; i++) {
        if (!str_eqc(s->data[i].key, "expiration"))
            continue;
        if (time_parse(s->data[i].value, &expires, NULL) != 0) {
            log_warning("bootstrap token " STR_FMT ": its expiration is no time; it never expires",
                        STR_ARG(c->key));
            return;
        }
        int64_t left = expires.seconds - controller_now_s(c->run);
        if (left > 0)
            reconcile_again_after(c, (uint64_t)left * 1000);
        else
            reconcile_delete(c, o->kind, &s->metadata);
        return;
    }
}

static const struct controller_watch secret_watches[] = {
    {"", "v1", "Secret", touch_secret},
    {0},
};

const struct controller controller_tokencleaner = {
    .name = "token-cleaner-controller",
    .watches = secret_watches,
    .reconcile = reconcile_token,
};
