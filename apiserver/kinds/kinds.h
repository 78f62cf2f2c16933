/* kinds.h - one line per kind with rules of its own; kinds.c lists them. */
#ifndef APISERVER_KINDS_KINDS_H
#define APISERVER_KINDS_KINDS_H

#include "apiserver/kind.h"

extern const struct kind_ops kind_apiservices;
extern const struct kind_ops kind_certificatesigningrequests;
extern const struct kind_ops kind_clusterrolebindings;
extern const struct kind_ops kind_clusterroles;
extern const struct kind_ops kind_clustertrustbundles;
extern const struct kind_ops kind_configmaps;
extern const struct kind_ops kind_controllerrevisions;
extern const struct kind_ops kind_cronjobs;
extern const struct kind_ops kind_csidrivers;
extern const struct kind_ops kind_csinodes;
extern const struct kind_ops kind_csistoragecapacities;
extern const struct kind_ops kind_customresourcedefinitions;
extern const struct kind_ops kind_daemonsets;
extern const struct kind_ops kind_deployments;
extern const struct kind_ops kind_deviceclasses;
extern const struct kind_ops kind_endpoints;
extern const struct kind_ops kind_endpointslices;
extern const struct kind_ops kind_events;
extern const struct kind_ops kind_flowschemas;
extern const struct kind_ops kind_horizontalpodautoscalers;
extern const struct kind_ops kind_ingressclasses;
extern const struct kind_ops kind_ingresses;
extern const struct kind_ops kind_ipaddresses;
extern const struct kind_ops kind_jobs;
extern const struct kind_ops kind_leases;
extern const struct kind_ops kind_limitranges;
extern const struct kind_ops kind_mutatingadmissionpolicies;
extern const struct kind_ops kind_mutatingadmissionpolicybindings;
extern const struct kind_ops kind_mutatingwebhookconfigurations;
extern const struct kind_ops kind_namespaces;
extern const struct kind_ops kind_networkpolicies;
extern const struct kind_ops kind_nodes;
extern const struct kind_ops kind_persistentvolumeclaims;
extern const struct kind_ops kind_persistentvolumes;
extern const struct kind_ops kind_poddisruptionbudgets;
extern const struct kind_ops kind_pods;
extern const struct kind_ops kind_podcertificaterequests;
extern const struct kind_ops kind_podtemplates;
extern const struct kind_ops kind_priorityclasses;
extern const struct kind_ops kind_prioritylevelconfigurations;
extern const struct kind_ops kind_replicasets;
extern const struct kind_ops kind_replicationcontrollers;
extern const struct kind_ops kind_resourceclaims;
extern const struct kind_ops kind_resourceclaimtemplates;
extern const struct kind_ops kind_resourcequotas;
extern const struct kind_ops kind_resourceslices;
extern const struct kind_ops kind_rolebindings;
extern const struct kind_ops kind_roles;
extern const struct kind_ops kind_runtimeclasses;
extern const struct kind_ops kind_secrets;
extern const struct kind_ops kind_serviceaccounts;
extern const struct kind_ops kind_servicecidrs;
extern const struct kind_ops kind_services;
extern const struct kind_ops kind_statefulsets;
extern const struct kind_ops kind_storageclasses;
extern const struct kind_ops kind_validatingadmissionpolicies;
extern const struct kind_ops kind_validatingadmissionpolicybindings;
extern const struct kind_ops kind_validatingwebhookconfigurations;
extern const struct kind_ops kind_volumeattachments;
extern const struct kind_ops kind_volumeattributesclasses;

#endif
