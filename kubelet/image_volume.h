/* image_volume.h - folders of pods whose content is an image (volumes[].image).
 *
 * Runtimes that take images as mounts (CRI's Mount.image: containerd since 2.1, CRI-O) are given
 * them. An older containerd is asked for a read-only view of the image's layers, over its own
 * snapshot service on the CRI's socket, which is mounted in the pod's folder; the view keeps the
 * layers from being collected until the pod is gone. Loop-confined. */
#ifndef KUBELET_IMAGE_VOLUME_H
#define KUBELET_IMAGE_VOLUME_H

#include "lib/base/base.h"

struct error;
struct kubelet;

/* Does the runtime mount images by itself? */
bool image_volumes_by_runtime(const char *runtime_name, const char *version);

struct image_volume_config {
    const char *uid, *name; /* Of the pod, of the volume. */
    const char *path;       /* Where to mount it; the folder is made. */
    const char *info;       /* The runtime's, of the image: verbose ImageStatus, "info". */
    void (*done)(const struct error *err, void *arg); /* err->code 0: it is mounted. */
    void *arg;
};
/* What is mounted already stays. done runs once, later. */
void image_volume_mount(struct kubelet *k, const struct image_volume_config *config);

/* Unmounts all of a pod, whose folder this is, and drops their views; done runs once, later. */
void image_volumes_release(struct kubelet *k, const char *pod_dir, const char *uid,
                           void (*done)(int code, const struct error *err, void *arg), void *arg);

/* The folder below the pod's that they are in. */
#define IMAGE_VOLUMES_DIR "volumes/kubernetes.io~image"

/* --- the pure part --- */
/* What mount(2) takes of containerd's options ("ro", "lowerdir=..."); data: those that are the file
 * system's, in ret_data of this size. E_TOO_LARGE, E_INVALID (an option that is not known). */
int image_volume_options(char *const *options, size_t count, unsigned long *ret_flags,
                         char *ret_data, size_t data_bytes, struct error *err);

#endif
