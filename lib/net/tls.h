/* tls.h - TLS contexts: which certificate to show, whom to trust.
 *
 * A context is reference-counted and may serve several loops and threads at
 * once. Its files are re-read by tls_context_reload(); connections made before
 * keep what they have. TLS 1.2 and 1.3 only; no renegotiation, no resumption
 * (so a revoked client certificate cannot live on in a ticket). */
#ifndef NET_TLS_H
#define NET_TLS_H

#include "lib/base/base.h"
#include "lib/base/error.h"
#include "lib/base/str.h"

struct ssl_st;
struct tls_context;
struct uv_loop_s;

enum tls_client_auth {
    TLS_CLIENT_AUTH_NONE,    /* No client certificate is asked for. */
    TLS_CLIENT_AUTH_REQUEST, /* Asked for. One that fails verification does not fail the
                              * handshake: tls_peer says so (kube-apiserver's behaviour). */
    TLS_CLIENT_AUTH_REQUIRE, /* The handshake fails without a certificate ca verifies. */
};

/* ALPN protocols, offered (client) or accepted (server) in this order. */
enum {
    TLS_ALPN_H2 = 1,
    TLS_ALPN_HTTP1 = 2,
};

/* PEM: a file, re-read on reload, or text. Neither: absent. Copied. */
struct tls_source {
    const char *file;
    struct str pem;
};

/* A further server certificate for some names (--tls-sni-cert-key). */
struct tls_sni_cert {
    struct tls_source cert, key;
    const char *const *names; /* "*.example.org" matches one label. No names: those in the
                               * certificate. Copied. */
    size_t name_count;
};

struct tls_config {
    bool server;
    struct tls_source cert; /* Leaf first, then its chain. Server: required. */
    struct tls_source key;
    struct tls_source ca; /* Server: whom clients must chain to. Client: whom servers must;
                           * absent = the system's bundle. */
    enum tls_client_auth client_auth; /* Server. */
    const struct tls_sni_cert *sni;   /* Server. Copied. */
    size_t sni_count;
    unsigned alpn;             /* TLS_ALPN_*; 0: no ALPN. */
    bool skip_verify;          /* Client: accept any server certificate. */
    const char *ca_pin;        /* Client, instead of ca: "sha256:<hex>" of the public key of a CA
                                * certificate that the server sends in its chain. Copied. */
    int version_min;           /* 0 or TLS1_2_VERSION, or TLS1_3_VERSION. */
    const char *cipher_suites; /* Comma list of IANA names, NULL: safe defaults. Applies to 1.2. */
};

/* Reads and checks everything once. E_INVALID names the file at fault. */
int tls_context_new(const struct tls_config *config, struct tls_context **ret, struct error *err);
struct tls_context *tls_context_ref(struct tls_context *c);
void tls_context_unref(struct tls_context *c); /* NULL is a no-op. */

/* Re-reads the files and, if any changed, uses them for new connections.
 * Thread-safe; blocks on the disk (see tls_reloader). On failure the old ones
 * stay in use. ret_changed may be NULL. */
int tls_context_reload(struct tls_context *c, bool *ret_changed, struct error *err);
/* Replaces the CA bundle in memory: CAs that live in a ConfigMap. */
int tls_context_set_ca(struct tls_context *c, struct str ca_pem, struct error *err);

/* Reloads a context every period_ms from a worker thread, and logs changes and
 * failures. Holds a reference to c. */
struct tls_reloader;
struct tls_reloader *tls_reloader_start(struct uv_loop_s *loop, struct tls_context *c,
                                        uint64_t period_ms);
void tls_reloader_stop(struct tls_reloader *r); /* Frees itself later. NULL is a no-op. */

/* What the other side showed. Immutable, counted, thread-safe. */
struct tls_peer {
    bool verified;            /* Chains to the context's CA and is valid for its role. */
    const char *verify_error; /* Why not, else NULL. */
    struct str common_name;
    const struct str *organizations; /* In certificate order. */
    size_t organization_count;
    const struct str *organizational_units;
    size_t organizational_unit_count;
    const struct str *dns_names; /* Subject alternative names. */
    size_t dns_name_count;
    const struct str *ip_addresses; /* As text. */
    size_t ip_address_count;
    const struct str *uris;
    size_t uri_count;
    const struct str *emails;
    size_t email_count;
    struct str serial;  /* Decimal. */
    int64_t not_before; /* Seconds since the epoch. */
    int64_t not_after;
    struct str der;              /* The leaf. */
    const struct str *chain_der; /* What was sent with it, leaf excluded. */
    size_t chain_count;
    uint8_t cert_sha256[32]; /* Of der. */
    uint8_t spki_sha256[32]; /* Of the leaf's SubjectPublicKeyInfo. */
};

struct tls_peer *tls_peer_ref(struct tls_peer *p);
void tls_peer_unref(struct tls_peer *p); /* NULL is a no-op. */

/* For stream.c. server_name: whom a client expects, a DNS name or an IP
 * address (sent as SNI unless an address); NULL on servers. NULL ret: E_TLS. */
int tls_session_new(struct tls_context *c, const char *server_name, struct ssl_st **ret,
                    struct error *err);
/* Client: offers these protocols (TLS_ALPN_*) instead of the context's. */
void tls_session_set_alpn(struct ssl_st *ssl, unsigned alpn);
/* NULL when the other side showed no certificate. The caller owns the reference. */
struct tls_peer *tls_session_peer(struct ssl_st *ssl);
/* As tls_error_set, but says first what was wrong with the server's certificate. */
int tls_session_error(struct ssl_st *ssl, struct error *err, const char *what);
/* Turns OpenSSL's error queue into E_TLS; empties the queue. */
int tls_error_set(struct error *err, const char *what);

#endif
