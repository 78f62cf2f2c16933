/* main.c - trireme-controller-manager: the controllers, while it leads. */
#include "controllers/controller.h"
#include "controllers/manager.h"
#include "controllers/names.h"
#include "controllers/node_slices.h"

#include "lib/api/feature_gates.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/flags.h"
#include "lib/base/log.h"
#include "lib/client/component.h"
#include "lib/net/pki.h"

#include <string.h>

#define PEM_MAX (1u << 20)
#define NS_PER_DAY ((int64_t)24 * 3600 * 1000000000)

static struct flag_list enabled;
static const char **enabled_names; /* NULL-terminated copy of enabled. */
static struct manager *manager;

static void add_flags(struct flag_set *f)
{
    struct manager_options *o = manager_options();
    flag_strings(f, &enabled, "controllers",
                 "Controllers to run: `names`, * for all, -name for not that one.");
    flag_string(f, &o->cluster_cidr, "cluster-cidr",
                "`Range` of pod addresses; or two with a comma, one of each family.");
    flag_string(f, &o->service_cidr, "service-cluster-ip-range",
                "`Range` of Service addresses; or two with a comma, one of each family.");
    flag_int(f, &o->node_cidr_mask, "node-cidr-mask-size",
             "Prefix `length` of a node's pod range where --cluster-cidr is one (default: 24, of "
             "IPv6 64).");
    flag_int(f, &o->node_cidr_mask_v4, "node-cidr-mask-size-ipv4",
             "Prefix `length` of a node's range of IPv4 pod addresses (default: 24).");
    flag_int(f, &o->node_cidr_mask_v6, "node-cidr-mask-size-ipv6",
             "Prefix `length` of a node's range of IPv6 pod addresses (default: 64).");
    flag_bool(f, &o->allocate_node_cidrs, "allocate-node-cidrs",
              "Give every node a pod range of --cluster-cidr.");
    flag_string(f, &o->signing_cert_file, "cluster-signing-cert-file",
                "CA certificate `file` that signs requests.");
    flag_string(f, &o->signing_key_file, "cluster-signing-key-file", "Key `file` of that CA.");
    flag_string(f, &o->root_ca_file, "root-ca-file", "CA `file` that service accounts get.");
    flag_string(f, &o->service_account_key_file, "service-account-private-key-file",
                "Key `file` that signs service account tokens.");
    flag_duration(f, &o->node_monitor_grace_ns, "node-monitor-grace-period",
                  "How long a node may be silent before it counts as lost.");
    flag_duration(f, &o->node_monitor_period_ns, "node-monitor-period",
                  "How often nodes are looked at.");
    flag_int(f, &o->terminated_pod_threshold, "terminated-pod-gc-threshold",
             "`Number` of ended pods to keep; 0: all.");
    flag_float(f, &o->node_eviction_rate, "node-eviction-rate",
               "Nodes per second whose pods may be evicted.");
    flag_duration(f, &o->node_startup_grace_ns, "node-startup-grace-period",
                  "How long a node may take before it says anything.");
    flag_float(f, &o->secondary_node_eviction_rate, "secondary-node-eviction-rate",
               "The same in a zone of which too much is lost.");
    flag_int(f, &o->large_cluster_size_threshold, "large-cluster-size-threshold",
             "`Number` of nodes up to which the secondary rate is 0.");
    flag_float(f, &o->unhealthy_zone_threshold, "unhealthy-zone-threshold",
               "Share of lost nodes, three at least, that is too much.");
    flag_int(f, &o->endpoints_per_slice_max, "max-endpoints-per-slice",
             "`Number` of endpoints in one EndpointSlice, 1 to 1000.");
    flag_duration(f, &o->legacy_token_period_ns, "legacy-service-account-token-clean-up-period",
                  "How long a token in a Secret may be unused, and then invalid, before it goes.");
    flag_duration(f, &o->hpa_sync_ns, "horizontal-pod-autoscaler-sync-period",
                  "How often autoscalers look at metrics.");
    flag_duration(f, &o->hpa_downscale_window_ns,
                  "horizontal-pod-autoscaler-downscale-stabilization",
                  "How long lower recommendations wait.");
    flag_duration(f, &o->hpa_cpu_initialization_ns,
                  "horizontal-pod-autoscaler-cpu-initialization-period",
                  "How long after its start a pod's processor time may not count yet.");
    flag_duration(f, &o->hpa_initial_readiness_ns,
                  "horizontal-pod-autoscaler-initial-readiness-delay",
                  "How long after its start a pod may become ready for the first time.");
    flag_float(f, &o->hpa_tolerance, "horizontal-pod-autoscaler-tolerance",
               "How far from its target a metric may be before anything is done.");
    flag_duration(f, &o->vpa_sync_ns, "vertical-pod-autoscaler-sync-period",
                  "How often vertical autoscalers look at metrics.");
    flag_int(f, &o->vpa_min_replicas, "vertical-pod-autoscaler-min-replicas",
             "`Number` of pods a controller must have before any is resized or evicted.");
    flag_float(f, &o->vpa_eviction_tolerance, "vertical-pod-autoscaler-eviction-tolerance",
               "Share of a controller's pods that may be away at once for that.");
    flag_map(f, &o->feature_gates, "feature-gates",
             "`Name=true|false`,...: ClusterTrustBundle and PodCertificateRequest have controllers "
             "here, others change nothing.");
    flag_ignored(f, "use-service-account-credentials", false, NULL);
    flag_ignored(f, "cluster-name", true, NULL);
}

