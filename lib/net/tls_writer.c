/* tls_writer.c - see tls_writer.h; RFC 8446, 5.2 (records), 5.3 (nonces), 5.5
 * (how long a key may be used), 4.6.3 (key updates) and 7 (the key schedule).
 *
 * The first record behind the handshake has number 0: neither side writes
 * anything under this key in it, as no early data and no tickets are sent.
 * No record of OpenSSL's leaves under the same key: alerts are its only words
 * by then, and they are written anew here. */
#include "lib/net/tls_writer.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/opensslv.h>
#include <openssl/params.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <string.h>

#define HEADER_BYTES 5
#define NONCE_BYTES 12
#define TAG_BYTES 16
#define SECRET_MAX 48 /* SHA-384. */
#define KEY_MAX 32
#define KEY_UPDATE_BYTES 5

/* AES-GCM is good for 2^24.5 full records under one key. */
#define RECORDS_MAX ((uint64_t)1 << 24)

static_assert(TLS_WRITER_EXTRA == HEADER_BYTES + 1 + TAG_BYTES, "a record's frame");
static_assert(TLS_WRITER_CONTROL_MAX >= KEY_UPDATE_BYTES + TLS_WRITER_EXTRA, "a control record");

struct suite {
    uint16_t id; /* As on the wire. */
    const char *cipher, *digest;
    uint8_t key_bytes, secret_bytes;
};

static const struct suite SUITES[] = {
    {0x1301, "AES-128-GCM", "SHA256", 16, 32},
    {0x1302, "AES-256-GCM", "SHA384", 32, 48},
    {0x1303, "ChaCha20-Poly1305", "SHA256", 32, 32},
};

struct tls_writer {
    SSL *ssl;
    const struct suite *suite;
    EVP_CIPHER *cipher;
    EVP_CIPHER_CTX *seal;
    uint8_t secret[SECRET_MAX];
    size_t secret_len; /* 0: not known (yet). */
    uint8_t iv[NONCE_BYTES];
    uint64_t number; /* Of the next record under this key. */
    uint64_t records_max;
    bool begun, broken;
    bool update_due; /* The other side asked for it, or the key is worn. */
    bool alert_due, closed;
    uint8_t alert[2]; /* Level and description. */
};

static int writer_index = -1;
static pthread_once_t writer_once = PTHREAD_ONCE_INIT;

static void index_init(void)
{
    writer_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
    ASSERT(writer_index >= 0);
}

/* --- the secret ------------------------------------------------------------------------ */

/* "LABEL <client random> <secret>", both in hexadecimal. */
static void on_key_line(const SSL *ssl, const char *line)
{
    static const char SERVER[] = "SERVER_TRAFFIC_SECRET_0 ";
    static const char CLIENT[] = "CLIENT_TRAFFIC_SECRET_0 ";
    struct tls_writer *w = SSL_get_ex_data(ssl, writer_index);
    const char *label = SSL_is_server(ssl) ? SERVER : CLIENT;
    if (w == NULL || w->begun || strncmp(line, label, sizeof(SERVER) - 1) != 0)
        return;
    const char *hex = strrchr(line, ' ') + 1;
    size_t len = 0;
    w->secret_len = 0;
    if (strlen(hex) <= 2 * SECRET_MAX &&
        OPENSSL_hexstr2buf_ex(w->secret, sizeof(w->secret), &len, hex, '\0') == 1)
        w->secret_len = len;
}

/* HKDF-Expand-Label(secret, label, "", len). */
static bool expand(const struct tls_writer *w, const char *label, uint8_t *ret, size_t len)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "TLS13-KDF", NULL);
    EVP_KDF_CTX *ctx = kdf != NULL ? EVP_KDF_CTX_new(kdf) : NULL;
    int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
    static const char PREFIX[] = "tls13 ";
    /* The interface takes them without const, and leaves them alone. */
    char *digest = (char *)(uintptr_t)w->suite->digest, *name = (char *)(uintptr_t)label;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)w->secret,
                                          w->secret_len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PREFIX, (void *)(uintptr_t)PREFIX,
                                          sizeof(PREFIX) - 1),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_LABEL, name, strlen(label)),
        OSSL_PARAM_construct_end(),
    };
    bool ok = ctx != NULL && EVP_KDF_derive(ctx, ret, len, params) == 1;
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    return ok;
}

