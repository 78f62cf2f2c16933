/* extender.c - see extender.h. */
#include "scheduler/extender.h"

#include "api/core_v1.h"
#include "lib/base/base.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/net/bytes.h"
#include "lib/net/http_client.h"
#include "lib/net/tls.h"
#include "lib/net/url.h"

#include <string.h>

#define ANSWER_BYTES_MAX (256u << 20) /* All nodes of a large cluster come back whole. */

struct extenders {
    const struct sched_config *config;
    struct http_client **clients; /* Of each. */
};

struct extender_call {
    struct http_call *http;
    char *url;
    const char *verb;
    struct buf body;
    bool cancelled, too_large;
    void (*done)(const struct error *err, struct str body, void *arg);
    void *arg;
};

/* --- which are asked
 * ------------------------------------------------------------------------------- */

static bool names_any(const struct extender_config *e, const struct api_quantity_entry *list,
                      size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < e->managed_count; k++)
            if (str_eqc(list[i].key, e->managed[k]))
                return true;
    return false;
}

static bool manages_any(const struct extender_config *e, const struct core_v1_container *list,
                        size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (names_any(e, list[i].resources.requests, list[i].resources.requests_count) ||
            names_any(e, list[i].resources.limits, list[i].resources.limits_count))
            return true;
    return false;
}

static bool looks_after(const struct extender_config *e, const struct core_v1_pod *pod)
{
    return e->managed_count == 0 ||
           manages_any(e, pod->spec.containers, pod->spec.containers_count) ||
           manages_any(e, pod->spec.init_containers, pod->spec.init_containers_count);
}

const struct extender_config *extenders_next(const struct extenders *x,
                                             const struct core_v1_pod *pod, size_t *pos)
{
    while (x != NULL && *pos < x->config->extender_count) {
        const struct extender_config *e = &x->config->extenders[(*pos)++];
        if (looks_after(e, pod))
            return e;
    }
    return NULL;
}

const struct extender_config *extenders_binder(const struct extenders *x,
                                               const struct core_v1_pod *pod)
{
    size_t pos = 0;
    for (const struct extender_config *e; (e = extenders_next(x, pod, &pos)) != NULL;)
        if (e->bind != NULL)
            return e;
    return NULL;
}

bool extenders_are_asked(const struct extenders *x, const struct core_v1_pod *pod)
{
    size_t pos = 0;
    for (const struct extender_config *e; (e = extenders_next(x, pod, &pos)) != NULL;)
        if (e->filter != NULL || e->prioritize != NULL || e->preempt != NULL)
            return true;
    return false;
}

/* --- connections
 * ----------------------------------------------------------------------------------- */

static int make_tls(const struct extender_config *e, struct tls_context **ret, struct error *err)
{
    *ret = NULL;
    if (!e->https)
        return 0;
    return tls_context_new(
        &(struct tls_config){
            .cert = {.file = e->cert_file, .pem = e->cert_pem},
            .key = {.file = e->key_file, .pem = e->key_pem},
            .ca = {.file = e->ca_file, .pem = e->ca_pem},
            .alpn = TLS_ALPN_H2 | TLS_ALPN_HTTP1,
            .skip_verify = e->insecure,
        },
        ret, err);
}

static int open_client(struct uv_loop_s *loop, const struct extender_config *e,
                       struct http_client **ret, struct error *err)
{
    struct url u;
    struct tls_context *tls;
    int rc = url_parse(str_of(e->url), &u, err);
    if (rc == 0)
        rc = make_tls(e, &tls, err);
    if (rc != 0)
        return rc;
    bool v6 = str_find(u.host, ':', 0) >= 0;
    AUTO_FREE char *endpoint =
        xasprintf(v6 ? "[" STR_FMT "]:%u" : STR_FMT ":%u", STR_ARG(u.host), (unsigned)u.port);
    const char *const endpoints[] = {endpoint};
    rc = http_client_new(loop,
                         &(struct http_client_config){
                             .endpoints = endpoints,
                             .endpoint_count = 1,
                             .tls = tls,
                             .server_name = e->server_name,
                             .user_agent = "trireme-scheduler",
                         },
                         ret, err);
    tls_context_unref(tls);
    return rc;
}

