/* test_tls_writer.c - records that we write, as a plain OpenSSL session reads them. */
#include "lib/net/tls_writer.h"

#include "test/unit/net/net_fixture.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>

/* Our end has the writer; theirs is OpenSSL and nothing else. What our end sends lies in `out`
 * until deliver(). */
static struct meeting {
    struct tls_context *server, *client;
    SSL_CTX *plain;
    SSL *ours, *theirs;
    BIO *ours_in, *ours_out, *theirs_in, *theirs_out;
    struct tls_writer *writer;
} m;

static struct meet_config {
    bool we_are_client;
    int version;
    const char *suites;      /* TLS 1.3. */
    uint8_t fragment_length; /* Asked for by a client of theirs. */
    size_t tickets;          /* Sent by a server of theirs. */
} plain;

static int accept_any(int ok, X509_STORE_CTX *ctx)
{
    UNUSED(ok);
    UNUSED(ctx);
    return 1;
}

static SSL_CTX *plain_context(const struct meet_config *c, const struct fixture_pair *pair)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    ck_assert_ptr_nonnull(ctx);
    SSL_CTX_set_verify(ctx, c->we_are_client ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, accept_any);
    if (c->version != 0)
        SSL_CTX_set_max_proto_version(ctx, c->version);
    if (c->suites != NULL)
        ck_assert_int_eq(SSL_CTX_set_ciphersuites(ctx, c->suites), 1);
    if (c->fragment_length != 0)
        ck_assert_int_eq(SSL_CTX_set_tlsext_max_fragment_length(ctx, c->fragment_length), 1);
    SSL_CTX_set_num_tickets(ctx, c->tickets);
    if (c->we_are_client) {
        BIO *cert = BIO_new_mem_buf(pair->cert.data, (int)pair->cert.len);
        BIO *key = BIO_new_mem_buf(pair->key.data, (int)pair->key.len);
        X509 *x = PEM_read_bio_X509(cert, NULL, NULL, NULL);
        EVP_PKEY *k = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);
        ck_assert_int_eq(SSL_CTX_use_cert_and_key(ctx, x, k, NULL, 1), 1);
        X509_free(x);
        EVP_PKEY_free(k);
        BIO_free(cert);
        BIO_free(key);
    }
    return ctx;
}

/* Everything that one end has said goes to the other. */
static size_t carry(BIO *from, BIO *to)
{
    char piece[65536];
    size_t sum = 0;
    for (int n; (n = BIO_read(from, piece, sizeof(piece))) > 0; sum += (size_t)n)
        ck_assert_int_eq(BIO_write(to, piece, n), n);
    return sum;
}

/* Shakes hands; true when the writer has begun. */
static bool meet(const struct meet_config *c)
{
    struct error err = {0};
    fixture_init();
    m = (struct meeting){0};
    struct fixture_pair pair = fixture_certify("server.test", PKI_USAGE_SERVER);
    m.server = fixture_server_tls(TLS_CLIENT_AUTH_NONE);
    m.client = fixture_tls(&(struct tls_config){.skip_verify = true});
    m.plain = plain_context(c, &pair);
    ck_assert_int_eq(tls_session_new(c->we_are_client ? m.client : m.server, NULL, &m.ours, &err),
                     0);
    m.theirs = SSL_new(m.plain);
    if (c->we_are_client)
        SSL_set_accept_state(m.theirs);
    else
        SSL_set_connect_state(m.theirs);
    m.ours_in = BIO_new(BIO_s_mem());
    m.ours_out = BIO_new(BIO_s_mem());
    m.theirs_in = BIO_new(BIO_s_mem());
    m.theirs_out = BIO_new(BIO_s_mem());
    SSL_set_bio(m.ours, m.ours_in, m.ours_out);
    SSL_set_bio(m.theirs, m.theirs_in, m.theirs_out);
    m.writer = tls_writer_new(m.ours);
    bool we = false, they = false;
    for (int turn = 0; turn < 10 && (!we || !they); turn++) {
        we = SSL_do_handshake(m.ours) == 1;
        carry(m.ours_out, m.theirs_in);
        they = SSL_do_handshake(m.theirs) == 1;
        carry(m.theirs_out, m.ours_in);
    }
    ck_assert(we && they);
    fixture_pair_done(&pair);
    return tls_writer_begin(m.writer);
}

