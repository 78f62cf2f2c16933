/* tls.c - contexts and their files; see tls.h.
 *
 * A context holds one immutable SSL_CTX at a time. Reloading builds another and
 * swaps the pointer; sessions keep the one they began with. */
#include "lib/net/tls_internal.h"

#include "lib/base/arena.h"
#include "lib/base/file.h"
#include "lib/net/pki_internal.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <string.h>

#define TLS_FILE_MAX (4u << 20)

struct tls_context {
    atomic_uint refs;
    struct arena *arena; /* The config's copies. */
    struct tls_config config;
    pthread_mutex_t lock;
    SSL_CTX *ssl_ctx;   /* Guarded by lock. */
    uint8_t digest[32]; /* Of all sources, to see changes. Guarded by lock. */
    struct buf ca_set;  /* By tls_context_set_ca(). Guarded by lock. */
};

int tls_error_set(struct error *err, const char *what)
{
    return pki_error(err, E_TLS, what);
}

/* --- the config's copy --- */

static struct tls_source tls_source_copy(struct arena *a, struct tls_source s)
{
    struct tls_source copy = {0};
    if (s.file != NULL && s.file[0] != '\0')
        copy.file = arena_strdup(a, s.file);
    else if (s.pem.len > 0)
        copy.pem = arena_str(a, s.pem);
    return copy;
}

static void tls_config_copy(struct arena *a, const struct tls_config *from, struct tls_config *to)
{
    *to = *from;
    to->cert = tls_source_copy(a, from->cert);
    to->key = tls_source_copy(a, from->key);
    to->ca = tls_source_copy(a, from->ca);
    to->ca_pin = from->ca_pin != NULL ? arena_strdup(a, from->ca_pin) : NULL;
    to->cipher_suites = from->cipher_suites != NULL && from->cipher_suites[0] != '\0'
                            ? arena_strdup(a, from->cipher_suites)
                            : NULL;
    struct tls_sni_cert *sni = ARENA_ARRAY(a, struct tls_sni_cert, from->sni_count);
    for (size_t i = 0; i < from->sni_count; i++) {
        const struct tls_sni_cert *one = &from->sni[i];
        const char **names = ARENA_ARRAY(a, const char *, one->name_count);
        for (size_t k = 0; k < one->name_count; k++)
            names[k] = arena_strdup(a, one->names[k]);
        sni[i] = (struct tls_sni_cert){tls_source_copy(a, one->cert), tls_source_copy(a, one->key),
                                       names, one->name_count};
    }
    to->sni = sni;
}

/* --- what the sources hold now --- */

static int tls_source_read(struct tls_source s, const char *what, struct buf *b, struct error *err)
{
    if (s.file == NULL) {
        buf_append_str(b, s.pem);
        return 0;
    }
    int code = file_read(s.file, TLS_FILE_MAX, b, err);
    return code < 0 ? error_prefix(err, "%s", what) : code;
}

static void tls_buf_wipe(struct buf *b)
{
    if (b->data != NULL)
        OPENSSL_cleanse(b->data, b->len);
    buf_done(b);
}

static void tls_texts_done(struct tls_texts *t)
{
    buf_done(&t->cert);
    tls_buf_wipe(&t->key);
    buf_done(&t->ca);
    for (size_t i = 0; i < 2 * t->sni_count; i++)
        tls_buf_wipe(&t->sni[i]);
    free(t->sni);
}

static int tls_texts_read(const struct tls_config *c, struct tls_texts *t, struct error *err)
{
    *t = (struct tls_texts){.cert = BUF_INIT, .key = BUF_INIT, .ca = BUF_INIT};
    t->sni = xzalloc((2 * c->sni_count + 1) * sizeof(*t->sni));
    t->sni_count = c->sni_count;
    int code = tls_source_read(c->cert, "certificate", &t->cert, err);
    if (code == 0)
        code = tls_source_read(c->key, "private key", &t->key, err);
    if (code == 0)
        code = tls_source_read(c->ca, "CA bundle", &t->ca, err);
    for (size_t i = 0; code == 0 && i < c->sni_count; i++) {
        code = tls_source_read(c->sni[i].cert, "certificate", &t->sni[2 * i], err);
        if (code == 0)
            code = tls_source_read(c->sni[i].key, "private key", &t->sni[2 * i + 1], err);
    }
    if (code < 0)
        tls_texts_done(t);
    return code;
}

static void tls_texts_digest(const struct tls_texts *t, uint8_t ret[32])
{
    AUTO_BUF all = BUF_INIT;
    const struct buf *parts[] = {&t->cert, &t->key, &t->ca};
    uint8_t hash[32];
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        net_sha256(parts[i]->data, parts[i]->len, hash);
        buf_append(&all, hash, sizeof(hash));
    }
    for (size_t i = 0; i < 2 * t->sni_count; i++) {
        net_sha256(t->sni[i].data, t->sni[i].len, hash);
        buf_append(&all, hash, sizeof(hash));
    }
    net_sha256(all.data, all.len, ret);
}

