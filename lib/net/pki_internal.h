/* pki_internal.h - what the pki_*.c and tls*.c files share. */
#ifndef NET_PKI_INTERNAL_H
#define NET_PKI_INTERNAL_H

#include "lib/net/pki.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>

struct pki_key {
    atomic_uint refs;
    EVP_PKEY *evp;
    bool is_private;
};

struct pki_cert {
    atomic_uint refs;
    X509 *x509;
    struct arena *arena; /* Owns what the fields below point to. */
    struct str der;
    struct pki_subject subject;
    struct str issuer;
    struct str serial;
    unsigned usages;
    int64_t not_before, not_after;
};

/* Sets err to "what: OpenSSL's reason", empties OpenSSL's queue, returns code. */
int pki_error(struct error *err, int code, const char *what);

/* Calls each(type, DER) for every PEM block whose type the callee wants; stops
 * when it returns non-zero and returns that. E_INVALID: malformed PEM;
 * E_NOT_IMPLEMENTED: a block with headers. */
int pki_pem_each(struct str pem, int (*each)(const char *type, struct str der, void *arg),
                 void *arg, struct error *err);

/* A new reference to a key. NULL evp: NULL. Takes evp over. */
struct pki_key *pki_key_wrap(EVP_PKEY *evp, bool is_private);
struct pki_cert *pki_cert_wrap(X509 *x509); /* Takes it over. */

/* Reading names, extensions and times. */
void pki_name_read(struct arena *a, const X509_NAME *name, struct pki_subject *ret);
/* All values of one attribute, in order. */
const struct str *pki_name_values(struct arena *a, const X509_NAME *name, int nid,
                                  size_t *ret_count);
void pki_alt_names_read(struct arena *a, const GENERAL_NAMES *names, struct pki_subject *ret);
unsigned pki_usages_read(const EXTENDED_KEY_USAGE *usage);
unsigned pki_key_usages_read(const ASN1_BIT_STRING *bits);
int64_t pki_time_read(const ASN1_TIME *t);
struct str pki_serial_read(struct arena *a, const ASN1_INTEGER *serial);
struct str pki_der_of_x509(struct arena *a, const X509 *x509);

/* Building them. */
X509_NAME *pki_name_build(const struct pki_subject *subject);
/* NULL with *ret_bad set: an IP address that is none. NULL otherwise: no names. */
GENERAL_NAMES *pki_alt_names_build(const struct pki_subject *subject, struct str *ret_bad);

#endif
