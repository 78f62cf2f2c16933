/* cri.c - see cri.h. */
#include "kubelet/cri.h"

#include "lib/base/arena.h"
#include "lib/net/bytes.h"
#include "lib/net/http_client.h"
#include "lib/net/proto.h"

#include <string.h>
#include <sys/un.h>
#include <uv.h>

struct cri {
    struct http_client *http;
};

struct cri_call {
    struct cri *cri;
    enum cri_method method;
    struct grpc_call *grpc;
    struct arena *arena;
    const void *msg;
    int decode_code;
    struct error err;
    bool canceled;
    uint64_t begin_ns;
    void (*on_message)(const void *msg, void *arg);
    void (*done)(const struct cri_reply *reply, void *arg);
    void *arg;
};

static const struct {
    const char *path;
    const ProtobufCMessageDescriptor *response;
} methods[] = {
#define X(constant, path, response) {"/runtime.v1." path, &runtime__v1__##response##__descriptor},
    CRI_METHODS(X)
#undef X
};

void *cri_new_message(struct arena *a, const ProtobufCMessageDescriptor *d)
{
    ProtobufCMessage *m = arena_zalloc(a, d->sizeof_message);
    protobuf_c_message_init(d, m);
    return m;
}

bool cri_endpoint_ok(const char *endpoint)
{
    struct sockaddr_un address;
    if (strncmp(endpoint, "unix:", 5) == 0)
        endpoint += strncmp(endpoint, "unix://", 7) == 0 ? 7 : 5;
    return endpoint[0] == '/' && strlen(endpoint) < sizeof(address.sun_path);
}

int cri_new(struct uv_loop_s *loop, const char *endpoint, struct cri **ret, struct error *err)
{
    /* "unix:///path" and "unix:/path" name the same socket. */
    if (strncmp(endpoint, "unix://", 7) == 0)
        endpoint += 7;
    struct cri *c = xzalloc(sizeof(*c));
    int rc = grpc_socket_client_new(loop, endpoint, "trireme-kubelet", &c->http, err);
    if (rc != 0) {
        free(c);
        return error_prefix(err, "--container-runtime-endpoint %s", endpoint);
    }
    *ret = c;
    return 0;
}

struct cri_closing {
    struct cri *cri;
    void (*on_closed)(void *arg);
    void *arg;
};

static void on_http_closed(void *arg)
{
    struct cri_closing *closing = arg;
    free(closing->cri);
    if (closing->on_closed != NULL)
        closing->on_closed(closing->arg);
    free(closing);
}

void cri_close(struct cri *c, void (*on_closed)(void *arg), void *arg)
{
    struct cri_closing *closing = xzalloc(sizeof(*closing));
    *closing = (struct cri_closing){c, on_closed, arg};
    http_client_close(c->http, on_http_closed, closing);
}

static void on_grpc_message(struct grpc_call *grpc, struct str message, void *arg)
{
    struct cri_call *call = arg;
    UNUSED(grpc);
    ProtobufCMessage *msg = NULL;
    if (call->on_message != NULL) {
        struct arena *a = arena_new(0);
        if (proto_unpack(a, methods[call->method].response, message, &msg, NULL) == 0)
            call->on_message(msg, call->arg);
        arena_free(a);
        return;
    }
    call->decode_code =
        proto_unpack(call->arena, methods[call->method].response, message, &msg, &call->err);
    call->msg = msg;
}

static void on_grpc_end(struct grpc_call *grpc, enum grpc_status status, struct str message,
                        void *arg)
{
    struct cri_call *call = arg;
    UNUSED(grpc);
    struct cri_reply reply = {.status = status,
                              .arena = call->arena,
                              .message = "",
                              .took_ns = uv_hrtime() - call->begin_ns};
    if (status != GRPC_OK) {
        reply.code = call->canceled ? E_CANCELED : grpc_status_to_error(status);
        reply.message = str_c(arena_printf(call->arena, "rpc error: code = %s desc = " STR_FMT,
                                           grpc_status_text(status), STR_ARG(message)));
    } else if (call->decode_code != 0) {
        reply.code = call->decode_code;
        reply.message = error_message(&call->err);
    } else if (call->msg == NULL && call->on_message == NULL) {
        /* A response without fields may come as no message at all. */
        call->msg = cri_new_message(call->arena, methods[call->method].response);
    }
    reply.msg = call->msg;
    call->done(&reply, call->arg);
    arena_free(call->arena);
    free(call);
}

static struct cri_call *start(struct cri *c, enum cri_method method, const void *request,
                              uint64_t timeout_ms, struct cri_call *call)
{
    struct net_bytes *body = proto_pack(request);
    struct grpc_call_config config = {
        .method = methods[method].path,
        .request = body,
        .timeout_ms = timeout_ms,
        .on_message = on_grpc_message,
        .on_end = on_grpc_end,
        .arg = call,
    };
    call->cri = c;
    call->method = method;
    call->arena = arena_new(0);
    call->begin_ns = uv_hrtime();
    /* Fails for malformed configurations only, which would be our bug. */
    struct error err;
    if (grpc_call_start(c->http, &config, &call->grpc, &err) != 0)
        PANIC("%s: %s", methods[method].path, error_message(&err));
    net_bytes_unref(body);
    return call;
}

struct cri_call *cri_call(struct cri *c, enum cri_method method, const void *request,
                          uint64_t timeout_ms,
                          void (*done)(const struct cri_reply *reply, void *arg), void *arg)
{
    struct cri_call *call = xzalloc(sizeof(*call));
    call->done = done;
    call->arg = arg;
    return start(c, method, request, timeout_ms, call);
}

struct cri_call *cri_stream(struct cri *c, enum cri_method method, const void *request,
                            void (*on_message)(const void *msg, void *arg),
                            void (*done)(const struct cri_reply *reply, void *arg), void *arg)
{
    struct cri_call *call = xzalloc(sizeof(*call));
    call->on_message = on_message;
    call->done = done;
    call->arg = arg;
    return start(c, method, request, 0, call);
}

void cri_call_cancel(struct cri_call *call)
{
    call->canceled = true;
    grpc_call_cancel(call->grpc);
}

/* Every entry message of a map<string, string> has this layout. */
typedef CRI(ContainerConfig__LabelsEntry) cri_entry;

const char *cri_map_get(const void *entries, size_t count, const char *key)
{
    cri_entry *const *e = entries;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(e[i]->key, key) == 0)
            return e[i]->value;
    }
    return NULL;
}

void cri_map_add(struct arena *a, const ProtobufCMessageDescriptor *entry_descriptor, void *entries,
                 size_t *count, struct str key, struct str value)
{
    cri_entry ***list = entries;
    cri_entry **grown = ARENA_ARRAY(a, cri_entry *, *count + 1);
    if (*count > 0)
        memcpy(grown, *list, *count * sizeof(*grown));
    cri_entry *e = cri_new_message(a, entry_descriptor);
    e->key = (char *)(uintptr_t)str_c(arena_str(a, key));
    e->value = (char *)(uintptr_t)str_c(arena_str(a, value));
    grown[(*count)++] = e;
    *list = grown;
}