/* The key and the first nonce out of the secret. */
static bool use_secret(struct tls_writer *w)
{
    uint8_t key[KEY_MAX];
    bool ok = expand(w, "key", key, w->suite->key_bytes) && expand(w, "iv", w->iv, NONCE_BYTES) &&
              EVP_EncryptInit_ex2(w->seal, w->cipher, key, NULL, NULL) == 1;
    OPENSSL_cleanse(key, sizeof(key));
    w->number = 0;
    return ok;
}

static bool next_secret(struct tls_writer *w)
{
    uint8_t next[SECRET_MAX];
    bool ok = expand(w, "traffic upd", next, w->secret_len);
    if (ok)
        memcpy(w->secret, next, w->secret_len);
    OPENSSL_cleanse(next, sizeof(next));
    return ok && use_secret(w);
}

/* --- what OpenSSL reads and says ------------------------------------------------------- */

static void on_handshake_message(struct tls_writer *w, bool written, const uint8_t *m, size_t len)
{
    bool update = len == KEY_UPDATE_BYTES && m[0] == SSL3_MT_KEY_UPDATE;
    if (!written)
        w->update_due |= update && m[4] == SSL_KEY_UPDATE_REQUESTED;
    else if (!update)     /* OpenSSL's own answer to a request is thrown away, but for this: */
        w->broken = true; /* a message that nothing here has it write. */
}

static void on_message(int written, int version, int type, const void *m, size_t len, SSL *ssl,
                       void *arg)
{
    struct tls_writer *w = arg;
    UNUSED(version);
    UNUSED(ssl);
    if (type == SSL3_RT_HANDSHAKE) {
        on_handshake_message(w, written != 0, m, len);
    } else if (type == SSL3_RT_ALERT && written != 0 && len == sizeof(w->alert)) {
        memcpy(w->alert, m, sizeof(w->alert));
        w->alert_due = true;
    }
}

/* --- records ------------------------------------------------------------------------------ */

/* out: HEADER_BYTES, then the sealed bytes and type, then the tag. */
static bool seal(struct tls_writer *w, uint8_t type, const uint8_t *data, size_t len, uint8_t *out)
{
    size_t sealed = len + 1 + TAG_BYTES;
    uint8_t nonce[NONCE_BYTES];
    int n;
    out[0] = SSL3_RT_APPLICATION_DATA;
    out[1] = 3; /* "TLS 1.2", as all of 1.3's. */
    out[2] = 3;
    out[3] = (uint8_t)(sealed >> 8);
    out[4] = (uint8_t)sealed;
    memcpy(nonce, w->iv, sizeof(nonce));
    for (unsigned i = 0; i < 8; i++)
        nonce[NONCE_BYTES - 1 - i] ^= (uint8_t)(w->number >> (8 * i));
    w->number++; /* Also of one that fails. */
    uint8_t *body = out + HEADER_BYTES, *tag = body + len + 1;
    bool ok = EVP_EncryptInit_ex2(w->seal, NULL, NULL, nonce, NULL) == 1 &&
              EVP_EncryptUpdate(w->seal, NULL, &n, out, HEADER_BYTES) == 1 &&
              EVP_EncryptUpdate(w->seal, body, &n, data, (int)len) == 1 &&
              EVP_EncryptUpdate(w->seal, body + len, &n, &type, 1) == 1 &&
              EVP_EncryptFinal_ex(w->seal, tag, &n) == 1 &&
              EVP_CIPHER_CTX_ctrl(w->seal, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, tag) == 1;
    w->broken |= !ok;
    return ok;
}

bool tls_writer_data(struct tls_writer *w, const uint8_t *data, size_t len, uint8_t *out)
{
    ASSERT(len > 0 && len <= TLS_WRITER_RECORD_MAX);
    if (w->broken || w->closed)
        return false;
    bool ok = seal(w, SSL3_RT_APPLICATION_DATA, data, len, out);
    w->update_due |= w->number == w->records_max;
    return ok;
}

