/* jwt.c - see jwt.h. RFC 7515 and 7518 say what is signed and how. */
#include "lib/net/jwt.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/net/pki_internal.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

enum jwt_kind { JWT_RSA_PKCS1, JWT_RSA_PSS, JWT_ECDSA };

static const struct jwt_algorithm {
    const char *name;
    enum jwt_kind kind;
    const char *digest;
    size_t coordinate_bytes; /* ECDSA: of r and of s. */
    const char *curve;       /* OpenSSL's name. */
    const char *jwk_curve;
} ALGORITHMS[] = {
    {"RS256", JWT_RSA_PKCS1, "SHA256", 0, NULL, NULL},
    {"RS384", JWT_RSA_PKCS1, "SHA384", 0, NULL, NULL},
    {"RS512", JWT_RSA_PKCS1, "SHA512", 0, NULL, NULL},
    {"PS256", JWT_RSA_PSS, "SHA256", 0, NULL, NULL},
    {"PS384", JWT_RSA_PSS, "SHA384", 0, NULL, NULL},
    {"PS512", JWT_RSA_PSS, "SHA512", 0, NULL, NULL},
    {"ES256", JWT_ECDSA, "SHA256", 32, "prime256v1", "P-256"},
    {"ES384", JWT_ECDSA, "SHA384", 48, "secp384r1", "P-384"},
    {"ES512", JWT_ECDSA, "SHA512", 66, "secp521r1", "P-521"},
};

static const struct jwt_algorithm *jwt_algorithm_find(struct str name)
{
    for (size_t i = 0; i < ARRAY_SIZE(ALGORITHMS); i++)
        if (str_eqc(name, ALGORITHMS[i].name))
            return &ALGORITHMS[i];
    return NULL;
}

static bool jwt_suits(const struct jwt_algorithm *alg, const EVP_PKEY *evp)
{
    if (alg->kind != JWT_ECDSA)
        return EVP_PKEY_is_a(evp, "RSA") == 1;
    char curve[32] = "";
    return EVP_PKEY_is_a(evp, "EC") == 1 &&
           EVP_PKEY_get_group_name(evp, curve, sizeof(curve), NULL) == 1 &&
           strcmp(curve, alg->curve) == 0;
}

/* What jwt_sign() uses for this key; NULL if none fits. */
static const struct jwt_algorithm *jwt_algorithm_of_key(const EVP_PKEY *evp)
{
    for (size_t i = 0; i < ARRAY_SIZE(ALGORITHMS); i++)
        if (jwt_suits(&ALGORITHMS[i], evp))
            return &ALGORITHMS[i];
    return NULL;
}

/* --- the header: just enough JSON for a flat object's string members --- */

struct json_scan {
    struct str s;
    size_t at;
};

static void json_scan_space(struct json_scan *j)
{
    while (j->at < j->s.len && strchr(" \t\r\n", j->s.data[j->at]) != NULL &&
           j->s.data[j->at] != '\0')
        j->at++;
}

static bool json_scan_take(struct json_scan *j, char c)
{
    json_scan_space(j);
    if (j->at >= j->s.len || j->s.data[j->at] != c)
        return false;
    j->at++;
    return true;
}

/* A string without escapes: algorithm names and key ids have none. One with
 * escapes is passed over and comes back empty, so it matches nothing. */
static bool json_scan_string(struct json_scan *j, struct str *ret)
{
    if (!json_scan_take(j, '"'))
        return false;
    size_t from = j->at;
    bool escaped = false;
    for (; j->at < j->s.len && j->s.data[j->at] != '"'; j->at++) {
        if (j->s.data[j->at] == '\\') {
            escaped = true;
            j->at++;
        }
    }
    if (j->at >= j->s.len)
        return false;
    *ret = escaped ? STR("") : str_sub(j->s, from, j->at - from);
    j->at++;
    return true;
}

/* Any value but a string: to the ',' or '}' that ends it at depth 0. */
static bool json_scan_skip(struct json_scan *j)
{
    size_t depth = 0, from = j->at;
    while (j->at < j->s.len) {
        char c = j->s.data[j->at];
        if (c == '"') {
            struct str ignored;
            if (!json_scan_string(j, &ignored))
                return false;
            continue;
        }
        if (depth == 0 && (c == ',' || c == '}'))
            return j->at > from;
        if (c == '{' || c == '[')
            depth++;
        if ((c == '}' || c == ']') && depth-- == 0)
            return false;
        j->at++;
    }
    return false;
}

