/* test_kinds_certificates.c - what ClusterTrustBundles and PodCertificateRequests must look like,
 * and what a signer may make of the latter. */
#include "api/certificates_v1beta1.h"
#include "apiserver/kinds/kinds.h"
#include "lib/base/encode.h"
#include "lib/net/pki.h"
#include "test/unit/apiserver/kinds_fixture.h"

#include <string.h>
#include <time.h>

#define NOW_S INT64_C(1700000000) /* The fixture's. */
#define HOUR_S INT64_C(3600)

/* --- ClusterTrustBundle --------------------------------------------------------------------- */

static const char *pem_of(struct arena *a, bool ca)
{
    struct pki_key *key;
    struct pki_cert *cert;
    AUTO_BUF pem = BUF_INIT;
    struct pki_cert_config c = {.subject = {.common_name = STR("x")}, .is_ca = ca};
    ck_assert_int_eq(pki_key_generate(PKI_KEY_P256, &key, NULL), 0);
    if (ca) {
        ck_assert_int_eq(pki_ca_create(&c, key, &cert, NULL), 0);
    } else {
        struct pki_cert_config root = {.subject = {.common_name = STR("root")}, .is_ca = true};
        struct pki_cert *issuer;
        ck_assert_int_eq(pki_ca_create(&root, key, &issuer, NULL), 0);
        ck_assert_int_eq(pki_cert_sign(&c, key, issuer, key, &cert, NULL), 0);
        pki_cert_unref(issuer);
    }
    pki_cert_pem(cert, &pem);
    pki_cert_unref(cert);
    pki_key_unref(key);
    return str_c(arena_str(a, buf_str(&pem)));
}

static const char *bundle(struct arena *a, const char *name, const char *signer, const char *pem)
{
    AUTO_BUF b = BUF_INIT;
    for (const char *p = pem; *p != '\0'; p++)
        buf_printf(&b, *p == '\n' ? "\\n" : "%c", *p);
    return str_c(
        arena_printf(a, "{'metadata':{'name':'%s'},'spec':{%s%s%s'trustBundle':'" STR_FMT "'}}",
                     name, *signer != '\0' ? "'signerName':'" : "", signer,
                     *signer != '\0' ? "'," : "", STR_ARG(buf_str(&b))));
}

static struct fixture bundles(struct arena *a)
{
    return fixture_new(a, &kind_clustertrustbundles,
                       &certificates_v1beta1_cluster_trust_bundle_msg);
}

/* The signer stands in front of the name, and nothing like it where there is none. */
START_TEST(bundle_names)
{
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = bundles(a);
    const char *ca = pem_of(a, true);
    ck_assert_str_eq(fixture_create(&f, bundle(a, "plain", "", ca)), "");
    ck_assert_str_eq(fixture_create(&f, bundle(a, "example.com:ca:v1", "example.com/ca", ca)), "");
    ck_assert_str_eq(fixture_create(&f, bundle(a, "example.com:ca", "", ca)),
                     "metadata.name: Invalid value: \"example.com:ca\": ClusterTrustBundle without "
                     "signer name must not have \":\" in its name");
    ck_assert_str_eq(fixture_create(&f, bundle(a, "v1", "example.com/ca", ca)),
                     "metadata.name: Invalid value: \"v1\": ClusterTrustBundle for signerName "
                     "example.com/ca must be named with prefix example.com:ca:");
    ck_assert_ptr_nonnull(
        strstr(fixture_create(&f, bundle(a, "example.com:ca:V_1", "example.com/ca", ca)),
               "a lowercase RFC 1123 subdomain must consist of"));
    ck_assert_ptr_nonnull(strstr(fixture_create(&f, bundle(a, "ca:x:y", "ca/x", ca)),
                                 "spec.signerName: Invalid value: \"ca\": should be a domain with "
                                 "at least two segments separated by dots"));
}
END_TEST

