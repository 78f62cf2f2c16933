/* test_pki.c - keys, certificates, requests and pools against each other. */
#include "lib/net/pki.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "test/unit/unit.h"

#include <string.h>
#include <time.h>

static struct pki_key *ca_key;
static struct pki_cert *ca;

static void make_ca(void)
{
    struct error err = {0};
    struct pki_cert_config config = {.subject = {.common_name = STR("kubernetes")}};
    ck_assert_int_eq(pki_key_generate(PKI_KEY_P256, &ca_key, &err), 0);
    ck_assert_msg(pki_ca_create(&config, ca_key, &ca, &err) == 0, "%s", err.message);
}

static void drop_ca(void)
{
    pki_cert_unref(ca);
    pki_key_unref(ca_key);
}

/* A key survives PEM in every form; a certificate gives its public half. */
START_TEST(keys_in_pem)
{
    static const enum pki_key_type TYPES[] = {PKI_KEY_P256, PKI_KEY_RSA2048};
    for (size_t i = 0; i < ARRAY_SIZE(TYPES); i++) {
        struct error err = {0};
        struct pki_key *key, *again, *public;
        AUTO_BUF pem = BUF_INIT;
        AUTO_BUF public_pem = BUF_INIT;
        uint8_t a[32], b[32];
        ck_assert_int_eq(pki_key_generate(TYPES[i], &key, &err), 0);
        pki_key_pem(key, &pem);
        pki_key_public_pem(key, &public_pem);
        ck_assert_int_eq(pki_key_parse(buf_str(&pem), &again, &err), 0);
        ck_assert_int_eq(pki_key_parse(buf_str(&public_pem), &public, &err), 0);
        ck_assert(pki_key_is_private(again) && !pki_key_is_private(public));
        pki_key_spki_sha256(key, a);
        pki_key_spki_sha256(public, b);
        ck_assert_mem_eq(a, b, 32);
        pki_key_unref(key);
        pki_key_unref(again);
        pki_key_unref(public);
    }
}
END_TEST

