/* hook.c - see hook.h. */
#include "apiserver/hook.h"

#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/error.h"
#include "lib/client/kubeconfig.h"
#include "lib/net/tls.h"
#include "lib/net/url.h"

#include <stdatomic.h>

struct hook {
    atomic_uint refs;
    struct arena *arena;
    struct kubeconfig *config;
    struct webhook_target target;
    struct str url; /* For messages. */
};

int hook_target_of_url(struct arena *a, struct str url, struct webhook_target *t, struct error *err)
{
    struct url u;
    int code = url_parse(url, &u, err);
    if (code != 0)
        return code;
    t->plain = str_eqc(u.scheme, "http");
    if (!t->plain && !str_eqc(u.scheme, "https"))
        return error_set(err, E_INVALID, "\"" STR_FMT "\": want an https:// address", STR_ARG(url));
    bool v6 = str_find(u.host, ':', 0) >= 0;
    t->endpoint =
        arena_printf(a, v6 ? "[" STR_FMT "]:%d" : STR_FMT ":%d", STR_ARG(u.host), (int)u.port);
    if (t->server_name.len == 0)
        t->server_name = arena_str(a, u.host);
    t->authority = arena_str(a, u.authority);
    t->path = u.query.len != 0
                  ? arena_printf(a, STR_FMT "?" STR_FMT, STR_ARG(u.path), STR_ARG(u.query))
                  : arena_str(a, u.path);
    return 0;
}

/* Certificates that cannot be used are told at the start, not at the first call. */
static int try_tls(const struct webhook_target *t, struct error *err)
{
    struct tls_context *tls;
    struct tls_config c = {
        .ca.pem = t->ca_bundle, .cert.pem = t->cert, .key.pem = t->key, .skip_verify = t->insecure};
    if (t->plain)
        return 0;
    int code = tls_context_new(&c, &tls, err);
    if (code == 0)
        tls_context_unref(tls);
    return code;
}

static void take_credentials(struct hook *h)
{
    const struct kubeconfig *k = h->config;
    struct webhook_target *t = &h->target;
    t->server_name = str_of(k->tls_server_name);
    t->insecure = k->insecure_skip_tls_verify;
    t->ca_bundle = k->ca.data;
    t->cert = k->cert.data;
    t->key = k->key.data;
    if (k->token.data.len != 0) {
        t->authorization =
            arena_printf(h->arena, "Bearer " STR_FMT, STR_ARG(str_trim(k->token.data)));
    } else if (k->username != NULL) {
        AUTO_BUF b = BUF_INIT;
        struct str pair =
            arena_printf(h->arena, "%s:%s", k->username, k->password != NULL ? k->password : "");
        buf_puts(&b, "Basic ");
        base64_encode(BASE64_STD, pair.data, pair.len, &b);
        t->authorization = arena_str(h->arena, buf_str(&b));
    }
}

int hook_load(const char *what, const char *path, struct hook **ret, struct error *err)
{
    struct hook *h = xzalloc(sizeof(*h));
    atomic_init(&h->refs, 1);
    h->arena = arena_new(0);
    int code = path == NULL || *path == '\0'
                   ? error_set(err, E_INVALID, "want the name of a kubeconfig file")
                   : kubeconfig_load(path, NULL, &h->config, err);
    if (code == 0 && h->config->server_count == 0)
        code = error_set(err, E_INVALID, "%s: clusters[].cluster.server: want an https:// address",
                         path);
    if (code == 0) {
        take_credentials(h);
        h->url = arena_strc(h->arena, h->config->servers[0]);
        code = hook_target_of_url(h->arena, h->url, &h->target, err);
        if (code == 0)
            code = try_tls(&h->target, err);
        if (code != 0)
            error_prefix(err, "%s", path);
    }
    if (code != 0) {
        error_prefix(err, "%s", what);
        hook_unref(h);
        return code;
    }
    *ret = h;
    return 0;
}

struct hook *hook_ref(struct hook *h)
{
    atomic_fetch_add(&h->refs, 1);
    return h;
}

void hook_unref(struct hook *h)
{
    if (h == NULL || atomic_fetch_sub(&h->refs, 1) != 1)
        return;
    kubeconfig_free(h->config);
    arena_free(h->arena);
    free(h);
}

void hook_unhold(void *h)
{
    hook_unref(h);
}

const struct webhook_target *hook_target(const struct hook *h)
{
    return &h->target;
}

struct str hook_problem(const struct hook *h, struct arena *a, const struct webhook_answer *w)
{
    if (w->code == E_TIMEOUT)
        return arena_printf(a, "Post \"" STR_FMT "\": context deadline exceeded", STR_ARG(h->url));
    if (w->code != 0)
        return arena_printf(a, "Post \"" STR_FMT "\": " STR_FMT, STR_ARG(h->url), STR_ARG(w->body));
    if (w->status >= 200 && w->status < 300)
        return STR_NULL;
    struct json *j;
    struct str text = str_trim(w->body);
    if (json_parse(a, text, &j, NULL) == 0 && json_get_str(j, "message").len != 0)
        return json_get_str(j, "message");
    return arena_printf(a, "the server answered with status %d: " STR_FMT, w->status,
                        STR_ARG(str_sub(text, 0, 256)));
}
