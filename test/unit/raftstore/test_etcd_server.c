/* test_etcd_server.c - listeners of the etcd front, TLS, faults of its configuration, and
 * calls that cannot be answered. */
#include "lib/net/tls.h"
#include "test/unit/raftstore/certs.h"
#include "test/unit/raftstore/etcd_rig.h"

static struct etcd_rig er;

static void begin_store(uint32_t members)
{
    memset(&er, 0, sizeof(er));
    rig_init(&er.rig, members > 1 ? members : 0);
    for (uint32_t i = 0; i < members; i++)
        rig_start(&er.rig, i);
    ck_assert_int_ge(rig_leader(&er.rig), 0);
    er.arena = arena_new(0);
}

static void end_store(void)
{
    arena_free(er.arena);
    rig_done(&er.rig);
}

static int start(const char *url, const struct etcd_server_config *more, struct error *err)
{
    struct etcd_server_config c = more != NULL ? *more : (struct etcd_server_config){0};
    c.store = er.rig.stores[0];
    c.listen_urls = &url;
    c.listen_url_count = 1;
    c.threads = 2;
    return etcd_server_start(&c, &er.server, err);
}

static void connect_to(const char *endpoint, struct tls_context *tls)
{
    struct error err = {0};
    const struct http_client_config config = {
        .endpoints = &endpoint, .endpoint_count = 1, .tls = tls, .protocol = HTTP_CLIENT_H2};
    ck_assert_int_eq(http_client_new(&er.rig.loop, &config, &er.client, &err), 0);
}

static void disconnect(void)
{
    er.client_closed = false;
    http_client_close(er.client, er_on_client_closed, &er.client_closed);
    ck_assert(rig_wait(&er.rig, &er.client_closed, 10000));
}

static enum grpc_status get_status(void)
{
    PB(RangeRequest) q = ETCDSERVERPB__RANGE_REQUEST__INIT;
    q.key = BYTES("k");
    return ER_CALL(&er, "KV/Range", &q, range_response).status;
}

/* A unix socket serves as well. */
START_TEST(test_unix)
{
    struct error err = {0};
    begin_store(1);
    char *url = xasprintf("unix://%s/etcd.sock", er.rig.dir);
    char *endpoint = xasprintf("unix:%s/etcd.sock", er.rig.dir);
    ck_assert_msg(start(url, NULL, &err) == 0, "%s", err.message);
    connect_to(endpoint, NULL);
    ck_assert_int_eq(get_status(), GRPC_OK);
    disconnect();
    etcd_server_stop(er.server);
    free(url);
    free(endpoint);
    end_store();
}
END_TEST

static struct tls_context *client_context(const char *ca, const char *cert, const char *key)
{
    struct tls_context *c;
    struct error err = {0};
    const struct tls_config config = {
        .cert.file = cert, .key.file = key, .ca.file = ca, .alpn = TLS_ALPN_H2};
    ck_assert_msg(tls_context_new(&config, &c, &err) == 0, "%s", err.message);
    return c;
}

/* With a CA for clients only those are served that show a certificate of it. */
START_TEST(test_tls)
{
    struct error err = {0};
    begin_store(1);
    char *ca, *cert, *key;
    struct certs authority = make_ca(er.rig.dir, "ca.crt", &ca);
    make_leaf(er.rig.dir, &authority, "etcd", "server", &cert, &key);
    const struct etcd_server_config config = {
        .cert_file = cert, .key_file = key, .trusted_ca_file = ca, .client_cert_auth = true};
    ck_assert_msg(start("https://127.0.0.1:0", &config, &err) == 0, "%s", err.message);
    char *endpoint = xasprintf("127.0.0.1:%d", etcd_server_port(er.server));
    struct tls_context *known = client_context(ca, cert, key);
    struct tls_context *unknown = client_context(ca, NULL, NULL);
    connect_to(endpoint, known);
    ck_assert_int_eq(get_status(), GRPC_OK);
    disconnect();
    connect_to(endpoint, unknown);
    ck_assert_int_eq(get_status(), GRPC_UNAVAILABLE);
    disconnect();
    etcd_server_stop(er.server);
    tls_context_unref(known);
    tls_context_unref(unknown);
    certs_done(&authority);
    free(endpoint);
    free(ca);
    free(cert);
    free(key);
    end_store();
}
END_TEST

/* What cannot work is refused at the start, with the reason; nothing is left behind. */
START_TEST(test_wrong_config)
{
    static const struct {
        const char *url, *says;
    } CASES[] = {
        {"ftp://127.0.0.1:1", "want http://HOST:PORT"},
        {"http://127.0.0.1", "want http://HOST:PORT"},
        {"https://127.0.0.1:0", "needs a certificate"},
        {"unix:///nowhere/at/all.sock", "/nowhere/at/all.sock"},
    };
    struct error err = {0};
    begin_store(1);
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        ck_assert_int_lt(start(CASES[i].url, NULL, &err), 0);
        ck_assert_msg(strstr(err.message, CASES[i].says) != NULL, "%s", err.message);
    }
    const struct etcd_server_config token = {.auth_token = "nonsense"};
    ck_assert_int_lt(start("http://127.0.0.1:0", &token, &err), 0);
    end_store();
}
END_TEST

/* A port that another server has is refused, though threads share theirs. */
START_TEST(test_port_taken)
{
    struct error err = {0};
    begin_store(1);
    ck_assert_int_eq(start("http://127.0.0.1:0", NULL, &err), 0);
    struct etcd_server *first = er.server;
    char *url = xasprintf("http://127.0.0.1:%d", etcd_server_port(first));
    ck_assert_int_eq(start(url, NULL, &err), E_EXISTS);
    etcd_server_stop(first);
    ck_assert_msg(start(url, NULL, &err) == 0, "%s", err.message);
    etcd_server_stop(er.server);
    free(url);
    end_store();
}
END_TEST

/* Without a majority a write ends as etcd's does, and its caller may leave before. */
START_TEST(test_no_quorum)
{
    begin_store(3);
    ck_assert(rig_caught_up(&er.rig, 5000));
    er_serve(&er);
    er_put(&er, "k", "v");
    rig_stop(&er.rig, 1);
    rig_stop(&er.rig, 2);
    PB(PutRequest) q = ETCDSERVERPB__PUT_REQUEST__INIT;
    q.key = BYTES("k");
    er.timeout_ms = 100;
    ck_assert_int_eq(ER_CALL(&er, "KV/Put", &q, put_response).status, GRPC_DEADLINE_EXCEEDED);
    er.timeout_ms = 0;
    struct er_answer a = ER_CALL(&er, "KV/Put", &q, put_response);
    ck_assert_int_eq(a.status, GRPC_UNAVAILABLE);
    ck_assert_str_eq(a.text, "etcdserver: request timed out");
    er_end(&er);
}
END_TEST

UNIT_MAIN("etcd_server", {
    UNIT_TEST(test_unix);
    UNIT_TEST(test_tls);
    UNIT_TEST(test_wrong_config);
    UNIT_TEST(test_port_taken);
    UNIT_TEST(test_no_quorum);
})
