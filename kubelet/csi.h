/* csi.h - volumes of CSI drivers on this node.
 *
 *   csi_plan.c     what a pod's volume needs: pure
 *   csi_folders.c  what stands on disk about them
 *   csi.c          the drivers that are registered, and what is asked of them
 *   csi_unmount.c  what pods leave
 *   csi_repair.c   volumes of which the disk no longer says what they are
 *   csi_expand.c   volumes that have grown: their file systems, and what their claims say of it
 *   csi_plugins.c  sockets in <root>/plugins_registry: who registers
 *   csi_stats.c    how full volumes are
 *   csi_limits.c   drivers whose number of volumes changes
 *   csi_node.c     what the API is told: CSINode, labels, node.status
 *
 * Layout as upstream, so that a volume is found again after a restart:
 *   <root>/plugins/kubernetes.io/csi/<driver>/<sha256 of handle>/globalmount
 *   <root>/pods/<uid>/volumes/kubernetes.io~csi/<volume>/mount
 * each beside a vol_data.json that names driver and handle. One that is damaged (a disk that was
 * full or cut off) is made good from what else is known of the volume: see csi_repair.c. */
#ifndef KUBELET_CSI_H
#define KUBELET_CSI_H

#include "lib/base/error.h"
#include "lib/base/str.h"

#include "kubelet/usage_view.h"

struct api_str_entry;
struct arena;
struct core_v1_persistent_volume;
struct core_v1_persistent_volume_claim;
struct core_v1_pod;
struct csi;
struct field_context;
struct kubelet;
struct source_set;
struct volume;

struct csi_strings {
    const struct api_str_entry *items;
    size_t count;
};

/* One volume of one pod. Everything lives in the plan's arena. */
struct csi_mount {
    const char *driver, *handle, *pv_name;
    const char *fs_type;
    int access_mode; /* CSI's number. */
    bool read_only, attachable;
    bool block;     /* The target is a device. */
    bool ephemeral; /* Inline in the pod: neither staged nor attached. */
    bool one_pod;   /* ReadWriteOncePod. */
    bool republish; /* requiresRepublish: published again from time to time, for its tokens. */
    const char **mount_flags;
    size_t mount_flag_count;
    const char *label;                   /* SELinux: among mount_flags; NULL: none. */
    struct csi_strings stage_attributes; /* Of the volume alone. */
    struct csi_strings attributes;       /* With what the pod adds. */
    struct csi_strings publish_context, stage_secrets, publish_secrets, expand_secrets;
    const char *claim;             /* Its name; NULL: inline. */
    int64_t group;                 /* fsGroup; -1: none. */
    const struct core_v1_pod *pod; /* Whose it is; held by the plan. */
    /* The claim, when the volume is larger than it says: the file system has to follow. NULL: it
     * need not. */
    const struct core_v1_persistent_volume_claim *grown;
    struct str grow_size; /* As the volume has it. */
    int64_t grow_bytes;
    const char *stage_root; /* Of globalmount and its vol_data.json. */
    const char *pod_volume; /* Of mount and its vol_data.json. */
    const char *stage, *target;
    bool group_allowed; /* The driver's policy lets fsGroup be applied. */
};

/* Fills a volume; E_AGAIN while it is not attached. */
int csi_plan(struct arena *a, const struct field_context *ctx, const struct source_set *sources,
             const char *root_dir, const char *pod_dir, const struct core_v1_persistent_volume *pv,
             const struct core_v1_persistent_volume_claim *claim, struct volume *v,
             struct error *err);
struct core_v1_csi_volume_source;
/* The handle of a volume that stands in the pod itself; its name there. */
const char *csi_inline_handle(struct arena *a, const struct core_v1_pod *pod, const char *name);
/* The same for a volume that stands in the pod itself; the driver must say that it has such. */
int csi_plan_inline(struct arena *a, const struct field_context *ctx,
                    const struct source_set *sources, const char *pod_dir,
                    const struct core_v1_csi_volume_source *src, struct volume *v,
                    struct error *err);
