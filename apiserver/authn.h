/* authn.h - who asks: client certificates, static tokens, bootstrap tokens,
 * service-account tokens, a front proxy's headers, or nobody.
 *
 * Shared by all threads: keys and static tokens are constant after start;
 * tokens are judged against the store's newest view, in place. */
#ifndef APISERVER_AUTHN_H
#define APISERVER_AUTHN_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct apiserver;
struct arena;
struct buf;
struct asks;
struct authn;
struct error;
struct jwt_set;
struct meta_v1_status;
struct pki_key;
struct req;
struct store_view;
struct user;

int authn_new(struct apiserver *s, struct authn **ret, struct error *err);
void authn_free(struct authn *a);

/* Whose tokens are taken, from the text of --authentication-config. */
int authn_parse_config(const struct authn *a, struct str text, struct jwt_set **ret,
                       struct error *err);
/* Other issuers from now on. Takes the set. Any thread. */
void authn_replace(struct authn *a, struct jwt_set *set);

/* Sets r->user or refuses with 401. webhook_wait: see ask.h. */
struct meta_v1_status *authn_request(struct req *r);
/* A WebSocket protocol that is a bearer token: this and its base64url form. */
#define WEBSOCKET_TOKEN_PREFIX "base64url.bearer.authorization.k8s.io."
/* Impersonate-* headers; sets r->user anew. */
struct meta_v1_status *authn_impersonate(struct req *r);

/* Judges one bearer token. E_UNAUTHORIZED with the reason; E_AGAIN: a question is
 * noted in asks. audiences: of which the token must name one; none: the
 * server's own. *ret_audiences (may be NULL): those of them the token is good for. */
int authn_token(struct authn *a, struct arena *arena, const struct store_view *view,
                struct asks *asks, struct str token, const struct str *audiences,
                size_t audience_count, struct user **ret, const struct str **ret_audiences,
                size_t *ret_audience_count, struct error *err);
/* NULL when tokens cannot be issued here. */
const struct pki_key *authn_signing_key(const struct authn *a);
struct str authn_issuer(const struct authn *a);
const struct str *authn_audiences(const struct authn *a, size_t *ret_count);
/* Public keys as a JSON Web Key set: /openid/v1/jwks. */
void authn_algorithms(const struct authn *a, struct buf *out); /* "ES256","RS256" */
int authn_jwks(const struct authn *a, struct buf *out, struct error *err);

#endif
