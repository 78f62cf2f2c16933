/* pod_status.c - see pod_status.h. */
#include "kubelet/pod_status.h"

#include "kubelet/pod_support.h"
#include "kubelet/resources.h"

#include "lib/api/depends.h"
#include "lib/api/pod.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include "api/core_v1.h"

static struct meta_v1_time time_of_ns(int64_t ns)
{
    return (struct meta_v1_time){.seconds = ns / 1000000000};
}

static const struct container_facts *facts_of(const struct pod_status_inputs *in, struct str name)
{
    for (size_t i = 0; i < in->fact_count; i++) {
        if (str_eq(in->facts[i].name, name))
            return &in->facts[i];
    }
    return NULL;
}

static const struct core_v1_container_status *
status_named(const struct core_v1_container_status *list, size_t count, struct str name)
{
    for (size_t i = 0; i < count; i++) {
        if (str_eq(list[i].name, name))
            return &list[i];
    }
    return NULL;
}

/* --- container statuses --------------------------------------------------------- */

static struct str container_id(struct arena *a, const struct pod_status_inputs *in,
                               const struct rt_container *c)
{
    return arena_printf(a, "%s://%s", in->runtime_name, c->id);
}

static struct core_v1_container_state_terminated *
terminated(struct arena *a, const struct pod_status_inputs *in, const struct rt_container *c)
{
    struct core_v1_container_state_terminated *t =
        ARENA_NEW(a, struct core_v1_container_state_terminated);
    t->exit_code = c->exit_code;
    t->reason = arena_strc(a, c->reason);
    if (str_empty(t->reason))
        t->reason = c->exit_code == 0 ? STR("Completed") : STR("Error");
    t->message = arena_strc(a, c->message);
    t->started_at = time_of_ns(c->started_ns);
    t->finished_at = time_of_ns(c->finished_ns);
    t->container_id = container_id(a, in, c);
    return t;
}

static void set_state(struct arena *a, const struct pod_status_inputs *in,
                      const struct rt_container *c, struct core_v1_container_state *s)
{
    switch (c->state) {
    case RT_RUNNING:
        s->running = ARENA_NEW(a, struct core_v1_container_state_running);
        s->running->started_at = time_of_ns(c->started_ns);
        break;
    case RT_EXITED:
        s->terminated = terminated(a, in, c);
        break;
    case RT_CREATED:
        s->waiting = ARENA_NEW(a, struct core_v1_container_state_waiting);
        break;
    case RT_UNKNOWN:
        s->terminated = ARENA_NEW(a, struct core_v1_container_state_terminated);
        s->terminated->reason = STR("ContainerStatusUnknown");
        s->terminated->message =
            STR("The container could not be located when the pod was terminated");
        s->terminated->exit_code = 137;
        break;
    }
}

static struct core_v1_container_state_waiting *waiting(struct arena *a, const char *reason,
                                                       const char *message)
{
    struct core_v1_container_state_waiting *w =
        ARENA_NEW(a, struct core_v1_container_state_waiting);
    w->reason = arena_strc(a, reason);
    w->message = arena_strc(a, message != NULL ? message : "");
    return w;
}

static void set_user(struct arena *a, const struct rt_container *c,
                     struct core_v1_container_status *s)
{
    if (!c->user_known)
        return;
    s->user = ARENA_NEW(a, struct core_v1_container_user);
    s->user->linux_ = ARENA_NEW(a, struct core_v1_linux_container_user);
    s->user->linux_->uid = c->uid;
    s->user->linux_->gid = c->gid;
    if (c->group_count > 0)
        s->user->linux_->supplemental_groups =
            arena_memdup(a, c->groups, c->group_count * sizeof(int64_t));
    s->user->linux_->supplemental_groups_count = c->group_count;
}

