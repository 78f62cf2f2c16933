/* stream_tls.c - TLS between a stream's socket and its user.
 *
 * OpenSSL reads from the bytes of the current read and writes to the stream's
 * output buffer, through a BIO of our own: no memory of its own is held for
 * either, and RELEASE_BUFFERS drops OpenSSL's between records, but for those of one
 * round that are many. After the handshake a tls_writer writes the records where
 * it can, and what OpenSSL writes is thrown away. */
#include "lib/net/stream_internal.h"

#include "lib/net/tls.h"
#include "lib/net/tls_writer.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <string.h>

static _Thread_local uint8_t plain_buffer[STREAM_RECORD_BYTES];
static BIO_METHOD *bio_method;
static pthread_once_t bio_once = PTHREAD_ONCE_INIT;

static int stream_bio_read(BIO *bio, char *out, size_t len, size_t *ret_read)
{
    struct net_stream *s = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (s->cipher_in_len == 0) {
        BIO_set_retry_read(bio);
        *ret_read = 0;
        return 0;
    }
    size_t n = MIN_OF(len, s->cipher_in_len);
    memcpy(out, s->cipher_in, n);
    s->cipher_in += n;
    s->cipher_in_len -= n;
    *ret_read = n;
    return 1;
}

static int stream_bio_write(BIO *bio, const char *data, size_t len, size_t *ret_written)
{
    struct net_stream *s = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (!s->writing)
        stream_out_add(&s->out, data, len);
    *ret_written = len;
    return 1;
}

static long stream_bio_ctrl(BIO *bio, int command, long num, void *ptr)
{
    UNUSED(bio);
    UNUSED(num);
    UNUSED(ptr);
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static void stream_bio_init(void)
{
    bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "net stream");
    ASSERT(bio_method != NULL);
    BIO_meth_set_read_ex(bio_method, stream_bio_read);
    BIO_meth_set_write_ex(bio_method, stream_bio_write);
    BIO_meth_set_ctrl(bio_method, stream_bio_ctrl);
}

int stream_tls_start(struct net_stream *s, struct tls_context *tls, const char *server_name,
                     struct error *err)
{
    pthread_once(&bio_once, stream_bio_init);
    int code = tls_session_new(tls, server_name, &s->ssl, err);
    if (code < 0)
        return code;
    BIO *bio = BIO_new(bio_method);
    ASSERT(bio != NULL);
    BIO_set_data(bio, s);
    BIO_set_init(bio, 1);
    SSL_set_bio(s->ssl, bio, bio);
    s->writer = tls_writer_new(s->ssl);
    return 0;
}

void stream_tls_done(struct net_stream *s)
{
    tls_writer_free(s->writer);
    s->writer = NULL;
    SSL_free(s->ssl);
    s->ssl = NULL;
}

/* Alerts and key updates, which OpenSSL would have written. */
static void stream_tls_control(struct net_stream *s)
{
    uint8_t record[TLS_WRITER_CONTROL_MAX];
    size_t len;
    while (s->writing && (len = tls_writer_control(s->writer, record)) > 0)
        stream_out_add(&s->out, record, len);
}

/* For whoever forgot the s of https, in the words that Go's servers have for it. */
static const char no_tls[] =
    "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

static void stream_tls_fail(struct net_stream *s, const char *what)
{
    struct error err = {0};
    bool plain =
        s->state == STREAM_HANDSHAKE && ERR_GET_REASON(ERR_peek_error()) == SSL_R_HTTP_REQUEST;
    tls_session_error(s->ssl, &err, what);
    /* The alert that tells the other side why. */
    stream_tls_control(s);
    if (s->out.len > 0 && s->in_flight == 0) {
        uv_buf_t b;
        stream_out_pieces(&s->out, &b, 1);
        uv_try_write(&s->io.stream, &b, 1);
    }
    if (plain) {
        uv_buf_t b = uv_buf_init((char *)(uintptr_t)no_tls, sizeof(no_tls) - 1);
        uv_try_write(&s->io.stream, &b, 1);
    }
    stream_end(s, E_TLS, err.message);
}

static void stream_tls_handshake(struct net_stream *s)
{
    int rc = SSL_do_handshake(s->ssl);
    if (rc == 1) {
        s->peer = tls_session_peer(s->ssl);
        s->writing = tls_writer_begin(s->writer);
        stream_opened(s);
        return;
    }
    if (SSL_get_error(s->ssl, rc) != SSL_ERROR_WANT_READ)
        stream_tls_fail(s, "TLS handshake");
}

