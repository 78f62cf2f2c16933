/* rbac_policy_users.c - built-in roles of people, components and nodes. */
#include "apiserver/rbac_policy_table.h"

#include <stddef.h>

#define APISERVER_HEALTH "/healthz,/livez,/readyz"

static const struct policy_rule edit_rules[] = {
    {READ, "", "pods/attach,pods/exec,pods/portforward,pods/proxy,secrets,services/proxy"},
    {"impersonate", "", "serviceaccounts"},
    {WRITE, "", "pods,pods/attach,pods/exec,pods/portforward,pods/proxy"},
    {"create", "", "pods/eviction"},
    {WRITE, "",
     "configmaps,persistentvolumeclaims,replicationcontrollers,replicationcontrollers/scale,"
     "secrets,serviceaccounts,services,services/proxy"},
    {"create", "", "serviceaccounts/token"},
    {WRITE, ",events.k8s.io", "events"},
    {WRITE, "apps",
     "daemonsets,deployments,deployments/rollback,deployments/scale,replicasets,replicasets/scale,"
     "statefulsets,statefulsets/scale"},
    {WRITE, "autoscaling", "horizontalpodautoscalers"},
    {WRITE, "batch", "cronjobs,jobs"},
    {WRITE, "extensions",
     "daemonsets,deployments,deployments/rollback,deployments/scale,ingresses,networkpolicies,"
     "replicasets,replicasets/scale,replicationcontrollers/scale"},
    {WRITE, "policy", "poddisruptionbudgets"},
    {WRITE, "networking.k8s.io", "ingresses,networkpolicies"},
    {READ_WRITE, "coordination.k8s.io", "leases"},
    {WRITE, "resource.k8s.io", "resourceclaims,resourceclaimtemplates"},
    {NULL},
};

static const struct policy_rule view_rules[] = {
    {READ, "",
     "configmaps,endpoints,persistentvolumeclaims,persistentvolumeclaims/status,pods,"
     "replicationcontrollers,replicationcontrollers/scale,serviceaccounts,services,services/"
     "status"},
    {READ, "",
     "bindings,limitranges,namespaces/status,pods/log,pods/status,replicationcontrollers/status,"
     "resourcequotas,resourcequotas/status"},
    {READ, "", "namespaces"},
    {READ, ",events.k8s.io", "events"},
    {READ, "discovery.k8s.io", "endpointslices"},
    {READ, "apps",
     "controllerrevisions,daemonsets,daemonsets/status,deployments,deployments/scale,"
     "deployments/status,replicasets,replicasets/scale,replicasets/status,statefulsets,"
     "statefulsets/scale,statefulsets/status"},
    {READ, "autoscaling", "horizontalpodautoscalers,horizontalpodautoscalers/status"},
    {READ, "batch", "cronjobs,cronjobs/status,jobs,jobs/status"},
    {READ, "extensions",
     "daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,ingresses,"
     "ingresses/status,networkpolicies,replicasets,replicasets/scale,replicasets/status,"
     "replicationcontrollers/scale"},
    {READ, "policy", "poddisruptionbudgets,poddisruptionbudgets/status"},
    {READ, "networking.k8s.io", "ingresses,ingresses/status,networkpolicies"},
    {READ, "resource.k8s.io", "resourceclaims,resourceclaims/status,resourceclaimtemplates"},
    {NULL},
};

static const struct policy_rule node_rules[] = {
    {"create", "authentication.k8s.io", "tokenreviews"},
    {"create", "authorization.k8s.io", "localsubjectaccessreviews,subjectaccessreviews"},
    {READ, "", "services"},
    {"create,get,list,watch", "", "nodes"},
    {"patch,update", "", "nodes/status"},
    {"patch,update", "", "nodes"},
    EVENTS,
    {READ, "", "pods"},
    {"create,delete", "", "pods"},
    {"patch,update", "", "pods/status"},
    {"create", "", "pods/eviction"},
    {READ, "", "configmaps,secrets"},
    {"get", "", "persistentvolumeclaims,persistentvolumes"},
    {"get", "", "endpoints"},
    {"create,get,list,watch", "certificates.k8s.io", "certificatesigningrequests"},
    {"create,delete,get,patch,update", "coordination.k8s.io", "leases"},
    {"get", "storage.k8s.io", "volumeattachments"},
    {"create", "", "serviceaccounts/token"},
    {"get,patch,update", "", "persistentvolumeclaims/status"},
    {READ, "storage.k8s.io", "csidrivers"},
    {"create,delete,get,patch,update", "storage.k8s.io", "csinodes"},
    {READ, "node.k8s.io", "runtimeclasses"},
    {"get", "resource.k8s.io", "resourceclaims"},
    {"deletecollection", "resource.k8s.io", "resourceslices"},
    {"get", "", "serviceaccounts"},
    {READ, "certificates.k8s.io", "clustertrustbundles", .needs = FEATURE_CLUSTER_TRUST_BUNDLE},
    {"create,get,list,watch", "certificates.k8s.io", "podcertificaterequests",
     .needs = FEATURE_POD_CERTIFICATE_REQUEST},
    {NULL},
};

