/* transport_dial.c - outgoing connections: dialing, greeting, sending, backing off. */
#include "raftstore/transport_internal.h"

#include "lib/base/env.h"
#include "lib/base/log.h"
#include "lib/base/metrics.h"
#include "lib/net/bytes.h"
#include "raftstore/failpoint.h"

#include <inttypes.h>

#define DIAL_TIMEOUT_MS 5000
#define GREETING_TIMEOUT_MS 5000
#define BACKOFF_MIN_MS 20
#define BACKOFF_MAX_MS 2000
#define ROUND_TRIP_MS 5000
#define BULK_IDLE_MS 30000
#define EARLY_BYTES_MAX (1u << 20)

static void link_on_open(struct net_stream *s, void *arg);
static void link_on_read(struct net_stream *s, const uint8_t *data, size_t len, void *arg);
static void link_on_timeout(struct net_stream *s, void *arg);
static void link_on_close(struct net_stream *s, const struct error *err, void *arg);

static const struct net_stream_handler link_handler = {
    .on_open = link_on_open,
    .on_read = link_on_read,
    .on_timeout = link_on_timeout,
    .on_close = link_on_close,
};

void link_init(struct link *l, struct remote *p, enum transport_channel channel)
{
    l->peer = p;
    l->channel = channel;
    framer_init(&l->framer, TRANSPORT_GREETING_MAX);
    l->early = BUF_INIT;
    uv_timer_init(p->t->loop, &l->timer);
    l->timer_open = true;
}

static void on_redial(uv_timer_t *timer)
{
    struct link *l = CONTAINER_OF(timer, struct link, timer);
    l->state = LINK_IDLE;
    link_dial(l);
}

/* The connection is gone: try again later, later each time, at a random moment
 * so that members that start together do not stay in step. */
static void link_wait(struct link *l)
{
    struct transport *t = l->peer->t;
    buf_clear(&l->early);
    if (l->peer->closing)
        return;
    if (l->channel == TRANSPORT_BULK) { /* Dialed when there is something to send. */
        l->state = LINK_IDLE;
        return;
    }
    l->state = LINK_WAITING;
    l->backoff_ms =
        l->backoff_ms == 0 ? BACKOFF_MIN_MS : MIN_OF(l->backoff_ms * 2, (uint64_t)BACKOFF_MAX_MS);
    uint64_t ms = l->backoff_ms / 2 + env_random_below(t->env, l->backoff_ms);
    uv_timer_start(&l->timer, on_redial, ms, 0);
}

static void log_down(struct link *l, const char *why)
{
    if (!l->logged_down && l->channel == TRANSPORT_CONTROL)
        log_warning("no connection to member %" PRIx64 " at %s: %s", l->peer->id, l->peer->address,
                    why);
    l->logged_down = true;
}

void link_dial(struct link *l)
{
    struct transport *t = l->peer->t;
    if (l->state != LINK_IDLE || t->closing || l->peer->closing || t->id == 0)
        return;
    struct net_connect_config config = {
        .endpoint = l->peer->address,
        .tls = t->tls_client,
        .timeout_ms = DIAL_TIMEOUT_MS,
    };
    struct error err = {0};
    int rc = 0;
    if (t->tls_client == NULL && !t->plain && !transport_address_is_local(l->peer->address))
        rc = error_set(&err, E_INVALID, "not a loopback address, and there is no TLS");
    else if (t->tls_client != NULL && transport_address_is_unix(l->peer->address))
        config.server_name = "localhost"; /* A unix socket has no name of its own. */
    if (rc == 0 && failpoint(FP_PEER_DIAL) < 0)
        rc = error_set(&err, E_IO, "%s", failpoint_name(FP_PEER_DIAL));
    if (rc == 0)
        rc = net_stream_connect(t->loop, &config, &link_handler, l, &l->stream, &err);
    if (rc < 0) {
        log_down(l, error_message(&err));
        link_wait(l);
        return;
    }
    l->state = LINK_DIALING;
}

/* A connection that works stays: the list may be ahead of the move. The next one
 * goes to the new address, at once when the old one was being tried. */
void link_moved(struct link *l)
{
    l->backoff_ms = 0;
    l->logged_down = false;
    if (l->state == LINK_DIALING || l->state == LINK_GREETING) {
        net_stream_close(l->stream);
    } else if (l->state == LINK_WAITING && l->stream == NULL) {
        uv_timer_stop(&l->timer);
        l->state = LINK_IDLE;
        link_dial(l);
    }
}

