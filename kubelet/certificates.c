/* certificates.c - see certificates.h. Its file work is a few small files at
 * start and every few months; it is done on the loop. */
#include "kubelet/certificates.h"

#include "kubelet/csr.h"
#include "kubelet/kubelet.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/env.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/client/client.h"
#include "lib/client/kubeconfig.h"
#include "lib/net/pki.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define PEM_BYTES_MAX (1u << 20)
#define CHECK_PERIOD_MS 60000u
#define SELF_SIGNED "kubelet-server-self-signed.pem"
#define USER_AGENT                                                                                 \
    "trireme-kubelet/"                                                                             \
    "v1.36"

enum role { ROLE_CLIENT, ROLE_SERVING };
static const char *const role_names[] = {"kubelet-client", "kubelet-server"};

struct certificates {
    struct kubelet *k;
    struct client *bootstrap;
    void (*on_client)(struct kubelet *k);
    void (*on_serving)(struct kubelet *k);
    struct csr *requests[2];
    struct pki_key *keys[2];
    uv_timer_t timer;
    bool stopped;
};

static char *current_path(const struct kubelet *k, enum role role)
{
    return xasprintf("%s/%s-current.pem", k->config.cert_dir, role_names[role]);
}

/* --- keys and files ------------------------------------------------------------------- */

/* The key of the request under way: an old one is used again, so that the
 * request it belongs to is found again. */
static int pending_key(const struct kubelet *k, enum role role, struct pki_key **ret,
                       struct error *err)
{
    AUTO_FREE char *path = xasprintf("%s/%s.key.tmp", k->config.cert_dir, role_names[role]);
    AUTO_BUF b = BUF_INIT;
    int rc = file_mkdir_p(k->config.cert_dir, 0700, err);
    if (rc != 0)
        return rc;
    if (file_read(path, PEM_BYTES_MAX, &b, NULL) == 0 &&
        pki_key_parse(buf_str(&b), ret, NULL) == 0 && pki_key_is_private(*ret))
        return 0;
    rc = pki_key_generate(PKI_KEY_P256, ret, err);
    if (rc != 0)
        return rc;
    buf_clear(&b);
    pki_key_pem(*ret, &b);
    rc = file_write_atomic(path, b.data, b.len, 0600, err);
    if (rc != 0)
        pki_key_unref(*ret);
    return rc;
}

static void drop_pending_key(const struct kubelet *k, enum role role)
{
    AUTO_FREE char *path = xasprintf("%s/%s.key.tmp", k->config.cert_dir, role_names[role]);
    file_remove(path, NULL);
}

static int switch_link(const char *link, const char *target, struct error *err)
{
    AUTO_FREE char *fresh = xasprintf("%s.new", link);
    if (unlink(fresh) != 0 && errno != ENOENT)
        return error_set_errno(err, E_IO, errno, "unlink %s", fresh);
    if (symlink(target, fresh) != 0 || rename(fresh, link) != 0)
        return error_set_errno(err, E_IO, errno, "link %s", link);
    return 0;
}

static int store(const struct kubelet *k, enum role role, struct str cert_pem,
                 const struct pki_key *key, struct error *err)
{
    char stamp[32];
    time_t now = (time_t)kubelet_wall_s(k);
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(stamp, sizeof(stamp), "%Y-%m-%d-%H-%M-%S", &tm);
    AUTO_FREE char *name = xasprintf("%s-%s.pem", role_names[role], stamp);
    AUTO_FREE char *path = xasprintf("%s/%s", k->config.cert_dir, name);
    AUTO_FREE char *link = current_path(k, role);
    AUTO_BUF b = BUF_INIT;
    /* The key first: a certificate holds a (public) key too. */
    pki_key_pem(key, &b);
    buf_append_str(&b, cert_pem);
    int rc = file_write_atomic(path, b.data, b.len, 0600, err);
    if (rc == 0)
        rc = switch_link(link, name, err);
    if (rc == 0)
        drop_pending_key(k, role);
    return rc;
}