/* CA certificates and nothing else, each once; text between them is nobody's business. */
START_TEST(bundle_certificates)
{
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = bundles(a);
    const char *one = pem_of(a, true), *two = pem_of(a, true), *leaf = pem_of(a, false);
#define BUNDLE(...) fixture_create(&f, bundle(a, "b", "", str_c(arena_printf(a, __VA_ARGS__))))
#define OMITTED "spec.trustBundle: Invalid value: \"<value omitted>\": "
    ck_assert_str_eq(BUNDLE("some words\n%smore\n%s", one, two), "");
    ck_assert_str_eq(BUNDLE("words"), OMITTED "at least one trust anchor must be provided");
    ck_assert_str_eq(BUNDLE("%s%s%s%s%s", one, two, one, two, one),
                     OMITTED "duplicate trust anchor (indices [0 2 4])\n" OMITTED
                             "duplicate trust anchor (indices [1 3])");
    ck_assert_str_eq(BUNDLE("%s%s", one, leaf), OMITTED "entry 1 does not have the CA bit set");
    ck_assert_str_eq(BUNDLE("-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----\n%s", one),
                     OMITTED "entry 0 has bad block type: PUBLIC KEY");
    ck_assert_str_eq(
        BUNDLE("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n%s", one),
        OMITTED "entry 0 does not parse as X.509");
    ck_assert_str_eq(BUNDLE("-----BEGIN CERTIFICATE-----\nA: b\n\n%s", strchr(one, '\n') + 1),
                     OMITTED "entry 0 has PEM block headers");
    /* Broken armour is passed over. */
    ck_assert_str_eq(BUNDLE("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n%s", one),
                     "");
}
END_TEST

/* The signer stays; certificates that stay are not judged again. */
START_TEST(bundle_updates)
{
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = bundles(a);
    const char *ca = pem_of(a, true);
    ck_assert_str_eq(fixture_update(&f, bundle(a, "b", "", "odd"), bundle(a, "b", "", "odd")), "");
    ck_assert_str_ne(fixture_update(&f, bundle(a, "b", "", "odd"), bundle(a, "b", "", "new")), "");
    ck_assert_str_eq(fixture_update(&f, bundle(a, "e.com:ca:b", "e.com/ca", ca),
                                    bundle(a, "e.com:ca:b", "e.com/ca", pem_of(a, true))),
                     "");
    ck_assert_ptr_nonnull(strstr(fixture_update(&f, bundle(a, "e.com:ca:b", "e.com/ca", ca),
                                                bundle(a, "e.com:ca:b", "e.com/cb", ca)),
                                 "spec.signerName: Invalid value: \"e.com/cb\": field is "
                                 "immutable"));
}
END_TEST

/* --- PodCertificateRequest ------------------------------------------------------------------ */

static struct fixture requests(struct arena *a)
{
    return fixture_new(a, &kind_podcertificaterequests,
                       &certificates_v1beta1_pod_certificate_request_msg);
}

static const char *base64(struct arena *a, struct str bytes)
{
    AUTO_BUF b = BUF_INIT;
    base64_encode(BASE64_STD, bytes.data, bytes.len, &b);
    return str_c(arena_str(a, buf_str(&b)));
}

static const char *stub_of(struct arena *a, const struct pki_key *key)
{
    AUTO_BUF der = BUF_INIT;
    ck_assert_int_eq(pki_csr_create_der(&(struct pki_subject){0}, key, &der, NULL), 0);
    return base64(a, buf_str(&der));
}

/* more: further members of spec, each with a comma behind. */
static const char *request(struct arena *a, const char *more, const char *status)
{
    return str_c(arena_printf(
        a,
        "{'metadata':{'name':'r'},'spec':{%s'signerName':'example.com/ca','podName':'p',"
        "'podUID':'pod-uid','serviceAccountName':'s','serviceAccountUID':'account-uid',"
        "'nodeName':'n','nodeUID':'node-uid','maxExpirationSeconds':7200},'status':{%s}}",
        more, status));
}

static const char *with_stub(struct arena *a, const struct pki_key *key)
{
    return str_c(arena_printf(a, "'stubPKCS10Request':'%s',", stub_of(a, key)));
}

