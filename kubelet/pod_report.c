/* pod_report.c - a pod's status to the API, and its events.
 *
 * Statuses go as strategic merge patches of what differs from the server's
 * newest known state, so that conditions of others are left alone. One call
 * at a time; failures are repeated for ever, since a status is never optional. */
#include "kubelet/device_manager.h"
#include "kubelet/dra.h"
#include "kubelet/mirror_pods.h"
#include "kubelet/pod_status.h"
#include "kubelet/pod_support.h"
#include "kubelet/pod_worker_internal.h"

#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/pod.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/log.h"
#include "lib/base/metrics.h"
#include "lib/client/client.h"
#include "lib/client/event_recorder.h"

#include "api/core_v1.h"

#include <stdarg.h>
#include <stdio.h>

void worker_event(struct pod_worker *w, const struct pod_container *c, const char *type,
                  const char *reason, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    log_debug("pod %s/%s: %s: %s", w->namespace_name, w->name, reason, text);
    if (w->object == NULL || w->k->events == NULL)
        return;
    struct event_object about = event_object_of(w->object);
    if (c != NULL)
        about.field_path = str_of(c->field_path);
    event_record(w->k->events, &about, type, reason, "%s", text);
}

/* --- computing ------------------------------------------------------------------------ */

/* Of plugins first, then of claims. */
static void add_health(const struct pod_worker *w, const struct pod_container *c, struct arena *a,
                       struct container_facts *f)
{
    struct core_v1_resource_status *plugins, *claims, *all;
    size_t n = device_manager_status(w->k->devices, a, str_of(w->uid), str_of(c->name), &plugins);
    size_t m = dra_status(w->k->dra, a, worker_pod(w), c->spec, &claims);
    all = ARENA_ARRAY(a, struct core_v1_resource_status, n + m + 1);
    for (size_t i = 0; i < n + m; i++)
        all[i] = i < n ? plugins[i] : claims[i - n];
    f->devices = all;
    f->device_count = n + m;
}

static struct container_facts *facts(struct pod_worker *w, struct arena *a)
{
    struct container_facts *list = ARENA_ARRAY(a, struct container_facts, w->container_count + 1);
    for (size_t i = 0; i < w->container_count; i++) {
        struct pod_container *c = w->containers[i];
        const struct rt_container *seen = rt_pod_find(w->rt, str_of(c->name));
        struct pm_container m = {
            .kind = c->kind, .state = PM_EXITED, .exit_code = seen != NULL ? seen->exit_code : 0};
        if (seen != NULL && seen->state == RT_EXITED && c->kind != PM_EPHEMERAL &&
            c->kind != PM_SIDECAR)
            m.exit_decided = container_exit_decides(c->spec, m.exit_code, &m.exit_restarts);
        struct pm_pod p = {.restart = str_eqc(worker_pod(w)->spec.restart_policy, "Never")
                                          ? PM_RESTART_NEVER
                                      : str_eqc(worker_pod(w)->spec.restart_policy, "OnFailure")
                                          ? PM_RESTART_ON_FAILURE
                                          : PM_RESTART_ALWAYS};
        list[i] = (struct container_facts){
            .name = str_of(c->name),
            .wait_reason = w->life == PM_RUNNING ? c->wait_reason : NULL,
            .wait_message = c->wait_message,
            .started = container_started(c),
            .ready = container_ready(c),
            .restarts = pm_restarts(&p, &m),
            .applied = c->applied,
        };
        if (w->k->config.gates.resource_health_status)
            add_health(w, c, a, &list[i]);
    }
    return list;
}

/* The state of the server that is known best: what it sent last, or what it
 * answered to our last write. For a static pod that of its mirror. */
static const struct core_v1_pod *server_pod(const struct pod_worker *w)
{
    const struct core_v1_pod *seen = worker_pod(w);
    const struct api_object *mirror = w->origin == POD_FROM_FILE ? mirror_pod_of(w->k, seen) : NULL;
    if (mirror != NULL)
        seen = mirror->msg;
    const struct core_v1_pod *sent = w->status_sent != NULL ? w->status_sent->msg : NULL;
    uint64_t a = 0, b = 0;
    if (sent == NULL || !str_eq(sent->metadata.uid, seen->metadata.uid))
        return seen;
    str_to_u64(seen->metadata.resource_version, &a);
    str_to_u64(sent->metadata.resource_version, &b);
    return b > a ? sent : seen;
}