/* The validity of a stored certificate; false when there is none that is usable. */
static bool validity(const struct kubelet *k, enum role role, int64_t *ret_from, int64_t *ret_to)
{
    AUTO_FREE char *path = current_path(k, role);
    AUTO_BUF b = BUF_INIT;
    struct pki_cert *cert;
    if (file_read(path, PEM_BYTES_MAX, &b, NULL) != 0 ||
        pki_cert_parse(buf_str(&b), &cert, NULL) != 0)
        return false;
    *ret_from = pki_cert_not_before(cert);
    *ret_to = pki_cert_not_after(cert);
    pki_cert_unref(cert);
    return true;
}

static bool is_self_signed(const struct kubelet *k, enum role role)
{
    char target[256];
    AUTO_FREE char *link = current_path(k, role);
    ssize_t n = readlink(link, target, sizeof(target));
    return n > 0 && str_eqc(str_n(target, (size_t)n), SELF_SIGNED);
}

/* Renewed between 70 and 90 percent of its life, as upstream: nodes made
 * together do not all come back together. The node's name decides where. */
static bool is_due(const struct kubelet *k, enum role role)
{
    static const uint64_t seed[2] = {0x6365727469666963u, 0x6174657300000000u};
    int64_t from, to;
    if (!validity(k, role, &from, &to) || is_self_signed(k, role))
        return true;
    int64_t percent = 70 + (int64_t)(base_siphash(seed, k->node_name, strlen(k->node_name)) % 21);
    return kubelet_wall_s(k) >= from + (to - from) / 100 * percent;
}

/* --- requests --------------------------------------------------------------------------- */

static void on_client_cert(struct str cert, const char *error, void *arg);
static void on_serving_cert(struct str cert, const char *error, void *arg);

static int request(struct certificates *c, enum role role, struct client *client, struct error *err)
{
    struct kubelet *k = c->k;
    AUTO_ARENA *a = arena_new(0);
    struct str organization = STR("system:nodes");
    struct str names[] = {str_of(k->node_name)};
    struct str *ips = ARENA_ARRAY(a, struct str, k->host_ip_count + 1);
    struct pki_subject subject = {
        .common_name = arena_printf(a, "system:node:%s", k->node_name),
        .organizations = &organization,
        .organization_count = 1,
    };
    if (role == ROLE_SERVING) {
        for (size_t i = 0; i < k->host_ip_count; i++)
            ips[i] = str_of(k->host_ips[i]);
        subject.dns_names = names;
        subject.dns_name_count = 1;
        subject.ip_addresses = ips;
        subject.ip_address_count = k->host_ip_count;
    }
    pki_key_unref(take(c->keys[role]));
    int rc = pending_key(k, role, &c->keys[role], err);
    if (rc != 0)
        return rc;
    struct csr_config config = {
        .client = client,
        .signer = role == ROLE_CLIENT ? SIGNER_CLIENT : SIGNER_SERVING,
        .subject = &subject,
        .key = c->keys[role],
        .done = role == ROLE_CLIENT ? on_client_cert : on_serving_cert,
        .arg = c,
    };
    c->requests[role] = csr_start(&config);
    return 0;
}

/* True when the new certificate is in its place. */
static bool take_cert(struct certificates *c, enum role role, struct str cert, const char *error)
{
    struct error err;
    c->requests[role] = NULL;
    if (error != NULL) {
        log_error("%s", error);
        drop_pending_key(c->k, role); /* Ask with another key next time. */
        return false;
    }
    if (store(c->k, role, cert, c->keys[role], &err) != 0) {
        log_error("certificate: %s", error_message(&err));
        return false;
    }
    log_info("%s certificate is stored in %s", role == ROLE_CLIENT ? "client" : "serving",
             c->k->config.cert_dir);
    return true;
}

static int open_client(struct kubelet *k, struct error *err)
{
    struct kubeconfig *config;
    struct client_options options = {.user_agent = USER_AGENT};
    int rc = kubeconfig_load(k->config.kubeconfig, NULL, &config, err);
    return rc == 0 ? client_new(k->loop, config, &options, &k->client, err) : rc;
}

