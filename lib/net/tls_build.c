/* tls_build.c - one OpenSSL context out of a config and the texts of its files:
 * certificates, names, trust, ciphers. See tls.h. */
#include "lib/net/tls_internal.h"

#include "lib/base/arena.h"
#include "lib/base/encode.h"
#include "lib/net/pki_internal.h"
#include "lib/net/tls_writer.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>

/* AEAD with forward secrecy only; 1.3's suites are all of that kind. */
#define TLS_CIPHERS_DEFAULT "ECDHE+AESGCM:ECDHE+CHACHA20"
/* Of TLS 1.3, in Go's order: OpenSSL's prefers the longer key, which costs a tenth more. */
#define TLS_SUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

/* A certificate for some names, as loaded. */
struct tls_identity {
    X509 *cert;
    EVP_PKEY *key;
    STACK_OF(X509) * chain;
    const char *const *names;
    size_t name_count;
};

/* What one SSL_CTX was made of; lives in its ex_data. */
struct tls_state {
    unsigned alpn;
    struct tls_identity *sni;
    size_t sni_count;
    uint8_t ca_pin[32];
    struct arena *arena;
};

static int state_index = -1;
static pthread_once_t state_once = PTHREAD_ONCE_INIT;

static void tls_state_free(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl,
                           void *argp)
{
    UNUSED(parent);
    UNUSED(ad);
    UNUSED(idx);
    UNUSED(argl);
    UNUSED(argp);
    struct tls_state *st = ptr;
    if (st == NULL)
        return;
    for (size_t i = 0; i < st->sni_count; i++) {
        X509_free(st->sni[i].cert);
        EVP_PKEY_free(st->sni[i].key);
        sk_X509_pop_free(st->sni[i].chain, X509_free);
    }
    arena_free(st->arena);
}

static void tls_state_index_init(void)
{
    state_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, tls_state_free);
    ASSERT(state_index >= 0);
}

/* --- identities --- */

static const char *tls_source_name(struct tls_source s, const char *otherwise)
{
    return s.file != NULL ? s.file : otherwise;
}

/* On success the caller owns *ret's references. */
static int tls_identity_load(struct tls_source cert, struct str cert_pem, struct tls_source key,
                             struct str key_pem, struct tls_identity *ret, struct error *err)
{
    AUTO_ARENA *a = arena_new(0);
    struct pki_cert **certs;
    struct pki_key *private_key = NULL;
    size_t count;
    int code = pki_certs_parse(a, cert_pem, &certs, &count, err);
    if (code < 0) {
        error_prefix(err, "%s", tls_source_name(cert, "certificate"));
        return code;
    }
    code = pki_key_parse(key_pem, &private_key, err);
    if (code == 0 && !private_key->is_private)
        code = error_set(err, E_INVALID, "not a private key");
    else if (code == 0 && !pki_cert_matches_key(certs[0], private_key))
        code =
            error_set(err, E_INVALID, "private key does not match public key of the certificate");
    if (code < 0) {
        error_prefix(err, "%s", tls_source_name(key, "private key"));
        pki_key_unref(private_key);
        return code;
    }
    *ret = (struct tls_identity){.cert = certs[0]->x509, .key = private_key->evp};
    X509_up_ref(ret->cert);
    EVP_PKEY_up_ref(ret->key);
    pki_key_unref(private_key);
    ret->chain = sk_X509_new_null();
    for (size_t i = 1; i < count; i++) {
        X509_up_ref(certs[i]->x509);
        sk_X509_push(ret->chain, certs[i]->x509);
    }
    return 0;
}

static bool tls_name_matches(struct str pattern, struct str name)
{
    if (pattern.len == name.len && strncasecmp(pattern.data, name.data, name.len) == 0)
        return true;
    ptrdiff_t dot = str_find(name, '.', 0);
    if (!str_has_prefix(pattern, STR("*.")) || dot <= 0)
        return false;
    struct str tail = str_sub(pattern, 1, pattern.len), rest = str_sub(name, (size_t)dot, name.len);
    return tail.len == rest.len && strncasecmp(tail.data, rest.data, tail.len) == 0;
}

