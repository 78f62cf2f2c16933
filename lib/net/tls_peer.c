/* tls_peer.c - what a connection's other side showed; see tls.h. */
#include "lib/net/tls.h"

#include "lib/base/arena.h"
#include "lib/net/pki_internal.h"

#include <openssl/ssl.h>

struct tls_peer_box {
    struct tls_peer peer; /* First: the public part. */
    atomic_uint refs;
    struct arena *arena;
};

struct tls_peer *tls_peer_ref(struct tls_peer *p)
{
    struct tls_peer_box *box = CONTAINER_OF(p, struct tls_peer_box, peer);
    atomic_fetch_add_explicit(&box->refs, 1, memory_order_relaxed);
    return p;
}

void tls_peer_unref(struct tls_peer *p)
{
    if (p == NULL)
        return;
    struct tls_peer_box *box = CONTAINER_OF(p, struct tls_peer_box, peer);
    if (atomic_fetch_sub_explicit(&box->refs, 1, memory_order_acq_rel) == 1)
        arena_free(box->arena); /* Holds the box, too. */
}

static void tls_peer_read_names(struct arena *a, X509 *x509, struct tls_peer *p)
{
    struct pki_subject s = {0};
    const X509_NAME *name = X509_get_subject_name(x509);
    pki_name_read(a, name, &s);
    GENERAL_NAMES *names = X509_get_ext_d2i(x509, NID_subject_alt_name, NULL, NULL);
    if (names != NULL)
        pki_alt_names_read(a, names, &s);
    GENERAL_NAMES_free(names);
    p->common_name = s.common_name;
    p->organizations = s.organizations;
    p->organization_count = s.organization_count;
    p->organizational_units =
        pki_name_values(a, name, NID_organizationalUnitName, &p->organizational_unit_count);
    p->dns_names = s.dns_names;
    p->dns_name_count = s.dns_name_count;
    p->ip_addresses = s.ip_addresses;
    p->ip_address_count = s.ip_address_count;
    p->uris = s.uris;
    p->uri_count = s.uri_count;
    p->emails = s.emails;
    p->email_count = s.email_count;
}

/* What was sent behind the leaf. */
static void tls_peer_read_chain(struct arena *a, const STACK_OF(X509) * chain, const X509 *leaf,
                                struct tls_peer *p)
{
    int count = sk_X509_num(chain);
    struct str *ders = ARENA_ARRAY(a, struct str, count > 0 ? (size_t)count : 0);
    for (int i = 0; i < count; i++) {
        const X509 *x509 = sk_X509_value(chain, i);
        /* A client sees the leaf in the chain, a server does not. */
        if (X509_cmp(x509, leaf) != 0)
            ders[p->chain_count++] = pki_der_of_x509(a, x509);
    }
    p->chain_der = ders;
}

struct tls_peer *tls_session_peer(struct ssl_st *ssl)
{
    X509 *x509 = SSL_get0_peer_certificate(ssl);
    if (x509 == NULL)
        return NULL;
    struct arena *a = arena_new(2048);
    struct tls_peer_box *box = ARENA_NEW(a, struct tls_peer_box);
    struct tls_peer *p = &box->peer;
    atomic_init(&box->refs, 1);
    box->arena = a;
    long verdict = SSL_get_verify_result(ssl);
    p->verified = verdict == X509_V_OK && SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE;
    if (!p->verified)
        p->verify_error =
            verdict == X509_V_OK ? "not verified" : X509_verify_cert_error_string(verdict);
    tls_peer_read_names(a, x509, p);
    tls_peer_read_chain(a, SSL_get_peer_cert_chain(ssl), x509, p);
    p->serial = pki_serial_read(a, X509_get0_serialNumber(x509));
    p->not_before = pki_time_read(X509_get0_notBefore(x509));
    p->not_after = pki_time_read(X509_get0_notAfter(x509));
    p->der = pki_der_of_x509(a, x509);
    net_sha256(p->der.data, p->der.len, p->cert_sha256);
    unsigned char *spki = NULL;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x509), &spki);
    if (len > 0)
        net_sha256(spki, (size_t)len, p->spki_sha256);
    OPENSSL_free(spki);
    return p;
}
