/* pod_status.h - the status of a pod, from its spec and what was observed.
 *
 * Pure. Phases, conditions and reasons are upstream's word for word, because
 * controllers and people act on them. */
#ifndef KUBELET_POD_STATUS_H
#define KUBELET_POD_STATUS_H

#include "kubelet/runtime_state.h"

#include "lib/base/base.h"
#include "lib/base/str.h"

struct arena;
struct core_v1_pod;
struct core_v1_pod_status;
struct core_v1_resource_requirements;
struct core_v1_resource_status;

/* What the node agent knows of one container besides the runtime's view. */
struct container_facts {
    struct str name;
    const char *wait_reason; /* Why it does not run now; NULL: nothing to say. */
    const char *wait_message;
    bool started;  /* Startup probe passed (or none), and postStart is through. */
    bool ready;    /* Readiness probe passed (or none). */
    bool restarts; /* It will be started again after having ended. */
    const struct core_v1_resource_requirements *applied; /* What it runs with; NULL: the spec's. */
    struct core_v1_resource_status *devices;             /* What it has of plugins. */
    size_t device_count;
};

struct pod_status_inputs {
    const struct core_v1_pod *pod;
    const struct core_v1_pod_status *old; /* The last one; for times and foreign conditions. */
    const struct rt_pod *runtime;         /* NULL: nothing was made yet. */
    const struct container_facts *facts;  /* All containers of all kinds, in any order. */
    size_t fact_count;
    const char *runtime_name; /* "containerd" */
    const char *const *host_ips;
    size_t host_ip_count;
    bool recursive_read_only; /* Its runtime handler has such mounts. */
    bool sandbox_ready;       /* Present sandbox with network. */
    bool finished;            /* Nothing runs and nothing will: phases may be final. */
    const char *fail_reason;  /* Set: the pod has failed for this reason ("DeadlineExceeded"). */
    const char *fail_message;
    bool rejected;             /* It never was one of this node's. */
    bool disrupted;            /* It fails because of the node. */
    const char *resize_reason; /* Why the pod does not get what it asks for; NULL: it does. */
    const char *resize_message;
    const char *awaits; /* Which dependencies keep it from starting; NULL: none. */
    bool resizing;      /* Its containers do not have all that is allocated. */
    const char *resize_error;
    int64_t now_s;
};

/* The result lives in a, or borrows from the inputs. */
struct core_v1_pod_status *pod_status_compute(struct arena *a, const struct pod_status_inputs *in);

/* The conditions that this node writes; others belong to somebody else. */
bool pod_condition_is_own(struct str type);

#endif
