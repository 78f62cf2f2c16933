/* net_fixture.h - a loop, a CA and certificates for the tests of lib/net. Each
 * test program includes it once; nothing here outlives a test. */
#ifndef TEST_UNIT_NET_FIXTURE_H
#define TEST_UNIT_NET_FIXTURE_H

#include "lib/base/buf.h"
#include "lib/net/pki.h"
#include "lib/net/stream.h"
#include "lib/net/tls.h"
#include "test/unit/unit.h"

#include <signal.h>
#include <uv.h>

struct fixture {
    uv_loop_t loop;
    uv_timer_t watchdog;
    bool expired;
    struct pki_key *ca_key;
    struct pki_cert *ca;
    struct buf ca_pem;
};

static struct fixture fx;

static inline void fixture_on_watchdog(uv_timer_t *timer)
{
    UNUSED(timer);
    fx.expired = true;
}

static inline void fixture_init(void)
{
    signal(SIGPIPE, SIG_IGN);
    fx = (struct fixture){.ca_pem = BUF_INIT};
    ck_assert_int_eq(uv_loop_init(&fx.loop), 0);
    uv_timer_init(&fx.loop, &fx.watchdog);
    uv_unref((uv_handle_t *)&fx.watchdog);
    uv_timer_start(&fx.watchdog, fixture_on_watchdog, 60000, 0);
    struct error err = {0};
    struct pki_cert_config config = {.subject = {.common_name = STR("test-ca")}};
    ck_assert_int_eq(pki_key_generate(PKI_KEY_P256, &fx.ca_key, &err), 0);
    ck_assert_int_eq(pki_ca_create(&config, fx.ca_key, &fx.ca, &err), 0);
    pki_cert_pem(fx.ca, &fx.ca_pem);
}

/* Every handle of the test must have been closed. */
static inline void fixture_done(void)
{
    uv_close((uv_handle_t *)&fx.watchdog, NULL);
    uv_run(&fx.loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&fx.loop), 0);
    pki_cert_unref(fx.ca);
    pki_key_unref(fx.ca_key);
    buf_done(&fx.ca_pem);
}

/* Runs the loop until *flag; fails the test after a minute. */
static inline void fixture_run(const bool *flag)
{
    while (!*flag && !fx.expired)
        uv_run(&fx.loop, UV_RUN_ONCE);
    ck_assert_msg(!fx.expired, "nothing happened for a minute");
}

static inline void fixture_run_count(const size_t *count, size_t want)
{
    while (*count < want && !fx.expired)
        uv_run(&fx.loop, UV_RUN_ONCE);
    ck_assert_msg(!fx.expired, "nothing happened for a minute");
}

struct fixture_pair {
    struct buf cert, key;
};

static inline void fixture_pair_done(struct fixture_pair *p)
{
    buf_done(&p->cert);
    buf_done(&p->key);
}

/* A certificate signed by the fixture's CA: a server's for 127.0.0.1 and the
 * name, or a client's of the group system:test. */
static inline struct fixture_pair fixture_certify(const char *name, unsigned usage)
{
    struct str ip = STR("127.0.0.1"), group = STR("system:test"), dns = str_of(name);
    struct fixture_pair pair = {BUF_INIT, BUF_INIT};
    struct pki_key *key;
    struct pki_cert *cert;
    struct error err = {0};
    struct pki_cert_config config = {
        .subject = {.common_name = str_of(name), .organizations = &group, .organization_count = 1},
        .usages = usage,
    };
    if (usage == PKI_USAGE_SERVER) {
        config.subject.dns_names = &dns;
        config.subject.dns_name_count = 1;
        config.subject.ip_addresses = &ip;
        config.subject.ip_address_count = 1;
    }
    ck_assert_int_eq(pki_key_generate(PKI_KEY_P256, &key, &err), 0);
    ck_assert_int_eq(pki_cert_sign(&config, key, fx.ca, fx.ca_key, &cert, &err), 0);
    pki_cert_pem(cert, &pair.cert);
    pki_key_pem(key, &pair.key);
    pki_cert_unref(cert);
    pki_key_unref(key);
    return pair;
}

static inline struct tls_context *fixture_tls(const struct tls_config *config)
{
    struct tls_context *c = NULL;
    struct error err = {0};
    ck_assert_msg(tls_context_new(config, &c, &err) == 0, "%s", err.message);
    return c;
}

static inline struct tls_context *fixture_server_tls(enum tls_client_auth auth)
{
    struct fixture_pair pair = fixture_certify("server.test", PKI_USAGE_SERVER);
    struct tls_config config = {
        .server = true,
        .cert = {.pem = buf_str(&pair.cert)},
        .key = {.pem = buf_str(&pair.key)},
        .ca = {.pem = buf_str(&fx.ca_pem)},
        .client_auth = auth,
        .alpn = TLS_ALPN_H2 | TLS_ALPN_HTTP1,
    };
    struct tls_context *c = fixture_tls(&config);
    fixture_pair_done(&pair);
    return c;
}

/* name NULL: without a certificate. */
static inline struct tls_context *fixture_client_tls(const char *name)
{
    struct fixture_pair pair = {BUF_INIT, BUF_INIT};
    if (name != NULL)
        pair = fixture_certify(name, PKI_USAGE_CLIENT);
    struct tls_config config = {
        .cert = {.pem = buf_str(&pair.cert)},
        .key = {.pem = buf_str(&pair.key)},
        .ca = {.pem = buf_str(&fx.ca_pem)},
        .alpn = TLS_ALPN_H2 | TLS_ALPN_HTTP1,
    };
    struct tls_context *c = fixture_tls(&config);
    fixture_pair_done(&pair);
    return c;
}

#endif
