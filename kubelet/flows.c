/* flows.c - see flows.h. Messages: linux/netfilter/nfnetlink_conntrack.h. */
#include "kubelet/flows.h"

#include "kubelet/netlink.h"

#include "lib/base/buf.h"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>

struct ending {
    uint8_t family;
    const unsigned char (*addresses)[16];
    size_t count, address_bytes;
    struct buf requests; /* Messages that end flows. */
};

static bool is_ours(const struct ending *e, struct str tuple)
{
    bool v6 = e->family == AF_INET6;
    struct str ip = netlink_attr(tuple, 0, CTA_TUPLE_IP);
    struct str ends[] = {netlink_attr(ip, 0, v6 ? CTA_IP_V6_SRC : CTA_IP_V4_SRC),
                         netlink_attr(ip, 0, v6 ? CTA_IP_V6_DST : CTA_IP_V4_DST)};
    for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
        for (size_t k = 0; ends[i].len == e->address_bytes && k < e->count; k++)
            if (memcmp(ends[i].data, e->addresses[k], e->address_bytes) == 0)
                return true;
    return false;
}

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
    size_t skip = sizeof(struct nfgenmsg), at = e->requests.len;
    struct str original = netlink_attr(payload, skip, CTA_TUPLE_ORIG);
    UNUSED(type);
    if (!is_ours(e, original) && !is_ours(e, netlink_attr(payload, skip, CTA_TUPLE_REPLY)))
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

static int end_family(struct ending *e, struct error *err)
{
    struct {
        struct nlmsghdr h;
        struct nfgenmsg g;
    } all = {.h = {.nlmsg_len = sizeof(all),
                   .nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
             .g = {.nfgen_family = e->family, .version = NFNETLINK_V0}};
    int rc =
        netlink_ask(NETLINK_NETFILTER, str_n((const char *)&all, sizeof(all)), on_flow, e, err);
    struct str rest = buf_str(&e->requests);
    while (rc == 0 && rest.len > 0) {
        struct nlmsghdr h;
        memcpy(&h, rest.data, sizeof(h));
        rc = netlink_ask(NETLINK_NETFILTER, str_sub(rest, 0, h.nlmsg_len), NULL, NULL, err);
        if (rc == E_NOT_FOUND)
            rc = 0; /* It has ended by itself. */
        rest = str_sub(rest, h.nlmsg_len, rest.len);
    }
    return rc;
}

int flows_end(const char *const *ips, size_t count, struct error *err)
{
    static const uint8_t families[] = {AF_INET, AF_INET6};
    unsigned char(*addresses)[16] = xzalloc((count + 1) * sizeof(*addresses));
    int rc = 0;
    for (size_t f = 0; rc == 0 && f < ARRAY_SIZE(families); f++) {
        struct ending e = {.family = families[f],
                           .addresses = (const unsigned char(*)[16])addresses,
                           .address_bytes = families[f] == AF_INET ? 4 : 16};
        for (size_t i = 0; i < count; i++)
            e.count += inet_pton(e.family, ips[i], addresses[e.count]) == 1;
        if (e.count > 0)
            rc = end_family(&e, err);
        buf_done(&e.requests);
    }
    free(addresses);
    return rc;
}