/* Delivers records until input or patience ends. */
static void stream_tls_read(struct net_stream *s)
{
    while (s->state == STREAM_OPEN && !s->paused) {
        int n = SSL_read(s->ssl, plain_buffer, sizeof(plain_buffer));
        if (s->writing && tls_writer_broken(s->writer)) {
            stream_tls_fail(s, "TLS");
            return;
        }
        if (n > 0) {
            stream_input(s, plain_buffer, (size_t)n);
            continue;
        }
        int why = SSL_get_error(s->ssl, n);
        if (why == SSL_ERROR_ZERO_RETURN)
            s->got_eof = true; /* close_notify: later bytes mean nothing. */
        else if (why != SSL_ERROR_WANT_READ)
            stream_tls_fail(s, "TLS");
        return;
    }
}

void stream_tls_input(struct net_stream *s, const uint8_t *data, size_t len)
{
    ERR_clear_error();
    s->cipher_in = data;
    s->cipher_in_len = len;
    if (s->state == STREAM_HANDSHAKE)
        stream_tls_handshake(s);
    if (s->state == STREAM_OPEN)
        stream_tls_read(s);
    if (s->cipher_in_len > 0 && s->state == STREAM_OPEN)
        buf_append(&s->rest, s->cipher_in, s->cipher_in_len);
    s->cipher_in = NULL;
    s->cipher_in_len = 0;
    /* Handshake messages, key updates and the end are for the next round. */
    if (s->out.len > 0 || (s->got_eof && !s->told_eof))
        stream_kick(s);
}

/* Records sealed from where data stands to where they leave from. */
static void stream_tls_seal(struct net_stream *s, const uint8_t *data, size_t len)
{
    while (len > 0 && s->state != STREAM_CLOSED) {
        size_t n = MIN_OF(len, TLS_WRITER_RECORD_MAX);
        stream_tls_control(s);
        if (!tls_writer_data(s->writer, data, n, stream_out_room(&s->out, n + TLS_WRITER_EXTRA))) {
            stream_tls_fail(s, "TLS write");
            return;
        }
        stream_out_commit(&s->out, n + TLS_WRITER_EXTRA);
        data += n;
        len -= n;
    }
}

void stream_tls_write(struct net_stream *s, const uint8_t *data, size_t len)
{
    if (s->writing) {
        stream_tls_seal(s, data, len);
        return;
    }
    ERR_clear_error();
    while (len > 0 && s->state != STREAM_CLOSED) {
        size_t n = 0;
        if (SSL_write_ex(s->ssl, data, MIN_OF(len, STREAM_RECORD_BYTES), &n) != 1) {
            stream_tls_fail(s, "TLS write");
            return;
        }
        data += n;
        len -= n;
    }
}

void stream_tls_keep_buffer(struct net_stream *s)
{
    if (s->writing)
        return; /* There is none. */
    if (!s->keeps_buffer)
        SSL_clear_mode(s->ssl, SSL_MODE_RELEASE_BUFFERS);
    s->keeps_buffer = true;
}

void stream_tls_rest(struct net_stream *s)
{
    if (!s->keeps_buffer)
        return;
    s->keeps_buffer = false;
    SSL_set_mode(s->ssl, SSL_MODE_RELEASE_BUFFERS);
    SSL_free_buffers(s->ssl);
}

void stream_tls_shutdown(struct net_stream *s)
{
    if (s->writing) {
        tls_writer_close(s->writer);
        stream_tls_control(s);
        return;
    }
    if ((SSL_get_shutdown(s->ssl) & SSL_SENT_SHUTDOWN) == 0)
        SSL_shutdown(s->ssl);
    ERR_clear_error();
}

bool stream_tls_has_input(const struct net_stream *s)
{
    return s->ssl != NULL && SSL_has_pending(s->ssl) == 1;
}

struct str net_stream_alpn(const struct net_stream *s)
{
    const unsigned char *name = NULL;
    unsigned len = 0;
    if (s->ssl != NULL)
        SSL_get0_alpn_selected(s->ssl, &name, &len);
    return str_n((const char *)name, len);
}

struct tls_peer *net_stream_peer(struct net_stream *s)
{
    return s->peer;
}