/* Every type of key that volumes can ask for; the request is signed with it. */
START_TEST(request_keys)
{
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = requests(a);
    static const enum pki_key_type good[] = {PKI_KEY_P256, PKI_KEY_P384, PKI_KEY_P521,
                                             PKI_KEY_ED25519, PKI_KEY_RSA3072};
    struct pki_key *key;
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        ck_assert_int_eq(pki_key_generate(good[i], &key, NULL), 0);
        ck_assert_str_eq(fixture_create(&f, request(a, with_stub(a, key), "")), "");
        pki_key_unref(key);
    }
    ck_assert_int_eq(pki_key_generate(PKI_KEY_RSA2048, &key, NULL), 0);
    ck_assert_str_eq(fixture_create(&f, request(a, with_stub(a, key), "")),
                     "spec.stubPKCS10Request: Invalid value: \"2048-bit modulus\": RSA keys must "
                     "have modulus size 3072 or 4096");
    pki_key_unref(key);
    AUTO_BUF der = BUF_INIT;
    ck_assert_int_eq(pki_key_generate(PKI_KEY_P256, &key, NULL), 0);
    ck_assert_int_eq(pki_csr_create_der(&(struct pki_subject){0}, key, &der, NULL), 0);
    pki_key_unref(key);
    der.data[der.len - 1] ^= 1;
    const char *bent =
        str_c(arena_printf(a, "'stubPKCS10Request':'%s',", base64(a, buf_str(&der))));
    ck_assert_str_eq(fixture_create(&f, request(a, bent, "")),
                     "spec.stubPKCS10Request: Invalid value: could not verify the signature of the "
                     "PKCS#10 request");
    ck_assert_str_eq(fixture_create(&f, request(a, "'stubPKCS10Request':'AAAA',", "")),
                     "spec.stubPKCS10Request: Invalid value: \"AAAA\": must be a valid PKCS#10 "
                     "request");
    ck_assert_str_eq(fixture_create(&f, request(a, "", "")),
                     "spec: Invalid value: exactly one of (stubPKCS10Request) or (pkixPublicKey, "
                     "proofOfPossession) must be set");
}
END_TEST

