/* bootstrap.c - tokens, cluster-info and the sealed secrets, over the API. */
#include "cli/bootstrap.h"

#include "cli/cluster_pki.h"
#include "cli/host.h"
#include "cli/proc.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/client/kubeconfig.h"
#include "lib/client/sync.h"
#include "lib/net/http_client.h"
#include "lib/net/tls.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define TOKEN_ID_LEN 6
#define TOKEN_SECRET_LEN 16
#define KEY_HEX_LEN 64
#define DISCOVER_BYTES_MAX (1u << 20)

static bool is_token_text(struct str s, size_t len)
{
    if (s.len != len)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!((s.data[i] >= 'a' && s.data[i] <= 'z') || (s.data[i] >= '0' && s.data[i] <= '9')))
            return false;
    return true;
}

int join_token_parse(struct str text, struct join_token *ret, struct error *err)
{
    struct join_token t = {0};
    struct str rest;
    str_cut(text, '.', &t.id, &rest);
    str_cut(rest, '.', &t.secret, &t.key);
    if (!is_token_text(t.id, TOKEN_ID_LEN) || !is_token_text(t.secret, TOKEN_SECRET_LEN) ||
        (t.key.len != 0 && t.key.len != KEY_HEX_LEN))
        return error_set(
            err, E_USAGE,
            "--token: want the form abcdef.0123456789abcdef as printed by `trireme token create`, "
            "for control planes with a third part of %d digits",
            KEY_HEX_LEN);
    *ret = t;
    return 0;
}

static struct str random_text(struct arena *a, const char *alphabet, size_t alphabet_len,
                              size_t len)
{
    char *p = arena_alloc(a, len + 1);
    for (size_t i = 0; i < len; i++)
        p[i] = alphabet[env_random_below(env_system(), alphabet_len)];
    p[len] = '\0';
    return str_n(p, len);
}

void join_token_generate(struct arena *a, bool control_plane, struct join_token *ret)
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    ret->id = random_text(a, alphabet, sizeof(alphabet) - 1, TOKEN_ID_LEN);
    ret->secret = random_text(a, alphabet, sizeof(alphabet) - 1, TOKEN_SECRET_LEN);
    ret->key = control_plane ? random_text(a, "0123456789abcdef", 16, KEY_HEX_LEN) : STR_NULL;
}

struct str join_token_text(struct arena *a, const struct join_token *t)
{
    return arena_printf(a, STR_FMT "." STR_FMT "%s" STR_FMT, STR_ARG(t->id), STR_ARG(t->secret),
                        str_empty(t->key) ? "" : ".", STR_ARG(t->key));
}

int bootstrap_admin_client(struct arena *a, const struct host *h, struct sync_client **ret,
                           struct error *err)
{
    struct kubeconfig *k = NULL;
    int rc = kubeconfig_load(host_path(a, h, "admin.kubeconfig"), NULL, &k, err);
    if (rc != 0)
        return rc;
    return sync_client_new(k, NULL, ret, err);
}

int bootstrap_wait_ready(struct arena *a, const struct host *h, uint64_t timeout_ms,
                         struct error *err)
{
    uint64_t end = env_now_ms(env_system()) + timeout_ms;
    struct error last = {0};
    struct sync_client *c = NULL;
    int ended = 0, rc = bootstrap_admin_client(a, h, &c, err);
    if (rc != 0)
        return rc;
    for (;;) {
        rc = sync_raw(c, &(struct client_raw){.path = STR("/readyz"), .timeout_ms = 1000}, NULL,
                      &last);
        if (rc == 0 || env_now_ms(env_system()) > end)
            break;
        ended = host_check(a, h, err);
        if (ended != 0)
            break;
        proc_sleep_ms(10);
    }
    sync_client_free(c);
    if (rc == 0 || ended != 0)
        return ended;
    const char *log = arena_printf(a, "%s/apiserver.log", h->log_dir).data;
    struct str complaint = host_last_line(a, log, "EW");
    return error_set(err, E_TIMEOUT, "%s is not ready after %llu s: %s%s%.*s (log: %s)", h->name,
                     (unsigned long long)(timeout_ms / 1000), error_message(&last),
                     complaint.len > 0 ? "; its last warning: " : "", STR_ARG(complaint), log);
}

