/* pki_key.c - private and public keys, HMAC, PEM framing; see pki.h. */
#include "lib/net/pki_internal.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <string.h>

void net_hmac_sha256(struct str key, struct str data, uint8_t ret[32])
{
    ASSERT(key.len <= INT_MAX);
    unsigned len = 32;
    const void *p = HMAC(EVP_sha256(), str_c(key), (int)key.len, (const uint8_t *)str_c(data),
                         data.len, ret, &len);
    ASSERT(p != NULL && len == 32);
}

bool net_secret_eq(struct str a, struct str b)
{
    return a.len == b.len && CRYPTO_memcmp(str_c(a), str_c(b), a.len) == 0;
}

int pki_error(struct error *err, int code, const char *what)
{
    unsigned long number = ERR_get_error();
    const char *reason = number != 0 ? ERR_reason_error_string(number) : NULL;
    ERR_clear_error();
    if (reason == NULL)
        return error_set(err, code, "%s", what);
    return error_set(err, code, "%s: %s", what, reason);
}

int pki_pem_each(struct str pem, int (*each)(const char *type, struct str der, void *arg),
                 void *arg, struct error *err)
{
    if (pem.len > INT_MAX)
        return error_set(err, E_TOO_LARGE, "PEM text of %zu bytes", pem.len);
    BIO *bio = BIO_new_mem_buf(str_c(pem), (int)pem.len);
    ASSERT(bio != NULL);
    int code = 0;
    while (code == 0) {
        char *type = NULL, *header = NULL;
        unsigned char *der = NULL;
        long len = 0;
        if (PEM_read_bio(bio, &type, &header, &der, &len) != 1) {
            /* Text without a further block is the normal end. */
            if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
                code = pki_error(err, E_INVALID, "malformed PEM");
            ERR_clear_error();
            break;
        }
        if (header[0] != '\0')
            code = error_set(err, E_NOT_IMPLEMENTED, "encrypted PEM block \"%s\" is not supported",
                             type);
        else
            code = each(type, str_n((const char *)der, (size_t)len), arg);
        OPENSSL_cleanse(der, (size_t)len);
        OPENSSL_free(type);
        OPENSSL_free(header);
        OPENSSL_free(der);
    }
    BIO_free(bio);
    return code;
}

void pki_pem_walk(struct str pem, bool (*each)(const struct pki_block *b, void *arg), void *arg)
{
    ASSERT(pem.len <= INT_MAX);
    BIO *bio = BIO_new_mem_buf(str_c(pem), (int)pem.len);
    ASSERT(bio != NULL);
    bool more = true;
    while (more) {
        char *type = NULL, *header = NULL;
        unsigned char *der = NULL;
        long len = 0;
        if (PEM_read_bio(bio, &type, &header, &der, &len) == 1) {
            struct pki_block b = {type, header[0] != '\0', str_n((const char *)der, (size_t)len)};
            more = each(&b, arg);
            OPENSSL_cleanse(der, (size_t)len);
            OPENSSL_free(type);
            OPENSSL_free(header);
            OPENSSL_free(der);
        } else {
            /* Behind a broken block the search goes on; each try takes a line at least. */
            more = ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE;
        }
        ERR_clear_error();
    }
    BIO_free(bio);
}

void pki_pem_write(struct buf *b, const char *type, struct str der)
{
    BIO *bio = BIO_new(BIO_s_mem());
    ASSERT(bio != NULL);
    int written = PEM_write_bio(bio, type, "", (const unsigned char *)der.data, (long)der.len);
    ASSERT(written > 0);
    char *text = NULL;
    long len = BIO_get_mem_data(bio, &text);
    buf_append(b, text, (size_t)len);
    BIO_free(bio);
}

struct pki_key *pki_key_wrap(EVP_PKEY *evp, bool is_private)
{
    if (evp == NULL)
        return NULL;
    struct pki_key *k = xmalloc(sizeof(*k));
    atomic_init(&k->refs, 1);
    k->evp = evp;
    k->is_private = is_private;
    return k;
}

struct pki_key *pki_key_ref(struct pki_key *k)
{
    atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);
    return k;
}

void pki_key_unref(struct pki_key *k)
{
    if (k == NULL || atomic_fetch_sub_explicit(&k->refs, 1, memory_order_acq_rel) != 1)
        return;
    EVP_PKEY_free(k->evp);
    free(k);
}

int pki_key_generate(enum pki_key_type type, struct pki_key **ret, struct error *err)
{
    static const struct {
        const char *curve; /* NULL: RSA, or Ed25519 with no bits. */
        unsigned bits;
    } forms[] = {[PKI_KEY_P256] = {.curve = "P-256"}, [PKI_KEY_P384] = {.curve = "P-384"},
                 [PKI_KEY_P521] = {.curve = "P-521"}, [PKI_KEY_ED25519] = {0},
                 [PKI_KEY_RSA2048] = {.bits = 2048},  [PKI_KEY_RSA3072] = {.bits = 3072},
                 [PKI_KEY_RSA4096] = {.bits = 4096}};
    EVP_PKEY *evp = forms[type].curve != NULL ? EVP_EC_gen(forms[type].curve)
                    : forms[type].bits != 0   ? EVP_RSA_gen(forms[type].bits)
                                              : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    if (evp == NULL)
        return pki_error(err, E_INTERNAL, "generate key");
    *ret = pki_key_wrap(evp, true);
    return 0;
}

