/* test_live.c - calls, watches, informers and leader election against a small
 * API server of our own, in this process and on one loop. */
#include "api/coordination_v1.h"
#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/metrics.h"
#include "lib/client/client.h"
#include "lib/client/informer.h"
#include "lib/client/kubeconfig.h"
#include "lib/client/leader_election.h"
#include "lib/client/work_queue.h"
#include "lib/net/bytes.h"
#include "lib/net/http_server.h"
#include "lib/net/stream.h"
#include "test/unit/unit.h"

#include <uv.h>

/* One test's world. handle() answers requests; finished stops the loop. */
struct world {
    uv_loop_t loop;
    struct http_server *server;
    struct client *client;
    uv_timer_t guard;
    void (*handle)(struct world *w, struct http_request *r);
    unsigned requests;
    bool finished;
    struct http_request *watch; /* An open watch. */
    char log[512];
    struct api_object *lease; /* Of the election tests. */
    int64_t lease_rv;
    struct informer *informer;
    struct leader_election *elections[2];
    unsigned phase;
};

static const struct api_kind *kind(const char *group, const char *name)
{
    return api_kind_by_gvk(str_of(group), STR("v1"), str_of(name));
}

static void on_request(struct http_request *r, void *arg)
{
    struct world *w = arg;
    w->requests++;
    w->handle(w, r);
}

static void on_guard(uv_timer_t *t)
{
    UNUSED(t);
    ck_abort_msg("the test took longer than 20 s");
}

static void world_open(struct world *w, void (*handle)(struct world *, struct http_request *))
{
    struct error err = {0};
    *w = (struct world){.handle = handle, .lease_rv = 1};
    uv_loop_init(&w->loop);
    uv_timer_init(&w->loop, &w->guard);
    uv_timer_start(&w->guard, on_guard, 20000, 0);
    struct http_server_config config = {.name = "test", .on_request = on_request, .arg = w};
    ck_assert_int_eq(http_server_new(&w->loop, &config, &w->server, &err), 0);
    struct net_listen_config listen = {.address = "127.0.0.1:0"};
    ck_assert_msg(http_server_listen(w->server, &listen, &err) == 0, "%s", err.message);
    AUTO_FREE char *url = xasprintf("http://127.0.0.1:%d", http_server_port(w->server));
    ck_assert_int_eq(client_new(&w->loop, kubeconfig_for_server(url), NULL, &w->client, &err), 0);
}

static void world_run(struct world *w)
{
    while (!w->finished)
        uv_run(&w->loop, UV_RUN_ONCE);
}

static void on_watch_gone(struct http_request *r, void *arg)
{
    struct world *w = arg;
    if (w->watch == r)
        w->watch = NULL;
    http_response_end(r);
}

static void on_server_closed(struct http_server *s, void *arg)
{
    UNUSED(s), UNUSED(arg);
}

