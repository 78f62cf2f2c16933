/* config.c - see config.h. Names, defaults and units are upstream's. */
#include "kubelet/config.h"

#include "kubelet/cri.h"
#include "kubelet/dns/zone.h"
#include "kubelet/image_record.h"
#include "kubelet/kubelet.h"
#include "kubelet/object_store.h"
#include "kubelet/pinning.h"
#include "kubelet/pod_support.h"
#include "kubelet/proxy/addresses.h"

#include "lib/api/names.h"
#include "lib/api/feature_gates.h"
#include "lib/api/quantity.h"
#include "lib/base/flags.h"

#define SECOND_NS 1000000000ll

static const char *const ignored[] = {
    /* name, kept so that unit files made for upstream start us. */
    "runtime-request-timeout",
    "image-service-endpoint",
    "pod-infra-container-image",
    "fail-swap-on",
    "authentication-token-webhook",
    "authorization-mode",
    "kube-api-qps",
    "kube-api-burst",
    "event-qps",
    "event-burst",
    "healthz-bind-address",
    "read-only-port",
    "container-runtime",
    "network-plugin",
    "cloud-provider",
    "protect-kernel-defaults",
    "kubelet-cgroups",
    "system-cgroups",
    "runtime-cgroups",
    "enable-server",
    "logging-format",
    "streaming-connection-idle-timeout",
};

static void defaults(struct kubelet_config *c)
{
    *c = (struct kubelet_config){
        .cert_dir = "/var/lib/kubelet/pki",
        .runtime_endpoint = "unix:///run/containerd/containerd.sock",
        .root_dir = "/var/lib/kubelet",
        .pod_logs_dir = "/var/log/pods",
        .address = "0.0.0.0",
        .cluster_domain = "cluster.local",
        .cgroup_driver = "cgroupfs",
        .cgroup_root = "/",
        .resolv_conf = "/etc/resolv.conf",
        .cni_conf_dir = "/etc/cni/net.d",
        .container_log_max_size = "10Mi",
        .port = 10250,
        .healthz_port = 10248,
        .max_pods = 110,
        .container_log_max_files = 5,
        .node_status_update_ns = 10 * SECOND_NS,
        .node_status_report_ns = 300 * SECOND_NS,
        .file_check_ns = 20 * SECOND_NS,
        .sync_ns = 60 * SECOND_NS,
        .change_detection = "Watch",
        .image_verification = "NeverVerifyPreloadedImages",
        .image_gc_high = 85,
        .image_gc_low = 80,
        .image_minimum_gc_age_ns = 120 * SECOND_NS,
        .eviction = {.hard = eviction_hard_default, .transition_ns = 300 * SECOND_NS},
        .pod_pids_max = -1,
        .ids_per_pod = 65536,
        .cpu_manager_policy = "none",
        .memory_manager_policy = "None",
        .topology_manager_policy = "none",
        .topology_manager_scope = "container",
        .cpu_manager_reconcile_ns = 10 * SECOND_NS,
        .register_node = true,
        .cgroups_per_qos = true,
        .rotate_certificates = true,
        .server_tls_bootstrap = true,
        .authorization_webhook = true,
        .proxy = true,
        .proxy_healthz_port = 10256,
        .network_policy = true,
        .isolation = true,
        .dns = true,
        .node_routes = true,
    };
}

