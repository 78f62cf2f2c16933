/* etcd_rig.h - a store, its etcd server on a port the system picks, and a gRPC client on
 * the test's own loop, driven synchronously. */
#ifndef TEST_ETCD_RIG_H
#define TEST_ETCD_RIG_H

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/net/bytes.h"
#include "lib/net/grpc.h"
#include "lib/net/http_client.h"
#include "lib/net/proto.h"
#include "raftstore/etcd/server.h"
#include "test/unit/raftstore/store_rig.h"
#include "test/unit/unit.h"

#include "etcd/rpc.pb-c.h"

/* The generated names are long. */
#define PB(name) Etcdserverpb__##name
#define BYTES(s) ((ProtobufCBinaryData){strlen(s), (uint8_t *)(uintptr_t)(s)})

struct etcd_rig {
    struct rig rig;
    struct etcd_server_config config; /* Set before er_begin(). */
    struct etcd_server *server;
    struct http_client *client;
    struct arena *arena; /* Of all answers. */
    const char *token;   /* Sent with calls when set. */
    const char *has_leader;
    uint64_t timeout_ms;
    bool client_closed;
};

static inline void er_serve(struct etcd_rig *r)
{
    struct error err = {0};
    const char *url = "http://127.0.0.1:0";
    struct etcd_server_config c = r->config;
    c.store = r->rig.stores[0];
    c.listen_urls = &url;
    c.listen_url_count = 1;
    if (c.threads == 0)
        c.threads = 2;
    if (etcd_server_start(&c, &r->server, &err) != 0)
        PANIC("etcd server: %s", error_message(&err));
    char *endpoint = xasprintf("127.0.0.1:%d", etcd_server_port(r->server));
    const struct http_client_config client = {.endpoints = (const char *const *)&endpoint,
                                              .endpoint_count = 1,
                                              .protocol = HTTP_CLIENT_H2};
    if (http_client_new(&r->rig.loop, &client, &r->client, &err) != 0)
        PANIC("client: %s", error_message(&err));
    free(endpoint);
}

/* One member, leading. */
static inline void er_begin(struct etcd_rig *r)
{
    rig_init(&r->rig, 0);
    rig_start(&r->rig, 0);
    if (rig_leader(&r->rig) != 0)
        PANIC("no leader");
    r->arena = arena_new(0);
    er_serve(r);
}

static inline void er_on_client_closed(void *arg)
{
    *(bool *)arg = true;
}

static inline void er_end(struct etcd_rig *r)
{
    http_client_close(r->client, er_on_client_closed, &r->client_closed);
    rig_wait(&r->rig, &r->client_closed, 10000);
    etcd_server_stop(r->server);
    arena_free(r->arena);
    rig_done(&r->rig);
}

/* --- calls --- */

struct er_answer {
    bool done;
    enum grpc_status status;
    char text[256];
    size_t messages;
    struct buf bytes; /* The last message. */
    const ProtobufCMessage *message;
    /* Streams. */
    struct grpc_call *call;
    struct buf queue; /* Messages that were not asked for yet, each behind its length. */
    bool paused;
};

static inline void er_on_message(struct grpc_call *call, struct str message, void *arg)
{
    struct er_answer *a = arg;
    UNUSED(call);
    a->messages++;
    buf_put_le32(&a->queue, (uint32_t)message.len);
    buf_append_str(&a->queue, message);
}

static inline void er_on_end(struct grpc_call *call, enum grpc_status status, struct str message,
                             void *arg)
{
    struct er_answer *a = arg;
    UNUSED(call);
    a->done = true;
    a->call = NULL;
    a->status = status;
    snprintf(a->text, sizeof(a->text), STR_FMT, STR_ARG(message));
}

/* Takes the oldest message of the queue into a->bytes. */
static inline bool er_take(struct er_answer *a)
{
    if (a->queue.len < 4)
        return false;
    const uint8_t *p = a->queue.data;
    size_t len = (size_t)p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
    buf_clear(&a->bytes);
    buf_append(&a->bytes, p + 4, len);
    buf_consume(&a->queue, 4 + len);
    return true;
}

static inline struct er_answer *er_start(struct etcd_rig *r, const char *method, struct str request,
                                         bool streaming)
{
    struct er_answer *a = xzalloc(sizeof(*a));
    struct http_header metadata[2];
    size_t count = 0;
    struct error err = {0};
    if (r->token != NULL)
        metadata[count++] = (struct http_header){STR("token"), str_of(r->token)};
    if (r->has_leader != NULL)
        metadata[count++] = (struct http_header){STR("hasleader"), str_of(r->has_leader)};
    struct net_bytes *b = request.data != NULL ? net_bytes_copy(request.data, request.len) : NULL;
    const struct grpc_call_config config = {
        .method = method,
        .metadata = metadata,
        .metadata_count = count,
        .request = b,
        .client_streaming = streaming,
        .timeout_ms = r->timeout_ms,
        .message_max = (size_t)1 << 30,
        .on_message = er_on_message,
        .on_end = er_on_end,
        .arg = a,
    };
    if (grpc_call_start(r->client, &config, &a->call, &err) != 0)
        PANIC("call: %s", error_message(&err));
    net_bytes_unref(b);
    return a;
}

