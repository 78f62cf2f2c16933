/* main.c - trireme-kubelet: puts the parts of the node agent together.
 *
 *   flags -> machine -> cgroups -> CRI; once the runtime answers:
 *     manifests   -> pods
 *     credentials -> client -> node, pods, services
 *
 * Ending the program leaves every container running. */
#include "kubelet/agent_metrics.h"
#include "kubelet/certificates.h"
#include "kubelet/config.h"
#include "kubelet/config_show.h"
#include "kubelet/cri.h"
#include "kubelet/credential_provider.h"
#include "kubelet/csi.h"
#include "kubelet/device_manager.h"
#include "kubelet/dra.h"
#include "kubelet/dns/dns.h"
#include "kubelet/eviction_manager.h"
#include "kubelet/image_gc.h"
#include "kubelet/image_records.h"
#include "kubelet/isolation/isolation.h"
#include "kubelet/kubelet.h"
#include "kubelet/leftovers.h"
#include "kubelet/log_rotation.h"
#include "kubelet/machine.h"
#include "kubelet/mirror_pods.h"
#include "kubelet/node_object.h"
#include "kubelet/node_routes.h"
#include "kubelet/node_sync.h"
#include "kubelet/object_store.h"
#include "kubelet/pinning.h"
#include "kubelet/pleg.h"
#include "kubelet/pod_certificates.h"
#include "kubelet/pod_resources.h"
#include "kubelet/pod_worker.h"
#include "kubelet/policy/guard.h"
#include "kubelet/policy/policy.h"
#include "kubelet/proxy/proxy.h"
#include "kubelet/runtime_health.h"
#include "kubelet/server.h"
#include "kubelet/start_gate.h"
#include "kubelet/static_pods.h"
#include "kubelet/topology.h"
#include "kubelet/trust_bundles.h"
#include "kubelet/usage_view.h"
#include "kubelet/user_namespaces.h"

#include "lib/api/pack.h"
#include "lib/api/scheme.h"
#include "lib/api/zpages.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/file.h"
#include "lib/base/flags.h"
#include "lib/base/log.h"
#include "lib/base/metrics.h"
#include "lib/base/program.h"
#include "lib/base/version.h"
#include "lib/client/client.h"
#include "lib/client/event_recorder.h"
#include "lib/client/informer.h"
#include "lib/client/informer_hot.h"
#include "lib/client/kubeconfig.h"

#include "api/core_v1.h"
#include "api/discovery_v1.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define CRASH_INITIAL_MS 10000u
#define CRASH_MAX_MS 300000u
#define BACKOFF_GC_MS 60000u
#define HOT_BYTES                                                                                  \
    ((size_t)256 << 10) /* Of Services and EndpointSlices that were just looked at.                \
                         */

struct program {
    struct kubelet k;       /* First: what callbacks get is this. */
    struct flag_set *flags; /* The configuration's strings live in it. */
    struct machine machine;
    struct runtime_health *health;
    struct certificates *certificates;
    struct static_pods *static_pods;
    struct node_sync *node;
    struct image_gc *image_gc;
    struct log_rotation *log_rotation;
    struct kubelet_server *server;
    uv_signal_t signals[2];
    uv_timer_t gc_timer;
    bool files_ready, api_ready;
};

static struct program *program_of(struct kubelet *k)
{
    return CONTAINER_OF(k, struct program, k);
}

/* --- sources ---------------------------------------------------------------------------- */

static void check_sources(struct program *p)
{
    if (p->files_ready && p->api_ready)
        kubelet_sources_ready(&p->k);
}

static void on_files_ready(struct kubelet *k)
{
    program_of(k)->files_ready = true;
    check_sources(program_of(k));
}

static void on_pod_add(struct api_object *o, void *arg)
{
    kubelet_pod_set(arg, o, POD_FROM_API);
}

static void on_pod_update(struct api_object *old, struct api_object *o, void *arg)
{
    const struct core_v1_pod *a = old->msg, *b = o->msg;
    /* Deleted and made again under the same name while we were not watching. */
    if (!str_eq(a->metadata.uid, b->metadata.uid))
        kubelet_pod_gone(arg, a->metadata.uid);
    kubelet_pod_set(arg, o, POD_FROM_API);
}

