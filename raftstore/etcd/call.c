/* call.c - calls: who asks, for how long, and how they end; see server_internal.h.
 *
 *   open --reply, fail, finish--------> ended
 *     \--cancel, deadline, no leader, stop--> on_gone -> ended
 *
 * The memory goes when the stream has ended and nobody holds the call. */
#include "raftstore/etcd/server_private.h"

#include "lib/base/arena.h"
#include "lib/base/metrics.h"
#include "lib/net/bytes.h"
#include "lib/net/http_server.h"
#include "lib/net/tls.h"

#include <string.h>

/* Answers that one connection does not take: beyond this only small ones are added. */
#define CONNECTION_PENDING_MAX ((size_t)64 << 20)
#define SMALL_ANSWER_BYTES 1024
#define CALLS_MAX 65536 /* Of a thread, at once. */

/* --- memory --- */

static struct etcd_call *call_new(struct etcd_thread *t, struct grpc_stream *s,
                                  struct etcd_binding *b)
{
    struct etcd_call *c = xzalloc(sizeof(*c));
    c->thread = t;
    c->stream = s;
    c->method = b->method;
    c->binding = b;
    c->refs = 1; /* The stream's. */
    c->deadline_ms = UINT64_MAX;
    list_init(&c->link);
    list_init(&c->read_link);
    c->started_ns = etcd_binding_started(b);
    atomic_store_explicit(&t->stat_calls, ++t->calls, memory_order_relaxed);
    return c;
}

struct etcd_call *etcd_call_hold(struct etcd_call *c)
{
    c->refs++;
    return c;
}

void etcd_call_release(struct etcd_call *c)
{
    ASSERT(c->refs > 0);
    if (--c->refs > 0)
        return;
    struct etcd_thread *t = c->thread;
    ASSERT(c->stream == NULL);
    if (c->pending_bytes > 0)
        atomic_fetch_sub(&t->server->pending_bytes, c->pending_bytes);
    auth_state_unref((struct auth_state *)(uintptr_t)c->caller.auth);
    free(c);
    atomic_store_explicit(&t->stat_calls, --t->calls, memory_order_relaxed);
    etcd_thread_check_stopped(t);
}

bool etcd_call_reserve(struct etcd_call *c, size_t bytes)
{
    atomic_uint_fast64_t *pending = &c->thread->server->pending_bytes;
    uint64_t before = atomic_fetch_add(pending, bytes);
    if (before + bytes > c->thread->server->config.pending_bytes_max) {
        atomic_fetch_sub(pending, bytes);
        return false;
    }
    c->pending_bytes += (uint32_t)bytes;
    return true;
}

struct arena *etcd_call_arena(struct etcd_call *c)
{
    ASSERT(c->stream != NULL);
    return grpc_stream_arena(c->stream);
}

/* --- the end --- */

/* The stream, for the last call on it; the call's own reference is still to be dropped. */
static struct grpc_stream *call_detach(struct etcd_call *c, enum grpc_status status)
{
    struct grpc_stream *s = c->stream;
    c->stream = NULL;
    list_remove(&c->link);
    if (heap_has(&c->by_deadline)) {
        heap_remove(&c->thread->deadlines, &c->by_deadline);
        etcd_thread_arm(c->thread);
    }
    etcd_binding_count(c->binding, status, c->started_ns);
    return s;
}

bool etcd_call_may_queue(const struct etcd_call *c, size_t bytes)
{
    return c->stream == NULL || bytes <= SMALL_ANSWER_BYTES ||
           http_response_connection_pending(grpc_stream_request(c->stream)) <=
               CONNECTION_PENDING_MAX;
}

void etcd_call_reply(struct etcd_call *c, struct net_bytes *message)
{
    if (!etcd_call_may_queue(c, message->len)) {
        etcd_call_fail(c, &etcd_err_too_many_requests);
    } else if (c->stream != NULL) {
        etcd_binding_sent(c->binding, message->len);
        grpc_stream_reply(call_detach(c, GRPC_OK), message);
        etcd_call_release(c);
    }
    net_bytes_unref(message);
}

void etcd_call_reply_proto(struct etcd_call *c, const ProtobufCMessage *message)
{
    if (c->stream != NULL)
        etcd_call_reply(c, proto_pack(message));
}