/* Does the member list name this host as one that votes? */
static bool is_voter(const struct host *h, struct sync_client *c)
{
    AUTO_ARENA *a = arena_new(0);
    struct sync_answer answer = {0};
    struct json *j = NULL;
    bool found = false;
    struct client_raw raw = {.path = STR("/trireme/v1/members"), .timeout_ms = 2000};
    if (sync_raw(c, &raw, &answer, NULL) == 0 &&
        json_parse(a, arena_str(a, answer.body), &j, NULL) == 0) {
        const struct json *list = json_getc(j, "members");
        for (size_t i = 0; list != NULL && list->type == JSON_ARRAY && i < list->array.count; i++) {
            struct str role = json_get_str(list->array.items[i], "role");
            found = found || (str_eqc(json_get_str(list->array.items[i], "name"), h->name) &&
                              (str_eqc(role, "voter") || str_eqc(role, "leader")));
        }
    }
    sync_answer_done(&answer);
    return found;
}

int bootstrap_wait_voter(struct arena *a, const struct host *h, uint64_t timeout_ms,
                         struct error *err)
{
    uint64_t end = env_now_ms(env_system()) + timeout_ms;
    struct sync_client *c = NULL;
    int rc = bootstrap_admin_client(a, h, &c, err);
    if (rc != 0)
        return rc;
    bool votes = is_voter(h, c);
    while (!votes && rc == 0 && env_now_ms(env_system()) < end) {
        proc_sleep_ms(50);
        votes = is_voter(h, c);
        rc = host_check(a, h, err);
    }
    sync_client_free(c);
    if (rc != 0)
        return rc;
    if (!votes)
        return error_set(
            err, E_TIMEOUT,
            "%s serves, but has no vote in the store after %llu s (see `trireme member "
            "list`; log: %s/apiserver.log)",
            h->name, (unsigned long long)(timeout_ms / 1000), h->log_dir);
    return 0;
}

/* POST of a JSON object; one that is there already is replaced by PUT. */
static int put_object(struct arena *a, struct sync_client *c, const char *collection,
                      const char *name, const struct json *object, struct error *err)
{
    AUTO_BUF body = BUF_INIT;
    json_write(object, false, &body);
    struct client_raw raw = {.method = "POST",
                             .path = str_of(collection),
                             .body = buf_str(&body),
                             .content_type = "application/json"};
    int rc = sync_raw(c, &raw, NULL, err);
    if (rc != E_EXISTS)
        return rc;
    raw.method = "PUT";
    raw.path = arena_printf(a, "%s/%s", collection, name);
    return sync_raw(c, &raw, NULL, err);
}

static struct json *object_head(struct arena *a, const char *kind, const char *namespace_name,
                                const char *name)
{
    struct json *j = json_object(a), *meta = json_object(a);
    json_setc(a, j, "apiVersion", json_string(a, STR("v1")));
    json_setc(a, j, "kind", json_string(a, str_of(kind)));
    json_setc(a, meta, "name", json_string(a, str_of(name)));
    json_setc(a, meta, "namespace", json_string(a, str_of(namespace_name)));
    json_setc(a, j, "metadata", meta);
    return j;
}

/* Claims work out of the box: docs/storage.md. Whoever changed or replaced it keeps that. */
static int publish_storage_class(struct sync_client *c, struct error *err)
{
    static const char body[] =
        "{\"apiVersion\":\"storage.k8s.io/v1\",\"kind\":\"StorageClass\",\"metadata\":{\"name\":"
        "\"local-path\",\"annotations\":{\"storageclass.kubernetes.io/"
        "is-default-class\":\"true\"}},"
        "\"provisioner\":\"trireme.io/local-path\",\"reclaimPolicy\":\"Delete\","
        "\"volumeBindingMode\":\"WaitForFirstConsumer\"}";
    struct client_raw raw = {.method = "POST",
                             .path = STR("/apis/storage.k8s.io/v1/storageclasses"),
                             .body = STR(body),
                             .content_type = "application/json"};
    int rc = sync_raw(c, &raw, NULL, err);
    return rc == E_EXISTS ? 0 : rc;
}