static void world_close(struct world *w)
{
    client_close(w->client, NULL, NULL);
    uv_close((uv_handle_t *)&w->guard, NULL);
    http_server_shutdown(w->server, 100, on_server_closed, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    http_server_free(w->server);
    api_object_unref(w->lease);
    ck_assert_int_eq(uv_loop_close(&w->loop), 0);
}

static void note(struct world *w, const char *mark, struct str name)
{
    size_t len = strlen(w->log);
    snprintf(w->log + len, sizeof(w->log) - len, "%s" STR_FMT " ", mark, STR_ARG(name));
}

/* --- answers ------------------------------------------------------------------------------ */

static void respond_msg(struct http_request *r, int status, const struct api_msg *m,
                        const void *msg, const char *api_version, const char *name)
{
    AUTO_BUF b = BUF_INIT;
    api_envelope_encode(m, msg, str_of(api_version), str_of(name), &b);
    struct net_bytes *body = net_bytes_steal(&b);
    http_respond_typed(r, status, "application/vnd.kubernetes.protobuf", body);
    net_bytes_unref(body);
}

static void respond_status(struct http_request *r, int status, const char *reason,
                           const char *message)
{
    struct meta_v1_status s = {.status = STR("Failure"),
                               .reason = str_of(reason),
                               .message = str_of(message),
                               .code = status};
    respond_msg(r, status, &meta_v1_status_msg, &s, "v1", "Status");
}

static struct core_v1_config_map map_of(const char *name, const char *uid, const char *rv)
{
    return (struct core_v1_config_map){.metadata = {.namespace = STR("ns"),
                                                    .name = str_of(name),
                                                    .uid = str_of(uid),
                                                    .resource_version = str_of(rv)}};
}

/* One length-delimited WatchEvent. */
static void send_event(struct http_request *r, const char *type, const char *name, const char *uid,
                       const char *rv)
{
    AUTO_BUF object = BUF_INIT, raw = BUF_INIT, event = BUF_INIT, frame = BUF_INIT;
    struct core_v1_config_map m = map_of(name, uid, rv);
    api_envelope_encode(&core_v1_config_map_msg, &m, STR("v1"), STR("ConfigMap"), &object);
    buf_putc(&raw, 0x0a);
    buf_put_varint(&raw, object.len);
    buf_append_str(&raw, buf_str(&object));
    buf_putc(&event, 0x0a);
    buf_put_varint(&event, strlen(type));
    buf_puts(&event, type);
    buf_putc(&event, 0x12);
    buf_put_varint(&event, raw.len);
    buf_append_str(&event, buf_str(&raw));
    buf_put_be32(&frame, (uint32_t)event.len);
    buf_append_str(&frame, buf_str(&event));
    http_response_write_copy(r, frame.data, frame.len);
}

static void start_watch(struct world *w, struct http_request *r)
{
    http_response_header(r, "Content-Type", "application/vnd.kubernetes.protobuf;stream=watch");
    http_response_start(r, 200, -1);
    http_request_on_abort(r, on_watch_gone, w);
    w->watch = r;
}

static bool has(struct str s, const char *part)
{
    return str_find_str(s, str_of(part)) >= 0;
}

/* --- calls ---------------------------------------------------------------------------------- */

static void handle_get(struct world *w, struct http_request *r)
{
    if (w->requests == 1) {
        http_response_header(r, "Retry-After", "0");
        respond_status(r, 429, "TooManyRequests", "slow down");
    } else if (str_eqc(r->path, "/api/v1/namespaces/ns/configmaps/a")) {
        struct core_v1_config_map m = map_of("a", "1", "5");
        respond_msg(r, 200, &core_v1_config_map_msg, &m, "v1", "ConfigMap");
    } else {
        respond_status(r, 404, "NotFound", "configmaps \"b\" not found");
    }
}

static void on_missing(struct client_request *r, const struct client_result *result, void *arg)
{
    struct world *w = arg;
    UNUSED(r);
    ck_assert_int_eq(result->code, E_NOT_FOUND);
    ck_assert_str_eq(result->message, "configmaps \"b\" not found");
    ck_assert_ptr_nonnull(result->status);
    w->finished = true;
}

static void on_found(struct client_request *r, const struct client_result *result, void *arg)
{
    struct world *w = arg;
    UNUSED(r);
    ck_assert_msg(result->code == 0, "%s", result->message);
    ck_assert(str_eqc(api_object_meta(result->object)->uid, "1"));
    ck_assert_uint_eq(w->requests, 2); /* The first one was to be repeated. */
    struct client_call call = {.verb = CLIENT_GET,
                               .kind = kind("", "ConfigMap"),
                               .namespace_name = STR("ns"),
                               .name = STR("b"),
                               .done = on_missing,
                               .arg = w};
    ck_assert_int_eq(client_start(w->client, &call, NULL, NULL), 0);
}

/* A 429 with Retry-After is waited for; answers and failures are decoded. */
START_TEST(calls_get_answers)
{
    struct world w;
    world_open(&w, handle_get);
    struct client_call call = {.verb = CLIENT_GET,
                               .kind = kind("", "ConfigMap"),
                               .namespace_name = STR("ns"),
                               .name = STR("a"),
                               .done = on_found,
                               .arg = &w};
    ck_assert_int_eq(client_start(w.client, &call, NULL, NULL), 0);
    world_run(&w);
    /* Each try counts: 429, 200, 404. */
    AUTO_BUF shown = BUF_INIT;
    metrics_render(metrics_default(), &shown);
    static const char *const wanted[] = {
        "rest_client_requests_total{code=\"429\",method=\"GET\",host=\"127.0.0.1:",
        "rest_client_requests_total{code=\"200\",method=\"GET\",host=\"127.0.0.1:",
        "rest_client_requests_total{code=\"404\",method=\"GET\",host=\"127.0.0.1:",
        "rest_client_request_retries_total{code=\"429\",verb=\"GET\",host=\"127.0.0.1:",
        "rest_client_request_duration_seconds_count{verb=\"GET\",host=\"127.0.0.1:",
        "rest_client_response_size_bytes_count{verb=\"GET\",host=\"127.0.0.1:",
    };
    for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
        ck_assert_msg(has(buf_str(&shown), wanted[i]), "%s not in %.*s", wanted[i], (int)shown.len,
                      (const char *)shown.data);
    world_close(&w);
}
END_TEST

static void never(struct client_request *r, const struct client_result *result, void *arg)
{
    UNUSED(r), UNUSED(result), UNUSED(arg);
    ck_abort_msg("a cancelled call was answered");
}

/* A cancelled call is silent; closing the client cancels the rest. */
START_TEST(cancelled_calls_are_silent)
{
    struct world w;
    struct client_request *r;
    world_open(&w, handle_get);
    struct client_call call = {.verb = CLIENT_GET,
                               .kind = kind("", "ConfigMap"),
                               .namespace_name = STR("ns"),
                               .name = STR("a"),
                               .done = never,
                               .arg = &w};
    ck_assert_int_eq(client_start(w.client, &call, &r, NULL), 0);
    client_cancel(r);
    ck_assert_int_eq(client_start(w.client, &call, NULL, NULL), 0);
    world_close(&w);
}
END_TEST

/* --- informer ----------------------------------------------------------------------------------
 */

/* First list: a, b. The watch brings c and ends; the next one, from 12, is told
 * that 12 is no longer kept. Second list: b changed, c gone, d new. */
static void handle_informer(struct world *w, struct http_request *r)
{
    if (!has(r->query, "watch=true")) {
        bool second = w->phase >= 3;
        struct core_v1_config_map items[2] = {map_of("a", "1", "8"), map_of("b", "2", "9")};
        if (second)
            items[0] = map_of("d", "4", "20"), items[1] = map_of("b", "2", "19");
        struct core_v1_config_map_list list = {.metadata.resource_version =
                                                   second ? STR("20") : STR("10"),
                                               .items = items,
                                               .items_count = 2};
        respond_msg(r, 200, &core_v1_config_map_list_msg, &list, "v1", "ConfigMapList");
        w->phase++;
        return;
    }
    w->phase++;
    if (w->phase == 2) {
        ck_assert(has(r->query, "resourceVersion=10"));
        start_watch(w, r);
        send_event(r, "ADDED", "c", "3", "11");
        send_event(r, "DELETED", "a", "1", "12");
        w->watch = NULL;
        http_response_end(r);
    } else if (w->phase == 3) {
        ck_assert(has(r->query, "resourceVersion=12"));
        respond_status(r, 410, "Expired", "too old resource version");
    } else {
        ck_assert(has(r->query, "resourceVersion=20"));
        start_watch(w, r);
        send_event(r, "MODIFIED", "d", "4", "21");
    }
}

static void on_add(struct api_object *o, void *arg)
{
    note(arg, "+", api_object_meta(o)->name);
}

static void on_update(struct api_object *old, struct api_object *o, void *arg)
{
    struct world *w = arg;
    UNUSED(old);
    note(w, "~", api_object_meta(o)->name);
    w->finished = str_eqc(api_object_meta(o)->resource_version, "21");
}

static void on_delete(struct api_object *o, bool unknown, void *arg)
{
    note(arg, unknown ? "?" : "-", api_object_meta(o)->name);
}

static void on_synced(void *arg)
{
    note(arg, "synced", STR_NULL);
}

START_TEST(informer_never_loses_a_change)
{
    struct world w;
    struct error err = {0};
    world_open(&w, handle_informer);
    struct informer_config config = {.kind = kind("", "ConfigMap")};
    ck_assert_int_eq(informer_new(w.client, &config, &w.informer, &err), 0);
    informer_add_handler(w.informer,
                         &(struct informer_handler){on_add, on_update, on_delete, on_synced, &w});
    informer_start(w.informer);
    world_run(&w);
    /* The order within one list is not defined: check the parts. */
    ck_assert_msg(strstr(w.log, "synced +c -a ") != NULL, "%s", w.log);
    ck_assert(strstr(w.log, "?c ") != NULL && strstr(w.log, "+d ") != NULL &&
              strstr(w.log, "~b ") != NULL);
    ck_assert_uint_eq(informer_count(w.informer), 2);
    ck_assert_ptr_nonnull(informer_get(w.informer, STR("ns"), STR("d")));
    ck_assert(str_eqc(informer_resource_version(w.informer), "21"));
    informer_close(w.informer);
    world_close(&w);
}
END_TEST

/* The kind is served from the third question on. */
static void handle_late_kind(struct world *w, struct http_request *r)
{
    if (has(r->query, "watch=true")) {
        start_watch(w, r);
        return;
    }
    note(w, "?", STR_NULL);
    if (++w->phase < 3) {
        respond_status(r, 404, "NotFound", "the server could not find the requested resource");
        return;
    }
    struct core_v1_config_map one = map_of("late", "1", "1");
    struct core_v1_config_map_list list = {
        .metadata.resource_version = STR("21"), .items = &one, .items_count = 1};
    respond_msg(r, 200, &core_v1_config_map_list_msg, &list, "v1", "ConfigMapList");
}

static void on_late_add(struct api_object *o, void *arg)
{
    struct world *w = arg;
    note(w, "+", api_object_meta(o)->name);
    w->finished = true;
}

/* A kind that is not served has no objects, so that nobody waits; once it is served it has. */
START_TEST(informer_of_an_unserved_kind_is_empty)
{
    struct world w;
    struct error err = {0};
    world_open(&w, handle_late_kind);
    struct informer_config config = {.kind = kind("", "ConfigMap")};
    ck_assert_int_eq(informer_new(w.client, &config, &w.informer, &err), 0);
    informer_add_handler(w.informer, &(struct informer_handler){
                                         .on_add = on_late_add, .on_synced = on_synced, .arg = &w});
    informer_start(w.informer);
    world_run(&w);
    ck_assert_str_eq(w.log, "? synced ? ? +late ");
    informer_close(w.informer);
    world_close(&w);
}
END_TEST

/* Refused twice, as by a server whose rules are not read yet, and then served. */
static void handle_late_rights(struct world *w, struct http_request *r)
{
    if (has(r->query, "watch=true") || w->phase >= 2) {
        handle_late_kind(w, r);
        return;
    }
    w->phase++;
    note(w, "?", STR_NULL);
    respond_status(r, 403, "Forbidden", "not yet");
}

static void handle_refused(struct world *w, struct http_request *r)
{
    note(w, "?", STR_NULL);
    respond_status(r, 403, "Forbidden", "never");
}

static void on_refused_synced(void *arg)
{
    struct world *w = arg;
    note(w, "synced", STR_NULL);
    w->finished = true;
}

static void run_optional(struct world *w, void (*handle)(struct world *, struct http_request *),
                         const struct informer_handler *h)
{
    struct error err = {0};
    world_open(w, handle);
    struct informer_config config = {.kind = kind("", "ConfigMap"), .optional = true};
    ck_assert_int_eq(informer_new(w->client, &config, &w->informer, &err), 0);
    informer_add_handler(w->informer, h);
    informer_start(w->informer);
    world_run(w);
    informer_close(w->informer);
    world_close(w);
}

/* A kind that may not be read has no objects for who can do without it; but that is not believed at
 * the first refusal. */
START_TEST(informer_of_a_refused_kind)
{
    struct world w;
    run_optional(
        &w, handle_late_rights,
        &(struct informer_handler){.on_add = on_late_add, .on_synced = on_synced, .arg = &w});
    ck_assert_str_eq(w.log, "? ? ? +late synced ");
    run_optional(&w, handle_refused,
                 &(struct informer_handler){.on_synced = on_refused_synced, .arg = &w});
    ck_assert_str_eq(w.log, "? ? ? ? ? synced ");
}
END_TEST

/* --- leader election
 * ------------------------------------------------------------------------------ */

/* GET, POST and PUT of one lease, with optimistic concurrency. */
static void handle_lease(struct world *w, struct http_request *r)
{
    const struct api_kind *k = kind("coordination.k8s.io", "Lease");
    bool get = str_eqc(r->method, "GET");
    if (get && w->lease == NULL) {
        respond_status(r, 404, "NotFound", "no lease");
        return;
    }
    if (!get) {
        struct str version, name, raw;
        struct api_object *o = api_object_new(k);
        ck_assert_int_eq(api_envelope_open(r->body, &version, &name, &raw, NULL), 0);
        ck_assert_int_eq(api_pb_decode(o->arena, k->msg, raw, o->msg, NULL), 0);
        struct coordination_v1_lease *l = o->msg, *now = w->lease != NULL ? w->lease->msg : NULL;
        bool stale =
            now != NULL && !str_eq(l->metadata.resource_version, now->metadata.resource_version);
        if (stale) {
            api_object_unref(o);
            respond_status(r, 409, "Conflict", "changed");
            return;
        }
        l->metadata.resource_version = arena_printf(o->arena, "%lld", (long long)++w->lease_rv);
        api_object_unref(w->lease);
        w->lease = o;
    }
    respond_msg(r, 200, k->msg, w->lease->msg, "coordination.k8s.io/v1", "Lease");
}

struct candidate {
    struct world *world;
    unsigned index;
};

static void on_released(void *arg)
{
    note(arg, "released", STR_NULL);
}

static void on_all_released(void *arg)
{
    ((struct world *)arg)->finished = true;
}

static void on_leading(void *arg)
{
    struct candidate *c = arg;
    struct world *w = c->world;
    note(w, "lead", c->index == 0 ? STR("0") : STR("1"));
    w->phase++;
    if (w->phase == 1)
        leader_election_close(w->elections[c->index], on_released, w); /* Gives the lease back. */
    else
        w->finished = true;
}

static void on_stopped(void *arg)
{
    struct candidate *c = arg;
    note(c->world, "stop", c->index == 0 ? STR("0") : STR("1"));
}

/* Of two one leads; when it gives up, the other takes over without waiting for
 * the lease to run out. */
START_TEST(leadership_is_handed_over)
{
    struct world w;
    struct error err = {0};
    world_open(&w, handle_lease);
    struct candidate c[2] = {{&w, 0}, {&w, 1}};
    for (unsigned i = 0; i < 2; i++) {
        struct leader_election_config config = {
            .client = w.client,
            .namespace_name = "kube-system",
            .name = "x",
            .identity = i == 0 ? "zero" : "one",
            .lease_duration_ms = 15000,
            .renew_deadline_ms = 10000,
            .retry_period_ms = 50,
            .on_started = on_leading,
            .on_stopped = on_stopped,
            .arg = &c[i],
        };
        ck_assert_int_eq(leader_election_new(&config, &w.elections[i], &err), 0);
        leader_election_start(w.elections[i]);
    }
    world_run(&w);
    bool zero_first = strncmp(w.log, "lead0", 5) == 0;
    ck_assert_msg(strcmp(w.log, zero_first ? "lead0 stop0 released lead1 "
                                           : "lead1 stop1 released lead0 ") == 0,
                  "%s", w.log);
    w.finished = false;
    leader_election_close(w.elections[zero_first ? 1 : 0], on_all_released, &w);
    world_run(&w);
    ck_assert(str_empty(((struct coordination_v1_lease *)w.lease->msg)->spec.holder_identity));
    world_close(&w);
}
END_TEST

/* --- work queue
 * ------------------------------------------------------------------------------------- */

static void process(struct work_queue *q, struct str key, void *arg)
{
    struct world *w = arg;
    note(w, "", key);
    bool last = str_eqc(key, "late");
    work_queue_done(q, key); /* The key is gone now. */
    if (last) {
        w->finished = true;
        work_queue_close(q);
    }
}

static void handle_nothing(struct world *w, struct http_request *r)
{
    UNUSED(w);
    respond_status(r, 404, "NotFound", "nothing");
}

/* Paused, a queue collects; delayed keys come later. */
START_TEST(work_queue_runs)
{
    struct world w;
    world_open(&w, handle_nothing);
    struct work_queue_config config = {.process = process, .arg = &w};
    struct work_queue *q = work_queue_new(&w.loop, &config);
    work_queue_pause(q);
    work_queue_add(q, STR("a"));
    work_queue_add(q, STR("a"));
    work_queue_add(q, STR("b"));
    work_queue_add_after(q, STR("late"), 20);
    uv_run(&w.loop, UV_RUN_NOWAIT);
    ck_assert_str_eq(w.log, "");
    work_queue_resume(q);
    world_run(&w);
    ck_assert_str_eq(w.log, "a b late ");
    world_close(&w);
}
END_TEST

UNIT_MAIN("client/live", {
    UNIT_TEST(calls_get_answers);
    UNIT_TEST(cancelled_calls_are_silent);
    UNIT_TEST(informer_never_loses_a_change);
    UNIT_TEST(informer_of_an_unserved_kind_is_empty);
    UNIT_TEST(informer_of_a_refused_kind);
    UNIT_TEST(leadership_is_handed_over);
    UNIT_TEST(work_queue_runs);
})