void etcd_call_fail_text(struct etcd_call *c, enum grpc_status status, const char *text)
{
    if (c->stream == NULL)
        return;
    grpc_stream_finish(call_detach(c, status), status, text);
    etcd_call_release(c);
}

void etcd_call_fail(struct etcd_call *c, const struct etcd_fault *f)
{
    etcd_call_fail_text(c, f->status, f->text);
}

void etcd_call_fail_code(struct etcd_call *c, int code)
{
    etcd_call_fail(c, etcd_fault_of_code(code));
}

void etcd_call_finish(struct etcd_call *c)
{
    etcd_call_fail_text(c, GRPC_OK, NULL);
}

void etcd_call_end_from_outside(struct etcd_call *c, const struct etcd_fault *f)
{
    if (c->stream == NULL)
        return;
    etcd_call_hold(c);
    etcd_call_fail(c, f);
    if (c->method->on_gone != NULL)
        c->method->on_gone(c);
    etcd_call_release(c);
}

/* --- streamed answers --- */

void etcd_call_send(struct etcd_call *c, struct net_bytes *message)
{
    if (c->stream != NULL) {
        etcd_binding_sent(c->binding, message->len);
        grpc_stream_send(c->stream, message);
    }
    net_bytes_unref(message);
}

void etcd_call_count_sent(struct etcd_call *c, size_t bytes)
{
    etcd_binding_sent(c->binding, bytes);
}

void etcd_call_send_proto(struct etcd_call *c, const ProtobufCMessage *message)
{
    if (c->stream != NULL)
        etcd_call_send(c, proto_pack(message));
}

size_t etcd_call_pending(const struct etcd_call *c)
{
    return c->stream != NULL ? grpc_stream_pending(c->stream) : 0;
}

static void on_drain(struct grpc_stream *s, void *arg)
{
    UNUSED(s);
    struct etcd_call *c = arg;
    if (c->stream != NULL && c->on_drain != NULL)
        c->on_drain(c);
}

void etcd_call_on_drain(struct etcd_call *c, size_t low_bytes, void (*cb)(struct etcd_call *c))
{
    if (c->stream == NULL)
        return;
    c->on_drain = cb;
    grpc_stream_on_drain(c->stream, low_bytes, on_drain, c);
}

/* --- the request --- */

ProtobufCMessage *etcd_call_unpack(struct etcd_call *c, const ProtobufCMessageDescriptor *d,
                                   struct str message)
{
    ProtobufCMessage *ret;
    if (c->stream == NULL)
        return NULL;
    if (proto_unpack(etcd_call_arena(c), d, message, &ret, NULL) == 0)
        return ret;
    etcd_call_fail_text(c, GRPC_INTERNAL, "grpc: error unmarshalling request: unexpected EOF");
    return NULL;
}

struct str etcd_call_metadata(const struct etcd_call *c, const char *name)
{
    if (c->stream == NULL)
        return STR_NULL;
    return http_request_header(grpc_stream_request(c->stream), name);
}

/* The name in a verified client certificate counts only when certificates are asked for. */
static struct str common_name(const struct etcd_call *c)
{
    const struct tls_peer *peer = grpc_stream_request(c->stream)->peer;
    if (peer == NULL || !peer->verified || !c->thread->server->config.client_cert_auth)
        return STR_NULL;
    return peer->common_name;
}

const struct etcd_fault *etcd_call_identify(struct etcd_call *c)
{
    if (c->stream == NULL)
        return &etcd_err_canceled;
    struct store_view *v = store_view(etcd_thread_store(c->thread));
    const struct auth_state *a = auth_state_ref(store_view_auth(v));
    store_view_unref(v);
    auth_state_unref((struct auth_state *)(uintptr_t)c->caller.auth);
    c->caller = (struct etcd_caller){.auth = a};
    if (!auth_enabled(a) || (c->method->flags & ETCD_NO_AUTH) != 0)
        return NULL;
    struct str token = etcd_call_metadata(c, "token");
    if (token.data == NULL)
        token = etcd_call_metadata(c, "authorization");
    return etcd_caller_find(etcd_thread_tokens(c->thread), a, token, common_name(c),
                            etcd_call_arena(c), &c->caller);
}

