/* nft_batch.c - see nft_batch.h. */
#include "kubelet/nft_batch.h"

#include "kubelet/netlink.h"
#include "kubelet/nft_message.h"

#include "lib/base/buf.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

/* An attribute's length has sixteen bits: a list stays well below. */
#define LIST_MAX 60000u

/* --- writing ---------------------------------------------------------------------------- */

void nft_batch_begin(struct nft_batch *b, struct buf *out)
{
    *b = (struct nft_batch){.out = out};
    size_t at =
        nft_open_message(out, NFNL_MSG_BATCH_BEGIN, 0, b->seq++, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
    nft_close_message(out, at);
}

void nft_batch_close(struct nft_batch *b)
{
    if (b->message == 0)
        return;
    nft_close_nest(b->out, b->list);
    nft_close_message(b->out, b->message);
    b->last = b->message;
    b->message = 0;
}

/* The kernel tells then what became of it, and so of all. */
static void ask_for_answer(struct nft_batch *b)
{
    if (b->last == 0)
        return;
    uint8_t *at = b->out->data + b->last + offsetof(struct nlmsghdr, nlmsg_flags);
    uint16_t flags;
    memcpy(&flags, at, sizeof(flags));
    flags |= NLM_F_ACK;
    memcpy(at, &flags, sizeof(flags));
}

static void open_list(struct nft_batch *b, bool add, const struct nft_set_name *set)
{
    b->set = set;
    b->adding = add;
    b->message = nft_open_message(b->out, nft_type(add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM),
                                  add ? NLM_F_CREATE : 0, b->seq++, set->family, 0);
    nft_put_text(b->out, NFTA_SET_ELEM_LIST_TABLE, str_of(set->table));
    nft_put_text(b->out, NFTA_SET_ELEM_LIST_SET, str_of(set->set));
    b->list = nft_open_nest(b->out, NFTA_SET_ELEM_LIST_ELEMENTS);
}

static void put_value(struct buf *b, uint16_t type, struct str value)
{
    size_t at = nft_open_nest(b, type);
    nft_put_attr(b, NFTA_DATA_VALUE, value.data, value.len);
    nft_close_nest(b, at);
}

static void put_goto(struct buf *b, struct str chain)
{
    uint32_t code = htonl((uint32_t)NFT_GOTO);
    size_t data = nft_open_nest(b, NFTA_SET_ELEM_DATA),
           verdict = nft_open_nest(b, NFTA_DATA_VERDICT);
    nft_put_attr(b, NFTA_VERDICT_CODE, &code, sizeof(code));
    nft_put_text(b, NFTA_VERDICT_CHAIN, chain);
    nft_close_nest(b, verdict);
    nft_close_nest(b, data);
}

void nft_batch_put(struct nft_batch *b, bool add, const struct nft_set_name *set,
                   const struct nft_element *e)
{
    ASSERT(e->key.len <= NFT_KEY_MAX);
    ASSERT(e->data.len <= NFT_DATA_MAX);
    if (b->message != 0 && (b->set != set || b->adding != add || b->out->len - b->list > LIST_MAX))
        nft_batch_close(b);
    if (b->message == 0)
        open_list(b, add, set);
    size_t at = nft_open_nest(b->out, NFTA_LIST_ELEM);
    put_value(b->out, NFTA_SET_ELEM_KEY, e->key);
    if (!str_empty(e->end))
        put_value(b->out, NFTA_SET_ELEM_KEY_END, e->end);
    if (add && set->verdicts)
        put_goto(b->out, e->data);
    else if (add && !str_empty(e->data))
        put_value(b->out, NFTA_SET_ELEM_DATA, e->data);
    nft_close_nest(b->out, at);
}

void nft_batch_end(struct nft_batch *b)
{
    nft_batch_close(b);
    ask_for_answer(b);
    size_t at =
        nft_open_message(b->out, NFNL_MSG_BATCH_END, 0, b->seq++, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
    nft_close_message(b->out, at);
}

void nft_batch_dump(struct buf *out, const struct nft_set_name *set)
{
    size_t at = nft_open_message(out, nft_type(NFT_MSG_GETSETELEM), NLM_F_DUMP, 1, set->family, 0);
    nft_put_text(out, NFTA_SET_ELEM_LIST_TABLE, str_of(set->table));
    nft_put_text(out, NFTA_SET_ELEM_LIST_SET, str_of(set->set));
    nft_close_message(out, at);
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
