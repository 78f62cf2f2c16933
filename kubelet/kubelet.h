/* kubelet.h - the node agent: what its parts share.
 *
 * Everything runs on one loop; blocking file work goes through job.h. Pods
 * come from the API server (an informer) and from manifest files; each is
 * driven by a pod worker. Losing the API server changes nothing that runs. */
#ifndef KUBELET_KUBELET_H
#define KUBELET_KUBELET_H

#include "kubelet/backoff.h"
#include "kubelet/cgroups.h"
#include "kubelet/eviction.h"
#include "kubelet/hosts_file.h"
#include "kubelet/pod_support.h"
#include "kubelet/selinux.h"
#include "kubelet/shutdown.h"

#include "lib/base/flags.h"
#include "lib/base/loop.h"
#include "lib/base/map.h"

#include <uv.h>

struct admission_refusal;
struct api_object;
struct arena;
struct client;
struct cri;
struct credential_providers;
struct csi;
struct device_manager;
struct dra;
struct env;
struct event_recorder;
struct eviction_manager;
struct guard;
struct image_records;
struct informer;
struct isolation;
struct kubeconfig;
struct mirror_pods;
struct node_routes;
struct proxy;
struct start_gate;
struct node_status;
struct object_store;
struct pinning;
struct pleg;
struct plugin_client;
struct policy;
struct pod_certificates;
struct pod_worker;
struct trust_bundles;
struct usage_watch;
struct user_namespaces;
struct zpages;

/* Feature gates that change something here; upstream's names, without capitals. */
struct kubelet_gates {
    bool csi_volume_health;
    bool selinux_mount;
    bool resource_health_status;
    bool resource_health_message;
};

/* --- configuration: flags, with --config below them ---------------------------- */
struct kubelet_config {
    const char *kubeconfig;
    const char *bootstrap_kubeconfig;
    const char *cert_dir;
    const char *hostname_override;
    const char *node_ip;
    const char *runtime_endpoint;
    const char *root_dir;
    const char *pod_logs_dir;
    const char *local_path_dir; /* Folders that are volumes. */
    const char *manifest_path;
    const char *config_file;
    struct arena *file_values; /* What flags borrow of the file; owned, NULL without one. */
    const char **file_flags;   /* Those that the file has set. */
    size_t file_flag_count;
    const char *address;
    const char *client_ca_file;
    const char *tls_cert_file;
    const char *tls_private_key_file;
    const char *cluster_domain;
    const char *cgroup_driver;
    const char *cgroup_root;
    const char *resolv_conf;
    const char *cni_conf_dir;
    const char *provider_id;
    const char *container_log_max_size;
    int64_t port;
    int64_t healthz_port;
    int64_t max_pods;
    int64_t container_log_max_files;
    int64_t max_pulls; /* At once; 0: as many as there are. */
    bool serialize_pulls;
    const char *credential_config, *credential_bin_dir;
    int64_t node_status_update_ns;
    int64_t node_status_report_ns;
    int64_t file_check_ns;
    int64_t sync_ns;
    const char *change_detection;   /* Of ConfigMaps and Secrets, see object_store.h. */
    const char *image_verification; /* image_record.h: whose access to images is verified. */
    struct flag_list image_allowlist;
    int64_t image_gc_high, image_gc_low;
    int64_t image_minimum_gc_age_ns, image_maximum_gc_age_ns; /* Maximum 0: none. */
    bool register_node;
    bool cgroups_per_qos;
    bool rotate_certificates;
    bool server_tls_bootstrap;
    bool anonymous_auth;
    bool authorization_webhook;
    bool proxy;
    bool masquerade_all;
    int64_t proxy_healthz_port; /* 0: none. */
    bool network_policy;
    bool isolation;
    bool dns; /* Answer on the cluster_dns addresses. */
    bool node_routes;
    struct flag_list cluster_dns;
    struct flag_list cluster_cidr, nodeport_addresses;
    struct flag_list node_labels;
    struct flag_list taints;
    struct flag_list system_reserved, kube_reserved;
    struct flag_list unsafe_sysctls;
    struct eviction_config eviction;
    struct shutdown_config shutdown;
    int64_t ids_per_pod;  /* User ids, of pods with a namespace of their own. */
    int64_t pod_pids_max; /* Processes of one pod; -1: no limit. */
    const char *cpu_manager_policy, *topology_manager_policy, *topology_manager_scope;
    const char *reserved_cpus; /* A list ("0-1"); NULL: as many as are reserved. */
    struct flag_list cpu_manager_options, topology_manager_options;
    const char *memory_manager_policy;
    struct flag_list reserved_memory; /* "0:memory=1Gi" */
    int64_t cpu_manager_reconcile_ns;
    struct flag_list feature_gates;
    struct kubelet_gates gates; /* By kubelet_config_check(). */
    int64_t verbosity;
    bool version; /* Print it and quit. */
};

