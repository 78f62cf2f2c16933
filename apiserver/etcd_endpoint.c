/* etcd_endpoint.c - see etcd_endpoint.h. */
#include "apiserver/etcd_endpoint.h"

#include "lib/base/log.h"
#include "raftstore/etcd/server.h"
#include "raftstore/store.h"

#include <string.h>

void etcd_endpoint_flags(struct etcd_endpoint *e, struct flag_set *flags)
{
    e->client_cert_auth = true;
    flag_strings(flags, &e->listen_urls, "etcd-listen-client-urls",
                 "`URLs` to offer the store at as etcd's v3 API; none by default.");
    flag_string(flags, &e->advertise_urls, "etcd-advertise-client-urls",
                "`URLs` at which clients reach it; default: where it listens.");
    flag_string(flags, &e->cert_file, "etcd-cert-file",
                "`File` with its certificate; default: peer-cert-file.");
    flag_string(flags, &e->key_file, "etcd-key-file",
                "`File` with its private key; default: peer-key-file.");
    flag_string(flags, &e->trusted_ca_file, "etcd-trusted-ca-file",
                "`File` with the CAs of its clients; default: peer-ca-file.");
    flag_bool(flags, &e->client_cert_auth, "etcd-client-cert-auth",
              "Refuse its clients that show no certificate.");
}

static bool is_local(const char *url)
{
    static const char *const local[] = {"http://127.", "http://localhost:", "http://[::1]:"};
    for (size_t i = 0; i < ARRAY_SIZE(local); i++)
        if (strncmp(url, local[i], strlen(local[i])) == 0)
            return true;
    return false;
}

static int check_url(const struct etcd_endpoint *e, const char *url, struct error *err)
{
    bool is_unix = strncmp(url, "unix:", 5) == 0, plain = strncmp(url, "http:", 5) == 0;
    if (is_unix || (plain && is_local(url) && !e->client_cert_auth))
        return 0;
    if (plain)
        return error_set(err, E_INVALID,
                         "--etcd-listen-client-urls: %s would let anybody change the cluster: use "
                         "https, or a loopback address with --etcd-client-cert-auth=false",
                         url);
    if (e->cert_file == NULL || e->key_file == NULL)
        return error_set(err, E_INVALID,
                         "--etcd-listen-client-urls: %s needs --etcd-cert-file and --etcd-key-file",
                         url);
    if (e->client_cert_auth && e->trusted_ca_file == NULL)
        return error_set(err, E_INVALID,
                         "--etcd-listen-client-urls: %s needs --etcd-trusted-ca-file", url);
    return 0;
}

int etcd_endpoint_check(struct etcd_endpoint *e, struct store_config *store, struct error *err)
{
    if (e->cert_file == NULL && e->key_file == NULL) {
        e->cert_file = store->cert_file;
        e->key_file = store->key_file;
    }
    e->members_tls = store->cert_file != NULL;
    if (e->trusted_ca_file == NULL)
        e->trusted_ca_file = store->ca_file;
    for (size_t i = 0; i < e->listen_urls.count; i++) {
        int rc = check_url(e, e->listen_urls.items[i], err);
        if (rc < 0)
            return rc;
    }
    if (e->listen_urls.count > 0)
        store->client_urls =
            e->advertise_urls != NULL ? e->advertise_urls : e->listen_urls.items[0];
    return 0;
}

int etcd_endpoint_start(struct etcd_endpoint *e, struct store *store, struct error *err)
{
    if (e->listen_urls.count == 0)
        return 0;
    struct etcd_server_config config = {
        .store = store,
        .listen_urls = e->listen_urls.items,
        .listen_url_count = e->listen_urls.count,
        .cert_file = e->cert_file,
        .key_file = e->key_file,
        .trusted_ca_file = e->client_cert_auth ? e->trusted_ca_file : NULL,
        .client_cert_auth = e->client_cert_auth,
        .threads = 1, /* For administration; the work is the API's. */
        .listen_peer_urls = e->members_tls ? "https://members" : "http://members",
    };
    int rc = etcd_server_start(&config, &e->server, err);
    if (rc < 0)
        return error_prefix(err, "--etcd-listen-client-urls");
    log_info("the store is offered as etcd's API on %s", e->listen_urls.items[0]);
    return 0;
}

void etcd_endpoint_stop(struct etcd_endpoint *e)
{
    etcd_server_stop(e->server);
    e->server = NULL;
}
