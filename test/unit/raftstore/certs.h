/* certs.h - a certificate authority and leaves of it, as files, for tests. */
#ifndef TEST_CERTS_H
#define TEST_CERTS_H

#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/net/pki.h"

static inline char *certs_write(const char *dir, const char *name, struct buf *b)
{
    char *path = xasprintf("%s/%s", dir, name);
    ASSERT(file_write_atomic(path, b->data, b->len, 0600, NULL) == 0);
    buf_clear(b);
    return path;
}

struct certs {
    struct pki_key *ca_key;
    struct pki_cert *ca;
};

static inline struct certs make_ca(const char *dir, const char *name, char **ret_ca)
{
    struct certs c;
    AUTO_BUF b = BUF_INIT;
    ASSERT(pki_key_generate(PKI_KEY_P256, &c.ca_key, NULL) == 0);
    struct pki_cert_config config = {.subject.common_name = STR("members"), .is_ca = true};
    ASSERT(pki_ca_create(&config, c.ca_key, &c.ca, NULL) == 0);
    pki_cert_pem(c.ca, &b);
    *ret_ca = certs_write(dir, name, &b);
    return c;
}

static inline void make_leaf(const char *dir, const struct certs *ca, const char *organization,
                             const char *name, char **ret_cert, char **ret_key)
{
    struct pki_key *key;
    struct pki_cert *cert;
    struct str org = str_of(organization), ip = STR("127.0.0.1");
    AUTO_BUF b = BUF_INIT;
    ASSERT(pki_key_generate(PKI_KEY_P256, &key, NULL) == 0);
    struct pki_cert_config config = {.subject = {.common_name = str_of(name),
                                                 .organizations = &org,
                                                 .organization_count = 1,
                                                 .ip_addresses = &ip,
                                                 .ip_address_count = 1},
                                     .usages = PKI_USAGE_SERVER | PKI_USAGE_CLIENT};
    ASSERT(pki_cert_sign(&config, key, ca->ca, ca->ca_key, &cert, NULL) == 0);
    pki_cert_pem(cert, &b);
    AUTO_FREE char *cert_name = xasprintf("%s.crt", name);
    AUTO_FREE char *key_name = xasprintf("%s.key", name);
    *ret_cert = certs_write(dir, cert_name, &b);
    pki_key_pem(key, &b);
    *ret_key = certs_write(dir, key_name, &b);
    pki_cert_unref(cert);
    pki_key_unref(key);
}

static inline void certs_done(struct certs *c)
{
    pki_key_unref(c->ca_key);
    pki_cert_unref(c->ca);
}

#endif
