/* affinity.c - see affinity.h. */
#include "kubelet/proxy/affinity.h"

#include "kubelet/nft_rule.h"
#include "kubelet/proxy/table.h"

#include <linux/ipv6.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#define MAP "affinity"

/* Registers: the key, and behind it the endpoint. */
enum { FRONTEND = 0, PROTOCOL = 4, PORT = 5, CLIENT = 6, ENDPOINT = 10, ENDPOINT_PORT = 14 };

#define ADDRESS_BYTES 16u
#define SOURCE_OFFSET ((uint32_t)offsetof(struct ipv6hdr, saddr))
#define DESTINATION_OFFSET ((uint32_t)offsetof(struct ipv6hdr, daddr))
#define PORT_OFFSET 2u /* Of the destination, in the heads of TCP, UDP and SCTP. */
#define PORT_BYTES 2u

static void load_address(struct nft_rule *r, uint32_t offset, unsigned reg)
{
    nft_rule_payload(r, NFT_PAYLOAD_NETWORK_HEADER, offset, ADDRESS_BYTES, reg);
}

static void load_port(struct nft_rule *r, unsigned reg)
{
    nft_rule_payload(r, NFT_PAYLOAD_TRANSPORT_HEADER, PORT_OFFSET, PORT_BYTES, reg);
}

void affinity_write_remembered(struct nft_batch *b, const char *table)
{
    struct nft_rule r;
    nft_rule_flush(b, NFPROTO_IPV6, table, AFFINITY_REMEMBERED);
    nft_rule_begin(&r, b, NFPROTO_IPV6, table, AFFINITY_REMEMBERED);
    load_address(&r, DESTINATION_OFFSET, FRONTEND);
    nft_rule_meta(&r, NFT_META_L4PROTO, PROTOCOL);
    load_port(&r, PORT);
    load_address(&r, SOURCE_OFFSET, CLIENT);
    nft_rule_lookup(&r, MAP, FRONTEND, ENDPOINT);
    nft_rule_dnat(&r, NFPROTO_IPV6, ENDPOINT, ENDPOINT_PORT);
    nft_rule_end(&r);
}

/* Behind the translation the packet's own destination is the endpoint. */
void affinity_write_learn(struct nft_batch *b, const char *table, int64_t timeout_s)
{
    struct nft_rule r;
    char chain[PROXY_DATA_MAX + 1];
    proxy_learn_name(timeout_s, chain);
    nft_rule_flush(b, NFPROTO_IPV6, table, chain);
    nft_rule_begin(&r, b, NFPROTO_IPV6, table, chain);
    nft_rule_ct_original(&r, NFT_CT_DST_IP6, FRONTEND);
    nft_rule_meta(&r, NFT_META_L4PROTO, PROTOCOL);
    nft_rule_ct_original(&r, NFT_CT_PROTO_DST, PORT);
    load_address(&r, SOURCE_OFFSET, CLIENT);
    load_address(&r, DESTINATION_OFFSET, ENDPOINT);
    load_port(&r, ENDPOINT_PORT);
    nft_rule_update(&r, MAP, FRONTEND, ENDPOINT, (uint64_t)timeout_s * 1000);
    nft_rule_end(&r);
}