/* A kubeconfig like the bootstrap one, but with our certificate, by file. */
static int write_kubeconfig(const struct certificates *c, struct error *err)
{
    const struct kubelet *k = c->k;
    const struct kubeconfig *boot = client_config(c->bootstrap);
    AUTO_FREE char *cert = current_path(k, ROLE_CLIENT);
    AUTO_BUF text = BUF_INIT;
    /* kubeconfig_write() puts everything inline; ours must point at files that change. */
    buf_puts(&text, "apiVersion: v1\nkind: Config\nclusters:\n- name: default-cluster\n  "
                    "cluster:\n    server: ");
    for (size_t i = 0; i < boot->server_count; i++)
        buf_printf(&text, "%s%s", i > 0 ? "," : "", boot->servers[i]);
    buf_putc(&text, '\n');
    if (boot->insecure_skip_tls_verify)
        buf_puts(&text, "    insecure-skip-tls-verify: true\n");
    if (boot->tls_server_name != NULL)
        buf_printf(&text, "    tls-server-name: %s\n", boot->tls_server_name);
    if (boot->ca.data.len > 0) {
        buf_puts(&text, "    certificate-authority-data: ");
        base64_encode(BASE64_STD, boot->ca.data.data, boot->ca.data.len, &text);
        buf_putc(&text, '\n');
    }
    buf_printf(
        &text,
        "contexts:\n- name: default-context\n  context:\n    cluster: default-cluster\n"
        "    namespace: default\n    user: default-auth\ncurrent-context: default-context\n"
        "users:\n- name: default-auth\n  user:\n    client-certificate: %s\n    client-key: %s\n",
        cert, cert);
    return file_write_atomic(k->config.kubeconfig, text.data, text.len, 0600, err);
}

static void on_client_cert(struct str cert, const char *error, void *arg)
{
    struct certificates *c = arg;
    struct kubelet *k = c->k;
    struct error err;
    if (!take_cert(c, ROLE_CLIENT, cert, error))
        return; /* The timer asks again. */
    if (k->client != NULL) {
        struct kubeconfig *config;
        if (kubeconfig_load(k->config.kubeconfig, NULL, &config, &err) != 0 ||
            client_set_config(k->client, config, &err) != 0)
            log_error("new client certificate: %s", error_message(&err));
        return;
    }
    if (write_kubeconfig(c, &err) != 0 || open_client(k, &err) != 0) {
        log_error("bootstrap: %s", error_message(&err));
        return;
    }
    client_close(take(c->bootstrap), NULL, NULL);
    c->on_client(k);
}

static void on_serving_cert(struct str cert, const char *error, void *arg)
{
    struct certificates *c = arg;
    if (take_cert(c, ROLE_SERVING, cert, error) && c->on_serving != NULL)
        c->on_serving(c->k);
}

/* --- life ---------------------------------------------------------------------------------- */

static bool uses_own_client_cert(const struct kubelet *k)
{
    const struct kubeconfig *config = client_config(k->client);
    AUTO_FREE char *path = current_path(k, ROLE_CLIENT);
    return config->cert.file != NULL && strcmp(config->cert.file, path) == 0;
}

static void on_timer(uv_timer_t *t)
{
    struct certificates *c = t->data;
    struct kubelet *k = c->k;
    struct error err = {0};
    if (c->bootstrap != NULL && c->requests[ROLE_CLIENT] == NULL)
        request(c, ROLE_CLIENT, c->bootstrap, &err);
    if (k->client != NULL && k->config.rotate_certificates && c->requests[ROLE_CLIENT] == NULL &&
        uses_own_client_cert(k) && is_due(k, ROLE_CLIENT))
        request(c, ROLE_CLIENT, k->client, &err);
    if (k->client != NULL && c->on_serving != NULL && c->requests[ROLE_SERVING] == NULL &&
        is_due(k, ROLE_SERVING))
        request(c, ROLE_SERVING, k->client, &err);
    if (err.code != 0)
        log_error("certificate: %s", error_message(&err));
}

static int start_bootstrap(struct certificates *c, struct error *err)
{
    struct kubelet *k = c->k;
    struct kubeconfig *config;
    struct client_options options = {.user_agent = USER_AGENT};
    int rc = kubeconfig_load(k->config.bootstrap_kubeconfig, NULL, &config, err);
    if (rc == 0)
        rc = client_new(k->loop, config, &options, &c->bootstrap, err);
    if (rc == 0)
        rc = request(c, ROLE_CLIENT, c->bootstrap, err);
    return rc == 0 ? 0 : error_prefix(err, "--bootstrap-kubeconfig");
}

