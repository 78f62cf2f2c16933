/* test_tls.c - handshakes between our own streams: trust, names, reload. */
#include "lib/net/tls.h"

#include "lib/base/file.h"
#include "lib/net/stream.h"
#include "test/unit/net/net_fixture.h"

#include <string.h>
#include <unistd.h>

/* What the two ends of one connection saw. */
static struct seen {
    bool server_open, server_closed, client_open, client_closed, listener_closed;
    struct error server_err, client_err;
    struct tls_peer *server_saw, *client_saw;
    struct str alpn;
    char text[32];
} seen;

static void server_on_open(struct net_stream *s, void *arg)
{
    UNUSED(arg);
    seen.server_open = true;
    if (net_stream_peer(s) != NULL)
        seen.server_saw = tls_peer_ref(net_stream_peer(s));
    seen.alpn = str_eq(net_stream_alpn(s), STR("h2")) ? STR("h2") : STR("other");
    net_stream_write(s, "hello", 5);
    net_stream_close_soft(s);
}

static void server_on_close(struct net_stream *s, const struct error *err, void *arg)
{
    UNUSED(s);
    UNUSED(arg);
    seen.server_closed = true;
    seen.server_err = *err;
}

static void client_on_open(struct net_stream *s, void *arg)
{
    UNUSED(arg);
    seen.client_open = true;
    if (net_stream_peer(s) != NULL)
        seen.client_saw = tls_peer_ref(net_stream_peer(s));
}

static void client_on_read(struct net_stream *s, const uint8_t *data, size_t len, void *arg)
{
    UNUSED(s);
    UNUSED(arg);
    size_t at = strlen(seen.text);
    ck_assert_uint_lt(at + len, sizeof(seen.text));
    memcpy(seen.text + at, data, len);
}

static void client_on_close(struct net_stream *s, const struct error *err, void *arg)
{
    UNUSED(s);
    UNUSED(arg);
    seen.client_closed = true;
    seen.client_err = *err;
}

static const struct net_stream_handler SERVER = {.on_open = server_on_open,
                                                 .on_close = server_on_close};
static const struct net_stream_handler CLIENT = {
    .on_open = client_on_open, .on_read = client_on_read, .on_close = client_on_close};

static void on_accept(struct net_listener *l, struct net_stream *s,
                      const struct net_stream_handler **ret_handler, void **ret_arg, void *arg)
{
    UNUSED(l);
    UNUSED(s);
    UNUSED(arg);
    *ret_handler = &SERVER;
    *ret_arg = NULL;
}

static void on_listener_closed(void *arg)
{
    UNUSED(arg);
    seen.listener_closed = true;
}

static void seen_clear(void)
{
    tls_peer_unref(seen.server_saw);
    tls_peer_unref(seen.client_saw);
    seen = (struct seen){0};
}

/* One connection from first to last. name: what the client expects, NULL for the address. */
static void meet(struct tls_context *server, struct tls_context *client, const char *name)
{
    struct error err = {0};
    struct net_listener *l;
    struct net_stream *s;
    struct net_listen_config listen = {
        .address = "127.0.0.1:0", .tls = server, .on_accept = on_accept};
    seen_clear();
    ck_assert_msg(net_listener_new(&fx.loop, &listen, &l, &err) == 0, "%s", err.message);
    struct net_connect_config connect = {
        .endpoint = net_listener_address(l), .tls = client, .server_name = name};
    ck_assert_int_eq(net_stream_connect(&fx.loop, &connect, &CLIENT, NULL, &s, &err), 0);
    fixture_run(&seen.client_closed);
    fixture_run(&seen.server_closed);
    net_listener_close(l, on_listener_closed, NULL);
    fixture_run(&seen.listener_closed);
}

static void expect_success(void)
{
    ck_assert_msg(seen.client_open && seen.server_open, "client: %s, server: %s",
                  seen.client_err.message, seen.server_err.message);
    ck_assert_str_eq(seen.text, "hello");
    ck_assert_int_eq(seen.client_err.code, E_EOF);
}