static bool tls_identity_matches(const struct tls_identity *id, const char *name)
{
    if (id->name_count == 0)
        return X509_check_host(id->cert, name, strlen(name), 0, NULL) == 1;
    for (size_t i = 0; i < id->name_count; i++)
        if (tls_name_matches(str_of(id->names[i]), str_of(name)))
            return true;
    return false;
}

static int tls_on_server_name(SSL *ssl, int *alert, void *arg)
{
    UNUSED(alert);
    const struct tls_state *st = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    for (size_t i = 0; name != NULL && i < st->sni_count; i++) {
        const struct tls_identity *id = &st->sni[i];
        if (!tls_identity_matches(id, name))
            continue;
        SSL_use_cert_and_key(ssl, id->cert, id->key, id->chain, 1);
        break;
    }
    ERR_clear_error();
    return SSL_TLSEXT_ERR_OK;
}

/* --- ALPN --- */

static const uint8_t ALPN_H2[] = {2, 'h', '2'};
static const uint8_t ALPN_HTTP1[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

size_t tls_alpn_list(unsigned alpn, uint8_t list[16])
{
    size_t len = 0;
    if ((alpn & TLS_ALPN_H2) != 0) {
        memcpy(list + len, ALPN_H2, sizeof(ALPN_H2));
        len += sizeof(ALPN_H2);
    }
    if ((alpn & TLS_ALPN_HTTP1) != 0) {
        memcpy(list + len, ALPN_HTTP1, sizeof(ALPN_HTTP1));
        len += sizeof(ALPN_HTTP1);
    }
    return len;
}

static int tls_on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                       const unsigned char *in, unsigned in_len, void *arg)
{
    UNUSED(ssl);
    const struct tls_state *st = arg;
    uint8_t list[16];
    size_t len = tls_alpn_list(st->alpn, list);
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_len, list, (unsigned)len, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK; /* Such as "http/1.0": served as HTTP/1. */
    /* `chosen` points into list, which does not outlive this call. */
    *out = chosen[0] == 'h' && *out_len == 2 ? ALPN_H2 + 1 : ALPN_HTTP1 + 1;
    return SSL_TLSEXT_ERR_OK;
}

/* --- trust --- */

/* TLS_CLIENT_AUTH_REQUEST: the verdict stands in SSL_get_verify_result(). */
static int tls_verify_note(int ok, X509_STORE_CTX *context)
{
    UNUSED(ok);
    UNUSED(context);
    return 1;
}

/* With a pin, the certificate that carries the pinned key is the only anchor. */
static int tls_verify_pinned(X509_STORE_CTX *context, void *arg)
{
    const struct tls_state *st = arg;
    STACK_OF(X509) *chain = X509_STORE_CTX_get0_untrusted(context);
    STACK_OF(X509) *anchors = sk_X509_new_null();
    ASSERT(anchors != NULL);
    for (int i = 0; i < sk_X509_num(chain); i++) {
        X509 *x509 = sk_X509_value(chain, i);
        unsigned char *der = NULL;
        int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x509), &der);
        uint8_t hash[32];
        if (len > 0)
            net_sha256(der, (size_t)len, hash);
        OPENSSL_free(der);
        if (len > 0 && memcmp(hash, st->ca_pin, sizeof(hash)) == 0)
            sk_X509_push(anchors, x509);
    }
    X509_STORE_CTX_set0_trusted_stack(context, anchors);
    X509_STORE_CTX_set_flags(context, X509_V_FLAG_PARTIAL_CHAIN);
    int ok = X509_verify_cert(context);
    X509_STORE_CTX_set0_trusted_stack(context, NULL);
    sk_X509_free(anchors);
    return ok == 1;
}