/* A key and "pod-uid" signed with it, by another program: openssl pkeyutl -sign. */
static const struct {
    const char *key, *proof;
} proofs[] = {
    {"MCowBQYDK2VwAyEA9A4Xzu7rQt0nnWXBXfXOJSyvYbCyvOnQyXaCGFs+Tao=",
     "34s9i2C83PUSqVMbSWShcHR4lsQ5Gx0FMOXJwul6P5/ojnvu2onKDNNyZZhj3ghSSXQfDO+BdWKCVPRjvhH7"
     "Bg=="},
    {"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEHLwXZbfF/Q7grqYA7nLkTNatUSzxPZ/422xPRngkWwb1m0xQ"
     "lyctmsy6GUfmFvTk0rXKnH+xth2U4vQionv9sA==",
     "MEYCIQChI0+K/FDdoAWE8EqoZ0dNTG5tjbDx4ALkTum5YUqzeAIhAP73FfqHCC29NRHSYatb8Vh5wYJXDdor"
     "+x/bp2qnUK0B"},
    {"MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQA0eYj0e5a8NPdTwALNtb7yYh2WleVSpJq/0J0Vy8R8TzcGcIT"
     "XDHY/XHOEs3EEIyevxF/wdgMEEmUxnxyZWzMKH0AfcG/s9vZt4zJw9SqHUu1iX4i24UARriQQad8Glq4FW7S"
     "dqieZvlvHjbIX6wnb7Yz2JqQf61G4MWjEHE2z2BsYhU=",
     "MIGHAkIBiI0d7WxtN85+G938YMPWRV0QtoH9CIcEIGmeH0AOT62tH+I+pPiJB+hzTbeH8KQ1mlC9aqtyW8yN"
     "U1S4pR4X8uwCQTshSrDqOpC4e9ehpbtrJeTSfahghBKBT7D5iWA+gNtthu67bXVqAeKInH7FpOfzTc2Oyu2u"
     "OsGiVtpU7mvpWMsI"},
    {"MIIBojANBgkqhkiG9w0BAQEFAAOCAY8AMIIBigKCAYEAlAMe4FHMof6JJkG2Jp+yGfOrYRzkfJ9rgfOkNEI+"
     "DdE0SnQXrym4O2jYymrU7KwBqSyiDCuGQOxacW4GTN5hd9CU5+h/KWMbVaqboS1eCUihRes1Zt7HgS4dm60h"
     "vT/Wkfx7Uq+mNuhCs8T2mv9RW3h8ys3iCNkiU8TLnp7pE6ZNbDmzXobCgLQIpQ+w6TRDFyfM9RM1dNIWxlsd"
     "SoRL29siNw0nV5J6JDQ3bdBtOvZg9PTdR7aFO0OmeyZU7wOq+4ohF3Y1UEw45mTNkIH9cS6T8y3oFFIJf2K/"
     "MUgWZLof0ZWcC29nfuPMLl4+oB67PYzJd8yLvK8TOjFTmO8kvyp8qfoGk9ctOFEAxYs+B7EMe1WQdycZgeRa"
     "40qdUYCKtPHOjLrze2CkcXyTFkQJgyjvBzs6QFRL2feg33sPHaGctMPTCSTe86iWvmyobUBxh7vCb2K1X+cf"
     "ZFO4+Wgzq9N7pOdWg9gbzXXbOFcodANKtHldW8MaJXNKcwQE7oS/AgMBAAE=",
     "hfFjLO5utVPqF8YxVGdlB7jL4xJPKoFrqT6Iap1CWurFEn8l0frRy4tMftbpxp89cnImNQ+q0GTICf9wvXLS"
     "UzGp3UAj90uezqFT9oNSCAuyxc0A/osC6Wwdsuv+dmv+BlcyG9QfnzSenyk7DyhPN+7ZYOGePov9fI/DLPIH"
     "bRD1Am8p/Kgcj5upIlHjaOg33OsIZl21RpyFiH2WnzYW3WzT4+P2A1Asp1UxgTko1DPuikS991z3LHZt1axG"
     "skO/wLRDc5H3k+e+9DrkNLqUIj0aJUOKscsvLVtrgeQhH/0unr3IijiMAcnV0E2MbKENER4lQ3CUemVz9Vt3"
     "tpFQcblVt1CyFQpcqLi3lpF9+52THR1oC7tUStpgh/BZoTic48pcpCEctwJRTq//4iPKGnTfhPA0jSSJqhAh"
     "x2tGKNoanuZzJYog/A5CSOZ79Z1tJn/NEnUq12v95eR7iu0k1VfYy0C66iCzlLsDOPy/ug29KIyFSltrXeVU"
     "DWX8WkZ3"},
};

/* The older form. */
START_TEST(request_proofs)
{
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = requests(a);
    for (size_t i = 0; i < ARRAY_SIZE(proofs); i++) {
        ck_assert_str_eq(
            fixture_create(
                &f, request(a,
                            str_c(arena_printf(a, "'pkixPublicKey':'%s','proofOfPossession':'%s',",
                                               proofs[i].key, proofs[i].proof)),
                            "")),
            "");
        ck_assert_str_eq(
            fixture_create(
                &f, request(a,
                            str_c(arena_printf(a, "'pkixPublicKey':'%s','proofOfPossession':'%s',",
                                               proofs[i].key,
                                               proofs[(i + 1) % ARRAY_SIZE(proofs)].proof)),
                            "")),
            "spec.proofOfPossession: Invalid value: could not verify proof-of-possession "
            "signature");
    }
}
END_TEST

