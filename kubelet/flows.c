/* flows.c - see flows.h. Messages: linux/netfilter/nfnetlink_conntrack.h. */
#include "kubelet/flows.h"

#include "kubelet/netlink.h"

#include "lib/base/buf.h"
#include "lib/base/error.h"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>

struct ending {
    uint8_t family;
    bool (*is_over)(const struct flow_tuple *original, const struct flow_tuple *reply, void *arg);
    void *arg;
    struct buf requests; /* Messages that end flows. */
};

/* --- reading ---------------------------------------------------------------------------------- */

static uint16_t read_u16(struct str s)
{
    uint16_t v = 0;
    if (s.len >= sizeof(v))
        memcpy(&v, s.data, sizeof(v));
    return v;
}

static struct flow_tuple read_tuple(struct str t, bool v6)
{
    struct str ip = netlink_attr(t, 0, CTA_TUPLE_IP), proto = netlink_attr(t, 0, CTA_TUPLE_PROTO);
    struct str number = netlink_attr(proto, 0, CTA_PROTO_NUM);
    return (struct flow_tuple){
        .source = netlink_attr(ip, 0, v6 ? CTA_IP_V6_SRC : CTA_IP_V4_SRC),
        .destination = netlink_attr(ip, 0, v6 ? CTA_IP_V6_DST : CTA_IP_V4_DST),
        .protocol = number.len > 0 ? (uint8_t)number.data[0] : 0,
        .source_port = read_u16(netlink_attr(proto, 0, CTA_PROTO_SRC_PORT)),
        .destination_port = read_u16(netlink_attr(proto, 0, CTA_PROTO_DST_PORT))};
}

/* --- ending ----------------------------------------------------------------------------------- */

static void put_attr(struct buf *out, uint16_t type, struct str value)
{
    struct nlattr a = {.nla_len = (uint16_t)(NETLINK_ATTR_HEADER + value.len), .nla_type = type};
    size_t end = out->len + NETLINK_ALIGN(a.nla_len);
    buf_append(out, &a, sizeof(a));
    buf_append_str(out, value);
    while (out->len < end)
        buf_putc(out, '\0');
}

static void on_flow(uint16_t type, struct str payload, void *arg)
{
    struct ending *e = arg;
    bool v6 = e->family == AF_INET6;
    size_t skip = sizeof(struct nfgenmsg), at = e->requests.len;
    struct str original = netlink_attr(payload, skip, CTA_TUPLE_ORIG);
    struct flow_tuple there = read_tuple(original, v6);
    struct flow_tuple back = read_tuple(netlink_attr(payload, skip, CTA_TUPLE_REPLY), v6);
    UNUSED(type);
    if (!e->is_over(&there, &back, e->arg))
        return;
    struct nlmsghdr h = {.nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE,
                         .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK,
                         .nlmsg_seq = 1};
    struct nfgenmsg g = {.nfgen_family = e->family, .version = NFNETLINK_V0};
    buf_append(&e->requests, &h, sizeof(h));
    buf_append(&e->requests, &g, sizeof(g));
    put_attr(&e->requests, CTA_TUPLE_ORIG | NLA_F_NESTED, original);
    put_attr(&e->requests, CTA_ID, netlink_attr(payload, skip, CTA_ID));
    h.nlmsg_len = (uint32_t)(e->requests.len - at);
    memcpy(e->requests.data + at, &h, sizeof(h));
}

int flows_end_if(uint8_t family,
                 bool (*is_over)(const struct flow_tuple *original, const struct flow_tuple *reply,
                                 void *arg),
                 void *arg, struct error *err)
{
    struct {
        struct nlmsghdr h;
        struct nfgenmsg g;
    } all = {.h = {.nlmsg_len = sizeof(all),
                   .nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
             .g = {.nfgen_family = family, .version = NFNETLINK_V0}};
    struct ending e = {.family = family, .is_over = is_over, .arg = arg};
    int rc =
        netlink_ask(NETLINK_NETFILTER, str_n((const char *)&all, sizeof(all)), on_flow, &e, err);
    struct str rest = buf_str(&e.requests);
    while (rc == 0 && rest.len > 0) {
        struct nlmsghdr h;
        memcpy(&h, rest.data, sizeof(h));
        rc = netlink_ask(NETLINK_NETFILTER, str_sub(rest, 0, h.nlmsg_len), NULL, NULL, err);
        if (rc == E_NOT_FOUND)
            rc = 0; /* It has ended by itself. */
        rest = str_sub(rest, h.nlmsg_len, rest.len);
    }
    buf_done(&e.requests);
    return rc;
}

/* --- by address ------------------------------------------------------------------------------- */

struct owned {
    const unsigned char (*addresses)[16];
    size_t count, address_bytes;
};

static bool is_owned(const struct owned *o, struct str address)
{
    for (size_t k = 0; address.len == o->address_bytes && k < o->count; k++)
        if (memcmp(address.data, o->addresses[k], o->address_bytes) == 0)
            return true;
    return false;
}

static bool touches(const struct flow_tuple *original, const struct flow_tuple *reply, void *arg)
{
    return is_owned(arg, original->source) || is_owned(arg, original->destination) ||
           is_owned(arg, reply->source) || is_owned(arg, reply->destination);
}

int flows_end(const char *const *ips, size_t count, struct error *err)
{
    static const uint8_t families[] = {AF_INET, AF_INET6};
    unsigned char(*addresses)[16] = xzalloc((count + 1) * sizeof(*addresses));
    int rc = 0;
    for (size_t f = 0; rc == 0 && f < ARRAY_SIZE(families); f++) {
        struct owned o = {.addresses = (const unsigned char(*)[16])addresses,
                          .address_bytes = families[f] == AF_INET ? 4 : 16};
        for (size_t i = 0; i < count; i++)
            o.count += inet_pton(families[f], ips[i], addresses[o.count]) == 1;
        if (o.count > 0)
            rc = flows_end_if(families[f], touches, &o, err);
    }
    free(addresses);
    return rc;
}
