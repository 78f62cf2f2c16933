/* pki_jwk.c - public keys from the numbers of JSON web keys; see pki.h. */
#include "lib/net/pki_internal.h"

#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>

#define RSA_BYTES_MIN 256u /* 2048 bits. */
#define RSA_BYTES_MAX 1024u
#define EXPONENT_BYTES_MAX 8u

static int make_key(const char *type, OSSL_PARAM_BLD *bld, struct pki_key **ret, struct error *err)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
    EVP_PKEY *evp = NULL;
    if (ctx == NULL || params == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &evp, EVP_PKEY_PUBLIC_KEY, params) != 1)
        evp = NULL;
    OSSL_PARAM_free(params);
    EVP_PKEY_CTX_free(ctx);
    if (evp == NULL)
        return pki_error(err, E_INVALID, "public key");
    *ret = pki_key_wrap(evp, false);
    return 0;
}

int pki_key_rsa_public(struct str modulus, struct str exponent, struct pki_key **ret,
                       struct error *err)
{
    while (modulus.len != 0 && modulus.data[0] == '\0')
        modulus = str_sub(modulus, 1, modulus.len);
    if (modulus.len < RSA_BYTES_MIN || modulus.len > RSA_BYTES_MAX)
        return error_set(err, E_INVALID, "RSA key of %zu bits: want 2048 to 8192", modulus.len * 8);
    if (exponent.len == 0 || exponent.len > EXPONENT_BYTES_MAX)
        return error_set(err, E_INVALID, "RSA exponent of %zu bytes", exponent.len);
    BIGNUM *n = BN_bin2bn((const unsigned char *)modulus.data, (int)modulus.len, NULL);
    BIGNUM *e = BN_bin2bn((const unsigned char *)exponent.data, (int)exponent.len, NULL);
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    ASSERT(n != NULL);
    ASSERT(e != NULL);
    ASSERT(bld != NULL);
    OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n);
    OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, e);
    int code = make_key("RSA", bld, ret, err);
    OSSL_PARAM_BLD_free(bld);
    BN_free(n);
    BN_free(e);
    return code;
}

int pki_key_ec_public(struct str curve, struct str x, struct str y, struct pki_key **ret,
                      struct error *err)
{
    static const struct {
        const char *name, *group;
        size_t bytes;
    } curves[] = {
        {"P-256", "prime256v1", 32}, {"P-384", "secp384r1", 48}, {"P-521", "secp521r1", 66}};
    AUTO_BUF point = BUF_INIT;
    size_t i = 0;
    while (i < ARRAY_SIZE(curves) && !str_eqc(curve, curves[i].name))
        i++;
    if (i == ARRAY_SIZE(curves))
        return error_set(err, E_INVALID, "curve \"" STR_FMT "\" is not one of P-256, P-384, P-521",
                         STR_ARG(curve));
    if (x.len != curves[i].bytes || y.len != curves[i].bytes)
        return error_set(err, E_INVALID, "coordinates of %zu and %zu bytes on %s", x.len, y.len,
                         curves[i].name);
    buf_putc(&point, 4); /* Not compressed. */
    buf_append_str(&point, x);
    buf_append_str(&point, y);
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    ASSERT(bld != NULL);
    OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, curves[i].group, 0);
    OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point.data, point.len);
    int code = make_key("EC", bld, ret, err);
    OSSL_PARAM_BLD_free(bld);
    return code;
}
