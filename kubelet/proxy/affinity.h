/* affinity.h - the rules by which a client of IPv6 keeps its endpoint.
 *
 * For IPv4 they are text (table.h). In IPv6 a frontend, a client and an endpoint take 15 of a
 * rule's 16 registers, and nft before 1.0.8 does not get by with them; so these few are messages of
 * our own. Both families share the map "affinity" in form:
 *
 *   frontend (address . protocol . port) . client -> address . port
 *
 * Pure. */
#ifndef KUBELET_PROXY_AFFINITY_H
#define KUBELET_PROXY_AFFINITY_H

#include "lib/base/base.h"

struct nft_batch;

/* The chain that leads whoever is remembered to his endpoint, and others nowhere. It is there. */
#define AFFINITY_REMEMBERED "remembered"

void affinity_write_remembered(struct nft_batch *b, const char *table);
/* The chain of proxy_learn_name(), which is there: notes where a flow has been led. */
void affinity_write_learn(struct nft_batch *b, const char *table, int64_t timeout_s);

#endif
