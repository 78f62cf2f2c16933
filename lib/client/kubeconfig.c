/* kubeconfig.c - see kubeconfig.h. */
#include "lib/client/kubeconfig.h"

#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SERVICE_ACCOUNT_DIR "/var/run/secrets/kubernetes.io/serviceaccount"

static struct kubeconfig *kubeconfig_new(void)
{
    struct kubeconfig *k = xzalloc(sizeof(*k));
    k->arena = arena_new(1024);
    return k;
}

static void data_done(struct kubeconfig_data *d)
{
    free(d->file);
    free((char *)d->data.data);
    *d = (struct kubeconfig_data){0};
}

void kubeconfig_free(struct kubeconfig *k)
{
    if (k == NULL)
        return;
    data_done(&k->ca);
    data_done(&k->cert);
    data_done(&k->key);
    data_done(&k->token);
    arena_free(k->arena);
    free(k);
}

void kubeconfig_set_data(struct kubeconfig_data *d, struct str data)
{
    char *copy = str_empty(data) ? NULL : xstrndup(data.data, data.len);
    data_done(d);
    d->data = str_n(copy, data.len);
}

int kubeconfig_set_file(struct kubeconfig_data *d, const char *path, struct error *err)
{
    AUTO_BUF b = BUF_INIT;
    int rc = file_read(path, KUBECONFIG_BYTES_MAX, &b, err);
    if (rc != 0)
        return rc;
    char *file = xstrdup(path);
    kubeconfig_set_data(d, buf_str(&b));
    d->file = file;
    return 0;
}

static int reload_one(struct kubeconfig_data *d, bool *changed, struct error *err)
{
    if (d->file == NULL)
        return 0;
    struct kubeconfig_data fresh = {0};
    int rc = kubeconfig_set_file(&fresh, d->file, err);
    if (rc != 0)
        return rc;
    *changed |= !str_eq(fresh.data, d->data);
    data_done(d);
    *d = fresh;
    return 0;
}

int kubeconfig_reload(struct kubeconfig *k, bool *ret_changed, struct error *err)
{
    bool changed = false;
    int rc = reload_one(&k->ca, &changed, err);
    if (rc == 0)
        rc = reload_one(&k->cert, &changed, err);
    if (rc == 0)
        rc = reload_one(&k->key, &changed, err);
    if (rc == 0)
        rc = reload_one(&k->token, &changed, err);
    if (rc == 0)
        *ret_changed = changed;
    return rc;
}

/* Commas divide several servers of one cluster. */
static int set_servers(struct kubeconfig *k, struct str list, struct error *err)
{
    struct str head, rest = list;
    do {
        str_cut(rest, ',', &head, &rest);
        head = str_trim(head);
        if (str_empty(head))
            continue;
        if (k->server_count == KUBECONFIG_SERVERS_MAX)
            return error_set(err, E_INVALID, "more than %d servers in one cluster",
                             KUBECONFIG_SERVERS_MAX);
        k->servers[k->server_count++] = arena_str(k->arena, head).data;
    } while (!str_empty(rest));
    return k->server_count != 0 ? 0 : error_set(err, E_INVALID, "the cluster names no server");
}

struct kubeconfig *kubeconfig_for_server(const char *url)
{
    struct kubeconfig *k = kubeconfig_new();
    (void)set_servers(k, str_of(url), NULL); /* Without a server, client_new() says so. */
    return k;
}

/* --- the file ------------------------------------------------------------------------ */

struct parser {
    struct kubeconfig *k;
    const char *base_dir;
    struct error *err;
};

/* clusters, users and contexts are lists of {name, <member>: {...}}. */
static const struct json *find_named(const struct json *root, const char *list, struct str name,
                                     const char *member)
{
    const struct json *items = json_getc(root, list);
    for (size_t i = 0; items != NULL && items->type == JSON_ARRAY && i < items->array.count; i++)
        if (str_eq(json_get_str(items->array.items[i], "name"), name))
            return json_getc(items->array.items[i], member);
    return NULL;
}

