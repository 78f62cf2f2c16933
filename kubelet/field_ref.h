/* field_ref.h - the values of fieldRef and resourceFieldRef (downward API). Pure. */
#ifndef KUBELET_FIELD_REF_H
#define KUBELET_FIELD_REF_H

#include "lib/base/error.h"
#include "lib/base/str.h"

struct arena;
struct api_quantity_entry;
struct core_v1_container;
struct core_v1_pod;
struct core_v1_resource_field_selector;
struct env_file;

/* What the pod object does not say itself yet. */
struct field_context {
    const struct core_v1_pod *pod;
    const char *node_name;
    const char *cluster_domain;
    const char *const *pod_ips;
    size_t pod_ip_count;
    const char *const *host_ips;
    size_t host_ip_count;
    /* What limits default to. */
    const struct api_quantity_entry *allocatable;
    size_t allocatable_count;
    /* Of the container whose variables are made. */
    const struct env_file *env_files;
    size_t env_file_count;
};

/* E_INVALID: unsupported path. */
int field_ref_value(struct arena *a, const struct field_context *ctx, struct str path,
                    struct str *ret, struct error *err);
/* container: the one meant when the selector names none; may be NULL. */
int resource_ref_value(struct arena *a, const struct field_context *ctx,
                       const struct core_v1_container *container,
                       const struct core_v1_resource_field_selector *ref, struct str *ret,
                       struct error *err);

/* key="value" lines, as files of metadata.labels hold them. */
struct api_str_entry;
struct str field_format_map(struct arena *a, const struct api_str_entry *e, size_t count);

#endif
