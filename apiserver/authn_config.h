/* authn_config.h - whose tokens are taken: an AuthenticationConfiguration of
 * apiserver.config.k8s.io, or the flags --oidc-*. */
#ifndef APISERVER_AUTHN_CONFIG_H
#define APISERVER_AUTHN_CONFIG_H

#include "lib/base/flags.h"
#include "lib/base/str.h"

struct jwt_set;

struct oidc_flags {
    const char *issuer_url, *client_id, *ca_file;
    const char *username_claim, *username_prefix, *groups_claim, *groups_prefix;
    struct flag_list signing_algs, required_claims;
};

/* own: issuers of the server's own tokens, which no other may have. */
int authn_config_parse(struct str text, const struct str *own, size_t own_count,
                       struct jwt_set **ret, struct error *err);
/* An empty set when no issuer is given. */
int authn_config_of_flags(const struct oidc_flags *f, const struct str *own, size_t own_count,
                          struct jwt_set **ret, struct error *err);

#endif
