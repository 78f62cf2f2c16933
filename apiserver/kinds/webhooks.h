/* webhooks.h - what the kinds of admissionregistration.k8s.io share: webhooks
 * (validating and mutating ones have the same members in two structs), rules
 * and matching. Pure. */
#ifndef APISERVER_KINDS_WEBHOOKS_H
#define APISERVER_KINDS_WEBHOOKS_H

#include "apiserver/kind.h"
#include "apiserver/kinds/rules.h"

struct admissionregistration_v1_match_condition;
struct admissionregistration_v1_match_resources;
struct admissionregistration_v1_param_kind;
struct admissionregistration_v1_param_ref;
struct admissionregistration_v1_rule;
struct admissionregistration_v1_rule_with_operations;
struct admissionregistration_v1_variable;
struct admissionregistration_v1_webhook_client_config;
struct arena;
struct meta_v1_label_selector;
struct meta_v1_object_meta;
struct policy_env;

/* The members of a webhook, by address where they have defaults. */
struct webhook_view {
    struct str name;
    struct admissionregistration_v1_webhook_client_config *client;
    struct admissionregistration_v1_rule_with_operations *rules;
    size_t rules_count;
    bool *has_failure_policy, *has_match_policy, *has_side_effects, *has_timeout;
    struct str *failure_policy, *match_policy, *side_effects;
    struct meta_v1_label_selector **namespace_selector, **object_selector;
    int32_t *timeout;
    const struct str *versions;
    size_t versions_count;
    const struct admissionregistration_v1_match_condition *conditions;
    size_t conditions_count;
    bool *has_reinvocation; /* Mutating ones alone; NULL otherwise. */
    struct str *reinvocation_policy;
};

/* of: a pointer to either of the two structs. Leaves the reinvocation policy out. */
#define WEBHOOK_VIEW(of)                                                                           \
    ((struct webhook_view){(of)->name,                                                             \
                           &(of)->client_config,                                                   \
                           (of)->rules,                                                            \
                           (of)->rules_count,                                                      \
                           &(of)->has_failure_policy,                                              \
                           &(of)->has_match_policy,                                                \
                           &(of)->has_side_effects,                                                \
                           &(of)->has_timeout_seconds,                                             \
                           &(of)->failure_policy,                                                  \
                           &(of)->match_policy,                                                    \
                           &(of)->side_effects,                                                    \
                           &(of)->namespace_selector,                                              \
                           &(of)->object_selector,                                                 \
                           &(of)->timeout_seconds,                                                 \
                           (of)->admission_review_versions,                                        \
                           (of)->admission_review_versions_count,                                  \
                           (of)->match_conditions,                                                 \
                           (of)->match_conditions_count,                                           \
                           NULL,                                                                   \
                           NULL})

void webhooks_defaults(struct arena *a, const struct webhook_view *w, size_t count);
/* Of client configurations in any group; path may be the path of a Service. */
void webhooks_check_url(struct field_errors *errs, const struct field_path *path, struct str url);
/* Both names and the port of a Service. */
void webhooks_check_service(struct field_errors *errs, const struct field_path *path, struct str ns,
                            struct str name, int32_t port);
void webhooks_check_path(struct field_errors *errs, const struct field_path *path,
                         struct str given);
void webhooks_validate(struct field_errors *errs, const struct webhook_view *w, size_t count);
/* Of the lists as they are: m is the message of one. */
bool webhooks_equal(const struct api_msg *m, const void *x, size_t x_count, const void *y,
                    size_t y_count);
extern const struct table_column webhooks_columns[];
void webhooks_row(struct table_row *r, const struct meta_v1_object_meta *m, size_t count);

void default_match_resources(struct arena *a, struct admissionregistration_v1_match_resources *m);
void validate_match_resources(struct field_errors *errs, const struct field_path *path,
                              const struct admissionregistration_v1_match_resources *m,
                              bool rules_required);
/* env: what the expressions see. */
void validate_match_conditions(struct field_errors *errs, const struct field_path *path,
                               struct policy_env *env,
                               const struct admissionregistration_v1_match_condition *c,
                               size_t count);
/* Adds them to env, for the expressions that are checked behind them. */
void validate_variables(struct field_errors *errs, const struct field_path *path,
                        struct policy_env *env, const struct admissionregistration_v1_variable *v,
                        size_t count);
void validate_param_kind(struct field_errors *errs, const struct field_path *path,
                         const struct admissionregistration_v1_param_kind *p);
/* Where a policy of either kind counts. */
void validate_policy_binding(struct field_errors *errs, struct str policy_name,
                             const struct admissionregistration_v1_param_ref *p,
                             const struct admissionregistration_v1_match_resources *m);
/* Nothing is mutated that goes away. path: of m. */
void validate_mutated_operations(struct field_errors *errs, const struct field_path *path,
                                 const struct admissionregistration_v1_match_resources *m);
/* Names that only objects from files have. */
void warn_static_name(const struct kind_ctx *ctx, const struct meta_v1_object_meta *m);
extern const struct table_column policy_binding_columns[];
void policy_binding_row(struct table_row *r, const struct meta_v1_object_meta *m,
                        struct str policy_name, const struct admissionregistration_v1_param_ref *p);
void cell_param_kind(struct table_row *r, const struct admissionregistration_v1_param_kind *p);

#endif
