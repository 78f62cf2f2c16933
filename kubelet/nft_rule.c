/* nft_rule.c - see nft_rule.h. */
#include "kubelet/nft_rule.h"

#include "kubelet/nft_message.h"

#include "lib/base/buf.h"

#include <arpa/inet.h>
#include <endian.h>
#include <linux/netfilter/nf_conntrack_tuple_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>

static void put_u32(struct buf *b, uint16_t type, uint32_t v)
{
    v = htonl(v);
    nft_put_attr(b, type, &v, sizeof(v));
}

static void put_register(struct buf *b, uint16_t type, unsigned reg)
{
    ASSERT(reg < NFT_RULE_REGISTERS);
    put_u32(b, type, (uint32_t)NFT_REG32_00 + reg);
}

void nft_rule_flush(struct nft_batch *b, uint8_t family, const char *table, const char *chain)
{
    nft_batch_close(b);
    size_t at = nft_open_message(b->out, nft_type(NFT_MSG_DELRULE), 0, b->seq++, family, 0);
    nft_put_text(b->out, NFTA_RULE_TABLE, str_of(table));
    nft_put_text(b->out, NFTA_RULE_CHAIN, str_of(chain));
    nft_close_message(b->out, at);
    b->last = at;
}

void nft_rule_begin(struct nft_rule *r, struct nft_batch *b, uint8_t family, const char *table,
                    const char *chain)
{
    nft_batch_close(b);
    r->batch = b;
    r->message = nft_open_message(b->out, nft_type(NFT_MSG_NEWRULE), NLM_F_CREATE | NLM_F_APPEND,
                                  b->seq++, family, 0);
    nft_put_text(b->out, NFTA_RULE_TABLE, str_of(table));
    nft_put_text(b->out, NFTA_RULE_CHAIN, str_of(chain));
    r->expressions = nft_open_nest(b->out, NFTA_RULE_EXPRESSIONS);
}

void nft_rule_end(struct nft_rule *r)
{
    nft_close_nest(r->batch->out, r->expressions);
    nft_close_message(r->batch->out, r->message);
    r->batch->last = r->message;
}

/* --- expressions ------------------------------------------------------------------------------ */

struct expression {
    size_t item, data;
};

static struct expression open_expression(struct nft_rule *r, const char *name)
{
    struct buf *b = r->batch->out;
    struct expression e;
    e.item = nft_open_nest(b, NFTA_LIST_ELEM);
    nft_put_text(b, NFTA_EXPR_NAME, str_of(name));
    e.data = nft_open_nest(b, NFTA_EXPR_DATA);
    return e;
}

static void close_expression(struct nft_rule *r, struct expression e)
{
    nft_close_nest(r->batch->out, e.data);
    nft_close_nest(r->batch->out, e.item);
}

void nft_rule_payload(struct nft_rule *r, uint32_t base, uint32_t offset, uint32_t bytes,
                      unsigned reg)
{
    struct buf *b = r->batch->out;
    struct expression e = open_expression(r, "payload");
    put_register(b, NFTA_PAYLOAD_DREG, reg);
    put_u32(b, NFTA_PAYLOAD_BASE, base);
    put_u32(b, NFTA_PAYLOAD_OFFSET, offset);
    put_u32(b, NFTA_PAYLOAD_LEN, bytes);
    close_expression(r, e);
}

void nft_rule_meta(struct nft_rule *r, uint32_t key, unsigned reg)
{
    struct expression e = open_expression(r, "meta");
    put_register(r->batch->out, NFTA_META_DREG, reg);
    put_u32(r->batch->out, NFTA_META_KEY, key);
    close_expression(r, e);
}

void nft_rule_ct_original(struct nft_rule *r, uint32_t key, unsigned reg)
{
    uint8_t direction = IP_CT_DIR_ORIGINAL;
    struct expression e = open_expression(r, "ct");
    put_register(r->batch->out, NFTA_CT_DREG, reg);
    put_u32(r->batch->out, NFTA_CT_KEY, key);
    nft_put_attr(r->batch->out, NFTA_CT_DIRECTION, &direction, sizeof(direction));
    close_expression(r, e);
}

void nft_rule_lookup(struct nft_rule *r, const char *map, unsigned key, unsigned data)
{
    struct expression e = open_expression(r, "lookup");
    nft_put_text(r->batch->out, NFTA_LOOKUP_SET, str_of(map));
    put_register(r->batch->out, NFTA_LOOKUP_SREG, key);
    put_register(r->batch->out, NFTA_LOOKUP_DREG, data);
    close_expression(r, e);
}

void nft_rule_dnat(struct nft_rule *r, uint8_t family, unsigned address, unsigned port)
{
    struct expression e = open_expression(r, "nat");
    put_u32(r->batch->out, NFTA_NAT_TYPE, NFT_NAT_DNAT);
    put_u32(r->batch->out, NFTA_NAT_FAMILY, family);
    put_register(r->batch->out, NFTA_NAT_REG_ADDR_MIN, address);
    put_register(r->batch->out, NFTA_NAT_REG_PROTO_MIN, port);
    close_expression(r, e);
}

void nft_rule_update(struct nft_rule *r, const char *map, unsigned key, unsigned data,
                     uint64_t timeout_ms)
{
    struct buf *b = r->batch->out;
    uint64_t timeout = htobe64(timeout_ms);
    struct expression e = open_expression(r, "dynset");
    nft_put_text(b, NFTA_DYNSET_SET_NAME, str_of(map));
    put_u32(b, NFTA_DYNSET_OP, NFT_DYNSET_OP_UPDATE);
    put_register(b, NFTA_DYNSET_SREG_KEY, key);
    put_register(b, NFTA_DYNSET_SREG_DATA, data);
    nft_put_attr(b, NFTA_DYNSET_TIMEOUT, &timeout, sizeof(timeout));
    close_expression(r, e);
}