static void on_pod_delete(struct api_object *o, bool unknown, void *arg)
{
    UNUSED(unknown);
    kubelet_pod_gone(arg, ((const struct core_v1_pod *)o->msg)->metadata.uid);
}

static void on_pods_synced(void *arg)
{
    struct program *p = program_of(arg);
    p->api_ready = true;
    check_sources(p);
}

static struct informer *start_informer(struct kubelet *k, const char *kind,
                                       struct str field_selector,
                                       const struct informer_handler *handler)
{
    struct informer_config config = {.kind = api_kind_by_api_version(STR("v1"), str_of(kind)),
                                     .field_selector = field_selector};
    struct informer *i;
    struct error err;
    if (informer_new(k->client, &config, &i, &err) != 0)
        PANIC("informer of %s: %s", kind, error_message(&err));
    informer_add_handler(i, handler);
    informer_start(i);
    return i;
}

/* Slices are filed under "namespace/service". */
static void slice_keys(const struct api_object *o, void (*emit)(void *ctx, struct str key),
                       void *ctx)
{
    const struct discovery_v1_endpoint_slice *s = o->msg;
    const struct str *name = api_str_map_get(s->metadata.labels, s->metadata.labels_count,
                                             STR("kubernetes.io/service-name"));
    if (name == NULL)
        return;
    AUTO_ARENA *a = arena_new(0);
    emit(ctx, arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(s->metadata.namespace), STR_ARG(*name)));
}

/* Each node has those of the whole cluster, and looks at one when it changes: they rest packed. */
static struct informer *new_packed(struct kubelet *k, const char *api_version, const char *kind,
                                   struct informer_index index)
{
    struct informer *i;
    struct error err;
    struct informer_config config = {
        .kind = api_kind_by_api_version(str_of(api_version), str_of(kind)),
        .indexes = {index},
        .pack = true,
        .packer = api_packer_new_by_namespace(),
    };
    if (informer_new(k->client, &config, &i, &err) != 0)
        PANIC("informer of %s: %s", kind, error_message(&err));
    return i;
}

static void start_services(struct kubelet *k, const struct informer_handler *handler)
{
    informer_hot_bytes_max = HOT_BYTES;
    k->services = new_packed(k, "v1", "Service",
                             (struct informer_index){"namespace", informer_index_namespace});
    informer_add_handler(k->services, handler);
    informer_start(k->services);
    if (!k->config.proxy && !k->config.dns && !k->config.isolation)
        return;
    k->slices = new_packed(k, "discovery.k8s.io/v1", "EndpointSlice",
                           (struct informer_index){"service", slice_keys});
    informer_start(k->slices);
}

/* Pods come once Services are known: their variables name them. */
static void on_services_synced(void *arg)
{
    struct kubelet *k = arg;
    struct informer_handler handler = {.on_add = on_pod_add,
                                       .on_update = on_pod_update,
                                       .on_delete = on_pod_delete,
                                       .on_synced = on_pods_synced,
                                       .arg = k};
    k->pods = start_informer(k, "Pod", arena_printf(k->arena, "spec.nodeName=%s", k->node_name),
                             &handler);
}

static void on_serving_cert(struct kubelet *k)
{
    kubelet_server_set_cert(program_of(k)->server);
}

static void on_client(struct kubelet *k)
{
    struct program *p = program_of(k);
    struct informer_handler handler = {.on_synced = on_services_synced, .arg = k};
    k->mirrors = mirror_pods_start(k);
    k->events = event_recorder_new(k->client, "kubelet", k->node_name);
    p->node = node_sync_start(k, &p->machine, p->health);
    struct error err;
    dra_start(k->dra);
    if (csi_start(k->csi, &err) != 0)
        log_error("CSI drivers cannot register: %s", error_message(&err));
    if (k->config.network_policy)
        k->policy = policy_start(k);
    else
        policy_withdraw(k);
    start_services(k, &handler);
    if (k->config.isolation)
        k->isolation = isolation_start(k);
    else
        isolation_withdraw(k);
    if (!k->config.network_policy && !k->config.isolation)
        guard_withdraw(k);
    if (k->config.proxy)
        k->proxy = proxy_start(k, k->services, k->slices);
    if (k->config.dns)
        dns_start(k, k->services, k->slices);
    else
        dns_withdraw(k);
    certificates_serve(p->certificates, on_serving_cert);
    if (k->config.node_routes)
        k->routes = node_routes_start(k);
}

