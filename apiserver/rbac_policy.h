/* rbac_policy.h - the roles and bindings that every cluster begins with. Pure.
 *
 * Those named system:... and the four of people (cluster-admin, admin, edit,
 * view) are the ones of a Kubernetes 1.36 server; those named trireme:... give
 * this project's own parts what they need beyond. */
#ifndef APISERVER_RBAC_POLICY_H
#define APISERVER_RBAC_POLICY_H

#include "apiserver/registry.h"

struct arena;
struct rbac_v1_policy_rule;

struct policy_object {
    const struct resource *res;
    struct str ns, name;
    void *obj; /* Names, labels and annotations set; no uid, no times. */
};

/* The index-th of them, in an order in which they can be made: roles before
 * bindings. False: no more. */
bool policy_make(struct arena *a, size_t index, struct policy_object *ret);
/* The rules of a role above; 0 when there is none of that name. */
size_t policy_rules(struct arena *a, const char *cluster_role, struct rbac_v1_policy_rule **ret);

/* What the stored object lacks of the built-in one, merged in: rules and
 * subjects are added, never taken away, labels and annotations set. False: it
 * lacks nothing, or asks to be left alone (autoupdate "false").
 * *ret_replace: the binding refers to another role: it must be made anew. */
bool policy_reconcile(struct arena *a, const struct policy_object *want, void *stored,
                      bool *ret_replace);

#endif