static void set_mounts(struct arena *a, const struct core_v1_container *k, bool can,
                       struct core_v1_container_status *s)
{
    if (k->volume_mounts_count == 0)
        return;
    s->volume_mounts = ARENA_ARRAY(a, struct core_v1_volume_mount_status, k->volume_mounts_count);
    for (size_t i = 0; i < k->volume_mounts_count; i++) {
        const struct core_v1_volume_mount *m = &k->volume_mounts[i];
        struct core_v1_volume_mount_status *x = &s->volume_mounts[s->volume_mounts_count++];
        x->name = m->name;
        x->mount_path = m->mount_path;
        x->read_only = m->read_only;
        if (m->read_only) {
            x->has_recursive_read_only = true;
            x->recursive_read_only = mount_is_recursive(m, can) ? STR("Enabled") : STR("Disabled");
        }
    }
}

/* Nothing was observed: wait, or keep what was said before. */
static void set_unseen(struct arena *a, const struct pod_status_inputs *in,
                       const struct core_v1_container_status *old, bool has_init,
                       struct core_v1_container_status *s)
{
    if (old != NULL) {
        s->restart_count = old->restart_count;
        s->last_state = old->last_state;
        /* The record of a container that ended is gone: its end still holds. */
        if (old->state.terminated != NULL) {
            s->state = old->state;
            s->container_id = old->container_id;
            s->image_id = old->image_id;
            return;
        }
        if (old->state.running != NULL) {
            struct core_v1_container_state_terminated *t =
                ARENA_NEW(a, struct core_v1_container_state_terminated);
            t->exit_code = 137;
            t->reason = STR("ContainerStatusUnknown");
            t->message = STR("The container could not be located when the pod was deleted.  The "
                             "container used to be Running");
            if (in->finished)
                s->state.terminated = t;
            else
                s->last_state.terminated = t;
            if (in->finished)
                return;
        }
    }
    s->state.waiting = waiting(a, has_init ? "PodInitializing" : "ContainerCreating", NULL);
}

static void container_status(struct arena *a, const struct pod_status_inputs *in,
                             const struct core_v1_container *k,
                             const struct core_v1_container_status *old, bool is_init,
                             struct core_v1_container_status *s)
{
    const struct rt_container *now = rt_pod_find(in->runtime, k->name);
    const struct rt_container *before = rt_pod_find_nth(in->runtime, k->name, 1);
    const struct container_facts *f = facts_of(in, k->name);
    s->name = k->name;
    s->image = k->image;
    if (now == NULL) {
        set_unseen(a, in, old, in->pod->spec.init_containers_count > 0, s);
    } else {
        set_state(a, in, now, &s->state);
        s->restart_count = (int32_t)now->attempt;
        s->image = arena_strc(a, now->image);
        s->image_id = arena_strc(a, now->image_ref);
        s->container_id = container_id(a, in, now);
        if (before != NULL)
            set_state(a, in, before, &s->last_state);
        else if (old != NULL && old->last_state.terminated != NULL)
            s->last_state = old->last_state;
        set_user(a, now, s);
        s->has_stop_signal = now->stop_signal != NULL;
        if (s->has_stop_signal)
            s->stop_signal = arena_strc(a, now->stop_signal);
    }
    set_mounts(a, k, in->recursive_read_only, s);
    if (f != NULL) {
        s->allocated_resources_status = f->devices;
        s->allocated_resources_status_count = f->device_count;
    }
    if (s->last_state.running != NULL || s->last_state.waiting != NULL)
        s->last_state = (struct core_v1_container_state){0};
    /* What ended and will start again waits; its end becomes the last state. */
    if (f != NULL && f->wait_reason != NULL && s->state.running == NULL &&
        (s->state.terminated == NULL || f->restarts)) {
        if (s->state.terminated != NULL)
            s->last_state = s->state;
        s->state = (struct core_v1_container_state){
            .waiting = waiting(a, f->wait_reason, f->wait_message)};
    }
    if (s->state.waiting != NULL && str_empty(s->state.waiting->reason))
        s->state.waiting->reason = in->pod->spec.init_containers_count > 0 && !is_init
                                       ? STR("PodInitializing")
                                       : STR("ContainerCreating");
    s->has_started = true;
    s->started = s->state.running != NULL && f != NULL && f->started;
    if (is_init && !container_is_sidecar(k))
        s->ready = s->state.terminated != NULL && s->state.terminated->exit_code == 0;
    else
        s->ready = s->started && f != NULL && f->ready;
    if (k->resources.limits_count + k->resources.requests_count > 0 && now != NULL) {
        const struct core_v1_resource_requirements *has =
            f != NULL && f->applied != NULL && s->state.running != NULL ? f->applied
                                                                        : &k->resources;
        s->resources = arena_memdup(a, has, sizeof(*has));
        s->resources->claims = NULL;
        s->resources->claims_count = 0;
        s->allocated_resources = k->resources.requests;
        s->allocated_resources_count = k->resources.requests_count;
    }
}