/* --- life ----------------------------------------------------------------------------------- */

static void on_runtime_change(struct kubelet *k)
{
    node_sync_kick(program_of(k)->node);
}

static void on_runtime_up(struct kubelet *k)
{
    struct program *p = program_of(k);
    struct error err;
    k->pleg = pleg_start(k);
    pinning_start(k->pinning);
    p->image_gc = image_gc_start(k);
    k->shutdown = shutdown_start(k, on_runtime_change);
    k->eviction = eviction_manager_start(k, &k->eviction_policy, p->image_gc, on_runtime_change);
    if (k->config.manifest_path != NULL && k->config.manifest_path[0] != '\0')
        p->static_pods = static_pods_start(k, k->config.manifest_path, on_files_ready);
    else
        p->files_ready = true;
    if (k->config.kubeconfig == NULL) {
        log_info("no --kubeconfig: running stand-alone");
        p->api_ready = true;
    } else if (certificates_start(k, on_client, &p->certificates, &err) != 0) {
        log_error("%s", error_message(&err));
        exit(EXIT_FAILURE);
    }
    check_sources(p);
}

static void on_shut_down(struct kubelet *k)
{
    k->stopping = true;
    uv_stop(k->loop);
}

static void on_signal(uv_signal_t *s, int signum)
{
    struct program *p = s->data;
    if (signum == SIGTERM && p->k.config.shutdown.on_sigterm &&
        shutdown_begin(p->k.shutdown, on_shut_down))
        return;
    log_info("signal %d: ending; containers keep running", signum);
    /* Nothing to save: what runs is the runtime's, what is known is the API's. */
    p->k.stopping = true;
    uv_stop(p->k.loop);
}

static void on_gc(uv_timer_t *t)
{
    struct program *p = t->data;
    uint64_t now_ms = kubelet_now_ms(&p->k);
    backoff_gc(&p->k.crash_backoff, now_ms);
    backoff_gc(&p->k.image_backoff, now_ms);
    leftovers_look(&p->k);
}

static int read_resolv_conf(struct kubelet *k, struct error *err)
{
    AUTO_BUF b = BUF_INIT;
    if (k->config.resolv_conf[0] == '\0')
        return 0;
    int rc = file_read(k->config.resolv_conf, 65536, &b, err);
    if (rc == E_NOT_FOUND)
        return 0;
    if (rc == 0)
        dns_parse(k->arena, buf_str(&b), &k->node_dns);
    return rc;
}

/* A mistake in the file is told at once, not when the runtime has come up. */
static int check_kubeconfig(const struct kubelet *k, struct error *err)
{
    struct kubeconfig *config = NULL;
    const struct kubelet_config *c = &k->config;
    if (c->kubeconfig == NULL)
        return 0;
    bool boot = c->bootstrap_kubeconfig != NULL && !file_exists(c->kubeconfig);
    int rc = kubeconfig_load(boot ? c->bootstrap_kubeconfig : c->kubeconfig, NULL, &config, err);
    kubeconfig_free(config);
    return rc == 0 ? 0 : error_prefix(err, boot ? "--bootstrap-kubeconfig" : "--kubeconfig");
}

static int open_image_records(struct kubelet *k, struct error *err)
{
    struct image_policy policy;
    int rc =
        image_policy_parse(k->config.image_verification, &k->config.image_allowlist, &policy, err);
    return rc == 0
               ? image_records_open(k->loop, k->config.root_dir, &policy, &k->image_records, err)
               : rc;
}

