/* pod_sandbox.c - brings a pod's sandbox up: namespaces, network, cgroup parent. */
#include "kubelet/cri_config.h"
#include "kubelet/pod_sources.h"
#include "kubelet/pod_worker_internal.h"
#include "kubelet/user_namespaces.h"

#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/log.h"

#include "api/core_v1.h"
#include "api/node_v1.h"

void *worker_sandbox_config(struct pod_worker *w, struct arena *a, uint32_t attempt)
{
    const struct kubelet *k = w->k;
    const struct core_v1_pod *pod = worker_pod(w);
    struct dns_settings dns;
    struct sandbox_inputs in = {.pod = pod, .attempt = attempt, .dns = &dns, .cgroup_parent = ""};
    const char *domain;
    pod_hostname(a, pod, k->node_name, k->config.cluster_domain, &in.hostname, &domain);
    const char **servers = ARENA_ARRAY(a, const char *, k->config.cluster_dns.count + 1);
    for (size_t i = 0; i < k->config.cluster_dns.count; i++)
        servers[i] = k->config.cluster_dns.items[i];
    dns_for_pod(a, pod, &k->node_dns, servers, k->config.cluster_dns.count,
                k->config.cluster_domain, &dns);
    in.log_dir = pod_log_dir(a, k->config.pod_logs_dir, w->namespace_name, w->name, w->uid);
    if (k->cgroups != NULL)
        in.cgroup_parent = cgroups_pod_parent(k->cgroups, a, pod_qos_class(pod), w->uid);
    in.users = worker_users(w);
    in.seccomp_root = str_c(arena_printf(a, "%s/seccomp", k->config.root_dir));
    return sandbox_config(a, &in);
}

struct user_range worker_users(const struct pod_worker *w)
{
    uint32_t first = user_namespaces_of(w->k->user_namespaces, w->uid);
    return (struct user_range){
        .first = first, .length = first != 0 ? user_namespaces_length(w->k->user_namespaces) : 0};
}

struct runtime_handler worker_handler(const struct pod_worker *w)
{
    const struct rt_sandbox *s = rt_pod_sandbox(w->rt);
    return s != NULL ? node_support_handler(&w->k->support, s->handler)
                     : (struct runtime_handler){0};
}

static void fail(struct pod_worker *w, const char *message)
{
    uint64_t wait = 1000u << MIN_OF(w->sandbox_failures, 6u);
    w->sandbox_failures++;
    w->sandbox_blocked_until_ms = kubelet_now_ms(w->k) + MIN_OF(wait, (uint64_t)60000);
    worker_event(w, NULL, "Warning", "FailedCreatePodSandBox", "Failed to create pod sandbox: %s",
                 message);
    log_warning("pod %s/%s: sandbox: %s", w->namespace_name, w->name, message);
}

static void on_created(const struct cri_reply *reply, void *arg)
{
    struct pod_worker *w = arg;
    worker_leave_turn(w);
    start_trace_add(&w->trace, START_SANDBOX, reply->took_ns);
    if (reply->code != 0 && reply->code != E_CANCELED)
        fail(w, reply->message);
    else if (reply->code == 0)
        w->sandbox_failures = 0;
    worker_op_done(w);
}

/* The runtime's name for what the pod's RuntimeClass stands for; "": its default. */
static int find_handler(const struct pod_worker *w, struct arena *a, char **ret, struct error *err)
{
    const struct core_v1_pod *pod = worker_pod(w);
    *ret = arena_strdup(a, "");
    if (!pod->spec.has_runtime_class_name)
        return 0;
    const struct source *s =
        source_set_find(w->sources, SOURCE_RUNTIME_CLASS, pod->spec.runtime_class_name, 0);
    if (s == NULL || s->object == NULL)
        return error_set(err, E_NOT_FOUND, "failed to get the RuntimeClass \"" STR_FMT "\": %s",
                         STR_ARG(pod->spec.runtime_class_name),
                         s != NULL && s->message != NULL ? s->message
                                                         : "there is no API server to ask");
    const struct node_v1_runtime_class *c = s->object->msg;
    *ret = arena_strdup(a, str_c(arena_str(a, c->handler)));
    return 0;
}

/* Refused before the runtime is asked: it would run the pod as if nothing had been said. */
static int check_users(const struct pod_worker *w, const char *handler, struct error *err)
{
    const struct core_v1_pod_spec *spec = &worker_pod(w)->spec;
    if (!spec->has_host_users || spec->host_users)
        return 0;
    bool can = node_support_handler(&w->k->support, handler).user_namespaces;
    if (!can && handler[0] != '\0')
        return error_set(err, E_NOT_IMPLEMENTED,
                         "can't set `spec.hostUsers: false`, RuntimeClass handler \"%s\" does not "
                         "support user namespaces",
                         handler);
    if (!can)
        return error_set(err, E_NOT_IMPLEMENTED,
                         "can't set `spec.hostUsers: false`, runtime does not support user "
                         "namespaces");
    return 0;
}

static void on_turn(struct start_turn *t)
{
    struct pod_worker *w = CONTAINER_OF(t, struct pod_worker, turn);
    AUTO_ARENA *a = arena_new(0);
    struct error err;
    start_trace_add(&w->trace, START_TURN, t->waited_ms * 1000000);
    CRI(RunPodSandboxRequest) *r = CRI_NEW(a, RunPodSandboxRequest, run_pod_sandbox_request);
    if (find_handler(w, a, &r->runtime_handler, &err) != 0 ||
        check_users(w, r->runtime_handler, &err) != 0) {
        fail(w, error_message(&err));
        worker_leave_turn(w);
        worker_op_done_same(w);
        return;
    }
    r->config = worker_sandbox_config(w, a, w->sandbox_attempts);
    cri_call(w->k->cri, CRI_RUN_POD_SANDBOX, r, CRI_SANDBOX_TIMEOUT_MS, on_created, w);
}

void worker_create_sandbox(struct pod_worker *w)
{
    const struct core_v1_pod *pod = worker_pod(w);
    if (!w->k->network_ready && !pod->spec.host_network) {
        /* Said once per wait; the node's condition says more. */
        worker_event(
            w, NULL, "Warning", "NetworkNotReady",
            "network is not ready: container runtime network not ready: NetworkReady=false "
            "reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not "
            "initialized");
        w->sandbox_blocked_until_ms = kubelet_now_ms(w->k) + 2000;
        worker_op_done_same(w);
        return;
    }
    worker_take_turn(w, START_RANK_SANDBOX, on_turn);
}
