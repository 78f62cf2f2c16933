/* jwt.h - signed JSON web tokens: RS256/384/512, PS256/384/512, ES256/384/512.
 *
 * Only the signature and the shape are judged here; the claims are JSON text
 * for the caller. "none" is refused, and so are HMAC algorithms where a key pair is
 * given: a secret has functions of its own, so that no public key is taken for one. */
#ifndef NET_JWT_H
#define NET_JWT_H

#include "lib/base/base.h"
#include "lib/base/error.h"
#include "lib/base/str.h"

struct arena;
struct buf;
struct pki_key;

#define JWT_BYTES_MAX 65536

struct jwt {
    struct str algorithm; /* "RS256" */
    struct str key_id;    /* "kid", empty if absent. */
    struct str payload;   /* The claims: JSON text, not yet parsed. */
    struct str signed_part;
    struct str signature; /* Decoded. */
};

/* Splits and decodes into the arena; checks nothing but form. E_INVALID. */
int jwt_parse(struct arena *a, struct str token, struct jwt *ret, struct error *err);
/* E_UNAUTHORIZED unless the key made this signature with the stated algorithm
 * and the algorithm suits the key. */
int jwt_verify(const struct jwt *t, const struct pki_key *key, struct error *err);
/* ES256/384/512 or RS256 by the key's type, with this key's id. */
int jwt_sign(const struct pki_key *key, struct str payload_json, struct buf *ret_token,
             struct error *err);
/* By one of the algorithms above, without a key id. E_INVALID when it does not suit. */
int jwt_sign_as(const struct pki_key *key, const char *algorithm, struct str payload_json,
                struct buf *ret_token, struct error *err);
bool jwt_key_suits(const struct pki_key *key, const char *algorithm);
/* With a shared secret: HS256, HS384, HS512. */
bool jwt_hmac_known(const char *algorithm);
int jwt_hmac_sign(struct str secret, const char *algorithm, struct str payload_json,
                  struct buf *ret_token, struct error *err);
/* E_UNAUTHORIZED unless the secret made this signature with the stated algorithm. */
int jwt_hmac_verify(const struct jwt *t, struct str secret, struct error *err);
/* The key id upstream uses: base64url of SHA-256 over the public key's DER. */
void jwt_key_id(const struct pki_key *key, char ret[48]);
/* "RS256", "ES256", ...: what jwt_sign() would use. */
const char *jwt_algorithm(const struct pki_key *key);
/* The public key as a JSON web key object ("use":"sig", kid, alg). */
int jwt_key_jwk(const struct pki_key *key, struct buf *b, struct error *err);

#endif