static int jwt_read_header(struct str header, struct jwt *t)
{
    struct json_scan j = {header, 0};
    if (!json_scan_take(&j, '{'))
        return E_INVALID;
    if (json_scan_take(&j, '}'))
        return 0;
    do {
        struct str key, value = STR_NULL;
        if (!json_scan_string(&j, &key) || !json_scan_take(&j, ':'))
            return E_INVALID;
        json_scan_space(&j);
        bool is_string = j.at < header.len && header.data[j.at] == '"';
        if (!(is_string ? json_scan_string(&j, &value) : json_scan_skip(&j)))
            return E_INVALID;
        if (str_eq(key, STR("alg")))
            t->algorithm = value;
        else if (str_eq(key, STR("kid")))
            t->key_id = value;
        else if (str_eq(key, STR("crit")))
            return E_INVALID; /* RFC 7515, 4.1.11: extensions we do not know. */
    } while (json_scan_take(&j, ','));
    if (!json_scan_take(&j, '}'))
        return E_INVALID;
    json_scan_space(&j);
    return j.at == header.len ? 0 : E_INVALID;
}

static int jwt_decode(struct arena *a, struct str text, struct str *ret)
{
    AUTO_BUF b = BUF_INIT;
    if (str_find(text, '\n', 0) >= 0 || str_find(text, '\r', 0) >= 0 ||
        base64_decode(BASE64_RAW_URL, text, &b) < 0)
        return E_INVALID;
    *ret = arena_str(a, buf_str(&b));
    return 0;
}

int jwt_parse(struct arena *a, struct str token, struct jwt *ret, struct error *err)
{
    if (token.len > JWT_BYTES_MAX)
        return error_set(err, E_INVALID, "token is longer than %d bytes", JWT_BYTES_MAX);
    struct jwt t = {0};
    struct str head, rest, payload, signature, header;
    if (!str_cut(token, '.', &head, &rest) || !str_cut(rest, '.', &payload, &signature) ||
        str_find(signature, '.', 0) >= 0)
        return error_set(err, E_INVALID, "token must have three parts");
    t.signed_part = str_n(token.data, head.len + 1 + payload.len);
    if (jwt_decode(a, head, &header) < 0 || jwt_decode(a, payload, &t.payload) < 0 ||
        jwt_decode(a, signature, &t.signature) < 0)
        return error_set(err, E_INVALID, "token is not base64url");
    if (jwt_read_header(header, &t) < 0)
        return error_set(err, E_INVALID, "malformed token header");
    *ret = t;
    return 0;
}

/* --- signatures --- */

/* JWTs carry r and s side by side, OpenSSL wants them in DER. */
static int jwt_ecdsa_to_der(const struct jwt_algorithm *alg, struct str raw, unsigned char **ret,
                            size_t *ret_len)
{
    size_t n = alg->coordinate_bytes;
    if (raw.len != 2 * n)
        return E_UNAUTHORIZED;
    const unsigned char *p = (const unsigned char *)raw.data;
    ECDSA_SIG *sig = ECDSA_SIG_new();
    ASSERT(sig != NULL);
    ECDSA_SIG_set0(sig, BN_bin2bn(p, (int)n, NULL), BN_bin2bn(p + n, (int)n, NULL));
    *ret = NULL;
    int len = i2d_ECDSA_SIG(sig, ret);
    ECDSA_SIG_free(sig);
    if (len <= 0)
        return E_UNAUTHORIZED;
    *ret_len = (size_t)len;
    return 0;
}

static bool jwt_set_padding(const struct jwt_algorithm *alg, EVP_PKEY_CTX *context)
{
    if (alg->kind != JWT_RSA_PSS)
        return true;
    return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) > 0 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) > 0;
}