static int read_file_member(struct parser *p, struct kubeconfig_data *d, struct str path)
{
    struct str full = path;
    if (path.data[0] != '/' && p->base_dir != NULL)
        full = arena_printf(p->k->arena, "%s/" STR_FMT, p->base_dir, STR_ARG(path));
    return kubeconfig_set_file(d, arena_str(p->k->arena, full).data, p->err);
}

/* X-data (base64) wins over X (a file), as with kubectl. */
static int read_data_member(struct parser *p, struct kubeconfig_data *d, const struct json *from,
                            const char *data_member, const char *file_member)
{
    struct str inline_data = json_get_str(from, data_member),
               path = json_get_str(from, file_member);
    if (!str_empty(inline_data)) {
        AUTO_BUF b = BUF_INIT;
        if (base64_decode(BASE64_STD, str_trim(inline_data), &b) != 0)
            return error_set(p->err, E_INVALID, "%s is not base64", data_member);
        kubeconfig_set_data(d, buf_str(&b));
        return 0;
    }
    if (str_empty(path))
        return 0;
    int rc = read_file_member(p, d, path);
    if (rc != 0)
        error_prefix(p->err, "%s", file_member);
    return rc;
}

static const char *copy_or_null(struct kubeconfig *k, struct str s)
{
    return str_empty(s) ? NULL : arena_str(k->arena, s).data;
}

static int read_cluster(struct parser *p, const struct json *cluster)
{
    struct kubeconfig *k = p->k;
    int rc = set_servers(k, json_get_str(cluster, "server"), p->err);
    if (rc != 0)
        return rc;
    k->tls_server_name = copy_or_null(k, json_get_str(cluster, "tls-server-name"));
    k->insecure_skip_tls_verify = json_get_bool(cluster, "insecure-skip-tls-verify", false);
    return read_data_member(p, &k->ca, cluster, "certificate-authority-data",
                            "certificate-authority");
}

static void read_groups(struct kubeconfig *k, const struct json *groups)
{
    if (groups == NULL || groups->type != JSON_ARRAY || groups->array.count == 0)
        return;
    const char **list = arena_array(k->arena, sizeof(*list), groups->array.count + 1);
    size_t n = 0;
    for (size_t i = 0; i < groups->array.count; i++)
        if (groups->array.items[i]->type == JSON_STRING)
            list[n++] = arena_str(k->arena, groups->array.items[i]->string).data;
    k->impersonate_groups = list;
}

static int read_user(struct parser *p, const struct json *user)
{
    struct kubeconfig *k = p->k;
    int rc = read_data_member(p, &k->cert, user, "client-certificate-data", "client-certificate");
    if (rc == 0)
        rc = read_data_member(p, &k->key, user, "client-key-data", "client-key");
    if (rc != 0)
        return rc;
    struct str token = json_get_str(user, "token"), token_file = json_get_str(user, "tokenFile");
    if (!str_empty(token_file)) /* Wins over token, as upstream documents. */
        rc = read_file_member(p, &k->token, token_file);
    else
        kubeconfig_set_data(&k->token, token);
    if (rc != 0)
        return rc;
    if (json_getc(user, "exec") != NULL || json_getc(user, "auth-provider") != NULL)
        return error_set(
            p->err, E_NOT_IMPLEMENTED,
            "exec and auth-provider credentials are not supported; use a certificate or a "
            "token");
    k->username = copy_or_null(k, json_get_str(user, "username"));
    k->password = copy_or_null(k, json_get_str(user, "password"));
    k->impersonate_user = copy_or_null(k, json_get_str(user, "as"));
    read_groups(k, json_getc(user, "as-groups"));
    return 0;
}

