/* pki.h - keys, certificates, signing requests and CA pools.
 *
 * Objects are immutable; keys, certificates and pools are reference-counted
 * and thread-safe. Blocking CPU work: a signature takes about 50 us. */
#ifndef NET_PKI_H
#define NET_PKI_H

#include "lib/base/base.h"
#include "lib/base/error.h"
#include "lib/base/str.h"

struct arena;
struct buf;
struct evp_pkey_st;
struct x509_st;
struct pki_cert;
struct pki_key;
struct pki_pool;

void net_sha256(const void *data, size_t len, uint8_t ret[32]);
void net_hmac_sha256(struct str key, struct str data, uint8_t ret[32]);
/* Compares without a timing hint. */
bool net_secret_eq(struct str a, struct str b);

/* --- keys --- */
enum pki_key_type {
    PKI_KEY_P256,
    PKI_KEY_P384,
    PKI_KEY_P521,
    PKI_KEY_ED25519,
    PKI_KEY_RSA2048,
    PKI_KEY_RSA3072,
    PKI_KEY_RSA4096,
};
/* RSA keys take long: 100 ms, or seconds. */
int pki_key_generate(enum pki_key_type type, struct pki_key **ret, struct error *err);
/* The first private or public key (also one of a certificate) in the text. */
int pki_key_parse(struct str pem, struct pki_key **ret, struct error *err);
/* Every key in the text: a service-account key file may hold several. Grows an
 * array in the arena, which holds the references. */
int pki_keys_parse(struct arena *a, struct str pem, struct pki_key ***ret, size_t *ret_count,
                   struct error *err);
/* Public keys by their numbers, big-endian as JSON web keys have them. Curves: P-256, P-384,
 * P-521. E_INVALID. */
int pki_key_rsa_public(struct str modulus, struct str exponent, struct pki_key **ret,
                       struct error *err);
int pki_key_ec_public(struct str curve, struct str x, struct str y, struct pki_key **ret,
                      struct error *err);
struct pki_key *pki_key_ref(struct pki_key *k);
void pki_key_unref(struct pki_key *k); /* NULL is a no-op. */
bool pki_key_is_private(const struct pki_key *k);
void pki_key_pem(const struct pki_key *k, struct buf *b); /* SEC1 "EC PRIVATE KEY" or PKCS#1. */
void pki_key_public_pem(const struct pki_key *k, struct buf *b); /* "PUBLIC KEY". */
void pki_key_pkcs8_pem(const struct pki_key *k, struct buf *b);  /* "PRIVATE KEY". */
/* A public key as a certificate has it: SubjectPublicKeyInfo. E_INVALID. */
int pki_key_parse_spki(struct str der, struct pki_key **ret, struct error *err);

enum pki_key_kind { PKI_KIND_RSA, PKI_KIND_EC, PKI_KIND_ED25519, PKI_KIND_OTHER };
struct pki_key_form {
    enum pki_key_kind kind;
    unsigned bits;
    char curve[32]; /* "P-256"; of others as OpenSSL names them. */
};
struct pki_key_form pki_key_form(const struct pki_key *k);
/* That who sent data holds the key: of Ed25519 a plain signature, of others one of SHA-256, RSA
 * with PSS. */
bool pki_proof_ok(const struct pki_key *k, struct str data, struct str signature);
void pki_key_spki_sha256(const struct pki_key *k, uint8_t ret[32]);
struct evp_pkey_st *pki_key_evp(const struct pki_key *k); /* Borrowed. */

/* --- PEM --- */
struct pki_block {
    const char *type; /* "CERTIFICATE" */
    bool headers;     /* Between the first line and the data. */
    struct str der;
};
/* Calls each() for every block, until it returns false; what is no well-formed block is passed
 * over, as by Go's decoder. Text of up to INT_MAX bytes. */
void pki_pem_walk(struct str pem, bool (*each)(const struct pki_block *b, void *arg), void *arg);
/* One block. */
void pki_pem_write(struct buf *b, const char *type, struct str der);

/* --- certificates --- */
enum { /* Extended key usages. */
       PKI_USAGE_SERVER = 1,
       PKI_USAGE_CLIENT = 2,
       PKI_USAGE_OTHER = 4, /* Read only: any that has no name here. */
};
enum { /* Key usages, by their X.509 names. */
       PKI_KU_DIGITAL_SIGNATURE = 1 << 0,
       PKI_KU_CONTENT_COMMITMENT = 1 << 1,
       PKI_KU_KEY_ENCIPHERMENT = 1 << 2,
       PKI_KU_DATA_ENCIPHERMENT = 1 << 3,
       PKI_KU_KEY_AGREEMENT = 1 << 4,
       PKI_KU_CERT_SIGN = 1 << 5,
       PKI_KU_CRL_SIGN = 1 << 6,
};

