/* nft_message.c - see nft_message.h. */
#include "kubelet/nft_message.h"

#include "kubelet/netlink.h"

#include "lib/base/buf.h"

#include <arpa/inet.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

static void pad(struct buf *b)
{
    static const uint8_t zero[4];
    buf_append(b, zero, NETLINK_ALIGN(b->len) - b->len);
}

void nft_put_attr(struct buf *b, uint16_t type, const void *p, size_t n)
{
    struct nlattr a = {.nla_len = (uint16_t)(NETLINK_ATTR_HEADER + n), .nla_type = type};
    buf_append(b, &a, sizeof(a));
    buf_append(b, p, n);
    pad(b);
}

void nft_put_text(struct buf *b, uint16_t type, struct str s)
{
    struct nlattr a = {.nla_len = (uint16_t)(NETLINK_ATTR_HEADER + s.len + 1), .nla_type = type};
    buf_append(b, &a, sizeof(a));
    buf_append_str(b, s);
    buf_putc(b, '\0');
    pad(b);
}

size_t nft_open_nest(struct buf *b, uint16_t type)
{
    struct nlattr a = {.nla_len = 0, .nla_type = (uint16_t)(type | NLA_F_NESTED)};
    size_t at = b->len;
    buf_append(b, &a, sizeof(a));
    return at;
}

void nft_close_nest(struct buf *b, size_t at)
{
    uint16_t len = (uint16_t)(b->len - at);
    memcpy(b->data + at + offsetof(struct nlattr, nla_len), &len, sizeof(len));
}

size_t nft_open_message(struct buf *b, uint16_t type, uint16_t flags, uint32_t seq, uint8_t family,
                        uint16_t resource)
{
    struct nlmsghdr h = {
        .nlmsg_type = type, .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags), .nlmsg_seq = seq};
    struct nfgenmsg g = {
        .nfgen_family = family, .version = NFNETLINK_V0, .res_id = htons(resource)};
    size_t at = b->len;
    buf_append(b, &h, sizeof(h));
    buf_append(b, &g, sizeof(g));
    return at;
}

void nft_close_message(struct buf *b, size_t at)
{
    uint32_t len = (uint32_t)(b->len - at);
    memcpy(b->data + at + offsetof(struct nlmsghdr, nlmsg_len), &len, sizeof(len));
}

uint16_t nft_type(unsigned message)
{
    return (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | message);
}
