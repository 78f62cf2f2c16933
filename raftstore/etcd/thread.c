/* thread.c - a server thread: its loop, listeners, timer and end.
 *
 * stop: no more connections and calls, client streams end -> the HTTP servers close
 * (calls in flight within shutdown_ms) -> the last call is answered by the store ->
 * handles close -> the loop ends. */
#include "raftstore/etcd/server_private.h"

#include "lib/base/log.h"
#include "lib/net/http_server.h"
#include "lib/net/stream.h"
#include "lib/net/tls.h"

#include <stdio.h>
#include <string.h>

#define LEADERLESS_MAX 3 /* Checks in a row, as etcd. */
#define REQUEST_BYTES_HELD_MAX ((size_t)256 << 20)

/* --- questions --- */

struct store *etcd_thread_store(const struct etcd_thread *t)
{
    return t->server->config.store;
}

const struct etcd_server_config *etcd_thread_config(const struct etcd_thread *t)
{
    return &t->server->config;
}

struct etcd_tokens *etcd_thread_tokens(const struct etcd_thread *t)
{
    return t->server->tokens;
}

uint64_t etcd_thread_now(const struct etcd_thread *t)
{
    return uv_now(&t->loop);
}

struct etcd_header etcd_header(const struct etcd_thread *t, int64_t rev)
{
    struct store_status status;
    store_status(etcd_thread_store(t), &status);
    if (rev == 0) {
        struct store_view *v = store_view(etcd_thread_store(t));
        rev = store_view_rev(v);
        store_view_unref(v);
    }
    return (struct etcd_header){status.cluster_id, status.id, rev, status.term};
}

void etcd_header_proto(const struct etcd_thread *t, int64_t rev, Etcdserverpb__ResponseHeader *ret)
{
    struct etcd_header h = etcd_header(t, rev);
    etcdserverpb__response_header__init(ret);
    ret->cluster_id = h.cluster_id;
    ret->member_id = h.member_id;
    ret->revision = h.rev;
    ret->raft_term = h.term;
}

/* --- the timer --- */

static bool wants_leader(const struct etcd_thread *t)
{
    LIST_FOREACH (it, &t->streams) {
        if (LIST_ENTRY(it, struct etcd_call, link)->needs_leader)
            return true;
    }
    return false;
}

/* Streams that ask for a leader end when there has been none for a while. */
static void check_leader(struct etcd_thread *t)
{
    struct store_status status;
    store_status(etcd_thread_store(t), &status);
    t->leaderless = status.has_leader ? 0 : t->leaderless + 1;
    if (t->leaderless < LEADERLESS_MAX)
        return;
    struct list local;
    list_init(&local);
    list_splice(&local, &t->streams);
    for (struct list *l; (l = list_pop_front(&local)) != NULL;) {
        struct etcd_call *c = LIST_ENTRY(l, struct etcd_call, link);
        list_push_back(&t->streams, &c->link);
        if (c->needs_leader)
            etcd_call_end_from_outside(c, &etcd_err_no_leader);
    }
}

static bool call_before(const struct heap_node *a, const struct heap_node *b, void *arg)
{
    UNUSED(arg);
    return HEAP_ENTRY(a, struct etcd_call, by_deadline)->deadline_ms <
           HEAP_ENTRY(b, struct etcd_call, by_deadline)->deadline_ms;
}

static void pass_deadlines(struct etcd_thread *t, uint64_t now)
{
    struct heap_node *n;
    while ((n = heap_peek(&t->deadlines)) != NULL) {
        struct etcd_call *c = HEAP_ENTRY(n, struct etcd_call, by_deadline);
        if (c->deadline_ms > now)
            return;
        etcd_call_end_from_outside(c, &etcd_err_deadline_exceeded);
    }
}

