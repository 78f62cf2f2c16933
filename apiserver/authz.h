/* authz.h - who may do what: a chain of authorizers, first opinion wins.
 *
 * Each one allows, or has no opinion; when none has one the answer is 403. */
#ifndef APISERVER_AUTHZ_H
#define APISERVER_AUTHZ_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct arena;
struct meta_v1_status;
struct req;
struct store_view;
struct user;
struct apiserver;

/* What is to be decided; of a request or of an access review. */
struct authz_attributes {
    const struct user *user;
    const char *verb;
    bool resource_request;
    struct str group, version, resource, subresource, name, ns; /* Resource requests. */
    struct str path;                                            /* Others. */
};

enum authz_decision { AUTHZ_NO_OPINION, AUTHZ_ALLOW, AUTHZ_DENY };

struct authorizer {
    const char *name;
    enum authz_decision (*decide)(const struct apiserver *s, struct arena *a,
                                  const struct store_view *view, const struct authz_attributes *at,
                                  struct str *ret_reason);
};
/* In order, ended by one without a name. */
extern const struct authorizer authorizers[];

/* NULL: allowed. */
struct meta_v1_status *authz_check(struct req *r);
enum authz_decision authz_decide(const struct apiserver *s, struct arena *a,
                                 const struct store_view *view, const struct authz_attributes *at,
                                 struct str *ret_reason);
/* "User \"u\" cannot list resource \"pods\" in API group \"\" in the namespace \"n\"" */
struct str authz_forbidden_text(struct arena *a, const struct authz_attributes *at);

#endif