/* Our own conditions as we told them last, those of others as the server has them. */
static void merge_conditions(const struct pod_worker *w, struct arena *a,
                             struct core_v1_pod_status *s)
{
    const struct core_v1_pod_status *server = &server_pod(w)->status;
    size_t own = s->conditions_count, n = 0;
    struct core_v1_pod_condition *list =
        ARENA_ARRAY(a, struct core_v1_pod_condition, own + server->conditions_count + 1);
    for (size_t i = 0; i < own; i++) {
        if (pod_condition_is_own(s->conditions[i].type))
            list[n++] = s->conditions[i];
    }
    for (size_t i = 0; i < server->conditions_count; i++) {
        if (!pod_condition_is_own(server->conditions[i].type))
            list[n++] = server->conditions[i];
    }
    s->conditions = list;
    s->conditions_count = n;
}

void worker_report(struct pod_worker *w)
{
    const struct core_v1_pod *pod = worker_pod(w);
    if (pod == NULL)
        return;
    if (w->emptied && w->status != NULL) {
        worker_send_status(w); /* The runtime knows nothing of it any more. */
        return;
    }
    struct arena *a = arena_new(0);
    const struct rt_sandbox *sandbox = rt_pod_sandbox(w->rt);
    /* Conditions of others come from the server, the rest from what we said last. */
    struct core_v1_pod_status old = w->status != NULL ? *w->status : pod->status;
    merge_conditions(w, a, &old);
    old.nominated_node_name = pod->status.nominated_node_name;
    old.resource_claim_statuses = pod->status.resource_claim_statuses;
    old.resource_claim_statuses_count = pod->status.resource_claim_statuses_count;
    old.extended_resource_claim_status = pod->status.extended_resource_claim_status;
    if (w->status == NULL && old.start_time == NULL)
        old.reason = old.message = STR_NULL;
    struct pod_status_inputs in = {
        .pod = pod,
        .old = &old,
        .runtime = w->rt,
        .facts = facts(w, a),
        .fact_count = w->container_count,
        .runtime_name = w->k->runtime_name,
        .host_ips = w->k->host_ips,
        .host_ip_count = w->k->host_ip_count,
        .recursive_read_only = worker_handler(w).recursive_read_only,
        .sandbox_ready =
            sandbox != NULL && sandbox->ready && (pod->spec.host_network || sandbox->ip_count > 0),
        .finished = w->life == PM_STOPPED,
        .fail_reason = w->fail_reason,
        .rejected = w->rejected,
        .disrupted = w->disrupted,
        .fail_message = w->fail_message,
        .resize_reason = w->resize_reason,
        .resize_message = w->resize_message,
        .awaits = w->awaits,
        .now_s = kubelet_wall_s(w->k),
    };
    in.resizing = worker_is_resizing(w, &in.resize_error);
    struct core_v1_pod_status *s = pod_status_compute(a, &in);
    /* An end that was told before our start is kept word for word. */
    if (w->status == NULL && pod_phase_is_final(pod->status.phase))
        s = api_msg_clone(a, &core_v1_pod_status_msg, &pod->status);
    if (w->status != NULL && !w->status_dirty &&
        api_msg_equal(&core_v1_pod_status_msg, s, w->status)) {
        arena_free(a);
        return;
    }
    /* The new one borrows from the pod, the old status and the runtime's view: copy. */
    struct arena *kept = arena_new(0);
    s = api_msg_clone(kept, &core_v1_pod_status_msg, s);
    arena_free(a);
    arena_free(w->status_arena);
    w->status_arena = kept;
    w->status = s;
    w->status_dirty = true;
    worker_send_status(w);
}

/* --- how long the start took --------------------------------------------------------- */

#define SLOW_START_NS 5000000000u

/* As upstream's buckets of kubelet_pod_start_duration_seconds. */
static const double start_bounds[] = {0.5, 1,   2,   3,    4,    5,    6,   8,   10,
                                      20,  30,  45,  60,   120,  180,  240, 300, 360,
                                      480, 600, 900, 1200, 1800, 2700, 3600};

static struct metric *start_metric(const char *name, const char *help)
{
    return metric_single(metric_histogram(metrics_default(), name, help, NULL, start_bounds,
                                          ARRAY_SIZE(start_bounds)));
}

/* The pod runs for the first time, and everybody may know. A pod that ran before this agent did
 * has no start to tell of. */
