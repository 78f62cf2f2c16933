/* cluster_pki.c - see cluster_pki.h. */
#include "cli/cluster_pki.h"

#include "cli/host.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/client/kubeconfig.h"
#include "lib/net/pki.h"
#include "lib/net/range.h"

#include <openssl/evp.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PEM_MAX (64u * 1024u)
#define YEAR_S (365 * 24 * 3600)
#define GCM_NONCE 12
#define GCM_TAG 16
#define KEY_BYTES 32

static const char *pki_path(struct arena *a, const struct host *h, const char *leaf)
{
    return arena_printf(a, "%s/pki/%s", h->dir, leaf).data;
}

static int read_path(struct arena *a, const char *path, struct str *ret, struct error *err)
{
    AUTO_BUF b = BUF_INIT;
    int rc = file_read(path, PEM_MAX, &b, err);
    if (rc == 0)
        *ret = arena_str(a, buf_str(&b));
    return rc;
}

int cluster_pki_read(struct arena *a, const struct host *h, const char *leaf, struct str *ret,
                     struct error *err)
{
    return read_path(a, pki_path(a, h, leaf), ret, err);
}

static int write_leaf(struct arena *a, const struct host *h, const char *leaf, struct str s,
                      mode_t mode, struct error *err)
{
    return file_write_atomic(pki_path(a, h, leaf), s.data, s.len, mode, err);
}

static void release_key(void *k)
{
    pki_key_unref(k);
}

static void release_cert(void *c)
{
    pki_cert_unref(c);
}

/* The key in NAME.key, made if it is not there. */
static int key_ensure(struct arena *a, const struct host *h, const char *name, struct pki_key **ret,
                      struct error *err)
{
    const char *leaf = arena_printf(a, "%s.key", name).data;
    struct str pem;
    int rc = 0;
    if (file_exists(pki_path(a, h, leaf))) {
        rc = cluster_pki_read(a, h, leaf, &pem, err);
        if (rc == 0)
            rc = pki_key_parse(pem, ret, err);
        if (rc != 0)
            return rc;
    } else {
        rc = pki_key_generate(PKI_KEY_P256, ret, err);
        if (rc != 0)
            return rc;
        AUTO_BUF b = BUF_INIT;
        pki_key_pem(*ret, &b);
        rc = write_leaf(a, h, leaf, buf_str(&b), 0600, err);
    }
    arena_hold(a, *ret, release_key);
    return rc;
}

static int cert_read(struct arena *a, const struct host *h, const char *name, struct pki_cert **ret,
                     struct error *err)
{
    struct str pem;
    const char *leaf = arena_printf(a, "%s.crt", name).data;
    int rc = cluster_pki_read(a, h, leaf, &pem, err);
    if (rc == 0)
        rc = pki_cert_parse(pem, ret, err);
    if (rc != 0) {
        error_prefix(err, "%s", pki_path(a, h, leaf));
        return rc;
    }
    arena_hold(a, *ret, release_cert);
    return 0;
}

static int ca_ensure(struct arena *a, const struct host *h, const char *name,
                     const char *common_name, struct error *err)
{
    const char *leaf = arena_printf(a, "%s.crt", name).data;
    if (file_exists(pki_path(a, h, leaf)))
        return 0;
    struct pki_key *key = NULL;
    int rc = key_ensure(a, h, name, &key, err);
    if (rc != 0)
        return rc;
    struct pki_cert_config config = {.subject.common_name = str_of(common_name), .is_ca = true};
    struct pki_cert *cert = NULL;
    rc = pki_ca_create(&config, key, &cert, err);
    if (rc != 0)
        return rc;
    arena_hold(a, cert, release_cert);
    AUTO_BUF b = BUF_INIT;
    pki_cert_pem(cert, &b);
    return write_leaf(a, h, leaf, buf_str(&b), 0644, err);
}

static int tokens_ensure(struct arena *a, const struct host *h, struct error *err)
{
    if (file_exists(pki_path(a, h, "tokens.csv")))
        return 0;
    uint8_t secret[32];
    env_system_random(secret, sizeof(secret));
    AUTO_BUF b = BUF_INIT;
    hex_encode(secret, sizeof(secret), &b);
    buf_puts(&b, ",admin,admin,\"system:masters\"\n");
    return write_leaf(a, h, "tokens.csv", buf_str(&b), 0600, err);
}

static int sa_public_ensure(struct arena *a, const struct host *h, struct error *err)
{
    struct pki_key *key = NULL;
    int rc = key_ensure(a, h, "sa", &key, err);
    if (rc != 0)
        return rc;
    AUTO_BUF b = BUF_INIT;
    pki_key_public_pem(key, &b);
    return write_leaf(a, h, "sa.pub", buf_str(&b), 0644, err);
}

