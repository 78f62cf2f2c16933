/* pki_pair.c - whether a certificate and a key belong together, said in the
 * words of Go's TLS library, which users know from elsewhere; see pki.h. */
#include "lib/net/pki_internal.h"

#include "lib/base/buf.h"

#include <openssl/err.h>
#include <string.h>

#define KEY_END "PRIVATE KEY"

/* The first block of a wanted kind, and what was passed over before it. */
struct pair_search {
    bool want_key;
    bool found;
    struct buf der;
    struct buf skipped; /* Types with blanks between. */
    unsigned skipped_count;
    char last[64]; /* Type skipped last. */
};

static bool pair_is_key(const char *type)
{
    size_t n = strlen(type), m = sizeof(KEY_END) - 1;
    return strcmp(type, KEY_END) == 0 || (n > m && strcmp(type + n - m - 1, " " KEY_END) == 0);
}

static int pair_block(const char *type, struct str der, void *arg)
{
    struct pair_search *s = arg;
    if (s->want_key ? pair_is_key(type) : strcmp(type, "CERTIFICATE") == 0) {
        s->found = true;
        buf_append_str(&s->der, der);
        return 1;
    }
    buf_printf(&s->skipped, "%s%s", s->skipped_count++ == 0 ? "" : " ", type);
    snprintf(s->last, sizeof(s->last), "%s", type);
    return 0;
}

static void pair_search_done(struct pair_search *s)
{
    if (s->der.len != 0)
        OPENSSL_cleanse(s->der.data, s->der.len);
    buf_done(&s->der);
    buf_done(&s->skipped);
}

static int pair_find(struct str pem, struct pair_search *s, struct error *err)
{
    const char *what = s->want_key ? "key" : "certificate";
    /* Go passes over what is no block; so does a search that ends early here. */
    (void)pki_pem_each(pem, pair_block, s, NULL);
    if (s->found)
        return 0;
    if (s->skipped_count == 0)
        return error_set(err, E_INVALID, "tls: failed to find any PEM data in %s input", what);
    if (s->want_key && s->skipped_count == 1 && strcmp(s->last, "CERTIFICATE") == 0)
        return error_set(err, E_INVALID,
                         "tls: found a certificate rather than a key in the PEM for the private "
                         "key");
    if (!s->want_key && s->skipped_count == 1 && pair_is_key(s->last))
        return error_set(err, E_INVALID,
                         "tls: failed to find certificate PEM data in certificate input, but did "
                         "find a private key; PEM inputs may have been switched");
    return error_set(err, E_INVALID,
                     "tls: failed to find %s in %s input after skipping PEM blocks of the "
                     "following types: [" STR_FMT "]",
                     s->want_key ? "PEM block with type ending in \"PRIVATE KEY\""
                                 : "\"CERTIFICATE\" PEM block",
                     what, STR_ARG(buf_str(&s->skipped)));
}

static int pair_compare(struct str cert, struct str key, struct error *err)
{
    const unsigned char *p = (const unsigned char *)cert.data, *q = (const unsigned char *)key.data;
    X509 *x509 = d2i_X509(NULL, &p, (long)cert.len);
    EVP_PKEY *private_key = NULL;
    EVP_PKEY *public_key = x509 != NULL ? X509_get0_pubkey(x509) : NULL;
    int code = 0;
    if (x509 == NULL)
        code = error_set(err, E_INVALID, "x509: malformed certificate");
    else if (public_key == NULL)
        code = error_set(err, E_INVALID, "tls: unknown public key algorithm");
    else if ((private_key = d2i_AutoPrivateKey(NULL, &q, (long)key.len)) == NULL)
        code = error_set(err, E_INVALID, "tls: failed to parse private key");
    else if (EVP_PKEY_get_base_id(public_key) != EVP_PKEY_get_base_id(private_key))
        code = error_set(err, E_INVALID, "tls: private key type does not match public key type");
    else if (EVP_PKEY_eq(public_key, private_key) != 1)
        code = error_set(err, E_INVALID, "tls: private key does not match public key");
    EVP_PKEY_free(private_key);
    X509_free(x509);
    ERR_clear_error();
    return code;
}

int pki_pair_check(struct str cert_pem, struct str key_pem, struct error *err)
{
    struct pair_search cert = {.der = BUF_INIT, .skipped = BUF_INIT};
    struct pair_search key = {.want_key = true, .der = BUF_INIT, .skipped = BUF_INIT};
    int code = pair_find(cert_pem, &cert, err);
    if (code == 0)
        code = pair_find(key_pem, &key, err);
    if (code == 0)
        code = pair_compare(buf_str(&cert.der), buf_str(&key.der), err);
    pair_search_done(&cert);
    pair_search_done(&key);
    return code;
}