/* --- phase ----------------------------------------------------------------------- */

struct tally {
    size_t waiting, running, stopped, succeeded, unknown;
    size_t init_pending, init_failed;
    size_t restartable_init_running;
};

static void tally_init(const struct pod_status_inputs *in, const struct core_v1_pod_status *s,
                       struct tally *t)
{
    const struct core_v1_pod_spec *spec = &in->pod->spec;
    for (size_t i = 0; i < spec->init_containers_count; i++) {
        const struct core_v1_container_status *c = &s->init_container_statuses[i];
        const struct container_facts *f = facts_of(in, c->name);
        /* Rules of its own let it run again, whatever the pod's policy. */
        bool again = f != NULL && f->restarts && !in->finished;
        if (container_is_sidecar(&spec->init_containers[i])) {
            if (!c->started && c->state.terminated == NULL)
                t->init_pending++;
            else if (c->state.running != NULL)
                t->restartable_init_running++;
        } else if (c->state.terminated != NULL) {
            if (c->state.terminated->exit_code != 0 && again)
                t->init_pending++;
            else if (c->state.terminated->exit_code != 0)
                t->init_failed++;
        } else if (c->state.waiting != NULL && !again && c->last_state.terminated != NULL) {
            if (c->last_state.terminated->exit_code != 0)
                t->init_failed++;
            else
                t->init_pending++;
        } else {
            t->init_pending++;
        }
    }
}

static void tally_containers(const struct core_v1_pod_status *s, struct tally *t)
{
    for (size_t i = 0; i < s->container_statuses_count; i++) {
        const struct core_v1_container_status *c = &s->container_statuses[i];
        if (c->state.running != NULL) {
            t->running++;
        } else if (c->state.terminated != NULL) {
            t->stopped++;
            t->succeeded += c->state.terminated->exit_code == 0;
        } else if (c->state.waiting != NULL) {
            if (c->last_state.terminated != NULL)
                t->stopped++;
            else
                t->waiting++;
        } else {
            t->unknown++;
        }
    }
}

/* Told only when nothing of it runs any more: controllers start another one then. */
static bool has_failed(const struct pod_status_inputs *in)
{
    return in->fail_reason != NULL && (in->finished || in->rejected);
}

static struct str phase_of(const struct pod_status_inputs *in, const struct core_v1_pod_status *s)
{
    struct tally t = {0};
    bool never = str_eqc(in->pod->spec.restart_policy, "Never");
    bool always = str_eqc(in->pod->spec.restart_policy, "Always");
    if (has_failed(in))
        return STR("Failed");
    tally_init(in, s, &t);
    tally_containers(s, &t);
    bool done = in->finished && t.running == 0;
    if (t.init_failed > 0 && (never || done))
        return STR("Failed");
    if (t.init_pending > 0 || t.init_failed > 0) {
        if (t.running + t.stopped == 0)
            return done && in->runtime != NULL && in->runtime->container_count > 0 ? STR("Failed")
                                                                                   : STR("Pending");
    }
    if (t.waiting > 0)
        return STR("Pending");
    if (t.running > 0 && t.unknown == 0)
        return STR("Running");
    if (t.stopped > 0 && t.unknown == 0) {
        if (done)
            return t.stopped == t.succeeded ? STR("Succeeded") : STR("Failed");
        if (always)
            return STR("Running");
        /* Final phases wait until the pod has been taken down. */
        return STR("Running");
    }
    return STR("Pending");
}

/* --- conditions -------------------------------------------------------------------- */

static const struct core_v1_pod_condition *find_condition(const struct core_v1_pod_status *s,
                                                          const char *type)
{
    for (size_t i = 0; s != NULL && i < s->conditions_count; i++) {
        if (str_eqc(s->conditions[i].type, type))
            return &s->conditions[i];
    }
    return NULL;
}

