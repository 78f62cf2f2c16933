/* pod_machine.h - what a pod needs next: desired containers and observed ones
 * in, one action out.
 *
 * Pure. The caller carries the action out, observes again and asks again,
 * until the answer is PM_NOTHING. Two phases of life:
 *
 *                  stop wanted, or nothing left to run
 *     PM_RUNNING --------------------------------------> PM_STOPPING --> PM_STOPPED
 *
 * In PM_RUNNING the answers set the pod up and keep it as its spec says; in
 * PM_STOPPING they take it down. A pod never comes back from PM_STOPPING. */
#ifndef KUBELET_POD_MACHINE_H
#define KUBELET_POD_MACHINE_H

#include "lib/base/base.h"

enum pm_restart { PM_RESTART_ALWAYS, PM_RESTART_ON_FAILURE, PM_RESTART_NEVER };

enum pm_kind {
    PM_INIT,    /* Runs to its end, in order, before the app containers. */
    PM_SIDECAR, /* An init container with restartPolicy Always: starts in order, keeps running. */
    PM_APP,
    PM_EPHEMERAL, /* Started once, whenever it appears; never restarted. */
};

enum pm_state { PM_ABSENT, PM_CREATED, PM_UP, PM_EXITED, PM_UNKNOWN };

/* One container: what is wanted (upper half) and what was seen of its newest
 * instance (lower half). Init containers and sidecars come first, in order. */
struct pm_container {
    enum pm_kind kind;
    uint64_t hash;       /* Of the wanted spec. */
    bool exit_restarts;  /* restartPolicyRules decided about the last exit: restart, */
    bool exit_decided;   /* if this is set. */
    uint64_t blocked_ms; /* Not to be started for so long: back-off. */

    enum pm_state state;
    bool in_sandbox;    /* The instance belongs to the present sandbox. */
    uint64_t seen_hash; /* 0: unknown. */
    int exit_code;
    bool started;         /* postStart is through and the startup probe passed. */
    bool startup_failed;  /* The startup probe gave up, */
    bool liveness_failed; /* or the liveness probe did. */
};

enum pm_life { PM_RUNNING, PM_STOPPING, PM_STOPPED };

struct pm_pod {
    enum pm_restart restart;
    enum pm_life life;
    bool volumes_ready;   /* Directories, volumes and cgroups are there. */
    bool has_sandbox;     /* Any sandbox, */
    bool sandbox_ready;   /* and the newest is usable. */
    bool sandbox_stopped; /* All sandboxes were stopped. */
    bool sandbox_before;  /* There was a sandbox at some time (attempt > 0 follows). */
    uint64_t sandbox_blocked_ms;
    struct pm_container *containers;
    size_t container_count;
};

enum pm_action_type {
    PM_NOTHING, /* Until something changes, or wait_ms have passed. */
    PM_PREPARE, /* Make directories, volumes, cgroups. */
    PM_RESET,   /* Stop what runs and all sandboxes; the pod lives on. */
    PM_CREATE_SANDBOX,
    PM_START,  /* Container index. */
    PM_KILL,   /* Container index, for reason. */
    PM_STOP,   /* Stop all containers and sandboxes for good. */
    PM_FINISH, /* Nothing runs any more: enter PM_STOPPED. */
};

enum pm_reason {
    PM_WHY_NONE,
    PM_WHY_UNKNOWN_STATE,
    PM_WHY_CHANGED,
    PM_WHY_LIVENESS,
    PM_WHY_STARTUP,
    PM_WHY_RESIZED,   /* Its resize policy asks for it. */
    PM_WHY_COMPLETED, /* PM_STOP: every container has ended for good. */
    PM_WHY_INIT_FAILED,
};

struct pm_action {
    enum pm_action_type type;
    size_t index;
    enum pm_reason reason;
    bool restarts;    /* PM_KILL: the container will be started again. */
    uint64_t wait_ms; /* PM_NOTHING: ask again after this; 0: only on a change. */
};

struct pm_action pm_next(const struct pm_pod *p);

/* Will a container that ended be started again, back-off aside? */
bool pm_restarts(const struct pm_pod *p, const struct pm_container *c);
/* Have all init containers done their work? */
bool pm_initialized(const struct pm_pod *p);

#endif
