/* hosts_file.h - a pod's host name, /etc/hosts and resolver settings. Pure. */
#ifndef KUBELET_HOSTS_FILE_H
#define KUBELET_HOSTS_FILE_H

#include "kubelet/field_ref.h"

struct core_v1_pod;

/* The pod's host name (at most 63 characters) and its domain ("" without a
 * subdomain). */
void pod_hostname(struct arena *a, const struct core_v1_pod *pod, const char *node_name,
                  const char *cluster_domain, const char **ret_hostname, const char **ret_domain);

/* /etc/hosts of the pod; NULL while it has no address, or when the node's own
 * file is used as it is. */
const char *hosts_file_content(struct arena *a, const struct field_context *ctx);
/* The node's file with the pod's aliases behind it. */
const char *hosts_file_of_node(struct arena *a, const struct core_v1_pod *pod,
                               struct str node_file);

struct dns_settings {
    const char **servers;
    size_t server_count;
    const char **searches;
    size_t search_count;
    const char **options;
    size_t option_count;
};

/* Reads resolv.conf text. */
void dns_parse(struct arena *a, struct str text, struct dns_settings *ret);
/* By the pod's dnsPolicy and dnsConfig. node: the node's own settings. */
void dns_for_pod(struct arena *a, const struct core_v1_pod *pod, const struct dns_settings *node,
                 const char *const *cluster_dns, size_t cluster_dns_count,
                 const char *cluster_domain, struct dns_settings *ret);

#endif
