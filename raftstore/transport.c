/* transport.c - see transport.h: the set of peers, life and death. */
#include "raftstore/transport_internal.h"

#include "lib/base/env.h"
#include "lib/base/log.h"
#include "lib/base/metrics.h"
#include "lib/net/tls.h"
#include "raftstore/failpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TLS_RELOAD_MS 60000
#define QUEUE_BYTES (16u << 20)
#define STALL_MS 3000
#define CONNECTIONS_MAX 256

/* --- who may talk ------------------------------------------------------------- */

int transport_check_identity(const struct transport *t, struct net_stream *s, struct error *err)
{
    if (!net_stream_is_tls(s))
        return 0; /* Loopback, or allowed: transport_new() and link_dial() see to it. */
    const struct tls_peer *p = net_stream_peer(s);
    if (p == NULL || !p->verified)
        return error_set(err, E_UNAUTHORIZED, "%s shows no certificate of the members' CA",
                         net_stream_remote(s));
    if (t->common_name != NULL && !str_eqc(p->common_name, t->common_name))
        return error_set(err, E_UNAUTHORIZED,
                         "the certificate of %s has the common name " STR_FMT ", not %s",
                         net_stream_remote(s), STR_ARG(p->common_name), t->common_name);
    if (t->any_organization)
        return 0;
    for (size_t i = 0; i < p->organization_count; i++)
        if (str_eqc(p->organizations[i], TRANSPORT_ORGANIZATION))
            return 0;
    return error_set(err, E_UNAUTHORIZED,
                     "the certificate of %s (" STR_FMT ") has not the organisation %s",
                     net_stream_remote(s), STR_ARG(p->common_name), TRANSPORT_ORGANIZATION);
}

bool transport_address_is_unix(const char *address)
{
    return address[0] == '/' || strncmp(address, "unix:", 5) == 0;
}