static void add_condition(const struct pod_status_inputs *in, struct core_v1_pod_status *s,
                          const char *type, bool value, const char *reason, struct str message)
{
    const struct core_v1_pod_condition *old = find_condition(in->old, type);
    struct core_v1_pod_condition *c = &s->conditions[s->conditions_count++];
    *c = (struct core_v1_pod_condition){
        .type = str_of(type),
        .observed_generation = in->pod->metadata.generation,
        .status = value ? STR("True") : STR("False"),
        .reason = str_of(reason),
        .message = message,
        .last_transition_time = {.seconds = in->now_s},
    };
    if (old != NULL && str_eq(old->status, c->status))
        c->last_transition_time = old->last_transition_time;
}

/* "containers with <what> status: [a b]"; empty when there are none. */
static struct str name_list(struct arena *a, const char *what, const struct str *names,
                            size_t count)
{
    if (count == 0)
        return STR_NULL;
    AUTO_BUF b = BUF_INIT;
    buf_printf(&b, "containers with %s status: [", what);
    for (size_t i = 0; i < count; i++)
        buf_printf(&b, "%s" STR_FMT, i > 0 ? " " : "", STR_ARG(names[i]));
    buf_putc(&b, ']');
    return arena_str(a, buf_str(&b));
}

static void add_initialized(struct arena *a, const struct pod_status_inputs *in,
                            struct core_v1_pod_status *s)
{
    const struct core_v1_pod_spec *spec = &in->pod->spec;
    struct str *names = ARENA_ARRAY(a, struct str, spec->init_containers_count + 1);
    size_t n = 0;
    bool ran = false;
    for (size_t i = 0; i < s->container_statuses_count; i++)
        ran = ran || s->container_statuses[i].state.waiting == NULL ||
              s->container_statuses[i].last_state.terminated != NULL;
    if (str_eqc(s->phase, "Succeeded")) {
        add_condition(in, s, "Initialized", true, "PodCompleted", STR_NULL);
        return;
    }
    for (size_t i = 0; !ran && i < spec->init_containers_count; i++) {
        const struct core_v1_container_status *c = &s->init_container_statuses[i];
        bool ok = container_is_sidecar(&spec->init_containers[i]) ? c->started : c->ready;
        if (!ok)
            names[n++] = c->name;
    }
    add_condition(in, s, "Initialized", n == 0, n == 0 ? "" : "ContainersNotInitialized",
                  name_list(a, "incomplete", names, n));
}

static bool gates_pass(struct arena *a, const struct pod_status_inputs *in, struct str *ret_message)
{
    const struct core_v1_pod_spec *spec = &in->pod->spec;
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < spec->readiness_gates_count; i++) {
        struct str type = spec->readiness_gates[i].condition_type;
        const struct core_v1_pod_condition *c = find_condition(in->old, str_c(arena_str(a, type)));
        if (c != NULL && str_eqc(c->status, "True"))
            continue;
        buf_printf(&b, "%s%s \"" STR_FMT "\" %s", b.len > 0 ? ", " : "",
                   c == NULL ? "corresponding condition of pod readiness gate"
                             : "the status of pod readiness gate",
                   STR_ARG(type), c == NULL ? "does not exist." : "is not \"True\", but False");
    }
    *ret_message = b.len > 0 ? arena_str(a, buf_str(&b)) : STR_NULL;
    return b.len == 0;
}

static void add_readiness(struct arena *a, const struct pod_status_inputs *in,
                          struct core_v1_pod_status *s)
{
    const struct core_v1_pod_spec *spec = &in->pod->spec;
    struct str *names =
        ARENA_ARRAY(a, struct str, spec->containers_count + spec->init_containers_count + 1);
    size_t n = 0;
    for (size_t i = 0; i < spec->init_containers_count; i++) {
        if (container_is_sidecar(&spec->init_containers[i]) && !s->init_container_statuses[i].ready)
            names[n++] = spec->init_containers[i].name;
    }
    for (size_t i = 0; i < s->container_statuses_count; i++) {
        if (!s->container_statuses[i].ready)
            names[n++] = s->container_statuses[i].name;
    }
    const char *reason = n > 0 ? "ContainersNotReady" : "";
    struct str message = name_list(a, "unready", names, n);
    bool ready = n == 0;
    if (pod_phase_is_final(s->phase)) {
        reason = str_eqc(s->phase, "Succeeded") ? "PodCompleted" : "PodFailed";
        message = STR_NULL;
        ready = false;
    }
    bool all = ready;
    const char *all_reason = reason;
    struct str all_message = message;
    if (ready && !gates_pass(a, in, &all_message)) {
        all = false;
        all_reason = "ReadinessGatesNotReady";
    }
    add_condition(in, s, "Ready", all, all_reason, all_message);
    add_condition(in, s, "ContainersReady", ready, reason, message);
}

