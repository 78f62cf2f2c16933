/* runtime_state.h - what the container runtime holds of one pod, as last seen.
 *
 * Pure: built from CRI messages into an arena of its own; immutable then.
 * Labels and annotations are upstream's, so that either kubelet can adopt what
 * the other started. */
#ifndef KUBELET_RUNTIME_STATE_H
#define KUBELET_RUNTIME_STATE_H

#include "kubelet/cri.h"

#define LABEL_POD_NAME "io.kubernetes.pod.name"
#define LABEL_POD_NAMESPACE "io.kubernetes.pod.namespace"
#define LABEL_POD_UID "io.kubernetes.pod.uid"
#define LABEL_CONTAINER_NAME "io.kubernetes.container.name"
#define ANNOTATION_HASH "io.kubernetes.container.hash"
#define ANNOTATION_RESTART_COUNT "io.kubernetes.container.restartCount"
#define ANNOTATION_TERM_PATH "io.kubernetes.container.terminationMessagePath"
#define ANNOTATION_TERM_POLICY "io.kubernetes.container.terminationMessagePolicy"
#define ANNOTATION_PRE_STOP "io.kubernetes.container.preStopHandler"
#define ANNOTATION_POD_GRACE "io.kubernetes.pod.terminationGracePeriod"
#define ANNOTATION_POD_DELETION_GRACE "io.kubernetes.pod.deletionGracePeriod"
#define ANNOTATION_PORTS "io.kubernetes.container.ports"
#define ANNOTATION_CONFIG_SOURCE "kubernetes.io/config.source"

struct arena;

enum rt_state { RT_CREATED, RT_RUNNING, RT_EXITED, RT_UNKNOWN };

struct rt_container {
    const char *id;
    const char *sandbox_id;
    const char *name;
    const char *image;     /* As the runtime names it. */
    const char *image_ref; /* Its digest or id. */
    const char *reason;
    const char *message; /* From the runtime, or the termination message. */
    const char *log_path;
    const char *term_path; /* Host file of the termination message; "" if none. */
    const char *term_policy;
    enum rt_state state;
    uint64_t hash;    /* Of the spec it was made from; 0: unknown. */
    uint32_t attempt; /* = restart count. */
    int32_t exit_code;
    int64_t created_ns, started_ns, finished_ns;
    int64_t pid;             /* Of a running one; 0: unknown. */
    int64_t grace_s;         /* Of the pod when it was made; -1: unknown. */
    bool has_status;         /* Details were read, not only the list. */
    const char *stop_signal; /* As the API names it ("SIGTERM"); NULL: the runtime says none. */
    bool user_known;
    int64_t uid, gid;
    const int64_t *groups;
    size_t group_count;
};

struct rt_sandbox {
    const char *id;
    const char *handler; /* The runtime's, "": its default one. */
    bool ready;
    bool host_network;
    uint32_t attempt;
    int64_t created_ns;
    const char *const *ips;
    size_t ip_count;
    bool has_status;
    bool used; /* There is, or was, a container in it. */
};

struct rt_pod {
    struct arena *arena;
    const char *uid, *name, *namespace_name;
    struct rt_sandbox *sandboxes; /* Newest first. */
    size_t sandbox_count;
    struct rt_container *containers; /* Newest first. */
    size_t container_count;
};

/* An empty pod; fill it with the functions below. */
struct rt_pod *rt_pod_new(const char *uid);
void rt_pod_free(struct rt_pod *p); /* NULL is a no-op. */

void rt_pod_set_sandboxes(struct rt_pod *p, const CRI(ListPodSandboxResponse) * list);
void rt_pod_set_containers(struct rt_pod *p, const CRI(ListContainersResponse) * list);
void rt_sandbox_set_status(struct rt_pod *p, struct rt_sandbox *s,
                           const CRI(PodSandboxStatus) * status);
/* info: the verbose part, for the pid. */
void rt_container_set_status(struct rt_pod *p, struct rt_container *c,
                             const CRI(ContainerStatusResponse) * response);
/* Takes over what an older view knows of a container that can no longer change. */
void rt_container_copy_status(struct rt_pod *p, struct rt_container *c,
                              const struct rt_container *old);

/* The newest instance of a name; NULL when there is none. */
/* The first address of each family, those of the node's first family in front: pods have one of
 * each. */
void rt_sandbox_order_ips(struct rt_pod *p, struct rt_sandbox *s, bool v6_first);
const struct rt_container *rt_pod_find(const struct rt_pod *p, struct str name);
/* The nth newest instance (0 = newest). */
const struct rt_container *rt_pod_find_nth(const struct rt_pod *p, struct str name, size_t n);
struct rt_container *rt_pod_find_id(const struct rt_pod *p, const char *id);
const struct rt_sandbox *rt_pod_sandbox(const struct rt_pod *p); /* Newest, or NULL. */
bool rt_pod_any_running(const struct rt_pod *p);

/* "pid" of the verbose info JSON; 0 when there is none. */
int64_t rt_info_pid(struct str info_json);

#endif
