/* chains.h - the chains of the Services' tables that are made on demand: for more endpoints than
 * those that are there from the start, and for each time that session affinity lasts.
 *
 *   absent --want--> WANTED --next--> LOADING --loaded--> THERE
 *                       ^                |
 *                       |             a load fails: each by itself; whose own fails is
 *                       +----retry----- BROKEN
 *
 * So one that the kernel or nft does not take holds up the Services that need it, and no others.
 * Pure and loop-confined. */
#ifndef KUBELET_PROXY_CHAINS_H
#define KUBELET_PROXY_CHAINS_H

#include "lib/base/base.h"
#include "lib/base/map.h"

struct buf;

#define CHAINS_RETRY_MS 60000u /* Of a broken one. */

enum chain_kind { CHAIN_COUNT, CHAIN_LEARN };
enum chain_state { CHAIN_WANTED, CHAIN_LOADING, CHAIN_THERE, CHAIN_BROKEN };

struct proxy_chains {
    struct map chains; /* By kind and number -> struct chain */
    size_t wanted, broken, loading;
    bool one_by_one; /* A load of several has failed. */
};

void proxy_chains_init(struct proxy_chains *c);
void proxy_chains_done(struct proxy_chains *c);
/* The table is another one: none is there. */
void proxy_chains_forget(struct proxy_chains *c);
/* number: of endpoints, or of seconds. */
enum chain_state proxy_chains_want(struct proxy_chains *c, enum chain_kind kind, int64_t number);
/* Writes what is wanted: text for nft, and messages behind it (nft_batch.h). False: nothing is.
 * proxy_chains_loaded() follows. */
bool proxy_chains_next(struct proxy_chains *c, const char *table, struct buf *text,
                       struct buf *rules);
/* Whether what was written last holds. True: a chain has become broken. */
bool proxy_chains_loaded(struct proxy_chains *c, bool ok, uint64_t now_ms);
/* Broken ones whose time has come are wanted again: true if there are any. */
bool proxy_chains_retry(struct proxy_chains *c, uint64_t now_ms);

#endif