int cluster_pki_create(struct arena *a, const struct host *h, struct error *err)
{
    int rc = ca_ensure(a, h, "ca", "trireme-ca", err);
    if (rc == 0)
        rc = ca_ensure(a, h, "peer-ca", "trireme-peer-ca", err);
    if (rc == 0)
        rc = ca_ensure(a, h, "front-proxy-ca", "trireme-front-proxy-ca", err);
    if (rc == 0)
        rc = sa_public_ensure(a, h, err);
    if (rc == 0)
        rc = tokens_ensure(a, h, err);
    return rc;
}

struct leaf_config {
    const char *name; /* File name without suffix. */
    const char *ca;
    const char *common_name;
    const char *organization; /* NULL: none. */
    unsigned usages;
    const struct str *dns_names;
    size_t dns_name_count;
    const struct str *ip_addresses;
    size_t ip_address_count;
    bool with_chain; /* The CA's certificate behind the leaf: join pins it. */
};

static int leaf_issue(struct arena *a, const struct host *h, const struct leaf_config *l,
                      struct str *ret_cert, struct str *ret_key, struct error *err)
{
    struct pki_key *key = NULL, *ca_key = NULL;
    struct pki_cert *ca = NULL, *cert = NULL;
    int rc = key_ensure(a, h, l->name, &key, err);
    if (rc == 0)
        rc = key_ensure(a, h, l->ca, &ca_key, err);
    if (rc == 0)
        rc = cert_read(a, h, l->ca, &ca, err);
    if (rc != 0)
        return rc;
    struct str org = str_of(l->organization);
    struct pki_cert_config config = {
        .subject = {.common_name = str_of(l->common_name),
                    .organizations = &org,
                    .organization_count = l->organization != NULL,
                    .dns_names = l->dns_names,
                    .dns_name_count = l->dns_name_count,
                    .ip_addresses = l->ip_addresses,
                    .ip_address_count = l->ip_address_count},
        .usages = l->usages,
        .not_after = (int64_t)time(NULL) + YEAR_S,
    };
    rc = pki_cert_sign(&config, key, ca, ca_key, &cert, err);
    if (rc != 0)
        return rc;
    arena_hold(a, cert, release_cert);
    AUTO_BUF b = BUF_INIT;
    pki_cert_pem(cert, &b);
    if (l->with_chain)
        pki_cert_pem(ca, &b);
    rc = write_leaf(a, h, arena_printf(a, "%s.crt", l->name).data, buf_str(&b), 0644, err);
    if (ret_cert != NULL)
        *ret_cert = arena_str(a, buf_str(&b));
    if (ret_key != NULL) {
        AUTO_BUF k = BUF_INIT;
        pki_key_pem(key, &k);
        *ret_key = arena_str(a, buf_str(&k));
    }
    return rc;
}

