/* table.h - the tables of the Services' rules: what every packet meets.
 *
 * Pure: settings in, text for `nft -f` out. One table for each address family,
 * the same text for both. Everything that Services bring is an element of a map or set
 * (elements.h), so that neither a new connection nor a change costs more with
 * more Services. A frontend is an address, a protocol and a port: of cluster, external and load
 * balancers' addresses, and of node ports at each of the node's addresses.
 *
 *   services     frontend          : goto a chain for the number of its endpoints
 *   endpoints    frontend . number : address . port
 *   shortcuts    frontend          : as services, for what comes from this node and its pods,
 *                                    where externalTrafficPolicy is Local
 *   sticky       frontend          : goto the chain that remembers for so many seconds
 *   affinity     frontend . client : address . port      (filled by packets)
 *   restricted   frontend            whose clients are in
 *   allowed      frontend . client
 *   refused      frontend            without endpoints
 *   dropped      frontend            without endpoints here, where the policy is Local
 *   cluster-ips  address             the other ports of which are refused
 *   hairpin      address . address   of endpoints on this node, which may reach themselves
 *
 * The table's name ends in a hash of its text: a new version of the text makes a
 * table beside the old one, which goes once the new one is complete. What the
 * name stands for is never changed, so that a restarted agent goes on with it. */
#ifndef KUBELET_PROXY_TABLE_H
#define KUBELET_PROXY_TABLE_H

#include "kubelet/proxy/elements.h"

struct buf;

#define PROXY_TABLE_PREFIX "trireme-services-"
#define PROXY_TABLE_NAME_MAX 32
#define PROXY_MARK 0x4000        /* Leaves with the node's address. */
#define PROXY_BRIDGE_MARK 0x8000 /* Does so if it goes back to the pods' bridge. */
/* Above these numbers stand the endpoints that shortcuts lead to. */
#define PROXY_SHORTCUT_FIRST 65536u
#define PROXY_ENDPOINTS_MAX 65536u
/* Chains for so many endpoints are there from the start. */
#define PROXY_COUNT_READY 16u

struct proxy_table_config {
    /* What comes from elsewhere to a cluster address is masqueraded; empty: nothing is. */
    const struct str *cluster_cidrs;
    size_t cluster_cidr_count;
    bool masquerade_all; /* Everything to a cluster address is. */
    /* Of this node's pods, who reach external addresses as they reach cluster addresses; the
     * cluster's CIDRs count too. */
    const struct str *pod_cidrs;
    size_t pod_cidr_count;
    /* The kernel does not show bridged packets to nftables: a pod that reaches another one of its
     * bridge through a Service must come from our address. */
    bool masquerade_bridge;
};

/* The chain that the element of a frontend with `count` endpoints leads to. */
enum proxy_chain { PROXY_PLAIN, PROXY_MASQUERADED, PROXY_SHORTCUT };
/* At most PROXY_DATA_MAX bytes. */
void proxy_chain_name(enum proxy_chain kind, bool sticky, size_t count,
                      char ret[PROXY_DATA_MAX + 1]);
void proxy_learn_name(int64_t timeout_s, char ret[PROXY_DATA_MAX + 1]);

const char *proxy_family_name(enum proxy_family f); /* "ip" */
uint8_t proxy_family_number(enum proxy_family f);   /* NFPROTO_IPV4 */
const char *proxy_set_name(enum proxy_set s);       /* "services" */
bool proxy_set_has_verdicts(enum proxy_set s);

/* The text that makes both tables, and their name. */
void proxy_table_write(const struct proxy_table_config *c, struct buf *out,
                       char ret_name[PROXY_TABLE_NAME_MAX]);
/* Chains beyond those that are there from the start; loading them again does no harm. */
void proxy_table_add_count(const char *table, size_t count, struct buf *out);
void proxy_table_add_learn(const char *table, int64_t timeout_s, struct buf *out);

#endif