/* The Service that clients find the cluster's DNS by: docs/dns.md. It has no endpoints of its own,
 * since every node answers on its address. Whoever changed it, as by deploying CoreDNS, keeps that.
 */
static int publish_dns(struct arena *a, const struct host *h, struct sync_client *c,
                       struct error *err)
{
    struct str first, second;
    bool two = str_cut(str_of(h->cluster_dns), ',', &first, &second);
    const char *more = two ? arena_printf(a, ",\"" STR_FMT "\"", STR_ARG(second)).data : "";
    struct client_raw raw = {
        .method = "POST",
        .path = STR("/api/v1/namespaces/kube-system/services"),
        .body = arena_printf(
            a,
            "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"kube-dns\","
            "\"namespace\":\"kube-system\",\"labels\":{\"k8s-app\":\"kube-dns\","
            "\"kubernetes.io/cluster-service\":\"true\",\"kubernetes.io/name\":\"CoreDNS\"}},"
            "\"spec\":{\"clusterIP\":\"" STR_FMT "\",\"clusterIPs\":[\"" STR_FMT "\"%s],"
            "\"ipFamilyPolicy\":\"%s\",\"ports\":["
            "{\"name\":\"dns\",\"port\":53,\"protocol\":\"UDP\",\"targetPort\":53},"
            "{\"name\":\"dns-tcp\",\"port\":53,\"protocol\":\"TCP\",\"targetPort\":53}]}}",
            STR_ARG(first), STR_ARG(first), more, two ? "RequireDualStack" : "SingleStack"),
        .content_type = "application/json"};
    int rc = sync_raw(c, &raw, NULL, err);
    if (rc == 0 || rc == E_EXISTS)
        return 0;
    /* Not in the Service range, or taken: the nodes answer there all the same. */
    return rc == E_UNPROCESSABLE ? 0 : error_prefix(err, "Service kube-dns");
}

int bootstrap_publish(struct arena *a, const struct host *h, struct sync_client *c,
                      struct error *err)
{
    struct str ca;
    int rc = cluster_pki_read(a, h, "ca.crt", &ca, err);
    if (rc != 0)
        return rc;
    AUTO_BUF kubeconfig = BUF_INIT;
    const char *server = host_url(a, h);
    cluster_pki_token_kubeconfig(a, server, ca, STR_NULL, "none", &kubeconfig);
    struct json *map = object_head(a, "ConfigMap", "kube-public", "cluster-info");
    struct json *data = json_object(a);
    json_setc(a, data, "kubeconfig", json_string(a, buf_str(&kubeconfig)));
    json_setc(a, map, "data", data);
    rc = put_object(a, c, "/api/v1/namespaces/kube-public/configmaps", "cluster-info", map, err);
    if (rc == 0 && !h->no_dns)
        rc = publish_dns(a, h, c, err);
    return rc == 0 && !h->no_local_path ? publish_storage_class(c, err) : rc;
}

static struct str rfc3339(struct arena *a, int64_t at)
{
    time_t t = (time_t)at;
    struct tm tm;
    gmtime_r(&t, &tm);
    char text[32];
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    return arena_strc(a, text);
}

static int create_sealed(struct arena *a, const struct host *h, struct sync_client *c,
                         const struct join_token *t, struct error *err)
{
    struct str sealed;
    int rc = cluster_pki_seal(a, h, t->key, &sealed, err);
    if (rc != 0)
        return rc;
    const char *name = arena_printf(a, "trireme-join-" STR_FMT, STR_ARG(t->id)).data;
    struct json *secret = object_head(a, "Secret", "kube-system", name);
    AUTO_BUF b64 = BUF_INIT;
    base64_encode(BASE64_STD, sealed.data, sealed.len, &b64);
    struct json *data = json_object(a);
    json_setc(a, data, "sealed", json_string(a, buf_str(&b64)));
    json_setc(a, secret, "data", data);
    json_setc(a, secret, "type", json_string(a, STR("trireme.io/join")));
    return put_object(a, c, "/api/v1/namespaces/kube-system/secrets", name, secret, err);
}