static bool is_address(struct str s)
{
    char text[64];
    unsigned char bytes[16];
    if (s.len >= sizeof(text))
        return false;
    snprintf(text, sizeof(text), STR_FMT, STR_ARG(s));
    return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

/* The first address of the first range: the kubernetes Service. */
static struct str first_service_ip(struct arena *a, const char *cidr)
{
    struct net_range ranges[2], first;
    char text[NET_RANGE_TEXT_MAX];
    if (net_range_parse_pair(str_of(cidr), ranges) == 0)
        return STR_NULL;
    first = net_range_nth(&ranges[0], ranges[0].v6 ? 128 : 32, 1);
    net_range_address_text(&first, text);
    return arena_strc(a, text);
}

static int issue_apiserver(struct arena *a, const struct host *h, struct error *err)
{
    struct str dns[24] = {STR("kubernetes"),
                          STR("kubernetes.default"),
                          STR("kubernetes.default.svc"),
                          STR("kubernetes.default.svc.cluster.local"),
                          STR("localhost"),
                          str_of(h->name)};
    struct str ips[24] = {STR("127.0.0.1"), STR("::1"), str_of(h->address),
                          first_service_ip(a, h->service_cidr)};
    size_t dns_count = 6, ip_count = str_empty(ips[3]) ? 3 : 4;
    struct str rest = str_of(h->extra_sans), one;
    while (!str_empty(rest) && dns_count < ARRAY_SIZE(dns) && ip_count < ARRAY_SIZE(ips)) {
        str_cut(rest, ',', &one, &rest);
        one = arena_str(a, str_trim(one));
        if (is_address(one))
            ips[ip_count++] = one;
        else if (!str_empty(one))
            dns[dns_count++] = one;
    }
    return leaf_issue(a, h,
                      &(struct leaf_config){.name = "apiserver",
                                            .ca = "ca",
                                            .common_name = "kube-apiserver",
                                            .usages = PKI_USAGE_SERVER,
                                            .dns_names = dns,
                                            .dns_name_count = dns_count,
                                            .ip_addresses = ips,
                                            .ip_address_count = ip_count,
                                            .with_chain = true},
                      NULL, NULL, err);
}

static int issue_peer(struct arena *a, const struct host *h, struct error *err)
{
    struct str dns[] = {STR("localhost"), str_of(h->name)};
    struct str ips[] = {STR("127.0.0.1"), str_of(h->address)};
    return leaf_issue(
        a, h,
        &(struct leaf_config){.name = "peer",
                              .ca = "peer-ca",
                              .common_name = arena_printf(a, "trireme-member:%s", h->name).data,
                              .organization = "system:trireme:members",
                              .usages = PKI_USAGE_SERVER | PKI_USAGE_CLIENT,
                              .dns_names = dns,
                              .dns_name_count = ARRAY_SIZE(dns),
                              .ip_addresses = ips,
                              .ip_address_count = ARRAY_SIZE(ips)},
        NULL, NULL, err);
}

/* Not in a cluster whose first host was set up before there was aggregation. */
static int issue_front_proxy(struct arena *a, const struct host *h, struct error *err)
{
    if (!file_exists(pki_path(a, h, "front-proxy-ca.crt")))
        return 0;
    return leaf_issue(a, h,
                      &(struct leaf_config){.name = "front-proxy-client",
                                            .ca = "front-proxy-ca",
                                            .common_name = "front-proxy-client",
                                            .usages = PKI_USAGE_CLIENT},
                      NULL, NULL, err);
}

/* A client certificate inside a kubeconfig; the key has no file of its own. */
static int issue_kubeconfig(struct arena *a, const struct host *h, const char *servers,
                            const char *name, const char *user, const char *organization,
                            struct error *err)
{
    struct str cert, key, ca;
    const char *tmp = arena_printf(a, "client-%s", name).data;
    int rc = cluster_pki_read(a, h, "ca.crt", &ca, err);
    if (rc == 0)
        rc = leaf_issue(a, h,
                        &(struct leaf_config){.name = tmp,
                                              .ca = "ca",
                                              .common_name = user,
                                              .organization = organization,
                                              .usages = PKI_USAGE_CLIENT},
                        &cert, &key, err);
    if (rc != 0)
        return rc;
    struct kubeconfig *k = kubeconfig_for_server(servers);
    kubeconfig_set_data(&k->ca, ca);
    kubeconfig_set_data(&k->cert, cert);
    kubeconfig_set_data(&k->key, key);
    AUTO_BUF b = BUF_INIT;
    kubeconfig_write(k, "trireme", user, &b);
    kubeconfig_free(k);
    return file_write_atomic(host_path(a, h, arena_printf(a, "%s.kubeconfig", name).data), b.data,
                             b.len, 0600, err);
}

int cluster_pki_issue(struct arena *a, const struct host *h, const char *servers, struct error *err)
{
    int rc = issue_apiserver(a, h, err);
    if (rc == 0)
        rc = leaf_issue(a, h,
                        &(struct leaf_config){.name = "apiserver-kubelet-client",
                                              .ca = "ca",
                                              .common_name = "kube-apiserver-kubelet-client",
                                              .organization = "system:masters",
                                              .usages = PKI_USAGE_CLIENT},
                        NULL, NULL, err);
    if (rc == 0)
        rc = issue_front_proxy(a, h, err);
    if (rc == 0)
        rc = issue_peer(a, h, err);
    const char *own = host_url(a, h);
    if (rc == 0)
        rc = issue_kubeconfig(a, h, own, "admin", "kubernetes-admin", "system:masters", err);
    if (rc == 0)
        rc = issue_kubeconfig(a, h, servers, "scheduler", "system:kube-scheduler", NULL, err);
    if (rc == 0)
        rc = issue_kubeconfig(a, h, servers, "controller-manager", "system:kube-controller-manager",
                              NULL, err);
    return rc;
}

int cluster_pki_ca_hash(struct arena *a, const struct host *h, struct str *ret, struct error *err)
{
    struct pki_cert *ca = NULL;
    int rc = cert_read(a, h, "ca", &ca, err);
    if (rc != 0)
        return rc;
    char hash[72];
    pki_cert_key_hash(ca, hash);
    *ret = arena_strc(a, hash);
    return 0;
}

int cluster_pki_admin_token(struct arena *a, const char *dir, struct str *ret, struct error *err)
{
    struct str text, rest;
    int rc = read_path(a, arena_printf(a, "%s/pki/tokens.csv", dir).data, &text, err);
    if (rc != 0)
        return rc;
    str_cut(text, ',', &text, &rest);
    *ret = arena_str(a, text);
    return 0;
}

int cluster_pki_token_kubeconfig(struct arena *a, const char *servers, struct str ca_pem,
                                 struct str token, const char *user, struct buf *out)
{
    UNUSED(a);
    struct kubeconfig *k = kubeconfig_for_server(servers);
    kubeconfig_set_data(&k->ca, ca_pem);
    if (!str_empty(token))
        kubeconfig_set_data(&k->token, token);
    kubeconfig_write(k, "trireme", user, out);
    kubeconfig_free(k);
    return 0;
}

/* --- handing the shared secrets to a joining control-plane host -------------- */

static const struct {
    const char *name;
    bool optional; /* Older clusters lack it. */
} shared_files[] = {
    {"ca.crt", false},
    {"ca.key", false},
    {"peer-ca.crt", false},
    {"peer-ca.key", false},
    {"sa.key", false},
    {"sa.pub", false},
    {"tokens.csv", false},
    {"front-proxy-ca.crt", true},
    {"front-proxy-ca.key", true},
};

static int parse_key(struct str hex, uint8_t key[KEY_BYTES], struct error *err)
{
    AUTO_BUF b = BUF_INIT;
    if (hex_decode(hex, &b) != 0 || b.len != KEY_BYTES)
        return error_set(err, E_USAGE, "--token: the third part must be %d hexadecimal digits",
                         KEY_BYTES * 2);
    memcpy(key, b.data, KEY_BYTES);
    return 0;
}

int cluster_pki_seal(struct arena *a, const struct host *h, struct str key_hex,
                     struct str *ret_sealed, struct error *err)
{
    uint8_t key[KEY_BYTES];
    int rc = parse_key(key_hex, key, err);
    struct json *j = json_object(a);
    for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(shared_files); i++) {
        struct str text;
        if (shared_files[i].optional && !file_exists(pki_path(a, h, shared_files[i].name)))
            continue;
        rc = cluster_pki_read(a, h, shared_files[i].name, &text, err);
        if (rc == 0)
            json_setc(a, j, shared_files[i].name, json_string(a, text));
    }
    if (rc != 0)
        return rc;
    AUTO_BUF plain = BUF_INIT;
    json_write(j, false, &plain);
    uint8_t *sealed = arena_alloc(a, GCM_NONCE + plain.len + GCM_TAG);
    env_system_random(sealed, GCM_NONCE);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0, m = 0;
    bool ok = ctx != NULL && EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, sealed) == 1 &&
              EVP_EncryptUpdate(ctx, sealed + GCM_NONCE, &n, plain.data, (int)plain.len) == 1 &&
              EVP_EncryptFinal_ex(ctx, sealed + GCM_NONCE + n, &m) == 1 &&
              EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, GCM_TAG,
                                  sealed + GCM_NONCE + plain.len) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (!ok)
        return error_set(err, E_INTERNAL, "encrypt the control-plane secrets");
    *ret_sealed = str_n((const char *)sealed, GCM_NONCE + plain.len + GCM_TAG);
    return 0;
}

