/* pki_cert.c - certificates: reading, building, signing; see pki.h. */
#include "lib/net/pki_internal.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <string.h>
#include <time.h>

#define SECONDS_PER_DAY INT64_C(86400)

struct pki_cert *pki_cert_wrap(X509 *x509)
{
    struct pki_cert *c = xzalloc(sizeof(*c));
    atomic_init(&c->refs, 1);
    c->x509 = x509;
    c->arena = arena_new(1024);
    c->der = pki_der_of_x509(c->arena, x509);
    pki_name_read(c->arena, X509_get_subject_name(x509), &c->subject);
    struct pki_subject issuer = {0};
    pki_name_read(c->arena, X509_get_issuer_name(x509), &issuer);
    c->issuer = issuer.common_name;
    c->serial = pki_serial_read(c->arena, X509_get0_serialNumber(x509));
    GENERAL_NAMES *names = X509_get_ext_d2i(x509, NID_subject_alt_name, NULL, NULL);
    if (names != NULL)
        pki_alt_names_read(c->arena, names, &c->subject);
    GENERAL_NAMES_free(names);
    EXTENDED_KEY_USAGE *usage = X509_get_ext_d2i(x509, NID_ext_key_usage, NULL, NULL);
    if (usage != NULL)
        c->usages = pki_usages_read(usage);
    EXTENDED_KEY_USAGE_free(usage);
    c->not_before = pki_time_read(X509_get0_notBefore(x509));
    c->not_after = pki_time_read(X509_get0_notAfter(x509));
    ERR_clear_error();
    return c;
}

