/* leader_election.c - see leader_election.h.
 *
 * A round: [GET] -> judge -> PUT or POST. A leader that knows the lease's
 * version skips the GET. Rounds start every retry period; the deadline timer
 * runs from when the last successful write was sent, never from its answer:
 * that is when the others begin to count. */
#include "lib/client/leader_election.h"

#include "api/coordination_v1.h"
#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/metrics.h"
#include "lib/client/client.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#define RELEASE_TIMEOUT_MS 2000

struct leader_election {
    struct client *client;
    struct env *env;
    const struct api_kind *kind;
    char *namespace_name;
    char *name;
    char *identity;
    uint32_t lease_duration_ms;
    uint32_t renew_deadline_ms;
    uint32_t retry_period_ms;
    void (*on_started)(void *arg);
    void (*on_stopped)(void *arg);
    void (*on_new_leader)(const char *identity, void *arg);
    void *arg;

    bool leading;
    struct api_object *observed; /* The lease as last seen; NULL: never. */
    uint64_t observed_ms;        /* When it was seen to change. */
    char *holder;
    struct client_request *request;
    uint64_t sent_ms; /* When the write under way was sent. */
    unsigned failures;
    uv_timer_t round;
    uv_timer_t deadline;
    unsigned handles_open;
    bool closing;
    void (*on_closed)(void *arg);
    void *on_closed_arg;
};

static void begin_round(struct leader_election *e);

static struct coordination_v1_lease *lease_of(const struct api_object *o)
{
    return o->msg;
}

/* --- state ------------------------------------------------------------------------------- */

static void note_holder(struct leader_election *e, struct str holder)
{
    if (str_eqc(holder, e->holder))
        return;
    free(e->holder);
    e->holder = xstrndup(str_c(holder), holder.len);
    if (!str_empty(holder) && e->on_new_leader != NULL)
        e->on_new_leader(e->holder, e->arg);
}

/* Takes over the reference. */
static void observe(struct leader_election *e, struct api_object *o)
{
    bool changed = e->observed == NULL || !str_eq(lease_of(o)->metadata.resource_version,
                                                  lease_of(e->observed)->metadata.resource_version);
    if (changed)
        e->observed_ms = env_now_ms(e->env);
    api_object_unref(e->observed);
    e->observed = o;
    note_holder(e, lease_of(o)->spec.holder_identity);
}

static void forget_observed(struct leader_election *e)
{
    api_object_unref(e->observed);
    e->observed = NULL;
}

/* By upstream's names. */
static void tell(const struct leader_election *e)
{
    struct metric_family *f = metric_gauge(
        metrics_default(), "leader_election_master_status",
        "Gauge of if the reporting system is master of the relevant lease, 0 indicates backup, 1 "
        "indicates master. 'name' is the string used to identify the lease. Please make sure to "
        "group by name.",
        METRIC_LABELS("name"));
    metric_set(METRIC_OF(f, str_of(e->name)), e->leading);
}

static void stop_leading(struct leader_election *e, const char *why)
{
    if (!e->leading)
        return;
    e->leading = false;
    tell(e);
    uv_timer_stop(&e->deadline);
    log_warning("stopped leading %s/%s: %s", e->namespace_name, e->name, why);
    e->on_stopped(e->arg);
}

static void on_deadline(uv_timer_t *timer)
{
    struct leader_election *e = timer->data;
    if (e->request != NULL)
        client_cancel(take(e->request));
    forget_observed(e);
    stop_leading(e, "the lease could not be renewed in time");
    begin_round(e);
}

static void write_succeeded(struct leader_election *e)
{
    uint64_t now = env_now_ms(e->env), until = e->sent_ms + e->renew_deadline_ms;
    e->failures = 0;
    uv_update_time(e->deadline.loop);
    uv_timer_start(&e->deadline, on_deadline, until > now ? until - now : 0, 0);
    if (e->leading)
        return;
    e->leading = true;
    tell(e);
    log_info("leading %s/%s as %s", e->namespace_name, e->name, e->identity);
    e->on_started(e->arg);
}

/* --- rounds ------------------------------------------------------------------------------ */

static void on_round_timer(uv_timer_t *timer)
{
    begin_round(timer->data);
}

static void next_round(struct leader_election *e)
{
    if (e->closing)
        return;
    /* Contenders spread out; a leader keeps its beat. */
    uint64_t jitter = e->leading ? 0 : env_random_below(e->env, e->retry_period_ms / 5 + 1);
    uv_timer_start(&e->round, on_round_timer, e->retry_period_ms + jitter, 0);
}