static void expect_failure(const char *client_text)
{
    ck_assert(!seen.client_open);
    ck_assert_int_eq(seen.client_err.code, E_TLS);
    ck_assert_msg(strstr(seen.client_err.message, client_text) != NULL, "%s",
                  seen.client_err.message);
    ck_assert_int_eq(seen.server_err.code, E_TLS);
}

/* A server is accepted by its address and by its name; ALPN settles on h2. */
START_TEST(server_certificate)
{
    fixture_init();
    struct tls_context *server = fixture_server_tls(TLS_CLIENT_AUTH_NONE);
    struct tls_context *client = fixture_client_tls(NULL);
    meet(server, client, NULL);
    expect_success();
    ck_assert(str_eqc(seen.alpn, "h2"));
    ck_assert_ptr_null(seen.server_saw);
    ck_assert(str_eqc(seen.client_saw->common_name, "server.test"));
    ck_assert(seen.client_saw->verified);
    meet(server, client, "server.test");
    expect_success();
    meet(server, client, "other.test");
    expect_failure("hostname mismatch");
    meet(server, client, "127.0.0.2");
    expect_failure("IP address mismatch");
    seen_clear();
    tls_context_unref(server);
    tls_context_unref(client);
    fixture_done();
}
END_TEST

/* A client that does not know the CA refuses, unless told not to look or given the right pin. */
START_TEST(trust)
{
    fixture_init();
    struct tls_context *server = fixture_server_tls(TLS_CLIENT_AUTH_NONE);
    struct fixture_pair stranger = fixture_certify("x", PKI_USAGE_SERVER);
    struct tls_config config = {.ca = {.pem = buf_str(&stranger.cert)}};
    struct tls_context *client = fixture_tls(&config);
    meet(server, client, NULL);
    expect_failure("unable to get local issuer certificate");
    tls_context_unref(client);
    config = (struct tls_config){.skip_verify = true};
    client = fixture_tls(&config);
    meet(server, client, NULL);
    expect_success();
    ck_assert(!seen.client_saw->verified);
    tls_context_unref(client);
    fixture_pair_done(&stranger);
    seen_clear();
    tls_context_unref(server);
    fixture_done();
}
END_TEST

/* The pin of a CA that the server sends along is enough; another pin is not. */
START_TEST(pinned_ca)
{
    fixture_init();
    struct fixture_pair pair = fixture_certify("server.test", PKI_USAGE_SERVER);
    buf_append_str(&pair.cert, buf_str(&fx.ca_pem));
    struct tls_config server_config = {
        .server = true, .cert = {.pem = buf_str(&pair.cert)}, .key = {.pem = buf_str(&pair.key)}};
    struct tls_context *server = fixture_tls(&server_config);
    char hash[72];
    pki_cert_key_hash(fx.ca, hash);
    struct tls_config config = {.ca_pin = hash};
    struct tls_context *client = fixture_tls(&config);
    meet(server, client, NULL);
    expect_success();
    ck_assert(seen.client_saw->verified);
    ck_assert_uint_eq(seen.client_saw->chain_count, 1);
    meet(server, client, "other.test");
    expect_failure("hostname mismatch");
    tls_context_unref(client);
    hash[10] = hash[10] == '0' ? '1' : '0';
    client = fixture_tls(&config);
    meet(server, client, NULL);
    expect_failure("self-signed certificate");
    tls_context_unref(client);
    struct error err = {0};
    config.ca_pin = "sha256:12";
    ck_assert_int_eq(tls_context_new(&config, &client, &err), E_INVALID);
    seen_clear();
    fixture_pair_done(&pair);
    tls_context_unref(server);
    fixture_done();
}
END_TEST

