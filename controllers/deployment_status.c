/* deployment_status.c - see deployment_status.h. */
#include "controllers/deployment_status.h"

#include "api/apps_v1.h"
#include "api/meta_v1.h"
#include "lib/base/arena.h"
#include "lib/base/base.h"

/* A deadline of this many seconds means none. */
#define DEADLINE_NONE INT32_MAX

struct editor {
    struct arena *a;
    struct apps_v1_deployment_status *st;
    int64_t now_s;
};

static const struct apps_v1_deployment_condition *find(const struct apps_v1_deployment_status *st,
                                                       const char *type)
{
    for (size_t i = 0; i < st->conditions_count; i++)
        if (str_eqc(st->conditions[i].type, type))
            return &st->conditions[i];
    return NULL;
}

static void remove_condition(struct editor *e, const char *type)
{
    size_t kept = 0;
    struct apps_v1_deployment_condition *list =
        ARENA_ARRAY(e->a, struct apps_v1_deployment_condition, e->st->conditions_count);
    for (size_t i = 0; i < e->st->conditions_count; i++)
        if (!str_eqc(e->st->conditions[i].type, type))
            list[kept++] = e->st->conditions[i];
    e->st->conditions = list;
    e->st->conditions_count = kept;
}

/* Same status and reason: nothing moves, not even the times. */
static void put_condition(struct editor *e, struct apps_v1_deployment_condition c)
{
    const struct apps_v1_deployment_condition *now = find(e->st, c.type.data);
    if (now != NULL && str_eq(now->status, c.status) && str_eq(now->reason, c.reason))
        return;
    if (now != NULL && str_eq(now->status, c.status))
        c.last_transition_time = now->last_transition_time;
    remove_condition(e, c.type.data);
    struct apps_v1_deployment_condition *list =
        ARENA_ARRAY(e->a, struct apps_v1_deployment_condition, e->st->conditions_count + 1);
    for (size_t i = 0; i < e->st->conditions_count; i++)
        list[i] = e->st->conditions[i];
    list[e->st->conditions_count++] = c;
    e->st->conditions = list;
}

static void set_condition(struct editor *e, const char *type, const char *status, struct str reason,
                          struct str message)
{
    put_condition(
        e, (struct apps_v1_deployment_condition){.type = str_of(type),
                                                 .status = str_of(status),
                                                 .last_update_time = {.seconds = e->now_s},
                                                 .last_transition_time = {.seconds = e->now_s},
                                                 .reason = reason,
                                                 .message = message});
}

static int32_t wanted(const struct apps_v1_deployment *d)
{
    return d->spec.has_replicas ? d->spec.replicas : 1;
}

static bool has_deadline(const struct apps_v1_deployment *d)
{
    return d->spec.has_progress_deadline_seconds &&
           d->spec.progress_deadline_seconds != DEADLINE_NONE;
}

bool deployment_is_complete(const struct apps_v1_deployment *d,
                            const struct apps_v1_deployment_status *s)
{
    return s->updated_replicas == wanted(d) && s->replicas == wanted(d) &&
           s->available_replicas == wanted(d) && s->observed_generation >= d->metadata.generation;
}

static void count(struct editor *e, const struct status_input *in)
{
    struct apps_v1_deployment_status *st = e->st;
    int32_t size = 0, terminating = 0;
    bool all_tell = true;
    st->observed_generation = in->deployment->metadata.generation;
    st->replicas = st->ready_replicas = st->available_replicas = 0;
    for (size_t i = 0; i < in->set_count; i++) {
        const struct apps_v1_replica_set *s = in->sets[i];
        size += s->spec.has_replicas ? s->spec.replicas : 1;
        st->replicas += s->status.replicas;
        st->ready_replicas += s->status.ready_replicas;
        st->available_replicas += s->status.available_replicas;
        all_tell &= s->status.has_terminating_replicas;
        terminating += s->status.terminating_replicas;
    }
    st->updated_replicas = in->new_set != NULL ? in->new_set->status.replicas : 0;
    st->unavailable_replicas = MAX_OF(size - st->available_replicas, 0);
    st->has_terminating_replicas = all_tell; /* A sum of some would be no sum. */
    st->terminating_replicas = all_tell ? terminating : 0;
}

static bool made_progress(const struct apps_v1_deployment_status *before,
                          const struct apps_v1_deployment_status *now)
{
    return now->updated_replicas > before->updated_replicas ||
           now->replicas - now->updated_replicas < before->replicas - before->updated_replicas ||
           now->ready_replicas > before->ready_replicas ||
           now->available_replicas > before->available_replicas;
}

static bool timed_out(const struct editor *e, const struct apps_v1_deployment *d)
{
    const struct apps_v1_deployment_condition *c = find(&d->status, "Progressing");
    if (c == NULL || !has_deadline(d))
        return false;
    if (str_eqc(c->reason, "NewReplicaSetAvailable"))
        return false;
    if (str_eqc(c->reason, "ProgressDeadlineExceeded"))
        return true;
    return c->last_update_time.seconds + d->spec.progress_deadline_seconds < e->now_s;
}

static struct str subject(const struct editor *e, const struct status_input *in, const char *what)
{
    if (in->new_set != NULL)
        return arena_printf(e->a, "ReplicaSet \"" STR_FMT "\" %s",
                            STR_ARG(in->new_set->metadata.name), what);
    return arena_printf(e->a, "Deployment \"" STR_FMT "\" %s",
                        STR_ARG(in->deployment->metadata.name), what);
}

/* Says when the deployment is paused or goes on again, unless it is known not to progress.
 * True: it just did. */
