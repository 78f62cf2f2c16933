/* pod_table.c - the columns of pods, as kubectl get pods shows them. */
#include "apiserver/kinds/pod_table.h"

#include "apiserver/kinds/pod_spec.h"
#include "api/core_v1.h"
#include "lib/api/pod.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"

#include <string.h>

const struct table_column pod_columns[] = {
    {"Name", "string", "name", "", 0},
    {"Ready", "string", "", "Containers that are ready, of all.", 0},
    {"Status", "string", "", "What the pod does, or why it does not.", 0},
    {"Restarts", "string", "", "How often its containers were restarted.", 0},
    {"Age", "string", "", "", 0},
    {"IP", "string", "", "", 1},
    {"Node", "string", "", "", 1},
    {"Nominated Node", "string", "", "", 1},
    {"Readiness Gates", "string", "", "", 1},
    {0},
};

/* What the columns are computed from. */
struct summary {
    const struct core_v1_pod *pod;
    struct arena *a;
    struct str reason;
    int32_t restarts;
    int32_t sidecar_restarts;
    size_t ready;
    size_t total;
    bool initializing;
    bool has_running;
    int64_t last_restart_s; /* 0: never. */
    int64_t last_sidecar_restart_s;
};

static bool is_true(const struct core_v1_pod *p, const char *type)
{
    for (size_t i = 0; i < p->status.conditions_count; i++)
        if (str_eqc(p->status.conditions[i].type, type))
            return str_eqc(p->status.conditions[i].status, "True");
    return false;
}

static const struct core_v1_container *init_container(const struct core_v1_pod *p, struct str name)
{
    for (size_t i = 0; i < p->spec.init_containers_count; i++)
        if (str_eq(p->spec.init_containers[i].name, name))
            return &p->spec.init_containers[i];
    return NULL;
}

static bool is_sidecar(const struct core_v1_container *c)
{
    return c != NULL && c->has_restart_policy && str_eqc(c->restart_policy, "Always");
}

static struct str ended(struct summary *s, const char *prefix,
                        const struct core_v1_container_state_terminated *t)
{
    if (!str_empty(t->reason))
        return arena_printf(s->a, "%s" STR_FMT, prefix, STR_ARG(t->reason));
    if (t->signal != 0)
        return arena_printf(s->a, "%sSignal:%d", prefix, t->signal);
    return arena_printf(s->a, "%sExitCode:%d", prefix, t->exit_code);
}

static int64_t later(int64_t a, const struct core_v1_container_status *c)
{
    int64_t b =
        c->last_state.terminated != NULL ? c->last_state.terminated->finished_at.seconds : 0;
    return MAX_OF(a, b);
}

/* The first init container that is not done decides. */
static void scan_init(struct summary *s)
{
    const struct core_v1_pod *p = s->pod;
    for (size_t i = 0; i < p->status.init_container_statuses_count; i++) {
        const struct core_v1_container_status *c = &p->status.init_container_statuses[i];
        bool sidecar = is_sidecar(init_container(p, c->name));
        s->restarts += c->restart_count;
        s->last_restart_s = later(s->last_restart_s, c);
        if (sidecar) {
            s->sidecar_restarts += c->restart_count;
            s->last_sidecar_restart_s = later(s->last_sidecar_restart_s, c);
        }
        if (c->state.terminated != NULL && c->state.terminated->exit_code == 0)
            continue;
        if (sidecar && c->has_started && c->started) {
            s->ready += c->ready;
            continue;
        }
        s->initializing = true;
        if (c->state.terminated != NULL)
            s->reason = ended(s, "Init:", c->state.terminated);
        else if (c->state.waiting != NULL && !str_empty(c->state.waiting->reason) &&
                 !str_eqc(c->state.waiting->reason, "PodInitializing"))
            s->reason = arena_printf(s->a, "Init:" STR_FMT, STR_ARG(c->state.waiting->reason));
        else
            s->reason = arena_printf(s->a, "Init:%zu/%zu", i, p->spec.init_containers_count);
        return;
    }
}