bool pod_condition_is_own(struct str type)
{
    static const char *const own[] = {
        "PodReadyToStartContainers", "Initialized",    "Ready",
        "ContainersReady",           "PodScheduled",   "PodResizePending",
        "PodResizeInProgress",       DEPENDS_CONDITION};
    for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
        if (str_eqc(type, own[i]))
            return true;
    }
    return false;
}

/* There only while there is something to tell. */
static void add_resize(const struct pod_status_inputs *in, struct core_v1_pod_status *s)
{
    if (pod_phase_is_final(s->phase))
        return;
    if (in->resize_reason != NULL)
        add_condition(in, s, "PodResizePending", true, in->resize_reason,
                      str_of(in->resize_message));
    if (in->resizing)
        add_condition(in, s, "PodResizeInProgress", true, in->resize_error != NULL ? "Error" : "",
                      in->resize_error != NULL ? str_of(in->resize_error) : STR_NULL);
}

/* Of pods that wait for what they depend on. Once they have started it stays true. */
static void add_dependencies(const struct pod_status_inputs *in, struct core_v1_pod_status *s)
{
    const struct meta_v1_object_meta *m = &in->pod->metadata;
    const struct str *wait =
        api_str_map_get(m->annotations, m->annotations_count, STR(DEPENDS_WAIT));
    if (wait != NULL && str_eqc(*wait, "true") && !pod_phase_is_final(s->phase))
        add_condition(in, s, DEPENDS_CONDITION, in->awaits == NULL,
                      in->awaits != NULL ? "WaitingForDependencies" : "", str_of(in->awaits));
}

static void conditions(struct arena *a, const struct pod_status_inputs *in,
                       struct core_v1_pod_status *s)
{
    size_t foreign = in->old != NULL ? in->old->conditions_count : 0;
    s->conditions = ARENA_ARRAY(a, struct core_v1_pod_condition, foreign + 10);
    add_condition(in, s, "PodReadyToStartContainers", in->sandbox_ready, "", STR_NULL);
    add_initialized(a, in, s);
    add_readiness(a, in, s);
    add_condition(in, s, "PodScheduled", true, "", STR_NULL);
    add_resize(in, s);
    add_dependencies(in, s);
    if (in->disrupted && in->finished)
        add_condition(in, s, "DisruptionTarget", true, "TerminationByKubelet",
                      str_of(in->fail_message));
    for (size_t i = 0; i < foreign; i++) {
        if (!pod_condition_is_own(in->old->conditions[i].type) &&
            !(in->disrupted && in->finished &&
              str_eqc(in->old->conditions[i].type, "DisruptionTarget")))
            s->conditions[s->conditions_count++] = in->old->conditions[i];
    }
}

/* --- the whole ---------------------------------------------------------------------- */

