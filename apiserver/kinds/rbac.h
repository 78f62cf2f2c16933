/* rbac.h - what the four kinds of rbac.authorization.k8s.io share. Pure. */
#ifndef APISERVER_KINDS_RBAC_H
#define APISERVER_KINDS_RBAC_H

#include "apiserver/kind.h"

struct rbac_v1_policy_rule;
struct rbac_v1_role_ref;
struct rbac_v1_subject;

#define RBAC_GROUP "rbac.authorization.k8s.io"

void validate_rbac_rules(struct field_errors *errs, const struct rbac_v1_policy_rule *rules,
                         size_t count, bool namespaced);
void default_rbac_binding(struct rbac_v1_role_ref *ref, struct rbac_v1_subject *subjects,
                          size_t count);
void validate_rbac_binding(struct field_errors *errs, const struct rbac_v1_role_ref *ref,
                           const struct rbac_v1_subject *subjects, size_t count, bool namespaced);
void validate_rbac_binding_change(struct field_errors *errs, const struct rbac_v1_role_ref *ref,
                                  const struct rbac_v1_role_ref *old);

extern const struct table_column rbac_role_columns[];
extern const struct table_column rbac_binding_columns[];
void rbac_role_row(struct table_row *r, const struct meta_v1_object_meta *m);
void rbac_binding_row(struct table_row *r, const struct meta_v1_object_meta *m,
                      const struct rbac_v1_role_ref *ref, const struct rbac_v1_subject *subjects,
                      size_t count);

#endif
