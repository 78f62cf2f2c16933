/* pod_start_internal.h - what the files that start a container share.
 *
 *   pod_start.c   the order of the steps; create, start, postStart
 *   pod_image.c   is the image there, may it be used, pull it
 *   pod_mounts.c  variables out of files, mounts, files of its own
 *   pod_devices.c what plugins say that it gets for its devices */
#ifndef KUBELET_POD_START_INTERNAL_H
#define KUBELET_POD_START_INTERNAL_H

#include "kubelet/container_env.h"
#include "kubelet/cri_config.h"
#include "kubelet/env_file.h"
#include "kubelet/pinning.h"
#include "kubelet/pod_worker_internal.h"

#include "lib/base/error.h"

#define START_RETRY_MS 10000u

struct image_pull;

struct start {
    struct pod_worker *w;
    bool can_recursive; /* Read-only mounts: the runtime can. */
    struct pod_container *c;
    struct api_object *object; /* Held: spec and strings come from it. */
    const struct core_v1_container *spec;
    struct arena *arena;
    uint32_t attempt;
    /* The image that is being seen to: the container's own, then those of its volumes. */
    struct str given, pull_policy; /* As the spec says. */
    struct str image;              /* With its tag. */
    const struct volume *volume;   /* Whose image it is; NULL: the container's. */
    size_t volume_next;            /* Of the volume mounts. */
    const char *info;              /* What the runtime tells of a volume's image; NULL. */
    bool images_by_runtime;        /* It mounts images itself. */
    const char **volume_refs;      /* For each volume mount: the image's reference; NULL: none. */
    const char *pulled_ref;        /* What the last pull brought. */
    const char *image_ref;         /* Of the container. */
    int64_t image_uid;
    const char *image_user;
    uint64_t pull_start_ms, pull_took_ms;
    struct container_mount *mounts;
    size_t mount_count;
    struct container_device *devices;
    size_t device_count;
    const char *container_id;
    struct container_pins pins; /* As the runtime was told. */
    struct image_pull *pull;    /* NULL unless pulling. */

    struct env_file *env_files;
    size_t env_file_count;
    /* For the job that makes mounts. */
    struct env_list env;
    const char *pod_dir;
    const char *log_dir;
    const char *term_path; /* Host file of the termination message. */
    const char *hosts;     /* Content; NULL: the node's file with aliases. */
    bool own_hosts;
    int code;
    struct error err;
};

/* Ends the attempt; the container waits for reason and is not tried for wait_ms. */
void start_give_up(struct start *s, const char *reason, const char *message, uint64_t wait_ms);
/* The same, with an event and the usual time to wait. */
void start_fail(struct start *s, const char *reason, const char *message);

/* Each leads on to the next one, or gives up. */
void start_check_image(struct start *s);
void start_make_mounts(struct start *s);
void start_ready_devices(struct start *s);
void start_create(struct start *s);
/* What plugins give the container, beside what in has. */
void start_add_devices(struct start *s, struct container_inputs *in);

#endif
