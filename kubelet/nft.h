/* nft.h - loads rules with nft(8), in one transaction: all of them or none.
 *
 * Loop-confined. One load at a time for each struct nft_load. */
#ifndef KUBELET_NFT_H
#define KUBELET_NFT_H

#include "lib/base/base.h"
#include "lib/base/str.h"

#include <uv.h>

#define NFT_OUTPUT_MAX 4096

struct nft_load {
    uv_process_t process;
    uv_pipe_t in, err;
    uv_write_t write;
    int handles;
    bool failed;
    char output[NFT_OUTPUT_MAX + 1];
    size_t output_len;
    void (*done)(const char *error, void *arg);
    void *arg;
};

/* text is borrowed until done, which never runs inside this call. error: what nft or the system
 * says, borrowed; NULL: the rules stand. */
void nft_load_start(struct nft_load *n, uv_loop_t *loop, struct str text,
                    void (*done)(const char *error, void *arg), void *arg);

/* Asks nft -j; text and error as nft says them, borrowed for the call of done, which never runs
 * inside this one. error NULL: all is in text. More than NFT_LISTED_MAX bytes are an error. script
 * is borrowed until done. */
#define NFT_LISTED_MAX (8u << 20)
void nft_list_start(uv_loop_t *loop, const char *script,
                    void (*done)(struct str text, const char *error, void *arg), void *arg);

/* Lets nftables see what crosses a bridge. False: the kernel cannot (no br_netfilter). */
bool nft_see_bridges(void);

#endif