struct pki_cert *pki_cert_ref(struct pki_cert *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void pki_cert_unref(struct pki_cert *c)
{
    if (c == NULL || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    X509_free(c->x509);
    arena_free(c->arena);
    free(c);
}

int pki_cert_parse_der(struct str der, struct pki_cert **ret, struct error *err)
{
    const unsigned char *p = (const unsigned char *)der.data;
    X509 *x509 = d2i_X509(NULL, &p, (long)der.len);
    if (x509 == NULL)
        return pki_error(err, E_INVALID, "malformed certificate");
    *ret = pki_cert_wrap(x509);
    return 0;
}

struct pki_cert_collector {
    struct arena *arena; /* NULL: only the first is wanted. */
    struct pki_cert **certs;
    size_t count, cap;
    struct error *err;
};

static void pki_cert_release(void *cert)
{
    pki_cert_unref(cert);
}

static int pki_cert_collect(const char *type, struct str der, void *arg)
{
    struct pki_cert_collector *c = arg;
    if (strcmp(type, "CERTIFICATE") != 0)
        return 0;
    struct pki_cert *cert = NULL;
    int code = pki_cert_parse_der(der, &cert, c->err);
    if (code < 0)
        return code;
    if (c->arena == NULL) {
        c->certs[c->count++] = cert;
        return 1;
    }
    arena_hold(c->arena, cert, pki_cert_release);
    c->certs = arena_grow(c->arena, c->certs, c->count, &c->cap, sizeof(struct pki_cert *));
    c->certs[c->count++] = cert;
    return 0;
}

int pki_cert_parse(struct str pem, struct pki_cert **ret, struct error *err)
{
    struct pki_cert *cert = NULL;
    struct pki_cert_collector c = {.certs = &cert, .err = err};
    int code = pki_pem_each(pem, pki_cert_collect, &c, err);
    if (code < 0)
        return code;
    if (cert == NULL)
        return error_set(err, E_INVALID, "no certificate in PEM text");
    *ret = cert;
    return 0;
}

int pki_certs_parse(struct arena *a, struct str pem, struct pki_cert ***ret, size_t *ret_count,
                    struct error *err)
{
    struct pki_cert_collector c = {.arena = a, .err = err};
    int code = pki_pem_each(pem, pki_cert_collect, &c, err);
    if (code < 0)
        return code;
    if (c.count == 0)
        return error_set(err, E_INVALID, "no certificate in PEM text");
    *ret = c.certs;
    *ret_count = c.count;
    return 0;
}

struct pki_certs_count {
    size_t blocks;
    bool refused; /* err is set. */
    struct error *err;
};

static int pki_certs_count_block(const char *type, struct str der, void *arg)
{
    struct pki_certs_count *c = arg;
    const unsigned char *p = (const unsigned char *)der.data;
    c->refused = true;
    if (strcmp(type, "CERTIFICATE") != 0)
        return error_set(c->err, E_INVALID, "only CERTIFICATE PEM blocks are allowed, found \"%s\"",
                         type);
    X509 *x509 = d2i_X509(NULL, &p, (long)der.len);
    if (x509 == NULL) {
        ERR_clear_error();
        return error_set(c->err, E_INVALID, "x509: malformed certificate");
    }
    X509_free(x509);
    c->refused = false;
    c->blocks++;
    return 0;
}

int pki_certs_check(struct str pem, struct error *err)
{
    struct pki_certs_count c = {.err = err};
    int code = pki_pem_each(pem, pki_certs_count_block, &c, NULL);
    if (c.refused)
        return code;
    if (code == E_NOT_IMPLEMENTED)
        return error_set(err, E_INVALID, "no PEM block headers are permitted");
    if (c.blocks == 0)
        return error_set(err, E_INVALID, "must contain at least one CERTIFICATE PEM block");
    return 0;
}

void pki_cert_pem(const struct pki_cert *c, struct buf *b)
{
    pki_pem_write(b, "CERTIFICATE", c->der);
}

struct str pki_cert_der(const struct pki_cert *c)
{
    return c->der;
}

const struct pki_subject *pki_cert_subject(const struct pki_cert *c)
{
    return &c->subject;
}

struct str pki_cert_issuer_name(const struct pki_cert *c)
{
    return c->issuer;
}

bool pki_cert_is_ca(const struct pki_cert *c)
{
    return X509_check_ca(c->x509) == 1;
}

bool pki_cert_has_ca_bit(const struct pki_cert *c)
{
    return (X509_get_extension_flags(c->x509) & EXFLAG_CA) != 0;
}

unsigned pki_cert_usages(const struct pki_cert *c)
{
    return c->usages;
}

int64_t pki_cert_not_before(const struct pki_cert *c)
{
    return c->not_before;
}

int64_t pki_cert_not_after(const struct pki_cert *c)
{
    return c->not_after;
}

struct str pki_cert_serial(const struct pki_cert *c)
{
    return c->serial;
}

bool pki_cert_matches_key(const struct pki_cert *c, const struct pki_key *k)
{
    const EVP_PKEY *own = X509_get0_pubkey(c->x509);
    return own != NULL && EVP_PKEY_eq(own, k->evp) == 1;
}

bool pki_cert_matches_host(const struct pki_cert *c, const char *host)
{
    /* An address is never looked for among DNS names, nor the other way round. */
    if (X509_check_ip_asc(c->x509, host, 0) == 1)
        return true;
    return X509_check_host(c->x509, host, strlen(host), X509_CHECK_FLAG_NEVER_CHECK_SUBJECT,
                           NULL) == 1;
}

void pki_cert_key_hash(const struct pki_cert *c, char ret[72])
{
    unsigned char *der = NULL;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(c->x509), &der);
    ASSERT(len > 0);
    uint8_t hash[32];
    net_sha256(der, (size_t)len, hash);
    OPENSSL_free(der);
    memcpy(ret, "sha256:", 7);
    hex_encode_to(hash, sizeof(hash), ret + 7);
    ret[71] = '\0';
}

struct x509_st *pki_cert_x509(const struct pki_cert *c)
{
    return c->x509;
}

/* --- building --- */

static void pki_add_extension(X509 *x509, const X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, (X509 *)(uintptr_t)issuer, x509, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    ASSERT(e != NULL);
    X509_add_ext(x509, e, -1);
    X509_EXTENSION_free(e);
}

static void pki_add_key_usage(X509 *x509, unsigned key_usages)
{
    ASN1_BIT_STRING *bits = ASN1_BIT_STRING_new();
    ASSERT(bits != NULL);
    for (int i = 0; i < 9; i++)
        if ((key_usages & 1u << i) != 0)
            ASN1_BIT_STRING_set_bit(bits, i, 1);
    X509_add1_ext_i2d(x509, NID_key_usage, bits, 1, X509V3_ADD_DEFAULT);
    ASN1_BIT_STRING_free(bits);
}

static void pki_add_usages(X509 *x509, const X509 *issuer, unsigned usages)
{
    if ((usages & PKI_USAGE_SERVER) != 0 && (usages & PKI_USAGE_CLIENT) != 0)
        pki_add_extension(x509, issuer, NID_ext_key_usage, "serverAuth,clientAuth");
    else if ((usages & PKI_USAGE_SERVER) != 0)
        pki_add_extension(x509, issuer, NID_ext_key_usage, "serverAuth");
    else if ((usages & PKI_USAGE_CLIENT) != 0)
        pki_add_extension(x509, issuer, NID_ext_key_usage, "clientAuth");
}

static int pki_add_alt_names(X509 *x509, const struct pki_subject *subject, struct error *err)
{
    struct str bad;
    GENERAL_NAMES *names = pki_alt_names_build(subject, &bad);
    if (bad.data != NULL)
        return error_set(err, E_INVALID, "\"" STR_FMT "\" is not an IP address", STR_ARG(bad));
    if (names == NULL)
        return 0;
    /* RFC 5280: critical when the subject is empty. */
    bool no_subject = str_empty(subject->common_name) && subject->organization_count == 0;
    X509_add1_ext_i2d(x509, NID_subject_alt_name, names, no_subject, X509V3_ADD_DEFAULT);
    GENERAL_NAMES_free(names);
    return 0;
}

static void pki_set_validity(X509 *x509, const struct pki_cert_config *config,
                             const struct pki_cert *ca)
{
    int64_t now = (int64_t)time(NULL);
    int64_t from = config->not_before != 0 ? config->not_before : now - 300;
    int64_t days = config->is_ca ? 3650 : 365;
    int64_t to = config->not_after != 0 ? config->not_after : now + days * SECONDS_PER_DAY;
    if (ca != NULL) {
        from = MAX_OF(from, ca->not_before);
        to = MIN_OF(to, ca->not_after);
    }
    ASN1_TIME_set(X509_getm_notBefore(x509), (time_t)from);
    ASN1_TIME_set(X509_getm_notAfter(x509), (time_t)to);
}

static void pki_set_serial(X509 *x509)
{
    uint8_t random[16];
    int done = RAND_bytes(random, sizeof(random));
    ASSERT(done == 1);
    random[0] = (uint8_t)((random[0] & 0x7f) | 0x40); /* Positive, and of full length. */
    BIGNUM *number = BN_bin2bn(random, sizeof(random), NULL);
    ASSERT(number != NULL);
    BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x509));
    BN_free(number);
}

