/* fuzz_pki.c - PEM text from outside: signing requests, certificates, keys. */
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/net/pki.h"

#include <string.h>

static struct pki_key *ca_key;
static struct pki_cert *ca;
static struct buf csr_pem, cert_pem, key_pem;

static void make_seeds(void)
{
    struct str dns = STR("node-1"), ip = STR("10.0.0.1"), org = STR("system:nodes");
    struct pki_subject subject = {.common_name = STR("system:node:node-1"),
                                  .organizations = &org,
                                  .organization_count = 1,
                                  .dns_names = &dns,
                                  .dns_name_count = 1,
                                  .ip_addresses = &ip,
                                  .ip_address_count = 1};
    struct pki_cert_config config = {.subject = {.common_name = STR("ca")}};
    if (pki_key_generate(PKI_KEY_P256, &ca_key, NULL) != 0 ||
        pki_ca_create(&config, ca_key, &ca, NULL) != 0 ||
        pki_csr_create(&subject, ca_key, &csr_pem, NULL) != 0)
        PANIC("no seeds");
    pki_cert_pem(ca, &cert_pem);
    pki_key_pem(ca_key, &key_pem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (ca == NULL)
        make_seeds();
    AUTO_ARENA *a = arena_new(0);
    struct str pem = str_n((const char *)data, size);
    struct pki_csr csr;
    struct pki_cert **certs, *cert;
    struct pki_key **keys;
    struct pki_pool *pool;
    size_t count;
    struct pki_cert_config config = {.usages = PKI_USAGE_CLIENT};
    if (pki_csr_parse(a, pem, &csr, NULL) == 0 &&
        pki_csr_sign(&csr, &config, ca, ca_key, &cert, NULL) == 0)
        pki_cert_unref(cert);
    if (pki_certs_parse(a, pem, &certs, &count, NULL) == 0) {
        char hash[72];
        pki_cert_key_hash(certs[0], hash);
        pki_cert_matches_host(certs[0], "node-1");
    }
    pki_keys_parse(a, pem, &keys, &count, NULL);
    if (pki_pool_new(pem, &pool, NULL) == 0) {
        pki_pool_verify(pool, pki_cert_der(ca), NULL, 0, PKI_USAGE_CLIENT, NULL);
        pki_pool_unref(pool);
    }
    return 0;
}

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    if (ca == NULL)
        make_seeds();
    const struct buf *seeds[] = {&csr_pem, &cert_pem, &key_pem};
    if (i >= ARRAY_SIZE(seeds))
        return 0;
    memcpy(p, seeds[i]->data, MIN_OF(seeds[i]->len, cap));
    return MIN_OF(seeds[i]->len, cap);
}