struct flag_set *kubelet_flags(struct kubelet_config *c)
{
    defaults(c);
    struct flag_set *f = flag_set_new("trireme-kubelet [flags]");
    flag_string(f, &c->kubeconfig, "kubeconfig",
                "Path to a kubeconfig `file`; without it the node runs stand-alone.");
    flag_string(f, &c->bootstrap_kubeconfig, "bootstrap-kubeconfig",
                "Path to a kubeconfig `file` used to get a client certificate when --kubeconfig "
                "does not exist yet.");
    flag_string(f, &c->cert_dir, "cert-dir", "The `directory` where certificates are kept.");
    flag_string(f, &c->hostname_override, "hostname-override",
                "Use this `name` for the node instead of the host's.");
    flag_string(f, &c->node_ip, "node-ip",
                "`Address` of the node, or two (IPv4 and IPv6) divided by a comma.");
    flag_string(f, &c->runtime_endpoint, "container-runtime-endpoint",
                "The `endpoint` of the container runtime service.");
    flag_string(f, &c->root_dir, "root-dir",
                "`Directory` for the node agent's files (volumes and more).");
    flag_string(f, &c->local_path_dir, "local-path-dir",
                "`Directory` for the folders of local-path volumes; default: local-path in "
                "--root-dir.");
    flag_string(f, &c->pod_logs_dir, "pod-logs-dir", "`Directory` for the logs of pods.");
    flag_string(f, &c->pod_logs_dir, "pod-log-dir", "The same as --pod-logs-dir.");
    flag_hide(f, "pod-log-dir");
    flag_string(f, &c->manifest_path, "pod-manifest-path",
                "Directory or file with static pod manifests.");
    flag_string(f, &c->config_file, "config",
                "A KubeletConfiguration `file`; flags take precedence.");
    flag_string(f, &c->address, "address", "The `IP` address to serve on.");
    flag_string(f, &c->client_ca_file, "client-ca-file",
                "Client certificates must be signed by a CA in this `file`.");
    flag_string(f, &c->tls_cert_file, "tls-cert-file",
                "`File` with the certificate to serve with.");
    flag_string(f, &c->tls_private_key_file, "tls-private-key-file",
                "`File` with the key that belongs to --tls-cert-file.");
    flag_string(f, &c->cluster_domain, "cluster-domain", "`Domain` of this cluster.");
    flag_string(f, &c->cgroup_driver, "cgroup-driver",
                "How cgroups are made: 'cgroupfs' or 'systemd'.");
    flag_string(f, &c->cgroup_root, "cgroup-root",
                "The `cgroup` below which those of pods are made.");
    flag_string(f, &c->resolv_conf, "resolv-conf",
                "Resolver configuration `file` that pods' settings are based on.");
    flag_string(f, &c->cni_conf_dir, "cni-conf-dir",
                "`Directory` where a network configuration is written once the node has a pod "
                "CIDR; empty: never.");
    flag_string(f, &c->provider_id, "provider-id",
                "Unique `identifier` of the machine in a cloud's database.");
    flag_string(f, &c->container_log_max_size, "container-log-max-size",
                "`Size` at which a container's log is rotated.");
    flag_int(f, &c->container_log_max_files, "container-log-max-files",
             "Log files kept for one container.");
    flag_int(f, &c->port, "port", "The port to serve on.");
    flag_int(f, &c->healthz_port, "healthz-port",
             "The port of the healthz server on the loopback address (0: none).");
    flag_int(f, &c->max_pods, "max-pods", "Number of pods that can run on this node.");
    flag_int(f, &c->image_gc_high, "image-gc-high-threshold",
             "Disk usage in percent that starts the removal of unused images.");
    flag_int(f, &c->image_gc_low, "image-gc-low-threshold",
             "Disk usage in percent down to which unused images are removed.");
    flag_duration(f, &c->image_minimum_gc_age_ns, "minimum-image-ttl-duration",
                  "How old an unused image must be to be removed.");
    flag_duration(f, &c->image_maximum_gc_age_ns, "image-maximum-gc-age",
                  "How long an image may be unused before it is removed anyway; 0: for ever.");
    flag_duration(f, &c->node_status_update_ns, "node-status-update-frequency",
                  "How often the node's status is computed.");
    flag_duration(f, &c->node_status_report_ns, "node-status-report-frequency",
                  "How often it is sent when nothing changes.");
    flag_duration(f, &c->file_check_ns, "file-check-frequency",
                  "How often manifest files are looked at.");
    flag_duration(f, &c->sync_ns, "sync-frequency",
                  "Longest time between two looks at a running pod.");
    flag_bool(f, &c->register_node, "register-node", "Register the node with the API server.");
    flag_bool(f, &c->cgroups_per_qos, "cgroups-per-qos",
              "Make a cgroup for each QoS class and each pod.");
    flag_bool(f, &c->rotate_certificates, "rotate-certificates",
              "Renew the client certificate when it is about to expire.");
    flag_bool(f, &c->server_tls_bootstrap, "rotate-server-certificates",
              "Request and renew the serving certificate.");
    flag_bool(f, &c->anonymous_auth, "anonymous-auth", "Serve requests without credentials.");
    flag_bool(f, &c->proxy, "service-proxy", "Route Services on this node with nftables.");
    flag_strings(f, &c->nodeport_addresses, "nodeport-addresses",
                 "`Ranges` of this node's addresses that serve node ports, or \"primary\" (the "
                 "default): the node's own.");
    flag_strings(f, &c->cluster_cidr, "cluster-cidr",
                 "`Ranges` of all pods: what comes from elsewhere to a Service's cluster address "
                 "leaves with the node's address.");
    flag_bool(f, &c->masquerade_all, "masquerade-all",
              "What goes to any Service's cluster address leaves with the node's address.");
    flag_int(f, &c->proxy_healthz_port, "service-proxy-healthz-port",
             "The port on which load balancers ask for the health of --service-proxy (0: none).");
    flag_bool(f, &c->network_policy, "network-policy",
              "Enforce NetworkPolicies for this node's pods with nftables; false where something "
              "else does.");
    flag_bool(f, &c->isolation, "isolation",
              "Hold this node's pods to the dependencies that they declare, with nftables.");
    flag_bool(f, &c->dns, "dns",
              "Answer DNS queries to the --cluster-dns addresses on this node; false where "
              "something else does.");
    flag_bool(
        f, &c->node_routes, "node-routes",
        "Set routes to the pods of other nodes on the same network; for CNI plugins that do not.");
    flag_strings(f, &c->cluster_dns, "cluster-dns", "`Addresses` of the cluster's DNS servers.");
    flag_map(f, &c->node_labels, "node-labels", "`Labels` to add when registering the node.");
    flag_strings(f, &c->taints, "register-with-taints",
                 "Register the node with these `taints` (key=value:effect).");
    flag_map(f, &c->system_reserved, "system-reserved",
             "`Resources` kept for the system (cpu=200m,memory=500Mi).");
    flag_map(f, &c->kube_reserved, "kube-reserved", "`Resources` kept for cluster components.");
    flag_string(f, &c->credential_config, "image-credential-provider-config",
                "A CredentialProviderConfig `file`: programs that know credentials of registries.");
    flag_string(f, &c->credential_bin_dir, "image-credential-provider-bin-dir",
                "The `directory` of those programs.");
    flag_string(
        f, &c->change_detection, "config-map-and-secret-change-detection-strategy",
        "how changes of the ConfigMaps and Secrets of pods are noticed: Watch, Cache (once a "
        "minute, or as the Node's annotation says), Get (whenever they are needed)");
    flag_string(f, &c->image_verification, "image-pull-credentials-verification-policy",
                "Which images that are here a pod may use only with credentials for them: "
                "'NeverVerify' (none), 'NeverVerifyPreloadedImages' (those that this agent has "
                "pulled), 'NeverVerifyAllowlistedImages' or 'AlwaysVerify'.");
    flag_strings(f, &c->image_allowlist, "preloaded-images-verification-allowlist",
                 "`Names` of images that every pod may use with NeverVerifyAllowlistedImages: "
                 "without tag, or the start of some with a final /*.");
    flag_bool(f, &c->serialize_pulls, "serialize-image-pulls", "Pull one image after the other.");
    flag_int(f, &c->max_pulls, "max-parallel-image-pulls", "Images pulled at once; 0: no limit.");
    flag_strings(f, &c->unsafe_sysctls, "allowed-unsafe-sysctls",
                 "`Sysctls` that pods may set beside the safe ones; net.* and the like by prefix.");
    flag_strings(f, &c->eviction.hard, "eviction-hard",
                 "`Thresholds` (memory.available<100Mi,nodefs.available<10%) at which pods are "
                 "evicted at once.");
    flag_strings(f, &c->eviction.soft, "eviction-soft",
                 "`Thresholds` at which pods are evicted after --eviction-soft-grace-period.");
    flag_strings(f, &c->eviction.soft_grace, "eviction-soft-grace-period",
                 "How long soft thresholds must be met (`memory.available=1m30s`).");
    flag_strings(f, &c->eviction.min_reclaim, "eviction-minimum-reclaim",
                 "What is won back at least (`nodefs.available=500Mi`) once a threshold was met.");
    flag_int(
        f, &c->eviction.max_pod_grace_s, "eviction-max-pod-grace-period",
        "Longest grace period in seconds of pods evicted for a soft threshold; negative: their "
        "own.");
    flag_duration(f, &c->eviction.transition_ns, "eviction-pressure-transition-period",
                  "How long a pressure condition stays after the last sign of it.");
    flag_duration(f, &c->shutdown.grace_ns, "shutdown-grace-period",
                  "How long the machine's shutdown waits for pods; 0: not at all.");
    flag_duration(f, &c->shutdown.critical_ns, "shutdown-grace-period-critical-pods",
                  "How much of --shutdown-grace-period is kept for critical pods, which go last.");
    flag_map(f, &c->shutdown.by_priority, "shutdown-grace-period-by-pod-priority",
             "Groups of pods, the least important first: `priority=seconds`.");
    flag_bool(f, &c->shutdown.on_sigterm, "shutdown-on-sigterm",
              "SIGTERM ends all pods as a shutdown of the machine does, for machines without "
              "systemd-logind; else it leaves them running.");
    flag_int(f, &c->pod_pids_max, "pod-max-pids",
             "Processes and threads that one pod may have; -1: as many as the machine.");
    flag_string(f, &c->cpu_manager_policy, "cpu-manager-policy",
                "'none', or 'static': containers of Guaranteed pods that ask for whole CPUs have "
                "them for themselves.");
    flag_map(f, &c->cpu_manager_options, "cpu-manager-policy-options",
             "`Options` of the static policy (full-pcpus-only=true).");
    flag_duration(f, &c->cpu_manager_reconcile_ns, "cpu-manager-reconcile-period",
                  "How often containers are looked at whose CPUs may have to change.");
    flag_string(
        f, &c->reserved_cpus, "reserved-cpus",
        "`CPUs` (0-1) that are kept for the system, instead of as many as --system-reserved "
        "and --kube-reserved say.");
    flag_string(
        f, &c->memory_manager_policy, "memory-manager-policy",
        "'None', or 'Static': containers of Guaranteed pods have their memory on as few NUMA "
        "nodes as can be.");
    flag_string_array(f, &c->reserved_memory, "reserved-memory",
                      "`Amounts` of --system-reserved and the like by NUMA node "
                      "(0:memory=1Gi,hugepages-2Mi=4Mi).");
    flag_string(f, &c->topology_manager_policy, "topology-manager-policy",
                "How close to each other CPUs, memory and devices of a container must be: 'none', "
                "'best-effort', 'restricted' or 'single-numa-node'.");
    flag_string(f, &c->topology_manager_scope, "topology-manager-scope",
                "Whether that goes for each 'container' or for the 'pod' as a whole.");
    flag_map(f, &c->topology_manager_options, "topology-manager-policy-options",
             "`Options` of it (prefer-closest-numa-nodes=true).");
    flag_map(f, &c->feature_gates, "feature-gates",
             "`Gates` that differ from their defaults (CSIVolumeHealth=true); the others than "
             "those that this agent heeds change nothing.");
    flag_int(f, &c->ids_per_pod, "user-namespaces-ids-per-pod",
             "User ids of a pod with `hostUsers: false`: a multiple of 65536.");
    flag_int(f, &c->verbosity, "v", "Verbosity; 4 and above logs every step.");
    flag_bool(f, &c->version, "version", "Print the version and quit.");
    for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
        flag_ignored(f, ignored[i], true, NULL);
    return f;
}