static int read_root(struct parser *p, const struct json *root, const char *context)
{
    struct kubeconfig *k = p->k;
    struct str name = context != NULL ? str_of(context) : json_get_str(root, "current-context");
    if (str_empty(name))
        return error_set(p->err, E_INVALID,
                         "no current-context is set and no context was asked for");
    const struct json *c = find_named(root, "contexts", name, "context");
    if (c == NULL)
        return error_set(p->err, E_NOT_FOUND, "context \"" STR_FMT "\" does not exist",
                         STR_ARG(name));
    struct str cluster_name = json_get_str(c, "cluster"), user_name = json_get_str(c, "user");
    k->context = arena_str(k->arena, name).data;
    k->namespace_name = copy_or_null(k, json_get_str(c, "namespace"));
    const struct json *cluster = find_named(root, "clusters", cluster_name, "cluster");
    if (cluster == NULL)
        return error_set(p->err, E_NOT_FOUND,
                         "cluster \"" STR_FMT "\" of context \"" STR_FMT "\" does not exist",
                         STR_ARG(cluster_name), STR_ARG(name));
    int rc = read_cluster(p, cluster);
    if (rc != 0) {
        error_prefix(p->err, "cluster \"" STR_FMT "\"", STR_ARG(cluster_name));
        return rc;
    }
    const struct json *user = find_named(root, "users", user_name, "user");
    if (user == NULL)
        return 0; /* Anonymous. */
    rc = read_user(p, user);
    if (rc != 0)
        error_prefix(p->err, "user \"" STR_FMT "\"", STR_ARG(user_name));
    return rc;
}

int kubeconfig_parse(struct str text, const char *base_dir, const char *context,
                     struct kubeconfig **ret, struct error *err)
{
    AUTO_ARENA *a = arena_new(0);
    struct json *root;
    struct error ignored;
    err = err != NULL ? err : &ignored;
    size_t consumed;
    int rc = api_yaml_parse(a, text, &consumed, &root, err);
    if (rc == E_EOF)
        return error_set(err, E_INVALID, "the kubeconfig is empty");
    if (rc != 0)
        return rc;
    struct parser p = {kubeconfig_new(), base_dir, err};
    rc = read_root(&p, root, context);
    if (rc != 0) {
        kubeconfig_free(p.k);
        return rc;
    }
    *ret = p.k;
    return 0;
}

static int load_file(const char *path, const char *context, struct kubeconfig **ret,
                     struct error *err)
{
    AUTO_BUF b = BUF_INIT;
    int rc = file_read(path, KUBECONFIG_BYTES_MAX, &b, err);
    if (rc != 0)
        return rc;
    AUTO_FREE char *dir = xstrdup(path);
    char *slash = strrchr(dir, '/');
    if (slash != NULL)
        *(slash == dir ? slash + 1 : slash) = '\0';
    AUTO_FREE char *absolute = realpath(slash != NULL ? dir : ".", NULL);
    rc = kubeconfig_parse(buf_str(&b), absolute, context, ret, err);
    if (rc != 0)
        error_prefix(err, "%s", path);
    return rc;
}

/* The first file of the colon list that exists. */
static char *first_existing(const char *list)
{
    struct str head, rest = str_of(list);
    while (!str_empty(rest)) {
        str_cut(rest, ':', &head, &rest);
        char *path = xstrndup(str_c(head), head.len);
        if (!str_empty(head) && file_exists(path))
            return path;
        free(path);
    }
    return NULL;
}

int kubeconfig_load(const char *path, const char *context, struct kubeconfig **ret,
                    struct error *err)
{
    if (path != NULL && path[0] != '\0')
        return load_file(path, context, ret, err);
    const char *list = getenv("KUBECONFIG"), *home = getenv("HOME");
    if (list != NULL && list[0] != '\0') {
        AUTO_FREE char *found = first_existing(list);
        if (found == NULL)
            return error_set(err, E_NOT_FOUND, "no file of KUBECONFIG=%s exists", list);
        return load_file(found, context, ret, err);
    }
    if (home != NULL) {
        AUTO_FREE char *file = xasprintf("%s/.kube/config", home);
        if (file_exists(file))
            return load_file(file, context, ret, err);
    }
    if (kubeconfig_in_cluster(ret, NULL) == 0)
        return 0;
    return error_set(err, E_NOT_FOUND,
                     "no kubeconfig: give --kubeconfig, set KUBECONFIG or create ~/.kube/config");
}

