/* node_routes_uv.c - Node objects in, rtnetlink messages out. */
#include "kubelet/node_routes.h"

#include "kubelet/isolation/isolation.h"
#include "kubelet/kubelet.h"
#include "kubelet/masquerade.h"

#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/client/informer.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The kernel's message macros mix signed and unsigned on purpose. */
#pragma GCC diagnostic ignored "-Wsign-conversion"

/* Marks our routes in the kernel's table; not taken in rtnetlink's list. */
#define ROUTE_PROTOCOL 84
#define DUMP_BYTES 32768

struct node_routes {
    struct kubelet *k;
    struct informer *nodes;
    int fd;
    bool v6; /* The kernel has it. */
    uint32_t sequence;
    struct masquerade *masquerade;
    struct deferred sync; /* Many changes, one comparison. */
};

/* --- netlink ------------------------------------------------------------------- */

struct route_request {
    struct nlmsghdr head;
    struct rtmsg route;
    char attributes[64];
};

static size_t address_bytes(bool v6)
{
    return v6 ? 16 : 4;
}

static void add_attribute(struct route_request *q, unsigned short type, const struct net_range *r)
{
    struct rtattr *a = (struct rtattr *)(void *)((char *)q + NLMSG_ALIGN(q->head.nlmsg_len));
    size_t len = address_bytes(r->v6);
    a->rta_type = type;
    a->rta_len = (unsigned short)RTA_LENGTH(len);
    memcpy(RTA_DATA(a), r->addr, len);
    q->head.nlmsg_len = NLMSG_ALIGN(q->head.nlmsg_len) + (unsigned)RTA_LENGTH(len);
}

/* Sends and waits for the kernel's answer, which is there when send returns. */
static int exchange(struct node_routes *n, struct route_request *q)
{
    union {
        struct nlmsghdr head;
        char bytes[4096];
    } answer;
    q->head.nlmsg_seq = ++n->sequence;
    if (send(n->fd, q, q->head.nlmsg_len, 0) < 0)
        return errno;
    ssize_t got = recv(n->fd, &answer, sizeof(answer), 0);
    if (got < (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)) ||
        answer.head.nlmsg_type != NLMSG_ERROR)
        return EPROTO;
    struct nlmsgerr e;
    memcpy(&e, NLMSG_DATA(&answer.head), sizeof(e));
    return -e.error;
}

static int change_route(struct node_routes *n, const struct node_route *r, bool set)
{
    struct route_request q = {
        .head = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct rtmsg)),
                 .nlmsg_type = set ? RTM_NEWROUTE : RTM_DELROUTE,
                 .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK |
                                           (set ? NLM_F_CREATE | NLM_F_REPLACE : 0))},
        .route = {.rtm_family = r->to.v6 ? AF_INET6 : AF_INET,
                  .rtm_dst_len = (unsigned char)r->to.prefix,
                  .rtm_table = RT_TABLE_MAIN,
                  .rtm_protocol = ROUTE_PROTOCOL,
                  .rtm_scope = RT_SCOPE_UNIVERSE,
                  .rtm_type = RTN_UNICAST}};
    add_attribute(&q, RTA_DST, &r->to);
    if (set)
        add_attribute(&q, RTA_GATEWAY, &r->gateway);
    return exchange(n, &q);
}

static void read_route(const struct nlmsghdr *h, struct arena *a, struct node_route **list,
                       size_t *count, size_t *cap)
{
    struct rtmsg m;
    memcpy(&m, NLMSG_DATA(h), sizeof(m));
    if (m.rtm_protocol != ROUTE_PROTOCOL || (m.rtm_family != AF_INET && m.rtm_family != AF_INET6))
        return;
    bool v6 = m.rtm_family == AF_INET6;
    struct node_route r = {.to = {.prefix = m.rtm_dst_len, .v6 = v6},
                           .gateway = {.prefix = v6 ? 128 : 32, .v6 = v6}};
    int left = (int)RTM_PAYLOAD(h);
    struct rtattr *at = RTM_RTA(NLMSG_DATA(h));
    for (; RTA_OK(at, left); at = RTA_NEXT(at, left)) {
        if (RTA_PAYLOAD(at) != address_bytes(v6))
            continue;
        if (at->rta_type == RTA_DST)
            memcpy(r.to.addr, RTA_DATA(at), address_bytes(v6));
        else if (at->rta_type == RTA_GATEWAY)
            memcpy(r.gateway.addr, RTA_DATA(at), address_bytes(v6));
    }
    *list = arena_grow(a, *list, *count, cap, sizeof(**list));
    (*list)[(*count)++] = r;
}

/* Adds our routes of one family as the kernel has them. False when it does not say. */
static bool dump_family(struct node_routes *n, struct arena *a, unsigned char family,
                        struct node_route **ret, size_t *ret_count, size_t *cap)
{
    struct route_request q = {.head = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct rtmsg)),
                                       .nlmsg_type = RTM_GETROUTE,
                                       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
                                       .nlmsg_seq = ++n->sequence},
                              .route = {.rtm_family = family}};
    char *bytes = arena_alloc(a, DUMP_BYTES);
    if (send(n->fd, &q, q.head.nlmsg_len, 0) < 0)
        return false;
    for (;;) {
        ssize_t got = recv(n->fd, bytes, DUMP_BYTES, 0);
        if (got <= 0)
            return false;
        /* NLMSG_OK and NLMSG_NEXT mix signed and unsigned: the walk is spelled out. */
        size_t at = 0;
        while ((size_t)got - at >= sizeof(struct nlmsghdr)) {
            const struct nlmsghdr *h = (const struct nlmsghdr *)(const void *)(bytes + at);
            if (h->nlmsg_len < sizeof(*h) || h->nlmsg_len > (size_t)got - at)
                break;
            if (h->nlmsg_type == NLMSG_DONE)
                return true;
            if (h->nlmsg_type == NLMSG_ERROR)
                return false;
            if (h->nlmsg_type == RTM_NEWROUTE)
                read_route(h, a, ret, ret_count, cap);
            at = MIN_OF(at + NLMSG_ALIGN(h->nlmsg_len), (size_t)got);
        }
    }
}