static void on_timer(uv_timer_t *timer)
{
    LOOP_CALLBACK("etcd timer");
    struct etcd_thread *t = CONTAINER_OF(timer, struct etcd_thread, timer);
    uint64_t now = etcd_thread_now(t);
    t->timer_at_ms = UINT64_MAX;
    pass_deadlines(t, now);
    if (now >= t->check_at_ms) {
        t->check_at_ms = UINT64_MAX;
        check_leader(t);
    }
    etcd_watch_hub_tick(t->hub, now);
    etcd_thread_arm(t);
}

void etcd_thread_arm(struct etcd_thread *t)
{
    if (t->closing)
        return;
    uint64_t now = etcd_thread_now(t);
    if (t->check_at_ms == UINT64_MAX && wants_leader(t))
        t->check_at_ms = now + t->server->config.leader_check_ms;
    uint64_t at = MIN_OF(t->check_at_ms, etcd_watch_hub_deadline(t->hub));
    struct heap_node *first = heap_peek(&t->deadlines);
    if (first != NULL)
        at = MIN_OF(at, HEAP_ENTRY(first, struct etcd_call, by_deadline)->deadline_ms);
    if (at >= t->timer_at_ms) /* It fires early then, finds nothing and is set anew. */
        return;
    t->timer_at_ms = at;
    uv_timer_start(&t->timer, on_timer, at > now ? at - now : 0, 0);
}

/* --- HTTP --- */

static bool route_fits(const struct etcd_route *r, struct str path)
{
    struct str want = str_of(r->path);
    return str_has_suffix(want, STR("/")) && want.len > 1 ? str_has_prefix(path, want)
                                                          : str_eq(path, want);
}

static void serve_plain(struct etcd_thread *t, struct http_request *r, bool metrics_only)
{
    for (size_t i = 0; i < etcd_route_list_count; i++) {
        const struct etcd_route_list *list = etcd_route_lists[i];
        for (size_t j = 0; j < list->count; j++) {
            if (route_fits(&list->routes[j], r->path) &&
                (!metrics_only || list->routes[j].metrics_too)) {
                list->routes[j].handle(t, r);
                return;
            }
        }
    }
    http_response_header(r, "content-type", "text/plain; charset=utf-8");
    http_respond(r, 404, STR("404 page not found\n"));
}

static void on_headers(struct http_request *r, void *arg)
{
    struct etcd_thread *t = arg;
    if (grpc_is_request(r))
        grpc_server_handle(t->grpc, r);
    else if (str_has_prefix(r->path, STR("/v3"))) /* JSON, with base64 in it. */
        http_request_set_body_max(
            r, 2 * (size_t)(t->server->config.request_bytes_max + ETCD_REQUEST_OVERHEAD_BYTES));
}

static void on_request(struct http_request *r, void *arg)
{
    serve_plain(arg, r, false);
}

static void on_metrics_request(struct http_request *r, void *arg)
{
    serve_plain(arg, r, true);
}

static int make_http(struct etcd_thread *t, bool metrics, struct http_server **ret,
                     struct error *err)
{
    const struct etcd_server_config *c = &t->server->config;
    const struct http_server_config config = {
        .name = metrics ? "etcd-metrics" : "etcd",
        .limits.streams_max = c->streams_max,
        .limits.body_bytes_max = c->request_bytes_max + ETCD_REQUEST_OVERHEAD_BYTES,
        .limits.idle_timeout_ms = 600000, /* Clients like to keep connections. */
        .on_headers = metrics ? NULL : on_headers,
        .on_request = metrics ? on_metrics_request : on_request,
        .arg = t,
    };
    return http_server_new(&t->loop, &config, ret, err);
}

/* A port that the system picked for the first thread is the others' too. */
static void keep_port(struct etcd_listen *l, int port)
{
    char *colon = strrchr(l->address, ':');
    if (l->is_unix || colon == NULL || strcmp(colon, ":0") != 0 || port == 0)
        return;
    *colon = '\0';
    char *address = xasprintf("%s:%d", l->address, port);
    free(l->address);
    l->address = address;
}