static const struct policy_rule scheduler_rules[] = {
    EVENTS,
    {"create", "coordination.k8s.io", "leases"},
    {"get,list,update,watch", "coordination.k8s.io", "leases", "kube-scheduler"},
    {READ_WRITE, "coordination.k8s.io", "leasecandidates"},
    {READ, "", "nodes"},
    {"delete,get,list,watch", "", "pods"},
    {"create", "", "bindings,pods/binding"},
    {"patch,update", "", "pods/status"},
    {READ, "", "replicationcontrollers,services"},
    {READ, "apps,extensions", "replicasets"},
    {READ, "apps", "statefulsets"},
    {READ, "policy", "poddisruptionbudgets"},
    {READ, "", "persistentvolumeclaims,persistentvolumes"},
    {"create", "authentication.k8s.io", "tokenreviews"},
    {"create", "authorization.k8s.io", "subjectaccessreviews"},
    {READ, "storage.k8s.io", "csinodes"},
    {READ, "storage.k8s.io", "volumeattachments"},
    {READ, "", "namespaces"},
    {READ, "storage.k8s.io", "csidrivers"},
    {READ, "storage.k8s.io", "csistoragecapacities"},
    {READ, "resource.k8s.io", "deviceclasses"},
    {READ_UPDATE, "resource.k8s.io", "resourceclaims"},
    {READ_UPDATE, "resource.k8s.io", "resourceclaims/status"},
    {"update", "", "pods/finalizers"},
    {READ, "resource.k8s.io", "resourceslices"},
    {"create,delete", "resource.k8s.io", "resourceclaims"},
    {"patch,update", "resource.k8s.io", "resourceclaims/binding"},
    {NULL},
};

static const struct policy_rule controller_manager_rules[] = {
    EVENTS,
    {"create", "coordination.k8s.io", "leases"},
    {"get,update", "coordination.k8s.io", "leases", "kube-controller-manager"},
    {"create", "", "secrets,serviceaccounts"},
    {"delete", "", "secrets"},
    {"get", "", "configmaps,namespaces,secrets,serviceaccounts"},
    {"update", "", "secrets,serviceaccounts"},
    {"create", "authentication.k8s.io", "tokenreviews"},
    {"create", "authorization.k8s.io", "subjectaccessreviews"},
    {"list,watch", "*", "*"},
    {"create", "", "serviceaccounts/token"},
    {NULL},
};

#define SIGNER_ROLE(role, signer)                                                                  \
    {                                                                                              \
        "system:certificates.k8s.io:" role,                                                        \
            RULES({"approve", "certificates.k8s.io", "signers", "kubernetes.io/" signer})          \
    }