static int store_shared(struct arena *a, const struct host *h, const struct json *j,
                        struct error *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(shared_files); i++) {
        const char *name = shared_files[i].name;
        struct str text = json_get_str(j, name);
        if (str_empty(text) && shared_files[i].optional)
            continue;
        if (str_empty(text))
            return error_set(err, E_INVALID, "the control-plane secrets lack %s", name);
        bool public =
            str_has_suffix(str_of(name), STR(".crt")) || str_has_suffix(str_of(name), STR(".pub"));
        int rc = write_leaf(a, h, name, text, public ? 0644 : 0600, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int cluster_pki_unseal(struct arena *a, const struct host *h, struct str key_hex, struct str sealed,
                       struct error *err)
{
    uint8_t key[KEY_BYTES];
    int rc = parse_key(key_hex, key, err);
    if (rc != 0)
        return rc;
    if (sealed.len < GCM_NONCE + GCM_TAG || sealed.len > PEM_MAX)
        return error_set(err, E_INVALID, "the control-plane secrets are damaged (%zu bytes)",
                         sealed.len);
    size_t len = sealed.len - GCM_NONCE - GCM_TAG;
    const uint8_t *in = (const uint8_t *)sealed.data;
    uint8_t tag[GCM_TAG];
    memcpy(tag, in + GCM_NONCE + len, GCM_TAG);
    char *plain = arena_alloc(a, len + 1);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0, m = 0;
    bool ok = ctx != NULL && EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, in) == 1 &&
              EVP_DecryptUpdate(ctx, (unsigned char *)plain, &n, in + GCM_NONCE, (int)len) == 1 &&
              EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, GCM_TAG, tag) == 1 &&
              EVP_DecryptFinal_ex(ctx, (unsigned char *)plain + n, &m) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (!ok)
        return error_set(err, E_FORBIDDEN,
                         "--token: its key does not open the control-plane secrets");
    struct json *j = NULL;
    rc = json_parse(a, str_n(plain, len), &j, err);
    if (rc == 0)
        rc = store_shared(a, h, j, err);
    return rc;
}