static void addresses(struct arena *a, const struct pod_status_inputs *in,
                      struct core_v1_pod_status *s)
{
    s->host_ips = ARENA_ARRAY(a, struct core_v1_host_ip, in->host_ip_count + 1);
    for (size_t i = 0; i < in->host_ip_count; i++)
        s->host_ips[s->host_ips_count++].ip = arena_strc(a, in->host_ips[i]);
    if (in->host_ip_count > 0)
        s->host_ip = s->host_ips[0].ip;
    const struct rt_sandbox *sandbox = rt_pod_sandbox(in->runtime);
    const char *const *ips = sandbox != NULL ? sandbox->ips : NULL;
    size_t count = sandbox != NULL ? sandbox->ip_count : 0;
    if (in->pod->spec.host_network && sandbox != NULL) {
        ips = in->host_ips;
        count = in->host_ip_count;
    }
    if (count == 0 && in->old != NULL && sandbox != NULL && (in->finished || !in->sandbox_ready)) {
        /* A sandbox that was stopped has no address any more; the pod's last one stays known. */
        s->pod_ip = in->old->pod_ip;
        s->pod_ips = in->old->pod_ips;
        s->pod_ips_count = in->old->pod_ips_count;
        return;
    }
    s->pod_ips = ARENA_ARRAY(a, struct core_v1_pod_ip, count + 1);
    for (size_t i = 0; i < count; i++)
        s->pod_ips[s->pod_ips_count++].ip = arena_strc(a, ips[i]);
    if (count > 0)
        s->pod_ip = s->pod_ips[0].ip;
}

static struct core_v1_container_status *
statuses(struct arena *a, const struct pod_status_inputs *in, const struct core_v1_container *list,
         size_t count, const struct core_v1_container_status *old, size_t old_count, bool is_init)
{
    struct core_v1_container_status *out =
        ARENA_ARRAY(a, struct core_v1_container_status, count + 1);
    for (size_t i = 0; i < count; i++)
        container_status(a, in, &list[i], status_named(old, old_count, list[i].name), is_init,
                         &out[i]);
    return count > 0 ? out : NULL;
}

struct core_v1_pod_status *pod_status_compute(struct arena *a, const struct pod_status_inputs *in)
{
    const struct core_v1_pod_spec *spec = &in->pod->spec;
    const struct core_v1_pod_status none = {0}, *old = in->old != NULL ? in->old : &none;
    struct core_v1_pod_status *s = ARENA_NEW(a, struct core_v1_pod_status);
    s->observed_generation = in->pod->metadata.generation;
    s->init_container_statuses =
        statuses(a, in, spec->init_containers, spec->init_containers_count,
                 old->init_container_statuses, old->init_container_statuses_count, true);
    s->init_container_statuses_count = spec->init_containers_count;
    s->container_statuses = statuses(a, in, spec->containers, spec->containers_count,
                                     old->container_statuses, old->container_statuses_count, false);
    s->container_statuses_count = spec->containers_count;
    s->ephemeral_container_statuses =
        ARENA_ARRAY(a, struct core_v1_container_status, spec->ephemeral_containers_count + 1);
    for (size_t i = 0; i < spec->ephemeral_containers_count; i++) {
        /* Common fields are laid out as a container's. */
        const struct core_v1_container *k =
            (const struct core_v1_container *)&spec->ephemeral_containers[i]
                .ephemeral_container_common;
        container_status(a, in, k,
                         status_named(old->ephemeral_container_statuses,
                                      old->ephemeral_container_statuses_count, k->name),
                         false, &s->ephemeral_container_statuses[i]);
        s->ephemeral_container_statuses[i].ready = false;
    }
    s->ephemeral_container_statuses_count = spec->ephemeral_containers_count;
    /* Nothing was ever to come of the containers of a pod that is not taken. */
    if (in->rejected)
        s->init_container_statuses_count = s->container_statuses_count =
            s->ephemeral_container_statuses_count = 0;
    s->phase = pod_phase_is_final(old->phase) ? old->phase : phase_of(in, s);
    s->reason = has_failed(in) ? str_of(in->fail_reason) : old->reason;
    s->message = has_failed(in) ? str_of(in->fail_message) : old->message;
    s->nominated_node_name = old->nominated_node_name;
    s->resource_claim_statuses = old->resource_claim_statuses;
    s->resource_claim_statuses_count = old->resource_claim_statuses_count;
    s->extended_resource_claim_status = old->extended_resource_claim_status;
    s->qos_class = !str_empty(old->qos_class) ? old->qos_class
                                              : str_of(qos_class_name(pod_qos_class(in->pod)));
    addresses(a, in, s);
    if (old->start_time != NULL) {
        s->start_time = old->start_time;
    } else {
        s->start_time = ARENA_NEW(a, struct meta_v1_time);
        s->start_time->seconds = in->now_s;
    }
    conditions(a, in, s);
    return s;
}
