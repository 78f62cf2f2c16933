/* pod_support.h - what a pod asks of the kernel or the runtime that this node does not give.
 *
 * Pure. Reasons and texts are the upstream kubelet's: each refused pod fails with one of
 * SysctlForbidden, AppArmor and SupplementalGroupsPolicyNotSupported. */
#ifndef KUBELET_POD_SUPPORT_H
#define KUBELET_POD_SUPPORT_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct admission_refusal;
struct arena;
struct core_v1_container;
struct core_v1_pod;
struct core_v1_volume_mount;
struct error;
struct flag_list;

/* What one of the runtime's handlers, which RuntimeClasses name, can do. */
struct runtime_handler {
    char *name; /* "": the default one. */
    bool recursive_read_only;
    bool user_namespaces;
};

struct node_support {
    bool apparmor;                    /* The kernel enforces AppArmor profiles. */
    bool features_known;              /* The runtime has said what it can do. */
    bool strict_groups;               /* It knows supplementalGroupsPolicy. */
    struct runtime_handler *handlers; /* Those that tell what they can do. */
    size_t handler_count;
    const struct flag_list *unsafe_sysctls; /* --allowed-unsafe-sysctls; NULL: none. */
};

/* The part that the kernel decides. Blocking, once at start. */
bool node_has_apparmor(void);

/* What the handler of this name can do: nothing, of one that is silent about it. */
struct runtime_handler node_support_handler(const struct node_support *s, const char *name);
/* Takes the place of what was known of handlers; true: something is different. Copies. */
bool node_support_set_handlers(struct node_support *s, const struct runtime_handler *list,
                               size_t count);

/* False: *ret tells why the pod is not taken. */
bool pod_support_check(struct arena *a, const struct node_support *s, const struct core_v1_pod *pod,
                       struct admission_refusal *ret);

/* --allowed-unsafe-sysctls: names, or prefixes that end in '*', of what has a namespace. */
int unsafe_sysctls_check(const struct flag_list *list, struct error *err);

/* Is a mount made recursively read-only by a runtime that can do that, or cannot? One that must be
 * so and cannot is refused: pod_mounts.c. */
bool mount_is_recursive(const struct core_v1_volume_mount *m, bool can);

/* What a container's own restartPolicy and restartPolicyRules say of an exit. False: they are
 * silent, and the pod's policy counts. Source: KEP-5307. */
bool container_exit_decides(const struct core_v1_container *c, int32_t exit_code,
                            bool *ret_restarts);

#endif
