/* join.c - `trireme join`: adds this machine to a running cluster.
 *
 * Nothing is copied by hand: the CA is fetched from the given address and
 * accepted only if its key has the given hash. A worker then gets its
 * certificates through the CSR API; a control plane opens the sealed secrets
 * with the third part of its token, signs its own certificates and asks to be
 * added to the store. */
#include "cli/init.h"

#include "cli/cluster_pki.h"
#include "cli/host.h"
#include "cli/proc.h"
#include "cli/verbs.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/flags.h"
#include "lib/client/kubeconfig.h"
#include "lib/client/sync.h"
#include "lib/net/range.h"
#include "lib/net/url.h"

#include <stdio.h>
#include <string.h>

#define API_PORT_DEFAULT 6443

/* "a:6443,b,fd00::1" -> "https://a:6443,https://b:6443,https://[fd00::1]:6443". */
static int server_list(struct arena *a, const char *addresses, const char **ret, struct error *err)
{
    AUTO_BUF b = BUF_INIT;
    struct str rest = str_of(addresses), one, host, scheme = STR("https://");
    while (!str_empty(rest)) {
        uint16_t port = API_PORT_DEFAULT;
        struct net_range v6;
        str_cut(rest, ',', &one, &rest);
        one = str_trim(one);
        if (str_has_prefix(one, scheme))
            one = str_sub(one, scheme.len, one.len);
        if (net_range_parse_address(one, &v6))
            host = one;
        else if (url_split_host_port(one, API_PORT_DEFAULT, &host, &port, NULL) != 0 ||
                 str_empty(host) || port == 0)
            return error_set(err, E_USAGE,
                             "\"" STR_FMT "\" is no address of a control-plane host: want HOST or "
                             "HOST:PORT",
                             STR_ARG(one));
        buf_printf(&b, "%shttps://" STR_FMT, b.len != 0 ? "," : "",
                   STR_ARG(url_host_port(a, host, port)));
    }
    *ret = arena_str(a, buf_str(&b)).data;
    return 0;
}

static int discover(struct arena *a, const char *servers, const char *ca_hash, struct str *ret_ca,
                    struct error *err)
{
    struct str rest = str_of(servers), one;
    int rc = error_set(err, E_USAGE, "no address of a control-plane host given");
    while (rc != 0 && !str_empty(rest)) {
        str_cut(rest, ',', &one, &rest);
        rc = bootstrap_discover(a, arena_str(a, one).data, ca_hash, ret_ca, err);
    }
    return rc;
}

static int token_client(struct arena *a, const char *servers, struct str ca,
                        const struct join_token *t, struct sync_client **ret, struct error *err)
{
    struct kubeconfig *k = NULL;
    AUTO_BUF text = BUF_INIT;
    struct str bearer = arena_printf(a, STR_FMT "." STR_FMT, STR_ARG(t->id), STR_ARG(t->secret));
    cluster_pki_token_kubeconfig(a, servers, ca, bearer, "bootstrap", &text);
    int rc = kubeconfig_parse(buf_str(&text), "/", NULL, &k, err);
    if (rc != 0)
        return rc;
    return sync_client_new(k, NULL, ret, err);
}

static int open_secrets(struct arena *a, const struct host *h, struct sync_client *c,
                        const struct join_token *t, struct error *err)
{
    struct sync_answer answer = {0};
    struct client_raw raw = {
        .path = arena_printf(a, "/api/v1/namespaces/kube-system/secrets/trireme-join-" STR_FMT,
                             STR_ARG(t->id))};
    int rc = sync_raw(c, &raw, &answer, err);
    struct json *j = NULL;
    if (rc == 0)
        rc = json_parse(a, arena_str(a, answer.body), &j, err);
    sync_answer_done(&answer);
    if (rc != 0) {
        error_prefix(err, "fetch the control-plane secrets");
        return rc;
    }
    AUTO_BUF sealed = BUF_INIT;
    rc = base64_decode(BASE64_STD, json_get_str(json_getc(j, "data"), "sealed"), &sealed);
    if (rc != 0)
        return error_set(err, rc, "the control-plane secrets are not base64");
    return cluster_pki_unseal(a, h, t->key, buf_str(&sealed), err);
}

/* Asks the running members to take this host in. */
static int add_member(struct arena *a, struct host *h, struct sync_client *c, struct error *err)
{
    struct json *j = json_object(a);
    json_setc(a, j, "name", json_string(a, str_of(h->name)));
    json_setc(a, j, "address", json_string(a, str_of(host_peer_endpoint(a, h))));
    AUTO_BUF body = BUF_INIT;
    json_write(j, false, &body);
    struct sync_answer answer = {0};
    int rc = sync_raw(c,
                      &(struct client_raw){.method = "POST",
                                           .path = STR("/trireme/v1/members"),
                                           .body = buf_str(&body),
                                           .content_type = "application/json"},
                      &answer, err);
    if (rc == 0)
        rc = json_parse(a, arena_str(a, answer.body), &j, err);
    sync_answer_done(&answer);
    if (rc != 0) {
        error_prefix(err, "add %s to the store", h->name);
        return rc;
    }
    h->initial_cluster = arena_str(a, json_get_str(j, "initialCluster")).data;
    h->join = true;
    return 0;
}

