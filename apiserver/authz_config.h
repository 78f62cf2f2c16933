/* authz_config.h - who decides, in order: from an AuthorizationConfiguration of
 * apiserver.config.k8s.io, or from flags. */
#ifndef APISERVER_AUTHZ_CONFIG_H
#define APISERVER_AUTHZ_CONFIG_H

#include "apiserver/authz_webhook.h"

#define AUTHORIZERS_MAX 64u

struct authz_entry {
    struct str type; /* "Node", "RBAC", "AlwaysAllow", "AlwaysDeny", "Webhook" */
    struct str name;
    struct authz_webhook *webhook; /* Of type Webhook. */
};

struct authz_list {
    struct arena *arena;
    struct authz_entry items[AUTHORIZERS_MAX];
    size_t count;
};

struct authz_flags {
    const char *modes; /* Comma list of --authorization-mode. */
    const char *webhook_file, *webhook_version;
    int64_t allowed_ttl_ns, refused_ttl_ns;
};

/* Both read files (kubeconfigs) and say what is wrong where. */
int authz_list_of_flags(const struct authz_flags *f, struct authz_list **ret, struct error *err);
int authz_list_parse(struct str text, struct authz_list **ret, struct error *err);
void authz_list_free(struct authz_list *l); /* NULL is a no-op. */

#endif