bool transport_address_is_local(const char *address)
{
    static const char *const prefixes[] = {"unix:", "/", "127.", "[::1]:", "localhost:"};
    for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
        if (strncmp(address, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

/* --- peers ---------------------------------------------------------------------- */

struct remote *remote_get(struct transport *t, uint64_t id)
{
    LIST_FOREACH (it, &t->peers) {
        struct remote *p = LIST_ENTRY(it, struct remote, node);
        if (p->id == id && !p->closing)
            return p;
    }
    return NULL;
}

static void remote_metrics(struct remote *p)
{
    struct metrics *m = p->t->metrics;
    if (m == NULL)
        return;
    char id[20];
    snprintf(id, sizeof(id), "%" PRIx64, p->id);
    p->sent_bytes = METRIC_OF(metric_counter(m, "etcd_network_peer_sent_bytes_total",
                                             "Bytes sent to peers.", METRIC_LABELS("To")),
                              str_of(id));
    p->received_bytes =
        METRIC_OF(metric_counter(m, "etcd_network_peer_received_bytes_total",
                                 "Bytes received from peers.", METRIC_LABELS("From")),
                  str_of(id));
    p->send_failures =
        METRIC_OF(metric_counter(m, "etcd_network_peer_sent_failures_total",
                                 "Messages to peers that were dropped.", METRIC_LABELS("To")),
                  str_of(id));
    static const double seconds[] = {0.0001, 0.0002, 0.0004, 0.0008, 0.0016, 0.0032,
                                     0.0064, 0.0128, 0.0256, 0.0512, 0.1024, 0.2048,
                                     0.4096, 0.8192, 1.6384, 3.2768}; /* etcd's */
    p->round_trip =
        METRIC_OF(metric_histogram(m, "etcd_network_peer_round_trip_time_seconds",
                                   "Round-trip time between peers, as TCP estimates it.",
                                   METRIC_LABELS("To"), seconds, ARRAY_SIZE(seconds)),
                  str_of(id));
}

struct remote *remote_new(struct transport *t, uint64_t id, struct str address)
{
    struct remote *p = xzalloc(sizeof(*p));
    p->t = t;
    p->id = id;
    p->address = xstrndup(address.data != NULL ? address.data : "", address.len);
    remote_metrics(p);
    list_push_back(&t->peers, &p->node);
    for (int c = 0; c < TRANSPORT_CHANNELS; c++)
        link_init(&p->links[c], p, (enum transport_channel)c);
    return p;
}

void remote_settle(struct remote *p)
{
    if (!p->closing && (p->listed || p->inbound > 0) && !p->t->closing)
        return;
    if (!p->closing) {
        p->closing = true;
        for (int c = 0; c < TRANSPORT_CHANNELS; c++)
            link_close(&p->links[c]);
    }
    for (int c = 0; c < TRANSPORT_CHANNELS; c++)
        if (!link_closed(&p->links[c]))
            return;
    if (p->inbound > 0)
        return;
    struct transport *t = p->t;
    list_remove(&p->node);
    free(p->address);
    free(p);
    transport_settle(t);
}

/* Who was taken off the list dials again, and can be told why. */
static void drop_inbound(struct transport *t)
{
    LIST_FOREACH (it, &t->inbounds) {
        struct inbound *in = LIST_ENTRY(it, struct inbound, node);
        if (in->peer != NULL && in->peer->was_listed && !in->peer->listed)
            net_stream_close(in->stream);
    }
}

void transport_set_peers(struct transport *t, const struct transport_peer *peers, size_t count)
{
    LIST_FOREACH (it, &t->peers) {
        struct remote *p = LIST_ENTRY(it, struct remote, node);
        p->was_listed = p->listed;
        p->listed = false;
    }
    for (size_t i = 0; i < count; i++) {
        if (peers[i].id == t->id)
            continue;
        struct remote *p = remote_get(t, peers[i].id);
        if (p != NULL && strcmp(p->address, peers[i].address) != 0) {
            /* It moved. What it sends us comes over connections of its own. */
            free(p->address);
            p->address = xstrdup(peers[i].address);
            for (int ch = 0; ch < TRANSPORT_CHANNELS; ch++)
                link_moved(&p->links[ch]);
        }
        if (p == NULL)
            p = remote_new(t, peers[i].id, str_of(peers[i].address));
        p->listed = true;
        link_dial(&p->links[TRANSPORT_CONTROL]);
    }
    drop_inbound(t);
    LIST_FOREACH_SAFE (it, &t->peers)
        remote_settle(LIST_ENTRY(it, struct remote, node));
}

void transport_send(struct transport *t, uint64_t to, struct buf *msg)
{
    struct remote *p = t->closing ? NULL : remote_get(t, to);
    if (p != NULL && !p->blocked && !t->block_all && msg->len <= t->message_max) {
        bool bulk = t->ops.is_bulk != NULL && t->ops.is_bulk(t->arg, buf_str(msg));
        if (!failpoint_drops(bulk ? FP_PEER_SEND_CHUNK : FP_PEER_SEND))
            link_send(&p->links[bulk ? TRANSPORT_BULK : TRANSPORT_CONTROL], msg);
    }
    buf_done(msg);
}

bool transport_is_up(const struct transport *t, uint64_t id)
{
    const struct remote *p = remote_get((struct transport *)t, id);
    return p != NULL && p->links[TRANSPORT_CONTROL].state == LINK_UP;
}

void transport_block(struct transport *t, uint64_t id, bool blocked)
{
    if (id == 0)
        t->block_all = blocked;
    LIST_FOREACH (it, &t->peers) {
        struct remote *p = LIST_ENTRY(it, struct remote, node);
        if (p->id == id)
            p->blocked = blocked;
    }
}

/* --- life and death --------------------------------------------------------------- */

static int make_tls(struct transport *t, const struct transport_config *c, struct error *err)
{
    struct tls_config tls = {
        .server = true,
        .cert.file = c->cert_file,
        .key.file = c->key_file,
        .ca.file = c->ca_file,
        .client_auth = TLS_CLIENT_AUTH_REQUIRE,
    };
    int rc = tls_context_new(&tls, &t->tls_server, err);
    if (rc < 0)
        return rc;
    tls.server = false;
    rc = tls_context_new(&tls, &t->tls_client, err);
    if (rc < 0)
        return rc;
    t->reload_server = tls_reloader_start(t->loop, t->tls_server, TLS_RELOAD_MS);
    t->reload_client = tls_reloader_start(t->loop, t->tls_client, TLS_RELOAD_MS);
    return 0;
}

static int listen_at(struct transport *t, const struct transport_config *c, const char *address,
                     struct error *err)
{
    if (t->tls_server == NULL && !c->plain && !transport_address_is_local(address))
        return error_set(err, E_INVALID,
                         "%s is not a loopback address: members need TLS (certificate, key and CA) "
                         "to talk over it",
                         address);
    if (t->listener_count == TRANSPORT_LISTENERS_MAX)
        return error_set(err, E_INVALID, "more than %d addresses to listen on",
                         TRANSPORT_LISTENERS_MAX);
    struct net_listen_config listen = {
        .address = address,
        .tls = t->tls_server,
        .connections_max = CONNECTIONS_MAX,
        .on_accept = transport_on_accept,
        .arg = t,
    };
    int rc = net_listener_new(t->loop, &listen, &t->listeners[t->listener_count], err);
    if (rc < 0)
        return rc;
    t->listener_count++;
    t->listeners_open++;
    if (t->address == NULL) /* A listener on a unix socket names itself by its path. */
        t->address =
            xstrdup(net_listener_port(t->listeners[0]) != 0 ? net_listener_address(t->listeners[0])
                                                            : address);
    return 0;
}

static int setup(struct transport *t, const struct transport_config *c, struct error *err)
{
    bool tls = c->cert_file != NULL && c->key_file != NULL && c->ca_file != NULL;
    if (!tls && (c->cert_file != NULL || c->key_file != NULL || c->ca_file != NULL))
        return error_set(err, E_INVALID,
                         "TLS between members needs certificate, key and CA; one is missing");
    if (tls) {
        int rc = make_tls(t, c, err);
        if (rc < 0)
            return rc;
    }
    if (c->advertise_address != NULL)
        t->address = xstrdup(c->advertise_address);
    struct str item, rest = str_of(c->listen_address);
    while (!str_empty(rest)) {
        str_cut(rest, ',', &item, &rest);
        AUTO_FREE char *address = xstrndup(item.data, item.len);
        int rc = listen_at(t, c, address, err);
        if (rc < 0)
            return rc;
    }
    if (t->listener_count == 0)
        return error_set(err, E_INVALID, "there is no address to listen on");
    if (strlen(t->address) > TRANSPORT_ADDRESS_MAX || strlen(t->name) > TRANSPORT_NAME_MAX)
        return error_set(err, E_INVALID, "the member's name or address is too long");
    return 0;
}

int transport_new(const struct transport_config *c, struct transport **ret, struct error *err)
{
    struct transport *t = xzalloc(sizeof(*t));
    t->loop = c->loop;
    t->env = c->env;
    t->metrics = c->metrics;
    t->cluster_id = c->cluster_id;
    t->id = c->id;
    t->instance = c->instance;
    t->name = xstrdup(c->name != NULL ? c->name : "");
    t->client_urls = xstrdup(c->client_urls != NULL ? c->client_urls : "");
    t->format = MAX_OF(c->format, (uint16_t)1);
    t->any_organization = c->any_organization;
    t->common_name = c->common_name != NULL ? xstrdup(c->common_name) : NULL;
    t->plain = c->plain;
    t->message_max = c->message_max;
    t->queue_max = c->queue_max != 0 ? c->queue_max : c->message_max + QUEUE_BYTES;
    t->stall_ms = c->stall_ms != 0 ? c->stall_ms : STALL_MS;
    t->ops = *c->ops;
    t->arg = c->arg;
    list_init(&t->peers);
    list_init(&t->inbounds);
    int rc = setup(t, c, err);
    if (rc < 0) {
        transport_close(t, NULL, NULL);
        return rc;
    }
    *ret = t;
    return 0;
}

static void on_listener_closed(void *arg)
{
    struct transport *t = arg;
    t->listeners_open--;
    transport_settle(t);
}

void transport_settle(struct transport *t)
{
    if (!t->closing || t->listeners_open > 0 || !list_empty(&t->peers) || !list_empty(&t->inbounds))
        return;
    void (*on_closed)(void *arg) = t->on_closed;
    void *arg = t->on_closed_arg;
    tls_context_unref(t->tls_server);
    tls_context_unref(t->tls_client);
    free(t->name);
    free(t->client_urls);
    free(t->common_name);
    free(t->address);
    free(t);
    if (on_closed != NULL)
        on_closed(arg);
}

void transport_close(struct transport *t, void (*on_closed)(void *arg), void *arg)
{
    ASSERT(!t->closing);
    t->closing = true;
    t->on_closed = on_closed;
    t->on_closed_arg = arg;
    tls_reloader_stop(t->reload_server);
    tls_reloader_stop(t->reload_client);
    LIST_FOREACH (it, &t->inbounds)
        net_stream_close(LIST_ENTRY(it, struct inbound, node)->stream);
    /* The last of these may free the transport: one keeps it until the end. */
    uint32_t listening = t->listeners_open;
    LIST_FOREACH_SAFE (it, &t->peers)
        remote_settle(LIST_ENTRY(it, struct remote, node));
    for (uint32_t i = 0; i < listening; i++)
        net_listener_close(t->listeners[i], on_listener_closed, t);
    if (listening == 0)
        transport_settle(t);
}

int transport_port(const struct transport *t)
{
    return net_listener_port(t->listeners[0]);
}

const char *transport_address(const struct transport *t)
{
    return t->address;
}

void transport_adopt(struct transport *t, uint64_t cluster_id, uint64_t id, uint64_t instance)
{
    t->cluster_id = cluster_id;
    t->id = id;
    t->instance = instance;
}
