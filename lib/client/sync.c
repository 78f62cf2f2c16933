/* sync.c - see sync.h. */
#include "lib/client/sync.h"

#include "api/meta_v1.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

#include <uv.h>

struct sync_client {
    uv_loop_t loop;
    struct client *client;
    struct sync_answer *answer; /* Of the call that runs; NULL: not wanted. */
    struct error *err;
    int code;
    bool done;
    bool stop;
};

int sync_client_new(struct kubeconfig *config, const struct client_options *options,
                    struct sync_client **ret, struct error *err)
{
    struct sync_client *s = xzalloc(sizeof(*s));
    uv_loop_init(&s->loop);
    int rc = client_new(&s->loop, config, options, &s->client, err);
    if (rc != 0) {
        uv_loop_close(&s->loop);
        free(s);
        return rc;
    }
    *ret = s;
    return 0;
}

void sync_client_free(struct sync_client *s)
{
    if (s == NULL)
        return;
    client_close(s->client, NULL, NULL);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    uv_loop_close(&s->loop);
    free(s);
}

struct client *sync_client_inner(struct sync_client *s)
{
    return s->client;
}

static void fill_answer(struct sync_answer *ret, const struct client_result *result)
{
    ret->arena = arena_new(0);
    ret->http_status = result->http_status;
    ret->retry_after_s = result->retry_after_s;
    ret->body = arena_str(ret->arena, result->body);
    if (result->object != NULL)
        ret->object = api_object_ref(result->object);
    if (result->status != NULL)
        ret->status = api_msg_clone(ret->arena, &meta_v1_status_msg, result->status);
}

static void on_done(struct client_request *r, const struct client_result *result, void *arg)
{
    struct sync_client *s = arg;
    UNUSED(r);
    s->done = true;
    s->code = result->code;
    if (result->code != 0)
        error_set(s->err, result->code, "%s", result->message);
    if (s->answer != NULL)
        fill_answer(s->answer, result);
}

static int wait(struct sync_client *s)
{
    while (!s->done)
        uv_run(&s->loop, UV_RUN_ONCE);
    return s->code;
}

static void begin(struct sync_client *s, struct sync_answer *ret, struct error *err)
{
    if (ret != NULL)
        *ret = (struct sync_answer){0};
    s->answer = ret;
    s->err = err;
    s->done = s->stop = false;
    s->code = 0;
}

int sync_call(struct sync_client *s, const struct client_call *call, struct sync_answer *ret,
              struct error *err)
{
    struct client_call mine = *call;
    mine.done = on_done;
    mine.arg = s;
    begin(s, ret, err);
    int rc = client_start(s->client, &mine, NULL, err);
    return rc != 0 ? rc : wait(s);
}

struct raw_relay {
    struct sync_client *s;
    const struct client_raw *raw;
};

static void relay_data(struct client_request *r, struct str piece, void *arg)
{
    struct raw_relay *relay = arg;
    relay->raw->on_data(r, piece, relay->raw->arg);
    if (relay->s->stop && !relay->s->done) {
        relay->s->done = true;
        client_cancel(r);
    }
}

static void relay_done(struct client_request *r, const struct client_result *result, void *arg)
{
    struct raw_relay *relay = arg;
    on_done(r, result, relay->s);
}

int sync_raw(struct sync_client *s, const struct client_raw *raw, struct sync_answer *ret,
             struct error *err)
{
    struct raw_relay relay = {s, raw};
    struct client_raw mine = *raw;
    mine.on_data = raw->on_data != NULL ? relay_data : NULL;
    mine.done = relay_done;
    mine.arg = &relay;
    begin(s, ret, err);
    int rc = client_raw_start(s->client, &mine, NULL, err);
    return rc != 0 ? rc : wait(s);
}

int sync_list(struct sync_client *s, const struct client_call *call, int64_t page_limit,
              int (*on_item)(const struct api_object *list, void *item, void *arg), void *arg,
              struct error *err)
{
    struct client_call mine = *call;
    AUTO_ARENA *a = arena_new(0);
    mine.verb = CLIENT_LIST;
    mine.list.limit = page_limit;
    for (;;) {
        struct sync_answer answer;
        int rc = sync_call(s, &mine, &answer, err);
        for (size_t i = 0; rc == 0 && answer.object != NULL && i < client_list_count(answer.object);
             i++)
            rc = on_item(answer.object, client_list_item(answer.object, i), arg);
        struct str next = rc == 0 && answer.object != NULL
                              ? arena_str(a, client_list_continue(answer.object))
                              : STR_NULL;
        sync_answer_done(&answer);
        if (rc != 0 || str_empty(next))
            return rc;
        mine.list.continue_token = next;
    }
}

/* --- watches --------------------------------------------------------------------------- */

struct watch_relay {
    struct sync_client *s;
    const struct client_watch_config *config;
};

static void relay_event(struct client_watch *w, const struct client_event *e, void *arg)
{
    struct watch_relay *r = arg;
    r->config->on_event(w, e, r->config->arg);
    if (r->s->stop && !r->s->done) {
        r->s->done = true;
        client_watch_stop(w);
    }
}

static void relay_end(struct client_watch *w, const struct client_result *result, void *arg)
{
    struct watch_relay *r = arg;
    on_done(NULL, result, r->s);
    if (r->config->on_end != NULL)
        r->config->on_end(w, result, r->config->arg);
}

int sync_watch(struct sync_client *s, const struct client_watch_config *config, struct error *err)
{
    struct watch_relay relay = {s, config};
    struct client_watch_config mine = *config;
    mine.on_event = relay_event;
    mine.on_end = relay_end;
    mine.arg = &relay;
    begin(s, NULL, err);
    int rc = client_watch_start(s->client, &mine, NULL, err);
    return rc != 0 ? rc : wait(s);
}

void sync_stop(struct sync_client *s)
{
    s->stop = true;
}

void sync_answer_done(struct sync_answer *a)
{
    if (a == NULL)
        return;
    api_object_unref(a->object);
    arena_free(a->arena);
    *a = (struct sync_answer){0};
}

static int keep_object(int rc, struct sync_answer *answer, struct api_object **ret,
                       struct error *err)
{
    if (rc == 0 && answer->object == NULL)
        rc = error_set(err, E_INVALID, "the answer holds no object of a known kind");
    if (rc == 0 && ret != NULL)
        *ret = take(answer->object);
    sync_answer_done(answer);
    return rc;
}

int sync_get(struct sync_client *s, const struct api_kind *kind, struct str namespace_name,
             struct str name, struct api_object **ret, struct error *err)
{
    struct client_call call = {
        .verb = CLIENT_GET, .kind = kind, .namespace_name = namespace_name, .name = name};
    struct sync_answer answer = {0};
    return keep_object(sync_call(s, &call, &answer, err), &answer, ret, err);
}

int sync_create(struct sync_client *s, const struct api_kind *kind, struct str namespace_name,
                const void *body, struct api_object **ret, struct error *err)
{
    struct client_call call = {
        .verb = CLIENT_CREATE, .kind = kind, .namespace_name = namespace_name, .body = body};
    struct sync_answer answer = {0};
    return keep_object(sync_call(s, &call, &answer, err), &answer, ret, err);
}