static void link_on_open(struct net_stream *s, void *arg)
{
    struct link *l = arg;
    struct transport *t = l->peer->t;
    struct error err = {0};
    if (transport_check_identity(t, s, &err) < 0) {
        log_down(l, error_message(&err));
        net_stream_close(s);
        return;
    }
    struct transport_hello h = {
        .version_min = TRANSPORT_VERSION_MIN,
        .version = TRANSPORT_VERSION,
        .channel = (uint8_t)l->channel,
        .cluster_id = t->cluster_id,
        .from = t->id,
        .to = l->peer->id,
        .instance = t->instance,
        .name = str_of(t->name),
        .address = str_of(t->address),
        .format = t->format,
        .client_urls = str_of(t->client_urls),
    };
    AUTO_BUF bytes = BUF_INIT;
    uint8_t header[FRAME_HEADER_BYTES];
    transport_hello_encode(&h, &bytes);
    frame_header(header, bytes.len);
    net_stream_write(s, header, sizeof(header));
    net_stream_write(s, bytes.data, bytes.len);
    net_stream_set_timeout(s, GREETING_TIMEOUT_MS);
    l->state = LINK_GREETING;
}

static void show_active(struct remote *p, bool active)
{
    struct metrics *m = p->t->metrics;
    char local[20], remote[20];
    if (m == NULL || (p->active == NULL && !active))
        return;
    snprintf(local, sizeof(local), "%" PRIx64, p->t->id);
    snprintf(remote, sizeof(remote), "%" PRIx64, p->id);
    if (p->active == NULL)
        p->active = METRIC_OF(metric_gauge(m, "etcd_network_active_peers",
                                           "The current number of active peer connections.",
                                           METRIC_LABELS("Local", "Remote")),
                              str_of(local), str_of(remote));
    metric_set(p->active, active);
}

static void link_up(struct link *l)
{
    struct transport *t = l->peer->t;
    l->state = LINK_UP;
    l->backoff_ms = 0;
    l->written = l->early.len;
    l->gone = 0;
    l->gone_at_ms = env_now_ms(t->env);
    if (l->channel == TRANSPORT_CONTROL) {
        log_info("connected to member %" PRIx64 " at %s", l->peer->id, l->peer->address);
        show_active(l->peer, true);
    }
    l->logged_down = false;
    if (l->early.len > 0)
        net_stream_write(l->stream, l->early.data, l->early.len);
    buf_done(&l->early);
    net_stream_set_timeout(l->stream, l->channel == TRANSPORT_BULK ? BULK_IDLE_MS : 0);
}

/* The status of the answer; OK: the connection is ours to use. */
static enum transport_status judge_welcome(struct link *l, struct str frame)
{
    struct transport *t = l->peer->t;
    struct transport_welcome w;
    if (transport_welcome_decode(frame, &w, NULL) < 0)
        return TRANSPORT_BAD_VERSION;
    if (w.status == TRANSPORT_REMOVED && w.cluster_id == t->cluster_id && t->ops.on_removed != NULL)
        t->ops.on_removed(t->arg);
    if (w.status != TRANSPORT_OK)
        return (enum transport_status)w.status;
    if (w.version < TRANSPORT_VERSION_MIN || w.version > TRANSPORT_VERSION)
        return TRANSPORT_BAD_VERSION;
    if (w.cluster_id != t->cluster_id)
        return TRANSPORT_CLUSTER;
    if (w.id != l->peer->id)
        return TRANSPORT_ID;
    return t->ops.on_welcome != NULL ? t->ops.on_welcome(t->arg, &w) : TRANSPORT_OK;
}

static bool on_answer(void *arg, struct str frame)
{
    struct link *l = arg;
    if (l->state != LINK_GREETING)
        return false; /* An acceptor says nothing more. */
    enum transport_status status = judge_welcome(l, frame);
    if (status == TRANSPORT_OK) {
        l->last_status = status;
        link_up(l);
        return true;
    }
    if (status != TRANSPORT_RETRY && status != l->last_status)
        log_warning("member %" PRIx64 " at %s does not take our connection: %s", l->peer->id,
                    l->peer->address, transport_status_text(status));
    l->last_status = status;
    if (status == TRANSPORT_RETRY)
        l->backoff_ms = 0;
    l->logged_down = true;
    return false;
}

