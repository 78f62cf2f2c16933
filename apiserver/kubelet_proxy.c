/* kubelet_proxy.c - see kubelet_proxy.h. */
#include "apiserver/kubelet_proxy.h"

#include "apiserver/log_options.h"

#include "api/core_v1.h"
#include "apiserver/kubelet_pool.h"
#include "apiserver/messages.h"
#include "apiserver/request.h"
#include "lib/api/pod.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/net/http_client.h"
#include "lib/net/http_server.h"
#include "lib/net/url.h"

#define WINDOW_BYTES (256u << 10)
#define REFUSAL_MAX ((size_t)50000) /* Of what a node says in an error: as upstream. */

/* --- a stream from the kubelet to the client -------------------------------------------------- */
struct relay {
    struct req *r;
    struct kubelet_client *client;
    struct http_call *call;
    bool started;
    bool client_gone;
    struct messages messages;
    struct buf refusal; /* What the kubelet says instead of a log. */
    int refused;        /* Its status; 0: it gives a log. */
};

static void on_drain(struct http_request *http, void *arg)
{
    struct relay *y = arg;
    http_response_on_drain(http, 0, NULL, NULL);
    if (y->call != NULL)
        http_call_resume(y->call);
}

static void on_headers(struct http_call *call, void *arg)
{
    struct relay *y = arg;
    struct str type = http_call_header(call, "content-type");
    int status = http_call_status(call);
    if (status < 200 || status > 206) {
        y->refused = status;
        return;
    }
    y->started = true;
    y->r->long_running = true;
    req_headers(y->r, type.len != 0 ? str_c(arena_str(y->r->arena, type)) : "text/plain");
    messages_start(y->r, &y->messages, status);
    if (y->messages.wanted)
        http_response_write_copy(y->r->http, "", 0);
}

static void pass(struct relay *y, const uint8_t *data, size_t len)
{
    AUTO_BUF text = BUF_INIT;
    if (y->messages.base64) {
        base64_encode(BASE64_STD, data, len, &text);
        data = text.data;
        len = text.len;
    }
    http_response_write_copy(y->r->http, data, len);
}

static void on_data(struct http_call *call, const uint8_t *data, size_t len, void *arg)
{
    struct relay *y = arg;
    if (y->refused != 0) {
        buf_append(&y->refusal, data, MIN_OF(len, REFUSAL_MAX - y->refusal.len));
        return;
    }
    pass(y, data, len);
    if (http_response_pending(y->r->http) >= WINDOW_BYTES) {
        http_call_pause(call);
        http_response_on_drain(y->r->http, WINDOW_BYTES / 2, on_drain, y);
    }
}

static void on_end(struct http_call *call, const struct error *err, void *arg)
{
    struct relay *y = arg;
    struct req *r = y->r;
    y->call = NULL;
    if (r->thread->kubelets != NULL) /* Not while the thread stops. */
        kubelet_pool_give(r->thread->kubelets, y->client);
    AUTO_BUF refusal = y->refusal; /* Goes with this call. */
    if (!y->started) {
        if (y->refused != 0)
            req_status(r, status_of_answer(r->arena, y->refused,
                                           (struct group_resource){STR(""), STR("pods/log")},
                                           r->info.name, buf_str(&refusal)));
        else if (err != NULL)
            req_status(r, status_internal(r->arena, "Get \"kubelet\": %s", error_message(err)));
        else
            req_status(r, status_internal(r->arena, "the kubelet gave no answer"));
        return;
    }
    req_done(r, http_call_status(call));
    if (err != NULL && !y->client_gone)
        http_response_abort(r->http);
    else
        http_response_end(r->http);
}

static void on_abort(struct http_request *http, void *arg)
{
    struct relay *y = arg;
    UNUSED(http);
    y->client_gone = true;
    if (y->call != NULL)
        http_call_cancel(y->call); /* on_end follows and makes the last call. */
}

static void relay_get(struct req *r, const struct messages *messages, const char *endpoint,
                      const char *target)
{
    struct relay *y = ARENA_NEW(r->arena, struct relay);
    struct error err = {0};
    y->r = r;
    y->messages = *messages;
    req_release_views(r);
    struct http_call_config c = {.target = target,
                                 .header_timeout_ms = 30000,
                                 .on_headers = on_headers,
                                 .on_data = on_data,
                                 .on_end = on_end,
                                 .arg = y};
    int code = kubelet_pool_take(r->thread->kubelets, endpoint, &y->client, &err);
    if (code == 0) {
        code = http_call_start(y->client->http, &c, &y->call, &err);
        if (code != 0)
            kubelet_pool_give(r->thread->kubelets, y->client);
    }
    if (code != 0) {
        req_status(r, status_internal(r->arena, "%s", error_message(&err)));
        return;
    }
    http_request_on_abort(r->http, on_abort, y);
}