static void note_start(struct pod_worker *w)
{
    uint64_t now_ns = uv_hrtime(), took_ns = now_ns - w->trace.begin_ns;
    AUTO_BUF b = BUF_INIT;
    w->trace.over = true;
    if (w->trace.spent_ns[START_START] == 0)
        return;
    metric_observe(start_metric("kubelet_pod_start_duration_seconds",
                                "Duration in seconds from kubelet seeing a pod for the first time "
                                "to the pod starting to run"),
                   (double)took_ns / 1e9);
    metric_observe(start_metric("kubelet_pod_start_sli_duration_seconds",
                                "Duration in seconds to start a pod, excluding time to pull images "
                                "and run init containers"),
                   (double)(took_ns - w->trace.spent_ns[START_PULL]) / 1e9);
    start_trace_print(&w->trace, now_ns, &b);
    log_info("pod %s/%s runs after " STR_FMT, w->namespace_name, w->name, STR_ARG(buf_str(&b)));
    if (took_ns >= SLOW_START_NS)
        worker_event(w, NULL, "Normal", "SlowStart", "Pod runs after " STR_FMT,
                     STR_ARG(buf_str(&b)));
}

/* --- sending --------------------------------------------------------------------------- */

static bool replaced_list(struct str key)
{
    return str_eqc(key, "podIPs") || str_eqc(key, "hostIPs");
}

/* Conditions are merged by their type: those of ours that are no more have to be named. */
static void remove_conditions(struct arena *a, const struct json *before, struct json *list)
{
    for (size_t i = 0; before != NULL && i < before->array.count; i++) {
        struct str type = json_get_str(before->array.items[i], "type");
        bool there = !pod_condition_is_own(type);
        for (size_t k = 0; k < list->array.count && !there; k++)
            there = str_eq(json_get_str(list->array.items[k], "type"), type);
        if (there)
            continue;
        struct json *gone = json_object(a);
        json_setc(a, gone, "$patch", json_string(a, STR("delete")));
        json_setc(a, gone, "type", json_string(a, type));
        json_append(a, list, gone);
    }
}

/* What a condition says no more has to be named as well, or it would stay. */
static void clear_conditions(struct arena *a, const struct json *before, struct json *list)
{
    for (size_t i = 0; before != NULL && i < list->array.count; i++) {
        struct json *now = list->array.items[i];
        const struct json *was = NULL;
        for (size_t k = 0; k < before->array.count && was == NULL; k++)
            if (str_eq(json_get_str(before->array.items[k], "type"), json_get_str(now, "type")))
                was = before->array.items[k];
        for (size_t k = 0; was != NULL && k < was->object.count; k++)
            if (json_get(now, was->object.members[k].key) == NULL)
                json_set(a, now, was->object.members[k].key, json_null(a));
    }
}

/* What has to change on the server; NULL when nothing. */
static struct json *status_diff(struct arena *a, const struct core_v1_pod_status *have,
                                const struct core_v1_pod_status *want)
{
    struct json *old = api_json_tree(a, &core_v1_pod_status_msg, have, STR_NULL, STR_NULL);
    struct json *new = api_json_tree(a, &core_v1_pod_status_msg, want, STR_NULL, STR_NULL);
    struct json *diff = json_object(a);
    for (size_t i = 0; i < new->object.count; i++) {
        const struct json_member *m = &new->object.members[i];
        const struct json *before = json_get(old, m->key);
        if (before != NULL && json_equal(before, m->value))
            continue;
        if (replaced_list(m->key) && before != NULL) {
            struct json *mark = json_object(a);
            json_setc(a, mark, "$patch", json_string(a, STR("replace")));
            json_insert(a, m->value, 0, mark);
        }
        if (str_eqc(m->key, "conditions")) {
            clear_conditions(a, before, m->value);
            remove_conditions(a, before, m->value);
        }
        json_set(a, diff, m->key, m->value);
    }
    for (size_t i = 0; i < old->object.count; i++) {
        if (json_get(new, old->object.members[i].key) == NULL)
            json_set(a, diff, old->object.members[i].key, json_null(a));
    }
    return diff->object.count > 0 ? diff : NULL;
}