static int join_control_plane(struct arena *a, struct host *h, struct sync_client *c,
                              const struct join_config *config, struct error *err)
{
    if (str_empty(config->token.key))
        return error_set(
            err, E_INVALID,
            "--token: this is a worker's token; `trireme token create --control-plane` makes one "
            "for control planes");
    int rc = open_secrets(a, h, c, &config->token, err);
    const char *own = host_url(a, h);
    if (rc == 0)
        rc = cluster_pki_issue(a, h, own, err);
    if (rc == 0)
        rc = add_member(a, h, c, err);
    return rc;
}

static int join_worker(struct arena *a, struct host *h, const char *servers, struct str ca,
                       const struct join_token *t, struct error *err)
{
    const char *ca_path = arena_printf(a, "%s/pki/ca.crt", h->dir).data;
    int rc = file_write_atomic(ca_path, ca.data, ca.len, 0644, err);
    if (rc != 0)
        return rc;
    AUTO_BUF text = BUF_INIT;
    struct str bearer = arena_printf(a, STR_FMT "." STR_FMT, STR_ARG(t->id), STR_ARG(t->secret));
    cluster_pki_token_kubeconfig(a, servers, ca, bearer, "bootstrap", &text);
    return file_write_atomic(host_path(a, h, "bootstrap.kubeconfig"), text.data, text.len, 0600,
                             err);
}

static bool is_ready(const struct json *node)
{
    const struct json *list = json_path(node, "status.conditions");
    for (size_t i = 0; list != NULL && list->type == JSON_ARRAY && i < list->array.count; i++)
        if (str_eqc(json_get_str(list->array.items[i], "type"), "Ready"))
            return str_eqc(json_get_str(list->array.items[i], "status"), "True");
    return false;
}

static bool node_ready(struct arena *a, const struct host *h, const char *kubeconfig)
{
    struct kubeconfig *k = NULL;
    struct sync_client *c = NULL;
    struct sync_answer answer = {0};
    struct json *j = NULL;
    bool ready = false;
    if (kubeconfig_load(kubeconfig, NULL, &k, NULL) != 0 || sync_client_new(k, NULL, &c, NULL) != 0)
        return false;
    struct client_raw raw = {.path = arena_printf(a, "/api/v1/nodes/%s", h->name),
                             .timeout_ms = 2000};
    if (sync_raw(c, &raw, &answer, NULL) == 0 &&
        json_parse(a, arena_str(a, answer.body), &j, NULL) == 0)
        ready = is_ready(j);
    sync_answer_done(&answer);
    sync_client_free(c);
    return ready;
}

static int wait_node(struct arena *a, const struct host *h, uint64_t timeout_ms, struct error *err)
{
    const char *kubeconfig = host_path(a, h, "kubelet.kubeconfig");
    uint64_t end = env_now_ms(env_system()) + timeout_ms;
    while (env_now_ms(env_system()) < end) {
        struct arena *each = arena_new(0);
        bool ready = file_exists(kubeconfig) && node_ready(each, h, kubeconfig);
        arena_free(each);
        if (ready)
            return 0;
        int rc = host_check(a, h, err);
        if (rc != 0)
            return rc;
        proc_sleep_ms(100);
    }
    const char *log = arena_printf(a, "%s/kubelet.log", h->log_dir).data;
    struct str said = h->supervisor == SUPERVISOR_FORK ? host_last_line(a, log, "EW") : STR_NULL;
    return error_set(err, E_TIMEOUT, "node %s is not Ready after %llu s%s" STR_FMT " (log: %s)",
                     h->name, (unsigned long long)(timeout_ms / 1000), str_empty(said) ? "" : ": ",
                     STR_ARG(said),
                     h->supervisor == SUPERVISOR_FORK ? log : "journalctl -u trireme-kubelet");
}

/* Is the token good, and the name free? A node agent would only say so in its log, and a second
 * machine of the name of one that works would take its pods over. */
static int check_worker(struct arena *a, const struct host *h, const char *servers, struct str ca,
                        const struct join_token *t, struct error *err)
{
    struct sync_client *c = NULL;
    struct sync_answer answer = {0};
    struct json *j = NULL;
    struct client_raw raw = {.path = arena_printf(a, "/api/v1/nodes/%s", h->name)};
    int rc = token_client(a, servers, ca, t, &c, err);
    if (rc != 0)
        return rc;
    rc = sync_raw(c, &raw, &answer, err);
    if (rc == E_UNAUTHORIZED)
        rc = error_set(err, rc,
                       "--token: the cluster does not know this token, or no longer: `trireme "
                       "token create` on a control plane makes another");
    else if (rc == 0 && json_parse(a, arena_str(a, answer.body), &j, NULL) == 0 && is_ready(j))
        rc = error_set(err, E_EXISTS,
                       "--name: the cluster has a node %s already, and it is Ready: give another "
                       "name, or delete that node first",
                       h->name);
    else if (rc == E_NOT_FOUND || rc == E_FORBIDDEN)
        rc = 0;
    sync_answer_done(&answer);
    sync_client_free(c);
    return rc;
}