static void part(void)
{
    tls_writer_free(m.writer);
    SSL_free(m.ours);
    SSL_free(m.theirs);
    SSL_CTX_free(m.plain);
    tls_context_unref(m.server);
    tls_context_unref(m.client);
    fixture_done();
}

/* Alerts and key updates, as a stream would send them. Returns their number. */
static unsigned control(void)
{
    uint8_t record[TLS_WRITER_CONTROL_MAX];
    unsigned count = 0;
    for (size_t n; (n = tls_writer_control(m.writer, record)) > 0; count++) {
        ck_assert_uint_le(n, sizeof(record));
        ck_assert_int_eq(BIO_write(m.theirs_in, record, (int)n), (int)n);
    }
    return count;
}

/* len bytes that depend on `seed` go out as one record, and come in there. */
static void send_and_check(size_t len, uint8_t seed)
{
    static uint8_t sent[TLS_WRITER_RECORD_MAX], record[TLS_WRITER_RECORD_MAX + TLS_WRITER_EXTRA],
        got[TLS_WRITER_RECORD_MAX];
    for (size_t i = 0; i < len; i++)
        sent[i] = (uint8_t)(seed + i * 7);
    control();
    ck_assert(tls_writer_data(m.writer, sent, len, record));
    ck_assert_int_eq(BIO_write(m.theirs_in, record, (int)(len + TLS_WRITER_EXTRA)),
                     (int)(len + TLS_WRITER_EXTRA));
    int n = SSL_read(m.theirs, got, (int)len);
    ck_assert_msg(n == (int)len, "%d of %zu bytes: %s", n, len,
                  ERR_reason_error_string(ERR_peek_last_error()));
    ck_assert_mem_eq(sent, got, len);
}

/* They say something, and our OpenSSL reads what there is: how that ends. */
static int they_say(const char *text)
{
    char got[64];
    int n = 1;
    ck_assert_int_eq(SSL_write(m.theirs, text, (int)strlen(text)), (int)strlen(text));
    carry(m.theirs_out, m.ours_in);
    while (n > 0)
        n = SSL_read(m.ours, got, sizeof(got));
    (void)BIO_reset(m.ours_out); /* Thrown away. */
    return SSL_get_error(m.ours, n);
}

/* Every length of a record, with every suite, as server and as client, is read as it was written;
 * also after tickets came. */
START_TEST(records_are_read)
{
    static const char *const suites[] = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
                                         "TLS_CHACHA20_POLY1305_SHA256"};
    static const size_t lengths[] = {1,    2,     15,    16,    17,   95,   96,
                                     4096, 16341, 16383, 16384, 1000, 16384};
    for (size_t i = 0; i < 2 * ARRAY_SIZE(suites); i++) {
        struct meet_config c = {
            .we_are_client = i % 2 != 0, .suites = suites[i / 2], .tickets = i % 2 != 0 ? 2 : 0};
        ck_assert(meet(&c));
        ck_assert_str_eq(SSL_CIPHER_standard_name(SSL_get_current_cipher(m.theirs)), suites[i / 2]);
        ck_assert_int_eq(they_say("tickets and this"), SSL_ERROR_WANT_READ);
        for (size_t k = 0; k < ARRAY_SIZE(lengths); k++)
            send_and_check(lengths[k], (uint8_t)k);
        for (unsigned k = 0; k < 600; k++) /* Numbers of more than a byte. */
            send_and_check(1 + k % 50, (uint8_t)k);
        ck_assert_uint_eq(control(), 0);
        ck_assert(!tls_writer_broken(m.writer));
        part();
    }
}
END_TEST

/* A key update that asks for ours gets one before the next data, several get one together, and
 * what OpenSSL answers itself does not count. One that does not ask gets none. */