static int thread_listen(struct etcd_thread *t, struct error *err)
{
    struct etcd_server *s = t->server;
    size_t count[2] = {0};
    for (size_t i = 0; i < s->listen_count; i++) {
        struct etcd_listen *l = &s->listens[i];
        /* One thread for what cannot be shared by many, or need not. */
        if (t->index > 0 && (l->is_unix || l->metrics_only))
            continue;
        struct http_server *http = l->metrics_only ? t->metrics_http : t->http;
        const struct net_listen_config config = {
            .address = l->address,
            .tls = l->is_tls ? s->tls : NULL,
            .reuse_port = !l->is_unix && !l->metrics_only && s->config.threads > 1,
        };
        int rc = config.reuse_port && t->index == 0 ? net_listen_check_alone(l->address, err) : 0;
        if (rc == 0)
            rc = http_server_listen(http, &config, err);
        if (rc != 0)
            return rc;
        int port = http_server_port_at(http, count[l->metrics_only]++);
        keep_port(l, port);
        if (!l->metrics_only && s->port == 0)
            s->port = port;
    }
    return 0;
}

/* --- life --- */

static void add_methods(struct etcd_thread *t)
{
    struct etcd_server *s = t->server;
    t->bindings = xzalloc((s->method_count + 1) * sizeof(*t->bindings));
    struct etcd_binding *b = t->bindings;
    for (size_t i = 0; i < etcd_service_count; i++) {
        for (size_t j = 0; j < etcd_services[i]->method_count; j++, b++) {
            const struct etcd_method *m = &etcd_services[i]->methods[j];
            *b = (struct etcd_binding){t, m, &s->rpc_metrics[b - t->bindings]};
            const struct grpc_method method = {
                .path = m->path,
                .message_max = s->config.request_bytes_max + ETCD_REQUEST_OVERHEAD_BYTES,
                .on_unary = m->on_call != NULL ? etcd_on_unary : NULL,
                .on_open = m->on_call == NULL ? etcd_on_open : NULL,
                .on_message = m->on_call == NULL ? etcd_on_message : NULL,
                .on_half_close = m->on_call == NULL ? etcd_on_half_close : NULL,
                .arg = b,
            };
            grpc_server_add(t->grpc, &method);
        }
    }
}

static void on_closer(struct deferred *d);

static bool has_metrics_listener(const struct etcd_server *s)
{
    for (size_t i = 0; i < s->listen_count; i++) {
        if (s->listens[i].metrics_only)
            return true;
    }
    return false;
}

int etcd_thread_init(struct etcd_thread *t, struct etcd_server *s, unsigned index,
                     struct error *err)
{
    *t = (struct etcd_thread){.server = s, .index = index};
    int rc = uv_loop_init(&t->loop);
    if (rc != 0)
        return loop_error_set(err, rc, "event loop");
    rc = mailbox_init(&t->mailbox, &t->loop);
    if (rc != 0)
        PANIC("no mailbox: %d", rc);
    defer_queue_init(&t->defer, &t->loop);
    deferred_init(&t->closer, on_closer);
    uv_timer_init(&t->loop, &t->timer);
    t->handles = 3;
    t->timer_at_ms = t->check_at_ms = UINT64_MAX;
    heap_init(&t->deadlines, call_before, NULL);
    list_init(&t->streams);
    t->grpc = grpc_server_new();
    grpc_server_set_buffer_max(t->grpc, REQUEST_BYTES_HELD_MAX);
    t->reads = etcd_reads_new(t);
    t->hub = etcd_watch_hub_new(t);
    add_methods(t);
    rc = make_http(t, false, &t->http, err);
    if (rc == 0)
        t->http_open++;
    if (rc == 0 && index == 0 && has_metrics_listener(s)) {
        rc = make_http(t, true, &t->metrics_http, err);
        t->http_open += rc == 0;
    }
    if (rc == 0)
        rc = thread_listen(t, err);
    if (rc == 0 && index == 0 && s->tls != NULL)
        s->reloader = tls_reloader_start(&t->loop, s->tls, s->config.tls_reload_ms);
    if (rc == 0)
        return 0;
    etcd_thread_stop(t);
    etcd_thread_join(t);
    return rc;
}

