/* kinds.c - the table of kinds with rules of their own. */
#include "apiserver/kinds/kinds.h"

const struct kind_ops *const kind_table[] = {
    &kind_certificatesigningrequests,
    &kind_configmaps,
    &kind_controllerrevisions,
    &kind_cronjobs,
    &kind_daemonsets,
    &kind_deployments,
    &kind_events,
    &kind_jobs,
    &kind_leases,
    &kind_namespaces,
    &kind_nodes,
    &kind_poddisruptionbudgets,
    &kind_pods,
    &kind_replicasets,
    &kind_replicationcontrollers,
    &kind_secrets,
    &kind_serviceaccounts,
    &kind_services,
    &kind_statefulsets,
    NULL,
};
