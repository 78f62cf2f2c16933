/* volume_payload.h - the files of volumes that are made of API objects: configMap, secret,
 * downwardAPI, projected. Pure; volumes.c plans the rest. */
#ifndef KUBELET_VOLUME_PAYLOAD_H
#define KUBELET_VOLUME_PAYLOAD_H

#include "kubelet/volumes.h"

struct core_v1_volume_source;
struct selinux;

/* What the projections of one volume share. */
struct plan {
    struct arena *a;
    const struct field_context *ctx;
    const struct source_set *sources;
    const struct selinux *selinux;
    const struct volume_credentials *credentials;
    struct str volume; /* Its name. */
    struct payload *payload;
    int mode;
};

/* Fills the payload that p points at; *ret_type names the plugin of the volume's folder. Fails as
 * volume_plan(). */
int volume_plan_files(struct plan *p, const struct core_v1_volume_source *v, const char **ret_type,
                      struct error *err);

#endif