int extenders_check(const struct sched_config *c, struct error *err)
{
    for (size_t i = 0; i < c->extender_count; i++) {
        struct tls_context *tls;
        int rc = make_tls(&c->extenders[i], &tls, err);
        if (rc != 0)
            return error_prefix(err, "extenders[%zu].tlsConfig", i);
        tls_context_unref(tls);
    }
    return 0;
}

struct extenders *extenders_new(struct uv_loop_s *loop, const struct sched_config *c)
{
    if (c->extender_count == 0)
        return NULL;
    struct extenders *x = xzalloc(sizeof(*x));
    x->config = c;
    x->clients = xzalloc(c->extender_count * sizeof(struct http_client *));
    for (size_t i = 0; i < c->extender_count; i++) {
        struct error err = {0};
        if (open_client(loop, &c->extenders[i], &x->clients[i], &err) != 0)
            PANIC("extender %s: %s", c->extenders[i].url, error_message(&err));
    }
    return x;
}

void extenders_close(struct extenders *x)
{
    if (x == NULL)
        return;
    for (size_t i = 0; i < x->config->extender_count; i++)
        http_client_close(x->clients[i], NULL, NULL);
    free(x->clients);
    free(x);
}

/* --- calls ---------------------------------------------------------------------------------------
 */

static void on_data(struct http_call *http, const uint8_t *data, size_t len, void *arg)
{
    struct extender_call *call = arg;
    if (call->too_large || call->cancelled)
        return;
    if (call->body.len + len > ANSWER_BYTES_MAX) {
        call->too_large = true;
        http_call_cancel(http);
        return;
    }
    buf_append(&call->body, data, len);
}

static void on_end(struct http_call *http, const struct error *err, void *arg)
{
    struct extender_call *call = arg;
    struct error own = {0};
    if (call->too_large)
        error_set(&own, E_TOO_LARGE, "Post \"%s\": the answer is too large", call->url);
    else if (err != NULL && err->code == E_TIMEOUT)
        error_set(&own, E_TIMEOUT,
                  "Post \"%s\": context deadline exceeded (Client.Timeout exceeded while awaiting "
                  "headers)",
                  call->url);
    else if (err != NULL)
        error_set(&own, err->code, "Post \"%s\": %s", call->url, error_message(err));
    else if (http_call_status(http) != 200)
        error_set(&own, E_UNAVAILABLE, "failed %s with extender at URL %s, code %d", call->verb,
                  call->url, http_call_status(http));
    if (!call->cancelled)
        call->done(own.code != 0 ? &own : NULL, buf_str(&call->body), call->arg);
    buf_done(&call->body);
    free(call->url);
    free(call);
}

/* Where the URL's path begins. */
static const char *target_of(const char *url)
{
    const char *authority = strstr(url, "://");
    const char *path = authority != NULL ? strchr(authority + 3, '/') : NULL;
    return path != NULL ? path : "/";
}

struct extender_call *
extender_post(struct extenders *x, const struct extender_config *e, const char *verb,
              struct str body, void (*done)(const struct error *err, struct str body, void *arg),
              void *arg)
{
    const struct http_header json = {STR("content-type"), STR("application/json")};
    struct extender_call *call = xzalloc(sizeof(*call));
    struct str prefix = str_of(e->url);
    while (prefix.len != 0 && prefix.data[prefix.len - 1] == '/')
        prefix.len--;
    call->url = xasprintf(STR_FMT "/%s", STR_ARG(prefix), verb);
    call->verb = verb;
    call->done = done;
    call->arg = arg;
    struct net_bytes *bytes = net_bytes_copy(body.data, body.len);
    struct http_call_config config = {
        .method = "POST",
        .target = target_of(call->url),
        .headers = &json,
        .header_count = 1,
        .body = bytes,
        .timeout_ms = e->timeout_ms,
        .on_data = on_data,
        .on_end = on_end,
        .arg = call,
    };
    struct error err = {0};
    if (http_call_start(x->clients[e - x->config->extenders], &config, &call->http, &err) != 0)
        PANIC("a call of extender %s: %s", call->url, error_message(&err));
    net_bytes_unref(bytes);
    return call;
}

void extender_cancel(struct extender_call *call)
{
    call->cancelled = true;
    http_call_cancel(call->http);
}
