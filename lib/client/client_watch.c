/* client_watch.c - one watch: an answer without end, cut into events. */
#include "lib/client/client_internal.h"
#include "lib/client/client_metrics.h"

#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"

#include <string.h>

#define WATCH_HEADER_TIMEOUT_MS (60u * 1000)

struct client_watch {
    struct list link;
    struct client *client;
    struct arena *arena;
    const struct api_kind *kind;
    struct transport *transport;
    struct http_call *http;
    struct buf in;
    size_t scanned; /* JSON: bytes of `in` known to hold no line end. */
    uint64_t sent_ms;
    bool is_protobuf;
    bool is_stream; /* A 200 came: the body is events. */
    bool answered;
    bool stopped; /* By client_watch_stop(): no callbacks. */
    bool failed;  /* result is set. */
    struct client_result result;
    void (*on_event)(struct client_watch *w, const struct client_event *e, void *arg);
    void (*on_end)(struct client_watch *w, const struct client_result *result, void *arg);
    void *arg;
};

static void fail(struct client_watch *w, int code, const char *message)
{
    if (w->failed)
        return;
    w->failed = true;
    w->result.code = code;
    w->result.message = arena_strdup(w->arena, message);
    http_call_cancel(w->http);
}

static bool event_type_of(struct str s, enum client_event_type *ret)
{
    static const char *const names[] = {"ADDED", "MODIFIED", "DELETED", "BOOKMARK"};
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
        if (str_eqc(s, names[i])) {
            *ret = (enum client_event_type)i;
            return true;
        }
    return false;
}

/* An ERROR event carries a Status and ends the watch. */
static void fail_with_status(struct client_watch *w, struct str object)
{
    struct client_result r = {0};
    client_decode_answer(w->arena, NULL, false, 500, STR_NULL, object, &r);
    if (r.status == NULL) {
        fail(w, E_INVALID, "the watch ended with an error that is no Status");
        return;
    }
    w->failed = true;
    w->result = r;
    w->result.http_status = 200;
    w->result.body = STR_NULL;
    http_call_cancel(w->http);
}

static void emit(struct client_watch *w, const struct client_event *e)
{
    w->on_event(w, e, w->arg);
}

static void take_protobuf(struct client_watch *w, struct str frame)
{
    struct str type, object;
    struct error err = {0};
    struct client_event e = {0};
    if (client_decode_frame(frame, &type, &object, &err) != 0) {
        fail(w, E_INVALID, error_message(&err));
        return;
    }
    if (str_eqc(type, "ERROR")) {
        fail_with_status(w, object);
        return;
    }
    if (!event_type_of(type, &e.type))
        return; /* A type of the future. */
    if (client_decode_object(w->kind, object, &e.object, &err) != 0) {
        fail(w, E_INVALID, error_message(&err));
        return;
    }
    emit(w, &e);
    api_object_unref(e.object);
}

static void take_json(struct client_watch *w, struct str line)
{
    AUTO_ARENA *a = arena_new(0);
    struct json *tree;
    struct error err = {0};
    struct client_event e = {0};
    if (str_empty(str_trim(line)))
        return;
    if (json_parse(a, line, &tree, &err) != 0) {
        fail(w, E_INVALID, error_message(&err));
        return;
    }
    struct str type = json_get_str(tree, "type");
    const struct json *object = json_getc(tree, "object");
    AUTO_BUF text = BUF_INIT;
    if (object != NULL && (w->kind != NULL || str_eqc(type, "ERROR")))
        json_write(object, false, &text);
    if (str_eqc(type, "ERROR")) {
        fail_with_status(w, buf_str(&text));
        return;
    }
    if (!event_type_of(type, &e.type) || object == NULL)
        return;
    e.json = object;
    if (w->kind != NULL && client_decode_object(w->kind, buf_str(&text), &e.object, &err) != 0) {
        fail(w, E_INVALID, error_message(&err));
        return;
    }
    emit(w, &e);
    api_object_unref(e.object);
}

static bool next_protobuf(struct client_watch *w)
{
    if (w->in.len < 4)
        return false;
    const uint8_t *p = w->in.data;
    size_t len = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
    if (len > CLIENT_FRAME_MAX) {
        fail(w, E_TOO_LARGE, "a watch frame is larger than 64 MiB");
        return false;
    }
    if (w->in.len - 4 < len)
        return false;
    take_protobuf(w, str_n((const char *)p + 4, len));
    buf_consume(&w->in, 4 + len);
    return true;
}