/* Mutual TLS: the client's subject is seen; without a certificate there is no connection. */
START_TEST(client_certificates)
{
    fixture_init();
    struct tls_context *server = fixture_server_tls(TLS_CLIENT_AUTH_REQUIRE);
    struct tls_context *alice = fixture_client_tls("alice");
    struct tls_context *nobody = fixture_client_tls(NULL);
    meet(server, alice, NULL);
    expect_success();
    ck_assert(seen.server_saw->verified);
    ck_assert(str_eqc(seen.server_saw->common_name, "alice"));
    ck_assert_uint_eq(seen.server_saw->organization_count, 1);
    ck_assert(str_eqc(seen.server_saw->organizations[0], "system:test"));
    ck_assert_int_gt(seen.server_saw->not_after, seen.server_saw->not_before);
    meet(server, nobody, NULL);
    ck_assert(!seen.server_open);
    ck_assert_int_eq(seen.server_err.code, E_TLS);
    seen_clear();
    tls_context_unref(server);
    tls_context_unref(alice);
    tls_context_unref(nobody);
    fixture_done();
}
END_TEST

/* A server that only asks lets a stranger in and says that it is one. */
START_TEST(requested_certificates)
{
    fixture_init();
    struct tls_context *server = fixture_server_tls(TLS_CLIENT_AUTH_REQUEST);
    struct tls_context *alice = fixture_client_tls("alice");
    meet(server, alice, NULL);
    expect_success();
    ck_assert(seen.server_saw->verified);
    struct buf first_ca = fx.ca_pem;
    fx.ca_pem = BUF_INIT;
    pki_cert_unref(fx.ca);
    struct pki_cert_config config = {.subject = {.common_name = STR("test-ca")}};
    pki_key_unref(fx.ca_key);
    ck_assert_int_eq(pki_key_generate(PKI_KEY_P256, &fx.ca_key, NULL), 0);
    ck_assert_int_eq(pki_ca_create(&config, fx.ca_key, &fx.ca, NULL), 0);
    buf_append_str(&fx.ca_pem, buf_str(&first_ca));
    struct tls_context *mallory = fixture_client_tls("mallory");
    meet(server, mallory, NULL);
    expect_success();
    ck_assert(!seen.server_saw->verified);
    ck_assert_ptr_nonnull(seen.server_saw->verify_error);
    ck_assert(str_eqc(seen.server_saw->common_name, "mallory"));
    buf_done(&first_ca);
    seen_clear();
    tls_context_unref(server);
    tls_context_unref(alice);
    tls_context_unref(mallory);
    fixture_done();
}
END_TEST

/* New files are used after a reload, damaged ones are not. */
START_TEST(reload)
{
    fixture_init();
    char dir[] = "/tmp/trireme-tls-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(dir));
    AUTO_FREE char *cert_file = xasprintf("%s/tls.crt", dir);
    AUTO_FREE char *key_file = xasprintf("%s/tls.key", dir);
    struct error err = {0};
    bool changed = true;
    struct fixture_pair first = fixture_certify("first.test", PKI_USAGE_SERVER);
    struct fixture_pair second = fixture_certify("second.test", PKI_USAGE_SERVER);
    ck_assert_int_eq(file_write_atomic(cert_file, first.cert.data, first.cert.len, 0600, &err), 0);
    ck_assert_int_eq(file_write_atomic(key_file, first.key.data, first.key.len, 0600, &err), 0);
    struct tls_config config = {
        .server = true, .cert = {.file = cert_file}, .key = {.file = key_file}};
    struct tls_context *server = fixture_tls(&config), *client = fixture_client_tls(NULL);
    ck_assert_int_eq(tls_context_reload(server, &changed, &err), 0);
    ck_assert(!changed);
    meet(server, client, "first.test");
    expect_success();

    /* The certificate without its key is half a change: refused. */
    ck_assert_int_eq(file_write_atomic(cert_file, second.cert.data, second.cert.len, 0600, &err),
                     0);
    ck_assert_int_eq(tls_context_reload(server, &changed, &err), E_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "private key does not match"));
    meet(server, client, "first.test");
    expect_success();
    ck_assert_int_eq(file_write_atomic(key_file, second.key.data, second.key.len, 0600, &err), 0);
    ck_assert_int_eq(tls_context_reload(server, &changed, &err), 0);
    ck_assert(changed);
    meet(server, client, "second.test");
    expect_success();

    ck_assert_int_eq(file_remove_tree(dir, &err), 0);
    ck_assert_int_eq(tls_context_reload(server, &changed, &err), E_NOT_FOUND);
    fixture_pair_done(&first);
    fixture_pair_done(&second);
    seen_clear();
    tls_context_unref(server);
    tls_context_unref(client);
    fixture_done();
}
END_TEST

