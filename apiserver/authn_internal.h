/* authn_internal.h - shared by authn*.c. */
#ifndef APISERVER_AUTHN_INTERNAL_H
#define APISERVER_AUTHN_INTERNAL_H

#include "apiserver/authn.h"
#include "apiserver/user.h"

#include <pthread.h>
#include <stdio.h>

struct static_token {
    struct str token;
    struct user user;
};

struct authn {
    struct arena *arena;
    struct apiserver *server;
    struct static_token *tokens;
    size_t token_count;
    struct pki_key *signing; /* NULL: no tokens are issued. */
    struct pki_key **keys;   /* That verify. */
    size_t key_count;
    struct str *issuers; /* The first one is named in tokens. */
    size_t issuer_count;
    struct str *audiences;
    size_t audience_count;
    bool bootstrap_tokens;
    bool anonymous;
    bool legacy_lookup;            /* Tokens of secrets are good only while those are there. */
    struct authn_webhook *webhook; /* NULL: none. */
    pthread_mutex_t lock;          /* Of the next one. */
    struct jwt_set *jwt;           /* Other issuers; never NULL. */
    struct pki_pool *proxy_pool;
    struct str *proxy_names, *proxy_users, *proxy_uids, *proxy_groups, *proxy_extras;
    size_t proxy_name_count, proxy_user_count, proxy_uid_count, proxy_group_count,
        proxy_extra_count;
};

/* A reference to the issuers as they are now. */
struct jwt_set *authn_jwt_set(struct authn *n);
/* A user in these groups and system:authenticated. */
struct user *authn_user(struct arena *a, struct str name, const struct str *groups, size_t count);
/* Headers: names are compared without regard to case. */
struct http_header;
bool authn_header_is(const struct http_header *h, struct str name);
bool authn_extra_key(struct arena *a, const struct http_header *h, struct str prefix,
                     struct str *ret);
void authn_add_extra(struct arena *a, struct user *u, struct str key, struct str value);
size_t authn_split(struct arena *a, struct str list, struct str **ret);

#endif
