/* plugin_rpc.c - see plugin_rpc.h. */
#include "kubelet/plugin_rpc.h"

#include "lib/base/arena.h"
#include "lib/net/bytes.h"
#include "lib/net/grpc.h"
#include "lib/net/http_client.h"
#include "lib/net/proto.h"

struct plugin_client {
    struct http_client *http;
    struct http_header metadata;
    size_t metadata_count;
};

struct plugin_call_state {
    const ProtobufCMessageDescriptor *response;
    struct arena *arena;
    ProtobufCMessage *msg;
    int decode_code;
    struct error err;
    void (*done)(const struct plugin_reply *reply, void *arg);
    void *arg;
};

int plugin_client_new(struct uv_loop_s *loop, const char *socket, struct plugin_client **ret,
                      struct error *err)
{
    struct plugin_client *c = xzalloc(sizeof(*c));
    int rc = grpc_socket_client_new(loop, socket, "trireme-kubelet", &c->http, err);
    if (rc != 0) {
        free(c);
        return error_prefix(err, "plugin socket %s", socket);
    }
    *ret = c;
    return 0;
}

void plugin_client_set_metadata(struct plugin_client *c, const char *name, const char *value)
{
    c->metadata = (struct http_header){str_of(name), str_of(value)};
    c->metadata_count = 1;
}

static void on_closed(void *arg)
{
    free(arg);
}

void plugin_client_close(struct plugin_client *c)
{
    if (c != NULL)
        http_client_close(c->http, on_closed, c);
}

static void on_message(struct grpc_call *grpc, struct str message, void *arg)
{
    struct plugin_call_state *s = arg;
    UNUSED(grpc);
    s->decode_code = proto_unpack(s->arena, s->response, message, &s->msg, &s->err);
}

static void on_end(struct grpc_call *grpc, enum grpc_status status, struct str message, void *arg)
{
    struct plugin_call_state *s = arg;
    UNUSED(grpc);
    struct plugin_reply reply = {.message = ""};
    if (status != GRPC_OK) {
        reply.code = grpc_status_to_error(status);
        reply.message = str_c(arena_printf(s->arena, "rpc error: code = %s desc = " STR_FMT,
                                           grpc_status_text(status), STR_ARG(message)));
    } else if (s->decode_code != 0) {
        reply.code = s->decode_code;
        reply.message = error_message(&s->err);
    } else if (s->msg == NULL) {
        /* A response without fields may come as no message at all. */
        s->msg = arena_zalloc(s->arena, s->response->sizeof_message);
        protobuf_c_message_init(s->response, s->msg);
    }
    reply.msg = s->msg;
    s->done(&reply, s->arg);
    arena_free(s->arena);
    free(s);
}

void plugin_call(struct plugin_client *c, const char *method, const void *request,
                 const ProtobufCMessageDescriptor *response,
                 void (*done)(const struct plugin_reply *reply, void *arg), void *arg)
{
    struct plugin_call_state *s = xzalloc(sizeof(*s));
    struct net_bytes *body = proto_pack(request);
    struct grpc_call_config config = {.method = method,
                                      .metadata = &c->metadata,
                                      .metadata_count = c->metadata_count,
                                      .request = body,
                                      .timeout_ms = PLUGIN_TIMEOUT_MS,
                                      .on_message = on_message,
                                      .on_end = on_end,
                                      .arg = s};
    s->response = response;
    s->arena = arena_new(0);
    s->done = done;
    s->arg = arg;
    /* Fails for malformed configurations only, which would be our bug. */
    struct error err;
    if (grpc_call_start(c->http, &config, NULL, &err) != 0)
        PANIC("%s: %s", method, error_message(&err));
    net_bytes_unref(body);
}

/* --- streams -------------------------------------------------------------------------------- */

struct watch_state {
    struct plugin_watch_config config;
    struct error err; /* A malformed message, which ended it. */
};

static void on_watch_message(struct grpc_call *grpc, struct str message, void *arg)
{
    struct watch_state *s = arg;
    AUTO_ARENA *a = arena_new(0);
    ProtobufCMessage *msg;
    if (s->err.code != 0)
        return;
    if (proto_unpack(a, s->config.response, message, &msg, &s->err) == 0)
        s->config.on_message(msg, s->config.arg);
    else
        grpc_call_cancel(grpc);
}

static void on_watch_end(struct grpc_call *grpc, enum grpc_status status, struct str message,
                         void *arg)
{
    struct watch_state *s = arg;
    AUTO_ARENA *a = arena_new(0);
    struct plugin_reply reply = {.message = ""};
    UNUSED(grpc);
    if (s->err.code != 0) {
        reply.code = s->err.code;
        reply.message = error_message(&s->err);
    } else if (status != GRPC_OK) {
        reply.code = grpc_status_to_error(status);
        reply.message = str_c(arena_printf(a, "rpc error: code = %s desc = " STR_FMT,
                                           grpc_status_text(status), STR_ARG(message)));
    }
    s->config.on_end(&reply, s->config.arg);
    free(s);
}

void plugin_watch(struct plugin_client *c, const struct plugin_watch_config *config)
{
    struct watch_state *s = xzalloc(sizeof(*s));
    struct net_bytes *body = proto_pack(config->request);
    struct grpc_call_config call = {.method = config->method,
                                    .request = body,
                                    .on_message = on_watch_message,
                                    .on_end = on_watch_end,
                                    .arg = s};
    struct error err;
    s->config = *config;
    if (grpc_call_start(c->http, &call, NULL, &err) != 0)
        PANIC("%s: %s", config->method, error_message(&err));
    net_bytes_unref(body);
}
