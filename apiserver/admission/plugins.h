/* plugins.h - one line per admission plugin; admission.c lists them. */
#ifndef APISERVER_ADMISSION_PLUGINS_H
#define APISERVER_ADMISSION_PLUGINS_H

#include "apiserver/admission.h"

extern const struct admission_plugin admission_namespace_lifecycle;
extern const struct admission_plugin admission_limit_ranger;
extern const struct admission_plugin admission_service_account;
extern const struct admission_plugin admission_node_restriction;
extern const struct admission_plugin admission_priority;
extern const struct admission_plugin admission_default_toleration_seconds;
extern const struct admission_plugin admission_taint_nodes_by_condition;
extern const struct admission_plugin admission_storage_object_in_use;
extern const struct admission_plugin admission_runtime_class;
extern const struct admission_plugin admission_certificates;
extern const struct admission_plugin admission_rbac_escalation;
extern const struct admission_plugin admission_mutating_policy;
extern const struct admission_plugin admission_mutating_webhook;
extern const struct admission_plugin admission_validating_policy;
extern const struct admission_plugin admission_validating_webhook;
extern const struct admission_plugin admission_resource_quota;

#endif