/* The last one under the old key. */
static size_t update_key(struct tls_writer *w, uint8_t *out)
{
    static const uint8_t UPDATE[KEY_UPDATE_BYTES] = {SSL3_MT_KEY_UPDATE, 0, 0, 1,
                                                     SSL_KEY_UPDATE_NOT_REQUESTED};
    w->update_due = false;
    if (!seal(w, SSL3_RT_HANDSHAKE, UPDATE, sizeof(UPDATE), out))
        return 0;
    w->broken |= !next_secret(w);
    return sizeof(UPDATE) + TLS_WRITER_EXTRA;
}

size_t tls_writer_control(struct tls_writer *w, uint8_t *out)
{
    if (w->broken || w->closed)
        return 0;
    if (w->alert_due) {
        w->alert_due = false;
        /* Nothing follows either of the two kinds (RFC 8446, 6). */
        w->closed = true;
        return seal(w, SSL3_RT_ALERT, w->alert, sizeof(w->alert), out)
                   ? sizeof(w->alert) + TLS_WRITER_EXTRA
                   : 0;
    }
    return w->update_due ? update_key(w, out) : 0;
}

void tls_writer_close(struct tls_writer *w)
{
    if (w->alert_due || w->closed)
        return;
    w->alert[0] = SSL3_AL_WARNING;
    w->alert[1] = SSL_AD_CLOSE_NOTIFY;
    w->alert_due = true;
}

bool tls_writer_broken(const struct tls_writer *w)
{
    return w->broken;
}

void tls_writer_set_records_max(struct tls_writer *w, uint64_t records_max)
{
    w->records_max = records_max;
}

/* --- its life ----------------------------------------------------------------------------- */

void tls_writer_enable(SSL_CTX *ctx)
{
    pthread_once(&writer_once, index_init);
    SSL_CTX_set_keylog_callback(ctx, on_key_line);
}

struct tls_writer *tls_writer_new(SSL *ssl)
{
    struct tls_writer *w = xzalloc(sizeof(*w));
    pthread_once(&writer_once, index_init);
    w->ssl = ssl;
    w->records_max = RECORDS_MAX;
    SSL_set_ex_data(ssl, writer_index, w);
    return w;
}

void tls_writer_free(struct tls_writer *w)
{
    if (w == NULL)
        return;
    SSL_set_ex_data(w->ssl, writer_index, NULL);
    if (w->begun)
        SSL_set_msg_callback(w->ssl, NULL);
    EVP_CIPHER_CTX_free(w->seal);
    EVP_CIPHER_free(w->cipher);
    OPENSSL_cleanse(w, sizeof(*w));
    free(w);
}

static const struct suite *find_suite(const SSL *ssl)
{
    const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl);
    for (size_t i = 0; cipher != NULL && i < ARRAY_SIZE(SUITES); i++)
        if (SUITES[i].id == SSL_CIPHER_get_protocol_id(cipher))
            return &SUITES[i];
    return NULL;
}

bool tls_writer_begin(struct tls_writer *w)
{
    const SSL_SESSION *session = SSL_get_session(w->ssl);
    /* What another major version writes of its own accord was not looked at. */
    if (OPENSSL_VERSION_MAJOR != 3 || OPENSSL_version_major() != 3 ||
        SSL_version(w->ssl) != TLS1_3_VERSION || session == NULL)
        return false;
    uint8_t shorter = SSL_SESSION_get_max_fragment_length(session);
    w->suite = find_suite(w->ssl);
    if (w->suite == NULL || w->secret_len != w->suite->secret_bytes ||
        (shorter >= TLSEXT_max_fragment_length_512 && shorter <= TLSEXT_max_fragment_length_4096))
        return false;
    w->cipher = EVP_CIPHER_fetch(NULL, w->suite->cipher, NULL);
    w->seal = EVP_CIPHER_CTX_new();
    if (w->cipher == NULL || w->seal == NULL || !use_secret(w)) {
        ERR_clear_error();
        return false;
    }
    SSL_set_msg_callback_arg(w->ssl, w);
    SSL_set_msg_callback(w->ssl, on_message);
    w->begun = true;
    return true;
}