static void link_on_read(struct net_stream *s, const uint8_t *data, size_t len, void *arg)
{
    struct link *l = arg;
    if (!framer_feed(&l->framer, data, len, on_answer, l))
        net_stream_close(s);
}

static void link_on_timeout(struct net_stream *s, void *arg)
{
    struct link *l = arg;
    if (l->state == LINK_UP) /* A bulk connection nobody needs now. */
        net_stream_close_soft(s);
    else
        net_stream_fail(s, E_TIMEOUT, "no answer to the greeting");
}

static void link_on_close(struct net_stream *s, const struct error *err, void *arg)
{
    UNUSED(s);
    struct link *l = arg;
    struct remote *p = l->peer;
    if (err->code != E_CLOSED && !p->closing)
        log_down(l, error_message(err));
    l->stream = NULL;
    if (l->channel == TRANSPORT_CONTROL)
        show_active(p, false);
    framer_done(&l->framer);
    framer_init(&l->framer, TRANSPORT_GREETING_MAX);
    link_wait(l);
    if (p->closing)
        remote_settle(p);
}

/* A connection that takes no byte for long is dead although TCP does not know
 * yet; after a partition its next retransmission may be minutes away. */
static bool is_stalled(struct link *l)
{
    size_t pending = net_stream_pending(l->stream);
    uint64_t now = env_now_ms(l->peer->t->env);
    uint64_t gone = l->written > pending ? l->written - pending : 0;
    if (pending == 0 || gone != l->gone) {
        l->gone = gone;
        l->gone_at_ms = now;
        return false;
    }
    return now - l->gone_at_ms > l->peer->t->stall_ms;
}

static void count_failure(struct link *l)
{
    if (l->peer->send_failures != NULL)
        metric_inc(l->peer->send_failures);
}

/* Now and then, on the occasion of sending: no timer wakes an idle store for it. */
static void measure_round_trip(struct link *l)
{
    struct remote *p = l->peer;
    uint64_t now = env_now_ms(p->t->env);
    if (p->round_trip == NULL || l->channel != TRANSPORT_CONTROL ||
        now - p->round_trip_at_ms < ROUND_TRIP_MS)
        return;
    uint32_t us = net_stream_rtt_us(l->stream);
    p->round_trip_at_ms = now;
    if (us > 0)
        metric_observe(p->round_trip, us / 1e6);
}

void link_send(struct link *l, struct buf *message)
{
    struct transport *t = l->peer->t;
    size_t bytes = message->len + FRAME_HEADER_BYTES;
    uint8_t header[FRAME_HEADER_BYTES];
    frame_header(header, message->len);
    if (l->state == LINK_UP) {
        if (is_stalled(l)) {
            net_stream_fail(l->stream, E_TIMEOUT, "the peer takes no data");
            l->state = LINK_WAITING;
        } else if (net_stream_pending(l->stream) + bytes <= t->queue_max) {
            net_stream_write(l->stream, header, sizeof(header));
            struct net_bytes *body = net_bytes_steal(message);
            net_stream_write_bytes(l->stream, body, body->data, body->len);
            net_bytes_unref(body);
            l->written += bytes;
            if (l->peer->sent_bytes != NULL)
                metric_add(l->peer->sent_bytes, (double)bytes);
            measure_round_trip(l);
            if (l->channel == TRANSPORT_BULK)
                net_stream_set_timeout(l->stream, BULK_IDLE_MS);
            return;
        }
    }
    if (l->state == LINK_IDLE)
        link_dial(l);
    if ((l->state == LINK_DIALING || l->state == LINK_GREETING) &&
        (l->early.len == 0 || l->early.len + bytes <= EARLY_BYTES_MAX)) {
        buf_append(&l->early, header, sizeof(header));
        buf_append_str(&l->early, buf_str(message));
        return;
    }
    count_failure(l);
}

static void on_timer_closed(uv_handle_t *h)
{
    struct link *l = CONTAINER_OF((uv_timer_t *)h, struct link, timer);
    l->timer_open = false;
    remote_settle(l->peer);
}

void link_close(struct link *l)
{
    if (l->stream != NULL)
        net_stream_close(l->stream);
    buf_done(&l->early);
    framer_done(&l->framer);
    uv_close((uv_handle_t *)&l->timer, on_timer_closed);
}

bool link_closed(const struct link *l)
{
    return l->stream == NULL && !l->timer_open;
}
