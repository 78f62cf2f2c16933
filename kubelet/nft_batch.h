/* nft_batch.h - elements of nftables sets and maps as messages to the kernel.
 *
 * Pure: writes and reads bytes. What stands between begin and end is one
 * transaction. nft(8) would first read every chain and set; a change of few
 * elements in large tables costs only itself this way. Chains and most rules
 * are left to nft.h; nft_rule.h has those that nft(8) cannot write. Layout:
 * linux/netfilter/nf_tables.h, netlink(7). */
#ifndef KUBELET_NFT_BATCH_H
#define KUBELET_NFT_BATCH_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct buf;

/* NFT_TABLE_MAXNAMELEN and the kernel's registers bound these. */
#define NFT_KEY_MAX 64
#define NFT_DATA_MAX 32

struct nft_set_name {
    uint8_t family; /* NFPROTO_IPV4 */
    const char *table;
    const char *set;
    bool verdicts; /* A map to chains: an element's data is the name of the chain to go to. */
};

/* Keys are in network byte order, each field padded with zeroes to four bytes. */
struct nft_element {
    struct str key;
    struct str end;  /* Of a range, inclusive; empty: none. */
    struct str data; /* Empty in sets. */
};

struct nft_batch {
    struct buf *out; /* Borrowed. */
    uint32_t seq;
    const struct nft_set_name *set; /* Of the open message. */
    bool adding;
    size_t message, list; /* Offsets of the open message and of its list; message 0: none. */
    size_t last;          /* Of the last one that is closed; 0: none. */
};

void nft_batch_begin(struct nft_batch *b, struct buf *out);
/* set is borrowed until the next call with another one. Adding an element that is there with the
 * same data succeeds, with other data fails; so does deleting one that is not there. */
void nft_batch_put(struct nft_batch *b, bool add, const struct nft_set_name *set,
                   const struct nft_element *e);
/* Ends the list of elements that is open, if any: a message of another kind may follow. */
void nft_batch_close(struct nft_batch *b);
/* Asks for an answer to the last message. */
void nft_batch_end(struct nft_batch *b);

/* A request for all elements of a set. */
void nft_batch_dump(struct buf *out, const struct nft_set_name *set);
/* Calls each() for every element of a message's payload (behind its netlink header). False: the
 * message is not a list of elements. */
bool nft_batch_read(struct str payload, void (*each)(const struct nft_element *e, void *arg),
                    void *arg);

#endif