static void scan_containers(struct summary *s)
{
    const struct core_v1_pod *p = s->pod;
    if (s->initializing && !is_true(p, "Initialized"))
        return;
    s->restarts = s->sidecar_restarts;
    s->last_restart_s = s->last_sidecar_restart_s;
    for (size_t i = p->status.container_statuses_count; i-- > 0;) {
        const struct core_v1_container_status *c = &p->status.container_statuses[i];
        s->restarts += c->restart_count;
        s->last_restart_s = later(s->last_restart_s, c);
        if (c->state.waiting != NULL && !str_empty(c->state.waiting->reason)) {
            s->reason = c->state.waiting->reason;
        } else if (c->state.terminated != NULL) {
            s->reason = ended(s, "", c->state.terminated);
        } else if (c->ready && c->state.running != NULL) {
            s->has_running = true;
            s->ready++;
        }
    }
    if (str_eqc(s->reason, "Completed") && s->has_running)
        s->reason = is_true(p, "Ready") ? STR("Running") : STR("NotReady");
}

static void summarize(struct summary *s)
{
    const struct core_v1_pod *p = s->pod;
    s->total = p->spec.containers_count;
    for (size_t i = 0; i < p->spec.init_containers_count; i++)
        s->total += is_sidecar(&p->spec.init_containers[i]);
    s->reason = str_empty(p->status.reason) ? p->status.phase : p->status.reason;
    for (size_t i = 0; i < p->status.conditions_count; i++)
        if (str_eqc(p->status.conditions[i].type, "PodScheduled") &&
            str_eqc(p->status.conditions[i].reason, "SchedulingGated"))
            s->reason = STR("SchedulingGated");
    scan_init(s);
    scan_containers(s);
    if (p->metadata.deletion_timestamp != NULL && str_eqc(p->status.reason, "NodeLost"))
        s->reason = STR("Unknown");
    else if (p->metadata.deletion_timestamp != NULL && !pod_is_terminal(p))
        s->reason = STR("Terminating");
}

static void cell_restarts(struct table_row *r, const struct summary *s)
{
    if (s->restarts == 0 || s->last_restart_s == 0) {
        cell_printf(r, "%d", s->restarts);
        return;
    }
    char age[AGE_TEXT_MAX];
    size_t n = age_format(row_now_ns(r) / 1000000000 - s->last_restart_s, age);
    cell_printf(r, "%d (%.*s ago)", s->restarts, (int)n, age);
}

static void cell_or_none(struct table_row *r, struct str s)
{
    cell_str(r, str_empty(s) ? STR("<none>") : s);
}

static void cell_gates(struct table_row *r, const struct core_v1_pod *p)
{
    size_t met = 0;
    if (p->spec.readiness_gates_count == 0) {
        cell_strc(r, "<none>");
        return;
    }
    for (size_t i = 0; i < p->spec.readiness_gates_count; i++)
        for (size_t k = 0; k < p->status.conditions_count; k++)
            if (str_eq(p->status.conditions[k].type, p->spec.readiness_gates[i].condition_type)) {
                met += str_eqc(p->status.conditions[k].status, "True");
                break;
            }
    cell_printf(r, "%zu/%zu", met, p->spec.readiness_gates_count);
}

void pod_row(struct table_row *r, const void *obj)
{
    const struct core_v1_pod *p = obj;
    struct summary s = {.pod = p, .a = row_arena(r)};
    summarize(&s);
    if (str_eqc(p->status.phase, "Succeeded"))
        row_condition(r, "Completed", "True", "Succeeded", "The pod has completed successfully.");
    else if (str_eqc(p->status.phase, "Failed"))
        row_condition(r, "Completed", "True", "Failed", "The pod failed.");
    cell_str(r, p->metadata.name);
    cell_printf(r, "%zu/%zu", s.ready, s.total);
    cell_str(r, s.reason);
    cell_restarts(r, &s);
    cell_age(r, &p->metadata.creation_timestamp);
    cell_or_none(r, p->status.pod_ips_count > 0 ? p->status.pod_ips[0].ip : p->status.pod_ip);
    cell_or_none(r, p->spec.node_name);
    cell_or_none(r, p->status.nominated_node_name);
    cell_gates(r, p);
}

void cell_containers(struct table_row *r, const struct core_v1_container *c, size_t count)
{
    struct str *names = ARENA_ARRAY(row_arena(r), struct str, count);
    for (size_t i = 0; i < count; i++)
        names[i] = c[i].name;
    cell_join(r, names, count);
}

void cell_images(struct table_row *r, const struct core_v1_container *c, size_t count)
{
    struct str *images = ARENA_ARRAY(row_arena(r), struct str, count);
    for (size_t i = 0; i < count; i++)
        images[i] = c[i].image;
    cell_join(r, images, count);
}
