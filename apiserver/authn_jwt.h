/* authn_jwt.h - tokens of other issuers (OpenID Connect): whom to trust, and how
 * claims become a user.
 *
 * A set is immutable but for the keys of its issuers, which are looked up when
 * a token needs them; counted; any thread. */
#ifndef APISERVER_AUTHN_JWT_H
#define APISERVER_AUTHN_JWT_H

#include "apiserver/webhook_client.h"
#include "lib/api/cel/cel.h"
#include "lib/base/base.h"

#include <pthread.h>
#include <stdatomic.h>

struct asks;
struct json;
struct jwt;
struct pki_key;
struct user;

/* A claim with a prefix, or an expression. */
struct jwt_mapping {
    struct str claim, prefix;
    struct str expression;
    struct cel_program *program; /* NULL: the claim. */
};

struct jwt_extra {
    struct str key;
    struct jwt_mapping value;
};

/* A claim with a value, or an expression that must hold. */
struct jwt_rule {
    struct str claim, value;
    struct str expression, message;
    struct cel_program *program;
};

struct jwt_key {
    struct str id;
    struct pki_key *key;
};

struct jwt_issuer {
    struct str url;
    struct str *audiences;
    size_t audience_count;
    const char *const *algorithms; /* Ended by NULL; NULL: all that are supported. */
    struct jwt_mapping username, groups, uid;
    struct jwt_extra *extra;
    size_t extra_count;
    struct jwt_rule *claim_rules, *user_rules;
    size_t claim_rule_count, user_rule_count;
    struct webhook_target discovery; /* Its CA also of the keys. */
    struct str discovery_url;

    pthread_mutex_t lock; /* Of all below. */
    struct arena *arena;  /* Of what was found; a new one each time. */
    struct jwt_key *keys;
    size_t key_count;
    unsigned generation; /* Times that keys were looked up. */
    uint64_t tried_ms;
    bool failed; /* The last time. */
};

struct jwt_set {
    atomic_uint refs;
    struct arena *arena;
    struct jwt_issuer *issuers;
    size_t count;
    bool says_anonymous, anonymous; /* says: the file does, not the flag. */
    struct str *anonymous_paths;    /* None: all. */
    size_t anonymous_path_count;
};

struct jwt_set *jwt_set_new(void);
struct jwt_set *jwt_set_ref(struct jwt_set *s);
void jwt_set_unref(struct jwt_set *s); /* NULL is a no-op. */

extern const struct cel_env jwt_claims_env, jwt_user_env;

/* E_NOT_FOUND: of no issuer of the set. E_AGAIN: a question is noted in asks.
 * E_UNAUTHORIZED: err says why not. */
int jwt_set_user(struct jwt_set *s, struct arena *a, struct asks *asks, const struct jwt *jwt,
                 const struct json *claims, int64_t now_s, struct user **ret, struct error *err);

/* --- keys: authn_keys.c --- */
/* Did the issuer sign it? As jwt_set_user(). */
int jwt_issuer_verify(struct jwt_set *s, struct jwt_issuer *i, struct arena *a, struct asks *asks,
                      const struct jwt *jwt, struct error *err);
void jwt_issuer_done(struct jwt_issuer *i);
/* {"keys":[...]}; those of other uses and kinds are left out. */
int jwt_keys_parse(struct arena *a, struct str text, struct jwt_key **ret, size_t *ret_count,
                   struct error *err);

#endif
