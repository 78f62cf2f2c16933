/* image_pull.h - one pull of one image: waits for its turn, asks for credentials, tries them in
 * order.
 *
 *   --serialize-image-pulls, --max-parallel-image-pulls -> turn -> credential providers -> noted as
 *   begun -> PullImage with each credential until one does, or without where there is none -> noted
 *   with what it took (image_records.h) */
#ifndef KUBELET_IMAGE_PULL_H
#define KUBELET_IMAGE_PULL_H

#include "kubelet/pull_secrets.h"

struct image_pull;
struct kubelet;

struct image_pull_result {
    int code;            /* 0, E_CANCELED or what the runtime said. */
    const char *message; /* Of the last try. */
    const char *image_ref;
    uint64_t took_ns; /* Without the wait for its turn. */
};

struct image_pull_config {
    struct arena *arena; /* Outlives the pull; everything here is in it. */
    struct str image;
    struct pull_auth_list auths; /* Of the pod's secrets; providers' come after them. */
    void *sandbox_config;        /* CRI; borrowed until done. */
    void (*done)(const struct image_pull_result *r, void *arg);
    void *arg;
};

/* done runs once, later. */
struct image_pull *image_pull_start(struct kubelet *k, const struct image_pull_config *config);
/* done comes later, with E_CANCELED. */
void image_pull_cancel(struct image_pull *p);

#endif
