/* jwt_hmac.c - tokens under a shared secret; see jwt.h. RFC 7518, 3.2. */
#include "lib/net/jwt.h"

#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/net/pki.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

static const struct hmac_algorithm {
    const char *name;
    const EVP_MD *(*digest)(void);
} ALGORITHMS[] = {{"HS256", EVP_sha256}, {"HS384", EVP_sha384}, {"HS512", EVP_sha512}};

static const struct hmac_algorithm *hmac_find(struct str name)
{
    for (size_t i = 0; i < ARRAY_SIZE(ALGORITHMS); i++)
        if (str_eqc(name, ALGORITHMS[i].name))
            return &ALGORITHMS[i];
    return NULL;
}

bool jwt_hmac_known(const char *algorithm)
{
    return hmac_find(str_of(algorithm)) != NULL;
}

static struct str hmac_of(const struct hmac_algorithm *alg, struct str secret, struct str text,
                          unsigned char room[EVP_MAX_MD_SIZE])
{
    unsigned len = 0;
    unsigned char *p = HMAC(alg->digest(), secret.data, (int)secret.len,
                            (const unsigned char *)text.data, text.len, room, &len);
    ASSERT(p != NULL);
    return str_n((const char *)room, len);
}

int jwt_hmac_sign(struct str secret, const char *algorithm, struct str payload_json,
                  struct buf *ret_token, struct error *err)
{
    const struct hmac_algorithm *alg = hmac_find(str_of(algorithm));
    if (alg == NULL || str_empty(secret))
        return error_set(err, E_INVALID, "%s needs a secret to sign with", algorithm);
    AUTO_BUF header = BUF_INIT;
    AUTO_BUF text = BUF_INIT;
    buf_printf(&header, "{\"alg\":\"%s\",\"typ\":\"JWT\"}", alg->name);
    base64_encode(BASE64_RAW_URL, header.data, header.len, &text);
    buf_putc(&text, '.');
    base64_encode(BASE64_RAW_URL, payload_json.data, payload_json.len, &text);
    unsigned char room[EVP_MAX_MD_SIZE];
    struct str signature = hmac_of(alg, secret, buf_str(&text), room);
    buf_putc(&text, '.');
    base64_encode(BASE64_RAW_URL, signature.data, signature.len, &text);
    buf_append_str(ret_token, buf_str(&text));
    return 0;
}

int jwt_hmac_verify(const struct jwt *t, struct str secret, struct error *err)
{
    const struct hmac_algorithm *alg = hmac_find(t->algorithm);
    if (alg == NULL)
        return error_set(err, E_UNAUTHORIZED, "token algorithm \"" STR_FMT "\" is not accepted",
                         STR_ARG(t->algorithm));
    unsigned char room[EVP_MAX_MD_SIZE];
    if (str_empty(secret) ||
        !net_secret_eq(hmac_of(alg, secret, t->signed_part, room), t->signature))
        return error_set(err, E_UNAUTHORIZED, "token signature is invalid");
    return 0;
}