struct kubelet {
    uv_loop_t *loop;
    struct env *env;
    struct kubelet_config config;
    struct node_support support;
    struct selinux selinux;
    const char *node_name;

    struct cri *cri;
    struct plugin_client *containerd; /* image_volume.h; NULL until needed. */
    const char *runtime_name;         /* "containerd"; known once the runtime answered. */
    const char *runtime_version;
    struct csi *csi;
    struct dra *dra;
    struct device_manager *devices;
    struct pinning *pinning; /* Processors and memory of containers' own. */
    struct cgroups *cgroups; /* NULL: --cgroups-per-qos=false. */

    struct client *client; /* NULL: stand-alone. */
    struct event_recorder *events;
    struct informer *pods;
    struct informer *services; /* NULL until needed. */
    struct informer *slices;   /* EndpointSlices, indexed by "service"; NULL when nobody asks. */
    struct api_object *node;   /* Own Node object as last seen, or NULL. */

    struct trust_bundles *trust_bundles;
    struct pod_certificates *certificates;
    struct start_gate *starts;
    struct object_store *objects; /* ConfigMaps and Secrets of pods. */
    struct map workers;           /* uid -> struct pod_worker */
    struct defer_queue deferred;
    struct backoff crash_backoff; /* "<uid>/<container>/<hash>" */
    struct backoff image_backoff; /* "<uid>/<image>" */
    struct list pulls_waiting;    /* struct image_pull: for their turn. */
    int64_t pulls_running;
    struct credential_providers *credential_providers; /* NULL: none are configured. */
    struct image_records *image_records;
    struct user_namespaces *user_namespaces;
    struct pleg *pleg;
    struct node_routes *routes;  /* NULL: somebody else sets them. */
    struct proxy *proxy;         /* NULL: somebody else serves Services. */
    struct guard *guard;         /* Ports of pods that either of the next two hold. */
    struct policy *policy;       /* NULL: network policies are not enforced. */
    struct isolation *isolation; /* NULL: nobody is held to what is declared. */
    struct mirror_pods *mirrors; /* NULL while stand-alone. */
    struct node_status *node_status;
    struct usage_watch *usage;
    struct shutdown *shutdown;
    struct eviction eviction_policy;   /* As configured. */
    struct eviction_manager *eviction; /* NULL until the runtime is up. */

    struct dns_settings node_dns;
    struct arena *arena; /* For what lives as long as the program. */
    const char *host_ips[2];
    size_t host_ip_count;
    struct zpages *zpages; /* /statusz and /flagz */
    char *configz;         /* JSON */
    int64_t started_ns;    /* This program; wall clock. */
    int64_t memory_capacity;
    int64_t hugepage_sizes[8]; /* That the kernel has, in bytes, whether there are any or not. */
    size_t hugepage_size_count;
    int64_t pods_memory; /* What all pods together may use: the capacity less what is reserved. */
    int64_t cpu_capacity_milli;
    struct api_quantity_entry *allocatable;
    size_t allocatable_count;
    bool network_ready;
    bool own_network; /* Pods are on the network of cni_conf.h, which leaves masquerading to us. */
    bool sources_ready; /* All pod sources have been heard once. */
    bool settled;       /* And what was left of other pods has been found (pod_admit.h). */
    bool stopping;
};

/* Milliseconds that never go back, and seconds since the epoch. */
uint64_t kubelet_now_ms(const struct kubelet *k);
int64_t kubelet_wall_s(const struct kubelet *k);

/* --- pods -------------------------------------------------------------------------- */

enum pod_origin { POD_FROM_API, POD_FROM_FILE };

/* A pod that should be here, new or changed. o is borrowed. */
void kubelet_pod_set(struct kubelet *k, struct api_object *o, enum pod_origin origin);
/* It is no longer wanted here: gone from the API, or its file is. */
void kubelet_pod_gone(struct kubelet *k, struct str uid);
struct pod_worker *kubelet_find_pod(const struct kubelet *k, struct str namespace_name,
                                    struct str name);
/* Does a pod that is here fit with the amounts of this object? */
bool kubelet_fits(struct kubelet *k, const struct pod_worker *w, struct api_object *pod,
                  struct arena *a, struct admission_refusal *ret);
/* Something has been given back: pods that wait for more look again. */
void kubelet_room(struct kubelet *k);
/* All sources have spoken: what runs and belongs to nobody may be cleaned up. */
void kubelet_sources_ready(struct kubelet *k);

/* Services whose variables a pod gets, in ascending precedence: those of its namespace,
 * or those that it declares; an array in a. */
struct core_v1_pod;
struct core_v1_service;
size_t kubelet_services_for(const struct kubelet *k, struct arena *a, const struct core_v1_pod *pod,
                            bool links, const struct core_v1_service *const **ret);

#endif