int bootstrap_create_token(struct arena *a, const struct host *h, struct sync_client *c,
                           const struct join_token *t, int64_t ttl_s, struct error *err)
{
    bool control_plane = !str_empty(t->key);
    const char *name = arena_printf(a, "bootstrap-token-" STR_FMT, STR_ARG(t->id)).data;
    struct json *secret = object_head(a, "Secret", "kube-system", name);
    struct json *data = json_object(a);
    json_setc(a, data, "token-id", json_string(a, t->id));
    json_setc(a, data, "token-secret", json_string(a, t->secret));
    json_setc(a, data, "usage-bootstrap-authentication", json_string(a, STR("true")));
    json_setc(a, data, "usage-bootstrap-signing", json_string(a, STR("true")));
    json_setc(a, data, "auth-extra-groups",
              json_string(a, control_plane ? STR("system:bootstrappers:trireme:control-plane")
                                           : STR("system:bootstrappers:trireme:worker")));
    json_setc(a, data, "description",
              json_string(a, control_plane ? STR("trireme join --control-plane")
                                           : STR("trireme join --worker")));
    if (ttl_s > 0)
        json_setc(a, data, "expiration", json_string(a, rfc3339(a, (int64_t)time(NULL) + ttl_s)));
    json_setc(a, secret, "stringData", data);
    json_setc(a, secret, "type", json_string(a, STR("bootstrap.kubernetes.io/token")));
    int rc = put_object(a, c, "/api/v1/namespaces/kube-system/secrets", name, secret, err);
    if (rc == 0 && control_plane)
        rc = create_sealed(a, h, c, t, err);
    return rc;
}

static int fetch_cluster_info(const char *url, const char *ca_hash, struct http_sync_response *ret,
                              struct error *err)
{
    struct tls_context *tls = NULL;
    struct tls_config config = {.ca_pin = ca_hash, .alpn = TLS_ALPN_H2 | TLS_ALPN_HTTP1};
    int rc = tls_context_new(&config, &tls, err);
    if (rc != 0)
        return rc;
    struct http_sync *s = NULL;
    struct str endpoint = str_of(url);
    if (str_has_prefix(endpoint, STR("https://")))
        endpoint = str_sub(endpoint, strlen("https://"), endpoint.len);
    const char *endpoints[] = {endpoint.data};
    rc = http_sync_new(
        &(struct http_client_config){.endpoints = endpoints, .endpoint_count = 1, .tls = tls}, &s,
        err);
    tls_context_unref(tls);
    if (rc != 0)
        return rc;
    static const struct http_header accept = {STR("accept"), STR("application/json")};
    rc = http_sync_do(s,
                      &(struct http_call_config){
                          .target = "/api/v1/namespaces/kube-public/configmaps/cluster-info",
                          .headers = &accept,
                          .header_count = 1,
                          .timeout_ms = 10000},
                      DISCOVER_BYTES_MAX, ret, err);
    http_sync_free(s);
    return rc;
}

int bootstrap_discover(struct arena *a, const char *address, const char *ca_hash,
                       struct str *ret_ca, struct error *err)
{
    struct http_sync_response answer;
    int rc = fetch_cluster_info(address, ca_hash, &answer, err);
    if (rc != 0) {
        if (rc == E_TLS)
            error_prefix(err, "--ca-hash: %s does not prove to be of the cluster with this hash",
                         address);
        else
            error_prefix(err, "reach the cluster at %s", address);
        return rc;
    }
    struct json *j = NULL;
    if (answer.status != 200)
        rc = error_set(err, E_UNAVAILABLE,
                       "%s answers %d for kube-public/cluster-info: is it a trireme control plane?",
                       address, answer.status);
    else
        rc = json_parse(a, arena_str(a, answer.body), &j, err);
    http_sync_response_done(&answer);
    if (rc != 0)
        return rc;
    struct str text = json_get_str(json_getc(j, "data"), "kubeconfig");
    struct kubeconfig *k = NULL;
    rc = kubeconfig_parse(text, "/", NULL, &k, err);
    if (rc != 0) {
        error_prefix(err, "cluster-info of %s", address);
        return rc;
    }
    *ret_ca = arena_str(a, k->ca.data);
    kubeconfig_free(k);
    return 0;
}
