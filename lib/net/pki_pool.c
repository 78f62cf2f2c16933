/* pki_pool.c - sets of trusted CAs; see pki.h. */
#include "lib/net/pki_internal.h"

#include "lib/base/arena.h"

#include <openssl/err.h>

struct pki_pool {
    atomic_uint refs;
    X509_STORE *store;
};

int pki_pool_new(struct str ca_pem, struct pki_pool **ret, struct error *err)
{
    AUTO_ARENA *a = arena_new(0);
    struct pki_cert **certs;
    size_t count;
    int code = pki_certs_parse(a, ca_pem, &certs, &count, err);
    if (code < 0)
        return code;
    struct pki_pool *p = xzalloc(sizeof(*p));
    atomic_init(&p->refs, 1);
    p->store = X509_STORE_new();
    ASSERT(p->store != NULL);
    for (size_t i = 0; i < count; i++)
        X509_STORE_add_cert(p->store, certs[i]->x509);
    /* As in Go, whatever is in the pool is trusted, self-signed or not. */
    X509_STORE_set_flags(p->store, X509_V_FLAG_PARTIAL_CHAIN);
    *ret = p;
    return 0;
}

struct pki_pool *pki_pool_ref(struct pki_pool *p)
{
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

void pki_pool_unref(struct pki_pool *p)
{
    if (p == NULL || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1)
        return;
    X509_STORE_free(p->store);
    free(p);
}

static X509 *pki_x509_of_der(struct str der)
{
    const unsigned char *p = (const unsigned char *)der.data;
    return d2i_X509(NULL, &p, (long)der.len);
}

int pki_pool_verify(const struct pki_pool *p, struct str leaf_der, const struct str *chain_der,
                    size_t chain_count, unsigned usage, struct error *err)
{
    X509 *leaf = pki_x509_of_der(leaf_der);
    if (leaf == NULL)
        return pki_error(err, E_UNAUTHORIZED, "malformed certificate");
    STACK_OF(X509) *chain = sk_X509_new_null();
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    ASSERT(chain != NULL && context != NULL);
    for (size_t i = 0; i < chain_count; i++) {
        X509 *x509 = pki_x509_of_der(chain_der[i]);
        if (x509 != NULL)
            sk_X509_push(chain, x509);
    }
    int code = 0;
    X509_STORE_CTX_init(context, p->store, leaf, chain);
    X509_STORE_CTX_set_purpose(context, (usage & PKI_USAGE_SERVER) != 0 ? X509_PURPOSE_SSL_SERVER
                                                                        : X509_PURPOSE_SSL_CLIENT);
    if (X509_verify_cert(context) != 1)
        code = error_set(err, E_UNAUTHORIZED, "%s",
                         X509_verify_cert_error_string(X509_STORE_CTX_get_error(context)));
    ERR_clear_error();
    X509_STORE_CTX_free(context);
    sk_X509_pop_free(chain, X509_free);
    X509_free(leaf);
    return code;
}
