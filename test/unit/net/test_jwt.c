/* test_jwt.c - tokens: our own, RFC 7515's, and forged ones. */
#include "lib/net/jwt.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/net/pki.h"
#include "test/unit/unit.h"

#include <string.h>

static struct pki_key *new_key(enum pki_key_type type)
{
    struct pki_key *key = NULL;
    ck_assert_int_eq(pki_key_generate(type, &key, NULL), 0);
    return key;
}

/* What is signed verifies with the same key and no other, and carries its claims. */
START_TEST(round_trip)
{
    static const enum pki_key_type TYPES[] = {PKI_KEY_P256, PKI_KEY_RSA2048};
    static const char *const ALGORITHMS[] = {"ES256", "RS256"};
    for (size_t i = 0; i < ARRAY_SIZE(TYPES); i++) {
        AUTO_ARENA *a = arena_new(0);
        struct pki_key *key = new_key(TYPES[i]), *other = new_key(TYPES[i]);
        struct error err = {0};
        AUTO_BUF token = BUF_INIT;
        ck_assert_int_eq(jwt_sign(key, STR("{\"sub\":\"x\"}"), &token, &err), 0);
        struct jwt t;
        ck_assert_int_eq(jwt_parse(a, buf_str(&token), &t, &err), 0);
        ck_assert(str_eqc(t.algorithm, ALGORITHMS[i]));
        ck_assert(str_eqc(t.payload, "{\"sub\":\"x\"}"));
        char kid[48];
        jwt_key_id(key, kid);
        ck_assert(str_eqc(t.key_id, kid));
        ck_assert_int_eq(jwt_verify(&t, key, &err), 0);
        ck_assert_int_eq(jwt_verify(&t, other, &err), E_UNAUTHORIZED);
        /* Any change of the text breaks it. */
        token.data[token.len / 2] ^= 1;
        if (jwt_parse(a, buf_str(&token), &t, &err) == 0)
            ck_assert_int_eq(jwt_verify(&t, key, &err), E_UNAUTHORIZED);
        pki_key_unref(key);
        pki_key_unref(other);
    }
}
END_TEST

static void put_token(struct buf *b, const char *header, const char *payload)
{
    base64_encode(BASE64_RAW_URL, header, strlen(header), b);
    buf_putc(b, '.');
    base64_encode(BASE64_RAW_URL, payload, strlen(payload), b);
    buf_putc(b, '.');
}

/* "none", HMAC with the public key, and an algorithm of another key type are refused. */
START_TEST(forgeries)
{
    static const char *const HEADERS[] = {
        "{\"alg\":\"none\"}",
        "{\"alg\":\"HS256\"}",
        "{\"alg\":\"RS256\"}",
        "{\"alg\":\"ES384\"}",
        "{}",
        "{\"alg\":[\"ES256\"]}",
        "{\"alg\":\"ES256\"}",
    };
    AUTO_ARENA *a = arena_new(0);
    struct pki_key *key = new_key(PKI_KEY_P256);
    struct error err = {0};
    for (size_t i = 0; i < ARRAY_SIZE(HEADERS); i++) {
        AUTO_BUF token = BUF_INIT;
        struct jwt t;
        put_token(&token, HEADERS[i], "{}");
        ck_assert_int_eq(jwt_parse(a, buf_str(&token), &t, &err), 0);
        ck_assert_int_eq(jwt_verify(&t, key, &err), E_UNAUTHORIZED);
        buf_puts(&token, "AAAA");
        ck_assert_int_eq(jwt_parse(a, buf_str(&token), &t, &err), 0);
        ck_assert_int_eq(jwt_verify(&t, key, &err), E_UNAUTHORIZED);
    }
    pki_key_unref(key);
}
END_TEST

/* What is no token is E_INVALID, never a crash. */
START_TEST(malformed)
{
    static const char *const BAD[] = {"",       ".",      "..",    "a.b",    "a.b.c.d",   "!.!.!",
                                      "e30=..", "e30..A", "W10..", "eyJ9..", "eyJhIjp9.."};
    AUTO_ARENA *a = arena_new(0);
    struct jwt t;
    for (size_t i = 0; i < ARRAY_SIZE(BAD); i++)
        ck_assert_msg(jwt_parse(a, str_of(BAD[i]), &t, NULL) == E_INVALID, "%s", BAD[i]);
    AUTO_BUF token = BUF_INIT;
    put_token(&token, "{\"alg\":\"ES256\",\"crit\":[\"exp\"]}", "{}");
    ck_assert_int_eq(jwt_parse(a, buf_str(&token), &t, NULL), E_INVALID);
}
END_TEST