/* Text without a key, and a damaged block, are errors. */
START_TEST(bad_pem)
{
    struct error err = {0};
    struct pki_key *key;
    struct pki_cert *cert;
    ck_assert_int_eq(pki_key_parse(STR(""), &key, &err), E_INVALID);
    ck_assert_int_eq(pki_key_parse(STR("hello"), &key, &err), E_INVALID);
    struct str broken = STR("-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n");
    ck_assert_int_eq(pki_cert_parse(broken, &cert, &err), E_INVALID);
    struct str junk = STR("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    ck_assert_int_eq(pki_cert_parse(junk, &cert, &err), E_INVALID);
}
END_TEST

static struct pki_cert *sign_client(const char *name)
{
    static const struct str GROUPS[] = {{"system:masters", 14}, {"dev team", 8}};
    struct error err = {0};
    struct pki_key *key;
    struct pki_cert *cert = NULL;
    struct pki_cert_config config = {
        .subject = {.common_name = str_of(name), .organizations = GROUPS, .organization_count = 2},
        .usages = PKI_USAGE_CLIENT,
    };
    ck_assert_int_eq(pki_key_generate(PKI_KEY_P256, &key, &err), 0);
    ck_assert_msg(pki_cert_sign(&config, key, ca, ca_key, &cert, &err) == 0, "%s", err.message);
    ck_assert(pki_cert_matches_key(cert, key));
    pki_key_unref(key);
    return cert;
}

/* The subject goes in and comes out, also beyond X.520's 64 characters and in UTF-8. */
START_TEST(client_certificate)
{
    make_ca();
    const char *name = "system:node:a-very-long-node-name.with.a-long-domain.that.goes.on-and-on."
                       "example.org-\xc3\xa9";
    struct pki_cert *cert = sign_client(name);
    const struct pki_subject *s = pki_cert_subject(cert);
    ck_assert(str_eqc(s->common_name, name));
    ck_assert_uint_eq(s->organization_count, 2);
    ck_assert(str_eqc(s->organizations[0], "system:masters"));
    ck_assert(str_eqc(s->organizations[1], "dev team"));
    ck_assert(str_eqc(pki_cert_issuer_name(cert), "kubernetes"));
    ck_assert_uint_eq(pki_cert_usages(cert), PKI_USAGE_CLIENT);
    ck_assert(!pki_cert_is_ca(cert) && pki_cert_is_ca(ca));
    ck_assert_int_gt(pki_cert_not_after(cert), (int64_t)time(NULL) + 360LL * 86400);
    pki_cert_unref(cert);
    drop_ca();
}
END_TEST

/* Names and addresses of a server certificate match, and nothing else does. */
START_TEST(server_names)
{
    static const struct str DNS[] = {{"kubernetes.default", 18}, {"*.example.org", 13}};
    static const struct str IPS[] = {{"10.96.0.1", 9}, {"::1", 3}};
    make_ca();
    struct error err = {0};
    struct pki_cert *cert;
    struct pki_cert_config config = {
        .subject = {.common_name = STR("kube-apiserver"),
                    .dns_names = DNS,
                    .dns_name_count = 2,
                    .ip_addresses = IPS,
                    .ip_address_count = 2},
        .usages = PKI_USAGE_SERVER,
    };
    ck_assert_int_eq(pki_cert_sign(&config, ca_key, ca, ca_key, &cert, &err), 0);
    ck_assert(pki_cert_matches_host(cert, "kubernetes.default"));
    ck_assert(pki_cert_matches_host(cert, "a.example.org"));
    ck_assert(pki_cert_matches_host(cert, "10.96.0.1"));
    ck_assert(pki_cert_matches_host(cert, "::1"));
    ck_assert(!pki_cert_matches_host(cert, "10.96.0.2"));
    ck_assert(!pki_cert_matches_host(cert, "a.b.example.org"));
    ck_assert(!pki_cert_matches_host(cert, "kube-apiserver"));
    ck_assert(str_eqc(pki_cert_subject(cert)->ip_addresses[1], "::1"));
    pki_cert_unref(cert);
    static const struct str BAD[] = {{"10.96.0", 7}};
    config.subject.ip_addresses = BAD;
    config.subject.ip_address_count = 1;
    ck_assert_int_eq(pki_cert_sign(&config, ca_key, ca, ca_key, &cert, &err), E_INVALID);
    ck_assert_str_eq(err.message, "\"10.96.0\" is not an IP address");
    drop_ca();
}
END_TEST

/* A pool accepts what its CA signed for the asked use, and says why not otherwise. */
START_TEST(pools)
{
    make_ca();
    struct error err = {0};
    struct pki_pool *pool;
    AUTO_BUF pem = BUF_INIT;
    pki_cert_pem(ca, &pem);
    ck_assert_int_eq(pki_pool_new(buf_str(&pem), &pool, &err), 0);
    struct pki_cert *cert = sign_client("x");
    struct str der = pki_cert_der(cert);
    ck_assert_int_eq(pki_pool_verify(pool, der, NULL, 0, PKI_USAGE_CLIENT, &err), 0);
    ck_assert_int_eq(pki_pool_verify(pool, der, NULL, 0, PKI_USAGE_SERVER, &err), E_UNAUTHORIZED);
    ck_assert_ptr_nonnull(strstr(err.message, "purpose"));
    struct pki_cert *first_ca = pki_cert_ref(ca);
    drop_ca();
    make_ca();
    struct pki_cert *other = sign_client("x");
    ck_assert_int_eq(pki_pool_verify(pool, pki_cert_der(other), NULL, 0, PKI_USAGE_CLIENT, &err),
                     E_UNAUTHORIZED);
    pki_cert_unref(other);
    pki_cert_unref(first_ca);
    pki_cert_unref(cert);
    pki_pool_unref(pool);
    drop_ca();
}
END_TEST

/* An expired certificate is refused. */
START_TEST(expiry)
{
    make_ca();
    struct error err = {0};
    struct pki_pool *pool;
    struct pki_cert *cert;
    AUTO_BUF pem = BUF_INIT;
    pki_cert_pem(ca, &pem);
    ck_assert_int_eq(pki_pool_new(buf_str(&pem), &pool, &err), 0);
    struct pki_cert_config config = {
        .subject = {.common_name = STR("x")},
        .usages = PKI_USAGE_CLIENT,
        .not_after = (int64_t)time(NULL) - 60,
    };
    ck_assert_int_eq(pki_cert_sign(&config, ca_key, ca, ca_key, &cert, &err), 0);
    ck_assert_int_eq(pki_pool_verify(pool, pki_cert_der(cert), NULL, 0, PKI_USAGE_CLIENT, &err),
                     E_UNAUTHORIZED);
    ck_assert_str_eq(err.message, "certificate has expired");
    pki_cert_unref(cert);
    pki_pool_unref(pool);
    drop_ca();
}
END_TEST

/* A request carries subject and names to the signed certificate. */
START_TEST(signing_requests)
{
    static const struct str GROUPS[] = {{"system:nodes", 12}};
    static const struct str DNS[] = {{"node-1", 6}};
    static const struct str IPS[] = {{"192.168.1.10", 12}};
    make_ca();
    AUTO_ARENA *a = arena_new(0);
    struct error err = {0};
    struct pki_key *key;
    struct pki_subject subject = {.common_name = STR("system:node:node-1"),
                                  .organizations = GROUPS,
                                  .organization_count = 1,
                                  .dns_names = DNS,
                                  .dns_name_count = 1,
                                  .ip_addresses = IPS,
                                  .ip_address_count = 1};
    AUTO_BUF pem = BUF_INIT;
    ck_assert_int_eq(pki_key_generate(PKI_KEY_P256, &key, &err), 0);
    ck_assert_int_eq(pki_csr_create(&subject, key, &pem, &err), 0);
    struct pki_csr csr;
    ck_assert_msg(pki_csr_parse(a, buf_str(&pem), &csr, &err) == 0, "%s", err.message);
    ck_assert(str_eqc(csr.subject.common_name, "system:node:node-1"));
    ck_assert(str_eqc(csr.subject.dns_names[0], "node-1"));
    ck_assert(str_eqc(csr.subject.ip_addresses[0], "192.168.1.10"));
    struct pki_cert_config config = {.usages = PKI_USAGE_SERVER | PKI_USAGE_CLIENT};
    struct pki_cert *cert;
    ck_assert_int_eq(pki_csr_sign(&csr, &config, ca, ca_key, &cert, &err), 0);
    ck_assert(pki_cert_matches_key(cert, key));
    ck_assert(pki_cert_matches_host(cert, "node-1"));
    ck_assert_uint_eq(pki_cert_usages(cert), PKI_USAGE_SERVER | PKI_USAGE_CLIENT);
    /* One flipped bit in the signed part breaks the signature. */
    size_t inside = strlen("-----BEGIN CERTIFICATE REQUEST-----\n") + 60; /* Of the common name. */
    pem.data[inside] = pem.data[inside] == 'A' ? 'B' : 'A';
    struct pki_csr broken;
    ck_assert_int_ne(pki_csr_parse(a, buf_str(&pem), &broken, &err), 0);
    ck_assert_int_eq(pki_csr_parse(a, STR("no request"), &csr, &err), E_INVALID);
    pki_cert_unref(cert);
    pki_key_unref(key);
    drop_ca();
}
END_TEST

/* The hash is what `openssl x509 -pubkey | openssl pkey -pubin -outform der | sha256sum` prints. */
START_TEST(key_hash)
{
    make_ca();
    char hash[72];
    uint8_t raw[32];
    pki_cert_key_hash(ca, hash);
    ck_assert_uint_eq(strlen(hash), 71);
    pki_key_spki_sha256(ca_key, raw);
    char want[4];
    snprintf(want, sizeof(want), "%02x", raw[0]);
    ck_assert_int_eq(strncmp(hash, "sha256:", 7), 0);
    ck_assert_int_eq(strncmp(hash + 7, want, 2), 0);
    drop_ca();
}
END_TEST

UNIT_MAIN("pki", UNIT_TEST(keys_in_pem); UNIT_TEST(bad_pem); UNIT_TEST(client_certificate);
          UNIT_TEST(server_names); UNIT_TEST(pools); UNIT_TEST(expiry); UNIT_TEST(signing_requests);
          UNIT_TEST(key_hash))
