/* nft_batch.c - see nft_batch.h. */
#include "kubelet/nft_batch.h"

#include "kubelet/netlink.h"

#include "lib/base/buf.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

/* An attribute's length has sixteen bits: a list stays well below. */
#define LIST_MAX 60000u

static void pad(struct buf *b)
{
    static const uint8_t zero[4];
    buf_append(b, zero, NETLINK_ALIGN(b->len) - b->len);
}

static void put_attr(struct buf *b, uint16_t type, const void *p, size_t n)
{
    struct nlattr a = {.nla_len = (uint16_t)(NETLINK_ATTR_HEADER + n), .nla_type = type};
    buf_append(b, &a, sizeof(a));
    buf_append(b, p, n);
    pad(b);
}

static void put_text(struct buf *b, uint16_t type, struct str s)
{
    struct nlattr a = {.nla_len = (uint16_t)(NETLINK_ATTR_HEADER + s.len + 1), .nla_type = type};
    buf_append(b, &a, sizeof(a));
    buf_append_str(b, s);
    buf_putc(b, '\0');
    pad(b);
}

static size_t open_nest(struct buf *b, uint16_t type)
{
    struct nlattr a = {.nla_len = 0, .nla_type = (uint16_t)(type | NLA_F_NESTED)};
    size_t at = b->len;
    buf_append(b, &a, sizeof(a));
    return at;
}

static void close_nest(struct buf *b, size_t at)
{
    uint16_t len = (uint16_t)(b->len - at);
    memcpy(b->data + at + offsetof(struct nlattr, nla_len), &len, sizeof(len));
}

static size_t open_message(struct buf *b, uint16_t type, uint16_t flags, uint32_t seq,
                           uint8_t family, uint16_t resource)
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

static void close_message(struct buf *b, size_t at)
{
    uint32_t len = (uint32_t)(b->len - at);
    memcpy(b->data + at + offsetof(struct nlmsghdr, nlmsg_len), &len, sizeof(len));
}

static uint16_t nft_type(unsigned message)
{
    return (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | message);
}

/* --- writing ---------------------------------------------------------------------------- */