/* NULL: the block holds no key. */
static struct pki_key *pki_key_from_block(const char *type, struct str der)
{
    const unsigned char *p = (const unsigned char *)der.data;
    long len = (long)der.len;
    if (strcmp(type, "EC PRIVATE KEY") == 0)
        return pki_key_wrap(d2i_PrivateKey(EVP_PKEY_EC, NULL, &p, len), true);
    if (strcmp(type, "RSA PRIVATE KEY") == 0)
        return pki_key_wrap(d2i_PrivateKey(EVP_PKEY_RSA, NULL, &p, len), true);
    if (strcmp(type, "PRIVATE KEY") == 0)
        return pki_key_wrap(d2i_AutoPrivateKey(NULL, &p, len), true);
    if (strcmp(type, "PUBLIC KEY") == 0)
        return pki_key_wrap(d2i_PUBKEY(NULL, &p, len), false);
    if (strcmp(type, "RSA PUBLIC KEY") == 0)
        return pki_key_wrap(d2i_PublicKey(EVP_PKEY_RSA, NULL, &p, len), false);
    if (strcmp(type, "CERTIFICATE") == 0) {
        X509 *x509 = d2i_X509(NULL, &p, len);
        struct pki_key *k = pki_key_wrap(x509 != NULL ? X509_get_pubkey(x509) : NULL, false);
        X509_free(x509);
        return k;
    }
    return NULL;
}

struct pki_key_collector {
    struct arena *arena; /* NULL: only the first key is wanted. */
    struct pki_key **keys;
    size_t count, cap;
};

static void pki_key_release(void *key)
{
    pki_key_unref(key);
}

static int pki_key_collect(const char *type, struct str der, void *arg)
{
    struct pki_key_collector *c = arg;
    struct pki_key *key = pki_key_from_block(type, der);
    ERR_clear_error();
    if (key == NULL)
        return 0;
    if (c->arena == NULL) {
        ASSERT(c->keys != NULL && c->count == 0);
        c->keys[c->count++] = key;
        return 1;
    }
    arena_hold(c->arena, key, pki_key_release);
    c->keys = arena_grow(c->arena, c->keys, c->count, &c->cap, sizeof(struct pki_key *));
    c->keys[c->count++] = key;
    return 0;
}

int pki_key_parse(struct str pem, struct pki_key **ret, struct error *err)
{
    struct pki_key *key = NULL;
    struct pki_key_collector c = {.keys = &key};
    int code = pki_pem_each(pem, pki_key_collect, &c, err);
    if (code < 0)
        return code;
    if (key == NULL)
        return error_set(err, E_INVALID, "no usable key in PEM text");
    *ret = key;
    return 0;
}

int pki_keys_parse(struct arena *a, struct str pem, struct pki_key ***ret, size_t *ret_count,
                   struct error *err)
{
    struct pki_key_collector c = {.arena = a};
    int code = pki_pem_each(pem, pki_key_collect, &c, err);
    if (code < 0)
        return code;
    if (c.count == 0)
        return error_set(err, E_INVALID, "no usable key in PEM text");
    *ret = c.keys;
    *ret_count = c.count;
    return 0;
}

bool pki_key_is_private(const struct pki_key *k)
{
    return k->is_private;
}

void pki_key_pem(const struct pki_key *k, struct buf *b)
{
    ASSERT(k->is_private);
    BIO *bio = BIO_new(BIO_s_mem());
    ASSERT(bio != NULL);
    int done = PEM_write_bio_PrivateKey_traditional(bio, k->evp, NULL, NULL, 0, NULL, NULL);
    ASSERT(done == 1);
    char *text = NULL;
    long len = BIO_get_mem_data(bio, &text);
    buf_append(b, text, (size_t)len);
    BIO_free(bio);
}

void pki_key_public_pem(const struct pki_key *k, struct buf *b)
{
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(k->evp, &der);
    ASSERT(len > 0);
    pki_pem_write(b, "PUBLIC KEY", str_n((const char *)der, (size_t)len));
    OPENSSL_free(der);
}

void pki_key_pkcs8_pem(const struct pki_key *k, struct buf *b)
{
    ASSERT(k->is_private);
    BIO *bio = BIO_new(BIO_s_mem());
    ASSERT(bio != NULL);
    int done = PEM_write_bio_PKCS8PrivateKey(bio, k->evp, NULL, NULL, 0, NULL, NULL);
    ASSERT(done == 1);
    char *text = NULL;
    long len = BIO_get_mem_data(bio, &text);
    buf_append(b, text, (size_t)len);
    BIO_free(bio);
}

void pki_key_spki_sha256(const struct pki_key *k, uint8_t ret[32])
{
    unsigned char *der = NULL;
    int len = i2d_PUBKEY(k->evp, &der);
    ASSERT(len > 0);
    net_sha256(der, (size_t)len, ret);
    OPENSSL_free(der);
}

struct evp_pkey_st *pki_key_evp(const struct pki_key *k)
{
    return k->evp;
}
