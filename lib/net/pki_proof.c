/* pki_proof.c - what kind of key it is, and whether somebody showed to hold it; see pki.h. */
#include "lib/net/pki_internal.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

int pki_key_parse_spki(struct str der, struct pki_key **ret, struct error *err)
{
    const unsigned char *p = (const unsigned char *)der.data;
    EVP_PKEY *evp =
        der.len != 0 && der.len <= LONG_MAX ? d2i_PUBKEY(NULL, &p, (long)der.len) : NULL;
    if (evp == NULL || (size_t)(p - (const unsigned char *)der.data) != der.len) {
        EVP_PKEY_free(evp);
        return pki_error(err, E_INVALID, "not a public key in PKIX form");
    }
    *ret = pki_key_wrap(evp, false);
    return 0;
}

struct pki_key_form pki_key_form(const struct pki_key *k)
{
    static const struct {
        const char *openssl, *name;
    } curves[] = {{"prime256v1", "P-256"}, {"secp384r1", "P-384"}, {"secp521r1", "P-521"}};
    struct pki_key_form f = {.kind = PKI_KIND_OTHER, .bits = (unsigned)EVP_PKEY_get_bits(k->evp)};
    size_t len = 0;
    switch (EVP_PKEY_get_base_id(k->evp)) {
    case EVP_PKEY_RSA:
        f.kind = PKI_KIND_RSA;
        break;
    case EVP_PKEY_ED25519:
        f.kind = PKI_KIND_ED25519;
        break;
    case EVP_PKEY_EC:
        f.kind = PKI_KIND_EC;
        if (EVP_PKEY_get_group_name(k->evp, f.curve, sizeof(f.curve), &len) != 1)
            f.curve[0] = '\0'; /* One given by its numbers. */
        for (size_t i = 0; i < ARRAY_SIZE(curves); i++)
            if (strcmp(f.curve, curves[i].openssl) == 0)
                memcpy(f.curve, curves[i].name, strlen(curves[i].name) + 1);
        ERR_clear_error();
        break;
    default:
        break;
    }
    return f;
}

bool pki_proof_ok(const struct pki_key *k, struct str data, struct str signature)
{
    struct pki_key_form f = pki_key_form(k);
    const EVP_MD *md = f.kind == PKI_KIND_ED25519 ? NULL : EVP_sha256();
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *key_ctx = NULL;
    ASSERT(ctx != NULL);
    bool ok = f.kind != PKI_KIND_OTHER &&
              EVP_DigestVerifyInit(ctx, &key_ctx, md, NULL, k->evp) == 1 &&
              (f.kind != PKI_KIND_RSA ||
               (EVP_PKEY_CTX_set_rsa_padding(key_ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
                EVP_PKEY_CTX_set_rsa_pss_saltlen(key_ctx, RSA_PSS_SALTLEN_AUTO) == 1)) &&
              EVP_DigestVerify(ctx, (const unsigned char *)str_c(signature), signature.len,
                               (const unsigned char *)str_c(data), data.len) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return ok;
}