/* --- contexts --- */

static int tls_config_check(const struct tls_config *c, struct error *err)
{
    if (c->server && !tls_source_present(c->cert))
        return error_set(err, E_INVALID, "a TLS server needs a certificate");
    if (tls_source_present(c->cert) != tls_source_present(c->key))
        return error_set(err, E_INVALID, "a certificate and its key must be given together");
    if (c->client_auth == TLS_CLIENT_AUTH_REQUIRE && !tls_source_present(c->ca))
        return error_set(err, E_INVALID, "requiring client certificates needs a CA");
    return 0;
}

/* With force, builds even if the texts are those in use. */
static int tls_context_load(struct tls_context *c, bool force, bool *ret_changed, struct error *err)
{
    struct tls_texts t;
    uint8_t digest[32];
    int code = tls_texts_read(&c->config, &t, err);
    if (code < 0)
        return code;
    tls_texts_digest(&t, digest);
    pthread_mutex_lock(&c->lock);
    bool changed = force || memcmp(digest, c->digest, sizeof(digest)) != 0;
    SSL_CTX *fresh = NULL;
    if (changed)
        code = tls_build(&c->config, &t, c->ca_set.len > 0 ? buf_str(&c->ca_set) : buf_str(&t.ca),
                         &fresh, err);
    if (fresh != NULL) {
        SSL_CTX_free(c->ssl_ctx);
        c->ssl_ctx = fresh;
        memcpy(c->digest, digest, sizeof(digest));
    }
    pthread_mutex_unlock(&c->lock);
    tls_texts_done(&t);
    if (code == 0 && ret_changed != NULL)
        *ret_changed = changed;
    return code;
}

int tls_context_new(const struct tls_config *config, struct tls_context **ret, struct error *err)
{
    struct tls_context *c = xzalloc(sizeof(*c));
    atomic_init(&c->refs, 1);
    c->arena = arena_new(1024);
    pthread_mutex_init(&c->lock, NULL);
    tls_config_copy(c->arena, config, &c->config);
    int code = tls_config_check(&c->config, err);
    if (code == 0)
        code = tls_context_load(c, true, NULL, err);
    if (code < 0) {
        tls_context_unref(c);
        return code;
    }
    *ret = c;
    return 0;
}

struct tls_context *tls_context_ref(struct tls_context *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void tls_context_unref(struct tls_context *c)
{
    if (c == NULL || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    SSL_CTX_free(c->ssl_ctx);
    buf_done(&c->ca_set);
    pthread_mutex_destroy(&c->lock);
    arena_free(c->arena);
    free(c);
}

int tls_context_reload(struct tls_context *c, bool *ret_changed, struct error *err)
{
    return tls_context_load(c, false, ret_changed, err);
}

int tls_context_set_ca(struct tls_context *c, struct str ca_pem, struct error *err)
{
    struct pki_pool *check = NULL;
    int code = pki_pool_new(ca_pem, &check, err);
    pki_pool_unref(check);
    if (code < 0)
        return code;
    pthread_mutex_lock(&c->lock);
    buf_clear(&c->ca_set);
    buf_append_str(&c->ca_set, ca_pem);
    pthread_mutex_unlock(&c->lock);
    return tls_context_load(c, true, NULL, err);
}

/* --- sessions --- */

static bool tls_is_address(const char *name)
{
    uint8_t address[16];
    return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

static bool tls_expect_name(SSL *ssl, const char *name)
{
    if (tls_is_address(name))
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
    SSL_set_hostflags(ssl,
                      X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

int tls_session_new(struct tls_context *c, const char *server_name, struct ssl_st **ret,
                    struct error *err)
{
    pthread_mutex_lock(&c->lock);
    SSL *ssl = SSL_new(c->ssl_ctx);
    pthread_mutex_unlock(&c->lock);
    if (ssl == NULL)
        return tls_error_set(err, "create TLS session");
    if (c->config.server) {
        SSL_set_accept_state(ssl);
    } else {
        SSL_set_connect_state(ssl);
        if (server_name != NULL && !tls_expect_name(ssl, server_name)) {
            SSL_free(ssl);
            return tls_error_set(err, "set server name");
        }
    }
    *ret = ssl;
    return 0;
}

void tls_session_set_alpn(struct ssl_st *ssl, unsigned alpn)
{
    uint8_t list[16];
    SSL_set_alpn_protos(ssl, list, (unsigned)tls_alpn_list(alpn, list));
}

int tls_session_error(struct ssl_st *ssl, struct error *err, const char *what)
{
    long verdict = SSL_get_verify_result(ssl);
    if (!SSL_is_server(ssl) && verdict != X509_V_OK &&
        ERR_GET_REASON(ERR_peek_error()) == SSL_R_CERTIFICATE_VERIFY_FAILED) {
        ERR_clear_error();
        return error_set(err, E_TLS, "%s: the server's certificate is not accepted: %s", what,
                         X509_verify_cert_error_string(verdict));
    }
    return tls_error_set(err, what);
}
