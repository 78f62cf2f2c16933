/* nft_rule.h - rules of nftables as messages to the kernel, expression by expression.
 *
 * For rules that nft(8) cannot write: what stands between nft_batch_begin() and _end() may be rules
 * as well as elements. Registers have four bytes and are numbered from 0 to 15; a value takes as
 * many as it needs, the last one filled with zeroes. Pure. */
#ifndef KUBELET_NFT_RULE_H
#define KUBELET_NFT_RULE_H

#include "kubelet/nft_batch.h"

enum { NFT_RULE_REGISTERS = 16 };

struct nft_rule {
    struct nft_batch *batch;
    size_t message, expressions;
};

/* Takes all rules out of a chain. */
void nft_rule_flush(struct nft_batch *b, uint8_t family, const char *table, const char *chain);

/* Behind the rules that the chain has. */
void nft_rule_begin(struct nft_rule *r, struct nft_batch *b, uint8_t family, const char *table,
                    const char *chain);
void nft_rule_end(struct nft_rule *r);

/* base: NFT_PAYLOAD_NETWORK_HEADER, ... */
void nft_rule_payload(struct nft_rule *r, uint32_t base, uint32_t offset, uint32_t bytes,
                      unsigned reg);
void nft_rule_meta(struct nft_rule *r, uint32_t key, unsigned reg); /* NFT_META_... */
/* Of the flow's first direction; NFT_CT_... */
void nft_rule_ct_original(struct nft_rule *r, uint32_t key, unsigned reg);
/* The rule ends for packets that the map does not hold. */
void nft_rule_lookup(struct nft_rule *r, const char *map, unsigned key, unsigned data);
void nft_rule_dnat(struct nft_rule *r, uint8_t family, unsigned address, unsigned port);
/* Puts key and data into a map, or gives the element its time anew. */
void nft_rule_update(struct nft_rule *r, const char *map, unsigned key, unsigned data,
                     uint64_t timeout_ms);

#endif