struct pki_subject {
    struct str common_name;
    const struct str *organizations;
    size_t organization_count;
    const struct str *dns_names;
    size_t dns_name_count;
    const struct str *ip_addresses; /* Text. */
    size_t ip_address_count;
    const struct str *uris; /* Filled by parsing, too. */
    size_t uri_count;
    const struct str *emails;
    size_t email_count;
};

struct pki_cert_config {
    struct pki_subject subject;
    bool is_ca;
    unsigned usages;     /* PKI_USAGE_*. */
    unsigned key_usages; /* PKI_KU_*; 0: digitalSignature and keyEncipherment, or for a CA these
                          * and certSign. */
    int64_t not_before;  /* Seconds since the epoch; 0: now less five minutes. */
    int64_t not_after;   /* 0: one year (ten for a CA) from now. */
};

/* Self-signed. */
int pki_ca_create(const struct pki_cert_config *config, const struct pki_key *key,
                  struct pki_cert **ret, struct error *err);
/* key: the subject's public key. The validity is cut to the issuer's. */
int pki_cert_sign(const struct pki_cert_config *config, const struct pki_key *key,
                  const struct pki_cert *ca, const struct pki_key *ca_key, struct pki_cert **ret,
                  struct error *err);
int pki_cert_parse(struct str pem, struct pki_cert **ret, struct error *err); /* The first one. */
int pki_cert_parse_der(struct str der, struct pki_cert **ret, struct error *err);
/* Every certificate in the text; the arena holds the references. */
int pki_certs_parse(struct arena *a, struct str pem, struct pki_cert ***ret, size_t *ret_count,
                    struct error *err);
struct pki_cert *pki_cert_ref(struct pki_cert *c);
void pki_cert_unref(struct pki_cert *c); /* NULL is a no-op. */
void pki_cert_pem(const struct pki_cert *c, struct buf *b);
struct str pki_cert_der(const struct pki_cert *c);
const struct pki_subject *pki_cert_subject(const struct pki_cert *c);
struct str pki_cert_issuer_name(const struct pki_cert *c); /* Its common name. */
bool pki_cert_is_ca(const struct pki_cert *c);
bool pki_cert_has_ca_bit(const struct pki_cert *c); /* Whatever its key usages say. */
unsigned pki_cert_usages(const struct pki_cert *c);
int64_t pki_cert_not_before(const struct pki_cert *c);
int64_t pki_cert_not_after(const struct pki_cert *c);
struct str pki_cert_serial(const struct pki_cert *c); /* Decimal. */
bool pki_cert_matches_key(const struct pki_cert *c, const struct pki_key *k);
bool pki_cert_matches_host(const struct pki_cert *c, const char *host); /* DNS name or address. */
/* "sha256:<hex>" of the public key: kubeadm's discovery-token-ca-cert-hash. */
void pki_cert_key_hash(const struct pki_cert *c, char ret[72]);
struct x509_st *pki_cert_x509(const struct pki_cert *c); /* Borrowed. */

/* Whether the text holds certificates and no other PEM blocks. E_INVALID, with
 * what Kubernetes says of a signed certificate. */
int pki_certs_check(struct str pem, struct error *err);
/* Whether the first certificate and the first private key of two PEM texts are
 * a pair. E_INVALID, with what Go's tls.X509KeyPair says. */
int pki_pair_check(struct str cert_pem, struct str key_pem, struct error *err);

/* --- signing requests --- */
struct pki_csr {
    struct pki_subject subject;
    unsigned key_usages; /* Requested; 0 if none stated. */
    unsigned usages;
    struct pki_key *key; /* The public key; the arena holds it. */
};
int pki_csr_create(const struct pki_subject *subject, const struct pki_key *key,
                   struct buf *ret_pem, struct error *err);
int pki_csr_create_der(const struct pki_subject *subject, const struct pki_key *key,
                       struct buf *ret_der, struct error *err);
/* Checks the self-signature (E_UNAUTHORIZED: of the _der form it alone is wrong). Everything
 * lives in the arena. */
int pki_csr_parse(struct arena *a, struct str pem, struct pki_csr *ret, struct error *err);
int pki_csr_parse_der(struct arena *a, struct str der, struct pki_csr *ret, struct error *err);
/* Signs what was parsed: subject and names from the request, the rest from
 * config (whose subject is ignored). */
int pki_csr_sign(const struct pki_csr *csr, const struct pki_cert_config *config,
                 const struct pki_cert *ca, const struct pki_key *ca_key, struct pki_cert **ret,
                 struct error *err);

/* --- trust --- */
int pki_pool_new(struct str ca_pem, struct pki_pool **ret, struct error *err);
struct pki_pool *pki_pool_ref(struct pki_pool *p);
void pki_pool_unref(struct pki_pool *p); /* NULL is a no-op. */
/* Does leaf (DER), with these intermediates, chain to the pool, now, and may it
 * be used as PKI_USAGE_*? E_UNAUTHORIZED with the reason. */
int pki_pool_verify(const struct pki_pool *p, struct str leaf_der, const struct str *chain_der,
                    size_t chain_count, unsigned usage, struct error *err);

#endif
