/* rbac.h - who holds which role: an index of Roles, ClusterRoles and their
 * bindings by subject.
 *
 * A decision looks up the user and each group once and visits the rules of the
 * roles bound to them, never the whole set. Not thread-safe: authz.c locks. */
#ifndef APISERVER_RBAC_H
#define APISERVER_RBAC_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct arena;
struct authz_attributes;
struct rbac;
struct rbac_v1_policy_rule;
struct rbac_v1_role_ref;
struct rbac_v1_subject;
struct user;

struct rbac *rbac_new(void);
void rbac_free(struct rbac *r);

/* ns is empty for ClusterRoles and ClusterRoleBindings. owned holds rules, ref
 * and subjects; the index frees it. */
void rbac_set_role(struct rbac *r, struct str ns, struct str name,
                   const struct rbac_v1_policy_rule *rules, size_t count, struct arena *owned);
void rbac_set_binding(struct rbac *r, struct str ns, struct str name,
                      const struct rbac_v1_role_ref *ref, const struct rbac_v1_subject *subjects,
                      size_t count, struct arena *owned);
void rbac_remove_role(struct rbac *r, struct str ns, struct str name);
void rbac_remove_binding(struct rbac *r, struct str ns, struct str name);

/* *ret_reason: of a refusal the roles that are bound but do not exist; of a
 * permission, when explain is set, the binding that gives it. */
bool rbac_allows(const struct rbac *r, struct arena *a, const struct authz_attributes *at,
                 bool explain, struct str *ret_reason);

/* All rules the user holds in a namespace (empty: cluster-wide ones alone),
 * copied into a. *ret_errors: roles that do not exist, empty if none. */
size_t rbac_rules_of(const struct rbac *r, struct arena *a, const struct user *user, struct str ns,
                     struct rbac_v1_policy_rule **ret, struct str *ret_errors);
/* The rules of one role; false: there is no such role. */
bool rbac_role_rules(const struct rbac *r, struct arena *a, struct str ns, struct str name,
                     struct rbac_v1_policy_rule **ret, size_t *ret_count);

#endif
