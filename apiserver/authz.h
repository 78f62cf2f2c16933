/* authz.h - who may do what: the authorizers of --authorization-mode in order,
 * the first that allows or denies decides.
 *
 *   system:masters -> Node, RBAC, ... -> 403 with the reasons of all
 *
 * Decisions are made on an index that follows the store (authz_feed.h). */
#ifndef APISERVER_AUTHZ_H
#define APISERVER_AUTHZ_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct apiserver;
struct arena;
struct asks;
struct authz;
struct authz_list;
struct error;
struct meta_v1_status;
struct node_graph;
struct rbac;
struct rbac_v1_policy_rule;
struct rbac_v1_role_ref;
struct req;
struct user;

/* What is to be decided; of a request or of an access review. */
struct authz_attributes {
    const struct user *user;
    const char *verb;
    bool resource_request;
    struct str group, version, resource, subresource, name, ns; /* Resource requests. */
    struct str field_selector, label_selector; /* Of lists and watches, in their text form. */
    struct str path;                           /* Others. */
    struct asks *asks; /* Where questions for webhooks are noted; NULL: none can be asked. */
    struct str *error; /* Set to what failed, if anything; NULL: not wanted. */
};

/* WAIT: a webhook has to be asked first, see ask.h. Only with asks. */
enum authz_decision { AUTHZ_NO_OPINION, AUTHZ_ALLOW, AUTHZ_DENY, AUTHZ_WAIT };

/* Takes the list. */
struct authz *authz_new(struct authz_list *list);
void authz_free(struct authz *z);
/* Others decide from now on: a file was changed. Takes the list. Any thread. */
void authz_replace(struct authz *z, struct authz_list *list);

/* Any thread. explain: give the reason of a permission as well. */
enum authz_decision authz_decide(const struct authz *z, struct arena *a,
                                 const struct authz_attributes *at, bool explain,
                                 struct str *ret_reason);
/* All rules that RBAC gives a user in a namespace, copied into a; *ret_error is
 * empty when they are all there are. */
size_t authz_rules_of(const struct authz *z, struct arena *a, const struct user *user,
                      struct str ns, struct rbac_v1_policy_rule **ret, struct str *ret_error);
/* The rules behind a role reference from ns; false: there is no such role. */
bool authz_role_rules(const struct authz *z, struct arena *a, struct str ns,
                      const struct rbac_v1_role_ref *ref, struct rbac_v1_policy_rule **ret,
                      size_t *ret_count);
bool authz_uses_rbac(const struct authz *z);

/* "User \"u\" cannot list resource \"pods\" in API group \"\" in the namespace \"n\"" */
struct str authz_forbidden_text(struct arena *a, const struct authz_attributes *at);
/* The 403 of a refusal. */
struct meta_v1_status *authz_forbidden(struct arena *a, const struct authz_attributes *at,
                                       struct str reason);

/* Of a request, as the real user or the impersonated one. */
void authz_attributes_of(const struct req *r, const struct user *user,
                         struct authz_attributes *ret);
/* NULL: allowed, as far as the index knows now. webhook_wait: see ask.h. */
struct meta_v1_status *authz_check(struct req *r);
/* Calls next once the request is allowed, else answers it. A refusal is given
 * only on an index that includes every write acknowledged before. */
void authz_check_then(struct req *r, void (*next)(struct req *r));

/* --- for the feed: one thread changes the index, under the lock ---------------------------- */
struct authz_index {
    struct rbac *rbac;
    struct node_graph *graph;
    /* Which revision the graph's pods are those of, at least: node_pods.h. */
    int64_t pods_rev;
    bool pods_partial; /* Some changes of a revision are in, others not yet. */
    bool pods_lack;    /* One could not be read. */
};
struct authz_index *authz_lock(struct authz *z);
void authz_unlock(struct authz *z);

/* --- for authorizers -------------------------------------------------------------------------- */
/* The Node authorizer: authz_node.c. */
enum authz_decision authz_node_decide(const struct node_graph *graph,
                                      const struct rbac_v1_policy_rule *rules, size_t rule_count,
                                      struct arena *a, const struct authz_attributes *at,
                                      struct str *ret_reason);

#endif