static int tls_load_ca(SSL_CTX *ctx, bool server, struct str pem, struct error *err)
{
    AUTO_ARENA *a = arena_new(0);
    struct pki_cert **certs;
    size_t count;
    int code = pki_certs_parse(a, pem, &certs, &count, err);
    if (code < 0)
        return code;
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    for (size_t i = 0; i < count; i++) {
        X509_STORE_add_cert(store, certs[i]->x509);
        if (server)
            SSL_CTX_add_client_CA(ctx, certs[i]->x509);
    }
    ERR_clear_error();
    return 0;
}

static int tls_setup_trust(SSL_CTX *ctx, const struct tls_config *c, struct tls_state *st,
                           struct str ca_pem, struct error *err)
{
    int code = ca_pem.len > 0 ? tls_load_ca(ctx, c->server, ca_pem, err) : 0;
    if (code < 0)
        return error_prefix(err, "%s", tls_source_name(c->ca, "CA bundle"));
    if (c->server) {
        int mode = c->client_auth == TLS_CLIENT_AUTH_NONE ? SSL_VERIFY_NONE
                   : c->client_auth == TLS_CLIENT_AUTH_REQUEST
                       ? SSL_VERIFY_PEER
                       : SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
        SSL_CTX_set_verify(ctx, mode,
                           c->client_auth == TLS_CLIENT_AUTH_REQUEST ? tls_verify_note : NULL);
        return 0;
    }
    SSL_CTX_set_verify(ctx, c->skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    if (c->ca_pin != NULL) {
        AUTO_BUF pin = BUF_INIT;
        struct str text = str_of(c->ca_pin);
        if (!str_has_prefix(text, STR("sha256:")) ||
            hex_decode(str_sub(text, 7, text.len), &pin) < 0 || pin.len != sizeof(st->ca_pin))
            return error_set(err, E_INVALID, "\"%s\" is not of the form sha256:<64 hex digits>",
                             c->ca_pin);
        memcpy(st->ca_pin, pin.data, pin.len);
        SSL_CTX_set_cert_verify_callback(ctx, tls_verify_pinned, st);
    } else if (ca_pem.len == 0 && !c->skip_verify) {
        SSL_CTX_set_default_verify_paths(ctx);
    }
    return 0;
}

/* --- building an SSL_CTX --- */

static int tls_set_ciphers(SSL_CTX *ctx, const char *iana_names, struct error *err)
{
    if (iana_names == NULL)
        return SSL_CTX_set_cipher_list(ctx, TLS_CIPHERS_DEFAULT) == 1
                   ? 0
                   : tls_error_set(err, "set cipher suites");
    AUTO_BUF list = BUF_INIT;
    SSL_CTX_set_cipher_list(ctx, "ALL");
    STACK_OF(SSL_CIPHER) *known = SSL_CTX_get_ciphers(ctx);
    bool any_for_12 = false;
    for (struct str name, rest = str_of(iana_names); !str_empty(rest);) {
        str_cut(rest, ',', &name, &rest);
        name = str_trim(name);
        const SSL_CIPHER *found = NULL;
        for (int i = 0; found == NULL && i < sk_SSL_CIPHER_num(known); i++) {
            const char *standard = SSL_CIPHER_standard_name(sk_SSL_CIPHER_value(known, i));
            if (standard != NULL && str_eqc(name, standard))
                found = sk_SSL_CIPHER_value(known, i);
        }
        if (found == NULL)
            return error_set(err, E_INVALID,
                             "cipher suite " STR_FMT " not supported or doesn't exist",
                             STR_ARG(name));
        if (strcmp(SSL_CIPHER_get_version(found), "TLSv1.3") == 0)
            continue; /* 1.3's suites are not configurable, as in Go. */
        buf_printf(&list, "%s%s", any_for_12 ? ":" : "", SSL_CIPHER_get_name(found));
        any_for_12 = true;
    }
    buf_putc(&list, '\0');
    if (any_for_12 && SSL_CTX_set_cipher_list(ctx, (const char *)list.data) != 1)
        return tls_error_set(err, "set cipher suites");
    return 0;
}

static int tls_setup_identities(SSL_CTX *ctx, const struct tls_config *c, struct tls_state *st,
                                const struct tls_texts *t, struct error *err)
{
    if (tls_source_present(c->cert)) {
        struct tls_identity id;
        int code =
            tls_identity_load(c->cert, buf_str(&t->cert), c->key, buf_str(&t->key), &id, err);
        if (code < 0)
            return code;
        int used = SSL_CTX_use_cert_and_key(ctx, id.cert, id.key, id.chain, 1);
        X509_free(id.cert);
        EVP_PKEY_free(id.key);
        sk_X509_pop_free(id.chain, X509_free);
        if (used != 1)
            return tls_error_set(err, tls_source_name(c->cert, "certificate"));
    }
    st->sni = ARENA_ARRAY(st->arena, struct tls_identity, c->sni_count);
    for (size_t i = 0; i < c->sni_count; i++) {
        int code = tls_identity_load(c->sni[i].cert, buf_str(&t->sni[2 * i]), c->sni[i].key,
                                     buf_str(&t->sni[2 * i + 1]), &st->sni[i], err);
        if (code < 0)
            return code;
        /* Sessions may outlive the context and its config. */
        const char **names = ARENA_ARRAY(st->arena, const char *, c->sni[i].name_count);
        for (size_t k = 0; k < c->sni[i].name_count; k++)
            names[k] = arena_strdup(st->arena, c->sni[i].names[k]);
        st->sni[i].names = names;
        st->sni[i].name_count = c->sni[i].name_count;
        st->sni_count = i + 1;
    }
    return 0;
}

static void tls_setup_protocol(SSL_CTX *ctx, const struct tls_config *c, struct tls_state *st)
{
    SSL_CTX_set_min_proto_version(ctx, c->version_min != 0 ? c->version_min : TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    tls_writer_enable(ctx);
    st->alpn = c->alpn;
    if (c->server) {
        SSL_CTX_set_tlsext_servername_callback(ctx, tls_on_server_name);
        SSL_CTX_set_tlsext_servername_arg(ctx, st);
        if (c->alpn != 0)
            SSL_CTX_set_alpn_select_cb(ctx, tls_on_alpn, st);
    } else if (c->alpn != 0) {
        uint8_t list[16];
        SSL_CTX_set_alpn_protos(ctx, list, (unsigned)tls_alpn_list(c->alpn, list));
    }
}

int tls_build(const struct tls_config *c, const struct tls_texts *t, struct str ca_pem,
              SSL_CTX **ret, struct error *err)
{
    pthread_once(&state_once, tls_state_index_init);
    SSL_CTX *ctx = SSL_CTX_new(c->server ? TLS_server_method() : TLS_client_method());
    if (ctx == NULL)
        return tls_error_set(err, "create TLS context");
    struct arena *a = arena_new(256);
    struct tls_state *st = ARENA_NEW(a, struct tls_state);
    st->arena = a;
    SSL_CTX_set_ex_data(ctx, state_index, st); /* Freed with ctx. */
    tls_setup_protocol(ctx, c, st);
    int code = SSL_CTX_set_ciphersuites(ctx, TLS_SUITES) == 1
                   ? tls_set_ciphers(ctx, c->cipher_suites, err)
                   : tls_error_set(err, "set cipher suites");
    if (code == 0)
        code = tls_setup_identities(ctx, c, st, t, err);
    if (code == 0)
        code = tls_setup_trust(ctx, c, st, ca_pem, err);
    if (code < 0) {
        SSL_CTX_free(ctx);
        return code;
    }
    *ret = ctx;
    return 0;
}
