/* pki_csr.c - PKCS#10 signing requests; see pki.h. */
#include "lib/net/pki_internal.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include <limits.h>
#include <openssl/err.h>
#include <string.h>

static int pki_csr_add_names(X509_REQ *req, const struct pki_subject *subject, struct error *err)
{
    struct str bad;
    GENERAL_NAMES *names = pki_alt_names_build(subject, &bad);
    if (bad.data != NULL)
        return error_set(err, E_INVALID, "\"" STR_FMT "\" is not an IP address", STR_ARG(bad));
    if (names == NULL)
        return 0;
    STACK_OF(X509_EXTENSION) *extensions = NULL;
    X509V3_add1_i2d(&extensions, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT);
    X509_REQ_add_extensions(req, extensions);
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    GENERAL_NAMES_free(names);
    return 0;
}

/* Ed25519 hashes by itself; curves take the hash of their size. */
static const EVP_MD *pki_csr_hash(const struct pki_key *key)
{
    struct pki_key_form f = pki_key_form(key);
    if (f.kind == PKI_KIND_ED25519)
        return NULL;
    if (f.kind == PKI_KIND_EC && f.bits > 384)
        return EVP_sha512();
    return f.kind == PKI_KIND_EC && f.bits > 256 ? EVP_sha384() : EVP_sha256();
}

int pki_csr_create_der(const struct pki_subject *subject, const struct pki_key *key,
                       struct buf *ret_der, struct error *err)
{
    X509_REQ *req = X509_REQ_new();
    X509_NAME *name = pki_name_build(subject);
    unsigned char *der = NULL;
    ASSERT(req != NULL);
    X509_REQ_set_version(req, X509_REQ_VERSION_1);
    X509_REQ_set_subject_name(req, name);
    X509_REQ_set_pubkey(req, key->evp);
    int code = pki_csr_add_names(req, subject, err);
    if (code == 0 && X509_REQ_sign(req, key->evp, pki_csr_hash(key)) <= 0)
        code = pki_error(err, E_INVALID, "sign certificate request");
    if (code == 0) {
        int len = i2d_X509_REQ(req, &der);
        ASSERT(len > 0);
        buf_append(ret_der, der, (size_t)len);
    }
    OPENSSL_free(der);
    X509_NAME_free(name);
    X509_REQ_free(req);
    return code;
}

int pki_csr_create(const struct pki_subject *subject, const struct pki_key *key,
                   struct buf *ret_pem, struct error *err)
{
    AUTO_BUF der = BUF_INIT;
    int code = pki_csr_create_der(subject, key, &der, err);
    if (code == 0)
        pki_pem_write(ret_pem, "CERTIFICATE REQUEST", buf_str(&der));
    return code;
}

static int pki_csr_find(const char *type, struct str der, void *arg)
{
    X509_REQ **ret = arg;
    if (strcmp(type, "CERTIFICATE REQUEST") != 0 && strcmp(type, "NEW CERTIFICATE REQUEST") != 0)
        return 0;
    const unsigned char *p = (const unsigned char *)der.data;
    *ret = d2i_X509_REQ(NULL, &p, (long)der.len);
    return 1;
}

static void pki_csr_read_extensions(struct arena *a, X509_REQ *req, struct pki_csr *ret)
{
    STACK_OF(X509_EXTENSION) *extensions = X509_REQ_get_extensions(req);
    GENERAL_NAMES *names = X509V3_get_d2i(extensions, NID_subject_alt_name, NULL, NULL);
    if (names != NULL)
        pki_alt_names_read(a, names, &ret->subject);
    GENERAL_NAMES_free(names);
    ASN1_BIT_STRING *bits = X509V3_get_d2i(extensions, NID_key_usage, NULL, NULL);
    if (bits != NULL)
        ret->key_usages = pki_key_usages_read(bits);
    ASN1_BIT_STRING_free(bits);
    EXTENDED_KEY_USAGE *usage = X509V3_get_d2i(extensions, NID_ext_key_usage, NULL, NULL);
    if (usage != NULL)
        ret->usages = pki_usages_read(usage);
    EXTENDED_KEY_USAGE_free(usage);
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
}

static void pki_csr_release_key(void *key)
{
    pki_key_unref(key);
}

static int pki_csr_read(struct arena *a, X509_REQ *req, struct pki_csr *ret, struct error *err)
{
    EVP_PKEY *evp = X509_REQ_get_pubkey(req);
    if (evp == NULL)
        return pki_error(err, E_INVALID, "unusable public key in certificate request");
    struct pki_csr csr = {.key = pki_key_wrap(evp, false)};
    arena_hold(a, csr.key, pki_csr_release_key);
    if (X509_REQ_verify(req, evp) != 1)
        return pki_error(err, E_UNAUTHORIZED, "the signature of the certificate request is wrong");
    pki_name_read(a, X509_REQ_get_subject_name(req), &csr.subject);
    pki_csr_read_extensions(a, req, &csr);
    ERR_clear_error();
    *ret = csr;
    return 0;
}

int pki_csr_parse(struct arena *a, struct str pem, struct pki_csr *ret, struct error *err)
{
    X509_REQ *req = NULL;
    int code = pki_pem_each(pem, pki_csr_find, &req, err);
    if (code < 0)
        return code;
    if (req == NULL)
        return pki_error(err, E_INVALID,
                         "PEM block type must be CERTIFICATE REQUEST, with a well-formed request");
    code = pki_csr_read(a, req, ret, err);
    X509_REQ_free(req);
    return code;
}

int pki_csr_parse_der(struct arena *a, struct str der, struct pki_csr *ret, struct error *err)
{
    const unsigned char *p = (const unsigned char *)der.data;
    X509_REQ *req = der.len <= LONG_MAX ? d2i_X509_REQ(NULL, &p, (long)der.len) : NULL;
    if (req == NULL || (size_t)(p - (const unsigned char *)der.data) != der.len) {
        X509_REQ_free(req);
        return pki_error(err, E_INVALID, "not a well-formed PKCS#10 request");
    }
    int code = pki_csr_read(a, req, ret, err);
    X509_REQ_free(req);
    return code;
}

int pki_csr_sign(const struct pki_csr *csr, const struct pki_cert_config *config,
                 const struct pki_cert *ca, const struct pki_key *ca_key, struct pki_cert **ret,
                 struct error *err)
{
    struct pki_cert_config full = *config;
    full.subject = csr->subject;
    return pki_cert_sign(&full, csr->key, ca, ca_key, ret, err);
}
