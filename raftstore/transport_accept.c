/* transport_accept.c - incoming connections: the greeting, then messages. */
#include "raftstore/transport_internal.h"

#include "lib/base/env.h"
#include "lib/base/log.h"
#include "lib/base/metrics.h"
#include "raftstore/failpoint.h"

#include <inttypes.h>

#define HELLO_TIMEOUT_MS 10000
#define REFUSAL_QUIET_MS 60000

static void inbound_on_open(struct net_stream *s, void *arg);
static void inbound_on_read(struct net_stream *s, const uint8_t *data, size_t len, void *arg);
static void inbound_on_close(struct net_stream *s, const struct error *err, void *arg);

static const struct net_stream_handler inbound_handler = {
    .on_open = inbound_on_open,
    .on_read = inbound_on_read,
    .on_close = inbound_on_close,
};

void transport_on_accept(struct net_listener *listener, struct net_stream *s,
                         const struct net_stream_handler **ret_handler, void **ret_arg, void *arg)
{
    UNUSED(listener);
    struct transport *t = arg;
    struct inbound *in = xzalloc(sizeof(*in));
    in->t = t;
    in->stream = s;
    framer_init(&in->framer, TRANSPORT_GREETING_MAX);
    list_push_back(&t->inbounds, &in->node);
    *ret_handler = &inbound_handler;
    *ret_arg = in;
    if (t->closing)
        net_stream_close(s);
}

static void inbound_on_open(struct net_stream *s, void *arg)
{
    const struct inbound *in = arg;
    struct error err = {0};
    if (transport_check_identity(in->t, s, &err) < 0) {
        log_warning("refused a connection to the members' port: %s", error_message(&err));
        net_stream_close(s);
        return;
    }
    net_stream_set_timeout(s, HELLO_TIMEOUT_MS);
}

/* The protocol version to speak, 0 if there is none. */
static uint16_t choose_version(const struct transport_hello *h)
{
    uint16_t v = MIN_OF(h->version, (uint16_t)TRANSPORT_VERSION);
    return v >= h->version_min && v >= TRANSPORT_VERSION_MIN ? v : 0;
}

static enum transport_status judge_hello(struct transport *t, const struct transport_hello *h)
{
    if (choose_version(h) == 0)
        return TRANSPORT_BAD_VERSION;
    if (t->cluster_id != 0 && h->cluster_id != t->cluster_id)
        return TRANSPORT_CLUSTER;
    if ((t->id != 0 && h->to != t->id) || h->from == t->id)
        return TRANSPORT_ID;
    enum transport_status status =
        t->ops.on_hello != NULL ? t->ops.on_hello(t->arg, h) : TRANSPORT_OK;
    return t->id == 0 && status == TRANSPORT_OK ? TRANSPORT_RETRY : status;
}

/* A dialer that reconnects replaces its earlier connection, which may be dead
 * without either side knowing. */
static void drop_older(struct inbound *in)
{
    LIST_FOREACH (it, &in->t->inbounds) {
        struct inbound *other = LIST_ENTRY(it, struct inbound, node);
        if (other != in && other->peer == in->peer && other->channel == in->channel)
            net_stream_close(other->stream);
    }
}

static void answer(struct inbound *in, const struct transport_hello *h,
                   enum transport_status status)
{
    struct transport *t = in->t;
    struct transport_welcome w = {
        .version = choose_version(h),
        .status = (uint16_t)status,
        .cluster_id = t->cluster_id,
        .id = t->id,
        .instance = t->instance,
        .name = str_of(t->name),
        .format = t->format,
        .client_urls = str_of(t->client_urls),
    };
    AUTO_BUF bytes = BUF_INIT;
    uint8_t header[FRAME_HEADER_BYTES];
    transport_welcome_encode(&w, &bytes);
    frame_header(header, bytes.len);
    net_stream_write(in->stream, header, sizeof(header));
    net_stream_write(in->stream, bytes.data, bytes.len);
}

/* Logs a refusal, but not again every two seconds. */
static void log_refusal(struct transport *t, const struct transport_hello *h,
                        enum transport_status status)
{
    uint64_t now = env_now_ms(t->env);
    for (size_t i = 0; i < REFUSALS_NOTED; i++) {
        const struct refusal *r = &t->refusals[i];
        if (r->from == h->from && r->status == status && now - r->at_ms < REFUSAL_QUIET_MS)
            return;
    }
    t->refusals[t->next_refusal++ % REFUSALS_NOTED] = (struct refusal){h->from, now, status};
    log_warning("refused member %" PRIx64 " (" STR_FMT ") of cluster %" PRIx64
                ", which wants member %" PRIx64 " here: %s",
                h->from, STR_ARG(h->name), h->cluster_id, h->to, transport_status_text(status));
}

static bool on_hello(struct inbound *in, struct str frame)
{
    struct transport *t = in->t;
    struct transport_hello h;
    struct error err = {0};
    if (transport_hello_decode(frame, &h, &err) < 0) {
        log_warning("refused a connection from %s: %s", net_stream_remote(in->stream),
                    error_message(&err));
        return false;
    }
    if (failpoint_drops(FP_PEER_ACCEPT))
        return false;
    enum transport_status status = judge_hello(t, &h);
    answer(in, &h, status);
    if (status != TRANSPORT_OK) {
        if (status != TRANSPORT_RETRY)
            log_refusal(t, &h, status);
        in->refused = true;
        net_stream_close_soft(in->stream);
        return true;
    }
    net_stream_set_timeout(in->stream, 0);
    in->channel = h.channel;
    in->framer.frame_max = t->message_max;
    in->peer = remote_get(t, h.from);
    if (in->peer == NULL) /* We lag behind on the list of members: it says where it lives. */
        in->peer = remote_new(t, h.from, h.address);
    in->peer->inbound++;
    drop_older(in);
    return true;
}

static bool on_frame(void *arg, struct str frame)
{
    struct inbound *in = arg;
    struct transport *t = in->t;
    if (in->refused)
        return true;
    if (in->peer == NULL)
        return on_hello(in, frame);
    if (in->peer->received_bytes != NULL)
        metric_add(in->peer->received_bytes, (double)(frame.len + FRAME_HEADER_BYTES));
    if (in->peer->blocked || t->block_all || failpoint_drops(FP_PEER_RECEIVE))
        return true;
    if (t->ops.on_message(t->arg, in->peer->id, frame))
        return true;
    log_warning("member %" PRIx64 " sent a message that is none; its connection is cut",
                in->peer->id);
    return false;
}

static void inbound_on_read(struct net_stream *s, const uint8_t *data, size_t len, void *arg)
{
    struct inbound *in = arg;
    if (in->t->closing)
        return;
    if (!framer_feed(&in->framer, data, len, on_frame, in))
        net_stream_close(s);
}

static void inbound_on_close(struct net_stream *s, const struct error *err, void *arg)
{
    UNUSED(s);
    UNUSED(err);
    struct inbound *in = arg;
    struct transport *t = in->t;
    struct remote *p = in->peer;
    list_remove(&in->node);
    framer_done(&in->framer);
    free(in);
    if (p != NULL) {
        p->inbound--;
        remote_settle(p);
    } else {
        transport_settle(t);
    }
}