static bool pause(struct editor *e, const struct apps_v1_deployment *d)
{
    const struct apps_v1_deployment_condition *c = find(e->st, "Progressing");
    if (!has_deadline(d) || (c != NULL && str_eqc(c->reason, "ProgressDeadlineExceeded")))
        return false;
    bool was_paused = c != NULL && str_eqc(c->reason, "DeploymentPaused");
    if (was_paused == d->spec.paused)
        return false;
    if (d->spec.paused)
        set_condition(e, "Progressing", "Unknown", STR("DeploymentPaused"),
                      STR("Deployment is paused"));
    else
        set_condition(e, "Progressing", "Unknown", STR("DeploymentResumed"),
                      STR("Deployment is resumed"));
    return true;
}

static void progress(struct editor *e, const struct status_input *in)
{
    const struct apps_v1_deployment *d = in->deployment;
    const struct apps_v1_deployment_condition *c = find(e->st, "Progressing");
    if (!has_deadline(d)) {
        remove_condition(e, "Progressing");
        return;
    }
    if (in->created != NULL) {
        set_condition(e, "Progressing", "True", STR("NewReplicaSetCreated"),
                      arena_printf(e->a, "Created new replica set \"" STR_FMT "\"",
                                   STR_ARG(in->created->metadata.name)));
        return;
    }
    if (c == NULL && in->new_set != NULL) {
        set_condition(e, "Progressing", "True", STR("FoundNewReplicaSet"),
                      arena_printf(e->a, "Found new replica set \"" STR_FMT "\"",
                                   STR_ARG(in->new_set->metadata.name)));
        c = find(e->st, "Progressing");
    }
    bool was_complete = e->st->replicas == e->st->updated_replicas && c != NULL &&
                        str_eqc(c->reason, "NewReplicaSetAvailable");
    if (was_complete)
        return;
    if (deployment_is_complete(d, e->st)) {
        set_condition(e, "Progressing", "True", STR("NewReplicaSetAvailable"),
                      subject(e, in, "has successfully progressed."));
    } else if (made_progress(&d->status, e->st)) {
        /* The deadline counts from here: the update time moves each time. */
        struct meta_v1_time since = {.seconds = e->now_s};
        if (c != NULL && str_eqc(c->status, "True"))
            since = c->last_transition_time;
        remove_condition(e, "Progressing");
        set_condition(e, "Progressing", "True", STR("ReplicaSetUpdated"),
                      subject(e, in, "is progressing."));
        e->st->conditions[e->st->conditions_count - 1].last_transition_time = since;
    } else if (timed_out(e, d)) {
        set_condition(e, "Progressing", "False", STR("ProgressDeadlineExceeded"),
                      subject(e, in, "has timed out progressing."));
    }
}

static void availability(struct editor *e, const struct status_input *in)
{
    if (e->st->available_replicas >= wanted(in->deployment) - in->max_unavailable)
        set_condition(e, "Available", "True", STR("MinimumReplicasAvailable"),
                      STR("Deployment has minimum availability."));
    else
        set_condition(e, "Available", "False", STR("MinimumReplicasUnavailable"),
                      STR("Deployment does not have minimum availability."));
}

/* The first failure that a set reports, the new set's before others'. */
static void failure(struct editor *e, const struct status_input *in)
{
    const struct apps_v1_replica_set_condition *found = NULL;
    for (size_t i = 0; i <= in->set_count; i++) {
        const struct apps_v1_replica_set *s = i == 0 ? in->new_set : in->sets[i - 1];
        for (size_t k = 0; found == NULL && s != NULL && k < s->status.conditions_count; k++)
            if (str_eqc(s->status.conditions[k].type, "ReplicaFailure"))
                found = &s->status.conditions[k];
    }
    if (found != NULL)
        put_condition(e, (struct apps_v1_deployment_condition){
                             .type = STR("ReplicaFailure"),
                             .status = found->status,
                             .last_update_time = found->last_transition_time,
                             .last_transition_time = found->last_transition_time,
                             .reason = found->reason,
                             .message = found->message});
    else
        remove_condition(e, "ReplicaFailure");
}

struct apps_v1_deployment_status *deployment_status_not_created(struct arena *a,
                                                                const struct apps_v1_deployment *d,
                                                                struct str message, int64_t now_s)
{
    struct editor e = {a, ARENA_NEW(a, struct apps_v1_deployment_status), now_s};
    *e.st = d->status;
    if (has_deadline(d))
        set_condition(&e, "Progressing", "False", STR("ReplicaSetCreateError"), message);
    return e.st;
}

struct apps_v1_deployment_status *deployment_status(struct arena *a, const struct status_input *in,
                                                    uint64_t *ret_again_after_s)
{
    const struct apps_v1_deployment *d = in->deployment;
    struct editor e = {a, ARENA_NEW(a, struct apps_v1_deployment_status), in->now_s};
    *e.st = d->status;
    count(&e, in);
    availability(&e, in);
    bool paused = d->metadata.deletion_timestamp == NULL && pause(&e, d);
    if (in->estimates) {
        if (!paused)
            progress(&e, in);
        failure(&e, in);
    }
    *ret_again_after_s = 0;
    const struct apps_v1_deployment_condition *c = find(e.st, "Progressing");
    if (c != NULL && has_deadline(d) && !d->spec.paused && !deployment_is_complete(d, e.st) &&
        !str_eqc(c->reason, "ProgressDeadlineExceeded")) {
        int64_t left = c->last_update_time.seconds + d->spec.progress_deadline_seconds - in->now_s;
        *ret_again_after_s = (uint64_t)MAX_OF(left, (int64_t)0) + 1;
    }
    return e.st;
}
