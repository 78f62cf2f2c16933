/* cel_admission.c - see cel_admission.h. Names are upstream's: messages show them. */
#include "lib/api/cel/cel_admission.h"

#define HOST(text)                                                                                 \
    {                                                                                              \
        .kind = CEL_HOST, .name = { text, sizeof(text) - 1 }                                       \
    }
const struct cel_type cel_admission_authorizer = HOST("kubernetes.authorization.Authorizer"),
                      cel_admission_resource_check = HOST("kubernetes.authorization.ResourceCheck"),
                      cel_admission_path_check = HOST("kubernetes.authorization.PathCheck"),
                      cel_admission_group_check = HOST("kubernetes.authorization.GroupCheck"),
                      cel_admission_decision = HOST("kubernetes.authorization.Decision");

/* --- request ------------------------------------------------------------------------------ */
static const struct cel_field gvk_fields[] = {CEL_FIELD("group", &cel_string),
                                              CEL_FIELD("kind", &cel_string),
                                              CEL_FIELD("version", &cel_string)};
static CEL_OBJECT_TYPE(gvk_type, "kubernetes.GroupVersionKind", gvk_fields);
static const struct cel_field gvr_fields[] = {CEL_FIELD("group", &cel_string),
                                              CEL_FIELD("resource", &cel_string),
                                              CEL_FIELD("version", &cel_string)};
static CEL_OBJECT_TYPE(gvr_type, "kubernetes.GroupVersionResource", gvr_fields);
static const struct cel_field user_fields[] = {
    CEL_FIELD("extra", &cel_map_lists), CEL_FIELD("groups", &cel_list_string),
    CEL_FIELD("uid", &cel_string), CEL_FIELD("username", &cel_string)};
static CEL_OBJECT_TYPE(user_type, "kubernetes.UserInfo", user_fields);
static const struct cel_field request_fields[] = {CEL_FIELD("dryRun", &cel_bool),
                                                  CEL_FIELD("kind", &gvk_type),
                                                  CEL_FIELD("name", &cel_string),
                                                  CEL_FIELD("namespace", &cel_string),
                                                  CEL_FIELD("operation", &cel_string),
                                                  CEL_FIELD("options", &cel_dyn),
                                                  CEL_FIELD("requestKind", &gvk_type),
                                                  CEL_FIELD("requestResource", &gvr_type),
                                                  CEL_FIELD("requestSubResource", &cel_string),
                                                  CEL_FIELD("resource", &gvr_type),
                                                  CEL_FIELD("subResource", &cel_string),
                                                  CEL_FIELD("userInfo", &user_type)};
CEL_OBJECT_TYPE(cel_admission_request, "kubernetes.AdmissionRequest", request_fields);

/* --- namespaceObject ------------------------------------------------------------------------ */
static const struct cel_type strings = {.kind = CEL_MAP, .key = &cel_string, .elem = &cel_string};
static const struct cel_field meta_fields[] = {{{"UID", 3}, {"uid", 3}, &cel_string},
                                               CEL_FIELD("annotations", &strings),
                                               CEL_FIELD("creationTimestamp", &cel_timestamp),
                                               CEL_FIELD("deletionGracePeriodSeconds", &cel_int),
                                               CEL_FIELD("deletionTimestamp", &cel_timestamp),
                                               CEL_FIELD("finalizers", &cel_list_string),
                                               CEL_FIELD("generateName", &cel_string),
                                               CEL_FIELD("generation", &cel_int),
                                               CEL_FIELD("labels", &strings),
                                               CEL_FIELD("name", &cel_string),
                                               CEL_FIELD("namespace", &cel_string),
                                               CEL_FIELD("resourceVersion", &cel_string)};
static CEL_OBJECT_TYPE(meta_type, "kubernetes.NamespaceMetadata", meta_fields);
static const struct cel_field spec_fields[] = {CEL_FIELD("finalizers", &cel_list_string)};
static CEL_OBJECT_TYPE(spec_type, "kubernetes.NamespaceSpec", spec_fields);
static const struct cel_field condition_fields[] = {
    CEL_FIELD("lastTransitionTime", &cel_timestamp), CEL_FIELD("message", &cel_string),
    CEL_FIELD("reason", &cel_string), CEL_FIELD("status", &cel_string),
    CEL_FIELD("type", &cel_string)};
static CEL_OBJECT_TYPE(condition_type, "kubernetes.NamespaceCondition", condition_fields);
static const struct cel_type conditions = {.kind = CEL_LIST, .elem = &condition_type};
static const struct cel_field status_fields[] = {CEL_FIELD("conditions", &conditions),
                                                 CEL_FIELD("phase", &cel_string)};
static CEL_OBJECT_TYPE(status_type, "kubernetes.NamespaceStatus", status_fields);
static const struct cel_field namespace_fields[] = {CEL_FIELD("metadata", &meta_type),
                                                    CEL_FIELD("spec", &spec_type),
                                                    CEL_FIELD("status", &status_type)};
CEL_OBJECT_TYPE(cel_admission_namespace, "kubernetes.Namespace", namespace_fields);