/* Blocking: the folders and what stands in them about the volume. */
int csi_make_dirs(const struct csi_mount *m, struct error *err);

/* --- vol_data.json --- */
struct csi_data {
    const char *driver, *handle;
    const char *pv_name; /* Of an inline volume its name in the pod; "" in what upstream staged. */
    bool ephemeral;
};
/* Blocking. E_NOT_FOUND when it is not there; anything else: it cannot be read. */
int csi_data_read(struct arena *a, const char *dir, struct csi_data *ret, struct error *err);

/* --- on disk; all block --- */
const char *csi_stage_root(struct arena *a, const char *root_dir, const char *driver,
                           const char *handle);
/* A CSI volume in a pod's folder, or one that is staged. */
struct csi_found {
    const char *dir;  /* <pod>/volumes/kubernetes.io~csi/<volume>, or the stage's root. */
    const char *name; /* The last part of it. */
    bool damaged;     /* Its vol_data.json cannot be read: data says nothing. */
    struct csi_data data;
};
int csi_find_volumes(struct arena *a, const char *pod_dir, struct csi_found **ret,
                     size_t *ret_count, struct error *err);
/* Those of all pods. */
int csi_find_all(struct arena *a, const char *root_dir, struct csi_found **ret, size_t *ret_count,
                 struct error *err);
/* Those that are staged here. */
int csi_find_stages(struct arena *a, const char *root_dir, struct csi_found **ret,
                    size_t *ret_count, struct error *err);
/* What a damaged volume of a pod's folder is, by the stage that names it; false: none does. */
bool csi_find_lost(struct arena *a, const char *root_dir, struct csi_found *f);
/* Those that are staged here, can be read and that no pod's folder has. */
int csi_find_unused_stages(struct arena *a, const char *root_dir, struct csi_found **ret,
                           size_t *ret_count, struct error *err);
/* Some pod's folder has the volume. */
bool csi_is_used(const char *root_dir, const char *driver, const char *handle);
/* The folders, once nothing is mounted there; what holds files is not removed. */
int csi_remove_volume(const char *dir, struct error *err);
int csi_remove_stage(const char *stage_root, struct error *err);

/* --- asking drivers --------------------------------------------------------------------------- */
/* Blocking: finds what pods left mounted. */
struct csi *csi_new(struct kubelet *k);
/* Watches for plugins. */
int csi_start(struct csi *c, struct error *err);

/* Brings one volume to its place, and its file system to the volume's size. published: it is there;
 * it is published again where its driver wants that. done runs later, once. */
void csi_mount(struct csi *c, const struct csi_mount *m, bool published,
               void (*done)(int code, const struct error *err, void *arg), void *arg);
/* A volume that is there needs something. */
bool csi_mount_is_due(const struct csi_mount *m);
/* The driver gives the volume to the pod's group itself: VOLUME_MOUNT_GROUP. */
bool csi_gives_to_group(const struct csi *c, const char *driver);
/* How full a pod's volume is, as its driver said last; false: it is none of a CSI driver, or was
 * not looked at yet. ret->known false: the driver does not say. */
bool csi_stats_of(const struct csi *c, const char *uid, const char *volume,
                  struct usage_files *ret);
/* The same of all claims, for /metrics; names are upstream's. c may be NULL. */
struct buf;
void csi_stats_write(const struct csi *c, struct buf *b);

/* Takes all CSI volumes of a pod's folder away, found on disk; those that no other pod uses are
 * unstaged. pod: NULL when nothing but the folder is left; borrowed for the call. done runs later,
 * once. */
void csi_unmount_pod(struct csi *c, const struct core_v1_pod *pod, const char *pod_dir,
                     void (*done)(int code, const struct error *err, void *arg), void *arg);

/* Unique names of the volumes that pods here have, sorted; in a. They are not taken from under
 * them. */
size_t csi_volumes_in_use(const struct csi *c, struct arena *a, const struct str **ret);

#endif