static void thread_main(void *arg)
{
    struct etcd_thread *t = arg;
    uv_run(&t->loop, UV_RUN_DEFAULT);
}

int etcd_thread_start(struct etcd_thread *t, struct error *err)
{
    int rc = uv_thread_create(&t->thread, thread_main, t);
    if (rc != 0)
        return loop_error_set(err, rc, "server thread");
    t->started = true;
    return 0;
}

/* --- the end --- */

static void handle_closed(struct etcd_thread *t)
{
    t->handles--;
}

static void on_mailbox_closed(struct mailbox *mb)
{
    handle_closed(CONTAINER_OF(mb, struct etcd_thread, mailbox));
}

static void on_defer_closed(struct defer_queue *q)
{
    handle_closed(CONTAINER_OF(q, struct etcd_thread, defer));
}

static void on_timer_closed(uv_handle_t *h)
{
    handle_closed(h->data);
}

static void on_closer(struct deferred *d)
{
    struct etcd_thread *t = CONTAINER_OF(d, struct etcd_thread, closer);
    if (t->closing || !t->stopping || t->http_open > 0 || t->calls > 0)
        return;
    t->closing = true;
    if (t->index == 0) {
        tls_reloader_stop(t->server->reloader);
        t->server->reloader = NULL;
    }
    etcd_watch_hub_free(t->hub);
    etcd_reads_free(t->reads);
    t->timer.data = t;
    uv_close((uv_handle_t *)&t->timer, on_timer_closed);
    defer_queue_close(&t->defer, on_defer_closed);
    mailbox_close(&t->mailbox, on_mailbox_closed);
}

void etcd_thread_check_stopped(struct etcd_thread *t)
{
    if (t->stopping && !t->closing && t->http_open == 0 && t->calls == 0)
        deferred_post(&t->defer, &t->closer);
}

static void on_http_closed(struct http_server *s, void *arg)
{
    struct etcd_thread *t = arg;
    t->http_open--;
    if (s == t->http)
        t->http = NULL;
    else
        t->metrics_http = NULL;
    http_server_free(s);
    etcd_thread_check_stopped(t);
}

static void run_stop(struct mail *m)
{
    struct etcd_thread *t = CONTAINER_OF(m, struct etcd_thread, stop_mail);
    t->stopping = true;
    struct list local;
    list_init(&local);
    list_splice(&local, &t->streams);
    for (struct list *l; (l = list_pop_front(&local)) != NULL;)
        etcd_call_end_from_outside(LIST_ENTRY(l, struct etcd_call, link), &etcd_err_stopped);
    etcd_watch_hub_stop(t->hub);
    if (t->http != NULL)
        http_server_shutdown(t->http, t->server->config.shutdown_ms, on_http_closed, t);
    if (t->metrics_http != NULL)
        http_server_shutdown(t->metrics_http, t->server->config.shutdown_ms, on_http_closed, t);
    etcd_thread_check_stopped(t);
}

void etcd_thread_stop(struct etcd_thread *t)
{
    t->stop_mail.run = run_stop;
    mailbox_post(&t->mailbox, &t->stop_mail);
}

void etcd_thread_join(struct etcd_thread *t)
{
    if (t->started)
        uv_thread_join(&t->thread);
    else
        uv_run(&t->loop, UV_RUN_DEFAULT);
    ASSERT(t->handles == 0);
    grpc_server_free(t->grpc);
    heap_done(&t->deadlines);
    free(t->bindings);
    uv_loop_close(&t->loop);
}