static bool jwt_check(const struct jwt_algorithm *alg, EVP_PKEY *evp, struct str text,
                      const unsigned char *signature, size_t len)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_PKEY_CTX *context = NULL;
    ASSERT(md != NULL);
    bool good =
        EVP_DigestVerifyInit_ex(md, &context, alg->digest, NULL, NULL, evp, NULL) == 1 &&
        jwt_set_padding(alg, context) &&
        EVP_DigestVerify(md, signature, len, (const unsigned char *)text.data, text.len) == 1;
    EVP_MD_CTX_free(md);
    ERR_clear_error();
    return good;
}

int jwt_verify(const struct jwt *t, const struct pki_key *key, struct error *err)
{
    const struct jwt_algorithm *alg = jwt_algorithm_find(t->algorithm);
    if (alg == NULL)
        return error_set(err, E_UNAUTHORIZED, "token algorithm \"" STR_FMT "\" is not accepted",
                         STR_ARG(t->algorithm));
    if (!jwt_suits(alg, key->evp))
        return error_set(err, E_UNAUTHORIZED, "token algorithm %s does not suit the key",
                         alg->name);
    unsigned char *der = NULL;
    const unsigned char *signature = (const unsigned char *)t->signature.data;
    size_t len = t->signature.len;
    if (alg->kind == JWT_ECDSA) {
        if (jwt_ecdsa_to_der(alg, t->signature, &der, &len) < 0)
            return error_set(err, E_UNAUTHORIZED, "token signature has the wrong length");
        signature = der;
    }
    bool good = jwt_check(alg, key->evp, t->signed_part, signature, len);
    OPENSSL_free(der);
    return good ? 0 : error_set(err, E_UNAUTHORIZED, "token signature is invalid");
}

/* Appends the raw signature of an ECDSA DER signature. */
static void jwt_ecdsa_from_der(const struct jwt_algorithm *alg, const unsigned char *der,
                               size_t len, struct buf *b)
{
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)len);
    ASSERT(sig != NULL);
    int n = (int)alg->coordinate_bytes;
    uint8_t *out = buf_reserve(b, 2 * alg->coordinate_bytes);
    BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, n);
    BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + n, n);
    buf_commit(b, 2 * alg->coordinate_bytes);
    ECDSA_SIG_free(sig);
}

static int jwt_make_signature(const struct jwt_algorithm *alg, EVP_PKEY *evp, struct str text,
                              struct buf *b, struct error *err)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    ASSERT(md != NULL);
    unsigned char signature[1024];
    size_t len = sizeof(signature);
    int code = 0;
    EVP_PKEY_CTX *context = NULL;
    if (EVP_DigestSignInit_ex(md, &context, alg->digest, NULL, NULL, evp, NULL) != 1 ||
        !jwt_set_padding(alg, context) ||
        EVP_DigestSign(md, signature, &len, (const unsigned char *)text.data, text.len) != 1)
        code = pki_error(err, E_INTERNAL, "sign token");
    else if (alg->kind == JWT_ECDSA)
        jwt_ecdsa_from_der(alg, signature, len, b);
    else
        buf_append(b, signature, len);
    EVP_MD_CTX_free(md);
    return code;
}

/* Header and claims, encoded, with their signature. */
static int jwt_write(const struct jwt_algorithm *alg, const struct pki_key *key, struct str header,
                     struct str payload, struct buf *ret_token, struct error *err)
{
    AUTO_BUF text = BUF_INIT;
    AUTO_BUF signature = BUF_INIT;
    base64_encode(BASE64_RAW_URL, header.data, header.len, &text);
    buf_putc(&text, '.');
    base64_encode(BASE64_RAW_URL, payload.data, payload.len, &text);
    int code = jwt_make_signature(alg, key->evp, buf_str(&text), &signature, err);
    if (code < 0)
        return code;
    buf_append_str(ret_token, buf_str(&text));
    buf_putc(ret_token, '.');
    base64_encode(BASE64_RAW_URL, signature.data, signature.len, ret_token);
    return 0;
}

