/* seal.h - bytes encrypted under a key that is given, in the forms in which
 * Kubernetes stores them. Pure but for randomness; any thread.
 *
 *   AES-CBC     iv[16] | text, padded as PKCS #7 says; not authenticated
 *   AES-GCM     nonce[12] | text | tag[16]; bound to bytes given beside it
 *   secretbox   nonce[24] | tag[16] | text; XSalsa20 and Poly1305, as NaCl */
#ifndef NET_SEAL_H
#define NET_SEAL_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct buf;
struct error;

enum seal_form { SEAL_AES_CBC, SEAL_AES_GCM, SEAL_SECRETBOX };

/* 16, 24 or 32 bytes for AES, 32 for secretbox. */
bool seal_key_fits(enum seal_form form, size_t key_len);
/* Appends to out. bound: what AES-GCM authenticates beside the text. */
void seal(enum seal_form form, struct str key, struct str text, struct str bound, struct buf *out);
/* Appends the text. E_INVALID, out unchanged: another key, or damage. */
int unseal(enum seal_form form, struct str key, struct str sealed, struct str bound,
           struct buf *out, struct error *err);

/* With a nonce of 24 bytes; for tests. */
void seal_secretbox(const uint8_t key[32], const uint8_t nonce[24], struct str text,
                    struct buf *out);

#endif