static unsigned pki_default_key_usages(bool is_ca)
{
    unsigned usages = PKI_KU_DIGITAL_SIGNATURE | PKI_KU_KEY_ENCIPHERMENT;
    return is_ca ? usages | PKI_KU_CERT_SIGN : usages;
}

/* ca NULL: self-signed. */
static int pki_build(const struct pki_cert_config *config, const struct pki_key *key,
                     const struct pki_cert *ca, const struct pki_key *signer, struct pki_cert **ret,
                     struct error *err)
{
    X509 *x509 = X509_new();
    X509_NAME *name = pki_name_build(&config->subject);
    ASSERT(x509 != NULL);
    X509_set_version(x509, X509_VERSION_3);
    pki_set_serial(x509);
    pki_set_validity(x509, config, ca);
    X509_set_subject_name(x509, name);
    X509_set_issuer_name(x509, ca != NULL ? X509_get_subject_name(ca->x509) : name);
    X509_set_pubkey(x509, key->evp);
    X509_NAME_free(name);
    const X509 *issuer = ca != NULL ? ca->x509 : x509;
    pki_add_key_usage(x509, config->key_usages != 0 ? config->key_usages
                                                    : pki_default_key_usages(config->is_ca));
    pki_add_usages(x509, issuer, config->usages);
    pki_add_extension(x509, issuer, NID_basic_constraints,
                      config->is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
    pki_add_extension(x509, issuer, NID_subject_key_identifier, "hash");
    if (ca != NULL)
        pki_add_extension(x509, issuer, NID_authority_key_identifier, "keyid");
    int code = pki_add_alt_names(x509, &config->subject, err);
    if (code == 0 && X509_sign(x509, signer->evp, EVP_sha256()) <= 0)
        code = pki_error(err, E_INVALID, "sign certificate");
    if (code < 0) {
        X509_free(x509);
        return code;
    }
    *ret = pki_cert_wrap(x509);
    return 0;
}

int pki_ca_create(const struct pki_cert_config *config, const struct pki_key *key,
                  struct pki_cert **ret, struct error *err)
{
    struct pki_cert_config ca_config = *config;
    ca_config.is_ca = true;
    return pki_build(&ca_config, key, NULL, key, ret, err);
}

int pki_cert_sign(const struct pki_cert_config *config, const struct pki_key *key,
                  const struct pki_cert *ca, const struct pki_key *ca_key, struct pki_cert **ret,
                  struct error *err)
{
    if (!pki_cert_matches_key(ca, ca_key))
        return error_set(err, E_INVALID, "the CA's key does not belong to its certificate");
    return pki_build(config, key, ca, ca_key, ret, err);
}