/* A node without device plugins, or that tells nobody who has what, is one all the same. */
static void start_devices(struct kubelet *k)
{
    struct topology_provider provider;
    struct error err;
    k->devices = device_manager_new(k);
    device_manager_provider(k->devices, &provider);
    topology_add_provider(pinning_topology(k->pinning), &provider);
    if (device_manager_start(k->devices, on_runtime_change, &err) != 0)
        log_error("device plugins cannot register: %s", error_message(&err));
    if (pod_resources_start(k, &err) != 0)
        log_error("pod resources cannot be asked for: %s", error_message(&err));
}

static int setup(struct program *p, struct error *err)
{
    struct kubelet *k = &p->k;
    int rc = check_kubeconfig(k, err);
    if (rc == 0)
        rc = machine_read(k->arena, k->config.node_ip, &p->machine, err);
    if (rc != 0)
        return rc;
    k->node_name = k->config.hostname_override != NULL && k->config.hostname_override[0] != '\0'
                       ? k->config.hostname_override
                       : p->machine.hostname;
    k->memory_capacity = p->machine.memory_bytes;
    static_assert(ARRAY_SIZE(k->hugepage_sizes) == ARRAY_SIZE(p->machine.hugepages),
                  "each size has its place");
    for (size_t i = 0; i < p->machine.hugepage_count; i++)
        k->hugepage_sizes[k->hugepage_size_count++] = p->machine.hugepages[i].size_bytes;
    k->cpu_capacity_milli = p->machine.cpus * 1000;
    for (size_t i = 0; i < p->machine.ip_count; i++)
        k->host_ips[k->host_ip_count++] = p->machine.ips[i];
    rc = eviction_init(&k->eviction_policy, &k->config.eviction, err);
    if (rc == 0)
        rc = pinning_take_reserved(k, err);
    if (rc == 0)
        rc = node_sync_check(k, &p->machine, err);
    if (rc == 0)
        rc = read_resolv_conf(k, err);
    if (rc == 0)
        rc = file_mkdir_p(k->config.root_dir, 0750, err);
    if (k->config.local_path_dir == NULL)
        k->config.local_path_dir =
            str_c(arena_printf(k->arena, "%s/local-path", k->config.root_dir));
    if (rc == 0)
        rc = file_mkdir_p(k->config.pod_logs_dir, 0755, err);
    if (rc == 0 && k->config.cgroups_per_qos) {
        enum cgroup_driver driver = strcmp(k->config.cgroup_driver, "systemd") == 0
                                        ? CGROUP_DRIVER_SYSTEMD
                                        : CGROUP_DRIVER_CGROUPFS;
        int64_t pods_limit = k->pods_memory < k->memory_capacity ? k->pods_memory : 0;
        rc = cgroups_new(driver, k->config.cgroup_root, &k->cgroups, err);
        if (rc == 0)
            rc = cgroups_setup_node(k->cgroups, k->cpu_capacity_milli, pods_limit, err);
    }
    if (rc == 0)
        rc = cri_new(k->loop, k->config.runtime_endpoint, &k->cri, err);
    if (k->config.serialize_pulls)
        k->config.max_pulls = 1;
    if (rc == 0 && k->config.credential_config != NULL)
        rc = credential_providers_load(k->loop, k->config.credential_config,
                                       k->config.credential_bin_dir, &k->credential_providers, err);
    if (rc == 0)
        rc = pinning_new(k, &k->pinning, err);
    k->starts = start_gate_new(k->loop, &k->deferred);
    enum change_detection detection = DETECT_WATCH;
    if (rc == 0)
        rc = change_detection_parse(k->config.change_detection, &detection, err);
    k->objects = object_store_new(k, detection, pod_worker_object_changed);
    k->trust_bundles = trust_bundles_new(k);
    k->certificates = pod_certificates_new(k);
    if (rc == 0)
        rc = open_image_records(k, err);
    struct user_namespaces_config users = {.root_dir = k->config.root_dir,
                                           .subuid = "/etc/subuid",
                                           .subgid = "/etc/subgid",
                                           .max_pods = k->config.max_pods,
                                           .ids_per_pod = k->config.ids_per_pod};
    if (rc == 0)
        rc = user_namespaces_new(&users, &k->user_namespaces, err);
    if (rc == 0)
        start_devices(k);
    k->csi = csi_new(k);
    k->dra = dra_new(k);
    k->started_ns = env_wall_ns(k->env);
    k->usage = usage_watch_new(k);
    agent_metrics_init(k);
    if (rc == 0)
        rc = log_rotation_start(k, &p->log_rotation, err);
    if (rc == 0)
        rc = kubelet_server_start(k, &p->server, err);
    return rc;
}

