/* cel_admission.h - what expressions of admission policies are declared with:
 * the types of request, namespaceObject and authorizer, and its functions.
 *
 * The API server evaluates with them (apiserver/admission/policy_env.c), the
 * controller of policies' status only checks types. */
#ifndef API_CEL_CEL_ADMISSION_H
#define API_CEL_CEL_ADMISSION_H

#include "lib/api/cel/cel.h"

extern const struct cel_type cel_admission_request, cel_admission_namespace,
    cel_admission_authorizer, cel_admission_resource_check, cel_admission_path_check,
    cel_admission_group_check, cel_admission_decision;

/* The initializer of a table of struct cel_function. RUN(f) is what computes f. */
#define CEL_ADMISSION_FUNCTIONS(RUN)                                                                \
    {                                                                                               \
        {                                                                                           \
            "path",                                                                                 \
            true,                                                                                   \
            2,                                                                                      \
            {&cel_admission_authorizer, &cel_string},                                               \
            &cel_admission_path_check,                                                              \
            RUN(path_of)},                                                                          \
            {"group",                                                                               \
             true,                                                                                  \
             2,                                                                                     \
             {&cel_admission_authorizer, &cel_string},                                              \
             &cel_admission_group_check,                                                            \
             RUN(group_of)},                                                                        \
            {"serviceAccount",                                                                      \
             true,                                                                                  \
             3,                                                                                     \
             {&cel_admission_authorizer, &cel_string, &cel_string},                                 \
             &cel_admission_authorizer,                                                             \
             RUN(service_account_of)},                                                              \
            {"resource",                                                                            \
             true,                                                                                  \
             2,                                                                                     \
             {&cel_admission_group_check, &cel_string},                                             \
             &cel_admission_resource_check,                                                         \
             RUN(resource_of)},                                                                     \
            CEL_ADMISSION_NARROW("subresource", RUN(subresource_of)),                               \
            CEL_ADMISSION_NARROW("namespace", RUN(namespace_of)),                                   \
            CEL_ADMISSION_NARROW("name", RUN(name_of)),                                             \
            CEL_ADMISSION_NARROW("fieldSelector", RUN(field_selector_of)),                          \
            CEL_ADMISSION_NARROW("labelSelector", RUN(label_selector_of)),                          \
            {"check",   true, 2, {&cel_admission_path_check, &cel_string}, &cel_admission_decision, \
             RUN(check)},                                                                           \
            {"check",                                                                               \
             true,                                                                                  \
             2,                                                                                     \
             {&cel_admission_resource_check, &cel_string},                                          \
             &cel_admission_decision,                                                               \
             RUN(check)},                                                                           \
            CEL_ADMISSION_TOLD("allowed", &cel_bool, RUN(allowed)),                                 \
            CEL_ADMISSION_TOLD("reason", &cel_string, RUN(reason)),                                 \
            CEL_ADMISSION_TOLD("errored", &cel_bool, RUN(errored)),                                 \
            CEL_ADMISSION_TOLD("error", &cel_string, RUN(error_of)),                                \
        {                                                                                           \
            "jsonpatch.escapeKey", false, 1, {&cel_string}, &cel_string, RUN(escape_key)            \
        }                                                                                           \
    }
#define CEL_ADMISSION_NARROW(name, run)                                                            \
    {                                                                                              \
        name, true, 2, {&cel_admission_resource_check, &cel_string},                               \
            &cel_admission_resource_check, run                                                     \
    }
#define CEL_ADMISSION_TOLD(name, result, run)                                                      \
    {                                                                                              \
        name, true, 1, {&cel_admission_decision}, result, run                                      \
    }

#endif