int certificates_start(struct kubelet *k, void (*on_client)(struct kubelet *k),
                       struct certificates **ret, struct error *err)
{
    struct certificates *c = xzalloc(sizeof(*c));
    int rc;
    c->k = k;
    c->on_client = on_client;
    uv_timer_init(k->loop, &c->timer);
    c->timer.data = c;
    uv_timer_start(&c->timer, on_timer, CHECK_PERIOD_MS, CHECK_PERIOD_MS);
    *ret = c;
    if (file_exists(k->config.kubeconfig)) {
        rc = open_client(k, err);
        if (rc == 0)
            on_client(k);
        return rc;
    }
    if (k->config.bootstrap_kubeconfig == NULL)
        return error_set(err, E_NOT_FOUND,
                         "--kubeconfig %s does not exist and --bootstrap-kubeconfig is not given",
                         k->config.kubeconfig);
    log_info("no %s yet: asking for a certificate with the bootstrap credentials",
             k->config.kubeconfig);
    return start_bootstrap(c, err);
}

void certificates_serve(struct certificates *c, void (*on_serving)(struct kubelet *k))
{
    if (c == NULL || c->k->config.tls_cert_file != NULL || !c->k->config.server_tls_bootstrap)
        return;
    c->on_serving = on_serving;
    on_timer(&c->timer);
}

void certificates_stop(struct certificates *c)
{
    if (c == NULL)
        return;
    c->stopped = true;
    uv_timer_stop(&c->timer);
    for (size_t i = 0; i < ARRAY_SIZE(c->requests); i++) {
        csr_cancel(take(c->requests[i]));
        pki_key_unref(take(c->keys[i]));
    }
}

/* --- what to serve with ---------------------------------------------------------------------- */

/* Stored as if it had been requested, so that the name to serve from is one. */
static int self_signed(struct kubelet *k, struct error *err)
{
    struct pki_key *key = NULL;
    struct pki_cert *cert = NULL;
    AUTO_ARENA *a = arena_new(0);
    struct str names[] = {str_of(k->node_name), STR("localhost")};
    struct str *ips = ARENA_ARRAY(a, struct str, k->host_ip_count + 1);
    for (size_t i = 0; i < k->host_ip_count; i++)
        ips[i] = str_of(k->host_ips[i]);
    struct pki_cert_config config = {
        .subject = {.common_name = str_of(k->node_name),
                    .dns_names = names,
                    .dns_name_count = ARRAY_SIZE(names),
                    .ip_addresses = ips,
                    .ip_address_count = k->host_ip_count},
        .usages = PKI_USAGE_SERVER,
        .not_after = kubelet_wall_s(k) + 365 * 86400,
    };
    AUTO_FREE char *path = xasprintf("%s/" SELF_SIGNED, k->config.cert_dir);
    AUTO_FREE char *link = current_path(k, ROLE_SERVING);
    AUTO_BUF b = BUF_INIT;
    int rc = file_mkdir_p(k->config.cert_dir, 0700, err);
    if (rc == 0)
        rc = pki_key_generate(PKI_KEY_P256, &key, err);
    if (rc == 0)
        rc = pki_ca_create(&config, key, &cert, err);
    if (rc == 0) {
        pki_key_pem(key, &b);
        pki_cert_pem(cert, &b);
        rc = file_write_atomic(path, b.data, b.len, 0600, err);
    }
    if (rc == 0)
        rc = switch_link(link, SELF_SIGNED, err);
    pki_cert_unref(cert);
    pki_key_unref(key);
    return rc;
}

int certificates_serving_files(struct kubelet *k, const char **ret_cert, const char **ret_key,
                               struct error *err)
{
    if (k->config.tls_cert_file != NULL) {
        *ret_cert = k->config.tls_cert_file;
        *ret_key = k->config.tls_private_key_file != NULL ? k->config.tls_private_key_file
                                                          : k->config.tls_cert_file;
        return 0;
    }
    AUTO_FREE char *requested = current_path(k, ROLE_SERVING);
    int64_t from, to;
    *ret_cert = *ret_key = arena_strdup(k->arena, requested);
    if (validity(k, ROLE_SERVING, &from, &to) && to > kubelet_wall_s(k))
        return 0;
    return self_signed(k, err);
}
