/* selinux.h - SELinux labels of volumes: which one a pod's containers need, and whether a volume is
 * mounted with it (mount -o context=...) instead of being relabelled file by file.
 *
 * Pure, but for selinux_read(). Source: KEP-1710; file formats: selinux_config(5), lxc_contexts of
 * the container policy. On hosts without SELinux nothing of this is passed on to anybody. */
#ifndef KUBELET_SELINUX_H
#define KUBELET_SELINUX_H

#include "lib/base/error.h"

#include <stdbool.h>

struct arena;
struct core_v1_persistent_volume;
struct core_v1_pod;
struct storage_v1_csi_driver;

struct selinux {
    bool enabled;     /* The kernel enforces or permits by a policy. */
    const char *file; /* Label of containers' files without options ("system_u:object_r:t:s0"); "":
                         the policy has none. */
    bool mount;       /* Gate SELinuxMount: all access modes, not ReadWriteOncePod alone. */
};

/* Blocking, once at start. root: "" (tests: another folder). Strings live as long as a. */
void selinux_read(struct arena *a, const char *root, struct selinux *ret);

/* The label that the volume is to be mounted with; NULL: none, it is relabelled if need be. driver
 * NULL: there is no such object. E_INVALID: the pod's containers want different ones. */
int selinux_mount_label(struct arena *a, const struct selinux *s, const struct core_v1_pod *pod,
                        const char *volume, const struct core_v1_persistent_volume *pv,
                        const struct storage_v1_csi_driver *driver, const char **ret,
                        struct error *err);

/* As a mount option, quoted: levels have commas. */
const char *selinux_mount_option(struct arena *a, const char *label);

/* What is mounted at path has labels of its own files (seclabel). Blocking. */
bool selinux_can_relabel(const char *path);

#endif