static bool next_json(struct client_watch *w)
{
    const uint8_t *end = w->in.len > w->scanned
                             ? memchr(w->in.data + w->scanned, '\n', w->in.len - w->scanned)
                             : NULL;
    if (end == NULL) {
        w->scanned = w->in.len;
        if (w->in.len > CLIENT_FRAME_MAX)
            fail(w, E_TOO_LARGE, "a watch event is larger than 64 MiB");
        return false;
    }
    size_t len = (size_t)(end - w->in.data);
    take_json(w, str_n((const char *)w->in.data, len));
    buf_consume(&w->in, len + 1);
    w->scanned = 0;
    return true;
}

/* Of a watch only the start is timed. */
static void count_try(const struct client_watch *w, int status)
{
    struct client *c = w->client;
    client_metrics_add(c->metrics,
                       &(struct client_try){.method = "GET",
                                            .status = status,
                                            .took_ms = env_now_ms(c->env) - w->sent_ms});
}

static void on_headers(struct http_call *call, void *arg)
{
    struct client_watch *w = arg;
    count_try(w, http_call_status(call));
    w->answered = true;
    struct str type = http_call_header(call, "content-type");
    w->is_stream = http_call_status(call) == 200;
    w->is_protobuf = str_has_prefix(type, STR("application/vnd.kubernetes.protobuf"));
}

static void on_data(struct http_call *call, const uint8_t *data, size_t len, void *arg)
{
    struct client_watch *w = arg;
    UNUSED(call);
    if (w->stopped || w->failed)
        return;
    buf_append(&w->in, data, len);
    if (!w->is_stream)
        return;
    while (!w->stopped && !w->failed && (w->is_protobuf ? next_protobuf(w) : next_json(w)))
        ;
}

static void watch_free(struct client_watch *w)
{
    struct client *c = w->client;
    list_remove(&w->link);
    buf_done(&w->in);
    arena_free(w->arena);
    free(w);
    client_maybe_free(c);
}

static void on_end(struct http_call *call, const struct error *err, void *arg)
{
    struct client_watch *w = arg;
    struct transport *t = w->transport;
    if (!w->stopped) {
        if (!w->answered)
            count_try(w, 0);
        if (w->failed) {
            /* result is set */
        } else if (err != NULL) {
            w->result.code = err->code;
            w->result.message = error_message(err);
        } else if (!w->is_stream) {
            client_decode_answer(w->arena, w->kind, false, http_call_status(call),
                                 http_call_header(call, "content-type"), buf_str(&w->in),
                                 &w->result);
        } else {
            w->result.http_status = 200;
            w->result.message = "";
        }
        w->on_end(w, &w->result, w->arg);
    }
    watch_free(w);
    client_http_ended(t);
}

int client_watch_start(struct client *c, const struct client_watch_config *config,
                       struct client_watch **ret, struct error *err)
{
    if (c->closing)
        return error_set(err, E_CLOSED, "the client is closing");
    struct client_watch *w = xzalloc(sizeof(*w));
    struct client_message m;
    w->client = c;
    w->sent_ms = env_now_ms(c->env);
    w->arena = arena_new(512);
    w->kind = config->kind;
    w->on_event = config->on_event;
    w->on_end = config->on_end;
    w->arg = config->arg;
    list_init(&w->link);
    int rc = client_encode_watch(w->arena, c->prefix, config, &m, err);
    if (rc == 0)
        rc = client_http_start(c, &m, 0, WATCH_HEADER_TIMEOUT_MS, on_headers, on_data, on_end, w,
                               &w->transport, &w->http, err);
    if (rc != 0) {
        watch_free(w);
        return rc;
    }
    list_push_back(&c->watches, &w->link);
    if (ret != NULL)
        *ret = w;
    return 0;
}

void client_watch_stop(struct client_watch *w)
{
    w->stopped = true;
    http_call_cancel(w->http);
}

void client_watch_abandon(struct list *link)
{
    client_watch_stop(LIST_ENTRY(link, struct client_watch, link));
}
