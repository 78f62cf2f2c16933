/* test_pod_machine.c - what a pod needs next, step by step. */
#include "kubelet/pod_machine.h"

#include "test/unit/unit.h"

#define N 3

struct fixture {
    struct pm_pod pod;
    struct pm_container c[N];
};

static struct fixture make(enum pm_restart restart, size_t count)
{
    struct fixture f = {.pod = {.restart = restart, .container_count = count}};
    for (size_t i = 0; i < N; i++)
        f.c[i] = (struct pm_container){.kind = PM_APP, .hash = 7};
    return f;
}

static struct pm_action next(struct fixture *f)
{
    f->pod.containers = f->c;
    return pm_next(&f->pod);
}

static void sandbox_up(struct fixture *f)
{
    f->pod.volumes_ready = f->pod.has_sandbox = f->pod.sandbox_before = f->pod.sandbox_ready = true;
}

static void set(struct pm_container *c, enum pm_state state, int exit_code)
{
    c->state = state;
    c->in_sandbox = true;
    c->seen_hash = 7;
    c->exit_code = exit_code;
    c->started = state == PM_UP;
}

/* Volumes come before the sandbox, the sandbox before containers. */
START_TEST(test_order)
{
    struct fixture f = make(PM_RESTART_ALWAYS, 2);
    ck_assert_int_eq(next(&f).type, PM_PREPARE);
    f.pod.volumes_ready = true;
    ck_assert_int_eq(next(&f).type, PM_CREATE_SANDBOX);
    sandbox_up(&f);
    struct pm_action a = next(&f);
    ck_assert_int_eq(a.type, PM_START);
    ck_assert_uint_eq(a.index, 0);
    set(&f.c[0], PM_UP, 0);
    a = next(&f);
    ck_assert_int_eq(a.type, PM_START);
    ck_assert_uint_eq(a.index, 1);
    set(&f.c[1], PM_UP, 0);
    ck_assert_int_eq(next(&f).type, PM_NOTHING);
}
END_TEST

/* Init containers run one after another, then the app starts. */
START_TEST(test_init_sequence)
{
    struct fixture f = make(PM_RESTART_ALWAYS, 3);
    sandbox_up(&f);
    f.c[0].kind = f.c[1].kind = PM_INIT;
    ck_assert_uint_eq(next(&f).index, 0);
    set(&f.c[0], PM_UP, 0);
    ck_assert_int_eq(next(&f).type, PM_NOTHING);
    set(&f.c[0], PM_EXITED, 0);
    ck_assert_uint_eq(next(&f).index, 1);
    set(&f.c[1], PM_EXITED, 0);
    ck_assert_int_eq(next(&f).type, PM_START);
    ck_assert_uint_eq(next(&f).index, 2);
    ck_assert(pm_initialized(&f.pod));
}
END_TEST

/* A failed init container is tried again, or fails the pod when it may not be. */
START_TEST(test_init_failure)
{
    struct fixture f = make(PM_RESTART_ON_FAILURE, 2);
    sandbox_up(&f);
    f.c[0].kind = PM_INIT;
    set(&f.c[0], PM_EXITED, 1);
    ck_assert_int_eq(next(&f).type, PM_START);
    f.pod.restart = PM_RESTART_NEVER;
    struct pm_action a = next(&f);
    ck_assert_int_eq(a.type, PM_STOP);
    ck_assert_int_eq(a.reason, PM_WHY_INIT_FAILED);
}
END_TEST

/* A sidecar must have started before what follows, and is restarted later without
 * holding the app back. */
START_TEST(test_sidecar)
{
    struct fixture f = make(PM_RESTART_NEVER, 2);
    sandbox_up(&f);
    f.c[0].kind = PM_SIDECAR;
    ck_assert_uint_eq(next(&f).index, 0);
    set(&f.c[0], PM_UP, 0);
    f.c[0].started = false;
    ck_assert_int_eq(next(&f).type, PM_NOTHING);
    f.c[0].started = true;
    ck_assert_uint_eq(next(&f).index, 1);
    set(&f.c[1], PM_UP, 0);
    set(&f.c[0], PM_EXITED, 0);
    struct pm_action a = next(&f);
    ck_assert_int_eq(a.type, PM_START);
    ck_assert_uint_eq(a.index, 0);
    /* The app's end is the pod's end, sidecar or not. */
    set(&f.c[0], PM_UP, 0);
    set(&f.c[1], PM_EXITED, 0);
    ck_assert_int_eq(next(&f).type, PM_STOP);
}
END_TEST