static void on_sent(struct client_request *r, const struct client_result *result, void *arg)
{
    struct pod_worker *w = arg;
    UNUSED(r);
    w->status_call = NULL;
    if (result->code == 0) {
        w->status_failures = 0;
        if (result->object != NULL) {
            api_object_unref(w->status_sent);
            w->status_sent = api_object_ref(result->object);
            if (!w->trace.over &&
                str_eqc(((const struct core_v1_pod *)result->object->msg)->status.phase, "Running"))
                note_start(w);
        }
    } else if (result->code == E_NOT_FOUND || result->code == E_CONFLICT) {
        /* Gone, or another of the same name: the watch will tell. */
        w->status_dirty = false;
    } else {
        if (w->status_failures == 0)
            log_warning("pod %s/%s: status: %s", w->namespace_name, w->name, result->message);
        w->status_dirty = true;
        uint64_t wait = 500u << MIN_OF(w->status_failures, 6u);
        w->status_failures++;
        w->status_blocked_until_ms = kubelet_now_ms(w->k) + wait;
    }
    worker_send_status(w);
    worker_kick(w);
}

void worker_send_status(struct pod_worker *w)
{
    const struct core_v1_pod *pod = worker_pod(w);
    if (w->status_call != NULL || !w->status_dirty || pod == NULL || w->status == NULL)
        return;
    if (w->k->client == NULL || w->gone ||
        (w->origin == POD_FROM_FILE && mirror_pod_of(w->k, pod) == NULL)) {
        w->status_dirty = false; /* A mirror that appears makes it dirty again. */
        return;
    }
    uint64_t now_ms = kubelet_now_ms(w->k);
    if (w->status_blocked_until_ms > now_ms) {
        worker_wake_in(w, w->status_blocked_until_ms - now_ms);
        return;
    }
    AUTO_ARENA *a = arena_new(0);
    struct json *diff = status_diff(a, &server_pod(w)->status, w->status);
    w->status_dirty = false;
    if (diff == NULL)
        return;
    struct json *patch = json_object(a), *meta = json_object(a);
    json_setc(a, meta, "uid", json_string(a, server_pod(w)->metadata.uid));
    json_setc(a, patch, "metadata", meta);
    json_setc(a, patch, "status", diff);
    AUTO_BUF body = BUF_INIT;
    json_write(patch, false, &body);
    struct client_call call = {
        .verb = CLIENT_PATCH,
        .kind = w->object->kind,
        .namespace_name = pod->metadata.namespace,
        .name = pod->metadata.name,
        .subresource = "status",
        .patch_type = CLIENT_PATCH_STRATEGIC,
        .raw_body = buf_str(&body),
        .timeout_ms = 10000,
        .done = on_sent,
        .arg = w,
    };
    struct error err;
    if (client_start(w->k->client, &call, &w->status_call, &err) != 0)
        log_error("pod %s/%s: status: %s", w->namespace_name, w->name, error_message(&err));
}

/* --- the end ------------------------------------------------------------------------------ */

static void on_deleted(struct client_request *r, const struct client_result *result, void *arg)
{
    struct pod_worker *w = arg;
    UNUSED(r);
    w->delete_call = NULL;
    if (result->code == 0 || result->code == E_NOT_FOUND || result->code == E_CONFLICT) {
        w->delete_done = true;
    } else {
        log_warning("pod %s/%s: delete: %s", w->namespace_name, w->name, result->message);
        w->status_blocked_until_ms = kubelet_now_ms(w->k) + 1000;
        worker_wake_in(w, 1000);
        return;
    }
    worker_kick(w);
}

void worker_delete_from_api(struct pod_worker *w)
{
    const struct core_v1_pod *pod = worker_pod(w);
    if (w->delete_call != NULL || w->k->client == NULL || w->origin != POD_FROM_API ||
        w->status_blocked_until_ms > kubelet_now_ms(w->k))
        return;
    struct client_call call = {
        .verb = CLIENT_DELETE,
        .kind = w->object->kind,
        .namespace_name = pod->metadata.namespace,
        .name = pod->metadata.name,
        .has_grace_period = true,
        .grace_period_s = 0,
        .uid_precondition = pod->metadata.uid,
        .timeout_ms = 10000,
        .done = on_deleted,
        .arg = w,
    };
    struct error err;
    if (client_start(w->k->client, &call, &w->delete_call, &err) != 0)
        log_error("pod %s/%s: delete: %s", w->namespace_name, w->name, error_message(&err));
}

void worker_forget_calls(struct pod_worker *w)
{
    if (w->status_call != NULL)
        client_cancel(take(w->status_call));
    if (w->delete_call != NULL)
        client_cancel(take(w->delete_call));
}
