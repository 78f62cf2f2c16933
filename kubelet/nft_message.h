/* nft_message.h - messages and attributes of nf_tables, written to the end of a buffer. Pure.
 * Layout: linux/netfilter/nf_tables.h, netlink(7). */
#ifndef KUBELET_NFT_MESSAGE_H
#define KUBELET_NFT_MESSAGE_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct buf;

/* NFT_MSG_... as the type of a message. */
uint16_t nft_type(unsigned message);
/* Where it begins; nft_close_message() sets its length. */
size_t nft_open_message(struct buf *b, uint16_t type, uint16_t flags, uint32_t seq, uint8_t family,
                        uint16_t resource);
void nft_close_message(struct buf *b, size_t at);
void nft_put_attr(struct buf *b, uint16_t type, const void *p, size_t n);
void nft_put_text(struct buf *b, uint16_t type, struct str s); /* With a zero behind it. */
size_t nft_open_nest(struct buf *b, uint16_t type);
void nft_close_nest(struct buf *b, size_t at);

#endif
