/* names.c - see names.h. */
#include "controllers/names.h"

#include "controllers/controller.h"

#include <string.h>

/* Before 1.28 a controller's name was mostly that of today without "-controller"; these were more
 * different. */
static const struct {
    const char *old, *name;
} aliases[] = {
    {"attachdetach", "persistentvolume-attach-detach-controller"},
    {"bootstrapsigner", "bootstrap-signer-controller"},
    {"csrapproving", "certificatesigningrequest-approving-controller"},
    {"csrcleaner", "certificatesigningrequest-cleaner-controller"},
    {"csrsigning", "certificatesigningrequest-signing-controller"},
    {"endpoint", "endpoints-controller"},
    {"endpointslicemirroring", "endpointslice-mirroring-controller"},
    {"garbagecollector", "garbage-collector-controller"},
    {"horizontalpodautoscaling", "horizontal-pod-autoscaler-controller"},
    {"legacy-service-account-token-cleaner", "legacy-serviceaccount-token-cleaner-controller"},
    {"nodeipam", "node-ipam-controller"},
    {"nodelifecycle", "node-lifecycle-controller"},
    {"podgc", "pod-garbage-collector-controller"},
    {"replicationcontroller", "replication-controller"},
    {"replicationcontroller-controller", "replication-controller"},
    {"pv-protection", "persistentvolume-protection-controller"},
    {"pvc-protection", "persistentvolumeclaim-protection-controller"},
    {"resource-claim-controller", "resourceclaim-controller"},
    {"root-ca-cert-publisher", "root-ca-certificate-publisher-controller"},
    {"tokencleaner", "token-cleaner-controller"},
};

/* Upstream's without a counterpart here: naming them is no mistake. */
static const char *const elsewhere[] = {
    "cloud-node-lifecycle",
    "cloud-node-lifecycle-controller",
    "node-route-controller",
    "route",
    "selinux-warning-controller",
    "service",
    "service-lb-controller",
    "storage-version-gc",
    "storage-version-migrator-controller",
    "storageversion-garbage-collector-controller",
    "validatingadmissionpolicy-status-controller",
    "volumeattributesclass-protection-controller",
};

static const char *find(const char *name)
{
    size_t n = strlen(name);
    for (const struct controller *const *c = controller_table; *c != NULL; c++)
        if (strcmp((*c)->name, name) == 0 ||
            (strncmp((*c)->name, name, n) == 0 && strcmp((*c)->name + n, "-controller") == 0))
            return (*c)->name;
    return NULL;
}

const char *controller_name(const char *name, bool *ret_known)
{
    const char *found = find(name);
    *ret_known = true;
    for (size_t i = 0; found == NULL && i < ARRAY_SIZE(aliases); i++)
        if (strcmp(aliases[i].old, name) == 0)
            found = find(aliases[i].name);
    if (found != NULL)
        return found;
    for (size_t i = 0; i < ARRAY_SIZE(elsewhere); i++)
        if (strcmp(elsewhere[i], name) == 0)
            return NULL;
    *ret_known = false;
    return NULL;
}
