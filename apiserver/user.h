/* user.h - who a request comes from, once authenticated. Plain data in the
 * request's arena. */
#ifndef APISERVER_USER_H
#define APISERVER_USER_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct user_extra {
    struct str key;
    const struct str *values;
    size_t count;
};

struct user {
    struct str name;
    struct str uid;
    const struct str *groups;
    size_t group_count;
    const struct user_extra *extra;
    size_t extra_count;
    /* The Secret whose token it came with, when its use is to be noted (token_use.h). */
    struct str secret_ns, secret_name;
};

/* Texts that grow in an arena: warnings. */
struct str_list {
    struct arena *arena;
    struct str *items;
    size_t count, cap;
};

bool user_in_group(const struct user *u, const char *group);
bool user_is_node(const struct user *u);
/* The NAME of a node identity (user system:node:NAME in group system:nodes), else empty. */
struct str user_node_name(const struct user *u);
/* Both parts of system:serviceaccount:NS:NAME; false for other users. */
bool user_service_account(const struct user *u, struct str *ret_ns, struct str *ret_name);
/* The node that the token of a service account is bound to (by the pod that it
 * was made for), when there is one and it is a node's name; else empty. */
struct str user_bound_node(const struct user *u);
/* Adds a text once. */
void str_list_add(struct str_list *l, struct str text);

#define GROUP_MASTERS "system:masters"
#define GROUP_AUTHENTICATED "system:authenticated"
#define GROUP_UNAUTHENTICATED "system:unauthenticated"
#define GROUP_NODES "system:nodes"
#define GROUP_BOOTSTRAPPERS "system:bootstrappers"
#define USER_ANONYMOUS "system:anonymous"

#endif