static int check_amounts(const struct flag_list *list, const char *flag, struct error *err)
{
    for (size_t i = 0; i < list->count; i++) {
        struct str name, value;
        struct quantity q;
        str_cut(str_of(list->items[i]), '=', &name, &value);
        if (quantity_parse(value, &q, err) != 0 || quantity_sign(&q) < 0)
            return error_set(err, E_INVALID,
                             "--%s: '" STR_FMT "' of " STR_FMT " is no amount such as 500m or 1Gi",
                             flag, STR_ARG(value), STR_ARG(name));
    }
    return 0;
}

static int set_gates(struct kubelet_config *c, struct error *err)
{
    const struct feature_switch heeded[] = {
        {"CSIVolumeHealth", &c->gates.csi_volume_health},
        {"ResourceHealthStatus", &c->gates.resource_health_status},
        {"ResourceHealthStatusMessage", &c->gates.resource_health_message},
        {"SELinuxMount", &c->gates.selinux_mount},
    };
    int rc = feature_gates_set(&c->feature_gates, heeded, ARRAY_SIZE(heeded), err);
    return rc == 0 ? 0 : error_prefix(err, "--feature-gates");
}

static int check(const struct kubelet_config *c, struct error *err)
{
    if (strcmp(c->cgroup_driver, "cgroupfs") != 0 && strcmp(c->cgroup_driver, "systemd") != 0)
        return error_set(err, E_INVALID, "--cgroup-driver: '%s' is neither cgroupfs nor systemd",
                         c->cgroup_driver);
    if (c->port < 0 || c->port > 65535 || c->healthz_port < 0 || c->healthz_port > 65535)
        return error_set(err, E_INVALID, "--port and --healthz-port must lie between 0 and 65535");
    struct zone_ip address;
    if (c->address[0] != '\0' && !zone_ip_parse(str_of(c->address), &address))
        return error_set(err, E_INVALID, "--address: '%s' is no IP address", c->address);
    if (c->hostname_override != NULL && c->hostname_override[0] != '\0' &&
        api_check_dns_subdomain(str_of(c->hostname_override)).count != 0)
        return error_set(err, E_INVALID,
                         "--hostname-override: '%s' is no name of a node: want letters a to z, "
                         "figures, - and ., at most 253",
                         c->hostname_override);
    if (c->image_gc_high < 0 || c->image_gc_high > 100 || c->image_gc_low < 0 ||
        c->image_gc_low >= c->image_gc_high)
        return error_set(err, E_INVALID,
                         "--image-gc-low-threshold must be less than --image-gc-high-threshold, "
                         "and both between 0 and 100");
    if (c->proxy_healthz_port < 0 || c->proxy_healthz_port > 65535)
        return error_set(err, E_INVALID,
                         "--service-proxy-healthz-port must lie between 0 and 65535");
    if (c->root_dir[0] != '/' || c->pod_logs_dir[0] != '/')
        return error_set(err, E_INVALID, "--root-dir and --pod-logs-dir must be absolute");
    if (c->local_path_dir != NULL && c->local_path_dir[0] != '/')
        return error_set(err, E_INVALID, "--local-path-dir must be absolute");
    if (c->ids_per_pod < 65536 || c->ids_per_pod % 65536 != 0 || c->ids_per_pod > UINT32_MAX)
        return error_set(err, E_INVALID,
                         "--user-namespaces-ids-per-pod must be a multiple of 65536");
    if (c->max_pods < 0)
        return error_set(err, E_INVALID, "--max-pods must not be negative");
    if (c->node_status_update_ns < 1000000 || c->file_check_ns < 1000000)
        return error_set(err, E_INVALID,
                         "--node-status-update-frequency and --file-check-frequency must be at "
                         "least 1ms");
    for (size_t i = 0; i < c->cluster_dns.count; i++) {
        struct zone_ip ip;
        if (!zone_ip_parse(str_of(c->cluster_dns.items[i]), &ip))
            return error_set(err, E_INVALID, "--cluster-dns: '%s' is no IP address",
                             c->cluster_dns.items[i]);
    }
    if (c->image_minimum_gc_age_ns < 0 || c->image_maximum_gc_age_ns < 0)
        return error_set(err, E_INVALID,
                         "--minimum-image-ttl-duration and --image-maximum-gc-age must not be "
                         "negative");
    if (c->image_maximum_gc_age_ns > 0 && c->image_maximum_gc_age_ns <= c->image_minimum_gc_age_ns)
        return error_set(err, E_INVALID,
                         "--image-maximum-gc-age must be greater than "
                         "--minimum-image-ttl-duration");
    struct eviction e;
    struct shutdown_plan plan;
    struct image_policy images;
    enum change_detection detection;
    int rc = check_amounts(&c->system_reserved, "system-reserved", err);
    if (rc == 0)
        rc = check_amounts(&c->kube_reserved, "kube-reserved", err);
    if (rc == 0)
        rc = unsafe_sysctls_check(&c->unsafe_sysctls, err);
    if (rc == 0)
        rc = proxy_addresses_check(&c->nodeport_addresses, err);
    if (rc == 0)
        rc = eviction_init(&e, &c->eviction, err);
    if (rc == 0)
        rc = shutdown_plan_init(&plan, &c->shutdown, err);
    if (rc == 0)
        rc = pinning_check(c, err);
    if (rc == 0)
        rc = image_policy_parse(c->image_verification, &c->image_allowlist, &images, err);
    if (rc == 0)
        rc = change_detection_parse(c->change_detection, &detection, err);
    if (rc == 0 && c->pod_pids_max < -1)
        rc = error_set(err, E_INVALID, "--pod-max-pids must be at least -1");
    if (rc != 0)
        return rc;
    if (c->max_pulls < 0)
        return error_set(err, E_INVALID, "--max-parallel-image-pulls must not be negative");
    if (c->serialize_pulls && c->max_pulls > 1)
        return error_set(err, E_INVALID,
                         "--max-parallel-image-pulls=%lld contradicts --serialize-image-pulls",
                         (long long)c->max_pulls);
    if ((c->credential_config != NULL) != (c->credential_bin_dir != NULL))
        return error_set(
            err, E_INVALID,
            "--image-credential-provider-config and --image-credential-provider-bin-dir "
            "go together");
    if (c->sync_ns < 1000000)
        return error_set(err, E_INVALID, "--sync-frequency must be at least 1ms");
    if (c->cgroup_root != NULL && c->cgroup_root[0] != '\0' && c->cgroup_root[0] != '/')
        return error_set(err, E_INVALID, "--cgroup-root: '%s' does not begin with /",
                         c->cgroup_root);
    if (!cri_endpoint_ok(c->runtime_endpoint))
        return error_set(err, E_INVALID,
                         "--container-runtime-endpoint: '%s' is no socket of at most 107 "
                         "characters such as unix:///run/containerd/containerd.sock",
                         c->runtime_endpoint);
    if (c->bootstrap_kubeconfig != NULL && c->kubeconfig == NULL)
        return error_set(err, E_INVALID, "--bootstrap-kubeconfig needs --kubeconfig to write to");
    return 0;
}

int kubelet_config_check(struct kubelet_config *c, struct error *err)
{
    return set_gates(c, err) == 0 && check(c, err) == 0 ? 0 : kubelet_config_place(c, err);
}
