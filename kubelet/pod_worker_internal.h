/* pod_worker_internal.h - what the files that act for a pod worker share.
 *
 *   pod_worker.c   life, kicks
 *   pod_step.c     what is to be done next
 *   pod_observe.c  the runtime's view, exits
 *   pod_prepare.c  sources, volumes, cgroup
 *   pod_sandbox.c  sandbox up and down
 *   pod_start.c    image, mounts, container, postStart (pod_start_internal.h)
 *   pod_kill.c     the end of one container: preStop, stop
 *   pod_stop.c     the end of the pod, removal
 *   pod_resize.c   other amounts of CPU and memory
 *   pod_report.c   status to the API */
#ifndef KUBELET_POD_WORKER_INTERNAL_H
#define KUBELET_POD_WORKER_INTERNAL_H

#include "kubelet/pod_machine.h"
#include "kubelet/pod_worker.h"
#include "kubelet/probe.h"
#include "kubelet/start_gate.h"
#include "kubelet/start_trace.h"
#include "kubelet/volumes.h"

#include "lib/base/list.h"

struct client_request;
struct cgroup_limits;
struct core_v1_container;
struct core_v1_resource_requirements;
struct source_set;
struct start;
struct user_range;

#define POD_RESYNC_MS 60000u
#define VOLUME_REFRESH_MS 60000u

struct pod_container {
    struct pod_worker *worker;
    const struct core_v1_container *spec;   /* In the worker's pod object. */
    const struct core_v1_container *target; /* Ephemeral: whose processes it sees; NULL. */
    char *name;
    enum pm_kind kind;
    uint64_t hash;
    char *field_path;  /* "spec.containers{web}" */
    char *wait_reason; /* Why it does not run; NULL. */
    char *wait_message;
    uint64_t blocked_until_ms; /* Not before: after a failed start. */
    char *instance;            /* Id that the probes below belong to; NULL. */
    bool post_start_pending;
    bool probes_failed; /* Set while a restart for a probe is under way. */
    struct probe *probes[3];
    struct check *hook;
    int64_t probe_grace_s; /* Of the probe that failed; -1: the pod's. */
    /* What the running instance was given; NULL: not known. */
    struct core_v1_resource_requirements *applied;
    struct arena *applied_arena;
    char *resize_error;  /* Why it could not be given what the spec says; NULL. */
    char *resize_killed; /* The instance that was killed to be given it; NULL. */
    uint64_t resize_blocked_until_ms;
};

struct exit_watch {
    struct list link;
    struct pod_worker *worker;
    uv_poll_t poll;
    int fd;
    char *container_id;
};

struct pod_worker {
    struct kubelet *k;
    struct api_object *object; /* The pod as wanted, with the amounts that it has been allocated;
                                  NULL: orphan. */
    struct api_object *asked;  /* With the amounts that it does not have yet; NULL. */
    const char *resize_reason; /* "Deferred", "Infeasible": why not; NULL. */
    char *resize_message;
    bool resize_widened; /* The cgroup is as wide as a resize under way needs. */
    enum pod_origin origin;
    char *uid, *name, *namespace_name;

    struct pod_container **containers; /* Init containers first, then app, then ephemeral. */
    size_t container_count;

    struct rt_pod *rt;
    bool rt_stale;
    uint64_t rt_read_ms;
    struct list exit_watches;
    struct list kills; /* Containers being stopped, see pod_kill.c. */
    bool needs_polling;
    unsigned settle_looks; /* Looks since a process ended that the runtime still calls running. */

    enum pm_life life;
    bool gone;          /* The API or the file no longer has it. */
    bool delete_wanted; /* deletionTimestamp is set. */
    bool cleaned;       /* Volumes and cgroup are removed. */
    unsigned clean_failures;
    char *fail_reason, *fail_message;
    bool awaits_admission; /* Nothing is done for it yet, see pod_admit.h. */
    bool rejected;
    bool disrupted; /* It fails because of the node. */
    bool evicted;
    bool reclaimed;  /* Its node is short of disk. */
    bool emptied;    /* Of either: what the runtime had of it was removed. */
    int64_t grace_s; /* For stopping. */
    bool killing_logged;

    uint64_t observe_due_ms; /* 0: none. */
    bool busy;               /* Something is being done. */
    bool may_start;          /* Network policies stand in the way of no container. */
    char *awaits;            /* Which dependencies it waits for before its first start; NULL. */
    struct start *start;     /* The container start under way, see pod_start.c. */
    struct start_turn turn;  /* For the sandbox or container that is being started. */
    bool freeing;
    struct deferred kick;
    uv_timer_t timer; /* Wakes the worker. */
    int timers_open;

    struct source_set *sources;
    uint64_t sources_ms;
    struct volume_set *volumes;
    bool volumes_ready;
    uint64_t volumes_ms;
    uint64_t prepare_blocked_until_ms;
    unsigned prepare_failures;
    char *prepare_error;
    uint64_t sandbox_blocked_until_ms;
    unsigned sandbox_failures;
    uint32_t sandbox_attempts; /* Highest attempt made, plus one. */

    struct arena *status_arena;
    struct core_v1_pod_status *status; /* As last computed. */
    struct api_object *status_sent;    /* What the API answered to the last write. */
    struct client_request *status_call;
    struct client_request *delete_call;
    bool status_dirty;
    uint64_t status_blocked_until_ms;
    unsigned status_failures;
    bool delete_done;

    struct map images; /* Ids of those that its containers and volumes have had. */
    struct start_trace trace;
    uint64_t op_begin_ns; /* Of a preparation or a look. */
};