const struct policy_role policy_user_roles[] = {
    {"cluster-admin", RULES({"*", "*", "*"}, {"*", NULL, NULL, NULL, "*"})},
    {"system:discovery",
     RULES(URLS(APISERVER_HEALTH
                ",/version,/version/,/openapi,/openapi/*,/api,/api/*,/apis,/apis/*"))},
    {"system:monitoring", RULES(URLS("/metrics,/metrics/slis," APISERVER_HEALTH
                                     ",/healthz/*,/livez/*,/readyz/*,/flagz,/statusz"),
                                {"get", "", "nodes/metrics"})},
    {"system:basic-user",
     RULES({"create", "authorization.k8s.io", "selfsubjectaccessreviews,selfsubjectrulesreviews"},
           {"create", "authentication.k8s.io", "selfsubjectreviews"})},
    {"system:public-info-viewer", RULES(URLS(APISERVER_HEALTH ",/version,/version/"))},
    {"admin", NULL, NULL, "admin"},
    {"edit", NULL, "admin", "edit"},
    {"view", NULL, "edit", "view"},
    {"system:aggregate-to-admin",
     RULES({"create", "authorization.k8s.io", "localsubjectaccessreviews"},
           {READ_WRITE, "rbac.authorization.k8s.io", "rolebindings,roles"}),
     "admin"},
    {"system:aggregate-to-edit", edit_rules, "edit"},
    {"system:aggregate-to-view", view_rules, "view"},
    {"system:heapster",
     RULES({READ, "", "events,namespaces,nodes,pods"}, {READ, "extensions", "deployments"})},
    {"system:node", node_rules},
    {"system:node-problem-detector",
     RULES({"get", "", "nodes"}, {"patch", "", "nodes/status"}, EVENTS)},
    {"system:node-bootstrapper",
     RULES({"create,get,list,watch", "certificates.k8s.io", "certificatesigningrequests"})},
    {"system:auth-delegator", RULES({"create", "authentication.k8s.io", "tokenreviews"},
                                    {"create", "authorization.k8s.io", "subjectaccessreviews"})},
    {"system:kube-aggregator", RULES({READ, "", "endpoints,services"})},
    {"system:kube-controller-manager", controller_manager_rules},
    {"system:kube-dns", RULES({"list,watch", "", "endpoints,services"})},
    {"system:persistent-volume-provisioner",
     RULES({"create,delete,get,list,watch", "", "persistentvolumes"},
           {"get,list,update,watch", "", "persistentvolumeclaims"},
           {READ, "storage.k8s.io", "storageclasses"}, {"watch", "", "events"}, EVENTS)},
    {"system:certificates.k8s.io:certificatesigningrequests:nodeclient",
     RULES({"create", "certificates.k8s.io", "certificatesigningrequests/nodeclient"})},
    {"system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
     RULES({"create", "certificates.k8s.io", "certificatesigningrequests/selfnodeclient"})},
    {"system:volume-scheduler",
     RULES({READ_UPDATE, "", "persistentvolumes"}, {READ, "storage.k8s.io", "storageclasses"},
           {READ_UPDATE, "", "persistentvolumeclaims"})},
    SIGNER_ROLE("legacy-unknown-approver", "legacy-unknown"),
    SIGNER_ROLE("kubelet-serving-approver", "kubelet-serving"),
    SIGNER_ROLE("kube-apiserver-client-approver", "kube-apiserver-client"),
    SIGNER_ROLE("kube-apiserver-client-kubelet-approver", "kube-apiserver-client-kubelet"),
    {"system:cluster-trust-bundle-discovery",
     RULES({READ, "certificates.k8s.io", "clustertrustbundles"}),
     .needs = FEATURE_CLUSTER_TRUST_BUNDLE},
    {"system:service-account-issuer-discovery",
     RULES(URLS("/.well-known/openid-configuration,/.well-known/openid-configuration/,"
                "/openid/v1/jwks,/openid/v1/jwks/"))},
    {"system:kubelet-api-admin", RULES({READ, "", "nodes"}, {"proxy", "", "nodes"},
                                       {"*", "", "nodes/log,nodes/metrics,nodes/proxy,nodes/stats"},
                                       {"*", "", "nodes/configz,nodes/healthz,nodes/pods"})},
    {"system:node-proxier", RULES({"list,watch", "", "endpoints,services"}, {READ, "", "nodes"},
                                  EVENTS, {"list,watch", "networking.k8s.io", "servicecidrs"},
                                  {"list,watch", "discovery.k8s.io", "endpointslices"})},
    {"system:kube-scheduler", scheduler_rules},
    {NULL},
};

/* --- in kube-system and kube-public -------------------------------------------------------- */
#define LEADER_LOCKING                                                                             \
    RULES({"create,get,list,update,watch", "coordination.k8s.io", "leases"},                       \
          {"create,get,list,update,watch", "coordination.k8s.io", "leasecandidates"})