/* --controllers by the names of the table, NULL-terminated. */
static int read_names(struct error *err)
{
    size_t n = 0;
    if (enabled.count == 0)
        return 0;
    enabled_names = xzalloc((enabled.count + 1) * sizeof(*enabled_names));
    for (size_t i = 0; i < enabled.count; i++) {
        const char *word = enabled.items[i], *bare = word[0] == '-' ? word + 1 : word;
        bool known = true;
        const char *name = strcmp(word, "*") == 0 ? word : controller_name(bare, &known);
        if (!known)
            return error_set(err, E_INVALID,
                             "--controllers: \"%s\" is not in the list of known controllers", bare);
        if (name == NULL)
            log_warning("--controllers: there is no %s here", bare);
        else
            enabled_names[n++] = word[0] == '-' ? xasprintf("-%s", name) : name;
    }
    return 0;
}

static int check_ranges(const struct manager_options *o, struct error *err)
{
    struct node_slices slices[2];
    unsigned count = 0;
    int code = node_slices_parse(o, slices, &count, err);
    for (unsigned i = 0; i < count; i++)
        node_slices_done(&slices[i]);
    return code;
}

/* Files are read whenever they are needed, since they are renewed; a mistake is told at once. */
static int check_file(const char *flag, const char *path,
                      int (*check)(struct str pem, struct error *err), struct error *err)
{
    AUTO_BUF pem = BUF_INIT;
    if (path == NULL)
        return 0;
    int rc = file_read(path, PEM_MAX, &pem, err);
    if (rc == 0 && (rc = check(buf_str(&pem), err)) != 0)
        error_prefix(err, "%s", path);
    return rc == 0 ? 0 : error_prefix(err, "--%s", flag);
}

static int check_cert(struct str pem, struct error *err)
{
    struct pki_cert *cert = NULL;
    int rc = pki_cert_parse(pem, &cert, err);
    pki_cert_unref(cert);
    return rc;
}

static int check_key(struct str pem, struct error *err)
{
    struct pki_key *key = NULL;
    int rc = pki_key_parse(pem, &key, err);
    pki_key_unref(key);
    return rc;
}

static int check_files(const struct manager_options *o, struct error *err)
{
    int rc = check_file("root-ca-file", o->root_ca_file, check_cert, err);
    if (rc == 0)
        rc = check_file("service-account-private-key-file", o->service_account_key_file, check_key,
                        err);
    if (rc == 0)
        rc = check_file("cluster-signing-cert-file", o->signing_cert_file, check_cert, err);
    if (rc == 0)
        rc = check_file("cluster-signing-key-file", o->signing_key_file, check_key, err);
    return rc;
}

static int prepare(struct error *err)
{
    struct manager_options *o = manager_options();
    const struct feature_switch heeded[] = {
        {"ClusterTrustBundle", &o->cluster_trust_bundle},
        {"PodCertificateRequest", &o->pod_certificate_request},
    };
    if (read_names(err) != 0)
        return E_INVALID;
    if (feature_gates_set(&o->feature_gates, heeded, ARRAY_SIZE(heeded), err) != 0)
        return error_prefix(err, "--feature-gates");
    if (o->allocate_node_cidrs && check_ranges(o, err) != 0)
        return E_INVALID;
    if (o->node_monitor_period_ns < 1000000 || o->node_monitor_period_ns > NS_PER_DAY)
        return error_set(err, E_INVALID, "--node-monitor-period: must be within 1ms and 24h");
    if (o->endpoints_per_slice_max < 1 || o->endpoints_per_slice_max > 1000)
        return error_set(err, E_INVALID, "--max-endpoints-per-slice: %lld is not within 1 and 1000",
                         (long long)o->endpoints_per_slice_max);
    if (o->hpa_sync_ns < 1000000000 || o->hpa_downscale_window_ns < 0 ||
        o->hpa_cpu_initialization_ns < 0 || o->hpa_initial_readiness_ns < 0 ||
        !(o->hpa_tolerance >= 0))
        return error_set(err, E_INVALID,
                         "--horizontal-pod-autoscaler-*: the sync period must be at least 1s, "
                         "nothing may be negative");
    if (o->vpa_sync_ns < 1000000000 || o->vpa_min_replicas < 1 ||
        !(o->vpa_eviction_tolerance >= 0 && o->vpa_eviction_tolerance <= 1))
        return error_set(err, E_INVALID,
                         "--vertical-pod-autoscaler-*: the sync period must be at least 1s, "
                         "min-replicas at least 1, eviction-tolerance within 0 and 1");
    if ((o->signing_cert_file == NULL) != (o->signing_key_file == NULL))
        return error_set(
            err, E_INVALID,
            "--cluster-signing-cert-file and --cluster-signing-key-file go together: give both");
    if (o->node_monitor_grace_ns <= 0 || o->node_startup_grace_ns <= 0 ||
        !(o->node_eviction_rate >= 0) || !(o->secondary_node_eviction_rate >= 0))
        return error_set(err, E_INVALID,
                         "--node-monitor-grace-period and --node-startup-grace-period must be "
                         "greater than zero, eviction rates not negative");
    return check_files(o, err);
}

static void start(struct client *c)
{
    manager = manager_start(c, controller_table, enabled_names);
}

static void stop(void)
{
    manager_stop(manager);
    manager = NULL;
}

int main(int argc, char **argv)
{
    static const struct component_config config = {.name = "trireme-controller-manager",
                                                   .component = "kube-controller-manager",
                                                   .lease_name = "kube-controller-manager",
                                                   .secure_port = 10257,
                                                   .qps = 0,
                                                   .burst = 0,
                                                   .add_flags = add_flags,
                                                   .prepare = prepare,
                                                   .start = start,
                                                   .stop = stop};
    return component_main(&config, argc, argv);
}
