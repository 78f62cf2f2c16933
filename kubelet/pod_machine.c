/* pod_machine.c - see pod_machine.h.
 *
 * Order while running: volumes, sandbox, ephemeral containers, the init
 * sequence, then app containers. A container whose start is backed off is
 * skipped, so that it holds up only what must wait for it. */
#include "kubelet/pod_machine.h"

static struct pm_action act(enum pm_action_type type, size_t index, enum pm_reason reason)
{
    return (struct pm_action){.type = type, .index = index, .reason = reason};
}

static bool is_init(const struct pm_container *c)
{
    return c->kind == PM_INIT || c->kind == PM_SIDECAR;
}

/* As this sandbox knows it: what ran in an older one has to run again. */
static enum pm_state state_of(const struct pm_container *c)
{
    return c->in_sandbox ? c->state : PM_ABSENT;
}

static bool is_live(enum pm_state s)
{
    return s == PM_UP || s == PM_CREATED || s == PM_UNKNOWN;
}

bool pm_restarts(const struct pm_pod *p, const struct pm_container *c)
{
    if (c->kind == PM_EPHEMERAL)
        return false;
    if (c->kind == PM_SIDECAR)
        return true;
    if (c->exit_decided)
        return c->exit_restarts;
    bool failed = c->state != PM_EXITED || c->exit_code != 0;
    switch (p->restart) {
    case PM_RESTART_NEVER:
        return false;
    case PM_RESTART_ON_FAILURE:
        return failed;
    case PM_RESTART_ALWAYS:
        return c->kind == PM_APP || failed;
    }
    return false;
}

/* An app container that was ever made in this sandbox shows that the init
 * sequence is through, even if the records of it are gone. */
static bool any_app_seen(const struct pm_pod *p)
{
    for (size_t i = 0; i < p->container_count; i++) {
        const struct pm_container *c = &p->containers[i];
        if (c->kind == PM_APP && state_of(c) != PM_ABSENT)
            return true;
    }
    return false;
}

static bool later_init_seen(const struct pm_pod *p, size_t index)
{
    for (size_t i = index + 1; i < p->container_count; i++) {
        if (is_init(&p->containers[i]) && state_of(&p->containers[i]) != PM_ABSENT)
            return true;
    }
    return false;
}

/* Is this step of the init sequence behind us? */
static bool init_passed(const struct pm_pod *p, size_t index)
{
    const struct pm_container *c = &p->containers[index];
    if (c->kind == PM_SIDECAR)
        return state_of(c) == PM_UP && c->started;
    if (state_of(c) == PM_EXITED)
        return c->exit_code == 0;
    return state_of(c) == PM_ABSENT && later_init_seen(p, index);
}

bool pm_initialized(const struct pm_pod *p)
{
    if (any_app_seen(p))
        return true;
    for (size_t i = 0; i < p->container_count; i++) {
        if (is_init(&p->containers[i]) && !init_passed(p, i))
            return false;
    }
    return true;
}

/* Shortest wait of the two, where 0 stands for none. */
static uint64_t sooner(uint64_t a, uint64_t b)
{
    if (a == 0 || b == 0)
        return a + b;
    return MIN_OF(a, b);
}

/* Starts container i, or notes how long it is held back. True: *ret is set. */
static bool start(const struct pm_pod *p, size_t i, uint64_t *wait_ms, struct pm_action *ret)
{
    const struct pm_container *c = &p->containers[i];
    if (c->blocked_ms > 0) {
        *wait_ms = sooner(*wait_ms, c->blocked_ms);
        return false;
    }
    *ret = act(PM_START, i, PM_WHY_NONE);
    return true;
}

/* Why a running container must go, if it must. */
static enum pm_reason kill_reason(const struct pm_container *c)
{
    if (c->kind != PM_EPHEMERAL && c->seen_hash != 0 && c->seen_hash != c->hash)
        return PM_WHY_CHANGED;
    if (c->startup_failed)
        return PM_WHY_STARTUP;
    if (c->liveness_failed)
        return PM_WHY_LIVENESS;
    return PM_WHY_NONE;
}

static struct pm_action kill_container(const struct pm_pod *p, size_t i, enum pm_reason why)
{
    struct pm_action a = act(PM_KILL, i, why);
    const struct pm_container *c = &p->containers[i];
    a.restarts = why == PM_WHY_CHANGED || c->kind == PM_SIDECAR || p->restart != PM_RESTART_NEVER;
    return a;
}

