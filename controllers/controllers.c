/* controllers.c - the table of controllers: one line each. */
#include "controllers/controller.h"

#define CONTROLLERS(X)                                                                             \
    X(controller_bootstrapsigner)                                                                  \
    X(controller_clusterroles)                                                                     \
    X(controller_cronjob)                                                                          \
    X(controller_csrapproving)                                                                     \
    X(controller_csrcleaner)                                                                       \
    X(controller_csrsigning)                                                                       \
    X(controller_daemonset)                                                                        \
    X(controller_deployment)                                                                       \
    X(controller_devicetainteviction)                                                              \
    X(controller_disruption)                                                                       \
    X(controller_endpoints)                                                                        \
    X(controller_endpointslice)                                                                    \
    X(controller_endpointslicemirroring)                                                           \
    X(controller_ephemeralvolume)                                                                  \
    X(controller_garbagecollector)                                                                 \
    X(controller_hpa)                                                                              \
    X(controller_job)                                                                              \
    X(controller_legacytokencleaner)                                                               \
    X(controller_localpath)                                                                        \
    X(controller_namespace)                                                                        \
    X(controller_nodeipam)                                                                         \
    X(controller_nodelifecycle)                                                                    \
    X(controller_nodettl)                                                                          \
    X(controller_podcertificatecleaner)                                                            \
    X(controller_podgc)                                                                            \
    X(controller_podgroup)                                                                         \
    X(controller_policystatus)                                                                     \
    X(controller_replicaset)                                                                       \
    X(controller_replicationcontroller)                                                            \
    X(controller_resourceclaim)                                                                    \
    X(controller_resourcequota)                                                                    \
    X(controller_root_ca)                                                                          \
    X(controller_serviceaccount)                                                                   \
    X(controller_serviceaccounttoken)                                                              \
    X(controller_servicecidr)                                                                      \
    X(controller_statefulset)                                                                      \
    X(controller_tainteviction)                                                                    \
    X(controller_tokencleaner)                                                                     \
    X(controller_trustbundlepublisher)                                                             \
    X(controller_ttlafterfinished)                                                                 \
    X(controller_volumeattach)                                                                     \
    X(controller_volumebinder)                                                                     \
    X(controller_vpa)                                                                              \
    X(controller_volumeexpand)                                                                     \
    X(controller_claimprotection)                                                                  \
    X(controller_volumeprotection)

#define X(name) extern const struct controller name;
CONTROLLERS(X)
#undef X

const struct controller *const controller_table[] = {
#define X(name) &name,
    CONTROLLERS(X)
#undef X
        NULL,
};