const struct core_v1_pod *worker_pod(const struct pod_worker *w);
/* Runs the step at the end of this round of the loop. */
void worker_kick(struct pod_worker *w);
/* Wakes the worker after ms, unless it is to wake earlier. */
void worker_wake_in(struct pod_worker *w, uint64_t ms);
/* The same, and then looks at the runtime anew. */
void worker_observe_in(struct pod_worker *w, uint64_t ms);
/* What was being done is over: observe, then go on. */
void worker_op_done(struct pod_worker *w);
/* As worker_op_done(), when the runtime cannot have changed. */
void worker_op_done_same(struct pod_worker *w);
struct pod_container *worker_container(const struct pod_worker *w, struct str name);
void container_set_waiting(struct pod_container *c, const char *reason, const char *message);

/* How long stopping may take, by the object as it is now. */
int64_t worker_object_grace(const struct core_v1_pod *pod);

void worker_note_image(struct pod_worker *w, const char *id);

/* pod_step.c */
void worker_step(struct pod_worker *w);

/* pod_observe.c */
void worker_observe_start(struct pod_worker *w);
void worker_watch_exits(struct pod_worker *w);
void worker_unwatch_all(struct pod_worker *w);

/* pod_prepare.c: done(0) or the error, already reported. */
void worker_prepare(struct pod_worker *w, void (*done)(struct pod_worker *w, int code));
void worker_fetch_sources(struct pod_worker *w, uint64_t max_age_ms,
                          void (*done)(struct pod_worker *w, void *arg), void *arg);
void worker_field_context(const struct pod_worker *w, struct field_context *ret);
/* What the pod's address is; the node's for hostNetwork. "" while unknown. */
const char *worker_pod_ip(const struct pod_worker *w);

/* pod_sandbox.c */
void worker_create_sandbox(struct pod_worker *w);
/* The ids that its users have on the machine. */
struct user_range worker_users(const struct pod_worker *w);
/* What the runtime handler of the pod's sandbox can do; nothing, without a sandbox. */
struct runtime_handler worker_handler(const struct pod_worker *w);
/* The CRI config of the sandbox that runs or is to run. */
void *worker_sandbox_config(struct pod_worker *w, struct arena *a, uint32_t attempt);

/* pod_start.c */
void worker_start_container(struct pod_worker *w, struct pod_container *c);
/* The pod is to stop: its turn, a pull or a postStart hook is not waited for. */
void worker_interrupt_start(struct pod_worker *w);
/* ready comes later, when the runtime may be asked to start what this worker is about to. */
void worker_take_turn(struct pod_worker *w, enum start_rank rank,
                      void (*ready)(struct start_turn *t));
void worker_leave_turn(struct pod_worker *w);

/* pod_kill.c */
#define KILL_GRACE_MIN_S 2 /* What a container gets even when preStop used up everything. */
/* Starts stopping c, whose spec may be unknown: NULL; done runs once, later. */
void worker_kill_begin(struct pod_worker *w, const struct rt_container *c,
                       const struct pod_container *spec, int64_t grace_s,
                       void (*done)(struct pod_worker *w, void *arg), void *arg);
/* The instance that has just been started goes again, by the pod's grace; done runs later. */
void worker_kill_started(struct pod_worker *w, struct pod_container *c, const char *id,
                         void (*done)(struct pod_worker *w, void *arg), void *arg);
/* What is being stopped has the worker's grace_s left at most. */
void worker_hurry(struct pod_worker *w);

/* pod_stop.c */
void worker_kill_container(struct pod_worker *w, struct pod_container *c, enum pm_reason why,
                           bool restarts);
void worker_stop_all(struct pod_worker *w, bool for_good);
void worker_cleanup(struct pod_worker *w);
void worker_remove_runtime(struct pod_worker *w, void (*done)(struct pod_worker *w));
/* Removes one dead instance beyond the newest two of its container, or an old
 * sandbox without containers. False: there is none. */
bool worker_collect_dead(struct pod_worker *w);

/* A clean-up failed: it is tried again, ever more seldom. */
void worker_clean_failed(struct pod_worker *w, const char *why);

/* pod_resize.c */
struct api_object *worker_take_resize(struct pod_worker *w, struct api_object *pod);
/* The pod gets what it asks for, when that fits. */
void worker_decide_resize(struct pod_worker *w);
void container_set_applied(struct pod_container *c, const struct core_v1_resource_requirements *r);
/* Have running containers something else than they are to have? ret_error: what failed; NULL. */
bool worker_is_resizing(const struct pod_worker *w, const char **ret_error);
/* For the pod's cgroup while its containers change. */
void worker_widen_limits(const struct pod_worker *w, struct cgroup_limits *l);
enum resize_step { RESIZE_NOTHING, RESIZE_PREPARE, RESIZE_STARTED };
/* One step; RESIZE_PREPARE: the pod's cgroup is to be set. */
enum resize_step worker_resize_step(struct pod_worker *w);
/* Takes over the object (pod_worker.c). */
void worker_set_allocated(struct pod_worker *w, struct api_object *pod);

/* pod_probes.c */
void worker_sync_probes(struct pod_worker *w);
void container_stop_probes(struct pod_container *c);
bool container_started(const struct pod_container *c);
bool container_ready(const struct pod_container *c);

/* Notes how long a part of the start took: since op_begin_ns. */
void worker_trace_op(struct pod_worker *w, enum start_part part);

/* pod_report.c */
void worker_report(struct pod_worker *w);
void worker_send_status(struct pod_worker *w);
void worker_delete_from_api(struct pod_worker *w);
void worker_forget_calls(struct pod_worker *w);
void worker_event(struct pod_worker *w, const struct pod_container *c, const char *type,
                  const char *reason, const char *fmt, ...) PRINTF_LIKE(5, 6);

#endif
