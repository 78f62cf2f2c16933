/* rbac_policy_table.h - the form in which the built-in roles are written down;
 * shared by rbac_policy*.c. Lists are divided by commas; the core group is "". */
#ifndef APISERVER_RBAC_POLICY_TABLE_H
#define APISERVER_RBAC_POLICY_TABLE_H

#include "apiserver/features.h"

struct policy_rule {
    const char *verbs; /* NULL ends the list. */
    const char *groups, *resources;
    const char *names; /* NULL: any. */
    const char *urls;  /* NULL: a rule of resources. */
    enum feature needs;
};

struct policy_role {
    const char *name; /* NULL ends the list. */
    const struct policy_rule *rules;
    const char *aggregate_to;   /* "edit": is gathered by that role. */
    const char *aggregate_from; /* "edit": gathers those marked so; it has no rules of its own. */
    const char *ns;             /* NULL: a ClusterRole. */
    enum feature needs;
};

#define READ "get,list,watch"
#define WRITE "create,delete,deletecollection,patch,update"
#define READ_WRITE READ "," WRITE
#define READ_UPDATE READ ",patch,update"

#define EVENTS                                                                                     \
    {                                                                                              \
        "create,patch,update", ",events.k8s.io", "events"                                          \
    }
#define RULES(...)                                                                                 \
    (const struct policy_rule[])                                                                   \
    {                                                                                              \
        __VA_ARGS__,                                                                               \
        {                                                                                          \
            NULL                                                                                   \
        }                                                                                          \
    }
#define URLS(list)                                                                                 \
    {                                                                                              \
        "get", NULL, NULL, NULL, list                                                              \
    }

extern const struct policy_role policy_user_roles[];       /* People and parts of the system. */
extern const struct policy_role policy_controller_roles[]; /* Each bound to its account. */
extern const struct policy_role policy_namespace_roles[];
extern const struct policy_role policy_own_roles[]; /* trireme:... */

#endif
