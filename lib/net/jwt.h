/* jwt.h - signed JSON web tokens: RS256/384/512, PS256/384/512, ES256/384/512.
 *
 * Only the signature and the shape are judged here; the claims are JSON text
 * for the caller. "none" and HMAC algorithms are refused. */
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
/* The key id upstream uses: base64url of SHA-256 over the public key's DER. */
void jwt_key_id(const struct pki_key *key, char ret[48]);
/* "RS256", "ES256", ...: what jwt_sign() would use. */
const char *jwt_algorithm(const struct pki_key *key);
/* The public key as a JSON web key object ("use":"sig", kid, alg). */
int jwt_key_jwk(const struct pki_key *key, struct buf *b, struct error *err);

#endif