static bool is_learner(const struct store_status *s)
{
    return !s->is_voter && !s->removed && s->has_leader;
}

bool etcd_thread_is_learner(const struct etcd_thread *t)
{
    struct store_status status;
    store_status(etcd_thread_store(t), &status);
    return is_learner(&status);
}

/* Who may not go on at all; NULL: go on. */
static const struct etcd_fault *call_admit(struct etcd_call *c)
{
    if (c->thread->stopping)
        return &etcd_err_stopped;
    if (c->thread->calls > CALLS_MAX || !etcd_call_may_queue(c, SIZE_MAX))
        return &etcd_err_too_many_requests;
    c->needs_leader = str_eq(etcd_call_metadata(c, "hasleader"), STR("true"));
    if (!c->needs_leader && (c->method->flags & ETCD_LEARNER) != 0)
        return etcd_call_identify(c);
    struct store_status status;
    store_status(etcd_thread_store(c->thread), &status);
    if (c->needs_leader && !status.has_leader)
        return &etcd_err_no_leader;
    if ((c->method->flags & ETCD_LEARNER) == 0 && is_learner(&status))
        return &etcd_err_not_supported_for_learner;
    return etcd_call_identify(c);
}

static void on_cancel(struct grpc_stream *s, void *arg)
{
    UNUSED(s);
    etcd_call_end_from_outside(arg, &etcd_err_canceled);
}

void etcd_call_end_within(struct etcd_call *c, uint64_t ms)
{
    uint64_t at = etcd_thread_now(c->thread) + MIN_OF(ms, UINT64_C(1) << 40);
    if (c->stream == NULL || at >= c->deadline_ms)
        return;
    c->deadline_ms = at;
    if (heap_has(&c->by_deadline))
        heap_update(&c->thread->deadlines, &c->by_deadline);
    else
        heap_push(&c->thread->deadlines, &c->by_deadline);
    etcd_thread_arm(c->thread);
}

static void call_set_deadline(struct etcd_call *c)
{
    uint64_t ms = grpc_stream_timeout_ms(c->stream);
    if (ms > 0)
        etcd_call_end_within(c, ms);
}

/* --- what gRPC tells --- */

void etcd_on_unary(struct grpc_stream *s, struct str message, void *arg)
{
    struct etcd_binding *b = arg;
    struct etcd_call *c = call_new(b->thread, s, b);
    etcd_binding_received(b, message.len);
    grpc_stream_on_cancel(s, on_cancel, c);
    if ((c->method->flags & ETCD_WAITS) != 0)
        list_push_back(&c->thread->streams, &c->link);
    const struct etcd_fault *fault = call_admit(c);
    if (fault != NULL) {
        etcd_call_fail(c, fault);
        return;
    }
    call_set_deadline(c);
    c->method->on_call(c, message);
}

void etcd_on_open(struct grpc_stream *s, void *arg)
{
    struct etcd_binding *b = arg;
    struct etcd_call *c = call_new(b->thread, s, b);
    grpc_stream_set_user(s, c);
    grpc_stream_on_cancel(s, on_cancel, c);
    list_push_back(&c->thread->streams, &c->link);
    const struct etcd_fault *fault = call_admit(c);
    if (fault != NULL) {
        etcd_call_fail(c, fault);
        return;
    }
    call_set_deadline(c);
    if (c->needs_leader)
        etcd_thread_arm(c->thread);
    c->method->on_open(c);
}

/* gRPC gives no more messages once the stream is finished. */
void etcd_on_message(struct grpc_stream *s, struct str message, void *arg)
{
    UNUSED(arg);
    struct etcd_call *c = grpc_stream_user(s);
    etcd_call_hold(c);
    etcd_binding_received(c->binding, message.len);
    if (c->method->on_message != NULL)
        c->method->on_message(c, message);
    etcd_call_release(c);
}

void etcd_on_half_close(struct grpc_stream *s, void *arg)
{
    UNUSED(arg);
    struct etcd_call *c = grpc_stream_user(s);
    if (c->method->on_half_close != NULL)
        c->method->on_half_close(c);
}