static int join_write(struct arena *a, struct host *h, const struct join_config *config,
                      struct error *err)
{
    const char *servers = NULL;
    struct str ca = STR_NULL;
    int rc = server_list(a, config->addresses, &servers, err);
    if (rc == 0)
        rc = host_complete(a, h, err);
    if (rc == 0)
        rc = host_validate(h, err);
    if (rc == 0)
        rc = discover(a, servers, config->ca_hash, &ca, err);
    if (rc == 0 && h->worker)
        rc = check_worker(a, h, servers, ca, &config->token, err);
    if (rc == 0)
        rc = host_make_dirs(h, err);
    if (rc == 0 && h->control_plane) {
        struct sync_client *c = NULL;
        rc = token_client(a, servers, ca, &config->token, &c, err);
        if (rc == 0)
            rc = join_control_plane(a, h, c, config, err);
        sync_client_free(c);
    }
    if (rc == 0 && h->worker)
        rc = join_worker(a, h, servers, ca, &config->token, err);
    if (rc == 0)
        rc = host_write_env(a, h, err);
    if (rc == 0)
        rc = host_save(a, h, err);
    return rc;
}

int join_host(struct arena *a, struct host *h, const struct join_config *config, struct error *err)
{
    int rc = 0;
    host_absolute(a, h);
    if (file_exists(host_path(a, h, "host.json"))) {
        rc = host_resume(a, h, err);
    } else {
        rc = join_write(a, h, config, err);
    }
    if (rc == 0)
        rc = host_start(a, h, err);
    if (rc != 0 || h->supervisor == SUPERVISOR_NONE)
        return rc;
    if (h->control_plane)
        rc = bootstrap_wait_ready(a, h, config->timeout_ms, err);
    if (rc == 0 && h->control_plane)
        rc = bootstrap_wait_voter(a, h, config->timeout_ms, err);
    if (rc == 0 && h->worker)
        rc = wait_node(a, h, config->timeout_ms, err);
    if (rc == 0)
        rc = host_check(a, h, err);
    return rc;
}

static int check_hash(const char *hash, struct error *err)
{
    size_t prefix = strlen("sha256:"),
           digits = strspn(hash + MIN_OF(prefix, strlen(hash)), "0123456789abcdefABCDEF");
    if (strncmp(hash, "sha256:", prefix) != 0 || digits != 64 || hash[prefix + digits] != '\0')
        return error_set(err, E_USAGE,
                         "--ca-hash: \"%s\" is not of the form sha256:<64 hex digits>", hash);
    return 0;
}

int verb_join(int argc, char **argv)
{
    AUTO_ARENA *a = arena_new(0);
    struct host h;
    host_defaults(&h);
    int64_t timeout_ns = (int64_t)120 * 1000000000;
    const char *token = NULL;
    struct join_config config = {0};
    struct flag_set *flags =
        flag_set_new("trireme join --control-plane|--worker ADDRESS[,ADDRESS...] "
                     "--token TOKEN --ca-hash HASH [flags]");
    host_register_flags(&h, flags);
    flag_bool(flags, &h.control_plane, "control-plane", "Join as a control plane.");
    flag_bool(flags, &h.worker, "worker", "Join as a worker.");
    flag_string(flags, &token, "token", "The `token` that init or `trireme token create` printed.");
    flag_string(flags, &config.ca_hash, "ca-hash", "sha256:... `hash` of the cluster's CA key.");
    flag_duration(flags, &timeout_ns, "timeout", "How long to wait until this host takes part.");
    int exit_code = 0;
    if (verb_flags(flags, argc, argv, &exit_code) == 0) {
        struct error err = {0};
        size_t count = 0;
        const char *const *args = flag_set_args(flags, &count);
        int rc = verb_timeout(timeout_ns, &config.timeout_ms, &err);
        if (rc != 0 || count != 1 || token == NULL || config.ca_hash == NULL ||
            h.control_plane == h.worker)
            rc = rc != 0 ? rc
                         : error_set(&err, E_USAGE,
                                     "want --control-plane or --worker, one ADDRESS, --token and "
                                     "--ca-hash; see --help");
        if (rc == 0)
            rc = join_token_parse(str_of(token), &config.token, &err);
        if (rc == 0)
            rc = check_hash(config.ca_hash, &err);
        if (rc == 0) {
            config.addresses = args[0];
            rc = join_host(a, &h, &config, &err);
        }
        if (rc == 0)
            printf("%s has joined the cluster.\n", h.name);
        exit_code = rc == 0 ? 0 : verb_fail(&err);
    }
    flag_set_free(flags);
    return exit_code;
}
