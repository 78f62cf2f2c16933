/* pod_refs.h - the other objects that a pod, or a volume, speaks of by name:
 * what its node must be able to read. Pure. */
#ifndef APISERVER_POD_REFS_H
#define APISERVER_POD_REFS_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct arena;
struct core_v1_persistent_volume;
struct core_v1_pod;

enum ref_kind {
    REF_POD = 1,
    REF_SECRET,
    REF_CONFIG_MAP,
    REF_CLAIM, /* PersistentVolumeClaim */
    REF_VOLUME,
    REF_ATTACHMENT,
    REF_ACCOUNT,
    REF_RESOURCE_CLAIM,
    REF_SLICE,
    REF_TRUST_BUNDLE,
    REF_CERTIFICATE_REQUEST, /* PodCertificateRequest */
};

/* All in the pod's namespace; names may come more than once. */
typedef void pod_ref_fn(enum ref_kind kind, struct str name, void *arg);
void pod_refs_visit(struct arena *a, const struct core_v1_pod *pod, pod_ref_fn *fn, void *arg);
/* Secrets that a node needs to mount the volume. */
typedef void volume_secret_fn(struct str ns, struct str name, void *arg);
void volume_secrets_visit(const struct core_v1_persistent_volume *v, volume_secret_fn *fn,
                          void *arg);

#endif