static void round_failed(struct leader_election *e, const struct client_result *result)
{
    /* A conflict means that somebody else was faster: read again. */
    forget_observed(e);
    bool expected = result->code == E_CONFLICT || result->code == E_EXISTS;
    e->failures++;
    if (!expected && (e->failures & (e->failures - 1)) == 0)
        log_warning("lease %s/%s (try %u): %s", e->namespace_name, e->name, e->failures,
                    result->message);
    next_round(e);
}

static void on_write_done(struct client_request *r, const struct client_result *result, void *arg)
{
    struct leader_election *e = arg;
    UNUSED(r);
    e->request = NULL;
    if (result->code != 0 || result->object == NULL) {
        round_failed(e, result);
        return;
    }
    observe(e, api_object_ref(result->object));
    write_succeeded(e);
    next_round(e);
}

static bool held_by_us(const struct leader_election *e, const struct coordination_v1_lease *l)
{
    return str_eqc(l->spec.holder_identity, e->identity);
}

static void fill_spec(struct leader_election *e, struct api_object *o)
{
    struct coordination_v1_lease_spec *s = &lease_of(o)->spec;
    struct meta_v1_micro_time now = micro_time_from_ns(env_wall_ns(e->env));
    bool was_ours = held_by_us(e, lease_of(o));
    bool is_new = !s->has_lease_transitions;
    s->has_holder_identity = true;
    s->holder_identity = arena_strc(o->arena, e->identity);
    s->has_lease_duration_seconds = true;
    s->lease_duration_seconds = (int32_t)((e->lease_duration_ms + 999) / 1000);
    s->renew_time = arena_memdup(o->arena, &now, sizeof(now));
    if (!was_ours || s->acquire_time == NULL) {
        s->acquire_time = arena_memdup(o->arena, &now, sizeof(now));
        s->lease_transitions += is_new ? 0 : 1;
    }
    s->has_lease_transitions = true;
}

static void start_call(struct leader_election *e, struct client_call *call)
{
    struct error err = {0};
    call->kind = e->kind;
    call->namespace_name = str_of(e->namespace_name);
    call->timeout_ms = MAX_OF(e->renew_deadline_ms / 2, 1000u);
    call->arg = e;
    e->sent_ms = env_now_ms(e->env);
    if (client_start(e->client, call, &e->request, &err) != 0) {
        struct client_result failed = {.code = err.code, .message = error_message(&err)};
        e->request = NULL;
        round_failed(e, &failed);
    }
}

static void write_lease(struct leader_election *e, enum client_verb verb, struct api_object *o)
{
    fill_spec(e, o);
    struct client_call call = {.verb = verb, .body = o->msg, .done = on_write_done};
    if (verb == CLIENT_UPDATE)
        call.name = str_of(e->name);
    start_call(e, &call);
    api_object_unref(o);
}

static void create_lease(struct leader_election *e)
{
    struct api_object *o = api_object_new(e->kind);
    lease_of(o)->metadata.namespace = arena_strc(o->arena, e->namespace_name);
    lease_of(o)->metadata.name = arena_strc(o->arena, e->name);
    write_lease(e, CLIENT_CREATE, o);
}

static bool may_take(const struct leader_election *e)
{
    const struct coordination_v1_lease *l = lease_of(e->observed);
    if (str_empty(l->spec.holder_identity) || held_by_us(e, l))
        return true;
    uint64_t duration_ms = l->spec.has_lease_duration_seconds && l->spec.lease_duration_seconds > 0
                               ? (uint64_t)l->spec.lease_duration_seconds * 1000
                               : e->lease_duration_ms;
    return env_now_ms(e->env) - e->observed_ms >= duration_ms;
}

static void judge(struct leader_election *e)
{
    if (may_take(e)) {
        write_lease(e, CLIENT_UPDATE, api_object_clone(e->observed));
        return;
    }
    stop_leading(e, "another instance holds the lease");
    next_round(e);
}

static void on_get_done(struct client_request *r, const struct client_result *result, void *arg)
{
    struct leader_election *e = arg;
    UNUSED(r);
    e->request = NULL;
    if (result->code == E_NOT_FOUND) {
        create_lease(e);
    } else if (result->code != 0 || result->object == NULL) {
        /* Keep what was observed: its time goes on counting. */
        struct client_result copy = *result;
        struct api_object *kept = take(e->observed);
        round_failed(e, &copy);
        e->observed = kept;
    } else {
        observe(e, api_object_ref(result->object));
        judge(e);
    }
}

static void begin_round(struct leader_election *e)
{
    if (e->closing || e->request != NULL)
        return;
    uv_timer_stop(&e->round);
    if (e->leading && e->observed != NULL) {
        write_lease(e, CLIENT_UPDATE, api_object_clone(e->observed));
        return;
    }
    struct client_call call = {.verb = CLIENT_GET, .name = str_of(e->name), .done = on_get_done};
    start_call(e, &call);
}

/* --- life -------------------------------------------------------------------------------- */