/* A client's choice of name picks the certificate. */
START_TEST(server_names)
{
    fixture_init();
    struct fixture_pair first = fixture_certify("first.test", PKI_USAGE_SERVER);
    struct fixture_pair second = fixture_certify("second.test", PKI_USAGE_SERVER);
    struct fixture_pair third = fixture_certify("third.test", PKI_USAGE_SERVER);
    static const char *const NAMES[] = {"*.wild.test"};
    struct tls_sni_cert sni[] = {
        {.cert = {.pem = buf_str(&second.cert)}, .key = {.pem = buf_str(&second.key)}},
        {.cert = {.pem = buf_str(&third.cert)},
         .key = {.pem = buf_str(&third.key)},
         .names = NAMES,
         .name_count = 1},
    };
    struct tls_config config = {.server = true,
                                .cert = {.pem = buf_str(&first.cert)},
                                .key = {.pem = buf_str(&first.key)},
                                .sni = sni,
                                .sni_count = 2};
    struct tls_context *server = fixture_tls(&config), *client = fixture_client_tls(NULL);
    meet(server, client, "first.test");
    expect_success();
    meet(server, client, "second.test");
    expect_success();
    meet(server, client, "a.wild.test");
    expect_failure("hostname mismatch"); /* It is shown, and says third.test. */
    meet(server, client, NULL);
    expect_success();
    ck_assert(str_eqc(seen.client_saw->common_name, "first.test"));
    fixture_pair_done(&first);
    fixture_pair_done(&second);
    fixture_pair_done(&third);
    seen_clear();
    tls_context_unref(server);
    tls_context_unref(client);
    fixture_done();
}
END_TEST

/* Configurations that cannot work are refused with a reason. */
START_TEST(bad_configs)
{
    fixture_init();
    struct tls_context *c;
    struct error err = {0};
    struct fixture_pair a = fixture_certify("a", PKI_USAGE_SERVER);
    struct fixture_pair b = fixture_certify("b", PKI_USAGE_SERVER);
    struct tls_config config = {.server = true};
    ck_assert_int_eq(tls_context_new(&config, &c, &err), E_INVALID);
    config.cert.pem = buf_str(&a.cert);
    ck_assert_int_eq(tls_context_new(&config, &c, &err), E_INVALID);
    config.key.pem = buf_str(&b.key);
    ck_assert_int_eq(tls_context_new(&config, &c, &err), E_INVALID);
    config.key.pem = buf_str(&a.key);
    config.client_auth = TLS_CLIENT_AUTH_REQUIRE;
    ck_assert_int_eq(tls_context_new(&config, &c, &err), E_INVALID);
    config.ca.pem = STR("not PEM");
    ck_assert_int_eq(tls_context_new(&config, &c, &err), E_INVALID);
    config.ca.pem = buf_str(&fx.ca_pem);
    config.cipher_suites = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_NOPE";
    ck_assert_int_eq(tls_context_new(&config, &c, &err), E_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "TLS_NOPE"));
    config.cipher_suites = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_AES_128_GCM_SHA256";
    ck_assert_msg(tls_context_new(&config, &c, &err) == 0, "%s", err.message);
    tls_context_unref(c);
    config.cert = (struct tls_source){.file = "/nonexistent/tls.crt"};
    ck_assert_int_eq(tls_context_new(&config, &c, &err), E_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(err.message, "/nonexistent/tls.crt"));
    ck_assert_ptr_nonnull(strstr(err.message, "certificate: "));
    fixture_pair_done(&a);
    fixture_pair_done(&b);
    fixture_done();
}
END_TEST

UNIT_MAIN("tls", UNIT_TEST(server_certificate); UNIT_TEST(trust); UNIT_TEST(pinned_ca);
          UNIT_TEST(client_certificates); UNIT_TEST(requested_certificates); UNIT_TEST(reload);
          UNIT_TEST(server_names); UNIT_TEST(bad_configs))