START_TEST(key_updates_are_answered)
{
    for (int as_client = 0; as_client < 2; as_client++) {
        ck_assert(meet(&(struct meet_config){.we_are_client = as_client != 0}));
        send_and_check(100, 1);
        ck_assert_int_eq(SSL_key_update(m.theirs, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        ck_assert_int_eq(they_say("one"), SSL_ERROR_WANT_READ);
        ck_assert_uint_eq(control(), 0);
        send_and_check(100, 2);
        for (int k = 0; k < 3; k++) {
            ck_assert_int_eq(SSL_key_update(m.theirs, SSL_KEY_UPDATE_REQUESTED), 1);
            ck_assert_int_eq(they_say("two"), SSL_ERROR_WANT_READ);
        }
        ck_assert_uint_eq(control(), 1);
        ck_assert_uint_eq(control(), 0);
        for (unsigned k = 0; k < 5; k++)
            send_and_check(5000, (uint8_t)k);
        ck_assert_int_eq(SSL_key_update(m.theirs, SSL_KEY_UPDATE_REQUESTED), 1);
        ck_assert_int_eq(they_say("three"), SSL_ERROR_WANT_READ);
        send_and_check(5000, 9);
        ck_assert(!tls_writer_broken(m.writer));
        part();
    }
}
END_TEST

/* A key that was used for long is changed without being asked. */
START_TEST(worn_keys_are_changed)
{
    ck_assert(meet(&plain));
    tls_writer_set_records_max(m.writer, 3);
    for (unsigned k = 0; k < 3; k++) {
        ck_assert_uint_eq(control(), 0);
        send_and_check(70, (uint8_t)k);
    }
    ck_assert_uint_eq(control(), 1);
    for (unsigned k = 0; k < 20; k++)
        send_and_check(70, (uint8_t)k);
    part();
}
END_TEST

/* What does not decrypt ends the session, and they are told why under the right number. */
START_TEST(alerts_are_sent)
{
    static const uint8_t forged[] = {23, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8,
                                     9,  1, 2, 3, 4,  5, 6, 7, 8, 9, 1, 2};
    char byte;
    ck_assert(meet(&plain));
    send_and_check(100, 1);
    BIO_write(m.ours_in, forged, sizeof(forged));
    ck_assert_int_eq(SSL_read(m.ours, &byte, 1), -1);
    ERR_clear_error();
    ck_assert_int_gt((int)BIO_ctrl_pending(m.ours_out), 0); /* OpenSSL's, thrown away. */
    ck_assert_uint_eq(control(), 1);
    ck_assert_int_le(SSL_read(m.theirs, &byte, 1), 0);
    ck_assert_int_eq(ERR_GET_REASON(ERR_peek_last_error()), SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
    ERR_clear_error();
    uint8_t out[64];
    ck_assert(!tls_writer_data(m.writer, out, 1, out + 1)); /* Nothing follows. */
    part();
}
END_TEST

/* The end is announced once, and nothing follows it. */
START_TEST(close_is_announced)
{
    char byte;
    ck_assert(meet(&plain));
    send_and_check(100, 1);
    tls_writer_close(m.writer);
    ck_assert_uint_eq(control(), 1);
    tls_writer_close(m.writer);
    ck_assert_uint_eq(control(), 0);
    ck_assert_int_eq(SSL_read(m.theirs, &byte, 1), 0);
    ck_assert_int_eq(SSL_get_error(m.theirs, 0), SSL_ERROR_ZERO_RETURN);
    uint8_t out[64];
    ck_assert(!tls_writer_data(m.writer, out, 1, out + 1));
    /* Their end is still read. */
    ck_assert_int_eq(they_say("so long"), SSL_ERROR_WANT_READ);
    part();
}
END_TEST

/* TLS 1.2, and a client that wants short records, are left to OpenSSL, which goes on as before. */
START_TEST(others_are_left_alone)
{
    const struct meet_config cases[] = {
        {.version = TLS1_2_VERSION},
        {.we_are_client = true, .version = TLS1_2_VERSION},
        {.fragment_length = TLSEXT_max_fragment_length_1024},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char got[16] = "";
        ck_assert(!meet(&cases[i]));
        ck_assert_int_eq(SSL_write(m.ours, "hello", 5), 5);
        carry(m.ours_out, m.theirs_in);
        ck_assert_int_eq(SSL_read(m.theirs, got, sizeof(got)), 5);
        ck_assert_str_eq(got, "hello");
        part();
    }
}
END_TEST

UNIT_MAIN("tls_writer", {
    UNIT_TEST(records_are_read);
    UNIT_TEST(key_updates_are_answered);
    UNIT_TEST(worn_keys_are_changed);
    UNIT_TEST(alerts_are_sent);
    UNIT_TEST(close_is_announced);
    UNIT_TEST(others_are_left_alone);
})