START_TEST(request_fields)
{
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = requests(a);
    struct pki_key *key;
    ck_assert_int_eq(pki_key_generate(PKI_KEY_P256, &key, NULL), 0);
    const char *stub = with_stub(a, key), *good = request(a, stub, "");
    pki_key_unref(key);
    const struct {
        const char *from, *to, *message;
    } cases[] = {
        {"7200", "3599",
         "spec.maxExpirationSeconds: Invalid value: 3599: must be in the range [3600, 7862400]"},
        {"7200", "7862401",
         "spec.maxExpirationSeconds: Invalid value: 7862401: must be in the range [3600, 7862400]"},
        {"'pod-uid'", "''", "spec.podUID: Invalid value: \"\": must not be empty"},
        {"example.com/ca", "ca",
         "spec.signerName: Invalid value: \"ca\": must be a fully qualified domain and path of the "
         "form 'example.com/signer-name'"},
        {"'nodeName'", "'unverifiedUserAnnotations':{'plain':'x'},'nodeName'",
         "spec.unverifiedUserAnnotations: Invalid value: \"plain\": must be a domain-prefixed key "
         "(such as \"acme.io/foo\")"},
        {"'nodeName'", "'unverifiedUserAnnotations':{'Acme.io/Foo':'x'},'nodeName'", ""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        good = request(a, stub, "");
        const char *at = strstr(good, cases[i].from);
        ck_assert_ptr_nonnull(at);
        ck_assert_str_eq(
            fixture_create(&f, str_c(arena_printf(a, "%.*s%s%s", (int)(at - good), good,
                                                  cases[i].to, at + strlen(cases[i].from)))),
            cases[i].message);
    }
    good = request(a, stub, "");
    const char *at = strstr(good, "example.com/ca");
    const char *own = str_c(arena_printf(a, "%.*skubernetes.io/x%s", (int)(at - good), good,
                                         at + strlen("example.com/ca")));
    ck_assert_str_eq(fixture_create(&f, own), "");
    ck_assert_ptr_nonnull(
        strstr(fixture_update(&f, request(a, stub, ""), own), "field is immutable"));
}
END_TEST

/* --- what a signer makes of it --- */

static const char *condition(struct arena *a, const char *type, const char *status)
{
    return str_c(arena_printf(a,
                              "'conditions':[{'type':'%s','status':'%s','reason':'R','message':'m',"
                              "'lastTransitionTime':'2023-11-14T22:13:20Z'}]",
                              type, status));
}

static const char *time_of(struct arena *a, int64_t s)
{
    time_t t = (time_t)s;
    struct tm tm;
    char text[32];
    gmtime_r(&t, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    return str_c(arena_strc(a, text));
}

struct issue {
    int64_t life_s, refresh_s, stated_before_s;
    bool other_key;
    const char *dns;
};

static const char *issued(struct arena *a, struct pki_key *key, struct issue i)
{
    struct pki_key *ca_key, *other;
    struct pki_cert *ca, *cert;
    AUTO_BUF pem = BUF_INIT, line = BUF_INIT;
    struct str dns = str_of(i.dns);
    ck_assert_int_eq(pki_key_generate(PKI_KEY_P256, &ca_key, NULL), 0);
    ck_assert_int_eq(pki_key_generate(PKI_KEY_P256, &other, NULL), 0);
    struct pki_cert_config root = {.subject = {.common_name = STR("root")},
                                   .is_ca = true,
                                   .not_before = NOW_S - 1000,
                                   .not_after = NOW_S + 1000 * HOUR_S};
    struct pki_cert_config leaf = {
        .subject = {.common_name = STR("x"), .dns_names = &dns, .dns_name_count = i.dns != NULL},
        .not_before = NOW_S,
        .not_after = NOW_S + i.life_s};
    ck_assert_int_eq(pki_ca_create(&root, ca_key, &ca, NULL), 0);
    ck_assert_int_eq(pki_cert_sign(&leaf, i.other_key ? other : key, ca, ca_key, &cert, NULL), 0);
    pki_cert_pem(cert, &pem);
    pki_cert_unref(cert);
    pki_cert_unref(ca);
    pki_key_unref(ca_key);
    pki_key_unref(other);
    for (size_t n = 0; n < pem.len; n++)
        buf_printf(&line, pem.data[n] == '\n' ? "\\n" : "%c", pem.data[n]);
    return str_c(arena_printf(a,
                              "%s,'certificateChain':'" STR_FMT
                              "','notBefore':'%s','notAfter':'%s','beginRefreshAt':'%s'",
                              condition(a, "Issued", "True"), STR_ARG(buf_str(&line)),
                              time_of(a, NOW_S + i.stated_before_s), time_of(a, NOW_S + i.life_s),
                              time_of(a, NOW_S + i.refresh_s)));
}

START_TEST(decisions)
{
    AUTO_ARENA *a = arena_new(0);
    struct fixture f = requests(a);
    struct pki_key *key;
    ck_assert_int_eq(pki_key_generate(PKI_KEY_P256, &key, NULL), 0);
    const char *stub = with_stub(a, key);
#define TO(text) fixture_sub(&f, "status", request(a, stub, ""), request(a, stub, text))
#define FAILS(text, message)                                                                       \
    do {                                                                                           \
        const char *got = TO(text);                                                                \
        ck_assert_msg(strstr(got, message) != NULL, "%s: %s", message, got);                       \
    } while (0)
    const struct issue good = {.life_s = HOUR_S, .refresh_s = 1800};
    ck_assert_str_eq(TO(condition(a, "Denied", "True")), "");
    ck_assert_str_eq(TO(condition(a, "Failed", "True")), "");
    ck_assert_str_eq(TO(issued(a, key, good)), "");
    FAILS(condition(a, "Denied", "False"),
          "status.conditions.[0].status: Unsupported value: \"False\": supported values: \"True\"");
    FAILS(condition(a, "Maybe", "True"),
          "status.conditions.[0].type: Unsupported value: \"Maybe\"");
    FAILS("'certificateChain':'x'", "status: Invalid value: status is immutable unless "
                                    "transitioning to \"Issued\", \"Denied\", or \"Failed\"");
    FAILS(str_c(arena_printf(a, "%s,'certificateChain':'x'", condition(a, "Denied", "True"))),
          "non-condition status fields must be empty when denying or failing");
    FAILS(condition(a, "Issued", "True"), "must contain at least one certificate");
    struct issue bad = good;
    bad.other_key = true;
    FAILS(issued(a, key, bad), "leaf certificate was not issued to the requested public key");
    bad = good;
    bad.life_s = HOUR_S - 1;
    FAILS(issued(a, key, bad),
          "status.certificateChain: Invalid value: 59m59s: leaf certificate lifetime must be >= 1 "
          "hour");
    bad.life_s = 2 * HOUR_S + 1;
    FAILS(issued(a, key, bad), "2h0m1s: leaf certificate lifetime must be <= "
                               "spec.maxExpirationSeconds (7200)");
    bad = good;
    bad.refresh_s = 599;
    FAILS(issued(a, key, bad), "must be at least 10 minutes after status.notBefore");
    bad.refresh_s = HOUR_S - 599;
    FAILS(issued(a, key, bad), "must be at least 10 minutes before status.notAfter");
    bad = good;
    bad.stated_before_s = 1;
    FAILS(issued(a, key, bad),
          "status.notBefore: Invalid value: 2023-11-14 22:13:21 +0000 UTC: must be set to the "
          "NotBefore time encoded in the leaf certificate");
    bad = good;
    bad.dns = "a..b";
    FAILS(issued(a, key, bad), "leaf certificate's DNSName should not contain '..'");
    /* What is decided stays. */
    ck_assert_str_eq(fixture_sub(&f, "status", request(a, stub, condition(a, "Denied", "True")),
                                 request(a, stub, condition(a, "Failed", "True"))),
                     "status: Invalid value: immutable after PodCertificateRequest is issued, "
                     "denied, or failed");
    pki_key_unref(key);
}
END_TEST

UNIT_MAIN("kinds_certificates", {
    UNIT_TEST(bundle_names);
    UNIT_TEST(bundle_certificates);
    UNIT_TEST(bundle_updates);
    UNIT_TEST(request_keys);
    UNIT_TEST(request_proofs);
    UNIT_TEST(request_fields);
    UNIT_TEST(decisions);
})
