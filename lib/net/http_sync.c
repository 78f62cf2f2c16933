/* http_sync.c - a blocking HTTP client on a loop of its own; see http_client.h. */
#include "lib/net/http_sync_internal.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"

struct sync_call {
    struct http_sync_response response;
    struct http_call *call;
    struct buf body;
    size_t body_max;
    struct error *err;
    int code;
    bool too_large, done;
};

int http_sync_new(const struct http_client_config *config, struct http_sync **ret,
                  struct error *err)
{
    struct http_sync *s = xzalloc(sizeof(*s));
    int rc = uv_loop_init(&s->loop);
    int code = rc < 0 ? error_set(err, E_IO, "create loop: %s", uv_strerror(rc)) : 0;
    if (code == 0)
        code = http_client_new(&s->loop, config, &s->client, err);
    if (code < 0) {
        if (rc == 0)
            uv_loop_close(&s->loop);
        free(s);
        return code;
    }
    *ret = s;
    return 0;
}

void http_sync_free(struct http_sync *s)
{
    if (s == NULL)
        return;
    http_client_close(s->client, NULL, NULL);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    int rc = uv_loop_close(&s->loop);
    ASSERT_CMP(rc, ==, 0);
    free(s);
}

void http_sync_response_done(struct http_sync_response *r)
{
    arena_free(r->arena);
    *r = (struct http_sync_response){0};
}

static void sync_on_data(struct http_call *call, const uint8_t *data, size_t len, void *arg)
{
    struct sync_call *c = arg;
    if (len > c->body_max - MIN_OF(c->body.len, c->body_max)) {
        c->too_large = true;
        http_call_cancel(call);
        return;
    }
    buf_append(&c->body, data, len);
}

static void sync_take_response(struct sync_call *c, const struct http_call *call)
{
    struct arena *a = arena_new(c->body.len + 4096);
    size_t count;
    const struct http_header *from = http_call_headers(call, &count);
    struct http_header *headers = ARENA_ARRAY(a, struct http_header, count);
    for (size_t i = 0; i < count; i++)
        headers[i] = (struct http_header){arena_str(a, from[i].name), arena_str(a, from[i].value)};
    c->response = (struct http_sync_response){
        .status = http_call_status(call),
        .arena = a,
        .headers = headers,
        .header_count = count,
        .body = arena_str(a, buf_str(&c->body)),
    };
}

static void sync_on_end(struct http_call *call, const struct error *err, void *arg)
{
    struct sync_call *c = arg;
    c->done = true;
    if (c->too_large)
        c->code =
            error_set(c->err, E_TOO_LARGE, "the response is larger than %zu bytes", c->body_max);
    else if (err != NULL)
        c->code = error_set(c->err, err->code, "%s", err->message);
    else
        sync_take_response(c, call);
}

int http_sync_do(struct http_sync *s, const struct http_call_config *call, size_t body_max,
                 struct http_sync_response *ret, struct error *err)
{
    struct sync_call c = {.body = BUF_INIT, .body_max = body_max, .err = err};
    struct http_call_config config = *call;
    config.upload = config.upgrade = false;
    config.on_headers = NULL;
    config.on_drain = config.on_resume = NULL;
    config.on_upgrade = NULL;
    config.on_data = sync_on_data;
    config.on_end = sync_on_end;
    config.arg = &c;
    int code = http_call_start(s->client, &config, &c.call, err);
    if (code < 0)
        return code;
    while (!c.done)
        uv_run(&s->loop, UV_RUN_ONCE);
    buf_done(&c.body);
    if (c.code == 0)
        *ret = c.response;
    return c.code;
}