int jwt_sign(const struct pki_key *key, struct str payload_json, struct buf *ret_token,
             struct error *err)
{
    const struct jwt_algorithm *alg = jwt_algorithm_of_key(key->evp);
    if (alg == NULL || !key->is_private)
        return error_set(err, E_INVALID, "tokens need a private RSA or P-256/384/521 key");
    char kid[48];
    jwt_key_id(key, kid);
    AUTO_BUF header = BUF_INIT;
    buf_printf(&header, "{\"alg\":\"%s\",\"kid\":\"%s\"}", alg->name, kid);
    return jwt_write(alg, key, buf_str(&header), payload_json, ret_token, err);
}

int jwt_sign_as(const struct pki_key *key, const char *algorithm, struct str payload_json,
                struct buf *ret_token, struct error *err)
{
    const struct jwt_algorithm *alg = jwt_algorithm_find(str_of(algorithm));
    if (alg == NULL || !key->is_private || !jwt_suits(alg, key->evp))
        return error_set(err, E_INVALID, "the key cannot sign tokens as %s", algorithm);
    AUTO_BUF header = BUF_INIT;
    buf_printf(&header, "{\"alg\":\"%s\",\"typ\":\"JWT\"}", alg->name);
    return jwt_write(alg, key, buf_str(&header), payload_json, ret_token, err);
}

bool jwt_key_suits(const struct pki_key *key, const char *algorithm)
{
    const struct jwt_algorithm *alg = jwt_algorithm_find(str_of(algorithm));
    return alg != NULL && jwt_suits(alg, key->evp);
}

void jwt_key_id(const struct pki_key *key, char ret[48])
{
    uint8_t hash[32];
    pki_key_spki_sha256(key, hash);
    base64_encode_to(BASE64_RAW_URL, hash, sizeof(hash), ret);
    ret[base64_len(BASE64_RAW_URL, sizeof(hash))] = '\0';
}

const char *jwt_algorithm(const struct pki_key *key)
{
    const struct jwt_algorithm *alg = jwt_algorithm_of_key(key->evp);
    return alg != NULL ? alg->name : NULL;
}

/* ,"name":"base64url of the number", padded to n bytes if n > 0. */
static bool jwt_put_number(const EVP_PKEY *evp, const char *param, const char *name, size_t n,
                           struct buf *b)
{
    BIGNUM *number = NULL;
    if (EVP_PKEY_get_bn_param(evp, param, &number) != 1)
        return false;
    size_t len = n > 0 ? n : (size_t)BN_num_bytes(number);
    uint8_t *bytes = xmalloc(len + 1);
    BN_bn2binpad(number, bytes, (int)len);
    buf_printf(b, ",\"%s\":\"", name);
    base64_encode(BASE64_RAW_URL, bytes, len, b);
    buf_putc(b, '"');
    free(bytes);
    BN_free(number);
    return true;
}

int jwt_key_jwk(const struct pki_key *key, struct buf *b, struct error *err)
{
    const struct jwt_algorithm *alg = jwt_algorithm_of_key(key->evp);
    if (alg == NULL)
        return error_set(err, E_INVALID, "only RSA and P-256/384/521 keys have a JWK form here");
    char kid[48];
    jwt_key_id(key, kid);
    size_t start = b->len;
    bool done;
    if (alg->kind == JWT_ECDSA) {
        buf_printf(b,
                   "{\"use\":\"sig\",\"kty\":\"EC\",\"kid\":\"%s\",\"crv\":\"%s\",\"alg\":\"%s\"",
                   kid, alg->jwk_curve, alg->name);
        done = jwt_put_number(key->evp, OSSL_PKEY_PARAM_EC_PUB_X, "x", alg->coordinate_bytes, b) &&
               jwt_put_number(key->evp, OSSL_PKEY_PARAM_EC_PUB_Y, "y", alg->coordinate_bytes, b);
    } else {
        buf_printf(b, "{\"use\":\"sig\",\"kty\":\"RSA\",\"kid\":\"%s\",\"alg\":\"%s\"", kid,
                   alg->name);
        done = jwt_put_number(key->evp, OSSL_PKEY_PARAM_RSA_N, "n", 0, b) &&
               jwt_put_number(key->evp, OSSL_PKEY_PARAM_RSA_E, "e", 0, b);
    }
    if (!done) {
        buf_truncate(b, start);
        return pki_error(err, E_INVALID, "read public key");
    }
    buf_putc(b, '}');
    return 0;
}