static char *default_identity(struct env *env)
{
    char host[256] = "localhost", uuid[37];
    gethostname(host, sizeof(host) - 1);
    env_uuid(env, uuid);
    return xasprintf("%s_%s", host, uuid);
}

int leader_election_new(const struct leader_election_config *config, struct leader_election **ret,
                        struct error *err)
{
    uint32_t lease = config->lease_duration_ms != 0 ? config->lease_duration_ms : 15000;
    uint32_t renew = config->renew_deadline_ms != 0 ? config->renew_deadline_ms : 10000;
    uint32_t retry = config->retry_period_ms != 0 ? config->retry_period_ms : 2000;
    if (renew >= lease)
        return error_set(err, E_INVALID, "leaseDuration must be greater than renewDeadline");
    if (retry + retry / 5 >= renew)
        return error_set(err, E_INVALID,
                         "renewDeadline must be greater than retryPeriod*JitterFactor");
    struct leader_election *e = xzalloc(sizeof(*e));
    e->client = config->client;
    e->env = client_env(config->client);
    e->kind = api_kind_by_gvk(STR("coordination.k8s.io"), STR("v1"), STR("Lease"));
    ASSERT(e->kind != NULL);
    e->namespace_name = xstrdup(config->namespace_name);
    e->name = xstrdup(config->name);
    e->identity = config->identity != NULL ? xstrdup(config->identity) : default_identity(e->env);
    e->holder = xstrdup("");
    e->lease_duration_ms = lease;
    e->renew_deadline_ms = renew;
    e->retry_period_ms = retry;
    e->on_started = config->on_started;
    e->on_stopped = config->on_stopped;
    e->on_new_leader = config->on_new_leader;
    e->arg = config->arg;
    uv_timer_init(client_loop(e->client), &e->round);
    uv_timer_init(client_loop(e->client), &e->deadline);
    e->round.data = e->deadline.data = e;
    e->handles_open = 2;
    *ret = e;
    return 0;
}

void leader_election_start(struct leader_election *e)
{
    tell(e);
    uv_timer_start(&e->round, on_round_timer, 0, 0);
}

bool leader_election_is_leader(const struct leader_election *e)
{
    return e->leading;
}

const char *leader_election_holder(const struct leader_election *e)
{
    return e->holder;
}

static void on_handle_closed(uv_handle_t *h)
{
    struct leader_election *e = h->data;
    if (--e->handles_open != 0)
        return;
    void (*on_closed)(void *) = e->on_closed;
    void *arg = e->on_closed_arg;
    api_object_unref(e->observed);
    free(e->namespace_name);
    free(e->name);
    free(e->identity);
    free(e->holder);
    free(e);
    if (on_closed != NULL)
        on_closed(arg);
}

static void close_handles(struct leader_election *e)
{
    uv_close((uv_handle_t *)&e->round, on_handle_closed);
    uv_close((uv_handle_t *)&e->deadline, on_handle_closed);
}

static void on_released(struct client_request *r, const struct client_result *result, void *arg)
{
    struct leader_election *e = arg;
    UNUSED(r);
    if (result->code != 0)
        log_info("lease %s/%s not given back: %s", e->namespace_name, e->name, result->message);
    close_handles(e);
}

/* Writes an empty holder, so that the next one may take it at once. */
static int release(struct leader_election *e)
{
    struct api_object *o = api_object_clone(e->observed);
    struct coordination_v1_lease_spec *s = &lease_of(o)->spec;
    struct meta_v1_micro_time now = micro_time_from_ns(env_wall_ns(e->env));
    s->holder_identity = STR_NULL;
    s->has_holder_identity = true;
    s->lease_duration_seconds = 1;
    s->renew_time = arena_memdup(o->arena, &now, sizeof(now));
    s->acquire_time = arena_memdup(o->arena, &now, sizeof(now));
    struct client_call call = {
        .verb = CLIENT_UPDATE,
        .kind = e->kind,
        .namespace_name = str_of(e->namespace_name),
        .name = str_of(e->name),
        .body = o->msg,
        .timeout_ms = RELEASE_TIMEOUT_MS,
        .done = on_released,
        .arg = e,
    };
    int rc = client_start(e->client, &call, NULL, NULL);
    api_object_unref(o);
    return rc;
}

void leader_election_close(struct leader_election *e, void (*on_closed)(void *arg), void *arg)
{
    bool was_leading = e->leading;
    e->closing = true;
    e->on_closed = on_closed;
    e->on_closed_arg = arg;
    if (e->request != NULL)
        client_cancel(take(e->request));
    stop_leading(e, "shutting down");
    uv_timer_stop(&e->round);
    uv_timer_stop(&e->deadline);
    if (!was_leading || e->observed == NULL || release(e) != 0)
        close_handles(e);
}
