/* cri_config_internal.h - what the files that write CRI messages share.
 *
 *   cri_config.c    sandboxes and containers
 *   cri_security.c  users, namespaces, capabilities, profiles
 *   cri_limits.c    resources, signals */
#ifndef KUBELET_CRI_CONFIG_INTERNAL_H
#define KUBELET_CRI_CONFIG_INTERNAL_H

#include "kubelet/cri_config.h"

struct core_v1_pod_security_context;
struct core_v1_pod_spec;
struct core_v1_se_linux_options;

/* protobuf-c wants char *; nothing behind it writes. NULL is "". */
char *cri_text(struct arena *a, struct str s);
char *cri_textc(struct arena *a, const char *s);
char **cri_texts(struct arena *a, const char *const *items, size_t count);

CRI(Int64Value) * cri_int64(struct arena *a, int64_t v);
CRI(IDMapping) * *cri_id_mapping(struct arena *a, const struct user_range *users); /* One. */
/* target_id: whose process namespace to join; NULL. */
CRI(NamespaceOption) * cri_namespaces(struct arena *a, const struct core_v1_pod_spec *spec,
                                      const char *target_id, const struct user_range *users);
CRI(SELinuxOption) * cri_selinux(struct arena *a, const struct core_v1_se_linux_options *o);
void cri_groups(struct arena *a, const struct core_v1_pod_security_context *sc, size_t *ret_count,
                int64_t **ret);
int cri_security(struct arena *a, const struct container_inputs *in,
                 CRI(LinuxContainerSecurityContext) * *ret, struct error *err);

#endif