/* The example of RFC 7515, appendix A.3. */
START_TEST(rfc_example)
{
    static const char PUBLIC[] =
        "-----BEGIN PUBLIC KEY-----\n"
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n"
        "6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n"
        "-----END PUBLIC KEY-----\n";
    static const char TOKEN[] =
        "eyJhbGciOiJFUzI1NiJ9"
        ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290"
        "Ijp0cnVlfQ"
        ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU"
        "1Q";
    AUTO_ARENA *a = arena_new(0);
    struct pki_key *key;
    struct error err = {0};
    struct jwt t;
    ck_assert_msg(pki_key_parse(str_of(PUBLIC), &key, &err) == 0, "%s", err.message);
    ck_assert_int_eq(jwt_parse(a, str_of(TOKEN), &t, &err), 0);
    ck_assert_msg(jwt_verify(&t, key, &err) == 0, "%s", err.message);
    AUTO_BUF jwk = BUF_INIT;
    ck_assert_int_eq(jwt_key_jwk(key, &jwk, &err), 0);
    buf_putc(&jwk, '\0');
    ck_assert_ptr_nonnull(
        strstr((const char *)jwk.data, "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\""));
    pki_key_unref(key);
}
END_TEST

/* A chosen algorithm is used when it suits the key, and only then. */
START_TEST(chosen_algorithm)
{
    static const char *const RSA[] = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"};
    struct pki_key *rsa = new_key(PKI_KEY_RSA2048), *ec = new_key(PKI_KEY_P256);
    for (size_t i = 0; i < ARRAY_SIZE(RSA); i++) {
        AUTO_ARENA *a = arena_new(0);
        AUTO_BUF token = BUF_INIT;
        struct jwt t;
        ck_assert_int_eq(jwt_sign_as(rsa, RSA[i], STR("{}"), &token, NULL), 0);
        ck_assert_int_eq(jwt_parse(a, buf_str(&token), &t, NULL), 0);
        ck_assert(str_eqc(t.algorithm, RSA[i]));
        ck_assert_int_eq(jwt_verify(&t, rsa, NULL), 0);
        ck_assert_int_eq(jwt_sign_as(ec, RSA[i], STR("{}"), &token, NULL), E_INVALID);
    }
    ck_assert(jwt_key_suits(ec, "ES256") && !jwt_key_suits(ec, "ES384"));
    pki_key_unref(rsa);
    pki_key_unref(ec);
}
END_TEST

/* A secret's tokens verify with that secret alone, and never against a key pair. */
START_TEST(shared_secret)
{
    static const char *const HS[] = {"HS256", "HS384", "HS512"};
    struct pki_key *key = new_key(PKI_KEY_P256);
    for (size_t i = 0; i < ARRAY_SIZE(HS); i++) {
        AUTO_ARENA *a = arena_new(0);
        AUTO_BUF token = BUF_INIT;
        struct jwt t;
        ck_assert_int_eq(jwt_hmac_sign(STR("secret"), HS[i], STR("{}"), &token, NULL), 0);
        ck_assert_int_eq(jwt_parse(a, buf_str(&token), &t, NULL), 0);
        ck_assert_int_eq(jwt_hmac_verify(&t, STR("secret"), NULL), 0);
        ck_assert_int_eq(jwt_hmac_verify(&t, STR("Secret"), NULL), E_UNAUTHORIZED);
        ck_assert_int_eq(jwt_hmac_verify(&t, STR(""), NULL), E_UNAUTHORIZED);
        ck_assert_int_eq(jwt_verify(&t, key, NULL), E_UNAUTHORIZED);
    }
    ck_assert(!jwt_hmac_known("none") && !jwt_hmac_known("RS256"));
    pki_key_unref(key);
}
END_TEST

UNIT_MAIN("jwt", UNIT_TEST(round_trip); UNIT_TEST(chosen_algorithm); UNIT_TEST(shared_secret);
          UNIT_TEST(forgeries); UNIT_TEST(malformed); UNIT_TEST(rfc_example))