static bool dump_routes(struct node_routes *n, struct arena *a, struct node_route **ret,
                        size_t *ret_count)
{
    size_t cap = 0;
    *ret = NULL;
    *ret_count = 0;
    /* A kernel without IPv6 answers with those of IPv4 a second time, or not at all. */
    return dump_family(n, a, AF_INET, ret, ret_count, &cap) &&
           (!n->v6 || dump_family(n, a, AF_INET6, ret, ret_count, &cap));
}

/* --- nodes ------------------------------------------------------------------------ */

static void set_route(struct node_routes *n, const struct node_route *r)
{
    char to[NET_RANGE_TEXT_MAX], via[NET_RANGE_TEXT_MAX];
    int failed = change_route(n, r, true);
    net_range_text(&r->to, to);
    net_range_address_text(&r->gateway, via);
    if (failed != 0)
        log_warning("route to the pods in %s through %s: %s (a node on another network needs an "
                    "overlay from a CNI plugin)",
                    to, via, strerror(failed));
    else
        log_info("pods in %s are reached through %s", to, via);
}

static void sync_routes(struct deferred *d)
{
    struct node_routes *n = CONTAINER_OF(d, struct node_routes, sync);
    AUTO_ARENA *a = arena_new(0);
    masquerade_sync(n->masquerade, n->nodes);
    isolation_nodes_changed(n->k->isolation);
    size_t have_count = 0, want_count = 0, set_count = 0, remove_count = 0, pos = 0;
    struct node_route *have = NULL;
    struct node_route *want = ARENA_ARRAY(a, struct node_route, 2 * informer_count(n->nodes) + 1);
    for (struct api_object *o; (o = informer_next(n->nodes, &pos)) != NULL;)
        if (!str_eqc(api_object_meta(o)->name, n->k->node_name))
            want_count += node_routes_of(o->msg, &want[want_count]);
    if (!dump_routes(n, a, &have, &have_count)) {
        log_warning("cannot read the routes of this host: pods of other nodes may not be reached");
        return;
    }
    struct node_route *set = ARENA_ARRAY(a, struct node_route, want_count);
    struct node_route *gone = ARENA_ARRAY(a, struct node_route, have_count);
    node_routes_diff(have, have_count, want, want_count, set, &set_count, gone, &remove_count);
    for (size_t i = 0; i < remove_count; i++)
        change_route(n, &gone[i], false);
    for (size_t i = 0; i < set_count; i++)
        set_route(n, &set[i]);
}

static void kick(struct node_routes *n)
{
    if (informer_has_synced(n->nodes))
        deferred_post(&n->k->deferred, &n->sync);
}

void node_routes_kick(struct node_routes *n)
{
    if (n != NULL)
        kick(n);
}

static void on_add(struct api_object *o, void *arg)
{
    UNUSED(o);
    kick(arg);
}

/* Heartbeats change a Node all the time; routes only by range and address. */
static void on_update(struct api_object *old, struct api_object *o, void *arg)
{
    struct node_route before[2], now[2];
    size_t had = node_routes_of(old->msg, before), has = node_routes_of(o->msg, now);
    bool same = had == has;
    for (size_t i = 0; same && i < has; i++)
        same = net_range_equal(&before[i].to, &now[i].to) &&
               net_range_equal(&before[i].gateway, &now[i].gateway);
    if (!same)
        kick(arg);
}

static void on_delete(struct api_object *o, bool unknown, void *arg)
{
    UNUSED(o);
    UNUSED(unknown);
    kick(arg);
}

static void on_synced(void *arg)
{
    kick(arg);
}

/* Of a Node only its range and addresses are kept. */
static void trim(struct api_object *o)
{
    struct core_v1_node *n = o->msg;
    n->metadata.managed_fields_count = n->metadata.annotations_count = n->metadata.labels_count = 0;
    n->status.images_count = n->status.conditions_count = 0;
    n->status.capacity_count = n->status.allocatable_count = 0;
}

const struct informer *node_routes_nodes(const struct node_routes *n)
{
    return n != NULL ? n->nodes : NULL;
}

struct node_routes *node_routes_start(struct kubelet *k)
{
    struct node_routes *n = xzalloc(sizeof(*n));
    n->k = k;
    deferred_init(&n->sync, sync_routes);
    n->masquerade = masquerade_new(k);
    n->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (n->fd < 0) {
        log_warning("no routes to the pods of other nodes: netlink: %s", strerror(errno));
        free(n);
        return NULL;
    }
    int probe = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    n->v6 = probe >= 0;
    if (n->v6)
        close(probe);
    struct informer_config config = {.kind = api_kind_by_api_version(STR("v1"), STR("Node")),
                                     .trim = trim};
    struct error err = {0};
    if (informer_new(k->client, &config, &n->nodes, &err) != 0)
        PANIC("informer of nodes: %s", error_message(&err));
    informer_add_handler(n->nodes, &(struct informer_handler){.on_add = on_add,
                                                              .on_update = on_update,
                                                              .on_delete = on_delete,
                                                              .on_synced = on_synced,
                                                              .arg = n});
    informer_start(n->nodes);
    return n;
}