static inline void er_free(struct er_answer *a)
{
    buf_done(&a->bytes);
    buf_done(&a->queue);
    free(a);
}

/* A unary call with bytes as they are. */
static inline struct er_answer er_call_bytes(struct etcd_rig *r, const char *method, struct str in)
{
    struct er_answer *a = er_start(r, method, in.data != NULL ? in : STR(""), false);
    if (!rig_wait(&r->rig, &a->done, 30000))
        PANIC("%s: no answer within 30 s", method);
    er_take(a);
    struct er_answer ret = *a;
    ret.bytes = BUF_INIT;
    struct str copy = arena_str(r->arena, buf_str(&a->bytes));
    ret.bytes.data = (uint8_t *)(uintptr_t)copy.data;
    ret.bytes.len = copy.len;
    ret.queue = BUF_INIT;
    er_free(a);
    return ret;
}

static inline struct er_answer er_call(struct etcd_rig *r, const char *method,
                                       const ProtobufCMessage *request,
                                       const ProtobufCMessageDescriptor *response)
{
    struct net_bytes *b = proto_pack(request);
    struct er_answer a = er_call_bytes(r, method, net_bytes_str(b));
    net_bytes_unref(b);
    ProtobufCMessage *m = NULL;
    struct error err = {0};
    if (a.status == GRPC_OK && proto_unpack(r->arena, response, buf_str(&a.bytes), &m, &err) != 0)
        PANIC("%s: malformed answer", method);
    a.message = m;
    return a;
}

/* The answer must be good. */
static inline const ProtobufCMessage *er_must(struct etcd_rig *r, const char *method,
                                              const ProtobufCMessage *request,
                                              const ProtobufCMessageDescriptor *response)
{
    struct er_answer a = er_call(r, method, request, response);
    if (a.status != GRPC_OK)
        PANIC("%s: %s %s", method, grpc_status_text(a.status), a.text);
    return a.message;
}

/* KV.Range: ER_CALL(r, "KV/Range", &q, range_response) gives a PB(RangeResponse) *. */
#define ER_MUST(r, method, q, response, type)                                                      \
    ((const PB(type) *)er_must((r), "/etcdserverpb." method, &(q)->base,                           \
                               &etcdserverpb__##response##__descriptor))
#define ER_CALL(r, method, q, response)                                                            \
    er_call((r), "/etcdserverpb." method, &(q)->base, &etcdserverpb__##response##__descriptor)

static inline int64_t er_put(struct etcd_rig *r, const char *key, const char *value)
{
    PB(PutRequest) q = ETCDSERVERPB__PUT_REQUEST__INIT;
    q.key = BYTES(key);
    q.value = BYTES(value);
    return ER_MUST(r, "KV/Put", &q, put_response, PutResponse)->header->revision;
}

/* --- streams --- */

static inline struct er_answer *er_open(struct etcd_rig *r, const char *method)
{
    return er_start(r, method, STR_NULL, true);
}

static inline void er_send(struct er_answer *a, const ProtobufCMessage *request)
{
    struct net_bytes *b = proto_pack(request);
    grpc_call_send(a->call, b);
    net_bytes_unref(b);
}

/* The next message, or NULL: the stream ended, or nothing came within ms. */
static inline const ProtobufCMessage *er_next_within(struct etcd_rig *r, struct er_answer *a,
                                                     const ProtobufCMessageDescriptor *d,
                                                     uint64_t ms)
{
    uint64_t end = env_now_ms(env_system()) + ms;
    while (!er_take(a)) {
        if (a->done || env_now_ms(env_system()) >= end)
            return NULL;
        rig_sleep(&r->rig, 2);
    }
    ProtobufCMessage *m = NULL;
    struct error err = {0};
    if (proto_unpack(r->arena, d, buf_str(&a->bytes), &m, &err) != 0)
        PANIC("malformed message");
    return m;
}

static inline void er_close(struct etcd_rig *r, struct er_answer *a)
{
    if (!a->done) {
        grpc_call_cancel(a->call);
        rig_wait(&r->rig, &a->done, 10000);
    }
    er_free(a);
}

#endif