static void run(struct program *p)
{
    struct kubelet *k = &p->k;
    static const int numbers[] = {SIGTERM, SIGINT};
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        uv_signal_init(k->loop, &p->signals[i]);
        p->signals[i].data = p;
        uv_signal_start(&p->signals[i], on_signal, numbers[i]);
    }
    uv_timer_init(k->loop, &p->gc_timer);
    p->gc_timer.data = p;
    uv_timer_start(&p->gc_timer, on_gc, BACKOFF_GC_MS, BACKOFF_GC_MS);
    log_info("trireme-kubelet %s on node %s (%s)", KUBELET_VERSION, k->node_name,
             k->host_ip_count > 0 ? k->host_ips[0] : "no address");
    k->support.apparmor = node_has_apparmor();
    selinux_read(k->arena, "", &k->selinux);
    k->selinux.mount = k->config.gates.selinux_mount;
    k->support.unsafe_sysctls = &k->config.unsafe_sysctls;
    p->health = runtime_health_start(k, on_runtime_up, on_runtime_change);
    uv_run(k->loop, UV_RUN_DEFAULT);
}

int main(int argc, char **argv)
{
    program_begin();
    program_open_files_max();
    static struct program program; /* Lives as long as the process; nothing is taken apart. */
    static const char *const served[] = {
        "/attach", "/configz",     "/containerLogs", "/exec",  "/flagz",   "/healthz", "/metrics",
        "/pods",   "/portForward", "/runningpods",   "/stats", "/statusz", NULL};
    struct program *p = &program;
    struct kubelet *k = &p->k;
    struct error err;
    struct flag_set *flags = p->flags = kubelet_flags(&k->config);
    int rc = flag_set_parse(flags, argc, argv, &err);
    if (rc == E_EOF) {
        flag_set_print_help(flags);
        return EXIT_SUCCESS;
    }
    if (rc == 0 && k->config.version) {
        puts(VERSION_LINE);
        return EXIT_SUCCESS;
    }
    size_t count = 0;
    const char *const *args = rc == 0 ? flag_set_args(flags, &count) : NULL;
    if (count != 0)
        rc = error_set(&err, E_USAGE, "unexpected argument: %s; there are flags only", args[0]);
    if (rc == 0)
        rc = kubelet_config_load(&k->config, flags, &err);
    if (rc == 0)
        rc = kubelet_config_check(&k->config, &err);
    if (rc != 0) {
        fprintf(stderr, "trireme-kubelet: %s\n", error_message(&err));
        return EXIT_USAGE;
    }
    log_setup("kubelet", k->config.verbosity >= 4 ? LOG_DEBUG : LOG_INFO);
    k->loop = uv_default_loop();
    k->env = env_system();
    k->arena = arena_new(0);
    map_init(&k->workers);
    defer_queue_init(&k->deferred, k->loop);
    backoff_init(&k->crash_backoff, CRASH_INITIAL_MS, CRASH_MAX_MS);
    backoff_init(&k->image_backoff, CRASH_INITIAL_MS, CRASH_MAX_MS);
    list_init(&k->pulls_waiting);
    metrics_add_process(metrics_default());
    AUTO_BUF shown = BUF_INIT;
    kubelet_config_show(flags, &shown);
    buf_append(&shown, "", 1);
    k->configz = xstrdup((const char *)shown.data);
    k->zpages = zpages_new("kubelet", flags, served, env_wall_ns(k->env));
    rc = setup(p, &err);
    if (rc != 0) {
        kubelet_config_place(&k->config, &err);
        log_error("%s%s", error_message(&err),
                  geteuid() != 0 ? " (the node agent needs root)" : "");
        return EXIT_FAILURE;
    }
    run(p);
    return EXIT_SUCCESS;
}