/* Restart policies. */
START_TEST(test_restart_policies)
{
    static const struct {
        enum pm_restart policy;
        int exit_code;
        enum pm_action_type expected;
    } cases[] = {
        {PM_RESTART_ALWAYS, 0, PM_START},    {PM_RESTART_ALWAYS, 1, PM_START},
        {PM_RESTART_ON_FAILURE, 0, PM_STOP}, {PM_RESTART_ON_FAILURE, 1, PM_START},
        {PM_RESTART_NEVER, 0, PM_STOP},      {PM_RESTART_NEVER, 1, PM_STOP},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct fixture f = make(cases[i].policy, 1);
        sandbox_up(&f);
        set(&f.c[0], PM_EXITED, cases[i].exit_code);
        ck_assert_int_eq(next(&f).type, cases[i].expected);
    }
}
END_TEST

/* A backed-off container waits; the others go on, and the shortest wait counts. */
START_TEST(test_backoff)
{
    struct fixture f = make(PM_RESTART_ALWAYS, 3);
    sandbox_up(&f);
    set(&f.c[0], PM_EXITED, 1);
    f.c[0].blocked_ms = 9000;
    ck_assert_uint_eq(next(&f).index, 1);
    set(&f.c[1], PM_UP, 0);
    set(&f.c[2], PM_EXITED, 1);
    f.c[2].blocked_ms = 4000;
    struct pm_action a = next(&f);
    ck_assert_int_eq(a.type, PM_NOTHING);
    ck_assert_uint_eq(a.wait_ms, 4000);
}
END_TEST

/* Probes and changed specs take a container down, each for its reason. */
START_TEST(test_kill_reasons)
{
    struct fixture f = make(PM_RESTART_ALWAYS, 1);
    sandbox_up(&f);
    set(&f.c[0], PM_UP, 0);
    f.c[0].liveness_failed = true;
    ck_assert_int_eq(next(&f).type, PM_KILL);
    ck_assert_int_eq(next(&f).reason, PM_WHY_LIVENESS);
    ck_assert(next(&f).restarts);
    f.c[0].startup_failed = true;
    ck_assert_int_eq(next(&f).reason, PM_WHY_STARTUP);
    f.c[0].hash = 8;
    ck_assert_int_eq(next(&f).reason, PM_WHY_CHANGED);
    set(&f.c[0], PM_UNKNOWN, 0);
    ck_assert_int_eq(next(&f).reason, PM_WHY_UNKNOWN_STATE);
    set(&f.c[0], PM_CREATED, 0);
    ck_assert_int_eq(next(&f).type, PM_KILL);
}
END_TEST

/* A sandbox that died: everything is stopped, then made again, unless nothing may
 * run again. */
START_TEST(test_sandbox_lost)
{
    struct fixture f = make(PM_RESTART_ALWAYS, 1);
    sandbox_up(&f);
    f.pod.sandbox_ready = false;
    ck_assert_int_eq(next(&f).type, PM_RESET);
    f.pod.sandbox_stopped = true;
    set(&f.c[0], PM_EXITED, 137);
    ck_assert_int_eq(next(&f).type, PM_CREATE_SANDBOX);
    f.pod.sandbox_blocked_ms = 50;
    ck_assert_uint_eq(next(&f).wait_ms, 50);
    f.pod.restart = PM_RESTART_NEVER;
    ck_assert_int_eq(next(&f).type, PM_STOP);
    /* OnFailure: one that succeeded in the old sandbox is not run again. */
    f.pod.restart = PM_RESTART_ON_FAILURE;
    f.pod.sandbox_blocked_ms = 0;
    set(&f.c[0], PM_EXITED, 0);
    ck_assert_int_eq(next(&f).type, PM_STOP);
}
END_TEST