int kubeconfig_in_cluster(struct kubeconfig **ret, struct error *err)
{
    const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
    if (host == NULL || port == NULL)
        return error_set(err, E_NOT_FOUND, "not running in a pod");
    bool v6 = strchr(host, ':') != NULL;
    AUTO_FREE char *url = xasprintf(v6 ? "https://[%s]:%s" : "https://%s:%s", host, port);
    struct kubeconfig *k = kubeconfig_for_server(url);
    AUTO_BUF ns = BUF_INIT;
    int rc = kubeconfig_set_file(&k->token, SERVICE_ACCOUNT_DIR "/token", err);
    if (rc == 0)
        rc = kubeconfig_set_file(&k->ca, SERVICE_ACCOUNT_DIR "/ca.crt", err);
    if (rc != 0) {
        kubeconfig_free(k);
        return rc;
    }
    if (file_read(SERVICE_ACCOUNT_DIR "/namespace", 4096, &ns, NULL) == 0)
        k->namespace_name = arena_str(k->arena, str_trim(buf_str(&ns))).data;
    *ret = k;
    return 0;
}

/* --- writing --------------------------------------------------------------------------- */

static void put_data(struct buf *out, const char *member, const struct kubeconfig_data *d)
{
    if (str_empty(d->data))
        return;
    buf_printf(out, "    %s: ", member);
    base64_encode(BASE64_STD, d->data.data, d->data.len, out);
    buf_putc(out, '\n');
}

/* JSON strings are YAML strings. */
static void put_string(struct buf *out, const char *member, struct str value)
{
    buf_printf(out, "%s: ", member);
    json_write_string(value, out);
    buf_putc(out, '\n');
}

void kubeconfig_write(const struct kubeconfig *k, const char *cluster, const char *user,
                      struct buf *out)
{
    AUTO_BUF servers = BUF_INIT;
    for (size_t i = 0; i < k->server_count; i++)
        buf_printf(&servers, "%s%s", i == 0 ? "" : ",", k->servers[i]);
    AUTO_FREE char *context = xasprintf("%s@%s", user, cluster);
    buf_puts(out, "apiVersion: v1\nkind: Config\nclusters:\n- cluster:\n");
    put_data(out, "certificate-authority-data", &k->ca);
    if (k->insecure_skip_tls_verify)
        buf_puts(out, "    insecure-skip-tls-verify: true\n");
    if (k->tls_server_name != NULL)
        put_string(out, "    tls-server-name", str_of(k->tls_server_name));
    put_string(out, "    server", buf_str(&servers));
    put_string(out, "  name", str_of(cluster));
    buf_puts(out, "contexts:\n- context:\n");
    put_string(out, "    cluster", str_of(cluster));
    if (k->namespace_name != NULL)
        put_string(out, "    namespace", str_of(k->namespace_name));
    put_string(out, "    user", str_of(user));
    put_string(out, "  name", str_of(context));
    put_string(out, "current-context", str_of(context));
    buf_puts(out, "users:\n");
    put_string(out, "- name", str_of(user));
    buf_puts(out, "  user:\n");
    put_data(out, "client-certificate-data", &k->cert);
    put_data(out, "client-key-data", &k->key);
    if (!str_empty(k->token.data))
        put_string(out, "    token", str_trim(k->token.data));
    if (k->username != NULL)
        put_string(out, "    username", str_of(k->username));
    if (k->password != NULL)
        put_string(out, "    password", str_of(k->password));
}