void nft_batch_begin(struct nft_batch *b, struct buf *out)
{
    *b = (struct nft_batch){.out = out};
    size_t at =
        open_message(out, NFNL_MSG_BATCH_BEGIN, 0, b->seq++, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
    close_message(out, at);
}

static void close_list(struct nft_batch *b, uint16_t extra_flags)
{
    if (b->message == 0)
        return;
    close_nest(b->out, b->list);
    close_message(b->out, b->message);
    if (extra_flags != 0) {
        uint8_t *at = b->out->data + b->message + offsetof(struct nlmsghdr, nlmsg_flags);
        uint16_t flags;
        memcpy(&flags, at, sizeof(flags));
        flags |= extra_flags;
        memcpy(at, &flags, sizeof(flags));
    }
    b->message = 0;
}

static void open_list(struct nft_batch *b, bool add, const struct nft_set_name *set)
{
    b->set = set;
    b->adding = add;
    b->message = open_message(b->out, nft_type(add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM),
                              add ? NLM_F_CREATE : 0, b->seq++, set->family, 0);
    put_text(b->out, NFTA_SET_ELEM_LIST_TABLE, str_of(set->table));
    put_text(b->out, NFTA_SET_ELEM_LIST_SET, str_of(set->set));
    b->list = open_nest(b->out, NFTA_SET_ELEM_LIST_ELEMENTS);
}

static void put_value(struct buf *b, uint16_t type, struct str value)
{
    size_t at = open_nest(b, type);
    put_attr(b, NFTA_DATA_VALUE, value.data, value.len);
    close_nest(b, at);
}

static void put_goto(struct buf *b, struct str chain)
{
    uint32_t code = htonl((uint32_t)NFT_GOTO);
    size_t data = open_nest(b, NFTA_SET_ELEM_DATA), verdict = open_nest(b, NFTA_DATA_VERDICT);
    put_attr(b, NFTA_VERDICT_CODE, &code, sizeof(code));
    put_text(b, NFTA_VERDICT_CHAIN, chain);
    close_nest(b, verdict);
    close_nest(b, data);
}

void nft_batch_put(struct nft_batch *b, bool add, const struct nft_set_name *set,
                   const struct nft_element *e)
{
    ASSERT(e->key.len <= NFT_KEY_MAX);
    ASSERT(e->data.len <= NFT_DATA_MAX);
    if (b->message != 0 && (b->set != set || b->adding != add || b->out->len - b->list > LIST_MAX))
        close_list(b, 0);
    if (b->message == 0)
        open_list(b, add, set);
    size_t at = open_nest(b->out, NFTA_LIST_ELEM);
    put_value(b->out, NFTA_SET_ELEM_KEY, e->key);
    if (!str_empty(e->end))
        put_value(b->out, NFTA_SET_ELEM_KEY_END, e->end);
    if (add && set->verdicts)
        put_goto(b->out, e->data);
    else if (add && !str_empty(e->data))
        put_value(b->out, NFTA_SET_ELEM_DATA, e->data);
    close_nest(b->out, at);
}

void nft_batch_end(struct nft_batch *b)
{
    close_list(b, NLM_F_ACK);
    size_t at =
        open_message(b->out, NFNL_MSG_BATCH_END, 0, b->seq++, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
    close_message(b->out, at);
}

void nft_batch_dump(struct buf *out, const struct nft_set_name *set)
{
    size_t at = open_message(out, nft_type(NFT_MSG_GETSETELEM), NLM_F_DUMP, 1, set->family, 0);
    put_text(out, NFTA_SET_ELEM_LIST_TABLE, str_of(set->table));
    put_text(out, NFTA_SET_ELEM_LIST_SET, str_of(set->set));
    close_message(out, at);
}

/* --- reading ---------------------------------------------------------------------------- */

/* Cuts the next attribute off. */
static bool next_attr(struct str *rest, uint16_t *ret_type, struct str *ret)
{
    struct nlattr a;
    if (rest->len < sizeof(a))
        return false;
    memcpy(&a, rest->data, sizeof(a));
    if (a.nla_len < NETLINK_ATTR_HEADER || a.nla_len > rest->len)
        return false;
    *ret_type = NETLINK_ATTR_TYPE(a.nla_type);
    *ret = str_n(rest->data + NETLINK_ATTR_HEADER, a.nla_len - NETLINK_ATTR_HEADER);
    size_t step = MIN_OF(NETLINK_ALIGN(a.nla_len), rest->len);
    *rest = str_n(rest->data + step, rest->len - step);
    return true;
}

static struct str find_attr(struct str rest, uint16_t type)
{
    struct str value;
    uint16_t t;
    while (next_attr(&rest, &t, &value))
        if (t == type)
            return value;
    return STR_NULL;
}

static struct str read_data(struct str data)
{
    struct str verdict = find_attr(data, NFTA_DATA_VERDICT);
    if (str_empty(verdict))
        return find_attr(data, NFTA_DATA_VALUE);
    struct str chain = find_attr(verdict, NFTA_VERDICT_CHAIN);
    if (chain.len > 0 && chain.data[chain.len - 1] == '\0')
        chain.len--;
    return chain;
}

bool nft_batch_read(struct str payload, void (*each)(const struct nft_element *e, void *arg),
                    void *arg)
{
    uint16_t type;
    struct str item;
    if (payload.len < sizeof(struct nfgenmsg))
        return false;
    struct str rest = str_sub(payload, sizeof(struct nfgenmsg), payload.len);
    rest = find_attr(rest, NFTA_SET_ELEM_LIST_ELEMENTS);
    while (next_attr(&rest, &type, &item)) {
        struct nft_element e = {
            .key = find_attr(find_attr(item, NFTA_SET_ELEM_KEY), NFTA_DATA_VALUE),
            .end = find_attr(find_attr(item, NFTA_SET_ELEM_KEY_END), NFTA_DATA_VALUE),
            .data = read_data(find_attr(item, NFTA_SET_ELEM_DATA))};
        if (!str_empty(e.key))
            each(&e, arg);
    }
    return true;
}