/* --- pods/log ------------------------------------------------------------------------------------
 */
static void name_list(struct buf *b, const struct core_v1_container *c, size_t count)
{
    buf_putc(b, '[');
    for (size_t i = 0; i < count; i++)
        buf_printf(b, "%s" STR_FMT, i == 0 ? "" : " ", STR_ARG(c[i].name));
    buf_putc(b, ']');
}

struct meta_v1_status *pod_choose_container(struct req *r, const struct core_v1_pod *pod,
                                            struct str *ret)
{
    const struct core_v1_pod_spec *s = &pod->spec;
    struct str name = req_query(r, "container");
    if (name.len == 0) {
        const struct str *preferred =
            api_str_map_get(pod->metadata.annotations, pod->metadata.annotations_count,
                            STR("kubectl.kubernetes.io/default-container"));
        if (preferred != NULL && pod_has_container(&pod->spec, *preferred)) {
            *ret = *preferred;
            return NULL;
        }
        if (s->containers_count == 1 && s->init_containers_count == 0 &&
            s->ephemeral_containers_count == 0) {
            *ret = s->containers[0].name;
            return NULL;
        }
        AUTO_BUF b = BUF_INIT;
        name_list(&b, s->containers, s->containers_count);
        if (s->init_containers_count != 0) {
            buf_puts(&b, " or one of the init containers: ");
            name_list(&b, s->init_containers, s->init_containers_count);
        }
        return status_bad_request(r->arena,
                                  "a container name must be specified for pod " STR_FMT
                                  ", choose one of: " STR_FMT,
                                  STR_ARG(pod->metadata.name), STR_ARG(buf_str(&b)));
    }
    if (!pod_has_container(&pod->spec, name))
        return status_bad_request(r->arena, "container " STR_FMT " is not valid for pod " STR_FMT,
                                  STR_ARG(name), STR_ARG(pod->metadata.name));
    *ret = name;
    return NULL;
}

static void log_target(struct req *r, const struct core_v1_pod *pod, struct str container,
                       struct buf *b)
{
    static const char *const passed[] = {"follow",    "limitBytes", "previous",   "sinceSeconds",
                                         "sinceTime", "tailLines",  "timestamps", "stream"};
    buf_printf(b, "/containerLogs/" STR_FMT "/" STR_FMT "/" STR_FMT,
               STR_ARG(pod->metadata.namespace), STR_ARG(pod->metadata.name), STR_ARG(container));
    bool first = true;
    for (size_t i = 0; i < ARRAY_SIZE(passed); i++) {
        struct str v = req_query(r, passed[i]);
        if (v.len == 0)
            continue;
        buf_printf(b, "%c%s=", first ? '?' : '&', passed[i]);
        url_escape_query(b, v);
        first = false;
    }
    buf_putc(b, '\0');
}

static void pod_log(struct req *r)
{
    struct kind_ctx ctx;
    struct str container = STR_NULL;
    req_ctx(r, req_view(r), &ctx);
    const struct core_v1_pod *pod = kind_lookup(&ctx, "", "pods", r->info.ns, r->info.name);
    if (pod == NULL) {
        req_status(r, status_not_found(r->arena, r->res->gr, r->info.name));
        return;
    }
    struct meta_v1_status *s = log_options_check(r);
    if (s == NULL)
        s = pod_choose_container(r, pod, &container);
    if (s != NULL) {
        req_status(r, s);
        return;
    }
    if (pod->spec.node_name.len == 0) {
        req_text(r, 200, "text/plain", STR("")); /* Not scheduled: nothing was written yet. */
        return;
    }
    struct str endpoint;
    s = kubelet_endpoint(r, &ctx, pod->spec.node_name, &endpoint);
    if (s != NULL) {
        req_status(r, s);
        return;
    }
    struct messages messages;
    s = messages_for_log(r, &messages);
    if (s != NULL) {
        req_status(r, s);
        return;
    }
    AUTO_BUF target = BUF_INIT;
    log_target(r, pod, container, &target);
    relay_get(r, &messages, str_c(endpoint), arena_strdup(r->arena, (const char *)target.data));
}

void kubelet_pod_log(struct req *r)
{
    req_barrier(r, pod_log);
}