const struct policy_role policy_namespace_roles[] = {
    {"extension-apiserver-authentication-reader",
     RULES({READ, "", "configmaps", "extension-apiserver-authentication"}), .ns = "kube-system"},
    {"system:controller:bootstrap-signer", RULES({READ, "", "secrets"}), .ns = "kube-system"},
    {"system:controller:cloud-provider", RULES({"create,get,list,watch", "", "configmaps"}),
     .ns = "kube-system"},
    {"system:controller:token-cleaner", RULES({"delete,get,list,watch", "", "secrets"}, EVENTS),
     .ns = "kube-system"},
    {"system::leader-locking-kube-controller-manager", LEADER_LOCKING, .ns = "kube-system"},
    {"system::leader-locking-kube-scheduler", LEADER_LOCKING, .ns = "kube-system"},
    {"system:controller:bootstrap-signer",
     RULES({READ, "", "configmaps"}, {"update", "", "configmaps", "cluster-info"}, EVENTS),
     .ns = "kube-public"},
    {NULL},
};

/* --- of this project's own parts ------------------------------------------------------------- */
const struct policy_role policy_own_roles[] = {
    /* What a joining host looks at to see whether its node is there. */
    {"trireme:get-nodes", RULES({"get", "", "nodes"})},
    /* What a joining host reads before it can prove who it is. */
    {"trireme:cluster-info", RULES({"get", "", "configmaps", "cluster-info"}), .ns = "kube-public"},
    /* Node agents enforce network policies, which name pods of all nodes by their labels. */
    {"trireme:node-network-policies",
     RULES({"list,watch", "", "namespaces,pods"},
           {"list,watch", "networking.k8s.io", "networkpolicies"})},
    /* Node agents make and remove the folders of local-path volumes when they are asked to. */
    {"trireme:local-path-provisioner", RULES({"create,delete", "", "nodes/proxy"})},
    /* Pod groups are custom resources, whose definition the controller manager brings along. */
    {"trireme:pod-group-controller",
     RULES({"create,get", "apiextensions.k8s.io", "customresourcedefinitions"},
           {READ, "scheduling.x-k8s.io", "podgroups"},
           {"patch,update", "scheduling.x-k8s.io", "podgroups/status"})},
    {"trireme:pod-group-scheduler", RULES({READ, "scheduling.x-k8s.io", "podgroups"})},
    /* What pods use, for those that live on what others do not. */
    {"trireme:reclaiming-scheduler", RULES({"list", "metrics.k8s.io", "pods"})},
    {"trireme:aggregate-pod-groups-to-edit", RULES({WRITE, "scheduling.x-k8s.io", "podgroups"}),
     .aggregate_to = "edit"},
    {"trireme:aggregate-pod-groups-to-view",
     RULES({READ, "scheduling.x-k8s.io", "podgroups,podgroups/status"}), .aggregate_to = "view"},
    /* Vertical autoscaling: its controller, and people with their namespaces. */
    {"trireme:vertical-pod-autoscaler",
     RULES({"create", "apiextensions.k8s.io", "customresourcedefinitions"},
           {READ, "autoscaling.k8s.io", "verticalpodautoscalers"},
           {"get,patch", "autoscaling.k8s.io", "verticalpodautoscalers/status"},
           {READ ",create,delete,patch", "autoscaling.k8s.io", "verticalpodautoscalercheckpoints"},
           {READ, "", "limitranges,pods,replicationcontrollers"},
           {READ, "apps", "daemonsets,deployments,replicasets,statefulsets"},
           {READ, "batch", "cronjobs,jobs"}, {"get", "*", "*/scale"},
           {"get,list", "metrics.k8s.io", "pods"}, {"patch", "", "pods,pods/resize"},
           {"create", "", "pods/eviction"}, EVENTS)},
    {"trireme:aggregate-vertical-pod-autoscalers-to-edit",
     RULES({WRITE, "autoscaling.k8s.io", "verticalpodautoscalers"}), .aggregate_to = "edit"},
    {"trireme:aggregate-vertical-pod-autoscalers-to-view",
     RULES({READ, "autoscaling.k8s.io", "verticalpodautoscalercheckpoints,verticalpodautoscalers"}),
     .aggregate_to = "view"},
    /* As metrics-server's system:aggregated-metrics-reader; its manifest must find the name free.
     */
    {"trireme:metrics-reader", RULES({READ, "metrics.k8s.io", "nodes,pods"}),
     .aggregate_to = "view"},
    {NULL},
};