/* In a new sandbox init containers run again, and what ran before is started. */
START_TEST(test_new_sandbox_restarts_init)
{
    struct fixture f = make(PM_RESTART_ALWAYS, 2);
    sandbox_up(&f);
    f.c[0].kind = PM_INIT;
    set(&f.c[0], PM_EXITED, 0);
    set(&f.c[1], PM_EXITED, 1);
    f.c[0].in_sandbox = f.c[1].in_sandbox = false;
    struct pm_action a = next(&f);
    ck_assert_int_eq(a.type, PM_START);
    ck_assert_uint_eq(a.index, 0);
}
END_TEST

/* An ephemeral container starts once and never again. */
START_TEST(test_ephemeral)
{
    struct fixture f = make(PM_RESTART_ALWAYS, 2);
    sandbox_up(&f);
    set(&f.c[0], PM_UP, 0);
    f.c[1].kind = PM_EPHEMERAL;
    ck_assert_uint_eq(next(&f).index, 1);
    set(&f.c[1], PM_EXITED, 1);
    ck_assert_int_eq(next(&f).type, PM_NOTHING);
}
END_TEST

/* Stopping: containers and sandboxes first, then the end, then nothing ever. */
START_TEST(test_stopping)
{
    struct fixture f = make(PM_RESTART_ALWAYS, 1);
    sandbox_up(&f);
    set(&f.c[0], PM_UP, 0);
    f.pod.life = PM_STOPPING;
    ck_assert_int_eq(next(&f).type, PM_STOP);
    set(&f.c[0], PM_EXITED, 0);
    ck_assert_int_eq(next(&f).type, PM_STOP);
    f.pod.sandbox_stopped = true;
    ck_assert_int_eq(next(&f).type, PM_FINISH);
    f.pod.life = PM_STOPPED;
    ck_assert_int_eq(next(&f).type, PM_NOTHING);
}
END_TEST

/* Whatever the state, carrying out the answers ends in rest: no endless loops.
 * Every combination of two containers' states is driven for a while. */
START_TEST(test_settles)
{
    static const enum pm_kind kinds[] = {PM_INIT, PM_SIDECAR, PM_APP};
    for (int seed = 0; seed < 3 * 3 * 5 * 5 * 2; seed++) {
        struct fixture f = make((enum pm_restart)(seed % 3), 3);
        sandbox_up(&f);
        f.c[0].kind = kinds[seed / 3 % 3];
        set(&f.c[0], (enum pm_state)(seed / 9 % 5), seed / 225);
        set(&f.c[1], (enum pm_state)(seed / 45 % 5), seed / 225);
        int steps = 0;
        for (struct pm_action a = next(&f); a.type != PM_NOTHING && f.pod.life != PM_STOPPED;
             a = next(&f)) {
            ck_assert_int_lt(steps++, 40);
            if (a.type == PM_START)
                set(&f.c[a.index], f.c[a.index].kind == PM_INIT ? PM_EXITED : PM_UP, 0);
            else if (a.type == PM_KILL)
                set(&f.c[a.index], f.c[a.index].state == PM_CREATED ? PM_ABSENT : PM_EXITED, 137);
            else if (a.type == PM_STOP) {
                f.pod.life = PM_STOPPING;
                f.pod.sandbox_stopped = true;
                f.pod.sandbox_ready = false;
                for (size_t i = 0; i < 3; i++) {
                    if (f.c[i].state != PM_ABSENT)
                        f.c[i].state = PM_EXITED;
                }
            } else if (a.type == PM_FINISH)
                f.pod.life = PM_STOPPED;
        }
    }
}
END_TEST

UNIT_MAIN("pod_machine", {
    UNIT_TEST(test_order);
    UNIT_TEST(test_init_sequence);
    UNIT_TEST(test_init_failure);
    UNIT_TEST(test_sidecar);
    UNIT_TEST(test_restart_policies);
    UNIT_TEST(test_backoff);
    UNIT_TEST(test_kill_reasons);
    UNIT_TEST(test_sandbox_lost);
    UNIT_TEST(test_new_sandbox_restarts_init);
    UNIT_TEST(test_ephemeral);
    UNIT_TEST(test_stopping);
    UNIT_TEST(test_settles);
})
