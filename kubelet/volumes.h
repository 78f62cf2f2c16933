/* volumes.h - what a pod's volumes need on disk, and bringing them there.
 *
 * volume_plan() is pure: spec and sources in, a list of folders, files and
 * mounts out. volumes_apply() carries it out and blocks; it may be repeated
 * at any time and then updates what changed (ConfigMaps, tokens, labels).
 * Layout as upstream: <root>/pods/<uid>/volumes/kubernetes.io~<type>/<name>. */
#ifndef KUBELET_VOLUMES_H
#define KUBELET_VOLUMES_H

#include "kubelet/atomic_writer.h"
#include "kubelet/field_ref.h"

struct arena;
struct buf;
struct core_v1_cluster_trust_bundle_projection;
struct core_v1_pod_certificate_projection;
struct core_v1_volume;
struct source_set;

enum volume_kind {
    VOLUME_EMPTY_DIR,
    VOLUME_HOST_PATH,
    VOLUME_FILES,
    VOLUME_LOCAL,
    VOLUME_CSI,
    VOLUME_IMAGE
};

struct volume {
    const char *name;
    enum volume_kind kind;
    const char *path;       /* On the host: what mounts start from. */
    bool tmpfs;             /* Files and memory-backed folders. */
    int64_t tmpfs_bytes;    /* Size limit; 0: none. */
    int64_t hugepage_bytes; /* Size of one page, of a folder in huge pages; 0: it is not. */
    const char *ready_dir; /* VOLUME_LOCAL: there once the pod's group owns it; upstream's mount. */
    const struct csi_mount *csi;    /* VOLUME_CSI: see csi.h. */
    struct str image, image_policy; /* VOLUME_IMAGE: see image_volume.h. */
    const char *host_type;          /* hostPath: "", "Directory", "FileOrCreate", ... */
    struct payload payload;
    bool block;               /* volumeMode Block: path is a device, for volumeDevices. */
    bool read_only;           /* Containers may never write. */
    const char *label;        /* SELinux: it is mounted with it; NULL: relabelled if need be. */
    bool labelled;            /* A container was started with it: its files have their labels. */
    int64_t gid;              /* fsGroup; -1: none. */
    bool gid_if_root_differs; /* fsGroupChangePolicy OnRootMismatch. */
};

struct volume_set {
    struct arena *arena;  /* Owns everything here. */
    const char *root_dir; /* Borrowed for ever. */
    const char *pod_dir;
    const char *log_dir;
    struct volume *items;
    size_t count;
    /* Folders for termination messages: containers' names. */
    const char **containers;
    size_t container_count;
};

/* Who knows what else projected volumes are made of. Results are in the arena; the functions
 * answer at once, E_AGAIN and E_NOT_FOUND among their codes. */
struct volume_credentials {
    int (*trust)(void *arg, const struct core_v1_cluster_trust_bundle_projection *p,
                 struct arena *a, struct str *ret, struct error *err);
    /* Of source number index of a volume. */
    int (*certificate)(void *arg, struct str volume, size_t index,
                       const struct core_v1_pod_certificate_projection *p, struct arena *a,
                       struct str *ret_key, struct str *ret_chain, struct error *err);
    void *arg;
};

struct volume_config {
    const char *root_dir;                         /* --root-dir */
    const char *pod_logs_dir;                     /* /var/log/pods */
    const struct selinux *selinux;                /* NULL: none here. */
    const struct volume_credentials *credentials; /* NULL: pods cannot have such. */
};

/* The folder of a pod: <root>/pods/<uid>. */
const char *pod_dir(struct arena *a, const char *root_dir, const char *uid);
/* <logs>/<namespace>_<name>_<uid> */
const char *pod_log_dir(struct arena *a, const char *logs_dir, const char *namespace_name,
                        const char *name, const char *uid);

/* Fails (E_NOT_FOUND, E_INVALID, E_NOT_IMPLEMENTED) with the message of a
 * FailedMount event. The result is freed with volume_set_free(). */
int volume_plan(const struct volume_config *config, const struct field_context *ctx,
                const struct source_set *sources, struct volume_set **ret, struct error *err);
void volume_set_free(struct volume_set *s); /* NULL is a no-op. */
/* What is known of the files of from, the plan before, goes on to hold. from may be NULL. */
void volume_set_inherit(struct volume_set *to, const struct volume_set *from);
const struct volume *volume_set_find(const struct volume_set *s, struct str name);

/* Blocking. */
int volumes_apply(const struct volume_set *s, struct error *err);
/* fsGroup, as its change policy says, safe from links that others plant meanwhile. The root comes
 * last. Blocking. */
int volume_give_to_group(const struct volume *v, struct error *err);
/* Group and mode of a folder just made in dir; name is one name. E_IO when a container has put
 * something else in its place: that is never followed. gid -1: stays. Blocking. */
int volume_set_new_mode(int dir, const char *name, int64_t gid, unsigned mode, struct error *err);
/* Binds sub_path of a volume to a place of its own, safe from symbolic links
 * that a container plants. *ret is in a. Blocking. */
int volume_bind_sub_path(struct arena *a, const char *pod_dir_path, const struct volume *v,
                         const char *sub_path, const char *container, size_t index,
                         const char **ret, struct error *err);
/* A file of a volume, safe from symbolic links that a container plants. E_NOT_FOUND, E_TOO_LARGE.
 * Blocking. */
int volume_read_file(const struct volume *v, const char *path, size_t max, struct buf *ret,
                     struct error *err);
/* Unmounts what stands below the pod's folder and removes it. Blocking. */
int volumes_remove(const char *pod_dir_path, struct error *err);

#endif