/* One step of a container that should run. True: *ret is set. */
static bool keep_running(const struct pm_pod *p, size_t i, uint64_t *wait_ms, struct pm_action *ret)
{
    const struct pm_container *c = &p->containers[i];
    enum pm_reason why;
    switch (state_of(c)) {
    case PM_ABSENT:
        /* It ended for good in an older sandbox. */
        if (c->kind == PM_APP && c->state == PM_EXITED && !pm_restarts(p, c))
            return false;
        return start(p, i, wait_ms, ret);
    case PM_CREATED: /* We died between create and start: it has to be made anew. */
    case PM_UNKNOWN:
        *ret = kill_container(p, i, PM_WHY_UNKNOWN_STATE);
        return true;
    case PM_UP:
        why = kill_reason(c);
        if (why == PM_WHY_NONE)
            return false;
        *ret = kill_container(p, i, why);
        return true;
    case PM_EXITED:
        if (!pm_restarts(p, c))
            return false;
        return start(p, i, wait_ms, ret);
    }
    return false;
}

/* The init sequence. True: *ret is set; else *ret_done tells whether the app
 * containers may go on. */
static bool init_step(const struct pm_pod *p, uint64_t *wait_ms, bool *ret_done,
                      struct pm_action *ret)
{
    bool initialized = any_app_seen(p);
    *ret_done = true;
    for (size_t i = 0; i < p->container_count; i++) {
        const struct pm_container *c = &p->containers[i];
        if (!is_init(c))
            continue;
        if (c->kind == PM_INIT && (initialized || init_passed(p, i)))
            continue;
        if (c->kind == PM_INIT && state_of(c) == PM_EXITED && !pm_restarts(p, c)) {
            *ret = act(PM_STOP, i, PM_WHY_INIT_FAILED);
            return true;
        }
        if (keep_running(p, i, wait_ms, ret))
            return true;
        if (!initialized && !init_passed(p, i)) {
            *ret_done = false;
            return false;
        }
    }
    return false;
}

/* Anything of the kind that runs, or that will run (again)? */
static bool work_left(const struct pm_pod *p)
{
    for (size_t i = 0; i < p->container_count; i++) {
        const struct pm_container *c = &p->containers[i];
        if (c->kind != PM_APP)
            continue;
        if (is_live(state_of(c)))
            return true;
        /* A pod whose sandbox died: exits seen in the old one count. */
        if (c->state == PM_EXITED ? pm_restarts(p, c) : true)
            return true;
    }
    return false;
}

/* May a pod whose sandbox went away run again in a new one? */
static bool may_recreate(const struct pm_pod *p)
{
    if (p->restart != PM_RESTART_NEVER || !p->sandbox_before)
        return work_left(p);
    for (size_t i = 0; i < p->container_count; i++) {
        if (p->containers[i].state != PM_ABSENT)
            return false;
    }
    return true;
}

static struct pm_action sandbox_step(const struct pm_pod *p)
{
    if (p->has_sandbox && !p->sandbox_stopped)
        return act(PM_RESET, 0, PM_WHY_NONE);
    if (!may_recreate(p))
        return act(PM_STOP, 0, PM_WHY_COMPLETED);
    if (p->sandbox_blocked_ms > 0) {
        struct pm_action a = act(PM_NOTHING, 0, PM_WHY_NONE);
        a.wait_ms = p->sandbox_blocked_ms;
        return a;
    }
    return act(PM_CREATE_SANDBOX, 0, PM_WHY_NONE);
}

static struct pm_action running_step(const struct pm_pod *p)
{
    struct pm_action a = act(PM_NOTHING, 0, PM_WHY_NONE);
    uint64_t wait_ms = 0;
    bool initialized;
    if (!p->volumes_ready)
        return act(PM_PREPARE, 0, PM_WHY_NONE);
    if (!p->sandbox_ready)
        return sandbox_step(p);
    for (size_t i = 0; i < p->container_count; i++) {
        const struct pm_container *c = &p->containers[i];
        if (c->kind == PM_EPHEMERAL && c->state == PM_ABSENT && start(p, i, &wait_ms, &a))
            return a;
    }
    if (init_step(p, &wait_ms, &initialized, &a))
        return a;
    if (initialized) {
        for (size_t i = 0; i < p->container_count; i++) {
            if (p->containers[i].kind == PM_APP && keep_running(p, i, &wait_ms, &a))
                return a;
        }
        if (!work_left(p))
            return act(PM_STOP, 0, PM_WHY_COMPLETED);
    }
    a.wait_ms = wait_ms;
    return a;
}

static struct pm_action stopping_step(const struct pm_pod *p)
{
    for (size_t i = 0; i < p->container_count; i++) {
        if (is_live(p->containers[i].state))
            return act(PM_STOP, 0, PM_WHY_NONE);
    }
    if (p->has_sandbox && !p->sandbox_stopped)
        return act(PM_STOP, 0, PM_WHY_NONE);
    return act(PM_FINISH, 0, PM_WHY_NONE);
}

struct pm_action pm_next(const struct pm_pod *p)
{
    switch (p->life) {
    case PM_RUNNING:
        return running_step(p);
    case PM_STOPPING:
        return stopping_step(p);
    case PM_STOPPED:
        break;
    }
    return act(PM_NOTHING, 0, PM_WHY_NONE);
}
